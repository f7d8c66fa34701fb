//! Days of transfers.

use std::collections::HashMap;

use layover_retention::Timestamp;

use super::files::bigint;
use super::{Conn, Step, StoreError, following, journal, run};
use crate::holdings::Direction;
use crate::journal::{Follower, JournalEntry};
use crate::statistics::{
    DailyKey, DailySums, DaysKept, DaysWanted, Subject, TransferCount, TransfersOf, Zones,
    zone_named,
};

/// In which zone whose days are.
pub(crate) async fn zones(conn: &mut Conn) -> Result<Zones, StoreError> {
    let entities: Vec<(String, Option<String>)> =
        sqlx::query_as("SELECT name, time_zone FROM entities WHERE time_zone IS NOT NULL")
            .fetch_all(&mut *conn)
            .await?;
    let integrations: Vec<(String, Option<String>)> = sqlx::query_as(
        "SELECT i.name, e.time_zone FROM integrations i JOIN entities e ON e.id = i.entity_id \
         WHERE i.removed_at_us IS NULL",
    )
    .fetch_all(conn)
    .await?;
    let named = |rows: Vec<(String, Option<String>)>| -> HashMap<_, _> {
        let rows = rows.into_iter();
        rows.map(|(name, zone)| (name, zone_named(zone.as_deref())))
            .collect()
    };
    Ok(Zones {
        entities: named(entities),
        integrations: named(integrations),
    })
}

/// Adds sums to the days, of the entries behind `from` up to `to`. `None`, and nothing is
/// done, when another node has counted some of them.
pub(crate) async fn add_daily(
    conn: &mut Conn,
    from: u64,
    to: u64,
    sums: &DailySums,
    now: Timestamp,
) -> Result<Option<()>, StoreError> {
    if following::lock_cursor(conn, Follower::DailyTransfers).await? != Some(from) {
        return Ok(None);
    }
    let steps = sums.iter().map(|(key, sum)| {
        Step::new(
            "INSERT INTO daily_transfers (of_what, name, day, direction, outcome, requests, \
             size_bytes, duration_ms) VALUES ($1, $2, $3, $4, $5, $6, $7, $8) \
             ON CONFLICT (of_what, name, day, direction, outcome) DO UPDATE SET \
             requests = daily_transfers.requests + EXCLUDED.requests, \
             size_bytes = daily_transfers.size_bytes + EXCLUDED.size_bytes, \
             duration_ms = daily_transfers.duration_ms + EXCLUDED.duration_ms",
            [
                key.of.as_str().into(),
                key.name.clone().into(),
                key.day.into(),
                key.direction.as_str().into(),
                outcome(key.is_ok).into(),
                bigint(sum.requests).into(),
                bigint(sum.size_bytes).into(),
                bigint(sum.duration_ms).into(),
            ],
        )
    });
    let steps: Vec<_> = steps.collect();
    if !steps.is_empty() {
        run(conn, steps).await?;
    }
    following::move_cursor(conn, Follower::DailyTransfers, to, now).await?;
    Ok(Some(()))
}

const fn outcome(is_ok: bool) -> &'static str {
    if is_ok { "ok" } else { "failed" }
}

/// Forgets sums of days before this one; how many went.
pub(crate) async fn forget_days(conn: &mut Conn, before: i64) -> Result<u64, StoreError> {
    let done = sqlx::query("DELETE FROM daily_transfers WHERE day < $1")
        .bind(before)
        .execute(conn)
        .await?;
    Ok(done.rows_affected())
}

/// Whoever has this name, else whoever had it last.
pub(crate) async fn subject(
    conn: &mut Conn,
    of: TransfersOf,
    name: &str,
) -> Result<Option<Subject>, StoreError> {
    let statements = match of {
        TransfersOf::Account => [
            "SELECT e.name, e.time_zone, a.removed_at_us FROM accounts a \
             JOIN entities e ON e.id = a.entity_id WHERE a.name = $1 AND a.removed_at_us IS NULL",
            "SELECT e.name, e.time_zone, a.removed_at_us FROM accounts a \
             JOIN entities e ON e.id = a.entity_id WHERE a.name = $1 ORDER BY a.id DESC LIMIT 1",
        ],
        TransfersOf::Integration => [
            "SELECT e.name, e.time_zone, i.removed_at_us FROM integrations i \
             JOIN entities e ON e.id = i.entity_id WHERE i.name = $1 AND i.removed_at_us IS NULL",
            "SELECT e.name, e.time_zone, i.removed_at_us FROM integrations i \
             JOIN entities e ON e.id = i.entity_id WHERE i.name = $1 ORDER BY i.id DESC LIMIT 1",
        ],
    };
    for statement in statements {
        let row: Option<(String, Option<String>, Option<i64>)> = sqlx::query_as(statement)
            .bind(name.to_owned())
            .fetch_optional(&mut *conn)
            .await?;
        if let Some((entity, zone, removed_at)) = row {
            return Ok(Some(Subject {
                entity,
                zone,
                removed_at: removed_at.map(Timestamp::from_micros),
            }));
        }
    }
    Ok(None)
}

