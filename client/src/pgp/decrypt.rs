//! Decrypting a partner's file.
//!
//! A message is opened layer by layer: armor, encryption, at most
//! [`MAX_COMPRESSIONS`] compressions, signatures, the file. Each layer is read
//! through a [`Meter`], because the library collects some packets in memory
//! before it says what it found.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use jiff::Timestamp;
use pgp::armor::{BlockType, Dearmor, DearmorOptions};
use pgp::composed::{DecryptionOptions, Edata, Esk, Message, PlainSessionKey};
use pgp::types::{DecryptionKey, EskType, Password, PkeskVersion, Seipdv1ReadMode};

use super::layers::{Opened, Proof, Unpacked};
use super::meter::{Allowance, Meter};
use super::own_key::OwnKeys;
use super::partner_key::{PartnerKey, PartnerKeyError};
use super::signature::{self, MAX_SIGNATURES};

/// All that a partner hears of a file that cannot be decrypted, whatever the
/// cause: differing answers would let a stranger try out altered files.
pub const UNDECRYPTABLE: &str = "the file is not a valid PGP file encrypted to our key";

/// Most compressions inside of each other. GnuPG writes one.
const MAX_COMPRESSIONS: usize = 2;
/// Most recipients of a file: each costs an attempt with each key of ours when
/// it is not named.
const MAX_RECIPIENTS: usize = 128;
/// What a layer may hold before the next one or the file begins, in bytes: the
/// session keys of [`MAX_RECIPIENTS`] RSA 4096 keys are 68 KiB.
const MAX_HEAD_BYTES: u64 = 128 * 1024;
/// What a layer may hold between two pieces of the file, and behind it, in
/// bytes: BZIP2 works in blocks of up to 900 kB.
const MAX_GAP_BYTES: u64 = 2 * 1024 * 1024;
/// Longest armor header, in bytes.
const MAX_ARMOR_HEADER_BYTES: usize = 16 * 1024;
/// How much is moved at a time, in bytes.
const PIECE_BYTES: usize = 64 * 1024;

/// Against files that are small encrypted and endless decrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Longest plaintext, in bytes.
    pub plain_bytes: u64,
    /// Most bytes of plaintext for each encrypted byte, once there is more
    /// than [`Limits::RATIO_FREE_BYTES`] of it.
    pub ratio: u64,
}

impl Limits {
    /// Plaintext up to here may have any ratio, in bytes: a small log of equal
    /// lines compresses a thousandfold and does no harm.
    pub const RATIO_FREE_BYTES: u64 = 64 * 1024 * 1024;
}

impl Default for Limits {
    /// 1 TiB, and 250 times the encrypted length: reports of equal lines reach
    /// 100.
    fn default() -> Self {
        Self {
            plain_bytes: 1 << 40,
            ratio: 250,
        }
    }
}

/// Who must have signed a file.
#[derive(Debug, Clone, Default)]
pub enum SenderRule {
    /// Nobody: signatures are not looked at.
    #[default]
    Anyone,
    /// This partner.
    SignedBy(Arc<PartnerKey>),
}

/// How a file is decrypted.
#[derive(Debug, Clone)]
pub struct DecryptOptions {
    /// All of these are tried.
    pub keys: Arc<OwnKeys>,
    /// Who must have signed.
    pub sender: SenderRule,
    /// How much may come out.
    pub limits: Limits,
    /// Now: a signature must be valid then.
    pub now: Timestamp,
}

/// A file that was decrypted, unaltered and complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decrypted {
    /// Bytes written.
    pub plain_bytes: u64,
    /// Bytes read.
    pub encrypted_bytes: u64,
    /// Fingerprint of our key that opened it.
    pub opened_by: String,
    /// Signatures that it bears; checked only by [`SenderRule::SignedBy`].
    pub signatures: usize,
}

