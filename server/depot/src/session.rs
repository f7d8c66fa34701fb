//! A session: one logged-in account, and everything it may do with files.
//!
//! Front ends hold a [`Session`] and nothing else: permissions, quota, expiry
//! and the hiding of unfinished files are all inside. What a peer may not see
//! does not exist for it. Verbs that change a name run to their end even when
//! the caller stops waiting.

mod coverage;
mod directories;
mod download;
mod errand;
mod listing;
mod look;
mod names;
mod permit;
pub(crate) mod record;
mod refusals;
mod rights;
pub(crate) mod terms;
#[cfg(test)]
mod tests;
pub(crate) mod unended;
mod upload;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use layover_retention::{Keep, Timestamp};
use tokio::sync::watch;

pub use download::Download;
pub(crate) use errand::Collecting;
pub use listing::{DirectoryListing, Listing, MAX_LISTING};
pub use permit::{UploadMode, UploadPermit};
pub use upload::{Completion, CopySource, MAX_COPY_BYTES, Upload, UploadOutcome, UploadReceipt};

use look::VisibleFile;
use terms::Terms;

use crate::bandwidth::Bandwidth;
use crate::doctor::{Clue, Sign, Whose};
use crate::fault_log::FaultLog;
use crate::figures::{Ended, Ending, TransferKind};
use crate::holdings::{Direction, Holdings, HomeRef};
use crate::vfs::{Entry, FileKind, VfsError};
use crate::{
    Account, AccountName, FileId, Protocol, Right, Rights, SessionId, SessionReuse, VirtualPath,
};

/// Why a session must end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EndReason {
    /// The account was disabled or removed.
    AccountDisabled,
    /// The peer's network is no longer allowed for the account.
    NetworkRemoved,
    /// An operator ended it.
    Killed,
    /// The server stops and does not wait any longer.
    Stopping,
}

impl EndReason {
    /// One word for the journal.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            EndReason::AccountDisabled => "account-disabled",
            EndReason::NetworkRemoved => "network-removed",
            EndReason::Killed => "killed",
            EndReason::Stopping => "stopping",
        }
    }
}

/// What a peer may know of a file or directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileInfo {
    /// File or directory.
    pub kind: FileKind,
    /// Size in bytes; of an interrupted upload, what has arrived.
    pub size_bytes: u64,
    /// The partner's own time stamp; decides nothing.
    pub modified_at: Timestamp,
    /// When the file goes; `None` for directories and unfinished uploads.
    pub expires_at: Option<Timestamp>,
    /// The account's own interrupted upload: never listed, only told by name.
    pub partial: bool,
    /// Permission bits (`0o777`), cosmetic.
    pub mode: u32,
    /// The same for one file under any name and in any listing, and another for
    /// every other one that is there; 0 for an interrupted upload.
    pub inode: i64,
    /// Its number in the ledger: another content of the name has another one. None of
    /// directories and interrupted uploads.
    pub file: Option<FileId>,
}

impl FileInfo {
    fn of(entry: Entry, expires_at: Option<Timestamp>) -> FileInfo {
        FileInfo {
            kind: entry.kind,
            size_bytes: entry.size_bytes,
            modified_at: Timestamp::from_micros(entry.modified_us),
            expires_at,
            partial: false,
            mode: entry.mode,
            inode: entry.identity.inode,
            file: None,
        }
    }

    fn of_file(file: &VisibleFile) -> FileInfo {
        FileInfo {
            file: Some(file.row.id),
            ..Self::of(file.entry, file.expires_at)
        }
    }
}

/// Room for a partner, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// The account's quota; without one, the size of the file system.
    pub total_bytes: u64,
    /// What the account could still store.
    pub free_bytes: u64,
    /// The account's quota.
    pub quota_bytes: Option<u64>,
    /// What its home holds.
    pub used_bytes: u64,
}

/// A logged-in account. Clones are the same session; when the last one goes
/// the session is over, as with [`Session::end`].
#[derive(Clone, Debug)]
pub struct Session {
    inner: Arc<SessionInner>,
}

/// What the gate knows when it lets somebody in.
#[derive(Clone, Debug)]
pub(crate) struct Login {
    pub(crate) id: SessionId,
    pub(crate) account: Account,
    pub(crate) home: HomeRef,
    pub(crate) protocol: Protocol,
    pub(crate) peer: IpAddr,
}

/// Who acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    /// A partner that logged in.
    Partner { protocol: Protocol, peer: IpAddr },
    /// The appliance itself, for the outbound engine: nobody logged in, so
    /// there is no row to take away and no logout to tell of.
    Courier,
}

/// What a session is made of.
struct Opening {
    id: SessionId,
    account: Account,
    terms: Terms,
    home: HomeRef,
    caller: Caller,
}

