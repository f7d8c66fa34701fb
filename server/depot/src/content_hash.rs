//! SHA-256 of stored files, computed behind the partners' backs: by one thread
//! of the lowest priority, soon after a file was published, while its content
//! is still in memory.

use std::collections::HashSet;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use tokio::sync::oneshot;

use crate::FileId;
use crate::holdings::{Holdings, HomeRef};
use crate::ledger::{ContentHash, FileRow};
use crate::recover::SILENT_AFTER;
use crate::vfs::{MAX_IO_BYTES, OpenFile, VfsError};

/// Files that are looked up, and recorded, at once.
const BATCH: usize = 64;

/// Bytes that are hashed before the results so far are recorded. A file that is larger is
/// hashed in pieces of so many, one in a round, so that no other waits for its end.
const BATCH_BYTES: u64 = 256 * 1024 * 1024;

/// Large files that have begun: one that is overtaken by a smaller one goes on where it
/// was. Each has an open file.
const MAX_BEGUN: usize = 4;

/// Large files that wait; behind more of them than this small ones wait, too.
const MAX_LARGE: usize = 10_000;

/// A file is left alone for so long: whoever puts many files shall not share the
/// processors with their checksums, and what is in memory stays there longer.
const REST: Duration = Duration::from_secs(2);

/// Files that could not be read are remembered, and left alone until there are
/// more of them than this.
const MAX_UNREADABLE: usize = 10_000;

/// How nice the thread is to all others; 19 is the most (setpriority(2)).
const NICE: i32 = 19;

/// Whether contents are hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Checksum {
    /// Soon after a file was published, at low priority.
    Background,
    /// Never; whoever asks for a hash waits for it.
    Off,
}

/// What one round did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct HashReport {
    /// Files hashed.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files that could not be read.
    pub failed: u64,
    /// Whether there may be more to do.
    pub more: bool,
}

/// A file for the thread.
struct Errand {
    hashing: Hashing,
    piece_bytes: u64,
    reply: oneshot::Sender<io::Result<Hashing>>,
}

/// How far the hash of an open file has come.
struct Hashing {
    file: Arc<dyn OpenFile>,
    context: Context,
    bytes: u64,
    /// The end was reached.
    is_done: bool,
}

/// A large file that was begun.
struct Begun {
    id: FileId,
    size_bytes: u64,
    hashing: Hashing,
}

/// What became of a file in its turn.
enum Turn {
    Hashed(u64, [u8; 32]),
    /// So many bytes, and there are more.
    GoesOn(u64),
    /// It has gone, or another file has its name: nothing to hash.
    Gone,
}

/// Hashes what has no hash yet.
pub(crate) struct ContentHasher {
    holdings: Arc<Holdings>,
    thread: OnceLock<mpsc::SyncSender<Errand>>,
    unreadable: Mutex<HashSet<FileId>>,
    begun: Mutex<Vec<Begun>>,
    /// [`BATCH_BYTES`], but for tests.
    piece_bytes: u64,
    /// Large files that wait, by the last look.
    large: AtomicUsize,
}

impl fmt::Debug for ContentHasher {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ContentHasher")
            .finish_non_exhaustive()
    }
}

impl ContentHasher {
    pub(crate) fn new(holdings: Arc<Holdings>) -> Self {
        Self {
            holdings,
            thread: OnceLock::new(),
            unreadable: Mutex::default(),
            begun: Mutex::default(),
            piece_bytes: BATCH_BYTES,
            large: AtomicUsize::new(0),
        }
    }

