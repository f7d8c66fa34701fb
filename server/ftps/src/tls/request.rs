//! Signing requests (PKCS #10, RFC 2986): what an authority needs to issue a certificate
//! for a key of ours.

use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
};

use super::identity::{IdentityFault, private_key};

/// Names of one request: as many as public authorities take.
pub const MAX_REQUEST_NAMES: usize = 100;

/// Longest common name (RFC 5280 appendix A.1, ub-common-name); a longer name is among the
/// alternative ones alone, which are all that clients look at.
const MAX_COMMON_NAME_BYTES: usize = 64;

/// A fresh key (ECDSA P-256) as PEM.
///
/// # Errors
/// When it cannot be made.
pub fn fresh_key() -> Result<String, IdentityFault> {
    let made = |source| IdentityFault::RequestNotMade { source };
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(made)?;
    Ok(key.serialize_pem())
}

/// A signing request by the first key of a PEM text, for these names: host names or
/// addresses, the first one the subject's. As PEM.
///
/// # Errors
/// When the key cannot be used, a name cannot stand in a certificate, or there are more than
/// [`MAX_REQUEST_NAMES`].
pub fn signing_request(key: &[u8], names: &[String]) -> Result<String, IdentityFault> {
    if names.len() > MAX_REQUEST_NAMES {
        return Err(IdentityFault::TooManyNames {
            most: MAX_REQUEST_NAMES,
        });
    }
    let made = |source| IdentityFault::RequestNotMade { source };
    let key = KeyPair::try_from(&private_key(key)?).map_err(made)?;
    let mut params = CertificateParams::new(names).map_err(made)?;
    params.distinguished_name = DistinguishedName::new();
    if let Some(first) = names
        .first()
        .filter(|name| name.len() <= MAX_COMMON_NAME_BYTES)
    {
        let kind = DnType::CommonName;
        params.distinguished_name.push(kind, first.as_str());
    }
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let request = params.serialize_request(&key).map_err(made)?;
    request.pem().map_err(made)
}

#[cfg(test)]
mod tests {
    use rcgen::{PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256, SignatureAlgorithm};
    use rustls_pki_types::CertificateSigningRequestDer;
    use rustls_pki_types::pem::PemObject as _;
    use x509_parser::certification_request::X509CertificationRequest;
    use x509_parser::prelude::FromDer as _;

    use super::*;

    fn key(algorithm: &'static SignatureAlgorithm) -> String {
        KeyPair::generate_for(algorithm).unwrap().serialize_pem()
    }

    /// Subject and extensions of a request, as text.
    fn shown(pem: &str) -> (String, String) {
        let der = CertificateSigningRequestDer::from_pem_slice(pem.as_bytes()).unwrap();
        let (rest, request) = X509CertificationRequest::from_der(&der).unwrap();
        assert!(rest.is_empty());
        let info = &request.certification_request_info;
        let extensions = request.requested_extensions().unwrap();
        let extensions: Vec<_> = extensions.map(|one| format!("{one:?}")).collect();
        (info.subject.to_string(), extensions.join("\n"))
    }

    #[test]
    fn each_kind_of_key_makes_one_with_all_names() {
        let names = ["ftp.example.com", "192.0.2.7", "2001:db8::7"].map(ToOwned::to_owned);
        for algorithm in [
            &PKCS_ECDSA_P256_SHA256,
            &PKCS_ECDSA_P384_SHA384,
            &PKCS_ED25519,
            &PKCS_RSA_SHA256,
        ] {
            let request = signing_request(key(algorithm).as_bytes(), &names).unwrap();
            let (subject, extensions) = shown(&request);
            assert_eq!(subject, "CN=ftp.example.com");
            for words in ["ftp.example.com", "[192, 0, 2, 7]", "server_auth: true"] {
                assert!(extensions.contains(words), "`{words}`: {extensions}");
            }
        }
    }

    #[test]
    fn a_name_that_is_too_long_for_a_subject_is_an_alternative_one() {
        let key = fresh_key().unwrap();
        let request = |name: &str| {
            let names = [name.to_owned()];
            shown(&signing_request(key.as_bytes(), &names).unwrap())
        };
        let fits = format!("{}.example.com", "a".repeat(52));
        assert_eq!(request(&fits).0, format!("CN={fits}"));
        let long = format!("{}.example.com", "a".repeat(53));
        let (subject, extensions) = request(&long);
        assert_eq!(subject, "");
        assert!(extensions.contains(&long), "{extensions}");
    }

    #[test]
    fn there_is_a_most_of_names_and_a_key_is_needed() {
        let key = fresh_key().unwrap();
        let names =
            |count: usize| -> Vec<_> { (0..count).map(|n| format!("n{n}.example.com")).collect() };
        let made = |count| signing_request(key.as_bytes(), &names(count));
        made(MAX_REQUEST_NAMES).unwrap();
        let refused = made(MAX_REQUEST_NAMES + 1);
        assert!(matches!(refused, Err(IdentityFault::TooManyNames { .. })));
        let none = signing_request(b"no key", &names(1));
        assert!(matches!(none, Err(IdentityFault::NoKey)));
    }
}
