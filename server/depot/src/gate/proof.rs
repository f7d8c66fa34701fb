//! What a peer shows to prove who it is, and the first of two proofs.

use std::net::IpAddr;

use base64::Engine as _;
use sha2::Digest as _;

use crate::certificate::UserCertificate;
use crate::{AccountId, PresentedCertificate, Protocol, Secret};

/// What a peer shows to prove who it is.
#[derive(Clone, Debug)]
pub enum Proof {
    /// A password.
    Password(Secret),
    /// A public key whose signature the front end has verified.
    Key {
        /// The key in SSH's wire form.
        blob: Vec<u8>,
        /// The signature's algorithm.
        algorithm: String,
    },
    /// A certificate whose two signatures, the authority's and that of the
    /// certified key, the front end has verified.
    Certificate(UserCertificate),
    /// A TLS client certificate whose key the peer was proven to hold.
    ClientCertificate(PresentedCertificate),
    /// A public key offered with a signature that is not taken, SHA-1 above
    /// all. It opens nothing, and nothing of it was verified; the refusal and
    /// its reason belong into the journal.
    WeakSignature {
        /// The key in SSH's wire form.
        blob: Vec<u8>,
        /// The signature's algorithm.
        algorithm: String,
    },
}

/// The two kinds of proof that a policy speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Factor {
    Password,
    Key,
}

impl Proof {
    pub(super) fn factor(&self) -> Factor {
        match self {
            Self::Password(_) => Factor::Password,
            Self::Key { .. }
            | Self::Certificate(_)
            | Self::ClientCertificate(_)
            | Self::WeakSignature { .. } => Factor::Key,
        }
    }

    /// As SSH names the method (RFC 4252 s.7, s.8); TLS has no word of its own.
    pub(super) fn method(&self) -> &'static str {
        match self {
            Self::Password(_) => "password",
            Self::Key { .. } | Self::Certificate(_) | Self::WeakSignature { .. } => "publickey",
            Self::ClientCertificate(_) => "certificate",
        }
    }
}

/// What was shown and found right.
#[derive(Clone, Debug)]
pub(super) enum Shown {
    /// A password that fits this hash.
    Password {
        hash: Secret,
    },
    Key {
        blob: Vec<u8>,
    },
    Certificate(UserCertificate),
    ClientCertificate {
        certificate: PresentedCertificate,
        /// The fingerprint of the authority that vouches for it.
        authority: Option<String>,
    },
}

impl Shown {
    pub(super) fn factor(&self) -> Factor {
        match self {
            Self::Password { .. } => Factor::Password,
            Self::Key { .. } | Self::Certificate(_) | Self::ClientCertificate { .. } => Factor::Key,
        }
    }

    pub(super) fn method(&self) -> &'static str {
        match self {
            Self::Password { .. } => "password",
            Self::Key { .. } | Self::Certificate(_) => "publickey",
            Self::ClientCertificate { .. } => "certificate",
        }
    }

    /// Who vouches for a TLS client certificate.
    pub(super) fn authority(&self) -> Option<&str> {
        match self {
            Self::ClientCertificate { authority, .. } => authority.as_deref(),
            _ => None,
        }
    }
}

/// One of the two proofs that an account asks for, found right. Only the gate
/// makes it. The front end keeps it with its connection and hands it back with
/// the second one; it counts for this user, address and protocol alone, and
/// only as long as what was shown still opens the account.
#[derive(Clone, Debug)]
pub struct FirstProof {
    pub(super) user: String,
    pub(super) account: AccountId,
    pub(super) peer: IpAddr,
    pub(super) protocol: Protocol,
    pub(super) shown: Shown,
}

impl FirstProof {
    /// The name it counts for, as the peer sent it.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.user
    }

    /// Whether the password is what is missing, and not the key.
    #[must_use]
    pub fn awaits_password(&self) -> bool {
        self.shown.factor() == Factor::Key
    }
}

/// As `ssh-keygen -l` prints it.
pub(super) fn fingerprint(blob: &[u8]) -> String {
    let digest = sha2::Sha256::digest(blob);
    format!(
        "SHA256:{}",
        base64::engine::general_purpose::STANDARD_NO_PAD.encode(digest)
    )
}
