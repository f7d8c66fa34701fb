//! Events and their deliveries, as rows.
//!
//! A delivery is sent by whoever has its lease, and of one hook and subject only the
//! first that is due is given to anybody: so a receiver hears of one thing in its order.

use std::collections::HashMap;

use layover_retention::Timestamp;
use serde_json::{Map, Value};

use super::files::bigint;
use super::hooks::kinds_of;
use super::{Conn, StoreError, following, journal};
use crate::event::{
    About, ClaimedDelivery, DeliveryId, DeliveryOutcome, DeliveryState, DeliveryTaker, DueHook,
    Event, EventDelivery, EventFilter, EventId, EventKind, GIVE_UP_AFTER, HookId, MAX_EVENT_PAGE,
    NewEvent, Reach, Told, Unreached,
};
use crate::journal::{Follower, JournalKind, NewEntry, Outcome};
use crate::{EntityId, HookName, NodeId};

/// So many refused logins of an account within this time are told...
const REFUSALS: i64 = 5;
const REFUSALS_WITHIN_US: i64 = 600 * 1_000_000;
/// ...once in this time.
const REFUSED_AGAIN_US: i64 = 3_600 * 1_000_000;

/// What is told once is remembered at least so long: a certificate's end is told in
/// steps of weeks.
const ONCE_KEPT_US: i64 = 400 * 86_400 * 1_000_000;

fn broken(table: &'static str, id: i64, what: &'static str) -> StoreError {
    StoreError::Corrupt { table, id, what }
}

/// A hook that is told, as far as it must be known to know of what.
struct Listener {
    id: i64,
    entity: Option<i64>,
    kinds: Vec<EventKind>,
}

impl Listener {
    fn hears(&self, event: &NewEvent) -> bool {
        let is_its = self.entity.is_none() || self.entity == event.entity.map(|entity| entity.0);
        is_its && (self.kinds.is_empty() || self.kinds.contains(&event.kind))
    }
}

async fn listeners(conn: &mut Conn) -> Result<Vec<Listener>, StoreError> {
    let rows: Vec<(i64, Option<i64>, String)> = sqlx::query_as(
        "SELECT id, entity_id, kinds FROM hooks WHERE enabled = 1 AND removed_at_us IS NULL \
         ORDER BY id",
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|(id, entity, kinds)| {
            Ok(Listener {
                id,
                entity,
                kinds: kinds_of(id, &kinds)?,
            })
        })
        .collect()
}

/// Writes an event and its deliveries; false when it was told before.
async fn write_event(
    conn: &mut Conn,
    event: &NewEvent,
    listeners: &[Listener],
    now: Timestamp,
) -> Result<bool, StoreError> {
    let row: Option<(i64,)> = sqlx::query_as(
        "INSERT INTO events (at_us, kind, entity_id, subject, once, detail) \
         VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING RETURNING id",
    )
    .bind(event.at.as_micros())
    .bind(event.kind.as_str())
    .bind(event.entity.map(|entity| entity.0))
    .bind(event.subject.clone())
    .bind(event.once.clone())
    .bind(Value::Object(event.detail.clone()).to_string())
    .fetch_optional(&mut *conn)
    .await?;
    let Some((id,)) = row else { return Ok(false) };
    for listener in listeners.iter().filter(|listener| listener.hears(event)) {
        sqlx::query(
            "INSERT INTO deliveries (hook_id, event_id, subject, state, not_before_us, \
             give_up_at_us) VALUES ($1, $2, $3, 'due', $4, $5)",
        )
        .bind(listener.id)
        .bind(id)
        .bind(event.subject_key())
        .bind(now.as_micros())
        .bind(now.saturating_add(GIVE_UP_AFTER).as_micros())
        .execute(&mut *conn)
        .await?;
    }
    Ok(true)
}

/// Where a file is: its home and the entity.
type Place = (String, Option<i64>);

/// What the rows of one page have in common is asked for once.
#[derive(Default)]
struct Known {
    homes: HashMap<(Option<String>, Option<String>), Option<Place>>,
    entities: HashMap<String, Option<i64>>,
}

