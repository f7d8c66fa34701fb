//! Before an upload: may it be, and what does it start from? Nothing is on
//! disk or in the ledger until [`UploadPermit::begin`].

use std::sync::Arc;

use layover_retention::Timestamp;

use super::look::{Look, VisibleFile};
use super::upload::{Start, Upload};
use super::{Session, not_found};
use crate::courier::Telling;
use crate::figures::Ending;
use crate::holdings::{Direction, LiveGuard, LiveKey, RowToCome};
use crate::ledger::{FileRow, FileState, NewUpload};
use crate::vfs::{ContentOrigin, FileKind, HiddenName, OpenFile, VfsError};
use crate::{FileId, Right, VirtualPath};

/// What an upload does with a file that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UploadMode {
    /// Fresh content: creates the file, or replaces it when it is complete.
    New {
        /// Fail when the name is taken.
        exclusive: bool,
    },
    /// Changes a hidden copy of the published file, or goes on with the
    /// account's own interrupted upload, or creates.
    Modify,
    /// As `Modify`, and every write goes to the end.
    Append,
}

/// A granted upload that has not begun. Dropping it leaves no trace.
#[derive(Debug)]
pub struct UploadPermit {
    session: Session,
    path: VirtualPath,
    mode: UploadMode,
    plan: Plan,
    /// Bytes that all live uploads of the home may hold together with this
    /// one; `None` without a quota.
    room_bytes: Option<u64>,
    /// Earlier unfinished uploads that fresh content makes useless.
    outdated: Vec<FileRow>,
    /// Whose it is when no partner sends it.
    errand: Option<Receiving>,
}

/// What the courier receives.
#[derive(Clone, Debug)]
pub(super) struct Receiving {
    pub(super) telling: Arc<Telling>,
    pub(super) origin: ContentOrigin,
}

#[derive(Debug)]
enum Plan {
    Fresh,
    Copy(VisibleFile),
    Resume(FileRow),
}

impl Session {
    /// Decides whether this upload may be: name, permission, overwriting,
    /// quota.
    ///
    /// # Errors
    /// `NotFound` (of the directory), `NotDirectory`, `IsDirectory`,
    /// `NotPermitted`, `Held`, `AlreadyExists`, `QuotaExceeded`, `DiskFull`, `Busy` (a file
    /// that is not adopted yet has the name), `SessionEnded`, `Storage`, `Database`.
    pub async fn plan_upload(
        &self,
        path: &VirtualPath,
        mode: UploadMode,
    ) -> Result<UploadPermit, VfsError> {
        self.check_running()?;
        if let Err(full) = self.check_room() {
            self.inner
                .count_unstarted(Direction::Upload, Ending::Refused);
            return Err(full);
        }
        let planned = self.plan_checked(path, mode).await;
        self.note_refusal("upload", path, planned)
    }

    async fn plan_checked(
        &self,
        path: &VirtualPath,
        mode: UploadMode,
    ) -> Result<UploadPermit, VfsError> {
        let exclusive = mode == UploadMode::New { exclusive: true };
        let (look, visible) = self.look_to_upload(path, exclusive).await?;
        let replaced_bytes = visible.as_ref().map_or(0, |file| file.row.size_bytes);
        let plan = self.plan(&look, mode, visible);
        let outdated: Vec<FileRow> = match (&plan, mode) {
            (Plan::Fresh, UploadMode::New { .. }) => look
                .rows
                .into_iter()
                .filter(|row| row.is_unfinished_of(self.inner.account.id))
                .collect(),
            _ => Vec::new(),
        };
        // They go when it begins: whoever starts over after a break needs no
        // room for both.
        let outdated_bytes: u64 = outdated.iter().map(|row| row.size_bytes).sum();
        let freed_bytes = replaced_bytes.saturating_add(outdated_bytes);
        let room_bytes = self.room(&plan, freed_bytes).await?;
        self.check_starved(path, room_bytes)?;
        Ok(UploadPermit {
            session: self.clone(),
            path: path.clone(),
            mode,
            plan,
            room_bytes,
            outdated,
            errand: None,
        })
    }

