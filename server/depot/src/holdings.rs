//! Holdings: the files this node looks after, and the verbs that change disk
//! and ledger together.
//!
//! The doors use it: `Session` for partners, `Shelf` for the sweep, recovery
//! and adoption for the appliance itself. Each verb that changes a name is
//! two transactions with the file system in between: the first claims the
//! name and says what is about to happen, the second says that it did. A
//! crash at any point leaves a row and a claim that recovery can settle in
//! exactly one way.

mod beginnings;
#[cfg(test)]
pub(crate) mod fixture;
mod grounds;
mod growth;
mod live;
mod locks;
mod moving;
mod publish;
mod removal;
mod storage;

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use layover_retention::{Clock, Timestamp};
use tokio_util::task::TaskTracker;

#[cfg(test)]
pub(crate) use beginnings::ROW_DELAY;
pub(crate) use beginnings::{Beginnings, RowToCome};
pub(crate) use growth::{Growth, GrowthTable};
pub(crate) use live::{LiveGuard, LiveKey, LiveSet};
pub(crate) use locks::{LOCK_WAIT, NameGuard, PathLocks};
pub use moving::{Direction, Moving};
pub(crate) use moving::{MovingGuard, MovingTable, Told};
pub(crate) use publish::{PublishError, Publishing};
pub(crate) use removal::{Removed, Taken};
pub(crate) use storage::{Elsewhere, needed_storage};

use grounds::KnownGrounds;

use crate::bandwidth::Bandwidths;
use crate::doctor::{Clue, SignBoard, Whose};
use crate::fault_log::FaultLog;
use crate::figures::Counters;
use crate::ledger::{ApplianceKeep, Claimed};
use crate::listings::Listings;
use crate::recover::Suspect;
use crate::retries::RetryBoard;
use crate::session::unended::Unended;
use crate::store::{Store, StoreError};
use crate::timer;
use crate::vfs::{HiddenName, Place, Room, Vfs, VfsError};
use crate::{HomeId, HomeName, NodeId, VirtualPath};

/// How long a verb waits for a name that another process has claimed.
pub(crate) const CLAIM_WAIT: Duration = Duration::from_secs(10);

/// How often it asks again; publishing on another node takes milliseconds.
pub(crate) const CLAIM_RETRY: Duration = Duration::from_millis(25);

/// A home: its number in the ledger, its folder in the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HomeRef {
    pub(crate) id: HomeId,
    pub(crate) name: HomeName,
}

impl HomeRef {
    pub(crate) fn place(&self, path: &VirtualPath) -> Place {
        Place::new(&self.name, path)
    }
}

/// Everything the verbs on hosted files need. One per depot.
pub(crate) struct Holdings {
    pub(crate) store: Arc<Store>,
    pub(crate) vfs: Vfs,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) node: NodeId,
    pub(crate) appliance: ApplianceKeep,
    /// How long an interrupted upload stays resumable.
    pub(crate) partial_keep: Duration,
    pub(crate) locks: Arc<PathLocks>,
    /// What this process is in the middle of: recovery leaves it alone.
    pub(crate) live: LiveSet,
    /// What sessions move just now.
    pub(crate) moving: MovingTable,
    /// What the uploads in progress hold, for the quota.
    pub(crate) growth: GrowthTable,
    /// How fast accounts' files may move.
    pub(crate) bandwidths: Bandwidths,
    pub(crate) unended: Unended,
    /// Rows of uploads that are being written.
    pub(crate) beginnings: Beginnings,
    /// Hidden files that had no row when recovery last looked.
    pub(crate) rowless: Mutex<HashMap<HiddenName, Suspect>>,
    /// Turns at reading folders.
    pub(crate) listings: Listings,
    /// The rules that held for accounts of late.
    pub(crate) grounds: KnownGrounds,
    /// Whether there is room for what partners begin.
    pub(crate) room: Arc<Room>,
    /// Lines about faults of ours.
    pub(crate) faults: FaultLog,
    /// What is counted for metrics.
    pub(crate) counters: Counters,
    /// What was seen of connections, for the doctor.
    pub(crate) signs: SignBoard,
    /// Transfers that are tried again and again in vain.
    pub(crate) retries: RetryBoard,
    /// Work that goes on when its caller is gone; waited for at the end.
    pub(crate) tasks: TaskTracker,
    /// Claims refused because another process holds the name.
    #[cfg(test)]
    pub(crate) refused_claims: std::sync::atomic::AtomicUsize,
}

