//! Events, hooks and deliveries, as rows.

use layover_retention::Timestamp;
use serde_json::{Map, Value, json};

use super::{HERE, Node, THERE, account_row, entity, entry, path, time};
use crate::event::{
    About, ClaimedDelivery, DeliveryFailure, DeliveryId, DeliveryOutcome, DeliveryState,
    DeliveryTaker, DueHook, Event, EventFilter, EventId, EventKind, Hook, HookAddresses, HookId,
    HookPlain, HookRow, HookTarget, HookUpdate, MAX_HOOKS, NewEvent, NewHook, Reach, Told,
    Unreached,
};
use crate::integration::SecretForm;
use crate::journal::{Follower, JournalKind, NewEntry, Outcome};
use crate::store::{Resealed, Store};
use crate::{EntityId, HookName};

/// How long the nodes of these tests hold a delivery, in seconds.
const LEASE_S: i64 = 10;

fn target() -> HookTarget {
    HookTarget {
        url: "https://hooks.example/a".parse().unwrap(),
        authorities: None,
        plain: HookPlain::ThisMachine,
        addresses: HookAddresses::Usual,
    }
}

pub(super) fn row(name: &str, entity: Option<EntityId>, kinds: &[EventKind]) -> HookRow {
    HookRow {
        name: name.parse().unwrap(),
        entity,
        target: target(),
        kinds: kinds.to_vec(),
        handle: format!("handle-{name}"),
        form: SecretForm::Sealed {
            key_id: "k1".to_owned(),
        },
        sealed: Some(vec![1, 2, 3]),
    }
}

pub(super) async fn add(store: &Store, row: HookRow) -> Option<HookId> {
    let new = NewHook {
        row,
        created_at: time(20_000),
    };
    store.add_hook(&new, &entry("hook.add")).await.unwrap()
}

async fn hook(store: &Store, name: &str) -> Hook {
    let name: HookName = name.parse().unwrap();
    store.hooks(Some(&name)).await.unwrap().pop().unwrap()
}

pub(super) async fn remove(store: &Store, hook: HookId) -> Option<()> {
    let note = entry("hook.remove");
    store.remove_hook(hook, time(29_000), &note).await.unwrap()
}

pub(super) async fn enable(store: &Store, hook: HookId, enabled: bool) -> Option<()> {
    let note = entry("hook.set");
    store.enable_hook(hook, enabled, &note).await.unwrap()
}

pub(super) async fn again(store: &Store, hook: HookId, event: Option<EventId>, now: i64) -> u64 {
    let note = entry("hook.retry");
    let again = store.send_again(hook, event, time(now), &note).await;
    again.unwrap()
}

pub(super) fn file(name: &str, account: &str, second: i64) -> Told {
    Told {
        at: time(second),
        kind: EventKind::FileArrived,
        about: About::File {
            home: None,
            account: Some(account.to_owned()),
            path: path(&format!("/in/{name}")),
        },
        entity: None,
        detail: Map::new(),
    }
}

/// Tells this next; the events that were written.
pub(super) async fn tell(store: &Store, told: &[Told], now: i64) -> u64 {
    let from = store.begin_following(Follower::Events, time(1)).await;
    let from = from.unwrap();
    let done = store.tell(from, from + 1, told, time(now)).await.unwrap();
    assert_eq!(
        store.cursor(Follower::Events).await.unwrap(),
        Some(from + 1)
    );
    done.unwrap()
}

async fn newest(store: &Store, limit: usize) -> Vec<Event> {
    let filter = EventFilter {
        before: Some(EventId(i64::MAX)),
        limit,
        ..EventFilter::default()
    };
    store.events(&filter).await.unwrap()
}

pub(super) async fn claim(
    store: &Store,
    node: &Node,
    hook: HookId,
    now: i64,
    limit: usize,
) -> Vec<ClaimedDelivery> {
    let taker = DeliveryTaker {
        node: node.id(),
        now: time(now),
        lease_until: time(now + LEASE_S),
    };
    let version = store.hook_at(hook).await.unwrap().unwrap().version;
    let due = store.deliveries_due(hook, taker.now, limit).await.unwrap();
    let hook = DueHook { id: hook, version };
    store.claim_deliveries(&taker, hook, &due).await.unwrap()
}

