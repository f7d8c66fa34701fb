//! What the server rests on goes away while it serves, and comes back: nothing that was acknowledged
//! is lost, and nothing is acknowledged that would be.

use std::collections::BTreeMap;

use layover_tests::account::PASSWORD;
use layover_tests::partner::Why;
use layover_tests::skip::skip;
use layover_tests::storage::Disk;
use layover_tests::wait::{self, PATIENCE};
use layover_tests::{Engine, Layover, Protocol, Setup, http, over_both_protocols};
use serde_json::Value;

use crate::faults::WriteLock;
use crate::ledger;

/// Whether `/health/ready` says so.
fn is_ready(layover: &Layover) -> bool {
    http::get(layover.console_address(), "/health/ready").status == 200
}

#[test]
fn a_postgresql_that_goes_and_comes_back_loses_nothing_by_sftp() {
    a_database_server_goes_and_comes_back(Protocol::Sftp);
}

#[test]
fn a_postgresql_that_goes_and_comes_back_loses_nothing_by_ftps() {
    a_database_server_goes_and_comes_back(Protocol::Ftps);
}

fn a_database_server_goes_and_comes_back(protocol: Protocol) {
    if !Engine::Postgres.available() {
        return;
    }
    let layover = Setup::new(Engine::Postgres).prepare();
    let account = layover.account("partner").password(PASSWORD).add();
    layover.start();
    let mut partner = account.partner(&layover, protocol);
    partner.put(b"/kept", b"kept content").expect("put");
    let mut writer = account.partner(&layover, protocol);
    writer
        .begin_upload(b"/open", b"first half, ")
        .expect("begin");

    layover.take_database_away();
    let refused = partner
        .put(b"/new", b"content")
        .expect_err("nobody would know of it");
    assert_eq!(refused.why, Why::Other, "{refused:?}");
    let refused = writer
        .finish_upload(b"second half")
        .expect_err("nobody would know of it");
    assert_eq!(refused.why, Why::Other, "{refused:?}");
    wait::until("health to tell", PATIENCE, || {
        (!is_ready(&layover)).then_some(())
    });
    layover.run(&["status"]).expect_code(1);

    layover.give_database_back();
    wait::until("an upload to succeed", PATIENCE, || {
        partner.put(b"/new", b"content").ok()
    });
    wait::until("health to be good", PATIENCE, || {
        is_ready(&layover).then_some(())
    });
    assert_eq!(partner.get(b"/kept").expect("get"), b"kept content");
    assert_eq!(partner.get(b"/new").expect("get"), b"content");
    let mut late = account.partner(&layover, protocol);
    late.put(b"/open", b"again").expect("put");
    ledger::agrees_with_tree(&layover, "partner");
    assert_eq!(ledger::stored(&layover, "partner").len(), 3);
    layover.admin(&["journal", "verify"]);
}

/// What only asks is answered, so that such a server would pass for a good one.
#[test]
fn a_locked_sqlite_is_told_of_by_health_and_metrics() {
    let layover = Setup::new(Engine::Sqlite).prepare();
    layover.start();
    wait_for_writes(&layover, true);
    let lock = WriteLock::take(&layover);
    wait_for_writes(&layover, false);
    let ran = layover.run(&["status", "--health"]).expect_code(1);
    assert!(ran.stderr.contains("it takes no writes"), "{ran}");
    drop(lock);
    wait_for_writes(&layover, true);
    layover.run(&["status", "--health"]).expect_ok();
}

/// As one in recovery: a standby that took over too early, for one.
#[test]
fn a_postgresql_that_takes_no_writes_is_told_of_by_health_and_metrics() {
    if !Engine::Postgres.available() {
        return;
    }
    let layover = Setup::new(Engine::Postgres).prepare();
    layover.start();
    wait_for_writes(&layover, true);
    layover.set_database_read_only(true);
    wait_for_writes(&layover, false);
    layover.set_database_read_only(false);
    wait_for_writes(&layover, true);
}

