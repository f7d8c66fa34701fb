//! What runs of flows find and move: files, and where they land. Every write asks for the run's token, as in `flows.rs`.

use layover_retention::Timestamp;
use sqlx::Row as _;

use super::files::{self, bigint};
use super::flows::{broken, definition_of};
use super::{Conn, Step, StoreError, flow_keys, journal, run};
use crate::flow::{
    FileDone, FileFailed, FlowFile, FlowFileId, FlowFileState, FlowLanding, FlowRunId, FoundFile,
    LandingRun, RunToken, SourceFacts,
};
use crate::journal::NewEntry;
use crate::ledger::Collector;
use crate::vfs::HiddenName;
use crate::{FileId, FlowName};

/// A row of this engine: it has more columns than a tuple holds.
type EngineRow = <<Conn as sqlx::Connection>::Database as sqlx::Database>::Row;

/// What [`file_of`] reads.
const FILE_COLUMNS: &str = "id, run_id, name, size_bytes, modified_us, source_file, state, \
    attempts, not_before_us, target, sha256, content_bytes, after_done, cause, changed_at_us, \
    hidden, found_at_us";

fn file_of(row: &EngineRow) -> Result<FlowFile, StoreError> {
    let state: String = row.try_get("state")?;
    let state: FlowFileState = state.parse().map_err(|_| broken("flow_files", "state"))?;
    let moment = |at: i64| Timestamp::from_micros(at);
    let size: Option<i64> = row.try_get("size_bytes")?;
    let modified: Option<i64> = row.try_get("modified_us")?;
    let file: Option<i64> = row.try_get("source_file")?;
    let content: Option<i64> = row.try_get("content_bytes")?;
    let hidden: Option<String> = row.try_get("hidden")?;
    let after_done: i64 = row.try_get("after_done")?;
    Ok(FlowFile {
        id: FlowFileId(row.try_get("id")?),
        run: FlowRunId(row.try_get("run_id")?),
        facts: SourceFacts {
            name: row.try_get("name")?,
            size_bytes: size.and_then(|size| u64::try_from(size).ok()),
            modified_at: modified.map(moment),
            day_at: None,
            file: file.map(FileId),
        },
        state,
        attempts: u32::try_from(row.try_get::<i64, _>("attempts")?).unwrap_or(u32::MAX),
        not_before: moment(row.try_get("not_before_us")?),
        target: row.try_get("target")?,
        hidden: hidden.as_deref().and_then(HiddenName::parse),
        sha256: row.try_get("sha256")?,
        content_bytes: content.and_then(|bytes| u64::try_from(bytes).ok()),
        source_pending: state == FlowFileState::Done && after_done == 0,
        cause: row.try_get("cause")?,
        found_at: moment(row.try_get("found_at_us")?),
        changed_at: moment(row.try_get("changed_at_us")?),
    })
}

/// Files of a flow that somebody is not done with, by name.
pub(crate) async fn open_files(
    conn: &mut Conn,
    flow: &FlowName,
) -> Result<Vec<FlowFile>, StoreError> {
    let text = format!(
        "SELECT {FILE_COLUMNS} FROM flow_files \
         WHERE flow = $1 AND (state IN ('planned', 'moving', 'landing', 'failed') \
         OR (state = 'done' AND after_done = 0)) ORDER BY name"
    );
    let rows = sqlx::query(sqlx::AssertSqlSafe(text))
        .bind(flow.to_string())
        .fetch_all(conn)
        .await?;
    rows.iter().map(file_of).collect()
}

/// Files that a run had to do with, in its order.
pub(crate) async fn files_of_run(
    conn: &mut Conn,
    run: FlowRunId,
    after: FlowFileId,
    limit: usize,
) -> Result<Vec<FlowFile>, StoreError> {
    let text = format!(
        "SELECT {FILE_COLUMNS} FROM flow_files WHERE run_id = $1 AND id > $2 ORDER BY id LIMIT $3"
    );
    let rows = sqlx::query(sqlx::AssertSqlSafe(text))
        .bind(run.0)
        .bind(after.0)
        .bind(bigint(limit as u64))
        .fetch_all(conn)
        .await?;
    rows.iter().map(file_of).collect()
}

/// Whether the run is held with this token; locked, so that it stays so until the
/// transaction ends.
pub(super) async fn is_held(conn: &mut Conn, held: RunToken) -> Result<bool, StoreError> {
    let done = run(conn, vec![held_step(held)]).await?;
    Ok(done.first() == Some(&1))
}

