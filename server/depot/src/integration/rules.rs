//! What hardened mode refuses, and what is warned of in any case.

use super::Integration;
use super::secrets::{SecretForm, SecretPurpose, SecretSlot};
use super::values::IntegrationProtocol;

/// What is wrong with an integration in hardened mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum Breach {
    /// FTP without TLS.
    #[error("plain ftp: user name, password and files can be read by whoever is on the way")]
    PlainFtp,
    /// Any certificate is taken.
    #[error("ftps.skip_verify: whoever answers is taken for the partner")]
    SkipVerify,
    /// A password that is kept here.
    #[error("the password was typed in; give a reference (env:, file:, vault:)")]
    TypedPassword,
    /// A key that is kept here.
    #[error("the client key was typed in; give a reference (env:, file:, vault:)")]
    TypedClientKey,
    /// A passphrase that is kept here.
    #[error("the client key's passphrase was typed in; give a reference (env:, file:, vault:)")]
    TypedPassphrase,
    /// A client certificate that is kept here.
    #[error("the client certificate was given as text; give a reference (env:, file:, vault:)")]
    TypedClientCertificate,
}

/// What works, and should be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Caution {
    /// FTP without TLS.
    #[error("PLAIN FTP: user name, password and files can be read by whoever is on the way")]
    PlainFtp,
    /// Any certificate is taken.
    #[error("the server's certificate is NOT CHECKED: whoever answers is taken for the partner")]
    SkipVerify,
    /// Nothing to log in with.
    #[error("no password is set")]
    NoPassword,
    /// No SSH key was made.
    #[error("no SSH key was made yet")]
    NoSshKey,
    /// No host key is trusted.
    #[error("no host key is confirmed: connections are refused until one is")]
    NoHostKey,
    /// A certificate without its key, or the other way round.
    #[error("a client certificate and its key belong together; one of them is missing")]
    HalfAnIdentity,
    /// No PGP key was made.
    #[error("no PGP key was made yet, and inbound.pgp or outbound.sign needs one")]
    NoPgpKey,
}

impl Integration {
    fn has(&self, purpose: SecretPurpose) -> bool {
        self.secret(purpose, SecretSlot::Current).is_some()
    }

    fn is_sealed(&self, purpose: SecretPurpose) -> bool {
        let secret = self.secret(purpose, SecretSlot::Current);
        secret.is_some_and(|secret| matches!(secret.form, SecretForm::Sealed { .. }))
    }

    /// What hardened mode has against it.
    #[must_use]
    pub fn breaches(&self) -> Vec<Breach> {
        let tls = &self.spec.settings.tls;
        let typed_certificate = tls
            .client_certificate
            .as_ref()
            .is_some_and(|given| given.reference().is_none());
        [
            (
                self.spec.protocol == IntegrationProtocol::Ftp,
                Breach::PlainFtp,
            ),
            (tls.skip_verify, Breach::SkipVerify),
            (
                self.is_sealed(SecretPurpose::Password),
                Breach::TypedPassword,
            ),
            (
                self.is_sealed(SecretPurpose::ClientKey),
                Breach::TypedClientKey,
            ),
            (
                self.is_sealed(SecretPurpose::ClientKeyPassphrase),
                Breach::TypedPassphrase,
            ),
            (typed_certificate, Breach::TypedClientCertificate),
        ]
        .into_iter()
        .filter_map(|(broken, breach)| broken.then_some(breach))
        .collect()
    }

    /// What should be known of it.
    #[must_use]
    pub fn cautions(&self) -> Vec<Caution> {
        let settings = &self.spec.settings;
        let ssh = self.spec.protocol == IntegrationProtocol::Sftp;
        let by_key = ssh && settings.sftp.auth == super::SftpAuth::Key;
        let identity = (
            settings.tls.client_certificate.is_some(),
            self.has(SecretPurpose::ClientKey),
        );
        let trusted = self.host_keys.iter().any(|key| key.confirmed_at.is_some());
        let pgp = settings.inbound.pgp || settings.outbound.sign;
        [
            (
                self.spec.protocol == IntegrationProtocol::Ftp,
                Caution::PlainFtp,
            ),
            (settings.tls.skip_verify, Caution::SkipVerify),
            (
                !by_key && !self.has(SecretPurpose::Password),
                Caution::NoPassword,
            ),
            (
                by_key && !self.has(SecretPurpose::SshKey),
                Caution::NoSshKey,
            ),
            (ssh && !trusted, Caution::NoHostKey),
            (identity.0 != identity.1, Caution::HalfAnIdentity),
            (pgp && !self.has(SecretPurpose::PgpKey), Caution::NoPgpKey),
        ]
        .into_iter()
        .filter_map(|(holds, caution)| holds.then_some(caution))
        .collect()
    }
}

impl Caution {
    /// Whether it is a danger, not only something that is missing.
    #[must_use]
    pub fn is_a_danger(self) -> bool {
        matches!(self, Self::PlainFtp | Self::SkipVerify)
    }
}
