//! A machine whose clocks a test sets: it outlives the appliances that run on it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use layover_retention::{Clock, Reading, Timestamp};
use layover_server::{SystemClock, TimeSource};

/// Its clocks go on by themselves, from where the test puts them. Clones are the same
/// machine.
#[derive(Clone, Debug)]
pub struct Machine(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    real: SystemClock,
    booted_at: Timestamp,
    boots: u64,
    /// What passed besides, and what the wall clock was moved by.
    passed: Duration,
    wall_us: i64,
}

impl Machine {
    /// A machine that was just started and whose clock says `wall`.
    pub fn at(wall: Timestamp) -> Self {
        let real = SystemClock::new();
        let now = real.now();
        Self(Arc::new(Mutex::new(State {
            real,
            booted_at: now,
            boots: 1,
            passed: Duration::ZERO,
            wall_us: wall.as_micros() - now.as_micros(),
        })))
    }

    /// The time outside of tests, which is also that of the database.
    pub fn real_time() -> Timestamp {
        SystemClock::new().now()
    }

    /// Time passes.
    pub fn pass(&self, span: Duration) {
        self.state().passed += span;
    }

    /// Somebody sets the wall clock forward.
    pub fn set_forward(&self, span: Duration) {
        self.state().wall_us += micros(span);
    }

    /// Somebody sets the wall clock back.
    pub fn set_back(&self, span: Duration) {
        self.state().wall_us -= micros(span);
    }

    /// It is off for `span`, and starts.
    pub fn reboot_after(&self, span: Duration) {
        let mut state = self.state();
        state.wall_us += micros(span) + micros(state.passed);
        state.passed = Duration::ZERO;
        state.booted_at = state.real.now();
        state.boots += 1;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TimeSource for Machine {
    fn look(&self) -> Reading {
        let state = self.state();
        let now = state.real.now();
        let wall_us = now.as_micros() + state.wall_us + micros(state.passed);
        Reading {
            wall: Timestamp::from_micros(wall_us),
            since_boot: now.duration_since(state.booted_at) + state.passed,
        }
    }

    fn boot_id(&self) -> String {
        format!("boot-{}", self.state().boots)
    }
}

fn micros(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).expect("a span of a test")
}
