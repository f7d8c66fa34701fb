//! The store's own tests: one suite that calls every function, on SQLite, and
//! on PostgreSQL where `LAYOVER_TEST_POSTGRES_URL` names a server.

mod bans;
mod chains;
mod clocks;
mod deliveries;
mod dump;
mod events;
mod expectations;
mod faults;
mod flow_keys;
mod flows;
mod foresight;
mod holds;
mod integrations;
mod journal;
mod ledger;
mod operators;
mod rules;
mod sessions;
mod signs;
mod statistics;

use std::sync::atomic::{AtomicU64, Ordering};

use layover_retention::{Keep, Timestamp};
use sqlx::{Connection, Executor};

use super::{Connect, Missing, NewAccountRow, Store, store_doors};
use crate::journal::{JournalKind, NewEntry};
use crate::ledger::ApplianceKeep;
use crate::{AccountId, EntityId, Fsync, HomeId, NewEntity, NodeId, Protocols, VirtualPath};

/// Names the server on which tests make their own databases.
const POSTGRES_URL: &str = "LAYOVER_TEST_POSTGRES_URL";

/// A store of the calling test's own.
pub(crate) struct TestStore {
    pub(crate) store: Store,
    url: String,
    _folder: tempfile::TempDir,
}

impl TestStore {
    async fn open(url: String, folder: tempfile::TempDir) -> Self {
        let connect = Connect {
            url: url.clone(),
            fsync: Fsync::Never,
            missing: Missing::Make,
        };
        Self {
            store: Store::open(&connect).await.unwrap(),
            url,
            _folder: folder,
        }
    }
}

/// A fresh store on each engine that is there.
pub(crate) async fn stores() -> Vec<TestStore> {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("layover.db").display());
    let mut stores = vec![TestStore::open(url, folder).await];
    if let Ok(server) = std::env::var(POSTGRES_URL) {
        let url = database_on(&server).await;
        stores.push(TestStore::open(url, tempfile::tempdir().unwrap()).await);
    }
    stores
}

async fn database_on(server: &str) -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("layover_store_{}_{count}", std::process::id());
    let mut connection = sqlx::PgConnection::connect(server).await.unwrap();
    for verb in ["DROP DATABASE IF EXISTS", "CREATE DATABASE"] {
        connection
            .execute(sqlx::AssertSqlSafe(format!("{verb} {name}")))
            .await
            .unwrap();
    }
    let (base, _) = server.rsplit_once('/').unwrap();
    format!("{base}/{name}")
}

/// Every function, in the order of a small life.
async fn store_suite(store: &Store) {
    chains::the_journal_in_its_chain(store).await;
    operators::entities_and_accounts(store).await;
    operators::credentials_networks_and_permissions(store).await;
    sessions::sessions_and_nodes(store).await;
    bans::a_ban_from_its_first_point_to_its_end(store).await;
    signs::signs_add_up_and_strangers_push_nobody_out(store).await;
    journal::journal_and_jobs(store).await;
    operators::the_storage_of_the_homes(store).await;
    clocks::what_a_node_knows_of_its_clock(store).await;
    clocks::arrivals_of_a_clock_that_was_ahead(store).await;
    ledger::an_upload_from_its_beginning_to_its_end(store).await;
    ledger::an_upload_published_at_once(store).await;
    ledger::an_upload_that_gets_its_row_with_its_name(store).await;
    ledger::names_that_move(store).await;
    ledger::directories(store).await;
    ledger::adopted_and_missing_files(store).await;
    ledger::files_adopted_at_once(store).await;
    ledger::unfinished_work_and_claims(store).await;
    operators::a_changed_rule(store).await;
    rules::a_folders_rule(store).await;
    rules::a_collected_file(store).await;
    holds::operators(store).await;
    holds::a_hold_from_its_proposal_to_its_release(store).await;
    holds::holds_and_names(store).await;
    holds::holds_that_end(store).await;
    holds::the_database_computes_what_the_policy_says(store).await;
    operators::removed_accounts_and_entities(store).await;
    foresight::what_goes_and_what_failed(store).await;
    chains::certificates_of_what_went(store).await;
    integrations::an_integration_from_its_beginning_to_its_end(store).await;
    integrations::all_of_a_command_or_nothing(store).await;
    flows::a_run_from_its_schedule_to_its_end(store).await;
    flows::files_of_a_flow(store).await;
    flows::a_file_that_arrives(store).await;
    flows::a_file_that_lands(store).await;
    flow_keys::keys_of_files_that_are_gone(store).await;
    flow_keys::a_last_step(store).await;
    flow_keys::a_file_that_is_delivered(store).await;
    statistics::days_of_transfers(store).await;
    events::a_hook_from_its_beginning_to_its_end(store).await;
    events::what_the_journal_tells(store).await;
    events::one_thing_is_told_in_its_order(store).await;
    events::a_hook_that_changes_while_it_is_told(store).await;
    events::what_nobody_takes_is_given_up(store).await;
    events::what_is_told_once(store).await;
    expectations::a_day_from_its_deadline_to_its_end(store).await;
    expectations::what_a_folder_has_and_had(store).await;
    dump::everything_goes_out_and_comes_back(store).await;
}

