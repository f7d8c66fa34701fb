//! The journal's rows.

use std::collections::HashMap;

use layover_retention::Timestamp;

use super::{Conn, Step, StoreError, run};
use crate::journal::{JournalEntry, JournalFilter, MAX_JOURNAL_PAGE, NewEntry};
use crate::{AccountName, SessionId, VirtualPath};

type EntryColumns = (
    i64,
    i64,
    String,
    String,
    String,
    Option<String>,
    Option<String>,
    Option<String>,
    Option<String>,
    Option<String>,
    Option<Vec<u8>>,
    Option<i64>,
    Option<i64>,
    String,
    String,
);

/// Entries that need not be told one by one.
pub(crate) async fn append_all(conn: &mut Conn, entries: &[NewEntry]) -> Result<(), StoreError> {
    run(conn, entries.iter().map(entry_step).collect()).await?;
    Ok(())
}

/// Writes an entry, in the transaction of what it tells of.
pub(crate) async fn append(conn: &mut Conn, entry: &NewEntry) -> Result<(), StoreError> {
    run(conn, vec![entry_step(entry)]).await?;
    Ok(())
}

/// Writes an entry, among other steps.
pub(super) fn entry_step(entry: &NewEntry) -> Step {
    let session = entry.session.as_ref();
    Step::new(
        "INSERT INTO journal (at_us, kind, action, outcome, account, entity, peer, protocol, \
         session_id, path, size_bytes, duration_ms, node_id, detail) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
        [
            entry.at.as_micros().into(),
            entry.kind.as_str().into(),
            entry.action.into(),
            entry.outcome.as_str().into(),
            entry.account.clone().into(),
            entry.entity.clone().into(),
            entry.peer.map(|peer| peer.to_string()).into(),
            entry.protocol.map(|protocol| protocol.as_str()).into(),
            session.map(|session| session.as_str()).into(),
            entry
                .path
                .as_ref()
                .map(|path| path.as_bytes().to_vec())
                .into(),
            entry.size_bytes.map(super::files::bigint).into(),
            entry.duration_ms.map(super::files::bigint).into(),
            entry.node.as_str().into(),
            serde_json::Value::Object(entry.detail.clone())
                .to_string()
                .into(),
        ],
    )
}

/// Where it happened, as the statements below ask for it.
struct Places {
    /// The folder or file itself.
    itself: Vec<u8>,
    /// What is below it lies from here on.
    from: Vec<u8>,
    /// And before this.
    to: Vec<u8>,
    /// The home's name; empty: any.
    home: String,
    /// How the home stands in the details of an entry without an account. A
    /// quote that a peer sent is escaped there, so nobody can fake it.
    home_detail: String,
}

impl Places {
    fn of(filter: &JournalFilter) -> Self {
        let root = VirtualPath::root();
        let place = filter.below.as_ref().unwrap_or(&root);
        let above = place.name().map_or(&b""[..], |_| place.as_bytes());
        let home = filter.home.as_ref().map(ToString::to_string);
        Self {
            itself: place.as_bytes().to_vec(),
            from: [above, b"/"].concat(),
            // '0' follows '/'.
            to: [above, b"0"].concat(),
            home_detail: home
                .as_ref()
                .map(|home| format!("\"home\":\"{home}\""))
                .unwrap_or_default(),
            home: home.unwrap_or_default(),
        }
    }
}

/// How the integration stands in the details; see [`Places::home_detail`].
fn integration_detail(filter: &JournalFilter) -> String {
    let integration = filter.integration.as_ref();
    integration
        .map(|name| format!("\"integration\":\"{name}\""))
        .unwrap_or_default()
}

