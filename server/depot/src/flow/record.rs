//! What is remembered of flows at work: runs, and the files that they found.

use layover_retention::Timestamp;
use serde::{Deserialize, Serialize};

use super::key::{FileKey, SeenSource, SourceFacts};
use super::schedule::zone_of;
use crate::integration::FlowDefinition;
use crate::journal::words;
use crate::timer::Stopwatch;
use crate::vfs::HiddenName;
use crate::{FlowName, NodeId};

words!(
    /// Why a flow runs.
    RunCause {
        /// Its schedule said so.
        Schedule = "schedule",
        /// A file arrived in its folder.
        Arrival = "arrival",
        /// An operator said so.
        Manual = "manual",
        /// A file is to be tried again.
        Retry = "retry",
    }
);

words!(
    /// Where a run is.
    RunState {
        /// Nobody has begun it.
        Due = "due",
        /// A node is about it.
        Running = "running",
        /// It is over, and every file that was to move has moved.
        Done = "done",
        /// It is over, and something went wrong.
        Failed = "failed",
        /// Its flow was disabled before it began.
        Skipped = "skipped",
    }
);

words!(
    /// Where a file of a flow is.
    FlowFileState {
        /// It is to move.
        Planned = "planned",
        /// It is on its way; whoever finds it so after a crash looks at the other side.
        Moving = "moving",
        /// It takes its name here; the ledger decides.
        Landing = "landing",
        /// It has moved.
        Done = "done",
        /// It is to be tried again.
        Failed = "failed",
        /// It was given up.
        Dead = "dead",
        /// Its source was no longer there.
        Gone = "gone",
    }
);

/// The number of a run; it grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct FlowRunId(pub i64);

/// The number of a file that a flow found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct FlowFileId(pub i64);

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands it so")]
fn is_zero(value: &u64) -> bool {
    *value == 0
}

/// What a run came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RunReport {
    /// Files that moved.
    pub moved: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files that could not be moved this time.
    pub failed: u64,
    /// Files that were given up.
    pub dead: u64,
    /// Files that are still changing, or bear a locking suffix.
    pub waiting: u64,
    /// Files that had moved before.
    pub known: u64,
    /// Files that were given up before, and look as they did then.
    #[serde(skip_serializing_if = "is_zero")]
    pub given_up: u64,
    /// Files that moved, and are still at their source although they should not.
    #[serde(skip_serializing_if = "is_zero")]
    pub sources_left: u64,
    /// Why the run as a whole ended early.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
}

/// A run as it was remembered.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FlowRun {
    /// Its number.
    pub id: FlowRunId,
    /// Whose.
    pub flow: FlowName,
    /// Why.
    pub cause: RunCause,
    /// The moment that it stands for.
    pub scheduled_for: Timestamp,
    /// Where it is.
    pub state: RunState,
    /// The node that took it last.
    pub node: Option<String>,
    /// When somebody began it.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// The operator who asked for it.
    pub asked_by: Option<String>,
    /// What it came to.
    pub report: Option<RunReport>,
}

/// What names a run in everything that is written for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RunToken {
    pub(crate) run: FlowRunId,
    pub(crate) token: i64,
}

/// A run that this node holds until its lease ends.
#[derive(Clone, Debug)]
pub struct ClaimedRun {
    /// Its number.
    pub id: FlowRunId,
    pub(crate) token: i64,
    /// The flow as it was when the run was taken.
    pub definition: FlowDefinition,
    /// Whose integration it is.
    pub entity: Option<String>,
    /// The entity's zone, where it has one.
    pub entity_zone: Option<String>,
    /// Why it runs.
    pub cause: RunCause,
    /// The moment that it stands for.
    pub scheduled_for: Timestamp,
    /// Somebody had begun it, and did not come to its end.
    pub taken_over: bool,
    pub(crate) census: Census,
    /// Since this node has it.
    pub(crate) running: Stopwatch,
}

/// Where the counting of a flow's source stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Census {
    /// How many there were.
    pub(crate) number: i64,
    /// When the last one was.
    pub(crate) at: Option<Timestamp>,
}

