//! What will go, whose it is, and who should be told before.

use std::collections::BTreeMap;

use layover_retention::Timestamp;

use super::files::{FileColumns, file_columns, file_rows, home_name};
use super::{Conn, Step, StoreError, journal};
use crate::account::{ForecastAccount, ForecastFile, ForecastQuestion};
use crate::journal::NewEntry;
use crate::ledger::FileRow;
use crate::{FileId, HomeName, VirtualPath};

/// When a file would go: `$1` is the keep time that is asked about, in
/// microseconds, or -1 for the rules as they are.
macro_rules! going_files {
    () => {
        "FROM (SELECT g.*, CASE WHEN g.held_until_us > g.rule_end_us THEN g.held_until_us \
         ELSE g.rule_end_us END AS end_us FROM (SELECT f.*, CASE \
         WHEN $1 < 0 THEN f.expires_at_us \
         WHEN f.collected_at_us + f.collected_keep_s * 1000000 < f.arrived_at_us + $1 \
         THEN f.collected_at_us + f.collected_keep_s * 1000000 \
         ELSE f.arrived_at_us + $1 END AS rule_end_us FROM files f WHERE f.state = 'stored' \
         AND ($1 >= 0 OR f.expires_at_us <= $2)) g) f \
         JOIN homes h ON h.id = f.home_id LEFT JOIN accounts a ON a.id = f.uploaded_by \
         WHERE f.end_us <= $2"
    };
}

/// Files that would go, were they not held for longer: parameters as above.
macro_rules! held_files {
    () => {
        "FROM files f JOIN homes h ON h.id = f.home_id LEFT JOIN accounts a ON a.id = f.uploaded_by \
         WHERE f.id IN (SELECT file_id FROM held_files) AND f.state = 'stored' \
         AND f.held_until_us > $2 AND (f.collected_at_us + f.collected_keep_s * 1000000 <= $2 \
         OR CASE WHEN $1 < 0 THEN f.arrived_at_us + f.rule_keep_s * 1000000 \
         ELSE f.arrived_at_us + $1 END <= $2)"
    };
}

fn asked_us(question: &ForecastQuestion) -> i64 {
    question.if_keep.map_or(-1, |keep| {
        Timestamp::from_micros(0)
            .saturating_add(keep.as_duration())
            .as_micros()
    })
}

