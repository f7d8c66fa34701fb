//! Who may have a banner: by address, and by what is free.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;

use crate::Network;

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
    /// Connections that have not logged in.
    pub max_half_open: usize,
}

/// Why a connection gets no banner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum AdmitRefused {
    /// On the deny list.
    #[error("the address is denied")]
    Denied,
    /// No account, or not the appliance, allows the address.
    #[error("no account may log in from the address")]
    NotAllowed,
    /// All connections are in use.
    #[error("all connections are in use")]
    Full,
    /// The address has as many as it may.
    #[error("the address has too many connections")]
    FullForAddress,
    /// Too many connections have not logged in.
    #[error("too many connections have not logged in yet")]
    FullHalfOpen,
}

impl AdmitRefused {
    /// All reasons.
    pub const ALL: [Self; 5] = [
        Self::Denied,
        Self::NotAllowed,
        Self::Full,
        Self::FullForAddress,
        Self::FullHalfOpen,
    ];

    /// The reason in a word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Denied => "denied",
            Self::NotAllowed => "not_allowed",
            Self::Full => "full",
            Self::FullForAddress => "full_for_address",
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
}

#[derive(Debug, Default)]
struct Counts {
    connections: usize,
    half_open: usize,
    by_address: HashMap<IpAddr, usize>,
}

#[derive(Debug)]
struct Shared {
    options: GateOptions,
    networks: ArcSwap<Vec<Network>>,
    counts: Mutex<Counts>,
}

impl Shared {
    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
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
}

impl Admission {
    pub(super) fn new(options: GateOptions) -> Self {
        Self {
            shared: Arc::new(Shared {
                options,
                networks: ArcSwap::default(),
                counts: Mutex::default(),
            }),
        }
    }

    pub(super) fn set_networks(&self, networks: Vec<Network>) {
        self.shared.networks.store(Arc::new(networks));
    }

    pub(super) fn occupancy(&self) -> Occupancy {
        let counts = self.shared.counts();
        Occupancy {
            connections: counts.connections,
            half_open: counts.half_open,
            addresses: counts.by_address.len(),
        }
    }

    /// `peer` is normalised.
    pub(super) fn admit(&self, peer: IpAddr) -> Result<ConnectionSlot, AdmitRefused> {
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
        let mut counts = self.shared.counts();
        if counts.connections >= options.max_connections {
            return Err(AdmitRefused::Full);
        }
        let from_address = counts.by_address.get(&peer).copied().unwrap_or(0);
        if from_address >= options.max_connections_per_address {
            return Err(AdmitRefused::FullForAddress);
        }
        if counts.half_open >= options.max_half_open {
            return Err(AdmitRefused::FullHalfOpen);
        }
        counts.connections += 1;
        counts.half_open += 1;
        counts.by_address.insert(peer, from_address + 1);
        drop(counts);
        Ok(ConnectionSlot {
            shared: Arc::clone(&self.shared),
            peer,
            half_open: true,
        })
    }
}

impl ConnectionSlot {
    /// The peer's address, an IPv4-mapped one as IPv4.
    #[must_use]
    pub fn peer(&self) -> IpAddr {
        self.peer
    }

    /// The peer has logged in: its place among the half-open ones is free.
    pub fn logged_in(&mut self) {
        if std::mem::take(&mut self.half_open) {
            self.shared.counts().half_open -= 1;
        }
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        let mut counts = self.shared.counts();
        counts.connections -= 1;
        if self.half_open {
            counts.half_open -= 1;
        }
        if let Some(from_address) = counts.by_address.get_mut(&self.peer) {
            *from_address -= 1;
            if *from_address == 0 {
                counts.by_address.remove(&self.peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            max_half_open: 3,
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
        assert!(gate.admit(ip("10.0.0.1")).is_ok());
        assert_eq!(
            gate.admit(ip("10.0.0.9")).unwrap_err(),
            AdmitRefused::Denied
        );
        assert_eq!(
            gate.admit(ip("11.0.0.1")).unwrap_err(),
            AdmitRefused::NotAllowed
        );
        gate.set_networks(networks(&[]));
        assert_eq!(
            gate.admit(ip("10.0.0.1")).unwrap_err(),
            AdmitRefused::NotAllowed
        );
    }

    #[test]
    fn a_global_allow_list_narrows_what_accounts_allow() {
        let gate = admission(&["10.1.0.0/16"], &[], &["any"]);
        assert!(gate.admit(ip("10.1.0.1")).is_ok());
        assert_eq!(
            gate.admit(ip("10.2.0.1")).unwrap_err(),
            AdmitRefused::NotAllowed
        );
    }

    // G04: one address can take neither all places nor all half-open ones.
    #[test]
    fn every_limit_holds_just_below_and_just_above() {
        let gate = admission(&[], &[], &["any"]);
        let mut first = gate.admit(ip("10.0.0.1")).unwrap();
        let second = gate.admit(ip("10.0.0.1")).unwrap();
        assert_eq!(
            gate.admit(ip("10.0.0.1")).unwrap_err(),
            AdmitRefused::FullForAddress
        );
        let third = gate.admit(ip("10.0.0.2")).unwrap();
        assert_eq!(
            gate.admit(ip("10.0.0.3")).unwrap_err(),
            AdmitRefused::FullHalfOpen
        );
        first.logged_in();
        first.logged_in();
        let fourth = gate.admit(ip("10.0.0.3")).unwrap();
        assert_eq!(gate.admit(ip("10.0.0.4")).unwrap_err(), AdmitRefused::Full);
        drop((first, second, third, fourth));
        assert_eq!(gate.occupancy(), Occupancy::default());
    }
}
