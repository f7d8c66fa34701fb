//! Which entries of the journal are told, and as what; pure.

use layover_retention::Timestamp;
use serde_json::{Map, Value};

use super::record::EventKind;
use crate::journal::{JournalEntry, JournalKind, Outcome};
use crate::{PathTexts, VirtualPath};

/// Details of an entry that its event has, too. Those who are told are the operator's own
/// systems; what a connection agreed upon is not their business all the same.
const KEPT_DETAILS: &[&str] = &[
    "actor",
    "arrived_at",
    "bytes",
    "cause",
    "copied_from",
    "dead",
    "dead_letter",
    "direction",
    "directory",
    "expires_at",
    "failed",
    "file",
    "flow",
    "from",
    "integration",
    "location",
    "method",
    "moved",
    "reason",
    "recovered",
    "remote",
    "run",
    "scheduled_for",
    "sha256",
    "why",
];

/// What an event is about, as the journal names it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum About {
    /// A file of a home: the home itself, or the account whose home it is.
    File {
        /// In the details of entries that no session wrote.
        home: Option<String>,
        account: Option<String>,
        path: VirtualPath,
    },
    /// A flow.
    Flow { flow: String },
    /// A refused login of an account that there is: told when there were several.
    Login { account: String },
}

/// An entry that is told.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Told {
    pub(crate) at: Timestamp,
    pub(crate) kind: EventKind,
    pub(crate) about: About,
    /// As the entry names it.
    pub(crate) entity: Option<String>,
    pub(crate) detail: Map<String, Value>,
}

/// What is told of an entry; `None`: nothing.
pub(crate) fn told(entry: &JournalEntry) -> Option<Told> {
    let kind = kind_of(entry)?;
    let about = match kind {
        EventKind::FlowSucceeded | EventKind::FlowFailed | EventKind::FlowDeadLetter => {
            About::Flow {
                flow: text(entry, "flow")?,
            }
        }
        EventKind::LoginRefused => {
            // A name that no account has is anybody's to invent.
            entry.entity.as_ref()?;
            About::Login {
                account: entry.account.clone()?,
            }
        }
        _ => About::File {
            home: text(entry, "home"),
            account: entry.account.clone(),
            path: entry.path.clone()?,
        },
    };
    Some(Told {
        at: entry.at,
        kind,
        about,
        entity: entry.entity.clone(),
        detail: detail_of(entry),
    })
}

fn text(entry: &JournalEntry, name: &str) -> Option<String> {
    entry.detail.get(name)?.as_str().map(ToOwned::to_owned)
}

fn is_set(entry: &JournalEntry, name: &str) -> bool {
    entry
        .detail
        .get(name)
        .is_some_and(|value| value.as_i64() != Some(0))
}

fn kind_of(entry: &JournalEntry) -> Option<EventKind> {
    let kind = match (entry.kind, entry.action.as_str(), entry.outcome) {
        // It waits for its rename, and is not there yet.
        (JournalKind::Transfer, "upload", Outcome::Ok) if is_set(entry, "awaits") => return None,
        (JournalKind::Transfer, "upload" | "publish" | "outbound.download", Outcome::Ok)
        | (JournalKind::Retention, "adopt", Outcome::Ok) => EventKind::FileArrived,
        (JournalKind::Transfer, "rename", Outcome::Ok) => EventKind::FileRenamed,
        (JournalKind::Transfer, "download" | "outbound.upload", Outcome::Ok) => {
            EventKind::FileCollected
        }
        (JournalKind::Retention, "uncollected", Outcome::Ok) => EventKind::FileExpiring,
        (JournalKind::Transfer, "delete", Outcome::Ok)
        | (JournalKind::Retention, "expire", Outcome::Ok)
        | (JournalKind::Retention, "missing", Outcome::Failed)
        | (JournalKind::Admin, "file.remove", Outcome::Ok) => EventKind::FileDeleted,
        (JournalKind::System, "flow.run", Outcome::Failed) => EventKind::FlowFailed,
        (JournalKind::System, "flow.run", Outcome::Ok) if is_set(entry, "dead") => {
            EventKind::FlowFailed
        }
        (JournalKind::System, "flow.run", Outcome::Ok) => EventKind::FlowSucceeded,
        (JournalKind::System, "flow.dead_letter", Outcome::Failed) => EventKind::FlowDeadLetter,
        (JournalKind::Login, "login", Outcome::Refused) => EventKind::LoginRefused,
        _ => return None,
    };
    Some(kind)
}

