use proptest::prelude::*;

use super::*;

fn schedule(cron: &str, zone: &str) -> Schedule {
    Schedule::new(&cron.parse().unwrap(), Some(&zone.parse().unwrap()))
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// The next moments, as UTC.
fn next(schedule: &Schedule, from: &str, count: usize) -> Vec<String> {
    let mut moment = at(from);
    let mut found = Vec::new();
    for _ in 0..count {
        let Some(due) = schedule.next_after(moment) else {
            break;
        };
        found.push(due.to_string());
        moment = due;
    }
    found
}

#[test]
fn weekdays_at_eight_follow_the_clocks_of_the_zone() {
    let brussels = schedule("0 0 8 * * 1-5", "Europe/Brussels");
    // Friday, then the clocks go back on Sunday, then Monday.
    assert_eq!(
        next(&brussels, "2026-10-22T12:00:00Z", 3),
        [
            "2026-10-23T06:00:00Z",
            "2026-10-26T07:00:00Z",
            "2026-10-27T07:00:00Z"
        ]
    );
}

#[test]
fn a_time_that_the_clocks_skip_is_due_once_behind_the_gap() {
    // 2:00 to 3:00 is skipped on 29 March 2026.
    let skipped = schedule("0 0,30 2 * * *", "Europe/Brussels");
    assert_eq!(
        next(&skipped, "2026-03-28T12:00:00Z", 3),
        [
            "2026-03-29T01:00:00Z",
            "2026-03-30T00:00:00Z",
            "2026-03-30T00:30:00Z"
        ]
    );
}

#[test]
fn a_time_that_the_clocks_repeat_is_due_once() {
    // 2:00 to 3:00 comes twice on 25 October 2026.
    let repeated = schedule("30 2 * * *", "Europe/Brussels");
    assert_eq!(
        next(&repeated, "2026-10-24T12:00:00Z", 2),
        ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]
    );
}

#[test]
fn what_is_due_every_so_often_goes_on_through_both_changes() {
    let often = schedule("0 */30 * * * *", "Europe/Brussels");
    assert_eq!(
        next(&often, "2026-10-25T00:00:00Z", 4),
        [
            "2026-10-25T00:30:00Z",
            "2026-10-25T01:00:00Z",
            "2026-10-25T01:30:00Z",
            "2026-10-25T02:00:00Z"
        ]
    );
    let at_ten_past = schedule("10 * * * *", "Europe/Brussels");
    assert_eq!(
        next(&at_ten_past, "2026-03-29T00:00:00Z", 2),
        ["2026-03-29T00:10:00Z", "2026-03-29T01:10:00Z"]
    );
}

#[test]
fn a_day_that_a_zone_skipped_as_a_whole_is_made_up_for_once() {
    // Samoa had no 30 December 2011.
    let daily = schedule("0 12 * * *", "Pacific/Apia");
    assert_eq!(
        next(&daily, "2011-12-29T00:00:00Z", 3),
        [
            "2011-12-29T22:00:00Z",
            "2011-12-30T10:00:00Z",
            "2011-12-30T22:00:00Z"
        ]
    );
}

#[test]
fn of_a_day_and_a_weekday_either_is_enough_and_with_a_star_both_must_be() {
    let either = schedule("0 0 13 * 5", "UTC");
    assert_eq!(
        next(&either, "2026-11-09T00:00:00Z", 2),
        ["2026-11-13T00:00:00Z", "2026-11-20T00:00:00Z"]
    );
    let names = schedule("0 0 1 jan,jul *", "UTC");
    assert_eq!(
        next(&names, "2026-02-01T00:00:00Z", 2),
        ["2026-07-01T00:00:00Z", "2027-01-01T00:00:00Z"]
    );
    let sundays = schedule("0 0 * * 7", "UTC");
    assert_eq!(
        next(&sundays, "2026-11-16T00:00:00Z", 1),
        ["2026-11-22T00:00:00Z"]
    );
}

#[test]
fn what_never_is_is_never_due() {
    assert_eq!(
        schedule("0 0 30 2 *", "UTC").next_after(at("2026-01-01T00:00:00Z")),
        None
    );
    assert_eq!(
        next(&schedule("0 0 29 2 *", "UTC"), "2096-03-01T00:00:00Z", 1),
        ["2104-02-29T00:00:00Z"]
    );
}

