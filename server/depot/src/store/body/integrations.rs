//! Partners' own servers, and what hangs on them.

use std::collections::HashMap;

use layover_retention::Timestamp;

use super::sessions::note_change;
use super::{Conn, StoreError, files};
use crate::integration::{
    FlowDefinition, Integration, IntegrationSettings, IntegrationSpec, KeptSecret, Location,
    LocationPath, PartnerHostKey, SecretForm, SecretPurpose,
};
use crate::journal::NewEntry;
use crate::store::{ExpectationWrite, FlowWrite, IntegrationWrite, Resealed, SealedRow, SecretRow};
use crate::{IntegrationId, IntegrationName};

fn broken(table: &'static str, id: i64, what: &'static str) -> StoreError {
    StoreError::Corrupt { table, id, what }
}

type Columns = (
    i64,
    String,
    String,
    String,
    String,
    String,
    Option<i64>,
    String,
    String,
    String,
    i64,
    i64,
);

/// The integration of this name, or all there are; by name.
pub(crate) async fn integrations(
    conn: &mut Conn,
    name: Option<&IntegrationName>,
) -> Result<Vec<Integration>, StoreError> {
    let rows: Vec<Columns> = sqlx::query_as(
        "SELECT i.id, i.name, i.display_name, e.name, i.protocol, i.host, i.port, i.username, \
         i.settings, i.learned, i.version, i.created_at_us \
         FROM integrations i JOIN entities e ON e.id = i.entity_id \
         WHERE i.removed_at_us IS NULL AND ($1 = '' OR i.name = $1) ORDER BY i.name",
    )
    .bind(name.map_or_else(String::new, ToString::to_string))
    .fetch_all(&mut *conn)
    .await?;
    let numbers = || rows.iter().map(|row| row.0);
    let (Some(first), Some(last)) = (numbers().min(), numbers().max()) else {
        return Ok(Vec::new());
    };
    let mut locations = locations(conn, first, last).await?;
    let mut host_keys = host_keys(conn, first, last).await?;
    let mut secrets = secrets(conn, first, last).await?;
    let mut found = Vec::with_capacity(rows.len());
    for columns in rows {
        let id = columns.0;
        found.push(Integration {
            locations: locations.remove(&id).unwrap_or_default(),
            host_keys: host_keys.remove(&id).unwrap_or_default(),
            secrets: secrets.remove(&id).unwrap_or_default(),
            ..integration_of(columns)?
        });
    }
    Ok(found)
}

fn integration_of(columns: Columns) -> Result<Integration, StoreError> {
    let (
        id,
        name,
        display_name,
        entity,
        protocol,
        host,
        port,
        username,
        settings,
        learned,
        version,
        created,
    ) = columns;
    let broken = |what| broken("integrations", id, what);
    let own_port = port.map(|port| {
        u16::try_from(port)
            .ok()
            .and_then(|port| port.try_into().ok())
    });
    Ok(Integration {
        id: IntegrationId(id),
        version,
        spec: IntegrationSpec {
            name: name.parse().map_err(|_| broken("name"))?,
            display_name: display_name.parse().map_err(|_| broken("display name"))?,
            entity: entity.parse().map_err(|_| broken("entity"))?,
            protocol: protocol.parse().map_err(|_| broken("protocol"))?,
            host: host.parse().map_err(|_| broken("host"))?,
            own_port: match own_port {
                Some(None) => return Err(broken("port")),
                Some(port) => port,
                None => None,
            },
            username: username.parse().map_err(|_| broken("username"))?,
            settings: IntegrationSettings::from_json(&settings)
                .ok_or_else(|| broken("settings"))?,
        },
        locations: Vec::new(),
        host_keys: Vec::new(),
        secrets: Vec::new(),
        learned: serde_json::from_str(&learned).map_err(|_| broken("learned"))?,
        created_at: Timestamp::from_micros(created),
    })
}

async fn locations(
    conn: &mut Conn,
    first: i64,
    last: i64,
) -> Result<HashMap<i64, Vec<Location>>, StoreError> {
    let rows: Vec<(i64, String, Vec<u8>, String, i64)> = sqlx::query_as(
        "SELECT integration_id, name, path, direction, created_at_us FROM locations \
         WHERE integration_id BETWEEN $1 AND $2 ORDER BY integration_id, name",
    )
    .bind(first)
    .bind(last)
    .fetch_all(conn)
    .await?;
    let mut of: HashMap<i64, Vec<Location>> = HashMap::new();
    for (id, name, path, direction, created) in rows {
        let broken = |what| broken("locations", id, what);
        of.entry(id).or_default().push(Location {
            name: name.parse().map_err(|_| broken("name"))?,
            path: LocationPath::new(&path).map_err(|_| broken("path"))?,
            direction: direction.parse().map_err(|_| broken("direction"))?,
            created_at: Timestamp::from_micros(created),
        });
    }
    Ok(of)
}

