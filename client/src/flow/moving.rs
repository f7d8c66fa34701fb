//! The files of one run, moved by several workers with a connection each.

mod download;
mod source;
mod upload;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures_util::future::join_all;
use layover_depot::{
    Actor, Attempt, Carrying, ClaimedRun, Errand, Failure, FileKey, FlowDirection, FlowFile,
    FlowFileId, Hope, NotMoved, RunLost, RunReport, SourceFacts, UnmovedFile,
};
use layover_retention::Timestamp;

use super::Engine;
use super::error::RunFault;
use super::folder::{Move, Place};
use crate::exchange::{ExchangeError, Stage};
use crate::fault::Permanence;
use crate::partner::Connection;
use crate::path::RemotePath;

/// Files that are remembered in one transaction before they move.
const FOUND_AT_ONCE: usize = 1_000;

/// Tries of a file in one run: a connection that was lost is made anew once.
const TRIES_AT_ONCE: u32 = 2;

/// Files behind one another that lost their connection or were stalled: with so many a
/// run ends, and the rest is tried again, so that one partner's server does not keep others'
/// flows waiting.
const LOST_IN_A_ROW: u32 = 3;

/// Why a run ended although files of it were left.
const WHEN_DISABLED: &str = "the flow was disabled while it ran";

/// What a run has come to so far.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) report: RunReport,
    /// When something of it is to be tried again.
    pub(super) again_at: Option<Timestamp>,
}

impl Tally {
    pub(super) fn try_again(&mut self, at: Option<Timestamp>) {
        self.again_at = match (self.again_at, at) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
    }
}

/// One file that is to move.
#[derive(Debug)]
struct Job {
    id: FlowFileId,
    facts: SourceFacts,
    before: Option<FlowFile>,
}

/// What became of a file that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Came {
    /// It moved: so many bytes.
    Moved(u64),
    /// Its content had moved before.
    Known,
    /// An earlier run's is still taking its name.
    Landing,
}

/// Why a file did not move.
#[derive(Debug)]
enum JobFault {
    Exchange(ExchangeError),
    /// Its source was no longer there.
    Gone,
    Lost(RunLost),
}

impl From<ExchangeError> for JobFault {
    fn from(error: ExchangeError) -> Self {
        match error {
            ExchangeError::Missing { .. } => Self::Gone,
            error => Self::Exchange(error),
        }
    }
}

impl From<RunLost> for JobFault {
    fn from(lost: RunLost) -> Self {
        Self::Lost(lost)
    }
}

impl From<layover_depot::StoreError> for JobFault {
    fn from(error: layover_depot::StoreError) -> Self {
        Self::Lost(RunLost::Store(error))
    }
}

/// What all workers of a run share.
struct Shift<'a> {
    engine: &'a Engine,
    run: &'a ClaimedRun,
    place: &'a Place,
    jobs: Mutex<VecDeque<Job>>,
    tally: Mutex<Tally>,
    /// See [`LOST_IN_A_ROW`].
    lost: AtomicU32,
    /// The flow was disabled: what is at work is done, and nothing else is begun.
    stopped: AtomicBool,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Engine {
    /// Moves these files, the first ones first.
    pub(super) async fn move_all(
        &self,
        run: &ClaimedRun,
        place: &Place,
        connection: Connection,
        moves: Vec<Move>,
        tally: Tally,
    ) -> Result<Tally, RunFault> {
        let facts: Vec<_> = moves.iter().map(|(facts, _)| facts.clone()).collect();
        let mut ids = Vec::with_capacity(facts.len());
        for some in facts.chunks(FOUND_AT_ONCE) {
            ids.extend(self.runs.find(run, some).await?);
        }
        let jobs: VecDeque<_> = ids
            .into_iter()
            .zip(moves)
            .map(|(id, (facts, before))| Job { id, facts, before })
            .collect();
        let workers = usize::from(run.definition.rules.max_parallel)
            .min(jobs.len())
            .max(1);
        let shift = Shift {
            engine: self,
            run,
            place,
            jobs: Mutex::new(jobs),
            tally: Mutex::new(tally),
            lost: AtomicU32::new(0),
            stopped: AtomicBool::new(false),
        };
        let mut connections = vec![Some(connection)];
        connections.resize_with(workers, || None);
        let shift = &shift;
        let workers = connections.into_iter().enumerate();
        let workers = workers.map(|(number, connection)| shift.work(number, connection));
        for ended in join_all(workers).await {
            ended?;
        }
        let left = locked(&shift.jobs).len() as u64;
        let mut tally = locked(&shift.tally);
        if shift.stopped.load(Ordering::Relaxed) {
            tally.report.waiting += left;
            tally.report.cause = Some(WHEN_DISABLED.to_owned());
            // Whoever enables it makes it run.
            tally.again_at = None;
        } else if left > 0 {
            // No connection could be had any more; what failed has said when to come again.
            let again = self
                .clock
                .0
                .now()
                .saturating_add(super::WAITING_AGAIN_AFTER);
            let again = tally.again_at.unwrap_or(again);
            tally.report.waiting += left;
            tally.try_again(Some(again));
        }
        Ok(std::mem::take(&mut *tally))
    }
}