impl Known {
    async fn entity(&mut self, conn: &mut Conn, name: &str) -> Result<Option<i64>, StoreError> {
        if let Some(known) = self.entities.get(name) {
            return Ok(*known);
        }
        let row: Option<(i64,)> = sqlx::query_as("SELECT id FROM entities WHERE name = $1")
            .bind(name.to_owned())
            .fetch_optional(conn)
            .await?;
        let found = row.map(|(id,)| id);
        self.entities.insert(name.to_owned(), found);
        Ok(found)
    }

    /// The home that is named, or that of the account.
    async fn home(
        &mut self,
        conn: &mut Conn,
        home: Option<&String>,
        account: Option<&String>,
    ) -> Result<Option<Place>, StoreError> {
        let key = (home.cloned(), account.cloned());
        if let Some(known) = self.homes.get(&key) {
            return Ok(known.clone());
        }
        let found: Option<(String, i64)> =
            match (home, account) {
                (Some(home), _) => {
                    sqlx::query_as("SELECT name, entity_id FROM homes WHERE name = $1")
                        .bind(home.clone())
                        .fetch_optional(conn)
                        .await?
                }
                // A name may have been given again: the last one of it is meant.
                (None, Some(account)) => sqlx::query_as(
                    "SELECT h.name, h.entity_id FROM accounts a JOIN homes h ON h.id = a.home_id \
                     WHERE a.name = $1 ORDER BY a.id DESC LIMIT 1",
                )
                .bind(account.clone())
                .fetch_optional(conn)
                .await?,
                (None, None) => None,
            };
        let found = found.map(|(name, entity)| (name, Some(entity)));
        self.homes.insert(key, found.clone());
        Ok(found)
    }
}

/// What is told of an entry as an event; `None`: nothing, after all.
async fn event_of(
    conn: &mut Conn,
    known: &mut Known,
    told: &Told,
) -> Result<Option<NewEvent>, StoreError> {
    let mut entity = match &told.entity {
        Some(name) => known.entity(conn, name).await?,
        None => None,
    };
    let mut detail = told.detail.clone();
    let mut once = None;
    let subject = match &told.about {
        About::File {
            home,
            account,
            path,
        } => {
            let place = known.home(conn, home.as_ref(), account.as_ref()).await?;
            let name = match (place, home) {
                (Some((name, of)), _) => {
                    entity = entity.or(of);
                    name
                }
                (None, Some(home)) => home.clone(),
                (None, None) => return Ok(None),
            };
            let subject = format!("file:{name}:{path}");
            detail.insert("home".to_owned(), name.into());
            subject
        }
        About::Flow { flow } => format!("flow:{flow}"),
        About::Login { account } => {
            // Asked first: who tries passwords makes many entries, and one is told.
            let once_an_hour = format!(
                "login.refused:{account}:{}",
                told.at.as_micros().div_euclid(REFUSED_AGAIN_US)
            );
            if was_told(conn, &once_an_hour).await? {
                return Ok(None);
            }
            let Some(refusals) = refusals(conn, account, told.at).await? else {
                return Ok(None);
            };
            detail.insert("refusals".to_owned(), refusals.into());
            let within_s = REFUSALS_WITHIN_US / 1_000_000;
            detail.insert("within_s".to_owned(), within_s.into());
            once = Some(once_an_hour);
            format!("account:{account}")
        }
    };
    Ok(Some(NewEvent {
        at: told.at,
        kind: told.kind,
        entity: entity.map(EntityId),
        subject,
        once,
        detail,
    }))
}

async fn was_told(conn: &mut Conn, once: &str) -> Result<bool, StoreError> {
    let (told,): (i64,) = sqlx::query_as("SELECT COUNT(*) FROM events WHERE once = $1")
        .bind(once.to_owned())
        .fetch_one(conn)
        .await?;
    Ok(told > 0)
}