type HostKeyColumns = (
    i64,
    String,
    Option<String>,
    i64,
    Option<i64>,
    Option<String>,
);

async fn host_keys(
    conn: &mut Conn,
    first: i64,
    last: i64,
) -> Result<HashMap<i64, Vec<PartnerHostKey>>, StoreError> {
    let rows: Vec<HostKeyColumns> = sqlx::query_as(
        "SELECT integration_id, fingerprint, public_key, seen_at_us, confirmed_at_us, confirmed_by \
         FROM integration_host_keys \
         WHERE integration_id BETWEEN $1 AND $2 ORDER BY integration_id, fingerprint",
    )
    .bind(first)
    .bind(last)
    .fetch_all(conn)
    .await?;
    let mut of: HashMap<i64, Vec<PartnerHostKey>> = HashMap::new();
    for (id, fingerprint, public_key, seen, confirmed, confirmed_by) in rows {
        of.entry(id).or_default().push(PartnerHostKey {
            fingerprint,
            public_key,
            seen_at: Timestamp::from_micros(seen),
            confirmed_at: confirmed.map(Timestamp::from_micros),
            confirmed_by,
        });
    }
    Ok(of)
}

type SecretColumns = (
    i64,
    String,
    String,
    String,
    Option<String>,
    Option<String>,
    Option<String>,
    i64,
    Option<i64>,
);

async fn secrets(
    conn: &mut Conn,
    first: i64,
    last: i64,
) -> Result<HashMap<i64, Vec<KeptSecret>>, StoreError> {
    let rows: Vec<SecretColumns> = sqlx::query_as(
        "SELECT integration_id, handle, purpose, slot, reference, key_id, public_part, \
         created_at_us, confirmed_at_us FROM integration_secrets \
         WHERE integration_id BETWEEN $1 AND $2 ORDER BY integration_id, purpose, slot",
    )
    .bind(first)
    .bind(last)
    .fetch_all(conn)
    .await?;
    let mut of: HashMap<i64, Vec<KeptSecret>> = HashMap::new();
    for (id, handle, purpose, slot, reference, key_id, public, created, confirmed) in rows {
        let broken = |what| broken("integration_secrets", id, what);
        let form = match (reference, key_id) {
            (Some(reference), None) => {
                SecretForm::Reference(reference.parse().map_err(|_| broken("reference"))?)
            }
            (None, Some(key_id)) => SecretForm::Sealed { key_id },
            _ => return Err(broken("form")),
        };
        of.entry(id).or_default().push(KeptSecret {
            handle,
            purpose: purpose.parse().map_err(|_| broken("purpose"))?,
            slot: slot.parse().map_err(|_| broken("slot"))?,
            form,
            public,
            created_at: Timestamp::from_micros(created),
            confirmed_at: confirmed.map(Timestamp::from_micros),
        });
    }
    Ok(of)
}

/// All of it or nothing: `None` when an integration was changed since it was looked at,
/// or the name of a new one is taken.
pub(crate) async fn write_integrations(
    conn: &mut Conn,
    writes: &[IntegrationWrite],
    flows: &[FlowWrite],
    expectations: &[ExpectationWrite],
    now: Timestamp,
) -> Result<Option<()>, StoreError> {
    for write in writes {
        let Some(id) = write_row(conn, write, now).await? else {
            return Ok(None);
        };
        write_belongings(conn, id, write).await?;
        super::expectations::follow_integration(conn, &write.spec.name, write.entity, now).await?;
        note_change(conn, &write.entry).await?;
    }
    for flow in flows {
        super::flows::write_flow(conn, flow, now).await?;
    }
    for expectation in expectations {
        super::expectations::write_expectation(conn, expectation, now).await?;
    }
    Ok(Some(()))
}

