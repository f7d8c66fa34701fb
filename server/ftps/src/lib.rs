//! The FTPS front end: FTP over TLS, our own engine above the depot's `Session`.
//!
//! This crate holds the place that the layering gives it: it may import
//! `layover-depot` and `layover-retention` and nothing else of ours. It has no
//! public item yet; the appliance says so when it starts.