/// How many logins of the account were refused of late; `None` when these are too few.
async fn refusals(
    conn: &mut Conn,
    account: &str,
    at: Timestamp,
) -> Result<Option<i64>, StoreError> {
    let (refusals,): (i64,) = sqlx::query_as(
        "SELECT COUNT(*) FROM journal WHERE account = $1 AND action = 'login' \
         AND outcome = 'refused' AND at_us > $2 AND at_us <= $3",
    )
    .bind(account.to_owned())
    .bind(at.as_micros().saturating_sub(REFUSALS_WITHIN_US))
    .bind(at.as_micros())
    .fetch_one(conn)
    .await?;
    Ok((refusals >= REFUSALS).then_some(refusals))
}

/// Events of the entries from one place of the chain to another, with their deliveries.
/// Returns how many; `None`, and nothing is done, when another node was there.
pub(crate) async fn tell(
    conn: &mut Conn,
    from: u64,
    to: u64,
    told: &[Told],
    now: Timestamp,
) -> Result<Option<u64>, StoreError> {
    if following::lock_cursor(conn, Follower::Events).await? != Some(from) {
        return Ok(None);
    }
    let listeners = listeners(conn).await?;
    let mut known = Known::default();
    let mut written = 0;
    for told in told {
        if let Some(event) = event_of(conn, &mut known, told).await?
            && write_event(conn, &event, &listeners, now).await?
        {
            written += 1;
        }
    }
    following::move_cursor(conn, Follower::Events, to, now).await?;
    Ok(Some(written))
}

/// Something of which no entry of another's tells, with an entry of its own. `None`, and
/// nothing is done, when it was told before.
pub(crate) async fn tell_once(
    conn: &mut Conn,
    event: &NewEvent,
    entry: &NewEntry,
    now: Timestamp,
) -> Result<Option<()>, StoreError> {
    let listeners = listeners(conn).await?;
    if !write_event(conn, event, &listeners, now).await? {
        return Ok(None);
    }
    journal::append(conn, entry).await?;
    Ok(Some(()))
}

type EventColumns = (i64, i64, String, Option<String>, String, String);

fn event_row(columns: EventColumns) -> Result<Event, StoreError> {
    let (id, at, kind, entity, subject, detail) = columns;
    let broken = |what| broken("events", id, what);
    let detail: Map<String, Value> = serde_json::from_str(&detail).map_err(|_| broken("detail"))?;
    Ok(Event {
        id: EventId(id),
        at: Timestamp::from_micros(at),
        kind: kind.parse().map_err(|_| broken("kind"))?,
        entity: entity
            .map(|entity| entity.parse().map_err(|_| broken("entity")))
            .transpose()?,
        subject,
        detail,
    })
}

/// Events, oldest first; with `before` the newest of those before it, oldest first.
pub(crate) async fn events(
    conn: &mut Conn,
    filter: &EventFilter,
) -> Result<Vec<Event>, StoreError> {
    let query = match filter.before {
        None => sqlx::query_as(
            "SELECT v.id, v.at_us, v.kind, e.name, v.subject, v.detail FROM events v \
             LEFT JOIN entities e ON e.id = v.entity_id \
             WHERE v.id > $1 AND v.id < $2 AND v.at_us >= $3 AND ($4 = '' OR v.kind = $4) \
             AND ($5 = '' OR e.name = $5) ORDER BY v.id LIMIT $6",
        ),
        Some(_) => sqlx::query_as(
            "SELECT v.id, v.at_us, v.kind, e.name, v.subject, v.detail FROM events v \
             LEFT JOIN entities e ON e.id = v.entity_id \
             WHERE v.id > $1 AND v.id < $2 AND v.at_us >= $3 AND ($4 = '' OR v.kind = $4) \
             AND ($5 = '' OR e.name = $5) ORDER BY v.id DESC LIMIT $6",
        ),
    };
    let rows: Vec<EventColumns> = query
        .bind(filter.after.map_or(0, |id| id.0))
        .bind(filter.before.map_or(i64::MAX, |id| id.0))
        .bind(filter.since.map_or(i64::MIN, Timestamp::as_micros))
        .bind(filter.kind.map_or("", |kind| kind.as_str()))
        .bind(
            filter
                .entity
                .as_ref()
                .map_or_else(String::new, ToString::to_string),
        )
        .bind(bigint(filter.limit.min(MAX_EVENT_PAGE) as u64))
        .fetch_all(conn)
        .await?;
    let mut events: Vec<_> = rows.into_iter().map(event_row).collect::<Result<_, _>>()?;
    if filter.before.is_some() {
        events.reverse();
    }
    Ok(events)
}

