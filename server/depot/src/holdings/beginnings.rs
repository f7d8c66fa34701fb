//! Uploads whose row is being written while their first bytes arrive.
//!
//! A partner that puts many small files waits for the answer to each OPEN, and
//! the row costs a transaction. So the answer goes out while the row is
//! written, and whoever must see the row waits for it here: the upload's own
//! end, what its session looks at next, and verbs on directories, which take
//! the rows below along.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{OwnedRwLockReadGuard, RwLock, watch};

use crate::FileId;
use crate::store::StoreError;
use crate::vfs::VfsError;

/// The rows that are being written: of the process, and of one session.
#[derive(Clone, Debug, Default)]
pub(crate) struct Beginnings {
    /// Held for reading while a row is written.
    process: Arc<RwLock<()>>,
    /// Rows of this session that are being written.
    session: Arc<AtomicUsize>,
}

impl Beginnings {
    /// The same for another session of the process.
    pub(crate) fn of_session(&self) -> Beginnings {
        Beginnings {
            process: Arc::clone(&self.process),
            session: Arc::default(),
        }
    }

    /// Held until a row is written.
    pub(crate) async fn enter(&self) -> Beginning {
        self.session.fetch_add(1, Ordering::AcqRel);
        let counted = Counted(Arc::clone(&self.session));
        Beginning {
            _process: Arc::clone(&self.process).read_owned().await,
            _session: counted,
        }
    }

    /// Waits until every row of the process that is being written now is there.
    pub(crate) async fn settle(&self) {
        drop(self.process.write().await);
    }

    /// As [`Beginnings::settle`], when this session has such a row.
    pub(crate) async fn settle_own(&self) {
        if self.session.load(Ordering::Acquire) != 0 {
            self.settle().await;
        }
    }
}

/// A row that is being written.
#[derive(Debug)]
pub(crate) struct Beginning {
    // First: who waits for the process must not find the session busy still.
    _session: Counted,
    _process: OwnedRwLockReadGuard<()>,
}

#[derive(Debug)]
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The number of a row that may still be being written.
#[derive(Clone, Debug)]
pub(crate) struct RowToCome(watch::Receiver<Option<Result<FileId, Arc<StoreError>>>>);

/// Tells the number of a row, or why there is none.
#[derive(Debug)]
pub(crate) struct TellRow(watch::Sender<Option<Result<FileId, Arc<StoreError>>>>);

impl TellRow {
    pub(crate) fn tell(self, row: Result<FileId, StoreError>) {
        self.0.send_replace(Some(row.map_err(Arc::new)));
    }
}

impl RowToCome {
    /// One that will be told of.
    pub(crate) fn pending() -> (TellRow, RowToCome) {
        let (tell, row) = watch::channel(None);
        (TellRow(tell), RowToCome(row))
    }

    /// One that is there.
    pub(crate) fn known(id: FileId) -> RowToCome {
        RowToCome(watch::channel(Some(Ok(id))).1)
    }

    /// Its number, once it is written.
    ///
    /// # Errors
    /// `Database` when it could not be written: the upload has no row, only a
    /// hidden file.
    pub(crate) async fn id(&self) -> Result<FileId, VfsError> {
        match self.0.clone().wait_for(Option::is_some).await.as_deref() {
            Ok(Some(Ok(id))) => Ok(*id),
            Ok(Some(Err(error))) => Err(StoreError::Shared(Arc::clone(error)).into()),
            // The process is ending, and recovery settles what is there.
            Ok(None) | Err(_) => Err(VfsError::SessionEnded),
        }
    }

    /// Why there will be no row, if that is known already.
    pub(crate) fn fault(&self) -> Option<VfsError> {
        match &*self.0.borrow() {
            Some(Err(error)) => Some(StoreError::Shared(Arc::clone(error)).into()),
            Some(Ok(_)) | None => None,
        }
    }
}
