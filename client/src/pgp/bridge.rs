//! Encrypting and decrypting for async callers: on a thread of its own, with a
//! few pieces under way in each direction.
//!
//! Dropping either end cancels: the thread's next piece fails and it ends.

use std::io::{self, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use futures_util::FutureExt;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::PollSender;

use super::decrypt::{DecryptError, DecryptOptions, Decrypted, decrypt};
use super::encrypt::{EncryptError, EncryptOptions, Encrypted, encrypt};

/// How much is handed over at a time, in bytes.
const PIECE_BYTES: usize = 128 * 1024;
/// Most pieces under way in one direction: 1 MiB, enough to keep both sides
/// busy.
const MAX_PIECES: usize = 8;

/// A piece of the stream on its way to the thread. A sender that goes away
/// without `End` was cancelled: what came so far is not all.
enum Piece {
    Data(Bytes),
    Failed(io::Error),
    End,
}

/// The encrypted form of what a source gives, as a stream.
///
/// It ends without an error only when all of it was given out.
pub struct Encrypting {
    pieces: mpsc::Receiver<Bytes>,
    current: Bytes,
    work: Option<JoinHandle<Result<Encrypted, EncryptError>>>,
    pump: JoinHandle<()>,
    outcome: Option<Encrypted>,
}

impl Encrypting {
    /// Begins. Must be called within a tokio runtime.
    pub fn new<R>(source: R, options: EncryptOptions) -> Self
    where
        R: AsyncRead + Send + Unpin + 'static,
    {
        let (to_thread, from_source) = mpsc::channel(MAX_PIECES);
        let (to_reader, pieces) = mpsc::channel(MAX_PIECES);
        let pump = tokio::spawn(pump(source, to_thread));
        let work = tokio::task::spawn_blocking(move || {
            let mut sink = PieceWriter::new(to_reader);
            let done = encrypt(PieceReader::new(from_source), &mut sink, &options);
            match done {
                Err(EncryptError::Source(error) | EncryptError::Sink(error))
                    if is_cancellation(&error) =>
                {
                    Err(EncryptError::Cancelled)
                }
                done => done,
            }
        });
        Self {
            pieces,
            current: Bytes::new(),
            work: Some(work),
            pump,
            outcome: None,
        }
    }

    /// What was encrypted, once the stream ended.
    #[must_use]
    pub fn outcome(&self) -> Option<Encrypted> {
        self.outcome
    }
}

impl AsyncRead for Encrypting {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.current.is_empty() {
            if let Some(piece) = ready!(self.pieces.poll_recv(context)) {
                self.current = piece;
                continue;
            }
            let Some(work) = &mut self.work else {
                return Poll::Ready(if self.outcome.is_some() {
                    Ok(())
                } else {
                    Err(io::Error::other(EncryptError::Cancelled))
                });
            };
            let done = ready!(work.poll_unpin(context));
            self.work = None;
            self.outcome = Some(
                done.unwrap_or(Err(EncryptError::Cancelled))
                    .map_err(io::Error::other)?,
            );
            return Poll::Ready(Ok(()));
        }
        let length = self.current.len().min(into.remaining());
        into.put_slice(&self.current.split_to(length));
        Poll::Ready(Ok(()))
    }
}

impl Drop for Encrypting {
    fn drop(&mut self) {
        self.pump.abort();
    }
}

/// A sink for an encrypted file whose plaintext goes to `staging`.
///
/// Writing fails as soon as the file is refused; [`Decrypting::finish`] says
/// why. `staging` holds the partner's file only when `finish` returned `Ok`.
pub struct Decrypting<W> {
    pieces: PollSender<Piece>,
    work: JoinHandle<(W, Result<Decrypted, DecryptError>)>,
}

