//! A file from the partner to us.

use async_trait::async_trait;
use bytes::Bytes;
use layover_depot::{AfterSuccess, Attempt, FlowFileState, MovedFile, Replace, SeenSource};
use layover_retention::Timestamp;

use super::source::At;
use super::{Came, Job, JobFault, Shift};
use crate::exchange::{
    FetchRules, Fetched, HomeLanding, HomeTarget, Kept, Landing, LocalError, SourceState, fetch,
    look,
};
use crate::fault::Permanence;
use crate::remote::{Precision, Remote, Silent};

/// A landing that the flow remembers in the transaction that publishes it.
struct Remembered<'a> {
    shift: &'a Shift<'a>,
    job: &'a Job,
    attempt: &'a Attempt,
    inner: HomeLanding<'a>,
    source_done: bool,
    source: SeenSource,
    /// The content had moved before: it was not published.
    known: Option<Fetched>,
}

#[async_trait]
impl Landing for Remembered<'_> {
    fn kept(&self) -> Option<Kept> {
        self.inner.kept()
    }

    async fn read_kept(&mut self, at: u64, most_bytes: usize) -> Result<Bytes, LocalError> {
        self.inner.read_kept(at, most_bytes).await
    }

    async fn begin(&mut self, of: &SourceState, at: u64) -> Result<(), LocalError> {
        self.inner.begin(of, at).await
    }

    async fn write(&mut self, bytes: Bytes) -> Result<(), LocalError> {
        self.inner.write(bytes).await
    }

    async fn publish(&mut self, fetched: &Fetched) -> Result<(), LocalError> {
        let known = self.shift.is_known(self.job, &fetched.sha256).await;
        let known = known.map_err(|error| {
            LocalError::transient("what had moved before could not be looked up").because(error)
        })?;
        if known {
            self.known = Some(fetched.clone());
            return Err(LocalError::permanent("this content had moved before"));
        }
        let moved = self
            .shift
            .moved(self.job, fetched, self.source_done, self.source);
        self.attempt.lands_for(self.shift.run, moved);
        self.inner.publish(fetched).await
    }
}

/// What is remembered of a source for a later run.
fn seen(source: &SourceState) -> SeenSource {
    let exact = source
        .modified
        .filter(|modified| modified.precision == Precision::Second);
    SeenSource {
        size_bytes: source.size_bytes,
        modified_at: exact.map(|modified| Timestamp::from_micros(modified.at.as_microsecond())),
        file: None,
    }
}

impl Shift<'_> {
    fn moved(
        &self,
        job: &Job,
        fetched: &Fetched,
        source_done: bool,
        source: SeenSource,
    ) -> MovedFile {
        MovedFile {
            file: job.id,
            target: job.facts.name.clone(),
            sha256: Some(fetched.sha256),
            content_bytes: fetched.content_bytes,
            keys: self.keys(job, &fetched.sha256),
            source_done,
            source,
        }
    }

    pub(super) async fn download(
        &self,
        job: &Job,
        remote: &mut dyn Remote,
        attempt: &Attempt,
    ) -> Result<Came, JobFault> {
        let (runs, run) = (&self.engine.runs, self.run);
        if let Some(before) = &job.before
            && before.state == FlowFileState::Landing
            && runs.is_landing(before).await?
        {
            return Ok(Came::Landing);
        }
        let (there, here) = (self.there(job)?, self.here(job)?);
        if !runs.begin(run, job.id, &job.facts.name).await? {
            return Ok(Came::Landing);
        }
        let source_done = run.definition.after_success() == AfterSuccess::Keep;
        let source = look(remote, &there).await?;
        let rules = FetchRules {
            pgp: self
                .place
                .keys
                .decrypting(self.engine.surroundings.now.tell()),
            ..FetchRules::default()
        };
        let target = HomeTarget {
            path: here,
            replace: Replace::Allow,
            remote: there.clone(),
            source,
            is_encrypted: rules.pgp.is_some(),
        };
        let inner = HomeLanding::open(attempt, target).await;
        let mut landing = Remembered {
            shift: self,
            job,
            attempt,
            inner: inner.map_err(crate::exchange::ExchangeError::from)?,
            source_done,
            source: seen(&source),
            known: None,
        };
        let fetched = fetch(remote, &there, &mut landing, &rules, &Silent).await;
        let Remembered { inner, known, .. } = landing;
        let bytes = match (fetched, known) {
            (_, Some(known)) => {
                if let Err(error) = inner.discard().await {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "a file that had moved before stays hidden until it is swept"
                    );
                }
                runs.known_again(run, &self.moved(job, &known, source_done, seen(&source)))
                    .await?;
                None
            }
            (Ok(fetched), None) => Some(fetched.content_bytes),
            (Err(error), None) => {
                if error.permanence() == Permanence::Transient {
                    // What came is gone on with at the next try.
                    let _ = inner.leave().await;
                }
                return Err(error.into());
            }
        };
        if !source_done {
            self.after(job, remote, At::Once(source)).await?;
        }
        Ok(bytes.map_or(Came::Known, Came::Moved))
    }
}