/// Hooks to which something is to be sent now.
pub(crate) async fn hooks_due(conn: &mut Conn, now: Timestamp) -> Result<Vec<DueHook>, StoreError> {
    let rows: Vec<(i64, i64)> = sqlx::query_as(
        "SELECT h.id, h.version FROM hooks h WHERE h.enabled = 1 AND h.removed_at_us IS NULL \
         AND EXISTS (SELECT 1 FROM deliveries d WHERE d.hook_id = h.id AND d.state = 'due' \
         AND d.not_before_us <= $1) ORDER BY h.id",
    )
    .bind(now.as_micros())
    .fetch_all(conn)
    .await?;
    let due = |(id, version)| DueHook {
        id: HookId(id),
        version,
    };
    Ok(rows.into_iter().map(due).collect())
}

type ClaimColumns = (i64, i64, i64, i64, String, Option<String>, String, String);

/// Takes deliveries of a hook: the oldest first, of each subject the first alone, and
/// none of a subject of which one is out. None at all when the hook has changed since.
pub(crate) async fn claim_deliveries(
    conn: &mut Conn,
    taker: &DeliveryTaker,
    hook: DueHook,
    limit: usize,
) -> Result<Vec<ClaimedDelivery>, StoreError> {
    let rows: Vec<ClaimColumns> = sqlx::query_as(skip_locked!(
        "SELECT d.id, d.attempts, v.id, v.at_us, v.kind, e.name, v.subject, v.detail \
         FROM deliveries d JOIN events v ON v.id = d.event_id \
         LEFT JOIN entities e ON e.id = v.entity_id \
         WHERE d.hook_id = $1 AND d.state = 'due' AND d.not_before_us <= $2 \
         AND COALESCE(d.lease_until_us, 0) <= $2 AND NOT EXISTS \
         (SELECT 1 FROM deliveries o WHERE o.hook_id = d.hook_id AND o.subject = d.subject \
         AND o.state = 'due' AND o.id <> d.id \
         AND (o.event_id < d.event_id OR COALESCE(o.lease_until_us, 0) > $2)) \
         AND EXISTS (SELECT 1 FROM hooks h WHERE h.id = d.hook_id AND h.version = $4 \
         AND h.enabled = 1 AND h.removed_at_us IS NULL) ORDER BY d.event_id LIMIT $3",
        "d"
    ))
    .bind(hook.id.0)
    .bind(taker.now.as_micros())
    .bind(bigint(limit as u64))
    .bind(hook.version)
    .fetch_all(&mut *conn)
    .await?;
    let mut claimed = Vec::with_capacity(rows.len());
    for (id, attempts, event, at, kind, entity, subject, detail) in rows {
        let row: Option<(i64,)> = sqlx::query_as(
            "UPDATE deliveries SET token = token + 1, node_id = $2, lease_until_us = $3 \
             WHERE id = $1 AND state = 'due' AND COALESCE(lease_until_us, 0) <= $4 \
             RETURNING token",
        )
        .bind(id)
        .bind(taker.node.as_str().to_owned())
        .bind(taker.lease_until.as_micros())
        .bind(taker.now.as_micros())
        .fetch_optional(&mut *conn)
        .await?;
        let Some((token,)) = row else { continue };
        claimed.push(ClaimedDelivery {
            id: DeliveryId(id),
            token,
            event: event_row((event, at, kind, entity, subject, detail))?,
            attempts: u32::try_from(attempts).unwrap_or(u32::MAX),
        });
    }
    Ok(claimed)
}

