//! The shelf: what the sweep needs. `retention` decides which files must go;
//! here they are found and taken away.

use std::sync::Arc;

use layover_retention::{DueCursor, DueShelf, Removal, Timestamp};

use crate::holdings::{Holdings, HomeRef, Taken};
use crate::ledger::DueRow;
use crate::session::record;
use crate::vfs::VfsError;
use crate::{HomeName, VirtualPath};

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
        let (holdings, row) = (Arc::clone(&self.holdings), file.due.row.clone());
        let verb = async move { holdings.expire(&home, &row).await };
        match self.holdings.to_the_end(verb).await {
            Ok(Taken::Removed) => Ok(Removal::Deleted {
                size_bytes: file.size_bytes(),
            }),
            Ok(Taken::AlreadyGone) => Ok(Removal::AlreadyGone),
            Ok(Taken::Superseded) => Ok(Removal::Superseded),
            Err(VfsError::Busy { .. }) => Ok(Removal::Busy),
            Err(fault) => Err(fault),
        }
    }
}

#[cfg(test)]
mod tests;
