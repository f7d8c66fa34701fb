//! What a sweep costs: with nothing due and with 10,000 real files due, in ledgers of different
//! sizes, on both engines. In this process, through the door that the server's job uses, with a
//! clock that the bench moves.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use layover_depot::timer::Stopwatch;
use layover_depot::{
    Checksum, Completion, Depot, Fsync, GateOptions, LoginAttempt, Options, Proof, Protocol, Role,
    Secret, UploadMode,
};
use layover_retention::{Clock, Keep, ManualClock, sweep};
use layover_tests::account::PASSWORD;
use layover_tests::{Engine, Layover, Setup, process};

use crate::contest::median;
use crate::cost;

/// Real files that fall due together.
const DUE: u64 = 10_000;

/// Sweeps with nothing due, of which the median is told.
const LOOKS: usize = 201;

/// Files that one sweep takes out; above [`DUE`].
const BUDGET: usize = 20_000;

/// How long a database may take to be filled.
const FILL_LIMIT: Duration = Duration::from_secs(3_600);

const KEEP_S: u64 = 5 * 24 * 3_600;

/// What was found on one engine with one number of files in the ledger.
pub(crate) struct Line {
    engine: Engine,
    rows: u64,
    nothing_due_ms: f64,
    due_cpu_s: f64,
    due_wall_s: f64,
}

/// Measures on every engine that is there, in a folder of `place`.
pub(crate) fn measure(place: &Path, rows: &[u64]) -> Vec<Line> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("start runtime");
    let mut lines = Vec::new();
    for engine in [Engine::Sqlite, Engine::Postgres] {
        for rows in rows {
            if engine.available() {
                lines.push(runtime.block_on(measure_one(place, engine, *rows)));
            }
        }
    }
    lines
}

async fn measure_one(place: &Path, engine: Engine, rows: u64) -> Line {
    let folder = tempfile::tempdir_in(place).expect("make a folder");
    let setup = Setup::new(engine);
    let layover = setup
        .homes(&folder.path().join("homes"))
        .data_dir(&folder.path().join("data"))
        .prepare();
    layover.account("partner").password(PASSWORD).add();
    let start = "2026-11-21T04:00:00Z".parse().expect("a time");
    let clock = Arc::new(ManualClock::new(start));
    let depot = open(&layover, &clock).await;
    upload(&depot).await;
    depot.close().await;
    drop(depot);
    fill(&layover, rows);

    let depot = open(&layover, &clock).await;
    let shelf = depot.shelf();
    let mut looks = Vec::with_capacity(LOOKS);
    for _ in 0..LOOKS {
        let time = Stopwatch::start();
        let report = sweep(shelf, clock.now(), BUDGET).await.expect("sweep");
        looks.push(time.elapsed().as_secs_f64() * 1e3);
        assert_eq!(report.considered, 0, "nothing is due");
    }
    clock.advance(Duration::from_secs(KEEP_S));
    let (time, cpu_s) = (Stopwatch::start(), cost::cpu_s(std::process::id()));
    let report = sweep(shelf, clock.now(), BUDGET).await.expect("sweep");
    let due_wall_s = time.elapsed().as_secs_f64();
    let due_cpu_s = cost::cpu_s(std::process::id()) - cpu_s;
    assert_eq!(report.deleted, DUE, "{report:?}");
    depot.close().await;
    let line = Line {
        engine,
        rows,
        nothing_due_ms: median(looks.into_iter()),
        due_cpu_s,
        due_wall_s,
    };
    println!("{}", row(&line).trim_end());
    line
}

async fn open(layover: &Layover, clock: &Arc<ManualClock>) -> Depot {
    let keep = Keep::from_secs(KEEP_S).expect("a keep");
    let options = Options {
        database_url: layover.database_url().to_owned(),
        data_dir: layover.data_dir().to_owned(),
        homes: layover.homes().to_owned(),
        fsync: Fsync::Never,
        keep,
        max_keep: keep,
        partial_keep: keep,
        checksum: Checksum::Off,
        gate: GateOptions::open(10),
        hardened: false,
        clock: Arc::<ManualClock>::clone(clock),
        role: Role::Server,
    };
    Depot::open(options).await.expect("open the depot")
}

