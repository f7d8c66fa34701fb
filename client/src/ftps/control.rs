//! The control connection: commands out, replies in, one after the other.
//!
//! What was begun survives a dropped future: bytes of a command that are not
//! sent yet and half a reply stay here, so that the connection can be brought
//! back into step ([`Control::settle`]).

use std::net::SocketAddr;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use zeroize::Zeroize;

use super::command::Command;
use super::faults;
use super::reply::{Reply, ReplyReader};
use super::wire::Wire;
use crate::fault::RemoteFault;
use layover_depot::timer;

/// Preliminary replies in front of a final one that are passed over.
const MAX_PRELIMINARY: usize = 16;
/// Replies that may be on their way when a connection is brought back into step.
const MAX_STRAY_REPLIES: usize = 8;
/// How much is read at once.
const READ_BYTES: usize = 8 * 1024;

/// A control connection.
pub(super) struct Control {
    wire: Option<Wire>,
    peer: SocketAddr,
    local: SocketAddr,
    inbox: BytesMut,
    outbox: Vec<u8>,
    sent: usize,
    reader: ReplyReader,
    reply_limit: Duration,
    /// A command was sent whose last reply has not been read.
    unsettled: bool,
}

impl Drop for Control {
    fn drop(&mut self) {
        self.outbox.zeroize();
    }
}

impl Control {
    pub(super) fn new(wire: Wire, reply_limit: Duration) -> Result<Self, RemoteFault> {
        let (peer, local) = (wire.tcp().peer_addr(), wire.tcp().local_addr());
        Ok(Self {
            peer: peer.map_err(|error| faults::of_io(&error))?,
            local: local.map_err(|error| faults::of_io(&error))?,
            wire: Some(wire),
            inbox: BytesMut::new(),
            outbox: Vec::new(),
            sent: 0,
            reader: ReplyReader::default(),
            reply_limit,
            unsettled: false,
        })
    }

    /// The server's address.
    pub(super) fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Our address.
    pub(super) fn local(&self) -> SocketAddr {
        self.local
    }

    /// Takes the connection below away, to put TLS over it.
    ///
    /// # Errors
    /// When the server sent more than it was asked for: what came before TLS
    /// must not be taken for what came inside it.
    pub(super) fn take_wire(&mut self) -> Result<Wire, RemoteFault> {
        if !self.inbox.is_empty() {
            return Err(RemoteFault::Protocol {
                detail: "the server sent more than its reply to AUTH before TLS".to_owned(),
            });
        }
        self.wire.take().ok_or(RemoteFault::ConnectionLost)
    }

    pub(super) fn put_wire(&mut self, wire: Wire) {
        self.wire = Some(wire);
    }

    /// Sends a command. Its last reply is to be read with [`Self::final_reply`].
    pub(super) async fn send(&mut self, command: &Command) -> Result<(), RemoteFault> {
        tracing::debug!(verb = command.verb(), "a command is sent to an FTP server");
        self.unsettled = true;
        self.outbox.reserve_exact(command.bytes().len());
        self.outbox.extend_from_slice(command.bytes());
        self.flush().await
    }

    async fn flush(&mut self) -> Result<(), RemoteFault> {
        let limit = self.reply_limit;
        let wire = self.wire.as_mut().ok_or(RemoteFault::ConnectionLost)?;
        while let Some(rest) = self.outbox.get(self.sent..).filter(|rest| !rest.is_empty()) {
            self.sent += timed(limit, wire.write(rest)).await?;
        }
        self.outbox.zeroize();
        self.sent = 0;
        timed(limit, wire.flush()).await
    }

