//! What was seen of connections.

use layover_retention::Timestamp;
use serde_json::{Map, Value};

use super::files::bigint;
use super::{Conn, StoreError};
use crate::doctor::{Change, OthersPlace, SeenSign, Sign, SignDetail, SignWrite};
use crate::{JournalKind, NodeId, Protocol};

/// Rows of one account from addresses that are a partner's, and from others: an account
/// has a few addresses, and each some thirty signs a protocol at most.
const MAX_OF_ACCOUNT: [(i64, i64); 2] = [(1, 160), (0, 40)];

/// Rows of nobody's: of partners' addresses, and of strangers.
const MAX_OF_NOBODY: [(i64, i64); 2] = [(1, 2_000), (0, 500)];

/// After so many good ones a bad sign is the beginning of something new.
const BEGINS_ANEW_AFTER: i64 = 3;

fn broken(what: &'static str) -> StoreError {
    StoreError::Corrupt {
        table: "connection_signs",
        id: 0,
        what,
    }
}

/// Adds what was seen, and takes the oldest away where there are too many. `writes` are in
/// the order of their keys.
pub(crate) async fn add_signs(
    conn: &mut Conn,
    writes: &[SignWrite],
    node: &NodeId,
) -> Result<(), StoreError> {
    for write in writes {
        add(conn, write, node).await?;
    }
    // Behind the bad ones: of the same seconds, the later decides.
    for write in writes.iter().filter(|write| write.key.sign.is_good()) {
        refute(conn, write).await?;
    }
    let mut accounts: Vec<_> = writes.iter().map(|write| &write.key.account).collect();
    accounts.dedup();
    for account in accounts {
        let limits = match account.is_empty() {
            true => MAX_OF_NOBODY,
            false => MAX_OF_ACCOUNT,
        };
        for (known, most) in limits {
            make_room(conn, account, known, most).await?;
        }
    }
    Ok(())
}

type Before = (i64, i64, i64, Option<i64>, String);

async fn add(conn: &mut Conn, write: &SignWrite, node: &NodeId) -> Result<(), StoreError> {
    let (key, tally) = (&write.key, &write.tally);
    let before: Option<Before> = sqlx::query_as(row_locked!(
        "SELECT times, first_at_us, good_times, good_at_us, detail FROM connection_signs \
         WHERE account = $1 AND network = $2 AND protocol = $3 AND sign = $4"
    ))
    .bind(key.account.clone())
    .bind(key.network.clone())
    .bind(key.protocol)
    .bind(key.sign.as_str())
    .fetch_optional(&mut *conn)
    .await?;
    let mut detail = SignDetail::default();
    let (mut times, mut first_at) = (bigint(tally.times), tally.first_at.as_micros());
    // What was good before waits to be written and to count here: not of this.
    let (mut good_times, mut good_at) = (bigint(tally.good_before).saturating_neg(), None);
    // It had passed: this is another time.
    let goes_on = before.filter(|(times, _, good, good_at, _)| {
        let has_passed = good_at.is_some_and(|at| at < first_at);
        !(has_passed && *good >= (*times).max(BEGINS_ANEW_AFTER))
    });
    if let Some((before, began_at, good, refuted_at, known)) = goes_on {
        times = times.saturating_add(before);
        first_at = began_at.min(first_at);
        (good_times, good_at) = (good, refuted_at);
        detail = serde_json::from_str(&known).unwrap_or_default();
    }
    detail.merge(tally.detail.clone());
    sqlx::query(
        "INSERT INTO connection_signs (account, network, protocol, sign, refuted_by, known, times, \
         first_at_us, last_at_us, good_times, good_at_us, node, detail) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) \
         ON CONFLICT (account, network, protocol, sign) DO UPDATE SET known = excluded.known, \
         times = excluded.times, first_at_us = excluded.first_at_us, \
         last_at_us = excluded.last_at_us, good_times = excluded.good_times, \
         good_at_us = excluded.good_at_us, node = excluded.node, detail = excluded.detail",
    )
    .bind(key.account.clone())
    .bind(key.network.clone())
    .bind(key.protocol)
    .bind(key.sign.as_str())
    .bind(key.sign.refuted_by().map(Sign::as_str))
    .bind(i64::from(write.is_known))
    .bind(times)
    .bind(first_at)
    .bind(tally.last_at.as_micros())
    .bind(good_times)
    .bind(good_at)
    .bind(node.as_str().to_owned())
    .bind(serde_json::to_string(&detail).unwrap_or_default())
    .execute(conn)
    .await?;
    Ok(())
}

