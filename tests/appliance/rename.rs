//! Renaming: S06 and what surrounds it.

use std::sync::atomic::{AtomicBool, Ordering};

use layover_tests::account::{Account, PASSWORD};
use layover_tests::lftp::lftp;
use layover_tests::openssh;
use layover_tests::packet::status;
use layover_tests::partner::Why;
use layover_tests::wait::PATIENCE;
use layover_tests::{Engine, Layover, Protocol, Setup, on_both_engines, over_both_protocols};

use crate::ledger;

fn serve(engine: Engine) -> (Layover, Account) {
    let layover = Setup::new(engine).prepare();
    let account = layover.account("partner").password(PASSWORD).add();
    layover.start();
    (layover, account)
}

on_both_engines!(s06_rename_never_replaces_and_posix_rename_replaces_at_once);

over_both_protocols!(
    s06_a_rename_that_replaces_replaces_at_once,
    a_folder_moves_with_all_its_files_and_their_arrival,
    a_folder_is_not_moved_into_itself,
    a_rename_to_the_same_name_loses_nothing,
    publish_on_rename_shows_an_upload_only_after_its_rename,
);

/// The name is never without a file, and never holds a part of one.
fn s06_a_rename_that_replaces_replaces_at_once(protocol: Protocol, engine: Engine) {
    let (layover, account) = serve(engine);
    let mut partner = account.partner(&layover, protocol);
    partner.put(b"/b", b"content 0").expect("put");
    let renamed = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let mut watcher = account.partner(&layover, protocol);
        let renamed = &renamed;
        let watching = scope.spawn(move || {
            let mut looks = 0;
            while !renamed.load(Ordering::Relaxed) {
                let there = watcher.get(b"/b").expect("a name that is replaced");
                assert!(there.starts_with(b"content "), "{}", there.escape_ascii());
                let listed = watcher.names(b"/").expect("list");
                assert!(listed.contains(&b"b".to_vec()), "not listed: {listed:?}");
                looks += 1;
            }
            looks
        });
        for round in 1..=20 {
            let content = format!("content {round}");
            partner.put(b"/a", content.as_bytes()).expect("put");
            partner.replace(b"/a", b"/b").expect("replace");
            assert_eq!(partner.get(b"/b").expect("get"), content.as_bytes());
        }
        renamed.store(true, Ordering::Relaxed);
        assert!(watching.join().expect("no panic") > 0, "nobody looked");
    });
    let gone = partner.get(b"/a").expect_err("moved away");
    assert_eq!(gone.why, Why::NotFound);
    ledger::agrees_with_tree(&layover, "partner");
}

fn s06_rename_never_replaces_and_posix_rename_replaces_at_once(engine: Engine) {
    let (layover, account) = serve(engine);
    let mut sftp = account.sftp(&layover);
    sftp.put(b"/a", b"content of a").expect("put");
    sftp.put(b"/b", b"content of b").expect("put");
    let refused = sftp.rename(b"/a", b"/b").expect_err("RENAME over a file");
    assert_eq!(refused.code(), Some(status::FAILURE));
    assert_eq!(sftp.get(b"/a").expect("get"), b"content of a");
    assert_eq!(sftp.get(b"/b").expect("get"), b"content of b");
    sftp.posix_rename(b"/a", b"/b")
        .expect("posix-rename over a file");
    assert_eq!(sftp.get(b"/b").expect("get"), b"content of a");
    assert_eq!(
        sftp.get(b"/a").expect_err("moved away").code(),
        Some(status::NO_SUCH_FILE)
    );
    ledger::agrees_with_tree(&layover, "partner");
}

