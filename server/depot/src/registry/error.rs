//! Why the registry refuses, and what the operator can do about it.

use layover_retention::KeepTooLong;

use super::MAX_REASON_BYTES;
use crate::password::PasswordError;
use crate::store::StoreError;
use crate::{AccountName, EntityName, HomeName, Network, SessionId, VirtualPath};

/// Why the registry refuses.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// No entity of this name.
    #[error("there is no entity `{name}`; create it: layover entity add {name}")]
    UnknownEntity {
        /// The name.
        name: EntityName,
    },
    /// The name is taken.
    #[error("there is an entity `{name}` already")]
    EntityExists {
        /// The name.
        name: EntityName,
    },
    /// It still has accounts, or files that must expire.
    #[error(
        "entity `{name}` still has accounts or files; remove its accounts first, and its files go when their time is over"
    )]
    EntityInUse {
        /// The name.
        name: EntityName,
    },
    /// No account of this name.
    #[error("there is no account `{name}`; see: layover account list")]
    UnknownAccount {
        /// The name.
        name: AccountName,
    },
    /// The name is taken.
    #[error("there is an account `{name}` already")]
    AccountExists {
        /// The name.
        name: AccountName,
    },
    /// The home belongs to another entity.
    #[error("home `{home}` belongs to entity `{owner}`; only its accounts can share it")]
    HomeOfAnother {
        /// The home.
        home: HomeName,
        /// Whose it is.
        owner: EntityName,
    },
    /// A keep beyond the appliance's maximum.
    #[error(transparent)]
    KeepTooLong(#[from] KeepTooLong),
    /// An account that may use no protocol is disabled, not changed.
    #[error(
        "an account needs at least one protocol; to lock it out: layover account disable {name}"
    )]
    NoProtocol {
        /// The account.
        name: AccountName,
    },
    /// The password cannot be stored.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// The account has this key.
    #[error("account `{name}` has the key {fingerprint} already")]
    KeyExists {
        /// The account.
        name: AccountName,
        /// The key.
        fingerprint: String,
    },
    /// The account has no such key.
    #[error("account `{name}` has no key {fingerprint}; see: layover account key list {name}")]
    UnknownKey {
        /// The account.
        name: AccountName,
        /// What was asked for.
        fingerprint: String,
    },
    /// The account has this network.
    #[error("account `{name}` is allowed from {network} already")]
    NetworkExists {
        /// The account.
        name: AccountName,
        /// The network.
        network: Network,
    },
    /// The account has no such network.
    #[error("account `{name}` has no network {network}; see: layover account allow list {name}")]
    UnknownNetwork {
        /// The account.
        name: AccountName,
        /// What was asked for.
        network: Network,
    },
    /// The account has no permission of its own there.
    #[error(
        "account `{name}` has no permission set at {path}; see: layover account permission list {name}"
    )]
    UnknownPermission {
        /// The account.
        name: AccountName,
        /// What was asked for.
        path: VirtualPath,
    },
    /// A list of the account is full.
    #[error("account `{name}` has {limit} {what} already, which is the most")]
    TooMany {
        /// The account.
        name: AccountName,
        /// Of what.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// The reason is too long.
    #[error("a reason has at most {MAX_REASON_BYTES} bytes and no control characters")]
    BadReason,
    /// Nobody is logged in under this number.
    #[error("there is no session {id}; see: layover session list")]
    UnknownSession {
        /// What was asked for.
        id: SessionId,
    },
    /// The database is away.
    #[error(transparent)]
    Store(#[from] StoreError),
}
