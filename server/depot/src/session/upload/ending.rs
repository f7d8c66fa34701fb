//! How an upload ends: published, kept hidden, or gone without a trace.

use std::sync::Arc;
use std::time::Duration;

use super::progress::{Poison, locked};
use super::{Completion, Parts, UploadMode, UploadOutcome, UploadReceipt};
use crate::holdings::{Direction, PublishError, Publishing};
use crate::journal::NewEntry;
use crate::ledger::FileState;
use crate::session::record;
use crate::vfs::{Identity, Replace, Vfs, VfsError};
use crate::{FileId, Right, VirtualPath};

/// Suffixes of names that `publish_on_rename` accounts upload to first.
const TEMPORARY_SUFFIXES: [&[u8]; 3] = [b".part", b".filepart", b".tmp"];

impl Parts {
    pub(super) fn vfs(&self) -> &Vfs {
        &self.session.inner.holdings.vfs
    }

    pub(super) async fn finish(self, completion: Completion) -> Result<UploadReceipt, VfsError> {
        if let Some(fault) = self.row.fault() {
            self.park(fault.word()).await?;
            return Err(fault);
        }
        let fault = {
            let progress = locked(&self.progress);
            match progress.poison {
                Some(poison) => Some(poison),
                // A write that nobody waits for may still change the file.
                None => (progress.writes_under_way != 0).then_some(Poison::Storage),
            }
        };
        if let Some(fault) = fault {
            let fault = fault.error();
            self.park(fault.word()).await?;
            return Err(fault);
        }
        if self.copy_of.is_some() && !locked(&self.progress).changed {
            self.discard().await?;
            return Ok(self.receipt(UploadOutcome::Unchanged));
        }
        if let Err(fault) = self.check_still_granted().await {
            self.park(fault.word()).await?;
            return Err(fault);
        }
        let inner = &self.session.inner;
        if completion == Completion::Unproven && !inner.terms().tolerant_completion {
            self.park("unproven").await?;
            return Ok(self.receipt(UploadOutcome::Unproven));
        }
        let waits = inner.terms().publish_on_rename && has_temporary_suffix(&self.path);
        let (identity, size_bytes) = match self.make_safe(waits).await {
            Ok(safe) => safe,
            Err(fault) => {
                self.park(fault.word()).await?;
                return Err(fault);
            }
        };
        if waits {
            return self.wait_for_rename(size_bytes).await;
        }
        let published = self.publish(identity, size_bytes).await;
        if let Some(errand) = &self.errand
            && !matches!(published, Err(PublishError::NotTaken(_)))
        {
            // Its entry is there, or recovery writes it.
            errand.told();
        }
        match published {
            Ok(receipt) => Ok(receipt),
            Err(PublishError::NotTaken(fault)) => {
                self.park(fault.word()).await?;
                Err(fault)
            }
            Err(PublishError::Taken(fault)) => Err(fault),
        }
    }

    /// What an operator took away since the upload began. The bytes came under
    /// the rights of its beginning and stay hidden; but no file appears, and
    /// none is replaced, where its account may no longer do that.
    async fn check_still_granted(&self) -> Result<(), VfsError> {
        self.session.require(&self.path, Right::Write)?;
        if self.session.may(&self.path, Right::Overwrite) {
            return Ok(());
        }
        let look = self.session.look(&self.path).await?;
        match look.visible(self.session.inner.holdings.now()) {
            Some(_) => Err(self.session.not_permitted(&self.path, Right::Overwrite)),
            None => Ok(()),
        }
    }

    /// Time stamp and content reach the disk; also the hidden name when it
    /// is to stay.
    async fn make_safe(&self, hidden_stays: bool) -> Result<(Identity, u64), VfsError> {
        let file = Arc::clone(&self.file);
        let (modified_us, mode) = {
            let progress = locked(&self.progress);
            (progress.modified_us, progress.mode)
        };
        let safe = self
            .session
            .inner
            .holdings
            .vfs
            .durable(move |storage| {
                if let Some(mode) = mode {
                    file.set_mode(mode)?;
                }
                if let Some(modified_us) = modified_us {
                    file.set_modified(modified_us)?;
                }
                file.sync()?;
                if hidden_stays {
                    storage.sync_hidden()?;
                }
                let entry = file.entry()?;
                Ok::<_, std::io::Error>((entry.identity, entry.size_bytes))
            })
            .await;
        safe.map_err(|error| VfsError::at(&self.path, error))
    }

