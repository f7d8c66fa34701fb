//! Replies on their way to the client.
//!
//! One task per channel sends; whoever encodes a reply never waits for the
//! client. Data waits for a budget instead: a READ that finds the budget used
//! up is put aside by the dispatcher, so that a client that does not read can
//! neither stop its own requests from being drained (S01) nor grow our memory
//! (S05).

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use layover_depot::timer;
use russh::ChannelWriteHalf;
use russh::server::Msg;
use tokio::sync::{Notify, mpsc};

use crate::activity::Activity;
use crate::codec;

/// File data that may be on its way to one client channel, in bytes: as much
/// as the window that OpenSSH's client opens, four times over.
pub(crate) const DATA_BUDGET_BYTES: usize = 8 * 1024 * 1024;

/// Everything that may be on its way, small replies included. A client that
/// sends requests and reads no replies is cut off here.
pub(crate) const MAX_QUEUED_BYTES: usize = DATA_BUDGET_BYTES + 4 * 1024 * 1024;

/// Replies are put together up to this size, in bytes: fewer packets to
/// encrypt and to send.
const COALESCE_BYTES: usize = 128 * 1024;

/// A piece of at least so many bytes is sent as it is: putting it together with
/// its neighbours would cost a copy and save no packet.
const LARGE_BYTES: usize = 64 * 1024;

/// What a reply costs besides its bytes: its place in the queue and what the
/// allocator adds. Without it, a client could make us keep several times
/// [`MAX_QUEUED_BYTES`] in replies of 30 bytes (S05).
const REPLY_COST_BYTES: usize = 128;

/// A reply on its way: one packet. File data is a piece of its own, so that it
/// is sent from where it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    head: Bytes,
    data: Bytes,
}

impl Reply {
    /// An `SSH_FXP_DATA` packet; `data` must own no more memory than it shows.
    pub(crate) fn data(id: u32, data: Bytes) -> Self {
        let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
        Self {
            head: Bytes::copy_from_slice(&codec::data_header(id, length)),
            data,
        }
    }

    fn cost(&self) -> usize {
        REPLY_COST_BYTES
            .saturating_add(self.head.len())
            .saturating_add(self.data.len())
    }
}

impl From<Bytes> for Reply {
    fn from(packet: Bytes) -> Self {
        Self {
            head: packet,
            data: Bytes::new(),
        }
    }
}

/// One channel's replies. Clones are the same outbox.
#[derive(Clone, Debug)]
pub(crate) struct Outbox {
    queue: mpsc::UnboundedSender<Reply>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    queued_bytes: AtomicUsize,
    /// Nobody sends any more.
    over: AtomicBool,
    sent: Notify,
    /// A connection is not ended in order while a reply is on its way.
    activity: Arc<Activity>,
}

impl Shared {
    fn queued(&self, cost: usize) -> usize {
        self.activity.unsent_changed(0, cost);
        self.queued_bytes.fetch_add(cost, Ordering::AcqRel)
    }

    fn handed_over(&self, cost: usize) {
        self.queued_bytes.fetch_sub(cost, Ordering::AcqRel);
        self.activity.unsent_changed(cost, 0);
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // What nobody takes any more is on no way.
        self.activity
            .unsent_changed(*self.queued_bytes.get_mut(), 0);
    }
}

/// The client reads no replies, or is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum OutboxError {
    /// More than [`MAX_QUEUED_BYTES`] wait.
    #[error("the client sends requests and reads no replies")]
    Overflow,
    /// The channel is closed.
    #[error("the channel is closed")]
    Closed,
}

/// How sending ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SendEnd {
    /// Every reply was handed over.
    Drained,
    /// The channel is closed.
    Closed,
    /// The client opened no window for too long (S07).
    Stalled,
}

