//! From bytes to command lines: ends of lines, the limit, Telnet's sequences.
//!
//! Pure: bytes in, lines out. Whatever a peer sends, at most
//! [`MAX_LINE_BYTES`] of an unfinished line and one read's bytes are held.

use std::mem;

/// Longest command line, in bytes, without its end: the longest path
/// (4,096) would not fit with its verb, and no client sends one.
pub const MAX_LINE_BYTES: usize = 4096;

/// Telnet's bytes (RFC 854).
const SUBNEGOTIATION_END: u8 = 0xf0;
const SUBNEGOTIATION: u8 = 0xfa;
const WILL: u8 = 0xfb;
const DONT: u8 = 0xfe;
const IAC: u8 = 0xff;

/// A line longer than [`MAX_LINE_BYTES`]: answered with 500, and the connection
/// ends, because nobody knows where the next command begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a command line may hold {MAX_LINE_BYTES} bytes")]
pub struct LineTooLong;

/// Where a Telnet sequence stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Telnet {
    #[default]
    Data,
    /// After IAC.
    Command,
    /// After IAC and WILL, WONT, DO or DONT: one more byte belongs to it.
    Option,
}

/// Gathers command lines.
#[derive(Debug, Default)]
pub struct LineReader {
    line: Vec<u8>,
    telnet: Telnet,
}

impl LineReader {
    /// Takes bytes from the front of `input` up to the end of a line. `None`
    /// when all were taken and the line goes on.
    ///
    /// # Errors
    /// [`LineTooLong`]; give the connection up.
    pub fn take(&mut self, input: &mut &[u8]) -> Result<Option<Vec<u8>>, LineTooLong> {
        while let Some((byte, rest)) = input.split_first() {
            *input = rest;
            match mem::take(&mut self.telnet) {
                Telnet::Data if *byte == IAC => self.telnet = Telnet::Command,
                Telnet::Data if *byte == b'\n' => {
                    let mut line = mem::take(&mut self.line);
                    line.pop_if(|last| *last == b'\r');
                    return Ok(Some(line));
                }
                Telnet::Data => self.push(*byte)?,
                // RFC 959 s.4.1: IP and DM before ABOR; they and all others
                // say nothing that the command does not.
                Telnet::Command => match *byte {
                    IAC => self.push(IAC)?,
                    WILL..=DONT => self.telnet = Telnet::Option,
                    SUBNEGOTIATION_END..=SUBNEGOTIATION => {}
                    // No Telnet: a client that sends Latin-1 as it is.
                    other => {
                        self.push(IAC)?;
                        self.take_plain(other)?;
                        if other == b'\n' {
                            let mut line = mem::take(&mut self.line);
                            line.pop_if(|last| *last == b'\r');
                            return Ok(Some(line));
                        }
                    }
                },
                Telnet::Option => {}
            }
        }
        Ok(None)
    }

    /// Whether a line has begun and not ended.
    #[must_use]
    pub fn is_within_line(&self) -> bool {
        !self.line.is_empty() || self.telnet != Telnet::Data
    }

    fn take_plain(&mut self, byte: u8) -> Result<(), LineTooLong> {
        if byte == b'\n' {
            return Ok(());
        }
        self.push(byte)
    }

    fn push(&mut self, byte: u8) -> Result<(), LineTooLong> {
        // One more for the CR of its end.
        let limit = MAX_LINE_BYTES.saturating_add(usize::from(byte == b'\r'));
        if self.line.len() >= limit {
            return Err(LineTooLong);
        }
        self.line.push(byte);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(pieces: &[&[u8]]) -> Vec<Vec<u8>> {
        let mut reader = LineReader::default();
        let mut lines = Vec::new();
        for piece in pieces {
            let mut input = *piece;
            while let Some(line) = reader.take(&mut input).unwrap() {
                lines.push(line);
            }
        }
        lines
    }

    #[test]
    fn lines_end_with_crlf_or_lf_wherever_the_pieces_are_cut() {
        assert_eq!(
            lines(&[b"NOOP\r", b"\nPW", b"D\nQUIT\r\n"]),
            [b"NOOP".to_vec(), b"PWD".to_vec(), b"QUIT".to_vec()]
        );
    }

    // F03: old clients announce ABOR with IAC IP IAC DM.
    #[test]
    fn telnet_sequences_are_taken_out_and_an_escaped_255_stays() {
        assert_eq!(lines(&[b"\xff\xf4\xff\xf2ABOR\r\n"]), [b"ABOR".to_vec()]);
        assert_eq!(
            lines(&[b"\xff\xfb\x01NO\xff", b"\xf1OP\n"]),
            [b"NOOP".to_vec()]
        );
        assert_eq!(lines(&[b"DELE a\xff\xffb\n"]), [b"DELE a\xffb".to_vec()]);
        assert_eq!(
            lines(&[b"DELE a\xffb\xff\n"]),
            [b"DELE a\xffb\xff".to_vec()]
        );
    }

    // F09: 200 MiB without a newline.
    #[test]
    fn the_limit_of_a_line_holds_just_below_and_just_above() {
        let longest = [&vec![b'x'; MAX_LINE_BYTES][..], b"\r\n"].concat();
        assert_eq!(lines(&[&longest])[0].len(), MAX_LINE_BYTES);
        let longer = vec![b'x'; MAX_LINE_BYTES + 1];
        assert_eq!(
            LineReader::default().take(&mut &longer[..]),
            Err(LineTooLong)
        );
    }
}
