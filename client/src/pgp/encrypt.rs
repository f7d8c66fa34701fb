//! Encrypting a file to a partner.

use std::cell::RefCell;
use std::io::{self, BufWriter, Read, Write};
use std::rc::Rc;
use std::sync::Arc;

use jiff::Timestamp;
use pgp::composed::{ArmorOptions, EncryptionSeipdV1, MessageBuilder, SubpacketConfig};
use pgp::crypto::hash::HashAlgorithm;
use pgp::crypto::sym::SymmetricKeyAlgorithm;
use pgp::packet::{Subpacket, SubpacketData};
use pgp::types::{CompressionAlgorithm, KeyDetails, Password, Timestamp as PgpTime};
use rand_core::OsRng;

use super::own_key::OwnKeys;
use super::partner_key::{PartnerKey, PartnerKeyError, RecipientKey};
use super::pgp_seconds;

/// How much is gathered before it is written, in bytes.
const WRITE_BUFFER_BYTES: usize = 128 * 1024;

/// How the encrypted file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Form {
    /// As bytes.
    #[default]
    Binary,
    /// As text with a third more bytes, for partners who want `.asc`.
    Armored,
}

/// Whether the file is compressed before it is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    /// Not: most files of partners are compressed already, and it costs time.
    #[default]
    None,
    /// ZLIB, which every OpenPGP program reads.
    Zlib,
}

/// How a file is encrypted.
#[derive(Debug, Clone)]
pub struct EncryptOptions {
    /// For whom. Judged again at `now`.
    pub to: Arc<PartnerKey>,
    /// Signs with the newest of these.
    pub sign_with: Option<Arc<OwnKeys>>,
    /// Bytes or text.
    pub form: Form,
    /// Compressed or not.
    pub compression: Compression,
    /// Now: a signature bears it, and the recipient's key must be valid then.
    pub now: Timestamp,
}

/// A file that was encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Encrypted {
    /// Bytes read.
    pub plain_bytes: u64,
    /// Bytes written.
    pub encrypted_bytes: u64,
}

/// Why a file could not be encrypted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EncryptError {
    /// The partner's key may not be used.
    #[error("the partner's PGP key cannot be used: {0}")]
    Key(#[source] PartnerKeyError),
    /// The file could not be read.
    #[error("reading the file failed")]
    Source(#[source] io::Error),
    /// The encrypted file could not be written.
    #[error("writing the encrypted file failed")]
    Sink(#[source] io::Error),
    /// The OpenPGP library refused.
    #[error("encrypting failed: {detail}")]
    Library {
        /// Its words.
        detail: String,
    },
    /// The other side of an [`super::Encrypting`] is gone.
    #[error("encrypting was cancelled")]
    Cancelled,
}

/// Encrypts what `source` gives and writes it to `sink`, which is flushed.
/// AES-256 with an integrity check (SEIPD version 1, which GnuPG since 1.0.2
/// reads); neither a file name nor a date goes along. Blocks.
pub fn encrypt<R: Read, W: Write>(
    source: R,
    sink: W,
    options: &EncryptOptions,
) -> Result<Encrypted, EncryptError> {
    let recipient = options
        .to
        .recipient(options.now)
        .map_err(EncryptError::Key)?;
    let source = Tally::new(source);
    let sink = Tally::new(sink);
    let (read, written) = (source.seen(), sink.seen());
    let mut sink = BufWriter::with_capacity(WRITE_BUFFER_BYTES, sink);
    let done = write_message(source, &mut sink, &recipient, options);
    // What is left in the buffer of a failed message is of no use.
    let done = match done {
        Ok(()) => sink.flush().map_err(pgp::errors::Error::from),
        Err(error) => {
            drop(sink.into_parts());
            Err(error)
        }
    };
    if let Some(error) = read.borrow_mut().error.take() {
        return Err(EncryptError::Source(error));
    }
    if let Some(error) = written.borrow_mut().error.take() {
        return Err(EncryptError::Sink(error));
    }
    done.map_err(|error| EncryptError::Library {
        detail: error.to_string(),
    })?;
    let plain_bytes = read.borrow().bytes;
    let encrypted_bytes = written.borrow().bytes;
    Ok(Encrypted {
        plain_bytes,
        encrypted_bytes,
    })
}

fn write_message<R: Read, W: Write>(
    source: R,
    sink: W,
    recipient: &RecipientKey<'_>,
    options: &EncryptOptions,
) -> pgp::errors::Result<()> {
    let mut builder: MessageBuilder<'_, R, EncryptionSeipdV1> =
        MessageBuilder::from_reader("", source).seipd_v1(OsRng, SymmetricKeyAlgorithm::AES256);
    match recipient {
        RecipientKey::Primary(key) => builder.encrypt_to_key(OsRng, key)?,
        RecipientKey::Subkey(key) => builder.encrypt_to_key(OsRng, key)?,
    };
    if options.compression == Compression::Zlib {
        builder.compression(CompressionAlgorithm::ZLIB);
    }
    if let Some(keys) = &options.sign_with {
        let key = &keys.newest().secret().primary_key;
        let made = PgpTime::from_secs(pgp_seconds(options.now).unwrap_or_default());
        let subpackets = SubpacketConfig::UserDefined {
            hashed: vec![
                Subpacket::regular(SubpacketData::SignatureCreationTime(made))?,
                Subpacket::regular(SubpacketData::IssuerFingerprint(key.fingerprint()))?,
            ],
            unhashed: vec![Subpacket::regular(SubpacketData::IssuerKeyId(
                key.legacy_key_id(),
            ))?],
        };
        builder.sign_with_subpackets(key, Password::empty(), HashAlgorithm::Sha512, subpackets);
    }
    match options.form {
        Form::Binary => builder.to_writer(OsRng, sink),
        Form::Armored => builder.to_armored_writer(OsRng, ArmorOptions::default(), sink),
    }
}

/// Counts what passes and keeps the error that the library would reword.
struct Tally<T> {
    inner: T,
    seen: Rc<RefCell<Seen>>,
}

#[derive(Default)]
struct Seen {
    bytes: u64,
    error: Option<io::Error>,
}

impl<T> Tally<T> {
    fn new(inner: T) -> Self {
        Self {
            inner,
            seen: Rc::default(),
        }
    }

    fn seen(&self) -> Rc<RefCell<Seen>> {
        Rc::clone(&self.seen)
    }

    fn note(&self, outcome: io::Result<usize>) -> io::Result<usize> {
        match outcome {
            Ok(bytes) => {
                self.seen.borrow_mut().bytes += u64::try_from(bytes).unwrap_or(u64::MAX);
                Ok(bytes)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(error),
            Err(error) => {
                let told = io::Error::new(error.kind(), error.to_string());
                self.seen.borrow_mut().error = Some(error);
                Err(told)
            }
        }
    }
}

impl<T: Read> Read for Tally<T> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            let outcome = self.inner.read(into);
            // The library takes an interrupted read for a failed one.
            if !matches!(&outcome, Err(error) if error.kind() == io::ErrorKind::Interrupted) {
                return self.note(outcome);
            }
        }
    }
}

impl<T: Write> Write for Tally<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let outcome = self.inner.write(bytes);
        self.note(outcome)
    }

    fn flush(&mut self) -> io::Result<()> {
        let outcome = self.inner.flush().map(|()| 0);
        self.note(outcome).map(|_| ())
    }
}