fn subjects(claimed: &[ClaimedDelivery]) -> Vec<&str> {
    claimed
        .iter()
        .map(|delivery| delivery.event.subject.as_str())
        .collect()
}

pub(super) async fn fail(
    store: &Store,
    delivery: &ClaimedDelivery,
    reach: Reach,
    now: i64,
) -> DeliveryOutcome {
    let tried = Unreached {
        id: delivery.id,
        token: delivery.token,
        failure: DeliveryFailure {
            reach,
            cause: "why not".to_owned(),
            again_at: time(now + 5),
        },
        now: time(now),
        node: HERE.id(),
    };
    store.not_delivered(&tried).await.unwrap()
}

pub(super) async fn done(store: &Store, delivery: &ClaimedDelivery, now: i64) -> bool {
    let done = store.delivered(delivery.id, delivery.token, 200, time(now));
    done.await.unwrap()
}

/// What of a hook's is in this state, by subject.
async fn left(store: &Store, name: &str, state: DeliveryState) -> Vec<String> {
    let name: HookName = name.parse().unwrap();
    let after = (EventId(0), DeliveryId(0));
    let found = store.undelivered(Some(&name), after, 1_000).await.unwrap();
    found
        .into_iter()
        .filter(|(_, delivery)| delivery.state == state)
        .map(|(_, delivery)| delivery.event.subject)
        .collect()
}

pub(super) async fn a_hook_from_its_beginning_to_its_end(store: &Store) {
    let acme = entity(store, "hooked").await;
    let mut wanted = row("first", Some(acme), &[EventKind::FileArrived]);
    wanted.target.authorities = Some("PEM".to_owned());
    wanted.target.plain = HookPlain::Anywhere;
    wanted.target.addresses = HookAddresses::Any;
    let id = add(store, wanted.clone()).await.unwrap();
    assert_eq!(add(store, row("first", None, &[])).await, None);

    let found = hook(store, "first").await;
    assert_eq!(found.id, id);
    assert_eq!(found.target, wanted.target);
    assert_eq!(found.entity, Some("hooked".parse().unwrap()));
    assert_eq!(found.kinds, [EventKind::FileArrived]);
    assert!(found.enabled);
    assert_eq!(store.hook_at(id).await.unwrap().unwrap().name, found.name);
    assert_eq!(
        store.hook_secret("handle-first").await.unwrap(),
        Some(vec![1, 2, 3])
    );

    // Its secret counts among those that a master key is needed for, and moves to another.
    let keys = store.sealing_keys().await.unwrap();
    assert!(keys.contains(&"k1".to_owned()), "{keys:?}");
    let otherwise = store.hooks_sealed_otherwise("k2").await.unwrap();
    assert_eq!(otherwise.len(), 1);
    let resealed = |was: &[u8]| Resealed {
        handle: otherwise[0].handle.clone(),
        was: was.to_vec(),
        sealed: vec![4],
        key_id: "k2".to_owned(),
    };
    for (was, count) in [(&[9][..], 0), (&[1, 2, 3], 1)] {
        let values = [resealed(was)];
        let note = entry("secrets.rotate");
        let done = store.reseal_hooks(&values, &note).await;
        assert_eq!(done.unwrap(), count);
    }
    assert!(store.hooks_sealed_otherwise("k2").await.unwrap().is_empty());

    assert_eq!(enable(store, id, false).await, Some(()));
    assert!(!hook(store, "first").await.enabled);

    remove(store, id).await.unwrap();
    assert!(store.hooks(None).await.unwrap().is_empty());
    assert!(store.hook_at(id).await.unwrap().is_none());
    assert_eq!(store.hook_secret("handle-first").await.unwrap(), None);
    assert_eq!(remove(store, id).await, None);
    assert_eq!(enable(store, id, true).await, None);

    // The name is free, and there are no more than may be.
    let mut added = Vec::new();
    for number in 0..MAX_HOOKS {
        let wanted = row(&format!("h{number}"), None, &[]);
        added.push(add(store, wanted).await.unwrap());
    }
    assert_eq!(add(store, row("first", None, &[])).await, None);
    for id in added {
        remove(store, id).await.unwrap();
    }
}

