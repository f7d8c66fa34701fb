//! What a partner's server that hangs takes from others, and what becomes of a run whose
//! flow is disabled.

use layover_tests::content::{MIB, write_file};
use layover_tests::flaky::{Flaky, Whim};
use layover_tests::wait;
use layover_tests::{Engine, Setup, on_both_engines};
use serde_json::Value;

use super::{LONG, World, counts, held, server, sshd, wait_for, whole, write_all};

on_both_engines!(
    a_partner_that_hangs_leaves_half_of_the_slots_to_others,
    a_flow_that_is_disabled_ends_the_file_at_work_and_begins_no_other,
);

fn states(world: &World, flow: &str) -> Vec<Value> {
    let runs = world.history(flow).into_iter();
    runs.map(|run| run["state"].clone()).collect()
}

fn a_partner_that_hangs_leaves_half_of_the_slots_to_others(engine: Engine) {
    let (Some(theirs), Some(other)) = (server(sshd()), server(sshd())) else {
        return;
    };
    // Nobody says a word there.
    let line = Flaky::before(theirs.address(), Whim::HoldAfter(0));
    let theirs = theirs.behind(line.address());
    // What is held comes in the end, however busy the machine is.
    let setup = Setup::new(engine)
        .set("outbound", "max_concurrent", "2")
        .set("outbound", "connect_timeout", "\"10m\"");
    let world = World::between(setup, theirs);
    other.introduce_as(&world.ours, "quick", &[]);
    let slow = ["slow-1", "slow-2", "slow-3"];
    world.there("box");
    for flow in slow {
        world.add(flow, "download", "box", &format!("/{flow}"), &[]);
        world.ours.admin(&["flow", "run", flow]);
    }
    let running = || {
        let all = slow.iter().flat_map(|flow| states(&world, flow));
        all.filter(|state| state == "running").count()
    };
    wait::until("one of them to hang", LONG, || {
        (running() > 0).then_some(())
    });
    let all = write_all(other.files(), &["a", "b"], 1);
    let (path, here) = (other.path(), world.here("in"));
    let quick = ["flow", "add", "quick", "--integration", "quick"];
    let how = [
        "--direction",
        "download",
        "--path",
        path,
        "--home",
        "alice:/in",
    ];
    world.ours.admin(&[&quick[..], &how].concat());
    for _ in 0..2 {
        let run = world.run("quick");
        assert_eq!(run["state"], "done", "{run}");
        assert_eq!(running(), 1, "of two slots they have one");
    }
    assert_eq!(held(&here), all);
    line.becomes(Whim::Carry);
    wait::until("the others to have their turn", LONG, || {
        let mut all = slow.iter().flat_map(|flow| states(&world, flow));
        all.all(|state| state == "done" || state == "failed")
            .then_some(())
    });
}

fn a_flow_that_is_disabled_ends_the_file_at_work_and_begins_no_other(engine: Engine) {
    let Some(theirs) = server(sshd()) else {
        return;
    };
    let line = Flaky::before(theirs.address(), Whim::HoldAfter(MIB));
    let theirs = theirs.behind(line.address());
    let setup = Setup::new(engine).set("outbound", "stall_timeout", "\"10m\"");
    let world = World::between(setup, theirs);
    let (there, here) = (world.there("box"), world.here("in"));
    let large = write_file(&there.join("1 large"), 4 * MIB, 7);
    let mut all = write_all(&there, &["2 small", "3 small"], 1);
    let one = ["--schedule", "* * * * * *", "--max-parallel", "1"];
    world.add("claims", "download", "box", "/in", &one);
    let run = wait::until("the first file to be at work", LONG, || {
        let run = world.history("claims").into_iter();
        let run = run.last().filter(|run| run["state"] == "running")?;
        let files = world.files_of("claims", &run);
        let first = files.iter().find(|file| file["name"] == "1 large")?;
        (first["state"] == "moving").then_some(run)
    });
    world.ours.admin(&["flow", "disable", "claims"]);
    line.becomes(Whim::Carry);
    let ended = wait::until("the run to end", LONG, || {
        let mut runs = world.history("claims").into_iter();
        let run = runs.find(|other| other["run"] == run["run"])?;
        run["ended_at"].is_string().then_some(run)
    });
    assert_eq!(ended["state"], "done", "{ended}");
    assert_eq!(
        counts(&ended, &["moved", "failed", "waiting"]),
        [1, 0, 2],
        "{ended}"
    );
    let why = ended["report"]["cause"].as_str().expect("why it ended");
    assert!(why.contains("disabled"), "{ended}");
    let arrived = held(&here);
    assert_eq!(arrived.get("1 large"), Some(&large));
    assert_eq!(arrived.len(), 1);
    let again = world.history("claims");
    assert!(
        !again.iter().any(|run| run["cause"] == "retry"),
        "{again:?}"
    );
    // What an operator asks for goes on.
    world.ours.admin(&["flow", "enable", "claims"]);
    all.insert("1 large".to_owned(), large);
    wait_for(&here, &all);
    assert_eq!(whole(&world.moves()), 3);
}
