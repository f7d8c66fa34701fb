//! The true time goes on steadily here; the wall clock is ahead of it by an offset
//! that the tests set.

use proptest::prelude::{any, prop_assert, prop_assert_eq, prop_oneof, proptest};
use proptest::strategy::{Just, Strategy};

use super::*;

const START_US: i64 = 1_780_000_000_000_000;
const BOOT: &str = "boot-1";

/// A machine: true time since the start, when it was booted, what its wall clock
/// is ahead by.
#[derive(Clone, Copy)]
struct Machine {
    passed_us: i64,
    booted_us: i64,
    ahead_us: i64,
}

impl Machine {
    fn new() -> Self {
        Self {
            passed_us: 0,
            booted_us: -1_000_000_000,
            ahead_us: 0,
        }
    }

    fn reading(&self) -> Reading {
        Reading {
            wall: self.truth(self.ahead_us),
            since_boot: span(self.passed_us - self.booted_us),
        }
    }

    fn truth(&self, ahead_us: i64) -> Timestamp {
        Timestamp::from_micros(START_US + self.passed_us + ahead_us)
    }

    fn pass(&mut self, time: Duration) {
        self.passed_us += micros(time);
    }
}

fn hours(hours: u64) -> Duration {
    Duration::from_secs(hours * 3600)
}

fn at(safe: Timestamp, latest: Timestamp) -> Times {
    Times { safe, latest }
}

#[test]
fn a_steady_clock_and_a_slow_correction_are_followed() {
    let mut machine = Machine::new();
    let mut keeper = Timekeeper::new(machine.reading());
    for _ in 0..100 {
        machine.pass(Duration::from_secs(60));
        machine.ahead_us += 30_000;
        let wall = machine.truth(machine.ahead_us);
        assert_eq!(
            keeper.observe(machine.reading()),
            (at(wall, wall), None, None)
        );
    }
    machine.ahead_us += micros(JUMP_THRESHOLD);
    assert_eq!(keeper.observe(machine.reading()).1, None);
    machine.ahead_us += micros(JUMP_THRESHOLD) + 1;
    let jump = ClockNews::Forward(JUMP_THRESHOLD + Duration::from_micros(1));
    assert_eq!(keeper.observe(machine.reading()).1, Some(jump));
}

#[test]
fn a_jump_forward_is_not_believed_before_it_has_stood() {
    for (jump, hold) in [
        (hours(1), JUMP_HOLD),
        (hours(1) + Duration::from_micros(1), SUSPICIOUS_JUMP_HOLD),
        (hours(24 * 365), SUSPICIOUS_JUMP_HOLD),
    ] {
        let mut machine = Machine::new();
        let mut keeper = Timekeeper::new(machine.reading());
        machine.ahead_us = micros(jump);
        let (times, news, _) = keeper.observe(machine.reading());
        assert_eq!(news, Some(ClockNews::Forward(jump)));
        assert_eq!(times, at(machine.truth(0), machine.truth(micros(jump))));
        machine.pass(hold - Duration::from_micros(1));
        let (times, news, _) = keeper.observe(machine.reading());
        assert_eq!((times.safe, news), (machine.truth(0), None));
        machine.pass(Duration::from_micros(1));
        let (times, news, correction) = keeper.observe(machine.reading());
        let wall = machine.truth(micros(jump));
        assert_eq!(
            (times, news, correction),
            (at(wall, wall), Some(ClockNews::Stable), None)
        );
        assert!(!keeper.is_in_doubt());
    }
}

#[test]
fn a_jump_forward_that_is_taken_back_corrects_what_arrived_meanwhile() {
    let mut machine = Machine::new();
    let mut keeper = Timekeeper::new(machine.reading());
    machine.ahead_us = micros(hours(144));
    keeper.observe(machine.reading());
    let from = machine.truth(machine.ahead_us);
    machine.pass(hours(2));
    machine.ahead_us = 0;
    let (times, news, correction) = keeper.observe(machine.reading());
    let now = machine.truth(0);
    assert_eq!((times, news), (at(now, now), Some(ClockNews::Returned)));
    let expected = Correction {
        from,
        ahead: hours(144),
        now,
    };
    assert_eq!(correction, Some(expected));
}

#[test]
fn a_jump_back_that_is_taken_back_ends_at_once_and_nothing_arrived_too_early() {
    let mut machine = Machine::new();
    let mut keeper = Timekeeper::new(machine.reading());
    machine.ahead_us = -micros(hours(144));
    let (times, news, _) = keeper.observe(machine.reading());
    assert_eq!(news, Some(ClockNews::Back(hours(144))));
    assert_eq!(times, at(machine.truth(machine.ahead_us), machine.truth(0)));
    machine.pass(hours(3));
    assert_eq!(keeper.observe(machine.reading()).0.latest, machine.truth(0));
    machine.ahead_us = 0;
    let (times, news, correction) = keeper.observe(machine.reading());
    let now = machine.truth(0);
    assert_eq!(
        (times, news, correction),
        (at(now, now), Some(ClockNews::Returned), None)
    );
}

