//! What an account may do where: read-only, folders with rights, quotas, shared homes.

use layover_retention::Timestamp;
use layover_tests::account::PASSWORD;
use layover_tests::partner::{Outcome, Why};
use layover_tests::{Engine, Protocol, Setup, over_both_protocols};

use crate::ledger;

#[track_caller]
fn assert_denied<T: std::fmt::Debug>(what: &str, outcome: Outcome<T>) {
    let refused = outcome.expect_err(what);
    assert_eq!(refused.why, Why::Denied, "{what}: {refused:?}");
}

over_both_protocols!(
    a_read_only_account_can_fetch_and_change_nothing,
    a_drop_box_takes_files_and_shows_nothing,
    a_collect_only_folder_gives_and_deletes_but_takes_nothing,
    the_most_specific_folder_decides,
    a_quota_is_exact_and_a_deletion_frees_it,
    accounts_of_one_entity_share_a_home,
);

fn a_read_only_account_can_fetch_and_change_nothing(protocol: Protocol, engine: Engine) {
    let layover = Setup::new(engine).prepare();
    let writer = layover
        .account("writer")
        .password(PASSWORD)
        .with(&["--home", "common"])
        .add();
    let reader = layover
        .account("reader")
        .password(PASSWORD)
        .with(&["--home", "common", "--read-only"])
        .add();
    layover.start();
    let mut writer = writer.partner(&layover, protocol);
    writer.put(b"/file", b"content").expect("put");
    writer.make_dir(b"/dir").expect("mkdir");
    let mut reader = reader.partner(&layover, protocol);
    assert_eq!(reader.get(b"/file").expect("get"), b"content");
    assert_eq!(
        reader.names(b"/").expect("list"),
        [b"dir".to_vec(), b"file".to_vec()]
    );
    assert_denied("create", reader.put(b"/new", b"new"));
    assert_denied("overwrite", reader.put(b"/file", b"new"));
    assert_denied("modify", reader.go_on(b"/file", 3, b"new"));
    assert_denied("append", reader.append(b"/file", b"new"));
    assert_denied("remove", reader.remove(b"/file"));
    assert_denied("rename", reader.rename(b"/file", b"/new"));
    assert_denied("replace", reader.replace(b"/file", b"/new"));
    assert_denied("mkdir", reader.make_dir(b"/new"));
    assert_denied("rmdir", reader.remove_dir(b"/dir"));
    assert_denied(
        "utime",
        reader.set_modified(b"/file", Timestamp::from_micros(1_000_000)),
    );
    assert_eq!(writer.get(b"/file").expect("get"), b"content");
}

fn a_drop_box_takes_files_and_shows_nothing(protocol: Protocol, engine: Engine) {
    let layover = Setup::new(engine).prepare();
    let account = layover.account("partner").password(PASSWORD).add();
    layover.admin(&["account", "permission", "set", "partner", "/", "list"]);
    layover.admin(&["account", "permission", "set", "partner", "/in", "write"]);
    let home = layover.homes().join("partner");
    std::fs::create_dir_all(home.join("in")).expect("make folder");
    std::fs::create_dir_all(home.join("other")).expect("make folder");
    layover.start();
    let mut partner = account.partner(&layover, protocol);
    partner
        .put(b"/in/file", b"content")
        .expect("put into the drop box");
    assert_eq!(
        std::fs::read(home.join("in/file")).expect("read"),
        b"content"
    );
    assert_denied("list", partner.names(b"/in"));
    assert_denied("read", partner.get(b"/in/file"));
    assert_denied("overwrite", partner.put(b"/in/file", b"other"));
    assert_denied("remove", partner.remove(b"/in/file"));
    assert_denied("rename", partner.rename(b"/in/file", b"/in/other"));
    // What was delivered is the receiver's, its time stamp included.
    assert_denied(
        "utime",
        partner.set_modified(b"/in/file", Timestamp::from_micros(1_000_000)),
    );
    assert_denied("write elsewhere", partner.put(b"/other/file", b"content"));
    assert_denied(
        "a folder that begins alike",
        partner.put(b"/inside", b"content"),
    );
    assert_eq!(
        std::fs::read(home.join("in/file")).expect("read"),
        b"content"
    );
}

