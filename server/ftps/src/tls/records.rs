//! The record layer of a data connection whose handshake is done: sealed bytes in,
//! plaintext out, and the other way round. Pure: no socket, no clock.
//!
//! rustls does the handshake and derives every key; the cryptography is aws-lc's. What
//! is ours is the format (RFC 8446 s.5; for TLS 1.2 RFC 5246 s.6.2, RFC 5288 s.3 and
//! RFC 7905 s.2), because rustls copies each record on its way and we need not: a record is
//! opened from where it was received to where it is written from.
//!
//! Nothing of a record counts before its tag was right. The first [`Fault`] is the end: the
//! caller seals [`Fault::alert`] and opens nothing more. Of what a client may send after its
//! handshake three things are known: application data, alerts and KeyUpdate.

use aws_lc_rs::aead::{
    AES_128_GCM, AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey,
};
use rustls::kernel::KernelConnection;
use rustls::server::ServerConnectionData;
use rustls::{
    AlertDescription, ConnectionTrafficSecrets, ExtractedSecrets, ProtocolVersion,
    SupportedCipherSuite,
};
use zeroize::Zeroizing;

/// Content types (RFC 8446 s.5.1).
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;

/// KeyUpdate (RFC 8446 s.4.6.3): type, length, and whether it asks for ours.
const KEY_UPDATE: [u8; 4] = [24, 0, 0, 1];
const KEY_UPDATE_BYTES: usize = KEY_UPDATE.len() + 1;
const UPDATE_NOT_REQUESTED: u8 = 0;
const UPDATE_REQUESTED: u8 = 1;

/// Levels of alerts (RFC 8446 s.6).
const WARNING: u8 = 1;
const FATAL: u8 = 2;

const HEADER_BYTES: usize = 5;
const TAG_BYTES: usize = 16;

/// The part of the nonce that a GCM record of TLS 1.2 carries (RFC 5288 s.3).
const EXPLICIT_NONCE_BYTES: usize = 8;

/// Plaintext of a record (RFC 8446 s.5.1, RFC 5246 s.6.2.1).
pub(super) const MAX_PLAIN_BYTES: usize = 1 << 14;

/// What sealing may add to it (RFC 8446 s.5.2; RFC 5246 s.6.2.3).
const MAX_EXPANSION_TLS13: usize = 256;
const MAX_EXPANSION_TLS12: usize = 2048;

/// The longest record, with its header.
pub(super) const MAX_RECORD_BYTES: usize = HEADER_BYTES + MAX_PLAIN_BYTES + MAX_EXPANSION_TLS12;

/// More than our records add to their plaintext: header, explicit nonce, content type, tag.
const OVERHEAD_BYTES: usize = 32;

/// Records in a row that bring no data: empty ones, warnings, KeyUpdates. Each costs the
/// peer next to nothing; OpenSSL and rustls allow 32, too.
const MAX_EMPTY_RECORDS: u32 = 32;

/// Why a record layer stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    /// Damaged, forged, or out of its order.
    #[error("a record that the client did not seal")]
    Forged,
    /// A record, or its plaintext, is longer than TLS allows.
    #[error("a record that is too long")]
    TooLong,
    /// What may not come, or not now.
    #[error("a record that may not come here")]
    Unexpected,
    /// What cannot be read.
    #[error("a malformed record")]
    Malformed,
    /// A value that does not exist.
    #[error("a record with an unknown value")]
    IllegalValue,
    /// The peer gave up.
    #[error("the client's alert {0:?}")]
    Alerted(AlertDescription),
    /// The keys sealed as much as they may, and cannot be renewed.
    #[error("the keys are used up")]
    KeysUsedUp,
    /// Not the peer's doing.
    #[error("the record layer failed")]
    Unable,
}

impl Fault {
    /// What the peer is told (RFC 8446 s.6.2).
    pub(super) fn alert(self) -> Option<AlertDescription> {
        match self {
            Self::Forged => Some(AlertDescription::BadRecordMac),
            Self::TooLong => Some(AlertDescription::RecordOverflow),
            Self::Unexpected => Some(AlertDescription::UnexpectedMessage),
            Self::Malformed => Some(AlertDescription::DecodeError),
            Self::IllegalValue => Some(AlertDescription::IllegalParameter),
            Self::KeysUsedUp | Self::Unable => Some(AlertDescription::InternalError),
            // Whoever gave up listens no more.
            Self::Alerted(_) => None,
        }
    }
}

