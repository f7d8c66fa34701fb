//! Integrations, locations, flows and expectations as YAML: read, with every mistake at its
//! line, and written. Besides our own form it reads the partner files and flow
//! files of Xferity as they stand.
//!
//! The parser below is `saphyr-parser`: pure Rust, kept, YAML 1.2, and it gives
//! events with lines. A deserialiser of serde would end at the first mistake.

mod expectation;
mod flow;
mod foreign;
mod node;
mod read;
mod write;

use std::collections::HashMap;
use std::fmt;

use layover_depot::{EntityName, ExpectationDefinition, FlowDefinition, WantedIntegration};

pub(crate) use read::read;
pub(crate) use write::write;

/// Largest file that is read, in bytes.
pub(crate) const MAX_MANIFEST_BYTES: u64 = 4 * 1024 * 1024;

/// What a file says.
#[derive(Debug, Default)]
pub(crate) struct Manifest {
    pub(crate) integrations: Vec<ReadIntegration>,
    pub(crate) flows: Vec<(usize, FlowDefinition)>,
    pub(crate) expectations: Vec<(usize, ExpectationDefinition)>,
}

/// An integration, and where its parts stand.
#[derive(Debug)]
pub(crate) struct ReadIntegration {
    pub(crate) wanted: WantedIntegration,
    pub(crate) line: usize,
    /// Lines of the fields that are there.
    pub(crate) lines: HashMap<&'static str, usize>,
}

/// A mistake in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mistake {
    pub(crate) line: usize,
    pub(crate) text: String,
}

impl Mistake {
    pub(crate) fn new(line: usize, text: impl Into<String>) -> Self {
        Self {
            line,
            text: text.into(),
        }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.text)
    }
}

/// What the caller says beside the file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Given<'a> {
    /// The entity of integrations that name none.
    pub(crate) entity: Option<&'a EntityName>,
}

#[cfg(test)]
mod tests;
