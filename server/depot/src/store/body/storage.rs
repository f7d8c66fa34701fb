//! Which storage the homes lie on.

use layover_retention::Timestamp;

use super::{Conn, StoreError, journal};
use crate::NodeId;
use crate::journal::NewEntry;
use crate::vfs::StorageId;

/// The storage that the ledger speaks of; `None` before the first server.
pub(crate) async fn homes_storage(conn: &mut Conn) -> Result<Option<StorageId>, StoreError> {
    let row: Option<(String,)> =
        sqlx::query_as("SELECT storage_id FROM homes_storage WHERE id = 1")
            .fetch_optional(conn)
            .await?;
    row.map(|(id,)| {
        StorageId::parse(&id).ok_or(StoreError::Corrupt {
            table: "homes_storage",
            id: 1,
            what: "storage_id",
        })
    })
    .transpose()
}

/// Records the storage, in the place of `replaces`. `None` when another one is
/// recorded: nothing was changed.
pub(crate) async fn record_storage(
    conn: &mut Conn,
    storage: &StorageId,
    replaces: Option<&StorageId>,
    now: Timestamp,
    entry: &NewEntry,
) -> Result<Option<()>, StoreError> {
    if let Some(replaces) = replaces {
        sqlx::query("DELETE FROM homes_storage WHERE id = 1 AND storage_id = $1")
            .bind(replaces.as_str().to_owned())
            .execute(&mut *conn)
            .await?;
    }
    let done = sqlx::query(
        "INSERT INTO homes_storage (id, storage_id, recorded_at_us) VALUES (1, $1, $2) \
         ON CONFLICT (id) DO NOTHING",
    )
    .bind(storage.as_str().to_owned())
    .bind(now.as_micros())
    .execute(&mut *conn)
    .await?;
    if done.rows_affected() == 0 {
        return Ok(None);
    }
    journal::append(conn, entry).await?;
    Ok(Some(()))
}

/// Whether another node was heard of after `silent_before`.
pub(crate) async fn others_live(
    conn: &mut Conn,
    node: &NodeId,
    silent_before: Timestamp,
) -> Result<bool, StoreError> {
    let (nodes,): (i64,) =
        sqlx::query_as("SELECT COUNT(*) FROM nodes WHERE id <> $1 AND heartbeat_at_us >= $2")
            .bind(node.as_str().to_owned())
            .bind(silent_before.as_micros())
            .fetch_one(conn)
            .await?;
    Ok(nodes != 0)
}

/// Whether somebody relies on the recorded storage: the ledger speaks of a
/// file on it, or another node was heard of after `silent_before`.
pub(crate) async fn storage_is_needed(
    conn: &mut Conn,
    node: &NodeId,
    silent_before: Timestamp,
) -> Result<bool, StoreError> {
    let (files, nodes): (i64, i64) = sqlx::query_as(
        "SELECT (SELECT COUNT(*) FROM (SELECT id FROM files WHERE state <> 'ended' LIMIT 1) AS held), \
         (SELECT COUNT(*) FROM nodes WHERE id <> $1 AND heartbeat_at_us >= $2)",
    )
    .bind(node.as_str().to_owned())
    .bind(silent_before.as_micros())
    .fetch_one(conn)
    .await?;
    Ok(files + nodes != 0)
}
