//! Deletion certificates: one for each file that was deleted, written in the
//! transaction that ends its row. That there is never a second one is the
//! table's promise (`file_id` is unique).

use layover_retention::Timestamp;

use super::files::{file_columns, file_row};
use super::{Conn, Step, StoreError, run};
use crate::ledger::{CertificateGrounds, EndedBy};
use crate::store::certified::certificate;
use crate::{FileId, NodeId};

/// What a certificate needs beside the columns of the row; each statement says which
/// rows `f` of `files` it is about.
macro_rules! grounds_of {
    () => {
        "SELECT f.id, f.sha256, f.rule, f.rule_keep_s, h.name, e.name, a.name, ae.name \
         FROM files f JOIN homes h ON h.id = f.home_id JOIN entities e ON e.id = h.entity_id \
         LEFT JOIN accounts a ON a.id = f.uploaded_by \
         LEFT JOIN entities ae ON ae.id = a.entity_id WHERE "
    };
}
pub(super) use grounds_of;

pub(super) type GroundsColumns = (
    i64,
    Option<Vec<u8>>,
    Option<String>,
    Option<i64>,
    String,
    String,
    Option<String>,
    Option<String>,
);

/// Of which file, and the grounds.
pub(super) fn grounds(columns: GroundsColumns) -> (FileId, CertificateGrounds) {
    let (id, sha256, rule, keep_s, home, entity, account, account_entity) = columns;
    let grounds = CertificateGrounds {
        sha256,
        rule,
        keep_s,
        home,
        entity,
        account,
        account_entity,
    };
    (FileId(id), grounds)
}

/// Writes the certificate of a file whose row has just ended.
pub(super) async fn issue(
    conn: &mut Conn,
    file: FileId,
    ended_by: EndedBy,
    node: &NodeId,
    now: Timestamp,
) -> Result<(), StoreError> {
    if ended_by == EndedBy::Missing {
        return Ok(());
    }
    let columns: GroundsColumns = sqlx::query_as(concat!(grounds_of!(), "f.id = $1"))
        .bind(file.0)
        .fetch_one(&mut *conn)
        .await?;
    // It has ended: the looks at rows pass it over.
    let row = sqlx::query_as(concat!(
        "SELECT ",
        file_columns!(),
        " FROM files f WHERE f.id = $1"
    ))
    .bind(file.0)
    .fetch_one(&mut *conn)
    .await?;
    let (row, (_, grounds)) = (file_row(row)?, grounds(columns));
    if let Some(record) = certificate(&row, &grounds, ended_by, node, now)? {
        run(conn, vec![step(file, now, record)]).await?;
    }
    Ok(())
}

/// Writes a certificate, among other steps.
pub(super) fn step(file: FileId, now: Timestamp, record: String) -> Step {
    Step::new(
        "INSERT INTO certificates (file_id, at_us, record) VALUES ($1, $2, $3)",
        [file.0.into(), now.as_micros().into(), record.into()],
    )
}
