//! What can be wrong with settings, and where it stands.

use std::fmt;
use std::io;

/// Where a setting was written.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[non_exhaustive]
pub enum Origin {
    /// In a file; lines count from 1.
    File {
        /// The file as the operator knows it.
        name: String,
        /// The line, when the fault has one.
        line: Option<usize>,
    },
    /// In an environment variable.
    Env {
        /// The variable.
        name: String,
    },
    /// Nowhere: it is the default.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File {
                name,
                line: Some(line),
            } => write!(f, "{name}:{line}"),
            Self::File { name, line: None } => f.write_str(name),
            Self::Env { name } => write!(f, "environment variable {name}"),
            Self::Default => f.write_str("default"),
        }
    }
}

/// What is wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// There is no such key (or section).
    #[error("`{key}` is not known{}", suggestion.as_ref().map(|key| format!("; did you mean `{key}`?")).unwrap_or_default())]
    UnknownKey {
        /// As it was written.
        key: String,
        /// The nearest that exists.
        suggestion: Option<String>,
    },
    /// The key exists but does not take this value.
    #[error("`{key}` is {value}; expected {expected}")]
    WrongValue {
        /// Section and name.
        key: String,
        /// As it was written, unless it might be a secret.
        value: String,
        /// What would be right.
        expected: String,
    },
    /// The file is no TOML here.
    #[error("not valid TOML: {message}")]
    Syntax {
        /// What the parser says.
        message: String,
    },
    /// The file cannot be read.
    #[error("cannot be read: {source}")]
    Unreadable {
        /// Why.
        source: io::Error,
    },
    /// The file is not text.
    #[error("is not UTF-8 text")]
    NotText,
    /// The file is larger than any settings are.
    #[error("is larger than {limit_bytes} bytes")]
    TooLarge {
        /// The limit.
        limit_bytes: u64,
    },
}

/// One fault and its place.
#[derive(Debug, thiserror::Error)]
#[error("{origin}: {fault}")]
pub struct ConfigError {
    /// Where it was written.
    pub origin: Origin,
    /// What is wrong.
    pub fault: Fault,
}

/// Everything that is wrong, at least one fault: those of the file in the order
/// of its lines, then those of the environment, then those of the defaults.
#[derive(Debug)]
pub struct ConfigErrors(Vec<ConfigError>);

impl ConfigErrors {
    /// `Err` when there is a fault.
    pub(crate) fn check(mut errors: Vec<ConfigError>) -> Result<(), Self> {
        if errors.is_empty() {
            return Ok(());
        }
        errors.sort_by(|a, b| a.origin.cmp(&b.origin));
        Err(Self(errors))
    }

    /// Each fault.
    #[must_use]
    pub fn errors(&self) -> &[ConfigError] {
        &self.0
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.len() {
            1 => f.write_str("the settings have a fault:")?,
            count => write!(f, "the settings have {count} faults:")?,
        }
        for error in &self.0 {
            write!(f, "\n  {error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}
