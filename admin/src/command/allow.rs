//! `layover account allow`.

use layover_depot::{AccountName, Network, NetworkAdded, NewNetwork, Registry};

use super::view::NetworkView;
use crate::cli::AllowCommand;
use crate::context::Context;
use crate::error::CliError;
use crate::output::{Cell, Table, Tone};
use crate::value::NewUntil;

pub(super) async fn run(context: &mut Context, command: AllowCommand) -> Result<(), CliError> {
    let depot = context.depot().await?;
    let registry = depot.registry();
    match command {
        AllowCommand::Add {
            name,
            network,
            reason,
            until,
        } => {
            let new = wanted(context, registry, &name, network, reason, until).await?;
            let any = network.is_any();
            let added = registry.add_network(&context.actor, &name, &new).await?;
            let until = new
                .until
                .map_or_else(String::new, |until| format!(" until {until}"));
            let already = match added {
                NetworkAdded::New => "",
                NetworkAdded::Changed => " (changed)",
                NetworkAdded::Same => " already; nothing changed",
            };
            let sentence = format!("account `{name}` may log in from {network}{until}{already}");
            let document = serde_json::json!({
                "account": name.to_string(),
                "network": network.to_string(),
                "any": any,
                "reason": new.reason,
                "until": new.until,
                "change": word(added),
            });
            context.out.done(&document, &sentence)?;
            if any && !context.out.is_json() {
                context.out.marked_line(
                    &Cell::toned("That is EVERY address of the internet.", Tone::Alarm),
                    "",
                )?;
            }
        }
        AllowCommand::List { name } => {
            let account = registry.account(&name).await?;
            let views: Vec<_> = account.networks.iter().map(NetworkView::new).collect();
            let mut table = Table::new(["NETWORK", "UNTIL", "REASON", "ADDED"]);
            for view in &views {
                let tone = if view.any { Tone::Alarm } else { Tone::Plain };
                table.row([
                    Cell::toned(view.network.as_str(), tone),
                    Cell::or_dash(view.until),
                    Cell::or_dash(view.reason.as_ref()),
                    Cell::from(view.created_at.to_string()),
                ]);
            }
            let nothing = format!(
                "no allowed network: the account cannot log in. Add one: layover account allow add {name} CIDR"
            );
            context.out.list(&views, &table, &nothing)?;
        }
        AllowCommand::Remove { name, network } => {
            registry
                .remove_network(&context.actor, &name, &network)
                .await?;
            let left = registry.account(&name).await?.networks.len();
            let mut sentence = format!(
                "account `{name}` may no longer log in from {network}; sessions from there end within 5 seconds"
            );
            if left == 0 {
                sentence.push_str("\nno allowed network is left: the account cannot log in");
            }
            let document =
                serde_json::json!({ "removed": network.to_string(), "networks_left": left });
            context.out.done(&document, &sentence)?;
        }
    }
    depot.close().await;
    Ok(())
}

/// The network as it shall be: what is not said stays as it is, except that a
/// permission whose time is over is given anew.
async fn wanted(
    context: &Context,
    registry: &Registry,
    name: &AccountName,
    network: Network,
    reason: Option<String>,
    until: Option<NewUntil>,
) -> Result<NewNetwork, CliError> {
    let now = context.clock.now();
    let account = registry.account(name).await?;
    let before = account
        .networks
        .iter()
        .find(|allowed| allowed.network == network)
        .filter(|allowed| allowed.until.is_none_or(|until| until > now));
    let until = match until {
        Some(NewUntil::Never) => None,
        Some(NewUntil::At(moment)) => {
            let until = moment.end_to_come(now);
            if until <= now {
                return Err(CliError::UntilIsPast { until });
            }
            Some(until)
        }
        None => before.and_then(|before| before.until),
    };
    let reason = reason.or_else(|| before.and_then(|before| before.reason.clone()));
    Ok(NewNetwork {
        network,
        reason,
        until,
    })
}

/// How scripts know what happened.
fn word(added: NetworkAdded) -> &'static str {
    match added {
        NetworkAdded::New => "new",
        NetworkAdded::Changed => "changed",
        NetworkAdded::Same => "none",
    }
}
