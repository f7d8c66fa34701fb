//! SSH key pairs that are made here: the partner installs the public key, the
//! private key never leaves us.

use std::fmt;
use std::sync::Arc;

use russh::keys::key::safe_rng;
use russh::keys::ssh_key::private::{KeypairData, RsaKeypair};
use russh::keys::ssh_key::{Algorithm, HashAlg, LineEnding, PrivateKey};
use zeroize::Zeroizing;

/// Longest private key file that is read, in bytes: RSA of 16,384 bits takes
/// less.
pub const MAX_PRIVATE_KEY_BYTES: usize = 16 * 1024;

/// Shortest RSA key that is used, in bits: shorter ones are refused by OpenSSH
/// since 9.1 and can be broken by those with means.
pub const MIN_RSA_BITS: u32 = 2048;

/// What kind of key pair is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum KeyKind {
    /// The usual one.
    #[default]
    Ed25519,
    /// For servers that know nothing newer. Making one takes seconds of
    /// processor time.
    Rsa4096,
}

/// Why a private key cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyPairError {
    /// Over [`MAX_PRIVATE_KEY_BYTES`].
    #[error("the private key is longer than {MAX_PRIVATE_KEY_BYTES} bytes")]
    TooLong,
    /// Not an OpenSSH private key.
    #[error("not a private key in OpenSSH's format")]
    Malformed,
    /// Locked by a passphrase.
    #[error("the private key is encrypted with a passphrase")]
    Encrypted,
    /// An algorithm that is not used for logins.
    #[error("keys of this algorithm are not used: make ed25519 or RSA of 2048 bits and more")]
    Algorithm,
    /// Making it failed.
    #[error("the key pair could not be made")]
    NotMade,
    /// A comment that would break the line of `authorized_keys`.
    #[error("a key's comment is one line of printable text")]
    Comment,
}

/// An SSH key pair of ours. The private part is wiped when the last copy goes.
#[derive(Clone)]
pub struct KeyPair(Arc<PrivateKey>);

impl KeyPair {
    /// Makes a key pair. `comment` stands behind the public key and tells the
    /// partner whose it is.
    pub fn generate(kind: KeyKind, comment: &str) -> Result<Self, KeyPairError> {
        if comment.chars().any(char::is_control) {
            return Err(KeyPairError::Comment);
        }
        let mut random = safe_rng();
        let mut key = match kind {
            KeyKind::Ed25519 => PrivateKey::random(&mut random, Algorithm::Ed25519),
            KeyKind::Rsa4096 => RsaKeypair::random(&mut random, 4096)
                .and_then(|pair| PrivateKey::new(KeypairData::from(pair), "")),
        }
        .map_err(|_| KeyPairError::NotMade)?;
        key.set_comment(comment);
        Ok(Self(Arc::new(key)))
    }

    /// Reads a private key in OpenSSH's format, as [`KeyPair::to_openssh`]
    /// gives it.
    pub fn from_openssh(text: &str) -> Result<Self, KeyPairError> {
        if text.len() > MAX_PRIVATE_KEY_BYTES {
            return Err(KeyPairError::TooLong);
        }
        let key = PrivateKey::from_openssh(text).map_err(|_| KeyPairError::Malformed)?;
        if key.is_encrypted() {
            return Err(KeyPairError::Encrypted);
        }
        let fit = match key.key_data() {
            KeypairData::Ed25519(_) | KeypairData::Ecdsa(_) => true,
            KeypairData::Rsa(pair) => pair.key_size() >= MIN_RSA_BITS,
            _ => false,
        };
        if !fit {
            return Err(KeyPairError::Algorithm);
        }
        Ok(Self(Arc::new(key)))
    }

    /// The private key in OpenSSH's format, to be encrypted and kept.
    pub fn to_openssh(&self) -> Result<Zeroizing<String>, KeyPairError> {
        self.0
            .to_openssh(LineEnding::LF)
            .map_err(|_| KeyPairError::NotMade)
    }

    /// The public key as one line for the partner's `authorized_keys`, without
    /// a line end.
    pub fn authorized_keys_line(&self) -> Result<String, KeyPairError> {
        self.0
            .public_key()
            .to_openssh()
            .map_err(|_| KeyPairError::NotMade)
    }

    /// `SHA256:...` of the public key.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        self.0.fingerprint(HashAlg::Sha256).to_string()
    }

    /// For russh.
    pub(super) fn key(&self) -> &Arc<PrivateKey> {
        &self.0
    }

    pub(super) fn is_rsa(&self) -> bool {
        matches!(self.0.key_data(), KeypairData::Rsa(_))
    }
}

impl fmt::Debug for KeyPair {
    /// The private part is left out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KeyPair").field(&self.fingerprint()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_pair_comes_back_from_what_is_kept_of_it() {
        let made = KeyPair::generate(KeyKind::Ed25519, "layover acme").unwrap();
        let read = KeyPair::from_openssh(&made.to_openssh().unwrap()).unwrap();
        assert_eq!(read.fingerprint(), made.fingerprint());
        let line = read.authorized_keys_line().unwrap();
        assert!(line.starts_with("ssh-ed25519 AAAA"), "{line}");
        assert!(line.ends_with(" layover acme"), "{line}");
    }

    #[test]
    fn an_rsa_key_pair_has_4096_bits() {
        let made = KeyPair::generate(KeyKind::Rsa4096, "acme").unwrap();
        let KeypairData::Rsa(pair) = made.key().key_data() else {
            panic!("{made:?}");
        };
        assert_eq!(pair.key_size(), 4096);
        assert!(made.is_rsa());
        let line = made.authorized_keys_line().unwrap();
        assert!(line.starts_with("ssh-rsa "), "{line}");
    }

    #[test]
    fn nothing_of_the_private_part_is_printed() {
        let made = KeyPair::generate(KeyKind::Ed25519, "").unwrap();
        assert_eq!(
            format!("{made:?}"),
            format!("KeyPair({:?})", made.fingerprint())
        );
    }

    #[test]
    fn private_keys_that_cannot_be_used_say_why() {
        let at_limit = "x".repeat(MAX_PRIVATE_KEY_BYTES);
        let above = "x".repeat(MAX_PRIVATE_KEY_BYTES + 1);
        for (text, why) in [
            (at_limit.as_str(), KeyPairError::Malformed),
            (above.as_str(), KeyPairError::TooLong),
            ("-----BEGIN RSA PRIVATE KEY-----", KeyPairError::Malformed),
        ] {
            assert_eq!(KeyPair::from_openssh(text).unwrap_err(), why);
        }
        assert_eq!(
            KeyPair::generate(KeyKind::Ed25519, "a\nssh-rsa").unwrap_err(),
            KeyPairError::Comment
        );
    }
}