    /// One round: the newest files first, because they are still in memory; then a piece
    /// of the smallest that is large. So a file waits for smaller ones only, and for a
    /// piece of a larger one.
    pub(crate) async fn round(&self) -> Result<HashReport, VfsError> {
        let holdings = &self.holdings;
        let now = holdings.now();
        // Each node hashes what it published, and what nobody else does.
        let own_before = now.saturating_sub(REST);
        let others_before = now.saturating_sub(SILENT_AFTER.saturating_mul(10));
        let limit = BATCH
            .saturating_add(self.known_unreadable())
            .saturating_add(self.large.load(Ordering::Relaxed));
        let rows = holdings
            .store
            .unhashed(&holdings.node, own_before, others_before, limit)
            .await?;
        let saw_all = rows.len() < limit;
        let readable = rows.into_iter().filter(|row| !self.is_unreadable(row.id));
        let (small, mut large): (Vec<_>, Vec<_>) =
            readable.partition(|row| row.size_bytes <= self.piece_bytes);
        self.large
            .store(large.len().min(MAX_LARGE), Ordering::Relaxed);
        large.sort_by_key(|row| (row.size_bytes, row.id.0));
        let mut report = HashReport {
            more: small.len() >= BATCH || !large.is_empty(),
            ..HashReport::default()
        };
        let mut hashes = Vec::new();
        for row in small {
            if hashes.len() >= BATCH || report.bytes >= BATCH_BYTES {
                report.more = true;
                break;
            }
            self.have_turn(&row, &mut hashes, &mut report).await;
        }
        if saw_all {
            self.forget_begun(&large);
        }
        for row in &large {
            if self.have_turn(row, &mut hashes, &mut report).await {
                break;
            }
        }
        report.more &= report.bytes > 0 || report.files > 0;
        for some in hashes.chunks(holdings.store.hashes_at_once()) {
            holdings.store.set_hashes(some).await?;
        }
        Ok(report)
    }

    /// A file is hashed, or a piece of it. Returns whether there was something to do.
    async fn have_turn(
        &self,
        row: &FileRow,
        hashes: &mut Vec<ContentHash>,
        report: &mut HashReport,
    ) -> bool {
        match self.hash(row).await {
            Ok(Turn::Hashed(bytes, sha256)) => {
                report.files = report.files.saturating_add(1);
                report.bytes = report.bytes.saturating_add(bytes);
                hashes.push(ContentHash {
                    file: row.id,
                    size_bytes: row.size_bytes,
                    sha256,
                });
            }
            Ok(Turn::GoesOn(bytes)) => report.bytes = report.bytes.saturating_add(bytes),
            Ok(Turn::Gone) => return false,
            Err(error) => {
                report.failed = report.failed.saturating_add(1);
                self.note_unreadable(row.id);
                tracing::warn!(
                    file.path = %row.path,
                    error = &error as &dyn std::error::Error,
                    "a stored file could not be read for its checksum"
                );
            }
        }
        true
    }

    async fn hash(&self, row: &FileRow) -> Result<Turn, VfsError> {
        let hashing = match self.take_begun(row.id) {
            Some(hashing) => hashing,
            None => match self.open(row).await? {
                Some(file) => Hashing::new(file),
                None => return Ok(Turn::Gone),
            },
        };
        let before = hashing.bytes;
        let (reply, answer) = oneshot::channel();
        let errand = Errand {
            hashing,
            piece_bytes: self.piece_bytes,
            reply,
        };
        let gone = || io::Error::other("the thread for checksums has ended");
        self.thread()?.send(errand).map_err(|_| gone())?;
        let hashing = answer
            .await
            .map_err(|_| gone())?
            .map_err(|error| VfsError::at(&row.path, error))?;
        let bytes = hashing.bytes.saturating_sub(before);
        if hashing.is_done {
            return Ok(match hashing.bytes == row.size_bytes {
                true => Turn::Hashed(bytes, hashing.sha256()),
                false => Turn::Gone,
            });
        }
        self.keep_begun(row, hashing);
        Ok(Turn::GoesOn(bytes))
    }

