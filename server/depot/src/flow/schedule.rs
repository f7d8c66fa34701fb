//! When a schedule is due, in its zone; pure.
//!
//! The fields are those of crontab, with seconds in front where there are six. Where
//! the hours are given, each of them is due once a day: a time that the clocks skip in
//! spring is due at the first moment behind the gap, and one that they repeat in autumn
//! the first time only. Where the hour is `*` (or `*/2`), what is meant is every so
//! often: nothing is due in a gap, and a repeated hour counts twice. That is how Debian's
//! cron and systemd have it. `croner` was looked at: it wants a second library of dates
//! (chrono), and a test against every moment of many years would be needed all the same.

use std::time::Duration;

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::{AmbiguousOffset, Offset, TimeZone};
use jiff::{SignedDuration, ToSpan as _};
use layover_retention::Timestamp;

use crate::integration::{CronSchedule, DAYS, MONTHS, ZoneName};

/// Days that are looked through for the next one: the 29th of February that is a Monday
/// comes within 40 years, but over a century that is no leap year.
const MAX_DAYS: u32 = 366 * 41;

/// Firings that one look back goes through; see [`Schedule::last_until`].
const MAX_MISSED: u32 = 100_000;

/// A schedule in a zone.
#[derive(Clone, Debug)]
pub struct Schedule {
    seconds: u64,
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// Either of them is enough where both are given.
    either_day: bool,
    /// The hour is every so often.
    is_interval: bool,
    zone: TimeZone,
}

/// A zone by its name or offset; what `ZoneName` allows is one.
pub(crate) fn zone_of(name: Option<&ZoneName>) -> TimeZone {
    let Some(name) = name else {
        return TimeZone::UTC;
    };
    if let Some(offset) = offset_of(name.as_str()) {
        return TimeZone::fixed(offset);
    }
    TimeZone::get(name.as_str()).unwrap_or(TimeZone::UTC)
}

fn offset_of(text: &str) -> Option<Offset> {
    let (sign, clock) = match text.split_at_checked(1)? {
        ("+", clock) => (1, clock),
        ("-", clock) => (-1, clock),
        _ => return None,
    };
    let (hours, minutes) = clock.split_once(':')?;
    let seconds = hours.parse::<i32>().ok()? * 3600 + minutes.parse::<i32>().ok()? * 60;
    Offset::from_seconds(sign * seconds).ok()
}

/// The moment that a local time stands for.
pub(crate) fn once_in(zone: &TimeZone, local: DateTime) -> Option<jiff::Timestamp> {
    match zone.to_ambiguous_timestamp(local).offset() {
        AmbiguousOffset::Unambiguous { offset } => offset.to_timestamp(local).ok(),
        AmbiguousOffset::Fold { before, .. } => before.to_timestamp(local).ok(),
        AmbiguousOffset::Gap { before, .. } => {
            // As if the clocks had not gone forward yet: the change lies before that.
            let beyond = before.to_timestamp(local).ok()?;
            let beyond = beyond.checked_add(SignedDuration::from_nanos(1)).ok()?;
            Some(zone.preceding(beyond).next()?.timestamp())
        }
    }
}

/// The values that a field allows, a bit for each.
pub(crate) fn bits(field: &str, low: u32, high: u32, names: &[&str]) -> u64 {
    field
        .split(',')
        .map(|part| part_bits(part, low, high, names))
        .fold(0, |all, some| all | some)
}

fn part_bits(part: &str, low: u32, high: u32, names: &[&str]) -> u64 {
    let number = |text: &str| {
        let mut each = (low..).zip(names);
        let named = each.find(|(_, name)| name.eq_ignore_ascii_case(text));
        named.map(|(value, _)| value).or_else(|| text.parse().ok())
    };
    let (range, step) = match part.split_once('/') {
        Some((range, step)) => (range, step.parse().ok()),
        None => (part, None),
    };
    let (first, last) = match range.split_once('-') {
        Some((first, last)) => (number(first), number(last)),
        None if matches!(range, "*" | "?") => (Some(low), Some(high)),
        // `5/15`: from 5 on.
        None if step.is_some() => (number(range), Some(high)),
        None => (number(range), number(range)),
    };
    let (Some(first), Some(last)) = (first, last) else {
        return 0;
    };
    let step = step.unwrap_or(1).max(1);
    let mut bits = 0_u64;
    let mut value = first;
    while value <= last.min(63) {
        bits |= 1 << value;
        value = value.saturating_add(step);
    }
    bits
}

fn has(bits: u64, value: i8) -> bool {
    u32::try_from(value).is_ok_and(|value| value < 64 && bits >> value & 1 == 1)
}

/// The lowest value that is allowed, from `from` on.
fn next_bit(bits: u64, from: i8) -> Option<i8> {
    let from = u32::try_from(from).ok().filter(|from| *from < 64)?;
    let left = bits >> from;
    (left != 0)
        .then(|| i8::try_from(from + left.trailing_zeros()).ok())
        .flatten()
}

fn is_every(field: &str) -> bool {
    field.starts_with(['*', '?'])
}