async fn write_row(
    conn: &mut Conn,
    write: &IntegrationWrite,
    now: Timestamp,
) -> Result<Option<i64>, StoreError> {
    let spec = &write.spec;
    // A new row is of version 1; one that changes must be of the version that was seen.
    let query = match write.of {
        None => sqlx::query_as(
            "INSERT INTO integrations (name, display_name, entity_id, protocol, host, port, \
             username, settings, learned, version, created_at_us) \
             SELECT $1, $2, e.id, $4, $5, $6, $7, $8, $9, $10 + 1, $11 FROM entities e \
             WHERE e.id = $3 ON CONFLICT DO NOTHING RETURNING id",
        ),
        Some(_) => sqlx::query_as(
            "UPDATE integrations SET name = $1, display_name = $2, entity_id = $3, \
             protocol = $4, host = $5, port = $6, username = $7, settings = $8, learned = $9, \
             version = $10 + 1, removed_at_us = CASE WHEN $13 = 1 THEN $11 ELSE NULL END \
             WHERE id = $12 AND version = $10 AND removed_at_us IS NULL RETURNING id",
        ),
    };
    let query = query
        .bind(spec.name.to_string())
        .bind(spec.display_name.to_string())
        .bind(write.entity.0)
        .bind(spec.protocol.as_str())
        .bind(spec.host.to_string())
        .bind(spec.own_port.map(|port| i64::from(port.get())))
        .bind(spec.username.to_string())
        .bind(spec.settings.to_json())
        .bind(write.learned.clone())
        .bind(write.of.map_or(0, |(_, version)| version))
        .bind(now.as_micros());
    let query = match write.of {
        None => query,
        Some((id, _)) => query.bind(id.0).bind(i64::from(write.removed)),
    };
    let row: Option<(i64,)> = query.fetch_optional(conn).await?;
    Ok(row.map(|(id,)| id))
}

async fn write_belongings(
    conn: &mut Conn,
    id: i64,
    write: &IntegrationWrite,
) -> Result<(), StoreError> {
    if write.removed {
        for statement in [
            "DELETE FROM integration_secrets WHERE integration_id = $1",
            "DELETE FROM integration_host_keys WHERE integration_id = $1",
            "DELETE FROM locations WHERE integration_id = $1",
        ] {
            sqlx::query(statement).bind(id).execute(&mut *conn).await?;
        }
        for flow in &write.flows_gone {
            super::flows::forget_flow(conn, flow).await?;
        }
        return Ok(());
    }
    for name in &write.locations_gone {
        sqlx::query("DELETE FROM locations WHERE integration_id = $1 AND name = $2")
            .bind(id)
            .bind(name.to_string())
            .execute(&mut *conn)
            .await?;
    }
    for location in &write.locations {
        sqlx::query(
            "INSERT INTO locations (integration_id, name, path, direction, created_at_us) \
             VALUES ($1, $2, $3, $4, $5) ON CONFLICT (integration_id, name) DO UPDATE \
             SET path = EXCLUDED.path, direction = EXCLUDED.direction",
        )
        .bind(id)
        .bind(location.name.to_string())
        .bind(location.path.as_bytes().to_vec())
        .bind(location.direction.as_str())
        .bind(location.created_at.as_micros())
        .execute(&mut *conn)
        .await?;
    }
    for fingerprint in &write.host_keys_gone {
        sqlx::query(
            "DELETE FROM integration_host_keys WHERE integration_id = $1 AND fingerprint = $2",
        )
        .bind(id)
        .bind(fingerprint.clone())
        .execute(&mut *conn)
        .await?;
    }
    for key in &write.host_keys {
        sqlx::query(
            "INSERT INTO integration_host_keys (integration_id, fingerprint, public_key, \
             seen_at_us, confirmed_at_us, confirmed_by) VALUES ($1, $2, $3, $4, $5, $6) \
             ON CONFLICT (integration_id, fingerprint) DO UPDATE \
             SET public_key = EXCLUDED.public_key, confirmed_at_us = EXCLUDED.confirmed_at_us, \
             confirmed_by = EXCLUDED.confirmed_by",
        )
        .bind(id)
        .bind(key.fingerprint.clone())
        .bind(key.public_key.clone())
        .bind(key.seen_at.as_micros())
        .bind(key.confirmed_at.map(Timestamp::as_micros))
        .bind(key.confirmed_by.clone())
        .execute(&mut *conn)
        .await?;
    }
    write_secrets(conn, id, &write.secrets_gone, &write.secrets).await
}

