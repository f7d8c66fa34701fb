//! Adoption: the tree and the ledger are compared, and the ledger follows.
//!
//! An operator may drop files into a home. A file that no row knows is taken
//! into the ledger once two looks in a row found it unchanged; its clock
//! starts then, because a birth or modification time would delete a year-old
//! file that was moved in. A row whose file is gone, or is another file, ends
//! as `missing`, with a journal entry.
//!
//! An adopted file has no uploader: the rule of its home's first account holds,
//! else its entity's.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::holdings::{Holdings, HomeRef};
use crate::ledger::{Adoption, Claimed, FileRow, FileState};
use crate::session::record;
use crate::timer;
use crate::vfs::{Entry, FileKind, Identity, VfsError};
use crate::{HomeId, VirtualPath};

/// Files remembered between two looks. What comes beyond is adopted by a
/// later look, when the ones before it are done.
const MAX_REMEMBERED: usize = 100_000;

/// Entries of one directory that one look considers.
const MAX_ENTRIES: usize = 1_000_000;

/// Directories known only to the ledger that are looked up at once.
const DIRS_PAGE: usize = 500;

/// After so many entries the walk pauses, so that partners come first.
const ENTRIES_BETWEEN_PAUSES: usize = 2_000;
const PAUSE: Duration = Duration::from_millis(20);

/// What one look found and did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct AdoptReport {
    /// Files looked at.
    pub seen: u64,
    /// Files taken into the ledger.
    pub adopted: u64,
    /// Their bytes.
    pub adopted_bytes: u64,
    /// Unknown files that must be unchanged in the next look.
    pub waiting: u64,
    /// Rows that ended because their file is gone or is another one.
    pub missing: u64,
    /// Names that no peer could ask for (control characters, too long, too
    /// deep): never adopted.
    pub unreachable: u64,
    /// Homes and directories that could not be looked at.
    pub failed: u64,
}

/// What a file looked like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    size_bytes: u64,
    modified_us: i64,
    identity: Identity,
}

impl Seen {
    fn of(entry: Entry) -> Seen {
        Seen {
            size_bytes: entry.size_bytes,
            modified_us: entry.modified_us,
            identity: entry.identity,
        }
    }
}

/// Looks at the tree, again and again.
#[derive(Debug)]
pub(crate) struct Adopter {
    holdings: Arc<Holdings>,
    remembered: Mutex<HashMap<(HomeId, VirtualPath), Seen>>,
}

/// One look in progress.
struct Walk<'a> {
    adopter: &'a Adopter,
    before: HashMap<(HomeId, VirtualPath), Seen>,
    now: HashMap<(HomeId, VirtualPath), Seen>,
    report: AdoptReport,
    until_pause: usize,
}

impl Adopter {
    pub(crate) fn new(holdings: Arc<Holdings>) -> Adopter {
        Adopter {
            holdings,
            remembered: Mutex::default(),
        }
    }

    /// One look at every home.
    pub(crate) async fn look(&self) -> Result<AdoptReport, VfsError> {
        self.holdings.check_storage().await?;
        let before = std::mem::take(
            &mut *self
                .remembered
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        );
        let mut walk = Walk {
            adopter: self,
            before,
            now: HashMap::new(),
            report: AdoptReport::default(),
            until_pause: ENTRIES_BETWEEN_PAUSES,
        };
        for (id, name) in self.holdings.store.all_homes().await? {
            let home = HomeRef { id, name };
            if let Err(error) = walk.look_at_home(&home).await {
                walk.fail(&home, &VirtualPath::root(), &error);
            }
        }
        let report = walk.report;
        *self
            .remembered
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = walk.now;
        Ok(report)
    }
}

