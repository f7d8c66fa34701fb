//! Who may have a banner: by address, and by what is free.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use std::time::Duration;

use arc_swap::ArcSwap;
use layover_retention::Timestamp;

use super::bans::{Ban, BanBoard, BanRules, Shut, block_of, party};
use crate::Network;
use crate::timer::Stopwatch;

/// A peer that stays so long without a login has held a place that others wait for.
const LINGERS: Duration = Duration::from_secs(10);

/// Such peers that wait to be counted; further ones go free.
const MAX_LINGERED: usize = 1_000;

/// In which time an address may open [`GateOptions::connection_rate`] connections.
const RATE_PER: Duration = Duration::from_secs(60);

/// Addresses whose pace is remembered. Beyond that those are forgotten whose bucket is the
/// emptiest: an attacker with so many addresses is held by the other limits.
const MAX_PACES: usize = 50_000;

/// The gate's settings.
#[derive(Clone, Debug)]
pub struct GateOptions {
    /// Where not empty, only these addresses get a banner, and of them only
    /// those that an account allows.
    pub allow: Vec<Network>,
    /// These addresses get none, whatever accounts allow.
    pub deny: Vec<Network>,
    /// Connections in all.
    pub max_connections: usize,
    /// Connections from one address.
    pub max_connections_per_address: usize,
    /// Connections from one network: a /24 of IPv4, a /48 of IPv6.
    pub max_connections_per_network: usize,
    /// New connections from one address within a minute, and at once.
    pub connection_rate: usize,
    /// Connections that have not logged in.
    pub max_half_open: usize,
    /// Who is shut out for refused logins.
    pub bans: BanRules,
}

impl GateOptions {
    /// Whoever comes is let in, up to so many connections, from wherever, however fast; what
    /// would ban somebody hardly can. For what has no door to the internet: tools, tests.
    #[must_use]
    pub fn open(connections: usize) -> Self {
        Self {
            allow: Vec::new(),
            deny: Vec::new(),
            max_connections: connections,
            max_connections_per_address: connections,
            max_connections_per_network: usize::MAX,
            connection_rate: 1_000_000,
            max_half_open: connections.saturating_mul(10),
            bans: BanRules {
                score: 1_000_000,
                span: Duration::from_secs(1_800),
                never: Vec::new(),
            },
        }
    }
}

/// Why a connection gets no banner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum AdmitRefused {
    /// On the deny list.
    #[error("the address is denied")]
    Denied,
    /// Banned, for refused logins or by an operator.
    #[error("the address is banned")]
    Banned,
    /// The database is away, and nobody has logged in from the address.
    #[error("the database is away, and the address is not known")]
    Unknown,
    /// Connections from the address come too fast.
    #[error("connections from the address come too fast")]
    TooFast,
    /// No account, or not the appliance, allows the address.
    #[error("no account may log in from the address")]
    NotAllowed,
    /// All connections are in use.
    #[error("all connections are in use")]
    Full,
    /// The address has as many as it may.
    #[error("the address has too many connections")]
    FullForAddress,
    /// The network has as many as it may.
    #[error("the network has too many connections")]
    FullForNetwork,
    /// Too many connections have not logged in.
    #[error("too many connections have not logged in yet")]
    FullHalfOpen,
}

impl AdmitRefused {
    /// All reasons.
    pub const ALL: [Self; 9] = [
        Self::Denied,
        Self::Banned,
        Self::Unknown,
        Self::TooFast,
        Self::NotAllowed,
        Self::Full,
        Self::FullForAddress,
        Self::FullForNetwork,
        Self::FullHalfOpen,
    ];

    /// The reason in a word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Denied => "denied",
            Self::Banned => "banned",
            Self::Unknown => "unknown",
            Self::TooFast => "too_fast",
            Self::NotAllowed => "not_allowed",
            Self::Full => "full",
            Self::FullForAddress => "full_for_address",
            Self::FullForNetwork => "full_for_network",
            Self::FullHalfOpen => "full_half_open",
        }
    }
}

