//! The jail: hosted files in a directory tree of this machine.
//!
//! One handle per home; every name is resolved by `openat2` below that handle
//! with `RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS`, so
//! that no name, link or race leads out. The last component is only ever
//! used relative to a directory resolved that way, and never followed.
//! Unfinished files lie in `<homes>/.layover/incoming/`: home names cannot
//! begin with a dot, so no home reaches it, and one file system holds both,
//! so that a `rename` publishes.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use rustix::fs::{
    AtFlags, CWD, Dir, DirEntry, FileType, Mode, OFlags, RenameFlags, ResolveFlags, Statx,
    StatxFlags, Timespec, Timestamps, UTIME_OMIT,
};
use rustix::io::Errno;

use super::{
    CopyRange, Entries, Entry, FileKind, HiddenName, Identity, Inodes, MAX_IO_BYTES, OpenFile,
    Place, Replace, Storage, StorageId, StorageSpace, marker,
    reserve::{Reserve, Want, reserve_of},
};
use crate::{Fsync, HomeName, VirtualPath};

/// Where unfinished files lie, below `homes`.
pub(super) const HIDDEN_FOLDER: [&str; 2] = [".layover", "incoming"];

/// Home handles kept open at once; each is one file descriptor. The homes
/// above that are opened again for every verb.
const MAX_OPEN_HOMES: usize = 512;

/// Times `openat2` is repeated when a concurrent rename made it uncertain.
const MAX_RESOLVE_TRIES: usize = 16;

/// What stat(2) counts a file's blocks in, whatever the file system's are.
const BLOCK_BYTES: u64 = 512;

/// Modes of what we make: nobody but the service reads partners' files.
pub(super) const FILE_MODE: u32 = 0o600;
const DIRECTORY_MODE: u32 = 0o700;

/// File systems of this machine's own disks and memory, by the magic numbers of
/// statfs(2): ext2-4, XFS, Btrfs, F2FS, ZFS, bcachefs, tmpfs, and overlayfs,
/// which containers have. None of them waits for a network.
const LOCAL: [i64; 8] = [
    0xEF53,
    0x5846_5342,
    0x9123_683E,
    0xF2F5_2010,
    0x2FC1_2FC1,
    0xCA45_1A4E,
    0x0102_1994,
    0x794C_7630,
];

const MICROS_PER_SECOND: i64 = 1_000_000;

/// Hosted files on a local or mounted file system.
#[derive(Debug)]
pub(crate) struct LocalStorage {
    homes: OwnedFd,
    /// Where `homes` was opened: what lies there now may be something else.
    path: PathBuf,
    /// Opened, and made, at the first need: a tree that is not the database's
    /// must stay as it was found.
    hidden: OnceLock<OwnedFd>,
    open_homes: Mutex<HashMap<HomeName, Arc<OwnedFd>>>,
    fsync: Fsync,
    reserve: Reserve,
}

impl LocalStorage {
    /// Opens the tree at `homes`, making it if needed.
    pub(crate) fn open(homes: &Path, fsync: Fsync) -> io::Result<LocalStorage> {
        let path = homes.to_owned();
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(DIRECTORY_MODE)
            .create(&path)?;
        let homes = rustix::fs::openat(CWD, &path, directory_flags(), Mode::empty())?;
        Ok(LocalStorage {
            homes,
            path,
            hidden: OnceLock::new(),
            open_homes: Mutex::new(HashMap::new()),
            fsync,
            reserve: Reserve::default(),
        })
    }

    fn hidden(&self) -> io::Result<&OwnedFd> {
        if let Some(hidden) = self.hidden.get() {
            return Ok(hidden);
        }
        let mut hidden = self.homes.try_clone()?;
        for name in HIDDEN_FOLDER {
            make_dir_at(&hidden, name.as_bytes())?;
            sync_fd(&hidden, self.fsync)?;
            hidden = resolve(&hidden, name.as_bytes(), directory_flags())?;
        }
        Ok(self.hidden.get_or_init(|| hidden))
    }