/// What the front of the received bytes is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Less than a record.
    NeedsMore,
    /// A record whose plaintext has no room.
    NeedsRoom,
    /// A record that is done with.
    Took {
        /// Its bytes, to be taken off the front.
        record_bytes: usize,
        /// Application data, at the front of the room.
        plain_bytes: usize,
    },
    /// close_notify: nothing behind it counts (RFC 8446 s.6.1).
    Closed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    Tls12,
    Tls13,
}

impl Version {
    fn max_sealed_bytes(self) -> usize {
        MAX_PLAIN_BYTES
            + match self {
                Self::Tls12 => MAX_EXPANSION_TLS12,
                Self::Tls13 => MAX_EXPANSION_TLS13,
            }
    }
}

/// Both directions of one connection.
pub(super) struct Records {
    version: Version,
    opening: Direction,
    sealing: Direction,
    /// Derives the next keys of TLS 1.3.
    kernel: Box<KernelConnection<ServerConnectionData>>,
    /// Records that one key may seal (RFC 8446 s.5.5).
    seal_limit: u64,
    /// The beginning of a KeyUpdate whose rest is in the next record.
    key_update: Vec<u8>,
    empty_in_a_row: u32,
    /// The peer asked for new keys of ours: they come before our next data.
    must_renew: bool,
}

impl Records {
    /// Goes on where the handshake ended. `None` for keys that no suite of ours has.
    pub(super) fn new(
        secrets: ExtractedSecrets,
        kernel: KernelConnection<ServerConnectionData>,
    ) -> Option<Self> {
        let version = match kernel.protocol_version() {
            ProtocolVersion::TLSv1_2 => Version::Tls12,
            ProtocolVersion::TLSv1_3 => Version::Tls13,
            _ => return None,
        };
        let suite = match kernel.negotiated_cipher_suite() {
            SupportedCipherSuite::Tls12(suite) => &suite.common,
            SupportedCipherSuite::Tls13(suite) => &suite.common,
        };
        Some(Self {
            version,
            opening: Direction::new(version, secrets.rx)?,
            sealing: Direction::new(version, secrets.tx)?,
            seal_limit: suite.confidentiality_limit,
            kernel: Box::new(kernel),
            key_update: Vec::new(),
            empty_in_a_row: 0,
            must_renew: false,
        })
    }

    /// Opens the record at the front of `bytes`; its plaintext goes to the front of `room`,
    /// which may be overwritten behind it, too.
    pub(super) fn open(&mut self, bytes: &[u8], room: &mut [u8]) -> Result<Step, Fault> {
        let Some((header, rest)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
            return Ok(Step::NeedsMore);
        };
        let [outer, _, _, high, low] = *header;
        let is_known = match self.version {
            // RFC 8446 s.5.2: whatever is inside. The ChangeCipherSpec of its appendix D.4
            // comes before the client's Finished, never behind.
            Version::Tls13 => outer == APPLICATION_DATA,
            Version::Tls12 => matches!(outer, ALERT | HANDSHAKE | APPLICATION_DATA),
        };
        if !is_known {
            return Err(Fault::Unexpected);
        }
        let length = usize::from(u16::from_be_bytes([high, low]));
        if length > self.version.max_sealed_bytes() {
            return Err(Fault::TooLong);
        }
        let Some(sealed) = rest.get(..length) else {
            return Ok(Step::NeedsMore);
        };
        let Some(plain_bytes) = self.opening.plain_bytes(length) else {
            return Err(Fault::Forged);
        };
        let Some(room) = room.get_mut(..plain_bytes) else {
            return Ok(Step::NeedsRoom);
        };
        self.opening.open(*header, sealed, room)?;
        let (inner, content) = match self.version {
            Version::Tls12 => (outer, &*room),
            Version::Tls13 => without_padding(room)?,
        };
        if content.len() > MAX_PLAIN_BYTES {
            return Err(Fault::TooLong);
        }
        let record_bytes = HEADER_BYTES + length;
        self.take(inner, content).map(|taken| match taken {
            Taken::Closed => Step::Closed,
            Taken::Data(plain_bytes) => Step::Took {
                record_bytes,
                plain_bytes,
            },
        })
    }

