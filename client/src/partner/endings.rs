//! What of an integration ends: certificates and keys, ours and the partner's, for
//! whoever tells of it ahead. Nothing is sent to the partner.

use layover_depot::{Certificates, Integration, PgpPublicKeys, SecretPurpose, SecretSlot};
use layover_retention::Timestamp;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use sha2::{Digest as _, Sha256};

use super::CERTIFICATE_LESSON;
use crate::ftps::Fingerprint;
use crate::pgp::{PartnerKey, PartnerKeyError};
use crate::secret_ref::{SecretRef, SecretSources};
use crate::witness::ShownCertificate;

/// Certificates of ours that are looked at: one, and those that lead to its authority.
const MAX_CLIENT_CERTIFICATES: usize = 8;

/// What it is that ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends {
    /// The partner's PGP key that files are encrypted to.
    RecipientKey,
    /// The partner's PGP key that signatures are checked with.
    PartnerKey,
    /// Our PGP key.
    OwnKey,
    /// Our PGP key before that one, which the partner may still encrypt to.
    OwnKeyBefore,
    /// The TLS certificate that we show, or one that leads to its authority.
    ClientCertificate,
    /// The certificate that the partner's server showed last.
    ServerCertificate,
}

impl Ends {
    /// Its word, everywhere.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RecipientKey => "recipient_key",
            Self::PartnerKey => "partner_key",
            Self::OwnKey => "own_key",
            Self::OwnKeyBefore => "own_key_before",
            Self::ClientCertificate => "client certificate",
            Self::ServerCertificate => "server certificate",
        }
    }

    /// Whether it is a certificate, and no key.
    #[must_use]
    pub const fn is_a_certificate(self) -> bool {
        matches!(self, Self::ClientCertificate | Self::ServerCertificate)
    }

    /// What an operator does before the end, for this integration.
    #[must_use]
    pub fn remedy(self, integration: &Integration) -> String {
        let name = &integration.spec.name;
        match self {
            Self::RecipientKey => format!(
                "ask the partner for a new key, then: layover integration pgp set-recipient {name} FILE"
            ),
            Self::PartnerKey => format!(
                "ask the partner for a new key, then: layover integration pgp set-partner {name} FILE"
            ),
            Self::OwnKey => format!(
                "layover integration pgp rotate {name}, and send the partner the new public key"
            ),
            Self::OwnKeyBefore => {
                format!("when the partner uses the new key: layover integration pgp confirm {name}")
            }
            Self::ClientCertificate => format!(
                "have a new one signed, then: layover integration set {name} --client-certificate FILE --client-key REF"
            ),
            Self::ServerCertificate => {
                "the partner renews it; where it is pinned, ask for the new fingerprint".to_owned()
            }
        }
    }
}

/// A certificate or key of an integration with an end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartnerEnding {
    /// What it is.
    pub what: Ends,
    /// Its fingerprint, in hexadecimal.
    pub fingerprint: String,
    /// Its last moment.
    pub at: Timestamp,
}

/// Everything of an integration that has an end, also what has ended. References are
/// followed to `sources`; what cannot be read there is left out: whoever uses it says so.
pub async fn endings(
    integration: &Integration,
    now: Timestamp,
    sources: &SecretSources,
) -> Vec<PartnerEnding> {
    let settings = &integration.spec.settings;
    let mut found = Vec::new();
    let given = [
        (Ends::RecipientKey, &settings.outbound.recipient_key),
        (Ends::PartnerKey, &settings.inbound.partner_key),
    ];
    for (what, key) in given {
        found.extend(
            key.as_ref()
                .map(PgpPublicKeys::as_str)
                .map(|key| (what, key)),
        );
    }
    let own = [
        (Ends::OwnKey, SecretSlot::Current),
        (Ends::OwnKeyBefore, SecretSlot::Previous),
    ];
    for (what, slot) in own {
        let kept = integration.secret(SecretPurpose::PgpKey, slot);
        let public = kept.and_then(|kept| kept.public.as_deref());
        found.extend(public.map(|key| (what, key)));
    }
    let mut endings: Vec<_> = found
        .into_iter()
        .filter_map(|(what, key)| end_of_pgp(what, key, now))
        .collect();
    // The partner's two may be the same key.
    endings.dedup_by(|one, other| one.fingerprint == other.fingerprint);
    if let Some(certificates) = &settings.tls.client_certificate
        && let Some(pem) = pem_of(certificates, sources).await
    {
        endings.extend(ends_of_certificates(&pem));
    }
    endings.extend(shown_certificate(integration));
    endings
}

/// When nothing can be encrypted to a key any more, or no signature of it counts.
fn end_of_pgp(what: Ends, key: &str, now: Timestamp) -> Option<PartnerEnding> {
    let now = jiff::Timestamp::from_microsecond(now.as_micros()).ok()?;
    let read = PartnerKey::read(key.as_bytes()).ok()?;
    let (fingerprint, end) = match read.report(now) {
        Ok(report) => (report.fingerprint, report.expires_at?),
        Err(PartnerKeyError::Expired {
            fingerprint,
            expired_at,
        }) => (fingerprint, expired_at),
        Err(_) => return None,
    };
    Some(PartnerEnding {
        what,
        fingerprint,
        at: Timestamp::from_micros(end.as_microsecond()),
    })
}

async fn pem_of(certificates: &Certificates, sources: &SecretSources) -> Option<Vec<u8>> {
    let Some(reference) = certificates.reference() else {
        return Some(certificates.as_str().as_bytes().to_vec());
    };
    let reference: SecretRef = reference.as_str().parse().ok()?;
    let pem = reference.resolve(sources).await.ok()?;
    Some(pem.expose().to_vec())
}

fn ends_of_certificates(pem: &[u8]) -> Vec<PartnerEnding> {
    CertificateDer::pem_slice_iter(pem)
        .take(MAX_CLIENT_CERTIFICATES)
        .filter_map(Result::ok)
        .filter_map(|der| {
            let read = ShownCertificate::read(&der, Fingerprint(Sha256::digest(&der).into()), 0);
            Some(PartnerEnding {
                what: Ends::ClientCertificate,
                fingerprint: read.fingerprint.to_string(),
                at: Timestamp::from_micros(read.not_after?.as_microsecond()),
            })
        })
        .collect()
}

/// The certificate that the partner's server showed last.
fn shown_certificate(integration: &Integration) -> Option<PartnerEnding> {
    let shown = integration.learned.get(CERTIFICATE_LESSON)?;
    let text = |name: &str| shown.get(name)?.as_str();
    Some(PartnerEnding {
        what: Ends::ServerCertificate,
        fingerprint: text("sha256")?.to_owned(),
        at: text("expires_at")?.parse().ok()?,
    })
}