/// How many connections there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Occupancy {
    /// In all.
    pub connections: usize,
    /// Of them not logged in.
    pub half_open: usize,
    /// Addresses they come from.
    pub addresses: usize,
    /// Addresses and networks that are banned.
    pub bans: usize,
}

/// Connections of a party, or of a network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Held {
    all: usize,
    half_open: usize,
}

/// Who has how many; who has none is not there.
type Holders = HashMap<Network, Held>;

fn held(holders: &Holders, whose: Network) -> Held {
    holders.get(&whose).copied().unwrap_or_default()
}

fn change(holders: &mut Holders, whose: Network, change: impl Fn(&mut Held)) {
    let held = holders.entry(whose).or_default();
    change(held);
    if *held == Held::default() {
        holders.remove(&whose);
    }
}

/// Places before the login, of which strangers can take no more than their shares (G04): the
/// rest is for addresses from which somebody has logged in, or that some account names other
/// than by `any`.
#[derive(Clone, Copy, Debug)]
struct HalfOpenShares {
    strangers: usize,
    of_one_address: usize,
    of_one_network: usize,
}

impl HalfOpenShares {
    /// Three quarters, a quarter, half.
    const fn of(max_half_open: usize) -> Self {
        Self {
            strangers: max_half_open - max_half_open / 4,
            of_one_address: max_half_open.div_ceil(4),
            of_one_network: max_half_open.div_ceil(2),
        }
    }
}

#[derive(Debug, Default)]
struct Counts {
    connections: usize,
    half_open: usize,
    by_party: Holders,
    by_network: Holders,
    paces: Paces,
    /// Who stayed long and never logged in.
    lingered: Vec<IpAddr>,
}

/// How full an address' bucket is: it fills with each connection and empties with time.
#[derive(Clone, Copy, Debug)]
struct Pace {
    filled_milli: u64,
    at: Stopwatch,
}

impl Pace {
    fn filled_now(&self, rate: u64) -> u64 {
        let elapsed = u64::try_from(self.at.elapsed().as_millis()).unwrap_or(u64::MAX);
        let per_ms = u64::try_from(RATE_PER.as_millis()).unwrap_or(u64::MAX);
        let emptied = elapsed.saturating_mul(rate).saturating_mul(1_000) / per_ms;
        self.filled_milli.saturating_sub(emptied)
    }
}

#[derive(Debug, Default)]
struct Paces {
    by_party: HashMap<Network, Pace>,
}

impl Paces {
    /// Whether one more of this party is not too fast; it counts then.
    fn take(&mut self, party: Network, rate: usize) -> bool {
        let rate = rate as u64;
        let filled = match self.by_party.get(&party) {
            Some(pace) => pace.filled_now(rate),
            None => 0,
        };
        let filled = filled.saturating_add(1_000);
        if filled > rate.saturating_mul(1_000) {
            return false;
        }
        if self.by_party.len() >= MAX_PACES {
            self.forget(rate);
        }
        let pace = Pace {
            filled_milli: filled,
            at: Stopwatch::start(),
        };
        self.by_party.insert(party, pace);
        true
    }

    /// Those first whose buckets are empty; half of them at least, so that it is rare.
    fn forget(&mut self, rate: u64) {
        self.by_party.retain(|_, pace| pace.filled_now(rate) > 0);
        if self.by_party.len() < MAX_PACES / 2 {
            return;
        }
        let mut filled: Vec<_> = self
            .by_party
            .values()
            .map(|pace| pace.filled_now(rate))
            .collect();
        filled.sort_unstable();
        let middle = filled.get(filled.len() / 2).copied().unwrap_or(0);
        self.by_party
            .retain(|_, pace| pace.filled_now(rate) > middle);
    }
}

/// What of an address one provider's customer usually has.
fn network_of(peer: IpAddr) -> Network {
    block_of(peer, 24, 48)
}

#[derive(Debug)]
struct Shared {
    options: GateOptions,
    networks: ArcSwap<Vec<Network>>,
    counts: Mutex<Counts>,
    board: Mutex<BanBoard>,
}

