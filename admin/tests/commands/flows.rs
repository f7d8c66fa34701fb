//! Flows and hooks on the command line, where no server runs.

use crate::place::{Place, Ran};

const CLAIMS: [&str; 12] = [
    "flow",
    "add",
    "claims",
    "--direction",
    "download",
    "--integration",
    "office",
    "--home",
    "partner:/in",
    "--path",
    "/out",
    "--on-arrival=no",
];

/// An account, an integration `office`.
fn place() -> Place {
    let place = Place::with_account();
    let office = [
        "integration",
        "add",
        "office",
        "--entity",
        "acme",
        "--protocol",
        "sftp",
        "--host",
        "sftp.example.com",
        "--username",
        "us",
    ];
    place.run(&office).ok();
    place
}

fn add(place: &Place, more: &[&str]) -> Ran {
    place.run(&[&CLAIMS, more].concat())
}

fn line<'a>(check: &'a Ran, what: &str) -> &'a str {
    let mut lines = check.stdout.lines();
    let found = lines.find(|line| line.split('\t').nth(1) == Some(what));
    found.unwrap_or_else(|| panic!("no line for {what}: {check:#?}"))
}

#[test]
fn a_run_that_no_server_begins_says_so() {
    let place = place();
    add(&place, &[]).ok();
    let asked = place.run(&["flow", "run", "claims"]).ok();
    assert!(!asked.stdout.contains("within seconds"), "{asked:#?}");
    let told = "no server is running; it begins when one does";
    assert!(asked.stderr.contains(told), "{asked:#?}");
    let asked = place.json(&["flow", "run", "claims"]);
    assert_eq!(asked["server_running"], false, "{asked}");
    assert_eq!(asked["run"], 2, "{asked}");
}

#[test]
fn what_a_flow_can_hardly_mean_is_warned_of_and_done() {
    let place = place();
    let doubtful = [
        "--schedule",
        "0 0 31 2 *",
        "--file",
        "$foo*",
        "--file",
        "$yyy*",
    ];
    let added = add(&place, &doubtful).ok();
    for told in [
        "`0 0 31 2 *` never comes",
        "`$foo` is no day",
        "`$yyy` is no day",
    ] {
        assert!(added.stderr.contains(told), "{told}: {added:#?}");
    }
    let set = [
        "flow",
        "set",
        "claims",
        "--schedule",
        "0 0 28 2 *",
        "--file",
        "$yyyyMMdd*",
    ];
    let good = place.run(&set).ok();
    assert!(!good.stderr.contains("warning"), "{good:#?}");
}

#[test]
fn a_number_or_a_schedule_that_is_none_is_told_with_what_is_expected() {
    let place = place();
    add(&place, &[]).ok();
    for (arguments, code, told) in [
        (
            &["history", "claims", "--run", "abc"][..],
            2,
            "expected a number, 1 or more",
        ),
        (
            &["history", "claims", "--run", "-1"],
            2,
            "expected a number, 1 or more",
        ),
        (
            &["history", "claims", "--limit", "x"],
            2,
            "expected a number, 0 or more",
        ),
        (
            &["set", "claims", "--retries", "abc"],
            2,
            "expected a number from 0 to 100",
        ),
        (
            &["set", "claims", "--retries", "101"],
            2,
            "expected a number from 0 to 100",
        ),
        (
            &["set", "claims", "--max-parallel", "0"],
            2,
            "expected a number from 1 to 32",
        ),
        (
            &["set", "claims", "--retry-after", "-5"],
            2,
            "expected a number from 1 to 3600",
        ),
        (
            &["set", "claims", "--schedule", "61 * * * *"],
            1,
            "`61` is no minute: 0 to 59",
        ),
        (
            &["set", "claims", "--schedule", "daily"],
            1,
            "it has 1 fields instead of 5",
        ),
    ] {
        place
            .run(&[&["flow"], arguments].concat())
            .refused(code, told);
    }
    for list in ["event", "journal"] {
        let list = match list {
            "event" => vec!["event", "list", "--limit", "abc"],
            other => vec![other, "--limit", "abc"],
        };
        place.run(&list).refused(2, "expected a number, 0 or more");
    }
}

