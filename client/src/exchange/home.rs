//! An account's home as our side of an exchange, over the depot's courier.
//!
//! What lands goes the way of a partner's upload: hidden, within the quota, published
//! together with its entry in the journal. What leaves goes the way of a partner's
//! download, and counts as collected together with its entry. A retry, also by the next
//! process, goes on with what is there.

use std::io;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream;
use layover_depot::{
    Attempt, ContentOrigin, FileId, Incoming, Leaving, MAX_IO_BYTES, Replace, UploadReceipt,
    VfsError, VirtualPath,
};
use serde_json::{Value, json};
use tokio_util::io::StreamReader;

use super::error::LocalError;
use super::fetch::Fetched;
use super::landing::{Kept, Landing, SourceState};
use super::outgoing::{Content, Outgoing};
use super::send::Delivered;
use crate::fault::Permanence;
use crate::path::RemotePath;

/// Where a file lands in a home.
#[derive(Debug, Clone)]
pub struct HomeTarget {
    /// The name that it is to have.
    pub path: VirtualPath,
    /// What becomes of a file that has it.
    pub replace: Replace,
    /// The file on the partner's server.
    pub remote: RemotePath,
    /// What that server shows of it.
    pub source: SourceState,
    /// Whether it comes encrypted: of half a message nothing is proven and nothing gone on
    /// with, so nothing of it stays.
    pub is_encrypted: bool,
}

/// A file that lands in a home. Dropped unpublished, what came stays hidden there.
#[derive(Debug)]
pub struct HomeLanding<'a> {
    attempt: &'a Attempt,
    target: HomeTarget,
    incoming: Option<Incoming>,
    at: u64,
    receipt: Option<UploadReceipt>,
}

impl<'a> HomeLanding<'a> {
    /// Opens a hidden file in the home of `attempt`, or what an earlier one left of the
    /// same content.
    ///
    /// # Errors
    /// What the home's rules say: the quota, the name, a file that has it.
    pub async fn open(attempt: &'a Attempt, target: HomeTarget) -> Result<Self, LocalError> {
        let origin = origin(&target);
        // An encrypted file may hold more, or less.
        if let (Some(bytes), false) = (target.source.size_bytes, target.is_encrypted) {
            attempt.expects(bytes);
        }
        let received = attempt.receive(&target.path, target.replace, origin).await;
        let incoming = received.map_err(|fault| cannot_land(&target.path, fault))?;
        Ok(Self {
            attempt,
            target,
            at: incoming.size(),
            incoming: Some(incoming),
            receipt: None,
        })
    }

    /// What became of it, once it was published.
    #[must_use]
    pub fn receipt(&self) -> Option<&UploadReceipt> {
        self.receipt.as_ref()
    }

    /// Stops before it is published. What can be gone on with stays, hidden.
    ///
    /// # Errors
    /// When not even that could be recorded; recovery does it.
    pub async fn leave(mut self) -> Result<(), LocalError> {
        let Some(incoming) = self.incoming.take() else {
            return Ok(());
        };
        if self.target.is_encrypted {
            // A poisoned one has no more to lose.
            let _ = incoming.restart().await;
        }
        let left = incoming.interrupt().await;
        left.map_err(|fault| refused(&self.target.path, fault))
    }

    /// Stops before it is published, and nothing of it stays.
    ///
    /// # Errors
    /// When not even that could be recorded; recovery does it.
    pub async fn discard(mut self) -> Result<(), LocalError> {
        let Some(incoming) = self.incoming.take() else {
            return Ok(());
        };
        let gone = incoming.discard().await;
        gone.map_err(|fault| refused(&self.target.path, fault))
    }

    fn incoming(&self) -> Result<&Incoming, LocalError> {
        let incoming = self.incoming.as_ref();
        incoming.ok_or_else(|| LocalError::permanent("the file is published already"))
    }
}