#[tokio::test]
async fn the_suite_holds_on_every_engine() {
    for test in stores().await {
        store_suite(&test.store).await;
        test.store.close().await;
    }
}

// Where threads are to spare, SQLite's short scripts are done in place.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_suite_holds_with_threads_to_spare() {
    for test in stores().await {
        store_suite(&test.store).await;
        test.store.close().await;
    }
}

macro_rules! names_of_doors {
    ($($kind:ident $module:ident::$name:ident ($($arg:ident : $ty:ty),*) -> $out:ty;)*) => {
        const DOORS: &[&str] = &[$(stringify!($name)),*];
    };
}
store_doors!(names_of_doors);

#[test]
fn the_suite_calls_every_function() {
    let suite: String = [
        include_str!("tests/bans.rs"),
        include_str!("tests/signs.rs"),
        include_str!("tests/chains.rs"),
        include_str!("tests/clocks.rs"),
        include_str!("tests/deliveries.rs"),
        include_str!("tests/dump.rs"),
        include_str!("tests/events.rs"),
        include_str!("tests/expectations.rs"),
        include_str!("tests/operators.rs"),
        include_str!("tests/flow_keys.rs"),
        include_str!("tests/flows.rs"),
        include_str!("tests/foresight.rs"),
        include_str!("tests/holds.rs"),
        include_str!("tests/integrations.rs"),
        include_str!("tests/journal.rs"),
        include_str!("tests/ledger.rs"),
        include_str!("tests/rules.rs"),
        include_str!("tests/sessions.rs"),
        include_str!("tests/statistics.rs"),
    ]
    .concat()
    .split_whitespace()
    .collect();
    let forgotten: Vec<_> = DOORS
        .iter()
        .filter(|door| !suite.contains(&format!("store.{door}(")))
        .collect();
    assert!(forgotten.is_empty(), "not in the suite: {forgotten:?}");
}

// Small things that every part of the suite needs.

fn time(second: i64) -> Timestamp {
    Timestamp::from_micros(second * 1_000_000)
}

fn keep(seconds: u64) -> Keep {
    Keep::from_secs(seconds).unwrap()
}

const fn node(name: &'static str) -> Node {
    Node(name)
}

/// A node's name that a `const` can hold.
struct Node(&'static str);

impl Node {
    fn id(&self) -> NodeId {
        NodeId(self.0.to_owned())
    }
}

const HERE: Node = node("here");
const THERE: Node = node("there");

fn name<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().unwrap()
}

fn path(text: &str) -> VirtualPath {
    text.parse().unwrap()
}

fn entry(action: &'static str) -> NewEntry {
    NewEntry::new(time(0), JournalKind::Admin, action, &HERE.id())
}

/// Files stay 100 s, at most 1000 s.
fn rule() -> ApplianceKeep {
    ApplianceKeep {
        keep: keep(100),
        max_keep: keep(1000),
    }
}

async fn entity(store: &Store, name: &str) -> EntityId {
    let new = NewEntity {
        name: name.parse().unwrap(),
        keep: None,
    };
    store
        .add_entity(&new, time(0), &entry("entity.add"))
        .await
        .unwrap()
        .unwrap()
}

fn account_row(name: &str, entity: EntityId, home: &str) -> NewAccountRow {
    NewAccountRow {
        name: name.parse().unwrap(),
        entity,
        home: home.parse().unwrap(),
        takes_files_over: true,
        protocols: Protocols::ALL,
        auth: crate::AuthPolicy::Any,
        keep: None,
        quota_bytes: None,
        read_only: false,
        tolerant_completion: false,
        publish_on_rename: false,
        collected_keep: None,
        session_reuse: None,
        limits: crate::AccountLimits::default(),
        password_hash: None,
        keys: Vec::new(),
        certificates: Vec::new(),
        networks: Vec::new(),
        now: time(0),
    }
}

/// An entity, an account and a home, all of this name.
async fn household(store: &Store, name: &str) -> (EntityId, AccountId, HomeId) {
    let entity = entity(store, name).await;
    let row = account_row(name, entity, name);
    let account = store
        .add_account(&row, &entry("account.add"))
        .await
        .unwrap()
        .unwrap();
    let (home, _) = store.home(&row.home).await.unwrap().unwrap();
    (entity, account, home)
}