/// The receiver has it; false when somebody else has the delivery.
pub(crate) async fn delivered(
    conn: &mut Conn,
    id: DeliveryId,
    token: i64,
    status: u16,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "UPDATE deliveries SET state = 'done', attempts = attempts + 1, last_status = $3, \
         last_error = NULL, lease_until_us = NULL, ended_at_us = $4 \
         WHERE id = $1 AND token = $2 AND state = 'due'",
    )
    .bind(id.0)
    .bind(token)
    .bind(i64::from(status))
    .bind(now.as_micros())
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// The receiver does not have it: it is tried again, or given up when its time is over.
/// Where there was no answer at all, others of the hook whose time is over are given up
/// with it: each of them would have to wait for its own try.
pub(crate) async fn not_delivered(
    conn: &mut Conn,
    tried: &Unreached,
) -> Result<DeliveryOutcome, StoreError> {
    let failure = &tried.failure;
    let status = match failure.reach {
        Reach::Answered { status } => Some(i64::from(status)),
        Reach::Unanswered => None,
    };
    let row: Option<(i64, i64, String)> = sqlx::query_as(
        "UPDATE deliveries SET attempts = attempts + 1, last_status = $3, last_error = $4, \
         lease_until_us = NULL, not_before_us = $5, \
         state = CASE WHEN give_up_at_us <= $6 THEN 'dead' ELSE 'due' END, \
         ended_at_us = CASE WHEN give_up_at_us <= $6 THEN $6 ELSE NULL END \
         WHERE id = $1 AND token = $2 AND state = 'due' RETURNING hook_id, event_id, state",
    )
    .bind(tried.id.0)
    .bind(tried.token)
    .bind(status)
    .bind(crate::journal::bounded(failure.cause.clone()))
    .bind(failure.again_at.as_micros())
    .bind(tried.now.as_micros())
    .fetch_optional(&mut *conn)
    .await?;
    let Some((hook, event, state)) = row else {
        return Ok(DeliveryOutcome::Lost);
    };
    if state != DeliveryState::Dead.as_str() {
        return Ok(DeliveryOutcome::Again);
    }
    let mut deliveries = 1;
    if failure.reach == Reach::Unanswered {
        deliveries += sqlx::query(
            "UPDATE deliveries SET state = 'dead', last_error = $3, ended_at_us = $2 \
             WHERE hook_id = $1 AND state = 'due' AND give_up_at_us <= $2 \
             AND COALESCE(lease_until_us, 0) <= $2",
        )
        .bind(hook)
        .bind(tried.now.as_micros())
        .bind(crate::journal::bounded(failure.cause.clone()))
        .execute(&mut *conn)
        .await?
        .rows_affected();
    }
    let (name,): (String,) = sqlx::query_as("SELECT name FROM hooks WHERE id = $1")
        .bind(hook)
        .fetch_one(&mut *conn)
        .await?;
    let entry = NewEntry::new(
        tried.now,
        JournalKind::System,
        "event.undelivered",
        &tried.node,
    )
    .outcome(Outcome::Failed)
    .with("hook", name)
    .with("event", event)
    .with("deliveries", deliveries)
    .with("why", failure.cause.clone());
    journal::append(conn, &entry).await?;
    Ok(DeliveryOutcome::GivenUp { deliveries })
}