pub(crate) async fn journal_page(
    conn: &mut Conn,
    filter: &JournalFilter,
) -> Result<Vec<JournalEntry>, StoreError> {
    // Conditions that are not asked for are always true; the planner has the
    // primary key, which is the order wanted, whichever are.
    let places = Places::of(filter);
    let rows: Vec<EntryColumns> = sqlx::query_as(
        "SELECT id, at_us, kind, action, outcome, account, entity, peer, protocol, session_id, \
         path, size_bytes, duration_ms, node_id, detail FROM journal \
         WHERE id > $1 AND at_us >= $2 AND ($3 = '' OR account = $3) AND ($4 = '' OR kind = $4) \
         AND at_us < $6 AND ($7 = 0 OR path = $8 OR (path >= $9 AND path < $10)) \
         AND ($11 = '' OR replace(detail, $12, '') <> detail OR account IN (SELECT a.name FROM \
         accounts a JOIN homes h ON h.id = a.home_id WHERE h.name = $11)) \
         AND ($13 = '' OR replace(detail, $13, '') <> detail) \
         ORDER BY id LIMIT $5",
    )
    .bind(filter.after_id.unwrap_or(0))
    .bind(filter.since.map_or(i64::MIN, Timestamp::as_micros))
    .bind(filter.account.clone().unwrap_or_default())
    .bind(filter.kind.map_or("", |kind| kind.as_str()))
    .bind(i64::try_from(filter.limit.min(MAX_JOURNAL_PAGE)).unwrap_or(i64::MAX))
    .bind(filter.until.map_or(i64::MAX, Timestamp::as_micros))
    .bind(i64::from(filter.below.is_some()))
    .bind(places.itself)
    .bind(places.from)
    .bind(places.to)
    .bind(places.home)
    .bind(places.home_detail)
    .bind(integration_detail(filter))
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(entry).collect()
}

/// The newest logins of the account of this name, newest first.
pub(crate) async fn last_logins(
    conn: &mut Conn,
    account: &AccountName,
    newest: usize,
) -> Result<Vec<JournalEntry>, StoreError> {
    let rows: Vec<EntryColumns> = sqlx::query_as(
        "SELECT id, at_us, kind, action, outcome, account, entity, peer, protocol, session_id, \
         path, size_bytes, duration_ms, node_id, detail FROM journal \
         WHERE action = 'login' AND outcome = 'ok' AND account = $1 \
         ORDER BY at_us DESC, id DESC LIMIT $2",
    )
    .bind(account.as_str())
    .bind(i64::try_from(newest).unwrap_or(i64::MAX))
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(entry).collect()
}

/// The last of the entries that `filter` asks for but for the `newest` newest;
/// `None` when there are no more than these.
pub(crate) async fn before_newest(
    conn: &mut Conn,
    filter: &JournalFilter,
    newest: u64,
) -> Result<Option<i64>, StoreError> {
    let places = Places::of(filter);
    let row: Option<(i64,)> = sqlx::query_as(
        "SELECT id FROM journal \
         WHERE id > $1 AND at_us >= $2 AND ($3 = '' OR account = $3) AND ($4 = '' OR kind = $4) \
         AND at_us < $6 AND ($7 = 0 OR path = $8 OR (path >= $9 AND path < $10)) \
         AND ($11 = '' OR replace(detail, $12, '') <> detail OR account IN (SELECT a.name FROM \
         accounts a JOIN homes h ON h.id = a.home_id WHERE h.name = $11)) \
         AND ($13 = '' OR replace(detail, $13, '') <> detail) \
         ORDER BY id DESC LIMIT 1 OFFSET $5",
    )
    .bind(filter.after_id.unwrap_or(0))
    .bind(filter.since.map_or(i64::MIN, Timestamp::as_micros))
    .bind(filter.account.clone().unwrap_or_default())
    .bind(filter.kind.map_or("", |kind| kind.as_str()))
    .bind(super::files::bigint(newest))
    .bind(filter.until.map_or(i64::MAX, Timestamp::as_micros))
    .bind(i64::from(filter.below.is_some()))
    .bind(places.itself)
    .bind(places.from)
    .bind(places.to)
    .bind(places.home)
    .bind(places.home_detail)
    .bind(integration_detail(filter))
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|(id,)| id))
}

