//! Flows at work: schedules and runs. What a run finds and moves is in `flow_files.rs`.
//!
//! A node that has lost a run's lease writes nothing of it any more: whatever a run
//! writes asks for its token in the same statement.

use std::collections::HashMap;

use layover_retention::Timestamp;

use super::files::bigint;
use super::sessions::note_change;
use super::{Conn, Step, StoreError, expiry, journal};
use crate::flow::{
    Census, ClaimedRun, FlowRun, FlowRunId, FlowStanding, RunPlan, RunReport, RunState, RunTaker,
    RunToken,
};
use crate::integration::FlowDefinition;
use crate::journal::NewEntry;
use crate::store::{FlowWrite, RunEnd};
use crate::timer::Stopwatch;
use crate::{EntityId, FlowName, HomeId, NodeId, VirtualPath};

pub(super) fn broken(table: &'static str, what: &'static str) -> StoreError {
    StoreError::Corrupt { table, id: 0, what }
}

pub(super) fn definition_of(text: &str) -> Result<FlowDefinition, StoreError> {
    FlowDefinition::from_json(text).ok_or_else(|| broken("flow_definitions", "definition"))
}

/// A flow becomes what the operator says; its schedule is planned anew, from `now` on.
pub(super) async fn write_flow(
    conn: &mut Conn,
    write: &FlowWrite,
    now: Timestamp,
) -> Result<(), StoreError> {
    let flow = &write.flow;
    sqlx::query(
        "INSERT INTO flow_definitions (name, definition, set_at_us, partner, plan_from_us) \
         VALUES ($1, $2, $3, $4, $3) ON CONFLICT (name) DO UPDATE SET \
         definition = EXCLUDED.definition, set_at_us = EXCLUDED.set_at_us, \
         partner = EXCLUDED.partner, plan_from_us = EXCLUDED.plan_from_us, \
         next_due_us = NULL, version = flow_definitions.version + 1",
    )
    .bind(flow.name.to_string())
    .bind(flow.to_json())
    .bind(now.as_micros())
    .bind(flow.partner.to_string())
    .execute(&mut *conn)
    .await?;
    if !flow.enabled {
        skip_due(conn, &flow.name, now).await?;
    }
    if set_arrival(conn, &flow.name, write.arrival.as_ref()).await? {
        // What arrived before anybody was told of it.
        sqlx::query(
            "INSERT INTO flow_runs (flow, cause, scheduled_for_us, not_before_us, state) \
             VALUES ($1, 'arrival', $2, $2, 'due') \
             ON CONFLICT (flow, cause) WHERE state = 'due' AND cause IN ('arrival', 'retry') \
             DO UPDATE SET not_before_us = CASE \
             WHEN EXCLUDED.not_before_us < flow_runs.not_before_us \
             THEN EXCLUDED.not_before_us ELSE flow_runs.not_before_us END",
        )
        .bind(flow.name.to_string())
        .bind(now.as_micros())
        .execute(&mut *conn)
        .await?;
    }
    note_change(conn, &write.entry).await
}

/// What was due of a flow that is disabled is not done later.
async fn skip_due(conn: &mut Conn, flow: &FlowName, now: Timestamp) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE flow_runs SET state = 'skipped', ended_at_us = $2 \
         WHERE flow = $1 AND state = 'due' AND cause <> 'manual'",
    )
    .bind(flow.to_string())
    .bind(now.as_micros())
    .execute(conn)
    .await?;
    Ok(())
}

