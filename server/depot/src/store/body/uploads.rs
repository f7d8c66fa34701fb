//! Uploads in the ledger: from `receiving` to `stored`, or back.

use layover_retention::Timestamp;

use super::files::{bigint, change_used, columns_of, end_replaced, rows_at};
use super::{Conn, Step, StoreError, claims, expiry, flow_files, flows, holds, journal, run};
use crate::journal::NewEntry;
use crate::ledger::{Claimed, FileState, FreshStaging, NewUpload, Publication, Staging};
use crate::rules::Grounds;
use crate::{FileId, HomeId, NodeId, VirtualPath};

/// Begins a row as `receiving`.
pub(crate) async fn begin_upload(
    conn: &mut Conn,
    upload: &NewUpload,
) -> Result<FileId, StoreError> {
    let (dir, name) = columns_of(&upload.path);
    let (id,): (i64,) = sqlx::query_as(
        "INSERT INTO files (home_id, dir, name, state, size_bytes, uploaded_by, temp_name, \
         node_id, touched_at_us, inherited_arrival_us) \
         VALUES ($1, $2, $3, 'receiving', 0, $4, $5, $6, $7, $8) RETURNING id",
    )
    .bind(upload.home.0)
    .bind(dir)
    .bind(name)
    .bind(upload.account.0)
    .bind(upload.hidden.as_str().to_owned())
    .bind(upload.node.as_str().to_owned())
    .bind(upload.now.as_micros())
    .bind(upload.inherited_arrival.map(Timestamp::as_micros))
    .fetch_one(conn)
    .await?;
    Ok(FileId(id))
}

/// An interrupted or waiting upload goes on here; false when somebody else
/// took it first.
pub(crate) async fn resume_upload(
    conn: &mut Conn,
    file: FileId,
    node: &NodeId,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "UPDATE files SET state = 'receiving', node_id = $2, touched_at_us = $3 \
         WHERE id = $1 AND state IN ('partial', 'waiting')",
    )
    .bind(file.0)
    .bind(node.as_str().to_owned())
    .bind(now.as_micros())
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Whether the upload goes on on this node, and on no other.
pub(crate) async fn still_receiving(
    conn: &mut Conn,
    file: FileId,
    node: &NodeId,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "UPDATE files SET touched_at_us = $3 \
         WHERE id = $1 AND state = 'receiving' AND node_id = $2",
    )
    .bind(file.0)
    .bind(node.as_str().to_owned())
    .bind(now.as_micros())
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// An unfinished upload takes over the arrival of what was copied into it; of
/// several, the oldest. It stays with the row when the upload is interrupted.
pub(crate) async fn inherit_arrival(
    conn: &mut Conn,
    file: FileId,
    arrived_at: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE files SET inherited_arrival_us = $2 WHERE id = $1 AND state = 'receiving' \
         AND (inherited_arrival_us IS NULL OR inherited_arrival_us > $2)",
    )
    .bind(file.0)
    .bind(arrived_at.as_micros())
    .execute(conn)
    .await?;
    Ok(())
}

/// An upload stops short of being published: it stays hidden in `state`.
pub(crate) async fn park_upload(
    conn: &mut Conn,
    file: FileId,
    state: FileState,
    size_bytes: u64,
    now: Timestamp,
    entry: Option<&NewEntry>,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE files SET state = $2, size_bytes = $3, touched_at_us = $4 \
         WHERE id = $1 AND state = 'receiving'",
    )
    .bind(file.0)
    .bind(state.as_str().to_owned())
    .bind(bigint(size_bytes))
    .bind(now.as_micros())
    .execute(&mut *conn)
    .await?;
    match entry {
        Some(entry) => journal::append(conn, entry).await,
        None => Ok(()),
    }
}

/// Forgets an upload that was never published; false when it is not there, or
/// somebody goes on with it.
pub(crate) async fn forget_upload(
    conn: &mut Conn,
    file: FileId,
    state: FileState,
    entry: Option<&NewEntry>,
) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "DELETE FROM files WHERE id = $1 AND state = $2 \
         AND state IN ('receiving', 'partial', 'waiting')",
    )
    .bind(file.0)
    .bind(state.as_str().to_owned())
    .execute(&mut *conn)
    .await?;
    if done.rows_affected() == 0 {
        return Ok(false);
    }
    if let Some(entry) = entry {
        journal::append(conn, entry).await?;
    }
    Ok(true)
}

