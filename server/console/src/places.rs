//! Places for connections: who says nothing gives way to who comes.
//!
//! Anybody who reaches the port can open connections and be silent. Were a new one
//! refused then, a few such peers would keep every health probe out.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

use crate::serve::MAX_CONNECTIONS;

/// All places of a listener. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Places(Arc<Mutex<Taken>>);

#[derive(Debug, Default)]
struct Taken {
    next: u64,
    /// By their order: the first is the oldest.
    places: BTreeMap<u64, Holder>,
}

#[derive(Debug)]
struct Holder {
    has_asked: bool,
    gives_way: CancellationToken,
}

/// A place; free again when it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    places: Places,
    number: u64,
    /// Whoever holds it must go.
    pub(crate) gives_way: CancellationToken,
}

impl Places {
    /// A place, if need be that of the connection that has been silent for the longest;
    /// none when every one has asked for something.
    pub(crate) fn take(&self) -> Option<Place> {
        let mut taken = self.taken();
        if taken.places.len() >= MAX_CONNECTIONS {
            let mut each = taken.places.iter();
            let (silent, _) = each.find(|(_, holder)| !holder.has_asked)?;
            let silent = *silent;
            if let Some(holder) = taken.places.remove(&silent) {
                holder.gives_way.cancel();
            }
        }
        let number = taken.next;
        taken.next = number.wrapping_add(1);
        let gives_way = CancellationToken::new();
        let holder = Holder {
            has_asked: false,
            gives_way: gives_way.clone(),
        };
        taken.places.insert(number, holder);
        Some(Place {
            places: self.clone(),
            number,
            gives_way,
        })
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// A whole request has come: it stays until it has its answer.
    pub(crate) fn has_asked(&self) {
        if let Some(holder) = self.places.taken().places.get_mut(&self.number) {
            holder.has_asked = true;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.taken().places.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_that_has_been_silent_for_the_longest_gives_way() {
        let places = Places::default();
        let held: Vec<_> = (0..MAX_CONNECTIONS)
            .map(|_| places.take().unwrap())
            .collect();
        held[0].has_asked();
        let new = places.take().unwrap();
        let gone: Vec<_> = held.iter().map(|at| at.gives_way.is_cancelled()).collect();
        assert!(
            !gone[0] && gone[1] && !gone[2..].contains(&true),
            "{gone:?}"
        );
        assert!(!new.gives_way.is_cancelled());
        // The one that gave way frees no place when it ends.
        drop(held);
        assert_eq!(places.taken().places.len(), 1);
    }

    #[test]
    fn who_has_asked_keeps_the_place() {
        let places = Places::default();
        let mut held = Vec::new();
        for _ in 0..MAX_CONNECTIONS {
            let place = places.take().unwrap();
            place.has_asked();
            held.push(place);
        }
        assert!(places.take().is_none());
        held.pop();
        assert!(places.take().is_some());
    }
}
