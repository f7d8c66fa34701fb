//! What an account may do where: its folder permissions, cut by its kind.

use crate::{Account, FolderPermission, Rights, VirtualPath};

/// The rights of `account` at `path`: the most specific folder permission;
/// of a read-only account never more than look and fetch.
pub(super) fn rights_at(account: &Account, path: &VirtualPath) -> Rights {
    let granted = FolderPermission::rights_at(&account.permissions, path);
    if account.read_only {
        granted.intersect(Rights::READ_ONLY)
    } else {
        granted
    }
}

/// Whether the account has a permission of its own somewhere below `path`:
/// such a folder may not move, its permission would stay behind.
pub(super) fn has_permission_below(account: &Account, path: &VirtualPath) -> bool {
    account
        .permissions
        .iter()
        .any(|permission| permission.path != *path && permission.path.is_within(path))
}

/// Whether `account` may do at least something at or below `path`, so that it
/// can see the folder itself.
pub(super) fn may_enter(account: &Account, path: &VirtualPath) -> bool {
    !rights_at(account, path).is_empty() || has_permission_below(account, path)
}
