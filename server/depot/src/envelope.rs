//! Secrets that operators typed in and private keys that we made, as they lie in
//! the database: AES-256-GCM under a master key that is not in the database.
//!
//! The way in is [`MasterKeys::load`]; the newest key seals, all of them open.
//! A sealed value is bound to its table, row and column: copied to another
//! place it does not open.

mod master_key;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

pub use master_key::{
    MAX_KEY_ID_BYTES, MAX_MASTER_KEY_FILE_BYTES, MAX_MASTER_KEYS, MasterKeyError, MasterKeys,
};

use crate::secret::Secret;
use master_key::MasterKey;

/// Longest value, in bytes: some PGP key pairs, a certificate's private key.
pub const MAX_SEALED_VALUE_BYTES: usize = 256 * 1024;

/// The first byte of a sealed value: version, and what it stands for below.
const VERSION: u8 = 1;
/// How much of the place's SHA-256 is kept, in bytes: it tells a value in a
/// wrong place from an altered one. What keeps it from opening is the tag.
const PLACE_BYTES: usize = 8;

/// Where a sealed value lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place<'a> {
    /// The table.
    pub table: &'a str,
    /// What names the row: an id that never changes.
    pub row: &'a str,
    /// The column.
    pub column: &'a str,
}

/// Why a value cannot be sealed or opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// Over [`MAX_SEALED_VALUE_BYTES`].
    #[error("a secret is longer than {MAX_SEALED_VALUE_BYTES} bytes")]
    TooLong,
    /// Not of this format, or of a newer one.
    #[error("a sealed secret has a format that is not known")]
    UnknownFormat,
    /// Its master key is not in the file.
    #[error(
        "a secret is sealed with the master key `{id}`, which is not in the master key file: restore it there"
    )]
    UnknownKey {
        /// The key's id.
        id: String,
    },
    /// It was sealed for another row or column.
    #[error("a sealed secret lies in a place that it was not sealed for")]
    WrongPlace,
    /// The tag does not fit: the value or its master key is another one.
    #[error("a sealed secret was altered, or the master key of this id is another one")]
    Altered,
    /// The system gave no random numbers, or the cipher failed.
    #[error("a secret cannot be sealed: {what} failed")]
    Failed {
        /// What failed.
        what: &'static str,
    },
}

impl MasterKeys {
    /// Seals `value` for `place` with the newest key.
    ///
    /// The nonce is random: one key is good for 2^32 values (NIST SP 800-38D
    /// s.8.3), which no installation reaches.
    pub fn seal(&self, place: Place<'_>, value: &[u8]) -> Result<Vec<u8>, EnvelopeError> {
        if value.len() > MAX_SEALED_VALUE_BYTES {
            return Err(EnvelopeError::TooLong);
        }
        let key = self.newest();
        let mut nonce = [0; NONCE_LEN];
        getrandom::fill(&mut nonce).map_err(|_| EnvelopeError::Failed {
            what: "the system's random source",
        })?;
        let header = header(key, place)?;
        // Room for the tag as well: a vector that grows leaves copies behind.
        let room = value.len() + AES_256_GCM.tag_len();
        let mut body = Zeroizing::new(Vec::with_capacity(room));
        body.extend_from_slice(value);
        cipher(key)?
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(bound_to(&header, place)),
                &mut *body,
            )
            .map_err(|_| EnvelopeError::Failed { what: "the cipher" })?;
        Ok([&header[..], &nonce[..], &body[..]].concat())
    }

    /// Opens what was sealed for `place`, with whichever key it was.
    pub fn open(&self, place: Place<'_>, sealed: &[u8]) -> Result<Secret, EnvelopeError> {
        let parts = Parts::of(sealed)?;
        let key = self
            .find(parts.key_id)
            .ok_or_else(|| EnvelopeError::UnknownKey {
                id: parts.key_id.to_owned(),
            })?;
        if parts.place != place_mark(place) {
            return Err(EnvelopeError::WrongPlace);
        }
        let mut body = Zeroizing::new(parts.body.to_vec());
        let length = cipher(key)?
            .open_in_place(
                Nonce::assume_unique_for_key(parts.nonce),
                Aad::from(bound_to(parts.header, place)),
                &mut body,
            )
            .map_err(|_| EnvelopeError::Altered)?
            .len();
        body.truncate(length);
        Ok(Secret::new(std::mem::take(&mut *body)))
    }

    /// The same value under the newest key; `None` when it is already.
    pub fn reseal(
        &self,
        place: Place<'_>,
        sealed: &[u8],
    ) -> Result<Option<Vec<u8>>, EnvelopeError> {
        let value = self.open(place, sealed)?;
        if Parts::of(sealed)?.key_id == self.newest().id() {
            return Ok(None);
        }
        self.seal(place, value.expose()).map(Some)
    }
}

/// Id of the master key that opens `sealed`: whether one may be thrown away.
pub fn master_key_of(sealed: &[u8]) -> Result<&str, EnvelopeError> {
    Ok(Parts::of(sealed)?.key_id)
}

/// Version, length of the key's id, the id, the mark of the place.
fn header(key: &MasterKey, place: Place<'_>) -> Result<Vec<u8>, EnvelopeError> {
    let length = u8::try_from(key.id().len()).map_err(|_| EnvelopeError::UnknownFormat)?;
    let mut header = vec![VERSION, length];
    header.extend_from_slice(key.id().as_bytes());
    header.extend_from_slice(&place_mark(place));
    Ok(header)
}

struct Parts<'a> {
    header: &'a [u8],
    key_id: &'a str,
    place: [u8; PLACE_BYTES],
    nonce: [u8; NONCE_LEN],
    body: &'a [u8],
}

impl<'a> Parts<'a> {
    fn of(sealed: &'a [u8]) -> Result<Self, EnvelopeError> {
        Self::split(sealed).ok_or(EnvelopeError::UnknownFormat)
    }

    fn split(sealed: &'a [u8]) -> Option<Self> {
        let (&[version, length], rest) = sealed.split_first_chunk()?;
        if version != VERSION {
            return None;
        }
        let (key_id, rest) = rest.split_at_checked(usize::from(length))?;
        let (place, rest) = rest.split_first_chunk()?;
        let (nonce, body) = rest.split_first_chunk()?;
        Some(Self {
            header: sealed.get(..sealed.len() - rest.len())?,
            key_id: std::str::from_utf8(key_id).ok()?,
            place: *place,
            nonce: *nonce,
            body,
        })
    }
}

/// What the tag covers besides the value: each part with its length, so that
/// no two places give the same bytes.
fn bound_to(header: &[u8], place: Place<'_>) -> Vec<u8> {
    let mut bytes = header.to_vec();
    for part in [place.table, place.row, place.column] {
        bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
        bytes.extend_from_slice(part.as_bytes());
    }
    bytes
}

fn place_mark(place: Place<'_>) -> [u8; PLACE_BYTES] {
    let digest = Sha256::digest(bound_to(b"", place));
    let mut mark = [0; PLACE_BYTES];
    for (to, from) in mark.iter_mut().zip(digest) {
        *to = from;
    }
    mark
}

fn cipher(key: &MasterKey) -> Result<LessSafeKey, EnvelopeError> {
    UnboundKey::new(&AES_256_GCM, key.bytes())
        .map(LessSafeKey::new)
        .map_err(|_| EnvelopeError::Failed { what: "the cipher" })
}

#[cfg(test)]
mod tests;