/// What goes, goes first: a slot is free for what comes.
async fn write_secrets(
    conn: &mut Conn,
    id: i64,
    gone: &[String],
    come: &[SecretRow],
) -> Result<(), StoreError> {
    for handle in gone {
        sqlx::query("DELETE FROM integration_secrets WHERE integration_id = $1 AND handle = $2")
            .bind(id)
            .bind(handle.clone())
            .execute(&mut *conn)
            .await?;
    }
    for SecretRow { kept, sealed } in come {
        let (reference, key_id) = match &kept.form {
            SecretForm::Reference(reference) => (Some(reference.to_string()), None),
            SecretForm::Sealed { key_id } => (None, Some(key_id.clone())),
        };
        sqlx::query(
            "INSERT INTO integration_secrets (handle, integration_id, purpose, slot, reference, \
             sealed, key_id, public_part, created_at_us, confirmed_at_us) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (handle) DO UPDATE \
             SET slot = EXCLUDED.slot, confirmed_at_us = EXCLUDED.confirmed_at_us",
        )
        .bind(kept.handle.clone())
        .bind(id)
        .bind(kept.purpose.as_str())
        .bind(kept.slot.as_str())
        .bind(reference)
        .bind(sealed.clone())
        .bind(key_id)
        .bind(kept.public.clone())
        .bind(kept.created_at.as_micros())
        .bind(kept.confirmed_at.map(Timestamp::as_micros))
        .execute(&mut *conn)
        .await?;
    }
    Ok(())
}

/// A sealed value; `None` when there is none under this handle.
pub(crate) async fn sealed_secret(
    conn: &mut Conn,
    handle: &str,
) -> Result<Option<Vec<u8>>, StoreError> {
    let row: Option<(Option<Vec<u8>>,)> =
        sqlx::query_as("SELECT sealed FROM integration_secrets WHERE handle = $1")
            .bind(handle.to_owned())
            .fetch_optional(conn)
            .await?;
    Ok(row.and_then(|(sealed,)| sealed))
}

/// Values that are sealed with another key than this one, by handle.
pub(crate) async fn sealed_otherwise(
    conn: &mut Conn,
    key_id: &str,
    after: &str,
    limit: usize,
) -> Result<Vec<SealedRow>, StoreError> {
    let rows: Vec<(String, String, Vec<u8>)> = sqlx::query_as(
        "SELECT handle, purpose, sealed FROM integration_secrets \
         WHERE key_id <> $1 AND handle > $2 ORDER BY handle LIMIT $3",
    )
    .bind(key_id.to_owned())
    .bind(after.to_owned())
    .bind(files::bigint(limit as u64))
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|(handle, purpose, sealed)| {
            let purpose: SecretPurpose = purpose
                .parse()
                .map_err(|_| broken("integration_secrets", 0, "purpose"))?;
            Ok(SealedRow {
                handle,
                purpose,
                sealed,
            })
        })
        .collect()
}

/// Puts values in place that are sealed with another key; one that has changed
/// meanwhile keeps what it has. Returns how many were put.
pub(crate) async fn reseal(
    conn: &mut Conn,
    resealed: &[Resealed],
    entry: &NewEntry,
) -> Result<u64, StoreError> {
    let mut done = 0;
    for value in resealed {
        done += sqlx::query(
            "UPDATE integration_secrets SET sealed = $3, key_id = $4 \
             WHERE handle = $1 AND sealed = $2",
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

/// Names of the master keys that values are sealed with.
pub(crate) async fn sealing_keys(conn: &mut Conn) -> Result<Vec<String>, StoreError> {
    let rows: Vec<(String,)> = sqlx::query_as(
        "SELECT key_id FROM integration_secrets WHERE key_id IS NOT NULL \
         UNION SELECT key_id FROM hooks WHERE key_id IS NOT NULL ORDER BY key_id",
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|(key_id,)| key_id).collect())
}

/// Flows as they were applied, by name.
pub(crate) async fn flow_definitions(conn: &mut Conn) -> Result<Vec<FlowDefinition>, StoreError> {
    let rows: Vec<(String,)> =
        sqlx::query_as("SELECT definition FROM flow_definitions ORDER BY name")
            .fetch_all(conn)
            .await?;
    rows.into_iter()
        .map(|(text,)| {
            FlowDefinition::from_json(&text)
                .ok_or_else(|| broken("flow_definitions", 0, "definition"))
        })
        .collect()
}
