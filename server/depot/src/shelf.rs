//! The shelf: what the sweep needs. `retention` decides which files must go;
//! here they are found and taken away.

use std::sync::Arc;
use std::time::Duration;

use layover_retention::{DueCursor, DueShelf, Removal, Timestamp};

use crate::account::{FailingFile, ForecastAccount, ForecastFile, ForecastQuestion};
use crate::holdings::{Holdings, HomeRef, Taken};
use crate::ledger::DueRow;
use crate::session::record;
use crate::vfs::VfsError;
use crate::{FileId, HomeName, VirtualPath};

/// Unfinished uploads looked up at once.
const PAGE: usize = 500;

/// A file whose time is over.
#[derive(Clone, Debug)]
pub struct DueFile {
    due: DueRow,
}

impl DueFile {
    /// The folder of the home it lies in.
    #[must_use]
    pub fn home(&self) -> &HomeName {
        &self.due.home_name
    }

    /// Its name in that home.
    #[must_use]
    pub fn path(&self) -> &VirtualPath {
        &self.due.row.path
    }

    /// Its size, in bytes.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.due.row.size_bytes
    }

    /// When its time was over.
    #[must_use]
    pub fn expires_at(&self) -> Timestamp {
        self.due.cursor.expires_at
    }
}

/// What a sweep of unfinished uploads did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct PartialSweep {
    /// Unfinished uploads forgotten.
    pub removed: u64,
    /// Their bytes.
    pub removed_bytes: u64,
    /// Unfinished uploads that could not be removed; the next sweep tries again.
    pub failed: u64,
}

/// The files of all homes, those of removed accounts included.
#[derive(Clone, Debug)]
pub struct Shelf {
    holdings: Arc<Holdings>,
}

impl Shelf {
    pub(crate) fn new(holdings: Arc<Holdings>) -> Shelf {
        Shelf { holdings }
    }

    /// Forgets interrupted and waiting uploads that nobody has touched for
    /// `partial_keep`.
    ///
    /// # Errors
    /// `Database` when they cannot be found; a fault with one of them is
    /// counted and does not stop the others.
    pub async fn sweep_partials(&self, now: Timestamp) -> Result<PartialSweep, VfsError> {
        self.holdings.check_storage().await?;
        let before = now.saturating_sub(self.holdings.partial_keep);
        let mut report = PartialSweep::default();
        loop {
            let rows = self.holdings.store.stale_uploads(before, PAGE).await?;
            let (found, failed_before) = (rows.len(), report.failed);
            for row in rows {
                match self.forget(&row, now).await {
                    Ok(true) => {
                        report.removed = report.removed.saturating_add(1);
                        report.removed_bytes = report.removed_bytes.saturating_add(row.size_bytes);
                    }
                    // Its account goes on with it.
                    Ok(false) => {}
                    Err(error) => {
                        report.failed = report.failed.saturating_add(1);
                        tracing::warn!(
                            file.path = %row.path,
                            error = &error as &dyn std::error::Error,
                            "an unfinished upload could not be removed"
                        );
                    }
                }
            }
            // What failed would be found again at once.
            if found < PAGE || report.failed > failed_before {
                return Ok(report);
            }
        }
    }

    /// What will go, summed up by home and account.
    ///
    /// # Errors
    /// `Database`.
    pub async fn forecast(
        &self,
        question: &ForecastQuestion,
    ) -> Result<Vec<ForecastAccount>, VfsError> {
        Ok(self.holdings.store.forecast(question).await?)
    }

    /// The same, file by file: the next of them in the order of going, at most
    /// `limit`, behind the file that went at `after`. Files that are held for longer
    /// come last.
    ///
    /// # Errors
    /// `Database`.
    pub async fn forecast_files(
        &self,
        question: &ForecastQuestion,
        after: Option<(Timestamp, FileId)>,
        limit: usize,
    ) -> Result<Vec<ForecastFile>, VfsError> {
        let store = &self.holdings.store;
        Ok(store.forecast_files(question, after, limit).await?)
    }

