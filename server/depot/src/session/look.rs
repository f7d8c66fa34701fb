//! Looking at a name: what the tree has there, joined with what the ledger
//! knows of it.

use layover_retention::Timestamp;

use super::Session;
use crate::ledger::{FileRow, FileState};
use crate::vfs::{Entry, FileKind, VfsError};
use crate::{AccountId, VirtualPath};

/// Looks repeated when disk and ledger disagree because a name changed
/// between the two.
const MAX_LOOKS: usize = 4;

/// What stands at a name.
#[derive(Debug)]
pub(super) struct Look {
    pub(super) entry: Option<Entry>,
    pub(super) rows: Vec<FileRow>,
}

/// A file that peers may see.
#[derive(Clone, Debug)]
pub(super) struct VisibleFile {
    pub(super) entry: Entry,
    pub(super) row: FileRow,
    pub(super) expires_at: Option<Timestamp>,
}

impl VisibleFile {
    /// Whether its account may change or remove the file: no hold is on it.
    pub(super) fn check_free(&self, now: Timestamp) -> Result<(), VfsError> {
        match self.row.held(now) {
            Some(until) => Err(VfsError::Held {
                path: self.row.path.clone(),
                until,
            }),
            None => Ok(()),
        }
    }
}

impl Look {
    pub(super) fn directory(&self) -> Option<Entry> {
        self.entry.filter(|entry| entry.kind == FileKind::Directory)
    }

    fn file(&self) -> Option<Entry> {
        self.entry.filter(|entry| entry.kind == FileKind::File)
    }

    /// The published, unexpired file at this name.
    pub(super) fn visible(&self, now: Timestamp) -> Option<VisibleFile> {
        visible(self.file()?, self.rows.iter(), now)
    }

    /// The newest unfinished upload of this name by `account`.
    pub(super) fn unfinished_of(&self, account: AccountId) -> Option<&FileRow> {
        self.rows.iter().find(|row| row.is_unfinished_of(account))
    }

    /// A file that came into the tree by other means and is not adopted yet.
    pub(super) fn is_unadopted(&self) -> bool {
        self.file()
            .is_some_and(|file| !self.rows.iter().any(|row| row.is_file(file.identity)))
    }

    /// Disk and ledger speak of different files: one of them was read before
    /// a change and the other after it, or the file is not adopted.
    fn disagrees(&self) -> bool {
        match self.file() {
            Some(_) => self.is_unadopted(),
            None => self.rows.iter().any(|row| row.state == FileState::Stored),
        }
    }
}

/// The file of `entry` as peers may see it. While an overwrite is between its
/// rename and its last transaction, the new content is there already and the
/// old row still stands for it.
pub(super) fn visible<'a>(
    entry: Entry,
    rows: impl Iterator<Item = &'a FileRow> + Clone,
    now: Timestamp,
) -> Option<VisibleFile> {
    let stored = rows.clone().find(|row| row.is_visible(now))?;
    let row = rows
        .filter(|row| matches!(row.state, FileState::Stored | FileState::Publishing))
        .find(|row| row.is_file(entry.identity))?;
    Some(VisibleFile {
        entry,
        row: row.clone(),
        expires_at: stored.expires_at,
    })
}

impl Session {
    /// Looks at one name until disk and ledger agree.
    pub(super) async fn look(&self, path: &VirtualPath) -> Result<Look, VfsError> {
        // What has begun under this name it sees.
        let beginnings = &self.inner.holdings.beginnings;
        beginnings.settle_name(self.inner.home.id, path).await;
        let mut look = self.look_once(path).await?;
        for _ in 1..MAX_LOOKS {
            if !look.disagrees() {
                break;
            }
            look = self.look_once(path).await?;
        }
        Ok(look)
    }

    /// As [`Session::look`], for who only reads: while a rename over the name is between
    /// the tree and the ledger, the new file is there and its row is not yet, and the
    /// name would seem to hold nothing. Waits for the end of such a change in this
    /// process; must not be called while the name is locked.
    pub(super) async fn look_to_read(&self, path: &VirtualPath) -> Result<Look, VfsError> {
        let look = self.look(path).await?;
        if !look.disagrees() {
            return Ok(look);
        }
        // A change that does not end in time is no reason to tell nothing.
        drop(self.inner.holdings.lock(self.inner.home.id, &[path]).await);
        self.look(path).await
    }

    pub(super) async fn look_once(&self, path: &VirtualPath) -> Result<Look, VfsError> {
        let holdings = &self.inner.holdings;
        let place = self.inner.home.place(path);
        let on_disk = holdings.vfs.quick(move |storage| storage.stat(&place));
        let in_ledger = holdings.store.rows_at(self.inner.home.id, path);
        let (entry, rows) = tokio::join!(on_disk, in_ledger);
        let entry = match entry {
            Ok(entry) => Some(entry),
            Err(error) => match VfsError::at(path, error) {
                VfsError::NotFound { .. } | VfsError::NotDirectory { .. } => None,
                fault => return Err(fault),
            },
        };
        Ok(Look { entry, rows: rows? })
    }
}
