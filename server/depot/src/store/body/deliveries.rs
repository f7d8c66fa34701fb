//! Deliveries of events, as rows.
//!
//! Of one hook and subject the first that is due is the head, and heads alone are given
//! out, to whoever gets the lease: so a receiver hears of one thing in its order, and what
//! waits behind a head is not looked at. When a head ends, the first that waits behind it
//! takes its place, at the end of the hook's queue: subjects take turns. Whoever changes
//! who is a head holds the hook's row until the transaction ends, so that a subject never
//! has two, nor none while something of it is due.

use std::collections::BTreeSet;
use std::time::Duration;

use layover_retention::Timestamp;
use serde_json::{Map, Value};

use super::events::{EventColumns, broken, event_row};
use super::files::bigint;
use super::{Conn, StoreError, hooks, journal};
use crate::event::{
    ClaimedDelivery, DELIVERY_LEASE, DeliveryId, DeliveryOutcome, DeliveryState, DeliveryTaker,
    DueDelivery, DueHook, EventDelivery, EventId, EventKind, GIVE_UP_AFTER, GIVEN_UP_AT_ONCE,
    HookId, MAX_EVENT_PAGE, NewEvent, Reach, SENT_AGAIN_AT_ONCE, Unreached,
};
use crate::journal::{JournalKind, NewEntry, Outcome};
use crate::{HookName, NodeId};

/// So many deliveries that wait are looked at for one to fold another event into. Of those
/// behind the head there is one for each account: where more read one file, more is told.
const FOLD_LOOKS_AT: i64 = 16;

/// Longer than any wait for another try (an hour, where a receiver asks for it), and the
/// difference of two nodes' clocks.
const FURTHEST_WAIT: Duration = Duration::from_secs(2 * 3_600);

/// Who did something, in the details of its event.
const WHO: [&str; 4] = ["account", "action", "integration", "flow"];

/// The detail that says how many events before it are told with an event.
const FOLDED: &str = "folded";

/// What waits for a moment behind this one was written by a clock that was ahead: it is due.
fn furthest_wait(now: Timestamp) -> i64 {
    now.saturating_add(FURTHEST_WAIT).as_micros()
}

/// Likewise a lease.
fn furthest_lease(now: Timestamp) -> i64 {
    now.saturating_add(DELIVERY_LEASE * 2).as_micros()
}

/// Nobody else says who is a head of this hook until the transaction ends.
async fn lock_hook(conn: &mut Conn, hook: i64) -> Result<(), StoreError> {
    sqlx::query(row_locked!("SELECT id FROM hooks WHERE id = $1"))
        .bind(hook)
        .fetch_optional(conn)
        .await?;
    Ok(())
}

/// The same of the hook that a delivery is for.
async fn lock_hook_of(conn: &mut Conn, id: DeliveryId) -> Result<(), StoreError> {
    sqlx::query(row_locked!(
        "SELECT id FROM hooks WHERE id = (SELECT hook_id FROM deliveries WHERE id = $1)"
    ))
    .bind(id.0)
    .fetch_optional(conn)
    .await?;
    Ok(())
}

/// Where a subject has no head, the first of it that is due becomes it, at the end of the
/// hook's queue. Whoever calls it holds the hook's row.
async fn choose_head(
    conn: &mut Conn,
    hook: i64,
    subject: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    // Asked for in the order of its index: where most is of one subject, PostgreSQL would
    // go through all deliveries by their events instead, those that are done included.
    sqlx::query(
        "UPDATE deliveries SET is_head = 1, not_before_us = $3 WHERE id = \
         (SELECT id FROM (SELECT id, subject FROM deliveries WHERE hook_id = $1 \
         AND state = 'due' AND subject >= $2 ORDER BY subject, event_id LIMIT 1) AS first \
         WHERE subject = $2) AND NOT EXISTS \
         (SELECT 1 FROM deliveries WHERE hook_id = $1 AND subject = $2 AND is_head = 1)",
    )
    .bind(hook)
    .bind(subject.to_owned())
    .bind(now.as_micros())
    .execute(conn)
    .await?;
    Ok(())
}

