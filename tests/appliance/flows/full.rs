//! No room, there or here: files wait for it as long as they are tried again, and are told
//! of when they are given up.

use layover_tests::content::{MIB, write_file};
use layover_tests::skip::skip;
use layover_tests::storage::Tmpfs;
use layover_tests::{Engine, on_both_engines};

use super::{LONG, World, counts, sshd, wait, wait_for};

on_both_engines!(
    a_file_for_which_a_partners_disk_has_no_room_is_tried_again,
    a_file_for_which_a_quota_of_ours_has_no_room_is_tried_again,
);

const PATIENT: [&str; 4] = ["--retries", "100", "--retry-after", "1"];

/// What the journal says of tries that failed: each may go better later.
#[track_caller]
fn are_transient(world: &World) {
    let moves = world.moves();
    let mut failed = moves.iter().filter(|entry| entry["outcome"] != "ok");
    assert!(failed.clone().next().is_some());
    assert!(failed.all(|entry| entry["detail"]["permanence"] == "transient"));
}

// OpenSSH's sshd says "Failure", and nothing else.
fn a_file_for_which_a_partners_disk_has_no_room_is_tried_again(engine: Engine) {
    let Some(world) = World::start(engine, sshd()) else {
        return;
    };
    let there = world.there("box");
    let disk = match Tmpfs::mount(&there, 4) {
        Ok(disk) => disk,
        Err(why) => return skip(&why),
    };
    world.here("out");
    disk.fill_up_to(64 << 10);
    world.add("orders", "upload", "box", "/out", &PATIENT);
    let sent = world.put_all("/out", &["a"], 500_000);
    let run = world.run("orders");
    let of = ["moved", "failed", "dead"];
    assert_eq!(counts(&run, &of), [0, 1, 0], "{run}");
    are_transient(&world);
    disk.empty();
    wait_for(&there, &sent);

    // Who is not to try again is told.
    world
        .ours
        .admin(&["flow", "set", "orders", "--retries", "0"]);
    wait::until("the retries to end", LONG, || {
        let runs = world.history("orders");
        let ended = runs.iter().all(|run| run["ended_at"].is_string());
        ended.then_some(())
    });
    assert_eq!(world.told("flow.dead_letter").len(), 0);
    disk.fill_up_to(64 << 10);
    world.put_all("/out", &["b"], 500_000);
    let run = world.run("orders");
    assert_eq!(counts(&run, &of), [0, 0, 1], "{run}");
    assert_eq!(world.told("flow.dead_letter").len(), 1);
}

fn a_file_for_which_a_quota_of_ours_has_no_room_is_tried_again(engine: Engine) {
    let Some(world) = World::start(engine, sshd()) else {
        return;
    };
    let (there, here) = (world.there("box"), world.here("in"));
    let sum = write_file(&there.join("large"), 2 * MIB, 1);
    let quota = |bytes| {
        world
            .ours
            .admin(&["account", "set", "alice", "--quota", bytes])
    };
    quota("1MiB");
    world.add("claims", "download", "box", "/in", &PATIENT);
    let run = world.run("claims");
    let of = ["moved", "failed", "dead"];
    assert_eq!(counts(&run, &of), [0, 1, 0], "{run}");
    are_transient(&world);
    quota("1GiB");
    wait_for(&here, &[("large".to_owned(), sum)].into());
    assert_eq!(world.told("flow.dead_letter").len(), 0);
}
