//! Signs are added up in memory, by whom they are of, and written together every few
//! seconds: a thousand healthy sessions cost a thousand additions and some rows.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use layover_retention::Timestamp;

use super::sign::{Clue, Sign, SignKey, SignWrite, Tally, Whose};
use crate::Network;
use crate::gate::party;

/// Tallies that wait to be written: of partners...
const MAX_WAITING: usize = 4_096;

/// ...and of strangers, who may be any number.
const MAX_WAITING_STRANGERS: usize = 512;

/// Rows that one transaction writes, so that it does not hold the database's one writer
/// for long; of them so many of strangers.
const MAX_WRITTEN: usize = 256;
const MAX_WRITTEN_STRANGERS: usize = 32;

/// Writings in which good signs wait: they change nothing for somebody with whom all is
/// well.
const GOOD_WAIT: u32 = 3;

/// Addresses from which somebody has logged in that are remembered.
const MAX_MET: usize = 10_000;

/// What this process has seen and not yet written.
#[derive(Debug, Default)]
pub(crate) struct SignBoard {
    state: Mutex<State>,
    /// Where partners come from; never `any`.
    partners: ArcSwap<Vec<Network>>,
}

#[derive(Debug, Default)]
struct State {
    waiting: HashMap<SignKey, (bool, Tally)>,
    strangers: usize,
    met: HashSet<Network>,
    writings: u32,
}

impl SignBoard {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where accounts may come from, from now on.
    pub(crate) fn set_networks(&self, networks: &[Network]) {
        let known = networks.iter().filter(|network| !network.is_any());
        self.partners.store(Arc::new(known.copied().collect()));
    }

    /// Adds what was seen. Nothing waits, nothing is written.
    pub(crate) fn see(&self, whose: &Whose, seen: Clue, at: Timestamp) {
        let key = SignKey::new(whose, seen.sign);
        let in_network = self.is_partners(whose.peer);
        let mut state = self.state();
        if seen.sign == Sign::LoggedIn {
            if state.met.len() >= MAX_MET {
                state.met.clear();
            }
            state.met.insert(party(whose.peer));
        }
        let is_known = in_network || state.met.contains(&party(whose.peer));
        if !state.waiting.contains_key(&key) {
            let is_full = state.waiting.len() >= MAX_WAITING
                || (!is_known && state.strangers >= MAX_WAITING_STRANGERS);
            if is_full {
                return;
            }
            state.strangers += usize::from(!is_known);
        }
        let good_before = match seen.sign.refuted_by() {
            Some(good) if !state.waiting.contains_key(&key) => {
                let good = state.waiting.get(&SignKey::new(whose, good));
                good.map_or(0, |(_, tally)| tally.times)
            }
            _ => 0,
        };
        let (_, tally) = state.waiting.entry(key).or_insert_with(|| {
            let tally = Tally {
                good_before,
                ..Tally::new(at)
            };
            (is_known, tally)
        });
        tally.times = tally.times.saturating_add(1);
        tally.last_at = tally.last_at.max(at);
        tally.detail.add(seen, at);
    }

    fn is_partners(&self, peer: IpAddr) -> bool {
        let partners = self.partners.load();
        partners.iter().any(|network| network.contains(peer))
    }

    /// What is to be written now, in the order of keys; `all`: nothing waits any longer.
    pub(crate) fn take(&self, all: bool) -> Vec<SignWrite> {
        let mut state = self.state();
        state.writings = state.writings.wrapping_add(1);
        let with_good = all || state.writings.is_multiple_of(GOOD_WAIT);
        let mut keys: Vec<_> = state
            .waiting
            .iter()
            .filter(|(key, _)| with_good || !key.sign.is_good())
            .map(|(key, (is_known, _))| (key.sign.is_good(), !is_known, key.clone()))
            .collect();
        // What is wrong comes first, and of that what partners see.
        keys.sort_unstable();
        let mut strangers = 0;
        keys.retain(|(_, is_stranger, _)| {
            strangers += usize::from(*is_stranger);
            !is_stranger || strangers <= MAX_WRITTEN_STRANGERS
        });
        keys.truncate(MAX_WRITTEN);
        let mut writes: Vec<SignWrite> = Vec::with_capacity(keys.len());
        for (_, is_stranger, key) in keys {
            if let Some((is_known, tally)) = state.waiting.remove(&key) {
                state.strangers -= usize::from(is_stranger);
                writes.push(SignWrite {
                    key,
                    is_known,
                    tally,
                });
            }
        }
        writes.sort_by(|one, other| one.key.cmp(&other.key));
        writes
    }

