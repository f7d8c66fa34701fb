//! Log lines: to stderr, as text or as JSON, from the level that `[log]` names.

use std::io::IsTerminal;

use layover_config::{Log, LogFormat};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

/// Libraries whose own chatter would drown the server's below `warn`. rustls warns of each
/// handshake in which a client gives an address where a name belongs, as lftp does.
const QUIET_LIBRARIES: &str = "sqlx=warn,russh=warn,tokio=warn,runtime=warn,mio=warn,rustls=error";

/// Starts logging for the process as `[log]` says.
///
/// # Errors
/// When the level cannot be understood, or logging was started before.
pub fn start(settings: &Log) -> Result<(), LogStartError> {
    let level = settings.level.as_str();
    let filter = filter(level)?;
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

fn filter(level: &str) -> Result<EnvFilter, LogStartError> {
    EnvFilter::try_new(format!("{QUIET_LIBRARIES},{level}")).map_err(|source| {
        LogStartError::Level {
            level: level.to_owned(),
            source,
        }
    })
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

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_a_client_names_in_its_hello_is_no_warning_of_ours() {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_env_filter(filter("info").unwrap())
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(target: "rustls::msgs::handshake", "Illegal SNI hostname received");
            tracing::error!(target: "rustls::quic", "a fault");
            tracing::info!(target: "layover_ftps::server", "ours");
        });
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        assert!(!text.contains("SNI"), "{text}");
        assert!(text.contains("a fault") && text.contains("ours"), "{text}");
    }
}
