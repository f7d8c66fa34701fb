//! Files that an operator drops into the tree.

use layover_tests::wait::{self, PATIENCE};
use layover_tests::{Engine, Setup, on_both_engines};

use crate::ledger;

on_both_engines!(a_file_dropped_into_the_tree_is_adopted_and_expires_from_then);

fn a_file_dropped_into_the_tree_is_adopted_and_expires_from_then(engine: Engine) {
    let layover = Setup::new(engine).prepare();
    let account = layover.account("partner").with(&["--keep", "1h"]).add();
    layover.start();
    let home = layover.homes().join("partner");
    std::fs::create_dir_all(home.join("from-operator")).expect("make folder");
    let path = home.join("from-operator/old.csv");
    std::fs::write(&path, b"a year old").expect("write");
    let mut touch = std::process::Command::new("touch");
    touch.args(["-t", "202001010000"]).arg(&path);
    layover_tests::process::run(&mut touch, b"", PATIENCE).expect_ok();
    let row = wait::until("the file to be adopted", 2 * PATIENCE, || {
        ledger::stored(&layover, "partner").remove("/from-operator/old.csv")
    });
    assert_eq!(row.size_bytes(), 10);
    assert_eq!(
        row.expires_at().duration_since(row.arrived_at()).as_secs(),
        3600
    );
    let mut sftp = account.sftp(&layover);
    assert_eq!(
        sftp.get(b"/from-operator/old.csv").expect("get"),
        b"a year old"
    );
    let entries = layover.rows(&["journal", "--limit", "0"]);
    let told = entries
        .iter()
        .any(|entry| entry["path"] == "/from-operator/old.csv");
    assert!(
        told,
        "the journal does not tell of the adoption: {entries:?}"
    );
}

#[test]
fn a_file_that_vanished_from_the_tree_does_not_stay_in_the_ledger() {
    let layover = Setup::new(Engine::Sqlite).prepare();
    let account = layover.account("partner").add();
    layover.start();
    account
        .sftp(&layover)
        .put(b"/file", b"content")
        .expect("put");
    std::fs::remove_file(layover.homes().join("partner/file")).expect("remove by hand");
    wait::until("the ledger to notice", 2 * PATIENCE, || {
        ledger::stored(&layover, "partner").is_empty().then_some(())
    });
}
