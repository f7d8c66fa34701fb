//! Values that go in and out of the store and mean nothing outside the depot.

use std::net::IpAddr;

use layover_retention::{Keep, Timestamp};

use crate::session::terms::Terms;
use crate::{
    Account, AccountId, AccountName, AllowedNetwork, AuthPolicy, AuthorizedKey, EntityId, HomeId,
    HomeName, NewCertificate, NewNetwork, NodeId, Protocol, Protocols, SessionId, SessionReuse,
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
}

/// What the sessions that the database has of this node are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OwnSessions {
    /// An earlier process's, which died: this one has just started.
    Dead,
    /// This process's.
    Alive,
}
