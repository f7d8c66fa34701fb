//! The door of whoever runs flows: what is due, who has it, and what came of it.

use std::sync::Arc;
use std::time::Duration;

use layover_retention::{MAX_DATABASE_DIFFERENCE, Timestamp};

use super::key::{FileKey, SourceFacts};
use super::record::{
    ClaimedRun, FileDone, FileFailed, FlowFile, FlowFileId, FlowFileState, FlowRun, FoundFile,
    MovedFile, NotMoved, RunCause, RunReport, RunSlots, RunState, RunTaker, UnmovedFile,
};
use crate::figures::Ending;
use crate::holdings::Holdings;
use crate::integration::MAX_RETRIES;
use crate::journal::{JournalKind, NewEntry, Outcome};
use crate::store::{RunEnd, StoreError};
use crate::{Depot, FlowName, Leaving};

/// How long a run is its node's without a word of it. Longer than a server may be busy
/// with a full disk or a database that does not answer, shorter than anybody waits for
/// a file.
pub const RUN_LEASE: Duration = Duration::from_secs(60);

/// No try of a run or a file is put off for longer: an hour after a partner's server is
/// back, its files move. What is to wait for longer was put off by a clock that was ahead.
pub const LONGEST_RETRY_WAIT: Duration = Duration::from_secs(3_600);

/// Runs that are forgotten in one transaction.
const PRUNED_AT_ONCE: usize = 1_000;

/// What is told of a file that was read, and had moved before.
const MOVED_BEFORE: &str = "a file of this name and content moved before";

/// Somebody else has the run, or its flow is gone: whoever hears this stops.
#[derive(Debug, thiserror::Error)]
pub enum RunLost {
    /// The lease is another's.
    #[error("another node has taken the run over, or its flow was removed")]
    Lost,
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What became of a run that is no longer ours.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WhyLost {
    /// The operator took the flow away, and what it knew.
    #[error("its flow was removed")]
    Removed,
    /// Its lease had ended, and another server has it now.
    #[error("node {0} has taken it over")]
    TakenOver(String),
    /// It has ended, or waits for whoever looks first.
    #[error("it is {} by now", .0.as_str())]
    Is(RunState),
}

/// The door of whoever runs flows. Clones are the same.
#[derive(Clone, Debug)]
pub struct FlowRuns {
    pub(super) holdings: Arc<Holdings>,
}

impl Depot {
    /// The door of whoever runs flows.
    #[must_use]
    pub fn flow_runs(&self) -> FlowRuns {
        FlowRuns {
            holdings: Arc::clone(self.holdings()),
        }
    }
}

impl FlowRuns {
    /// Takes runs that are due, and those whose node is silent, as many as there are slots;
    /// of one integration no more than its share. Empty when nothing is due that may begin.
    ///
    /// # Errors
    /// The database is away.
    pub async fn claim(&self, slots: RunSlots) -> Result<Vec<ClaimedRun>, StoreError> {
        let now = self.holdings.now();
        let lease_until = now.saturating_add(RUN_LEASE);
        let taker = RunTaker {
            slots,
            node: self.holdings.node.clone(),
            now,
            lease_until,
            latest_lease: lease_until.saturating_add(MAX_DATABASE_DIFFERENCE),
            latest_retry: latest_retry(now),
        };
        self.holdings.store.claim_runs(&taker).await
    }

    /// Says that this node is still about the run.
    ///
    /// # Errors
    /// [`RunLost`].
    pub async fn renew(&self, run: &ClaimedRun) -> Result<(), RunLost> {
        let until = self.holdings.now().saturating_add(RUN_LEASE);
        match self.holdings.store.renew_run(run.token(), until).await? {
            true => Ok(()),
            false => Err(RunLost::Lost),
        }
    }

    /// Lets go of what a process of this node before this one was about when it died.
    /// Called once, before the first claim. Returns how many runs that were.
    ///
    /// # Errors
    /// The database is away.
    pub async fn release_own(&self) -> Result<u64, StoreError> {
        let (store, node) = (&self.holdings.store, &self.holdings.node);
        store.release_runs(node, self.holdings.now()).await
    }

    /// Lets go of a run that was not done: the next one who looks takes it over.
    ///
    /// # Errors
    /// [`RunLost`].
    pub async fn give_back(&self, run: &ClaimedRun) -> Result<(), RunLost> {
        let now = self.holdings.now();
        match self.holdings.store.renew_run(run.token(), now).await? {
            true => Ok(()),
            false => Err(RunLost::Lost),
        }
    }

