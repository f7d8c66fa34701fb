//! What a connection has been doing, and when it has been doing nothing for
//! too long.
//!
//! Three limits: the time to log in, the time without a request between transfers,
//! and the time without progress while a file is open (S07). A dead client is
//! gone after the last one at the latest; a live one moves bytes.

use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use layover_depot::timer::{self, Stopwatch};

/// The limits of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// From the first byte to the login.
    pub(crate) login_grace: Duration,
    /// Without a request, logged in, nothing open.
    pub(crate) idle: Duration,
    /// Without progress while a file is open.
    pub(crate) stall: Duration,
}

/// Which limit was passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Overdue {
    Login,
    Idle,
    Stalled,
}

impl Overdue {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Login => "no login in time",
            Self::Idle => "idle for too long",
            Self::Stalled => "a transfer stood still for too long",
        }
    }
}

/// Less than so many bytes, without a request, are no progress of a transfer: a
/// client whose program hangs still answers, and sends, SSH's keep-alives. The
/// slowest line that partners have moves more in a second.
const PROGRESS_BYTES: u64 = 4 * 1024;

/// How often the limits are looked at, at most and at least.
const LOOK_AT_MOST_EVERY: Duration = Duration::from_millis(50);
const LOOK_AT_LEAST_EVERY: Duration = Duration::from_secs(1);

/// Counters of one connection.
#[derive(Debug, Default)]
pub(crate) struct Activity {
    moved: AtomicU64,
    asked: AtomicU64,
    logged_in: AtomicBool,
    open: AtomicUsize,
    unsent: AtomicUsize,
    unanswered: AtomicUsize,
    closing: AtomicBool,
    excuses: AtomicUsize,
    stalled: AtomicBool,
}

/// A request that is being done, as long as this lives.
#[derive(Debug)]
pub(crate) struct Unanswered(Arc<Activity>);

