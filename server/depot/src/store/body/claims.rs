//! Claims: which names somebody is changing just now. They keep other
//! processes and nodes out, and tell recovery what was going on.

use layover_retention::Timestamp;

use super::{Conn, Step, StoreError, run};
use crate::ledger::{
    ClaimKind, ClaimRow, FreshStaging, MoveClaim, RemovalClaim, Staging, TreeClaim,
};
use crate::vfs::{HiddenName, Identity};
use crate::{FileId, HomeId, NodeId, VirtualPath};

type ClaimColumns = (
    i64,
    Vec<u8>,
    String,
    Option<i64>,
    Option<Vec<u8>>,
    Option<Vec<u8>>,
    Option<i64>,
    Option<i64>,
);

/// The file that a claim is about.
enum FileOf<'a> {
    Row(FileId),
    /// Of the row that has this hidden file.
    Hidden(&'a HiddenName),
}

/// One claim about to be laid.
struct NewClaim<'a> {
    home: HomeId,
    path: &'a VirtualPath,
    kind: ClaimKind,
    file: Option<FileOf<'a>>,
    ends: Option<(&'a VirtualPath, Option<&'a VirtualPath>)>,
    identity: Identity,
    node: &'a NodeId,
    now: Timestamp,
}

/// Lays a claim, when nobody has claimed the name or the whole home. The caller
/// holds the home's row, so no other claim comes in between.
fn claim_step(claim: NewClaim<'_>) -> Step {
    let (from, to) = match claim.ends {
        Some((from, to)) => (
            Some(from.as_bytes().to_vec()),
            to.map(|path| path.as_bytes().to_vec()),
        ),
        None => (None, None),
    };
    let (file, hidden) = match claim.file {
        Some(FileOf::Row(file)) => (Some(file.0), None),
        Some(FileOf::Hidden(name)) => (None, Some(name.as_str())),
        None => (None, None),
    };
    Step::new(
        "INSERT INTO path_claims (home_id, path, kind, file_id, from_path, to_path, inode, \
         born_us, node_id, claimed_at_us) \
         SELECT $1, $2, $3, COALESCE($4, (SELECT id FROM files WHERE temp_name = $11)), $5, $6, $7, $8, $9, $10 \
         WHERE NOT EXISTS (SELECT 1 FROM path_claims WHERE home_id = $1 AND kind = 'tree') \
         ON CONFLICT (home_id, path) DO NOTHING",
        [
            claim.home.0.into(),
            claim.path.as_bytes().to_vec().into(),
            claim.kind.as_str().into(),
            file.into(),
            from.into(),
            to.into(),
            claim.identity.inode.into(),
            claim.identity.born_us.into(),
            claim.node.as_str().into(),
            claim.now.as_micros().into(),
            hidden.into(),
        ],
    )
}

/// Lays a claim; false when the name, or the whole home, is claimed already.
async fn lay(conn: &mut Conn, claim: NewClaim<'_>) -> Result<bool, StoreError> {
    Ok(run(conn, vec![claim_step(claim)]).await? == [1])
}

pub(super) fn publish_step(staging: &Staging) -> Step {
    claim_step(NewClaim {
        home: staging.home,
        path: &staging.to,
        kind: ClaimKind::Publish,
        file: Some(FileOf::Row(staging.file)),
        // Recovery gives a waiting upload its old name back.
        ends: Some((&staging.from, Some(&staging.to))),
        identity: staging.identity,
        node: &staging.node,
        now: staging.now,
    })
}

/// The same for a row that came just before, in the same transaction.
pub(super) fn publish_fresh_step(staging: &FreshStaging<'_>) -> Step {
    let upload = staging.upload;
    claim_step(NewClaim {
        home: upload.home,
        path: &upload.path,
        kind: ClaimKind::Publish,
        file: Some(FileOf::Hidden(&upload.hidden)),
        ends: Some((&upload.path, Some(&upload.path))),
        identity: staging.identity,
        node: &upload.node,
        now: staging.now,
    })
}

pub(super) fn delete_step(removal: &RemovalClaim) -> Step {
    claim_step(NewClaim {
        home: removal.home,
        path: &removal.path,
        kind: ClaimKind::Delete,
        file: Some(FileOf::Row(removal.file)),
        ends: None,
        identity: removal.identity,
        node: &removal.node,
        now: removal.now,
    })
}