    /// What became of a run that this node has lost.
    ///
    /// # Errors
    /// The database is away.
    pub async fn why_lost(&self, run: &ClaimedRun) -> Result<WhyLost, StoreError> {
        Ok(match self.holdings.store.flow_run(run.id).await? {
            None => WhyLost::Removed,
            Some(now) => match (now.state, now.node) {
                (RunState::Running, Some(node)) => WhyLost::TakenOver(node),
                (state, _) => WhyLost::Is(state),
            },
        })
    }

    /// How many runs of the flow ended before their files, one behind the other, before
    /// this one. Those whose files alone failed say nothing of the partner's server.
    ///
    /// # Errors
    /// The database is away.
    pub async fn failed_before(&self, run: &ClaimedRun) -> Result<u32, StoreError> {
        let flow = &run.definition.name;
        let limit = usize::from(MAX_RETRIES) + 1;
        let store = &self.holdings.store;
        let before = store.run_history(flow, Some(run.id), limit).await?;
        let failed = before
            .iter()
            .take_while(|run| run.state == RunState::Failed && ended_early(run));
        Ok(u32::try_from(failed.count()).unwrap_or(u32::MAX))
    }

    /// Files of the flow that some run was not done with, by name.
    ///
    /// # Errors
    /// The database is away.
    pub async fn open_files(&self, flow: &FlowName) -> Result<Vec<FlowFile>, StoreError> {
        self.holdings.store.open_files(flow).await
    }

    /// Whether a file that was landing when its run was lost is still about to: recovery
    /// settles it, and until then nobody moves it again.
    ///
    /// # Errors
    /// The database is away.
    pub async fn is_landing(&self, file: &FlowFile) -> Result<bool, StoreError> {
        match &file.hidden {
            Some(hidden) if file.state == FlowFileState::Landing => {
                self.holdings.store.is_landing(hidden).await
            }
            _ => Ok(false),
        }
    }

    /// Which of these keys the flow has, in their order.
    ///
    /// # Errors
    /// The database is away.
    pub async fn known(&self, flow: &FlowName, keys: &[FileKey]) -> Result<Vec<bool>, StoreError> {
        self.holdings.store.known_keys(flow, keys).await
    }

    /// Remembers files that are to move; a file that an earlier run was not done with is
    /// the same one.
    ///
    /// # Errors
    /// [`RunLost`].
    pub async fn find(
        &self,
        run: &ClaimedRun,
        files: &[SourceFacts],
    ) -> Result<Vec<FlowFileId>, RunLost> {
        let now = self.holdings.now();
        let found = |facts: &SourceFacts| FoundFile {
            facts: facts.clone(),
            now,
        };
        let found: Vec<_> = files.iter().map(found).collect();
        let ids = self.holdings.store.plan_files(run.token(), &found).await?;
        ids.ok_or(RunLost::Lost)
    }

    /// Files that were given up, as they looked then: they stay so until they look
    /// otherwise, or an operator wants them tried again.
    ///
    /// # Errors
    /// The database is away.
    pub async fn given_up(&self, flow: &FlowName) -> Result<Vec<SourceFacts>, StoreError> {
        self.holdings.store.dead_files(flow).await
    }

    /// Whether the run's flow was disabled since: no further file of it is to move. What an
    /// operator asked for goes on.
    ///
    /// # Errors
    /// The database is away.
    pub async fn is_stopped(&self, run: &ClaimedRun) -> Result<bool, StoreError> {
        if run.cause == RunCause::Manual {
            return Ok(false);
        }
        let flow = &run.definition.name;
        let standing = self.holdings.store.flows(Some(flow)).await?;
        Ok(standing.iter().any(|flow| !flow.definition.enabled))
    }

    /// A file begins to move, towards this name; false when it has landed meanwhile.
    ///
    /// # Errors
    /// [`RunLost`].
    pub async fn begin(
        &self,
        run: &ClaimedRun,
        file: FlowFileId,
        target: &[u8],
    ) -> Result<bool, RunLost> {
        let now = self.holdings.now();
        let store = &self.holdings.store;
        let begun = store.begin_file(run.token(), file, target, now).await?;
        begun.ok_or(RunLost::Lost)
    }

    /// A file has moved, and what it did is in the journal already.
    ///
    /// # Errors
    /// [`RunLost`].
    pub async fn moved(&self, run: &ClaimedRun, moved: &MovedFile) -> Result<(), RunLost> {
        let done = moved.done_at(self.holdings.now());
        let is_done = self.holdings.store.finish_file(run.token(), &done).await?;
        is_done.then_some(()).ok_or(RunLost::Lost)
    }

