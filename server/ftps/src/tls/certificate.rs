//! A certificate as partners see it: what they compare, and what they trust.

use layover_retention::Timestamp;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::prelude::{FromDer, X509Certificate, X509Version};

use super::identity::{Binary, IdentityFault, Validity, fingerprint};
use super::provider;

/// A certificate without its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    der: Vec<u8>,
    fingerprint: String,
    validity: Validity,
    is_self_signed: bool,
    is_version_3: bool,
}

impl Certificate {
    /// Parses each certificate of a PEM text, in its order.
    ///
    /// # Errors
    /// When there is none, or one is malformed.
    pub fn from_pem(text: &[u8]) -> Result<Vec<Self>, IdentityFault> {
        let chain = CertificateDer::pem_slice_iter(text)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| IdentityFault::ChainNotPem {
                source: error.into(),
            })?;
        if chain.is_empty() {
            return Err(match Binary::of(text) {
                Some(form) => IdentityFault::ChainNotText { form },
                None => IdentityFault::NoCertificate,
            });
        }
        Self::each(&chain)
    }

    pub(super) fn each(chain: &[CertificateDer<'_>]) -> Result<Vec<Self>, IdentityFault> {
        let parsed = chain.iter().zip(1..);
        parsed
            .map(|(der, position)| Self::of(der).ok_or(IdentityFault::NotACertificate { position }))
            .collect()
    }

    fn of(der: &CertificateDer<'_>) -> Option<Self> {
        let (_, parsed) = X509Certificate::from_der(der).ok()?;
        let at = |seconds: i64| Timestamp::from_micros(seconds.saturating_mul(1_000_000));
        Some(Self {
            der: der.to_vec(),
            fingerprint: fingerprint(der),
            validity: Validity {
                not_before: at(parsed.validity().not_before.timestamp()),
                not_after: at(parsed.validity().not_after.timestamp()),
            },
            is_self_signed: signed_itself(der, &parsed),
            is_version_3: parsed.version() == X509Version::V3,
        })
    }

    /// Its bytes, in DER form.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// SHA-256 of it, in lower-case hexadecimal digits.
    #[must_use]
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// When it is valid.
    #[must_use]
    pub fn validity(&self) -> Validity {
        self.validity
    }

    pub(super) fn is_version_3(&self) -> bool {
        self.is_version_3
    }

    /// Whether it is signed with its own key: who trusts it needs no other.
    #[must_use]
    pub fn is_self_signed(&self) -> bool {
        self.is_self_signed
    }
}

/// The names alone do not tell: an authority's and its customer's may be the same.
fn signed_itself(der: &CertificateDer<'_>, parsed: &X509Certificate<'_>) -> bool {
    if parsed.subject().as_raw() != parsed.issuer().as_raw() {
        return false;
    }
    let Ok(certificate) = webpki::EndEntityCert::try_from(der) else {
        return false;
    };
    let (message, signature) = (
        parsed.tbs_certificate.as_ref(),
        &parsed.signature_value.data,
    );
    let provider = provider();
    let mut algorithms = provider.signature_verification_algorithms.all.iter();
    algorithms.any(|algorithm| {
        certificate
            .verify_signature(*algorithm, message, signature)
            .is_ok()
    })
}
