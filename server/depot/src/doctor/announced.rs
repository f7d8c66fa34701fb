//! What PASV told a client, and whether that can be right.

use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};

/// Addresses behind a provider's NAT (RFC 6598): 100.64.0.0/10.
const SHARED: (u32, u32) = (0x6440_0000, 0xFFC0_0000);

/// What PASV told a client, and where it had come to itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announced {
    /// The address to which data connections were to come.
    pub address: Ipv4Addr,
    /// The address that the control connection came to.
    pub reached: IpAddr,
}

impl Announced {
    /// Whether it is another address than the client had come to: behind NAT that is right.
    #[must_use]
    pub fn is_another(self) -> bool {
        IpAddr::V4(self.address) != self.reached
    }

    /// Whether it is an address of a private network, and the client in none.
    pub(super) fn is_out_of_reach(self, peer: IpAddr) -> bool {
        is_private(self.address.into()) && !is_private(peer)
    }

    /// Whether both addresses are of the same kind: no NAT lies between them.
    pub(super) fn is_without_nat(self) -> bool {
        is_private(self.address.into()) == is_private(self.reached)
    }

    /// Whether a connection that does not come may be its fault.
    pub(super) fn is_doubtful(self, peer: IpAddr) -> bool {
        self.is_another() || self.is_out_of_reach(peer)
    }

    /// In words, with a port.
    pub(super) fn told_at(self, port: u16) -> String {
        format!("{}, port {port} (PASV)", self.address)
    }
}

/// Whether nobody reaches it from elsewhere.
fn is_private(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            let (shared, mask) = SHARED;
            address.is_private()
                || address.is_loopback()
                || address.is_link_local()
                || address.is_unspecified()
                || u32::from(address) & mask == shared
        }
        IpAddr::V6(address) => {
            address.is_loopback()
                || address.is_unspecified()
                || address.is_unique_local()
                || address.is_unicast_link_local()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_doubtful_that_is_another_or_out_of_reach() {
        for (address, reached, peer, is_another, is_out_of_reach, is_without_nat) in [
            ("192.0.2.1", "192.0.2.1", "203.0.113.9", false, false, true),
            ("192.0.2.1", "10.0.0.5", "203.0.113.9", true, false, false),
            ("192.0.2.1", "192.0.2.2", "203.0.113.9", true, false, true),
            ("10.0.0.5", "10.0.0.5", "203.0.113.9", false, true, true),
            ("10.0.0.5", "10.0.0.5", "10.9.0.1", false, false, true),
            ("100.64.0.1", "192.0.2.2", "203.0.113.9", true, true, false),
            (
                "100.128.0.1",
                "100.128.0.1",
                "203.0.113.9",
                false,
                false,
                true,
            ),
            (
                "127.0.0.1",
                "::ffff:127.0.0.1",
                "127.0.0.1",
                true,
                false,
                true,
            ),
        ] {
            let announced = Announced {
                address: address.parse().unwrap(),
                reached: reached.parse().unwrap(),
            };
            let peer = peer.parse().unwrap();
            let told = format!("{address} {reached} {peer}");
            assert_eq!(announced.is_another(), is_another, "{told}");
            assert_eq!(announced.is_out_of_reach(peer), is_out_of_reach, "{told}");
            assert_eq!(announced.is_without_nat(), is_without_nat, "{told}");
        }
    }
}
