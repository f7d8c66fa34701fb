//! Downloads: one open file, whole as it was when it was opened.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use layover_retention::Timestamp;
use serde_json::{Map, Value};

use super::coverage::Coverage;
use super::{FileInfo, Session, not_found, record};
use crate::courier::Telling;
use crate::figures::Ending;
use crate::flow::{FileDone, RunToken};
use crate::holdings::{Direction, MovingGuard};
use crate::ledger::Collector;
use crate::timer::Stopwatch;
use crate::vfs::{MAX_IO_BYTES, OpenFile, Place, VfsError};
use crate::{FileId, Right, StoreError, VirtualPath};

/// Times an open is repeated because the name went to another file meanwhile.
const MAX_OPEN_TRIES: usize = 4;

/// A file being fetched. Overwriting, renaming or expiry of its name do not
/// touch it. When it goes, the journal says how far it came, and a file
/// fetched whole counts as collected.
#[derive(Debug)]
pub struct Download {
    session: Session,
    file: Arc<dyn OpenFile>,
    id: FileId,
    path: VirtualPath,
    info: FileInfo,
    passed: Mutex<Coverage>,
    /// Where the peer goes on: what is before it has passed in another download.
    from: u64,
    arrived_at: Timestamp,
    /// Something was copied from it on the server.
    copied: AtomicBool,
    /// What is read of it goes over the line; else it is looked at here alone.
    is_sent: bool,
    running: Stopwatch,
    moving: MovingGuard,
    recorded: bool,
    notes: Map<String, Value>,
    /// Who tells of it when no partner fetches it.
    errand: Option<Arc<Telling>>,
}

impl Session {
    /// Opens a published file for reading, to send it.
    ///
    /// # Errors
    /// `NotFound`, `IsDirectory`, `NotPermitted`, `DiskFull`, `Busy`, `SessionEnded`,
    /// `Storage`, `Database`.
    pub async fn download(&self, path: &VirtualPath) -> Result<Download, VfsError> {
        match self.open_to_read(path).await {
            // What is refused, open_to_read has told of.
            Err(fault) if fault.is_of_the_name() => self.note_refusal("download", path, Err(fault)),
            opened => opened.map(|mut file| {
                file.is_sent = true;
                file
            }),
        }
    }

    /// Opens a published file for reading, not to send it: what is not there is no
    /// download that failed.
    ///
    /// # Errors
    /// As [`Session::download`].
    pub async fn open_to_read(&self, path: &VirtualPath) -> Result<Download, VfsError> {
        self.check_running()?;
        if let Err(full) = self.check_room() {
            self.inner
                .count_unstarted(Direction::Download, Ending::Refused);
            return Err(full);
        }
        self.note_refusal("download", path, self.require(path, Right::Read))?;
        for _ in 0..MAX_OPEN_TRIES {
            let look = self.look_to_read(path).await?;
            if look.directory().is_some() {
                return Err(VfsError::IsDirectory { path: path.clone() });
            }
            let visible = look.visible(self.now()).ok_or_else(|| not_found(path))?;
            let place: Place = self.inner.home.place(path);
            let opened = self
                .inner
                .holdings
                .vfs
                .quick(move |storage| storage.open(&place))
                .await;
            match opened {
                Ok((file, entry)) if visible.row.is_file(entry.identity) => {
                    let info = FileInfo::of(entry, visible.expires_at);
                    let moving = &self.inner.holdings.moving;
                    let size = Some(info.size_bytes);
                    let moving = moving.begin(&self.inner.id, path, Direction::Download, size);
                    return Ok(Download {
                        moving,
                        session: self.clone(),
                        file,
                        id: visible.row.id,
                        path: path.clone(),
                        info,
                        passed: Mutex::default(),
                        from: 0,
                        // Without one it is being published just now.
                        arrived_at: visible
                            .row
                            .oldest_arrival()
                            .unwrap_or_else(|| self.inner.holdings.arriving_at()),
                        copied: AtomicBool::new(false),
                        is_sent: false,
                        running: Stopwatch::start(),
                        recorded: false,
                        notes: Map::new(),
                        errand: None,
                    });
                }
                // Replaced or gone since the look: look again.
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(VfsError::at(path, error)),
            }
        }
        Err(VfsError::Busy { path: path.clone() })
    }
}

