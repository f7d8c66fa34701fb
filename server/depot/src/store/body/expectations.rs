//! Files that are expected: definitions, and what came of their days.
//!
//! A day's row is the lock between nodes. While it is open, `looked_at_us` says before
//! when nobody looks: whoever puts it forward from what he saw has the row until then, and
//! what he writes at the end asks for what he put there.

use std::collections::HashMap;

use jiff::civil::Date;
use layover_retention::Timestamp;

use super::files::bigint;
use super::sessions::note_change;
use super::{Conn, StoreError, events};
use crate::expectation::{
    DayContent, DayEnd, DayFault, DayKey, DayLook, DayState, ExpectationDay, ExpectationDefinition,
    ExpectationPlan, ExpectationStanding, FileEnd, GoneFile, ToldNames,
};
use crate::journal::NewEntry;
use crate::store::ExpectationWrite;
use crate::{EntityId, ExpectationName, FileId, HomeId, IntegrationName, VirtualPath};

fn broken(table: &'static str, what: &'static str) -> StoreError {
    StoreError::Corrupt { table, id: 0, what }
}

fn definition_of(text: &str) -> Result<ExpectationDefinition, StoreError> {
    ExpectationDefinition::from_json(text).ok_or_else(|| broken("expectations", "definition"))
}

fn date_of(text: &str) -> Result<Date, StoreError> {
    text.parse().map_err(|_| broken("expectation_days", "day"))
}

fn size_of(size: Option<i64>) -> Option<u64> {
    size.and_then(|size| u64::try_from(size).ok())
}

/// An expectation becomes what the operator says; its deadlines count from `now` on.
pub(super) async fn write_expectation(
    conn: &mut Conn,
    write: &ExpectationWrite,
    now: Timestamp,
) -> Result<(), StoreError> {
    let definition = &write.definition;
    sqlx::query(
        "INSERT INTO expectations (name, entity_id, definition, set_at_us, plan_from_us) \
         VALUES ($1, $2, $3, $4, $4) ON CONFLICT (name) DO UPDATE SET \
         entity_id = EXCLUDED.entity_id, definition = EXCLUDED.definition, \
         set_at_us = EXCLUDED.set_at_us, plan_from_us = EXCLUDED.plan_from_us, \
         next_due_us = NULL, version = expectations.version + 1",
    )
    .bind(definition.name.to_string())
    .bind(write.entity.0)
    .bind(definition.to_json())
    .bind(now.as_micros())
    .execute(&mut *conn)
    .await?;
    if !definition.enabled {
        close_days(conn, &definition.name, now).await?;
    }
    note_change(conn, &write.entry).await
}

/// Nobody looks any more at what was open of an expectation that is disabled: what was not
/// decided was not looked at.
async fn close_days(
    conn: &mut Conn,
    name: &ExpectationName,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM expectation_days WHERE expectation = $1 AND state = 'waiting'")
        .bind(name.to_string())
        .execute(&mut *conn)
        .await?;
    sqlx::query(
        "UPDATE expectation_days SET state = 'done', looked_at_us = $2 \
         WHERE expectation = $1 AND state = 'missing'",
    )
    .bind(name.to_string())
    .bind(now.as_micros())
    .execute(conn)
    .await?;
    Ok(())
}

/// `None` when there is no such expectation. What is remembered of it goes with it.
pub(crate) async fn remove_expectation(
    conn: &mut Conn,
    name: &ExpectationName,
    entry: &NewEntry,
) -> Result<Option<()>, StoreError> {
    sqlx::query("DELETE FROM expectation_days WHERE expectation = $1")
        .bind(name.to_string())
        .execute(&mut *conn)
        .await?;
    let done = sqlx::query("DELETE FROM expectations WHERE name = $1")
        .bind(name.to_string())
        .execute(&mut *conn)
        .await?;
    if done.rows_affected() == 0 {
        return Ok(None);
    }
    note_change(conn, entry).await?;
    Ok(Some(()))
}

/// Expectations at an integration are its entity's.
pub(super) async fn follow_integration(
    conn: &mut Conn,
    integration: &IntegrationName,
    entity: EntityId,
    now: Timestamp,
) -> Result<(), StoreError> {
    // The name cannot hold a quote, and stands nowhere else in this form.
    sqlx::query(
        "UPDATE expectations SET entity_id = $1, plan_from_us = $3 WHERE entity_id <> $1 \
         AND replace(definition, $2, '') <> definition",
    )
    .bind(entity.0)
    .bind(format!("\"partner\":\"{integration}\""))
    .bind(now.as_micros())
    .execute(conn)
    .await?;
    Ok(())
}

