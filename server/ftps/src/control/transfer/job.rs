//! One transfer: the data connection, the bytes, the end, the reply.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use layover_depot::timer::{self, Stopwatch};
use layover_depot::{
    Clue, Completion, Direction, Session, SessionReuse, Sign, Upload as Receiving, UploadMode,
    UploadOutcome, UploadPermit, UploadReceipt,
};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::super::DataPlace;
use super::super::told::ToldPort;
use super::broken_off;
use super::lists::List;
use crate::ascii::{FromWire, ToWire};
use crate::data::{DataStream, End};
use crate::passive::{ActiveFault, PortLease, connect_active};
use crate::reply::{Reply, second, size};
use crate::server::{Owner, Reserved, Shared};
use crate::tls::{Binding, DataTls, Negotiated};

/// How long a data connection may take to come: several round trips, and the
/// firewalls that ask before they let it through.
const ACCEPT_LIMIT: Duration = Duration::from_secs(30);

/// How long its TLS handshake may take (F05).
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(20);

/// How long the peer may take to end its side of a download that is sent.
const LINGER: Duration = Duration::from_secs(5);

/// How long, and how many bytes, are taken from it when they are not wanted. Most
/// clients look for the reply only when all is sent; cut before, they report a
/// broken pipe, and some of them begin again for ever.
const DECLINE_LINGER: Duration = Duration::from_secs(10);
const DECLINE_BYTES: usize = 256 * 1024 * 1024;

/// A client that sends nothing for so long has no more, and waits for the reply.
const DECLINE_SILENCE: Duration = Duration::from_secs(1);

/// How long after a bare end the control connection must still be there.
const CONTROL_OUTLIVES: Duration = Duration::from_millis(250);

/// How often a transfer makes way before a clean end counts.
const LOOKS_BEFORE_END: usize = 3;

/// So much of a file's beginning is acknowledged as it comes: behind it the client may
/// hold back the rest. In what is longer 40 ms are nothing, and an acknowledgement for
/// each piece would cost.
const EAGER_BYTES: u64 = 1024 * 1024;

/// What a download reads at once: so much at first and for a client that is slow...
const FIRST_READ_BYTES: usize = 64 * 1024;

/// ...and at most so much, which a client that takes it [`QUICKLY`] doubles up to: a
/// read may be a change of threads, and a thousand slow downloads may run at once.
const MAX_READ_BYTES: usize = 512 * 1024;

/// See [`MAX_READ_BYTES`].
const QUICKLY: Duration = Duration::from_millis(20);

/// What a transfer needs of its control connection.
pub(super) struct Carrier {
    pub(super) shared: Arc<Shared>,
    pub(super) tls: DataTls,
    pub(super) owner: Option<Owner>,
    pub(super) local: IpAddr,
    pub(super) peer: IpAddr,
    pub(super) place: DataPlace,
    pub(super) cancel: CancellationToken,
    pub(super) moved: Arc<AtomicU64>,
    pub(super) stall: Duration,
    pub(super) session_reuse: SessionReuse,
    pub(super) session: Session,
    pub(super) is_ascii: bool,
}

pub(super) struct Job {
    pub(super) carrier: Carrier,
}

/// A file that is going to be sent.
pub(super) struct Download {
    pub(super) file: layover_depot::Download,
    pub(super) from: u64,
}

/// A file that is going to come.
pub(super) struct Upload {
    pub(super) permit: UploadPermit,
    pub(super) mode: UploadMode,
    /// REST: what there is before this byte stays.
    pub(super) from: u64,
    /// ALLO: fewer bytes are no whole file.
    pub(super) announced_bytes: Option<u64>,
    /// STOU: the name that was found.
    pub(super) stored_as: Option<Vec<u8>>,
    /// STOU: keeps others from finding it.
    pub(super) reserved: Option<Reserved>,
}

/// An open data connection.
struct Open {
    stream: DataStream<TcpStream>,
    negotiated: Negotiated,
    binding: &'static str,
    moved: Arc<AtomicU64>,
    session: Session,
    is_ascii: bool,
    // Given back when the transfer is over.
    _lease: Option<PortLease>,
}

