//! What is kept: the database, and the accounts in it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use layover_client::partner::{self, PartnerEnding};
use layover_client::secret_ref::SecretSources;
use layover_config::Settings;
use layover_depot::{
    Account, AccountName, Depot, DiskRoom, Integration, OpenError, OpenStoreError, Protocol, Role,
};
use layover_retention::{Clock, Timestamp};

use super::super::account::ADD_THE_FIRST;
use super::host::writable;
use super::{Finding, flows, tls};
use crate::context::open_as;
use crate::credentials::Credentials;
use crate::error::{CliError, step_of_open, with_causes};

/// Accounts named in one line; more are counted.
const MAX_NAMES: usize = 5;

/// A partner needs weeks to have a certificate made anew, and to tell of it.
const RENEWED_WITHIN: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// What most lines here are about.
const DATABASE: &str = "database";

/// What the database says.
pub(super) struct Kept {
    pub(super) findings: Vec<Finding>,
    /// Why the homes are not its own; nothing when it has no objection.
    pub(super) homes: Option<Finding>,
}

pub(super) async fn look(settings: &Settings, clock: &Arc<dyn Clock>) -> Kept {
    match open_as(Role::Visitor, settings, clock).await {
        Err(CliError::Open(error @ OpenError::HomesElsewhere { .. })) => Kept {
            findings: vec![can_be_opened(settings)],
            homes: Some(not_its_homes(&error)),
        },
        Ok(depot) => {
            let homes = depot.check_homes(&settings.storage.homes).await;
            let findings = look_into(settings, &depot, clock).await;
            depot.close().await;
            Kept {
                findings,
                homes: homes.err().as_ref().map(not_its_homes),
            }
        }
        Err(error) => Kept {
            findings: vec![closed(settings, error)],
            homes: None,
        },
    }
}

fn not_its_homes(error: &OpenError) -> Finding {
    Finding::not_ready("homes", with_causes(error), step_of_open(error))
}

fn can_be_opened(settings: &Settings) -> Finding {
    Finding::ready(DATABASE, format!("{} can be opened", settings.database.url))
}

/// A database that did not let us in, or not yet.
fn closed(settings: &Settings, error: CliError) -> Finding {
    match error {
        CliError::Open(OpenError::Store(OpenStoreError::Absent { file })) => {
            to_be_set_up(settings, file.as_deref())
        }
        // As before its first start, a server is all that it wants.
        CliError::Open(OpenError::Store(error @ OpenStoreError::Older { .. })) => Finding::ready(
            DATABASE,
            format!("{} can be opened; {error}", settings.database.url),
        ),
        // The database is there, and the homes have a line of their own.
        CliError::Open(OpenError::Homes { .. }) => can_be_opened(settings),
        error => Finding::not_ready(
            DATABASE,
            with_causes(&error),
            "correct [database] url or what it points at",
        ),
    }
}

async fn look_into(settings: &Settings, depot: &Depot, clock: &Arc<dyn Clock>) -> Vec<Finding> {
    if let Err(error) = depot.try_write().await {
        return vec![Finding::not_ready(
            DATABASE,
            with_causes(&error),
            "end what has locked it (another program with the file open, a backup), or make the server writable again",
        )];
    }
    let found = async {
        let mut findings = accounts(settings, depot, clock.as_ref()).await?;
        findings.extend(integrations(settings, depot, clock.now()).await?);
        findings.extend(flows::flows(depot).await?);
        findings.extend(flows::hooks(depot).await?);
        if settings.ftps.is_served() {
            findings.extend(tls::of_nodes(&depot.certificates_shown().await?));
        }
        let disks = depot.disk_room().await?;
        findings.extend(disks.iter().filter_map(DiskRoom::warning).map(|warning| {
            Finding::notice(
                "disk",
                warning,
                "make room: add space, or `layover file remove` what is not needed; what is due \
                 is deleted all the same",
            )
        }));
        Ok::<_, CliError>(findings)
    };
    match found.await {
        Ok(mut findings) => {
            let current = format!("{}, schema is current", settings.database.url);
            findings.insert(0, Finding::ready(DATABASE, current));
            findings
        }
        Err(error) => vec![Finding::not_ready(
            DATABASE,
            with_causes(&error),
            "see the database's own log",
        )],
    }
}

/// A database that `serve` would set up: can it?
fn to_be_set_up(settings: &Settings, file: Option<&Path>) -> Finding {
    let ready = || {
        Finding::ready(
            DATABASE,
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
        DATABASE,
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
        return Ok(vec![Finding::notice(WHAT, "there are none", ADD_THE_FIRST)]);
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
        names(enabled().filter(|account| Credentials::of(account).missing(settings).is_some()));
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
            "layover account key add NAME FILE, layover account certificate add NAME FILE, or \
             layover account password NAME --generate",
        ));
    }
    if let Some(names) = names(enabled().filter(|account| is_switched_off(account, settings))) {
        findings.push(Finding::notice(
            "protocols",
            format!("only what is switched off is open to them, cannot log in: {names}"),
            "layover account set NAME --protocols ftps,sftp, or switch it on ([ftps] \
             explicit_enabled, implicit_enabled; [sftp] enabled)",
        ));
    }
    let certificates = enabled().flat_map(|account| {
        let all = account.certificates.iter();
        all.map(|certificate| (&account.name, certificate.not_after))
    });
    findings.extend(endings(certificates, now));
    Ok(findings)
}