impl Schedule {
    /// A schedule in this zone; none: UTC.
    #[must_use]
    pub fn new(cron: &CronSchedule, zone: Option<&ZoneName>) -> Self {
        let fields: Vec<&str> = cron.as_str().split(' ').collect();
        let mut fields = fields.iter().rev().copied();
        let mut field = || fields.next().unwrap_or("0");
        let (weekday, month, day) = (field(), field(), field());
        let (hour, minute, second) = (field(), field(), field());
        let weekdays = bits(weekday, 0, 7, DAYS);
        Self {
            seconds: bits(second, 0, 59, &[]),
            minutes: bits(minute, 0, 59, &[]),
            hours: bits(hour, 0, 23, &[]),
            days: bits(day, 1, 31, &[]),
            months: bits(month, 1, 12, MONTHS),
            // Sunday is 0 and 7.
            weekdays: weekdays | weekdays >> 7,
            either_day: !is_every(day) && !is_every(weekday),
            is_interval: is_every(hour),
            zone: zone_of(zone),
        }
    }

    /// The first moment behind `after` at which it is due; none: never, as the 30th of
    /// February.
    #[must_use]
    pub fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        let after = jiff_of(after)?;
        let due = if self.is_interval {
            self.next_often(after)
        } else {
            self.next_daily(after)
        };
        due.map(|due| Timestamp::from_micros(due.as_microsecond()))
    }

    /// The last moment at which it was due, from `from` to `until`, both included.
    #[must_use]
    pub fn last_until(&self, from: Timestamp, until: Timestamp) -> Option<Timestamp> {
        let before =
            |moment: Timestamp| Timestamp::from_micros(moment.as_micros().saturating_sub(1));
        // What is due often is found in a short look back, what is seldom in a long one.
        let spans = [60, 3_600, 86_400, 40 * 86_400].map(Duration::from_secs);
        let begins = spans.map(|span| until.saturating_sub(span).max(from));
        begins.into_iter().chain([from]).find_map(|begin| {
            let first = self.next_after(before(begin)).filter(|due| *due <= until)?;
            let mut last = first;
            for _ in 0..MAX_MISSED {
                match self.next_after(last).filter(|due| *due <= until) {
                    Some(due) => last = due,
                    None => break,
                }
            }
            Some(last)
        })
    }

    /// Each time of day once a day.
    fn next_daily(&self, after: jiff::Timestamp) -> Option<jiff::Timestamp> {
        let local = after.to_zoned(self.zone.clone()).datetime();
        // A whole date may be skipped, and a repeated hour begins anew: what comes of a
        // local time may lie before `after`, and never far.
        let mut wanted = self.next_local(local)?;
        loop {
            let due = once_in(&self.zone, wanted)?;
            if due > after {
                return Some(due);
            }
            wanted = self.next_local(wanted.checked_add(1.second()).ok()?)?;
        }
    }

    /// Every so often, as time goes by.
    fn next_often(&self, after: jiff::Timestamp) -> Option<jiff::Timestamp> {
        let second = jiff::Timestamp::from_second(after.as_second()).ok()?;
        let mut from = second.checked_add(SignedDuration::from_secs(1)).ok()?;
        loop {
            let offset = self.zone.to_offset(from);
            let change = self.zone.following(from).next();
            let change = change.map(|change| change.timestamp());
            let wanted = self.next_local(offset.to_datetime(from))?;
            let due = offset.to_timestamp(wanted).ok()?;
            match change {
                Some(change) if due >= change => from = change,
                _ => return Some(due),
            }
        }
    }

    /// The first local time that the fields allow, from this one on.
    fn next_local(&self, from: DateTime) -> Option<DateTime> {
        let from = if from.subsec_nanosecond() > 0 {
            let whole = from.time().with().subsec_nanosecond(0).build().ok()?;
            from.date()
                .to_datetime(whole)
                .checked_add(1.second())
                .ok()?
        } else {
            from
        };
        let mut date = from.date();
        let mut time = from.time();
        for _ in 0..MAX_DAYS {
            if self.is_day(date)
                && let Some(time) = self.next_time(time)
            {
                return Some(date.to_datetime(time));
            }
            date = date.tomorrow().ok()?;
            time = Time::midnight();
        }
        None
    }

    fn is_day(&self, date: Date) -> bool {
        let day = has(self.days, date.day());
        let weekday = has(self.weekdays, date.weekday().to_sunday_zero_offset());
        let is_day = if self.either_day {
            day || weekday
        } else {
            day && weekday
        };
        has(self.months, date.month()) && is_day
    }

    /// The first time of day that the fields allow, from this one on.
    fn next_time(&self, from: Time) -> Option<Time> {
        let first = |bits| next_bit(bits, 0);
        let hour = next_bit(self.hours, from.hour())?;
        if hour == from.hour() {
            if let Some(minute) = next_bit(self.minutes, from.minute()) {
                if minute > from.minute() {
                    return Time::new(hour, minute, first(self.seconds)?, 0).ok();
                }
                if let Some(second) = next_bit(self.seconds, from.second()) {
                    return Time::new(hour, minute, second, 0).ok();
                }
                if let Some(minute) = next_bit(self.minutes, minute + 1) {
                    return Time::new(hour, minute, first(self.seconds)?, 0).ok();
                }
            }
            let hour = next_bit(self.hours, hour + 1)?;
            return Time::new(hour, first(self.minutes)?, first(self.seconds)?, 0).ok();
        }
        Time::new(hour, first(self.minutes)?, first(self.seconds)?, 0).ok()
    }
}

fn jiff_of(moment: Timestamp) -> Option<jiff::Timestamp> {
    jiff::Timestamp::from_microsecond(moment.as_micros()).ok()
}

#[cfg(test)]
mod tests;
