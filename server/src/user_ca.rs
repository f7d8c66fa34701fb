//! The files that `[sftp] trusted_user_ca_keys` names: public keys of authorities
//! whose certificates open every account that they name. One key a line, as in
//! the file of OpenSSH's `TrustedUserCAKeys`.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use layover_depot::{KeyError, UserCa, UserCaError, parse_authorized_keys};

/// A larger file is no list of authorities.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// Why a file of authorities cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum UserCaFileError {
    /// It cannot be read.
    #[error("the file `{}` cannot be read", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is too large.
    #[error("the file `{}` is larger than {MAX_FILE_BYTES} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// A line of it is no public key.
    #[error("the file `{}` holds something else than public keys", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// Which line, and what is wrong with it.
        source: KeyError,
    },
    /// A key in it has options.
    #[error("the file `{}` cannot be used", path.display())]
    Options {
        /// The file.
        path: PathBuf,
        /// Why.
        source: UserCaError,
    },
    /// There is no key in it.
    #[error("the file `{}` holds no public key", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
}

/// The authorities that these files name.
///
/// # Errors
/// The first file that cannot be used. An authority that is silently left out
/// would lock partners out; one that is silently taken would let others in.
pub fn load(files: &[PathBuf]) -> Result<Vec<UserCa>, UserCaFileError> {
    let mut authorities = Vec::new();
    for path in files {
        authorities.extend(read(path)?);
    }
    Ok(authorities)
}

fn read(path: &Path) -> Result<Vec<UserCa>, UserCaFileError> {
    let path = path.to_owned();
    let mut text = String::new();
    let read =
        File::open(&path).and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text));
    match read {
        Err(source) => return Err(UserCaFileError::Unreadable { path, source }),
        Ok(length) if u64::try_from(length).is_ok_and(|length| length > MAX_FILE_BYTES) => {
            return Err(UserCaFileError::TooLarge { path });
        }
        Ok(_) => {}
    }
    let keys = match parse_authorized_keys(&text) {
        Ok(keys) if keys.is_empty() => return Err(UserCaFileError::Empty { path }),
        Ok(keys) => keys,
        Err(source) => return Err(UserCaFileError::Key { path, source }),
    };
    keys.into_iter()
        .map(|key| {
            UserCa::try_from(key).map_err(|source| UserCaFileError::Options {
                path: path.clone(),
                source,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti ca";

    #[test]
    fn public_keys_without_options_are_taken_and_everything_else_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let good = file("good", &format!("# authorities\n\n{KEY}\n"));
        let loaded = load(&[good.clone(), good]).unwrap();
        assert_eq!(loaded.len(), 2);
        assert_eq!(
            loaded[0].fingerprint,
            "SHA256:UCUiLr7Pjs9wFFJMDByLgc3NrtdU344OgUM45wZPcIQ"
        );
        assert!(load(&[]).unwrap().is_empty());
        let refused = |path: PathBuf| load(&[path]).unwrap_err();
        assert!(matches!(
            refused(dir.path().join("missing")),
            UserCaFileError::Unreadable { .. }
        ));
        assert!(matches!(
            refused(file("empty", "# nothing\n")),
            UserCaFileError::Empty { .. }
        ));
        assert!(matches!(
            refused(file("nonsense", "nonsense\n")),
            UserCaFileError::Key { .. }
        ));
        for options in [
            "from=\"10.0.0.1\"",
            "cert-authority",
            "expiry-time=\"20990101\"",
        ] {
            assert!(matches!(
                refused(file("options", &format!("{options} {KEY}\n"))),
                UserCaFileError::Options { .. }
            ));
        }
        let most = usize::try_from(MAX_FILE_BYTES).unwrap();
        let long = |length: usize| format!("{KEY}\n{}", "#".repeat(length - KEY.len() - 1));
        assert_eq!(load(&[file("most", &long(most))]).unwrap().len(), 1);
        assert!(matches!(
            refused(file("more", &long(most + 1))),
            UserCaFileError::TooLarge { .. }
        ));
    }
}