impl Carrier {
    /// The data connection, with its handshake done and its binding checked.
    async fn open(self) -> Result<Open, Reply> {
        let limit = ACCEPT_LIMIT.min(self.stall);
        let (stream, lease) = match self.place {
            DataPlace::None => return Err(Reply::new(425, "PASV or EPSV first")),
            DataPlace::Passive(listener, announced) => {
                let told = ToldPort {
                    port: listener.port(),
                    ports: self.shared.passive_range(),
                    announced,
                    peer: self.peer,
                };
                let accepted = listener.accept(limit, &self.cancel).await;
                let accepted = accepted.map_err(|fault| {
                    told.see_unreached(&self.session, &fault);
                    told.unreached(&fault).unwrap_or_else(aborted)
                })?;
                told.see_reached(&self.session);
                if accepted.strangers > 0 {
                    // F11: closed without using up the accept.
                    tracing::warn!(peer.addr = %self.peer, count = accepted.strangers, outcome = "refused", "strangers came to a data port");
                }
                (accepted.stream, Some(accepted.lease))
            }
            DataPlace::Active(target) => {
                let connected =
                    connect_active(self.local, self.peer, target, limit, &self.cancel).await;
                let stream = connected.map_err(|fault| match fault {
                    ActiveFault::Cancelled => aborted(),
                    fault => {
                        let told = fault.to_string();
                        self.session
                            .see(Clue::new(Sign::ActiveFailed).telling(&told));
                        Reply::new(425, told)
                    }
                })?;
                (stream, None)
            }
        };
        let handshake = self.tls.accept(stream, HANDSHAKE_LIMIT.min(self.stall));
        let shaken = tokio::select! {
            biased;
            () = self.cancel.cancelled() => return Err(aborted()),
            shaken = handshake => shaken,
        };
        // F04: a failed handshake is a reply like any other.
        let (tls, negotiated, binding) = shaken.map_err(|fault| {
            let told = fault.to_string();
            self.session
                .see(Clue::new(Sign::DataHandshake).telling(&told));
            Reply::new(425, format!("the data connection has no TLS: {fault}"))
        })?;
        let stream = DataStream::new(tls, self.stall, self.cancel);
        stream.acknowledge();
        let verdict = judge(&self.shared, self.session_reuse, self.owner, binding);
        let binding = match verdict {
            Ok(word) => word,
            Err(reply) => {
                tracing::warn!(peer.addr = %self.peer, outcome = "refused", reason = reply.text(), "a data connection does not belong to its control connection");
                self.session.note_refused_connection(&reply.text());
                self.session.see(Clue::new(Sign::NotResumed));
                decline(stream).await;
                return Err(reply);
            }
        };
        Ok(Open {
            stream,
            negotiated,
            binding,
            moved: self.moved,
            session: self.session,
            is_ascii: self.is_ascii,
            _lease: lease,
        })
    }
}

/// Ends a data connection whose bytes are not wanted, so that the client comes to
/// read why: cut, most clients report a broken pipe and nothing else.
async fn decline(mut stream: DataStream<TcpStream>) {
    if stream.end_ours().await.is_ok() {
        stream
            .drain(DECLINE_LINGER, DECLINE_SILENCE, DECLINE_BYTES)
            .await;
    }
}

/// Whether a data connection may carry this session's files (F16): the word for
/// the journal, or why not.
fn judge(
    shared: &Shared,
    policy: SessionReuse,
    owner: Option<Owner>,
    binding: Binding,
) -> Result<&'static str, Reply> {
    match (policy, binding) {
        (_, Binding::Bound) => Ok("bound"),
        (SessionReuse::Off, _) => Ok("unchecked"),
        (SessionReuse::Auto, Binding::Fresh) => Ok("address"),
        (SessionReuse::Auto, Binding::OtherSession(other)) => match shared.owner(other) {
            // Parallel clients share their tickets among their connections, also
            // with those that are still logging in; those prove nothing.
            None => Ok("address"),
            theirs if theirs == owner => Ok("sibling"),
            Some(_) => Err(Reply::new(
                522,
                "the data connection resumes the TLS session of somebody else",
            )),
        },
        (SessionReuse::Require, _) => Err(Reply::new(
            522,
            "the data connection must resume the TLS session of its control connection; \
             switch session reuse on in your client, or ask the operator",
        )),
    }
}

fn aborted() -> Reply {
    Reply::new(426, "the transfer was aborted")
}

/// What a data connection carried when it broke off.
#[derive(Clone, Copy, Debug)]
enum Load {
    Listing,
    /// So many bytes of a file so far.
    File(Direction, u64),
}