/// First transaction of a publication: room in the quota, the claim on the
/// name, the row `publishing`. Anything but `Yes` must be rolled back.
pub(crate) async fn stage(conn: &mut Conn, staging: &Staging) -> Result<Claimed, StoreError> {
    let changed = run(conn, stage_at_once(staging)).await?;
    Ok(match changed.as_slice() {
        [0, ..] if is_name_held(conn, staging).await? => Claimed::Held,
        [0, ..] => Claimed::OverQuota,
        [_, 0, ..] => Claimed::Busy,
        // The rest is a flow's: nothing of it when another node has its run.
        [_, _, 1, of_flow @ ..] if of_flow.iter().all(|rows| *rows == 1) => Claimed::Yes,
        _ => Claimed::Changed,
    })
}

/// Whether a hold is on the file that has the name.
async fn is_name_held(conn: &mut Conn, staging: &Staging) -> Result<bool, StoreError> {
    let rows = rows_at(conn, staging.home, &staging.to).await?;
    Ok(rows.iter().any(|row| row.held(staging.now).is_some()))
}

/// The same as a script, which does not say what was in the way.
pub(crate) fn stage_at_once(staging: &Staging) -> Vec<Step> {
    let (dir, name) = columns_of(&staging.to);
    let (from_dir, from_name) = columns_of(&staging.from);
    let mut steps = vec![
        room_step(
            staging.home,
            &staging.to,
            staging.size_bytes,
            staging.quota_bytes,
            staging.now,
        ),
        claims::publish_step(staging).must_change(),
        Step::new(
            "UPDATE files SET state = 'publishing', dir = $2, name = $3, size_bytes = $4, \
             inode = $5, born_us = $6, node_id = $7, touched_at_us = $8 \
             WHERE id = $1 AND state IN ('receiving', 'waiting') AND dir = $9 AND name = $10",
            [
                staging.file.0.into(),
                dir.into(),
                name.into(),
                bigint(staging.size_bytes).into(),
                staging.identity.inode.into(),
                staging.identity.born_us.into(),
                staging.node.as_str().into(),
                staging.now.as_micros().into(),
                from_dir.into(),
                from_name.into(),
            ],
        )
        .must_change(),
    ];
    steps.extend(staging.landing.iter().flat_map(flow_files::land_steps));
    steps
}

/// The same for an upload that had no row: the row begins as `publishing`.
pub(crate) fn stage_fresh(staging: &FreshStaging<'_>) -> Vec<Step> {
    let upload = staging.upload;
    let (dir, name) = columns_of(&upload.path);
    let mut steps = vec![
        room_step(
            upload.home,
            &upload.path,
            staging.size_bytes,
            staging.quota_bytes,
            staging.now,
        ),
        Step::new(
            "INSERT INTO files (home_id, dir, name, state, size_bytes, inode, born_us, \
             uploaded_by, temp_name, node_id, touched_at_us, inherited_arrival_us) \
             VALUES ($1, $2, $3, 'publishing', $4, $5, $6, $7, $8, $9, $10, $11) \
             RETURNING id AS inserted_id",
            [
                upload.home.0.into(),
                dir.into(),
                name.into(),
                bigint(staging.size_bytes).into(),
                staging.identity.inode.into(),
                staging.identity.born_us.into(),
                upload.account.0.into(),
                upload.hidden.as_str().into(),
                upload.node.as_str().into(),
                staging.now.as_micros().into(),
                upload.inherited_arrival.map(Timestamp::as_micros).into(),
            ],
        ),
        claims::publish_fresh_step(staging).must_change(),
    ];
    steps.extend(staging.landing.into_iter().flat_map(flow_files::land_steps));
    steps
}

/// Room in the quota, and no hold on what has the name. Locks the home's row, so that claims of one home are laid
/// one after the other on every engine: the first step of each of them.
fn room_step(
    home: HomeId,
    to: &VirtualPath,
    size_bytes: u64,
    quota_bytes: Option<u64>,
    now: Timestamp,
) -> Step {
    let (dir, name) = columns_of(to);
    Step::new(
        "UPDATE homes SET used_bytes = used_bytes + $2 WHERE id = $1 \
         AND used_bytes + $2 - COALESCE((SELECT f.size_bytes FROM files f WHERE f.home_id = $1 \
         AND f.dir = $3 AND f.name = $4 AND f.state IN ('stored', 'deleting')), 0) <= $5 \
         AND NOT EXISTS (SELECT 1 FROM files f WHERE f.home_id = $1 AND f.dir = $3 \
         AND f.name = $4 AND f.state IN ('stored', 'deleting') AND f.held_until_us > $6)",
        [
            home.0.into(),
            bigint(size_bytes).into(),
            dir.into(),
            name.into(),
            quota_bytes.map_or(i64::MAX, bigint).into(),
            now.as_micros().into(),
        ],
    )
    .must_change()
}