#[derive(Debug)]
struct SessionInner {
    id: SessionId,
    /// As it was at login: whose session it is. What it may do is in `terms`.
    account: Account,
    terms: Arc<ArcSwap<Terms>>,
    bandwidth: Arc<Bandwidth>,
    home: HomeRef,
    caller: Caller,
    holdings: Arc<Holdings>,
    ended: watch::Sender<Option<EndReason>>,
    closed: AtomicBool,
    refusals: refusals::Refusals,
    /// How long the answer to the last refused transfer waits, in milliseconds.
    owed_delay_ms: AtomicU64,
    open_for: crate::timer::Stopwatch,
}

/// Ends a session from outside without keeping it alive.
#[derive(Clone, Debug)]
pub(crate) struct SessionHandle {
    ended: watch::Sender<Option<EndReason>>,
    terms: Arc<ArcSwap<Terms>>,
    bandwidth: Arc<Bandwidth>,
}

impl SessionHandle {
    /// Whether the session itself is gone and only handles are left.
    pub(crate) fn is_over(&self) -> bool {
        self.ended.sender_count() <= 1
    }

    /// From now on every verb that begins goes by these terms, and what moves keeps to
    /// their rates.
    pub(crate) fn set_terms(&self, terms: &Terms) {
        self.bandwidth.set(&terms.limits);
        if **self.terms.load() != *terms {
            self.terms.store(Arc::new(terms.clone()));
        }
    }

    /// Tells the session that it must end; the first reason counts.
    pub(crate) fn end(&self, reason: EndReason) {
        self.ended.send_if_modified(|ended| {
            let first = ended.is_none();
            if first {
                *ended = Some(reason);
            }
            first
        });
    }
}

impl Session {
    /// The session of a login that the gate has granted and recorded. Makes
    /// the home's folder when it is the first.
    ///
    /// # Errors
    /// `DiskFull`, `ReadOnlyStorage`, `Storage` when there is no folder and it
    /// cannot be made.
    pub(crate) async fn open(holdings: Arc<Holdings>, login: Login) -> Result<Session, VfsError> {
        let caller = Caller::Partner {
            protocol: login.protocol,
            peer: login.peer,
        };
        let opening = Opening {
            id: login.id,
            terms: Terms::of(&login.account),
            account: login.account,
            home: login.home,
            caller,
        };
        Session::with(holdings, opening).await
    }

    async fn with(holdings: Arc<Holdings>, opening: Opening) -> Result<Session, VfsError> {
        holdings.make_home(&opening.home).await?;
        let bandwidth = match opening.caller {
            Caller::Partner { .. } => {
                let limits = &opening.terms.limits;
                holdings.bandwidths.of(opening.account.id, limits)
            }
            // The outbound engine's transfers are no partner's.
            Caller::Courier => Arc::new(Bandwidth::unlimited()),
        };
        Ok(Session {
            inner: Arc::new(SessionInner {
                id: opening.id,
                terms: Arc::new(ArcSwap::from_pointee(opening.terms)),
                bandwidth,
                account: opening.account,
                home: opening.home,
                caller: opening.caller,
                holdings,
                ended: watch::Sender::new(None),
                closed: AtomicBool::new(false),
                refusals: refusals::Refusals::default(),
                owed_delay_ms: AtomicU64::new(0),
                open_for: crate::timer::Stopwatch::start(),
            }),
        })
    }

    pub(crate) fn handle(&self) -> SessionHandle {
        SessionHandle {
            ended: self.inner.ended.clone(),
            terms: Arc::clone(&self.inner.terms),
            bandwidth: Arc::clone(&self.inner.bandwidth),
        }
    }

    /// Lines about faults of ours.
    #[must_use]
    pub fn faults(&self) -> &FaultLog {
        &self.inner.holdings.faults
    }

    /// The session's number in journal and `session list`.
    #[must_use]
    pub fn id(&self) -> &SessionId {
        &self.inner.id
    }

    /// Whose session it is.
    #[must_use]
    pub fn account_name(&self) -> &AccountName {
        &self.inner.account.name
    }

    /// The account as it was at login; an operator may have changed since what
    /// it may do.
    #[must_use]
    pub fn account(&self) -> &Account {
        &self.inner.account
    }

    /// Where the peer came from.
    #[must_use]
    pub fn peer(&self) -> Option<IpAddr> {
        match self.inner.caller {
            Caller::Partner { peer, .. } => Some(peer),
            Caller::Courier => None,
        }
    }

    /// FTPS: what its data connections must prove, as the operator has it now;
    /// none when the appliance's rule counts.
    #[must_use]
    pub fn session_reuse(&self) -> Option<SessionReuse> {
        self.inner.terms().session_reuse
    }

    /// Most bytes that its home may hold when it adds to it, as the operator has it now.
    #[must_use]
    pub fn quota_bytes(&self) -> Option<u64> {
        self.inner.terms().quota_bytes
    }

