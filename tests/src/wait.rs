//! The one place of the tests that looks at a clock: waiting for an event, with a deadline.

use std::future::Future;
use std::thread;
use std::time::{Duration, Instant};

/// How long anything may take that should be immediate. Generous, because two cores run several
/// tests at once; no test's verdict depends on coming close to it.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Time between two looks at a condition that announces itself in no other way.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Looks until `look` yields something.
///
/// # Panics
/// When nothing came within `limit`; the message says what was awaited.
pub fn until<T>(what: &str, limit: Duration, look: impl FnMut() -> Option<T>) -> T {
    within(limit, look).unwrap_or_else(|| panic!("waited {limit:?} in vain for: {what}"))
}

/// Looks until `look` yields something or `limit` has passed; `None` then.
pub fn within<T>(limit: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let timer = Timer::start();
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if timer.elapsed() >= limit {
            return None;
        }
        thread::park_timeout(LOOK_EVERY);
    }
}

/// Lets `span` pass. Only for load that must last for a time, such as the moment of a crash drawn
/// at random; never to wait for something to have happened.
pub fn let_pass(span: Duration) {
    let timer = Timer::start();
    while let Some(left) = span
        .checked_sub(timer.elapsed())
        .filter(|left| !left.is_zero())
    {
        thread::park_timeout(left);
    }
}

/// Measures a span of real time.
#[derive(Debug, Clone, Copy)]
pub struct Timer(Instant);

impl Timer {
    /// Starts measuring.
    #[expect(clippy::disallowed_methods, reason = "the tests' one clock")]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Time since the start.
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

/// Runs `future` for at most `limit`; `None` when it was not ready by then.
#[expect(clippy::disallowed_methods, reason = "the tests' one clock")]
pub async fn bounded<F: Future>(limit: Duration, future: F) -> Option<F::Output> {
    tokio::time::timeout(limit, future).await.ok()
}
