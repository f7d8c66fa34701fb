//! The FTPS engine against servers that others wrote, and against one that plays by a script;
//! the doctor against the same and against sshd.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a failure is what a test is for"
)]

mod authority;
mod cuts;
mod doctor;
mod exchanges;
mod in_process;
mod office;
mod partners;
mod play;
mod refusals;
mod servers;
mod sessions;
mod skip;
mod sshd;
mod traps;
mod trust;
