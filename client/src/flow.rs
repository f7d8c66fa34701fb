//! Flows at work: one run after the other moves what is to be moved between a folder of
//! a home and one of a partner's server.
//!
//! The way in is [`Engine::run`], with a run that the depot gave to this node. When it
//! runs, and that nobody else does, is the depot's to say; which files move is decided in
//! `choice`, by names alone; how one file moves exactly is [`exchange`](crate::exchange).
//! What is done is remembered before and after each file, under the run's token: a run
//! that was cut off anywhere is gone on with by the next node.
//!
//! It must never: take a partner's file away that it has not moved, move a file that
//! somebody is still writing, or move one twice.

mod backoff;
mod choice;
mod error;
mod folder;
mod moving;

use std::sync::Arc;
use std::time::Duration;

use layover_depot::{
    ClaimedRun, Courier, Depot, FileKey, FlowDefinition, FlowDirection, FlowRuns,
    LONGEST_RETRY_WAIT, RUN_LEASE, RunLost, RunReport, RunState, SourceFacts, timer,
};
use layover_retention::{Clock, Timestamp};

use self::choice::Census;
pub(crate) use self::choice::LOCKING_SUFFIXES;
use self::error::RunFault;
use self::folder::Place;
pub(crate) use self::folder::{facts_of, is_as_exact_as_it_gets};
use self::moving::Tally;
use crate::fault::Permanence;
use crate::partner::Surroundings;

/// The lease is renewed so often within its time that a few words may get lost.
const RENEWALS: u32 = 4;

/// Between two looks at files that may still be written.
const SECOND_LOOK_AFTER: Duration = Duration::from_secs(2);

/// When files that are still being written are looked at again.
const WAITING_AGAIN_AFTER: Duration = Duration::from_secs(30);

/// What runs flows.
#[derive(Clone, Debug)]
pub struct Engine {
    depot: Depot,
    courier: Arc<Courier>,
    runs: FlowRuns,
    clock: ClockRef,
    surroundings: Surroundings,
}

/// A clock that can be shown.
#[derive(Clone)]
struct ClockRef(Arc<dyn Clock>);

impl std::fmt::Debug for ClockRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Clock")
    }
}

/// What a run would move, without doing it.
#[derive(Clone, Debug)]
pub struct Preview {
    /// Files that would move, by name.
    pub moves: Vec<SourceFacts>,
    /// Files that are locked, or to be tried again later.
    pub waiting: u64,
    /// Files that had moved before.
    pub known: u64,
    /// Files that were given up, and look as they did then.
    pub given_up: u64,
}

/// Why nothing can be said of a run that did not begin.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub struct NoPreview {
    text: String,
}

impl Engine {
    /// An engine on this depot.
    #[must_use]
    pub fn new(
        depot: Depot,
        courier: Arc<Courier>,
        clock: Arc<dyn Clock>,
        surroundings: Surroundings,
    ) -> Self {
        Self {
            runs: depot.flow_runs(),
            depot,
            courier,
            clock: ClockRef(clock),
            surroundings,
        }
    }

    /// Does a run to its end, and keeps its lease meanwhile. Dropped, it stops at once:
    /// what was begun is gone on with by whoever takes the run over.
    ///
    /// # Errors
    /// Somebody else has the run; the database is away.
    pub async fn run(&self, run: &ClaimedRun) -> Result<(), RunLost> {
        if !run.definition.enabled && run.cause != layover_depot::RunCause::Manual {
            let report = RunReport::default();
            return self.runs.end(run, RunState::Skipped, report, None).await;
        }
        let ended = tokio::select! {
            worked = self.work(run) => worked,
            lost = self.keep_lease(run) => Err(RunFault::Lost(lost)),
        };
        match ended {
            Ok(tally) => {
                let again_at = tally.again_at;
                let report = &tally.report;
                let is_well = report.failed == 0 && report.dead == 0 && report.sources_left == 0;
                let state = if is_well {
                    RunState::Done
                } else {
                    RunState::Failed
                };
                self.runs.end(run, state, tally.report, again_at).await
            }
            Err(RunFault::Lost(lost)) => Err(lost),
            Err(fault) => self.end_early(run, &fault).await,
        }
    }

    /// A run that could not even begin is tried again as its files would be.
    async fn end_early(&self, run: &ClaimedRun, fault: &RunFault) -> Result<(), RunLost> {
        let flow = &run.definition;
        let failed = self.runs.failed_before(run).await?;
        // What waits for arrivals alone would wait for ever: nothing else makes it run. So it
        // is also tried when somebody must do something first, and seldom, since partners
        // lock accounts that knock too often.
        let waits_for_arrivals = flow.rules.on_arrival && flow.schedule_cron.is_none();
        let is_tried = failed < u32::from(flow.rules.retries) || waits_for_arrivals;
        let again_at = match fault.permanence() {
            Permanence::Transient if is_tried => Some(self.again_at(flow, failed + 1)),
            Permanence::Permanent if waits_for_arrivals => {
                Some(self.clock.0.now().saturating_add(LONGEST_RETRY_WAIT))
            }
            Permanence::Transient | Permanence::Permanent => None,
        };
        tracing::warn!(
            flow = %flow.name,
            run = run.id.0,
            cause = %fault,
            again_at = again_at.map(tracing::field::display),
            "a run of flow `{}` ended early: {fault}",
            flow.name
        );
        let report = RunReport {
            cause: Some(fault.to_string()),
            ..RunReport::default()
        };
        self.runs.end(run, RunState::Failed, report, again_at).await
    }

