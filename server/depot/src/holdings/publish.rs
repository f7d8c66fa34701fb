//! Publication: a complete hidden file takes its name.
//!
//! The order is the contract with the disk, none left out: the content was
//! synchronised before (by the caller), row `publishing` and claim, rename,
//! directory synchronised, one transaction that makes it `stored`, answer.

use std::sync::Arc;

use layover_retention::Timestamp;

use super::{Holdings, HomeRef, LiveKey, RowToCome};
use crate::flow::FlowLanding;
use crate::journal::NewEntry;
use crate::ledger::{Claimed, FileState, FreshStaging, Publication, Staging};
use crate::store::StoreError;
use crate::vfs::{HiddenName, Identity, Replace, VfsError};
use crate::{AccountId, FileId, VirtualPath};

/// Times a publication follows its directory to a new name before it gives up.
const MAX_DIRECTORY_MOVES: usize = 8;

/// A complete and synchronised hidden file, about to take a name.
#[derive(Clone, Debug)]
pub(crate) struct Publishing {
    pub(crate) home: HomeRef,
    pub(crate) account: AccountId,
    pub(crate) row: RowToCome,
    pub(crate) hidden: HiddenName,
    /// The state it has now, and gets back when it cannot take the name.
    pub(crate) state: FileState,
    /// The name it has in the ledger; differs from `to` for a waiting upload.
    pub(crate) from: VirtualPath,
    pub(crate) to: VirtualPath,
    pub(crate) size_bytes: u64,
    pub(crate) identity: Identity,
    pub(crate) quota_bytes: Option<u64>,
    /// The clock it keeps; `None` starts a new one.
    pub(crate) inherited_arrival: Option<Timestamp>,
    pub(crate) replace: Replace,
    /// It is a flow's.
    pub(crate) landing: Option<FlowLanding>,
    /// The file that it is a changed copy of: it takes that file's place, or none.
    pub(crate) base: Option<FileId>,
}

/// What came of it.
#[derive(Clone, Debug)]
pub(crate) struct Published {
    pub(crate) path: VirtualPath,
    pub(crate) arrived_at: Timestamp,
    pub(crate) expires_at: Timestamp,
}

/// Why a publication was not acknowledged.
#[derive(Debug)]
pub(crate) enum PublishError {
    /// The name is as it was; the hidden file is still there.
    NotTaken(VfsError),
    /// The file has taken its name, but that could not be recorded or made
    /// safe. Recovery settles it; nobody may touch the file meanwhile.
    Taken(VfsError),
}

impl From<VfsError> for PublishError {
    fn from(fault: VfsError) -> PublishError {
        PublishError::NotTaken(fault)
    }
}

impl From<PublishError> for VfsError {
    fn from(error: PublishError) -> VfsError {
        match error {
            PublishError::NotTaken(fault) | PublishError::Taken(fault) => fault,
        }
    }
}

impl Holdings {
    /// Publishes. `entry` writes the journal entry for the name and moment
    /// of the publication.
    pub(crate) async fn publish(
        self: &Arc<Self>,
        mut publishing: Publishing,
        entry: impl Fn(&VirtualPath, Timestamp) -> NewEntry + Send,
    ) -> Result<Published, PublishError> {
        for _ in 0..MAX_DIRECTORY_MOVES {
            let guard = self
                .lock(publishing.home.id, &[&publishing.from, &publishing.to])
                .await?;
            // Under the lock: a directory that moves has the row written, and
            // takes it along.
            if let Some(id) = self.stage_fresh(&publishing).await? {
                let _live = self.live.enter(LiveKey::File(id));
                let staging = self.staging(&publishing, id);
                return self.take_name(&publishing, &staging, entry).await;
            }
            let id = publishing.row.id().await?;
            let _live = self.live.enter(LiveKey::File(id));
            let staging = self.staging(&publishing, id);
            match self.claim(&publishing.to, || self.stage(&staging)).await? {
                Claimed::Yes => return self.take_name(&publishing, &staging, entry).await,
                Claimed::OverQuota => {
                    let quota_bytes = publishing.quota_bytes.unwrap_or_default();
                    return Err(VfsError::QuotaExceeded { quota_bytes }.into());
                }
                Claimed::Held => return Err(self.held(&publishing).await?.into()),
                // Its directory moved while it was uploaded: it goes along.
                Claimed::Busy | Claimed::Changed => {
                    drop(guard);
                    self.follow(&mut publishing, id).await?;
                }
            }
        }
        Err(VfsError::Busy {
            path: publishing.to,
        }
        .into())
    }

    /// A new upload gets its row here, with its claim and its place in the quota;
    /// `None` when it has a row, or when something is in the way: it has one then.
    async fn stage_fresh(&self, publishing: &Publishing) -> Result<Option<FileId>, VfsError> {
        let Some(late) = publishing.row.take() else {
            return Ok(None);
        };
        let staging = FreshStaging {
            upload: late.upload(),
            size_bytes: publishing.size_bytes,
            identity: publishing.identity,
            quota_bytes: publishing.quota_bytes,
            now: self.arriving_at(),
            landing: publishing.landing.as_ref(),
        };
        match self.store.stage_fresh(&staging).await {
            Ok(Some(id)) => {
                late.tell(Ok(id));
                Ok(Some(id))
            }
            Ok(None) => {
                late.write();
                Ok(None)
            }
            Err(error) => {
                let error = Arc::new(error);
                late.tell(Err(Arc::clone(&error)));
                Err(StoreError::Shared(error).into())
            }
        }
    }

