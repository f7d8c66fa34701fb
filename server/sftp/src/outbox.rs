//! Replies on their way to the client.
//!
//! One task per channel sends; whoever encodes a reply never waits for the
//! client. Data waits for a budget instead: a READ that finds the budget used
//! up is put aside by the dispatcher, so that a client that does not read can
//! neither stop its own requests from being drained (S01) nor grow our memory
//! (S05).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use layover_depot::timer;
use russh::ChannelWriteHalf;
use russh::server::Msg;
use tokio::sync::{Notify, mpsc};

/// File data that may be on its way to one client channel, in bytes: as much
/// as the window that OpenSSH's client opens, four times over.
pub(crate) const DATA_BUDGET_BYTES: usize = 8 * 1024 * 1024;

/// Everything that may be on its way, small replies included. A client that
/// sends requests and reads no replies is cut off here.
pub(crate) const MAX_QUEUED_BYTES: usize = DATA_BUDGET_BYTES + 4 * 1024 * 1024;

/// Replies are put together up to this size, in bytes: fewer packets to
/// encrypt and to send.
const COALESCE_BYTES: usize = 128 * 1024;

/// One channel's replies. Clones are the same outbox.
#[derive(Clone, Debug)]
pub(crate) struct Outbox {
    queue: mpsc::UnboundedSender<Bytes>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    queued_bytes: AtomicUsize,
    /// Nobody sends any more.
    over: AtomicBool,
    sent: Notify,
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
    /// An outbox and the queue that [`send_all`] empties.
    pub(crate) fn new() -> (Self, Outgoing) {
        let (queue, replies) = mpsc::unbounded_channel();
        let shared = Arc::<Shared>::default();
        (
            Self {
                queue,
                shared: Arc::clone(&shared),
            },
            Outgoing { replies, shared },
        )
    }

    /// Puts a reply in the queue; never waits.
    pub(crate) fn put(&self, reply: Bytes) -> Result<(), OutboxError> {
        let length = reply.len();
        let before = self.shared.queued_bytes.fetch_add(length, Ordering::AcqRel);
        if before.saturating_add(length) > MAX_QUEUED_BYTES {
            return Err(OutboxError::Overflow);
        }
        self.queue.send(reply).map_err(|_| OutboxError::Closed)
    }

    /// Whether more file data may be put in.
    pub(crate) fn has_budget(&self) -> bool {
        self.queued_bytes() < DATA_BUDGET_BYTES
    }

    /// Waits until [`Outbox::has_budget`], or until nobody sends any more.
    pub(crate) async fn budget(&self) {
        loop {
            let sent = self.shared.sent.notified();
            if self.has_budget() || self.shared.over.load(Ordering::Acquire) {
                return;
            }
            sent.await;
        }
    }

    /// Bytes that were put in and not handed over yet.
    pub(crate) fn queued_bytes(&self) -> usize {
        self.shared.queued_bytes.load(Ordering::Acquire)
    }
}

/// The far end of an [`Outbox`].
#[derive(Debug)]
pub(crate) struct Outgoing {
    replies: mpsc::UnboundedReceiver<Bytes>,
    shared: Arc<Shared>,
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Release);
        self.shared.sent.notify_waiters();
    }
}

impl Outgoing {
    /// The next replies, put together; `None` when there will be none.
    async fn next(&mut self) -> Option<Bytes> {
        let first = self.replies.recv().await?;
        let Ok(second) = self.replies.try_recv() else {
            return Some(first);
        };
        let mut joined = BytesMut::with_capacity(COALESCE_BYTES.max(first.len() + second.len()));
        joined.extend_from_slice(&first);
        joined.extend_from_slice(&second);
        while joined.len() < COALESCE_BYTES {
            let Ok(more) = self.replies.try_recv() else {
                break;
            };
            joined.extend_from_slice(&more);
        }
        Some(joined.freeze())
    }

    fn handed_over(&self, bytes: usize) {
        self.shared.queued_bytes.fetch_sub(bytes, Ordering::AcqRel);
        self.shared.sent.notify_waiters();
    }
}

/// Sends every reply, in order, until the outbox is dropped or the channel is
/// closed. A client that takes nothing for `stall_timeout` is given up.
pub(crate) async fn send_all(
    mut outgoing: Outgoing,
    channel: &ChannelWriteHalf<Msg>,
    stall_timeout: Duration,
) -> SendEnd {
    while let Some(bytes) = outgoing.next().await {
        let length = bytes.len();
        match timer::timeout(stall_timeout, channel.data_bytes(bytes)).await {
            Ok(Ok(())) => outgoing.handed_over(length),
            Ok(Err(_)) => return SendEnd::Closed,
            Err(_) => return SendEnd::Stalled,
        }
    }
    SendEnd::Drained
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn replies_that_nobody_reads_are_bounded() {
        let (outbox, outgoing) = Outbox::new();
        let quarter = Bytes::from(vec![0; MAX_QUEUED_BYTES / 4]);
        for _ in 0..4 {
            outbox.put(quarter.clone()).unwrap();
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
        let (outbox, mut outgoing) = Outbox::new();
        outbox.put(Bytes::from(vec![0; DATA_BUDGET_BYTES])).unwrap();
        assert!(!outbox.has_budget());
        let waiting = tokio::spawn({
            let outbox = outbox.clone();
            async move { outbox.budget().await }
        });
        let bytes = outgoing.next().await.unwrap();
        outgoing.handed_over(bytes.len());
        waiting.await.unwrap();
        assert_eq!(outbox.queued_bytes(), 0);
    }

    #[tokio::test]
    async fn nobody_waits_for_a_sender_that_is_gone() {
        let (outbox, outgoing) = Outbox::new();
        outbox.put(Bytes::from(vec![0; DATA_BUDGET_BYTES])).unwrap();
        drop(outgoing);
        outbox.budget().await;
        assert_eq!(
            outbox.put(Bytes::from_static(b"x")),
            Err(OutboxError::Closed)
        );
    }

    #[tokio::test]
    async fn small_replies_are_put_together_in_order() {
        let (outbox, mut outgoing) = Outbox::new();
        for part in ["one ", "two ", "three"] {
            outbox.put(Bytes::from(part)).unwrap();
        }
        assert_eq!(outgoing.next().await.unwrap(), Bytes::from("one two three"));
        drop(outbox);
        assert_eq!(outgoing.next().await, None);
    }
}
