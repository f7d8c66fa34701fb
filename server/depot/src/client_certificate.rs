//! TLS client certificates (FTPS): which of them open an account, and how an
//! operator gives them.
//!
//! That a peer holds a certificate's key is the front end's to prove: it may make
//! a [`PresentedCertificate`] only after the TLS handshake has. Everything else,
//! the chain, the time, the name, is judged here. Pure.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use layover_retention::Timestamp;
use rustls_pki_types::pem::{Error as PemError, PemObject};
use rustls_pki_types::{CertificateDer, Der, UnixTime};
use sha2::{Digest as _, Sha256};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::public_key::PublicKey;
use x509_parser::x509::X509Version;

/// Certificates that one account may have.
pub const MAX_CERTIFICATES_PER_ACCOUNT: usize = 64;
/// Names that the certificates of one authority may bear.
pub const MAX_CERTIFICATE_NAMES: usize = 64;
/// Longest certificate: those in use have 1 to 3 KiB.
pub const MAX_CERTIFICATE_BYTES: usize = 16 * 1024;
/// Longest name, in bytes.
const MAX_NAME_BYTES: usize = 256;
/// How much of a subject is kept for people, in characters.
const MAX_SUBJECT_CHARS: usize = 256;
/// RSA keys whose signatures are verified, in bits.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;
const MICROS_PER_SECOND: i64 = 1_000_000;

/// Names of which the certificates of an authority must bear one: at least one,
/// and none that would be read as two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateNames(Vec<String>);

/// The text is no list of names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected 1 to {MAX_CERTIFICATE_NAMES} names, with commas between them: of at most {MAX_NAME_BYTES} bytes, without control characters"
)]
pub struct CertificateNamesError;

impl CertificateNames {
    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

impl FromStr for CertificateNames {
    type Err = CertificateNamesError;

    fn from_str(text: &str) -> Result<Self, CertificateNamesError> {
        let names: Vec<_> = text.split(',').map(str::trim).collect();
        let is_name = |name: &&str| {
            !name.is_empty() && name.len() <= MAX_NAME_BYTES && !name.contains(char::is_control)
        };
        if names.len() > MAX_CERTIFICATE_NAMES || !names.iter().all(is_name) {
            return Err(CertificateNamesError);
        }
        Ok(Self(names.into_iter().map(ToOwned::to_owned).collect()))
    }
}

impl fmt::Display for CertificateNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(","))
    }
}

/// What an account's certificate is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CertificateUse {
    /// It opens the account itself.
    Login,
    /// It signs certificates that do.
    Authority {
        /// Names of which a certificate must bear one.
        names: CertificateNames,
    },
}

/// A certificate that an account logs in with, or whose certificates it does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorizedCertificate {
    /// SHA-256 of the certificate, in lower-case hexadecimal digits.
    pub fingerprint: String,
    /// Whose it says it is, for people.
    pub subject: String,
    /// The certificate.
    pub der: Vec<u8>,
    /// The beginning of its validity.
    pub not_before: Timestamp,
    /// The last moment of its validity.
    pub not_after: Timestamp,
    /// What it is for.
    pub used_for: CertificateUse,
    /// When the operator added it.
    pub added_at: Timestamp,
}

/// A certificate to be added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewCertificate {
    /// SHA-256 of the certificate, in lower-case hexadecimal digits.
    pub fingerprint: String,
    /// Whose it says it is, for people.
    pub subject: String,
    /// The certificate.
    pub der: Vec<u8>,
    /// The beginning of its validity.
    pub not_before: Timestamp,
    /// The last moment of its validity.
    pub not_after: Timestamp,
    /// What it is for.
    pub used_for: CertificateUse,
}