impl<W: Write + Send + 'static> Decrypting<W> {
    /// Begins. Must be called within a tokio runtime.
    pub fn new(staging: W, options: DecryptOptions) -> Self {
        let (pieces, from_writer) = mpsc::channel(MAX_PIECES);
        let work = tokio::task::spawn_blocking(move || {
            let mut staging = staging;
            let done = decrypt(PieceReader::new(from_writer), &mut staging, &options);
            let done = match done {
                Err(DecryptError::Source(error)) if is_cancellation(&error) => {
                    Err(DecryptError::Cancelled)
                }
                done => done,
            };
            (staging, done)
        });
        Self {
            pieces: PollSender::new(pieces),
            work,
        }
    }

    /// Whether the verdict is there before the file's end: it was refused, or
    /// the plaintext could not be written.
    #[must_use]
    pub fn has_verdict(&self) -> bool {
        self.pieces.get_ref().is_none_or(mpsc::Sender::is_closed)
    }

    /// Says that the encrypted file is complete and waits for the verdict.
    /// Gives `staging` back in either case.
    pub async fn finish(mut self) -> (Option<W>, Result<Decrypted, DecryptError>) {
        if let Some(sender) = self.pieces.get_ref() {
            // A thread that has ended already has its verdict.
            let _ = sender.send(Piece::End).await;
        }
        self.pieces.close();
        match self.work.await {
            Ok((staging, done)) => (Some(staging), done),
            Err(_) => (None, Err(DecryptError::Cancelled)),
        }
    }
}

impl<W: Unpin> AsyncWrite for Decrypting<W> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let refused = || io::Error::new(io::ErrorKind::BrokenPipe, "the file was refused");
        if ready!(self.pieces.poll_reserve(context)).is_err() {
            return Poll::Ready(Err(refused()));
        }
        let piece = bytes.get(..PIECE_BYTES).unwrap_or(bytes);
        let sent = self
            .pieces
            .send_item(Piece::Data(Bytes::copy_from_slice(piece)));
        Poll::Ready(sent.map(|()| piece.len()).map_err(|_| refused()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

async fn pump<R: AsyncRead + Unpin>(mut source: R, to_thread: mpsc::Sender<Piece>) {
    loop {
        let mut piece = BytesMut::with_capacity(PIECE_BYTES);
        let sent = match source.read_buf(&mut piece).await {
            Ok(0) => {
                let _ = to_thread.send(Piece::End).await;
                return;
            }
            Ok(_) => to_thread.send(Piece::Data(piece.freeze())).await,
            Err(error) => {
                let _ = to_thread.send(Piece::Failed(error)).await;
                return;
            }
        };
        if sent.is_err() {
            return;
        }
    }
}

/// The thread's end of a stream to it.
struct PieceReader {
    pieces: mpsc::Receiver<Piece>,
    current: Bytes,
    ended: bool,
}

impl PieceReader {
    fn new(pieces: mpsc::Receiver<Piece>) -> Self {
        Self {
            pieces,
            current: Bytes::new(),
            ended: false,
        }
    }
}

impl Read for PieceReader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() && !self.ended {
            match self.pieces.blocking_recv() {
                Some(Piece::Data(bytes)) => self.current = bytes,
                Some(Piece::Failed(error)) => return Err(error),
                Some(Piece::End) => self.ended = true,
                None => return Err(cancellation()),
            }
        }
        let length = self.current.len().min(into.len());
        self.current
            .split_to(length)
            .copy_to_slice(into.get_mut(..length).unwrap_or_default());
        Ok(length)
    }
}

/// The thread's end of a stream from it.
struct PieceWriter {
    pieces: mpsc::Sender<Bytes>,
}

impl PieceWriter {
    fn new(pieces: mpsc::Sender<Bytes>) -> Self {
        Self { pieces }
    }
}

impl Write for PieceWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let piece = bytes.get(..PIECE_BYTES).unwrap_or(bytes);
        self.pieces
            .blocking_send(Bytes::copy_from_slice(piece))
            .map_err(|_| cancellation())?;
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[derive(Debug, thiserror::Error)]
#[error("cancelled")]
struct Cancellation;

fn cancellation() -> io::Error {
    io::Error::other(Cancellation)
}

fn is_cancellation(error: &io::Error) -> bool {
    error
        .get_ref()
        .is_some_and(|inner| inner.is::<Cancellation>())
}

#[cfg(test)]
mod tests;
