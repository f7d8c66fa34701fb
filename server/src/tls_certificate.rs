//! The server's TLS certificate for FTPS: the operator's, or one made at the
//! first start that needs it and kept.
//!
//! Partners pin a self-signed certificate, so it is written whole or not at all,
//! never replaced, and a damaged one is an error rather than a reason to make
//! another. Key and certificate lie in one file: two could not be written at
//! once.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use layover_config::{SecretError, SecretRef};
use layover_ftps::{Identity, IdentityFault, Tls, self_signed};
use layover_retention::Timestamp;

use crate::host_key::write_once;

/// Folder of the keys below `data_dir`.
const KEY_DIR_NAME: &str = "keys";

/// The file of the certificate that the server makes for itself.
const GENERATED_NAME: &str = "ftps.pem";

/// The operator's certificate: the chain and the key in PEM; both may be the same.
///
/// # Errors
/// When one cannot be read or they do not belong together.
pub fn read(chain: &SecretRef, key: &SecretRef) -> Result<Identity, TlsCertificateError> {
    let text = |from: &SecretRef| {
        from.resolve()
            .map_err(|source| TlsCertificateError::Unreadable { source })
    };
    Identity::from_pem(&text(chain)?, &text(key)?).map_err(|source| TlsCertificateError::Unusable {
        chain: chain.clone(),
        key: key.clone(),
        source: Box::new(source),
    })
}

/// The generated certificate, made first when it is not there: valid from `now`
/// for `public_name`, which counts only then. Warns when it has expired.
///
/// # Errors
/// When it cannot be made or read.
pub fn load(
    data_dir: &Path,
    public_name: &str,
    now: Timestamp,
) -> Result<Identity, TlsCertificateError> {
    let path = generated_path(data_dir);
    let unwritable = |source| TlsCertificateError::Unwritable {
        path: path.clone(),
        source,
    };
    if !path.try_exists().map_err(unwritable)? {
        let text =
            self_signed(public_name, now).map_err(|source| TlsCertificateError::NotMade {
                source: Box::new(source),
            })?;
        write_once(&path, text.as_bytes()).map_err(unwritable)?;
        tracing::info!(file.path = %path.display(), "made the TLS certificate {}", path.display());
    }
    let place = SecretRef::File(path);
    let identity = read(&place, &place)?;
    if let Some(warning) = identity.warning(now) {
        tracing::warn!("{place}: {warning}");
    }
    Ok(identity)
}

/// The certificate in use, and where it came from. Whoever renews it at its place is
/// noticed without a restart.
#[derive(Debug)]
pub(crate) struct Renewal {
    chain: SecretRef,
    key: SecretRef,
    tls: Arc<Tls>,
    fingerprint: Mutex<String>,
}

impl Renewal {
    /// Of `tls`, whose certificate came from these and has this fingerprint.
    pub(crate) fn new(chain: SecretRef, key: SecretRef, tls: Arc<Tls>, fingerprint: &str) -> Self {
        Self {
            chain,
            key,
            tls,
            fingerprint: Mutex::new(fingerprint.to_owned()),
        }
    }

    /// Takes over another certificate, when there is one by now: connections that
    /// begin from now on get it. On an error the one in use stays.
    ///
    /// # Errors
    /// As [`read`].
    pub(crate) fn look(&self) -> Result<(), TlsCertificateError> {
        let identity = read(&self.chain, &self.key)?;
        let mut known = self
            .fingerprint
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if *known != identity.fingerprint() {
            identity.fingerprint().clone_into(&mut known);
            tracing::info!("another TLS certificate is in use: SHA256:{known}");
            self.tls.reload(identity);
        }
        Ok(())
    }
}

/// Where the generated certificate and its key lie.
#[must_use]
pub fn generated_path(data_dir: &Path) -> PathBuf {
    data_dir.join(KEY_DIR_NAME).join(GENERATED_NAME)
}

/// Why there is no TLS certificate.
#[derive(Debug, thiserror::Error)]
pub enum TlsCertificateError {
    /// The chain or the key cannot be had.
    #[error("the TLS certificate or its key cannot be read")]
    Unreadable {
        /// Which one and why.
        source: SecretError,
    },
    /// They are malformed or do not belong together.
    #[error("the TLS certificate `{chain}` with the key `{key}` cannot be used")]
    Unusable {
        /// Where the chain lies.
        chain: SecretRef,
        /// Where the key lies.
        key: SecretRef,
        /// What is wrong.
        source: Box<IdentityFault>,
    },
    /// A certificate cannot be made.
    #[error("a TLS certificate cannot be made")]
    NotMade {
        /// Why.
        source: Box<IdentityFault>,
    },
    /// A fresh certificate cannot be stored.
    #[error("the TLS certificate `{}` cannot be made", path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const NOW: Timestamp = Timestamp::from_micros(1_790_000_000_000_000);

    #[test]
    fn the_certificate_is_made_once_for_the_owner_only_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let first = load(dir.path(), "ftp.example.com", NOW).unwrap();
        let second = load(dir.path(), "other.example.com", NOW).unwrap();
        assert_eq!(first.fingerprint(), second.fingerprint());
        let path = generated_path(dir.path());
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o600);
        let files = fs::read_dir(path.parent().unwrap()).unwrap();
        assert_eq!(files.count(), 1);
    }

    #[test]
    fn a_damaged_certificate_is_an_error_that_names_it_and_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        load(dir.path(), "ftp.example.com", NOW).unwrap();
        let path = generated_path(dir.path());
        fs::write(&path, "damaged").unwrap();
        let error = load(dir.path(), "ftp.example.com", NOW).unwrap_err();
        assert!(error.to_string().contains("ftps.pem"));
        assert_eq!(fs::read(&path).unwrap(), b"damaged");
    }

    #[test]
    fn a_renewed_certificate_is_taken_over_and_a_damaged_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let first = load(dir.path(), "ftp.example.com", NOW).unwrap();
        let prints = first.fingerprint().to_owned();
        let path = generated_path(dir.path());
        let place = SecretRef::File(path.clone());
        let tls = Arc::new(Tls::new(layover_ftps::TlsOptions::default(), first));
        let renewal = Renewal::new(place.clone(), place, tls, &prints);
        let in_use = || renewal.fingerprint.lock().unwrap().clone();
        renewal.look().unwrap();
        assert_eq!(in_use(), prints);
        fs::write(&path, "damaged").unwrap();
        assert!(renewal.look().is_err());
        assert_eq!(in_use(), prints);
        fs::remove_file(&path).unwrap();
        let second = load(dir.path(), "ftp.example.com", NOW).unwrap();
        renewal.look().unwrap();
        assert_eq!(in_use(), second.fingerprint());
        assert_ne!(in_use(), prints);
    }
}
