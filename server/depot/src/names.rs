//! Names and numbers of the things that are kept.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Longest name of an entity, account or home, in bytes.
pub const MAX_IDENTIFIER_BYTES: usize = 64;

/// Why a text is not a name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {what} name: {rule}")]
pub struct NameError {
    what: &'static str,
    text: String,
    rule: &'static str,
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $rule:literal, $first:expr, $rest:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                let first: fn(u8) -> bool = $first;
                let rest: fn(u8) -> bool = $rest;
                let bytes = text.as_bytes();
                let fits = bytes.len() <= MAX_IDENTIFIER_BYTES
                    && bytes.first().is_some_and(|byte| first(*byte))
                    && bytes.iter().all(|byte| rest(*byte));
                if fits {
                    Ok(Self(text.to_owned()))
                } else {
                    // A peer may have sent it: show a bounded, printable part.
                    let text = text.chars().take(80).flat_map(char::escape_default).collect();
                    Err(NameError { what: $what, text, rule: $rule })
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;

            fn try_from(text: String) -> Result<Self, NameError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }
    };
}

fn small_or_digit(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

fn identifier(byte: u8) -> bool {
    small_or_digit(byte) || matches!(byte, b'.' | b'_' | b'-')
}

name!(
    /// A business partner or team: owns accounts and homes.
    EntityName,
    "an entity",
    "1 to 64 of a-z 0-9 . _ -, beginning with a letter or digit",
    small_or_digit,
    identifier
);
name!(
    /// A person who approves holds.
    OperatorName,
    "an operator's",
    "1 to 64 of A-Z a-z 0-9 . _ - @, beginning with a letter or digit",
    |byte| byte.is_ascii_alphanumeric(),
    |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'@')
);
name!(
    /// What a partner logs in with.
    AccountName,
    "an account",
    "1 to 64 of A-Z a-z 0-9 . _ - @, beginning with a letter or digit",
    |byte| byte.is_ascii_alphanumeric(),
    |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'@')
);
name!(
    /// A home's folder below `[storage] homes`.
    HomeName,
    "a home",
    "1 to 64 of A-Z a-z 0-9 . _ - @, beginning with a letter or digit",
    |byte| byte.is_ascii_alphanumeric(),
    |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'@')
);
name!(
    /// A partner's own server that we connect to.
    IntegrationName,
    "an integration",
    "1 to 64 of a-z 0-9 . _ -, beginning with a letter or digit",
    small_or_digit,
    identifier
);
name!(
    /// A folder on a partner's server.
    LocationName,
    "a location",
    "1 to 64 of a-z 0-9 . _ -, beginning with a letter or digit",
    small_or_digit,
    identifier
);
name!(
    /// What moves files between a location and a home.
    FlowName,
    "a flow",
    "1 to 64 of a-z 0-9 . _ -, beginning with a letter or digit",
    small_or_digit,
    identifier
);

name!(
    /// What says which file is expected, where and by when.
    ExpectationName,
    "an expectation",
    "1 to 64 of a-z 0-9 . _ -, beginning with a letter or digit",
    small_or_digit,
    identifier
);
name!(
    /// Who is told of events.
    HookName,
    "a hook",
    "1 to 64 of a-z 0-9 . _ -, beginning with a letter or digit",
    small_or_digit,
    identifier
);

impl From<&AccountName> for HomeName {
    /// An account's own home carries its name.
    fn from(account: &AccountName) -> Self {
        Self(account.0.clone())
    }
}

macro_rules! number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        pub struct $name(pub i64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number!(
    /// An entity's row.
    EntityId
);
number!(
    /// An account's row; a removed account keeps it.
    AccountId
);
number!(
    /// A home's row.
    HomeId
);
number!(
    /// An integration's row; a removed integration keeps it.
    IntegrationId
);
number!(
    /// A file's row in the ledger.
    FileId
);

/// A live login: 16 hexadecimal digits, random.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct SessionId(pub(crate) String);

impl SessionId {
    /// A fresh one.
    ///
    /// # Errors
    /// The system's random source failed.
    pub fn random() -> Result<Self, getrandom::Error> {
        let mut bytes = [0_u8; 8];
        getrandom::fill(&mut bytes)?;
        Ok(Self(hex::encode(bytes)))
    }

    /// The digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for SessionId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Ok(Self(text.to_ascii_lowercase()));
        }
        let text = text
            .chars()
            .take(80)
            .flat_map(char::escape_default)
            .collect();
        Err(NameError {
            what: "a session",
            text,
            rule: "16 hexadecimal digits",
        })
    }
}

/// One process that works on the depot: a server, or a command line.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct NodeId(pub(crate) String);

impl NodeId {
    /// The text that the database keeps.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_their_rule_just_below_and_just_above() {
        assert!("a".repeat(64).parse::<AccountName>().is_ok());
        assert!("a".repeat(65).parse::<AccountName>().is_err());
        assert!("ACME@x.be".parse::<AccountName>().is_ok());
        assert!("ACME".parse::<EntityName>().is_err());
        for bad in ["", ".layover", "-x", "a/b", "a b", "..", "a\n", "é"] {
            assert!(bad.parse::<AccountName>().is_err(), "{bad:?}");
            assert!(bad.parse::<HomeName>().is_err(), "{bad:?}");
            assert!(bad.parse::<EntityName>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_bad_name_is_shown_escaped_and_short() {
        let error = format!("\n{}", "x".repeat(500))
            .parse::<EntityName>()
            .unwrap_err();
        assert!(error.to_string().len() < 250);
        assert!(error.to_string().contains("\\n"));
    }

    #[test]
    fn session_ids_differ_and_round_trip() {
        let one = SessionId::random().unwrap();
        assert_ne!(one, SessionId::random().unwrap());
        assert_eq!(one.as_str().parse::<SessionId>().unwrap(), one);
        assert!("zz".parse::<SessionId>().is_err());
    }
}