impl Shared {
    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn board(&self) -> MutexGuard<'_, BanBoard> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Decides without I/O. Clones share their counts.
#[derive(Clone, Debug)]
pub(super) struct Admission {
    shared: Arc<Shared>,
}

/// A connection's place; given back when dropped.
#[derive(Debug)]
pub struct ConnectionSlot {
    shared: Arc<Shared>,
    peer: IpAddr,
    half_open: bool,
    /// Somebody has tried to log in.
    asked: bool,
    since: Stopwatch,
}

impl Counts {
    /// Where a connection of `peer` is counted, and as whose.
    fn holders(&mut self, peer: IpAddr) -> [(&mut Holders, Network); 2] {
        [
            (&mut self.by_party, party(peer)),
            (&mut self.by_network, network_of(peer)),
        ]
    }
}

impl Admission {
    pub(super) fn new(options: GateOptions) -> Self {
        Self {
            shared: Arc::new(Shared {
                options,
                networks: ArcSwap::default(),
                counts: Mutex::default(),
                board: Mutex::default(),
            }),
        }
    }

    pub(super) fn set_networks(&self, networks: Vec<Network>) {
        self.shared.networks.store(Arc::new(networks));
    }

    /// When an address is shut out.
    pub(super) fn rules(&self) -> &BanRules {
        &self.shared.options.bans
    }

    /// Who is banned, from now on; the database has answered.
    pub(super) fn set_bans(&self, bans: Vec<Ban>) {
        self.shared.board().set(bans);
    }

    pub(super) fn add_ban(&self, ban: Ban) {
        self.shared.board().add(ban);
    }

    /// The database does not answer: only known addresses come in, until bans are set.
    pub(super) fn set_blind(&self) {
        self.shared.board().set_blind();
    }

    /// Somebody has logged in from there.
    pub(super) fn know(&self, peer: IpAddr, now: Timestamp) {
        self.shared.board().know(peer, now);
    }

    /// Who stayed long without a login since this was asked last.
    pub(super) fn take_lingered(&self) -> Vec<IpAddr> {
        std::mem::take(&mut self.shared.counts().lingered)
    }

    pub(super) fn occupancy(&self, now: Timestamp) -> Occupancy {
        let bans = self.shared.board().count(now);
        let counts = self.shared.counts();
        Occupancy {
            connections: counts.connections,
            half_open: counts.half_open,
            addresses: counts.by_party.len(),
            bans,
        }
    }

    /// `peer` is normalised.
    pub(super) fn admit(
        &self,
        peer: IpAddr,
        now: Timestamp,
    ) -> Result<ConnectionSlot, AdmitRefused> {
        let options = &self.shared.options;
        let in_list = |list: &[Network]| list.iter().any(|network| network.contains(peer));
        if in_list(&options.deny) {
            return Err(AdmitRefused::Denied);
        }
        let allowed = (options.allow.is_empty() || in_list(&options.allow))
            && in_list(&self.shared.networks.load());
        if !allowed {
            return Err(AdmitRefused::NotAllowed);
        }
        let board = self.shared.board();
        let judged = board.judge(peer, &options.bans, now);
        judged.map_err(|shut| match shut {
            Shut::Banned => AdmitRefused::Banned,
            Shut::Unknown => AdmitRefused::Unknown,
        })?;
        let has_logged_in = board.knows(peer);
        drop(board);
        let networks = self.shared.networks.load();
        let mut named = networks.iter().filter(|network| !network.is_any());
        let is_known = has_logged_in || named.any(|network| network.contains(peer));
        let mut counts = self.shared.counts();
        if counts.connections >= options.max_connections {
            return Err(AdmitRefused::Full);
        }
        let (party, network) = (party(peer), network_of(peer));
        let of_party = held(&counts.by_party, party);
        if of_party.all >= options.max_connections_per_address {
            return Err(AdmitRefused::FullForAddress);
        }
        let of_network = held(&counts.by_network, network);
        if of_network.all >= options.max_connections_per_network {
            return Err(AdmitRefused::FullForNetwork);
        }
        let shares = HalfOpenShares::of(options.max_half_open);
        let has_place = match is_known {
            true => counts.half_open < options.max_half_open,
            false => {
                counts.half_open < shares.strangers
                    && of_party.half_open < shares.of_one_address
                    && of_network.half_open < shares.of_one_network
            }
        };
        if !has_place {
            return Err(AdmitRefused::FullHalfOpen);
        }
        if !counts.paces.take(party, options.connection_rate) {
            return Err(AdmitRefused::TooFast);
        }
        counts.connections += 1;
        counts.half_open += 1;
        for (holders, whose) in counts.holders(peer) {
            change(holders, whose, |held| {
                held.all += 1;
                held.half_open += 1;
            });
        }
        drop(counts);
        Ok(ConnectionSlot {
            shared: Arc::clone(&self.shared),
            peer,
            half_open: true,
            asked: false,
            since: Stopwatch::start(),
        })
    }

