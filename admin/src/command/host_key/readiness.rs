//! `layover host-key readiness`: by which host key each account came over SFTP, as the
//! journal has it.

use layover_config::Settings;
use layover_depot::{
    Account, AccountName, Depot, EntityName, JournalEntry, MAX_LAST_LOGINS, Protocol,
};
use layover_retention::Timestamp;
use layover_server::{HostKeyEntry, HostKeyError, HostKeySet, HostKeyState};
use serde::Serialize;
use serde_json::Value;

use crate::context::Context;
use crate::error::CliError;
use crate::output::{Cell, Table, Tone};

/// The document of the command.
#[derive(Debug, Serialize)]
struct ReadinessView {
    /// The key that is to be retired.
    retiring: String,
    accounts: Vec<AccountReadiness>,
}

#[derive(Debug, Serialize)]
struct AccountReadiness {
    account: AccountName,
    entity: EntityName,
    /// Over SFTP, among the newest logins of the account.
    last_login_at: Option<Timestamp>,
    /// What the client says of itself.
    client: Option<String>,
    /// Newest first.
    keys: Vec<KeyUse>,
    /// Whether it came by another key than the one that is to be retired; `null`: it did not
    /// come.
    ready: Option<bool>,
}

#[derive(Debug, Serialize)]
struct KeyUse {
    algorithm: Option<String>,
    fingerprint: String,
    /// `null`: the server has it no more.
    state: Option<HostKeyState>,
    last_login_at: Timestamp,
}

impl KeyUse {
    fn shown(&self) -> String {
        match &self.algorithm {
            Some(algorithm) => format!("{algorithm} {}", self.fingerprint),
            None => self.fingerprint.clone(),
        }
    }
}

pub(super) async fn show(
    context: &mut Context,
    depot: &Depot,
    retiring: Option<&str>,
) -> Result<(), CliError> {
    let settings = &context.settings;
    let set = HostKeySet::read(&settings.data_dir, &settings.sftp)?;
    let retiring = match retiring {
        Some(named) => known(&set, named)?,
        None => oldest(&set, settings)?,
    };
    let retiring = retiring.sha256.clone();
    let mut accounts = accounts(depot, &set, &retiring).await?;
    // Whom somebody must call comes first.
    accounts.sort_by_key(|account| match account.ready {
        Some(false) => 0,
        None => 1,
        Some(true) => 2,
    });
    let table = table(&accounts);
    let view = ReadinessView { retiring, accounts };
    let nothing = "no account may come over SFTP";
    if context.out.is_json() {
        return Ok(context.out.done(&view, nothing)?);
    }
    context.out.line(&format!(
        "without the host key {} (newest {MAX_LAST_LOGINS} logins of each account):",
        view.retiring
    ))?;
    Ok(context.out.list(&view.accounts, &table, nothing)?)
}

fn known<'a>(set: &'a HostKeySet, named: &str) -> Result<&'a HostKeyEntry, CliError> {
    let mut entries = set.entries().iter();
    let found = entries.find(|entry| entry.sha256 == named);
    Ok(found.ok_or_else(|| HostKeyError::Unknown {
        sha256: named.to_owned(),
    })?)
}

/// The list has the keys in the order in which they came; a setting, in another.
fn oldest<'a>(set: &'a HostKeySet, settings: &Settings) -> Result<&'a HostKeyEntry, CliError> {
    let in_use = |entry: &&HostKeyEntry| entry.state != HostKeyState::Retired;
    if !settings.sftp.host_keys.is_empty() && set.entries().len() > 1 {
        return Err(CliError::WhichHostKey);
    }
    let oldest = set.entries().iter().find(in_use);
    oldest.ok_or(CliError::NotMadeYet {
        what: "SSH host key",
    })
}

/// The accounts that came by this key, and by none of those that stay.
pub(super) async fn lost_without(
    depot: &Depot,
    set: &HostKeySet,
    retiring: &str,
) -> Result<Vec<AccountName>, CliError> {
    let accounts = accounts(depot, set, retiring).await?.into_iter();
    let lost = accounts.filter(|account| {
        let mut keys = account.keys.iter();
        account.ready == Some(false) && keys.any(|key| key.fingerprint == retiring)
    });
    Ok(lost.map(|account| account.account).collect())
}

/// Those that may come over SFTP.
async fn accounts(
    depot: &Depot,
    set: &HostKeySet,
    retiring: &str,
) -> Result<Vec<AccountReadiness>, CliError> {
    let mut accounts = Vec::new();
    for account in depot.registry().list_accounts().await? {
        if account.enabled && account.protocols.contains(Protocol::Sftp) {
            let logins = depot.journal().last_logins(&account.name).await?;
            accounts.push(of_account(account, &logins, set, retiring));
        }
    }
    Ok(accounts)
}

fn of_account(
    account: Account,
    logins: &[JournalEntry],
    set: &HostKeySet,
    retiring: &str,
) -> AccountReadiness {
    let over_sftp = |entry: &&JournalEntry| entry.protocol == Some(Protocol::Sftp);
    let text = |entry: &JournalEntry, name: &str| {
        let value = entry.detail.get(name).and_then(Value::as_str);
        value.map(ToOwned::to_owned)
    };
    let newest = logins.iter().find(over_sftp);
    let mut keys: Vec<KeyUse> = Vec::new();
    for entry in logins.iter().filter(over_sftp) {
        // An entry of an older version does not tell.
        let Some(fingerprint) = text(entry, "host_key_fingerprint") else {
            continue;
        };
        if keys.iter().any(|key| key.fingerprint == fingerprint) {
            continue;
        }
        let mut entries = set.entries().iter();
        let of_ours = entries.find(|key| key.sha256 == fingerprint);
        keys.push(KeyUse {
            algorithm: match of_ours {
                Some(key) => Some(key.algorithm.clone()),
                None => text(entry, "host_key"),
            },
            state: of_ours.map(|key| key.state),
            fingerprint,
            last_login_at: entry.at,
        });
    }
    let stays = |key: &KeyUse| {
        key.fingerprint != retiring
            && matches!(
                key.state,
                Some(HostKeyState::Served | HostKeyState::Announced)
            )
    };
    AccountReadiness {
        account: account.name,
        entity: account.entity,
        last_login_at: newest.map(|entry| entry.at),
        client: newest.and_then(|entry| text(entry, "client")),
        ready: (!keys.is_empty()).then(|| keys.iter().any(stays)),
        keys,
    }
}

fn table(accounts: &[AccountReadiness]) -> Table {
    let mut table = Table::new(["READY", "ACCOUNT", "ENTITY", "LAST LOGIN", "BY", "CLIENT"]);
    for account in accounts {
        let ready = match account.ready {
            Some(true) => Cell::toned("yes", Tone::Good),
            Some(false) => Cell::toned("no", Tone::Alarm),
            None => Cell::toned("not seen", Tone::Notice),
        };
        table.row([
            ready,
            Cell::from(account.account.as_str()),
            Cell::from(account.entity.as_str()),
            Cell::or_dash(account.last_login_at),
            Cell::or_dash(account.keys.first().map(KeyUse::shown)),
            Cell::or_dash(account.client.as_deref()),
        ]);
    }
    table
}
