//! Hosted files: the one place that touches them.
//!
//! [`Storage`] is the seam: blocking verbs on places inside a home and on
//! hidden files that are not yet (or no longer) part of a home. [`local`] is
//! the jail that implements it on a directory tree; a test implementation
//! records every verb and shows what a power cut would leave behind.
//! [`Vfs`] carries the verbs to threads that may block. Nothing here knows
//! accounts, permissions, expiry or SQL, and nothing here follows a link.

mod ballast;
mod error;
mod local;
mod marker;
mod names;
#[cfg(test)]
pub(crate) mod recording;
mod reserve;
mod room;
#[cfg(test)]
mod suite;

use std::fmt;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

pub use error::VfsError;
pub(crate) use local::LocalStorage;
pub use marker::StorageId;
pub(crate) use names::{FirstNames, Names};
pub use room::DiskRoom;
pub(crate) use room::{Room, Watched};

use sha2::{Digest as _, Sha256};

use crate::pace::{MAX_DATABASE_IN_PLACE, Pace};
use crate::{Fsync, HomeName, IntegrationName, VirtualPath};

/// Longest run of bytes one read or write may carry, in bytes. Front ends
/// split larger requests; SFTP clients ask for at most 256 KiB at a time.
pub const MAX_IO_BYTES: usize = 1024 * 1024;

/// Largest hosted file, in bytes (8 TiB): keeps every sum of sizes far from
/// the end of the database's 64-bit integers.
pub const MAX_FILE_BYTES: u64 = 8 << 40;

/// A name inside one home.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    pub(crate) home: HomeName,
    pub(crate) path: VirtualPath,
}

impl Place {
    pub(crate) fn new(home: &HomeName, path: &VirtualPath) -> Place {
        Place {
            home: home.clone(),
            path: path.clone(),
        }
    }

    /// The directory that holds this name; the root holds itself.
    pub(crate) fn dir(&self) -> Place {
        Place {
            home: self.home.clone(),
            path: self.path.dir(),
        }
    }
}

/// Name of a hidden file: made by us, never by a peer.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct HiddenName(String);

impl HiddenName {
    /// Bytes of chance in a name: two nodes never meet in one.
    const RANDOM_BYTES: usize = 16;

    /// A fresh name.
    pub(crate) fn fresh() -> io::Result<HiddenName> {
        let mut bytes = [0_u8; Self::RANDOM_BYTES];
        getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
        Ok(HiddenName(hex::encode(bytes)))
    }

    /// A fresh name for what the courier receives: whose errand it is, and of which
    /// content, is told by the name, so that it outlives the process without a column.
    /// Half of the chance is left; the origin differs already for every other content.
    pub(crate) fn of_courier(
        origin: ContentOrigin,
        integration: &IntegrationName,
    ) -> io::Result<HiddenName> {
        let mut chance = [0_u8; Self::RANDOM_BYTES - ContentOrigin::BYTES];
        getrandom::fill(&mut chance).map_err(|error| io::Error::other(error.to_string()))?;
        let (origin, chance) = (hex::encode(origin.0), hex::encode(chance));
        Ok(HiddenName(format!("{origin}{chance}.{integration}")))
    }

    /// A name read back from the ledger or the hidden folder; `None` when we
    /// cannot have made it.
    pub(crate) fn parse(text: &str) -> Option<HiddenName> {
        let (number, integration) = match text.split_once('.') {
            Some((number, integration)) => (number, Some(integration)),
            None => (text, None),
        };
        let well_formed = number.len() == Self::RANDOM_BYTES * 2
            && number
                .bytes()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
            && integration.is_none_or(|name| name.parse::<IntegrationName>().is_ok());
        well_formed.then(|| HiddenName(text.to_owned()))
    }

    /// The integration whose file it is; none when a partner sent it.
    pub(crate) fn integration(&self) -> Option<&str> {
        self.0.split_once('.').map(|(_, integration)| integration)
    }

