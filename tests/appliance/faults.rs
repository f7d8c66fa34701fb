//! Storage that fails: full, read-only, locked. Nothing stored is lost, and the answer is clear.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};

use layover_tests::account::PASSWORD;
use layover_tests::openssh;
use layover_tests::partner::Why;
use layover_tests::skip::skip;
use layover_tests::storage::Tmpfs;
use layover_tests::wait::{self, PATIENCE};
use layover_tests::{Account, Engine, Layover, Protocol, Setup, over_both_protocols};

use crate::ledger;

/// Room for homes, in MiB.
const ROOM_MIB: u64 = 8;

struct Small {
    // The server before its storage: fields are dropped in this order.
    layover: Layover,
    account: Account,
    storage: Tmpfs,
    _dir: tempfile::TempDir,
}

/// A server whose homes lie on a small file system of their own; `None` when that cannot be made
/// here, and the test is skipped.
fn serve_on_small_storage(engine: Engine) -> Option<Small> {
    let dir = tempfile::TempDir::with_prefix("layover-storage-").expect("make folder");
    let mount = dir.path().join("mount");
    let storage = match Tmpfs::mount(&mount, ROOM_MIB) {
        Ok(storage) => storage,
        Err(why) => {
            skip(&why);
            return None;
        }
    };
    let layover = Setup::new(engine).homes(&mount.join("homes")).prepare();
    let account = layover.account("partner").password(PASSWORD).add();
    layover.start();
    Some(Small {
        layover,
        account,
        storage,
        _dir: dir,
    })
}

over_both_protocols!(
    a_full_disk_refuses_the_upload_and_loses_nothing,
    a_read_only_disk_refuses_changes_and_still_serves_downloads,
);

fn a_full_disk_refuses_the_upload_and_loses_nothing(protocol: Protocol, engine: Engine) {
    let Some(small) = serve_on_small_storage(engine) else {
        return;
    };
    let Small {
        layover, account, ..
    } = &small;
    let mut partner = account.partner(layover, protocol);
    partner.put(b"/kept", b"kept content").expect("put");
    let large = vec![9; usize::try_from(ROOM_MIB).expect("small") * 1024 * 1024 + 1];
    for name in [&b"/large"[..], b"/kept"] {
        let refused = partner
            .put(name, &large)
            .expect_err("more than the disk holds");
        assert_eq!(refused.why, Why::Other, "{refused:?}");
        let message = refused.words.to_lowercase();
        assert!(
            message.contains("full") || message.contains("space"),
            "{message}"
        );
    }
    assert_eq!(partner.get(b"/kept").expect("get"), b"kept content");
    assert_eq!(partner.names(b"/").expect("list"), [b"kept".to_vec()]);
    storage_is_told_of(layover, "disk-full", "the disk is full");
    ledger::agrees_with_tree(layover, "partner");
    // The partials are the account's own to remove; then there is room again.
    partner.remove(b"/large").ok();
    partner
        .put(b"/kept", b"new content")
        .expect("a small overwrite");
    assert_eq!(partner.get(b"/kept").expect("get"), b"new content");
    let ran = openssh::sftp(&account.by_key(layover), &[], "df /\n", PATIENCE).expect_ok();
    assert!(ran.stdout.contains('%'), "{ran}");
    ledger::agrees_with_tree(layover, "partner");
}

