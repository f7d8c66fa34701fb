//! The journal: what partners and operators did, and what the appliance did by
//! itself. Append only; each entry commits together with what it tells of.
//!
//! The way in is [`Journal`]; the other doors append through the store, in the
//! transaction of the change itself.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use layover_retention::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::ledger::Replaced;
use crate::path_texts::in_texts_or_null;
use crate::store::{Store, StoreError};
use crate::{
    AccountName, Actor, HomeName, IntegrationName, NodeId, Protocol, SessionId, VirtualPath,
};

/// Most entries that one query returns; more are had with `after_id`.
pub const MAX_JOURNAL_PAGE: usize = 10_000;

/// Longest text of one detail, in bytes: what a peer sends ends up in details.
const MAX_DETAIL_BYTES: usize = 1024;

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$vdoc])* $variant),+ }

        impl $name {
            /// Its word in the database, in JSON and on the command line.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::UnknownWord;

            fn from_str(text: &str) -> Result<Self, $crate::UnknownWord> {
                match text {
                    $($text => Ok(Self::$variant),)+
                    _ => Err($crate::UnknownWord::new(text, &[$($text),+])),
                }
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }
    };
}
pub(crate) use words;

/// The text is none of the words that are expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is none of {}", expected.join(", "))]
pub struct UnknownWord {
    text: String,
    expected: &'static [&'static str],
}

impl UnknownWord {
    pub(crate) fn new(text: &str, expected: &'static [&'static str]) -> Self {
        Self {
            text: text.chars().take(80).collect(),
            expected,
        }
    }
}

words!(
    /// What an entry is about.
    JournalKind {
        /// A file moved, or was changed, by a partner.
        Transfer = "transfer",
        /// Somebody came in, left, or was refused.
        Login = "login",
        /// An operator changed something.
        Admin = "admin",
        /// The appliance removed or adopted a file.
        Retention = "retention",
        /// The appliance started, stopped, recovered, or saw its clock jump.
        System = "system",
    }
);

words!(
    /// How it went.
    Outcome {
        /// Done.
        Ok = "ok",
        /// It went wrong.
        Failed = "failed",
        /// We did not let it happen.
        Refused = "refused",
        /// The file was gone, or another one, before we came to it.
        Missing = "missing",
    }
);

/// An entry as it was written.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct JournalEntry {
    /// Ever growing; follow the journal by it.
    pub id: i64,
    /// When.
    pub at: Timestamp,
    /// What it is about.
    pub kind: JournalKind,
    /// What happened, in one word: `upload`, `login`, `account.add`.
    pub action: String,
    /// How it went.
    pub outcome: Outcome,
    /// The account's name at that time; of a refused login, what was sent.
    pub account: Option<String>,
    /// The entity's name at that time.
    pub entity: Option<String>,
    /// The partner's address.
    pub peer: Option<IpAddr>,
    /// How the partner came.
    pub protocol: Option<Protocol>,
    /// The session it happened in.
    pub session: Option<SessionId>,
    /// The file or folder.
    #[serde(flatten, serialize_with = "in_texts_or_null")]
    pub path: Option<VirtualPath>,
    /// Bytes moved or removed.
    pub size_bytes: Option<u64>,
    /// How long it took, in milliseconds.
    pub duration_ms: Option<u64>,
    /// The node that wrote it.
    pub node: String,
    /// Everything else, by name.
    pub detail: Map<String, Value>,
}

words!(
    /// What is made of the journal later, entry by entry: its cursor's name.
    Follower {
        /// Days of transfers, of accounts and integrations: everything counts.
        DailyTransfers = "daily_transfers",
        /// Events: who wants to be told is told of what happens from now on.
        Events = "events",
    }
);

impl Follower {
    /// Whether it begins with the next entry rather than with the oldest.
    pub(crate) const fn begins_at_the_end(self) -> bool {
        match self {
            Self::DailyTransfers => false,
            Self::Events => true,
        }
    }
}

/// A place in the journal's chain.
#[derive(Clone, Debug, PartialEq)]
pub struct JournalPlace {
    /// Counts from 1, without gaps.
    pub seq: u64,
    /// None when it is not there, or not readable, any more.
    pub entry: Option<JournalEntry>,
}

