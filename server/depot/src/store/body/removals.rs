//! Removals in the ledger: what is due, and how a row ends.

use std::collections::HashMap;

use layover_retention::{DueCursor, Timestamp};

use super::certificates::{GroundsColumns, grounds_of};
use super::files::{
    FileColumns, bigint, change_used, change_used_step, columns_of, file_columns, file_rows, row,
};
use super::{Conn, Step, StoreError, certificates, claims, journal, run};
use crate::account::FailingFile;
use crate::journal::NewEntry;
use crate::ledger::{
    Claimed, DueRow, EndedBy, FileRow, FileState, RemovalCause, RemovalClaim, RemovalEnd,
};
use crate::{FileId, HomeId, VirtualPath};

/// First transaction of a removal: claim, row `deleting`. Anything but `Yes`
/// must be rolled back.
pub(crate) async fn claim_removal(
    conn: &mut Conn,
    claim: &RemovalClaim,
) -> Result<Claimed, StoreError> {
    let changed = run(conn, claim_removal_at_once(claim)).await?;
    Ok(match changed.as_slice() {
        [_, 1, 1] => Claimed::Yes,
        [_, 1, _] => Claimed::Changed,
        _ => Claimed::Busy,
    })
}

/// The same as a script, which does not say what was in the way.
pub(crate) fn claim_removal_at_once(claim: &RemovalClaim) -> Vec<Step> {
    let (dir, name) = columns_of(&claim.path);
    let due_by = match claim.cause {
        RemovalCause::Account => i64::MAX,
        RemovalCause::Due => claim.now.as_micros(),
    };
    vec![
        change_used_step(claim.home, 0),
        claims::delete_step(claim).must_change(),
        Step::new(
            "UPDATE files SET state = 'deleting', temp_name = $2, node_id = $3, \
             touched_at_us = $4 WHERE id = $1 AND state = 'stored' AND dir = $5 AND name = $6 \
             AND expires_at_us <= $7 AND (held_until_us IS NULL OR held_until_us <= $4)",
            [
                claim.file.0.into(),
                claim.hidden.as_str().into(),
                claim.node.as_str().into(),
                claim.now.as_micros().into(),
                dir.into(),
                name.into(),
                due_by.into(),
            ],
        )
        .must_change(),
    ]
}

/// Second transaction of a removal as a script, with a certificate that was written
/// before; does nothing when the row does not say the same any more.
pub(crate) fn finish_removal_at_once(end: &RemovalEnd<'_>) -> Vec<Step> {
    let (row, grounds) = (end.row, end.grounds);
    let sha256 = grounds.sha256.clone().unwrap_or_default();
    let size = bigint(row.size_bytes);
    let mut steps = vec![
        change_used_step(row.home, size.saturating_neg()),
        Step::new(
            "UPDATE files SET state = 'ended', ended_at_us = $2, ended_by = $3, \
             temp_name = NULL WHERE id = $1 AND state = 'deleting' AND size_bytes = $4 \
             AND COALESCE(arrived_at_us, -1) = $5 AND COALESCE(expires_at_us, -1) = $6 \
             AND COALESCE(rule, '') = $7 AND COALESCE(rule_keep_s, -1) = $8 \
             AND COALESCE(length(sha256), 0) = $9 AND (sha256 IS NULL OR sha256 = $10)",
            [
                row.id.0.into(),
                end.now.as_micros().into(),
                end.ended_by.as_str().into(),
                size.into(),
                row.arrived_at.map_or(-1, Timestamp::as_micros).into(),
                row.expires_at.map_or(-1, Timestamp::as_micros).into(),
                grounds.rule.clone().unwrap_or_default().into(),
                grounds.keep_s.unwrap_or(-1).into(),
                i64::try_from(sha256.len()).unwrap_or(i64::MAX).into(),
                sha256.into(),
            ],
        )
        .must_change(),
        Step::new(
            "DELETE FROM removal_failures WHERE file_id = $1",
            [row.id.0.into()],
        ),
        journal::entry_step(end.entry),
    ];
    if let Some(record) = &end.certificate {
        steps.push(certificates::step(row.id, end.now, record.clone()));
    }
    steps.push(claims::release_step(row.home, &row.path, Some(row.id)));
    steps
}

