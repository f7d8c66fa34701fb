//! Live sessions, nodes, and the counter that tells running servers of changes.

use layover_retention::Timestamp;

use super::{Conn, StoreError, accounts, journal};
use crate::account::LiveSession;
use crate::journal::{JournalKind, NewEntry};
use crate::store::{Attempt, OwnSessions, SessionBegun, SessionStart};
use crate::{AccountId, Agreed, NodeId, SessionId};

/// Tells every running server that accounts, networks or sessions changed.
pub(crate) async fn bump(conn: &mut Conn) -> Result<(), StoreError> {
    sqlx::query("UPDATE generation SET counter = counter + 1 WHERE id = 1")
        .execute(conn)
        .await?;
    Ok(())
}

/// The counter and the journal, behind each change.
pub(super) async fn note_change(conn: &mut Conn, entry: &NewEntry) -> Result<(), StoreError> {
    bump(conn).await?;
    journal::append(conn, entry).await
}

/// Behind a statement that changed one row or none.
pub(super) async fn note_if_changed(
    conn: &mut Conn,
    rows: u64,
    entry: &NewEntry,
) -> Result<Option<()>, StoreError> {
    if rows == 0 {
        return Ok(None);
    }
    note_change(conn, entry).await?;
    Ok(Some(()))
}

/// A session begins, if the account may have one more. Logins of an account with a limit of
/// sessions come one after the other, also those of several nodes, so that they cannot
/// pass it together.
pub(crate) async fn begin_session(
    conn: &mut Conn,
    start: &SessionStart,
    entry: &NewEntry,
) -> Result<SessionBegun, StoreError> {
    if start.is_counted {
        sqlx::query(row_locked!("SELECT id FROM accounts WHERE id = $1"))
            .bind(start.account.0)
            .fetch_optional(&mut *conn)
            .await?;
    }
    let done = sqlx::query(
        "INSERT INTO sessions (id, node_id, account_id, protocol, peer, since_us, agreed) \
         SELECT $1, $2, a.id, $4, $5, $6, $7 FROM accounts a \
         WHERE a.id = $3 AND a.enabled = 1 AND a.removed_at_us IS NULL \
         AND (a.max_sessions IS NULL OR a.max_sessions > \
         (SELECT COUNT(*) FROM sessions s WHERE s.account_id = a.id AND (s.node_id = $2 \
         OR s.node_id IN (SELECT n.id FROM nodes n WHERE n.heartbeat_at_us >= $8))))",
    )
    .bind(start.id.as_str().to_owned())
    .bind(start.node.as_str().to_owned())
    .bind(start.account.0)
    .bind(start.protocol.as_str())
    .bind(start.peer.to_string())
    .bind(start.since.as_micros())
    .bind(start.agreed.to_json())
    .bind(start.silent_before.as_micros())
    .execute(&mut *conn)
    .await?;
    if done.rows_affected() > 0 {
        journal::append(conn, entry).await?;
        return Ok(SessionBegun::Yes);
    }
    let there: Option<(i64,)> = sqlx::query_as(
        "SELECT id FROM accounts WHERE id = $1 AND enabled = 1 AND removed_at_us IS NULL",
    )
    .bind(start.account.0)
    .fetch_optional(conn)
    .await?;
    Ok(match there {
        Some(_) => SessionBegun::TooMany,
        None => SessionBegun::AccountGone,
    })
}

/// A session without a row had its end told, if it is told again.
pub(crate) async fn end_session(
    conn: &mut Conn,
    id: &SessionId,
    entries: &[NewEntry],
    attempt: Attempt,
) -> Result<(), StoreError> {
    let done = sqlx::query("DELETE FROM sessions WHERE id = $1")
        .bind(id.as_str().to_owned())
        .execute(&mut *conn)
        .await?;
    if attempt == Attempt::Again && done.rows_affected() == 0 {
        return Ok(());
    }
    journal::append_all(conn, entries).await
}

type SessionColumns = (String, String, String, String, String, i64, Option<String>);

/// The sessions of nodes that were heard of after `silent_before`: a node that
/// died leaves its rows behind.
pub(crate) async fn list_sessions(
    conn: &mut Conn,
    silent_before: Timestamp,
) -> Result<Vec<LiveSession>, StoreError> {
    let rows: Vec<SessionColumns> = sqlx::query_as(
        "SELECT s.id, a.name, s.protocol, s.peer, s.node_id, s.since_us, s.agreed \
         FROM sessions s JOIN accounts a ON a.id = s.account_id \
         JOIN nodes n ON n.id = s.node_id WHERE n.heartbeat_at_us >= $1 \
         ORDER BY s.since_us, s.id",
    )
    .bind(silent_before.as_micros())
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|(id, account, protocol, peer, node, since, agreed)| {
            let broken = |what| StoreError::Corrupt {
                table: "sessions",
                id: since,
                what,
            };
            Ok(LiveSession {
                id: SessionId(id),
                account: account.parse().map_err(|_| broken("account"))?,
                protocol: protocol.parse().map_err(|_| broken("protocol"))?,
                peer,
                node,
                since: Timestamp::from_micros(since),
                agreed: Agreed::from_json(agreed.as_deref()),
                moving: Vec::new(),
            })
        })
        .collect()
}