pub(super) async fn what_the_journal_tells(store: &Store) {
    let acme = entity(store, "told").await;
    let other = entity(store, "told-other").await;
    let rows = [
        account_row("told-alice", acme, "told-home"),
        account_row("told-bob", other, "told-other-home"),
    ];
    for row in rows {
        let added = store.add_account(&row, &entry("account.add")).await;
        added.unwrap().unwrap();
    }
    let of_all = add(store, row("all", None, &[])).await.unwrap();
    let of_acme = add(store, row("acme", Some(acme), &[])).await.unwrap();
    let of_flows = row("flows", None, &[EventKind::FlowFailed]);
    let of_flows = add(store, of_flows).await.unwrap();
    let mute = add(store, row("mute", None, &[])).await.unwrap();
    enable(store, mute, false).await.unwrap();

    let flow = Told {
        at: time(20_002),
        kind: EventKind::FlowFailed,
        about: About::Flow {
            flow: "told-flow".to_owned(),
        },
        entity: None,
        detail: Map::from_iter([("dead".to_owned(), json!(1))]),
    };
    let nobodys = Told {
        about: About::File {
            home: None,
            account: None,
            path: path("/x"),
        },
        ..file("x", "-", 20_003)
    };
    let told = [
        file("a.csv", "told-alice", 20_000),
        file("b.csv", "told-bob", 20_001),
        flow,
        nobodys,
    ];
    assert_eq!(tell(store, &told, 20_010).await, 3);

    let events = newest(store, 3).await;
    let shown: Vec<_> = events
        .iter()
        .map(|event| {
            let entity = event.entity.as_ref().map(ToString::to_string);
            (event.subject.as_str(), entity, event.at)
        })
        .collect();
    assert_eq!(
        shown,
        [
            (
                "file:told-home:/in/a.csv",
                Some("told".to_owned()),
                time(20_000)
            ),
            (
                "file:told-other-home:/in/b.csv",
                Some("told-other".to_owned()),
                time(20_001)
            ),
            ("flow:told-flow", None, time(20_002)),
        ]
    );
    assert_eq!(events[0].detail["home"], json!("told-home"));

    let hooks = store.hooks_due(time(20_010)).await.unwrap();
    assert!(
        hooks.iter().any(|hook| hook.id == of_all) && hooks.iter().all(|hook| hook.id != mute),
        "{hooks:?}"
    );

    // Who is told of what: of an entity only its own, of no entity nobody but those of all.
    let due = |hook| claim(store, &HERE, hook, 20_010, 10);
    assert_eq!(
        subjects(&due(of_all).await),
        [
            "file:told-home:/in/a.csv",
            "file:told-other-home:/in/b.csv",
            "flow:told-flow"
        ]
    );
    assert_eq!(subjects(&due(of_acme).await), ["file:told-home:/in/a.csv"]);
    assert_eq!(subjects(&due(of_flows).await), ["flow:told-flow"]);
    assert!(due(mute).await.is_empty());
    let hooks = store.hooks_due(time(20_010)).await.unwrap();
    assert!(hooks.is_empty(), "what is out is not due: {hooks:?}");

    // What was told from one place is not told from it again.
    let cursor = store.cursor(Follower::Events).await.unwrap().unwrap();
    let twice = store.tell(cursor - 1, cursor, &told, time(20_011)).await;
    assert_eq!(twice.unwrap(), None);
    assert_eq!(newest(store, 1).await[0].subject, "flow:told-flow");

    // Filters.
    let filter = EventFilter {
        entity: Some("told".parse().unwrap()),
        kind: Some(EventKind::FileArrived),
        since: Some(time(20_000)),
        limit: 10,
        ..EventFilter::default()
    };
    let found = store.events(&filter).await.unwrap();
    assert_eq!(found.len(), 1);
    let behind = EventFilter {
        after: Some(found[0].id),
        limit: 1,
        ..EventFilter::default()
    };
    let found = store.events(&behind).await.unwrap();
    assert_eq!(found[0].subject, "file:told-other-home:/in/b.csv");

    for id in [of_all, of_acme, of_flows, mute] {
        remove(store, id).await.unwrap();
    }
    refused_logins(store).await;
}

