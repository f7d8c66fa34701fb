//! The whole database as rows, and back: what a backup holds. Rows know
//! neither engine: what SQLite gave PostgreSQL takes, and the other way round.

use futures_util::TryStreamExt as _;
use sqlx::{AssertSqlSafe, Row as _};

use super::super::super::dump::{Column, DumpError, DumpPart, Kind, TABLES, TableRows};
use super::super::super::steps::Value;
use super::{COLUMNS_OF, Conn, OVERRIDING, SNAPSHOT_SETTINGS, StoreError};

/// Rows that are handed on at once.
const ROWS: usize = 500;

/// What a table has, as the engine says.
async fn columns(conn: &mut Conn, table: &str) -> Result<Vec<Column>, StoreError> {
    let rows: Vec<(String, String)> = sqlx::query_as(COLUMNS_OF)
        .bind(table.to_owned())
        .fetch_all(conn)
        .await?;
    rows.into_iter()
        .map(|(name, kind)| {
            let kind = Kind::parse(&kind).ok_or(StoreError::Corrupt {
                table: "schema",
                id: 0,
                what: "a column of an unknown kind",
            })?;
            Ok(Column { name, kind })
        })
        .collect()
}

/// The tables that are there, the migrator's own left out.
async fn tables(conn: &mut Conn) -> Result<Vec<String>, StoreError> {
    let rows: Vec<(String,)> = sqlx::query_as(super::TABLES_THERE).fetch_all(conn).await?;
    Ok(rows.into_iter().map(|(name,)| name).collect())
}

/// Gives every row of every table to `take`, as they were at one moment. The
/// connection is in a transaction that sees one state of the database.
pub(super) async fn dump(
    conn: &mut Conn,
    take: &mut dyn FnMut(DumpPart) -> std::io::Result<()>,
) -> Result<(), DumpError> {
    for setting in SNAPSHOT_SETTINGS {
        sqlx::query(*setting).execute(&mut *conn).await?;
    }
    let step: Option<i64> = sqlx::query_scalar("SELECT MAX(version) FROM _sqlx_migrations")
        .fetch_one(&mut *conn)
        .await?;
    let storage: Option<String> =
        sqlx::query_scalar("SELECT storage_id FROM homes_storage ORDER BY id LIMIT 1")
            .fetch_optional(&mut *conn)
            .await?;
    take(DumpPart::Beginning {
        step: step.unwrap_or(0),
        storage,
    })
    .map_err(DumpError::Sink)?;
    // A table that this list forgets would be lost without a word.
    let there = tables(conn).await?;
    if !there.iter().all(|name| TABLES.contains(&name.as_str())) {
        return Err(StoreError::Corrupt {
            table: "schema",
            id: 0,
            what: "a table that backups do not know",
        }
        .into());
    }
    for table in TABLES {
        let columns = columns(conn, table).await?;
        let names: Vec<_> = columns.iter().map(|column| column.name.as_str()).collect();
        let text = format!("SELECT {} FROM {table}", names.join(", "));
        let mut part = TableRows {
            table: (*table).to_owned(),
            columns: columns.clone(),
            rows: Vec::new(),
        };
        let mut found = sqlx::query(AssertSqlSafe(text)).fetch(&mut *conn);
        while let Some(row) = found.try_next().await? {
            let mut values = Vec::with_capacity(columns.len());
            for (at, column) in columns.iter().enumerate() {
                values.push(match column.kind {
                    Kind::Int => Value::Int(row.try_get(at)?),
                    Kind::Text => Value::Text(row.try_get(at)?),
                    Kind::Bytes => Value::Bytes(row.try_get(at)?),
                });
            }
            part.rows.push(values);
            if part.rows.len() >= ROWS {
                let rows = std::mem::take(&mut part.rows);
                take(DumpPart::Rows(TableRows {
                    rows,
                    ..part.clone()
                }))
                .map_err(DumpError::Sink)?;
            }
        }
        drop(found);
        take(DumpPart::Rows(part)).map_err(DumpError::Sink)?;
    }
    Ok(())
}

/// Empties every table: what migrations themselves put there.
pub(crate) async fn clear(conn: &mut Conn) -> Result<(), StoreError> {
    let there = tables(conn).await?;
    for table in TABLES.iter().rev() {
        if there.iter().any(|found| found == table) {
            sqlx::query(AssertSqlSafe(format!("DELETE FROM {table}")))
                .execute(&mut *conn)
                .await?;
        }
    }
    Ok(())
}

/// Puts rows into a table. Columns that it does not have are an error; those
/// that the rows lack get their defaults.
pub(crate) async fn load(conn: &mut Conn, part: &TableRows) -> Result<(), StoreError> {
    let there = columns(conn, &part.table).await?;
    let known = |column: &Column| there.contains(column);
    if !TABLES.contains(&part.table.as_str()) || !part.columns.iter().all(known) {
        return Err(StoreError::Corrupt {
            table: "backup",
            id: 0,
            what: "a table or column that this schema does not have",
        });
    }
    let names: Vec<_> = part
        .columns
        .iter()
        .map(|column| column.name.as_str())
        .collect();
    let places: Vec<_> = (1..=names.len()).map(|at| format!("${at}")).collect();
    let text = format!(
        "INSERT INTO {} ({}) {OVERRIDING} VALUES ({})",
        part.table,
        names.join(", "),
        places.join(", ")
    );
    for row in &part.rows {
        let query = sqlx::query(AssertSqlSafe(text.clone()));
        let query = row.iter().cloned().fold(query, |query, value| match value {
            Value::Int(value) => query.bind(value),
            Value::Text(value) => query.bind(value),
            Value::Bytes(value) => query.bind(value),
        });
        query.execute(&mut *conn).await?;
    }
    Ok(())
}

/// The next number of each table goes on behind the greatest that is there.
pub(crate) async fn settle_numbers(conn: &mut Conn) -> Result<(), StoreError> {
    for table in TABLES {
        let columns = columns(conn, table).await?;
        let numbered = columns
            .iter()
            .any(|column| column.name == "id" && column.kind == Kind::Int);
        if numbered && let Some(text) = super::settle_numbers_of(table) {
            sqlx::query(AssertSqlSafe(text)).execute(&mut *conn).await?;
        }
    }
    Ok(())
}
