//! `layover secrets`.

use serde::Serialize;

use super::integration::view::SecretView;
use crate::cli::integration::SecretsCommand;
use crate::context::Context;
use crate::error::CliError;
use crate::output::{Cell, Table};

#[derive(Serialize)]
struct NoteView {
    integration: String,
    #[serde(flatten)]
    secret: SecretView,
}

pub(super) async fn run(context: &mut Context, command: SecretsCommand) -> Result<(), CliError> {
    let depot = context.depot().await?;
    let registry = depot.registry();
    match command {
        SecretsCommand::List => {
            let notes = registry.list_secrets().await?;
            let mut table = Table::new(["INTEGRATION", "SECRET", "SLOT", "KEPT", "SINCE"]);
            let mut views = Vec::with_capacity(notes.len());
            for note in &notes {
                let view = NoteView {
                    integration: note.integration.to_string(),
                    secret: SecretView::new(&note.secret),
                };
                table.row([
                    Cell::from(view.integration.as_str()),
                    Cell::from(view.secret.purpose),
                    Cell::from(view.secret.slot),
                    Cell::from(view.secret.place()),
                    Cell::from(view.secret.created_at.to_string()),
                ]);
                views.push(view);
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
