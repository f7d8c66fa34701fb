//! Accounts and their homes.

use layover_retention::Timestamp;
use sqlx::{FromRow as _, Row as _};

use super::belongings::{
    Belongings, Range, insert_certificate, insert_key, insert_network, networks, permissions,
};
use super::files::bigint;
use super::sessions::note_change;
use super::{Conn, StoreError, expiry};
use crate::account::{Account, AccountChange, Enabled};
use crate::journal::NewEntry;
use crate::ledger::ApplianceKeep;
use crate::session::terms::Terms;
use crate::store::{AccountRow, LoginRow, NewAccountRow, keep_of};
use crate::{
    AccountId, AccountLimits, AccountName, AuthPolicy, ByteRate, EntityName, HomeId, HomeName,
    LimitsChange, SessionLimit, SessionReuse,
};

macro_rules! account_columns {
    () => {
        "SELECT a.id, a.name, e.name, h.name, a.home_id, a.enabled, a.protocols, a.auth, a.keep_s, \
         a.quota_bytes, a.read_only + 2 * a.tolerant_completion + 4 * a.publish_on_rename, \
         a.password_hash, a.created_at_us, a.session_reuse, a.collected_keep_s, \
         a.max_sessions, a.upload_bytes_per_s, a.download_bytes_per_s \
         FROM accounts a JOIN entities e ON e.id = a.entity_id JOIN homes h ON h.id = a.home_id \
         WHERE a.removed_at_us IS NULL"
    };
}

type AccountColumns = (
    i64,
    String,
    String,
    String,
    i64,
    i64,
    String,
    String,
    Option<i64>,
    Option<i64>,
    // Three flags, as bits: sqlx reads at most 16 columns.
    i64,
    Option<String>,
    i64,
    Option<String>,
    Option<i64>,
);

/// Sessions, bytes a second of uploads and of downloads.
type LimitColumns = (Option<i64>, Option<i64>, Option<i64>);

type Row = <<Conn as sqlx::Connection>::Database as sqlx::Database>::Row;

/// The columns of an account; those behind the first 15 are its limits.
fn account_columns(row: &Row) -> Result<(AccountColumns, LimitColumns), StoreError> {
    let limits = (row.try_get(15)?, row.try_get(16)?, row.try_get(17)?);
    Ok((AccountColumns::from_row(row)?, limits))
}

fn limits_of((sessions, upload, download): LimitColumns) -> Result<AccountLimits, &'static str> {
    let number = |column: i64| u64::try_from(column).ok();
    let rate = |column: i64| number(column).and_then(|rate| ByteRate::new(rate).ok());
    let read = |column: Option<i64>, what| column.map(|one| rate(one).ok_or(what)).transpose();
    let limit = sessions.map(|sessions| number(sessions).and_then(|n| SessionLimit::new(n).ok()));
    Ok(AccountLimits {
        max_sessions: limit.map(|limit| limit.ok_or("max_sessions")).transpose()?,
        upload_rate: read(upload, "upload_bytes_per_s")?,
        download_rate: read(download, "download_bytes_per_s")?,
    })
}

fn login_row(
    (columns, limits): (AccountColumns, LimitColumns),
    with: &mut Belongings,
) -> Result<LoginRow, StoreError> {
    let (
        id,
        name,
        entity,
        home,
        home_id,
        enabled,
        protocols,
        auth,
        keep_s,
        quota,
        flags,
        password_hash,
        created,
        session_reuse,
        collected_keep_s,
    ) = columns;
    let broken = |what| StoreError::Corrupt {
        table: "accounts",
        id,
        what,
    };
    let account = Account {
        id: AccountId(id),
        name: name.parse().map_err(|_| broken("name"))?,
        entity: entity.parse().map_err(|_| broken("entity"))?,
        home: home.parse().map_err(|_| broken("home"))?,
        enabled: enabled != 0,
        protocols: protocols.parse().map_err(|_| broken("protocols"))?,
        auth: auth.parse().map_err(|_| broken("auth"))?,
        keep: keep_of(keep_s),
        quota_bytes: quota
            .map(|bytes| u64::try_from(bytes).map_err(|_| broken("quota_bytes")))
            .transpose()?,
        collected_keep: keep_of(collected_keep_s),
        read_only: flags & 1 != 0,
        tolerant_completion: flags & 2 != 0,
        publish_on_rename: flags & 4 != 0,
        session_reuse: reuse_of(session_reuse).map_err(broken)?,
        limits: limits_of(limits).map_err(broken)?,
        has_password: password_hash.is_some(),
        created_at: Timestamp::from_micros(created),
        networks: with.networks.remove(&id).unwrap_or_default(),
        keys: with.keys.remove(&id).unwrap_or_default(),
        certificates: with.certificates.remove(&id).unwrap_or_default(),
        permissions: with.permissions.remove(&id).unwrap_or_default(),
    };
    Ok(LoginRow {
        account,
        home: HomeId(home_id),
        password_hash,
    })
}