    fn home(&self, home: &HomeName) -> io::Result<Arc<OwnedFd>> {
        let mut open = self
            .open_homes
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(handle) = open.get(home) {
            return Ok(Arc::clone(handle));
        }
        let handle = Arc::new(resolve(
            &self.homes,
            home.as_str().as_bytes(),
            directory_flags(),
        )?);
        if open.len() < MAX_OPEN_HOMES {
            open.insert(home.clone(), Arc::clone(&handle));
        }
        Ok(handle)
    }

    /// A handle on a directory, good for `*at` calls.
    fn directory(&self, home: &HomeName, dir: &VirtualPath) -> io::Result<OwnedFd> {
        let home = self.home(home)?;
        resolve(
            &home,
            relative(dir),
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        )
    }

    /// A handle on the parent of `at`, and the last component.
    fn parent<'a>(&self, at: &'a Place) -> io::Result<(OwnedFd, &'a [u8])> {
        // The root of a home has no name to make, move or remove.
        let name = at.path.name().ok_or(Errno::BUSY)?;
        Ok((self.directory(&at.home, &at.path.dir())?, name))
    }

    /// A directory whose names are going to be read.
    fn listed(&self, dir: &Place) -> io::Result<OwnedFd> {
        let home = self.home(&dir.home)?;
        resolve(&home, relative(&dir.path), directory_flags())
    }

    fn open_regular(&self, at: &Place) -> io::Result<(File, Entry)> {
        let home = self.home(&at.home)?;
        let handle = resolve(&home, relative(&at.path), read_flags())?;
        let entry = fd_entry(&handle)?;
        match entry.kind {
            FileKind::File => Ok((File::from(handle), entry)),
            FileKind::Directory => Err(Errno::ISDIR.into()),
        }
    }

    fn open_hidden_file(&self, name: &HiddenName, flags: OFlags) -> io::Result<File> {
        let flags = flags | OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let mode = if flags.contains(OFlags::CREATE) {
            FILE_MODE
        } else {
            0
        };
        let handle = rustix::fs::openat2(
            self.hidden()?,
            name.as_str(),
            flags,
            Mode::from_raw_mode(mode),
            resolve_flags(),
        )?;
        Ok(File::from(handle))
    }

    fn handle_on(&self, file: File) -> Arc<dyn OpenFile> {
        Arc::new(LocalFile {
            file,
            fsync: self.fsync,
            reserve: self.reserve.clone(),
        })
    }
}

impl Storage for LocalStorage {
    fn make_home(&self, home: &HomeName) -> io::Result<()> {
        make_dir_at(&self.homes, home.as_str().as_bytes())?;
        sync_fd(&self.homes, self.fsync)
    }

    fn stat(&self, at: &Place) -> io::Result<Entry> {
        if at.path.name().is_none() {
            return fd_entry(&*self.home(&at.home)?);
        }
        let (parent, name) = self.parent(at)?;
        entry_at(&parent, name)
    }

    fn list(&self, dir: &Place, limit: usize) -> io::Result<Entries> {
        let handle = self.listed(dir)?;
        let mut listing = Entries::default();
        for dirent in Dir::read_from(&handle)? {
            let dirent = dirent?;
            let Some(name) = hosted(&dirent) else {
                if !is_dots(&dirent) {
                    listing.foreign = listing.foreign.saturating_add(1);
                }
                continue;
            };
            if listing.entries.len() == limit {
                listing.more = true;
                break;
            }
            if let Some(entry) = entry_there(&handle, name)? {
                listing.entries.push((name.to_vec(), entry));
            }
        }
        Ok(listing)
    }

    fn names(&self, dir: &Place, tell: &mut dyn FnMut(&[u8])) -> io::Result<()> {
        for dirent in Dir::new(self.listed(dir)?)? {
            if let Some(name) = hosted(&dirent?) {
                tell(name);
            }
        }
        Ok(())
    }

    fn entries(&self, dir: &Place, names: Vec<Vec<u8>>) -> io::Result<Vec<(Vec<u8>, Entry)>> {
        let handle = self.listed(dir)?;
        let mut entries = Vec::with_capacity(names.len());
        for name in names {
            if let Some(entry) = entry_there(&handle, &name)? {
                entries.push((name, entry));
            }
        }
        Ok(entries)
    }