/// Expectations of an entity whose zone has changed are planned anew.
pub(super) async fn replan(
    conn: &mut Conn,
    entity: EntityId,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE expectations SET plan_from_us = $2 WHERE entity_id = $1")
        .bind(entity.0)
        .bind(now.as_micros())
        .execute(conn)
        .await?;
    Ok(())
}

type StandingColumns = (
    String,
    i64,
    Option<i64>,
    Option<i64>,
    String,
    Option<String>,
);

fn standing(columns: StandingColumns) -> Result<ExpectationStanding, StoreError> {
    let (definition, version, plan_from, next_due, entity, entity_zone) = columns;
    Ok(ExpectationStanding {
        definition: definition_of(&definition)?,
        version,
        plan_from: plan_from.map(Timestamp::from_micros),
        next_due: next_due.map(Timestamp::from_micros),
        entity: entity.parse().map_err(|_| broken("entities", "name"))?,
        entity_zone,
        last: None,
    })
}

/// The expectation of this name, or all there are; by name, each with its last day.
pub(crate) async fn expectations(
    conn: &mut Conn,
    name: Option<&ExpectationName>,
) -> Result<Vec<ExpectationStanding>, StoreError> {
    let rows: Vec<StandingColumns> = sqlx::query_as(
        "SELECT x.definition, x.version, x.plan_from_us, x.next_due_us, e.name, e.time_zone \
         FROM expectations x JOIN entities e ON e.id = x.entity_id \
         WHERE $1 = '' OR x.name = $1 ORDER BY x.name",
    )
    .bind(name.map_or_else(String::new, ToString::to_string))
    .fetch_all(&mut *conn)
    .await?;
    let lasts: Vec<NamedDayColumns> = sqlx::query_as(
        "SELECT d.expectation, d.day, d.due_at_us, d.state, d.looked_at_us, d.fault, \
         d.file_name, d.size_bytes, d.sha256, d.modified_us \
         FROM expectations x JOIN expectation_days d ON d.expectation = x.name AND d.day = \
         (SELECT MAX(l.day) FROM expectation_days l WHERE l.expectation = x.name) \
         WHERE $1 = '' OR x.name = $1",
    )
    .bind(name.map_or_else(String::new, ToString::to_string))
    .fetch_all(conn)
    .await?;
    let mut days = HashMap::with_capacity(lasts.len());
    for (name, day, due, state, at, fault, file, size, sha256, modified) in lasts {
        let columns = (day, due, state, at, fault, file, size, sha256, modified);
        days.insert(name, day_of(columns)?);
    }
    rows.into_iter()
        .map(|row| {
            let mut one = standing(row)?;
            one.last = days.remove(one.definition.name.as_str());
            Ok(one)
        })
        .collect()
}

/// Expectations whose deadline has come at `now`, or that are to be planned.
pub(crate) async fn expectations_to_plan(
    conn: &mut Conn,
    now: Timestamp,
    limit: usize,
) -> Result<Vec<ExpectationStanding>, StoreError> {
    let rows: Vec<StandingColumns> = sqlx::query_as(
        "SELECT x.definition, x.version, x.plan_from_us, x.next_due_us, e.name, e.time_zone \
         FROM expectations x JOIN entities e ON e.id = x.entity_id \
         WHERE x.plan_from_us IS NOT NULL OR x.next_due_us <= $1 ORDER BY x.name LIMIT $2",
    )
    .bind(now.as_micros())
    .bind(bigint(limit as u64))
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(standing).collect()
}

/// Puts deadlines forward, and makes the days that are to be looked at. Returns how many;
/// who looked at an expectation that somebody else has put forward since does nothing.
pub(crate) async fn plan_expectations(
    conn: &mut Conn,
    plans: &[ExpectationPlan],
    now: Timestamp,
) -> Result<u64, StoreError> {
    let mut fired = 0;
    for plan in plans {
        let done = sqlx::query(
            "UPDATE expectations SET next_due_us = $4, plan_from_us = NULL \
             WHERE name = $1 AND version = $2 AND COALESCE(next_due_us, 0) = $3",
        )
        .bind(plan.name.to_string())
        .bind(plan.version)
        .bind(plan.was_due.map_or(0, Timestamp::as_micros))
        .bind(plan.next_due.map(Timestamp::as_micros))
        .execute(&mut *conn)
        .await?;
        let (1, Some((day, due_at))) = (done.rows_affected(), plan.fires) else {
            continue;
        };
        fired += sqlx::query(
            "INSERT INTO expectation_days (expectation, day, due_at_us, looked_at_us, state) \
             VALUES ($1, $2, $3, $4, 'waiting') ON CONFLICT DO NOTHING",
        )
        .bind(plan.name.to_string())
        .bind(day.to_string())
        .bind(due_at.as_micros())
        .bind(now.as_micros())
        .execute(&mut *conn)
        .await?
        .rows_affected();
    }
    Ok(fired)
}

