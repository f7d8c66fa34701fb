//! Taking out everything that is due.

use std::fmt::Display;
use std::future::Future;

use serde::Serialize;

use crate::{Timestamp, is_expired};

/// Due files that are asked for at once: bounds what a sweep holds in memory,
/// whatever has piled up during a downtime.
pub const SWEEP_PAGE: usize = 256;

/// Where a sweep stands: everything up to this file has been considered.
/// Ordered by expiry, then by the file's number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct DueCursor {
    /// When the file expired.
    pub expires_at: Timestamp,
    /// The file's number in the ledger.
    pub file_id: i64,
}

/// What became of a due file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Removal {
    /// It is gone.
    Deleted {
        /// How much it held.
        size_bytes: u64,
    },
    /// It was gone before; the ledger has been told.
    AlreadyGone,
    /// Another file has taken its name; that one stays, and the ledger has been
    /// told.
    Superseded,
    /// Somebody else is at work on it; the next sweep comes back to it.
    Busy,
}

/// What [`sweep`] needs from the keeper of the files.
pub trait DueShelf: Sync {
    /// A file as the shelf knows it.
    type File: Send + Sync;
    /// Why the shelf could not answer.
    type Error: Display + Send;

    /// At most `limit` files whose expiry is not after `now`, each beyond
    /// `after`, in the order of their cursors. Files of accounts that are
    /// disabled or removed are among them.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    fn due(
        &self,
        now: Timestamp,
        after: Option<DueCursor>,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<(DueCursor, Self::File)>, Self::Error>> + Send;

    /// Removes `file` if it is still the one that was due. Any answer but
    /// [`Removal::Busy`] means that the file is due no longer.
    ///
    /// # Errors
    /// When it could not be removed; it stays due.
    fn remove(
        &self,
        file: &Self::File,
        now: Timestamp,
    ) -> impl Future<Output = Result<Removal, Self::Error>> + Send;
}

/// What a sweep did.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize)]
pub struct SweepReport {
    /// Due files that were looked at; the sum of the counts below.
    pub considered: u64,
    /// Files that were deleted, and what they held.
    pub deleted: u64,
    /// Bytes in the deleted files.
    pub deleted_bytes: u64,
    /// Files that were gone before.
    pub already_gone: u64,
    /// Files whose name another file has taken.
    pub superseded: u64,
    /// Files that somebody else is at work on.
    pub busy: u64,
    /// Files that could not be removed.
    pub failed: u64,
    /// Why the first of the failed files could not be removed.
    pub first_failure: Option<String>,
    /// Whether the budget ended the sweep while more was due. A caller may
    /// sweep again at once and repeat that until it is false.
    pub more_due: bool,
}

impl SweepReport {
    /// Files that left the list of due files.
    const fn settled(&self) -> u64 {
        self.deleted
            .saturating_add(self.already_gone)
            .saturating_add(self.superseded)
    }

    /// Goes on with what `next`, a later sweep of the same run, did: what left the list
    /// is summed up, what stays due is as the last one saw it.
    pub fn add(&mut self, next: Self) {
        self.considered = self.considered.saturating_add(next.considered);
        self.deleted = self.deleted.saturating_add(next.deleted);
        self.deleted_bytes = self.deleted_bytes.saturating_add(next.deleted_bytes);
        self.already_gone = self.already_gone.saturating_add(next.already_gone);
        self.superseded = self.superseded.saturating_add(next.superseded);
        self.busy = next.busy;
        self.failed = next.failed;
        self.first_failure = next.first_failure;
        self.more_due = next.more_due;
    }

    fn count<E: Display>(&mut self, outcome: Result<Removal, E>) {
        self.considered += 1;
        match outcome {
            Ok(Removal::Deleted { size_bytes }) => {
                self.deleted += 1;
                self.deleted_bytes = self.deleted_bytes.saturating_add(size_bytes);
            }
            Ok(Removal::AlreadyGone) => self.already_gone += 1,
            Ok(Removal::Superseded) => self.superseded += 1,
            Ok(Removal::Busy) => self.busy += 1,
            Err(error) => {
                self.failed += 1;
                self.first_failure.get_or_insert_with(|| error.to_string());
            }
        }
    }
}

