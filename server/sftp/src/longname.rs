//! The line that `ls -l` shows: clients print it, some parse it.

use std::io::Write as _;

use bytes::Bytes;
use jiff::tz::TimeZone;
use layover_depot::{FileInfo, FileKind};
use layover_retention::Timestamp;

use crate::codec::Attrs;

/// `st_mode` type bits.
const S_IFDIR: u32 = 0o040_000;
const S_IFREG: u32 = 0o100_000;

/// Files older than this show their year, newer ones their time (`ls`).
const HALF_A_YEAR_S: u64 = 182 * 24 * 60 * 60;

/// Owner and group that every file shows; the account is both.
pub(crate) const OWNER: u32 = 0;

fn mode(info: &FileInfo) -> u32 {
    let kind = match info.kind {
        FileKind::Directory => S_IFDIR,
        FileKind::File => S_IFREG,
    };
    kind | (info.mode & 0o777)
}

/// A time as SFTP v3 has it: seconds since 1970 in 32 bits; what does not fit
/// becomes the nearest that does.
fn seconds(at: Timestamp) -> u32 {
    let seconds = at.as_micros().div_euclid(1_000_000).max(0);
    u32::try_from(seconds).unwrap_or(u32::MAX)
}

/// What `stat` answers.
pub(crate) fn attrs(info: &FileInfo) -> Attrs {
    let modified = seconds(info.modified_at);
    Attrs {
        size: Some(info.size_bytes),
        uid_gid: Some((OWNER, OWNER)),
        permissions: Some(mode(info)),
        times: Some((modified, modified)),
    }
}

/// The line, in UTC.
pub(crate) fn line(name: &[u8], info: &FileInfo, account: &str, now: Timestamp) -> Bytes {
    let mut out = Vec::with_capacity(name.len() + 64);
    let mode = mode(info);
    out.push(if info.kind == FileKind::Directory {
        b'd'
    } else {
        b'-'
    });
    for shift in [6_u32, 3, 0] {
        for (bit, letter) in [(4, b'r'), (2, b'w'), (1, b'x')] {
            out.push(if (mode >> shift) & bit != 0 {
                letter
            } else {
                b'-'
            });
        }
    }
    // Writing to a Vec cannot fail.
    let _ = write!(
        out,
        " {:>3} {account:<8} {account:<8} {:>8} ",
        1, info.size_bytes
    );
    let _ = write!(out, "{} ", date(info.modified_at, now));
    out.extend_from_slice(name);
    Bytes::from(out)
}

fn date(at: Timestamp, now: Timestamp) -> String {
    let seconds = at.as_micros().div_euclid(1_000_000);
    let Ok(instant) = jiff::Timestamp::from_second(seconds) else {
        return "Jan  1  1970".to_owned();
    };
    let zoned = instant.to_zoned(TimeZone::UTC);
    let recent = now.duration_since(at).as_secs() < HALF_A_YEAR_S && at <= now;
    let format = if recent { "%b %e %H:%M" } else { "%b %e  %Y" };
    zoned.strftime(format).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(kind: FileKind, mode: u32, at: i64) -> FileInfo {
        FileInfo {
            kind,
            size_bytes: 1234,
            modified_at: Timestamp::from_micros(at * 1_000_000),
            expires_at: None,
            partial: false,
            mode,
            inode: 1,
            file: None,
        }
    }

    #[test]
    fn a_line_looks_as_ls_prints_it() {
        let now = Timestamp::from_micros(1_795_000_000_000_000);
        let recent = line(
            b"a b",
            &info(FileKind::File, 0o640, 1_794_990_000),
            "acme",
            now,
        );
        assert_eq!(
            String::from_utf8_lossy(&recent),
            "-rw-r-----   1 acme     acme         1234 Nov 18 08:20 a b"
        );
        let old = line(
            b"x",
            &info(FileKind::Directory, 0o755, 1_000_000_000),
            "acme",
            now,
        );
        assert_eq!(
            String::from_utf8_lossy(&old),
            "drwxr-xr-x   1 acme     acme         1234 Sep  9  2001 x"
        );
    }

    #[test]
    fn times_outside_32_bits_become_the_nearest() {
        assert_eq!(seconds(Timestamp::from_micros(-5)), 0);
        assert_eq!(seconds(Timestamp::from_micros(i64::MAX)), u32::MAX);
    }
}
