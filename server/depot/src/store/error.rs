//! What can go wrong with the database, named by who can act.

/// A fault of the database or of its content.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// One fault that several were told of.
    #[error(transparent)]
    Shared(std::sync::Arc<StoreError>),
    /// Another writer held the database, or the row, for too long.
    #[error("the database is busy: another process has been writing for too long")]
    Busy {
        /// What the engine said.
        source: sqlx::Error,
    },
    /// It cannot be reached, or did not answer in time.
    #[error("the database cannot be reached, or does not answer in time")]
    Unreachable {
        /// What the engine said.
        source: sqlx::Error,
    },
    /// The disk below it is full or cannot be written.
    #[error("the database cannot be written (is its disk full or read-only?)")]
    NotWritable {
        /// What the engine said.
        source: sqlx::Error,
    },
    /// A statement failed: ours to mend.
    #[error("a database statement failed")]
    Statement {
        /// What the engine said.
        source: sqlx::Error,
    },
    /// A hash chain is not the one that was signed: somebody changed the database.
    #[error("the hash chain of the {chain} is not the one that was signed: {what}")]
    Altered {
        /// Which chain.
        chain: layover_retention::ChainName,
        /// What does not fit.
        what: String,
    },
    /// A row says what we never write.
    #[error("the database is damaged: {table} row {id}: bad {what}")]
    Corrupt {
        /// The table.
        table: &'static str,
        /// The row.
        id: i64,
        /// What cannot be read.
        what: &'static str,
    },
}

/// SQLite's primary result codes (https://www.sqlite.org/rescode.html).
const SQLITE_BUSY: i64 = 5;
const SQLITE_LOCKED: i64 = 6;
const SQLITE_READONLY: i64 = 8;
const SQLITE_IOERR: i64 = 10;
const SQLITE_FULL: i64 = 13;
const SQLITE_CANTOPEN: i64 = 14;

impl From<sqlx::Error> for StoreError {
    fn from(source: sqlx::Error) -> Self {
        match &source {
            sqlx::Error::PoolTimedOut | sqlx::Error::BeginFailed => Self::Busy { source },
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed
            | sqlx::Error::Configuration(_) => Self::Unreachable { source },
            sqlx::Error::Database(fault) => {
                let code = fault.code();
                match code.as_deref() {
                    // PostgreSQL (Appendix A): serialization failure, deadlock,
                    // lock not available, statement cancelled by its time limit.
                    Some("40001" | "40P01" | "55P03" | "57014") => Self::Busy { source },
                    Some("53100" | "25006") => Self::NotWritable { source },
                    Some(code) if code.len() == 5 && is_connection_class(code) => {
                        Self::Unreachable { source }
                    }
                    // SQLite: a decimal number, the primary code in its low byte.
                    Some(code) => match code.parse::<i64>().map(|code| code & 0xff) {
                        Ok(SQLITE_BUSY | SQLITE_LOCKED) => Self::Busy { source },
                        Ok(SQLITE_READONLY | SQLITE_IOERR | SQLITE_FULL) => {
                            Self::NotWritable { source }
                        }
                        Ok(SQLITE_CANTOPEN) => Self::Unreachable { source },
                        _ => Self::Statement { source },
                    },
                    None => Self::Statement { source },
                }
            }
            _ => Self::Statement { source },
        }
    }
}

impl StoreError {
    /// PostgreSQL broke a transaction off, because it and another waited for each other or
    /// had seen different states: nothing of it was done, and it may be tried again.
    pub(crate) fn is_broken_off(&self) -> bool {
        match self {
            Self::Busy {
                source: sqlx::Error::Database(fault),
            } => matches!(fault.code().as_deref(), Some("40001" | "40P01")),
            _ => false,
        }
    }
}

/// Connection exception, insufficient resources, operator intervention.
fn is_connection_class(sqlstate: &str) -> bool {
    ["08", "53", "57"]
        .iter()
        .any(|class| sqlstate.starts_with(class))
}
