//! Files go when their time is over, by arrival and by nothing else. Real clock, short keeps.

use std::path::{Path, PathBuf};
use std::time::Duration;

use layover_retention::Timestamp;
use layover_tests::account::{Account, PASSWORD};
use layover_tests::content::Dice;
use layover_tests::openssh;
use layover_tests::partner::Why;
use layover_tests::skip::skip;
use layover_tests::storage::Undeletable;
use layover_tests::wait::{self, PATIENCE, Timer};
use layover_tests::{Engine, Layover, Protocol, Setup, on_both_engines, over_both_protocols};
use serde_json::Value;

use crate::ledger;

/// The sweep period of the servers under test, as `Setup` sets it.
const PERIOD: Duration = Duration::from_secs(1);

/// What a busy machine with two cores may add.
const SLACK: Duration = Duration::from_secs(3);

const DAY: Duration = Duration::from_secs(24 * 3600);

fn serve_with_keep(engine: Engine, keep: &str) -> (Layover, Account) {
    let layover = Setup::new(engine).prepare();
    let plan = layover.account("partner").password(PASSWORD);
    let account = plan.with(&["--keep", keep]).add();
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

on_both_engines!(r01_the_partners_dates_decide_nothing);

over_both_protocols!(
    a_file_is_gone_after_its_keep_and_one_sweep_period_and_its_neighbour_is_not,
    a_changed_keep_holds_for_files_already_stored,
    r01_listings_show_the_partners_date_all_the_same,
    an_expired_file_is_neither_listed_nor_opened_although_no_sweep_ran,
    a_download_under_way_at_expiry_gets_every_byte,
    r02_files_of_a_removed_account_go_too,
    r02_what_fell_due_while_the_server_was_down_goes_after_its_start,
    an_overwrite_starts_the_clock_again_and_a_change_in_place_does_not,
    an_overwrite_at_the_moment_of_expiry_is_never_swept,
);

fn a_file_is_gone_after_its_keep_and_one_sweep_period_and_its_neighbour_is_not(
    protocol: Protocol,
    engine: Engine,
) {
    let layover = Setup::new(engine).prepare();
    let short = layover
        .account("partner")
        .password(PASSWORD)
        .with(&["--keep", "5s"])
        .add();
    let long = layover.account("neighbour").password(PASSWORD).add();
    layover.start();
    short
        .partner(&layover, protocol)
        .put(b"/file", b"goes soon")
        .expect("put");
    long.partner(&layover, protocol)
        .put(b"/file", b"stays")
        .expect("put");
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
    assert_eq!(
        long.partner(&layover, protocol).get(b"/file").expect("get"),
        b"stays"
    );
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

fn a_changed_keep_holds_for_files_already_stored(protocol: Protocol, engine: Engine) {
    let (layover, account) = serve_with_keep(engine, "2d");
    account
        .partner(&layover, protocol)
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

fn r01_listings_show_the_partners_date_all_the_same(protocol: Protocol, engine: Engine) {
    let (layover, account) = serve_with_keep(engine, "5d");
    let mut partner = account.partner(&layover, protocol);
    partner.put(b"/file", b"content").expect("put");
    let before = ledger::file(&layover, "partner", "/file");
    for date in ["2001-02-03T04:05:06Z", "2037-11-12T13:14:00Z"] {
        let date: Timestamp = date.parse().expect("a time");
        partner.set_modified(b"/file", date).expect("set times");
        assert_eq!(partner.modified(b"/file").expect("modified"), date);
        let after = ledger::file(&layover, "partner", "/file");
        assert_eq!(after.arrived_at(), before.arrived_at());
        assert_eq!(after.expires_at(), before.expires_at());
    }
}

fn an_expired_file_is_neither_listed_nor_opened_although_no_sweep_ran(
    protocol: Protocol,
    engine: Engine,
) {
    let layover = Setup::new(engine)
        .set("retention", "sweep_every", "\"1h\"")
        .prepare();
    let account = layover
        .account("partner")
        .password(PASSWORD)
        .with(&["--keep", "3s"])
        .add();
    layover.start();
    let mut partner = account.partner(&layover, protocol);
    partner.put(b"/file", b"content").expect("put");
    partner.put(b"/other", b"content").expect("put");
    for path in [&b"/file"[..], b"/other"] {
        let refused = wait::until("the file to expire", PATIENCE, || partner.size(path).err());
        assert_eq!(refused.why, Why::NotFound, "{refused:?}");
        let refused = partner.get(path).expect_err("get");
        assert_eq!(refused.why, Why::NotFound, "{refused:?}");
    }
    assert!(partner.names(b"/").expect("list").is_empty());
    assert!(
        stored_path(&layover, "file").exists(),
        "a sweep ran, so this showed nothing"
    );
}

fn a_download_under_way_at_expiry_gets_every_byte(protocol: Protocol, engine: Engine) {
    let (layover, account) = serve_with_keep(engine, "2s");
    let mut partner = account.partner(&layover, protocol);
    // More than all buffers on the way hold.
    let content = Dice::seeded(3).bytes(32 << 20);
    partner.put(b"/file", &content).expect("put");
    let mut read = partner.begin_download(b"/file", 10).expect("open");
    wait_until_gone(&stored_path(&layover, "file"));
    read.extend(partner.finish_download().expect("read after expiry"));
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

fn r02_files_of_a_removed_account_go_too(protocol: Protocol, engine: Engine) {
    let (layover, account) = serve_with_keep(engine, "4s");
    account
        .partner(&layover, protocol)
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

fn r02_what_fell_due_while_the_server_was_down_goes_after_its_start(
    protocol: Protocol,
    engine: Engine,
) {
    let (layover, account) = serve_with_keep(engine, "2s");
    account
        .partner(&layover, protocol)
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

fn an_overwrite_starts_the_clock_again_and_a_change_in_place_does_not(
    protocol: Protocol,
    engine: Engine,
) {
    let (layover, account) = serve_with_keep(engine, "5d");
    let mut partner = account.partner(&layover, protocol);
    partner.put(b"/file", b"0123456789").expect("put");
    let arrived = |layover: &Layover| ledger::file(layover, "partner", "/file").arrived_at();
    let first: Timestamp = arrived(&layover);
    // The ledger is shown in whole seconds.
    wait::until("the next second", PATIENCE, || {
        let now = layover.json(&["status"]);
        drop(now);
        partner.put(b"/probe", b"x").expect("put");
        let probe = ledger::file(&layover, "partner", "/probe").arrived_at();
        (probe.duration_since(first) >= Duration::from_secs(1)).then_some(())
    });
    partner.go_on(b"/file", 8, b"xy").expect("change");
    assert_eq!(partner.get(b"/file").expect("get"), b"01234567xy");
    assert_eq!(
        arrived(&layover),
        first,
        "a change in place kept its arrival"
    );
    partner.append(b"/file", b"!").expect("append");
    assert_eq!(partner.get(b"/file").expect("get"), b"01234567xy!");
    assert_eq!(arrived(&layover), first, "an append kept its arrival");
    partner.rename(b"/file", b"/moved").expect("rename");
    partner.rename(b"/moved", b"/file").expect("rename back");
    assert_eq!(arrived(&layover), first, "a rename kept its arrival");
    partner.put(b"/file", b"new content").expect("overwrite");
    assert!(
        arrived(&layover) > first,
        "new whole content starts a new clock"
    );
}

/// Sweep against overwrite, at many moments around the expiry: the file that the server took is
/// there, with a time of its own, whatever the sweep was doing to the one before.
fn an_overwrite_at_the_moment_of_expiry_is_never_swept(protocol: Protocol, engine: Engine) {
    const NAMES: u64 = 6;
    const ROUNDS: u64 = 3;
    const KEEP: Duration = Duration::from_secs(2);
    let (layover, account) = serve_with_keep(engine, "2s");
    let mut dice = Dice::thrown(&format!("overwrites by {protocol:?} on {engine:?}"));
    let mut partner = account.partner(&layover, protocol);
    let mut judged = 0;
    let mut put = |name: u64, round: u64| {
        let (path, content) = (format!("/{name}"), format!("{name} of round {round}"));
        let since = Timer::start();
        partner
            .put(path.as_bytes(), content.as_bytes())
            .unwrap_or_else(|refused| panic!("{path}: {refused:?}"));
        let there = partner.get(path.as_bytes());
        let on_disk = stored_path(&layover, &name.to_string()).exists();
        // A machine that took longer than the keep shows nothing.
        if since.elapsed() < KEEP {
            assert_eq!(there.as_deref(), Ok(content.as_bytes()), "{path}");
            assert!(on_disk, "{path}");
            judged += 1;
        }
    };
    for round in 0..ROUNDS {
        for name in 0..NAMES {
            put(name, round);
            // So that the next round meets each name somewhere around its expiry.
            wait::let_pass(Duration::from_millis(2000 / NAMES + dice.below(30)));
        }
    }
    drop(partner);
    assert!(judged > NAMES, "only {judged} overwrites were judged");
    for name in 0..NAMES {
        wait_until_gone(&stored_path(&layover, &name.to_string()));
    }
    let told = layover.rows(&["journal", "--limit", "0", "--kind", "retention"]);
    let failed = told.iter().find(|entry| entry["outcome"] != "ok");
    assert_eq!(failed, None, "a sweep failed");
    assert!(ledger::stored(&layover, "partner").is_empty());
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
