//! The outbound engine: our side of an FTPS or SFTP server that a partner runs.
//!
//! The way in is [`Remote`], one set of verbs over both protocols. What a verb
//! reports when it fails is a [`RemoteError`]: the fault, whether trying again
//! can help, the likely cause and what to do. Names and paths of a partner's
//! server are bytes ([`RemotePath`], [`RemoteName`]); a hostile name is named
//! and left out, never followed.
//!
//! This crate never decides when something moves, and it keeps nothing.

mod fault;
pub mod ftps;
mod path;
pub mod pgp;
mod remote;
mod secret;
pub mod secret_ref;
pub mod sftp;
mod timer;

pub use fault::{Permanence, RemoteError, RemoteFault, Step};
pub use path::{
    MAX_REMOTE_NAME_BYTES, MAX_REMOTE_PATH_BYTES, RemoteName, RemoteNameError, RemotePath,
    RemotePathError, ServerSystem,
};
pub use remote::{
    Abilities, Entry, EntryKind, Listed, Modified, OnExisting, Precision, Progress, Received,
    Remote, Sent, Silent,
};
pub use secret::Secret;