/// The same, among other steps.
pub(super) fn held_step(held: RunToken) -> Step {
    Step::new(
        "UPDATE flow_runs SET token = token WHERE id = $1 AND token = $2 AND state = 'running'",
        [held.run.0.into(), held.token.into()],
    )
    .must_change()
}

/// Files that are to move; one that is to be tried again, or has changed since, is the
/// same one. `None` when somebody else has the run.
pub(crate) async fn plan_files(
    conn: &mut Conn,
    held: RunToken,
    files: &[FoundFile],
) -> Result<Option<Vec<FlowFileId>>, StoreError> {
    if !is_held(conn, held).await? {
        return Ok(None);
    }
    let mut ids = Vec::with_capacity(files.len());
    for file in files {
        let (id,): (i64,) = sqlx::query_as(
            "INSERT INTO flow_files (flow, run_id, name, size_bytes, modified_us, source_file, \
             state, found_at_us, changed_at_us) \
             SELECT r.flow, r.id, $2, $3, $4, $6, 'planned', $5, $5 FROM flow_runs r \
             WHERE r.id = $1 \
             ON CONFLICT (flow, name) WHERE state IN ('planned', 'moving', 'landing', 'failed') \
             OR (state = 'done' AND after_done = 0) \
             DO UPDATE SET run_id = EXCLUDED.run_id, size_bytes = EXCLUDED.size_bytes, \
             modified_us = EXCLUDED.modified_us, source_file = EXCLUDED.source_file, \
             state = CASE WHEN flow_files.state = 'landing' THEN 'landing' ELSE 'planned' END, \
             changed_at_us = EXCLUDED.changed_at_us RETURNING id",
        )
        .bind(held.run.0)
        .bind(file.facts.name.clone())
        .bind(file.facts.size_bytes.map(bigint))
        .bind(file.facts.modified_at.map(Timestamp::as_micros))
        .bind(file.now.as_micros())
        .bind(file.facts.file.map(|file| file.0))
        .fetch_one(&mut *conn)
        .await?;
        ids.push(FlowFileId(id));
    }
    // What was given up before is looked at anew.
    sqlx::query(
        "UPDATE flow_files SET after_done = 1 \
         WHERE flow = (SELECT flow FROM flow_runs WHERE id = $1) \
         AND state = 'dead' AND after_done = 0 AND name IN (SELECT p.name FROM flow_files p \
         WHERE p.run_id = $1 AND p.state IN ('planned', 'landing'))",
    )
    .bind(held.run.0)
    .execute(&mut *conn)
    .await?;
    Ok(Some(ids))
}

/// Files that were given up, as they looked then, by name.
pub(crate) async fn dead_files(
    conn: &mut Conn,
    flow: &FlowName,
) -> Result<Vec<SourceFacts>, StoreError> {
    type Columns = (Vec<u8>, Option<i64>, Option<i64>, Option<i64>);
    let rows: Vec<Columns> = sqlx::query_as(
        "SELECT name, size_bytes, modified_us, source_file FROM flow_files \
         WHERE flow = $1 AND state = 'dead' AND after_done = 0 ORDER BY name",
    )
    .bind(flow.to_string())
    .fetch_all(conn)
    .await?;
    let facts = |(name, size, modified, file): Columns| SourceFacts {
        name,
        size_bytes: size.and_then(|size| u64::try_from(size).ok()),
        modified_at: modified.map(Timestamp::from_micros),
        day_at: None,
        file: file.map(FileId),
    };
    Ok(rows.into_iter().map(facts).collect())
}

/// Whatever was given up is to be tried again. Returns how many files that are.
pub(crate) async fn revive_files(
    conn: &mut Conn,
    flow: &FlowName,
    entry: &NewEntry,
) -> Result<u64, StoreError> {
    let done = sqlx::query(
        "UPDATE flow_files SET after_done = 1 \
         WHERE flow = $1 AND state = 'dead' AND after_done = 0",
    )
    .bind(flow.to_string())
    .execute(&mut *conn)
    .await?;
    journal::append(conn, entry).await?;
    Ok(done.rows_affected())
}

