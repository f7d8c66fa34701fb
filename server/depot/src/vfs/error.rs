//! Why a verb on hosted files was not done.

use std::fmt;
use std::io;

use layover_retention::Timestamp;
use rustix::io::Errno;

use crate::store::StoreError;
use crate::{AccountName, PathError, Right, VirtualPath};

/// Why a verb on hosted files was not done. Each protocol maps every variant.
#[derive(Debug, thiserror::Error)]
pub enum VfsError {
    /// Nothing visible has this name.
    #[error("`{path}` does not exist")]
    NotFound {
        /// The name asked for.
        path: VirtualPath,
    },
    /// The account lacks a right at this path.
    #[error("account `{account}` may not {right} at `{path}`")]
    NotPermitted {
        /// Who asked.
        account: AccountName,
        /// Where.
        path: VirtualPath,
        /// The right that is missing.
        right: Right,
    },
    /// A hold is on the file: nobody may change or remove it.
    #[error("`{path}` is held until {until} and may not be changed or removed before")]
    Held {
        /// The name asked for.
        path: VirtualPath,
        /// The end of the hold, as it is now.
        until: Timestamp,
    },
    /// The name is taken and may not be replaced.
    #[error("`{path}` exists already")]
    AlreadyExists {
        /// The name asked for.
        path: VirtualPath,
    },
    /// A file was needed, a directory is there.
    #[error("`{path}` is a directory")]
    IsDirectory {
        /// The name asked for.
        path: VirtualPath,
    },
    /// A directory was needed, something else is there.
    #[error("`{path}` is not a directory")]
    NotDirectory {
        /// The name asked for.
        path: VirtualPath,
    },
    /// The directory still holds something, perhaps an upload in progress or
    /// a file that is not adopted yet.
    #[error("directory `{path}` is not empty")]
    DirectoryNotEmpty {
        /// The directory.
        path: VirtualPath,
    },
    /// The name itself is not acceptable.
    #[error("the path is not acceptable")]
    BadPath(#[from] PathError),
    /// The account's quota has no room for this.
    #[error("quota of the account is used up ({})", Size(*quota_bytes))]
    QuotaExceeded {
        /// The quota, in bytes.
        quota_bytes: u64,
    },
    /// The file system has no room for this.
    #[error("the disk is full")]
    DiskFull,
    /// The file system may not be written.
    #[error("the storage is read-only")]
    ReadOnlyStorage,
    /// Larger than any hosted file may be.
    #[error("the file is larger than the server stores")]
    TooLarge,
    /// The directory holds more than one listing may carry.
    #[error("the directory holds more than {limit} entries")]
    TooManyEntries {
        /// How many a listing may carry.
        limit: usize,
    },
    /// Somebody else is changing this name and did not finish in time.
    #[error("`{path}` is being changed by another session; try again")]
    Busy {
        /// The name asked for.
        path: VirtualPath,
    },
    /// The verb is not offered.
    #[error("{what} is not supported")]
    Unsupported {
        /// What was asked for.
        what: &'static str,
    },
    /// The session was ended by the operator or by the server's stop.
    #[error("the session has ended")]
    SessionEnded,
    /// The file system failed.
    #[error("the storage failed")]
    Storage {
        /// What it said.
        #[source]
        source: io::Error,
    },
    /// The homes are not on the storage that the ledger speaks of.
    #[error(
        "the homes are not the storage that the database speaks of: it is not mounted, or another one is"
    )]
    HomesAway,
    /// The database failed.
    #[error("the database failed")]
    Database {
        /// What it said.
        #[source]
        source: StoreError,
    },
}

impl From<StoreError> for VfsError {
    fn from(source: StoreError) -> VfsError {
        VfsError::Database { source }
    }
}

impl From<io::Error> for VfsError {
    fn from(source: io::Error) -> VfsError {
        VfsError::Storage { source }
    }
}

