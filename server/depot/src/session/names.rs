//! Verbs on names: rename, remove, cosmetic attributes.

use std::io;
use std::sync::Arc;

use layover_retention::Timestamp;

use super::look::{Look, VisibleFile};
use super::{Session, not_found, record};
use crate::holdings::{HomeRef, LiveKey, Publishing, Removed, RowToCome, Taken};
use crate::ledger::{
    CertificateGrounds, Claimed, EndedBy, FileRow, FileState, MoveClaim, RemovalCause,
};
use crate::vfs::{FileKind, Place, Replace, Storage, VfsError};
use crate::{FileId, Right, VirtualPath};

/// Times a verb starts over because another one changed its file first.
const MAX_TRIES: usize = 4;

impl Session {
    /// Moves a file or a directory. A file keeps its clock; it replaces
    /// another one, atomically, only with [`Replace::Allow`]. A directory
    /// replaces nothing. The account's own complete upload under a temporary
    /// name (`publish_on_rename`) is published by this.
    ///
    /// # Errors
    /// `NotFound`, `NotPermitted`, `Held` (what has the new name), `AlreadyExists`,
    /// `IsDirectory`, `NotDirectory`, `BadPath` (a name below the directory would be too
    /// long), `Unsupported` (a directory into itself), `Busy`,
    /// `QuotaExceeded`, `DiskFull`, `SessionEnded`, `Storage`, `Database`.
    pub async fn rename(
        &self,
        from: &VirtualPath,
        to: &VirtualPath,
        replace: Replace,
    ) -> Result<(), VfsError> {
        self.check_running()?;
        self.check_room()?;
        let renamed = self.rename_checked(from, to, replace, None).await;
        self.note_refusal("rename", to, renamed)
    }

    /// Renames this file, and no other that has its name by now (`NotFound`), to a name
    /// that is free.
    ///
    /// # Errors
    /// As [`Session::rename`].
    pub(crate) async fn rename_this(
        &self,
        from: &VirtualPath,
        file: FileId,
        to: &VirtualPath,
    ) -> Result<(), VfsError> {
        self.check_running()?;
        self.check_room()?;
        self.rename_checked(from, to, Replace::Refuse, Some(file))
            .await
    }

    async fn rename_checked(
        &self,
        from: &VirtualPath,
        to: &VirtualPath,
        replace: Replace,
        only: Option<FileId>,
    ) -> Result<(), VfsError> {
        if from.is_root() || to.is_root() {
            return Err(self.not_permitted(&VirtualPath::root(), Right::Rename));
        }
        self.require(from, Right::Rename)?;
        self.require(to, Right::Rename)?;
        let (session, from, to) = (self.clone(), from.clone(), to.clone());
        let verb = async move { session.rename_now(&from, &to, replace, only).await };
        self.inner.holdings.to_the_end(verb).await
    }

    async fn rename_now(
        &self,
        from: &VirtualPath,
        to: &VirtualPath,
        replace: Replace,
        only: Option<FileId>,
    ) -> Result<(), VfsError> {
        for _ in 0..MAX_TRIES {
            let look = self.look(from).await?;
            if let Some(directory) = look.directory() {
                if only.is_some() {
                    return Err(not_found(from));
                }
                return self.move_directory(from, to, directory).await;
            }
            let source = look.visible(self.now());
            let waiting = look
                .unfinished_of(self.inner.account.id)
                .filter(|row| row.state == FileState::Waiting);
            let is_another = |id: FileId| only.is_some_and(|only| only != id);
            if source.as_ref().is_none_or(|file| is_another(file.row.id))
                && (only.is_some() || waiting.is_none())
            {
                return Err(not_found(from));
            }
            if from == to {
                return Ok(());
            }
            let target = self.look(to).await?;
            let replace = self.check_target(to, &target, replace)?;
            match (source, waiting) {
                (Some(file), _) => {
                    if self.move_file(&file, to, replace).await? == Claimed::Yes {
                        return Ok(());
                    }
                }
                (None, Some(row)) => return self.publish_waiting(row, to, replace).await,
                (None, None) => return Err(not_found(from)),
            }
        }
        Err(VfsError::Busy { path: from.clone() })
    }

