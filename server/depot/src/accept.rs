//! Accepting connections although descriptors or memory may run short.
//!
//! An accept that fails for want of them leaves the connection in the kernel's
//! queue and the socket readable: asking again at once would only burn the
//! processor, and a line in the log for each try would fill the disk.

use std::future::Future;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::timer::{self, Stopwatch};

/// The pause after the first failure; each further one doubles it.
const FIRST_PAUSE: Duration = Duration::from_millis(10);

/// The longest pause: so long a peer may wait after there is room again.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Failures are told in the log no more often than this.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// What was told in the log of failed accepts, for all who wait at the same
/// place. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct AcceptTroubles {
    told: Arc<Mutex<Told>>,
}

#[derive(Debug, Default)]
struct Told {
    last: Option<Stopwatch>,
    /// Told, and not yet that it is over.
    is_open: bool,
}

impl AcceptTroubles {
    /// Whether this failure is to be told.
    fn begin(&self) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = told.last.is_none_or(|last| last.elapsed() >= TELL_EVERY);
        if is_due {
            *told = Told {
                last: Some(Stopwatch::start()),
                is_open: true,
            };
        }
        is_due
    }

    /// Whether it is to be told that they are over.
    fn end(&self) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut told.is_open)
    }
}

/// One who waits for connections.
#[derive(Debug)]
pub struct Acceptor {
    troubles: AcceptTroubles,
    failures: u32,
}

impl Acceptor {
    /// One that shares `troubles` with others.
    #[must_use]
    pub fn new(troubles: AcceptTroubles) -> Self {
        Self {
            troubles,
            failures: 0,
        }
    }

    /// The next connection, by asking `accept` until it has one, with pauses that
    /// grow while it fails. May be dropped at any time; no connection is lost.
    pub async fn next<T, F, A>(&mut self, mut accept: F) -> T
    where
        F: FnMut() -> A,
        A: Future<Output = io::Result<T>>,
    {
        loop {
            match accept().await {
                Ok(connection) => {
                    if std::mem::take(&mut self.failures) > 0 && self.troubles.end() {
                        tracing::info!("connections are accepted again");
                    }
                    return connection;
                }
                Err(error) if belongs_to_one_peer(&error) => {}
                Err(error) => {
                    let pause = pause_after(self.failures);
                    self.failures = self.failures.saturating_add(1);
                    if self.troubles.begin() {
                        tracing::error!(%error, "connections cannot be accepted: {error}");
                    }
                    timer::sleep(pause).await;
                }
            }
        }
    }
}

fn pause_after(failures: u32) -> Duration {
    let factor = 1_u32.checked_shl(failures).unwrap_or(u32::MAX).max(1);
    FIRST_PAUSE.saturating_mul(factor).min(LONGEST_PAUSE)
}

/// The peer went away between its SYN and our accept; nobody else is concerned.
fn belongs_to_one_peer(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMFILE: i32 = 24;
    const ENOMEM: i32 = 12;
    const ENFILE: i32 = 23;

    /// Fails with `code` for `span`, then has a connection; counts how often it
    /// was asked.
    async fn accept_after(acceptor: &mut Acceptor, span: Duration, code: i32) -> u64 {
        let (asked, since) = (std::cell::Cell::new(0), Stopwatch::start());
        acceptor
            .next(|| {
                asked.set(asked.get() + 1);
                let answer = if since.elapsed() < span {
                    Err(io::Error::from_raw_os_error(code))
                } else {
                    Ok(())
                };
                std::future::ready(answer)
            })
            .await;
        assert!(since.elapsed() <= span + LONGEST_PAUSE);
        asked.get()
    }

    #[tokio::test(start_paused = true)]
    async fn a_want_of_descriptors_or_memory_is_waited_out_and_does_not_spin() {
        for code in [EMFILE, ENFILE, ENOMEM] {
            let mut acceptor = Acceptor::new(AcceptTroubles::default());
            let asked = accept_after(&mut acceptor, Duration::from_secs(60), code).await;
            assert!((60..80).contains(&asked), "{asked}");
            // Afterwards the first failure costs little again.
            let asked = accept_after(&mut acceptor, FIRST_PAUSE, code).await;
            assert_eq!(asked, 2);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_at_the_same_place_tells_it_once_and_its_end_once() {
        let troubles = AcceptTroubles::default();
        let other = troubles.clone();
        assert!(troubles.begin());
        assert!(!other.begin() && !troubles.begin());
        timer::sleep(TELL_EVERY - Duration::from_millis(1)).await;
        assert!(!other.begin());
        timer::sleep(Duration::from_millis(1)).await;
        assert!(other.begin());
        assert!(troubles.end());
        assert!(!other.end());
        assert!(!troubles.begin(), "it comes and goes: the log stays short");
        assert!(!troubles.end(), "what was not told is not over");
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_went_away_costs_the_others_nothing() {
        let mut answers = vec![Ok(()), Err(io::ErrorKind::ConnectionAborted.into())];
        let since = Stopwatch::start();
        Acceptor::new(AcceptTroubles::default())
            .next(|| std::future::ready(answers.pop().unwrap()))
            .await;
        assert_eq!(since.elapsed(), Duration::ZERO);
    }
}
