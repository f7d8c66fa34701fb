//! The real clock: the one file of the server that asks the operating system
//! for the time of day.
//!
//! A wall clock can be set. [`SystemClock`] therefore asks a [`Timekeeper`] what to
//! believe: `now` is the earliest that the time may be, `latest` the latest.
//! `clock_watch.rs` carries what it knows from one life of the server to the next.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use layover_depot::timer;
use layover_retention::{
    Clock, ClockNews, ClockRecord, Correction, MAX_DATABASE_DIFFERENCE, Reading, Timekeeper, Times,
    Timestamp,
};
use rustix::time::{ClockId, clock_gettime};

/// The longest nap of [`SystemClock::sleep_until`]; after each the wall clock
/// is read again, so that a changed clock is noticed this soon.
const LONGEST_NAP: Duration = Duration::from_secs(1);

/// Events remembered between two calls of [`SystemClock::take_events`]; a clock
/// that jumps more often than that is reported by its first jumps. What arrived
/// under a wrong clock is never forgotten.
const MAX_REMEMBERED_EVENTS: usize = 16;

/// Which start of the machine the boot-time clock counts from.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// What a clock is read from.
pub trait TimeSource: fmt::Debug + Send + Sync + 'static {
    /// One look.
    fn look(&self) -> Reading;

    /// Which start of the machine [`Reading::since_boot`] counts from.
    fn boot_id(&self) -> String;
}

/// What the wall clock did, and what follows for files that arrived meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockEvent {
    /// What it did.
    pub news: ClockNews,
    /// Which arrivals must be corrected.
    pub correction: Option<Correction>,
}

/// The clock of a running server. Cheap to ask; share it in an `Arc`.
#[derive(Debug)]
pub struct SystemClock {
    source: Box<dyn TimeSource>,
    boot_id: String,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    keeper: Timekeeper,
    events: Vec<ClockEvent>,
    /// How far the wall clock is ahead of the database's.
    ahead_of_database_us: Option<i64>,
}

impl State {
    fn note(&mut self, news: Option<ClockNews>, correction: Option<Correction>) {
        if let Some(news) = news
            && (self.events.len() < MAX_REMEMBERED_EVENTS || correction.is_some())
        {
            self.events.push(ClockEvent { news, correction });
        }
    }
}

impl SystemClock {
    /// A clock that believes the wall clock as it stands now.
    #[must_use]
    pub fn new() -> Self {
        Self::with_source(Box::new(Machine))
    }

    /// The same, read from elsewhere.
    #[must_use]
    pub fn with_source(source: Box<dyn TimeSource>) -> Self {
        Self {
            boot_id: source.boot_id(),
            state: Mutex::new(State {
                keeper: Timekeeper::new(source.look()),
                events: Vec::new(),
                ahead_of_database_us: None,
            }),
            source,
        }
    }

    /// Goes on where an earlier life of the server ended.
    pub fn resume(&self, record: &ClockRecord) {
        let mut state = self.state();
        let (keeper, news, correction) =
            Timekeeper::resume(record, &self.boot_id, self.source.look());
        state.keeper = keeper;
        state.note(news, correction);
    }

    /// An operator says that the wall clock is right.
    pub fn confirm(&self) {
        let mut state = self.state();
        let (news, correction) = state.keeper.confirm(self.source.look());
        state.note(news, correction);
    }

    /// What to remember.
    #[must_use]
    pub fn record(&self) -> ClockRecord {
        self.state().keeper.record(&self.boot_id)
    }

    /// What happened since the last call, oldest first.
    pub fn take_events(&self) -> Vec<ClockEvent> {
        std::mem::take(&mut self.state().events)
    }

    /// By how many microseconds the wall clock was ahead of the database's when they were
    /// compared.
    pub(crate) fn ahead_of_database(&self) -> Option<i64> {
        self.state().ahead_of_database_us
    }

    /// Compares the wall clock with the database's, if that has one. Returns by how
    /// many microseconds it is ahead.
    pub fn compare(&self, database: Option<Timestamp>) -> Option<i64> {
        let wall_us = self.source.look().wall.as_micros();
        let ahead_us = database.map(|database| wall_us.saturating_sub(database.as_micros()));
        self.state().ahead_of_database_us = ahead_us;
        ahead_us
    }

    /// Whether the wall clock is too far from the database's: one of the two is
    /// wrong, and nothing must be deleted.
    #[must_use]
    pub fn differs(&self) -> bool {
        let limit = i64::try_from(MAX_DATABASE_DIFFERENCE.as_micros()).unwrap_or(i64::MAX);
        self.state()
            .ahead_of_database_us
            .is_some_and(|ahead_us| ahead_us.saturating_abs() > limit)
    }

    fn times(&self) -> Times {
        let mut state = self.state();
        let (times, news, correction) = state.keeper.observe(self.source.look());
        state.note(news, correction);
        times
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        self.times().safe
    }

    fn latest(&self) -> Timestamp {
        self.times().latest
    }

    fn sleep_until(&self, at: Timestamp) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async move {
            loop {
                let remaining = at.duration_since(self.now());
                if remaining.is_zero() {
                    return;
                }
                timer::sleep(remaining.min(LONGEST_NAP)).await;
            }
        })
    }
}

/// This machine's clocks.
#[derive(Debug)]
struct Machine;

impl TimeSource for Machine {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one file that reads the wall clock"
    )]
    fn look(&self) -> Reading {
        let now = SystemTime::now();
        let wall_us = match now.duration_since(UNIX_EPOCH) {
            Ok(since) => micros(since),
            Err(before) => micros(before.duration()).saturating_neg(),
        };
        let boot = clock_gettime(ClockId::Boottime);
        let seconds = u64::try_from(boot.tv_sec).unwrap_or(0);
        let nanos = u32::try_from(boot.tv_nsec).unwrap_or(0);
        Reading {
            wall: Timestamp::from_micros(wall_us),
            since_boot: Duration::new(seconds, nanos),
        }
    }

    /// Where the system does not say it, every start of the server counts as one of
    /// the machine.
    fn boot_id(&self) -> String {
        std::fs::read_to_string(BOOT_ID)
            .map(|text| text.trim().to_owned())
            .unwrap_or_default()
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_real_clock_goes_on_and_jumps_neither_now_nor_through_a_record() {
        let clock = SystemClock::new();
        let first = clock.now();
        assert!(clock.now() >= first);
        let record = clock.record();
        assert_ne!(record.boot_id, "", "this system says when it was started");
        let second = SystemClock::new();
        second.resume(&record);
        assert!(second.now() >= first);
        let now = second.now();
        assert!(now <= second.latest());
        assert!(clock.take_events().is_empty() && second.take_events().is_empty());
    }

    #[test]
    fn a_clock_far_from_the_databases_differs() {
        let clock = SystemClock::new();
        assert!(!clock.differs());
        let beside = |span: Duration| clock.now().saturating_sub(span);
        clock.compare(Some(beside(
            MAX_DATABASE_DIFFERENCE + Duration::from_secs(1),
        )));
        assert!(clock.differs());
        clock.compare(Some(beside(
            MAX_DATABASE_DIFFERENCE - Duration::from_secs(1),
        )));
        assert!(!clock.differs());
        let ahead = clock
            .now()
            .saturating_add(MAX_DATABASE_DIFFERENCE + Duration::from_secs(5));
        clock.compare(Some(ahead));
        assert!(clock.differs());
        clock.compare(None);
        assert!(!clock.differs());
    }
}