    /// Whether files of the account should not move on just now in this direction, because
    /// of its limit of bytes a second. Costs no I/O, and without a limit next to nothing.
    #[must_use]
    pub fn is_held_back(&self, direction: Direction) -> bool {
        !self.inner.bandwidth.wait(direction).is_zero()
    }

    /// Waits until files of the account may move on in this direction; at once without a
    /// limit of bytes a second. What is moved meanwhile by others counts: ask again before each
    /// piece. Nothing is lost when the future is dropped.
    pub async fn go_ahead(&self, direction: Direction) {
        while !self.go_ahead_soon(direction).await {}
    }

    /// As [`Session::go_ahead`], for a second at most; returns whether they may move on.
    pub async fn go_ahead_soon(&self, direction: Direction) -> bool {
        self.inner.bandwidth.go_ahead_soon(direction).await
    }

    /// The most bytes that should move at once in this direction: all where there is no
    /// limit of bytes a second, else so few that what is moved looks steady.
    #[must_use]
    pub fn stride(&self, direction: Direction) -> usize {
        self.inner.bandwidth.stride(direction)
    }

    /// How long a file stays that it uploads to the top of its home just now: for
    /// the greeting.
    ///
    /// # Errors
    /// `Database`.
    pub async fn keep(&self) -> Result<Keep, VfsError> {
        let holdings = &self.inner.holdings;
        let grounds = holdings.store.grounds_now(self.inner.account.id).await?;
        let policy = grounds.policy(holdings.appliance, &VirtualPath::root());
        Ok(policy.keep)
    }

    /// Tells the doctor what was seen of its connections.
    pub fn see(&self, seen: Clue) {
        self.inner.see(seen);
    }

    /// Resolves when the session must end, with the reason; from then on every
    /// verb answers [`VfsError::SessionEnded`].
    pub async fn ended(&self) -> EndReason {
        let mut ended = self.inner.ended.subscribe();
        match ended.wait_for(Option::is_some).await.map(|reason| *reason) {
            Ok(Some(reason)) => reason,
            Ok(None) | Err(_) => EndReason::Stopping,
        }
    }

    /// Closes the session: its row goes and the journal says why.
    pub async fn end(self, reason: &str) {
        if !self.inner.closed.swap(true, Ordering::AcqRel) {
            close(&self.inner, reason).await;
        }
    }

    /// What stands at `path`. The account's own interrupted upload is told
    /// when no published file has the name.
    ///
    /// # Errors
    /// `NotFound`, `NotPermitted`, `SessionEnded`, `Storage`, `Database`.
    pub async fn stat(&self, path: &VirtualPath) -> Result<FileInfo, VfsError> {
        self.check_running()?;
        let look = self.look_to_read(path).await?;
        if let Some(directory) = look.directory() {
            if !rights::may_enter(&self.inner.terms(), path) {
                return Err(self.not_permitted(path, Right::List));
            }
            return Ok(FileInfo::of(directory, None));
        }
        if let Some(file) = look.visible(self.now()) {
            if !self.may(path, Right::List) && !self.may(path, Right::Read) {
                return Err(self.not_permitted(path, Right::List));
            }
            return Ok(FileInfo::of_file(&file));
        }
        let row = look
            .unfinished_of(self.inner.account.id)
            .ok_or_else(|| not_found(path))?;
        self.require(path, Right::Write)?;
        Ok(FileInfo {
            kind: FileKind::File,
            size_bytes: row.size_bytes,
            modified_at: row.touched_at,
            expires_at: None,
            partial: true,
            mode: 0o600,
            inode: 0,
            file: None,
        })
    }

    /// What the account may do at `path`, as the operator has it now.
    #[must_use]
    pub fn rights(&self, path: &VirtualPath) -> Rights {
        rights::rights_at(&self.inner.terms(), path)
    }

    /// Whether [`Session::listing`] may be: there is such a directory, and the account may
    /// list it.
    ///
    /// # Errors
    /// As [`DirectoryListing::next`], but `TooManyEntries`.
    pub async fn check_list(&self, path: &VirtualPath) -> Result<(), VfsError> {
        self.check_running()?;
        self.require(path, Right::List)?;
        let look = self.look_to_read(path).await?;
        if look.directory().is_some() {
            return Ok(());
        }
        let is_file = look.visible(self.now()).is_some();
        let path = path.clone();
        Err(if is_file {
            VfsError::NotDirectory { path }
        } else {
            VfsError::NotFound { path }
        })
    }

