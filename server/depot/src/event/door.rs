//! The door of whoever tells: follows the journal, says which deliveries are due, and
//! keeps what came of them.

use std::sync::Arc;
use std::time::Duration;

use layover_retention::Timestamp;
use serde_json::{Map, Value};

use super::Event;
use super::hook::{DueHook, Hook};
use super::record::{
    ClaimedDelivery, DeliveryFailure, DeliveryId, DeliveryOutcome, DeliveryTaker, EventDelivery,
    EventFilter, EventId, EventKind, GIVEN_UP_AT_ONCE, HookId, NewEvent, Unreached,
};
use super::telling::told;
use crate::holdings::Holdings;
use crate::journal::{Follower, JournalKind, NewEntry};
use crate::store::StoreError;
use crate::{Depot, EntityName, HookName};

/// How long a delivery is its node's without a word of it: longer than any request may
/// take.
pub const DELIVERY_LEASE: Duration = Duration::from_secs(90);

/// How long a delivery is tried.
pub const GIVE_UP_AFTER: Duration = Duration::from_secs(24 * 3_600);

/// Entries that are read at once; what they tell is written in one transaction, for which
/// a partner's publication may wait.
const ENTRIES_AT_ONCE: usize = 200;

/// Events that are forgotten in one transaction.
const PRUNED_AT_ONCE: usize = 500;

/// The door of whoever tells events. Clones are the same.
#[derive(Clone, Debug)]
pub struct Events {
    holdings: Arc<Holdings>,
}

impl Depot {
    /// The door of whoever tells events.
    #[must_use]
    pub fn events(&self) -> Events {
        Events {
            holdings: Arc::clone(self.holdings()),
        }
    }
}

impl Events {
    /// Begins with what happens from now on, where nobody has begun; and lets go of what
    /// a process of this node before this one was sending when it died. Called once.
    ///
    /// # Errors
    /// The database is away.
    pub async fn begin(&self) -> Result<(), StoreError> {
        let (store, now) = (&self.holdings.store, self.holdings.now());
        store.begin_following(Follower::Events, now).await?;
        store.release_deliveries(&self.holdings.node, now).await?;
        Ok(())
    }

    /// Makes events of what the journal has since the last time, a bounded number of
    /// entries. Several nodes may do it at the same time. Returns how many entries were
    /// dealt with; none: nothing is left.
    ///
    /// # Errors
    /// The database is away.
    pub async fn follow(&self) -> Result<usize, StoreError> {
        let store = &self.holdings.store;
        let follower = Follower::Events;
        let from = match store.cursor(follower).await? {
            Some(from) => from,
            None => {
                let now = self.holdings.now();
                store.begin_following(follower, now).await?
            }
        };
        let places = store.journal_after(from, ENTRIES_AT_ONCE).await?;
        let Some(last) = places.last() else {
            return Ok(0);
        };
        let to = last.seq;
        let entries = places.iter().filter_map(|place| place.entry.as_ref());
        let told: Vec<_> = entries.filter_map(told).collect();
        let now = self.holdings.now();
        if told.is_empty() {
            store.advance(follower, from, to, now).await?;
        } else {
            store.tell(from, to, &told, now).await?;
        }
        Ok(places.len())
    }

    /// Tells something that no entry of the journal tells, with an entry of its own; not
    /// again when something was told with the same `once`. Whether it was told.
    ///
    /// # Errors
    /// The database is away.
    pub async fn tell_once(&self, news: &News) -> Result<bool, StoreError> {
        let store = &self.holdings.store;
        let entity = match &news.entity {
            Some(name) => store.entity(name).await?,
            None => None,
        };
        let now = self.holdings.now();
        let event = NewEvent {
            at: now,
            kind: news.kind,
            entity: entity.map(|entity| entity.id),
            subject: news.subject.clone(),
            once: Some(news.once.clone()),
            detail: news.detail.clone(),
        };
        let kind = JournalKind::System;
        let mut entry = NewEntry::new(now, kind, news.kind.as_str(), &self.holdings.node)
            .with("subject", news.subject.as_str());
        if let Some(entity) = &news.entity {
            entry = entry.entity(entity);
        }
        for (name, value) in &news.detail {
            entry.detail.insert(name.clone(), value.clone());
        }
        let told = store.tell_once(&event, &entry, now).await?;
        Ok(told.is_some())
    }

