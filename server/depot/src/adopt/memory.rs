//! What is remembered between two looks at the tree.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use super::MAX_WAITING;
use crate::timer::Stopwatch;
use crate::vfs::{Entry, Identity};
use crate::{HomeId, HomeName, VirtualPath};

/// What an operator put into the tree and nobody will ever see there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Oddity {
    /// A file with another name.
    Linked,
    /// A name that no peer could ask for.
    Unreachable,
    /// Neither a file nor a directory.
    Foreign,
}

/// What a file looked like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    size_bytes: u64,
    modified_us: i64,
    identity: Identity,
}

impl Seen {
    pub(super) fn of(entry: Entry) -> Self {
        Self {
            size_bytes: entry.size_bytes,
            modified_us: entry.modified_us,
            identity: entry.identity,
        }
    }
}

/// By what a directory shows that a name in it has come or gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    modified_us: i64,
    changed_us: i64,
    identity: Identity,
}

impl Stamp {
    pub(super) fn of(entry: Entry) -> Self {
        Self {
            modified_us: entry.modified_us,
            changed_us: entry.changed_us,
            identity: entry.identity,
        }
    }
}

/// Why a directory must be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// It has changed, is new, or something in it is not settled.
    Changed,
    /// Its turn has come in a full round.
    Full,
}

/// Whether a directory is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Met {
    /// It was.
    Before,
    /// It is now.
    Now,
    /// It is not: who wants it read must read its parent.
    NoRoom,
}

/// A directory.
#[derive(Debug)]
struct Dir {
    due: Option<Due>,
    /// What it showed when it was first read so, and when that was.
    read: Option<(Stamp, Stopwatch)>,
    /// Its times can be trusted.
    settled: bool,
    /// The number of the look that read it last.
    last_read: u64,
}

/// See the module. Directories are bounded by [`super::MAX_DIRS`], files by
/// [`MAX_WAITING`].
#[derive(Debug, Default)]
pub(super) struct Memory {
    dirs: HashMap<HomeId, BTreeMap<VirtualPath, Dir>>,
    count: usize,
    waiting: HashMap<(HomeId, VirtualPath), Seen>,
    round_began: Option<Stopwatch>,
    in_round: bool,
    looks: u64,
    told: BTreeSet<Oddity>,
    pub(super) full_rounds: u64,
}

impl Memory {
    /// Another look begins, and these are the homes.
    pub(super) fn begin_look(&mut self, homes: &[(HomeId, HomeName)]) {
        self.looks = self.looks.saturating_add(1);
        let gone: Vec<_> = self
            .dirs
            .keys()
            .copied()
            .filter(|known| homes.iter().all(|(id, _)| id != known))
            .collect();
        for home in gone {
            self.forget_home(home);
        }
    }

    pub(super) fn forget_home(&mut self, home: HomeId) {
        let dirs = self.dirs.remove(&home).unwrap_or_default();
        self.count = self.count.saturating_sub(dirs.len());
        self.waiting.retain(|(of, _), _| *of != home);
    }

    pub(super) fn forget_dir(&mut self, home: HomeId, dir: &VirtualPath) {
        let dirs = self.dirs.get_mut(&home);
        if dirs.is_some_and(|dirs| dirs.remove(dir).is_some()) {
            self.count = self.count.saturating_sub(1);
        }
    }

    /// Gets to know a directory.
    pub(super) fn meet(&mut self, home: HomeId, dir: VirtualPath, max_dirs: usize) -> Met {
        let dirs = self.dirs.entry(home).or_default();
        if dirs.contains_key(&dir) {
            return Met::Before;
        }
        if self.count >= max_dirs {
            return Met::NoRoom;
        }
        self.count += 1;
        let new = Dir {
            due: Some(Due::Changed),
            read: None,
            settled: false,
            last_read: 0,
        };
        dirs.insert(dir, new);
        Met::Now
    }

    pub(super) fn knows(&self, home: HomeId, dir: &VirtualPath) -> bool {
        let dirs = self.dirs.get(&home);
        dirs.is_some_and(|dirs| dirs.contains_key(dir))
    }

    /// The directories of a home whose times must be asked for.
    pub(super) fn not_due(&self, home: HomeId) -> Vec<VirtualPath> {
        let dirs = self.dirs.get(&home).into_iter().flatten();
        dirs.filter(|(_, dir)| dir.due != Some(Due::Changed))
            .map(|(path, _)| path.clone())
            .collect()
    }

