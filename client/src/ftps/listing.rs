//! A server's listings, line by line.
//!
//! Pure: bytes in, values out. MLSD (RFC 3659) is read by its own parser; a line
//! of LIST is tried as `ls -l` writes it and as DOS does, whatever the server
//! says it is, with the operator's date format before the known ones. A line in
//! another form (EPLF, VMS) is refused and named.

mod date;
mod dos;
mod lines;
mod mlsd;
mod month;
mod pattern;
mod unix;

use jiff::tz::TimeZone;
use jiff::{Timestamp, civil};

pub(super) use lines::Lines;
pub(super) use mlsd::{Facts, Kind, read as mlsd_line, timestamp};
pub use pattern::{DatePattern, DatePatternError};

use crate::path::{RemoteName, RemoteNameError, ServerSystem};
use crate::remote::{Entry, EntryKind, Listed, Modified, Precision};

/// How much of a line that is refused is kept.
const MAX_REFUSED_BYTES: usize = 1024;

/// What a line of LIST is read by.
#[derive(Debug, Clone)]
pub(super) struct Reading<'a> {
    pub(super) system: ServerSystem,
    pub(super) pattern: Option<&'a DatePattern>,
    pub(super) zone: &'a TimeZone,
    pub(super) now: Timestamp,
}

/// A line's parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Parts<'a> {
    name: &'a [u8],
    kind: EntryKind,
    size_bytes: Option<u64>,
    written: Option<Written>,
}

/// A time as a listing shows it, in the server's zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Written {
    at: civil::DateTime,
    precision: Precision,
}

impl Reading<'_> {
    /// Reads a line of LIST. `None` for what lists nothing: empty lines, the
    /// total in front, `.` and `..`.
    pub(super) fn line(&self, line: &[u8]) -> Option<Listed> {
        if line.iter().all(u8::is_ascii_whitespace) || is_total(line) {
            return None;
        }
        let now = self.now.to_zoned(self.zone.clone()).datetime();
        let parts =
            unix::read(line, self.pattern, now).or_else(|| dos::read(line, self.pattern, now));
        let Some(parts) = parts else {
            return Some(refused(line, "a line in no known format"));
        };
        let modified = parts.written.and_then(|written| {
            let moment = |at: civil::DateTime| {
                let zoned = at.to_zoned(self.zone.clone()).ok()?;
                Some(zoned.timestamp())
            };
            let midnight = written.at.date().to_datetime(civil::Time::midnight());
            Some(Modified {
                at: moment(written.at)?,
                precision: written.precision,
                day_at: match written.precision {
                    Precision::Second => None,
                    Precision::Minute | Precision::Day => moment(midnight),
                },
            })
        });
        entry(
            self.system,
            parts.name,
            parts.kind,
            parts.size_bytes,
            modified,
        )
    }
}

fn is_total(line: &[u8]) -> bool {
    let mut words = line
        .split(|byte| *byte == b' ')
        .filter(|word| !word.is_empty());
    let (first, second) = (words.next(), words.next());
    let is_number = |word: &[u8]| word.iter().all(u8::is_ascii_digit);
    // `total 12`, `insgesamt 12`, `totaal 12`: a word and a number and nothing else.
    first.is_some_and(|word| word.iter().all(|byte| byte.is_ascii_alphabetic()))
        && second.is_some_and(is_number)
        && words.next().is_none()
}

/// An entry, or why its name is not used.
fn entry(
    system: ServerSystem,
    name: &[u8],
    kind: EntryKind,
    size_bytes: Option<u64>,
    modified: Option<Modified>,
) -> Option<Listed> {
    match RemoteName::new(system, name) {
        Ok(name) => Some(Listed::Entry(Entry {
            name,
            kind,
            size_bytes: size_bytes.filter(|_| kind == EntryKind::File),
            modified,
        })),
        Err(RemoteNameError::NotAName) if !name.is_empty() => None,
        Err(RemoteNameError::NotAName) => Some(refused(name, "an entry without a name")),
        Err(RemoteNameError::TooLong) => Some(refused(name, "the name is too long")),
        Err(RemoteNameError::Separator) => {
            Some(refused(name, "the name contains a path separator"))
        }
        Err(RemoteNameError::ControlByte) => Some(refused(name, "the name contains NUL, CR or LF")),
    }
}

fn refused(raw: &[u8], why: &'static str) -> Listed {
    Listed::Refused {
        raw: raw.get(..MAX_REFUSED_BYTES).unwrap_or(raw).to_vec(),
        why,
    }
}

/// Digits and nothing else, as a number.
fn number<T: std::str::FromStr>(digits: &[u8]) -> Option<T> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests;
