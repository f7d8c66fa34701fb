//! Hooks, as rows: who is told, and with which secret.

use layover_retention::Timestamp;

use super::sessions::note_change;
use super::{Conn, StoreError, journal};
use crate::HookName;
use crate::event::{
    EventKind, Hook, HookAddresses, HookId, HookPlain, HookTarget, HookUpdate, MAX_HOOKS, NewHook,
    SealedHook,
};
use crate::integration::SecretForm;
use crate::journal::NewEntry;
use crate::store::Resealed;

fn broken(id: i64, what: &'static str) -> StoreError {
    StoreError::Corrupt {
        table: "hooks",
        id,
        what,
    }
}

pub(super) fn kinds_of(id: i64, text: &str) -> Result<Vec<EventKind>, StoreError> {
    let words: Vec<String> = serde_json::from_str(text).map_err(|_| broken(id, "kinds"))?;
    let kinds = words.iter().map(|word| word.parse());
    kinds
        .collect::<Result<_, _>>()
        .map_err(|_| broken(id, "kinds"))
}

/// As they stand in the row: the reference, or the master key's name.
fn secret_columns(form: &SecretForm) -> (Option<String>, Option<String>) {
    match form {
        SecretForm::Reference(reference) => (Some(reference.to_string()), None),
        SecretForm::Sealed { key_id } => (None, Some(key_id.clone())),
    }
}

fn kinds_column(kinds: &[EventKind]) -> String {
    let words: Vec<_> = kinds.iter().map(|kind| kind.as_str()).collect();
    serde_json::to_string(&words).unwrap_or_default()
}

/// `None` when there is one of this name, or there are as many as may be.
pub(crate) async fn add_hook(
    conn: &mut Conn,
    new: &NewHook,
    entry: &NewEntry,
) -> Result<Option<HookId>, StoreError> {
    let row = &new.row;
    let (reference, key_id) = secret_columns(&row.form);
    let added: Option<(i64,)> = sqlx::query_as(
        "INSERT INTO hooks (name, entity_id, url, kinds, enabled, handle, reference, sealed, \
         key_id, created_at_us, authorities, allow_plain, allow_address) \
         SELECT $1, $2, $3, $4, 1, $5, $6, $7, $8, $9, $10, $11, $12 \
         WHERE (SELECT COUNT(*) FROM hooks WHERE removed_at_us IS NULL) < $13 \
         ON CONFLICT DO NOTHING RETURNING id",
    )
    .bind(row.name.to_string())
    .bind(row.entity.map(|entity| entity.0))
    .bind(row.target.url.as_str().to_owned())
    .bind(kinds_column(&row.kinds))
    .bind(row.handle.clone())
    .bind(reference)
    .bind(row.sealed.clone())
    .bind(key_id)
    .bind(new.created_at.as_micros())
    .bind(row.target.authorities.clone())
    .bind(i64::from(row.target.plain == HookPlain::Anywhere))
    .bind(i64::from(row.target.addresses == HookAddresses::Any))
    .bind(super::files::bigint(MAX_HOOKS as u64))
    .fetch_optional(&mut *conn)
    .await?;
    let Some((id,)) = added else { return Ok(None) };
    note_change(conn, entry).await?;
    Ok(Some(HookId(id)))
}

/// Its row stays for the journal, without address and secret; what was to be delivered
/// goes. `None` when it is gone already.
pub(crate) async fn remove_hook(
    conn: &mut Conn,
    hook: HookId,
    now: Timestamp,
    entry: &NewEntry,
) -> Result<Option<()>, StoreError> {
    let done = sqlx::query(
        "UPDATE hooks SET removed_at_us = $2, enabled = 0, url = '', reference = NULL, \
         sealed = NULL, key_id = NULL, authorities = NULL \
         WHERE id = $1 AND removed_at_us IS NULL",
    )
    .bind(hook.0)
    .bind(now.as_micros())
    .execute(&mut *conn)
    .await?;
    if done.rows_affected() == 0 {
        return Ok(None);
    }
    sqlx::query("DELETE FROM deliveries WHERE hook_id = $1")
        .bind(hook.0)
        .execute(&mut *conn)
        .await?;
    note_change(conn, entry).await?;
    Ok(Some(()))
}