#[test]
fn a_jump_back_that_stands_is_believed_and_what_arrived_meanwhile_is_corrected() {
    let mut machine = Machine::new();
    machine.ahead_us = micros(hours(48));
    let mut keeper = Timekeeper::new(machine.reading());
    machine.ahead_us = 0;
    keeper.observe(machine.reading());
    let from = machine.truth(micros(hours(48)));
    machine.pass(SUSPICIOUS_JUMP_HOLD);
    let (times, news, correction) = keeper.observe(machine.reading());
    let now = machine.truth(0);
    assert_eq!((times, news), (at(now, now), Some(ClockNews::Stable)));
    let expected = Correction {
        from,
        ahead: hours(48),
        now,
    };
    assert_eq!(correction, Some(expected));
}

#[test]
fn a_second_jump_begins_the_wait_anew() {
    let mut machine = Machine::new();
    let mut keeper = Timekeeper::new(machine.reading());
    machine.ahead_us = micros(hours(24));
    keeper.observe(machine.reading());
    machine.pass(hours(5));
    machine.ahead_us = micros(hours(48));
    let news = keeper.observe(machine.reading()).1;
    assert_eq!(news, Some(ClockNews::Forward(hours(24))));
    machine.pass(hours(5));
    let (times, news, _) = keeper.observe(machine.reading());
    assert_eq!((times.safe, news), (machine.truth(0), None));
    machine.pass(hours(1));
    assert_eq!(keeper.observe(machine.reading()).1, Some(ClockNews::Stable));
}

#[test]
fn an_operator_ends_the_doubt() {
    let mut machine = Machine::new();
    let mut keeper = Timekeeper::new(machine.reading());
    machine.ahead_us = micros(hours(24));
    keeper.observe(machine.reading());
    machine.pass(hours(1));
    assert_eq!(
        keeper.confirm(machine.reading()),
        (Some(ClockNews::Confirmed), None)
    );
    let wall = machine.truth(machine.ahead_us);
    assert_eq!(keeper.observe(machine.reading()).0, at(wall, wall));
    assert_eq!(keeper.confirm(machine.reading()), (None, None));
}

/// Through the form in which a record is kept.
fn reborn(keeper: &Timekeeper, boot_id: &str, reading: Reading) -> (Timekeeper, Option<ClockNews>) {
    let text = serde_json::to_string(&keeper.record(BOOT)).unwrap();
    let record: ClockRecord = serde_json::from_str(&text).unwrap();
    let (keeper, news, _) = Timekeeper::resume(&record, boot_id, reading);
    (keeper, news)
}

#[test]
fn a_jump_while_the_process_was_away_is_seen_on_the_same_boot() {
    for (jump_us, expected) in [
        (0, None),
        (micros(hours(3)), Some(ClockNews::Forward(hours(3)))),
        (-micros(hours(3)), Some(ClockNews::Back(hours(3)))),
    ] {
        let mut machine = Machine::new();
        let keeper = Timekeeper::new(machine.reading());
        machine.pass(hours(24 * 30));
        machine.ahead_us = jump_us;
        let (mut keeper, news) = reborn(&keeper, BOOT, machine.reading());
        assert_eq!(news, expected);
        let times = keeper.observe(machine.reading()).0;
        let (low, high) = (jump_us.min(0), jump_us.max(0));
        assert_eq!(times, at(machine.truth(low), machine.truth(high)));
    }
}

#[test]
fn a_doubt_outlives_the_process_and_its_wait_goes_on() {
    let mut machine = Machine::new();
    let mut keeper = Timekeeper::new(machine.reading());
    machine.ahead_us = micros(hours(24));
    keeper.observe(machine.reading());
    machine.pass(hours(4));
    let (mut keeper, news) = reborn(&keeper, BOOT, machine.reading());
    assert_eq!(news, None);
    assert_eq!(keeper.observe(machine.reading()).0.safe, machine.truth(0));
    assert_eq!(keeper.record(BOOT).believed_in(), Some(hours(2)));
    machine.pass(hours(2));
    assert_eq!(keeper.observe(machine.reading()).1, Some(ClockNews::Stable));
}

