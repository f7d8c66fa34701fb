//! The real clock: the one file of the server that asks the operating system
//! for the time of day.
//!
//! A wall clock can be set. If it is set forward by mistake, a naive server
//! deletes every stored file at once. [`SystemClock`] therefore compares the
//! wall clock with the boot-time clock (which counts suspended time, too) and
//! walks on at the steady pace of the latter after a jump forward; only when
//! the new time has stood for [`FORWARD_JUMP_HOLD`] is it believed. Deletion is
//! late by at most that long and never early. A jump back is believed at once,
//! because it can only make deletion later.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use layover_depot::timer;
use layover_retention::{Clock, Timestamp};
use rustix::time::{ClockId, clock_gettime};

/// A difference between wall clock and boot-time clock beyond this is a jump;
/// below it is the slow correction that time services make (500 ppm at most).
pub const JUMP_THRESHOLD: Duration = Duration::from_secs(2);

/// How long a wall clock that jumped forward must stay there before the server
/// believes it. Ten minutes leave a time service several polls to correct it.
pub const FORWARD_JUMP_HOLD: Duration = Duration::from_secs(600);

/// The longest nap of [`SystemClock::sleep_until`]; after each the wall clock
/// is read again, so that a changed clock is noticed this soon.
const LONGEST_NAP: Duration = Duration::from_secs(1);

/// Jumps remembered between two calls of [`SystemClock::take_jumps`]; a clock
/// that jumps more often than that is reported by its latest jumps.
const MAX_REMEMBERED_JUMPS: usize = 16;

/// What the wall clock did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockJump {
    /// It went back by this much; believed at once.
    Back(Duration),
    /// It went forward by this much; not believed yet.
    ForwardHeld(Duration),
    /// A jump forward has stood for [`FORWARD_JUMP_HOLD`] and is believed now.
    ForwardAccepted(Duration),
    /// A jump forward was taken back before it was believed.
    ForwardWithdrawn,
}

/// The clock of a running server. Cheap to ask; share it in an `Arc`.
#[derive(Debug)]
pub struct SystemClock {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    discipline: Discipline,
    jumps: Vec<ClockJump>,
}

impl SystemClock {
    /// A clock that believes the wall clock as it stands now.
    #[must_use]
    pub fn new() -> Self {
        Self {
            state: Mutex::new(State {
                discipline: Discipline::new(wall_us(), boot_us()),
                jumps: Vec::new(),
            }),
        }
    }

    /// The jumps seen since the last call, oldest first.
    pub fn take_jumps(&self) -> Vec<ClockJump> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut state.jumps)
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (now_us, jump) = state.discipline.observe(wall_us(), boot_us());
        if let Some(jump) = jump
            && state.jumps.len() < MAX_REMEMBERED_JUMPS
        {
            state.jumps.push(jump);
        }
        Timestamp::from_micros(now_us)
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

/// The rule, free of clocks: decides what time to believe.
#[derive(Debug)]
struct Discipline {
    /// Believed time and boot-time clock at the last look.
    believed_us: i64,
    boot_us: i64,
    /// Since when (boot time) a jump forward stands unbelieved.
    held_since_boot_us: Option<i64>,
}

impl Discipline {
    fn new(wall_us: i64, boot_us: i64) -> Self {
        Self {
            believed_us: wall_us,
            boot_us,
            held_since_boot_us: None,
        }
    }

