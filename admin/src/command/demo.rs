//! `layover serve --demo`: everything made on the spot, reachable from this
//! machine only.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use layover_config::{Loaded, environment};
use layover_depot::{
    Account, AccountName, Actor, Depot, Enabled, EntityName, Network, NewAccount, NewEntity,
    NewNetwork, Protocols, Registry, Secret,
};
use layover_retention::Keep;
use layover_server::{OptionsError, StartError, SystemClock, retention_rule};

use super::serve::{start, take_over_signals, until_stopped};
use super::status::from_this_machine;
use crate::client_line::{Door, Entry, Trust, quoted};
use crate::context::{
    DATA_DIR_VARIABLE, DATABASE_VARIABLE, HOMES_VARIABLE, demo_data_dir, load_demo,
};
use crate::error::CliError;
use crate::output::Output;
use crate::password;

/// Beginning of the variables that set the retention rule.
const RETENTION_VARIABLES: &str = "LAYOVER__RETENTION__";

/// Name of the demo's entity and of its account.
const DEMO_NAME: &str = "demo";

/// The settings of the demo here.
pub(super) fn settings(config: Option<&Path>) -> Result<Loaded, CliError> {
    let data_dir = std::path::absolute(demo_data_dir())
        .map_err(|source| CliError::WorkingDirectory { source })?;
    Ok(load_demo(config, &data_dir)?)
}

pub(super) async fn run(config: Option<&Path>, loaded: Loaded) -> Result<(), CliError> {
    let data_dir = loaded.settings.data_dir.clone();
    let mut signals = take_over_signals()?;
    let clock = Arc::new(SystemClock::new());
    let tool = tool_line(config, &loaded)?;
    let rule = retention_rule(&loaded.settings)?;
    let sweep_every = loaded.settings.retention.sweep_every;
    let appliance = start(loaded.settings, &clock).await;
    let appliance = appliance.map_err(|error| match error {
        CliError::Start(StartError::Bind(taken)) => CliError::DemoPort(taken),
        error => error,
    })?;
    let password = password::generate()?;
    prepare_account(appliance.depot(), &password).await?;
    // The account must be let in before its lines are printed, not a second later.
    appliance.depot().refresh().await?;

    let at = appliance.addresses();
    let guide = Guide {
        ready: at.ready_line(),
        sftp: at.sftp.map(from_this_machine),
        ftps: at.ftps.map(from_this_machine),
        ftps_implicit: at.ftps_implicit.map(from_this_machine),
        certificate: appliance.tls_fingerprint().map(str::to_owned),
        fingerprints: appliance.host_key_fingerprints().to_vec(),
        password,
        keep: rule.keep,
        sweep_every: sweep_every.to_string(),
        tool,
        data_dir,
    };
    let mut out = Output::stdout(false);
    for line in guide.lines() {
        out.line(&line)?;
    }
    until_stopped(&appliance, &mut signals).await;
    Ok(())
}

/// Makes entity and account, or takes those of the last demo, and gives the
/// account a fresh password.
async fn prepare_account(depot: &Depot, password: &str) -> Result<(), CliError> {
    let registry = depot.registry();
    let actor = Actor::new("serve --demo");
    let entity: EntityName = DEMO_NAME.parse()?;
    let name: AccountName = DEMO_NAME.parse()?;
    if !registry
        .list_entities()
        .await?
        .iter()
        .any(|known| known.name == entity)
    {
        registry
            .add_entity(
                &actor,
                &NewEntity {
                    name: entity.clone(),
                    keep: None,
                },
            )
            .await?;
    }
    let secret = Secret::new(password);
    let networks = loopback()?;
    if let Some(known) = registry
        .list_accounts()
        .await?
        .into_iter()
        .find(|a| a.name == name)
    {
        registry.set_password(&actor, &name, Some(secret)).await?;
        registry.set_enabled(&actor, &name, Enabled::Yes).await?;
        return keep_to(registry, &actor, &known, &networks).await;
    }
    let account = NewAccount {
        name,
        entity,
        home: None,
        networks,
        keys: Vec::new(),
        certificates: Vec::new(),
        password: Some(secret),
        protocols: Protocols::ALL,
        auth: layover_depot::AuthPolicy::Any,
        keep: None,
        quota_bytes: None,
        read_only: false,
        tolerant_completion: false,
        publish_on_rename: false,
        collected_keep: None,
        session_reuse: None,
        limits: layover_depot::AccountLimits::default(),
    };
    registry.add_account(&actor, &account).await?;
    Ok(())
}

