//! When files are expected: a time of day on some days of the week, in a zone; pure.
//!
//! A time that the clocks skip in spring is the first moment behind the gap, one that
//! they repeat in autumn its first: as flows' schedules have it (`flow/schedule.rs`).

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Span, ToSpan as _};
use layover_retention::Timestamp;

use super::definition::{ExpectedDays, TimeOfDay};
use crate::flow::{once_in, zone_of};
use crate::integration::ZoneName;

/// Days that are looked through: within eight each day of the week has come, and one more
/// on each side, because a moment may lie on another date of its zone.
const DAYS_AROUND: i64 = 10;

/// A day of an expectation, and until when its file is to be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Deadline {
    pub(crate) day: Date,
    pub(crate) at: Timestamp,
}

/// The deadlines of an expectation.
#[derive(Clone, Debug)]
pub(crate) struct Deadlines {
    by: TimeOfDay,
    days: u8,
    zone: TimeZone,
}

impl Deadlines {
    /// In this zone; none: UTC.
    pub(crate) fn new(by: TimeOfDay, days: &ExpectedDays, zone: Option<&ZoneName>) -> Self {
        Self {
            by,
            days: days.bits(),
            zone: zone_of(zone),
        }
    }

    /// The date in the zone at a moment.
    pub(crate) fn date_at(&self, moment: Timestamp) -> Date {
        let moment = jiff::Timestamp::from_microsecond(moment.as_micros());
        let moment = moment.unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        self.zone.to_datetime(moment).date()
    }

    /// The deadline of a date; none when nothing is expected then.
    pub(crate) fn on(&self, day: Date) -> Option<Deadline> {
        let weekday = u32::try_from(day.weekday().to_sunday_zero_offset()).ok()?;
        if self.days >> weekday & 1 == 0 {
            return None;
        }
        let at = once_in(&self.zone, day.to_datetime(self.by.time()))?;
        let at = Timestamp::from_micros(at.as_microsecond());
        Some(Deadline { day, at })
    }

    fn around(&self, moment: Timestamp, step: Span) -> impl Iterator<Item = Deadline> + '_ {
        let mut day = self.date_at(moment).checked_sub(step).ok();
        let days = std::iter::from_fn(move || {
            let this = day?;
            day = this.checked_add(step).ok();
            Some(this)
        });
        days.take(usize::try_from(DAYS_AROUND).unwrap_or_default())
            .filter_map(|day| self.on(day))
    }

    /// The first deadline behind `after`.
    pub(crate) fn next_after(&self, after: Timestamp) -> Option<Deadline> {
        self.around(after, 1.day())
            .find(|deadline| deadline.at > after)
    }

    /// The last deadline up to `until`.
    pub(crate) fn last_until(&self, until: Timestamp) -> Option<Deadline> {
        self.around(until, (-1).day())
            .find(|deadline| deadline.at <= until)
    }

    /// The last deadline before this one.
    pub(crate) fn before(&self, at: Timestamp) -> Option<Deadline> {
        self.last_until(Timestamp::from_micros(at.as_micros().saturating_sub(1)))
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn deadlines(by: &str, days: &str, zone: &str) -> Deadlines {
        let zone: ZoneName = zone.parse().unwrap();
        Deadlines::new(by.parse().unwrap(), &days.parse().unwrap(), Some(&zone))
    }

    #[test]
    fn each_day_ends_its_wait_by_the_wall_clock_over_both_changes() {
        let brussels = deadlines("06:00", "*", "Europe/Brussels");
        for (after, next) in [
            ("2026-03-27T12:00:00Z", "2026-03-28T05:00:00Z"),
            ("2026-03-28T05:00:00Z", "2026-03-29T04:00:00Z"),
            ("2026-10-24T04:00:00Z", "2026-10-25T05:00:00Z"),
            ("2026-10-25T05:00:00Z", "2026-10-26T05:00:00Z"),
        ] {
            let next = at(next);
            assert_eq!(brussels.next_after(at(after)).map(|one| one.at), Some(next));
            assert_eq!(brussels.last_until(next).map(|one| one.at), Some(next));
            assert!(brussels.before(next).unwrap().at < next);
        }
    }

    #[test]
    fn a_time_that_is_skipped_is_the_first_behind_the_gap_and_one_that_comes_twice_its_first() {
        let brussels = deadlines("02:30", "*", "Europe/Brussels");
        let gap = brussels.next_after(at("2026-03-28T12:00:00Z")).unwrap();
        assert_eq!(
            (gap.day, gap.at),
            (date(2026, 3, 29), at("2026-03-29T01:00:00Z"))
        );
        let twice = brussels.next_after(at("2026-10-24T12:00:00Z")).unwrap();
        assert_eq!(
            (twice.day, twice.at),
            (date(2026, 10, 25), at("2026-10-25T00:30:00Z"))
        );
        let behind = brussels.next_after(twice.at).unwrap();
        assert_eq!(
            behind.day,
            date(2026, 10, 26),
            "not the second half past two"
        );
    }

    #[test]
    fn days_of_the_week_are_those_of_the_zone() {
        // Monday at 06:00 in Auckland is Sunday in Greenwich.
        let weekdays = deadlines("06:00", "mon-fri", "Pacific/Auckland");
        let friday = weekdays.last_until(at("2026-11-22T12:00:00Z")).unwrap();
        assert_eq!(friday.day, date(2026, 11, 20));
        let monday = weekdays.next_after(friday.at).unwrap();
        assert_eq!(
            (monday.day, monday.at),
            (date(2026, 11, 23), at("2026-11-22T17:00:00Z"))
        );
        assert_eq!(weekdays.before(monday.at), Some(friday));
    }

    #[test]
    fn a_date_that_a_zone_leaves_out_has_a_deadline_of_its_own() {
        // Samoa had no 30th of December 2011.
        let samoa = deadlines("06:00", "*", "Pacific/Apia");
        let mut at = at("2011-12-29T00:00:00Z");
        let mut days = Vec::new();
        for _ in 0..4 {
            let next = samoa.next_after(at).unwrap();
            assert!(next.at > at);
            days.push(next.day.day());
            at = next.at;
        }
        assert_eq!(days, [29, 30, 31, 1]);
    }

    #[test]
    fn looking_forward_and_back_agree_over_years() {
        for (by, days) in [("00:00", "*"), ("23:59", "1,3,6"), ("02:30", "sun")] {
            let deadlines = deadlines(by, days, "America/New_York");
            let mut last = deadlines.next_after(at("2024-12-01T00:00:00Z")).unwrap();
            for _ in 0..1_000 {
                let next = deadlines.next_after(last.at).unwrap();
                assert!(next.day > last.day);
                assert_eq!(deadlines.before(next.at), Some(last));
                last = next;
            }
        }
    }
}
