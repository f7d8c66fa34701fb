//! Clients that try the same transfer again and again although it cannot succeed: how often
//! it has failed, and how long the next refusal waits. Reconnecting changes nothing, since an
//! account is remembered, with the address that it comes from; another path or a success does.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::gate::party;
use crate::holdings::Direction;
use crate::timer::Stopwatch;
use crate::{AccountId, MAX_PATH_BYTES, Network};

/// Failures that are answered at once: a person tries so often.
const AT_ONCE: u32 = 3;

/// How long the next refusal waits; each further one twice as long...
const FIRST_DELAY: Duration = Duration::from_secs(1);

/// ...up to this: some clients give up a command after 15 s.
const MAX_DELAY: Duration = Duration::from_secs(10);

/// The same of a download of what is not there: it may come, and many look for it each second.
const MAX_DELAY_OF_ABSENT: Duration = Duration::from_secs(2);

/// An upload that found no room in the quota [`AT_ONCE`] times may be another, smaller file the next
/// time: it is let in once more when this has passed since, twice as long behind each further try...
const FIRST_PAUSE: Duration = Duration::from_secs(10);

/// ...up to this.
const MAX_PAUSE: Duration = Duration::from_secs(300);

/// After so long it is no storm.
const FORGET_AFTER: Duration = Duration::from_secs(600);

/// Addresses that are remembered of one account; with more, all of its are forgotten.
const MAX_ADDRESSES: usize = 16;

/// What is remembered in all; with more, all is forgotten.
const MAX_REMEMBERED: usize = 10_000;

/// Who fails. A script that is out of order delays nobody who does the same from elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Client {
    account: AccountId,
    /// Of IPv6 a /64, as for bans.
    from: Network,
}

impl Client {
    pub(crate) fn new(account: AccountId, peer: IpAddr) -> Self {
        Self {
            account,
            from: party(peer),
        }
    }
}

/// A transfer that was not to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attempt<'a> {
    pub(crate) direction: Direction,
    /// As the peer said it: some names are no path.
    pub(crate) name: &'a [u8],
    /// The fault's word.
    pub(crate) why: &'static str,
}

/// What each client failed at last.
#[derive(Debug, Default)]
pub(crate) struct RetryBoard(Mutex<Remembered>);

#[derive(Debug, Default)]
struct Remembered {
    accounts: HashMap<AccountId, HashMap<Network, Failing>>,
    /// Over all accounts.
    count: usize,
}

#[derive(Debug)]
struct Failing {
    direction: Direction,
    name: Vec<u8>,
    why: &'static str,
    times: u32,
    since: Stopwatch,
    starved: Option<Starved>,
}

/// An upload that came so far as to use the quota up.
#[derive(Clone, Copy, Debug)]
struct Starved {
    /// Bytes that it would have been allowed.
    room_bytes: u64,
    times: u32,
    since: Stopwatch,
}

impl Starved {
    /// How long the same upload is refused before it begins.
    fn pause(&self) -> Option<Duration> {
        let doubled = self.times.checked_sub(AT_ONCE)?;
        let factor = 2_u32.saturating_pow(doubled);
        Some(FIRST_PAUSE.saturating_mul(factor).min(MAX_PAUSE))
    }
}

impl Failing {
    fn is(&self, attempt: &Attempt<'_>) -> bool {
        (self.direction, self.name.as_slice(), self.why)
            == (attempt.direction, bounded(attempt.name), attempt.why)
            && self.since.elapsed() < FORGET_AFTER
    }
}

/// That it failed, and how often in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Repeated {
    pub(crate) times: u32,
    /// How long the answer is to wait; none where it is not.
    pub(crate) delay: Option<Duration>,
}

impl Remembered {
    /// Room for one more of this client.
    fn make_room(&mut self, client: Client) {
        let own = self.accounts.get(&client.account);
        if own.is_some_and(|own| own.contains_key(&client.from)) {
            return;
        }
        if own.is_some_and(|own| own.len() >= MAX_ADDRESSES) {
            let gone = self.accounts.remove(&client.account).unwrap_or_default();
            self.count = self.count.saturating_sub(gone.len());
        }
        if self.count >= MAX_REMEMBERED {
            *self = Self::default();
        }
    }

    fn of(&self, client: Client) -> Option<&Failing> {
        self.accounts.get(&client.account)?.get(&client.from)
    }

