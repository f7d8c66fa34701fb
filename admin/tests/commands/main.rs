//! The executable as scripts and people use it, on SQLite in a folder of its own.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "everything here is a test: what is not as expected must fail it"
)]

mod absent;
mod accounts;
mod appliance;
mod backup;
mod bad_input;
mod certificates;
mod demo;
mod expectations;
mod files;
mod flows;
mod holds;
mod host_keys;
mod integrations;
mod journal;
mod kit;
mod machine;
mod manifests;
mod manual;
mod place;
mod rules;
mod server_certificate;
