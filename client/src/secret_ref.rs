//! References to secrets: where a password, key or passphrase is kept by the
//! operator. It is fetched at each use and never stored.
//!
//! The way in is [`SecretRef::resolve`].

mod file;
mod vault;

use std::ffi::OsString;
use std::fmt;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::fault::Permanence;
use layover_depot::Secret;

pub use file::FileAccess;
pub use vault::{MAX_VAULT_ANSWER_BYTES, VaultError, VaultOptions};

/// The longest secret, in bytes: a private key has a few kilobytes.
pub const MAX_SECRET_BYTES: usize = 64 * 1024;
/// The longest reference, in bytes: a path of the system with its scheme.
pub const MAX_REFERENCE_BYTES: usize = 4_200;

/// Where a secret is: `env:NAME`, `file:/path` or `vault:path#field`.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum SecretRef {
    /// In a variable of our environment.
    Env(String),
    /// In a file; one line end behind it is no part of it.
    File(PathBuf),
    /// In HashiCorp Vault's key-value store, version 2.
    Vault {
        /// `mount/entry`, or with `/data/` behind the mount as Vault's own API
        /// writes it, which a mount of several parts needs.
        path: String,
        /// Field of the entry.
        field: String,
    },
}

/// A text is no reference. It is not repeated: it may be the secret itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("expected a secret reference: env:NAME, file:/path or vault:path#field")]
pub struct SecretRefError;

/// What references may need besides themselves.
#[derive(Clone, Debug, Default)]
pub struct SecretSources {
    /// Who else may read a secret's file.
    pub file_access: FileAccess,
    /// How to reach Vault; without it `vault:` fails.
    pub vault: Option<VaultOptions>,
}

/// Why a secret could not be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SecretError {
    /// The variable is not set.
    #[error("environment variable `{name}` is not set")]
    NotSet {
        /// The variable.
        name: String,
    },
    /// The file cannot be read.
    #[error("secret file `{}` cannot be read", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Others may read the file.
    #[error("secret file `{}` has mode {mode:03o}: everybody on the machine can use it; `chmod o= FILE`", path.display())]
    TooOpen {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Nothing in it.
    #[error("the secret at `{reference}` is empty")]
    Empty {
        /// Where.
        reference: SecretRef,
    },
    /// Over [`MAX_SECRET_BYTES`].
    #[error("the secret at `{reference}` is longer than {MAX_SECRET_BYTES} bytes")]
    TooLong {
        /// Where.
        reference: SecretRef,
    },
    /// No address of a Vault.
    #[error("`{reference}` cannot be read: no Vault is configured")]
    NoVault {
        /// Where.
        reference: SecretRef,
    },
    /// Vault did not give it.
    #[error("`{reference}` cannot be read from Vault: {source}")]
    Vault {
        /// Where.
        reference: SecretRef,
        /// Why.
        source: VaultError,
    },
}

impl SecretError {
    /// Whether trying again later may help.
    #[must_use]
    pub fn permanence(&self) -> Permanence {
        match self {
            Self::Vault { source, .. } => source.permanence(),
            _ => Permanence::Permanent,
        }
    }
}

impl SecretRef {
    /// Fetches the secret. Fails when it is not there, empty or too long.
    pub async fn resolve(&self, sources: &SecretSources) -> Result<Secret, SecretError> {
        self.resolve_in(sources, |name| std::env::var_os(name))
            .await
    }

    async fn resolve_in(
        &self,
        sources: &SecretSources,
        variable: impl Fn(&str) -> Option<OsString> + Send + Sync,
    ) -> Result<Secret, SecretError> {
        let secret = match self {
            Self::Vault { path, field } => {
                let Some(vault) = &sources.vault else {
                    return Err(SecretError::NoVault {
                        reference: self.clone(),
                    });
                };
                let token = vault
                    .token
                    .resolve_here(sources.file_access, &variable)
                    .await;
                match token {
                    Ok(token) => vault::read(vault, &token, path, field).await,
                    Err(error) => Err(VaultError::Token {
                        source: Box::new(error),
                    }),
                }
                .map_err(|source| SecretError::Vault {
                    reference: self.clone(),
                    source,
                })?
            }
            Self::Env(_) | Self::File(_) => {
                self.resolve_here(sources.file_access, &variable).await?
            }
        };
        self.checked(secret)
    }

    /// Without Vault: what Vault's own token is read with.
    async fn resolve_here(
        &self,
        file_access: FileAccess,
        variable: &(impl Fn(&str) -> Option<OsString> + Sync),
    ) -> Result<Secret, SecretError> {
        let secret = match self {
            Self::Env(name) => variable(name)
                .map(|value| Secret::new(value.into_vec()))
                .ok_or_else(|| SecretError::NotSet { name: name.clone() })?,
            Self::File(path) => file::read(path.clone(), file_access).await?,
            Self::Vault { .. } => {
                return Err(SecretError::NoVault {
                    reference: self.clone(),
                });
            }
        };
        self.checked(secret)
    }

    fn checked(&self, secret: Secret) -> Result<Secret, SecretError> {
        let reference = || self.clone();
        match secret.expose().len() {
            0 => Err(SecretError::Empty {
                reference: reference(),
            }),
            length if length > MAX_SECRET_BYTES => Err(SecretError::TooLong {
                reference: reference(),
            }),
            _ => Ok(secret),
        }
    }
}

impl FromStr for SecretRef {
    type Err = SecretRefError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() > MAX_REFERENCE_BYTES || text.chars().any(char::is_control) {
            return Err(SecretRefError);
        }
        let (scheme, rest) = text.split_once(':').ok_or(SecretRefError)?;
        match scheme {
            "env" if is_variable_name(rest) => Ok(Self::Env(rest.to_owned())),
            "file" if !rest.is_empty() => Ok(Self::File(PathBuf::from(rest))),
            "vault" => match rest.rsplit_once('#') {
                Some((path, field)) if vault::is_entry(path) && !field.is_empty() => {
                    Ok(Self::Vault {
                        path: path.to_owned(),
                        field: field.to_owned(),
                    })
                }
                _ => Err(SecretRefError),
            },
            _ => Err(SecretRefError),
        }
    }
}

fn is_variable_name(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with(|c: char| c.is_ascii_digit())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(f, "env:{name}"),
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Vault { path, field } => write!(f, "vault:{path}#{field}"),
        }
    }
}

#[cfg(test)]
mod tests;
