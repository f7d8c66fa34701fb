//! Hosted files as operators see them: what a home holds, and taking a file
//! away before its time.

use std::io::ErrorKind;
use std::sync::Arc;

use layover_retention::Timestamp;

use super::{Registry, RegistryError};
use crate::account::{Actor, FilesRemoved, RemovedWhat, StoredFile};
use crate::holdings::{HomeRef, Removed, Taken};
use crate::journal::{NewEntry, Outcome};
use crate::ledger::{EndedBy, FileRow, RemovalCause};
use crate::vfs::VfsError;
use crate::{AccountName, EntityName, FileId, FileState, HomeId, HomeName, VirtualPath};

/// Files that are read from the ledger at once.
const FILES_PAGE: usize = 1000;

/// How often a removal looks again when the name was given to another file
/// between the look and the claim.
const MAX_LOOKS: usize = 5;

impl Registry {
    /// The files in an account's home at and below `path`, by path; unfinished
    /// uploads are among them and say so.
    ///
    /// # Errors
    /// `UnknownAccount`, `UnknownPath`, `Files`, `Store`.
    pub async fn list_files(
        &self,
        name: &AccountName,
        path: &VirtualPath,
    ) -> Result<Vec<StoredFile>, RegistryError> {
        let account = self.account(name).await?;
        self.list_home(&account.home, path).await
    }

    /// The files in a home at and below `path`, whether or not it still has an
    /// account. An unfinished upload's expiry is when it will be forgotten.
    ///
    /// # Errors
    /// `UnknownHome`, `UnknownPath`, `Files`, `Store`.
    pub async fn list_home(
        &self,
        name: &HomeName,
        path: &VirtualPath,
    ) -> Result<Vec<StoredFile>, RegistryError> {
        let (home, _) = self.home(name).await?;
        let mut files = Vec::new();
        let mut after = FileId(0);
        loop {
            let page = self
                .holdings
                .store
                .list_files(home.id, path, after, FILES_PAGE)
                .await?;
            let Some(last) = page.last() else { break };
            after = last.id;
            files.extend(page);
        }
        if files.is_empty() && !path.is_root() && !self.is_in_tree(&home, path).await? {
            return Err(RegistryError::UnknownPath {
                home: name.clone(),
                path: path.clone(),
            });
        }
        for file in &mut files {
            if matches!(file.state, FileState::Partial | FileState::Waiting) {
                let forgotten_at = file.touched_at.saturating_add(self.holdings.partial_keep);
                file.expires_at = Some(forgotten_at);
            }
        }
        files.sort_by(|one, other| one.path.cmp(&other.path).then(one.id.cmp(&other.id)));
        Ok(files)
    }

    /// Takes a file, or the unfinished uploads of this name, away before its
    /// time. A file that takes the name meanwhile is not touched.
    ///
    /// # Errors
    /// `UnknownHome`, `NotStored`, `OnlyUnfinished`, `NotUnfinished`,
    /// `BeingUploaded`, `Files`, `Store`.
    pub async fn remove_files(
        &self,
        actor: &Actor,
        home: &HomeName,
        path: &VirtualPath,
        what: RemovedWhat,
    ) -> Result<FilesRemoved, RegistryError> {
        let (home, entity) = self.home(home).await?;
        self.holdings.beginnings.settle().await;
        match what {
            RemovedWhat::Stored => self.remove_stored(actor, &home, &entity, path).await,
            RemovedWhat::Unfinished => self.remove_unfinished(actor, &home, &entity, path).await,
        }
    }

    async fn remove_stored(
        &self,
        actor: &Actor,
        home: &HomeRef,
        entity: &EntityName,
        path: &VirtualPath,
    ) -> Result<FilesRemoved, RegistryError> {
        for _ in 0..MAX_LOOKS {
            let rows = self.holdings.store.rows_at(home.id, path).await?;
            let Some(row) = rows.iter().find(|row| row.state == FileState::Stored) else {
                return Err(why_not_stored(home, path, &rows));
            };
            let entry = self
                .removal_entry(actor, "file.remove", home, entity, row)
                .await?;
            if let Some(until) = row.held(self.holdings.now()) {
                return self.refuse_removal(entry, path, until).await;
            }
            if self.take_away(home, row, entry).await? != Taken::Superseded {
                return Ok(FilesRemoved {
                    files: 1,
                    size_bytes: row.size_bytes,
                });
            }
        }
        Err(VfsError::Busy { path: path.clone() }.into())
    }

    /// Even an operator does not remove what is held; the attempt is told.
    async fn refuse_removal(
        &self,
        entry: NewEntry,
        path: &VirtualPath,
        until: Timestamp,
    ) -> Result<FilesRemoved, RegistryError> {
        let path = path.clone();
        let fault = VfsError::Held { path, until };
        let entry = entry.outcome(Outcome::Refused).with("why", fault.word());
        self.holdings.store.append(&entry).await?;
        Err(fault.into())
    }

