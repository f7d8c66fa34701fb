//! When flows run: at their times, when files arrive, when they are told to.

use std::time::Duration;

use layover_retention::Timestamp;
use layover_tests::calendar::Calendar;
use layover_tests::machine::Machine;
use layover_tests::wait;
use layover_tests::{Engine, Setup, on_both_engines};
use serde_json::Value;

use super::{LONG, World, counts, held, usual, wait_for, whole, write_all};

/// Every second.
const ALWAYS: &str = "* * * * * *";

const DAY: Duration = Duration::from_secs(24 * 3600);

on_both_engines!(
    a_download_moves_at_its_times_what_is_new_there,
    an_upload_moves_at_its_times_what_is_new_here,
    an_upload_on_arrival_begins_when_a_file_was_published_or_moved_there,
    a_disabled_flow_runs_only_when_it_is_told_to,
    firings_that_no_server_was_there_for_are_caught_up_once_or_skipped,
    a_clock_that_was_ahead_keeps_no_flow_from_its_next_firing,
);

fn a_download_moves_at_its_times_what_is_new_there(engine: Engine) {
    let Some(world) = World::start(engine, usual(engine)) else {
        return;
    };
    let (there, here) = (world.there("box"), world.here("in"));
    let mut all = write_all(&there, &["a.csv", "b.csv", "c"], 1);
    world.add("claims", "download", "box", "/in", &["--schedule", ALWAYS]);
    wait_for(&here, &all);
    all.extend(write_all(&there, &["d.csv"], 9));
    wait_for(&here, &all);
    // Some firings later nothing has moved again, and theirs is theirs.
    two_more_runs(&world, "claims");
    assert_eq!(held(&here), all);
    assert_eq!(held(&there), all);
    assert_eq!(whole(&world.moves()), 4);
    let runs = world.history("claims");
    let ended: Vec<_> = runs.iter().filter(|run| !is_open(run)).collect();
    for run in ended {
        assert_eq!(
            (&run["cause"], &run["state"]),
            (&"schedule".into(), &"done".into())
        );
    }
    let mut firings: Vec<_> = runs
        .iter()
        .map(|run| run["scheduled_for"].as_str())
        .collect();
    firings.dedup();
    assert_eq!(firings.len(), runs.len(), "each moment fires once");
}

fn is_open(run: &Value) -> bool {
    run["ended_at"].is_null()
}

fn two_more_runs(world: &World, flow: &str) {
    let ended = || {
        let runs = world.history(flow);
        runs.iter().filter(|run| !is_open(run)).count()
    };
    let before = ended();
    wait::until("two more runs", LONG, || {
        (ended() >= before + 2).then_some(())
    });
}

fn an_upload_moves_at_its_times_what_is_new_here(engine: Engine) {
    let Some(world) = World::start(engine, usual(engine)) else {
        return;
    };
    let there = world.there("box");
    world.here("out");
    world.add("orders", "upload", "box", "/out", &["--schedule", ALWAYS]);
    let all = world.put_all("/out", &["a.csv", "b.csv"], 1);
    wait_for(&there, &all);
    two_more_runs(&world, "orders");
    assert_eq!(held(&there), all, "and nothing under a temporary name");
    assert_eq!(whole(&world.moves()), 2);
    let files = world.ours.rows(&["file", "list", "alice"]);
    assert_eq!(files.len(), 2);
    assert!(files.iter().all(|file| file["collected_by"] == "outbound"));
}

