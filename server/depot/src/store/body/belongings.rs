//! What hangs on accounts: keys, networks, folder permissions.

use std::collections::HashMap;

use layover_retention::Timestamp;

use super::sessions::{note_change, note_if_changed};
use super::{Conn, StoreError};
use crate::journal::NewEntry;
use crate::{
    AccountId, AllowedNetwork, AuthorizedCertificate, AuthorizedKey, CertificateUse,
    FolderPermission, FromPattern, KeyUse, Network, NewCertificate, NewNetwork, VirtualPath,
};

/// Which accounts' keys, networks and permissions are read.
#[derive(Clone, Copy)]
pub(super) struct Range(i64, i64);

impl Range {
    pub(super) const ALL: Self = Self(i64::MIN, i64::MAX);

    pub(super) fn one(account: i64) -> Self {
        Self(account, account)
    }
}

/// What hangs on accounts, by account.
pub(super) struct Belongings {
    pub(super) networks: HashMap<i64, Vec<AllowedNetwork>>,
    pub(super) keys: HashMap<i64, Vec<AuthorizedKey>>,
    pub(super) certificates: HashMap<i64, Vec<AuthorizedCertificate>>,
    pub(super) permissions: HashMap<i64, Vec<FolderPermission>>,
}

impl Belongings {
    pub(super) async fn load(conn: &mut Conn, range: Range) -> Result<Self, StoreError> {
        Ok(Self {
            networks: networks(conn, range).await?,
            keys: keys(conn, range).await?,
            certificates: certificates(conn, range).await?,
            permissions: permissions(conn, range).await?,
        })
    }
}

type NetworkColumns = (i64, i64, String, Option<String>, Option<i64>, i64);

pub(super) async fn networks(
    conn: &mut Conn,
    range: Range,
) -> Result<HashMap<i64, Vec<AllowedNetwork>>, StoreError> {
    let rows: Vec<NetworkColumns> = sqlx::query_as(
        "SELECT id, account_id, network, reason, until_us, created_at_us FROM account_networks \
         WHERE account_id BETWEEN $1 AND $2 ORDER BY account_id, id",
    )
    .bind(range.0)
    .bind(range.1)
    .fetch_all(conn)
    .await?;
    let mut by_account: HashMap<i64, Vec<AllowedNetwork>> = HashMap::new();
    for (id, account, network, reason, until, created) in rows {
        by_account.entry(account).or_default().push(AllowedNetwork {
            network: parse_network(&network, id)?,
            reason,
            until: until.map(Timestamp::from_micros),
            created_at: Timestamp::from_micros(created),
        });
    }
    Ok(by_account)
}

fn parse_network(text: &str, id: i64) -> Result<Network, StoreError> {
    text.parse().map_err(|_| StoreError::Corrupt {
        table: "account_networks",
        id,
        what: "network",
    })
}

type KeyColumns = (
    i64,
    i64,
    String,
    String,
    String,
    Vec<u8>,
    String,
    Option<i64>,
    i64,
    i64,
    String,
);

async fn keys(
    conn: &mut Conn,
    range: Range,
) -> Result<HashMap<i64, Vec<AuthorizedKey>>, StoreError> {
    let rows: Vec<KeyColumns> = sqlx::query_as(
        "SELECT id, account_id, fingerprint, algorithm, comment, blob, from_patterns, \
         expires_at_us, added_at_us, authority, principals FROM account_keys \
         WHERE account_id BETWEEN $1 AND $2 ORDER BY account_id, id",
    )
    .bind(range.0)
    .bind(range.1)
    .fetch_all(conn)
    .await?;
    let mut by_account: HashMap<i64, Vec<AuthorizedKey>> = HashMap::new();
    for (
        id,
        account,
        fingerprint,
        algorithm,
        comment,
        blob,
        from,
        expires,
        added,
        authority,
        principals,
    ) in rows
    {
        let from = from
            .split(',')
            .filter(|pattern| !pattern.is_empty())
            .map(|pattern| pattern.parse::<FromPattern>())
            .collect::<Result<_, _>>()
            .map_err(|_| StoreError::Corrupt {
                table: "account_keys",
                id,
                what: "from_patterns",
            })?;
        by_account.entry(account).or_default().push(AuthorizedKey {
            fingerprint,
            algorithm,
            comment,
            blob,
            from,
            expires_at: expires.map(Timestamp::from_micros),
            used_for: if authority == 0 {
                KeyUse::Login
            } else {
                let names = principals.split(',').filter(|name| !name.is_empty());
                KeyUse::Authority {
                    principals: names.map(ToOwned::to_owned).collect(),
                }
            },
            added_at: Timestamp::from_micros(added),
        });
    }
    Ok(by_account)
}

