//! The addresses that PASV tells: those of `[ftps] public_address`, looked up
//! where it names a host.
//!
//! A name is looked up at the start, where it must have an IPv4 address, and again
//! while the server runs. When that fails the address found last stays: clients
//! that could transfer a minute ago still can.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use layover_config::{Host, Networks, PublicAddress};
use layover_depot::timer;
use layover_ftps::{AnnouncedAddress, AnnouncedRule};

/// Resolvers give up by themselves, some after half a minute.
const LOOK_UP_LIMIT: Duration = Duration::from_secs(15);

/// What a resolver finds.
type Found = io::Result<Vec<IpAddr>>;

/// Why a public address cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum PublicAddressError {
    /// The name is unknown, or nobody answers.
    #[error("[ftps] public_address: `{name}` cannot be looked up")]
    NotFound {
        /// The name.
        name: String,
        /// What the resolver says.
        source: io::Error,
    },
    /// The name has other addresses only.
    #[error("[ftps] public_address: `{name}` has no IPv4 address, and PASV can tell no other")]
    NoIpv4 {
        /// The name.
        name: String,
    },
}

/// The rules with the addresses that were found last.
#[derive(Debug)]
pub struct PublicAddresses {
    rules: Vec<Rule>,
    told: Arc<AnnouncedAddress>,
}

#[derive(Clone, Debug)]
struct Rule {
    from: Networks,
    host: Host,
    address: Ipv4Addr,
}

impl PublicAddresses {
    /// Looks up every name of the setting.
    ///
    /// # Errors
    /// When one has no IPv4 address.
    pub async fn look_up(setting: &PublicAddress) -> Result<Self, PublicAddressError> {
        Self::look_up_with(setting, system).await
    }

    async fn look_up_with<F: Future<Output = Found>>(
        setting: &PublicAddress,
        resolve: impl Fn(String) -> F,
    ) -> Result<Self, PublicAddressError> {
        let mut rules = Vec::new();
        for rule in setting.rules() {
            rules.push(Rule {
                from: rule.from.clone(),
                host: rule.address.clone(),
                address: address_of(&rule.address, None, &resolve).await?,
            });
        }
        let told = Arc::new(AnnouncedAddress::new(announced(&rules)));
        Ok(Self { rules, told })
    }

    /// What PASV answers by; follows every [`Self::look_again`].
    #[must_use]
    pub(crate) fn told(&self) -> Arc<AnnouncedAddress> {
        Arc::clone(&self.told)
    }

    /// Each host as it was written, with its address.
    pub fn found(&self) -> impl Iterator<Item = (&Host, Ipv4Addr)> {
        self.rules.iter().map(|rule| (&rule.host, rule.address))
    }

    /// Whether an address may change: a name is among the hosts.
    pub(crate) fn has_names(&self) -> bool {
        self.rules
            .iter()
            .any(|rule| matches!(rule.host, Host::Name(_)))
    }

    /// Looks up every name again and tells clients from now on what was found.
    ///
    /// # Errors
    /// The first name that has no IPv4 address now; its last one stays.
    pub(crate) async fn look_again(&mut self) -> Result<(), PublicAddressError> {
        self.look_again_with(system).await
    }

    async fn look_again_with<F: Future<Output = Found>>(
        &mut self,
        resolve: impl Fn(String) -> F,
    ) -> Result<(), PublicAddressError> {
        let mut first_fault = None;
        let mut changed = false;
        for rule in &mut self.rules {
            match address_of(&rule.host, Some(rule.address), &resolve).await {
                Ok(found) if found != rule.address => {
                    tracing::info!(
                        "[ftps] public_address: `{}` is {found} now, not {}; PASV tells it from here on",
                        rule.host,
                        rule.address
                    );
                    rule.address = found;
                    changed = true;
                }
                Ok(_) => {}
                Err(fault) => first_fault = first_fault.or(Some(fault)),
            }
        }
        if changed {
            self.told.replace(announced(&self.rules));
        }
        first_fault.map_or(Ok(()), Err)
    }
}

fn announced(rules: &[Rule]) -> Vec<AnnouncedRule> {
    rules
        .iter()
        .flat_map(|rule| rule.from.iter().map(|network| (network, rule.address)))
        .collect()
}

