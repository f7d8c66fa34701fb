//! What an account may do where: its folder permissions, cut by its kind.

use super::terms::Terms;
use crate::{FolderPermission, Rights, VirtualPath};

/// The rights under `terms` at `path`: the most specific folder permission;
/// of a read-only account never more than look and fetch.
pub(super) fn rights_at(terms: &Terms, path: &VirtualPath) -> Rights {
    let granted = FolderPermission::rights_at(&terms.permissions, path);
    if terms.read_only {
        granted.intersect(Rights::READ_ONLY)
    } else {
        granted
    }
}

/// Whether there is a permission of its own somewhere below `path`:
/// such a folder may not move, its permission would stay behind.
pub(super) fn has_permission_below(terms: &Terms, path: &VirtualPath) -> bool {
    terms
        .permissions
        .iter()
        .any(|permission| permission.path != *path && permission.path.is_within(path))
}

/// Whether an account under `terms` may do at least something at or below `path`, so that it
/// can see the folder itself.
pub(super) fn may_enter(terms: &Terms, path: &VirtualPath) -> bool {
    !rights_at(terms, path).is_empty() || has_permission_below(terms, path)
}
