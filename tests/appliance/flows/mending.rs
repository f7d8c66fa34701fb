//! How what did not move moves in the end, and what is never taken for something else meanwhile.

use std::fs;
use std::time::Duration;

use layover_tests::calendar::Calendar;
use layover_tests::content::{MIB, write_file};
use layover_tests::flaky::{Flaky, Whim};
use layover_tests::machine::Machine;
use layover_tests::wait;
use layover_tests::{Engine, Protocol, Setup, on_both_engines};

use super::{LONG, World, counts, held, server, sshd, usual, wait_for, whole, write_all};

on_both_engines!(
    what_was_given_up_is_tried_again_when_it_changes_or_an_operator_says_so,
    three_lost_connections_in_a_row_end_a_run_and_fewer_do_not,
    a_flow_that_waits_for_arrivals_tries_each_hour_until_the_server_is_back,
    a_flow_that_waits_for_arrivals_tries_each_hour_until_its_login_is_mended,
    a_file_that_is_replaced_while_it_is_sent_is_sent_too_before_it_goes,
);

fn what_was_given_up_is_tried_again_when_it_changes_or_an_operator_says_so(engine: Engine) {
    let Some(world) = World::start(engine, usual(engine)) else {
        return;
    };
    let (there, here) = (world.there("box"), world.here("in"));
    let set = |more: &[&str]| {
        let set = ["integration", "set", "partner"];
        world.ours.admin(&[&set[..], more].concat());
    };
    world
        .ours
        .admin(&["integration", "pgp", "rotate", "partner"]);
    set(&["--inbound-pgp", "yes"]);
    let mut all = write_all(&there, &["changes", "stays"], 1);
    world.add("claims", "download", "box", "/in", &[]);
    let of = ["moved", "failed", "dead", "given_up"];
    let counted = |run: &serde_json::Value| {
        // What is nothing is left out of a report.
        let report = &run["report"];
        of.map(|name| report[name].as_u64().unwrap_or(0))
    };
    assert_eq!(counted(&world.run("claims")), [0, 0, 2, 0]);
    set(&["--inbound-pgp", "no"]);
    assert_eq!(counted(&world.run("claims")), [0, 0, 0, 2]);
    assert_eq!(held(&here).len(), 0);

    let changed = write_file(&there.join("changes"), 5_000, 77);
    all.insert("changes".to_owned(), changed.clone());
    assert_eq!(counted(&world.run("claims")), [1, 0, 0, 1]);
    let arrived = held(&here).into_iter().collect::<Vec<_>>();
    assert_eq!(arrived, [("changes".to_owned(), changed)]);

    let asked = world.ours.json(&["flow", "retry", "claims"]);
    assert_eq!(asked["files"], 1, "{asked}");
    wait_for(&here, &all);
    assert_eq!(world.ours.json(&["flow", "retry", "claims"])["files"], 0);
    assert_eq!(counted(&world.run("claims")), [0, 0, 0, 0]);
    assert_eq!(world.told("flow.dead_letter").len(), 2);
    assert_eq!(world.told("flow.retry").len(), 2);
    assert_eq!(whole(&world.moves()), 2);
}

