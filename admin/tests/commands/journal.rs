//! The journal, and commands whose output somebody stops reading.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use crate::place::Place;

#[test]
fn every_change_is_in_the_journal_and_can_be_picked_out() {
    let place = Place::with_account();
    place.run(&["account", "disable", "partner"]).ok();
    let all = place.json(&["journal"]);
    let actions: Vec<_> = all
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["action"].as_str().unwrap().to_owned())
        .collect();
    assert!(actions.contains(&"entity.add".to_owned()), "{actions:?}");
    assert!(actions.contains(&"account.add".to_owned()), "{actions:?}");
    assert_eq!(actions.len(), 3, "{actions:?}");
    for entry in all.as_array().unwrap() {
        assert_eq!(entry["kind"], "admin");
        assert_eq!(entry["outcome"], "ok");
        assert!(entry["at"].as_str().unwrap().ends_with('Z'), "{entry}");
    }
    let of_account = place.json(&[
        "journal",
        "--account",
        "partner",
        "--kind",
        "admin",
        "--since",
        "1h",
    ]);
    assert_eq!(of_account.as_array().unwrap().len(), 2, "{of_account}");
    assert_eq!(
        place.json(&["journal", "--kind", "transfer"]),
        serde_json::json!([])
    );
    for (filter, count) in [
        (["--home", "partner"], 2),
        (["--home", "another"], 0),
        (["--path", "/in"], 0),
        (["--until", "1h"], 0),
        (["--until", "2099-01-01"], 3),
    ] {
        let found = place.json(&[&["journal"], &filter[..]].concat());
        assert_eq!(found.as_array().unwrap().len(), count, "{filter:?}");
    }
    assert_eq!(
        place.json(&["journal", "--since", "2099-01-01"]),
        serde_json::json!([])
    );
}

#[test]
fn a_span_below_zero_is_named_as_what_is_wrong() {
    let place = Place::with_account();
    for filter in [["--since", "-1h"], ["--until", "-1h"], ["-n", "-1"]] {
        let refused = place.run(&[&["journal"], &filter[..]].concat());
        let refused = refused.refused(2, "invalid value");
        assert!(refused.stderr.contains(filter[1]), "{}", refused.stderr);
    }
}

