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
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use layover_depot::timer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use crate::tls::{Fault, Halt, RecordStream};

/// Looks at the byte counter in one stall limit.
const LOOKS_PER_LIMIT: u32 = 4;

/// What a peer may still send while [`DataStream::linger`] waits for its end.
const LINGER_BYTES: usize = 256 * 1024;

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
    /// More was sent than one key may seal, and TLS 1.2 has no way to another.
    #[error("the data connection's TLS keys are used up; TLS 1.3 can renew them")]
    KeysUsedUp,
    /// No byte moved for the stall limit.
    #[error("the data connection stalled")]
    Stalled,
    /// The transfer was cancelled here.
    #[error("the transfer was cancelled")]
    Cancelled,
}

impl From<Halt> for End {
    fn from(halt: Halt) -> Self {
        match halt {
            Halt::CloseNotify => Self::CloseNotify,
            Halt::Fin => Self::BareFin,
            Halt::Reset => Self::Reset,
            Halt::Broken(Fault::KeysUsedUp) => Self::KeysUsedUp,
            Halt::Broken(_) => Self::Damaged,
        }
    }
}

/// One data connection.
#[derive(Debug)]
pub(crate) struct DataStream<S> {
    tls: RecordStream<S>,
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
        // Only speed is lost where it cannot be set.
        let _ = socket2::SockRef::from(self.tls.socket()).set_tcp_quickack(true);
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> DataStream<S> {
    /// The connection after its handshake.
    pub(crate) fn new(
        tls: RecordStream<S>,
        stall_limit: Duration,
        cancel: CancellationToken,
    ) -> Self {
        Self {
            tls,
            ended: None,
            stall_limit,
            cancel,
        }
    }

    /// The next bytes: waits for the first, takes with it what has come, as much as one
    /// read may. Nothing is lost when the future is dropped.
    ///
    /// # Errors
    /// The [`End`], after the last bytes and from then on.
    pub(crate) async fn receive(&mut self) -> Result<Bytes, End> {
        if !self.tls.holds_plaintext() && self.ended.is_none() {
            self.ended = self.watched(RecordStream::poll_fill).await.err();
        }
        match self.ended {
            Some(end) if !self.tls.holds_plaintext() => Err(end),
            _ => Ok(self.tls.take()),
        }
    }

    /// Sends all of `bytes`, as fast as the peer takes them. The last of them
    /// may wait in our buffer until [`DataStream::end_ours`].
    ///
    /// # Errors
    /// How the connection ended instead.
    pub(crate) async fn send(&mut self, mut bytes: &[u8]) -> Result<(), End> {
        while !bytes.is_empty() {
            let sent = self.watched(|tls, cx| tls.poll_send(cx, bytes)).await?;
            bytes = bytes.get(sent..).unwrap_or_default();
        }
        Ok(())
    }

    /// Sends what is left, our close_notify and FIN.
    ///
    /// # Errors
    /// How the connection ended instead.
    pub(crate) async fn end_ours(&mut self) -> Result<(), End> {
        self.watched(RecordStream::poll_end).await
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
        // Fails only when the peer was faster.
        let _ = self.tls.cut().await;
    }

    /// Waits for something else than the peer: not beyond the transfer's end, and no stall.
    ///
    /// # Errors
    /// [`End::Cancelled`].
    pub(crate) async fn pause(&self, until: impl Future<Output = ()>) -> Result<(), End> {
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => Err(End::Cancelled),
            () = until => Ok(()),
        }
    }

    /// Polls `step` until it is ready, the transfer is cancelled, or no byte moved for
    /// the stall limit.
    async fn watched<T>(
        &mut self,
        mut step: impl FnMut(&mut RecordStream<S>, &mut Context<'_>) -> Poll<Result<T, Halt>>,
    ) -> Result<T, End> {
        let mut seen = self.tls.moved_bytes();
        let mut idle_looks = 0;
        loop {
            let ready = poll_fn(|cx| step(&mut self.tls, cx));
            let look = self.stall_limit / LOOKS_PER_LIMIT;
            let waited = tokio::select! {
                biased;
                () = self.cancel.cancelled() => return Err(End::Cancelled),
                waited = timer::timeout(look, ready) => waited,
            };
            if let Ok(ready) = waited {
                return ready.map_err(End::from);
            }
            let moved = self.tls.moved_bytes();
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