/// Whatever an earlier demo was opened to: it is this machine's again.
async fn keep_to(
    registry: &Registry,
    actor: &Actor,
    account: &Account,
    networks: &[NewNetwork],
) -> Result<(), CliError> {
    for found in &account.networks {
        if networks.iter().all(|ours| ours.network != found.network) {
            registry
                .remove_network(actor, &account.name, &found.network)
                .await?;
        }
    }
    for ours in networks {
        if account
            .networks
            .iter()
            .all(|found| found.network != ours.network)
        {
            registry.add_network(actor, &account.name, ours).await?;
        }
    }
    Ok(())
}

/// This machine and nobody else.
fn loopback() -> Result<Vec<NewNetwork>, CliError> {
    ["127.0.0.0/8", "::1/128"]
        .into_iter()
        .map(|block| {
            let network: Network = block.parse()?;
            Ok(NewNetwork {
                network,
                reason: Some("demo".to_owned()),
                until: None,
            })
        })
        .collect()
}

/// How another terminal calls this executable so that it finds the demo.
fn tool_line(config: Option<&Path>, loaded: &Loaded) -> Result<String, CliError> {
    let settings = &loaded.settings;
    let mut line = format!(
        "{DATA_DIR_VARIABLE}={} ",
        quoted(&settings.data_dir.to_string_lossy())
    );
    // A settings file may name another database or other homes.
    if loaded.source.is_some() {
        let url = settings
            .database
            .url
            .resolve()
            .map_err(|source| OptionsError::DatabaseUrl { source })?;
        let homes = settings.storage.homes.to_string_lossy();
        line.push_str(&format!(
            "{DATABASE_VARIABLE}={} {HOMES_VARIABLE}={} ",
            quoted(&url),
            quoted(&homes)
        ));
    }
    // What this terminal says about retention, the other one must know, too.
    for (name, value) in environment().filter(|(name, _)| name.starts_with(RETENTION_VARIABLES)) {
        line.push_str(&format!("{name}={} ", quoted(&value)));
    }
    let executable = std::env::current_exe();
    line.push_str(&executable.map_or_else(
        |_| "layover".to_owned(),
        |path| quoted(&path.to_string_lossy()),
    ));
    if let Some(config) = config {
        line.push_str(&format!(" --config {}", quoted(&config.to_string_lossy())));
    }
    Ok(line)
}

/// What the reader needs to know.
struct Guide {
    ready: String,
    /// These are none where a listener is switched off.
    sftp: Option<SocketAddr>,
    ftps: Option<SocketAddr>,
    ftps_implicit: Option<SocketAddr>,
    certificate: Option<String>,
    fingerprints: Vec<String>,
    password: String,
    keep: Keep,
    sweep_every: String,
    tool: String,
    data_dir: PathBuf,
}

impl Guide {
    fn lines(&self) -> Vec<String> {
        let mut lines = vec![
            self.ready.clone(),
            String::new(),
            format!("  account    {DEMO_NAME}, from this machine only"),
            format!("  password   {}   (a new one at each start)", self.password),
        ];
        let prints = self.fingerprints.iter();
        lines.extend(prints.map(|print| format!("  host key   {print}")));
        let certificate = self.certificate.iter();
        lines.extend(certificate.map(|print| format!("  TLS        {print}")));
        lines.extend([
            format!(
                "  retention  files go {} after their arrival, within a sweep of {}",
                self.keep, self.sweep_every
            ),
            format!("  data       {}", self.data_dir.display()),
            String::new(),
            "Paste one of these into another terminal:".to_owned(),
        ]);
        lines.extend(self.clients());
        lines.extend([
            String::new(),
            "See what arrived and when it goes:".to_owned(),
            format!("  {} file list {DEMO_NAME}", self.tool),
            String::new(),
            "Ctrl-C stops after running transfers; a second Ctrl-C stops at once.".to_owned(),
        ]);
        lines
    }

