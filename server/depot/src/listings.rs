//! Turns at reading folders, and what listings may hold in memory.
//!
//! A listing is read in pieces, each in a turn: it takes a processor and one of the
//! database's readers, of which the others, logins above all, need some, too. An
//! account has one turn at a time, and the accounts come by turns, so nobody waits
//! longer because somebody else asks for a hundred listings. Between two pieces a
//! listing holds names that it has read ahead, within the account's room; where there
//! is none left, it reads the folder again.
//!
//! A turn depends on no peer, so whoever waits comes to it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::AccountId;

/// Pieces that are read at once.
const AT_ONCE: usize = 2;

/// What the listings of one account may hold between their pieces, whatever it has
/// open: some dozens that read ahead.
pub(crate) const ACCOUNT_BYTES: usize = 4 * 1024 * 1024;

/// All listings of the process.
#[derive(Debug)]
pub(crate) struct Listings {
    at_once: Arc<Semaphore>,
    accounts: Mutex<HashMap<AccountId, Weak<Share>>>,
}

impl Default for Listings {
    fn default() -> Self {
        Self {
            at_once: Arc::new(Semaphore::new(AT_ONCE)),
            accounts: Mutex::default(),
        }
    }
}

impl Listings {
    /// The account's share, as long as one of its listings is open.
    pub(crate) fn share(&self, account: AccountId) -> Arc<Share> {
        let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(share) = accounts.get(&account).and_then(Weak::upgrade) {
            return share;
        }
        accounts.retain(|_, share| share.strong_count() > 0);
        let share = Arc::new(Share {
            own: Semaphore::new(1),
            at_once: Arc::clone(&self.at_once),
            held_bytes: AtomicUsize::new(0),
        });
        accounts.insert(account, Arc::downgrade(&share));
        share
    }
}

/// What one account has of turns and memory.
#[derive(Debug)]
pub(crate) struct Share {
    own: Semaphore,
    at_once: Arc<Semaphore>,
    held_bytes: AtomicUsize,
}

/// A turn; over when it is dropped.
#[derive(Debug)]
pub(crate) struct Turn<'a> {
    _own: Option<SemaphorePermit<'a>>,
    _common: Option<SemaphorePermit<'a>>,
}

impl Share {
    /// Waits for the turn. As an account is once in the common queue, the accounts
    /// come one after the other.
    pub(crate) async fn turn(&self) -> Turn<'_> {
        // They fail only when they are closed, and they never are.
        let own = self.own.acquire().await.ok();
        let common = self.at_once.acquire().await.ok();
        Turn {
            _own: own,
            _common: common,
        }
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

    const CROWD: AccountId = AccountId(1);
    const OTHER: AccountId = AccountId(2);
    const THIRD: AccountId = AccountId(3);

    #[tokio::test]
    async fn a_crowd_of_one_account_delays_no_other() {
        let listings = Listings::default();
        let crowd = listings.share(CROWD);
        let first = crowd.turn().await;
        let mut waiting: Vec<_> = (0..100).map(|_| Box::pin(crowd.turn())).collect();
        for turn in &mut waiting {
            assert!(turn.now_or_never().is_none(), "one at a time");
        }
        let other = listings.share(OTHER);
        let others = other.turn().now_or_never().expect("at once");
        // Now all turns are taken, and a third account is next, before the crowd.
        let third = listings.share(THIRD);
        let mut thirds = Box::pin(third.turn());
        assert!((&mut thirds).now_or_never().is_none());
        drop(first);
        let mut next = waiting.remove(0);
        assert!((&mut next).now_or_never().is_none());
        assert!(thirds.now_or_never().is_some());
        drop(others);
        assert!(next.now_or_never().is_some());
    }

    #[test]
    fn an_account_holds_no_more_than_its_room_and_gives_it_back() {
        let listings = Listings::default();
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
        let listings = Listings::default();
        for account in 0..100 {
            drop(listings.share(AccountId(account)));
        }
        assert_eq!(listings.accounts.lock().unwrap().len(), 1);
    }
}