fn reuse_of(word: Option<String>) -> Result<Option<SessionReuse>, &'static str> {
    word.map(|word| word.parse().map_err(|_| "session_reuse"))
        .transpose()
}

/// What a login is checked against. An unknown name costs the same statements
/// as a known one (G03).
pub(crate) async fn login(conn: &mut Conn, name: &str) -> Result<Option<LoginRow>, StoreError> {
    let row = sqlx::query(concat!(account_columns!(), " AND a.name = $1"))
        .bind(name.to_owned())
        .fetch_optional(&mut *conn)
        .await?;
    let row = row.as_ref().map(account_columns).transpose()?;
    let id = row.as_ref().map_or(0, |(columns, _)| columns.0);
    let mut with = Belongings::load(conn, Range::one(id)).await?;
    row.map(|row| login_row(row, &mut with)).transpose()
}

pub(crate) async fn account(
    conn: &mut Conn,
    name: &AccountName,
) -> Result<Option<Account>, StoreError> {
    Ok(login(conn, name.as_str()).await?.map(|row| row.account))
}

pub(crate) async fn list_accounts(conn: &mut Conn) -> Result<Vec<Account>, StoreError> {
    let rows = sqlx::query(concat!(account_columns!(), " ORDER BY a.name"))
        .fetch_all(&mut *conn)
        .await?;
    let mut with = Belongings::load(conn, Range::ALL).await?;
    rows.iter()
        .map(|row| Ok(login_row(account_columns(row)?, &mut with)?.account))
        .collect()
}

/// A home and whose it is.
pub(crate) async fn home(
    conn: &mut Conn,
    name: &HomeName,
) -> Result<Option<(HomeId, EntityName)>, StoreError> {
    let row: Option<(i64, String)> = sqlx::query_as(
        "SELECT h.id, e.name FROM homes h JOIN entities e ON e.id = h.entity_id WHERE h.name = $1",
    )
    .bind(name.as_str().to_owned())
    .fetch_optional(conn)
    .await?;
    row.map(|(id, entity)| {
        let entity = entity.parse().map_err(|_| StoreError::Corrupt {
            table: "homes",
            id,
            what: "entity",
        })?;
        Ok((HomeId(id), entity))
    })
    .transpose()
}

/// `None` when the account's name is taken, the home belongs to another entity,
/// or it holds files that the account is not meant to take over.
pub(crate) async fn add_account(
    conn: &mut Conn,
    new: &NewAccountRow,
    entry: &NewEntry,
) -> Result<Option<AccountId>, StoreError> {
    sqlx::query(
        "INSERT INTO homes (name, entity_id, used_bytes, created_at_us) VALUES ($1, $2, 0, $3) \
         ON CONFLICT (name) DO NOTHING",
    )
    .bind(new.home.as_str().to_owned())
    .bind(new.entity.0)
    .bind(new.now.as_micros())
    .execute(&mut *conn)
    .await?;
    let row: Option<(i64,)> = sqlx::query_as(
        "INSERT INTO accounts (name, entity_id, home_id, enabled, protocols, keep_s, quota_bytes, \
         read_only, tolerant_completion, publish_on_rename, password_hash, created_at_us, auth, \
         session_reuse, collected_keep_s, max_sessions, upload_bytes_per_s, \
         download_bytes_per_s) \
         SELECT $1, h.entity_id, h.id, 1, $4, $5, $6, $7, $8, $9, $10, $11, $13, $14, $15, \
         $16, $17, $18 \
         FROM homes h \
         WHERE h.name = $2 AND h.entity_id = $3 AND ($12 = 1 OR NOT EXISTS \
         (SELECT 1 FROM files f WHERE f.home_id = h.id AND f.state <> 'ended')) \
         ON CONFLICT (name) WHERE removed_at_us IS NULL DO NOTHING RETURNING id",
    )
    .bind(new.name.as_str().to_owned())
    .bind(new.home.as_str().to_owned())
    .bind(new.entity.0)
    .bind(new.protocols.to_string())
    .bind(new.keep.map(|keep| bigint(keep.as_secs())))
    .bind(new.quota_bytes.map(bigint))
    .bind(i64::from(new.read_only))
    .bind(i64::from(new.tolerant_completion))
    .bind(i64::from(new.publish_on_rename))
    .bind(new.password_hash.clone())
    .bind(new.now.as_micros())
    .bind(i64::from(new.takes_files_over))
    .bind(new.auth.as_str())
    .bind(new.session_reuse.map(SessionReuse::as_str))
    .bind(new.collected_keep.map(|keep| bigint(keep.as_secs())))
    .bind(new.limits.max_sessions.map(|limit| bigint(limit.get())))
    .bind(
        new.limits
            .upload_rate
            .map(|rate| bigint(rate.bytes_per_s())),
    )
    .bind(
        new.limits
            .download_rate
            .map(|rate| bigint(rate.bytes_per_s())),
    )
    .fetch_optional(&mut *conn)
    .await?;
    let Some((id,)) = row else { return Ok(None) };
    let account = AccountId(id);
    for key in &new.keys {
        insert_key(conn, account, key).await?;
    }
    for certificate in &new.certificates {
        insert_certificate(conn, account, certificate, new.now).await?;
    }
    for network in &new.networks {
        insert_network(conn, account, network, new.now).await?;
    }
    note_change(conn, entry).await?;
    Ok(Some(account))
}

