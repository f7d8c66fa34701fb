//! A file that a command writes: it appears under its name when it is complete,
//! and never takes the place of another.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::error::CliError;

/// Behind the name of a file that is not complete.
const UNFINISHED: &str = ".part";

/// A file that is not complete yet; for this user alone. Dropped, it is gone.
#[derive(Debug)]
pub(crate) struct NewFile {
    path: PathBuf,
    unfinished: PathBuf,
    file: BufWriter<File>,
}

impl NewFile {
    /// Begins one that is going to be called `path`.
    pub(crate) fn begin(path: &Path) -> Result<Self, CliError> {
        let mut unfinished = path.as_os_str().to_owned();
        unfinished.push(UNFINISHED);
        let unfinished = PathBuf::from(unfinished);
        for taken in [path, &unfinished] {
            if fs::symlink_metadata(taken).is_ok() {
                return Err(fault(taken, io::ErrorKind::AlreadyExists.into()));
            }
        }
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&unfinished)
            .map_err(|source| fault(path, source))?;
        Ok(Self {
            path: path.to_owned(),
            unfinished,
            file: BufWriter::new(file),
        })
    }

    /// It is complete: safe on disk, and under its name.
    pub(crate) fn finish(mut self) -> Result<(), CliError> {
        let flushed = self.file.flush();
        flushed
            .and_then(|()| self.file.get_ref().sync_all())
            // Unlike a rename, it fails when somebody has taken the name.
            .and_then(|()| fs::hard_link(&self.unfinished, &self.path))
            .map_err(|source| fault(&self.path, source))
    }
}

impl Write for NewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        // The other name; what is half is of no use, and the error says what happened.
        let _ = fs::remove_file(&self.unfinished);
    }
}

fn fault(file: &Path, source: io::Error) -> CliError {
    CliError::ExportFile {
        file: file.to_owned(),
        source,
    }
}
