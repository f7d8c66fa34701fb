//! Operators, and the holds that they sign. Whoever changes a hold has locked
//! the home's rules (`expiry.rs`).

use layover_retention::Timestamp;

use super::files::below;
use super::sessions::note_change;
use super::{Conn, Step, StoreError, claims, expiry, journal};
use crate::hold::{
    APPROVALS_NEEDED, Approving, Hold, HoldApproval, HoldId, HoldScope, HoldState, NewHold, Signed,
};
use crate::journal::{JournalKind, NewEntry};
use crate::ledger::{ApplianceKeep, ClaimKind};
use crate::names::OperatorName;
use crate::operator::Operator;
use crate::rules::FolderHold;
use crate::{FileId, HomeId, NodeId, VirtualPath};

/// `None` when the name or the key is taken.
pub(crate) async fn add_operator(
    conn: &mut Conn,
    operator: &Operator,
    entry: &NewEntry,
) -> Result<Option<()>, StoreError> {
    let done = sqlx::query(
        "INSERT INTO operators (name, fingerprint, public_key, added_at_us) \
         VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
    )
    .bind(operator.name.as_str().to_owned())
    .bind(operator.fingerprint.clone())
    .bind(operator.public_key.clone())
    .bind(operator.added_at.as_micros())
    .execute(&mut *conn)
    .await?;
    if done.rows_affected() == 0 {
        return Ok(None);
    }
    journal::append(conn, entry).await?;
    Ok(Some(()))
}

/// `None` when there is no such operator.
pub(crate) async fn remove_operator(
    conn: &mut Conn,
    name: &OperatorName,
    now: Timestamp,
    entry: &NewEntry,
) -> Result<Option<()>, StoreError> {
    let done = sqlx::query(
        "UPDATE operators SET removed_at_us = $2 WHERE name = $1 AND removed_at_us IS NULL",
    )
    .bind(name.as_str().to_owned())
    .bind(now.as_micros())
    .execute(&mut *conn)
    .await?;
    if done.rows_affected() == 0 {
        return Ok(None);
    }
    journal::append(conn, entry).await?;
    Ok(Some(()))
}

/// Those that may sign, by name.
pub(crate) async fn operators(conn: &mut Conn) -> Result<Vec<Operator>, StoreError> {
    let rows: Vec<(i64, String, String, String, i64)> = sqlx::query_as(
        "SELECT id, name, fingerprint, public_key, added_at_us FROM operators \
         WHERE removed_at_us IS NULL ORDER BY name",
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|(id, name, fingerprint, public_key, added_at)| {
            Ok(Operator {
                name: name.parse().map_err(|_| StoreError::Corrupt {
                    table: "operators",
                    id,
                    what: "name",
                })?,
                fingerprint,
                public_key,
                added_at: Timestamp::from_micros(added_at),
            })
        })
        .collect()
}

/// A hold begins as a proposal, and holds nothing. Its statement tells its number.
pub(crate) async fn propose_hold(
    conn: &mut Conn,
    new: &NewHold,
    entry: &NewEntry,
) -> Result<HoldId, StoreError> {
    let (id,): (i64,) = sqlx::query_as(
        "INSERT INTO holds (home_id, scope, path, file_id, reason, until_us, state, statement, \
         proposed_at_us) VALUES ($1, $2, $3, $4, $5, $6, 'proposed', '', $7) RETURNING id",
    )
    .bind(new.home.0)
    .bind(new.scope.as_str())
    .bind(new.path.as_bytes().to_vec())
    .bind(new.file.map(|file| file.0))
    .bind(new.reason.clone())
    .bind(new.until.as_micros())
    .bind(new.now.as_micros())
    .fetch_one(&mut *conn)
    .await?;
    let id = HoldId(id);
    sqlx::query("UPDATE holds SET statement = $2 WHERE id = $1")
        .bind(id.0)
        .bind(new.statement(id))
        .execute(&mut *conn)
        .await?;
    journal::append(conn, &entry.clone().with("hold", id.0)).await?;
    Ok(id)
}

