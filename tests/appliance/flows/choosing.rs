//! Which files move: by name, by what moved before, and what a dry run says of it.

use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, SystemTime};

use layover_tests::{Engine, on_both_engines};
use serde_json::Value;

use super::{World, counts, held, sshd, usual, write_all};

on_both_engines!(
    files_of_one_content_move_under_each_of_their_names,
    each_way_to_know_a_file_again_moves_what_it_takes_for_new,
    what_is_named_moves_and_what_is_excluded_or_locked_does_not,
);

/// A file's time, in whole seconds as every server tells it.
fn set_time(file: &Path, at: SystemTime) {
    let opened = File::options()
        .write(true)
        .open(file)
        .expect("open the file");
    opened.set_modified(at).expect("set its time");
}

/// By content alone the second file, deleted at its source as moved, would be nowhere.
fn files_of_one_content_move_under_each_of_their_names(engine: Engine) {
    let Some(world) = World::start(engine, usual(engine)) else {
        return;
    };
    let there = world.there("box");
    let delete = ["--delete-after", "yes"];
    world.add("claims", "download", "box", "/new/in", &delete);
    for name in ["mon.csv", "tue.csv"] {
        fs::write(there.join(name), "the same each day").expect("write");
    }
    let run = world.run("claims");
    assert_eq!(run["state"], "done", "{run}");
    assert_eq!(counts(&run, &["moved", "known"]), [2, 0]);
    let here = world.ours.homes().join("alice/new/in");
    let names: Vec<_> = held(&here).into_keys().collect();
    assert_eq!(names, ["mon.csv", "tue.csv"]);
    assert_eq!(held(&there).len(), 0);
    // The same once more under its name: it moved before, which is told, and nothing of it
    // stays hidden here.
    fs::write(there.join("mon.csv"), "the same each day").expect("write");
    let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    set_time(&there.join("mon.csv"), at);
    let run = world.run("claims");
    assert_eq!(counts(&run, &["moved", "known"]), [0, 1], "{run}");
    assert_eq!(world.told("flow.known").len(), 1);
    let listed = world.ours.rows(&["file", "list", "alice"]);
    assert!(
        listed.iter().all(|file| file["state"] != "partial"),
        "{listed:?}"
    );
}

fn each_way_to_know_a_file_again_moves_what_it_takes_for_new(engine: Engine) {
    let Some(world) = World::start(engine, sshd()) else {
        return;
    };
    let there = world.there("box");
    let at =
        |hours: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000 + hours * 3600);
    for name in ["same", "touched", "rewritten", "renamed", "new content"] {
        fs::write(there.join(name), format!("content of {name}")).expect("write");
        set_time(&there.join(name), at(1));
    }
    let modes = ["none", "name", "name+size+time", "hash"];
    for mode in modes {
        let flow = mode.replace('+', "-");
        let home = format!("/{flow}");
        world.here(&flow);
        world.add(&flow, "download", "box", &home, &["--idempotency", mode]);
        assert_eq!(
            counts(&world.run(&flow), &["moved", "known"]),
            [5, 0],
            "{mode}"
        );
    }
    set_time(&there.join("touched"), at(2));
    fs::write(there.join("rewritten"), "CONTENT OF REWRITTEN").expect("write");
    set_time(&there.join("rewritten"), at(1));
    fs::rename(there.join("renamed"), there.join("renamed too")).expect("rename");
    fs::write(there.join("new content"), "something else").expect("write");
    set_time(&there.join("new content"), at(2));
    for (mode, moved) in [
        (
            "none",
            &["new content", "renamed too", "rewritten", "same", "touched"][..],
        ),
        ("name", &["renamed too"]),
        ("name+size+time", &["new content", "renamed too", "touched"]),
        // A file that looks as before is not read again; another name is another file.
        ("hash", &["new content", "renamed too"]),
    ] {
        let flow = mode.replace('+', "-");
        let run = world.run(&flow);
        assert_eq!(run["state"], "done", "{run}");
        assert_eq!(
            counts(&run, &["moved"]),
            [moved.len() as u64],
            "{mode}: {run}"
        );
        let moves = world.moves();
        let number = format!("{flow}/{}", run["run"]);
        let mut names: Vec<_> = moves
            .iter()
            .filter(|entry| entry["detail"]["run"] == number.as_str())
            .filter_map(|entry| entry["path"].as_str()?.rsplit('/').next())
            .collect();
        names.sort_unstable();
        assert_eq!(names, moved, "{mode}");
    }
    // A third time nothing is new but for who remembers nothing.
    for mode in modes {
        let flow = mode.replace('+', "-");
        let again = if mode == "none" { 5 } else { 0 };
        assert_eq!(counts(&world.run(&flow), &["moved"]), [again], "{mode}");
    }
}

fn what_is_named_moves_and_what_is_excluded_or_locked_does_not(engine: Engine) {
    let Some(world) = World::start(engine, usual(engine)) else {
        return;
    };
    let (there, here) = (world.there("box"), world.here("in"));
    world.there("box/below.xml");
    let wanted = write_all(&there, &["a.xml", "b 1.XML.xml"], 1);
    let others = [
        "a.txt",
        "old.xml",
        "late.xml.part",
        "late.xml.filepart",
        "A.XML",
    ];
    let others = write_all(&there, &others, 5);
    let more = [
        "--file",
        "*.xml",
        "--exclude",
        "old*",
        "--exclude",
        "?ld.xml",
    ];
    world.add("claims", "download", "box", "/in", &more);

    let dry = world.ours.json(&["flow", "run", "claims", "--dry-run"]);
    let names: Vec<_> = dry["files"]
        .as_array()
        .expect("files")
        .iter()
        .map(|file| file["name"].as_str().unwrap_or_default())
        .collect();
    assert_eq!(names, ["a.xml", "b 1.XML.xml"]);
    assert_eq!((&dry["waiting"], &dry["known"]), (&2.into(), &0.into()));
    assert!(held(&here).is_empty() && world.moves().is_empty());
    assert_eq!(world.history("claims"), Vec::<Value>::new());

    let run = world.run("claims");
    assert_eq!(counts(&run, &["moved", "waiting", "failed"]), [2, 2, 0]);
    assert_eq!(held(&here), wanted);
    let mut all = wanted;
    all.extend(others);
    assert_eq!(held(&there), all);
    let dry = world.ours.json(&["flow", "run", "claims", "--dry-run"]);
    assert_eq!(
        (&dry["files"], &dry["known"]),
        (&Value::Array(Vec::new()), &2.into())
    );
}