fn three_lost_connections_in_a_row_end_a_run_and_fewer_do_not(engine: Engine) {
    let Some(theirs) = server(sshd()) else {
        return;
    };
    let line = Flaky::before(theirs.address(), Whim::CutAfter(300_000));
    let theirs = theirs.behind(line.address());
    let world = World::between(Setup::new(engine), theirs);
    let there = world.there("box");
    for (number, name) in (1..).zip(["1", "2", "4", "5", "6", "7", "8"]) {
        write_file(&there.join(name), 64 * MIB, number);
    }
    let small = write_all(&there, &["3"], 20);
    let more = ["--max-parallel", "1", "--retry-after", "3600"];
    world.add("claims", "download", "box", "/in", &more);
    let run = world.run("claims");
    assert_eq!(run["state"], "failed");
    assert_eq!(
        counts(&run, &["moved", "failed", "dead", "waiting"]),
        [1, 5, 0, 2],
        "{run}"
    );
    assert_eq!(held(&world.here("in")), small);
    let files = world.files_of("claims", &run);
    let states = |state: &str| {
        let of = files.iter().filter(|file| file["state"] == state);
        of.filter_map(|file| file["name"].as_str())
            .collect::<Vec<_>>()
    };
    assert_eq!(states("failed"), ["1", "2", "4", "5", "6"]);
    assert_eq!(states("planned"), ["7", "8"]);
    let runs = world.history("claims");
    assert!(
        runs.iter()
            .any(|run| run["cause"] == "retry" && run["state"] == "due"),
        "{runs:?}"
    );
}

fn a_flow_that_waits_for_arrivals_tries_each_hour_until_the_server_is_back(engine: Engine) {
    const MINUTE: Duration = Duration::from_secs(60);
    let Some(theirs) = server(sshd()) else {
        return;
    };
    let line = Flaky::before(theirs.address(), Whim::Carry);
    let theirs = theirs.behind(line.address());
    let ours = Setup::new(engine).prepare();
    let alice = ours
        .account("alice")
        .password(layover_tests::account::PASSWORD)
        .add();
    theirs.introduce(&ours, &[]);
    let world = World {
        ours,
        alice,
        theirs,
    };
    let there = world.there("box");
    world.here("out");
    let more = [
        "--on-arrival",
        "yes",
        "--retries",
        "1",
        "--retry-after",
        "3600",
    ];
    world.add("relay", "upload", "box", "/out", &more);
    let calendar = Calendar::start(&world.ours, Machine::real_time());
    let all_of = |state: &str| {
        let runs = world.history("relay");
        runs.iter().filter(|run| run["state"] == state).count()
    };
    // A new flow looks whether something has arrived already.
    wait::until("the first run", LONG, || {
        (all_of("done") == 1).then_some(())
    });
    line.becomes(Whim::Refuse);
    let ended = || all_of("failed");
    let file = world.ours.scratch().join("order");
    let sum = write_file(&file, 20_000, 3);
    let content = fs::read(&file).expect("read it");
    let address = calendar.address(Protocol::Sftp);
    let mut partner = world.alice.partner_at(address, Protocol::Sftp);
    partner.put(b"/out/order", &content).expect("put");
    drop(partner);
    // The first tries are those that `--retries` allows.
    for tries in 1..=4 {
        wait::until("a run that finds no server", LONG, || {
            (ended() == tries).then_some(())
        });
        // A wait is shortened by up to a quarter.
        calendar.advance(40 * MINUTE);
        assert_eq!(ended(), tries, "not before its time");
        if tries == 4 {
            line.becomes(Whim::Carry);
        }
        calendar.advance(20 * MINUTE);
    }
    let all = [("order".to_owned(), sum)].into();
    wait_for(&there, &all);
    wait::until("the run to be told", LONG, || {
        (all_of("done") == 2).then_some(())
    });
    assert_eq!(ended(), 4);
    assert!(world.told("flow.dead_letter").is_empty());
    calendar.stop();
}

