//! Figures for metrics: what this process has counted since it began, and what
//! the database knows. The way in is [`Depot::counted`](crate::Depot::counted).
//!
//! Nothing is decided by them, and whoever counts waits for nobody: a lock is held
//! for one addition.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use layover_retention::Timestamp;

use crate::expectation::DayFault;
use crate::gate::AdmitRefused;
use crate::holdings::Direction;
use crate::rights::Protocol;

/// Accounts that are counted one by one; whoever comes later is counted together
/// with all others. A label's values are kept for ever by those who collect them.
pub const MAX_COUNTED_ACCOUNTS: usize = 200;

/// The name that accounts beyond [`MAX_COUNTED_ACCOUNTS`] are counted under, as is one
/// that is called so.
pub const OTHER_ACCOUNTS: &str = "other";

/// Seconds up to which transfers are counted together.
pub const DURATION_BOUNDS_S: [u64; 8] = [1, 5, 15, 60, 300, 900, 3_600, 14_400];

/// Bytes up to which transfers are counted together.
pub const SIZE_BOUNDS_BYTES: [u64; 8] = [
    1 << 10,
    1 << 14,
    1 << 17,
    1 << 20,
    1 << 24,
    1 << 27,
    1 << 30,
    1 << 34,
];

/// How a login or a transfer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ending {
    /// As it should.
    Ok,
    /// It broke off, or we could not do it.
    Failed,
    /// By a rule of ours.
    Refused,
}

impl Ending {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Ok, Self::Failed, Self::Refused];

    /// Its word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed => "failed",
            Self::Refused => "refused",
        }
    }
}

/// Which transfers are counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TransferKind {
    /// How the partner came.
    pub protocol: Protocol,
    /// Which way the file went.
    pub direction: Direction,
}

impl TransferKind {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::new(Protocol::Ftps, Direction::Upload),
        Self::new(Protocol::Ftps, Direction::Download),
        Self::new(Protocol::Sftp, Direction::Upload),
        Self::new(Protocol::Sftp, Direction::Download),
    ];

    const fn new(protocol: Protocol, direction: Direction) -> Self {
        Self {
            protocol,
            direction,
        }
    }
}

/// How many values lie below each bound, and what they come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    /// For each bound the values that are not above it and above the one before;
    /// the last are above all bounds.
    pub counts: [u64; 9],
    /// The sum of all values, in the bounds' unit; of durations in milliseconds.
    pub sum: u64,
}

impl Histogram {
    fn add(&mut self, bounds: [u64; 8], scale: u64, value: u64) {
        let above = bounds
            .iter()
            .filter(|bound| value > bound.saturating_mul(scale))
            .count();
        if let Some(count) = self.counts.get_mut(above) {
            *count = count.saturating_add(1);
        }
        self.sum = self.sum.saturating_add(value);
    }
}

/// Transfers of one kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transfers {
    /// How many ended in which way.
    pub endings: BTreeMap<Ending, u64>,
    /// Bytes that crossed the wire.
    pub bytes: u64,
    /// Their lengths in time: bounds of [`DURATION_BOUNDS_S`], the sum in milliseconds.
    pub durations_ms: Histogram,
    /// Their sizes: bounds of [`SIZE_BOUNDS_BYTES`].
    pub sizes_bytes: Histogram,
}

/// What one account moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AccountTransfers {
    /// Transfers that ended as they should.
    pub ok: u64,
    /// All others.
    pub not_ok: u64,
    /// Bytes that crossed the wire.
    pub bytes: u64,
}

/// What this process has counted since it began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Logins.
    pub logins: BTreeMap<(Protocol, Ending), u64>,
    /// The same by what was shown: password, publickey, certificate, none.
    pub login_methods: BTreeMap<(Protocol, &'static str, Ending), u64>,
    /// Runs of flows that ended here: as they should, or not.
    pub flow_runs: BTreeMap<Ending, u64>,
    /// How long they took here: bounds of [`DURATION_BOUNDS_S`], the sum in milliseconds.
    pub flow_runs_ms: BTreeMap<Ending, Histogram>,
    /// What our engine moved, by integration, at most [`MAX_COUNTED_ACCOUNTS`] of them.
    pub outbound: BTreeMap<String, BTreeMap<Direction, AccountTransfers>>,
    /// Transfers.
    pub transfers: BTreeMap<TransferKind, Transfers>,
    /// Transfers by account and direction, at most [`MAX_COUNTED_ACCOUNTS`] accounts.
    pub accounts: BTreeMap<String, BTreeMap<Direction, AccountTransfers>>,
    /// Connections that got no banner.
    pub refused_connections: BTreeMap<AdmitRefused, u64>,
    /// Sessions that live now.
    pub sessions: BTreeMap<Protocol, u64>,
}

