//! A control connection's bytes: lines in, replies out.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use layover_depot::timer;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;

use crate::line::LineReader;
use crate::reply::Reply;

/// Bytes that one read takes: a command is short, and an idle session must not
/// hold more.
const READ_BYTES: usize = 1024;

/// How long a peer may leave a reply unread.
const REPLY_LIMIT: Duration = Duration::from_secs(60);

/// How long before it has logged in: its place is one of few (G04).
const STRANGERS_REPLY_LIMIT: Duration = Duration::from_secs(10);

/// How long a connection that we end may take.
const GOODBYE: Duration = Duration::from_secs(2);

/// Why no command comes any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Lost {
    /// The peer closed or reset the connection.
    #[error("connection closed")]
    Closed,
    /// A command line passed its limit.
    #[error("a command line was too long")]
    TooLong,
    /// More commands came during a transfer than may wait for its end.
    #[error("too many commands were sent during a transfer")]
    TooMany,
    /// The peer does not read what it is told.
    #[error("a reply was not read in time")]
    Unread,
}

/// Lines in, replies out.
#[derive(Debug)]
pub(crate) struct Wire<S> {
    stream: S,
    reader: LineReader,
    buffer: BytesMut,
    reply_limit: Duration,
}

impl Wire<TcpStream> {
    /// Whether this is the first byte that comes, which stays to be read.
    pub(crate) async fn begins_with(&self, byte: u8) -> bool {
        let mut first = [0];
        // What is wrong with the connection the next read tells.
        self.stream.peek(&mut first).await.is_ok() && first == [byte]
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self {
            stream,
            reader: LineReader::default(),
            buffer: BytesMut::new(),
            reply_limit: STRANGERS_REPLY_LIMIT,
        }
    }

    /// Somebody is in, who may be slower.
    pub(crate) fn logged_in(&mut self) {
        self.reply_limit = REPLY_LIMIT;
    }

    /// The next command line. Nothing is lost when the future is dropped.
    pub(crate) async fn line(&mut self) -> Result<Vec<u8>, Lost> {
        loop {
            let mut input = &self.buffer[..];
            let taken = self.reader.take(&mut input);
            let used = self.buffer.len().saturating_sub(input.len());
            self.buffer.advance(used);
            match taken {
                Ok(Some(line)) => return Ok(line),
                Ok(None) => {}
                Err(_) => return Err(Lost::TooLong),
            }
            // Nothing is held for a peer that is silent.
            self.buffer = BytesMut::new();
            match poll_fn(|cx| self.poll_read(cx)).await {
                Ok(0) | Err(_) => return Err(Lost::Closed),
                Ok(_) => {}
            }
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut room = [0; READ_BYTES];
        let mut read = ReadBuf::new(&mut room);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut read))?;
        self.buffer.extend_from_slice(read.filled());
        Poll::Ready(Ok(read.filled().len()))
    }

    /// Whether the peer sent more than it has been answered.
    pub(crate) fn holds_bytes(&self) -> bool {
        !self.buffer.is_empty() || self.reader.is_within_line()
    }

    pub(crate) async fn send(&mut self, reply: &Reply) -> Result<(), Lost> {
        self.send_bytes(&reply.encode()).await
    }

    /// A piece of a long reply, encoded.
    pub(crate) async fn send_bytes(&mut self, bytes: &[u8]) -> Result<(), Lost> {
        let sent = timer::timeout(self.reply_limit, async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        });
        match sent.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Lost::Closed),
            Err(timer::Elapsed) => Err(Lost::Unread),
        }
    }

    /// Ends the connection, over TLS with close_notify.
    pub(crate) async fn close(mut self) {
        // Whoever does not take it is cut off.
        let _ = timer::timeout(GOODBYE, self.stream.shutdown()).await;
    }

    pub(crate) fn into_stream(self) -> S {
        self.stream
    }
}