    /// How the file system may treat the target's name: a leftover whose time
    /// is over does not exist for the peer, and gives way.
    fn check_target(
        &self,
        to: &VirtualPath,
        target: &Look,
        replace: Replace,
    ) -> Result<Replace, VfsError> {
        let Some(entry) = target.entry else {
            return Ok(Replace::Refuse);
        };
        if entry.kind == FileKind::Directory {
            return Err(match replace {
                Replace::Refuse => VfsError::AlreadyExists { path: to.clone() },
                Replace::Allow => VfsError::IsDirectory { path: to.clone() },
            });
        }
        if target.is_unadopted() {
            return Err(match replace {
                Replace::Refuse => VfsError::AlreadyExists { path: to.clone() },
                Replace::Allow => VfsError::Busy { path: to.clone() },
            });
        }
        if let Some(file) = target.visible(self.now()) {
            if replace == Replace::Refuse {
                return Err(VfsError::AlreadyExists { path: to.clone() });
            }
            self.require(to, Right::Overwrite)?;
            file.check_free(self.now())?;
        }
        Ok(Replace::Allow)
    }

    async fn move_file(
        &self,
        file: &VisibleFile,
        to: &VirtualPath,
        replace: Replace,
    ) -> Result<Claimed, VfsError> {
        let holdings = &self.inner.holdings;
        let from = &file.row.path;
        let _live = holdings.live.enter(LiveKey::File(file.row.id));
        let _guard = holdings.lock(self.inner.home.id, &[from, to]).await?;
        let claim = MoveClaim {
            home: self.inner.home.id,
            file: file.row.id,
            identity: file.entry.identity,
            from: from.clone(),
            to: to.clone(),
            node: holdings.node.clone(),
            now: holdings.now(),
        };
        let claimed = holdings
            .claim(to, || holdings.store.claim_move(&claim))
            .await?;
        if claimed != Claimed::Yes {
            return Ok(claimed);
        }
        let (source, target) = (self.inner.home.place(from), self.inner.home.place(to));
        let identity = file.entry.identity;
        let moved = holdings
            .vfs
            .durable(move |storage| {
                let found = storage.stat(&source);
                let found = found.map_err(|error| VfsError::at(&source.path, error))?;
                if !found.identity.same_file(identity) {
                    return Err(not_found(&source.path));
                }
                let renamed = storage.rename(&source, &target, replace);
                renamed.map_err(|error| move_fault(storage, &source, &target, error))?;
                Ok(sync_both(storage, &source, &target))
            })
            .await;
        let synchronised = match moved {
            Ok(synchronised) => synchronised,
            Err(fault) => {
                let paths = [from, to];
                holdings
                    .store
                    .release(claim.home, &paths, Some(claim.file))
                    .await?;
                return Err(fault);
            }
        };
        let size_bytes = Some(file.row.size_bytes);
        let entry = record::renamed(&self.inner, from, to, size_bytes, holdings.now());
        holdings
            .store
            .finish_move(&claim, holdings.appliance, &entry)
            .await?;
        synchronised.map_err(|error| VfsError::at(to, error))?;
        Ok(Claimed::Yes)
    }

    async fn publish_waiting(
        &self,
        row: &FileRow,
        to: &VirtualPath,
        replace: Replace,
    ) -> Result<(), VfsError> {
        let holdings = &self.inner.holdings;
        self.require(to, Right::Write)?;
        let gone = || not_found(&row.path);
        let hidden = row.hidden.clone().ok_or_else(gone)?;
        let name = hidden.clone();
        let entry = holdings
            .vfs
            .quick(move |storage| storage.stat_hidden(&name))
            .await;
        let entry = entry.map_err(|error| VfsError::at(&row.path, error))?;
        let publishing = Publishing {
            home: self.inner.home.clone(),
            account: self.inner.account.id,
            row: RowToCome::known(row.id),
            hidden,
            state: FileState::Waiting,
            from: row.path.clone(),
            to: to.clone(),
            size_bytes: entry.size_bytes,
            identity: entry.identity,
            quota_bytes: self.inner.terms().quota_bytes,
            inherited_arrival: row.inherited_arrival,
            replace,
            landing: None,
            base: None,
        };
        let from = row.path.clone();
        let size_bytes = entry.size_bytes;
        holdings
            .publish(publishing, |path, now| {
                record::published_by_rename(&self.inner, &from, path, size_bytes, now)
            })
            .await?;
        Ok(())
    }

