//! Entities, accounts, and what an operator says of them.

use std::fmt;

use layover_retention::{ClockRecord, Keep, MAX_DATABASE_DIFFERENCE, PolicySource, Timestamp};
use serde::Serialize;

use crate::holdings::Moving;
use crate::integration::ZoneName;
use crate::path_texts::in_texts;
use crate::{
    AccountId, AccountLimits, AccountName, Agreed, AllowedNetwork, AuthPolicy,
    AuthorizedCertificate, AuthorizedKey, EntityId, EntityName, FileId, FileState,
    FolderPermission, HomeName, LimitsChange, NewCertificate, NewKey, NewNetwork, Protocol,
    Protocols, Secret, SessionId, SessionReuse, VirtualPath,
};

/// Who changed something: an operator's name, for the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor(String);

/// Longest actor name, in bytes.
const MAX_ACTOR_BYTES: usize = 128;

impl Actor {
    /// An actor of this name; control characters are taken out, and what is
    /// longer than 128 bytes is cut.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let mut kept = String::new();
        for character in name.chars().filter(|character| !character.is_control()) {
            if kept.len() + character.len_utf8() > MAX_ACTOR_BYTES {
                break;
            }
            kept.push(character);
        }
        Self(kept)
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A business partner or team.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entity {
    /// Its row.
    pub id: EntityId,
    /// Its name.
    pub name: EntityName,
    /// How long its files stay, where its accounts say nothing else.
    pub keep: Option<Keep>,
    /// The zone of its days and schedules; none: UTC.
    pub time_zone: Option<ZoneName>,
    /// When the operator created it.
    pub created_at: Timestamp,
}

/// An entity to be created.
#[derive(Clone, Debug)]
pub struct NewEntity {
    /// Its name.
    pub name: EntityName,
    /// How long its files stay.
    pub keep: Option<Keep>,
}

/// What a partner logs in with, and what it may do then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its row.
    pub id: AccountId,
    /// Its name.
    pub name: AccountName,
    /// Whose it is.
    pub entity: EntityName,
    /// Where its files are.
    pub home: HomeName,
    /// Whether it may log in.
    pub enabled: bool,
    /// How it may log in.
    pub protocols: Protocols,
    /// What it must show to log in.
    pub auth: AuthPolicy,
    /// How long files stay that it uploads, over what its entity says.
    pub keep: Option<Keep>,
    /// How long they stay after they were first collected, if that is sooner.
    pub collected_keep: Option<Keep>,
    /// Most bytes its home may hold when this account adds to it.
    pub quota_bytes: Option<u64>,
    /// Whether it may only list and read.
    pub read_only: bool,
    /// FTPS: publish an upload that ends without `close_notify`.
    pub tolerant_completion: bool,
    /// Publish an upload under a temporary suffix when it is renamed.
    pub publish_on_rename: bool,
    /// FTPS: what data connections must prove, over what the appliance says.
    pub session_reuse: Option<SessionReuse>,
    /// How much it may use at a time.
    pub limits: AccountLimits,
    /// Whether a password is set.
    pub has_password: bool,
    /// When the operator created it.
    pub created_at: Timestamp,
    /// Where it may come from; none means nowhere.
    pub networks: Vec<AllowedNetwork>,
    /// Its SSH keys.
    pub keys: Vec<AuthorizedKey>,
    /// Its TLS client certificates, and authorities of such.
    pub certificates: Vec<AuthorizedCertificate>,
    /// Its rights, folder by folder.
    pub permissions: Vec<FolderPermission>,
}

/// An account to be created.
#[derive(Clone, Debug)]
pub struct NewAccount {
    /// Its name.
    pub name: AccountName,
    /// Whose it is.
    pub entity: EntityName,
    /// An existing home of the same entity, or a new one; by default one of
    /// the account's name.
    pub home: Option<HomeName>,
    /// Where it may come from.
    pub networks: Vec<NewNetwork>,
    /// Its SSH keys.
    pub keys: Vec<NewKey>,
    /// TLS client certificates, or authorities of such, that open it over FTPS.
    pub certificates: Vec<NewCertificate>,
    /// Its password.
    pub password: Option<Secret>,
    /// How it may log in.
    pub protocols: Protocols,
    /// What it must show to log in.
    pub auth: AuthPolicy,
    /// How long its files stay.
    pub keep: Option<Keep>,
    /// How long they stay after they were first collected, if that is sooner.
    pub collected_keep: Option<Keep>,
    /// Most bytes its home may hold when it adds to it.
    pub quota_bytes: Option<u64>,
    /// Whether it may only list and read.
    pub read_only: bool,
    /// FTPS: publish an upload that ends without `close_notify`.
    pub tolerant_completion: bool,
    /// Publish an upload under a temporary suffix when it is renamed.
    pub publish_on_rename: bool,
    /// FTPS: what data connections must prove, over what the appliance says.
    pub session_reuse: Option<SessionReuse>,
    /// How much it may use at a time.
    pub limits: AccountLimits,
}

