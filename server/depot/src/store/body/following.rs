//! Following the journal: what is made of its entries later, each exactly once.
//!
//! A follower reads entries in the order of their places in the chain, which has no gaps
//! and in which nothing is put between later. What it makes of them it writes in one
//! transaction with its cursor, whose row is the lock between nodes: it either did both
//! or nothing, whoever died when. Pruning stops where the slowest follower stands.

use layover_retention::Timestamp;

use super::chains::{count, number};
use super::{Conn, StoreError, journal};
use crate::journal::{Follower, JournalPlace};

/// Entries behind the place `after`, at most `limit`, in the order of their places.
pub(crate) async fn journal_after(
    conn: &mut Conn,
    after: u64,
    limit: usize,
) -> Result<Vec<JournalPlace>, StoreError> {
    let places: Vec<(i64, i64)> = sqlx::query_as(
        "SELECT seq, entry_id FROM chain_links WHERE chain = 'journal' AND seq > $1 \
         ORDER BY seq LIMIT $2",
    )
    .bind(number(after))
    .bind(i64::try_from(limit).unwrap_or(i64::MAX))
    .fetch_all(&mut *conn)
    .await?;
    let Some((last, _)) = places.last() else {
        return Ok(Vec::new());
    };
    let mut entries = journal::entries_at(conn, number(after), *last).await?;
    Ok(places
        .into_iter()
        .map(|(seq, id)| JournalPlace {
            seq: count(seq),
            entry: entries.remove(&id),
        })
        .collect())
}

/// The place of the last entry that a follower has dealt with; `None` before it began.
pub(crate) async fn cursor(conn: &mut Conn, follower: Follower) -> Result<Option<u64>, StoreError> {
    let row: Option<(i64,)> = sqlx::query_as("SELECT seq FROM rolled_up WHERE name = $1")
        .bind(follower.as_str())
        .fetch_optional(conn)
        .await?;
    Ok(row.map(|(seq,)| count(seq)))
}

/// A follower that has not begun yet begins where it must. Returns where it stands.
pub(crate) async fn begin_following(
    conn: &mut Conn,
    follower: Follower,
    now: Timestamp,
) -> Result<u64, StoreError> {
    sqlx::query(
        "INSERT INTO rolled_up (name, seq, at_us) VALUES ($1, CASE WHEN $2 = 0 THEN 0 ELSE \
         COALESCE((SELECT seq FROM chain_heads WHERE chain = 'journal'), 0) END, $3) \
         ON CONFLICT (name) DO NOTHING",
    )
    .bind(follower.as_str())
    .bind(i64::from(follower.begins_at_the_end()))
    .bind(now.as_micros())
    .execute(&mut *conn)
    .await?;
    Ok(cursor(conn, follower).await?.unwrap_or(0))
}

/// Moves on past entries of which a follower makes nothing. `None`, and nothing is
/// done, when it does not stand at `from`: another node was there.
pub(crate) async fn advance(
    conn: &mut Conn,
    follower: Follower,
    from: u64,
    to: u64,
    now: Timestamp,
) -> Result<Option<()>, StoreError> {
    if lock_cursor(conn, follower).await? != Some(from) {
        return Ok(None);
    }
    move_cursor(conn, follower, to, now).await?;
    Ok(Some(()))
}

/// Where a follower stands, which nobody else changes until the transaction ends.
pub(super) async fn lock_cursor(
    conn: &mut Conn,
    follower: Follower,
) -> Result<Option<u64>, StoreError> {
    // An update that changes nothing locks the row on every engine.
    let row: Option<(i64,)> =
        sqlx::query_as("UPDATE rolled_up SET seq = seq WHERE name = $1 RETURNING seq")
            .bind(follower.as_str())
            .fetch_optional(conn)
            .await?;
    Ok(row.map(|(seq,)| count(seq)))
}

/// Whoever has locked the cursor has dealt with the entries up to `seq`.
pub(super) async fn move_cursor(
    conn: &mut Conn,
    follower: Follower,
    seq: u64,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE rolled_up SET seq = $2, at_us = $3 WHERE name = $1 AND seq <= $2")
        .bind(follower.as_str())
        .bind(number(seq))
        .bind(now.as_micros())
        .execute(conn)
        .await?;
    Ok(())
}

/// How far every follower has come. They only go forward, so that what one of them
/// does meanwhile does no harm.
pub(super) async fn slowest(conn: &mut Conn) -> Result<u64, StoreError> {
    let (seq,): (Option<i64>,) = sqlx::query_as("SELECT MIN(seq) FROM rolled_up")
        .fetch_one(conn)
        .await?;
    Ok(seq.map_or(u64::MAX, count))
}
