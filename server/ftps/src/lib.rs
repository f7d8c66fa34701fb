//! The FTPS front end: FTP over TLS, our own engine above the depot's `Session`.
//!
//! The way in is [`Server::serve`], one call for each connection that the gate
//! has admitted. Below are TLS and the binding of data connections ([`Tls`]),
//! passive ports, and the streams of data connections; above them one task for
//! each control connection, which owns all of its state. Of our own crates it
//! may import `layover-depot` and `layover-retention`, and it opens no file.

pub mod address;
mod ascii;
pub mod command;
mod control;
mod data;
mod digest;
#[cfg(test)]
mod fixture;
mod info;
pub mod line;
mod listing;
mod passive;
mod plain;
mod reply;
mod server;
mod strangers;
mod tls;
mod wire;

pub use passive::{AnnouncedAddress, AnnouncedRule, PortSurvey};
pub use server::{ActiveMode, Entry, Options, Server};
pub use tls::{
    Certificate, Identity, IdentityFault, IdentityWarning, MAX_REQUEST_NAMES, MinVersion, PemFault,
    Tls, TlsOptions, Validity, fresh_key, self_signed, signing_request,
};
