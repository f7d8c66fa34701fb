//! Whether the database takes writes. A database that is locked by another program, or is in
//! recovery, answers all who only ask; what tells is the heartbeat, which is written anyway.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::StoreError;
use crate::timer::Stopwatch;

/// A heartbeat under way for so long is not taken: partners' own writes give up by then.
const WRITE_LIMIT: Duration = Duration::from_secs(5);

/// Why the database is taken to refuse writes.
#[derive(Clone, Debug, thiserror::Error)]
pub enum NotWritable {
    /// The last heartbeat failed.
    #[error("it takes no writes")]
    Refused(#[source] Arc<StoreError>),
    /// One waits.
    #[error("it takes no writes: one has waited for more than {} s", WRITE_LIMIT.as_secs())]
    Waits,
}

/// How heartbeats of this process went.
#[derive(Debug, Default)]
pub(crate) struct Writes(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    under_way: Option<Stopwatch>,
    fault: Option<Arc<StoreError>>,
}

impl Writes {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Passes on how `write` went, and notes it.
    pub(crate) async fn watch(
        &self,
        write: impl Future<Output = Result<(), StoreError>>,
    ) -> Result<(), StoreError> {
        self.state().under_way = Some(Stopwatch::start());
        let written = write.await.map_err(Arc::new);
        let mut state = self.state();
        state.under_way = None;
        state.fault = written.as_ref().err().map(Arc::clone);
        written.map_err(StoreError::Shared)
    }

    /// As far as is known; before the first heartbeat nothing is.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn check(&self) -> Result<(), NotWritable> {
        let state = self.state();
        // What failed is tried again, and may wait: until it went well, this is why.
        if let Some(fault) = &state.fault {
            return Err(NotWritable::Refused(Arc::clone(fault)));
        }
        match &state.under_way {
            Some(since) if since.elapsed() > WRITE_LIMIT => Err(NotWritable::Waits),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timer;

    fn busy() -> StoreError {
        StoreError::Busy {
            source: sqlx::Error::PoolTimedOut,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_that_fails_or_waits_is_told_until_one_went_well() {
        let writes = Writes::default();
        writes.check().unwrap();
        let refused = writes.watch(async { Err(busy()) }).await;
        assert!(matches!(refused, Err(StoreError::Shared(_))));
        let told = writes.check().unwrap_err();
        let cause = std::error::Error::source(&told).unwrap().to_string();
        assert!(cause.contains("the database is busy"), "{cause}");

        // The next one waits; meanwhile the last one is what is known.
        let waits = async {
            timer::sleep(WRITE_LIMIT * 2).await;
            Ok(())
        };
        let looks = async {
            timer::sleep(WRITE_LIMIT).await;
            assert!(matches!(writes.check(), Err(NotWritable::Refused(_))));
        };
        let (written, ()) = tokio::join!(writes.watch(waits), looks);
        written.unwrap();
        writes.check().unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_waits_for_too_long_is_told_while_it_waits() {
        let writes = Writes::default();
        let waits = async {
            timer::sleep(WRITE_LIMIT * 2).await;
            Ok(())
        };
        let looks = async {
            timer::sleep(WRITE_LIMIT).await;
            writes.check().unwrap();
            timer::sleep(Duration::from_millis(1)).await;
            assert!(matches!(writes.check(), Err(NotWritable::Waits)));
        };
        let (written, ()) = tokio::join!(writes.watch(waits), looks);
        written.unwrap();
        writes.check().unwrap();
    }
}