    async fn publish(
        &self,
        identity: Identity,
        size_bytes: u64,
    ) -> Result<UploadReceipt, PublishError> {
        let inner = &self.session.inner;
        let (received_bytes, inherited_arrival, copied_from, notes) = {
            let progress = locked(&self.progress);
            (
                progress.received_bytes,
                progress.inherited_arrival,
                progress.copied_from.clone(),
                progress.notes.clone(),
            )
        };
        let publishing = Publishing {
            home: inner.home.clone(),
            account: inner.account.id,
            row: self.row.clone(),
            hidden: self.hidden.clone(),
            state: FileState::Receiving,
            from: self.path.clone(),
            to: self.path.clone(),
            size_bytes,
            identity,
            quota_bytes: inner.terms().quota_bytes,
            inherited_arrival,
            // A partner's `exclusive` is about the moment of its OPEN.
            replace: match (&self.errand, self.mode) {
                (Some(_), UploadMode::New { exclusive: true }) => Replace::Refuse,
                _ => Replace::Allow,
            },
            landing: self
                .errand
                .as_ref()
                .and_then(|errand| errand.landing(&self.hidden)),
            base: self.copy_of,
        };
        let duration = self.running.elapsed();
        let published = inner
            .holdings
            .publish(publishing, |path, now| {
                let mut entry = match &self.errand {
                    Some(errand) => errand.received(path, size_bytes, received_bytes, now),
                    None => record::upload(inner, path, size_bytes, received_bytes, duration, now),
                };
                entry.detail.extend(notes.clone());
                match &copied_from {
                    Some(source) => record::with_source(entry, source),
                    None => entry,
                }
            })
            .await?;
        inner.count(Direction::Upload, true, received_bytes, duration);
        Ok(UploadReceipt {
            path: published.path,
            size_bytes,
            outcome: UploadOutcome::Published,
            arrived_at: Some(published.arrived_at),
            expires_at: Some(published.expires_at),
        })
    }

    async fn wait_for_rename(&self, size_bytes: u64) -> Result<UploadReceipt, VfsError> {
        let id = match self.row.id().await {
            Ok(id) => id,
            Err(fault) => {
                self.park(fault.word()).await?;
                return Err(fault);
            }
        };
        let inner = &self.session.inner;
        let now = inner.holdings.arriving_at();
        let mut entry =
            record::upload_waits(inner, &self.path, size_bytes, self.running.elapsed(), now);
        entry.detail.extend(locked(&self.progress).notes.clone());
        let store = &inner.holdings.store;
        store
            .park_upload(id, FileState::Waiting, size_bytes, now, Some(&entry))
            .await?;
        let received_bytes = locked(&self.progress).received_bytes;
        inner.count(
            Direction::Upload,
            true,
            received_bytes,
            self.running.elapsed(),
        );
        Ok(self.receipt(UploadOutcome::AwaitsRename))
    }

