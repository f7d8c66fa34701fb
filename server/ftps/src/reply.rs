//! Replies: a code, and sentences that say what to do.

use layover_depot::VfsError;
use layover_retention::Timestamp;

/// What the peer is told: one line, or several under one code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    code: u16,
    lines: Vec<Vec<u8>>,
}

impl Reply {
    /// One line.
    pub(crate) fn new(code: u16, text: impl Into<Vec<u8>>) -> Self {
        Self {
            code,
            lines: vec![text.into()],
        }
    }

    /// First line, inner lines, last line.
    pub(crate) fn lines(code: u16, lines: impl IntoIterator<Item = Vec<u8>>) -> Self {
        Self {
            code,
            lines: lines.into_iter().collect(),
        }
    }

    /// Its code.
    #[cfg(test)]
    pub(crate) fn code(&self) -> u16 {
        self.code
    }

    /// What it says, for the log and the journal.
    pub(crate) fn text(&self) -> String {
        let lines: Vec<_> = self
            .lines
            .iter()
            .map(|line| String::from_utf8_lossy(line))
            .collect();
        lines.join(" ")
    }

    /// As it goes over the wire (RFC 959 s.4.2): inner lines begin with a space,
    /// so that none reads as the last one. Control bytes of names become `?`,
    /// and 255, which Telnet reserves, is doubled (F18).
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let last = self.lines.len().saturating_sub(1);
        for (index, line) in self.lines.iter().enumerate() {
            match (index == last, index == 0) {
                (true, _) => out.extend_from_slice(format!("{} ", self.code).as_bytes()),
                (false, true) => out.extend_from_slice(format!("{}-", self.code).as_bytes()),
                (false, false) => {
                    inner_line(&mut out, line);
                    continue;
                }
            }
            sanitised(&mut out, line);
        }
        out
    }

    /// The first line of a reply that is sent in pieces.
    pub(crate) fn begin(code: u16, line: &str) -> Vec<u8> {
        let mut out = format!("{code}-").into_bytes();
        sanitised(&mut out, line.as_bytes());
        out
    }

    /// Inner lines of a reply that is sent in pieces; it ends with [`Reply::encode`] of
    /// its last line.
    pub(crate) fn inner(lines: &[Vec<u8>]) -> Vec<u8> {
        let mut out = Vec::new();
        for line in lines {
            inner_line(&mut out, line);
        }
        out
    }
}

fn inner_line(out: &mut Vec<u8>, line: &[u8]) {
    if line.first() != Some(&b' ') {
        out.push(b' ');
    }
    sanitised(out, line);
}

fn sanitised(out: &mut Vec<u8>, line: &[u8]) {
    for byte in line {
        match byte {
            0..0x20 | 0x7f => out.push(b'?'),
            0xff => out.extend_from_slice(&[0xff, 0xff]),
            other => out.push(*other),
        }
    }
    out.extend_from_slice(b"\r\n");
}

/// What a fault of the depot becomes: one table, without a catch-all, so that
/// a new fault must be placed here. The sentence never tells what the account
/// may not know: no host path, no other account.
pub(crate) fn of_fault(error: &VfsError) -> Reply {
    let code = match error {
        VfsError::NotFound { .. }
        | VfsError::NotPermitted { .. }
        | VfsError::Held { .. }
        | VfsError::IsDirectory { .. }
        | VfsError::NotDirectory { .. }
        | VfsError::DirectoryNotEmpty { .. }
        | VfsError::TooManyEntries { .. } => 550,
        // RFC 959 s.4.2: 553 is for names; 550 also fits a name that is taken.
        VfsError::AlreadyExists { .. } => 550,
        VfsError::BadPath(_) => 553,
        VfsError::QuotaExceeded { .. } | VfsError::TooLarge => 552,
        VfsError::DiskFull => 452,
        VfsError::ReadOnlyStorage
        | VfsError::Storage { .. }
        | VfsError::HomesAway
        | VfsError::Database { .. } => 451,
        VfsError::Busy { .. } => 450,
        VfsError::Unsupported { .. } => 502,
        VfsError::SessionEnded => 421,
    };
    let sentence = match error {
        VfsError::BadPath(why) => format!("bad path: {why}"),
        VfsError::QuotaExceeded { .. } => {
            format!("{error}; delete files or ask the operator for more room")
        }
        VfsError::DiskFull => "the server's disk is full; tell its operator".to_owned(),
        VfsError::ReadOnlyStorage => {
            "the server's storage is read-only just now; tell its operator".to_owned()
        }
        VfsError::Storage { .. } | VfsError::HomesAway | VfsError::Database { .. } => {
            "the server could not do this; try again later".to_owned()
        }
        VfsError::DirectoryNotEmpty { .. } => format!("{error}; delete what it holds first"),
        VfsError::NotFound { .. }
        | VfsError::NotPermitted { .. }
        | VfsError::Held { .. }
        | VfsError::AlreadyExists { .. }
        | VfsError::IsDirectory { .. }
        | VfsError::NotDirectory { .. }
        | VfsError::TooLarge
        | VfsError::TooManyEntries { .. }
        | VfsError::Busy { .. }
        | VfsError::Unsupported { .. }
        | VfsError::SessionEnded => error.to_string(),
    };
    Reply::new(code, sentence)
}

