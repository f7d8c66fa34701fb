//! Whose turn it is: heads of subjects, whatever happens to a hook, and however much waits.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, prop_oneof};
use proptest::test_runner::{Config, TestRunner};
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, SqliteConnection};

use super::events::{add, again, claim, done, enable, fail, file, remove, row, tell};
use super::{
    HERE, Node, POSTGRES_URL, THERE, TestStore, account_row, database_on, entity, entry, stores,
    time,
};
use crate::Fsync;
use crate::event::{
    ClaimedDelivery, DeliveryFailure, DeliveryOutcome, EventKind, GIVEN_UP_AT_ONCE, HookId, Reach,
    SENT_AGAIN_AT_ONCE, Told, Unreached,
};
use crate::store::{Connect, Missing, Store};
use crate::timer::Stopwatch;

const ACCOUNTS: [&str; 2] = ["alice", "bob"];

/// What waits in the tests of much that waits.
const MANY: i64 = 100_000;

/// Far beyond what a slow machine takes, and far below what looking at each of
/// [`MANY`] would.
const LIMIT: Duration = Duration::from_secs(150);

/// The database beside the store.
enum Raw {
    Sqlite(SqliteConnection),
    Postgresql(PgConnection),
}

impl Raw {
    async fn open(url: &str) -> Self {
        match url.starts_with("sqlite:") {
            true => Self::Sqlite(SqliteConnection::connect(url).await.unwrap()),
            false => Self::Postgresql(PgConnection::connect(url).await.unwrap()),
        }
    }

    async fn run(&mut self, statement: String) {
        let statement = AssertSqlSafe(statement);
        match self {
            Self::Sqlite(raw) => drop(raw.execute(statement).await.unwrap()),
            Self::Postgresql(raw) => drop(raw.execute(statement).await.unwrap()),
        }
    }

    async fn number(&mut self, query: &'static str) -> i64 {
        match self {
            Self::Sqlite(raw) => sqlx::query_scalar(query).fetch_one(raw).await.unwrap(),
            Self::Postgresql(raw) => sqlx::query_scalar(query).fetch_one(raw).await.unwrap(),
        }
    }

    /// Of each hook and subject of which something is due there is one head, and it is due.
    async fn heads_are_right(&mut self) {
        let wrong = "SELECT COUNT(*) FROM (SELECT 1 FROM deliveries GROUP BY hook_id, subject \
             HAVING SUM(is_head) <> MAX(CASE WHEN state = 'due' THEN 1 ELSE 0 END) \
             OR SUM(CASE WHEN state <> 'due' THEN is_head ELSE 0 END) > 0) AS wrong";
        assert_eq!(self.number(wrong).await, 0);
    }

    /// Some events of one file, as they would be told to a hook one after the other.
    async fn pile_up(&mut self, hook: HookId, subject: &str, due_at: i64, give_up_at: i64) {
        let (due_at, give_up_at) = (time(due_at).as_micros(), time(give_up_at).as_micros());
        self.run(format!(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {MANY}) \
             INSERT INTO events (at_us, kind, subject, detail) \
             SELECT {due_at}, 'file.arrived', '{subject}', '{{}}' FROM n"
        ))
        .await;
        self.run(format!(
            "INSERT INTO deliveries (hook_id, event_id, subject, state, not_before_us, \
             give_up_at_us, is_head) SELECT {0}, id, subject, 'due', {due_at}, {give_up_at}, \
             CASE WHEN id = (SELECT MIN(id) FROM events WHERE subject = '{subject}') \
             THEN 1 ELSE 0 END FROM events WHERE subject = '{subject}'",
            hook.0
        ))
        .await;
    }
}

/// A store with the accounts of these tests, each with a home of its name.
async fn peopled() -> Vec<(TestStore, Raw)> {
    let mut peopled = Vec::new();
    for test in stores().await {
        let acme = entity(&test.store, "acme").await;
        for account in ACCOUNTS {
            let row = account_row(account, acme, account);
            let added = test.store.add_account(&row, &entry("account.add")).await;
            added.unwrap().unwrap();
        }
        let raw = Raw::open(&test.url).await;
        peopled.push((test, raw));
    }
    peopled
}

fn collected(name: &str, account: &str, second: i64) -> Told {
    let mut told = file(name, "alice", second);
    told.kind = EventKind::FileCollected;
    told.detail.insert("account".to_owned(), json!(account));
    told
}

