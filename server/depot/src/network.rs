//! Addresses and networks: one form for each, whatever the socket says.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net};
use layover_retention::Timestamp;
use serde::{Serialize, Serializer};

/// An IPv4 client on a dual-stack socket appears as `::ffff:a.b.c.d`; rules are
/// written for `a.b.c.d` (RFC 4291 s.2.5.5.2).
#[must_use]
pub fn normalise_ip(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

/// A network from which peers may come: a CIDR block, one address, or any.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Network {
    /// Every IPv4 and IPv6 address.
    Any,
    /// A block without host bits; IPv4-mapped blocks are IPv4.
    Block(IpNet),
}

/// The text is not a network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// It cannot be read.
    #[error(
        "`{text}` is not a network: expected an address (192.0.2.7), a block (192.0.2.0/24, 2001:db8::/32) or `any`"
    )]
    Unreadable {
        /// The beginning of the text.
        text: String,
    },
    /// It may mean the block or the address: to cut the bits would open the
    /// wrong one without a word.
    #[error("{block} has host bits set; did you mean {} or {}?", block.trunc(), IpNet::from(block.addr()))]
    HostBits {
        /// As it was written.
        block: IpNet,
    },
}

impl Network {
    /// Whether it is every address, of IPv4 or of IPv6 at least, however it was written.
    #[must_use]
    pub fn is_any(&self) -> bool {
        match self {
            Self::Any => true,
            Self::Block(block) => block.prefix_len() == 0,
        }
    }

    /// Whether `address` lies in it, in either form of an IPv4 address.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match self {
            Self::Any => true,
            Self::Block(block) => block.contains(&normalise_ip(address)),
        }
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        if text.eq_ignore_ascii_case("any") {
            return Ok(Self::Any);
        }
        let block = text
            .parse::<IpNet>()
            .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
            .map_err(|_| NetworkError::Unreadable {
                text: text.chars().take(80).collect(),
            })?;
        if block.trunc() != block {
            return Err(NetworkError::HostBits { block });
        }
        Ok(Self::Block(normalise_block(block)))
    }
}

/// `::ffff:192.0.2.0/120` is 192.0.2.0/24.
fn normalise_block(block: IpNet) -> IpNet {
    const MAPPED_PREFIX: u8 = 96;
    if let IpNet::V6(v6) = block
        && v6.prefix_len() >= MAPPED_PREFIX
        && let Some(v4) = v6.network().to_ipv4_mapped()
        && let Ok(net) = Ipv4Net::new(v4, v6.prefix_len() - MAPPED_PREFIX)
    {
        return IpNet::V4(net);
    }
    block
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any"),
            Self::Block(block) => block.fmt(f),
        }
    }
}

impl Serialize for Network {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A network from which an account may log in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AllowedNetwork {
    /// The block.
    pub network: Network,
    /// Why, in the operator's words.
    pub reason: Option<String>,
    /// From then on it counts for nothing.
    pub until: Option<Timestamp>,
    /// When the operator added it.
    pub created_at: Timestamp,
}

impl AllowedNetwork {
    /// Whether it lets `address` in at `now`.
    #[must_use]
    pub fn admits(&self, address: IpAddr, now: Timestamp) -> bool {
        self.until.is_none_or(|until| now < until) && self.network.contains(address)
    }
}

/// A network to be added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewNetwork {
    /// The block.
    pub network: Network,
    /// Why, in the operator's words.
    pub reason: Option<String>,
    /// From then on it counts for nothing.
    pub until: Option<Timestamp>,
}

/// One pattern of an authorized key's `from="..."`: an address or block,
/// possibly negated (sshd(8), AUTHORIZED_KEYS FILE FORMAT).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FromPattern {
    /// `!pattern`: an address in it is refused, whatever else matches.
    pub negated: bool,
    /// The block.
    pub network: Network,
}

impl FromPattern {
    /// Whether a `from=` list lets `address` in: one pattern matches, and no
    /// negated one does. An empty list is no restriction.
    #[must_use]
    pub fn list_admits(patterns: &[Self], address: IpAddr) -> bool {
        patterns.is_empty()
            || (patterns
                .iter()
                .any(|p| !p.negated && p.network.contains(address))
                && !patterns
                    .iter()
                    .any(|p| p.negated && p.network.contains(address)))
    }
}

