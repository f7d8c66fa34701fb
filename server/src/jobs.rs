//! Background work has one shape: a name, a status, one run, and when it is due
//! next. [`drive`] repeats a job until it is told to stop; it never stops
//! because a run failed.

use std::collections::BTreeMap;
use std::error::Error;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use layover_depot::timer;
use layover_retention::{Clock, Timestamp};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

/// Why one run failed; logged by [`drive`] and shown in the status.
pub(crate) type JobFailure = Box<dyn Error + Send + Sync>;

/// What a run says about the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Nothing is left: wait for the next due time.
    WhenDue,
    /// There is more work of this kind: run again at once.
    AtOnce,
}

/// One kind of background work.
pub(crate) trait Job: Send + 'static {
    /// Its name in the log and the status.
    fn name(&self) -> &'static str;

    /// The longest pause between the starts of two runs.
    fn period(&self) -> Duration;

    /// One run, bounded in length. It is never cancelled half-way.
    fn run_once(&mut self) -> impl Future<Output = Result<Next, JobFailure>> + Send;

    /// When the run after the one that started at `started_at` is due.
    fn next_due(&self, started_at: Timestamp) -> Timestamp {
        started_at.saturating_add(self.period())
    }
}

/// How a job is doing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct JobStatus {
    /// The job's name.
    pub name: &'static str,
    /// Finished runs, failed ones included.
    pub runs: u64,
    /// Failed runs.
    pub failures: u64,
    /// When the last run started.
    pub last_started_at: Timestamp,
    /// Why the last run failed; `None` when it went well.
    pub last_failure: Option<String>,
    /// When the next run is due.
    pub next_due: Timestamp,
}

/// The status of all jobs.
#[derive(Debug, Default)]
pub(crate) struct JobBoard {
    statuses: Mutex<BTreeMap<&'static str, JobStatus>>,
}

impl JobBoard {
    /// All statuses, by name.
    pub(crate) fn statuses(&self) -> Vec<JobStatus> {
        let statuses = self.statuses.lock().unwrap_or_else(PoisonError::into_inner);
        statuses.values().cloned().collect()
    }

    /// Notes a run and tells whether the job failed the time before.
    fn note(
        &self,
        name: &'static str,
        last_started_at: Timestamp,
        next_due: Timestamp,
        last_failure: Option<String>,
    ) -> bool {
        let mut statuses = self.statuses.lock().unwrap_or_else(PoisonError::into_inner);
        let before = statuses.get(name);
        let runs = before.map_or(0, |status| status.runs).saturating_add(1);
        let failures = before
            .map_or(0, |status| status.failures)
            .saturating_add(u64::from(last_failure.is_some()));
        let failed_before = before.is_some_and(|status| status.last_failure.is_some());
        statuses.insert(
            name,
            JobStatus {
                name,
                runs,
                failures,
                last_started_at,
                last_failure,
                next_due,
            },
        );
        failed_before
    }
}

/// Runs `job` now and then whenever it is due, until `stop`.
///
/// A run is due when the clock says so or when a whole period has passed on the
/// monotonic clock, whichever is first: a wall clock that is set back must not
/// silence the heartbeat.
pub(crate) async fn drive(
    mut job: impl Job,
    clock: Arc<dyn Clock>,
    board: Arc<JobBoard>,
    stop: CancellationToken,
) {
    while !stop.is_cancelled() {
        let started_at = clock.now();
        let result = job.run_once().await;
        let due = job.next_due(started_at);
        let next = settle(&job, &board, started_at, due, result);
        if next == Next::AtOnce {
            tokio::task::yield_now().await;
            continue;
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = clock.sleep_until(due) => {}
            () = timer::sleep(job.period()) => {}
        }
    }
}

/// Notes the result and logs it when it is news: a job that fails every second
/// says so once, and once more when it has recovered.
fn settle(
    job: &impl Job,
    board: &JobBoard,
    started_at: Timestamp,
    due: Timestamp,
    result: Result<Next, JobFailure>,
) -> Next {
    let name = job.name();
    match result {
        Ok(next) => {
            if board.note(name, started_at, due, None) {
                tracing::info!(job = name, "job `{name}` works again");
            }
            next
        }
        Err(failure) => {
            let reason = chain(failure.as_ref());
            if !board.note(name, started_at, due, Some(reason.clone())) {
                tracing::error!(job = name, error = %reason, "job `{name}` failed: {reason}");
            }
            Next::WhenDue
        }
    }
}

/// An error with its causes on one line.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use layover_retention::ManualClock;
    use tokio::sync::mpsc;

    use super::*;

    const PERIOD: Duration = Duration::from_secs(3600);

    /// Fails on its second run, has more work after its third.
    struct Counting {
        runs: u64,
        told: mpsc::UnboundedSender<u64>,
    }

    impl Job for Counting {
        fn name(&self) -> &'static str {
            "counting"
        }

        fn period(&self) -> Duration {
            PERIOD
        }

        async fn run_once(&mut self) -> Result<Next, JobFailure> {
            self.runs += 1;
            self.told.send(self.runs)?;
            match self.runs {
                2 => Err("the second run fails".into()),
                3 => Ok(Next::AtOnce),
                _ => Ok(Next::WhenDue),
            }
        }
    }

    #[tokio::test]
    async fn a_job_runs_at_once_then_when_due_and_survives_a_failure() {
        let clock = Arc::new(ManualClock::new(Timestamp::from_micros(0)));
        let board = Arc::new(JobBoard::default());
        let stop = CancellationToken::new();
        let (told, mut runs) = mpsc::unbounded_channel();
        let job = tokio::spawn(drive(
            Counting { runs: 0, told },
            Arc::clone(&clock) as Arc<dyn Clock>,
            Arc::clone(&board),
            stop.clone(),
        ));

        assert_eq!(runs.recv().await, Some(1));
        tokio::task::yield_now().await;
        assert!(
            runs.try_recv().is_err(),
            "the second run must wait until it is due"
        );
        clock.advance(PERIOD);
        assert_eq!(runs.recv().await, Some(2));
        tokio::task::yield_now().await;
        assert_eq!(
            board.statuses()[0].last_failure.as_deref(),
            Some("the second run fails")
        );
        clock.advance(PERIOD);
        assert_eq!(runs.recv().await, Some(3));
        assert_eq!(runs.recv().await, Some(4), "the fourth run follows at once");
        stop.cancel();
        job.await.unwrap();
        let status = &board.statuses()[0];
        assert_eq!((status.runs, status.failures), (4, 1));
        assert_eq!(status.last_failure, None);
    }
}
