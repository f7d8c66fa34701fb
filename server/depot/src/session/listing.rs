//! A directory, told piece by piece: what the tree has there, joined with what the
//! ledger knows of it. However many names it has and however slowly they are taken,
//! a listing holds little.

use std::collections::HashMap;
use std::sync::Arc;

use super::{FileInfo, Session, look, not_found};
use crate::ledger::FileRow;
use crate::listings::{Held, Share};
use crate::vfs::{Entry, FileKind, FirstNames, Names, VfsError};
use crate::{Right, VirtualPath};

/// Entries that one listing carries. A directory with more must be split by the
/// partner: each piece of a listing may read all names of the directory.
pub const MAX_LISTING: usize = 100_000;

/// Names that are read ahead of a listing: of usual length some thousands.
const AHEAD_BYTES: usize = 128 * 1024;

/// Names that one listing looks at again because they changed meanwhile.
const MAX_SECOND_LOOKS: usize = 256;

/// Names that one listing looks for because the ledger knows them and the tree did not
/// tell them: as many files as may be renamed while a directory is read. Whatever was
/// taken away behind our back is in this state for long, and each look costs.
const MAX_UNTOLD_LOOKS: usize = 32;

/// Some names in one directory, each once, sorted by their bytes.
pub type Listing = Vec<(Vec<u8>, FileInfo)>;

/// A directory being listed. Each piece goes by what the account may do then, and by
/// what the directory holds then; no name is told twice.
#[derive(Debug)]
pub struct DirectoryListing {
    session: Session,
    path: VirtualPath,
    share: Arc<Share>,
    ahead: Names,
    _held: Option<Held>,
    /// The last name that was looked at.
    after: Vec<u8>,
    is_over: bool,
    second_looks: usize,
    untold_looks: usize,
}

impl Session {
    /// Begins to list the published files and the directories in `path`; nothing is
    /// read yet.
    #[must_use]
    pub fn listing(&self, path: &VirtualPath) -> DirectoryListing {
        DirectoryListing {
            share: self.inner.holdings.listings.share(self.inner.account.id),
            session: self.clone(),
            path: path.clone(),
            ahead: Names::default(),
            _held: None,
            after: Vec::new(),
            is_over: false,
            second_looks: MAX_SECOND_LOOKS,
            untold_looks: MAX_UNTOLD_LOOKS,
        }
    }

    /// All of a listing at once: for whom a directory is small.
    ///
    /// # Errors
    /// As [`DirectoryListing::next`].
    pub async fn list(&self, path: &VirtualPath) -> Result<Listing, VfsError> {
        let mut listing = self.listing(path);
        let mut all = Listing::new();
        loop {
            let piece = listing.next(MAX_LISTING).await?;
            if piece.is_empty() {
                return Ok(all);
            }
            all.extend(piece);
        }
    }

    /// `NotDirectory` is only for a file that the peer may know of.
    async fn listing_fault(&self, path: &VirtualPath, error: std::io::Error) -> VfsError {
        match VfsError::at(path, error) {
            VfsError::NotDirectory { path } => match self.look(&path).await {
                Ok(look) if look.visible(self.now()).is_some() => VfsError::NotDirectory { path },
                Ok(_) => not_found(&path),
                Err(fault) => fault,
            },
            fault => fault,
        }
    }
}

impl DirectoryListing {
    /// The next names: at most so many that the tree tells, and a few that only the ledger
    /// knew; none at the end.
    ///
    /// # Errors
    /// `NotFound`, `NotDirectory`, `NotPermitted`, `TooManyEntries`,
    /// `SessionEnded`, `Storage`, `Database`.
    pub async fn next(&mut self, most: usize) -> Result<Listing, VfsError> {
        let share = Arc::clone(&self.share);
        while !self.is_over {
            self.session.check_running()?;
            self.session.require(&self.path, Right::List)?;
            let _turn = share.turn().await;
            let piece = self.piece(most).await?;
            if !piece.is_empty() {
                return Ok(piece);
            }
        }
        Ok(Listing::new())
    }