/// Why a text is no certificate that could open an account.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// No certificate in PEM form.
    #[error("this is not a certificate in PEM form (`-----BEGIN CERTIFICATE-----`)")]
    NotPem,
    /// A certificate in binary form.
    #[error(
        "this certificate is in DER form, and PEM text is needed: openssl x509 -inform der -in FILE -out FILE.pem"
    )]
    Der,
    /// Somebody's whole chain.
    #[error(
        "there are {count} certificates; give the partner's own alone, or with --authority that of one authority"
    )]
    NotOne {
        /// How many there are.
        count: usize,
    },
    /// Longer than any that is in use.
    #[error("the certificate has more than {MAX_CERTIFICATE_BYTES} bytes")]
    TooLong,
    /// The content of the section is no certificate.
    #[error("the certificate is damaged")]
    Malformed,
    /// X.509 before 1996.
    #[error(
        "it is a certificate of X.509 version 1, which is not accepted in TLS; have it signed with extensions (openssl x509 -req ... -extfile FILE)"
    )]
    Version,
    /// An extension that must be understood and is not.
    #[error("the certificate has a critical extension that is not known here")]
    CriticalExtension,
    /// Its validity is over.
    #[error("the certificate expired at {not_after}")]
    Expired {
        /// When.
        not_after: Timestamp,
    },
    /// Its extended key usage names other purposes.
    #[error("the certificate is not for clients: its extended key usage lacks clientAuth")]
    NotForClients,
    /// It may sign certificates and nothing else.
    #[error(
        "the certificate is that of an authority; the certificates that it signs come in with --authority --names NAME"
    )]
    OnlyAuthority,
    /// It may not sign certificates.
    #[error("the certificate is not that of an authority (its basic constraints lack CA)")]
    NotAuthority,
    /// A key whose signatures are not verified.
    #[error("the certificate's RSA key has {bits} bits; 2048 to 8192 are accepted")]
    RsaBits {
        /// Its length.
        bits: usize,
    },
    /// A key of another kind.
    #[error("the certificate's key is of a kind that is not accepted; use ECDSA, Ed25519 or RSA")]
    KeyKind,
}

impl NewCertificate {
    /// Reads the PEM text of one certificate.
    ///
    /// # Errors
    /// When it is none, or one that could open nothing at `now` or later.
    pub fn from_pem(
        text: &[u8],
        used_for: CertificateUse,
        now: Timestamp,
    ) -> Result<Self, CertificateError> {
        let sections: Vec<_> = CertificateDer::pem_slice_iter(text)
            .collect::<Result<_, PemError>>()
            .map_err(|_| CertificateError::NotPem)?;
        let certificate = match sections.as_slice() {
            [one] => one,
            [] if X509Certificate::from_der(text).is_ok() => return Err(CertificateError::Der),
            [] => return Err(CertificateError::NotPem),
            more => return Err(CertificateError::NotOne { count: more.len() }),
        };
        if certificate.len() > MAX_CERTIFICATE_BYTES {
            return Err(CertificateError::TooLong);
        }
        let (rest, parsed) =
            X509Certificate::from_der(certificate).map_err(|_| CertificateError::Malformed)?;
        if !rest.is_empty() {
            return Err(CertificateError::Malformed);
        }
        // What no handshake would take.
        if parsed.version() != X509Version::V3 {
            return Err(CertificateError::Version);
        }
        EndEntityCert::try_from(certificate).map_err(|error| match error {
            webpki::Error::UnsupportedCriticalExtension => CertificateError::CriticalExtension,
            _ => CertificateError::Malformed,
        })?;
        check_key(&parsed)?;
        match used_for {
            CertificateUse::Login => check_for_clients(&parsed)?,
            CertificateUse::Authority { .. } if !parsed.is_ca() => {
                return Err(CertificateError::NotAuthority);
            }
            CertificateUse::Authority { .. } => {}
        }
        let (not_before, not_after) = validity(&parsed);
        if not_after < now {
            return Err(CertificateError::Expired { not_after });
        }
        Ok(Self {
            fingerprint: fingerprint(certificate),
            subject: subject(&parsed),
            der: certificate.to_vec(),
            not_before,
            not_after,
            used_for,
        })
    }
}

fn check_key(certificate: &X509Certificate<'_>) -> Result<(), CertificateError> {
    match certificate.public_key().parsed() {
        Ok(PublicKey::RSA(key)) if RSA_BITS.contains(&key.key_size()) => Ok(()),
        Ok(PublicKey::RSA(key)) => Err(CertificateError::RsaBits {
            bits: key.key_size(),
        }),
        // Ed25519 is unknown to the parser, and others show in the handshake.
        Ok(PublicKey::EC(_) | PublicKey::Unknown(_)) => Ok(()),
        Ok(_) | Err(_) => Err(CertificateError::KeyKind),
    }
}

/// RFC 5280 s.4.2.1.3 and s.4.2.1.12.
fn check_for_clients(certificate: &X509Certificate<'_>) -> Result<(), CertificateError> {
    let usage = certificate
        .key_usage()
        .map_err(|_| CertificateError::Malformed)?;
    if usage.is_some_and(|usage| usage.value.key_cert_sign() && !usage.value.digital_signature()) {
        return Err(CertificateError::OnlyAuthority);
    }
    if is_for_clients(certificate) {
        Ok(())
    } else {
        Err(CertificateError::NotForClients)
    }
}

