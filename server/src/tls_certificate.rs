//! The server's TLS certificate for FTPS: the operator's, or one made at the
//! first start that needs it and kept.
//!
//! Partners pin a self-signed certificate, so it is written whole or not at all,
//! never replaced, and a damaged one is an error rather than a reason to make
//! another. Key and certificate lie in one file: two could not be written at
//! once.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use layover_config::{SecretError, SecretRef};
use layover_ftps::{
    Certificate, Identity, IdentityFault, IdentityWarning, Tls, Validity, self_signed,
};
use layover_retention::Timestamp;
use serde::{Deserialize, Serialize};

use crate::host_key::{KEY_DIR_NAME, write_once};
use crate::jobs::chain as with_causes;

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

/// The certificates of a PEM file without a key.
///
/// # Errors
/// When it cannot be read, or holds something else.
pub fn read_certificates(file: &Path) -> Result<Vec<Certificate>, TlsCertificateError> {
    let place = SecretRef::File(file.to_owned());
    let text = place
        .resolve()
        .map_err(|source| TlsCertificateError::Unreadable { source })?;
    Certificate::from_pem(&text).map_err(|source| TlsCertificateError::NotCertificates {
        file: file.to_owned(),
        source: Box::new(source),
    })
}

/// The certificate of a chain that issued itself, in DER form: who trusts it needs no
/// other. `None`: the chain ends in an authority that clients must know.
#[must_use]
pub fn trust_anchor(chain: &[Certificate]) -> Option<Vec<u8>> {
    let mut from_the_end = chain.iter().rev();
    let anchor = from_the_end.find(|certificate| certificate.is_self_signed())?;
    Some(anchor.der().to_vec())
}

/// The generated certificate, made first when it is not there: valid from `now`
/// for `public_name`, which counts only then.
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
    read(&place, &place)
}

/// The certificate in use, as others of this machine are told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlsCertificateState {
    /// `SHA256:...`, in hexadecimal digits.
    pub fingerprint: String,
    /// When it begins to be valid.
    pub not_before: Timestamp,
    /// When it ceases to be.
    pub not_after: Timestamp,
    /// Why what lies at its place now cannot take its place.
    #[serde(default)]
    pub fault: Option<String>,
}

impl TlsCertificateState {
    /// Of a certificate that can be used.
    #[must_use]
    pub fn of(identity: &Identity) -> Self {
        let Validity {
            not_before,
            not_after,
        } = identity.validity();
        Self {
            fingerprint: format!("SHA256:{}", identity.fingerprint()),
            not_before,
            not_after,
            fault: None,
        }
    }

    /// Whole days until it expires; 0 behind that.
    #[must_use]
    pub fn days_left(&self, now: Timestamp) -> u64 {
        self.validity().days_left(now)
    }

    /// What is to be said against its dates at `now`.
    #[must_use]
    pub fn warning(&self, now: Timestamp) -> Option<String> {
        let warning = self.validity().warning(now);
        warning.map(|warning| warning.to_string())
    }

    fn validity(&self) -> Validity {
        Validity {
            not_before: self.not_before,
            not_after: self.not_after,
        }
    }
}

/// The certificate in use, and where it came from. Whoever renews it at its place is
/// noticed without a restart.
#[derive(Debug)]
pub(crate) struct Renewal {
    chain: SecretRef,
    key: SecretRef,
    tls: Arc<Tls>,
    seen: Mutex<Seen>,
}

#[derive(Debug)]
struct Seen {
    state: TlsCertificateState,
    /// What was last said against its dates.
    warned: Option<IdentityWarning>,
}

/// What a look has found, when it is news.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Looked {
    /// Nothing.
    AsBefore,
    /// Another certificate, which new connections get.
    Renewed {
        /// The fingerprint of the one before.
        from: String,
    },
    /// What could not be used can be now; it is the certificate in use.
    Mended,
    /// What lies there cannot be used; the certificate in use stays.
    Unusable {
        /// Why.
        reason: String,
    },
}

impl Renewal {
    /// Of `tls`, which has this certificate from these places. Says what is to be
    /// said against its dates.
    pub(crate) fn new(
        (chain, key): (SecretRef, SecretRef),
        tls: Arc<Tls>,
        state: TlsCertificateState,
        now: Timestamp,
    ) -> Self {
        let mut seen = Seen {
            state,
            warned: None,
        };
        seen.warn(&chain, now);
        Self {
            chain,
            key,
            tls,
            seen: Mutex::new(seen),
        }
    }

    /// The certificate in use, and what is wrong with what lies at its place.
    pub(crate) fn state(&self) -> TlsCertificateState {
        self.seen().state.clone()
    }

