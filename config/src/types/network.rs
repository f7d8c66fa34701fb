//! Networks of clients.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::schema::Setting;
use crate::value::{Value, quoted};

/// Prefix length of ::ffff:0:0/96, in which IPv6 sockets show IPv4 clients.
const MAPPED_PREFIX: u8 = 96;

/// Networks; a text for one is `10.0.0.0/8`, `192.0.2.1`, `2001:db8::/32` or
/// `any`. IPv4-mapped IPv6 networks are held as IPv4.
#[derive(Clone, PartialEq, Eq, Hash, Default, Debug)]
pub struct Networks(Vec<IpNet>);

impl Networks {
    /// Each network; `any` is 0.0.0.0/0 and ::/0.
    pub fn iter(&self) -> impl Iterator<Item = IpNet> + '_ {
        self.0.iter().copied()
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether one of them holds `address`, which may be IPv4-mapped.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    /// Adds what one text names.
    fn add(&mut self, text: &str) -> Result<(), String> {
        if text == "any" {
            self.0
                .push(IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::UNSPECIFIED, 0)));
            self.0
                .push(IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::UNSPECIFIED, 0)));
            return Ok(());
        }
        let network = match text.parse::<IpAddr>() {
            Ok(address) => IpNet::from(address),
            Err(_) => text.parse().map_err(|_| {
                "a network such as \"10.0.0.0/8\", \"192.0.2.1\", \"2001:db8::/32\" or \"any\""
                    .to_owned()
            })?,
        };
        if network.trunc() != network {
            return Err(format!(
                "a network: {network} has host bits set; did you mean {} or {}?",
                network.trunc(),
                IpNet::from(network.addr())
            ));
        }
        self.0.push(unmapped(network));
        Ok(())
    }

    /// Reads one text or a list of texts.
    pub(crate) fn read_one_or_more(value: &Value) -> Result<Self, String> {
        let mut networks = Self::default();
        match value {
            Value::Text(text) => networks.add(text)?,
            _ => networks = Self::read(value)?,
        }
        Ok(networks)
    }
}

/// An IPv4-mapped IPv6 network as the IPv4 network it stands for.
fn unmapped(network: IpNet) -> IpNet {
    let IpNet::V6(v6) = network else {
        return network;
    };
    let address = v6.addr().to_ipv4_mapped();
    let prefix = v6.prefix_len().checked_sub(MAPPED_PREFIX);
    let v4 = address
        .zip(prefix)
        .and_then(|(address, prefix)| Ipv4Net::new(address, prefix).ok());
    v4.map_or(network, IpNet::V4)
}

impl Setting for Networks {
    fn read(value: &Value) -> Result<Self, String> {
        let items = value
            .list()
            .ok_or_else(|| "a list of networks such as [\"10.0.0.0/8\"]".to_owned())?;
        let mut networks = Self::default();
        for (item, number) in items.iter().zip(1..) {
            // Not a text: let it fail as an empty one does.
            let added = networks.add(item.text().unwrap_or_default());
            added.map_err(|expected| format!("as item {number} {expected}"))?;
        }
        Ok(networks)
    }

    fn write(&self) -> String {
        let items: Vec<_> = self
            .0
            .iter()
            .map(|network| quoted(&network.to_string()))
            .collect();
        format!("[{}]", items.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::Networks;
    use crate::schema::Setting;
    use crate::value::Value;

    fn read(text: &str) -> Result<Networks, String> {
        Networks::read(&Value::List(vec![Value::Text(text.to_owned())]))
    }

    #[test]
    fn every_form_of_a_network_holds_what_it_should_and_not_its_neighbour() {
        for (text, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.1"),
            ("192.0.2.1", "192.0.2.1", "192.0.2.2"),
            ("192.0.2.1", "::ffff:192.0.2.1", "::ffff:192.0.2.2"),
            ("::ffff:10.0.0.0/104", "10.1.2.3", "11.1.2.3"),
            ("::ffff:192.0.2.1", "192.0.2.1", "192.0.2.2"),
            ("2001:db8::/32", "2001:db8::1", "2001:db9::1"),
            ("2001:db8::1", "2001:db8::1", "10.0.0.1"),
        ] {
            let networks = read(text).unwrap();
            assert!(
                networks.contains(inside.parse().unwrap()),
                "{text} holds {inside}"
            );
            assert!(
                !networks.contains(outside.parse().unwrap()),
                "{text} holds not {outside}"
            );
        }
    }

    #[test]
    fn any_is_every_address_of_both_families() {
        let any = read("any").unwrap();
        for address in ["10.0.0.1", "2001:db8::1", "::ffff:10.0.0.1"] {
            assert!(any.contains(address.parse().unwrap()), "{address}");
        }
        assert_eq!(any.write(), r#"["0.0.0.0/0", "::/0"]"#);
    }

    #[test]
    fn a_wrong_network_is_refused_with_its_number() {
        for text in [
            "",
            "10.0.0.0/33",
            "10.0.0",
            "example.com",
            "10.0.0.0/8 ",
            "all",
        ] {
            assert!(
                read(text)
                    .unwrap_err()
                    .starts_with("as item 1 a network such as"),
                "{text}"
            );
        }
        assert!(Networks::read(&Value::List(vec![Value::Integer(10)])).is_err());
        assert!(Networks::read(&Value::Text("10.0.0.0/8".to_owned())).is_err());
    }

    #[test]
    fn bits_behind_the_prefix_are_refused_with_both_meanings() {
        let expected = read("10.0.0.1/8").unwrap_err();
        assert!(
            expected
                .contains("10.0.0.1/8 has host bits set; did you mean 10.0.0.0/8 or 10.0.0.1/32?"),
            "{expected}"
        );
    }
}