type HoldColumns = (
    i64,
    String,
    String,
    Vec<u8>,
    String,
    i64,
    String,
    String,
    i64,
    Option<i64>,
    Option<i64>,
    Option<String>,
    i64,
);

/// One hold, or all of a home, or all there are: by number.
pub(crate) async fn holds(
    conn: &mut Conn,
    hold: Option<HoldId>,
    home: Option<HomeId>,
) -> Result<Vec<Hold>, StoreError> {
    let rows: Vec<HoldColumns> = sqlx::query_as(
        "SELECT h.id, m.name, h.scope, h.path, h.reason, h.until_us, h.state, h.statement, \
         h.proposed_at_us, h.active_at_us, h.released_at_us, h.released_why, \
         (SELECT COUNT(*) FROM held_files hf JOIN files f ON f.id = hf.file_id \
         WHERE hf.hold_id = h.id AND f.state IN ('stored', 'deleting')) \
         FROM holds h JOIN homes m ON m.id = h.home_id \
         WHERE ($1 = 0 OR h.id = $1) AND ($2 = 0 OR h.home_id = $2) ORDER BY h.id",
    )
    .bind(hold.map_or(0, |hold| hold.0))
    .bind(home.map_or(0, |home| home.0))
    .fetch_all(&mut *conn)
    .await?;
    let mut holds = Vec::with_capacity(rows.len());
    for columns in rows {
        let approvals = approvals(conn, HoldId(columns.0)).await?;
        holds.push(hold_of(columns, approvals)?);
    }
    Ok(holds)
}

async fn approvals(conn: &mut Conn, hold: HoldId) -> Result<Vec<HoldApproval>, StoreError> {
    let rows: Vec<(String, String, i64)> = sqlx::query_as(
        "SELECT operator, fingerprint, at_us FROM hold_approvals WHERE hold_id = $1 \
         ORDER BY at_us, fingerprint",
    )
    .bind(hold.0)
    .fetch_all(conn)
    .await?;
    let approval = |(operator, fingerprint, at)| HoldApproval {
        operator,
        fingerprint,
        at: Timestamp::from_micros(at),
    };
    Ok(rows.into_iter().map(approval).collect())
}

fn hold_of(columns: HoldColumns, approvals: Vec<HoldApproval>) -> Result<Hold, StoreError> {
    let (
        id,
        home,
        scope,
        path,
        reason,
        until,
        state,
        statement,
        proposed,
        active,
        released,
        released_why,
        files,
    ) = columns;
    let broken = |what| StoreError::Corrupt {
        table: "holds",
        id,
        what,
    };
    Ok(Hold {
        id: HoldId(id),
        home: home.parse().map_err(|_| broken("home"))?,
        scope: HoldScope::parse(&scope).ok_or_else(|| broken("scope"))?,
        path: VirtualPath::parse(&path).map_err(|_| broken("path"))?,
        reason,
        until: Timestamp::from_micros(until),
        state: HoldState::parse(&state).ok_or_else(|| broken("state"))?,
        statement,
        proposed_at: Timestamp::from_micros(proposed),
        active_at: active.map(Timestamp::from_micros),
        released_at: released.map(Timestamp::from_micros),
        released_why,
        approvals,
        files: u64::try_from(files).unwrap_or(0),
    })
}

/// How many holds of a home may become active yet, or are.
pub(crate) async fn open_holds(conn: &mut Conn, home: HomeId) -> Result<u64, StoreError> {
    let (open,): (i64,) = sqlx::query_as(
        "SELECT COUNT(*) FROM holds WHERE home_id = $1 AND state IN ('proposed', 'active')",
    )
    .bind(home.0)
    .fetch_one(conn)
    .await?;
    Ok(u64::try_from(open).unwrap_or(0))
}

/// When the last active hold on this folder, or on one below it, ends.
pub(crate) async fn hold_within(
    conn: &mut Conn,
    home: HomeId,
    folder: &VirtualPath,
) -> Result<Option<Timestamp>, StoreError> {
    let holds = folder_holds(conn, home).await?;
    let within = holds.iter().filter(|hold| hold.path.is_within(folder));
    Ok(within.map(|hold| hold.until).max())
}

