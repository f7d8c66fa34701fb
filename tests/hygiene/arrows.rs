//! Who may import whom.

use std::collections::{BTreeMap, BTreeSet};

use crate::project;

/// Each crate and what of ours it may depend on, tests included. The crate of the tests may depend
/// on everything and has no line.
const ALLOWED: [(&str, &[&str]); 9] = [
    (
        "admin",
        &["server", "client", "depot", "retention", "config"],
    ),
    (
        "server",
        &[
            "ftps",
            "sftp",
            "console",
            "client",
            "depot",
            "retention",
            "config",
        ],
    ),
    ("ftps", &["depot", "retention"]),
    ("sftp", &["depot", "retention"]),
    ("console", &["depot", "retention"]),
    ("client", &["depot", "retention"]),
    ("depot", &["retention"]),
    ("config", &[]),
    ("retention", &[]),
];

const TESTS: &str = "layover-tests";

/// The complaint about each arrow of `graph` (a crate and what it depends on) that is not allowed.
fn forbidden(graph: &BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    let ours = |short: &str| format!("layover-{short}");
    let allowed: BTreeMap<String, BTreeSet<String>> = ALLOWED
        .iter()
        .map(|(from, to)| (ours(from), to.iter().map(|to| ours(to)).collect()))
        .collect();
    let mut complaints = Vec::new();
    for (from, to) in graph.iter().filter(|(from, _)| *from != TESTS) {
        let Some(allowed) = allowed.get(from) else {
            complaints.push(format!("{from} is no crate of the plan"));
            continue;
        };
        let arrows = to
            .iter()
            .filter(|to| graph.contains_key(*to) && !allowed.contains(*to));
        complaints.extend(arrows.map(|to| format!("{from} must not depend on {to}")));
    }
    complaints
}

fn graph(arrows: &[(&str, &[&str])]) -> BTreeMap<String, BTreeSet<String>> {
    arrows
        .iter()
        .map(|(from, to)| {
            (
                (*from).to_owned(),
                to.iter().map(|to| (*to).to_owned()).collect(),
            )
        })
        .collect()
}

#[test]
fn no_crate_imports_another_against_the_plan() {
    let graph = project::dependencies();
    assert_eq!(
        graph.len(),
        ALLOWED.len() + 1,
        "the crates of the plan and the tests: {graph:?}"
    );
    assert_eq!(forbidden(&graph), Vec::<String>::new());
}

#[test]
fn an_arrow_against_the_plan_is_found() {
    for (from, to) in [
        ("layover-retention", "layover-depot"),
        ("layover-depot", "layover-config"),
        ("layover-sftp", "layover-server"),
        ("layover-sftp", "layover-ftps"),
        ("layover-console", "layover-config"),
        ("layover-config", "layover-retention"),
        ("layover-server", "layover-tests"),
    ] {
        let graph = graph(&[(from, &["serde", to]), (to, &[])]);
        let expected = format!("{from} must not depend on {to}");
        assert!(forbidden(&graph).contains(&expected), "{from} -> {to}");
    }
}

#[test]
fn a_crate_that_nobody_planned_is_found() {
    let graph = graph(&[
        ("layover-common", &[]),
        ("layover-admin", &["layover-server"]),
    ]);
    assert_eq!(
        forbidden(&graph),
        ["layover-common is no crate of the plan"]
    );
}

#[test]
fn the_tests_may_import_everything() {
    let all: Vec<String> = ALLOWED
        .iter()
        .map(|(from, _)| format!("layover-{from}"))
        .collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    assert_eq!(forbidden(&graph(&[(TESTS, &all)])), Vec::<String>::new());
}

#[test]
fn every_crate_obeys_the_lints_of_the_workspace() {
    for (name, manifest) in project::manifests() {
        // The tests list theirs, because test code may unwrap and panic.
        let expected = if name == TESTS {
            "[lints.clippy]\n"
        } else {
            "[lints]\nworkspace = true\n"
        };
        assert!(manifest.contains(expected), "{name} lacks `{expected}`");
    }
}
