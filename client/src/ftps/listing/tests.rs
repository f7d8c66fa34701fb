use jiff::tz::TimeZone;
use proptest::prelude::*;

use super::*;

use EntryKind::{Directory as Dir, File, Other};
use Precision::{Day, Minute, Second};

/// 10 March 2024, noon in UTC.
const NOW: &str = "2024-03-10T12:00:00Z";

fn reading<'a>(zone: &'a TimeZone, pattern: Option<&'a DatePattern>) -> Reading<'a> {
    Reading {
        system: ServerSystem::Unix,
        pattern,
        zone,
        now: NOW.parse().unwrap(),
    }
}

type Case = (
    &'static str,
    &'static str,
    EntryKind,
    Option<u64>,
    &'static str,
    Precision,
);

/// Reads each line in UTC.
fn check(pattern: Option<&str>, cases: &[Case]) {
    let pattern = pattern.map(|pattern| DatePattern::parse(pattern).unwrap());
    for (line, name, kind, size_bytes, at, precision) in cases {
        let read = reading(&TimeZone::UTC, pattern.as_ref()).line(line.as_bytes());
        let Some(Listed::Entry(entry)) = read else {
            panic!("{line}: {read:?}");
        };
        assert_eq!(entry.name.as_bytes(), name.as_bytes(), "{line}");
        assert_eq!(entry.kind, *kind, "{line}");
        assert_eq!(entry.size_bytes, *size_bytes, "{line}");
        let modified = entry.modified.unwrap();
        assert_eq!(modified.at.to_string(), *at, "{line}");
        assert_eq!(modified.precision, *precision, "{line}");
        let day = modified.day_at.map(|day| day.to_string());
        let date = at.split('T').next().unwrap_or_default();
        let shown = (*precision != Precision::Second).then(|| format!("{date}T00:00:00Z"));
        assert_eq!(day, shown, "{line}");
    }
}

