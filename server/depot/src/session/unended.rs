//! Ends of sessions that the database did not take: they are written when it answers again, or
//! a session that nobody has any more would count against its account's limit, and be shown.

use std::sync::{Mutex, PoisonError};

use crate::SessionId;
use crate::holdings::Holdings;
use crate::journal::NewEntry;
use crate::store::{Attempt, Store, StoreError};

/// Ends that are remembered. With more the oldest is left to the next start, which ends what the
/// process before it left behind.
const MAX_UNENDED: usize = 10_000;

/// Ends that are written at a time: whoever writes them has more to do each second.
const MAX_AT_A_TIME: usize = 256;

/// Takes the session's row away and tells the journal, now or when the database answers again.
pub(crate) async fn end(holdings: &Holdings, id: SessionId, entries: Vec<NewEntry>) {
    let store = &holdings.store;
    if let Err(error) = store.end_session(&id, &entries, Attempt::First).await {
        let faults = &holdings.faults;
        faults.unrecorded("the end of a session could not be recorded yet", &error);
        holdings.unended.add(id, entries);
    }
}

#[derive(Debug, Default)]
pub(crate) struct Unended(Mutex<Vec<(SessionId, Vec<NewEntry>)>>);

impl Unended {
    /// A session that is over, with what the journal is to be told of it.
    pub(crate) fn add(&self, id: SessionId, entries: Vec<NewEntry>) {
        let mut unended = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if unended.len() >= MAX_UNENDED {
            unended.remove(0);
        }
        unended.push((id, entries));
    }

    fn take(&self) -> Option<(SessionId, Vec<NewEntry>)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn is_empty(&self) -> bool {
        let unended = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        unended.is_empty()
    }

    /// Writes all of them, at the end of a server.
    ///
    /// # Errors
    /// The database is away: the next start ends what is left.
    pub(crate) async fn write_the_rest(&self, store: &Store) -> Result<(), StoreError> {
        while !self.is_empty() {
            self.write(store).await?;
        }
        Ok(())
    }

    /// Writes some of them.
    ///
    /// # Errors
    /// The database is away again: what is left is written the next time.
    pub(crate) async fn write(&self, store: &Store) -> Result<(), StoreError> {
        for (id, entries) in std::iter::from_fn(|| self.take()).take(MAX_AT_A_TIME) {
            if let Err(error) = store.end_session(&id, &entries, Attempt::Again).await {
                self.add(id, entries);
                return Err(error);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::stores;

    fn id() -> SessionId {
        SessionId::random().unwrap()
    }

    #[test]
    fn so_many_are_remembered_and_the_oldest_goes() {
        let unended = Unended::default();
        let first = id();
        unended.add(first.clone(), Vec::new());
        for _ in 1..MAX_UNENDED {
            unended.add(id(), Vec::new());
        }
        let kept = || unended.0.lock().unwrap().len();
        assert_eq!(kept(), MAX_UNENDED);
        unended.add(id(), Vec::new());
        assert_eq!(kept(), MAX_UNENDED);
        assert!(unended.0.lock().unwrap().iter().all(|(id, _)| *id != first));
    }

    #[tokio::test]
    async fn they_are_written_in_portions_and_kept_while_the_database_is_away() {
        for test in stores().await {
            let unended = Unended::default();
            for _ in 0..=MAX_AT_A_TIME {
                unended.add(id(), Vec::new());
            }
            let kept = || unended.0.lock().unwrap().len();
            unended.write(&test.store).await.unwrap();
            assert_eq!(kept(), 1);
            test.store.close().await;
            assert!(unended.write(&test.store).await.is_err());
            assert_eq!(kept(), 1, "for the next time");
            assert!(unended.write_the_rest(&test.store).await.is_err());
            assert_eq!(kept(), 1);
        }
    }
}
