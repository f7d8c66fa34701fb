//! One SFTP channel: a task that takes requests and does them, a task that
//! sends replies.
//!
//! russh delivers what the client sends through a bounded queue; while that
//! queue is full the whole connection waits, and with it the news that the
//! client's window has opened. So the task that empties the queue must never
//! wait for the window (S01): replies go to the [`Outbox`], and a READ that
//! finds no budget there waits aside, with whatever comes after it for the same
//! handle, while all other handles go on. So does a READ or WRITE that the account's
//! limit of bytes a second holds back. Only a client that sends more data than
//! [`MAX_HELD_BACK_BYTES`] ahead of its limit is not listened to for a while: what
//! it waits for then is time, and never its own window.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{BoxFuture, OptionFuture};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use layover_depot::{Clue, Direction, Session, timer};
use layover_retention::Clock;
use russh::server::Msg;
use russh::{ChannelMsg, ChannelReadHalf, ChannelWriteHalf};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::activity::{Activity, Unanswered};
use crate::codec::{self, Body, Frames, Garbled, Handle, Packet, Request};
use crate::handles::{Handles, Open};
use crate::outbox::{Outbox, OutboxError, Reply, SendEnd, send_all};
use crate::requests::{Requests, Stopping};
use crate::waiting::{Moves, Waiting};

/// Requests that may wait for budget, over all handles; READs that follow one
/// another count as one. OpenSSH's `sftp -R` allows 1,024 in any order.
pub(crate) const MAX_WAITING_REQUESTS: usize = 4096;

/// Data of WRITE requests that wait behind a READ of the same handle, in bytes.
const MAX_WAITING_BYTES: usize = 16 * 1024 * 1024;

/// Data of WRITE requests that the account's limit of bytes a second may make wait, in bytes: what
/// 64 requests of 32 KiB hold, as `sftp` and others have on their way. Beyond it nothing more
/// is taken from the client, so that TCP holds it back.
const MAX_HELD_BACK_BYTES: usize = 2 * 1024 * 1024;

/// How many requests that may be, however small.
const MAX_HELD_BACK_REQUESTS: usize = 1024;

/// How often a request looks whether its connection goes on after all.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// How long a client may take to take the end of a channel.
const FAREWELL: Duration = Duration::from_secs(2);

/// What a channel is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// The client has not said what it wants.
    Unknown,
    /// The `sftp` subsystem.
    Sftp,
}

/// Why a channel ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChannelFault {
    #[error("the client broke the protocol: {0}")]
    Garbled(#[from] Garbled),
    #[error("the client sent data before it asked for the sftp subsystem")]
    NoSubsystem,
    #[error("the client's first packet is not INIT, or INIT came twice")]
    BadInit,
    #[error("more than {MAX_WAITING_REQUESTS} requests wait")]
    TooManyRequests,
    #[error(transparent)]
    Outbox(#[from] OutboxError),
}

/// What a channel needs from its connection.
#[derive(Clone)]
pub(crate) struct ChannelContext {
    pub(crate) session: Session,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) activity: Arc<Activity>,
    pub(crate) stall_timeout: Duration,
    pub(crate) soft: CancellationToken,
    pub(crate) hard: CancellationToken,
}

/// Serves a channel until the client closes it, the connection is lost, or the
/// peer breaks the protocol. Whatever is still open then is interrupted: an
/// unfinished upload stays as a hidden partial.
pub(crate) async fn serve(
    context: ChannelContext,
    mut from_client: ChannelReadHalf,
    to_client: ChannelWriteHalf<Msg>,
    purpose: watch::Receiver<Purpose>,
) {
    let (outbox, outgoing) = Outbox::new(Arc::clone(&context.activity));
    let mut dispatcher = Dispatcher::new(context.clone(), outbox);
    // Nobody reads replies any more, or nobody shall.
    let deaf = CancellationToken::new();
    let requests = async {
        let ended = tokio::select! {
            ended = dispatcher.run(&mut from_client, &purpose) => ended,
            () = context.hard.cancelled() => Ok(Left::Gone),
        };
        // From here on russh throws away what the client still sends, so that
        // nothing can fill up behind us.
        drop(from_client);
        if !matches!(ended, Ok(Left::Listening)) {
            deaf.cancel();
        }
        dispatcher.interrupt_all().boxed().await;
        // Dropping it closes the outbox: the sender empties it and ends.
        drop(dispatcher);
        ended
    };
    let replies = async {
        let sent = tokio::select! {
            sent = send_all(outgoing, &to_client, context.stall_timeout) => sent,
            // Queued replies are memory; they go with the client (S07). Whoever
            // broke the protocol gets none either.
            () = deaf.cancelled() => SendEnd::Closed,
            () = context.hard.cancelled() => SendEnd::Closed,
        };
        if sent == SendEnd::Stalled {
            tracing::info!(
                session.id = %context.session.id(),
                outcome = "stalled",
                "the client takes no replies"
            );
            context.activity.stalled();
            context.hard.cancel();
        }
    };
    let (ended, ()) = tokio::join!(requests, replies);
    if let Err(fault) = &ended {
        tracing::info!(
            session.id = %context.session.id(),
            account.name = %context.session.account_name(),
            outcome = "ended",
            "sftp channel ended: {fault}"
        );
    }
    let farewell = async {
        // RFC 4254 s.6.10: clients take a missing status for a crash.
        let _ = to_client.exit_status(u32::from(ended.is_err())).await;
        let _ = to_client.eof().await;
        let _ = to_client.close().await;
    };
    // A client that opens no window holds the farewell back, too.
    let said = tokio::select! {
        said = timer::timeout(FAREWELL, farewell).boxed() => said.is_ok(),
        () = context.hard.cancelled() => true,
    };
    if !said {
        context.hard.cancel();
    }
}