type LookColumns = (
    String,
    String,
    i64,
    Option<String>,
    String,
    i64,
    String,
    i64,
    Option<String>,
);

/// Forgets days of these expectations that are due behind this moment. Returns how many
/// those were.
pub(crate) async fn forget_days_to_come(
    conn: &mut Conn,
    names: &[ExpectationName],
    behind: Timestamp,
) -> Result<u64, StoreError> {
    let mut forgotten = 0;
    for name in names {
        forgotten +=
            sqlx::query("DELETE FROM expectation_days WHERE expectation = $1 AND due_at_us > $2")
                .bind(name.to_string())
                .bind(behind.as_micros())
                .execute(&mut *conn)
                .await?
                .rows_affected();
    }
    Ok(forgotten)
}

/// Days at which somebody is to look now, those first that have waited longest; none waits
/// beyond `latest`.
pub(crate) async fn days_to_look_at(
    conn: &mut Conn,
    now: Timestamp,
    latest: Timestamp,
    limit: usize,
) -> Result<Vec<DayLook>, StoreError> {
    let rows: Vec<LookColumns> = sqlx::query_as(
        "SELECT x.definition, e.name, e.id, e.time_zone, d.day, d.due_at_us, d.state, \
         d.looked_at_us, d.fault FROM expectation_days d \
         JOIN expectations x ON x.name = d.expectation JOIN entities e ON e.id = x.entity_id \
         WHERE d.state <> 'done' AND (d.looked_at_us <= $1 OR d.looked_at_us > $3) \
         ORDER BY d.looked_at_us, d.expectation, d.day LIMIT $2",
    )
    .bind(now.as_micros())
    .bind(bigint(limit as u64))
    .bind(latest.as_micros())
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            let (definition, entity, entity_id, entity_zone, day, due, state, at, fault) = row;
            Ok(DayLook {
                definition: definition_of(&definition)?,
                entity: entity.parse().map_err(|_| broken("entities", "name"))?,
                entity_id: EntityId(entity_id),
                entity_zone,
                day: date_of(&day)?,
                due_at: Timestamp::from_micros(due),
                state: state
                    .parse()
                    .map_err(|_| broken("expectation_days", "state"))?,
                not_before: Timestamp::from_micros(at),
                was_unreachable: fault.as_deref() == Some(DayFault::Unreachable.as_str()),
            })
        })
        .collect()
}

/// Takes a day, or keeps it; false when it is not as it was seen.
pub(crate) async fn hold_day(
    conn: &mut Conn,
    key: &DayKey,
    seen: Timestamp,
    until: Timestamp,
) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "UPDATE expectation_days SET looked_at_us = $4 WHERE expectation = $1 AND day = $2 \
         AND looked_at_us = $3 AND state <> 'done'",
    )
    .bind(key.expectation.to_string())
    .bind(key.day.to_string())
    .bind(seen.as_micros())
    .bind(until.as_micros())
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// A look is over, and told; `None`, and nothing is done, when somebody else has the day.
pub(crate) async fn end_day(conn: &mut Conn, end: &DayEnd) -> Result<Option<()>, StoreError> {
    let done = sqlx::query(
        "UPDATE expectation_days SET state = $4, looked_at_us = $5, fault = $6, file_name = $7, \
         size_bytes = $8, sha256 = $9, modified_us = $10 \
         WHERE expectation = $1 AND day = $2 AND looked_at_us = $3 AND state <> 'done'",
    )
    .bind(end.key.expectation.to_string())
    .bind(end.key.day.to_string())
    .bind(end.held.as_micros())
    .bind(end.state.as_str())
    .bind(end.at.as_micros())
    .bind(end.fault.map(DayFault::as_str))
    .bind(end.file_name.clone())
    .bind(end.size_bytes.map(bigint))
    .bind(end.sha256.clone())
    .bind(end.modified_at.map(Timestamp::as_micros))
    .execute(&mut *conn)
    .await?;
    if done.rows_affected() == 0 {
        return Ok(None);
    }
    if let Some((event, entry)) = &end.alert {
        // Told before, under a name that was given again: the day is over all the same.
        events::tell_once(conn, event, entry, end.now).await?;
    }
    Ok(Some(()))
}

