//! The store on SQLite: one writer, many readers, write-ahead log.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use futures_util::TryStreamExt as _;
use sqlx::migrate::Migrator;
use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, Row as _, Sqlite};

mod connections;
mod in_place;

use connections::{Connections, Lease, WriteTx};
use in_place::Done;

use super::dialect::Words;
use super::steps::{self, Step, Value};
use super::{Connect, Missing, OnLoan as _, OpenStoreError, StoreError};
use crate::{Fsync, data_dir, timer};

/// A SELECT whose rows must stay as they are until the transaction ends: here
/// a write transaction has the database alone.
macro_rules! share_locked {
    ($select:literal) => {
        $select
    };
}

/// A SELECT whose rows nobody else may lock so until the transaction ends: likewise.
macro_rules! row_locked {
    ($select:literal) => {
        $select
    };
}

/// A SELECT whose rows nobody else may take until the transaction ends: likewise.
macro_rules! skip_locked {
    ($select:literal, $of:literal) => {
        $select
    };
}

#[expect(
    clippy::duplicate_mod,
    reason = "one body of SQL, compiled once for each engine"
)]
#[path = "body/engine.rs"]
mod body;

pub(super) use body::Engine;

type Conn = sqlx::SqliteConnection;
type Pool = Connections;
type Transaction = WriteTx;

/// A write transaction takes the one write lock at its start, so that it never
/// fails half-way for having read first.
const BEGIN_WRITE: &str = "BEGIN IMMEDIATE";

/// How many tables tell that a schema was set up here.
const SCHEMA_TABLES: &str =
    "SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = '_sqlx_migrations'";

/// What a table has: names and types.
const COLUMNS_OF: &str = "SELECT name, type FROM pragma_table_info($1)";

/// Our tables.
const TABLES_THERE: &str = "SELECT name FROM sqlite_master WHERE type = 'table' \
     AND name NOT LIKE 'sqlite_%' AND name <> '_sqlx_migrations'";

/// Lets a row bring its own number: always so here.
const OVERRIDING: &str = "";

/// A transaction that sees one state of the database.
const BEGIN_SNAPSHOT: &str = "BEGIN";

/// SQLite's clock is ours.
const DATABASE_TIME: Option<&str> = None;

/// What must be said at its beginning.
const SNAPSHOT_SETTINGS: &[&str] = &[];

/// AUTOINCREMENT goes on behind the greatest number by itself.
const fn settle_numbers_of(_: &str) -> Option<String> {
    None
}

/// How long a statement waits for another process' write.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// How soon a busy database is tried again where SQLite itself does not wait.
const BUSY_RETRY: Duration = Duration::from_millis(10);

/// How long a task waits for the writer; longer than [`BUSY_TIMEOUT`], so that
/// the error says which of the two it was.
const WRITER_TIMEOUT: Duration = Duration::from_secs(15);

/// When an entry is older than this, every entry with a smaller number is there:
/// there is one writer, and numbers are given in its order.
const SETTLED_AFTER: Duration = Duration::ZERO;

/// Connections that read.
const READERS: u32 = 4;

/// The write-ahead log is cut back to this size after a checkpoint, in bytes.
const JOURNAL_SIZE_LIMIT: &str = "67108864";

/// Does all steps as one transaction, in one go; false when a step that must
/// change a row did not, and nothing was done.
async fn at_once(writer: &Pool, steps: Vec<Step>) -> Result<bool, StoreError> {
    if let Some(done) = writer.script_in_place(&steps) {
        return Ok(done != Done::Refused);
    }
    let text = steps::joined_transaction(BEGIN_WRITE, &steps);
    let mut transaction = writer.loan_for_transaction().await?;
    let done = transaction.conn()?.execute(bound(text, steps)).await;
    match done {
        Ok(_) => {
            transaction.note_commit();
            Ok(true)
        }
        Err(sqlx::Error::Database(fault)) if fault.message() == steps::CHECK_FAILED => {
            transaction.rollback().await?;
            Ok(false)
        }
        Err(error) => Err(error.into()),
    }
}

