//! Who gets in, what the refused learn, and whose session ends.

use bytes::Bytes;
use layover_depot::{
    AccountChange, Completion, Enabled, EndReason, JournalEntry, JournalKind, LoginError, Network,
    NewNetwork, Outcome, Proof, Protocol, Protocols, RefusedOffers, Secret, Session, Upload,
    UploadMode, VfsError, parse_authorized_keys,
};
use layover_retention::{Clock, Timestamp};

use crate::world::{DAY, PASSWORD, PEER, World, actor, at, attempt, name, network, worlds};

const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti alice";
const FINGERPRINT: &str = "SHA256:UCUiLr7Pjs9wFFJMDByLgc3NrtdU344OgUM45wZPcIQ";

fn password(text: &str) -> Proof {
    Proof::Password(Secret::new(text))
}

fn key() -> Proof {
    let blob = parse_authorized_keys(KEY).unwrap().remove(0).blob;
    Proof::Key {
        blob,
        algorithm: "ssh-ed25519".to_owned(),
    }
}

async fn add_key(world: &World, options: &str) {
    let key = parse_authorized_keys(&format!("{options}{KEY}"))
        .unwrap()
        .remove(0);
    world
        .depot
        .registry()
        .add_key(&actor(), &name("alice"), &key)
        .await
        .unwrap();
}

/// Whether the gate would have a client sign with the key.
async fn is_acceptable(world: &World) -> bool {
    let Proof::Key { blob, .. } = key() else {
        unreachable!()
    };
    let gate = world.depot.gate();
    gate.key_is_acceptable("alice", PEER, Protocol::Sftp, &blob)
        .await
        .unwrap()
}

async fn last_login(world: &World) -> JournalEntry {
    world.journal(JournalKind::Login).await.pop().unwrap()
}

fn reason(entry: &JournalEntry) -> &str {
    entry.detail["reason"].as_str().unwrap()
}

// G01: one answer for every reason; the journal has the reason.
#[tokio::test]
async fn g01_every_refusal_looks_the_same_and_is_journalled_with_its_reason() {
    for world in worlds().await {
        world.add("disabled", |_| {}).await;
        world
            .add("distant", |new| {
                new.networks = vec![network("198.51.100.0/24")]
            })
            .await;
        world.add("nowhere", |new| new.networks.clear()).await;
        world
            .add("ftps-only", |new| {
                new.protocols = Protocols::of(&[Protocol::Ftps])
            })
            .await;
        world.add("keyed", |new| new.password = None).await;
        let registry = world.depot.registry();
        registry
            .set_enabled(&actor(), &name("disabled"), Enabled::No)
            .await
            .unwrap();
        for (user, proof, expected) in [
            ("nobody", password(PASSWORD), "unknown account"),
            ("alice", password("wrong"), "wrong password"),
            ("alice", password(""), "wrong password"),
            ("disabled", password(PASSWORD), "account disabled"),
            (
                "distant",
                password(PASSWORD),
                "network not allowed for the account",
            ),
            (
                "distant",
                password("wrong"),
                "network not allowed for the account",
            ),
            ("distant", key(), "network not allowed for the account"),
            (
                "nowhere",
                password(PASSWORD),
                "network not allowed for the account",
            ),
            (
                "ftps-only",
                password(PASSWORD),
                "protocol not allowed for the account",
            ),
            ("keyed", password(PASSWORD), "the account has no password"),
            ("alice", key(), "key not authorized"),
        ] {
            let answer = world.depot.gate().login(attempt(user, proof)).await;
            assert!(
                matches!(answer, Err(LoginError::Refused)),
                "{user}: {answer:?}"
            );
            let entry = last_login(&world).await;
            assert_eq!(entry.outcome, Outcome::Refused);
            assert_eq!(
                (entry.account.as_deref(), reason(&entry)),
                (Some(user), expected)
            );
            assert_eq!(
                (entry.peer, entry.protocol),
                (Some(PEER), Some(Protocol::Sftp))
            );
            assert!(!format!("{entry:?}").contains(PASSWORD));
        }
        assert_eq!(registry.list_sessions().await.unwrap(), []);
    }
}

