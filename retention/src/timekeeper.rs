//! Which time to believe, although a wall clock can be set.
//!
//! A wall clock that is set forward by mistake would take every stored file at
//! once; one that is set back and forth would take those that arrived between.
//! A [`Timekeeper`] therefore compares the wall clock with the machine's
//! boot-time clock, which nobody can set. While the two agree it follows the
//! wall clock. When they part it is in doubt, and tells two times: the earliest
//! that it may be ([`Times::safe`], by which files expire) and the latest
//! ([`Times::latest`], with which they arrive). So nothing goes early, whichever
//! turns out to be right. A doubt ends when the wall clock comes back, when it
//! has kept pace for long enough, or when an operator confirms it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// A difference between wall clock and boot-time clock beyond this is a jump;
/// below it is the slow correction that time services make (500 ppm at most).
pub const JUMP_THRESHOLD: Duration = Duration::from_secs(2);

/// A jump beyond this is suspicious: time services correct seconds, people and
/// broken hardware set hours.
pub const SUSPICIOUS_JUMP: Duration = Duration::from_secs(3600);

/// How long a wall clock that jumped must keep pace with the boot-time clock
/// before it is believed. Ten minutes leave a time service several polls to
/// correct it.
pub const JUMP_HOLD: Duration = Duration::from_secs(600);

/// The same for a suspicious jump: long enough for a person to be called, short
/// against a keep of days.
pub const SUSPICIOUS_JUMP_HOLD: Duration = Duration::from_secs(6 * 3600);

/// How far the wall clock may have moved on while the machine was off, or was
/// another one: a long weekend. What goes beyond is a suspicious jump.
pub const PLAUSIBLE_DOWNTIME: Duration = Duration::from_secs(4 * 86_400);

/// How far the wall clock may be from the database's; see [`Clock`](crate::Clock).
/// Nodes that keep time at all agree within a second.
pub const MAX_DATABASE_DIFFERENCE: Duration = Duration::from_secs(60);

/// Time services move a clock by at most one part in so many.
const SLEW: i64 = 2_000;

/// One look at the clocks of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The wall clock.
    pub wall: Timestamp,
    /// Since the machine was started, its sleep included.
    pub since_boot: Duration,
}

/// What time it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// Not later than the true time, as far as can be known.
    pub safe: Timestamp,
    /// Not earlier than the true time, as far as can be known.
    pub latest: Timestamp,
}

/// Arrivals that were written with a time that proved too late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Correction {
    /// Those from here on were written by the wrong clock,
    pub from: Timestamp,
    /// which was ahead by so much.
    pub ahead: Duration,
    /// The time now: nothing arrived later.
    pub now: Timestamp,
}

/// What the wall clock did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockNews {
    /// It went forward by so much: in doubt.
    Forward(Duration),
    /// It went back by so much: in doubt.
    Back(Duration),
    /// It came back to where it had been: the doubt has ended.
    Returned,
    /// It has kept pace for long enough: the doubt has ended.
    Stable,
    /// An operator confirmed it: the doubt has ended.
    Confirmed,
}

/// Why a [`Timekeeper`] tells two times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockDoubt {
    /// Where the wall clock would be, had it not jumped.
    origin_us: i64,
    /// How much later it may be besides: the machine was off.
    slack_us: i64,
    /// Where the wall clock is.
    wall_us: i64,
    /// The latest time at the moment when it became so late.
    latest_from_us: i64,
    /// Since when (boot time) the wall clock keeps pace.
    stable_since_boot_us: i64,
    /// The safe time at the moment when the doubt began.
    since_us: i64,
}

/// What a [`Timekeeper`] knows, for its next life.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockRecord {
    /// Which start of which machine `boot_us` counts from.
    pub boot_id: String,
    boot_us: i64,
    /// The safe time when this was written.
    pub safe: Timestamp,
    /// The latest time when this was written.
    pub latest: Timestamp,
    doubt: Option<ClockDoubt>,
}

impl ClockRecord {
    /// How far apart the two times are; `None` while there is no doubt.
    #[must_use]
    pub fn in_doubt(&self) -> Option<Duration> {
        self.doubt.map(|_| self.latest.duration_since(self.safe))
    }

    /// Since when, by the safe time, there has been a doubt.
    #[must_use]
    pub fn doubted_since(&self) -> Option<Timestamp> {
        self.doubt
            .map(|doubt| Timestamp::from_micros(doubt.since_us))
    }

    /// Where the wall clock was, if it is in doubt.
    #[must_use]
    pub fn doubted_wall(&self) -> Option<Timestamp> {
        self.doubt
            .map(|doubt| Timestamp::from_micros(doubt.wall_us))
    }