/// Five within ten minutes are told, once an hour.
async fn refused_logins(store: &Store) {
    let refused = |second: i64| {
        NewEntry::new(time(second), JournalKind::Login, "login", &HERE.id())
            .outcome(Outcome::Refused)
            .account("told-alice")
            .entity("told")
    };
    let told = |second: i64| Told {
        at: time(second),
        kind: EventKind::LoginRefused,
        about: About::Login {
            account: "told-alice".to_owned(),
        },
        entity: Some("told".to_owned()),
        detail: Map::new(),
    };
    let entries: Vec<_> = (0..5).map(|n| refused(36_000 + n)).collect();
    store.append_all(&entries).await.unwrap();
    // The fourth is not enough, the fifth is, and the next says nothing new.
    assert_eq!(tell(store, &[told(36_003)], 36_005).await, 0);
    assert_eq!(tell(store, &[told(36_004), told(36_004)], 36_005).await, 1);
    let event = newest(store, 1).await.remove(0);
    assert_eq!(event.subject, "account:told-alice");
    assert_eq!(event.detail["refusals"], json!(5));
    // Nor within the hour, whatever the clock on the wall says; then it is told again.
    let entries: Vec<_> = (0..5).map(|n| refused(39_595 + n)).collect();
    store.append_all(&entries).await.unwrap();
    assert_eq!(tell(store, &[told(39_603)], 39_604).await, 0);
    assert_eq!(tell(store, &[told(39_604)], 39_605).await, 1);
    // Ten minutes later the five are no more of late.
    store.append(&refused(43_300)).await.unwrap();
    assert_eq!(tell(store, &[told(43_300)], 43_301).await, 0);
}

pub(super) async fn one_thing_is_told_in_its_order(store: &Store) {
    let id = add(store, row("order", None, &[])).await.unwrap();
    let a = |second| file("a", "told-alice", second);
    let told = [a(21_000), file("b", "told-alice", 21_001), a(21_002)];
    assert_eq!(tell(store, &told, 21_010).await, 3);

    // The first of each subject, and to one node at a time.
    let first = claim(store, &HERE, id, 21_010, 10).await;
    assert_eq!(
        subjects(&first),
        ["file:told-home:/in/a", "file:told-home:/in/b"]
    );
    assert!(claim(store, &THERE, id, 21_010, 10).await.is_empty());

    // One that failed keeps the next of its subject back, also while it waits.
    let outcome = fail(store, &first[0], Reach::Answered { status: 500 }, 21_011).await;
    assert_eq!(outcome, DeliveryOutcome::Again);
    assert!(done(store, &first[1], 21_011).await);
    assert!(claim(store, &HERE, id, 21_012, 10).await.is_empty());
    let waiting = hook(store, "order").await;
    assert_eq!((waiting.due, waiting.dead, waiting.failing), (2, 0, 1));
    assert_eq!(waiting.last_error.as_deref(), Some("why not"));

    // A node that was asleep for its lease says nothing any more.
    let second = claim(store, &HERE, id, 21_016, 10).await;
    assert_eq!((second.len(), second[0].attempts), (1, 1));
    let taken_over = claim(store, &THERE, id, 21_016 + LEASE_S, 10).await;
    assert_eq!(taken_over[0].id, second[0].id);
    assert!(!done(store, &second[0], 21_030).await);
    let lost = fail(store, &second[0], Reach::Unanswered, 21_030).await;
    assert_eq!(lost, DeliveryOutcome::Lost);
    assert!(done(store, &taken_over[0], 21_030).await);

    // Now the next one's turn has come; a restarted node goes on with its own at once.
    let last = claim(store, &HERE, id, 21_031, 10).await;
    assert_eq!(last[0].event.at, time(21_002));
    let released = store.release_deliveries(&HERE.id(), time(21_032)).await;
    assert_eq!(released.unwrap(), 1);
    let last = claim(store, &HERE, id, 21_032, 10).await;
    assert!(done(store, &last[0], 21_033).await);
    assert!(left(store, "order", DeliveryState::Due).await.is_empty());

    // Subjects that are too long for an index are kept in order all the same.
    let name = "x".repeat(250);
    let deep = format!("{name}/{name}/{name}/{name}/{name}/{name}/{name}/{name}/{name}/{name}");
    let told = [
        file(&deep, "told-alice", 21_040),
        file(&deep, "told-alice", 21_041),
    ];
    assert_eq!(tell(store, &told, 21_042).await, 2);
    assert_eq!(claim(store, &HERE, id, 21_042, 10).await.len(), 1);
    remove(store, id).await.unwrap();
    whoever_wakes_a_hook(store).await;
}

