//! An append-only chain of records that an auditor can check without us.
//!
//! Each record's hash covers its place, its bytes and the hash before it, so
//! that none can be changed, dropped, moved or added in between without every
//! later hash changing. Now and then the newest hash is signed (a
//! [`Checkpoint`], Ed25519, RFC 8032): whoever has the public key can tell the
//! chain from any other that somebody computed anew.
//!
//! What is exported is a line of JSON for each record (`export.rs`), and
//! `verify.rs` reads it again.

use std::fmt;

use aws_lc_rs::digest::{Context, SHA256};
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// Bytes that precede what is hashed, so that a hash of ours means nothing elsewhere.
const LINK_DOMAIN: &[u8] = b"layover chain link 1\0";

/// The first line of what is signed, for the same reason.
const CHECKPOINT_DOMAIN: &str = "layover chain checkpoint 1";

/// The same where a beginning was pruned: no other checkpoint may stand for one.
const PRUNING_DOMAIN: &str = "layover chain pruning 1";

/// Bytes of an Ed25519 public key (RFC 8032, 5.1.5).
pub const PUBLIC_KEY_BYTES: usize = 32;

/// Bytes of an Ed25519 seed, the secret half.
pub const SEED_BYTES: usize = 32;

/// A chain that the appliance keeps.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChainName {
    /// Deletion certificates.
    Certificates,
    /// The journal: transfers, logins, what operators did.
    Journal,
}

impl ChainName {
    /// The word in the database and in exports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Certificates => "certificates",
            Self::Journal => "journal",
        }
    }
}

impl fmt::Display for ChainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// SHA-256 of a link. Shown, and written in JSON, as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ChainHash([u8; 32]);

impl ChainHash {
    /// What precedes the first record.
    pub const ZERO: Self = Self([0; 32]);

    /// The hash with these bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for ChainHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for ChainHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// A text is no hash.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a hash is 64 hexadecimal digits")]
pub struct ChainHashError;

impl std::str::FromStr for ChainHash {
    type Err = ChainHashError;

    fn from_str(text: &str) -> Result<Self, ChainHashError> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| ChainHashError)?;
        Ok(Self(bytes))
    }
}

impl Serialize for ChainHash {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ChainHash {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Where a chain stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ChainHead {
    /// Number of its newest record; the first is 1, and 0 means none yet.
    pub seq: u64,
    /// Hash of its newest record.
    pub hash: ChainHash,
}

impl ChainHead {
    /// A chain without records.
    pub const EMPTY: Self = Self {
        seq: 0,
        hash: ChainHash::ZERO,
    };

    /// The head after `record` was appended. The record's bytes are what is
    /// kept and exported, exactly.
    #[must_use]
    pub fn next(&self, chain: ChainName, record: &[u8]) -> Self {
        let seq = self.seq.saturating_add(1);
        let mut context = Context::new(&SHA256);
        context.update(LINK_DOMAIN);
        context.update(chain.as_str().as_bytes());
        context.update(b"\0");
        context.update(&seq.to_be_bytes());
        context.update(self.hash.as_bytes());
        context.update(record);
        let mut hash = [0; 32];
        for (to, from) in hash.iter_mut().zip(context.finish().as_ref()) {
            *to = *from;
        }
        Self {
            seq,
            hash: ChainHash(hash),
        }
    }
}

/// Which key signed: the first 16 hexadecimal digits of the SHA-256 of the
/// public key.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyId(String);

impl KeyId {
    /// The word in the database and in exports.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// A text is no name of a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a key is named by 16 hexadecimal digits")]
pub struct KeyIdError;

impl std::str::FromStr for KeyId {
    type Err = KeyIdError;

    fn from_str(text: &str) -> Result<Self, KeyIdError> {
        let mut bytes = [0; 8];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| KeyIdError)?;
        Ok(Self(hex::encode(bytes)))
    }
}

/// The public half of a signing key. Written as `ed25519:` and 64 hexadecimal
/// digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct PublicKey([u8; PUBLIC_KEY_BYTES]);

impl PublicKey {
    /// The key with these bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; PUBLIC_KEY_BYTES]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; PUBLIC_KEY_BYTES] {
        &self.0
    }

    /// What checkpoints call it.
    #[must_use]
    pub fn id(&self) -> KeyId {
        let digest = aws_lc_rs::digest::digest(&SHA256, &self.0);
        let mut id = hex::encode(digest.as_ref());
        id.truncate(16);
        KeyId(id)
    }
}

const KEY_PREFIX: &str = "ed25519:";

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{KEY_PREFIX}{}", hex::encode(self.0))
    }
}

