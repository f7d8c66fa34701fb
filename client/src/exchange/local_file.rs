//! A file outside of every home: what an operator sends, and where he wants what
//! is fetched.

use std::fmt::Write as _;
use std::io::{self, SeekFrom};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use bytes::Bytes;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use tokio::fs::{File, OpenOptions};
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};

use super::error::LocalError;
use super::fetch::Fetched;
use super::landing::{Kept, Landing, SourceState};
use super::outgoing::{Content, Outgoing};
use crate::path::RemoteName;

/// A file that is sent.
#[derive(Debug)]
pub struct LocalFile {
    path: PathBuf,
    size_bytes: u64,
    version: String,
}

impl LocalFile {
    /// Looks at the file at `path`; it must be a regular one.
    ///
    /// # Errors
    /// It is not there, not readable or not a file.
    pub async fn open(path: PathBuf) -> Result<Self, LocalError> {
        let seen = Seen::at(&path).await?;
        Ok(Self {
            path,
            size_bytes: seen.size_bytes,
            version: seen.version,
        })
    }
}

struct Seen {
    size_bytes: u64,
    version: String,
}

impl Seen {
    async fn at(path: &Path) -> Result<Self, LocalError> {
        let seen = tokio::fs::metadata(path)
            .await
            .map_err(|error| failed("cannot look at", path, error))?;
        if !seen.is_file() {
            let what = format!("`{}` is not a regular file", path.display());
            return Err(LocalError::permanent(what));
        }
        Ok(Self {
            size_bytes: seen.size(),
            // Another file under the name, or another state of this one.
            version: format!(
                "{}:{}:{}:{}.{:09}:{}.{:09}",
                seen.dev(),
                seen.ino(),
                seen.size(),
                seen.mtime(),
                seen.mtime_nsec(),
                seen.ctime(),
                seen.ctime_nsec()
            ),
        })
    }
}

#[async_trait]
impl Outgoing for LocalFile {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn version(&self) -> String {
        self.version.clone()
    }

    async fn open(&mut self, offset: u64) -> Result<Content, LocalError> {
        let failed = |error| failed("cannot read", &self.path, error);
        let mut file = File::open(&self.path).await.map_err(failed)?;
        file.seek(SeekFrom::Start(offset)).await.map_err(failed)?;
        Ok(Box::new(file))
    }

    async fn is_unchanged(&mut self) -> Result<bool, LocalError> {
        Ok(Seen::at(&self.path).await?.version == self.version)
    }
}

/// What happens to a file that has the name already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LocalExisting {
    /// It stays, and nothing is published.
    Keep,
    /// It is replaced in one step.
    Replace,
}

/// A file that is fetched. Until it is published it has another name in the same
/// folder, which is removed when this is dropped.
#[derive(Debug)]
pub struct LocalTarget {
    path: PathBuf,
    existing: LocalExisting,
    staging: Option<Staging>,
}

/// Where the bytes are until they are published.
#[derive(Debug)]
struct Staging {
    file: File,
    path: PathBuf,
    bytes: u64,
    of: SourceState,
}

impl Drop for Staging {
    fn drop(&mut self) {
        // After it was published nothing has the name any more.
        let _ = std::fs::remove_file(&self.path);
    }
}

impl LocalTarget {
    /// A file at `path`, which the operator named.
    #[must_use]
    pub fn new(path: PathBuf, existing: LocalExisting) -> Self {
        Self {
            path,
            existing,
            staging: None,
        }
    }

    /// A file in `folder` with the name that it has at the partner's. A
    /// [`RemoteName`] has no separator and is not `..`: it stays in the folder.
    #[must_use]
    pub fn in_folder(folder: &Path, name: &RemoteName, existing: LocalExisting) -> Self {
        let name = std::ffi::OsStr::from_bytes(name.as_bytes());
        Self::new(folder.join(name), existing)
    }

    /// Where it is once it is published.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn folder(&self) -> &Path {
        match self.path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        }
    }

    async fn stage(&self, of: &SourceState) -> Result<Staging, LocalError> {
        let mut random = [0; 8];
        getrandom::fill(&mut random)
            .map_err(|_| LocalError::transient("the operating system gave no random bytes"))?;
        let mut name = String::from(".layover-");
        for byte in random {
            // Writing to a string cannot fail.
            let _ = write!(name, "{byte:02x}");
        }
        name.push_str(".part");
        let path = self.folder().join(name);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            // Nobody else reads what is not checked yet, nor what a partner
            // meant for the operator.
            .mode(0o600)
            .open(&path)
            .await
            .map_err(|error| failed("cannot create a file in", self.folder(), error))?;
        Ok(Staging {
            file,
            path,
            bytes: 0,
            of: *of,
        })
    }

    fn staging(&mut self) -> Result<&mut Staging, LocalError> {
        self.staging
            .as_mut()
            .ok_or_else(|| LocalError::permanent("no download was begun here"))
    }
}