    /// What the courier brings is planned: `exclusive` fails when the name is taken. It
    /// goes on with what it has of the same content.
    ///
    /// # Errors
    /// As [`Session::plan_upload`].
    pub(super) async fn plan_receiving(
        &self,
        path: &VirtualPath,
        exclusive: bool,
        errand: Receiving,
    ) -> Result<UploadPermit, VfsError> {
        self.check_running()?;
        let (look, visible) = self.look_to_upload(path, exclusive).await?;
        let replaced_bytes = visible.as_ref().map_or(0, |file| file.row.size_bytes);
        let mut rows = look.rows;
        let same = rows
            .iter()
            .position(|row| row.is_unfinished_from(errand.origin));
        let plan = same.map_or(Plan::Fresh, |at| Plan::Resume(rows.swap_remove(at)));
        // Of another content of the name, or a second piece of this one.
        rows.retain(|row| row.state == FileState::Partial && row.is_of_courier());
        let outdated_bytes: u64 = rows.iter().map(|row| row.size_bytes).sum();
        let freed_bytes = replaced_bytes.saturating_add(outdated_bytes);
        let room_bytes = self.room(&plan, freed_bytes).await?;
        Ok(UploadPermit {
            session: self.clone(),
            path: path.clone(),
            // Of an expired file that is still there nobody is told.
            mode: UploadMode::New {
                exclusive: exclusive && look.entry.is_none(),
            },
            plan,
            room_bytes,
            outdated: rows,
            errand: Some(errand),
        })
    }

    /// Looks at a name that is to hold an upload, and says why it may not.
    async fn look_to_upload(
        &self,
        path: &VirtualPath,
        exclusive: bool,
    ) -> Result<(Look, Option<VisibleFile>), VfsError> {
        if path.name().is_none() {
            return Err(VfsError::IsDirectory { path: path.clone() });
        }
        self.require(path, Right::Write)?;
        let look = self.look(path).await?;
        if look.directory().is_some() {
            return Err(VfsError::IsDirectory { path: path.clone() });
        }
        if look.entry.is_none() {
            self.check_directory(&path.dir()).await?;
        }
        let visible = look.visible(self.now());
        if let Some(file) = &visible {
            if exclusive {
                return Err(VfsError::AlreadyExists { path: path.clone() });
            }
            self.require(path, Right::Overwrite)?;
            file.check_free(self.now())?;
        } else if look.is_unadopted() {
            // An operator's file that we do not know yet: never destroyed.
            return Err(if exclusive {
                VfsError::AlreadyExists { path: path.clone() }
            } else {
                VfsError::Busy { path: path.clone() }
            });
        }
        Ok((look, visible))
    }

    fn plan(&self, look: &Look, mode: UploadMode, visible: Option<VisibleFile>) -> Plan {
        match (mode, visible) {
            (UploadMode::New { .. }, _) => Plan::Fresh,
            (_, Some(file)) => Plan::Copy(file),
            (_, None) => look
                .unfinished_of(self.inner.account.id)
                .map_or(Plan::Fresh, |row| Plan::Resume(row.clone())),
        }
    }

    async fn check_directory(&self, dir: &VirtualPath) -> Result<(), VfsError> {
        let place = self.inner.home.place(dir);
        let entry = self
            .inner
            .holdings
            .vfs
            .quick(move |storage| storage.stat(&place))
            .await;
        match entry.map_err(|error| VfsError::at(dir, error))?.kind {
            FileKind::Directory => Ok(()),
            FileKind::File => Err(not_found(dir)),
        }
    }

    /// How many bytes live uploads of the home may hold.
    async fn room(&self, plan: &Plan, freed_bytes: u64) -> Result<Option<u64>, VfsError> {
        let Some(quota_bytes) = self.inner.terms().quota_bytes else {
            return Ok(None);
        };
        let usage = self.inner.holdings.store.usage(self.inner.home.id).await?;
        let resumed_bytes = match plan {
            Plan::Resume(row) => row.size_bytes,
            Plan::Fresh | Plan::Copy(_) => 0,
        };
        let taken = usage
            .used_bytes
            .saturating_add(usage.hidden_bytes)
            .saturating_sub(resumed_bytes)
            .saturating_sub(freed_bytes);
        let room = quota_bytes.saturating_sub(taken);
        if room == 0 {
            return Err(VfsError::QuotaExceeded { quota_bytes });
        }
        Ok(Some(room))
    }
}

impl UploadPermit {
    /// The name the file will take.
    #[must_use]
    pub fn path(&self) -> &VirtualPath {
        &self.path
    }

