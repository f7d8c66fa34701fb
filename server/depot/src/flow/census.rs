//! Which of a flow's keys may be forgotten: those of files that are long gone from its
//! source. Nothing but a file that was looked for and not found counts as gone, so days on
//! which nobody looked, or on which the source showed no file at all, do not.

use std::time::Duration;

use super::key::FileKey;
use super::record::ClaimedRun;
use super::runs::{FlowRuns, RunLost};
use layover_retention::Timestamp;

/// A flow's source is counted no sooner after the last time.
pub const CENSUS_EVERY: Duration = Duration::from_secs(7 * 86_400);

/// Censuses that do not find a file until its keys are forgotten: more than 90 days.
pub const CENSUSES_KEPT: u32 = 13;

/// Keys that one transaction marks.
const MARKED_AT_ONCE: usize = 5_000;

/// Keys that are forgotten in one transaction.
const FORGOTTEN_AT_ONCE: usize = 1_000;

impl ClaimedRun {
    /// Whether all files of the source are to be counted by this run. A last time that lies
    /// far ahead is that of a clock which was wrong: it keeps nobody from counting.
    #[must_use]
    pub fn is_census_due(&self, now: Timestamp) -> bool {
        let is_over = |at: Timestamp| at.saturating_add(CENSUS_EVERY) <= now;
        let is_ahead = |at: Timestamp| at > now.saturating_add(CENSUS_EVERY);
        self.census.at.is_none_or(|at| is_over(at) || is_ahead(at))
    }
}

impl FlowRuns {
    /// The source shows files of these keys, and no others; what no census has found for
    /// long is forgotten. Returns how many keys that were. Without a key nothing is said
    /// of any: a folder that shows no file may be one that is not there.
    ///
    /// # Errors
    /// [`RunLost`].
    pub async fn take_census(&self, run: &ClaimedRun, keys: &[FileKey]) -> Result<u64, RunLost> {
        if keys.is_empty() {
            return Ok(0);
        }
        let (store, flow) = (&self.holdings.store, &run.definition.name);
        let census = run.census.number.saturating_add(1);
        for some in keys.chunks(MARKED_AT_ONCE) {
            let seen = store.see_keys(run.token(), flow, census, some).await?;
            seen.ok_or(RunLost::Lost)?;
        }
        let now = self.holdings.now();
        if !store.end_census(run.token(), flow, census, now).await? {
            return Err(RunLost::Lost);
        }
        let before = census.saturating_sub(i64::from(CENSUSES_KEPT));
        let (mut gone, mut after): (u64, Vec<u8>) = (0, Vec::new());
        loop {
            let forgotten = store
                .forget_keys(flow, before, &after, FORGOTTEN_AT_ONCE)
                .await?;
            gone = gone.saturating_add(forgotten.len() as u64);
            match forgotten.last() {
                Some(last) if forgotten.len() == FORGOTTEN_AT_ONCE => {
                    after = last.as_bytes().to_vec();
                }
                _ => return Ok(gone),
            }
        }
    }
}