/// `None` when there is no such session.
pub(crate) async fn kill_session(
    conn: &mut Conn,
    id: &SessionId,
    by: &str,
    entry: &NewEntry,
) -> Result<Option<()>, StoreError> {
    let whose: Option<(String, String)> = sqlx::query_as(
        "SELECT a.name, e.name FROM sessions s JOIN accounts a ON a.id = s.account_id \
         JOIN entities e ON e.id = a.entity_id WHERE s.id = $1",
    )
    .bind(id.as_str().to_owned())
    .fetch_optional(&mut *conn)
    .await?;
    let Some((account, entity)) = whose else {
        return Ok(None);
    };
    let done = sqlx::query("UPDATE sessions SET kill_by = $2 WHERE id = $1")
        .bind(id.as_str().to_owned())
        .bind(by.to_owned())
        .execute(&mut *conn)
        .await?;
    let entry = entry.clone().account(account).entity(entity);
    note_if_changed(conn, done.rows_affected(), &entry).await
}

/// The sessions of a node that an operator wants ended.
pub(crate) async fn killed(conn: &mut Conn, node: &NodeId) -> Result<Vec<SessionId>, StoreError> {
    let rows: Vec<(String,)> =
        sqlx::query_as("SELECT id FROM sessions WHERE node_id = $1 AND kill_by IS NOT NULL")
            .bind(node.as_str().to_owned())
            .fetch_all(conn)
            .await?;
    Ok(rows.into_iter().map(|(id,)| SessionId(id)).collect())
}

/// Ends the sessions that a server left behind when it died: of nodes that are
/// gone or silent and, at the start, of this one. Each has its `logout` in the
/// journal. Returns how many they were.
pub(crate) async fn end_dead_sessions(
    conn: &mut Conn,
    node: &NodeId,
    own: OwnSessions,
    silent_before: Timestamp,
    now: Timestamp,
) -> Result<u64, StoreError> {
    // What the statement returns was there until now: two nodes that look at
    // the same time do not both tell of a session.
    let dead: Vec<(String, i64, String, String)> = sqlx::query_as(
        "DELETE FROM sessions WHERE (node_id = $1 AND $2 = 1) OR (node_id <> $1 AND node_id NOT IN \
         (SELECT id FROM nodes WHERE heartbeat_at_us >= $3)) \
         RETURNING id, account_id, protocol, peer",
    )
    .bind(node.as_str().to_owned())
    .bind(i64::from(own == OwnSessions::Dead))
    .bind(silent_before.as_micros())
    .fetch_all(&mut *conn)
    .await?;
    let mut entries = Vec::with_capacity(dead.len());
    for (id, account, protocol, peer) in dead {
        let (account, entity) = accounts::account_names(conn, AccountId(account)).await?;
        let mut entry = NewEntry::new(now, JournalKind::Login, "logout", node)
            .account(account)
            .entity(entity)
            .session(&SessionId(id))
            .with("reason", "server died");
        entry.protocol = protocol.parse().ok();
        entry.peer = peer.parse().ok();
        entries.push(entry);
    }
    journal::append_all(conn, &entries).await?;
    Ok(u64::try_from(entries.len()).unwrap_or(u64::MAX))
}

/// Forgets the nodes that have been silent for long.
pub(crate) async fn drop_silent_nodes(
    conn: &mut Conn,
    node: &NodeId,
    silent_before: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM nodes WHERE id <> $1 AND heartbeat_at_us < $2")
        .bind(node.as_str().to_owned())
        .bind(silent_before.as_micros())
        .execute(conn)
        .await?;
    Ok(())
}

pub(crate) async fn begin_node(
    conn: &mut Conn,
    node: &NodeId,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO nodes (id, started_at_us, heartbeat_at_us) VALUES ($1, $2, $2) \
         ON CONFLICT (id) DO UPDATE SET started_at_us = EXCLUDED.started_at_us, \
         heartbeat_at_us = EXCLUDED.heartbeat_at_us",
    )
    .bind(node.as_str().to_owned())
    .bind(now.as_micros())
    .execute(conn)
    .await?;
    Ok(())
}

/// A node lives. One that others took for dead while it could not reach the
/// database is there again.
pub(crate) async fn beat(conn: &mut Conn, node: &NodeId, now: Timestamp) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO nodes (id, started_at_us, heartbeat_at_us) VALUES ($1, $2, $2) \
         ON CONFLICT (id) DO UPDATE SET heartbeat_at_us = EXCLUDED.heartbeat_at_us",
    )
    .bind(node.as_str().to_owned())
    .bind(now.as_micros())
    .execute(conn)
    .await?;
    Ok(())
}

/// A node says goodbye: what it left unfinished may be settled at once.
pub(crate) async fn end_node(conn: &mut Conn, node: &NodeId) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM nodes WHERE id = $1")
        .bind(node.as_str().to_owned())
        .execute(conn)
        .await?;
    Ok(())
}

/// The counter; see [`bump`].
pub(crate) async fn generation(conn: &mut Conn) -> Result<i64, StoreError> {
    let (counter,): (i64,) = sqlx::query_as("SELECT counter FROM generation WHERE id = 1")
        .fetch_one(conn)
        .await?;
    Ok(counter)
}
