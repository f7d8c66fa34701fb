//! Flows as they are applied. This version keeps them, and does not run them.

use serde::{Deserialize, Serialize};

use super::values::{CronSchedule, FilePattern, FlowDirection, FlowFolder, IdempotencyMode};
use crate::{FlowName, IntegrationName};

/// Most patterns of a flow.
pub const MAX_FLOW_FILES: usize = 100;

/// What moves files between a folder of a partner's and one of ours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FlowDefinition {
    /// Its name.
    pub name: FlowName,
    /// Which way.
    pub direction: FlowDirection,
    /// Whether it is to run.
    pub enabled: bool,
    /// The integration.
    pub partner: IntegrationName,
    /// The folder there.
    pub path: FlowFolder,
    /// The folder here.
    pub local: FlowFolder,
    /// Which files.
    pub files: Vec<FilePattern>,
    /// How a file that was moved already is known.
    pub idempotency_mode: IdempotencyMode,
    /// The file here goes when the partner has it.
    pub delete_after_upload: bool,
    /// The partner's file goes when we have it.
    pub delete_after_download: bool,
    /// When it runs; none: only when it is told to.
    pub schedule_cron: Option<CronSchedule>,
}

impl FlowDefinition {
    /// As the database keeps it.
    pub(crate) fn to_json(&self) -> String {
        serde_json::json!({ "version": 1, "flow": self }).to_string()
    }

    /// What the database keeps; `None` for what this version never wrote.
    pub(crate) fn from_json(text: &str) -> Option<Self> {
        #[derive(Deserialize)]
        struct Kept {
            version: u32,
            flow: FlowDefinition,
        }
        let kept: Kept = serde_json::from_str(text).ok()?;
        (kept.version == 1).then_some(kept.flow)
    }
}
