//! Nodes and the sessions on them.

use super::{HERE, THERE, entry, household, name, rule, time};
use crate::account::{AccountChange, Enabled, JobRun};
use crate::journal::{JournalFilter, JournalKind, NewEntry, Outcome};
use crate::store::{Attempt, OwnSessions, SessionBegun, SessionStart, Store};
use crate::{Agreed, LimitsChange, Protocol, SessionId, SessionLimit};

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
    let before = logouts(store).await;
    for attempt in [Attempt::First, Attempt::Again] {
        store
            .end_session(&here.id, &[entry("logout")], attempt)
            .await
            .unwrap();
        assert_eq!(logouts(store).await, before + 1, "{attempt:?}");
    }

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
async fn logouts(store: &Store) -> usize {
    let filter = JournalFilter {
        kind: Some(JournalKind::Admin),
        limit: 1_000,
        ..JournalFilter::default()
    };
    let entries = store.journal_page(&filter).await.unwrap();
    entries.iter().filter(|one| one.action == "logout").count()
}

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
        store
            .end_session(&start.id, &[], Attempt::First)
            .await
            .unwrap();
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
