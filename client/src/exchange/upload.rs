//! The bytes of a file of ours, on their way to the partner's server.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::mpsc;

use super::content_hash::ContentHash;
use super::error::{ExchangeError, LocalError};
use super::outgoing::{Content, Outgoing};
use super::pieces::{self, Piece, PieceReader, next_piece};
use super::sealing;
use crate::fault::RemoteError;
use crate::path::RemotePath;
use crate::pgp::EncryptOptions;
use crate::remote::{Extent, Progress, Remote};

/// Where the bytes go.
pub(super) struct Place<'a> {
    pub(super) path: &'a RemotePath,
    /// Bytes that are there already.
    pub(super) offset: u64,
}

/// What a stream held, from its beginning.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sum {
    pub(super) bytes: u64,
    pub(super) sha256: [u8; 32],
}

/// A stream that was read to its end; `None` when nobody took it any more.
pub(super) type Pumped = Result<Option<Sum>, ExchangeError>;

/// How an upload went.
pub(super) struct Uploaded {
    /// Whether the server opened the file: only then is what is there ours.
    pub(super) is_begun: bool,
    /// Bytes that the server was given, the offset included.
    pub(super) taken_to: u64,
    /// Of the file itself, when it was read to its end.
    pub(super) content: Option<Sum>,
    /// Of the file as it goes over the wire.
    pub(super) wire: Option<Sum>,
    /// Bytes that this attempt moved, or why not all did.
    pub(super) moved: Result<u64, ExchangeError>,
}

/// Uploads all of `outgoing`. What cannot be read or encrypted fails before the
/// server is asked for anything.
pub(super) async fn upload(
    remote: &mut dyn Remote,
    outgoing: &mut dyn Outgoing,
    place: &Place<'_>,
    pgp: Option<&EncryptOptions>,
    progress: &dyn Progress,
) -> Result<Uploaded, ExchangeError> {
    let (mut content, hash) = from_offset(outgoing, place.offset).await?;
    progress.begins(Extent {
        from_bytes: place.offset,
        total_bytes: pgp.is_none().then(|| outgoing.size_bytes()),
    });
    let expected = Expected {
        bytes: outgoing.size_bytes(),
        sha256: outgoing.sha256(),
    };
    let (to_wire, pieces) = pieces::channel();
    let mut reader = PieceReader::new(pieces);
    let putting = async {
        let put = put(remote, place, &mut reader, progress).await;
        let told = (reader.is_begun(), reader.taken());
        // Whoever reads for a server that takes no more stops.
        drop(reader);
        (put, told)
    };
    let (sums, (put, (is_begun, taken))) = match pgp {
        None => {
            let reading = pump(&mut content, hash, Some(expected), to_wire);
            let (read, put) = tokio::join!(reading, putting);
            (read.map(|sum| (sum, sum)), put)
        }
        Some(options) => {
            let sealing = sealing::pump(&mut content, hash, expected, options, to_wire);
            tokio::join!(sealing, putting)
        }
    };
    // What failed on our side made the upload fail.
    let (content, wire, moved) = match sums {
        Ok((content, wire)) => (content, wire, put),
        Err(error) => (None, None, Err(error)),
    };
    Ok(Uploaded {
        is_begun,
        taken_to: place.offset + taken,
        content,
        wire,
        moved,
    })
}

async fn put(
    remote: &mut dyn Remote,
    place: &Place<'_>,
    reader: &mut PieceReader,
    progress: &dyn Progress,
) -> Result<u64, ExchangeError> {
    // Whoever reads or encrypts says what failed.
    reader
        .prime()
        .await
        .map_err(|error| ExchangeError::io("reading our file failed", error))?;
    let sent = remote
        .put(place.path, place.offset, reader, progress)
        .await?;
    let taken = reader.taken();
    if sent.bytes != taken {
        return Err(short(taken, sent.bytes).into());
    }
    Ok(sent.bytes)
}

fn short(expected: u64, got: u64) -> RemoteError {
    use crate::fault::{RemoteFault, Step};
    RemoteError::new(Step::Upload, RemoteFault::WrongSize { expected, got })
}

/// The content from `offset` on, and the hash of what stands before it.
async fn from_offset(
    outgoing: &mut dyn Outgoing,
    offset: u64,
) -> Result<(Content, ContentHash), ExchangeError> {
    let mut content = outgoing.open(0).await?;
    let mut hash = ContentHash::new();
    while hash.bytes() < offset {
        let mut before = (&mut content).take(offset - hash.bytes());
        let piece = next_piece(&mut before).await.map_err(unreadable)?;
        if piece.is_empty() {
            return Err(ExchangeError::OurFileChanged);
        }
        hash.update(piece).await?;
    }
    Ok((content, hash))
}

/// What a file of ours must turn out to be.
#[derive(Clone, Copy)]
pub(super) struct Expected {
    pub(super) bytes: u64,
    pub(super) sha256: Option<[u8; 32]>,
}

impl Expected {
    fn judge(self, sum: Sum) -> Result<(), ExchangeError> {
        if sum.bytes != self.bytes {
            return Err(ExchangeError::OurFileChanged);
        }
        if self.sha256.is_some_and(|expected| expected != sum.sha256) {
            let what = "our file's content is not what was recorded of it (SHA-256 differs)";
            return Err(LocalError::permanent(what).into());
        }
        Ok(())
    }
}

/// Hashes and hands on what `reader` gives. The end is told only when the
/// stream is what it must be.
pub(super) async fn pump<R: AsyncRead + Send + Unpin>(
    reader: &mut R,
    mut hash: ContentHash,
    expected: Option<Expected>,
    to: mpsc::Sender<Piece>,
) -> Pumped {
    loop {
        let piece = match next_piece(reader).await {
            Ok(piece) => piece,
            Err(error) => {
                let told = io::Error::other("reading our file failed");
                let _ = to.send(Piece::Failed(told)).await;
                return Err(unreadable(error));
            }
        };
        if piece.is_empty() {
            break;
        }
        hash.update(piece.clone()).await?;
        let is_over = expected.is_some_and(|expected| hash.bytes() > expected.bytes);
        if is_over || to.send(Piece::Data(piece)).await.is_err() {
            break;
        }
    }
    if to.is_closed() {
        return Ok(None);
    }
    let sum = Sum {
        bytes: hash.bytes(),
        sha256: hash.finish().await?,
    };
    if let Some(expected) = expected
        && let Err(error) = expected.judge(sum)
    {
        let told = io::Error::other(error.to_string());
        let _ = to.send(Piece::Failed(told)).await;
        return Err(error);
    }
    let is_taken = to.send(Piece::End).await.is_ok();
    Ok(is_taken.then_some(sum))
}

pub(super) fn unreadable(error: io::Error) -> ExchangeError {
    ExchangeError::io("reading our file failed", error)
}
