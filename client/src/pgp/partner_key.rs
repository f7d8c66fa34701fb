//! A partner's public key: judged before anything is encrypted to it.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use pgp::composed::SignedPublicKey;
use pgp::packet::{KeyFlags, PublicKey, PublicSubkey};
use pgp::types::{KeyDetails, KeyVersion, PublicParams, VerifyingKey};

use super::self_signatures::{PrimaryState, SubkeyState, primary_state, subkey_state};
use super::strength::{algorithm_name, can_verify, unusable_for_encryption, weakness};
use super::{CLOCK_TOLERANCE_S, MAX_KEY_FILE_BYTES, from_pgp_seconds, key_file, pgp_seconds};

/// How long before a key's end operators are warned: partners need weeks to
/// make and send a new one.
pub const EXPIRY_WARNING: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Why a partner's key cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PartnerKeyError {
    /// Over [`MAX_KEY_FILE_BYTES`].
    #[error("the key file is longer than {MAX_KEY_FILE_BYTES} bytes")]
    TooBig,
    /// Something else than an OpenPGP key.
    #[error("the file holds no OpenPGP public key{}", found.as_ref().map(|line| format!(": it begins with `{line}`")).unwrap_or_default())]
    NotAKey {
        /// The first line of armor in it.
        found: Option<String>,
    },
    /// A private key.
    #[error(
        "the file holds a private key: ask for the public key alone, and tell the partner that this private key is no longer secret"
    )]
    Private,
    /// Blocks without a key that could be read.
    #[error("the file holds no key that can be read")]
    NoKey,
    /// More than one key.
    #[error("the file holds {} keys, export one: {}", fingerprints.len(), fingerprints.join(", "))]
    Several {
        /// Their fingerprints.
        fingerprints: Vec<String>,
    },
    /// Not readable.
    #[error("the key file is damaged: {detail}")]
    Damaged {
        /// What the OpenPGP library says.
        detail: String,
    },
    /// Not a version 4 key.
    #[error("the key is of OpenPGP version {version}; version 4 keys are supported")]
    Version {
        /// The version.
        version: u8,
    },
    /// Our moment is not one that OpenPGP can write.
    #[error("the time is outside of 1970 to 2106")]
    Clock,
    /// Made later than now.
    #[error("the key is dated {created_at}, which is in the future")]
    FromTheFuture {
        /// Its date.
        created_at: Timestamp,
    },
    /// The owner took it back.
    #[error("the key {fingerprint} was revoked by its owner")]
    Revoked {
        /// Which.
        fingerprint: String,
    },
    /// It ended.
    #[error("the key {fingerprint} expired at {expired_at}")]
    Expired {
        /// Which.
        fingerprint: String,
        /// When.
        expired_at: Timestamp,
    },
    /// Every user id was taken back.
    #[error("every user id of the key {fingerprint} was revoked by its owner")]
    UserIdsRevoked {
        /// Which.
        fingerprint: String,
    },
    /// No user id that the key itself signed.
    #[error("the key {fingerprint} has no user id with a valid signature of its own")]
    NoUserId {
        /// Which.
        fingerprint: String,
    },
    /// Below our rules.
    #[error("the key {fingerprint} is too weak: {rule}")]
    TooWeak {
        /// Which.
        fingerprint: String,
        /// The rule it breaks.
        rule: String,
    },
    /// Nothing to encrypt to.
    #[error("the key {fingerprint} has nothing to encrypt to{}", list(refused))]
    NoEncryptionKey {
        /// Which.
        fingerprint: String,
        /// What was looked at, and why it is not used.
        refused: Vec<SubkeyFault>,
    },
    /// Nothing that signs.
    #[error("the key {fingerprint} has nothing that signs files")]
    NoSigningKey {
        /// Which.
        fingerprint: String,
    },
}

/// Why one subkey is not used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubkeyFault {
    /// Which.
    pub fingerprint: String,
    /// Why.
    pub why: String,
}

fn list(refused: &[SubkeyFault]) -> String {
    refused
        .iter()
        .map(|fault| format!("; {} {}", fault.fingerprint, fault.why))
        .collect()
}

/// What an operator is shown of a partner's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyReport {
    /// Of the primary key, in upper case hexadecimal.
    pub fingerprint: String,
    /// Those in force, the primary one first.
    pub user_ids: Vec<String>,
    /// Of the primary key.
    pub algorithm: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// What files are encrypted to.
    pub encryption_fingerprint: String,
    /// Its algorithm.
    pub encryption_algorithm: String,
    /// When nothing more can be encrypted: the earlier of the two keys' ends.
    pub expires_at: Option<Timestamp>,
}