fn an_upload_on_arrival_begins_when_a_file_was_published_or_moved_there(engine: Engine) {
    let Some(world) = World::start(engine, usual(engine)) else {
        return;
    };
    let there = world.there("box");
    world.here("out");
    let mut alice = world.alice();
    alice.make_dir(b"/made").expect("make a folder");
    alice.make_dir(b"/made/ready").expect("make a folder");
    world.add("relay", "upload", "box", "/out", &["--on-arrival", "yes"]);
    world.add(
        "whole",
        "upload",
        "box",
        "/made/now",
        &["--on-arrival", "yes"],
    );
    // The server looks each second at what may have changed.
    let mut all = world.put_all("/out", &["published"], 1);
    wait_for(&there, &all);
    let waiting = world.put_all("/made", &["beside"], 2);
    all.extend(world.put_all("/made/ready", &["renamed", "within"], 3));
    alice
        .rename(b"/made/ready/renamed", b"/out/renamed")
        .expect("rename");
    alice
        .rename(b"/made/ready", b"/made/now")
        .expect("rename the folder");
    wait_for(&there, &all);
    assert_eq!(held(&world.here("made")), waiting);
    let moves = world.moves();
    assert_eq!(whole(&moves), 3);
    // A partner's upload and where it went are one file.
    let uploads = world.told("upload");
    for moved in &moves {
        let id = &moved["detail"]["file_id"];
        assert!(id.is_i64());
        let uploaded = uploads
            .iter()
            .filter(|entry| entry["detail"]["file_id"] == *id);
        assert_eq!(uploaded.count(), 1, "{moved}");
        let run = moved["detail"]["run"].as_str().expect("a run");
        assert!(
            run.starts_with("relay/") || run.starts_with("whole/"),
            "{run}"
        );
        let box_path = format!("{}/box", world.theirs.path());
        assert_eq!(moved["detail"]["location"], box_path.as_str());
    }
    for flow in ["relay", "whole"] {
        let runs = world.history(flow);
        assert!(!runs.is_empty());
        assert!(runs.iter().all(|run| run["cause"] == "arrival"), "{runs:?}");
    }
}

fn a_disabled_flow_runs_only_when_it_is_told_to(engine: Engine) {
    let Some(world) = World::start(engine, usual(engine)) else {
        return;
    };
    let there = world.there("box");
    world.here("out");
    let both = ["--schedule", ALWAYS, "--on-arrival", "yes"];
    world.add("orders", "upload", "box", "/out", &both);
    world.ours.admin(&["flow", "disable", "orders"]);
    let before = world.history("orders").len();
    let mut all = world.put_all("/out", &["a"], 1);
    let run = world.run("orders");
    assert_eq!(
        (&run["cause"], &run["state"]),
        (&"manual".into(), &"done".into())
    );
    assert!(
        run["asked_by"]
            .as_str()
            .is_some_and(|who| who.starts_with("cli:"))
    );
    assert_eq!(
        counts(&run, &["moved", "failed", "dead", "known"]),
        [1, 0, 0, 0]
    );
    assert_eq!(held(&there), all);
    all.extend(world.put_all("/out", &["b"], 2));
    // What was begun before it was disabled may have ended since; nothing else began.
    let runs = world.history("orders");
    let own = runs.iter().filter(|run| run["cause"] != "manual");
    assert!(own.count() <= before, "{runs:?}");
    assert!(!there.join("b").exists());
    world.ours.admin(&["flow", "enable", "orders"]);
    wait_for(&there, &all);
}