/// A text is no public key.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a public key is `ed25519:` and 64 hexadecimal digits")]
pub struct PublicKeyError;

impl std::str::FromStr for PublicKey {
    type Err = PublicKeyError;

    fn from_str(text: &str) -> Result<Self, PublicKeyError> {
        let mut bytes = [0; PUBLIC_KEY_BYTES];
        let digits = text.strip_prefix(KEY_PREFIX).ok_or(PublicKeyError)?;
        hex::decode_to_slice(digits, &mut bytes).map_err(|_| PublicKeyError)?;
        Ok(Self(bytes))
    }
}

impl Serialize for PublicKey {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PublicKey {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// The secret half: signs checkpoints.
pub struct SigningKey {
    pair: Ed25519KeyPair,
    public: PublicKey,
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.public.id())
    }
}

/// Bytes that are no seed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a signing key is {SEED_BYTES} secret bytes")]
pub struct SeedError;

impl SigningKey {
    /// The key that grows from `seed`: [`SEED_BYTES`] random bytes, kept secret.
    ///
    /// # Errors
    /// Bytes that are no seed.
    pub fn from_seed(seed: &[u8]) -> Result<Self, SeedError> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| SeedError)?;
        let public = pair
            .public_key()
            .as_ref()
            .try_into()
            .map_err(|_| SeedError)?;
        Ok(Self {
            pair,
            public: PublicKey(public),
        })
    }

    /// Its public half.
    #[must_use]
    pub const fn public(&self) -> PublicKey {
        self.public
    }

    /// Signs where the chain stands.
    #[must_use]
    pub fn checkpoint(&self, chain: ChainName, head: ChainHead, at: Timestamp) -> Checkpoint {
        self.sign(CHECKPOINT_DOMAIN, chain, head, at)
    }

    /// Signs that everything up to here was pruned, and that the chain goes on from here.
    #[must_use]
    pub fn pruning(&self, chain: ChainName, head: ChainHead, at: Timestamp) -> Checkpoint {
        self.sign(PRUNING_DOMAIN, chain, head, at)
    }

    fn sign(&self, domain: &str, chain: ChainName, head: ChainHead, at: Timestamp) -> Checkpoint {
        let key_id = self.public.id();
        let statement = statement(domain, chain, head, at, &key_id);
        Checkpoint {
            head,
            at,
            key_id,
            signature: Signature(self.pair.sign(statement.as_bytes()).as_ref().to_vec()),
        }
    }
}

/// An Ed25519 signature. Written as hexadecimal digits.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Signature(Vec<u8>);

impl Signature {
    /// The signature with these bytes; whether it is one is found out when it
    /// is verified.
    #[must_use]
    pub const fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl Serialize for Signature {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Signature {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        hex::decode(text)
            .map(Self)
            .map_err(serde::de::Error::custom)
    }
}

/// A signed statement of where a chain stood.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The newest record then.
    #[serde(flatten)]
    pub head: ChainHead,
    /// When it was signed, exact to the second.
    pub at: Timestamp,
    /// Who signed.
    pub key_id: KeyId,
    /// Over the text that [`Checkpoint::statement`] gives.
    pub signature: Signature,
}

impl Checkpoint {
    /// The text that is signed: five lines, each ended by a line feed.
    #[must_use]
    pub fn statement(&self, chain: ChainName) -> String {
        statement(CHECKPOINT_DOMAIN, chain, self.head, self.at, &self.key_id)
    }

    /// The text that is signed where everything up to here was pruned: it differs from
    /// [`Checkpoint::statement`] in its first line.
    #[must_use]
    pub fn pruning_statement(&self, chain: ChainName) -> String {
        statement(PRUNING_DOMAIN, chain, self.head, self.at, &self.key_id)
    }

    /// Whether `key` signed exactly this.
    #[must_use]
    pub fn is_signed_by(&self, chain: ChainName, key: &PublicKey) -> bool {
        self.holds(&self.statement(chain), key)
    }

    /// Whether `key` signed that everything up to here was pruned.
    #[must_use]
    pub fn is_pruning_signed_by(&self, chain: ChainName, key: &PublicKey) -> bool {
        self.holds(&self.pruning_statement(chain), key)
    }