/// Nothing else makes it run: an arrival that came meanwhile would lie there until it expires.
fn a_flow_that_waits_for_arrivals_tries_each_hour_until_its_login_is_mended(engine: Engine) {
    let Some(theirs) = server(sshd()) else {
        return;
    };
    let ours = Setup::new(engine).prepare();
    let alice = ours
        .account("alice")
        .password(layover_tests::account::PASSWORD)
        .add();
    theirs.introduce(&ours, &[]);
    let world = World {
        ours,
        alice,
        theirs,
    };
    let there = world.there("box");
    world.here("out");
    let more = ["--on-arrival", "yes", "--retries", "0"];
    world.add("relay", "upload", "box", "/out", &more);
    let calendar = Calendar::start(&world.ours, Machine::real_time());
    let all_of = |state: &str| {
        let runs = world.history("relay");
        runs.iter().filter(|run| run["state"] == state).count()
    };
    wait::until("the first run", LONG, || {
        (all_of("done") == 1).then_some(())
    });
    let log_in_as = |user: &str| {
        world
            .ours
            .admin(&["integration", "set", "partner", "--username", user]);
    };
    log_in_as("nobody-of-that-name");
    let file = world.ours.scratch().join("order");
    let sum = write_file(&file, 20_000, 3);
    let content = fs::read(&file).expect("read it");
    let address = calendar.address(Protocol::Sftp);
    let mut partner = world.alice.partner_at(address, Protocol::Sftp);
    partner.put(b"/out/order", &content).expect("put");
    drop(partner);
    let next_retry = || world.ours.json(&["flow", "show", "relay"])["next_retry"].clone();
    assert!(next_retry().is_null());
    for tries in 1..=2 {
        wait::until("a run whose login is refused", LONG, || {
            (all_of("failed") == tries).then_some(())
        });
        assert!(next_retry().is_string(), "an operator sees when");
        calendar.advance(Duration::from_secs(3_500));
        assert_eq!(all_of("failed"), tries, "not before an hour has passed");
        if tries == 2 {
            log_in_as(world.theirs.username());
        }
        calendar.advance(Duration::from_secs(200));
    }
    let all = [("order".to_owned(), sum)].into();
    wait_for(&there, &all);
    calendar.stop();
}

/// By its name alone the new file would be taken away unsent.
fn a_file_that_is_replaced_while_it_is_sent_is_sent_too_before_it_goes(engine: Engine) {
    let Some(theirs) = server(sshd()) else {
        return;
    };
    let line = Flaky::before(theirs.address(), Whim::Carry);
    let theirs = theirs.behind(line.address());
    let setup = Setup::new(engine).set("outbound", "stall_timeout", "\"10m\"");
    let world = World::between(setup, theirs);
    let put = |folder: &str, size: u64, seed: u64| {
        let file = world.ours.scratch().join("content");
        let sum = write_file(&file, size, seed);
        let content = fs::read(&file).expect("read it");
        let path = format!("/{folder}/x");
        world.alice().put(path.as_bytes(), &content).expect("put");
        sum
    };
    for (how, more) in [
        ("delete", ["--delete-after", "yes"]),
        ("move", ["--move-to", "sent"]),
    ] {
        let (there, here) = (world.there(how), world.here(how));
        world.add(how, "upload", how, &format!("/{how}"), &more);
        let first = put(how, 4 * MIB, 1);
        line.becomes(Whim::HoldAfter(MIB));
        let asked = world.ours.json(&["flow", "run", how]);
        wait::until("the file to be on its way", LONG, || {
            let files = world.files_of(how, &asked);
            files
                .iter()
                .find(|file| file["state"] == "moving")
                .map(drop)
        });
        let second = put(how, 20_000, 2);
        line.becomes(Whim::Carry);
        let run = wait::until("the run to end", LONG, || {
            let mut runs = world.history(how).into_iter();
            runs.find(|run| run["run"] == asked["run"] && run["ended_at"].is_string())
        });
        assert_eq!(counts(&run, &["moved", "failed"]), [1, 0], "{run}");
        assert_eq!(held(&there), [("x".to_owned(), first)].into());
        let new = [("x".to_owned(), second)].into();
        assert_eq!(held(&here), new, "{how}: nobody has sent it");
        let run = world.run(how);
        assert_eq!(counts(&run, &["moved", "failed"]), [1, 0], "{run}");
        assert_eq!(held(&there), new);
        assert!(held(&here).is_empty(), "{how}");
        if how == "move" {
            assert_eq!(held(&here.join("sent")), new);
        }
    }
}
