//! SHA-256 of stored files, computed behind the partners' backs: by one thread
//! of the lowest priority, soon after a file was published, while its content
//! is still in memory.

use std::collections::HashSet;
use std::io;
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

/// Bytes that are hashed before the results so far are recorded.
const BATCH_BYTES: u64 = 256 * 1024 * 1024;

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
    file: Arc<dyn OpenFile>,
    reply: oneshot::Sender<io::Result<(u64, [u8; 32])>>,
}

/// Hashes what has no hash yet.
#[derive(Debug)]
pub(crate) struct ContentHasher {
    holdings: Arc<Holdings>,
    thread: OnceLock<mpsc::SyncSender<Errand>>,
    unreadable: Mutex<HashSet<FileId>>,
}

impl ContentHasher {
    pub(crate) fn new(holdings: Arc<Holdings>) -> Self {
        Self {
            holdings,
            thread: OnceLock::new(),
            unreadable: Mutex::default(),
        }
    }

    /// One round: the newest files first, because they are still in memory.
    pub(crate) async fn round(&self) -> Result<HashReport, VfsError> {
        let holdings = &self.holdings;
        let now = holdings.now();
        // Each node hashes what it published, and what nobody else does.
        let own_before = now.saturating_sub(REST);
        let others_before = now.saturating_sub(SILENT_AFTER.saturating_mul(10));
        let limit = BATCH.saturating_add(self.known_unreadable());
        let rows = holdings
            .store
            .unhashed(&holdings.node, own_before, others_before, limit)
            .await?;
        let mut report = HashReport {
            more: rows.len() >= BATCH,
            ..HashReport::default()
        };
        let mut hashes = Vec::new();
        for row in rows {
            if hashes.len() >= BATCH || report.bytes >= BATCH_BYTES {
                report.more = true;
                break;
            }
            if self.is_unreadable(row.id) {
                continue;
            }
            match self.hash(&row).await {
                Ok(Some((bytes, sha256))) => {
                    report.files = report.files.saturating_add(1);
                    report.bytes = report.bytes.saturating_add(bytes);
                    hashes.push(ContentHash {
                        file: row.id,
                        size_bytes: bytes,
                        sha256,
                    });
                }
                // It has gone, or another file has its name: nothing to hash.
                Ok(None) => {}
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
        }
        report.more &= report.files > 0;
        for some in hashes.chunks(holdings.store.hashes_at_once()) {
            holdings.store.set_hashes(some).await?;
        }
        Ok(report)
    }

    async fn hash(&self, row: &FileRow) -> Result<Option<(u64, [u8; 32])>, VfsError> {
        let holdings = &self.holdings;
        let name = holdings.store.home_name(row.home).await?;
        let home = HomeRef { id: row.home, name };
        let place = home.place(&row.path);
        let opened = holdings
            .vfs
            .run(move |storage| storage.open(&place))
            .await
            .map_err(|error| VfsError::at(&row.path, error));
        let (file, entry) = match opened {
            Ok(opened) => opened,
            Err(VfsError::NotFound { .. } | VfsError::NotDirectory { .. }) => return Ok(None),
            Err(fault) => return Err(fault),
        };
        if !row.is_file(entry.identity) {
            return Ok(None);
        }
        let (reply, answer) = oneshot::channel();
        let errand = Errand { file, reply };
        let gone = || io::Error::other("the thread for checksums has ended");
        self.thread()?.send(errand).map_err(|_| gone())?;
        let (bytes, sha256) = answer
            .await
            .map_err(|_| gone())?
            .map_err(|error| VfsError::at(&row.path, error))?;
        Ok((bytes == row.size_bytes).then_some((bytes, sha256)))
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
                    let _ = errand.reply.send(digest(errand.file.as_ref()));
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

/// Size and SHA-256 of an open file.
fn digest(file: &dyn OpenFile) -> io::Result<(u64, [u8; 32])> {
    let mut context = Context::new(&SHA256);
    let mut at = 0_u64;
    loop {
        let bytes = file.read_at(at, MAX_IO_BYTES)?;
        if bytes.is_empty() {
            break;
        }
        context.update(&bytes);
        at = at.saturating_add(bytes.len() as u64);
    }
    let mut sha256 = [0; 32];
    for (to, from) in sha256.iter_mut().zip(context.finish().as_ref()) {
        *to = *from;
    }
    Ok((at, sha256))
}