    /// Whether the courier received this content into it.
    pub(crate) fn is_of(&self, origin: ContentOrigin) -> bool {
        self.integration().is_some() && self.0.starts_with(&hex::encode(origin.0))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Which content the courier receives: the same for the same file on the same partner's
/// server, and another one as soon as that file is another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ContentOrigin([u8; ContentOrigin::BYTES]);

impl ContentOrigin {
    /// So many bytes of a SHA-256: two contents of one name do not meet in it.
    const BYTES: usize = 8;

    /// Of everything that tells one content from another: integration, path, size,
    /// modification time.
    #[must_use]
    pub fn of(parts: &[&[u8]]) -> ContentOrigin {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let mut origin = [0; ContentOrigin::BYTES];
        for (to, from) in origin.iter_mut().zip(hash.finalize()) {
            *to = from;
        }
        ContentOrigin(origin)
    }
}

/// Which file this is, whatever its name: survives a rename, differs for
/// every file that takes the name afterwards.
///
/// The device number is left out on purpose: all hosted files lie on one file
/// system (else `rename` could not publish), and the kernel may number the
/// same disk differently after a restart. The birth time tells apart two
/// files that got the same inode number one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Identity {
    pub(crate) inode: i64,
    /// Microseconds since 1970 UTC; 0 when the file system does not tell.
    pub(crate) born_us: i64,
}

impl Identity {
    /// Whether both name the same file. A birth time that one side does not
    /// know does not count.
    pub(crate) fn same_file(self, other: Identity) -> bool {
        self.inode == other.inode
            && (self.born_us == other.born_us || self.born_us == 0 || other.born_us == 0)
    }
}

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FileKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
}

/// What the storage says of one file or directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) kind: FileKind,
    pub(crate) size_bytes: u64,
    pub(crate) modified_us: i64,
    /// When it was last changed in any way; nobody can set it.
    pub(crate) changed_us: i64,
    pub(crate) identity: Identity,
    /// Permission bits only (`0o777`).
    pub(crate) mode: u32,
    /// A file that has other names too (hard links), wherever they are.
    pub(crate) is_linked: bool,
}

/// The entries of one directory.
#[derive(Debug, Default)]
pub(crate) struct Entries {
    pub(crate) entries: Vec<(Vec<u8>, Entry)>,
    /// The directory holds more than was asked for.
    pub(crate) more: bool,
    /// Names, among those looked at, of what is neither a file nor a directory.
    pub(crate) foreign: u64,
}

/// May the verb take the place of a file that is there?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replace {
    /// No: the verb fails with [`VfsError::AlreadyExists`].
    Refuse,
    /// Yes, atomically.
    Allow,
}

/// A piece of one file that goes to a place in another, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopyRange {
    /// Where it begins in the source.
    pub from_offset: u64,
    /// Where it begins in the target.
    pub to_offset: u64,
    /// How long it is.
    pub length_bytes: u64,
}

/// Room on the file system that holds the homes, in bytes; what is kept from partners
/// is not free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StorageSpace {
    pub(crate) total_bytes: u64,
    pub(crate) free_bytes: u64,
    /// None where the file system does not tell, or makes them as they are needed.
    pub(crate) inodes: Option<Inodes>,
}

/// How many files a file system can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Inodes {
    pub(crate) total: u64,
    pub(crate) free: u64,
}

