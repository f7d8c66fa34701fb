//! How much room is left where files and the database lie, and what that allows.
//!
//! Uploads end at the reserve ([`super::reserve`]). What partners do writes to the
//! database, too, if only that they did it: below half of the reserve of its file system
//! nothing of theirs begins any more. The last piece is the ballast's ([`super::ballast`]),
//! and for deletion alone.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use rustix::fs::{CWD, Mode, OFlags};
use serde::Serialize;

use super::ballast::Ballast;
use super::local::space_of;
use super::reserve::{inodes_kept, reserve_of};
use super::{MAX_IO_BYTES, StorageSpace};
use crate::timer::Stopwatch;

/// Below one part in so many of the reserve partners begin nothing that is journalled.
const SHARE_FOR_PARTNERS: u64 = 2;

/// One part in so many of the reserve is the ballast's. Given up, it does not lift what
/// is free above what partners are refused at.
const SHARE_OF_BALLAST: u64 = 4;

/// At most: some thousand deletions.
const MOST_BALLAST_BYTES: u64 = 32 << 20;

/// Below one part in so many of the reserve the ballast is given up.
const SHARE_AT_THE_END: u64 = 8;

/// How long an answer of the file system holds while more than twice the reserve is free.
const ANSWER_HOLDS: Duration = Duration::from_secs(1);

/// What is to be watched.
#[derive(Clone, Debug)]
pub(crate) struct Watched {
    /// The database's file, when it is in one.
    pub(crate) database: Option<PathBuf>,
    pub(crate) data_dir: PathBuf,
    pub(crate) homes: PathBuf,
}

/// Room on one file system, and what is kept from partners of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DiskRoom {
    /// What of ours lies on it: `homes`, `database`, `data_dir`.
    pub holds: Vec<&'static str>,
    /// Its size in bytes.
    pub total_bytes: u64,
    /// What is free, the reserve included, in bytes.
    pub free_bytes: u64,
    /// What uploads leave free, in bytes.
    pub reserve_bytes: u64,
    /// Files that can still be made; none where the file system does not tell.
    pub free_inodes: Option<u64>,
    /// Uploads are refused.
    pub at_reserve: bool,
    /// Partners' logins and transfers are refused.
    pub partners_refused: bool,
    #[serde(skip)]
    has_recovered: bool,
}

impl DiskRoom {
    fn of(holds: Vec<&'static str>, space: StorageSpace) -> DiskRoom {
        let reserve = reserve_of(space.total_bytes);
        let names_end = space
            .inodes
            .is_some_and(|inodes| inodes.free <= inodes_kept(inodes.total));
        DiskRoom {
            partners_refused: holds.contains(&"database") && is_scarce(space),
            // The next piece of an upload does not fit.
            at_reserve: names_end || space.free_bytes < reserve.saturating_add(MAX_IO_BYTES as u64),
            has_recovered: !names_end
                && space.free_bytes >= reserve.saturating_add(reserve / 4 + MAX_IO_BYTES as u64),
            holds,
            total_bytes: space.total_bytes,
            free_bytes: space.free_bytes,
            reserve_bytes: reserve,
            free_inodes: space.inodes.map(|inodes| inodes.free),
        }
    }

    /// What uploads leave free of a file system of this size, in bytes.
    #[must_use]
    pub fn reserve_bytes_of(total_bytes: u64) -> u64 {
        reserve_of(total_bytes)
    }

    /// Whether there is clearly more than the reserve again: not what a partner makes
    /// by removing one file.
    pub(crate) fn has_recovered(&self) -> bool {
        self.has_recovered
    }

    /// What an operator should know; nothing while there is room.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        const MIB: u64 = 1 << 20;
        if !self.at_reserve {
            return None;
        }
        let refused = match self.partners_refused {
            true => "logins and transfers of partners are refused",
            false => "uploads are refused",
        };
        let (holds, free) = (self.holds.join(", "), self.free_bytes / MIB);
        let (total, reserve) = (self.total_bytes / MIB, self.reserve_bytes / MIB);
        let files = match self.free_inodes {
            Some(files) => format!(", room for {files} more files"),
            None => String::new(),
        };
        Some(format!(
            "the disk of {holds} is full: {free} of {total} MiB free{files}, {reserve} MiB are \
             the reserve; {refused}"
        ))
    }
}

fn is_scarce(space: StorageSpace) -> bool {
    space.free_bytes < reserve_of(space.total_bytes) / SHARE_FOR_PARTNERS
}

/// Watches nothing, and refuses nothing, before [`Room::watch`].
#[derive(Debug, Default)]
pub(crate) struct Room {
    watched: OnceLock<Watched>,
    /// Of the database's file system.
    known: Mutex<Option<(Stopwatch, StorageSpace)>>,
    refused: AtomicU64,
}

impl Room {
    /// From now on, and once.
    pub(crate) fn watch(&self, watched: Watched) {
        self.watched.get_or_init(|| watched);
    }

    /// Whether what partners begin would take the room that deletion needs. A database
    /// on another machine has its own operator's limits.
    pub(crate) fn is_scarce(&self) -> bool {
        let Some(database) = self.database() else {
            return false;
        };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((asked, space)) = known.as_ref()
            && asked.elapsed() < ANSWER_HOLDS
            && space.free_bytes / 2 >= reserve_of(space.total_bytes)
        {
            return false;
        }
        let asked = Stopwatch::start();
        // Who cannot be asked is told of by whoever writes there.
        let Ok(space) = space_at(folder_of(database)) else {
            return false;
        };
        *known = Some((asked, space));
        is_scarce(space)
    }

