//! The store on PostgreSQL: one pool; rows are locked where SQLite would lock
//! the database.

use std::str::FromStr;
use std::time::Duration;

use sqlx::migrate::Migrator;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgArguments, PgConnectOptions, PgPoolOptions};
use sqlx::query::Query;
use sqlx::{ConnectOptions, Connection, Postgres, Row as _};

use super::dialect::Words;
use super::steps::{self, Step, Value};
use super::{Connect, Missing, OnLoan, OpenStoreError, StoreError};
use crate::{Fsync, timer};

/// A SELECT whose rows must stay as they are until the transaction ends.
macro_rules! share_locked {
    ($select:literal) => {
        concat!($select, " FOR SHARE")
    };
}

/// A SELECT whose rows nobody else may lock so until the transaction ends;
/// rows that refer to them can be added meanwhile.
macro_rules! row_locked {
    ($select:literal) => {
        concat!($select, " FOR NO KEY UPDATE")
    };
}

/// A SELECT whose rows of one table nobody else may take until the transaction ends;
/// those that somebody else has taken are left out.
macro_rules! skip_locked {
    ($select:literal, $of:literal) => {
        concat!($select, " FOR UPDATE OF ", $of, " SKIP LOCKED")
    };
}

#[expect(
    clippy::duplicate_mod,
    reason = "one body of SQL, compiled once for each engine"
)]
#[path = "body/engine.rs"]
mod body;

pub(super) use body::Engine;

type Conn = sqlx::PgConnection;
type Pool = sqlx::PgPool;
type Lease = PoolConnection<Postgres>;
type Transaction = sqlx::Transaction<'static, Postgres>;

/// A write transaction begins like any other; rows are locked one by one.
const BEGIN_WRITE: &str = "BEGIN";

/// How many tables tell that a schema was set up here.
const SCHEMA_TABLES: &str =
    "SELECT COUNT(*) FROM pg_catalog.pg_class WHERE oid = to_regclass('_sqlx_migrations')";

/// What a table has: names and types.
const COLUMNS_OF: &str = "SELECT CAST(column_name AS TEXT), CAST(data_type AS TEXT) \
     FROM information_schema.columns WHERE table_schema = current_schema() AND table_name = $1 \
     ORDER BY ordinal_position";

/// Our tables.
const TABLES_THERE: &str = "SELECT CAST(table_name AS TEXT) FROM information_schema.tables \
     WHERE table_schema = current_schema() AND table_type = 'BASE TABLE' \
     AND table_name <> '_sqlx_migrations'";

/// Lets a row bring its own number.
const OVERRIDING: &str = "OVERRIDING SYSTEM VALUE";

/// A transaction that sees one state of the database.
const BEGIN_SNAPSHOT: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// What time it is there, in microseconds; not that of the transaction's beginning.
const DATABASE_TIME: Option<&str> =
    Some("SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)");

/// What must be said at its beginning: whoever writes a backup is slow.
const SNAPSHOT_SETTINGS: &[&str] = &["SET LOCAL statement_timeout = 0"];

/// Numbers go on behind the greatest that is there.
#[expect(clippy::unnecessary_wraps, reason = "SQLite needs nothing of the kind")]
fn settle_numbers_of(table: &str) -> Option<String> {
    Some(format!(
        "SELECT setval(pg_get_serial_sequence('{table}', 'id'), GREATEST(MAX(id), 1), \
         MAX(id) IS NOT NULL) FROM {table}"
    ))
}

/// Connections of one node; PostgreSQL allows 100 in all by default.
pub(super) const CONNECTIONS: u32 = 16;

/// How long a task waits for a connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(15);

/// A connection that was in use so recently is taken to be alive: on a loaded server each
/// question is one more wait for the answer, by those who wait for the connection, too.
const TRUSTED_FOR: Duration = Duration::from_millis(500);

/// How long a statement waits for a row, in milliseconds.
const LOCK_TIMEOUT_MS: &str = "5000";

/// How long a statement may run, in milliseconds; the sums over the ledger are
/// the longest.
const STATEMENT_TIMEOUT_MS: &str = "60000";

/// When an entry is older than this, every entry with a smaller number is there,
/// or never will be: a transaction of ours has a few statements, each of which
/// ends within [`STATEMENT_TIMEOUT_MS`].
const SETTLED_AFTER: Duration = Duration::from_secs(300);

/// Why there is no connection: whoever waited in vain had no server, or one
/// that does not answer.
fn fault(source: sqlx::Error) -> StoreError {
    match source {
        sqlx::Error::PoolTimedOut => StoreError::Unreachable { source },
        source => source.into(),
    }
}