/// Second transaction of a removal: row ended, quota freed, journal,
/// certificate, claim released. Fine when somebody else did it.
pub(crate) async fn finish_removal(
    conn: &mut Conn,
    row: &FileRow,
    ended_by: EndedBy,
    now: Timestamp,
    entry: &NewEntry,
) -> Result<(), StoreError> {
    change_used(conn, row.home, 0).await?;
    let ended: Option<(i64,)> = sqlx::query_as(
        "UPDATE files SET state = 'ended', ended_at_us = $2, ended_by = $3, temp_name = NULL \
         WHERE id = $1 AND state IN ('stored', 'deleting') RETURNING size_bytes",
    )
    .bind(row.id.0)
    .bind(now.as_micros())
    .bind(ended_by.as_str().to_owned())
    .fetch_optional(&mut *conn)
    .await?;
    if let Some((size,)) = ended {
        change_used(conn, row.home, -size).await?;
        sqlx::query("DELETE FROM removal_failures WHERE file_id = $1")
            .bind(row.id.0)
            .execute(&mut *conn)
            .await?;
        journal::append(conn, entry).await?;
        certificates::issue(conn, row.id, ended_by, &entry.node, now).await?;
    }
    claims::release(conn, row.home, &[&row.path], Some(row.id)).await
}

/// The longest pause between two tries to remove a file.
const LONGEST_PAUSE_US: i64 = 900_000_000;

/// A due file could not be removed: it is tried again after 1 s, 2 s, 4 s and so
/// on, up to 15 minutes.
pub(crate) async fn note_failure(
    conn: &mut Conn,
    file: FileId,
    cause: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO removal_failures (file_id, failures, first_at_us, retry_at_us, cause) \
         VALUES ($1, 1, $2, $2 + 1000000, $3) ON CONFLICT (file_id) DO UPDATE SET \
         failures = removal_failures.failures + 1, cause = EXCLUDED.cause, \
         retry_at_us = $2 + CASE WHEN removal_failures.failures >= 10 THEN $4 \
         ELSE 1000000 * (1 << CAST(removal_failures.failures AS INTEGER)) END",
    )
    .bind(file.0)
    .bind(now.as_micros())
    .bind(cause.to_owned())
    .bind(LONGEST_PAUSE_US)
    .execute(conn)
    .await?;
    Ok(())
}

/// What failed may be tried again at once.
pub(crate) async fn retry_failures(conn: &mut Conn) -> Result<(), StoreError> {
    sqlx::query("UPDATE removal_failures SET retry_at_us = 0")
        .execute(conn)
        .await?;
    Ok(())
}

/// Due files that could not be removed, the longest overdue first.
pub(crate) async fn failing(conn: &mut Conn, limit: usize) -> Result<Vec<FailingFile>, StoreError> {
    type Columns = (
        i64,
        String,
        Vec<u8>,
        Vec<u8>,
        Option<i64>,
        i64,
        i64,
        i64,
        String,
    );
    let rows: Vec<Columns> = sqlx::query_as(
        "SELECT f.id, h.name, f.dir, f.name, f.expires_at_us, r.failures, r.first_at_us, \
         r.retry_at_us, r.cause FROM removal_failures r JOIN files f ON f.id = r.file_id \
         JOIN homes h ON h.id = f.home_id WHERE f.state IN ('stored', 'deleting') \
         ORDER BY f.expires_at_us, f.id LIMIT $1",
    )
    .bind(i64::try_from(limit).unwrap_or(i64::MAX))
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(
            |(id, home, dir, name, expires, failures, first, retry, cause)| {
                let path = VirtualPath::parse(&dir).and_then(|dir| dir.join(&name));
                Ok(FailingFile {
                    id: FileId(id),
                    home,
                    path: path.map_err(|_| StoreError::Corrupt {
                        table: "files",
                        id,
                        what: "dir and name",
                    })?,
                    expires_at: expires.map(Timestamp::from_micros),
                    failures: u64::try_from(failures).unwrap_or(0),
                    first_at: Timestamp::from_micros(first),
                    retry_at: Timestamp::from_micros(retry),
                    cause,
                })
            },
        )
        .collect()
}

/// The file stays after all: row `stored` again, claim released.
pub(crate) async fn undo_removal(
    conn: &mut Conn,
    home: HomeId,
    file: FileId,
    path: &VirtualPath,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE files SET state = 'stored', temp_name = NULL WHERE id = $1 AND state = 'deleting'",
    )
    .bind(file.0)
    .execute(&mut *conn)
    .await?;
    claims::release(conn, home, &[path], Some(file)).await
}

