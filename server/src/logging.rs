//! Log lines: to stderr, as text or as JSON, from the level that `[log]` names.

use std::io::IsTerminal;

use layover_config::{Log, LogFormat};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

/// Libraries whose own chatter would drown the server's below `warn`.
const QUIET_LIBRARIES: &str = "sqlx=warn,russh=warn,tokio=warn,runtime=warn,mio=warn";

/// Starts logging for the process as `[log]` says.
///
/// # Errors
/// When the level cannot be understood, or logging was started before.
pub fn start(settings: &Log) -> Result<(), LogStartError> {
    let level = settings.level.as_str();
    let filter = EnvFilter::try_new(format!("{QUIET_LIBRARIES},{level}")).map_err(|source| {
        LogStartError::Level {
            level: level.to_owned(),
            source,
        }
    })?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        // It would tell of a stderr that is closed on stderr, and panic.
        .log_internal_errors(false);
    match settings.format {
        LogFormat::Text => builder.with_target(false).finish().try_init(),
        LogFormat::Json => builder.json().flatten_event(true).finish().try_init(),
    }
    .map_err(|source| LogStartError::AlreadyStarted { source })
}

/// Why logging could not be started.
#[derive(Debug, thiserror::Error)]
pub enum LogStartError {
    /// `[log] level` is not a level.
    #[error("[log] level `{level}` is not understood; use error, warn, info, debug or trace")]
    Level {
        /// What was written.
        level: String,
        /// What the filter says about it.
        source: tracing_subscriber::filter::ParseError,
    },
    /// A subscriber is set already.
    #[error("logging was started twice")]
    AlreadyStarted {
        /// What the subscriber says about it.
        source: TryInitError,
    },
}
