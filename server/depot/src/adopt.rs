//! Adoption: the tree and the ledger are compared, and the ledger follows.
//!
//! An operator may drop files into a home. A file that no row knows is taken
//! into the ledger once two looks in a row found it unchanged; its clock
//! starts then, because a birth or modification time would delete a year-old
//! file that was moved in. A row whose file is gone, or is another file, ends
//! as `missing`, with a journal entry.
//!
//! A row's file stays stored however many names it has: who backs the tree up with
//! hard links must not end its clock or its hold. A file that no row knows is not taken
//! while it has a second name, or one content could live in two homes.
//!
//! An adopted file has no uploader: the rule of its home's first account holds,
//! else its entity's.
//!
//! Cost follows what changed. A directory whose times are the same as when it was
//! read, twice and some seconds apart, is asked for its times and no more; every
//! [`FULL_ROUND_EVERY`] all are read, a part in each look, whatever their times say.
//! One thing is remembered for each directory, none for each file.

mod memory;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use self::memory::{Due, Memory, Met, Oddity, Seen, Stamp};
use crate::holdings::{Holdings, HomeRef};
use crate::ledger::{Adoption, Claimed, FileRow, FileState, FoundFile};
use crate::session::record;
use crate::timer;
use crate::vfs::{Entries, Entry, FileKind, VfsError};
use crate::{HomeId, VirtualPath};

/// Entries of one directory that one look considers.
const MAX_ENTRIES: usize = 1_000_000;

/// Directories that are asked for their times, or known only to the ledger and looked
/// up, at once.
const DIRS_PAGE: usize = 500;

/// After so many entries the walk pauses, so that partners come first: it considers
/// at most 20,000 a second.
const ENTRIES_BETWEEN_PAUSES: usize = 2_000;
const PAUSE: Duration = Duration::from_millis(100);

/// Two reads of a directory must be so far apart before its times are trusted: a
/// change in the same tick of the file system's clock leaves them as they are.
const SETTLED_AFTER: Duration = Duration::from_secs(5);

/// How often every directory is read although nothing seems to have changed.
pub(crate) const FULL_ROUND_EVERY: Duration = Duration::from_secs(6 * 3600);

/// Entries that one look considers before it leaves the rest to the next one: what
/// has just changed is never behind more than these.
const ENTRIES_PER_LOOK: usize = 400_000;

/// Files of one directory that are adopted in one transaction: each by itself would
/// cost a commit, and many more keep uploads waiting behind this one.
const ADOPTED_AT_ONCE: usize = 200;

/// Directories that are remembered. Those beyond are read in every look.
const MAX_DIRS: usize = 200_000;

/// Files that are remembered until they are adopted. What comes beyond is adopted by a
/// later look, when the ones before it are done.
const MAX_WAITING: usize = 100_000;

/// The numbers above, which tests make smaller.
#[derive(Clone, Copy, Debug)]
struct Limits {
    settled_after: Duration,
    full_round_every: Duration,
    entries_per_look: usize,
    max_dirs: usize,
    adopted_at_once: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            settled_after: SETTLED_AFTER,
            full_round_every: FULL_ROUND_EVERY,
            entries_per_look: ENTRIES_PER_LOOK,
            max_dirs: MAX_DIRS,
            adopted_at_once: ADOPTED_AT_ONCE,
        }
    }
}

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
    /// What is neither a file nor a directory (symbolic links, pipes, sockets,
    /// devices): never looked at.
    pub foreign: u64,
    /// Files seen that have other names too (hard links): stored ones stay stored,
    /// unknown ones are not adopted.
    pub linked: u64,
    /// Homes and directories that could not be looked at.
    pub failed: u64,
    /// Directories that were read.
    pub dirs_read: u64,
    /// Directories that had not changed and were not read.
    pub dirs_unchanged: u64,
    /// Directories left to the next look.
    pub dirs_left: u64,
    /// Full rounds that have ended since the start.
    pub full_rounds: u64,
}

/// Looks at the tree, again and again.
#[derive(Debug)]
pub(crate) struct Adopter {
    holdings: Arc<Holdings>,
    limits: Limits,
    memory: Mutex<Memory>,
}

/// One look in progress.
struct Walk<'a> {
    adopter: &'a Adopter,
    memory: Memory,
    report: AdoptReport,
    until_pause: usize,
    /// Entries that may still be considered.
    left: usize,
}

/// What a directory holds, as far as it concerns a look.
#[derive(Debug, Default)]
struct Found {
    /// Directories.
    below: Vec<VirtualPath>,
    /// Files to be adopted.
    ready: Vec<(VirtualPath, Entry)>,
}

