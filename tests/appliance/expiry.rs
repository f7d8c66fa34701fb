//! Files go when their time is over, by arrival and by nothing else. Real clock, short keeps.

use std::path::{Path, PathBuf};
use std::time::Duration;

use layover_retention::Timestamp;
use layover_tests::account::Account;
use layover_tests::openssh;
use layover_tests::packet::{open, status};
use layover_tests::skip::skip;
use layover_tests::storage::Undeletable;
use layover_tests::wait::{self, PATIENCE};
use layover_tests::{Engine, Layover, Setup, on_both_engines};
use serde_json::Value;

use crate::ledger;

/// The sweep period of the servers under test, as `Setup` sets it.
const PERIOD: Duration = Duration::from_secs(1);

/// What a busy machine with two cores may add.
const SLACK: Duration = Duration::from_secs(3);

const DAY: Duration = Duration::from_secs(24 * 3600);

fn serve_with_keep(engine: Engine, keep: &str) -> (Layover, Account) {
    let layover = Setup::new(engine).prepare();
    let account = layover.account("partner").with(&["--keep", keep]).add();
    layover.start();
    (layover, account)
}

fn stored_path(layover: &Layover, name: &str) -> PathBuf {
    layover.homes().join("partner").join(name)
}

fn wait_until_gone(path: &Path) {
    wait::until(&format!("{} to go", path.display()), PATIENCE, || {
        (!path.exists()).then_some(())
    });
}

/// The journal's entries about removal of this path by retention, oldest first.
fn removals(layover: &Layover, path: &str) -> Vec<Value> {
    let rows = layover.rows(&["journal", "--limit", "0", "--kind", "retention"]);
    rows.into_iter()
        .filter(|row| row["path"] == path && row["outcome"] == "ok")
        .collect()
}

fn removal(layover: &Layover, path: &str) -> Value {
    wait::until(
        &format!("the journal to tell of the removal of {path}"),
        PATIENCE,
        || removals(layover, path).into_iter().next(),
    )
}

on_both_engines!(
    a_file_is_gone_after_its_keep_and_one_sweep_period_and_its_neighbour_is_not,
    r01_the_partners_dates_decide_nothing,
    a_changed_keep_holds_for_files_already_stored,
);

fn a_file_is_gone_after_its_keep_and_one_sweep_period_and_its_neighbour_is_not(engine: Engine) {
    let layover = Setup::new(engine).prepare();
    let short = layover.account("partner").with(&["--keep", "5s"]).add();
    let long = layover.account("neighbour").add();
    layover.start();
    short
        .sftp(&layover)
        .put(b"/file", b"goes soon")
        .expect("put");
    long.sftp(&layover).put(b"/file", b"stays").expect("put");
    let row = ledger::file(&layover, "partner", "/file");
    assert_eq!(
        row.expires_at().duration_since(row.arrived_at()),
        Duration::from_secs(5)
    );
    wait_until_gone(&stored_path(&layover, "file"));
    let removed_at = ledger::time(&removal(&layover, "/file")["at"]);
    assert!(
        removed_at >= row.expires_at(),
        "removed early: {removed_at}"
    );
    let late = removed_at.duration_since(row.expires_at());
    assert!(late <= PERIOD + SLACK, "removed {late:?} late");
    assert_eq!(removals(&layover, "/file").len(), 1);
    assert_eq!(long.sftp(&layover).get(b"/file").expect("get"), b"stays");
    assert!(ledger::stored(&layover, "partner").is_empty());
}

/// R01 (sftpgo#2074, nextcloud#3572).
fn r01_the_partners_dates_decide_nothing(engine: Engine) {
    let (layover, account) = serve_with_keep(engine, "5s");
    let login = account.by_key(&layover);
    for (name, date) in [("past", "200102030405"), ("future", "203711121314")] {
        let source = account.client_dir.join(name);
        std::fs::write(&source, name).expect("write source");
        let mut touch = std::process::Command::new("touch");
        touch.args(["-t", date]).arg(&source);
        layover_tests::process::run(&mut touch, b"", PATIENCE).expect_ok();
        let commands = format!("put -p {} /{name}\n", source.display());
        openssh::sftp(&login, &[], &commands, PATIENCE).expect_ok();
    }
    let rows = ["past", "future"]
        .map(|name| (name, ledger::file(&layover, "partner", &format!("/{name}"))));
    for (name, row) in rows {
        let keep = row.expires_at().duration_since(row.arrived_at());
        assert_eq!(keep, Duration::from_secs(5), "{name}");
        wait_until_gone(&stored_path(&layover, name));
        let removed_at = ledger::time(&removal(&layover, &format!("/{name}"))["at"]);
        assert!(
            removed_at >= row.expires_at(),
            "{name} was removed early: {removed_at}"
        );
    }
}