fn a_collect_only_folder_gives_and_deletes_but_takes_nothing(protocol: Protocol, engine: Engine) {
    let layover = Setup::new(engine).prepare();
    let platform = layover
        .account("platform")
        .password(PASSWORD)
        .with(&["--home", "common"])
        .add();
    let partner = layover
        .account("partner")
        .password(PASSWORD)
        .with(&["--home", "common"])
        .add();
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
    let mut platform = platform.partner(&layover, protocol);
    platform.make_dir(b"/out").expect("mkdir");
    platform.put(b"/out/file", b"content").expect("put");
    let mut partner = partner.partner(&layover, protocol);
    assert_eq!(partner.names(b"/out").expect("list"), [b"file".to_vec()]);
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

fn the_most_specific_folder_decides(protocol: Protocol, engine: Engine) {
    let layover = Setup::new(engine).prepare();
    let account = layover.account("partner").password(PASSWORD).add();
    for (path, rights) in [
        ("/", "list,read"),
        ("/a", "list,read,write,mkdir"),
        ("/a/b", "list"),
    ] {
        layover.admin(&["account", "permission", "set", "partner", path, rights]);
    }
    std::fs::create_dir_all(layover.homes().join("partner/a/b")).expect("make folders");
    layover.start();
    let mut partner = account.partner(&layover, protocol);
    partner.put(b"/a/file", b"content").expect("put");
    assert_denied("write at the top", partner.put(b"/file", b"content"));
    assert_denied("write below", partner.put(b"/a/b/file", b"content"));
    assert_denied("by way of ..", partner.put(b"/a/../file", b"content"));
    layover.admin(&["account", "permission", "remove", "partner", "/a/b"]);
    layover_tests::wait::until(
        "the change to take effect",
        layover_tests::wait::PATIENCE,
        || {
            account
                .partner(&layover, protocol)
                .put(b"/a/b/file", b"content")
                .ok()
        },
    );
}

fn a_quota_is_exact_and_a_deletion_frees_it(protocol: Protocol, engine: Engine) {
    let layover = Setup::new(engine).prepare();
    let account = layover
        .account("partner")
        .password(PASSWORD)
        .with(&["--quota", "100KiB"])
        .add();
    layover.start();
    let mut partner = account.partner(&layover, protocol);
    let full = vec![1; 100 * 1024];
    partner.put(b"/full", &full).expect("exactly the quota");
    let refused = partner
        .put(b"/one-more", b"x")
        .expect_err("one byte above the quota");
    assert_eq!(refused.why, Why::NoRoom, "{refused:?}");
    assert!(refused.words.contains("quota"), "{refused:?}");
    assert_eq!(partner.names(b"/").expect("list"), [b"full".to_vec()]);
    // An overwrite may not go over the quota either, and leaves the old bytes.
    let larger = vec![2; 100 * 1024 + 1];
    partner
        .put(b"/full", &larger)
        .expect_err("an overwrite above the quota");
    assert!(
        partner.get(b"/full").expect("get") == full,
        "the old file changed"
    );
    partner.remove(b"/full").expect("remove");
    partner.put(b"/one-more", b"x").expect("room again");
    ledger::agrees_with_tree(&layover, "partner");
}

fn accounts_of_one_entity_share_a_home(protocol: Protocol, engine: Engine) {
    let layover = Setup::new(engine).prepare();
    let partner = layover
        .account("partner")
        .password(PASSWORD)
        .with(&["--home", "common"])
        .add();
    let platform = layover
        .account("platform")
        .password(PASSWORD)
        .with(&["--home", "common"])
        .add();
    let stranger = layover.account("stranger").password(PASSWORD).add();
    layover.start();
    partner
        .partner(&layover, protocol)
        .put(b"/file", b"content")
        .expect("put");
    assert_eq!(
        platform
            .partner(&layover, protocol)
            .get(b"/file")
            .expect("get"),
        b"content"
    );
    let unseen = stranger
        .partner(&layover, protocol)
        .get(b"/file")
        .expect_err("another home");
    assert_eq!(unseen.why, Why::NotFound, "{unseen:?}");
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
