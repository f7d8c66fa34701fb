//! Measures the hot path through the depot's doors: login, begin, finish, stat
//! and list, one after the other and by 50 partners at once.
//!
//!     cargo run --release -p layover-depot --example store_bench -- sqlite
//!     cargo run --release -p layover-depot --example store_bench -- postgres://user@127.0.0.1/empty
//!
//! `sqlite` makes its database in a temporary directory; another URL must name
//! an empty database. Without fsync, so that it is the code that is measured.

use std::error::Error;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use layover_depot::timer::Stopwatch;
use layover_depot::{
    Actor, Completion, Depot, Fsync, GateOptions, LoginAttempt, Network, NewAccount, NewEntity,
    NewNetwork, Options, Proof, Protocol, Protocols, Role, Session, UploadMode, VirtualPath,
    parse_authorized_keys,
};
use layover_retention::{Keep, ManualClock, Timestamp};

/// Partners at once.
const PARTNERS: usize = 50;
/// Times that one partner does everything, alone and among others.
const ROUNDS_ALONE: usize = 300;
const ROUNDS_TOGETHER: usize = 20;
/// Files in the directory that is listed.
const LISTED_FILES: usize = 100;
const PEER: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti";
const STEPS: [&str; 5] = ["login", "begin", "finish", "stat", "list"];

type Fault = Box<dyn Error + Send + Sync>;

/// How long each step took, in the order of [`STEPS`].
#[derive(Default)]
struct Spans([Vec<Duration>; 5]);

impl Spans {
    async fn measure<T, E: Into<Fault>>(
        &mut self,
        step: usize,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Fault> {
        let watch = Stopwatch::start();
        let done = work.await.map_err(Into::into)?;
        if let Some(spans) = self.0.get_mut(step) {
            spans.push(watch.elapsed());
        }
        Ok(done)
    }

    fn add(&mut self, other: Self) {
        for (ours, theirs) in self.0.iter_mut().zip(other.0) {
            ours.extend(theirs);
        }
    }

    /// Mean and 99th percentile of each step, in microseconds.
    fn report(mut self, title: &str, took: Duration) {
        let rounds = self.0.first().map_or(0, Vec::len);
        let rate = rounds as f64 / took.as_secs_f64();
        println!("{title}: {rate:.0} rounds/s of all five steps");
        for (step, spans) in STEPS.iter().zip(self.0.iter_mut()) {
            spans.sort_unstable();
            let sum: Duration = spans.iter().sum();
            let mean = sum.as_micros() as f64 / spans.len() as f64;
            let late = spans
                .get(spans.len() * 99 / 100)
                .map_or(0, Duration::as_micros);
            println!("  {step:<7} mean {mean:>9.0} µs   p99 {late:>9} µs");
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Fault> {
    let place = tempfile::tempdir()?;
    let url = match std::env::args().nth(1) {
        Some(url) if url.contains(':') => url,
        _ => format!("sqlite:{}", place.path().join("bench.db").display()),
    };
    let depot = Depot::open(options(url, place.path())?).await?;
    add_account(&depot).await?;
    depot.refresh().await?;
    fill(&depot).await?;

    rounds(&depot, "warm-up", 10).await?;
    let watch = Stopwatch::start();
    rounds(&depot, "alone", ROUNDS_ALONE)
        .await?
        .report("one partner", watch.elapsed());

    let watch = Stopwatch::start();
    let mut partners = tokio::task::JoinSet::new();
    for partner in 0..PARTNERS {
        let depot = depot.clone();
        partners.spawn(async move {
            rounds(&depot, &format!("partner-{partner}"), ROUNDS_TOGETHER).await
        });
    }
    let mut all = Spans::default();
    while let Some(spans) = partners.join_next().await {
        all.add(spans??);
    }
    all.report(&format!("{PARTNERS} partners"), watch.elapsed());
    depot.close().await;
    Ok(())
}

fn options(database_url: String, place: &Path) -> Result<Options, Fault> {
    let keep = Keep::from_secs(86_400)?;
    Ok(Options {
        database_url,
        data_dir: place.join("data"),
        homes: place.join("homes"),
        fsync: Fsync::Never,
        keep,
        max_keep: keep,
        partial_keep: keep,
        checksum: layover_depot::Checksum::Off,
        hardened: false,
        gate: GateOptions::open(1000),
        clock: Arc::new(ManualClock::new(Timestamp::from_micros(
            1_800_000_000_000_000,
        ))),
        role: Role::Server,
    })
}

async fn add_account(depot: &Depot) -> Result<(), Fault> {
    let (actor, registry) = (Actor::new("bench"), depot.registry());
    registry
        .add_entity(
            &actor,
            &NewEntity {
                name: "bench".parse()?,
                keep: None,
            },
        )
        .await?;
    let account = NewAccount {
        name: "bench".parse()?,
        entity: "bench".parse()?,
        home: None,
        networks: vec![NewNetwork {
            network: Network::Any,
            reason: None,
            until: None,
        }],
        keys: parse_authorized_keys(KEY)?,
        certificates: Vec::new(),
        password: None,
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

/// The directory that is listed, and one for the uploads.
async fn fill(depot: &Depot) -> Result<(), Fault> {
    let session = login(depot).await?;
    for dir in ["/listed", "/in"] {
        session.make_dir(&dir.parse()?).await?;
    }
    for number in 0..LISTED_FILES {
        let path = format!("/listed/{number}").parse()?;
        let permit = session
            .plan_upload(&path, UploadMode::New { exclusive: false })
            .await?;
        permit.begin().await?.finish(Completion::Closed).await?;
    }
    Ok(())
}

/// By key, whose signature the front end would have verified: a password's
/// hash would hide everything else.
async fn login(depot: &Depot) -> Result<Session, Fault> {
    let blob = parse_authorized_keys(KEY)?.remove(0).blob;
    let attempt = LoginAttempt {
        user: "bench".to_owned(),
        peer: PEER,
        protocol: Protocol::Sftp,
        proof: Proof::Key {
            blob,
            algorithm: "ssh-ed25519".to_owned(),
        },
        first: None,
        client_version: None,
        detail: serde_json::Map::new(),
    };
    Ok(depot.gate().login(attempt).await?)
}

async fn rounds(depot: &Depot, name: &str, rounds: usize) -> Result<Spans, Fault> {
    let mut spans = Spans::default();
    let (listed, known): (VirtualPath, VirtualPath) = ("/listed".parse()?, "/listed/7".parse()?);
    for round in 0..rounds {
        let path = format!("/in/{name}-{round}").parse()?;
        let session = spans.measure(0, login(depot)).await?;
        let begin = async {
            let mode = UploadMode::New { exclusive: false };
            session.plan_upload(&path, mode).await?.begin().await
        };
        let upload = spans.measure(1, begin).await?;
        upload.write_at(0, Bytes::from_static(b"content")).await?;
        spans.measure(2, upload.finish(Completion::Closed)).await?;
        spans.measure(3, session.stat(&known)).await?;
        spans.measure(4, session.list(&listed)).await?;
        session.end("done").await;
    }
    Ok(spans)
}
