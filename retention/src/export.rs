//! A chain as it is given to others: lines of JSON.
//!
//! First a [`Line::Chain`], which says what follows; then a [`Line::Entry`] for
//! each record in order, a [`Line::Checkpoint`] wherever one was signed, and as
//! the last line a checkpoint of the last entry: a file without it was cut off.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::chain::{ChainHash, ChainName, Checkpoint, PublicKey};

/// The form that this version writes and reads.
pub const EXPORT_FORMAT: u32 = 1;

/// A line of an export: an object whose one field says what it is, e.g.
/// `{"entry":{"seq":1,"hash":"...","record":{...}}}`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Line {
    /// The first line.
    Chain {
        /// [`EXPORT_FORMAT`].
        format: u32,
        /// Which chain it is.
        chain: ChainName,
        /// Where the chain begins here: the checkpoint of what came before and
        /// was pruned; none when nothing was.
        after: Option<Checkpoint>,
        /// The keys that signed. A convenience: whoever verifies brings keys
        /// that he trusts.
        keys: Vec<PublicKey>,
    },
    /// A record.
    Entry {
        /// Its number.
        seq: u64,
        /// The hash of the chain up to here.
        hash: ChainHash,
        /// The record, whose bytes are hashed as they stand here.
        record: Box<RawValue>,
    },
    /// Where the chain stood when it was signed.
    Checkpoint(Checkpoint),
}

impl Line {
    /// The line, without a line feed.
    ///
    /// # Errors
    /// Never for lines that were made by this crate.
    pub fn to_text(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(self)
    }
}