/// Why a file of a partner was refused: for the operator and the journal, never
/// for the partner.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Empty, or neither armor nor packets.
    #[error("it is no OpenPGP message: {detail}")]
    NotOpenPgp {
        /// What was found.
        detail: String,
    },
    /// A message that is signed, compressed or plain only.
    #[error("it is an OpenPGP message that is not encrypted")]
    NotEncrypted,
    /// Encrypted with a password alone.
    #[error("it is encrypted with a password, not to our key")]
    PasswordOnly,
    /// For somebody else.
    #[error("it is encrypted to other keys than ours: {}", recipients.join(", "))]
    NotForUs {
        /// Key ids of the recipients.
        recipients: Vec<String>,
    },
    /// The session key is no session key.
    #[error("it names our key, but its session key cannot be decrypted")]
    SessionKey,
    /// The old packet without an integrity check.
    #[error(
        "it has no integrity protection (MDC): the partner's program is too old or told not to"
    )]
    NoIntegrityProtection,
    /// Altered, cut or extended on its way.
    #[error("it was altered or cut on its way: {detail}")]
    Altered {
        /// What the OpenPGP library says.
        detail: String,
    },
    /// More than [`MAX_RECIPIENTS`].
    #[error("it has more than {MAX_RECIPIENTS} recipients")]
    TooManyRecipients,
    /// More than [`MAX_SIGNATURES`].
    #[error("it has more than {MAX_SIGNATURES} signatures")]
    TooManySignatures,
    /// More than [`MAX_COMPRESSIONS`], or encryption within encryption.
    #[error("its layers are nested in a way that is not supported")]
    Nesting,
    /// Packets without end before, between or behind the file.
    #[error("it holds more packets than a message needs")]
    TooManyPackets,
    /// More than [`Limits::plain_bytes`].
    #[error("its content is longer than {limit} bytes")]
    TooLong {
        /// The limit.
        limit: u64,
    },
    /// More than [`Limits::ratio`].
    #[error("its content is more than {limit} times as long as the file")]
    RatioTooHigh {
        /// The limit.
        limit: u64,
    },
    /// A signature is demanded.
    #[error("it is not signed")]
    NotSigned,
    /// Of somebody else, or not valid.
    #[error("none of its signatures is a valid one of the partner's key")]
    WrongSignature,
    /// The partner's key cannot check signatures.
    #[error("its signature cannot be checked: {0}")]
    SenderKey(#[source] PartnerKeyError),
    /// The OpenPGP library lost its footing.
    #[error("the OpenPGP library could not cope with it")]
    Library,
}

/// Why nothing was decrypted. Whatever was written is to be thrown away.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecryptError {
    /// The file's fault. The text is the same for every cause.
    #[error("{UNDECRYPTABLE}")]
    Undecryptable {
        /// For our log and the operator only.
        cause: Refusal,
    },
    /// The encrypted file could not be read.
    #[error("reading the encrypted file failed")]
    Source(#[source] io::Error),
    /// The plaintext could not be written.
    #[error("writing the decrypted file failed")]
    Sink(#[source] io::Error),
    /// The other side of a [`super::Decrypting`] is gone.
    #[error("decrypting was cancelled")]
    Cancelled,
}

impl From<Refusal> for DecryptError {
    fn from(cause: Refusal) -> Self {
        Self::Undecryptable { cause }
    }
}

/// Decrypts what `source` gives and writes the file to `sink`, which is flushed.
/// What was written is the partner's file only when this returns `Ok`. Blocks.
pub fn decrypt<R: Read + Send, W: Write>(
    source: R,
    sink: W,
    options: &DecryptOptions,
) -> Result<Decrypted, DecryptError> {
    let file = Allowance::new(MAX_HEAD_BYTES);
    // The library panics in states that it thinks impossible; a file that gets
    // it there is refused like any other.
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        open_and_copy(source, sink, options, &file)
    }))
    .unwrap_or(Err(Refusal::Library.into()));
    match (outcome, file.take_error()) {
        (Err(DecryptError::Undecryptable { .. }), Some(error)) => Err(DecryptError::Source(error)),
        (outcome, _) => outcome,
    }
}