/// A file begins to move, towards this name: a try, however often a connection is made
/// anew meanwhile. `None` when somebody else has the run; false when it has landed by now.
pub(crate) async fn begin_file(
    conn: &mut Conn,
    held: RunToken,
    file: FlowFileId,
    target: &[u8],
    now: Timestamp,
) -> Result<Option<bool>, StoreError> {
    if !is_held(conn, held).await? {
        return Ok(None);
    }
    let begun = sqlx::query(
        "UPDATE flow_files SET state = 'moving', hidden = NULL, \
         attempts = attempts + CASE WHEN state = 'moving' THEN 0 ELSE 1 END, target = $2, \
         run_id = $3, cause = NULL, changed_at_us = $4 \
         WHERE id = $1 AND state IN ('planned', 'moving', 'landing', 'failed')",
    )
    .bind(file.0)
    .bind(target.to_vec())
    .bind(held.run.0)
    .bind(now.as_micros())
    .execute(conn)
    .await?;
    Ok(Some(begun.rows_affected() > 0))
}

/// What is to be looked for at the partner's when this process dies before it can say
/// whether the file got its name there. Does nothing when somebody else has the run.
pub(crate) fn note_last_step(held: RunToken, file: FlowFileId, step: Option<&str>) -> Vec<Step> {
    vec![
        held_step(held),
        Step::new(
            "UPDATE flow_files SET last_step = $2 WHERE id = $1",
            [file.0.into(), step.into()],
        )
        .must_change(),
    ]
}

pub(crate) async fn noted_last_step(
    conn: &mut Conn,
    file: FlowFileId,
) -> Result<Option<String>, StoreError> {
    let row: Option<(Option<String>,)> =
        sqlx::query_as("SELECT last_step FROM flow_files WHERE id = $1")
            .bind(file.0)
            .fetch_optional(conn)
            .await?;
    Ok(row.and_then(|(step,)| step))
}

/// A file has moved: its state and its keys, at once. Does nothing when somebody else
/// has the run.
pub(crate) fn finish_file(held: RunToken, done: &FileDone) -> Vec<Step> {
    let mut steps = vec![
        held_step(held),
        Step::new(
            "UPDATE flow_files SET state = 'done', target = $2, sha256 = $3, content_bytes = $4, \
             after_done = $5, run_id = $6, changed_at_us = $7, cause = $8, size_bytes = $9, \
             modified_us = $10, source_file = $11, last_step = NULL WHERE id = $1",
            [
                done.file.0.into(),
                done.target.clone().into(),
                done.sha256.as_deref().into(),
                bigint(done.content_bytes).into(),
                i64::from(done.source_done).into(),
                held.run.0.into(),
                done.now.as_micros().into(),
                done.note.into(),
                done.source.size_bytes.map(bigint).into(),
                done.source.modified_at.map(Timestamp::as_micros).into(),
                done.source.file.map(|file| file.0).into(),
            ],
        )
        .must_change(),
    ];
    steps.extend(flow_keys::keep_steps(done));
    steps
}

/// The same of a file that had moved before, which the journal tells.
pub(crate) fn finish_known(held: RunToken, done: &FileDone, entry: &NewEntry) -> Vec<Step> {
    let mut steps = finish_file(held, done);
    steps.push(journal::entry_step(entry));
    steps
}

/// The same of a file of ours that a partner's server has now: together with what the
/// ledger and the journal say of it, so that none is ever told twice.
pub(crate) fn finish_delivery(
    held: RunToken,
    done: &FileDone,
    file: FileId,
    collected_at: Timestamp,
    entry: &NewEntry,
) -> Vec<Step> {
    let mut steps = finish_file(held, done);
    let collected = Some((file, Collector::Outbound));
    steps.extend(files::end_download(collected, collected_at, entry));
    steps
}

/// A file did not move, and perhaps the journal says so; `None` when somebody else has
/// the run.
pub(crate) async fn fail_file(
    conn: &mut Conn,
    held: RunToken,
    failed: &FileFailed,
    entry: Option<&NewEntry>,
) -> Result<Option<()>, StoreError> {
    if !is_held(conn, held).await? {
        return Ok(None);
    }
    sqlx::query(
        "UPDATE flow_files SET state = $2, cause = $3, not_before_us = $4, run_id = $5, \
         changed_at_us = $6, last_step = CASE WHEN $7 = 1 THEN last_step END WHERE id = $1",
    )
    .bind(failed.file.0)
    .bind(failed.state.as_str())
    .bind(crate::journal::bounded(failed.cause.clone()))
    .bind(failed.not_before.as_micros())
    .bind(held.run.0)
    .bind(failed.now.as_micros())
    .bind(i64::from(failed.is_unsettled))
    .execute(&mut *conn)
    .await?;
    if let Some(entry) = entry {
        journal::append(conn, entry).await?;
    }
    Ok(Some(()))
}