/// What is due is tried at once: what was waited for may be mended. `None` when it is
/// gone, or not as it was looked at.
pub(crate) async fn set_hook(
    conn: &mut Conn,
    update: &HookUpdate,
    now: Timestamp,
    entry: &NewEntry,
) -> Result<Option<()>, StoreError> {
    let target = &update.target;
    let done = sqlx::query(
        "UPDATE hooks SET url = $3, kinds = $4, authorities = $5, allow_plain = $6, \
         allow_address = $7, version = version + 1 \
         WHERE id = $1 AND version = $2 AND removed_at_us IS NULL",
    )
    .bind(update.id.0)
    .bind(update.version)
    .bind(target.url.as_str().to_owned())
    .bind(kinds_column(&update.kinds))
    .bind(target.authorities.clone())
    .bind(i64::from(target.plain == HookPlain::Anywhere))
    .bind(i64::from(target.addresses == HookAddresses::Any))
    .execute(&mut *conn)
    .await?;
    if done.rows_affected() == 0 {
        return Ok(None);
    }
    if let Some((form, sealed)) = &update.secret {
        let (reference, key_id) = secret_columns(form);
        sqlx::query("UPDATE hooks SET reference = $2, sealed = $3, key_id = $4 WHERE id = $1")
            .bind(update.id.0)
            .bind(reference)
            .bind(sealed.clone())
            .bind(key_id)
            .execute(&mut *conn)
            .await?;
    }
    sqlx::query(
        "UPDATE deliveries SET not_before_us = $2 \
         WHERE hook_id = $1 AND is_head = 1 AND not_before_us > $2",
    )
    .bind(update.id.0)
    .bind(now.as_micros())
    .execute(&mut *conn)
    .await?;
    note_change(conn, entry).await?;
    Ok(Some(()))
}

/// Whether it is told; what is due meanwhile waits. `None` when it is gone.
pub(crate) async fn enable_hook(
    conn: &mut Conn,
    hook: HookId,
    enabled: bool,
    entry: &NewEntry,
) -> Result<Option<()>, StoreError> {
    let done = sqlx::query(
        "UPDATE hooks SET enabled = $2, version = version + 1 \
         WHERE id = $1 AND removed_at_us IS NULL",
    )
    .bind(hook.0)
    .bind(i64::from(enabled))
    .execute(&mut *conn)
    .await?;
    if done.rows_affected() == 0 {
        return Ok(None);
    }
    if enabled {
        wake(conn, hook, entry.at).await?;
    }
    note_change(conn, entry).await?;
    Ok(Some(()))
}

/// Whatever is due for a hook is tried soon, also by nodes that leave it alone because it
/// did not answer: they see that its version is another.
pub(super) async fn wake(conn: &mut Conn, hook: HookId, now: Timestamp) -> Result<(), StoreError> {
    sqlx::query("UPDATE hooks SET version = version + 1 WHERE id = $1")
        .bind(hook.0)
        .execute(&mut *conn)
        .await?;
    sqlx::query(
        "UPDATE deliveries SET not_before_us = $2 \
         WHERE hook_id = $1 AND is_head = 1 AND not_before_us > $2",
    )
    .bind(hook.0)
    .bind(now.as_micros())
    .execute(conn)
    .await?;
    Ok(())
}

/// It was tried out, and answers. `None` when it is gone.
pub(crate) async fn note_test(
    conn: &mut Conn,
    hook: HookId,
    entry: &NewEntry,
) -> Result<Option<()>, StoreError> {
    if hook_at(conn, hook).await?.is_none() {
        return Ok(None);
    }
    wake(conn, hook, entry.at).await?;
    journal::append(conn, entry).await?;
    Ok(Some(()))
}

type Columns = (
    i64,
    i64,
    String,
    Option<String>,
    String,
    String,
    i64,
    String,
    Option<String>,
    Option<String>,
    Option<String>,
    i64,
    i64,
    i64,
);

fn hook_of(columns: Columns) -> Result<Hook, StoreError> {
    let (
        id,
        version,
        name,
        entity,
        url,
        kinds,
        enabled,
        handle,
        reference,
        key_id,
        authorities,
        allow_plain,
        allow_address,
        created_at,
    ) = columns;
    Ok(Hook {
        id: HookId(id),
        version,
        name: name.parse().map_err(|_| broken(id, "name"))?,
        entity: entity
            .map(|entity| entity.parse().map_err(|_| broken(id, "entity")))
            .transpose()?,
        kinds: kinds_of(id, &kinds)?,
        enabled: enabled != 0,
        target: HookTarget {
            url: url.parse().map_err(|_| broken(id, "url"))?,
            authorities,
            plain: match allow_plain {
                0 => HookPlain::ThisMachine,
                _ => HookPlain::Anywhere,
            },
            addresses: match allow_address {
                0 => HookAddresses::Usual,
                _ => HookAddresses::Any,
            },
        },
        created_at: Timestamp::from_micros(created_at),
        secret: match (reference, key_id) {
            (Some(reference), None) => {
                SecretForm::Reference(reference.parse().map_err(|_| broken(id, "reference"))?)
            }
            (None, Some(key_id)) => SecretForm::Sealed { key_id },
            _ => return Err(broken(id, "secret")),
        },
        handle,
        due: 0,
        dead: 0,
        failing: 0,
        last_error: None,
    })
}

