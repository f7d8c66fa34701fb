//! The TLS connection of a data connection, made for much data.
//!
//! The handshake is rustls' (its unbuffered API, one record at a time). Then the keys go to
//! our own record layer (`records.rs`): one read takes all that has come, up to
//! [`MAX_READ_BYTES`], its records are opened straight into one run of plaintext, and what is
//! sent is sealed straight into the buffer that is sent.
//!
//! What a peer can make a connection hold: [`MAX_READ_BYTES`] of records, as much
//! plaintext out of them, and [`MAX_SEAL_BYTES`] that it does not take. Only who fills a
//! read gets as much.

use std::fmt;
use std::io;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncodeError, EncodeTlsData, UnbufferedStatus};
use rustls::{AlertDescription, CommonState, ServerConfig};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

use super::HandshakeFault;
use super::records::{self, Fault, MAX_RECORD_BYTES, Records, Step};

/// Most that one read takes: large writes to the storeroom, and little enough for a
/// thousand transfers at once.
pub(crate) const MAX_READ_BYTES: usize = 256 * 1024;

/// What the first read takes, and those of a client that never fills it: more than the
/// longest record, and all of a small file.
const FIRST_READ_BYTES: usize = 20 * 1024;
const _: () = assert!(FIRST_READ_BYTES > MAX_RECORD_BYTES);

/// How much more the next read takes when one was filled.
const READ_GROWTH: usize = 4;

/// Plaintext that is sealed at once, when all before it was sent.
const MAX_SEAL_BYTES: usize = 128 * 1024;

/// Most that a handshake may leave unread: rustls takes no message longer than that.
const MAX_HANDSHAKE_BYTES: usize = 128 * 1024;

/// Why nothing more comes, or goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Halt {
    /// The peer said that this is all.
    CloseNotify,
    /// The peer's FIN, without close_notify.
    Fin,
    /// The socket failed.
    Reset,
    /// The record layer stopped; the peer is told why.
    Broken(Fault),
}

/// A server's TLS connection over `S`, after its handshake.
pub(crate) struct RecordStream<S> {
    socket: S,
    records: Records,
    /// What came and is not opened yet.
    incoming: Buffer,
    /// What the next read takes together with it.
    read_bytes: usize,
    opened: Opened,
    /// What is sealed and not sent yet.
    outgoing: Buffer,
    moved_bytes: u64,
    /// The peer's direction is over.
    halted: Option<Halt>,
    has_ended: bool,
}

impl<S> fmt::Debug for RecordStream<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordStream").finish_non_exhaustive()
    }
}

impl<S> RecordStream<S> {
    pub(crate) fn socket(&self) -> &S {
        &self.socket
    }

    /// Bytes that the socket took and gave so far: a slow peer differs from a stalled
    /// one also within one large write.
    pub(crate) fn moved_bytes(&self) -> u64 {
        self.moved_bytes
    }

    #[cfg(test)]
    pub(super) fn into_records(self) -> Records {
        self.records
    }

    /// Whether [`RecordStream::take`] would give anything.
    pub(crate) fn holds_plaintext(&self) -> bool {
        self.opened.filled > 0
    }