/// The folder in which a flow is told of arrivals; none: nowhere. Says whether it is told
/// of arrivals in a folder in which it was not told of them before.
async fn set_arrival(
    conn: &mut Conn,
    flow: &FlowName,
    folder: Option<&(HomeId, VirtualPath)>,
) -> Result<bool, StoreError> {
    let rows: Vec<(i64, Vec<u8>)> = sqlx::query_as(
        "SELECT home_id, folder FROM flow_arrivals WHERE flow = $1 ORDER BY home_id",
    )
    .bind(flow.to_string())
    .fetch_all(&mut *conn)
    .await?;
    let wanted: Vec<_> = folder
        .map(|(home, folder)| (home.0, folder.as_bytes().to_vec()))
        .into_iter()
        .collect();
    if rows == wanted {
        return Ok(false);
    }
    let is_told = !wanted.is_empty();
    let mut homes: Vec<_> = rows.iter().chain(&wanted).map(|(home, _)| *home).collect();
    homes.sort_unstable();
    homes.dedup();
    for home in homes {
        expiry::begin_change_of_rules(conn, HomeId(home)).await?;
    }
    sqlx::query("DELETE FROM flow_arrivals WHERE flow = $1")
        .bind(flow.to_string())
        .execute(&mut *conn)
        .await?;
    for (home, folder) in wanted {
        sqlx::query("INSERT INTO flow_arrivals (home_id, folder, flow) VALUES ($1, $2, $3)")
            .bind(home)
            .bind(folder)
            .bind(flow.to_string())
            .execute(&mut *conn)
            .await?;
    }
    Ok(is_told)
}