#[tokio::test]
async fn a_login_leaves_its_session_and_its_journal_entry() {
    for world in worlds().await {
        add_key(&world, "").await;
        assert!(is_acceptable(&world).await);
        let session = world
            .depot
            .gate()
            .login(attempt("alice", key()))
            .await
            .unwrap();
        let live = world.depot.registry().list_sessions().await.unwrap();
        assert_eq!(live.len(), 1);
        assert_eq!(
            (&live[0].id, live[0].account.as_str()),
            (session.id(), "alice")
        );
        assert_eq!(live[0].node, world.depot.node().to_string());
        let entry = last_login(&world).await;
        assert_eq!(
            (entry.outcome, entry.session.as_ref()),
            (Outcome::Ok, Some(session.id()))
        );
        assert_eq!(entry.detail["method"], "publickey");
        assert_eq!(entry.detail["fingerprint"], FINGERPRINT);
        assert_eq!(entry.detail["client"], "test");
        session.end("goodbye").await;
        assert_eq!(world.depot.registry().list_sessions().await.unwrap(), []);
        assert_eq!(last_login(&world).await.action, "logout");
    }
}

#[tokio::test]
async fn a_mapped_ipv4_address_is_the_ipv4_address() {
    for world in worlds().await {
        let mapped = "::ffff:192.0.2.7".parse().unwrap();
        assert!(world.depot.gate().admit(mapped).is_ok());
        let login = layover_depot::LoginAttempt {
            peer: mapped,
            ..attempt("alice", password(PASSWORD))
        };
        let session = world.depot.gate().login(login).await.unwrap();
        assert_eq!(session.peer(), Some(PEER));
    }
}

#[tokio::test]
async fn a_keys_own_networks_and_end_are_honoured() {
    for (options, expected) in [
        ("from=\"192.0.2.0/24\" ", None),
        (
            "from=\"192.0.2.0/24,!192.0.2.7\" ",
            Some("key not allowed from this address"),
        ),
        (
            "from=\"198.51.100.0/24\" ",
            Some("key not allowed from this address"),
        ),
        ("expiry-time=\"20261122\" ", None),
        ("expiry-time=\"20261121\" ", Some("key expired")),
    ] {
        for world in worlds().await {
            add_key(&world, options).await;
            assert_eq!(is_acceptable(&world).await, expected.is_none(), "{options}");
            let answer = world.depot.gate().login(attempt("alice", key())).await;
            assert_eq!(answer.is_ok(), expected.is_none(), "{options}");
            if let Some(expected) = expected {
                assert_eq!(reason(&last_login(&world).await), expected);
            }
        }
    }
}

#[tokio::test]
async fn a_new_password_counts_and_the_old_one_no_longer() {
    for world in worlds().await {
        let new = Secret::new("another one");
        world
            .depot
            .registry()
            .set_password(&actor(), &name("alice"), Some(new))
            .await
            .unwrap();
        assert!(world.login("alice", PASSWORD).await.is_err());
        assert!(world.login("alice", "another one").await.is_ok());
        world
            .depot
            .registry()
            .set_password(&actor(), &name("alice"), None)
            .await
            .unwrap();
        assert!(world.login("alice", "another one").await.is_err());
    }
}

#[tokio::test]
async fn what_ends_an_account_ends_its_sessions_and_no_others() {
    for world in worlds().await {
        world.add("bob", |_| {}).await;
        let stays = world.login("bob", PASSWORD).await.unwrap();
        let registry = world.depot.registry();
        let alice = name("alice");

        let session = world.login("alice", PASSWORD).await.unwrap();
        registry.kill_session(&actor(), session.id()).await.unwrap();
        world.depot.refresh().await.unwrap();
        assert_eq!(session.ended().await, EndReason::Killed);
        session.end("killed").await;

        let session = world.login("alice", PASSWORD).await.unwrap();
        let only_ftps = AccountChange {
            protocols: Some(Protocols::of(&[Protocol::Ftps])),
            ..AccountChange::default()
        };
        registry
            .change_account(&actor(), &alice, &only_ftps)
            .await
            .unwrap();
        world.depot.refresh().await.unwrap();
        assert_eq!(session.ended().await, EndReason::AccountDisabled);
        let both = AccountChange {
            protocols: Some(Protocols::ALL),
            ..AccountChange::default()
        };
        registry
            .change_account(&actor(), &alice, &both)
            .await
            .unwrap();

        let session = world.login("alice", PASSWORD).await.unwrap();
        registry
            .set_enabled(&actor(), &alice, Enabled::No)
            .await
            .unwrap();
        world.depot.refresh().await.unwrap();
        assert_eq!(session.ended().await, EndReason::AccountDisabled);
        registry
            .set_enabled(&actor(), &alice, Enabled::Yes)
            .await
            .unwrap();

        let session = world.login("alice", PASSWORD).await.unwrap();
        registry.remove_account(&actor(), &alice).await.unwrap();
        world.depot.refresh().await.unwrap();
        assert_eq!(session.ended().await, EndReason::AccountDisabled);
        assert!(stays.stat(&at("/")).await.is_ok());
    }
}

