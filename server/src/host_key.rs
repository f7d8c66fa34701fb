//! The server's SSH host keys: made at the first start that needs them, kept for
//! ever.
//!
//! A partner pins the host key, so a new one looks like an attack. The key is
//! therefore written whole or not at all, never replaced, and a file that
//! cannot be read is an error rather than a reason to make another.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use layover_config::{Algorithms, PemSource, SecretError, SecretRef, Sftp};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use russh::keys::ssh_key::{EcdsaCurve, LineEnding};
use russh::keys::{Algorithm, HashAlg, PrivateKey, PublicKey};

/// Folder of the keys below `data_dir`.
const KEY_DIR_NAME: &str = "keys";

/// A host key that the server makes for itself.
struct Generated {
    /// Its file below [`KEY_DIR_NAME`], as OpenSSH names it.
    name: &'static str,
    algorithm: Algorithm,
}

const ED25519: Generated = Generated {
    name: "ssh_host_ed25519_key",
    algorithm: Algorithm::Ed25519,
};

/// For clients without Ed25519. An RSA key would reach some more, but russh
/// signs with the `rsa` crate, whose private-key operations leak their timing
/// (RUSTSEC-2023-0071).
const ECDSA: Generated = Generated {
    name: "ssh_host_ecdsa_key",
    algorithm: Algorithm::Ecdsa {
        curve: EcdsaCurve::NistP256,
    },
};