#[test]
fn a_follower_sees_what_happens_and_ends_when_nobody_reads() {
    let place = Place::with_account();
    let mut follower = place
        .command(&["journal", "--follow", "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(follower.stdout.take().unwrap()).lines();
    let mut next =
        || -> serde_json::Value { serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap() };
    assert_eq!(next()["action"], "entity.add");
    assert_eq!(next()["action"], "account.add");
    place.run(&["account", "disable", "partner"]).ok();
    assert_eq!(next()["account"], "partner");
    drop(lines);
    let ended = follower.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    assert!(ended.stderr.is_empty(), "{ended:?}");
}

/// A place with 14 entries more than `Place::with_account` makes.
fn place_with_history() -> Place {
    let place = Place::with_account();
    for _ in 0..7 {
        place.run(&["account", "disable", "partner"]).ok();
        place.run(&["account", "enable", "partner"]).ok();
    }
    place
}

#[test]
fn a_list_shows_the_newest_entries_oldest_first() {
    let place = place_with_history();
    let ids = |arguments: &[&str]| -> Vec<i64> {
        let list = place.json(&[&["journal"], arguments].concat());
        let entries = list.as_array().unwrap();
        entries
            .iter()
            .map(|entry| entry["id"].as_i64().unwrap())
            .collect()
    };
    let all = ids(&["--limit", "0"]);
    assert_eq!(all.len(), 16);
    assert_eq!(ids(&[]), all);
    assert_eq!(ids(&["-n", "2"]), all[14..]);
    assert_eq!(ids(&["-n", "15"]), all[1..]);
    assert_eq!(ids(&["-n", "99"]), all);
    assert_eq!(ids(&["--since", "1h", "--limit", "1"]), all[15..]);
    let one = place.json(&["journal", "--account", "partner", "--limit", "1"]);
    assert_eq!(one[0]["id"], all[15]);
    let wrong = place.run(&["journal", "-n", "-1"]);
    assert_eq!(wrong.code, Some(2), "{wrong:?}");
}

#[test]
fn a_list_without_a_limit_shows_a_hundred_and_says_that_there_are_more() {
    let place = Place::with_account();
    let count = |arguments: &[&str]| {
        let ran = place
            .run(&[&["journal", "--json"], arguments].concat())
            .ok();
        let cut = ran.stderr.contains("--limit 0");
        (ran.json().as_array().unwrap().len(), cut)
    };
    for _ in 0..49 {
        place.run(&["account", "disable", "partner"]).ok();
        place.run(&["account", "enable", "partner"]).ok();
    }
    assert_eq!(count(&[]), (100, false));
    place.run(&["account", "disable", "partner"]).ok();
    assert_eq!(count(&[]), (100, true));
    assert_eq!(count(&["--limit", "0"]), (101, false));
    assert_eq!(count(&["--since", "1h"]), (101, false), "all since then");
    assert_eq!(count(&["--limit", "100"]), (100, false), "as asked for");
}

#[test]
fn a_follower_begins_with_the_last_ten_entries_or_where_it_is_told() {
    let place = place_with_history();
    let first = |arguments: &[&str]| -> i64 {
        let mut follower = place
            .command(&[&["journal", "--follow", "--json"], arguments].concat())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(follower.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        follower.kill().unwrap();
        follower.wait().unwrap();
        let entry: serde_json::Value = serde_json::from_str(&line).unwrap();
        entry["id"].as_i64().unwrap()
    };
    let all = place.json(&["journal", "--limit", "0"]);
    let id = |index: usize| all[index]["id"].as_i64().unwrap();
    assert_eq!(first(&[]), id(6));
    assert_eq!(first(&["--since", "1h"]), id(0));
    assert_eq!(first(&["-n", "1"]), id(15));
    assert_eq!(first(&["--limit", "0"]), id(0));
}

#[test]
fn a_plain_line_names_what_the_entry_is_about() {
    let place = Place::with_account();
    place.run(&["entity", "set", "acme", "--keep", "1d"]).ok();
    let journal = place.run(&["journal"]).ok().stdout;
    for (action, object) in [
        ("entity.add", "entity=acme"),
        ("entity.set", "entity=acme"),
        ("account.add", "partner"),
    ] {
        let line = journal
            .lines()
            .find(|line| line.contains(action))
            .unwrap_or_else(|| panic!("no {action} in {journal}"));
        assert!(line.contains(object), "{line}");
        assert!(line.split('\t').all(|cell| !cell.is_empty()), "{line:?}");
    }
}

#[test]
fn an_account_that_nobody_ever_heard_of_is_a_slip_and_a_removed_one_is_not() {
    let place = Place::with_account();
    for follow in [&[][..], &["--follow"]] {
        place
            .run(&[&["journal", "--account", "nope"], follow].concat())
            .refused(1, "`nope`");
    }
    place.run(&["account", "remove", "partner"]).ok();
    let entries = place.json(&["journal", "--account", "partner"]);
    assert_eq!(entries.as_array().unwrap().len(), 2, "{entries}");
}

#[test]
fn a_follower_ends_well_on_an_interrupt() {
    let place = Place::with_account();
    let mut follower = place
        .command(&["journal", "--follow"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = String::new();
    BufReader::new(follower.stdout.as_mut().unwrap())
        .read_line(&mut first)
        .unwrap();
    let pid = rustix::process::Pid::from_child(&follower);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert_eq!(follower.wait().unwrap().code(), Some(0));
}

#[test]
fn a_reader_that_stops_early_is_no_failure() {
    let place = Place::with_account();
    let mut child = place
        .command(&["journal"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let ended = child.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    assert!(ended.stderr.is_empty(), "{ended:?}");
}
