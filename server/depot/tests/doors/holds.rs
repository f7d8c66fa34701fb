//! Holds: what two operators have signed keeps files from partners, operators
//! and the sweep alike.

use bytes::Bytes;
use layover_depot::{
    Completion, Hold, HoldId, HoldScope, HoldState, JournalKind, Outcome, RegistryError,
    RemovedWhat, Replace, SIGNATURE_NAMESPACE, SignatureError, UploadMode, VfsError,
    parse_authorized_keys,
};
use layover_retention::{Clock, Timestamp};
use ssh_key::private::{Ed25519Keypair, KeypairData};
use ssh_key::{HashAlg, LineEnding, PrivateKey};

use crate::world::{DAY, PASSWORD, World, actor, at, worlds};

fn key(operator: &str) -> PrivateKey {
    let seed = [operator.as_bytes()[0]; 32];
    PrivateKey::new(KeypairData::Ed25519(Ed25519Keypair::from_seed(&seed)), "").unwrap()
}

fn signature(operator: &str, statement: &str) -> String {
    let signed = key(operator).sign(SIGNATURE_NAMESPACE, HashAlg::Sha512, statement.as_bytes());
    signed.unwrap().to_pem(LineEnding::LF).unwrap()
}

impl World {
    pub(crate) async fn add_operator(&self, name: &str) -> Result<(), RegistryError> {
        let line = key(name).public_key().to_openssh().unwrap();
        let keys = parse_authorized_keys(&line).unwrap();
        let registry = self.depot.registry();
        let name = name.parse().unwrap();
        registry
            .add_operator(&actor(), &name, &keys[0])
            .await
            .map(drop)
    }

    pub(crate) async fn propose(&self, path: &str, until: Timestamp) -> Hold {
        let (registry, home) = (self.depot.registry(), "alice".parse().unwrap());
        let hold = registry
            .propose_hold(&actor(), &home, &at(path), "case 7", until)
            .await;
        hold.unwrap()
    }

    pub(crate) async fn sign(
        &self,
        hold: &Hold,
        operator: &str,
    ) -> Result<HoldState, RegistryError> {
        let signature = signature(operator, &hold.statement);
        let registry = self.depot.registry();
        let approved = registry.approve_hold(&actor(), hold.id, &signature).await?;
        assert_eq!(approved.operator.as_str(), operator);
        Ok(approved.hold.state)
    }

    /// Signed by two operators.
    async fn hold(&self, path: &str, days: u32) -> Hold {
        let until = self.clock.now().saturating_add(days * DAY);
        let hold = self.propose(path, until).await;
        assert_eq!(self.sign(&hold, "ann").await.unwrap(), HoldState::Proposed);
        assert_eq!(self.sign(&hold, "bob").await.unwrap(), HoldState::Active);
        hold
    }

    pub(crate) async fn release(&self, hold: HoldId) -> u64 {
        let registry = self.depot.registry();
        let statement = registry
            .hold(hold)
            .await
            .unwrap()
            .release_statement("settled");
        let signature = signature("bob", &statement);
        let released = registry
            .release_hold(&actor(), hold, "settled", &signature)
            .await;
        released.unwrap()
    }

    pub(crate) async fn sweep(&self) -> u64 {
        let (now, shelf) = (self.clock.now(), self.depot.shelf());
        shelf.end_holds(now).await.unwrap();
        let report = layover_retention::sweep(shelf, now, 100).await.unwrap();
        assert_eq!((report.failed, report.busy), (0, 0));
        report.deleted
    }
}

async fn worlds_with_operators() -> Vec<World> {
    let worlds = worlds().await;
    for world in &worlds {
        world.add_operator("ann").await.unwrap();
        world.add_operator("bob").await.unwrap();
    }
    worlds
}

#[track_caller]
fn is_held<T: std::fmt::Debug>(result: Result<T, VfsError>) {
    assert!(matches!(result, Err(VfsError::Held { .. })), "{result:?}");
}

