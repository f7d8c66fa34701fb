//! The stream of one data connection after its TLS handshake.
//!
//! An upload: [`DataStream::receive`] until it tells the [`End`]; then at once
//! [`DataStream::end_ours`] (Python's `unwrap` waits for our close_notify before
//! it reads the 226, F10), then publish, and [`DataStream::linger`] off the
//! reply's way. A download: [`DataStream::send`], `end_ours`, `linger`, 226.
//!
//! Nothing here waits for a peer without a limit: a wait in which no byte moves
//! for the stall limit ends as [`End::Stalled`], and the cancel token ends every
//! wait at once.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use layover_depot::timer;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tokio_util::io::poll_read_buf;
use tokio_util::sync::CancellationToken;

/// Most that one [`DataStream::receive`] gathers: large writes to the storeroom,
/// little enough for a thousand transfers at once.
pub(crate) const CHUNK_BYTES: usize = 256 * 1024;

/// Looks at the byte counter in one stall limit.
const LOOKS_PER_LIMIT: u32 = 4;

/// What a peer may still send while [`DataStream::linger`] waits for its end.
const LINGER_BYTES: usize = CHUNK_BYTES;

/// How the peer's direction of a data connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum End {
    /// With close_notify: the peer said that this is all (RFC 8446 s.6.1).
    #[error("the client ended the data connection properly")]
    CloseNotify,
    /// With a FIN alone: what came may be cut short.
    #[error("the client's data connection ended without TLS close_notify")]
    BareFin,
    /// With a reset.
    #[error("the client's data connection was reset")]
    Reset,
    /// The peer's bytes are not what TLS allows: damaged, forged, or an alert.
    #[error("the client's data connection broke the TLS protocol")]
    Damaged,
    /// No byte moved for the stall limit.
    #[error("the data connection stalled")]
    Stalled,
    /// The transfer was cancelled here.
    #[error("the transfer was cancelled")]
    Cancelled,
}

impl End {
    fn of(error: &io::Error) -> Self {
        match error.kind() {
            // rustls reports a FIN without close_notify as this.
            io::ErrorKind::UnexpectedEof => Self::BareFin,
            io::ErrorKind::InvalidData => Self::Damaged,
            _ => Self::Reset,
        }
    }
}

/// A socket that counts the bytes which it moves, so that a slow peer differs
/// from a stalled one also within one large write.
#[derive(Debug)]
pub(crate) struct Counted<S> {
    stream: S,
    bytes: u64,
}

impl<S> Counted<S> {
    /// Wrap the accepted connection with this before its TLS handshake.
    pub(crate) fn new(stream: S) -> Self {
        Self { stream, bytes: 0 }
    }

    fn count(&mut self, bytes: usize) {
        self.bytes = self
            .bytes
            .saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buffer);
        self.count(buffer.filled().len().saturating_sub(before));
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, bytes);
        if let Poll::Ready(Ok(written)) = polled {
            self.count(written);
        }
        polled
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        if let Poll::Ready(Ok(written)) = polled {
            self.count(written);
        }
        polled
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// One data connection.
#[derive(Debug)]
pub(crate) struct DataStream<S> {
    tls: TlsStream<Counted<S>>,
    buffer: BytesMut,
    ended: Option<End>,
    stall_limit: Duration,
    cancel: CancellationToken,
}