/// Returns how many stored files got another expiry; the journal has it, too.
pub(crate) async fn change_account(
    conn: &mut Conn,
    account: AccountId,
    change: &AccountChange,
    appliance: ApplianceKeep,
    entry: &NewEntry,
) -> Result<u64, StoreError> {
    let changes_rule = change.keep.is_some() || change.collected_keep.is_some();
    if changes_rule {
        expiry::lock_entity(conn, account).await?;
    }
    let flag = |wish: Option<bool>| wish.map(i64::from);
    sqlx::query(
        "UPDATE accounts SET protocols = COALESCE($2, protocols), \
         read_only = COALESCE($3, read_only), \
         tolerant_completion = COALESCE($4, tolerant_completion), \
         publish_on_rename = COALESCE($5, publish_on_rename), \
         auth = COALESCE($6, auth) WHERE id = $1",
    )
    .bind(account.0)
    .bind(change.protocols.map(|protocols| protocols.to_string()))
    .bind(flag(change.read_only))
    .bind(flag(change.tolerant_completion))
    .bind(flag(change.publish_on_rename))
    .bind(change.auth.map(AuthPolicy::as_str))
    .execute(&mut *conn)
    .await?;
    if let Some(quota_bytes) = change.quota_bytes {
        sqlx::query("UPDATE accounts SET quota_bytes = $2 WHERE id = $1")
            .bind(account.0)
            .bind(quota_bytes.map(bigint))
            .execute(&mut *conn)
            .await?;
    }
    if let Some(session_reuse) = change.session_reuse {
        sqlx::query("UPDATE accounts SET session_reuse = $2 WHERE id = $1")
            .bind(account.0)
            .bind(session_reuse.map(SessionReuse::as_str))
            .execute(&mut *conn)
            .await?;
    }
    change_limits(conn, account, &change.limits).await?;
    if let Some(keep) = change.keep {
        sqlx::query("UPDATE accounts SET keep_s = $2 WHERE id = $1")
            .bind(account.0)
            .bind(keep.map(|keep| bigint(keep.as_secs())))
            .execute(&mut *conn)
            .await?;
    }
    if let Some(keep) = change.collected_keep {
        sqlx::query("UPDATE accounts SET collected_keep_s = $2 WHERE id = $1")
            .bind(account.0)
            .bind(keep.map(|keep| bigint(keep.as_secs())))
            .execute(&mut *conn)
            .await?;
    }
    if changes_rule {
        let moved = expiry::recompute_account(conn, account, appliance).await?;
        note_change(conn, &entry.clone().with("files_moved", moved)).await?;
        return Ok(moved);
    }
    note_change(conn, entry).await?;
    Ok(0)
}

async fn change_limits(
    conn: &mut Conn,
    account: AccountId,
    change: &LimitsChange,
) -> Result<(), StoreError> {
    let rate = |rate: Option<ByteRate>| rate.map(|rate| bigint(rate.bytes_per_s()));
    let sessions = |limit: Option<SessionLimit>| limit.map(|limit| bigint(limit.get()));
    let changes = [
        (
            "UPDATE accounts SET max_sessions = $2 WHERE id = $1",
            change.max_sessions.map(sessions),
        ),
        (
            "UPDATE accounts SET upload_bytes_per_s = $2 WHERE id = $1",
            change.upload_rate.map(rate),
        ),
        (
            "UPDATE accounts SET download_bytes_per_s = $2 WHERE id = $1",
            change.download_rate.map(rate),
        ),
    ];
    for (statement, value) in changes {
        if let Some(value) = value {
            sqlx::query(statement)
                .bind(account.0)
                .bind(value)
                .execute(&mut *conn)
                .await?;
        }
    }
    Ok(())
}

pub(crate) async fn set_enabled(
    conn: &mut Conn,
    account: AccountId,
    enabled: Enabled,
    entry: &NewEntry,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE accounts SET enabled = $2 WHERE id = $1")
        .bind(account.0)
        .bind(i64::from(enabled == Enabled::Yes))
        .execute(&mut *conn)
        .await?;
    note_change(conn, entry).await
}

