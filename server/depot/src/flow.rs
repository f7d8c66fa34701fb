//! Flows at work: when they are due, which files move, and what is remembered of
//! runs and files. What an operator says of a flow is `integration/flow.rs`.
//!
//! `schedule`, `choice`, `expected`, `key` and `backoff` decide and do nothing;
//! `runs` is the door of whoever runs flows. Everything that a run writes names its
//! token: who has lost the lease writes nothing any more.

mod key;
mod record;
mod runs;
mod schedule;

pub use key::{FileKey, SourceFacts};
pub use record::{
    ClaimedRun, FlowFile, FlowFileId, FlowFileState, FlowRun, FlowRunId, FlowStanding, RunCause,
    RunReport, RunState,
};
pub(crate) use record::{
    FileDone, FileFailed, FlowLanding, FoundFile, LandingRun, RunPlan, RunTaker, RunToken,
};
pub use runs::{FlowRuns, MISSED_AFTER, MovedFile, NotMoved, RUN_LEASE, RunLost, UnmovedFile};
pub use schedule::Schedule;
pub(crate) use schedule::zone_of;
