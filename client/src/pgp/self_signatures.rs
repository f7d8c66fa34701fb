//! What a key says about itself, as far as its own signatures prove it at a
//! given moment: validity, purpose, expiry, revocation.
//!
//! The library parses keys and checks single signatures; which of them is in
//! force (RFC 4880 s.5.2.3.3) is decided here.

use pgp::composed::{SignedPublicKey, SignedPublicSubKey};
use pgp::packet::{KeyFlags, Signature, SignatureType, SubpacketData};
use pgp::types::{KeyDetails, SignedUser, Tag};

use super::CLOCK_TOLERANCE_S;
use super::strength::hash_binds_keys;

/// What the primary key says at a moment.
#[derive(Debug)]
pub(super) struct PrimaryState {
    pub(super) revoked: bool,
    /// Seconds since 1970.
    pub(super) expires_at: Option<u64>,
    /// User ids in force, the primary one first.
    pub(super) user_ids: Vec<String>,
    /// Whether a user id was there that its owner took back.
    pub(super) user_id_revoked: bool,
    /// Purposes; `None` when the key names none, which is: all it can do.
    pub(super) flags: Option<KeyFlags>,
}

/// What a subkey's binding says at a moment.
#[derive(Debug)]
pub(super) enum SubkeyState {
    /// No valid signature of the primary key binds it, or none yet.
    Unbound,
    /// Its owner took it back.
    Revoked,
    /// It belongs to the primary key.
    Bound {
        /// Seconds since 1970.
        expires_at: Option<u64>,
        /// Purposes, as in [`PrimaryState::flags`].
        flags: Option<KeyFlags>,
        /// Whether the subkey itself confirms the binding, which one that
        /// signs must do (RFC 4880 s.5.2.1, type 0x19).
        confirmed: bool,
    },
}

/// What the primary key of `key` says about itself at `now`.
pub(super) fn primary_state(key: &SignedPublicKey, now: u32) -> PrimaryState {
    let primary = &key.primary_key;
    let created = primary.created_at().as_secs();
    let revoked = key
        .details
        .revocation_signatures
        .iter()
        .any(|signature| counts(signature, now) && signature.verify_key(primary).is_ok());

    let mut users: Vec<(&Signature, String)> = Vec::new();
    let mut user_id_revoked = false;
    for user in &key.details.users {
        match user_certification(key, user, now) {
            UserState::Valid(signature) => {
                let id = String::from_utf8_lossy(user.id.id()).into_owned();
                users.push((signature, id));
            }
            UserState::Revoked => user_id_revoked = true,
            UserState::Unproven => {}
        }
    }
    // RFC 4880 s.5.2.3.19: of several primary user ids the newest counts.
    users.sort_by_key(|(signature, _)| {
        std::cmp::Reverse((signature.is_primary(), signed_at(signature)))
    });
    let direct = newest(key.details.direct_signatures.iter().filter(|signature| {
        signature.typ() == Some(SignatureType::Key)
            && counts(signature, now)
            && signature.verify_key(primary).is_ok()
    }));
    let certification = users.first().map(|(signature, _)| *signature);
    // Where both say when the key ends, the earlier moment holds.
    let expires_at = [certification, direct]
        .into_iter()
        .flatten()
        .filter_map(|signature| expiry(signature, created))
        .min();
    PrimaryState {
        revoked,
        expires_at,
        flags: certification
            .and_then(flags)
            .or_else(|| direct.and_then(flags)),
        user_ids: users.into_iter().map(|(_, id)| id).collect(),
        user_id_revoked,
    }
}

/// What binds `subkey` to the primary key of `key` at `now`.
pub(super) fn subkey_state(
    key: &SignedPublicKey,
    subkey: &SignedPublicSubKey,
    now: u32,
) -> SubkeyState {
    let primary = &key.primary_key;
    let proven: Vec<&Signature> = subkey
        .signatures
        .iter()
        .filter(|signature| {
            counts(signature, now)
                && signature
                    .verify_subkey_binding(primary, &subkey.key)
                    .is_ok()
        })
        .collect();
    let of_type = |kind| {
        proven
            .iter()
            .copied()
            .filter(move |signature| signature.typ() == Some(kind))
    };
    if of_type(SignatureType::SubkeyRevocation).next().is_some() {
        return SubkeyState::Revoked;
    }
    match newest(of_type(SignatureType::SubkeyBinding)) {
        None => SubkeyState::Unbound,
        Some(binding) => SubkeyState::Bound {
            expires_at: expiry(binding, subkey.key.created_at().as_secs()),
            flags: flags(binding),
            confirmed: binding.embedded_signature().is_some_and(|confirmation| {
                counts(confirmation, now)
                    && confirmation
                        .verify_primary_key_binding(&subkey.key, primary)
                        .is_ok()
            }),
        },
    }
}

enum UserState<'a> {
    Valid(&'a Signature),
    Revoked,
    Unproven,
}

fn user_certification<'a>(key: &SignedPublicKey, user: &'a SignedUser, now: u32) -> UserState<'a> {
    let proven = |signature: &&&Signature| {
        counts(signature, now)
            && signature
                .verify_certification(&key.primary_key, Tag::UserId, &user.id)
                .is_ok()
    };
    let is_revocation =
        |signature: &&Signature| signature.typ() == Some(SignatureType::CertRevocation);
    let signatures: Vec<&Signature> = user.signatures.iter().collect();
    let certification = newest(
        signatures
            .iter()
            .filter(|signature| !is_revocation(signature))
            .filter(proven)
            .copied(),
    );
    let revocation = newest(
        signatures
            .iter()
            .filter(|signature| is_revocation(signature))
            .filter(proven)
            .copied(),
    );
    match (certification, revocation) {
        // A newer certification takes a revocation back (RFC 4880 s.5.2.1).
        (Some(certification), Some(revocation))
            if signed_at(certification) > signed_at(revocation) =>
        {
            UserState::Valid(certification)
        }
        (_, Some(_)) => UserState::Revoked,
        (Some(certification), None) => UserState::Valid(certification),
        (None, None) => UserState::Unproven,
    }
}

/// Whether a signature is made with a hash that we trust, is not of the future
/// and has not run out.
fn counts(signature: &Signature, now: u32) -> bool {
    let Some(made) = signature.created().map(|at| at.as_secs()) else {
        return false;
    };
    let ran_out = signature
        .signature_expiration_time()
        .map(|lifetime| lifetime.as_secs())
        .filter(|&lifetime| lifetime != 0)
        .is_some_and(|lifetime| u64::from(made) + u64::from(lifetime) <= u64::from(now));
    hash_binds_keys(signature.hash_alg())
        && made <= now.saturating_add(CLOCK_TOLERANCE_S)
        && !ran_out
}

fn newest<'a>(signatures: impl Iterator<Item = &'a Signature>) -> Option<&'a Signature> {
    signatures.max_by_key(|signature| signed_at(signature))
}

fn signed_at(signature: &Signature) -> u32 {
    signature.created().map_or(0, |at| at.as_secs())
}

/// End of a key made at `created`; zero means never (RFC 4880 s.5.2.3.6).
fn expiry(signature: &Signature, created: u32) -> Option<u64> {
    let lifetime = signature.key_expiration_time()?.as_secs();
    (lifetime != 0).then(|| u64::from(created) + u64::from(lifetime))
}

/// `None` where the signature names no purposes.
fn flags(signature: &Signature) -> Option<KeyFlags> {
    signature.config()?.hashed_subpackets().find_map(|part| {
        if let SubpacketData::KeyFlags(flags) = &part.data {
            Some(flags.clone())
        } else {
            None
        }
    })
}