fn is_for_clients(certificate: &X509Certificate<'_>) -> bool {
    match certificate.extended_key_usage() {
        Ok(Some(usage)) => usage.value.client_auth || usage.value.any,
        Ok(None) => true,
        Err(_) => false,
    }
}

fn validity(certificate: &X509Certificate<'_>) -> (Timestamp, Timestamp) {
    let at = |seconds: i64| Timestamp::from_micros(seconds.saturating_mul(MICROS_PER_SECOND));
    let validity = certificate.validity();
    (
        at(validity.not_before.timestamp()),
        // RFC 5280 s.4.1.2.5: the last second belongs to it.
        at(validity.not_after.timestamp()),
    )
}

fn subject(certificate: &X509Certificate<'_>) -> String {
    let text = certificate.subject().to_string();
    text.chars()
        .filter(|character| !character.is_control())
        .take(MAX_SUBJECT_CHARS)
        .collect()
}

/// SHA-256 of a certificate, in lower-case hexadecimal digits.
fn fingerprint(certificate: &[u8]) -> String {
    hex::encode(Sha256::digest(certificate))
}

/// A fingerprint as people write it: with colons, in capitals.
pub(crate) fn normalised_fingerprint(text: &str) -> String {
    text.trim().replace(':', "").to_ascii_lowercase()
}

/// A certificate that a peer presented, with what it sent to lead up to an
/// authority, and whose key the peer was proven to hold.
#[derive(Clone, PartialEq, Eq)]
pub struct PresentedCertificate {
    leaf: CertificateDer<'static>,
    intermediates: Vec<CertificateDer<'static>>,
    fingerprint: String,
}

/// Why a certificate opens nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ClientCertificateFault {
    #[error("certificate not known")]
    Unknown,
    #[error("certificate cannot be read")]
    Malformed,
    #[error("certificate not yet valid")]
    NotYetValid,
    #[error("certificate expired")]
    Expired,
    #[error("certificate of an authority whose own certificate has expired")]
    AuthorityExpired,
    #[error("certificate of an authority whose own certificate is not yet valid")]
    AuthorityNotYetValid,
    #[error("certificate is not for clients")]
    NotForClients,
    #[error("certificate not properly issued: {source}")]
    Untrusted { source: webpki::Error },
    #[error("certificate bears another name")]
    OtherName,
}