    async fn piece(&mut self, most: usize) -> Result<Listing, VfsError> {
        let entries = match self.entries(most).await? {
            Ok(entries) => entries,
            Err(error) => return Err(self.session.listing_fault(&self.path, error).await),
        };
        let Entries { found, last } = entries;
        let holdings = Arc::clone(&self.session.inner.holdings);
        let rows = holdings.store.published_between(
            self.session.inner.home.id,
            &self.path,
            &self.after,
            last.as_deref(),
        );
        let piece = self.told(found, rows.await?).await?;
        match last {
            Some(last) => self.after = last,
            None => self.is_over = true,
        }
        Ok(piece)
    }

    /// What the tree has behind the last name.
    async fn entries(&mut self, most: usize) -> Result<Result<Entries, std::io::Error>, VfsError> {
        let (place, after) = (
            self.session.inner.home.place(&self.path),
            self.after.clone(),
        );
        let mut ahead = std::mem::take(&mut self.ahead);
        self._held = None;
        let read = self.session.inner.holdings.vfs.run(move |storage| {
            if ahead.is_empty() {
                let mut first = FirstNames::new(after, AHEAD_BYTES);
                storage.names(&place, &mut |name| first.offer(name))?;
                ahead = first.finish();
            }
            let names = ahead.take(most);
            let last = names.last().cloned();
            let found = storage.entries(&place, names)?;
            Ok::<_, std::io::Error>((ahead, found, last))
        });
        let (ahead, found, last) = match read.await {
            Ok(read) => read,
            Err(error) => return Ok(Err(error)),
        };
        if ahead.entries() > MAX_LISTING {
            return Err(VfsError::TooManyEntries { limit: MAX_LISTING });
        }
        let is_last = ahead.is_empty() && !ahead.more();
        if !ahead.is_empty() {
            // Who finds no room reads the directory again.
            self._held = self.share.hold(ahead.held_bytes());
            if self._held.is_some() {
                self.ahead = ahead;
            }
        }
        let last = last.filter(|_| !is_last);
        Ok(Ok(Entries { found, last }))
    }

    /// What of the tree's entries may be told.
    async fn told(
        &mut self,
        found: Vec<(Vec<u8>, Entry)>,
        rows: Vec<FileRow>,
    ) -> Result<Listing, VfsError> {
        let mut by_name: HashMap<Vec<u8>, Vec<FileRow>> = HashMap::new();
        for row in rows {
            by_name
                .entry(row.path.name().unwrap_or_default().to_vec())
                .or_default()
                .push(row);
        }
        let now = self.session.now();
        let mut piece = Vec::with_capacity(found.len());
        // Names that changed between the tree and the ledger.
        let mut again = Vec::new();
        for (name, entry) in found {
            // A name that no path can carry cannot be asked for either.
            if self.path.join(&name).is_err() {
                continue;
            }
            if entry.kind == FileKind::Directory {
                piece.push((name, FileInfo::of(entry, None)));
                continue;
            }
            let Some(rows) = by_name.remove(&name) else {
                continue;
            };
            match look::visible(entry, rows.iter(), now) {
                Some(file) => piece.push((name, FileInfo::of_file(&file))),
                None if rows.iter().any(|row| row.is_visible(now)) && self.second_looks > 0 => {
                    self.second_looks -= 1;
                    again.push(name);
                }
                None => {}
            }
        }
        // One that was renamed meanwhile the tree need not tell: the ledger may know it.
        let untold = by_name
            .into_iter()
            .filter(|(_, rows)| rows.iter().any(|row| row.is_visible(now)))
            .map(|(name, _)| name)
            .take(self.untold_looks);
        let before = again.len();
        again.extend(untold);
        self.untold_looks = self.untold_looks.saturating_sub(again.len() - before);
        for name in again {
            let Ok(at) = self.path.join(&name) else {
                continue;
            };
            if let Some(file) = self.session.look_to_read(&at).await?.visible(now) {
                piece.push((name, FileInfo::of_file(&file)));
            }
        }
        piece.sort_by(|(one, _), (other, _)| one.cmp(other));
        piece.dedup_by(|(later, _), (earlier, _)| later == earlier);
        Ok(piece)
    }
}

/// Entries of the tree.
struct Entries {
    found: Vec<(Vec<u8>, Entry)>,
    /// The name that the next piece begins behind; `None` when there is none.
    last: Option<Vec<u8>>,
}