/// What waits for another try is due at once, and the hook is another.
async fn whoever_wakes_a_hook(store: &Store) {
    let id = add(store, row("asleep", None, &[])).await.unwrap();
    let told = [file("a", "told-alice", 21_100)];
    assert_eq!(tell(store, &told, 21_100).await, 1);
    let mut version = 0;
    let due = async |second| {
        let hooks = store.hooks_due(time(second)).await.unwrap();
        let hook = hooks.into_iter().find(|hook| hook.id == id);
        hook.map(|hook| hook.version)
    };
    for wakes in 0..3 {
        let claimed = claim(store, &HERE, id, 21_100, 1).await;
        fail(store, &claimed[0], Reach::Answered { status: 400 }, 21_100).await;
        assert_eq!(due(21_100).await, None);
        let mut note = entry("hook.wake");
        note.at = time(21_100);
        match wakes {
            0 => assert_eq!(store.note_test(id, &note).await.unwrap(), Some(())),
            1 => assert_eq!(again(store, id, None, 21_100).await, 0),
            _ => {
                let done = store.enable_hook(id, true, &note).await;
                assert_eq!(done.unwrap(), Some(()));
            }
        }
        let woken = due(21_100).await.unwrap();
        assert!(woken > version, "{woken}");
        version = woken;
    }
    remove(store, id).await.unwrap();
    let gone = store.note_test(id, &entry("hook.test")).await;
    assert_eq!(gone.unwrap(), None);
}

pub(super) async fn a_hook_that_changes_while_it_is_told(store: &Store) {
    let id = add(store, row("moved", None, &[])).await.unwrap();
    let told = [
        file("a", "told-alice", 21_500),
        file("b", "told-alice", 21_501),
    ];
    assert_eq!(tell(store, &told, 21_510).await, 2);
    let before = hook(store, "moved").await;
    let first = claim(store, &HERE, id, 21_510, 1).await;
    fail(store, &first[0], Reach::Unanswered, 21_510).await;

    let mut update = HookUpdate {
        id,
        version: before.version,
        target: HookTarget {
            url: "https://elsewhere.example/b".parse().unwrap(),
            ..target()
        },
        kinds: vec![EventKind::FileDeleted],
        secret: None,
    };
    let set = async |update: &HookUpdate| {
        let note = entry("hook.set");
        store.set_hook(update, time(21_511), &note).await.unwrap()
    };
    assert_eq!(set(&update).await, Some(()));
    let after = hook(store, "moved").await;
    assert_eq!(after.target, update.target);
    assert_eq!(after.kinds, update.kinds);
    assert_eq!(after.secret, before.secret);
    assert_ne!(after.version, before.version);
    // Who looked before changes nothing, and is given nothing to send.
    assert_eq!(set(&update).await, None);
    let taker = DeliveryTaker {
        node: HERE.id(),
        now: time(21_511),
        lease_until: time(21_520),
    };
    let due = store.deliveries_due(id, taker.now, 10).await.unwrap();
    assert!(!due.is_empty());
    let given = store.claim_deliveries(&taker, before.due(), &due).await;
    assert!(given.unwrap().is_empty());
    // What waited for another try does not wait any more.
    assert_eq!(claim(store, &HERE, id, 21_511, 10).await.len(), 2);

    update.version = after.version;
    let reference = SecretForm::Reference("env:HOOK".parse().unwrap());
    update.secret = Some((reference.clone(), None));
    assert_eq!(set(&update).await, Some(()));
    assert_eq!(hook(store, "moved").await.secret, reference);
    assert_eq!(store.hook_secret("handle-moved").await.unwrap(), None);
    update.version += 1;
    let sealed = SecretForm::Sealed {
        key_id: "k1".to_owned(),
    };
    update.secret = Some((sealed.clone(), Some(vec![7])));
    assert_eq!(set(&update).await, Some(()));
    assert_eq!(hook(store, "moved").await.secret, sealed);
    assert_eq!(
        store.hook_secret("handle-moved").await.unwrap(),
        Some(vec![7])
    );
    remove(store, id).await.unwrap();
    update.version += 1;
    assert_eq!(set(&update).await, None);
}

