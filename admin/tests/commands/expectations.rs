//! Files that are expected, on the command line and as YAML.

use serde_json::{Value, json};

use crate::place::{Place, Ran};

/// A place with the account `alice` and the integration `globex`.
fn place() -> Place {
    let place = Place::new();
    place.run(&["entity", "add", "acme"]).ok();
    let account = [
        "account", "add", "alice", "--entity", "acme", "--allow", "any",
    ];
    place
        .run(&[&account[..], &["--generate-password"]].concat())
        .ok();
    let integration = [
        "integration",
        "add",
        "globex",
        "--entity",
        "acme",
        "--protocol",
        "sftp",
    ];
    let there = ["--host", "127.0.0.1", "--username", "us"];
    place.run(&[&integration[..], &there].concat()).ok();
    place
        .run(&["location", "add", "globex", "out", "/out"])
        .ok();
    place
}

const HERE: [&str; 4] = ["--account", "alice", "--folder", "/in"];

fn add(place: &Place, name: &str, more: &[&str]) -> Ran {
    let fixed = [
        "expect",
        "add",
        name,
        "--file",
        "crm_$yyyyMMdd.csv",
        "--by",
        "06:00",
    ];
    place.run(&[&fixed, more].concat())
}

fn shown(place: &Place, name: &str) -> Value {
    place.run(&["expect", "show", name, "--json"]).ok().json()
}

#[test]
fn what_was_added_is_shown_changed_and_removed() {
    let place = place();
    let more = [
        "--days",
        "1-5",
        "--min-size",
        "1MB",
        "--max-size",
        "100MB",
        "--date-offset",
        "-1",
    ];
    let added = add(&place, "crm", &[&HERE[..], &more].concat()).ok();
    assert!(
        added
            .stdout
            .contains("crm_$yyyyMMdd.csv in alice:/in by 06:00 UTC"),
        "{added:?}"
    );
    let crm = shown(&place, "crm");
    for (field, value) in [
        ("entity", json!("acme")),
        ("enabled", json!(true)),
        ("place", json!("alice:/in")),
        ("days", json!("1-5")),
        ("date_offset", json!(-1)),
        ("min_size_bytes", json!(1_000_000)),
        ("max_size_bytes", json!(100_000_000)),
        ("allow_same", json!(false)),
        ("last", Value::Null),
    ] {
        assert_eq!(crm[field], value, "{field}");
    }
    place
        .run(&["expect", "set", "crm", "--allow-same", "--min-size", "none"])
        .ok();
    let crm = shown(&place, "crm");
    assert_eq!(
        (&crm["allow_same"], &crm["min_size_bytes"]),
        (&json!(true), &Value::Null)
    );
    let there = [
        "--integration",
        "globex",
        "--location",
        "out",
        "--allow-same=no",
    ];
    let set = place
        .run(&[&["expect", "set", "crm"], &there[..]].concat())
        .ok();
    assert!(set.stdout.contains("partner - -> \"globex\""), "{set:?}");
    assert_eq!(shown(&place, "crm")["place"], "globex:out");
    let same = place.run(&["expect", "set", "crm", "--by", "06:00"]).ok();
    assert!(same.stdout.contains("nothing changed"), "{same:?}");
    place.run(&["expect", "disable", "crm"]).ok();
    let listed = place.run(&["expect", "list"]).ok();
    assert!(listed.stdout.contains("disabled"), "{listed:?}");
    place.run(&["expect", "enable", "crm"]).ok();
    assert_eq!(
        place.run(&["expect", "list", "--json"]).ok().json()[0]["enabled"],
        true
    );
    let history = place.run(&["expect", "history", "crm", "--json"]).ok();
    assert_eq!(history.json(), json!([]));
    place.run(&["expect", "remove", "crm"]).ok();
    place
        .run(&["expect", "show", "crm"])
        .refused(1, "expect list");
    assert_eq!(
        place.run(&["expect", "list", "--json"]).ok().json(),
        json!([])
    );
}

