//! Files that are expected are looked for here: each second the deadlines that have come
//! become days, and as many of them as may are looked at.

use std::sync::Arc;
use std::time::Duration;

use layover_client::expectation::Looker;
use layover_depot::{ExpectationLooks, LookLost, OpenDay, timer};
use layover_retention::Clock;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::jobs::{Job, JobFailure, Next};
use crate::pace::Pace;

/// How often deadlines are looked at: what is there seconds after one is taken for what
/// was there by then.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Days that this node looks at at the same time. Of them those wait for one another that
/// ask partners' servers.
pub(crate) const LOOKS_AT_ONCE: usize = 32;

/// Plans and takes days, and has them looked at.
pub(crate) struct ExpectationWatch {
    pub(crate) looks: ExpectationLooks,
    pub(crate) looker: Looker,
    pub(crate) clock: Arc<dyn Clock>,
    /// A look each, [`LOOKS_AT_ONCE`] of them.
    pub(crate) slots: Arc<Semaphore>,
    pub(crate) tasks: TaskTracker,
    pub(crate) stop: CancellationToken,
    /// Days are remembered as long as the journal.
    pub(crate) keep: Duration,
    pub(crate) prunings: Pace,
    pub(crate) returns: Pace,
}

impl ExpectationWatch {
    /// Takes days while there are slots and somebody is to look, for one period at most.
    async fn fill(&self) -> Result<(), JobFailure> {
        let period = timer::sleep_by(&*self.clock, LOOK_EVERY);
        tokio::pin!(period);
        while !self.stop.is_cancelled() {
            let free = self.slots.available_permits();
            if free == 0 {
                tokio::select! {
                    _ = self.slots.acquire() => continue,
                    () = &mut period => return Ok(()),
                    () = self.stop.cancelled() => return Ok(()),
                }
            }
            let claimed = self.looks.claim(free).await?;
            if claimed.is_empty() {
                return Ok(());
            }
            for day in claimed {
                // Nobody else takes slots.
                let slot = Arc::clone(&self.slots).acquire_owned().await?;
                self.begin(day, slot);
            }
        }
        Ok(())
    }

    fn begin(&self, day: OpenDay, slot: OwnedSemaphorePermit) {
        let (looker, looks, stop) = (self.looker.clone(), self.looks.clone(), self.stop.clone());
        self.tasks.spawn(async move {
            let _slot = slot;
            let name = &day.question.definition.name;
            let ended = tokio::select! {
                ended = looker.look(&day) => ended,
                // Another node, or this one after its restart, looks at once.
                () = stop.cancelled() => looks.give_back(&day).await,
            };
            match ended {
                Ok(()) => {}
                Err(LookLost::Lost) => {
                    tracing::warn!(expectation = %name, "a look for expectation `{name}` was taken over");
                }
                Err(LookLost::Store(error)) => tracing::error!(
                    expectation = %name,
                    error = &error as &dyn std::error::Error,
                    "a look for expectation `{name}` could not be recorded; it is repeated when its lease ends"
                ),
            }
        });
    }

    async fn prune(&mut self) -> Result<(), JobFailure> {
        let now = self.clock.now();
        if self.prunings.is_due(now) {
            while self.looks.prune(now.saturating_sub(self.keep)).await? > 0 {}
            self.prunings.done(now);
        }
        Ok(())
    }

    async fn bring_back(&mut self) -> Result<(), JobFailure> {
        let now = self.clock.now();
        if self.returns.is_due(now) {
            let days = self.looks.bring_back().await?;
            if days > 0 {
                tracing::warn!(
                    days,
                    "a clock had been ahead: {days} days of expectations are looked at when they come"
                );
            }
            self.returns.done(now);
        }
        Ok(())
    }
}

impl Job for ExpectationWatch {
    fn name(&self) -> &'static str {
        "expectations"
    }

    fn period(&self) -> Duration {
        LOOK_EVERY
    }

    async fn run_once(&mut self) -> Result<Next, JobFailure> {
        self.bring_back().await?;
        self.looks.plan().await?;
        self.fill().await?;
        self.prune().await?;
        Ok(Next::WhenDue)
    }
}
