//! SSH user certificates (OpenSSH's PROTOCOL.certkeys): which authority vouches
//! for whom, until when and from where.
//!
//! Signatures are the front end's: a [`UserCertificate`] may be made only of a
//! certificate whose own signature fits the authority key that it names. Whether
//! that authority is trusted, and for whom, is decided here.

use std::net::IpAddr;

use layover_retention::Timestamp;
use ssh_key::certificate::CertType;
use ssh_key::public::KeyData;
use ssh_key::{Algorithm, Certificate, HashAlg};

use crate::authorized_key::check_strength;
use crate::{Account, FromPattern, KeyUse, NewKey};

/// Addresses in one certificate's `source-address`.
const MAX_SOURCE_ADDRESSES: usize = 64;
/// Longest name of a critical option that is repeated, in characters.
const MAX_OPTION_CHARS: usize = 80;
const MICROS_PER_SECOND: i64 = 1_000_000;

/// An authority whose certificates open every account that they name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserCa {
    /// `SHA256:...`, as `ssh-keygen -l` prints it.
    pub fingerprint: String,
    blob: Vec<u8>,
}

/// The key has options, so it is meant for one account and not for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a file of trusted authorities holds public keys without options; a key with options belongs to an account (`layover account key add`)"
)]
pub struct UserCaError;

impl TryFrom<NewKey> for UserCa {
    type Error = UserCaError;

    fn try_from(key: NewKey) -> Result<Self, UserCaError> {
        if key.used_for != KeyUse::Login || !key.from.is_empty() || key.expires_at.is_some() {
            return Err(UserCaError);
        }
        Ok(Self {
            fingerprint: key.fingerprint,
            blob: key.blob,
        })
    }
}

/// A certificate that a peer has shown, and proven to hold the key of.
#[derive(Clone, Debug)]
pub struct UserCertificate {
    content: Box<Certificate>,
    authority: Vec<u8>,
}

/// The bytes are no certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is not an OpenSSH certificate")]
pub struct NotACertificate;

/// Why a certificate opens nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CertificateFault {
    #[error("certificate of an authority that is not trusted")]
    UnknownAuthority,
    #[error("certificate is for hosts, not for users")]
    NotForUsers,
    #[error("certificate signed with SHA-1")]
    Sha1Signature,
    #[error("certificate for a key that is too weak")]
    WeakKey,
    #[error("certificate not yet valid")]
    NotYetValid,
    #[error("certificate expired")]
    Expired,
    #[error("certificate names nobody")]
    NoPrincipals,
    #[error("certificate does not name the account")]
    OtherPrincipals,
    #[error("certificate demands `{option}`, which is not enforced here")]
    CriticalOption { option: String },
    #[error("certificate's source-address cannot be read")]
    SourceAddress,
    #[error("certificate not allowed from this address")]
    NotAllowedFromHere,
    #[error("the authority's key has expired")]
    AuthorityExpired,
    #[error("the authority's key is not allowed from this address")]
    AuthorityNotAllowedFromHere,
}

/// Who asks for whom, from where and when.
pub(crate) struct Request<'a> {
    pub(crate) account: &'a Account,
    pub(crate) trusted: &'a [UserCa],
    pub(crate) peer: IpAddr,
    pub(crate) now: Timestamp,
}

impl UserCertificate {
    /// Reads a certificate in SSH's wire form. The caller has verified its
    /// signature, and that the peer holds the certified key.
    ///
    /// # Errors
    /// The bytes are none.
    pub fn verified(wire: &[u8]) -> Result<Self, NotACertificate> {
        let content = Certificate::from_bytes(wire).map_err(|_| NotACertificate)?;
        let authority = blob(content.signature_key()).ok_or(NotACertificate)?;
        Ok(Self {
            content: Box::new(content),
            authority,
        })
    }

    pub(crate) fn key_id(&self) -> &str {
        self.content.key_id()
    }

    pub(crate) fn serial(&self) -> u64 {
        self.content.serial()
    }

    /// `SHA256:...` of the certified key.
    pub(crate) fn fingerprint(&self) -> String {
        self.content
            .public_key()
            .fingerprint(HashAlg::Sha256)
            .to_string()
    }