    /// What is said of a hold that came while the file was uploaded.
    async fn held(&self, publishing: &Publishing) -> Result<VfsError, VfsError> {
        let (path, now) = (publishing.to.clone(), self.now());
        let rows = self.store.rows_at(publishing.home.id, &path).await?;
        Ok(match rows.iter().find_map(|row| row.held(now)) {
            Some(until) => VfsError::Held { path, until },
            // It has just been released.
            None => VfsError::Busy { path },
        })
    }

    async fn stage(&self, staging: &Staging) -> Result<Claimed, StoreError> {
        if self.store.stage_at_once(staging).await? {
            return Ok(Claimed::Yes);
        }
        // Again, to learn what is in the way.
        self.store.stage(staging).await
    }

    /// Records the publication; `None` when the row was settled by somebody
    /// else.
    async fn record(&self, publication: &Publication) -> Result<Option<Timestamp>, StoreError> {
        let account = publication.account;
        let grounds = match self.grounds.of(account) {
            Some(grounds) => grounds,
            None => self.store.grounds_now(account).await?,
        };
        if self.store.publish_at_once(publication, &grounds).await? {
            let expires_at = publication.rule(&grounds).expires_at;
            self.grounds.remember(account, grounds);
            return Ok(Some(expires_at));
        }
        // There is a file to be replaced, or the rules have changed.
        self.grounds.forget(account);
        self.store.publish(publication).await
    }

    fn staging(&self, publishing: &Publishing, file: FileId) -> Staging {
        Staging {
            file,
            home: publishing.home.id,
            from: publishing.from.clone(),
            to: publishing.to.clone(),
            size_bytes: publishing.size_bytes,
            identity: publishing.identity,
            quota_bytes: publishing.quota_bytes,
            node: self.node.clone(),
            now: self.arriving_at(),
            landing: publishing.landing.clone(),
        }
    }

    async fn follow(&self, publishing: &mut Publishing, id: FileId) -> Result<(), VfsError> {
        let gone = || VfsError::NotFound {
            path: publishing.from.clone(),
        };
        let row = self.store.row(id).await?.ok_or_else(gone)?;
        if row.state != publishing.state {
            return Err(gone());
        }
        if publishing.from == publishing.to {
            publishing.to = row.path.clone();
        }
        publishing.from = row.path;
        Ok(())
    }

    /// Whether the file that was copied is still the one of its name: else a change
    /// of the copy would undo what somebody else did meanwhile, and was told of.
    async fn is_still_there(
        &self,
        publishing: &Publishing,
        base: FileId,
    ) -> Result<bool, VfsError> {
        let rows = self
            .store
            .rows_at(publishing.home.id, &publishing.to)
            .await?;
        let mut stored = rows.iter().filter(|row| row.state == FileState::Stored);
        Ok(stored.any(|row| row.id == base))
    }

    async fn take_name(
        &self,
        publishing: &Publishing,
        staging: &Staging,
        entry: impl Fn(&VirtualPath, Timestamp) -> NewEntry + Send,
    ) -> Result<Published, PublishError> {
        if let Some(base) = publishing.base
            && !self.is_still_there(publishing, base).await?
        {
            let unstaged = self.store.unstage(staging, publishing.state, None).await;
            unstaged.map_err(|error| PublishError::Taken(error.into()))?;
            return Err(VfsError::Busy {
                path: publishing.to.clone(),
            }
            .into());
        }
        let place = publishing.home.place(&publishing.to);
        let (hidden, replace) = (publishing.hidden.clone(), publishing.replace);
        let renamed = self
            .vfs
            .durable(move |storage| {
                storage.publish(&hidden, &place, replace)?;
                // The name is taken: from here on the ledger must follow,
                // even when the disk cannot promise that the name is safe.
                Ok::<_, std::io::Error>(storage.sync_dir(&place.dir()))
            })
            .await;
        let synchronised = match renamed {
            Ok(synchronised) => synchronised,
            Err(error) => {
                let fault = VfsError::at(&publishing.to, error);
                self.store
                    .unstage(staging, publishing.state, None)
                    .await
                    .map_err(|error| PublishError::Taken(error.into()))?;
                return Err(fault.into());
            }
        };
        let now = self.arriving_at();
        let publication = Publication {
            file: staging.file,
            home: publishing.home.id,
            path: publishing.to.clone(),
            account: publishing.account,
            arrived_at: publishing.inherited_arrival.unwrap_or(now),
            appliance: self.appliance,
            now,
            entry: entry(&publishing.to, now).with("file_id", staging.file.0),
            landed: publishing.landing.as_ref().map(|one| one.hidden.clone()),
        };
        let stored = self.record(&publication).await;
        let stored = stored.map_err(|error| PublishError::Taken(error.into()))?;
        synchronised.map_err(|error| PublishError::Taken(VfsError::at(&publishing.to, error)))?;
        match stored {
            Some(expires_at) => Ok(Published {
                path: publication.path,
                arrived_at: publication.arrived_at,
                expires_at,
            }),
            // Another node took us for dead and settled the row.
            None => Err(PublishError::Taken(VfsError::Busy {
                path: publication.path,
            })),
        }
    }
}