/// What to change; `None` leaves it as it is, `Some(None)` takes it away.
#[derive(Clone, Debug, Default)]
pub struct AccountChange {
    /// How it may log in.
    pub protocols: Option<Protocols>,
    /// What it must show to log in; counts from the next login.
    pub auth: Option<AuthPolicy>,
    /// How long its files stay; recomputes the expiry of those that are there.
    pub keep: Option<Option<Keep>>,
    /// How long they stay after they were first collected; recomputes as well.
    pub collected_keep: Option<Option<Keep>>,
    /// Why, for the journal.
    pub reason: Option<String>,
    /// Most bytes its home may hold.
    pub quota_bytes: Option<Option<u64>>,
    /// Whether it may only list and read.
    pub read_only: Option<bool>,
    /// FTPS: publish an upload that ends without `close_notify`.
    pub tolerant_completion: Option<bool>,
    /// Publish an upload under a temporary suffix when it is renamed.
    pub publish_on_rename: Option<bool>,
    /// FTPS: what data connections must prove.
    pub session_reuse: Option<Option<SessionReuse>>,
    /// How much it may use at a time.
    pub limits: LimitsChange,
}

/// Whether an account may log in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enabled {
    /// It may.
    Yes,
    /// It may not, and its live sessions end.
    No,
}

/// Somebody who is logged in somewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LiveSession {
    /// Its number.
    pub id: SessionId,
    /// Who.
    pub account: AccountName,
    /// How.
    pub protocol: Protocol,
    /// From where.
    pub peer: String,
    /// On which node.
    pub node: String,
    /// Since when.
    pub since: Timestamp,
    /// How it is secured; empty where a version before began it.
    pub agreed: Agreed,
    /// What it moves, a few seconds ago; the oldest first.
    pub moving: Vec<Moving>,
}

/// A file as an operator sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredFile {
    /// Its row.
    pub id: FileId,
    /// Where in the home.
    pub path: VirtualPath,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// What it is just now.
    pub state: FileState,
    /// SHA-256 in hexadecimal digits, when known.
    pub sha256: Option<String>,
    /// When our server had its whole content.
    pub arrived_at: Option<Timestamp>,
    /// When it goes.
    pub expires_at: Option<Timestamp>,
    /// Who brought it; none when it was found in the tree.
    pub uploaded_by: Option<AccountName>,
    /// When it was first downloaded completely.
    pub collected_at: Option<Timestamp>,
    /// By whom.
    pub collected_by: Option<AccountName>,
    /// Whose rule it follows; none while it is unfinished.
    pub rule: Option<PolicySource>,
    /// Until when a hold keeps it, at least; may be past.
    pub held_until: Option<Timestamp>,
    /// When an unfinished upload was last gone on with; of a stored file, when
    /// it took its name.
    pub touched_at: Timestamp,
}

/// What an operator wants to foresee.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ForecastQuestion {
    /// Files that are gone by then.
    pub until: Timestamp,
    /// As if each of them stayed so long after its arrival; none: the rules as
    /// they are.
    pub if_keep: Option<Keep>,
}

/// What will go of an account's files in a home.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ForecastAccount {
    /// The home.
    pub home: String,
    /// Who uploaded the files; none when they were found in the tree.
    pub account: Option<String>,
    /// How many.
    pub files: u64,
    /// Their bytes.
    pub size_bytes: u64,
    /// When the first of them goes; where all are held, when the first is free.
    pub first_expiry: Timestamp,
    /// Files besides that would go, were they not held for longer.
    pub held_files: u64,
    /// Their bytes.
    pub held_bytes: u64,
    /// When the first of them is free.
    pub held_until: Option<Timestamp>,
}

