//! Flows by the real executable, between its homes and servers that partners run.

mod choosing;
mod crowd;
mod days;
mod failing;
mod full;
mod killed;
mod mending;
mod relay;
mod schedule;
mod sharing;
mod sources;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use layover_tests::account::PASSWORD;
use layover_tests::content::{sha256_if_there, write_file};
use layover_tests::partner_server::{PartnerServer, Plan, Proof, Software};
use layover_tests::skip::skip;
use layover_tests::wait;
use layover_tests::{Account, Engine, Layover, Partner, Protocol, Setup};
use serde_json::Value;

/// A run with its two looks at a partner's folder; debug builds are slow, and several run at once.
const LONG: Duration = Duration::from_secs(120);

/// The partner's server of most of these tests: over SFTP on SQLite, over FTPS on PostgreSQL.
fn usual(engine: Engine) -> Plan {
    match engine {
        Engine::Sqlite => sshd(),
        Engine::Postgres => Plan::of(Software::Vsftpd),
    }
}

fn sshd() -> Plan {
    Plan {
        proof: Proof::Key,
        ..Plan::of(Software::Sshd)
    }
}

/// The partner's server; `None` when it is not installed, which was said.
fn server(plan: Plan) -> Option<PartnerServer> {
    match PartnerServer::start(plan) {
        Ok(theirs) => Some(theirs),
        Err(why) => {
            skip(&why);
            None
        }
    }
}

/// Ours with the account `alice`, and the partner's server as the integration `partner`.
struct World {
    ours: Layover,
    alice: Account,
    theirs: PartnerServer,
}

impl World {
    /// Both run; `None` when the partner's server is not installed, which was said.
    fn start(engine: Engine, plan: Plan) -> Option<Self> {
        Self::start_with(Setup::new(engine), plan)
    }

    fn start_with(setup: Setup, plan: Plan) -> Option<Self> {
        Some(Self::between(setup, server(plan)?))
    }

    fn between(setup: Setup, theirs: PartnerServer) -> Self {
        let ours = setup.prepare();
        let alice = ours.account("alice").password(PASSWORD).add();
        theirs.introduce(&ours, &[]);
        ours.start();
        Self {
            ours,
            alice,
            theirs,
        }
    }

    /// Alice, over SFTP.
    fn alice(&self) -> Box<dyn Partner> {
        self.alice.partner(&self.ours, Protocol::Sftp)
    }

    /// Alice uploads these files to a folder of hers; says what they hold.
    fn put_all(&self, folder: &str, names: &[&str], seed: u64) -> BTreeMap<String, String> {
        let source = self.ours.scratch().join("source");
        std::fs::create_dir_all(&source).expect("make a folder");
        let all = write_all(&source, names, seed);
        let mut alice = self.alice();
        for name in names {
            let content = std::fs::read(source.join(name)).expect("read the file");
            let path = format!("{folder}/{name}");
            alice.put(path.as_bytes(), &content).expect("put");
        }
        all
    }

    /// A folder of alice's home, which is made.
    fn here(&self, folder: &str) -> std::path::PathBuf {
        let path = self.ours.homes().join("alice").join(folder);
        std::fs::create_dir_all(&path).expect("make a folder here");
        path
    }

    /// A folder beside the partner's files, which is made; anybody may write there.
    fn there(&self, folder: &str) -> std::path::PathBuf {
        let path = self.theirs.files().join(folder);
        std::fs::create_dir_all(&path).expect("make a folder there");
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o777);
        std::fs::set_permissions(&path, open).expect("open it");
        path
    }

    /// A flow from or to a folder beside the partner's files.
    fn add(&self, name: &str, direction: &str, folder: &str, home: &str, more: &[&str]) {
        let path = format!("{}/{folder}", self.theirs.path());
        let path = path.trim_end_matches('/');
        let home = format!("alice:{home}");
        let mut arguments = vec!["flow", "add", name, "--integration", "partner"];
        arguments.extend(["--direction", direction, "--path", path, "--home", &home]);
        arguments.extend(more);
        self.ours.admin(&arguments);
    }

    /// Asks for a run and waits for its end.
    fn run(&self, flow: &str) -> Value {
        let asked = self.ours.json(&["flow", "run", flow]);
        let number = asked["run"].as_i64().expect("the number of a run");
        wait::until("the run to end", LONG, || {
            let runs = self.history(flow);
            let run = runs.into_iter().find(|run| run["run"] == number)?;
            run["ended_at"].is_string().then_some(run)
        })
    }

    /// Runs of a flow, the newest first.
    fn history(&self, flow: &str) -> Vec<Value> {
        self.ours.rows(&["flow", "history", flow])
    }

    /// The files of a run.
    fn files_of(&self, flow: &str, run: &Value) -> Vec<Value> {
        let number = run["run"].to_string();
        self.ours.rows(&["flow", "history", flow, "--run", &number])
    }

    /// What the journal says of files that went to or came from the partner.
    fn moves(&self) -> Vec<Value> {
        let all = ["journal", "--kind", "transfer", "--limit", "0"];
        let mut entries = self.ours.rows(&all);
        entries.retain(|entry| {
            let action = entry["action"].as_str();
            action.is_some_and(|action| action.starts_with("outbound."))
        });
        entries
    }

    /// What the journal says under this name.
    fn told(&self, action: &str) -> Vec<Value> {
        let mut entries = self.ours.rows(&["journal", "--limit", "0"]);
        entries.retain(|entry| entry["action"] == action);
        entries
    }
}

/// Writes files, and says what they hold.
fn write_all(folder: &Path, names: &[&str], seed: u64) -> BTreeMap<String, String> {
    let seeds = seed..;
    let each = names.iter().zip(seeds);
    each.map(|(name, seed)| {
        let sum = write_file(&folder.join(name), 20_000 + seed, seed);
        ((*name).to_owned(), sum)
    })
    .collect()
}

/// The files of a folder, not of those below it, and what they hold. A file that gets
/// another name meanwhile is left out.
fn held(folder: &Path) -> BTreeMap<String, String> {
    let entries = std::fs::read_dir(folder).expect("read the folder");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths
        .filter(|path| path.is_file())
        .filter_map(|path| {
            let name = path.file_name().expect("a name").to_string_lossy();
            Some((name.into_owned(), sha256_if_there(&path)?))
        })
        .collect()
}

/// Waits until a folder holds exactly these files.
#[track_caller]
fn wait_for(folder: &Path, expected: &BTreeMap<String, String>) {
    let found = wait::within(LONG, || {
        let names = std::fs::read_dir(folder).expect("read the folder");
        let names = names.filter(|name| name.as_ref().is_ok_and(|one| one.path().is_file()));
        (names.count() == expected.len() && held(folder) == *expected).then_some(())
    });
    assert!(
        found.is_some(),
        "{} should hold {:?}, and holds {:?}",
        folder.display(),
        expected.keys(),
        held(folder).keys()
    );
}

/// What a run's report counts under these names.
fn counts(run: &Value, names: &[&str]) -> Vec<u64> {
    let report = &run["report"];
    let count = |name: &&str| report[*name].as_u64();
    names
        .iter()
        .map(|name| count(name).unwrap_or_else(|| panic!("no {name}: {run}")))
        .collect()
}

/// So many entries of the journal went well.
fn whole(entries: &[Value]) -> usize {
    let well = entries.iter().filter(|entry| entry["outcome"] == "ok");
    well.count()
}
