//! A file from us to the partner.

use async_trait::async_trait;
use layover_depot::{
    AfterSuccess, Attempt, FlowDirection, MovedFile, SeenSource, SourceFacts, StoreError,
};

use super::source::At;
use super::{Came, Job, JobFault, Shift};
use crate::exchange::{
    Content, ExchangeError, HomeOutgoing, Leftovers, LocalError, Outgoing, SendRules,
    note_delivered, send,
};
use crate::remote::{OnExisting, Remote, Silent};

/// A file of ours whose last step is noted before it is taken.
struct Noted<'a> {
    shift: &'a Shift<'a>,
    job: &'a Job,
    inner: &'a mut HomeOutgoing,
}

#[async_trait]
impl Outgoing for Noted<'_> {
    fn size_bytes(&self) -> u64 {
        self.inner.size_bytes()
    }

    fn sha256(&self) -> Option<[u8; 32]> {
        self.inner.sha256()
    }

    fn version(&self) -> String {
        self.inner.version()
    }

    async fn open(&mut self, offset: u64) -> Result<Content, LocalError> {
        Outgoing::open(self.inner, offset).await
    }

    async fn last_step(&mut self, step: Option<&str>) -> Result<(), LocalError> {
        let (runs, run) = (&self.shift.engine.runs, self.shift.run);
        let noted = runs.note_last_step(run, self.job.id, step).await;
        noted.map_err(|lost| {
            LocalError::transient("that the file gets its name could not be noted").because(lost)
        })
    }

    async fn is_unchanged(&mut self) -> Result<bool, LocalError> {
        self.inner.is_unchanged().await
    }
}

impl Shift<'_> {
    fn send_rules(&self) -> SendRules {
        let policy = &self.place.partner.integration().spec.settings.outbound;
        SendRules {
            partial: self.place.partial.clone(),
            on_existing: if policy.delete_then_rename {
                OnExisting::DeleteFirst
            } else {
                OnExisting::Replace
            },
            pgp: self
                .place
                .keys
                .encrypting(self.engine.surroundings.now.tell()),
            leftovers: Leftovers::Resume,
        }
    }

    /// What an earlier run knew of the file when it was cut off in its last step.
    pub(super) async fn recalled(&self, job: &Job) -> Result<crate::exchange::Attempt, StoreError> {
        let before = job.before.as_ref().filter(|before| before.attempts > 0);
        let there = self.place.there(&job.facts.name);
        let (Some(before), Some(there), FlowDirection::Upload) =
            (before, there, self.place.direction)
        else {
            return Ok(crate::exchange::Attempt::default());
        };
        let step = self.engine.runs.last_step(before.id).await?;
        let recalled = step.and_then(|step| crate::exchange::Attempt::recalled(&step, &there));
        Ok(recalled.unwrap_or_default())
    }

    pub(super) async fn upload(
        &self,
        job: &Job,
        remote: &mut dyn Remote,
        attempt: &Attempt,
        memory: &mut crate::exchange::Attempt,
    ) -> Result<Came, JobFault> {
        let (runs, run) = (&self.engine.runs, self.run);
        let (there, here) = (self.there(job)?, self.here(job)?);
        let mut outgoing = HomeOutgoing::open(attempt, here)
            .await
            .map_err(ExchangeError::from)?;
        // What is sent is this one, whatever takes its name meanwhile.
        let (file, outgoing_bytes) = (outgoing.file_id(), outgoing.size_bytes());
        let rules = self.send_rules();
        let source_done = run.definition.after_success() == AfterSuccess::Keep;
        let moved = |sha256: &[u8; 32], content_bytes| MovedFile {
            file: job.id,
            target: job.facts.name.clone(),
            sha256: Some(*sha256),
            content_bytes,
            keys: self.keys(job, sha256),
            source_done,
            source: SeenSource {
                size_bytes: Some(outgoing_bytes),
                modified_at: job.facts.modified_at,
                file: Some(file),
            },
        };
        let at = At::Later {
            facts: SourceFacts {
                file: Some(file),
                ..job.facts.clone()
            },
        };
        if let Some(sha256) = outgoing.sha256()
            && self.is_known(job, &sha256).await?
        {
            runs.known_again(run, &moved(&sha256, outgoing.size_bytes()))
                .await?;
            if !source_done {
                self.after(job, remote, at.clone()).await?;
            }
            return Ok(Came::Known);
        }
        if !runs.begin(run, job.id, &job.facts.name).await? {
            return Ok(Came::Landing);
        }
        let mut noted = Noted {
            shift: self,
            job,
            inner: &mut outgoing,
        };
        let sent = send(remote, &mut noted, &there, &rules, memory, &Silent).await?;
        note_delivered(attempt, &sent);
        let moved = moved(&sent.sha256, sent.content_bytes);
        runs.delivered(run, &moved, outgoing.leaving()).await?;
        if !source_done {
            self.after(job, remote, at.clone()).await?;
        }
        Ok(Came::Moved(sent.content_bytes))
    }
}