/// Everything that is remembered of a flow goes with it: another of its name begins
/// with nothing.
pub(super) async fn forget_flow(conn: &mut Conn, flow: &FlowName) -> Result<bool, StoreError> {
    set_arrival(conn, flow, None).await?;
    for statement in [
        "DELETE FROM flow_files WHERE flow = $1",
        "DELETE FROM flow_keys WHERE flow = $1",
        "DELETE FROM flow_runs WHERE flow = $1",
    ] {
        sqlx::query(statement)
            .bind(flow.to_string())
            .execute(&mut *conn)
            .await?;
    }
    let done = sqlx::query("DELETE FROM flow_definitions WHERE name = $1")
        .bind(flow.to_string())
        .execute(conn)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// `None` when there is no such flow.
pub(crate) async fn remove_flow(
    conn: &mut Conn,
    flow: &FlowName,
    entry: &NewEntry,
) -> Result<Option<()>, StoreError> {
    if !forget_flow(conn, flow).await? {
        return Ok(None);
    }
    note_change(conn, entry).await?;
    Ok(Some(()))
}

/// The zone of an entity's days and schedules; schedules that go by it are planned anew.
pub(crate) async fn set_entity_zone(
    conn: &mut Conn,
    entity: EntityId,
    zone: Option<&str>,
    now: Timestamp,
    entry: &NewEntry,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE entities SET time_zone = $2 WHERE id = $1")
        .bind(entity.0)
        .bind(zone.map(str::to_owned))
        .execute(&mut *conn)
        .await?;
    sqlx::query(
        "UPDATE flow_definitions SET plan_from_us = $2 WHERE partner IN \
         (SELECT name FROM integrations WHERE entity_id = $1 AND removed_at_us IS NULL)",
    )
    .bind(entity.0)
    .bind(now.as_micros())
    .execute(&mut *conn)
    .await?;
    super::expectations::replan(conn, entity, now).await?;
    note_change(conn, entry).await
}

type StandingColumns = (
    String,
    i64,
    Option<i64>,
    Option<i64>,
    Option<i64>,
    Option<String>,
);

/// In the order of [`StandingColumns`]; a condition on `f` and an order go behind it.
macro_rules! standings_where {
    ($rest:literal) => {
        concat!(
            "SELECT f.definition, f.version, f.plan_from_us, f.next_due_us, ",
            "(SELECT r.not_before_us FROM flow_runs r ",
            "WHERE r.flow = f.name AND r.state = 'due' AND r.cause = 'retry'), e.time_zone ",
            "FROM flow_definitions f ",
            "LEFT JOIN integrations i ON i.name = f.partner AND i.removed_at_us IS NULL ",
            "LEFT JOIN entities e ON e.id = i.entity_id ",
            $rest
        )
    };
}

fn standing(columns: StandingColumns) -> Result<FlowStanding, StoreError> {
    let (definition, version, plan_from, next_due, next_retry, entity_zone) = columns;
    Ok(FlowStanding {
        definition: definition_of(&definition)?,
        version,
        plan_from: plan_from.map(Timestamp::from_micros),
        next_due: next_due.map(Timestamp::from_micros),
        next_retry: next_retry.map(Timestamp::from_micros),
        entity_zone,
    })
}

/// The flow of this name, or all there are; by name.
pub(crate) async fn flows(
    conn: &mut Conn,
    name: Option<&FlowName>,
) -> Result<Vec<FlowStanding>, StoreError> {
    let rows: Vec<StandingColumns> = sqlx::query_as(standings_where!(
        "WHERE $1 = '' OR f.name = $1 ORDER BY f.name"
    ))
    .bind(name.map_or_else(String::new, ToString::to_string))
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(standing).collect()
}

/// Flows whose schedule is due at `now`, or is to be planned.
pub(crate) async fn flows_to_plan(
    conn: &mut Conn,
    now: Timestamp,
    limit: usize,
) -> Result<Vec<FlowStanding>, StoreError> {
    let rows: Vec<StandingColumns> = sqlx::query_as(standings_where!(
        "WHERE f.plan_from_us IS NOT NULL OR f.next_due_us <= $1 OR f.partner IS NULL \
         ORDER BY f.name LIMIT $2"
    ))
    .bind(now.as_micros())
    .bind(bigint(limit as u64))
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(standing).collect()
}

/// Puts schedules forward, and what is due beside them. Returns how many fired; who
/// looked at a flow that somebody else has put forward since does nothing.
pub(crate) async fn plan_runs(conn: &mut Conn, plans: &[RunPlan]) -> Result<u64, StoreError> {
    let mut fired = 0;
    for plan in plans {
        let done = sqlx::query(
            "UPDATE flow_definitions SET next_due_us = $4, plan_from_us = NULL, partner = $5 \
             WHERE name = $1 AND version = $2 AND COALESCE(next_due_us, 0) = $3",
        )
        .bind(plan.flow.to_string())
        .bind(plan.version)
        .bind(plan.was_due.map_or(0, Timestamp::as_micros))
        .bind(plan.next_due.map(Timestamp::as_micros))
        .bind(plan.partner.clone())
        .execute(&mut *conn)
        .await?;
        let (1, Some(fire)) = (done.rows_affected(), plan.fire) else {
            continue;
        };
        fired += sqlx::query(
            "INSERT INTO flow_runs (flow, cause, scheduled_for_us, not_before_us, state) \
             VALUES ($1, 'schedule', $2, $3, 'due') ON CONFLICT DO NOTHING",
        )
        .bind(plan.flow.to_string())
        .bind(fire.as_micros())
        .bind(plan.now.as_micros())
        .execute(&mut *conn)
        .await?
        .rows_affected();
    }
    Ok(fired)
}

/// A file took a name in a folder: flows that are told of arrivals there are due. A run
/// that waits already is locked, so that nobody begins it before the file is there.
pub(super) fn arrival_step(home: HomeId, folder: &VirtualPath, now: Timestamp) -> Step {
    Step::new(
        "INSERT INTO flow_runs (flow, cause, scheduled_for_us, not_before_us, state) \
         SELECT a.flow, 'arrival', $3, $3, 'due' FROM flow_arrivals a \
         WHERE a.home_id = $1 AND a.folder = $2 ORDER BY a.flow \
         ON CONFLICT (flow, cause) WHERE state = 'due' AND cause IN ('arrival', 'retry') \
         DO UPDATE SET not_before_us = CASE \
         WHEN EXCLUDED.not_before_us < flow_runs.not_before_us \
         THEN EXCLUDED.not_before_us ELSE flow_runs.not_before_us END",
        [
            home.0.into(),
            folder.as_bytes().to_vec().into(),
            now.as_micros().into(),
        ],
    )
}

/// Folders of a home in which flows are told of arrivals.
pub(super) async fn arrival_folders(
    conn: &mut Conn,
    home: HomeId,
) -> Result<Vec<VirtualPath>, StoreError> {
    let rows: Vec<(Vec<u8>,)> = sqlx::query_as(
        "SELECT DISTINCT folder FROM flow_arrivals WHERE home_id = $1 ORDER BY folder",
    )
    .bind(home.0)
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|(folder,)| VirtualPath::parse(&folder).map_err(|_| broken("flow_arrivals", "folder")))
        .collect()
}

