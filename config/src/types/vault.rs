//! Where HashiCorp Vault is, for references to its secrets.

use std::fmt;

use super::secret::SecretRef;
use crate::schema::Setting;
use crate::types::host::Host;
use crate::value::{Value, quoted};

/// Longest namespace, in bytes.
const MAX_NAMESPACE_BYTES: usize = 256;

/// `https://host[:port]`: a token goes over TLS alone.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct VaultAddress(String);

impl VaultAddress {
    /// Reads what an operator wrote, there or in the environment.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim().trim_end_matches('/');
        let rest = text.strip_prefix("https://")?;
        let (host, port) = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, after)) => (host, after.strip_prefix(':').or_else(|| empty(after))?),
            None => rest.split_once(':').unwrap_or((rest, "")),
        };
        let is_port = port.is_empty() || port.parse::<u16>().is_ok_and(|port| port > 0);
        (Host::parse(host).is_some() && is_port).then(|| Self(text.to_owned()))
    }

    /// The address.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn empty(text: &str) -> Option<&str> {
    text.is_empty().then_some(text)
}

impl fmt::Display for VaultAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl Setting for VaultAddress {
    fn read(value: &Value) -> Result<Self, String> {
        let address = value.text().and_then(Self::parse);
        address.ok_or_else(|| "https://host or https://host:port".to_owned())
    }

    fn write(&self) -> String {
        quoted(&self.0)
    }
}

/// Where Vault's token is: `env:NAME` or `file:/path`.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct VaultToken(SecretRef);

impl VaultToken {
    /// Where Vault's own tools look for it.
    pub(crate) fn usual() -> Self {
        Self(SecretRef::Env("VAULT_TOKEN".to_owned()))
    }

    /// The reference.
    #[must_use]
    pub const fn reference(&self) -> &SecretRef {
        &self.0
    }
}

impl Setting for VaultToken {
    // Somebody may have pasted the token itself.
    const HIDDEN: bool = true;

    fn read(value: &Value) -> Result<Self, String> {
        let reference = value.text().and_then(|text| text.parse().ok());
        let here = reference.filter(|one| !matches!(one, SecretRef::Vault { .. }));
        here.map(Self)
            .ok_or_else(|| "env:NAME or file:/path".to_owned())
    }

    fn write(&self) -> String {
        quoted(&self.0.to_string())
    }
}

/// A namespace of Vault's.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct VaultNamespace(String);

impl VaultNamespace {
    /// The namespace.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Setting for VaultNamespace {
    fn read(value: &Value) -> Result<Self, String> {
        let text = value.text().filter(|text| {
            (1..=MAX_NAMESPACE_BYTES).contains(&text.len())
                && text.bytes().all(|byte| byte.is_ascii_graphic())
        });
        text.map(|text| Self(text.to_owned()))
            .ok_or_else(|| format!("a namespace of 1 to {MAX_NAMESPACE_BYTES} printable bytes"))
    }

    fn write(&self) -> String {
        quoted(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vault_is_spoken_to_over_tls_at_a_host_and_nothing_else() {
        for good in [
            "https://vault.example.com",
            "https://vault.example.com:8200",
            "https://192.0.2.7:8200",
            "https://[2001:db8::7]:8200",
            "https://[2001:db8::7]",
        ] {
            assert_eq!(VaultAddress::parse(good).unwrap().as_str(), good);
        }
        let slash = VaultAddress::parse("https://vault.example.com/").unwrap();
        assert_eq!(slash.as_str(), "https://vault.example.com");
        for bad in [
            "",
            "http://vault.example.com",
            "vault.example.com",
            "https://",
            "https://a b",
            "https://v:0",
            "https://v:99999",
            "https://v/path",
            "https://user@v",
            "https://[::1]8200",
        ] {
            assert_eq!(VaultAddress::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_namespace_has_at_most_its_limit_of_bytes() {
        let read = |length: usize| VaultNamespace::read(&Value::Text("n".repeat(length)));
        assert!(read(MAX_NAMESPACE_BYTES).is_ok());
        assert!(read(MAX_NAMESPACE_BYTES + 1).is_err());
    }

    #[test]
    fn a_token_is_never_kept_in_the_vault_that_it_opens() {
        let read = |text: &str| VaultToken::read(&Value::Text(text.to_owned()));
        assert!(read("env:VAULT_TOKEN").is_ok() && read("file:/run/token").is_ok());
        for bad in ["vault:kv/x#token", "hvs.secret", ""] {
            assert!(!read(bad).unwrap_err().contains("hvs"), "{bad}");
        }
    }
}