/// Considers the files due at `now`, the longest overdue first, each once, until
/// none is left or `budget` of them have left the list of due files.
///
/// A file that fails or is busy costs no budget: however many of them head the
/// list, the files behind them still get their turn (R02). A `budget` of 0
/// removes nothing and merely tells whether something is due.
///
/// # Errors
/// When the shelf cannot list what is due. What had been removed by then is
/// removed; a sweep can be repeated at any time.
pub async fn sweep<S: DueShelf>(
    shelf: &S,
    now: Timestamp,
    budget: usize,
) -> Result<SweepReport, S::Error> {
    let budget = u64::try_from(budget).unwrap_or(u64::MAX);
    let mut report = SweepReport::default();
    let mut after = None;
    loop {
        let page = shelf.due(now, after, SWEEP_PAGE).await?;
        let before = after;
        for (cursor, file) in page {
            // A shelf that repeats itself must not keep us for ever, and one that
            // is wrong about the time must not make us delete early.
            if after.is_some_and(|after| cursor <= after) || !is_expired(cursor.expires_at, now) {
                continue;
            }
            if report.settled() >= budget {
                report.more_due = true;
                return Ok(report);
            }
            after = Some(cursor);
            report.count(shelf.remove(&file, now).await);
        }
        if after == before {
            return Ok(report);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Mutex;

    use proptest::prelude::{
        Just, Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest,
    };

    use super::{DueCursor, DueShelf, Removal, SWEEP_PAGE, SweepReport, Timestamp, sweep};

    const NOW: Timestamp = Timestamp::from_micros(1_000);

    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    enum Fate {
        Goes(Removal),
        Fails,
    }

    const DELETED: Fate = Fate::Goes(Removal::Deleted { size_bytes: 10 });

    /// A shelf in memory that remembers what was tried.
    struct Memory {
        files: Mutex<BTreeMap<DueCursor, Fate>>,
        tried: Mutex<Vec<i64>>,
    }

    impl Memory {
        fn new(files: impl IntoIterator<Item = (i64, i64, Fate)>) -> Self {
            let files = files.into_iter().map(|(expires_us, file_id, fate)| {
                (
                    DueCursor {
                        expires_at: Timestamp::from_micros(expires_us),
                        file_id,
                    },
                    fate,
                )
            });
            Self {
                files: Mutex::new(files.collect()),
                tried: Mutex::default(),
            }
        }

        fn left(&self) -> Vec<i64> {
            self.files
                .lock()
                .unwrap()
                .keys()
                .map(|cursor| cursor.file_id)
                .collect()
        }
    }

    impl DueShelf for Memory {
        type File = DueCursor;
        type Error = String;

        async fn due(
            &self,
            now: Timestamp,
            after: Option<DueCursor>,
            limit: usize,
        ) -> Result<Vec<(DueCursor, DueCursor)>, String> {
            let files = self.files.lock().unwrap();
            let due = files
                .keys()
                .filter(|c| c.expires_at <= now && Some(**c) > after);
            Ok(due.take(limit).map(|c| (*c, *c)).collect())
        }

        async fn remove(&self, file: &DueCursor, _now: Timestamp) -> Result<Removal, String> {
            self.tried.lock().unwrap().push(file.file_id);
            let mut files = self.files.lock().unwrap();
            match files[file] {
                Fate::Fails => Err(format!("file {} is undeletable", file.file_id)),
                Fate::Goes(Removal::Busy) => Ok(Removal::Busy),
                Fate::Goes(removal) => {
                    files.remove(file);
                    Ok(removal)
                }
            }
        }
    }

    #[tokio::test]
    async fn r02_the_first_undeletable_file_does_not_stop_the_others() {
        let shelf = Memory::new([
            (1, 1, Fate::Fails),
            (2, 2, DELETED),
            (3, 3, Fate::Fails),
            (4, 4, DELETED),
        ]);
        let report = sweep(&shelf, NOW, 100).await.unwrap();
        let expected = SweepReport {
            considered: 4,
            deleted: 2,
            deleted_bytes: 20,
            failed: 2,
            first_failure: Some("file 1 is undeletable".to_owned()),
            ..SweepReport::default()
        };
        assert_eq!(report, expected);
        assert_eq!(shelf.left(), [1, 3]);
    }

    #[tokio::test]
    async fn r02_more_undeletable_files_than_the_budget_do_not_starve_the_rest() {
        let failing = (1..=2_000).map(|id| (1, id, Fate::Fails));
        let shelf = Memory::new(failing.chain([(2, 9_001, DELETED), (3, 9_002, DELETED)]));
        let report = sweep(&shelf, NOW, 1).await.unwrap();
        assert_eq!(
            (report.failed, report.deleted, report.more_due),
            (2_000, 1, true)
        );
        let report = sweep(&shelf, NOW, 1).await.unwrap();
        assert_eq!((report.deleted, report.more_due), (1, false));
    }

    #[tokio::test]
    async fn only_files_that_are_due_go_and_the_longest_overdue_goes_first() {
        let due_now = NOW.as_micros();
        let shelf = Memory::new([
            (due_now + 1, 1, DELETED),
            (due_now, 2, DELETED),
            (5, 3, DELETED),
        ]);
        let report = sweep(&shelf, NOW, 100).await.unwrap();
        assert_eq!(*shelf.tried.lock().unwrap(), [3, 2]);
        assert_eq!((shelf.left(), report.more_due), (vec![1], false));
    }

    #[tokio::test]
    async fn every_outcome_is_counted_under_its_name() {
        let fates = [
            DELETED,
            Fate::Goes(Removal::AlreadyGone),
            Fate::Goes(Removal::Superseded),
            Fate::Goes(Removal::Busy),
        ];
        let shelf = Memory::new((1..).zip(fates).map(|(id, fate)| (1, id, fate)));
        let report = sweep(&shelf, NOW, 100).await.unwrap();
        let expected = SweepReport {
            considered: 4,
            deleted: 1,
            deleted_bytes: 10,
            already_gone: 1,
            superseded: 1,
            busy: 1,
            ..SweepReport::default()
        };
        assert_eq!(report, expected);
        assert_eq!(shelf.left(), [4]);
    }

    #[tokio::test]
    async fn the_budget_is_used_to_the_last_file_and_not_beyond() {
        for (files, more_due) in [(9, false), (10, false), (11, true)] {
            let shelf = Memory::new((1..=files).map(|id| (1, id, DELETED)));
            let report = sweep(&shelf, NOW, 10).await.unwrap();
            assert_eq!(
                (report.deleted, report.more_due),
                (u64::try_from(files.min(10)).unwrap(), more_due)
            );
        }
    }

    #[tokio::test]
    async fn a_budget_of_zero_removes_nothing_and_tells_whether_something_is_due() {
        for (files, more_due) in [(0, false), (1, true)] {
            let shelf = Memory::new((1..=files).map(|id| (1, id, DELETED)));
            let report = sweep(&shelf, NOW, 0).await.unwrap();
            assert_eq!(
                report,
                SweepReport {
                    more_due,
                    ..SweepReport::default()
                }
            );
            assert!(shelf.tried.lock().unwrap().is_empty());
        }
    }

    #[tokio::test]
    async fn a_backlog_of_several_pages_goes_in_one_sweep() {
        let page = i64::try_from(SWEEP_PAGE).unwrap();
        for files in [page - 1, page, page + 1, 3 * page + 1] {
            let shelf = Memory::new((1..=files).map(|id| (id % 7, id, DELETED)));
            let report = sweep(&shelf, NOW, usize::MAX).await.unwrap();
            assert_eq!(report.deleted, u64::try_from(files).unwrap());
            assert_eq!(shelf.left(), Vec::<i64>::new());
        }
    }

    /// A shelf that ignores what it is asked and always names the same files.
    struct Stubborn(Vec<DueCursor>);

    impl DueShelf for Stubborn {
        type File = ();
        type Error = String;

        async fn due(
            &self,
            _now: Timestamp,
            _after: Option<DueCursor>,
            _limit: usize,
        ) -> Result<Vec<(DueCursor, ())>, String> {
            Ok(self.0.iter().map(|cursor| (*cursor, ())).collect())
        }

        async fn remove(&self, _file: &(), _now: Timestamp) -> Result<Removal, String> {
            Ok(Removal::Busy)
        }
    }

    #[tokio::test]
    async fn a_shelf_that_repeats_itself_does_not_keep_the_sweep_for_ever() {
        let at = |us, file_id| DueCursor {
            expires_at: Timestamp::from_micros(us),
            file_id,
        };
        let shelf = Stubborn(vec![at(1, 2), at(1, 2), at(1, 1), at(2, 1)]);
        let report = sweep(&shelf, NOW, 100).await.unwrap();
        assert_eq!(report.busy, 2, "files 2 and 1, each once");
    }

    #[tokio::test]
    async fn a_shelf_that_is_wrong_about_the_time_cannot_make_a_file_go_early() {
        let early = DueCursor {
            expires_at: Timestamp::from_micros(NOW.as_micros() + 1),
            file_id: 1,
        };
        let report = sweep(&Stubborn(vec![early]), NOW, 100).await.unwrap();
        assert_eq!(report, SweepReport::default());
    }

    struct Broken;

    impl DueShelf for Broken {
        type File = ();
        type Error = String;

        async fn due(
            &self,
            _now: Timestamp,
            _after: Option<DueCursor>,
            _limit: usize,
        ) -> Result<Vec<(DueCursor, ())>, String> {
            Err("the database is away".to_owned())
        }

        async fn remove(&self, _file: &(), _now: Timestamp) -> Result<Removal, String> {
            Ok(Removal::AlreadyGone)
        }
    }

    #[tokio::test]
    async fn a_ledger_that_cannot_be_read_is_an_error_and_not_an_empty_sweep() {
        assert_eq!(
            sweep(&Broken, NOW, 100).await,
            Err("the database is away".to_owned())
        );
    }

    #[test]
    fn a_sweep_can_be_spawned() {
        const fn sendable<T: Send>(_: &T) {}
        sendable(&sweep(&Broken, NOW, 1));
    }

    fn fate() -> impl Strategy<Value = Fate> {
        prop_oneof![
            any::<u32>().prop_map(|size| Fate::Goes(Removal::Deleted {
                size_bytes: size.into()
            })),
            Just(Fate::Goes(Removal::AlreadyGone)),
            Just(Fate::Goes(Removal::Superseded)),
            Just(Fate::Goes(Removal::Busy)),
            Just(Fate::Fails),
        ]
    }

    proptest! {
        #[test]
        fn sweeping_while_more_is_due_ends_with_everything_gone_that_can_go(
            files in proptest::collection::vec((900..1_100_i64, fate()), 0..600),
            budget in 1..200_usize,
        ) {
            let files: Vec<_> = (1..).zip(files).map(|(id, (expires_us, fate))| (expires_us, id, fate)).collect();
            let shelf = Memory::new(files.clone());
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let mut sweeps = 0;
            loop {
                let report = runtime.block_on(sweep(&shelf, NOW, budget)).unwrap();
                let settled = report.settled();
                prop_assert_eq!(report.considered, settled + report.busy + report.failed);
                prop_assert!(settled <= u64::try_from(budget).unwrap());
                sweeps += 1;
                prop_assert!(sweeps <= files.len() + 1, "every repetition must make progress");
                if !report.more_due {
                    break;
                }
            }
            let mut expected: Vec<_> = files
                .into_iter()
                .filter(|(expires_us, _, fate)| {
                    *expires_us > NOW.as_micros() || matches!(fate, Fate::Fails | Fate::Goes(Removal::Busy))
                })
                .map(|(expires_us, id, _)| (expires_us, id))
                .collect();
            expected.sort_unstable();
            let expected: Vec<i64> = expected.into_iter().map(|(_, id)| id).collect();
            prop_assert_eq!(shelf.left(), expected);
        }
    }
}
