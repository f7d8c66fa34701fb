//! What operators look at: stored files, and how retention is doing.

use std::collections::HashMap;

use layover_retention::{PolicySource, Timestamp};

use super::{Conn, StoreError, files, jobs, statistics};
use crate::account::{AccountUse, RetentionStatus, StoredFile};
use crate::figures::{ExpectationFigures, FlowFigures, LedgerFigures, MAX_COUNTED_FLOWS};
use crate::ledger::FileState;
use crate::{AccountId, FileId, HomeId, VirtualPath};

/// The sweep's row among the jobs.
const SWEEP: &str = "sweep";

/// The row of the job that compares the tree with the ledger.
const RECONCILE: &str = "adopt";

type ViewColumns = (
    i64,
    Vec<u8>,
    Vec<u8>,
    String,
    i64,
    Option<Vec<u8>>,
    Option<i64>,
    Option<i64>,
    Option<String>,
    Option<i64>,
    Option<String>,
    i64,
    Option<String>,
    Option<i64>,
);

/// Files at or below a path, unfinished ones too, with an id above `after`.
pub(crate) async fn list_files(
    conn: &mut Conn,
    home: HomeId,
    below: &VirtualPath,
    after: FileId,
    limit: usize,
) -> Result<Vec<StoredFile>, StoreError> {
    let (first, last) = files::below(below);
    let rows: Vec<ViewColumns> = sqlx::query_as(
        "SELECT f.id, f.dir, f.name, f.state, f.size_bytes, f.sha256, f.arrived_at_us, \
         f.expires_at_us, u.name, f.collected_at_us, c.name, f.touched_at_us, f.rule, \
         f.held_until_us \
         FROM files f LEFT JOIN accounts u ON u.id = f.uploaded_by \
         LEFT JOIN accounts c ON c.id = f.collected_by \
         WHERE f.home_id = $1 AND f.id > $2 AND f.state <> 'ended' \
         AND (f.dir = $3 OR (f.dir >= $4 AND f.dir < $5) OR (f.dir = $6 AND f.name = $7)) \
         ORDER BY f.id LIMIT $8",
    )
    .bind(home.0)
    .bind(after.0)
    .bind(below.as_bytes().to_vec())
    .bind(first)
    .bind(last)
    .bind(below.dir().as_bytes().to_vec())
    .bind(below.name().unwrap_or_default().to_vec())
    .bind(i64::try_from(limit).unwrap_or(i64::MAX))
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(stored_file).collect()
}

fn stored_file(columns: ViewColumns) -> Result<StoredFile, StoreError> {
    let (
        id,
        dir,
        name,
        state,
        size,
        sha256,
        arrived,
        expires,
        by,
        collected,
        collected_by,
        touched,
        rule,
        held_until,
    ) = columns;
    let broken = |what| StoreError::Corrupt {
        table: "files",
        id,
        what,
    };
    let account = |name: Option<String>| {
        name.map(|name| name.parse().map_err(|_| broken("account")))
            .transpose()
    };
    Ok(StoredFile {
        id: FileId(id),
        path: VirtualPath::parse(&dir)
            .and_then(|dir| dir.join(&name))
            .map_err(|_| broken("dir and name"))?,
        size_bytes: u64::try_from(size).map_err(|_| broken("size_bytes"))?,
        state: FileState::parse(&state).ok_or_else(|| broken("state"))?,
        sha256: sha256.map(hex::encode),
        arrived_at: arrived.map(Timestamp::from_micros),
        expires_at: expires.map(Timestamp::from_micros),
        uploaded_by: account(by)?,
        collected_at: collected.map(Timestamp::from_micros),
        collected_by: account(collected_by)?,
        rule: rule
            .map(|word| PolicySource::parse(&word).ok_or_else(|| broken("rule")))
            .transpose()?,
        held_until: held_until.map(Timestamp::from_micros),
        touched_at: Timestamp::from_micros(touched),
    })
}