    /// What an authenticated record says.
    fn take(&mut self, inner: u8, content: &[u8]) -> Result<Taken, Fault> {
        // RFC 8446 s.5.1: nothing comes between the pieces of a handshake message.
        if inner != HANDSHAKE && !self.key_update.is_empty() {
            return Err(Fault::Unexpected);
        }
        match inner {
            APPLICATION_DATA if !content.is_empty() => {
                self.empty_in_a_row = 0;
                return Ok(Taken::Data(content.len()));
            }
            APPLICATION_DATA => {}
            ALERT => {
                if self.take_alert(content)? {
                    return Ok(Taken::Closed);
                }
            }
            HANDSHAKE if self.version == Version::Tls13 => self.take_key_update(content)?,
            // TLS 1.2 has only renegotiation to offer, which nobody gets.
            _ => return Err(Fault::Unexpected),
        }
        self.empty_in_a_row = self.empty_in_a_row.saturating_add(1);
        if self.empty_in_a_row > MAX_EMPTY_RECORDS {
            return Err(Fault::Unexpected);
        }
        Ok(Taken::Data(0))
    }

    /// Whether it is close_notify; other warnings of TLS 1.2 mean nothing.
    fn take_alert(&self, content: &[u8]) -> Result<bool, Fault> {
        let &[level, description] = content else {
            return Err(Fault::Malformed);
        };
        let description = AlertDescription::from(description);
        match (level, description) {
            (WARNING | FATAL, AlertDescription::CloseNotify) => Ok(true),
            // RFC 8446 s.6: in TLS 1.3 all others are the end, whatever their level, but
            // for user_canceled, which Java sends before close_notify.
            (WARNING, AlertDescription::UserCanceled) => Ok(false),
            (WARNING, _) if self.version == Version::Tls12 => Ok(false),
            (WARNING | FATAL, description) => Err(Fault::Alerted(description)),
            _ => Err(Fault::IllegalValue),
        }
    }

    /// RFC 8446 s.4.6.3.
    fn take_key_update(&mut self, content: &[u8]) -> Result<(), Fault> {
        // RFC 8446 s.5.1: no empty pieces. And keys change at a record's end.
        if content.is_empty() || self.key_update.len() + content.len() > KEY_UPDATE_BYTES {
            return Err(Fault::Unexpected);
        }
        self.key_update.extend_from_slice(content);
        let known = self.key_update.iter().zip(KEY_UPDATE);
        if let Some(at) = known.clone().position(|(is, should)| *is != should) {
            return Err(match at {
                0 => Fault::Unexpected,
                _ => Fault::Malformed,
            });
        }
        let Some(requested) = self.key_update.get(KEY_UPDATE.len()) else {
            return Ok(());
        };
        match *requested {
            UPDATE_NOT_REQUESTED => {}
            UPDATE_REQUESTED => self.must_renew = true,
            _ => return Err(Fault::IllegalValue),
        }
        self.key_update.clear();
        let next = self.kernel.update_rx_secret();
        let next = next.map_err(|_| Fault::Unable)?;
        self.opening = Direction::new(self.version, next).ok_or(Fault::Unable)?;
        Ok(())
    }

    /// Room that [`Records::seal`] needs for so much plaintext.
    pub(super) fn room_bytes(plain_bytes: usize) -> usize {
        // As much for a KeyUpdate before each record: never more than that.
        let records = plain_bytes.div_ceil(MAX_PLAIN_BYTES);
        plain_bytes + records * 2 * OVERHEAD_BYTES
    }

    /// Seals application data into `room`, of [`Records::room_bytes`]: how many bytes it
    /// takes there.
    pub(super) fn seal(&mut self, plain: &[u8], room: &mut [u8]) -> Result<usize, Fault> {
        let mut written = 0;
        for piece in plain.chunks(MAX_PLAIN_BYTES) {
            let mut rest = room.get_mut(written..).unwrap_or_default();
            if self.must_renew || self.sealing.sequence >= self.seal_limit.saturating_sub(1) {
                let renewed = self.renew(rest)?;
                rest = rest.get_mut(renewed..).unwrap_or_default();
                written += renewed;
            }
            written += self.sealing.seal(APPLICATION_DATA, piece, rest)?;
        }
        Ok(written)
    }