    fn holds(&self, statement: &str, key: &PublicKey) -> bool {
        key.id() == self.key_id
            && UnparsedPublicKey::new(&ED25519, key.as_bytes())
                .verify(statement.as_bytes(), &self.signature.0)
                .is_ok()
    }
}

fn statement(
    domain: &str,
    chain: ChainName,
    head: ChainHead,
    at: Timestamp,
    key_id: &KeyId,
) -> String {
    let ChainHead { seq, hash } = head;
    format!("{domain}\n{chain}\n{seq} {hash}\n{at}\n{key_id}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_seed(&[seed; SEED_BYTES]).unwrap()
    }

    #[test]
    fn a_hash_depends_on_place_content_chain_and_what_came_before() {
        let first = ChainHead::EMPTY.next(ChainName::Journal, b"a");
        assert_eq!(first.seq, 1);
        let others = [
            ChainHead::EMPTY.next(ChainName::Journal, b"b"),
            ChainHead::EMPTY.next(ChainName::Certificates, b"a"),
            ChainHead {
                seq: 1,
                ..ChainHead::EMPTY
            }
            .next(ChainName::Journal, b"a"),
            first.next(ChainName::Journal, b"a"),
        ];
        for other in others {
            assert_ne!(other.hash, first.hash, "{other:?}");
        }
        assert_eq!(first, ChainHead::EMPTY.next(ChainName::Journal, b"a"));
    }

    #[test]
    fn a_hash_is_what_it_was_when_the_first_chains_were_written() {
        // Computed with `sha256sum` over the bytes that the module's text names.
        let head = ChainHead::EMPTY.next(ChainName::Certificates, b"{}");
        assert_eq!(head.hash.to_string(), FIRST_HASH);
    }

    const FIRST_HASH: &str = "d2746bba2e085b621bec56bee97b580f5c4b370459f93986c93b0ca4439a907e";

    #[test]
    fn a_checkpoint_holds_for_its_key_its_chain_and_its_words_alone() {
        let head = ChainHead::EMPTY.next(ChainName::Journal, b"a");
        let at: Timestamp = "2026-11-21T04:39:13Z".parse().unwrap();
        let checkpoint = key(1).checkpoint(ChainName::Journal, head, at);
        let public = key(1).public();
        assert!(checkpoint.is_signed_by(ChainName::Journal, &public));
        assert!(!checkpoint.is_signed_by(ChainName::Certificates, &public));
        assert!(!checkpoint.is_signed_by(ChainName::Journal, &key(2).public()));
        let mut later = checkpoint.clone();
        later.at = later.at.saturating_add(std::time::Duration::from_secs(1));
        assert!(!later.is_signed_by(ChainName::Journal, &public));
        let mut longer = checkpoint.clone();
        longer.head.seq += 1;
        assert!(!longer.is_signed_by(ChainName::Journal, &public));
        let mut forged = checkpoint;
        forged.signature.0[0] ^= 1;
        assert!(!forged.is_signed_by(ChainName::Journal, &public));
    }

    #[test]
    fn a_checkpoint_survives_being_written_down() {
        let at: Timestamp = "2026-11-21T04:39:13Z".parse().unwrap();
        let checkpoint = key(1).checkpoint(ChainName::Journal, ChainHead::EMPTY, at);
        let text = serde_json::to_string(&checkpoint).unwrap();
        let read: Checkpoint = serde_json::from_str(&text).unwrap();
        assert_eq!(read, checkpoint);
        assert!(read.is_signed_by(ChainName::Journal, &key(1).public()));
    }

    #[test]
    fn keys_and_hashes_are_read_as_they_are_written() {
        let public = key(3).public();
        assert_eq!(public.to_string().parse(), Ok(public));
        for text in ["", "ed25519:", "ed25519:zz", "ed25519:00", "rsa:00"] {
            assert_eq!(text.parse::<PublicKey>(), Err(PublicKeyError), "{text}");
        }
        let hash = ChainHead::EMPTY.next(ChainName::Journal, b"x").hash;
        assert_eq!(hash.to_string().parse(), Ok(hash));
        assert_eq!("00".parse::<ChainHash>(), Err(ChainHashError));
    }

    #[test]
    fn a_seed_of_another_length_is_no_key() {
        for length in [0, SEED_BYTES - 1, SEED_BYTES + 1] {
            assert!(SigningKey::from_seed(&vec![1; length]).is_err(), "{length}");
        }
    }
}
