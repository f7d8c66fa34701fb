//! A directory, told piece by piece: what the tree has there, joined with what the
//! ledger knows of it. However many names it has and however slowly they are taken,
//! a listing holds little.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::{FileInfo, Session, look, not_found};
use crate::holdings::LOCK_WAIT;
use crate::ledger::FileRow;
use crate::listings::{Held, Share};
use crate::vfs::{Entry, FileKind, FirstNames, Names, VfsError};
use crate::{Right, VirtualPath, timer};

/// Entries that one listing carries. A directory with more must be split by the
/// partner: each piece of a listing may read all names of the directory.
pub const MAX_LISTING: usize = 100_000;

/// Names that are read ahead of a listing: of usual length some thousands.
const AHEAD_BYTES: usize = 128 * 1024;

/// Names that are looked at again at once, because tree and ledger do not agree on them.
pub(super) const AGAIN_AT_ONCE: usize = 1024;

/// Names of one piece that are looked at one by one, while nobody in this process may
/// change them: those that are changed all the time.
const MAX_LOCKED_LOOKS: usize = 64;

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
        while !self.is_over {
            self.session.check_running()?;
            self.session.require(&self.path, Right::List)?;
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
        let rows = self.rows(&self.after, last.as_deref()).await?;
        let mut piece = Listing::with_capacity(found.len());
        let Unsettled {
            mut changed,
            untold,
        } = self.tell(found, rows, &mut piece);
        // One that was renamed meanwhile the tree need not tell: the ledger may know it.
        changed.extend(untold);
        changed.sort();
        self.settle(&changed, &mut piece).await?;
        piece.sort_by(|(one, _), (other, _)| one.cmp(other));
        piece.dedup_by(|(later, _), (earlier, _)| later == earlier);
        match last {
            Some(last) => self.after = last,
            None => self.is_over = true,
        }
        Ok(piece)
    }

    /// What the ledger has between two names.
    async fn rows(&self, after: &[u8], last: Option<&[u8]>) -> Result<Vec<FileRow>, VfsError> {
        let _turn = self.share.database().await;
        let inner = &self.session.inner;
        let store = &inner.holdings.store;
        let rows = store.published_between(inner.home.id, &self.path, after, last);
        Ok(rows.await?)
    }

    /// Looks again at names, sorted, on which tree and ledger did not agree. All at once:
    /// where connections are waited for, a look at each takes a listing of a busy folder as
    /// long as hundreds of files.
    async fn settle(&self, names: &[Vec<u8>], piece: &mut Listing) -> Result<(), VfsError> {
        let mut locked_looks = MAX_LOCKED_LOOKS;
        let mut after = self.after.as_slice();
        for names in names.chunks(AGAIN_AT_ONCE) {
            let Some(last) = names.last() else { continue };
            let mut changed = self.look_again(after, names, piece).await?;
            if !changed.is_empty() {
                self.changes_end(&changed).await;
                changed = self.look_again(after, &changed, piece).await?;
            }
            for name in changed {
                if locked_looks == 0 {
                    break;
                }
                locked_looks -= 1;
                self.look_locked(name, piece).await?;
            }
            after = last;
        }
        Ok(())
    }

    /// Tells what tree and ledger say of these names by now; those that have changed
    /// between the one and the other. What the tree has no longer is gone: it was asked
    /// after the ledger had told of it.
    async fn look_again(
        &self,
        after: &[u8],
        names: &[Vec<u8>],
        piece: &mut Listing,
    ) -> Result<Vec<Vec<u8>>, VfsError> {
        let found = match self.entries_of(names.to_vec()).await {
            Ok(found) => found,
            Err(error) => return Err(self.session.listing_fault(&self.path, error).await),
        };
        // Of stale rows, which a file that was taken away behind our back leaves, nothing
        // else is asked.
        let Some((last, _)) = found.last() else {
            return Ok(Vec::new());
        };
        let mut rows = self.rows(after, Some(last)).await?;
        let names: HashSet<&[u8]> = found.iter().map(|(name, _)| name.as_slice()).collect();
        rows.retain(|row| row.path.name().is_some_and(|name| names.contains(name)));
        Ok(self.tell(found, rows, piece).changed)
    }

    /// Tells what is at a name that changes whenever it is looked at.
    async fn look_locked(&self, name: Vec<u8>, piece: &mut Listing) -> Result<(), VfsError> {
        let Ok(path) = self.path.join(&name) else {
            return Ok(());
        };
        let inner = &self.session.inner;
        // Who does not get it in time looks all the same.
        let _guard = inner.holdings.lock(inner.home.id, &[&path]).await;
        let look = self.session.look_once(&path).await?;
        if let Some(file) = look.visible(self.session.now()) {
            piece.push((name, FileInfo::of_file(&file)));
        }
        Ok(())
    }

    /// Waits for those in this process who are changing these names just now: a rename over
    /// a name has its file there before its row.
    async fn changes_end(&self, names: &[Vec<u8>]) {
        let inner = &self.session.inner;
        let all = async {
            for name in names {
                if let Ok(path) = self.path.join(name) {
                    drop(inner.holdings.lock(inner.home.id, &[&path]).await);
                }
            }
        };
        // One that does not end in time is no reason to tell nothing.
        let _ = timer::timeout(LOCK_WAIT, all).await;
    }

    /// What the tree has at these names.
    async fn entries_of(
        &self,
        names: Vec<Vec<u8>>,
    ) -> Result<Vec<(Vec<u8>, Entry)>, std::io::Error> {
        let place = self.session.inner.home.place(&self.path);
        let turn = self.share.tree().await;
        let vfs = &self.session.inner.holdings.vfs;
        let read = vfs.run(move |storage| {
            let _turn = turn;
            storage.entries(&place, names)
        });
        read.await
    }

    /// What the tree has behind the last name.
    async fn entries(&mut self, most: usize) -> Result<Result<Entries, std::io::Error>, VfsError> {
        let (place, after) = (
            self.session.inner.home.place(&self.path),
            self.after.clone(),
        );
        let turn = self.share.tree().await;
        let mut ahead = std::mem::take(&mut self.ahead);
        self._held = None;
        let read = self.session.inner.holdings.vfs.run(move |storage| {
            let _turn = turn;
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

    /// Adds to the piece what of the tree's entries may be told.
    fn tell(
        &self,
        found: Vec<(Vec<u8>, Entry)>,
        rows: Vec<FileRow>,
        piece: &mut Listing,
    ) -> Unsettled {
        let mut by_name: HashMap<Vec<u8>, Vec<FileRow>> = HashMap::new();
        for row in rows {
            by_name
                .entry(row.path.name().unwrap_or_default().to_vec())
                .or_default()
                .push(row);
        }
        let now = self.session.now();
        let mut changed = Vec::new();
        for (name, entry) in found {
            // A name that no path can carry cannot be asked for either.
            if self.path.join(&name).is_err() {
                continue;
            }
            let rows = by_name.remove(&name);
            if entry.kind == FileKind::Directory {
                piece.push((name, FileInfo::of(entry, None)));
                continue;
            }
            let Some(rows) = rows else { continue };
            match look::visible(entry, rows.iter(), now) {
                Some(file) => piece.push((name, FileInfo::of_file(&file))),
                None if rows.iter().any(|row| row.is_visible(now)) => changed.push(name),
                None => {}
            }
        }
        let untold = by_name
            .into_iter()
            .filter(|(_, rows)| rows.iter().any(|row| row.is_visible(now)))
            .map(|(name, _)| name)
            .collect();
        Unsettled { changed, untold }
    }
}

/// Names on which tree and ledger do not agree.
struct Unsettled {
    /// The tree has another file there.
    changed: Vec<Vec<u8>>,
    /// The tree did not tell them.
    untold: Vec<Vec<u8>>,
}

/// Entries of the tree.
struct Entries {
    found: Vec<(Vec<u8>, Entry)>,
    /// The name that the next piece begins behind; `None` when there is none.
    last: Option<Vec<u8>>,
}