fn open_and_copy<R: Read + Send, W: Write>(
    source: R,
    mut sink: W,
    options: &DecryptOptions,
    file: &Arc<Allowance>,
) -> Result<Decrypted, DecryptError> {
    let source = BufReader::with_capacity(PIECE_BYTES, source);
    let message = outermost(Meter::new(source, Arc::clone(file)))
        .map_err(|refusal| or_too_many(refusal, &[Arc::clone(file)]))?;
    let Message::Encrypted { esk, edata, .. } = message else {
        return Err(Refusal::NotEncrypted.into());
    };
    let (edata, opened_by) = unlock(&esk, edata, &options.keys)?;
    drop(esk);

    let proof = Proof::default();
    let mut layers = vec![Arc::clone(file)];
    file.renew(MAX_GAP_BYTES);
    let mut message = inner(Opened::new(edata, proof.clone()), &mut layers)?;
    let mut compressions = 0;
    while let Message::Compressed { reader, .. } = message {
        compressions += 1;
        if compressions > MAX_COMPRESSIONS {
            return Err(Refusal::Nesting.into());
        }
        for layer in &layers {
            layer.renew(MAX_GAP_BYTES);
        }
        let reader = reader.decompress().map_err(altered)?;
        message = inner(Unpacked::new(reader), &mut layers)?;
    }
    let signatures = signature::count(&message);
    if signatures > MAX_SIGNATURES {
        return Err(Refusal::TooManySignatures.into());
    }
    let is_file = match &message {
        Message::Literal { .. } => true,
        Message::Signed { reader, .. } => reader.get_ref().is_literal(),
        Message::Compressed { .. } | Message::Encrypted { .. } => false,
    };
    if !is_file {
        return Err(Refusal::Nesting.into());
    }

    let plain_bytes = copy(&mut message, &mut sink, options.limits, &layers)?;
    if !proof.holds() {
        return Err(Refusal::Altered {
            detail: "its end was not reached".to_owned(),
        }
        .into());
    }
    if let SenderRule::SignedBy(partner) = &options.sender {
        signature::require(&message, partner, options.now)?;
    }
    sink.flush().map_err(DecryptError::Sink)?;
    Ok(Decrypted {
        plain_bytes,
        encrypted_bytes: file.read(),
        opened_by,
        signatures,
    })
}

/// Takes off the armor, if there is one, and reads up to the encrypted data.
fn outermost<'a, R: BufRead + Send + std::fmt::Debug + 'a>(
    mut file: R,
) -> Result<Message<'a>, Refusal> {
    // What the library says of it ("not enough bytes in buffer") helps nobody.
    let not_openpgp = |_: pgp::errors::Error| Refusal::NotOpenPgp {
        detail: "its beginning is that of another kind of file, or cut or damaged".to_owned(),
    };
    let first = file.fill_buf().map_err(altered)?.first().copied();
    match first {
        None => Err(Refusal::NotOpenPgp {
            detail: "it is empty".to_owned(),
        }),
        // RFC 4880 s.4.2: a packet begins with the high bit set, text does
        // not; 0xEF begins the mark of UTF-8, and as a packet it has no meaning.
        Some(first) if first & 0x80 != 0 && first != 0xef => {
            Message::from_bytes(file).map_err(not_openpgp)
        }
        Some(_) => {
            let options = DearmorOptions::new().set_limit(MAX_ARMOR_HEADER_BYTES);
            let mut armor = Dearmor::with_options(file, options);
            armor.read_header().map_err(not_openpgp)?;
            match armor.typ {
                Some(BlockType::Message) => {
                    Message::from_bytes(BufReader::new(armor)).map_err(not_openpgp)
                }
                Some(BlockType::CleartextMessage) => Err(Refusal::NotEncrypted),
                found => Err(Refusal::NotOpenPgp {
                    detail: found.map_or_else(
                        || "armor of no known kind".to_owned(),
                        |kind| format!("armor of the kind `{kind}`"),
                    ),
                }),
            }
        }
    }
}

/// The message inside of a layer, which gets a meter of its own.
fn inner<'a, R: BufRead + Send + std::fmt::Debug + 'a>(
    layer: R,
    layers: &mut Vec<Arc<Allowance>>,
) -> Result<Message<'a>, Refusal> {
    let allowance = Allowance::new(MAX_HEAD_BYTES);
    layers.push(Arc::clone(&allowance));
    Message::from_bytes(Meter::new(layer, allowance))
        .map_err(|error| or_too_many(altered(error), layers))
}