impl Adopter {
    pub(crate) fn new(holdings: Arc<Holdings>) -> Adopter {
        Adopter {
            holdings,
            limits: Limits::default(),
            memory: Mutex::default(),
        }
    }

    fn memory(&self) -> std::sync::MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One look at every home.
    pub(crate) async fn look(&self) -> Result<AdoptReport, VfsError> {
        self.holdings.check_storage().await?;
        let mut walk = Walk {
            adopter: self,
            memory: std::mem::take(&mut *self.memory()),
            report: AdoptReport::default(),
            until_pause: ENTRIES_BETWEEN_PAUSES,
            left: self.limits.entries_per_look,
        };
        let result = walk.look().await;
        walk.report.dirs_left = walk.memory.due_count();
        walk.report.full_rounds = walk.memory.full_rounds;
        let report = walk.report;
        *self.memory() = walk.memory;
        result.map(|()| report)
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

    async fn look(&mut self) -> Result<(), VfsError> {
        let homes = self.holdings().store.all_homes().await?;
        self.memory.begin_look(&homes);
        if self
            .memory
            .full_round_is_due(self.adopter.limits.full_round_every)
        {
            self.memory.begin_full_round();
        }
        let mut there = HashMap::new();
        for (id, name) in homes {
            let home = HomeRef { id, name };
            match self.ask_home(&home).await {
                Ok(true) => drop(there.insert(home.id, home)),
                Ok(false) => self.memory.forget_home(home.id),
                Err(error) => {
                    self.memory.forget_home(home.id);
                    self.fail(&home, &VirtualPath::root(), &error);
                }
            }
        }
        // What has just changed comes before what is read for safety's sake.
        for due in [Due::Changed, Due::Full] {
            self.read_due(&there, due).await;
        }
        if self.memory.due_count() == 0 && self.memory.in_full_round() {
            for home in there.values() {
                if let Err(error) = self.look_at_lost_dirs(home).await {
                    self.fail(home, &VirtualPath::root(), &error);
                }
            }
            self.memory.end_full_round();
        }
        Ok(())
    }

    /// Asks the directories of a home whether they have changed; false when the home is
    /// not there.
    async fn ask_home(&mut self, home: &HomeRef) -> Result<bool, VfsError> {
        let root = VirtualPath::root();
        let place = home.place(&root);
        let found = self.holdings().vfs.run(move |storage| storage.stat(&place));
        match found.await {
            Ok(_) => {
                let max_dirs = self.adopter.limits.max_dirs;
                self.memory.meet(home.id, root.clone(), max_dirs);
            }
            // Never used, or its storage is away: nothing can be said of its files.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(VfsError::at(&root, error)),
        };
        let known = self.memory.not_due(home.id);
        for page in known.chunks(DIRS_PAGE) {
            let places: Vec<_> = page.iter().map(|dir| home.place(dir)).collect();
            let found = self.holdings().vfs.run(move |storage| {
                let stat = |place| storage.stat(place);
                Ok::<_, std::io::Error>(places.iter().map(stat).collect::<Vec<_>>())
            });
            let found = found.await.map_err(|error| VfsError::at(&root, error))?;
            for (dir, found) in page.iter().zip(found) {
                self.pause().await;
                let entry = found.map_err(|error| VfsError::at(dir, error));
                self.judge_dir(home, dir, entry).await;
            }
        }
        Ok(true)
    }

    /// What a directory says of itself.
    async fn judge_dir(
        &mut self,
        home: &HomeRef,
        dir: &VirtualPath,
        entry: Result<Entry, VfsError>,
    ) {
        match entry {
            Ok(entry) if entry.kind == FileKind::Directory => {
                if self.memory.is_unchanged(home.id, dir, Stamp::of(entry)) {
                    self.report.dirs_unchanged = self.report.dirs_unchanged.saturating_add(1);
                }
            }
            Ok(_) | Err(VfsError::NotFound { .. } | VfsError::NotDirectory { .. }) => {
                if let Err(error) = self.look_at_lost_dir(home, dir).await {
                    self.fail(home, dir, &error);
                } else {
                    self.memory.forget_dir(home.id, dir);
                }
            }
            Err(error) => self.fail(home, dir, &error),
        }
    }

    /// Reads what is due, with what is found below it, as far as this look goes.
    async fn read_due(&mut self, homes: &HashMap<HomeId, HomeRef>, due: Due) {
        let mut queue = self.memory.due(due);
        while let Some((of, dir)) = queue.pop() {
            let Some(home) = homes.get(&of) else {
                continue;
            };
            if self.left == 0 {
                self.memory.put_off(queue.into_iter().chain([(of, dir)]));
                return;
            }
            self.report.dirs_read = self.report.dirs_read.saturating_add(1);
            self.left = self.left.saturating_sub(1);
            match self.look_at_dir(home, &dir).await {
                Ok(found) => {
                    for below in found {
                        let max_dirs = self.adopter.limits.max_dirs;
                        match self.memory.meet(of, below.clone(), max_dirs) {
                            Met::Before => continue,
                            Met::Now => {}
                            Met::NoRoom => self.memory.distrust(of, &dir),
                        }
                        queue.push((of, below));
                    }
                }
                // Removed since its parent was read: its rows are missing.
                Err(VfsError::NotFound { .. } | VfsError::NotDirectory { .. }) => {
                    if let Err(error) = self.look_at_lost_dir(home, &dir).await {
                        self.fail(home, &dir, &error);
                    }
                    self.memory.forget_dir(home.id, &dir);
                }
                Err(error) => {
                    self.memory.distrust(home.id, &dir);
                    self.fail(home, &dir, &error);
                }
            }
        }
    }

    /// Compares one directory; returns the directories in it.
    async fn look_at_dir(
        &mut self,
        home: &HomeRef,
        dir: &VirtualPath,
    ) -> Result<Vec<VirtualPath>, VfsError> {
        let place = home.place(dir);
        let listing = self.holdings().vfs.run(move |storage| {
            // Its times first: what changes while it is read is found by the next look.
            let itself = storage.stat(&place)?;
            Ok::<_, std::io::Error>((itself, storage.list(&place, MAX_ENTRIES)?))
        });
        let listing = listing.await;
        let (itself, listing) = listing.map_err(|error| VfsError::at(dir, error))?;
        let waiting_before = self.report.waiting;
        let more = listing.more;
        let mut found = Found::default();
        let compared = self.compare(home, dir, listing, &mut found).await;
        // What was found before a fault is adopted all the same.
        self.adopt(home, found.ready).await?;
        compared?;
        let is_done = self.report.waiting == waiting_before && !more;
        let settled_after = self.adopter.limits.settled_after;
        self.memory
            .note_read(home.id, dir, Stamp::of(itself), is_done, settled_after);
        Ok(found.below)
    }

    /// Compares what is in a directory with the ledger's rows.
    async fn compare(
        &mut self,
        home: &HomeRef,
        dir: &VirtualPath,
        listing: Entries,
        found: &mut Found,
    ) -> Result<(), VfsError> {
        let rows = self.holdings().store.rows_in(home.id, dir).await?;
        let mut by_path: HashMap<VirtualPath, Vec<FileRow>> = HashMap::new();
        for row in rows {
            by_path.entry(row.path.clone()).or_default().push(row);
        }
        if listing.foreign > 0 {
            self.note_foreign(home, dir, listing.foreign);
        }
        for (name, entry) in listing.entries {
            self.pause().await;
            self.left = self.left.saturating_sub(1);
            let Ok(path) = dir.join(&name) else {
                self.note_unreachable(home, dir, &name);
                continue;
            };
            if entry.kind == FileKind::Directory {
                found.below.push(path);
                continue;
            }
            self.report.seen = self.report.seen.saturating_add(1);
            let rows = by_path.remove(&path).unwrap_or_default();
            if entry.is_linked {
                self.note_linked(home, &path);
            }
            if rows.iter().any(|row| row.is_file(entry.identity)) {
                continue;
            }
            for row in rows.iter().filter(|row| row.state == FileState::Stored) {
                self.settle_missing(home, row).await?;
            }
            if entry.is_linked {
                continue;
            }
            // A file that no row knows.
            if self.memory.take_seen(home.id, &path) != Some(Seen::of(entry)) {
                self.wait_for(home, path, entry);
                continue;
            }
            found.ready.push((path, entry));
            if found.ready.len() >= self.adopter.limits.adopted_at_once {
                self.adopt(home, std::mem::take(&mut found.ready)).await?;
            }
        }
        if !listing.more {
            for row in by_path.into_values().flatten() {
                if row.state == FileState::Stored {
                    self.settle_missing(home, &row).await?;
                }
            }
        }
        Ok(())
    }

    /// A file with a second name: counted, and told of once in a full round.
    fn note_linked(&mut self, home: &HomeRef, path: &VirtualPath) {
        self.report.linked = self.report.linked.saturating_add(1);
        if self.memory.may_tell_of(Oddity::Linked) {
            tracing::warn!(
                home.name = %home.name,
                file.path = %path,
                "files in the homes have other names too (hard links): stored ones are kept, \
                 listed and deleted as always, but their space is freed only when the other \
                 names go; unknown ones are not adopted"
            );
        }
    }

    /// A name that no peer could ask for: counted, and told of once in a full round.
    fn note_unreachable(&mut self, home: &HomeRef, dir: &VirtualPath, name: &[u8]) {
        self.report.unreachable = self.report.unreachable.saturating_add(1);
        if self.memory.may_tell_of(Oddity::Unreachable) {
            tracing::warn!(
                home.name = %home.name,
                file.path = %dir,
                name = %name.escape_ascii(),
                "names in the homes that no client could ask for (control characters, longer than \
                 255 bytes, too deep) are not adopted: neither listed nor ever deleted; rename or \
                 remove them"
            );
        }
    }

    /// What is neither a file nor a directory: counted, and told of once in a full round.
    fn note_foreign(&mut self, home: &HomeRef, dir: &VirtualPath, count: u64) {
        self.report.foreign = self.report.foreign.saturating_add(count);
        if self.memory.may_tell_of(Oddity::Foreign) {
            tracing::warn!(
                home.name = %home.name,
                file.path = %dir,
                "symbolic links, pipes, sockets or devices in the homes are never followed nor \
                 opened: neither listed nor ever deleted; remove them"
            );
        }
    }

    /// The next look sees whether a file is as it is now.
    fn wait_for(&mut self, home: &HomeRef, path: VirtualPath, entry: Entry) {
        self.report.waiting = self.report.waiting.saturating_add(1);
        self.memory.wait_for(home.id, path, Seen::of(entry));
    }

    /// Adopts files of one directory; those that cannot be now wait for the next look.
    async fn adopt(
        &mut self,
        home: &HomeRef,
        files: Vec<(VirtualPath, Entry)>,
    ) -> Result<(), VfsError> {
        if files.is_empty() {
            return Ok(());
        }
        let adopted = self.adopt_at_once(home, &files).await?;
        for (path, entry) in files {
            if adopted.contains(&path) {
                self.report.adopted = self.report.adopted.saturating_add(1);
                let bytes = self.report.adopted_bytes;
                self.report.adopted_bytes = bytes.saturating_add(entry.size_bytes);
            } else {
                self.wait_for(home, path, entry);
            }
        }
        Ok(())
    }

    /// Says which of the files were adopted.
    async fn adopt_at_once(
        &self,
        home: &HomeRef,
        files: &[(VirtualPath, Entry)],
    ) -> Result<HashSet<VirtualPath>, VfsError> {
        let holdings = self.holdings();
        let paths: Vec<&VirtualPath> = files.iter().map(|(path, _)| path).collect();
        let _guard = holdings.lock(home.id, &paths).await?;
        let places: Vec<_> = paths.iter().map(|path| home.place(path)).collect();
        let still = holdings.vfs.run(move |storage| {
            let stat = |place| storage.stat(place).ok().filter(|still| !still.is_linked);
            Ok::<_, std::io::Error>(places.iter().map(stat).collect::<Vec<_>>())
        });
        let still = still
            .await
            .map_err(|error| VfsError::at(&VirtualPath::root(), error))?;
        holdings.check_storage().await?;
        let now = holdings.arriving_at();
        let unchanged = files.iter().zip(still).filter(|((_, entry), still)| {
            still.is_some_and(|still| Seen::of(still) == Seen::of(*entry))
        });
        let adoption = Adoption {
            home: home.id,
            files: unchanged
                .map(|((path, entry), _)| FoundFile {
                    path: path.clone(),
                    size_bytes: entry.size_bytes,
                    identity: entry.identity,
                    entry: record::adopted(holdings, home, path, entry.size_bytes, now),
                })
                .collect(),
            appliance: holdings.appliance,
            node: holdings.node.clone(),
            now,
        };
        let taken = holdings.store.adopt(&adoption).await?;
        let files = adoption.files.into_iter().zip(taken);
        Ok(files
            .filter_map(|(file, is_taken)| is_taken.then_some(file.path))
            .collect())
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

    /// Rows of a directory that is no longer there.
    async fn look_at_lost_dir(
        &mut self,
        home: &HomeRef,
        dir: &VirtualPath,
    ) -> Result<(), VfsError> {
        for row in self.holdings().store.rows_in(home.id, dir).await? {
            if row.state == FileState::Stored {
                self.settle_missing(home, &row).await?;
            }
        }
        Ok(())
    }

    /// Rows whose whole directory is gone, and was never seen here.
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
                if self.memory.knows(home.id, &dir) {
                    continue;
                }
                self.pause().await;
                let place = home.place(&dir);
                let found = self
                    .holdings()
                    .vfs
                    .run(move |storage| storage.stat(&place))
                    .await;
                if found.is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound) {
                    self.look_at_lost_dir(home, &dir).await?;
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
