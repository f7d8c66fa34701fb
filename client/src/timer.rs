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
