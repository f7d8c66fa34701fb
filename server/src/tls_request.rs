//! A certificate of an authority for FTPS: the request for it, and its way to the place of
//! the server's own certificate, from which a running server takes it.
//!
//! A new key waits beside the one in use until its certificate has come: nothing that is
//! served changes before. Whoever fetches certificates by a program (ACME) would go the
//! same two steps.

use std::path::{Path, PathBuf};

use layover_config::{SecretError, SecretRef, Settings};
use layover_ftps::{Identity, IdentityFault, fresh_key, signing_request};
use zeroize::Zeroizing;

use crate::host_key::{KEY_DIR_NAME, replace, write_once};
use crate::options::ftps_certificate;
use crate::tls_certificate::{TlsCertificateError, TlsCertificateState, generated_path};

/// A key that waits for its certificate.
const NEXT_KEY_NAME: &str = "ftps-next.key";

/// Certificate and key that another took the place of.
const BEFORE_NAME: &str = "ftps-before.pem";

/// The key that a certificate is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertifiedKey {
    /// The one that is in use.
    InUse,
    /// One that waits for its certificate.
    Next,
}

/// A signing request.
#[derive(Debug)]
pub struct CertificateRequest {
    /// PKCS #10 as PEM text.
    pub pem: String,
    /// Where its key lies.
    pub key: SecretRef,
}

/// What has become the server's own certificate.
#[derive(Debug)]
pub struct Installed {
    /// The certificate.
    pub identity: Identity,
    /// Whose it is.
    pub key: CertifiedKey,
    /// Where the one before lies now, with its key.
    pub before: Option<PathBuf>,
}

impl Installed {
    /// As others are told of it.
    #[must_use]
    pub fn state(&self) -> TlsCertificateState {
        TlsCertificateState::of(&self.identity)
    }
}

/// Where a key waits for its certificate.
#[must_use]
pub fn next_key_path(data_dir: &Path) -> PathBuf {
    data_dir.join(KEY_DIR_NAME).join(NEXT_KEY_NAME)
}

/// A signing request for these names. A key to come is made when none waits yet, and waits
/// until its certificate is installed.
///
/// # Errors
/// When the key cannot be made, read or used, or a name cannot stand in a certificate.
pub fn request_certificate(
    settings: &Settings,
    key: CertifiedKey,
    names: &[String],
) -> Result<CertificateRequest, TlsCertificateError> {
    let place = match key {
        CertifiedKey::InUse => ftps_certificate(settings).1,
        CertifiedKey::Next => SecretRef::File(waiting_key(&settings.data_dir)?),
    };
    let text = resolve(&place)?;
    let pem = signing_request(&text, names).map_err(|source| TlsCertificateError::NoRequest {
        key: place.clone(),
        source: Box::new(source),
    })?;
    Ok(CertificateRequest { pem, key: place })
}

fn waiting_key(data_dir: &Path) -> Result<PathBuf, TlsCertificateError> {
    let path = next_key_path(data_dir);
    let unwritable = |source| TlsCertificateError::Unwritable {
        path: path.clone(),
        source,
    };
    if !path.try_exists().map_err(unwritable)? {
        let key = fresh_key().map_err(|source| TlsCertificateError::NotMade {
            source: Box::new(source),
        })?;
        let key = Zeroizing::new(key);
        write_once(&path, key.as_bytes()).map_err(unwritable)?;
    }
    Ok(path)
}

/// Puts the chain of this file to the place of the server's own certificate, together with
/// the key that it is for; what was there is kept beside it. A running server takes it over
/// within a minute.
///
/// # Errors
/// When settings name the certificate, the file holds none that can be used, it is for
/// neither key, or it cannot be written: then nothing has changed.
pub fn install_certificate(
    settings: &Settings,
    file: &Path,
) -> Result<Installed, TlsCertificateError> {
    if let (Some(chain), Some(key)) = (&settings.ftps.certificate, &settings.ftps.private_key) {
        return Err(TlsCertificateError::NamedBySettings {
            chain: chain.clone(),
            key: key.reference().clone(),
        });
    }
    let chain = resolve(&SecretRef::File(file.to_owned()))?;
    let (own, next) = (
        generated_path(&settings.data_dir),
        next_key_path(&settings.data_dir),
    );
    let (identity, key, text) = joined(file, &chain, &own, &next)?;
    let unwritable = |path: &Path| {
        let path = path.to_owned();
        |source| TlsCertificateError::Unwritable { path, source }
    };
    let before = match is_there(&own)? {
        true => {
            let before = own.with_file_name(BEFORE_NAME);
            let there = resolve(&SecretRef::File(own.clone()))?;
            replace(&before, &there).map_err(unwritable(&before))?;
            Some(before)
        }
        false => None,
    };
    replace(&own, text.as_bytes()).map_err(unwritable(&own))?;
    if key == CertifiedKey::Next {
        // It lies with its certificate now.
        std::fs::remove_file(&next).map_err(unwritable(&next))?;
    }
    Ok(Installed {
        identity,
        key,
        before,
    })
}