type CertificateColumns = (
    i64,
    i64,
    String,
    String,
    Vec<u8>,
    i64,
    i64,
    i64,
    String,
    i64,
);

async fn certificates(
    conn: &mut Conn,
    range: Range,
) -> Result<HashMap<i64, Vec<AuthorizedCertificate>>, StoreError> {
    let rows: Vec<CertificateColumns> = sqlx::query_as(
        "SELECT id, account_id, fingerprint, subject, der, not_before_us, not_after_us, \
         authority, names, added_at_us FROM account_certificates \
         WHERE account_id BETWEEN $1 AND $2 ORDER BY account_id, id",
    )
    .bind(range.0)
    .bind(range.1)
    .fetch_all(conn)
    .await?;
    let mut by_account: HashMap<i64, Vec<AuthorizedCertificate>> = HashMap::new();
    for (id, account, fingerprint, subject, der, not_before, not_after, authority, names, added) in
        rows
    {
        let used_for = if authority == 0 {
            CertificateUse::Login
        } else {
            let names = names.parse().map_err(|_| StoreError::Corrupt {
                table: "account_certificates",
                id,
                what: "names",
            })?;
            CertificateUse::Authority { names }
        };
        by_account
            .entry(account)
            .or_default()
            .push(AuthorizedCertificate {
                fingerprint,
                subject,
                der,
                not_before: Timestamp::from_micros(not_before),
                not_after: Timestamp::from_micros(not_after),
                used_for,
                added_at: Timestamp::from_micros(added),
            });
    }
    Ok(by_account)
}

pub(super) async fn permissions(
    conn: &mut Conn,
    range: Range,
) -> Result<HashMap<i64, Vec<FolderPermission>>, StoreError> {
    let rows: Vec<(i64, Vec<u8>, String)> = sqlx::query_as(
        "SELECT account_id, path, rights FROM account_permissions \
         WHERE account_id BETWEEN $1 AND $2 ORDER BY account_id, path",
    )
    .bind(range.0)
    .bind(range.1)
    .fetch_all(conn)
    .await?;
    let mut by_account: HashMap<i64, Vec<FolderPermission>> = HashMap::new();
    for (account, path, rights) in rows {
        let broken = |what| StoreError::Corrupt {
            table: "account_permissions",
            id: account,
            what,
        };
        by_account
            .entry(account)
            .or_default()
            .push(FolderPermission {
                path: VirtualPath::parse(&path).map_err(|_| broken("path"))?,
                rights: rights.parse().map_err(|_| broken("rights"))?,
            });
    }
    Ok(by_account)
}

