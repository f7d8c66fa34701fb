//! Events and their deliveries as values.

use std::fmt;
use std::str::FromStr;

use layover_retention::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use crate::journal::words;
use crate::{EntityId, EntityName, HookName, NodeId};

/// Most events that one query returns; more are had with `after`.
pub const MAX_EVENT_PAGE: usize = 10_000;

/// Longest subject by which deliveries are kept in order, in bytes: PostgreSQL's indexes
/// take no more than some 2,700, and a path may have 4,096.
const MAX_SUBJECT_KEY_BYTES: usize = 512;

/// Deliveries that are given up, and those that are sent again, in one transaction, for
/// which a partner's publication may wait.
pub(crate) const GIVEN_UP_AT_ONCE: u64 = 500;
pub(crate) const SENT_AGAIN_AT_ONCE: u64 = 500;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        pub struct $name(pub i64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number!(
    /// An event's row.
    EventId
);
number!(
    /// A hook's row; a removed hook keeps it.
    HookId
);
number!(
    /// A delivery's row.
    DeliveryId
);

impl FromStr for EventId {
    type Err = NotAnEventId;

    /// The number alone, or as it is sent, with what tells it from that of a restored
    /// database.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = text.split_once('-').map_or(text, |(number, _)| number);
        number.parse().map(Self).map_err(|_| NotAnEventId)
    }
}

/// The text is no number of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected the number of an event, as `layover event list` shows it")]
pub struct NotAnEventId;

words!(
    /// What an event tells. New kinds may be added; none changes its meaning.
    EventKind {
        /// A file is in a home, whole: uploaded, fetched by a flow, or put there.
        FileArrived = "file.arrived",
        /// A stored file, or a folder with all that is in it, has another name.
        FileRenamed = "file.renamed",
        /// A file was downloaded whole, or sent to a partner's server.
        FileCollected = "file.collected",
        /// A file goes soon, and nobody has collected it.
        FileExpiring = "file.expiring",
        /// A stored file is gone.
        FileDeleted = "file.deleted",
        /// A run of a flow came to its end without a failure.
        FlowSucceeded = "flow.succeeded",
        /// A run of a flow failed, or gave files up.
        FlowFailed = "flow.failed",
        /// A file of a flow was given up.
        FlowDeadLetter = "flow.dead_letter",
        /// A file that was expected is not as expected, or not there.
        ExpectationFailed = "expectation.failed",
        /// A file that was missing has come after all.
        ExpectationLate = "expectation.late",
        /// Logins of an account were refused, again and again.
        LoginRefused = "login.refused",
        /// A certificate ends soon, or has ended.
        CertificateExpiring = "certificate.expiring",
        /// A key ends soon, or has ended.
        KeyExpiring = "key.expiring",
        /// Somebody tries a hook out. Never kept.
        HookTest = "hook.test",
    }
);

impl EventKind {
    /// Those that a hook can ask for.
    pub const KEPT: &[Self] = &[
        Self::FileArrived,
        Self::FileRenamed,
        Self::FileCollected,
        Self::FileExpiring,
        Self::FileDeleted,
        Self::FlowSucceeded,
        Self::FlowFailed,
        Self::FlowDeadLetter,
        Self::ExpectationFailed,
        Self::ExpectationLate,
        Self::LoginRefused,
        Self::CertificateExpiring,
        Self::KeyExpiring,
    ];
}

words!(
    /// Where a delivery is.
    DeliveryState {
        /// To be sent, now or later.
        Due = "due",
        /// The receiver has it.
        Done = "done",
        /// Given up.
        Dead = "dead",
    }
);

/// Something that happened.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Ever growing; follow events by it.
    pub id: EventId,
    /// When it happened.
    pub at: Timestamp,
    /// What.
    pub kind: EventKind,
    /// Whose; none: the appliance's own, or of an entity that is gone.
    pub entity: Option<EntityName>,
    /// What it is about: `file:HOME:/path`, `flow:NAME`, `account:NAME`, ...
    pub subject: String,
    /// Everything else, by name.
    pub detail: Map<String, Value>,
}

#[derive(Serialize)]
struct Document<'a> {
    id: &'a str,
    kind: EventKind,
    at: String,
    entity: Option<&'a str>,
    subject: &'a str,
    detail: &'a Map<String, Value>,
}

impl Event {
    /// By which receivers know it again: the same with every try, and another one when
    /// a restored database gives a number for the second time.
    #[must_use]
    pub fn told_id(&self) -> String {
        let mut digest = Sha256::new();
        digest.update(self.kind.as_str());
        digest.update(self.at.as_micros().to_be_bytes());
        digest.update(&self.subject);
        let digest = hex::encode(digest.finalize());
        format!("{}-{}", self.id, digest.get(..8).unwrap_or_default())
    }

    /// As receivers get it: JSON, the same bytes with every try.
    #[must_use]
    pub fn body(&self) -> String {
        // A document of texts and JSON values is one.
        serde_json::to_string(self).unwrap_or_default()
    }
}

impl Serialize for Event {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Document {
            id: &self.told_id(),
            kind: self.kind,
            at: self.at.to_string(),
            entity: self.entity.as_ref().map(EntityName::as_str),
            subject: &self.subject,
            detail: &self.detail,
        }
        .serialize(serializer)
    }
}

/// An event about to be written.
#[derive(Clone, Debug)]
pub(crate) struct NewEvent {
    pub(crate) at: Timestamp,
    pub(crate) kind: EventKind,
    pub(crate) entity: Option<EntityId>,
    pub(crate) subject: String,
    /// Told only when nothing was told with this before.
    pub(crate) once: Option<String>,
    pub(crate) detail: Map<String, Value>,
}