#[test]
#[rustfmt::skip]
fn o03_lines_like_those_of_ls_are_read() {
    check(None, &[
        // vsftpd
        ("-rw-r--r--    1 1000     1000      1048576 Mar 10 11:58 data.csv", "data.csv", File, Some(1_048_576), "2024-03-10T11:58:00Z", Minute),
        ("drwxr-xr-x    2 0        0            4096 Nov 05  2021 in", "in", Dir, None, "2021-11-05T00:00:00Z", Day),
        ("-rw-------    1 ftp      ftp             0 Sep 12 07:01  leading space", " leading space", File, Some(0), "2023-09-12T07:01:00Z", Minute),
        ("-rw-------    1 ftp      ftp             5 Sep 12 07:01 two  spaces.csv", "two  spaces.csv", File, Some(5), "2023-09-12T07:01:00Z", Minute),
        // ProFTPD
        ("-rw-r--r--   1 partner  partner  20971520 Feb 29 23:59 leap.bin", "leap.bin", File, Some(20_971_520), "2024-02-29T23:59:00Z", Minute),
        ("drwxrwx---+  5 partner  Domain Users     4096 Jan  1  2020 with acl", "with acl", Dir, None, "2020-01-01T00:00:00Z", Day),
        ("lrwxrwxrwx   1 root     root           11 Jan 10 10:00 link -> /etc/passwd", "link", Other, None, "2024-01-10T10:00:00Z", Minute),
        // pure-ftpd
        ("-rw-r--r--    1 33       www-data   115713 Dec 31 23:59 a -> b.txt", "a -> b.txt", File, Some(115_713), "2023-12-31T23:59:00Z", Minute),
        ("drwxr-xr-x    5 0        0            4096 Mar 11 00:30 a day ahead", "a day ahead", Dir, None, "2024-03-11T00:30:00Z", Minute),
        ("-rw-r--r--    1 0        0               1 Mar 12 00:30 last year", "last year", File, Some(1), "2023-03-12T00:30:00Z", Minute),
        // FileZilla Server
        ("-rw-rw-rw- 1 ftp ftp            1024 Mar 09 2024 report.pdf", "report.pdf", File, Some(1024), "2024-03-09T00:00:00Z", Day),
        ("drwxrwxrwx 1 ftp ftp               0 Aug 05  2019 archive", "archive", Dir, None, "2019-08-05T00:00:00Z", Day),
        // IIS in its UNIX form
        ("-rwxrwxrwx   1 owner    group             312 Jan 19 12:22 web.config", "web.config", File, Some(312), "2024-01-19T12:22:00Z", Minute),
        ("drwxrwxrwx   1 owner    group               0 Nov  8  1998 bin", "bin", Dir, None, "1998-11-08T00:00:00Z", Day),
        // No links, no group
        ("-rw-r--r-- partner 17 Jan  2 03:04 short", "short", File, Some(17), "2024-01-02T03:04:00Z", Minute),
        // ls with an ISO date, as busybox and GNU write it
        ("-rw-r--r-- 1 u g 17 2023-05-06 07:08 iso", "iso", File, Some(17), "2023-05-06T07:08:00Z", Minute),
        // Devices, sockets, pipes
        ("crw-rw-rw-   1 root     root       1,   3 Jan  1 00:00 null", "null", Other, None, "2024-01-01T00:00:00Z", Minute),
        ("srwxr-xr-x   1 root     root          0 Jan  1 00:00 socket", "socket", Other, None, "2024-01-01T00:00:00Z", Minute),
        // Sticky, setuid, SELinux
        ("drwxrwxrwt.  9 root     root       4096 Jan  1 00:00 tmp", "tmp", Dir, None, "2024-01-01T00:00:00Z", Minute),
        ("-rwsr-sr-x   1 root     root       4096 Jan  1 00:00 suid", "suid", File, Some(4096), "2024-01-01T00:00:00Z", Minute),
        // Sizes over 4 GiB and without end
        ("-rw-r--r-- 1 u g 123456789012 Jan  1 00:00 big", "big", File, Some(123_456_789_012), "2024-01-01T00:00:00Z", Minute),
        // Names that look like columns
        ("-rw-r--r-- 1 u g 17 Jan  2 03:04 99 Jan  5 06:07 x", "99 Jan  5 06:07 x", File, Some(17), "2024-01-02T03:04:00Z", Minute),
        ("-rw-r--r-- 1 u g 17 Jan  2 03:04 2020", "2020", File, Some(17), "2024-01-02T03:04:00Z", Minute),
        // One-digit hours
        ("-rw-r--r-- 1 u g 17 Jan  2  3:04 x", "x", File, Some(17), "2024-01-02T03:04:00Z", Minute),
        // Other languages
        ("-rw-r--r-- 1 u g 17 M\u{e4}r  2 03:04 x", "x", File, Some(17), "2024-03-02T03:04:00Z", Minute),
        ("-rw-r--r-- 1 u g 17  2. Okt 2023 x", "x", File, Some(17), "2023-10-02T00:00:00Z", Day),
        ("-rw-r--r-- 1 u g 17 d\u{e9}c.  24 03:04 x", "x", File, Some(17), "2023-12-24T03:04:00Z", Minute),
        ("-rw-r--r-- 1 u g 17 24 ao\u{fb}t 2022 x", "x", File, Some(17), "2022-08-24T00:00:00Z", Day),
        ("-rw-r--r-- 1 u g 17 mrt  2 03:04 x", "x", File, Some(17), "2024-03-02T03:04:00Z", Minute),
        ("-rw-r--r-- 1 u g 17 ene  2 03:04 x", "x", File, Some(17), "2024-01-02T03:04:00Z", Minute),
        ("-rw-r--r-- 1 u g 17 gen  2 03:04 x", "x", File, Some(17), "2024-01-02T03:04:00Z", Minute),
    ]);
}