// Else what is to be held would come under another name.
#[tokio::test]
async fn a_folder_that_is_held_keeps_its_name_and_its_place() {
    for world in worlds_with_operators().await {
        let session = world.login("alice", PASSWORD).await.unwrap();
        for folder in ["/a", "/a/in", "/other"] {
            session.make_dir(&at(folder)).await.unwrap();
        }
        world.upload("alice", "/a/in/file").await;
        let hold = world.hold("/a/in", 90).await;
        assert_eq!(hold.scope, HoldScope::Folder);
        for (from, to) in [("/a/in", "/a/out"), ("/a", "/b"), ("/a/in", "/other/in")] {
            is_held(session.rename(&at(from), &at(to), Replace::Refuse).await);
        }
        for (from, to) in [("/other", "/another"), ("/a/in/file", "/a/file")] {
            let renamed = session.rename(&at(from), &at(to), Replace::Refuse).await;
            renamed.unwrap();
        }
        world.clock.advance(91 * DAY);
        world.sweep().await;
        let (from, to) = (at("/a/in"), at("/a/out"));
        session.rename(&from, &to, Replace::Refuse).await.unwrap();
    }
}

#[tokio::test]
async fn a_held_file_can_be_read_and_renamed_and_nothing_else_until_the_hold_ends() {
    for world in worlds_with_operators().await {
        world.upload("alice", "/held").await;
        world.upload("alice", "/free").await;
        let hold = world.hold("/held", 90).await;
        assert_eq!(hold.scope, HoldScope::File);
        let session = world.login("alice", PASSWORD).await.unwrap();
        for mode in [
            UploadMode::New { exclusive: false },
            UploadMode::Modify,
            UploadMode::Append,
        ] {
            is_held(session.plan_upload(&at("/held"), mode).await);
        }
        is_held(session.remove(&at("/held")).await);
        let before = session.stat(&at("/held")).await.unwrap();
        is_held(
            session
                .set_times(&at("/held"), None, Some(hold.until))
                .await,
        );
        is_held(session.set_mode(&at("/held"), 0o777).await);
        let after = session.stat(&at("/held")).await.unwrap();
        assert_eq!(
            (after.modified_at, after.mode),
            (before.modified_at, before.mode)
        );
        is_held(
            session
                .rename(&at("/free"), &at("/held"), Replace::Allow)
                .await,
        );
        let home = "alice".parse().unwrap();
        let registry = world.depot.registry();
        let removed = registry
            .remove_files(&actor(), &home, &at("/held"), RemovedWhat::Stored)
            .await;
        assert!(
            matches!(removed, Err(RegistryError::Files(VfsError::Held { .. }))),
            "{removed:?}"
        );
        session
            .rename(&at("/held"), &at("/still"), Replace::Refuse)
            .await
            .unwrap();
        let download = session.download(&at("/still")).await.unwrap();
        assert_eq!(download.read_at(0, 100).await.unwrap(), b"content"[..]);
        download.finish(7, true).await.unwrap();
        session.end("done").await;

        world.clock.advance(30 * DAY);
        assert_eq!(world.sweep().await, 1, "/free alone");
        let session = world.login("alice", PASSWORD).await.unwrap();
        is_held(session.remove(&at("/still")).await);
        let file = world.file("alice", "/still").await;
        assert_eq!(file.held_until, Some(hold.until));
        assert_eq!(file.expires_at, Some(hold.until));
        // Its name is free again for another file, which is not held.
        world.upload("alice", "/held").await;
        session.remove(&at("/held")).await.unwrap();
        session.end("done").await;
        let refused: Vec<_> = world
            .journal(JournalKind::Transfer)
            .await
            .into_iter()
            .filter(|entry| entry.outcome == Outcome::Refused)
            .filter(|entry| entry.detail.get("why").is_some_and(|why| why == "held"))
            .map(|entry| entry.action)
            .collect();
        let expected = [
            "upload",
            "upload",
            "upload",
            "delete",
            "attributes",
            "attributes",
            "rename",
            "delete",
        ];
        assert_eq!(refused, expected);

        world.clock.advance(60 * DAY);
        assert_eq!(world.sweep().await, 1, "/still, with the end of the hold");
        assert_eq!(
            registry.hold(hold.id).await.unwrap().state,
            HoldState::Ended
        );
    }
}