/// Entries that have their place in the chain behind `after` and no later than `last`,
/// by their numbers. One that cannot be read is as one that is not there: the chain
/// tells of both (`journal verify`).
pub(super) async fn entries_at(
    conn: &mut Conn,
    after: i64,
    last: i64,
) -> Result<HashMap<i64, JournalEntry>, StoreError> {
    let rows: Vec<EntryColumns> = sqlx::query_as(
        "SELECT j.id, j.at_us, j.kind, j.action, j.outcome, j.account, j.entity, j.peer, \
         j.protocol, j.session_id, j.path, j.size_bytes, j.duration_ms, j.node_id, j.detail \
         FROM chain_links l JOIN journal j ON j.id = l.entry_id \
         WHERE l.chain = 'journal' AND l.seq > $1 AND l.seq <= $2",
    )
    .bind(after)
    .bind(last)
    .fetch_all(conn)
    .await?;
    let entries = readable(rows).into_iter();
    Ok(entries.map(|entry| (entry.id, entry)).collect())
}

/// Entries about transfers of `account`, or of all (empty), with a place behind `after`. The
/// limit, and numbers instead of a query for them, keep PostgreSQL on the index.
pub(super) async fn transfers_behind_the_cursor(
    conn: &mut Conn,
    account: &str,
    after: i64,
    limit: i64,
) -> Result<Vec<JournalEntry>, StoreError> {
    let rows: Vec<EntryColumns> = sqlx::query_as(
        "SELECT j.id, j.at_us, j.kind, j.action, j.outcome, j.account, j.entity, j.peer, \
         j.protocol, j.session_id, j.path, j.size_bytes, j.duration_ms, j.node_id, j.detail \
         FROM chain_links l JOIN journal j ON j.id = l.entry_id \
         WHERE l.chain = 'journal' AND l.seq > $2 \
         AND j.kind = 'transfer' AND ($1 = '' OR j.account = $1) ORDER BY l.seq LIMIT $3",
    )
    .bind(account.to_owned())
    .bind(after)
    .bind(limit)
    .fetch_all(conn)
    .await?;
    Ok(readable(rows))
}

/// The same, of those that are waiting for their place. One with a lower number than
/// another that has its place is not among them; it gets its own within seconds.
pub(super) async fn transfers_without_a_place(
    conn: &mut Conn,
    account: &str,
    after: i64,
    limit: i64,
) -> Result<Vec<JournalEntry>, StoreError> {
    let rows: Vec<EntryColumns> = sqlx::query_as(
        "SELECT id, at_us, kind, action, outcome, account, entity, peer, protocol, session_id, \
         path, size_bytes, duration_ms, node_id, detail FROM journal \
         WHERE id > $2 AND kind = 'transfer' AND ($1 = '' OR account = $1) \
         ORDER BY id LIMIT $3",
    )
    .bind(account.to_owned())
    .bind(after)
    .bind(limit)
    .fetch_all(conn)
    .await?;
    Ok(readable(rows))
}

fn readable(rows: Vec<EntryColumns>) -> Vec<JournalEntry> {
    let entries = rows.into_iter().filter_map(|row| entry(row).ok());
    entries.collect()
}

fn entry(columns: EntryColumns) -> Result<JournalEntry, StoreError> {
    let (
        id,
        at,
        kind,
        action,
        outcome,
        account,
        entity,
        peer,
        protocol,
        session,
        path,
        size,
        duration,
        node,
        detail,
    ) = columns;
    let broken = |what| StoreError::Corrupt {
        table: "journal",
        id,
        what,
    };
    let detail = match serde_json::from_str(&detail) {
        Ok(serde_json::Value::Object(detail)) => detail,
        _ => return Err(broken("detail")),
    };
    Ok(JournalEntry {
        id,
        at: Timestamp::from_micros(at),
        kind: kind.parse().map_err(|_| broken("kind"))?,
        action,
        outcome: outcome.parse().map_err(|_| broken("outcome"))?,
        account,
        entity,
        peer: peer
            .map(|peer| peer.parse())
            .transpose()
            .map_err(|_| broken("peer"))?,
        protocol: protocol
            .map(|p| p.parse())
            .transpose()
            .map_err(|_| broken("protocol"))?,
        session: session.map(SessionId),
        path: path
            .map(|path| VirtualPath::parse(&path))
            .transpose()
            .map_err(|_| broken("path"))?,
        size_bytes: size.and_then(|size| u64::try_from(size).ok()),
        duration_ms: duration.and_then(|ms| u64::try_from(ms).ok()),
        node,
        detail,
    })
}