fn a_read_only_disk_refuses_changes_and_still_serves_downloads(protocol: Protocol, engine: Engine) {
    let Some(small) = serve_on_small_storage(engine) else {
        return;
    };
    let Small {
        layover,
        account,
        storage,
        ..
    } = &small;
    let mut partner = account.partner(layover, protocol);
    partner.put(b"/kept", b"kept content").expect("put");
    storage.make_read_only();
    for (what, outcome) in [
        ("new", partner.put(b"/new", b"content")),
        ("overwrite", partner.put(b"/kept", b"content")),
        ("remove", partner.remove(b"/kept")),
        ("rename", partner.rename(b"/kept", b"/moved")),
        ("mkdir", partner.make_dir(b"/dir")),
    ] {
        let refused = outcome.expect_err(what);
        assert_eq!(refused.why, Why::Other, "{what}: {refused:?}");
        assert!(refused.words.contains("read-only"), "{what}: {refused:?}");
    }
    assert_eq!(partner.get(b"/kept").expect("get"), b"kept content");
    storage_is_told_of(layover, "read-only-storage", "the storage is read-only");
    storage.make_writable();
    assert_eq!(partner.names(b"/").expect("list"), [b"kept".to_vec()]);
    partner.put(b"/new", b"content").expect("writable again");
    partner.remove(b"/kept").expect("remove");
    wait::until("the ledger to settle", PATIENCE, || {
        let stored = ledger::stored(layover, "partner");
        (stored.len() == 1 && stored.contains_key("/new")).then_some(())
    });
    ledger::agrees_with_tree(layover, "partner");
}

/// A person must act, and nobody else sees what partners are told.
#[track_caller]
fn storage_is_told_of(layover: &Layover, why: &str, line: &str) {
    wait::until("the journal to tell why", PATIENCE, || {
        let entries = layover.rows(&["journal", "--kind", "transfer", "--limit", "1000"]);
        let told = |entry: &serde_json::Value| {
            entry["action"] == "upload"
                && entry["outcome"] == "failed"
                && entry["detail"]["why"] == why
        };
        entries.iter().any(told).then_some(())
    });
    let log = layover.log();
    assert!(log.contains(line), "{log}");
}

over_both_protocols!(
    Sqlite:
    a_locked_database_refuses_in_time_and_loses_nothing,
    a_database_that_is_locked_for_a_moment_costs_only_time,
    a_database_removed_under_the_server_is_noticed_and_nothing_is_acknowledged,
    g02_who_waits_in_vain_for_a_locked_database_is_not_banned_for_it,
);

/// Another process that keeps SQLite's write lock until this is dropped.
pub(crate) struct WriteLock {
    python: Child,
}