    /// What could not be written waits again, as far as there is room.
    pub(crate) fn put_back(&self, writes: Vec<SignWrite>) {
        let mut state = self.state();
        for write in writes {
            if let Some((_, tally)) = state.waiting.get_mut(&write.key) {
                let newer = std::mem::replace(tally, write.tally);
                tally.merge(newer);
            } else if write.is_known && state.waiting.len() < MAX_WAITING {
                let SignWrite { key, tally, .. } = write;
                state.waiting.insert(key, (true, tally));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Protocol;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_micros(second * 1_000_000)
    }

    fn whose(account: Option<&str>, number: u32) -> Whose {
        Whose {
            account: account.map(|name| name.parse().unwrap()),
            peer: IpAddr::V4((0x0A00_0000 + number).into()),
            protocol: Some(Protocol::Ftps),
        }
    }

    #[test]
    fn the_same_adds_up_and_good_signs_wait() {
        let board = SignBoard::default();
        for second in 0..100 {
            board.see(
                &whose(Some("alice"), 1),
                Clue::new(Sign::LoggedIn),
                at(second),
            );
        }
        board.see(&whose(None, 1), Clue::new(Sign::TlsVersion), at(7));
        let first = board.take(false);
        assert_eq!(first.len(), 1);
        assert_eq!(first[0].key.sign, Sign::TlsVersion);
        assert!(first[0].is_known, "somebody logged in from there");
        assert!(board.take(false).is_empty());
        let third = board.take(false);
        assert_eq!((third.len(), third[0].tally.times), (1, 100));
        assert_eq!(
            (third[0].tally.first_at, third[0].tally.last_at),
            (at(0), at(99))
        );
        assert!(board.take(true).is_empty());
    }

    #[test]
    fn strangers_have_little_room_and_leave_that_of_partners() {
        let board = SignBoard::default();
        board.set_networks(&["192.168.0.0/16".parse().unwrap(), Network::Any]);
        let refused = || Clue::new(Sign::AddressRefused);
        for number in 0..10_000 {
            board.see(&whose(None, number), refused(), at(0));
        }
        assert_eq!(board.state().waiting.len(), MAX_WAITING_STRANGERS);
        for number in 0..10_000 {
            let mut partner = whose(None, 0);
            partner.peer = IpAddr::V4((0xC0A8_0000 + number).into());
            board.see(&partner, refused(), at(0));
        }
        assert_eq!(board.state().waiting.len(), MAX_WAITING);
        let written = board.take(false);
        assert_eq!(written.len(), MAX_WRITTEN);
        assert!(written.iter().all(|write| write.is_known));
        let mut strangers = 0;
        loop {
            let written = board.take(false);
            let of_strangers = written.iter().filter(|write| !write.is_known).count();
            assert!(of_strangers <= MAX_WRITTEN_STRANGERS);
            strangers += of_strangers;
            if written.is_empty() {
                break;
            }
        }
        assert_eq!(strangers, MAX_WAITING_STRANGERS);
        assert_eq!(board.state().strangers, 0);
    }

    #[test]
    fn what_could_not_be_written_waits_again() {
        let board = SignBoard::default();
        let alice = whose(Some("alice"), 1);
        board.set_networks(&["10.0.0.0/8".parse().unwrap()]);
        board.see(&alice, Clue::new(Sign::DataHandshake).telling("old"), at(1));
        let writes = board.take(false);
        board.see(&alice, Clue::new(Sign::DataHandshake).telling("new"), at(5));
        board.put_back(writes);
        let writes = board.take(false);
        assert_eq!((writes.len(), writes[0].tally.times), (1, 2));
        assert_eq!(
            (writes[0].tally.first_at, writes[0].tally.last_at),
            (at(1), at(5))
        );
        assert_eq!(writes[0].tally.detail.told, ["old", "new"]);
    }
}
