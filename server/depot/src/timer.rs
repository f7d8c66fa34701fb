//! Network time-outs: the one wrapper around tokio's timer.
//!
//! Calendar decisions (expiry, schedules) never use this; they ask
//! `layover_retention::Clock`. Nothing else of ours reads a monotonic clock.

#![expect(
    clippy::disallowed_methods,
    reason = "this file is the one place for tokio's timer"
)]

use std::future::Future;
use std::time::Duration;

use layover_retention::Clock;

/// The time was up before the future was ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("timed out")]
pub struct Elapsed;

/// Waits for `future`, at most `limit`.
///
/// # Errors
/// [`Elapsed`] when the time is up; the future is dropped then.
pub async fn timeout<F: Future>(limit: Duration, future: F) -> Result<F::Output, Elapsed> {
    tokio::time::timeout(limit, future)
        .await
        .map_err(|_| Elapsed)
}

/// Waits for `duration` of monotonic time.
pub async fn sleep(duration: Duration) {
    tokio::time::sleep(duration).await;
}

/// Waits until `clock` says that `duration` has passed, and no longer than that of
/// monotonic time: a clock that is set back keeps nobody waiting.
pub async fn sleep_by(clock: &dyn Clock, duration: Duration) {
    tokio::select! {
        () = clock.sleep_until(clock.now().saturating_add(duration)) => {}
        () = sleep(duration) => {}
    }
}

/// Lets timers of a test believe that so much time has passed.
#[cfg(test)]
pub(crate) async fn pass(span: Duration) {
    tokio::time::pause();
    tokio::time::advance(span).await;
    tokio::time::resume();
}

/// Measures elapsed monotonic time; never tells what time it is.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(tokio::time::Instant);

impl Stopwatch {
    /// Starts measuring now.
    #[must_use]
    pub fn start() -> Self {
        Self(tokio::time::Instant::now())
    }

    /// Time since the start.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }

    /// The same in whole milliseconds, as the journal keeps it.
    #[must_use]
    pub fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}
