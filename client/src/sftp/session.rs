//! Requests and replies over one SFTP channel.
//!
//! Replies may come in any order; each carries its request's number. A verb
//! that is dropped half-way leaves nothing behind: what it awaited is abandoned
//! and the handle that it held is closed when the next verb begins.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use russh::client::Msg;
use russh::{ChannelMsg, ChannelReadHalf, ChannelWriteHalf};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::codec::{self, Frames, Reply, ServerLimits, extension};
use super::link::Link;
use super::options::Timeouts;
use super::status::{self, code};
use crate::fault::{RemoteError, RemoteFault, Step};
use layover_depot::timer::{Stopwatch, timeout};

/// Requests that may be outstanding in one transfer.
pub(super) const MAX_OUTSTANDING: usize = 64;

/// Content that may be under way or waiting for its turn in one transfer, in
/// bytes.
pub(super) const MAX_OUTSTANDING_BYTES: usize = 16 * 1024 * 1024;

/// Most content of one request, in bytes: what OpenSSH takes.
const MAX_DATA_BYTES: u32 = 255 * 1024;

/// Most content of one request where the server does not say: every server of
/// version 3 takes it (draft-ietf-secsh-filexfer-02 s.3).
const DEFAULT_DATA_BYTES: u32 = 32 * 1024;

/// Packets that wait to be sent: those outstanding, those abandoned by a verb
/// before, and a few to end with.
const SEND_QUEUE: usize = 2 * MAX_OUTSTANDING + 16;

/// A server that hashes or writes back a file goes through it at least so fast.
const SLOWEST_BYTES_PER_S: u64 = 16 * 1024 * 1024;

/// The next bytes from the server; `None` when there will be no more. Nothing is
/// lost when it is dropped.
async fn next_bytes(channel: &mut ChannelReadHalf) -> Option<Bytes> {
    loop {
        match channel.wait().await? {
            ChannelMsg::Data { data } => return Some(data),
            ChannelMsg::Eof | ChannelMsg::Close => return None,
            // Its standard error, its exit status: nothing of SFTP.
            _ => {}
        }
    }
}

/// What becomes of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Somebody waits for it.
    Awaited,
    /// Nobody does any more; a handle in it is closed.
    Abandoned,
}

/// What the server can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Features {
    pub(super) posix_rename: bool,
    pub(super) fsync: bool,
    pub(super) check_file: bool,
    /// Content of one READ, in bytes.
    pub(super) read_bytes: u32,
    /// Content of one WRITE, in bytes.
    pub(super) write_bytes: u32,
}

/// One SFTP channel.
#[derive(Debug)]
pub(super) struct Session {
    outgoing: mpsc::Sender<Bytes>,
    /// Ends with the session, so that nothing keeps the connection open.
    _writer: AbortOnDropHandle<()>,
    incoming: ChannelReadHalf,
    frames: Frames,
    next_id: u32,
    pending: HashMap<u32, Fate>,
    /// The handle that a verb holds.
    held: Option<Bytes>,
    /// Since the last reply, or since the first request after a pause.
    since_reply: Stopwatch,
    /// The same for single bytes.
    since_byte: Stopwatch,
    timeouts: Timeouts,
    link: Link,
    /// Added to the time-outs for a request that takes the server long.
    slowness: Duration,
    /// Set when the stream is of no more use.
    ended: Option<RemoteError>,
    pub(super) features: Features,
}

impl Session {
    /// Opens SFTP over a channel of russh's.
    pub(super) async fn over_channel(
        read: ChannelReadHalf,
        write: ChannelWriteHalf<Msg>,
        timeouts: Timeouts,
        link: Link,
    ) -> Result<Self, RemoteError> {
        let (outgoing, mut queue) = mpsc::channel::<Bytes>(SEND_QUEUE);
        // One task sends while another reads: neither waits for the other (S01).
        let writer = tokio::spawn(async move {
            while let Some(packet) = queue.recv().await {
                if write.data_bytes(packet).await.is_err() {
                    break;
                }
            }
        });
        let mut session = Self {
            outgoing,
            _writer: AbortOnDropHandle::new(writer),
            incoming: read,
            frames: Frames::default(),
            next_id: 0,
            pending: HashMap::new(),
            held: None,
            since_reply: Stopwatch::start(),
            since_byte: Stopwatch::start(),
            timeouts,
            link,
            slowness: Duration::ZERO,
            ended: None,
            features: Features {
                posix_rename: false,
                fsync: false,
                check_file: false,
                read_bytes: DEFAULT_DATA_BYTES,
                write_bytes: DEFAULT_DATA_BYTES,
            },
        };
        session.greet().await?;
        Ok(session)
    }

