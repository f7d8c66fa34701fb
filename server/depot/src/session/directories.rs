//! Verbs on directories. They have the whole home alone while they change it,
//! because every name below changes with them.

use std::io;

use super::names::{move_fault, sync_both};
use super::{Session, not_found, record, rights};
use crate::holdings::LiveKey;
use crate::ledger::{FileState, TreeClaim};
use crate::vfs::{Entry, Replace, VfsError};
use crate::{PathError, Right, VirtualPath};

impl Session {
    pub(super) async fn move_directory(
        &self,
        from: &VirtualPath,
        to: &VirtualPath,
        directory: Entry,
    ) -> Result<(), VfsError> {
        if from == to {
            return Ok(());
        }
        if to.is_within(from) {
            return Err(VfsError::Unsupported {
                what: "moving a directory into itself",
            });
        }
        for path in [from, to] {
            // A permission on a folder below would stay behind, or be reached.
            if rights::has_permission_below(&self.inner.terms(), path) {
                return Err(self.not_permitted(path, Right::Rename));
            }
        }
        let holdings = &self.inner.holdings;
        let home = &self.inner.home;
        let _live = holdings.live.enter(LiveKey::Tree(home.id));
        let _guard = holdings
            .locks
            .whole_home(home.id)
            .await
            .map_err(|_| VfsError::Busy { path: from.clone() })?;
        // Files that are held go along; what comes below a folder that is held must not be
        // made to come elsewhere.
        if let Some(until) = holdings.store.hold_within(home.id, from).await? {
            let path = from.clone();
            return Err(VfsError::Held { path, until });
        }
        // Rows below it go along, those that are just being written, too.
        holdings.beginnings.settle().await;
        let claim = self.tree_claim(from, Some(to), directory);
        holdings
            .claim(from, || holdings.store.claim_tree(&claim))
            .await?;
        let moved = self.move_claimed_directory(from, to).await;
        let synchronised = match moved {
            Ok(synchronised) => synchronised,
            Err(fault) => {
                holdings.store.release(home.id, &[from], None).await?;
                return Err(fault);
            }
        };
        let entry = record::renamed(&self.inner, from, to, None, holdings.now());
        holdings
            .store
            .finish_tree_move(
                home.id,
                from,
                to,
                holdings.appliance,
                holdings.now(),
                Some(&entry),
            )
            .await?;
        synchronised.map_err(|error| VfsError::at(to, error))
    }

    /// The name is changed when this is `Ok`; inside is whether that is safe.
    async fn move_claimed_directory(
        &self,
        from: &VirtualPath,
        to: &VirtualPath,
    ) -> Result<io::Result<()>, VfsError> {
        let holdings = &self.inner.holdings;
        for path in holdings
            .store
            .longest_paths_below(self.inner.home.id, from)
            .await?
        {
            moved_path(&path, from, to)?;
        }
        let (source, target) = (self.inner.home.place(from), self.inner.home.place(to));
        holdings
            .vfs
            .run(move |storage| {
                let renamed = storage.rename(&source, &target, Replace::Refuse);
                renamed.map_err(|error| move_fault(storage, &source, &target, error))?;
                Ok(sync_both(storage, &source, &target))
            })
            .await
    }

    /// Makes a directory.
    ///
    /// # Errors
    /// `NotFound` (of the directory above), `AlreadyExists`, `NotPermitted`,
    /// `DiskFull`, `ReadOnlyStorage`, `SessionEnded`, `Storage`, `Database`.
    pub async fn make_dir(&self, path: &VirtualPath) -> Result<(), VfsError> {
        self.check_running()?;
        // No rule forbids it; clients ask on suspicion.
        if path.is_root() {
            return Err(VfsError::AlreadyExists { path: path.clone() });
        }
        self.check_room()?;
        match self.make_dir_checked(path).await {
            Err(fault @ VfsError::AlreadyExists { .. }) => Err(fault),
            made => self.note_refusal("mkdir", path, made),
        }
    }

    async fn make_dir_checked(&self, path: &VirtualPath) -> Result<(), VfsError> {
        self.require(path, Right::Mkdir)?;
        let (session, path) = (self.clone(), path.clone());
        let verb = async move {
            let holdings = &session.inner.holdings;
            let place = session.inner.home.place(&path);
            let made = holdings
                .vfs
                .durable(move |storage| {
                    storage.make_dir(&place)?;
                    // A file published in it would be lost with its name.
                    storage.sync_dir(&place.dir())
                })
                .await;
            made.map_err(|error| VfsError::at(&path, error))?;
            let entry = record::directory(&session.inner, "mkdir", &path, holdings.now());
            Ok(holdings.store.append(&entry).await?)
        };
        self.inner.holdings.to_the_end(verb).await
    }

