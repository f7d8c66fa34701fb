//! Times as `ls` and DOS write them.

use jiff::civil::{Date, DateTime, Time};
use jiff::{Span, ToSpan};

use super::{DatePattern, Written, month, number};
use crate::remote::Precision;

/// How far a server's clock may be ahead of ours before a date without a year
/// is taken for one of last year.
fn ahead() -> Span {
    1.day()
}

/// The latest such day that is not more than a day ahead of `now`: `ls` leaves
/// the year away only for the last six months. 29 February is in a leap year.
pub(super) fn without_year(month: i8, day: i8, time: Time, now: DateTime) -> Option<DateTime> {
    let limit = now.checked_add(ahead()).ok()?;
    (-8_i16..=1)
        .rev()
        .filter_map(|years| {
            let date = Date::new(now.year().checked_add(years)?, month, day).ok()?;
            Some(date.to_datetime(time))
        })
        .find(|candidate| *candidate <= limit)
}

/// A time at the beginning of `text`, and how many bytes it takes. The
/// operator's format comes first.
pub(super) fn read(
    text: &[u8],
    pattern: Option<&DatePattern>,
    now: DateTime,
) -> Option<(Written, usize)> {
    if let Some(pattern) = pattern
        && let Some(found) = pattern.read(text, now)
    {
        return Some(found);
    }
    let words = words(text);
    let [first, second, third] = words;
    if let Some(found) = named(text, first?, second?, third, now) {
        return Some(found);
    }
    numeric(text, first?, second?)
}

/// The words of a line's beginning: where each begins and ends.
fn words(text: &[u8]) -> [Option<(usize, usize)>; 3] {
    let mut found = [None; 3];
    let mut at = 0;
    for slot in &mut found {
        let rest = text.get(at..).unwrap_or_default();
        let start = at + rest.iter().take_while(|byte| **byte == b' ').count();
        let rest = text.get(start..).unwrap_or_default();
        let end = start + rest.iter().take_while(|byte| **byte != b' ').count();
        if end == start {
            break;
        }
        *slot = Some((start, end));
        at = end;
    }
    found
}

/// `Jan  5 10:30`, `5. Jan 2024`, `janv. 5 10:30`.
fn named(
    text: &[u8],
    first: (usize, usize),
    second: (usize, usize),
    third: Option<(usize, usize)>,
    now: DateTime,
) -> Option<(Written, usize)> {
    let third = third?;
    let of = |(start, end): (usize, usize)| text.get(start..end).unwrap_or_default();
    let day = |word: &[u8]| -> Option<i8> {
        number(word.strip_suffix(b".").unwrap_or(word)).filter(|day| (1..=31).contains(day))
    };
    let (month, day) = match (month::number(of(first)), day(of(first))) {
        (Some(month), _) => (month, day(of(second))?),
        (None, Some(day)) => (month::number(of(second))?, day),
        (None, None) => return None,
    };
    let last = of(third);
    let written = if let Some(time) = time(last) {
        Written {
            at: without_year(month, day, time, now)?,
            precision: Precision::Minute,
        }
    } else if last.len() == 4 {
        Written {
            at: Date::new(number(last)?, month, day)
                .ok()?
                .to_datetime(Time::midnight()),
            precision: Precision::Day,
        }
    } else {
        return None;
    };
    Some((written, third.1))
}

/// `2024-01-05 10:30`, with seconds and a zone behind it that says nothing new
/// (`ls --full-time` is not what FTP servers send).
fn numeric(text: &[u8], first: (usize, usize), second: (usize, usize)) -> Option<(Written, usize)> {
    let date = text.get(first.0..first.1)?;
    let mut parts = date.split(|byte| *byte == b'-');
    let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
    if year.len() != 4 || parts.next().is_some() {
        return None;
    }
    let date = Date::new(number(year)?, number(month)?, number(day)?).ok()?;
    let time = time(text.get(second.0..second.1)?)?;
    let written = Written {
        at: date.to_datetime(time),
        precision: Precision::Minute,
    };
    Some((written, second.1))
}

/// `10:30`, `1:05`, `10:30:15` (its seconds are kept).
pub(super) fn time(word: &[u8]) -> Option<Time> {
    let mut parts = word.split(|byte| *byte == b':');
    let (hour, minute) = (parts.next()?, parts.next()?);
    let second = match parts.next() {
        None => 0,
        Some(second) if second.len() == 2 => number(second)?,
        Some(_) => return None,
    };
    if parts.next().is_some() || hour.len() > 2 || minute.len() != 2 {
        return None;
    }
    Time::new(number(hour)?, number(minute)?, second, 0).ok()
}

#[cfg(test)]
mod tests {
    use jiff::civil::{datetime, time};

    use super::*;

    #[test]
    fn a_year_that_is_left_away_is_the_latest_that_is_not_ahead() {
        let noon = datetime(2024, 3, 10, 12, 0, 0, 0);
        for (now, month, day, at, year) in [
            (noon, 3, 10, time(11, 59, 0, 0), 2024),
            (noon, 3, 10, time(12, 1, 0, 0), 2024),
            // A day ahead: the server's clock or zone is off.
            (noon, 3, 11, time(12, 0, 0, 0), 2024),
            (noon, 3, 11, time(12, 1, 0, 0), 2023),
            (noon, 9, 15, time(0, 0, 0, 0), 2023),
            (noon, 12, 31, time(23, 59, 0, 0), 2023),
            (noon, 2, 29, time(0, 0, 0, 0), 2024),
            (
                datetime(2025, 3, 1, 0, 0, 0, 0),
                2,
                29,
                time(0, 0, 0, 0),
                2024,
            ),
            (
                datetime(2024, 2, 28, 0, 0, 0, 0),
                2,
                29,
                time(0, 0, 0, 0),
                2024,
            ),
            (
                datetime(2024, 2, 27, 0, 0, 0, 0),
                2,
                29,
                time(0, 0, 0, 0),
                2020,
            ),
            // New Year's Eve of the one zone is New Year of the other.
            (
                datetime(2024, 12, 31, 23, 30, 0, 0),
                1,
                1,
                time(0, 15, 0, 0),
                2025,
            ),
            (
                datetime(2025, 1, 1, 0, 15, 0, 0),
                12,
                31,
                time(23, 30, 0, 0),
                2024,
            ),
        ] {
            let guessed = without_year(month, day, at, now).unwrap();
            assert_eq!(guessed.year(), year, "{month}-{day} {at} seen on {now}");
        }
        assert_eq!(without_year(2, 30, time(0, 0, 0, 0), noon), None);
        assert_eq!(without_year(13, 1, time(0, 0, 0, 0), noon), None);
    }
}
