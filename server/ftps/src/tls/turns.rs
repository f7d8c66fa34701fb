//! Handshakes take turns at the processors.
//!
//! The server's part of a handshake is some hundred microseconds to two milliseconds
//! of computing, and whoever may connect may begin one. A crowd of them would fill
//! the runtime's queue, and each block of a running transfer would wait for all of
//! that crowd. So only half of the processors compute for newcomers at a time; the
//! others of the crowd wait in a queue of their own, in their order.
//!
//! A turn is for computing alone, never for waiting: a client that says nothing
//! holds up nobody.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use tokio::sync::Semaphore;

/// The turns of one process.
#[derive(Clone, Debug)]
pub(super) struct Turns(Arc<Semaphore>);

impl Turns {
    /// Half of the processors, and one at least.
    pub(super) fn of_this_machine() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self::new((processors / 2).max(1))
    }

    fn new(at_once: usize) -> Self {
        Self(Arc::new(Semaphore::new(at_once)))
    }

    /// Lets `work` compute when it is its turn, each time that it is woken.
    pub(super) async fn take<F: Future>(&self, work: F) -> F::Output {
        let mut work = pin!(work);
        loop {
            // It is never closed; if it were, nothing would be worth refusing for it.
            let turn = self.0.acquire().await.ok();
            let polled = poll_fn(|context| Poll::Ready(work.as_mut().poll(context))).await;
            drop(turn);
            if let Poll::Ready(output) = polled {
                return output;
            }
            woken().await;
        }
    }
}

/// Returns when the task is woken: by what `work` waits for.
async fn woken() {
    let mut asleep = false;
    poll_fn(|_| match std::mem::replace(&mut asleep, true) {
        false => Poll::Pending,
        true => Poll::Ready(()),
    })
    .await;
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::task::JoinSet;

    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn no_more_compute_at_once_than_have_a_turn() {
        let turns = Turns::new(2);
        let (now, most) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let mut crowd = JoinSet::new();
        for _ in 0..64 {
            let (turns, now, most) = (turns.clone(), Arc::clone(&now), Arc::clone(&most));
            crowd.spawn(async move {
                let mut polls = 0_u32;
                let work = poll_fn(|context| {
                    most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    let sum = (0..20_000_u64).fold(polls.into(), u64::wrapping_add);
                    now.fetch_sub(1, Ordering::SeqCst);
                    polls += 1;
                    context.waker().wake_by_ref();
                    if polls < 5 {
                        Poll::Pending
                    } else {
                        Poll::Ready(sum)
                    }
                });
                turns.take(work).await
            });
        }
        assert_eq!(crowd.join_all().await.len(), 64);
        let most = most.load(Ordering::SeqCst);
        assert!((1..=2).contains(&most), "{most} at once");
    }

    #[tokio::test]
    async fn whoever_waits_holds_no_turn() {
        let turns = Turns::new(1);
        let silent = turns.take(std::future::pending::<()>());
        let busy = turns.take(async {
            tokio::task::yield_now().await;
            7
        });
        tokio::select! {
            biased;
            () = silent => unreachable!("it waits for ever"),
            output = busy => assert_eq!(output, 7),
        }
    }
}