impl WriteLock {
    pub(crate) fn take(layover: &Layover) -> Self {
        const SCRIPT: &str = "import sqlite3, sys\n\
            db = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=60)\n\
            db.execute('BEGIN IMMEDIATE')\n\
            print('locked', flush=True)\n\
            sys.stdin.readline()\n\
            db.execute('ROLLBACK')\n";
        let mut python = Command::new("/usr/bin/python3")
            .args(["-c", SCRIPT])
            .arg(layover.data_dir().join("layover.db"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("start python3");
        let mut line = String::new();
        let stdout = python.stdout.take().expect("stdout is piped");
        BufReader::new(stdout).read_line(&mut line).expect("read");
        assert_eq!(line, "locked\n");
        Self { python }
    }
}

impl Drop for WriteLock {
    fn drop(&mut self) {
        self.python
            .stdin
            .take()
            .expect("stdin is piped")
            .write_all(b"\n")
            .ok();
        self.python.wait().ok();
    }
}

fn a_locked_database_refuses_in_time_and_loses_nothing(protocol: Protocol) {
    let layover = Setup::new(Engine::Sqlite).prepare();
    let account = layover.account("partner").password(PASSWORD).add();
    layover.start();
    let mut partner = account.partner(&layover, protocol);
    partner.put(b"/kept", b"kept content").expect("put");
    let lock = WriteLock::take(&layover);
    let refused = partner
        .put(b"/new", b"content")
        .expect_err("the database is locked");
    assert_eq!(refused.why, Why::Other, "{refused:?}");
    let refused = partner
        .put(b"/kept", b"content")
        .expect_err("the database is locked");
    assert_eq!(refused.why, Why::Other, "{refused:?}");
    let ran = layover
        .run(&["account", "disable", "partner"])
        .expect_code(1);
    assert!(
        ran.stderr.to_lowercase().contains("lock"),
        "the message should say why: {ran}"
    );
    if protocol == Protocol::Sftp {
        let ran = layover.run(&["check"]).expect_code(1);
        assert!(ran.stdout.contains("has locked it"), "{ran}");
    }
    // Whoever comes now must not think that it was the proof.
    match protocol {
        Protocol::Sftp => {
            let ran = openssh::sftp(&account.by_key(&layover), &[], "pwd\n", PATIENCE);
            assert!(!ran.ok(), "{ran}");
            assert!(!ran.stderr.contains("Permission denied"), "{ran}");
        }
        Protocol::Ftps => {
            let tried = account.try_partner_at(protocol.address(&layover), protocol);
            let told = tried.err().expect("no login");
            assert!(told.starts_with("421 logins cannot be checked"), "{told}");
        }
    }
    drop(lock);
    assert_eq!(partner.get(b"/kept").expect("get"), b"kept content");
    partner.put(b"/new", b"content").expect("unlocked");
    ledger::agrees_with_tree(&layover, "partner");
}

/// A lock that is shorter than the busy time-out costs only time.
fn a_database_that_is_locked_for_a_moment_costs_only_time(protocol: Protocol) {
    let layover = Setup::new(Engine::Sqlite).prepare();
    let account = layover.account("partner").password(PASSWORD).add();
    layover.start();
    let mut partner = account.partner(&layover, protocol);
    partner.begin_upload(b"/file", b"cont").expect("begin");
    let lock = WriteLock::take(&layover);
    std::thread::scope(|scope| {
        let closing = scope.spawn(|| partner.finish_upload(b"ent"));
        wait::let_pass(std::time::Duration::from_secs(1));
        drop(lock);
        closing.join().expect("no panic").expect("finish");
    });
    ledger::agrees_with_tree(&layover, "partner");
    assert!(ledger::stored(&layover, "partner").contains_key("/file"));
}

/// A login that our own database keeps waiting holds its place for no fault of the partner's.
fn g02_who_waits_in_vain_for_a_locked_database_is_not_banned_for_it(protocol: Protocol) {
    let layover = Setup::new(Engine::Sqlite)
        .set("gate", "ban_score", "1")
        .prepare();
    let account = layover.account("partner").password(PASSWORD).add();
    layover.start();
    let lock = WriteLock::take(&layover);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let tried = account.try_partner_at(protocol.address(&layover), protocol);
                tried.map(drop).expect_err("the database is locked");
            });
        }
    });
    drop(lock);
    let mut partner = wait::until("a login", PATIENCE, || {
        let tried = account.try_partner_at(protocol.address(&layover), protocol);
        tried.ok()
    });
    // What is to be counted is counted each second.
    wait::let_pass(std::time::Duration::from_secs(3));
    partner.put(b"/file", b"content").expect("put");
    account.partner(&layover, protocol);
    assert!(layover.rows(&["ban", "list"]).is_empty());
}

/// SQLite would go on with a removed file, and everything acknowledged since be lost.
fn a_database_removed_under_the_server_is_noticed_and_nothing_is_acknowledged(protocol: Protocol) {
    let layover = Setup::new(Engine::Sqlite).prepare();
    let account = layover.account("partner").password(PASSWORD).add();
    layover.start();
    let mut partner = account.partner(&layover, protocol);
    partner.put(b"/kept", b"kept content").expect("put");
    let database = layover.data_dir().join("layover.db");
    let away = layover.data_dir().join("away.db");
    std::fs::rename(&database, &away).expect("take it away");
    let refused = partner
        .put(b"/new", b"content")
        .expect_err("nobody would know of it");
    assert_eq!(refused.why, Why::Other, "{refused:?}");
    assert!(
        layover.log().contains("was removed or replaced"),
        "{}",
        layover.log()
    );
    std::fs::rename(&away, &database).expect("put it back");
    assert_eq!(partner.get(b"/kept").expect("get"), b"kept content");
    partner.put(b"/new", b"content").expect("put");
    ledger::agrees_with_tree(&layover, "partner");
}
