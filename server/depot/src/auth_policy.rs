//! What an account must show to log in.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// What an account must show to log in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum AuthPolicy {
    /// A password; keys and certificates open nothing.
    Password,
    /// An SSH key or certificate, over FTPS a TLS client certificate; the password
    /// opens nothing.
    Key,
    /// Both: over SFTP in either order (RFC 4252 s.5.1, partial success), over
    /// FTPS the certificate first, because it comes with the handshake.
    KeyAndPassword,
    /// Either.
    #[default]
    Any,
}

/// The text names no policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a way to log in: expected password, key, key+password or any")]
pub struct AuthPolicyError {
    text: String,
}

impl AuthPolicy {
    /// Each of them, in the order of the command line.
    pub const EACH: &[Self] = &[Self::Password, Self::Key, Self::KeyAndPassword, Self::Any];

    /// Its word on the command line, in the database and in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::Key => "key",
            Self::KeyAndPassword => "key+password",
            Self::Any => "any",
        }
    }

    /// Whether nobody comes in without a key.
    #[must_use]
    pub const fn needs_key(self) -> bool {
        matches!(self, Self::Key | Self::KeyAndPassword)
    }

    /// Whether nobody comes in without a password.
    #[must_use]
    pub const fn needs_password(self) -> bool {
        matches!(self, Self::Password | Self::KeyAndPassword)
    }
}

impl fmt::Display for AuthPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for AuthPolicy {
    type Err = AuthPolicyError;

    fn from_str(text: &str) -> Result<Self, AuthPolicyError> {
        Self::EACH
            .iter()
            .copied()
            .find(|policy| policy.as_str() == text)
            .ok_or_else(|| AuthPolicyError {
                text: text.chars().take(80).collect(),
            })
    }
}

impl Serialize for AuthPolicy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_policy_is_read_as_it_is_written_and_nothing_else_is() {
        for policy in AuthPolicy::EACH {
            assert_eq!(policy.to_string().parse(), Ok(*policy));
        }
        for bad in ["", "Any", "password+key", "key,password", "none"] {
            assert!(bad.parse::<AuthPolicy>().is_err(), "{bad:?}");
        }
    }
}