    /// A file was looked at, and had moved before: the journal says so, once.
    ///
    /// # Errors
    /// [`RunLost`].
    pub async fn known_again(&self, run: &ClaimedRun, moved: &MovedFile) -> Result<(), RunLost> {
        let now = self.holdings.now();
        let mut entry = self
            .entry_of(run, "flow.known", now)
            .with("file", String::from_utf8_lossy(&moved.target).into_owned())
            .with("flow_file", moved.file.0)
            .with("why", MOVED_BEFORE);
        if let Some(sha256) = &moved.sha256 {
            entry = entry.with("sha256", hex::encode(sha256));
        }
        let done = FileDone {
            note: Some(MOVED_BEFORE),
            ..moved.done_at(now)
        };
        let store = &self.holdings.store;
        let is_done = store.finish_known(run.token(), &done, &entry).await?;
        is_done.then_some(()).ok_or(RunLost::Lost)
    }

    /// A file of a home is the partner's now: it counts as collected, the journal tells
    /// of it, and the flow remembers it, in one transaction.
    ///
    /// # Errors
    /// [`RunLost`].
    pub async fn delivered(
        &self,
        run: &ClaimedRun,
        moved: &MovedFile,
        leaving: &Leaving,
    ) -> Result<(), RunLost> {
        let done = moved.done_at(self.holdings.now());
        let is_done = leaving.delivered_for(run.token(), &done).await?;
        is_done.then_some(()).ok_or(RunLost::Lost)
    }

    /// A file is about to get its name on the partner's server: what the next process
    /// must know when this one does not come to say how that went. `None`: it is sent
    /// anew.
    ///
    /// # Errors
    /// [`RunLost`].
    pub async fn note_last_step(
        &self,
        run: &ClaimedRun,
        file: FlowFileId,
        step: Option<&str>,
    ) -> Result<(), RunLost> {
        let store = &self.holdings.store;
        let noted = store.note_last_step(run.token(), file, step).await?;
        noted.then_some(()).ok_or(RunLost::Lost)
    }

    /// What an earlier process noted of the file's last step.
    ///
    /// # Errors
    /// The database is away.
    pub async fn last_step(&self, file: FlowFileId) -> Result<Option<String>, StoreError> {
        self.holdings.store.noted_last_step(file).await
    }

    /// A file did not move; one that is given up has an entry in the journal.
    ///
    /// # Errors
    /// [`RunLost`].
    pub async fn not_moved(
        &self,
        run: &ClaimedRun,
        unmoved: &UnmovedFile<'_>,
    ) -> Result<(), RunLost> {
        let now = self.holdings.now();
        let (state, not_before, entry) = match unmoved.what {
            NotMoved::Again(at) => (FlowFileState::Failed, at, None),
            NotMoved::Dead => {
                let entry = self.dead_letter_entry(run, unmoved, now);
                (FlowFileState::Dead, now, Some(entry))
            }
            NotMoved::Gone => (FlowFileState::Gone, now, None),
        };
        let failed = FileFailed {
            file: unmoved.file,
            state,
            cause: unmoved.cause.to_owned(),
            is_unsettled: unmoved.is_unsettled,
            not_before,
            now,
        };
        let store = &self.holdings.store;
        let done = store
            .fail_file(run.token(), &failed, entry.as_ref())
            .await?;
        done.ok_or(RunLost::Lost)
    }

    /// A file is still at its source, and should not be: it moved and was to be taken away,
    /// or was given up and was to be put aside. The journal says so once for each reason.
    ///
    /// # Errors
    /// [`RunLost`].
    pub async fn source_left(
        &self,
        run: &ClaimedRun,
        file: FlowFileId,
        name: &[u8],
        why: &str,
    ) -> Result<(), RunLost> {
        let entry = self
            .entry_of(run, "flow.source_left", self.holdings.now())
            .outcome(Outcome::Failed)
            .with("file", String::from_utf8_lossy(name).into_owned())
            .with("flow_file", file.0)
            .with("why", crate::journal::bounded(why.to_owned()));
        let store = &self.holdings.store;
        let done = store.source_left(run.token(), file, why, &entry).await?;
        done.ok_or(RunLost::Lost)
    }

    /// What was to be done with the source of a file that moved is done.
    ///
    /// # Errors
    /// [`RunLost`].
    pub async fn source_done(&self, run: &ClaimedRun, file: FlowFileId) -> Result<(), RunLost> {
        let now = self.holdings.now();
        let done = self
            .holdings
            .store
            .source_done(run.token(), file, now)
            .await?;
        done.ok_or(RunLost::Lost)
    }

