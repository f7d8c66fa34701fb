//! Whether a server's certificate is the right one.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_name;
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, OtherError, RootCertStore, SignatureScheme};
use sha2::{Digest, Sha256};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::settings;
use crate::fault::RemoteFault;
use crate::ftps::options::{Fingerprint, Trust};
use crate::witness::{ShownCertificate, Witness};

/// Authorities in one bundle. The system's has about 150.
pub(crate) const MAX_AUTHORITIES: usize = 2_000;
/// Size of a bundle.
pub(crate) const MAX_BUNDLE_BYTES: usize = 4 * 1024 * 1024;

/// Another certificate than the pinned one.
#[derive(Debug, thiserror::Error)]
#[error("pinned {pinned}, shown {shown}")]
pub(crate) struct PinMismatch {
    pub(crate) pinned: Fingerprint,
    pub(crate) shown: Fingerprint,
}

#[derive(Debug)]
pub(super) struct Verifier {
    authorities: Option<Authorities>,
    pin: Option<Fingerprint>,
    algorithms: WebPkiSupportedAlgorithms,
    witness: Witness,
}

#[derive(Debug)]
struct Authorities {
    chains: Arc<WebPkiServerVerifier>,
    /// Those that are given as authorities. A server may show one of them as
    /// its own certificate: a self-signed one that its operator handed out.
    own: Vec<CertificateDer<'static>>,
}

impl Verifier {
    pub(super) fn new(
        trust: &Trust,
        provider: &Arc<CryptoProvider>,
        witness: Witness,
    ) -> Result<Self, RemoteFault> {
        let (authorities, pin) = match trust {
            Trust::Authorities { pem, pin } => (Some(Authorities::read(pem, provider)?), *pin),
            Trust::Pin(pin) => (None, Some(*pin)),
            Trust::Anything => (None, None),
        };
        Ok(Self {
            authorities,
            pin,
            algorithms: provider.signature_verification_algorithms,
            witness,
        })
    }
}

impl Authorities {
    fn read(pem: &[u8], provider: &Arc<CryptoProvider>) -> Result<Self, RemoteFault> {
        if pem.len() > MAX_BUNDLE_BYTES {
            return Err(RemoteFault::OverLimit {
                what: "the size of the CA bundle",
                limit: MAX_BUNDLE_BYTES as u64,
            });
        }
        let mut own = Vec::new();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            own.push(certificate.map_err(|error| settings(&format!("the CA bundle: {error}")))?);
            if own.len() > MAX_AUTHORITIES {
                return Err(RemoteFault::OverLimit {
                    what: "the number of certificates in the CA bundle",
                    limit: MAX_AUTHORITIES as u64,
                });
            }
        }
        let mut roots = RootCertStore::empty();
        // A bundle may hold what webpki cannot use (version 1); the others count.
        let (usable, _) = roots.add_parsable_certificates(own.iter().cloned());
        if usable == 0 {
            return Err(settings("the CA bundle holds no usable certificate"));
        }
        let chains =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
                .build()
                .map_err(|error| settings(&format!("the CA bundle: {error}")))?;
        Ok(Self { chains, own })
    }

    fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<(), rustls::Error> {
        if self.own.iter().any(|own| own == leaf) {
            // webpki refuses an authority as a server's own certificate, but it
            // is the very one that we were told to trust.
            verify_dates(leaf, now)?;
            return verify_server_name(&ParsedCertificate::try_from(leaf)?, name);
        }
        self.chains
            .verify_server_cert(leaf, intermediates, name, &[], now)
            .map(|_| ())
    }
}

fn verify_dates(leaf: &CertificateDer<'_>, now: UnixTime) -> Result<(), rustls::Error> {
    let (_, parsed) = X509Certificate::from_der(leaf).map_err(|_| CertificateError::BadEncoding)?;
    let now = i64::try_from(now.as_secs()).map_err(|_| CertificateError::BadEncoding)?;
    let validity = parsed.validity();
    if now < validity.not_before.timestamp() {
        return Err(CertificateError::NotValidYet.into());
    }
    if now > validity.not_after.timestamp() {
        return Err(CertificateError::Expired.into());
    }
    Ok(())
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let shown = Fingerprint(Sha256::digest(end_entity).into());
        self.witness.note(|seen| {
            let read = ShownCertificate::read(end_entity, shown, intermediates.len());
            seen.certificate = Some(read);
        });
        // The pin first: "it is another certificate" says more than what is wrong with that one.
        if let Some(pinned) = self.pin
            && pinned != shown
        {
            let mismatch = OtherError(Arc::new(PinMismatch { pinned, shown }));
            return Err(CertificateError::Other(mismatch).into());
        }
        if let Some(authorities) = &self.authorities {
            authorities.verify(end_entity, intermediates, server_name, now)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