impl KeyReport {
    /// Whether it ends within `span` after `now`; see [`EXPIRY_WARNING`].
    #[must_use]
    pub fn expires_within(&self, span: Duration, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|at| {
            let left = at.duration_since(now);
            left.as_secs() <= i64::try_from(span.as_secs()).unwrap_or(i64::MAX)
        })
    }
}

/// A partner's public key file, read. What it may be used for depends on the
/// moment and is asked with one.
#[derive(Clone)]
pub struct PartnerKey(SignedPublicKey);

impl PartnerKey {
    /// Reads a key file: armored or binary, with one public key.
    pub fn read(file: &[u8]) -> Result<Self, PartnerKeyError> {
        let key = key_file::read(file)?;
        let version = key.primary_key.version();
        if version == KeyVersion::V4 {
            Ok(Self(key))
        } else {
            Err(PartnerKeyError::Version {
                version: version.into(),
            })
        }
    }

    /// What it is and can do at `now`. Fails when nothing may be encrypted to it.
    pub fn report(&self, now: Timestamp) -> Result<KeyReport, PartnerKeyError> {
        let (state, recipient) = self.recipient_and_state(now)?;
        let primary = &self.0.primary_key;
        Ok(KeyReport {
            fingerprint: fingerprint_of(primary),
            user_ids: state.user_ids,
            algorithm: algorithm_name(primary.public_params()),
            created_at: from_pgp_seconds(primary.created_at().as_secs().into()),
            encryption_fingerprint: recipient.fingerprint,
            encryption_algorithm: recipient.algorithm,
            expires_at: state
                .expires_at
                .into_iter()
                .chain(recipient.expires_at)
                .min()
                .map(from_pgp_seconds),
        })
    }

    /// Fingerprint of the primary key, in upper case hexadecimal.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        fingerprint_of(&self.0.primary_key)
    }

    /// Whether its signatures of files count at `now`. Fails with the reason when none do.
    pub fn may_sign(&self, now: Timestamp) -> Result<(), PartnerKeyError> {
        self.signers(now).map(drop)
    }

    /// What to encrypt to at `now`.
    pub(super) fn recipient(&self, now: Timestamp) -> Result<RecipientKey<'_>, PartnerKeyError> {
        Ok(self.recipient_and_state(now)?.1.key)
    }

    /// The keys whose signatures of files count at `now`.
    pub(super) fn signers(&self, now: Timestamp) -> Result<Vec<Signer<'_>>, PartnerKeyError> {
        let (now, state) = self.primary(now)?;
        let mut signers = Vec::new();
        let primary = &self.0.primary_key;
        if may(state.flags.as_ref(), KeyFlags::sign) && can_verify(primary.public_params()) {
            signers.push(Signer::new(primary));
        }
        for subkey in &self.0.public_subkeys {
            let key = &subkey.key;
            if let SubkeyState::Bound {
                expires_at,
                flags: Some(flags),
                confirmed: true,
            } = subkey_state(&self.0, subkey, now)
                && flags.sign()
                && expires_at.is_none_or(|at| at > u64::from(now))
                && weakness(key.public_params()).is_none()
                && can_verify(key.public_params())
            {
                signers.push(Signer::new(key));
            }
        }
        if signers.is_empty() {
            return Err(PartnerKeyError::NoSigningKey {
                fingerprint: self.fingerprint(),
            });
        }
        Ok(signers)
    }

    /// The moment as OpenPGP writes it, and what the primary key says then.
    fn primary(&self, now: Timestamp) -> Result<(u32, PrimaryState), PartnerKeyError> {
        let now = pgp_seconds(now).ok_or(PartnerKeyError::Clock)?;
        let primary = &self.0.primary_key;
        let fingerprint = self.fingerprint();
        let created = primary.created_at().as_secs();
        if created > now.saturating_add(CLOCK_TOLERANCE_S) {
            return Err(PartnerKeyError::FromTheFuture {
                created_at: from_pgp_seconds(created.into()),
            });
        }
        let state = primary_state(&self.0, now);
        if state.revoked {
            return Err(PartnerKeyError::Revoked { fingerprint });
        }
        if let Some(at) = state.expires_at
            && at <= u64::from(now)
        {
            return Err(PartnerKeyError::Expired {
                fingerprint,
                expired_at: from_pgp_seconds(at),
            });
        }
        if state.user_ids.is_empty() {
            return Err(if state.user_id_revoked {
                PartnerKeyError::UserIdsRevoked { fingerprint }
            } else {
                PartnerKeyError::NoUserId { fingerprint }
            });
        }
        if let Some(rule) = weakness(primary.public_params()) {
            return Err(PartnerKeyError::TooWeak { fingerprint, rule });
        }
        Ok((now, state))
    }

    fn recipient_and_state(
        &self,
        now: Timestamp,
    ) -> Result<(PrimaryState, Recipient<'_>), PartnerKeyError> {
        let (now, state) = self.primary(now)?;
        let mut refused = Vec::new();
        let mut usable: Vec<(u32, Recipient<'_>)> = Vec::new();
        for subkey in &self.0.public_subkeys {
            let key = &subkey.key;
            let fingerprint = fingerprint_of(key);
            let judged = subkey_state(&self.0, subkey, now);
            match encryption_subkey(&judged, key.public_params(), now) {
                Verdict::Usable => usable.push((
                    key.created_at().as_secs(),
                    Recipient {
                        key: RecipientKey::Subkey(key),
                        fingerprint,
                        algorithm: algorithm_name(key.public_params()),
                        expires_at: match judged {
                            SubkeyState::Bound { expires_at, .. } => expires_at,
                            SubkeyState::Unbound | SubkeyState::Revoked => None,
                        },
                    },
                )),
                Verdict::Faulty(why) => refused.push(SubkeyFault { fingerprint, why }),
                Verdict::ForSomethingElse => {}
            }
        }
        // As GnuPG does: of several the newest.
        if let Some((_, recipient)) = usable.into_iter().max_by_key(|(created, _)| *created) {
            return Ok((state, recipient));
        }
        let primary = &self.0.primary_key;
        let encrypts = state.flags.as_ref().is_some_and(encrypts);
        if encrypts && unusable_for_encryption(primary.public_params()).is_none() {
            let recipient = Recipient {
                key: RecipientKey::Primary(primary),
                fingerprint: self.fingerprint(),
                algorithm: algorithm_name(primary.public_params()),
                expires_at: state.expires_at,
            };
            return Ok((state, recipient));
        }
        Err(PartnerKeyError::NoEncryptionKey {
            fingerprint: self.fingerprint(),
            refused,
        })
    }
}

