//! Flows run here: each second what is due is put among the runs, and as many of them
//! as may are taken and done.

use std::sync::Arc;
use std::time::Duration;

use layover_client::flow::Engine;
use layover_depot::{ClaimedRun, FlowRuns, RunLost, RunSlots, WhyLost, timer};
use layover_retention::Clock;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::jobs::{Job, JobFailure, Next};
use crate::pace::Pace;

/// How often schedules are looked at: they have seconds, and a file that arrives is to be
/// on its way within a few.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How often old runs are forgotten.
pub(crate) const PRUNE_EVERY: Duration = Duration::from_secs(3_600);

/// How often firings are looked for that a clock which was ahead has put off, besides when
/// this node's own was set back: another node's may have been, and it may be gone.
pub(crate) const BRING_BACK_EVERY: Duration = Duration::from_secs(300);

/// Plans and takes runs, and lets the engine do them.
pub(crate) struct FlowRunner {
    pub(crate) runs: FlowRuns,
    pub(crate) engine: Engine,
    pub(crate) clock: Arc<dyn Clock>,
    /// A run each, `[outbound] max_concurrent` of them.
    pub(crate) slots: Arc<Semaphore>,
    pub(crate) most: usize,
    /// A run has ended.
    pub(crate) ended: Arc<Notify>,
    pub(crate) tasks: TaskTracker,
    pub(crate) stop: CancellationToken,
    /// Runs are remembered as long as the journal.
    pub(crate) keep: Duration,
    pub(crate) prunings: Pace,
    pub(crate) returns: Pace,
}

impl FlowRunner {
    /// Takes runs while there are slots and something is due, for one period at most.
    async fn fill(&self) -> Result<(), JobFailure> {
        let period = timer::sleep_by(&*self.clock, LOOK_EVERY);
        tokio::pin!(period);
        while !self.stop.is_cancelled() {
            let slots = RunSlots {
                all: self.most,
                free: self.slots.available_permits(),
            };
            let claimed = match slots.free {
                0 => Vec::new(),
                _ => self.runs.claim(slots).await?,
            };
            if claimed.is_empty() {
                if slots.free == self.most {
                    return Ok(());
                }
                // What waits for a slot, or for its integration's share of them.
                tokio::select! {
                    () = self.ended.notified() => continue,
                    () = &mut period => return Ok(()),
                    () = self.stop.cancelled() => return Ok(()),
                }
            }
            for run in claimed {
                // Nobody else takes slots.
                let slot = Arc::clone(&self.slots).acquire_owned().await?;
                self.begin(run, slot);
            }
        }
        Ok(())
    }

    fn begin(&self, run: ClaimedRun, slot: OwnedSemaphorePermit) {
        let (engine, runs, stop) = (self.engine.clone(), self.runs.clone(), self.stop.clone());
        let over = Arc::clone(&self.ended);
        self.tasks.spawn(async move {
            let flow = &run.definition.name;
            let ended = tokio::select! {
                ended = engine.run(&run) => ended,
                // Another node, or this one after its restart, goes on with it at once.
                () = stop.cancelled() => runs.give_back(&run).await,
            };
            match ended {
                Ok(()) => {}
                Err(RunLost::Lost) => tell_lost(&runs, &run).await,
                Err(RunLost::Store(error)) => tracing::error!(
                    %flow,
                    run = run.id.0,
                    error = &error as &dyn std::error::Error,
                    "a run of flow `{flow}` could not be recorded; it is taken over when its lease ends"
                ),
            }
            drop(slot);
            over.notify_one();
        });
    }

    async fn prune(&mut self) -> Result<(), JobFailure> {
        let now = self.clock.now();
        if self.prunings.is_due(now) {
            self.runs.prune(now.saturating_sub(self.keep)).await?;
            self.prunings.done(now);
        }
        Ok(())
    }

    async fn bring_back(&mut self) -> Result<(), JobFailure> {
        let now = self.clock.now();
        if self.returns.is_due(now) {
            let flows = self.runs.bring_back().await?;
            if flows > 0 {
                tracing::warn!(
                    flows,
                    "a clock had been ahead: {flows} flows run at their next time again"
                );
            }
            self.returns.done(now);
        }
        Ok(())
    }
}

/// A run ends at the next step at which it hears that it is no longer ours.
async fn tell_lost(runs: &FlowRuns, run: &ClaimedRun) {
    let (flow, number) = (&run.definition.name, run.id.0);
    match runs.why_lost(run).await {
        // What the operator did is nothing to be warned of.
        Ok(why @ WhyLost::Removed) => {
            tracing::info!(%flow, run = number, "run {number} of flow `{flow}` has ended: {why}");
        }
        Ok(why) => {
            tracing::warn!(%flow, run = number, "run {number} of flow `{flow}` is not ours any more: {why}");
        }
        Err(error) => tracing::warn!(
            %flow,
            run = number,
            error = &error as &dyn std::error::Error,
            "run {number} of flow `{flow}` is not ours any more, and why cannot be asked"
        ),
    }
}

impl Job for FlowRunner {
    fn name(&self) -> &'static str {
        "flows"
    }

    fn period(&self) -> Duration {
        LOOK_EVERY
    }

    async fn run_once(&mut self) -> Result<Next, JobFailure> {
        self.bring_back().await?;
        self.runs.plan().await?;
        self.fill().await?;
        self.prune().await?;
        Ok(Next::WhenDue)
    }
}