    async fn open(&self, row: &FileRow) -> Result<Option<Arc<dyn OpenFile>>, VfsError> {
        let holdings = &self.holdings;
        let name = holdings.store.home_name(row.home).await?;
        let home = HomeRef { id: row.home, name };
        let place = home.place(&row.path);
        let opened = holdings
            .vfs
            .run(move |storage| storage.open(&place))
            .await
            .map_err(|error| VfsError::at(&row.path, error));
        match opened {
            Ok((file, entry)) => Ok(row.is_file(entry.identity).then_some(file)),
            Err(VfsError::NotFound { .. } | VfsError::NotDirectory { .. }) => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    fn begun(&self) -> std::sync::MutexGuard<'_, Vec<Begun>> {
        self.begun.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_begun(&self, file: FileId) -> Option<Hashing> {
        let mut begun = self.begun();
        let at = begun.iter().position(|begun| begun.id == file)?;
        Some(begun.swap_remove(at).hashing)
    }

    /// Where there is no room the largest begins anew one day: it is the last anyhow.
    fn keep_begun(&self, row: &FileRow, hashing: Hashing) {
        let mut begun = self.begun();
        begun.push(Begun {
            id: row.id,
            size_bytes: row.size_bytes,
            hashing,
        });
        begun.sort_by_key(|begun| begun.size_bytes);
        begun.truncate(MAX_BEGUN);
    }

    /// Those that are not to be hashed any more are closed: their room is wanted.
    fn forget_begun(&self, wanted: &[FileRow]) {
        self.begun()
            .retain(|begun| wanted.iter().any(|row| row.id == begun.id));
    }

    /// The thread, begun when it is first needed; it ends with the depot.
    fn thread(&self) -> io::Result<&mpsc::SyncSender<Errand>> {
        if let Some(thread) = self.thread.get() {
            return Ok(thread);
        }
        // One errand at a time: the caller waits for each.
        let (errands, inbox) = mpsc::sync_channel::<Errand>(1);
        thread::Builder::new()
            .name("checksums".to_owned())
            .spawn(move || {
                // Where the system refuses that, it is a thread like any other.
                let _ = rustix::process::setpriority_process(None, NICE);
                for errand in inbox {
                    // Nobody waits any more: so be it.
                    let _ = errand.reply.send(errand.hashing.go_on(errand.piece_bytes));
                }
            })?;
        Ok(self.thread.get_or_init(|| errands))
    }

    fn known_unreadable(&self) -> usize {
        self.unreadable().len()
    }

    fn is_unreadable(&self, file: FileId) -> bool {
        self.unreadable().contains(&file)
    }

    fn note_unreadable(&self, file: FileId) {
        let mut unreadable = self.unreadable();
        if unreadable.len() >= MAX_UNREADABLE {
            unreadable.clear();
        }
        unreadable.insert(file);
    }

    fn unreadable(&self) -> std::sync::MutexGuard<'_, HashSet<FileId>> {
        self.unreadable
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hashing {
    fn new(file: Arc<dyn OpenFile>) -> Self {
        Self {
            file,
            context: Context::new(&SHA256),
            bytes: 0,
            is_done: false,
        }
    }

    /// Hashes what comes next: `piece_bytes`, and up to [`MAX_IO_BYTES`] more.
    fn go_on(mut self, piece_bytes: u64) -> io::Result<Self> {
        let until = self.bytes.saturating_add(piece_bytes);
        // The end is seen by reading there: a file of just one piece is done in one.
        while self.bytes <= until {
            let read = self.file.read_at(self.bytes, MAX_IO_BYTES)?;
            if read.is_empty() {
                self.is_done = true;
                break;
            }
            self.context.update(&read);
            self.bytes = self.bytes.saturating_add(read.len() as u64);
        }
        Ok(self)
    }

    fn sha256(self) -> [u8; 32] {
        let mut sha256 = [0; 32];
        for (to, from) in sha256.iter_mut().zip(self.context.finish().as_ref()) {
            *to = *from;
        }
        sha256
    }
}

#[cfg(test)]
mod tests;
