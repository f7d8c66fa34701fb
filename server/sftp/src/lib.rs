//! The SFTP front end: russh carries SSH, the codec and the dispatcher above
//! its channels are ours.
//!
//! The way in is [`Server::serve`], one call for each connection that the gate
//! has admitted. This crate turns wire bytes into the depot's verbs and back; it
//! knows neither SQL, nor files, nor how long anything is kept.

mod activity;
mod channel;
pub mod codec;
mod connection;
#[cfg(test)]
mod fixture;
mod handles;
mod handshake;
mod longname;
mod outbox;
mod requests;
mod status;
mod stream;
mod transport;
mod waiting;

pub use connection::{Options, Server};
pub use handles::MAX_HANDLES;

/// Which SSH algorithms are offered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Algorithms {
    /// What current clients speak.
    #[default]
    Modern,
    /// In addition NIST curves, finite-field key exchange and MACs of the first
    /// kind, all with SHA-2, for clients of ten years ago. Never SHA-1, never CBC.
    Compatible,
}
