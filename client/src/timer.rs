//! Network time-outs: the one wrapper around tokio's timer in this crate.
//!
//! Calendar decisions never use this.

#![expect(
    clippy::disallowed_methods,
    reason = "this file is the crate's one place for tokio's timer"
)]

use std::future::Future;
use std::time::Duration;

/// The time was up before the future was ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("timed out")]
pub(crate) struct Elapsed;

/// Waits for `future`, at most `limit`; the future is dropped when the time is
/// up.
pub(crate) async fn timeout<F: Future>(limit: Duration, future: F) -> Result<F::Output, Elapsed> {
    tokio::time::timeout(limit, future)
        .await
        .map_err(|_| Elapsed)
}

/// Measures elapsed monotonic time; never tells what time it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stopwatch(tokio::time::Instant);

impl Stopwatch {
    /// Starts measuring now.
    pub(crate) fn start() -> Self {
        Self(tokio::time::Instant::now())
    }

    /// Time since the start.
    pub(crate) fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}
