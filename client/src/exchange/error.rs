//! Why a file was not exchanged.

use std::error::Error;
use std::fmt;
use std::io;

use crate::fault::{Permanence, RemoteError};
use crate::path::RemotePath;
use crate::pgp::{EncryptError, Refusal, UNDECRYPTABLE};

/// Our own side could not take or give the file.
#[derive(Debug)]
pub struct LocalError {
    /// What failed, in words for the operator.
    pub what: String,
    /// Whether trying again may help.
    pub permanence: Permanence,
    /// Why.
    pub source: Option<Box<dyn Error + Send + Sync>>,
    /// What to do about it, where that is known.
    pub remedy: Option<&'static str>,
}

impl LocalError {
    /// An error that may pass by itself.
    pub fn transient(what: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            permanence: Permanence::Transient,
            source: None,
            remedy: None,
        }
    }

    /// An error that somebody must do something about.
    pub fn permanent(what: impl Into<String>) -> Self {
        Self {
            permanence: Permanence::Permanent,
            ..Self::transient(what)
        }
    }

    /// The same with its cause.
    #[must_use]
    pub fn because(self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            source: Some(source.into()),
            ..self
        }
    }

    /// The same with what to do about it.
    #[must_use]
    pub fn with_remedy(self, remedy: &'static str) -> Self {
        Self {
            remedy: Some(remedy),
            ..self
        }
    }

    /// Something has the name, and nobody said that it may be replaced.
    pub(super) fn with_remedy_of_existing(self) -> Self {
        self.with_remedy(
            "keep it and fetch under another name (`--as NAME`), or replace it (`--replace`)",
        )
    }

    /// The system refused. Permissions and names stay as they are; a full disk
    /// may have room later.
    pub(super) fn io(what: impl Into<String>, error: io::Error) -> Self {
        let base = match error.kind() {
            io::ErrorKind::NotFound
            | io::ErrorKind::PermissionDenied
            | io::ErrorKind::AlreadyExists
            | io::ErrorKind::NotADirectory
            | io::ErrorKind::IsADirectory
            | io::ErrorKind::InvalidFilename
            | io::ErrorKind::ReadOnlyFilesystem => Self::permanent(what),
            _ => Self::transient(what),
        };
        base.because(error)
    }
}

impl fmt::Display for LocalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl Error for LocalError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// Why a file was not exchanged. Its text may be shown to anybody;
/// [`ExchangeError::for_operator`] says more.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExchangeError {
    /// A verb on the partner's server failed.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// Our side failed.
    #[error("our side failed: {0}")]
    Local(#[source] LocalError),
    /// PGP is required and the file is not what it has to be. The text is the
    /// same for every cause; the file stays on the partner's server.
    #[error("{UNDECRYPTABLE}")]
    Undecryptable {
        /// For the operator and the journal only.
        cause: Refusal,
    },
    /// It cannot be encrypted to the partner.
    #[error("the file cannot be encrypted to the partner: {0}")]
    Unencryptable(#[source] EncryptError),
    /// Nothing has that name on the partner's server.
    #[error("`{path}` is not on the partner's server")]
    Missing {
        /// The path.
        path: RemotePath,
    },
    /// A folder, a link, a device.
    #[error("`{path}` on the partner's server is not a regular file")]
    NotAFile {
        /// The path.
        path: RemotePath,
    },
    /// The partner is still writing it.
    #[error("`{path}` changed while it was downloaded: {how}")]
    SourceChanged {
        /// The path.
        path: RemotePath,
        /// What differs.
        how: String,
    },
    /// Our file changed while it was sent.
    #[error("our file changed while it was sent")]
    OurFileChanged,
    /// A file of the name is there, and nothing may be replaced.
    #[error("`{path}` is there already")]
    TargetExists {
        /// The path.
        path: RemotePath,
    },
    /// A file of the name is there, and the server cannot replace it in one
    /// step.
    #[error("`{path}` is there already, and the server cannot replace a file by renaming another")]
    CannotReplace {
        /// The path.
        path: RemotePath,
    },
    /// The upload is whole and its last step was refused.
    #[error("the uploaded file could not get its name `{path}`: {source}{rest}")]
    RenameRefused {
        /// The name that it should have.
        path: RemotePath,
        /// What the server said.
        source: Box<RemoteError>,
        /// What became of the uploaded file and of the one that it replaces.
        rest: Remainder,
    },
    /// The connection was lost in the last step, and what is there now does not
    /// show whether it was taken.
    #[error("it cannot be told whether `{path}` was delivered before the connection was lost")]
    Unsettled {
        /// The path.
        path: RemotePath,
        /// What is there.
        why: &'static str,
    },
}

/// What an upload that could not be renamed left behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Remainder {
    /// Whether the uploaded file is still there under its temporary name.
    pub partial_remains: bool,
    /// Whether the file that it was to replace is gone: it was deleted first.
    pub target_is_gone: bool,
}