async fn choose_heads(
    conn: &mut Conn,
    hook: i64,
    subjects: Vec<(String,)>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let subjects: BTreeSet<_> = subjects.into_iter().map(|(subject,)| subject).collect();
    for subject in subjects {
        choose_head(conn, hook, &subject, now).await?;
    }
    Ok(())
}

/// Has a hook told of an event. Whoever calls it holds the hook's row.
pub(super) async fn write_delivery(
    conn: &mut Conn,
    hook: i64,
    id: i64,
    event: &NewEvent,
    now: Timestamp,
) -> Result<(), StoreError> {
    let give_up_at = now.saturating_add(GIVE_UP_AFTER);
    if event.kind == EventKind::FileCollected
        && let Some(into) = like_it(conn, hook, event).await?
    {
        sqlx::query(
            "UPDATE deliveries SET event_id = $2, folded = folded + 1, give_up_at_us = $3 \
             WHERE id = $1",
        )
        .bind(into)
        .bind(id)
        .bind(give_up_at.as_micros())
        .execute(conn)
        .await?;
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO deliveries (hook_id, event_id, subject, state, not_before_us, \
         give_up_at_us, is_head) VALUES ($1, $2, $3, 'due', $4, $5, \
         CASE WHEN EXISTS (SELECT 1 FROM deliveries WHERE hook_id = $1 AND subject = $3 \
         AND is_head = 1) THEN 0 ELSE 1 END)",
    )
    .bind(hook)
    .bind(id)
    .bind(event.subject_key())
    .bind(now.as_micros())
    .bind(give_up_at.as_micros())
    .execute(conn)
    .await?;
    Ok(())
}

/// A delivery behind the head that nobody has tried yet, of the same thing done by the same
/// to the same subject, with nothing of another kind since.
async fn like_it(conn: &mut Conn, hook: i64, event: &NewEvent) -> Result<Option<i64>, StoreError> {
    let waiting: Vec<(i64, i64, i64, String, String)> = sqlx::query_as(
        "SELECT d.id, d.is_head, d.token, v.kind, v.detail FROM \
         (SELECT id, event_id, subject, is_head, token FROM deliveries WHERE hook_id = $1 \
         AND state = 'due' AND subject <= $2 ORDER BY subject DESC, event_id DESC LIMIT $3) AS d \
         JOIN events v ON v.id = d.event_id WHERE d.subject = $2 ORDER BY d.event_id DESC",
    )
    .bind(hook)
    .bind(event.subject_key())
    .bind(FOLD_LOOKS_AT)
    .fetch_all(conn)
    .await?;
    let is_by_the_same = |detail: &str| {
        serde_json::from_str::<Map<String, Value>>(detail).is_ok_and(|detail| {
            WHO.iter()
                .all(|who| detail.get(*who) == event.detail.get(*who))
        })
    };
    let found = waiting
        .iter()
        .take_while(|(.., kind, _)| kind == event.kind.as_str())
        .find(|(_, is_head, token, _, detail)| {
            *is_head == 0 && *token == 0 && is_by_the_same(detail)
        });
    Ok(found.map(|(id, ..)| *id))
}

/// An event as it is told, with those that are told with it.
fn told_event(columns: EventColumns, folded: i64) -> Result<crate::event::Event, StoreError> {
    let mut event = event_row(columns)?;
    if folded > 0 {
        event.detail.insert(FOLDED.to_owned(), folded.into());
    }
    Ok(event)
}

/// Hooks to which something is to be sent now.
pub(crate) async fn hooks_due(conn: &mut Conn, now: Timestamp) -> Result<Vec<DueHook>, StoreError> {
    let rows: Vec<(i64, i64)> = sqlx::query_as(
        "SELECT h.id, h.version FROM hooks h WHERE h.enabled = 1 AND h.removed_at_us IS NULL \
         AND EXISTS (SELECT 1 FROM deliveries d WHERE d.hook_id = h.id AND d.is_head = 1 \
         AND (d.not_before_us <= $1 OR d.not_before_us > $2) \
         AND (COALESCE(d.lease_until_us, 0) <= $1 OR d.lease_until_us > $3)) ORDER BY h.id",
    )
    .bind(now.as_micros())
    .bind(furthest_wait(now))
    .bind(furthest_lease(now))
    .fetch_all(conn)
    .await?;
    let due = |(id, version)| DueHook {
        id: HookId(id),
        version,
    };
    Ok(rows.into_iter().map(due).collect())
}