/// A file that will go, or that would, were it not held for longer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ForecastFile {
    /// Its row.
    pub id: FileId,
    /// The home.
    pub home: String,
    /// Who uploaded it.
    pub account: Option<String>,
    /// Where in the home.
    #[serde(flatten, serialize_with = "in_texts")]
    pub path: VirtualPath,
    /// Its size, in bytes.
    pub size_bytes: u64,
    /// When it goes.
    pub expires_at: Timestamp,
    /// When it was first collected.
    pub collected_at: Option<Timestamp>,
    /// When the hold ends for which it does not go within the time asked about; none:
    /// it goes.
    pub held_until: Option<Timestamp>,
}

/// A due file that could not be deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FailingFile {
    /// Its row.
    pub id: FileId,
    /// The home.
    pub home: String,
    /// Where in the home.
    #[serde(flatten, serialize_with = "in_texts")]
    pub path: VirtualPath,
    /// When its time was over.
    pub expires_at: Option<Timestamp>,
    /// How often it was tried.
    pub failures: u64,
    /// When it was tried first.
    pub first_at: Timestamp,
    /// When it is tried again.
    pub retry_at: Timestamp,
    /// Why the last try failed.
    pub cause: String,
}

/// How an account is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AccountUse {
    /// When it logged in last, as far as the journal goes back.
    pub last_login_at: Option<Timestamp>,
    /// What its home holds, in bytes, as its quota counts it: unfinished
    /// uploads included.
    pub used_bytes: u64,
}

/// Whether a network was new to an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NetworkAdded {
    /// It was.
    New,
    /// It was there; its reason or its end is another now.
    Changed,
    /// It was there, exactly so; nothing happened.
    Same,
}

/// What an operator takes away at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemovedWhat {
    /// The stored file.
    Stored,
    /// Every unfinished upload to this name: interrupted, or waiting to be
    /// published.
    Unfinished,
}

/// What an operator took away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FilesRemoved {
    /// How many.
    pub files: u64,
    /// Their bytes.
    pub size_bytes: u64,
}

/// How the retention rule is doing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RetentionStatus {
    /// Files that are stored.
    pub stored_files: u64,
    /// Their bytes.
    pub stored_bytes: u64,
    /// Files whose time is over and that are still on disk.
    pub due_files: u64,
    /// How long the oldest of them is overdue, in seconds; 0 when none is.
    pub oldest_overdue_s: u64,
    /// Files that were gone, or other ones, before their time was over or when
    /// the sweep came: each has its entry in the journal.
    pub missing_files: u64,
    /// When the next file goes.
    pub next_expiry: Option<Timestamp>,
    /// Files that a hold keeps.
    pub held_files: u64,
    /// Their bytes.
    pub held_bytes: u64,
    /// When the next of them is free of holds, unless that ends sooner or later.
    pub next_hold_end: Option<Timestamp>,
    /// What the last sweep did, when, and when the next is due. While more is due than
    /// fits into one, `more_due` is true and the report sums up the run so far.
    pub last_sweep: Option<JobRun>,
    /// What the last comparison of the tree with the ledger did.
    pub last_reconcile: Option<JobRun>,
}

/// What a server last told of its machine's clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeClock {
    /// The server's node.
    pub node: String,
    /// When, by the time that it believed.
    pub at: Timestamp,
    /// How far its wall clock was ahead of the database's, in microseconds; behind
    /// when negative; `None` where the database has no clock of its own.
    pub ahead_of_database_us: Option<i64>,
    /// What it knew.
    pub record: ClockRecord,
    /// Who has said that the wall clock is right, while the server has not heard it.
    pub confirmed_by: Option<String>,
    /// And why.
    pub confirmed_why: Option<String>,
}

impl NodeClock {
    /// Whether the wall clock is so far from the database's that nothing is deleted.
    #[must_use]
    pub fn differs_from_database(&self) -> bool {
        let limit = i64::try_from(MAX_DATABASE_DIFFERENCE.as_micros()).unwrap_or(i64::MAX);
        self.ahead_of_database_us
            .is_some_and(|ahead_us| ahead_us.saturating_abs() > limit)
    }
}

/// The last run of a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct JobRun {
    /// When it began.
    pub at: Timestamp,
    /// When the next is due, if known.
    pub next_due_at: Option<Timestamp>,
    /// Its report.
    pub report: serde_json::Value,
}
