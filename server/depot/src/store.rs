//! The database: SQL lives here and nowhere else.
//!
//! One body of SQL (`store/body/`) is compiled once for SQLite and once for
//! PostgreSQL. [`Store`] is the one or the other; each of its functions is one
//! statement or one transaction, listed in [`store_doors!`]. Nothing above
//! this module knows which engine it talks to.

pub(crate) mod certified;
mod dialect;
mod dump;
mod error;
mod postgres;
mod sqlite;
mod steps;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::HashMap;
use std::path::PathBuf;

use layover_retention::{
    ChainHead, ChainName, Checkpoint, ClockRecord, Correction, DueCursor, Keep, PublicKey,
    SigningKey, Timestamp,
};

pub use error::StoreError;

use crate::Fsync;
use crate::account::{
    Account, AccountChange, AccountUse, Enabled, Entity, FailingFile, ForecastAccount,
    ForecastFile, ForecastQuestion, JobRun, LiveSession, NewEntity, NodeClock, RetentionStatus,
    StoredFile,
};
use crate::chain_memory::Expected;
use crate::doctor::{Change, OthersPlace, SeenSign, SignWrite};
use crate::event::{
    ClaimedDelivery, DeliveryId, DeliveryOutcome, DeliveryTaker, DueDelivery, DueHook, Event,
    EventDelivery, EventFilter, EventId, Hook, HookId, HookUpdate, NewEvent, NewHook, SealedHook,
    Told, Unreached,
};
use crate::expectation::{
    DayContent, DayEnd, DayKey, DayLook, ExpectationDay, ExpectationPlan, ExpectationStanding,
    FileEnd, GoneFile, ToldNames,
};
use crate::figures::LedgerFigures;
use crate::flow::{
    ClaimedRun, FileDone, FileFailed, FileKey, FlowFile, FlowFileId, FlowRun, FlowRunId,
    FlowStanding, FoundFile, LandingRun, RunPlan, RunTaker, RunToken, SourceFacts,
};
use crate::gate::{Ban, Offence};
use crate::hold::{Approving, Hold, HoldId, NewHold, Signed};
use crate::integration::{FlowDefinition, Integration};
use crate::journal::{Follower, JournalEntry, JournalFilter, JournalPlace, NewEntry};
use crate::ledger::{
    Adoption, ApplianceKeep, ChainRow, ClaimRow, Claimed, Collector, ContentHash, DueRow, EndedBy,
    FileRow, FileState, FreshStaging, MoveClaim, NewUpload, Pruned, Publication, RemovalClaim,
    RemovalEnd, Sealed, Staging, TreeClaim, Usage,
};
use crate::listings::AtOnce;
use crate::names::OperatorName;
use crate::operator::Operator;
use crate::rules::{FolderKeep, Grounds};
use crate::statistics::{DailySums, DaysKept, DaysWanted, Subject, TransfersOf, Zones};
use crate::vfs::{HiddenName, Identity, StorageId};
use crate::{
    AccountId, AccountName, AuthorizedKey, EntityId, EntityName, ExpectationName, FileId, FlowName,
    FolderPermission, HomeId, HomeName, HookName, IntegrationName, Network, NewCertificate,
    NewNetwork, NodeId, SessionId, VirtualPath,
};

pub(crate) use dump::{Column, DumpError, DumpPart, Kind, TableRows};
pub(crate) use rows::{
    AccountRow, Attempt, ExpectationWrite, FlowWrite, IntegrationWrite, LoginRow, NewAccountRow,
    OwnSessions, Resealed, RunEnd, SealedRow, SecretRow, SessionBegun, SessionStart,
};
pub(crate) use steps::Value;

mod rows;

/// A connection that somebody works on.
trait OnLoan {
    type Conn;

    /// The connection; an error when it was found dead.
    fn conn(&mut self) -> Result<&mut Self::Conn, sqlx::Error>;

    /// Lets nobody have it again when `error` says that it is dead.
    fn close_if_gone(&mut self, error: &StoreError);
}

/// How to reach the database.
#[derive(Clone, Debug)]
pub(crate) struct Connect {
    /// `sqlite:FILE` or `postgres://...`.
    pub(crate) url: String,
    /// Whether a commit waits for the disk.
    pub(crate) fsync: Fsync,
    /// What to do when nothing is there.
    pub(crate) missing: Missing,
}

