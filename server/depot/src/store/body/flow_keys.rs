//! By what flows know their files again, and which of that is forgotten: a census goes
//! through all that a flow's source shows, and keys that none has found for long go.

use layover_retention::Timestamp;

use super::files::bigint;
use super::flow_files::{held_step, is_held};
use super::flows::broken;
use super::{Conn, Step, StoreError};
use crate::FlowName;
use crate::flow::{FileDone, FileKey, RunToken};
use crate::vfs::HiddenName;

/// Keys that one statement asks for.
const KEYS_AT_ONCE: usize = 500;

/// A key of a file, and the file's other one; both are as of the last census at least.
macro_rules! keep_key {
    ($key:literal, $other:literal, $from:literal) => {
        concat!(
            "INSERT INTO flow_keys (flow, file_key, at_us, census, other_key) SELECT f.flow, ",
            $key,
            ", $2, (SELECT d.census FROM flow_definitions d WHERE d.name = f.flow), ",
            $other,
            " FROM flow_files f WHERE ",
            $from,
            " ON CONFLICT (flow, file_key) DO UPDATE SET census = EXCLUDED.census, \
             other_key = COALESCE(EXCLUDED.other_key, flow_keys.other_key)"
        )
    };
}

/// The keys of a file that has moved, the second of which belongs to the first.
pub(super) fn keep_steps(done: &FileDone) -> Vec<Step> {
    let bytes = |key: &FileKey| key.as_bytes().to_vec();
    let others = done.keys.iter().skip(1).map(|key| Some(bytes(key)));
    let others = others.chain(std::iter::once(None));
    let each = done.keys.iter().zip(others);
    each.map(|(key, other)| {
        Step::new(
            keep_key!("$3", "$4", "f.id = $1"),
            [
                done.file.0.into(),
                done.now.as_micros().into(),
                bytes(key).into(),
                other.into(),
            ],
        )
    })
    .collect()
}

/// The same of one that lands: its keys stand behind one another, and are at most two.
pub(super) fn keep_landed_steps(hidden: &HiddenName, now: Timestamp) -> [Step; 2] {
    let values = || [hidden.as_str().into(), now.as_micros().into()];
    [
        Step::new(
            keep_key!(
                "substr(f.keys, 1, 32)",
                "CASE WHEN length(f.keys) >= 64 THEN substr(f.keys, 33, 32) END",
                "f.hidden = $1 AND f.state = 'landing' AND length(f.keys) >= 32"
            ),
            values(),
        ),
        Step::new(
            keep_key!(
                "substr(f.keys, 33, 32)",
                "NULL",
                "f.hidden = $1 AND f.state = 'landing' AND length(f.keys) >= 64"
            ),
            values(),
        ),
    ]
}

/// Which of these keys the flow has, in their order.
pub(crate) async fn known_keys(
    conn: &mut Conn,
    flow: &FlowName,
    keys: &[FileKey],
) -> Result<Vec<bool>, StoreError> {
    let mut known = std::collections::HashSet::new();
    for some in keys.chunks(KEYS_AT_ONCE) {
        let places: Vec<_> = (2..).take(some.len()).map(|at| format!("${at}")).collect();
        let text = format!(
            "SELECT file_key FROM flow_keys WHERE flow = $1 AND file_key IN ({})",
            places.join(", ")
        );
        let query = sqlx::query_as(sqlx::AssertSqlSafe(text)).bind(flow.to_string());
        let query = some
            .iter()
            .fold(query, |query, key| query.bind(key.as_bytes().to_vec()));
        let rows: Vec<(Vec<u8>,)> = query.fetch_all(&mut *conn).await?;
        known.extend(rows.into_iter().map(|(key,)| key));
    }
    Ok(keys
        .iter()
        .map(|key| known.contains(key.as_bytes().as_slice()))
        .collect())
}

/// A census has found the files of these keys: they stay, and with each the file's other
/// key. `None` when somebody else has the run.
pub(crate) async fn see_keys(
    conn: &mut Conn,
    held: RunToken,
    flow: &FlowName,
    census: i64,
    keys: &[FileKey],
) -> Result<Option<()>, StoreError> {
    if !is_held(conn, held).await? {
        return Ok(None);
    }
    for some in keys.chunks(KEYS_AT_ONCE) {
        let places: Vec<_> = (3..).take(some.len()).map(|at| format!("${at}")).collect();
        let places = places.join(", ");
        let theirs = format!(
            "SELECT k.other_key FROM flow_keys k WHERE k.flow = $1 AND k.file_key IN ({places}) \
             AND k.other_key IS NOT NULL"
        );
        // One statement for both would go through all keys of the flow.
        for found in [places, theirs] {
            let text = format!(
                "UPDATE flow_keys SET census = $2 WHERE flow = $1 AND file_key IN ({found})"
            );
            let query = sqlx::query(sqlx::AssertSqlSafe(text));
            let query = query.bind(flow.to_string()).bind(census);
            let query = some
                .iter()
                .fold(query, |query, key| query.bind(key.as_bytes().to_vec()));
            query.execute(&mut *conn).await?;
        }
    }
    Ok(Some(()))
}

/// All that the source shows has been counted.
pub(crate) fn end_census(
    held: RunToken,
    flow: &FlowName,
    census: i64,
    now: Timestamp,
) -> Vec<Step> {
    let values = [flow.as_str().into(), census.into(), now.as_micros().into()];
    let text = "UPDATE flow_definitions SET census = $2, census_at_us = $3 WHERE name = $1";
    vec![held_step(held), Step::new(text, values)]
}

/// Forgets keys behind `after` whose file no census has found since this one; in their
/// order. Fewer than `limit`: there are no more.
pub(crate) async fn forget_keys(
    conn: &mut Conn,
    flow: &FlowName,
    before: i64,
    after: &[u8],
    limit: usize,
) -> Result<Vec<FileKey>, StoreError> {
    let rows: Vec<(Vec<u8>,)> = sqlx::query_as(
        "DELETE FROM flow_keys WHERE flow = $1 AND census < $2 AND file_key IN \
         (SELECT k.file_key FROM flow_keys k WHERE k.flow = $1 AND k.file_key > $3 \
         AND k.census < $2 ORDER BY k.file_key LIMIT $4) RETURNING file_key",
    )
    .bind(flow.to_string())
    .bind(before)
    .bind(after.to_vec())
    .bind(bigint(limit as u64))
    .fetch_all(conn)
    .await?;
    let keys = rows.into_iter().map(|(key,)| FileKey::from_bytes(&key));
    let mut keys: Vec<_> = keys
        .collect::<Option<_>>()
        .ok_or_else(|| broken("flow_keys", "file_key"))?;
    keys.sort_unstable();
    Ok(keys)
}
