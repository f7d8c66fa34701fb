//! What sessions of this process move just now: for whoever asks who is there and
//! what they do.
//!
//! It costs a transfer two locks of a map and an addition a block; the database
//! learns of it with the heartbeat alone ([`crate::Depot::beat`]), and only while
//! something moves.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use serde::{Deserialize, Serialize};

use crate::timer::Stopwatch;
use crate::{PathTexts, SessionId, VirtualPath};

/// Transfers that one node tells of at most, the oldest first: more than anybody
/// reads, and a bound for what the heartbeat writes.
pub(crate) const MAX_TOLD: usize = 256;

/// Which way a file goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// From the partner to us.
    Upload,
    /// From us to the partner.
    Download,
}

impl Direction {
    /// Its word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Upload => "upload",
            Self::Download => "download",
        }
    }
}

/// A file that a session moves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moving {
    /// Its name.
    #[serde(flatten)]
    pub path: PathTexts,
    /// Which way it goes.
    pub direction: Direction,
    /// What was moved so far, by this transfer.
    pub moved_bytes: u64,
    /// Of so many; an upload does not say.
    pub size_bytes: Option<u64>,
    /// How fast, over the few seconds before it was told; none: a version before told it.
    #[serde(default)]
    pub bytes_per_s: Option<u64>,
}

/// A moving file and whose it is, as the nodes tell each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Told {
    pub(crate) session: String,
    #[serde(flatten)]
    pub(crate) file: Moving,
}

/// All of them; bounded by what sessions may have open.
#[derive(Clone, Debug, Default)]
pub(crate) struct MovingTable {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    next: u64,
    files: BTreeMap<u64, Weak<Entry>>,
}

#[derive(Debug)]
struct Entry {
    table: MovingTable,
    key: u64,
    session: SessionId,
    path: VirtualPath,
    direction: Direction,
    size_bytes: Option<u64>,
    moved: AtomicU64,
    /// When it was told last, or began, and what had moved then.
    before: Mutex<(Stopwatch, u64)>,
}

impl Entry {
    /// What has moved so far, and how fast since this was asked last.
    fn measure(&self) -> (u64, u64) {
        let moved = self.moved.load(Ordering::Relaxed);
        let mut before = self.before.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, moved_before) = *before;
        *before = (Stopwatch::start(), moved);
        let bytes = u128::from(moved.saturating_sub(moved_before)).saturating_mul(1_000_000);
        let rate = bytes / since.elapsed().as_micros().max(1);
        (moved, u64::try_from(rate).unwrap_or(u64::MAX))
    }
}

impl MovingTable {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A file begins to move, until the guard is dropped.
    pub(crate) fn begin(
        &self,
        session: &SessionId,
        path: &VirtualPath,
        direction: Direction,
        size_bytes: Option<u64>,
    ) -> MovingGuard {
        let mut inner = self.inner();
        let key = inner.next;
        inner.next += 1;
        let entry = Arc::new(Entry {
            table: self.clone(),
            key,
            session: session.clone(),
            path: path.clone(),
            direction,
            size_bytes,
            moved: AtomicU64::default(),
            before: Mutex::new((Stopwatch::start(), 0)),
        });
        inner.files.insert(key, Arc::downgrade(&entry));
        MovingGuard(entry)
    }

    /// What moves now, the oldest first, [`MAX_TOLD`] at most; how fast, since this was
    /// asked last.
    pub(crate) fn told(&self) -> Vec<Told> {
        // Let go of outside of the lock: the last to hold one takes it out of the map.
        let live: Vec<_> = {
            let inner = self.inner();
            let files = inner.files.values().filter_map(Weak::upgrade);
            files.take(MAX_TOLD).collect()
        };
        let told = live.iter().map(|entry| {
            let (moved_bytes, bytes_per_s) = entry.measure();
            Told {
                session: entry.session.as_str().to_owned(),
                file: Moving {
                    path: PathTexts::from(&entry.path),
                    direction: entry.direction,
                    moved_bytes,
                    size_bytes: entry.size_bytes,
                    bytes_per_s: Some(bytes_per_s),
                },
            }
        });
        told.collect()
    }
}

/// Counts the bytes of one transfer, and ends it when dropped.
#[derive(Debug)]
pub(crate) struct MovingGuard(Arc<Entry>);

impl MovingGuard {
    /// So many more.
    pub(crate) fn add(&self, bytes: u64) {
        self.0.moved.fetch_add(bytes, Ordering::Relaxed);
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.table.inner().files.remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_most_so_many_are_told_and_those_that_ended_are_not() {
        let table = MovingTable::default();
        let session = SessionId::random().unwrap();
        let path = "/in/file".parse().unwrap();
        let begin = || table.begin(&session, &path, Direction::Upload, None);
        let mut guards: Vec<_> = (0..MAX_TOLD).map(|_| begin()).collect();
        guards[0].add(7);
        guards[0].add(8);
        let told = table.told();
        assert_eq!(told.len(), MAX_TOLD);
        assert_eq!(told[0].file.moved_bytes, 15);
        assert_eq!(told[0].session, session.as_str());
        guards.push(begin());
        assert_eq!(table.told().len(), MAX_TOLD);
        drop(guards);
        assert_eq!(table.told(), []);
    }
}