/// When each account that is there logged in last, as far as the journal knows,
/// and what its home holds as the quota counts it.
pub(crate) async fn account_use(
    conn: &mut Conn,
) -> Result<HashMap<AccountId, AccountUse>, StoreError> {
    let rows: Vec<(i64, Option<i64>, i64, i64)> = sqlx::query_as(
        "SELECT a.id, (SELECT MAX(j.at_us) FROM journal j WHERE j.account = a.name \
         AND j.action = 'login' AND j.outcome = 'ok' AND j.at_us >= a.created_at_us), \
         h.used_bytes, CAST(COALESCE((SELECT SUM(f.size_bytes) FROM files f \
         WHERE f.home_id = h.id AND f.state IN ('partial', 'waiting')), 0) AS BIGINT) \
         FROM accounts a JOIN homes h ON h.id = a.home_id WHERE a.removed_at_us IS NULL",
    )
    .fetch_all(conn)
    .await?;
    let bytes = |number: i64| u64::try_from(number).unwrap_or(0);
    Ok(rows
        .into_iter()
        .map(|(id, last_login, used, hidden)| {
            let account_use = AccountUse {
                last_login_at: last_login.map(Timestamp::from_micros),
                used_bytes: bytes(used).saturating_add(bytes(hidden)),
            };
            (AccountId(id), account_use)
        })
        .collect())
}

/// Figures for metrics. Of `files` nothing is read but what an index holds: the first
/// entry of one, or the few that are in another.
pub(crate) async fn ledger_figures(
    conn: &mut Conn,
    now: Timestamp,
) -> Result<LedgerFigures, StoreError> {
    let count = |number: i64| u64::try_from(number).unwrap_or(0);
    let (stored_bytes, first, held, failing, partial, unhashed, unsealed): (
        i64,
        Option<i64>,
        i64,
        i64,
        i64,
        i64,
        i64,
    ) = sqlx::query_as(
        "SELECT (SELECT CAST(COALESCE(SUM(used_bytes), 0) AS BIGINT) FROM homes), \
         (SELECT MIN(expires_at_us) FROM files WHERE state = 'stored'), \
         (SELECT COUNT(*) FROM files WHERE id IN (SELECT file_id FROM held_files) \
         AND state = 'stored' AND held_until_us > $1), \
         (SELECT COUNT(*) FROM removal_failures), \
         (SELECT COUNT(*) FROM files WHERE state IN ('partial', 'waiting')), \
         (SELECT COUNT(*) FROM files WHERE state = 'stored' AND sha256 IS NULL), \
         COALESCE((SELECT MAX(id) FROM journal), 0) \
         - COALESCE((SELECT last_id FROM chain_heads WHERE chain = 'journal'), 0)",
    )
    .bind(now.as_micros())
    .fetch_one(&mut *conn)
    .await?;
    let (due,): (i64,) =
        sqlx::query_as("SELECT COUNT(*) FROM files WHERE state = 'stored' AND expires_at_us <= $1")
            .bind(now.as_micros())
            .fetch_one(&mut *conn)
            .await?;
    let (runs_due, runs_running, deliveries_due, deliveries_dead): (i64, i64, i64, i64) =
        sqlx::query_as(
            "SELECT (SELECT COUNT(*) FROM flow_runs WHERE state = 'due'), \
             (SELECT COUNT(*) FROM flow_runs WHERE state = 'running'), \
             (SELECT COUNT(*) FROM deliveries WHERE state = 'due'), \
             (SELECT COUNT(*) FROM deliveries WHERE state = 'dead')",
        )
        .fetch_one(&mut *conn)
        .await?;
    let (placed, unplaced) = statistics::uncounted(conn).await?;
    Ok(LedgerFigures {
        stored_bytes: count(stored_bytes),
        first_expiry: first.map(Timestamp::from_micros),
        due_files: count(due),
        held_files: count(held),
        failing_files: count(failing),
        partial_uploads: count(partial),
        unhashed_files: count(unhashed),
        unsealed_entries: count(unsealed),
        uncounted_entries: placed.saturating_add(unplaced),
        flow_runs_due: count(runs_due),
        flow_runs_running: count(runs_running),
        deliveries_due: count(deliveries_due),
        deliveries_dead: count(deliveries_dead),
        flows: flow_figures(conn).await?,
        expectations: expectation_figures(conn).await?,
        last_sweep: jobs::last_run(conn, SWEEP).await?,
    })
}

/// How the last runs of the first flows went.
async fn flow_figures(conn: &mut Conn) -> Result<Vec<FlowFigures>, StoreError> {
    type Row = (
        String,
        Option<String>,
        Option<i64>,
        Option<i64>,
        Option<i64>,
    );
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT f.name, r.state, r.started_at_us, r.ended_at_us, (SELECT s.ended_at_us \
         FROM flow_runs s WHERE s.flow = f.name AND s.state = 'done' ORDER BY s.id DESC LIMIT 1) \
         FROM flow_definitions f LEFT JOIN flow_runs r ON r.id = (SELECT e.id FROM flow_runs e \
         WHERE e.flow = f.name AND e.state IN ('done', 'failed') ORDER BY e.id DESC LIMIT 1) \
         ORDER BY f.name LIMIT $1",
    )
    .bind(i64::try_from(MAX_COUNTED_FLOWS).unwrap_or(i64::MAX))
    .fetch_all(conn)
    .await?;
    let at = |us: Option<i64>| us.map(Timestamp::from_micros);
    let figures = rows
        .into_iter()
        .map(|(flow, state, started, ended, success)| FlowFigures {
            flow,
            last_ok: state.map(|state| state == "done"),
            last_duration: at(ended)
                .zip(at(started))
                .map(|(ended, started)| ended.duration_since(started)),
            last_success: at(success),
        });
    Ok(figures.collect())
}

