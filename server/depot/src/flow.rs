//! Flows at work: when they are due, which files move, and what is remembered of
//! runs and files. What an operator says of a flow is `integration/flow.rs`.
//!
//! `schedule`, `choice`, `key` and `backoff` decide and do nothing;
//! `runs` is the door of whoever runs flows, `planning` when they run next, `census` what it forgets. Everything that a run
//! writes names its token: who has lost the lease writes nothing any more.

mod census;
mod key;
mod planning;
mod record;
mod runs;
mod schedule;

pub use census::{CENSUS_EVERY, CENSUSES_KEPT};
pub use key::{FileKey, SeenSource, SourceFacts};
pub use planning::MISSED_AFTER;
pub(crate) use record::{
    Census, FileDone, FileFailed, FlowLanding, FoundFile, LandingRun, RunPlan, RunTaker, RunToken,
};
pub use record::{
    ClaimedRun, FlowFile, FlowFileId, FlowFileState, FlowRun, FlowRunId, FlowStanding, MovedFile,
    NotMoved, RunCause, RunReport, RunSlots, RunState, UnmovedFile,
};
pub use runs::{FlowRuns, LONGEST_RETRY_WAIT, RUN_LEASE, RunLost, WhyLost};
pub use schedule::Schedule;
pub(crate) use schedule::{bits, once_in, zone_of};
