//! Secrets in files.

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use zeroize::Zeroizing;

use super::{MAX_SECRET_BYTES, SecretError};
use layover_depot::Secret;

/// Who may be able to read a secret's file.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum FileAccess {
    /// That is the operator's affair: mounted secrets of containers are often
    /// readable by everybody there.
    #[default]
    Anybody,
    /// Files that others than owner and group may use are refused.
    NotOthers,
}

/// The file's content without one line end behind it, up to one byte more than
/// a secret may have.
pub(super) async fn read(path: PathBuf, access: FileAccess) -> Result<Secret, SecretError> {
    let shown = path.clone();
    tokio::task::spawn_blocking(move || read_now(&path, access))
        .await
        .unwrap_or_else(|_| {
            Err(SecretError::Unreadable {
                path: shown,
                source: io::ErrorKind::Interrupted.into(),
            })
        })
}

fn read_now(path: &Path, access: FileAccess) -> Result<Secret, SecretError> {
    let unreadable = |source| SecretError::Unreadable {
        path: path.to_owned(),
        source,
    };
    // A pipe would be waited for until somebody writes into it.
    let mut file = OpenOptions::new()
        .read(true)
        .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
        .open(path)
        .map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    if metadata.is_dir() {
        return Err(unreadable(io::ErrorKind::IsADirectory.into()));
    }
    if !metadata.is_file() {
        return Err(unreadable(io::Error::other(
            "it is a pipe, socket or device, not a regular file",
        )));
    }
    let mode = metadata.permissions().mode() & 0o777;
    if access == FileAccess::NotOthers && mode & 0o007 != 0 {
        return Err(SecretError::TooOpen {
            path: path.to_owned(),
            mode,
        });
    }
    // The room for all of it, its line end and one byte too many is reserved at
    // once: a vector that grows leaves copies behind.
    let limit = MAX_SECRET_BYTES + 3;
    let mut content = Zeroizing::new(Vec::with_capacity(limit));
    let limit = u64::try_from(limit).unwrap_or(u64::MAX);
    Read::by_ref(&mut file)
        .take(limit)
        .read_to_end(&mut content)
        .map_err(unreadable)?;
    for end in *b"\n\r" {
        if content.last() == Some(&end) {
            content.pop();
        }
    }
    Ok(Secret::new(std::mem::take(&mut *content)))
}