    /// Takes over another certificate, when there is one by now: connections that
    /// begin from now on get it. When it cannot be used, the one in use stays.
    pub(crate) fn look(&self, now: Timestamp) -> Looked {
        let read = read(&self.chain, &self.key);
        let mut seen = self.seen();
        let looked = match read {
            Err(error) => {
                let reason = with_causes(&error);
                let news = seen.state.fault.as_ref() != Some(&reason);
                seen.state.fault = Some(reason.clone());
                if news {
                    Looked::Unusable { reason }
                } else {
                    Looked::AsBefore
                }
            }
            Ok(identity) => {
                let state = TlsCertificateState::of(&identity);
                let before = std::mem::replace(&mut seen.state, state);
                if before.fingerprint != seen.state.fingerprint {
                    self.tls.reload(identity);
                    Looked::Renewed {
                        from: before.fingerprint,
                    }
                } else if before.fault.is_some() {
                    Looked::Mended
                } else {
                    Looked::AsBefore
                }
            }
        };
        seen.warn(&self.chain, now);
        looked
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    /// Says what is to be said against the dates, whenever it is something else: when
    /// little is left, each day.
    fn warn(&mut self, place: &SecretRef, now: Timestamp) {
        let warning = self.state.validity().warning(now);
        if warning == self.warned {
            return;
        }
        self.warned = warning;
        match warning {
            Some(soon @ IdentityWarning::ExpiresSoon { .. }) => {
                tracing::warn!("TLS certificate {place}: {soon}; renew it");
            }
            Some(unusable) => tracing::error!("TLS certificate {place}: {unusable}; renew it"),
            None => {}
        }
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
    /// A file of certificates is malformed.
    #[error("`{}` holds no certificates that can be used", file.display())]
    NotCertificates {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        source: Box<IdentityFault>,
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
    /// No signing request can be made.
    #[error("no signing request can be made with the key `{key}`")]
    NoRequest {
        /// Where the key lies.
        key: SecretRef,
        /// Why.
        source: Box<IdentityFault>,
    },
    /// A certificate is the settings' business.
    #[error("[ftps] certificate names the TLS certificate: it is changed there")]
    NamedBySettings {
        /// Where its chain lies.
        chain: PathBuf,
        /// Where its key lies.
        key: SecretRef,
    },
    /// A certificate is for another key.
    #[error(
        "the certificate in `{}` is neither for the key in use nor for one that waits for its \
         certificate",
        file.display()
    )]
    ForNoKey {
        /// The file.
        file: PathBuf,
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

    fn renewal_of(dir: &Path) -> Renewal {
        let first = load(dir, "ftp.example.com", NOW).unwrap();
        let place = SecretRef::File(generated_path(dir));
        let state = TlsCertificateState::of(&first);
        let tls = Arc::new(Tls::new(layover_ftps::TlsOptions::default(), first));
        Renewal::new((place.clone(), place), tls, state, NOW)
    }

    #[test]
    fn a_renewed_certificate_is_taken_over_and_a_damaged_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let renewal = renewal_of(dir.path());
        let first = renewal.state().fingerprint;
        assert_eq!(renewal.look(NOW), Looked::AsBefore);

        let path = generated_path(dir.path());
        let text = fs::read(&path).unwrap();
        fs::write(&path, "damaged").unwrap();
        let Looked::Unusable { reason } = renewal.look(NOW) else {
            panic!("a damaged certificate is told");
        };
        assert!(reason.contains("ftps.pem"), "{reason}");
        assert_eq!(renewal.look(NOW), Looked::AsBefore, "told once");
        let state = renewal.state();
        assert_eq!(
            (state.fingerprint, state.fault),
            (first.clone(), Some(reason))
        );
        fs::write(&path, text).unwrap();
        assert_eq!(renewal.look(NOW), Looked::Mended);
        assert_eq!(renewal.state().fault, None);

        fs::remove_file(&path).unwrap();
        let second = load(dir.path(), "ftp.example.com", NOW).unwrap();
        let from = first;
        assert_eq!(renewal.look(NOW), Looked::Renewed { from });
        assert_eq!(renewal.state(), TlsCertificateState::of(&second));
    }

    #[test]
    fn dates_are_warned_of_when_what_is_to_be_said_changes() {
        let dir = tempfile::tempdir().unwrap();
        let renewal = renewal_of(dir.path());
        let end = renewal.state().not_after;
        let day = std::time::Duration::from_secs(24 * 60 * 60);
        let warned = |now| {
            renewal.look(now);
            renewal.seen().warned
        };
        assert_eq!(warned(NOW), None);
        let soon = warned(end.saturating_sub(day * 9));
        assert_eq!(
            soon,
            Some(IdentityWarning::ExpiresSoon { at: end, days: 9 })
        );
        let over = warned(end.saturating_add(day));
        assert_eq!(over, Some(IdentityWarning::Expired { at: end }));
        assert_eq!(renewal.state().days_left(end.saturating_add(day)), 0);
    }
}
