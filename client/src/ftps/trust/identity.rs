//! Our own certificate and key.

use pkcs8::EncryptedPrivateKeyInfoRef;
use rustls::pki_types::pem::{PemObject, SectionKind};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use zeroize::Zeroizing;

use super::settings;
use crate::fault::RemoteFault;
use crate::ftps::options::ClientIdentity;
use layover_depot::Secret;

/// Size of a file with certificates or a key.
pub(crate) const MAX_IDENTITY_BYTES: usize = 256 * 1024;

pub(super) fn read(
    identity: &ClientIdentity,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), RemoteFault> {
    let sizes = [
        identity.certificates_pem.len(),
        identity.key_pem.expose().len(),
    ];
    if sizes.iter().any(|size| *size > MAX_IDENTITY_BYTES) {
        return Err(RemoteFault::OverLimit {
            what: "the size of the client certificate or its key",
            limit: MAX_IDENTITY_BYTES as u64,
        });
    }
    let chain = CertificateDer::pem_slice_iter(&identity.certificates_pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| settings(&format!("the client certificate: {error}")))?;
    if chain.is_empty() {
        return Err(settings("the client certificate is no PEM"));
    }
    let key = key(identity.key_pem.expose(), identity.passphrase.as_ref())?;
    Ok((chain, key))
}

fn key(pem: &[u8], passphrase: Option<&Secret>) -> Result<PrivateKeyDer<'static>, RemoteFault> {
    if let Some(encrypted) = encrypted(pem)? {
        let Some(passphrase) = passphrase else {
            return Err(settings(
                "the client key is encrypted and no passphrase is given",
            ));
        };
        let document = EncryptedPrivateKeyInfoRef::try_from(encrypted.as_slice())
            .map_err(|error| settings(&format!("the client key: {error}")))?
            .decrypt(passphrase.expose())
            .map_err(|_| settings("the passphrase does not open the client key"))?;
        let der = PrivatePkcs8KeyDer::from(document.as_bytes().to_vec());
        return Ok(PrivateKeyDer::Pkcs8(der));
    }
    if contains(pem, b"Proc-Type: 4,ENCRYPTED") {
        return Err(settings(
            "the client key is encrypted in the old form of OpenSSL; convert it with \
             `openssl pkcs8 -topk8`",
        ));
    }
    PrivateKeyDer::from_pem_slice(pem)
        .map_err(|error| settings(&format!("the client key: {error}")))
}

/// The content of an `ENCRYPTED PRIVATE KEY`. The PEM reader knows no such
/// section, so its two lines are taken for those of a plain key.
fn encrypted(pem: &[u8]) -> Result<Option<Zeroizing<Vec<u8>>>, RemoteFault> {
    const BEGIN: &[u8] = b"-----BEGIN ENCRYPTED PRIVATE KEY-----";
    if !contains(pem, BEGIN) {
        return Ok(None);
    }
    let text = Zeroizing::new(
        std::str::from_utf8(pem)
            .map_err(|_| settings("the client key is no text"))?
            .replace("ENCRYPTED PRIVATE KEY-----", "PRIVATE KEY-----"),
    );
    let mut rest = text.as_bytes();
    loop {
        match rustls::pki_types::pem::from_buf(&mut rest) {
            Ok(Some((SectionKind::PrivateKey, der))) => return Ok(Some(Zeroizing::new(der))),
            Ok(Some(_)) => {}
            Ok(None) => return Ok(None),
            Err(error) => return Err(settings(&format!("the client key: {error}"))),
        }
    }
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}
