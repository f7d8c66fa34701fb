//! The store on SQLite: one writer, many readers, write-ahead log.

use std::str::FromStr;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};

mod connections;

use connections::{Connections, Lease, WriteTx};

use super::dialect::Words;
use super::{Connect, OpenStoreError, StoreError};
use crate::Fsync;

/// A SELECT whose rows must stay as they are until the transaction ends: here
/// a write transaction has the database alone.
macro_rules! share_locked {
    ($select:literal) => {
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

/// How long a statement waits for another process' write.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a task waits for the writer; longer than [`BUSY_TIMEOUT`], so that
/// the error says which of the two it was.
const WRITER_TIMEOUT: Duration = Duration::from_secs(15);

/// Connections that read.
const READERS: u32 = 4;

/// The write-ahead log is cut back to this size after a checkpoint, in bytes.
const JOURNAL_SIZE_LIMIT: &str = "67108864";

/// Why there is no connection: whoever waited in vain waited for the writer.
fn fault(source: sqlx::Error) -> StoreError {
    source.into()
}

pub(super) async fn connect(how: &Connect) -> Result<Engine, OpenStoreError> {
    let synchronous = match how.fsync {
        Fsync::Always => SqliteSynchronous::Full,
        Fsync::Never => SqliteSynchronous::Off,
    };
    let options = SqliteConnectOptions::from_str(&how.url)
        .map_err(|source| OpenStoreError::Url { source })?
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(synchronous)
        .foreign_keys(true)
        .busy_timeout(BUSY_TIMEOUT)
        .pragma("journal_size_limit", JOURNAL_SIZE_LIMIT);
    let writer = Connections::new(options.clone(), 1, WRITER_TIMEOUT);
    let reader = Connections::new(options, READERS, WRITER_TIMEOUT);
    let words = Words {
        identity: "INTEGER PRIMARY KEY AUTOINCREMENT",
        bytes: "BLOB",
    };
    Engine::open(writer, reader, &words).await
}