type DueColumns = (i64, i64, i64, i64, String, Option<String>, String, String);

/// Heads of a hook that are due and nobody's, those first that wait for their turn longest.
pub(crate) async fn deliveries_due(
    conn: &mut Conn,
    hook: HookId,
    now: Timestamp,
    limit: usize,
) -> Result<Vec<DueDelivery>, StoreError> {
    let rows: Vec<DueColumns> = sqlx::query_as(
        "SELECT d.id, d.folded, v.id, v.at_us, v.kind, e.name, v.subject, v.detail \
         FROM deliveries d JOIN events v ON v.id = d.event_id \
         LEFT JOIN entities e ON e.id = v.entity_id \
         WHERE d.hook_id = $1 AND d.is_head = 1 \
         AND (d.not_before_us <= $2 OR d.not_before_us > $4) \
         AND (COALESCE(d.lease_until_us, 0) <= $2 OR d.lease_until_us > $5) \
         ORDER BY d.not_before_us, d.event_id LIMIT $3",
    )
    .bind(hook.0)
    .bind(now.as_micros())
    .bind(bigint(limit as u64))
    .bind(furthest_wait(now))
    .bind(furthest_lease(now))
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|(id, folded, event, at, kind, entity, subject, detail)| {
            Ok(DueDelivery {
                id: DeliveryId(id),
                event: told_event((event, at, kind, entity, subject, detail), folded)?,
            })
        })
        .collect()
}