/// An operator asks for a run; `None` when there is no such flow.
pub(crate) async fn ask_run(
    conn: &mut Conn,
    flow: &FlowName,
    by: &str,
    now: Timestamp,
    entry: &NewEntry,
) -> Result<Option<FlowRunId>, StoreError> {
    let row: Option<(i64,)> = sqlx::query_as(
        "INSERT INTO flow_runs (flow, cause, scheduled_for_us, not_before_us, state, asked_by) \
         SELECT f.name, 'manual', $2, $2, 'due', $3 FROM flow_definitions f WHERE f.name = $1 \
         RETURNING id",
    )
    .bind(flow.to_string())
    .bind(now.as_micros())
    .bind(by.to_owned())
    .fetch_optional(&mut *conn)
    .await?;
    let Some((id,)) = row else { return Ok(None) };
    journal::append(conn, entry).await?;
    Ok(Some(FlowRunId(id)))
}

type ClaimColumns = (
    i64,
    String,
    String,
    i64,
    String,
    Option<String>,
    Option<String>,
    String,
    i64,
    Option<i64>,
    Option<String>,
);

/// How many runs of each integration a node is about.
async fn held_runs(
    conn: &mut Conn,
    taker: &RunTaker,
) -> Result<HashMap<String, usize>, StoreError> {
    let rows: Vec<(String, i64)> = sqlx::query_as(
        "SELECT f.partner, COUNT(*) FROM flow_runs r JOIN flow_definitions f ON f.name = r.flow \
         WHERE r.state = 'running' AND r.node_id = $1 AND r.lease_until_us > $2 \
         AND f.partner IS NOT NULL GROUP BY f.partner",
    )
    .bind(taker.node.as_str().to_owned())
    .bind(taker.now.as_micros())
    .fetch_all(conn)
    .await?;
    let held = rows.into_iter();
    Ok(held
        .map(|(partner, runs)| (partner, usize::try_from(runs).unwrap_or(usize::MAX)))
        .collect())
}

/// Takes runs that are due, and those whose lease is over; of each flow one, and none
/// of a flow that runs. Of one integration a node takes its share.
pub(crate) async fn claim_runs(
    conn: &mut Conn,
    taker: &RunTaker,
) -> Result<Vec<ClaimedRun>, StoreError> {
    // A clock that was ahead gave it: whoever has the run says so within a lease.
    sqlx::query(
        "UPDATE flow_runs SET lease_until_us = $1 WHERE state = 'running' AND lease_until_us > $2",
    )
    .bind(taker.lease_until.as_micros())
    .bind(taker.latest_lease.as_micros())
    .execute(&mut *conn)
    .await?;
    let share = taker.slots.of_one_integration();
    let mut held = held_runs(conn, taker).await?;
    // The row of the flow is the lock between nodes; who has it sees below, in a
    // statement of its own, what others did before. What is due is due, whatever the clock
    // said then; what is tried again waits, for as long as anything may.
    let rows: Vec<ClaimColumns> = sqlx::query_as(skip_locked!(
        "SELECT r.id, r.flow, r.cause, r.scheduled_for_us, f.definition, e.name, e.time_zone, \
         r.state, f.census, f.census_at_us, f.partner FROM flow_runs r JOIN flow_definitions f ON f.name = r.flow \
         LEFT JOIN integrations i ON i.name = f.partner AND i.removed_at_us IS NULL \
         LEFT JOIN entities e ON e.id = i.entity_id \
         WHERE COALESCE(f.partner, '') NOT IN (SELECT q.partner FROM flow_runs h \
         JOIN flow_definitions q ON q.name = h.flow WHERE h.state = 'running' AND h.node_id = $4 \
         AND h.lease_until_us > $1 AND q.partner IS NOT NULL \
         GROUP BY q.partner HAVING COUNT(*) >= $5) \
         AND ((r.state = 'due' AND (r.cause <> 'retry' OR r.not_before_us <= $1 \
         OR r.not_before_us > $3) AND NOT EXISTS \
         (SELECT 1 FROM flow_runs o WHERE o.flow = r.flow AND o.state = 'running')) \
         OR (r.state = 'running' AND r.lease_until_us <= $1)) \
         ORDER BY r.not_before_us, r.id LIMIT $2",
        "f"
    ))
    .bind(taker.now.as_micros())
    .bind(bigint(taker.slots.free as u64))
    .bind(taker.latest_retry.as_micros())
    .bind(taker.node.as_str().to_owned())
    .bind(bigint(share as u64))
    .fetch_all(&mut *conn)
    .await?;
    let mut claimed = Vec::new();
    for columns in rows {
        let (id, flow, cause, scheduled_for, definition, entity, zone, state, census, at, partner) =
            columns;
        let held = held.entry(partner.unwrap_or_default()).or_default();
        if *held >= share {
            continue;
        }
        let row: Option<(i64,)> = sqlx::query_as(
            "UPDATE flow_runs SET state = 'running', token = token + 1, node_id = $2, \
             lease_until_us = $3, started_at_us = COALESCE(started_at_us, $4) WHERE id = $1 \
             AND ((state = 'due' AND NOT EXISTS (SELECT 1 FROM flow_runs o \
             WHERE o.flow = $5 AND o.state = 'running')) \
             OR (state = 'running' AND lease_until_us <= $4)) RETURNING token",
        )
        .bind(id)
        .bind(taker.node.as_str().to_owned())
        .bind(taker.lease_until.as_micros())
        .bind(taker.now.as_micros())
        .bind(flow)
        .fetch_optional(&mut *conn)
        .await?;
        let Some((token,)) = row else { continue };
        *held += 1;
        claimed.push(ClaimedRun {
            id: FlowRunId(id),
            token,
            definition: definition_of(&definition)?,
            entity,
            entity_zone: zone,
            cause: cause.parse().map_err(|_| broken("flow_runs", "cause"))?,
            scheduled_for: Timestamp::from_micros(scheduled_for),
            taken_over: state == RunState::Running.as_str(),
            census: Census {
                number: census,
                at: at.map(Timestamp::from_micros),
            },
            running: Stopwatch::start(),
        });
    }
    Ok(claimed)
}

