//! Some names of a directory, in the order of their bytes: a directory tells its names
//! in no order at all, and all of them at once may be many megabytes.

use std::collections::BTreeSet;

/// Keeps the first names behind one of them, as many as fit.
#[derive(Debug)]
pub(crate) struct FirstNames {
    after: Vec<u8>,
    most_bytes: usize,
    names: BTreeSet<Vec<u8>>,
    bytes: usize,
    more: bool,
    entries: usize,
}

impl FirstNames {
    /// Of those behind `after` (empty: from the beginning), at most so many bytes; one
    /// name fits always.
    pub(crate) fn new(after: Vec<u8>, most_bytes: usize) -> Self {
        Self {
            after,
            most_bytes,
            names: BTreeSet::new(),
            bytes: 0,
            more: false,
            entries: 0,
        }
    }

    /// The directory tells a name; twice is as good as once.
    pub(crate) fn offer(&mut self, name: &[u8]) {
        self.entries = self.entries.saturating_add(1);
        let is_behind = self
            .names
            .last()
            .is_some_and(|last| self.more && name > last.as_slice());
        if name <= self.after.as_slice() || is_behind || !self.names.insert(name.to_vec()) {
            return;
        }
        self.bytes = self.bytes.saturating_add(Names::room(name));
        while self.bytes > self.most_bytes
            && self.names.len() > 1
            && let Some(last) = self.names.pop_last()
        {
            self.bytes = self.bytes.saturating_sub(Names::room(&last));
            self.more = true;
        }
    }

    /// What was kept.
    pub(crate) fn finish(self) -> Names {
        let mut bytes = Vec::with_capacity(self.bytes);
        for name in &self.names {
            bytes.extend_from_slice(name);
            bytes.push(SEPARATOR);
        }
        Names {
            bytes,
            at: 0,
            more: self.more,
            entries: self.entries,
        }
    }
}

/// No name of a file system holds it.
const SEPARATOR: u8 = b'/';

/// Names in the order of their bytes, in one piece of memory.
#[derive(Debug, Default)]
pub(crate) struct Names {
    bytes: Vec<u8>,
    at: usize,
    more: bool,
    entries: usize,
}

impl Names {
    fn room(name: &[u8]) -> usize {
        name.len().saturating_add(1)
    }

    fn rest(&self) -> &[u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    /// Takes the first of them, at most so many.
    pub(crate) fn take(&mut self, most: usize) -> Vec<Vec<u8>> {
        let rest = self.rest().split(|byte| *byte == SEPARATOR);
        let taken: Vec<_> = rest
            .filter(|name| !name.is_empty())
            .take(most)
            .map(<[u8]>::to_vec)
            .collect();
        let room = taken.iter().map(|name| Self::room(name)).sum();
        self.at = self.at.saturating_add(room);
        taken
    }

    /// Whether all were taken.
    pub(crate) fn is_empty(&self) -> bool {
        self.rest().is_empty()
    }

    /// Whether the directory had more names than these.
    pub(crate) fn more(&self) -> bool {
        self.more
    }

    /// What the directory told, names that were asked for or not.
    pub(crate) fn entries(&self) -> usize {
        self.entries
    }

    /// Memory that they take.
    pub(crate) fn held_bytes(&self) -> usize {
        self.bytes.capacity()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        // However a directory tells its names, and however few fit at once.
        #[test]
        fn pieces_make_up_the_whole_in_order_and_each_name_once(
            told in prop::collection::vec("[a-c]{1,3}", 0..60),
            most_bytes in 0_usize..40,
            at_once in 1_usize..5,
        ) {
            let mut all: Vec<_> = told.iter().map(|name| name.as_bytes().to_vec()).collect();
            let mut found: Vec<Vec<u8>> = Vec::new();
            loop {
                let after = found.last().cloned().unwrap_or_default();
                let mut first = FirstNames::new(after, most_bytes);
                for name in &told {
                    first.offer(name.as_bytes());
                }
                let mut names = first.finish();
                prop_assert_eq!(names.entries(), told.len());
                prop_assert!(names.held_bytes() <= most_bytes.max(4));
                while !names.is_empty() {
                    found.extend(names.take(at_once));
                }
                if !names.more() {
                    break;
                }
            }
            all.sort();
            all.dedup();
            prop_assert_eq!(found, all);
        }
    }
}
