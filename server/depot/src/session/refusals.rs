//! What a session could not change, because it was not allowed or the storage
//! failed: in the journal, as far as a peer cannot fill it. Nobody waits for these entries, and those that come while
//! one is written are written together.

use std::fmt::Display;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{Caller, Session, SessionInner, record};
use crate::doctor::{Clue, Repeated};
use crate::figures::Ending;
use crate::holdings::Direction;
use crate::journal::NewEntry;
use crate::retries::{Attempt, Client};
use crate::vfs::VfsError;
use crate::{MAX_NAME_BYTES, PathError, VirtualPath};

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
    unnamed: Unnamed,
    /// At most [`MAX_NAMED_REFUSALS`].
    waiting: Vec<NewEntry>,
    is_writing: bool,
}

/// Refusals beyond those that the journal names, and how many of them were transfers.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Unnamed {
    pub(super) all: u64,
    pub(super) uploads: u64,
    pub(super) downloads: u64,
}

impl Unnamed {
    fn one_more(&mut self, direction: Option<Direction>) {
        let more = |count: &mut u64| *count = count.saturating_add(1);
        more(&mut self.all);
        match direction {
            Some(Direction::Upload) => more(&mut self.uploads),
            Some(Direction::Download) => more(&mut self.downloads),
            None => {}
        }
    }
}

impl Refusals {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many were not named.
    pub(super) fn unnamed(&self) -> Unnamed {
        self.state().unnamed
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
    /// the storage, and whatever kept a transfer from beginning.
    pub(super) fn note_refusal<T>(
        &self,
        verb: &'static str,
        path: &VirtualPath,
        result: Result<T, VfsError>,
    ) -> Result<T, VfsError> {
        let direction = match verb {
            "upload" => Some(Direction::Upload),
            "download" => Some(Direction::Download),
            _ => None,
        };
        let fault = match result {
            // An errand tells of its own end.
            Err(fault) if self.inner.caller == Caller::Courier => return Err(fault),
            Err(fault) if fault.is_refusal() || fault.is_of_storage() => fault,
            Err(fault) if direction.is_some() && fault.is_of_the_name() => fault,
            other => return other,
        };
        if let Some(direction) = direction {
            self.note_repeat(direction, path, &fault);
            let ending = match fault.is_refusal() {
                true => Ending::Refused,
                false => Ending::Failed,
            };
            self.inner.count_unstarted(direction, ending);
        }
        self.tell(direction, |inner| {
            record::refused(inner, verb, path, &fault, self.now())
        });
        Err(fault)
    }

    /// Tells of a transfer of a name that is no path, and so never comes to a verb: it is refused
    /// like any other.
    pub fn refuse_name(&self, direction: Direction, name: &[u8], fault: PathError) -> VfsError {
        let fault = VfsError::BadPath(fault);
        let shown = name.get(..MAX_NAME_BYTES).unwrap_or(name).escape_ascii();
        self.note_failure(direction, name, &shown, &fault);
        self.inner.count_unstarted(direction, Ending::Refused);
        self.tell(Some(direction), |inner| {
            record::refused_name(inner, direction, &shown, &fault, self.now())
        });
        fault
    }

    /// Counts a transfer that is refused for good and tried again all the same.
    fn note_repeat(&self, direction: Direction, path: &VirtualPath, fault: &VfsError) {
        let is_for_good = fault.is_refusal()
            || matches!(
                fault,
                VfsError::NotFound { .. }
                    | VfsError::NotDirectory { .. }
                    | VfsError::IsDirectory { .. }
            );
        if is_for_good {
            self.note_failure(direction, path.as_bytes(), path, fault);
        }
    }

    /// The answer to a transfer that fails again and again for the same reason waits.
    fn note_failure(
        &self,
        direction: Direction,
        name: &[u8],
        shown: &dyn Display,
        fault: &VfsError,
    ) {
        let inner = &self.inner;
        let Some(client) = inner.retrying() else {
            return;
        };
        let why = fault.word();
        let attempt = Attempt {
            direction,
            name,
            why,
        };
        let Some(delay) = inner.holdings.retries.failed(client, &attempt).delay else {
            return;
        };
        let delay_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        inner.owed_delay_ms.store(delay_ms, Ordering::Release);
        inner.see_repeated(direction, shown, fault);
    }

    /// Refuses an upload that has used the quota up again and again, before it takes bytes that
    /// are thrown away.
    ///
    /// # Errors
    /// `QuotaExceeded`.
    pub(super) fn check_starved(
        &self,
        path: &VirtualPath,
        room_bytes: Option<u64>,
    ) -> Result<(), VfsError> {
        let inner = &self.inner;
        let (Some(client), Some(room_bytes)) = (inner.retrying(), room_bytes) else {
            return Ok(());
        };
        let board = &inner.holdings.retries;
        if !board.is_starved(client, &used_up(path), room_bytes) {
            return Ok(());
        }
        let quota_bytes = inner.terms().quota_bytes.unwrap_or_default();
        Err(VfsError::QuotaExceeded { quota_bytes })
    }

    /// How long the refusal that was just given is to wait before the peer hears of it:
    /// the same transfer has failed for the same reason again and again. Said once. The
    /// front end waits, because it alone knows what else the peer wants meanwhile.
    #[must_use]
    pub fn take_owed_delay(&self) -> Option<Duration> {
        let owed_ms = self.inner.owed_delay_ms.swap(0, Ordering::AcqRel);
        (owed_ms > 0).then(|| Duration::from_millis(owed_ms))
    }

    /// Tells of a transfer that was let in and did not begin, because the front end could
    /// not carry it; `reason` is for people. Counts among the session's refusals.
    pub(super) fn note_not_begun(&self, direction: Direction, path: &VirtualPath, reason: &str) {
        self.inner.count_unstarted(direction, Ending::Failed);
        self.tell(Some(direction), |inner| {
            record::not_begun(inner, direction, path, reason, self.now())
        });
    }

    /// Tells the journal of a data connection that was refused although the session
    /// is logged in; `reason` is for people. Counts among the session's refusals.
    pub fn note_refused_connection(&self, reason: &str) {
        self.tell(None, |inner| {
            record::refused_connection(inner, reason, self.now())
        });
    }

    /// Writes an entry aside, unless there were too many.
    fn tell(&self, of: Option<Direction>, entry: impl FnOnce(&SessionInner) -> NewEntry) {
        let inner = &self.inner;
        if inner.holdings.room.refuses() {
            return;
        }
        let must_write = {
            let mut state = inner.refusals.state();
            state.count = state.count.saturating_add(1);
            if state.count <= MAX_NAMED_REFUSALS {
                state.waiting.push(entry(inner));
                !std::mem::replace(&mut state.is_writing, true)
            } else {
                state.unnamed.one_more(of);
                false
            }
        };
        if must_write {
            inner.holdings.tasks.spawn(write(Arc::clone(inner)));
        }
    }
}

impl SessionInner {
    /// Who is remembered for what fails; none of the courier, whose flows know what they try.
    pub(super) fn retrying(&self) -> Option<Client> {
        match self.caller {
            Caller::Partner { peer, .. } => Some(Client::new(self.account.id, peer)),
            Caller::Courier => None,
        }
    }