/// The keys that `algorithms` need, the preferred one first.
fn generated(algorithms: Algorithms) -> &'static [Generated] {
    match algorithms {
        Algorithms::Modern => &[ED25519],
        Algorithms::Compatible => &[ED25519, ECDSA],
    }
}

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

    /// Reads an OpenSSH private key without passphrase.
    fn read(source: &SecretRef) -> Result<Self, HostKeyError> {
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

/// The keys that a server with these settings has: those that `[sftp] host_keys`
/// names, or the generated ones. Makes nothing; one that is not there yet is left
/// out.
///
/// # Errors
/// When a key cannot be read.
pub fn existing(data_dir: &Path, settings: &Sftp) -> Result<Vec<HostKey>, HostKeyError> {
    if !settings.host_keys.is_empty() {
        let own = settings.host_keys.iter().map(PemSource::reference);
        return own.map(HostKey::read).collect();
    }
    let mut keys = Vec::new();
    for path in generated_key_paths(data_dir, settings) {
        if is_there(&path)? {
            keys.push(HostKey::read(&SecretRef::File(path))?);
        }
    }
    Ok(keys)
}

/// As [`existing`], but makes the generated keys that are needed and not there.
pub(crate) fn load(data_dir: &Path, settings: &Sftp) -> Result<Vec<HostKey>, HostKeyError> {
    if settings.host_keys.is_empty() {
        let paths = generated_key_paths(data_dir, settings);
        for (path, key) in paths.iter().zip(generated(settings.algorithms)) {
            if !is_there(path)? {
                make(path, &key.algorithm)?;
                tracing::info!(file.path = %path.display(), "made the SSH host key {}", path.display());
            }
        }
    }
    let keys = existing(data_dir, settings)?;
    for key in &keys {
        if let Some(mode) = key.loose_mode() {
            tracing::warn!(
                "the host key at {} is open to other users (mode {mode:o}); run chmod 600 on it",
                key.source()
            );
        }
        if key.key.algorithm().is_rsa() {
            tracing::warn!(
                "the host key at {} is RSA: how long its signatures take tells something of it \
                 (RUSTSEC-2023-0071); use ed25519 or ECDSA where partners can",
                key.source()
            );
        }
    }
    Ok(keys)
}

/// Where the generated keys lie that these settings need, whether they are there
/// or not; none when the operator names keys.
#[must_use]
pub fn generated_key_paths(data_dir: &Path, settings: &Sftp) -> Vec<PathBuf> {
    if !settings.host_keys.is_empty() {
        return Vec::new();
    }
    generated(settings.algorithms)
        .iter()
        .map(|key| data_dir.join(KEY_DIR_NAME).join(key.name))
        .collect()
}

fn is_there(path: &Path) -> Result<bool, HostKeyError> {
    path.try_exists().map_err(|source| unwritable(path, source))
}

/// Writes a fresh key.
fn make(path: &Path, algorithm: &Algorithm) -> Result<(), HostKeyError> {
    let mut seed = zeroize::Zeroizing::new([0_u8; 32]);
    getrandom::fill(seed.as_mut()).map_err(|source| HostKeyError::NoRandomness { source })?;
    let text = PrivateKey::random(&mut StdRng::from_seed(*seed), algorithm.clone())
        .and_then(|mut key| {
            key.set_comment("layover");
            key.to_openssh(LineEnding::LF)
        })
        .map_err(|source| HostKeyError::NotEncoded { source })?;
    write_once(path, text.as_bytes()).map_err(|source| unwritable(path, source))
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

fn unwritable(path: &Path, source: io::Error) -> HostKeyError {
    HostKeyError::Unwritable {
        path: path.to_owned(),
        source,
    }
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
    /// A fresh key cannot be stored.
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use layover_config::Settings;

    use super::*;

    fn sftp(text: &str) -> Sftp {
        Settings::parse(&format!("[sftp]\n{text}"), "test", std::iter::empty())
            .unwrap()
            .sftp
    }

    fn modern() -> Sftp {
        sftp("")
    }

    fn key_path(dir: &Path) -> PathBuf {
        generated_key_paths(dir, &modern()).remove(0)
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn the_key_is_made_once_for_the_owner_only_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let first = load(dir.path(), &modern()).unwrap();
        let second = load(dir.path(), &modern()).unwrap();
        assert_eq!(first[0].fingerprint(), second[0].fingerprint());
        assert!(first[0].fingerprint().starts_with("ssh-ed25519 SHA256:"));
        assert_eq!(mode(&key_path(dir.path())), 0o600);
        assert_eq!(mode(&dir.path().join(KEY_DIR_NAME)), 0o700);
        assert_eq!(
            fs::read_dir(dir.path().join(KEY_DIR_NAME)).unwrap().count(),
            1
        );
        assert_eq!(first[0].loose_mode(), None);
    }

    #[test]
    fn a_key_open_to_others_is_noticed_and_still_used() {
        let dir = tempfile::tempdir().unwrap();
        load(dir.path(), &modern()).unwrap();
        let path = key_path(dir.path());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert_eq!(
            load(dir.path(), &modern()).unwrap()[0].loose_mode(),
            Some(0o640)
        );
    }

    #[test]
    fn a_damaged_key_is_an_error_and_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        load(dir.path(), &modern()).unwrap();
        let path = key_path(dir.path());
        fs::write(&path, "damaged").unwrap();
        assert!(matches!(
            load(dir.path(), &modern()),
            Err(HostKeyError::NotAKey { .. })
        ));
        assert_eq!(fs::read(&path).unwrap(), b"damaged");
    }

    #[test]
    fn a_key_that_came_meanwhile_is_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let first = load(dir.path(), &modern()).unwrap();
        make(&key_path(dir.path()), &Algorithm::Ed25519).unwrap();
        let second = existing(dir.path(), &modern()).unwrap();
        assert_eq!(second[0].fingerprint(), first[0].fingerprint());
    }

    #[test]
    fn own_keys_are_used_instead_and_none_is_made() {
        let dir = tempfile::tempdir().unwrap();
        let other = tempfile::tempdir().unwrap();
        let own = load(other.path(), &modern()).unwrap();
        let with_keys =
            |path: &Path| sftp(&format!("host_keys = [{:?}]\n", path.display().to_string()));
        let loaded = load(dir.path(), &with_keys(&key_path(other.path()))).unwrap();
        assert_eq!(loaded[0].fingerprint(), own[0].fingerprint());
        assert!(!key_path(dir.path()).exists());
        let missing = with_keys(&dir.path().join("missing"));
        assert!(matches!(
            load(dir.path(), &missing),
            Err(HostKeyError::Unreadable { .. })
        ));
    }

    #[test]
    fn compatible_makes_an_ecdsa_key_beside_and_modern_does_not_offer_it() {
        let dir = tempfile::tempdir().unwrap();
        let compatible = sftp("algorithms = \"compatible\"");
        let alone = load(dir.path(), &modern()).unwrap();
        assert_eq!(existing(dir.path(), &compatible).unwrap().len(), 1);
        let both = load(dir.path(), &compatible).unwrap();
        let prints: Vec<_> = both.iter().map(HostKey::fingerprint).collect();
        assert_eq!(prints[0], alone[0].fingerprint());
        assert!(prints[1].starts_with("ecdsa-sha2-nistp256 SHA256:"));
        let paths = generated_key_paths(dir.path(), &compatible);
        assert_eq!(mode(&paths[1]), 0o600);
        let again = load(dir.path(), &compatible).unwrap();
        assert_eq!(again[1].fingerprint(), prints[1]);
        assert_eq!(load(dir.path(), &modern()).unwrap().len(), 1);
        assert!(paths[1].exists());
    }
}