    /// Whether `peer`, which may have been let in before, is banned by now.
    pub(super) fn is_banned(&self, peer: IpAddr, now: Timestamp) -> bool {
        let judged = self
            .shared
            .board()
            .judge(peer, &self.shared.options.bans, now);
        judged == Err(Shut::Banned)
    }
}

impl ConnectionSlot {
    /// The peer's address, an IPv4-mapped one as IPv4.
    #[must_use]
    pub fn peer(&self) -> IpAddr {
        self.peer
    }

    /// The peer asks to be let in. What comes of it counts, and no longer how long it takes:
    /// that may be our own database's doing.
    pub fn asked(&mut self) {
        self.asked = true;
    }

    /// The peer has its answer, which is not the last word, and it is its turn again.
    pub fn answered(&mut self) {
        self.asked = false;
    }

    /// The peer has logged in: its place among the half-open ones is free.
    pub fn logged_in(&mut self) {
        if std::mem::take(&mut self.half_open) {
            let mut counts = self.shared.counts();
            counts.half_open -= 1;
            for (holders, whose) in counts.holders(self.peer) {
                change(holders, whose, |held| held.half_open -= 1);
            }
        }
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        if self.half_open && !self.asked && self.since.elapsed() >= LINGERS {
            let mut counts = self.shared.counts();
            if counts.lingered.len() < MAX_LINGERED {
                counts.lingered.push(self.peer);
            }
        }
        self.logged_in();
        let mut counts = self.shared.counts();
        counts.connections -= 1;
        for (holders, whose) in counts.holders(self.peer) {
            change(holders, whose, |held| held.all -= 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_micros(0);

    fn networks(list: &[&str]) -> Vec<Network> {
        list.iter()
            .map(|network| network.parse().unwrap())
            .collect()
    }

    fn admission(allow: &[&str], deny: &[&str], union: &[&str]) -> Admission {
        let admission = Admission::new(GateOptions {
            allow: networks(allow),
            deny: networks(deny),
            max_connections: 4,
            max_connections_per_address: 2,
            max_connections_per_network: 3,
            connection_rate: 100,
            max_half_open: 8,
            bans: BanRules {
                score: 1,
                span: Duration::from_secs(1),
                never: Vec::new(),
            },
        });
        admission.set_networks(networks(union));
        admission
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn only_addresses_that_some_account_allows_get_in() {
        let gate = admission(&[], &["10.0.0.9"], &["10.0.0.0/8"]);
        assert!(gate.admit(ip("10.0.0.1"), NOW).is_ok());
        assert_eq!(
            gate.admit(ip("10.0.0.9"), NOW).unwrap_err(),
            AdmitRefused::Denied
        );
        assert_eq!(
            gate.admit(ip("11.0.0.1"), NOW).unwrap_err(),
            AdmitRefused::NotAllowed
        );
        gate.set_networks(networks(&[]));
        assert_eq!(
            gate.admit(ip("10.0.0.1"), NOW).unwrap_err(),
            AdmitRefused::NotAllowed
        );
    }

    #[test]
    fn a_global_allow_list_narrows_what_accounts_allow() {
        let gate = admission(&["10.1.0.0/16"], &[], &["any"]);
        assert!(gate.admit(ip("10.1.0.1"), NOW).is_ok());
        assert_eq!(
            gate.admit(ip("10.2.0.1"), NOW).unwrap_err(),
            AdmitRefused::NotAllowed
        );
    }

    // G04: one address can take neither all places nor all half-open ones.
    #[test]
    fn every_limit_holds_just_below_and_just_above() {
        let gate = admission(&[], &[], &["any"]);
        let first = gate.admit(ip("10.0.0.1"), NOW).unwrap();
        let second = gate.admit(ip("10.0.0.1"), NOW).unwrap();
        assert_eq!(
            gate.admit(ip("10.0.0.1"), NOW).unwrap_err(),
            AdmitRefused::FullForAddress
        );
        let third = gate.admit(ip("10.0.2.2"), NOW).unwrap();
        let fourth = gate.admit(ip("10.0.3.3"), NOW).unwrap();
        assert_eq!(
            gate.admit(ip("10.0.4.4"), NOW).unwrap_err(),
            AdmitRefused::Full
        );
        drop((first, second, third, fourth));
        assert_eq!(gate.occupancy(NOW), Occupancy::default());
    }

    fn wide() -> Admission {
        let mut options = admission(&[], &[], &["any"]).shared.options.clone();
        options.max_connections = 100;
        options.max_connections_per_address = 100;
        options.max_connections_per_network = 100;
        let admission = Admission::new(options);
        admission.set_networks(networks(&["any"]));
        admission
    }

    fn admit_all<const N: usize>(gate: &Admission, peers: [&str; N]) -> Vec<ConnectionSlot> {
        peers.map(|peer| gate.admit(ip(peer), NOW).unwrap()).into()
    }

    // G04: of eight places before the login an address has two, a network four, and strangers
    // six in all; IPv6 addresses of a /64 are one.
    #[test]
    fn g04_strangers_have_their_shares_of_the_places_before_the_login() {
        const FULL: AdmitRefused = AdmitRefused::FullHalfOpen;
        let gate = wide();
        let refused = |peer: &str| gate.admit(ip(peer), NOW).unwrap_err();
        let mut held = admit_all(&gate, ["10.0.0.1", "10.0.0.1"]);
        assert_eq!(refused("10.0.0.1"), FULL);
        held.extend(admit_all(&gate, ["10.0.0.2", "10.0.0.3"]));
        assert_eq!(refused("10.0.0.4"), FULL);
        held.extend(admit_all(&gate, ["2001:db8::1", "2001:db8::2"]));
        assert_eq!(refused("2001:db8::3"), FULL, "of the address");
        assert_eq!(refused("10.0.5.5"), FULL, "of all strangers");
        // Who has logged in before finds a place, and takes none from strangers by staying.
        gate.know(ip("10.0.0.4"), NOW);
        let known = admit_all(&gate, ["10.0.0.4", "10.0.0.4"]);
        assert_eq!(refused("10.0.0.4"), FULL, "of all");
        drop(known);
        held.pop().unwrap().logged_in();
        let mut first = held.swap_remove(0);
        first.logged_in();
        first.logged_in();
        assert!(gate.admit(ip("10.0.0.1"), NOW).is_ok());
        assert!(gate.admit(ip("2001:db8::3"), NOW).is_ok());
        drop((first, held));
        assert_eq!(gate.occupancy(NOW), Occupancy::default());
        assert!(gate.shared.counts().by_network.is_empty());
        assert!(gate.shared.counts().by_party.is_empty());
    }

    // G04: after a restart nobody has logged in yet; whom an account names is no stranger.
    #[test]
    fn g04_whom_an_account_names_finds_a_place_that_strangers_cannot_take() {
        let gate = wide();
        gate.set_networks(networks(&["any", "0.0.0.0/0", "::/0", "10.9.0.1"]));
        let strangers = ["10.0.0.1", "10.0.0.1", "10.1.0.1", "10.1.0.1"];
        let mut held = admit_all(&gate, strangers);
        held.extend(admit_all(&gate, ["10.2.0.1", "10.2.0.1"]));
        let refused = gate.admit(ip("10.3.0.1"), NOW).unwrap_err();
        assert_eq!(refused, AdmitRefused::FullHalfOpen);
        assert!(gate.admit(ip("10.9.0.1"), NOW).is_ok());
    }

    #[test]
    fn who_was_let_in_before_its_ban_is_known_to_be_banned() {
        let gate = admission(&[], &[], &["any"]);
        let _slot = gate.admit(ip("10.0.0.1"), NOW).unwrap();
        assert!(!gate.is_banned(ip("10.0.0.1"), NOW));
        gate.add_ban(Ban {
            network: "10.0.0.1".parse().unwrap(),
            owner: None,
            reason: "test".to_owned(),
            since: NOW,
            until: None,
        });
        assert!(gate.is_banned(ip("10.0.0.1"), NOW));
        assert!(!gate.is_banned(ip("10.0.0.2"), NOW));
    }

    #[test]
    fn one_network_cannot_take_all_places() {
        let gate = admission(&[], &[], &["any"]);
        let held: Vec<_> = ["10.0.0.1", "10.0.0.2", "10.0.0.3"]
            .map(|peer| {
                let mut slot = gate.admit(ip(peer), NOW).unwrap();
                slot.logged_in();
                slot
            })
            .into();
        assert_eq!(
            gate.admit(ip("10.0.0.4"), NOW).unwrap_err(),
            AdmitRefused::FullForNetwork
        );
        assert!(gate.admit(ip("10.0.1.4"), NOW).is_ok());
        drop(held);
        assert!(gate.admit(ip("10.0.0.4"), NOW).is_ok());
        assert_eq!(gate.occupancy(NOW), Occupancy::default());
        assert!(gate.shared.counts().by_network.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_that_comes_too_fast_waits() {
        let gate = admission(&[], &[], &["any"]);
        for _ in 0..100 {
            assert!(gate.admit(ip("10.0.0.1"), NOW).is_ok());
        }
        let refused = gate.admit(ip("10.0.0.1"), NOW).unwrap_err();
        assert_eq!(refused, AdmitRefused::TooFast);
        assert!(gate.admit(ip("10.0.0.2"), NOW).is_ok());
        // A hundred a minute: one in 600 ms.
        crate::timer::sleep(Duration::from_millis(599)).await;
        assert!(gate.admit(ip("10.0.0.1"), NOW).is_err());
        crate::timer::sleep(Duration::from_millis(1)).await;
        assert!(gate.admit(ip("10.0.0.1"), NOW).is_ok());
        assert!(gate.admit(ip("10.0.0.1"), NOW).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn paces_of_no_more_addresses_are_kept_than_there_is_room_for() {
        let mut paces = Paces::default();
        for number in 0..u32::try_from(MAX_PACES).unwrap() + 10 {
            assert!(paces.take(party(IpAddr::from(number.to_be_bytes())), 10));
            assert!(paces.by_party.len() <= MAX_PACES);
        }
    }

    // G04: who holds a place without a login is counted for it.
    #[tokio::test(start_paused = true)]
    async fn g04_who_stays_long_without_a_login_is_told_of() {
        let gate = admission(&[], &[], &["any"]);
        let quick = gate.admit(ip("10.0.0.1"), NOW).unwrap();
        let slow = gate.admit(ip("10.0.0.2"), NOW).unwrap();
        let mut partner = gate.admit(ip("10.0.1.3"), NOW).unwrap();
        partner.logged_in();
        // Its login waited for our database.
        let mut waiting = gate.admit(ip("10.0.2.4"), NOW).unwrap();
        waiting.asked();
        drop(quick);
        crate::timer::sleep(LINGERS).await;
        drop((slow, partner, waiting));
        assert_eq!(gate.take_lingered(), [ip("10.0.0.2")]);
        assert!(gate.take_lingered().is_empty());
    }
}