    /// The word for an upload that ends short: what its writes met, or that it just
    /// broke off.
    pub(super) fn why_stopped(&self) -> &'static str {
        let poison = locked(&self.progress).poison;
        poison.map_or("interrupted", Poison::word)
    }

    /// Keeps what has arrived without a gap, hidden; nothing when there is
    /// nothing worth keeping.
    pub(super) async fn park(&self, why: &'static str) -> Result<(), VfsError> {
        let (kept_bytes, changed, found_no_room) = {
            let progress = locked(&self.progress);
            let found_no_room = progress.poison.is_some_and(Poison::is_for_want_of_room);
            (
                progress.passed.contiguous(),
                progress.changed,
                found_no_room,
            )
        };
        // What did not fit is given back at once: kept, it would stand in the
        // way of everything smaller until `partial_keep` is over.
        if found_no_room {
            return self.discard_with(self.entry_of_interruption(why, 0)).await;
        }
        // A changed copy cannot be resumed: the published file is still there.
        if self.copy_of.is_some() || (kept_bytes == 0 && !self.is_resumed) {
            let entry = changed.then(|| self.entry_of_interruption(why, 0));
            return self.discard_with(entry.flatten()).await;
        }
        let Ok(id) = self.row.id().await else {
            // What the ledger does not know cannot be resumed.
            return self.discard_with(self.entry_of_interruption(why, 0)).await;
        };
        if !self.is_still_ours(id).await? {
            if let Some(entry) = self.entry_of_interruption(why, 0) {
                self.note_end(&entry).await;
            }
            return Ok(());
        }
        let file = Arc::clone(&self.file);
        let shortened = self
            .vfs()
            .durable(move |_| {
                if file.entry()?.size_bytes > kept_bytes {
                    file.set_len(kept_bytes)?;
                }
                file.sync()
            })
            .await;
        if let Err(error) = shortened {
            // What cannot be cut to its gapless beginning must not be resumed.
            tracing::warn!(
                file.path = %self.path,
                error = &error as &dyn std::error::Error,
                "an interrupted upload is given up"
            );
            return self.discard_with(self.entry_of_interruption(why, 0)).await;
        }
        let holdings = &self.session.inner.holdings;
        let entry = self.entry_of_interruption(why, kept_bytes);
        let now = holdings.arriving_at();
        holdings
            .store
            .park_upload(id, FileState::Partial, kept_bytes, now, entry.as_ref())
            .await?;
        Ok(())
    }

    /// None of the courier's: its errand goes on, or tells of its end itself.
    fn entry_of_interruption(&self, why: &'static str, kept_bytes: u64) -> Option<NewEntry> {
        if self.errand.is_some() {
            return None;
        }
        let inner = &self.session.inner;
        if why == Poison::Quota(0).word() {
            inner.note_starved(&self.path, self.room_bytes);
        }
        let duration: Duration = self.running.elapsed();
        let received_bytes = locked(&self.progress).received_bytes;
        inner.count(Direction::Upload, false, received_bytes, duration);
        let mut entry = record::upload_stopped(
            inner,
            &self.path,
            why,
            kept_bytes,
            duration,
            inner.holdings.now(),
        );
        // Gone on with: most of what is kept did not come just now.
        if received_bytes != kept_bytes {
            entry = entry.with("received_bytes", received_bytes);
        }
        entry.detail.extend(locked(&self.progress).notes.clone());
        Some(entry)
    }

    async fn discard(&self) -> Result<(), VfsError> {
        self.discard_with(None).await
    }

    pub(super) async fn discard_with(&self, entry: Option<NewEntry>) -> Result<(), VfsError> {
        let holdings = &self.session.inner.holdings;
        let id = match self.row.take() {
            Some(_unwritten) => None,
            None => self.row.id().await.ok(),
        };
        let Some(id) = id else {
            if let Some(entry) = &entry {
                self.note_end(entry).await;
            }
            return holdings.discard_hidden(self.hidden.clone()).await;
        };
        let state = FileState::Receiving;
        if !self.is_still_ours(id).await?
            || !holdings
                .store
                .forget_upload(id, state, entry.as_ref())
                .await?
        {
            // Another node took us for dead and keeps the file as a partial.
            return Ok(());
        }
        holdings.discard_hidden(self.hidden.clone()).await
    }

    /// Whether nobody took us for dead, and goes on with the file or has published it:
    /// it is the same file that we have open, and must not be cut.
    async fn is_still_ours(&self, id: FileId) -> Result<bool, VfsError> {
        let holdings = &self.session.inner.holdings;
        let now = holdings.arriving_at();
        Ok(holdings
            .store
            .still_receiving(id, &holdings.node, now)
            .await?)
    }

    /// For the journal, of an upload that has no row to tell of it.
    async fn note_end(&self, entry: &NewEntry) {
        // When the database fails, the log has why in any case.
        if let Err(error) = self.session.inner.holdings.store.append(entry).await {
            let faults = &self.session.inner.holdings.faults;
            faults.unrecorded("an upload without a row could not be recorded", &error);
        }
    }

    fn receipt(&self, outcome: UploadOutcome) -> UploadReceipt {
        UploadReceipt {
            path: self.path.clone(),
            size_bytes: locked(&self.progress).size_bytes,
            outcome,
            arrived_at: None,
            expires_at: None,
        }
    }
}

/// Whether the name says that its content is not meant to be seen yet.
fn has_temporary_suffix(path: &VirtualPath) -> bool {
    let name = path.name().unwrap_or_default().to_ascii_lowercase();
    TEMPORARY_SUFFIXES
        .iter()
        .any(|suffix| name.len() > suffix.len() && name.ends_with(suffix))
}