/// What to do where there is no database of Layover yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    /// Set it up.
    Make,
    /// Set it up as it was at this schema step; refuse one that is there.
    MakeUpTo(i64),
    /// Say so, and leave nothing behind; nor is an older schema changed.
    Refuse,
}

/// Why the database cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenStoreError {
    /// The URL names no engine that we know.
    #[error("the database URL must begin with `sqlite:` or `postgres://`")]
    Scheme,
    /// The URL cannot be read.
    #[error("the database URL cannot be read")]
    Url {
        /// What the driver said.
        source: sqlx::Error,
    },
    /// The database cannot be reached.
    #[error("the database cannot be opened")]
    Connect {
        /// Why.
        source: StoreError,
    },
    /// The file is a link that leads nowhere.
    #[error(
        "the database file `{}` is a link to `{}`, and there is no folder `{}`: mount what it \
         lies on, or make it (mkdir -p -m 700), or correct [database] url",
        link.display(),
        target.display(),
        folder.display()
    )]
    DanglingLink {
        /// As the URL names it.
        link: PathBuf,
        /// What it leads to.
        target: PathBuf,
        /// Where that would lie.
        folder: PathBuf,
    },
    /// There is nothing yet, and this opening may not make it.
    #[error("there is no database of Layover yet")]
    Absent {
        /// The file; none when the database is not in one.
        file: Option<PathBuf>,
    },
    /// A backup goes into an empty database only.
    #[error("there is a database of Layover already: a backup is restored into an empty one")]
    NotEmpty,
    /// It was written by a newer Layover.
    #[error(
        "the database has schema step {step}, which this version does not know: it was written by a newer Layover; use that version, or restore a backup"
    )]
    Newer {
        /// The step.
        step: i64,
    },
    /// It was written by an older Layover, and this opening may not change it.
    #[error(
        "the database has schema step {found} and this version of Layover, which is newer, works with step {wanted}: `layover serve` of this version brings it up to date"
    )]
    Older {
        /// The last step that it has; 0 without any.
        found: i64,
        /// The last step that we know.
        wanted: i64,
    },
    /// Bringing the schema up to date failed.
    #[error("the database schema cannot be brought up to date")]
    Migrate {
        /// What the driver said.
        source: Box<sqlx::migrate::MigrateError>,
    },
}

impl From<sqlx::migrate::MigrateError> for OpenStoreError {
    fn from(fault: sqlx::migrate::MigrateError) -> Self {
        match fault {
            sqlx::migrate::MigrateError::VersionMissing(step) => Self::Newer { step },
            sqlx::migrate::MigrateError::Execute(source) => Self::Connect {
                source: source.into(),
            },
            source => Self::Migrate {
                source: Box::new(source),
            },
        }
    }
}

/// The database, whichever it is.
#[derive(Debug)]
pub(crate) enum Store {
    Sqlite(sqlite::Engine),
    Postgres(postgres::Engine),
}