    async fn greet(&mut self) -> Result<(), RemoteError> {
        let step = Step::Handshake;
        self.put(step, codec::init())?;
        let packet = self.next_packet(step).await?;
        let server =
            codec::parse_version(packet).map_err(|error| self.garbled(step, error.to_string()))?;
        if server.version != codec::VERSION {
            return Err(self.end(RemoteError::new(
                step,
                RemoteFault::Unsupported {
                    what: "SFTP version 3",
                },
            )));
        }
        let offers = |name: &str| {
            server
                .extensions
                .iter()
                .any(|(offered, _)| offered.as_ref() == name.as_bytes())
        };
        self.features.posix_rename = offers(extension::POSIX_RENAME);
        self.features.fsync = offers(extension::FSYNC);
        self.features.check_file =
            offers(extension::CHECK_FILE) || offers(extension::CHECK_FILE_NAME);
        if offers(extension::LIMITS) {
            let reply = self.ask(step, codec::limits).await?;
            if let Reply::Extended(content) = reply
                && let Ok(limits) = codec::parse_limits(content)
            {
                self.features.read_bytes = data_bytes(limits, limits.read_bytes);
                self.features.write_bytes = data_bytes(limits, limits.write_bytes);
            }
        }
        Ok(())
    }

    /// Begins a verb: what an earlier one left is cleared away.
    pub(super) fn begin(&mut self, step: Step) -> Result<(), RemoteError> {
        if let Some(error) = &self.ended {
            return Err(RemoteError {
                step,
                ..error.clone()
            });
        }
        self.slowness = Duration::ZERO;
        self.abandon();
        Ok(())
    }

    /// The rest of this verb makes the server go through `bytes` of content.
    pub(super) fn allow_for(&mut self, bytes: u64) {
        self.slowness = Duration::from_secs(bytes / SLOWEST_BYTES_PER_S);
    }

    /// Awaits nothing any more of what is outstanding.
    pub(super) fn forget_outstanding(&mut self) {
        for fate in self.pending.values_mut() {
            *fate = Fate::Abandoned;
        }
    }

    /// The same, and closes the handle that is held without waiting for the
    /// answer.
    pub(super) fn abandon(&mut self) {
        self.forget_outstanding();
        if let Some(handle) = self.held.take() {
            self.close_unawaited(&handle);
        }
    }

    fn close_unawaited(&mut self, handle: &[u8]) {
        let id = self.number();
        // A queue that is full or closed leaves the handle to the server, which
        // closes it with the connection.
        if self.outgoing.try_send(codec::close(id, handle)).is_ok() {
            self.pending.insert(id, Fate::Abandoned);
        }
    }

    fn number(&mut self) -> u32 {
        self.next_id = self.next_id.wrapping_add(1);
        self.next_id
    }

    /// Sends a request without waiting for its reply. `build` gets its number.
    pub(super) fn request(
        &mut self,
        step: Step,
        build: impl FnOnce(u32) -> Bytes,
    ) -> Result<u32, RemoteError> {
        let id = self.number();
        self.put(step, build(id))?;
        self.expect(id);
        Ok(id)
    }

    /// A number for a request that is built before it is sent.
    pub(super) fn reserve(&mut self) -> u32 {
        self.number()
    }

    /// Sends a request whose number was reserved.
    pub(super) fn send_reserved(
        &mut self,
        step: Step,
        id: u32,
        packet: Bytes,
    ) -> Result<(), RemoteError> {
        self.put(step, packet)?;
        self.expect(id);
        Ok(())
    }

    fn expect(&mut self, id: u32) {
        if self.pending.is_empty() {
            self.be_patient();
        }
        self.pending.insert(id, Fate::Awaited);
    }

    fn put(&mut self, step: Step, packet: Bytes) -> Result<(), RemoteError> {
        match self.outgoing.try_send(packet) {
            Ok(()) => Ok(()),
            Err(mpsc::error::TrySendError::Full(_)) => {
                let error = RemoteError::new(
                    step,
                    RemoteFault::OverLimit {
                        what: "the number of unanswered requests",
                        limit: SEND_QUEUE as u64,
                    },
                );
                Err(self.end(error))
            }
            Err(mpsc::error::TrySendError::Closed(_)) => {
                let error = self.link.error(step);
                Err(self.end(error))
            }
        }
    }

    /// Starts the clocks anew: what we did ourselves is not the server's delay.
    pub(super) fn be_patient(&mut self) {
        self.since_reply = Stopwatch::start();
        self.since_byte = Stopwatch::start();
    }

    /// Waits for the next reply that is awaited, whichever it is. Nothing is
    /// lost when it is dropped.
    pub(super) async fn reply(&mut self, step: Step) -> Result<(u32, Reply), RemoteError> {
        loop {
            let packet = self.next_packet(step).await?;
            let (id, reply) =
                codec::parse(packet).map_err(|error| self.garbled(step, error.to_string()))?;
            self.since_reply = Stopwatch::start();
            match (self.pending.remove(&id), reply) {
                (Some(Fate::Awaited), reply) => return Ok((id, reply)),
                (Some(Fate::Abandoned), Reply::Handle(handle)) => self.close_unawaited(&handle),
                (Some(Fate::Abandoned), _) => {}
                (None, _) => {
                    return Err(self.garbled(step, format!("a reply to no request ({id})")));
                }
            }
        }
    }

