//! What an operator sees of partners at work, and takes into his own hands.

use layover_tests::packet::open;
use layover_tests::skip::skip;
use layover_tests::storage::Tmpfs;
use layover_tests::wait::{self, PATIENCE};
use layover_tests::{Account, Engine, Layover, Setup, on_both_engines};
use serde_json::Value;

fn serve(engine: Engine) -> (Layover, Account) {
    let layover = Setup::new(engine).prepare();
    let account = layover.account("partner").add();
    layover.start();
    (layover, account)
}

fn files(layover: &Layover) -> Vec<Value> {
    layover.rows(&["file", "list", "--home", "partner"])
}

on_both_engines!(
    a_removed_file_is_gone_for_the_partner_and_its_neighbour_is_not,
    an_interrupted_upload_shows_when_it_goes_and_can_be_removed,
    a_session_is_listed_with_what_identifies_it_and_its_end_is_told,
    a_session_is_listed_with_what_it_moves,
);

#[test]
fn a_check_calls_a_read_only_mount_read_only_and_no_matter_of_ownership() {
    let dir = tempfile::TempDir::with_prefix("layover-storage-").expect("make folder");
    let mount = dir.path().join("mount");
    let storage = match Tmpfs::mount(&mount, 4) {
        Ok(storage) => storage,
        Err(why) => return skip(&why),
    };
    for homes in [mount.clone(), mount.join("not/there")] {
        let layover = Setup::new(Engine::Sqlite).homes(&homes).prepare();
        storage.make_read_only();
        let check = layover.run(&["check", "--json"]).expect_code(1);
        storage.make_writable();
        let check: Value = serde_json::from_str(&check.stdout).expect("JSON");
        let mut lines = check.as_array().expect("a list").iter();
        let homes = lines.find(|line| line["what"] == "homes").expect("homes");
        assert_eq!(homes["state"], "not_ready", "{homes}");
        let text = homes.to_string();
        assert!(text.contains("read-only file system"), "{homes}");
        assert!(!text.contains("chown"), "{homes}");
    }
}

fn a_removed_file_is_gone_for_the_partner_and_its_neighbour_is_not(engine: Engine) {
    let (layover, account) = serve(engine);
    let mut sftp = account.sftp(&layover);
    sftp.put(b"/file", b"0123456789").expect("put");
    sftp.put(b"/neighbour", b"stays").expect("put");
    let removed = layover.json(&["file", "remove", "partner", "/file"]);
    assert_eq!(removed["removed"], "/file", "{removed}");
    assert_eq!(removed["size_bytes"], 10, "{removed}");
    assert_eq!(sftp.names(b"/").expect("list"), ["neighbour"]);
    assert!(!layover.homes().join("partner/file").exists());
    let admin = layover.rows(&["journal", "--kind", "admin", "-n", "1"]);
    assert_eq!(admin[0]["action"], "file.remove", "{admin:?}");
    let actor = admin[0]["detail"]["actor"].as_str().expect("an actor");
    assert!(actor.starts_with("cli:"), "{actor}");
    let accounts = layover.rows(&["account", "list"]);
    assert_eq!(accounts[0]["used_bytes"], 5, "{accounts:?}");
    assert!(accounts[0]["last_login_at"].is_string(), "{accounts:?}");
}

fn an_interrupted_upload_shows_when_it_goes_and_can_be_removed(engine: Engine) {
    let (layover, account) = serve(engine);
    let mut sftp = account.sftp(&layover);
    let handle = sftp
        .open(b"/half", open::WRITE | open::CREAT)
        .expect("open");
    sftp.write(&handle, 0, b"half").expect("write");
    // Its row is written beside the answers.
    wait::until("the upload to be known", PATIENCE, || {
        (files(&layover).len() == 1).then_some(())
    });
    let busy = layover.run(&["file", "remove", "partner", "/half", "--partial"]);
    let busy = busy.expect_code(1);
    assert!(busy.stderr.contains("being uploaded"), "{busy}");
    drop(sftp);
    let partial = wait::until("the upload to be interrupted", PATIENCE, || {
        files(&layover)
            .into_iter()
            .find(|file| file["state"] == "partial")
    });
    assert_eq!(partial["arrived_at"], Value::Null);
    assert!(partial["expires_at"].is_string(), "{partial}");
    let refused = layover.run(&["file", "remove", "partner", "/half"]);
    let refused = refused.expect_code(1);
    assert!(refused.stderr.contains("--partial"), "{refused}");
    layover.admin(&["file", "remove", "--home", "partner", "/half", "--partial"]);
    assert!(files(&layover).is_empty());
}

fn a_session_is_listed_with_what_identifies_it_and_its_end_is_told(engine: Engine) {
    let (layover, account) = serve(engine);
    let sftp = account.sftp(&layover);
    let listed = layover.rows(&["session", "list"]);
    assert_eq!(listed.len(), 1, "{listed:?}");
    assert_eq!(listed[0]["account"], "partner");
    assert_eq!(listed[0]["protocol"], "sftp");
    assert_eq!(listed[0]["peer"], "127.0.0.1");
    let id = listed[0]["id"].as_str().expect("a number");
    layover.admin(&["session", "kill", id]);
    let journal = layover.admin(&["journal", "--kind", "admin", "-n", "1"]);
    for told in ["session.kill", "partner", &format!("session={id}")] {
        assert!(journal.stdout.contains(told), "no {told} in {journal}");
    }
    assert!(sftp.connection().closed_within(PATIENCE));
}

fn a_session_is_listed_with_what_it_moves(engine: Engine) {
    let (layover, account) = serve(engine);
    let mut sftp = account.sftp(&layover);
    sftp.put(b"/out", b"0123456789").expect("put");
    let moving = || layover.rows(&["session", "list"])[0]["moving"].clone();
    let up = sftp.open(b"/in", open::WRITE | open::CREAT).expect("open");
    sftp.write(&up, 0, b"1234567").expect("write");
    let down = sftp.open(b"/out", open::READ).expect("open");
    sftp.read(&down, 0, 4).expect("read");
    // The heartbeat tells.
    wait::until("both to be told", PATIENCE, || {
        let told = moving();
        let both = told[0]["moved_bytes"] == 7 && told[1]["moved_bytes"] == 4;
        both.then_some(())
    });
    let told = moving();
    assert_eq!(told[0]["path"], "/in", "{told}");
    assert_eq!(told[0]["direction"], "upload", "{told}");
    assert_eq!(told[0]["size_bytes"], Value::Null, "{told}");
    assert_eq!(told[1]["path"], "/out", "{told}");
    assert_eq!(told[1]["direction"], "download", "{told}");
    assert_eq!(told[1]["size_bytes"], 10, "{told}");
    let shown = layover.admin(&["session", "list"]).stdout;
    for part in ["upload /in 7 B at ", ", download /out 4 B of 10 B at "] {
        assert!(shown.contains(part), "{shown}");
    }
    sftp.close(&up).expect("close");
    sftp.close(&down).expect("close");
    wait::until("nothing to be told", PATIENCE, || {
        moving()
            .as_array()
            .expect("a list")
            .is_empty()
            .then_some(())
    });
}
