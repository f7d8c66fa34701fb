//! Which address PASV announces: behind NAT it is not our own (F14).

use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;

/// The address for PASV per client network. EPSV announces none and needs
/// nothing of this.
#[derive(Clone, Debug, Default)]
pub(crate) struct AnnouncedAddress {
    rules: Vec<(IpNet, Option<Ipv4Addr>)>,
    default: Option<Ipv4Addr>,
}

/// Why PASV has no address to announce.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AnnounceFault {
    /// The client came over IPv6, which PASV cannot express (RFC 2428 s.1).
    #[error("PASV works over IPv4 only; use EPSV")]
    Ipv6,
}

impl AnnouncedAddress {
    /// `rules`: client networks, the first that matches wins; `default`: for all
    /// others. `None` in either announces the address that the client reached.
    pub(crate) fn new(rules: Vec<(IpNet, Option<Ipv4Addr>)>, default: Option<Ipv4Addr>) -> Self {
        Self { rules, default }
    }

    /// What to announce to `peer`, which reached us at `local`.
    pub(crate) fn of(&self, local: IpAddr, peer: IpAddr) -> Result<Ipv4Addr, AnnounceFault> {
        let peer = peer.to_canonical();
        let IpAddr::V4(local) = local.to_canonical() else {
            return Err(AnnounceFault::Ipv6);
        };
        let rule = self.rules.iter().find(|(net, _)| net.contains(&peer));
        let public = rule.map_or(self.default, |(_, address)| *address);
        Ok(public.unwrap_or(local))
    }
}