async fn change(world: &World, change: AccountChange) {
    let registry = world.depot.registry();
    let alice = name("alice");
    registry
        .change_account(&actor(), &alice, &change)
        .await
        .unwrap();
    world.depot.refresh().await.unwrap();
}

async fn permit(world: &World, path: &str, rights: &str) {
    let registry = world.depot.registry();
    registry
        .set_permission(&actor(), &name("alice"), &at(path), rights.parse().unwrap())
        .await
        .unwrap();
    world.depot.refresh().await.unwrap();
}

#[tokio::test]
async fn what_an_operator_changes_counts_in_sessions_that_live_already() {
    for world in worlds().await {
        let session = world.login("alice", PASSWORD).await.unwrap();
        let dir = |path: &'static str| {
            let (session, path) = (session.clone(), at(path));
            async move { session.make_dir(&path).await }
        };
        dir("/one").await.unwrap();

        permit(&world, "/", "list,read").await;
        assert!(matches!(
            dir("/two").await,
            Err(VfsError::NotPermitted { .. })
        ));
        let registry = world.depot.registry();
        registry
            .remove_permission(&actor(), &name("alice"), &at("/"))
            .await
            .unwrap();
        world.depot.refresh().await.unwrap();
        dir("/two").await.unwrap();

        let read_only = |read_only| AccountChange {
            read_only: Some(read_only),
            ..AccountChange::default()
        };
        change(&world, read_only(true)).await;
        assert!(matches!(
            dir("/three").await,
            Err(VfsError::NotPermitted { .. })
        ));
        change(&world, read_only(false)).await;
        dir("/three").await.unwrap();

        let quota = |quota_bytes| AccountChange {
            quota_bytes: Some(quota_bytes),
            ..AccountChange::default()
        };
        change(&world, quota(Some(3))).await;
        assert_eq!(session.space().await.unwrap().quota_bytes, Some(3));
        let upload = begin(&session, "/file").await;
        let refused = upload.write_at(0, Bytes::from_static(b"1234")).await;
        assert!(
            matches!(refused, Err(VfsError::QuotaExceeded { quota_bytes: 3 })),
            "{refused:?}"
        );
        drop(upload);
        change(&world, quota(None)).await;
        world.upload("alice", "/file").await;
    }
}

async fn begin(session: &Session, path: &str) -> Upload {
    let mode = UploadMode::New { exclusive: false };
    let permit = session.plan_upload(&at(path), mode).await.unwrap();
    permit.begin().await.unwrap()
}

#[tokio::test]
async fn an_upload_whose_right_is_taken_away_goes_on_hidden_and_is_not_published() {
    for world in worlds().await {
        world.upload("alice", "/old").await;
        let session = world.login("alice", PASSWORD).await.unwrap();
        let stays = session.clone();
        for (path, rights) in [("/new", "list,read"), ("/old", "list,read,write")] {
            let registry = world.depot.registry();
            let upload = begin(&session, path).await;
            permit(&world, "/", rights).await;
            // Its bytes were granted when it began.
            upload
                .write_at(0, Bytes::from_static(b"later"))
                .await
                .unwrap();
            let refused = upload.finish(Completion::Closed).await;
            assert!(
                matches!(refused, Err(VfsError::NotPermitted { .. })),
                "{path}: {refused:?}"
            );
            registry
                .remove_permission(&actor(), &name("alice"), &at("/"))
                .await
                .unwrap();
            world.depot.refresh().await.unwrap();
        }
        let old = stays.stat(&at("/old")).await.unwrap();
        assert_eq!((old.size_bytes, old.partial), (7, false));
        // Hidden, and resumable once the right is back.
        let new = stays.stat(&at("/new")).await.unwrap();
        assert_eq!((new.size_bytes, new.partial), (5, true));
        assert_eq!(stays.list(&at("/")).await.unwrap().len(), 1);

        // A new file needs no right to overwrite, then or now.
        let upload = begin(&session, "/another").await;
        permit(&world, "/", "list,write").await;
        upload.finish(Completion::Closed).await.unwrap();
    }
}