    /// The run is over; `again_at`: when files of it are to be tried again.
    ///
    /// # Errors
    /// [`RunLost`].
    pub async fn end(
        &self,
        run: &ClaimedRun,
        state: RunState,
        report: RunReport,
        again_at: Option<Timestamp>,
    ) -> Result<(), RunLost> {
        let now = self.holdings.now();
        let entry = self.run_entry(run, state, &report, now);
        let end = RunEnd {
            state,
            report,
            again_at,
            now,
            entry,
        };
        let done = self.holdings.store.end_run(run.token(), &end).await?;
        if done.is_some() {
            let ending = match state {
                RunState::Failed => Ending::Failed,
                RunState::Due | RunState::Running | RunState::Done | RunState::Skipped => {
                    Ending::Ok
                }
            };
            let took_ms = run.running.elapsed_ms();
            self.holdings.counters.flow_run(ending, took_ms);
        }
        done.ok_or(RunLost::Lost)
    }

    /// What every entry of a run says.
    fn entry_of(&self, run: &ClaimedRun, action: &'static str, now: Timestamp) -> NewEntry {
        let flow = &run.definition;
        let entry = NewEntry::new(now, JournalKind::System, action, &self.holdings.node)
            .with("flow", flow.name.as_str())
            .with("run", run.id.0)
            .with("integration", flow.partner.as_str())
            .with("direction", flow.direction.as_str());
        let entry = match &run.entity {
            Some(entity) => entry.entity(entity),
            None => entry,
        };
        match flow.home() {
            Some(home) => entry.account(home.account),
            None => entry,
        }
    }

    fn dead_letter_entry(
        &self,
        run: &ClaimedRun,
        unmoved: &UnmovedFile<'_>,
        now: Timestamp,
    ) -> NewEntry {
        let name = String::from_utf8_lossy(unmoved.name).into_owned();
        let entry = self
            .entry_of(run, "flow.dead_letter", now)
            .outcome(Outcome::Failed)
            .with("file", name)
            .with("flow_file", unmoved.file.0)
            .with("why", unmoved.cause);
        match &run.definition.rules.dead_letter {
            Some(folder) => entry.with("dead_letter", folder.as_str()),
            None => entry,
        }
    }

    fn run_entry(
        &self,
        run: &ClaimedRun,
        state: RunState,
        report: &RunReport,
        now: Timestamp,
    ) -> NewEntry {
        let outcome = match state {
            RunState::Failed => Outcome::Failed,
            RunState::Due | RunState::Running | RunState::Done | RunState::Skipped => Outcome::Ok,
        };
        let entry = self
            .entry_of(run, "flow.run", now)
            .outcome(outcome)
            .with("cause", run.cause.as_str())
            .with("scheduled_for", run.scheduled_for.to_string())
            .with("moved", report.moved)
            .with("bytes", report.bytes)
            .with("failed", report.failed)
            .with("dead", report.dead);
        let entry = match report.sources_left {
            0 => entry,
            left => entry.with("sources_left", left),
        };
        match &report.cause {
            Some(cause) => entry.with("why", cause.as_str()),
            None => entry,
        }
    }

    /// Forgets runs that ended before this moment; what was moved stays known. Returns
    /// how many went.
    ///
    /// # Errors
    /// The database is away.
    pub async fn prune(&self, before: Timestamp) -> Result<u64, StoreError> {
        let store = &self.holdings.store;
        let mut gone: u64 = 0;
        loop {
            let runs = store.prune_runs(before, PRUNED_AT_ONCE).await?;
            gone = gone.saturating_add(runs);
            if runs < PRUNED_AT_ONCE as u64 {
                return Ok(gone);
            }
        }
    }
}

/// Until when something may wait for its next try; what is said to wait for longer was
/// put off by a clock that was ahead, and does not wait.
fn latest_retry(now: Timestamp) -> Timestamp {
    now.saturating_add(LONGEST_RETRY_WAIT)
        .saturating_add(MAX_DATABASE_DIFFERENCE)
}

impl FlowFile {
    /// Whether it failed, and is not to be tried again yet.
    #[must_use]
    pub fn waits(&self, now: Timestamp) -> bool {
        let is_to_come = self.not_before > now && self.not_before <= latest_retry(now);
        self.state == FlowFileState::Failed && is_to_come
    }
}

fn ended_early(run: &FlowRun) -> bool {
    run.report
        .as_ref()
        .is_some_and(|report| report.cause.is_some())
}