    /// The same of somebody who is refused then: he is counted.
    pub(crate) fn refuses(&self) -> bool {
        let is_scarce = self.is_scarce();
        if is_scarce {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
        is_scarce
    }

    /// How many were refused, and not told of.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// So many have been told of.
    pub(crate) fn told_of(&self, refused: u64) {
        self.refused.fetch_sub(refused, Ordering::Relaxed);
    }

    /// Each file system once, as it is now.
    pub(crate) fn look(&self) -> io::Result<Vec<DiskRoom>> {
        let Some(watched) = self.watched.get() else {
            return Ok(Vec::new());
        };
        let mut places = vec![("homes", watched.homes.as_path())];
        places.extend(self.database().map(|file| ("database", folder_of(file))));
        places.push(("data_dir", watched.data_dir.as_path()));
        let mut disks: BTreeMap<u64, (Vec<&'static str>, StorageSpace)> = BTreeMap::new();
        for (name, path) in places {
            let device = rustix::fs::stat(path)?.st_dev;
            match disks.get_mut(&device) {
                Some((holds, _)) => holds.push(name),
                None => {
                    disks.insert(device, (vec![name], space_at(path)?));
                }
            }
        }
        let disks = disks.into_values();
        Ok(disks
            .map(|(holds, space)| DiskRoom::of(holds, space))
            .collect())
    }

    /// Gives the ballast up when nothing else is left: whoever opens the database on
    /// a full disk needs it.
    pub(crate) fn give_way(&self) -> io::Result<()> {
        let Some(database) = self.database() else {
            return Ok(());
        };
        let space = space_at(folder_of(database))?;
        if space.free_bytes < reserve_of(space.total_bytes) / SHARE_AT_THE_END
            && Ballast::beside(database).give_up()?
        {
            tracing::warn!(
                "the disk is full: the ballast is given up, so that files can be deleted"
            );
        }
        Ok(())
    }

    /// The same, and makes it when there is room for it beside the reserve.
    pub(crate) fn settle_ballast(&self) -> io::Result<()> {
        self.give_way()?;
        let Some(database) = self.database() else {
            return Ok(());
        };
        let space = space_at(folder_of(database))?;
        let reserve = reserve_of(space.total_bytes);
        let bytes = (reserve / SHARE_OF_BALLAST).min(MOST_BALLAST_BYTES);
        let ballast = Ballast::beside(database);
        if bytes > 0 && space.free_bytes >= reserve.saturating_add(bytes) && !ballast.is_made(bytes)
        {
            ballast.make(bytes)?;
        }
        Ok(())
    }

    fn database(&self) -> Option<&Path> {
        self.watched.get()?.database.as_deref()
    }
}

/// Where a file lies.
fn folder_of(file: &Path) -> &Path {
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

fn space_at(folder: &Path) -> io::Result<StorageSpace> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    space_of(&rustix::fs::openat(CWD, folder, flags, Mode::empty())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vfs::Inodes;

    const TOTAL: u64 = 4 << 30;

    fn disk(holds: &[&'static str], free_bytes: u64, inodes: Option<Inodes>) -> DiskRoom {
        let space = StorageSpace {
            total_bytes: TOTAL,
            free_bytes,
            inodes,
        };
        DiskRoom::of(holds.to_vec(), space)
    }

    #[test]
    fn uploads_end_at_the_reserve_and_partners_at_half_of_it_where_the_database_is() {
        let (reserve, piece) = (reserve_of(TOTAL), MAX_IO_BYTES as u64);
        let cases = [
            (reserve + piece, false, false),
            (reserve + piece - 1, true, false),
            (reserve / 2, true, false),
            (reserve / 2 - 1, true, true),
        ];
        for (free, at_reserve, partners_refused) in cases {
            let found = disk(&["homes", "database"], free, None);
            assert_eq!(found.at_reserve, at_reserve, "{free}");
            assert_eq!(found.partners_refused, partners_refused, "{free}");
            assert_eq!(found.warning().is_some(), at_reserve, "{free}");
            assert!(!disk(&["homes"], free, None).partners_refused, "{free}");
        }
    }

    #[test]
    fn it_has_recovered_only_with_room_to_spare() {
        let (reserve, piece) = (reserve_of(TOTAL), MAX_IO_BYTES as u64);
        let enough = reserve + reserve / 4 + piece;
        assert!(disk(&["homes"], enough, None).has_recovered());
        assert!(!disk(&["homes"], enough - 1, None).has_recovered());
    }

    #[test]
    fn a_disk_without_names_left_is_full() {
        let inodes = |free| Some(Inodes { total: 1_000, free });
        assert!(disk(&["homes"], TOTAL, inodes(64)).at_reserve);
        let warning = disk(&["homes"], TOTAL, inodes(64)).warning().unwrap();
        assert!(warning.contains("room for 64 more files"), "{warning}");
        assert!(!disk(&["homes"], TOTAL, inodes(65)).at_reserve);
    }

    #[test]
    fn what_lies_on_one_disk_is_told_once_and_the_ballast_is_made_beside_the_database() {
        let dir = tempfile::tempdir().unwrap();
        let room = Room::default();
        assert!(!room.refuses() && room.look().unwrap().is_empty());
        room.watch(Watched {
            database: Some(dir.path().join("layover.db")),
            data_dir: dir.path().to_owned(),
            homes: dir.path().to_owned(),
        });
        let found = room.look().unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].holds, ["homes", "database", "data_dir"]);
        assert!(!room.refuses() && room.refused() == 0);
        room.settle_ballast().unwrap();
        assert!(dir.path().join("layover.db.ballast").exists());
        room.give_way().unwrap();
        assert!(dir.path().join("layover.db.ballast").exists());
    }
}
