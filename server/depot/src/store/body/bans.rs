//! Who failed how often, and who is shut out.

use std::time::Duration;

use layover_retention::Timestamp;

use super::files::bigint;
use super::sessions::{bump, note_if_changed};
use super::{Conn, StoreError, journal};
use crate::Network;
use crate::gate::{Ban, MAX_BANS, Offence};
use crate::journal::{JournalKind, NewEntry, Outcome};

fn broken(what: &'static str) -> StoreError {
    StoreError::Corrupt {
        table: "bans",
        id: 0,
        what,
    }
}

type Columns = (String, Option<String>, String, i64, Option<i64>);

fn ban_of((network, owner, reason, since, until): Columns) -> Result<Ban, StoreError> {
    Ok(Ban {
        network: network.parse().map_err(|_| broken("network"))?,
        owner,
        reason,
        since: Timestamp::from_micros(since),
        until: until.map(Timestamp::from_micros),
    })
}

/// Bans that are not over, the youngest first, [`MAX_BANS`] of them.
pub(crate) async fn bans(conn: &mut Conn, now: Timestamp) -> Result<Vec<Ban>, StoreError> {
    let rows: Vec<Columns> = sqlx::query_as(
        "SELECT network, owner, reason, since_us, until_us FROM bans \
         WHERE until_us IS NULL OR until_us > $1 \
         ORDER BY CASE WHEN owner IS NULL THEN 1 ELSE 0 END, since_us DESC, network LIMIT $2",
    )
    .bind(now.as_micros())
    .bind(bigint(MAX_BANS as u64))
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(ban_of).collect()
}

/// Tells the journal of a refused login and counts it. The ban that came of it.
pub(crate) async fn note_offence(
    conn: &mut Conn,
    entry: Option<&NewEntry>,
    offence: &Offence,
) -> Result<Option<Ban>, StoreError> {
    if let Some(entry) = entry {
        journal::append(&mut *conn, entry).await?;
    }
    let (network, now) = (offence.network.to_string(), offence.now.as_micros());
    // Whoever comes second at the same time waits for the row.
    sqlx::query(
        "INSERT INTO offenders (network, score_milli, at_us) VALUES ($1, 0, $2) \
         ON CONFLICT (network) DO NOTHING",
    )
    .bind(network.clone())
    .bind(now)
    .execute(&mut *conn)
    .await?;
    let (score, at): (i64, i64) = sqlx::query_as(row_locked!(
        "SELECT score_milli, at_us FROM offenders WHERE network = $1"
    ))
    .bind(network.clone())
    .fetch_one(&mut *conn)
    .await?;
    let rules = &offence.rules;
    let elapsed = Duration::from_micros(u64::try_from(now.saturating_sub(at)).unwrap_or(0));
    let score = rules
        .decayed(score, elapsed)
        .saturating_add(offence.weight_milli);
    if score < rules.limit_milli() {
        sqlx::query("UPDATE offenders SET score_milli = $2, at_us = $3 WHERE network = $1")
            .bind(network)
            .bind(score)
            .bind(now)
            .execute(conn)
            .await?;
        return Ok(None);
    }
    let ban = Ban {
        network: offence.network,
        owner: None,
        reason: "too many refused logins".to_owned(),
        since: offence.now,
        until: Some(offence.now.saturating_add(rules.span)),
    };
    let done = write_ban(conn, &ban).await?;
    sqlx::query("DELETE FROM offenders WHERE network = $1")
        .bind(network.clone())
        .execute(&mut *conn)
        .await?;
    if done == 0 {
        // An operator's ban is there, or another node was as quick.
        return Ok(None);
    }
    let mut told = NewEntry::new(offence.now, JournalKind::System, "gate.ban", &offence.node)
        .outcome(Outcome::Ok)
        .with("network", network)
        .with("reason", ban.reason.as_str());
    if let Some(until) = ban.until {
        told = told.with("until", until.to_string());
    }
    bump(conn).await?;
    journal::append(conn, &told).await?;
    Ok(Some(ban))
}

/// How many rows it wrote: none where an operator's ban is that is not over.
async fn write_ban(conn: &mut Conn, ban: &Ban) -> Result<u64, StoreError> {
    let done = sqlx::query(
        "INSERT INTO bans (network, owner, reason, since_us, until_us) \
         VALUES ($1, $2, $3, $4, $5) ON CONFLICT (network) DO UPDATE SET \
         owner = excluded.owner, reason = excluded.reason, since_us = excluded.since_us, \
         until_us = excluded.until_us WHERE bans.owner IS NULL OR excluded.owner IS NOT NULL \
         OR bans.until_us <= excluded.since_us",
    )
    .bind(ban.network.to_string())
    .bind(ban.owner.clone())
    .bind(ban.reason.clone())
    .bind(ban.since.as_micros())
    .bind(ban.until.map(Timestamp::as_micros))
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// Scores that are nothing any more. Returns how many.
pub(crate) async fn forget_offenders(
    conn: &mut Conn,
    before: Timestamp,
) -> Result<u64, StoreError> {
    let done = sqlx::query("DELETE FROM offenders WHERE at_us < $1")
        .bind(before.as_micros())
        .execute(conn)
        .await?;
    Ok(done.rows_affected())
}

/// Bans that are over. Returns how many.
pub(crate) async fn forget_bans(conn: &mut Conn, now: Timestamp) -> Result<u64, StoreError> {
    let done = sqlx::query("DELETE FROM bans WHERE until_us <= $1")
        .bind(now.as_micros())
        .execute(conn)
        .await?;
    Ok(done.rows_affected())
}

/// An operator's ban; what was there of the network goes.
pub(crate) async fn add_ban(
    conn: &mut Conn,
    ban: &Ban,
    entry: &NewEntry,
) -> Result<Option<()>, StoreError> {
    let done = write_ban(conn, ban).await?;
    note_if_changed(conn, done, entry).await
}

/// Lifts a ban and forgets the score; `None` where there was none.
pub(crate) async fn lift_ban(
    conn: &mut Conn,
    network: &Network,
    now: Timestamp,
    entry: &NewEntry,
) -> Result<Option<()>, StoreError> {
    let done =
        sqlx::query("DELETE FROM bans WHERE network = $1 AND (until_us IS NULL OR until_us > $2)")
            .bind(network.to_string())
            .bind(now.as_micros())
            .execute(&mut *conn)
            .await?;
    sqlx::query("DELETE FROM offenders WHERE network = $1")
        .bind(network.to_string())
        .execute(&mut *conn)
        .await?;
    note_if_changed(conn, done.rows_affected(), entry).await
}
