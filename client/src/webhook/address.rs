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
    match translated(address) {
        Translated::To(inner) => {
            return refused_v4(inner).or_else(|| refused_translated(inner));
        }
        Translated::Somewhere => {
            return Some("an address of IPv4 in a form that hides which");
        }
        Translated::No => {}
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

/// RFC 6052 s.3.1: what translates does so to public addresses only. To its own machine, or
/// past a rule about private ones, nobody means to go.
fn refused_translated(inner: Ipv4Addr) -> Option<&'static str> {
    (inner.is_loopback() || inner.is_private())
        .then_some("a private address behind a translator to IPv4")
}

/// What a translator would make of an address.
enum Translated {
    No,
    To(Ipv4Addr),
    /// An address of IPv4, and only the network knows which, or nobody.
    Somewhere,
}

/// RFC 6052 s.2.1 (64:ff9b::/96, where networks without IPv4 reach receivers that have
/// nothing else), RFC 3056 s.2 (2002::/16), RFC 8215 (64:ff9b:1::/48), and the form that
/// RFC 4291 s.2.5.5.1 has done away with (::a.b.c.d).
fn translated(address: Ipv6Addr) -> Translated {
    let [a, b, c, d, e, f, g, h] = address.segments();
    let of = |high: u16, low: u16| Ipv4Addr::from(u32::from(high) << 16 | u32::from(low));
    match (a, b, c, d, e, f) {
        (0x64, 0xff9b, 0, 0, 0, 0) => Translated::To(of(g, h)),
        (0x64, 0xff9b, 1, ..) => Translated::Somewhere,
        (0x2002, ..) => Translated::To(of(b, c)),
        (0, 0, 0, 0, 0, 0) if !address.is_loopback() && !address.is_unspecified() => {
            Translated::Somewhere
        }
        _ => Translated::No,
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
            "64:ff9b::7f00:1",
            "64:ff9b::10.0.0.1",
            "64:ff9b:1::a9fe:a9fe",
            "64:ff9b:1:a9fe:a9:fe00::",
            "64:ff9b:1:ffff:ffff:ffff:ffff:ffff",
            "::169.254.169.254",
            "::127.0.0.1",
            "::203.0.113.9",
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
            "64:ff9b:2::1",
            "::1:0:0:0",
            "169.253.255.255",
            "169.255.0.0",
        ] {
            assert!(refused(address.parse().unwrap()).is_none(), "{address}");
        }
    }
}