/// The same for the same file, and another one as soon as the file is another one.
fn origin(target: &HomeTarget) -> ContentOrigin {
    let source = &target.source;
    let size = source.size_bytes.map_or(-1, u64::cast_signed);
    let modified = source.modified.map(|modified| modified.at.as_second());
    let is_encrypted = [u8::from(target.is_encrypted)];
    ContentOrigin::of(&[
        target.remote.as_bytes(),
        &size.to_be_bytes(),
        &modified.unwrap_or(i64::MIN).to_be_bytes(),
        &is_encrypted,
    ])
}

#[async_trait]
impl Landing for HomeLanding<'_> {
    fn kept(&self) -> Option<Kept> {
        let bytes = self.at;
        (bytes > 0 && !self.target.is_encrypted).then_some(Kept {
            bytes,
            of: self.target.source,
        })
    }

    async fn read_kept(&mut self, at: u64, most_bytes: usize) -> Result<Bytes, LocalError> {
        let read = self.incoming()?.read_at(at, most_bytes).await;
        read.map_err(|fault| refused(&self.target.path, fault))
    }

    async fn begin(&mut self, of: &SourceState, at: u64) -> Result<(), LocalError> {
        if *of != self.target.source {
            return Err(LocalError::transient(
                "the file on the partner's server changed before the download began",
            ));
        }
        if at == 0 && self.at > 0 {
            let restarted = self.incoming()?.restart().await;
            restarted.map_err(|fault| refused(&self.target.path, fault))?;
        }
        self.at = at;
        Ok(())
    }

    async fn write(&mut self, mut bytes: Bytes) -> Result<(), LocalError> {
        while !bytes.is_empty() {
            let piece = bytes.split_to(bytes.len().min(MAX_IO_BYTES));
            let length = piece.len() as u64;
            let written = self.incoming()?.write_at(self.at, piece).await;
            written.map_err(|fault| refused(&self.target.path, fault))?;
            self.at += length;
        }
        Ok(())
    }

    async fn publish(&mut self, fetched: &Fetched) -> Result<(), LocalError> {
        note_fetched(self.attempt, fetched);
        let Some(incoming) = self.incoming.take() else {
            return Err(LocalError::permanent("the file is published already"));
        };
        let published = incoming.publish().await;
        self.receipt = Some(published.map_err(|fault| cannot_land(&self.target.path, fault))?);
        Ok(())
    }
}

/// What the journal is to know of a file that came.
pub fn note_fetched(attempt: &Attempt, fetched: &Fetched) {
    attempt.note("sha256", hex::encode(fetched.sha256));
    attempt.note("verified", fetched.verified.as_str());
    note_wire(
        attempt,
        fetched.wire_bytes,
        fetched.resumed_at,
        fetched.content_bytes,
    );
    if let Some(opened) = &fetched.pgp {
        let signed_by = &opened.signed_by;
        attempt.note(
            "pgp",
            json!({ "opened_by": opened.opened_by, "signed_by": signed_by }),
        );
    }
}

/// What the journal is to know of a file that went.
pub fn note_delivered(attempt: &Attempt, delivered: &Delivered) {
    attempt.note("sha256", hex::encode(delivered.sha256));
    attempt.note("verified", delivered.verified.as_str());
    note_wire(
        attempt,
        delivered.wire_bytes,
        delivered.resumed_at,
        delivered.content_bytes,
    );
    if let Some(sealed) = &delivered.pgp {
        let signed_by = &sealed.signed_by;
        attempt.note(
            "pgp",
            json!({ "encrypted_to": sealed.encrypted_to, "signed_by": signed_by }),
        );
    }
}

fn note_wire(attempt: &Attempt, wire_bytes: u64, resumed_at: u64, content_bytes: u64) {
    if wire_bytes != content_bytes {
        attempt.note("wire_bytes", Value::from(wire_bytes));
    }
    if resumed_at > 0 {
        attempt.note("resumed_at", Value::from(resumed_at));
    }
}