fn ids(claimed: &[ClaimedDelivery]) -> Vec<i64> {
    claimed.iter().map(|delivery| delivery.event.id.0).collect()
}

async fn take_all(store: &Store, hook: HookId, now: i64) -> Vec<ClaimedDelivery> {
    let mut all = Vec::new();
    loop {
        let claimed = claim(store, &HERE, hook, now, 4).await;
        if claimed.is_empty() {
            return all;
        }
        for delivery in claimed {
            assert!(done(store, &delivery, now).await);
            all.push(delivery);
        }
    }
}

#[tokio::test]
async fn subjects_take_turns_however_much_waits_of_one() {
    for (test, mut raw) in peopled().await {
        let store = &test.store;
        let hook = add(store, row("turns", None, &[])).await.unwrap();
        let mut told = vec![file("a", "alice", 1_000); 6];
        told.extend([file("b", "alice", 1_001), file("c", "alice", 1_002)]);
        assert_eq!(tell(store, &told, 1_010).await, 8);
        let mut order = Vec::new();
        for second in 1_011..1_019 {
            let next = claim(store, &HERE, hook, second, 1).await.remove(0);
            order.push(next.event.subject.clone());
            assert!(done(store, &next, second).await);
            raw.heads_are_right().await;
        }
        let turns: String = order
            .iter()
            .filter_map(|subject| subject.chars().last())
            .collect();
        assert_eq!(turns, "abcaaaaa");
        remove(store, hook).await.unwrap();
        store_is_closed(test).await;
    }
}

async fn store_is_closed(test: TestStore) {
    test.store.close().await;
}

#[tokio::test]
async fn what_waits_of_one_subject_is_not_looked_at_for_another() {
    for (test, mut raw) in peopled().await {
        let store = &test.store;
        let hook = add(store, row("busy", None, &[])).await.unwrap();
        raw.pile_up(hook, "file:alice:/in/piled", 1_000, 90_000)
            .await;
        raw.heads_are_right().await;
        let mut last = 0;
        let began = Stopwatch::start();
        for round in 0..200 {
            let now = 2_000 + round;
            let name = format!("other{round}");
            assert_eq!(tell(store, &[file(&name, "bob", now)], now).await, 1);
            assert!(store.hooks_due(time(now)).await.unwrap().len() == 1);
            let claimed = claim(store, &HERE, hook, now, 4).await;
            assert_eq!(claimed.len(), 2);
            let (piled, other): (Vec<_>, Vec<_>) = claimed
                .into_iter()
                .partition(|claimed| claimed.event.subject.ends_with("piled"));
            assert!(other[0].event.subject.ends_with(&name));
            assert!(done(store, &other[0], now).await);
            // Every second one is refused first: it stays the head.
            if round % 2 == 0 {
                fail(store, &piled[0], Reach::Answered { status: 400 }, now - 5).await;
                let same = claim(store, &HERE, hook, now, 4).await;
                assert_eq!(ids(&same), ids(&piled));
                assert!(done(store, &same[0], now).await);
            } else {
                assert!(done(store, &piled[0], now).await);
            }
            assert!(piled[0].event.id.0 > last, "in their order");
            last = piled[0].event.id.0;
        }
        let took = began.elapsed();
        assert!(took < LIMIT, "{took:?}");
        raw.heads_are_right().await;
        store_is_closed(test).await;
    }
}

