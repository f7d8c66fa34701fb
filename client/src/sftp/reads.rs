//! Which parts of a file are asked for next, and which come next in order.
//!
//! Pure: no I/O. Requests overtake each other, servers give less than they were
//! asked for, files end elsewhere than their size says.

use std::collections::{BTreeMap, HashMap, VecDeque};

use bytes::Bytes;

use super::session::{MAX_OUTSTANDING, MAX_OUTSTANDING_BYTES};

/// Requests that are outstanding at first; each answer allows one more.
const FIRST_OUTSTANDING: usize = 16;

/// Requests do not become smaller than this, in bytes, however little a server
/// gives.
const SMALLEST_BYTES: u32 = 4 * 1024;

/// A part of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) offset: u64,
    pub(super) length: u32,
}

/// A reply that no server may give.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadRead {
    #[error("a reply to no request for content")]
    Unasked,
    #[error("content of no bytes")]
    Empty,
    #[error("more content than was asked for")]
    TooMuch,
}

/// One download.
#[derive(Debug)]
pub(super) struct Reads {
    /// What was never asked for begins here.
    ask_at: u64,
    /// What is delivered next begins here.
    deliver_at: u64,
    /// Where the file ends, as far as the server said.
    end: Option<u64>,
    /// Where its size says that it ends.
    size: Option<u64>,
    length: u32,
    allowed: usize,
    asked: HashMap<u32, Part>,
    /// What short answers left out.
    missing: VecDeque<Part>,
    /// What came before its turn.
    early: BTreeMap<u64, Bytes>,
}

impl Reads {
    /// From `offset` on, in requests of `length` bytes.
    pub(super) fn new(offset: u64, length: u32) -> Self {
        Self {
            ask_at: offset,
            deliver_at: offset,
            end: None,
            size: None,
            length,
            allowed: FIRST_OUTSTANDING,
            asked: HashMap::new(),
            missing: VecDeque::new(),
            early: BTreeMap::new(),
        }
    }

    /// The file's size, which saves requests behind its end.
    pub(super) fn expect_size(&mut self, bytes: u64) {
        self.size = Some(bytes);
    }

    /// What to ask for next; `None` when nothing, for now. It must be told to
    /// [`Reads::ask`].
    pub(super) fn next(&mut self) -> Option<Part> {
        if self.asked.len() >= self.allowed {
            return None;
        }
        while let Some(part) = self.missing.pop_front() {
            if self.end.is_none_or(|end| part.offset < end) {
                return Some(part);
            }
        }
        let part = Part {
            offset: self.ask_at,
            length: self.length,
        };
        if self.end.is_some_and(|end| part.offset >= end) {
            return None;
        }
        let waiting = part.offset.saturating_sub(self.deliver_at);
        if waiting.saturating_add(u64::from(part.length)) > MAX_OUTSTANDING_BYTES as u64
            && waiting > 0
        {
            return None;
        }
        // Behind the size one request asks for the end and no more.
        let behind = |offset: u64| self.size.is_some_and(|size| offset >= size);
        if behind(part.offset) && self.asked.values().any(|asked| behind(asked.offset)) {
            return None;
        }
        self.ask_at = self.ask_at.saturating_add(u64::from(part.length));
        Some(part)
    }

    /// `part` was asked for with request `id`.
    pub(super) fn ask(&mut self, id: u32, part: Part) {
        self.asked.insert(id, part);
    }

    /// Content arrived.
    pub(super) fn content(&mut self, id: u32, content: Bytes) -> Result<(), BadRead> {
        let part = self.asked.remove(&id).ok_or(BadRead::Unasked)?;
        let got = u32::try_from(content.len()).map_err(|_| BadRead::TooMuch)?;
        if got == 0 {
            return Err(BadRead::Empty);
        }
        if got > part.length {
            return Err(BadRead::TooMuch);
        }
        self.allowed = (self.allowed + 1).min(MAX_OUTSTANDING);
        let after = part.offset.saturating_add(u64::from(got));
        if self.size.is_some_and(|size| after > size) {
            // It has grown since: its size says nothing any more.
            self.size = None;
        }
        if got < part.length {
            self.missing.push_back(Part {
                offset: after,
                length: part.length - got,
            });
            if self.size.is_none_or(|size| after < size) {
                // The server gives no more at once, so more is not asked for.
                self.length = self.length.min(got.max(SMALLEST_BYTES));
            }
        }
        self.early.insert(part.offset, content);
        Ok(())
    }

    /// The file ends at or before the part of request `id`.
    pub(super) fn end_of_file(&mut self, id: u32) -> Result<(), BadRead> {
        let part = self.asked.remove(&id).ok_or(BadRead::Unasked)?;
        let end = self.end.map_or(part.offset, |end| end.min(part.offset));
        self.end = Some(end);
        self.early.retain(|&offset, _| offset < end);
        Ok(())
    }

    /// The content that is next in order, when it is there.
    pub(super) fn deliver(&mut self) -> Option<Bytes> {
        let content = self.early.remove(&self.deliver_at)?;
        self.deliver_at = self
            .deliver_at
            .saturating_add(u64::try_from(content.len()).unwrap_or(u64::MAX));
        Some(content)
    }

    /// Whether everything up to the end is delivered.
    pub(super) fn is_done(&self) -> bool {
        self.end.is_some_and(|end| self.deliver_at >= end)
    }

    /// Where the next content would begin.
    pub(super) fn delivered_to(&self) -> u64 {
        self.deliver_at
    }
}

#[cfg(test)]
mod tests;