    /// Whether there is room for `bytes` that the peer says it will send.
    ///
    /// # Errors
    /// `QuotaExceeded`.
    pub fn check_announced(&self, bytes: u64) -> Result<(), VfsError> {
        let checked = self.has_quota_for(bytes);
        self.session.note_refusal("upload", &self.path, checked)
    }

    fn has_quota_for(&self, bytes: u64) -> Result<(), VfsError> {
        let quota_bytes = self.session.inner.terms().quota_bytes;
        match (self.room_bytes, quota_bytes) {
            (Some(room), Some(quota_bytes)) if bytes > room => {
                Err(VfsError::QuotaExceeded { quota_bytes })
            }
            _ => Ok(()),
        }
    }

    /// Whether quota and disk have room for what the courier is about to fetch. What an
    /// earlier attempt left of it is on the disk already.
    ///
    /// # Errors
    /// `QuotaExceeded`, `DiskFull`, `Storage`.
    pub(super) async fn check_expected(&self) -> Result<(), VfsError> {
        let expected = self
            .errand
            .as_ref()
            .and_then(|one| one.telling.expected_bytes());
        let Some(bytes) = expected else {
            return Ok(());
        };
        self.has_quota_for(bytes)?;
        let there = match &self.plan {
            Plan::Resume(row) => row.size_bytes,
            Plan::Fresh | Plan::Copy(_) => 0,
        };
        let holdings = &self.session.inner.holdings;
        let space = holdings.vfs.run(|storage| storage.space()).await;
        let space = space.map_err(|error| VfsError::at(&self.path, error))?;
        if bytes.saturating_sub(there) > space.free_bytes {
            return Err(VfsError::DiskFull);
        }
        Ok(())
    }

    /// Nothing comes of it, because the front end could not carry the file: the journal
    /// tells of an upload that failed before it began.
    pub fn not_begun(self, reason: &str) {
        let session = &self.session;
        session.note_not_begun(Direction::Upload, &self.path, reason);
    }

    /// Begins: a hidden file, and a row `receiving`. The row of a new upload comes
    /// a little later, or with its publication; a row that cannot be written is told
    /// by the next write, or by the end, and the upload is not published.
    ///
    /// # Errors
    /// `Busy` when another session goes on with the same upload, or the file
    /// to be changed was exchanged meanwhile; `DiskFull`, `ReadOnlyStorage`,
    /// `SessionEnded`, `Storage`, `Database`.
    pub async fn begin(self) -> Result<Upload, VfsError> {
        let (session, path) = (self.session.clone(), self.path.clone());
        let begun = self.begin_now().await;
        session.note_refusal("upload", &path, begun)
    }

    async fn begin_now(self) -> Result<Upload, VfsError> {
        self.session.check_running()?;
        let start = match &self.plan {
            Plan::Fresh => self.begin_fresh().await?,
            Plan::Copy(file) => self.begin_copy(file).await?,
            Plan::Resume(row) => self.begin_resumed(row).await?,
        };
        for row in self.outdated {
            self.session.forget(&row).await?;
        }
        Upload::begin(self.session, start)
    }

    async fn begin_fresh(&self) -> Result<Start, VfsError> {
        let (hidden, live) = self.hidden()?;
        let name = hidden.clone();
        let holdings = &self.session.inner.holdings;
        let created = holdings
            .vfs
            .quick(move |storage| storage.create_hidden(&name))
            .await;
        let file = created.map_err(|error| VfsError::at(&self.path, error))?;
        let upload = self.new_upload(&hidden, None);
        let row = holdings
            .beginnings
            .begin(upload, &holdings.store, &holdings.tasks);
        Ok(self.start(file, row, hidden, live))
    }

    async fn begin_copy(&self, source: &VisibleFile) -> Result<Start, VfsError> {
        let (hidden, live) = self.hidden()?;
        let arrival = source.row.oldest_arrival();
        let id = self.begin_row(&hidden, arrival).await?;
        let (place, name) = (self.session.inner.home.place(&self.path), hidden.clone());
        let identity = source.entry.identity;
        let copied = self
            .session
            .inner
            .holdings
            .vfs
            .run(move |storage| {
                let (file, copied) = storage.copy_to_hidden(&place, &name)?;
                if copied.same_file(identity) {
                    return Ok(Some((file.entry()?.size_bytes, file)));
                }
                storage.unlink_hidden(&name)?;
                Ok::<_, std::io::Error>(None)
            })
            .await;
        match copied {
            Ok(Some((size_bytes, file))) => {
                let mut start = self.start(file, RowToCome::known(id), hidden, live);
                start.size_bytes = size_bytes;
                start.inherited_arrival = arrival;
                start.copy_of = Some(source.row.id);
                Ok(start)
            }
            Ok(None) => {
                self.forget_row(id).await;
                Err(VfsError::Busy {
                    path: self.path.clone(),
                })
            }
            Err(error) => Err(self.give_up(id, error).await),
        }
    }