/// A transfer that has ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ended<'a> {
    pub(crate) kind: TransferKind,
    pub(crate) account: &'a str,
    pub(crate) ending: Ending,
    pub(crate) bytes: u64,
    pub(crate) duration: Duration,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Counters(Mutex<Counted>);

impl Counters {
    fn counted(&self) -> MutexGuard<'_, Counted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn all(&self) -> Counted {
        self.counted().clone()
    }

    pub(crate) fn login(&self, protocol: Protocol, method: &'static str, ending: Ending) {
        let mut counted = self.counted();
        one_more(counted.logins.entry((protocol, ending)).or_default());
        let by_method = (protocol, method, ending);
        one_more(counted.login_methods.entry(by_method).or_default());
    }

    pub(crate) fn flow_run(&self, ending: Ending, took_ms: u64) {
        let mut counted = self.counted();
        one_more(counted.flow_runs.entry(ending).or_default());
        let took = counted.flow_runs_ms.entry(ending).or_default();
        took.add(DURATION_BOUNDS_S, 1_000, took_ms);
    }

    /// A file that our engine carried, or did not.
    pub(crate) fn outbound(&self, integration: &str, direction: Direction, ok: bool, bytes: u64) {
        let mut counted = self.counted();
        let of_integration = bounded(&mut counted.outbound, integration, direction);
        of_integration.add(ok, bytes);
    }

    pub(crate) fn refused_connection(&self, why: AdmitRefused) {
        one_more(self.counted().refused_connections.entry(why).or_default());
    }

    /// One that did not begin: no bytes, no time.
    pub(crate) fn unstarted_transfer(&self, kind: TransferKind, account: &str, ending: Ending) {
        let mut counted = self.counted();
        let of_kind = counted.transfers.entry(kind).or_default();
        one_more(of_kind.endings.entry(ending).or_default());
        bounded(&mut counted.accounts, account, kind.direction).add(false, 0);
    }

    pub(crate) fn transfer(&self, ended: &Ended<'_>) {
        let mut counted = self.counted();
        let of_kind = counted.transfers.entry(ended.kind).or_default();
        one_more(of_kind.endings.entry(ended.ending).or_default());
        of_kind.bytes = of_kind.bytes.saturating_add(ended.bytes);
        let millis = u64::try_from(ended.duration.as_millis()).unwrap_or(u64::MAX);
        of_kind.durations_ms.add(DURATION_BOUNDS_S, 1_000, millis);
        of_kind.sizes_bytes.add(SIZE_BOUNDS_BYTES, 1, ended.bytes);
        let of_account = bounded(&mut counted.accounts, ended.account, ended.kind.direction);
        of_account.add(ended.ending == Ending::Ok, ended.bytes);
    }
}

impl AccountTransfers {
    fn add(&mut self, ok: bool, bytes: u64) {
        match ok {
            true => one_more(&mut self.ok),
            false => one_more(&mut self.not_ok),
        }
        self.bytes = self.bytes.saturating_add(bytes);
    }
}

/// What is counted of a name; with all others when there are too many.
fn bounded<'a>(
    all: &'a mut BTreeMap<String, BTreeMap<Direction, AccountTransfers>>,
    name: &str,
    direction: Direction,
) -> &'a mut AccountTransfers {
    let room = all.len() < MAX_COUNTED_ACCOUNTS;
    let name = match room || all.contains_key(name) {
        true => name,
        false => OTHER_ACCOUNTS,
    };
    let of_name = all.entry(name.to_owned()).or_default();
    of_name.entry(direction).or_default()
}