impl Walk<'_> {
    fn holdings(&self) -> &Arc<Holdings> {
        &self.adopter.holdings
    }

    fn fail(&mut self, home: &HomeRef, dir: &VirtualPath, error: &VfsError) {
        self.report.failed = self.report.failed.saturating_add(1);
        tracing::warn!(
            home.name = %home.name,
            file.path = %dir,
            error = error as &dyn std::error::Error,
            "a directory could not be compared with the ledger"
        );
    }

    async fn look_at_home(&mut self, home: &HomeRef) -> Result<(), VfsError> {
        let root = home.place(&VirtualPath::root());
        let found = self
            .holdings()
            .vfs
            .run(move |storage| storage.stat(&root))
            .await;
        match found {
            Ok(_) => {}
            // Never used, or its storage is away: nothing can be said of its files.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(VfsError::at(&VirtualPath::root(), error)),
        }
        let mut left = vec![VirtualPath::root()];
        while let Some(dir) = left.pop() {
            match self.look_at_dir(home, &dir).await {
                Ok(below) => left.extend(below),
                // Removed since its parent was read: the ledger's turn comes.
                Err(VfsError::NotFound { .. } | VfsError::NotDirectory { .. }) => {}
                Err(error) => self.fail(home, &dir, &error),
            }
        }
        self.look_at_lost_dirs(home).await
    }

    /// Compares one directory; returns the directories in it.
    async fn look_at_dir(
        &mut self,
        home: &HomeRef,
        dir: &VirtualPath,
    ) -> Result<Vec<VirtualPath>, VfsError> {
        let place = home.place(dir);
        let listing = self
            .holdings()
            .vfs
            .run(move |storage| storage.list(&place, MAX_ENTRIES))
            .await;
        let listing = listing.map_err(|error| VfsError::at(dir, error))?;
        let rows = self.holdings().store.rows_in(home.id, dir).await?;
        let mut by_path: HashMap<VirtualPath, Vec<FileRow>> = HashMap::new();
        for row in rows {
            by_path.entry(row.path.clone()).or_default().push(row);
        }
        let mut below = Vec::new();
        for (name, entry) in listing.entries {
            self.pause().await;
            let Ok(path) = dir.join(&name) else {
                self.report.unreachable = self.report.unreachable.saturating_add(1);
                continue;
            };
            if entry.kind == FileKind::Directory {
                below.push(path);
                continue;
            }
            self.report.seen = self.report.seen.saturating_add(1);
            let rows = by_path.remove(&path).unwrap_or_default();
            if rows.iter().any(|row| row.is_file(entry.identity)) {
                continue;
            }
            for row in rows.iter().filter(|row| row.state == FileState::Stored) {
                self.settle_missing(home, row).await?;
            }
            self.consider(home, path, entry).await?;
        }
        if !listing.more {
            for row in by_path.into_values().flatten() {
                if row.state == FileState::Stored {
                    self.settle_missing(home, &row).await?;
                }
            }
        }
        Ok(below)
    }

    /// A file that no row knows.
    async fn consider(
        &mut self,
        home: &HomeRef,
        path: VirtualPath,
        entry: Entry,
    ) -> Result<(), VfsError> {
        let key = (home.id, path);
        let unchanged = self.before.get(&key) == Some(&Seen::of(entry));
        if unchanged && self.adopt(home, &key.1, entry).await? {
            self.report.adopted = self.report.adopted.saturating_add(1);
            self.report.adopted_bytes = self.report.adopted_bytes.saturating_add(entry.size_bytes);
            return Ok(());
        }
        self.report.waiting = self.report.waiting.saturating_add(1);
        if self.now.len() < MAX_REMEMBERED {
            self.now.insert(key, Seen::of(entry));
        }
        Ok(())
    }

    async fn adopt(
        &self,
        home: &HomeRef,
        path: &VirtualPath,
        entry: Entry,
    ) -> Result<bool, VfsError> {
        let holdings = self.holdings();
        let _guard = holdings.lock(home.id, &[path]).await?;
        let place = home.place(path);
        let still = holdings.vfs.run(move |storage| storage.stat(&place)).await;
        if still.ok().map(Seen::of) != Some(Seen::of(entry)) {
            return Ok(false);
        }
        holdings.check_storage().await?;
        let now = holdings.arriving_at();
        let adoption = Adoption {
            home: home.id,
            path: path.clone(),
            size_bytes: entry.size_bytes,
            identity: entry.identity,
            appliance: holdings.appliance,
            node: holdings.node.clone(),
            now,
            entry: record::adopted(holdings, home, path, entry.size_bytes, now),
        };
        Ok(holdings.store.adopt(&adoption).await? == Claimed::Yes)
    }

    /// A stored row whose file was not found under its name.
    async fn settle_missing(&mut self, home: &HomeRef, row: &FileRow) -> Result<(), VfsError> {
        let holdings = self.holdings();
        let _guard = holdings.lock(home.id, &[&row.path]).await?;
        let place = home.place(&row.path);
        let found = holdings.vfs.run(move |storage| storage.stat(&place)).await;
        let is_there = match found {
            Ok(entry) => row.is_file(entry.identity),
            Err(error) => match VfsError::at(&row.path, error) {
                VfsError::NotFound { .. } | VfsError::NotDirectory { .. } => false,
                fault => return Err(fault),
            },
        };
        if is_there {
            return Ok(());
        }
        holdings.check_storage().await?;
        let whose = record::Whose::of(holdings, row).await?;
        let now = holdings.now();
        let entry = record::missing(holdings, home, &whose, row, now);
        if holdings.store.end_missing(row, now, &entry).await? == Claimed::Yes {
            tracing::warn!(
                home.name = %home.name,
                file.path = %row.path,
                file.size_bytes = row.size_bytes,
                "a stored file is no longer in the tree"
            );
            self.report.missing = self.report.missing.saturating_add(1);
        }
        Ok(())
    }

    /// Rows whose whole directory is gone: the walk never comes there.
    async fn look_at_lost_dirs(&mut self, home: &HomeRef) -> Result<(), VfsError> {
        let mut after: Option<VirtualPath> = None;
        loop {
            let dirs = self
                .holdings()
                .store
                .stored_dirs(home.id, after.as_ref(), DIRS_PAGE)
                .await?;
            let Some(last) = dirs.last() else {
                return Ok(());
            };
            after = Some(last.clone());
            for dir in dirs {
                self.pause().await;
                let place = home.place(&dir);
                let found = self
                    .holdings()
                    .vfs
                    .run(move |storage| storage.stat(&place))
                    .await;
                if !found.is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound) {
                    continue;
                }
                for row in self.holdings().store.rows_in(home.id, &dir).await? {
                    if row.state == FileState::Stored {
                        self.settle_missing(home, &row).await?;
                    }
                }
            }
        }
    }

    async fn pause(&mut self) {
        self.until_pause = self.until_pause.saturating_sub(1);
        if self.until_pause == 0 {
            self.until_pause = ENTRIES_BETWEEN_PAUSES;
            timer::sleep(PAUSE).await;
        }
    }
}

#[cfg(test)]
mod tests;
