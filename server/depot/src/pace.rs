//! Whether storage, or the database, answers at once, judged by how it answered
//! of late.
//!
//! Most verbs on a file system take a few microseconds: less than the two
//! changes of thread that a hop to a blocking thread costs, and the bytes just
//! decrypted are still in this core's cache. So quick verbs run where they are
//! asked for, on a thread that serves other sessions, too. As soon as storage
//! takes its time (a slow disk, a full write-back cache), every verb hops
//! again, until storage has been quick for a while. A disk that hangs altogether
//! holds up some of the threads, and never the last one. Storage behind a
//! network hangs for less: there, every verb hops from the beginning.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};

use crate::timer::Stopwatch;

/// A verb that took so long did not answer at once. A cached page of 1 MiB
/// takes a tenth of it.
const SLOW: Duration = Duration::from_millis(2);

/// Storage is slow when a second verb was slow within this time: one alone may
/// be the scheduler's doing.
const NEAR: Duration = Duration::from_secs(1);

/// One verb that took so long is proof enough.
const VERY_SLOW: Duration = Duration::from_millis(20);

/// How long verbs hop after storage was found slow.
const REST: Duration = Duration::from_secs(5);

/// How many threads the database may hold up at once.
pub(crate) const MAX_DATABASE_IN_PLACE: usize = 1;

/// How storage has been answering. Times are microseconds since it was opened.
#[derive(Debug)]
pub(crate) struct Pace {
    opened: Stopwatch,
    /// Verbs that run in place at once.
    max_in_place: usize,
    in_place: AtomicUsize,
    slow_at_us: AtomicU64,
    hop_until_us: AtomicU64,
}

/// One of the verbs that may run in place.
#[derive(Debug)]
pub(crate) struct InPlace<'a> {
    pace: &'a Pace,
}

impl Drop for InPlace<'_> {
    fn drop(&mut self) {
        self.pace.in_place.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Pace {
    /// At most `max_in_place` verbs run in place at once: fewer than there are
    /// threads that serve sessions, whatever else runs in place there.
    pub(crate) fn new(may_answer_at_once: bool, max_in_place: usize) -> Self {
        Self {
            opened: Stopwatch::start(),
            max_in_place: if may_answer_at_once { max_in_place } else { 0 },
            in_place: AtomicUsize::new(0),
            slow_at_us: AtomicU64::new(0),
            hop_until_us: AtomicU64::new(0),
        }
    }

    /// Permission to run the next quick verb where it is asked for.
    pub(crate) fn in_place(&self) -> Option<InPlace<'_>> {
        if micros(self.opened.elapsed()) < self.hop_until_us.load(Ordering::Relaxed) {
            return None;
        }
        let turn = InPlace { pace: self };
        let before = self.in_place.fetch_add(1, Ordering::AcqRel);
        (before < self.max_in_place).then_some(turn)
    }

    /// Runs a quick verb and remembers how long it took, if that was storage's
    /// doing: on a busy machine another process may have had the processor.
    pub(crate) fn watch<T>(&self, work: impl FnOnce() -> T) -> T {
        let waits_before = waits();
        let watch = Stopwatch::start();
        let out = work();
        let took = watch.elapsed();
        if took >= SLOW && (waits_before.is_none() || waits() != waits_before) {
            self.note(took);
        }
        out
    }

    fn note(&self, took: Duration) {
        if took < SLOW {
            return;
        }
        let now_us = micros(self.opened.elapsed());
        let before_us = self.slow_at_us.swap(now_us, Ordering::Relaxed);
        let again = before_us != 0 && now_us.saturating_sub(before_us) < micros(NEAR);
        if again || took >= VERY_SLOW {
            self.hop_until_us
                .store(now_us.saturating_add(micros(REST)), Ordering::Relaxed);
        }
    }
}

/// How often this thread gave the processor up because it had to wait for
/// something (getrusage(2), `ru_nvcsw`); `None` when the system does not tell.
fn waits() -> Option<i64> {
    let usage = getrusage(UsageWho::RUSAGE_THREAD).ok()?;
    Some(usage.voluntary_context_switches())
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timer;

    const IN_PLACE: usize = 3;

    fn pace_after(verbs: &[Duration]) -> Pace {
        let pace = Pace::new(true, IN_PLACE);
        for took in verbs {
            pace.note(*took);
        }
        pace
    }

    #[tokio::test(start_paused = true)]
    async fn one_slow_verb_is_an_accident_and_two_are_a_slow_disk() {
        timer::sleep(Duration::from_millis(1)).await;
        let almost = Duration::from_micros(1);
        assert!(pace_after(&[SLOW - almost; 9]).in_place().is_some());
        assert!(pace_after(&[VERY_SLOW - almost]).in_place().is_some());
        assert!(pace_after(&[VERY_SLOW]).in_place().is_none());
        for (apart, quick) in [(NEAR, true), (NEAR - Duration::from_millis(1), false)] {
            let pace = Pace::new(true, IN_PLACE);
            timer::sleep(Duration::from_millis(1)).await;
            pace.note(SLOW);
            timer::sleep(apart).await;
            pace.note(SLOW);
            assert_eq!(pace.in_place().is_some(), quick, "{apart:?} apart");
        }
    }

    fn spin(time: Duration) {
        let watch = Stopwatch::start();
        while watch.elapsed() < time {
            std::hint::spin_loop();
        }
    }

    fn wait(time: Duration) {
        let (_nobody, silence) = std::sync::mpsc::channel::<()>();
        assert!(silence.recv_timeout(time).is_err());
    }

    #[test]
    fn a_verb_that_never_waited_was_held_up_by_others() {
        let pace = Pace::new(true, IN_PLACE);
        pace.watch(|| spin(2 * VERY_SLOW));
        assert!(pace.in_place().is_some(), "it had no processor");
        pace.watch(|| wait(2 * VERY_SLOW));
        assert!(pace.in_place().is_none(), "it waited");
    }

    #[tokio::test(start_paused = true)]
    async fn storage_gets_another_chance() {
        let pace = pace_after(&[VERY_SLOW]);
        timer::sleep(REST - Duration::from_millis(1)).await;
        assert!(pace.in_place().is_none());
        timer::sleep(Duration::from_millis(1)).await;
        assert!(pace.in_place().is_some());
    }

    #[tokio::test]
    async fn a_disk_that_hangs_never_holds_up_the_last_thread() {
        let pace = Pace::new(true, IN_PLACE);
        let hanging: Vec<_> = (0..IN_PLACE).map(|_| pace.in_place().unwrap()).collect();
        assert!(pace.in_place().is_none());
        drop(hanging);
        assert!(pace.in_place().is_some());
        assert!(Pace::new(true, 0).in_place().is_none());
    }

    #[tokio::test]
    async fn storage_behind_a_network_is_never_waited_for() {
        assert!(Pace::new(false, IN_PLACE).in_place().is_none());
    }
}