#[tokio::test]
async fn a_backup_by_hard_links_ends_no_hold_and_no_clock() {
    for world in worlds_with_operators().await {
        for file in ["/held", "/kept", "/neighbour"] {
            world.upload("alice", file).await;
        }
        let hold = world.hold("/held", 90).await;
        let homes = world.folder.path().join("homes/alice");
        let snapshot = |name: &str| world.folder.path().join(name);
        for name in ["held", "kept"] {
            std::fs::hard_link(homes.join(name), snapshot(name)).unwrap();
        }
        // A content that has its clock elsewhere is not taken under another name.
        std::fs::hard_link(homes.join("kept"), homes.join("second")).unwrap();
        for _ in 0..3 {
            let looked = world.depot.adopt_once().await.unwrap();
            assert_eq!(
                (looked.missing, looked.waiting, looked.adopted),
                (0, 0, 0),
                "{looked:?}"
            );
            assert_eq!(looked.linked, 3, "{looked:?}");
        }
        let session = world.login("alice", PASSWORD).await.unwrap();
        let listing = session.list(&at("/")).await.unwrap();
        assert_eq!(listing.len(), 3, "{listing:?}");
        for file in ["/held", "/kept"] {
            let download = session.download(&at(file)).await.unwrap();
            assert_eq!(download.read_at(0, 100).await.unwrap(), b"content"[..]);
            download.finish(7, true).await.unwrap();
        }
        assert!(session.stat(&at("/second")).await.is_err());
        is_held(session.remove(&at("/held")).await);
        session.end("done").await;
        assert_eq!(world.days("alice", "/kept").await, 5);
        assert_eq!(
            world.file("alice", "/held").await.held_until,
            Some(hold.until)
        );

        world.clock.advance(5 * DAY);
        assert_eq!(world.sweep().await, 2, "/kept and /neighbour");
        assert!(!homes.join("kept").exists() && !homes.join("neighbour").exists());
        assert!(homes.join("held").exists() && snapshot("kept").exists());
        let journal = world.journal(JournalKind::Retention).await;
        assert!(journal.iter().all(|entry| entry.action != "missing"));
        let expired = journal.iter().filter(|entry| entry.action == "expire");
        assert_eq!(expired.count(), 2);

        world.clock.advance(85 * DAY);
        assert_eq!(world.sweep().await, 1, "/held, with the end of its hold");
        assert!(!homes.join("held").exists());
    }
}

#[tokio::test]
async fn a_hold_outlives_account_and_rules_and_a_released_file_goes_with_the_next_sweep() {
    for world in worlds_with_operators().await {
        world
            .add("collector", |new| new.home = Some("alice".parse().unwrap()))
            .await;
        world.upload("alice", "/a").await;
        let hold = world.hold("/", 400).await;
        assert_eq!(
            (hold.scope, hold.path.is_root()),
            (HoldScope::Account, true)
        );
        world.upload("collector", "/later").await;
        world.upload("collector", "/even-later").await;
        world.adopt("dropped").await;
        let alice = "alice".parse().unwrap();
        let registry = world.depot.registry();
        registry.remove_account(&actor(), &alice).await.unwrap();
        world
            .set_keep("collector", Some(crate::world::keep(1)))
            .await;
        world.clock.advance(50 * DAY);
        assert_eq!(world.sweep().await, 0);
        let home = "alice".parse().unwrap();
        let held = registry.list_home(&home, &at("/")).await.unwrap();
        assert_eq!(held.len(), 4);
        assert!(
            held.iter().all(|file| file.held_until == Some(hold.until)),
            "{held:?}"
        );
        let session = world.login("collector", PASSWORD).await.unwrap();
        assert_eq!(
            session.list(&at("/")).await.unwrap().len(),
            4,
            "nothing is hidden"
        );
        assert_eq!(world.release(hold.id).await, 4);
        assert_eq!(world.sweep().await, 4);
    }
}

