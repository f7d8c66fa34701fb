//! What is kept: the database, and the accounts in it.

use std::sync::Arc;

use layover_config::Settings;
use layover_depot::{Account, Depot};
use layover_retention::Clock;

use super::Finding;
use crate::context::open_as_tool;
use crate::error::{CliError, with_causes};

/// Accounts named in one line; more are counted.
const MAX_NAMES: usize = 5;

pub(super) async fn look(settings: &Settings, clock: &Arc<dyn Clock>) -> Vec<Finding> {
    const WHAT: &str = "database";
    // Opening makes what is missing; a check must not.
    if !settings.data_dir.exists() {
        return vec![Finding::ready(
            WHAT,
            format!(
                "{} will be set up at the first start",
                settings.database.url
            ),
        )];
    }
    match open_as_tool(settings, clock).await {
        Err(error) => vec![Finding::not_ready(
            WHAT,
            with_causes(&error),
            "correct [database] url or what it points at",
        )],
        Ok(depot) => {
            let found = accounts(&depot, clock.as_ref()).await;
            depot.close().await;
            match found {
                Ok(mut findings) => {
                    findings.insert(
                        0,
                        Finding::ready(
                            WHAT,
                            format!("{}, schema is current", settings.database.url),
                        ),
                    );
                    findings
                }
                Err(error) => vec![Finding::not_ready(
                    WHAT,
                    with_causes(&error),
                    "see the database's own log",
                )],
            }
        }
    }
}

async fn accounts(depot: &Depot, clock: &dyn Clock) -> Result<Vec<Finding>, CliError> {
    const WHAT: &str = "accounts";
    let accounts = depot.registry().list_accounts().await?;
    if accounts.is_empty() {
        return Ok(vec![Finding::notice(
            WHAT,
            "there are none",
            "layover entity add ENTITY; layover account add NAME --entity ENTITY --allow CIDR --generate-password",
        )]);
    }
    let now = clock.now();
    let enabled = || accounts.iter().filter(|account| account.enabled);
    let unreachable = names(enabled().filter(|account| {
        account
            .networks
            .iter()
            .all(|network| network.until.is_some_and(|until| until <= now))
    }));
    let unprovable =
        names(enabled().filter(|account| account.keys.is_empty() && !account.has_password));
    let mut findings = vec![Finding::ready(
        WHAT,
        format!("{}, {} of them enabled", accounts.len(), enabled().count()),
    )];
    if let Some(names) = unreachable {
        findings.push(Finding::notice(
            "networks",
            format!("no allowed network, cannot log in: {names}"),
            "layover account allow add NAME CIDR",
        ));
    }
    if let Some(names) = unprovable {
        findings.push(Finding::notice(
            "credentials",
            format!("neither key nor password, cannot log in: {names}"),
            "layover account key add NAME FILE, or layover account password NAME --generate",
        ));
    }
    Ok(findings)
}

fn names<'a>(accounts: impl Iterator<Item = &'a Account>) -> Option<String> {
    let all: Vec<_> = accounts.map(|account| account.name.as_str()).collect();
    if all.is_empty() {
        return None;
    }
    let shown = all
        .iter()
        .take(MAX_NAMES)
        .copied()
        .collect::<Vec<_>>()
        .join(", ");
    match all.len().saturating_sub(MAX_NAMES) {
        0 => Some(shown),
        more => Some(format!("{shown} and {more} more")),
    }
}