pub(super) async fn claim_move(conn: &mut Conn, moved: &MoveClaim) -> Result<bool, StoreError> {
    for path in [&moved.from, &moved.to] {
        let claim = NewClaim {
            home: moved.home,
            path,
            kind: ClaimKind::Move,
            file: Some(FileOf::Row(moved.file)),
            ends: Some((&moved.from, Some(&moved.to))),
            identity: moved.identity,
            node: &moved.node,
            now: moved.now,
        };
        if !lay(conn, claim).await? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Claims a directory; false while anything in the home is claimed.
pub(super) async fn claim_tree(conn: &mut Conn, tree: &TreeClaim) -> Result<bool, StoreError> {
    let (claimed,): (i64,) = sqlx::query_as("SELECT COUNT(*) FROM path_claims WHERE home_id = $1")
        .bind(tree.home.0)
        .fetch_one(&mut *conn)
        .await?;
    if claimed != 0 {
        return Ok(false);
    }
    let claim = NewClaim {
        home: tree.home,
        path: &tree.from,
        kind: ClaimKind::Tree,
        file: None,
        ends: Some((&tree.from, tree.to.as_ref())),
        identity: tree.identity,
        node: &tree.node,
        now: tree.now,
    };
    lay(conn, claim).await
}

/// Whether somebody is changing this name.
pub(super) async fn is_claimed(
    conn: &mut Conn,
    home: HomeId,
    path: &VirtualPath,
) -> Result<bool, StoreError> {
    let row: Option<(i64,)> = sqlx::query_as(
        "SELECT home_id FROM path_claims WHERE home_id = $1 AND (path = $2 OR kind = 'tree') LIMIT 1",
    )
    .bind(home.0)
    .bind(path.as_bytes().to_vec())
    .fetch_optional(conn)
    .await?;
    Ok(row.is_some())
}

/// Releases the claims on these names that were laid for `file` (or for a
/// directory, when `None`).
pub(crate) async fn release(
    conn: &mut Conn,
    home: HomeId,
    paths: &[&VirtualPath],
    file: Option<FileId>,
) -> Result<(), StoreError> {
    let steps = paths
        .iter()
        .map(|path| release_step(home, path, file))
        .collect();
    run(conn, steps).await?;
    Ok(())
}

/// Releases the claim on this name that was laid for `file`.
pub(super) fn release_step(home: HomeId, path: &VirtualPath, file: Option<FileId>) -> Step {
    Step::new(
        "DELETE FROM path_claims WHERE home_id = $1 AND path = $2 \
         AND COALESCE(file_id, 0) = $3",
        [
            home.0.into(),
            path.as_bytes().to_vec().into(),
            file.map_or(0, |file| file.0).into(),
        ],
    )
}

/// Claims of `node`, and of nodes that have not been heard of since
/// `silent_before`.
pub(crate) async fn abandoned_claims(
    conn: &mut Conn,
    node: &NodeId,
    silent_before: Timestamp,
) -> Result<Vec<ClaimRow>, StoreError> {
    let rows: Vec<ClaimColumns> = sqlx::query_as(
        "SELECT c.home_id, c.path, c.kind, c.file_id, c.from_path, c.to_path, c.inode, c.born_us \
         FROM path_claims c WHERE c.node_id = $1 OR NOT EXISTS (SELECT 1 FROM nodes n \
         WHERE n.id = c.node_id AND n.heartbeat_at_us > $2) ORDER BY c.home_id, c.path",
    )
    .bind(node.as_str().to_owned())
    .bind(silent_before.as_micros())
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(claim_row).collect()
}

/// What is being changed in a home just now.
pub(super) async fn of_home(conn: &mut Conn, home: HomeId) -> Result<Vec<ClaimRow>, StoreError> {
    let rows: Vec<ClaimColumns> = sqlx::query_as(
        "SELECT home_id, path, kind, file_id, from_path, to_path, inode, born_us \
         FROM path_claims WHERE home_id = $1 ORDER BY path",
    )
    .bind(home.0)
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(claim_row).collect()
}

fn claim_row(columns: ClaimColumns) -> Result<ClaimRow, StoreError> {
    let (home, path, kind, file, from, to, inode, born) = columns;
    let broken = |what| StoreError::Corrupt {
        table: "path_claims",
        id: home,
        what,
    };
    let parse = |bytes: Vec<u8>| VirtualPath::parse(&bytes).map_err(|_| broken("path"));
    Ok(ClaimRow {
        home: HomeId(home),
        path: parse(path)?,
        kind: ClaimKind::parse(&kind).ok_or_else(|| broken("kind"))?,
        file: file.map(FileId),
        from: from.map(parse).transpose()?,
        to: to.map(parse).transpose()?,
        identity: inode.map(|inode| Identity {
            inode,
            born_us: born.unwrap_or(0),
        }),
    })
}