impl NewEvent {
    /// What deliveries of it are kept in order by.
    pub(crate) fn subject_key(&self) -> String {
        if self.subject.len() <= MAX_SUBJECT_KEY_BYTES {
            return self.subject.clone();
        }
        format!("sha256:{}", hex::encode(Sha256::digest(&self.subject)))
    }
}

/// What became of an event at one hook.
#[derive(Clone, Debug, PartialEq)]
pub struct EventDelivery {
    /// The event.
    pub event: Event,
    /// The hook.
    pub hook: HookName,
    /// Where it is.
    pub state: DeliveryState,
    /// How often it was tried.
    pub attempts: u32,
    /// When it is tried next; of one that is due.
    pub not_before: Timestamp,
    /// The receiver's last status; none: there was no answer.
    pub last_status: Option<u16>,
    /// Why the last try failed.
    pub last_error: Option<String>,
    /// When it was delivered, or given up.
    pub ended_at: Option<Timestamp>,
}

/// Which events a query returns: all conditions hold together.
#[derive(Clone, Debug, Default)]
pub struct EventFilter {
    /// Of this entity.
    pub entity: Option<EntityName>,
    /// Of this kind.
    pub kind: Option<EventKind>,
    /// From this moment on.
    pub since: Option<Timestamp>,
    /// Behind this one.
    pub after: Option<EventId>,
    /// Before this one.
    pub before: Option<EventId>,
    /// At most so many; [`MAX_EVENT_PAGE`] is the most.
    pub limit: usize,
}

/// Who takes deliveries, and for how long.
#[derive(Clone, Debug)]
pub(crate) struct DeliveryTaker {
    pub(crate) node: NodeId,
    pub(crate) now: Timestamp,
    pub(crate) lease_until: Timestamp,
}

/// A delivery that can be taken.
#[derive(Clone, Debug)]
pub(crate) struct DueDelivery {
    pub(crate) id: DeliveryId,
    pub(crate) event: Event,
}

/// A delivery that is this node's to send.
#[derive(Clone, Debug)]
pub struct ClaimedDelivery {
    /// Its row.
    pub id: DeliveryId,
    /// Counts those who had it: what an older one writes is refused.
    pub(crate) token: i64,
    /// The event.
    pub event: Event,
    /// Tries before this one.
    pub attempts: u32,
}

/// How far a try came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// The receiver answered, and did not take it.
    Answered {
        /// Its status.
        status: u16,
    },
    /// There was no answer: to whatever else is sent there, there is none either.
    Unanswered,
}

/// Why a try failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryFailure {
    /// How far it came.
    pub reach: Reach,
    /// A sentence; never what was sent, nor what is secret.
    pub cause: String,
    /// When it is to be tried again.
    pub again_at: Timestamp,
}

/// What became of a delivery whose try failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryOutcome {
    /// It is tried again.
    Again,
    /// It was given up, and so many in all with it.
    GivenUp {
        /// This one, and others of the hook whose time is over.
        deliveries: u64,
    },
    /// Another node has it.
    Lost,
}

/// A failed try, as the store writes it.
#[derive(Clone, Debug)]
pub(crate) struct Unreached {
    pub(crate) id: DeliveryId,
    pub(crate) token: i64,
    pub(crate) failure: DeliveryFailure,
    pub(crate) now: Timestamp,
    pub(crate) node: NodeId,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> Event {
        Event {
            id: EventId(7),
            at: Timestamp::from_micros(1_800_000_000_000_000),
            kind: EventKind::FileArrived,
            entity: Some("acme".parse().unwrap()),
            subject: "file:acme:/in/a.csv".to_owned(),
            detail: Map::from_iter([("size_bytes".to_owned(), 5.into())]),
        }
    }

    #[test]
    fn a_body_has_the_documented_fields_in_their_order() {
        let body = event().body();
        let id = event().told_id();
        assert_eq!(
            body,
            format!(
                "{{\"id\":\"{id}\",\"kind\":\"file.arrived\",\"at\":\"2027-01-15T08:00:00Z\",\
                 \"entity\":\"acme\",\"subject\":\"file:acme:/in/a.csv\",\
                 \"detail\":{{\"size_bytes\":5}}}}"
            )
        );
    }

    #[test]
    fn a_number_that_is_given_again_is_another_id() {
        let (first, mut other) = (event(), event());
        assert_eq!(first.told_id(), other.told_id());
        other.at = other.at.saturating_add(std::time::Duration::from_secs(1));
        assert_ne!(first.told_id(), other.told_id());
        assert!(first.told_id().starts_with("7-"));
        assert_eq!(first.told_id().parse::<EventId>().unwrap(), EventId(7));
        assert_eq!("7".parse::<EventId>().unwrap(), EventId(7));
    }

    #[test]
    fn a_long_subject_is_kept_in_order_by_its_digest() {
        let new = |length: usize| NewEvent {
            at: Timestamp::from_micros(0),
            kind: EventKind::FileArrived,
            entity: None,
            subject: "x".repeat(length),
            once: None,
            detail: Map::new(),
        };
        assert_eq!(
            new(MAX_SUBJECT_KEY_BYTES).subject_key().len(),
            MAX_SUBJECT_KEY_BYTES
        );
        let long = new(MAX_SUBJECT_KEY_BYTES + 1).subject_key();
        assert!(
            long.starts_with("sha256:") && long.len() == 7 + 64,
            "{long}"
        );
    }
}
