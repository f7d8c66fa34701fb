//! A file from us to the partner.

use layover_depot::{AfterSuccess, Attempt, MovedFile};
use layover_retention::Timestamp;

use super::{Came, Job, JobFault, Shift};
use crate::exchange::{
    ExchangeError, HomeOutgoing, Leftovers, Outgoing, SendRules, note_delivered, send,
};
use crate::path::RemotePath;
use crate::remote::{EntryKind, OnExisting, Precision, Remote, Silent};

/// How far a partner's clock may be behind ours.
const CLOCKS_APART_US: i64 = 120_000_000;

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
        let rules = self.send_rules();
        let source_done = run.definition.after_success() == AfterSuccess::Keep;
        let moved = |sha256: &[u8; 32], content_bytes| MovedFile {
            file: job.id,
            target: job.facts.name.clone(),
            sha256: Some(*sha256),
            content_bytes,
            keys: self.keys(job, sha256),
            source_done,
        };
        if let Some(sha256) = outgoing.sha256()
            && self.is_known(&sha256).await?
        {
            runs.moved(run, &moved(&sha256, outgoing.size_bytes()))
                .await?;
            if !source_done {
                self.after(job, remote).await?;
            }
            return Ok(Came::Known);
        }
        if let Some(sha256) = self
            .sent_before(job, remote, &there, &outgoing, &rules)
            .await?
        {
            attempt.note("verified", "found there");
            let bytes = outgoing.size_bytes();
            runs.delivered(run, &moved(&sha256, bytes), outgoing.leaving())
                .await?;
            if !source_done {
                self.after(job, remote).await?;
            }
            return Ok(Came::Moved(bytes));
        }
        runs.begin(run, job.id, &job.facts.name).await?;
        let sent = send(remote, &mut outgoing, &there, &rules, memory, &Silent).await?;
        note_delivered(attempt, &sent);
        let moved = moved(&sent.sha256, sent.content_bytes);
        runs.delivered(run, &moved, outgoing.leaving()).await?;
        if !source_done {
            self.after(job, remote).await?;
        }
        Ok(Came::Moved(sent.content_bytes))
    }

    /// A run that was cut off may have sent the file and not come to say so. With a
    /// temporary name its own one is only there when it is whole; it is ours when it is
    /// what we would send, and no older than the try.
    async fn sent_before(
        &self,
        job: &Job,
        remote: &mut dyn Remote,
        there: &RemotePath,
        outgoing: &HomeOutgoing,
        rules: &SendRules,
    ) -> Result<Option<[u8; 32]>, ExchangeError> {
        let Some(begun) = job.before.as_ref().filter(|before| before.attempts > 0) else {
            return Ok(None);
        };
        let (Some(_), Some(ours)) = (&rules.partial, outgoing.sha256()) else {
            return Ok(None);
        };
        let Some(entry) = remote.stat(there).await? else {
            return Ok(None);
        };
        if entry.kind != EntryKind::File {
            return Ok(None);
        }
        let is_plain = rules.pgp.is_none();
        if is_plain
            && entry
                .size_bytes
                .is_some_and(|size| size != outgoing.size_bytes())
        {
            return Ok(None);
        }
        if is_plain && let Some(theirs) = remote.sha256(there).await? {
            return Ok((theirs == ours).then_some(ours));
        }
        let Some(modified) = entry
            .modified
            .filter(|at| at.precision == Precision::Second)
        else {
            return Ok(None);
        };
        let is_new = is_since(modified.at.as_microsecond(), begun.first_tried_at());
        Ok(is_new.then_some(ours))
    }
}

/// Whether something that the partner's clock dates so happened since then.
fn is_since(modified_us: i64, begun: Timestamp) -> bool {
    modified_us >= begun.as_micros().saturating_sub(CLOCKS_APART_US)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_from_before_the_try_is_not_what_it_sent() {
        let begun = Timestamp::from_micros(1_000_000_000);
        assert!(is_since(1_000_000_000 - CLOCKS_APART_US, begun));
        assert!(!is_since(1_000_000_000 - CLOCKS_APART_US - 1, begun));
    }
}