#[tokio::test]
async fn the_way_in_may_change_without_ending_who_is_in() {
    for world in worlds().await {
        let session = world.login("alice", PASSWORD).await.unwrap();
        let (registry, alice) = (world.depot.registry(), name("alice"));
        registry.set_password(&actor(), &alice, None).await.unwrap();
        let refreshed = world.depot.refresh().await.unwrap();
        assert!(refreshed.changed);
        assert_eq!(refreshed.ended_sessions, 0);
        assert!(session.stat(&at("/")).await.is_ok());
        assert!(world.login("alice", PASSWORD).await.is_err());
    }
}

#[tokio::test]
async fn a_name_that_no_account_can_have_is_refused_like_any_other() {
    for world in worlds().await {
        for user in ["nobody", "", "a\0b", "/", &"x".repeat(5000)] {
            let answer = world.login(user, PASSWORD).await;
            assert!(
                matches!(answer, Err(LoginError::Refused)),
                "{user:?}: {answer:?}"
            );
        }
        let entries = world.journal(JournalKind::Login).await;
        assert_eq!(entries.len(), 5);
        assert!(
            entries
                .iter()
                .all(|entry| entry.outcome == Outcome::Refused)
        );
    }
}

#[tokio::test]
async fn a_removed_network_ends_the_sessions_from_there_and_no_others() {
    for world in worlds().await {
        world.add("bob", |_| {}).await;
        let ends = world.login("alice", PASSWORD).await.unwrap();
        let stays = world.login("bob", PASSWORD).await.unwrap();
        let gone: Network = "192.0.2.0/24".parse().unwrap();
        world
            .depot
            .registry()
            .remove_network(&actor(), &name("alice"), &gone)
            .await
            .unwrap();
        assert_eq!(world.depot.refresh().await.unwrap().ended_sessions, 1);
        assert_eq!(ends.ended().await, EndReason::NetworkRemoved);
        assert!(ends.stat(&at("/")).await.is_err());
        assert!(stays.stat(&at("/")).await.is_ok());
    }
}

#[tokio::test]
async fn a_network_counts_until_its_end_and_not_longer() {
    for world in worlds().await {
        let until: Timestamp = world.clock.now().saturating_add(DAY);
        let gone: Network = "192.0.2.0/24".parse().unwrap();
        let registry = world.depot.registry();
        registry
            .remove_network(&actor(), &name("alice"), &gone)
            .await
            .unwrap();
        let limited = NewNetwork {
            until: Some(until),
            ..network("192.0.2.7")
        };
        registry
            .add_network(&actor(), &name("alice"), &limited)
            .await
            .unwrap();
        world.depot.refresh().await.unwrap();
        assert!(world.depot.gate().admit(PEER).is_ok());
        let session = world.login("alice", PASSWORD).await.unwrap();
        world.clock.advance(DAY);
        // Nothing in the database changed; the third look at the latest notices.
        for _ in 0..3 {
            world.depot.refresh().await.unwrap();
        }
        assert_eq!(session.ended().await, EndReason::NetworkRemoved);
        assert!(world.depot.gate().admit(PEER).is_err());
        assert!(world.login("alice", PASSWORD).await.is_err());
    }
}

#[tokio::test]
async fn keys_that_are_refused_before_a_signature_are_told_once_and_not_without_end() {
    for offered in [0_u64, 1, 8, 9] {
        for world in worlds().await {
            let gate = world.depot.gate();
            let mut offers = RefusedOffers::default();
            for number in 0..offered {
                let blob = number.to_be_bytes();
                let considered =
                    gate.consider_key("alice", PEER, Protocol::Sftp, &blob, &mut offers);
                assert!(!considered.await.unwrap());
            }
            let before = world.journal(JournalKind::Login).await.len();
            gate.note_offers(PEER, Protocol::Sftp, offers)
                .await
                .unwrap();
            let told = world.journal(JournalKind::Login).await;
            assert_eq!(told.len() - before, usize::from(offered > 0));
            let Some(entry) = told.last() else { continue };
            assert_eq!(entry.outcome, Outcome::Refused);
            assert_eq!(entry.account.as_deref(), Some("alice"));
            assert_eq!(reason(entry), "key not authorized");
            assert_eq!(entry.detail["offered"], offered);
            let keys = entry.detail["keys"].as_array().unwrap();
            assert_eq!(keys.len() as u64, offered.min(8));
            assert!(keys[0].as_str().unwrap().starts_with("SHA256:"));
        }
    }
}