/// lftp#217: it uploads under a temporary name and renames over the old file.
#[test]
fn s06_lftp_replaces_a_file_by_way_of_a_temporary_name() {
    let (layover, account) = serve(Engine::Sqlite);
    let source = account.client_dir.join("source");
    for content in ["first", "second"] {
        std::fs::write(&source, content).expect("write source");
        let commands = format!(
            "set xfer:use-temp-file yes\nset sftp:auto-confirm yes\nput {} -o /file",
            source.display()
        );
        lftp(&account.by_key(&layover), &commands, PATIENCE).expect_ok();
        let stored = std::fs::read_to_string(layover.homes().join("partner/file"));
        assert_eq!(stored.expect("read"), content);
    }
    ledger::agrees_with_tree(&layover, "partner");
}

fn a_folder_moves_with_all_its_files_and_their_arrival(protocol: Protocol, engine: Engine) {
    let (layover, account) = serve(engine);
    let mut partner = account.partner(&layover, protocol);
    partner.make_dir(b"/in").expect("mkdir");
    partner.make_dir(b"/in/deep").expect("mkdir");
    partner.put(b"/in/deep/file", b"content").expect("put");
    partner
        .put(b"/in-neighbour", b"a name that begins like the folder's")
        .expect("put");
    let before = ledger::file(&layover, "partner", "/in/deep/file");
    partner.rename(b"/in", b"/out").expect("rename folder");
    let after = ledger::file(&layover, "partner", "/out/deep/file");
    assert_eq!(after.arrived_at(), before.arrived_at());
    assert_eq!(after.expires_at(), before.expires_at());
    ledger::agrees_with_tree(&layover, "partner");
}

fn a_folder_is_not_moved_into_itself(protocol: Protocol, engine: Engine) {
    let (layover, account) = serve(engine);
    let mut partner = account.partner(&layover, protocol);
    partner.make_dir(b"/dir").expect("mkdir");
    partner.put(b"/dir/file", b"content").expect("put");
    partner
        .rename(b"/dir", b"/dir/dir")
        .expect_err("rename into itself");
    partner
        .replace(b"/dir", b"/dir/dir")
        .expect_err("replace into itself");
    assert_eq!(partner.get(b"/dir/file").expect("get"), b"content");
    ledger::agrees_with_tree(&layover, "partner");
}

fn a_rename_to_the_same_name_loses_nothing(protocol: Protocol, engine: Engine) {
    let (layover, account) = serve(engine);
    let mut partner = account.partner(&layover, protocol);
    partner.put(b"/file", b"content").expect("put");
    partner
        .replace(b"/file", b"/file")
        .expect("rename to itself");
    assert_eq!(partner.get(b"/file").expect("get"), b"content");
    ledger::agrees_with_tree(&layover, "partner");
}

#[test]
fn openssh_renames_over_a_file_as_its_users_expect() {
    let (layover, account) = serve(Engine::Sqlite);
    let mut sftp = account.sftp(&layover);
    sftp.put(b"/a", b"new").expect("put");
    sftp.put(b"/b", b"old").expect("put");
    // OpenSSH's `rename` uses posix-rename when the server announces it.
    openssh::sftp(&account.by_key(&layover), &[], "rename /a /b\n", PATIENCE).expect_ok();
    assert_eq!(sftp.get(b"/b").expect("get"), b"new");
}

fn publish_on_rename_shows_an_upload_only_after_its_rename(protocol: Protocol, engine: Engine) {
    let layover = Setup::new(engine).prepare();
    let account = layover
        .account("partner")
        .password(PASSWORD)
        .with(&["--publish-on-rename"])
        .add();
    layover.start();
    let mut partner = account.partner(&layover, protocol);
    partner
        .put(b"/report.csv.part", b"whole content")
        .expect("put");
    assert_eq!(
        layover_tests::tree::files(&layover.homes().join("partner")).len(),
        0
    );
    partner
        .rename(b"/report.csv.part", b"/report.csv")
        .expect("rename");
    assert_eq!(partner.names(b"/").expect("list"), [b"report.csv".to_vec()]);
    assert_eq!(partner.get(b"/report.csv").expect("get"), b"whole content");
    ledger::agrees_with_tree(&layover, "partner");
}
