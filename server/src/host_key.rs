//! An SSH host key: read, made, written. Which ones there are, `host_key_set.rs` knows.
//!
//! A partner pins the host key, so a new one looks like an attack. The key is
//! therefore written whole or not at all, never replaced, and a file that
//! cannot be read is an error rather than a reason to make another.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use layover_config::{SecretError, SecretRef};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use russh::keys::ssh_key::LineEnding;
use russh::keys::{Algorithm, HashAlg, PrivateKey, PublicKey};
use zeroize::Zeroizing;

/// Folder of the keys below `data_dir`.
pub(crate) const KEY_DIR_NAME: &str = "keys";

/// Permissions that a private key's file must not have: group and others.
const FOREIGN_ACCESS: u32 = 0o077;

/// A host key and where it lies.
#[derive(Clone, Debug)]
pub struct HostKey {
    source: SecretRef,
    key: PrivateKey,
}

impl HostKey {
    /// What a client shows on its first visit: `ssh-ed25519 SHA256:...`.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        format!("{} {}", self.algorithm(), self.sha256())
    }

    /// Its algorithm as SSH names it: `ssh-ed25519`.
    #[must_use]
    pub fn algorithm(&self) -> String {
        self.key.algorithm().as_str().to_owned()
    }

    /// `SHA256:...`, as `ssh-keygen -l` shows it.
    #[must_use]
    pub fn sha256(&self) -> String {
        self.key.fingerprint(HashAlg::Sha256).to_string()
    }

    /// Its public half as `known_hosts` has it behind the host: `ssh-ed25519 AAAA...`.
    ///
    /// # Errors
    /// When it cannot be encoded.
    pub fn public_line(&self) -> Result<String, HostKeyError> {
        // Without the comment.
        PublicKey::from(self.key.public_key().key_data().clone())
            .to_openssh()
            .map_err(|source| HostKeyError::NotEncoded { source })
    }

    /// The mode of the key's file when others than its owner can get at it.
    #[must_use]
    pub fn loose_mode(&self) -> Option<u32> {
        let SecretRef::File(path) = &self.source else {
            return None;
        };
        let mode = fs::metadata(path).ok()?.mode() & 0o7777;
        (mode & FOREIGN_ACCESS != 0).then_some(mode)
    }

    /// Where the key lies.
    #[must_use]
    pub fn source(&self) -> &SecretRef {
        &self.source
    }

    /// The key for the SSH engine.
    pub(crate) fn into_private_key(self) -> PrivateKey {
        self.key
    }

    /// Says in the log what is to be said against it.
    pub(crate) fn warn(&self) {
        if let Some(mode) = self.loose_mode() {
            tracing::warn!(
                "the host key at {} is open to other users (mode {mode:o}); run chmod 600 on it",
                self.source
            );
        }
        if self.key.algorithm().is_rsa() {
            tracing::warn!(
                "the host key at {} is RSA: how long its signatures take tells something of it \
                 (RUSTSEC-2023-0071); use ed25519 or ECDSA where partners can",
                self.source
            );
        }
    }

    /// Reads an OpenSSH private key without passphrase.
    pub(crate) fn read(source: &SecretRef) -> Result<Self, HostKeyError> {
        let source = source.clone();
        let text = source
            .resolve()
            .map_err(|source| HostKeyError::Unreadable { source })?;
        let key = match PrivateKey::from_openssh(text.as_slice()) {
            Ok(key) => key,
            Err(error) => {
                return Err(HostKeyError::NotAKey {
                    key: source,
                    source: error,
                });
            }
        };
        if key.is_encrypted() {
            return Err(HostKeyError::Encrypted { key: source });
        }
        Ok(Self { source, key })
    }
}