/// One open file. It stays readable when its name goes to another file.
pub(crate) trait OpenFile: Send + Sync + fmt::Debug {
    /// Up to `len` bytes from `offset`; shorter only at the end of the file.
    fn read_at(&self, offset: u64, len: usize) -> io::Result<Vec<u8>>;
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    fn set_len(&self, size_bytes: u64) -> io::Result<()>;
    fn set_modified(&self, modified_us: i64) -> io::Result<()>;
    fn set_mode(&self, mode: u32) -> io::Result<()>;
    /// Content and size reach the disk before this returns.
    fn sync(&self) -> io::Result<()>;
    fn entry(&self) -> io::Result<Entry>;
    /// Fails when a file that ends there could never be filled: with what it holds, and
    /// the room that there is. A hole takes no room until somebody writes into it.
    fn check_reach(&self, _end_bytes: u64) -> io::Result<()> {
        Ok(())
    }
    /// Asks for room for `bytes` that the kernel is going to write.
    fn make_room(&self, _bytes: u64) -> io::Result<()> {
        Ok(())
    }
    /// The file itself, when the kernel can copy from and to it.
    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

/// Copies `range` of `source` into `target`: inside the kernel where it can,
/// else through a buffer. Returns how many bytes there were; fewer only when
/// the source ends before.
pub(crate) fn copy_range(
    source: &dyn OpenFile,
    target: &dyn OpenFile,
    range: CopyRange,
) -> io::Result<u64> {
    let mut done = match (source.descriptor(), target.descriptor()) {
        (Some(from), Some(to)) => {
            target.make_room(range.length_bytes)?;
            local::copy_in_kernel(from, to, range)?
        }
        _ => 0,
    };
    while done < range.length_bytes {
        let left = range.length_bytes.saturating_sub(done);
        let wanted = usize::try_from(left).unwrap_or(usize::MAX);
        let bytes = source.read_at(
            range.from_offset.saturating_add(done),
            wanted.min(MAX_IO_BYTES),
        )?;
        if bytes.is_empty() {
            break;
        }
        target.write_at(range.to_offset.saturating_add(done), &bytes)?;
        done = done.saturating_add(bytes.len() as u64);
    }
    Ok(done)
}

/// Where hosted files lie. All verbs block; call them through [`Vfs`].
///
/// Only regular files and directories exist for callers: symbolic links and
/// special files are neither followed nor listed, a verb on one answers
/// `NotFound`. A file with several names is told of as such
/// ([`Entry::is_linked`]): whose it is, its identity says. A change of names is
/// durable once the directory was synchronised, never before.
pub(crate) trait Storage: Send + Sync + fmt::Debug + 'static {
    /// Makes the home's root directory, durably. Fine when it is there.
    fn make_home(&self, home: &HomeName) -> io::Result<()>;
    fn stat(&self, at: &Place) -> io::Result<Entry>;
    fn list(&self, dir: &Place, limit: usize) -> io::Result<Entries>;
    /// Tells the names in a directory, in no order; some may stand for nothing that
    /// exists for callers.
    fn names(&self, dir: &Place, tell: &mut dyn FnMut(&[u8])) -> io::Result<()>;
    /// What these names in a directory stand for, without those that stand for nothing.
    fn entries(&self, dir: &Place, names: Vec<Vec<u8>>) -> io::Result<Vec<(Vec<u8>, Entry)>>;
    fn open(&self, at: &Place) -> io::Result<(Arc<dyn OpenFile>, Entry)>;
    fn set_modified(&self, at: &Place, modified_us: i64) -> io::Result<()>;
    fn set_mode(&self, at: &Place, mode: u32) -> io::Result<()>;
    fn make_dir(&self, at: &Place) -> io::Result<()>;
    fn remove_dir(&self, at: &Place) -> io::Result<()>;
    fn rename(&self, from: &Place, to: &Place, replace: Replace) -> io::Result<()>;
    fn sync_dir(&self, dir: &Place) -> io::Result<()>;

    fn create_hidden(&self, name: &HiddenName) -> io::Result<Arc<dyn OpenFile>>;
    fn open_hidden(&self, name: &HiddenName) -> io::Result<Arc<dyn OpenFile>>;
    /// A hidden file with the content of `source`, sharing its blocks where
    /// the file system can; also the identity of what was copied.
    fn copy_to_hidden(
        &self,
        source: &Place,
        name: &HiddenName,
    ) -> io::Result<(Arc<dyn OpenFile>, Identity)>;
    fn stat_hidden(&self, name: &HiddenName) -> io::Result<Entry>;
    fn list_hidden(&self) -> io::Result<Vec<HiddenName>>;
    fn unlink_hidden(&self, name: &HiddenName) -> io::Result<()>;
    fn sync_hidden(&self) -> io::Result<()>;
    /// Moves a hidden file to its place.
    fn publish(&self, name: &HiddenName, to: &Place, replace: Replace) -> io::Result<()>;
    /// Moves whatever file has this name out of sight.
    fn hide(&self, from: &Place, name: &HiddenName) -> io::Result<()>;