/// How the last days of expectations ended, those that nobody looks at left out.
async fn expectation_figures(conn: &mut Conn) -> Result<ExpectationFigures, StoreError> {
    let rows: Vec<(String, Option<String>, i64)> = sqlx::query_as(
        "SELECT d.state, d.fault, COUNT(*) FROM expectations x JOIN expectation_days d \
         ON d.expectation = x.name AND d.day = (SELECT MAX(l.day) FROM expectation_days l \
         WHERE l.expectation = x.name) WHERE x.next_due_us IS NOT NULL GROUP BY d.state, d.fault",
    )
    .fetch_all(conn)
    .await?;
    let mut figures = ExpectationFigures::default();
    for (state, fault, count) in rows {
        let count = u64::try_from(count).unwrap_or(0);
        let of = match (state.as_str(), fault.and_then(|fault| fault.parse().ok())) {
            ("waiting", _) => &mut figures.waiting,
            (_, None) => &mut figures.as_expected,
            (_, Some(fault)) => figures.faults.entry(fault).or_default(),
        };
        *of = of.saturating_add(count);
    }
    Ok(figures)
}

/// Stored files, counted in the index of expiries.
pub(crate) async fn count_stored(conn: &mut Conn) -> Result<u64, StoreError> {
    let (files,): (i64,) = sqlx::query_as("SELECT COUNT(*) FROM files WHERE state = 'stored'")
        .fetch_one(conn)
        .await?;
    Ok(u64::try_from(files).unwrap_or(0))
}

/// Sums over the ledger, and what the sweep did last.
pub(crate) async fn retention_status(
    conn: &mut Conn,
    now: Timestamp,
) -> Result<RetentionStatus, StoreError> {
    let (files, bytes): (i64, i64) = sqlx::query_as(
        "SELECT COUNT(*), CAST(COALESCE(SUM(size_bytes), 0) AS BIGINT) FROM files \
         WHERE state = 'stored'",
    )
    .fetch_one(&mut *conn)
    .await?;
    let (due, oldest): (i64, Option<i64>) = sqlx::query_as(
        "SELECT COUNT(*), MIN(expires_at_us) FROM files \
         WHERE state = 'stored' AND expires_at_us <= $1",
    )
    .bind(now.as_micros())
    .fetch_one(&mut *conn)
    .await?;
    let (next,): (Option<i64>,) = sqlx::query_as(
        "SELECT MIN(expires_at_us) FROM files WHERE state = 'stored' AND expires_at_us > $1",
    )
    .bind(now.as_micros())
    .fetch_one(&mut *conn)
    .await?;
    let (missing,): (i64,) =
        sqlx::query_as("SELECT COUNT(*) FROM files WHERE ended_by = 'missing'")
            .fetch_one(&mut *conn)
            .await?;
    let (held, held_bytes, hold_end): (i64, i64, Option<i64>) = sqlx::query_as(
        "SELECT COUNT(*), CAST(COALESCE(SUM(size_bytes), 0) AS BIGINT), MIN(held_until_us) \
         FROM files WHERE id IN (SELECT file_id FROM held_files) AND state = 'stored' \
         AND held_until_us > $1",
    )
    .bind(now.as_micros())
    .fetch_one(&mut *conn)
    .await?;
    let last_sweep = jobs::last_run(conn, SWEEP).await?;
    let last_reconcile = jobs::last_run(conn, RECONCILE).await?;
    let count = |number: i64| u64::try_from(number).unwrap_or(0);
    Ok(RetentionStatus {
        stored_files: count(files),
        stored_bytes: count(bytes),
        due_files: count(due),
        oldest_overdue_s: oldest.map_or(0, |oldest| {
            now.duration_since(Timestamp::from_micros(oldest)).as_secs()
        }),
        missing_files: count(missing),
        next_expiry: next.map(Timestamp::from_micros),
        held_files: count(held),
        held_bytes: count(held_bytes),
        next_hold_end: hold_end.map(Timestamp::from_micros),
        last_sweep,
        last_reconcile,
    })
}