impl PresentedCertificate {
    /// Of what the peer sent, its own certificate first; none when it sent none.
    /// Only for a peer that holds the first one's key.
    #[must_use]
    pub fn proven(chain: &[CertificateDer<'_>]) -> Option<Self> {
        let (leaf, intermediates) = chain.split_first()?;
        let owned = |der: &CertificateDer<'_>| der.clone().into_owned();
        Some(Self {
            fingerprint: fingerprint(leaf),
            leaf: owned(leaf),
            intermediates: intermediates.iter().map(owned).collect(),
        })
    }

    /// SHA-256 of the certificate, in lower-case hexadecimal digits.
    #[must_use]
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Whose it says it is.
    pub(crate) fn subject(&self) -> String {
        X509Certificate::from_der(&self.leaf)
            .map(|(_, certificate)| subject(&certificate))
            .unwrap_or_default()
    }

    /// Whether it opens an account that has these certificates: by itself, or
    /// because of the authority whose fingerprint is returned. Where no authority
    /// is concerned, the work of verifying a signature is done in vain: the time
    /// would tell which accounts trust somebody, and which exist (G03).
    pub(crate) fn opens(
        &self,
        certificates: &[AuthorizedCertificate],
        now: Timestamp,
    ) -> Result<Option<String>, ClientCertificateFault> {
        let leaf =
            EndEntityCert::try_from(&self.leaf).map_err(|_| ClientCertificateFault::Malformed)?;
        let mut fault = ClientCertificateFault::Unknown;
        let pinned = certificates.iter().find(|pinned| {
            pinned.used_for == CertificateUse::Login && pinned.der == self.leaf.as_ref()
        });
        if let Some(pinned) = pinned {
            if now < pinned.not_before {
                fault = ClientCertificateFault::NotYetValid;
            } else if now > pinned.not_after {
                fault = ClientCertificateFault::Expired;
            } else {
                return Ok(None);
            }
        }
        let mut concerned = false;
        for authority in certificates {
            let CertificateUse::Authority { names } = &authority.used_for else {
                continue;
            };
            match self.is_vouched_for(&leaf, &authority.der, now) {
                // Issued by somebody else: no signature was looked at.
                Err(webpki::Error::UnknownIssuer) => continue,
                Err(source) => fault = of_webpki(source),
                Ok(()) if now < authority.not_before => {
                    fault = ClientCertificateFault::AuthorityNotYetValid;
                }
                Ok(()) if now > authority.not_after => {
                    fault = ClientCertificateFault::AuthorityExpired;
                }
                Ok(()) if self.bears_one_of(names) => {
                    return Ok(Some(authority.fingerprint.clone()));
                }
                Ok(()) => fault = ClientCertificateFault::OtherName,
            }
            concerned = true;
        }
        if !concerned {
            self.verify_in_vain(&leaf, now);
        }
        Err(fault)
    }

    fn is_vouched_for(
        &self,
        leaf: &EndEntityCert<'_>,
        authority: &[u8],
        now: Timestamp,
    ) -> Result<(), webpki::Error> {
        let authority = CertificateDer::from(authority);
        let anchor = anchor_from_trusted_cert(&authority)?;
        verify(leaf, &[anchor], &self.intermediates, now)
    }

    /// Verifies the certificate with its own key instead of its issuer's.
    fn verify_in_vain(&self, leaf: &EndEntityCert<'_>, now: Timestamp) {
        if let Ok(mut anchor) = anchor_from_trusted_cert(&self.leaf) {
            anchor.subject = Der::from_slice(leaf.issuer());
            // Whatever comes of it: nobody vouches for this certificate.
            let _ = verify(leaf, &[anchor], &[], now);
        }
    }

    /// The subject's common name, when there is exactly one (more would let an
    /// authority's customer smuggle in a second), a DNS name or an e-mail address.
    /// No wildcard stands for anything.
    fn bears_one_of(&self, names: &CertificateNames) -> bool {
        let Ok((_, certificate)) = X509Certificate::from_der(&self.leaf) else {
            return false;
        };
        let mut common = certificate.subject().iter_common_name();
        let common = match (common.next(), common.next()) {
            (Some(only), None) => only.as_str().ok(),
            _ => None,
        };
        let alternative = certificate.subject_alternative_name().ok().flatten();
        let alternatives = alternative
            .iter()
            .flat_map(|names| &names.value.general_names);
        names.iter().any(|name| {
            common == Some(name)
                || alternatives.clone().any(|borne| match borne {
                    GeneralName::DNSName(borne) => borne.eq_ignore_ascii_case(name),
                    GeneralName::RFC822Name(borne) => is_same_address(borne, name),
                    _ => false,
                })
        })
    }
}

impl fmt::Debug for PresentedCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PresentedCertificate")
            .field(&self.fingerprint)
            .finish()
    }
}

fn verify(
    leaf: &EndEntityCert<'_>,
    anchors: &[rustls_pki_types::TrustAnchor<'_>],
    intermediates: &[CertificateDer<'_>],
    now: Timestamp,
) -> Result<(), webpki::Error> {
    let now_s = u64::try_from(now.as_micros().div_euclid(MICROS_PER_SECOND)).unwrap_or(0);
    leaf.verify_for_usage(
        webpki::ALL_VERIFICATION_ALGS,
        anchors,
        intermediates,
        UnixTime::since_unix_epoch(Duration::from_secs(now_s)),
        KeyUsage::client_auth(),
        None,
        None,
    )
    .map(|_| ())
}

fn of_webpki(error: webpki::Error) -> ClientCertificateFault {
    match error {
        webpki::Error::CertExpired { .. } => ClientCertificateFault::Expired,
        webpki::Error::CertNotValidYet { .. } => ClientCertificateFault::NotYetValid,
        webpki::Error::RequiredEkuNotFoundContext(_) => ClientCertificateFault::NotForClients,
        source => ClientCertificateFault::Untrusted { source },
    }
}

/// RFC 5280 s.7.5: the part before the `@` as it is, the host in any case.
fn is_same_address(one: &str, other: &str) -> bool {
    match (one.rsplit_once('@'), other.rsplit_once('@')) {
        (Some((user, host)), Some((other_user, other_host))) => {
            user == other_user && host.eq_ignore_ascii_case(other_host)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests;