/// A name in the quotes of 257 (RFC 959 appendix II): a quote is doubled.
pub(crate) fn quoted(path: &[u8]) -> Vec<u8> {
    let mut out = vec![b'"'];
    for byte in path {
        if *byte == b'"' {
            out.push(b'"');
        }
        out.push(*byte);
    }
    out.push(b'"');
    out
}

/// A time for people: to the second, in UTC.
pub(crate) fn second(at: Timestamp) -> String {
    jiff::Timestamp::from_microsecond(at.as_micros()).map_or_else(
        |_| at.to_string(),
        |at| at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
    )
}

/// Bytes for people: `17 bytes`, `1.5 MiB`.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [(u32, &str); 4] = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
    match UNITS.iter().find(|(bits, _)| bytes >> bits != 0) {
        Some((bits, unit)) => {
            let tenths = (u128::from(bytes) * 10) >> bits;
            format!("{}.{} {unit}", tenths / 10, tenths % 10)
        }
        None if bytes == 1 => "1 byte".to_owned(),
        None => format!("{bytes} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_and_several_are_framed() {
        assert_eq!(Reply::new(200, "fine").encode(), b"200 fine\r\n");
        let several = Reply::lines(
            211,
            [
                b"Features:".to_vec(),
                b" SIZE".to_vec(),
                b"211 x".to_vec(),
                b"End".to_vec(),
            ],
        );
        assert_eq!(
            several.encode(),
            b"211-Features:\r\n SIZE\r\n 211 x\r\n211 End\r\n"
        );
    }

    // F18: what a name holds forges no reply and no Telnet command.
    #[test]
    fn f18_names_in_replies_are_harmless() {
        assert_eq!(
            Reply::new(550, b"a\r\n230 in\xff".to_vec()).encode(),
            b"550 a??230 in\xff\xff\r\n"
        );
        assert_eq!(quoted(b"/a\"b"), b"\"/a\"\"b\"");
    }

    #[test]
    fn sizes_and_times_are_for_people() {
        assert_eq!(size(1), "1 byte");
        assert_eq!(size(1023), "1023 bytes");
        assert_eq!(size(1536), "1.5 KiB");
        assert_eq!(size(u64::MAX), "16777215.9 TiB");
        let at: Timestamp = "2026-11-21T04:05:06Z".parse().unwrap();
        assert_eq!(second(at), "2026-11-21 04:05:06 UTC");
    }

    #[test]
    fn faults_of_the_server_are_temporary_and_tell_nothing() {
        let reply = of_fault(&VfsError::HomesAway);
        assert_eq!(reply.code(), 451);
        assert!(!String::from_utf8(reply.encode()).unwrap().contains("mount"));
        assert_eq!(of_fault(&VfsError::DiskFull).code(), 452);
        let read_only = of_fault(&VfsError::ReadOnlyStorage);
        assert_eq!(read_only.code(), 451);
        let text = String::from_utf8(read_only.encode()).unwrap();
        assert!(text.contains("read-only"), "{text}");
        assert_eq!(
            of_fault(&VfsError::QuotaExceeded { quota_bytes: 1024 }).code(),
            552
        );
    }
}
