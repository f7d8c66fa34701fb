//! A few connections to one SQLite file, kept open.
//!
//! sqlx's own pool asks each connection whether it is alive when it is taken
//! and when it is given back. SQLite runs in a thread of this process, so it
//! is; and each question costs two changes of thread, as much as a statement.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use std::{io, mem};

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection, Executor};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::in_place::{Done, InPlace};
use crate::store::steps::Step;
use crate::store::{OnLoan, StoreError};
use crate::{Fsync, data_dir, timer};

/// Connections that take turns. Clones are the same ones.
#[derive(Clone, Debug)]
pub(in crate::store) struct Connections {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    options: SqliteConnectOptions,
    /// Open, and nobody uses them.
    free: Mutex<Vec<SqliteConnection>>,
    /// Which file is open.
    opened: OnceLock<(u64, u64)>,
    turns: Arc<Semaphore>,
    count: u32,
    wait: Duration,
    /// For what is done where it is asked for.
    in_place: Option<InPlace>,
}

impl Connections {
    /// At most `count` connections, opened when they are needed; whoever waits
    /// for one waits at most `wait`.
    pub(super) fn new(options: SqliteConnectOptions, count: u32, wait: Duration) -> Self {
        Self::with(options, count, wait, None)
    }

    /// One, whose short work may be done where it is asked for.
    pub(super) fn in_place(options: SqliteConnectOptions, fsync: Fsync, wait: Duration) -> Self {
        let threads = tokio::runtime::Handle::try_current()
            .map_or(1, |runtime| runtime.metrics().num_workers());
        let in_place = InPlace::new(options.clone(), fsync, threads);
        Self::with(options, 1, wait, Some(in_place))
    }

    fn with(
        options: SqliteConnectOptions,
        count: u32,
        wait: Duration,
        in_place: Option<InPlace>,
    ) -> Self {
        let permits = usize::try_from(count).unwrap_or(1);
        Self {
            shared: Arc::new(Shared {
                options,
                free: Mutex::default(),
                opened: OnceLock::new(),
                turns: Arc::new(Semaphore::new(permits)),
                count,
                wait,
                in_place,
            }),
        }
    }

    /// Does a script here and now; `None` when somebody else is writing, or it is to
    /// be done in the ordinary way for another reason.
    pub(super) fn script_in_place(&self, steps: &[Step]) -> Option<Done> {
        let in_place = self.shared.in_place.as_ref()?;
        let _turn = self.shared.turns.try_acquire().ok()?;
        self.shared.check_file().ok()?;
        in_place.script(steps)
    }

    /// The rows that a statement finds, here and now, if that can be.
    pub(super) fn rows_in_place<T>(&self, step: &Step) -> Option<Vec<T>>
    where
        T: for<'a> TryFrom<&'a rusqlite::Row<'a>, Error = rusqlite::Error>,
    {
        let in_place = self.shared.in_place.as_ref()?;
        if self.shared.turns.is_closed() {
            return None;
        }
        self.shared.check_file().ok()?;
        in_place.rows(step)
    }

    /// A connection of one's own until it is dropped.
    ///
    /// # Errors
    /// `PoolTimedOut`, `PoolClosed`, why SQLite cannot be opened, and `Io` when its
    /// file is no longer the one that was opened first.
    pub(super) async fn acquire(&self) -> Result<Lease, sqlx::Error> {
        let turn = Arc::clone(&self.shared.turns).acquire_owned();
        let turn = timer::timeout(self.shared.wait, turn)
            .await
            .map_err(|_| sqlx::Error::PoolTimedOut)?
            .map_err(|_| sqlx::Error::PoolClosed)?;
        let free = self.shared.free().pop();
        let conn = match free {
            Some(conn) => conn,
            None => self.shared.options.connect().await?,
        };
        self.shared.check_file()?;
        Ok(Lease {
            conn: Some(conn),
            shared: Arc::clone(&self.shared),
            _turn: turn,
        })
    }

    /// Begins a transaction with `statement`. Dropped without an end, it is
    /// rolled back before anybody else gets its connection.
    ///
    /// # Errors
    /// As [`Connections::acquire`], and `statement`'s own.
    pub(super) async fn begin_with(&self, statement: &'static str) -> Result<WriteTx, sqlx::Error> {
        // From here on whoever stops waiting has it rolled back: SQLite's thread
        // begins it all the same, and would hold the write lock for nobody.
        let mut begun = self.loan_for_transaction().await?;
        let Err(error) = begun.conn()?.execute(statement).await else {
            return Ok(begun);
        };
        if let Some(mut lease) = begun.lease.take() {
            lease.close_if_dead(&error);
        }
        Err(error)
    }

    /// A connection for a text that begins and ends its transaction itself.
    ///
    /// # Errors
    /// As [`Connections::acquire`].
    pub(super) async fn loan_for_transaction(&self) -> Result<WriteTx, sqlx::Error> {
        Ok(WriteTx {
            lease: Some(self.acquire().await?),
        })
    }

    /// Waits for every lease and closes all connections.
    pub(super) async fn close(&self) {
        let all = self.shared.turns.acquire_many(self.shared.count).await;
        self.shared.turns.close();
        drop(all);
        if let Some(in_place) = &self.shared.in_place {
            in_place.close();
        }
        let free = mem::take(&mut *self.shared.free());
        for conn in free {
            if let Err(error) = conn.close().await {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the database was not closed in order"
                );
            }
        }
    }
}