fn a_changed_keep_holds_for_files_already_stored(engine: Engine) {
    let (layover, account) = serve_with_keep(engine, "2d");
    account
        .sftp(&layover)
        .put(b"/file", b"content")
        .expect("put");
    let before = ledger::file(&layover, "partner", "/file");
    layover.admin(&["account", "set", "partner", "--keep", "3d"]);
    let after = ledger::file(&layover, "partner", "/file");
    assert_eq!(after.arrived_at(), before.arrived_at());
    assert_eq!(
        after.expires_at().duration_since(after.arrived_at()),
        DAY * 3
    );
    layover.admin(&["account", "set", "partner", "--keep", "1s"]);
    wait_until_gone(&stored_path(&layover, "file"));
}

#[test]
fn r01_listings_show_the_partners_date_all_the_same() {
    let (layover, account) = serve_with_keep(Engine::Sqlite, "5d");
    let mut sftp = account.sftp(&layover);
    sftp.put(b"/file", b"content").expect("put");
    let before = ledger::file(&layover, "partner", "/file");
    for date_s in [981_173_106, 2_141_640_840] {
        sftp.set_times(b"/file", date_s, date_s).expect("set times");
        assert_eq!(sftp.stat(b"/file").expect("stat").modified_s, Some(date_s));
        let after = ledger::file(&layover, "partner", "/file");
        assert_eq!(after.arrived_at(), before.arrived_at());
        assert_eq!(after.expires_at(), before.expires_at());
    }
}

#[test]
fn an_expired_file_is_neither_listed_nor_opened_although_no_sweep_ran() {
    let layover = Setup::new(Engine::Sqlite)
        .set("retention", "sweep_every", "\"1h\"")
        .prepare();
    let account = layover.account("partner").with(&["--keep", "3s"]).add();
    layover.start();
    let mut sftp = account.sftp(&layover);
    sftp.put(b"/file", b"content").expect("put");
    sftp.put(b"/other", b"content").expect("put");
    wait::until("the file to expire", PATIENCE, || sftp.stat(b"/file").err());
    wait::until("the other file to expire", PATIENCE, || {
        sftp.stat(b"/other").err()
    });
    assert_eq!(
        sftp.open(b"/file", open::READ).expect_err("open").code(),
        Some(status::NO_SUCH_FILE)
    );
    assert!(sftp.names(b"/").expect("list").is_empty());
    assert!(
        stored_path(&layover, "file").exists(),
        "a sweep ran, so this showed nothing"
    );
}

#[test]
fn a_download_under_way_at_expiry_gets_every_byte() {
    let (layover, account) = serve_with_keep(Engine::Sqlite, "2s");
    let mut sftp = account.sftp(&layover);
    let content = vec![42; 200_000];
    sftp.put(b"/file", &content).expect("put");
    let handle = sftp.open(b"/file", open::READ).expect("open");
    wait_until_gone(&stored_path(&layover, "file"));
    let mut read = Vec::new();
    loop {
        let chunk = sftp
            .read(&handle, read.len() as u64, 32_768)
            .expect("read after expiry");
        if chunk.is_empty() {
            break;
        }
        read.extend_from_slice(&chunk);
    }
    assert!(
        read == content,
        "the download was cut to {} bytes",
        read.len()
    );
}

/// R02: the first undeletable file stopped the whole run.
#[test]
fn r02_one_undeletable_file_never_stops_the_rest() {
    let (layover, account) = serve_with_keep(Engine::Sqlite, "5s");
    let mut sftp = account.sftp(&layover);
    for name in [&b"/1-stuck"[..], b"/2-goes", b"/3-goes"] {
        sftp.put(name, b"content").expect("put");
    }
    let stuck = stored_path(&layover, "1-stuck");
    let guard = match Undeletable::make(&stuck) {
        Ok(guard) => guard,
        Err(why) => return skip(&why),
    };
    wait_until_gone(&stored_path(&layover, "2-goes"));
    wait_until_gone(&stored_path(&layover, "3-goes"));
    assert!(stuck.exists());
    let status = wait::until("the sweep's report to show the failure", PATIENCE, || {
        let status = layover.json(&["retention", "status"]);
        status["oldest_overdue_s"]
            .as_u64()
            .filter(|overdue| *overdue > 0)?;
        Some(status)
    });
    assert_eq!(status["due_files"], 1, "{status}");
    drop(guard);
    wait_until_gone(&stuck);
}