/// Days as they were rolled up, and the entries that were not yet, unless they are more
/// than `most`: all of one moment.
pub(crate) async fn transfer_days(
    conn: &mut Conn,
    wanted: &DaysWanted<'_>,
    most: u64,
) -> Result<DaysKept, StoreError> {
    let rows: Vec<(i64, String, String, i64, i64, i64)> = sqlx::query_as(
        "SELECT day, direction, outcome, requests, size_bytes, duration_ms \
         FROM daily_transfers WHERE of_what = $1 AND name = $2 AND day >= $3 AND day <= $4 \
         ORDER BY day",
    )
    .bind(wanted.of.as_str())
    .bind(wanted.name.to_owned())
    .bind(wanted.first)
    .bind(wanted.last)
    .fetch_all(&mut *conn)
    .await?;
    let count = |number: i64| u64::try_from(number).unwrap_or(0);
    let sums = rows.into_iter().map(|row| {
        let (day, direction, outcome, requests, size_bytes, duration_ms) = row;
        let key = DailyKey {
            of: wanted.of,
            name: wanted.name.to_owned(),
            day,
            direction: match direction.as_str() {
                "upload" => Direction::Upload,
                _ => Direction::Download,
            },
            is_ok: outcome == "ok",
        };
        let sum = TransferCount {
            requests: count(requests),
            size_bytes: count(size_bytes),
            duration_ms: count(duration_ms),
        };
        (key, sum)
    });
    let sums = sums.collect();
    let (placed, unplaced) = uncounted(conn).await?;
    let uncounted = placed.saturating_add(unplaced);
    if uncounted > most {
        return Ok(DaysKept {
            sums,
            fresh: Vec::new(),
            uncounted,
        });
    }
    Ok(DaysKept {
        sums,
        fresh: fresh(conn, wanted, bigint(most)).await?,
        uncounted: 0,
    })
}

/// Entries that are not rolled up: those with a place in the chain, and about how many
/// without.
pub(super) async fn uncounted(conn: &mut Conn) -> Result<(u64, u64), StoreError> {
    let (placed, unplaced): (i64, i64) = sqlx::query_as(
        "SELECT COALESCE((SELECT seq FROM chain_heads WHERE chain = 'journal'), 0) \
         - COALESCE((SELECT seq FROM rolled_up WHERE name = 'daily_transfers'), 0), \
         COALESCE((SELECT MAX(id) FROM journal), 0) \
         - COALESCE((SELECT last_id FROM chain_heads WHERE chain = 'journal'), 0)",
    )
    .fetch_one(conn)
    .await?;
    let count = |number: i64| u64::try_from(number).unwrap_or(0);
    Ok((count(placed), count(unplaced)))
}

/// The entries themselves, as far as they may be of whom it is about.
async fn fresh(
    conn: &mut Conn,
    wanted: &DaysWanted<'_>,
    most: i64,
) -> Result<Vec<JournalEntry>, StoreError> {
    let (cursor, last_id): (i64, i64) = sqlx::query_as(
        "SELECT COALESCE((SELECT seq FROM rolled_up WHERE name = 'daily_transfers'), 0), \
         COALESCE((SELECT last_id FROM chain_heads WHERE chain = 'journal'), 0)",
    )
    .fetch_one(&mut *conn)
    .await?;
    let account = match wanted.of {
        TransfersOf::Account => wanted.name,
        TransfersOf::Integration => "",
    };
    let mut entries = journal::transfers_behind_the_cursor(conn, account, cursor, most).await?;
    entries.extend(journal::transfers_without_a_place(conn, account, last_id, most).await?);
    Ok(entries)
}
