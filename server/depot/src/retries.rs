//! Clients that try the same transfer again and again although it cannot succeed: how often
//! it has failed, and how long the next refusal waits. Reconnecting changes nothing, since an
//! account is remembered; another path or a success does.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::holdings::Direction;
use crate::timer::Stopwatch;
use crate::{AccountId, VirtualPath};

/// Failures that are answered at once: a person tries so often.
const AT_ONCE: u32 = 3;

/// How long the next refusal waits; each further one twice as long...
const FIRST_DELAY: Duration = Duration::from_secs(1);

/// ...up to this: some clients give up a command after 15 s.
const MAX_DELAY: Duration = Duration::from_secs(10);

/// The same of a download of what is not there: it may come, and many look for it each second.
const MAX_DELAY_OF_ABSENT: Duration = Duration::from_secs(2);

/// After so long it is no storm.
const FORGET_AFTER: Duration = Duration::from_secs(600);

/// Accounts that are remembered; with more, all are forgotten.
const MAX_ACCOUNTS: usize = 10_000;

/// What each account failed at last.
#[derive(Debug, Default)]
pub(crate) struct RetryBoard(Mutex<HashMap<AccountId, Failing>>);

#[derive(Debug)]
struct Failing {
    direction: Direction,
    path: VirtualPath,
    /// The fault's word.
    why: &'static str,
    times: u32,
    since: Stopwatch,
}

/// That it failed, and how often in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Repeated {
    pub(crate) times: u32,
    /// How long the answer is to wait; none where it is not.
    pub(crate) delay: Option<Duration>,
}

impl RetryBoard {
    fn failing(&self) -> MutexGuard<'_, HashMap<AccountId, Failing>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A transfer was refused for good.
    pub(crate) fn failed(
        &self,
        account: AccountId,
        direction: Direction,
        path: &VirtualPath,
        why: &'static str,
    ) -> Repeated {
        let mut failing = self.failing();
        if failing.len() >= MAX_ACCOUNTS && !failing.contains_key(&account) {
            failing.clear();
        }
        let known = failing.get(&account).filter(|known| {
            (known.direction, &known.path, known.why) == (direction, path, why)
                && known.since.elapsed() < FORGET_AFTER
        });
        let times = known.map_or(0, |known| known.times).saturating_add(1);
        let longest = match (direction, why) {
            (Direction::Download, "not-found") => MAX_DELAY_OF_ABSENT,
            _ => MAX_DELAY,
        };
        let (path, since) = (path.clone(), Stopwatch::start());
        let now = Failing {
            direction,
            path,
            why,
            times,
            since,
        };
        failing.insert(account, now);
        let delay = times.checked_sub(AT_ONCE + 1).map(|doubled| {
            let factor = 2_u32.saturating_pow(doubled);
            FIRST_DELAY.saturating_mul(factor).min(longest)
        });
        Repeated { times, delay }
    }

    /// A transfer of the account succeeded.
    pub(crate) fn succeeded(&self, account: AccountId) {
        self.failing().remove(&account);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALICE: AccountId = AccountId(1);

    fn fail(board: &RetryBoard, path: &str) -> u64 {
        let path = VirtualPath::parse(path.as_bytes()).unwrap();
        let failed = board.failed(ALICE, Direction::Upload, &path, "permission");
        failed.delay.map_or(0, |delay| delay.as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn the_fourth_in_a_row_waits_and_each_further_one_longer() {
        let board = RetryBoard::default();
        let waits: Vec<_> = (0..11).map(|_| fail(&board, "/in/x")).collect();
        assert_eq!(waits, [0, 0, 0, 1, 2, 4, 8, 10, 10, 10, 10]);
        assert_eq!(fail(&board, "/in/y"), 0, "another path");
        assert_eq!(fail(&board, "/in/x"), 0, "and the first one again");
        let waits: Vec<_> = (0..3).map(|_| fail(&board, "/in/x")).collect();
        assert_eq!(waits, [0, 0, 1]);
        board.succeeded(ALICE);
        assert_eq!(fail(&board, "/in/x"), 0);
        for _ in 0..5 {
            fail(&board, "/in/x");
        }
        crate::timer::sleep(FORGET_AFTER).await;
        assert_eq!(fail(&board, "/in/x"), 0, "much later");
        let path = VirtualPath::parse(b"/in/x").unwrap();
        for (direction, why) in [
            (Direction::Download, "permission"),
            (Direction::Download, "quota"),
        ] {
            assert_eq!(board.failed(ALICE, direction, &path, why).times, 1);
        }
    }

    #[test]
    fn no_more_accounts_are_remembered_than_there_is_room_for() {
        let board = RetryBoard::default();
        let path = VirtualPath::parse(b"/in/x").unwrap();
        for number in 0..=MAX_ACCOUNTS {
            let account = AccountId(i64::try_from(number).unwrap());
            board.failed(account, Direction::Upload, &path, "quota");
            assert!(board.failing().len() <= MAX_ACCOUNTS);
        }
    }
}
