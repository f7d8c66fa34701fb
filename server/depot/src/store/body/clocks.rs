//! What each server last knew of its machine's clock.

use layover_retention::{ClockRecord, Correction, Timestamp};

use super::expiry::move_expiries_of_node;
use super::{Conn, StoreError, journal};
use crate::NodeId;
use crate::account::NodeClock;
use crate::journal::NewEntry;

type ClockColumns = (
    String,
    i64,
    Option<i64>,
    String,
    Option<String>,
    Option<String>,
);

/// What was kept of one node's clock, or of all.
pub(crate) async fn clocks(
    conn: &mut Conn,
    node: Option<&NodeId>,
) -> Result<Vec<NodeClock>, StoreError> {
    let rows: Vec<ClockColumns> = sqlx::query_as(
        "SELECT node_id, at_us, ahead_us, record, confirmed_by, confirmed_why FROM node_clocks \
         WHERE node_id = COALESCE($1, node_id) ORDER BY node_id",
    )
    .bind(node.map(|node| node.as_str().to_owned()))
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|(node, at_us, ahead_us, record, by, why)| {
            let record: ClockRecord =
                serde_json::from_str(&record).map_err(|_| StoreError::Corrupt {
                    table: "node_clocks",
                    id: at_us,
                    what: "record",
                })?;
            Ok(NodeClock {
                node,
                at: Timestamp::from_micros(at_us),
                ahead_of_database_us: ahead_us,
                record,
                confirmed_by: by,
                confirmed_why: why,
            })
        })
        .collect()
}

/// Keeps what a node knows, with what follows and what is to be said of it: a
/// correction that was forgotten or made twice would be worse than none. An operator's
/// word stays until the doubt that it speaks of has ended.
pub(crate) async fn keep_clock(
    conn: &mut Conn,
    node: &NodeId,
    now: Timestamp,
    ahead_us: Option<i64>,
    record: &ClockRecord,
    correction: Option<&Correction>,
    entry: Option<&NewEntry>,
) -> Result<u64, StoreError> {
    sqlx::query(
        "INSERT INTO node_clocks (node_id, at_us, ahead_us, record) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (node_id) DO UPDATE SET at_us = EXCLUDED.at_us, \
         ahead_us = EXCLUDED.ahead_us, record = EXCLUDED.record, \
         confirmed_by = CASE WHEN $5 = 1 THEN node_clocks.confirmed_by END, \
         confirmed_why = CASE WHEN $5 = 1 THEN node_clocks.confirmed_why END",
    )
    .bind(node.as_str().to_owned())
    .bind(now.as_micros())
    .bind(ahead_us)
    .bind(serde_json::to_string(record).unwrap_or_default())
    .bind(i64::from(record.in_doubt().is_some()))
    .execute(&mut *conn)
    .await?;
    let corrected = match correction {
        Some(correction) => Some(correct_arrivals(conn, node, now, correction).await?),
        None => None,
    };
    if let Some(entry) = entry {
        let mut entry = entry.clone();
        if let Some(files) = corrected {
            entry = entry.with("files_corrected", files);
        }
        journal::append(conn, &entry).await?;
    }
    Ok(corrected.unwrap_or(0))
}

/// An operator's word on a node's wall clock; `None` where there is no doubt.
pub(crate) async fn confirm_clock(
    conn: &mut Conn,
    node: &str,
    by: &str,
    why: &str,
    entry: &NewEntry,
) -> Result<Option<()>, StoreError> {
    let done = sqlx::query(
        "UPDATE node_clocks SET confirmed_by = $2, confirmed_why = $3 WHERE node_id = $1",
    )
    .bind(node.to_owned())
    .bind(by.to_owned())
    .bind(why.to_owned())
    .execute(&mut *conn)
    .await?;
    if done.rows_affected() == 0 {
        return Ok(None);
    }
    journal::append(conn, entry).await?;
    Ok(Some(()))
}

/// Every clock is new: a backup was restored.
pub(crate) async fn forget_clocks(conn: &mut Conn) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM node_clocks").execute(conn).await?;
    Ok(())
}

/// What time the database has; `None` where it has no clock of its own.
pub(crate) async fn database_time(conn: &mut Conn) -> Result<Option<Timestamp>, StoreError> {
    let Some(text) = super::DATABASE_TIME else {
        return Ok(None);
    };
    let (now_us,): (i64,) = sqlx::query_as(text).fetch_one(conn).await?;
    Ok(Some(Timestamp::from_micros(now_us)))
}

/// Publications may be under way with a time that was right a moment ago: so close to
/// the present an arrival is not wrong.
const UNDER_WAY_US: i64 = 60_000_000;

/// Files of this node that arrived by a clock that was ahead go with the time that
/// it should have been; none is put before its true arrival. Returns how many.
async fn correct_arrivals(
    conn: &mut Conn,
    node: &NodeId,
    now: Timestamp,
    correction: &Correction,
) -> Result<u64, StoreError> {
    let now_us = now.as_micros();
    let impossible_us = now_us.saturating_add(UNDER_WAY_US);
    let ahead_us = i64::try_from(correction.ahead.as_micros()).unwrap_or(i64::MAX);
    // Between the end of the doubt and now, right and wrong arrivals look the same:
    // they stay.
    let moved = sqlx::query(
        "UPDATE files SET arrived_at_us = CASE WHEN arrived_at_us >= $2 \
         THEN arrived_at_us - $3 ELSE $4 END \
         WHERE node_id = $1 AND state IN ('stored', 'deleting') AND state <> 'ended' \
         AND ((arrived_at_us >= $2 AND arrived_at_us < $5) OR arrived_at_us > $6)",
    )
    .bind(node.as_str().to_owned())
    .bind(correction.from.as_micros())
    .bind(ahead_us)
    .bind(now_us)
    .bind(correction.now.as_micros())
    .bind(impossible_us)
    .execute(&mut *conn)
    .await?
    .rows_affected();
    sqlx::query(
        "UPDATE files SET collected_at_us = $2 WHERE node_id = $1 AND collected_at_us > $3 \
         AND state IN ('stored', 'deleting') AND state <> 'ended'",
    )
    .bind(node.as_str().to_owned())
    .bind(now_us)
    .bind(impossible_us)
    .execute(&mut *conn)
    .await?;
    sqlx::query(
        "UPDATE files SET touched_at_us = $2 WHERE node_id = $1 AND touched_at_us > $3 \
         AND state IN ('partial', 'waiting')",
    )
    .bind(node.as_str().to_owned())
    .bind(now_us)
    .bind(impossible_us)
    .execute(&mut *conn)
    .await?;
    move_expiries_of_node(conn, node).await?;
    Ok(moved)
}