impl Download {
    /// Size in bytes when it was opened.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.info.size_bytes
    }

    /// Adds to what its journal entry will say: of the connection that carries it.
    pub fn note(&mut self, name: &'static str, value: impl Into<Value>) {
        self.notes.insert(name.to_owned(), value.into());
    }

    /// The peer says that it has what is before `offset` and goes on there. Said
    /// before the first read. The rest of a file is a success of its own, but the
    /// file does not count as collected: nobody knows what the peer has.
    pub fn go_on_at(&mut self, offset: u64) {
        self.from = offset;
        self.passed = Mutex::new(Coverage::up_to(offset));
    }

    /// SHA-256 of the whole file, when it has been computed already. (Nobody
    /// writes into a published file through us; whoever does it in the tree itself
    /// gets the hash of what was published.)
    ///
    /// # Errors
    /// `Database`.
    pub async fn known_sha256(&self) -> Result<Option<Vec<u8>>, VfsError> {
        Ok(self.session.inner.holdings.store.hash_of(self.id).await?)
    }

    pub(crate) fn id(&self) -> FileId {
        self.id
    }

    /// What the file was when it was opened.
    #[must_use]
    pub fn info(&self) -> &FileInfo {
        &self.info
    }

    /// Up to `len` bytes from `offset` (at most [`MAX_IO_BYTES`]); empty at
    /// the end of the file.
    ///
    /// # Errors
    /// `SessionEnded`, `Storage`.
    pub async fn read_at(&self, offset: u64, len: usize) -> Result<Bytes, VfsError> {
        self.session.check_running()?;
        let file = Arc::clone(&self.file);
        let len = len.min(MAX_IO_BYTES);
        let vfs = &self.session.inner.holdings.vfs;
        let bytes = vfs.quick(move |_| file.read_at(offset, len)).await;
        let bytes = bytes.map_err(|error| VfsError::at(&self.path, error))?;
        self.moving.add(bytes.len() as u64);
        if self.is_sent {
            let bandwidth = &self.session.inner.bandwidth;
            bandwidth.take(Direction::Download, bytes.len() as u64);
        }
        let end = offset.saturating_add(bytes.len() as u64);
        self.passed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .add(offset, end);
        Ok(Bytes::from(bytes))
    }

    /// What a copy is made of, and how old that is.
    pub(super) fn copied_by(&self) -> (Arc<dyn OpenFile>, Timestamp) {
        self.copied.store(true, Ordering::Release);
        (Arc::clone(&self.file), self.arrived_at)
    }

    pub(super) fn path(&self) -> &VirtualPath {
        &self.path
    }

    /// Ends the download and records it. The file counts as collected when
    /// the front end says that all was sent, and every byte was read. One that
    /// was only copied on the server is told by the upload, not here.
    ///
    /// # Errors
    /// `Database` when it could not be recorded.
    pub async fn finish(mut self, bytes_sent: u64, complete: bool) -> Result<(), VfsError> {
        self.recorded = true;
        if bytes_sent == 0 && self.copied.load(Ordering::Acquire) {
            return Ok(());
        }
        let whole = complete && self.is_whole();
        record_end(self.end(bytes_sent, whole)).await
    }

    /// From now on `errand` tells of it; dropped, it says nothing.
    pub(super) fn carried_by(mut self, errand: Arc<Telling>) -> Download {
        self.errand = Some(errand);
        self
    }

    /// The partner's server has all of it: the file counts as collected, by nobody's
    /// account, and a flow whose file it is remembers it. False: another node has the
    /// flow's run, and nothing was done.
    ///
    /// # Errors
    /// It could not be recorded.
    pub(super) async fn delivered(
        &self,
        of_flow: Option<(RunToken, &FileDone)>,
    ) -> Result<bool, StoreError> {
        let holdings = &self.session.inner.holdings;
        let Some(errand) = &self.errand else {
            return Ok(true);
        };
        let entry = errand.delivered(&self.path, self.info.size_bytes, holdings.now());
        let entry = entry.with("file_id", self.id.0);
        let (store, at) = (&holdings.store, holdings.arriving_at());
        let is_recorded = match of_flow {
            Some((held, done)) => {
                store
                    .finish_delivery(held, done, self.id, at, &entry)
                    .await?
            }
            None => {
                let collected = Some((self.id, Collector::Outbound));
                store.end_download(collected, at, &entry).await?
            }
        };
        if is_recorded {
            errand.told();
        }
        Ok(is_recorded)
    }

    /// Ends it because the front end could not carry the file: the journal tells of a
    /// download that failed before it began.
    pub fn not_begun(mut self, reason: &str) {
        self.recorded = true;
        let (session, path) = (&self.session, &self.path);
        session.note_not_begun(Direction::Download, path, reason);
    }

    /// Ends it without a word in the journal: nothing was sent of it.
    pub fn forget(mut self) {
        self.recorded = true;
    }

    fn is_whole(&self) -> bool {
        self.passed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .contiguous()
            >= self.info.size_bytes
    }

    fn end(&self, bytes_sent: u64, whole: bool) -> End {
        End {
            session: self.session.clone(),
            id: self.id,
            path: self.path.clone(),
            size_bytes: self.info.size_bytes,
            bytes_sent,
            from: self.from,
            whole,
            duration: self.running.elapsed(),
            notes: self.notes.clone(),
        }
    }
}

impl Drop for Download {
    fn drop(&mut self) {
        if self.recorded || self.errand.is_some() {
            return;
        }
        let passed = self
            .passed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .contiguous()
            .saturating_sub(self.from);
        if passed == 0 && self.copied.load(Ordering::Acquire) {
            return;
        }
        // Nobody said that it was sent: nothing is no proof of anything.
        let end = self.end(passed, self.is_whole() && passed > 0);
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        let tasks = self.session.inner.holdings.tasks.clone();
        let faults = self.session.inner.holdings.faults.clone();
        tasks.spawn_on(
            async move {
                if let Err(error) = record_end(end).await {
                    faults.unrecorded("the end of a download could not be recorded", &error);
                }
            },
            &runtime,
        );
    }
}

/// What the journal says of a download.
pub(super) struct End {
    session: Session,
    id: FileId,
    pub(super) path: VirtualPath,
    pub(super) size_bytes: u64,
    pub(super) bytes_sent: u64,
    /// Where it began.
    pub(super) from: u64,
    /// Whether everything behind that was sent.
    pub(super) whole: bool,
    pub(super) duration: std::time::Duration,
    notes: Map<String, Value>,
}

async fn record_end(end: End) -> Result<(), VfsError> {
    let inner = &end.session.inner;
    inner.count(Direction::Download, end.whole, end.bytes_sent, end.duration);
    let now = inner.holdings.now();
    let mut entry = record::download(inner, &end, now);
    entry.detail.extend(end.notes.clone());
    let collector = Collector::Account(inner.account.id);
    let collected = (end.whole && end.from == 0).then_some((end.id, collector));
    inner
        .holdings
        .store
        .end_download(collected, inner.holdings.arriving_at(), &entry)
        .await?;
    Ok(())
}
