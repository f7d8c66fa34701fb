//! Facts and a name (RFC 3659 s.7).

use jiff::civil;
use jiff::tz::TimeZone;

use super::{entry, number, refused};
use crate::path::ServerSystem;
use crate::remote::{EntryKind, Listed, Modified, Precision};

/// Reads a line of MLSD. `None` for the folder itself, its parent, and empty lines.
pub(crate) fn read(line: &[u8], system: ServerSystem) -> Option<Listed> {
    if line.is_empty() {
        return None;
    }
    // The name begins after the first space, and may itself begin with one.
    let Some(end) = line.iter().position(|byte| *byte == b' ') else {
        return Some(refused(line, "a line in no known format"));
    };
    let (facts, name) = line.split_at(end);
    let name = name.get(1..).unwrap_or_default();
    let Facts {
        kind,
        size_bytes,
        modified,
    } = Facts::read(facts);
    match kind {
        Some(Kind::Entry(kind)) => entry(system, name, kind, size_bytes, modified),
        Some(Kind::Folder) => None,
        None => Some(refused(line, "a line without the kind of its entry")),
    }
}

/// What stands in front of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Facts {
    pub(crate) kind: Option<Kind>,
    pub(crate) size_bytes: Option<u64>,
    pub(crate) modified: Option<Modified>,
}

/// The fact `type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An entry of the folder.
    Entry(EntryKind),
    /// The listed folder itself, or its parent.
    Folder,
}

impl Facts {
    /// Reads `type=file;size=1;...`; unknown facts are passed over.
    pub(crate) fn read(facts: &[u8]) -> Self {
        let mut found = Self::default();
        for fact in facts.split(|byte| *byte == b';') {
            let Some(equals) = fact.iter().position(|byte| *byte == b'=') else {
                continue;
            };
            let (key, value) = fact.split_at(equals);
            let value = value.get(1..).unwrap_or_default();
            match key.to_ascii_lowercase().as_slice() {
                b"type" => found.kind = Some(kind(value)),
                b"size" => found.size_bytes = number(value),
                b"modify" => found.modified = timestamp(value),
                _ => {}
            }
        }
        found
    }
}

fn kind(value: &[u8]) -> Kind {
    match value.to_ascii_lowercase().as_slice() {
        b"file" => Kind::Entry(EntryKind::File),
        b"dir" => Kind::Entry(EntryKind::Directory),
        b"cdir" | b"pdir" => Kind::Folder,
        // `OS.unix=slink:...` and its like.
        _ => Kind::Entry(EntryKind::Other),
    }
}

