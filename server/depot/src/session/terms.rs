//! What of an account counts in its live sessions from the moment on when an
//! operator changes it.

use super::rights;
use crate::{Account, AccountLimits, FolderPermission, Right, SessionReuse, VirtualPath};

/// The changeable part of what a session may do. How long its files stay is
/// not here: the ledger reads that when a file is published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Terms {
    /// Whether it may only list and read.
    pub(crate) read_only: bool,
    /// Its rights, folder by folder.
    pub(crate) permissions: Vec<FolderPermission>,
    /// Most bytes its home may hold when it adds to it.
    pub(crate) quota_bytes: Option<u64>,
    /// FTPS: publish an upload that ends without `close_notify`.
    pub(crate) tolerant_completion: bool,
    /// Publish an upload under a temporary suffix when it is renamed.
    pub(crate) publish_on_rename: bool,
    /// FTPS: what data connections must prove, over what the appliance says.
    pub(crate) session_reuse: Option<SessionReuse>,
    /// How much it may use at a time.
    pub(crate) limits: AccountLimits,
}

impl Terms {
    /// Those of a login.
    pub(super) fn of(account: &Account) -> Terms {
        Terms {
            read_only: account.read_only,
            permissions: account.permissions.clone(),
            quota_bytes: account.quota_bytes,
            tolerant_completion: account.tolerant_completion,
            publish_on_rename: account.publish_on_rename,
            session_reuse: account.session_reuse,
            limits: account.limits,
        }
    }

    pub(super) fn may(&self, path: &VirtualPath, right: Right) -> bool {
        rights::rights_at(self, path).contains(right)
    }
}
