//! Addresses that no hook goes to unless somebody says so; pure.
//!
//! Whoever may name a hook, or change what its name means, could otherwise ask what only
//! this machine may: clouds give a machine's credentials to whoever asks a link-local
//! address. Private networks are not refused: receivers are usually there.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Services of clouds for their machines, where these are not link-local: Azure's, Alibaba's,
/// Oracle's.
const METADATA_V4: [Ipv4Addr; 3] = [
    Ipv4Addr::new(168, 63, 129, 16),
    Ipv4Addr::new(100, 100, 100, 200),
    Ipv4Addr::new(192, 0, 0, 192),
];

/// Amazon's and Google's.
const METADATA_V6: [Ipv6Addr; 2] = [
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
];

/// What an address is that is refused; `None`: it is not.
pub(super) fn refused(address: IpAddr) -> Option<&'static str> {
    match address.to_canonical() {
        IpAddr::V4(address) => refused_v4(address),
        IpAddr::V6(address) => refused_v6(address),
    }
}

fn refused_v4(address: Ipv4Addr) -> Option<&'static str> {
    if address.is_link_local() {
        Some("a link-local address, where clouds keep their machines' credentials")
    } else if METADATA_V4.contains(&address) {
        Some("a cloud's service for its machines")
    } else if address.octets().first() == Some(&0) {
        Some("no address of a machine")
    } else if address.is_multicast() || address.is_broadcast() {
        Some("the address of many machines")
    } else {
        None
    }
}

fn refused_v6(address: Ipv6Addr) -> Option<&'static str> {
    if let Some(inner) = embedded(address) {
        return refused_v4(inner);
    }
    if address.is_unicast_link_local() {
        Some("a link-local address")
    } else if METADATA_V6.contains(&address) {
        Some("a cloud's service for its machines")
    } else if address.is_unspecified() {
        Some("no address of a machine")
    } else if address.is_multicast() {
        Some("the address of many machines")
    } else {
        None
    }
}

/// The address of IPv4 that a translator would go to: RFC 6052 s.2.1 (64:ff9b::/96),
/// RFC 3056 s.2 (2002::/16).
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [a, b, c, d, e, f, g, h] = address.segments();
    let of = |high: u16, low: u16| Ipv4Addr::from(u32::from(high) << 16 | u32::from(low));
    match (a, b, c, d, e, f) {
        (0x64, 0xff9b, 0, 0, 0, 0) => Some(of(g, h)),
        (0x2002, ..) => Some(of(b, c)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_this_machine_may_ask_is_refused_and_private_networks_are_not() {
        for address in [
            "169.254.169.254",
            "169.254.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "2002:a9fe:a9fe::1",
            "fe80::1",
            "fd00:ec2::254",
            "fd20:ce::254",
            "168.63.129.16",
            "100.100.100.200",
            "0.0.0.0",
            "0.1.2.3",
            "::",
            "224.0.0.1",
            "255.255.255.255",
            "ff02::1",
        ] {
            assert!(refused(address.parse().unwrap()).is_some(), "{address}");
        }
        for address in [
            "127.0.0.1",
            "::1",
            "10.0.0.1",
            "172.16.5.5",
            "192.168.1.1",
            "100.64.0.1",
            "203.0.113.9",
            "fd12::1",
            "2001:db8::1",
            "64:ff9b::cb00:7109",
            "169.253.255.255",
            "169.255.0.0",
        ] {
            assert!(refused(address.parse().unwrap()).is_none(), "{address}");
        }
    }
}
