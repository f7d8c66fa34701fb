//! What `dir` of DOS and Windows writes, and IIS with it.

use jiff::civil::{Date, DateTime, Time};

use super::{DatePattern, Parts, Written, date, number};
use crate::remote::{EntryKind, Precision};

/// Spaces between `<DIR>` and a name: so wide is the column of sizes.
const AFTER_MARK: usize = 10;

/// Reads a line; `None` when it is not of this form.
pub(super) fn read<'a>(
    line: &'a [u8],
    pattern: Option<&DatePattern>,
    now: DateTime,
) -> Option<Parts<'a>> {
    let (written, length) = pattern
        .and_then(|pattern| pattern.read(line, now))
        .or_else(|| known_date(line))?;
    let rest = line.get(length..)?.strip_prefix(b" ")?.trim_ascii_start();
    let word = rest.iter().take_while(|byte| **byte != b' ').count();
    let (mark, after) = rest.split_at_checked(word)?;
    if mark.starts_with(b"<") && mark.ends_with(b">") {
        let kind = match mark {
            b"<DIR>" | b"<dir>" => EntryKind::Directory,
            // <JUNCTION>, <SYMLINK>, <SYMLINKD>
            _ => EntryKind::Other,
        };
        return Some(Parts {
            name: after_mark(after, kind)?,
            kind,
            size_bytes: None,
            written: Some(written),
        });
    }
    let digits: Vec<u8> = mark
        .iter()
        .copied()
        .filter(|byte| !matches!(byte, b',' | b'.'))
        .collect();
    Some(Parts {
        name: after.strip_prefix(b" ").filter(|name| !name.is_empty())?,
        kind: EntryKind::File,
        size_bytes: Some(number(&digits)?),
        written: Some(written),
    })
}

/// The name behind `<DIR>`; a link's target behind it is left away.
fn after_mark(after: &[u8], kind: EntryKind) -> Option<&[u8]> {
    let spaces = after.iter().take_while(|byte| **byte == b' ').count();
    // More spaces than the column has belong to the name.
    let name = after.get(spaces.min(AFTER_MARK.max(1))..)?;
    let name = if spaces < AFTER_MARK {
        name.trim_ascii_start()
    } else {
        name
    };
    let name = match name.windows(2).position(|window| window == b" [") {
        Some(end) if kind == EntryKind::Other && name.ends_with(b"]") => name.get(..end)?,
        _ => name,
    };
    (!name.is_empty()).then_some(name)
}

/// `05-01-24  07:08AM`, `05-01-2024 07:08PM`, `2024-05-01 19:08`, `01.05.2024 19:08`,
/// `05/01/2024 07:08 PM`.
fn known_date(line: &[u8]) -> Option<(Written, usize)> {
    let end = line.iter().take_while(|byte| **byte != b' ').count();
    let (date, rest) = line.split_at_checked(end)?;
    let date = day(date)?;
    let spaces = rest.iter().take_while(|byte| **byte == b' ').count();
    let rest = rest.get(spaces..)?;
    let word = rest.iter().take_while(|byte| **byte != b' ').count();
    let clock = rest.get(..word)?;
    let mut length = end + spaces + word;
    let at = match half(clock) {
        Some((clock, is_afternoon)) => twelve(clock, is_afternoon)?,
        None => {
            // `07:08 PM` has its half in a word of its own.
            let behind = rest.get(word..).unwrap_or_default();
            let mark = behind
                .get(..3)
                .and_then(|mark| half(mark.strip_prefix(b" ")?));
            let is_whole = behind.get(3).is_some_and(|byte| *byte == b' ');
            match mark {
                Some((b"", is_afternoon)) if is_whole => {
                    length += 3;
                    twelve(clock, is_afternoon)?
                }
                _ => date::time(clock)?,
            }
        }
    };
    let written = Written {
        at: date.to_datetime(at),
        precision: Precision::Minute,
    };
    Some((written, length))
}

/// What stands in front of `AM` or `PM`, and whether it is `PM`.
fn half(word: &[u8]) -> Option<(&[u8], bool)> {
    let (clock, mark) = word.split_at_checked(word.len().checked_sub(2)?)?;
    match mark.to_ascii_uppercase().as_slice() {
        b"AM" => Some((clock, false)),
        b"PM" => Some((clock, true)),
        _ => None,
    }
}

fn twelve(clock: &[u8], is_afternoon: bool) -> Option<Time> {
    let time = date::time(clock)?;
    if !(1..=12).contains(&time.hour()) {
        return None;
    }
    let hour = time.hour() % 12 + if is_afternoon { 12 } else { 0 };
    Time::new(hour, time.minute(), time.second(), 0).ok()
}

/// Month first, as DOS does, unless a dot separates (day first) or the year
/// stands first; a first number over 12 is a day.
fn day(word: &[u8]) -> Option<Date> {
    let separator = *word.iter().find(|byte| !byte.is_ascii_digit())?;
    if !matches!(separator, b'-' | b'/' | b'.') {
        return None;
    }
    let mut parts = word.split(|byte| *byte == separator);
    let (first, second, third) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    if first.len() == 4 {
        return Date::new(number(first)?, number(second)?, number(third)?).ok();
    }
    let year: i16 = match third.len() {
        4 => number(third)?,
        2 => match number(third)? {
            year @ 0..70 => 2000 + year,
            year => 1900 + year,
        },
        _ => return None,
    };
    let (first, second): (i8, i8) = (number(first)?, number(second)?);
    let (month, day) = if separator == b'.' || first > 12 {
        (second, first)
    } else {
        (first, second)
    };
    Date::new(year, month, day).ok()
}