/// An entry about to be written.
#[derive(Clone, Debug)]
pub(crate) struct NewEntry {
    pub(crate) at: Timestamp,
    pub(crate) kind: JournalKind,
    pub(crate) action: &'static str,
    pub(crate) outcome: Outcome,
    pub(crate) account: Option<String>,
    pub(crate) entity: Option<String>,
    pub(crate) peer: Option<IpAddr>,
    pub(crate) protocol: Option<Protocol>,
    pub(crate) session: Option<SessionId>,
    pub(crate) path: Option<VirtualPath>,
    pub(crate) size_bytes: Option<u64>,
    pub(crate) duration_ms: Option<u64>,
    pub(crate) node: NodeId,
    pub(crate) detail: Map<String, Value>,
}

impl NewEntry {
    /// An entry that says [`Outcome::Ok`] and nothing else yet.
    pub(crate) fn new(
        at: Timestamp,
        kind: JournalKind,
        action: &'static str,
        node: &NodeId,
    ) -> Self {
        Self {
            at,
            kind,
            action,
            outcome: Outcome::Ok,
            account: None,
            entity: None,
            peer: None,
            protocol: None,
            session: None,
            path: None,
            size_bytes: None,
            duration_ms: None,
            node: node.clone(),
            detail: Map::new(),
        }
    }

    /// An operator's act; the actor is in its details.
    pub(crate) fn admin(at: Timestamp, action: &'static str, node: &NodeId, actor: &Actor) -> Self {
        Self::new(at, JournalKind::Admin, action, node).with("actor", actor.as_str())
    }

    pub(crate) fn outcome(mut self, outcome: Outcome) -> Self {
        self.outcome = outcome;
        self
    }

    pub(crate) fn account(mut self, account: impl fmt::Display) -> Self {
        self.account = Some(bounded(account.to_string()));
        self
    }

    pub(crate) fn entity(mut self, entity: impl fmt::Display) -> Self {
        self.entity = Some(entity.to_string());
        self
    }

    pub(crate) fn peer(mut self, peer: IpAddr) -> Self {
        self.peer = Some(peer);
        self
    }

    pub(crate) fn protocol(mut self, protocol: Protocol) -> Self {
        self.protocol = Some(protocol);
        self
    }

    pub(crate) fn session(mut self, session: &SessionId) -> Self {
        self.session = Some(session.clone());
        self
    }

    pub(crate) fn path(mut self, path: &VirtualPath) -> Self {
        self.path = Some(path.clone());
        self
    }

    pub(crate) fn size_bytes(mut self, bytes: u64) -> Self {
        self.size_bytes = Some(bytes);
        self
    }

    pub(crate) fn duration_ms(mut self, ms: u64) -> Self {
        self.duration_ms = Some(ms);
        self
    }

    /// The end of a stored file that the act of this entry replaced.
    pub(crate) fn of_replaced(&self, replaced: &Replaced) -> Self {
        let mut entry = Self {
            action: "replace",
            path: Some(replaced.path.clone()),
            size_bytes: Some(replaced.size_bytes),
            duration_ms: None,
            detail: Map::new(),
            ..self.clone()
        };
        if let Some(arrived_at) = replaced.arrived_at {
            entry = entry.with("arrived_at", arrived_at.to_string());
        }
        entry
            .with("file_id", replaced.file.0)
            .with("by", self.action)
    }

    /// Adds a detail; a long text is cut.
    pub(crate) fn with(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        let value = match value.into() {
            Value::String(text) => Value::String(bounded(text)),
            other => other,
        };
        self.detail.insert(name.to_owned(), value);
        self
    }
}

/// Cuts a text to [`MAX_DETAIL_BYTES`] at a character boundary. A NUL, which
/// PostgreSQL cannot keep, is shown as a replacement character.
pub(crate) fn bounded(text: String) -> String {
    let mut text = if text.contains('\0') {
        text.replace('\0', "\u{fffd}")
    } else {
        text
    };
    if text.len() > MAX_DETAIL_BYTES {
        let at = (0..=MAX_DETAIL_BYTES)
            .rev()
            .find(|at| text.is_char_boundary(*at))
            .unwrap_or(0);
        text.truncate(at);
        text.push('…');
    }
    text
}