impl fmt::Debug for Holdings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Holdings")
            .field("node", &self.node)
            .finish_non_exhaustive()
    }
}

impl Holdings {
    /// Looks after the files behind `vfs` with the ledger in `store`.
    pub(crate) fn new(
        store: Arc<Store>,
        vfs: Vfs,
        clock: Arc<dyn Clock>,
        node: NodeId,
        appliance: ApplianceKeep,
        partial_keep: Duration,
    ) -> Arc<Holdings> {
        let listings = Listings::new(store.listings_at_once());
        Arc::new(Holdings {
            store,
            vfs,
            clock,
            node,
            appliance,
            partial_keep,
            locks: PathLocks::new(LOCK_WAIT),
            live: LiveSet::default(),
            moving: MovingTable::default(),
            growth: GrowthTable::default(),
            bandwidths: Bandwidths::default(),
            unended: Unended::default(),
            beginnings: Beginnings::default(),
            rowless: Mutex::default(),
            listings,
            grounds: KnownGrounds::default(),
            room: Arc::default(),
            faults: FaultLog::default(),
            counters: Counters::default(),
            signs: SignBoard::default(),
            retries: RetryBoard::default(),
            tasks: TaskTracker::new(),
            #[cfg(test)]
            refused_claims: std::sync::atomic::AtomicUsize::new(0),
        })
    }

    /// Waits until everything that sessions left to be done is done. No
    /// session may begin anything from now on.
    pub(crate) async fn close(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Makes sure that a home has its folder.
    pub(crate) async fn make_home(&self, home: &HomeRef) -> Result<(), VfsError> {
        let (root, name) = (home.place(&VirtualPath::root()), home.name.clone());
        let made = self
            .vfs
            .run(move |storage| match storage.stat(&root) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    storage.make_home(&name)
                }
                found => found.map(drop),
            })
            .await;
        made.map_err(|error| VfsError::at(&VirtualPath::root(), error))
    }

    /// Takes note of what was seen of a connection.
    pub(crate) fn see(&self, whose: &Whose, seen: Clue) {
        self.signs.see(whose, seen, self.now());
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The time with which things arrive: while the clock is in doubt the latest that
    /// it may be, so that nothing goes early.
    pub(crate) fn arriving_at(&self) -> Timestamp {
        self.clock.latest()
    }

    /// Runs a verb to its end even when the caller stops waiting: a session
    /// that dies between the two transactions must not leave its name claimed.
    pub(crate) async fn to_the_end<T: Send + 'static>(
        &self,
        verb: impl Future<Output = Result<T, VfsError>> + Send + 'static,
    ) -> Result<T, VfsError> {
        match self.tasks.spawn(verb).await {
            Ok(result) => result,
            Err(error) => Err(VfsError::Storage {
                source: std::io::Error::other(error),
            }),
        }
    }

    /// Keeps other verbs of this process away from these names.
    pub(crate) async fn lock(
        &self,
        home: HomeId,
        paths: &[&VirtualPath],
    ) -> Result<NameGuard, VfsError> {
        let busy = |_| VfsError::Busy {
            path: paths
                .first()
                .map_or_else(VirtualPath::root, |path| (*path).clone()),
        };
        self.locks.names(home, paths).await.map_err(busy)
    }

    /// Asks for a claim until no other process holds the name, or the wait is
    /// over.
    pub(crate) async fn claim<F>(
        &self,
        path: &VirtualPath,
        mut ask: impl FnMut() -> F,
    ) -> Result<Claimed, VfsError>
    where
        F: Future<Output = Result<Claimed, StoreError>>,
    {
        let waiting = timer::Stopwatch::start();
        loop {
            match ask().await? {
                Claimed::Busy if waiting.elapsed() >= CLAIM_WAIT => {
                    return Err(VfsError::Busy { path: path.clone() });
                }
                Claimed::Busy => {
                    #[cfg(test)]
                    self.refused_claims
                        .fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                    timer::sleep(CLAIM_RETRY).await;
                }
                settled => return Ok(settled),
            }
        }
    }

    /// Unlinks a hidden file; fine when it is gone.
    pub(crate) async fn discard_hidden(&self, hidden: HiddenName) -> Result<(), VfsError> {
        let unlinked = self
            .vfs
            .run(move |storage| storage.unlink_hidden(&hidden))
            .await;
        match unlinked {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }
}