#[tokio::test]
async fn an_upload_that_a_hold_overtakes_replaces_nothing() {
    for world in worlds_with_operators().await {
        world.upload("alice", "/a").await;
        let session = world.login("alice", PASSWORD).await.unwrap();
        let mode = UploadMode::New { exclusive: false };
        let upload = session
            .plan_upload(&at("/a"), mode)
            .await
            .unwrap()
            .begin()
            .await
            .unwrap();
        upload
            .write_at(0, Bytes::from_static(b"other"))
            .await
            .unwrap();
        world.hold("/a", 9).await;
        is_held(upload.finish(Completion::Closed).await);
        let download = session.download(&at("/a")).await.unwrap();
        assert_eq!(download.read_at(0, 100).await.unwrap(), b"content"[..]);
        download.forget();
    }
}

#[tokio::test]
async fn only_two_operators_and_only_with_this_statement_make_a_hold_active() {
    for world in worlds_with_operators().await {
        world.upload("alice", "/a").await;
        let until = world.clock.now().saturating_add(9 * DAY);
        let (hold, other) = (
            world.propose("/a", until).await,
            world.propose("/a", until).await,
        );
        world.sign(&hold, "ann").await.unwrap();
        let twice = world.sign(&hold, "ann").await.unwrap_err();
        assert!(
            matches!(twice, RegistryError::SignedTwice { .. }),
            "{twice}"
        );
        let stranger = world.sign(&hold, "eve").await.unwrap_err();
        let unknown = RegistryError::Signature(SignatureError::Unknown {
            fingerprint: key("eve").fingerprint(HashAlg::Sha256).to_string(),
        });
        assert_eq!(stranger.to_string(), unknown.to_string());
        let registry = world.depot.registry();
        let of_other = signature("bob", &other.statement);
        let forged = registry
            .approve_hold(&actor(), hold.id, &of_other)
            .await
            .unwrap_err();
        assert!(
            matches!(forged, RegistryError::Signature(SignatureError::Forged)),
            "{forged}"
        );
        // A release is not an approval, nor the other way round.
        let release = signature("bob", &hold.release_statement("settled"));
        registry
            .approve_hold(&actor(), hold.id, &release)
            .await
            .unwrap_err();
        let approval = signature("bob", &hold.statement);
        let wrong = registry
            .release_hold(&actor(), hold.id, "settled", &approval)
            .await;
        wrong.unwrap_err();
        // What Ann signed counts no more when she is no operator.
        let gone = "ann".parse().unwrap();
        registry.remove_operator(&actor(), &gone).await.unwrap();
        assert_eq!(world.sign(&hold, "bob").await.unwrap(), HoldState::Proposed);
        world.add_operator("carl").await.unwrap();
        assert_eq!(world.file("alice", "/a").await.held_until, None);
        assert_eq!(world.sign(&hold, "carl").await.unwrap(), HoldState::Active);
        assert_eq!(world.file("alice", "/a").await.held_until, Some(until));
        let over = world.sign(&hold, "carl").await.unwrap_err();
        assert!(matches!(over, RegistryError::HoldOver { .. }), "{over}");
        let entries = world.journal(JournalKind::Retention).await;
        let signed: Vec<_> = entries
            .iter()
            .filter(|entry| entry.action == "hold.approve")
            .map(|entry| entry.detail["operator"].as_str().unwrap())
            .collect();
        assert_eq!(signed, ["ann", "bob", "carl"]);
    }
}