    /// RFC 8446 s.4.6.3: KeyUpdate is the last record of the old key. TLS 1.2 has none; its
    /// last record is kept for an alert.
    fn renew(&mut self, room: &mut [u8]) -> Result<usize, Fault> {
        if self.version == Version::Tls12 {
            return Err(Fault::KeysUsedUp);
        }
        let message = [&KEY_UPDATE[..], &[UPDATE_NOT_REQUESTED]].concat();
        let written = self.sealing.seal(HANDSHAKE, &message, room)?;
        let next = self.kernel.update_tx_secret();
        let next = next.map_err(|_| Fault::Unable)?;
        self.sealing = Direction::new(self.version, next).ok_or(Fault::Unable)?;
        self.must_renew = false;
        Ok(written)
    }

    /// Seals an alert, as [`Records::seal`] one byte of data.
    pub(super) fn seal_alert(
        &mut self,
        description: AlertDescription,
        room: &mut [u8],
    ) -> Result<usize, Fault> {
        let level = match description {
            AlertDescription::CloseNotify => WARNING,
            _ => FATAL,
        };
        self.sealing.seal(ALERT, &[level, description.into()], room)
    }
}

/// Where the record ends that begins at `from`, if it came whole.
pub(super) fn record_end(bytes: &[u8], from: usize) -> Option<usize> {
    let (header, rest) = bytes.get(from..)?.split_first_chunk::<HEADER_BYTES>()?;
    let [_, _, _, high, low] = *header;
    let length = usize::from(u16::from_be_bytes([high, low]));
    rest.get(..length)?;
    Some(from + HEADER_BYTES + length)
}

enum Taken {
    Data(usize),
    Closed,
}

/// The content of a TLS 1.3 record and its type: the last byte that is not zero (RFC 8446
/// s.5.4).
fn without_padding(inner: &[u8]) -> Result<(u8, &[u8]), Fault> {
    // RFC 8446 s.5.4: padding does not make a record longer than it may be.
    if inner.len() > MAX_PLAIN_BYTES + 1 {
        return Err(Fault::TooLong);
    }
    let mut content = inner;
    while let Some((last, rest)) = content.split_last() {
        if *last != 0 {
            return Ok((*last, rest));
        }
        content = rest;
    }
    Err(Fault::Unexpected)
}

/// The keys of one direction, and how many records they sealed.
struct Direction {
    version: Version,
    key: LessSafeKey,
    iv: Zeroizing<[u8; NONCE_LEN]>,
    carries_nonce: bool,
    sequence: u64,
}

impl Direction {
    fn new(version: Version, (sequence, secrets): (u64, ConnectionTrafficSecrets)) -> Option<Self> {
        // rustls wipes its copy of the key when it is dropped, aws-lc its own.
        let (algorithm, key, iv) = match &secrets {
            ConnectionTrafficSecrets::Aes128Gcm { key, iv } => (&AES_128_GCM, key, iv),
            ConnectionTrafficSecrets::Aes256Gcm { key, iv } => (&AES_256_GCM, key, iv),
            ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => (&CHACHA20_POLY1305, key, iv),
            _ => return None,
        };
        Some(Self {
            version,
            key: LessSafeKey::new(UnboundKey::new(algorithm, key.as_ref()).ok()?),
            iv: Zeroizing::new(iv.as_ref().try_into().ok()?),
            carries_nonce: version == Version::Tls12 && algorithm != &CHACHA20_POLY1305,
            sequence,
        })
    }

    fn explicit_bytes(&self) -> usize {
        match self.carries_nonce {
            true => EXPLICIT_NONCE_BYTES,
            false => 0,
        }
    }

    /// Plaintext in a sealed record of that length, if it has one.
    fn plain_bytes(&self, sealed_bytes: usize) -> Option<usize> {
        sealed_bytes.checked_sub(self.explicit_bytes() + TAG_BYTES)
    }

    /// RFC 8446 s.5.3 and RFC 7905 s.2: the IV and the number of the record. It serves for
    /// GCM in TLS 1.2 as well: unique is all that RFC 5288 s.3 asks for.
    fn nonce(&self) -> [u8; NONCE_LEN] {
        let mut nonce = *self.iv;
        let number = self.sequence.to_be_bytes();
        for (byte, of_number) in nonce.iter_mut().rev().zip(number.iter().rev()) {
            *byte ^= of_number;
        }
        nonce
    }