/// A size in the largest unit that tells it exactly: `10 GiB`, `1500 bytes`.
struct Size(u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(u32, &str); 4] = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
        let exact = UNITS
            .into_iter()
            .find(|(bits, _)| self.0 != 0 && self.0.trailing_zeros() >= *bits);
        match exact {
            Some((bits, unit)) => write!(f, "{} {unit}", self.0 >> bits),
            None => write!(f, "{} bytes", self.0),
        }
    }
}

impl VfsError {
    /// Its word in the journal (`why`); every fault has its own.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            VfsError::NotFound { .. } => "not-found",
            VfsError::NotPermitted { .. } => "permission",
            VfsError::Held { .. } => "held",
            VfsError::AlreadyExists { .. } => "exists",
            VfsError::IsDirectory { .. } => "is-directory",
            VfsError::NotDirectory { .. } => "not-directory",
            VfsError::DirectoryNotEmpty { .. } => "not-empty",
            VfsError::BadPath(_) => "bad-path",
            VfsError::QuotaExceeded { .. } => "quota",
            VfsError::DiskFull => "disk-full",
            VfsError::ReadOnlyStorage => "read-only-storage",
            VfsError::TooLarge => "too-large",
            VfsError::TooManyEntries { .. } => "too-many-entries",
            VfsError::Busy { .. } => "busy",
            VfsError::Unsupported { .. } => "unsupported",
            VfsError::SessionEnded => "session-ended",
            VfsError::Storage { .. } => "storage",
            VfsError::HomesAway => "homes-away",
            VfsError::Database { .. } => "database",
        }
    }

    /// Why, on one line: of a path what is wrong with it, too.
    pub(crate) fn reason(&self) -> String {
        match self {
            VfsError::BadPath(why) => why.to_string(),
            other => other.to_string(),
        }
    }

    /// Whether a rule of ours forbade it: what an operator wants to know of,
    /// unlike a name that is not there or a disk that failed.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(
            self,
            VfsError::NotPermitted { .. }
                | VfsError::Held { .. }
                | VfsError::AlreadyExists { .. }
                | VfsError::BadPath(_)
                | VfsError::QuotaExceeded { .. }
                | VfsError::TooLarge
        )
    }

    /// Whether the storage did not take or give what it should: the operator's business
    /// even when nobody complains.
    pub(crate) fn is_of_storage(&self) -> bool {
        matches!(
            self,
            VfsError::DiskFull
                | VfsError::ReadOnlyStorage
                | VfsError::Storage { .. }
                | VfsError::HomesAway
        )
    }

    /// Whether nothing, or something else, is where the file should be: of interest only
    /// where a whole transfer came to nothing by it.
    pub(crate) fn is_of_the_name(&self) -> bool {
        matches!(
            self,
            VfsError::NotFound { .. }
                | VfsError::NotDirectory { .. }
                | VfsError::IsDirectory { .. }
                | VfsError::Busy { .. }
        )
    }

    /// Whether a person on the server's side must act: front ends log such a fault,
    /// and no other.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        self.is_of_storage() || matches!(self, VfsError::Database { .. })
    }

    /// The fault that `source` stands for when it met `path`.
    pub(crate) fn at(path: &VirtualPath, source: io::Error) -> VfsError {
        let path = path.clone();
        match Errno::from_io_error(&source) {
            // ELOOP and EXDEV: a link, or a way out of the jail. Neither exists for a peer.
            Some(Errno::NOENT | Errno::LOOP | Errno::XDEV) => VfsError::NotFound { path },
            Some(Errno::EXIST) => VfsError::AlreadyExists { path },
            Some(Errno::ISDIR) => VfsError::IsDirectory { path },
            Some(Errno::NOTDIR) => VfsError::NotDirectory { path },
            Some(Errno::NOTEMPTY) => VfsError::DirectoryNotEmpty { path },
            Some(Errno::NAMETOOLONG) => VfsError::BadPath(PathError::TooLong {
                bytes: path.as_bytes().len(),
            }),
            Some(Errno::NOSPC | Errno::DQUOT) => VfsError::DiskFull,
            Some(Errno::ROFS) => VfsError::ReadOnlyStorage,
            Some(Errno::FBIG) => VfsError::TooLarge,
            _ => VfsError::Storage { source },
        }
    }
}
