//! What this process is in the middle of. Recovery settles rows and claims
//! whose process is gone; this set tells it which of our own are not.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use crate::vfs::HiddenName;
use crate::{FileId, HomeId};

/// One unfinished piece of work.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum LiveKey {
    /// An upload or a removal: the hidden file it uses.
    Hidden(HiddenName),
    /// A publication or a move of this row.
    File(FileId),
    /// A verb on a directory of this home.
    Tree(HomeId),
}

/// The unfinished work of this process. Clones share one set; its size is
/// bounded by the uploads and verbs that sessions may have open.
#[derive(Clone, Debug, Default)]
pub(crate) struct LiveSet {
    keys: Arc<Mutex<HashSet<LiveKey>>>,
}

impl LiveSet {
    /// Marks work as going on until the guard is dropped.
    pub(crate) fn enter(&self, key: LiveKey) -> LiveGuard {
        self.keys
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(key.clone());
        LiveGuard {
            set: self.clone(),
            key,
        }
    }

    pub(crate) fn contains(&self, key: &LiveKey) -> bool {
        self.keys
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .contains(key)
    }
}

/// Ends the mark when dropped.
#[derive(Debug)]
pub(crate) struct LiveGuard {
    set: LiveSet,
    key: LiveKey,
}

impl Drop for LiveGuard {
    fn drop(&mut self) {
        self.set
            .keys
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&self.key);
    }
}
