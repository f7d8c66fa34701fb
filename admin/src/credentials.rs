//! Whether an account has what its policy makes it show.

use layover_config::Settings;
use layover_depot::{Account, AuthPolicy, KeyUse, Protocol, Protocols};

use crate::output::note;

/// What somebody could log in with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Credentials {
    /// What must be shown.
    pub(crate) auth: AuthPolicy,
    /// Keys and authorities of the account itself.
    pub(crate) keys: usize,
    /// How many of these are authorities.
    pub(crate) authorities: usize,
    /// TLS certificates, and authorities of such.
    pub(crate) certificates: usize,
    /// Whether a password is set.
    pub(crate) has_password: bool,
    /// How it may log in.
    pub(crate) protocols: Protocols,
}

impl Credentials {
    /// What this account has.
    pub(crate) fn of(account: &Account) -> Self {
        let authorities = account.keys.iter().map(|key| &key.used_for);
        Self {
            auth: account.auth,
            keys: account.keys.len(),
            authorities: authorities
                .filter(|used_for| matches!(used_for, KeyUse::Authority { .. }))
                .count(),
            certificates: account.certificates.len(),
            has_password: account.has_password,
            protocols: account.protocols,
        }
    }

    /// Whether a certificate is among what may be shown, and there is one, or
    /// somebody who may sign one.
    pub(crate) fn by_certificate(self, settings: &Settings) -> bool {
        let trusted = self.authorities > 0 || !settings.sftp.trusted_user_ca_keys.is_empty();
        (trusted || self.certificates > 0) && self.auth != AuthPolicy::Password
    }

    /// What gives this account something to log in with.
    pub(crate) fn next_steps(self, name: &str) -> String {
        let key = if self.protocols.contains(Protocol::Sftp) {
            "key"
        } else {
            "certificate"
        };
        format!(
            "layover account {key} add {name} FILE, or layover account password {name} --generate"
        )
    }

    /// Warns on stderr of a change after which nobody can log in.
    pub(crate) fn warn_if_closed(account: &Account, settings: &Settings) {
        let credentials = Self::of(account);
        if let Some(missing) = credentials.missing(settings) {
            let name = &account.name;
            note(&format!(
                "warning: {missing}: nobody can log in as `{name}` any more\n\
                 next: {}, or layover account set {name} --auth any",
                credentials.next_steps(name.as_str())
            ));
        }
    }

    /// What is not there, so that nobody can log in. Where the appliance trusts an
    /// authority, any account may get a certificate, which counts as a key over
    /// SFTP; over FTPS a TLS certificate does.
    pub(crate) fn missing(self, settings: &Settings) -> Option<&'static str> {
        let sftp = self.protocols.contains(Protocol::Sftp);
        let by_ssh = self.keys > 0 || !settings.sftp.trusted_user_ca_keys.is_empty();
        let by_tls = self.certificates > 0 && self.protocols.contains(Protocol::Ftps);
        let by_key = (sftp && by_ssh) || by_tls;
        match (self.auth, by_key, self.has_password) {
            (AuthPolicy::Any | AuthPolicy::KeyAndPassword, false, false) if sftp => {
                Some("neither key nor password")
            }
            (AuthPolicy::Any | AuthPolicy::KeyAndPassword, false, false) => {
                Some("neither certificate nor password")
            }
            (AuthPolicy::Key | AuthPolicy::KeyAndPassword, false, _) if sftp => Some("no key"),
            (AuthPolicy::Key | AuthPolicy::KeyAndPassword, false, _) => Some("no certificate"),
            (AuthPolicy::Password | AuthPolicy::KeyAndPassword, _, false) => Some("no password"),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_depends_on_the_policy_and_on_trusted_authorities() {
        let (neither, key, password) = (
            Some("neither key nor password"),
            Some("no key"),
            Some("no password"),
        );
        let plain = Settings::default();
        let mut trusting = Settings::default();
        trusting.sftp.trusted_user_ca_keys.push("ca.pub".into());
        for (auth, keys, has_password, alone, with_authority) in [
            (AuthPolicy::Any, 0, false, neither, None),
            (AuthPolicy::Any, 1, false, None, None),
            (AuthPolicy::Any, 0, true, None, None),
            (AuthPolicy::Key, 0, true, key, None),
            (AuthPolicy::Key, 1, false, None, None),
            (AuthPolicy::Password, 1, false, password, password),
            (AuthPolicy::Password, 0, true, None, None),
            (AuthPolicy::KeyAndPassword, 0, false, neither, password),
            (AuthPolicy::KeyAndPassword, 0, true, key, None),
            (AuthPolicy::KeyAndPassword, 1, false, password, password),
            (AuthPolicy::KeyAndPassword, 1, true, None, None),
        ] {
            let credentials = Credentials {
                auth,
                keys,
                authorities: 0,
                certificates: 0,
                has_password,
                protocols: Protocols::ALL,
            };
            assert_eq!(credentials.missing(&plain), alone, "{credentials:?}");
            assert_eq!(
                credentials.missing(&trusting),
                with_authority,
                "{credentials:?}"
            );
        }
    }

    #[test]
    fn a_key_counts_over_sftp_and_a_certificate_over_ftps() {
        let settings = Settings::default();
        for (protocols, keys, certificates, missing) in [
            (Protocols::ALL, 1, 0, None),
            (Protocols::ALL, 0, 1, None),
            (Protocols::ALL, 0, 0, Some("no key")),
            (Protocols::of(&[Protocol::Sftp]), 0, 1, Some("no key")),
            (
                Protocols::of(&[Protocol::Ftps]),
                1,
                0,
                Some("no certificate"),
            ),
            (Protocols::of(&[Protocol::Ftps]), 0, 1, None),
        ] {
            let credentials = Credentials {
                auth: AuthPolicy::Key,
                keys,
                authorities: 0,
                certificates,
                has_password: true,
                protocols,
            };
            assert_eq!(credentials.missing(&settings), missing, "{credentials:?}");
        }
    }
}
