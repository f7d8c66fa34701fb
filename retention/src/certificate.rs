//! What is recorded of a file that was deleted.

use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// Why a file was deleted.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeletionCause {
    /// Its time was over.
    Expired,
    /// Its account, or an operator, removed it.
    Removed,
    /// Another file took its name.
    Replaced,
}

/// The record of one deletion: a line of the certificates' chain. Written once,
/// as JSON, in the order of these fields; times are exact to the second.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DeletionCertificate {
    /// The file's number in the ledger: no other file ever has it.
    pub file_id: i64,
    /// Whose home it lay in.
    pub entity: String,
    /// Who uploaded it; none when it came into the tree by other means.
    pub account: Option<String>,
    /// The home.
    pub home: String,
    /// The name it had at the end, from the root of the home.
    pub path: String,
    /// The name's bytes in hexadecimal digits, when they are no text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_hex: Option<String>,
    /// Its size, in bytes.
    pub size_bytes: u64,
    /// SHA-256 of its content in hexadecimal digits, if it was known.
    pub sha256: Option<String>,
    /// When our server had published its whole content.
    pub arrived_at: Option<Timestamp>,
    /// Who had set the rule that it followed: `appliance`, `entity`, `account`
    /// or `folder`.
    pub rule: Option<String>,
    /// That rule's keep time, in seconds.
    pub keep_s: Option<u64>,
    /// When it had to go.
    pub expires_at: Option<Timestamp>,
    /// When it was gone.
    pub deleted_at: Timestamp,
    /// Why it was deleted.
    pub cause: DeletionCause,
    /// Which node deleted it.
    pub node: String,
}