    /// The whole of one removal; it goes on when the operator stops waiting.
    async fn take_away(
        &self,
        home: &HomeRef,
        row: &FileRow,
        entry: NewEntry,
    ) -> Result<Taken, VfsError> {
        let (holdings, home, row) = (Arc::clone(&self.holdings), home.clone(), row.clone());
        let verb = async move {
            let told = |now, taken| match taken {
                Taken::Removed => NewEntry {
                    at: now,
                    ..entry.clone()
                },
                Taken::AlreadyGone | Taken::Superseded => NewEntry {
                    at: now,
                    outcome: Outcome::Failed,
                    ..entry.clone().with("found", "not this file")
                },
            };
            holdings
                .take_away(
                    &Removed::of(&home, &row),
                    RemovalCause::Account,
                    EndedBy::Removed,
                    told,
                )
                .await
        };
        self.holdings.to_the_end(verb).await
    }

    async fn remove_unfinished(
        &self,
        actor: &Actor,
        home: &HomeRef,
        entity: &EntityName,
        path: &VirtualPath,
    ) -> Result<FilesRemoved, RegistryError> {
        let rows = self.holdings.store.rows_at(home.id, path).await?;
        let mut removed = FilesRemoved::default();
        for row in &rows {
            if !matches!(row.state, FileState::Partial | FileState::Waiting) {
                continue;
            }
            let entry = self
                .removal_entry(actor, "file.remove-partial", home, entity, row)
                .await?;
            let (holdings, row) = (Arc::clone(&self.holdings), row.clone());
            let size_bytes = row.size_bytes;
            let verb = async move {
                let forgotten = holdings
                    .store
                    .forget_upload(row.id, row.state, Some(&entry))
                    .await?;
                if let (true, Some(hidden)) = (forgotten, row.hidden) {
                    holdings.discard_hidden(hidden).await?;
                }
                Ok(forgotten)
            };
            if self.holdings.to_the_end(verb).await? {
                removed.files = removed.files.saturating_add(1);
                removed.size_bytes = removed.size_bytes.saturating_add(size_bytes);
            }
        }
        if removed.files > 0 {
            return Ok(removed);
        }
        let path = path.clone();
        Err(if rows.iter().any(is_coming_in) {
            RegistryError::BeingUploaded { path }
        } else {
            RegistryError::NotUnfinished {
                home: home.name.clone(),
                path,
            }
        })
    }

    /// Whose file an operator took away, and where.
    async fn removal_entry(
        &self,
        actor: &Actor,
        action: &'static str,
        home: &HomeRef,
        entity: &EntityName,
        row: &FileRow,
    ) -> Result<NewEntry, RegistryError> {
        let entry = self
            .entry(actor, action)
            .entity(entity)
            .path(&row.path)
            .size_bytes(row.size_bytes)
            .with("home", home.name.as_str());
        Ok(match row.uploaded_by {
            Some(account) => {
                let (name, _) = self.holdings.store.account_names(account).await?;
                entry.account(name)
            }
            None => entry,
        })
    }

    pub(super) async fn home(
        &self,
        name: &HomeName,
    ) -> Result<(HomeRef, EntityName), RegistryError> {
        let Some((id, entity)) = self.holdings.store.home(name).await? else {
            return Err(RegistryError::UnknownHome { home: name.clone() });
        };
        let name = name.clone();
        Ok((HomeRef { id, name }, entity))
    }

    /// Whether a home has files, finished or not, that are not history.
    pub(super) async fn holds_files(&self, home: HomeId) -> Result<bool, RegistryError> {
        let one = self
            .holdings
            .store
            .list_files(home, &VirtualPath::root(), FileId(0), 1)
            .await?;
        Ok(!one.is_empty())
    }

    /// Whether the tree has something of this name: a folder without files has
    /// no row in the ledger.
    async fn is_in_tree(&self, home: &HomeRef, path: &VirtualPath) -> Result<bool, VfsError> {
        let place = home.place(path);
        let found = self
            .holdings
            .vfs
            .run(move |storage| storage.stat(&place))
            .await;
        match found {
            Ok(_) => Ok(true),
            Err(error)
                if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
            {
                Ok(false)
            }
            Err(error) => Err(VfsError::at(path, error)),
        }
    }
}

fn is_coming_in(row: &FileRow) -> bool {
    matches!(row.state, FileState::Receiving | FileState::Publishing)
}

fn why_not_stored(home: &HomeRef, path: &VirtualPath, rows: &[FileRow]) -> RegistryError {
    let (home, path) = (home.name.clone(), path.clone());
    let unfinished = |row: &FileRow| matches!(row.state, FileState::Partial | FileState::Waiting);
    if rows.iter().any(unfinished) {
        RegistryError::OnlyUnfinished { home, path }
    } else if rows.iter().any(is_coming_in) {
        RegistryError::BeingUploaded { path }
    } else {
        RegistryError::NotStored { home, path }
    }
}
