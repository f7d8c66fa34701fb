//! A stream in pieces between those who work on it at the same time.

use std::io::{self, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::sync::mpsc;
use tokio_util::sync::PollSender;

/// How much is handed over at a time, in bytes.
pub(super) const PIECE_BYTES: usize = 256 * 1024;
/// Most pieces that wait between two workers.
const MAX_PIECES: usize = 4;

/// What goes from one worker to the next. A stream that ends without `End` was
/// broken off.
#[derive(Debug)]
pub(super) enum Piece {
    Data(Bytes),
    Failed(io::Error),
    End,
}

pub(super) fn channel() -> (mpsc::Sender<Piece>, mpsc::Receiver<Piece>) {
    mpsc::channel(MAX_PIECES)
}

/// The next piece of a reader: full, unless it is the last one. Empty at the end.
pub(super) async fn next_piece<R: AsyncRead + Unpin + ?Sized>(reader: &mut R) -> io::Result<Bytes> {
    let mut piece = BytesMut::with_capacity(PIECE_BYTES);
    while piece.len() < PIECE_BYTES {
        let room = PIECE_BYTES - piece.len();
        if reader.read_buf(&mut (&mut piece).limit(room)).await? == 0 {
            break;
        }
    }
    Ok(piece.freeze())
}

/// A sink that hands on what it gets, in pieces, and takes no more than a limit.
pub(super) struct PieceSink {
    gathered: BytesMut,
    to: PollSender<Piece>,
    room: u64,
    is_overrun: bool,
}

impl PieceSink {
    /// For at most `limit_bytes`.
    pub(super) fn new(to: mpsc::Sender<Piece>, limit_bytes: u64) -> Self {
        Self {
            gathered: BytesMut::new(),
            to: PollSender::new(to),
            room: limit_bytes,
            is_overrun: false,
        }
    }

    /// Whether more came than the limit.
    pub(super) fn is_overrun(&self) -> bool {
        self.is_overrun
    }

    /// Hands on the rest, and the word that this is all when it is.
    pub(super) async fn finish(mut self, is_all: bool) {
        let last = self.gathered.split().freeze();
        let Some(to) = self.to.get_ref() else { return };
        // One that is gone has said why.
        if !last.is_empty() {
            let _ = to.send(Piece::Data(last)).await;
        }
        if is_all {
            let _ = to.send(Piece::End).await;
        }
    }

    fn hand_on(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.to.poll_reserve(context)).map_err(|_| gone())?;
        let piece = self.gathered.split().freeze();
        Poll::Ready(self.to.send_item(Piece::Data(piece)).map_err(|_| gone()))
    }
}

impl AsyncWrite for PieceSink {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if bytes.len() as u64 > self.room {
            self.is_overrun = true;
            return Poll::Ready(Err(io::Error::other("more came than was announced")));
        }
        if self.gathered.len() >= PIECE_BYTES {
            ready!(self.hand_on(context))?;
        }
        let length = bytes.len().min(PIECE_BYTES - self.gathered.len());
        let taken = bytes.get(..length).unwrap_or_default();
        if self.gathered.capacity() == 0 {
            self.gathered
                .reserve(PIECE_BYTES.min(length.max(16 * 1024)));
        }
        self.gathered.extend_from_slice(taken);
        self.room -= length as u64;
        Poll::Ready(Ok(length))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// A thread's end of a stream that goes back to an async worker.
pub(super) struct PieceWriter {
    gathered: BytesMut,
    to: mpsc::Sender<Piece>,
}

impl PieceWriter {
    pub(super) fn new(to: mpsc::Sender<Piece>) -> Self {
        Self {
            gathered: BytesMut::new(),
            to,
        }
    }

    fn hand_on(&mut self) -> io::Result<()> {
        let piece = self.gathered.split().freeze();
        self.to
            .blocking_send(Piece::Data(piece))
            .map_err(|_| gone())
    }
}

impl Write for PieceWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = bytes.len().min(PIECE_BYTES - self.gathered.len());
        self.gathered
            .extend_from_slice(bytes.get(..length).unwrap_or_default());
        if self.gathered.len() >= PIECE_BYTES {
            self.hand_on()?;
        }
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.gathered.is_empty() {
            return Ok(());
        }
        self.hand_on()
    }
}

/// A stream in pieces, read as one.
pub(super) struct PieceReader {
    pieces: mpsc::Receiver<Piece>,
    current: Bytes,
    is_ended: bool,
    is_begun: bool,
    taken: u64,
}

impl PieceReader {
    pub(super) fn new(pieces: mpsc::Receiver<Piece>) -> Self {
        Self {
            pieces,
            current: Bytes::new(),
            is_ended: false,
            is_begun: false,
            taken: 0,
        }
    }

    /// Whether anybody began to read it.
    pub(super) fn is_begun(&self) -> bool {
        self.is_begun
    }

    /// Bytes that were read from it.
    pub(super) fn taken(&self) -> u64 {
        self.taken
    }

    /// Waits until the first piece is there, or the end: what fails before it
    /// fails here.
    pub(super) async fn prime(&mut self) -> io::Result<()> {
        if self.current.is_empty() && !self.is_ended {
            let piece = self.pieces.recv().await;
            self.accept(piece)?;
        }
        Ok(())
    }

    fn accept(&mut self, piece: Option<Piece>) -> io::Result<()> {
        match piece {
            Some(Piece::Data(bytes)) => self.current = bytes,
            Some(Piece::End) => self.is_ended = true,
            Some(Piece::Failed(error)) => return Err(error),
            None => return Err(gone()),
        }
        Ok(())
    }
}

impl AsyncRead for PieceReader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.is_begun = true;
        while self.current.is_empty() && !self.is_ended {
            let piece = ready!(self.pieces.poll_recv(context));
            self.accept(piece)?;
        }
        let length = self.current.len().min(into.remaining());
        into.put_slice(&self.current.split_to(length));
        self.taken += length as u64;
        Poll::Ready(Ok(()))
    }
}

fn gone() -> io::Error {
    io::Error::new(
        io::ErrorKind::BrokenPipe,
        "the next one to work on the file stopped",
    )
}
