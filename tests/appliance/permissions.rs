//! What an account may do where: read-only, folders with rights, quotas, shared homes.

use layover_tests::packet::{open, status};
use layover_tests::sftp::Fault;
use layover_tests::{Engine, Setup, on_both_engines};

use crate::ledger;

#[track_caller]
fn assert_denied<T: std::fmt::Debug>(what: &str, outcome: Result<T, Fault>) {
    let fault = outcome.expect_err(what);
    assert_eq!(
        fault.code(),
        Some(status::PERMISSION_DENIED),
        "{what}: {fault:?}"
    );
}

on_both_engines!(
    a_read_only_account_can_fetch_and_change_nothing,
    a_drop_box_takes_files_and_shows_nothing,
    a_quota_is_exact_and_a_deletion_frees_it,
    accounts_of_one_entity_share_a_home,
);

fn a_read_only_account_can_fetch_and_change_nothing(engine: Engine) {
    let layover = Setup::new(engine).prepare();
    let writer = layover.account("writer").with(&["--home", "common"]).add();
    let reader = layover
        .account("reader")
        .with(&["--home", "common", "--read-only"])
        .add();
    layover.start();
    let mut writer = writer.sftp(&layover);
    writer.put(b"/file", b"content").expect("put");
    writer.make_dir(b"/dir").expect("mkdir");
    let mut reader = reader.sftp(&layover);
    assert_eq!(reader.get(b"/file").expect("get"), b"content");
    assert_eq!(reader.names(b"/").expect("list"), ["dir", "file"]);
    assert_denied("create", reader.open(b"/new", open::FRESH));
    assert_denied("overwrite", reader.open(b"/file", open::FRESH));
    assert_denied("modify", reader.open(b"/file", open::WRITE));
    assert_denied("append", reader.open(b"/file", open::WRITE | open::APPEND));
    assert_denied("remove", reader.remove(b"/file"));
    assert_denied("rename", reader.rename(b"/file", b"/new"));
    assert_denied("posix-rename", reader.posix_rename(b"/file", b"/new"));
    assert_denied("mkdir", reader.make_dir(b"/new"));
    assert_denied("rmdir", reader.remove_dir(b"/dir"));
    assert_denied("utime", reader.set_times(b"/file", 1, 1));
    assert_eq!(writer.get(b"/file").expect("get"), b"content");
}

fn a_drop_box_takes_files_and_shows_nothing(engine: Engine) {
    let layover = Setup::new(engine).prepare();
    let account = layover.account("partner").add();
    layover.admin(&["account", "permission", "set", "partner", "/", "list"]);
    layover.admin(&["account", "permission", "set", "partner", "/in", "write"]);
    let home = layover.homes().join("partner");
    std::fs::create_dir_all(home.join("in")).expect("make folder");
    std::fs::create_dir_all(home.join("other")).expect("make folder");
    layover.start();
    let mut sftp = account.sftp(&layover);
    sftp.put(b"/in/file", b"content")
        .expect("put into the drop box");
    assert_eq!(
        std::fs::read(home.join("in/file")).expect("read"),
        b"content"
    );
    assert_denied("list", sftp.list(b"/in"));
    assert_denied("read", sftp.open(b"/in/file", open::READ));
    assert_denied("overwrite", sftp.put(b"/in/file", b"other"));
    assert_denied("remove", sftp.remove(b"/in/file"));
    assert_denied("rename", sftp.rename(b"/in/file", b"/in/other"));
    assert_denied("write elsewhere", sftp.put(b"/other/file", b"content"));
    assert_denied(
        "a folder that begins alike",
        sftp.put(b"/inside", b"content"),
    );
    assert_eq!(
        std::fs::read(home.join("in/file")).expect("read"),
        b"content"
    );
}

#[test]
fn a_collect_only_folder_gives_and_deletes_but_takes_nothing() {
    let layover = Setup::new(Engine::Sqlite).prepare();
    let platform = layover
        .account("platform")
        .with(&["--home", "common"])
        .add();
    let partner = layover.account("partner").with(&["--home", "common"]).add();
    let rights = [
        "account",
        "permission",
        "set",
        "partner",
        "/out",
        "list,read,delete",
    ];
    layover.admin(&rights);
    layover.start();
    let mut platform = platform.sftp(&layover);
    platform.make_dir(b"/out").expect("mkdir");
    platform.put(b"/out/file", b"content").expect("put");
    let mut partner = partner.sftp(&layover);
    assert_eq!(partner.names(b"/out").expect("list"), ["file"]);
    assert_eq!(partner.get(b"/out/file").expect("get"), b"content");
    assert_denied("write", partner.put(b"/out/new", b"content"));
    assert_denied("overwrite", partner.put(b"/out/file", b"content"));
    assert_denied("rename", partner.rename(b"/out/file", b"/out/new"));
    assert_denied("move away", partner.rename(b"/out/file", b"/elsewhere"));
    assert_denied("mkdir", partner.make_dir(b"/out/dir"));
    partner
        .remove(b"/out/file")
        .expect("delete what was collected");
    let listed = layover.rows(&["account", "permission", "list", "partner"]);
    assert_eq!(listed.len(), 1, "{listed:?}");
}

