//! The real executable under test, with a data directory, homes and a database of its own.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::account::AccountPlan;
use crate::engine::{Database, Engine};
use crate::process::{self, Ran};
use crate::wait::{self, PATIENCE};

/// The file in the data directory by which a server that is ready tells its addresses.
const ADDRESSES: &str = "addresses.json";

/// For a script of the database's own program: some insert a hundred thousand rows.
const SCRIPT_LIMIT: Duration = Duration::from_secs(120);

/// The one entity that test accounts belong to unless a test says otherwise.
pub const ENTITY: &str = "acme";

/// Settings of a server to be.
#[derive(Debug)]
pub struct Setup {
    engine: Engine,
    homes: Option<PathBuf>,
    data_dir: Option<PathBuf>,
    database: Option<Database>,
    sections: BTreeMap<String, BTreeMap<String, String>>,
    user: Option<u32>,
    environment: BTreeMap<String, OsString>,
}

impl Setup {
    /// A server on loopback with free ports, its data on `engine`, and a sweep each second.
    pub fn new(engine: Engine) -> Self {
        let setup = Self {
            engine,
            homes: None,
            data_dir: None,
            database: None,
            sections: BTreeMap::new(),
            user: None,
            environment: BTreeMap::new(),
        };
        setup
            .set("sftp", "listen", "\"127.0.0.1\"")
            .set("sftp", "port", "0")
            .set("ftps", "listen", "\"127.0.0.1\"")
            .set("ftps", "explicit_port", "0")
            .set("ftps", "implicit_port", "0")
            .set("console", "listen", "\"127.0.0.1:0\"")
            .set("retention", "sweep_every", "\"1s\"")
            // Who tests refusals is not to be shut out for them, nor who opens thousands of
            // connections from the one address there is.
            .set("gate", "ban_score", "1000000")
            .set("gate", "connection_rate", "1000000")
            .set("gate", "max_connections_per_network", "1000000")
    }

    /// Sets one key of `layover.toml`; `value` is written as TOML.
    #[must_use]
    pub fn set(mut self, section: &str, key: &str, value: &str) -> Self {
        self.sections
            .entry(section.to_owned())
            .or_default()
            .insert(key.to_owned(), value.to_owned());
        self
    }

    /// Puts the homes into `homes` instead of the server's own folder.
    #[must_use]
    pub fn homes(mut self, homes: &Path) -> Self {
        self.homes = Some(homes.to_owned());
        self
    }

    /// Puts the node's own data into `data_dir` instead of the server's own folder.
    #[must_use]
    pub fn data_dir(mut self, data_dir: &Path) -> Self {
        self.data_dir = Some(data_dir.to_owned());
        self
    }

    /// Has the executable run as another user (and group) than the tests, which are root's.
    #[must_use]
    pub fn user(mut self, user: u32) -> Self {
        self.user = Some(user);
        self
    }

    /// Sets a variable of the executable's environment.
    #[must_use]
    pub fn variable(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.environment.insert(name.to_owned(), value.into());
        self
    }

    /// A second node beside `first`, which outlives it: of the same database and homes.
    pub fn beside(first: &Layover) -> Self {
        let mut setup = Self::new(first.engine).homes(&first.homes);
        setup.database = Some(first.database.borrowed());
        setup
    }

