//! Files that are expected: "crm_$yyyyMMdd.csv by 06:00, 1-100 MB, and not yesterday's".
//!
//! `file`, `deadline`, `planning` and `judging` decide and do nothing; [`ExpectationLooks`] is the
//! door of whoever looks. A deadline that has come makes a day of its expectation, one
//! row; whoever holds the row's lease looks, and ends the day in one transaction with the
//! alert. So each day is looked at by one node, and told once, whoever dies when.

mod deadline;
mod definition;
mod file;
mod judging;
mod looks;
mod planning;
mod question;
mod record;

pub use definition::{
    ExpectationDefinition, ExpectationFault, ExpectationRules, ExpectedDays, ExpectedPlace,
    MAX_DATE_OFFSET_DAYS, MAX_EXPECTATIONS, TimeOfDay,
};
pub use file::{ExpectedFile, ExpectedFileError, MAX_EXPECTED_FILE_BYTES};
pub use judging::{SeenFile, Sighting, Verdict};
pub use looks::{ExpectationLooks, LOOK_LEASE, LookLost, OpenDay};
pub use question::DayQuestion;
pub use record::{DayContent, DayFault, DayState, ExpectationDay, ExpectationStanding};
pub(crate) use record::{DayEnd, DayKey, DayLook, ExpectationPlan, FileEnd, GoneFile, ToldNames};