impl Outbox {
    /// An outbox of a connection, and the queue that [`send_all`] empties.
    pub(crate) fn new(activity: Arc<Activity>) -> (Self, Outgoing) {
        let (queue, replies) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            queued_bytes: AtomicUsize::new(0),
            over: AtomicBool::new(false),
            sent: Notify::new(),
            activity,
        });
        (
            Self {
                queue,
                shared: Arc::clone(&shared),
            },
            Outgoing {
                replies,
                pieces: VecDeque::new(),
                shared,
            },
        )
    }

    /// Puts a reply in the queue; never waits.
    pub(crate) fn put(&self, reply: impl Into<Reply>) -> Result<(), OutboxError> {
        let reply = reply.into();
        let cost = reply.cost();
        let before = self.shared.queued(cost);
        if before.saturating_add(cost) > MAX_QUEUED_BYTES {
            return Err(OutboxError::Overflow);
        }
        self.queue.send(reply).map_err(|_| OutboxError::Closed)
    }

    /// Whether more file data may be put in.
    pub(crate) fn has_budget(&self) -> bool {
        self.queued_bytes() < DATA_BUDGET_BYTES
    }

    /// Whether more file data need not wait: there is budget, or nobody sends any more.
    pub(crate) fn is_open(&self) -> bool {
        self.has_budget() || self.shared.over.load(Ordering::Acquire)
    }

    /// We did not listen to the client of late, so it could not open a window of any channel.
    pub(crate) fn excuse(&self) {
        self.shared.activity.excuse();
    }

    /// Waits until [`Outbox::is_open`].
    pub(crate) async fn budget(&self) {
        loop {
            let sent = self.shared.sent.notified();
            if self.is_open() {
                return;
            }
            sent.await;
        }
    }

    /// What was put in and not handed over yet costs, in bytes.
    pub(crate) fn queued_bytes(&self) -> usize {
        self.shared.queued_bytes.load(Ordering::Acquire)
    }
}

/// Bytes for one call to the channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Portion {
    pub(crate) bytes: Bytes,
    /// What it gives back to the outbox once it is handed over, in bytes.
    pub(crate) cost: usize,
}

/// The far end of an [`Outbox`].
#[derive(Debug)]
pub(crate) struct Outgoing {
    replies: mpsc::UnboundedReceiver<Reply>,
    /// Of the reply that was taken last: at most its two.
    pieces: VecDeque<Portion>,
    shared: Arc<Shared>,
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Release);
        self.shared.sent.notify_waiters();
    }
}

impl Outgoing {
    /// The next bytes to send, small ones put together; `None` when there will
    /// be none.
    pub(crate) async fn next(&mut self) -> Option<Portion> {
        if self.pieces.is_empty() {
            let reply = self.replies.recv().await?;
            self.take_apart(reply);
        }
        let first = self.pieces.pop_front()?;
        if first.bytes.len() >= LARGE_BYTES {
            return Some(first);
        }
        let Some(second) = self.next_small() else {
            return Some(first);
        };
        let mut bytes = BytesMut::with_capacity(COALESCE_BYTES.saturating_add(LARGE_BYTES));
        let mut cost = 0_usize;
        let mut add = |piece: Portion| {
            bytes.extend_from_slice(&piece.bytes);
            cost = cost.saturating_add(piece.cost);
            bytes.len()
        };
        add(first);
        let mut length = add(second);
        while length < COALESCE_BYTES
            && let Some(more) = self.next_small()
        {
            length = add(more);
        }
        Some(Portion {
            bytes: bytes.freeze(),
            cost,
        })
    }

    /// The next piece, if it is there already and small.
    fn next_small(&mut self) -> Option<Portion> {
        if self.pieces.is_empty() {
            let reply = self.replies.try_recv().ok()?;
            self.take_apart(reply);
        }
        let small = self.pieces.front()?.bytes.len() < LARGE_BYTES;
        small.then(|| self.pieces.pop_front()).flatten()
    }

    fn take_apart(&mut self, reply: Reply) {
        let data_cost = reply.data.len();
        self.pieces.push_back(Portion {
            cost: reply.cost().saturating_sub(data_cost),
            bytes: reply.head,
        });
        if !reply.data.is_empty() {
            self.pieces.push_back(Portion {
                cost: data_cost,
                bytes: reply.data,
            });
        }
    }

    pub(crate) fn handed_over(&self, cost: usize) {
        self.shared.handed_over(cost);
        self.shared.sent.notify_waiters();
    }
}

