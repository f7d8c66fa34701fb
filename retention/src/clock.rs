//! The time of day, as something that is lent to us.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::Timestamp;

/// Tells the time of day and sleeps by it. The only source of calendar time in
/// the whole appliance.
pub trait Clock: Send + Sync + 'static {
    /// The present time.
    fn now(&self) -> Timestamp;

    /// The latest that the present time may be, while there is doubt about it: with
    /// this things arrive, so that they never go early. Otherwise as [`Clock::now`],
    /// which is the earliest.
    fn latest(&self) -> Timestamp {
        self.now()
    }

    /// Waits until [`Clock::now`] has reached `at`; at once when it has
    /// already. Dropping the future ends the wait.
    fn sleep_until(&self, at: Timestamp) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}

/// A clock that stands still until it is told to move, and then wakes everyone
/// whose time has come. For tests and simulations; needs no runtime.
#[derive(Debug)]
pub struct ManualClock {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    now: Timestamp,
    next_sleeper: u64,
    sleepers: Vec<Sleeper>,
}

#[derive(Debug)]
struct Sleeper {
    id: u64,
    at: Timestamp,
    waker: Waker,
}

impl ManualClock {
    /// A clock that stands at `now`.
    #[must_use]
    pub const fn new(now: Timestamp) -> Self {
        Self {
            state: Mutex::new(State {
                now,
                next_sleeper: 0,
                sleepers: Vec::new(),
            }),
        }
    }

    /// Moves the clock on by `span` and wakes the sleepers whose time has come.
    pub fn advance(&self, span: Duration) {
        let state = self.state();
        let now = state.now.saturating_add(span);
        Self::move_to(state, now);
    }

    /// Moves the clock to `now`, backwards as well, and wakes the sleepers
    /// whose time has come.
    pub fn set(&self, now: Timestamp) {
        Self::move_to(self.state(), now);
    }

    fn move_to(mut state: MutexGuard<'_, State>, now: Timestamp) {
        state.now = now;
        let due: Vec<Sleeper> = state.sleepers.extract_if(.., |s| s.at <= now).collect();
        // A waker may run anything, this clock included: never under the lock.
        drop(state);
        for sleeper in due {
            sleeper.waker.wake();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        self.state().now
    }

    fn sleep_until(&self, at: Timestamp) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(Sleep {
            clock: self,
            at,
            id: None,
        })
    }
}

/// One wait on a [`ManualClock`]; registered at its first poll.
struct Sleep<'a> {
    clock: &'a ManualClock,
    at: Timestamp,
    id: Option<u64>,
}

impl Future for Sleep<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let clock = self.clock;
        let mut state = clock.state();
        if state.now >= self.at {
            return Poll::Ready(());
        }
        let waker = context.waker().clone();
        let known = self
            .id
            .and_then(|id| state.sleepers.iter_mut().find(|s| s.id == id));
        if let Some(sleeper) = known {
            sleeper.waker = waker;
        } else {
            let id = state.next_sleeper;
            state.next_sleeper += 1;
            state.sleepers.push(Sleeper {
                id,
                at: self.at,
                waker,
            });
            self.id = Some(id);
        }
        Poll::Pending
    }
}

impl Drop for Sleep<'_> {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.clock.state().sleepers.retain(|s| s.id != id);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Context, Poll, Wake, Waker};
    use std::time::Duration;

    use super::{Clock, ManualClock, Timestamp};

    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn at_second(second: i64) -> Timestamp {
        Timestamp::from_micros(second * 1_000_000)
    }

    #[test]
    fn a_sleeper_wakes_when_its_time_comes_and_not_before() {
        let clock = ManualClock::new(at_second(100));
        let wakes = Arc::new(Wakes::default());
        let waker = Waker::from(Arc::clone(&wakes));
        let mut context = Context::from_waker(&waker);
        let mut sleep = clock.sleep_until(at_second(110));

        assert_eq!(sleep.as_mut().poll(&mut context), Poll::Pending);
        clock.advance(Duration::from_micros(9_999_999));
        assert_eq!(wakes.0.load(Ordering::SeqCst), 0);
        assert_eq!(sleep.as_mut().poll(&mut context), Poll::Pending);
        clock.advance(Duration::from_micros(1));
        assert_eq!(
            wakes.0.load(Ordering::SeqCst),
            1,
            "woken once, although polled twice"
        );
        assert_eq!(sleep.as_mut().poll(&mut context), Poll::Ready(()));
    }

    #[test]
    fn a_time_that_has_come_already_needs_no_sleep() {
        let clock = ManualClock::new(at_second(100));
        let mut context = Context::from_waker(Waker::noop());
        for second in [99, 100] {
            let mut sleep = clock.sleep_until(at_second(second));
            assert_eq!(sleep.as_mut().poll(&mut context), Poll::Ready(()));
        }
    }

    #[test]
    fn a_clock_set_back_after_the_wake_up_lets_the_sleeper_sleep_on() {
        let clock = ManualClock::new(at_second(100));
        let wakes = Arc::new(Wakes::default());
        let waker = Waker::from(Arc::clone(&wakes));
        let mut context = Context::from_waker(&waker);
        let mut sleep = clock.sleep_until(at_second(110));
        assert_eq!(sleep.as_mut().poll(&mut context), Poll::Pending);

        clock.set(at_second(120));
        clock.set(at_second(50));
        assert_eq!(sleep.as_mut().poll(&mut context), Poll::Pending);
        clock.set(at_second(110));
        assert_eq!(wakes.0.load(Ordering::SeqCst), 2);
        assert_eq!(sleep.as_mut().poll(&mut context), Poll::Ready(()));
    }

    #[test]
    fn a_dropped_sleep_is_forgotten() {
        let clock = ManualClock::new(at_second(0));
        let wakes = Arc::new(Wakes::default());
        let waker = Waker::from(Arc::clone(&wakes));
        let mut sleep = clock.sleep_until(at_second(1));
        assert_eq!(
            sleep.as_mut().poll(&mut Context::from_waker(&waker)),
            Poll::Pending
        );
        drop(sleep);
        clock.advance(Duration::from_secs(2));
        assert_eq!(wakes.0.load(Ordering::SeqCst), 0);
        assert!(clock.state().sleepers.is_empty());
    }

    #[tokio::test]
    async fn advancing_wakes_tasks_of_a_runtime() {
        let clock = Arc::new(ManualClock::new(at_second(0)));
        let tasks: Vec<_> = [3, 1, 2]
            .map(|second| {
                let clock = Arc::clone(&clock);
                tokio::spawn(async move { clock.sleep_until(at_second(second)).await })
            })
            .into();
        tokio::task::yield_now().await;
        clock.advance(Duration::from_secs(3));
        for task in tasks {
            task.await.unwrap();
        }
    }
}
