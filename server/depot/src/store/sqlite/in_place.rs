//! Short work on SQLite in the thread that asks for it.
//!
//! sqlx runs each connection in a thread of its own. Two changes of thread take
//! longer than most statements, and a partner that puts many small files waits
//! for each of them. So what is asked for most is done here first, with a
//! connection of our own, as long as the database answers at once (`pace.rs`),
//! nobody else is writing, and a commit does not wait for the disk.
//!
//! Nothing rests on it: whatever does not go smoothly here is rolled back and
//! done again in the ordinary way, which waits, and says what is wrong.

use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, OpenFlags, Statement, ToSql};
use sqlx::sqlite::SqliteConnectOptions;

use crate::Fsync;
use crate::pace::{MAX_DATABASE_IN_PLACE, Pace};
use crate::store::steps::{INSERTED, Step, Value};

/// Statements kept prepared.
const STATEMENTS: usize = 32;

/// What became of a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Done {
    /// It was kept; with the number of the row that it inserted, if it says so.
    Kept(Option<i64>),
    /// A step that must change one row did not: nothing was done.
    Refused,
}

/// A connection that is used where its caller runs. One at a time.
#[derive(Debug)]
pub(super) struct InPlace {
    options: SqliteConnectOptions,
    fsync: Fsync,
    pace: Pace,
    /// Opened when it is first used.
    conn: Mutex<Option<Connection>>,
}

impl InPlace {
    /// `threads`: how many serve sessions.
    pub(super) fn new(options: SqliteConnectOptions, fsync: Fsync, threads: usize) -> Self {
        let spared = threads > MAX_DATABASE_IN_PLACE + 1;
        Self {
            options,
            fsync,
            pace: Pace::new(spared, MAX_DATABASE_IN_PLACE),
            conn: Mutex::default(),
        }
    }

    /// Does all steps as one transaction; `None` when that is to be done, or
    /// tried again, in the ordinary way. The caller has the writer's turn.
    pub(super) fn script(&self, steps: &[Step]) -> Option<Done> {
        if self.fsync == Fsync::Always {
            return None;
        }
        self.with(|conn| {
            conn.prepare_cached(super::BEGIN_WRITE)?.execute([])?;
            let done = all(conn, steps);
            let end = match done {
                Ok(Done::Kept(_)) => "COMMIT",
                Ok(Done::Refused) | Err(_) => "ROLLBACK",
            };
            let ended = conn.prepare_cached(end)?.execute([]);
            done.and_then(|done| ended.map(|_| done))
        })
    }

    /// The rows that a statement finds; `None` as in [`InPlace::script`].
    pub(super) fn rows<T>(&self, step: &Step) -> Option<Vec<T>>
    where
        T: for<'a> TryFrom<&'a rusqlite::Row<'a>, Error = rusqlite::Error>,
    {
        self.with(|conn| {
            let mut statement = conn.prepare_cached(step.sql)?;
            bind(&mut statement, &step.values)?;
            let rows = statement.raw_query().and_then(|row| T::try_from(row));
            rows.collect()
        })
    }

    /// Closes the connection; the next use opens it again.
    pub(super) fn close(&self) {
        *self.slot() = None;
    }

    fn with<T>(&self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Option<T> {
        let _turn = self.pace.in_place()?;
        let mut slot = self.slot();
        let conn = match &mut *slot {
            Some(conn) => conn,
            empty => empty.insert(self.open().ok()?),
        };
        match self.pace.watch(|| work(conn)) {
            Ok(out) => Some(out),
            Err(error) => {
                tracing::debug!(
                    error = &error as &dyn std::error::Error,
                    "not in place: the database is asked in the ordinary way"
                );
                // A transaction that could not be ended ends with it.
                if !conn.is_autocommit() {
                    *slot = None;
                }
                None
            }
        }
    }

    fn open(&self) -> rusqlite::Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let conn = Connection::open_with_flags(self.options.get_filename(), flags)?;
        // Whoever would have to wait goes the ordinary way.
        conn.busy_timeout(std::time::Duration::ZERO)?;
        conn.set_prepared_statement_cache_capacity(STATEMENTS);
        conn.pragma_update(None, "foreign_keys", true)?;
        conn.pragma_update(None, "synchronous", "OFF")?;
        conn.pragma_update(None, "journal_size_limit", super::JOURNAL_SIZE_LIMIT)?;
        Ok(conn)
    }

    fn slot(&self) -> MutexGuard<'_, Option<Connection>> {
        // Whoever panicked left a connection whose state nobody knows.
        self.conn.lock().unwrap_or_else(|poisoned| {
            let mut slot = PoisonError::into_inner(poisoned);
            *slot = None;
            slot
        })
    }
}

fn all(conn: &Connection, steps: &[Step]) -> rusqlite::Result<Done> {
    let mut inserted = None;
    for step in steps {
        let mut statement = conn.prepare_cached(step.sql)?;
        let returned = statement.column_index(INSERTED).ok();
        bind(&mut statement, &step.values)?;
        let mut rows = statement.raw_query();
        while let Some(row) = rows.next()? {
            if let Some(column) = returned {
                inserted = Some(row.get(column)?);
            }
        }
        if step.must_change && conn.changes() != 1 {
            return Ok(Done::Refused);
        }
    }
    Ok(Done::Kept(inserted))
}