/// Signs that a good one speaks against, of the account and of nobody at its address.
async fn refute(conn: &mut Conn, write: &SignWrite) -> Result<(), StoreError> {
    let (key, tally) = (&write.key, &write.tally);
    sqlx::query(
        "UPDATE connection_signs SET good_times = good_times + $5, good_at_us = $6 \
         WHERE account IN ($1, '') AND network = $2 AND protocol IN ($3, '') AND refuted_by = $4",
    )
    .bind(key.account.clone())
    .bind(key.network.clone())
    .bind(key.protocol)
    .bind(key.sign.as_str())
    .bind(bigint(tally.times))
    .bind(tally.last_at.as_micros())
    .execute(conn)
    .await?;
    Ok(())
}

async fn make_room(
    conn: &mut Conn,
    account: &str,
    known: i64,
    most: i64,
) -> Result<(), StoreError> {
    sqlx::query(
        "DELETE FROM connection_signs WHERE account = $1 AND known = $2 AND last_at_us <= \
         (SELECT last_at_us FROM connection_signs WHERE account = $1 AND known = $2 \
         ORDER BY last_at_us DESC LIMIT 1 OFFSET $3)",
    )
    .bind(account.to_owned())
    .bind(known)
    .bind(most)
    .execute(conn)
    .await?;
    Ok(())
}

type Columns = (
    String,
    String,
    String,
    String,
    i64,
    i64,
    i64,
    i64,
    Option<i64>,
    String,
    String,
);

fn sign_of(columns: Columns) -> Result<SeenSign, StoreError> {
    let (account, network, protocol, sign, times, first, last, good, good_at, node, detail) =
        columns;
    let mut protocols = [Protocol::Ftps, Protocol::Sftp].into_iter();
    let protocol = protocols.find(|known| known.as_str() == protocol);
    Ok(SeenSign {
        sign: sign.parse().map_err(|_| broken("sign"))?,
        account: Some(account).filter(|name| !name.is_empty()),
        network: network.parse().map_err(|_| broken("network"))?,
        protocol,
        times: u64::try_from(times).unwrap_or(0),
        first_at: Timestamp::from_micros(first),
        last_at: Timestamp::from_micros(last),
        good_times: u64::try_from(good).unwrap_or(0),
        good_at: good_at.map(Timestamp::from_micros),
        node,
        detail: serde_json::from_str(&detail).map_err(|_| broken("detail"))?,
    })
}

/// All of an account, the newest first.
pub(crate) async fn signs_of(conn: &mut Conn, account: &str) -> Result<Vec<SeenSign>, StoreError> {
    let rows: Vec<Columns> = sqlx::query_as(
        "SELECT account, network, protocol, sign, times, first_at_us, last_at_us, good_times, \
         good_at_us, node, detail FROM connection_signs WHERE account = $1 \
         ORDER BY last_at_us DESC, network, protocol, sign",
    )
    .bind(account.to_owned())
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(sign_of).collect()
}

/// Those of nobody, the newest first, `limit` at most.
pub(crate) async fn signs_of_nobody(
    conn: &mut Conn,
    limit: usize,
) -> Result<Vec<SeenSign>, StoreError> {
    let rows: Vec<Columns> = sqlx::query_as(
        "SELECT account, network, protocol, sign, times, first_at_us, last_at_us, good_times, \
         good_at_us, node, detail FROM connection_signs WHERE account = '' \
         ORDER BY last_at_us DESC, network, protocol, sign LIMIT $1",
    )
    .bind(bigint(limit as u64))
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(sign_of).collect()
}

/// Networks and addresses of one reading of [`places_of_others`].
const MAX_PLACES: i64 = 20_000;

