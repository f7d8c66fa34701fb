//! Uploads: bytes into a hidden file, then its name, in the order that loses
//! nothing.

mod copying;
mod ending;
mod progress;

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use layover_retention::Timestamp;
use serde_json::{Map, Value};

pub use copying::{CopySource, MAX_COPY_BYTES};
use progress::{Poison, Progress, WriteGuard, locked};

use super::Session;
use super::coverage::Coverage;
use super::permit::UploadMode;
use crate::courier::Telling;
use crate::holdings::{Direction, LiveGuard, MovingGuard, RowToCome};
use crate::timer::Stopwatch;
use crate::vfs::{HiddenName, MAX_FILE_BYTES, MAX_IO_BYTES, OpenFile, VfsError};
use crate::{FileId, Right, VirtualPath};

/// How sure the front end is that the peer sent everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Completion {
    /// The protocol proves it (FTPS: close_notify on the data connection).
    Proven,
    /// The stream just ended: published for tolerant accounts only.
    Unproven,
    /// The peer closed its handle (SFTP).
    Closed,
}

/// What became of a finished upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UploadOutcome {
    /// It has its name, its arrival and its expiry.
    Published,
    /// Nothing proves that it is complete: kept as an interrupted upload.
    Unproven,
    /// Complete, and hidden until the account renames it.
    AwaitsRename,
    /// Nothing was changed, so nothing was published.
    Unchanged,
}

/// The answer to a finished upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadReceipt {
    /// The name: the one asked for, unless its directory moved meanwhile.
    pub path: VirtualPath,
    /// Size of the file, in bytes.
    pub size_bytes: u64,
    /// What became of it.
    pub outcome: UploadOutcome,
    /// Our clock when it was published; only for `Published`.
    pub arrived_at: Option<Timestamp>,
    /// When it goes; only for `Published`.
    pub expires_at: Option<Timestamp>,
}

/// A begun upload, from its permit.
pub(super) struct Start {
    pub(super) path: VirtualPath,
    pub(super) mode: UploadMode,
    pub(super) file: Arc<dyn OpenFile>,
    pub(super) row: RowToCome,
    pub(super) hidden: HiddenName,
    pub(super) live: LiveGuard,
    pub(super) size_bytes: u64,
    pub(super) room_bytes: Option<u64>,
    pub(super) inherited_arrival: Option<Timestamp>,
    /// The file that it is a copy of.
    pub(super) copy_of: Option<FileId>,
    pub(super) is_resumed: bool,
    /// Who tells of it when no partner sends it.
    pub(super) errand: Option<Arc<Telling>>,
}

/// An upload in progress. Dropping it interrupts it: what has arrived without
/// a gap stays hidden, resumable by the same account.
///
/// Its bytes are taken under the rights and the room that were granted when it
/// began, whatever an operator changes meanwhile; [`Upload::finish`] goes by
/// what is granted then.
#[derive(Debug)]
pub struct Upload {
    parts: Option<Parts>,
}

#[derive(Debug)]
struct Parts {
    session: Session,
    path: VirtualPath,
    mode: UploadMode,
    file: Arc<dyn OpenFile>,
    row: RowToCome,
    hidden: HiddenName,
    room_bytes: Option<u64>,
    copy_of: Option<FileId>,
    is_resumed: bool,
    errand: Option<Arc<Telling>>,
    progress: Arc<Mutex<Progress>>,
    running: Stopwatch,
    moving: MovingGuard,
    _live: LiveGuard,
}

impl Upload {
    pub(super) fn begin(session: Session, start: Start) -> Result<Upload, VfsError> {
        let mut growth = session.inner.holdings.growth.of(session.inner.home.id);
        growth.set(start.size_bytes);
        let progress = Progress {
            size_bytes: start.size_bytes,
            passed: Coverage::up_to(start.size_bytes),
            received_bytes: 0,
            changed: false,
            writes_under_way: 0,
            poison: None,
            inherited_arrival: start.inherited_arrival,
            copied_from: None,
            modified_us: None,
            mode: None,
            notes: Map::new(),
            growth,
        };
        let moving = &session.inner.holdings.moving;
        let id = &session.inner.id;
        let moving = moving.begin(id, &start.path, Direction::Upload, None);
        Ok(Upload {
            parts: Some(Parts {
                moving,
                session,
                path: start.path,
                mode: start.mode,
                file: start.file,
                row: start.row,
                hidden: start.hidden,
                room_bytes: start.room_bytes,
                copy_of: start.copy_of,
                is_resumed: start.is_resumed,
                errand: start.errand,
                progress: Arc::new(Mutex::new(progress)),
                running: Stopwatch::start(),
                _live: start.live,
            }),
        })
    }