/// The key that a chain is for, and both as one text.
fn joined(
    file: &Path,
    chain: &[u8],
    own: &Path,
    next: &Path,
) -> Result<(Identity, CertifiedKey, Zeroizing<String>), TlsCertificateError> {
    let chain = sections(&String::from_utf8_lossy(chain), "CERTIFICATE");
    for (path, key) in [(next, CertifiedKey::Next), (own, CertifiedKey::InUse)] {
        if !is_there(path)? {
            continue;
        }
        let place = SecretRef::File(path.to_owned());
        let text = resolve(&place)?;
        let mut text = sections(&String::from_utf8_lossy(&text), "PRIVATE KEY");
        text.push_str(&chain);
        match Identity::from_pem(text.as_bytes(), text.as_bytes()) {
            Ok(identity) => return Ok((identity, key, text)),
            Err(IdentityFault::KeyMismatch) => {}
            Err(source) => {
                return Err(TlsCertificateError::Unusable {
                    chain: SecretRef::File(file.to_owned()),
                    key: place,
                    source: Box::new(source),
                });
            }
        }
    }
    Err(TlsCertificateError::ForNoKey {
        file: file.to_owned(),
    })
}

/// The sections of a PEM text whose label ends with this word, whole, and nothing else: a
/// chain may come with a key that is none of ours, and words around it.
fn sections(text: &str, label: &str) -> Zeroizing<String> {
    let end = format!("{label}-----");
    let mut found = Zeroizing::new(String::new());
    let mut is_inside = false;
    for line in text.lines().map(str::trim_end) {
        is_inside |= line.starts_with("-----BEGIN ") && line.ends_with(&end);
        if is_inside {
            found.push_str(line);
            found.push('\n');
        }
        is_inside &= !line.starts_with("-----END ");
    }
    found
}

fn resolve(place: &SecretRef) -> Result<Zeroizing<Vec<u8>>, TlsCertificateError> {
    place
        .resolve()
        .map_err(|source: SecretError| TlsCertificateError::Unreadable { source })
}

fn is_there(path: &Path) -> Result<bool, TlsCertificateError> {
    path.try_exists()
        .map_err(|source| TlsCertificateError::Unwritable {
            path: path.to_owned(),
            source,
        })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn settings(text: &str) -> Settings {
        Settings::parse(text, "test", std::iter::empty()).unwrap()
    }

    fn names() -> [String; 1] {
        ["ftp.example.com".to_owned()]
    }

    #[test]
    fn sections_are_cut_out_of_what_is_around_them() {
        let key = "-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----\n";
        let one = "-----BEGIN CERTIFICATE-----\nBBBB\n-----END CERTIFICATE-----\n";
        let text = format!("subject=x\n{key}issuer=y\r\n{one}\n{one}end");
        assert_eq!(*sections(&text, "PRIVATE KEY"), key);
        assert_eq!(*sections(&text, "CERTIFICATE"), one.repeat(2));
        let windows = one.replace('\n', "\r\n");
        assert_eq!(*sections(&windows, "CERTIFICATE"), one);
        assert_eq!(
            *sections("-----BEGIN CERTIFICATE REQUEST-----", "CERTIFICATE"),
            ""
        );
    }

    #[test]
    fn a_certificate_can_come_before_the_first_start() {
        let dir = tempfile::tempdir().unwrap();
        let settings = settings(&format!("data_dir = {:?}\n", dir.path()));
        request_certificate(&settings, CertifiedKey::Next, &names()).unwrap();
        let key = fs::read_to_string(next_key_path(dir.path())).unwrap();
        let key = rcgen::KeyPair::from_pem(&key).unwrap();
        let params = rcgen::CertificateParams::new(names()).unwrap();
        let file = dir.path().join("certificate.pem");
        fs::write(&file, params.self_signed(&key).unwrap().pem()).unwrap();
        let installed = install_certificate(&settings, &file).unwrap();
        assert_eq!(installed.key, CertifiedKey::Next);
        assert_eq!(installed.before, None);
        assert!(!next_key_path(dir.path()).exists());
        let place = SecretRef::File(generated_path(dir.path()));
        let read = crate::tls_certificate::read(&place, &place).unwrap();
        assert_eq!(read.fingerprint(), installed.identity.fingerprint());
    }
}