pub(super) async fn what_nobody_takes_is_given_up(store: &Store) {
    const DAY_S: i64 = 86_400;
    let id = add(store, row("deaf", None, &[])).await.unwrap();
    let told: Vec<_> = ["a", "b", "c"]
        .iter()
        .map(|name| file(name, "told-alice", 22_000))
        .collect();
    assert_eq!(tell(store, &told, 22_000).await, 3);
    assert_eq!(
        tell(store, &[file("late", "told-alice", 22_000)], 22_000 + DAY_S).await,
        1
    );

    // A refusal of one is no word about the others.
    let end = 22_000 + DAY_S;
    let first = claim(store, &HERE, id, end, 1).await;
    let outcome = fail(store, &first[0], Reach::Answered { status: 400 }, end).await;
    assert_eq!(outcome, DeliveryOutcome::GivenUp { deliveries: 1 });
    assert_eq!(
        left(store, "deaf", DeliveryState::Dead).await,
        ["file:told-home:/in/a"]
    );
    // Silence is; what is not a day old yet stays.
    let next = claim(store, &HERE, id, end, 1).await;
    let outcome = fail(store, &next[0], Reach::Unanswered, end).await;
    assert_eq!(outcome, DeliveryOutcome::GivenUp { deliveries: 2 });
    assert_eq!(
        left(store, "deaf", DeliveryState::Due).await,
        ["file:told-home:/in/late"]
    );
    assert_eq!(hook(store, "deaf").await.dead, 3);

    // All of it, or one event, is sent again, for another day.
    let event = first[0].event.id;
    assert_eq!(again(store, id, Some(event), end).await, 1);
    assert_eq!(again(store, id, None, end).await, 2);
    assert_eq!(again(store, id, None, end).await, 0);
    let claimed = claim(store, &HERE, id, end, 10).await;
    assert_eq!(claimed.len(), 4);
    assert_eq!(claimed[0].attempts, 0);
    let outcome = fail(store, &claimed[0], Reach::Unanswered, end + DAY_S - 1).await;
    assert_eq!(outcome, DeliveryOutcome::Again);

    // What is still to be delivered is not forgotten, the rest is.
    assert!(done(store, &claimed[1], end).await);
    store.prune_events(time(22_001), 1_000).await.unwrap();
    let kept = newest(store, 100).await;
    let at: Vec<_> = kept
        .iter()
        .filter(|event| event.at <= time(22_000))
        .map(|event| event.subject.as_str())
        .collect();
    assert_eq!(
        at,
        [
            "file:told-home:/in/a",
            "file:told-home:/in/c",
            "file:told-home:/in/late"
        ]
    );
    remove(store, id).await.unwrap();
}

pub(super) async fn what_is_told_once(store: &Store) {
    let new = |at: Timestamp, once: &str| NewEvent {
        at,
        kind: EventKind::KeyExpiring,
        entity: None,
        subject: "key:account:x".to_owned(),
        once: Some(once.to_owned()),
        detail: Map::from_iter([("days".to_owned(), Value::from(7))]),
    };
    let tell = |second: i64, once: &'static str| {
        let event = new(time(second), once);
        async move {
            let note = entry("key.expiring");
            store.tell_once(&event, &note, time(second)).await.unwrap()
        }
    };
    assert_eq!(tell(23_000, "k:7").await, Some(()));
    assert_eq!(tell(23_001, "k:7").await, None);
    assert_eq!(tell(23_002, "k:1").await, Some(()));
    // It is remembered for longer than events are.
    store.prune_events(time(40_000), 1_000).await.unwrap();
    assert_eq!(tell(40_000, "k:7").await, None);
    let years = time(40_000 + 3 * 365 * 86_400);
    store.prune_events(years, 1_000).await.unwrap();
    assert_eq!(tell(40_001, "k:7").await, Some(()));
}