    /// How long the wall clock must still keep pace until it is believed.
    #[must_use]
    pub fn believed_in(&self) -> Option<Duration> {
        let doubt = self.doubt?;
        let stood = self.boot_us.saturating_sub(doubt.stable_since_boot_us);
        let hold = hold_us(
            self.latest
                .as_micros()
                .saturating_sub(self.safe.as_micros()),
        );
        Some(span(hold.saturating_sub(stood)))
    }
}

/// Decides what time to believe. Pure: it is told what the clocks say.
#[derive(Clone, Debug)]
pub struct Timekeeper {
    boot_us: i64,
    safe_us: i64,
    latest_us: i64,
    doubt: Option<ClockDoubt>,
}

impl Timekeeper {
    /// Believes the wall clock as it is.
    #[must_use]
    pub fn new(reading: Reading) -> Self {
        let wall_us = reading.wall.as_micros();
        Self {
            boot_us: micros(reading.since_boot),
            safe_us: wall_us,
            latest_us: wall_us,
            doubt: None,
        }
    }

    /// Goes on where an earlier life ended. On the same boot the boot-time clock
    /// says how long ago that was; else the wall clock is believed if it has moved
    /// on by no more than [`PLAUSIBLE_DOWNTIME`].
    #[must_use]
    pub fn resume(
        record: &ClockRecord,
        boot_id: &str,
        reading: Reading,
    ) -> (Self, Option<ClockNews>, Option<Correction>) {
        let mut keeper = Self {
            boot_us: record.boot_us,
            safe_us: record.safe.as_micros(),
            latest_us: record.latest.as_micros(),
            doubt: record.doubt,
        };
        let mut begun = None;
        if record.boot_id != boot_id || micros(reading.since_boot) < record.boot_us {
            begun = keeper.after_reboot(reading);
        }
        let (_, news, correction) = keeper.observe(reading);
        (keeper, news.or(begun), correction)
    }

    /// Nobody counted while the machine was off. It was on since `since_boot`, at
    /// least so much time has passed.
    fn after_reboot(&mut self, reading: Reading) -> Option<ClockNews> {
        let on_us = micros(reading.since_boot);
        let wall_us = reading.wall.as_micros();
        self.boot_us = on_us;
        self.safe_us = self.safe_us.saturating_add(on_us);
        self.latest_us = self.latest_us.saturating_add(on_us);
        let slack_us = micros(PLAUSIBLE_DOWNTIME);
        let threshold_us = micros(JUMP_THRESHOLD);
        let Some(doubt) = &mut self.doubt else {
            let ahead_us = wall_us.saturating_sub(self.safe_us);
            if (-threshold_us..=slack_us).contains(&ahead_us) {
                (self.safe_us, self.latest_us) = (wall_us, wall_us);
                return None;
            }
            return Some(self.begin_doubt(wall_us, slack_us));
        };
        doubt.origin_us = doubt.origin_us.saturating_add(on_us);
        doubt.slack_us = slack_us;
        doubt.stable_since_boot_us = on_us;
        doubt.wall_us = doubt.wall_us.saturating_add(on_us);
        // A clock that is still as wrong as it was has not come back.
        if wall_us >= doubt.wall_us.saturating_sub(threshold_us) {
            doubt.wall_us = wall_us;
        }
        None
    }

    /// Takes a look.
    pub fn observe(&mut self, reading: Reading) -> (Times, Option<ClockNews>, Option<Correction>) {
        let wall_us = reading.wall.as_micros();
        let now_boot_us = micros(reading.since_boot).max(self.boot_us);
        let elapsed_us = now_boot_us.saturating_sub(self.boot_us);
        self.boot_us = now_boot_us;
        self.safe_us = self.safe_us.saturating_add(elapsed_us);
        self.latest_us = self.latest_us.saturating_add(elapsed_us);
        let (news, correction) = match self.doubt.take() {
            None => (self.follow(wall_us), None),
            Some(doubt) => self.weigh(doubt, wall_us, elapsed_us),
        };
        (self.times(), news, correction)
    }

    /// An operator says that the wall clock is right.
    pub fn confirm(&mut self, reading: Reading) -> (Option<ClockNews>, Option<Correction>) {
        let (_, news, correction) = self.observe(reading);
        match self.doubt.take() {
            None => (news, correction),
            Some(doubt) => {
                let correction = self.settle(&doubt, reading.wall.as_micros());
                (Some(ClockNews::Confirmed), correction)
            }
        }
    }