/// The lease goes on; false when somebody else has the run.
pub(crate) async fn renew_run(
    conn: &mut Conn,
    held: RunToken,
    lease_until: Timestamp,
) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "UPDATE flow_runs SET lease_until_us = $3 \
         WHERE id = $1 AND token = $2 AND state = 'running'",
    )
    .bind(held.run.0)
    .bind(held.token)
    .bind(lease_until.as_micros())
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Lets go of the runs of a node whose process before this one died: they are taken at
/// once. Returns how many there were.
pub(crate) async fn release_runs(
    conn: &mut Conn,
    node: &NodeId,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let done = sqlx::query(
        "UPDATE flow_runs SET lease_until_us = $2 WHERE node_id = $1 AND state = 'running' \
         AND lease_until_us > $2",
    )
    .bind(node.as_str().to_owned())
    .bind(now.as_micros())
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// A run is over; `None` when somebody else has it. What is to be tried again is due as
/// a run of its own.
pub(crate) async fn end_run(
    conn: &mut Conn,
    held: RunToken,
    end: &RunEnd,
) -> Result<Option<()>, StoreError> {
    let report = serde_json::to_string(&end.report).unwrap_or_default();
    let row: Option<(String,)> = sqlx::query_as(
        "UPDATE flow_runs SET state = $3, ended_at_us = $4, report = $5, lease_until_us = NULL \
         WHERE id = $1 AND token = $2 AND state = 'running' RETURNING flow",
    )
    .bind(held.run.0)
    .bind(held.token)
    .bind(end.state.as_str())
    .bind(end.now.as_micros())
    .bind(report)
    .fetch_optional(&mut *conn)
    .await?;
    let Some((flow,)) = row else { return Ok(None) };
    if let Some(again) = end.again_at {
        sqlx::query(
            "INSERT INTO flow_runs (flow, cause, scheduled_for_us, not_before_us, state) \
             VALUES ($1, 'retry', $2, $3, 'due') \
             ON CONFLICT (flow, cause) WHERE state = 'due' AND cause IN ('arrival', 'retry') \
             DO UPDATE SET not_before_us = CASE \
             WHEN EXCLUDED.not_before_us < flow_runs.not_before_us \
             THEN EXCLUDED.not_before_us ELSE flow_runs.not_before_us END",
        )
        .bind(flow)
        .bind(end.now.as_micros())
        .bind(again.as_micros())
        .execute(&mut *conn)
        .await?;
    }
    journal::append(conn, &end.entry).await?;
    Ok(Some(()))
}

type RunColumns = (
    i64,
    String,
    String,
    i64,
    String,
    Option<String>,
    Option<i64>,
    Option<i64>,
    Option<String>,
    Option<String>,
);

fn run_of(columns: RunColumns) -> Result<FlowRun, StoreError> {
    let (id, flow, cause, scheduled_for, state, node, started, ended, asked_by, report) = columns;
    let report: Option<RunReport> = match report {
        Some(text) => Some(serde_json::from_str(&text).map_err(|_| broken("flow_runs", "report"))?),
        None => None,
    };
    Ok(FlowRun {
        id: FlowRunId(id),
        flow: flow.parse().map_err(|_| broken("flow_runs", "flow"))?,
        cause: cause.parse().map_err(|_| broken("flow_runs", "cause"))?,
        scheduled_for: Timestamp::from_micros(scheduled_for),
        state: state.parse().map_err(|_| broken("flow_runs", "state"))?,
        node,
        started_at: started.map(Timestamp::from_micros),
        ended_at: ended.map(Timestamp::from_micros),
        asked_by,
        report,
    })
}

/// Runs of a flow, the newest first.
pub(crate) async fn run_history(
    conn: &mut Conn,
    flow: &FlowName,
    before: Option<FlowRunId>,
    limit: usize,
) -> Result<Vec<FlowRun>, StoreError> {
    let rows: Vec<RunColumns> = sqlx::query_as(
        "SELECT id, flow, cause, scheduled_for_us, state, node_id, started_at_us, ended_at_us, \
         asked_by, report FROM flow_runs WHERE flow = $1 AND id < $2 ORDER BY id DESC LIMIT $3",
    )
    .bind(flow.to_string())
    .bind(before.map_or(i64::MAX, |run| run.0))
    .bind(bigint(limit as u64))
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(run_of).collect()
}

/// A run; `None` when it is not, or no longer, there.
pub(crate) async fn flow_run(
    conn: &mut Conn,
    run: FlowRunId,
) -> Result<Option<FlowRun>, StoreError> {
    let row: Option<RunColumns> = sqlx::query_as(
        "SELECT id, flow, cause, scheduled_for_us, state, node_id, started_at_us, ended_at_us, \
         asked_by, report FROM flow_runs WHERE id = $1",
    )
    .bind(run.0)
    .fetch_optional(conn)
    .await?;
    row.map(run_of).transpose()
}

/// Forgets runs that ended before this moment, and their files. Keys stay. Returns how
/// many runs went.
pub(crate) async fn prune_runs(
    conn: &mut Conn,
    before: Timestamp,
    limit: usize,
) -> Result<u64, StoreError> {
    let runs: Vec<(i64,)> = sqlx::query_as(
        "DELETE FROM flow_runs WHERE id IN (SELECT id FROM flow_runs \
         WHERE state IN ('done', 'failed', 'skipped') AND ended_at_us < $1 ORDER BY id LIMIT $2) \
         RETURNING id",
    )
    .bind(before.as_micros())
    .bind(bigint(limit as u64))
    .fetch_all(&mut *conn)
    .await?;
    let ids = || runs.iter().map(|(id,)| *id);
    if let (Some(first), Some(last)) = (ids().min(), ids().max()) {
        // Whichever of them have no run any more: another node may prune at the same time.
        sqlx::query(
            "DELETE FROM flow_files WHERE run_id >= $1 AND run_id <= $2 \
             AND (state IN ('dead', 'gone') OR (state = 'done' AND after_done = 1)) \
             AND NOT EXISTS (SELECT 1 FROM flow_runs r WHERE r.id = flow_files.run_id)",
        )
        .bind(first)
        .bind(last)
        .execute(&mut *conn)
        .await?;
    }
    Ok(runs.len() as u64)
}
