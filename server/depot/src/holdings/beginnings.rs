//! Uploads that have begun and have no row yet.
//!
//! A partner that puts many small files waits for the answer to each OPEN, and
//! a row of its own costs a transaction. So an upload begins with its hidden
//! file alone. One that ends soon gets its row together with its name, in one
//! transaction; the row of any other is written after [`ROW_DELAY`], and at
//! once when somebody must see it: whoever looks at the same name, verbs on
//! directories, which take the rows below along, and an end that is no
//! publication. What a crash leaves without a row is an orphan to recovery: it
//! held what had arrived in that time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use crate::ledger::NewUpload;
use crate::store::{Store, StoreError};
use crate::timer::{self, Stopwatch};
use crate::vfs::{HiddenName, VfsError};
use crate::{FileId, HomeId, VirtualPath};

/// How long an upload may be without a row when nobody asks for it; twice that
/// at most.
pub(crate) const ROW_DELAY: Duration = Duration::from_millis(250);

/// The uploads of a process that have no row yet.
#[derive(Clone, Debug, Default)]
pub(crate) struct Beginnings {
    begun: Arc<Mutex<Begun>>,
}

#[derive(Debug, Default)]
struct Begun {
    rows: HashMap<HiddenName, RowToCome>,
    /// Whether somebody writes the rows that are late.
    is_watched: bool,
}

impl Beginnings {
    /// An upload begins; its row comes later.
    pub(crate) fn begin(
        &self,
        upload: NewUpload,
        store: &Arc<Store>,
        tasks: &TaskTracker,
    ) -> RowToCome {
        let (sender, told) = watch::channel(None);
        let name = upload.hidden.clone();
        let tell = TellRow {
            sender,
            name: name.clone(),
            begun: Arc::downgrade(&self.begun),
        };
        let row = RowToCome {
            told,
            late: Some(Arc::new(Late {
                upload,
                store: Arc::clone(store),
                tasks: tasks.clone(),
                began: Stopwatch::start(),
                tell: Mutex::new(Some(tell)),
            })),
        };
        let mut begun = locked(&self.begun);
        begun.rows.insert(name, row.clone());
        if !begun.is_watched {
            begun.is_watched = true;
            tokio::spawn(watch_over(Arc::downgrade(&self.begun)));
        }
        row
    }

    /// Waits until every upload of the process that has begun has its row, or
    /// is known to get none.
    pub(crate) async fn settle(&self) {
        self.settle_those(|_| true).await;
    }

    /// The same for the uploads to one name.
    pub(crate) async fn settle_name(&self, home: HomeId, path: &VirtualPath) {
        self.settle_those(|upload| upload.home == home && upload.path == *path)
            .await;
    }

    async fn settle_those(&self, which: impl Fn(&NewUpload) -> bool) {
        let rows: Vec<RowToCome> = {
            let begun = locked(&self.begun);
            let those = begun.rows.values();
            those.filter(|row| row.is_of(&which)).cloned().collect()
        };
        // All are asked for before the first is waited for.
        for row in &rows {
            row.write();
        }
        for row in rows {
            // What became of it is its upload's affair.
            let _ = row.told().await;
        }
    }
}

/// Writes the rows that are late, until there are none to come.
async fn watch_over(begun: Weak<Mutex<Begun>>) {
    loop {
        timer::sleep(ROW_DELAY).await;
        let Some(begun) = begun.upgrade() else { return };
        let late: Vec<RowToCome> = {
            let mut begun = locked(&begun);
            if begun.rows.is_empty() {
                begun.is_watched = false;
                return;
            }
            let rows = begun.rows.values();
            rows.filter(|row| row.is_late()).cloned().collect()
        };
        for row in late {
            row.write();
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What became of a row: its number, or why there is none.
type Told = Option<Result<FileId, Arc<StoreError>>>;

/// The number of a row that may still have to be written.
#[derive(Clone, Debug)]
pub(crate) struct RowToCome {
    told: watch::Receiver<Told>,
    /// Absent for a row that was there from the beginning.
    late: Option<Arc<Late>>,
}

/// A row that nobody has written yet.
#[derive(Debug)]
struct Late {
    upload: NewUpload,
    store: Arc<Store>,
    tasks: TaskTracker,
    began: Stopwatch,
    /// Whoever takes it writes the row, or there is none.
    tell: Mutex<Option<TellRow>>,
}

impl RowToCome {
    /// One that is there.
    pub(crate) fn known(id: FileId) -> RowToCome {
        RowToCome {
            told: watch::channel(Some(Ok(id))).1,
            late: None,
        }
    }

    /// Its number, once it is written.
    ///
    /// # Errors
    /// `Database` when it could not be written: the upload has no row, only a
    /// hidden file.
    pub(crate) async fn id(&self) -> Result<FileId, VfsError> {
        self.write();
        self.told().await
    }

    /// The right to write the row, or to leave it, when nobody has taken it.
    pub(crate) fn take(&self) -> Option<LateRow> {
        let late = self.late.as_ref()?;
        let tell = locked(&late.tell).take()?;
        Some(LateRow {
            late: Arc::clone(late),
            tell,
        })
    }

    /// Why there will be no row, if that is known already.
    pub(crate) fn fault(&self) -> Option<VfsError> {
        match &*self.told.borrow() {
            Some(Err(error)) => Some(StoreError::Shared(Arc::clone(error)).into()),
            Some(Ok(_)) | None => None,
        }
    }

    /// Has the row written, whoever waits for it.
    fn write(&self) {
        if let Some(row) = self.take() {
            row.write();
        }
    }

    async fn told(&self) -> Result<FileId, VfsError> {
        match self.told.clone().wait_for(Option::is_some).await.as_deref() {
            Ok(Some(Ok(id))) => Ok(*id),
            Ok(Some(Err(error))) => Err(StoreError::Shared(Arc::clone(error)).into()),
            // The upload was given up, or the process is ending, and recovery
            // settles what is there.
            Ok(None) | Err(_) => Err(VfsError::SessionEnded),
        }
    }

    fn is_of(&self, which: impl Fn(&NewUpload) -> bool) -> bool {
        self.late.as_ref().is_some_and(|late| which(&late.upload))
    }

    fn is_late(&self) -> bool {
        let late = self.late.as_ref();
        late.is_some_and(|late| late.began.elapsed() >= ROW_DELAY)
    }
}

/// The right to write a row. Dropped, there is none.
#[derive(Debug)]
pub(crate) struct LateRow {
    late: Arc<Late>,
    tell: TellRow,
}

impl LateRow {
    /// What it will say.
    pub(crate) fn upload(&self) -> &NewUpload {
        &self.late.upload
    }

    /// It was written, or could not be.
    pub(crate) fn tell(self, row: Result<FileId, Arc<StoreError>>) {
        self.tell.sender.send_replace(Some(row));
    }

    /// Writes it as `receiving`.
    pub(crate) fn write(self) {
        let late = Arc::clone(&self.late);
        late.tasks.spawn(async move {
            let row = self.late.store.begin_upload(self.upload()).await;
            self.tell(row.map_err(Arc::new));
        });
    }
}

#[derive(Debug)]
struct TellRow {
    sender: watch::Sender<Told>,
    name: HiddenName,
    begun: Weak<Mutex<Begun>>,
}

impl Drop for TellRow {
    fn drop(&mut self) {
        if let Some(begun) = self.begun.upgrade() {
            locked(&begun).rows.remove(&self.name);
        }
    }
}