    /// The events that `filter` asks for, oldest first.
    ///
    /// # Errors
    /// The database is away.
    pub async fn query(&self, filter: &EventFilter) -> Result<Vec<Event>, StoreError> {
        self.holdings.store.events(filter).await
    }

    /// What hooks, or this one, do not have: what is to be sent, and what was given up;
    /// the oldest first, behind this event and delivery.
    ///
    /// # Errors
    /// The database is away.
    pub async fn undelivered(
        &self,
        hook: Option<&HookName>,
        after: (EventId, DeliveryId),
        limit: usize,
    ) -> Result<Vec<(DeliveryId, EventDelivery)>, StoreError> {
        self.holdings.store.undelivered(hook, after, limit).await
    }

    /// Hooks to which something is to be sent now.
    ///
    /// # Errors
    /// The database is away.
    pub async fn due(&self) -> Result<Vec<DueHook>, StoreError> {
        self.holdings.store.hooks_due(self.holdings.now()).await
    }

    /// A hook as it is now; `None` when it is gone.
    ///
    /// # Errors
    /// The database is away.
    pub async fn hook(&self, hook: HookId) -> Result<Option<Hook>, StoreError> {
        self.holdings.store.hook_at(hook).await
    }

    /// Takes up to `limit` deliveries of a hook that are due and not another node's; none
    /// when the hook has changed since it was looked at.
    ///
    /// # Errors
    /// The database is away.
    pub async fn claim(
        &self,
        hook: &Hook,
        limit: usize,
    ) -> Result<Vec<ClaimedDelivery>, StoreError> {
        let hook = hook.due();
        let now = self.holdings.now();
        let taker = DeliveryTaker {
            node: self.holdings.node.clone(),
            now,
            lease_until: now.saturating_add(DELIVERY_LEASE),
        };
        let store = &self.holdings.store;
        // Looked for first: others' writes do not wait for that.
        let due = store.deliveries_due(hook.id, now, limit).await?;
        if due.is_empty() {
            return Ok(Vec::new());
        }
        store.claim_deliveries(&taker, hook, &due).await
    }

    /// The receiver has it. False when another node has taken the delivery meanwhile.
    ///
    /// # Errors
    /// The database is away: the delivery is sent again when its lease ends.
    pub async fn delivered(
        &self,
        delivery: &ClaimedDelivery,
        status: u16,
    ) -> Result<bool, StoreError> {
        let (store, now) = (&self.holdings.store, self.holdings.now());
        store
            .delivered(delivery.id, delivery.token, status, now)
            .await
    }

    /// The receiver does not have it.
    ///
    /// # Errors
    /// The database is away: the delivery is sent again when its lease ends.
    pub async fn not_delivered(
        &self,
        delivery: &ClaimedDelivery,
        failure: DeliveryFailure,
    ) -> Result<DeliveryOutcome, StoreError> {
        let tried = Unreached {
            id: delivery.id,
            token: delivery.token,
            failure,
            now: self.holdings.now(),
            node: self.holdings.node.clone(),
        };
        let store = &self.holdings.store;
        let mut outcome = store.not_delivered(&tried).await?;
        if let DeliveryOutcome::GivenUp { deliveries } = &mut outcome
            && *deliveries > GIVEN_UP_AT_ONCE
        {
            loop {
                let more = store.give_up_more(&tried).await?;
                *deliveries += more;
                if more < GIVEN_UP_AT_ONCE {
                    break;
                }
            }
        }
        Ok(outcome)
    }

    /// Forgets events from before this moment. Returns how many went, a bounded number.
    ///
    /// # Errors
    /// The database is away.
    pub async fn prune(&self, before: Timestamp) -> Result<u64, StoreError> {
        let store = &self.holdings.store;
        store.prune_events(before, PRUNED_AT_ONCE).await
    }
}

/// Something to be told that no entry of the journal tells.
#[derive(Clone, Debug)]
pub struct News {
    /// What.
    pub kind: EventKind,
    /// Whose.
    pub entity: Option<EntityName>,
    /// What it is about.
    pub subject: String,
    /// It is told once with this.
    pub once: String,
    /// Everything else.
    pub detail: Map<String, Value>,
}
