//! `layover entity`.

use layover_depot::{Entity, EntityName, NewEntity, Registry, ZoneName};
use layover_retention::{Keep, KeepWish, PolicyLayers, Timestamp};
use serde::Serialize;

use super::view::files_moved_text;
use crate::cli::EntityCommand;
use crate::context::Context;
use crate::error::CliError;
use crate::output::{Cell, Fields, Table};
use crate::value::KeepOrDefault;

#[derive(Debug, Serialize)]
struct EntityView {
    name: String,
    /// The entity's own keep; `null` when the appliance decides.
    keep: Option<Keep>,
    /// The zone of its days.
    time_zone: String,
    created_at: Timestamp,
}

impl From<&Entity> for EntityView {
    fn from(entity: &Entity) -> Self {
        Self {
            name: entity.name.to_string(),
            keep: entity.keep,
            time_zone: entity
                .time_zone
                .as_ref()
                .map_or_else(|| "UTC".to_owned(), ToString::to_string),
            created_at: entity.created_at,
        }
    }
}

/// An entity with the keep that holds for it.
#[derive(Debug, Serialize)]
struct EntityShown {
    #[serde(flatten)]
    entity: EntityView,
    effective_keep: Keep,
    effective_keep_source: &'static str,
    accounts: Vec<String>,
}

/// What `entity set` did.
#[derive(Debug, Serialize)]
struct EntityChanged {
    #[serde(flatten)]
    entity: EntityShown,
    /// Stored files that got another expiry.
    files_moved: u64,
}

async fn shown(
    context: &Context,
    registry: &Registry,
    name: &EntityName,
) -> Result<EntityShown, CliError> {
    let entity = registry.entity(name).await?;
    let policy = PolicyLayers {
        appliance: context.rule.keep,
        max_keep: context.rule.max_keep,
        entity: entity.keep,
        account: KeepWish::default(),
        folder: KeepWish::default(),
    }
    .effective();
    let accounts = registry.list_accounts().await?;
    Ok(EntityShown {
        entity: EntityView::from(&entity),
        effective_keep: policy.keep,
        effective_keep_source: policy.source.as_str(),
        accounts: accounts
            .iter()
            .filter(|account| account.entity == *name)
            .map(|account| account.name.to_string())
            .collect(),
    })
}

async fn set(
    context: &mut Context,
    registry: &Registry,
    name: &EntityName,
    keep: Option<Keep>,
    reason: Option<&str>,
) -> Result<(), CliError> {
    let files_moved = registry
        .set_entity_keep(&context.actor, name, keep, reason)
        .await?;
    let entity = shown(context, registry, name).await?;
    let files = files_moved_text(files_moved);
    let sentence = format!(
        "files of entity `{name}` stay {} (set by the {}); {files}",
        entity.effective_keep, entity.effective_keep_source
    );
    let document = EntityChanged {
        entity,
        files_moved,
    };
    context.out.done(&document, &sentence)?;
    Ok(())
}

async fn set_zone(
    context: &mut Context,
    registry: &Registry,
    name: &EntityName,
    zone: &str,
) -> Result<(), CliError> {
    let zone: ZoneName = zone.parse().map_err(|_| CliError::FlowValue {
        option: "--time-zone",
        text: zone.to_owned(),
        expected: "a time zone, e.g. Europe/Brussels or +02:00",
    })?;
    registry
        .set_entity_zone(&context.actor, name, Some(&zone))
        .await?;
    let entity = shown(context, registry, name).await?;
    let sentence = format!(
        "days of entity `{name}` are those of {zone}; its flows' schedules go by them from now on"
    );
    context.out.done(&entity, &sentence)?;
    Ok(())
}

pub(super) async fn run(context: &mut Context, command: EntityCommand) -> Result<(), CliError> {
    let depot = context.depot().await?;
    let registry = depot.registry();
    match command {
        EntityCommand::Add { name, keep } => {
            let entity = registry
                .add_entity(&context.actor, &NewEntity { name, keep })
                .await?;
            let sentence = format!(
                "entity `{0}` created; next: layover account add NAME --entity {0} --allow CIDR --generate-password",
                entity.name
            );
            context.out.done(&EntityView::from(&entity), &sentence)?;
        }
        EntityCommand::List => {
            let entities = registry.list_entities().await?;
            let mut table = Table::new(["ENTITY", "KEEP", "CREATED"]);
            for entity in &entities {
                table.row([
                    Cell::from(entity.name.to_string()),
                    Cell::or_dash(entity.keep),
                    Cell::from(entity.created_at.to_string()),
                ]);
            }
            let views: Vec<_> = entities.iter().map(EntityView::from).collect();
            context.out.list(
                &views,
                &table,
                "no entities; create one: layover entity add NAME",
            )?;
        }
        EntityCommand::Show { name } => {
            let view = shown(context, registry, &name).await?;
            let mut fields = Fields::new();
            fields.add("entity", view.entity.name.as_str());
            fields.add(
                "keep",
                format!(
                    "{} (set by the {})",
                    view.effective_keep, view.effective_keep_source
                ),
            );
            fields.add("time zone", view.entity.time_zone.as_str());
            fields.add("accounts", view.accounts.join(" "));
            fields.add("created", view.entity.created_at.to_string());
            context.out.fields(&view, &fields)?;
        }
        EntityCommand::Set {
            name,
            keep,
            time_zone,
            reason,
        } => {
            if keep.is_none() && time_zone.is_none() {
                return Err(CliError::NothingToChange);
            }
            if let Some(zone) = time_zone {
                set_zone(context, registry, &name, &zone).await?;
            }
            if let Some(KeepOrDefault(keep)) = keep {
                set(context, registry, &name, keep, reason.as_deref()).await?;
            }
        }
        EntityCommand::Remove { name } => {
            registry.remove_entity(&context.actor, &name).await?;
            context.out.done(
                &serde_json::json!({ "removed": name.to_string() }),
                &format!("entity `{name}` removed"),
            )?;
        }
    }
    depot.close().await;
    Ok(())
}