/// How a client left its channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    /// It sends nothing more, and takes the replies.
    Listening,
    /// The channel is closed, or the connection is lost.
    Gone,
}

struct Dispatcher {
    handles: Handles,
    frames: Frames,
    /// Whether some of what `frames` has is not taken yet.
    behind: bool,
    /// Handles with waiting requests, each once, in turn.
    turns: VecDeque<Handle>,
    waiting_requests: usize,
    waiting_bytes: usize,
    /// How many open handles the connection knows of.
    reported_open: usize,
    greeted: bool,
    /// Refusals of what is repeated in vain, until their time.
    late: FuturesUnordered<BoxFuture<'static, (Reply, Unanswered)>>,
    outbox: Outbox,
    context: ChannelContext,
}

/// Refusals of one channel that may wait: a client that asks for more at a time is answered
/// at once.
const MAX_LATE: usize = 16;

impl Dispatcher {
    fn new(context: ChannelContext, outbox: Outbox) -> Self {
        Self {
            handles: Handles::default(),
            frames: Frames::default(),
            behind: false,
            turns: VecDeque::new(),
            waiting_requests: 0,
            waiting_bytes: 0,
            reported_open: 0,
            greeted: false,
            late: FuturesUnordered::new(),
            outbox,
            context,
        }
    }

    async fn run(
        &mut self,
        from_client: &mut ChannelReadHalf,
        purpose: &watch::Receiver<Purpose>,
    ) -> Result<Left, ChannelFault> {
        loop {
            // Made, and boxed, only where something waits: idle channels are many.
            let waits = !self.turns.is_empty();
            let ready = OptionFuture::from(waits.then(|| self.until_ready().boxed()));
            tokio::select! {
                message = from_client.wait(), if self.listens() && !self.behind => match message {
                    Some(ChannelMsg::Data { data }) => {
                        if *purpose.borrow() != Purpose::Sftp {
                            return Err(ChannelFault::NoSubsystem);
                        }
                        self.take(data).await?;
                    }
                    Some(ChannelMsg::Eof) => return self.finish_waiting(from_client).await,
                    Some(ChannelMsg::Close) | None => return Ok(Left::Gone),
                    Some(_) => {}
                },
                Some(()) = ready => self.resume_one().await?,
                Some((refusal, _unanswered)) = self.late.next(), if !self.late.is_empty() => {
                    self.outbox.put(refusal)?;
                }
            }
        }
    }

    /// Whether what a request moves may move now.
    fn may_go(&self, moves: Moves) -> bool {
        let session = &self.context.session;
        match moves {
            Moves::Down => self.outbox.is_open() && !session.is_held_back(Direction::Download),
            Moves::Up => !session.is_held_back(Direction::Upload),
            Moves::Nothing => true,
        }
    }

    /// What the requests move whose turn comes first, one of each handle.
    fn oldest(&self) -> impl Iterator<Item = Moves> {
        let waiting = self
            .turns
            .iter()
            .map(|handle| self.handles.waiting(*handle));
        waiting.filter_map(|waiting| waiting?.oldest())
    }

    /// Whether as much waits for the account's limit as may.
    fn is_far_ahead(&self) -> bool {
        let is_much = self.waiting_bytes >= MAX_HELD_BACK_BYTES
            || self.waiting_requests >= MAX_HELD_BACK_REQUESTS;
        is_much && self.oldest().any(|moves| moves == Moves::Up)
    }

    /// Whether more is taken from the client just now.
    fn listens(&self) -> bool {
        !self.is_far_ahead() || self.may_go(Moves::Up)
    }

