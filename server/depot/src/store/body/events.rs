//! Events, as rows: what is made of entries, and what is asked for.

use std::collections::HashMap;

use layover_retention::Timestamp;
use serde_json::{Map, Value};

use super::files::bigint;
use super::hooks::kinds_of;
use super::{Conn, StoreError, deliveries, following, journal};
use crate::EntityId;
use crate::event::{About, Event, EventFilter, EventId, EventKind, MAX_EVENT_PAGE, NewEvent, Told};
use crate::journal::{Follower, NewEntry};
use crate::path_texts::PathTexts;

/// So many refused logins of an account within this time are told...
const REFUSALS: i64 = 5;
const REFUSALS_WITHIN_US: i64 = 600 * 1_000_000;
/// ...once in this time.
const REFUSED_AGAIN_US: i64 = 3_600 * 1_000_000;

/// What is told once is remembered at least so long: a certificate's end is told in
/// steps of weeks.
const ONCE_KEPT_US: i64 = 400 * 86_400 * 1_000_000;

pub(super) fn broken(table: &'static str, id: i64, what: &'static str) -> StoreError {
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

/// Those who are told now; their rows are held until the transaction ends.
async fn listeners(conn: &mut Conn) -> Result<Vec<Listener>, StoreError> {
    let rows: Vec<(i64, Option<i64>, String)> = sqlx::query_as(row_locked!(
        "SELECT id, entity_id, kinds FROM hooks WHERE enabled = 1 AND removed_at_us IS NULL \
         ORDER BY id"
    ))
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
        deliveries::write_delivery(conn, listener.id, id, event, now).await?;
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
            // Two names that are not UTF-8 may look the same as text.
            let texts = PathTexts::from(path);
            let path = match texts.path_hex {
                Some(hex) => format!("hex:{hex}"),
                None => texts.path,
            };
            let subject = format!("file:{name}:{path}");
            detail.insert("home".to_owned(), name.into());
            subject
        }
        About::Flow { flow } => format!("flow:{flow}"),
        About::Login { account } => {
            // Asked first: who tries passwords makes many entries, and one is told.
            if refusals_were_told(conn, account, told.at).await? {
                return Ok(None);
            }
            let Some(refusals) = refusals(conn, account, told.at).await? else {
                return Ok(None);
            };
            detail.insert("refusals".to_owned(), refusals.into());
            let within_s = REFUSALS_WITHIN_US / 1_000_000;
            detail.insert("within_s".to_owned(), within_s.into());
            account_subject(account)
        }
    };
    Ok(Some(NewEvent {
        at: told.at,
        kind: told.kind,
        entity: entity.map(EntityId),
        subject,
        once: None,
        detail,
    }))
}

fn account_subject(account: &str) -> String {
    format!("account:{account}")
}

/// Whether refused logins of the account were told within [`REFUSED_AGAIN_US`]; nodes do
/// not have the very same time, so that it may also be a moment later.
async fn refusals_were_told(
    conn: &mut Conn,
    account: &str,
    at: Timestamp,
) -> Result<bool, StoreError> {
    let (told,): (i64,) = sqlx::query_as(
        "SELECT COUNT(*) FROM events WHERE kind = 'login.refused' AND subject = $1 \
         AND at_us > $2 AND at_us < $3",
    )
    .bind(account_subject(account))
    .bind(at.as_micros().saturating_sub(REFUSED_AGAIN_US))
    .bind(at.as_micros().saturating_add(REFUSED_AGAIN_US))
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

pub(super) type EventColumns = (i64, i64, String, Option<String>, String, String);

pub(super) fn event_row(columns: EventColumns) -> Result<Event, StoreError> {
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