/// The same; the number of the row that was inserted, as `inserted_id`.
async fn insert_at_once(writer: &Pool, steps: Vec<Step>) -> Result<Option<i64>, StoreError> {
    match writer.script_in_place(&steps) {
        Some(Done::Kept(id)) => return Ok(id),
        Some(Done::Refused) => return Ok(None),
        None => {}
    }
    let text = steps::joined_transaction(BEGIN_WRITE, &steps);
    let mut transaction = writer.loan_for_transaction().await?;
    match inserted(transaction.conn()?, bound(text, steps)).await {
        Ok(id) => {
            transaction.note_commit();
            Ok(id)
        }
        Err(sqlx::Error::Database(fault)) if fault.message() == steps::CHECK_FAILED => {
            transaction.rollback().await?;
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

/// The rows that a statement finds, when that can be seen in place.
fn rows_in_place<T>(writer: &Pool, step: &Step) -> Option<Vec<T>>
where
    T: for<'a> TryFrom<&'a rusqlite::Row<'a>, Error = rusqlite::Error>,
{
    writer.rows_in_place(step)
}

/// Runs everything, and keeps what its one RETURNING says.
async fn inserted(
    conn: &mut Conn,
    query: Query<'static, Sqlite, SqliteArguments>,
) -> Result<Option<i64>, sqlx::Error> {
    let mut id = None;
    let mut results = conn.fetch_many(query);
    while let Some(result) = results.try_next().await? {
        if let Some(row) = result.right()
            && let Ok(found) = row.try_get(steps::INSERTED)
        {
            id = Some(found);
        }
    }
    Ok(id)
}

/// Does all steps in one go; how many rows each has changed.
async fn run(conn: &mut Conn, steps: Vec<Step>) -> Result<Vec<u64>, StoreError> {
    let text = steps::joined(&steps);
    let mut results = conn.fetch_many(bound(text, steps));
    let mut changed = Vec::new();
    while let Some(result) = results.try_next().await? {
        changed.extend(result.left().map(|done| done.rows_affected()));
    }
    Ok(changed)
}

/// The text with the steps' values.
fn bound(text: String, steps: Vec<Step>) -> Query<'static, Sqlite, SqliteArguments> {
    let values = steps.into_iter().flat_map(|step| step.values);
    values.fold(
        sqlx::query(AssertSqlSafe(text)),
        |query, value| match value {
            Value::Int(value) => query.bind(value),
            Value::Text(value) => query.bind(value),
            Value::Bytes(value) => query.bind(value),
        },
    )
}

/// Why there is no connection: whoever waited in vain waited for the writer.
fn fault(source: sqlx::Error) -> StoreError {
    source.into()
}

/// Opens the database for writing. While another process switches a fresh one
/// to the write-ahead log, SQLite says "busy" without having waited; we wait.
async fn writer(options: &SqliteConnectOptions, fsync: Fsync) -> Result<Pool, OpenStoreError> {
    let waiting = timer::Stopwatch::start();
    let writer = Connections::in_place(options.clone(), fsync, WRITER_TIMEOUT);
    loop {
        match writer.acquire().await.map_err(fault) {
            Ok(_) => return Ok(writer),
            Err(StoreError::Busy { .. }) if waiting.elapsed() < BUSY_TIMEOUT => {
                timer::sleep(BUSY_RETRY).await;
            }
            Err(source) => return Err(OpenStoreError::Connect { source }),
        }
    }
}

/// All steps in one write transaction: SQLite has no lock around migrations, and
/// of two processes that open a fresh database at once one would trip over the
/// other.
async fn migrate(writer: &Pool, migrator: &Migrator) -> Result<(), OpenStoreError> {
    let refused = |source| OpenStoreError::Connect {
        source: fault(source),
    };
    let mut lease = writer.acquire().await.map_err(refused)?;
    // sqlx's own transaction: the migrator begins others within it.
    let begun = lease.conn().map_err(refused)?.begin_with(BEGIN_WRITE);
    let mut steps = begun.await.map_err(refused)?;
    migrator.run_direct(None, &mut *steps, false).await?;
    steps.commit().await.map_err(refused)
}

/// The file that a URL names, or leads to.
pub(super) fn file(url: &str) -> Option<PathBuf> {
    let options = SqliteConnectOptions::from_str(url).ok()?;
    Some(data_dir::behind_links(options.get_filename()))
}

/// What a link leads to is made, and its folder is not: SQLite's word for it, "unable to open",
/// would say neither.
fn check_folder(named: &Path, file: &Path) -> Result<(), OpenStoreError> {
    match file.parent() {
        Some(folder) if named.is_symlink() && !folder.is_dir() => {
            Err(OpenStoreError::DanglingLink {
                link: named.to_owned(),
                target: file.to_owned(),
                folder: folder.to_owned(),
            })
        }
        _ => Ok(()),
    }
}

pub(super) async fn connect(how: &Connect) -> Result<Engine, OpenStoreError> {
    let synchronous = match how.fsync {
        Fsync::Always => SqliteSynchronous::Full,
        Fsync::Never => SqliteSynchronous::Off,
    };
    let options = SqliteConnectOptions::from_str(&how.url)
        .map_err(|source| OpenStoreError::Url { source })?
        .create_if_missing(how.missing != Missing::Refuse)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(synchronous)
        .foreign_keys(true)
        .busy_timeout(BUSY_TIMEOUT)
        .pragma("journal_size_limit", JOURNAL_SIZE_LIMIT);
    let file = data_dir::behind_links(options.get_filename());
    check_folder(options.get_filename(), &file)?;
    let absent = || OpenStoreError::Absent {
        file: Some(file.clone()),
    };
    if how.missing == Missing::Refuse && data_dir::is_missing(&file) {
        return Err(absent());
    }
    if how.missing != Missing::Refuse {
        data_dir::make_private_file(&file);
    }
    let writer = writer(&options, how.fsync).await?;
    let reader = Connections::new(options, READERS, WRITER_TIMEOUT);
    let words = Words {
        identity: "INTEGER PRIMARY KEY AUTOINCREMENT",
        bytes: "BLOB",
        // https://www.sqlite.org/withoutrowid.html
        keyonly: "WITHOUT ROWID",
    };
    let engine = Engine { writer, reader };
    match how.missing {
        Missing::Make => return engine.bring_up_to_date(&words).await,
        Missing::MakeUpTo(step) => return engine.make_up_to(SCHEMA_TABLES, &words, step).await,
        Missing::Refuse => {}
    }
    let taken = match engine.is_set_up(SCHEMA_TABLES).await {
        Ok(true) => engine.refuse_other_steps().await,
        Ok(false) => Err(absent()),
        Err(fault) => Err(fault),
    };
    match taken {
        Ok(()) => Ok(engine),
        Err(fault) => {
            engine.close().await;
            Err(fault)
        }
    }
}