/// Where other accounts come from: networks that they name, but `any`, and addresses from
/// which they have logged in; of each at most 20,000.
pub(crate) async fn places_of_others(
    conn: &mut Conn,
    account: &str,
    now: Timestamp,
) -> Result<Vec<OthersPlace>, StoreError> {
    let named: Vec<(String, i64)> = sqlx::query_as(
        "SELECT DISTINCT n.network, CAST(CASE WHEN EXISTS (SELECT 1 FROM accounts o \
         WHERE o.name = $1 AND o.removed_at_us IS NULL AND o.entity_id = a.entity_id) \
         THEN 1 ELSE 0 END AS BIGINT) \
         FROM account_networks n JOIN accounts a ON a.id = n.account_id \
         WHERE a.name <> $1 AND a.removed_at_us IS NULL AND n.network <> 'any' \
         AND (n.until_us IS NULL OR n.until_us > $2) LIMIT $3",
    )
    .bind(account.to_owned())
    .bind(now.as_micros())
    .bind(MAX_PLACES)
    .fetch_all(&mut *conn)
    .await?;
    let logged_in: Vec<(String, i64)> = sqlx::query_as(
        "SELECT DISTINCT s.network, CAST(CASE WHEN EXISTS (SELECT 1 FROM accounts a \
         JOIN accounts o ON o.entity_id = a.entity_id WHERE a.name = s.account \
         AND a.removed_at_us IS NULL AND o.name = $2 AND o.removed_at_us IS NULL) \
         THEN 1 ELSE 0 END AS BIGINT) FROM connection_signs s \
         WHERE s.sign = $1 AND s.account <> $2 AND s.account <> '' LIMIT $3",
    )
    .bind(Sign::LoggedIn.as_str())
    .bind(account.to_owned())
    .bind(MAX_PLACES)
    .fetch_all(&mut *conn)
    .await?;
    let places = named.into_iter().chain(logged_in);
    places
        .map(|(network, is_same_entity)| {
            Ok(OthersPlace {
                network: network.parse().map_err(|_| broken("network"))?,
                is_same_entity: is_same_entity != 0,
            })
        })
        .collect()
}

/// Changes of an account that one examination looks at.
const MAX_CHANGES: i64 = 100;

/// How far the clocks of two nodes are apart at most, where entries are in the order of
/// their numbers: five minutes, in microseconds.
const CLOCKS_APART_US: i64 = 300_000_000;

/// What operators have changed of an account since then, the newest first; at most 100.
pub(crate) async fn account_changes(
    conn: &mut Conn,
    account: &str,
    since: Timestamp,
) -> Result<Vec<Change>, StoreError> {
    // By numbers, so that an account's transfers of before are not walked through.
    let before: Option<(i64,)> = sqlx::query_as(
        "SELECT id FROM journal WHERE at_us < $1 ORDER BY at_us DESC, id DESC LIMIT 1",
    )
    .bind(since.as_micros().saturating_sub(CLOCKS_APART_US))
    .fetch_optional(&mut *conn)
    .await?;
    let rows: Vec<(i64, String, String)> = sqlx::query_as(
        "SELECT at_us, action, detail FROM journal WHERE account = $1 AND id > $2 \
         AND kind = $3 AND at_us >= $4 ORDER BY id DESC LIMIT $5",
    )
    .bind(account.to_owned())
    .bind(before.map_or(0, |(id,)| id))
    .bind(JournalKind::Admin.as_str())
    .bind(since.as_micros())
    .bind(MAX_CHANGES)
    .fetch_all(conn)
    .await?;
    let fields = |detail: &str| {
        let detail: Map<String, Value> = serde_json::from_str(detail).unwrap_or_default();
        detail.into_iter().map(|(field, _)| field).collect()
    };
    let changes = rows.into_iter().map(|(at, action, detail)| Change {
        at: Timestamp::from_micros(at),
        action,
        fields: fields(&detail),
    });
    Ok(changes.collect())
}

/// Signs that were seen last before this time. Returns how many.
pub(crate) async fn forget_signs(conn: &mut Conn, before: Timestamp) -> Result<u64, StoreError> {
    let done = sqlx::query("DELETE FROM connection_signs WHERE last_at_us < $1")
        .bind(before.as_micros())
        .execute(conn)
        .await?;
    Ok(done.rows_affected())
}
