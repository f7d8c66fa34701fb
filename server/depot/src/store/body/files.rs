//! The ledger's rows: how they are read, and what concerns no single verb.
//! Each function is one statement, or the statements of one transaction that
//! the caller began; `ledger.rs` says what the values mean. The transactions of
//! the verbs are in `uploads.rs`, `moves.rs` and `removals.rs`.

use std::collections::BTreeSet;

use layover_retention::Timestamp;

use super::{Conn, Step, StoreError, certificates, expiry, flows, holds, journal};
use crate::journal::NewEntry;
use crate::ledger::{Adoption, Collector, EndedBy, FileRow, FileState, FoundFile, Replaced, Usage};
use crate::rules::FileRule;
use crate::vfs::{HiddenName, Identity};
use crate::{AccountId, FileId, HomeId, NodeId, VirtualPath};

/// The columns of [`FileColumns`], in its order.
macro_rules! file_columns {
    () => {
        "f.id, f.home_id, f.dir, f.name, f.state, f.size_bytes, f.inode, f.born_us, \
         f.arrived_at_us, f.expires_at_us, f.uploaded_by, f.temp_name, \
         f.touched_at_us, f.inherited_arrival_us, f.held_until_us"
    };
}
pub(super) use file_columns;

pub(super) type FileColumns = (
    i64,
    i64,
    Vec<u8>,
    Vec<u8>,
    String,
    i64,
    Option<i64>,
    Option<i64>,
    Option<i64>,
    Option<i64>,
    Option<i64>,
    Option<String>,
    i64,
    Option<i64>,
    Option<i64>,
);

/// What a row says, or what is wrong with it.
pub(super) fn file_row(columns: FileColumns) -> Result<FileRow, StoreError> {
    let (
        id,
        home,
        dir,
        name,
        state,
        size,
        inode,
        born,
        arrived,
        expires,
        by,
        hidden,
        touched,
        inherited,
        held_until,
    ) = columns;
    let broken = |what| StoreError::Corrupt {
        table: "files",
        id,
        what,
    };
    let path = VirtualPath::parse(&dir)
        .and_then(|dir| dir.join(&name))
        .map_err(|_| broken("dir and name"))?;
    Ok(FileRow {
        id: FileId(id),
        home: HomeId(home),
        path,
        state: FileState::parse(&state).ok_or_else(|| broken("state"))?,
        size_bytes: u64::try_from(size).map_err(|_| broken("size_bytes"))?,
        identity: inode.map(|inode| Identity {
            inode,
            born_us: born.unwrap_or(0),
        }),
        arrived_at: arrived.map(Timestamp::from_micros),
        expires_at: expires.map(Timestamp::from_micros),
        uploaded_by: by.map(AccountId),
        hidden: hidden.as_deref().and_then(HiddenName::parse),
        touched_at: Timestamp::from_micros(touched),
        inherited_arrival: inherited.map(Timestamp::from_micros),
        held_until: held_until.map(Timestamp::from_micros),
    })
}

pub(super) fn file_rows(rows: Vec<FileColumns>) -> Result<Vec<FileRow>, StoreError> {
    rows.into_iter().map(file_row).collect()
}

/// The two path columns: the parent, and the last component.
pub(super) fn columns_of(path: &VirtualPath) -> (Vec<u8>, Vec<u8>) {
    (
        path.dir().as_bytes().to_vec(),
        path.name().unwrap_or_default().to_vec(),
    )
}

/// The range of `dir` values strictly below a folder: '0' follows '/'. The root's
/// own bytes are "/", and everything is below it.
pub(super) fn below(folder: &VirtualPath) -> (Vec<u8>, Vec<u8>) {
    let stem = if folder.is_root() {
        &[][..]
    } else {
        folder.as_bytes()
    };
    ([stem, b"/"].concat(), [stem, b"0"].concat())
}