#[tokio::test]
async fn much_that_a_silent_receiver_does_not_take_is_given_up_and_sent_again_in_pieces() {
    for (test, mut raw) in peopled().await {
        let store = &test.store;
        let hook = add(store, row("deaf", None, &[])).await.unwrap();
        let told: Vec<_> = (0..1_200)
            .map(|n| file(&format!("f{}", n % 700), "bob", 1_000))
            .collect();
        assert_eq!(tell(store, &told, 1_000).await, 1_200);
        let end = 1_000 + 86_400;
        let first = claim(store, &HERE, hook, end, 1).await.remove(0);
        let tried = Unreached {
            id: first.id,
            token: first.token,
            failure: DeliveryFailure {
                reach: Reach::Unanswered,
                cause: "silence".to_owned(),
                again_at: time(end + 5),
            },
            now: time(end),
            node: HERE.id(),
        };
        let outcome = store.not_delivered(&tried).await.unwrap();
        let deliveries = GIVEN_UP_AT_ONCE + 1;
        assert_eq!(outcome, DeliveryOutcome::GivenUp { deliveries });
        raw.heads_are_right().await;
        assert_eq!(store.give_up_more(&tried).await.unwrap(), GIVEN_UP_AT_ONCE);
        raw.heads_are_right().await;
        let rest = 1_200 - 1 - 2 * GIVEN_UP_AT_ONCE;
        assert_eq!(store.give_up_more(&tried).await.unwrap(), rest);
        assert_eq!(store.give_up_more(&tried).await.unwrap(), 0);
        assert!(claim(store, &HERE, hook, end, 4).await.is_empty());

        let mut left = 1_200;
        while left > 0 {
            let sent = again(store, hook, None, end).await;
            assert_eq!(sent, SENT_AGAIN_AT_ONCE.min(left));
            left -= sent;
            raw.heads_are_right().await;
        }
        let told = take_all(store, hook, end).await;
        assert_eq!(told.len(), 1_200);
        in_order(&told);
        store_is_closed(test).await;
    }
}

/// Of each subject, later events come later.
#[track_caller]
fn in_order(told: &[ClaimedDelivery]) {
    let mut last = BTreeMap::new();
    for delivery in told {
        let event = &delivery.event;
        let before = last.insert(event.subject.clone(), event.id);
        assert!(before < Some(event.id), "{before:?} {event:?}");
    }
}