    /// A line for each client, of what is not switched off.
    fn clients(&self) -> Vec<String> {
        let login = format!("{DEMO_NAME},{}", self.password);
        let login_of_curl = format!("{DEMO_NAME}:{}", self.password);
        let door = |entry, at: SocketAddr| Door {
            entry,
            host: at.ip().to_string(),
            port: at.port(),
        };
        let sftp = self.sftp.map(|at| door(Entry::Sftp, at));
        let explicit = self.ftps.map(|at| door(Entry::Explicit, at));
        let implicit = self.ftps_implicit.map(|at| door(Entry::Implicit, at));
        let lftp = |door: &Door| door.lftp(Trust::Anything, &login);
        let curl = |door: &Door| door.curl(Trust::Anything, &login_of_curl, "", "");
        let of_sftp = sftp.iter().flat_map(|door| {
            let options = "-o StrictHostKeyChecking=accept-new -o PubkeyAuthentication=no";
            let curl = curl(door);
            [
                door.sftp(options, DEMO_NAME),
                lftp(door),
                format!(
                    "{curl}   (curl with libssh2 1.11 or newer; Debian 12's: LAYOVER__SFTP__ALGORITHMS=compatible)"
                ),
            ]
        });
        of_sftp
            .chain(explicit.iter().map(lftp))
            .chain(implicit.iter().map(lftp))
            .chain(explicit.iter().map(curl))
            .map(|line| format!("  {line}"))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_readme_shows_the_lines_that_are_printed() {
        let guide = Guide {
            ready: "ready".to_owned(),
            sftp: "127.0.0.1:2222".parse().ok(),
            ftps: "127.0.0.1:2121".parse().ok(),
            ftps_implicit: "127.0.0.1:2990".parse().ok(),
            certificate: Some("SHA256:00".to_owned()),
            fingerprints: Vec::new(),
            password: "PASSWORD".to_owned(),
            keep: Keep::from_secs(432_000).unwrap(),
            sweep_every: "1m".to_owned(),
            tool: "layover".to_owned(),
            data_dir: PathBuf::from("demo-data"),
        };
        let readme = include_str!("../../../README.md");
        let lines = guide.lines();
        let pasted = lines.iter().filter(|line| line.contains("127.0.0.1"));
        let pasted: Vec<_> = pasted.filter(|line| line.starts_with("  ")).collect();
        assert_eq!(pasted.len(), 6, "{lines:?}");
        for line in pasted {
            let line = line.trim();
            assert!(
                readme.contains(&format!("    {line}\n")),
                "README: no {line}"
            );
        }
    }

    #[test]
    fn an_ipv6_address_is_bracketed_for_every_client() {
        let guide = Guide {
            ready: "ready".to_owned(),
            sftp: "[::1]:2022".parse().ok(),
            ftps: "[::1]:2121".parse().ok(),
            ftps_implicit: "[::1]:2990".parse().ok(),
            certificate: Some("SHA256:00".to_owned()),
            fingerprints: vec!["ssh-ed25519 SHA256:x".to_owned()],
            password: "secret".to_owned(),
            keep: Keep::from_secs(432_000).unwrap(),
            sweep_every: "1m".to_owned(),
            tool: "layover".to_owned(),
            data_dir: PathBuf::from("demo-data"),
        };
        let text = guide.lines().join("\n");
        for part in [
            "'demo@[::1]'",
            "sftp://[::1]:2022",
            "ftp://[::1]:2121",
            "ftps://[::1]:2990",
            "-P 2022",
            "5d",
            "SHA256:x",
            "secret",
        ] {
            assert!(text.contains(part), "{part} is missing in {text}");
        }
    }
}
