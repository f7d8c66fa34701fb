//! The journal tells what happened, once, with the values that matter.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use layover_tests::account::PASSWORD;
use layover_tests::wait::{self, PATIENCE};
use layover_tests::{Account, Engine, Layover, Protocol, Setup, over_both_protocols};
use serde_json::Value;

use crate::ledger;

fn serve(engine: Engine) -> (Layover, Account) {
    let layover = Setup::new(engine).prepare();
    let account = layover.account("partner").password(PASSWORD).add();
    layover.start();
    (layover, account)
}

fn entries(layover: &Layover, kind: &str) -> Vec<Value> {
    layover.rows(&[
        "journal",
        "--limit",
        "0",
        "--account",
        "partner",
        "--kind",
        kind,
    ])
}

fn wait_for_entry(layover: &Layover, kind: &str, action: &str) -> Value {
    wait::until(&format!("`{action}` in the journal"), PATIENCE, || {
        entries(layover, kind)
            .into_iter()
            .find(|entry| entry["action"] == action)
    })
}

over_both_protocols!(
    each_transfer_is_told_once_with_its_values,
    an_interrupted_upload_is_told_as_failed,
);

fn each_transfer_is_told_once_with_its_values(protocol: Protocol, engine: Engine) {
    let (layover, account) = serve(engine);
    let mut partner = account.partner(&layover, protocol);
    partner.put(b"/file", b"0123456789").expect("put");
    partner.get(b"/file").expect("get");
    partner.remove(b"/file").expect("remove");
    for action in ["upload", "download"] {
        let entry = wait_for_entry(&layover, "transfer", action);
        assert_eq!(entry["outcome"], "ok", "{entry}");
        assert_eq!(entry["account"], "partner", "{entry}");
        assert_eq!(entry["entity"], "acme", "{entry}");
        assert_eq!(entry["peer"], "127.0.0.1", "{entry}");
        assert_eq!(entry["protocol"], protocol.name(), "{entry}");
        assert_eq!(entry["path"], "/file", "{entry}");
        assert_eq!(entry["size_bytes"], 10, "{entry}");
        assert!(entry["duration_ms"].is_u64(), "{entry}");
        assert!(
            entry["session"].as_str().is_some_and(|id| id.len() == 16),
            "{entry}"
        );
        ledger::time(&entry["at"]);
    }
    let uploads = entries(&layover, "transfer")
        .iter()
        .filter(|entry| entry["action"] == "upload")
        .count();
    assert_eq!(uploads, 1);
    let login = wait_for_entry(&layover, "login", "login");
    assert_eq!(login["outcome"], "ok", "{login}");
    let told: Vec<Value> = layover.rows(&["journal", "--limit", "0", "--account", "partner"]);
    assert!(
        told.iter()
            .any(|entry| entry["action"] == "delete" || entry["action"] == "remove")
    );
}

#[test]
fn every_administrative_change_is_told_with_its_actor() {
    let (layover, _) = serve(Engine::Sqlite);
    layover.admin(&["account", "set", "partner", "--keep", "2d"]);
    layover.admin(&[
        "account",
        "allow",
        "add",
        "partner",
        "10.0.0.0/8",
        "--reason",
        "ticket 7",
    ]);
    layover.admin(&[
        "account",
        "permission",
        "set",
        "partner",
        "/in",
        "list,write",
    ]);
    layover.admin(&["account", "disable", "partner"]);
    let told = entries(&layover, "admin");
    assert!(
        told.len() >= 5,
        "added, set, allowed, permitted, disabled: {told:?}"
    );
    for entry in &told {
        assert_eq!(entry["outcome"], "ok", "{entry}");
        let actor = entry["detail"]["actor"].as_str().unwrap_or_default();
        assert!(!actor.is_empty(), "no actor: {entry}");
    }
    let text = serde_json::to_string(&told).expect("as text");
    assert!(
        text.contains("ticket 7") && text.contains("10.0.0.0/8"),
        "{text}"
    );
}

#[test]
fn a_refused_change_is_told_nowhere_and_changes_nothing() {
    let (layover, _) = serve(Engine::Sqlite);
    let before = layover
        .rows(&["journal", "--limit", "0", "--kind", "admin"])
        .len();
    layover
        .run(&["account", "set", "partner", "--keep", "400d"])
        .expect_code(1);
    layover
        .run(&["account", "add", "partner", "--entity", "acme"])
        .expect_code(1);
    layover.run(&["entity", "remove", "acme"]).expect_code(1);
    assert_eq!(
        layover
            .rows(&["journal", "--limit", "0", "--kind", "admin"])
            .len(),
        before
    );
    assert_eq!(layover.rows(&["account", "list"]).len(), 1);
}

#[test]
fn the_journal_can_be_followed() {
    let (layover, account) = serve(Engine::Sqlite);
    let mut follower = layover
        .command()
        .args(["journal", "--follow", "--kind", "transfer", "--json"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("start follower");
    let stdout = follower.stdout.take().expect("stdout is piped");
    let (lines, news) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if lines.send(line).is_err() {
                return;
            }
        }
    });
    account
        .sftp(&layover)
        .put(b"/news", b"content")
        .expect("put");
    let line = news.recv_timeout(PATIENCE);
    follower.kill().ok();
    follower.wait().ok();
    let entry: Value =
        serde_json::from_str(&line.expect("news in time")).expect("one object a line");
    assert_eq!(entry["path"], "/news", "{entry}");
}

fn an_interrupted_upload_is_told_as_failed(protocol: Protocol, engine: Engine) {
    let (layover, account) = serve(engine);
    let mut partner = account.partner(&layover, protocol);
    partner.begin_upload(b"/file", b"half").expect("begin");
    drop(partner);
    let entry = wait_for_entry(&layover, "transfer", "upload");
    assert_eq!(entry["outcome"], "failed", "{entry}");
    assert_eq!(entry["path"], "/file", "{entry}");
}
