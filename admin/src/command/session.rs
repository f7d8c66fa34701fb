//! `layover session`.

use crate::cli::SessionCommand;
use crate::context::Context;
use crate::error::CliError;
use crate::output::{Cell, Table};

pub(super) async fn run(context: &mut Context, command: SessionCommand) -> Result<(), CliError> {
    let depot = context.depot().await?;
    let registry = depot.registry();
    match command {
        SessionCommand::List => {
            let sessions = registry.list_sessions().await?;
            let mut table = Table::new(["SESSION", "ACCOUNT", "PROTOCOL", "PEER", "NODE", "SINCE"]);
            for session in &sessions {
                table.row([
                    Cell::from(session.id.to_string()),
                    Cell::from(session.account.as_str()),
                    Cell::from(session.protocol.as_str()),
                    Cell::from(session.peer.as_str()),
                    Cell::from(session.node.as_str()),
                    Cell::from(session.since.to_string()),
                ]);
            }
            context.out.list(&sessions, &table, "nobody is logged in")?;
        }
        SessionCommand::Kill { id } => {
            registry.kill_session(&context.actor, &id).await?;
            context.out.done(
                &serde_json::json!({ "killed": id.to_string() }),
                &format!("session {id} ends within 5 seconds"),
            )?;
        }
    }
    depot.close().await;
    Ok(())
}
