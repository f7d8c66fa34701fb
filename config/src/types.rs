//! The types that settings have, each able to read and write itself.

pub(crate) mod choice;
pub(crate) mod count;
pub(crate) mod database_url;
pub(crate) mod host;
pub(crate) mod label;
pub(crate) mod network;
pub(crate) mod plain;
pub(crate) mod port;
pub(crate) mod public_address;
pub(crate) mod secret;
pub(crate) mod span;
pub(crate) mod vault;
