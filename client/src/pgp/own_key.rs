//! Our own key pairs: made by us, for one integration.

use std::fmt;

use jiff::Timestamp;
use pgp::composed::{
    ArmorOptions, Deserializable, KeyType, SignedKeyDetails, SignedSecretKey, SignedSecretSubKey,
};
use pgp::crypto::ecc_curve::ECCCurve;
use pgp::crypto::hash::HashAlgorithm;
use pgp::crypto::sym::SymmetricKeyAlgorithm;
use pgp::packet::{
    Features, KeyFlags, PubKeyInner, PublicKey, PublicSubkey, SecretKey, SecretSubkey,
    SignatureConfig, SignatureType, Subpacket, SubpacketData, UserId,
};
use pgp::ser::Serialize;
use pgp::types::{
    CompressionAlgorithm, Duration, KeyDetails, KeyVersion, Password, Tag, Timestamp as PgpTime,
};
use rand_core::OsRng;
use zeroize::Zeroizing;

use super::{from_pgp_seconds, pgp_seconds};

/// Most key pairs of one integration: each file is tried with all of them, and
/// a rotation needs two.
pub const MAX_OWN_KEYS: usize = 8;

/// Why a key pair of ours cannot be made or read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OwnKeyError {
    /// The moment is not one that OpenPGP can write.
    #[error("a key's dates lie between 1970 and 2106, its expiry after its making")]
    Dates,
    /// More than [`MAX_OWN_KEYS`].
    #[error("an integration has at most {MAX_OWN_KEYS} PGP key pairs: retire one first")]
    TooMany,
    /// What was stored is no key pair.
    #[error("the stored PGP key pair cannot be read: {detail}")]
    Stored {
        /// What is wrong with it.
        detail: String,
    },
    /// The OpenPGP library refused.
    #[error("the PGP key pair cannot be made: {detail}")]
    Making {
        /// Its words.
        detail: String,
    },
}

/// What a new key pair is to be.
#[derive(Debug, Clone, Copy)]
pub struct KeyPlan<'a> {
    /// `Layover NAME <address>`, shown to the partner.
    pub user_id: &'a str,
    /// Now.
    pub created_at: Timestamp,
    /// When partners' programs stop using it. We go on decrypting with it.
    pub expires_at: Option<Timestamp>,
}

/// One key pair of ours: Ed25519 that certifies and signs, and Curve25519 that
/// decrypts, in the forms that GnuPG 2.1 and later reads. Zeroed on drop.
#[derive(Clone)]
pub struct OwnKey(SignedSecretKey);

impl OwnKey {
    /// Makes a key pair.
    pub fn generate(plan: &KeyPlan<'_>) -> Result<Self, OwnKeyError> {
        let created = pgp_seconds(plan.created_at).ok_or(OwnKeyError::Dates)?;
        let lifetime = match plan.expires_at.map(pgp_seconds) {
            None => None,
            Some(Some(at)) if at > created => Some(Duration::from_secs(at - created)),
            Some(_) => return Err(OwnKeyError::Dates),
        };
        make(plan.user_id, PgpTime::from_secs(created), lifetime).map_err(|error| {
            OwnKeyError::Making {
                detail: error.to_string(),
            }
        })
    }

    /// Fingerprint, in upper case hexadecimal.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        format!("{:X}", self.0.primary_key.fingerprint())
    }

    /// When it was made.
    #[must_use]
    pub fn created_at(&self) -> Timestamp {
        from_pgp_seconds(self.0.primary_key.created_at().as_secs().into())
    }

    /// When partners' programs stop using it.
    #[must_use]
    pub fn expires_at(&self) -> Option<Timestamp> {
        let lifetime = self
            .0
            .details
            .users
            .iter()
            .flat_map(|user| &user.signatures)
            .find_map(pgp::packet::Signature::key_expiration_time)?;
        let created = u64::from(self.0.primary_key.created_at().as_secs());
        (lifetime.as_secs() != 0).then(|| from_pgp_seconds(created + u64::from(lifetime.as_secs())))
    }

    /// The public key, armored: what the partner encrypts to.
    pub fn public_armored(&self) -> Result<String, OwnKeyError> {
        self.0
            .to_public_key()
            .to_armored_string(ArmorOptions::default())
            .map_err(|error| OwnKeyError::Making {
                detail: error.to_string(),
            })
    }

    pub(super) fn secret(&self) -> &SignedSecretKey {
        &self.0
    }
}