type DayColumns = (
    String,
    i64,
    String,
    i64,
    Option<String>,
    Option<Vec<u8>>,
    Option<i64>,
    Option<String>,
    Option<i64>,
);

type NamedDayColumns = (
    String,
    String,
    i64,
    String,
    i64,
    Option<String>,
    Option<Vec<u8>>,
    Option<i64>,
    Option<String>,
    Option<i64>,
);

fn day_of(columns: DayColumns) -> Result<ExpectationDay, StoreError> {
    let (day, due, state, at, fault, file_name, size, sha256, modified) = columns;
    let broken = |what| broken("expectation_days", what);
    Ok(ExpectationDay {
        day: date_of(&day)?,
        due_at: Timestamp::from_micros(due),
        state: state.parse::<DayState>().map_err(|_| broken("state"))?,
        at: Timestamp::from_micros(at),
        fault: fault
            .map(|fault| fault.parse().map_err(|_| broken("fault")))
            .transpose()?,
        file_name,
        size_bytes: size_of(size),
        sha256,
        modified_at: modified.map(Timestamp::from_micros),
    })
}

/// The days of an expectation, the newest first.
pub(crate) async fn days_of(
    conn: &mut Conn,
    name: &ExpectationName,
    limit: usize,
) -> Result<Vec<ExpectationDay>, StoreError> {
    let rows: Vec<DayColumns> = sqlx::query_as(
        "SELECT day, due_at_us, state, looked_at_us, fault, file_name, size_bytes, sha256, \
         modified_us FROM expectation_days WHERE expectation = $1 ORDER BY day DESC LIMIT $2",
    )
    .bind(name.to_string())
    .bind(bigint(limit as u64))
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(day_of).collect()
}

/// By what the file of this day would be known as the one of the last time.
pub(crate) async fn content_before(
    conn: &mut Conn,
    key: &DayKey,
) -> Result<Option<DayContent>, StoreError> {
    type Row = (String, Option<i64>, Option<String>, Option<i64>);
    let row: Option<Row> = sqlx::query_as(
        "SELECT day, size_bytes, sha256, modified_us FROM expectation_days \
         WHERE expectation = $1 AND day < $2 AND (sha256 IS NOT NULL OR modified_us IS NOT NULL) \
         ORDER BY day DESC LIMIT 1",
    )
    .bind(key.expectation.to_string())
    .bind(key.day.to_string())
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|(day, size, sha256, modified)| DayContent {
        day,
        size_bytes: size_of(size),
        sha256,
        modified_at: modified.map(Timestamp::from_micros),
    }))
}

/// Forgets days that were decided before this moment. Returns how many went.
pub(crate) async fn prune_days(
    conn: &mut Conn,
    before: Timestamp,
    limit: usize,
) -> Result<u64, StoreError> {
    let rows: Vec<(String, String)> = sqlx::query_as(
        "SELECT expectation, day FROM expectation_days \
         WHERE state = 'done' AND looked_at_us < $1 LIMIT $2",
    )
    .bind(before.as_micros())
    .bind(bigint(limit as u64))
    .fetch_all(&mut *conn)
    .await?;
    for (expectation, day) in &rows {
        sqlx::query("DELETE FROM expectation_days WHERE expectation = $1 AND day = $2")
            .bind(expectation.clone())
            .bind(day.clone())
            .execute(&mut *conn)
            .await?;
    }
    Ok(rows.len() as u64)
}

/// Files that are stored in a folder, with names that begin so and come behind `after`,
/// in the order of their names' bytes.
pub(crate) async fn stored_named(
    conn: &mut Conn,
    home: HomeId,
    dir: &VirtualPath,
    beginning: &[u8],
    after: &[u8],
    limit: usize,
) -> Result<Vec<GoneFile>, StoreError> {
    type Row = (Vec<u8>, i64, Option<Vec<u8>>, i64);
    // Behind every name that begins so: no name has this many bytes.
    let end = [beginning, &[0xff; 256]].concat();
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT name, size_bytes, sha256, COALESCE(arrived_at_us, touched_at_us) FROM files \
         WHERE home_id = $1 AND dir = $2 AND name >= $3 AND name < $4 AND name > $5 \
         AND state <> 'ended' AND state IN ('stored', 'deleting') ORDER BY name LIMIT $6",
    )
    .bind(home.0)
    .bind(dir.as_bytes().to_vec())
    .bind(beginning.to_vec())
    .bind(end)
    .bind(after.to_vec())
    .bind(bigint(limit as u64))
    .fetch_all(conn)
    .await?;
    let files = rows.into_iter().map(|(name, size, sha256, at)| GoneFile {
        name,
        at: Timestamp::from_micros(at),
        size_bytes: u64::try_from(size).ok(),
        sha256: sha256.map(hex::encode),
        file: None,
    });
    Ok(files.collect())
}

