//! The server's certificate and key: parsed from PEM, or made.
//!
//! Bytes in, values out: files are read and written by the appliance.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use jiff::tz::TimeZone;
use layover_retention::Timestamp;
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys};
use rustls_pki_types::pem::{Error as PemError, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use sha2::{Digest, Sha256};

use super::certificate::Certificate;
use super::provider;

/// How long a self-signed certificate is valid: partners pin it, so a new one
/// is trouble for each of them.
const SELF_SIGNED_YEARS: i16 = 10;

/// Whoever renews certificates by a program does it 30 days before the end; two weeks
/// later something is wrong there.
const SOON_DAYS: u64 = 14;

/// A certificate chain and its key, proven to belong together.
#[derive(Clone)]
pub struct Identity {
    pub(super) key: Arc<CertifiedKey>,
    own: Certificate,
}

impl Identity {
    /// Parses a PEM chain, the server's certificate first, and the PEM key of
    /// that certificate (PKCS #8, PKCS #1 or SEC 1, without passphrase). Both
    /// may be the same text.
    ///
    /// # Errors
    /// When something is missing, malformed, or does not belong together. The
    /// caller knows the files' names and adds them.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, IdentityFault> {
        let certificates = Certificate::from_pem(chain)?;
        let own = certificates.first().ok_or(IdentityFault::NoCertificate)?;
        if !own.is_version_3() {
            return Err(IdentityFault::OldVersion);
        }
        let chain = certificates
            .iter()
            .map(|certificate| CertificateDer::from(certificate.der().to_vec()))
            .collect();
        let key = private_key(key)?;
        let key = CertifiedKey::from_der(chain, key, &provider()).map_err(|error| match error {
            Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => IdentityFault::KeyMismatch,
            source => IdentityFault::KeyUnusable { source },
        })?;
        Ok(Self {
            key: Arc::new(key),
            own: own.clone(),
        })
    }

    /// SHA-256 of the server's certificate, in lower-case hexadecimal digits.
    #[must_use]
    pub fn fingerprint(&self) -> &str {
        self.own.fingerprint()
    }

    /// Whether clients that check names take the certificate for that of this host: a
    /// name or an address.
    #[must_use]
    pub fn bears(&self, host: &str) -> bool {
        let leaf = self.key.cert.first();
        let leaf = leaf.and_then(|leaf| webpki::EndEntityCert::try_from(leaf).ok());
        let host = ServerName::try_from(host).ok();
        leaf.zip(host)
            .is_some_and(|(leaf, host)| leaf.verify_is_valid_for_subject_name(&host).is_ok())
    }

    /// When the certificate is valid.
    #[must_use]
    pub fn validity(&self) -> Validity {
        self.own.validity()
    }

    /// The chain as partners see it, the server's own certificate first.
    #[must_use]
    pub fn chain(&self) -> Vec<Certificate> {
        // Each was parsed when the identity was made.
        Certificate::each(&self.key.cert).unwrap_or_default()
    }
}

/// When a certificate is valid. Outside of it clients that look at dates refuse it;
/// it is used all the same, because some partners pin it and do not look, and
/// because a server that does not start helps nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// The first moment.
    pub not_before: Timestamp,
    /// The last one.
    pub not_after: Timestamp,
}

impl Validity {
    /// Whole days until the end; 0 behind it.
    #[must_use]
    pub fn days_left(self, now: Timestamp) -> u64 {
        self.not_after.duration_since(now).as_secs() / (24 * 60 * 60)
    }

    /// What is to be said against it at `now`.
    #[must_use]
    pub fn warning(self, now: Timestamp) -> Option<IdentityWarning> {
        let (at, from, days) = (self.not_after, self.not_before, self.days_left(now));
        if now > at {
            Some(IdentityWarning::Expired { at })
        } else if now < from {
            Some(IdentityWarning::NotYetValid { from })
        } else if days < SOON_DAYS {
            Some(IdentityWarning::ExpiresSoon { at, days })
        } else {
            None
        }
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("fingerprint", &self.own.fingerprint())
            .finish_non_exhaustive()
    }
}