    /// Those that must be read. Who was not read for longest comes last: a directory that
    /// fills a whole look must not have every look.
    pub(super) fn due(&self, due: Due) -> Vec<(HomeId, VirtualPath)> {
        let mut found: Vec<_> = self
            .dirs
            .iter()
            .flat_map(|(home, dirs)| dirs.iter().map(move |(path, dir)| (*home, path, dir)))
            .filter(|(.., dir)| dir.due == Some(due))
            .collect();
        found.sort_by(|(a_home, a_path, a), (b_home, b_path, b)| {
            (b.last_read, b_home, b_path).cmp(&(a.last_read, a_home, a_path))
        });
        found
            .into_iter()
            .map(|(home, path, _)| (home, path.clone()))
            .collect()
    }

    pub(super) fn due_count(&self) -> u64 {
        let dirs = self.dirs.values().flat_map(BTreeMap::values);
        let due = dirs.filter(|dir| dir.due.is_some()).count();
        u64::try_from(due).unwrap_or(u64::MAX)
    }

    /// Whether a directory is as it was; else it is due now.
    pub(super) fn is_unchanged(&mut self, home: HomeId, path: &VirtualPath, now: Stamp) -> bool {
        let dirs = self.dirs.get_mut(&home);
        let Some(dir) = dirs.and_then(|dirs| dirs.get_mut(path)) else {
            return false;
        };
        let unchanged = dir.settled && dir.read.is_some_and(|(stamp, _)| stamp == now);
        if !unchanged {
            dir.due = Some(Due::Changed);
        }
        unchanged && dir.due.is_none()
    }

    /// A directory was read. Its times are trusted when they had been the same
    /// `settled_after` before and nothing in it waits for another look.
    pub(super) fn note_read(
        &mut self,
        home: HomeId,
        path: &VirtualPath,
        stamp: Stamp,
        is_done: bool,
        settled_after: Duration,
    ) {
        let dirs = self.dirs.get_mut(&home);
        let Some(dir) = dirs.and_then(|dirs| dirs.get_mut(path)) else {
            return;
        };
        dir.due = None;
        dir.last_read = self.looks;
        let first = dir.read.filter(|(before, _)| *before == stamp);
        dir.settled = is_done && first.is_some_and(|(_, since)| since.elapsed() >= settled_after);
        dir.read = Some(first.unwrap_or_else(|| (stamp, Stopwatch::start())));
    }

    /// A directory must be read in the next look, whatever it shows.
    pub(super) fn distrust(&mut self, home: HomeId, path: &VirtualPath) {
        let dirs = self.dirs.get_mut(&home);
        if let Some(dir) = dirs.and_then(|dirs| dirs.get_mut(path)) {
            (dir.due, dir.settled, dir.read) = (None, false, None);
            dir.last_read = self.looks;
        }
    }

    /// The look ends here. What is remembered is due still; what there was no room for
    /// is met again with its parent.
    pub(super) fn put_off(&mut self, left: impl Iterator<Item = (HomeId, VirtualPath)>) {
        for (home, path) in left {
            if self.knows(home, &path) {
                continue;
            }
            let parent = path.dir();
            let dirs = self.dirs.get_mut(&home);
            if let Some(parent) = dirs.and_then(|dirs| dirs.get_mut(&parent)) {
                parent.due = Some(Due::Full);
            }
        }
    }

    pub(super) fn take_seen(&mut self, home: HomeId, path: &VirtualPath) -> Option<Seen> {
        self.waiting.remove(&(home, path.clone()))
    }

    pub(super) fn wait_for(&mut self, home: HomeId, path: VirtualPath, seen: Seen) {
        if self.waiting.len() < MAX_WAITING {
            self.waiting.insert((home, path), seen);
        }
    }

    pub(super) fn full_round_is_due(&self, every: Duration) -> bool {
        !self.in_round
            && self
                .round_began
                .is_none_or(|began| began.elapsed() >= every)
    }

    pub(super) fn in_full_round(&self) -> bool {
        self.in_round
    }

    /// Whether files with several names are yet to be told of in this round.
    /// True once in a full round.
    pub(super) fn may_tell_of(&mut self, oddity: Oddity) -> bool {
        self.told.insert(oddity)
    }

    pub(super) fn begin_full_round(&mut self) {
        self.told.clear();
        self.in_round = true;
        self.round_began = Some(Stopwatch::start());
        // Some went away before they were adopted; the others wait one look more.
        self.waiting.clear();
        for dir in self.dirs.values_mut().flat_map(BTreeMap::values_mut) {
            dir.due.get_or_insert(Due::Full);
        }
    }

    pub(super) fn end_full_round(&mut self) {
        self.in_round = false;
        self.full_rounds = self.full_rounds.saturating_add(1);
    }
}