    fn parts(&self) -> Result<&Parts, VfsError> {
        // Only `finish`, `interrupt` and `drop` take the parts, and they
        // take the upload as well.
        self.parts.as_ref().ok_or(VfsError::SessionEnded)
    }

    /// The name the file will take.
    ///
    /// # Errors
    /// None while the upload is in progress.
    pub fn path(&self) -> Result<&VirtualPath, VfsError> {
        Ok(&self.parts()?.path)
    }

    /// Size so far, in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.parts
            .as_ref()
            .map_or(0, |parts| locked(&parts.progress).size_bytes)
    }

    /// Adds to what its journal entry will say: of the connection that carries it.
    pub fn note(&self, name: &'static str, value: impl Into<Value>) {
        if let Some(parts) = &self.parts {
            let mut progress = locked(&parts.progress);
            progress.notes.insert(name.to_owned(), value.into());
        }
    }

    /// Writes all of `bytes` (at most [`MAX_IO_BYTES`]) at `offset`; in
    /// append mode at the end, in the order of the calls. Beyond the end it leaves a
    /// hole, and is refused when the disk has no room to fill it. A failed write, or
    /// one whose caller stopped waiting, makes the upload unpublishable.
    ///
    /// # Errors
    /// `QuotaExceeded`, `TooLarge`, `DiskFull`, `ReadOnlyStorage`,
    /// `SessionEnded`, `Storage`; also the earlier fault of a poisoned upload.
    pub async fn write_at(&self, offset: u64, bytes: Bytes) -> Result<(), VfsError> {
        let parts = self.parts()?;
        parts.session.check_running()?;
        let length = bytes.len() as u64;
        let admitted = parts.admit_write(offset, length)?;
        let inner = &parts.session.inner;
        inner.bandwidth.take(Direction::Upload, length);
        let (offset, makes_hole) = (admitted.offset, admitted.makes_hole);
        let mut guard = admitted.guard;
        let file = Arc::clone(&parts.file);
        let written = parts
            .vfs()
            .quick(move |_| {
                if makes_hole {
                    file.check_reach(offset.saturating_add(length))?;
                }
                file.write_at(offset, &bytes)
            })
            .await;
        let mut progress = locked(&parts.progress);
        match written {
            Ok(()) => {
                progress.passed.add(offset, offset.saturating_add(length));
                progress.received_bytes = progress.received_bytes.saturating_add(length);
                parts.moving.add(length);
                guard.done = true;
                Ok(())
            }
            Err(error) => {
                let error = VfsError::at(&parts.path, error);
                progress.poison = Some(Poison::of(&error));
                Err(error)
            }
        }
        // `progress` is released before `guard` is dropped: it was declared later.
    }

    /// Up to `len` bytes (at most [`MAX_IO_BYTES`]) of what has been written
    /// or copied; empty at the end.
    ///
    /// # Errors
    /// `NotPermitted` without the right to read, `SessionEnded`, `Storage`.
    pub async fn read_at(&self, offset: u64, len: usize) -> Result<Bytes, VfsError> {
        let parts = self.parts()?;
        parts.session.check_running()?;
        parts.session.require(&parts.path, Right::Read)?;
        let file = Arc::clone(&parts.file);
        let len = len.min(MAX_IO_BYTES);
        let bytes = parts.vfs().quick(move |_| file.read_at(offset, len)).await;
        let bytes = bytes.map_err(|error| VfsError::at(&parts.path, error))?;
        let bandwidth = &parts.session.inner.bandwidth;
        bandwidth.take(Direction::Download, bytes.len() as u64);
        Ok(Bytes::from(bytes))
    }

    /// Cuts or pads the file. Cut to nothing, it is new content: a copy of a
    /// published file no longer keeps its arrival.
    ///
    /// # Errors
    /// As [`Upload::write_at`].
    pub async fn set_len(&self, size_bytes: u64) -> Result<(), VfsError> {
        let parts = self.parts()?;
        parts.session.check_running()?;
        let mut guard = parts.admit_len(size_bytes)?;
        let grows = size_bytes > locked(&parts.progress).size_bytes;
        let file = Arc::clone(&parts.file);
        let set = move || {
            if grows {
                file.check_reach(size_bytes)?;
            }
            file.set_len(size_bytes)
        };
        let cut = parts.vfs().quick(move |_| set()).await;
        let mut progress = locked(&parts.progress);
        match cut {
            Ok(()) => {
                progress.passed.set_len(size_bytes);
                progress.size_bytes = size_bytes;
                progress.growth.set(size_bytes);
                progress.changed = true;
                if size_bytes == 0 {
                    progress.inherited_arrival = None;
                }
                guard.done = true;
                Ok(())
            }
            Err(error) => {
                let error = VfsError::at(&parts.path, error);
                progress.poison = Some(Poison::of(&error));
                Err(error)
            }
        }
    }

    /// What was written so far survives a power cut when this returns `Ok`,
    /// though hidden still. A failure makes the upload unpublishable.
    ///
    /// # Errors
    /// As [`Upload::write_at`].
    pub async fn sync(&self) -> Result<(), VfsError> {
        let parts = self.parts()?;
        parts.session.check_running()?;
        if let Some(poison) = locked(&parts.progress).poison {
            return Err(poison.error());
        }
        let file = Arc::clone(&parts.file);
        let synchronised = parts.vfs().durable(move |_| file.sync()).await;
        synchronised.map_err(|error| {
            let error = VfsError::at(&parts.path, error);
            locked(&parts.progress).poison = Some(Poison::of(&error));
            error
        })
    }

    /// Remembers the partner's time stamps; the modification time is set when
    /// the upload ends, the access time is not kept. They decide nothing.
    ///
    /// # Errors
    /// `SessionEnded`.
    pub async fn set_times(
        &self,
        _accessed_at: Option<Timestamp>,
        modified_at: Option<Timestamp>,
    ) -> Result<(), VfsError> {
        let parts = self.parts()?;
        parts.session.check_running()?;
        if let Some(modified_at) = modified_at {
            locked(&parts.progress).modified_us = Some(modified_at.as_micros());
        }
        Ok(())
    }

    /// Remembers the permission bits that listings show (`0o777`); set when
    /// the upload ends. The service keeps its own access.
    ///
    /// # Errors
    /// `SessionEnded`.
    pub async fn set_mode(&self, mode: u32) -> Result<(), VfsError> {
        let parts = self.parts()?;
        parts.session.check_running()?;
        locked(&parts.progress).mode = Some(mode);
        Ok(())
    }

    /// Ends the upload: publishes it, if it may be. `Ok` with
    /// [`UploadOutcome::Published`] means that the file survives a power cut
    /// from now on. On an error the old file at the name, if any, is as it
    /// was; what has arrived stays as an interrupted upload.
    ///
    /// # Errors
    /// `NotPermitted` (the right to write or overwrite was taken away since it
    /// began), `QuotaExceeded`, `NotFound` (its directory is gone), `IsDirectory`,
    /// `Busy`, `DiskFull`, `ReadOnlyStorage`, `TooLarge`, `SessionEnded`,
    /// `Storage`, `Database`.
    pub async fn finish(mut self, completion: Completion) -> Result<UploadReceipt, VfsError> {
        let parts = self.parts.take().ok_or(VfsError::SessionEnded)?;
        let holdings = Arc::clone(&parts.session.inner.holdings);
        holdings.to_the_end(parts.finish(completion)).await
    }

    /// Ends the upload short: what has arrived without a gap stays hidden. The journal
    /// says why: for the fault of an earlier write, when there was one.
    ///
    /// # Errors
    /// `Storage`, `Database` when even that could not be recorded; recovery
    /// will do it.
    pub async fn interrupt(mut self) -> Result<(), VfsError> {
        let parts = self.parts.take().ok_or(VfsError::SessionEnded)?;
        let holdings = Arc::clone(&parts.session.inner.holdings);
        holdings
            .to_the_end(async move { parts.park(parts.why_stopped()).await })
            .await
    }
}

