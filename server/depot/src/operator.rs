//! Operators: people with a name and an SSH key, and what they sign.
//!
//! A signature is one as of `ssh-keygen -Y sign -n layover-hold`
//! (https://cvsweb.openbsd.org/src/usr.bin/ssh/PROTOCOL.sshsig). The namespace
//! keeps a signature that was made for something else from approving a hold.

use layover_retention::Timestamp;
use ssh_key::{Algorithm, HashAlg, PublicKey, SshSig};

use crate::authorized_key::{KeyUse, NewKey};
use crate::names::OperatorName;

/// What signatures are for, in their own words.
pub const SIGNATURE_NAMESPACE: &str = "layover-hold";

/// Longest signature that is read, in bytes: one by an RSA key of 16,384 bits
/// has less than 8 KiB.
pub const MAX_SIGNATURE_BYTES: usize = 16 * 1024;

/// A person who approves holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operator {
    /// The person's name.
    pub name: OperatorName,
    /// Of the key: `SHA256:...`.
    pub fingerprint: String,
    /// The key, as in a `.pub` file.
    pub public_key: String,
    /// Since when.
    pub added_at: Timestamp,
}

/// Why a key cannot be an operator's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OperatorKeyError {
    /// It opens accounts under conditions, or signs certificates.
    #[error("the key of an operator has no options before it")]
    Options,
    /// It cannot be written as text.
    #[error("the key cannot be read")]
    Unreadable,
}

impl Operator {
    /// An operator of this name with this key.
    ///
    /// # Errors
    /// [`OperatorKeyError`].
    pub(crate) fn new(
        name: OperatorName,
        key: &NewKey,
        added_at: Timestamp,
    ) -> Result<Self, OperatorKeyError> {
        let is_plain =
            key.used_for == KeyUse::Login && key.from.is_empty() && key.expires_at.is_none();
        if !is_plain {
            return Err(OperatorKeyError::Options);
        }
        let public_key = PublicKey::from_bytes(&key.blob)
            .and_then(|key| key.to_openssh())
            .map_err(|_| OperatorKeyError::Unreadable)?;
        Ok(Self {
            name,
            fingerprint: key.fingerprint.clone(),
            public_key,
            added_at,
        })
    }
}

/// Why a signature approves nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// No signature in the form of `ssh-keygen -Y sign`.
    #[error("this is not a signature as of `ssh-keygen -Y sign`")]
    NotASignature,
    /// Made for something else.
    #[error("the signature was made for `{namespace}`, not for `{SIGNATURE_NAMESPACE}`")]
    Namespace {
        /// What it says that it is for.
        namespace: String,
    },
    /// SHA-1 proves nothing any more.
    #[error("the signature rests on SHA-1; sign with a newer ssh-keygen")]
    Sha1,
    /// Nobody's key.
    #[error("no operator has the key {fingerprint} that signed; see: layover operator list")]
    Unknown {
        /// The key.
        fingerprint: String,
    },
    /// Of another text, or forged.
    #[error("the signature is not one of exactly this statement: layover retention hold statement")]
    Forged,
}

/// Whose signature of `statement` this is.
///
/// # Errors
/// [`SignatureError`].
pub(crate) fn signer<'a>(
    operators: &'a [Operator],
    statement: &str,
    signature: &str,
) -> Result<&'a Operator, SignatureError> {
    if signature.len() > MAX_SIGNATURE_BYTES {
        return Err(SignatureError::NotASignature);
    }
    let signature = SshSig::from_pem(signature).map_err(|_| SignatureError::NotASignature)?;
    if signature.namespace() != SIGNATURE_NAMESPACE {
        let namespace = signature.namespace().chars().filter(|c| !c.is_control());
        return Err(SignatureError::Namespace {
            namespace: namespace.take(80).collect(),
        });
    }
    if signature.algorithm() == (Algorithm::Rsa { hash: None }) {
        return Err(SignatureError::Sha1);
    }
    let fingerprint = signature
        .public_key()
        .fingerprint(HashAlg::Sha256)
        .to_string();
    let Some(operator) = operators
        .iter()
        .find(|operator| operator.fingerprint == fingerprint)
    else {
        return Err(SignatureError::Unknown { fingerprint });
    };
    let key: PublicKey = operator
        .public_key
        .parse()
        .map_err(|_| SignatureError::Forged)?;
    key.verify(SIGNATURE_NAMESPACE, statement.as_bytes(), &signature)
        .map_err(|_| SignatureError::Forged)?;
    Ok(operator)
}

#[cfg(test)]
mod tests {
    use ssh_key::private::{Ed25519Keypair, KeypairData};
    use ssh_key::{LineEnding, PrivateKey};

    use super::*;
    use crate::parse_authorized_keys;

    fn private(seed: u8) -> PrivateKey {
        let keypair = Ed25519Keypair::from_seed(&[seed; 32]);
        PrivateKey::new(KeypairData::Ed25519(keypair), "").unwrap()
    }

    fn operator(name: &str, key: &PrivateKey) -> Operator {
        let line = key.public_key().to_openssh().unwrap();
        let keys = parse_authorized_keys(&line).unwrap();
        let now = Timestamp::from_micros(0);
        Operator::new(name.parse().unwrap(), &keys[0], now).unwrap()
    }

    fn signed(key: &PrivateKey, namespace: &str, text: &str) -> String {
        let signature = key.sign(namespace, HashAlg::Sha512, text.as_bytes());
        signature.unwrap().to_pem(LineEnding::LF).unwrap()
    }

    #[test]
    fn a_signature_names_its_operator_and_is_good_for_one_statement_and_purpose() {
        let (ann, bob, eve) = (private(1), private(2), private(3));
        let operators = [operator("ann", &ann), operator("bob", &bob)];
        let fit = signed(&bob, SIGNATURE_NAMESPACE, "hold 7\n");
        let found = signer(&operators, "hold 7\n", &fit).unwrap();
        assert_eq!(found.name.as_str(), "bob");
        let windows = fit.replace('\n', "\r\n");
        assert!(signer(&operators, "hold 7\n", &windows).is_ok());
        assert_eq!(
            signer(&operators, "hold 8\n", &fit),
            Err(SignatureError::Forged)
        );
        let other_purpose = signed(&bob, "file", "hold 7\n");
        assert_eq!(
            signer(&operators, "hold 7\n", &other_purpose),
            Err(SignatureError::Namespace {
                namespace: "file".to_owned()
            })
        );
        let stranger = signed(&eve, SIGNATURE_NAMESPACE, "hold 7\n");
        let refused = signer(&operators, "hold 7\n", &stranger);
        assert!(matches!(refused, Err(SignatureError::Unknown { .. })));
        for text in [
            "",
            "-----BEGIN SSH SIGNATURE-----",
            &"x".repeat(MAX_SIGNATURE_BYTES + 1),
        ] {
            let refused = signer(&operators, "hold 7\n", text);
            assert_eq!(refused, Err(SignatureError::NotASignature));
        }
    }

    #[test]
    fn a_key_with_conditions_is_no_operators() {
        let line = private(1).public_key().to_openssh().unwrap();
        let now = Timestamp::from_micros(0);
        for options in [
            "cert-authority",
            "from=\"10.0.0.0/8\"",
            "expiry-time=\"20300101\"",
        ] {
            let keys = parse_authorized_keys(&format!("{options} {line}")).unwrap();
            let refused = Operator::new("ann".parse().unwrap(), &keys[0], now);
            assert_eq!(refused, Err(OperatorKeyError::Options), "{options}");
        }
    }
}