    /// What to remember.
    #[must_use]
    pub fn record(&self, boot_id: &str) -> ClockRecord {
        let times = self.times();
        ClockRecord {
            boot_id: boot_id.to_owned(),
            boot_us: self.boot_us,
            safe: times.safe,
            latest: times.latest,
            doubt: self.doubt,
        }
    }

    /// Whether it tells two times.
    #[must_use]
    pub fn is_in_doubt(&self) -> bool {
        self.doubt.is_some()
    }

    fn times(&self) -> Times {
        Times {
            safe: Timestamp::from_micros(self.safe_us),
            latest: Timestamp::from_micros(self.latest_us),
        }
    }

    fn follow(&mut self, wall_us: i64) -> Option<ClockNews> {
        let ahead_us = wall_us.saturating_sub(self.safe_us);
        if ahead_us.saturating_abs() <= micros(JUMP_THRESHOLD) {
            (self.safe_us, self.latest_us) = (wall_us, wall_us);
            return None;
        }
        Some(self.begin_doubt(wall_us, 0))
    }

    fn begin_doubt(&mut self, wall_us: i64, slack_us: i64) -> ClockNews {
        let origin_us = self.safe_us;
        self.safe_us = origin_us.min(wall_us);
        self.latest_us = origin_us.max(wall_us);
        self.doubt = Some(ClockDoubt {
            origin_us,
            slack_us,
            wall_us,
            latest_from_us: self.latest_us,
            stable_since_boot_us: self.boot_us,
            since_us: self.safe_us,
        });
        jump(wall_us.saturating_sub(origin_us))
    }

    fn weigh(
        &mut self,
        mut doubt: ClockDoubt,
        wall_us: i64,
        elapsed_us: i64,
    ) -> (Option<ClockNews>, Option<Correction>) {
        doubt.origin_us = doubt.origin_us.saturating_add(elapsed_us);
        let stood_us = self.boot_us.saturating_sub(doubt.stable_since_boot_us);
        let tolerance_us = micros(JUMP_THRESHOLD).saturating_add(stood_us / SLEW);
        let from_origin_us = wall_us.saturating_sub(doubt.origin_us);
        let moved_us = wall_us
            .saturating_sub(doubt.wall_us)
            .saturating_sub(elapsed_us);
        let moved = moved_us.saturating_abs() > micros(JUMP_THRESHOLD);
        // Where the machine was off, it comes back to somewhere behind the origin.
        let slack_us = if moved { doubt.slack_us } else { 0 };
        if (-tolerance_us..=tolerance_us.saturating_add(slack_us)).contains(&from_origin_us) {
            return (Some(ClockNews::Returned), self.settle(&doubt, wall_us));
        }
        doubt.wall_us = wall_us;
        let mut news = None;
        if moved {
            doubt.stable_since_boot_us = self.boot_us;
            if wall_us > self.latest_us {
                doubt.latest_from_us = wall_us;
            }
            news = Some(jump(moved_us));
        }
        self.safe_us = self.safe_us.min(wall_us);
        self.latest_us = self.latest_us.max(wall_us);
        let stood_us = self.boot_us.saturating_sub(doubt.stable_since_boot_us);
        if stood_us >= hold_us(self.latest_us.saturating_sub(self.safe_us)) {
            return (Some(ClockNews::Stable), self.settle(&doubt, wall_us));
        }
        self.doubt = Some(doubt);
        (news, None)
    }

    /// Believes the wall clock.
    fn settle(&mut self, doubt: &ClockDoubt, wall_us: i64) -> Option<Correction> {
        let ahead_us = self.latest_us.saturating_sub(wall_us);
        (self.safe_us, self.latest_us) = (wall_us, wall_us);
        (ahead_us > micros(JUMP_THRESHOLD)).then(|| Correction {
            from: Timestamp::from_micros(doubt.latest_from_us),
            ahead: span(ahead_us),
            now: Timestamp::from_micros(wall_us),
        })
    }
}

/// How long the wall clock must keep pace when the two times are so far apart.
fn hold_us(apart_us: i64) -> i64 {
    if apart_us > micros(SUSPICIOUS_JUMP) {
        micros(SUSPICIOUS_JUMP_HOLD)
    } else {
        micros(JUMP_HOLD)
    }
}

fn jump(by_us: i64) -> ClockNews {
    if by_us < 0 {
        ClockNews::Back(span(by_us.saturating_neg()))
    } else {
        ClockNews::Forward(span(by_us))
    }
}

fn micros(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
}

fn span(micros: i64) -> Duration {
    Duration::from_micros(u64::try_from(micros).unwrap_or(0))
}

#[cfg(test)]
mod tests;