#[test]
fn the_most_specific_folder_decides() {
    let layover = Setup::new(Engine::Sqlite).prepare();
    let account = layover.account("partner").add();
    for (path, rights) in [
        ("/", "list,read"),
        ("/a", "list,read,write,mkdir"),
        ("/a/b", "list"),
    ] {
        layover.admin(&["account", "permission", "set", "partner", path, rights]);
    }
    std::fs::create_dir_all(layover.homes().join("partner/a/b")).expect("make folders");
    layover.start();
    let mut sftp = account.sftp(&layover);
    sftp.put(b"/a/file", b"content").expect("put");
    assert_denied("write at the top", sftp.put(b"/file", b"content"));
    assert_denied("write below", sftp.put(b"/a/b/file", b"content"));
    assert_denied("by way of ..", sftp.put(b"/a/../file", b"content"));
    layover.admin(&["account", "permission", "remove", "partner", "/a/b"]);
    layover_tests::wait::until(
        "the change to take effect",
        layover_tests::wait::PATIENCE,
        || account.sftp(&layover).put(b"/a/b/file", b"content").ok(),
    );
}

fn a_quota_is_exact_and_a_deletion_frees_it(engine: Engine) {
    let layover = Setup::new(engine).prepare();
    let account = layover
        .account("partner")
        .with(&["--quota", "100KiB"])
        .add();
    layover.start();
    let mut sftp = account.sftp(&layover);
    let full = vec![1; 100 * 1024];
    sftp.put(b"/full", &full).expect("exactly the quota");
    let refused = sftp
        .put(b"/one-more", b"x")
        .expect_err("one byte above the quota");
    assert_eq!(refused.code(), Some(status::FAILURE), "{refused:?}");
    let Fault::Status { message, .. } = refused else {
        panic!("lost")
    };
    assert!(message.to_lowercase().contains("quota"), "{message}");
    assert_eq!(sftp.names(b"/").expect("list"), ["full"]);
    // An overwrite may not go over the quota either, and leaves the old bytes.
    let larger = vec![2; 100 * 1024 + 1];
    sftp.put(b"/full", &larger)
        .expect_err("an overwrite above the quota");
    assert!(
        sftp.get(b"/full").expect("get") == full,
        "the old file changed"
    );
    sftp.remove(b"/full").expect("remove");
    sftp.put(b"/one-more", b"x").expect("room again");
    ledger::agrees_with_tree(&layover, "partner");
}

fn accounts_of_one_entity_share_a_home(engine: Engine) {
    let layover = Setup::new(engine).prepare();
    let partner = layover.account("partner").with(&["--home", "common"]).add();
    let platform = layover
        .account("platform")
        .with(&["--home", "common"])
        .add();
    let stranger = layover.account("stranger").add();
    layover.start();
    partner
        .sftp(&layover)
        .put(b"/file", b"content")
        .expect("put");
    assert_eq!(
        platform.sftp(&layover).get(b"/file").expect("get"),
        b"content"
    );
    let unseen = stranger
        .sftp(&layover)
        .get(b"/file")
        .expect_err("another home");
    assert_eq!(unseen.code(), Some(status::NO_SUCH_FILE));
    let row = ledger::file(&layover, "platform", "/file");
    assert_eq!(row.value["uploaded_by"], "partner", "{}", row.value);
    assert_eq!(row.value["collected_by"], "platform", "{}", row.value);
}

#[test]
fn a_home_of_another_entity_is_refused() {
    let layover = Setup::new(Engine::Sqlite).prepare();
    layover.account("partner").with(&["--home", "common"]).add();
    layover.admin(&["entity", "add", "rival"]);
    let arguments = [
        "account", "add", "spy", "--entity", "rival", "--home", "common",
    ];
    let ran = layover.run(&arguments).expect_code(1);
    assert!(
        ran.stderr.contains("common"),
        "the message should name the home: {ran}"
    );
}
