//! Files that do not move: tried again, given up, put aside, and told of.

use layover_tests::content::{MIB, write_file};
use layover_tests::flaky::{Flaky, Whim};
use layover_tests::wait;
use layover_tests::{Engine, Setup, on_both_engines};
use serde_json::Value;

use super::{LONG, World, counts, held, server, sshd, usual, wait_for, whole, write_all};

on_both_engines!(
    a_file_that_fails_again_and_again_is_given_up_and_put_aside,
    a_run_that_finds_no_server_says_so_and_is_tried_again,
    what_was_not_encrypted_is_put_aside_and_the_others_move,
);

/// One entry for each run that failed, and one for each file that was given up.
fn told_of(world: &World, action: &str, flow: &str) -> Vec<Value> {
    let mut entries = world.told(action);
    entries.retain(|entry| entry["detail"]["flow"] == flow);
    for entry in &entries {
        assert_eq!(entry["entity"], "acme", "{entry}");
        assert_eq!(entry["account"], "alice", "{entry}");
        assert_eq!(entry["detail"]["integration"], "partner", "{entry}");
        assert!(entry["detail"]["run"].is_i64(), "{entry}");
    }
    entries
}

fn a_file_that_fails_again_and_again_is_given_up_and_put_aside(engine: Engine) {
    let Some(theirs) = server(sshd()) else {
        return;
    };
    // A line that breaks before a large file is through, whoever tries.
    let line = Flaky::before(theirs.address(), Whim::CutAfter(300_000));
    let theirs = theirs.behind(line.address());
    let world = World::between(Setup::new(engine), theirs);
    let (there, here) = (world.there("box"), world.here("in"));
    let small = write_all(&there, &["small"], 1);
    let large = write_file(&there.join("large"), 64 * MIB, 2);
    let more = [
        "--retries",
        "1",
        "--retry-after",
        "1",
        "--dead-letter",
        "given up",
    ];
    let one = ["--max-parallel", "1"];
    world.add(
        "claims",
        "download",
        "box",
        "/in",
        &[&more[..], &one].concat(),
    );
    let run = world.run("claims");
    assert_eq!(run["state"], "failed");
    assert_eq!(
        counts(&run, &["moved", "failed", "dead"]),
        [1, 1, 0],
        "{run}"
    );
    let again = wait::until("the second try", LONG, || {
        let runs = world.history("claims");
        let retry = runs.into_iter().find(|run| run["cause"] == "retry")?;
        retry["ended_at"].is_string().then_some(retry)
    });
    assert_eq!(
        counts(&again, &["moved", "failed", "dead"]),
        [0, 0, 1],
        "{again}"
    );
    let files = world.files_of("claims", &again);
    let dead = files
        .iter()
        .find(|file| file["name"] == "large")
        .expect("it is told");
    assert_eq!(
        (&dead["state"], &dead["tries"]),
        (&"dead".into(), &2.into())
    );
    assert!(dead["cause"].is_string());

    assert_eq!(held(&here), small);
    let aside = held(&there.join("given up"));
    assert_eq!(
        aside.into_iter().collect::<Vec<_>>(),
        [("large".to_owned(), large)]
    );
    assert_eq!(held(&there), small);
    let letters = told_of(&world, "flow.dead_letter", "claims");
    assert_eq!(letters.len(), 1);
    let detail = &letters[0]["detail"];
    assert_eq!(
        (&detail["file"], &detail["dead_letter"]),
        (&"large".into(), &"given up".into())
    );
    assert_eq!(letters[0]["outcome"], "failed");
    let runs = told_of(&world, "flow.run", "claims");
    let outcomes: Vec<_> = runs.iter().map(|entry| &entry["outcome"]).collect();
    assert_eq!(outcomes, ["failed", "failed"]);
    assert!(runs.iter().all(|entry| entry["kind"] == "system"));
}

fn a_run_that_finds_no_server_says_so_and_is_tried_again(engine: Engine) {
    let Some(theirs) = server(sshd()) else {
        return;
    };
    let line = Flaky::before(theirs.address(), Whim::Refuse);
    let theirs = theirs.behind(line.address());
    let world = World::between(Setup::new(engine), theirs);
    let (there, here) = (world.there("box"), world.here("in"));
    let all = write_all(&there, &["a", "b"], 1);
    let more = ["--retries", "100", "--retry-after", "1"];
    world.add("claims", "download", "box", "/in", &more);
    let run = world.run("claims");
    assert_eq!(run["state"], "failed");
    assert!(run["report"]["cause"].is_string(), "{run}");
    assert_eq!(
        told_of(&world, "flow.run", "claims")[0]["outcome"],
        "failed"
    );
    line.becomes(Whim::Carry);
    wait_for(&here, &all);
    assert_eq!(whole(&world.moves()), 2);
    assert!(told_of(&world, "flow.dead_letter", "claims").is_empty());
}

fn what_was_not_encrypted_is_put_aside_and_the_others_move(engine: Engine) {
    let Some(world) = World::start(engine, usual(engine)) else {
        return;
    };
    let gpg = crate::outbound::Gpg::new(&world.ours);
    let (there, here) = (world.there("box"), world.here("in"));
    world
        .ours
        .admin(&["integration", "pgp", "rotate", "partner"]);
    world
        .ours
        .admin(&["integration", "set", "partner", "--inbound-pgp", "yes"]);
    let clear = world.ours.scratch().join("answer");
    let sum = write_file(&clear, MIB, 3);
    gpg.encrypt_to_us(&world.ours, &clear, &there.join("answer.pgp"));
    let plain = write_all(&there, &["plain"], 5);
    world.add(
        "claims",
        "download",
        "box",
        "/in",
        &["--dead-letter", "refused"],
    );
    let run = world.run("claims");
    assert_eq!(
        counts(&run, &["moved", "failed", "dead"]),
        [1, 0, 1],
        "{run}"
    );
    let arrived = held(&here);
    assert_eq!(
        arrived.into_iter().collect::<Vec<_>>(),
        [("answer.pgp".to_owned(), sum)]
    );
    assert_eq!(held(&there.join("refused")), plain);
    assert!(there.join("answer.pgp").exists());
    assert_eq!(told_of(&world, "flow.dead_letter", "claims").len(), 1);
}
