//! Certificates that clients present.
//!
//! The handshake accepts any well-formed one and proves only that the client
//! holds its key. Whether it stands for an account is decided above, by its
//! fingerprint or with [`ClientRoots`].

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::identity::fingerprint;
use super::provider;

/// The certificate that a client presented and whose key it holds.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct ClientCertificate {
    chain: Vec<CertificateDer<'static>>,
}

impl ClientCertificate {
    pub(super) fn new(chain: &[CertificateDer<'_>]) -> Option<Self> {
        let chain: Vec<_> = chain
            .iter()
            .cloned()
            .map(CertificateDer::into_owned)
            .collect();
        (!chain.is_empty()).then_some(Self { chain })
    }

    /// SHA-256 of the certificate, in lower-case hexadecimal digits.
    pub(crate) fn fingerprint(&self) -> String {
        self.chain.first().map(fingerprint).unwrap_or_default()
    }
}

impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ClientCertificate")
            .field(&self.fingerprint())
            .finish()
    }
}

/// The CA certificates that vouch for clients.
#[derive(Clone, Debug)]
pub(crate) struct ClientRoots {
    anchors: Vec<TrustAnchor<'static>>,
}

impl ClientRoots {
    /// Parses PEM text of one or more CA certificates.
    pub(crate) fn from_pem(text: &[u8]) -> Result<Self, ClientRootsFault> {
        let mut anchors = Vec::new();
        for (section, position) in CertificateDer::pem_slice_iter(text).zip(1..) {
            let certificate = section.map_err(|_| ClientRootsFault::Malformed { position })?;
            let anchor = anchor_from_trusted_cert(&certificate)
                .map_err(|_| ClientRootsFault::Malformed { position })?;
            anchors.push(anchor.to_owned());
        }
        if anchors.is_empty() {
            return Err(ClientRootsFault::Empty);
        }
        Ok(Self { anchors })
    }

    /// Whether one of these CAs vouches, at `now_s` (seconds since 1970), for
    /// `certificate` and for its bearing `name`: a DNS name or an address among
    /// its alternative names, or exactly its subject's common name.
    pub(crate) fn vouch(
        &self,
        certificate: &ClientCertificate,
        name: &str,
        now_s: u64,
    ) -> Result<(), VouchFault> {
        let (leaf, intermediates) = certificate
            .chain
            .split_first()
            .ok_or(VouchFault::Malformed)?;
        let parsed = EndEntityCert::try_from(leaf).map_err(|_| VouchFault::Malformed)?;
        parsed
            .verify_for_usage(
                provider().signature_verification_algorithms.all,
                &self.anchors,
                intermediates,
                UnixTime::since_unix_epoch(std::time::Duration::from_secs(now_s)),
                KeyUsage::client_auth(),
                None,
                None,
            )
            .map_err(|source| match source {
                webpki::Error::CertExpired { .. } => VouchFault::Expired,
                source => VouchFault::Untrusted { source },
            })?;
        let by_alternative = ServerName::try_from(name)
            .is_ok_and(|name| parsed.verify_is_valid_for_subject_name(&name).is_ok());
        if by_alternative || has_common_name(leaf, name) {
            Ok(())
        } else {
            Err(VouchFault::OtherName)
        }
    }
}

fn has_common_name(certificate: &CertificateDer<'_>, name: &str) -> bool {
    X509Certificate::from_der(certificate).is_ok_and(|(_, certificate)| {
        let mut names = certificate.subject().iter_common_name();
        // More than one would let a CA's customer smuggle in a second.
        matches!((names.next(), names.next()), (Some(only), None)
            if only.as_str().is_ok_and(|text| text == name))
    })
}

/// Why a text is no set of CA certificates.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ClientRootsFault {
    /// One of them is malformed.
    #[error("CA certificate {position} is malformed")]
    Malformed {
        /// Which one, from 1.
        position: usize,
    },
    /// There is none.
    #[error("there is no `BEGIN CERTIFICATE` section")]
    Empty,
}

/// Why no CA vouches for a client's certificate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum VouchFault {
    /// It cannot be parsed.
    #[error("the certificate is malformed")]
    Malformed,
    /// It or a certificate above it has expired.
    #[error("the certificate has expired")]
    Expired,
    /// No chain leads to one of the CAs.
    #[error("the certificate was not issued for clients by a CA that is trusted here")]
    Untrusted {
        /// What the verification says.
        source: webpki::Error,
    },
    /// It is somebody else's.
    #[error("the certificate bears another name")]
    OtherName,
}

/// Requests a certificate, requires none, and accepts any well-formed one whose
/// key the client holds.
pub(super) struct AnyClient {
    provider: Arc<CryptoProvider>,
}

impl AnyClient {
    pub(super) fn new(provider: Arc<CryptoProvider>) -> Self {
        Self { provider }
    }
}

impl fmt::Debug for AnyClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnyClient").finish_non_exhaustive()
    }
}

impl ClientCertVerifier for AnyClient {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        EndEntityCert::try_from(end_entity)
            .map(|_| ClientCertVerified::assertion())
            .map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
