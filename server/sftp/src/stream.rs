//! The TCP stream as russh sees it: counted, listened to until the ciphers begin,
//! and cut when the connection must end.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::activity::Activity;
use crate::handshake::{Ear, Handshake};

/// Counts bytes; every read and write fails once `cut` is cancelled.
pub(crate) struct WatchedStream<S> {
    inner: S,
    activity: Arc<Activity>,
    handshake: Arc<Handshake>,
    client: Ear,
    server: Ear,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl<S> WatchedStream<S> {
    pub(crate) fn new(
        inner: S,
        activity: Arc<Activity>,
        handshake: Arc<Handshake>,
        cut: CancellationToken,
    ) -> Self {
        Self {
            inner,
            activity,
            handshake,
            client: Ear::default(),
            server: Ear::default(),
            cut: Box::pin(cut.cancelled_owned()),
        }
    }

    fn check(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        match self.cut.as_mut().poll(cx) {
            Poll::Ready(()) => Err(io::Error::from(io::ErrorKind::ConnectionAborted)),
            Poll::Pending => Ok(()),
        }
    }
}

use std::future::Future as _;

impl<S: AsyncRead + Unpin> AsyncRead for WatchedStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check(cx)?;
        let before = buf.filled().len();
        let this = &mut *self;
        let read = Pin::new(&mut this.inner).poll_read(cx, buf);
        let news = buf.filled().get(before..).unwrap_or_default();
        this.activity.moved(news.len());
        this.handshake.client_says(&mut this.client, news);
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for WatchedStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check(cx)?;
        let this = &mut *self;
        let written = Pin::new(&mut this.inner).poll_write(cx, buf);
        if let Poll::Ready(Ok(bytes)) = &written {
            this.activity.moved(*bytes);
            let sent = buf.get(..*bytes).unwrap_or_default();
            this.handshake.server_says(&mut this.server, sent);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(cx)?;
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    #[tokio::test]
    async fn a_cut_ends_a_read_that_waits() {
        let (_peer, ours) = tokio::io::duplex(64);
        let cut = CancellationToken::new();
        let mut stream = WatchedStream::new(ours, Arc::default(), Arc::default(), cut.clone());
        let reading = tokio::spawn(async move { stream.read_u8().await });
        cut.cancel();
        let error = reading.await.unwrap().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted);
    }

    #[tokio::test]
    async fn bytes_pass_until_then() {
        let (mut peer, ours) = tokio::io::duplex(64);
        let mut stream = WatchedStream::new(
            ours,
            Arc::default(),
            Arc::default(),
            CancellationToken::new(),
        );
        stream.write_all(b"hello").await.unwrap();
        let mut got = [0; 5];
        peer.read_exact(&mut got).await.unwrap();
        assert_eq!(&got, b"hello");
    }
}
