//! What is kept: the database, and the accounts in it.

use std::path::Path;
use std::sync::Arc;

use layover_config::Settings;
use layover_depot::{Account, Depot, OpenError, OpenStoreError, Role};
use layover_retention::Clock;

use super::Finding;
use super::host::writable;
use crate::context::open_as;
use crate::credentials::Credentials;
use crate::error::{CliError, with_causes};

/// Accounts named in one line; more are counted.
const MAX_NAMES: usize = 5;

pub(super) async fn look(settings: &Settings, clock: &Arc<dyn Clock>) -> Vec<Finding> {
    const WHAT: &str = "database";
    match open_as(Role::Visitor, settings, clock).await {
        Err(CliError::Open(OpenError::Store(OpenStoreError::Absent { file }))) => {
            vec![to_be_set_up(settings, file.as_deref())]
        }
        // As before its first start, a server is all that it wants.
        Err(CliError::Open(OpenError::Store(error @ OpenStoreError::Older { .. }))) => {
            vec![Finding::ready(
                WHAT,
                format!("{} can be opened; {error}", settings.database.url),
            )]
        }
        // The database is there, and the homes have a line of their own.
        Err(CliError::Open(OpenError::Homes { .. })) => vec![Finding::ready(
            WHAT,
            format!("{} can be opened", settings.database.url),
        )],
        Err(error) => vec![Finding::not_ready(
            WHAT,
            with_causes(&error),
            "correct [database] url or what it points at",
        )],
        Ok(depot) => {
            let found = accounts(settings, &depot, clock.as_ref()).await;
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

/// A database that `serve` would set up: can it?
fn to_be_set_up(settings: &Settings, file: Option<&Path>) -> Finding {
    const WHAT: &str = "database";
    let ready = || {
        Finding::ready(
            WHAT,
            format!(
                "{} will be set up at the first start",
                settings.database.url
            ),
        )
    };
    let Some(folder) = file.and_then(Path::parent) else {
        return ready();
    };
    // `serve` makes the data directory and the homes, with those above them.
    let made = [&settings.data_dir, &settings.storage.homes];
    if made.iter().any(|dir| dir.starts_with(folder)) && !folder.exists() {
        return ready();
    }
    let folder = if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    };
    if folder.is_dir() && writable(folder) {
        return ready();
    }
    Finding::not_ready(
        WHAT,
        format!(
            "{}: the directory {} is not there or not writable",
            settings.database.url,
            folder.display()
        ),
        "make it, or correct [database] url",
    )
}

async fn accounts(
    settings: &Settings,
    depot: &Depot,
    clock: &dyn Clock,
) -> Result<Vec<Finding>, CliError> {
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
        names(enabled().filter(|account| credentials(account).missing(settings).is_some()));
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
            format!("not what they must show, cannot log in: {names}"),
            "layover account key add NAME FILE, or layover account password NAME --generate",
        ));
    }
    Ok(findings)
}

fn credentials(account: &Account) -> Credentials {
    Credentials {
        auth: account.auth,
        keys: account.keys.len(),
        has_password: account.has_password,
    }
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
