//! What most commands need: the settings, the depot, the clock, and a way to
//! print.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use layover_config::{ConfigErrors, Loaded, SEARCH_PATH, Settings, environment};
use layover_depot::{Account, Actor, Depot, Registry, Role};
use layover_retention::{Clock, PolicyLayers, RetentionPolicy};
use layover_server::{RetentionRule, SystemClock, depot_options, retention_rule};

use crate::error::CliError;
use crate::output::Output;

/// The data directory of `serve --demo`.
const DEMO_DATA_DIR: &str = "demo-data";

/// The variable that names another data directory.
pub(crate) const DATA_DIR_VARIABLE: &str = "LAYOVER__DATA_DIR";

/// The variables that place database and homes.
pub(crate) const DATABASE_VARIABLE: &str = "LAYOVER__DATABASE__URL";
pub(crate) const HOMES_VARIABLE: &str = "LAYOVER__STORAGE__HOMES";

/// One command's surroundings.
pub(crate) struct Context {
    pub(crate) settings: Settings,
    pub(crate) rule: RetentionRule,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) out: Output,
    pub(crate) actor: Actor,
}

impl Context {
    /// Reads the settings for a command that looks at data or changes them.
    pub(crate) fn of_a_tool(config: Option<&Path>, json: bool) -> Result<Self, CliError> {
        let settings = match demo_found_here(config) {
            Some(demo) => {
                // Stderr: the result on stdout stays clean. A closed stderr is
                // nobody's loss.
                let _ = std::io::Write::write_all(
                    &mut std::io::stderr(),
                    format!("note: working on the demo in {}\n", demo.display()).as_bytes(),
                );
                load_demo(config, &demo)?.settings
            }
            None => load(config)?.settings,
        };
        Ok(Self {
            rule: retention_rule(&settings)?,
            settings,
            clock: Arc::new(SystemClock::new()),
            out: Output::stdout(json),
            actor: actor(),
        })
    }

    /// Opens the depot as a tool beside a server that may be running.
    pub(crate) async fn depot(&self) -> Result<Depot, CliError> {
        open_as_tool(&self.settings, &self.clock).await
    }

    /// The rule that holds for an account's files.
    pub(crate) async fn policy(
        &self,
        registry: &Registry,
        account: &Account,
    ) -> Result<RetentionPolicy, CliError> {
        let entities = registry.list_entities().await?;
        let entity = entities.iter().find(|entity| entity.name == account.entity);
        Ok(PolicyLayers {
            appliance: self.rule.keep,
            max_keep: self.rule.max_keep,
            entity: entity.and_then(|entity| entity.keep),
            account: account.keep,
        }
        .effective())
    }
}

/// Opens the depot as a tool.
pub(crate) async fn open_as_tool(
    settings: &Settings,
    clock: &Arc<dyn Clock>,
) -> Result<Depot, CliError> {
    Ok(Depot::open(depot_options(settings, Arc::clone(clock), Role::Tool)?).await?)
}

/// Reads the settings as the operator wrote them.
pub(crate) fn load(config: Option<&Path>) -> Result<Loaded, ConfigErrors> {
    Settings::load(config, environment())
}

/// Reads the settings, but everything that is kept lies below `demo`: whatever
/// database and homes the operator has elsewhere, a demo does not touch them.
pub(crate) fn load_demo(config: Option<&Path>, demo: &Path) -> Result<Loaded, ConfigErrors> {
    let place = (
        DATA_DIR_VARIABLE.to_owned(),
        demo.to_string_lossy().into_owned(),
    );
    let elsewhere = [DATA_DIR_VARIABLE, DATABASE_VARIABLE, HOMES_VARIABLE];
    let rest = environment().filter(|(name, _)| !elsewhere.contains(&name.as_str()));
    let mut loaded = Settings::load(config, rest.chain([place.clone()]))?;
    let own = Settings::parse("", "demo", [place].into_iter())?;
    loaded.settings.database.url = own.database.url;
    loaded.settings.storage.homes = own.storage.homes;
    Ok(loaded)
}

/// Where a demo keeps its data: `LAYOVER__DATA_DIR`, else `demo-data` here.
pub(crate) fn demo_data_dir() -> PathBuf {
    std::env::var_os(DATA_DIR_VARIABLE)
        .filter(|dir| !dir.is_empty())
        .map_or_else(|| PathBuf::from(DEMO_DATA_DIR), PathBuf::from)
}

/// A demo in the current directory, when the operator has named or set up
/// nothing else.
fn demo_found_here(config: Option<&Path>) -> Option<PathBuf> {
    let demo = PathBuf::from(DEMO_DATA_DIR);
    let placing = [DATA_DIR_VARIABLE, DATABASE_VARIABLE, HOMES_VARIABLE];
    let something_else = config.is_some()
        || environment().any(|(name, _)| placing.contains(&name.as_str()))
        || SEARCH_PATH.iter().any(|file| Path::new(file).exists())
        || Settings::default().data_dir.exists();
    (!something_else && demo.join("layover.db").exists()).then_some(demo)
}

/// Who is at the keyboard, for the journal.
fn actor() -> Actor {
    let user = ["SUDO_USER", "USER", "LOGNAME"]
        .iter()
        .find_map(|name| std::env::var(name).ok().filter(|user| !user.is_empty()))
        .unwrap_or_else(|| format!("uid {}", rustix::process::getuid().as_raw()));
    Actor::new(&format!("cli:{user}"))
}
