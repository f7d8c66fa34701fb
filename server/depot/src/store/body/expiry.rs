//! Which rule each file follows, and when it goes. A changed rule is carried to
//! the stored files in the transaction of the change.
//!
//! Rows are locked in this order: an entity, a home, its accounts, files. Who
//! changes a home's own rules locks its accounts: then nobody publishes a file
//! under rules that have just been replaced, and the home's row stays free for
//! the uploads that claim their place in its quota.

use std::sync::Arc;

use layover_retention::{Keep, KeepWish, RetentionPolicy, Timestamp};

use super::files::{below, bigint};
use super::sessions::note_change;
use super::{Conn, Step, StoreError, flows, holds, jobs, journal};
use crate::account::JobRun;
use crate::journal::NewEntry;
use crate::ledger::{ApplianceKeep, Wishes};
use crate::rules::{FolderKeep, Grounds, HomeRules};
use crate::store::keep_of;
use crate::{AccountId, EntityId, FileId, HomeId, NodeId, VirtualPath};

/// The row of `jobs` that remembers the appliance's own rule.
const RULE: &str = "retention-rule";

/// Counts what is written with each file by its rule: a database that was
/// written with less gets the rest when a server starts.
const WRITTEN: i64 = 2;

/// When a file goes by its rule, from its own columns.
macro_rules! by_rule {
    () => {
        "CASE WHEN collected_at_us + collected_keep_s * 1000000 \
         < arrived_at_us + rule_keep_s * 1000000 \
         THEN collected_at_us + collected_keep_s * 1000000 \
         ELSE arrived_at_us + rule_keep_s * 1000000 END"
    };
}

/// When it goes: not while it is held. `layover_retention::expires_at` says the same.
macro_rules! expiry {
    () => {
        concat!(
            "CASE WHEN held_until_us > (",
            by_rule!(),
            ") THEN held_until_us ELSE (",
            by_rule!(),
            ") END"
        )
    };
}

type WishColumns = (Option<i64>, Option<i64>, Option<i64>, i64);

/// What an account and its entity wish, and the number of its home's rules;
/// locked against a change until the transaction ends, so that no file is
/// published under a rule that another transaction has just replaced.
async fn wishes(conn: &mut Conn, account: AccountId) -> Result<Wishes, StoreError> {
    super::run(conn, vec![lock_step(account)]).await?;
    wishes_unlocked(conn, account).await
}

async fn wishes_unlocked(conn: &mut Conn, account: AccountId) -> Result<Wishes, StoreError> {
    let (entity_s, account_s, collected_s, rules_version): WishColumns = sqlx::query_as(
        "SELECT e.keep_s, a.keep_s, a.collected_keep_s, h.rules_version FROM accounts a \
         JOIN entities e ON e.id = a.entity_id JOIN homes h ON h.id = a.home_id WHERE a.id = $1",
    )
    .bind(account.0)
    .fetch_one(conn)
    .await?;
    Ok(Wishes {
        entity_s,
        account_s,
        collected_s,
        rules_version,
    })
}

/// Locks the wishes of an account against a change, among other steps.
pub(super) fn lock_step(account: AccountId) -> Step {
    Step::new(
        share_locked!(
            "SELECT e.keep_s, a.keep_s FROM accounts a JOIN entities e ON e.id = a.entity_id \
             WHERE a.id = $1"
        ),
        [account.0.into()],
    )
}

/// Locks the entity of an account, first of all.
pub(super) async fn lock_entity(conn: &mut Conn, account: AccountId) -> Result<(), StoreError> {
    let step = Step::new(
        share_locked!(
            "SELECT id FROM entities WHERE id = (SELECT entity_id FROM accounts WHERE id = $1)"
        ),
        [account.0.into()],
    );
    super::run(conn, vec![step]).await?;
    Ok(())
}

/// What holds for files that the account publishes; locked as [`wishes`] are.
pub(super) async fn grounds(conn: &mut Conn, account: AccountId) -> Result<Grounds, StoreError> {
    let wishes = wishes(conn, account).await?;
    with_rules(conn, account, wishes).await
}

/// The same as it is now; the next moment it may be another.
pub(crate) async fn grounds_now(
    conn: &mut Conn,
    account: AccountId,
) -> Result<Grounds, StoreError> {
    // Rules that change behind this look are newer than their number here:
    // nothing is published on such a guess.
    let wishes = wishes_unlocked(conn, account).await?;
    with_rules(conn, account, wishes).await
}

