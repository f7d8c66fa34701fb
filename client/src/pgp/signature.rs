//! Signatures of files: whose they are and whether they count.

use jiff::Timestamp;
use pgp::composed::Message;
use pgp::packet::{Signature, SignatureType};

use super::decrypt::Refusal;
use super::partner_key::{PartnerKey, Signer};
use super::strength::hash_signs_files;
use super::{CLOCK_TOLERANCE_S, pgp_seconds};

/// Most signatures of one file: each is a hash over all of it.
pub(super) const MAX_SIGNATURES: usize = 8;

/// How many signatures the message bears.
pub(super) fn count(message: &Message<'_>) -> usize {
    match message {
        Message::Signed { reader, .. } => reader.num_signatures(),
        _ => 0,
    }
}

/// Fails unless one signature of the message, which was read to its end, is the
/// partner's and counts at `now`.
pub(super) fn require(
    message: &Message<'_>,
    partner: &PartnerKey,
    now: Timestamp,
) -> Result<(), Refusal> {
    let signers = partner.signers(now).map_err(Refusal::SenderKey)?;
    let now = pgp_seconds(now).unwrap_or_default();
    let signatures = count(message);
    if signatures == 0 {
        return Err(Refusal::NotSigned);
    }
    let valid = (0..signatures).any(|index| {
        signers.iter().any(|signer| {
            message
                .verify_nested_explicit(index, signer.key)
                .is_ok_and(|signature| counts(signature, signer, now))
        })
    });
    if valid {
        Ok(())
    } else {
        Err(Refusal::WrongSignature)
    }
}

fn counts(signature: &Signature, signer: &Signer<'_>, now: u32) -> bool {
    let of_a_file = matches!(
        signature.typ(),
        Some(SignatureType::Binary | SignatureType::Text)
    );
    let Some(made) = signature.created().map(|at| at.as_secs()) else {
        return false;
    };
    let ran_out = signature
        .signature_expiration_time()
        .map(|lifetime| lifetime.as_secs())
        .filter(|&lifetime| lifetime != 0)
        .is_some_and(|lifetime| u64::from(made) + u64::from(lifetime) <= u64::from(now));
    of_a_file
        && hash_signs_files(signature.hash_alg())
        && made >= signer.created_at
        && made <= now.saturating_add(CLOCK_TOLERANCE_S)
        && !ran_out
}
