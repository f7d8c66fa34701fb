//! What becomes of files at their source when they have moved.

use std::collections::BTreeMap;
use std::fs;

use layover_tests::{Engine, on_both_engines};

use super::{World, counts, held, usual, write_all};

on_both_engines!(
    a_partners_files_stay_go_or_are_put_aside_when_they_were_fetched,
    files_here_stay_go_or_are_put_aside_when_they_were_sent,
);

fn a_partners_files_stay_go_or_are_put_aside_when_they_were_fetched(engine: Engine) {
    let Some(world) = World::start(engine, usual(engine)) else {
        return;
    };
    for (number, how) in (1..).zip(["keep", "delete", "move"]) {
        let (there, here) = (world.there(how), world.here(how));
        let all = write_all(&there, &["a", "b"], number * 10);
        let other = write_all(&there, &["other.txt"], number * 10 + 5);
        let more = match how {
            "keep" => &[][..],
            "delete" => &["--delete-after", "yes"],
            _ => &["--move-to", "done"],
        };
        // By name or by content, what is known need not lie there.
        let more = [&["--exclude", "*.txt", "--idempotency", "none"], more].concat();
        world.add(how, "download", how, &format!("/{how}"), &more);
        if how == "move" {
            // What was put aside before stays as it is.
            fs::write(world.there("move/done").join("a"), "of yesterday").expect("write");
        }
        let run = world.run(how);
        assert_eq!(
            (&run["state"], counts(&run, &["moved"])),
            (&"done".into(), vec![2])
        );
        assert_eq!(held(&here), all, "{how}");
        let left = held(&there);
        match how {
            "keep" => assert_eq!(left, with(&all, &other)),
            _ => assert_eq!(left, other, "{how}"),
        }
        if how == "move" {
            let done = there.join("done");
            assert_eq!(fs::read(done.join("a")).expect("read"), b"of yesterday");
            let aside = held(&done);
            assert_eq!((&aside["a.1"], &aside["b"]), (&all["a"], &all["b"]));
            assert_eq!(aside.len(), 3);
        }
    }
    assert_eq!(counts(&world.run("delete"), &["moved"]), [0]);
    assert_eq!(counts(&world.run("move"), &["moved"]), [0]);
}

fn with(
    some: &BTreeMap<String, String>,
    others: &BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    some.clone().into_iter().chain(others.clone()).collect()
}

fn files_here_stay_go_or_are_put_aside_when_they_were_sent(engine: Engine) {
    let Some(world) = World::start(engine, usual(engine)) else {
        return;
    };
    for (number, how) in (1..).zip(["keep", "delete", "move"]) {
        let (there, here) = (world.there(how), world.here(how));
        let folder = format!("/{how}");
        let all = world.put_all(&folder, &["a", "b"], number * 10);
        let other = world.put_all(&folder, &["other.txt"], number * 10 + 5);
        let more = match how {
            "keep" => &[][..],
            "delete" => &["--delete-after", "yes"],
            _ => &["--move-to", "done"],
        };
        let more = [&["--exclude", "*.txt"], more].concat();
        world.add(how, "upload", how, &folder, &more);
        let run = world.run(how);
        assert_eq!(
            (&run["state"], counts(&run, &["moved"])),
            (&"done".into(), vec![2])
        );
        assert_eq!(held(&there), all, "{how}");
        let left = held(&here);
        match how {
            "keep" => assert_eq!(left, with(&all, &other)),
            _ => assert_eq!(left, other, "{how}"),
        }
        if how == "move" {
            assert_eq!(held(&here.join("done")), all);
        }
        assert_eq!(counts(&world.run(how), &["moved"]), [0], "{how}");
    }
    // Each of them is where the ledger says, and nothing else is.
    let files = world.ours.rows(&["file", "list", "alice"]);
    let paths: Vec<_> = files
        .iter()
        .filter_map(|file| file["path"].as_str())
        .collect();
    let expected = [
        "/delete/other.txt",
        "/keep/a",
        "/keep/b",
        "/keep/other.txt",
        "/move/done/a",
        "/move/done/b",
        "/move/other.txt",
    ];
    assert_eq!(paths, expected);
}