#[test]
fn what_cannot_be_is_refused_with_what_would_do() {
    let place = place();
    add(&place, "crm", &HERE).ok();
    add(&place, "crm", &HERE).refused(1, "expect set crm");
    add(&place, "x", &[]).refused(1, "--account NAME and --folder /FOLDER");
    add(&place, "x", &["--integration", "globex"]).refused(1, "--location NAME");
    add(&place, "x", &["--account", "nobody", "--folder", "/"]).refused(1, "nobody");
    add(&place, "x", &["--account", "alice", "--folder", "in"]).refused(1, "begins with /");
    let unknown = ["--integration", "globex", "--location", "in"];
    add(&place, "x", &unknown).refused(1, "location list globex");
    add(&place, "x", &["--integration", "ghost", "--path", "/"]).refused(1, "ghost");
    for (option, value, says) in [
        ("--file", "crm_$YYYY", "$yyyyMMdd"),
        ("--file", "in/crm", "--file"),
        ("--by", "24:00", "HH:MM"),
        ("--days", "monday", "mon-fri"),
        ("--min-size", "much", "1MB"),
        ("--min-size", "0", "at least a byte"),
        ("--date-offset", "-32", "31 days"),
        ("--allow-same=maybe", "--max-size=1", "yes or no"),
    ] {
        place
            .run(&["expect", "set", "crm", option, value])
            .refused(1, says);
    }
    let sizes = [
        "expect",
        "set",
        "crm",
        "--min-size",
        "2KB",
        "--max-size",
        "1KB",
    ];
    place.run(&sizes).refused(1, "more than the most");
    place
        .run(&["account", "remove", "alice"])
        .refused(1, "expect remove crm");
}

#[test]
fn a_check_says_what_a_look_would_and_exits_so() {
    let place = place();
    add(&place, "crm", &HERE).ok();
    let missing = place.run(&["expect", "check", "crm", "--json"]);
    assert_eq!(missing.code, Some(1), "{missing:?}");
    assert_eq!(missing.json()["result"], "missing");
    let entries = place.run(&["journal", "--json", "--limit", "0"]).ok();
    assert!(
        !entries.stdout.contains("expectation.failed"),
        "nobody is told"
    );
    // Nobody listens on that port.
    let there = ["--integration", "globex", "--location", "out"];
    add(&place, "erp", &there).ok();
    let unreachable = place.run(&["expect", "check", "erp", "--json"]);
    assert_eq!(unreachable.code, Some(1), "{unreachable:?}");
    assert_eq!(unreachable.json()["result"], "unreachable");
    assert!(unreachable.json()["why"].is_string());
}

const MANIFEST: &str = "\
expectations:
  crm:
    local:
      account: alice
      path: /in
    file: crm_$yyyyMMdd.csv
    by: 06:00
    days: mon-fri
    date_offset: -1
    min_size: 1MB
    max_size: 100MB
  stock:
    enabled: false
    target:
      partner: globex
      location: out
    file: stock.xml
    by: \"17:30\"
    allow_same: true
";

#[test]
fn a_manifest_makes_expectations_and_the_export_makes_the_same() {
    let place = place();
    let file = place.path().join("expected.yaml");
    std::fs::write(&file, MANIFEST).unwrap();
    let path = file.to_str().unwrap();
    let dry = place.run(&["apply", "--dry-run", path]).ok();
    assert!(dry.stdout.contains("expectation `crm` created"), "{dry:?}");
    assert_eq!(
        place.run(&["expect", "list", "--json"]).ok().json(),
        json!([])
    );
    place.run(&["apply", path]).ok();
    let again = place.run(&["apply", path]).ok();
    assert!(
        again.stdout.contains("expectation `stock` unchanged"),
        "{again:?}"
    );
    let stock = shown(&place, "stock");
    assert_eq!(
        (&stock["by"], &stock["place"]),
        (&json!("17:30"), &json!("globex:out"))
    );
    let exported = place.run(&["export"]).ok().stdout;
    assert!(exported.contains("min_size: \"1MB\""), "{exported}");
    std::fs::write(&file, &exported).unwrap();
    let same = place.run(&["apply", path, "--json"]).ok().json();
    let outcomes = same["applied"].as_array().unwrap().iter();
    let outcomes: Vec<_> = outcomes
        .map(|one| one["outcome"].as_str().unwrap())
        .collect();
    assert_eq!(outcomes, ["unchanged"; 3], "{same}");

    let wrong = "expectations:\n  a:\n    file: crm_$x\n    by: 6\n  b:\n    local: {account: alice, \
                 path: in}\n    target: {partner: globex, path: /}\n    file: x\n    by: 06:00\n    \
                 size: 3\n";
    std::fs::write(&file, wrong).unwrap();
    let refused = place.run(&["apply", path]).refused(1, "line 3");
    for part in ["expectations.a", "`by`", "one place", "size"] {
        assert!(
            refused.stderr.contains(part.trim_matches('`')),
            "{part}: {refused:?}"
        );
    }
}
