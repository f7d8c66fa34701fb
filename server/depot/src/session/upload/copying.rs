//! Copies made on the server: what one open file holds goes into an upload.
//!
//! A copy is as old as what it was made of, or copying would keep a file for
//! ever. Of several sources the oldest counts, whatever new content comes with
//! them; only cutting the upload to nothing forgets them, with their bytes.

use std::sync::Arc;

use layover_retention::Timestamp;

use super::progress::{Poison, locked};
use super::{Parts, Upload};
use crate::session::Download;
use crate::vfs::{CopyRange, OpenFile, VfsError, copy_range};
use crate::{Right, VirtualPath};

/// Most bytes that one call copies: a caller that copies more can say in
/// between that it is still there, and can be stopped.
pub const MAX_COPY_BYTES: u64 = 16 * 1024 * 1024;

/// What an upload takes content from.
#[derive(Clone, Copy, Debug)]
pub enum CopySource<'a> {
    /// A published file, as it was when it was opened.
    Published(&'a Download),
    /// What another upload holds so far.
    Unfinished(&'a Upload),
}

struct Source {
    file: Arc<dyn OpenFile>,
    path: VirtualPath,
    size_bytes: u64,
    /// None for content that has not arrived as a whole yet.
    arrived_at: Option<Timestamp>,
}

impl CopySource<'_> {
    fn opened(&self) -> Result<Source, VfsError> {
        match self {
            CopySource::Published(download) => {
                let (file, arrived_at) = download.copied_by();
                Ok(Source {
                    file,
                    path: download.path().clone(),
                    size_bytes: download.size(),
                    arrived_at: Some(arrived_at),
                })
            }
            CopySource::Unfinished(upload) => {
                let parts = upload.parts()?;
                parts.session.require(&parts.path, Right::Read)?;
                let progress = locked(&parts.progress);
                Ok(Source {
                    file: Arc::clone(&parts.file),
                    path: parts.path.clone(),
                    size_bytes: progress.size_bytes,
                    arrived_at: progress.inherited_arrival,
                })
            }
        }
    }
}

impl Upload {
    /// Copies `range` of `source` into this upload, at most
    /// [`MAX_COPY_BYTES`] of it and not beyond the source's end, and returns how
    /// many bytes that were; 0 at the end. In append mode they go to the end.
    /// A failed copy makes the upload unpublishable, as a failed write does.
    ///
    /// # Errors
    /// `NotPermitted` without the right to read an unfinished source; else as
    /// [`Upload::write_at`], and `Database`.
    pub async fn copy_from(
        &self,
        source: CopySource<'_>,
        range: CopyRange,
    ) -> Result<u64, VfsError> {
        let parts = self.parts()?;
        parts.session.check_running()?;
        let source = source.opened()?;
        let length_bytes = range
            .length_bytes
            .min(MAX_COPY_BYTES)
            .min(source.size_bytes.saturating_sub(range.from_offset));
        if length_bytes == 0 {
            return Ok(0);
        }
        let admitted = parts.admit_write(range.to_offset, length_bytes)?;
        let (to_offset, mut guard) = (admitted.offset, admitted.guard);
        if let Some(arrived_at) = source.arrived_at {
            parts.inherit(arrived_at).await?;
        }
        let range = CopyRange {
            to_offset,
            length_bytes,
            ..range
        };
        let (from, to) = (source.file, Arc::clone(&parts.file));
        let copied = parts
            .vfs()
            .run(move |_| {
                // Holes of the source stay holes where the file system shares blocks.
                to.check_reach(to_offset.saturating_add(length_bytes))?;
                copy_range(&*from, &*to, range)
            })
            .await;
        let mut progress = locked(&parts.progress);
        match copied {
            Ok(copied) if copied == length_bytes => {
                let end = to_offset.saturating_add(length_bytes);
                progress.passed.add(to_offset, end);
                progress.copied_from.get_or_insert(source.path);
                guard.done = true;
                Ok(length_bytes)
            }
            // The source became shorter under our hands.
            Ok(_) => Err(VfsError::Busy { path: source.path }),
            Err(error) => {
                let error = VfsError::at(&parts.path, error);
                progress.poison = Some(Poison::of(&error));
                Err(error)
            }
        }
        // `progress` is released before `guard` is dropped: it was declared later.
    }
}

impl Parts {
    /// The ledger first: an upload that is interrupted and resumed, or settled
    /// after a crash, must not have forgotten how old its content is.
    async fn inherit(&self, arrived_at: Timestamp) -> Result<(), VfsError> {
        let is_older = |known: Option<Timestamp>| known.is_none_or(|known| arrived_at < known);
        if !is_older(locked(&self.progress).inherited_arrival) {
            return Ok(());
        }
        let store = &self.session.inner.holdings.store;
        store
            .inherit_arrival(self.row.id().await?, arrived_at)
            .await?;
        let mut progress = locked(&self.progress);
        if is_older(progress.inherited_arrival) {
            progress.inherited_arrival = Some(arrived_at);
        }
        Ok(())
    }
}
