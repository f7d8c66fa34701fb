//! What operators ask of the store, and what runs by itself.

use layover_retention::Timestamp;

use super::{HERE, THERE, account_row, entity, entry, household, keep, ledger, path, rule, time};
use crate::account::{AccountChange, Enabled, JobRun, NewEntity};
use crate::journal::{JournalFilter, JournalKind, NewEntry, Outcome};
use crate::ledger::ApplianceKeep;
use crate::store::{OwnSessions, SessionBegun, SessionStart, Store};
use crate::vfs::StorageId;
use crate::{
    AccountLimits, Agreed, AuthPolicy, AuthorizedCertificate, AuthorizedKey, ByteRate,
    CertificateUse, EntityName, FileId, FolderPermission, KeyUse, LimitsChange, NewCertificate,
    NewNetwork, Protocol, Protocols, Rights, SessionId, SessionLimit, SessionReuse,
};

fn name<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().unwrap()
}

pub(super) async fn entities_and_accounts(store: &Store) {
    let first = store.generation().await.unwrap();
    let new = NewEntity {
        name: name("e1"),
        keep: Some(keep(50)),
    };
    let id = store
        .add_entity(&new, time(3), &entry("entity.add"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        store
            .add_entity(&new, time(4), &entry("entity.add"))
            .await
            .unwrap(),
        None
    );
    let found = store.entity(&new.name).await.unwrap().unwrap();
    assert_eq!(
        (found.id, found.keep, found.created_at),
        (id, Some(keep(50)), time(3))
    );
    assert_eq!(store.entity(&name("unknown")).await.unwrap(), None);
    assert_eq!(store.list_entities().await.unwrap(), [found]);

    let row = account_row("a1", id, "a1");
    let account = store
        .add_account(&row, &entry("account.add"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        store
            .add_account(&row, &entry("account.add"))
            .await
            .unwrap(),
        None
    );
    let stranger = entity(store, "e2").await;
    let in_foreign_home = account_row("a2", stranger, "a1");
    assert_eq!(
        store
            .add_account(&in_foreign_home, &entry("account.add"))
            .await
            .unwrap(),
        None
    );
    let (_, owner) = store.home(&row.home).await.unwrap().unwrap();
    assert_eq!(owner, name::<EntityName>("e1"));
    let names = store.account_names(account).await.unwrap();
    assert_eq!(names, (name("a1"), name("e1")));

    let change = AccountChange {
        protocols: Some(Protocols::of(&[Protocol::Sftp])),
        keep: Some(Some(keep(7))),
        quota_bytes: Some(Some(1 << 40)),
        read_only: Some(true),
        auth: Some(AuthPolicy::KeyAndPassword),
        session_reuse: Some(Some(SessionReuse::Require)),
        limits: LimitsChange {
            max_sessions: Some(SessionLimit::new(7).ok()),
            upload_rate: Some(ByteRate::new(1 << 20).ok()),
            download_rate: Some(ByteRate::new(1 << 21).ok()),
        },
        ..AccountChange::default()
    };
    store
        .change_account(account, &change, rule(), &entry("account.set"))
        .await
        .unwrap();
    store
        .set_enabled(account, Enabled::No, &entry("account.disable"))
        .await
        .unwrap();
    let changed = store.account(&name("a1")).await.unwrap().unwrap();
    assert_eq!(changed.protocols.to_string(), "sftp");
    assert_eq!(
        (changed.keep, changed.quota_bytes),
        (Some(keep(7)), Some(1 << 40))
    );
    assert_eq!(changed.auth, AuthPolicy::KeyAndPassword);
    assert!(changed.read_only && !changed.enabled && !changed.publish_on_rename);
    assert_eq!(changed.session_reuse, Some(SessionReuse::Require));
    let standing = store.standing(&[account]).await.unwrap();
    assert_eq!(standing[0].terms.session_reuse, Some(SessionReuse::Require));
    let limits = AccountLimits {
        max_sessions: SessionLimit::new(7).ok(),
        upload_rate: ByteRate::new(1 << 20).ok(),
        download_rate: ByteRate::new(1 << 21).ok(),
    };
    assert_eq!((changed.limits, standing[0].terms.limits), (limits, limits));
    let cleared = AccountChange {
        keep: Some(None),
        session_reuse: Some(None),
        limits: LimitsChange {
            upload_rate: Some(None),
            ..LimitsChange::default()
        },
        ..AccountChange::default()
    };
    store
        .change_account(account, &cleared, rule(), &entry("account.set"))
        .await
        .unwrap();
    let cleared = store.account(&name("a1")).await.unwrap().unwrap();
    assert_eq!((cleared.keep, cleared.quota_bytes), (None, Some(1 << 40)));
    assert_eq!(cleared.session_reuse, None);
    let limits = AccountLimits {
        upload_rate: None,
        ..limits
    };
    assert_eq!(cleared.limits, limits);
    assert_eq!(store.list_accounts().await.unwrap(), [cleared]);
    assert!(store.generation().await.unwrap() > first);
}

pub(super) async fn credentials_networks_and_permissions(store: &Store) {
    let (_, account, _) = household(store, "keyed").await;
    let key = AuthorizedKey {
        fingerprint: "SHA256:x".to_owned(),
        algorithm: "ssh-ed25519".to_owned(),
        comment: "ünïcode".to_owned(),
        blob: vec![0, 255, 10],
        from: vec![name("!10.0.0.1"), name("10.0.0.0/8")],
        expires_at: Some(time(99)),
        used_for: KeyUse::Login,
        added_at: time(1),
    };
    store
        .add_key(account, &key, &entry("key.add"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        store
            .add_key(account, &key, &entry("key.add"))
            .await
            .unwrap(),
        None
    );
    let network = NewNetwork {
        network: name("10.0.0.0/8"),
        reason: Some("why".to_owned()),
        until: None,
    };
    store
        .add_network(account, &network, time(2), &entry("net"))
        .await
        .unwrap()
        .unwrap();
    let again = store
        .add_network(account, &network, time(2), &entry("net"))
        .await
        .unwrap();
    assert_eq!(again, None);
    let later = NewNetwork {
        reason: None,
        until: Some(time(60)),
        ..network.clone()
    };
    store
        .change_network(account, &later, &entry("net"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(store.live_networks(time(60)).await.unwrap(), []);
    store
        .change_network(account, &network, &entry("net"))
        .await
        .unwrap()
        .unwrap();
    let unknown = NewNetwork {
        network: name("198.51.100.0/24"),
        ..network.clone()
    };
    let missed = store
        .change_network(account, &unknown, &entry("net"))
        .await
        .unwrap();
    assert_eq!(missed, None);
    let limited = NewNetwork {
        network: name("192.0.2.7"),
        reason: None,
        until: Some(time(50)),
    };
    store
        .add_network(account, &limited, time(2), &entry("net"))
        .await
        .unwrap()
        .unwrap();
    let permission = FolderPermission {
        path: path("/in"),
        rights: Rights::READ_ONLY,
    };
    store
        .set_permission(account, &permission, &entry("permission"))
        .await
        .unwrap();
    let wider = FolderPermission {
        rights: Rights::ALL,
        ..permission.clone()
    };
    store
        .set_permission(account, &wider, &entry("permission"))
        .await
        .unwrap();
    store
        .set_password(account, Some("hash"), &entry("password"))
        .await
        .unwrap();

    let row = store.login("keyed").await.unwrap().unwrap();
    assert_eq!(row.password_hash.as_deref(), Some("hash"));
    assert_eq!(row.account.keys, std::slice::from_ref(&key));
    assert_eq!(row.account.auth, AuthPolicy::Any);
    assert!(!store.has_authorities().await.unwrap());
    for (fingerprint, principals) in [("SHA256:y", &[][..]), ("SHA256:z", &["a b", "c"])] {
        let authority = AuthorizedKey {
            fingerprint: fingerprint.to_owned(),
            used_for: KeyUse::Authority {
                principals: principals.iter().map(ToString::to_string).collect(),
            },
            ..key.clone()
        };
        store
            .add_key(account, &authority, &entry("key.add"))
            .await
            .unwrap()
            .unwrap();
        let found = store.login("keyed").await.unwrap().unwrap();
        assert_eq!(found.account.keys.last(), Some(&authority));
        assert!(store.has_authorities().await.unwrap());
        store
            .remove_key(account, fingerprint, &entry("key.remove"))
            .await
            .unwrap()
            .unwrap();
        assert!(!store.has_authorities().await.unwrap());
    }
    let certificate = |fingerprint: &str, used_for| NewCertificate {
        fingerprint: fingerprint.to_owned(),
        subject: "CN=partner".to_owned(),
        der: vec![0x30, 0, 0xff],
        not_before: time(1),
        not_after: time(99),
        used_for,
    };
    let names = "partner,it@acme.example".parse().unwrap();
    let authority = CertificateUse::Authority { names };
    assert!(!store.has_certificates().await.unwrap());
    for (fingerprint, used_for) in [("ab", CertificateUse::Login), ("cd", authority)] {
        let certificate = certificate(fingerprint, used_for);
        let added = entry("certificate.add");
        let add = || store.add_certificate(account, &certificate, time(7), &added);
        assert_eq!(add().await.unwrap(), Some(()));
        assert_eq!(add().await.unwrap(), None);
        let found = store.login("keyed").await.unwrap().unwrap();
        let expected = AuthorizedCertificate {
            fingerprint: certificate.fingerprint,
            subject: certificate.subject,
            der: certificate.der,
            not_before: certificate.not_before,
            not_after: certificate.not_after,
            used_for: certificate.used_for,
            added_at: time(7),
        };
        assert_eq!(found.account.certificates.last(), Some(&expected));
    }
    assert!(store.has_certificates().await.unwrap());
    for fingerprint in ["ab", "cd"] {
        let removed = entry("certificate.remove");
        let remove = || store.remove_certificate(account, fingerprint, &removed);
        assert_eq!(remove().await.unwrap(), Some(()));
        assert_eq!(remove().await.unwrap(), None);
    }
    assert!(!store.has_certificates().await.unwrap());
    assert_eq!(row.account.permissions, [wider]);
    assert_eq!(row.account.networks.len(), 2);
    assert!(row.account.has_password);
    assert!(store.login("unknown").await.unwrap().is_none());

    assert_eq!(store.live_networks(time(49)).await.unwrap().len(), 2);
    assert_eq!(
        store.live_networks(time(50)).await.unwrap(),
        [network.network]
    );
    let standing = store.standing(&[account]).await.unwrap();
    assert!(standing.len() == 1 && standing.iter().all(|row| row.enabled));
    store
        .set_enabled(account, Enabled::No, &entry("disable"))
        .await
        .unwrap();
    assert_eq!(store.live_networks(time(1)).await.unwrap(), []);

    store
        .remove_key(account, "SHA256:x", &entry("key.remove"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        store
            .remove_key(account, "SHA256:x", &entry("key"))
            .await
            .unwrap(),
        None
    );
    let gone = network.network;
    store
        .remove_network(account, &gone, &entry("net"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        store
            .remove_network(account, &gone, &entry("net"))
            .await
            .unwrap(),
        None
    );
    store
        .remove_permission(account, &path("/in"), &entry("p"))
        .await
        .unwrap()
        .unwrap();
    let again = store
        .remove_permission(account, &path("/in"), &entry("p"))
        .await
        .unwrap();
    assert_eq!(again, None);
    store
        .set_password(account, None, &entry("password"))
        .await
        .unwrap();
    let bare = store.account(&name("keyed")).await.unwrap().unwrap();
    assert!(bare.keys.is_empty() && bare.permissions.is_empty() && !bare.has_password);
}

pub(super) async fn sessions_and_nodes(store: &Store) {
    let (_, account, _) = household(store, "visitor").await;
    for node in [HERE, THERE] {
        store.begin_node(&node.id(), time(100)).await.unwrap();
        store.begin_node(&node.id(), time(101)).await.unwrap();
    }
    let agreed = Agreed::from_json(Some(r#"{"suite":"x"}"#));
    let start = |node: crate::NodeId| SessionStart {
        id: SessionId::random().unwrap(),
        node,
        account,
        protocol: Protocol::Ftps,
        peer: name("2001:db8::1"),
        since: time(102),
        agreed: agreed.clone(),
        is_counted: false,
        silent_before: time(0),
    };
    let (here, there) = (start(HERE.id()), start(THERE.id()));
    store.begin_session(&here, &entry("login")).await.unwrap();
    store.begin_session(&there, &entry("login")).await.unwrap();
    let listed = store.list_sessions(time(101)).await.unwrap();
    assert_eq!(listed.len(), 2);
    assert!(listed.iter().all(|session| session.agreed == agreed));
    a_limit_of_sessions_counts_nodes_that_live(store, &here).await;
    assert!(listed.iter().all(|session| session.peer == "2001:db8::1"));

    let told = NewEntry::new(time(102), JournalKind::Login, "login", &HERE.id()).account("visitor");
    store.append(&told).await.unwrap();
    let refused = NewEntry {
        at: time(103),
        ..told.outcome(Outcome::Refused)
    };
    store.append(&refused).await.unwrap();
    let used = store.account_use().await.unwrap();
    assert_eq!(used[&account].last_login_at, Some(time(102)));
    let later = NewEntry {
        at: time(104),
        ..entry("login").account("visitor")
    };
    store.append(&later).await.unwrap();
    store
        .append(&entry("login").account("other"))
        .await
        .unwrap();
    let visitor = name("visitor");
    for (newest, times) in [(5, &[time(104), time(102)][..]), (1, &[time(104)])] {
        let logins = store.last_logins(&visitor, newest).await.unwrap();
        let found: Vec<_> = logins.iter().map(|login| login.at).collect();
        assert_eq!(found, times);
    }
    assert_eq!(used[&account].used_bytes, 0);

    let before = store.generation().await.unwrap();
    store
        .kill_session(&here.id, "operator", &entry("session.kill"))
        .await
        .unwrap()
        .unwrap();
    assert!(store.generation().await.unwrap() > before);
    let unknown = SessionId::random().unwrap();
    let missed = store
        .kill_session(&unknown, "operator", &entry("session.kill"))
        .await
        .unwrap();
    assert_eq!(missed, None);
    assert_eq!(
        store.killed(&HERE.id()).await.unwrap(),
        std::slice::from_ref(&here.id)
    );
    assert_eq!(store.killed(&THERE.id()).await.unwrap(), []);
    store
        .end_session(&here.id, &[entry("logout")])
        .await
        .unwrap();

    what_nodes_tell_of_themselves(store).await;
    // `there` falls silent; `here` goes on.
    store.beat(&HERE.id(), time(200)).await.unwrap();
    assert_eq!(
        store.list_sessions(time(150)).await.unwrap(),
        [],
        "its session is a ghost"
    );
    assert_eq!(store.list_sessions(time(101)).await.unwrap().len(), 1);
    dead_sessions_end_with_a_logout(store, &start(HERE.id()), &there).await;
    store
        .drop_silent_nodes(&HERE.id(), time(150))
        .await
        .unwrap();
    assert_eq!(store.list_sessions(time(0)).await.unwrap(), []);
    // It had only lost its way to the database.
    store.beat(&THERE.id(), time(200)).await.unwrap();
    assert!(store.others_live(&HERE.id(), time(150)).await.unwrap());
    store.end_node(&THERE.id()).await.unwrap();
    assert!(!store.others_live(&HERE.id(), time(0)).await.unwrap());

    store
        .set_enabled(account, Enabled::No, &entry("disable"))
        .await
        .unwrap();
    let late = store
        .begin_session(&start(HERE.id()), &entry("login"))
        .await
        .unwrap();
    assert_eq!(
        late,
        SessionBegun::AccountGone,
        "an account that was disabled meanwhile"
    );
}

/// It counts while they live, and when they told it since their start: both begun, and were
/// heard of, at 101.
async fn what_nodes_tell_of_themselves(store: &Store) {
    let told = |at| JobRun {
        at,
        next_due_at: None,
        report: serde_json::json!("this"),
    };
    for (node, at) in [(HERE, 101), (THERE, 100)] {
        let job = format!("tells:{}", node.id());
        store.note_job(&job, &told(time(at))).await.unwrap();
    }
    let heard_since = async |at| store.told_by_nodes("tells:", time(at)).await.unwrap();
    let here = HERE.id().to_string();
    assert_eq!(heard_since(101).await, [(here, told(time(101)))]);
    assert_eq!(heard_since(102).await, []);
}

/// Two sessions are there, `here` among them; both nodes were heard of at 101.
async fn a_limit_of_sessions_counts_nodes_that_live(store: &Store, here: &SessionStart) {
    let limited = |sessions: Option<u64>| AccountChange {
        limits: LimitsChange {
            max_sessions: Some(sessions.and_then(|limit| SessionLimit::new(limit).ok())),
            ..LimitsChange::default()
        },
        ..AccountChange::default()
    };
    let set = async |sessions| {
        let (change, entry) = (limited(sessions), entry("account.set"));
        let set = store.change_account(here.account, &change, rule(), &entry);
        set.await.unwrap();
    };
    for (limit, silent_before, begun) in [
        (Some(2), 101, SessionBegun::TooMany),
        (Some(3), 101, SessionBegun::Yes),
        // The other node is silent, this one counts whatever is said of it.
        (Some(2), 102, SessionBegun::Yes),
        (Some(1), 102, SessionBegun::TooMany),
        (None, 101, SessionBegun::Yes),
    ] {
        set(limit).await;
        let start = SessionStart {
            id: SessionId::random().unwrap(),
            is_counted: true,
            silent_before: time(silent_before),
            ..here.clone()
        };
        let found = store.begin_session(&start, &entry("login")).await.unwrap();
        assert_eq!(found, begun, "{limit:?}, {silent_before}");
        store.end_session(&start.id, &[]).await.unwrap();
    }
}

/// `there` is of a node that is silent at 150, `here` of this one.
async fn dead_sessions_end_with_a_logout(store: &Store, here: &SessionStart, there: &SessionStart) {
    store.begin_session(here, &entry("login")).await.unwrap();
    let dead = async |own: OwnSessions| {
        let node = HERE.id();
        let ended = store.end_dead_sessions(&node, own, time(150), time(201));
        ended.await.unwrap()
    };
    let told = async || {
        let filter = JournalFilter {
            kind: Some(JournalKind::Login),
            since: Some(time(201)),
            limit: 10,
            ..JournalFilter::default()
        };
        store.journal_page(&filter).await.unwrap()
    };
    assert_eq!(dead(OwnSessions::Alive).await, 1);
    assert_eq!(dead(OwnSessions::Alive).await, 0, "it is told once");
    assert_eq!(dead(OwnSessions::Dead).await, 1);
    let told = told().await;
    assert_eq!(told.len(), 2);
    for (logout, session) in told.iter().zip([there, here]) {
        assert_eq!(logout.session.as_ref(), Some(&session.id));
        assert_eq!((logout.action.as_str(), logout.at), ("logout", time(201)));
        assert_eq!(logout.account.as_deref(), Some("visitor"));
        assert!(logout.entity.is_some());
        assert_eq!(logout.peer, Some(session.peer));
        assert_eq!(logout.protocol, Some(session.protocol));
        assert_eq!(logout.detail["reason"], "server died");
    }
}

async fn journal_of_places(store: &Store) {
    let (_, account, _) = household(store, "placed").await;
    let (account, _) = store.account_names(account).await.unwrap();
    let home = store.account(&account).await.unwrap().unwrap().home;
    let about = |place: &str| {
        NewEntry::new(time(290), JournalKind::Retention, "expire", &HERE.id()).path(&path(place))
    };
    for entry in [
        about("/in/a").account(&account),
        about("/in").with("home", home.as_str()),
        about("/inn/a").with("home", home.as_str()),
        about("/in/b").with("why", format!("\"home\":\"{home}\"")),
        about("/in/c"),
    ] {
        store.append(&entry).await.unwrap();
    }
    let found = async |below: Option<&str>, of_home: bool| {
        let filter = JournalFilter {
            home: of_home.then(|| home.clone()),
            below: below.map(path),
            kind: Some(JournalKind::Retention),
            since: Some(time(290)),
            until: Some(time(291)),
            limit: 10,
            ..JournalFilter::default()
        };
        let page = store.journal_page(&filter).await.unwrap();
        let paths = page
            .iter()
            .map(|entry| entry.path.clone().unwrap().to_string());
        paths.collect::<Vec<_>>()
    };
    assert_eq!(found(None, true).await, ["/in/a", "/in", "/inn/a"]);
    assert_eq!(found(Some("/in"), true).await, ["/in/a", "/in"]);
    assert_eq!(
        found(Some("/in"), false).await,
        ["/in/a", "/in", "/in/b", "/in/c"]
    );
}

pub(super) async fn journal_and_jobs(store: &Store) {
    let peer = name("192.0.2.1");
    let told = NewEntry::new(time(300), JournalKind::Transfer, "upload", &HERE.id())
        .outcome(Outcome::Failed)
        .account("somebody")
        .entity("acme")
        .peer(peer)
        .protocol(Protocol::Sftp)
        .path(&path("/a"))
        .size_bytes(1 << 40)
        .duration_ms(12)
        .with("why", "\"quoted\" \u{0} ünïcode");
    store.append(&told).await.unwrap();
    let filter = JournalFilter {
        account: Some("somebody".to_owned()),
        kind: Some(JournalKind::Transfer),
        since: Some(time(300)),
        limit: 10,
        ..JournalFilter::default()
    };
    let found = store.journal_page(&filter).await.unwrap();
    assert_eq!(found.len(), 1);
    let read = &found[0];
    assert_eq!(
        (read.at, read.outcome, read.peer),
        (time(300), Outcome::Failed, Some(peer))
    );
    assert_eq!(
        (read.size_bytes, read.duration_ms),
        (Some(1 << 40), Some(12))
    );
    assert_eq!(read.detail, told.detail);
    for (newest, before) in [(0, Some(read.id)), (1, None)] {
        let found = store.before_newest(&filter, newest).await.unwrap();
        assert_eq!(found, before, "{newest}");
    }
    for (tweak, count) in [
        (
            JournalFilter {
                until: Some(time(300)),
                ..filter.clone()
            },
            0,
        ),
        (
            JournalFilter {
                until: Some(time(301)),
                ..filter.clone()
            },
            1,
        ),
        (
            JournalFilter {
                below: Some(path("/")),
                ..filter.clone()
            },
            1,
        ),
        (
            JournalFilter {
                below: Some(path("/a")),
                ..filter.clone()
            },
            1,
        ),
        (
            JournalFilter {
                below: Some(path("/a/b")),
                ..filter.clone()
            },
            0,
        ),
        (
            JournalFilter {
                home: Some(name("nobodys")),
                ..filter.clone()
            },
            0,
        ),
    ] {
        assert_eq!(
            store.journal_page(&tweak).await.unwrap().len(),
            count,
            "{tweak:?}"
        );
        let all = store.before_newest(&tweak, 0).await.unwrap();
        assert_eq!(all.is_some(), count == 1, "{tweak:?}");
    }
    journal_of_places(store).await;
    let later = JournalFilter {
        after_id: Some(read.id),
        ..filter.clone()
    };
    assert_eq!(store.journal_page(&later).await.unwrap(), []);
    store.append_all(&[told.clone(), told]).await.unwrap();
    assert_eq!(store.journal_page(&filter).await.unwrap().len(), 3);

    let run = |at: Timestamp| JobRun {
        at,
        next_due_at: Some(time(9)),
        report: serde_json::json!({ "deleted": 3 }),
    };
    assert_eq!(store.last_run("sweep").await.unwrap(), None);
    store.note_job("sweep", &run(time(7))).await.unwrap();
    store.note_job("sweep", &run(time(8))).await.unwrap();
    assert_eq!(store.last_run("sweep").await.unwrap(), Some(run(time(8))));
    let status = store.retention_status(time(0)).await.unwrap();
    assert_eq!(status.last_sweep, Some(run(time(8))));
}

pub(super) async fn the_storage_of_the_homes(store: &Store) {
    let (ours, theirs) = (StorageId::fresh().unwrap(), StorageId::fresh().unwrap());
    let record = async |storage: &StorageId, replaces: Option<&StorageId>| {
        let entry = entry("homes.storage");
        let recorded = store.record_storage(storage, replaces, time(1), &entry);
        recorded.await.unwrap().is_some()
    };
    assert_eq!(store.homes_storage().await.unwrap(), None);
    assert!(record(&ours, None).await);
    assert!(!record(&theirs, None).await, "the first one holds");
    assert!(!record(&theirs, Some(&theirs)).await);
    assert_eq!(store.homes_storage().await.unwrap().as_ref(), Some(&ours));
    assert!(record(&theirs, Some(&ours)).await);
    assert_eq!(store.homes_storage().await.unwrap(), Some(theirs));

    let needed = async |silent_before| {
        let here = HERE.id();
        let needed = store.storage_is_needed(&here, time(silent_before));
        needed.await.unwrap()
    };
    assert!(!needed(100_000).await, "no file, and no other node");
    store.beat(&HERE.id(), time(100_000)).await.unwrap();
    assert!(!needed(100_000).await, "this node is not another one");
    store.begin_node(&THERE.id(), time(100_000)).await.unwrap();
    assert!(needed(100_000).await);
    assert!(!needed(100_001).await, "it is silent");
    for (silent_before, live) in [(100_000, true), (100_001, false)] {
        let here = HERE.id();
        let others = store.others_live(&here, time(silent_before));
        assert_eq!(others.await.unwrap(), live);
    }
    store.end_node(&THERE.id()).await.unwrap();
    let (_, account, home) = household(store, "mounted").await;
    ledger::stored(store, home, account, "/file", time(1000)).await;
    assert!(needed(100_001).await, "a file is stored");
}

pub(super) async fn a_changed_rule(store: &Store) {
    let (id, account, home) = household(store, "ruled").await;
    ledger::stored(store, home, account, "/file", time(1000)).await;
    let expiry = async || {
        let files = store
            .list_files(home, &path("/"), FileId(0), 10)
            .await
            .unwrap();
        files[0].expires_at.unwrap()
    };
    assert_eq!(expiry().await, time(1100));
    for moved in [1, 0] {
        let answer = store
            .set_entity_keep(id, Some(keep(60)), rule(), &entry("entity.set"))
            .await
            .unwrap();
        assert_eq!(answer, moved);
    }
    assert_eq!(expiry().await, time(1060));
    let own = AccountChange {
        keep: Some(Some(keep(900))),
        ..AccountChange::default()
    };
    for moved in [1, 0] {
        let answer = store
            .change_account(account, &own, rule(), &entry("account.set"))
            .await
            .unwrap();
        assert_eq!(answer, moved);
    }
    assert_eq!(expiry().await, time(1900));
    let tighter = ApplianceKeep {
        keep: keep(10),
        max_keep: keep(500),
    };
    let noted = store
        .apply_rule(tighter, time(1001), &entry("rule"))
        .await
        .unwrap();
    assert_eq!(noted, Some(()));
    assert_eq!(expiry().await, time(1500), "no more than the maximum");
    let same = store
        .apply_rule(tighter, time(1002), &entry("rule"))
        .await
        .unwrap();
    assert_eq!(same, None);
}

pub(super) async fn removed_accounts_and_entities(store: &Store) {
    let (id, account, home) = household(store, "leaving").await;
    ledger::stored(store, home, account, "/file", time(2000)).await;
    let files = async || store.list_files(home, &path("/"), FileId(0), 10).await;
    let mut second = account_row("second", id, "leaving");
    second.takes_files_over = false;
    let refused = store
        .add_account(&second, &entry("account.add"))
        .await
        .unwrap();
    assert_eq!(refused, None, "the home holds a file");
    assert_eq!(
        store
            .remove_entity(id, &entry("entity.remove"))
            .await
            .unwrap(),
        None
    );
    store
        .remove_account(account, time(9), rule(), &entry("gone"))
        .await
        .unwrap()
        .unwrap();
    let twice = store
        .remove_account(account, time(9), rule(), &entry("gone"))
        .await
        .unwrap();
    assert_eq!(twice, None);
    assert_eq!(store.account(&name("leaving")).await.unwrap(), None);
    assert_eq!(
        store.account_names(account).await.unwrap().0,
        name("leaving")
    );
    assert!(
        store
            .standing(&[account])
            .await
            .unwrap()
            .iter()
            .all(|row| !row.enabled)
    );
    assert_eq!(files().await.unwrap().len(), 1, "its files stay");
    assert_eq!(
        store
            .remove_entity(id, &entry("entity.remove"))
            .await
            .unwrap(),
        None
    );
    // The name is free, and the home is there.
    let again = account_row("leaving", id, "leaving");
    let second = store
        .add_account(&again, &entry("account.add"))
        .await
        .unwrap()
        .unwrap();
    store
        .remove_account(second, time(10), rule(), &entry("gone"))
        .await
        .unwrap()
        .unwrap();
    ledger::remove(store, home, "/file", time(2100)).await;
    store
        .remove_entity(id, &entry("entity.remove"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(store.entity(&name("leaving")).await.unwrap(), None);
    assert_eq!(store.home(&name("leaving")).await.unwrap(), None);
}
