//! The outbound engine: our side of an FTPS or SFTP server that a partner runs.
//!
//! The way in is [`Remote`], one set of verbs over both protocols. What a verb
//! reports when it fails is a [`RemoteError`]: the fault, whether trying again
//! can help, the likely cause and what to do. Names and paths of a partner's
//! server are bytes ([`RemotePath`], [`RemoteName`]); a hostile name is named
//! and left out, never followed.
//!
//! [`exchange`] moves one file by these verbs, exactly: it checks, publishes
//! and cleans up, with PGP where an integration wants it.
//!
//! This crate never decides when something moves, and it keeps nothing.

pub mod doctor;
pub mod exchange;
pub mod expectation;
mod fault;
pub mod flow;
pub mod ftps;
pub mod partner;
mod path;
pub mod pgp;
mod remote;
pub mod secret_ref;
pub mod sftp;
mod source;
pub mod webhook;
mod witness;

pub use fault::{Permanence, RemoteError, RemoteFault, Step};
pub use partner::{Connection, Partner, PartnerError, Surroundings};
pub use path::{
    MAX_REMOTE_NAME_BYTES, MAX_REMOTE_PATH_BYTES, RemoteName, RemoteNameError, RemotePath,
    RemotePathError, ServerSystem,
};
pub use remote::{
    Abilities, Entry, EntryKind, Extent, Listed, Modified, OnExisting, Precision, Progress,
    Received, Remote, Sent, Silent,
};
pub use source::SourceAddresses;
pub use witness::{AgreedTls, Observed, ShownCertificate, ShownHostKey, Witness};
