//! Our addresses that connections begin from.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// One address of each family, at least one. A server whose family is not among
/// them is not connected to: it would see an address that its firewall does not
/// know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceAddresses {
    v4: Option<Ipv4Addr>,
    v6: Option<Ipv6Addr>,
}

impl SourceAddresses {
    /// The first of each family; `None` without any: the system chooses.
    #[must_use]
    pub fn of(addresses: &[IpAddr]) -> Option<Self> {
        let mut each = addresses.iter().map(IpAddr::to_canonical);
        let v4 = each.clone().find_map(|address| match address {
            IpAddr::V4(address) => Some(address),
            IpAddr::V6(_) => None,
        });
        let v6 = each.find_map(|address| match address {
            IpAddr::V4(_) => None,
            IpAddr::V6(address) => Some(address),
        });
        (v4.is_some() || v6.is_some()).then_some(Self { v4, v6 })
    }

    /// The one that connects to `target`, if one can.
    #[must_use]
    pub fn towards(self, target: SocketAddr) -> Option<IpAddr> {
        match target.ip().to_canonical() {
            IpAddr::V4(_) => self.v4.map(IpAddr::V4),
            IpAddr::V6(_) => self.v6.map(IpAddr::V6),
        }
    }
}

impl From<IpAddr> for SourceAddresses {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self {
                v4: Some(address),
                v6: None,
            },
            IpAddr::V6(address) => Self {
                v4: None,
                v6: Some(address),
            },
        }
    }
}

impl std::fmt::Display for SourceAddresses {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.v4, self.v6) {
            (Some(v4), Some(v6)) => write!(f, "{v4}, {v6}"),
            (Some(v4), None) => v4.fmt(f),
            (None, Some(v6)) => v6.fmt(f),
            (None, None) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_address_of_the_targets_family_is_taken() {
        let addresses: Vec<IpAddr> = ["192.0.2.7", "2001:db8::7", "192.0.2.8"]
            .map(|text| text.parse().unwrap())
            .to_vec();
        let both = SourceAddresses::of(&addresses).unwrap();
        let four = SourceAddresses::of(&addresses[..1]).unwrap();
        for (sources, target, taken) in [
            (both, "198.51.100.1:21", Some("192.0.2.7")),
            (both, "[2001:db8::1]:21", Some("2001:db8::7")),
            (four, "[::ffff:198.51.100.1]:21", Some("192.0.2.7")),
            (four, "[2001:db8::1]:21", None),
        ] {
            let taken = taken.map(|text| text.parse().unwrap());
            assert_eq!(sources.towards(target.parse().unwrap()), taken, "{target}");
        }
        assert_eq!(SourceAddresses::of(&[]), None);
    }
}