impl Shared {
    /// SQLite goes on with a file that was removed, and what it then writes is
    /// lost: nobody may be told that it is kept.
    fn check_file(&self) -> Result<(), sqlx::Error> {
        let path = self.options.get_filename();
        let now = data_dir::identity(path);
        if let Ok(now) = now
            && *self.opened.get_or_init(|| now) == now
        {
            return Ok(());
        }
        Err(sqlx::Error::Io(io::Error::other(format!(
            "the database file {} was removed or replaced while it is open: stop every Layover \
             process, put the file back (or restore a backup), and start again",
            path.display()
        ))))
    }

    fn free(&self) -> std::sync::MutexGuard<'_, Vec<SqliteConnection>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection on loan.
#[derive(Debug)]
pub(in crate::store) struct Lease {
    /// Present until it is dropped, or found dead.
    conn: Option<SqliteConnection>,
    shared: Arc<Shared>,
    // Dropped last: whoever comes next finds the connection.
    _turn: OwnedSemaphorePermit,
}

impl Lease {
    fn close_if_dead(&mut self, error: &sqlx::Error) {
        if matches!(error, sqlx::Error::WorkerCrashed) {
            self.conn = None;
        }
    }
}

impl OnLoan for Lease {
    type Conn = SqliteConnection;

    fn conn(&mut self) -> Result<&mut SqliteConnection, sqlx::Error> {
        self.conn.as_mut().ok_or(sqlx::Error::WorkerCrashed)
    }

    fn close_if_gone(&mut self, error: &StoreError) {
        if let StoreError::Unreachable { source } = error {
            self.close_if_dead(source);
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(conn) = self.conn.take() {
            self.shared.free().push(conn);
        }
    }
}

/// A transaction that is under way.
#[derive(Debug)]
pub(in crate::store) struct WriteTx {
    /// Present until the end.
    lease: Option<Lease>,
}

impl WriteTx {
    /// Keeps what was written.
    ///
    /// # Errors
    /// SQLite's own; nothing was written then.
    pub(super) async fn commit(mut self) -> Result<(), sqlx::Error> {
        self.conn()?.execute("COMMIT").await?;
        self.lease = None;
        Ok(())
    }

    /// The text has ended its transaction.
    pub(super) fn note_commit(mut self) {
        self.lease = None;
    }

    /// Forgets what was written.
    ///
    /// # Errors
    /// SQLite's own.
    pub(super) async fn rollback(mut self) -> Result<(), sqlx::Error> {
        match self.lease.take() {
            Some(lease) => roll_back(lease).await,
            None => Ok(()),
        }
    }
}

impl OnLoan for WriteTx {
    type Conn = SqliteConnection;

    fn conn(&mut self) -> Result<&mut SqliteConnection, sqlx::Error> {
        self.lease
            .as_mut()
            .ok_or(sqlx::Error::WorkerCrashed)?
            .conn()
    }

    fn close_if_gone(&mut self, error: &StoreError) {
        if let Some(lease) = &mut self.lease {
            lease.close_if_gone(error);
        }
    }
}

impl Drop for WriteTx {
    fn drop(&mut self) {
        let Some(mut lease) = self.lease.take() else {
            return;
        };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn(roll_back(lease))),
            // Closing a connection rolls back what it was doing.
            Err(_) => lease.conn = None,
        }
    }
}

async fn roll_back(mut lease: Lease) -> Result<(), sqlx::Error> {
    let Some(conn) = lease.conn.as_mut() else {
        return Ok(());
    };
    match conn.execute("ROLLBACK").await {
        Ok(_) => Ok(()),
        // SQLite has rolled back by itself: a full disk, for one
        // (https://www.sqlite.org/lang_transaction.html, section 2.1).
        Err(sqlx::Error::Database(fault))
            if fault.message().contains("no transaction is active") =>
        {
            Ok(())
        }
        Err(error) => {
            lease.conn = None;
            Err(error)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::str::FromStr;
    use std::task::{Context, Waker};

    use super::*;

    // A client that breaks off cancels whatever its session was waiting for.
    #[tokio::test]
    async fn a_transaction_given_up_while_it_begins_holds_no_lock() {
        const BEGIN: &str = "BEGIN IMMEDIATE";
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("db").display());
        let options = SqliteConnectOptions::from_str(&url)
            .unwrap()
            .create_if_missing(true);
        let ours = Connections::new(options.clone(), 1, Duration::from_secs(15));
        drop(ours.acquire().await.unwrap());

        // Whoever holds the lock keeps the beginning from ending before it is given up.
        let another = Connections::new(options, 1, Duration::from_secs(15));
        let holder = another.begin_with(BEGIN).await.unwrap();
        let mut begin = Box::pin(ours.begin_with(BEGIN));
        let polled = begin.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(polled.is_pending(), "it has begun already");
        drop(begin);
        holder.rollback().await.unwrap();

        let again = ours.begin_with(BEGIN).await.unwrap();
        again.rollback().await.unwrap();
        let theirs = another.begin_with(BEGIN).await.unwrap();
        theirs.rollback().await.unwrap();
    }
}