pub(super) async fn insert_key(
    conn: &mut Conn,
    account: AccountId,
    key: &AuthorizedKey,
) -> Result<u64, StoreError> {
    let from: Vec<String> = key.from.iter().map(ToString::to_string).collect();
    let (authority, principals) = match &key.used_for {
        KeyUse::Login => (0_i64, String::new()),
        KeyUse::Authority { principals } => (1, principals.join(",")),
    };
    let done = sqlx::query(
        "INSERT INTO account_keys (account_id, fingerprint, algorithm, comment, blob, \
         from_patterns, expires_at_us, added_at_us, authority, principals) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) \
         ON CONFLICT (account_id, fingerprint) DO NOTHING",
    )
    .bind(account.0)
    .bind(key.fingerprint.clone())
    .bind(key.algorithm.clone())
    .bind(key.comment.clone())
    .bind(key.blob.clone())
    .bind(from.join(","))
    .bind(key.expires_at.map(Timestamp::as_micros))
    .bind(key.added_at.as_micros())
    .bind(authority)
    .bind(principals)
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// `None` when the account has this key.
pub(crate) async fn add_key(
    conn: &mut Conn,
    account: AccountId,
    key: &AuthorizedKey,
    entry: &NewEntry,
) -> Result<Option<()>, StoreError> {
    let rows = insert_key(conn, account, key).await?;
    note_if_changed(conn, rows, entry).await
}

/// `None` when the account has no such key.
pub(crate) async fn remove_key(
    conn: &mut Conn,
    account: AccountId,
    fingerprint: &str,
    entry: &NewEntry,
) -> Result<Option<()>, StoreError> {
    let done = sqlx::query("DELETE FROM account_keys WHERE account_id = $1 AND fingerprint = $2")
        .bind(account.0)
        .bind(fingerprint.to_owned())
        .execute(&mut *conn)
        .await?;
    note_if_changed(conn, done.rows_affected(), entry).await
}

pub(super) async fn insert_certificate(
    conn: &mut Conn,
    account: AccountId,
    certificate: &NewCertificate,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let (authority, names) = match &certificate.used_for {
        CertificateUse::Login => (0_i64, String::new()),
        CertificateUse::Authority { names } => (1, names.to_string()),
    };
    let done = sqlx::query(
        "INSERT INTO account_certificates (account_id, fingerprint, subject, der, \
         not_before_us, not_after_us, authority, names, added_at_us) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) \
         ON CONFLICT (account_id, fingerprint) DO NOTHING",
    )
    .bind(account.0)
    .bind(certificate.fingerprint.clone())
    .bind(certificate.subject.clone())
    .bind(certificate.der.clone())
    .bind(certificate.not_before.as_micros())
    .bind(certificate.not_after.as_micros())
    .bind(authority)
    .bind(names)
    .bind(now.as_micros())
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// `None` when the account has this certificate.
pub(crate) async fn add_certificate(
    conn: &mut Conn,
    account: AccountId,
    certificate: &NewCertificate,
    now: Timestamp,
    entry: &NewEntry,
) -> Result<Option<()>, StoreError> {
    let rows = insert_certificate(conn, account, certificate, now).await?;
    note_if_changed(conn, rows, entry).await
}

/// `None` when the account has no such certificate.
pub(crate) async fn remove_certificate(
    conn: &mut Conn,
    account: AccountId,
    fingerprint: &str,
    entry: &NewEntry,
) -> Result<Option<()>, StoreError> {
    let done =
        sqlx::query("DELETE FROM account_certificates WHERE account_id = $1 AND fingerprint = $2")
            .bind(account.0)
            .bind(fingerprint.to_owned())
            .execute(&mut *conn)
            .await?;
    note_if_changed(conn, done.rows_affected(), entry).await
}

/// Whether a TLS client certificate opens some account.
pub(crate) async fn has_certificates(conn: &mut Conn) -> Result<bool, StoreError> {
    let row: Option<(i64,)> = sqlx::query_as("SELECT id FROM account_certificates LIMIT 1")
        .fetch_optional(conn)
        .await?;
    Ok(row.is_some())
}

pub(super) async fn insert_network(
    conn: &mut Conn,
    account: AccountId,
    network: &NewNetwork,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let done = sqlx::query(
        "INSERT INTO account_networks (account_id, network, reason, until_us, created_at_us) \
         VALUES ($1, $2, $3, $4, $5) ON CONFLICT (account_id, network) DO NOTHING",
    )
    .bind(account.0)
    .bind(network.network.to_string())
    .bind(network.reason.clone())
    .bind(network.until.map(Timestamp::as_micros))
    .bind(now.as_micros())
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// `None` when the account has this network.
pub(crate) async fn add_network(
    conn: &mut Conn,
    account: AccountId,
    network: &NewNetwork,
    now: Timestamp,
    entry: &NewEntry,
) -> Result<Option<()>, StoreError> {
    let rows = insert_network(conn, account, network, now).await?;
    note_if_changed(conn, rows, entry).await
}

/// Another reason and another end for a network. `None` when the account has
/// no such network.
pub(crate) async fn change_network(
    conn: &mut Conn,
    account: AccountId,
    network: &NewNetwork,
    entry: &NewEntry,
) -> Result<Option<()>, StoreError> {
    let done = sqlx::query(
        "UPDATE account_networks SET reason = $3, until_us = $4 \
         WHERE account_id = $1 AND network = $2",
    )
    .bind(account.0)
    .bind(network.network.to_string())
    .bind(network.reason.clone())
    .bind(network.until.map(Timestamp::as_micros))
    .execute(&mut *conn)
    .await?;
    note_if_changed(conn, done.rows_affected(), entry).await
}

/// `None` when the account has no such network.
pub(crate) async fn remove_network(
    conn: &mut Conn,
    account: AccountId,
    network: &Network,
    entry: &NewEntry,
) -> Result<Option<()>, StoreError> {
    let done = sqlx::query("DELETE FROM account_networks WHERE account_id = $1 AND network = $2")
        .bind(account.0)
        .bind(network.to_string())
        .execute(&mut *conn)
        .await?;
    note_if_changed(conn, done.rows_affected(), entry).await
}

pub(crate) async fn set_permission(
    conn: &mut Conn,
    account: AccountId,
    permission: &FolderPermission,
    entry: &NewEntry,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO account_permissions (account_id, path, rights) VALUES ($1, $2, $3) \
         ON CONFLICT (account_id, path) DO UPDATE SET rights = EXCLUDED.rights",
    )
    .bind(account.0)
    .bind(permission.path.as_bytes().to_vec())
    .bind(permission.rights.to_string())
    .execute(&mut *conn)
    .await?;
    note_change(conn, entry).await
}

/// `None` when nothing is said of this folder.
pub(crate) async fn remove_permission(
    conn: &mut Conn,
    account: AccountId,
    path: &VirtualPath,
    entry: &NewEntry,
) -> Result<Option<()>, StoreError> {
    let done = sqlx::query("DELETE FROM account_permissions WHERE account_id = $1 AND path = $2")
        .bind(account.0)
        .bind(path.as_bytes().to_vec())
        .execute(&mut *conn)
        .await?;
    note_if_changed(conn, done.rows_affected(), entry).await
}

/// Whether some account trusts an authority of its own.
pub(crate) async fn has_authorities(conn: &mut Conn) -> Result<bool, StoreError> {
    let row: Option<(i64,)> =
        sqlx::query_as("SELECT id FROM account_keys WHERE authority = 1 LIMIT 1")
            .fetch_optional(conn)
            .await?;
    Ok(row.is_some())
}

/// The networks of all enabled accounts that count at `now`.
pub(crate) async fn live_networks(
    conn: &mut Conn,
    now: Timestamp,
) -> Result<Vec<Network>, StoreError> {
    let rows: Vec<(String, i64)> = sqlx::query_as(
        "SELECT n.network, MIN(n.id) FROM account_networks n \
         JOIN accounts a ON a.id = n.account_id \
         WHERE a.enabled = 1 AND a.removed_at_us IS NULL \
         AND (n.until_us IS NULL OR n.until_us > $1) GROUP BY n.network ORDER BY 2",
    )
    .bind(now.as_micros())
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|(network, id)| parse_network(&network, id))
        .collect()
}