/// Takes a staged row back: the name was not taken after all.
pub(crate) async fn unstage(
    conn: &mut Conn,
    staging: &Staging,
    state: FileState,
    entry: Option<&NewEntry>,
) -> Result<(), StoreError> {
    let (dir, name) = columns_of(&staging.from);
    change_used(conn, staging.home, 0).await?;
    let done = sqlx::query(
        "UPDATE files SET state = $2, dir = $3, name = $4 WHERE id = $1 AND state = 'publishing'",
    )
    .bind(staging.file.0)
    .bind(state.as_str().to_owned())
    .bind(dir)
    .bind(name)
    .execute(&mut *conn)
    .await?;
    if done.rows_affected() == 1 {
        change_used(conn, staging.home, -bigint(staging.size_bytes)).await?;
    }
    claims::release(conn, staging.home, &[&staging.to], Some(staging.file)).await?;
    match entry {
        Some(entry) => journal::append(conn, entry).await,
        None => Ok(()),
    }
}

/// Second transaction of a publication: the row `stored` with its arrival and
/// expiry, the replaced row ended, the quota settled, the journal, the claim
/// released. `None` when the row was settled by somebody else: roll back.
pub(crate) async fn publish(
    conn: &mut Conn,
    publication: &Publication,
) -> Result<Option<Timestamp>, StoreError> {
    let now = publication.now;
    let (home, path) = (publication.home, &publication.path);
    // What it goes by before what is to go: see `change_used`.
    change_used(conn, home, 0).await?;
    let grounds = expiry::grounds(conn, publication.account).await?;
    end_replaced(conn, home, path, now, &publication.entry).await?;
    let done = run(conn, publish_at_once(publication, &grounds)).await?;
    // The first step only locks.
    let stored = done.get(1) == Some(&1);
    Ok(stored.then(|| publication.rule(&grounds).expires_at))
}

/// The same as a script, for a name that is free and grounds that were read
/// before; does nothing when either is no longer so.
pub(crate) fn publish_at_once(publication: &Publication, grounds: &Grounds) -> Vec<Step> {
    let (dir, name) = columns_of(&publication.path);
    let (rule, wishes) = (publication.rule(grounds), grounds.wishes);
    let mut steps = vec![
        expiry::lock_step(publication.account),
        Step::new(
            "UPDATE files SET state = 'stored', arrived_at_us = $2, expires_at_us = $3, \
             temp_name = NULL, touched_at_us = $4, rule = $11, rule_keep_s = $12, \
             collected_keep_s = $13, held_until_us = $16 WHERE id = $1 AND state = 'publishing' \
             AND NOT EXISTS (SELECT 1 FROM files f WHERE f.home_id = $5 AND f.dir = $6 \
             AND f.name = $7 AND f.state IN ('stored', 'deleting')) \
             AND EXISTS (SELECT 1 FROM accounts a JOIN entities e ON e.id = a.entity_id \
             JOIN homes h ON h.id = a.home_id WHERE a.id = $8 AND COALESCE(e.keep_s, -1) = $9 \
             AND COALESCE(a.keep_s, -1) = $10 AND COALESCE(a.collected_keep_s, -1) = $14 \
             AND h.rules_version = $15)",
            [
                publication.file.0.into(),
                publication.arrived_at.as_micros().into(),
                rule.expires_at.as_micros().into(),
                publication.now.as_micros().into(),
                publication.home.0.into(),
                dir.into(),
                name.into(),
                publication.account.0.into(),
                wishes.entity_s.unwrap_or(-1).into(),
                wishes.account_s.unwrap_or(-1).into(),
                rule.policy.source.as_str().into(),
                bigint(rule.policy.keep.as_secs()).into(),
                rule.policy
                    .collected_keep
                    .map(|keep| bigint(keep.as_secs()))
                    .into(),
                wishes.collected_s.unwrap_or(-1).into(),
                wishes.rules_version.into(),
                rule.held_until.map(Timestamp::as_micros).into(),
            ],
        )
        .must_change(),
        journal::entry_step(&publication.entry),
        claims::release_step(publication.home, &publication.path, Some(publication.file)),
    ];
    let on_it = grounds.rules.holds_on(&publication.path, publication.now);
    steps.extend(on_it.map(|hold| holds::hold_step(publication.file, hold)));
    steps.extend(
        publication
            .landed
            .iter()
            .flat_map(|hidden| flow_files::landed_steps(hidden, publication.now)),
    );
    if grounds.rules.is_arrival(&publication.path) {
        let folder = publication.path.dir();
        steps.push(flows::arrival_step(
            publication.home,
            &folder,
            publication.now,
        ));
    }
    steps
}