#[test]
fn ordinary_downtime_is_no_doubt_and_years_are() {
    for (off, in_doubt) in [
        (hours(0), false),
        (PLAUSIBLE_DOWNTIME, false),
        (PLAUSIBLE_DOWNTIME + Duration::from_secs(1), true),
        (hours(24 * 365 * 3), true),
    ] {
        let mut machine = Machine::new();
        let keeper = Timekeeper::new(machine.reading());
        let ended = machine.truth(0);
        machine.pass(off);
        machine.booted_us = machine.passed_us;
        let (mut keeper, news) = reborn(&keeper, "boot-2", machine.reading());
        assert_eq!(keeper.is_in_doubt(), in_doubt, "{off:?}");
        assert_eq!(news, in_doubt.then_some(ClockNews::Forward(off)));
        let times = keeper.observe(machine.reading()).0;
        let safe = if in_doubt { ended } else { machine.truth(0) };
        assert_eq!(times, at(safe, machine.truth(0)));
    }
}

#[test]
fn a_machine_that_forgot_the_time_waits_for_its_time_service() {
    let mut machine = Machine::new();
    let keeper = Timekeeper::new(machine.reading());
    machine.pass(hours(1));
    machine.booted_us = machine.passed_us;
    machine.ahead_us = -START_US;
    let (mut keeper, news) = reborn(&keeper, "boot-2", machine.reading());
    assert!(matches!(news, Some(ClockNews::Back(_))));
    machine.pass(Duration::from_secs(30));
    machine.ahead_us = 0;
    let (times, news, correction) = keeper.observe(machine.reading());
    let now = machine.truth(0);
    assert_eq!((times.safe, times.latest), (now, now));
    assert_eq!((news, correction), (Some(ClockNews::Returned), None));
}

#[test]
fn a_clock_that_is_years_ahead_is_not_believed_because_of_a_reboot() {
    let mut machine = Machine::new();
    let mut keeper = Timekeeper::new(machine.reading());
    machine.ahead_us = micros(hours(24 * 365));
    keeper.observe(machine.reading());
    machine.pass(hours(1));
    machine.booted_us = machine.passed_us;
    let (mut keeper, _) = reborn(&keeper, "boot-2", machine.reading());
    assert!(keeper.is_in_doubt());
    assert!(keeper.observe(machine.reading()).0.safe <= machine.truth(0));
    machine.ahead_us = 0;
    assert_eq!(
        keeper.observe(machine.reading()).1,
        Some(ClockNews::Returned)
    );
}

/// What happens to a machine.
#[derive(Clone, Copy, Debug)]
enum Event {
    Pass(u64),
    Restart,
    Set(i64),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (1..4 * 3600_u64).prop_map(Event::Pass),
        2 => any::<bool>().prop_map(|_| Event::Restart),
        1 => (-500_000..500_000_i64).prop_map(Event::Set),
        2 => Just(Event::Set(0)),
    ]
}

proptest! {
    // A time service corrects each jump before it is believed: then the safe time is
    // never ahead of the truth, the latest never behind it, and both are the truth as
    // soon as the wall clock is.
    #[test]
    fn while_jumps_are_corrected_in_time_the_two_times_hold_the_truth_between_them(
        events in proptest::collection::vec(event(), 0..60),
    ) {
        let mut machine = Machine::new();
        let mut keeper = Timekeeper::new(machine.reading());
        for event in events {
            match event {
                Event::Pass(seconds) => {
                    let longest = hold_us(machine.ahead_us.saturating_abs()) / 1_000_000 / 8;
                    machine.pass(Duration::from_secs(seconds.min(longest.unsigned_abs())));
                    if machine.ahead_us != 0 {
                        keeper.observe(machine.reading());
                        machine.ahead_us = 0;
                    }
                }
                Event::Restart => keeper = reborn(&keeper, BOOT, machine.reading()).0,
                Event::Set(seconds) => machine.ahead_us = seconds * 1_000_000,
            }
            let times = keeper.observe(machine.reading()).0;
            let near = micros(JUMP_THRESHOLD);
            prop_assert!(times.safe <= machine.truth(near));
            prop_assert!(times.latest >= machine.truth(-near));
            if machine.ahead_us == 0 {
                prop_assert_eq!(times, at(machine.truth(0), machine.truth(0)));
            }
        }
    }
}

// Everything is counted in UTC, so the nights in which daylight saving begins or
// ends are nights like any other.
#[test]
fn daylight_saving_is_no_jump() {
    for change in ["2026-03-29T01:00:00Z", "2026-10-25T01:00:00Z"] {
        let change: Timestamp = change.parse().unwrap();
        let mut machine = Machine::new();
        machine.passed_us = change.as_micros() - START_US - micros(hours(2));
        machine.booted_us = machine.passed_us;
        let mut keeper = Timekeeper::new(machine.reading());
        for _ in 0..240 {
            machine.pass(Duration::from_secs(60));
            let now = machine.truth(0);
            assert_eq!(
                keeper.observe(machine.reading()),
                (at(now, now), None, None)
            );
        }
    }
}