/// Files that got a name in a folder of a home within a time, as the journal tells it, the
/// last first; further back than the entry `before`.
pub(crate) async fn names_told(
    conn: &mut Conn,
    home: HomeId,
    dir: &VirtualPath,
    (from, until): (Timestamp, Timestamp),
    before: Option<(Timestamp, i64)>,
    limit: usize,
) -> Result<ToldNames, StoreError> {
    let row: Option<(String,)> = sqlx::query_as("SELECT name FROM homes WHERE id = $1")
        .bind(home.0)
        .fetch_optional(&mut *conn)
        .await?;
    let Some((home_name,)) = row else {
        return Ok(ToldNames::default());
    };
    let (first, last) = super::files::below(dir);
    let (before_us, before_id) =
        before.map_or((i64::MAX, i64::MAX), |(at, id)| (at.as_micros(), id));
    type Row = (i64, i64, Option<Vec<u8>>, Option<i64>, String);
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT id, at_us, path, size_bytes, detail FROM journal \
         WHERE at_us > $1 AND at_us <= $2 AND (at_us < $3 OR (at_us = $3 AND id < $4)) \
         AND action IN ('upload', 'publish', 'outbound.download', 'adopt', 'rename') \
         AND outcome = 'ok' AND path >= $5 AND path < $6 \
         AND (replace(detail, $7, '') <> detail OR account IN \
         (SELECT a.name FROM accounts a WHERE a.home_id = $8)) \
         ORDER BY at_us DESC, id DESC LIMIT $9",
    )
    .bind(from.as_micros())
    .bind(until.as_micros())
    .bind(before_us)
    .bind(before_id)
    .bind(first)
    .bind(last)
    .bind(format!("\"home\":\"{home_name}\""))
    .bind(home.0)
    .bind(bigint(limit as u64))
    .fetch_all(conn)
    .await?;
    let is_full = rows.len() >= limit;
    let last = rows
        .last()
        .map(|(id, at, ..)| (Timestamp::from_micros(*at), *id));
    let files = rows.into_iter().filter_map(|row| told_name(row, dir));
    Ok(ToldNames {
        files: files.collect(),
        next: last.filter(|_| is_full),
    })
}

/// The file that an entry tells of; `None`: it is in another folder, or did not get the
/// name.
fn told_name(
    (_, at, path, size, detail): (i64, i64, Option<Vec<u8>>, Option<i64>, String),
    dir: &VirtualPath,
) -> Option<GoneFile> {
    let path = VirtualPath::parse(&path?).ok()?;
    let detail: serde_json::Value = serde_json::from_str(&detail).ok()?;
    let is_set = |name: &str| detail.get(name).is_some();
    if path.dir() != *dir || is_set("awaits") || is_set("directory") {
        return None;
    }
    Some(GoneFile {
        name: path.name()?.to_vec(),
        at: Timestamp::from_micros(at),
        size_bytes: size_of(size),
        sha256: None,
        file: detail
            .get("file_id")
            .and_then(serde_json::Value::as_i64)
            .map(FileId),
    })
}

/// What became of a file; `None` when it is not known any more.
pub(crate) async fn file_end(conn: &mut Conn, file: FileId) -> Result<Option<FileEnd>, StoreError> {
    type Row = (i64, Option<Vec<u8>>, Option<i64>, Option<String>);
    let row: Option<Row> =
        sqlx::query_as("SELECT home_id, sha256, ended_at_us, ended_by FROM files WHERE id = $1")
            .bind(file.0)
            .fetch_optional(conn)
            .await?;
    Ok(row.map(|(home, sha256, ended_at, ended_by)| FileEnd {
        home: HomeId(home),
        sha256: sha256.map(hex::encode),
        replaced_at: ended_at
            .filter(|_| ended_by.as_deref() == Some("replaced"))
            .map(Timestamp::from_micros),
    }))
}
