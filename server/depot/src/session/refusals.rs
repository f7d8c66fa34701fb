//! What a session could not change, because it was not allowed or the storage
//! failed: in the journal, as far as a peer cannot fill it. Nobody waits for these entries, and those that come while
//! one is written are written together.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Session, SessionInner, record};
use crate::VirtualPath;
use crate::journal::NewEntry;
use crate::vfs::VfsError;

/// Refusals of one session that the journal names one by one. A partner whose
/// rights are wrong shows what is wrong long before; beyond that, a count.
pub(super) const MAX_NAMED_REFUSALS: u64 = 100;

/// The refusals of one session.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    state: Mutex<State>,
    /// Held while entries are written: the session's end comes after them.
    writing: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    count: u64,
    /// At most [`MAX_NAMED_REFUSALS`].
    waiting: Vec<NewEntry>,
    is_writing: bool,
}

impl Refusals {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many were not named.
    pub(super) fn unnamed(&self) -> u64 {
        self.state().count.saturating_sub(MAX_NAMED_REFUSALS)
    }

    /// Waits until nothing is written aside.
    pub(super) async fn settled(&self) {
        drop(self.writing.lock().await);
    }

    /// What nobody has begun to write yet.
    pub(super) fn rest(&self) -> Vec<NewEntry> {
        std::mem::take(&mut self.state().waiting)
    }

    /// What is to be written next; with nothing left, the writing is over.
    fn take(&self) -> Option<Vec<NewEntry>> {
        let mut state = self.state();
        let batch = std::mem::take(&mut state.waiting);
        state.is_writing = !batch.is_empty();
        state.is_writing.then_some(batch)
    }
}

impl Session {
    /// Passes a verb's result on; a refusal goes to the journal, and so does a fault of
    /// the storage.
    pub(super) fn note_refusal<T>(
        &self,
        verb: &'static str,
        path: &VirtualPath,
        result: Result<T, VfsError>,
    ) -> Result<T, VfsError> {
        let fault = match result {
            Err(fault) if fault.is_refusal() || fault.is_of_storage() => fault,
            other => return other,
        };
        self.tell(|inner| record::refused(inner, verb, path, &fault, self.now()));
        Err(fault)
    }

    /// Tells the journal of a data connection that was refused although the session
    /// is logged in; `reason` is for people. Counts among the session's refusals.
    pub fn note_refused_connection(&self, reason: &str) {
        self.tell(|inner| record::refused_connection(inner, reason, self.now()));
    }

    /// Writes an entry aside, unless there were too many.
    fn tell(&self, entry: impl FnOnce(&SessionInner) -> NewEntry) {
        let inner = &self.inner;
        let must_write = {
            let mut state = inner.refusals.state();
            state.count = state.count.saturating_add(1);
            if state.count <= MAX_NAMED_REFUSALS {
                state.waiting.push(entry(inner));
                !std::mem::replace(&mut state.is_writing, true)
            } else {
                false
            }
        };
        if must_write {
            inner.holdings.tasks.spawn(write(Arc::clone(inner)));
        }
    }
}

async fn write(inner: Arc<SessionInner>) {
    let _writing = inner.refusals.writing.lock().await;
    while let Some(batch) = inner.refusals.take() {
        if let Err(error) = inner.holdings.store.append_all(&batch).await {
            tracing::error!(
                session.id = %inner.id,
                error = &error as &dyn std::error::Error,
                "refusals could not be recorded"
            );
        }
    }
}
