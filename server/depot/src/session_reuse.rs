//! Whether data connections over FTPS must prove whose they are.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// Must a data connection resume the TLS session of its control connection?
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum SessionReuse {
    /// What resumes must fit; what does not resume comes in by address, random
    /// port and single use.
    #[default]
    Auto,
    /// Only what resumes its own control connection's session.
    Require,
    /// Nothing is checked.
    Off,
}

/// The text names no rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no rule for session reuse: expected auto, require or off")]
pub struct SessionReuseError {
    text: String,
}

impl SessionReuse {
    /// Each of them, in the order of the command line.
    pub const EACH: &[Self] = &[Self::Auto, Self::Require, Self::Off];

    /// Its word on the command line, in the database and in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Require => "require",
            Self::Off => "off",
        }
    }
}

impl fmt::Display for SessionReuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for SessionReuse {
    type Err = SessionReuseError;

    fn from_str(text: &str) -> Result<Self, SessionReuseError> {
        Self::EACH
            .iter()
            .copied()
            .find(|rule| rule.as_str() == text)
            .ok_or_else(|| SessionReuseError {
                text: text.chars().take(80).collect(),
            })
    }
}

impl Serialize for SessionReuse {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_is_read_as_it_is_written_and_nothing_else_is() {
        for rule in SessionReuse::EACH {
            assert_eq!(rule.to_string().parse(), Ok(*rule));
        }
        for bad in ["", "Auto", "required", "default"] {
            assert!(bad.parse::<SessionReuse>().is_err(), "{bad:?}");
        }
    }
}
