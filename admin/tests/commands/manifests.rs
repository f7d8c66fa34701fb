//! `layover apply` and `layover export`.

use serde_json::json;

use crate::place::Place;

/// The examples of a partner and a flow as Xferity documents them.
const XFERITY: &str = "\
id: insurance-ftps
display_name: Insurance Partner FTPS
protocol: ftps
ftps:
  connection:
    host: ftps.insurance-partner.example
    port: 21
    passive: true
  auth:
    username: xferity-transfer
    password: env:INSURANCE_FTPS_PASSWORD
  tls:
    mode: explicit
    ca_cert: file:/etc/xferity/certs/insurance-partner-ca.pem
    server_cert_fingerprint: \"\"
    insecure_skip_verify: false
---
flows:
  insurance-claims-upload:
    direction: upload
    enabled: true
    target:
      partner: insurance-ftps
      path: /incoming/claims
    local:
      path: ./storage/insurance/claims/outgoing
    files:
      - pattern: \"*.xml\"
    idempotency_mode: hash
    delete_after_upload: true
    schedule_cron: \"0 0 8 * * 1-5\"
";

const OWN: &str = "\
integrations:
  lab:
    entity: insurance
    protocol: sftp
    host: sftp.lab.example
    username: '1234'
    password: hunter2
    sftp:
      host_keys:
        - ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ
    locations:
      answers:
        path: /out
        direction: download
";

fn place() -> Place {
    let place = Place::new();
    place.run(&["entity", "add", "insurance"]).ok();
    place
}

fn outcomes(report: &serde_json::Value) -> Vec<(String, String)> {
    let applied = report["applied"].as_array().unwrap().iter();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    applied
        .map(|one| (text(&one["name"]), text(&one["outcome"])))
        .collect()
}

#[test]
fn xferitys_partner_and_flow_are_applied_as_they_stand_and_twice_is_once() {
    let place = place();
    std::fs::write(place.path().join("xferity.yaml"), XFERITY).unwrap();
    place
        .run(&["apply", "xferity.yaml"])
        .refused(1, "line 1: `entity` is needed");
    let apply = ["apply", "xferity.yaml", "--entity", "insurance"];
    let planned = place.json(&[&apply[..], &["--dry-run"]].concat());
    assert_eq!(planned["dry_run"], true);
    assert_eq!(place.json(&["integration", "list"]), json!([]));
    let report = place.json(&apply);
    let of = |outcome: &str| {
        ["insurance-ftps", "insurance-claims-upload"]
            .map(|name| (name.to_owned(), outcome.to_owned()))
    };
    assert_eq!(outcomes(&report), of("created"));
    assert_eq!(planned["applied"], report["applied"]);
    assert_eq!(outcomes(&place.json(&apply)), of("unchanged"));
    let shown = place.json(&["integration", "show", "insurance-ftps"]);
    assert_eq!(
        shown["secrets"][0]["reference"],
        "env:INSURANCE_FTPS_PASSWORD"
    );
    // What was exported is what was applied.
    let exported = place.run(&["export"]).ok().stdout;
    for line in [
        "password: \"env:INSURANCE_FTPS_PASSWORD\"",
        "partner: insurance-ftps",
        "schedule_cron: \"0 0 8 * * 1-5\"",
    ] {
        assert!(exported.contains(line), "{line}: {exported}");
    }
    let again = place
        .run_with_input(&["apply", "-", "--json"], &exported)
        .ok()
        .json();
    assert_eq!(outcomes(&again), of("unchanged"));
}

#[test]
fn our_own_form_is_applied_changed_and_exported_without_what_is_sealed() {
    let place = place();
    let applied = place.run_with_input(&["apply", "-"], OWN).ok();
    assert!(
        applied.stdout.contains("integration `lab` created"),
        "{applied:?}"
    );
    assert!(applied.stderr.contains("secrets in clear"), "{applied:?}");
    let again = place.run_with_input(&["apply", "-"], OWN).ok();
    assert!(
        again.stdout.contains("integration `lab` unchanged"),
        "{again:?}"
    );
    let changed = OWN
        .replace("path: /out", "path: /other")
        .replace("host: sftp", "host: s2");
    let changed = place.run_with_input(&["apply", "-"], &changed).ok();
    assert!(
        changed
            .stdout
            .contains("host sftp.lab.example -> s2.lab.example"),
        "{changed:?}"
    );
    assert!(
        changed
            .stdout
            .contains("locations.answers /out (download) -> /other (download)"),
        "{changed:?}"
    );
    let exported = place.run(&["export"]).ok().stdout;
    assert!(exported.contains("# password: sealed in the database; it cannot be exported"));
    assert!(!exported.contains("hunter2"));
    let back = place.run_with_input(&["apply", "-"], &exported).ok();
    assert!(
        back.stdout.contains("integration `lab` unchanged"),
        "{back:?}"
    );
    let secrets = place.json(&["secrets", "list"]);
    assert_eq!(
        secrets[0]["form"], "sealed",
        "a secret that the file does not name stays"
    );
}