    /// Resolves when [`Dispatcher::resume_one`] is worth a try.
    fn until_ready(&self) -> impl Future<Output = ()> + Send + use<> {
        let (mut down, mut up, mut nothing) = (false, false, false);
        for moves in self.oldest() {
            match moves {
                Moves::Down => down = true,
                Moves::Up => up = true,
                Moves::Nothing => nothing = true,
            }
        }
        let pace = Pace {
            session: self.context.session.clone(),
            activity: Arc::clone(&self.context.activity),
            deaf: (!self.listens()).then(|| self.outbox.clone()),
        };
        let outbox = self.outbox.clone();
        async move {
            let data = async {
                outbox.budget().await;
                pace.go_ahead(Direction::Download).await;
            };
            tokio::select! {
                () = std::future::ready(()), if nothing => {}
                () = data, if down => {}
                () = pace.go_ahead(Direction::Upload), if up => {}
                else => {}
            }
        }
    }

    async fn take(&mut self, data: Bytes) -> Result<(), ChannelFault> {
        self.frames.push(data);
        self.context.activity.asked();
        self.take_requests().await
    }

    /// Does every request that is complete, or lets it wait, as far as there is room.
    async fn take_requests(&mut self) -> Result<(), ChannelFault> {
        loop {
            self.behind = self.is_far_ahead();
            if self.behind {
                return Ok(());
            }
            let Some(packet) = self.frames.next_packet()? else {
                return Ok(());
            };
            match (codec::parse(packet)?, self.greeted) {
                (Packet::Init { .. }, false) => {
                    self.greeted = true;
                    self.outbox.put(codec::version())?;
                }
                (Packet::Init { .. }, true) | (Packet::Request(_), false) => {
                    return Err(ChannelFault::BadInit);
                }
                (Packet::Request(request), true) => self.accept(request).await?,
            }
        }
    }

    async fn accept(&mut self, mut request: Request) -> Result<(), ChannelFault> {
        let must_wait = !self.may_go(Moves::by(&request.body));
        if let Some(handle) = handle_of(&request.body)
            && let Some(slot) = self.handles.get(Some(handle))
            && (must_wait || !slot.waiting.is_empty())
        {
            if slot.waiting.is_empty() {
                self.turns.push_back(handle);
            }
            if let Body::Write { data, .. } = &mut request.body {
                // A slice would keep the whole SSH packet it came in (S05).
                *data = Bytes::copy_from_slice(data);
            }
            self.waiting_bytes += data_bytes(&request.body);
            self.waiting_requests += slot.waiting.push(request);
            if self.waiting_requests > MAX_WAITING_REQUESTS
                || self.waiting_bytes > MAX_WAITING_BYTES
            {
                return Err(ChannelFault::TooManyRequests);
            }
            return Ok(());
        }
        self.answer(request).await
    }

    /// Does the next waiting request of the first handle whose turn it is and that may go on.
    async fn resume_one(&mut self) -> Result<(), ChannelFault> {
        let ready = self.turns.iter().position(|handle| {
            let waiting = self.handles.waiting(*handle);
            let oldest = waiting.and_then(Waiting::oldest);
            oldest.is_none_or(|moves| self.may_go(moves))
        });
        let Some(handle) = ready.and_then(|index| self.turns.remove(index)) else {
            return Ok(());
        };
        let Some(slot) = self.handles.get(Some(handle)) else {
            return Ok(());
        };
        let Some((request, gone)) = slot.waiting.pop() else {
            return Ok(());
        };
        if !slot.waiting.is_empty() {
            self.turns.push_back(handle);
        }
        self.waiting_requests -= gone;
        self.waiting_bytes -= data_bytes(&request.body);
        self.answer(request).await?;
        self.take_requests().await
    }

    /// The client sends nothing more; what it asked for is still done, as long
    /// as it takes the replies.
    async fn finish_waiting(
        &mut self,
        from_client: &mut ChannelReadHalf,
    ) -> Result<Left, ChannelFault> {
        while !self.turns.is_empty() || !self.late.is_empty() {
            let waits = !self.turns.is_empty();
            let ready = OptionFuture::from(waits.then(|| self.until_ready()));
            tokio::select! {
                Some(()) = ready => self.resume_one().await?,
                Some((refusal, _unanswered)) = self.late.next(), if !self.late.is_empty() => {
                    self.outbox.put(refusal)?;
                }
                message = from_client.wait() => {
                    if matches!(message, Some(ChannelMsg::Close) | None) {
                        return Ok(Left::Gone);
                    }
                }
            }
        }
        Ok(Left::Listening)
    }