/// Whether none of the account's protocols is served.
fn is_switched_off(account: &Account, settings: &Settings) -> bool {
    !account.protocols.iter().any(|protocol| match protocol {
        Protocol::Ftps => settings.ftps.is_served(),
        Protocol::Sftp => settings.sftp.enabled,
    })
}

/// Certificates of accounts, or of authorities of theirs, that have ended or soon will:
/// whose they are, and their last moments.
fn endings<'a>(
    certificates: impl Iterator<Item = (&'a AccountName, Timestamp)>,
    now: Timestamp,
) -> Vec<Finding> {
    const WHAT: &str = "client certificates";
    const NEXT: &str = "layover account certificate add NAME FILE, with the partner's new one; \
                        certificate remove NAME FINGERPRINT takes the old one away";
    let soon = now.saturating_add(RENEWED_WITHIN);
    let (mut over, mut ending) = (Vec::new(), Vec::new());
    for (name, end) in certificates {
        let told = format!("{name} ({end})");
        if end < now {
            over.push(told);
        } else if end < soon {
            ending.push(told);
        }
    }
    let over = shortened(over).map(|all| format!("have ended and open nothing: {all}"));
    let ending = shortened(ending).map(|all| format!("end within 30 days: {all}"));
    let details = over.into_iter().chain(ending);
    details
        .map(|detail| Finding::notice(WHAT, detail, NEXT))
        .collect()
}

/// What is to be known of integrations, one line each.
async fn integrations(
    settings: &Settings,
    depot: &Depot,
    now: Timestamp,
) -> Result<Vec<Finding>, CliError> {
    const WHAT: &str = "integrations";
    let all = depot.registry().list_integrations().await?;
    if all.is_empty() {
        return Ok(Vec::new());
    }
    let mut findings = vec![Finding::ready(WHAT, all.len().to_string())];
    for one in &all {
        let name = &one.spec.name;
        let next = format!("layover integration set {name} ...");
        if settings.outbound.hardened {
            for breach in one.breaches() {
                let detail = format!("`{name}` breaks [outbound] hardened: {breach}");
                findings.push(Finding::not_ready("hardened", detail, next.as_str()));
            }
        }
        for caution in one.cautions() {
            findings.push(Finding::notice(
                WHAT,
                format!("`{name}`: {caution}"),
                next.as_str(),
            ));
        }
        // Nobody is asked over the network here: Vault's are the doctor's to look at.
        let ends = partner::endings(one, now, &SecretSources::default()).await;
        findings.extend(ends.iter().filter_map(|ending| ends_soon(one, ending, now)));
    }
    Ok(findings)
}

/// A certificate or key of an integration that has ended or soon will.
fn ends_soon(one: &Integration, ending: &PartnerEnding, now: Timestamp) -> Option<Finding> {
    if ending.at > now.saturating_add(RENEWED_WITHIN) {
        return None;
    }
    let what = match ending.what.is_a_certificate() {
        true => "certificates",
        false => "keys",
    };
    let word = if ending.at <= now { "ended" } else { "ends" };
    let detail = format!(
        "`{}`: {} {} {word} at {}",
        one.spec.name,
        ending.what.as_str(),
        ending.fingerprint,
        ending.at
    );
    Some(Finding::notice(what, detail, ending.what.remedy(one)))
}

fn names<'a>(accounts: impl Iterator<Item = &'a Account>) -> Option<String> {
    shortened(accounts.map(|account| account.name.to_string()).collect())
}

/// The first few, and how many more there are.
pub(super) fn shortened(all: Vec<String>) -> Option<String> {
    if all.is_empty() {
        return None;
    }
    let shown: Vec<_> = all.iter().take(MAX_NAMES).map(String::as_str).collect();
    let shown = shown.join(", ");
    match all.len().saturating_sub(MAX_NAMES) {
        0 => Some(shown),
        more => Some(format!("{shown} and {more} more")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_that_have_ended_or_soon_will_are_named_with_their_dates() {
        let name: AccountName = "partner".parse().unwrap();
        let now: Timestamp = "2026-11-21T04:00:00Z".parse().unwrap();
        let told = |end: Timestamp| {
            let found = endings([(&name, end)].into_iter(), now);
            let details: Vec<_> = found.into_iter().map(|finding| finding.detail).collect();
            details.join("")
        };
        let day = Duration::from_secs(24 * 60 * 60);
        assert_eq!(told(now.saturating_add(30 * day)), "");
        assert_eq!(
            told(now.saturating_add(29 * day)),
            "end within 30 days: partner (2026-12-20T04:00:00Z)"
        );
        assert!(told(now).contains("end within"));
        assert_eq!(
            told(now.saturating_sub(day)),
            "have ended and open nothing: partner (2026-11-20T04:00:00Z)"
        );
    }
}