    /// Writes the configuration; the server is not running yet.
    pub fn prepare(mut self) -> Layover {
        let dir = TempDir::with_prefix("layover-test-").expect("make test folder");
        let data_dir = self
            .data_dir
            .clone()
            .unwrap_or_else(|| dir.path().join("data"));
        let homes = self
            .homes
            .clone()
            .unwrap_or_else(|| dir.path().join("homes"));
        let client_dir = dir.path().join("client");
        fs::create_dir(&client_dir).expect("make client folder");
        // `layover` makes it with its own mode, which a test may want to see; only SQLite's file
        // has to find it there before the first command.
        let borrowed = self.database.take();
        let database = borrowed.unwrap_or_else(|| self.engine.database(&data_dir));
        let quoted = |path: &Path| format!("{:?}", path.to_string_lossy());
        let setup = self.set("storage", "homes", &quoted(&homes)).set(
            "database",
            "url",
            &format!("{:?}", database.url()),
        );
        let mut text = format!("data_dir = {}\n", quoted(&data_dir));
        for (section, keys) in &setup.sections {
            text.push_str(&format!("\n[{section}]\n"));
            for (key, value) in keys {
                text.push_str(&format!("{key} = {value}\n"));
            }
        }
        let config = dir.path().join("layover.toml");
        fs::write(&config, text).expect("write layover.toml");
        if let Some(user) = setup.user {
            give_to(user, dir.path());
        }
        Layover {
            engine: setup.engine,
            user: setup.user,
            environment: setup.environment,
            config,
            data_dir,
            homes,
            client_dir,
            server: Mutex::new(None),
            database,
            dir,
        }
    }
}

/// One appliance under test. Ends with the value: the server is killed, everything is removed.
#[derive(Debug)]
pub struct Layover {
    engine: Engine,
    user: Option<u32>,
    environment: BTreeMap<String, OsString>,
    config: PathBuf,
    data_dir: PathBuf,
    homes: PathBuf,
    client_dir: PathBuf,
    // Before the database and the folder: fields are dropped in this order.
    server: Mutex<Option<Server>>,
    database: Database,
    dir: TempDir,
}