fn one_more(count: &mut u64) {
    *count = count.saturating_add(1);
}

/// Flows that figures are told of one by one: the first by name.
pub const MAX_COUNTED_FLOWS: usize = 200;

/// How the last run of a flow went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlowFigures {
    /// Its name.
    pub flow: String,
    /// Whether the last run that ended did so as it should; none before the first.
    pub last_ok: Option<bool>,
    /// How long it took.
    pub last_duration: Option<Duration>,
    /// When the last one ended that ended as it should.
    pub last_success: Option<Timestamp>,
}

/// How the last days of expectations ended: so many expectations each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExpectationFigures {
    /// With the file as it was to be.
    pub as_expected: u64,
    /// By what was wrong.
    pub faults: BTreeMap<DayFault, u64>,
    /// Not yet: somebody is to look, or to look again.
    pub waiting: u64,
}

/// What the database knows; each asked with one query that an index answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LedgerFigures {
    /// Bytes of stored files: the sum over the homes.
    pub stored_bytes: u64,
    /// When the first of the stored files is due, or was.
    pub first_expiry: Option<Timestamp>,
    /// Stored files whose time is over.
    pub due_files: u64,
    /// Files that a hold keeps.
    pub held_files: u64,
    /// Files that could not be deleted so far.
    pub failing_files: u64,
    /// Interrupted uploads.
    pub partial_uploads: u64,
    /// Stored files without a checksum.
    pub unhashed_files: u64,
    /// Entries of the journal without a place in the chain: by their numbers.
    pub unsealed_entries: u64,
    /// Entries that are not among the days of transfers yet.
    pub uncounted_entries: u64,
    /// Runs of flows that nobody has begun.
    pub flow_runs_due: u64,
    /// Runs that are under way, on any node.
    pub flow_runs_running: u64,
    /// Events that a hook is to be told.
    pub deliveries_due: u64,
    /// Those that were given up.
    pub deliveries_dead: u64,
    /// The first [`MAX_COUNTED_FLOWS`] flows.
    pub flows: Vec<FlowFigures>,
    /// Files that are expected.
    pub expectations: ExpectationFigures,
    /// When the last sweep of any node ran.
    pub last_sweep: Option<crate::JobRun>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(account: &str, bytes: u64, millis: u64) -> Ended<'_> {
        Ended {
            kind: TransferKind::ALL[0],
            account,
            ending: Ending::Ok,
            bytes,
            duration: Duration::from_millis(millis),
        }
    }

    #[test]
    fn a_value_on_a_bound_counts_below_it() {
        let counters = Counters::default();
        for (bytes, millis) in [
            (1 << 10, 1_000),
            ((1 << 10) + 1, 1_001),
            (1 << 40, 99_999_999),
        ] {
            counters.transfer(&ended("a", bytes, millis));
        }
        let counted = counters.all();
        let transfers = &counted.transfers[&TransferKind::ALL[0]];
        let expected = [1, 1, 0, 0, 0, 0, 0, 0, 1];
        assert_eq!(transfers.durations_ms.counts, expected);
        assert_eq!(transfers.sizes_bytes.counts, expected);
        assert_eq!(transfers.durations_ms.sum, 100_002_000);
        assert_eq!(transfers.endings[&Ending::Ok], 3);
    }

    #[test]
    fn accounts_beyond_the_limit_are_counted_together() {
        let counters = Counters::default();
        for number in 0..MAX_COUNTED_ACCOUNTS + 2 {
            counters.transfer(&ended(&format!("a{number}"), 5, 1));
        }
        counters.transfer(&ended("a0", 5, 1));
        let accounts = counters.all().accounts;
        assert_eq!(accounts.len(), MAX_COUNTED_ACCOUNTS + 1);
        let of = |name: &str| accounts[name][&Direction::Upload];
        assert_eq!((of("a0").ok, of("a0").bytes), (2, 10));
        assert_eq!((of(OTHER_ACCOUNTS).ok, of(OTHER_ACCOUNTS).bytes), (2, 10));
        assert!(!accounts.contains_key("a200"));
        assert!(accounts.contains_key("a199"));
    }
}