fn count(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

type SumColumns = (String, Option<String>, i64, i64, i64, i64, i64);

/// What goes until then, and what would but for a hold, summed up by home and account.
pub(crate) async fn forecast(
    conn: &mut Conn,
    question: &ForecastQuestion,
) -> Result<Vec<ForecastAccount>, StoreError> {
    let (asked, until) = (asked_us(question), question.until.as_micros());
    let going: Vec<SumColumns> = sqlx::query_as(concat!(
        "SELECT h.name, a.name, COUNT(*), CAST(SUM(f.size_bytes) AS BIGINT), MIN(f.end_us), \
         CAST(0 AS BIGINT), CAST(0 AS BIGINT) ",
        going_files!(),
        " GROUP BY h.name, a.name"
    ))
    .bind(asked)
    .bind(until)
    .fetch_all(&mut *conn)
    .await?;
    let held: Vec<SumColumns> = sqlx::query_as(concat!(
        "SELECT h.name, a.name, CAST(0 AS BIGINT), CAST(0 AS BIGINT), MIN(f.held_until_us), \
         COUNT(*), CAST(SUM(f.size_bytes) AS BIGINT) ",
        held_files!(),
        " GROUP BY h.name, a.name"
    ))
    .bind(asked)
    .bind(until)
    .fetch_all(conn)
    .await?;
    let mut accounts: BTreeMap<_, ForecastAccount> = BTreeMap::new();
    for (home, account, files, bytes, first, held_files, held_bytes) in
        going.into_iter().chain(held)
    {
        let sum = accounts
            .entry((home.clone(), account.clone()))
            .or_insert_with(|| ForecastAccount {
                home,
                account,
                files: count(files),
                size_bytes: count(bytes),
                first_expiry: Timestamp::from_micros(first),
                held_files: 0,
                held_bytes: 0,
                held_until: None,
            });
        if held_files > 0 {
            sum.held_until = Some(Timestamp::from_micros(first));
        }
        sum.held_files = sum.held_files.saturating_add(count(held_files));
        sum.held_bytes = sum.held_bytes.saturating_add(count(held_bytes));
    }
    Ok(accounts.into_values().collect())
}

type ForecastColumns = (
    i64,
    String,
    Option<String>,
    Vec<u8>,
    Vec<u8>,
    i64,
    i64,
    Option<i64>,
);

/// The same, file by file, in the order of going: those that are held for longer come
/// last. The first page comes after nothing.
pub(crate) async fn forecast_files(
    conn: &mut Conn,
    question: &ForecastQuestion,
    after: Option<(Timestamp, FileId)>,
    limit: usize,
) -> Result<Vec<ForecastFile>, StoreError> {
    let going = concat!(
        "SELECT f.id, h.name, a.name, f.dir, f.name, f.size_bytes, f.end_us, f.collected_at_us ",
        going_files!(),
        " AND (f.end_us > $3 OR (f.end_us = $3 AND f.id > $4)) ORDER BY f.end_us, f.id LIMIT $5"
    );
    let held = concat!(
        "SELECT f.id, h.name, a.name, f.dir, f.name, f.size_bytes, f.held_until_us, \
         f.collected_at_us ",
        held_files!(),
        " AND (f.held_until_us > $3 OR (f.held_until_us = $3 AND f.id > $4)) \
         ORDER BY f.held_until_us, f.id LIMIT $5"
    );
    let mut files = forecast_page(conn, going, question, after, limit).await?;
    let room = limit.saturating_sub(files.len());
    if room > 0 {
        let held = forecast_page(conn, held, question, after, room).await?;
        files.extend(held.into_iter().map(|file| ForecastFile {
            held_until: Some(file.expires_at),
            ..file
        }));
    }
    Ok(files)
}

async fn forecast_page(
    conn: &mut Conn,
    sql: &'static str,
    question: &ForecastQuestion,
    after: Option<(Timestamp, FileId)>,
    limit: usize,
) -> Result<Vec<ForecastFile>, StoreError> {
    let (after_us, after_id) =
        after.map_or((i64::MIN, i64::MIN), |(at, id)| (at.as_micros(), id.0));
    let rows: Vec<ForecastColumns> = sqlx::query_as(sql)
        .bind(asked_us(question))
        .bind(question.until.as_micros())
        .bind(after_us)
        .bind(after_id)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(conn)
        .await?;
    rows.into_iter()
        .map(|(id, home, account, dir, name, size, end, collected)| {
            let path = VirtualPath::parse(&dir).and_then(|dir| dir.join(&name));
            Ok(ForecastFile {
                id: FileId(id),
                home,
                account,
                path: path.map_err(|_| StoreError::Corrupt {
                    table: "files",
                    id,
                    what: "dir and name",
                })?,
                size_bytes: count(size),
                expires_at: Timestamp::from_micros(end),
                collected_at: collected.map(Timestamp::from_micros),
                held_until: None,
            })
        })
        .collect()
}

/// Files that nobody has collected, that go until then, and of which nobody was
/// told yet, the first to go first. Of a file that stays for a shorter time than
/// is asked for one is told when half of it is over.
pub(crate) async fn unwarned(
    conn: &mut Conn,
    until: Timestamp,
    now: Timestamp,
    limit: usize,
) -> Result<Vec<(FileRow, HomeName)>, StoreError> {
    let rows: Vec<FileColumns> = sqlx::query_as(concat!(
        "SELECT ",
        file_columns!(),
        " FROM files f WHERE f.state = 'stored' AND f.collected_at_us IS NULL \
         AND f.warned_at_us IS NULL AND f.expires_at_us <= $1 \
         AND 2 * (f.expires_at_us - $2) <= f.expires_at_us - f.arrived_at_us \
         ORDER BY f.expires_at_us, f.id LIMIT $3"
    ))
    .bind(until.as_micros())
    .bind(now.as_micros())
    .bind(i64::try_from(limit).unwrap_or(i64::MAX))
    .fetch_all(&mut *conn)
    .await?;
    let mut found = Vec::with_capacity(rows.len());
    for row in file_rows(rows)? {
        let home_name = home_name(conn, row.home).await?;
        found.push((row, home_name));
    }
    Ok(found)
}

/// Tells of a file that nobody has collected, once: false when it was told of,
/// was collected or has gone meanwhile.
pub(crate) fn warn(file: FileId, now: Timestamp, entry: &NewEntry) -> Vec<Step> {
    vec![
        Step::new(
            "UPDATE files SET warned_at_us = $2 WHERE id = $1 AND state = 'stored' \
             AND collected_at_us IS NULL AND warned_at_us IS NULL",
            [file.0.into(), now.as_micros().into()],
        )
        .must_change(),
        journal::entry_step(entry),
    ]
}