    fn space(&self) -> io::Result<StorageSpace>;

    /// Whether quick verbs may run on threads that must not wait: only where
    /// no verb can hang on a network.
    fn may_answer_at_once(&self) -> bool;

    /// Which storage this is, as it says of itself; `None` when it says
    /// nothing, as the empty folder below a mount that is away.
    fn storage_id(&self) -> io::Result<Option<StorageId>>;
    /// Gives a storage that has no id the id `fresh`, durably; returns the id
    /// that it has then, which is another's when another was faster.
    fn mark_storage(&self, fresh: &StorageId) -> io::Result<StorageId>;
}

/// Carries [`Storage`] verbs to threads that may block; the quick ones only
/// while storage is slow.
#[derive(Clone, Debug)]
pub(crate) struct Vfs {
    storage: Arc<dyn Storage>,
    pace: Arc<Pace>,
    fsync: Fsync,
}

impl Vfs {
    /// `fsync`: whether the storage's `sync` verbs wait for the disk.
    pub(crate) fn new(storage: Arc<dyn Storage>, fsync: Fsync) -> Vfs {
        let threads = tokio::runtime::Handle::try_current()
            .map_or(1, |runtime| runtime.metrics().num_workers());
        // One thread always goes on, whatever the disk and the database do.
        let in_place = threads.saturating_sub(MAX_DATABASE_IN_PLACE + 1);
        let pace = Arc::new(Pace::new(storage.may_answer_at_once(), in_place));
        Vfs {
            storage,
            pace,
            fsync,
        }
    }

    /// Runs work that may take long (a listing, a copy) where blocking is
    /// allowed: one hop, however many verbs.
    pub(crate) async fn run<T, E>(
        &self,
        work: impl FnOnce(&dyn Storage) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<io::Error> + Send + 'static,
    {
        let storage = Arc::clone(&self.storage);
        hop(move || work(storage.as_ref())).await
    }

    /// Runs quick verbs: names, or at most [`MAX_IO_BYTES`] of content, and
    /// nothing that waits for the disk.
    pub(crate) async fn quick<T, E>(
        &self,
        work: impl FnOnce(&dyn Storage) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<io::Error> + Send + 'static,
    {
        if let Some(_turn) = self.pace.in_place() {
            return self.pace.watch(|| work(self.storage.as_ref()));
        }
        let (storage, pace) = (Arc::clone(&self.storage), Arc::clone(&self.pace));
        hop(move || pace.watch(|| work(storage.as_ref()))).await
    }

    /// Runs verbs that are quick but for their `sync`.
    pub(crate) async fn durable<T, E>(
        &self,
        work: impl FnOnce(&dyn Storage) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<io::Error> + Send + 'static,
    {
        match self.fsync {
            Fsync::Always => self.run(work).await,
            Fsync::Never => self.quick(work).await,
        }
    }
}

/// Runs blocking work on another thread.
async fn hop<T, E>(work: impl FnOnce() -> Result<T, E> + Send + 'static) -> Result<T, E>
where
    T: Send + 'static,
    E: From<io::Error> + Send + 'static,
{
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(E::from(io::Error::other(error))),
    }
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::Duration;

    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 3)]
    async fn a_slow_disk_holds_up_others_once() {
        let dir = tempfile::tempdir().unwrap();
        let storage = Arc::new(LocalStorage::open(dir.path(), Fsync::Never).unwrap());
        assert!(storage.may_answer_at_once(), "tests run on a local disk");
        let vfs = Vfs::new(storage, Fsync::Never);
        let session = tokio::spawn(async move {
            let mut in_place = 0;
            for _ in 0..5 {
                let here = thread::current().id();
                let slow = |_: &dyn Storage| {
                    let (_nobody, silence) = std::sync::mpsc::channel::<()>();
                    let slow = Duration::from_millis(25);
                    assert!(silence.recv_timeout(slow).is_err());
                    Ok::<_, io::Error>(thread::current().id())
                };
                in_place += usize::from(vfs.quick(slow).await.unwrap() == here);
            }
            in_place
        });
        assert_eq!(session.await.unwrap(), 1);
    }
}
