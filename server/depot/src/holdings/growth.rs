//! How much the uploads in progress of each home hold together, so that
//! several at once cannot pass the quota that each alone would respect.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::HomeId;

/// Bytes of live uploads by home. Clones share one table; a home is in it
/// only while an upload of it holds something.
#[derive(Clone, Debug, Default)]
pub(crate) struct GrowthTable {
    homes: Arc<Mutex<HashMap<HomeId, u64>>>,
}

/// The share of one upload; given back when dropped.
#[derive(Debug)]
pub(crate) struct Growth {
    table: GrowthTable,
    home: HomeId,
    bytes: u64,
}

impl GrowthTable {
    /// An upload of `home` that holds nothing yet.
    pub(crate) fn of(&self, home: HomeId) -> Growth {
        Growth {
            table: self.clone(),
            home,
            bytes: 0,
        }
    }
}

impl Growth {
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Holds `bytes` from now on, whatever the quota says.
    pub(crate) fn set(&mut self, bytes: u64) {
        self.change(bytes, u64::MAX);
    }

    /// Holds `bytes` from now on, if all uploads of the home together stay
    /// within `room_bytes`.
    pub(crate) fn grow_to(&mut self, bytes: u64, room_bytes: u64) -> bool {
        self.change(bytes, room_bytes)
    }

    fn change(&mut self, bytes: u64, room_bytes: u64) -> bool {
        let mut homes = self
            .table
            .homes
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let others = homes
            .get(&self.home)
            .copied()
            .unwrap_or(0)
            .saturating_sub(self.bytes);
        let total = others.saturating_add(bytes);
        if total > room_bytes {
            return false;
        }
        if total == 0 {
            homes.remove(&self.home);
        } else {
            homes.insert(self.home, total);
        }
        self.bytes = bytes;
        true
    }
}

impl Drop for Growth {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_uploads_share_the_room_and_give_it_back() {
        let table = GrowthTable::default();
        let (mut one, mut two) = (table.of(HomeId(1)), table.of(HomeId(1)));
        assert!(one.grow_to(60, 100));
        assert!(!two.grow_to(41, 100));
        assert!(two.grow_to(40, 100));
        drop(one);
        assert!(two.grow_to(100, 100));
        assert!(!two.grow_to(101, 100));
        drop(two);
        assert!(table.homes.lock().unwrap().is_empty());
    }
}