/// Finds our key among the recipients and gives the encrypted data its session
/// key.
fn unlock<'a>(
    recipients: &[Esk],
    mut edata: Edata<'a>,
    keys: &OwnKeys,
) -> Result<(Edata<'a>, String), Refusal> {
    if matches!(edata, Edata::SymEncryptedData { .. }) {
        return Err(Refusal::NoIntegrityProtection);
    }
    if recipients.len() > MAX_RECIPIENTS {
        return Err(Refusal::TooManyRecipients);
    }
    let (session_key, opened_by) = session_key(recipients, keys)?;
    let options = DecryptionOptions::new()
        .enable_gnupg_aead()
        // The default holds the whole file in memory, up to 1 GiB.
        .set_seipdv1_read_mode(Seipdv1ReadMode::Streaming);
    edata
        .decrypt_with_options(&session_key, options)
        .map_err(altered)?;
    Ok((edata, opened_by))
}

fn session_key(recipients: &[Esk], keys: &OwnKeys) -> Result<(PlainSessionKey, String), Refusal> {
    let unlocked = Password::empty();
    let mut named = Vec::new();
    let mut ours = false;
    for recipient in recipients {
        let Esk::PublicKeyEncryptedSessionKey(recipient) = recipient else {
            continue;
        };
        let (kind, anonymous) = match recipient.version() {
            PkeskVersion::V3 => (
                EskType::V3_4,
                recipient.id().is_ok_and(pgp::types::KeyId::is_wildcard),
            ),
            PkeskVersion::V6 => (
                EskType::V6,
                recipient.fingerprint().is_ok_and(|it| it.is_none()),
            ),
            PkeskVersion::Other(_) => continue,
        };
        let Ok(encrypted) = recipient.values() else {
            continue;
        };
        for key in keys.iter() {
            for subkey in &key.secret().secret_subkeys {
                if !recipient.match_identity(subkey.key.public_key()) {
                    continue;
                }
                ours |= !anonymous;
                if let Ok(Ok(session_key)) = subkey.key.decrypt(&unlocked, encrypted, kind) {
                    return Ok((session_key, key.fingerprint()));
                }
            }
        }
        named.push(match recipient.id() {
            Ok(id) => id.to_string().to_uppercase(),
            Err(_) => recipient
                .fingerprint()
                .ok()
                .flatten()
                .map_or_else(|| "?".to_owned(), |fingerprint| format!("{fingerprint:X}")),
        });
    }
    if ours {
        Err(Refusal::SessionKey)
    } else if named.is_empty() && !recipients.is_empty() {
        Err(Refusal::PasswordOnly)
    } else {
        Err(Refusal::NotForUs { recipients: named })
    }
}

fn copy<W: Write>(
    message: &mut Message<'_>,
    sink: &mut W,
    limits: Limits,
    layers: &[Arc<Allowance>],
) -> Result<u64, DecryptError> {
    let mut piece = vec![0; PIECE_BYTES];
    let mut total: u64 = 0;
    loop {
        for layer in layers {
            layer.renew(MAX_GAP_BYTES);
        }
        let length = match message.read(&mut piece) {
            Ok(0) => return Ok(total),
            Ok(length) => length,
            Err(error) => return Err(or_too_many(altered(error), layers).into()),
        };
        total = total.saturating_add(u64::try_from(length).unwrap_or(u64::MAX));
        if total > limits.plain_bytes {
            return Err(Refusal::TooLong {
                limit: limits.plain_bytes,
            }
            .into());
        }
        let encrypted = layers.first().map_or(0, |file| file.read());
        if total > Limits::RATIO_FREE_BYTES && total / limits.ratio.max(1) > encrypted {
            return Err(Refusal::RatioTooHigh {
                limit: limits.ratio,
            }
            .into());
        }
        sink.write_all(piece.get(..length).unwrap_or_default())
            .map_err(DecryptError::Sink)?;
    }
}

fn altered(error: impl std::fmt::Display) -> Refusal {
    Refusal::Altered {
        detail: error.to_string(),
    }
}

/// A limit that was reached is the better explanation.
fn or_too_many(refusal: Refusal, layers: &[Arc<Allowance>]) -> Refusal {
    if layers.iter().any(|layer| layer.used_up()) {
        Refusal::TooManyPackets
    } else {
        refusal
    }
}