/// Waits until readiness and metrics say whether the database takes writes.
fn wait_for_writes(layover: &Layover, takes: bool) {
    let up = ("layover_database_up".to_owned(), BTreeMap::new());
    wait::until(&format!("writes to be taken: {takes}"), PATIENCE, || {
        let answer = http::get(layover.console_address(), "/health/ready");
        let found: Value = serde_json::from_str(&answer.body).expect("JSON");
        let mut checks = found["checks"].as_array().expect("checks").iter();
        let database = checks.find(|check| check["check"] == "database");
        let is_ok = database.expect("a check")["ok"] == true;
        assert!(is_ok || answer.status == 503, "{found}");
        let metrics = http::get(layover.console_address(), "/metrics");
        let is_up = http::parse_metrics(&metrics.body)[&up] == 1.0;
        (is_ok == takes && is_up == takes).then_some(())
    });
}

#[test]
fn a_session_that_ends_while_postgresql_is_away_gives_its_place_back_by_sftp() {
    a_place_comes_back(Protocol::Sftp);
}

#[test]
fn a_session_that_ends_while_postgresql_is_away_gives_its_place_back_by_ftps() {
    a_place_comes_back(Protocol::Ftps);
}

/// Else the account's one place would be taken by a session that nobody has.
fn a_place_comes_back(protocol: Protocol) {
    if !Engine::Postgres.available() {
        return;
    }
    let layover = Setup::new(Engine::Postgres).prepare();
    let account = layover
        .account("partner")
        .password(PASSWORD)
        .with(&["--max-sessions", "1"])
        .add();
    layover.start();
    let partner = account.partner(&layover, protocol);
    layover.take_database_away();
    drop(partner);
    wait::until("the end to fail", PATIENCE, || {
        let told = layover.log().contains("could not be recorded yet");
        told.then_some(())
    });
    layover.give_database_back();
    let again = wait::until("the place", PATIENCE, || {
        let tried = account.try_partner_at(protocol.address(&layover), protocol);
        tried.ok()
    });
    assert_eq!(layover.rows(&["session", "list"]).len(), 1);
    let journal = layover.rows(&["journal", "--kind", "login", "--limit", "0"]);
    let ends = journal.iter().filter(|entry| entry["action"] == "logout");
    assert_eq!(ends.count(), 1, "{journal:#?}");
    drop(again);
}

/// Room for homes and data, in MiB.
const DISK_MIB: u64 = 96;

over_both_protocols!(
    Sqlite:
    a_disk_that_turns_read_only_loses_nothing_and_is_told_of,
);

fn a_disk_that_turns_read_only_loses_nothing_and_is_told_of(protocol: Protocol) {
    let dir = tempfile::TempDir::with_prefix("layover-disk-").expect("make folder");
    let at = dir.path().join("mount");
    let disk = match Disk::mount(&dir.path().join("image"), &at, DISK_MIB) {
        Ok(disk) => disk,
        Err(why) => return skip(&why),
    };
    let layover = Setup::new(Engine::Sqlite)
        .homes(&at.join("homes"))
        .data_dir(&at.join("data"))
        .prepare();
    let account = layover.account("partner").password(PASSWORD).add();
    layover.start();
    let mut partner = account.partner(&layover, protocol);
    partner.put(b"/kept", b"kept content").expect("put");
    partner.put(b"/replaced", b"old").expect("put");

    disk.fail();
    for (what, outcome) in [
        ("new", partner.put(b"/new", b"content")),
        ("overwrite", partner.put(b"/replaced", b"new")),
        ("remove", partner.remove(b"/kept")),
        ("mkdir", partner.make_dir(b"/dir")),
    ] {
        let refused = outcome.expect_err(what);
        assert_eq!(refused.why, Why::Other, "{what}: {refused:?}");
    }
    wait::until("health to tell", PATIENCE, || {
        (!is_ready(&layover)).then_some(())
    });
    drop(partner);
    layover.kill_9();
    let ran = layover.run(&["serve"]).expect_code(1);
    assert!(ran.stderr.to_lowercase().contains("read-only"), "{ran}");

    disk.repair();
    layover.start();
    let mut partner = account.partner(&layover, protocol);
    assert_eq!(partner.get(b"/kept").expect("get"), b"kept content");
    assert_eq!(partner.get(b"/replaced").expect("get"), b"old");
    partner.put(b"/new", b"content").expect("writable again");
    ledger::agrees_with_tree(&layover, "partner");
    assert_eq!(ledger::stored(&layover, "partner").len(), 3);
    layover.admin(&["journal", "verify"]);
    // The server before its disk: a mount that is in use stays.
    drop(layover);
    drop(disk);
}
