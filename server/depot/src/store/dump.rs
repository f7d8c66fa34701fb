//! What the database is made of, as a backup holds it.

use super::StoreError;
use super::steps::Value;

/// Every table, each behind those that it refers to.
pub(super) const TABLES: &[&str] = &[
    "generation",
    "nodes",
    "entities",
    "homes",
    "accounts",
    "account_keys",
    "account_networks",
    "account_permissions",
    "account_certificates",
    "files",
    "path_claims",
    "sessions",
    "journal",
    "jobs",
    "homes_storage",
    "folder_keeps",
    "removal_failures",
    "operators",
    "holds",
    "hold_approvals",
    "held_files",
    "certificates",
    "chain_links",
    "chain_heads",
    "chain_checkpoints",
    "signing_keys",
    "node_clocks",
    "integrations",
    "integration_secrets",
    "integration_host_keys",
    "locations",
    "flow_definitions",
    "flow_arrivals",
    "flow_runs",
    "flow_files",
    "flow_keys",
    "expectations",
    "expectation_days",
    "events",
    "hooks",
    "deliveries",
    "daily_transfers",
    "rolled_up",
    "offenders",
    "bans",
    "connection_signs",
];

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Int,
    Text,
    Bytes,
}

impl Kind {
    /// As the engines call it, and as it stands in a backup.
    pub(crate) fn parse(word: &str) -> Option<Self> {
        match word.to_ascii_lowercase().as_str() {
            "bigint" | "integer" | "int" => Some(Self::Int),
            "text" => Some(Self::Text),
            "blob" | "bytea" | "bytes" => Some(Self::Bytes),
            _ => None,
        }
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Int => "int",
            Self::Text => "text",
            Self::Bytes => "bytes",
        }
    }
}

/// A column of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) kind: Kind,
}

/// Some rows of a table.
#[derive(Clone, Debug)]
pub(crate) struct TableRows {
    pub(crate) table: String,
    pub(crate) columns: Vec<Column>,
    pub(crate) rows: Vec<Vec<Value>>,
}

/// Why the whole could not be handed on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DumpError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("what was read cannot be written down")]
    Sink(#[source] std::io::Error),
}

impl From<sqlx::Error> for DumpError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

/// A part of the whole.
#[derive(Clone, Debug)]
pub(crate) enum DumpPart {
    /// Comes first.
    Beginning {
        /// The last schema step.
        step: i64,
        /// Which storage the homes are on.
        storage: Option<String>,
    },
    Rows(TableRows),
}