    /// Whether [`Session::rename`] may begin with this name.
    ///
    /// # Errors
    /// `NotFound`, `NotPermitted`, `SessionEnded`, `Storage`, `Database`.
    pub async fn check_rename(&self, from: &VirtualPath) -> Result<(), VfsError> {
        self.stat(from).await?;
        let may = if from.is_root() {
            Err(self.not_permitted(from, Right::Rename))
        } else {
            self.require(from, Right::Rename)
        };
        self.note_refusal("rename", from, may)
    }

    /// Removes a published file, or the account's own unfinished upload when
    /// no published file has the name.
    ///
    /// # Errors
    /// `NotFound`, `IsDirectory`, `NotPermitted`, `Held`, `DiskFull`, `Busy`, `SessionEnded`,
    /// `Storage`, `Database`.
    pub async fn remove(&self, path: &VirtualPath) -> Result<(), VfsError> {
        self.check_running()?;
        self.check_room()?;
        let removed = self.remove_checked(path, None).await;
        self.note_refusal("delete", path, removed)
    }

    /// Removes this file, and no other that has its name by now: that is `NotFound`.
    ///
    /// # Errors
    /// As [`Session::remove`].
    pub(crate) async fn remove_this(
        &self,
        path: &VirtualPath,
        file: FileId,
    ) -> Result<(), VfsError> {
        self.check_running()?;
        self.check_room()?;
        self.remove_checked(path, Some(file)).await
    }

    async fn remove_checked(
        &self,
        path: &VirtualPath,
        only: Option<FileId>,
    ) -> Result<(), VfsError> {
        self.require(path, Right::Delete)?;
        let (session, path) = (self.clone(), path.clone());
        let verb = async move { session.remove_now(&path, only).await };
        self.inner.holdings.to_the_end(verb).await
    }

    async fn remove_now(&self, path: &VirtualPath, only: Option<FileId>) -> Result<(), VfsError> {
        for _ in 0..MAX_TRIES {
            let look = self.look(path).await?;
            if look.directory().is_some() {
                return Err(VfsError::IsDirectory { path: path.clone() });
            }
            let Some(file) = look.visible(self.now()) else {
                let row = look.unfinished_of(self.inner.account.id);
                return self.forget(row.ok_or_else(|| not_found(path))?).await;
            };
            if only.is_some_and(|only| only != file.row.id) {
                return Err(not_found(path));
            }
            file.check_free(self.now())?;
            let taken = self
                .inner
                .holdings
                .take_away(
                    &Removed::of(&self.inner.home, &file.row),
                    RemovalCause::Account,
                    EndedBy::Removed,
                    |now, taken| record::removed(&self.inner, &file.row, taken, now),
                )
                .await?;
            match taken {
                Taken::Removed => return Ok(()),
                Taken::AlreadyGone => return Err(not_found(path)),
                // Overwritten or renamed just before: what is there now?
                Taken::Superseded => {}
            }
        }
        Err(VfsError::Busy { path: path.clone() })
    }

    /// Forgets an unfinished upload of the account, with its hidden file.
    pub(super) async fn forget(&self, row: &FileRow) -> Result<(), VfsError> {
        let holdings = &self.inner.holdings;
        let entry = record::upload_given_up(&self.inner, row, holdings.now());
        if !holdings
            .store
            .forget_upload(row.id, row.state, Some(&entry))
            .await?
        {
            // Somebody goes on with it, or was faster.
            return Ok(());
        }
        match row.hidden.clone() {
            Some(hidden) => holdings.discard_hidden(hidden).await,
            None => Ok(()),
        }
    }