/// What was to be done with a file's source, or with one that was given up, could not be
/// done: told once for each reason. `None` when somebody else has the run.
pub(crate) async fn source_left(
    conn: &mut Conn,
    held: RunToken,
    file: FlowFileId,
    why: &str,
    entry: &NewEntry,
) -> Result<Option<()>, StoreError> {
    if !is_held(conn, held).await? {
        return Ok(None);
    }
    let told = sqlx::query(
        "UPDATE flow_files SET cause = $2, changed_at_us = $3 WHERE id = $1 \
         AND (cause IS NULL OR cause <> $2)",
    )
    .bind(file.0)
    .bind(crate::journal::bounded(why.to_owned()))
    .bind(entry.at.as_micros())
    .execute(&mut *conn)
    .await?;
    if told.rows_affected() > 0 {
        journal::append(conn, entry).await?;
    }
    Ok(Some(()))
}

/// What was to be done with a file's source is done; `None` when somebody else has the
/// run.
pub(crate) async fn source_done(
    conn: &mut Conn,
    held: RunToken,
    file: FlowFileId,
    now: Timestamp,
) -> Result<Option<()>, StoreError> {
    if !is_held(conn, held).await? {
        return Ok(None);
    }
    sqlx::query(
        "UPDATE flow_files SET after_done = 1, cause = NULL, changed_at_us = $2 \
         WHERE id = $1 AND state = 'done' AND after_done = 0",
    )
    .bind(file.0)
    .bind(now.as_micros())
    .execute(conn)
    .await?;
    Ok(Some(()))
}

/// A file takes its name here: within the transaction that stages it, which is refused
/// when somebody else has the run.
pub(super) fn land_steps(landing: &FlowLanding) -> [Step; 2] {
    let keys = landing.keys.iter().flat_map(|key| *key.as_bytes());
    [
        held_step(landing.held),
        Step::new(
            "UPDATE flow_files SET state = 'landing', hidden = $2, keys = $3, sha256 = $4, \
             content_bytes = $5, run_id = $6, after_done = $7, size_bytes = $8, \
             modified_us = $9 WHERE id = $1",
            [
                landing.file.0.into(),
                landing.hidden.as_str().into(),
                keys.collect::<Vec<u8>>().into(),
                landing.sha256.as_str().into(),
                bigint(landing.content_bytes).into(),
                landing.held.run.0.into(),
                i64::from(landing.source_done).into(),
                landing.source.size_bytes.map(bigint).into(),
                landing.source.modified_at.map(Timestamp::as_micros).into(),
            ],
        )
        .must_change(),
    ]
}

/// It has its name: within the transaction that makes it `stored`, whoever does that.
pub(super) fn landed_steps(hidden: &HiddenName, now: Timestamp) -> [Step; 3] {
    let [first, second] = flow_keys::keep_landed_steps(hidden, now);
    let done = Step::new(
        "UPDATE flow_files SET state = 'done', hidden = NULL, cause = NULL, \
         changed_at_us = $2 WHERE hidden = $1 AND state = 'landing'",
        [hidden.as_str().into(), now.as_micros().into()],
    );
    [first, second, done]
}

/// Whether what landed under this name is still taking its own: nobody else touches it
/// until that is settled.
pub(crate) async fn is_landing(conn: &mut Conn, hidden: &HiddenName) -> Result<bool, StoreError> {
    let (rows,): (i64,) =
        sqlx::query_as("SELECT COUNT(*) FROM files WHERE temp_name = $1 AND state = 'publishing'")
            .bind(hidden.as_str().to_owned())
            .fetch_one(conn)
            .await?;
    Ok(rows > 0)
}

/// The run whose file lands under this name, and as what the flow knows it; none when no
/// flow does.
pub(crate) async fn landing_run(
    conn: &mut Conn,
    hidden: &HiddenName,
) -> Result<Option<LandingRun>, StoreError> {
    let row: Option<(i64, String, Vec<u8>)> = sqlx::query_as(
        "SELECT l.run_id, f.definition, l.name FROM flow_files l \
         JOIN flow_definitions f ON f.name = l.flow \
         WHERE l.hidden = $1 AND l.state = 'landing'",
    )
    .bind(hidden.as_str().to_owned())
    .fetch_optional(conn)
    .await?;
    row.map(|(run, definition, name)| {
        Ok(LandingRun {
            run: FlowRunId(run),
            definition: definition_of(&definition)?,
            name,
        })
    })
    .transpose()
}