/// Why a transfer broke off, for people; the doctor hears of it, too.
fn broken(session: &Session, end: End, load: Load) -> Reply {
    match (end, load) {
        (End::Stalled, Load::Listing) => {
            session.see(Clue::new(Sign::Stalled).telling("listing"));
        }
        (End::Stalled, Load::File(direction, bytes)) => {
            session.see(Clue::stalled(direction, bytes));
        }
        (End::Reset | End::Damaged | End::BareFin | End::KeysUsedUp, _) => {
            session.see(Clue::new(Sign::DataBroken).telling(&end.to_string()));
        }
        (End::CloseNotify | End::Cancelled, _) => {}
    }
    interrupted(end)
}

fn interrupted(end: End) -> Reply {
    match end {
        End::Cancelled => aborted(),
        End::Stalled => Reply::new(
            426,
            "no byte came through for too long; the transfer is ended",
        ),
        other => Reply::new(426, format!("{other}; the transfer is ended")),
    }
}

fn word(end: End) -> &'static str {
    match end {
        End::CloseNotify => "close-notify",
        End::BareFin => "bare-fin",
        End::Reset => "reset",
        End::Damaged => "damaged",
        End::KeysUsedUp => "keys-used-up",
        End::Stalled => "stalled",
        End::Cancelled => "aborted",
    }
}

/// Size and rate for people.
fn amount(bytes: u64, running: Stopwatch) -> String {
    let ms = running.elapsed_ms().max(1);
    let rate = bytes.saturating_mul(1000) / ms;
    format!("{} ({}/s)", size(bytes), size(rate))
}

impl Open {
    /// Waits while the account's limit of bytes a second holds it back. The control
    /// connection is heard meanwhile, and the peer does not stall.
    async fn go_ahead(&self, direction: Direction) -> Result<(), End> {
        if self.session.is_held_back(direction) {
            self.stream.pause(self.session.go_ahead(direction)).await?;
        }
        Ok(())
    }
}

impl Job {
    /// Reads a listing and sends it, piece by piece.
    pub(super) async fn list(self, list: List) -> Reply {
        let cancel = self.carrier.cancel.clone();
        let mut open = match self.carrier.open().await {
            Ok(open) => open,
            Err(reply) => return reply,
        };
        let mut lines = list.lines();
        let mut is_begun = false;
        loop {
            let next = tokio::select! {
                biased;
                () = cancel.cancelled() => {
                    open.stream.cut().await;
                    return aborted();
                }
                next = lines.next() => next,
            };
            let piece = match next {
                Ok(Some(piece)) => piece,
                Ok(None) => break,
                Err(error) => {
                    if is_begun {
                        open.stream.cut().await;
                    } else {
                        decline(open.stream).await;
                    }
                    return broken_off(&open.session, &error);
                }
            };
            is_begun = true;
            if let Err(end) = send_lines(&mut open, piece).await {
                open.stream.cut().await;
                return broken(&open.session, end, Load::Listing);
            }
        }
        match open.stream.end_ours().await {
            Ok(()) => {
                open.stream.linger(LINGER).await;
                Reply::new(226, "the listing is sent")
            }
            Err(end) => {
                open.stream.cut().await;
                broken(&open.session, end, Load::Listing)
            }
        }
    }

    pub(super) async fn download(self, download: Download) -> Reply {
        let Download { mut file, from } = download;
        let mut open = match self.carrier.open().await {
            Ok(open) => open,
            Err(reply) => {
                file.not_begun(&reply.text());
                return reply;
            }
        };
        file.note("tls", open.negotiated.version);
        file.note("suite", open.negotiated.suite);
        file.note("data", open.binding);
        let running = Stopwatch::start();
        let (sent_bytes, sent) = send_file(&mut open, &file, from).await;
        let end = match sent {
            Ok(()) => open.stream.linger(LINGER).await,
            Err(reply) => {
                open.stream.cut().await;
                file.note("end", "interrupted");
                record(&open.session, file, sent_bytes, false).await;
                return reply;
            }
        };
        file.note("end", word(end));
        let expiry = match file.info().expires_at {
            Some(at) => format!("; it is deleted on {}", second(at)),
            None => String::new(),
        };
        record(&open.session, file, sent_bytes, true).await;
        Reply::new(226, format!("sent {}{expiry}", amount(sent_bytes, running)))
    }