/// A size as the database keeps it; `vfs::MAX_FILE_BYTES` is far below.
pub(super) fn bigint(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// Rows that are not history, by name.
pub(crate) async fn rows_at(
    conn: &mut Conn,
    home: HomeId,
    path: &VirtualPath,
) -> Result<Vec<FileRow>, StoreError> {
    let (dir, name) = columns_of(path);
    let rows = sqlx::query_as(ROWS_AT)
        .bind(home.0)
        .bind(dir)
        .bind(name)
        .fetch_all(conn)
        .await?;
    file_rows(rows)
}

const ROWS_AT: &str = concat!(
    "SELECT ",
    file_columns!(),
    " FROM files f WHERE f.home_id = $1 AND f.dir = $2 AND f.name = $3 AND f.state <> 'ended' \
     ORDER BY f.touched_at_us DESC, f.id DESC"
);

/// The same, to be done in place; [`file_rows`] says what the rows are.
pub(crate) fn rows_at_step(home: HomeId, path: &VirtualPath) -> Step {
    let (dir, name) = columns_of(path);
    Step::new(ROWS_AT, [home.0.into(), dir.into(), name.into()])
}

/// Rows that are not history, of one directory (not below it).
pub(crate) async fn rows_in(
    conn: &mut Conn,
    home: HomeId,
    dir: &VirtualPath,
) -> Result<Vec<FileRow>, StoreError> {
    let rows = sqlx::query_as(concat!(
        "SELECT ",
        file_columns!(),
        " FROM files f WHERE f.home_id = $1 AND f.dir = $2 AND f.state <> 'ended'"
    ))
    .bind(home.0)
    .bind(dir.as_bytes().to_vec())
    .fetch_all(conn)
    .await?;
    file_rows(rows)
}

/// Rows of files that are published, or taking their name just now, in one directory:
/// those of the names behind `after`, up to and with `last`, or all.
pub(crate) async fn published_between(
    conn: &mut Conn,
    home: HomeId,
    dir: &VirtualPath,
    after: &[u8],
    last: Option<&[u8]>,
) -> Result<Vec<FileRow>, StoreError> {
    macro_rules! behind {
        () => {
            concat!(
                "SELECT ",
                file_columns!(),
                " FROM files f WHERE f.home_id = $1 AND f.dir = $2 AND f.state <> 'ended' \
                 AND f.state IN ('stored', 'publishing') AND f.name > $3"
            )
        };
    }
    let text = match last {
        Some(_) => concat!(behind!(), " AND f.name <= $4"),
        None => behind!(),
    };
    let mut rows = sqlx::query_as(text)
        .bind(home.0)
        .bind(dir.as_bytes().to_vec())
        .bind(after.to_vec());
    if let Some(last) = last {
        rows = rows.bind(last.to_vec());
    }
    file_rows(rows.fetch_all(conn).await?)
}

/// One row, unless it is history.
pub(crate) async fn row(conn: &mut Conn, file: FileId) -> Result<Option<FileRow>, StoreError> {
    let row: Option<FileColumns> = sqlx::query_as(concat!(
        "SELECT ",
        file_columns!(),
        " FROM files f WHERE f.id = $1 AND f.state <> 'ended'"
    ))
    .bind(file.0)
    .fetch_optional(conn)
    .await?;
    row.map(file_row).transpose()
}

/// A download ended: the journal, and who collected the whole file first. Its
/// time may be over sooner from then on, but not while it is held. Who uploaded a file
/// and looks at it again has not collected it, where others share the home.
pub(crate) fn end_download(
    collected: Option<(FileId, Collector)>,
    now: Timestamp,
    entry: &NewEntry,
) -> Vec<Step> {
    let mut steps = vec![journal::entry_step(entry)];
    if let Some((file, collector)) = collected {
        let account = match collector {
            Collector::Account(account) => Some(account.0),
            Collector::Outbound => None,
        };
        steps.push(Step::new(
            "UPDATE files SET collected_at_us = $2, collected_by = $3, expires_at_us = \
             CASE WHEN $2 + collected_keep_s * 1000000 < expires_at_us THEN \
             CASE WHEN held_until_us > $2 + collected_keep_s * 1000000 THEN held_until_us \
             ELSE $2 + collected_keep_s * 1000000 END ELSE expires_at_us END \
             WHERE id = $1 AND collected_at_us IS NULL \
             AND ($3 IS NULL OR uploaded_by IS NULL OR uploaded_by <> $3 OR NOT EXISTS (SELECT 1 \
             FROM accounts o WHERE o.home_id = files.home_id AND o.id <> $3 \
             AND o.removed_at_us IS NULL))",
            [file.0.into(), now.as_micros().into(), account.into()],
        ));
    }
    steps
}

/// Rows in the middle of something, of `node` or of nodes that have not been
/// heard of since `silent_before`; with an id above `after`.
pub(crate) async fn unfinished(
    conn: &mut Conn,
    node: &NodeId,
    silent_before: Timestamp,
    after: FileId,
    limit: usize,
) -> Result<Vec<FileRow>, StoreError> {
    let rows = sqlx::query_as(concat!(
        "SELECT ",
        file_columns!(),
        " FROM files f WHERE f.state IN ('receiving', 'publishing', 'deleting') AND f.id > $3 \
         AND (f.node_id = $1 OR NOT EXISTS (SELECT 1 FROM nodes n WHERE n.id = f.node_id \
         AND n.heartbeat_at_us > $2)) ORDER BY f.id LIMIT $4"
    ))
    .bind(node.as_str().to_owned())
    .bind(silent_before.as_micros())
    .bind(after.0)
    .bind(i64::try_from(limit).unwrap_or(i64::MAX))
    .fetch_all(conn)
    .await?;
    file_rows(rows)
}

/// Whether any row needs this hidden file.
pub(crate) async fn hidden_is_known(
    conn: &mut Conn,
    name: &HiddenName,
) -> Result<bool, StoreError> {
    let row: Option<(i64,)> = sqlx::query_as("SELECT id FROM files WHERE temp_name = $1")
        .bind(name.as_str().to_owned())
        .fetch_optional(conn)
        .await?;
    Ok(row.is_some())
}

/// Sets every home's `used_bytes` to what its rows say; how many were wrong.
pub(crate) async fn recompute_used(conn: &mut Conn) -> Result<u64, StoreError> {
    // Locks every home first: the sums below then see all that was committed.
    sqlx::query("UPDATE homes SET used_bytes = used_bytes")
        .execute(&mut *conn)
        .await?;
    let corrected = sqlx::query(
        "UPDATE homes SET used_bytes = (SELECT CAST(COALESCE(SUM(f.size_bytes), 0) AS BIGINT) \
         FROM files f WHERE f.home_id = homes.id AND f.state IN ('publishing', 'stored', 'deleting')) \
         WHERE used_bytes <> (SELECT CAST(COALESCE(SUM(f.size_bytes), 0) AS BIGINT) \
         FROM files f WHERE f.home_id = homes.id AND f.state IN ('publishing', 'stored', 'deleting'))",
    )
    .execute(conn)
    .await?;
    Ok(corrected.rows_affected())
}

/// Takes files that appeared in the tree into the ledger, and says of each whether it
/// did: not one whose name somebody is changing, or that a row has already.
pub(crate) async fn adopt(conn: &mut Conn, adoption: &Adoption) -> Result<Vec<bool>, StoreError> {
    let (home, now) = (adoption.home, adoption.now);
    // First of all, because it locks the home's row: no claim comes in between.
    let found_bytes = size_of(adoption.files.iter());
    change_used(conn, home, found_bytes).await?;
    let grounds = expiry::grounds_of_home(conn, home).await?;
    let rule = |file: &FoundFile| grounds.of_new(adoption.appliance, &file.path, now, now);
    let steps = adoption.files.iter();
    let steps = steps.map(|file| adopt_step(adoption, file, &rule(file)));
    let inserted = run_some_at_a_time(conn, steps.collect()).await?;
    let taken: Vec<bool> = inserted.into_iter().map(|rows| rows == 1).collect();

    let files = || {
        let both = adoption.files.iter().zip(&taken);
        both.filter_map(|(file, is_taken)| is_taken.then_some(file))
    };
    let too_much = found_bytes.saturating_sub(size_of(files()));
    if too_much != 0 {
        change_used(conn, home, too_much.saturating_neg()).await?;
    }
    for file in files().filter(|file| rule(file).held_until.is_some()) {
        let rows = rows_at(conn, home, &file.path).await?;
        if let Some(row) = rows.iter().find(|row| row.state == FileState::Stored) {
            let on_it = grounds.rules.holds_on(&file.path, now);
            holds::hold_at_name(conn, row.id, on_it).await?;
        }
    }
    let arrivals = files().filter(|file| grounds.rules.is_arrival(&file.path));
    let folders: BTreeSet<VirtualPath> = arrivals.map(|file| file.path.dir()).collect();
    let mut told: Vec<Step> = folders
        .iter()
        .map(|folder| flows::arrival_step(home, folder, now))
        .collect();
    told.extend(files().map(|file| journal::entry_step(&file.entry)));
    run_some_at_a_time(conn, told).await?;
    Ok(taken)
}

fn size_of<'a>(files: impl Iterator<Item = &'a FoundFile>) -> i64 {
    bigint(files.fold(0, |sum, file| sum.saturating_add(file.size_bytes)))
}

