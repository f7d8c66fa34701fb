//! What the operator writes in `layover.toml`, as types.
//!
//! The way in is [`Settings::load`]: file, then environment, then defaults;
//! everything that is wrong is reported at once as [`ConfigErrors`]. The keys
//! with their types, defaults and documentation are one table in `settings.rs`,
//! from which parsing, defaults and [`Settings::example`] follow.
//!
//! It must never open anything but the settings file and, when asked to
//! [`SecretRef::resolve`] it, the file of a secret; and it knows nothing of the
//! rest of Layover.

mod check;
mod error;
mod example;
mod load;
mod schema;
mod settings;
mod types;
mod value;
mod walk;

pub use error::{ConfigError, ConfigErrors, Fault, Origin};
pub use load::{ENV_PREFIX, Loaded, MAX_FILE_BYTES, SEARCH_PATH, environment};
pub use settings::{
    Console, Database, Ftps, Gate, Journal, Log, Outbound, Retention, Server, Settings, Sftp,
    Storage,
};
pub use types::choice::{Algorithms, Checksum, Fsync, LogFormat, MinTls, Sandbox, SessionReuse};
pub use types::count::{Count, MAX_COUNT};
pub use types::database_url::DatabaseUrl;
pub use types::host::{Host, NotAHost};
pub use types::label::{Label, LogLevel};
pub use types::network::Networks;
pub use types::port::{Port, PortRange};
pub use types::public_address::{PublicAddress, PublicAddressRule};
pub use types::secret::{MAX_SECRET_BYTES, PemSource, SecretError, SecretRef};
pub use types::span::{MAX_SPAN_SECS, Span};
pub use types::vault::{VaultAddress, VaultNamespace, VaultToken};
