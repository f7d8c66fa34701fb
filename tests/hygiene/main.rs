//! What the project's text itself must obey: who imports whom, and where SQL, file-system calls
//! and clocks may stand. Each rule is also shown a text that breaks it, so that it can fail.

mod arrows;
mod incidents;
mod project;
mod rules;
mod rust_version;
mod scan;