#[test]
fn homes_of_another_entity_and_locations_for_the_other_way_are_refused_unless_it_is_said() {
    let place = place();
    place.run(&["entity", "add", "other"]).ok();
    let stranger = ["account", "add", "stranger", "--entity", "other"];
    let how = ["--allow", "127.0.0.1"];
    place.run(&[&stranger[..], &how].concat()).ok();
    for (name, direction) in [("answers", "download"), ("orders", "upload")] {
        let add = ["location", "add", "office", name, "/out"];
        let direction = ["--direction", direction];
        place.run(&[&add[..], &direction].concat()).ok();
    }
    let flow = |home: &str, direction: &str, location: &str, more: &[&str]| {
        let add = ["flow", "add", "f", "--integration", "office"];
        let how = [
            "--home",
            home,
            "--direction",
            direction,
            "--location",
            location,
        ];
        place.run(&[&add[..], &how, more].concat())
    };
    for (home, direction, location, told) in [
        ("stranger:/", "download", "answers", "--other-entity yes"),
        ("nobody:/", "download", "answers", "no account `nobody`"),
        ("partner:/", "upload", "answers", "is for downloads alone"),
        ("partner:/", "download", "orders", "is for uploads alone"),
        ("partner:/", "upload", "elsewhere", "`elsewhere`"),
    ] {
        flow(home, direction, location, &[]).refused(1, told);
        assert_eq!(place.json(&["flow", "list"]), serde_json::json!([]));
    }
    let meant = ["--other-entity", "yes"];
    flow("stranger:/", "download", "answers", &meant).ok();
    for (more, told) in [
        (["--other-entity", "no"], "--other-entity yes"),
        (["--location", "orders"], "is for uploads alone"),
    ] {
        let set = [&["flow", "set", "f"][..], &more].concat();
        place.run(&set).refused(1, told);
    }
    // An account of the integration's own entity needs no such word.
    let home = ["--home", "partner:/", "--other-entity", "no"];
    place.run(&[&["flow", "set", "f"][..], &home].concat()).ok();
}

#[test]
fn events_of_an_entity_that_is_not_there_are_a_mistake() {
    let place = place();
    let list = |entity| place.run(&["event", "list", "--entity", entity]);
    list("nobody").refused(1, "no entity `nobody`");
    list("acme").ok();
}

#[test]
fn check_has_a_line_for_flows_and_one_for_hooks() {
    let place = place();
    let check = place.run(&["check"]);
    assert!(!check.stdout.contains("\tflows\t"), "{check:#?}");
    add(&place, &[]).ok();
    let check = place.run(&["check"]);
    let flows = line(&check, "flows");
    assert!(
        flows.starts_with("ready\t") && flows.contains("1, 1 of them enabled"),
        "{flows}"
    );
    place.run(&["account", "disable", "partner"]).ok();
    let check = place.run(&["check"]);
    let flows = line(&check, "flows");
    let told = "claims (account `partner` is disabled)";
    assert!(
        flows.starts_with("notice\t") && flows.contains(told),
        "{flows}"
    );
    // What is disabled on purpose needs nothing.
    place.run(&["flow", "disable", "claims"]).ok();
    let check = place.run(&["check"]);
    assert!(line(&check, "flows").starts_with("ready\t"), "{check:#?}");

    let hook = [
        "event",
        "hook",
        "add",
        "erp",
        "--url",
        "https://erp.example.com/",
    ];
    place.run(&hook).ok();
    let check = place.run(&["check"]);
    assert!(line(&check, "hooks").starts_with("ready\t"), "{check:#?}");
    place.run(&["event", "hook", "disable", "erp"]).ok();
    let check = place.run(&["check"]);
    let hooks = line(&check, "hooks");
    assert!(
        hooks.starts_with("notice\t") && hooks.contains("erp (disabled"),
        "{hooks}"
    );
}