/// Takes those of these deliveries that are still heads, due and nobody's. None at all when
/// the hook has changed since it was looked at.
pub(crate) async fn claim_deliveries(
    conn: &mut Conn,
    taker: &DeliveryTaker,
    hook: DueHook,
    due: &[DueDelivery],
) -> Result<Vec<ClaimedDelivery>, StoreError> {
    let as_known: Option<(i64,)> = sqlx::query_as(row_locked!(
        "SELECT id FROM hooks WHERE id = $1 AND version = $2 AND enabled = 1 \
         AND removed_at_us IS NULL"
    ))
    .bind(hook.id.0)
    .bind(hook.version)
    .fetch_optional(&mut *conn)
    .await?;
    if as_known.is_none() {
        return Ok(Vec::new());
    }
    let mut claimed = Vec::with_capacity(due.len());
    for due in due {
        let row: Option<(i64, i64)> = sqlx::query_as(
            "UPDATE deliveries SET token = token + 1, node_id = $2, lease_until_us = $3 \
             WHERE id = $1 AND is_head = 1 AND (not_before_us <= $4 OR not_before_us > $5) \
             AND (COALESCE(lease_until_us, 0) <= $4 OR lease_until_us > $6) \
             RETURNING token, attempts",
        )
        .bind(due.id.0)
        .bind(taker.node.as_str().to_owned())
        .bind(taker.lease_until.as_micros())
        .bind(taker.now.as_micros())
        .bind(furthest_wait(taker.now))
        .bind(furthest_lease(taker.now))
        .fetch_optional(&mut *conn)
        .await?;
        if let Some((token, attempts)) = row {
            claimed.push(ClaimedDelivery {
                id: due.id,
                token,
                event: due.event.clone(),
                attempts: u32::try_from(attempts).unwrap_or(u32::MAX),
            });
        }
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
    lock_hook_of(conn, id).await?;
    let done: Option<(i64, String)> = sqlx::query_as(
        "UPDATE deliveries SET state = 'done', is_head = 0, attempts = attempts + 1, \
         last_status = $3, last_error = NULL, lease_until_us = NULL, ended_at_us = $4 \
         WHERE id = $1 AND token = $2 AND state = 'due' RETURNING hook_id, subject",
    )
    .bind(id.0)
    .bind(token)
    .bind(i64::from(status))
    .bind(now.as_micros())
    .fetch_optional(&mut *conn)
    .await?;
    let Some((hook, subject)) = done else {
        return Ok(false);
    };
    choose_head(conn, hook, &subject, now).await?;
    Ok(true)
}

/// The receiver does not have it: it is tried again, or given up when its time is over.
/// Where there was no answer at all, others of the hook whose time is over are given up
/// with it, [`GIVEN_UP_AT_ONCE`]: each of them would have to wait for its own try.
pub(crate) async fn not_delivered(
    conn: &mut Conn,
    tried: &Unreached,
) -> Result<DeliveryOutcome, StoreError> {
    lock_hook_of(conn, tried.id).await?;
    let failure = &tried.failure;
    let status = match failure.reach {
        Reach::Answered { status } => Some(i64::from(status)),
        Reach::Unanswered => None,
    };
    let row: Option<(i64, i64, String, String)> = sqlx::query_as(
        "UPDATE deliveries SET attempts = attempts + 1, last_status = $3, last_error = $4, \
         lease_until_us = NULL, not_before_us = $5, \
         state = CASE WHEN give_up_at_us <= $6 THEN 'dead' ELSE 'due' END, \
         is_head = CASE WHEN give_up_at_us <= $6 THEN 0 ELSE is_head END, \
         ended_at_us = CASE WHEN give_up_at_us <= $6 THEN $6 ELSE NULL END \
         WHERE id = $1 AND token = $2 AND state = 'due' \
         RETURNING hook_id, event_id, subject, state",
    )
    .bind(tried.id.0)
    .bind(tried.token)
    .bind(status)
    .bind(journal_text(tried))
    .bind(failure.again_at.as_micros())
    .bind(tried.now.as_micros())
    .fetch_optional(&mut *conn)
    .await?;
    let Some((hook, event, subject, state)) = row else {
        return Ok(DeliveryOutcome::Lost);
    };
    if state != DeliveryState::Dead.as_str() {
        return Ok(DeliveryOutcome::Again);
    }
    choose_head(conn, hook, &subject, tried.now).await?;
    let mut deliveries = 1;
    if failure.reach == Reach::Unanswered {
        deliveries += give_up_others(conn, hook, tried).await?;
    }
    note_given_up(conn, (hook, event), tried, deliveries).await?;
    Ok(DeliveryOutcome::GivenUp { deliveries })
}

/// More of those whose time is over with one that was given up, [`GIVEN_UP_AT_ONCE`].
/// Returns how many.
pub(crate) async fn give_up_more(conn: &mut Conn, tried: &Unreached) -> Result<u64, StoreError> {
    lock_hook_of(conn, tried.id).await?;
    let row: Option<(i64, i64)> =
        sqlx::query_as("SELECT hook_id, event_id FROM deliveries WHERE id = $1")
            .bind(tried.id.0)
            .fetch_optional(&mut *conn)
            .await?;
    let Some((hook, event)) = row else {
        return Ok(0);
    };
    let deliveries = give_up_others(conn, hook, tried).await?;
    if deliveries > 0 {
        note_given_up(conn, (hook, event), tried, deliveries).await?;
    }
    Ok(deliveries)
}

fn journal_text(tried: &Unreached) -> String {
    crate::journal::bounded(tried.failure.cause.clone())
}

async fn give_up_others(conn: &mut Conn, hook: i64, tried: &Unreached) -> Result<u64, StoreError> {
    let given_up: Vec<(String,)> = sqlx::query_as(
        "UPDATE deliveries SET state = 'dead', is_head = 0, last_error = $3, ended_at_us = $2 \
         WHERE id IN (SELECT id FROM deliveries WHERE hook_id = $1 AND state = 'due' \
         AND give_up_at_us <= $2 AND COALESCE(lease_until_us, 0) <= $2 \
         ORDER BY give_up_at_us LIMIT $4) \
         AND state = 'due' AND COALESCE(lease_until_us, 0) <= $2 RETURNING subject",
    )
    .bind(hook)
    .bind(tried.now.as_micros())
    .bind(journal_text(tried))
    .bind(bigint(GIVEN_UP_AT_ONCE))
    .fetch_all(&mut *conn)
    .await?;
    let deliveries = given_up.len() as u64;
    choose_heads(conn, hook, given_up, tried.now).await?;
    Ok(deliveries)
}

async fn note_given_up(
    conn: &mut Conn,
    (hook, event): (i64, i64),
    tried: &Unreached,
    deliveries: u64,
) -> Result<(), StoreError> {
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
    .with("why", tried.failure.cause.clone());
    journal::append(conn, &entry).await
}

/// Lets go of what a process of this node before this one was sending when it died.
pub(crate) async fn release_deliveries(
    conn: &mut Conn,
    node: &NodeId,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let done = sqlx::query(
        "UPDATE deliveries SET lease_until_us = NULL WHERE node_id = $1 AND is_head = 1 \
         AND lease_until_us > $2",
    )
    .bind(node.as_str().to_owned())
    .bind(now.as_micros())
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// Deliveries that were given up are due again, the first [`SENT_AGAIN_AT_ONCE`] of the
/// hook's or that of one event; and whatever is due is tried soon. Returns how many.
pub(crate) async fn send_again(
    conn: &mut Conn,
    hook: HookId,
    event: Option<EventId>,
    now: Timestamp,
    entry: &NewEntry,
) -> Result<u64, StoreError> {
    lock_hook(conn, hook.0).await?;
    let again: Vec<(String,)> = sqlx::query_as(
        "UPDATE deliveries SET state = 'due', attempts = 0, not_before_us = $3, \
         give_up_at_us = $4, ended_at_us = NULL WHERE id IN (SELECT id FROM deliveries \
         WHERE hook_id = $1 AND state = 'dead' AND ($2 = 0 OR event_id = $2) \
         ORDER BY event_id LIMIT $5) RETURNING subject",
    )
    .bind(hook.0)
    .bind(event.map_or(0, |event| event.0))
    .bind(now.as_micros())
    .bind(now.saturating_add(GIVE_UP_AFTER).as_micros())
    .bind(bigint(SENT_AGAIN_AT_ONCE))
    .fetch_all(&mut *conn)
    .await?;
    let deliveries = again.len() as u64;
    choose_heads(conn, hook.0, again, now).await?;
    hooks::wake(conn, hook, now).await?;
    let entry = entry.clone().with("deliveries", deliveries);
    journal::append(conn, &entry).await?;
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
    i64,
    String,
    Option<String>,
    String,
    String,
);

fn delivery_row(columns: DeliveryColumns) -> Result<(DeliveryId, EventDelivery), StoreError> {
    let (id, hook, state, attempts, not_before, status, error, ended, folded, event, at, ..) =
        columns;
    let (.., kind, entity, subject, detail) = columns;
    let broken = |what| broken("deliveries", id, what);
    let delivery = EventDelivery {
        event: told_event((event, at, kind, entity, subject, detail), folded)?,
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
         d.ended_at_us, d.folded, v.id, v.at_us, v.kind, e.name, v.subject, v.detail \
         FROM deliveries d JOIN hooks h ON h.id = d.hook_id JOIN events v ON v.id = d.event_id \
         LEFT JOIN entities e ON e.id = v.entity_id \
         WHERE d.id IN (SELECT id FROM (SELECT id FROM deliveries WHERE state = 'due' \
         AND event_id >= $2 AND (event_id > $2 OR id > $3) \
         AND ($1 = '' OR hook_id IN (SELECT id FROM hooks WHERE name = $1)) \
         ORDER BY event_id, id LIMIT $4) AS due \
         UNION ALL SELECT id FROM (SELECT id FROM deliveries WHERE state = 'dead' \
         AND event_id >= $2 AND (event_id > $2 OR id > $3) \
         AND ($1 = '' OR hook_id IN (SELECT id FROM hooks WHERE name = $1)) \
         ORDER BY event_id, id LIMIT $4) AS dead) \
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
