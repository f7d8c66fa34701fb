//! What can be done on a partner's server, whatever it speaks.

use std::ops::ControlFlow;

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::fault::RemoteError;
use crate::path::{RemoteName, RemotePath};

/// What an entry of a remote folder is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A folder.
    Directory,
    /// A link, device, socket: never followed and never moved.
    Other,
}

/// How exactly a server said when a file changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Precision {
    /// `ls -l` shows only the date of a file older than half a year.
    Day,
    /// `ls -l` of a young file, DOS listings.
    Minute,
    /// MLSD, MDTM, SFTP.
    Second,
}

/// When a file changed on the partner's server, by that server's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Modified {
    /// The moment, or the beginning of the minute or day that holds it.
    pub at: Timestamp,
    /// How exact `at` is.
    pub precision: Precision,
    /// The beginning of its day in the server's zone, where seconds are left out: all
    /// that such a server shows when the file is old.
    pub day_at: Option<Timestamp>,
}

/// A file or folder on the partner's server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name in its folder, as bytes.
    pub name: RemoteName,
    /// What it is.
    pub kind: EntryKind,
    /// Its size in bytes, where the server said one.
    pub size_bytes: Option<u64>,
    /// When it changed, where the server said so.
    pub modified: Option<Modified>,
}

/// One line of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listed {
    /// An entry that can be used.
    Entry(Entry),
    /// A line that cannot: a name that would leave the folder or break a
    /// command, or a line in no known format. `raw` is cut at 1 KiB.
    Refused {
        /// The name or line as it came.
        raw: Vec<u8>,
        /// Why it is not used, for the operator.
        why: &'static str,
    },
}

/// What a server can do, learned when the connection was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Abilities {
    /// A download can begin at an offset.
    pub resume_download: bool,
    /// An upload can be continued at an offset.
    pub resume_upload: bool,
    /// A rename may replace an existing file in one step.
    pub replace_by_rename: bool,
    /// The server computes SHA-256 of its files.
    pub sha256: bool,
}

/// What a rename does when its target exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnExisting {
    /// The rename fails and both files stay.
    Fail,
    /// The target is replaced in one step where the server can do that, and
    /// the rename fails where it cannot.
    Replace,
    /// As `Replace`; where the server cannot, the target is deleted first. For
    /// a moment no file has the name.
    DeleteFirst,
}

/// What a transfer is about to move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Bytes that are there from an earlier attempt and are not moved again.
    pub from_bytes: u64,
    /// Bytes of the whole file on the wire, where that is known: not of one that
    /// is encrypted on its way.
    pub total_bytes: Option<u64>,
}

/// Hears how far a transfer is. Called often: it must be quick.
pub trait Progress: Send + Sync {
    /// A file begins, or begins anew after a failure.
    fn begins(&self, _extent: Extent) {}

    /// `bytes` more were moved.
    fn moved(&self, bytes: u64);
}

/// A [`Progress`] that nobody looks at.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn moved(&self, _bytes: u64) {}
}

/// A finished download.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received {
    /// Bytes written to the sink, without those before the offset.
    pub bytes: u64,
}

/// A finished upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// Bytes read from the source and acknowledged by the server.
    pub bytes: u64,
}

/// A connection to a partner's server, logged in.
///
/// One verb at a time. After an error whose fault ends the connection
/// ([`RemoteError::ends_connection`]) every further verb fails the same way.
/// Dropping it closes the connection without a farewell.
#[async_trait]
pub trait Remote: Send {
    /// What the server can do.
    fn abilities(&self) -> Abilities;

    /// Tells `visit` every entry of `folder`, in the server's order and as it
    /// arrives; nothing is collected. `.` and `..` are left out. Ends early,
    /// without an error, when `visit` breaks.
    async fn list(
        &mut self,
        folder: &RemotePath,
        visit: &mut (dyn FnMut(Listed) -> ControlFlow<()> + Send),
    ) -> Result<(), RemoteError>;

    /// The file or folder at `path`; `None` when nothing has that name.
    async fn stat(&mut self, path: &RemotePath) -> Result<Option<Entry>, RemoteError>;

    /// Downloads `path` from `offset` bytes on into `sink`, in order. Ends
    /// without an error only when the server said that the file is complete.
    /// `sink` is flushed, not closed.
    async fn get(
        &mut self,
        path: &RemotePath,
        offset: u64,
        sink: &mut (dyn AsyncWrite + Send + Unpin),
        progress: &dyn Progress,
    ) -> Result<Received, RemoteError>;

    /// Uploads what `source` gives to `path`. With `offset` 0 the file is
    /// created or emptied first; otherwise it is continued there. Ends without
    /// an error only when the server acknowledged every byte.
    async fn put(
        &mut self,
        path: &RemotePath,
        offset: u64,
        source: &mut (dyn AsyncRead + Send + Unpin),
        progress: &dyn Progress,
    ) -> Result<Sent, RemoteError>;

    /// Renames `from` to `to`.
    async fn rename(
        &mut self,
        from: &RemotePath,
        to: &RemotePath,
        on_existing: OnExisting,
    ) -> Result<(), RemoteError>;

    /// Removes the file at `path`. A file that is not there is a fault.
    async fn remove(&mut self, path: &RemotePath) -> Result<(), RemoteError>;

    /// Makes the folder `path`; its parent must exist.
    async fn make_dir(&mut self, path: &RemotePath) -> Result<(), RemoteError>;

    /// SHA-256 of the file at `path` as the server computes it; `None` when
    /// the server cannot.
    async fn sha256(&mut self, path: &RemotePath) -> Result<Option<[u8; 32]>, RemoteError>;

    /// Says farewell and closes the connection. Bounded by the connection's
    /// own time-out.
    async fn close(self: Box<Self>) -> Result<(), RemoteError>;
}