/// What is to be said against a certificate that can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityWarning {
    /// Its validity is over.
    #[error("the certificate has EXPIRED at {at}: clients that check certificates refuse it")]
    Expired {
        /// When.
        at: Timestamp,
    },
    /// Its validity has not begun.
    #[error(
        "the certificate is NOT YET VALID, not before {from}: clients that check certificates refuse it"
    )]
    NotYetValid {
        /// When it will.
        from: Timestamp,
    },
    /// Its validity ends soon.
    #[error("the certificate expires at {at}, in {days} days")]
    ExpiresSoon {
        /// When.
        at: Timestamp,
        /// Whole days until then.
        days: u64,
    },
}

/// A form of certificates and keys that is not PEM text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binary {
    /// One certificate or one key, as programs of Windows and Java write them.
    Der,
    /// Key and certificates in one file with a password.
    Pkcs12,
}

impl Binary {
    pub(super) fn of(bytes: &[u8]) -> Option<Self> {
        // ITU-T X.690 s.8.9: all of them are a SEQUENCE, longer than 127 bytes.
        let long = bytes.strip_prefix(&[0x30])?;
        let (length, content) = long.split_first()?;
        let length_bytes = usize::from(length.checked_sub(0x80)?);
        // RFC 7292 s.4: the version is 3; that of a key is 0 or 1.
        match content.get(length_bytes..)? {
            [0x02, 0x01, 0x03, ..] => Some(Self::Pkcs12),
            [0x02 | 0x30, ..] => Some(Self::Der),
            _ => None,
        }
    }

    fn to_certificate(self) -> &'static str {
        match self {
            Self::Der => "openssl x509 -inform der -in FILE -out FILE.pem",
            Self::Pkcs12 => "openssl pkcs12 -in FILE -nokeys -out FILE.pem",
        }
    }

    fn to_key(self) -> &'static str {
        match self {
            Self::Der => "openssl pkey -inform der -in FILE -out FILE.pem",
            Self::Pkcs12 => "openssl pkcs12 -in FILE -nocerts -nodes -out FILE.pem",
        }
    }
}

impl fmt::Display for Binary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Der => "DER form",
            Self::Pkcs12 => "PKCS #12 form",
        })
    }
}

/// What is wrong with a PEM text, in words: the parser shows its lines as lists of numbers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PemFault(String);

impl From<PemError> for PemFault {
    fn from(error: PemError) -> Self {
        let shown = |line: &[u8]| String::from_utf8_lossy(line).escape_debug().to_string();
        Self(match error {
            PemError::MissingSectionEnd { end_marker } => format!(
                "the line `-----END {}-----` is missing: the text is cut off",
                shown(&end_marker)
            ),
            PemError::IllegalSectionStart { line } => {
                format!("`{}` is no line that begins a section", shown(&line))
            }
            other => other.to_string(),
        })
    }
}

/// Why a chain and a key are no identity.
#[derive(Debug, thiserror::Error)]
pub enum IdentityFault {
    /// The chain's PEM text is damaged.
    #[error("the certificate chain is damaged PEM text")]
    ChainNotPem {
        /// What is wrong with it.
        source: PemFault,
    },
    /// The chain is in a binary form.
    #[error("the certificate is in {form}; PEM text is needed: {}", form.to_certificate())]
    ChainNotText {
        /// Which.
        form: Binary,
    },
    /// The key is in a binary form.
    #[error("the private key is in {form}; PEM text is needed: {}", form.to_key())]
    KeyNotText {
        /// Which.
        form: Binary,
    },
    /// There is no certificate.
    #[error("there is no `BEGIN CERTIFICATE` section")]
    NoCertificate,
    /// The content of a section is no certificate.
    #[error("certificate {position} of the chain is malformed")]
    NotACertificate {
        /// Which one, from 1.
        position: usize,
    },
    /// The server's certificate is older than version 3, and TLS libraries refuse it.
    #[error(
        "the certificate is of X.509 version 1, which TLS libraries refuse; have it made again \
         with extensions (openssl x509 -req ... -extfile FILE, where FILE has the line \
         subjectAltName=DNS:NAME)"
    )]
    OldVersion,
    /// There is no private key.
    #[error("there is no `BEGIN PRIVATE KEY` section")]
    NoKey,
    /// The key has a passphrase.
    #[error("the private key has a passphrase; remove it with `openssl pkey`")]
    KeyEncrypted,
    /// The key's PEM text is damaged.
    #[error("the private key is damaged PEM text")]
    KeyNotPem {
        /// What is wrong with it.
        source: PemFault,
    },
    /// The key is malformed or of a kind that is not supported.
    #[error("the private key is malformed or of no supported kind (ECDSA, Ed25519, RSA)")]
    KeyUnusable {
        /// What the cryptography says.
        source: Error,
    },
    /// The key belongs to another certificate.
    #[error("the private key does not belong to the first certificate of the chain")]
    KeyMismatch,
    /// A certificate could not be made.
    #[error("a self-signed certificate cannot be made")]
    NotMade {
        /// What its maker says.
        source: rcgen::Error,
    },
    /// A signing request could not be made.
    #[error("a signing request cannot be made")]
    RequestNotMade {
        /// What its maker says.
        source: rcgen::Error,
    },
    /// A signing request has too many names.
    #[error("a signing request bears at most {most} names")]
    TooManyNames {
        /// The limit.
        most: usize,
    },
    /// The time of day is outside the calendar of certificates.
    #[error("a self-signed certificate cannot be dated: the clock shows the year {year}")]
    ClockOff {
        /// The year it shows.
        year: i16,
    },
}

