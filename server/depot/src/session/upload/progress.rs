//! How far an upload has come, and whether it may still be published.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use layover_retention::Timestamp;
use serde_json::{Map, Value};

use crate::VirtualPath;
use crate::holdings::Growth;
use crate::session::coverage::Coverage;
use crate::vfs::VfsError;

#[derive(Debug)]
pub(super) struct Progress {
    pub(super) size_bytes: u64,
    pub(super) passed: Coverage,
    pub(super) received_bytes: u64,
    pub(super) changed: bool,
    pub(super) writes_under_way: u32,
    pub(super) poison: Option<Poison>,
    pub(super) inherited_arrival: Option<Timestamp>,
    /// The first file that was copied into this one on the server.
    pub(super) copied_from: Option<VirtualPath>,
    pub(super) modified_us: Option<i64>,
    pub(super) mode: Option<u32>,
    /// What the front end adds to the journal entry.
    pub(super) notes: Map<String, Value>,
    pub(super) growth: Growth,
}

/// Why this upload will never be published.
#[derive(Clone, Copy, Debug)]
pub(super) enum Poison {
    Quota(u64),
    TooLarge,
    DiskFull,
    ReadOnlyStorage,
    Storage,
    /// Nobody waited for the end of a write: what the file holds is not known.
    Abandoned,
}

impl Poison {
    pub(super) fn of(error: &VfsError) -> Poison {
        match error {
            VfsError::QuotaExceeded { quota_bytes } => Poison::Quota(*quota_bytes),
            VfsError::TooLarge => Poison::TooLarge,
            VfsError::DiskFull => Poison::DiskFull,
            VfsError::ReadOnlyStorage => Poison::ReadOnlyStorage,
            _ => Poison::Storage,
        }
    }

    /// Whether the upload failed because it was too much for its place.
    pub(super) fn is_for_want_of_room(self) -> bool {
        match self {
            Poison::Quota(_) | Poison::TooLarge | Poison::DiskFull => true,
            Poison::ReadOnlyStorage | Poison::Storage | Poison::Abandoned => false,
        }
    }

    /// The journal's word for an upload that it stops.
    pub(super) fn word(self) -> &'static str {
        match self {
            Poison::Abandoned => "interrupted",
            other => other.error().word(),
        }
    }

    pub(super) fn error(self) -> VfsError {
        match self {
            Poison::Quota(quota_bytes) => VfsError::QuotaExceeded { quota_bytes },
            Poison::TooLarge => VfsError::TooLarge,
            Poison::DiskFull => VfsError::DiskFull,
            Poison::ReadOnlyStorage => VfsError::ReadOnlyStorage,
            Poison::Storage | Poison::Abandoned => VfsError::Storage {
                source: std::io::Error::other("an earlier write of this upload failed"),
            },
        }
    }
}

/// Marks a write as under way; one that never came to its end poisons.
pub(super) struct WriteGuard {
    pub(super) progress: Arc<Mutex<Progress>>,
    pub(super) done: bool,
}

impl Drop for WriteGuard {
    fn drop(&mut self) {
        let mut progress = locked(&self.progress);
        progress.writes_under_way = progress.writes_under_way.saturating_sub(1);
        if !self.done {
            progress.poison.get_or_insert(Poison::Abandoned);
        }
    }
}

pub(super) fn locked(progress: &Mutex<Progress>) -> MutexGuard<'_, Progress> {
    progress.lock().unwrap_or_else(PoisonError::into_inner)
}
