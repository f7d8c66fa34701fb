//! Deletion certificates: one for each file that was deleted, written in the
//! transaction that ends its row. That there is never a second one is the
//! table's promise (`file_id` is unique).

use layover_retention::{DeletionCause, DeletionCertificate, Timestamp};

use super::chains::path_texts;
use super::{Conn, StoreError};
use crate::ledger::EndedBy;
use crate::{FileId, NodeId};

type Columns = (
    Vec<u8>,
    Vec<u8>,
    i64,
    Option<Vec<u8>>,
    Option<i64>,
    Option<i64>,
    Option<String>,
    Option<i64>,
    String,
    String,
    Option<String>,
);

/// Writes the certificate of a file whose row has just ended.
pub(super) async fn issue(
    conn: &mut Conn,
    file: FileId,
    ended_by: EndedBy,
    node: &NodeId,
    now: Timestamp,
) -> Result<(), StoreError> {
    let cause = match ended_by {
        EndedBy::Expired => DeletionCause::Expired,
        EndedBy::Removed => DeletionCause::Removed,
        EndedBy::Replaced => DeletionCause::Replaced,
        // Not our doing: nobody can say when it went.
        EndedBy::Missing => return Ok(()),
    };
    let (dir, name, size, sha256, arrived, expires, rule, keep_s, home, entity, account): Columns =
        sqlx::query_as(
            "SELECT f.dir, f.name, f.size_bytes, f.sha256, f.arrived_at_us, f.expires_at_us, \
             f.rule, f.rule_keep_s, h.name, e.name, a.name FROM files f \
             JOIN homes h ON h.id = f.home_id JOIN entities e ON e.id = h.entity_id \
             LEFT JOIN accounts a ON a.id = f.uploaded_by WHERE f.id = $1",
        )
        .bind(file.0)
        .fetch_one(&mut *conn)
        .await?;
    let path = if dir == b"/" {
        [&dir[..], &name].concat()
    } else {
        [&dir[..], b"/", &name].concat()
    };
    let (path, path_hex) = path_texts(&path);
    let certificate = DeletionCertificate {
        file_id: file.0,
        entity,
        account,
        home,
        path,
        path_hex,
        size_bytes: u64::try_from(size).unwrap_or(0),
        sha256: sha256.map(hex::encode),
        arrived_at: arrived.map(Timestamp::from_micros),
        rule,
        keep_s: keep_s.and_then(|keep_s| u64::try_from(keep_s).ok()),
        expires_at: expires.map(Timestamp::from_micros),
        deleted_at: now,
        cause,
        node: node.as_str().to_owned(),
    };
    let record = serde_json::to_string(&certificate).map_err(|_| StoreError::Corrupt {
        table: "files",
        id: file.0,
        what: "certificate",
    })?;
    sqlx::query("INSERT INTO certificates (file_id, at_us, record) VALUES ($1, $2, $3)")
        .bind(file.0)
        .bind(now.as_micros())
        .bind(record)
        .execute(conn)
        .await?;
    Ok(())
}