    pub(super) async fn upload(self, upload: Upload) -> Reply {
        let (cancel, session) = (self.carrier.cancel.clone(), self.carrier.session.clone());
        let mut open = match self.carrier.open().await {
            Ok(open) => open,
            Err(reply) => {
                upload.permit.not_begun(&reply.text());
                return reply;
            }
        };
        // F15: nothing is made before the handshake.
        let begun = upload.permit.begin().await;
        let file = match begun {
            Ok(file) => file,
            Err(error) => {
                decline(open.stream).await;
                return broken_off(&session, &error);
            }
        };
        file.note("tls", open.negotiated.version);
        file.note("suite", open.negotiated.suite);
        file.note("data", open.binding);
        // The result is what was there up to REST and what comes now, nothing
        // behind it (F06).
        if upload.mode == UploadMode::Modify
            && file.size() > upload.from
            && let Err(error) = file.set_len(upload.from).await
        {
            decline(open.stream).await;
            return broken_off(&session, &error);
        }
        let running = Stopwatch::start();
        let (received, end) = match receive_file(&mut open, &file, upload.from).await {
            Ok(received) => received,
            Err(reply) => {
                decline(open.stream).await;
                give_up(&session, file).await;
                return reply;
            }
        };
        let end = match end {
            End::BareFin => bare_or_lost(&cancel).await,
            End::CloseNotify => closed_or_aborted(&cancel).await,
            end => end,
        };
        file.note("end", word(end));
        let completion = match end {
            // RFC 8446 s.6.1: the peer said that this is all.
            End::CloseNotify => Completion::Proven,
            End::BareFin if received > 0 => Completion::Unproven,
            end => {
                decline(open.stream).await;
                give_up(&session, file).await;
                return broken(&session, end, Load::File(Direction::Upload, received));
            }
        };
        if let Some(announced) = upload.announced_bytes
            && received < announced
        {
            decline(open.stream).await;
            give_up(&session, file).await;
            return Reply::new(
                426,
                format!("ALLO announced {announced} bytes and {received} came: not published"),
            );
        }
        // F10: Python waits for our end before it reads the reply. Who is gone
        // already needs none.
        let _ = open.stream.end_ours().await;
        drop(open);
        match file.finish(completion).await {
            Ok(receipt) => {
                if receipt.outcome == UploadOutcome::Unproven {
                    session.see(Clue::new(Sign::NoCloseNotify));
                }
                published(&receipt, received, running, upload.stored_as.as_deref())
            }
            Err(error) => broken_off(&session, &error),
        }
    }
}

async fn send_lines(open: &mut Open, lines: Vec<Vec<u8>>) -> Result<(), End> {
    let mut piece = lines.join(&b"\r\n"[..]);
    if !lines.is_empty() {
        piece.extend_from_slice(b"\r\n");
    }
    // Two of them at once are enough.
    drop(lines);
    open.stream.send(&piece).await
}

async fn send_file(
    open: &mut Open,
    file: &layover_depot::Download,
    from: u64,
) -> (u64, Result<(), Reply>) {
    let mut wire = open.is_ascii.then(ToWire::default);
    let (mut at, mut sent_bytes) = (from, 0_u64);
    let mut read_bytes = FIRST_READ_BYTES;
    loop {
        if let Err(end) = open.go_ahead(Direction::Download).await {
            return (sent_bytes, Err(interrupted(end)));
        }
        let stride = open.session.stride(Direction::Download);
        let bytes = match file.read_at(at, read_bytes.min(stride)).await {
            Ok(bytes) => bytes,
            Err(error) => return (sent_bytes, Err(broken_off(&open.session, &error))),
        };
        if bytes.is_empty() {
            break;
        }
        at = at.saturating_add(bytes.len() as u64);
        let since_read = Stopwatch::start();
        let sent = match &mut wire {
            Some(wire) => open.stream.send(&wire.convert(&bytes)).await,
            None => open.stream.send(&bytes).await,
        };
        if let Err(end) = sent {
            return (sent_bytes, Err(broken_download(open, end, sent_bytes)));
        }
        sent_bytes = sent_bytes.saturating_add(bytes.len() as u64);
        open.moved.store(sent_bytes, Ordering::Relaxed);
        read_bytes = if since_read.elapsed() < QUICKLY {
            read_bytes.saturating_mul(2).min(MAX_READ_BYTES)
        } else {
            FIRST_READ_BYTES
        };
    }
    let ended = open.stream.end_ours().await;
    let ended = ended.map_err(|end| broken_download(open, end, sent_bytes));
    (sent_bytes, ended)
}

