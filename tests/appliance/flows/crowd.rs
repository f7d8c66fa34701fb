//! A folder of a hundred thousand files with ten new ones: what a look at it costs.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::Path;
use std::time::Duration;

use layover_depot::{FileKey, IdempotencyMode, SourceFacts};
use layover_retention::Timestamp;
use layover_tests::Engine;
use layover_tests::load::heavy;
use layover_tests::process;
use layover_tests::skip::skip;
use layover_tests::wait::{self, Timer};
use serde_json::Value;

use super::{LONG, World, sshd};

const FILES: u64 = 100_000;

const NEW: u64 = 10;

const MOST_TIME: Duration = Duration::from_secs(2);

const MOST_KIB: u64 = 100 * 1024;

/// When all of them were written.
const WRITTEN_S: i64 = 1_700_000_000;

mod ten_new_files_among_a_hundred_thousand_are_found_in_two_seconds {
    use super::Engine;

    #[test]
    #[ignore = "long: measures, and only a release build must keep the limits"]
    fn on_sqlite() {
        super::measure(Engine::Sqlite);
    }

    #[test]
    #[ignore = "long: measures, and only a release build must keep the limits"]
    fn on_postgresql() {
        if Engine::Postgres.available() {
            super::measure(Engine::Postgres);
        }
    }
}

fn measure(engine: Engine) {
    let _turn = heavy();
    if engine == Engine::Sqlite && !Path::new("/usr/bin/sqlite3").exists() {
        skip("no sqlite3 (package sqlite3)");
        return;
    }
    let Some(world) = World::start(engine, sshd()) else {
        return;
    };
    let there = world.there("box");
    world.here("in");
    let at = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let name = |number: u64| format!("export_of_customers_{number:06}.csv");
    for number in 0..FILES {
        let file = File::create(there.join(name(number))).expect("create");
        file.set_modified(at).expect("set its time");
    }
    let more = ["--idempotency", "name+size+time"];
    world.add("claims", "download", "box", "/in", &more);
    know(&world, (NEW..FILES).map(name));
    let mut command = world.ours.command();
    command.args(["flow", "run", "claims", "--dry-run", "--json"]);
    let watch = Timer::start();
    let running = process::start(&mut command, b"");
    let status = format!("/proc/{}/status", running.id());
    let mut most_kib = 0;
    let mut took = Duration::ZERO;
    wait::until("the look", LONG, || {
        let peak = fs::read_to_string(&status).ok().and_then(|text| {
            let line = text.lines().find(|line| line.starts_with("VmHWM:"))?;
            line.split_whitespace().nth(1)?.parse::<u64>().ok()
        });
        // Of a process that has ended nothing is told any more.
        match peak {
            Some(peak) => most_kib = most_kib.max(peak),
            None => took = watch.elapsed(),
        }
        peak.is_none().then_some(())
    });
    let ran = running.finish(LONG).expect_ok();
    let told: Value = serde_json::from_str(&ran.stdout).expect("JSON");
    println!("{engine:?}: {took:?}, {} MiB at most", most_kib / 1024);
    let files = told["files"].as_array().expect("files");
    assert_eq!(files.len() as u64, NEW);
    assert_eq!(told["known"], FILES - NEW);
    if !cfg!(debug_assertions) {
        assert!(took <= MOST_TIME, "{took:?}");
        assert!(most_kib <= MOST_KIB, "{most_kib} KiB");
    }
}

/// As if the flow had moved these files.
fn know(world: &World, names: impl Iterator<Item = String>) {
    let rows: Vec<_> = names
        .map(|name| {
            let facts = SourceFacts {
                name: name.into_bytes(),
                size_bytes: Some(0),
                modified_at: Some(Timestamp::from_micros(WRITTEN_S * 1_000_000)),
                day_at: None,
                file: None,
            };
            let key = FileKey::of_listing(IdempotencyMode::NameSizeTime, &facts);
            hex::encode(key.expect("a key").as_bytes())
        })
        .collect();
    let url = world.ours.database_url();
    let is_sqlite = url.starts_with("sqlite");
    let mut script = String::from("BEGIN;\n");
    for key in rows {
        let bytes = match is_sqlite {
            true => format!("X'{key}'"),
            false => format!("'\\x{key}'"),
        };
        let row = "INSERT INTO flow_keys (flow, file_key, at_us) VALUES ('claims', ";
        writeln!(script, "{row}{bytes}, 0);").expect("a row");
    }
    // A database that has been there for a while knows how large its tables are.
    script.push_str("COMMIT;\nANALYZE flow_keys;\n");
    world.ours.sql(&script).expect_ok();
}