async fn with_rules(
    conn: &mut Conn,
    account: AccountId,
    wishes: Wishes,
) -> Result<Grounds, StoreError> {
    let rules = match wishes.rules_version {
        0 => HomeRules::default(),
        _ => {
            let home = home_of(conn, account).await?;
            home_rules(conn, home).await?
        }
    };
    Ok(Grounds {
        wishes,
        rules: Arc::new(rules),
    })
}

async fn home_of(conn: &mut Conn, account: AccountId) -> Result<HomeId, StoreError> {
    let (home,): (i64,) = sqlx::query_as("SELECT home_id FROM accounts WHERE id = $1")
        .bind(account.0)
        .fetch_one(conn)
        .await?;
    Ok(HomeId(home))
}

/// What holds for files of a home that nobody uploaded: the wishes of its first
/// live account, else of its entity.
pub(super) async fn grounds_of_home(conn: &mut Conn, home: HomeId) -> Result<Grounds, StoreError> {
    let first: Option<(i64,)> = sqlx::query_as(
        "SELECT id FROM accounts WHERE home_id = $1 AND removed_at_us IS NULL ORDER BY id LIMIT 1",
    )
    .bind(home.0)
    .fetch_optional(&mut *conn)
    .await?;
    if let Some((account,)) = first {
        return grounds(conn, AccountId(account)).await;
    }
    let (entity_s,): (Option<i64>,) = sqlx::query_as(share_locked!(
        "SELECT keep_s FROM entities WHERE id = (SELECT entity_id FROM homes WHERE id = $1)"
    ))
    .bind(home.0)
    .fetch_one(&mut *conn)
    .await?;
    let rules = home_rules(conn, home).await?;
    Ok(Grounds {
        wishes: Wishes {
            entity_s,
            ..Wishes::default()
        },
        rules: Arc::new(rules),
    })
}

async fn home_rules(conn: &mut Conn, home: HomeId) -> Result<HomeRules, StoreError> {
    let folders = folder_keeps(conn, home).await?;
    let on_it = holds::folder_holds(conn, home).await?;
    let arrivals = flows::arrival_folders(conn, home).await?;
    Ok(HomeRules::new(folders, on_it).with_arrivals(arrivals))
}

type FolderColumns = (Vec<u8>, Option<i64>, Option<i64>, i64, String);

/// The rules for a home's folders, by path.
pub(crate) async fn folder_keeps(
    conn: &mut Conn,
    home: HomeId,
) -> Result<Vec<FolderKeep>, StoreError> {
    let rows: Vec<FolderColumns> = sqlx::query_as(
        "SELECT path, keep_s, collected_keep_s, set_at_us, reason FROM folder_keeps \
         WHERE home_id = $1 ORDER BY path",
    )
    .bind(home.0)
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|(path, keep_s, collected_s, set_at, reason)| {
            Ok(FolderKeep {
                path: VirtualPath::parse(&path).map_err(|_| StoreError::Corrupt {
                    table: "folder_keeps",
                    id: home.0,
                    what: "path",
                })?,
                keep: keep_of(keep_s),
                collected_keep: keep_of(collected_s),
                set_at: Timestamp::from_micros(set_at),
                reason,
            })
        })
        .collect()
}

/// Locks everything that speaks of a home's rules, and counts their change. The
/// journal is the caller's.
pub(super) async fn begin_change_of_rules(conn: &mut Conn, home: HomeId) -> Result<(), StoreError> {
    let entity = Step::new(
        share_locked!(
            "SELECT id FROM entities WHERE id = (SELECT entity_id FROM homes WHERE id = $1)"
        ),
        [home.0.into()],
    );
    let number = Step::new(
        "UPDATE homes SET rules_version = rules_version + 1 WHERE id = $1",
        [home.0.into()],
    );
    let accounts = Step::new(
        "UPDATE accounts SET home_id = home_id WHERE home_id = $1",
        [home.0.into()],
    );
    super::run(conn, vec![entity, number, accounts]).await?;
    Ok(())
}