fn broken_download(open: &Open, end: End, sent_bytes: u64) -> Reply {
    let load = Load::File(Direction::Download, sent_bytes);
    broken(&open.session, end, load)
}

/// Takes bytes until the peer's end: how many, and which end.
async fn receive_file(open: &mut Open, file: &Receiving, from: u64) -> Result<(u64, End), Reply> {
    let mut ascii = open.is_ascii.then(FromWire::default);
    let (mut at, mut received) = (from, 0_u64);
    let end = loop {
        // Before the first piece, too: what others of the account moved, or this client before
        // it broke off and came again, is to be paid for. And the end is heard when all is.
        if let Err(end) = open.go_ahead(Direction::Upload).await {
            break end;
        }
        let bytes = match open.stream.receive().await {
            Ok(bytes) => bytes,
            Err(end) => break end,
        };
        if received < EAGER_BYTES {
            open.stream.acknowledge();
        }
        received = received.saturating_add(bytes.len() as u64);
        open.moved.store(received, Ordering::Relaxed);
        let bytes = match &mut ascii {
            Some(ascii) => Bytes::from(ascii.convert(&bytes)),
            None => bytes,
        };
        let length = bytes.len() as u64;
        file.write_at(at, bytes)
            .await
            .map_err(|error| broken_off(&open.session, &error))?;
        at = at.saturating_add(length);
    };
    if let Some(rest) = ascii.map(FromWire::finish)
        && !rest.is_empty()
    {
        let written = file.write_at(at, Bytes::from_static(rest)).await;
        written.map_err(|error| broken_off(&open.session, &error))?;
    }
    Ok((received, end))
}

/// A client that is killed ends both connections at once, in any order: a bare end
/// counts only when the control connection outlives it.
async fn bare_or_lost(cancel: &CancellationToken) -> End {
    match timer::timeout(CONTROL_OUTLIVES, cancel.cancelled()).await {
        Ok(()) => End::Cancelled,
        Err(timer::Elapsed) => End::BareFin,
    }
}

/// What was said on the control connection before the end came is heard before the
/// end counts (F03, R04): the runtime looks at its sockets when a task makes way.
async fn closed_or_aborted(cancel: &CancellationToken) -> End {
    for _ in 0..LOOKS_BEFORE_END {
        tokio::task::yield_now().await;
    }
    if cancel.is_cancelled() {
        End::Cancelled
    } else {
        End::CloseNotify
    }
}

async fn record(session: &Session, file: layover_depot::Download, sent_bytes: u64, complete: bool) {
    if let Err(error) = file.finish(sent_bytes, complete).await {
        let faults = session.faults();
        faults.unrecorded("the end of a download could not be recorded", &error);
    }
}

async fn give_up(session: &Session, file: Receiving) {
    if let Err(error) = file.interrupt().await {
        let faults = session.faults();
        faults.unrecorded("an interrupted upload could not be recorded", &error);
    }
}

fn published(
    receipt: &UploadReceipt,
    received: u64,
    running: Stopwatch,
    stored_as: Option<&[u8]>,
) -> Reply {
    let text = match (receipt.outcome, receipt.expires_at) {
        (UploadOutcome::Unproven, _) => {
            return Reply::new(
                426,
                "your client closed the data connection without TLS close_notify, so the file may \
                 be incomplete and is not published; upload it again, or ask the operator for \
                 tolerant completion",
            );
        }
        (UploadOutcome::AwaitsRename, _) => {
            format!(
                "received {}; it appears when you rename it",
                amount(received, running)
            )
        }
        (UploadOutcome::Published | UploadOutcome::Unchanged, Some(at)) => {
            format!(
                "received {}; it is deleted on {}",
                amount(received, running),
                second(at)
            )
        }
        (UploadOutcome::Published | UploadOutcome::Unchanged, None) => {
            format!("received {}", amount(received, running))
        }
    };
    match stored_as {
        Some(name) => Reply::new(226, [text.as_bytes(), b"; FILE: ", name].concat()),
        None => Reply::new(226, text),
    }
}