/// `YYYYMMDDHHMMSS[.sss]` in UTC (RFC 3659 s.2.3).
pub(crate) fn timestamp(value: &[u8]) -> Option<Modified> {
    let digits = value.split(|byte| *byte == b'.').next()?;
    // Servers of the year 2000 wrote `19100` for it.
    let (year, rest) = match digits.len() {
        14 => (number::<i16>(digits.get(..4)?)?, digits.get(4..)?),
        15 if digits.starts_with(b"191") => {
            (1900 + number::<i16>(digits.get(2..5)?)?, digits.get(5..)?)
        }
        _ => return None,
    };
    let two = |at: usize| number::<i8>(rest.get(at..at + 2)?);
    // A leap second is the last second of its minute.
    let second = two(8)?.min(59);
    let at = civil::DateTime::new(year, two(0)?, two(2)?, two(4)?, two(6)?, second, 0).ok()?;
    Some(Modified {
        at: at.to_zoned(TimeZone::UTC).ok()?.timestamp(),
        precision: Precision::Second,
        day_at: None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lines_of_real_servers_are_read() {
        use EntryKind::{Directory, File, Other};
        for (line, name, kind, size_bytes, at) in [
            // ProFTPD
            (
                "modify=20240229153000;perm=adfrw;size=1048576;type=file;unique=FD00U1A2;UNIX.group=0;UNIX.mode=0644;UNIX.owner=0; big.bin",
                "big.bin",
                File,
                Some(1_048_576),
                Some("2024-02-29T15:30:00Z"),
            ),
            (
                "modify=20240229153000;perm=flcdmpe;type=dir;unique=FD00U1;UNIX.mode=0755; in",
                "in",
                Directory,
                None,
                Some("2024-02-29T15:30:00Z"),
            ),
            // pure-ftpd
            (
                "type=file;size=12;modify=20230101000000;UNIX.mode=0644;UNIX.uid=1000;UNIX.gid=1000;unique=fd01g5; a;b=c.txt",
                "a;b=c.txt",
                File,
                Some(12),
                Some("2023-01-01T00:00:00Z"),
            ),
            // FileZilla Server
            (
                "type=file;size=0;modify=20240501120000.123;perm=awr;  leading space",
                " leading space",
                File,
                Some(0),
                Some("2024-05-01T12:00:00Z"),
            ),
            // IIS 10 and others in upper case
            (
                "Type=FILE;Size=5;Modify=20240501120060; x",
                "x",
                File,
                Some(5),
                Some("2024-05-01T12:00:59Z"),
            ),
            (
                "type=OS.unix=slink:/etc/passwd;size=3; link",
                "link",
                Other,
                None,
                None,
            ),
            ("type=OS.unix=chr-1/3; null", "null", Other, None, None),
            (
                "type=file;modify=191241231235959; old",
                "old",
                File,
                None,
                Some("2024-12-31T23:59:59Z"),
            ),
            (
                "type=file;modify=2024; bad time",
                "bad time",
                File,
                None,
                None,
            ),
            ("type=file;size=-1; bad size", "bad size", File, None, None),
        ] {
            let Some(Listed::Entry(entry)) = read(line.as_bytes(), ServerSystem::Unix) else {
                panic!("{line}");
            };
            assert_eq!(entry.name.as_bytes(), name.as_bytes(), "{line}");
            assert_eq!(entry.kind, kind, "{line}");
            assert_eq!(entry.size_bytes, size_bytes, "{line}");
            let read_at = entry.modified.map(|modified| modified.at.to_string());
            assert_eq!(read_at.as_deref(), at, "{line}");
        }
    }

    #[test]
    fn the_folder_itself_and_its_parent_are_left_out() {
        for line in [
            "type=cdir;modify=20240101000000; .",
            "type=pdir; ..",
            "type=dir; .",
            "type=dir; ..",
            "",
        ] {
            assert_eq!(read(line.as_bytes(), ServerSystem::Unix), None, "{line}");
        }
    }

    #[test]
    fn hostile_names_are_refused() {
        for (line, system) in [
            (&b"type=file;size=1; ../x"[..], ServerSystem::Unix),
            (b"type=file;size=1; /etc/passwd", ServerSystem::Unix),
            (b"type=file;size=1; a\0b", ServerSystem::Unix),
            (b"type=file;size=1; a\rDELE b", ServerSystem::Unix),
            (b"type=file;size=1; ..\\x", ServerSystem::Windows),
            (b"type=file;size=1; ", ServerSystem::Unix),
            (b"size=1; x", ServerSystem::Unix),
            (b"nonsense", ServerSystem::Unix),
        ] {
            assert!(
                matches!(read(line, system), Some(Listed::Refused { .. })),
                "{line:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn any_line_is_read_without_a_panic(line in proptest::collection::vec(any::<u8>(), 0..120)) {
            read(&line, ServerSystem::Unix);
            timestamp(&line);
        }

        #[test]
        fn any_name_comes_back_as_its_bytes(name in proptest::collection::vec(any::<u8>(), 1..60)) {
            let line = [b"type=file;size=7; ".as_slice(), &name].concat();
            match read(&line, ServerSystem::Unix) {
                Some(Listed::Entry(entry)) => prop_assert_eq!(entry.name.as_bytes(), &name[..]),
                Some(Listed::Refused { .. }) => prop_assert!(
                    name.iter().any(|byte| matches!(byte, b'/' | b'\0' | b'\r' | b'\n'))
                ),
                None => prop_assert!(matches!(&name[..], b"." | b"..")),
            }
        }
    }
}
