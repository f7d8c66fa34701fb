//! The FTPS front end: FTP over TLS, our own engine above the depot's `Session`.
//!
//! So far it holds the engine's lower half: TLS and the binding of data
//! connections ([`Tls`]), passive ports, and the streams of data connections.
//! Of our own crates it may import `layover-depot` and `layover-retention`, and
//! it opens no file.

pub mod address;
#[cfg_attr(
    not(test),
    expect(
        dead_code,
        reason = "the session engine, which is not here yet, uses it"
    )
)]
mod ascii;
pub mod command;
#[cfg_attr(
    not(test),
    expect(
        dead_code,
        reason = "the session engine, which is not here yet, uses it"
    )
)]
mod data;
#[cfg_attr(
    not(test),
    expect(
        dead_code,
        reason = "the session engine, which is not here yet, uses it"
    )
)]
mod digest;
pub mod line;
#[cfg_attr(
    not(test),
    expect(
        dead_code,
        reason = "the session engine, which is not here yet, uses it"
    )
)]
mod listing;
#[cfg_attr(
    not(test),
    expect(
        dead_code,
        unused_imports,
        reason = "the session engine, which is not here yet, uses it"
    )
)]
mod passive;
#[cfg_attr(
    not(test),
    expect(
        dead_code,
        reason = "the session engine, which is not here yet, uses it"
    )
)]
mod reply;
#[cfg_attr(
    not(test),
    expect(
        dead_code,
        reason = "the session engine, which is not here yet, uses it"
    )
)]
mod tls;

pub use tls::{
    ClientCertificates, Identity, IdentityFault, IdentityWarning, MinVersion, Tls, TlsOptions,
    self_signed,
};