/// Puts the files that will be due.
async fn upload(depot: &Depot) {
    let attempt = LoginAttempt {
        user: "partner".to_owned(),
        peer: std::net::Ipv4Addr::LOCALHOST.into(),
        protocol: Protocol::Sftp,
        proof: Proof::Password(Secret::new(PASSWORD)),
        first: None,
        client_version: None,
        detail: serde_json::Map::new(),
    };
    let session = depot.gate().login(attempt).await.expect("log in");
    for number in 0..DUE {
        let path = format!("/due-{number:05}").parse().expect("a path");
        let mode = UploadMode::New { exclusive: true };
        let permit = session.plan_upload(&path, mode).await.expect("plan");
        let upload = permit.begin().await.expect("begin");
        let written = upload.write_at(0, b"content"[..].into()).await;
        written.expect("write");
        upload.finish(Completion::Closed).await.expect("publish");
    }
    session.end("done").await;
}

/// Puts rows into the ledger as of files that arrived one after the other a day later.
fn fill(layover: &Layover, rows: u64) {
    let path = layover.database_url().strip_prefix("sqlite:");
    let (numbers, bytes) = match path {
        Some(_) => (
            format!(
                "(WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows}) SELECT i FROM n) n"
            ),
            [
                "CAST('/d' || (i % 1000) AS BLOB)",
                "CAST('n' || i AS BLOB)",
                "zeroblob(32)",
            ],
        ),
        None => (
            format!("generate_series(1, {rows}) AS n(i)"),
            [
                "convert_to('/d' || (i % 1000), 'UTF8')",
                "convert_to('n' || i, 'UTF8')",
                "decode(repeat('00', 32), 'hex')",
            ],
        ),
    };
    let [dir, name, sha256] = bytes;
    let statement = format!(
        "INSERT INTO files (home_id, dir, name, state, size_bytes, sha256, inode, born_us, \
         arrived_at_us, expires_at_us, uploaded_by, node_id, touched_at_us, rule, rule_keep_s) \
         SELECT f.home_id, {dir}, {name}, 'stored', 10, {sha256}, 100000000 + i, 1, \
         f.arrived_at_us + 86400000000 + i, f.expires_at_us + 86400000000 + i, f.uploaded_by, \
         f.node_id, f.touched_at_us, f.rule, f.rule_keep_s FROM {numbers}, \
         (SELECT * FROM files WHERE state = 'stored' ORDER BY id DESC LIMIT 1) f;\nANALYZE files;\n"
    );
    let mut command = match path {
        Some(path) => {
            let mut sqlite = std::process::Command::new("sqlite3");
            sqlite.args(["-bail", path]);
            sqlite
        }
        None => {
            let mut psql = std::process::Command::new("psql");
            psql.args(["--no-psqlrc", "--quiet", "--set", "ON_ERROR_STOP=1"]);
            psql.arg(layover.database_url());
            psql
        }
    };
    process::run(&mut command, statement.as_bytes(), FILL_LIMIT).expect_ok();
}

pub(crate) fn table(lines: &[Line]) -> String {
    let head = "| Files in the ledger | Sweep with nothing due | Sweep of 10,000 due files: CPU | wall time |\n|---|---:|---:|---:|\n";
    lines
        .iter()
        .map(row)
        .fold(head.to_owned(), |table, row| table + &row)
}

fn row(line: &Line) -> String {
    let engine = match line.engine {
        Engine::Sqlite => "SQLite",
        Engine::Postgres => "PostgreSQL",
    };
    let millions = line.rows as f64 / 1e6;
    format!(
        "| {millions} million, {engine} | {:.2} ms | {:.2} s | {:.2} s |\n",
        line.nothing_due_ms, line.due_cpu_s, line.due_wall_s
    )
}