/// The account's way in goes; its row stays, because its files carry it.
/// `None` when it was removed before.
pub(crate) async fn remove_account(
    conn: &mut Conn,
    account: AccountId,
    now: Timestamp,
    appliance: ApplianceKeep,
    entry: &NewEntry,
) -> Result<Option<()>, StoreError> {
    expiry::lock_entity(conn, account).await?;
    let home: Option<(i64,)> = sqlx::query_as(
        "UPDATE accounts SET enabled = 0, password_hash = NULL, removed_at_us = $2 \
         WHERE id = $1 AND removed_at_us IS NULL RETURNING home_id",
    )
    .bind(account.0)
    .bind(now.as_micros())
    .fetch_optional(&mut *conn)
    .await?;
    let Some((home,)) = home else { return Ok(None) };
    for statement in [
        "DELETE FROM account_keys WHERE account_id = $1",
        "DELETE FROM account_certificates WHERE account_id = $1",
        "DELETE FROM account_networks WHERE account_id = $1",
        "DELETE FROM account_permissions WHERE account_id = $1",
    ] {
        sqlx::query(statement)
            .bind(account.0)
            .execute(&mut *conn)
            .await?;
    }
    // Files that nobody uploaded followed its wish.
    expiry::recompute_adopted(conn, HomeId(home), appliance).await?;
    note_change(conn, entry).await?;
    Ok(Some(()))
}

pub(crate) async fn set_password(
    conn: &mut Conn,
    account: AccountId,
    hash: Option<&str>,
    entry: &NewEntry,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE accounts SET password_hash = $2 WHERE id = $1")
        .bind(account.0)
        .bind(hash.map(ToOwned::to_owned))
        .execute(&mut *conn)
        .await?;
    note_change(conn, entry).await
}

type StandingColumns = (
    i64,
    String,
    Option<i64>,
    i64,
    i64,
    i64,
    Option<String>,
    Option<i64>,
    Option<i64>,
    Option<i64>,
);

/// What sessions of these accounts may do, and whether they may go on; a removed
/// account is not enabled.
pub(crate) async fn standing(
    conn: &mut Conn,
    accounts: &[AccountId],
) -> Result<Vec<AccountRow>, StoreError> {
    let mut standing = Vec::with_capacity(accounts.len());
    for account in accounts {
        let id = account.0;
        let row: Option<StandingColumns> = sqlx::query_as(
            "SELECT enabled, protocols, quota_bytes, read_only, tolerant_completion, \
             publish_on_rename, session_reuse, max_sessions, upload_bytes_per_s, \
             download_bytes_per_s FROM accounts WHERE id = $1",
        )
        .bind(id)
        .fetch_optional(&mut *conn)
        .await?;
        let Some(row) = row else { continue };
        let (enabled, protocols, quota, read_only, tolerant, on_rename, session_reuse, ..) = row;
        let limits = (row.7, row.8, row.9);
        let broken = |what| StoreError::Corrupt {
            table: "accounts",
            id,
            what,
        };
        standing.push(AccountRow {
            id: *account,
            enabled: enabled != 0,
            protocols: protocols.parse().map_err(|_| broken("protocols"))?,
            networks: networks(conn, Range::one(id))
                .await?
                .remove(&id)
                .unwrap_or_default(),
            terms: Terms {
                read_only: read_only != 0,
                permissions: permissions(conn, Range::one(id))
                    .await?
                    .remove(&id)
                    .unwrap_or_default(),
                quota_bytes: quota
                    .map(|bytes| u64::try_from(bytes).map_err(|_| broken("quota_bytes")))
                    .transpose()?,
                tolerant_completion: tolerant != 0,
                publish_on_rename: on_rename != 0,
                session_reuse: reuse_of(session_reuse).map_err(broken)?,
                limits: limits_of(limits).map_err(broken)?,
            },
        });
    }
    Ok(standing)
}

/// The names of an account and its entity, also of a removed account.
pub(crate) async fn account_names(
    conn: &mut Conn,
    account: AccountId,
) -> Result<(AccountName, EntityName), StoreError> {
    let (name, entity): (String, String) = sqlx::query_as(
        "SELECT a.name, e.name FROM accounts a JOIN entities e ON e.id = a.entity_id \
         WHERE a.id = $1",
    )
    .bind(account.0)
    .fetch_one(conn)
    .await?;
    let broken = |what| StoreError::Corrupt {
        table: "accounts",
        id: account.0,
        what,
    };
    Ok((
        name.parse().map_err(|_| broken("name"))?,
        entity.parse().map_err(|_| broken("entity"))?,
    ))
}
