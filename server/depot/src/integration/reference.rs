//! Where a secret is, for whoever resolves it when it is used. The depot never
//! does, and keeps nothing but the reference.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Longest reference, in bytes.
pub const MAX_REFERENCE_BYTES: usize = 4096;

/// The text is no reference. It is not repeated: it may be a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a secret reference is env:NAME, file:/path or vault:path#field")]
pub struct NotAReference;

/// `env:NAME`, `file:/path` or `vault:path#field`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SecretReference(String);

impl SecretReference {
    /// The reference as it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SecretReference {
    type Err = NotAReference;

    fn from_str(text: &str) -> Result<Self, NotAReference> {
        if text.len() > MAX_REFERENCE_BYTES || text.contains(char::is_control) {
            return Err(NotAReference);
        }
        let (scheme, rest) = text.split_once(':').ok_or(NotAReference)?;
        let fits = match scheme {
            "env" => is_variable_name(rest),
            "file" => !rest.is_empty(),
            "vault" => rest
                .rsplit_once('#')
                .is_some_and(|(path, field)| !path.is_empty() && !field.is_empty()),
            _ => false,
        };
        fits.then(|| Self(text.to_owned())).ok_or(NotAReference)
    }
}

fn is_variable_name(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with(|first: char| first.is_ascii_digit())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

impl fmt::Display for SecretReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for SecretReference {
    type Error = NotAReference;

    fn try_from(text: String) -> Result<Self, NotAReference> {
        text.parse()
    }
}

impl From<SecretReference> for String {
    fn from(reference: SecretReference) -> Self {
        reference.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_taken_as_they_are_and_nothing_else_is() {
        for good in ["env:A_1", "file:/run/x", "file:x", "vault:kv/ftp#password"] {
            assert_eq!(good.parse::<SecretReference>().unwrap().as_str(), good);
        }
        for bad in [
            "",
            "hunter2",
            "env:",
            "env:1A",
            "env:A B",
            "file:",
            "vault:x",
            "vault:#f",
            "vault:p#",
            "FILE:/x",
            "file:/a\nb",
        ] {
            assert_eq!(
                bad.parse::<SecretReference>(),
                Err(NotAReference),
                "{bad:?}"
            );
        }
        let longest = format!("file:{}", "x".repeat(MAX_REFERENCE_BYTES - 5));
        assert!(longest.parse::<SecretReference>().is_ok());
        assert!(format!("{longest}x").parse::<SecretReference>().is_err());
        let said = "hunter2"
            .parse::<SecretReference>()
            .unwrap_err()
            .to_string();
        assert!(!said.contains("hunter2"));
    }
}
