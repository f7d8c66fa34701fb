//! What most commands need: the settings, the depot, the clock, and a way to
//! print.

use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use layover_client::Surroundings;
use layover_config::{ConfigErrors, Loaded, Origin, SEARCH_PATH, Settings, environment};
use layover_depot::{Account, Actor, Depot, OpenError, OpenStoreError, Registry, Role};
use layover_retention::{Clock, KeepWish, PolicyLayers, RetentionPolicy};
use layover_server::{
    RetentionRule, SystemClock, depot_options, resume_clock, retention_rule, surroundings,
};

use crate::error::CliError;
use crate::output::{Output, note};

/// The data directory of `serve --demo`.
const DEMO_DATA_DIR: &str = "demo-data";

/// The variable that names another data directory.
pub(crate) const DATA_DIR_VARIABLE: &str = "LAYOVER__DATA_DIR";

/// The variables that place database and homes.
pub(crate) const DATABASE_VARIABLE: &str = "LAYOVER__DATABASE__URL";
pub(crate) const HOMES_VARIABLE: &str = "LAYOVER__STORAGE__HOMES";

/// What a command does where there is no data yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NewData {
    /// It sets data up: the command is a beginning.
    Make,
    /// It refuses: in the wrong directory it must leave nothing behind.
    Refuse,
}

/// One command's surroundings.
pub(crate) struct Context {
    pub(crate) settings: Settings,
    pub(crate) rule: RetentionRule,
    pub(crate) clock: Arc<dyn Clock>,
    /// The same.
    machine: Arc<SystemClock>,
    pub(crate) out: Output,
    pub(crate) actor: Actor,
    /// The settings file that was named.
    pub(crate) config: Option<PathBuf>,
    new_data: NewData,
    /// Where `data_dir` and `database.url` were written.
    origins: Origins,
}

#[derive(Debug)]
struct Origins {
    data_dir: String,
    database: String,
}

impl Origins {
    fn of(loaded: &Loaded) -> Self {
        let named = |key| match loaded.origin(key) {
            Origin::Default => "the defaults".to_owned(),
            Origin::File { name, .. } => name,
            origin => origin.to_string(),
        };
        Self {
            data_dir: named("data_dir"),
            database: named("database.url"),
        }
    }
}

impl Context {
    /// Reads the settings for a command that looks at data or changes them.
    pub(crate) fn of_a_tool(
        config: Option<&Path>,
        json: bool,
        new_data: NewData,
    ) -> Result<Self, CliError> {
        let loaded = load_here(config)?;
        let origins = Origins::of(&loaded);
        let settings = loaded.settings;
        let machine = Arc::new(SystemClock::new());
        Ok(Self {
            rule: retention_rule(&settings)?,
            settings,
            clock: Arc::clone(&machine) as _,
            machine,
            out: Output::stdout(json),
            actor: actor(),
            config: config.map(Path::to_owned),
            new_data,
            origins,
        })
    }

    /// Opens the depot as a tool beside a server that may be running.
    pub(crate) async fn depot(&self) -> Result<Depot, CliError> {
        own_data(&self.settings.data_dir)?;
        let role = match self.new_data {
            NewData::Make => Role::Tool,
            NewData::Refuse => Role::Visitor,
        };
        match open_as(role, &self.settings, &self.clock).await {
            Err(CliError::Open(OpenError::Store(OpenStoreError::Absent { file }))) => {
                Err(self.no_data(file))
            }
            Ok(depot) => {
                resume_clock(&depot, &self.machine).await?;
                Ok(depot)
            }
            refused => refused,
        }
    }

    /// Refuses data of another user: what this one wrote there the server could not read.
    pub(crate) fn own_data(&self) -> Result<(), CliError> {
        own_data(&self.settings.data_dir)
    }

    /// What integrations are used with.
    pub(crate) fn surroundings(&self) -> Result<Surroundings, CliError> {
        let clock = Arc::clone(&self.clock);
        Ok(surroundings(&self.settings.outbound, clock)?)
    }

    /// Whether this machine's clock is too far from the database's to delete by it.
    pub(crate) fn clock_differs(&self) -> bool {
        self.machine.differs()
    }

    /// What is missing, and which setting says that it should be there.
    fn no_data(&self, file: Option<PathBuf>) -> CliError {
        let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let data_dir = absolute(&self.settings.data_dir);
        match file {
            None => CliError::NoData {
                place: self.settings.database.url.to_string(),
                key: "[database] url",
                origin: self.origins.database.clone(),
            },
            Some(file) if !absolute(&file).starts_with(&data_dir) => CliError::NoData {
                place: absolute(&file).display().to_string(),
                key: "[database] url",
                origin: self.origins.database.clone(),
            },
            Some(_) => CliError::NoData {
                place: data_dir.display().to_string(),
                key: "data_dir",
                origin: self.origins.data_dir.clone(),
            },
        }
    }

    /// The rule that holds for an account's files where no folder has one.
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
            account: KeepWish {
                keep: account.keep,
                collected_keep: account.collected_keep,
            },
            folder: KeepWish::default(),
        }
        .effective())
    }
}

/// Opens the depot.
pub(crate) async fn open_as(
    role: Role,
    settings: &Settings,
    clock: &Arc<dyn Clock>,
) -> Result<Depot, CliError> {
    Ok(Depot::open(depot_options(settings, Arc::clone(clock), role)?).await?)
}

/// Reads the settings as the operator wrote them.
pub(crate) fn load(config: Option<&Path>) -> Result<Loaded, ConfigErrors> {
    Settings::load(config, environment())
}

/// Reads the settings of what the current directory holds: a demo, or the
/// operator's own.
pub(crate) fn load_here(config: Option<&Path>) -> Result<Loaded, ConfigErrors> {
    let Some(demo) = demo_found_here(config) else {
        return load(config);
    };
    note(&format!("note: working on the demo in {}", demo.display()));
    load_demo(config, &demo)
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
    // For this machine only, unless somebody says otherwise in so many words.
    if loaded.origin("sftp.listen") == Origin::Default {
        loaded.settings.sftp.listen = IpAddr::V4(Ipv4Addr::LOCALHOST);
    }
    if loaded.origin("ftps.listen") == Origin::Default {
        loaded.settings.ftps.listen = IpAddr::V4(Ipv4Addr::LOCALHOST);
    }
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

/// Refuses another user's data, above all as root, who may do anything: files and keys
/// that a command makes belong to whoever runs it, and the server could not open them.
fn own_data(data_dir: &Path) -> Result<(), CliError> {
    let me = rustix::process::geteuid().as_raw();
    match std::fs::metadata(data_dir) {
        Ok(there) if there.uid() != me => Err(CliError::OtherUser {
            data_dir: data_dir.to_owned(),
            owner: there.uid(),
            me,
        }),
        // What cannot be seen is told by whoever opens it.
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Who is at the keyboard, for the journal.
fn actor() -> Actor {
    let user = ["SUDO_USER", "USER", "LOGNAME"]
        .iter()
        .find_map(|name| std::env::var(name).ok().filter(|user| !user.is_empty()))
        .unwrap_or_else(|| format!("uid {}", rustix::process::getuid().as_raw()));
    Actor::new(&format!("cli:{user}"))
}