impl ClaimedRun {
    /// The moment that it stands for, in the flow's zone: days in patterns are its.
    #[must_use]
    pub fn local_moment(&self) -> jiff::civil::DateTime {
        local_moment(
            &self.definition,
            self.entity_zone.as_deref(),
            self.scheduled_for,
        )
    }

    pub(crate) fn token(&self) -> RunToken {
        RunToken {
            run: self.id,
            token: self.token,
        }
    }
}

/// A moment in the zone of a flow.
pub(crate) fn local_moment(
    flow: &FlowDefinition,
    entity_zone: Option<&str>,
    moment: Timestamp,
) -> jiff::civil::DateTime {
    let entity_zone = entity_zone.and_then(|zone| zone.parse().ok());
    let zone = flow.rules.time_zone.as_ref().or(entity_zone.as_ref());
    let moment = jiff::Timestamp::from_microsecond(moment.as_micros());
    let moment = moment.unwrap_or(jiff::Timestamp::MAX);
    moment.to_zoned(zone_of(zone)).datetime()
}

impl FlowStanding {
    /// A moment in the flow's zone.
    #[must_use]
    pub fn local_moment(&self, moment: Timestamp) -> jiff::civil::DateTime {
        local_moment(&self.definition, self.entity_zone.as_deref(), moment)
    }
}

/// A flow, and where its schedule is.
#[derive(Clone, Debug, PartialEq)]
pub struct FlowStanding {
    /// What the operator says.
    pub definition: FlowDefinition,
    pub(crate) version: i64,
    /// Its schedule has changed and is to be planned from here on.
    pub(crate) plan_from: Option<Timestamp>,
    /// When its schedule is due next.
    pub next_due: Option<Timestamp>,
    /// When files that failed, or a run that could not begin, are tried again.
    pub next_retry: Option<Timestamp>,
    /// The entity's zone, where it has one.
    pub entity_zone: Option<String>,
}

/// What becomes of a flow's schedule.
#[derive(Clone, Debug)]
pub(crate) struct RunPlan {
    pub(crate) flow: FlowName,
    pub(crate) partner: String,
    /// As it was looked at: who comes second does nothing.
    pub(crate) version: i64,
    pub(crate) was_due: Option<Timestamp>,
    /// The moment that fires; none: nothing does.
    pub(crate) fire: Option<Timestamp>,
    pub(crate) next_due: Option<Timestamp>,
    pub(crate) now: Timestamp,
}

/// A file that a flow found.
#[derive(Clone, Debug, PartialEq)]
pub struct FlowFile {
    /// Its number.
    pub id: FlowFileId,
    /// The run that had to do with it last.
    pub run: FlowRunId,
    /// As its source tells it.
    pub facts: SourceFacts,
    /// Where it is.
    pub state: FlowFileState,
    /// How often it was tried.
    pub attempts: u32,
    /// It is not tried sooner, as far as a clock that was right said so; see
    /// [`FlowFile::waits`].
    pub not_before: Timestamp,
    /// The name that it has, or gets, where it goes.
    pub target: Option<Vec<u8>>,
    /// While it lands: its name until it is published.
    pub(crate) hidden: Option<HiddenName>,
    /// SHA-256 of its content, in hexadecimal digits.
    pub sha256: Option<String>,
    /// Bytes of its content.
    pub content_bytes: Option<u64>,
    /// It moved, and something is still to be done with its source.
    pub source_pending: bool,
    /// Why it failed.
    pub cause: Option<String>,
    /// When it was found.
    pub found_at: Timestamp,
    /// When it changed last.
    pub changed_at: Timestamp,
}

/// A file that has moved, as its run tells it.
#[derive(Clone, Debug)]
pub struct MovedFile {
    /// Which.
    pub file: FlowFileId,
    /// The name that it has where it went.
    pub target: Vec<u8>,
    /// SHA-256 of its content.
    pub sha256: Option<[u8; 32]>,
    /// Bytes of its content.
    pub content_bytes: u64,
    /// By which it is known again.
    pub keys: Vec<FileKey>,
    /// Nothing is to be done with its source.
    pub source_done: bool,
    /// How the source looked when it was read, as exactly as its server tells.
    pub source: SeenSource,
}

