//! `layover location`.

use layover_depot::{
    Depot, Existing, IntegrationName, LocationName, LocationPath, Registry, WantedLocation,
};

use super::integration::told;
use super::integration::view::LocationView;
use crate::cli::integration::LocationCommand;
use crate::context::Context;
use crate::error::CliError;
use crate::output::{Cell, Table};

pub(super) async fn run(context: &mut Context, command: LocationCommand) -> Result<(), CliError> {
    let depot = context.depot().await?;
    let done = act(context, &depot, command).await;
    depot.close().await;
    done
}

async fn act(
    context: &mut Context,
    depot: &Depot,
    command: LocationCommand,
) -> Result<(), CliError> {
    let registry = depot.registry();
    match command {
        LocationCommand::Add {
            integration,
            name,
            path,
            direction,
        } => {
            let wanted = WantedLocation {
                name: name.clone(),
                path: LocationPath::typed(path.as_bytes())?,
                direction,
            };
            let existing = Existing::Refuse;
            registry
                .put_location(&context.actor, &integration, &wanted, existing)
                .await?;
            let view = view(registry, &integration, &name).await?;
            let sentence = format!(
                "location `{name}` of integration `{integration}` added: {} ({})",
                view.path, view.direction
            );
            context.out.done(&view, &sentence)?;
        }
        LocationCommand::List { integration } => {
            let found = registry.integration(&integration).await?;
            let views: Vec<_> = found.locations.iter().map(LocationView::new).collect();
            let mut table = Table::new(["LOCATION", "PATH", "DIRECTION", "ADDED"]);
            for view in &views {
                table.row([
                    Cell::from(view.name.as_str()),
                    Cell::from(view.path.as_str()),
                    Cell::from(view.direction),
                    Cell::from(view.created_at.to_string()),
                ]);
            }
            let nothing =
                format!("no locations; add one: layover location add {integration} NAME PATH");
            context.out.list(&views, &table, &nothing)?;
        }
        LocationCommand::Set {
            integration,
            name,
            path,
            direction,
        } => {
            if path.is_none() && direction.is_none() {
                return Err(CliError::NothingToChange);
            }
            let found = registry.integration(&integration).await?;
            let known = found.location(&name);
            let known = known.ok_or_else(|| layover_depot::RegistryError::UnknownLocation {
                name: integration.clone(),
                location: name.clone(),
            })?;
            let wanted = WantedLocation {
                name: name.clone(),
                path: match path {
                    Some(path) => LocationPath::typed(path.as_bytes())?,
                    None => known.path.clone(),
                },
                direction: direction.unwrap_or(known.direction),
            };
            let existing = Existing::Change;
            let changes = registry
                .put_location(&context.actor, &integration, &wanted, existing)
                .await?;
            let view = view(registry, &integration, &name).await?;
            let sentence = match told(&changes) {
                Some(told) => format!("integration `{integration}` changed: {told}"),
                None => format!("location `{name}` was so already; nothing changed"),
            };
            context.out.done(&view, &sentence)?;
        }
        LocationCommand::Remove { integration, name } => {
            registry
                .remove_location(&context.actor, &integration, &name)
                .await?;
            context.out.done(
                &serde_json::json!({ "removed": name.to_string() }),
                &format!(
                    "location `{name}` of integration `{integration}` forgotten; the folder on the \
                     partner's server stays"
                ),
            )?;
        }
    }
    Ok(())
}

async fn view(
    registry: &Registry,
    integration: &IntegrationName,
    name: &LocationName,
) -> Result<LocationView, CliError> {
    let found = registry.integration(integration).await?;
    let location = found.location(name).map(LocationView::new);
    location.ok_or_else(|| {
        CliError::Registry(layover_depot::RegistryError::UnknownLocation {
            name: integration.clone(),
            location: name.clone(),
        })
    })
}
