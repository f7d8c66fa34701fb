//! OpenPGP: files of partners come in encrypted to us and go out encrypted to them.
//!
//! [`OwnKeys`] are the key pairs we make, newest first; [`PartnerKey`] is the
//! public key file that a partner gave us, judged by rules of our own.
//! [`encrypt`] and [`decrypt`] stream: they block, so an async caller uses
//! [`Encrypting`] and [`Decrypting`], which run them on a thread of their own.
//!
//! Plaintext that [`decrypt`] has written is worth nothing until it returned
//! `Ok`: only then did the message end where its sender ended it, unaltered.
//! What a partner hears of a refused file is one constant sentence.

mod bridge;
mod decrypt;
mod encrypt;
mod key_file;
mod layers;
mod meter;
mod own_key;
mod partner_key;
mod self_signatures;
mod signature;
mod strength;

#[cfg(test)]
pub(crate) mod tests;

pub use bridge::{Decrypting, Encrypting};
pub use decrypt::{
    DecryptError, DecryptOptions, Decrypted, Limits, Refusal, SenderRule, UNDECRYPTABLE, decrypt,
};
pub use encrypt::{Compression, EncryptError, EncryptOptions, Encrypted, Form, encrypt};
pub use key_file::MAX_KEY_FILE_BYTES;
pub use own_key::{KeyPlan, MAX_OWN_KEYS, OwnKey, OwnKeyError, OwnKeys};
pub use partner_key::{EXPIRY_WARNING, KeyReport, PartnerKey, PartnerKeyError, SubkeyFault};
pub use strength::{MIN_DSA_BITS, MIN_RSA_BITS};

use jiff::Timestamp;

/// How far a partner's clock may be ahead of ours, in seconds: a signature from
/// the future counts as made now up to here, and as not made yet beyond it.
const CLOCK_TOLERANCE_S: u32 = 600;

/// A moment as OpenPGP writes it: seconds since 1970 in 32 bits. `None` outside
/// of 1970 to 2106.
fn pgp_seconds(at: Timestamp) -> Option<u32> {
    u32::try_from(at.as_second()).ok()
}

fn from_pgp_seconds(seconds: u64) -> Timestamp {
    i64::try_from(seconds)
        .ok()
        .and_then(|seconds| Timestamp::from_second(seconds).ok())
        .unwrap_or(Timestamp::MAX)
}
