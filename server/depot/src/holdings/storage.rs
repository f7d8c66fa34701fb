//! Whether the homes are where the ledger's files are. What another tree does
//! not hold is not gone: without this question an unmounted `homes`, or a
//! second server with a tree of its own, would end the row of every file.

use super::Holdings;
use crate::journal::{JournalKind, NewEntry};
use crate::recover::SILENT_AFTER;
use crate::vfs::{StorageId, VfsError};

/// The storage is not the one that the ledger speaks of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Elsewhere {
    /// What the ledger speaks of.
    pub(crate) expected: StorageId,
    /// What is there; `None` when the homes say nothing of themselves.
    pub(crate) found: Option<StorageId>,
}

impl Holdings {
    async fn storage_id(&self) -> Result<Option<StorageId>, VfsError> {
        Ok(self.vfs.run(|storage| storage.storage_id()).await?)
    }

    /// Whether these homes are the ledger's: asked before what is absent from
    /// the tree counts as gone, and before what is in it is adopted.
    ///
    /// # Errors
    /// `HomesAway` when they are not; `Storage`, `Database`.
    pub(crate) async fn check_storage(&self) -> Result<(), VfsError> {
        let Some(expected) = self.store.homes_storage().await? else {
            return Ok(());
        };
        if self.storage_id().await?.as_ref() == Some(&expected) {
            Ok(())
        } else {
            Err(VfsError::HomesAway)
        }
    }

    /// A server's first question: takes these homes for the ledger's when the
    /// ledger knows none yet, or nobody needs the ones that it knows.
    pub(crate) async fn settle_storage(&self) -> Result<Result<(), Elsewhere>, VfsError> {
        let recorded = self.store.homes_storage().await?;
        let found = self.storage_id().await?;
        match (recorded, found) {
            (None, found) => self.take_storage(found, None).await,
            (Some(expected), None) => {
                let silent_before = self.now().saturating_sub(SILENT_AFTER);
                let store = &self.store;
                if store.storage_is_needed(&self.node, silent_before).await? {
                    let found = None;
                    return Ok(Err(Elsewhere { expected, found }));
                }
                self.take_storage(None, Some(expected)).await
            }
            (Some(expected), found) if found.as_ref() == Some(&expected) => Ok(Ok(())),
            (Some(expected), found) => Ok(Err(Elsewhere { expected, found })),
        }
    }

    async fn take_storage(
        &self,
        found: Option<StorageId>,
        replaces: Option<StorageId>,
    ) -> Result<Result<(), Elsewhere>, VfsError> {
        let known_before = found.is_some();
        let storage = match found {
            Some(storage) => storage,
            None => {
                let fresh = StorageId::fresh()?;
                self.vfs
                    .run(move |storage| storage.mark_storage(&fresh))
                    .await?
            }
        };
        if known_before {
            tracing::warn!(
                storage.id = %storage,
                "the homes were used with another database: files in the homes of this one's \
                 accounts are adopted, and their clocks start anew"
            );
        }
        let now = self.now();
        let entry = NewEntry::new(now, JournalKind::System, "homes.storage", &self.node)
            .with("storage_id", storage.as_str())
            .with("used_before", known_before);
        let recorded = self
            .store
            .record_storage(&storage, replaces.as_ref(), now, &entry)
            .await?;
        if recorded.is_some() {
            return Ok(Ok(()));
        }
        // Another node was faster: is it the same storage?
        Ok(match self.store.homes_storage().await? {
            Some(expected) if expected != storage => Err(Elsewhere {
                expected,
                found: Some(storage),
            }),
            _ => Ok(()),
        })
    }
}
