//! Host keys of partners' SFTP servers. A key is trusted when an operator has
//! confirmed it, or gave it beforehand; one that was only seen is not.

use layover_retention::Timestamp;
use ssh_key::{Algorithm, Fingerprint, HashAlg, PublicKey};

/// Longest text of a key, in bytes.
const MAX_KEY_BYTES: usize = 16 * 1024;

/// A host key of a partner's server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartnerHostKey {
    /// `SHA256:...`.
    pub fingerprint: String,
    /// The algorithm and the key, as in known_hosts; none where only the
    /// fingerprint is known.
    pub public_key: Option<String>,
    /// When it was first seen, or given.
    pub seen_at: Timestamp,
    /// When it was confirmed; none: it is not trusted.
    pub confirmed_at: Option<Timestamp>,
    /// By whom.
    pub confirmed_by: Option<String>,
}

/// What tells a host key: a fingerprint, or the key itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostKeyProof {
    pub(crate) fingerprint: String,
    pub(crate) public_key: Option<String>,
}

/// The text tells no host key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostKeyError {
    /// Neither form.
    #[error(
        "a host key is a fingerprint (SHA256:...) or a line of known_hosts, as `ssh-keyscan HOST` prints it"
    )]
    NotAHostKey,
    /// DSA, or what nobody knows.
    #[error("host keys of this algorithm are not trusted by anybody any more")]
    Algorithm,
}

impl HostKeyProof {
    /// The fingerprint.
    #[must_use]
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// The key, where it was given.
    #[must_use]
    pub fn public_key(&self) -> Option<&str> {
        self.public_key.as_deref()
    }
}

impl std::str::FromStr for HostKeyProof {
    type Err = HostKeyError;

    fn from_str(text: &str) -> Result<Self, HostKeyError> {
        let text = text.trim();
        if text.len() > MAX_KEY_BYTES || text.contains(['\n', '\r', '\0']) {
            return Err(HostKeyError::NotAHostKey);
        }
        if text.starts_with("SHA256:") {
            let print: Fingerprint = text.parse().map_err(|_| HostKeyError::NotAHostKey)?;
            return Ok(Self {
                fingerprint: print.to_string(),
                public_key: None,
            });
        }
        // known_hosts: [marker] hosts algorithm key [comment]; or without hosts.
        let words: Vec<_> = text.split_ascii_whitespace().collect();
        let marked = words.first().is_some_and(|word| word.starts_with('@'));
        let found = words.windows(2).take(2).find_map(|pair| match pair {
            [algorithm, key] => PublicKey::from_openssh(&format!("{algorithm} {key}")).ok(),
            _ => None,
        });
        let key = found.filter(|_| !marked).ok_or(HostKeyError::NotAHostKey)?;
        if matches!(key.algorithm(), Algorithm::Dsa | Algorithm::Other(_)) {
            return Err(HostKeyError::Algorithm);
        }
        let line = PublicKey::from(key.key_data().clone()).to_openssh();
        Ok(Self {
            fingerprint: key.fingerprint(HashAlg::Sha256).to_string(),
            public_key: Some(
                line.map_err(|_| HostKeyError::NotAHostKey)?
                    .trim()
                    .to_owned(),
            ),
        })
    }
}

impl PartnerHostKey {
    /// As [`HostKeyProof`] reads it.
    #[must_use]
    pub fn told(&self) -> &str {
        self.public_key.as_deref().unwrap_or(&self.fingerprint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";

    #[test]
    fn known_hosts_lines_and_fingerprints_tell_the_same_key() {
        let key: HostKeyProof = KEY.parse().unwrap();
        assert_eq!(key.public_key(), Some(KEY));
        for line in [
            format!("ftp.example.com {KEY}"),
            format!("[ftp.example.com]:2222,192.0.2.7 {KEY} a comment"),
            format!("|1|abc=|def= {KEY}\n"),
            format!("{KEY} user@host"),
        ] {
            assert_eq!(line.parse(), Ok(key.clone()), "{line}");
        }
        let print: HostKeyProof = key.fingerprint().parse().unwrap();
        assert_eq!(
            (print.fingerprint(), print.public_key()),
            (key.fingerprint(), None)
        );
    }

    #[test]
    fn what_tells_no_trusted_key_is_refused() {
        for bad in [
            "",
            "SHA256:short",
            "ftp.example.com",
            "MD5:16:27:ac:a5:76:28:2d:36:63:1b:56:4d:eb:df:a6:48",
            &format!("@revoked ftp.example.com {KEY}"),
            &format!("{KEY}\n{KEY}"),
            &"x".repeat(MAX_KEY_BYTES + 1),
        ] {
            assert_eq!(
                bad.parse::<HostKeyProof>(),
                Err(HostKeyError::NotAHostKey),
                "{bad}"
            );
        }
    }
}
