//! Moves in the ledger: files, and directories with everything below.

use layover_retention::Timestamp;

use super::files::{below, change_used, columns_of, end_replaced};
use super::{Conn, StoreError, claims, expiry, flows, journal};
use crate::journal::NewEntry;
use crate::ledger::{ApplianceKeep, Claimed, MoveClaim, TreeClaim};
use crate::vfs::HiddenName;
use crate::{HomeId, VirtualPath};

/// First transaction of a file's move: both names claimed. Anything but `Yes`
/// must be rolled back.
pub(crate) async fn claim_move(conn: &mut Conn, claim: &MoveClaim) -> Result<Claimed, StoreError> {
    change_used(conn, claim.home, 0).await?;
    if !claims::claim_move(conn, claim).await? {
        return Ok(Claimed::Busy);
    }
    let (dir, name) = columns_of(&claim.from);
    let (to_dir, to_name) = columns_of(&claim.to);
    let done = sqlx::query(
        "UPDATE files SET touched_at_us = $2 \
         WHERE id = $1 AND state = 'stored' AND dir = $3 AND name = $4 \
         AND NOT EXISTS (SELECT 1 FROM files f WHERE f.home_id = $5 AND f.dir = $6 \
         AND f.name = $7 AND f.state IN ('stored', 'deleting') AND f.held_until_us > $2)",
    )
    .bind(claim.file.0)
    .bind(claim.now.as_micros())
    .bind(dir)
    .bind(name)
    .bind(claim.home.0)
    .bind(to_dir)
    .bind(to_name)
    .execute(conn)
    .await?;
    Ok(if done.rows_affected() == 1 {
        Claimed::Yes
    } else {
        Claimed::Changed
    })
}

/// Second transaction of a file's move: the replaced row ended, the name
/// changed and its folder's rule applied, the quota settled, the journal, both
/// claims released.
pub(crate) async fn finish_move(
    conn: &mut Conn,
    claim: &MoveClaim,
    appliance: ApplianceKeep,
    entry: &NewEntry,
) -> Result<(), StoreError> {
    change_used(conn, claim.home, 0).await?;
    end_replaced(conn, claim.home, &claim.to, claim.now, entry).await?;
    let (dir, name) = columns_of(&claim.to);
    sqlx::query("UPDATE files SET dir = $2, name = $3 WHERE id = $1 AND state = 'stored'")
        .bind(claim.file.0)
        .bind(dir)
        .bind(name)
        .execute(&mut *conn)
        .await?;
    expiry::follow_name(
        conn, claim.home, claim.file, &claim.to, appliance, claim.now,
    )
    .await?;
    journal::append(conn, entry).await?;
    claims::release(
        conn,
        claim.home,
        &[&claim.from, &claim.to],
        Some(claim.file),
    )
    .await
}

/// One path for each directory at or below `dir`: as long as the longest name
/// in it. Whoever moves `dir` can tell whether every name still fits.
pub(crate) async fn longest_paths_below(
    conn: &mut Conn,
    home: HomeId,
    dir: &VirtualPath,
) -> Result<Vec<VirtualPath>, StoreError> {
    let (first, last) = below(dir);
    let rows: Vec<(Vec<u8>, i64)> = sqlx::query_as(
        "SELECT dir, CAST(MAX(LENGTH(name)) AS BIGINT) FROM files \
         WHERE home_id = $1 AND state <> 'ended' AND (dir = $2 OR (dir >= $3 AND dir < $4)) \
         GROUP BY dir",
    )
    .bind(home.0)
    .bind(dir.as_bytes().to_vec())
    .bind(first)
    .bind(last)
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|(dir, length)| {
            let name = vec![b'x'; usize::try_from(length).unwrap_or_default()];
            VirtualPath::parse(&dir)
                .and_then(|dir| dir.join(&name))
                .map_err(|_| StoreError::Corrupt {
                    table: "files",
                    id: home.0,
                    what: "dir and name",
                })
        })
        .collect()
}

/// First transaction of a verb on a directory: the home is ours alone.
pub(crate) async fn claim_tree(conn: &mut Conn, claim: &TreeClaim) -> Result<Claimed, StoreError> {
    change_used(conn, claim.home, 0).await?;
    Ok(if claims::claim_tree(conn, claim).await? {
        Claimed::Yes
    } else {
        Claimed::Busy
    })
}

/// Second transaction of a directory's move: every name below it changed, and flows that
/// are told of arrivals in a folder that has files now are due.
pub(crate) async fn finish_tree_move(
    conn: &mut Conn,
    home: HomeId,
    from: &VirtualPath,
    to: &VirtualPath,
    appliance: ApplianceKeep,
    now: Timestamp,
    entry: Option<&NewEntry>,
) -> Result<(), StoreError> {
    change_used(conn, home, 0).await?;
    let (first, last) = below(from);
    let dirs: Vec<(Vec<u8>, i64)> = sqlx::query_as(
        "SELECT dir, CAST(MAX(CASE WHEN state = 'stored' THEN 1 ELSE 0 END) AS BIGINT) \
         FROM files WHERE home_id = $1 AND state <> 'ended' \
         AND (dir = $2 OR (dir >= $3 AND dir < $4)) GROUP BY dir",
    )
    .bind(home.0)
    .bind(from.as_bytes().to_vec())
    .bind(first)
    .bind(last)
    .fetch_all(&mut *conn)
    .await?;
    let told_of = flows::arrival_folders(conn, home).await?;
    let mut arrivals = Vec::new();
    for (dir, has_files) in dirs {
        let rest = dir.strip_prefix(from.as_bytes()).unwrap_or_default();
        let moved = [to.as_bytes(), rest].concat();
        sqlx::query(
            "UPDATE files SET dir = $3 WHERE home_id = $1 AND dir = $2 AND state <> 'ended'",
        )
        .bind(home.0)
        .bind(dir.clone())
        .bind(moved.clone())
        .execute(&mut *conn)
        .await?;
        let told = told_of.iter().find(|folder| folder.as_bytes() == moved);
        if let (Some(folder), 1) = (told, has_files) {
            arrivals.push(flows::arrival_step(home, folder, now));
        }
    }
    super::run(conn, arrivals).await?;
    expiry::follow_names(conn, home, appliance, now).await?;
    if let Some(entry) = entry {
        journal::append(conn, entry).await?;
    }
    claims::release(conn, home, &[from], None).await
}

/// Second transaction of a directory's removal: interrupted uploads that
/// aimed into it are forgotten; returns their hidden files.
pub(crate) async fn finish_tree_removal(
    conn: &mut Conn,
    home: HomeId,
    dir: &VirtualPath,
    entry: Option<&NewEntry>,
) -> Result<Vec<HiddenName>, StoreError> {
    let hidden: Vec<(Option<String>,)> = sqlx::query_as(
        "DELETE FROM files WHERE home_id = $1 AND dir = $2 AND state = 'partial' \
         RETURNING temp_name",
    )
    .bind(home.0)
    .bind(dir.as_bytes().to_vec())
    .fetch_all(&mut *conn)
    .await?;
    if let Some(entry) = entry {
        journal::append(conn, entry).await?;
    }
    claims::release(conn, home, &[dir], None).await?;
    Ok(hidden
        .into_iter()
        .filter_map(|(name,)| HiddenName::parse(&name?))
        .collect())
}
