//! What is remembered of expectations and their days.

use jiff::civil::Date;
use layover_retention::Timestamp;

use super::definition::ExpectationDefinition;
use crate::event::NewEvent;
use crate::journal::{NewEntry, words};
use crate::{EntityId, EntityName, ExpectationName, FileId, HomeId};

words!(
    /// What was wrong with the file of a day.
    DayFault {
        /// No file was there by the deadline.
        Missing = "missing",
        /// It came, but after the deadline.
        Late = "late",
        /// It has less bytes than it must.
        TooSmall = "too_small",
        /// It has more bytes than it may.
        TooLarge = "too_large",
        /// It is the file of the last time again.
        SameContent = "same_content",
        /// The partner's server could not be asked.
        Unreachable = "unreachable",
    }
);

words!(
    /// Where a day is.
    DayState {
        /// Somebody is to look, now or again: for a checksum, or a server that did not
        /// answer.
        Waiting = "waiting",
        /// The file was missing, which was told; it may still come.
        Missing = "missing",
        /// Nobody looks any more.
        Done = "done",
    }
);

/// A day of an expectation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpectationDay {
    /// The day, in the entity's zone.
    pub day: Date,
    /// Until when the file was expected.
    pub due_at: Timestamp,
    /// Where it is.
    pub state: DayState,
    /// When it was decided; of one that is not, when somebody looks next.
    pub at: Timestamp,
    /// What was wrong; none: nothing, or nobody knows yet.
    pub fault: Option<DayFault>,
    /// The file's name.
    pub file_name: Option<Vec<u8>>,
    /// Its size.
    pub size_bytes: Option<u64>,
    /// Its SHA-256, in hexadecimal digits.
    pub sha256: Option<String>,
    /// Of one on a partner's server: when it changed, as that server says.
    pub modified_at: Option<Timestamp>,
}

/// By what the next file is known to be the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DayContent {
    /// The day that it is of.
    pub day: String,
    /// Its size.
    pub size_bytes: Option<u64>,
    /// Its SHA-256.
    pub sha256: Option<String>,
    /// When it changed, on a partner's server.
    pub modified_at: Option<Timestamp>,
}

/// An expectation, and where it is.
#[derive(Clone, Debug, PartialEq)]
pub struct ExpectationStanding {
    /// What the operator says.
    pub definition: ExpectationDefinition,
    pub(crate) version: i64,
    /// It has changed, and its deadlines count from here on.
    pub(crate) plan_from: Option<Timestamp>,
    /// Its next deadline.
    pub next_due: Option<Timestamp>,
    /// Whose it is.
    pub entity: EntityName,
    /// The entity's zone, where it has one.
    pub entity_zone: Option<String>,
    /// Its last day.
    pub last: Option<ExpectationDay>,
}

/// A day, as its row is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DayKey {
    pub(crate) expectation: ExpectationName,
    pub(crate) day: Date,
}

/// What becomes of an expectation whose deadline has come, or that has changed.
#[derive(Clone, Debug)]
pub(crate) struct ExpectationPlan {
    pub(crate) name: ExpectationName,
    /// As it was looked at: who comes second does nothing.
    pub(crate) version: i64,
    pub(crate) was_due: Option<Timestamp>,
    /// The day that is to be looked at.
    pub(crate) fires: Option<(Date, Timestamp)>,
    pub(crate) next_due: Option<Timestamp>,
}

/// A day that somebody is to look at now.
#[derive(Clone, Debug)]
pub(crate) struct DayLook {
    pub(crate) definition: ExpectationDefinition,
    pub(crate) entity: EntityName,
    pub(crate) entity_id: EntityId,
    pub(crate) entity_zone: Option<String>,
    pub(crate) day: Date,
    pub(crate) due_at: Timestamp,
    pub(crate) state: DayState,
    /// Nobody was to look before.
    pub(crate) not_before: Timestamp,
    /// The server could not be asked the last time.
    pub(crate) was_unreachable: bool,
}

/// What a look ends with, written when the row is still held by the one who looked.
#[derive(Clone, Debug)]
pub(crate) struct DayEnd {
    pub(crate) key: DayKey,
    /// The lease: nobody else has taken the row.
    pub(crate) held: Timestamp,
    pub(crate) state: DayState,
    /// When it was decided, or when somebody looks next.
    pub(crate) at: Timestamp,
    pub(crate) fault: Option<DayFault>,
    pub(crate) file_name: Option<Vec<u8>>,
    pub(crate) size_bytes: Option<u64>,
    pub(crate) sha256: Option<String>,
    pub(crate) modified_at: Option<Timestamp>,
    /// What is told of it, in the same transaction.
    pub(crate) alert: Option<(NewEvent, NewEntry)>,
    pub(crate) now: Timestamp,
}

/// A file that has, or had, a name in a folder, as ledger and journal know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GoneFile {
    pub(crate) name: Vec<u8>,
    /// When it got the name.
    pub(crate) at: Timestamp,
    pub(crate) size_bytes: Option<u64>,
    pub(crate) sha256: Option<String>,
    /// Its row, where the journal names it.
    pub(crate) file: Option<FileId>,
}

/// Files that got a name in a folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ToldNames {
    pub(crate) files: Vec<GoneFile>,
    /// Where the entry stands before which more are told; none: there are no more.
    pub(crate) next: Option<(Timestamp, i64)>,
}

/// What became of a file, by its row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileEnd {
    pub(crate) home: HomeId,
    pub(crate) sha256: Option<String>,
    /// When another content took its name.
    pub(crate) replaced_at: Option<Timestamp>,
}
