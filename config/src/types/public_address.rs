//! The address that clients are told for data connections.

use std::net::IpAddr;

use crate::schema::Setting;
use crate::types::host::Host;
use crate::types::network::Networks;
use crate::value::{Value, quoted};

const EXPECTED: &str = "an IPv4 address or host name, or rules such as \
    [{ from = \"10.0.0.0/8\", address = \"10.0.0.5\" }, { from = \"any\", address = \"203.0.113.5\" }]";

/// Why an IPv6 address is refused: nobody would ever be told it (RFC 2428 s.1, s.3).
const NO_IPV6: &str = "an IPv4 address or host name: only PASV tells an address, and it knows \
    IPv4 alone; EPSV, which clients over IPv6 use, needs none";

/// Which address a client is told. Without rules, the one it came to.
#[derive(Clone, PartialEq, Eq, Hash, Default, Debug)]
pub struct PublicAddress {
    rules: Vec<PublicAddressRule>,
}

/// The address for clients of some networks.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct PublicAddressRule {
    /// Networks of the clients.
    pub from: Networks,
    /// What they are told; never an IPv6 address.
    pub address: Host,
}

impl PublicAddress {
    /// What a client at `address` is told: the first rule that fits it. `None`
    /// when none does; the client is then told the address it came to.
    #[must_use]
    pub fn for_client(&self, address: IpAddr) -> Option<&Host> {
        self.rules
            .iter()
            .find(|rule| rule.from.contains(address))
            .map(|rule| &rule.address)
    }

    /// The rules in their order; a single address is one rule for `any`.
    #[must_use]
    pub fn rules(&self) -> &[PublicAddressRule] {
        &self.rules
    }
}

/// A host that PASV can tell.
fn told(host: Host) -> Result<Host, String> {
    match host {
        Host::Address(IpAddr::V6(_)) => Err(NO_IPV6.to_owned()),
        host => Ok(host),
    }
}

impl PublicAddressRule {
    fn read(value: &Value) -> Result<Self, String> {
        let Value::Table(entries) = value else {
            return Err("{ from = NETWORK, address = ADDRESS }".to_owned());
        };
        let (mut from, mut address) = (None, None);
        for (key, value) in entries {
            match key.as_str() {
                "from" => from = Some(Networks::read_one_or_more(value)?),
                "address" => address = Some(told(Host::read(value)?)?),
                other => return Err(format!("only `from` and `address`, not `{other}`")),
            }
        }
        let (from, address) = from.zip(address).ok_or("both `from` and `address`")?;
        Ok(Self { from, address })
    }
}

impl Setting for PublicAddress {
    fn read(value: &Value) -> Result<Self, String> {
        let rules = match value {
            Value::Text(text) | Value::Env(text) if text.is_empty() => Vec::new(),
            Value::Text(text) | Value::Env(text) => {
                let address = told(Host::parse(text).ok_or_else(|| EXPECTED.to_owned())?)?;
                let any = Value::Text("any".to_owned());
                vec![PublicAddressRule {
                    from: Networks::read_one_or_more(&any)?,
                    address,
                }]
            }
            Value::List(rules) => rules
                .iter()
                .zip(1..)
                .map(|(rule, number)| {
                    PublicAddressRule::read(rule)
                        .map_err(|expected| format!("as rule {number} {expected}"))
                })
                .collect::<Result<_, _>>()?,
            _ => return Err(EXPECTED.to_owned()),
        };
        Ok(Self { rules })
    }

    fn write(&self) -> String {
        if self.rules.is_empty() {
            return quoted("");
        }
        let rules: Vec<_> = self
            .rules
            .iter()
            .map(|rule| {
                format!(
                    "{{ from = {}, address = {} }}",
                    rule.from.write(),
                    rule.address.write()
                )
            })
            .collect();
        format!("[{}]", rules.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use toml::de::DeValue;

    use super::PublicAddress;
    use crate::schema::Setting;
    use crate::value::Value;

    fn read(toml: &str) -> Result<PublicAddress, String> {
        PublicAddress::read(&Value::from_toml(DeValue::parse(toml).unwrap().get_ref()))
    }

    fn told(address: &PublicAddress, client: &str) -> Option<String> {
        address
            .for_client(client.parse().unwrap())
            .map(ToString::to_string)
    }

    #[test]
    fn one_address_is_told_to_every_client() {
        for text in [r#""203.0.113.5""#, r#""ftp.example.com""#] {
            let address = read(text).unwrap();
            assert_eq!(told(&address, "10.1.1.1").unwrap(), text.trim_matches('"'));
            assert_eq!(
                told(&address, "2001:db8::1").unwrap(),
                text.trim_matches('"')
            );
        }
    }

    #[test]
    fn the_first_rule_that_fits_a_client_counts() {
        let address = read(
            r#"[{ from = "10.0.0.0/8", address = "10.0.0.5" },
                { from = ["192.0.2.0/24", "10.0.0.0/8"], address = "203.0.113.5" }]"#,
        )
        .unwrap();
        assert_eq!(told(&address, "10.1.1.1").as_deref(), Some("10.0.0.5"));
        assert_eq!(
            told(&address, "::ffff:10.1.1.1").as_deref(),
            Some("10.0.0.5")
        );
        assert_eq!(told(&address, "192.0.2.9").as_deref(), Some("203.0.113.5"));
        assert_eq!(told(&address, "198.51.100.1"), None);
        assert_eq!(told(&read(r#""""#).unwrap(), "10.1.1.1"), None);
    }

    #[test]
    fn what_is_written_reads_back_equal() {
        let text = r#"[{ from = ["10.0.0.0/8"], address = "ftp.example.com" }]"#;
        let address = read(text).unwrap();
        assert_eq!(address.write(), text);
    }

    #[test]
    fn a_wrong_rule_is_refused_with_its_number_and_fault() {
        for (text, fault) in [
            (r#"[{ from = "10.0.0.0/8" }]"#, "as rule 1 both"),
            (
                r#"[{ from = "any", address = "10.0.0.5", port = 1 }]"#,
                "not `port`",
            ),
            (
                r#"[{ from = "10.0.0.0/99", address = "10.0.0.5" }]"#,
                "as rule 1 a network",
            ),
            (r#"["10.0.0.5"]"#, "as rule 1 {"),
            (r#""0.0.0.0""#, "an IPv4 address or host name"),
            ("7", "an IPv4 address or host name"),
            (r#""2001:db8::1""#, "EPSV, which clients over IPv6 use"),
            (
                r#"[{ from = "any", address = "2001:db8::1" }]"#,
                "as rule 1 an IPv4 address",
            ),
        ] {
            let expected = read(text).unwrap_err();
            assert!(expected.contains(fault), "{text}: {expected}");
        }
    }
}
