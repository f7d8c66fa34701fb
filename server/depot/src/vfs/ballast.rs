//! A file that only takes room, beside the database: what is left for deletion when
//! everything else on the file system is taken.
//!
//! A file cannot be deleted without a note in the database, and SQLite can write none on
//! a full disk. The ballast is given up then, and made again when there is room.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::FallocateFlags;
use rustix::io::Errno;

/// What the database's name is followed by.
const SUFFIX: &str = ".ballast";

/// Bytes that are written at a time where room cannot be had in any other way.
const PIECE_BYTES: usize = 64 << 10;

#[derive(Debug)]
pub(super) struct Ballast(PathBuf);

impl Ballast {
    /// Of the database in this file; it need not be there.
    pub(super) fn beside(database: &Path) -> Ballast {
        let mut path = database.as_os_str().to_owned();
        path.push(SUFFIX);
        Ballast(path.into())
    }

    /// Gives its room back; whether there was any.
    pub(super) fn give_up(&self) -> io::Result<bool> {
        match fs::remove_file(&self.0) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether it takes so many bytes.
    pub(super) fn is_made(&self, bytes: u64) -> bool {
        fs::metadata(&self.0).is_ok_and(|there| there.len() >= bytes)
    }

    /// Takes so many bytes, or none.
    pub(super) fn make(&self, bytes: u64) -> io::Result<()> {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&self.0)?;
        let made = match rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, bytes) {
            // ZFS and NFS before 4.2 promise no room.
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => fill(file, bytes),
            taken => Ok(taken?),
        };
        if made.is_err() {
            self.give_up()?;
        }
        made
    }
}

/// Writes what no file system makes smaller.
fn fill(mut file: File, bytes: u64) -> io::Result<()> {
    let mut piece = vec![0; PIECE_BYTES];
    let mut left = bytes;
    while left > 0 {
        getrandom::fill(&mut piece).map_err(|error| io::Error::other(error.to_string()))?;
        let length = usize::try_from(left).unwrap_or(usize::MAX).min(PIECE_BYTES);
        file.write_all(piece.get(..length).unwrap_or_default())?;
        left = left.saturating_sub(length as u64);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    const BYTES: u64 = 300_000;

    #[test]
    fn it_takes_room_until_it_is_given_up() {
        let dir = tempfile::tempdir().unwrap();
        let database = dir.path().join("layover.db");
        let ballast = Ballast::beside(&database);
        assert!(!ballast.is_made(1) && !ballast.give_up().unwrap());
        ballast.make(BYTES).unwrap();
        assert!(ballast.is_made(BYTES) && !ballast.is_made(BYTES + 1));
        let file = fs::metadata(dir.path().join("layover.db.ballast")).unwrap();
        assert!(file.blocks() * 512 >= BYTES, "{} blocks", file.blocks());
        assert!(ballast.give_up().unwrap() && !ballast.is_made(1));
    }

    #[test]
    fn where_no_room_is_promised_it_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("filled");
        fill(File::create(&path).unwrap(), BYTES).unwrap();
        let file = fs::metadata(&path).unwrap();
        assert_eq!(file.len(), BYTES);
    }
}
