//! Addresses that fail too often: what a failure weighs, when it is forgotten, and who is
//! shut out.
//!
//! Each failure adds points to its address, in the transaction that tells the journal of it,
//! so all nodes count together; points go away with time. Whoever reaches
//! [`BanRules::score`] gets no banner for [`BanRules::span`]. While the database is away
//! nobody can be counted: then only addresses are let in from which somebody has logged in
//! (G02).

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use layover_retention::Timestamp;
use serde::Serialize;

use super::Reason;
use crate::{Network, NodeId};

/// Thousandths of a point.
pub(crate) const POINT: i64 = 1_000;

/// Bans that the gate keeps in memory, the youngest: more than that is an attack on the
/// list itself, and each network that is left out is still counted.
pub(crate) const MAX_BANS: usize = 50_000;

/// Addresses from which somebody has logged in that are remembered.
const MAX_KNOWN: usize = 10_000;

/// IPv6 addresses that one party usually has: it may choose any of them for each connection
/// (RFC 6177 s.2 gives sites more, single networks this).
const PREFIX_OF_ONE_V6: u8 = 64;

/// When an address is shut out.
#[derive(Clone, Debug)]
pub struct BanRules {
    /// Points until then: a wrong password is one.
    pub score: usize,
    /// How long; also the time in which all points are forgotten.
    pub span: Duration,
    /// Whose failures count for nothing, as those of a monitor.
    pub never: Vec<Network>,
}

impl BanRules {
    pub(crate) fn limit_milli(&self) -> i64 {
        i64::try_from(self.score)
            .unwrap_or(i64::MAX)
            .saturating_mul(POINT)
    }

    pub(super) fn spares(&self, peer: IpAddr) -> bool {
        self.never.iter().any(|network| network.contains(peer))
    }

    /// What is left of a score after this time: as much goes in each moment as makes the
    /// limit vanish in the span of a ban.
    pub(crate) fn decayed(&self, score_milli: i64, elapsed: Duration) -> i64 {
        let span = self.span.as_micros().max(1);
        let gone = elapsed
            .as_micros()
            .saturating_mul(self.limit_milli().unsigned_abs().into());
        let gone = i64::try_from(gone / span).unwrap_or(i64::MAX);
        score_milli.saturating_sub(gone).max(0)
    }
}

/// A failure to be counted.
#[derive(Clone, Debug)]
pub(crate) struct Offence {
    pub(crate) network: Network,
    pub(crate) weight_milli: i64,
    pub(crate) rules: BanRules,
    pub(crate) now: Timestamp,
    pub(crate) node: NodeId,
}

/// Somebody is shut out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Ban {
    /// Who: an address, or a network.
    pub network: Network,
    /// The operator who did it; `None`: it failed too often.
    pub owner: Option<String>,
    /// Why.
    pub reason: String,
    /// Since when.
    pub since: Timestamp,
    /// Until then; `None`: until somebody lifts it.
    pub until: Option<Timestamp>,
}