impl MovedFile {
    pub(super) fn done_at(&self, now: Timestamp) -> FileDone {
        FileDone {
            file: self.file,
            target: self.target.clone(),
            sha256: self.sha256.map(hex::encode),
            content_bytes: self.content_bytes,
            keys: self.keys.clone(),
            source_done: self.source_done,
            source: self.source,
            note: None,
            now,
        }
    }
}

/// A file that did not move, as its run tells it.
#[derive(Clone, Copy, Debug)]
pub struct UnmovedFile<'a> {
    /// Which.
    pub file: FlowFileId,
    /// Its name at the source.
    pub name: &'a [u8],
    /// What becomes of it.
    pub what: NotMoved,
    /// Why, in a sentence.
    pub cause: &'a str,
    /// Whether the partner has it under its name is not known: what was noted by
    /// [`FlowRuns::note_last_step`](super::FlowRuns::note_last_step) stays for the next try.
    pub is_unsettled: bool,
}

/// What becomes of a file that did not move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotMoved {
    /// It is tried again, not before this.
    Again(Timestamp),
    /// It is given up.
    Dead,
    /// Its source was no longer there.
    Gone,
}

/// A file that is to move, about to be remembered.
#[derive(Clone, Debug)]
pub(crate) struct FoundFile {
    pub(crate) facts: SourceFacts,
    pub(crate) now: Timestamp,
}

/// A file that has moved.
#[derive(Clone, Debug)]
pub(crate) struct FileDone {
    pub(crate) file: FlowFileId,
    pub(crate) target: Vec<u8>,
    pub(crate) sha256: Option<String>,
    pub(crate) content_bytes: u64,
    pub(crate) keys: Vec<FileKey>,
    /// Nothing is to be done with its source.
    pub(crate) source_done: bool,
    pub(crate) source: SeenSource,
    /// Why it was not sent once more.
    pub(crate) note: Option<&'static str>,
    pub(crate) now: Timestamp,
}

/// A file that did not move.
#[derive(Clone, Debug)]
pub(crate) struct FileFailed {
    pub(crate) file: FlowFileId,
    /// `Failed` until `not_before`, `Dead`, or `Gone`.
    pub(crate) state: FlowFileState,
    pub(crate) cause: String,
    pub(crate) not_before: Timestamp,
    /// Whether its last step was taken is not known: what was noted of it stays.
    pub(crate) is_unsettled: bool,
    pub(crate) now: Timestamp,
}

/// A file that takes its name here: remembered in the transactions that make it so.
#[derive(Clone, Debug)]
pub(crate) struct FlowLanding {
    pub(crate) held: RunToken,
    pub(crate) file: FlowFileId,
    /// Its name until it is published.
    pub(crate) hidden: HiddenName,
    pub(crate) keys: Vec<FileKey>,
    pub(crate) sha256: String,
    pub(crate) content_bytes: u64,
    pub(crate) source_done: bool,
    pub(crate) source: SeenSource,
}

/// Whose file it is that was landing when its process died.
#[derive(Clone, Debug)]
pub(crate) struct LandingRun {
    pub(crate) run: FlowRunId,
    pub(crate) definition: FlowDefinition,
    /// The file's name at its source.
    pub(crate) name: Vec<u8>,
}

/// How many runs a node does at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunSlots {
    /// All that it may do.
    pub all: usize,
    /// How many more it may begin now.
    pub free: usize,
}

impl RunSlots {
    /// How many of them runs of one integration may have: half, and at least one, so that
    /// a partner's server that hangs does not keep all others waiting.
    #[must_use]
    pub fn of_one_integration(self) -> usize {
        (self.all / 2).max(1)
    }
}

/// Who takes runs, and for how long.
#[derive(Clone, Debug)]
pub(crate) struct RunTaker {
    pub(crate) slots: RunSlots,
    pub(crate) node: NodeId,
    pub(crate) now: Timestamp,
    pub(crate) lease_until: Timestamp,
    /// No lease ends later: one that does was given by a clock that was ahead.
    pub(crate) latest_lease: Timestamp,
    /// The same of runs that wait for another try.
    pub(crate) latest_retry: Timestamp,
}
