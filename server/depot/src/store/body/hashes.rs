//! Contents that have no checksum yet, and the checksums that come in.

use layover_retention::Timestamp;

use super::files::{bigint, file_columns, file_rows};
use super::{Conn, Step, StoreError, run};
use crate::ledger::{ContentHash, FileRow};
use crate::{FileId, NodeId};

/// Stored files without a hash, the newest first: those that `node` published by
/// `own_before`, and of the others those that nobody has touched since `others_before`.
pub(crate) async fn unhashed(
    conn: &mut Conn,
    node: &NodeId,
    own_before: Timestamp,
    others_before: Timestamp,
    limit: usize,
) -> Result<Vec<FileRow>, StoreError> {
    let rows = sqlx::query_as(concat!(
        "SELECT ",
        file_columns!(),
        " FROM files f WHERE f.state = 'stored' AND f.sha256 IS NULL \
         AND ((f.node_id = $1 AND f.touched_at_us <= $2) OR f.touched_at_us <= $3) \
         ORDER BY f.id DESC LIMIT $4"
    ))
    .bind(node.as_str().to_owned())
    .bind(own_before.as_micros())
    .bind(others_before.as_micros())
    .bind(i64::try_from(limit).unwrap_or(i64::MAX))
    .fetch_all(conn)
    .await?;
    file_rows(rows)
}

/// Records hashes. A file that has gone meanwhile, or has another size, gets
/// none; its content never changes under its number.
pub(crate) async fn set_hashes(conn: &mut Conn, hashes: &[ContentHash]) -> Result<(), StoreError> {
    let steps = hashes.iter().map(|hash| {
        Step::new(
            "UPDATE files SET sha256 = $2 WHERE id = $1 AND size_bytes = $3 \
             AND state IN ('stored', 'deleting')",
            [
                hash.file.0.into(),
                hash.sha256.to_vec().into(),
                bigint(hash.size_bytes).into(),
            ],
        )
    });
    run(conn, steps.collect()).await?;
    Ok(())
}

/// The hash of a file, when it is known.
pub(crate) async fn hash_of(conn: &mut Conn, file: FileId) -> Result<Option<Vec<u8>>, StoreError> {
    let row: Option<(Option<Vec<u8>>,)> = sqlx::query_as("SELECT sha256 FROM files WHERE id = $1")
        .bind(file.0)
        .fetch_optional(conn)
        .await?;
    Ok(row.and_then(|(sha256,)| sha256))
}
