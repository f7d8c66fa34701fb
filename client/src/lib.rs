//! The outbound engine: our side of an FTPS or SFTP server that a partner runs.
//!
//! This crate holds the place that the layering gives it: it may import
//! `layover-depot` and `layover-retention` and nothing else of ours. It has no
//! public item yet.