#[test]
fn the_last_of_what_was_missed_is_found_however_long_ago() {
    let daily = schedule("0 8 * * *", "UTC");
    let last = |from, until| daily.last_until(at(from), at(until));
    assert_eq!(
        last("2026-01-01T00:00:00Z", "2026-11-22T07:59:59Z"),
        Some(at("2026-11-21T08:00:00Z"))
    );
    assert_eq!(
        last("2026-11-21T08:00:00Z", "2026-11-21T08:00:00Z"),
        Some(at("2026-11-21T08:00:00Z"))
    );
    assert_eq!(last("2026-11-21T08:00:01Z", "2026-11-22T07:00:00Z"), None);
    let each_second = schedule("* * * * * *", "UTC");
    assert_eq!(
        each_second.last_until(at("2020-01-01T00:00:00Z"), at("2026-01-01T00:00:00Z")),
        Some(at("2026-01-01T00:00:00Z"))
    );
}

/// Every minute at which a schedule is due, found by going through them all.
fn oracle(schedule: &Schedule, from: i64, until: i64) -> Vec<i64> {
    let local = |minute: i64| {
        let moment = jiff::Timestamp::from_second(minute * 60).unwrap();
        moment.to_zoned(schedule.zone.clone()).datetime()
    };
    let fits = |local: DateTime| {
        schedule.is_day(local.date())
            && has(schedule.hours, local.hour())
            && has(schedule.minutes, local.minute())
    };
    // Two days before, so that what was there already is known.
    let mut latest = local(from - 2 * 24 * 60);
    let mut due = Vec::new();
    for minute in from - 2 * 24 * 60 + 1..=until {
        let now = local(minute);
        let is_due = if schedule.is_interval {
            fits(now)
        } else {
            // Everything between the latest time so far and now: a minute, or a gap;
            // nothing while an hour is repeated.
            let mut passed = latest;
            let mut is_due = false;
            while passed < now {
                passed = passed.checked_add(1.minute()).unwrap();
                is_due |= fits(passed);
            }
            is_due
        };
        latest = latest.max(now);
        if is_due && minute > from {
            due.push(minute * 60);
        }
    }
    due
}

/// Zones, and a day near which their clocks change.
const CHANGES: &[(&str, &str)] = &[
    ("Europe/Brussels", "2026-03-29T00:00:00Z"),
    ("Europe/Brussels", "2026-10-25T00:00:00Z"),
    ("Europe/Dublin", "2027-10-31T00:00:00Z"),
    ("America/New_York", "2026-03-08T06:00:00Z"),
    ("America/New_York", "2028-11-05T05:00:00Z"),
    ("America/Santiago", "2026-09-06T03:00:00Z"),
    ("America/Sao_Paulo", "2018-11-04T02:00:00Z"),
    ("Australia/Lord_Howe", "2026-04-04T14:00:00Z"),
    ("Australia/Lord_Howe", "2027-10-02T15:00:00Z"),
    ("Africa/Casablanca", "2026-02-15T02:00:00Z"),
    ("Asia/Kolkata", "2026-06-01T00:00:00Z"),
    ("Pacific/Apia", "2011-12-30T09:00:00Z"),
    ("+05:45", "2026-06-01T00:00:00Z"),
    ("UTC", "2026-06-01T00:00:00Z"),
];

fn field(low: u32, high: u32) -> impl Strategy<Value = String> {
    prop_oneof![
        2 => Just("*".to_owned()),
        3 => (low..=high).prop_map(|value| value.to_string()),
        1 => (low..=high, low..=high)
            .prop_map(|(one, other)| format!("{}-{}", one.min(other), one.max(other))),
        1 => (2..20_u32).prop_map(|step| format!("*/{step}")),
        1 => (low..=high, low..=high).prop_map(|(one, other)| format!("{one},{other}")),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn it_is_due_when_going_through_every_minute_says_so(
        (zone, day) in prop::sample::select(CHANGES),
        minute in field(0, 59),
        // Most of it happens in the small hours.
        hour in prop_oneof![field(0, 23), field(0, 3)],
        weekday in field(0, 7),
        start in -1_500_i64..100,
    ) {
        let schedule = schedule(&format!("{minute} {hour} * * {weekday}"), zone);
        let from = at(day).as_micros() / 60_000_000 + start;
        let until = from + 3 * 24 * 60;
        let mut found = Vec::new();
        let mut moment = Timestamp::from_micros(from * 60_000_000);
        while let Some(due) = schedule.next_after(moment) {
            if due.as_micros() > until * 60_000_000 {
                break;
            }
            found.push(due.as_micros() / 1_000_000);
            moment = due;
        }
        prop_assert_eq!(found, oracle(&schedule, from, until));
    }
}