pub(super) fn private_key(text: &[u8]) -> Result<PrivateKeyDer<'static>, IdentityFault> {
    match PrivateKeyDer::from_pem_slice(text) {
        Ok(key) => Ok(key),
        Err(PemError::NoItemsFound) if is_encrypted(text) => Err(IdentityFault::KeyEncrypted),
        Err(PemError::NoItemsFound) => Err(match Binary::of(text) {
            Some(form) => IdentityFault::KeyNotText { form },
            None => IdentityFault::NoKey,
        }),
        Err(error) => Err(IdentityFault::KeyNotPem {
            source: error.into(),
        }),
    }
}

fn is_encrypted(text: &[u8]) -> bool {
    let heading = b"-----BEGIN ENCRYPTED PRIVATE KEY-----";
    text.windows(heading.len()).any(|part| part == heading)
}

/// SHA-256 of a certificate, in lower-case hexadecimal digits.
pub(crate) fn fingerprint(certificate: &CertificateDer<'_>) -> String {
    hex::encode(Sha256::digest(certificate))
}

/// A fresh key (ECDSA P-256) and a certificate that it signed itself, as one PEM
/// text that [`Identity::from_pem`] reads: valid from `now` for ten years, for
/// `public_name` (a host name or an address), `localhost` and the loopback
/// addresses.
///
/// # Errors
/// When `public_name` cannot stand in a certificate, or the clock is far off.
pub fn self_signed(public_name: &str, now: Timestamp) -> Result<String, IdentityFault> {
    let loopback = [
        IpAddr::from(Ipv4Addr::LOCALHOST),
        IpAddr::from(Ipv6Addr::LOCALHOST),
    ];
    let mut names = vec![public_name.to_owned(), "localhost".to_owned()];
    names.extend(loopback.iter().map(ToString::to_string));
    let made = |source| IdentityFault::NotMade { source };
    let mut params = CertificateParams::new(names).map_err(made)?;
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, public_name);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let today = jiff::Timestamp::from_microsecond(now.as_micros())
        .unwrap_or_default()
        .to_zoned(TimeZone::UTC)
        .date();
    let year = today.year();
    // Beyond these, ASN.1's GeneralizedTime and rcgen's calendar end.
    if !(1970..=9000).contains(&year) {
        return Err(IdentityFault::ClockOff { year });
    }
    // Each month has a 28th.
    let month = today.month().unsigned_abs();
    let day = today.day().unsigned_abs().min(28);
    params.not_before = rcgen::date_time_ymd(i32::from(year), month, day);
    params.not_after = rcgen::date_time_ymd(i32::from(year + SELF_SIGNED_YEARS), month, day);
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(made)?;
    let certificate = params.self_signed(&key).map_err(made)?;
    Ok(key.serialize_pem() + &certificate.pem())
}