fn detail_of(entry: &JournalEntry) -> Map<String, Value> {
    let mut detail = Map::new();
    let mut put = |name: &str, value: Value| {
        detail.insert(name.to_owned(), value);
    };
    put("action", entry.action.as_str().into());
    if let Some(account) = &entry.account {
        put("account", account.as_str().into());
    }
    if let Some(path) = &entry.path {
        let texts = PathTexts::from(path);
        put("path", texts.path.into());
        if let Some(hex) = texts.path_hex {
            put("path_hex", hex.into());
        }
    }
    if let Some(size_bytes) = entry.size_bytes {
        put("size_bytes", size_bytes.into());
    }
    if let Some(protocol) = entry.protocol {
        put("protocol", protocol.as_str().into());
    }
    if let Some(peer) = entry.peer {
        put("peer", peer.to_string().into());
    }
    for name in KEPT_DETAILS {
        if let Some(value) = entry.detail.get(*name) {
            put(name, value.clone());
        }
    }
    detail
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(kind: JournalKind, action: &str, outcome: Outcome, detail: Value) -> JournalEntry {
        let Value::Object(detail) = detail else {
            panic!("details are an object");
        };
        JournalEntry {
            id: 1,
            at: Timestamp::from_micros(5),
            kind,
            action: action.to_owned(),
            outcome,
            account: Some("alice".to_owned()),
            entity: Some("acme".to_owned()),
            peer: None,
            protocol: None,
            session: None,
            path: Some(VirtualPath::parse(b"/in/a.csv").unwrap()),
            size_bytes: Some(3),
            duration_ms: None,
            node: "n".to_owned(),
            detail,
        }
    }

    #[test]
    fn each_entry_is_told_as_what_it_is() {
        use {EventKind as E, JournalKind as J, Outcome as O};
        let none = || serde_json::json!({});
        let run = || serde_json::json!({"flow": "f", "run": 3, "dead": 0});
        let dead = || serde_json::json!({"flow": "f", "run": 3, "dead": 1});
        let waits = || serde_json::json!({"awaits": "rename"});
        for (kind, action, outcome, detail, told_as) in [
            (J::Transfer, "upload", O::Ok, none(), Some(E::FileArrived)),
            (J::Transfer, "upload", O::Ok, waits(), None),
            (J::Transfer, "upload", O::Failed, none(), None),
            (J::Transfer, "upload", O::Refused, none(), None),
            (J::Transfer, "publish", O::Ok, none(), Some(E::FileArrived)),
            (
                J::Transfer,
                "outbound.download",
                O::Ok,
                none(),
                Some(E::FileArrived),
            ),
            (J::Transfer, "outbound.download", O::Failed, none(), None),
            (J::Retention, "adopt", O::Ok, none(), Some(E::FileArrived)),
            (J::Transfer, "rename", O::Ok, none(), Some(E::FileRenamed)),
            (
                J::Transfer,
                "download",
                O::Ok,
                none(),
                Some(E::FileCollected),
            ),
            (J::Transfer, "download", O::Failed, none(), None),
            (
                J::Transfer,
                "outbound.upload",
                O::Ok,
                none(),
                Some(E::FileCollected),
            ),
            (
                J::Retention,
                "uncollected",
                O::Ok,
                none(),
                Some(E::FileExpiring),
            ),
            (J::Retention, "expire", O::Ok, none(), Some(E::FileDeleted)),
            (J::Retention, "expire", O::Missing, none(), None),
            (J::Retention, "expire-partial", O::Ok, none(), None),
            (
                J::Retention,
                "missing",
                O::Failed,
                none(),
                Some(E::FileDeleted),
            ),
            (J::Transfer, "delete", O::Ok, none(), Some(E::FileDeleted)),
            (J::Transfer, "replace", O::Ok, none(), None),
            (J::Admin, "file.remove", O::Ok, none(), Some(E::FileDeleted)),
            (J::Admin, "file.remove", O::Refused, none(), None),
            (J::System, "flow.run", O::Ok, run(), Some(E::FlowSucceeded)),
            (J::System, "flow.run", O::Failed, run(), Some(E::FlowFailed)),
            (J::System, "flow.run", O::Ok, dead(), Some(E::FlowFailed)),
            (J::System, "flow.run", O::Ok, none(), None),
            (
                J::System,
                "flow.dead_letter",
                O::Failed,
                run(),
                Some(E::FlowDeadLetter),
            ),
            (J::Admin, "flow.ask", O::Ok, run(), None),
            // Written with their events.
            (J::System, "expectation.failed", O::Failed, none(), None),
            (J::System, "expectation.late", O::Ok, none(), None),
            (J::Login, "login", O::Refused, none(), Some(E::LoginRefused)),
            (J::Login, "login", O::Ok, none(), None),
            (J::Admin, "hook.add", O::Ok, none(), None),
        ] {
            let entry = entry(kind, action, outcome, detail);
            let found = told(&entry).map(|told| told.kind);
            assert_eq!(found, told_as, "{kind} {action} {outcome}");
        }
    }

    #[test]
    fn a_refused_name_that_no_account_has_is_not_told() {
        let mut refused = entry(
            JournalKind::Login,
            "login",
            Outcome::Refused,
            serde_json::json!({}),
        );
        refused.entity = None;
        assert_eq!(told(&refused), None);
    }

    #[test]
    fn a_file_is_told_with_what_is_known_of_it_and_nothing_of_the_connection() {
        let mut arrived = entry(
            JournalKind::Transfer,
            "upload",
            Outcome::Ok,
            serde_json::json!({"home": "acme", "cipher": "x", "flow": "f"}),
        );
        let found = told(&arrived).unwrap();
        assert_eq!(
            Value::Object(found.detail),
            serde_json::json!({
                "action": "upload", "account": "alice", "path": "/in/a.csv", "size_bytes": 3,
                "flow": "f"
            })
        );
        assert_eq!(
            found.about,
            About::File {
                home: Some("acme".to_owned()),
                account: Some("alice".to_owned()),
                path: VirtualPath::parse(b"/in/a.csv").unwrap(),
            }
        );
        arrived.path = None;
        assert_eq!(told(&arrived), None);
    }
}
