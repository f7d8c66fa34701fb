//! Whether the homes are where the ledger's files are. What another tree does
//! not hold is not gone: without this question an unmounted `homes`, or a
//! second server with a tree of its own, would end the row of every file.

use layover_retention::Timestamp;

use super::Holdings;
use crate::NodeId;
use crate::journal::{JournalKind, NewEntry};
use crate::recover::SILENT_AFTER;
use crate::store::{Store, StoreError};
use crate::vfs::{StorageId, VfsError};

/// The storage is not the one that the ledger speaks of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Elsewhere {
    /// What the ledger speaks of.
    pub(crate) expected: StorageId,
    /// What is there; `None` when the homes say nothing of themselves.
    pub(crate) found: Option<StorageId>,
}

/// What homes that may be used are to the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// The ones that it speaks of.
    Ours,
    /// Nobody's yet, or no longer anybody's: a server takes them.
    Free {
        /// What they say of themselves.
        found: Option<StorageId>,
        /// What the ledger spoke of.
        replaces: Option<StorageId>,
    },
}

/// The storage without which nobody may go on where no homes are at all.
pub(crate) async fn needed_storage(
    store: &Store,
    node: &NodeId,
    now: Timestamp,
) -> Result<Option<StorageId>, StoreError> {
    match store.homes_storage().await? {
        Some(expected) if is_needed(store, node, now).await? => Ok(Some(expected)),
        _ => Ok(None),
    }
}

async fn is_needed(store: &Store, node: &NodeId, now: Timestamp) -> Result<bool, StoreError> {
    let silent_before = now.saturating_sub(SILENT_AFTER);
    store.storage_is_needed(node, silent_before).await
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

    /// Whether a server may work on these homes; changes nothing.
    pub(crate) async fn judge_storage(&self) -> Result<Result<Standing, Elsewhere>, VfsError> {
        let recorded = self.store.homes_storage().await?;
        let found = self.storage_id().await?;
        Ok(match (recorded, found) {
            (None, found) => Ok(Standing::Free {
                found,
                replaces: None,
            }),
            (Some(expected), None) => {
                if is_needed(&self.store, &self.node, self.now()).await? {
                    return Ok(Err(Elsewhere {
                        expected,
                        found: None,
                    }));
                }
                Ok(Standing::Free {
                    found: None,
                    replaces: Some(expected),
                })
            }
            (Some(expected), found) if found.as_ref() == Some(&expected) => Ok(Standing::Ours),
            (Some(expected), found) => Err(Elsewhere { expected, found }),
        })
    }

    /// A server's first question: takes these homes for the ledger's when the
    /// ledger knows none yet, or nobody needs the ones that it knows.
    pub(crate) async fn settle_storage(&self) -> Result<Result<(), Elsewhere>, VfsError> {
        match self.judge_storage().await? {
            Ok(Standing::Ours) => Ok(Ok(())),
            Ok(Standing::Free { found, replaces }) => self.take_storage(found, replaces).await,
            Err(elsewhere) => Ok(Err(elsewhere)),
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