/// A folder gets a rule, or another one. Returns how many stored files got
/// another expiry; the journal has it, too.
pub(crate) async fn set_folder_keep(
    conn: &mut Conn,
    home: HomeId,
    folder: &FolderKeep,
    appliance: ApplianceKeep,
    entry: &NewEntry,
) -> Result<u64, StoreError> {
    begin_change_of_rules(conn, home).await?;
    sqlx::query(
        "INSERT INTO folder_keeps (home_id, path, keep_s, collected_keep_s, set_at_us, reason) \
         VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (home_id, path) DO UPDATE SET \
         keep_s = EXCLUDED.keep_s, collected_keep_s = EXCLUDED.collected_keep_s, \
         set_at_us = EXCLUDED.set_at_us, reason = EXCLUDED.reason",
    )
    .bind(home.0)
    .bind(folder.path.as_bytes().to_vec())
    .bind(seconds(folder.keep))
    .bind(seconds(folder.collected_keep))
    .bind(folder.set_at.as_micros())
    .bind(folder.reason.clone())
    .execute(&mut *conn)
    .await?;
    let moved = recompute_home(conn, home, appliance).await?;
    note_change(conn, &entry.clone().with("files_moved", moved)).await?;
    Ok(moved)
}

/// A folder's rule goes; `None` when it has none.
pub(crate) async fn remove_folder_keep(
    conn: &mut Conn,
    home: HomeId,
    path: &VirtualPath,
    appliance: ApplianceKeep,
    entry: &NewEntry,
) -> Result<Option<u64>, StoreError> {
    begin_change_of_rules(conn, home).await?;
    let done = sqlx::query("DELETE FROM folder_keeps WHERE home_id = $1 AND path = $2")
        .bind(home.0)
        .bind(path.as_bytes().to_vec())
        .execute(&mut *conn)
        .await?;
    if done.rows_affected() == 0 {
        return Ok(None);
    }
    let moved = recompute_home(conn, home, appliance).await?;
    note_change(conn, &entry.clone().with("files_moved", moved)).await?;
    Ok(Some(moved))
}

/// Files the account uploaded, and those of its home that nobody uploaded.
/// Returns, as all of these do, how many of them got another expiry.
pub(super) async fn recompute_account(
    conn: &mut Conn,
    account: AccountId,
    appliance: ApplianceKeep,
) -> Result<u64, StoreError> {
    set_uploaded(conn, account, appliance).await?;
    let home = home_of(conn, account).await?;
    recompute_adopted(conn, home, appliance).await
}

/// Files of a home that nobody uploaded.
pub(super) async fn recompute_adopted(
    conn: &mut Conn,
    home: HomeId,
    appliance: ApplianceKeep,
) -> Result<u64, StoreError> {
    set_adopted(conn, home, appliance).await?;
    set_folders(conn, home, appliance).await?;
    move_expiries(conn, home).await
}

/// Every file of a home, removed accounts' too.
pub(super) async fn recompute_home(
    conn: &mut Conn,
    home: HomeId,
    appliance: ApplianceKeep,
) -> Result<u64, StoreError> {
    let accounts: Vec<(i64,)> =
        sqlx::query_as("SELECT id FROM accounts WHERE home_id = $1 ORDER BY id")
            .bind(home.0)
            .fetch_all(&mut *conn)
            .await?;
    for (account,) in accounts {
        set_uploaded(conn, AccountId(account), appliance).await?;
    }
    recompute_adopted(conn, home, appliance).await
}

fn seconds(keep: Option<Keep>) -> Option<i64> {
    keep.map(|keep| bigint(keep.as_secs()))
}

/// The rule that files of an account follow where no folder has one.
async fn set_uploaded(
    conn: &mut Conn,
    account: AccountId,
    appliance: ApplianceKeep,
) -> Result<(), StoreError> {
    let wishes = wishes(conn, account).await?;
    let policy = appliance.policy(wishes, KeepWish::default());
    sqlx::query(
        "UPDATE files SET rule = $2, rule_keep_s = $3, collected_keep_s = $4 \
         WHERE uploaded_by = $1 AND state IN ('stored', 'deleting') \
         AND (rule IS DISTINCT FROM $2 OR rule_keep_s IS DISTINCT FROM $3 \
         OR collected_keep_s IS DISTINCT FROM $4)",
    )
    .bind(account.0)
    .bind(policy.source.as_str())
    .bind(bigint(policy.keep.as_secs()))
    .bind(seconds(policy.collected_keep))
    .execute(conn)
    .await?;
    Ok(())
}

