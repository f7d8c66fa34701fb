//! kill -9 of the appliance in the middle of running flows: every source file arrives exactly
//! once, whole, under its final name, and nothing is left beside it.

use std::collections::BTreeMap;
use std::time::Duration;

use layover_tests::content::{Dice, MIB, write_file};
use layover_tests::load::heavy;
use layover_tests::wait;
use layover_tests::{Engine, Setup, on_both_engines};

use super::{LONG, World, held, sshd, wait_for};

/// Kills of the usual run.
const KILLS: u64 = 5;

/// Kills of the long one.
const MANY_KILLS: u64 = 50;

/// A kill comes at most this long after a run was seen at work: its files are looked at
/// twice, 2 s apart, and then move.
const LATEST_KILL_MS: u64 = 4_000;

/// Rounds for each kill that has to meet a run at work: it may have ended meanwhile.
const ROUNDS_A_KILL: u64 = 20;

/// New files each way before each kill.
const FILES: u64 = 3;

on_both_engines!(whatever_the_moment_of_a_kill_9_each_file_moves_exactly_once);

fn whatever_the_moment_of_a_kill_9_each_file_moves_exactly_once(engine: Engine) {
    survive(engine, KILLS);
}

#[test]
#[ignore = "long: 50 kills"]
fn fifty_kills_on_sqlite() {
    survive(Engine::Sqlite, MANY_KILLS);
}

#[test]
#[ignore = "long: 50 kills"]
fn fifty_kills_on_postgresql() {
    if Engine::Postgres.available() {
        survive(Engine::Postgres, MANY_KILLS);
    }
}

fn survive(engine: Engine, kills: u64) {
    let _turn = heavy();
    let mut dice = Dice::thrown(&format!("kill -9 of flows on {engine:?}"));
    let setup = Setup::new(engine).set("gate", "ban_score", "1000000");
    let Some(world) = World::start_with(setup, sshd()) else {
        return;
    };
    let (from_there, to_there) = (world.there("theirs"), world.there("ours"));
    let (to_here, _) = (world.here("in"), world.here("out"));
    let always = ["--schedule", "* * * * * *", "--retry-after", "1"];
    world.add("claims", "download", "theirs", "/in", &always);
    world.add("orders", "upload", "ours", "/out", &always);
    let (mut downloads, mut uploads) = (BTreeMap::new(), BTreeMap::new());
    let (mut cut, mut round) = (0, 0);
    while cut < kills {
        assert!(round < kills * ROUNDS_A_KILL, "{cut} runs were cut");
        for number in 0..FILES {
            let name = format!("{round:02}-{number}");
            let size = dice.below(3 * MIB);
            let path = from_there.join(&name);
            downloads.insert(name.clone(), write_file(&path, size, dice.number()));
            uploads.extend(world.put_all("/out", &[&name], dice.number() % 100_000));
        }
        wait::until("a run to be at work", LONG, || {
            (running(&world) > 0).then_some(())
        });
        wait::let_pass(Duration::from_millis(dice.below(LATEST_KILL_MS)));
        world.ours.kill_9();
        // Whatever has its name is whole.
        for (folder, all) in [(&to_here, &downloads), (&to_there, &uploads)] {
            for (name, sum) in held(folder)
                .iter()
                .filter(|(name, _)| !name.ends_with(".part"))
            {
                assert_eq!(Some(sum), all.get(name), "{name} in round {round}");
            }
        }
        cut += u64::from(running(&world) > 0);
        round += 1;
        world.ours.start();
    }
    wait_for(&to_here, &downloads);
    wait_for(&to_there, &uploads);
    settled(&world);
    assert_eq!(held(&to_there), uploads, "and no .part");
    assert_eq!(held(&from_there), downloads, "theirs is theirs");
    once(&world, &downloads, &uploads);
}

/// How many runs are at work.
fn running(world: &World) -> usize {
    let runs = ["claims", "orders"].map(|flow| world.history(flow));
    let all = runs.iter().flatten();
    all.filter(|run| run["state"] == "running").count()
}

/// Waits until no run is under way and nothing hidden is left.
fn settled(world: &World) {
    for flow in ["claims", "orders"] {
        world.ours.admin(&["flow", "disable", flow]);
    }
    let incoming = world.ours.homes().join(".layover/incoming");
    wait::until("everything to be settled", LONG, || {
        let runs = ["claims", "orders"].map(|flow| world.history(flow));
        let ended = runs.iter().flatten().all(|run| run["ended_at"].is_string());
        // Made at the first need.
        let hidden = std::fs::read_dir(&incoming).map_or(0, Iterator::count);
        (ended && hidden == 0).then_some(())
    });
}

/// Each file has one entry that says that it moved, and that says all that it should.
fn once(world: &World, downloads: &BTreeMap<String, String>, uploads: &BTreeMap<String, String>) {
    let mut found = BTreeMap::new();
    for entry in world.moves() {
        let detail = &entry["detail"];
        if entry["outcome"] != "ok" {
            continue;
        }
        for name in ["integration", "location", "run", "flow", "actor"] {
            assert!(detail[name].is_string(), "no {name}: {entry}");
        }
        let path = entry["path"].as_str().expect("a path").to_owned();
        *found.entry(path).or_insert(0) += 1;
    }
    let all = downloads.keys().map(|name| format!("/in/{name}"));
    let all = all.chain(uploads.keys().map(|name| format!("/out/{name}")));
    let expected: BTreeMap<_, _> = all.map(|path| (path, 1)).collect();
    assert_eq!(found, expected);
}