/// The running process; killed when dropped.
#[derive(Debug)]
struct Server {
    child: Child,
    sftp: SocketAddr,
    ftps: SocketAddr,
    ftps_implicit: SocketAddr,
    /// None: it is switched off.
    console: Option<SocketAddr>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Layover {
    /// The database engine.
    pub fn engine(&self) -> Engine {
        self.engine
    }

    /// `[database] url`.
    pub fn database_url(&self) -> &str {
        self.database.url()
    }

    /// Has the database's own program run this script; what it prints: a row a line, columns
    /// apart by `|`.
    #[track_caller]
    pub fn sql(&self, script: &str) -> Ran {
        let url = self.database_url();
        let mut command = match url.strip_prefix("sqlite:") {
            Some(file) => {
                let mut command = Command::new("sqlite3");
                command.args(["-batch", "-bail", "-cmd", ".timeout 30000", file]);
                command
            }
            None => {
                let mut command = Command::new("psql");
                let plain = ["--no-psqlrc", "--quiet", "--tuples-only", "--no-align"];
                command.args(plain);
                command.args(["--set", "ON_ERROR_STOP=1", url]);
                command
            }
        };
        process::run(&mut command, script.as_bytes(), SCRIPT_LIMIT)
    }

    /// Destroys the content of a database that is not in the data directory. The server is stopped.
    pub fn empty_database(&self) {
        self.database.empty();
    }

    /// Ends every connection to a database on a server, and lets none in: as if it were gone.
    pub fn take_database_away(&self) {
        self.database.take_away();
    }

    /// The database is there again, with what it had.
    pub fn give_database_back(&self) {
        self.database.give_back();
    }

    /// Lets a database on a server take no writes, or take them again: it answers all the same.
    pub fn set_database_read_only(&self, read_only: bool) {
        self.database.set_read_only(read_only);
    }

    /// Root of all homes.
    pub fn homes(&self) -> &Path {
        &self.homes
    }

    /// The node's own data.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// A folder for the files of clients.
    pub fn client_dir(&self) -> &Path {
        &self.client_dir
    }

    /// A folder that is removed with the appliance, for what is neither server's nor client's.
    pub fn scratch(&self) -> &Path {
        self.dir.path()
    }

    /// The configuration file.
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// Starts the server and waits until it says that it is ready.
    ///
    /// # Panics
    /// With the server's log, when it ends or does not become ready.
    pub fn start(&self) -> &Self {
        let mut running = self.running();
        assert!(running.is_none(), "the server is running already");
        *running = Some(self.spawn_until_ready());
        drop(running);
        self
    }

    fn spawn_until_ready(&self) -> Server {
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log_path());
        let log = log.expect("open server log");
        let child = self
            .command()
            .arg("serve")
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("share server log"))
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {}: {error}", executable().display()));
        let unbound = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
        let mut server = Server {
            child,
            sftp: unbound,
            ftps: unbound,
            ftps_implicit: unbound,
            console: None,
        };
        let found = wait::within(PATIENCE, || {
            if let Some(status) = server.child.try_wait().expect("wait for the server") {
                panic!("the server ended with {status}\n{}", self.log());
            }
            self.announced_addresses(server.child.id())
        });
        let found = found.unwrap_or_else(|| panic!("the server is not ready\n{}", self.log()));
        (
            [server.sftp, server.ftps, server.ftps_implicit],
            server.console,
        ) = found;
        server
    }

    /// What process `pid` announced for SFTP, both kinds of FTPS and the console; a file of an earlier process
    /// does not count.
    fn announced_addresses(&self, pid: u32) -> Option<([SocketAddr; 3], Option<SocketAddr>)> {
        let text = fs::read_to_string(self.data_dir.join(ADDRESSES)).ok()?;
        let addresses: Value = serde_json::from_str(&text).ok()?;
        (addresses["pid"].as_u64() == Some(u64::from(pid))).then_some(())?;
        let address = |name: &str| addresses[name].as_str()?.parse().ok();
        let partners = [
            address("sftp")?,
            address("ftps")?,
            address("ftps_implicit")?,
        ];
        Some((partners, address("console")))
    }

    /// Where metrics and health are told.
    pub fn console_address(&self) -> SocketAddr {
        let running = self.running();
        let server = running.as_ref().expect("the server is running");
        server.console.expect("the console is switched on")
    }

    /// Where FTPS listens, as a client on this machine reaches it.
    pub fn ftps_address(&self, entry: crate::ftps::Entry) -> SocketAddr {
        let running = self.running();
        let server = running.as_ref().expect("the server is running");
        match entry {
            crate::ftps::Entry::Explicit => server.ftps,
            crate::ftps::Entry::Implicit => server.ftps_implicit,
        }
    }

    /// Where SFTP listens, as a client on this machine reaches it.
    pub fn sftp_address(&self) -> SocketAddr {
        self.running().as_ref().expect("the server is running").sftp
    }

    /// Process id of the running server.
    pub fn pid(&self) -> u32 {
        self.running()
            .as_ref()
            .expect("the server is running")
            .child
            .id()
    }

    /// Kills the server as a power cut would: SIGKILL, nothing can be finished.
    pub fn kill_9(&self) {
        drop(self.running().take().expect("the server is running"));
    }

    /// Asks the server to stop with SIGTERM and returns at once.
    pub fn ask_to_stop(&self) {
        self.signal(Signal::TERM);
    }

    /// Has the server look with SIGHUP at what is looked at while it runs; returns at once.
    pub fn hang_up(&self) {
        self.signal(Signal::HUP);
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid())
            .ok()
            .and_then(Pid::from_raw)
            .expect("a process id");
        kill_process(pid, signal).expect("send a signal");
    }

    /// Waits for the server's end.
    ///
    /// # Panics
    /// With the server's log, when it does not end within `limit`.
    pub fn wait_for_stop(&self, limit: Duration) -> ExitStatus {
        let mut server = self.running().take().expect("the server is running");
        wait::within(limit, || {
            server.child.try_wait().expect("wait for the server")
        })
        .unwrap_or_else(|| panic!("still running {limit:?} after SIGTERM\n{}", self.log()))
    }

    /// Stops the server in order.
    pub fn stop(&self) {
        self.ask_to_stop();
        let status = self.wait_for_stop(PATIENCE);
        assert!(
            status.success(),
            "the server ended with {status}\n{}",
            self.log()
        );
    }

    /// What the server has logged in all its lives.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// Runs a command of the executable, with this appliance's configuration.
    #[track_caller]
    pub fn run(&self, arguments: &[&str]) -> Ran {
        self.run_with_input(arguments, "")
    }

    /// Like [`Layover::run`], with `input` on standard input.
    #[track_caller]
    pub fn run_with_input(&self, arguments: &[&str], input: &str) -> Ran {
        process::run(self.command().args(arguments), input.as_bytes(), PATIENCE)
    }

    /// Runs a command that must succeed.
    #[track_caller]
    pub fn admin(&self, arguments: &[&str]) -> Ran {
        self.run(arguments).expect_ok()
    }

    /// Runs a command that must succeed with `--json` behind it, and reads its answer.
    #[track_caller]
    pub fn json(&self, arguments: &[&str]) -> Value {
        let ran = self.admin(&[arguments, &["--json"]].concat());
        serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("no JSON: {error}: {ran}"))
    }

    /// Runs a list command that must succeed, and returns its rows.
    #[track_caller]
    pub fn rows(&self, arguments: &[&str]) -> Vec<Value> {
        match self.json(arguments) {
            Value::Array(rows) => rows,
            other => panic!("`{}` should yield a list: {other}", arguments.join(" ")),
        }
    }

    /// Plans an account of the entity `acme` that may come from all of loopback; see
    /// [`AccountPlan`].
    pub fn account(&self, name: &str) -> AccountPlan<'_> {
        AccountPlan::new(self, name)
    }

    /// A command line of the executable, for a test that needs more than [`Layover::run`].
    pub fn command(&self) -> Command {
        let mut command = Command::new(executable());
        // Only the configuration file decides, whoever runs the tests; and no colours.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("LAYOVER") {
                command.env_remove(name);
            }
        }
        command
            .env("NO_COLOR", "1")
            .envs(&self.environment)
            .arg("--config")
            .arg(&self.config)
            .current_dir(self.dir.path());
        if let Some(user) = self.user {
            command.uid(user).gid(user);
        }
        command
    }

    fn log_path(&self) -> PathBuf {
        self.dir.path().join("serve.log")
    }

    fn running(&self) -> MutexGuard<'_, Option<Server>> {
        self.server
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Drop for Layover {
    fn drop(&mut self) {
        self.running().take();
        if std::thread::panicking() {
            eprintln!(
                "--- the server's log ({})\n{}",
                self.log_path().display(),
                self.log()
            );
        }
    }
}

/// Makes a folder and all that lies in it another user's.
fn give_to(user: u32, folder: &Path) {
    std::os::unix::fs::chown(folder, Some(user), Some(user)).expect("change the owner");
    for entry in fs::read_dir(folder).expect("list") {
        let path = entry.expect("entry").path();
        match path.is_dir() {
            true => give_to(user, &path),
            false => std::os::unix::fs::chown(&path, Some(user), Some(user)).expect("and here"),
        }
    }
}

/// The executable that was built beside the test binary, or the one named by `LAYOVER_TEST_BIN`.
///
/// # Panics
/// When there is none; the message says how to build it.
pub fn executable() -> PathBuf {
    if let Some(path) = std::env::var_os("LAYOVER_TEST_BIN") {
        return PathBuf::from(path);
    }
    let test = std::env::current_exe().expect("path of the test binary");
    // target/debug/deps/appliance-… -> target/debug/layover
    let built = test
        .ancestors()
        .nth(2)
        .expect("a target folder")
        .join("layover");
    assert!(
        File::open(&built).is_ok(),
        "{} is missing: run `cargo build -p layover-admin` first (`tests/run` does)",
        built.display()
    );
    built
}