    fn put(&mut self, client: Client, failing: Failing) {
        self.make_room(client);
        let own = self.accounts.entry(client.account).or_default();
        if own.insert(client.from, failing).is_none() {
            self.count = self.count.saturating_add(1);
        }
    }

    fn forget(&mut self, client: Client) {
        let Some(own) = self.accounts.get_mut(&client.account) else {
            return;
        };
        if own.remove(&client.from).is_some() {
            self.count = self.count.saturating_sub(1);
        }
        if own.is_empty() {
            self.accounts.remove(&client.account);
        }
    }
}

impl RetryBoard {
    fn remembered(&self) -> MutexGuard<'_, Remembered> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A transfer was refused for good.
    pub(crate) fn failed(&self, client: Client, attempt: &Attempt<'_>) -> Repeated {
        self.count(client, attempt, |before| before)
    }

    /// An upload used the quota up, of which it had been allowed `room_bytes`.
    pub(crate) fn starved(
        &self,
        client: Client,
        attempt: &Attempt<'_>,
        room_bytes: u64,
    ) -> Repeated {
        self.count(client, attempt, |before| {
            // With more room than before it was worth a try.
            let again = before.filter(|before| room_bytes <= before.room_bytes);
            Some(Starved {
                room_bytes,
                times: again.map_or(0, |before| before.times).saturating_add(1),
                since: Stopwatch::start(),
            })
        })
    }

    fn count(
        &self,
        client: Client,
        attempt: &Attempt<'_>,
        starve: impl FnOnce(Option<Starved>) -> Option<Starved>,
    ) -> Repeated {
        let mut remembered = self.remembered();
        let known = remembered.of(client).filter(|known| known.is(attempt));
        let times = known.map_or(0, |known| known.times).saturating_add(1);
        let starved = starve(known.and_then(|known| known.starved));
        let longest = match (attempt.direction, attempt.why) {
            (Direction::Download, "not-found") => MAX_DELAY_OF_ABSENT,
            _ => MAX_DELAY,
        };
        let now = Failing {
            direction: attempt.direction,
            name: bounded(attempt.name).to_vec(),
            why: attempt.why,
            times,
            since: Stopwatch::start(),
            starved,
        };
        remembered.put(client, now);
        let delay = times.checked_sub(AT_ONCE + 1).map(|doubled| {
            let factor = 2_u32.saturating_pow(doubled);
            FIRST_DELAY.saturating_mul(factor).min(longest)
        });
        Repeated { times, delay }
    }

    /// Whether an upload is refused before it begins: it has used the quota up again and
    /// again, and there is no more room than there was.
    pub(crate) fn is_starved(
        &self,
        client: Client,
        attempt: &Attempt<'_>,
        room_bytes: u64,
    ) -> bool {
        let remembered = self.remembered();
        let known = remembered.of(client).filter(|known| known.is(attempt));
        let starved = known.and_then(|known| known.starved);
        starved.is_some_and(|starved| {
            room_bytes <= starved.room_bytes
                && starved
                    .pause()
                    .is_some_and(|pause| starved.since.elapsed() < pause)
        })
    }

    /// A transfer of the client succeeded.
    pub(crate) fn succeeded(&self, client: Client) {
        self.remembered().forget(client);
    }
}