/// Sends every reply, in order, until the outbox is dropped or the channel is
/// closed. A client that takes nothing for `stall_timeout` is given up, unless we did not
/// listen to it meanwhile.
pub(crate) async fn send_all(
    mut outgoing: Outgoing,
    channel: &ChannelWriteHalf<Msg>,
    stall_timeout: Duration,
) -> SendEnd {
    while let Some(Portion { bytes, cost }) = outgoing.next().await {
        let shared = Arc::clone(&outgoing.shared);
        let sending = channel.data_bytes(bytes);
        tokio::pin!(sending);
        let sent = loop {
            let excuses = shared.activity.excuses();
            match timer::timeout(stall_timeout, &mut sending).await {
                Ok(sent) => break sent,
                Err(_) if shared.activity.excuses() != excuses => {}
                Err(_) => return SendEnd::Stalled,
            }
        };
        match sent {
            Ok(()) => outgoing.handed_over(cost),
            Err(_) => return SendEnd::Closed,
        }
    }
    SendEnd::Drained
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A reply that costs exactly so much.
    fn costing(bytes: usize) -> Bytes {
        Bytes::from(vec![0; bytes - REPLY_COST_BYTES])
    }

    #[tokio::test]
    async fn replies_that_nobody_reads_are_bounded() {
        let (outbox, outgoing) = Outbox::new(Arc::default());
        for _ in 0..4 {
            outbox.put(costing(MAX_QUEUED_BYTES / 4)).unwrap();
        }
        assert!(!outbox.has_budget());
        assert_eq!(
            outbox.put(Bytes::from_static(b"x")),
            Err(OutboxError::Overflow)
        );
        drop(outgoing);
    }

    #[tokio::test]
    async fn the_budget_opens_when_replies_are_handed_over() {
        let (outbox, mut outgoing) = Outbox::new(Arc::default());
        outbox.put(costing(DATA_BUDGET_BYTES - 1)).unwrap();
        assert!(outbox.has_budget(), "just below");
        outbox.put(Bytes::from_static(b"x")).unwrap();
        assert!(!outbox.has_budget(), "just above");
        let waiting = tokio::spawn({
            let outbox = outbox.clone();
            async move { outbox.budget().await }
        });
        for _ in 0..2 {
            let portion = outgoing.next().await.unwrap();
            outgoing.handed_over(portion.cost);
        }
        waiting.await.unwrap();
        assert_eq!(outbox.queued_bytes(), 0);
    }

    #[tokio::test]
    async fn nobody_waits_for_a_sender_that_is_gone() {
        let (outbox, outgoing) = Outbox::new(Arc::default());
        outbox.put(costing(DATA_BUDGET_BYTES)).unwrap();
        drop(outgoing);
        outbox.budget().await;
        assert_eq!(
            outbox.put(Bytes::from_static(b"x")),
            Err(OutboxError::Closed)
        );
    }

    #[tokio::test]
    async fn small_replies_are_put_together_in_order() {
        let (outbox, mut outgoing) = Outbox::new(Arc::default());
        for part in ["one ", "two ", "three"] {
            outbox.put(Bytes::from(part)).unwrap();
        }
        let portion = outgoing.next().await.unwrap();
        assert_eq!(portion.bytes, Bytes::from("one two three"));
        outgoing.handed_over(portion.cost);
        assert_eq!(outbox.queued_bytes(), 0);
        drop(outbox);
        assert_eq!(outgoing.next().await, None);
    }

    #[tokio::test]
    async fn large_data_is_sent_from_where_it_was_read() {
        let (outbox, mut outgoing) = Outbox::new(Arc::default());
        let data = Bytes::from(vec![7; LARGE_BYTES]);
        outbox.put(Bytes::from_static(b"before")).unwrap();
        outbox.put(Reply::data(5, data.clone())).unwrap();
        outbox.put(Bytes::from_static(b"after")).unwrap();

        let before = outgoing.next().await.unwrap().bytes;
        assert_eq!(before.len(), 6 + codec::DATA_HEADER_BYTES);
        let sent = outgoing.next().await.unwrap().bytes;
        assert_eq!(sent.as_ptr(), data.as_ptr(), "the same memory");
        assert_eq!(outgoing.next().await.unwrap().bytes, "after");
    }

    #[tokio::test]
    async fn data_just_below_is_put_together_with_its_header() {
        let (outbox, mut outgoing) = Outbox::new(Arc::default());
        let data = Bytes::from(vec![7; LARGE_BYTES - 1]);
        outbox.put(Reply::data(5, data)).unwrap();
        let sent = outgoing.next().await.unwrap();
        assert_eq!(sent.bytes.len(), codec::DATA_HEADER_BYTES + LARGE_BYTES - 1);
        outgoing.handed_over(sent.cost);
        assert_eq!(outbox.queued_bytes(), 0);
    }
}