    fn observe(&mut self, wall_us: i64, boot_us: i64) -> (i64, Option<ClockJump>) {
        let elapsed_us = boot_us.saturating_sub(self.boot_us).max(0);
        let steady_us = self.believed_us.saturating_add(elapsed_us);
        let ahead_us = wall_us.saturating_sub(steady_us);
        let threshold_us = micros(JUMP_THRESHOLD);
        self.boot_us = self.boot_us.max(boot_us);

        if ahead_us > threshold_us {
            let since_us = *self.held_since_boot_us.get_or_insert(boot_us);
            let stood_us = boot_us.saturating_sub(since_us);
            if stood_us >= micros(FORWARD_JUMP_HOLD) {
                self.held_since_boot_us = None;
                self.believed_us = wall_us;
                return (
                    wall_us,
                    Some(ClockJump::ForwardAccepted(duration(ahead_us))),
                );
            }
            self.believed_us = steady_us;
            let news = (stood_us == 0).then(|| ClockJump::ForwardHeld(duration(ahead_us)));
            return (steady_us, news);
        }

        let withdrawn = self
            .held_since_boot_us
            .take()
            .map(|_| ClockJump::ForwardWithdrawn);
        self.believed_us = wall_us;
        let back = (ahead_us < -threshold_us).then(|| ClockJump::Back(duration(-ahead_us)));
        (wall_us, back.or(withdrawn))
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is the one file that reads the wall clock"
)]
fn wall_us() -> i64 {
    let now = SystemTime::now();
    match now.duration_since(UNIX_EPOCH) {
        Ok(since) => micros(since),
        Err(before) => -micros(before.duration()),
    }
}

fn boot_us() -> i64 {
    let boot = clock_gettime(ClockId::Boottime);
    boot.tv_sec
        .saturating_mul(1_000_000)
        .saturating_add(boot.tv_nsec / 1_000)
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

fn duration(micros: i64) -> Duration {
    Duration::from_micros(u64::try_from(micros).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_US: i64 = 86_400_000_000;
    const SECOND_US: i64 = 1_000_000;

    #[test]
    fn a_steady_clock_is_followed() {
        let mut discipline = Discipline::new(DAY_US, 0);
        for second in 1..100 {
            let wall = DAY_US + second * SECOND_US;
            assert_eq!(discipline.observe(wall, second * SECOND_US), (wall, None));
        }
    }

    #[test]
    fn a_slow_correction_is_not_a_jump() {
        let mut discipline = Discipline::new(0, 0);
        let threshold = micros(JUMP_THRESHOLD);
        let (now, jump) = discipline.observe(SECOND_US + threshold, SECOND_US);
        assert_eq!((now, jump), (SECOND_US + threshold, None));
        let (now, jump) = discipline.observe(2 * SECOND_US, 2 * SECOND_US);
        assert_eq!((now, jump), (2 * SECOND_US, None));
    }

    #[test]
    fn a_jump_forward_is_not_believed_before_it_has_stood() {
        let mut discipline = Discipline::new(0, 0);
        let hold = micros(FORWARD_JUMP_HOLD);
        let wall = |boot: i64| boot + 6 * DAY_US;
        let (now, jump) = discipline.observe(wall(SECOND_US), SECOND_US);
        assert_eq!(now, SECOND_US);
        assert_eq!(jump, Some(ClockJump::ForwardHeld(duration(6 * DAY_US))));
        let just_before = SECOND_US + hold - 1;
        assert_eq!(
            discipline.observe(wall(just_before), just_before),
            (just_before, None)
        );
        let at = SECOND_US + hold;
        let (now, jump) = discipline.observe(wall(at), at);
        assert_eq!(now, wall(at));
        assert_eq!(jump, Some(ClockJump::ForwardAccepted(duration(6 * DAY_US))));
    }

    #[test]
    fn a_jump_forward_that_is_taken_back_changed_nothing() {
        let mut discipline = Discipline::new(0, 0);
        discipline.observe(DAY_US, SECOND_US);
        let (now, jump) = discipline.observe(5 * SECOND_US, 5 * SECOND_US);
        assert_eq!(
            (now, jump),
            (5 * SECOND_US, Some(ClockJump::ForwardWithdrawn))
        );
    }

    #[test]
    fn a_jump_back_is_believed_at_once() {
        let mut discipline = Discipline::new(DAY_US, 0);
        let (now, jump) = discipline.observe(SECOND_US, SECOND_US);
        assert_eq!(
            (now, jump),
            (SECOND_US, Some(ClockJump::Back(duration(DAY_US))))
        );
    }

    #[test]
    fn the_real_clock_does_not_go_back() {
        let clock = SystemClock::new();
        let first = clock.now();
        assert!(clock.now() >= first);
        assert!(clock.take_jumps().is_empty());
    }
}
