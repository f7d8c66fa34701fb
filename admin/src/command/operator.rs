//! `layover operator`.

use std::path::Path;

use layover_depot::{NewKey, Operator};
use layover_retention::Timestamp;
use serde::Serialize;

use super::key::keys_from_file;
use crate::cli::retention::OperatorCommand;
use crate::context::Context;
use crate::error::CliError;
use crate::output::{Cell, Table};

#[derive(Debug, Serialize)]
struct OperatorView {
    name: String,
    fingerprint: String,
    public_key: String,
    added_at: Timestamp,
}

impl From<&Operator> for OperatorView {
    fn from(operator: &Operator) -> Self {
        Self {
            name: operator.name.to_string(),
            fingerprint: operator.fingerprint.clone(),
            public_key: operator.public_key.clone(),
            added_at: operator.added_at,
        }
    }
}

pub(super) async fn run(context: &mut Context, command: OperatorCommand) -> Result<(), CliError> {
    let depot = context.depot().await?;
    let registry = depot.registry();
    match command {
        OperatorCommand::Add { name, file } => {
            let key = only_key(&file)?;
            let operator = registry.add_operator(&context.actor, &name, &key).await?;
            let sentence = format!(
                "operator `{name}` approves holds with the key {}",
                operator.fingerprint
            );
            context
                .out
                .done(&OperatorView::from(&operator), &sentence)?;
        }
        OperatorCommand::List => {
            let operators = registry.list_operators().await?;
            let views: Vec<_> = operators.iter().map(OperatorView::from).collect();
            let mut table = Table::new(["OPERATOR", "FINGERPRINT", "ADDED"]);
            for view in &views {
                table.row([
                    Cell::from(view.name.as_str()),
                    Cell::from(view.fingerprint.as_str()),
                    Cell::from(view.added_at.to_string()),
                ]);
            }
            let nothing = "no operators; a hold needs two: layover operator add NAME FILE.pub";
            context.out.list(&views, &table, nothing)?;
        }
        OperatorCommand::Remove { name } => {
            registry.remove_operator(&context.actor, &name).await?;
            context.out.done(
                &serde_json::json!({ "removed": name.to_string() }),
                &format!("operator `{name}` approves nothing any more"),
            )?;
        }
    }
    depot.close().await;
    Ok(())
}

fn only_key(file: &Path) -> Result<NewKey, CliError> {
    let mut keys = keys_from_file(file)?;
    match (keys.pop(), keys.is_empty()) {
        (Some(key), true) => Ok(key),
        _ => Err(CliError::MoreThanOneKey {
            file: file.to_owned(),
        }),
    }
}