#[async_trait]
impl Landing for LocalTarget {
    fn kept(&self) -> Option<Kept> {
        self.staging.as_ref().map(|staging| Kept {
            bytes: staging.bytes,
            of: staging.of,
        })
    }

    async fn read_kept(&mut self, at: u64, most_bytes: usize) -> Result<Bytes, LocalError> {
        let path = self.path.clone();
        let failed = |error| failed("cannot read back what came for", &path, error);
        let staging = self.staging()?;
        let mut content = vec![0; most_bytes];
        staging
            .file
            .seek(SeekFrom::Start(at))
            .await
            .map_err(failed)?;
        let read = staging.file.read(&mut content).await.map_err(failed)?;
        content.truncate(read);
        Ok(Bytes::from(content))
    }

    async fn begin(&mut self, of: &SourceState, at: u64) -> Result<(), LocalError> {
        let failed = |path: &Path, error| failed("cannot write to", path, error);
        // Before anything is fetched in vain; publishing looks once more, in one step.
        if self.existing == LocalExisting::Keep
            && tokio::fs::symlink_metadata(&self.path).await.is_ok()
        {
            return Err(exists_already(&self.path));
        }
        if let Some(staging) = &mut self.staging {
            let path = staging.path.clone();
            let file = &mut staging.file;
            file.set_len(at)
                .await
                .map_err(|error| failed(&path, error))?;
            file.seek(SeekFrom::Start(at))
                .await
                .map_err(|error| failed(&path, error))?;
            staging.bytes = at;
            staging.of = *of;
        } else {
            self.staging = Some(self.stage(of).await?);
        }
        Ok(())
    }

    async fn write(&mut self, bytes: Bytes) -> Result<(), LocalError> {
        let path = self.path.clone();
        let staging = self.staging()?;
        let failed = |error| failed("cannot write what came for", &path, error);
        staging.file.write_all(&bytes).await.map_err(failed)?;
        // Without it a failure would be told only by the next write.
        staging.file.flush().await.map_err(failed)?;
        staging.bytes += bytes.len() as u64;
        Ok(())
    }

    async fn publish(&mut self, fetched: &Fetched) -> Result<(), LocalError> {
        let (path, existing) = (self.path.clone(), self.existing);
        let folder = self.folder().to_owned();
        let staging = self.staging()?;
        let failed_at = |error| failed("cannot publish", &path, error);
        staging.file.flush().await.map_err(failed_at)?;
        staging.file.sync_all().await.map_err(failed_at)?;
        let seen = staging.file.metadata().await.map_err(failed_at)?;
        if seen.len() != fetched.content_bytes {
            let what = format!(
                "{} bytes came for `{}` and {} were written",
                fetched.content_bytes,
                path.display(),
                seen.len()
            );
            return Err(LocalError::transient(what));
        }
        let from = staging.path.clone();
        let to = path.clone();
        let published = tokio::task::spawn_blocking(move || {
            rename(&from, &to, existing)?;
            std::fs::File::open(&folder)?.sync_all()
        })
        .await
        .map_err(|_| LocalError::transient("we are stopping"))?;
        published.map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => exists_already(&path),
            _ => failed_at(error),
        })?;
        self.staging = None;
        Ok(())
    }
}

fn rename(from: &Path, to: &Path, existing: LocalExisting) -> io::Result<()> {
    match existing {
        LocalExisting::Replace => std::fs::rename(from, to),
        LocalExisting::Keep => match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
            // A file system that does not know it (NFS): a second name is given
            // in one step as well, and the first one goes with the staging file.
            Err(Errno::INVAL | Errno::NOSYS) => std::fs::hard_link(from, to),
            renamed => Ok(renamed?),
        },
    }
}

fn exists_already(path: &Path) -> LocalError {
    LocalError::permanent(format!("`{}` exists already", path.display())).with_remedy_of_existing()
}

fn failed(what: &str, path: &Path, error: io::Error) -> LocalError {
    LocalError::io(format!("{what} `{}`", path.display()), error)
}