/// The row of an adopted file, where the name is free.
fn adopt_step(adoption: &Adoption, file: &FoundFile, rule: &FileRule) -> Step {
    let (dir, name) = columns_of(&file.path);
    let collected_keep = rule.policy.collected_keep;
    Step::new(
        "INSERT INTO files (home_id, dir, name, state, size_bytes, inode, born_us, \
         arrived_at_us, expires_at_us, node_id, touched_at_us, rule, rule_keep_s, \
         collected_keep_s) \
         SELECT $1, $2, $3, 'stored', $4, $5, $6, $7, $8, $9, $7, $10, $11, $12 \
         WHERE NOT EXISTS (SELECT 1 FROM path_claims \
         WHERE home_id = $1 AND (path = $13 OR kind = 'tree')) \
         AND NOT EXISTS (SELECT 1 FROM files WHERE home_id = $1 AND dir = $2 AND name = $3 \
         AND state IN ('publishing', 'stored', 'deleting') AND state <> 'ended')",
        [
            adoption.home.0.into(),
            dir.into(),
            name.into(),
            bigint(file.size_bytes).into(),
            file.identity.inode.into(),
            file.identity.born_us.into(),
            adoption.now.as_micros().into(),
            rule.expires_at.as_micros().into(),
            adoption.node.as_str().into(),
            rule.policy.source.as_str().into(),
            bigint(rule.policy.keep.as_secs()).into(),
            collected_keep.map(|keep| bigint(keep.as_secs())).into(),
            file.path.as_bytes().to_vec().into(),
        ],
    )
}

