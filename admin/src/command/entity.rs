//! `layover entity`.

use layover_depot::{Entity, NewEntity};
use layover_retention::{Keep, Timestamp};
use serde::Serialize;

use crate::cli::EntityCommand;
use crate::context::Context;
use crate::error::CliError;
use crate::output::{Cell, Table};

#[derive(Debug, Serialize)]
struct EntityView {
    name: String,
    /// The entity's own keep; `null` when the appliance decides.
    keep: Option<Keep>,
    created_at: Timestamp,
}

impl From<&Entity> for EntityView {
    fn from(entity: &Entity) -> Self {
        Self {
            name: entity.name.to_string(),
            keep: entity.keep,
            created_at: entity.created_at,
        }
    }
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
