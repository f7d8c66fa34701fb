//! May this account come from here, and does what it shows open it? Nothing here is told
//! to the peer, and nothing is written.

use std::net::IpAddr;

use super::proof::{Factor, Shown};
use super::{FirstProof, Gate, LoginAttempt, LoginError, Proof, Reason};
use crate::certificate::{Request, UserCertificate};
use crate::store::LoginRow;
use crate::{Account, AuthPolicy, KeyUse, Protocol, Secret};

impl Gate {
    /// Looks at a proof; without a row with the same work, and in vain.
    pub(super) async fn examine(
        &self,
        row: Option<&LoginRow>,
        peer: IpAddr,
        proof: &Proof,
    ) -> Result<Result<Shown, Reason>, LoginError> {
        let account = row.map(|row| &row.account).ok_or(Reason::UnknownKey);
        Ok(match proof {
            Proof::Password(password) => self.check_password(row, password).await?,
            Proof::Key { blob, .. } => account.and_then(|account| {
                self.check_key(account, peer, blob)?;
                Ok(Shown::Key { blob: blob.clone() })
            }),
            Proof::Certificate(certificate) => account.and_then(|account| {
                self.check_certificate(account, peer, certificate)?;
                Ok(Shown::Certificate(certificate.clone()))
            }),
            Proof::ClientCertificate(certificate) => {
                let certificates = row.map(|row| row.account.certificates.as_slice());
                let now = self.holdings.now();
                let opened = certificate.opens(certificates.unwrap_or_default(), now);
                opened
                    .map(|authority| Shown::ClientCertificate {
                        certificate: certificate.clone(),
                        authority,
                    })
                    .map_err(Reason::from)
            }
            Proof::WeakSignature { algorithm, .. } if algorithm == "ssh-rsa" => {
                Err(Reason::Sha1Signature)
            }
            Proof::WeakSignature { .. } => Err(Reason::WeakSignature),
        })
    }

    /// The proof to be kept when the account asks for another beside `shown`.
    pub(super) fn still_missing(
        &self,
        attempt: &LoginAttempt,
        peer: IpAddr,
        row: &LoginRow,
        shown: Shown,
    ) -> Option<FirstProof> {
        if row.account.auth != AuthPolicy::KeyAndPassword {
            return None;
        }
        let completes = |first: &FirstProof| {
            first.user == attempt.user
                && first.account == row.account.id
                && (first.peer, first.protocol) == (peer, attempt.protocol)
                && first.shown.factor() != shown.factor()
                && self.still_opens(&first.shown, row, peer)
        };
        if attempt.first.as_ref().is_some_and(completes) {
            return None;
        }
        Some(FirstProof {
            user: attempt.user.clone(),
            account: row.account.id,
            peer,
            protocol: attempt.protocol,
            shown,
        })
    }

    /// Whether what was shown a moment ago is still right: a key may have been
    /// taken away meanwhile, a password changed.
    fn still_opens(&self, shown: &Shown, row: &LoginRow, peer: IpAddr) -> bool {
        match shown {
            Shown::Password { hash } => {
                row.password_hash.as_deref().map(str::as_bytes) == Some(hash.expose())
            }
            Shown::Key { blob } => self.check_key(&row.account, peer, blob).is_ok(),
            Shown::Certificate(certificate) => self
                .check_certificate(&row.account, peer, certificate)
                .is_ok(),
            Shown::ClientCertificate { certificate, .. } => certificate
                .opens(&row.account.certificates, self.holdings.now())
                .is_ok(),
        }
    }

    /// Over FTPS the certificate comes with the handshake and is examined at USER.
    /// So a password without it is in vain, and is not examined.
    pub(super) fn certificate_came_first(
        &self,
        row: Option<&LoginRow>,
        attempt: &LoginAttempt,
        peer: IpAddr,
    ) -> Result<(), Reason> {
        let Some(row) = row.filter(|row| row.account.auth == AuthPolicy::KeyAndPassword) else {
            return Ok(());
        };
        if attempt.protocol != Protocol::Ftps || attempt.proof.factor() != Factor::Password {
            return Ok(());
        }
        let came = attempt.first.as_ref().is_some_and(|first| {
            first.awaits_password()
                && first.user == attempt.user
                && self.still_opens(&first.shown, row, peer)
        });
        if came {
            Ok(())
        } else {
            Err(Reason::CertificateWanted)
        }
    }

    /// A ban also holds for connections that were there before it.
    pub(super) fn not_banned(&self, peer: IpAddr) -> Result<(), Reason> {
        match self.admission.is_banned(peer, self.holdings.now()) {
            true => Err(Reason::Banned),
            false => Ok(()),
        }
    }

    /// Whether this account may come from here, over this protocol, with this
    /// kind of proof.
    pub(super) fn standing(
        &self,
        row: Option<&LoginRow>,
        peer: IpAddr,
        protocol: Protocol,
        factor: Factor,
    ) -> Result<(), Reason> {
        let Some(LoginRow { account, .. }) = row else {
            return Err(Reason::UnknownAccount);
        };
        let now = self.holdings.now();
        if !account.enabled {
            Err(Reason::Disabled)
        } else if !account
            .networks
            .iter()
            .any(|network| network.admits(peer, now))
        {
            Err(Reason::NetworkNotAllowed)
        } else if !account.protocols.contains(protocol) {
            Err(Reason::ProtocolNotAllowed)
        } else {
            match (account.auth, factor) {
                (AuthPolicy::Password, Factor::Key) => Err(Reason::KeyNotWanted),
                (AuthPolicy::Key, Factor::Password) if protocol == Protocol::Ftps => {
                    Err(Reason::CertificateWanted)
                }
                (AuthPolicy::Key, Factor::Password) => Err(Reason::PasswordNotWanted),
                _ => Ok(()),
            }
        }
    }

    async fn check_password(
        &self,
        row: Option<&LoginRow>,
        password: &Secret,
    ) -> Result<Result<Shown, Reason>, LoginError> {
        let hash = row.and_then(|row| row.password_hash.clone());
        let right = self
            .passwords
            .verify(hash.clone(), password.clone())
            .await
            .map_err(|_| LoginError::Overloaded)?;
        Ok(match hash {
            Some(hash) if right => Ok(Shown::Password {
                hash: Secret::new(hash),
            }),
            Some(_) => Err(Reason::WrongPassword),
            None => Err(Reason::NoPassword),
        })
    }

    pub(super) fn check_key(
        &self,
        account: &Account,
        peer: IpAddr,
        blob: &[u8],
    ) -> Result<(), Reason> {
        let now = self.holdings.now();
        let key = account
            .keys
            .iter()
            .find(|key| key.used_for == KeyUse::Login && key.blob == blob)
            .ok_or(Reason::UnknownKey)?;
        if key.admits(peer, now) {
            Ok(())
        } else if key.is_over(now) {
            Err(Reason::KeyExpired)
        } else {
            Err(Reason::KeyNotAllowedFromHere)
        }
    }

    fn check_certificate(
        &self,
        account: &Account,
        peer: IpAddr,
        certificate: &UserCertificate,
    ) -> Result<(), Reason> {
        let trusted = self.authorities.trusted.load();
        let request = Request {
            account,
            trusted: trusted.as_slice(),
            peer,
            now: self.holdings.now(),
        };
        Ok(certificate.opens(&request)?)
    }
}
