//! SSH key pairs that are made here: the partner installs the public key, the
//! private one never leaves us.

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use ssh_key::private::{KeypairData, RsaKeypair};
use ssh_key::{Algorithm, LineEnding, PrivateKey};
use zeroize::Zeroizing;

use crate::Secret;

/// Bits of RSA keys.
const RSA_BITS: usize = 4096;

/// What kind of key pair is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SshKeyKind {
    /// The usual one.
    Ed25519,
    /// For servers that know nothing newer; making one takes seconds.
    Rsa4096,
}

/// A key pair that was made.
#[derive(Clone, Debug)]
pub struct SshKeyPair {
    /// The private key, in OpenSSH's format.
    pub private: Secret,
    /// The public key, as a line of authorized_keys.
    pub public: String,
}

/// Why there is no key pair.
#[derive(Debug, thiserror::Error)]
pub enum KeyPairError {
    /// No random bytes.
    #[error("the operating system gave no random bytes")]
    NoRandomness,
    /// It could not be made or written.
    #[error("the key cannot be made")]
    NotMade {
        /// Why.
        source: ssh_key::Error,
    },
}

impl From<ssh_key::Error> for KeyPairError {
    fn from(source: ssh_key::Error) -> Self {
        Self::NotMade { source }
    }
}

impl SshKeyPair {
    /// Makes a key pair; the comment stands behind the public key.
    ///
    /// # Errors
    /// [`KeyPairError`].
    pub fn make(kind: SshKeyKind, comment: &str) -> Result<Self, KeyPairError> {
        let mut seed = Zeroizing::new([0_u8; 32]);
        getrandom::fill(seed.as_mut()).map_err(|_| KeyPairError::NoRandomness)?;
        let mut random = StdRng::from_seed(*seed);
        let mut key = match kind {
            SshKeyKind::Ed25519 => PrivateKey::random(&mut random, Algorithm::Ed25519)?,
            SshKeyKind::Rsa4096 => {
                let pair = RsaKeypair::random(&mut random, RSA_BITS)?;
                PrivateKey::new(KeypairData::from(pair), "")?
            }
        };
        key.set_comment(comment);
        let private = key.to_openssh(LineEnding::LF)?;
        Ok(Self {
            private: Secret::new(private.as_bytes()),
            public: key.public_key().to_openssh()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_fits_together_and_differs_from_the_next() {
        for (kind, word) in [
            (SshKeyKind::Ed25519, "ssh-ed25519 "),
            (SshKeyKind::Rsa4096, "ssh-rsa "),
        ] {
            let pair = SshKeyPair::make(kind, "layover acme").unwrap();
            assert!(pair.public.starts_with(word) && pair.public.ends_with(" layover acme"));
            let private = PrivateKey::from_openssh(pair.private.expose()).unwrap();
            assert_eq!(private.public_key().to_openssh().unwrap(), pair.public);
        }
        let make = || SshKeyPair::make(SshKeyKind::Ed25519, "x").unwrap().public;
        assert_ne!(make(), make());
    }
}