/// The same for files of a home that nobody uploaded.
async fn set_adopted(
    conn: &mut Conn,
    home: HomeId,
    appliance: ApplianceKeep,
) -> Result<(), StoreError> {
    let grounds = grounds_of_home(conn, home).await?;
    let policy = appliance.policy(grounds.wishes, KeepWish::default());
    sqlx::query(
        "UPDATE files SET rule = $2, rule_keep_s = $3, collected_keep_s = $4 \
         WHERE home_id = $1 AND uploaded_by IS NULL AND state IN ('stored', 'deleting') \
         AND state <> 'ended' AND (rule IS DISTINCT FROM $2 OR rule_keep_s IS DISTINCT FROM $3 \
         OR collected_keep_s IS DISTINCT FROM $4)",
    )
    .bind(home.0)
    .bind(policy.source.as_str())
    .bind(bigint(policy.keep.as_secs()))
    .bind(seconds(policy.collected_keep))
    .execute(conn)
    .await?;
    Ok(())
}

/// The rules of a home's folders, over those of accounts; deeper ones over
/// those further up.
async fn set_folders(
    conn: &mut Conn,
    home: HomeId,
    appliance: ApplianceKeep,
) -> Result<(), StoreError> {
    for folder in home_rules(conn, home).await?.folders {
        let (first, last) = below(&folder.path);
        if let Some(keep) = folder.keep {
            sqlx::query(
                "UPDATE files SET rule = 'folder', rule_keep_s = $5 WHERE home_id = $1 \
                 AND state IN ('stored', 'deleting') AND state <> 'ended' \
                 AND (dir = $2 OR (dir >= $3 AND dir < $4))",
            )
            .bind(home.0)
            .bind(folder.path.as_bytes().to_vec())
            .bind(first.clone())
            .bind(last.clone())
            .bind(bigint(keep.min(appliance.max_keep).as_secs()))
            .execute(&mut *conn)
            .await?;
        }
        if let Some(keep) = folder.collected_keep {
            sqlx::query(
                "UPDATE files SET collected_keep_s = $5 WHERE home_id = $1 \
                 AND state IN ('stored', 'deleting') AND state <> 'ended' \
                 AND (dir = $2 OR (dir >= $3 AND dir < $4))",
            )
            .bind(home.0)
            .bind(folder.path.as_bytes().to_vec())
            .bind(first)
            .bind(last)
            .bind(bigint(keep.as_secs()))
            .execute(&mut *conn)
            .await?;
        }
    }
    Ok(())
}

/// When the files of a home go, from the rules that they follow.
async fn move_expiries(conn: &mut Conn, home: HomeId) -> Result<u64, StoreError> {
    let moved = sqlx::query(concat!(
        "UPDATE files SET expires_at_us = ",
        expiry!(),
        " WHERE home_id = $1 AND state IN ('stored', 'deleting') AND state <> 'ended' \
         AND rule_keep_s IS NOT NULL AND expires_at_us <> ",
        expiry!()
    ))
    .bind(home.0)
    .execute(conn)
    .await?;
    Ok(moved.rows_affected())
}

/// The same for what one node took in, wherever it lies: its arrivals have changed.
pub(super) async fn move_expiries_of_node(
    conn: &mut Conn,
    node: &NodeId,
) -> Result<(), StoreError> {
    sqlx::query(concat!(
        "UPDATE files SET expires_at_us = ",
        expiry!(),
        " WHERE node_id = $1 AND state IN ('stored', 'deleting') AND state <> 'ended' \
         AND rule_keep_s IS NOT NULL AND expires_at_us <> ",
        expiry!()
    ))
    .bind(node.as_str().to_owned())
    .execute(conn)
    .await?;
    Ok(())
}

