//! Room that partners never get.
//!
//! Database and homes lie on one file system unless an operator parts them. A partner
//! who filled it would stop the ledger's own writes, and with them every deletion that
//! would make room again. So what uploads write ends while there is still room for the
//! database, its log and the journal; sweep, adoption and the journal go below.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::io::Errno;

use super::StorageSpace;
use crate::timer::Stopwatch;

/// One part in so many of the file system is kept free.
const SHARE: u64 = 100;

/// At least: what SQLite's log may grow to while a large sweep is under way, several
/// times over.
const LEAST_BYTES: u64 = 64 << 20;

/// At most: no database needs more to come to itself again.
const MOST_BYTES: u64 = 1 << 30;

/// Below this size a file system is tiny: the least would be much of it, or all.
const TINY_BYTES: u64 = 1 << 30;

/// One part in so many of a tiny one.
const SHARE_OF_TINY: u64 = 20;

/// One part in so many of the reserve that is left when a new name (an empty file, a
/// folder) may still be made: who starts an upload over after a full disk gives its
/// first piece back only when the second one has begun.
const SHARE_FOR_NAMES: u64 = 2;

/// One part in so many of the file system's inodes is kept free, where it tells how many
/// it has: with none left no partner can log in for the first time, and we write no file.
const SHARE_OF_INODES: u64 = 100;

/// At least, and no more than a quarter of them all; and at most.
const LEAST_INODES: u64 = 64;
const MOST_INODES: u64 = 10_000;

/// How long an answer of the file system holds while more than twice the reserve is free;
/// what is written meanwhile is counted. Nearer, it is asked each time: the database
/// writes, too.
const ANSWER_HOLDS: Duration = Duration::from_secs(1);

/// How much a file system of this size keeps free.
pub(super) fn reserve_of(total_bytes: u64) -> u64 {
    if total_bytes < TINY_BYTES {
        total_bytes / SHARE_OF_TINY
    } else {
        (total_bytes / SHARE).clamp(LEAST_BYTES, MOST_BYTES)
    }
}

/// How many inodes a file system with so many keeps free.
pub(super) fn inodes_kept(total: u64) -> u64 {
    let share = total / SHARE_OF_INODES;
    share.clamp(LEAST_INODES, MOST_INODES).min(total / 4)
}

/// What uploads may still write; clones share one count.
#[derive(Clone, Debug, Default)]
pub(super) struct Reserve(Arc<Mutex<Option<Answer>>>);

#[derive(Debug)]
struct Answer {
    asked: Stopwatch,
    space: StorageSpace,
}

/// What room is wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Want {
    /// So many bytes of content.
    Bytes(u64),
    /// A new name.
    Name,
}

impl Reserve {
    /// Takes room, if there is some beside the reserve; `ask` asks the file system.
    ///
    /// # Errors
    /// `ENOSPC`, or the fault of `ask`.
    pub(super) fn take(
        &self,
        want: Want,
        ask: impl FnOnce() -> io::Result<StorageSpace>,
    ) -> io::Result<()> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(answer) = known.as_mut()
            && answer.asked.elapsed() < ANSWER_HOLDS
            && answer.space.free_bytes / 2 >= reserve_of(answer.space.total_bytes)
            && take_from(&mut answer.space, want)
        {
            return Ok(());
        }
        // A count that says no may be behind what was deleted meanwhile: asked again.
        let asked = Stopwatch::start();
        let mut space = ask()?;
        let granted = take_from(&mut space, want);
        *known = Some(Answer { asked, space });
        if granted {
            Ok(())
        } else {
            Err(Errno::NOSPC.into())
        }
    }
}

fn take_from(space: &mut StorageSpace, want: Want) -> bool {
    let reserve = reserve_of(space.total_bytes);
    match want {
        Want::Name => space.free_bytes >= reserve / SHARE_FOR_NAMES && take_inode(space),
        Want::Bytes(bytes) => match space.free_bytes.checked_sub(bytes) {
            Some(left) if left >= reserve => {
                space.free_bytes = left;
                true
            }
            _ => false,
        },
    }
}

/// A file system that does not tell how many it has has no limit.
fn take_inode(space: &mut StorageSpace) -> bool {
    let Some(inodes) = &mut space.inodes else {
        return true;
    };
    match inodes.free.checked_sub(1) {
        Some(left) if left >= inodes_kept(inodes.total) => {
            inodes.free = left;
            true
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vfs::Inodes;

    const MIB: u64 = 1 << 20;
    const GIB: u64 = 1 << 30;

    fn space(total_bytes: u64, free_bytes: u64) -> io::Result<StorageSpace> {
        Ok(StorageSpace {
            total_bytes,
            free_bytes,
            inodes: None,
        })
    }

    #[test]
    fn names_get_the_inodes_above_the_reserve_to_the_last() {
        for (total, kept) in [(40, 10), (1_000, 64), (100_000, 1_000), (1 << 40, 10_000)] {
            let name = |free| {
                let inodes = Some(Inodes { total, free });
                let space = StorageSpace {
                    total_bytes: 4 * GIB,
                    free_bytes: 4 * GIB,
                    inodes,
                };
                Reserve::default().take(Want::Name, || Ok(space))
            };
            name(kept + 1).unwrap();
            let refused = name(kept).unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::StorageFull, "{total}");
            name(0).unwrap_err();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn names_are_counted_between_two_answers() {
        let kept = Reserve::default();
        let ask = |free| {
            let inodes = Some(Inodes { total: 100, free });
            let total_bytes = 4 * GIB;
            Ok(StorageSpace {
                total_bytes,
                free_bytes: total_bytes,
                inodes,
            })
        };
        kept.take(Want::Name, || ask(26)).unwrap();
        kept.take(Want::Name, || ask(25)).unwrap_err();
    }

    #[test]
    fn the_reserve_follows_the_size_within_its_bounds() {
        let expected = [
            (100 * MIB, 5 * MIB),
            (GIB - 20, (GIB - 20) / 20),
            (GIB, 64 * MIB),
            (10 * GIB, 10 * GIB / 100),
            (100 * GIB, GIB),
            (1 << 50, GIB),
            (0, 0),
        ];
        for (total, reserve) in expected {
            assert_eq!(reserve_of(total), reserve, "{total}");
        }
    }

    #[test]
    fn content_gets_what_is_above_the_reserve_to_the_byte() {
        let total = 4 * GIB;
        let reserve = reserve_of(total);
        let take = |free, bytes| Reserve::default().take(Want::Bytes(bytes), || space(total, free));
        take(reserve + 10, 10).unwrap();
        let refused = take(reserve + 9, 10).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::StorageFull);
        take(reserve - 1, 0).unwrap_err();
        take(5, 10).unwrap_err();
        let name = |free| Reserve::default().take(Want::Name, || space(total, free));
        name(reserve / 2).unwrap();
        name(reserve / 2 - 1).unwrap_err();
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_written_between_two_answers_is_counted_and_a_no_is_asked_for_again() {
        let (total, reserve) = (4 * GIB, reserve_of(4 * GIB));
        let kept = Reserve::default();
        let free = 2 * reserve + 1;
        kept.take(Want::Bytes(1), || space(total, free)).unwrap();
        let never = || Err(io::Error::other("the answer still holds"));
        kept.take(Want::Bytes(2 * MIB), never).unwrap();
        // Less than twice the reserve is left: the file system itself is asked.
        kept.clone()
            .take(Want::Bytes(MIB), || space(total, reserve))
            .unwrap_err();
        kept.take(Want::Bytes(MIB), || space(total, reserve + MIB))
            .unwrap();
    }
}
