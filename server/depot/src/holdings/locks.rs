//! Who in this process is changing which name just now.
//!
//! A verb on a file holds its home shared and its paths alone; a verb on a
//! directory holds the whole home alone, because it moves or removes every
//! name below. Paths are taken in order, so two verbs never wait for each
//! other. Other processes are kept out by the ledger's claims.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};

use crate::timer;
use crate::{HomeId, VirtualPath};

/// How long a verb waits for a name that another one is changing. Publishing
/// takes milliseconds; only failing storage takes longer.
pub(crate) const LOCK_WAIT: Duration = Duration::from_secs(10);

/// Names locked or waited for at once, over all homes: far above what the
/// largest number of connections can ask for.
const MAX_LOCKED_NAMES: usize = 65_536;

/// The name is in use and was not freed in time.
#[derive(Debug)]
pub(crate) struct LockBusy;

type Key = (HomeId, Option<VirtualPath>);

/// Locks by name; an entry exists only while somebody holds or awaits it.
#[derive(Debug)]
pub(crate) struct PathLocks {
    entries: Mutex<HashMap<Key, Arc<RwLock<()>>>>,
    wait: Duration,
    /// Verbs that ask for a name or wait for it just now.
    #[cfg(test)]
    pub(crate) waiting: std::sync::atomic::AtomicUsize,
}

/// Holds names until dropped.
#[derive(Debug)]
pub(crate) struct NameGuard {
    // Dropped in this order: first the locks, then the entries of the table.
    _held: Vec<Held>,
    _tickets: Vec<Ticket>,
}

#[derive(Debug)]
enum Held {
    Shared(#[expect(dead_code, reason = "held for its drop")] OwnedRwLockReadGuard<()>),
    Alone(#[expect(dead_code, reason = "held for its drop")] OwnedRwLockWriteGuard<()>),
}

/// Frees the table's entry when nobody else uses it.
#[derive(Debug)]
struct Ticket {
    locks: Arc<PathLocks>,
    key: Key,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut entries = self
            .locks
            .entries
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if entries
            .get(&self.key)
            .is_some_and(|entry| Arc::strong_count(entry) == 1)
        {
            entries.remove(&self.key);
        }
    }
}

impl PathLocks {
    /// Locks whose verbs wait at most `wait` for a name.
    pub(crate) fn new(wait: Duration) -> Arc<PathLocks> {
        Arc::new(PathLocks {
            entries: Mutex::default(),
            wait,
            #[cfg(test)]
            waiting: std::sync::atomic::AtomicUsize::new(0),
        })
    }

    /// Holds these names of one home; waits a bounded time.
    pub(crate) async fn names(
        self: &Arc<Self>,
        home: HomeId,
        paths: &[&VirtualPath],
    ) -> Result<NameGuard, LockBusy> {
        let mut paths: Vec<VirtualPath> = paths.iter().map(|path| (*path).clone()).collect();
        paths.sort();
        paths.dedup();
        let acquire = async {
            let mut guard = NameGuard {
                _held: Vec::new(),
                _tickets: Vec::new(),
            };
            let (ticket, whole) = self.entry((home, None))?;
            guard._tickets.push(ticket);
            guard._held.push(Held::Shared(whole.read_owned().await));
            for path in paths {
                let (ticket, name) = self.entry((home, Some(path)))?;
                guard._tickets.push(ticket);
                guard._held.push(Held::Alone(name.write_owned().await));
            }
            Ok(guard)
        };
        #[cfg(test)]
        let _waiting = Waiting::enter(self);
        timer::timeout(self.wait, acquire)
            .await
            .map_err(|_| LockBusy)?
    }

    /// Holds every name of one home; waits a bounded time.
    pub(crate) async fn whole_home(self: &Arc<Self>, home: HomeId) -> Result<NameGuard, LockBusy> {
        let acquire = async {
            let (ticket, whole) = self.entry((home, None))?;
            let held = Held::Alone(whole.write_owned().await);
            Ok(NameGuard {
                _held: vec![held],
                _tickets: vec![ticket],
            })
        };
        timer::timeout(self.wait, acquire)
            .await
            .map_err(|_| LockBusy)?
    }

    fn entry(self: &Arc<Self>, key: Key) -> Result<(Ticket, Arc<RwLock<()>>), LockBusy> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() >= MAX_LOCKED_NAMES && !entries.contains_key(&key) {
            return Err(LockBusy);
        }
        let entry = Arc::clone(entries.entry(key.clone()).or_default());
        Ok((
            Ticket {
                locks: Arc::clone(self),
                key,
            },
            entry,
        ))
    }

    /// Names in the table.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.entries
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .len()
    }
}

#[cfg(test)]
struct Waiting<'a>(&'a PathLocks);

#[cfg(test)]
impl<'a> Waiting<'a> {
    fn enter(locks: &'a PathLocks) -> Waiting<'a> {
        locks
            .waiting
            .fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        Waiting(locks)
    }
}

#[cfg(test)]
impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0
            .waiting
            .fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> VirtualPath {
        VirtualPath::parse(text.as_bytes()).unwrap()
    }

    #[tokio::test]
    async fn names_are_freed_when_the_last_holder_goes() {
        let locks = PathLocks::new(LOCK_WAIT);
        let guard = locks
            .names(HomeId(1), &[&path("/a"), &path("/b")])
            .await
            .unwrap();
        assert_eq!(locks.len(), 3);
        drop(guard);
        assert_eq!(locks.len(), 0);
    }

    #[tokio::test]
    async fn two_verbs_on_crossed_names_both_finish() {
        let locks = PathLocks::new(LOCK_WAIT);
        let (a, b) = (path("/a"), path("/b"));
        let rounds = |first: VirtualPath, second: VirtualPath| {
            let locks = Arc::clone(&locks);
            async move {
                for _ in 0..200 {
                    let guard = locks.names(HomeId(1), &[&first, &second]).await.unwrap();
                    tokio::task::yield_now().await;
                    drop(guard);
                }
            }
        };
        tokio::join!(rounds(a.clone(), b.clone()), rounds(b, a));
        assert_eq!(locks.len(), 0);
    }

    #[tokio::test]
    async fn a_name_that_is_never_freed_makes_the_next_verb_busy() {
        let locks = PathLocks::new(Duration::from_millis(20));
        let _held = locks.names(HomeId(1), &[&path("/a")]).await.unwrap();
        assert!(locks.names(HomeId(1), &[&path("/a")]).await.is_err());
        assert!(locks.names(HomeId(1), &[&path("/b")]).await.is_ok());
        assert!(locks.names(HomeId(2), &[&path("/a")]).await.is_ok());
        assert!(locks.whole_home(HomeId(1)).await.is_err());
    }
}
