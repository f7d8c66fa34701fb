//! Turns at reading folders, and what listings may hold in memory.
//!
//! A listing is read in pieces. Each takes a turn at reading the tree, which costs a
//! processor, and another at asking the database, of whose connections the others,
//! logins above all, need some, too. Of each kind an account has its share at most, so
//! nobody waits much longer because somebody else asks for a hundred listings. Between
//! two pieces a listing holds names that it has read ahead, within the account's room;
//! where there is none left, it reads the folder again.
//!
//! A turn depends on no peer, so whoever waits comes to it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::AccountId;

/// How many do something at a time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AtOnce {
    pub(crate) of_an_account: usize,
    pub(crate) in_all: usize,
}

/// Who read the tree.
const TREES: AtOnce = AtOnce {
    of_an_account: 1,
    in_all: 2,
};

/// What the listings of one account may hold between their pieces, whatever it has
/// open: some dozens that read ahead.
pub(crate) const ACCOUNT_BYTES: usize = 4 * 1024 * 1024;

/// All listings of the process.
#[derive(Debug)]
pub(crate) struct Listings {
    trees: Common,
    database: Common,
    accounts: Mutex<HashMap<AccountId, Weak<Share>>>,
}

/// What one account has of turns and memory.
#[derive(Debug)]
pub(crate) struct Share {
    trees: Turns,
    database: Turns,
    held_bytes: AtomicUsize,
}

/// Turns of one kind, of all accounts.
#[derive(Debug)]
struct Common {
    all: Arc<Semaphore>,
    of_an_account: usize,
}

/// Turns of one kind, of one account.
#[derive(Debug)]
struct Turns {
    own: Arc<Semaphore>,
    common: Arc<Semaphore>,
}

/// A turn; over when it is dropped. It goes along with what is done in it, which may end
/// later than whoever asked for it.
#[derive(Debug)]
pub(crate) struct Turn {
    _own: Option<OwnedSemaphorePermit>,
    _common: Option<OwnedSemaphorePermit>,
}

impl Listings {
    /// With so many who ask the database.
    pub(crate) fn new(database: AtOnce) -> Self {
        Self {
            trees: Common::new(TREES),
            database: Common::new(database),
            accounts: Mutex::default(),
        }
    }

    /// The account's share, as long as one of its listings is open.
    pub(crate) fn share(&self, account: AccountId) -> Arc<Share> {
        let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(share) = accounts.get(&account).and_then(Weak::upgrade) {
            return share;
        }
        accounts.retain(|_, share| share.strong_count() > 0);
        let share = Arc::new(Share {
            trees: self.trees.share(),
            database: self.database.share(),
            held_bytes: AtomicUsize::new(0),
        });
        accounts.insert(account, Arc::downgrade(&share));
        share
    }
}

impl Common {
    fn new(at_once: AtOnce) -> Self {
        Self {
            all: Arc::new(Semaphore::new(at_once.in_all)),
            of_an_account: at_once.of_an_account,
        }
    }

    fn share(&self) -> Turns {
        Turns {
            own: Arc::new(Semaphore::new(self.of_an_account)),
            common: Arc::clone(&self.all),
        }
    }
}

impl Turns {
    /// As an account is in the common queue only with its share, the accounts come
    /// one after the other.
    async fn turn(&self) -> Turn {
        // They fail only when they are closed, and they never are.
        let own = Arc::clone(&self.own).acquire_owned().await.ok();
        let common = Arc::clone(&self.common).acquire_owned().await.ok();
        Turn {
            _own: own,
            _common: common,
        }
    }
}

impl Share {
    /// Waits for a turn at reading the tree.
    pub(crate) async fn tree(&self) -> Turn {
        self.trees.turn().await
    }

    /// Waits for a turn at asking the database.
    pub(crate) async fn database(&self) -> Turn {
        self.database.turn().await
    }

    /// What is held just now.
    #[cfg(test)]
    pub(crate) fn held_bytes(&self) -> usize {
        self.held_bytes.load(Ordering::Acquire)
    }

    /// Room for so many bytes; `None` when there is not so much.
    pub(crate) fn hold(self: &Arc<Self>, bytes: usize) -> Option<Held> {
        let add = |held: usize| held.checked_add(bytes).filter(|sum| *sum <= ACCOUNT_BYTES);
        self.held_bytes
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, add)
            .ok()?;
        Some(Held {
            share: Arc::clone(self),
            bytes,
        })
    }
}

/// Room that a listing has; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    share: Arc<Share>,
    bytes: usize,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.share
            .held_bytes
            .fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    const DATABASE: AtOnce = AtOnce {
        of_an_account: 2,
        in_all: 3,
    };
    const CROWD: AccountId = AccountId(1);
    const OTHER: AccountId = AccountId(2);
    const THIRD: AccountId = AccountId(3);

    #[tokio::test]
    async fn a_crowd_of_one_account_delays_no_other() {
        let listings = Listings::new(DATABASE);
        let crowd = listings.share(CROWD);
        let first = crowd.tree().await;
        let mut waiting: Vec<_> = (0..100).map(|_| Box::pin(crowd.tree())).collect();
        for turn in &mut waiting {
            assert!(turn.now_or_never().is_none(), "one at a time");
        }
        let other = listings.share(OTHER);
        let others = other.tree().now_or_never().expect("at once");
        // Now all turns are taken, and a third account is next, before the crowd.
        let third = listings.share(THIRD);
        let mut thirds = Box::pin(third.tree());
        assert!((&mut thirds).now_or_never().is_none());
        drop(first);
        let mut next = waiting.remove(0);
        assert!((&mut next).now_or_never().is_none());
        assert!(thirds.now_or_never().is_some());
        drop(others);
        assert!(next.now_or_never().is_some());
    }

    // Listings that waited for a connection, on a loaded PostgreSQL, kept all others from
    // the tree: they took 50 s where a file took one.
    #[tokio::test]
    async fn who_waits_for_the_database_keeps_nobody_from_the_tree() {
        let listings = Listings::new(DATABASE);
        let shares: Vec<_> = (0..3).map(|id| listings.share(AccountId(id))).collect();
        let turn_of = |share: usize| shares[share].database().now_or_never();
        let held: Vec<_> = [0, 0, 1].into_iter().map(turn_of).collect();
        assert!(held.iter().all(Option::is_some));
        assert!(turn_of(0).is_none(), "it has its share");
        assert!(turn_of(2).is_none(), "all are taken");
        assert!(shares[0].tree().now_or_never().is_some());
        assert!(shares[2].tree().now_or_never().is_some());
    }

    #[test]
    fn an_account_holds_no_more_than_its_room_and_gives_it_back() {
        let listings = Listings::new(DATABASE);
        let share = listings.share(CROWD);
        let held = share.hold(ACCOUNT_BYTES - 1).unwrap();
        assert!(share.hold(2).is_none());
        let last = listings.share(CROWD).hold(1).expect("the same share");
        assert!(listings.share(OTHER).hold(ACCOUNT_BYTES).is_some());
        drop((held, last));
        assert!(share.hold(ACCOUNT_BYTES).is_some());
    }

    #[test]
    fn accounts_that_list_nothing_are_forgotten() {
        let listings = Listings::new(DATABASE);
        for account in 0..100 {
            drop(listings.share(AccountId(account)));
        }
        assert_eq!(listings.accounts.lock().unwrap().len(), 1);
    }
}