/// Every function of the store: `read` is one statement on a reading
/// connection, `snapshot` some that see one state of the database, `glance` the same, of what is asked for most, `single` one statement that writes, `script` a transaction of
/// statements that need nothing from one another (false: nothing was done, a
/// statement that must change a row did not), `insert` the same with the number of
/// the row that one of them inserts, `write` a transaction,
/// `judge` a transaction that is kept only when its answer says so
/// (`Claimed::Yes`, `Some`, an approval that was noted).
macro_rules! store_doors {
    ($callback:ident) => {
        $callback! {
            glance files::rows_at(home: HomeId, path: &VirtualPath) -> Vec<FileRow>;
            read files::rows_in(home: HomeId, dir: &VirtualPath) -> Vec<FileRow>;
            read files::published_between(home: HomeId, dir: &VirtualPath, after: &[u8], last: Option<&[u8]>) -> Vec<FileRow>;
            read files::row(file: FileId) -> Option<FileRow>;
            single uploads::begin_upload(upload: &NewUpload) -> FileId;
            single uploads::resume_upload(file: FileId, node: &NodeId, now: Timestamp) -> bool;
            single uploads::still_receiving(file: FileId, node: &NodeId, now: Timestamp) -> bool;
            single uploads::inherit_arrival(file: FileId, arrived_at: Timestamp) -> ();
            write uploads::park_upload(file: FileId, state: FileState, size_bytes: u64, now: Timestamp, entry: Option<&NewEntry>) -> ();
            write uploads::forget_upload(file: FileId, state: FileState, entry: Option<&NewEntry>) -> bool;
            insert uploads::stage_fresh(staging: &FreshStaging<'_>) -> Option<FileId>;
            script uploads::stage_at_once(staging: &Staging) -> bool;
            judge uploads::stage(staging: &Staging) -> Claimed;
            write uploads::unstage(staging: &Staging, state: FileState, entry: Option<&NewEntry>) -> ();
            script uploads::publish_at_once(publication: &Publication, grounds: &Grounds) -> bool;
            judge uploads::publish(publication: &Publication) -> Option<Timestamp>;
            script removals::claim_removal_at_once(claim: &RemovalClaim) -> bool;
            judge removals::claim_removal(claim: &RemovalClaim) -> Claimed;
            script removals::finish_removal_at_once(end: &RemovalEnd<'_>) -> bool;
            write removals::finish_removal(row: &FileRow, ended_by: EndedBy, now: Timestamp, entry: &NewEntry) -> ();
            write removals::undo_removal(home: HomeId, file: FileId, path: &VirtualPath) -> ();
            judge moves::claim_move(claim: &MoveClaim) -> Claimed;
            write moves::finish_move(claim: &MoveClaim, appliance: ApplianceKeep, entry: &NewEntry) -> ();
            judge moves::claim_tree(claim: &TreeClaim) -> Claimed;
            write moves::finish_tree_move(home: HomeId, from: &VirtualPath, to: &VirtualPath, appliance: ApplianceKeep, now: Timestamp, entry: Option<&NewEntry>) -> ();
            write moves::finish_tree_removal(home: HomeId, dir: &VirtualPath, entry: Option<&NewEntry>) -> Vec<HiddenName>;
            script files::end_download(collected: Option<(FileId, Collector)>, now: Timestamp, entry: &NewEntry) -> bool;
            read expiry::grounds_now(account: AccountId) -> Grounds;
            read removals::due(now: Timestamp, after: Option<DueCursor>, limit: usize) -> Vec<DueRow>;
            read removals::stale_uploads(before: Timestamp, limit: usize) -> Vec<FileRow>;
            read files::unfinished(node: &NodeId, silent_before: Timestamp, after: FileId, limit: usize) -> Vec<FileRow>;
            read files::hidden_is_known(name: &HiddenName) -> bool;
            write files::recompute_used() -> u64;
            write files::adopt(adoption: &Adoption) -> Vec<bool>;
            judge removals::end_missing(seen: &FileRow, now: Timestamp, entry: &NewEntry) -> Claimed;
            read files::stored_dirs(home: HomeId, after: Option<&VirtualPath>, limit: usize) -> Vec<VirtualPath>;
            read hashes::unhashed(node: &NodeId, own_before: Timestamp, others_before: Timestamp, limit: usize) -> Vec<FileRow>;
            write hashes::set_hashes(hashes: &[ContentHash]) -> ();
            read hashes::hash_of(file: FileId) -> Option<Vec<u8>>;
            read foresight::forecast(question: &ForecastQuestion) -> Vec<ForecastAccount>;
            read foresight::forecast_files(question: &ForecastQuestion, after: Option<(Timestamp, FileId)>, limit: usize) -> Vec<ForecastFile>;
            read foresight::unwarned(until: Timestamp, now: Timestamp, limit: usize) -> Vec<(FileRow, HomeName)>;
            script foresight::warn(file: FileId, now: Timestamp, entry: &NewEntry) -> bool;
            single removals::note_failure(file: FileId, cause: &str, now: Timestamp) -> ();
            single removals::retry_failures() -> ();
            read removals::failing(limit: usize) -> Vec<FailingFile>;
            read files::usage(home: HomeId) -> Usage;
            read files::home_name(home: HomeId) -> HomeName;
            read files::all_homes() -> Vec<(HomeId, HomeName)>;
            write claims::release(home: HomeId, paths: &[&VirtualPath], file: Option<FileId>) -> ();
            read claims::abandoned_claims(node: &NodeId, silent_before: Timestamp) -> Vec<ClaimRow>;

            judge entities::add_entity(entity: &NewEntity, now: Timestamp, entry: &NewEntry) -> Option<EntityId>;
            read entities::entity(name: &EntityName) -> Option<Entity>;
            read entities::list_entities() -> Vec<Entity>;
            judge entities::remove_entity(entity: EntityId, entry: &NewEntry) -> Option<()>;
            write expiry::set_entity_keep(entity: EntityId, keep: Option<Keep>, appliance: ApplianceKeep, entry: &NewEntry) -> u64;
            write expiry::set_folder_keep(home: HomeId, folder: &FolderKeep, appliance: ApplianceKeep, entry: &NewEntry) -> u64;
            judge expiry::remove_folder_keep(home: HomeId, path: &VirtualPath, appliance: ApplianceKeep, entry: &NewEntry) -> Option<u64>;
            read expiry::folder_keeps(home: HomeId) -> Vec<FolderKeep>;
            judge holds::add_operator(operator: &Operator, entry: &NewEntry) -> Option<()>;
            judge holds::remove_operator(name: &OperatorName, now: Timestamp, entry: &NewEntry) -> Option<()>;
            read holds::operators() -> Vec<Operator>;
            write holds::propose_hold(new: &NewHold, entry: &NewEntry) -> HoldId;
            read holds::holds(hold: Option<HoldId>, home: Option<HomeId>) -> Vec<Hold>;
            read holds::open_holds(home: HomeId) -> u64;
            read holds::hold_within(home: HomeId, folder: &VirtualPath) -> Option<Timestamp>;
            judge holds::approve_hold(hold: HoldId, signed: &Signed, appliance: ApplianceKeep, entry: &NewEntry) -> Approving;
            judge holds::release_hold(hold: HoldId, signed: &Signed, why: &str, appliance: ApplianceKeep, entry: &NewEntry) -> Option<u64>;
            write holds::end_holds(node: &NodeId, now: Timestamp) -> u64;
            judge expiry::apply_rule(appliance: ApplianceKeep, now: Timestamp, entry: &NewEntry) -> Option<()>;

            read accounts::account(name: &AccountName) -> Option<Account>;
            read accounts::list_accounts() -> Vec<Account>;
            read accounts::account_names(account: AccountId) -> (AccountName, EntityName);
            read accounts::home(name: &HomeName) -> Option<(HomeId, EntityName)>;
            judge accounts::add_account(account: &NewAccountRow, entry: &NewEntry) -> Option<AccountId>;
            write accounts::change_account(account: AccountId, change: &AccountChange, appliance: ApplianceKeep, entry: &NewEntry) -> u64;
            write accounts::set_enabled(account: AccountId, enabled: Enabled, entry: &NewEntry) -> ();
            judge accounts::remove_account(account: AccountId, now: Timestamp, appliance: ApplianceKeep, entry: &NewEntry) -> Option<()>;
            write accounts::set_password(account: AccountId, hash: Option<&str>, entry: &NewEntry) -> ();
            judge belongings::add_key(account: AccountId, key: &AuthorizedKey, entry: &NewEntry) -> Option<()>;
            judge belongings::remove_key(account: AccountId, fingerprint: &str, entry: &NewEntry) -> Option<()>;
            judge belongings::add_certificate(account: AccountId, certificate: &NewCertificate, now: Timestamp, entry: &NewEntry) -> Option<()>;
            judge belongings::remove_certificate(account: AccountId, fingerprint: &str, entry: &NewEntry) -> Option<()>;
            judge belongings::add_network(account: AccountId, network: &NewNetwork, now: Timestamp, entry: &NewEntry) -> Option<()>;
            judge belongings::change_network(account: AccountId, network: &NewNetwork, entry: &NewEntry) -> Option<()>;
            judge belongings::remove_network(account: AccountId, network: &Network, entry: &NewEntry) -> Option<()>;
            write belongings::set_permission(account: AccountId, permission: &FolderPermission, entry: &NewEntry) -> ();
            judge belongings::remove_permission(account: AccountId, path: &VirtualPath, entry: &NewEntry) -> Option<()>;
            read accounts::login(name: &str) -> Option<LoginRow>;
            read belongings::live_networks(now: Timestamp) -> Vec<Network>;
            read belongings::has_authorities() -> bool;
            read belongings::has_certificates() -> bool;
            read accounts::standing(accounts: &[AccountId]) -> Vec<AccountRow>;

            judge sessions::begin_session(start: &SessionStart, entry: &NewEntry) -> SessionBegun;
            write sessions::end_session(id: &SessionId, entries: &[NewEntry], attempt: Attempt) -> ();
            read sessions::list_sessions(silent_before: Timestamp) -> Vec<LiveSession>;
            judge sessions::kill_session(id: &SessionId, by: &str, entry: &NewEntry) -> Option<()>;
            read sessions::killed(node: &NodeId) -> Vec<SessionId>;
            write sessions::end_dead_sessions(node: &NodeId, own: OwnSessions, silent_before: Timestamp, now: Timestamp) -> u64;
            write sessions::drop_silent_nodes(node: &NodeId, silent_before: Timestamp) -> ();
            write sessions::begin_node(node: &NodeId, now: Timestamp) -> ();
            write sessions::beat(node: &NodeId, now: Timestamp) -> ();
            write sessions::end_node(node: &NodeId) -> ();
            read sessions::generation() -> i64;

            read bans::bans(now: Timestamp) -> Vec<Ban>;
            write bans::note_offence(entry: Option<&NewEntry>, offence: &Offence) -> Option<Ban>;
            single bans::forget_offenders(before: Timestamp) -> u64;
            single bans::forget_bans(now: Timestamp) -> u64;
            judge bans::add_ban(ban: &Ban, entry: &NewEntry) -> Option<()>;
            judge bans::lift_ban(network: &Network, now: Timestamp, entry: &NewEntry) -> Option<()>;

            write signs::add_signs(writes: &[SignWrite], node: &NodeId) -> ();
            read signs::signs_of(account: &str) -> Vec<SeenSign>;
            read signs::signs_of_nobody(limit: usize) -> Vec<SeenSign>;
            read signs::places_of_others(account: &str, now: Timestamp) -> Vec<OthersPlace>;
            read signs::account_changes(account: &str, since: Timestamp) -> Vec<Change>;
            single signs::forget_signs(before: Timestamp) -> u64;

            single journal::append(entry: &NewEntry) -> ();
            write journal::append_all(entries: &[NewEntry]) -> ();
            read journal::journal_page(filter: &JournalFilter) -> Vec<JournalEntry>;
            read journal::before_newest(filter: &JournalFilter, newest: u64) -> Option<i64>;
            read following::journal_after(after: u64, limit: usize) -> Vec<JournalPlace>;
            read following::cursor(follower: Follower) -> Option<u64>;
            write following::begin_following(follower: Follower, now: Timestamp) -> u64;
            judge following::advance(follower: Follower, from: u64, to: u64, now: Timestamp) -> Option<()>;

            read statistics::zones() -> Zones;
            judge statistics::add_daily(from: u64, to: u64, sums: &DailySums, now: Timestamp) -> Option<()>;
            write statistics::forget_days(before: i64) -> u64;
            read statistics::subject(of: TransfersOf, name: &str) -> Option<Subject>;
            snapshot statistics::transfer_days(wanted: &DaysWanted<'_>, most: u64) -> DaysKept;

            write chains::seal(chain: ChainName, key: &SigningKey, expected: &Expected, now: Timestamp, thorough: bool, limit: usize) -> Sealed;
            read chains::written_at(chain: ChainName, seq: u64) -> Option<Timestamp>;
            read chains::has_unsealed(chain: ChainName) -> bool;
            read chains::last_checkpoint(chain: ChainName) -> Option<u64>;
            read chains::chain_page(chain: ChainName, after: u64, limit: usize) -> Vec<ChainRow>;
            read chains::chain_checkpoints(chain: ChainName, after: u64, last: u64) -> Vec<Checkpoint>;
            read chains::chain_head(chain: ChainName) -> ChainHead;
            read chains::chain_beginning(chain: ChainName) -> Option<Checkpoint>;
            read chains::chain_intruders(chain: ChainName, limit: usize) -> Vec<i64>;
            write chains::prune(chain: ChainName, key: &SigningKey, expected: &Expected, before: Timestamp, limit: usize, entry: &NewEntry) -> Option<Pruned>;
            single chains::register_key(key: &PublicKey, node: &NodeId, now: Timestamp) -> ();
            read chains::signing_keys() -> Vec<PublicKey>;

            read views::list_files(home: HomeId, below: &VirtualPath, after: FileId, limit: usize) -> Vec<StoredFile>;
            read views::account_use() -> HashMap<AccountId, AccountUse>;
            read views::retention_status(now: Timestamp) -> RetentionStatus;
            read views::ledger_figures(now: Timestamp) -> LedgerFigures;
            read views::count_stored() -> u64;
            read journal::last_logins(account: &AccountName, newest: usize) -> Vec<JournalEntry>;
            read moves::longest_paths_below(home: HomeId, dir: &VirtualPath) -> Vec<VirtualPath>;
            write jobs::note_job(name: &str, run: &JobRun) -> ();
            read jobs::last_run(name: &str) -> Option<JobRun>;
            read jobs::told_by_nodes(job: &str, silent_before: Timestamp) -> Vec<(String, JobRun)>;
            read clocks::clocks(node: Option<&NodeId>) -> Vec<NodeClock>;
            write clocks::keep_clock(node: &NodeId, now: Timestamp, ahead_us: Option<i64>, record: &ClockRecord, correction: Option<&Correction>, entry: Option<&NewEntry>) -> u64;
            judge clocks::confirm_clock(node: &str, by: &str, why: &str, entry: &NewEntry) -> Option<()>;
            single clocks::forget_clocks() -> ();
            read clocks::database_time() -> Option<Timestamp>;
            write dump::clear() -> ();
            write dump::load(part: &TableRows) -> ();
            write dump::settle_numbers() -> ();
            read files::stored_after(after: FileId, limit: usize) -> Vec<FileRow>;
            single files::set_identity(file: FileId, identity: Identity) -> ();
            single jobs::forget_job(name: &str) -> ();
            read storage::homes_storage() -> Option<StorageId>;
            judge storage::record_storage(storage: &StorageId, replaces: Option<&StorageId>, now: Timestamp, entry: &NewEntry) -> Option<()>;
            read storage::others_live(node: &NodeId, silent_before: Timestamp) -> bool;
            read storage::storage_is_needed(node: &NodeId, silent_before: Timestamp) -> bool;

            read integrations::integrations(name: Option<&IntegrationName>) -> Vec<Integration>;
            judge integrations::write_integrations(writes: &[IntegrationWrite], flows: &[FlowWrite], expectations: &[ExpectationWrite], now: Timestamp) -> Option<()>;
            read integrations::sealed_secret(handle: &str) -> Option<Vec<u8>>;
            read integrations::sealed_otherwise(key_id: &str, after: &str, limit: usize) -> Vec<SealedRow>;
            write integrations::reseal(resealed: &[Resealed], entry: &NewEntry) -> u64;
            read integrations::sealing_keys() -> Vec<String>;
            read integrations::flow_definitions() -> Vec<FlowDefinition>;

            read flows::flows(name: Option<&FlowName>) -> Vec<FlowStanding>;
            judge flows::remove_flow(flow: &FlowName, entry: &NewEntry) -> Option<()>;
            write flows::set_entity_zone(entity: EntityId, zone: Option<&str>, now: Timestamp, entry: &NewEntry) -> ();
            read flows::flows_to_plan(now: Timestamp, limit: usize) -> Vec<FlowStanding>;
            write flows::plan_runs(plans: &[RunPlan]) -> u64;
            judge flows::ask_run(flow: &FlowName, by: &str, now: Timestamp, entry: &NewEntry) -> Option<FlowRunId>;
            write flows::claim_runs(taker: &RunTaker) -> Vec<ClaimedRun>;
            single flows::renew_run(held: RunToken, lease_until: Timestamp) -> bool;
            write flows::release_runs(node: &NodeId, now: Timestamp) -> u64;
            judge flows::end_run(held: RunToken, end: &RunEnd) -> Option<()>;
            read flows::run_history(flow: &FlowName, before: Option<FlowRunId>, limit: usize) -> Vec<FlowRun>;
            read flows::flow_run(run: FlowRunId) -> Option<FlowRun>;
            write flows::prune_runs(before: Timestamp, limit: usize) -> u64;
            read flow_files::open_files(flow: &FlowName) -> Vec<FlowFile>;
            read flow_files::files_of_run(run: FlowRunId, after: FlowFileId, limit: usize) -> Vec<FlowFile>;
            judge flow_files::plan_files(held: RunToken, files: &[FoundFile]) -> Option<Vec<FlowFileId>>;
            judge flow_files::begin_file(held: RunToken, file: FlowFileId, target: &[u8], now: Timestamp) -> Option<bool>;
            read flow_files::dead_files(flow: &FlowName) -> Vec<SourceFacts>;
            write flow_files::revive_files(flow: &FlowName, entry: &NewEntry) -> u64;
            script flow_files::finish_file(held: RunToken, done: &FileDone) -> bool;
            script flow_files::finish_known(held: RunToken, done: &FileDone, entry: &NewEntry) -> bool;
            script flow_files::note_last_step(held: RunToken, file: FlowFileId, step: Option<&str>) -> bool;
            read flow_files::noted_last_step(file: FlowFileId) -> Option<String>;
            script flow_files::finish_delivery(held: RunToken, done: &FileDone, file: FileId, collected_at: Timestamp, entry: &NewEntry) -> bool;
            judge flow_files::fail_file(held: RunToken, failed: &FileFailed, entry: Option<&NewEntry>) -> Option<()>;
            judge flow_files::source_left(held: RunToken, file: FlowFileId, why: &str, entry: &NewEntry) -> Option<()>;
            judge flow_files::source_done(held: RunToken, file: FlowFileId, now: Timestamp) -> Option<()>;
            read flow_files::is_landing(hidden: &HiddenName) -> bool;
            read flow_files::landing_run(hidden: &HiddenName) -> Option<LandingRun>;
            judge flow_keys::see_keys(held: RunToken, flow: &FlowName, census: i64, keys: &[FileKey]) -> Option<()>;
            script flow_keys::end_census(held: RunToken, flow: &FlowName, census: i64, now: Timestamp) -> bool;
            write flow_keys::forget_keys(flow: &FlowName, before: i64, after: &[u8], limit: usize) -> Vec<FileKey>;
            read flow_keys::known_keys(flow: &FlowName, keys: &[FileKey]) -> Vec<bool>;

            read expectations::expectations(name: Option<&ExpectationName>) -> Vec<ExpectationStanding>;
            judge expectations::remove_expectation(name: &ExpectationName, entry: &NewEntry) -> Option<()>;
            read expectations::expectations_to_plan(now: Timestamp, limit: usize) -> Vec<ExpectationStanding>;
            write expectations::plan_expectations(plans: &[ExpectationPlan], now: Timestamp) -> u64;
            write expectations::forget_days_to_come(names: &[ExpectationName], behind: Timestamp) -> u64;
            read expectations::days_to_look_at(now: Timestamp, latest: Timestamp, limit: usize) -> Vec<DayLook>;
            single expectations::hold_day(key: &DayKey, seen: Timestamp, until: Timestamp) -> bool;
            judge expectations::end_day(end: &DayEnd) -> Option<()>;
            read expectations::days_of(name: &ExpectationName, limit: usize) -> Vec<ExpectationDay>;
            read expectations::content_before(key: &DayKey) -> Option<DayContent>;
            write expectations::prune_days(before: Timestamp, limit: usize) -> u64;
            read expectations::stored_named(home: HomeId, dir: &VirtualPath, beginning: &[u8], after: &[u8], limit: usize) -> Vec<GoneFile>;
            read expectations::names_told(home: HomeId, dir: &VirtualPath, within: (Timestamp, Timestamp), before: Option<(Timestamp, i64)>, limit: usize) -> ToldNames;
            read expectations::file_end(file: FileId) -> Option<FileEnd>;

            judge hooks::add_hook(new: &NewHook, entry: &NewEntry) -> Option<HookId>;
            judge hooks::remove_hook(hook: HookId, now: Timestamp, entry: &NewEntry) -> Option<()>;
            judge hooks::set_hook(update: &HookUpdate, now: Timestamp, entry: &NewEntry) -> Option<()>;
            judge hooks::enable_hook(hook: HookId, enabled: bool, entry: &NewEntry) -> Option<()>;
            judge hooks::note_test(hook: HookId, entry: &NewEntry) -> Option<()>;
            read hooks::hooks(name: Option<&HookName>) -> Vec<Hook>;
            read hooks::hook_at(hook: HookId) -> Option<Hook>;
            read hooks::hook_secret(handle: &str) -> Option<Vec<u8>>;
            read hooks::hooks_sealed_otherwise(key_id: &str) -> Vec<SealedHook>;
            write hooks::reseal_hooks(resealed: &[Resealed], entry: &NewEntry) -> u64;
            judge events::tell(from: u64, to: u64, told: &[Told], now: Timestamp) -> Option<u64>;
            judge events::tell_once(event: &NewEvent, entry: &NewEntry, now: Timestamp) -> Option<()>;
            read events::events(filter: &EventFilter) -> Vec<Event>;
            read deliveries::hooks_due(now: Timestamp) -> Vec<DueHook>;
            read deliveries::deliveries_due(hook: HookId, now: Timestamp, limit: usize) -> Vec<DueDelivery>;
            write deliveries::claim_deliveries(taker: &DeliveryTaker, hook: DueHook, due: &[DueDelivery]) -> Vec<ClaimedDelivery>;
            write deliveries::delivered(id: DeliveryId, token: i64, status: u16, now: Timestamp) -> bool;
            write deliveries::not_delivered(tried: &Unreached) -> DeliveryOutcome;
            write deliveries::give_up_more(tried: &Unreached) -> u64;
            single deliveries::release_deliveries(node: &NodeId, now: Timestamp) -> u64;
            write deliveries::send_again(hook: HookId, event: Option<EventId>, now: Timestamp, entry: &NewEntry) -> u64;
            read deliveries::undelivered(hook: Option<&HookName>, after: (EventId, DeliveryId), limit: usize) -> Vec<(DeliveryId, EventDelivery)>;
            write events::prune_events(before: Timestamp, limit: usize) -> u64;
        }
    };
}
use store_doors;

macro_rules! forward_doors {
    ($($kind:ident $module:ident::$name:ident ($($arg:ident : $ty:ty),*) -> $out:ty;)*) => {
        impl Store {
            $(
                pub(crate) async fn $name(&self, $($arg: $ty),*) -> Result<$out, StoreError> {
                    match self {
                        Store::Sqlite(engine) => engine.$name($($arg),*).await,
                        Store::Postgres(engine) => engine.$name($($arg),*).await,
                    }
                }
            )*
        }
    };
}
store_doors!(forward_doors);

impl Store {
    /// Connects and brings the schema up to date.
    pub(crate) async fn open(how: &Connect) -> Result<Self, OpenStoreError> {
        match how.url.split(':').next() {
            Some("sqlite") => Ok(Self::Sqlite(sqlite::connect(how).await?)),
            Some("postgres" | "postgresql") => Ok(Self::Postgres(postgres::connect(how).await?)),
            _ => Err(OpenStoreError::Scheme),
        }
    }

    /// The file of an embedded database; what a link leads to, also when it is not there yet.
    pub(crate) fn file(url: &str) -> Option<PathBuf> {
        url.starts_with("sqlite:")
            .then(|| sqlite::file(url))
            .flatten()
    }

    /// Gives every row of every table to `take`, as they are at one moment.
    pub(crate) async fn dump(
        &self,
        take: &mut dyn FnMut(DumpPart) -> std::io::Result<()>,
    ) -> Result<(), DumpError> {
        match self {
            Self::Sqlite(engine) => engine.dump(take).await,
            Self::Postgres(engine) => engine.dump(take).await,
        }
    }

    /// Checksums that one transaction records. Where rows are locked one by one, whoever
    /// waits for a second file holds up who has locked it and waits for the first.
    pub(crate) fn hashes_at_once(&self) -> usize {
        match self {
            Self::Sqlite(_) => usize::MAX,
            Self::Postgres(_) => 1,
        }
    }

    /// Listings that ask at once. SQLite's readers compute in this process, so the others,
    /// logins above all, are left some. Whoever asks PostgreSQL waits for a connection
    /// first, in one queue with all others: with few turns, a listing on a loaded server
    /// would wait for those of all others as well. There an account has as many as fill
    /// the connections once, and all of them as fill them four times.
    pub(crate) fn listings_at_once(&self) -> AtOnce {
        match self {
            Self::Sqlite(_) => AtOnce {
                of_an_account: 1,
                in_all: 2,
            },
            Self::Postgres(_) => {
                let connections = usize::try_from(postgres::CONNECTIONS).unwrap_or(1);
                AtOnce {
                    of_an_account: connections,
                    in_all: 4 * connections,
                }
            }
        }
    }

    /// The last schema step that we know.
    pub(crate) fn last_step() -> i64 {
        dialect::last_step()
    }

    /// Waits for statements under way and closes every connection.
    pub(crate) async fn close(&self) {
        match self {
            Self::Sqlite(engine) => engine.close().await,
            Self::Postgres(engine) => engine.close().await,
        }
    }
}

/// A keep time as the database has it; what we never write counts as none.
pub(crate) fn keep_of(seconds: Option<i64>) -> Option<Keep> {
    seconds
        .and_then(|seconds| u64::try_from(seconds).ok())
        .and_then(|s| Keep::from_secs(s).ok())
}
