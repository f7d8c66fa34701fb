//! Which keys of partners are strong enough, and what an algorithm is called.

use pgp::crypto::hash::HashAlgorithm;
use pgp::ser::Serialize;
use pgp::types::{EcdhPublicParams, EcdsaPublicParams, PublicParams};

/// Shortest RSA modulus that is accepted, in bits (NIST SP 800-131A: below is
/// disallowed since 2014).
pub const MIN_RSA_BITS: u16 = 2_048;
/// Shortest DSA prime that is accepted, in bits; the rule of RSA.
pub const MIN_DSA_BITS: u16 = 2_048;

/// Name of the algorithm and its size: `RSA 4096`, `Curve25519`.
pub(super) fn algorithm_name(params: &PublicParams) -> String {
    match params {
        PublicParams::RSA(key) => format!("RSA {}", first_number_bits(key)),
        PublicParams::DSA(key) => format!("DSA {}", first_number_bits(key)),
        PublicParams::Elgamal(key) => format!("ElGamal {}", first_number_bits(key)),
        PublicParams::ECDSA(key) => format!("ECDSA {}", key.curve().name()),
        PublicParams::ECDH(EcdhPublicParams::Curve25519Legacy { .. }) | PublicParams::X25519(_) => {
            "Curve25519".to_owned()
        }
        PublicParams::ECDH(key) => format!("ECDH {}", key.curve().name()),
        PublicParams::EdDSALegacy(_) | PublicParams::Ed25519(_) => "Ed25519".to_owned(),
        PublicParams::X448(_) => "Curve448".to_owned(),
        PublicParams::Ed448(_) => "Ed448".to_owned(),
        _ => "an unknown algorithm".to_owned(),
    }
}

/// The rule that a key breaks, in words; `None` when it is strong enough.
pub(super) fn weakness(params: &PublicParams) -> Option<String> {
    let (bits, least) = match params {
        PublicParams::RSA(key) => (first_number_bits(key), MIN_RSA_BITS),
        PublicParams::DSA(key) => (first_number_bits(key), MIN_DSA_BITS),
        _ => return None,
    };
    (bits < least).then(|| format!("{} has fewer than {least} bits", algorithm_name(params)))
}

/// Why we cannot encrypt to such a key; `None` when we can.
pub(super) fn unusable_for_encryption(params: &PublicParams) -> Option<String> {
    let usable = match params {
        PublicParams::RSA(_) | PublicParams::X25519(_) | PublicParams::X448(_) => true,
        PublicParams::ECDH(key) => matches!(
            key,
            EcdhPublicParams::Curve25519Legacy { .. }
                | EcdhPublicParams::P256 { .. }
                | EcdhPublicParams::P384 { .. }
                | EcdhPublicParams::P521 { .. }
        ),
        // Signing only, or (ElGamal) not written by the OpenPGP library.
        _ => false,
    };
    (!usable).then(|| format!("{} is not one to encrypt to", algorithm_name(params)))
}

/// Whether signatures of such a key can be checked.
pub(super) fn can_verify(params: &PublicParams) -> bool {
    match params {
        PublicParams::RSA(_)
        | PublicParams::DSA(_)
        | PublicParams::EdDSALegacy(_)
        | PublicParams::Ed25519(_)
        | PublicParams::Ed448(_) => true,
        PublicParams::ECDSA(key) => !matches!(key, EcdsaPublicParams::Unsupported { .. }),
        _ => false,
    }
}

/// Whether a key's signature about itself counts when made with this hash.
/// SHA-1 does: old keys know no other, what is signed is the owner's own, and
/// the library refuses colliding inputs.
pub(super) fn hash_binds_keys(hash: Option<HashAlgorithm>) -> bool {
    hash == Some(HashAlgorithm::Sha1) || hash_signs_files(hash)
}

/// Whether a signature of a file counts when made with this hash.
pub(super) fn hash_signs_files(hash: Option<HashAlgorithm>) -> bool {
    matches!(
        hash,
        Some(
            HashAlgorithm::Sha224
                | HashAlgorithm::Sha256
                | HashAlgorithm::Sha384
                | HashAlgorithm::Sha512
                | HashAlgorithm::Sha3_256
                | HashAlgorithm::Sha3_512
        )
    )
}

/// Length of the first number of the key's parameters, in bits: the modulus or
/// prime. RFC 4880 s.3.2: a number begins with its length in bits.
fn first_number_bits(params: &impl Serialize) -> u16 {
    match params.to_bytes().as_deref() {
        Ok([high, low, ..]) => u16::from_be_bytes([*high, *low]),
        _ => 0,
    }
}
