//! A server's replies (RFC 959 s.4.2), from bytes to values.

use bytes::BytesMut;

use crate::fault::RemoteFault;

/// Longest line of a reply. MLST answers with a path and its facts.
pub(super) const MAX_REPLY_LINE_BYTES: usize = 16 * 1024;
/// Lines of one reply. Real banners and FEAT have some dozens.
pub(super) const MAX_REPLY_LINES: usize = 1_000;
/// All lines of one reply together.
pub(super) const MAX_REPLY_BYTES: usize = 256 * 1024;

/// A whole reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reply {
    /// 100 to 659.
    pub(super) code: u16,
    /// Its lines without line ends; the code is cut off the first and last one.
    pub(super) lines: Vec<Vec<u8>>,
}

/// What stands in the place of a secret that a server repeated.
const HIDDEN: &[u8] = b"***";

impl Reply {
    /// The same without these bytes, wherever they stand.
    pub(super) fn without(&self, secret: &[u8]) -> Self {
        let clean = |line: &Vec<u8>| {
            let mut kept = Vec::with_capacity(line.len());
            let mut rest = line.as_slice();
            while let Some(first) = rest.first() {
                if !secret.is_empty() && rest.starts_with(secret) {
                    kept.extend_from_slice(HIDDEN);
                    rest = rest.get(secret.len()..).unwrap_or_default();
                } else {
                    kept.push(*first);
                    rest = rest.get(1..).unwrap_or_default();
                }
            }
            kept
        };
        Self {
            code: self.code,
            lines: self.lines.iter().map(clean).collect(),
        }
    }

    /// 1xx: another reply follows.
    pub(super) fn is_preliminary(&self) -> bool {
        (100..200).contains(&self.code)
    }

    /// 2xx.
    pub(super) fn is_positive(&self) -> bool {
        (200..300).contains(&self.code)
    }

    /// 3xx: more is asked for.
    pub(super) fn is_intermediate(&self) -> bool {
        (300..400).contains(&self.code)
    }

    /// The server does not know the command or not with these parameters.
    pub(super) fn is_unknown_command(&self) -> bool {
        matches!(self.code, 500 | 501 | 502 | 503 | 504 | 202)
    }

    /// The text of the first line.
    pub(super) fn first(&self) -> &[u8] {
        self.lines.first().map_or(&[], Vec::as_slice)
    }

    /// Code and text on one line, for people.
    pub(super) fn words(&self) -> String {
        let mut words = self.code.to_string();
        for line in &self.lines {
            words.push(' ');
            words.push_str(String::from_utf8_lossy(line).trim());
            if words.len() > crate::fault::RemoteError::MAX_SERVER_WORDS {
                break;
            }
        }
        words
    }

    /// All text in lower case, to look for phrases in.
    pub(super) fn folded(&self) -> String {
        let mut text = self.words();
        text.make_ascii_lowercase();
        text
    }
}

/// Puts lines together to replies. It survives being interrupted anywhere.
#[derive(Debug, Default)]
pub(super) struct ReplyReader {
    code: Option<u16>,
    lines: Vec<Vec<u8>>,
    bytes: usize,
}

impl ReplyReader {
    /// Takes the next whole reply out of `inbox`, or all lines that are there.
    ///
    /// # Errors
    /// When a limit is passed, or a line that begins a reply has no code.
    pub(super) fn next(&mut self, inbox: &mut BytesMut) -> Result<Option<Reply>, RemoteFault> {
        loop {
            let Some(end) = inbox.iter().position(|byte| *byte == b'\n') else {
                return if inbox.len() > MAX_REPLY_LINE_BYTES {
                    Err(over("the length of a reply's line", MAX_REPLY_LINE_BYTES))
                } else {
                    Ok(None)
                };
            };
            let line = inbox.split_to(end + 1);
            let line = line.strip_suffix(b"\n").unwrap_or(&line);
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if let Some(reply) = self.line(line)? {
                return Ok(Some(reply));
            }
        }
    }

    fn line(&mut self, line: &[u8]) -> Result<Option<Reply>, RemoteFault> {
        if line.len() > MAX_REPLY_LINE_BYTES {
            return Err(over("the length of a reply's line", MAX_REPLY_LINE_BYTES));
        }
        self.bytes += line.len();
        if self.bytes > MAX_REPLY_BYTES {
            return Err(over("the length of a reply", MAX_REPLY_BYTES));
        }
        if self.lines.len() >= MAX_REPLY_LINES {
            return Err(over("the number of a reply's lines", MAX_REPLY_LINES));
        }
        let (code, follows, text) = match coded(line) {
            Some(parts) => parts,
            // Between the first and the last line anything may stand.
            None if self.code.is_some() => (0, true, line),
            None if line.is_empty() => return Ok(None),
            None => {
                return Err(RemoteFault::Protocol {
                    detail: "a reply without a code".to_owned(),
                });
            }
        };
        match self.code {
            None if follows => {
                self.code = Some(code);
                self.lines.push(text.to_vec());
                Ok(None)
            }
            None => Ok(Some(self.finish(code, text))),
            Some(first) if code == first && !follows => Ok(Some(self.finish(code, text))),
            // A line with the same code and a hyphen, or with another code, is text.
            Some(first) if code == first => {
                self.lines.push(text.to_vec());
                Ok(None)
            }
            Some(_) => {
                self.lines.push(line.to_vec());
                Ok(None)
            }
        }
    }

    fn finish(&mut self, code: u16, last: &[u8]) -> Reply {
        let mut lines = std::mem::take(&mut self.lines);
        lines.push(last.to_vec());
        *self = Self::default();
        Reply { code, lines }
    }
}

/// Code, whether lines follow, and text.
fn coded(line: &[u8]) -> Option<(u16, bool, &[u8])> {
    let (code, rest) = line.split_at_checked(3)?;
    if !code.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let code: u16 = std::str::from_utf8(code).ok()?.parse().ok()?;
    if !(100..660).contains(&code) {
        return None;
    }
    match rest.split_first() {
        None => Some((code, false, rest)),
        Some((b' ', text)) => Some((code, false, text)),
        Some((b'-', text)) => Some((code, true, text)),
        Some(_) => None,
    }
}

fn over(what: &'static str, limit: usize) -> RemoteFault {
    RemoteFault::OverLimit {
        what,
        limit: limit as u64,
    }
}

#[cfg(test)]
mod tests;
