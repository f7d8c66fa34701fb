//! A command line (RFC 959 s.5.3), from values to bytes.

use zeroize::Zeroizing;

use crate::path::RemotePath;
use layover_depot::Secret;

/// TELNET's escape byte: RFC 959 s.5.3.1 has it doubled where it is data.
const IAC: u8 = 0xff;

/// A line that is ready to be sent. Zeroed on drop: it may hold a password.
pub(super) struct Command {
    verb: &'static str,
    line: Zeroizing<Vec<u8>>,
}

impl Command {
    /// A verb alone.
    pub(super) fn bare(verb: &'static str) -> Self {
        Self::of(verb, None)
    }

    /// A verb with text that we made: numbers, addresses, options.
    pub(super) fn with(verb: &'static str, text: &str) -> Self {
        Self::of(verb, Some(text.as_bytes()))
    }

    /// A verb with a path. [`RemotePath`] has no byte that would end the line.
    pub(super) fn path(verb: &'static str, path: &RemotePath) -> Self {
        Self::of(verb, Some(path.as_bytes()))
    }

    /// A verb with a user name or password; `None` when it has a byte that
    /// would end the line.
    pub(super) fn secret(verb: &'static str, secret: &Secret) -> Option<Self> {
        let bytes = secret.expose();
        let ends = |byte: &u8| matches!(byte, b'\r' | b'\n' | b'\0');
        (!bytes.iter().any(ends)).then(|| Self::of(verb, Some(bytes)))
    }

    fn of(verb: &'static str, argument: Option<&[u8]>) -> Self {
        // Room for every byte doubled: a vector that grows would leave copies behind.
        let room = verb.len() + 3 + 2 * argument.map_or(0, <[u8]>::len);
        let mut line = Zeroizing::new(Vec::with_capacity(room));
        line.extend_from_slice(verb.as_bytes());
        if let Some(argument) = argument {
            line.push(b' ');
            for &byte in argument {
                // A byte that would end the line cannot come here; should it, it is left out.
                if matches!(byte, b'\r' | b'\n' | b'\0') {
                    continue;
                }
                if byte == IAC {
                    line.push(IAC);
                }
                line.push(byte);
            }
        }
        line.extend_from_slice(b"\r\n");
        Self { verb, line }
    }

    pub(super) fn verb(&self) -> &'static str {
        self.verb
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.line
    }
}

/// Makes one IAC of two in text that came over the control connection.
pub(super) fn unescaped(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut bytes = text.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        if byte == IAC {
            bytes.next_if_eq(&IAC);
        }
        plain.push(byte);
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_sent_as_they_are_and_iac_doubled() {
        let path = RemotePath::new(b"/in/caf\xe9 \xff.csv").unwrap();
        let command = Command::path("RETR", &path);
        assert_eq!(command.bytes(), b"RETR /in/caf\xe9 \xff\xff.csv\r\n");
        assert_eq!(unescaped(b"a\xff\xffb\xff"), b"a\xffb\xff");
        assert_eq!(Command::bare("NOOP").bytes(), b"NOOP\r\n");
    }

    #[test]
    fn a_password_cannot_smuggle_in_a_command() {
        for (password, good) in [("x y", true), ("a\r\nDELE b", false), ("a\0", false)] {
            assert_eq!(
                Command::secret("PASS", &Secret::new(password)).is_some(),
                good
            );
        }
    }
}