impl Upload {
    /// Ends the upload, and nothing of it stays. The journal says nothing of it.
    ///
    /// # Errors
    /// `Storage`, `Database`; recovery will do it.
    pub(crate) async fn discard(mut self) -> Result<(), VfsError> {
        let parts = self.parts.take().ok_or(VfsError::SessionEnded)?;
        let holdings = Arc::clone(&parts.session.inner.holdings);
        let discard = async move { parts.discard_with(None).await };
        holdings.to_the_end(discard).await
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let Some(parts) = self.parts.take() else {
            return;
        };
        // Without a runtime the process is ending: recovery keeps the partial.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        let tasks = parts.session.inner.holdings.tasks.clone();
        let faults = parts.session.inner.holdings.faults.clone();
        tasks.spawn_on(
            async move {
                if let Err(error) = parts.park(parts.why_stopped()).await {
                    faults.unrecorded("an interrupted upload could not be recorded", &error);
                }
            },
            &runtime,
        );
    }
}

/// A write that may be.
struct Admitted {
    offset: u64,
    /// It begins behind the end.
    makes_hole: bool,
    guard: WriteGuard,
}

impl Parts {
    /// Reserves the place of a write, or says why it may not be.
    fn admit_write(&self, offset: u64, length: u64) -> Result<Admitted, VfsError> {
        let mut progress = locked(&self.progress);
        if let Some(poison) = progress.poison {
            return Err(poison.error());
        }
        // It will not be published: better told now than after gigabytes.
        if let Some(fault) = self.row.fault() {
            progress.poison = Some(Poison::of(&fault));
            return Err(fault);
        }
        let offset = match self.mode {
            UploadMode::Append => progress.size_bytes,
            UploadMode::New { .. } | UploadMode::Modify => offset,
        };
        let end = offset
            .checked_add(length)
            .filter(|end| *end <= MAX_FILE_BYTES);
        if let Err(error) = self.grow(&mut progress, end) {
            progress.poison = Some(Poison::of(&error));
            return Err(error);
        }
        let makes_hole = offset > progress.size_bytes;
        progress.size_bytes = progress.size_bytes.max(end.unwrap_or(0));
        progress.changed = true;
        Ok(Admitted {
            offset,
            makes_hole,
            guard: self.enter(&mut progress),
        })
    }