impl fmt::Display for Remainder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.target_is_gone {
            f.write_str("; the file that it was to replace is already deleted")?;
        }
        if self.partial_remains {
            f.write_str("; the uploaded file is still there under its temporary name")?;
        }
        Ok(())
    }
}

impl ExchangeError {
    /// Whether trying again later may help.
    #[must_use]
    pub fn permanence(&self) -> Permanence {
        match self {
            Self::Remote(error) => error.permanence(),
            Self::RenameRefused { source, .. } => source.permanence(),
            Self::Local(error) => error.permanence,
            Self::SourceChanged { .. } | Self::OurFileChanged => Permanence::Transient,
            Self::Unencryptable(error) => match error {
                EncryptError::Source(_) | EncryptError::Sink(_) | EncryptError::Cancelled => {
                    Permanence::Transient
                }
                _ => Permanence::Permanent,
            },
            Self::Undecryptable { .. }
            | Self::Missing { .. }
            | Self::NotAFile { .. }
            | Self::TargetExists { .. }
            | Self::CannotReplace { .. }
            | Self::Unsettled { .. } => Permanence::Permanent,
        }
    }

    /// Whether the connection is of no more use.
    #[must_use]
    pub fn ends_connection(&self) -> bool {
        match self {
            Self::Remote(error) => error.ends_connection(),
            Self::RenameRefused { source, .. } => source.ends_connection(),
            _ => false,
        }
    }

    /// What happened, with what only the operator may know.
    #[must_use]
    pub fn for_operator(&self) -> String {
        match self {
            Self::Undecryptable { cause } => format!("the file was refused: {cause}"),
            Self::Local(LocalError {
                source: Some(source),
                ..
            }) => format!("{self}: {source}"),
            Self::Unsettled { why, .. } => format!("{self}: {why}"),
            _ => self.to_string(),
        }
    }

    /// What to do about it, where the exchange itself knows that better than
    /// the fault of a verb.
    #[must_use]
    pub fn remedy(&self) -> Option<&'static str> {
        Some(match self {
            Self::Remote(_) => return None,
            Self::Local(error) => return error.remedy,
            Self::Undecryptable {
                cause: Refusal::NotSigned | Refusal::WrongSignature | Refusal::SenderKey(_),
            } => {
                "ask the partner to sign with the key that `layover integration pgp set-partner` \
                 was given, or give the one that the partner signs with now"
            }
            Self::Undecryptable { .. } => {
                "ask the partner to encrypt the file to the PGP key that \
                 `layover integration kit` shows, and to upload it again"
            }
            Self::Unencryptable(_) => "ask the partner for a PGP public key that is valid",
            Self::Missing { .. } => "look which files are there: `layover integration list-files`",
            Self::NotAFile { .. } => "only regular files are moved, links are never followed",
            Self::SourceChanged { .. } => {
                "try again later; ask the partner to upload under another name and to rename"
            }
            Self::OurFileChanged => "try again when nobody writes to the file",
            Self::TargetExists { .. } => {
                "send it under another name, or allow that files are replaced"
            }
            Self::CannotReplace { .. } => {
                "allow that the old file is deleted first (for a moment no file has the name), \
                 or send it under another name"
            }
            Self::RenameRefused { .. } => {
                "ask the partner for the permission to rename in that folder, or switch the \
                 temporary suffix off"
            }
            Self::Unsettled { .. } => {
                "ask the partner whether the file arrived before sending it again"
            }
        })
    }

    pub(super) fn io(what: impl Into<String>, error: io::Error) -> Self {
        Self::Local(LocalError::io(what, error))
    }
}

impl From<LocalError> for ExchangeError {
    fn from(error: LocalError) -> Self {
        Self::Local(error)
    }
}