/// To SQLite `$1` is a name, and it numbers names in the order in which they come.
fn bind(statement: &mut Statement<'_>, values: &[Value]) -> rusqlite::Result<()> {
    for index in 1..=statement.parameter_count() {
        let number = statement.parameter_name(index);
        let number = number.and_then(|name| name.strip_prefix('$')?.parse::<usize>().ok());
        let value = number.and_then(|number| values.get(number.checked_sub(1)?));
        let value = value.ok_or(rusqlite::Error::InvalidParameterCount(index, values.len()))?;
        statement.raw_bind_parameter(index, value)?;
    }
    Ok(())
}

impl ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Int(Some(value)) => ValueRef::Integer(*value),
            Self::Text(Some(value)) => ValueRef::Text(value.as_bytes()),
            Self::Bytes(Some(value)) => ValueRef::Blob(value),
            Self::Int(None) | Self::Text(None) | Self::Bytes(None) => ValueRef::Null,
        }))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const THREADS: usize = 4;

    struct World {
        other: Connection,
        in_place: InPlace,
        _dir: tempfile::TempDir,
    }

    impl World {
        fn new(fsync: Fsync, threads: usize) -> World {
            let dir = tempfile::tempdir().unwrap();
            let file = dir.path().join("db");
            let other = Connection::open(&file).unwrap();
            other.busy_timeout(std::time::Duration::ZERO).unwrap();
            other.pragma_update(None, "journal_mode", "WAL").unwrap();
            other
                .execute_batch("CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT, b BLOB)")
                .unwrap();
            World {
                other,
                in_place: InPlace::new(options(&file), fsync, threads),
                _dir: dir,
            }
        }

        fn count(&self) -> i64 {
            let count = "SELECT COUNT(*) FROM t";
            self.other.query_row(count, [], |row| row.get(0)).unwrap()
        }
    }

    fn options(file: &Path) -> SqliteConnectOptions {
        SqliteConnectOptions::new().filename(file)
    }

    fn insert(text: &str) -> Step {
        let sql = "INSERT INTO t (a, b) VALUES ($2, $1) RETURNING id AS inserted_id";
        Step::new(sql, [vec![0_u8, 255].into(), text.into()])
    }

    fn change(text: &str) -> Step {
        Step::new("UPDATE t SET a = 'y' WHERE a = $1", [text.into()]).must_change()
    }

    #[test]
    fn a_script_is_kept_whole_or_not_at_all() {
        let world = World::new(Fsync::Never, THREADS);
        let kept = world.in_place.script(&[insert("x"), change("x")]);
        assert_eq!(kept, Some(Done::Kept(Some(1))));
        assert_eq!(world.count(), 1);
        let refused = world.in_place.script(&[insert("z"), change("x")]);
        assert_eq!(refused, Some(Done::Refused));
        assert_eq!(world.count(), 1);
        let two = [insert("x"), insert("x"), change("x")];
        assert_eq!(world.in_place.script(&two), Some(Done::Refused));
        assert_eq!(world.count(), 1);
        // One that only changes returns no number, and what was changed is seen.
        assert_eq!(
            world.in_place.script(&[change("y")]),
            Some(Done::Kept(None))
        );
        let all = Step::new("SELECT id, a, b FROM t WHERE a = $1", ["y".into()]);
        let rows: Vec<(i64, String, Vec<u8>)> = world.in_place.rows(&all).unwrap();
        assert_eq!(rows, [(1, "y".to_owned(), vec![0, 255])]);
    }

    #[test]
    fn what_fails_is_left_to_the_ordinary_way_and_holds_nothing() {
        let world = World::new(Fsync::Never, THREADS);
        let broken = Step::new("INSERT INTO nowhere VALUES (1)", []);
        assert_eq!(world.in_place.script(&[insert("x"), broken]), None);
        assert_eq!(world.count(), 0);
        world
            .other
            .execute_batch("INSERT INTO t (a) VALUES ('free')")
            .unwrap();
        let rows: Option<Vec<(i64,)>> = world.in_place.rows(&Step::new("SELECT x FROM t", []));
        assert_eq!(rows, None);
        assert!(world.in_place.script(&[insert("x")]).is_some());
    }

    #[test]
    fn nobody_waits_here_for_another_writer() {
        let world = World::new(Fsync::Never, THREADS);
        world.other.execute_batch("BEGIN IMMEDIATE").unwrap();
        let watch = crate::timer::Stopwatch::start();
        assert_eq!(world.in_place.script(&[insert("x")]), None);
        assert!(watch.elapsed() < super::super::BUSY_TIMEOUT / 2);
        world.other.execute_batch("COMMIT").unwrap();
        assert!(world.in_place.script(&[insert("x")]).is_some());
    }

    #[test]
    fn a_commit_that_waits_for_the_disk_is_not_done_here() {
        let world = World::new(Fsync::Always, THREADS);
        assert_eq!(world.in_place.script(&[insert("x")]), None);
        let none = world
            .in_place
            .rows::<(i64,)>(&Step::new("SELECT id FROM t", []));
        assert_eq!(none, Some(Vec::new()));
    }

    #[test]
    fn without_threads_to_spare_nothing_is_done_here() {
        for (threads, expected) in [(1, None), (2, None), (3, Some(Done::Kept(Some(1))))] {
            let world = World::new(Fsync::Never, threads);
            assert_eq!(world.in_place.script(&[insert("x")]), expected, "{threads}");
        }
    }

    #[test]
    fn a_closed_connection_is_opened_again() {
        let world = World::new(Fsync::Never, THREADS);
        assert!(world.in_place.script(&[insert("x")]).is_some());
        world.in_place.close();
        assert!(world.in_place.script(&[insert("x")]).is_some());
        assert_eq!(world.count(), 2);
    }
}