    /// When what failed for the `tries`th time is tried again.
    fn again_at(&self, flow: &FlowDefinition, tries: u32) -> Timestamp {
        let jitter = getrandom::u32().map_or(0, |random| random.to_le_bytes()[0]);
        let wait = backoff::wait(flow.rules.retry_after_s, tries, jitter);
        self.clock.0.now().saturating_add(wait)
    }

    /// Comes back only when the run is lost.
    async fn keep_lease(&self, run: &ClaimedRun) -> RunLost {
        loop {
            timer::sleep_by(&*self.clock.0, RUN_LEASE / RENEWALS).await;
            match self.runs.renew(run).await {
                Ok(()) => {}
                Err(RunLost::Lost) => return RunLost::Lost,
                // The lease has some time left; the next word may get through.
                Err(RunLost::Store(error)) => tracing::warn!(
                    flow = %run.definition.name,
                    error = &error as &dyn std::error::Error,
                    "the lease of a run could not be renewed"
                ),
            }
        }
    }

    async fn work(&self, run: &ClaimedRun) -> Result<Tally, RunFault> {
        let place = Place::prepare(self, &run.definition).await?;
        // Where files are to land. One that they are to come from may be made, or moved
        // there, by its partner.
        if place.direction == FlowDirection::Download {
            place.visit.make_folder(&place.home).await?;
        }
        let worked = self.work_at(run, &place).await;
        let registry = self.depot.registry();
        let actor = layover_depot::Actor::new("flows");
        if let Err(error) = place.partner.settle(registry, &actor).await {
            tracing::warn!(
                flow = %run.definition.name,
                error = &error as &dyn std::error::Error,
                "what a connection taught could not be kept"
            );
        }
        worked
    }

    async fn work_at(&self, run: &ClaimedRun, place: &Place) -> Result<Tally, RunFault> {
        let flow = &run.definition;
        let open = self.runs.open_files(&flow.name).await?;
        let mut connection = place.partner.connect().await?;
        let mut tally = Tally::default();
        tally.report.sources_left = self
            .finish_sources(run, place, connection.remote(), &open)
            .await?;
        // What has come in the place of a file whose source is settled now is new.
        let open = match open.iter().any(|file| file.source_pending) {
            true => self.runs.open_files(&flow.name).await?,
            false => open,
        };
        let moment = run.local_moment();
        let now = self.clock.0.now();
        let census = match run.is_census_due(now) {
            true => Census::Due,
            false => Census::NotDue,
        };
        let mut found = folder::look(place, connection.remote(), flow, moment, census).await?;
        let seen = found.take_seen();
        let keys = found.keys();
        let known = self.runs.known(&flow.name, &keys).await?;
        let dead = self.runs.given_up(&flow.name).await?;
        let decision = found.decide(&known, &open, &dead, now);
        tally.report.known = decision.known;
        tally.report.given_up = decision.given_up;
        tally.report.waiting = decision.waiting;
        tally.try_again(decision.later);
        let (moves, changing) = self
            .second_look(place, connection.remote(), decision.moves)
            .await?;
        if changing > 0 {
            tally.report.waiting += changing;
            tally.try_again(Some(now.saturating_add(WAITING_AGAIN_AFTER)));
        }
        let moved = self.move_all(run, place, connection, moves, tally).await?;
        if let Some(seen) = seen {
            self.take_census(run, &seen).await?;
        }
        Ok(moved)
    }

    /// Forgets what is long gone from the source, as far as `seen` is all that is there.
    async fn take_census(&self, run: &ClaimedRun, seen: &[FileKey]) -> Result<(), RunLost> {
        match self.runs.take_census(run, seen).await {
            Ok(0) => Ok(()),
            Ok(gone) => {
                tracing::info!(
                    flow = %run.definition.name,
                    gone,
                    "{gone} files that are long gone from their source were forgotten"
                );
                Ok(())
            }
            // The files have moved; the next run counts again.
            Err(RunLost::Store(error)) => {
                tracing::warn!(
                    flow = %run.definition.name,
                    error = &error as &dyn std::error::Error,
                    "the files of a flow's source could not be counted"
                );
                Ok(())
            }
            Err(lost) => Err(lost),
        }
    }

    /// What a run of this flow would move now. Connects and looks; changes nothing.
    ///
    /// # Errors
    /// What would end the run early, as a sentence.
    pub async fn preview(
        &self,
        flow: &FlowDefinition,
        moment: jiff::civil::DateTime,
    ) -> Result<Preview, NoPreview> {
        let previewed = self.previewed(flow, moment).await;
        previewed.map_err(|fault| NoPreview {
            text: fault.to_string(),
        })
    }

    async fn previewed(
        &self,
        flow: &FlowDefinition,
        moment: jiff::civil::DateTime,
    ) -> Result<Preview, RunFault> {
        let place = Place::prepare(self, flow).await?;
        let open = self.runs.open_files(&flow.name).await?;
        let mut connection = place.partner.connect().await?;
        let remote = connection.remote();
        let found = folder::look(&place, remote, flow, moment, Census::NotDue).await?;
        let known = self.runs.known(&flow.name, &found.keys()).await?;
        let dead = self.runs.given_up(&flow.name).await?;
        let decision = found.decide(&known, &open, &dead, self.clock.0.now());
        // What was to be seen has been seen.
        let _ = connection.close().await;
        Ok(Preview {
            moves: decision.moves.into_iter().map(|(facts, _)| facts).collect(),
            waiting: decision.waiting,
            known: decision.known,
            given_up: decision.given_up,
        })
    }
}