    /// Room on the file system and in the account's quota.
    ///
    /// # Errors
    /// `SessionEnded`, `Storage`, `Database`.
    pub async fn space(&self) -> Result<Space, VfsError> {
        self.check_running()?;
        let holdings = &self.inner.holdings;
        let on_disk = holdings.vfs.run(|storage| storage.space());
        let in_ledger = holdings.store.usage(self.inner.home.id);
        let (storage, usage) = tokio::join!(on_disk, in_ledger);
        let (storage, usage) = (storage?, usage?);
        let quota_bytes = self.inner.terms().quota_bytes;
        let taken = usage.used_bytes.saturating_add(usage.hidden_bytes);
        let left = quota_bytes.map_or(u64::MAX, |quota| quota.saturating_sub(taken));
        Ok(Space {
            // To a partner with a quota, that is the size of its disk.
            total_bytes: quota_bytes.unwrap_or(storage.total_bytes),
            free_bytes: storage.free_bytes.min(left),
            quota_bytes,
            used_bytes: usage.used_bytes,
        })
    }

    #[cfg(test)]
    pub(crate) fn inner_home(&self) -> &HomeRef {
        &self.inner.home
    }

    fn now(&self) -> Timestamp {
        self.inner.holdings.now()
    }

    fn check_running(&self) -> Result<(), VfsError> {
        if self.inner.ended.borrow().is_some() || self.inner.closed.load(Ordering::Acquire) {
            return Err(VfsError::SessionEnded);
        }
        Ok(())
    }

    /// Refuses what would be journalled while only deletion may write: who is refused so
    /// is counted, and has no entry of his own.
    fn check_room(&self) -> Result<(), VfsError> {
        match self.inner.caller {
            Caller::Partner { .. } if self.inner.holdings.room.refuses() => Err(VfsError::DiskFull),
            _ => Ok(()),
        }
    }

    fn may(&self, path: &VirtualPath, right: Right) -> bool {
        self.inner.terms().may(path, right)
    }

    fn require(&self, path: &VirtualPath, right: Right) -> Result<(), VfsError> {
        if self.may(path, right) {
            Ok(())
        } else {
            Err(self.not_permitted(path, right))
        }
    }

    fn not_permitted(&self, path: &VirtualPath, right: Right) -> VfsError {
        VfsError::NotPermitted {
            account: self.inner.account.name.clone(),
            path: path.clone(),
            right,
        }
    }
}

impl SessionInner {
    /// What counts just now; not to be held across an `await`.
    fn terms(&self) -> arc_swap::Guard<Arc<Terms>> {
        self.terms.load()
    }

    /// Counts a partner's transfer that has ended.
    fn count(&self, direction: Direction, whole: bool, bytes: u64, duration: Duration) {
        if let Some(kind) = self.transfer_kind(direction) {
            if whole {
                if let Some(client) = self.retrying() {
                    self.holdings.retries.succeeded(client);
                }
                self.see(Clue::new(Sign::Transferred));
            }
            self.holdings.counters.transfer(&Ended {
                kind,
                account: self.account.name.as_str(),
                ending: if whole { Ending::Ok } else { Ending::Failed },
                bytes,
                duration,
            });
        }
    }

    /// Counts a partner's transfer that never began.
    fn count_unstarted(&self, direction: Direction, ending: Ending) {
        if let Some(kind) = self.transfer_kind(direction) {
            let account = self.account.name.as_str();
            let counters = &self.holdings.counters;
            counters.unstarted_transfer(kind, account, ending);
        }
    }

    /// Tells the doctor what was seen of a partner's connection.
    fn see(&self, seen: Clue) {
        if let Caller::Partner { protocol, peer } = self.caller {
            let whose = Whose {
                account: Some(self.account.name.clone()),
                peer,
                protocol: Some(protocol),
            };
            self.holdings.see(&whose, seen);
        }
    }

    /// None of the courier's: the outbound engine's transfers are no partner's.
    fn transfer_kind(&self, direction: Direction) -> Option<TransferKind> {
        match self.caller {
            Caller::Partner { protocol, .. } => Some(TransferKind {
                protocol,
                direction,
            }),
            Caller::Courier => None,
        }
    }
}

fn not_found(path: &VirtualPath) -> VfsError {
    VfsError::NotFound { path: path.clone() }
}

/// Takes the session's row away, with its journal entry.
async fn close(inner: &SessionInner, reason: &str) {
    inner.refusals.settled().await;
    let entries = record::ending(inner, reason);
    unended::end(&inner.holdings, inner.id.clone(), entries).await;
}

impl Drop for SessionInner {
    fn drop(&mut self) {
        if *self.closed.get_mut() || self.caller == Caller::Courier {
            return;
        }
        // Without a runtime the process is ending: recovery takes the row.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        let entries = record::ending(self, "connection closed");
        let (holdings, id) = (Arc::clone(&self.holdings), self.id.clone());
        let tasks = self.holdings.tasks.clone();
        tasks.spawn_on(
            async move { unended::end(&holdings, id, entries).await },
            &runtime,
        );
    }
}