#[tokio::test]
async fn a_file_that_one_account_collects_again_and_again_is_told_with_how_often() {
    for (test, mut raw) in peopled().await {
        let store = &test.store;
        let hook = add(store, row("folds", None, &[])).await.unwrap();
        let mut told = vec![collected("a", "bob", 1_000); 50];
        told.push(collected("a", "alice", 1_001));
        told.extend(vec![collected("a", "bob", 1_002); 50]);
        told.push(file("a", "alice", 1_003));
        told.extend(vec![collected("a", "bob", 1_004); 3]);
        let many = told.len() as u64;
        // Each is an event, and a head is told as it is.
        assert_eq!(tell(store, &told, 1_010).await, many);
        raw.heads_are_right().await;
        let told = take_all(store, hook, 1_010).await;
        in_order(&told);
        let shown: Vec<_> = told
            .iter()
            .map(|delivery| {
                let event = &delivery.event;
                let detail = |name| event.detail.get(name).cloned().unwrap_or_default();
                (event.kind, event.at, detail("account"), detail("folded"))
            })
            .collect();
        let (arrived, collected) = (EventKind::FileArrived, EventKind::FileCollected);
        assert_eq!(
            shown,
            [
                (collected, time(1_000), json!("bob"), json!(null)),
                (collected, time(1_001), json!("alice"), json!(null)),
                (collected, time(1_002), json!("bob"), json!(98)),
                (arrived, time(1_003), json!(null), json!(null)),
                (collected, time(1_004), json!("bob"), json!(2)),
            ]
        );
        store_is_closed(test).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whoever_tells_and_whoever_delivers_at_the_same_time_leave_no_subject_without_a_head() {
    const EVENTS: i64 = 120;
    for (test, mut raw) in peopled().await {
        let store = &test.store;
        let hook = add(store, row("both", None, &[])).await.unwrap();
        let telling = async {
            for second in 0..EVENTS {
                let name = ["a", "b"][usize::try_from(second % 2).unwrap()];
                tell(store, &[file(name, "alice", 1_000 + second)], 2_000).await;
            }
        };
        let sending = async |node: &Node| {
            let mut sent = 0;
            while sent < EVENTS {
                sent += 1;
                for delivery in claim(store, node, hook, 2_000, 2).await {
                    assert!(done(store, &delivery, 2_000).await);
                }
            }
        };
        tokio::join!(telling, sending(&HERE), sending(&THERE));
        raw.heads_are_right().await;
        take_all(store, hook, 2_000).await;
        let left = raw.number("SELECT COUNT(*) FROM deliveries WHERE state = 'due'");
        assert_eq!(left.await, 0);
        store_is_closed(test).await;
    }
}

/// A clock that was ahead has been put right: nothing waits for what it wrote.
#[tokio::test]
async fn what_a_clock_wrote_that_was_ahead_is_due() {
    const AHEAD: i64 = 10 * 86_400;
    for (test, mut raw) in peopled().await {
        let store = &test.store;
        let hook = add(store, row("ahead", None, &[])).await.unwrap();
        let (then, now) = (1_000 + AHEAD, 1_000);
        let told = [
            file("waits", "alice", then),
            file("fails", "alice", then),
            file("leased", "alice", then),
        ];
        assert_eq!(tell(store, &told, then).await, 3);
        let claimed = claim(store, &HERE, hook, then, 3).await;
        assert_eq!(claimed.len(), 3);
        fail(store, &claimed[1], Reach::Answered { status: 400 }, then).await;
        store
            .release_deliveries(&HERE.id(), time(then))
            .await
            .unwrap();
        let leased = claim(store, &THERE, hook, then, 1).await;
        assert_eq!(leased.len(), 1);
        assert_eq!(store.hooks_due(time(now)).await.unwrap().len(), 1);
        let told = take_all(store, hook, now).await;
        assert_eq!(told.len(), 3, "{told:?}");
        raw.heads_are_right().await;
        store_is_closed(test).await;
    }
}

/// The last schema step without heads.
const BEFORE_HEADS: i64 = 12;

#[tokio::test]
async fn what_waited_before_there_were_heads_has_its_turn() {
    let folder = tempfile::tempdir().unwrap();
    let mut urls = vec![format!(
        "sqlite:{}",
        folder.path().join("layover.db").display()
    )];
    if let Ok(server) = std::env::var(POSTGRES_URL) {
        urls.push(database_on(&server).await);
    }
    for url in urls {
        let connect = |missing| Connect {
            url: url.clone(),
            fsync: Fsync::Never,
            missing,
        };
        let before = Store::open(&connect(Missing::MakeUpTo(BEFORE_HEADS))).await;
        before.unwrap().close().await;
        let mut raw = Raw::open(&url).await;
        raw.run(
            "INSERT INTO hooks (name, url, kinds, enabled, handle, reference, created_at_us) \
             VALUES ('old', 'https://h.example/', '[]', 1, 'h', 'env:H', 0)"
                .to_owned(),
        )
        .await;
        for (event, subject, state) in [
            (1, "a", "done"),
            (2, "a", "due"),
            (3, "b", "due"),
            (4, "a", "due"),
            (5, "c", "dead"),
            (6, "b", "due"),
        ] {
            raw.run(format!(
                "INSERT INTO events (at_us, kind, subject, detail) \
                 VALUES (0, 'file.arrived', '{subject}', '{{}}')"
            ))
            .await;
            raw.run(format!(
                "INSERT INTO deliveries (hook_id, event_id, subject, state, not_before_us, \
                 give_up_at_us) VALUES (1, {event}, '{subject}', '{state}', 0, 1)"
            ))
            .await;
        }
        let store = Store::open(&connect(Missing::Make)).await.unwrap();
        raw.heads_are_right().await;
        let told = take_all(&store, HookId(1), 10).await;
        assert_eq!(ids(&told), [2, 3, 4, 6]);
        raw.heads_are_right().await;
        store.close().await;
    }
}

/// What happens to a hook. Numbers choose among files, accounts and what is out.
#[derive(Clone, Debug)]
enum Act {
    Tell {
        file: usize,
        account: usize,
        collected: bool,
    },
    Claim {
        there: bool,
        limit: usize,
    },
    Done(usize),
    Refuse(usize),
    Silence(usize),
    Wait(i64),
    Switch(bool),
    Retry,
    RetryOne(usize),
    Wake,
    Restart {
        there: bool,
    },
    Prune,
}

fn act() -> impl Strategy<Value = Act> {
    let which = || 0..8_usize;
    let there = || proptest::bool::ANY;
    prop_oneof![
        6 => (0..4_usize, 0..2_usize, there())
            .prop_map(|(file, account, collected)| Act::Tell { file, account, collected }),
        6 => (there(), 1..4_usize).prop_map(|(there, limit)| Act::Claim { there, limit }),
        6 => which().prop_map(Act::Done),
        2 => which().prop_map(Act::Refuse),
        2 => which().prop_map(Act::Silence),
        3 => (1..20_i64).prop_map(Act::Wait),
        1 => Just(Act::Wait(50_000)),
        1 => there().prop_map(Act::Switch),
        1 => Just(Act::Retry),
        1 => which().prop_map(Act::RetryOne),
        1 => Just(Act::Wake),
        1 => there().prop_map(|there| Act::Restart { there }),
        1 => Just(Act::Prune),
    ]
}

/// A hook, who sends to it, and what it was told.
struct Story<'a> {
    store: &'a Store,
    hook: HookId,
    now: i64,
    out: Vec<ClaimedDelivery>,
    told: Vec<ClaimedDelivery>,
    /// What was given up once may come behind younger ones.
    retried: bool,
}

impl Story<'_> {
    fn taken(&mut self, number: usize) -> Option<ClaimedDelivery> {
        let number = number.checked_rem(self.out.len())?;
        Some(self.out.remove(number))
    }

    async fn act(&mut self, act: &Act) {
        let (store, hook, now) = (self.store, self.hook, self.now);
        let node = |there| if there { &THERE } else { &HERE };
        match *act {
            Act::Tell {
                file: name,
                account,
                collected: is_collected,
            } => {
                let (name, account) = (["a", "b", "c", "d"][name], ACCOUNTS[account]);
                let told = match is_collected {
                    true => collected(name, account, now),
                    false => file(name, "alice", now),
                };
                assert_eq!(tell(store, &[told], now).await, 1);
            }
            Act::Claim { there, limit } => {
                let claimed = claim(store, node(there), hook, now, limit).await;
                self.out.extend(claimed);
            }
            Act::Done(number) => {
                if let Some(delivery) = self.taken(number)
                    && done(store, &delivery, now).await
                {
                    self.told.push(delivery);
                }
            }
            Act::Refuse(number) | Act::Silence(number) => {
                let reach = match act {
                    Act::Silence(_) => Reach::Unanswered,
                    _ => Reach::Answered { status: 400 },
                };
                if let Some(delivery) = self.taken(number) {
                    fail(store, &delivery, reach, now).await;
                }
            }
            Act::Wait(seconds) => self.now += seconds,
            Act::Switch(on) => drop(enable(store, hook, on).await),
            Act::Retry => self.retried |= again(store, hook, None, now).await > 0,
            Act::RetryOne(number) => {
                if let Some(event) = self.told.get(number).map(|told| told.event.id) {
                    self.retried |= again(store, hook, Some(event), now).await > 0;
                }
            }
            Act::Wake => drop(store.note_test(hook, &entry("hook.test")).await.unwrap()),
            Act::Restart { there } => {
                let released = store.release_deliveries(&node(there).id(), time(now)).await;
                released.unwrap();
            }
            Act::Prune => {
                store.prune_events(time(now - 30), 1_000).await.unwrap();
            }
        }
    }
}

