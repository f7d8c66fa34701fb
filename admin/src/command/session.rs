//! `layover session`.

use layover_depot::{Direction, Moving};

use crate::cli::SessionCommand;
use crate::context::Context;
use crate::error::CliError;
use crate::output::{Cell, Table};
use crate::value::ByteSize;

/// `upload /in/a 1.2 MiB at 512.0 KiB/s, download /b 3.0 MiB of 7.0 MiB at 0 B/s`; more than
/// two are counted.
fn moves(moving: &[Moving]) -> String {
    const SHOWN: usize = 2;
    let mut all: Vec<_> = moving
        .iter()
        .take(SHOWN)
        .map(|file| {
            let way = match file.direction {
                Direction::Upload => "upload",
                Direction::Download => "download",
            };
            let size = file
                .size_bytes
                .map(|size| format!(" of {}", ByteSize(size)));
            let rate = file
                .bytes_per_s
                .map(|rate| format!(" at {}/s", ByteSize(rate)));
            let (moved, size) = (ByteSize(file.moved_bytes), size.unwrap_or_default());
            format!(
                "{way} {} {moved}{size}{}",
                file.path,
                rate.unwrap_or_default()
            )
        })
        .collect();
    match moving.len().saturating_sub(SHOWN) {
        0 if all.is_empty() => "-".to_owned(),
        0 => all.join(", "),
        more => {
            all.push(format!("{more} more"));
            all.join(", ")
        }
    }
}

pub(super) async fn run(context: &mut Context, command: SessionCommand) -> Result<(), CliError> {
    let depot = context.depot().await?;
    let registry = depot.registry();
    match command {
        SessionCommand::List => {
            let sessions = registry.list_sessions().await?;
            let mut table = Table::new([
                "SESSION",
                "ACCOUNT",
                "PROTOCOL",
                "PEER",
                "NODE",
                "SINCE",
                "SECURED BY",
                "MOVES",
            ]);
            for session in &sessions {
                table.row([
                    Cell::from(session.id.to_string()),
                    Cell::from(session.account.as_str()),
                    Cell::from(session.protocol.as_str()),
                    Cell::from(session.peer.as_str()),
                    Cell::from(session.node.as_str()),
                    Cell::from(session.since.to_string()),
                    Cell::or_dash(Some(&session.agreed).filter(|agreed| !agreed.is_empty())),
                    Cell::from(moves(&session.moving)),
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