/// Lets go of what a process of this node before this one was sending when it died.
pub(crate) async fn release_deliveries(
    conn: &mut Conn,
    node: &NodeId,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let done = sqlx::query(
        "UPDATE deliveries SET lease_until_us = NULL WHERE node_id = $1 AND state = 'due' \
         AND lease_until_us > $2",
    )
    .bind(node.as_str().to_owned())
    .bind(now.as_micros())
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// Deliveries that were given up are due again, all of the hook's or of one event.
/// Returns how many.
pub(crate) async fn send_again(
    conn: &mut Conn,
    hook: HookId,
    event: Option<EventId>,
    now: Timestamp,
    entry: &NewEntry,
) -> Result<u64, StoreError> {
    let done = sqlx::query(
        "UPDATE deliveries SET state = 'due', attempts = 0, not_before_us = $3, \
         give_up_at_us = $4, ended_at_us = NULL \
         WHERE hook_id = $1 AND state = 'dead' AND ($2 = 0 OR event_id = $2)",
    )
    .bind(hook.0)
    .bind(event.map_or(0, |event| event.0))
    .bind(now.as_micros())
    .bind(now.saturating_add(GIVE_UP_AFTER).as_micros())
    .execute(&mut *conn)
    .await?;
    let deliveries = done.rows_affected();
    if deliveries > 0 {
        let entry = entry.clone().with("deliveries", deliveries);
        journal::append(conn, &entry).await?;
    }
    Ok(deliveries)
}

type DeliveryColumns = (
    i64,
    String,
    String,
    i64,
    i64,
    Option<i64>,
    Option<String>,
    Option<i64>,
    i64,
    i64,
    String,
    Option<String>,
    String,
    String,
);

fn delivery_row(columns: DeliveryColumns) -> Result<(DeliveryId, EventDelivery), StoreError> {
    let (id, hook, state, attempts, not_before, status, error, ended, event, at, ..) = columns;
    let (.., kind, entity, subject, detail) = columns;
    let broken = |what| broken("deliveries", id, what);
    let delivery = EventDelivery {
        event: event_row((event, at, kind, entity, subject, detail))?,
        hook: hook.parse().map_err(|_| broken("hook"))?,
        state: state.parse().map_err(|_| broken("state"))?,
        attempts: u32::try_from(attempts).unwrap_or(u32::MAX),
        not_before: Timestamp::from_micros(not_before),
        last_status: status.and_then(|status| u16::try_from(status).ok()),
        last_error: error,
        ended_at: ended.map(Timestamp::from_micros),
    };
    Ok((DeliveryId(id), delivery))
}

/// What hooks do not have: what is due, and what was given up; the oldest first, behind
/// this event and delivery.
pub(crate) async fn undelivered(
    conn: &mut Conn,
    hook: Option<&HookName>,
    after: (EventId, DeliveryId),
    limit: usize,
) -> Result<Vec<(DeliveryId, EventDelivery)>, StoreError> {
    let rows: Vec<DeliveryColumns> = sqlx::query_as(
        "SELECT d.id, h.name, d.state, d.attempts, d.not_before_us, d.last_status, d.last_error, \
         d.ended_at_us, v.id, v.at_us, v.kind, e.name, v.subject, v.detail \
         FROM deliveries d JOIN hooks h ON h.id = d.hook_id JOIN events v ON v.id = d.event_id \
         LEFT JOIN entities e ON e.id = v.entity_id \
         WHERE d.id IN (SELECT id FROM deliveries WHERE state = 'due' \
         UNION ALL SELECT id FROM deliveries WHERE state = 'dead') AND ($1 = '' OR h.name = $1) \
         AND (d.event_id > $2 OR (d.event_id = $2 AND d.id > $3)) \
         ORDER BY d.event_id, d.id LIMIT $4",
    )
    .bind(hook.map_or_else(String::new, ToString::to_string))
    .bind(after.0.0)
    .bind(after.1.0)
    .bind(bigint(limit.min(MAX_EVENT_PAGE) as u64))
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(delivery_row).collect()
}

/// Forgets events from before this moment, with what was delivered or given up of them.
/// Returns how many went.
pub(crate) async fn prune_events(
    conn: &mut Conn,
    before: Timestamp,
    limit: usize,
) -> Result<u64, StoreError> {
    let rows: Vec<(i64,)> = sqlx::query_as(
        "SELECT v.id FROM events v WHERE v.at_us < $1 AND (v.once IS NULL OR v.at_us < $2) \
         AND NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.event_id = v.id AND d.state = 'due') \
         ORDER BY v.at_us, v.id LIMIT $3",
    )
    .bind(before.as_micros())
    .bind(before.as_micros().saturating_sub(ONCE_KEPT_US))
    .bind(bigint(limit as u64))
    .fetch_all(&mut *conn)
    .await?;
    for (id,) in &rows {
        for statement in [
            "DELETE FROM deliveries WHERE event_id = $1",
            "DELETE FROM events WHERE id = $1",
        ] {
            sqlx::query(statement).bind(*id).execute(&mut *conn).await?;
        }
    }
    Ok(rows.len() as u64)
}