impl Ban {
    fn is_on(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

/// RFC 6052 s.2.1: behind these 96 bits stands an IPv4 address that came through a translator,
/// which all of its clients share.
const TRANSLATED_V4: [u16; 6] = [0x64, 0xff9b, 0, 0, 0, 0];

/// What of an address is counted together.
pub(crate) fn party(peer: IpAddr) -> Network {
    block_of(peer, 32, PREFIX_OF_ONE_V6)
}

/// The block around `peer` with a prefix of so many bits.
pub(super) fn block_of(peer: IpAddr, v4_bits: u8, v6_bits: u8) -> Network {
    let bits = match peer {
        IpAddr::V4(_) => v4_bits,
        IpAddr::V6(v6) if v6.segments().starts_with(&TRANSLATED_V4) => {
            v4_bits.saturating_add(128 - 32)
        }
        IpAddr::V6(_) => v6_bits,
    };
    let block = IpNet::new(peer, bits).unwrap_or_else(|_| IpNet::from(peer));
    Network::Block(block.trunc())
}

/// What a refused login weighs, in thousandths of a point: the same whatever the reason, or the
/// moment of the ban would tell which accounts there are (G03). A client without TLS, which is
/// refused whoever it names, is a partner's setting as often as a stranger's.
pub(super) const fn weight(reason: &Reason) -> i64 {
    match reason {
        Reason::WithoutTls => POINT / 2,
        // It has what it deserves, and no ban is to follow another. The other's proof was right.
        Reason::Banned | Reason::TooManySessions(_) => 0,
        _ => POINT,
    }
}

/// What of a peer that never came to a login weighs.
pub(super) const NO_LOGIN: i64 = POINT / 2;

/// Who is shut out and who is known, in memory: asked for each connection.
#[derive(Debug, Default)]
pub(super) struct BanBoard {
    /// Single addresses, and parties of IPv6.
    parties: HashMap<Network, Ban>,
    /// Wider networks; few, since operators write them.
    networks: Vec<Ban>,
    /// By party.
    known: HashMap<Network, Timestamp>,
    /// The database did not answer when it was asked last.
    is_blind: bool,
}

/// Why an address gets no banner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shut {
    Banned,
    Unknown,
}

impl BanBoard {
    pub(super) fn set(&mut self, bans: Vec<Ban>) {
        self.parties.clear();
        self.networks.clear();
        for ban in bans {
            self.add(ban);
        }
        self.is_blind = false;
    }

    pub(super) fn add(&mut self, ban: Ban) {
        let is_party = match ban.network {
            Network::Any => false,
            Network::Block(block) => party(block.addr()) == ban.network,
        };
        if is_party {
            self.parties.insert(ban.network, ban);
        } else {
            self.networks.push(ban);
        }
    }

    /// Whether somebody has logged in from there.
    pub(super) fn knows(&self, peer: IpAddr) -> bool {
        self.known.contains_key(&party(peer))
    }

    pub(super) fn set_blind(&mut self) {
        self.is_blind = true;
    }

    pub(super) fn know(&mut self, peer: IpAddr, now: Timestamp) {
        let party = party(peer);
        if self.known.len() >= MAX_KNOWN && !self.known.contains_key(&party) {
            let oldest = self.known.iter().min_by_key(|(_, at)| **at);
            if let Some(oldest) = oldest.map(|(party, _)| *party) {
                self.known.remove(&oldest);
            }
        }
        self.known.insert(party, now);
    }

    pub(super) fn count(&self, now: Timestamp) -> usize {
        let all = self.parties.values().chain(&self.networks);
        all.filter(|ban| ban.is_on(now)).count()
    }

