//! Which storage the homes lie on: a random id in a file of the hidden folder.
//! The database remembers it, so that another tree, or the empty folder below
//! a mount that is away, is never taken for the homes.

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use super::HiddenName;
use super::local::{FILE_MODE, HIDDEN_FOLDER, directory_flags, read_flags, resolve, sync_fd};
use crate::Fsync;

/// The file, in `<homes>/.layover/`. Operators are told its name (`depot.rs`).
const MARKER: &str = "storage-id";

/// The id of a storage: 32 hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StorageId(HiddenName);

impl StorageId {
    /// One that nobody has.
    pub(crate) fn fresh() -> io::Result<StorageId> {
        HiddenName::fresh().map(StorageId)
    }

    /// `None` when we cannot have made it.
    pub(crate) fn parse(text: &str) -> Option<StorageId> {
        HiddenName::parse(text.trim_end()).map(StorageId)
    }

    /// Its digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl fmt::Display for StorageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The id below `homes`; `None` when there is no marker.
pub(super) fn read(homes: &OwnedFd) -> io::Result<Option<StorageId>> {
    match folder(homes).and_then(|folder| read_in(&folder)) {
        Ok(id) => Ok(Some(id)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn folder(homes: &OwnedFd) -> io::Result<OwnedFd> {
    let [folder, _] = HIDDEN_FOLDER;
    resolve(homes, folder.as_bytes(), directory_flags())
}

fn read_in(folder: &OwnedFd) -> io::Result<StorageId> {
    /// More than a marker holds, with room for an operator's line ends.
    const MOST_BYTES: u64 = 64;
    let file = File::from(resolve(folder, MARKER.as_bytes(), read_flags())?);
    let mut text = String::new();
    file.take(MOST_BYTES).read_to_string(&mut text)?;
    StorageId::parse(&text).ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            "the file `.layover/storage-id` in `homes` holds no storage id",
        )
    })
}

/// Writes a marker that is there whole or not at all, and never over another:
/// the id that holds afterwards.
pub(super) fn write(homes: &OwnedFd, fresh: &StorageId, fsync: Fsync) -> io::Result<StorageId> {
    let folder = folder(homes)?;
    let draft = format!("{MARKER}.{fresh}");
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let mode = Mode::from_raw_mode(FILE_MODE);
    let mut file = File::from(rustix::fs::openat(&folder, draft.as_str(), flags, mode)?);
    let written = file
        .write_all(format!("{fresh}\n").as_bytes())
        .and_then(|()| match fsync {
            Fsync::Always => file.sync_all(),
            Fsync::Never => Ok(()),
        })
        .and_then(|()| {
            // A link never replaces, on network file systems neither.
            match rustix::fs::linkat(&folder, draft.as_str(), &folder, MARKER, AtFlags::empty()) {
                Ok(()) | Err(Errno::EXIST) => Ok(()),
                Err(error) => Err(error.into()),
            }
        });
    rustix::fs::unlinkat(&folder, draft.as_str(), AtFlags::empty())?;
    written?;
    sync_fd(&folder, fsync)?;
    read_in(&folder)
}
