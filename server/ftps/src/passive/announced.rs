//! Which address PASV announces: behind NAT it is not our own (F14).

use std::net::{IpAddr, Ipv4Addr};

use arc_swap::ArcSwap;
use ipnet::IpNet;

/// What PASV tells clients of one network.
pub type AnnouncedRule = (IpNet, Ipv4Addr);

/// The address for PASV per client network. EPSV announces none and needs
/// nothing of this. Whoever keeps it can [`replace`](Self::replace) the addresses
/// while the server runs: a name may get another one.
#[derive(Debug, Default)]
pub struct AnnouncedAddress {
    rules: ArcSwap<Vec<AnnouncedRule>>,
}

/// Why PASV has no address to announce.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AnnounceFault {
    /// The client came over IPv6, which PASV cannot express (RFC 2428 s.1).
    #[error("PASV works over IPv4 only; use EPSV")]
    Ipv6,
}

impl AnnouncedAddress {
    /// `rules`: the first whose network has the client counts; where none does, the
    /// client is told the address that it came to.
    #[must_use]
    pub fn new(rules: Vec<AnnouncedRule>) -> Self {
        Self {
            rules: ArcSwap::from_pointee(rules),
        }
    }

    /// PASV commands from now on are answered by these.
    pub fn replace(&self, rules: Vec<AnnouncedRule>) {
        self.rules.store(std::sync::Arc::new(rules));
    }

    /// What to announce to `peer`, which reached us at `local`.
    pub(crate) fn of(&self, local: IpAddr, peer: IpAddr) -> Result<Ipv4Addr, AnnounceFault> {
        let peer = peer.to_canonical();
        let IpAddr::V4(local) = local.to_canonical() else {
            return Err(AnnounceFault::Ipv6);
        };
        let rules = self.rules.load();
        let rule = rules.iter().find(|(network, _)| network.contains(&peer));
        Ok(rule.map_or(local, |(_, address)| *address))
    }
}