impl fmt::Debug for PartnerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PartnerKey({})", self.fingerprint())
    }
}

/// The key that a file is encrypted to.
pub(super) enum RecipientKey<'a> {
    /// Of an old RSA key that does everything.
    Primary(&'a PublicKey),
    /// As usual.
    Subkey(&'a PublicSubkey),
}

/// A key whose signatures of files count.
pub(super) struct Signer<'a> {
    pub(super) key: &'a dyn VerifyingKey,
    /// Seconds since 1970.
    pub(super) created_at: u32,
}

impl<'a> Signer<'a> {
    fn new<K: VerifyingKey>(key: &'a K) -> Self {
        Self {
            key,
            created_at: key.created_at().as_secs(),
        }
    }
}

struct Recipient<'a> {
    key: RecipientKey<'a>,
    fingerprint: String,
    algorithm: String,
    expires_at: Option<u64>,
}

enum Verdict {
    Usable,
    Faulty(String),
    ForSomethingElse,
}

fn encryption_subkey(state: &SubkeyState, params: &PublicParams, now: u32) -> Verdict {
    match state {
        SubkeyState::Unbound => {
            Verdict::Faulty("is not bound to the key by a valid signature".to_owned())
        }
        SubkeyState::Revoked => Verdict::Faulty("was revoked by its owner".to_owned()),
        SubkeyState::Bound {
            flags: Some(flags), ..
        } if !encrypts(flags) => Verdict::ForSomethingElse,
        SubkeyState::Bound { expires_at, .. } => {
            if let Some(at) = expires_at.filter(|&at| at <= u64::from(now)) {
                Verdict::Faulty(format!("expired at {}", from_pgp_seconds(at)))
            } else if let Some(rule) = weakness(params) {
                Verdict::Faulty(format!("is too weak: {rule}"))
            } else if let Some(why) = unusable_for_encryption(params) {
                Verdict::Faulty(format!("cannot be used: {why}"))
            } else {
                Verdict::Usable
            }
        }
    }
}

fn encrypts(flags: &KeyFlags) -> bool {
    flags.encrypt_comms() || flags.encrypt_storage()
}

/// A key without named purposes may do what it can.
fn may(flags: Option<&KeyFlags>, purpose: impl Fn(&KeyFlags) -> bool) -> bool {
    flags.is_none_or(purpose)
}

/// Upper case hexadecimal, as GnuPG prints it.
pub(super) fn fingerprint_of(key: &impl KeyDetails) -> String {
    format!("{:X}", key.fingerprint())
}