impl fmt::Debug for OwnKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OwnKey({})", self.fingerprint())
    }
}

/// The key pairs of one integration, newest first: the newest is given out and
/// signs, all decrypt.
#[derive(Clone, Debug)]
pub struct OwnKeys {
    newest: OwnKey,
    older: Vec<OwnKey>,
}

impl OwnKeys {
    /// One key pair.
    #[must_use]
    pub fn new(key: OwnKey) -> Self {
        Self {
            newest: key,
            older: Vec::new(),
        }
    }

    /// Puts `key` in front. The ones before it go on decrypting until
    /// [`OwnKeys::retire`].
    pub fn rotate(&mut self, key: OwnKey) -> Result<(), OwnKeyError> {
        if self.older.len() + 1 >= MAX_OWN_KEYS {
            return Err(OwnKeyError::TooMany);
        }
        let before = std::mem::replace(&mut self.newest, key);
        self.older.insert(0, before);
        Ok(())
    }

    /// Forgets an older key pair. `false` when none of the older ones has this
    /// fingerprint; the newest stays.
    pub fn retire(&mut self, fingerprint: &str) -> bool {
        let before = self.older.len();
        self.older
            .retain(|key| !key.fingerprint().eq_ignore_ascii_case(fingerprint));
        self.older.len() < before
    }

    /// The one that is given out and signs.
    #[must_use]
    pub fn newest(&self) -> &OwnKey {
        &self.newest
    }

    /// All of them, newest first.
    pub fn iter(&self) -> impl Iterator<Item = &OwnKey> {
        std::iter::once(&self.newest).chain(&self.older)
    }

    /// The private keys, to be encrypted before they are stored.
    pub fn to_bytes(&self) -> Result<Zeroizing<Vec<u8>>, OwnKeyError> {
        // Room for all of it at once: a vector that grows leaves copies behind.
        let length = self.iter().map(|key| key.0.write_len()).sum();
        let mut bytes = Zeroizing::new(Vec::with_capacity(length));
        for key in self.iter() {
            key.0
                .to_writer(&mut *bytes)
                .map_err(|error| OwnKeyError::Making {
                    detail: error.to_string(),
                })?;
        }
        Ok(bytes)
    }

    /// Reads what [`OwnKeys::to_bytes`] gave.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, OwnKeyError> {
        let stored = |error: pgp::errors::Error| OwnKeyError::Stored {
            detail: error.to_string(),
        };
        let mut keys = Vec::new();
        for key in SignedSecretKey::from_bytes_many(bytes).map_err(stored)? {
            let key = key.map_err(stored)?;
            key.verify_bindings().map_err(stored)?;
            if keys.len() >= MAX_OWN_KEYS {
                return Err(OwnKeyError::TooMany);
            }
            keys.push(OwnKey(key));
        }
        let mut keys = keys.into_iter();
        match keys.next() {
            Some(newest) => Ok(Self {
                newest,
                older: keys.collect(),
            }),
            None => Err(OwnKeyError::Stored {
                detail: "there is no key in it".to_owned(),
            }),
        }
    }
}

