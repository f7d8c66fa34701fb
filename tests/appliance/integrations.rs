//! Partners' own servers, as an operator tries them: `integration test`, its alias, and
//! `integration list-files`.

use std::path::Path;

use layover_tests::partner_ftps::PartnerFtps;
use layover_tests::process::Ran;
use layover_tests::{Account, Engine, Layover, Setup, on_both_engines};
use serde_json::Value;

const PASSWORD: &str = "correct-horse-7";

on_both_engines!(
    an_ftps_server_is_tried_and_listed_and_a_wrong_password_is_told_with_its_remedy,
    an_sftp_server_is_trusted_once_its_key_is_confirmed_and_then_tried_and_listed,
    plain_ftp_is_warned_of_at_each_use_and_refused_when_hardened,
);

/// Keeps an integration of the entity `acme`.
fn add(layover: &Layover, name: &str, protocol: &str, more: &[&str]) {
    let fixed = ["integration", "add", name, "--entity", "acme"];
    let spoken = ["--protocol", protocol, "--host", "127.0.0.1"];
    layover.admin(&[&fixed[..], &spoken, more].concat());
}

#[track_caller]
fn document(ran: &Ran) -> Value {
    serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran}"))
}

/// The finding of a step.
#[track_caller]
fn finding<'a>(document: &'a Value, step: &str) -> &'a Value {
    let mut findings = document["findings"].as_array().expect("findings").iter();
    let found = findings.find(|one| one["step"] == step);
    found.unwrap_or_else(|| panic!("no {step}: {document:#}"))
}

#[track_caller]
fn all_well(document: &Value) {
    assert_eq!(document["works"], true, "{document:#}");
    for finding in document["findings"].as_array().expect("findings") {
        let outcome = finding["outcome"].as_str().expect("an outcome");
        assert!(matches!(outcome, "ok" | "skipped"), "{finding:#}");
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("read the partner's folder");
    let mut names: Vec<_> = entries
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .into_string()
                .expect("text")
        })
        .collect();
    names.sort();
    names
}

fn an_ftps_server_is_tried_and_listed_and_a_wrong_password_is_told_with_its_remedy(engine: Engine) {
    let partner = PartnerFtps::start("us", PASSWORD);
    std::fs::write(partner.files().join("a report.csv"), b"0123456789").expect("write");
    let layover = Setup::new(engine).prepare();
    layover.run(&["entity", "add", "acme"]);
    let secret = layover.scratch().join("password");
    std::fs::write(&secret, "hunter2-of-another\n").expect("write");
    let port = partner.address().port().to_string();
    let reference = format!("file:{}", secret.display());
    let ca = partner.certificate();
    let ca = ca.to_str().expect("text");
    add(
        &layover,
        "bank",
        "ftps",
        &[
            "--port",
            &port,
            "--username",
            "us",
            "--password",
            &reference,
            "--ca-certificate",
            ca,
        ],
    );
    layover.admin(&["location", "add", "bank", "box", "/", "--direction", "both"]);

    let refused = layover
        .run(&["integration", "test", "bank", "--json"])
        .expect_code(1);
    let told = document(&refused);
    assert_eq!(told["works"], false);
    let login = finding(&told, "login");
    assert_eq!(login["outcome"], "failed", "{told:#}");
    let remedy = login["what_to_do"].as_str().expect("a remedy");
    assert!(
        remedy.contains("integration set bank --password"),
        "{remedy}"
    );
    assert!(!refused.text().contains("hunter2"), "{refused}");
    assert_eq!(finding(&told, "list")["outcome"], "skipped");
    layover
        .run(&["integration", "list-files", "bank", "box"])
        .expect_code(1);

    // Secrets are fetched at each use.
    std::fs::write(&secret, PASSWORD).expect("write");
    let told = layover.json(&["integration", "test", "bank"]);
    all_well(&told);
    assert_eq!(finding(&told, "write")["subject"], "box");
    assert_eq!(names(&partner.files()), ["a report.csv"]);
    all_well(&layover.json(&["doctor", "integration", "bank"]));
    let quiet = layover.json(&["integration", "test", "bank", "--no-write"]);
    assert_eq!(finding(&quiet, "write")["outcome"], "skipped");
    let text = layover.admin(&["integration", "test", "bank"]).stdout;
    assert!(
        text.contains("valid from") && text.contains("1 files"),
        "{text}"
    );

    let rows = layover.rows(&["integration", "list-files", "bank", "box"]);
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_eq!(rows[0]["name"], "a report.csv");
    assert_eq!(
        (&rows[0]["size_bytes"], &rows[0]["kind"]),
        (&10.into(), &"file".into())
    );
    layover
        .run(&["integration", "list-files", "bank", "nowhere"])
        .expect_code(1);
    // When the partner's certificate expires is known from now on.
    let learned = &layover.json(&["integration", "show", "bank"])["learned"];
    assert!(
        learned["certificate"]["expires_at"].is_string(),
        "{learned}"
    );
}

