//! A folder of a home, as a flow sees it: what may go to a partner's server, and what
//! becomes of it afterwards.

use super::Visit;
use crate::flow::SourceFacts;
use crate::vfs::{FileKind, VfsError};
use crate::{FileId, VirtualPath};

/// Names that are read at a time.
const NAMES_AT_ONCE: usize = 1_000;

/// Names that are tried for a file that was moved, beside its own.
const MAX_OTHER_NAMES: u32 = 1_000;

impl Visit {
    /// Tells `take` every published file in `folder`, as it is read; nothing is
    /// collected, and folders are left out.
    ///
    /// # Errors
    /// `NotFound`, `NotDirectory`, `Storage`, `Database`.
    pub async fn files(
        &self,
        folder: &VirtualPath,
        take: &mut (dyn FnMut(SourceFacts) + Send),
    ) -> Result<(), VfsError> {
        let mut listing = self.session.listing(folder);
        loop {
            let piece = listing.next(NAMES_AT_ONCE).await?;
            if piece.is_empty() {
                return Ok(());
            }
            let files = piece
                .into_iter()
                .filter(|(_, info)| info.kind == FileKind::File);
            for (name, info) in files {
                take(SourceFacts {
                    name,
                    size_bytes: Some(info.size_bytes),
                    modified_at: Some(info.modified_at),
                    day_at: None,
                    file: info.file,
                });
            }
        }
    }

    /// Makes a folder that is not there, and those above it.
    ///
    /// # Errors
    /// `NotDirectory`, `DiskFull`, `Storage`, `Database`.
    pub async fn make_folder(&self, folder: &VirtualPath) -> Result<(), VfsError> {
        match self.session.stat(folder).await {
            Err(VfsError::NotFound { .. }) => {}
            Ok(info) if info.kind != FileKind::Directory => {
                return Err(VfsError::NotDirectory {
                    path: folder.clone(),
                });
            }
            Ok(_) => return Ok(()),
            Err(fault) => return Err(fault),
        }
        let mut path = VirtualPath::root();
        for name in folder.components() {
            let below = path.join(name);
            path = below.map_err(|_| VfsError::NotFound {
                path: folder.clone(),
            })?;
            match self.session.make_dir(&path).await {
                Ok(()) | Err(VfsError::AlreadyExists { .. }) => {}
                Err(fault) => return Err(fault),
            }
        }
        Ok(())
    }

    /// What a listing tells of one file; none when there is no such file.
    ///
    /// # Errors
    /// `Storage`, `Database`.
    pub async fn facts(&self, path: &VirtualPath) -> Result<Option<SourceFacts>, VfsError> {
        match self.session.stat(path).await {
            Ok(info) if info.kind == FileKind::File && !info.partial => Ok(Some(SourceFacts {
                name: path.name().unwrap_or_default().to_vec(),
                size_bytes: Some(info.size_bytes),
                modified_at: Some(info.modified_at),
                day_at: None,
                file: info.file,
            })),
            Ok(_) | Err(VfsError::NotFound { .. }) => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    /// Removes this file; one that is not there, or is another one by now, is no fault.
    ///
    /// # Errors
    /// `Held`, `Busy`, `Storage`, `Database`.
    pub async fn remove(&self, path: &VirtualPath, file: FileId) -> Result<(), VfsError> {
        match self.session.remove_this(path, file).await {
            Err(VfsError::NotFound { .. }) => Ok(()),
            removed => removed,
        }
    }

    /// Moves this file to a folder, which is made when it is not there. Where the name is
    /// taken, a number is put behind it: what is there is never replaced. A file that is
    /// not there, or is another one by now, is no fault.
    ///
    /// # Errors
    /// `BadPath`, `Busy`, `Storage`, `Database`.
    pub async fn move_to(
        &self,
        path: &VirtualPath,
        file: FileId,
        folder: &VirtualPath,
    ) -> Result<(), VfsError> {
        self.make_folder(folder).await?;
        let name = path.name().unwrap_or_default();
        let mut taken = 0;
        loop {
            let name = match taken {
                0 => name.to_vec(),
                number => [name, format!(".{number}").as_bytes()].concat(),
            };
            let to = folder
                .join(&name)
                .map_err(|_| VfsError::NotFound { path: path.clone() })?;
            match self.session.rename_this(path, file, &to).await {
                Err(VfsError::AlreadyExists { .. }) if taken < MAX_OTHER_NAMES => taken += 1,
                Err(VfsError::NotFound { .. }) => return Ok(()),
                moved => return moved,
            }
        }
    }
}