    /// What the tag covers besides the text: the header (RFC 8446 s.5.2); in TLS 1.2 the
    /// record's number and the header with the length of the plaintext (RFC 5246 s.6.2.3.3).
    fn covered(&self, header: [u8; HEADER_BYTES], plain_bytes: usize) -> Result<Covered, Fault> {
        let [kind, major, minor, _, _] = header;
        match self.version {
            Version::Tls13 => Ok(Covered::Tls13(header)),
            Version::Tls12 => {
                let [a, b, c, d, e, f, g, h] = self.sequence.to_be_bytes();
                let [high, low] = length(plain_bytes)?;
                let covered = [a, b, c, d, e, f, g, h, kind, major, minor, high, low];
                Ok(Covered::Tls12(covered))
            }
        }
    }

    /// RFC 8446 s.5.3: a number never comes twice.
    fn advance(&mut self) -> Result<(), Fault> {
        self.sequence = self.sequence.checked_add(1).ok_or(Fault::KeysUsedUp)?;
        Ok(())
    }

    /// Opens `sealed` into `room`, of exactly its [`Direction::plain_bytes`].
    fn open(
        &mut self,
        header: [u8; HEADER_BYTES],
        sealed: &[u8],
        room: &mut [u8],
    ) -> Result<(), Fault> {
        let covered = self.covered(header, room.len())?;
        let mut nonce = self.nonce();
        let explicit = sealed.get(..self.explicit_bytes()).unwrap_or_default();
        for (byte, carried) in nonce.iter_mut().rev().zip(explicit.iter().rev()) {
            *byte = *carried;
        }
        let text = sealed.get(explicit.len()..).unwrap_or_default();
        let Some((text, tag)) = text.split_last_chunk::<TAG_BYTES>() else {
            return Err(Fault::Forged);
        };
        let nonce = Nonce::assume_unique_for_key(nonce);
        self.key
            .open_separate_gather(nonce, Aad::from(covered), text, tag, room)
            .map_err(|_| Fault::Forged)?;
        self.advance()
    }

    /// Seals one record into the front of `room`: how many bytes it takes there.
    fn seal(&mut self, kind: u8, plain: &[u8], room: &mut [u8]) -> Result<usize, Fault> {
        let (outer, inner) = match self.version {
            Version::Tls12 => (kind, &[][..]),
            Version::Tls13 => (APPLICATION_DATA, &[kind][..]),
        };
        let explicit_bytes = self.explicit_bytes();
        let sealed_bytes = explicit_bytes + plain.len() + inner.len() + TAG_BYTES;
        let [high, low] = length(sealed_bytes)?;
        let header = [outer, 3, 3, high, low];
        let covered = self.covered(header, plain.len())?;
        let nonce = self.nonce();
        let parts = room
            .split_first_chunk_mut::<HEADER_BYTES>()
            .and_then(|(to, room)| {
                *to = header;
                let (explicit, room) = room.split_at_mut_checked(explicit_bytes)?;
                let (text, room) = room.split_at_mut_checked(plain.len())?;
                let tag = room.get_mut(..inner.len() + TAG_BYTES)?;
                Some((explicit, text, tag))
            });
        let (explicit, text, tag) = parts.ok_or(Fault::Unable)?;
        for (byte, of_nonce) in explicit.iter_mut().rev().zip(nonce.iter().rev()) {
            *byte = *of_nonce;
        }
        let nonce = Nonce::assume_unique_for_key(nonce);
        // Its number is used up before anything else can use it.
        self.advance()?;
        self.key
            .seal_out_of_place_scatter(nonce, Aad::from(covered), plain, text, inner, tag)
            .map_err(|_| Fault::Unable)?;
        Ok(HEADER_BYTES + sealed_bytes)
    }
}

fn length(bytes: usize) -> Result<[u8; 2], Fault> {
    let bytes = u16::try_from(bytes).map_err(|_| Fault::Unable)?;
    Ok(bytes.to_be_bytes())
}

enum Covered {
    Tls12([u8; 13]),
    Tls13([u8; HEADER_BYTES]),
}

impl AsRef<[u8]> for Covered {
    fn as_ref(&self) -> &[u8] {
        match self {
            Self::Tls12(covered) => covered,
            Self::Tls13(covered) => covered,
        }
    }
}

#[cfg(test)]
mod tests;
