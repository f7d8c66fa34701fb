//! Both ways with GnuPG 2.2, and with messages that no partner should send.

mod decrypting;
mod encrypting;
pub(crate) mod gnupg;
mod hostile;
mod limits;
mod long;
mod newer_forms;
mod partner_keys;

use std::sync::Arc;

use jiff::Timestamp;

use super::{
    Compression, Form, KeyPlan, OwnKey, OwnKeys, PartnerKey, SenderRule, decrypt, encrypt,
};
use super::{DecryptError, DecryptOptions, Decrypted, EncryptOptions, Encrypted, Limits, Refusal};

/// The moment of all tests, GnuPG's included.
const NOW: &str = "2026-06-01T12:00:00Z";

pub(crate) fn now() -> Timestamp {
    NOW.parse().expect("a moment")
}

fn own_key(name: &str) -> OwnKey {
    OwnKey::generate(&KeyPlan {
        user_id: name,
        created_at: now(),
        expires_at: None,
    })
    .expect("make a key")
}

pub(crate) fn own_keys(name: &str) -> Arc<OwnKeys> {
    Arc::new(OwnKeys::new(own_key(name)))
}

/// Our own public key, as a partner's: what we write, we read.
pub(crate) fn as_partner(keys: &OwnKeys) -> Arc<PartnerKey> {
    let armored = keys.newest().public_armored().expect("armor");
    Arc::new(PartnerKey::read(armored.as_bytes()).expect("read our own key"))
}

pub(crate) fn sealing_to(to: Arc<PartnerKey>) -> EncryptOptions {
    EncryptOptions {
        to,
        sign_with: None,
        form: Form::Binary,
        compression: Compression::None,
        now: now(),
    }
}

pub(crate) fn opening_with(keys: &Arc<OwnKeys>) -> DecryptOptions {
    DecryptOptions {
        keys: Arc::clone(keys),
        sender: SenderRule::Anyone,
        limits: Limits::default(),
        now: now(),
    }
}

pub(crate) fn sealed(plain: &[u8], options: &EncryptOptions) -> Vec<u8> {
    let mut out = Vec::new();
    let done = encrypt(plain, &mut out, options).expect("encrypt");
    assert_eq!(
        done,
        Encrypted {
            plain_bytes: plain.len() as u64,
            encrypted_bytes: out.len() as u64,
        }
    );
    out
}

pub(crate) fn opened(
    file: &[u8],
    options: &DecryptOptions,
) -> Result<(Vec<u8>, Decrypted), DecryptError> {
    let mut out = Vec::new();
    let done = decrypt(file, &mut out, options)?;
    assert_eq!(done.plain_bytes, out.len() as u64);
    Ok((out, done))
}

fn refusal(file: &[u8], options: &DecryptOptions) -> Refusal {
    match opened(file, options) {
        Err(DecryptError::Undecryptable { cause }) => cause,
        Err(other) => panic!("not the file's fault: {other:?}"),
        Ok((plain, _)) => panic!("opened to {} bytes", plain.len()),
    }
}

/// Bytes that do not compress, always the same.
fn noise(length: usize) -> Vec<u8> {
    let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}