    fn open(&self, at: &Place) -> io::Result<(Arc<dyn OpenFile>, Entry)> {
        let (file, entry) = self.open_regular(at)?;
        Ok((self.handle_on(file), entry))
    }

    fn set_modified(&self, at: &Place, modified_us: i64) -> io::Result<()> {
        let home = self.home(&at.home)?;
        let handle = resolve(&home, relative(&at.path), read_flags())?;
        fd_entry(&handle)?;
        Ok(rustix::fs::futimens(&handle, &modified_times(modified_us))?)
    }

    fn set_mode(&self, at: &Place, mode: u32) -> io::Result<()> {
        let home = self.home(&at.home)?;
        let handle = resolve(&home, relative(&at.path), read_flags())?;
        // The service keeps its own access whatever a peer asks for.
        let ours = match fd_entry(&handle)?.kind {
            FileKind::File => FILE_MODE,
            FileKind::Directory => DIRECTORY_MODE,
        };
        Ok(rustix::fs::fchmod(
            &handle,
            Mode::from_raw_mode((mode & 0o777) | ours),
        )?)
    }

    fn make_dir(&self, at: &Place) -> io::Result<()> {
        let (parent, name) = self.parent(at)?;
        self.reserve.take(Want::Name, || space_of(&self.homes))?;
        Ok(rustix::fs::mkdirat(
            &parent,
            name,
            Mode::from_raw_mode(DIRECTORY_MODE),
        )?)
    }

    fn remove_dir(&self, at: &Place) -> io::Result<()> {
        let (parent, name) = self.parent(at)?;
        Ok(rustix::fs::unlinkat(&parent, name, AtFlags::REMOVEDIR)?)
    }

    fn rename(&self, from: &Place, to: &Place, replace: Replace) -> io::Result<()> {
        let (from_parent, from_name) = self.parent(from)?;
        let (to_parent, to_name) = self.parent(to)?;
        let flags = rename_flags(replace);
        Ok(rustix::fs::renameat_with(
            &from_parent,
            from_name,
            &to_parent,
            to_name,
            flags,
        )?)
    }

    fn sync_dir(&self, dir: &Place) -> io::Result<()> {
        if self.fsync == Fsync::Never {
            return Ok(());
        }
        let home = self.home(&dir.home)?;
        sync_fd(
            &resolve(&home, relative(&dir.path), directory_flags())?,
            self.fsync,
        )
    }

    fn create_hidden(&self, name: &HiddenName) -> io::Result<Arc<dyn OpenFile>> {
        self.reserve.take(Want::Name, || space_of(&self.homes))?;
        Ok(self.handle_on(self.open_hidden_file(name, OFlags::CREATE | OFlags::EXCL)?))
    }

    fn open_hidden(&self, name: &HiddenName) -> io::Result<Arc<dyn OpenFile>> {
        Ok(self.handle_on(self.open_hidden_file(name, OFlags::empty())?))
    }

    fn copy_to_hidden(
        &self,
        source: &Place,
        name: &HiddenName,
    ) -> io::Result<(Arc<dyn OpenFile>, Identity)> {
        let (source, entry) = self.open_regular(source)?;
        self.reserve.take(Want::Name, || space_of(&self.homes))?;
        let copy = self.open_hidden_file(name, OFlags::CREATE | OFlags::EXCL)?;
        let room = || {
            let want = Want::Bytes(entry.size_bytes);
            self.reserve.take(want, || space_of(&self.homes))
        };
        if let Err(error) = copy_content(&source, &copy, entry.size_bytes, room) {
            rustix::fs::unlinkat(self.hidden()?, name.as_str(), AtFlags::empty())?;
            return Err(error);
        }
        Ok((self.handle_on(copy), entry.identity))
    }

    fn stat_hidden(&self, name: &HiddenName) -> io::Result<Entry> {
        entry_at(self.hidden()?, name.as_str().as_bytes())
    }

    fn list_hidden(&self) -> io::Result<Vec<HiddenName>> {
        let mut names = Vec::new();
        for entry in Dir::read_from(self.hidden()?)? {
            let entry = entry?;
            names.extend(entry.file_name().to_str().ok().and_then(HiddenName::parse));
        }
        Ok(names)
    }

