//! `ls -l` and what is written like it.

use jiff::civil::DateTime;

use super::{DatePattern, Parts, date, number};
use crate::remote::EntryKind;

/// Columns in front of the date that are looked at: permissions, links, owner,
/// group (names with spaces are several), size.
const MAX_COLUMNS: usize = 16;

/// Reads a line; `None` when it is not of this form.
///
/// Owners, groups and link counts may be missing or have spaces in them, so the
/// line is read from its date: the first date that stands behind a number, the
/// size. One space separates the date from the name.
pub(super) fn read<'a>(
    line: &'a [u8],
    pattern: Option<&DatePattern>,
    now: DateTime,
) -> Option<Parts<'a>> {
    let kind = kind(line)?;
    let mut size = None;
    let mut at = line.iter().take_while(|byte| **byte != b' ').count();
    for _ in 0..MAX_COLUMNS {
        let rest = line.get(at..)?;
        let start = at + rest.iter().take_while(|byte| **byte == b' ').count();
        let rest = line.get(start..)?;
        if let Some(size_bytes) = size
            && let Some((written, length)) = date::read(rest, pattern, now)
            && let Some(name) = rest.get(length..).and_then(|rest| rest.strip_prefix(b" "))
            && !name.is_empty()
        {
            return Some(Parts {
                name: without_target(name, line),
                kind,
                size_bytes: Some(size_bytes),
                written: Some(written),
            });
        }
        let word = rest.iter().take_while(|byte| **byte != b' ').count();
        if word == 0 {
            return None;
        }
        size = number::<u64>(rest.get(..word)?);
        at = start + word;
    }
    None
}

/// What the ten characters of the permissions say.
fn kind(line: &[u8]) -> Option<EntryKind> {
    let (permissions, rest) = line.split_at_checked(10)?;
    let (first, others) = permissions.split_first()?;
    let is_permission = |byte: &u8| {
        matches!(
            byte,
            b'r' | b'w' | b'x' | b'-' | b's' | b'S' | b't' | b'T' | b'l' | b'L'
        )
    };
    // `+`, `.` and `@` stand for access lists.
    let goes_on = rest
        .first()
        .is_some_and(|byte| matches!(byte, b' ' | b'+' | b'.' | b'@'));
    if !others.iter().all(is_permission) || !goes_on {
        return None;
    }
    match first {
        b'-' | b'f' => Some(EntryKind::File),
        b'd' => Some(EntryKind::Directory),
        b'l' | b'c' | b'b' | b'p' | b's' | b'D' | b'm' | b'n' | b'P' | b'C' => {
            Some(EntryKind::Other)
        }
        _ => None,
    }
}

/// A link's own name.
fn without_target<'a>(name: &'a [u8], line: &[u8]) -> &'a [u8] {
    const ARROW: &[u8] = b" -> ";
    if line.first() != Some(&b'l') {
        return name;
    }
    let arrow = name.windows(ARROW.len()).position(|window| window == ARROW);
    arrow.and_then(|end| name.get(..end)).unwrap_or(name)
}
