//! `layover ban`.

use layover_depot::{Ban, Network};

use crate::cli::BanCommand;
use crate::context::Context;
use crate::error::CliError;
use crate::output::{Cell, Table};

/// Bans that are named in a sentence; `ban list` has all.
const MAX_NAMED: usize = 5;

fn lifted_in_words(network: &Network, left: &[Ban]) -> String {
    let lifted = format!("the ban of {network} is lifted, its refused logins are forgotten");
    if left.is_empty() {
        return format!("{lifted}: it may connect again within seconds");
    }
    let named = left.iter().take(MAX_NAMED);
    let named: Vec<_> = named.map(|ban| ban.network.to_string()).collect();
    let more = match left.len().saturating_sub(MAX_NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{lifted}; still banned: {}{more}", named.join(", "))
}

/// Who did it, in a word.
fn owner(ban: &Ban) -> &str {
    ban.owner.as_deref().unwrap_or("the server")
}

pub(super) async fn run(context: &mut Context, command: BanCommand) -> Result<(), CliError> {
    let depot = context.depot().await?;
    let registry = depot.registry();
    match command {
        BanCommand::List => {
            let bans = registry.bans().await?;
            let mut table = Table::new(["NETWORK", "SINCE", "UNTIL", "BY", "REASON"]);
            for ban in &bans {
                table.row([
                    Cell::from(ban.network.to_string()),
                    Cell::from(ban.since.to_string()),
                    Cell::or_dash(ban.until),
                    Cell::from(owner(ban)),
                    Cell::from(ban.reason.as_str()),
                ]);
            }
            context.out.list(&bans, &table, "nobody is banned")?;
        }
        BanCommand::Add {
            network,
            reason,
            until,
        } => {
            let now = context.clock.now();
            let until = until.map(|until| until.end_to_come(now));
            if let Some(until) = until.filter(|until| *until <= now) {
                return Err(CliError::UntilIsPast { until });
            }
            let ban = registry
                .add_ban(&context.actor, network, &reason, until)
                .await?;
            let until = ban
                .until
                .map_or_else(|| "it is lifted".to_owned(), |until| until.to_string());
            let sentence = format!(
                "{network} is shut out until {until}; sessions that are logged in go on (layover session kill)"
            );
            context.out.done(&ban, &sentence)?;
        }
        BanCommand::Lift { network } => {
            let left = registry.lift_ban(&context.actor, &network).await?;
            let lifted = serde_json::json!({ "lifted": network.to_string(), "still_banned": left });
            context
                .out
                .done(&lifted, &lifted_in_words(&network, &left))?;
        }
    }
    depot.close().await;
    Ok(())
}
