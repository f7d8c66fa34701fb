//! Entities.

use layover_retention::Timestamp;

use super::{Conn, StoreError, journal, sessions};
use crate::account::{Entity, NewEntity};
use crate::journal::NewEntry;
use crate::store::keep_of;
use crate::{EntityId, EntityName};

type EntityColumns = (i64, String, Option<i64>, i64, Option<String>);

fn entity_row(columns: EntityColumns) -> Result<Entity, StoreError> {
    let (id, name, keep_s, created, zone) = columns;
    let broken = |what| StoreError::Corrupt {
        table: "entities",
        id,
        what,
    };
    Ok(Entity {
        id: EntityId(id),
        name: name.parse().map_err(|_| broken("name"))?,
        keep: keep_of(keep_s),
        time_zone: match zone {
            Some(zone) => Some(zone.parse().map_err(|_| broken("time zone"))?),
            None => None,
        },
        created_at: Timestamp::from_micros(created),
    })
}

/// `None` when the name is taken.
pub(crate) async fn add_entity(
    conn: &mut Conn,
    entity: &NewEntity,
    now: Timestamp,
    entry: &NewEntry,
) -> Result<Option<EntityId>, StoreError> {
    let row: Option<(i64,)> = sqlx::query_as(
        "INSERT INTO entities (name, keep_s, created_at_us) VALUES ($1, $2, $3) \
         ON CONFLICT (name) DO NOTHING RETURNING id",
    )
    .bind(entity.name.as_str().to_owned())
    .bind(entity.keep.map(|keep| super::files::bigint(keep.as_secs())))
    .bind(now.as_micros())
    .fetch_optional(&mut *conn)
    .await?;
    let Some((id,)) = row else { return Ok(None) };
    journal::append(conn, entry).await?;
    Ok(Some(EntityId(id)))
}

pub(crate) async fn entity(
    conn: &mut Conn,
    name: &EntityName,
) -> Result<Option<Entity>, StoreError> {
    let row: Option<EntityColumns> = sqlx::query_as(
        "SELECT id, name, keep_s, created_at_us, time_zone FROM entities WHERE name = $1",
    )
    .bind(name.as_str().to_owned())
    .fetch_optional(conn)
    .await?;
    row.map(entity_row).transpose()
}

pub(crate) async fn list_entities(conn: &mut Conn) -> Result<Vec<Entity>, StoreError> {
    let rows: Vec<EntityColumns> = sqlx::query_as(
        "SELECT id, name, keep_s, created_at_us, time_zone FROM entities ORDER BY name",
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(entity_row).collect()
}

/// `None` when it still has accounts or integrations, or homes with holds, or with files
/// that must expire under its name. Homes and removed accounts that are empty go with it.
pub(crate) async fn remove_entity(
    conn: &mut Conn,
    entity: EntityId,
    entry: &NewEntry,
) -> Result<Option<()>, StoreError> {
    let (accounts, files): (i64, i64) = sqlx::query_as(
        "SELECT (SELECT COUNT(*) FROM accounts WHERE entity_id = $1 AND removed_at_us IS NULL), \
         (SELECT COUNT(*) FROM files f JOIN homes h ON h.id = f.home_id \
          WHERE h.entity_id = $1 AND f.state <> 'ended')",
    )
    .bind(entity.0)
    .fetch_one(&mut *conn)
    .await?;
    let (holds, integrations): (i64, i64) = sqlx::query_as(
        "SELECT (SELECT COUNT(*) FROM holds h JOIN homes m ON m.id = h.home_id \
         WHERE m.entity_id = $1 AND h.state IN ('proposed', 'active')), \
         (SELECT COUNT(*) FROM integrations WHERE entity_id = $1 AND removed_at_us IS NULL)",
    )
    .bind(entity.0)
    .fetch_one(&mut *conn)
    .await?;
    if accounts > 0 || files > 0 || holds > 0 || integrations > 0 {
        return Ok(None);
    }
    for statement in [
        "DELETE FROM sessions WHERE account_id IN (SELECT id FROM accounts WHERE entity_id = $1)",
        "DELETE FROM path_claims WHERE home_id IN (SELECT id FROM homes WHERE entity_id = $1)",
        "DELETE FROM held_files WHERE hold_id IN (SELECT h.id FROM holds h \
         JOIN homes m ON m.id = h.home_id WHERE m.entity_id = $1)",
        "DELETE FROM hold_approvals WHERE hold_id IN (SELECT h.id FROM holds h \
         JOIN homes m ON m.id = h.home_id WHERE m.entity_id = $1)",
        "DELETE FROM holds WHERE home_id IN (SELECT id FROM homes WHERE entity_id = $1)",
        "DELETE FROM removal_failures WHERE file_id IN (SELECT f.id FROM files f \
         JOIN homes m ON m.id = f.home_id WHERE m.entity_id = $1)",
        "UPDATE files SET collected_by = NULL \
         WHERE collected_by IN (SELECT id FROM accounts WHERE entity_id = $1)",
        "DELETE FROM files WHERE home_id IN (SELECT id FROM homes WHERE entity_id = $1)",
        "DELETE FROM account_keys WHERE account_id IN (SELECT id FROM accounts WHERE entity_id = $1)",
        "DELETE FROM account_networks WHERE account_id IN (SELECT id FROM accounts WHERE entity_id = $1)",
        "DELETE FROM account_permissions WHERE account_id IN (SELECT id FROM accounts WHERE entity_id = $1)",
        "DELETE FROM accounts WHERE entity_id = $1",
        "DELETE FROM folder_keeps WHERE home_id IN (SELECT id FROM homes WHERE entity_id = $1)",
        "DELETE FROM flow_arrivals WHERE home_id IN (SELECT id FROM homes WHERE entity_id = $1)",
        "DELETE FROM expectation_days WHERE expectation IN (SELECT name FROM expectations WHERE entity_id = $1)",
        "DELETE FROM expectations WHERE entity_id = $1",
        "DELETE FROM deliveries WHERE hook_id IN (SELECT id FROM hooks WHERE entity_id = $1)",
        "DELETE FROM hooks WHERE entity_id = $1",
        "DELETE FROM homes WHERE entity_id = $1",
        "DELETE FROM integrations WHERE entity_id = $1",
        "DELETE FROM entities WHERE id = $1",
    ] {
        sqlx::query(statement)
            .bind(entity.0)
            .execute(&mut *conn)
            .await?;
    }
    sessions::bump(conn).await?;
    journal::append(conn, entry).await?;
    Ok(Some(()))
}