    fn admit_len(&self, size_bytes: u64) -> Result<WriteGuard, VfsError> {
        let mut progress = locked(&self.progress);
        if let Some(poison) = progress.poison {
            return Err(poison.error());
        }
        let end = Some(size_bytes).filter(|end| *end <= MAX_FILE_BYTES);
        if let Err(error) = self.grow(&mut progress, end) {
            progress.poison = Some(Poison::of(&error));
            return Err(error);
        }
        Ok(self.enter(&mut progress))
    }

    /// Room for a file that ends at `end`.
    fn grow(&self, progress: &mut Progress, end: Option<u64>) -> Result<(), VfsError> {
        let end = end.ok_or(VfsError::TooLarge)?;
        if end <= progress.growth.bytes() {
            return Ok(());
        }
        let room = self.room_bytes.unwrap_or(u64::MAX);
        if progress.growth.grow_to(end, room) {
            return Ok(());
        }
        let quota_bytes = self.session.inner.terms().quota_bytes.unwrap_or_default();
        Err(VfsError::QuotaExceeded { quota_bytes })
    }

    fn enter(&self, progress: &mut Progress) -> WriteGuard {
        progress.writes_under_way = progress.writes_under_way.saturating_add(1);
        WriteGuard {
            progress: Arc::clone(&self.progress),
            done: false,
        }
    }
}
