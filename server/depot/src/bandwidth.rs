//! How fast an account's files move: a token bucket for each direction, shared by all
//! sessions of the account in this process.
//!
//! The verbs of uploads and downloads take what they move from the bucket, so nobody can
//! forget it, and never wait: a bucket may go into debt. Whoever is about to move
//! more asks before ([`crate::Session::is_held_back`], [`crate::Session::go_ahead`]) and waits
//! in the way that its protocol allows. An account without a limit costs one look at an
//! atomic number.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::AccountId;
use crate::account_limits::{AccountLimits, ByteRate};
use crate::holdings::Direction;
use crate::timer::{self, Stopwatch};

/// A bucket that nobody takes from holds what this time brings, and no more: what may go
/// at once after a pause.
const BURST: Duration = Duration::from_millis(125);

/// Whoever waits looks again so often at least: for a limit that was changed meanwhile.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// And so often at most.
const LOOK_AT_MOST_EVERY: Duration = Duration::from_millis(1);

/// A limited transfer should move in so many pieces a second, none of them smaller than
/// [`MIN_STRIDE_BYTES`].
const STRIDES_PER_S: u64 = 8;

/// See [`STRIDES_PER_S`].
const MIN_STRIDE_BYTES: usize = 16 * 1024;

const NANOS_PER_S: i128 = 1_000_000_000;

/// Tokens, one a byte; knows no clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct TokenBucket {
    bytes_per_s: u64,
    /// In thousand-millionths of a byte, so that no time between two looks is lost;
    /// negative: in debt.
    balance: i128,
    /// When that was so.
    at: Duration,
}

impl TokenBucket {
    /// Empty, and not in debt.
    const fn new(bytes_per_s: u64, now: Duration) -> Self {
        Self {
            bytes_per_s,
            balance: 0,
            at: now,
        }
    }

    /// What a time brings.
    fn brought_in(&self, span: Duration) -> i128 {
        let nanos = i128::try_from(span.as_nanos()).unwrap_or(i128::MAX);
        nanos.saturating_mul(i128::from(self.bytes_per_s))
    }

    fn fill(&mut self, now: Duration) {
        let brought = self.brought_in(now.saturating_sub(self.at));
        self.balance = self.balance.saturating_add(brought);
        self.balance = self.balance.min(self.brought_in(BURST));
        self.at = self.at.max(now);
    }

    /// How long it stays in debt; zero: more may move.
    fn wait(&mut self, now: Duration) -> Duration {
        self.fill(now);
        let debt = self.balance.min(0).unsigned_abs();
        let nanos = debt.div_ceil(u128::from(self.bytes_per_s.max(1)));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    fn take(&mut self, bytes: u64, now: Duration) {
        self.fill(now);
        let cost = i128::from(bytes).saturating_mul(NANOS_PER_S);
        self.balance = self.balance.saturating_sub(cost);
    }

    /// From now on so fast; a debt stays one.
    fn set_rate(&mut self, bytes_per_s: u64, now: Duration) {
        self.fill(now);
        self.bytes_per_s = bytes_per_s;
    }
}

/// One direction of an account.
#[derive(Debug)]
struct Flow {
    /// Bytes a second; 0: no limit, and the bucket is not looked at.
    bytes_per_s: AtomicU64,
    bucket: Mutex<TokenBucket>,
}

impl Flow {
    fn new() -> Self {
        Self {
            bytes_per_s: AtomicU64::new(0),
            bucket: Mutex::new(TokenBucket::new(0, Duration::ZERO)),
        }
    }

    fn limited(&self) -> Option<MutexGuard<'_, TokenBucket>> {
        let is_limited = self.bytes_per_s.load(Ordering::Relaxed) > 0;
        is_limited.then(|| self.bucket.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn set(&self, rate: Option<ByteRate>, now: Duration) {
        let wanted = rate.map_or(0, ByteRate::bytes_per_s);
        let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        match (self.bytes_per_s.load(Ordering::Relaxed), wanted) {
            (had, wanted) if had == wanted => return,
            (0, _) => *bucket = TokenBucket::new(wanted, now),
            (_, 0) => {}
            (_, _) => bucket.set_rate(wanted, now),
        }
        self.bytes_per_s.store(wanted, Ordering::Relaxed);
    }
}

/// How fast an account's files move, in this process.
#[derive(Debug)]
pub(crate) struct Bandwidth {
    since: Stopwatch,
    upload: Flow,
    download: Flow,
}

impl Bandwidth {
    /// Without a limit.
    pub(crate) fn unlimited() -> Self {
        Self {
            since: Stopwatch::start(),
            upload: Flow::new(),
            download: Flow::new(),
        }
    }

    const fn flow(&self, direction: Direction) -> &Flow {
        match direction {
            Direction::Upload => &self.upload,
            Direction::Download => &self.download,
        }
    }

    /// What counts from now on, for what moves already as well.
    pub(crate) fn set(&self, limits: &AccountLimits) {
        let now = self.since.elapsed();
        self.upload.set(limits.upload_rate, now);
        self.download.set(limits.download_rate, now);
    }

    /// So many bytes move now, whether there was room for them or not.
    pub(crate) fn take(&self, direction: Direction, bytes: u64) {
        if let Some(mut bucket) = self.flow(direction).limited() {
            bucket.take(bytes, self.since.elapsed());
        }
    }

    /// How long nothing more should move; zero: it may.
    pub(crate) fn wait(&self, direction: Direction) -> Duration {
        match self.flow(direction).limited() {
            Some(mut bucket) => bucket.wait(self.since.elapsed()),
            None => Duration::ZERO,
        }
    }

    fn is_in_debt(&self) -> bool {
        [Direction::Upload, Direction::Download]
            .into_iter()
            .any(|direction| !self.wait(direction).is_zero())
    }

    /// The most that should move at once; all where there is no limit.
    pub(crate) fn stride(&self, direction: Direction) -> usize {
        match self.flow(direction).bytes_per_s.load(Ordering::Relaxed) {
            0 => usize::MAX,
            rate => usize::try_from(rate / STRIDES_PER_S)
                .unwrap_or(usize::MAX)
                .max(MIN_STRIDE_BYTES),
        }
    }

    /// Waits until more may move, or a second: returns whether it may. Dropped, nothing is lost.
    pub(crate) async fn go_ahead_soon(&self, direction: Direction) -> bool {
        let wait = self.wait(direction);
        if wait.is_zero() {
            return true;
        }
        timer::sleep(wait.clamp(LOOK_AT_MOST_EVERY, LOOK_AGAIN)).await;
        self.wait(direction).is_zero()
    }
}

/// The buckets of all accounts that somebody is logged in to, or that are in debt: whoever goes
/// and comes again owes what it owed. Bounded by the accounts.
#[derive(Debug, Default)]
pub(crate) struct Bandwidths {
    accounts: Mutex<HashMap<AccountId, Arc<Bandwidth>>>,
}

impl Bandwidths {
    /// The account's, the same for all its sessions; these limits count from now on.
    pub(crate) fn of(&self, account: AccountId, limits: &AccountLimits) -> Arc<Bandwidth> {
        let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        let known = accounts.get(&account).map(Arc::clone);
        let bandwidth = known.unwrap_or_else(|| {
            accounts.retain(|_, others| Arc::strong_count(others) > 1 || others.is_in_debt());
            let new = Arc::new(Bandwidth::unlimited());
            accounts.insert(account, Arc::clone(&new));
            new
        });
        bandwidth.set(limits);
        bandwidth
    }
}

#[cfg(test)]
mod tests;
