//! What a watch saw, on its way into the journal: what the database does not take now is
//! written by the next look, in order.

use std::sync::{Mutex, MutexGuard, PoisonError};

use layover_depot::{Depot, JournalKind, Outcome, StoreError};
use layover_retention::Timestamp;
use serde_json::{Map, Value};

/// What is to be journalled.
#[derive(Debug)]
pub(crate) struct Note {
    pub(crate) at: Timestamp,
    pub(crate) outcome: Outcome,
    pub(crate) detail: Map<String, Value>,
}

/// The notes of one watch. They are few: one for each change that an operator made.
pub(crate) struct Notes {
    depot: Depot,
    action: &'static str,
    unwritten: Mutex<Vec<Note>>,
}

impl Notes {
    /// Entries of the appliance with this word.
    pub(crate) fn new(depot: Depot, action: &'static str) -> Self {
        Self {
            depot,
            action,
            unwritten: Mutex::default(),
        }
    }

    /// Writes what is left from before, and `note`.
    ///
    /// # Errors
    /// When the journal cannot be written; the next call tries again.
    pub(crate) async fn write(&self, note: Option<Note>) -> Result<(), StoreError> {
        let mut left = std::mem::take(&mut *self.unwritten());
        left.extend(note);
        let mut left = left.into_iter();
        while let Some(note) = left.next() {
            let journal = self.depot.journal();
            let (kind, detail) = (JournalKind::System, note.detail.clone());
            let noted = journal
                .note(note.at, kind, self.action, note.outcome, detail)
                .await;
            if let Err(error) = noted {
                let rest = [note].into_iter().chain(left);
                self.unwritten().splice(0..0, rest);
                return Err(error);
            }
        }
        Ok(())
    }

    fn unwritten(&self) -> MutexGuard<'_, Vec<Note>> {
        self.unwritten
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
