//! A directory of files that a command writes: it is empty before, or made here. What
//! somebody else put there is never touched.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::error::CliError;

/// One of the files: its name, which may have a folder before it, and its text.
#[derive(Debug)]
pub(crate) struct NewText {
    pub(crate) name: String,
    pub(crate) text: String,
}

/// Writes all files, or none.
pub(crate) fn write(dir: &Path, files: &[NewText]) -> Result<(), CliError> {
    let mut made = Made::default();
    match write_into(dir, files, &mut made) {
        Ok(()) => Ok(()),
        Err(error) => {
            made.remove();
            Err(error)
        }
    }
}

/// What was made, the newest last.
#[derive(Default)]
struct Made {
    files: Vec<PathBuf>,
    folders: Vec<PathBuf>,
}

impl Made {
    /// Takes away what is half; the error says what happened.
    fn remove(self) {
        for file in self.files {
            let _ = fs::remove_file(file);
        }
        for folder in self.folders.into_iter().rev() {
            let _ = fs::remove_dir(folder);
        }
    }
}

fn write_into(dir: &Path, files: &[NewText], made: &mut Made) -> Result<(), CliError> {
    let fault = |file: &Path, source| CliError::ExportFile {
        file: file.to_owned(),
        source,
    };
    if !make(dir, made).map_err(|source| fault(dir, source))? {
        let mut entries = fs::read_dir(dir).map_err(|source| fault(dir, source))?;
        if entries.next().is_some() {
            let dir = dir.to_owned();
            return Err(CliError::NotEmpty { dir });
        }
    }
    for NewText { name, text } in files {
        let path = dir.join(name);
        if let Some(folder) = path.parent() {
            make(folder, made).map_err(|source| fault(folder, source))?;
        }
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o644)
            .open(&path);
        let mut file = file.map_err(|source| fault(&path, source))?;
        made.files.push(path.clone());
        file.write_all(text.as_bytes())
            .map_err(|source| fault(&path, source))?;
    }
    Ok(())
}

/// Makes a folder; `false`: it was there.
fn make(folder: &Path, made: &mut Made) -> io::Result<bool> {
    match DirBuilder::new().mode(0o755).create(folder) {
        Ok(()) => {
            made.folders.push(folder.to_owned());
            Ok(true)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn files() -> [NewText; 2] {
        [("README.txt", "words"), ("lftp/rc", "settings")].map(|(name, text)| NewText {
            name: name.to_owned(),
            text: text.to_owned(),
        })
    }

    #[test]
    fn files_go_into_a_directory_that_is_empty_or_new() {
        let place = tempfile::tempdir().unwrap();
        write(place.path(), &files()).unwrap();
        let new = place.path().join("new");
        write(&new, &files()).unwrap();
        assert_eq!(fs::read_to_string(new.join("lftp/rc")).unwrap(), "settings");
        let mode = fs::metadata(new.join("README.txt")).unwrap().permissions();
        assert_eq!(mode.mode() & 0o7777 & !0o644, 0);
    }

    #[test]
    fn what_is_there_stays_as_it_is() {
        let place = tempfile::tempdir().unwrap();
        let other = place.path().join("other");
        fs::write(&other, "theirs").unwrap();
        let refused = write(place.path(), &files()).unwrap_err();
        assert!(matches!(refused, CliError::NotEmpty { .. }), "{refused}");
        assert!(matches!(
            write(&other, &files()).unwrap_err(),
            CliError::ExportFile { .. }
        ));
        assert_eq!(fs::read_to_string(&other).unwrap(), "theirs");
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1);
    }

    #[test]
    fn half_of_it_is_taken_away_again() {
        let place = tempfile::tempdir().unwrap();
        let dir = place.path().join("kit");
        let mut files = Vec::from(files());
        // The same name twice: the second cannot be made.
        files.push(NewText {
            name: "README.txt".to_owned(),
            text: String::new(),
        });
        write(&dir, &files).unwrap_err();
        assert!(!dir.exists());
    }
}