    /// An upload used up the quota, of which it had been allowed `room_bytes`.
    pub(super) fn note_starved(&self, path: &VirtualPath, room_bytes: Option<u64>) {
        let Some(client) = self.retrying() else {
            return;
        };
        let board = &self.holdings.retries;
        let repeated = board.starved(client, &used_up(path), room_bytes.unwrap_or(0));
        if repeated.delay.is_some() {
            let quota_bytes = self.terms().quota_bytes.unwrap_or_default();
            let fault = VfsError::QuotaExceeded { quota_bytes };
            self.see_repeated(Direction::Upload, path, &fault);
        }
    }

    /// Tells the doctor.
    fn see_repeated(&self, direction: Direction, shown: &dyn Display, fault: &VfsError) {
        let repeated = Repeated::new(direction, &shown.to_string(), fault);
        self.see(Clue::repeated(repeated));
    }
}

/// An upload that the quota has no room for.
fn used_up(path: &VirtualPath) -> Attempt<'_> {
    Attempt {
        direction: Direction::Upload,
        name: path.as_bytes(),
        why: VfsError::QuotaExceeded { quota_bytes: 0 }.word(),
    }
}

async fn write(inner: Arc<SessionInner>) {
    let _writing = inner.refusals.writing.lock().await;
    while let Some(batch) = inner.refusals.take() {
        if let Err(error) = inner.holdings.store.append_all(&batch).await {
            let faults = &inner.holdings.faults;
            faults.unrecorded("refusals could not be recorded", &error);
        }
    }
}