/// Does all steps as one transaction; false when a step that must change a row
/// did not, and nothing was done.
async fn at_once(writer: &Pool, steps: Vec<Step>) -> Result<bool, StoreError> {
    let mut transaction = writer.begin().await.map_err(fault)?;
    for step in steps {
        let must_change = step.must_change;
        let rows = bound(step)
            .execute(&mut *transaction)
            .await?
            .rows_affected();
        // What follows may rest on it, and would fail instead of being refused.
        if must_change && rows != 1 {
            transaction.rollback().await?;
            return Ok(false);
        }
    }
    transaction.commit().await?;
    Ok(true)
}

/// The same; the number of the row that was inserted, as `inserted_id`.
async fn insert_at_once(writer: &Pool, steps: Vec<Step>) -> Result<Option<i64>, StoreError> {
    let mut transaction = writer.begin().await.map_err(fault)?;
    let mut id = None;
    for step in steps {
        let must_change = step.must_change;
        let query = bound(step);
        if must_change {
            if query.execute(&mut *transaction).await?.rows_affected() != 1 {
                transaction.rollback().await?;
                return Ok(None);
            }
        } else if let Some(row) = query.fetch_optional(&mut *transaction).await? {
            id = Some(row.try_get(steps::INSERTED)?);
        }
    }
    transaction.commit().await?;
    Ok(id)
}

/// PostgreSQL is always elsewhere.
fn rows_in_place<T>(_: &Pool, _: &Step) -> Option<Vec<T>> {
    None
}

/// A step with its values.
fn bound(step: Step) -> Query<'static, Postgres, PgArguments> {
    let values = step.values.into_iter();
    values.fold(sqlx::query(step.sql), |query, value| match value {
        Value::Int(value) => query.bind(value),
        Value::Text(value) => query.bind(value),
        Value::Bytes(value) => query.bind(value),
    })
}

/// Does one step after the other; how many rows each has changed.
async fn run(conn: &mut Conn, steps: Vec<Step>) -> Result<Vec<u64>, StoreError> {
    let mut changed = Vec::with_capacity(steps.len());
    for step in steps {
        changed.push(bound(step).execute(&mut *conn).await?.rows_affected());
    }
    Ok(changed)
}

// The pool asks each connection whether it is alive: when it comes back, and before it lends
// one that was idle for a while.
impl OnLoan for Lease {
    type Conn = Conn;

    fn conn(&mut self) -> Result<&mut Conn, sqlx::Error> {
        Ok(&mut *self)
    }

    fn close_if_gone(&mut self, _error: &StoreError) {}
}

impl OnLoan for Transaction {
    type Conn = Conn;

    fn conn(&mut self) -> Result<&mut Conn, sqlx::Error> {
        Ok(&mut *self)
    }

    fn close_if_gone(&mut self, _error: &StoreError) {}
}

/// The migrator takes a lock of its own: other nodes wait.
async fn migrate(writer: &Pool, migrator: &Migrator) -> Result<(), OpenStoreError> {
    Ok(migrator.run(writer).await?)
}

pub(super) async fn connect(how: &Connect) -> Result<Engine, OpenStoreError> {
    let mut settings = vec![
        ("lock_timeout", LOCK_TIMEOUT_MS),
        ("statement_timeout", STATEMENT_TIMEOUT_MS),
    ];
    if how.fsync == Fsync::Never {
        settings.push(("synchronous_commit", "off"));
    }
    let options = PgConnectOptions::from_str(&how.url)
        .map_err(|source| OpenStoreError::Url { source })?
        .application_name("layover")
        .options(settings);
    // A pool repeats a refused connection until its time is up and then says
    // only that; one connection of our own says at once what is wrong.
    let refused = |source| OpenStoreError::Connect {
        source: fault(source),
    };
    timer::timeout(ACQUIRE_TIMEOUT, options.connect())
        .await
        .unwrap_or(Err(sqlx::Error::PoolTimedOut))
        .map_err(refused)?
        .close()
        .await
        .map_err(refused)?;
    let pool = PgPoolOptions::new()
        .max_connections(CONNECTIONS)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .test_before_acquire(false)
        .before_acquire(|conn, meta| {
            Box::pin(async move {
                if meta.idle_for >= TRUSTED_FOR {
                    conn.ping().await?;
                }
                Ok(true)
            })
        })
        .connect_with(options)
        .await
        .map_err(refused)?;
    let words = Words {
        identity: "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
        bytes: "BYTEA",
        keyonly: "",
    };
    let engine = Engine {
        writer: pool.clone(),
        reader: pool,
    };
    match how.missing {
        Missing::Make => return engine.bring_up_to_date(&words).await,
        Missing::MakeUpTo(step) => return engine.make_up_to(SCHEMA_TABLES, &words, step).await,
        Missing::Refuse => {}
    }
    let taken = match engine.is_set_up(SCHEMA_TABLES).await {
        Ok(true) => engine.refuse_other_steps().await,
        Ok(false) => Err(OpenStoreError::Absent { file: None }),
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
