//! A listing's bytes, cut into lines.

use std::ops::ControlFlow;

use bytes::BytesMut;

use crate::fault::RemoteFault;

/// Longest line of a listing: a name and its facts.
pub(crate) const MAX_LISTING_LINE_BYTES: usize = 8 * 1024;
/// A whole listing: about a million files.
pub(crate) const MAX_LISTING_BYTES: u64 = 128 * 1024 * 1024;

/// Collects bytes and gives lines without their ends.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    rest: BytesMut,
    total: u64,
    /// How much of `rest` is in `total`.
    counted: usize,
}

impl Lines {
    /// Where the next bytes are read into, and room for them.
    pub(crate) fn buffer(&mut self, room: usize) -> &mut BytesMut {
        self.rest.reserve(room);
        &mut self.rest
    }

    /// Counts bytes that came.
    ///
    /// # Errors
    /// When the listing grows over [`MAX_LISTING_BYTES`].
    fn came(&mut self, bytes: usize) -> Result<(), RemoteFault> {
        self.total += bytes as u64;
        if self.total > MAX_LISTING_BYTES {
            return Err(RemoteFault::OverLimit {
                what: "the length of a listing",
                limit: MAX_LISTING_BYTES,
            });
        }
        Ok(())
    }

    /// Counts the bytes that came since the last call and gives the whole lines
    /// to `take`, until it breaks.
    pub(crate) fn drain(
        &mut self,
        is_over: bool,
        take: &mut (dyn FnMut(&[u8]) -> ControlFlow<()> + Send),
    ) -> Result<ControlFlow<()>, RemoteFault> {
        self.came(self.rest.len().saturating_sub(self.counted))?;
        while let Some(line) = self.next(is_over)? {
            if take(&line).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        self.counted = self.rest.len();
        Ok(ControlFlow::Continue(()))
    }

    /// The next whole line; with `is_over` also what is left.
    ///
    /// # Errors
    /// When a line is longer than [`MAX_LISTING_LINE_BYTES`].
    fn next(&mut self, is_over: bool) -> Result<Option<BytesMut>, RemoteFault> {
        let mut line = match self.rest.iter().position(|byte| *byte == b'\n') {
            Some(end) => {
                let mut line = self.rest.split_to(end + 1);
                line.truncate(end);
                line
            }
            None if is_over && !self.rest.is_empty() => self.rest.split(),
            None if self.rest.len() <= MAX_LISTING_LINE_BYTES + 1 => return Ok(None),
            None => return Err(too_long()),
        };
        if line.last() == Some(&b'\r') {
            line.truncate(line.len() - 1);
        }
        if line.len() > MAX_LISTING_LINE_BYTES {
            return Err(too_long());
        }
        Ok(Some(line))
    }
}

fn too_long() -> RemoteFault {
    RemoteFault::OverLimit {
        what: "the length of a listing's line",
        limit: MAX_LISTING_LINE_BYTES as u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(bytes: &[u8]) -> Lines {
        let mut lines = Lines::default();
        lines.buffer(bytes.len()).extend_from_slice(bytes);
        lines
    }

    #[test]
    fn lines_are_cut_at_their_ends_and_the_last_may_have_none() {
        let mut lines = of(b"a\r\nb\n\r\nlast");
        let mut next = |over| lines.next(over).unwrap().map(|line| line.to_vec());
        assert_eq!(next(false), Some(b"a".to_vec()));
        assert_eq!(next(false), Some(b"b".to_vec()));
        assert_eq!(next(false), Some(Vec::new()));
        assert_eq!(next(false), None);
        assert_eq!(next(true), Some(b"last".to_vec()));
        assert_eq!(next(true), None);
    }

    #[test]
    fn a_line_is_limited_with_and_without_an_end() {
        let full = vec![b'x'; MAX_LISTING_LINE_BYTES];
        let over = vec![b'x'; MAX_LISTING_LINE_BYTES + 1];
        for end in ["\r\n", ""] {
            let line = |content: &[u8]| of(&[content, end.as_bytes()].concat()).next(true);
            assert_eq!(line(&full).unwrap().unwrap().len(), MAX_LISTING_LINE_BYTES);
            assert!(matches!(line(&over), Err(RemoteFault::OverLimit { .. })));
        }
        let endless = vec![b'x'; MAX_LISTING_LINE_BYTES + 2];
        assert!(matches!(
            of(&endless).next(false),
            Err(RemoteFault::OverLimit { .. })
        ));
    }

    #[test]
    fn a_listing_is_limited_as_a_whole() {
        let mut lines = Lines::default();
        let limit = usize::try_from(MAX_LISTING_BYTES).unwrap();
        assert_eq!(lines.came(limit), Ok(()));
        assert!(matches!(lines.came(1), Err(RemoteFault::OverLimit { .. })));
    }
}