    async fn answer(&mut self, request: Request) -> Result<(), ChannelFault> {
        let stopping = if self.context.soft.is_cancelled() {
            Stopping::Yes
        } else {
            Stopping::No
        };
        let mut requests = Requests {
            session: &self.context.session,
            clock: &*self.context.clock,
            handles: &mut self.handles,
            activity: &self.context.activity,
            stopping,
        };
        // Boxed: the verbs below are deep, and one state machine of all of them
        // would be kept for every idle channel (and is beyond the compiler).
        let is_open = matches!(request.body, Body::Open { .. });
        // A server that stops waits for it; what it cannot tell any more it does not do.
        let unanswered = loop {
            match self.context.activity.answering() {
                Some(unanswered) => break unanswered,
                None => timer::sleep(LOOK_AGAIN).await,
            }
        };
        let reply = requests.answer(request).boxed().await;
        // Nothing else waits: other handles go on, and the next requests are done.
        if is_open
            && let Some(delay) = self.context.session.take_owed_delay()
            && self.late.len() < MAX_LATE
        {
            let refusal = async move {
                timer::sleep(delay).await;
                (reply, unanswered)
            };
            self.late.push(refusal.boxed());
            return Ok(());
        }
        self.outbox.put(reply)?;
        // Behind the reply: a server that stops waits for what is open, then for replies.
        self.report_open();
        Ok(())
    }

    /// Tells the doctor of the transfers that stood still: of each direction once.
    fn see_stalled(&self) {
        let (mut uploads, mut downloads) = (None, None);
        for open in self.handles.all() {
            match open {
                Open::Writing { file, .. } => {
                    let bytes = uploads.get_or_insert(0_u64);
                    *bytes = bytes.saturating_add(file.size());
                }
                Open::Reading {
                    file, sent_bytes, ..
                } if *sent_bytes < file.size() => {
                    let bytes = downloads.get_or_insert(0_u64);
                    *bytes = bytes.saturating_add(*sent_bytes);
                }
                Open::Reading { .. } | Open::Listing(_) => {}
            }
        }
        // What still waits here did not go.
        let unsent_bytes = u64::try_from(self.outbox.queued_bytes()).unwrap_or(u64::MAX);
        let sent = downloads.map(|bytes| bytes.saturating_sub(unsent_bytes));
        for (direction, bytes) in [(Direction::Upload, uploads), (Direction::Download, sent)] {
            if let Some(bytes) = bytes {
                self.context.session.see(Clue::stalled(direction, bytes));
            }
        }
    }

    async fn interrupt_all(&mut self) {
        if self.context.activity.has_stalled() {
            self.see_stalled();
        }
        for slot in self.handles.drain() {
            match slot.open {
                Open::Writing { file, .. } => {
                    if let Err(error) = file.interrupt().await {
                        tracing::warn!(
                            session.id = %self.context.session.id(),
                            error = &error as &dyn std::error::Error,
                            "an interrupted upload could not be kept"
                        );
                    }
                }
                Open::Reading {
                    file, sent_bytes, ..
                } => {
                    if let Err(error) = file.finish(sent_bytes, false).await {
                        tracing::warn!(
                            session.id = %self.context.session.id(),
                            error = &error as &dyn std::error::Error,
                            "the end of a download could not be recorded"
                        );
                    }
                }
                Open::Listing(_) => {}
            }
        }
        self.report_open();
    }

    fn report_open(&mut self) {
        let open = self.handles.len();
        self.context.activity.open_changed(self.reported_open, open);
        self.reported_open = open;
    }
}

/// Waits for the account's limit of bytes a second, and says so to whoever looks for
/// transfers that stand still.
struct Pace {
    session: Session,
    activity: Arc<Activity>,
    /// The client is not listened to meanwhile; its replies wait here.
    deaf: Option<Outbox>,
}

impl Pace {
    async fn go_ahead(&self, direction: Direction) {
        if let Some(outbox) = &self.deaf {
            outbox.excuse();
        }
        while !self.session.go_ahead_soon(direction).await {
            self.activity.asked();
            if let Some(outbox) = &self.deaf {
                outbox.excuse();
            }
        }
    }
}

/// The handle that a request is for.
fn handle_of(body: &Body) -> Option<Handle> {
    match body {
        Body::Close { handle }
        | Body::Read { handle, .. }
        | Body::Write { handle, .. }
        | Body::Fstat { handle }
        | Body::Fsetstat { handle, .. }
        | Body::Readdir { handle }
        | Body::Fsync { handle }
        | Body::Fstatvfs { handle } => *handle,
        Body::CopyData { to, .. } => *to,
        _ => None,
    }
}

fn data_bytes(body: &Body) -> usize {
    match body {
        Body::Write { data, .. } => data.len(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests;