fn firings_that_no_server_was_there_for_are_caught_up_once_or_skipped(engine: Engine) {
    let Some(theirs) = super::server(super::sshd()) else {
        return;
    };
    let ours = Setup::new(engine).prepare();
    ours.account("alice").add();
    theirs.introduce(&ours, &[]);
    let flows = [("once", "once"), ("skip", "skip")];
    for (flow, catch_up) in flows {
        let add = [
            "flow",
            "add",
            flow,
            "--integration",
            "partner",
            "--location",
            "in",
        ];
        let how = [
            "--direction",
            "upload",
            "--home",
            "alice:/",
            "--schedule",
            "0 0 12 * * *",
        ];
        ours.admin(&[&add[..], &how, &["--catch-up", catch_up]].concat());
    }
    let planned = |flow: &str| ours.json(&["flow", "show", flow])["next_due"].clone();
    let began = Machine::real_time();
    let calendar = Calendar::start(&ours, began);
    wait::until("the schedules to be planned", LONG, || {
        let all = flows.iter().all(|(flow, _)| planned(flow).is_string());
        all.then_some(())
    });
    let first = planned("once");
    calendar.stop();
    let calendar = Calendar::start(&ours, began.saturating_add(3 * DAY));
    let runs = |flow: &str| ours.rows(&["flow", "history", flow]);
    wait::until("the firings to be looked at", LONG, || {
        let put_forward = flows.iter().all(|(flow, _)| planned(flow) != first);
        let ended = runs("once").iter().any(|run| !is_open(run));
        (put_forward && ended).then_some(())
    });
    let caught_up = runs("once");
    assert_eq!(caught_up.len(), 1, "{caught_up:?}");
    assert_ne!(caught_up[0]["scheduled_for"], first, "the last of them");
    assert_eq!(caught_up[0]["state"], "done");
    assert_eq!(runs("skip"), Vec::<Value>::new());
    // The next one is due for both.
    let due: Timestamp = planned("skip")
        .as_str()
        .expect("a time")
        .parse()
        .expect("a time");
    let left = due.as_micros() - calendar.now().as_micros();
    calendar.advance(Duration::from_micros(u64::try_from(left).expect("to come")));
    wait::until("the next firing", LONG, || {
        (runs("once").len() == 2 && runs("skip").len() == 1).then_some(())
    });
    calendar.stop();
}

fn a_clock_that_was_ahead_keeps_no_flow_from_its_next_firing(engine: Engine) {
    const AHEAD: Duration = Duration::from_secs(6 * 24 * 3600);
    let Some(theirs) = super::server(super::sshd()) else {
        return;
    };
    let ours = Setup::new(engine).prepare();
    ours.account("alice").add();
    theirs.introduce(&ours, &[]);
    let add = ["flow", "add", "orders", "--integration", "partner"];
    let how = ["--direction", "upload", "--location", "in", "--home"];
    let when = ["alice:/", "--schedule", "0 0 12 * * *"];
    ours.admin(&[&add[..], &how, &when].concat());
    let next_due = || -> Option<Timestamp> {
        let shown = ours.json(&["flow", "show", "orders"]);
        shown["next_due"].as_str()?.parse().ok()
    };
    let told = |action: &str| {
        wait::until(action, LONG, || {
            let entries = ours.rows(&["journal", "--limit", "0", "--kind", "system"]);
            let mut each = entries.iter();
            each.any(|entry| entry["action"] == action).then_some(())
        });
    };
    let is_within = |due: Timestamp, from: Duration, to: Duration| {
        let now = Machine::real_time();
        due > now.saturating_add(from) && due <= now.saturating_add(to)
    };
    let machine = Machine::at(Machine::real_time());
    let calendar = Calendar::start_on(&ours, &machine);
    wait::until("the schedule to be planned", LONG, next_due);
    machine.set_forward(AHEAD);
    told("clock.forward-held");
    let confirm = ["retention", "clock", "confirm", "--reason", "a test"];
    ours.admin(&confirm);
    told("clock.accepted");
    wait::until("the firings of those days", LONG, || {
        next_due().filter(|due| is_within(*due, AHEAD - DAY, AHEAD + DAY))
    });
    machine.set_back(AHEAD);
    let due = wait::until("the next firing to come back", LONG, || {
        next_due().filter(|due| is_within(*due, Duration::ZERO, DAY))
    });
    let left = due.as_micros() - Machine::real_time().as_micros();
    machine.pass(Duration::from_micros(u64::try_from(left).unwrap_or(0)));
    let run = wait::until("the firing", LONG, || {
        let runs = ours.rows(&["flow", "history", "orders"]).into_iter();
        let mut own = runs.filter(|run| run["scheduled_for"] == due.to_string().as_str());
        own.find(|run| !is_open(run))
    });
    assert_eq!(
        (&run["cause"], &run["state"]),
        (&"schedule".into(), &"done".into())
    );
    calendar.stop();
}