    async fn begin_resumed(&self, row: &FileRow) -> Result<Start, VfsError> {
        let holdings = &self.session.inner.holdings;
        let Some(hidden) = row.hidden.clone() else {
            return self.begin_fresh().await;
        };
        let live = holdings.live.enter(LiveKey::Hidden(hidden.clone()));
        if !holdings
            .store
            .resume_upload(row.id, &holdings.node, holdings.arriving_at())
            .await?
        {
            return Err(VfsError::Busy {
                path: self.path.clone(),
            });
        }
        let name = hidden.clone();
        let opened = holdings
            .vfs
            .quick(move |storage| {
                let file = storage.open_hidden(&name)?;
                Ok::<_, std::io::Error>((file.entry()?.size_bytes, file))
            })
            .await;
        match opened {
            Ok((size_bytes, file)) => {
                let mut start = self.start(file, RowToCome::known(row.id), hidden, live);
                start.size_bytes = size_bytes;
                start.inherited_arrival = row.inherited_arrival;
                start.is_resumed = true;
                Ok(start)
            }
            // Somebody cleaned up the hidden folder: nothing to resume.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                self.forget_row(row.id).await;
                self.begin_fresh().await
            }
            Err(error) => Err(VfsError::at(&self.path, error)),
        }
    }

    fn hidden(&self) -> Result<(HiddenName, LiveGuard), VfsError> {
        let hidden = match &self.errand {
            Some(errand) => HiddenName::of_courier(errand.origin, errand.telling.integration())?,
            None => HiddenName::fresh()?,
        };
        let live = self
            .session
            .inner
            .holdings
            .live
            .enter(LiveKey::Hidden(hidden.clone()));
        Ok((hidden, live))
    }

    async fn begin_row(
        &self,
        hidden: &HiddenName,
        inherited_arrival: Option<Timestamp>,
    ) -> Result<FileId, VfsError> {
        let upload = self.new_upload(hidden, inherited_arrival);
        let store = &self.session.inner.holdings.store;
        Ok(store.begin_upload(&upload).await?)
    }

    fn new_upload(&self, hidden: &HiddenName, inherited_arrival: Option<Timestamp>) -> NewUpload {
        let inner = &self.session.inner;
        NewUpload {
            home: inner.home.id,
            path: self.path.clone(),
            account: inner.account.id,
            hidden: hidden.clone(),
            inherited_arrival,
            node: inner.holdings.node.clone(),
            now: inner.holdings.arriving_at(),
        }
    }

    fn start(
        &self,
        file: Arc<dyn OpenFile>,
        row: RowToCome,
        hidden: HiddenName,
        live: LiveGuard,
    ) -> Start {
        Start {
            path: self.path.clone(),
            mode: self.mode,
            file,
            row,
            hidden,
            live,
            size_bytes: 0,
            room_bytes: self.room_bytes,
            inherited_arrival: None,
            copy_of: None,
            is_resumed: false,
            errand: self
                .errand
                .as_ref()
                .map(|errand| Arc::clone(&errand.telling)),
        }
    }

    async fn give_up(&self, id: FileId, error: std::io::Error) -> VfsError {
        self.forget_row(id).await;
        VfsError::at(&self.path, error)
    }

    /// A row whose hidden file never came to be. Recovery would forget it too.
    async fn forget_row(&self, id: FileId) {
        let store = &self.session.inner.holdings.store;
        let forgotten = store
            .forget_upload(id, crate::ledger::FileState::Receiving, None)
            .await;
        if let Err(error) = forgotten {
            tracing::warn!(
                file.path = %self.path,
                error = &error as &dyn std::error::Error,
                "an upload that did not begin stays in the ledger until recovery"
            );
        }
    }
}