    /// Removes an empty directory. Files in it whose time is over, and
    /// interrupted uploads that aimed into it, go with it; an upload in
    /// progress or a file that is not adopted yet keeps it.
    ///
    /// # Errors
    /// `NotFound`, `NotDirectory`, `DirectoryNotEmpty`, `NotPermitted`,
    /// `DiskFull`, `Busy`, `SessionEnded`, `Storage`, `Database`.
    pub async fn remove_dir(&self, path: &VirtualPath) -> Result<(), VfsError> {
        self.check_running()?;
        self.check_room()?;
        let removed = self.remove_dir_checked(path).await;
        self.note_refusal("rmdir", path, removed)
    }

    async fn remove_dir_checked(&self, path: &VirtualPath) -> Result<(), VfsError> {
        if path.is_root() {
            return Err(self.not_permitted(path, Right::Delete));
        }
        self.require(path, Right::Delete)?;
        let (session, path) = (self.clone(), path.clone());
        let verb = async move { session.remove_dir_now(&path).await };
        self.inner.holdings.to_the_end(verb).await
    }

    async fn remove_dir_now(&self, path: &VirtualPath) -> Result<(), VfsError> {
        let holdings = &self.inner.holdings;
        let home = &self.inner.home;
        let look = self.look(path).await?;
        let Some(directory) = look.directory() else {
            return Err(match look.visible(self.now()) {
                Some(_) => VfsError::NotDirectory { path: path.clone() },
                None => not_found(path),
            });
        };
        self.clear_leftovers(path).await?;
        let _live = holdings.live.enter(LiveKey::Tree(home.id));
        let _guard = holdings
            .locks
            .whole_home(home.id)
            .await
            .map_err(|_| VfsError::Busy { path: path.clone() })?;
        holdings.beginnings.settle().await;
        let claim = self.tree_claim(path, None, directory);
        holdings
            .claim(path, || holdings.store.claim_tree(&claim))
            .await?;
        let removed = self.remove_claimed_dir(path).await;
        if let Err(fault) = removed {
            holdings.store.release(home.id, &[path], None).await?;
            return Err(fault);
        }
        let entry = record::directory(&self.inner, "rmdir", path, holdings.now());
        let hidden = holdings
            .store
            .finish_tree_removal(home.id, path, Some(&entry))
            .await?;
        for name in hidden {
            holdings.discard_hidden(name).await?;
        }
        Ok(())
    }

    /// Takes away what the peer cannot see and therefore cannot remove.
    async fn clear_leftovers(&self, path: &VirtualPath) -> Result<(), VfsError> {
        let holdings = &self.inner.holdings;
        let now = holdings.now();
        for row in holdings.store.rows_in(self.inner.home.id, path).await? {
            if row.state == FileState::Stored && row.is_expired(now) {
                holdings.expire(&self.inner.home, &row, None).await?;
            }
        }
        Ok(())
    }

    async fn remove_claimed_dir(&self, path: &VirtualPath) -> Result<(), VfsError> {
        let holdings = &self.inner.holdings;
        let rows = holdings.store.rows_in(self.inner.home.id, path).await?;
        if rows.iter().any(|row| row.state != FileState::Partial) {
            return Err(VfsError::DirectoryNotEmpty { path: path.clone() });
        }
        let place = self.inner.home.place(path);
        let removed = holdings
            .vfs
            .run(move |storage| {
                storage.remove_dir(&place)?;
                storage.sync_dir(&place.dir())
            })
            .await;
        removed.map_err(|error| VfsError::at(path, error))
    }

    fn tree_claim(
        &self,
        from: &VirtualPath,
        to: Option<&VirtualPath>,
        directory: Entry,
    ) -> TreeClaim {
        TreeClaim {
            home: self.inner.home.id,
            from: from.clone(),
            to: to.cloned(),
            identity: directory.identity,
            node: self.inner.holdings.node.clone(),
            now: self.now(),
        }
    }
}

/// What a name below `from` becomes when `from` becomes `to`.
fn moved_path(
    path: &VirtualPath,
    from: &VirtualPath,
    to: &VirtualPath,
) -> Result<VirtualPath, PathError> {
    let rest = path
        .as_bytes()
        .strip_prefix(from.as_bytes())
        .unwrap_or_default();
    VirtualPath::parse(&[to.as_bytes(), rest].concat())
}
