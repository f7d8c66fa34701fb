//! `layover secrets`.

use layover_depot::SecretNote;
use serde::Serialize;

use super::integration::view::SecretView;
use crate::cli::integration::SecretsCommand;
use crate::context::Context;
use crate::error::CliError;
use crate::output::{Cell, Table};

/// One of the two is there: whose it is.
#[derive(Serialize)]
struct NoteView {
    integration: Option<String>,
    hook: Option<String>,
    #[serde(flatten)]
    secret: SecretView,
}

impl NoteView {
    fn new(note: &SecretNote) -> Self {
        match note {
            SecretNote::OfIntegration {
                integration,
                secret,
            } => Self {
                integration: Some(integration.to_string()),
                hook: None,
                secret: SecretView::new(secret),
            },
            SecretNote::OfHook { hook, form } => Self {
                integration: None,
                hook: Some(hook.to_string()),
                secret: SecretView::of_hook(form),
            },
        }
    }

    fn owner(&self) -> String {
        match (&self.integration, &self.hook) {
            (Some(name), _) => format!("integration {name}"),
            (None, hook) => format!("hook {}", hook.as_deref().unwrap_or("-")),
        }
    }
}

pub(super) async fn run(context: &mut Context, command: SecretsCommand) -> Result<(), CliError> {
    let depot = context.depot().await?;
    let registry = depot.registry();
    match command {
        SecretsCommand::List => {
            let notes = registry.list_secrets().await?;
            let views: Vec<_> = notes.iter().map(NoteView::new).collect();
            let mut table = Table::new(["OF", "SECRET", "SLOT", "KEPT", "SINCE"]);
            for view in &views {
                table.row([
                    Cell::from(view.owner()),
                    Cell::from(view.secret.purpose),
                    Cell::from(view.secret.slot),
                    Cell::from(view.secret.place()),
                    Cell::or_dash(view.secret.created_at),
                ]);
            }
            context.out.list(&views, &table, "no secrets are kept")?;
        }
        SecretsCommand::Rotate => {
            let report = registry.rotate_secrets(&context.actor).await?;
            let document = serde_json::json!({
                "key_id": report.key_id,
                "values": report.values,
                "dropped": report.dropped,
            });
            let dropped = match report.dropped.len() {
                0 => String::new(),
                count => format!("; {count} old master keys forgotten"),
            };
            let sentence = format!(
                "master key {} made; {} secrets sealed with it{dropped}. Where several nodes share \
                 the database: copy keys/master_keys in data_dir to each of them now",
                report.key_id, report.values
            );
            context.out.done(&document, &sentence)?;
        }
    }
    depot.close().await;
    Ok(())
}