/// Active holds of a home on folders, or on the whole of it.
pub(super) async fn folder_holds(
    conn: &mut Conn,
    home: HomeId,
) -> Result<Vec<FolderHold>, StoreError> {
    let rows: Vec<(i64, Vec<u8>, i64)> = sqlx::query_as(
        "SELECT id, path, until_us FROM holds WHERE home_id = $1 AND state = 'active' \
         AND scope IN ('account', 'folder') ORDER BY id",
    )
    .bind(home.0)
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|(id, path, until)| {
            Ok(FolderHold {
                id: HoldId(id),
                path: VirtualPath::parse(&path).map_err(|_| StoreError::Corrupt {
                    table: "holds",
                    id,
                    what: "path",
                })?,
                until: Timestamp::from_micros(until),
            })
        })
        .collect()
}

type OpenColumns = (i64, String, Vec<u8>, Option<i64>, i64, String);

/// An operator's signature under a hold. The second one makes it active, on
/// everything stored that is there and not due.
pub(crate) async fn approve_hold(
    conn: &mut Conn,
    hold: HoldId,
    signed: &Signed,
    appliance: ApplianceKeep,
    entry: &NewEntry,
) -> Result<Approving, StoreError> {
    let Some(home) = home_of(conn, hold).await? else {
        return Ok(Approving::Over);
    };
    expiry::begin_change_of_rules(conn, home).await?;
    let (_, scope, path, file, until, state): OpenColumns =
        sqlx::query_as("SELECT id, scope, path, file_id, until_us, state FROM holds WHERE id = $1")
            .bind(hold.0)
            .fetch_one(&mut *conn)
            .await?;
    let may_sign: Option<(i64,)> =
        sqlx::query_as("SELECT id FROM operators WHERE fingerprint = $1 AND removed_at_us IS NULL")
            .bind(signed.fingerprint.clone())
            .fetch_optional(&mut *conn)
            .await?;
    if state != "proposed" || until <= signed.now.as_micros() || may_sign.is_none() {
        return Ok(Approving::Over);
    }
    // One person is one approval, with however many keys.
    let noted = sqlx::query(
        "INSERT INTO hold_approvals (hold_id, fingerprint, operator, signature, at_us) \
         SELECT $1, $2, $3, $4, $5 WHERE NOT EXISTS (SELECT 1 FROM hold_approvals \
         WHERE hold_id = $1 AND operator = $3) ON CONFLICT (hold_id, fingerprint) DO NOTHING",
    )
    .bind(hold.0)
    .bind(signed.fingerprint.clone())
    .bind(signed.operator.clone())
    .bind(signed.signature.clone())
    .bind(signed.now.as_micros())
    .execute(&mut *conn)
    .await?;
    if noted.rows_affected() == 0 {
        return Ok(Approving::Twice);
    }
    // The key of who has signed and is no operator any more counts for nothing.
    let (approvals,): (i64,) = sqlx::query_as(
        "SELECT COUNT(*) FROM hold_approvals a JOIN operators o ON o.fingerprint = a.fingerprint \
         AND o.name = a.operator AND o.removed_at_us IS NULL WHERE a.hold_id = $1",
    )
    .bind(hold.0)
    .fetch_one(&mut *conn)
    .await?;
    if approvals < APPROVALS_NEEDED {
        note_change(conn, entry).await?;
        return Ok(Approving::Noted);
    }
    let path = VirtualPath::parse(&path).map_err(|_| StoreError::Corrupt {
        table: "holds",
        id: hold.0,
        what: "path",
    })?;
    let covers = Cover {
        path: &path,
        file: file.map(FileId),
    };
    if is_being_changed(conn, home, &covers).await? {
        return Ok(Approving::Busy);
    }
    sqlx::query("UPDATE holds SET state = 'active', active_at_us = $2 WHERE id = $1")
        .bind(hold.0)
        .bind(signed.now.as_micros())
        .execute(&mut *conn)
        .await?;
    if scope == HoldScope::File.as_str() {
        sqlx::query(
            "INSERT INTO held_files (file_id, hold_id) SELECT id, $2 FROM files WHERE id = $1 \
             AND state = 'stored' AND expires_at_us > $3 ON CONFLICT DO NOTHING",
        )
        .bind(file)
        .bind(hold.0)
        .bind(signed.now.as_micros())
        .execute(&mut *conn)
        .await?;
    }
    hold_what_is_below(conn, home, signed.now).await?;
    expiry::recompute_home(conn, home, appliance).await?;
    let (files,): (i64,) = sqlx::query_as("SELECT COUNT(*) FROM held_files WHERE hold_id = $1")
        .bind(hold.0)
        .fetch_one(&mut *conn)
        .await?;
    let entry = entry.clone().with("active", true).with("files_held", files);
    note_change(conn, &entry).await?;
    Ok(Approving::Active {
        files: u64::try_from(files).unwrap_or(0),
    })
}