fn an_sftp_server_is_trusted_once_its_key_is_confirmed_and_then_tried_and_listed(engine: Engine) {
    // The partner runs Layover, too.
    let partner = Setup::new(Engine::Sqlite).prepare();
    let account: Account = partner.account("us").add();
    let layover = Setup::new(engine).prepare();
    layover.run(&["entity", "add", "acme"]);
    let more = ["--username", "us", "--auth", "key"];
    add(&layover, "lab", "sftp", &more);
    layover.admin(&["location", "add", "lab", "box", "/", "--direction", "both"]);
    let public = layover
        .admin(&["integration", "key", "rotate", "lab"])
        .stdout;
    let file = partner.scratch().join("key.pub");
    std::fs::write(&file, public).expect("write");
    let file = file.to_str().expect("text");
    partner.admin(&["account", "key", "add", "us", file]);
    partner.start();
    let port = partner.sftp_address().port().to_string();
    layover.admin(&["integration", "set", "lab", "--port", &port]);

    let refused = layover.run(&["integration", "test", "lab"]).expect_code(1);
    let keys = layover.rows(&["integration", "host-key", "list", "lab"]);
    assert_eq!(keys.len(), 1, "{keys:?}");
    let print = keys[0]["fingerprint"].as_str().expect("a fingerprint");
    let confirm = format!("layover integration host-key confirm lab {print}");
    assert!(refused.stdout.contains(&confirm), "{refused}");
    let listing = layover
        .run(&["integration", "list-files", "lab", "box"])
        .expect_code(1);
    assert!(listing.stderr.contains(&confirm), "{listing}");
    layover.admin(&["integration", "host-key", "confirm", "lab", print]);

    let mut sftp = account.sftp(&partner);
    sftp.put(b"/for us", b"0123456789").expect("put");
    all_well(&layover.json(&["integration", "test", "lab"]));
    let rows = layover.rows(&["integration", "list-files", "lab", "box"]);
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_eq!(
        (&rows[0]["name"], &rows[0]["precision"]),
        (&"for us".into(), &"second".into())
    );
    assert_eq!(sftp.names(b"/").expect("list"), ["for us"]);
    let journal = layover.rows(&["journal", "--limit", "100"]);
    assert!(
        journal
            .iter()
            .any(|entry| entry["action"] == "host_key.seen")
    );
}

fn plain_ftp_is_warned_of_at_each_use_and_refused_when_hardened(engine: Engine) {
    let partner = PartnerFtps::start("us", PASSWORD);
    let port = partner.address().port().to_string();
    let layover = Setup::new(engine).prepare();
    layover.run(&["entity", "add", "acme"]);
    let more = [
        "--username",
        "us",
        "--password",
        "env:HOME",
        "--port",
        &port,
    ];
    add(&layover, "old", "ftp", &more);
    let tried = layover.run(&["integration", "test", "old", "--json"]);
    assert!(tried.stderr.contains("old: PLAIN FTP"), "{tried}");
    let tls = document(&tried);
    assert_eq!(finding(&tls, "tls")["outcome"], "warning", "{tls:#}");

    let mut hardened = layover.command();
    hardened
        .env("LAYOVER__OUTBOUND__HARDENED", "true")
        .args(["integration", "test", "old"]);
    let ran = layover_tests::process::run(&mut hardened, b"", layover_tests::wait::PATIENCE);
    let ran = ran.expect_code(1);
    assert!(
        ran.stdout
            .contains("hardened mode does not use integration `old`"),
        "{ran}"
    );
    assert!(ran.stdout.contains("plain ftp"), "{ran}");
}
