//! A changed rule: when stored files go is computed again, in the transaction
//! of the change.

use layover_retention::{Keep, Timestamp};

use super::files::bigint;
use super::{Conn, Step, StoreError, jobs, journal};
use crate::account::JobRun;
use crate::journal::NewEntry;
use crate::ledger::{ApplianceKeep, Wishes};
use crate::{AccountId, EntityId, HomeId};

/// The row of `jobs` that remembers the appliance's own rule.
const RULE: &str = "retention-rule";

/// How long a file stays under these layers, in microseconds.
fn keep_us(appliance: ApplianceKeep, entity: Option<Keep>, account: Option<Keep>) -> i64 {
    appliance
        .expires_at(entity, account, Timestamp::from_micros(0))
        .as_micros()
}

/// The account's and its entity's wish; locked against a change until the
/// transaction ends, so that no file is published under a rule that another
/// transaction has just replaced.
pub(super) async fn wishes(conn: &mut Conn, account: AccountId) -> Result<Wishes, StoreError> {
    let row = sqlx::query_as(share_locked!(
        "SELECT e.keep_s, a.keep_s FROM accounts a JOIN entities e ON e.id = a.entity_id \
         WHERE a.id = $1"
    ))
    .bind(account.0)
    .fetch_one(conn)
    .await?;
    Ok(wishes_of(row))
}

/// The same as they are now; the next moment they may be others.
pub(crate) async fn wishes_now(conn: &mut Conn, account: AccountId) -> Result<Wishes, StoreError> {
    let row = sqlx::query_as(
        "SELECT e.keep_s, a.keep_s FROM accounts a JOIN entities e ON e.id = a.entity_id \
         WHERE a.id = $1",
    )
    .bind(account.0)
    .fetch_one(conn)
    .await?;
    Ok(wishes_of(row))
}

fn wishes_of((entity_s, account_s): (Option<i64>, Option<i64>)) -> Wishes {
    Wishes {
        entity_s,
        account_s,
    }
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

/// The wishes that hold for files nobody uploaded: those of the home's first
/// live account, else of its entity.
pub(super) async fn wishes_of_home(conn: &mut Conn, home: HomeId) -> Result<Wishes, StoreError> {
    let first: Option<(i64,)> = sqlx::query_as(
        "SELECT id FROM accounts WHERE home_id = $1 AND removed_at_us IS NULL ORDER BY id LIMIT 1",
    )
    .bind(home.0)
    .fetch_optional(&mut *conn)
    .await?;
    if let Some((account,)) = first {
        return wishes(conn, AccountId(account)).await;
    }
    let (entity_s,): (Option<i64>,) = sqlx::query_as(share_locked!(
        "SELECT e.keep_s FROM homes h JOIN entities e ON e.id = h.entity_id WHERE h.id = $1"
    ))
    .bind(home.0)
    .fetch_one(conn)
    .await?;
    Ok(Wishes {
        entity_s,
        account_s: None,
    })
}

/// Files the account uploaded, and those of its home that nobody uploaded.
/// Returns, as all of these do, how many of them got another expiry.
pub(super) async fn recompute_account(
    conn: &mut Conn,
    account: AccountId,
    appliance: ApplianceKeep,
) -> Result<u64, StoreError> {
    let uploaded = recompute_uploaded(conn, account, appliance).await?;
    let (home,): (i64,) = sqlx::query_as("SELECT home_id FROM accounts WHERE id = $1")
        .bind(account.0)
        .fetch_one(&mut *conn)
        .await?;
    Ok(uploaded + recompute_adopted(conn, HomeId(home), appliance).await?)
}

async fn recompute_uploaded(
    conn: &mut Conn,
    account: AccountId,
    appliance: ApplianceKeep,
) -> Result<u64, StoreError> {
    let wishes = wishes(conn, account).await?;
    let moved = sqlx::query(
        "UPDATE files SET expires_at_us = arrived_at_us + $2 \
         WHERE uploaded_by = $1 AND state IN ('stored', 'deleting') \
         AND expires_at_us <> arrived_at_us + $2",
    )
    .bind(account.0)
    .bind(keep_us(appliance, wishes.entity(), wishes.account()))
    .execute(conn)
    .await?;
    Ok(moved.rows_affected())
}

/// Files of a home that nobody uploaded.
pub(super) async fn recompute_adopted(
    conn: &mut Conn,
    home: HomeId,
    appliance: ApplianceKeep,
) -> Result<u64, StoreError> {
    let wishes = wishes_of_home(conn, home).await?;
    let moved = sqlx::query(
        "UPDATE files SET expires_at_us = arrived_at_us + $2 \
         WHERE home_id = $1 AND uploaded_by IS NULL AND state IN ('stored', 'deleting') \
         AND expires_at_us <> arrived_at_us + $2",
    )
    .bind(home.0)
    .bind(keep_us(appliance, wishes.entity(), wishes.account()))
    .execute(conn)
    .await?;
    Ok(moved.rows_affected())
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
        .bind(keep.map(|keep| bigint(keep.as_secs())))
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

/// Every file of the entities from `first` to `last`, removed accounts' too.
async fn recompute_where(
    conn: &mut Conn,
    appliance: ApplianceKeep,
    first: i64,
    last: i64,
) -> Result<u64, StoreError> {
    let mut moved = 0;
    let accounts: Vec<(i64,)> =
        sqlx::query_as("SELECT id FROM accounts WHERE entity_id BETWEEN $1 AND $2 ORDER BY id")
            .bind(first)
            .bind(last)
            .fetch_all(&mut *conn)
            .await?;
    for (account,) in accounts {
        moved += recompute_uploaded(conn, AccountId(account), appliance).await?;
    }
    let homes: Vec<(i64,)> =
        sqlx::query_as("SELECT id FROM homes WHERE entity_id BETWEEN $1 AND $2 ORDER BY id")
            .bind(first)
            .bind(last)
            .fetch_all(&mut *conn)
            .await?;
    for (home,) in homes {
        moved += recompute_adopted(conn, HomeId(home), appliance).await?;
    }
    Ok(moved)
}
