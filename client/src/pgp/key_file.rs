//! From an uploaded key file to one OpenPGP public key.
//!
//! Partners send what their programs wrote: armored or binary, through mail
//! programs and Windows editors.

use std::borrow::Cow;

use pgp::armor::DearmorOptions;
use pgp::composed::{Deserializable, SignedPublicKey};

use super::partner_key::PartnerKeyError;

/// Longest key file, in bytes: a key with a photo and some hundred signatures
/// of others is below.
pub const MAX_KEY_FILE_BYTES: usize = 1024 * 1024;

const PUBLIC_BLOCK: &str = "-----BEGIN PGP PUBLIC KEY BLOCK-----";
const ANY_BLOCK: &str = "-----BEGIN ";

/// Reads the one key of the file.
pub(super) fn read(file: &[u8]) -> Result<SignedPublicKey, PartnerKeyError> {
    if file.len() > MAX_KEY_FILE_BYTES {
        return Err(PartnerKeyError::TooBig);
    }
    // RFC 4880 s.4.2: a packet begins with the high bit set, text does not; the
    // marks of UTF-8 and UTF-16 do, and are no packets that a key begins with.
    let text = as_text(file);
    let keys = match &text {
        Some(text) => armored(text)?,
        None => binary(file)?,
    };
    let mut keys = keys.into_iter();
    match (keys.next(), keys.next()) {
        (Some(key), None) => Ok(key),
        (None, _) => Err(PartnerKeyError::NoKey),
        (Some(first), Some(second)) => Err(PartnerKeyError::Several {
            fingerprints: [first, second]
                .into_iter()
                .chain(keys)
                .map(|key| super::partner_key::fingerprint_of(&key.primary_key))
                .collect(),
        }),
    }
}

/// The file as text; `None` when it is binary.
fn as_text(file: &[u8]) -> Option<Cow<'_, str>> {
    let utf16 = |bytes: &[u8], unit: fn([u8; 2]) -> u16| {
        let units: Vec<u16> = bytes
            .chunks_exact(2)
            .map(|pair| match pair {
                [first, second] => unit([*first, *second]),
                _ => 0,
            })
            .collect();
        Cow::Owned(String::from_utf16_lossy(&units))
    };
    match file {
        [0xef, 0xbb, 0xbf, rest @ ..] => Some(String::from_utf8_lossy(rest)),
        // PowerShell's `>` writes UTF-16.
        [0xff, 0xfe, rest @ ..] => Some(utf16(rest, u16::from_le_bytes)),
        [0xfe, 0xff, rest @ ..] => Some(utf16(rest, u16::from_be_bytes)),
        [first, ..] if first & 0x80 != 0 => None,
        _ => Some(String::from_utf8_lossy(file)),
    }
}

fn armored(text: &str) -> Result<Vec<SignedPublicKey>, PartnerKeyError> {
    if text.contains("-----BEGIN PGP PRIVATE KEY BLOCK-----") {
        return Err(PartnerKeyError::Private);
    }
    let blocks: Vec<&str> = text
        .match_indices(PUBLIC_BLOCK)
        .filter_map(|(at, _)| text.get(at..))
        .collect();
    if blocks.is_empty() {
        let found = text
            .lines()
            .find(|line| line.starts_with(ANY_BLOCK))
            .map(|line| line.trim().chars().take(80).collect());
        return Err(PartnerKeyError::NotAKey { found });
    }
    let mut keys = Vec::new();
    for block in blocks {
        let options = DearmorOptions::new().set_limit(MAX_KEY_FILE_BYTES);
        let (found, _) =
            SignedPublicKey::from_armor_many_buf_with_options(block.as_bytes(), options)
                .map_err(damaged)?;
        for key in found {
            keys.push(key.map_err(damaged)?);
        }
    }
    Ok(keys)
}

fn binary(file: &[u8]) -> Result<Vec<SignedPublicKey>, PartnerKeyError> {
    // RFC 4880 s.4.2: the tag of a secret key is 5, in both header formats.
    let tag = file.first().map(|first| {
        if first & 0x40 == 0 {
            (first >> 2) & 0x0f
        } else {
            first & 0x3f
        }
    });
    match tag {
        Some(5) => return Err(PartnerKeyError::Private),
        Some(6) => {}
        _ => return Err(PartnerKeyError::NotAKey { found: None }),
    }
    SignedPublicKey::from_bytes_many(file)
        .map_err(damaged)?
        .collect::<Result<_, _>>()
        .map_err(damaged)
}

fn damaged(error: pgp::errors::Error) -> PartnerKeyError {
    PartnerKeyError::Damaged {
        detail: error.to_string(),
    }
}