fn make(
    user_id: &str,
    created: PgpTime,
    lifetime: Option<Duration>,
) -> pgp::errors::Result<OwnKey> {
    let unlocked = Password::empty();
    let (primary, primary_public) = {
        let kind = KeyType::Ed25519Legacy;
        let (public, secret) = kind.generate(OsRng)?;
        let inner = PubKeyInner::new(KeyVersion::V4, kind.to_alg(), created, None, public)?;
        let public = PublicKey::from_inner(inner)?;
        (SecretKey::new(public.clone(), secret)?, public)
    };
    let subkey = {
        let kind = KeyType::ECDH(ECCCurve::Curve25519Legacy);
        let (public, secret) = kind.generate(OsRng)?;
        let inner = PubKeyInner::new(KeyVersion::V4, kind.to_alg(), created, None, public)?;
        SecretSubkey::new(PublicSubkey::from_inner(inner)?, secret)?
    };
    let signature =
        |kind: SignatureType, flags: KeyFlags| -> pgp::errors::Result<_> {
            let mut config =
                SignatureConfig::v4(kind, primary_public.algorithm(), HashAlgorithm::Sha512);
            config.hashed_subpackets = vec![
                Subpacket::regular(SubpacketData::SignatureCreationTime(created))?,
                Subpacket::regular(SubpacketData::IssuerFingerprint(
                    primary_public.fingerprint(),
                ))?,
                Subpacket::regular(SubpacketData::KeyFlags(flags))?,
            ];
            if let Some(lifetime) = lifetime {
                config.hashed_subpackets.push(Subpacket::regular(
                    SubpacketData::KeyExpirationTime(lifetime),
                )?);
            }
            config.unhashed_subpackets = vec![Subpacket::regular(SubpacketData::IssuerKeyId(
                primary_public.legacy_key_id(),
            ))?];
            Ok(config)
        };

    let user = {
        let mut flags = KeyFlags::default();
        flags.set_certify(true);
        flags.set_sign(true);
        let mut config = signature(SignatureType::CertPositive, flags)?;
        config.hashed_subpackets.extend(preferences()?);
        let user = UserId::from_str(Default::default(), user_id)?;
        let certification =
            config.sign_certification(&primary, &primary_public, &unlocked, Tag::UserId, &user)?;
        user.into_signed(certification)
    };
    let binding = {
        let mut flags = KeyFlags::default();
        flags.set_encrypt_comms(true);
        flags.set_encrypt_storage(true);
        signature(SignatureType::SubkeyBinding, flags)?.sign_subkey_binding(
            &primary,
            &primary_public,
            &unlocked,
            subkey.public_key(),
        )?
    };
    Ok(OwnKey(SignedSecretKey::new(
        primary,
        SignedKeyDetails::new(Vec::new(), Vec::new(), vec![user], Vec::new()),
        Vec::new(),
        vec![SignedSecretSubKey::new(subkey, vec![binding])],
    )))
}

/// What partners' programs are told to use for us. Without preferences GnuPG
/// falls back to what every program must know, which is 3DES and SHA-1 (RFC
/// 4880 s.13.2); with the AEAD feature newer ones would write what we can read
/// but a partner's older tools cannot test.
fn preferences() -> pgp::errors::Result<Vec<Subpacket>> {
    let mut features = Features::new();
    features.set_seipd_v1(true);
    Ok(vec![
        Subpacket::regular(SubpacketData::PreferredSymmetricAlgorithms(
            [SymmetricKeyAlgorithm::AES256, SymmetricKeyAlgorithm::AES128]
                .into_iter()
                .collect(),
        ))?,
        Subpacket::regular(SubpacketData::PreferredHashAlgorithms(
            [HashAlgorithm::Sha512, HashAlgorithm::Sha256]
                .into_iter()
                .collect(),
        ))?,
        Subpacket::regular(SubpacketData::PreferredCompressionAlgorithms(
            [
                CompressionAlgorithm::ZLIB,
                CompressionAlgorithm::Uncompressed,
            ]
            .into_iter()
            .collect(),
        ))?,
        Subpacket::regular(SubpacketData::Features(features))?,
        Subpacket::regular(SubpacketData::IsPrimary(true))?,
    ])
}

#[cfg(test)]
mod tests;
