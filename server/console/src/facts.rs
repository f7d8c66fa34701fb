//! What the process tells of itself that the depot does not know.

use std::time::Duration;

use layover_retention::Timestamp;

/// How the process is doing.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Version of the executable.
    pub version: &'static str,
    /// When the server became ready.
    pub started_at: Timestamp,
    /// Whether it only lets running transfers finish.
    pub stopping: bool,
    /// The longest pause between two sweeps.
    pub sweep_every: Duration,
    /// What the sweeps of this process did.
    pub sweep: SweepFacts,
    /// Every job.
    pub jobs: Vec<JobFacts>,
    /// What is known of the clock.
    pub clock: ClockFacts,
    /// When the TLS certificate in use ends; none where FTPS is not served.
    pub certificate_ends: Option<Timestamp>,
    /// What of all certificates and keys ends soon; none: not looked at yet.
    pub expiring: Option<Expiring>,
}

/// Days ahead at which an end is spoken of, the first being the end itself: a month is
/// what an authority or a partner may take, and what is told a day before is urgent.
pub const WITHIN_DAYS: [u64; 5] = [0, 1, 7, 14, 30];

/// How many end within each of [`WITHIN_DAYS`], those that have ended among them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expiring {
    /// The server's certificate, those of accounts, ours and partners' of integrations.
    pub certificates: [u64; WITHIN_DAYS.len()],
    /// Keys of accounts, and PGP keys of integrations.
    pub keys: [u64; WITHIN_DAYS.len()],
}

/// What the sweeps of this process did since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SweepFacts {
    /// Runs, the parts of a long one counted together.
    pub runs: u64,
    /// Files deleted.
    pub deleted_files: u64,
    /// Bytes in them.
    pub deleted_bytes: u64,
    /// Files that the last run could not delete.
    pub failed_files: u64,
    /// How long the last run took.
    pub last_duration: Duration,
}

/// A job of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JobFacts {
    /// Its name.
    pub name: &'static str,
    /// Finished runs, failed ones included.
    pub runs: u64,
    /// Failed runs.
    pub failures: u64,
    /// When the last run began.
    pub last_started_at: Timestamp,
}

/// What is known of the clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClockFacts {
    /// While it is in doubt, how far the two times are apart.
    pub in_doubt: Option<Duration>,
    /// By how much it is ahead of the database's, in microseconds; none where the
    /// database has no clock of its own.
    pub ahead_of_database_us: Option<i64>,
    /// Whether that is too much, so that nothing is deleted.
    pub differs: bool,
}
