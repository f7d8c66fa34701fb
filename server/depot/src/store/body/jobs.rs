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
    Ok(row.map(|(at, next, report)| JobRun {
        at: Timestamp::from_micros(at),
        next_due_at: next.map(Timestamp::from_micros),
        report: serde_json::from_str(&report).unwrap_or(serde_json::Value::Null),
    }))
}

/// As if the job had never run.
pub(crate) async fn forget_job(conn: &mut Conn, name: &str) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM jobs WHERE name = $1")
        .bind(name.to_owned())
        .execute(conn)
        .await?;
    Ok(())
}