/// Which entries a query returns: all conditions hold together.
#[derive(Clone, Debug, Default)]
pub struct JournalFilter {
    /// Of this account (its name at the time).
    pub account: Option<String>,
    /// From this moment on.
    pub since: Option<Timestamp>,
    /// Before this moment.
    pub until: Option<Timestamp>,
    /// About this.
    pub kind: Option<JournalKind>,
    /// Of this home: of its accounts, or with the home in the details.
    pub home: Option<HomeName>,
    /// About this file or folder, or what is below it.
    pub below: Option<VirtualPath>,
    /// Of this integration: its files, and what operators changed of it.
    pub integration: Option<IntegrationName>,
    /// Written after this one.
    pub after_id: Option<i64>,
    /// At most so many, oldest first; [`MAX_JOURNAL_PAGE`] is the most.
    pub limit: usize,
}

/// Logins of an account that are looked at: a busy partner's of some days.
pub const MAX_LAST_LOGINS: usize = 1_000;

/// The door to the journal. Clones are the same journal.
#[derive(Clone, Debug)]
pub struct Journal {
    store: Arc<Store>,
    node: NodeId,
}

impl Journal {
    pub(crate) fn new(store: Arc<Store>, node: NodeId) -> Self {
        Self { store, node }
    }

    /// The entries that `filter` asks for, oldest first.
    ///
    /// # Errors
    /// The database is away.
    pub async fn query(&self, filter: &JournalFilter) -> Result<Vec<JournalEntry>, StoreError> {
        self.store.journal_page(filter).await
    }

    /// The entry behind which only the `newest` newest of those come that
    /// `filter` asks for, to be used as its `after_id`; `None` when there are no
    /// more than these.
    ///
    /// # Errors
    /// The database is away.
    pub async fn before_newest(
        &self,
        filter: &JournalFilter,
        newest: u64,
    ) -> Result<Option<i64>, StoreError> {
        self.store.before_newest(filter, newest).await
    }

    /// The newest successful logins of the account of this name, newest first, at most
    /// [`MAX_LAST_LOGINS`].
    ///
    /// # Errors
    /// The database is away.
    pub async fn last_logins(
        &self,
        account: &AccountName,
    ) -> Result<Vec<JournalEntry>, StoreError> {
        self.store.last_logins(account, MAX_LAST_LOGINS).await
    }

    /// Entries behind the place `after` in the chain, at most `limit`, in the order of
    /// their places: what a follower deals with next.
    ///
    /// # Errors
    /// The database is away.
    pub async fn after_place(
        &self,
        after: u64,
        limit: usize,
    ) -> Result<Vec<JournalPlace>, StoreError> {
        self.store.journal_after(after, limit).await
    }

    /// The place of the last entry that a follower has dealt with; `None` before it
    /// began.
    ///
    /// # Errors
    /// The database is away.
    pub async fn followed(&self, follower: Follower) -> Result<Option<u64>, StoreError> {
        self.store.cursor(follower).await
    }

    /// A follower that has not begun yet begins: with the oldest entry, or with the next,
    /// as its kind is. Returns the place behind which it goes on.
    ///
    /// # Errors
    /// The database is away.
    pub async fn begin_following(
        &self,
        follower: Follower,
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        self.store.begin_following(follower, now).await
    }

    /// A follower goes past entries of which it makes nothing; false when it no longer
    /// stands at `from`, because another node was there.
    ///
    /// # Errors
    /// The database is away.
    pub async fn pass(
        &self,
        follower: Follower,
        from: u64,
        to: u64,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let passed = self.store.advance(follower, from, to, now).await?;
        Ok(passed.is_some())
    }

    /// Notes something that the appliance itself did or saw: `action` is its
    /// word, `detail` what is to be known of it.
    ///
    /// # Errors
    /// The database is away.
    pub async fn note(
        &self,
        at: Timestamp,
        kind: JournalKind,
        action: &'static str,
        outcome: Outcome,
        detail: Map<String, Value>,
    ) -> Result<(), StoreError> {
        let mut entry = NewEntry::new(at, kind, action, &self.node).outcome(outcome);
        entry.detail = detail;
        self.store.append(&entry).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_detail_is_cut_at_its_limit_and_not_below() {
        assert_eq!(
            bounded("x".repeat(MAX_DETAIL_BYTES)).len(),
            MAX_DETAIL_BYTES
        );
        let cut = bounded("é".repeat(MAX_DETAIL_BYTES));
        assert!(cut.len() <= MAX_DETAIL_BYTES + '…'.len_utf8());
        assert!(cut.ends_with('…'));
    }

    #[test]
    fn an_unknown_kind_names_the_known_ones() {
        let error = "nonsense".parse::<JournalKind>().unwrap_err().to_string();
        assert!(
            error.contains("transfer") && error.contains("retention"),
            "{error}"
        );
    }
}
