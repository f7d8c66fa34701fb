//! Flows that cannot run or did not go well, and hooks that are not told everything.

use layover_depot::{Account, Depot, FlowStanding, FlowTarget, Hook, Integration, RunState};

use super::Finding;
use super::kept::shortened;
use crate::error::CliError;

/// One line for flows, and one for what is to be known of them.
pub(super) async fn flows(depot: &Depot) -> Result<Vec<Finding>, CliError> {
    const WHAT: &str = "flows";
    let registry = depot.registry();
    let flows = registry.list_flows().await?;
    if flows.is_empty() {
        return Ok(Vec::new());
    }
    let accounts = registry.list_accounts().await?;
    let integrations = registry.list_integrations().await?;
    let enabled = flows.iter().filter(|flow| flow.definition.enabled);
    let (mut told, mut troubled) = (Vec::new(), None);
    for flow in enabled.clone() {
        let name = &flow.definition.name;
        if let Some(lack) = lack(flow, &accounts, &integrations) {
            told.push(format!("{name} ({lack})"));
        } else if registry
            .flow_history(name, None, 1)
            .await?
            .iter()
            .any(|run| run.state == RunState::Failed)
        {
            told.push(format!("{name} (its last run failed)"));
        } else {
            continue;
        }
        troubled.get_or_insert(name);
    }
    let count = format!("{}, {} of them enabled", flows.len(), enabled.count());
    Ok(vec![match (shortened(told), troubled) {
        (Some(names), Some(first)) => Finding::notice(
            WHAT,
            format!("{count}; {names}"),
            format!("layover flow history {first}, layover flow show {first}"),
        ),
        _ => Finding::ready(WHAT, count),
    }])
}

/// What a flow lacks to run; none: nothing.
fn lack(flow: &FlowStanding, accounts: &[Account], integrations: &[Integration]) -> Option<String> {
    let flow = &flow.definition;
    let Some(home) = flow.home() else {
        return Some("it has no account".to_owned());
    };
    let account = accounts.iter().find(|account| account.name == home.account);
    match account {
        None => return Some(format!("account `{}` is gone", home.account)),
        Some(account) if !account.enabled => {
            return Some(format!("account `{}` is disabled", home.account));
        }
        Some(_) => {}
    }
    let mut each = integrations.iter();
    let Some(integration) = each.find(|one| one.spec.name == flow.partner) else {
        return Some(format!("integration `{}` is gone", flow.partner));
    };
    match &flow.target {
        FlowTarget::Location(name) if integration.location(name).is_none() => {
            Some(format!("location `{name}` of `{}` is gone", flow.partner))
        }
        FlowTarget::Location(_) | FlowTarget::Path(_) => None,
    }
}

/// One line for hooks.
pub(super) async fn hooks(depot: &Depot) -> Result<Vec<Finding>, CliError> {
    const WHAT: &str = "hooks";
    let hooks = depot.registry().list_hooks().await?;
    if hooks.is_empty() {
        return Ok(Vec::new());
    }
    let told = hooks.iter().filter_map(|hook| {
        let trouble = trouble(hook)?;
        Some(format!("{} ({trouble})", hook.name))
    });
    Ok(vec![match shortened(told.collect()) {
        Some(names) => Finding::notice(
            WHAT,
            format!("{}; {names}", hooks.len()),
            "layover event list --undelivered; layover event hook test NAME, then hook retry NAME \
             or hook enable NAME",
        ),
        None => Finding::ready(WHAT, hooks.len().to_string()),
    }])
}

fn trouble(hook: &Hook) -> Option<String> {
    match (hook.dead, hook.enabled, &hook.last_error) {
        (1.., ..) => Some(format!("{} events were given up", hook.dead)),
        (0, false, _) => Some(format!("disabled, {} events wait", hook.due)),
        (0, true, Some(error)) => Some(format!("failing: {error}")),
        (0, true, None) => None,
    }
}