/// The hook of this name, or all there are; by name, with what waits for them.
pub(crate) async fn hooks(
    conn: &mut Conn,
    name: Option<&HookName>,
) -> Result<Vec<Hook>, StoreError> {
    let rows: Vec<Columns> = sqlx::query_as(
        "SELECT h.id, h.version, h.name, e.name, h.url, h.kinds, h.enabled, h.handle, h.reference, \
         h.key_id, h.authorities, h.allow_plain, h.allow_address, h.created_at_us \
         FROM hooks h LEFT JOIN entities e ON e.id = h.entity_id \
         WHERE h.removed_at_us IS NULL AND ($1 = '' OR h.name = $1) ORDER BY h.name",
    )
    .bind(name.map_or_else(String::new, ToString::to_string))
    .fetch_all(&mut *conn)
    .await?;
    let mut hooks = Vec::with_capacity(rows.len());
    for row in rows {
        let mut hook = hook_of(row)?;
        let (due, dead): (i64, i64) = sqlx::query_as(
            "SELECT (SELECT COUNT(*) FROM deliveries WHERE hook_id = $1 AND state = 'due'), \
             (SELECT COUNT(*) FROM deliveries WHERE hook_id = $1 AND state = 'dead')",
        )
        .bind(hook.id.0)
        .fetch_one(&mut *conn)
        .await?;
        hook.due = u64::try_from(due).unwrap_or(0);
        hook.dead = u64::try_from(dead).unwrap_or(0);
        let failing: Option<(i64, Option<String>)> = sqlx::query_as(
            "SELECT attempts, last_error FROM deliveries \
             WHERE hook_id = $1 AND is_head = 1 AND attempts > 0 ORDER BY not_before_us, event_id LIMIT 1",
        )
        .bind(hook.id.0)
        .fetch_optional(&mut *conn)
        .await?;
        if let Some((attempts, error)) = failing {
            hook.failing = u32::try_from(attempts).unwrap_or(u32::MAX);
            hook.last_error = error;
        }
        hooks.push(hook);
    }
    Ok(hooks)
}

/// The hook of this number, without what waits for it; `None` when it is gone.
pub(crate) async fn hook_at(conn: &mut Conn, hook: HookId) -> Result<Option<Hook>, StoreError> {
    let row: Option<Columns> = sqlx::query_as(
        "SELECT h.id, h.version, h.name, e.name, h.url, h.kinds, h.enabled, h.handle, h.reference, \
         h.key_id, h.authorities, h.allow_plain, h.allow_address, h.created_at_us \
         FROM hooks h LEFT JOIN entities e ON e.id = h.entity_id \
         WHERE h.id = $1 AND h.removed_at_us IS NULL",
    )
    .bind(hook.0)
    .fetch_optional(conn)
    .await?;
    row.map(hook_of).transpose()
}

/// A sealed value; `None` when there is none under this handle.
pub(crate) async fn hook_secret(
    conn: &mut Conn,
    handle: &str,
) -> Result<Option<Vec<u8>>, StoreError> {
    let row: Option<(Option<Vec<u8>>,)> =
        sqlx::query_as("SELECT sealed FROM hooks WHERE handle = $1 AND removed_at_us IS NULL")
            .bind(handle.to_owned())
            .fetch_optional(conn)
            .await?;
    Ok(row.and_then(|(sealed,)| sealed))
}

/// Secrets of hooks that are sealed with another key than this one.
pub(crate) async fn hooks_sealed_otherwise(
    conn: &mut Conn,
    key_id: &str,
) -> Result<Vec<SealedHook>, StoreError> {
    let rows: Vec<(String, Vec<u8>)> = sqlx::query_as(
        "SELECT handle, sealed FROM hooks WHERE key_id <> $1 AND sealed IS NOT NULL \
         ORDER BY handle",
    )
    .bind(key_id.to_owned())
    .fetch_all(conn)
    .await?;
    let sealed = |(handle, sealed)| SealedHook { handle, sealed };
    Ok(rows.into_iter().map(sealed).collect())
}

/// Puts secrets of hooks in place that are sealed with another key; one that has changed
/// meanwhile keeps what it has. Returns how many were put.
pub(crate) async fn reseal_hooks(
    conn: &mut Conn,
    resealed: &[Resealed],
    entry: &NewEntry,
) -> Result<u64, StoreError> {
    let mut done = 0;
    for value in resealed {
        done += sqlx::query(
            "UPDATE hooks SET sealed = $3, key_id = $4 WHERE handle = $1 AND sealed = $2",
        )
        .bind(value.handle.clone())
        .bind(value.was.clone())
        .bind(value.sealed.clone())
        .bind(value.key_id.clone())
        .execute(&mut *conn)
        .await?
        .rows_affected();
    }
    note_change(conn, &entry.clone().with("values", done)).await?;
    Ok(done)
}