    /// An operator's word counts for everybody, a score not for who is spared.
    pub(super) fn judge(&self, peer: IpAddr, rules: &BanRules, now: Timestamp) -> Result<(), Shut> {
        let counts = |ban: &&Ban| ban.is_on(now) && (ban.owner.is_some() || !rules.spares(peer));
        let by_party = self.parties.get(&party(peer)).filter(counts).is_some();
        let by_address = || {
            let exactly = Network::Block(IpNet::from(peer));
            self.parties.get(&exactly).filter(counts).is_some()
        };
        let by_network = || {
            let mut bans = self.networks.iter().filter(counts);
            bans.any(|ban| ban.network.contains(peer))
        };
        if by_party || by_address() || by_network() {
            return Err(Shut::Banned);
        }
        match self.is_blind && !self.knows(peer) {
            true => Err(Shut::Unknown),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn network(text: &str) -> Network {
        text.parse().unwrap()
    }

    fn rules() -> BanRules {
        BanRules {
            score: 15,
            span: Duration::from_secs(1_800),
            never: vec![network("192.0.2.0/24")],
        }
    }

    fn ban(text: &str, owner: Option<&str>, until: Option<i64>) -> Ban {
        Ban {
            network: network(text),
            owner: owner.map(ToOwned::to_owned),
            reason: "test".to_owned(),
            since: Timestamp::from_micros(0),
            until: until.map(Timestamp::from_micros),
        }
    }

    const NOW: Timestamp = Timestamp::from_micros(1_000);

    #[test]
    fn points_vanish_within_the_span_of_a_ban() {
        let rules = rules();
        let after = |seconds| rules.decayed(15 * POINT, Duration::from_secs(seconds));
        assert_eq!(after(0), 15_000);
        assert_eq!(after(120), 14_000);
        assert_eq!(after(1_799), 9);
        assert_eq!(after(1_800), 0);
        assert_eq!(after(u64::MAX), 0);
        let never = BanRules {
            score: usize::MAX,
            span: Duration::MAX,
            never: Vec::new(),
        };
        assert_eq!(never.decayed(5, Duration::from_secs(1)), 5);
    }

    #[test]
    fn an_address_counts_for_itself_and_one_of_ipv6_for_its_network() {
        assert_eq!(party(ip("198.51.100.7")), network("198.51.100.7"));
        assert_eq!(party(ip("2001:db8:1:2:3::4")), network("2001:db8:1:2::/64"));
        let translated = "64:ff9b::198.51.100.7";
        assert_eq!(party(ip(translated)), network(translated));
    }

    #[test]
    fn who_is_banned_is_shut_out_until_the_end_of_it() {
        let mut board = BanBoard::default();
        board.set(vec![
            ban("198.51.100.7", None, Some(2_000)),
            ban("2001:db8:1:2::/64", None, Some(2_000)),
            ban("203.0.113.0/24", Some("ops"), None),
        ]);
        let judge = |peer: &str, at| board.judge(ip(peer), &rules(), Timestamp::from_micros(at));
        for peer in ["198.51.100.7", "2001:db8:1:2:ffff::", "203.0.113.255"] {
            assert_eq!(judge(peer, 1_999), Err(Shut::Banned), "{peer}");
        }
        assert_eq!(judge("198.51.100.7", 2_000), Ok(()));
        assert_eq!(judge("203.0.113.1", i64::MAX), Err(Shut::Banned));
        assert_eq!(judge("198.51.100.8", 1_000), Ok(()));
        assert_eq!(judge("2001:db8:1:3::1", 1_000), Ok(()));
        assert_eq!(board.count(NOW), 3);
        assert_eq!(board.count(Timestamp::from_micros(2_000)), 1);
    }

    /// G02: a monitor that is spared is never shut out by its failures; an operator's word
    /// stands.
    #[test]
    fn g02_who_is_spared_is_shut_out_by_an_operator_alone() {
        let mut board = BanBoard::default();
        board.set(vec![ban("192.0.2.1", None, None)]);
        assert_eq!(board.judge(ip("192.0.2.1"), &rules(), NOW), Ok(()));
        board.add(ban("192.0.2.0/25", Some("ops"), None));
        assert_eq!(
            board.judge(ip("192.0.2.1"), &rules(), NOW),
            Err(Shut::Banned)
        );
        assert!(rules().spares(ip("192.0.2.1")));
    }

    /// G02: while nobody can be counted, strangers stay out and partners do not.
    #[test]
    fn g02_while_the_database_is_away_only_known_addresses_come_in() {
        let mut board = BanBoard::default();
        board.know(ip("198.51.100.7"), NOW);
        board.set_blind();
        board.know(ip("2001:db8::7"), NOW);
        assert_eq!(board.judge(ip("198.51.100.7"), &rules(), NOW), Ok(()));
        // Of IPv6 a /64 is one peer, which changes its address by itself.
        assert_eq!(board.judge(ip("2001:db8::8"), &rules(), NOW), Ok(()));
        for stranger in ["198.51.100.8", "2001:db8:0:1::7"] {
            let judged = board.judge(ip(stranger), &rules(), NOW);
            assert_eq!(judged, Err(Shut::Unknown), "{stranger}");
        }
        board.set(Vec::new());
        assert_eq!(board.judge(ip("198.51.100.8"), &rules(), NOW), Ok(()));
    }

    #[test]
    fn no_more_addresses_are_remembered_than_there_is_room_for() {
        let mut board = BanBoard::default();
        for number in 0..=u32::try_from(MAX_KNOWN).unwrap() {
            let at = Timestamp::from_micros(number.into());
            board.know(IpAddr::from(number.to_be_bytes()), at);
        }
        assert_eq!(board.known.len(), MAX_KNOWN);
        assert!(!board.knows(ip("0.0.0.0")), "the oldest goes");
    }
}