/// A fresh private key in OpenSSH's form.
pub(crate) fn fresh(algorithm: &Algorithm) -> Result<Zeroizing<String>, HostKeyError> {
    let mut seed = Zeroizing::new([0_u8; 32]);
    getrandom::fill(seed.as_mut()).map_err(|source| HostKeyError::NoRandomness { source })?;
    PrivateKey::random(&mut StdRng::from_seed(*seed), algorithm.clone())
        .and_then(|mut key| {
            key.set_comment("layover");
            key.to_openssh(LineEnding::LF)
        })
        .map_err(|source| HostKeyError::NotEncoded { source })
}

/// Writes a secret that nobody has written yet: a temporary file, fsync, a link to
/// the final name (which fails rather than replace one that came meanwhile), fsync
/// of the folder.
pub(crate) fn write_once(path: &Path, text: &[u8]) -> io::Result<()> {
    let dir = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let unfinished = path.with_extension(format!("{}.new", std::process::id()));
    let written = (|| {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&unfinished)?;
        file.write_all(text)?;
        file.sync_all()?;
        match fs::hard_link(&unfinished, path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            other => other,
        }
    })();
    let removed = fs::remove_file(&unfinished);
    written.and(removed)?;
    File::open(dir)?.sync_all()
}

/// Puts another text in the place of a file of this user alone: a temporary file, fsync, a
/// rename, fsync of the folder. Whoever reads sees the one or the other, whole.
pub(crate) fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    let dir = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let unfinished = path.with_extension(format!("{}.new", std::process::id()));
    let written = (|| {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&unfinished)?;
        file.write_all(text)?;
        file.sync_all()?;
        fs::rename(&unfinished, path)
    })();
    if let Err(error) = written {
        let _ = fs::remove_file(&unfinished);
        return Err(error);
    }
    File::open(dir)?.sync_all()
}

/// Why there is no host key.
#[derive(Debug, thiserror::Error)]
pub enum HostKeyError {
    /// The key cannot be had.
    #[error("the SSH host key cannot be read")]
    Unreadable {
        /// Which one and why.
        source: SecretError,
    },
    /// The content is no OpenSSH private key.
    #[error("the host key at `{key}` is no OpenSSH private key")]
    NotAKey {
        /// Where it lies.
        key: SecretRef,
        /// What the parser says.
        source: russh::keys::ssh_key::Error,
    },
    /// The key has a passphrase.
    #[error("the host key at `{key}` has a passphrase; remove it with `ssh-keygen -p -N ''`")]
    Encrypted {
        /// Where it lies.
        key: SecretRef,
    },
    /// A fresh key cannot be written as text.
    #[error("a fresh host key cannot be encoded")]
    NotEncoded {
        /// What the encoder says.
        source: russh::keys::ssh_key::Error,
    },
    /// The list of keys cannot be read.
    #[error("the list of host keys `{}` cannot be used", path.display())]
    ListUnusable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The keys are the settings' business.
    #[error("[sftp] host_keys names the host keys: they are changed there")]
    NamedBySettings,
    /// There is no key of this fingerprint.
    #[error("there is no host key `{sha256}`")]
    Unknown {
        /// As it was given.
        sha256: String,
    },
    /// The key is there already.
    #[error("the host key {sha256} is there already")]
    Known {
        /// The key.
        sha256: String,
    },
    /// A file of the list was replaced.
    #[error("the host key at `{key}` is not {sha256}")]
    Other {
        /// Where it lies.
        key: SecretRef,
        /// The key that should be there.
        sha256: String,
    },
    /// By the list no client could connect.
    #[error("by the list of host keys `{}` none is served", path.display())]
    NoneServed {
        /// The file.
        path: PathBuf,
    },
    /// Without it no client could connect.
    #[error("the host key {sha256} is the only one that is served")]
    Last {
        /// The key.
        sha256: String,
    },
    /// There are enough.
    #[error("there are {most} host keys already, retired ones included")]
    TooMany {
        /// The limit.
        most: usize,
    },
    /// A key or the list of keys cannot be stored.
    #[error("the host key `{}` cannot be made", path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// The operating system gave no random bytes.
    #[error("the operating system gave no random bytes for a host key")]
    NoRandomness {
        /// What it says.
        source: getrandom::Error,
    },
}