    /// The next reply, whatever it is.
    pub(super) async fn any_reply(&mut self, limit: Duration) -> Result<Reply, RemoteFault> {
        let read = async {
            loop {
                if let Some(reply) = self.reader.next(&mut self.inbox)? {
                    return Ok(reply);
                }
                let wire = self.wire.as_mut().ok_or(RemoteFault::ConnectionLost)?;
                self.inbox.reserve(READ_BYTES);
                match wire.read_buf(&mut self.inbox).await {
                    Ok(0) => return Err(RemoteFault::ConnectionLost),
                    Ok(_) => {}
                    Err(error) => return Err(faults::of_io(&error)),
                }
            }
        };
        let reply = timer::timeout(limit, read)
            .await
            .map_err(|_| RemoteFault::TimedOut { after: limit })?;
        match &reply {
            Ok(reply) => tracing::debug!(code = reply.code, "an FTP server replied"),
            // What comes after this could be taken for anything.
            Err(_) => self.wire = None,
        }
        reply
    }

    /// The last reply to a command: preliminary ones are passed over.
    pub(super) async fn final_reply(&mut self) -> Result<Reply, RemoteFault> {
        self.final_reply_within(self.reply_limit).await
    }

    /// The same with another time-out.
    pub(super) async fn final_reply_within(
        &mut self,
        limit: Duration,
    ) -> Result<Reply, RemoteFault> {
        for _ in 0..=MAX_PRELIMINARY {
            let reply = self.any_reply(limit).await?;
            if !reply.is_preliminary() {
                self.unsettled = false;
                return Ok(reply);
            }
        }
        Err(RemoteFault::OverLimit {
            what: "the number of preliminary replies",
            limit: MAX_PRELIMINARY as u64,
        })
    }

    /// What the server says before it is asked.
    pub(super) async fn greeting(&mut self) -> Result<Reply, RemoteFault> {
        self.any_reply(self.reply_limit).await
    }

    /// The first reply to a command that moves data: preliminary when it begins.
    pub(super) async fn first_reply(&mut self) -> Result<Reply, RemoteFault> {
        let reply = self.any_reply(self.reply_limit).await?;
        if !reply.is_preliminary() {
            self.unsettled = false;
        }
        Ok(reply)
    }

    /// A command and its reply.
    pub(super) async fn exchange(&mut self, command: &Command) -> Result<Reply, RemoteFault> {
        self.send(command).await?;
        self.final_reply().await
    }

    /// Brings the connection back into step after something was broken off: the
    /// transfer is aborted, and replies are passed over until that to PWD comes,
    /// which no other command has (257). PWD waits for a first reply, because
    /// pure-ftpd throws away what comes together with ABOR.
    pub(super) async fn settle(&mut self) -> Result<(), RemoteFault> {
        if !self.unsettled {
            return Ok(());
        }
        self.flush().await?;
        self.send(&Command::bare("ABOR")).await?;
        self.final_reply().await?;
        self.send(&Command::bare("PWD")).await?;
        for _ in 0..MAX_STRAY_REPLIES {
            if self.any_reply(self.reply_limit).await?.code == 257 {
                self.unsettled = false;
                return Ok(());
            }
        }
        Err(RemoteFault::ConnectionLost)
    }

    /// Says farewell. A server that closes the connection instead of answering has
    /// understood.
    pub(super) async fn quit(&mut self) -> Result<(), RemoteFault> {
        self.settle().await?;
        self.send(&Command::bare("QUIT")).await?;
        match self.final_reply().await {
            Ok(_) | Err(RemoteFault::ConnectionLost) => {}
            Err(fault) => return Err(fault),
        }
        if let Some(wire) = self.wire.as_mut() {
            // It may have closed its side first.
            let _ = timed(self.reply_limit, wire.shutdown()).await;
        }
        Ok(())
    }
}

/// Waits for I/O, so long.
pub(super) async fn timed<T>(
    limit: Duration,
    work: impl Future<Output = std::io::Result<T>>,
) -> Result<T, RemoteFault> {
    timer::timeout(limit, work)
        .await
        .map_err(|_| RemoteFault::TimedOut { after: limit })?
        .map_err(|error| faults::of_io(&error))
}