    /// All plaintext that was opened.
    pub(crate) fn take(&mut self) -> Bytes {
        self.opened.lend()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> RecordStream<S> {
    /// Does the handshake; `look` sees what it agreed on.
    pub(super) async fn accept<T>(
        config: Arc<ServerConfig>,
        mut socket: S,
        look: impl FnOnce(&CommonState) -> T,
    ) -> Result<(Self, T), HandshakeFault> {
        let connection = UnbufferedServerConnection::new(config)
            .map_err(|error| HandshakeFault::of_tls(&error))?;
        let mut shaking = Shaking {
            connection,
            incoming: Buffer::default(),
            outgoing: Buffer::default(),
            seen_bytes: 0,
        };
        loop {
            let progress = shaking.proceed();
            if progress.is_err() {
                shaking.seal_alert();
            }
            let sent = socket.write_all(shaking.outgoing.held()).await;
            // The fault itself says more than that nobody reads the alert.
            let is_done = progress?;
            let flushed = socket.flush().await;
            sent.and(flushed).map_err(|_| HandshakeFault::Cut)?;
            shaking.outgoing.release(shaking.outgoing.len());
            if is_done {
                break;
            }
            let free = MAX_HANDSHAKE_BYTES.saturating_sub(shaking.incoming.len());
            if free == 0 {
                return Err(HandshakeFault::Broken {
                    detail: "a message is too long".to_owned(),
                });
            }
            let room = shaking.incoming.room(free.min(FIRST_READ_BYTES));
            match socket.read(room).await {
                Ok(count) if count > 0 => shaking.incoming.add(count),
                _ => return Err(HandshakeFault::Cut),
            }
        }
        let agreed = look(&shaking.connection);
        let (secrets, kernel) = shaking
            .connection
            .dangerous_into_kernel_connection()
            .map_err(|_| HandshakeFault::Unable)?;
        let stream = Self {
            socket,
            records: Records::new(secrets, kernel).ok_or(HandshakeFault::Unable)?,
            incoming: shaking.incoming,
            read_bytes: FIRST_READ_BYTES,
            opened: Opened::default(),
            outgoing: Buffer::default(),
            moved_bytes: 0,
            halted: None,
            has_ended: false,
        };
        Ok((stream, agreed))
    }

    /// Waits until there is plaintext to [`RecordStream::take`], and gathers what is
    /// there. A [`Halt`] comes behind all plaintext, and again each time.
    pub(crate) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Halt>> {
        loop {
            let is_full = self.open_all();
            if is_full && self.holds_plaintext() {
                return Poll::Ready(Ok(()));
            }
            match self.halted {
                Some(_) if self.holds_plaintext() => return Poll::Ready(Ok(())),
                Some(halt) => {
                    // As far as the socket takes it: the alert that says why.
                    let _ = self.poll_flush(cx);
                    return Poll::Ready(Err(halt));
                }
                None => {}
            }
            match self.poll_read(cx) {
                Poll::Ready(()) => {}
                Poll::Pending if self.holds_plaintext() => return Poll::Ready(Ok(())),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Seals bytes from the front of `plain`, as soon as those before them are sent:
    /// how many. They may wait until [`RecordStream::poll_flush`].
    pub(crate) fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        plain: &[u8],
    ) -> Poll<Result<usize, Halt>> {
        ready!(self.poll_flush(cx))?;
        // Who broke the protocol gets its alert, and nothing else.
        if let Some(halt @ Halt::Broken(_)) = self.halted {
            return Poll::Ready(Err(halt));
        }
        let plain = plain.get(..MAX_SEAL_BYTES).unwrap_or(plain);
        let room = self.outgoing.room(Records::room_bytes(plain.len()));
        let sealed = self.records.seal(plain, room).map_err(Halt::Broken)?;
        self.outgoing.add(sealed);
        // Whether they go at once or not, they are taken.
        if let Poll::Ready(sent) = self.poll_flush(cx) {
            sent?;
        }
        Poll::Ready(Ok(plain.len()))
    }

    /// Sends what is sealed.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Halt>> {
        while !self.outgoing.is_empty() {
            let sent = Pin::new(&mut self.socket).poll_write(cx, self.outgoing.held());
            match ready!(sent) {
                Ok(0) | Err(_) => return Poll::Ready(Err(Halt::Reset)),
                Ok(count) => {
                    self.outgoing.release(count);
                    self.count(count);
                }
            }
        }
        let flushed = ready!(Pin::new(&mut self.socket).poll_flush(cx));
        Poll::Ready(flushed.map_err(|_| Halt::Reset))
    }

    /// Sends what is sealed, close_notify (or the alert that says what was wrong), and
    /// FIN.
    pub(crate) fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Halt>> {
        let is_first = !mem::replace(&mut self.has_ended, true);
        if is_first && !matches!(self.halted, Some(Halt::Broken(_))) {
            self.seal_alert(AlertDescription::CloseNotify)?;
        }
        ready!(self.poll_flush(cx))?;
        let ended = ready!(Pin::new(&mut self.socket).poll_shutdown(cx));
        Poll::Ready(ended.map_err(|_| Halt::Reset))
    }

    /// Ends our side without close_notify.
    pub(crate) async fn cut(mut self) -> io::Result<()> {
        self.socket.shutdown().await
    }

    /// Takes what has come, or the peer's end.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // `open_all` leaves less than a record there, and a read is longer.
        let free = self.read_bytes.saturating_sub(self.incoming.len());
        let mut read = ReadBuf::new(self.incoming.room(free));
        let polled = Pin::new(&mut self.socket).poll_read(cx, &mut read);
        let count = read.filled().len();
        match ready!(polled) {
            Ok(()) if count == 0 => self.halted = Some(Halt::Fin),
            Ok(()) => {}
            Err(_) => self.halted = Some(Halt::Reset),
        }
        self.incoming.add(count);
        self.count(count);
        if count == free {
            let more = self.read_bytes.saturating_mul(READ_GROWTH);
            self.read_bytes = more.min(MAX_READ_BYTES);
        }
        Poll::Ready(())
    }

    fn count(&mut self, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.moved_bytes = self.moved_bytes.saturating_add(bytes);
    }

    /// Opens the records that came whole: whether some are left, because there is no room.
    fn open_all(&mut self) -> bool {
        while !matches!(self.halted, Some(Halt::CloseNotify | Halt::Broken(_))) {
            let room = self.opened.room(self.read_bytes);
            match self.records.open(self.incoming.held(), room) {
                Ok(Step::NeedsMore) => return false,
                Ok(Step::NeedsRoom) => return true,
                Ok(Step::Took {
                    record_bytes,
                    plain_bytes,
                }) => {
                    self.incoming.release(record_bytes);
                    self.opened.filled += plain_bytes;
                }
                Ok(Step::Closed) => self.halted = Some(Halt::CloseNotify),
                Err(fault) => {
                    self.halted = Some(Halt::Broken(fault));
                    if let Some(alert) = fault.alert() {
                        // The fault itself says more than that nobody is told.
                        let _ = self.seal_alert(alert);
                    }
                }
            }
        }
        false
    }

    fn seal_alert(&mut self, alert: AlertDescription) -> Result<(), Halt> {
        let room = self.outgoing.room(Records::room_bytes(1));
        let sealed = self.records.seal_alert(alert, room);
        self.outgoing.add(sealed.map_err(Halt::Broken)?);
        Ok(())
    }
}

/// A handshake that is going on.
struct Shaking {
    connection: UnbufferedServerConnection,
    incoming: Buffer,
    outgoing: Buffer,
    /// Whole records at the front that rustls has seen and still needs: the beginning of a
    /// message. It sees one more at a time, because what is behind the handshake it must
    /// not see; that is for our record layer.
    seen_bytes: usize,
}

impl Shaking {
    /// Goes as far as what came allows: whether the handshake is done. What it seals is to
    /// be sent, also after a fault.
    fn proceed(&mut self) -> Result<bool, HandshakeFault> {
        loop {
            let came = self.incoming.held();
            let end = records::record_end(came, self.seen_bytes);
            let fed_bytes = end.unwrap_or(came.len());
            let fed = self.incoming.held_mut().get_mut(..fed_bytes);
            let status = self.connection.process_tls_records(fed.unwrap_or_default());
            let UnbufferedStatus { discard, state, .. } = status;
            let mut is_blocked = false;
            match state.map_err(|error| HandshakeFault::of_tls(&error))? {
                ConnectionState::EncodeTlsData(answer) => self.outgoing.encode(answer),
                // Whatever is sealed later is sent behind them.
                ConnectionState::TransmitTlsData(answers) => answers.done(),
                ConnectionState::WriteTraffic(_) => {
                    self.incoming.release(discard);
                    return Ok(true);
                }
                ConnectionState::BlockedHandshake => is_blocked = true,
                ConnectionState::PeerClosed | ConnectionState::Closed => {
                    return Err(HandshakeFault::Cut);
                }
                _ => return Err(HandshakeFault::Unable),
            }
            self.incoming.release(discard);
            match end {
                // Messages go as a whole, with all of their records.
                _ if discard > 0 => self.seen_bytes = 0,
                Some(end) if is_blocked => self.seen_bytes = end,
                None if is_blocked => return Ok(false),
                _ => {}
            }
        }
    }

    /// After a fault: the alert, and what was to be sent before it.
    fn seal_alert(&mut self) {
        while self.connection.wants_write() {
            let status = self.connection.process_tls_records(&mut []);
            let Ok(ConnectionState::EncodeTlsData(answer)) = status.state else {
                return;
            };
            self.outgoing.encode(answer);
        }
    }
}

/// Plaintext, in a buffer that goes to the storeroom and comes back.
#[derive(Default)]
struct Opened {
    room: BytesMut,
    filled: usize,
    lent: Option<Bytes>,
}

impl Opened {
    /// What is free of so many bytes.
    fn room(&mut self, size: usize) -> &mut [u8] {
        if self.filled == 0 && self.room.len() < size {
            let back = self.lent.take().and_then(|lent| lent.try_into_mut().ok());
            self.room = back
                .filter(|back| back.len() >= size)
                .unwrap_or_else(|| BytesMut::zeroed(size));
        }
        self.room.get_mut(self.filled..).unwrap_or_default()
    }

    fn lend(&mut self) -> Bytes {
        let whole = mem::take(&mut self.room).freeze();
        let bytes = whole.slice(..mem::take(&mut self.filled));
        self.lent = Some(whole);
        bytes
    }
}

/// Bytes that are held, and room behind them.
#[derive(Default)]
struct Buffer {
    bytes: Vec<u8>,
    from: usize,
    to: usize,
}

impl Buffer {
    fn len(&self) -> usize {
        self.to.saturating_sub(self.from)
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn held(&self) -> &[u8] {
        self.bytes.get(self.from..self.to).unwrap_or_default()
    }

    fn held_mut(&mut self) -> &mut [u8] {
        self.bytes.get_mut(self.from..self.to).unwrap_or_default()
    }

    /// So many bytes behind those that are held.
    fn room(&mut self, size: usize) -> &mut [u8] {
        if self.is_empty() {
            (self.from, self.to) = (0, 0);
        } else if self.from > 0 {
            self.bytes.copy_within(self.from..self.to, 0);
            (self.from, self.to) = (0, self.len());
        }
        let end = self.to.saturating_add(size);
        if self.bytes.len() < end && self.to == 0 {
            self.bytes = vec![0; end];
        } else if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        self.bytes.get_mut(self.to..end).unwrap_or_default()
    }

    /// So many bytes were written into the room.
    fn add(&mut self, count: usize) {
        self.to = self.to.saturating_add(count).min(self.bytes.len());
    }

    /// So many bytes are done with.
    fn release(&mut self, count: usize) {
        self.from = self.from.saturating_add(count).min(self.to);
    }

    fn encode(&mut self, mut answer: EncodeTlsData<'_, ServerConnectionData>) {
        let mut size = 0;
        loop {
            match answer.encode(self.room(size)) {
                Ok(count) => return self.add(count),
                Err(EncodeError::InsufficientSize(needed)) => size = needed.required_size,
                Err(EncodeError::AlreadyEncoded) => return,
            }
        }
    }
}

#[cfg(test)]
mod tests;
