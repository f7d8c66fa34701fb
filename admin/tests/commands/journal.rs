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
    assert_eq!(
        place.json(&["journal", "--since", "2099-01-01"]),
        serde_json::json!([])
    );
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
