//! Host names and addresses by which others know us.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use crate::schema::Setting;
use crate::value::{Value, quoted};

/// Longest host name and longest label of one (RFC 1035 s.2.3.4).
const MAX_NAME_BYTES: usize = 253;
const MAX_LABEL_BYTES: usize = 63;

/// A host by name or by address.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Host {
    /// By address; never the unspecified one.
    Address(IpAddr),
    /// By name, as RFC 1123 s.2.1 allows it.
    Name(String),
}

impl Host {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if let Ok(address) = text.parse::<IpAddr>() {
            return (!address.is_unspecified()).then_some(Self::Address(address));
        }
        let labels_are_good = text.split('.').all(|label| {
            (1..=MAX_LABEL_BYTES).contains(&label.len())
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        });
        // A last label of digits is a mistyped IPv4 address (RFC 1123 s.2.1).
        let number = text
            .rsplit('.')
            .next()
            .is_some_and(|label| label.parse::<u64>().is_ok());
        (labels_are_good && !number && text.len() <= MAX_NAME_BYTES)
            .then(|| Self::Name(text.to_owned()))
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Name(name) => f.pad(name),
        }
    }
}

/// Why a text is no [`Host`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("neither a host name such as files.example.com nor an address")]
pub struct NotAHost;

impl FromStr for Host {
    type Err = NotAHost;

    fn from_str(text: &str) -> Result<Self, NotAHost> {
        Self::parse(text).ok_or(NotAHost)
    }
}

impl Setting for Host {
    fn read(value: &Value) -> Result<Self, String> {
        let host = value.text().and_then(Self::parse);
        host.ok_or_else(|| "a host name or IP address such as \"files.example.com\"".to_owned())
    }

    fn write(&self) -> String {
        quoted(&self.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::Host;

    #[test]
    fn names_and_addresses_are_told_apart() {
        assert!(matches!(
            Host::parse("files.example.com"),
            Some(Host::Name(_))
        ));
        assert!(matches!(Host::parse("localhost"), Some(Host::Name(_))));
        assert!(matches!(Host::parse("192.0.2.1"), Some(Host::Address(_))));
        assert!(matches!(Host::parse("2001:db8::1"), Some(Host::Address(_))));
    }

    #[test]
    fn what_is_neither_is_refused() {
        for text in [
            "",
            ".",
            "a..b",
            "-a",
            "a-",
            "a b",
            "a_b",
            "192.0.2.256",
            "0.0.0.0",
            "::",
            "a\r\nb",
            "ä.example",
        ] {
            assert_eq!(Host::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_label_has_at_most_63_bytes_and_a_name_253() {
        let label = "a".repeat(63);
        assert!(Host::parse(&label).is_some());
        assert!(Host::parse(&format!("{label}a")).is_none());
        let name = [label.as_str(), &label, &label, &"a".repeat(61)].join(".");
        assert_eq!(name.len(), 253);
        assert!(Host::parse(&name).is_some());
        assert!(Host::parse(&format!("{name}a")).is_none());
    }
}