    fn unlink_hidden(&self, name: &HiddenName) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(
            self.hidden()?,
            name.as_str(),
            AtFlags::empty(),
        )?)
    }

    fn sync_hidden(&self) -> io::Result<()> {
        sync_fd(self.hidden()?, self.fsync)
    }

    fn publish(&self, name: &HiddenName, to: &Place, replace: Replace) -> io::Result<()> {
        let (parent, to_name) = self.parent(to)?;
        let flags = rename_flags(replace);
        Ok(rustix::fs::renameat_with(
            self.hidden()?,
            name.as_str(),
            &parent,
            to_name,
            flags,
        )?)
    }

    fn hide(&self, from: &Place, name: &HiddenName) -> io::Result<()> {
        let (parent, from_name) = self.parent(from)?;
        // Symbolic links are unknown here; a directory must stay where it is.
        if entry_at(&parent, from_name)?.kind == FileKind::Directory {
            return Err(Errno::ISDIR.into());
        }
        let flags = RenameFlags::NOREPLACE;
        Ok(rustix::fs::renameat_with(
            &parent,
            from_name,
            self.hidden()?,
            name.as_str(),
            flags,
        )?)
    }

    fn space(&self) -> io::Result<StorageSpace> {
        let space = space_of(&self.homes)?;
        let reserve = reserve_of(space.total_bytes);
        Ok(StorageSpace {
            free_bytes: space.free_bytes.saturating_sub(reserve),
            ..space
        })
    }

    fn may_answer_at_once(&self) -> bool {
        rustix::fs::fstatfs(&self.homes).is_ok_and(|stat| LOCAL.contains(&stat.f_type))
    }

    /// The handle and the path must name the same storage: one that was
    /// unmounted, or mounted over, under the running server answers `None`.
    fn storage_id(&self) -> io::Result<Option<StorageId>> {
        let by_handle = marker::read(&self.homes)?;
        let there = rustix::fs::openat(CWD, &self.path, directory_flags(), Mode::empty());
        let by_path = match there {
            Ok(there) => marker::read(&there)?,
            Err(Errno::NOENT | Errno::NOTDIR) => None,
            Err(error) => return Err(error.into()),
        };
        Ok(by_handle.filter(|id| by_path.as_ref() == Some(id)))
    }

    fn mark_storage(&self, fresh: &StorageId) -> io::Result<StorageId> {
        self.hidden()?;
        marker::write(&self.homes, fresh, self.fsync)
    }
}

#[derive(Debug)]
struct LocalFile {
    file: File,
    fsync: Fsync,
    reserve: Reserve,
}