impl Drop for Unanswered {
    fn drop(&mut self) {
        self.0.unanswered.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Activity {
    /// Bytes went over the wire, in either direction.
    pub(crate) fn moved(&self, bytes: usize) {
        self.moved.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// The client asked for something, on any channel.
    pub(crate) fn asked(&self) {
        self.asked.fetch_add(1, Ordering::Relaxed);
    }

    /// How many bytes that were.
    #[cfg(test)]
    pub(crate) fn moved_bytes(&self) -> u64 {
        self.moved.load(Ordering::Relaxed)
    }

    pub(crate) fn logged_in(&self) {
        self.logged_in.store(true, Ordering::Release);
    }

    pub(crate) fn is_logged_in(&self) -> bool {
        self.logged_in.load(Ordering::Acquire)
    }

    /// It is ended because a transfer stood still: to be said before it is.
    pub(crate) fn stalled(&self) {
        self.stalled.store(true, Ordering::Release);
    }

    pub(crate) fn has_stalled(&self) -> bool {
        self.stalled.load(Ordering::Acquire)
    }

    /// A channel had `before` handles open and has `now`.
    pub(crate) fn open_changed(&self, before: usize, now: usize) {
        if now >= before {
            self.open.fetch_add(now - before, Ordering::AcqRel);
        } else {
            self.open.fetch_sub(before - now, Ordering::AcqRel);
        }
    }

    /// Replies that cost `before` were on their way, and now those that cost `now`.
    pub(crate) fn unsent_changed(&self, before: usize, now: usize) {
        if now >= before {
            self.unsent.fetch_add(now - before, Ordering::AcqRel);
        } else {
            self.unsent.fetch_sub(before - now, Ordering::AcqRel);
        }
    }

    /// The client could not be heard for a while, by our own doing.
    pub(crate) fn excuse(&self) {
        self.excuses.fetch_add(1, Ordering::Relaxed);
    }

    /// How often that was so.
    pub(crate) fn excuses(&self) -> usize {
        self.excuses.load(Ordering::Relaxed)
    }

    /// A request is done from now on. Its guard is to be dropped behind its reply. `None` while
    /// the connection ends: what would be done now could not be told any more.
    pub(crate) fn answering(self: &Arc<Self>) -> Option<Unanswered> {
        // Each side says what it does before it looks at the other.
        self.unanswered.fetch_add(1, Ordering::SeqCst);
        let unanswered = Unanswered(Arc::clone(self));
        (!self.closing.load(Ordering::SeqCst)).then_some(unanswered)
    }

    /// Whether nothing is done and nothing begins any more: the connection may end.
    pub(crate) fn close_if_settled(&self) -> bool {
        self.closing.store(true, Ordering::SeqCst);
        let is_settled = self.is_settled();
        if !is_settled {
            self.closing.store(false, Ordering::SeqCst);
        }
        is_settled
    }

    /// Whether the connection may end in order: nothing is open, nothing is being done, and
    /// the client has been told what became of all that was.
    pub(crate) fn is_settled(&self) -> bool {
        // In the order in which one becomes the next.
        self.unanswered.load(Ordering::SeqCst) == 0
            && self.open() == 0
            && self.unsent.load(Ordering::Acquire) == 0
    }

    /// Files and directories that are open, on all channels.
    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::Acquire)
    }

    /// Returns when a limit is passed, and never else.
    pub(crate) async fn overdue(&self, patience: Patience) -> Overdue {
        let shortest = patience.login_grace.min(patience.idle).min(patience.stall);
        let every = (shortest / 10).clamp(LOOK_AT_MOST_EVERY, LOOK_AT_LEAST_EVERY);
        let since_start = Stopwatch::start();
        let mut since_asked = Stopwatch::start();
        let mut work = (false, 0, 0);
        let mut mark = self.moved.load(Ordering::Relaxed);
        let mut since_progress = Stopwatch::start();
        loop {
            timer::sleep(every).await;
            let now = self.moved.load(Ordering::Relaxed);
            let (logged_in, open) = (self.is_logged_in(), self.open());
            let now_at = (logged_in, self.asked.load(Ordering::Relaxed), open);
            let worked = mem::replace(&mut work, now_at) != now_at;
            if worked {
                since_asked = Stopwatch::start();
            }
            if worked || now.saturating_sub(mark) >= PROGRESS_BYTES {
                mark = now;
                since_progress = Stopwatch::start();
            }
            if !logged_in {
                if since_start.elapsed() >= patience.login_grace {
                    return Overdue::Login;
                }
            } else if open > 0 && since_progress.elapsed() >= patience.stall {
                return Overdue::Stalled;
            } else if open == 0 && since_asked.elapsed() >= patience.idle {
                return Overdue::Idle;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Patience = Patience {
        login_grace: Duration::from_secs(30),
        idle: Duration::from_secs(900),
        stall: Duration::from_secs(120),
    };

    #[test]
    fn a_connection_is_settled_when_all_is_done_and_told() {
        let activity = Arc::new(Activity::default());
        assert!(activity.is_settled());
        let answering = activity.answering().expect("not closing");
        assert!(!activity.close_if_settled(), "it is being done");
        activity.unsent_changed(0, 9);
        activity.open_changed(0, 1);
        drop(answering);
        assert!(!activity.is_settled(), "it is open");
        activity.open_changed(1, 0);
        assert!(!activity.is_settled(), "the reply is on its way");
        activity.unsent_changed(9, 0);
        assert!(activity.answering().is_some(), "it goes on");
        assert!(activity.close_if_settled());
        assert!(activity.answering().is_none(), "nobody could be told");
        assert!(activity.is_settled());
    }

    #[tokio::test(start_paused = true)]
    async fn each_state_has_its_own_limit() {
        for (logged_in, open, limit, verdict) in [
            (false, 0, PATIENCE.login_grace, Overdue::Login),
            (true, 0, PATIENCE.idle, Overdue::Idle),
            (true, 1, PATIENCE.stall, Overdue::Stalled),
        ] {
            let activity = Activity::default();
            if logged_in {
                activity.logged_in();
            }
            activity.open_changed(0, open);
            let start = Stopwatch::start();
            assert_eq!(activity.overdue(PATIENCE).await, verdict);
            assert!(start.elapsed() >= limit, "{verdict:?} came early");
            assert!(
                start.elapsed() <= limit + 2 * LOOK_AT_LEAST_EVERY,
                "{verdict:?} came late"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_moves_bytes_is_left_alone() {
        let activity = Activity::default();
        activity.logged_in();
        activity.open_changed(0, 1);
        let busy = async {
            for _ in 0..100 {
                timer::sleep(PATIENCE.stall / 2).await;
                activity.asked();
                activity.moved(1);
            }
        };
        tokio::select! {
            biased;
            () = busy => {}
            overdue = activity.overdue(PATIENCE) => panic!("{overdue:?}"),
        }
    }

    // Nor do they stand for a command.
    #[tokio::test(start_paused = true)]
    async fn keep_alives_do_not_hold_an_idle_session() {
        let activity = Activity::default();
        activity.logged_in();
        let start = Stopwatch::start();
        let keep_alives = async {
            loop {
                timer::sleep(Duration::from_secs(3)).await;
                activity.moved(1000);
            }
        };
        tokio::select! {
            biased;
            () = keep_alives => {}
            overdue = activity.overdue(PATIENCE) => assert_eq!(overdue, Overdue::Idle),
        }
        assert!(start.elapsed() <= PATIENCE.idle + 2 * LOOK_AT_LEAST_EVERY);
    }

    // S07: the program of a partner hangs, its SSH library does not.
    #[tokio::test(start_paused = true)]
    async fn keep_alives_do_not_hold_a_file_open() {
        let activity = Activity::default();
        activity.logged_in();
        activity.open_changed(0, 1);
        let keep_alives = async {
            loop {
                timer::sleep(Duration::from_secs(15)).await;
                activity.moved(100);
            }
        };
        tokio::select! {
            biased;
            () = keep_alives => {}
            overdue = activity.overdue(PATIENCE) => assert_eq!(overdue, Overdue::Stalled),
        }
    }
}
