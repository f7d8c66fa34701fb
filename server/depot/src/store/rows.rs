//! Values that go in and out of the store and mean nothing outside the depot.

use std::net::IpAddr;

use layover_retention::{Keep, Timestamp};

use crate::expectation::ExpectationDefinition;
use crate::flow::{RunReport, RunState};
use crate::integration::{
    FlowDefinition, IntegrationSpec, KeptSecret, Location, PartnerHostKey, SecretPurpose,
};
use crate::journal::NewEntry;
use crate::session::terms::Terms;
use crate::{
    Account, AccountId, AccountLimits, AccountName, Agreed, AllowedNetwork, AuthPolicy,
    AuthorizedKey, EntityId, FlowName, HomeId, HomeName, IntegrationId, LocationName,
    NewCertificate, NewNetwork, NodeId, Protocol, Protocols, SessionId, SessionReuse, VirtualPath,
};

/// An account to be inserted: everything is checked and hashed.
#[derive(Clone, Debug)]
pub(crate) struct NewAccountRow {
    pub(crate) name: AccountName,
    pub(crate) entity: EntityId,
    /// The home's name; it is created when the entity has none of this name.
    pub(crate) home: HomeName,
    /// Whether it may come to a home that holds files already.
    pub(crate) takes_files_over: bool,
    pub(crate) protocols: Protocols,
    pub(crate) auth: AuthPolicy,
    pub(crate) keep: Option<Keep>,
    pub(crate) collected_keep: Option<Keep>,
    pub(crate) quota_bytes: Option<u64>,
    pub(crate) read_only: bool,
    pub(crate) tolerant_completion: bool,
    pub(crate) publish_on_rename: bool,
    pub(crate) session_reuse: Option<SessionReuse>,
    pub(crate) limits: AccountLimits,
    pub(crate) password_hash: Option<String>,
    pub(crate) keys: Vec<AuthorizedKey>,
    pub(crate) certificates: Vec<NewCertificate>,
    pub(crate) networks: Vec<NewNetwork>,
    pub(crate) now: Timestamp,
}

/// What a login is checked against.
#[derive(Clone, Debug)]
pub(crate) struct LoginRow {
    pub(crate) account: Account,
    pub(crate) home: HomeId,
    pub(crate) password_hash: Option<String>,
}

/// What decides whether a live session may go on, and what it may do.
#[derive(Clone, Debug)]
pub(crate) struct AccountRow {
    pub(crate) id: AccountId,
    pub(crate) enabled: bool,
    pub(crate) protocols: Protocols,
    pub(crate) networks: Vec<AllowedNetwork>,
    pub(crate) terms: Terms,
}

/// A session about to be recorded.
#[derive(Clone, Debug)]
pub(crate) struct SessionStart {
    pub(crate) id: SessionId,
    pub(crate) node: NodeId,
    pub(crate) account: AccountId,
    pub(crate) protocol: Protocol,
    pub(crate) peer: IpAddr,
    pub(crate) since: Timestamp,
    /// What connection and partner agreed upon.
    pub(crate) agreed: Agreed,
    /// The account has a limit of sessions.
    pub(crate) is_counted: bool,
    /// Sessions of nodes that were not heard of since then do not count.
    pub(crate) silent_before: Timestamp,
}

/// What became of a session that was to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SessionBegun {
    /// It is recorded.
    Yes,
    /// The account was disabled or removed since it was looked up.
    AccountGone,
    /// The account has as many as it may have.
    TooMany,
}

/// Whether something is written for the first time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attempt {
    First,
    /// The first may have been done, and only its answer be lost.
    Again,
}

/// What the sessions that the database has of this node are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OwnSessions {
    /// An earlier process's, which died: this one has just started.
    Dead,
    /// This process's.
    Alive,
}

/// What becomes of one integration, in the transaction of all of a command.
#[derive(Clone, Debug)]
pub(crate) struct IntegrationWrite {
    /// The row and the version of it that was looked at; none: a new one.
    pub(crate) of: Option<(IntegrationId, i64)>,
    pub(crate) spec: IntegrationSpec,
    pub(crate) entity: EntityId,
    pub(crate) learned: String,
    pub(crate) locations_gone: Vec<LocationName>,
    pub(crate) locations: Vec<Location>,
    pub(crate) host_keys_gone: Vec<String>,
    pub(crate) host_keys: Vec<PartnerHostKey>,
    /// Handles.
    pub(crate) secrets_gone: Vec<String>,
    /// New ones, and old ones in another slot; of the old ones the sealed value stays.
    pub(crate) secrets: Vec<SecretRow>,
    /// It is removed: its row stays, what hangs on it goes.
    pub(crate) removed: bool,
    /// Flows that go with it.
    pub(crate) flows_gone: Vec<FlowName>,
    pub(crate) entry: NewEntry,
}

/// A secret, and its sealed value when it is new.
#[derive(Clone, Debug)]
pub(crate) struct SecretRow {
    pub(crate) kept: KeptSecret,
    pub(crate) sealed: Option<Vec<u8>>,
}

/// What becomes of a flow; in the same transaction.
#[derive(Clone, Debug)]
pub(crate) struct FlowWrite {
    pub(crate) flow: FlowDefinition,
    /// The folder that it is told of arrivals in.
    pub(crate) arrival: Option<(HomeId, VirtualPath)>,
    pub(crate) entry: NewEntry,
}

/// What becomes of an expectation; in the same transaction.
#[derive(Clone, Debug)]
pub(crate) struct ExpectationWrite {
    pub(crate) definition: ExpectationDefinition,
    /// That of its account, or of its integration.
    pub(crate) entity: EntityId,
    pub(crate) entry: NewEntry,
}

/// How a run ends.
#[derive(Clone, Debug)]
pub(crate) struct RunEnd {
    pub(crate) state: RunState,
    pub(crate) report: RunReport,
    /// When files of it are to be tried again.
    pub(crate) again_at: Option<Timestamp>,
    pub(crate) now: Timestamp,
    pub(crate) entry: NewEntry,
}

/// A sealed value that got another master key.
#[derive(Clone, Debug)]
pub(crate) struct Resealed {
    pub(crate) handle: String,
    pub(crate) was: Vec<u8>,
    pub(crate) sealed: Vec<u8>,
    pub(crate) key_id: String,
}

/// A sealed value where it stands.
#[derive(Clone, Debug)]
pub(crate) struct SealedRow {
    pub(crate) handle: String,
    pub(crate) purpose: SecretPurpose,
    pub(crate) sealed: Vec<u8>,
}