/// A file of a home that goes to a partner's server.
#[derive(Debug)]
pub struct HomeOutgoing {
    leaving: Leaving,
    path: VirtualPath,
    sha256: Option<[u8; 32]>,
}

impl HomeOutgoing {
    /// Opens the file at `path` in the home of `attempt`.
    ///
    /// # Errors
    /// Nothing to be sent has that name.
    pub async fn open(attempt: &Attempt, path: VirtualPath) -> Result<Self, LocalError> {
        let failed = |fault| refused(&path, fault);
        let leaving = attempt.collect(&path).await.map_err(failed)?;
        let known = leaving.file().known_sha256().await.map_err(failed)?;
        Ok(Self {
            sha256: known.and_then(|hash| hash.try_into().ok()),
            leaving,
            path,
        })
    }

    /// The file as the depot gave it.
    #[must_use]
    pub fn leaving(&self) -> &Leaving {
        &self.leaving
    }

    /// Its number: another content of the name has another one.
    #[must_use]
    pub fn file_id(&self) -> FileId {
        self.leaving.file_id()
    }

    /// The partner's server has it: it counts as collected, and the journal tells of it.
    ///
    /// # Errors
    /// When that could not be recorded.
    pub async fn delivered(self) -> Result<(), LocalError> {
        let recorded = self.leaving.delivered().await;
        recorded.map_err(|fault| refused(&self.path, fault))
    }
}

#[async_trait]
impl Outgoing for HomeOutgoing {
    fn size_bytes(&self) -> u64 {
        self.leaving.file().size()
    }

    fn sha256(&self) -> Option<[u8; 32]> {
        self.sha256
    }

    fn version(&self) -> String {
        // A published file never changes; another content is another file.
        format!("file {}", self.leaving.file_id())
    }

    async fn open(&mut self, offset: u64) -> Result<Content, LocalError> {
        let leaving = self.leaving.clone();
        let pieces = stream::try_unfold((leaving, offset), |(leaving, at)| async move {
            let read = leaving.file().read_at(at, MAX_IO_BYTES).await;
            let piece = read.map_err(io::Error::other)?;
            let next = at + piece.len() as u64;
            Ok::<_, io::Error>((!piece.is_empty()).then_some((piece, (leaving, next))))
        });
        Ok(Box::new(StreamReader::new(Box::pin(pieces))))
    }
}

/// The same of a file that cannot get its name, with what to do about it.
fn cannot_land(path: &VirtualPath, fault: VfsError) -> LocalError {
    let remedy = match &fault {
        VfsError::NotFound { .. } => Some(
            "a partner makes folders with mkdir; or fetch into the top of the home: \
             `--to ACCOUNT:/`",
        ),
        VfsError::QuotaExceeded { .. } => Some(
            "give the account more: `layover account set ACCOUNT --quota SIZE`; or remove files",
        ),
        _ => None,
    };
    let exists = matches!(fault, VfsError::AlreadyExists { .. });
    let error = refused(path, fault);
    match remedy {
        Some(remedy) => error.with_remedy(remedy),
        None if exists => error.with_remedy_of_existing(),
        None => error,
    }
}

/// What our side says, and whether it may be otherwise in a moment.
fn refused(path: &VirtualPath, fault: VfsError) -> LocalError {
    let permanence = match fault {
        VfsError::Busy { .. }
        | VfsError::QuotaExceeded { .. }
        | VfsError::DiskFull
        | VfsError::SessionEnded
        | VfsError::Storage { .. }
        | VfsError::HomesAway
        | VfsError::Database { .. } => Permanence::Transient,
        _ => Permanence::Permanent,
    };
    let what = format!("`{path}` in the account's home");
    match permanence {
        Permanence::Transient => LocalError::transient(what).because(fault),
        Permanence::Permanent => LocalError::permanent(what).because(fault),
    }
}