#[tokio::test]
async fn a_hold_needs_a_reason_an_end_in_reach_and_something_to_hold() {
    for world in worlds().await {
        let registry = world.depot.registry();
        let (actor, home) = (actor(), "alice".parse().unwrap());
        let now = world.clock.now();
        let ten_years = now.saturating_add(3650 * DAY);
        let propose = async |path: &str, reason: &str, until| {
            let hold = registry
                .propose_hold(&actor, &home, &at(path), reason, until)
                .await;
            hold.map(drop)
        };
        let refused = propose("/", "", ten_years).await.unwrap_err();
        assert!(matches!(refused, RegistryError::NoReason), "{refused}");
        let beyond = ten_years.saturating_add(std::time::Duration::from_micros(1));
        for until in [now, beyond] {
            let refused = propose("/", "why", until).await.unwrap_err();
            assert!(
                matches!(refused, RegistryError::HoldEnd { .. }),
                "{refused}"
            );
        }
        let refused = propose("/nothing", "why", ten_years).await.unwrap_err();
        assert!(
            matches!(refused, RegistryError::UnknownPath { .. }),
            "{refused}"
        );
        for _ in 0..100 {
            propose("/", "why", ten_years).await.unwrap();
        }
        let refused = propose("/", "why", ten_years).await.unwrap_err();
        assert!(
            matches!(refused, RegistryError::TooManyHolds { .. }),
            "{refused}"
        );
    }
}

#[tokio::test]
async fn held_files_are_named_in_the_status_and_in_the_forecast() {
    for world in worlds().await {
        for operator in ["ann", "bob"] {
            world.add_operator(operator).await.unwrap();
        }
        world.upload("alice", "/free").await;
        world.upload("alice", "/kept").await;
        world.hold("/kept", 9).await;
        let question = layover_depot::ForecastQuestion {
            until: world.clock.now().saturating_add(6 * DAY),
            if_keep: None,
        };
        let sums = world.depot.shelf().forecast(&question).await.unwrap();
        let told: Vec<_> = sums.iter().map(|sum| (sum.files, sum.held_files)).collect();
        assert_eq!(told, [(1, 1)]);
        assert_eq!(sums[0].held_bytes, sums[0].size_bytes);
        let registry = world.depot.registry();
        let status = registry.retention_status().await.unwrap();
        let end = world.clock.now().saturating_add(9 * DAY);
        assert_eq!((status.held_files, status.next_hold_end), (1, Some(end)));
        assert_eq!(sums[0].held_until, Some(end));
        let named = async |limit, after| {
            let shelf = world.depot.shelf();
            let files = shelf.forecast_files(&question, after, limit).await.unwrap();
            let told = files
                .iter()
                .map(|file| (file.path.to_string(), file.held_until));
            (told.collect::<Vec<_>>(), files)
        };
        let free = ("/free".to_owned(), None);
        let kept = ("/kept".to_owned(), Some(end));
        assert_eq!(named(9, None).await.0, [free.clone(), kept.clone()]);
        let (first, files) = named(1, None).await;
        assert_eq!(first, [free]);
        let after = Some((files[0].expires_at, files[0].id));
        let (second, files) = named(1, after).await;
        assert_eq!(second, [kept]);
        let after = Some((files[0].expires_at, files[0].id));
        assert_eq!(named(1, after).await.0, []);
        assert_eq!(status.held_bytes, sums[0].held_bytes);
        // The time of the other one is over: only the held one is spoken of.
        world.clock.advance(5 * DAY);
        assert_eq!(world.sweep().await, 1);
        let sums = world.depot.shelf().forecast(&question).await.unwrap();
        let told: Vec<_> = sums.iter().map(|sum| (sum.files, sum.held_files)).collect();
        assert_eq!(told, [(0, 1)]);
        assert_eq!(sums[0].first_expiry, end);
        world.clock.advance(4 * DAY);
        assert_eq!(world.sweep().await, 1);
        let status = registry.retention_status().await.unwrap();
        assert_eq!((status.held_files, status.next_hold_end), (0, None));
    }
}