impl OpenFile for LocalFile {
    fn read_at(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(len.min(MAX_IO_BYTES));
        while bytes.len() < bytes.capacity() {
            let at = offset.saturating_add(bytes.len() as u64);
            match rustix::io::pread(&self.file, rustix::buffer::spare_capacity(&mut bytes), at) {
                Ok(0) => break,
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        bytes.truncate(len);
        Ok(bytes)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.make_room(bytes.len() as u64)?;
        self.file.write_all_at(bytes, offset)
    }

    fn set_len(&self, size_bytes: u64) -> io::Result<()> {
        self.file.set_len(size_bytes)
    }

    fn set_modified(&self, modified_us: i64) -> io::Result<()> {
        Ok(rustix::fs::futimens(
            &self.file,
            &modified_times(modified_us),
        )?)
    }

    fn set_mode(&self, mode: u32) -> io::Result<()> {
        Ok(rustix::fs::fchmod(
            &self.file,
            Mode::from_raw_mode((mode & 0o777) | FILE_MODE),
        )?)
    }

    fn sync(&self) -> io::Result<()> {
        match self.fsync {
            Fsync::Always => self.file.sync_data(),
            Fsync::Never => Ok(()),
        }
    }

    fn entry(&self) -> io::Result<Entry> {
        fd_entry(&self.file)
    }

    fn check_reach(&self, end_bytes: u64) -> io::Result<()> {
        let blocks = u64::try_from(rustix::fs::fstat(&self.file)?.st_blocks).unwrap_or(0);
        let held = blocks.saturating_mul(BLOCK_BYTES);
        let space = space_of(&self.file)?;
        let kept = reserve_of(space.total_bytes);
        let room = space.free_bytes.saturating_sub(kept);
        if end_bytes > held.saturating_add(room) {
            return Err(Errno::NOSPC.into());
        }
        Ok(())
    }

    fn make_room(&self, bytes: u64) -> io::Result<()> {
        self.reserve
            .take(Want::Bytes(bytes), || space_of(&self.file))
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(self.file.as_fd())
    }
}

pub(super) fn directory_flags() -> OFlags {
    OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW
}

pub(super) fn read_flags() -> OFlags {
    // NONBLOCK: opening a pipe that an operator left in the tree must not wait.
    OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK
}

fn resolve_flags() -> ResolveFlags {
    ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS
}

pub(super) fn resolve(base: &OwnedFd, name: &[u8], flags: OFlags) -> io::Result<OwnedFd> {
    let mut tries = 0;
    loop {
        match rustix::fs::openat2(base, name, flags, Mode::empty(), resolve_flags()) {
            // openat2(2): a rename elsewhere made the check uncertain; ask again.
            Err(Errno::AGAIN | Errno::INTR) if tries < MAX_RESOLVE_TRIES => tries += 1,
            // A socket or a device without a driver: not a file for us.
            Err(Errno::NXIO | Errno::NODEV) => return Err(Errno::NOENT.into()),
            Ok(handle) => return Ok(handle),
            Err(error) => return Err(error.into()),
        }
    }
}

/// The path as `openat2` wants it: relative to the home.
fn relative(path: &VirtualPath) -> &[u8] {
    match path.as_bytes().strip_prefix(b"/") {
        None | Some(b"") => b".",
        Some(rest) => rest,
    }
}

fn rename_flags(replace: Replace) -> RenameFlags {
    match replace {
        Replace::Refuse => RenameFlags::NOREPLACE,
        Replace::Allow => RenameFlags::empty(),
    }
}

fn make_dir_at(parent: &OwnedFd, name: &[u8]) -> io::Result<()> {
    match rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(DIRECTORY_MODE)) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

pub(super) fn sync_fd(directory: &OwnedFd, fsync: Fsync) -> io::Result<()> {
    match fsync {
        Fsync::Always => Ok(rustix::fs::fsync(directory)?),
        Fsync::Never => Ok(()),
    }
}

/// What the file system itself says, the reserve included.
pub(super) fn space_of(handle: &impl AsFd) -> io::Result<StorageSpace> {
    let stat = rustix::fs::fstatvfs(handle)?;
    Ok(StorageSpace {
        total_bytes: stat.f_blocks.saturating_mul(stat.f_frsize),
        free_bytes: stat.f_bavail.saturating_mul(stat.f_frsize),
        inodes: (stat.f_files > 0).then_some(Inodes {
            total: stat.f_files,
            free: stat.f_favail,
        }),
    })
}

fn fd_entry(handle: &impl AsFd) -> io::Result<Entry> {
    entry_of(&rustix::fs::statx(
        handle,
        c"",
        AtFlags::EMPTY_PATH,
        wanted(),
    )?)
}

fn entry_at(parent: &OwnedFd, name: &[u8]) -> io::Result<Entry> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    entry_of(&rustix::fs::statx(parent, name, flags, wanted())?)
}

/// The same; `None` for what is gone since it was read, or does not exist for callers.
fn entry_there(parent: &OwnedFd, name: &[u8]) -> io::Result<Option<Entry>> {
    match entry_at(parent, name) {
        Ok(entry) => Ok(Some(entry)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The name, unless it can stand for nothing that exists for callers.
fn hosted(dirent: &DirEntry) -> Option<&[u8]> {
    let name = dirent.file_name().to_bytes();
    let may_be_hosted = matches!(
        dirent.file_type(),
        FileType::RegularFile | FileType::Directory | FileType::Unknown
    );
    (may_be_hosted && !is_dots(dirent)).then_some(name)
}

fn is_dots(dirent: &DirEntry) -> bool {
    matches!(dirent.file_name().to_bytes(), b"." | b"..")
}

fn wanted() -> StatxFlags {
    StatxFlags::BASIC_STATS | StatxFlags::BTIME
}

/// What callers may know of a file; `NotFound` for whatever is neither a
/// directory nor a regular file.
fn entry_of(stat: &Statx) -> io::Result<Entry> {
    let kind = match FileType::from_raw_mode(u32::from(stat.stx_mode)) {
        FileType::Directory => FileKind::Directory,
        // However many names it has: a backup that links (`cp -al`) must not make the
        // ledger's own files look gone.
        FileType::RegularFile => FileKind::File,
        _ => return Err(Errno::NOENT.into()),
    };
    let born_us = if stat.stx_mask & StatxFlags::BTIME.bits() == 0 {
        0
    } else {
        micros(stat.stx_btime.tv_sec, stat.stx_btime.tv_nsec)
    };
    Ok(Entry {
        kind,
        size_bytes: stat.stx_size,
        modified_us: micros(stat.stx_mtime.tv_sec, stat.stx_mtime.tv_nsec),
        changed_us: micros(stat.stx_ctime.tv_sec, stat.stx_ctime.tv_nsec),
        identity: Identity {
            inode: stat.stx_ino.cast_signed(),
            born_us,
        },
        mode: u32::from(stat.stx_mode) & 0o777,
        is_linked: kind == FileKind::File && stat.stx_nlink > 1,
    })
}

fn micros(seconds: i64, nanos: u32) -> i64 {
    seconds
        .saturating_mul(MICROS_PER_SECOND)
        .saturating_add(i64::from(nanos / 1_000))
}

fn modified_times(modified_us: i64) -> Timestamps {
    let seconds = modified_us.div_euclid(MICROS_PER_SECOND);
    let nanos = modified_us
        .rem_euclid(MICROS_PER_SECOND)
        .saturating_mul(1_000);
    Timestamps {
        last_access: Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_OMIT,
        },
        last_modification: Timespec {
            tv_sec: seconds,
            tv_nsec: nanos,
        },
    }
}

/// Copies `size_bytes` from the start of `source`: shared blocks where the
/// file system can, else, if there is `room`, inside the kernel or through a buffer.
fn copy_content(
    source: &File,
    copy: &File,
    size_bytes: u64,
    room: impl FnOnce() -> io::Result<()>,
) -> io::Result<()> {
    if rustix::fs::ioctl_ficlone(copy, source).is_ok() {
        return Ok(());
    }
    room()?;
    let whole = CopyRange {
        from_offset: 0,
        to_offset: 0,
        length_bytes: size_bytes,
    };
    let done = copy_in_kernel(source.as_fd(), copy.as_fd(), whole)?;
    if done < size_bytes {
        return copy_through_buffer(source, copy, done);
    }
    Ok(())
}

/// Copies inside the kernel, as far as it does that between these two files;
/// returns how many bytes are copied.
pub(super) fn copy_in_kernel(
    source: BorrowedFd<'_>,
    target: BorrowedFd<'_>,
    range: CopyRange,
) -> io::Result<u64> {
    let mut done = 0_u64;
    while done < range.length_bytes {
        let left = range.length_bytes.saturating_sub(done);
        let left = usize::try_from(left).unwrap_or(usize::MAX);
        let mut from = range.from_offset.saturating_add(done);
        let mut to = range.to_offset.saturating_add(done);
        match rustix::fs::copy_file_range(source, Some(&mut from), target, Some(&mut to), left) {
            Ok(0) => break,
            Ok(copied) => done = done.saturating_add(copied as u64),
            Err(Errno::INTR) => {}
            Err(Errno::XDEV | Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => break,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(done)
}

fn copy_through_buffer(source: &File, copy: &File, mut offset: u64) -> io::Result<()> {
    let mut buffer = vec![0_u8; MAX_IO_BYTES];
    loop {
        let read = source.read_at(&mut buffer, offset)?;
        let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else {
            return Ok(());
        };
        copy.write_all_at(bytes, offset)?;
        offset = offset.saturating_add(read as u64);
    }
}
