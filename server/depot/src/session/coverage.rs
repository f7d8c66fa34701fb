//! Which bytes of a file have passed: an upload's contiguous beginning, a
//! download's completeness.

use std::collections::BTreeMap;

/// Separate pieces remembered at once. Clients have at most a few hundred
/// requests on the way; what comes beyond counts as not passed.
const MAX_PIECES: usize = 4_096;

/// The bytes that passed, in whatever order they came.
#[derive(Debug, Default)]
pub(super) struct Coverage {
    /// Everything before this offset has passed.
    contiguous: u64,
    /// Pieces behind the first gap: start -> end.
    pieces: BTreeMap<u64, u64>,
}

impl Coverage {
    /// Everything up to `size_bytes` has passed already.
    pub(super) fn up_to(size_bytes: u64) -> Coverage {
        Coverage {
            contiguous: size_bytes,
            pieces: BTreeMap::new(),
        }
    }

    /// Bytes from the start without a gap.
    pub(super) fn contiguous(&self) -> u64 {
        self.contiguous
    }

    /// The bytes `start..end` have passed.
    pub(super) fn add(&mut self, start: u64, end: u64) {
        if end <= self.contiguous || start >= end {
            return;
        }
        if start > self.contiguous {
            if self.pieces.len() < MAX_PIECES {
                let known = self.pieces.entry(start).or_insert(end);
                *known = (*known).max(end);
            }
            return;
        }
        self.contiguous = end;
        while let Some((&start, &end)) = self.pieces.first_key_value() {
            if start > self.contiguous {
                break;
            }
            self.contiguous = self.contiguous.max(end);
            self.pieces.pop_first();
        }
    }

    /// The file was cut to, or padded to, this size.
    pub(super) fn set_len(&mut self, size_bytes: u64) {
        if size_bytes <= self.contiguous {
            *self = Coverage::up_to(size_bytes);
            return;
        }
        self.pieces.retain(|start, end| {
            *end = (*end).min(size_bytes);
            *start < size_bytes
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_in_any_order_become_one() {
        let mut coverage = Coverage::default();
        coverage.add(20, 30);
        coverage.add(10, 20);
        assert_eq!(coverage.contiguous(), 0);
        coverage.add(0, 10);
        assert_eq!(coverage.contiguous(), 30);
    }

    #[test]
    fn a_gap_is_never_counted() {
        let mut coverage = Coverage::default();
        coverage.add(0, 10);
        coverage.add(11, 20);
        assert_eq!(coverage.contiguous(), 10);
        coverage.set_len(15);
        coverage.add(10, 11);
        assert_eq!(coverage.contiguous(), 15);
    }

    #[test]
    fn one_piece_too_many_counts_as_a_gap() {
        for (pieces, whole) in [(MAX_PIECES as u64, true), (MAX_PIECES as u64 + 1, false)] {
            let mut coverage = Coverage::default();
            for piece in 1..=pieces {
                coverage.add(piece * 2, piece * 2 + 1);
            }
            coverage.add(0, 2);
            for gap in 1..pieces {
                coverage.add(gap * 2 + 1, gap * 2 + 2);
            }
            assert_eq!(coverage.contiguous() == pieces * 2 + 1, whole);
        }
    }
}
