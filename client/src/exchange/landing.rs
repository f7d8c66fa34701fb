//! Where a downloaded file lands on our side.

use async_trait::async_trait;
use bytes::Bytes;

use super::error::LocalError;
use super::fetch::Fetched;
use crate::remote::Modified;

/// What a partner's server showed of a file before it was downloaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SourceState {
    /// Its size in bytes on the partner's server, where the server said one.
    pub size_bytes: Option<u64>,
    /// When it changed.
    pub modified: Option<Modified>,
}

/// What an earlier attempt left in a landing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    /// How much, from the file's beginning, in bytes.
    pub bytes: u64,
    /// Of which state of the source.
    pub of: SourceState,
}

/// A place on our side that takes a file's bytes in order and makes them
/// visible by one call.
///
/// Nobody sees the file before [`Landing::publish`]. A landing that is dropped
/// unpublished throws away what it took, unless it is made to keep it for the
/// next attempt.
#[async_trait]
pub trait Landing: Send {
    /// What an earlier attempt left. `None` where nothing is kept.
    fn kept(&self) -> Option<Kept> {
        None
    }

    /// Reads back up to `most_bytes` of what was kept, from `at` on; nothing at
    /// its end. Asked only within what [`Landing::kept`] said.
    async fn read_kept(&mut self, at: u64, most_bytes: usize) -> Result<Bytes, LocalError>;

    /// An attempt begins: the next bytes stand at `at`. All that was taken
    /// behind it is thrown away. `at` is 0 or what [`Landing::kept`] said.
    async fn begin(&mut self, of: &SourceState, at: u64) -> Result<(), LocalError>;

    /// Takes the next bytes.
    async fn write(&mut self, bytes: Bytes) -> Result<(), LocalError>;

    /// The file is whole: makes it visible under its name, durably, and records
    /// `fetched` in the same step. Called once, after every check.
    async fn publish(&mut self, fetched: &Fetched) -> Result<(), LocalError>;
}