impl DataStream<TcpStream> {
    /// Acknowledges at once what has come so far.
    ///
    /// Most clients leave Nagle's algorithm on (RFC 9293 s.3.7.4): the first bytes of a
    /// file wait for the acknowledgement of the handshake's last flight, and the
    /// close_notify for that of the bytes, while our kernel delays both by 40 ms for an
    /// answer of ours that never comes (F13). The kernel forgets the wish with
    /// the next packet, so it must be told each time.
    pub(crate) fn acknowledge(&self) {
        let socket = &self.tls.get_ref().0.stream;
        // Only speed is lost where it cannot be set.
        let _ = socket2::SockRef::from(socket).set_tcp_quickack(true);
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> DataStream<S> {
    /// The connection after its handshake.
    pub(crate) fn new(
        tls: TlsStream<Counted<S>>,
        stall_limit: Duration,
        cancel: CancellationToken,
    ) -> Self {
        Self {
            tls,
            buffer: BytesMut::new(),
            ended: None,
            stall_limit,
            cancel,
        }
    }

    /// The next bytes: waits for the first, takes with it what has come, at most
    /// [`CHUNK_BYTES`]. Nothing is lost when the future is dropped.
    ///
    /// # Errors
    /// The [`End`], after the last bytes and from then on.
    pub(crate) async fn receive(&mut self) -> Result<Bytes, End> {
        if self.buffer.is_empty() && self.ended.is_none() {
            self.buffer.reserve(CHUNK_BYTES);
            let (limit, cancel) = (self.stall_limit, self.cancel.clone());
            let watched = self.watched(limit, &cancel, Self::poll_fill).await;
            if let Err(end) = watched {
                self.ended = Some(end);
            }
        }
        match (self.buffer.is_empty(), self.ended) {
            (true, Some(end)) => Err(end),
            _ => Ok(self.buffer.split().freeze()),
        }
    }

    /// Sends all of `bytes`, as fast as the peer takes them. The last of them
    /// may wait in our buffer until [`DataStream::end_ours`].
    ///
    /// # Errors
    /// How the connection ended instead.
    pub(crate) async fn send(&mut self, mut bytes: &[u8]) -> Result<(), End> {
        let (limit, cancel) = (self.stall_limit, self.cancel.clone());
        while !bytes.is_empty() {
            let written = self
                .watched(limit, &cancel, |stream, cx| {
                    Pin::new(&mut stream.tls)
                        .poll_write(cx, bytes)
                        .map_err(|error| End::of(&error))
                })
                .await?;
            bytes = bytes.get(written..).unwrap_or_default();
        }
        Ok(())
    }

    /// Sends what is left, our close_notify and FIN.
    ///
    /// # Errors
    /// How the connection ended instead.
    pub(crate) async fn end_ours(&mut self) -> Result<(), End> {
        let (limit, cancel) = (self.stall_limit, self.cancel.clone());
        self.watched(limit, &cancel, |stream, cx| {
            Pin::new(&mut stream.tls)
                .poll_shutdown(cx)
                .map_err(|error| End::of(&error))
        })
        .await
    }

    /// Waits, at most `limit`, for the peer's end, so that our last bytes are
    /// not lost to a reset. What it still sends is thrown away.
    pub(crate) async fn linger(self, limit: Duration) -> End {
        self.drain(limit, limit, LINGER_BYTES).await
    }

    /// The same for a peer that is sending: up to `most` bytes are thrown away, as
    /// long as it is not silent for `silence`: it may wait for the reply.
    pub(crate) async fn drain(mut self, limit: Duration, silence: Duration, most: usize) -> End {
        let waited = timer::timeout(limit, async {
            let mut rest = most;
            loop {
                match timer::timeout(silence, self.receive()).await {
                    Ok(Ok(bytes)) if bytes.len() <= rest => rest -= bytes.len(),
                    Ok(Err(end)) => return end,
                    Ok(Ok(_)) | Err(timer::Elapsed) => return End::Stalled,
                }
            }
        });
        waited.await.unwrap_or(End::Stalled)
    }

    /// Gives the connection up: the peer sees it cut, without close_notify, and
    /// takes what it got for incomplete.
    pub(crate) async fn cut(self) {
        let (mut socket, _) = self.tls.into_inner();
        // Fails only when the peer was faster.
        let _ = socket.shutdown().await;
    }

    /// Reads until the buffer is full or nothing more is there; the end counts
    /// only when nothing came before it.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        while self.buffer.len() < CHUNK_BYTES {
            let polled = poll_read_buf(Pin::new(&mut self.tls), cx, &mut self.buffer);
            let end = match polled {
                Poll::Ready(Ok(0)) => End::CloseNotify,
                Poll::Ready(Ok(_)) => continue,
                Poll::Ready(Err(error)) => End::of(&error),
                Poll::Pending if self.buffer.is_empty() => return Poll::Pending,
                Poll::Pending => break,
            };
            return Poll::Ready(Err(end));
        }
        Poll::Ready(Ok(()))
    }

    /// Polls `step` until it is ready, the transfer is cancelled, or no byte
    /// moved for `limit`.
    async fn watched<T>(
        &mut self,
        limit: Duration,
        cancel: &CancellationToken,
        mut step: impl FnMut(&mut Self, &mut Context<'_>) -> Poll<Result<T, End>>,
    ) -> Result<T, End> {
        let mut seen = self.tls.get_ref().0.bytes;
        let mut idle_looks = 0;
        loop {
            let ready = poll_fn(|cx| step(self, cx));
            let look = limit / LOOKS_PER_LIMIT;
            let waited = tokio::select! {
                biased;
                () = cancel.cancelled() => return Err(End::Cancelled),
                waited = timer::timeout(look, ready) => waited,
            };
            if let Ok(ready) = waited {
                return ready;
            }
            let moved = self.tls.get_ref().0.bytes;
            idle_looks = if moved == seen { idle_looks + 1 } else { 0 };
            seen = moved;
            if idle_looks >= LOOKS_PER_LIMIT {
                return Err(End::Stalled);
            }
        }
    }
}

#[cfg(test)]
mod tests;
