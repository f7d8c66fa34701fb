//! Encryption with AEAD (RFC 9580), which no key of ours asks for.

use pgp::composed::MessageBuilder;
use pgp::crypto::aead::{AeadAlgorithm, ChunkSize};
use pgp::crypto::sym::SymmetricKeyAlgorithm;
use rand_core::OsRng;

use super::super::partner_key::RecipientKey;
use super::*;

fn sealed_with_aead(ours: &OwnKeys, plain: &[u8]) -> Vec<u8> {
    let partner = as_partner(ours);
    let RecipientKey::Subkey(key) = partner.recipient(now()).expect("a recipient") else {
        panic!("our keys have subkeys");
    };
    let mut builder = MessageBuilder::from_bytes("", plain.to_vec()).seipd_v2(
        OsRng,
        SymmetricKeyAlgorithm::AES256,
        AeadAlgorithm::Ocb,
        ChunkSize::C4KiB,
    );
    builder.encrypt_to_key(OsRng, &key).expect("a session key");
    builder.to_vec(OsRng).expect("encrypt")
}

#[test]
fn files_with_aead_are_read_and_neither_cut_nor_altered_ones() {
    let ours = own_keys("layover");
    for length in [0, 1, 4_096, 30_000] {
        let plain = noise(length);
        let file = sealed_with_aead(&ours, &plain);
        let (read, _) = opened(&file, &opening_with(&ours)).expect("open it");
        assert!(read == plain, "{length} bytes");
        for cut in (0..file.len())
            .step_by(53)
            .chain(file.len() - 40..file.len())
        {
            let outcome = opened(&file[..cut], &opening_with(&ours));
            assert!(
                matches!(outcome, Err(DecryptError::Undecryptable { .. })),
                "{length} bytes cut to {cut}: {outcome:?}"
            );
        }
        for place in (130..file.len()).step_by(31) {
            let mut altered = file.clone();
            altered[place] ^= 1;
            let outcome = opened(&altered, &opening_with(&ours));
            assert!(
                matches!(outcome, Err(DecryptError::Undecryptable { .. })),
                "{length} bytes, byte {place}: {outcome:?}"
            );
        }
    }
}