    async fn next_packet(&mut self, step: Step) -> Result<Bytes, RemoteError> {
        loop {
            match self.frames.next_packet() {
                Ok(Some(packet)) => return Ok(packet),
                Ok(None) => {}
                Err(error) => return Err(self.garbled(step, error.to_string())),
            }
            let (limit, left) = self.patience();
            match timeout(left, next_bytes(&mut self.incoming)).await {
                Ok(Some(bytes)) => {
                    self.since_byte = Stopwatch::start();
                    self.frames.push(bytes);
                }
                Ok(None) => {
                    let error = self.link.error(step);
                    return Err(self.end(error));
                }
                Err(_) => {
                    let error = RemoteError::new(step, RemoteFault::TimedOut { after: limit });
                    return Err(self.end(error));
                }
            }
        }
    }

    /// The time-out that strikes first, and what is left of it.
    fn patience(&self) -> (Duration, Duration) {
        let request = self.timeouts.request.saturating_add(self.slowness);
        let stall = self.timeouts.stall.saturating_add(self.slowness);
        let left_of_request = request.saturating_sub(self.since_reply.elapsed());
        let left_of_stall = stall.saturating_sub(self.since_byte.elapsed());
        if left_of_request <= left_of_stall {
            (request, left_of_request)
        } else {
            (stall, left_of_stall)
        }
    }

    /// Asks one thing and waits for its reply.
    pub(super) async fn ask(
        &mut self,
        step: Step,
        build: impl FnOnce(u32) -> Bytes,
    ) -> Result<Reply, RemoteError> {
        let id = self.request(step, build)?;
        loop {
            let (answered, reply) = self.reply(step).await?;
            if answered == id {
                return Ok(reply);
            }
        }
    }

    /// Asks for a thing that is answered by a status.
    pub(super) async fn ask_status(
        &mut self,
        step: Step,
        verb: &'static str,
        build: impl FnOnce(u32) -> Bytes,
    ) -> Result<(), RemoteError> {
        match self.ask(step, build).await? {
            Reply::Status { code: code::OK, .. } => Ok(()),
            reply => Err(self.refusal(step, verb, reply)),
        }
    }

    /// Opens a file or folder; the handle is held until it is closed or the
    /// verb ends.
    pub(super) async fn open(
        &mut self,
        step: Step,
        verb: &'static str,
        build: impl FnOnce(u32) -> Bytes,
    ) -> Result<Bytes, RemoteError> {
        match self.ask(step, build).await? {
            Reply::Handle(handle) => {
                self.held = Some(handle.clone());
                Ok(handle)
            }
            reply => Err(self.refusal(step, verb, reply)),
        }
    }

    /// Closes the handle that is held and waits for the answer: servers say
    /// there that content could not be kept.
    pub(super) async fn close_held(&mut self, step: Step) -> Result<(), RemoteError> {
        let Some(handle) = self.held.take() else {
            return Ok(());
        };
        self.ask_status(step, "closing a file", |id| codec::close(id, &handle))
            .await
    }

    /// The error that a reply means which is not the one that was hoped for.
    pub(super) fn refusal(&mut self, step: Step, verb: &'static str, reply: Reply) -> RemoteError {
        match reply {
            Reply::Status { code, words } => {
                let words = String::from_utf8_lossy(&words);
                let fault = status::fault(code, &words, verb);
                let error = RemoteError::new(step, fault).with_words(&words);
                if error.ends_connection() {
                    return self.end(error);
                }
                error
            }
            _ => self.garbled(step, format!("a reply of another kind ({verb})")),
        }
    }

    /// The stream makes no sense: it is given up.
    pub(super) fn garbled(&mut self, step: Step, detail: String) -> RemoteError {
        self.end(RemoteError::new(step, RemoteFault::Protocol { detail }))
    }

    fn end(&mut self, error: RemoteError) -> RemoteError {
        self.ended.get_or_insert(error).clone()
    }
}

/// Content of one request that a server takes by its limits.
fn data_bytes(limits: ServerLimits, limit: u64) -> u32 {
    // 1 KiB: a handle and the fields around the content.
    let by_packet = match limits.packet_bytes {
        0 => u64::MAX,
        bytes => bytes.saturating_sub(1024),
    };
    let said = match limit {
        0 => u64::from(DEFAULT_DATA_BYTES),
        bytes => bytes,
    };
    u32::try_from(said.min(by_packet))
        .unwrap_or(u32::MAX)
        .clamp(1024, MAX_DATA_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_as_large_as_the_server_says_and_no_larger_than_ours() {
        for (packet_bytes, limit, expected) in [
            (256 * 1024, 255 * 1024, 255 * 1024),
            (0, 0, 32 * 1024),
            (0, 1 << 40, MAX_DATA_BYTES),
            (34_000, 65_536, 34_000 - 1024),
            (10, 10, 1024),
        ] {
            let limits = ServerLimits {
                packet_bytes,
                ..ServerLimits::default()
            };
            assert_eq!(
                data_bytes(limits, limit),
                expected,
                "{packet_bytes} {limit}"
            );
        }
    }
}