/// The host's address; of several the `last` one, while it is among them: resolvers
/// change their order.
async fn address_of<F: Future<Output = Found>>(
    host: &Host,
    last: Option<Ipv4Addr>,
    resolve: impl Fn(String) -> F,
) -> Result<Ipv4Addr, PublicAddressError> {
    let name = match host {
        Host::Address(IpAddr::V4(address)) => return Ok(*address),
        // Settings refuse it; here for whoever makes them otherwise.
        Host::Address(IpAddr::V6(address)) => {
            let name = address.to_string();
            return Err(PublicAddressError::NoIpv4 { name });
        }
        Host::Name(name) => name.clone(),
    };
    let found = match resolve(name.clone()).await {
        Ok(found) => found,
        Err(source) => return Err(PublicAddressError::NotFound { name, source }),
    };
    let ipv4 = || {
        found.iter().filter_map(|address| match address {
            IpAddr::V4(address) => Some(*address),
            IpAddr::V6(_) => None,
        })
    };
    ipv4()
        .find(|address| last == Some(*address))
        .or_else(|| ipv4().next())
        .ok_or(PublicAddressError::NoIpv4 { name })
}

/// The system's resolver: /etc/hosts, DNS.
async fn system(name: String) -> Found {
    let found = timer::timeout(LOOK_UP_LIMIT, tokio::net::lookup_host((name, 0))).await;
    let found = found.map_err(|timer::Elapsed| io::Error::from(io::ErrorKind::TimedOut))??;
    Ok(found.map(|address| address.ip()).collect())
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use layover_config::Settings;

    use super::*;

    fn setting(toml: &str) -> PublicAddress {
        let text = format!("[ftps]\npublic_address = {toml}\n");
        let settings = Settings::parse(&text, "test", std::iter::empty()).unwrap();
        settings.ftps.public_address
    }

    fn addresses(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[tokio::test]
    async fn a_name_gets_its_ipv4_address_at_the_start() {
        let rules = r#"[{ from = "10.0.0.0/8", address = "localhost" },
                        { from = "any", address = "203.0.113.5" }]"#;
        let found = PublicAddresses::look_up(&setting(rules)).await.unwrap();
        let found: Vec<_> = found
            .found()
            .map(|(host, address)| (host.to_string(), address.to_string()))
            .collect();
        let pair = |host: &str, address: &str| (host.to_owned(), address.to_owned());
        assert_eq!(
            found,
            [
                pair("localhost", "127.0.0.1"),
                pair("203.0.113.5", "203.0.113.5")
            ]
        );
    }

    #[tokio::test]
    async fn a_name_without_an_ipv4_address_is_refused_at_the_start() {
        let setting = setting(r#""nonsense.example""#);
        let unknown = async |_: String| Err(io::ErrorKind::NotFound.into());
        let refused = PublicAddresses::look_up_with(&setting, unknown).await;
        let said = refused.unwrap_err().to_string();
        assert!(said.contains("`nonsense.example` cannot be looked up"));
        let ipv6 = async |_: String| Ok(addresses(&["2001:db8::1"]));
        let refused = PublicAddresses::look_up_with(&setting, ipv6).await;
        assert!(refused.unwrap_err().to_string().contains("no IPv4 address"));
    }

    #[tokio::test]
    async fn a_name_follows_its_address_and_keeps_the_last_one_when_nothing_is_found() {
        let mut told = PublicAddresses::look_up(&setting(r#""localhost""#))
            .await
            .unwrap();
        let answers: Mutex<Vec<io::Result<Vec<IpAddr>>>> = Mutex::new(vec![
            Ok(addresses(&["::1"])),
            Err(io::ErrorKind::TimedOut.into()),
            // Another order alone is no change.
            Ok(addresses(&["192.0.2.9", "192.0.2.7"])),
            Ok(addresses(&["::1", "192.0.2.7", "192.0.2.9"])),
        ]);
        let resolve = async |_: String| answers.lock().unwrap().pop().unwrap();
        for (address, fault) in [
            ("192.0.2.7", None),
            ("192.0.2.7", None),
            ("192.0.2.7", Some("cannot be looked up")),
            ("192.0.2.7", Some("no IPv4 address")),
        ] {
            let looked = told.look_again_with(resolve).await;
            let said = looked.err().map(|error| error.to_string());
            assert_eq!(said.is_some(), fault.is_some(), "{said:?}");
            assert!(said.is_none_or(|said| said.contains(fault.unwrap())));
            let (_, now) = told.found().next().unwrap();
            assert_eq!(now.to_string(), address);
        }
    }
}