#[test]
#[rustfmt::skip]
fn o03_lines_like_those_of_dos_are_read() {
    check(None, &[
        // IIS, two-digit year
        ("02-17-24  09:35AM       <DIR>          inbound", "inbound", Dir, None, "2024-02-17T09:35:00Z", Minute),
        ("02-17-24  12:05AM                 1234 midnight.csv", "midnight.csv", File, Some(1234), "2024-02-17T00:05:00Z", Minute),
        ("02-17-24  12:05PM                 1234 noon.csv", "noon.csv", File, Some(1234), "2024-02-17T12:05:00Z", Minute),
        ("12-31-99  11:59PM                    0 old.csv", "old.csv", File, Some(0), "1999-12-31T23:59:00Z", Minute),
        ("02-17-24  09:35AM       <DIR>           leading space", " leading space", Dir, None, "2024-02-17T09:35:00Z", Minute),
        ("02-17-24  09:35AM                    7  leading space.csv", " leading space.csv", File, Some(7), "2024-02-17T09:35:00Z", Minute),
        // IIS, four-digit year
        ("02-17-2024  09:35AM           4294967296 big.iso", "big.iso", File, Some(4_294_967_296), "2024-02-17T09:35:00Z", Minute),
        ("02-17-2024  09:35AM       <JUNCTION>     link [C:\\data]", "link", Other, None, "2024-02-17T09:35:00Z", Minute),
        // dir of Windows in several places
        ("02/17/2024  09:35 PM    <DIR>          Program Files", "Program Files", Dir, None, "2024-02-17T21:35:00Z", Minute),
        ("02/17/2024  09:35 PM             1,234 a b.txt", "a b.txt", File, Some(1234), "2024-02-17T21:35:00Z", Minute),
        ("17.02.2024  21:35    <DIR>          Eingang", "Eingang", Dir, None, "2024-02-17T21:35:00Z", Minute),
        ("17.02.2024  21:35             1.234 Datei.csv", "Datei.csv", File, Some(1234), "2024-02-17T21:35:00Z", Minute),
        ("2024-02-17  21:35             12 iso.csv", "iso.csv", File, Some(12), "2024-02-17T21:35:00Z", Minute),
        ("17/02/2024  21:35             12 day first.csv", "day first.csv", File, Some(12), "2024-02-17T21:35:00Z", Minute),
    ]);
}

#[test]
#[rustfmt::skip]
fn o03_the_operators_date_format_comes_before_the_known_ones() {
    check(Some("dd-MM-yy HH:mm"), &[
        ("03-02-24  21:35             12 a.csv", "a.csv", File, Some(12), "2024-02-03T21:35:00Z", Minute),
        ("02-17-24  09:35AM           12 another form.csv", "another form.csv", File, Some(12), "2024-02-17T09:35:00Z", Minute),
    ]);
    check(Some("yyyy-MM-dd HH:mm"), &[
        ("-rw-r--r-- 1 u g 17 2023-05-06 07:08 unix.csv", "unix.csv", File, Some(17), "2023-05-06T07:08:00Z", Minute),
        ("2023-05-06 07:08 17 dos.csv", "dos.csv", File, Some(17), "2023-05-06T07:08:00Z", Minute),
        ("-rw-r--r-- 1 u g 17 May 6 2023 usual.csv", "usual.csv", File, Some(17), "2023-05-06T00:00:00Z", Day),
    ]);
    check(Some("yyyy/MM/dd HH:mm:ss"), &[
        ("-rw-r--r-- 1 u g 17 2023/05/06 07:08:09 seconds.csv", "seconds.csv", File, Some(17), "2023-05-06T07:08:09Z", Second),
    ]);
}

#[test]
fn o03_times_are_of_the_servers_zone() {
    for (zone, line, at) in [
        (
            "Europe/Brussels",
            "-rw-r--r-- 1 u g 1 Jan 15 12:00 x",
            "2024-01-15T11:00:00Z",
        ),
        (
            "Europe/Brussels",
            "-rw-r--r-- 1 u g 1 Jul 15 12:00 x",
            "2023-07-15T10:00:00Z",
        ),
        (
            "America/New_York",
            "01-15-24  12:00PM 1 x",
            "2024-01-15T17:00:00Z",
        ),
        // An hour that does not exist is the one behind it.
        (
            "Europe/Brussels",
            "-rw-r--r-- 1 u g 1 2023-03-26 02:30 x",
            "2023-03-26T01:30:00Z",
        ),
        // It is the 11th already over there: no day is ahead by more than one.
        (
            "Pacific/Auckland",
            "-rw-r--r-- 1 u g 1 Mar 11 01:00 x",
            "2024-03-10T12:00:00Z",
        ),
    ] {
        let zone = TimeZone::get(zone).unwrap();
        let Some(Listed::Entry(entry)) = reading(&zone, None).line(line.as_bytes()) else {
            panic!("{line}");
        };
        assert_eq!(entry.modified.unwrap().at.to_string(), at, "{line}");
    }
}

#[test]
fn what_lists_nothing_is_left_out() {
    for line in [
        "",
        "   ",
        "total 12",
        "insgesamt 12",
        "drwxr-xr-x 2 0 0 4096 Jan  1  2020 .",
        "drwxr-xr-x 2 0 0 4096 Jan  1  2020 ..",
        "02-17-24  09:35AM       <DIR>          .",
        "02-17-24  09:35AM       <DIR>          ..",
    ] {
        assert_eq!(
            reading(&TimeZone::UTC, None).line(line.as_bytes()),
            None,
            "{line}"
        );
    }
}