impl Shift<'_> {
    async fn work(&self, number: usize, mut connection: Option<Connection>) -> Result<(), RunLost> {
        loop {
            if self.lost.load(Ordering::Relaxed) >= LOST_IN_A_ROW || self.is_stopped().await? {
                break;
            }
            let Some(job) = locked(&self.jobs).pop_front() else {
                break;
            };
            // The first one connects with its file, which fails with the connection.
            if connection.is_none() && number > 0 {
                match self.place.partner.connect().await {
                    Ok(made) => connection = Some(made),
                    // A server that lets in fewer than we would like: the others go on.
                    Err(_) => {
                        locked(&self.jobs).push_front(job);
                        return Ok(());
                    }
                }
            }
            self.one(&job, &mut connection).await?;
        }
        if let Some(connection) = connection {
            // What was moved is safe without it.
            let _ = connection.close().await;
        }
        Ok(())
    }

    /// Whether the flow was disabled while files of this run are left.
    async fn is_stopped(&self) -> Result<bool, RunLost> {
        if locked(&self.jobs).is_empty() || self.stopped.load(Ordering::Relaxed) {
            return Ok(self.stopped.load(Ordering::Relaxed));
        }
        let stopped = self.engine.runs.is_stopped(self.run).await?;
        if stopped {
            self.stopped.store(true, Ordering::Relaxed);
        }
        Ok(stopped)
    }

    /// Moves one file, and counts what became of it.
    async fn one(&self, job: &Job, connection: &mut Option<Connection>) -> Result<(), RunLost> {
        let attempt = self.attempt(job);
        if let Some(server) = self.place.partner.observed().server {
            attempt.met(server);
        }
        let mut memory = self.recalled(job).await?;
        let came = self.tries(job, connection, &attempt, &mut memory).await;
        let stage = memory.stage();
        match &came {
            Err(JobFault::Exchange(error)) if error.ends_connection() => {
                self.lost.fetch_add(1, Ordering::Relaxed);
            }
            _ => self.lost.store(0, Ordering::Relaxed),
        }
        let error = match came {
            Ok(Came::Moved(bytes)) => {
                let mut tally = locked(&self.tally);
                tally.report.moved += 1;
                tally.report.bytes = tally.report.bytes.saturating_add(bytes);
                return Ok(());
            }
            Ok(Came::Known) => {
                attempt.forget();
                locked(&self.tally).report.known += 1;
                return Ok(());
            }
            Ok(Came::Landing) => {
                attempt.forget();
                let again = self
                    .engine
                    .clock
                    .0
                    .now()
                    .saturating_add(super::WAITING_AGAIN_AFTER);
                let mut tally = locked(&self.tally);
                tally.report.waiting += 1;
                tally.try_again(Some(again));
                return Ok(());
            }
            Err(JobFault::Lost(lost)) => return Err(lost),
            Err(JobFault::Gone) => {
                attempt.forget();
                return self
                    .not_moved(job, NotMoved::Gone, "its source is gone", stage)
                    .await;
            }
            Err(JobFault::Exchange(error)) => error,
        };
        self.tell_failed(attempt, &error).await?;
        if self.failed(job, &error, stage).await? == NotMoved::Dead {
            self.bury(job, connection, &error.for_operator()).await?;
        }
        Ok(())
    }

    fn attempt(&self, job: &Job) -> Attempt {
        let attempt = self.place.visit.attempt(self.errand(job));
        attempt.note("flow", self.run.definition.name.as_str());
        let entity = &self.place.partner.integration().spec.entity;
        if self.place.visit.entity() != entity {
            attempt.note("other_entity", entity.as_str());
        }
        attempt
    }

    /// Tells the journal of a file that was not moved.
    async fn tell_failed(&self, attempt: Attempt, error: &ExchangeError) -> Result<(), RunLost> {
        let permanence = match error.permanence() {
            Permanence::Transient => Hope::Transient,
            Permanence::Permanent => Hope::Permanent,
        };
        let failure = Failure {
            cause: error.for_operator(),
            permanence,
            moved_bytes: None,
        };
        attempt.failed(&failure).await?;
        Ok(())
    }

    /// A connection that is lost is made anew, once.
    async fn tries(
        &self,
        job: &Job,
        connection: &mut Option<Connection>,
        attempt: &Attempt,
        memory: &mut crate::exchange::Attempt,
    ) -> Result<Came, JobFault> {
        let mut tries = 0;
        loop {
            tries += 1;
            let there = match connection {
                Some(there) => there,
                None => {
                    let made = self.place.partner.connect().await;
                    connection.insert(made.map_err(ExchangeError::from)?)
                }
            };
            let came = match self.place.direction {
                FlowDirection::Download => self.download(job, there.remote(), attempt).await,
                FlowDirection::Upload => self.upload(job, there.remote(), attempt, memory).await,
            };
            let Err(JobFault::Exchange(error)) = &came else {
                return came;
            };
            if error.ends_connection() {
                *connection = None;
            }
            if error.permanence() == Permanence::Permanent || tries >= TRIES_AT_ONCE {
                return came;
            }
        }
    }

    /// Remembers that a file did not move; says what becomes of it.
    async fn failed(
        &self,
        job: &Job,
        error: &ExchangeError,
        stage: Stage,
    ) -> Result<NotMoved, RunLost> {
        let flow = &self.run.definition;
        let tries = job.before.as_ref().map_or(0, |before| before.attempts) + 1;
        let again =
            error.permanence() == Permanence::Transient && tries <= u32::from(flow.rules.retries);
        let what = if again {
            NotMoved::Again(self.engine.again_at(flow, tries))
        } else {
            NotMoved::Dead
        };
        let cause = error.for_operator();
        self.not_moved(job, what, &cause, stage).await?;
        let mut tally = locked(&self.tally);
        match what {
            NotMoved::Again(at) => {
                tally.report.failed += 1;
                tally.try_again(Some(at));
            }
            NotMoved::Dead | NotMoved::Gone => tally.report.dead += 1,
        }
        Ok(what)
    }

    async fn not_moved(
        &self,
        job: &Job,
        what: NotMoved,
        cause: &str,
        stage: Stage,
    ) -> Result<(), RunLost> {
        let unmoved = UnmovedFile {
            file: job.id,
            name: &job.facts.name,
            what,
            cause,
            is_unsettled: stage == Stage::Finishing,
        };
        self.engine.runs.not_moved(self.run, &unmoved).await
    }

    fn errand(&self, job: &Job) -> Errand {
        let spec = &self.place.partner.integration().spec;
        let there = self.place.there(&job.facts.name);
        Errand {
            carrying: match self.place.direction {
                FlowDirection::Download => Carrying::Download,
                FlowDirection::Upload => Carrying::Upload,
            },
            integration: spec.name.clone(),
            entity: spec.entity.clone(),
            location: self.place.location.clone(),
            protocol: spec.protocol,
            remote: there.map(|path| path.to_string()).unwrap_or_default(),
            run: format!("{}/{}", self.run.definition.name, self.run.id.0),
            actor: Actor::new(&format!("flow:{}", self.run.definition.name)),
        }
    }

    /// The keys of a file that moved.
    fn keys(&self, job: &Job, sha256: &[u8; 32]) -> Vec<FileKey> {
        let mode = self.run.definition.idempotency_mode;
        let look = FileKey::of_listing(mode, &job.facts);
        // Of the two one is there at most: a file has two keys, and no more.
        let day = FileKey::of_day(mode, &job.facts).filter(|day| Some(*day) != look);
        let content = FileKey::of_content(mode, &job.facts.name, sha256);
        look.into_iter().chain(day).chain(content).collect()
    }

    /// Whether this content moved before under this name, in the mode that goes by it.
    async fn is_known(
        &self,
        job: &Job,
        sha256: &[u8; 32],
    ) -> Result<bool, layover_depot::StoreError> {
        let flow = &self.run.definition;
        match FileKey::of_content(flow.idempotency_mode, &job.facts.name, sha256) {
            Some(key) => {
                let known = self.engine.runs.known(&flow.name, &[key]).await?;
                Ok(known.first() == Some(&true))
            }
            None => Ok(false),
        }
    }

    /// The file there; a name that no path can hold is one that its owner must change.
    fn there(&self, job: &Job) -> Result<RemotePath, ExchangeError> {
        self.place.there(&job.facts.name).ok_or_else(|| {
            let what = "the file's name cannot be used on the partner's server";
            crate::exchange::LocalError::permanent(what).into()
        })
    }

    /// The same here.
    fn here(&self, job: &Job) -> Result<layover_depot::VirtualPath, ExchangeError> {
        self.place.home.join(&job.facts.name).map_err(|error| {
            let what = "the file's name cannot be used here";
            crate::exchange::LocalError::permanent(what)
                .because(error)
                .into()
        })
    }
}
