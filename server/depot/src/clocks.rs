//! What the servers remember of their machines' clocks: kept here, decided in
//! `retention/src/timekeeper.rs`.

use layover_retention::{ClockRecord, Correction, Timestamp};
use serde_json::{Map, Value};

use crate::account::NodeClock;
use crate::journal::{JournalKind, NewEntry, Outcome};
use crate::{Depot, StoreError};

/// What a clock did, for the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClockEntry {
    /// When, by the time that was believed.
    pub at: Timestamp,
    /// What: `clock.*`.
    pub action: &'static str,
    /// `Refused` while it is in doubt.
    pub outcome: Outcome,
    /// How far, and the like.
    pub detail: Map<String, Value>,
}

impl Depot {
    fn clock_entry(&self, entry: &ClockEntry) -> NewEntry {
        let node = &self.holdings().node;
        let mut new =
            NewEntry::new(entry.at, JournalKind::System, entry.action, node).outcome(entry.outcome);
        new.detail = entry.detail.clone();
        new
    }

    /// What was kept of the clock of the server of this data directory; `None`
    /// before its first start.
    ///
    /// # Errors
    /// The database is away.
    pub async fn kept_clock(&self) -> Result<Option<NodeClock>, StoreError> {
        match self.node_here() {
            Some(node) => Ok(self.holdings().store.clocks(Some(node)).await?.pop()),
            None => Ok(None),
        }
    }

    /// Keeps what this server knows of its clock, and journals what that did. Files that
    /// came to this server while its clock was ahead get the arrival and the expiry that
    /// they should have. Returns how many these were.
    ///
    /// # Errors
    /// The database is away; nothing was changed.
    pub async fn keep_clock(
        &self,
        record: &ClockRecord,
        ahead_of_database_us: Option<i64>,
        correction: Option<&Correction>,
        entry: Option<&ClockEntry>,
    ) -> Result<u64, StoreError> {
        let holdings = self.holdings();
        let entry = entry.map(|entry| self.clock_entry(entry));
        let (store, node, now) = (&holdings.store, &holdings.node, record.safe);
        let ahead_us = ahead_of_database_us;
        store
            .keep_clock(node, now, ahead_us, record, correction, entry.as_ref())
            .await
    }

    /// What time the database has; `None` where it has no clock of its own.
    ///
    /// # Errors
    /// The database is away.
    pub async fn database_time(&self) -> Result<Option<Timestamp>, StoreError> {
        self.holdings().store.database_time().await
    }
}