/// What of a name is compared: no acceptable path is longer.
fn bounded(name: &[u8]) -> &[u8] {
    name.get(..MAX_PATH_BYTES).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(address: &str) -> Client {
        Client::new(AccountId(1), address.parse().unwrap())
    }

    fn alice() -> Client {
        at("192.0.2.7")
    }

    fn attempt(name: &str) -> Attempt<'_> {
        Attempt {
            direction: Direction::Upload,
            name: name.as_bytes(),
            why: "permission",
        }
    }

    fn quota() -> Attempt<'static> {
        Attempt {
            why: "quota",
            ..attempt("/in/large")
        }
    }

    fn fail(board: &RetryBoard, client: Client, name: &str) -> u64 {
        let failed = board.failed(client, &attempt(name));
        failed.delay.map_or(0, |delay| delay.as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn the_fourth_in_a_row_waits_and_each_further_one_longer() {
        let board = RetryBoard::default();
        let fail = |name| fail(&board, alice(), name);
        let waits: Vec<_> = (0..11).map(|_| fail("/in/x")).collect();
        assert_eq!(waits, [0, 0, 0, 1, 2, 4, 8, 10, 10, 10, 10]);
        assert_eq!(fail("/in/y"), 0, "another path");
        assert_eq!(fail("/in/x"), 0, "and the first one again");
        let waits: Vec<_> = (0..3).map(|_| fail("/in/x")).collect();
        assert_eq!(waits, [0, 0, 1]);
        board.succeeded(alice());
        assert_eq!(fail("/in/x"), 0);
        for _ in 0..5 {
            fail("/in/x");
        }
        crate::timer::sleep(FORGET_AFTER).await;
        assert_eq!(fail("/in/x"), 0, "much later");
        for (direction, why) in [
            (Direction::Download, "permission"),
            (Direction::Download, "quota"),
        ] {
            let other = Attempt {
                direction,
                why,
                ..attempt("/in/x")
            };
            assert_eq!(board.failed(alice(), &other).times, 1);
        }
    }

    #[test]
    fn who_comes_from_elsewhere_does_not_wait_for_it() {
        let board = RetryBoard::default();
        let near = ["192.0.2.7", "2001:db8::1", "2001:db8::2"].map(at);
        let far = ["192.0.2.8", "2001:db8:0:1::1"].map(at);
        for client in near {
            for _ in 0..4 {
                fail(&board, client, "/in/x");
            }
        }
        for client in near {
            assert!(fail(&board, client, "/in/x") > 0, "{client:?}");
        }
        for client in far {
            assert_eq!(fail(&board, client, "/in/x"), 0, "{client:?}");
        }
        board.succeeded(far[0]);
        assert!(fail(&board, near[0], "/in/x") > 0);
    }

    #[tokio::test(start_paused = true)]
    async fn what_used_the_quota_up_is_refused_for_a_while_unless_there_is_more_room() {
        let board = RetryBoard::default();
        let refused = |room| board.is_starved(alice(), &quota(), room);
        for _ in 0..AT_ONCE {
            assert!(!refused(100));
            board.starved(alice(), &quota(), 100);
        }
        assert!(refused(100) && refused(99));
        assert!(!refused(101), "more room");
        assert!(!board.is_starved(at("192.0.2.8"), &quota(), 100));
        let other = Attempt {
            name: b"/in/small",
            ..quota()
        };
        assert!(!board.is_starved(alice(), &other, 100));
        // Refusals in between neither make it longer nor shorter.
        let waits = board.failed(alice(), &quota()).delay;
        assert_eq!(waits, Some(FIRST_DELAY));
        crate::timer::sleep(FIRST_PAUSE - Duration::from_millis(1)).await;
        assert!(refused(100));
        crate::timer::sleep(Duration::from_millis(1)).await;
        assert!(!refused(100), "it may be smaller by now");
        board.starved(alice(), &quota(), 100);
        crate::timer::sleep(FIRST_PAUSE).await;
        assert!(refused(100));
        crate::timer::sleep(FIRST_PAUSE).await;
        assert!(!refused(100));
        for _ in 0..20 {
            board.starved(alice(), &quota(), 100);
        }
        crate::timer::sleep(MAX_PAUSE).await;
        assert!(!refused(100));
        board.starved(alice(), &quota(), 100);
        board.succeeded(alice());
        assert!(!refused(100));
    }

    #[test]
    fn no_more_is_remembered_than_there_is_room_for() {
        let board = RetryBoard::default();
        let others = |number: usize| {
            let account = AccountId(i64::try_from(number).unwrap());
            Client::new(account, IpAddr::from([192, 0, 2, 1]))
        };
        // One account's addresses push out nobody else's.
        board.failed(others(2), &attempt("/in/x"));
        for number in 0..200_u8 {
            let client = Client::new(AccountId(1), IpAddr::from([198, 51, 100, number]));
            board.failed(client, &attempt(&"x".repeat(2 * MAX_PATH_BYTES)));
            let remembered = board.remembered();
            assert!(remembered.accounts[&AccountId(1)].len() <= MAX_ADDRESSES);
            let all = remembered.accounts.values();
            assert_eq!(all.map(HashMap::len).sum::<usize>(), remembered.count);
            assert!(remembered.count <= MAX_REMEMBERED);
            let name = remembered.of(client).unwrap().name.len();
            assert_eq!(name, MAX_PATH_BYTES);
        }
        assert!(board.remembered().of(others(2)).is_some());
        for number in 0..=MAX_REMEMBERED {
            board.failed(others(number), &attempt("/in/x"));
            assert!(board.remembered().count <= MAX_REMEMBERED);
        }
    }
}