#[test]
fn all_of_a_file_or_nothing_and_every_mistake_with_its_line() {
    let place = place();
    let two = format!(
        "{OWN}  bad:\n    entity: nobody\n    protocol: sftp\n    host: h\n    username: u\nflows:\n  f:\n    direction: upload\n    target: {{partner: ghost, path: /}}\n    local: {{path: /tmp}}\n"
    );
    let refused = place
        .run_with_input(&["apply", "-"], &two)
        .refused(1, "nothing was changed");
    assert!(
        refused
            .stderr
            .contains("line 16: there is no entity `nobody`"),
        "{refused:?}"
    );
    assert!(
        refused
            .stderr
            .contains("line 21: flow `f` names the integration `ghost`"),
        "{refused:?}"
    );
    let refused = place.run_with_input(&["apply", "-"], &OWN.replace("username", "user"));
    let refused = refused.refused(1, "line 2: `integrations.lab.username` is needed");
    assert!(!refused.stderr.contains("hunter2"), "{refused:?}");
    let unknown = OWN.replace("    locations", "    colour: red\n    locations");
    let unknown = place.run_with_input(&["apply", "-"], &unknown);
    unknown.refused(1, "line 11: `integrations.lab.colour` is no field");
    assert_eq!(place.json(&["integration", "list"]), json!([]));
    place
        .run(&["apply", "nowhere.yaml"])
        .refused(1, "nowhere.yaml");
}

const MISTAKEN: &str = "\
integrations:
  Bad Name:
    entity: insurance
    protocol: sftp
    host: h
    username: u
    colour: red
    locations:
      Also Bad:
        path: /out
        direction: sideways
  lab:
    entity: insurance
    protocol: carrier pigeon
    host: h
    username: u
    sftp:
      auth: magic
flows:
  Worse!:
    direction: sideways
    target: {partner: lab, path: /}
    local: {path: /tmp}
    retries: many
";

#[test]
fn a_bad_name_hides_no_other_mistake() {
    let place = place();
    let refused = place.run_with_input(&["apply", "-"], MISTAKEN);
    let refused = refused.refused(1, "nothing was changed");
    for told in [
        "line 2: ",
        "line 7: `integrations.Bad Name.colour` is no field",
        "line 9: ",
        "line 11: `integrations.Bad Name.locations.Also Bad.direction` must be",
        "line 14: `integrations.lab.protocol` must be",
        "line 18: `integrations.lab.sftp.auth` ",
        "line 20: ",
        "line 21: `flows.Worse!.direction` must be",
        "line 24: `flows.Worse!.retries` must be",
    ] {
        assert!(refused.stderr.contains(told), "{told}: {refused:?}");
    }
    assert!(!refused.stderr.contains("stand-in"), "{refused:?}");
    assert_eq!(refused.stderr.matches("line ").count(), 9, "{refused:?}");
}

const REFUSED: &str = "\
flows:
  first:
    direction: download
    target: {partner: lab, location: answers}
    local: {account: nobody, path: /in}
  second:
    direction: upload
    target: {partner: lab, location: answers}
    local: {path: /tmp}
  third:
    direction: upload
    target: {partner: lab, location: nowhere}
    local: {path: /tmp}
  fourth:
    direction: upload
    target: {partner: lab, path: /}
    local: {account: stranger, path: /}
  fifth:
    direction: upload
    target: {partner: ghost, path: /}
    local: {account: nobody, path: /}
  good:
    direction: upload
    target: {partner: lab, path: /}
    local: {path: /tmp}
expectations:
  e:
    local: {account: nobody, path: /}
    file: a.csv
    by: '06:00'
";

#[test]
fn what_the_database_does_not_allow_is_told_all_at_once_and_by_line() {
    let place = place();
    place.run(&["entity", "add", "other"]).ok();
    let stranger = ["account", "add", "stranger", "--entity", "other"];
    let how = ["--allow", "127.0.0.1"];
    place.run(&[&stranger[..], &how].concat()).ok();
    let both = format!("{OWN}{REFUSED}");
    let refused = place.run_with_input(&["apply", "-"], &both);
    let refused = refused.refused(1, "nothing was changed");
    let at = |line: usize| OWN.lines().count() + line;
    for (line, told) in [
        (2, "flow `first`: there is no account `nobody`"),
        (6, "flow `second` is an upload, and the location `answers`"),
        (10, "flow `third`: "),
        (
            14,
            "flow `fourth` moves files between a home of entity `other`",
        ),
        (18, "flow `fifth` names the integration `ghost`"),
        (18, "flow `fifth`: there is no account `nobody`"),
        (27, "expectation `e`: there is no account `nobody`"),
    ] {
        let told = format!("line {}: {told}", at(line));
        assert!(refused.stderr.contains(&told), "{told}: {refused:?}");
    }
    assert_eq!(place.json(&["integration", "list"]), json!([]));
    assert_eq!(place.json(&["flow", "list"]), json!([]));
}

#[test]
fn hardened_mode_refuses_a_file_and_names_every_integration() {
    let place = place();
    place.settings("[storage]\nfsync = \"never\"\n[outbound]\nhardened = true\n");
    let two = format!(
        "{OWN}  plain:\n    entity: insurance\n    protocol: ftp\n    host: h\n    username: u\n"
    );
    let refused = place
        .run_with_input(&["apply", "-"], &two)
        .refused(1, "integration `lab`: the password was typed in");
    assert!(
        refused.stderr.contains("integration `plain`: plain ftp"),
        "{refused:?}"
    );
    assert_eq!(place.json(&["integration", "list"]), json!([]));
    let referred = OWN.replace("password: hunter2", "password: env:LAB");
    place.run_with_input(&["apply", "-"], &referred).ok();
}