impl fmt::Display for FromPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.negated {
            f.write_str("!")?;
        }
        self.network.fmt(f)
    }
}

impl FromStr for FromPattern {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let (negated, text) = match text.strip_prefix('!') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        // Host bits are refused here, too: OpenSSH calls such a list inconsistent
        // and turns every login with the key down (addr.c, addr_pton_cidr).
        let network = if text == "*" {
            Network::Any
        } else {
            text.parse()?
        };
        Ok(Self { negated, network })
    }
}

impl Serialize for FromPattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
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

    #[test]
    fn mapped_addresses_match_ipv4_rules_and_the_other_way_round() {
        for (rule, address, inside) in [
            ("192.0.2.0/24", "192.0.2.255", true),
            ("192.0.2.0/24", "::ffff:192.0.2.1", true),
            ("::ffff:192.0.2.0/120", "192.0.2.9", true),
            ("::ffff:192.0.2.0/120", "192.0.3.9", false),
            ("192.0.2.7", "192.0.2.8", false),
            ("2001:db8::/32", "2001:db8:1::1", true),
            ("2001:db8::/32", "192.0.2.1", false),
            ("any", "2001:db8::1", true),
            ("any", "10.0.0.1", true),
            ("0.0.0.0/0", "::1", false),
        ] {
            assert_eq!(
                network(rule).contains(ip(address)),
                inside,
                "{rule} {address}"
            );
        }
    }

    #[test]
    fn everybody_is_everybody_however_it_is_written() {
        for (text, any) in [
            ("any", true),
            ("0.0.0.0/0", true),
            ("::/0", true),
            ("::ffff:0.0.0.0/96", true),
            ("0.0.0.0/1", false),
            ("0.0.0.0", false),
            ("::", false),
        ] {
            assert_eq!(network(text).is_any(), any, "{text}");
        }
    }

    #[test]
    fn what_is_not_a_network_is_refused() {
        for bad in [
            "",
            "192.0.2.0/33",
            "host.example",
            "192.0.2",
            "1.2.3.4/",
            "::/129",
        ] {
            assert!(bad.parse::<Network>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn host_bits_are_refused_with_both_meanings() {
        for (text, block, address) in [
            ("10.1.2.3/8", "10.0.0.0/8", "10.1.2.3/32"),
            ("2001:db8::7/32", "2001:db8::/32", "2001:db8::7/128"),
        ] {
            let expected = format!("{text} has host bits set; did you mean {block} or {address}?");
            assert_eq!(text.parse::<Network>().unwrap_err().to_string(), expected);
            assert!(text.parse::<FromPattern>().is_err(), "from={text}");
        }
    }

    #[test]
    fn a_network_counts_until_its_end_and_not_at_it() {
        let allowed = AllowedNetwork {
            network: network("10.0.0.0/8"),
            reason: None,
            until: Some(Timestamp::from_micros(10)),
            created_at: Timestamp::from_micros(0),
        };
        assert!(allowed.admits(ip("10.1.1.1"), Timestamp::from_micros(9)));
        assert!(!allowed.admits(ip("10.1.1.1"), Timestamp::from_micros(10)));
        assert!(!allowed.admits(ip("11.1.1.1"), Timestamp::from_micros(9)));
    }

    #[test]
    fn from_lists_honour_negation() {
        let list: Vec<FromPattern> = ["10.0.0.0/8", "!10.0.0.9"]
            .iter()
            .map(|p| p.parse().unwrap())
            .collect();
        assert!(FromPattern::list_admits(&list, ip("10.0.0.8")));
        assert!(!FromPattern::list_admits(&list, ip("10.0.0.9")));
        assert!(!FromPattern::list_admits(&list, ip("192.0.2.1")));
        assert!(FromPattern::list_admits(&[], ip("192.0.2.1")));
        // Only a negation: nothing matches positively, so nobody comes in.
        assert!(!FromPattern::list_admits(
            &["!10.0.0.9".parse().unwrap()],
            ip("10.0.0.8")
        ));
    }
}