#[tokio::test]
async fn whatever_happens_to_a_hook_each_subject_is_told_in_its_order_and_to_its_end() {
    for (test, raw) in peopled().await {
        let cases = match raw {
            Raw::Sqlite(_) => 60,
            Raw::Postgresql(_) => 20,
        };
        tokio::task::spawn_blocking(move || play(cases, &test, raw))
            .await
            .unwrap();
    }
}

fn play(cases: u32, test: &TestStore, raw: Raw) {
    let runtime = tokio::runtime::Handle::current();
    let world = std::cell::RefCell::new((raw, 100_000_i64));
    let config = Config {
        cases,
        failure_persistence: None,
        max_shrink_iters: 200,
        ..Config::default()
    };
    let played = TestRunner::new(config).run(&vec(act(), 1..60), |acts| {
        let (raw, now) = &mut *world.borrow_mut();
        runtime.block_on(async {
            let name = format!("h{now}");
            let hook = add(&test.store, row(&name, None, &[])).await.unwrap();
            let mut story = Story {
                store: &test.store,
                hook,
                now: *now,
                out: Vec::new(),
                told: Vec::new(),
                retried: false,
            };
            for act in &acts {
                story.act(act).await;
                raw.heads_are_right().await;
            }
            // Whoever was sending is dead by now, and the receiver takes everything.
            story.now += 100_000;
            enable(&test.store, hook, true).await;
            let rest = take_all(&test.store, hook, story.now).await;
            story.told.extend(rest);
            if !story.retried {
                in_order(&story.told);
            }
            *now = story.now + 1;
            remove(&test.store, hook).await.unwrap();
            raw.heads_are_right().await;
        });
        Ok(())
    });
    played.unwrap();
}
