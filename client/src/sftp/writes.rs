//! Which bytes of an upload are on their way, and up to where they have
//! arrived.
//!
//! Pure: no I/O.

use std::collections::{BTreeMap, HashMap};

use super::session::{MAX_OUTSTANDING, MAX_OUTSTANDING_BYTES};

/// One upload.
#[derive(Debug)]
pub(super) struct Writes {
    next_at: u64,
    arrived_to: u64,
    on_the_way: HashMap<u32, (u64, u64)>,
    /// Parts that arrived before one in front of them: offset and length.
    early: BTreeMap<u64, u64>,
}

impl Writes {
    pub(super) fn new(offset: u64) -> Self {
        Self {
            next_at: offset,
            arrived_to: offset,
            on_the_way: HashMap::new(),
            early: BTreeMap::new(),
        }
    }

    /// Where the next part goes.
    pub(super) fn next_at(&self) -> u64 {
        self.next_at
    }

    /// Whether a part of `bytes` more may be sent.
    pub(super) fn has_room(&self, bytes: u64) -> bool {
        self.on_the_way.is_empty()
            || (self.on_the_way.len() < MAX_OUTSTANDING
                && (self.next_at - self.arrived_to).saturating_add(bytes)
                    <= MAX_OUTSTANDING_BYTES as u64)
    }

    /// A part of `bytes` was sent with request `id`.
    pub(super) fn sent(&mut self, id: u32, bytes: u64) {
        self.on_the_way.insert(id, (self.next_at, bytes));
        self.next_at = self.next_at.saturating_add(bytes);
    }

    /// The part of request `id` arrived. Says by how many bytes the end of what
    /// arrived without a gap moved on; `None` when no such part was sent.
    pub(super) fn arrived(&mut self, id: u32) -> Option<u64> {
        let (offset, bytes) = self.on_the_way.remove(&id)?;
        self.early.insert(offset, bytes);
        let before = self.arrived_to;
        while let Some(bytes) = self.early.remove(&self.arrived_to) {
            self.arrived_to = self.arrived_to.saturating_add(bytes);
        }
        Some(self.arrived_to - before)
    }

    /// Every byte before this one arrived.
    pub(super) fn arrived_to(&self) -> u64 {
        self.arrived_to
    }

    /// Whether nothing is on its way.
    pub(super) fn is_idle(&self) -> bool {
        self.on_the_way.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_arrived_counts_up_to_the_first_gap() {
        let mut writes = Writes::new(100);
        for id in 1..=3 {
            writes.sent(id, 10);
        }
        assert_eq!(writes.arrived(2), Some(0));
        assert_eq!(writes.arrived_to(), 100);
        assert_eq!(writes.arrived(1), Some(20));
        assert_eq!(writes.arrived(1), None);
        assert_eq!(writes.arrived(3), Some(10));
        assert_eq!(writes.arrived_to(), 130);
        assert!(writes.is_idle());
    }

    #[test]
    fn what_is_on_its_way_is_limited_in_number_and_bytes() {
        let mut writes = Writes::new(0);
        for id in 0..MAX_OUTSTANDING {
            assert!(writes.has_room(1), "{id}");
            writes.sent(u32::try_from(id).unwrap(), 1);
        }
        assert!(!writes.has_room(1));

        let mut writes = Writes::new(0);
        writes.sent(1, MAX_OUTSTANDING_BYTES as u64 - 1);
        assert!(writes.has_room(1));
        assert!(!writes.has_room(2));
    }
}