#[test]
fn what_cannot_be_used_is_named() {
    let known = "-rw-r--r-- 1 u g 17 Jan  2 03:04 ";
    for (line, why) in [
        (
            "+i8388621.48594,m825718503,r,s280,\tdjb.html".to_owned(),
            "format",
        ),
        (
            "README.TXT;1  3  12-JAN-2024 10:00  [SYSTEM] (RWED,RWED,RE,)".to_owned(),
            "format",
        ),
        ("ls: cannot open directory".to_owned(), "format"),
        ("-rw-r--r-- 1 u g 17 Jan  2 03:04".to_owned(), "format"),
        ("-rw-r--r-- 1 u g 17 Foo  2 03:04 x".to_owned(), "format"),
        ("-rw-r--r-- 1 u g 17 Jan 32 03:04 x".to_owned(), "format"),
        ("-rw-r--r-- 1 u g -17 Jan 2 03:04 x".to_owned(), "format"),
        ("13-32-24  09:35AM 12 x".to_owned(), "format"),
        ("02-17-24  13:35AM 12 x".to_owned(), "format"),
        (format!("{known}../x"), "separator"),
        (format!("{known}/etc/passwd"), "separator"),
        (format!("{known}a\0b"), "NUL"),
        (format!("{known}a\rDELE b"), "CR"),
        (
            format!(
                "{known}{}",
                "x".repeat(crate::path::MAX_REMOTE_NAME_BYTES + 1)
            ),
            "long",
        ),
    ] {
        let read = reading(&TimeZone::UTC, None).line(line.as_bytes());
        assert!(
            matches!(&read, Some(Listed::Refused { why: reason, .. }) if reason.contains(why)),
            "{line}: {read:?}"
        );
    }
    let long = "x".repeat(5000);
    let Some(Listed::Refused { raw, .. }) = reading(&TimeZone::UTC, None).line(long.as_bytes())
    else {
        panic!("a line of one word was read");
    };
    assert_eq!(raw.len(), MAX_REFUSED_BYTES);
}

#[test]
fn a_backslash_separates_on_windows_alone() {
    let line = b"02-17-24  09:35AM 12 ..\\x";
    let utc = TimeZone::UTC;
    let windows = Reading {
        system: ServerSystem::Windows,
        ..reading(&utc, None)
    };
    assert!(matches!(windows.line(line), Some(Listed::Refused { .. })));
    let unix = reading(&utc, None);
    assert!(matches!(unix.line(line), Some(Listed::Entry(_))));
}

proptest! {
    #[test]
    fn any_line_is_read_without_a_panic(line in proptest::collection::vec(any::<u8>(), 0..200)) {
        reading(&TimeZone::UTC, None).line(&line);
    }

    #[test]
    fn a_line_of_likely_parts_is_read_without_a_panic(
        parts in proptest::collection::vec(
            prop::sample::select(vec![
                "-rw-r--r--", "drwxr-xr-x", "lrwxrwxrwx", "1", "u", "g", "17", "4096", "Jan",
                "M\u{e4}r", "Feb", "29", "31", "2024", "03:04", "99:99", "12:00AM", "PM", "<DIR>",
                "02-17-24", "17.02.2024", "->", " ", "", ".", "..", "x", "\u{0}", "1,", "-1",
            ]),
            0..14,
        ),
    ) {
        let pattern = DatePattern::parse("dd-MM-yy hh:mma").unwrap();
        reading(&TimeZone::UTC, Some(&pattern)).line(parts.join(" ").as_bytes());
    }

    #[test]
    fn any_name_in_a_line_of_ls_comes_back_as_its_bytes(
        name in proptest::collection::vec(any::<u8>(), 1..60),
    ) {
        let line = [b"-rw-r--r-- 1 u g 17 Jan  2 03:04 ".as_slice(), &name].concat();
        match reading(&TimeZone::UTC, None).line(&line) {
            Some(Listed::Entry(entry)) => prop_assert_eq!(entry.name.as_bytes(), &name[..]),
            Some(Listed::Refused { .. }) => prop_assert!(
                name.iter().any(|byte| matches!(byte, b'/' | b'\0' | b'\r' | b'\n'))
            ),
            None => prop_assert!(matches!(&name[..], b"." | b"..")),
        }
    }
}
