//! The console: web page, HTTP API and metrics.
//!
//! This crate holds the place that the layering gives it: it may import
//! `layover-depot` and `layover-retention` and nothing else of ours. It has no
//! public item yet.