/// Ends a stored row whose file is not under its name. Anything but `Yes` must
/// be rolled back.
pub(crate) async fn end_missing(
    conn: &mut Conn,
    seen: &FileRow,
    now: Timestamp,
    entry: &NewEntry,
) -> Result<Claimed, StoreError> {
    change_used(conn, seen.home, 0).await?;
    if claims::is_claimed(conn, seen.home, &seen.path).await? {
        return Ok(Claimed::Busy);
    }
    let unchanged = row(conn, seen.id).await?.is_some_and(|row| {
        row.state == FileState::Stored && row.path == seen.path && row.identity == seen.identity
    });
    if !unchanged {
        return Ok(Claimed::Changed);
    }
    finish_removal(conn, seen, EndedBy::Missing, now, entry).await?;
    Ok(Claimed::Yes)
}

/// Files whose time is over, the longest overdue first, but for those that
/// failed and are not to be tried again yet.
pub(crate) async fn due(
    conn: &mut Conn,
    now: Timestamp,
    after: Option<DueCursor>,
    limit: usize,
) -> Result<Vec<DueRow>, StoreError> {
    let (after_us, after_id) = after.map_or((i64::MIN, i64::MIN), |at| {
        (at.expires_at.as_micros(), at.file_id)
    });
    let rows: Vec<FileColumns> = sqlx::query_as(concat!(
        "SELECT ",
        file_columns!(),
        " FROM files f WHERE f.state = 'stored' AND f.expires_at_us <= $1 \
         AND (f.expires_at_us > $2 OR (f.expires_at_us = $2 AND f.id > $3)) \
         AND NOT EXISTS (SELECT 1 FROM removal_failures r WHERE r.file_id = f.id \
         AND r.retry_at_us > $1) ORDER BY f.expires_at_us, f.id LIMIT $4"
    ))
    .bind(now.as_micros())
    .bind(after_us)
    .bind(after_id)
    .bind(i64::try_from(limit).unwrap_or(i64::MAX))
    .fetch_all(&mut *conn)
    .await?;
    let rows = file_rows(rows)?;
    let (Some(first), Some(last)) = (rows.first(), rows.last()) else {
        return Ok(Vec::new());
    };
    let expiry = |row: &FileRow| row.expires_at.unwrap_or(now).as_micros();
    // All that is due from the first to the last of them: hardly more than they are.
    let grounds: Vec<GroundsColumns> = sqlx::query_as(concat!(
        grounds_of!(),
        "f.state = 'stored' AND f.expires_at_us >= $1 AND f.expires_at_us <= $2 \
         AND (f.expires_at_us > $1 OR f.id >= $3) AND (f.expires_at_us < $2 OR f.id <= $4)"
    ))
    .bind(expiry(first))
    .bind(expiry(last))
    .bind(first.id.0)
    .bind(last.id.0)
    .fetch_all(&mut *conn)
    .await?;
    let mut grounds: HashMap<_, _> = grounds.into_iter().map(certificates::grounds).collect();
    let due = rows.into_iter().filter_map(|row| {
        // One that has gone meanwhile is due no longer.
        let grounds = grounds.remove(&row.id)?;
        let home_name = grounds.home.parse().map_err(|_| StoreError::Corrupt {
            table: "homes",
            id: row.home.0,
            what: "name",
        });
        let cursor = DueCursor {
            expires_at: row.expires_at.unwrap_or(now),
            file_id: row.id.0,
        };
        Some(home_name.map(|home_name| DueRow {
            cursor,
            row,
            home_name,
            grounds,
        }))
    });
    due.collect()
}

/// Interrupted and waiting uploads that nobody touched since `before`.
pub(crate) async fn stale_uploads(
    conn: &mut Conn,
    before: Timestamp,
    limit: usize,
) -> Result<Vec<FileRow>, StoreError> {
    let rows = sqlx::query_as(concat!(
        "SELECT ",
        file_columns!(),
        " FROM files f WHERE f.state IN ('partial', 'waiting') AND f.touched_at_us <= $1 \
         ORDER BY f.touched_at_us LIMIT $2"
    ))
    .bind(before.as_micros())
    .bind(i64::try_from(limit).unwrap_or(i64::MAX))
    .fetch_all(conn)
    .await?;
    file_rows(rows)
}
