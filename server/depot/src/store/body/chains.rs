//! The hash chains over the journal and the deletion certificates: entries get
//! their place, checkpoints are signed, old entries go.
//!
//! An entry is written in the transaction of what it tells of, without its
//! place: a chain has one end, and partners who publish at the same time would
//! wait for it. A job gives places soon after, in the order of the numbers.

use layover_retention::{
    ChainHash, ChainHead, ChainName, Checkpoint, PublicKey, Signature, SigningKey, Timestamp,
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::chain_check::check;
use super::{Conn, SETTLED_AFTER, Step, StoreError, following, journal, run};
use crate::chain_memory::Expected;
use crate::journal::NewEntry;
use crate::ledger::{ChainRow, Pruned, Sealed};
use crate::{NodeId, PathTexts};

/// Columns of a journal entry as they are hashed.
macro_rules! journal_columns {
    () => {
        "j.id, j.at_us, j.kind, j.action, j.outcome, j.account, j.entity, j.peer, j.protocol, \
         j.session_id, j.path, j.size_bytes, j.duration_ms, j.node_id, j.detail"
    };
}

type JournalColumns = (
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

/// A journal entry as it is hashed and exported: the columns, in this order.
#[derive(Serialize)]
struct JournalRecord<'a> {
    id: i64,
    at_us: i64,
    kind: &'a str,
    action: &'a str,
    outcome: &'a str,
    account: Option<&'a str>,
    entity: Option<&'a str>,
    peer: Option<&'a str>,
    protocol: Option<&'a str>,
    session: Option<&'a str>,
    path: Option<String>,
    /// The path's bytes in hexadecimal digits, when they are no text.
    #[serde(skip_serializing_if = "Option::is_none")]
    path_hex: Option<String>,
    size_bytes: Option<i64>,
    duration_ms: Option<i64>,
    node: &'a str,
    detail: Detail<'a>,
}

/// The details as they were written; as a text when they are no JSON any more.
#[derive(Serialize)]
#[serde(untagged)]
enum Detail<'a> {
    Json(&'a RawValue),
    Text(&'a str),
}

fn journal_record(columns: &JournalColumns) -> Result<String, StoreError> {
    let (
        id,
        at_us,
        kind,
        action,
        outcome,
        account,
        entity,
        peer,
        protocol,
        session,
        path,
        size_bytes,
        duration_ms,
        node,
        detail,
    ) = columns;
    let texts = path.as_deref().map(PathTexts::of);
    let (path, path_hex) = texts.map(|texts| (texts.path, texts.path_hex)).unzip();
    let record = JournalRecord {
        id: *id,
        at_us: *at_us,
        kind,
        action,
        outcome,
        account: account.as_deref(),
        entity: entity.as_deref(),
        peer: peer.as_deref(),
        protocol: protocol.as_deref(),
        session: session.as_deref(),
        path,
        path_hex: path_hex.flatten(),
        size_bytes: *size_bytes,
        duration_ms: *duration_ms,
        node,
        detail: match serde_json::from_str(detail) {
            Ok(json) => Detail::Json(json),
            Err(_) => Detail::Text(detail),
        },
    };
    serde_json::to_string(&record).map_err(|_| StoreError::Corrupt {
        table: "journal",
        id: *id,
        what: "detail",
    })
}

/// The head's row, locked until the transaction ends.
pub(super) struct Head {
    pub(super) head: ChainHead,
    pub(super) settled_id: i64,
    pub(super) last_id: i64,
    signed_seq: i64,
    signed_us: i64,
}

fn hash(chain: ChainName, seq: i64, bytes: &[u8]) -> Result<ChainHash, StoreError> {
    let bytes = bytes.try_into().map_err(|_| StoreError::Corrupt {
        table: "chain_links",
        id: seq,
        what: match chain {
            ChainName::Certificates => "hash of the certificates' chain",
            ChainName::Journal => "hash of the journal's chain",
        },
    })?;
    Ok(ChainHash::from_bytes(bytes))
}

pub(super) fn number(seq: u64) -> i64 {
    i64::try_from(seq).unwrap_or(i64::MAX)
}

pub(super) fn count(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

async fn lock_head(conn: &mut Conn, chain: ChainName) -> Result<Head, StoreError> {
    sqlx::query(
        "INSERT INTO chain_heads (chain, seq, hash, settled_id, last_id, signed_seq, signed_us) \
         VALUES ($1, 0, $2, 0, 0, 0, 0) ON CONFLICT (chain) DO NOTHING",
    )
    .bind(chain.as_str())
    .bind(ChainHash::ZERO.as_bytes().to_vec())
    .execute(&mut *conn)
    .await?;
    // An update that changes nothing locks the row on every engine.
    let row: (i64, Vec<u8>, i64, i64, i64, i64) = sqlx::query_as(
        "UPDATE chain_heads SET seq = seq WHERE chain = $1 \
         RETURNING seq, hash, settled_id, last_id, signed_seq, signed_us",
    )
    .bind(chain.as_str())
    .fetch_one(&mut *conn)
    .await?;
    let (seq, bytes, settled_id, last_id, signed_seq, signed_us) = row;
    Ok(Head {
        head: ChainHead {
            seq: count(seq),
            hash: hash(chain, seq, &bytes)?,
        },
        settled_id,
        last_id,
        signed_seq,
        signed_us,
    })
}

/// Where the chain stands.
pub(crate) async fn chain_head(conn: &mut Conn, chain: ChainName) -> Result<ChainHead, StoreError> {
    let row: Option<(i64, Vec<u8>)> =
        sqlx::query_as("SELECT seq, hash FROM chain_heads WHERE chain = $1")
            .bind(chain.as_str())
            .fetch_optional(conn)
            .await?;
    let Some((seq, bytes)) = row else {
        return Ok(ChainHead::EMPTY);
    };
    Ok(ChainHead {
        seq: count(seq),
        hash: hash(chain, seq, &bytes)?,
    })
}

pub(super) async fn link_hash(
    conn: &mut Conn,
    chain: ChainName,
    seq: u64,
) -> Result<Option<ChainHash>, StoreError> {
    let row: Option<(Vec<u8>,)> =
        sqlx::query_as("SELECT hash FROM chain_links WHERE chain = $1 AND seq = $2")
            .bind(chain.as_str())
            .bind(number(seq))
            .fetch_optional(conn)
            .await?;
    row.map(|(bytes,)| hash(chain, number(seq), &bytes))
        .transpose()
}

/// What was signed of this entry.
pub(super) async fn signed_at(
    conn: &mut Conn,
    chain: ChainName,
    seq: u64,
) -> Result<Option<Checkpoint>, StoreError> {
    let row = sqlx::query_as(
        "SELECT seq, hash, at_us, key_id, signature FROM chain_checkpoints \
         WHERE chain = $1 AND seq = $2",
    )
    .bind(chain.as_str())
    .bind(number(seq))
    .fetch_optional(conn)
    .await?;
    row.map(|row| checkpoint(chain, row)).transpose()
}

/// The newest entry that is older than [`SETTLED_AFTER`]; `last_id` where every
/// entry is settled at once.
async fn settled(
    conn: &mut Conn,
    chain: ChainName,
    last_id: i64,
    now: Timestamp,
) -> Result<i64, StoreError> {
    if SETTLED_AFTER.is_zero() {
        return Ok(last_id);
    }
    // The sign keeps the planner off the index by time: the end of the table is
    // near.
    let statement = match chain {
        ChainName::Journal => {
            "SELECT id FROM journal WHERE id <= $2 AND +at_us <= $1 ORDER BY id DESC LIMIT 1"
        }
        ChainName::Certificates => {
            "SELECT id FROM certificates WHERE id <= $2 AND at_us <= $1 ORDER BY id DESC LIMIT 1"
        }
    };
    let row: Option<(i64,)> = sqlx::query_as(statement)
        .bind(now.saturating_sub(SETTLED_AFTER).as_micros())
        .bind(last_id)
        .fetch_optional(conn)
        .await?;
    Ok(row.map_or(0, |(id,)| id))
}

/// Entries that have no place yet.
async fn unsealed(
    conn: &mut Conn,
    chain: ChainName,
    after: i64,
    limit: i64,
) -> Result<Vec<(i64, String)>, StoreError> {
    match chain {
        ChainName::Certificates => Ok(sqlx::query_as(
            "SELECT c.id, c.record FROM certificates c WHERE c.id > $1 AND NOT EXISTS \
             (SELECT 1 FROM chain_links l WHERE l.chain = 'certificates' AND l.entry_id = c.id) \
             ORDER BY c.id LIMIT $2",
        )
        .bind(after)
        .bind(limit)
        .fetch_all(conn)
        .await?),
        ChainName::Journal => {
            let rows: Vec<JournalColumns> = sqlx::query_as(concat!(
                "SELECT ",
                journal_columns!(),
                " FROM journal j WHERE j.id > $1 AND NOT EXISTS \
                 (SELECT 1 FROM chain_links l WHERE l.chain = 'journal' AND l.entry_id = j.id) \
                 ORDER BY j.id LIMIT $2"
            ))
            .bind(after)
            .bind(limit)
            .fetch_all(conn)
            .await?;
            rows.iter()
                .map(|row| Ok((row.0, journal_record(row)?)))
                .collect()
        }
    }
}

/// Gives at most `limit` entries their place, and signs where the chain stands
/// when it has grown. A thorough look finds also those that were written later
/// than one with a greater number. `expected` is what this node knows of the chain.
pub(crate) async fn seal(
    conn: &mut Conn,
    chain: ChainName,
    key: &SigningKey,
    expected: &Expected,
    now: Timestamp,
    thorough: bool,
    limit: usize,
) -> Result<Sealed, StoreError> {
    let before = lock_head(conn, chain).await?;
    let begins = check(conn, chain, &before, expected).await?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let after = if thorough {
        before.settled_id
    } else {
        before.last_id
    };
    let entries = unsealed(conn, chain, after, limit).await?;
    let found = i64::try_from(entries.len()).unwrap_or(i64::MAX);
    let mut head = before.head;
    let mut last_id = before.last_id;
    let mut steps = Vec::with_capacity(entries.len());
    for (id, record) in entries {
        head = head.next(chain, record.as_bytes());
        last_id = last_id.max(id);
        steps.push(Step::new(
            "INSERT INTO chain_links (chain, seq, entry_id, hash) VALUES ($1, $2, $3, $4)",
            [
                chain.as_str().into(),
                number(head.seq).into(),
                id.into(),
                head.hash.as_bytes().to_vec().into(),
            ],
        ));
    }
    run(conn, steps).await?;
    let more = found == limit;
    // Writers may finish in another order than they began: what is new stays
    // unsettled until the last of them must be done, and was looked for.
    let settled_id = if thorough && !more {
        before
            .settled_id
            .max(settled(conn, chain, last_id, now).await?)
    } else {
        before.settled_id
    };
    let (signed_seq, signed_us) = if head.seq == count(before.signed_seq) {
        (before.signed_seq, before.signed_us)
    } else {
        keep_checkpoint(
            conn,
            chain,
            &key.checkpoint(chain, head, now),
            before.signed_us,
        )
        .await?;
        (number(head.seq), now.as_micros())
    };
    sqlx::query(
        "UPDATE chain_heads SET seq = $2, hash = $3, settled_id = $4, last_id = $5, \
         signed_seq = $6, signed_us = $7 WHERE chain = $1",
    )
    .bind(chain.as_str())
    .bind(number(head.seq))
    .bind(head.hash.as_bytes().to_vec())
    .bind(settled_id)
    .bind(last_id)
    .bind(signed_seq)
    .bind(signed_us)
    .execute(conn)
    .await?;
    Ok(Sealed {
        entries: head.seq.saturating_sub(before.head.seq),
        more,
        found: before.head,
        head,
        begins,
        last_id,
    })
}

/// Whether new entries may wait for their place: a glance, so that a quiet
/// appliance writes nothing.
pub(crate) async fn has_unsealed(conn: &mut Conn, chain: ChainName) -> Result<bool, StoreError> {
    let statement = match chain {
        ChainName::Journal => {
            "SELECT COALESCE((SELECT MAX(id) FROM journal), 0), \
             COALESCE((SELECT last_id FROM chain_heads WHERE chain = 'journal'), 0)"
        }
        ChainName::Certificates => {
            "SELECT COALESCE((SELECT MAX(id) FROM certificates), 0), \
             COALESCE((SELECT last_id FROM chain_heads WHERE chain = 'certificates'), 0)"
        }
    };
    let (newest, last): (i64, i64) = sqlx::query_as(statement).fetch_one(conn).await?;
    Ok(newest > last)
}

/// The newest signed record.
pub(crate) async fn last_checkpoint(
    conn: &mut Conn,
    chain: ChainName,
) -> Result<Option<u64>, StoreError> {
    let (seq,): (Option<i64>,) =
        sqlx::query_as("SELECT MAX(seq) FROM chain_checkpoints WHERE chain = $1")
            .bind(chain.as_str())
            .fetch_one(conn)
            .await?;
    Ok(seq.map(count))
}

/// One checkpoint is kept for each hour; the newest always.
async fn keep_checkpoint(
    conn: &mut Conn,
    chain: ChainName,
    checkpoint: &Checkpoint,
    signed_before_us: i64,
) -> Result<(), StoreError> {
    const HOUR_US: i64 = 3_600_000_000;
    if signed_before_us.div_euclid(HOUR_US) == checkpoint.at.as_micros().div_euclid(HOUR_US) {
        sqlx::query("DELETE FROM chain_checkpoints WHERE chain = $1 AND at_us = $2 AND pruned = 0")
            .bind(chain.as_str())
            .bind(signed_before_us)
            .execute(&mut *conn)
            .await?;
    }
    add_checkpoint(conn, chain, checkpoint, 0).await
}

async fn add_checkpoint(
    conn: &mut Conn,
    chain: ChainName,
    checkpoint: &Checkpoint,
    pruned: i64,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO chain_checkpoints (chain, seq, hash, at_us, key_id, signature, pruned) \
         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (chain, seq) DO UPDATE SET \
         at_us = EXCLUDED.at_us, key_id = EXCLUDED.key_id, signature = EXCLUDED.signature, \
         pruned = EXCLUDED.pruned",
    )
    .bind(chain.as_str())
    .bind(number(checkpoint.head.seq))
    .bind(checkpoint.head.hash.as_bytes().to_vec())
    .bind(checkpoint.at.as_micros())
    .bind(checkpoint.key_id.as_str().to_owned())
    .bind(checkpoint.signature.as_bytes().to_vec())
    .bind(pruned)
    .execute(conn)
    .await?;
    Ok(())
}

/// Links after `after`, at most `limit`, with their records: `None` where the
/// entry is no longer there.
pub(crate) async fn chain_page(
    conn: &mut Conn,
    chain: ChainName,
    after: u64,
    limit: usize,
) -> Result<Vec<ChainRow>, StoreError> {
    let links: Vec<(i64, i64, Vec<u8>)> = sqlx::query_as(
        "SELECT seq, entry_id, hash FROM chain_links WHERE chain = $1 AND seq > $2 \
         ORDER BY seq LIMIT $3",
    )
    .bind(chain.as_str())
    .bind(number(after))
    .bind(i64::try_from(limit).unwrap_or(i64::MAX))
    .fetch_all(&mut *conn)
    .await?;
    let last = links.last().map_or(0, |(seq, ..)| *seq);
    let mut records = records(conn, chain, number(after), last).await?;
    links
        .into_iter()
        .map(|(seq, entry, bytes)| {
            Ok(ChainRow {
                seq: count(seq),
                hash: hash(chain, seq, &bytes)?,
                record: records.remove(&entry),
            })
        })
        .collect()
}

async fn records(
    conn: &mut Conn,
    chain: ChainName,
    after: i64,
    last: i64,
) -> Result<std::collections::HashMap<i64, String>, StoreError> {
    let rows: Vec<(i64, String)> =
        match chain {
            ChainName::Certificates => sqlx::query_as(
                "SELECT c.id, c.record FROM certificates c JOIN chain_links l ON l.entry_id = c.id \
                 WHERE l.chain = 'certificates' AND l.seq > $1 AND l.seq <= $2",
            )
            .bind(after)
            .bind(last)
            .fetch_all(conn)
            .await?,
            ChainName::Journal => {
                let rows: Vec<JournalColumns> = sqlx::query_as(concat!(
                    "SELECT ",
                    journal_columns!(),
                    " FROM journal j JOIN chain_links l ON l.entry_id = j.id \
                 WHERE l.chain = 'journal' AND l.seq > $1 AND l.seq <= $2"
                ))
                .bind(after)
                .bind(last)
                .fetch_all(conn)
                .await?;
                let mut records = Vec::with_capacity(rows.len());
                for row in &rows {
                    records.push((row.0, journal_record(row)?));
                }
                records
            }
        };
    Ok(rows.into_iter().collect())
}

/// Checkpoints of records after `after` up to `last`, in order.
pub(crate) async fn chain_checkpoints(
    conn: &mut Conn,
    chain: ChainName,
    after: u64,
    last: u64,
) -> Result<Vec<Checkpoint>, StoreError> {
    let rows = sqlx::query_as(
        "SELECT seq, hash, at_us, key_id, signature FROM chain_checkpoints \
         WHERE chain = $1 AND seq > $2 AND seq <= $3 ORDER BY seq",
    )
    .bind(chain.as_str())
    .bind(number(after))
    .bind(number(last))
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(|row| checkpoint(chain, row)).collect()
}

type CheckpointColumns = (i64, Vec<u8>, i64, String, Vec<u8>);

fn checkpoint(
    chain: ChainName,
    (seq, bytes, at, key_id, signature): CheckpointColumns,
) -> Result<Checkpoint, StoreError> {
    Ok(Checkpoint {
        head: ChainHead {
            seq: count(seq),
            hash: hash(chain, seq, &bytes)?,
        },
        at: Timestamp::from_micros(at),
        key_id: key_id.parse().map_err(|_| StoreError::Corrupt {
            table: "chain_checkpoints",
            id: seq,
            what: "key_id",
        })?,
        signature: Signature::from_bytes(signature),
    })
}

/// The checkpoint of what was pruned last.
pub(crate) async fn chain_beginning(
    conn: &mut Conn,
    chain: ChainName,
) -> Result<Option<Checkpoint>, StoreError> {
    let row = sqlx::query_as(
        "SELECT seq, hash, at_us, key_id, signature FROM chain_checkpoints \
         WHERE chain = $1 AND pruned = 1 ORDER BY seq DESC LIMIT 1",
    )
    .bind(chain.as_str())
    .fetch_optional(conn)
    .await?;
    row.map(|row| checkpoint(chain, row)).transpose()
}

/// Entries that turned up where every place was given: at most `limit` of
/// their numbers.
pub(crate) async fn chain_intruders(
    conn: &mut Conn,
    chain: ChainName,
    limit: usize,
) -> Result<Vec<i64>, StoreError> {
    let statement = match chain {
        ChainName::Journal => {
            "SELECT j.id FROM journal j JOIN chain_heads h ON h.chain = 'journal' \
             WHERE j.id <= h.settled_id AND NOT EXISTS (SELECT 1 FROM chain_links l \
             WHERE l.chain = 'journal' AND l.entry_id = j.id) ORDER BY j.id LIMIT $1"
        }
        ChainName::Certificates => {
            "SELECT c.id FROM certificates c JOIN chain_heads h ON h.chain = 'certificates' \
             WHERE c.id <= h.settled_id AND NOT EXISTS (SELECT 1 FROM chain_links l \
             WHERE l.chain = 'certificates' AND l.entry_id = c.id) ORDER BY c.id LIMIT $1"
        }
    };
    let rows: Vec<(i64,)> = sqlx::query_as(statement)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(conn)
        .await?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

/// When what a record tells of happened: what is hashed, not the column beside it.
fn recorded_at(chain: ChainName, seq: u64, record: &str) -> Result<Timestamp, StoreError> {
    #[derive(Deserialize)]
    struct Entry {
        at_us: i64,
    }
    #[derive(Deserialize)]
    struct Certificate {
        deleted_at: Timestamp,
    }
    let at = match chain {
        ChainName::Journal => {
            serde_json::from_str(record).map(|Entry { at_us }| Timestamp::from_micros(at_us))
        }
        ChainName::Certificates => {
            serde_json::from_str(record).map(|Certificate { deleted_at }| deleted_at)
        }
    };
    at.map_err(|_| StoreError::Corrupt {
        table: chain.as_str(),
        id: number(seq),
        what: "time of an entry",
    })
}

/// When the entry at this place was written, if it is there.
pub(crate) async fn written_at(
    conn: &mut Conn,
    chain: ChainName,
    seq: u64,
) -> Result<Option<Timestamp>, StoreError> {
    let rows = chain_page(conn, chain, seq.saturating_sub(1), 1).await?;
    let row = rows.into_iter().find(|row| row.seq == seq);
    let record = row.and_then(|row| row.record);
    record
        .map(|record| recorded_at(chain, seq, &record))
        .transpose()
}

/// Removes entries of a chain that are older than `before` and have their place, at
/// most `limit`: always a whole beginning of the chain, each as it was when it got its
/// place, and a signed checkpoint stays there. `entry`, in the journal, tells what went.
/// What a follower of the journal has not dealt with yet stays. Returns what went, if anything did.
///
/// Whoever took an entry away, or made one look old, gets no signature for it: then
/// nothing is pruned.
pub(crate) async fn prune(
    conn: &mut Conn,
    chain: ChainName,
    key: &SigningKey,
    expected: &Expected,
    before: Timestamp,
    limit: usize,
    entry: &NewEntry,
) -> Result<Option<Pruned>, StoreError> {
    let altered = |what: String| Err(StoreError::Altered { chain, what });
    let missing = |seq: u64| altered(format!("entry {seq} is missing, so nothing is pruned"));
    let end = lock_head(conn, chain).await?;
    let beginning = check(conn, chain, &end, expected).await?;
    let end = end.head;
    // One more than may go: it tells that the last of them is its forerunner.
    let wanted = limit.saturating_add(1);
    let rows = chain_page(conn, chain, beginning.seq, wanted).await?;
    let reach = rows.last().map_or(beginning.seq, |row| row.seq);
    let followed = match chain {
        ChainName::Journal => following::slowest(conn).await?,
        ChainName::Certificates => u64::MAX,
    };
    if rows.len() < wanted && reach != end.seq {
        return missing(reach.saturating_add(1));
    }
    let mut head = beginning;
    let mut pruned = 0_usize;
    for row in rows {
        let seq = head.seq.saturating_add(1);
        let Some(record) = row.record.filter(|_| row.seq == seq) else {
            return missing(seq);
        };
        let next = head.next(chain, record.as_bytes());
        if next.hash != row.hash {
            return altered(format!("entry {seq} was changed, so nothing is pruned"));
        }
        if pruned == limit || seq > followed || recorded_at(chain, seq, &record)? >= before {
            break;
        }
        head = next;
        pruned = pruned.saturating_add(1);
    }
    if pruned == 0 {
        return Ok(None);
    }
    let checkpoint = key.pruning(chain, head, entry.at);
    add_checkpoint(conn, chain, &checkpoint, 1).await?;
    sqlx::query("DELETE FROM chain_checkpoints WHERE chain = $1 AND seq < $2")
        .bind(chain.as_str())
        .bind(number(head.seq))
        .execute(&mut *conn)
        .await?;
    // Only what was looked at: a link further ahead is none of ours.
    let end = match chain {
        ChainName::Journal => {
            "DELETE FROM journal WHERE id IN (SELECT entry_id FROM chain_links \
             WHERE chain = $1 AND seq > $2 AND seq <= $3)"
        }
        ChainName::Certificates => {
            "DELETE FROM certificates WHERE id IN (SELECT entry_id FROM chain_links \
             WHERE chain = $1 AND seq > $2 AND seq <= $3)"
        }
    };
    for statement in [
        end,
        "DELETE FROM chain_links WHERE chain = $1 AND seq > $2 AND seq <= $3",
    ] {
        sqlx::query(statement)
            .bind(chain.as_str())
            .bind(number(beginning.seq))
            .bind(number(head.seq))
            .execute(&mut *conn)
            .await?;
    }
    let entry = entry
        .clone()
        .with("chain", chain.as_str())
        .with("entries", pruned)
        .with("first", beginning.seq.saturating_add(1))
        .with("last", head.seq)
        .with("before", before.to_string());
    journal::append(conn, &entry).await?;
    Ok(Some(Pruned {
        entries: head.seq.saturating_sub(beginning.seq),
        head,
    }))
}

/// Remembers the public half of this node's key.
pub(crate) async fn register_key(
    conn: &mut Conn,
    key: &PublicKey,
    node: &NodeId,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO signing_keys (key_id, public_key, node_id, added_at_us) \
         VALUES ($1, $2, $3, $4) ON CONFLICT (key_id) DO NOTHING",
    )
    .bind(key.id().as_str().to_owned())
    .bind(key.as_bytes().to_vec())
    .bind(node.as_str().to_owned())
    .bind(now.as_micros())
    .execute(conn)
    .await?;
    Ok(())
}

/// Every key that ever signed, the oldest first.
pub(crate) async fn signing_keys(conn: &mut Conn) -> Result<Vec<PublicKey>, StoreError> {
    let rows: Vec<(Vec<u8>, i64)> = sqlx::query_as(
        "SELECT public_key, added_at_us FROM signing_keys ORDER BY added_at_us, key_id",
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|(bytes, at)| {
            let bytes = bytes
                .as_slice()
                .try_into()
                .map_err(|_| StoreError::Corrupt {
                    table: "signing_keys",
                    id: at,
                    what: "public_key",
                })?;
            Ok(PublicKey::from_bytes(bytes))
        })
        .collect()
}