/// Runs steps, however many. SQLite keeps each text ready that it has seen, and
/// every number of steps is one: a few texts, of a few statements.
async fn run_some_at_a_time(conn: &mut Conn, steps: Vec<Step>) -> Result<Vec<u64>, StoreError> {
    const AT_ONCE: usize = 10;
    let mut changed = Vec::with_capacity(steps.len());
    let mut steps = steps.into_iter();
    loop {
        let some: Vec<Step> = steps.by_ref().take(AT_ONCE).collect();
        if some.is_empty() {
            return Ok(changed);
        }
        changed.extend(super::run(conn, some).await?);
    }
}

/// Directories that hold stored files, in order, after `after`.
pub(crate) async fn stored_dirs(
    conn: &mut Conn,
    home: HomeId,
    after: Option<&VirtualPath>,
    limit: usize,
) -> Result<Vec<VirtualPath>, StoreError> {
    let rows: Vec<(Vec<u8>,)> = sqlx::query_as(
        "SELECT DISTINCT dir FROM files WHERE home_id = $1 AND state = 'stored' AND dir > $2 \
         AND state <> 'ended' ORDER BY dir LIMIT $3",
    )
    .bind(home.0)
    .bind(after.map_or_else(Vec::new, |dir| dir.as_bytes().to_vec()))
    .bind(i64::try_from(limit).unwrap_or(i64::MAX))
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|(dir,)| {
            VirtualPath::parse(&dir).map_err(|_| StoreError::Corrupt {
                table: "files",
                id: home.0,
                what: "dir",
            })
        })
        .collect()
}

/// What a home holds.
pub(crate) async fn usage(conn: &mut Conn, home: HomeId) -> Result<Usage, StoreError> {
    let (used, hidden): (i64, i64) = sqlx::query_as(
        "SELECT h.used_bytes, (SELECT CAST(COALESCE(SUM(f.size_bytes), 0) AS BIGINT) FROM files f \
         WHERE f.home_id = h.id AND f.state IN ('partial', 'waiting')) \
         FROM homes h WHERE h.id = $1",
    )
    .bind(home.0)
    .fetch_one(conn)
    .await?;
    Ok(Usage {
        used_bytes: u64::try_from(used).unwrap_or(0),
        hidden_bytes: u64::try_from(hidden).unwrap_or(0),
    })
}