    /// `SHA256:...` of the authority's key.
    pub(crate) fn authority_fingerprint(&self) -> String {
        self.content
            .signature_key()
            .fingerprint(HashAlg::Sha256)
            .to_string()
    }

    /// Whether it opens the account. The authority comes first, so that what is
    /// told of a certificate was at least written by somebody we know.
    pub(crate) fn opens(&self, request: &Request<'_>) -> Result<(), CertificateFault> {
        let names = self.trusted_names(request)?;
        self.check_kind()?;
        self.check_time(request.now)?;
        self.check_options(request.peer)?;
        // PROTOCOL.certkeys lets an empty list stand for everybody; such a
        // certificate would open every account of this server.
        let principals = self.content.valid_principals();
        if principals.is_empty() {
            return Err(CertificateFault::NoPrincipals);
        }
        if principals.iter().any(|name| names.contains(&name.as_str())) {
            Ok(())
        } else {
            Err(CertificateFault::OtherPrincipals)
        }
    }

    /// The names that its authority may vouch for here.
    fn trusted_names<'a>(
        &self,
        request: &'a Request<'_>,
    ) -> Result<Vec<&'a str>, CertificateFault> {
        let account = request.account;
        let mut names = Vec::new();
        let mut fault = CertificateFault::UnknownAuthority;
        if request.trusted.iter().any(|ca| ca.blob == self.authority) {
            names.push(account.name.as_str());
        }
        for key in account.keys.iter().filter(|key| key.blob == self.authority) {
            let KeyUse::Authority { principals } = &key.used_for else {
                continue;
            };
            if key.is_over(request.now) {
                fault = CertificateFault::AuthorityExpired;
            } else if !FromPattern::list_admits(&key.from, request.peer) {
                fault = CertificateFault::AuthorityNotAllowedFromHere;
            } else if principals.is_empty() {
                names.push(account.name.as_str());
            } else {
                names.extend(principals.iter().map(String::as_str));
            }
        }
        if names.is_empty() {
            Err(fault)
        } else {
            Ok(names)
        }
    }

    fn check_kind(&self) -> Result<(), CertificateFault> {
        if self.content.cert_type() != CertType::User {
            return Err(CertificateFault::NotForUsers);
        }
        if self.content.signature().algorithm() == (Algorithm::Rsa { hash: None }) {
            return Err(CertificateFault::Sha1Signature);
        }
        check_strength(self.content.public_key()).map_err(|_| CertificateFault::WeakKey)
    }

    /// PROTOCOL.certkeys: valid after <= now < valid before.
    fn check_time(&self, now: Timestamp) -> Result<(), CertificateFault> {
        let now = u64::try_from(now.as_micros().div_euclid(MICROS_PER_SECOND)).unwrap_or(0);
        if now < self.content.valid_after() {
            Err(CertificateFault::NotYetValid)
        } else if now >= self.content.valid_before() {
            Err(CertificateFault::Expired)
        } else {
            Ok(())
        }
    }

    /// A critical option that we do not enforce makes the certificate void.
    fn check_options(&self, peer: IpAddr) -> Result<(), CertificateFault> {
        for (option, value) in self.content.critical_options().iter() {
            if option != "source-address" {
                let option = option
                    .chars()
                    .filter(|character| !character.is_control())
                    .take(MAX_OPTION_CHARS)
                    .collect();
                return Err(CertificateFault::CriticalOption { option });
            }
            let patterns: Vec<FromPattern> = value
                .split(',')
                .map(|pattern| pattern.trim().parse())
                .collect::<Result<_, _>>()
                .map_err(|_| CertificateFault::SourceAddress)?;
            if patterns.is_empty() || patterns.len() > MAX_SOURCE_ADDRESSES {
                return Err(CertificateFault::SourceAddress);
            }
            if !FromPattern::list_admits(&patterns, peer) {
                return Err(CertificateFault::NotAllowedFromHere);
            }
        }
        Ok(())
    }
}

fn blob(key: &KeyData) -> Option<Vec<u8>> {
    ssh_key::PublicKey::from(key.clone()).to_bytes().ok()
}