    /// Sets the partner's time stamps; they are shown and decide nothing. The
    /// access time is not kept. Of a published file it takes the rights to write and to
    /// overwrite, and that no hold is on it.
    ///
    /// # Errors
    /// `NotFound`, `NotPermitted`, `Held`, `SessionEnded`, `Storage`, `Database`.
    pub async fn set_times(
        &self,
        path: &VirtualPath,
        _accessed_at: Option<Timestamp>,
        modified_at: Option<Timestamp>,
    ) -> Result<(), VfsError> {
        let modified_us = modified_at.map(Timestamp::as_micros);
        self.set_attribute(path, move |storage, place| match modified_us {
            Some(modified_us) => storage.set_modified(place, modified_us),
            None => Ok(()),
        })
        .await
    }

    /// Sets the permission bits that listings show (`0o777`); the service
    /// keeps its own access, and no other bits are accepted.
    ///
    /// # Errors
    /// `NotFound`, `NotPermitted`, `Held`, `SessionEnded`, `Storage`, `Database`.
    pub async fn set_mode(&self, path: &VirtualPath, mode: u32) -> Result<(), VfsError> {
        self.set_attribute(path, move |storage, place| storage.set_mode(place, mode))
            .await
    }

    async fn set_attribute(
        &self,
        path: &VirtualPath,
        set: impl FnOnce(&dyn Storage, &Place) -> io::Result<()> + Send + 'static,
    ) -> Result<(), VfsError> {
        self.check_running()?;
        self.require(path, Right::Write)?;
        let look = self.look(path).await?;
        if look.directory().is_none() {
            let Some(file) = look.visible(self.now()) else {
                // An unfinished upload has no attributes yet: fine, and nothing to do.
                let unfinished = look.unfinished_of(self.inner.account.id);
                return unfinished.map(drop).ok_or_else(|| not_found(path));
            };
            // What was delivered is the receiver's: who may not overwrite it may not
            // touch it up either.
            self.require(path, Right::Overwrite)?;
            // A try that a hold stops is told of; clients set times unasked.
            let free = file.check_free(self.now());
            self.note_refusal("attributes", path, free)?;
        }
        let place = self.inner.home.place(path);
        let done = self
            .inner
            .holdings
            .vfs
            .quick(move |storage| set(storage, &place))
            .await;
        done.map_err(|error| VfsError::at(path, error))
    }
}

impl crate::holdings::Holdings {
    /// Takes a file away whose time is over, whoever noticed.
    pub(crate) async fn expire(
        self: &Arc<Self>,
        home: &HomeRef,
        row: &FileRow,
        grounds: Option<&CertificateGrounds>,
    ) -> Result<Taken, VfsError> {
        let whose = match grounds {
            Some(grounds) => record::Whose::known(grounds),
            None => record::Whose::of(self, row).await?,
        };
        self.take_away(
            &Removed { home, row, grounds },
            RemovalCause::Due,
            EndedBy::Expired,
            |now, taken| record::expired(self, home, &whose, row, taken, now),
        )
        .await
    }
}

/// Both directories of a move; the target first, where the name is needed.
pub(super) fn sync_both(storage: &dyn Storage, source: &Place, target: &Place) -> io::Result<()> {
    storage.sync_dir(&target.dir())?;
    if source.dir() == target.dir() {
        Ok(())
    } else {
        storage.sync_dir(&source.dir())
    }
}

/// A fault of a rename, laid at the end that has it: what is not there is the
/// source, unless the folder that it should go to is not.
pub(super) fn move_fault(
    storage: &dyn Storage,
    source: &Place,
    target: &Place,
    error: io::Error,
) -> VfsError {
    match error.kind() {
        io::ErrorKind::NotFound => match storage.stat(&target.dir()) {
            Ok(_) => not_found(&source.path),
            Err(_) => not_found(&target.path),
        },
        io::ErrorKind::InvalidInput => VfsError::Unsupported {
            what: "moving a directory into itself",
        },
        _ => VfsError::at(&target.path, error),
    }
}