async fn home_of(conn: &mut Conn, hold: HoldId) -> Result<Option<HomeId>, StoreError> {
    let home: Option<(i64,)> = sqlx::query_as("SELECT home_id FROM holds WHERE id = $1")
        .bind(hold.0)
        .fetch_optional(conn)
        .await?;
    Ok(home.map(|(home,)| HomeId(home)))
}

/// What a hold is about to hold.
struct Cover<'a> {
    path: &'a VirtualPath,
    file: Option<FileId>,
}

/// Whether somebody has claimed a name to replace or remove a file that would be
/// held: it may be gone from the disk already.
async fn is_being_changed(
    conn: &mut Conn,
    home: HomeId,
    covers: &Cover<'_>,
) -> Result<bool, StoreError> {
    for claim in claims::of_home(conn, home).await? {
        let taken = match claim.kind {
            ClaimKind::Publish | ClaimKind::Delete => &claim.path,
            ClaimKind::Move => claim.to.as_ref().unwrap_or(&claim.path),
            ClaimKind::Tree => continue,
        };
        for row in super::files::rows_at(conn, home, taken).await? {
            let is_covered = match covers.file {
                Some(file) => row.id == file,
                None => row.path.is_within(covers.path),
            };
            if is_covered && row.arrived_at.is_some() {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// Files below the folders that a home's active holds are on come under them,
/// unless their time is over.
pub(super) async fn hold_what_is_below(
    conn: &mut Conn,
    home: HomeId,
    now: Timestamp,
) -> Result<(), StoreError> {
    for hold in folder_holds(conn, home).await? {
        if hold.until <= now {
            continue;
        }
        let (first, last) = below(&hold.path);
        sqlx::query(
            "INSERT INTO held_files (file_id, hold_id) SELECT f.id, $2 FROM files f \
             WHERE f.home_id = $1 AND f.state = 'stored' AND f.state <> 'ended' \
             AND f.expires_at_us > $3 AND (f.dir = $4 OR (f.dir >= $5 AND f.dir < $6)) \
             ON CONFLICT DO NOTHING",
        )
        .bind(home.0)
        .bind(hold.id.0)
        .bind(now.as_micros())
        .bind(hold.path.as_bytes().to_vec())
        .bind(first)
        .bind(last)
        .execute(&mut *conn)
        .await?;
    }
    set_held_until(conn, home).await
}

/// A file has another name: it comes under the holds that are there, and stays
/// under those that it is under.
pub(super) async fn hold_at_name(
    conn: &mut Conn,
    file: FileId,
    holds: impl Iterator<Item = &FolderHold>,
) -> Result<(), StoreError> {
    for hold in holds {
        sqlx::query(
            "INSERT INTO held_files (file_id, hold_id) VALUES ($1, $2) ON CONFLICT DO NOTHING",
        )
        .bind(file.0)
        .bind(hold.id.0)
        .execute(&mut *conn)
        .await?;
    }
    sqlx::query(
        "UPDATE files SET held_until_us = (SELECT MAX(h.until_us) FROM held_files hf \
         JOIN holds h ON h.id = hf.hold_id WHERE hf.file_id = files.id AND h.state = 'active') \
         WHERE id = $1",
    )
    .bind(file.0)
    .execute(conn)
    .await?;
    Ok(())
}

/// A file that has just arrived comes under a hold.
pub(super) fn hold_step(file: FileId, hold: &FolderHold) -> Step {
    Step::new(
        "INSERT INTO held_files (file_id, hold_id) VALUES ($1, $2)",
        [file.0.into(), hold.id.0.into()],
    )
}

/// Until when each file of a home is held, by the active holds that it is under.
async fn set_held_until(conn: &mut Conn, home: HomeId) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE files SET held_until_us = (SELECT MAX(h.until_us) FROM held_files hf \
         JOIN holds h ON h.id = hf.hold_id WHERE hf.file_id = files.id AND h.state = 'active') \
         WHERE home_id = $1 AND state IN ('stored', 'deleting') AND state <> 'ended' \
         AND (held_until_us IS NOT NULL OR id IN (SELECT hf.file_id FROM held_files hf \
         JOIN holds h ON h.id = hf.hold_id WHERE h.home_id = $1 AND h.state = 'active'))",
    )
    .bind(home.0)
    .execute(conn)
    .await?;
    Ok(())
}

/// A hold ends before its time, or is withdrawn. Returns how many stored files
/// got another expiry; `None` when it had ended.
pub(crate) async fn release_hold(
    conn: &mut Conn,
    hold: HoldId,
    signed: &Signed,
    why: &str,
    appliance: ApplianceKeep,
    entry: &NewEntry,
) -> Result<Option<u64>, StoreError> {
    let Some(home) = home_of(conn, hold).await? else {
        return Ok(None);
    };
    expiry::begin_change_of_rules(conn, home).await?;
    let done = sqlx::query(
        "UPDATE holds SET state = 'released', released_at_us = $2, released_why = $3, \
         released_by = $4, released_signature = $5 \
         WHERE id = $1 AND state IN ('proposed', 'active') AND EXISTS (SELECT 1 FROM operators \
         WHERE fingerprint = $6 AND removed_at_us IS NULL)",
    )
    .bind(hold.0)
    .bind(signed.now.as_micros())
    .bind(why.to_owned())
    .bind(signed.operator.clone())
    .bind(signed.signature.clone())
    .bind(signed.fingerprint.clone())
    .execute(&mut *conn)
    .await?;
    if done.rows_affected() == 0 {
        return Ok(None);
    }
    set_held_until(conn, home).await?;
    let moved = expiry::recompute_home(conn, home, appliance).await?;
    note_change(conn, &entry.clone().with("files_moved", moved)).await?;
    Ok(Some(moved))
}

/// Marks holds whose time is over, each with its entry. Their files need nothing:
/// they go at the later of the hold's end and the end of their rule already.
pub(crate) async fn end_holds(
    conn: &mut Conn,
    node: &NodeId,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let ended: Vec<(i64, i64, Vec<u8>, i64)> = sqlx::query_as(
        "UPDATE holds SET state = 'ended' WHERE state IN ('proposed', 'active') \
         AND until_us <= $1 RETURNING id, home_id, path, until_us",
    )
    .bind(now.as_micros())
    .fetch_all(&mut *conn)
    .await?;
    let mut count = 0;
    for (id, home, path, until) in ended {
        let name = super::files::home_name(conn, HomeId(home)).await?;
        let path = VirtualPath::parse(&path).map_err(|_| StoreError::Corrupt {
            table: "holds",
            id,
            what: "path",
        })?;
        let entry = NewEntry::new(now, JournalKind::Retention, "hold.end", node)
            .path(&path)
            .with("hold", id)
            .with("home", name.as_str())
            .with("until", Timestamp::from_micros(until).to_string());
        journal::append(conn, &entry).await?;
        count += 1;
    }
    Ok(count)
}