#[test]
fn r02_files_of_a_removed_account_go_too() {
    let (layover, account) = serve_with_keep(Engine::Sqlite, "4s");
    account
        .sftp(&layover)
        .put(b"/file", b"content")
        .expect("put");
    layover.admin(&["account", "remove", "partner"]);
    let path = stored_path(&layover, "file");
    assert!(
        path.exists(),
        "removing an account must not delete its files at once"
    );
    wait_until_gone(&path);
    removal(&layover, "/file");
}

#[test]
fn r02_what_fell_due_while_the_server_was_down_goes_after_its_start() {
    let (layover, account) = serve_with_keep(Engine::Sqlite, "2s");
    account
        .sftp(&layover)
        .put(b"/file", b"content")
        .expect("put");
    layover.kill_9();
    wait::until("the file to fall due", PATIENCE, || {
        let status = layover.json(&["retention", "status"]);
        (status["due_files"] == 1).then_some(())
    });
    let path = stored_path(&layover, "file");
    assert!(path.exists());
    layover.start();
    wait_until_gone(&path);
}

#[test]
fn an_overwrite_starts_the_clock_again_and_a_change_in_place_does_not() {
    let (layover, account) = serve_with_keep(Engine::Sqlite, "5d");
    let mut sftp = account.sftp(&layover);
    sftp.put(b"/file", b"0123456789").expect("put");
    let arrived = |layover: &Layover| ledger::file(layover, "partner", "/file").arrived_at();
    let first: Timestamp = arrived(&layover);
    // The ledger is shown in whole seconds.
    wait::until("the next second", PATIENCE, || {
        let now = layover.json(&["status"]);
        drop(now);
        sftp.put(b"/probe", b"x").expect("put");
        let probe = ledger::file(&layover, "partner", "/probe").arrived_at();
        (probe.duration_since(first) >= Duration::from_secs(1)).then_some(())
    });
    let handle = sftp.open(b"/file", open::WRITE).expect("open for writing");
    sftp.write(&handle, 2, b"xy").expect("write");
    sftp.close(&handle).expect("close");
    assert_eq!(sftp.get(b"/file").expect("get"), b"01xy456789");
    assert_eq!(
        arrived(&layover),
        first,
        "a change in place kept its arrival"
    );
    let handle = sftp
        .open(b"/file", open::WRITE | open::APPEND)
        .expect("open for appending");
    sftp.write(&handle, 0, b"!").expect("append");
    sftp.close(&handle).expect("close");
    assert_eq!(sftp.get(b"/file").expect("get"), b"01xy456789!");
    assert_eq!(arrived(&layover), first, "an append kept its arrival");
    sftp.rename(b"/file", b"/moved").expect("rename");
    sftp.rename(b"/moved", b"/file").expect("rename back");
    assert_eq!(arrived(&layover), first, "a rename kept its arrival");
    sftp.put(b"/file", b"new content").expect("overwrite");
    assert!(
        arrived(&layover) > first,
        "new whole content starts a new clock"
    );
}

#[test]
fn a_keep_beyond_the_maximum_is_refused_everywhere() {
    let layover = Setup::new(Engine::Sqlite)
        .set("retention", "keep", "\"2d\"")
        .set("retention", "max_keep", "\"3d\"")
        .prepare();
    layover.account("partner").with(&["--keep", "3d"]).add();
    let over = "259201s";
    for command in [
        vec!["account", "set", "partner", "--keep", over],
        vec![
            "account", "add", "other", "--entity", "acme", "--keep", over,
        ],
        vec!["entity", "add", "other", "--keep", over],
    ] {
        let ran = layover.run(&command).expect_code(1);
        assert!(
            ran.stderr.contains("3d"),
            "the message should name the limit: {ran}"
        );
    }
}

#[test]
fn a_dry_run_tells_what_would_go_and_deletes_nothing() {
    let layover = Setup::new(Engine::Sqlite)
        .set("retention", "sweep_every", "\"1h\"")
        .prepare();
    let account = layover.account("partner").with(&["--keep", "1s"]).add();
    layover.start();
    account
        .sftp(&layover)
        .put(b"/file", b"content")
        .expect("put");
    let ran = wait::until("the file to be due", PATIENCE, || {
        let ran = layover.admin(&["retention", "sweep", "--dry-run"]);
        ran.stdout.contains("/file").then_some(ran)
    });
    assert!(
        stored_path(&layover, "file").exists(),
        "a dry run deleted: {ran}"
    );
    layover.admin(&["retention", "sweep"]);
    assert!(
        !stored_path(&layover, "file").exists(),
        "a sweep by hand deletes what is due"
    );
}
