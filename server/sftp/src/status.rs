//! What a fault of the depot becomes on the wire: one table, without a
//! catch-all, so that a new fault must be placed here.

use layover_depot::VfsError;

use crate::codec::Code;

/// The status code and the sentence for the peer. The sentence never tells
/// what the account may not know: no host path, no other account.
pub(crate) fn of(error: &VfsError) -> (Code, String) {
    let code = match error {
        VfsError::NotFound { .. } => Code::NoSuchFile,
        VfsError::NotPermitted { .. } => Code::PermissionDenied,
        VfsError::Held { .. } => Code::PermissionDenied,
        VfsError::AlreadyExists { .. } => Code::Failure,
        VfsError::IsDirectory { .. } => Code::Failure,
        VfsError::NotDirectory { .. } => Code::NoSuchFile,
        VfsError::DirectoryNotEmpty { .. } => Code::Failure,
        VfsError::BadPath(_) => Code::Failure,
        VfsError::QuotaExceeded { .. } => Code::Failure,
        VfsError::DiskFull => Code::Failure,
        VfsError::ReadOnlyStorage => Code::Failure,
        VfsError::TooLarge => Code::Failure,
        VfsError::TooManyEntries { .. } => Code::Failure,
        VfsError::Busy { .. } => Code::Failure,
        VfsError::Unsupported { .. } => Code::Unsupported,
        VfsError::SessionEnded => Code::Failure,
        VfsError::Storage { .. } => Code::Failure,
        VfsError::HomesAway => Code::Failure,
        VfsError::Database { .. } => Code::Failure,
    };
    let sentence = match error {
        VfsError::BadPath(why) => format!("bad path: {why}"),
        VfsError::Storage { .. } | VfsError::HomesAway | VfsError::Database { .. } => {
            "the server could not do this; try again later".to_owned()
        }
        other => other.to_string(),
    };
    (code, sentence)
}