/// A file has another name: it follows the rules of its new folder, and comes
/// under the holds on it, where the home has rules of its own.
pub(super) async fn follow_name(
    conn: &mut Conn,
    home: HomeId,
    file: FileId,
    to: &VirtualPath,
    appliance: ApplianceKeep,
    now: Timestamp,
) -> Result<(), StoreError> {
    if rules_version(conn, home).await? == 0 {
        return Ok(());
    }
    let uploader: Option<(Option<i64>,)> =
        sqlx::query_as("SELECT uploaded_by FROM files WHERE id = $1 AND state <> 'ended'")
            .bind(file.0)
            .fetch_optional(&mut *conn)
            .await?;
    let grounds = match uploader {
        Some((Some(account),)) => grounds(conn, AccountId(account)).await?,
        Some((None,)) => grounds_of_home(conn, home).await?,
        None => return Ok(()),
    };
    let policy: RetentionPolicy = grounds.policy(appliance, to);
    sqlx::query(
        "UPDATE files SET rule = $2, rule_keep_s = $3, collected_keep_s = $4 WHERE id = $1",
    )
    .bind(file.0)
    .bind(policy.source.as_str())
    .bind(bigint(policy.keep.as_secs()))
    .bind(seconds(policy.collected_keep))
    .execute(&mut *conn)
    .await?;
    holds::hold_at_name(conn, file, grounds.rules.holds_on(to, now)).await?;
    if grounds.rules.is_arrival(to) {
        super::run(conn, vec![flows::arrival_step(home, &to.dir(), now)]).await?;
    }
    sqlx::query(concat!(
        "UPDATE files SET expires_at_us = ",
        expiry!(),
        " WHERE id = $1"
    ))
    .bind(file.0)
    .execute(conn)
    .await?;
    Ok(())
}

/// Files have other names: see [`follow_name`].
pub(super) async fn follow_names(
    conn: &mut Conn,
    home: HomeId,
    appliance: ApplianceKeep,
    now: Timestamp,
) -> Result<(), StoreError> {
    if rules_version(conn, home).await? != 0 {
        holds::hold_what_is_below(conn, home, now).await?;
        recompute_home(conn, home, appliance).await?;
    }
    Ok(())
}

/// The number of a home's own rules; locks the home, so that they stay.
async fn rules_version(conn: &mut Conn, home: HomeId) -> Result<i64, StoreError> {
    let (version,): (i64,) = sqlx::query_as(
        "UPDATE homes SET rules_version = rules_version WHERE id = $1 RETURNING rules_version",
    )
    .bind(home.0)
    .fetch_one(conn)
    .await?;
    Ok(version)
}

/// The entity's wish changes, and with it every file that follows it. Returns
/// how many got another expiry; the journal has it, too.
pub(crate) async fn set_entity_keep(
    conn: &mut Conn,
    entity: EntityId,
    keep: Option<Keep>,
    appliance: ApplianceKeep,
    entry: &NewEntry,
) -> Result<u64, StoreError> {
    sqlx::query("UPDATE entities SET keep_s = $2 WHERE id = $1")
        .bind(entity.0)
        .bind(seconds(keep))
        .execute(&mut *conn)
        .await?;
    let moved = recompute_where(conn, appliance, entity.0, entity.0).await?;
    journal::append(conn, &entry.clone().with("files_moved", moved)).await?;
    Ok(moved)
}

/// Applies the appliance's rule to what is stored, if it is not the one that
/// was applied last. `None` when it is.
pub(crate) async fn apply_rule(
    conn: &mut Conn,
    appliance: ApplianceKeep,
    now: Timestamp,
    entry: &NewEntry,
) -> Result<Option<()>, StoreError> {
    let rule = serde_json::json!({
        "keep_s": appliance.keep.as_secs(),
        "max_keep_s": appliance.max_keep.as_secs(),
        "written": WRITTEN,
    });
    if jobs::last_run(conn, RULE)
        .await?
        .is_some_and(|last| last.report == rule)
    {
        return Ok(None);
    }
    recompute_where(conn, appliance, i64::MIN, i64::MAX).await?;
    jobs::note_job(
        conn,
        RULE,
        &JobRun {
            at: now,
            next_due_at: None,
            report: rule,
        },
    )
    .await?;
    journal::append(conn, entry).await?;
    Ok(Some(()))
}

/// Every file of the entities from `first` to `last`.
async fn recompute_where(
    conn: &mut Conn,
    appliance: ApplianceKeep,
    first: i64,
    last: i64,
) -> Result<u64, StoreError> {
    let mut moved = 0;
    let homes: Vec<(i64,)> =
        sqlx::query_as("SELECT id FROM homes WHERE entity_id BETWEEN $1 AND $2 ORDER BY id")
            .bind(first)
            .bind(last)
            .fetch_all(&mut *conn)
            .await?;
    for (home,) in homes {
        moved += recompute_home(conn, HomeId(home), appliance).await?;
    }
    Ok(moved)
}
