//! Ends of sessions that the database did not take: they are written when it answers again, or
//! a session that nobody has any more would count against its account's limit, and be shown.

use std::sync::{Mutex, PoisonError};

use crate::SessionId;
use crate::journal::NewEntry;
use crate::store::{Store, StoreError};

/// Ends that are remembered. With more the oldest is left to the next start, which ends what the
/// process before it left behind.
const MAX_UNENDED: usize = 10_000;

/// Ends that are written at a time: whoever writes them has more to do each second.
const MAX_AT_A_TIME: usize = 256;

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

    /// Writes some of them.
    ///
    /// # Errors
    /// The database is away again: what is left is written the next time.
    pub(crate) async fn write(&self, store: &Store) -> Result<(), StoreError> {
        for (id, entries) in std::iter::from_fn(|| self.take()).take(MAX_AT_A_TIME) {
            if let Err(error) = store.end_session(&id, &entries).await {
                self.add(id, entries);
                return Err(error);
            }
        }
        Ok(())
    }
}
