//! What the gate tells the doctor: who came in, and who did not and why. In memory, and
//! the same work whatever the reason (G03).

use std::net::IpAddr;

use super::{AdmitRefused, Gate, LoginAttempt, Proof, Reason, fingerprint};
use crate::doctor::{Clue, Sign, Whose};
use crate::store::LoginRow;
use crate::{AccountName, Protocol, normalise_ip};

impl Reason {
    /// What it is to the doctor.
    pub(super) fn sign(&self) -> Sign {
        match self {
            Self::NetworkNotAllowed => Sign::NetworkRefused,
            Self::NoPassword | Self::WrongPassword => Sign::PasswordRefused,
            Self::Sha1Signature
            | Self::WeakSignature
            | Self::UnknownKey
            | Self::KeyNotAllowedFromHere
            | Self::KeyExpired
            | Self::Certificate(_)
            | Self::ClientCertificate(_) => Sign::KeyRefused,
            Self::WithoutTls => Sign::WithoutTls,
            Self::Disabled => Sign::AccountDisabled,
            Self::ProtocolNotAllowed => Sign::ProtocolRefused,
            Self::TooManySessions(_) => Sign::SessionLimit,
            Self::UnknownAccount
            | Self::CertificateWanted
            | Self::KeyNotWanted
            | Self::PasswordNotWanted
            | Self::ChangedMeanwhile => Sign::LoginRefused,
            Self::Banned => Sign::AddressRefused,
        }
    }
}

impl Gate {
    pub(super) fn note_address_refused(&self, peer: IpAddr, why: AdmitRefused) {
        let whose = Whose {
            account: None,
            peer: normalise_ip(peer),
            protocol: None,
        };
        let seen = Clue::new(Sign::AddressRefused).telling(why.as_str());
        self.holdings.see(&whose, seen);
    }

    pub(super) fn note_login(&self, attempt: &LoginAttempt, peer: IpAddr, name: &AccountName) {
        let whose = Whose {
            account: Some(name.clone()),
            peer,
            protocol: Some(attempt.protocol),
        };
        let seen = Clue::new(Sign::LoggedIn);
        let seen = match &attempt.client_version {
            Some(client) => seen.telling(client),
            None => seen,
        };
        self.holdings.see(&whose, seen);
    }

    pub(super) fn note_refused_login(
        &self,
        attempt: &LoginAttempt,
        peer: IpAddr,
        row: Option<&LoginRow>,
        reason: &Reason,
    ) {
        let shown = match &attempt.proof {
            Proof::Password(_) => None,
            Proof::Key { blob, .. } | Proof::WeakSignature { blob, .. } => Some(fingerprint(blob)),
            Proof::Certificate(certificate) => Some(certificate.fingerprint().to_string()),
            Proof::ClientCertificate(certificate) => Some(certificate.fingerprint().to_string()),
        };
        let told = match (shown, row) {
            _ if *reason == Reason::Banned => AdmitRefused::Banned.as_str().to_owned(),
            (_, None) => format!("{reason} `{}`", attempt.user),
            (Some(shown), _) => format!("{shown} ({reason})"),
            (None, _) => reason.to_string(),
        };
        let account = row.map(|row| row.account.name.clone());
        self.see_refused(account, peer, attempt.protocol, reason.sign(), &told);
    }

    /// Of an account that is there, or of nobody.
    pub(super) fn see_refused(
        &self,
        account: Option<AccountName>,
        peer: IpAddr,
        protocol: Protocol,
        sign: Sign,
        told: &str,
    ) {
        let whose = Whose {
            account,
            peer,
            protocol: Some(protocol),
        };
        let seen = Clue::new(sign).telling(told);
        self.holdings.see(&whose, seen);
    }
}