/// The folder name of a home.
pub(crate) async fn home_name(
    conn: &mut Conn,
    home: HomeId,
) -> Result<crate::HomeName, StoreError> {
    let (name,): (String,) = sqlx::query_as("SELECT name FROM homes WHERE id = $1")
        .bind(home.0)
        .fetch_one(conn)
        .await?;
    name.parse().map_err(|_| StoreError::Corrupt {
        table: "homes",
        id: home.0,
        what: "name",
    })
}

/// Every home: number and folder name.
pub(crate) async fn all_homes(
    conn: &mut Conn,
) -> Result<Vec<(HomeId, crate::HomeName)>, StoreError> {
    let rows: Vec<(i64, String)> = sqlx::query_as("SELECT id, name FROM homes ORDER BY id")
        .fetch_all(conn)
        .await?;
    rows.into_iter()
        .map(|(id, name)| {
            let name = name.parse().map_err(|_| StoreError::Corrupt {
                table: "homes",
                id,
                what: "name",
            })?;
            Ok((HomeId(id), name))
        })
        .collect()
}

/// Ends whatever stored file has this name, because the act that `entry`
/// tells of took it; frees its share of the quota, and journals its end.
pub(super) async fn end_replaced(
    conn: &mut Conn,
    home: HomeId,
    path: &VirtualPath,
    now: Timestamp,
    entry: &NewEntry,
) -> Result<(), StoreError> {
    let (dir, name) = columns_of(path);
    let ended: Option<(i64, i64, Option<i64>)> = sqlx::query_as(
        "UPDATE files SET state = 'ended', ended_at_us = $4, ended_by = $5, temp_name = NULL \
         WHERE home_id = $1 AND dir = $2 AND name = $3 AND state IN ('stored', 'deleting') \
         RETURNING id, size_bytes, arrived_at_us",
    )
    .bind(home.0)
    .bind(dir)
    .bind(name)
    .bind(now.as_micros())
    .bind(EndedBy::Replaced.as_str().to_owned())
    .fetch_optional(&mut *conn)
    .await?;
    let Some((id, size, arrived)) = ended else {
        return Ok(());
    };
    change_used(conn, home, -size).await?;
    let replaced = Replaced {
        file: FileId(id),
        path: path.clone(),
        size_bytes: u64::try_from(size).unwrap_or(0),
        arrived_at: arrived.map(Timestamp::from_micros),
    };
    journal::append(conn, &entry.of_replaced(&replaced)).await?;
    certificates::issue(conn, FileId(id), EndedBy::Replaced, &entry.node, now).await
}

/// Changes the sum of a home's sizes; also locks the home's row. Whoever locks a home and
/// files of it locks the home first, so that no two wait for each other.
pub(super) async fn change_used(conn: &mut Conn, home: HomeId, by: i64) -> Result<(), StoreError> {
    sqlx::query("UPDATE homes SET used_bytes = used_bytes + $2 WHERE id = $1")
        .bind(home.0)
        .bind(by)
        .execute(conn)
        .await?;
    Ok(())
}

/// The same, among other steps. It locks the home's row.
pub(super) fn change_used_step(home: HomeId, by: i64) -> Step {
    Step::new(
        "UPDATE homes SET used_bytes = used_bytes + $2 WHERE id = $1",
        [home.0.into(), by.into()],
    )
}

/// Stored files, in the order of their numbers.
pub(crate) async fn stored_after(
    conn: &mut Conn,
    after: FileId,
    limit: usize,
) -> Result<Vec<FileRow>, StoreError> {
    let rows = sqlx::query_as(concat!(
        "SELECT ",
        file_columns!(),
        " FROM files f WHERE f.id > $1 AND f.state = 'stored' ORDER BY f.id LIMIT $2"
    ))
    .bind(after.0)
    .bind(i64::try_from(limit).unwrap_or(i64::MAX))
    .fetch_all(conn)
    .await?;
    file_rows(rows)
}

/// The row's file is this one now: it was restored.
pub(crate) async fn set_identity(
    conn: &mut Conn,
    file: FileId,
    identity: Identity,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE files SET inode = $2, born_us = $3 WHERE id = $1")
        .bind(file.0)
        .bind(identity.inode)
        .bind(identity.born_us)
        .execute(conn)
        .await?;
    Ok(())
}
