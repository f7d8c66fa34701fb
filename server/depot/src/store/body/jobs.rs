//! What jobs did last.

use layover_retention::Timestamp;

use super::{Conn, StoreError};
use crate::account::JobRun;

pub(crate) async fn note_job(conn: &mut Conn, name: &str, run: &JobRun) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO jobs (name, last_run_us, next_due_us, report) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (name) DO UPDATE SET last_run_us = EXCLUDED.last_run_us, \
         next_due_us = EXCLUDED.next_due_us, report = EXCLUDED.report",
    )
    .bind(name.to_owned())
    .bind(run.at.as_micros())
    .bind(run.next_due_at.map(Timestamp::as_micros))
    .bind(run.report.to_string())
    .execute(conn)
    .await?;
    Ok(())
}

pub(crate) async fn last_run(conn: &mut Conn, name: &str) -> Result<Option<JobRun>, StoreError> {
    let row: Option<(i64, Option<i64>, String)> =
        sqlx::query_as("SELECT last_run_us, next_due_us, report FROM jobs WHERE name = $1")
            .bind(name.to_owned())
            .fetch_optional(conn)
            .await?;
    Ok(row.map(|(at, next, report)| run_of(at, next, &report)))
}

/// What each node that was heard of after `silent_before` has told since its start under
/// `job` and its own name.
pub(crate) async fn told_by_nodes(
    conn: &mut Conn,
    job: &str,
    silent_before: Timestamp,
) -> Result<Vec<(String, JobRun)>, StoreError> {
    let rows: Vec<(String, i64, Option<i64>, String)> = sqlx::query_as(
        "SELECT n.id, j.last_run_us, j.next_due_us, j.report FROM nodes n \
         JOIN jobs j ON j.name = CAST($1 AS TEXT) || n.id \
         WHERE n.heartbeat_at_us >= $2 AND j.last_run_us >= n.started_at_us ORDER BY n.id",
    )
    .bind(job.to_owned())
    .bind(silent_before.as_micros())
    .fetch_all(conn)
    .await?;
    let told = rows.into_iter();
    Ok(told
        .map(|(node, at, next, report)| (node, run_of(at, next, &report)))
        .collect())
}

fn run_of(at: i64, next: Option<i64>, report: &str) -> JobRun {
    JobRun {
        at: Timestamp::from_micros(at),
        next_due_at: next.map(Timestamp::from_micros),
        report: serde_json::from_str(report).unwrap_or(serde_json::Value::Null),
    }
}

/// As if the job had never run.
pub(crate) async fn forget_job(conn: &mut Conn, name: &str) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM jobs WHERE name = $1")
        .bind(name.to_owned())
        .execute(conn)
        .await?;
    Ok(())
}