    /// Due files that could not be removed, the longest overdue first.
    ///
    /// # Errors
    /// `Database`.
    pub async fn failing(&self, limit: usize) -> Result<Vec<FailingFile>, VfsError> {
        Ok(self.holdings.store.failing(limit).await?)
    }

    /// Lets the next sweep try again what could not be removed.
    ///
    /// # Errors
    /// `Database`.
    pub async fn retry_failures(&self) -> Result<(), VfsError> {
        Ok(self.holdings.store.retry_failures().await?)
    }

    /// Tells in the journal of files that nobody has collected and that go
    /// within `ahead` (or, if they stay for less than that in all, within half of
    /// it): of each once; a bounded number at a time. Returns how many there were.
    ///
    /// # Errors
    /// `Database`.
    pub async fn warn_uncollected(&self, ahead: Duration) -> Result<usize, VfsError> {
        let store = &self.holdings.store;
        let now = self.holdings.now();
        let due = store.unwarned(now.saturating_add(ahead), now, PAGE).await?;
        let found = due.len();
        for (row, home) in due {
            let whose = record::Whose::of(&self.holdings, &row).await?;
            let entry = record::uncollected(&self.holdings, &home, &whose, &row, now);
            store.warn(row.id, now, &entry).await?;
        }
        Ok(found)
    }

    /// Marks holds whose time is over, each with its entry in the journal. Returns
    /// how many.
    ///
    /// # Errors
    /// `Database`.
    pub async fn end_holds(&self, now: Timestamp) -> Result<u64, VfsError> {
        let node = &self.holdings.node;
        Ok(self.holdings.store.end_holds(node, now).await?)
    }

    async fn forget(&self, row: &crate::ledger::FileRow, now: Timestamp) -> Result<bool, VfsError> {
        let home = self.holdings.store.home_name(row.home).await?;
        let whose = record::Whose::of(&self.holdings, row).await?;
        let entry = record::partial_expired(&self.holdings, &home, &whose, row, now);
        let forgotten = self
            .holdings
            .store
            .forget_upload(row.id, row.state, Some(&entry))
            .await?;
        if let (true, Some(hidden)) = (forgotten, row.hidden.clone()) {
            self.holdings.discard_hidden(hidden).await?;
        }
        Ok(forgotten)
    }
}

/// A fault and what caused it, on one line.
fn with_causes(fault: &VfsError) -> String {
    let mut text = fault.to_string();
    let mut cause = std::error::Error::source(fault);
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

impl DueShelf for Shelf {
    type File = DueFile;
    type Error = VfsError;

    async fn due(
        &self,
        now: Timestamp,
        after: Option<DueCursor>,
        limit: usize,
    ) -> Result<Vec<(DueCursor, DueFile)>, VfsError> {
        self.holdings.check_storage().await?;
        let rows = self.holdings.store.due(now, after, limit).await?;
        Ok(rows
            .into_iter()
            .map(|due| (due.cursor, DueFile { due }))
            .collect())
    }

    async fn remove(&self, file: &DueFile, _now: Timestamp) -> Result<Removal, VfsError> {
        let home = HomeRef {
            id: file.due.row.home,
            name: file.due.home_name.clone(),
        };
        let (holdings, due) = (Arc::clone(&self.holdings), file.due.clone());
        let verb = async move { holdings.expire(&home, &due.row, Some(&due.grounds)).await };
        match self.holdings.to_the_end(verb).await {
            Ok(Taken::Removed) => Ok(Removal::Deleted {
                size_bytes: file.size_bytes(),
            }),
            Ok(Taken::AlreadyGone) => Ok(Removal::AlreadyGone),
            Ok(Taken::Superseded) => Ok(Removal::Superseded),
            Err(VfsError::Busy { .. }) => Ok(Removal::Busy),
            Err(fault) => {
                let cause = with_causes(&fault);
                let (store, now) = (&self.holdings.store, self.holdings.now());
                store.note_failure(file.due.row.id, &cause, now).await?;
                Err(fault)
            }
        }
    }
}

#[cfg(test)]
mod tests;
