//! What has a name is whole: uploads appear at once and complete, or not at all.

use std::sync::atomic::{AtomicBool, Ordering};

use layover_tests::account::PASSWORD;
use layover_tests::content::{Dice, MIB, Seal, sealed, unseal, write_file};
use layover_tests::partner::Why;
use layover_tests::wait::{self, PATIENCE};
use layover_tests::{
    Account, Engine, Layover, Protocol, Setup, openssh, over_both_protocols, tree,
};

use crate::ledger;

fn serve(engine: Engine) -> (Layover, Account) {
    let layover = Setup::new(engine).prepare();
    let account = layover.account("partner").password(PASSWORD).add();
    layover.start();
    (layover, account)
}

over_both_protocols!(
    a_reader_never_sees_a_part,
    the_last_of_two_uploads_to_finish_wins_whole,
    r03_an_overwrite_is_a_fresh_file_and_a_failed_one_leaves_the_old,
    r04_an_aborted_upload_is_never_published,
);

/// Neither a partner who fetches by the same protocol or the other one, nor whoever reads the tree.
fn a_reader_never_sees_a_part(protocol: Protocol, engine: Engine) {
    const OVERWRITES: u64 = 25;
    let (layover, account) = serve(engine);
    let mut dice = Dice::thrown(&format!("overwrites by {protocol:?} on {engine:?}"));
    let mut writer = account.partner(&layover, protocol);
    let mut content = |sequence| {
        let seal = Seal {
            uploader: 1,
            sequence,
        };
        let bytes = usize::try_from(dice.below(400_000)).expect("small");
        sealed(seal, bytes, &mut dice)
    };
    writer.put(b"/file", &content(0)).expect("put");
    let written = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let on_disk = layover.homes().join("partner/file");
        let mut fetchers = [protocol, protocol.other()].map(|by| account.partner(&layover, by));
        let written = &written;
        let watching = scope.spawn(move || {
            let (mut seen, mut looks) = (0, 0);
            while !written.load(Ordering::Relaxed) {
                let mut whole = |what: &str, content: &[u8]| {
                    let seal = unseal(content).unwrap_or_else(|fault| panic!("{what}: {fault}"));
                    assert!(seal.sequence >= seen, "{what}: an older file came back");
                    seen = seal.sequence;
                    looks += 1;
                };
                for fetcher in &mut fetchers {
                    whole("fetched", &fetcher.get(b"/file").expect("get"));
                }
                whole("on the disk", &std::fs::read(&on_disk).expect("read"));
            }
            looks
        });
        for sequence in 1..=OVERWRITES {
            writer.put(b"/file", &content(sequence)).expect("put");
            assert_eq!(writer.names(b"/").expect("list"), [b"file".to_vec()]);
        }
        written.store(true, Ordering::Relaxed);
        assert!(watching.join().expect("no panic") > 0, "nobody looked");
    });
    ledger::agrees_with_tree(&layover, "partner");
}

/// Two uploads of one name: each is whole, and the last to finish wins.
fn the_last_of_two_uploads_to_finish_wins_whole(protocol: Protocol, engine: Engine) {
    let (layover, account) = serve(engine);
    let mut first = account.partner(&layover, protocol);
    let mut second = account.partner(&layover, protocol);
    first.begin_upload(b"/file", b"11111").expect("begin");
    second.begin_upload(b"/file", b"222").expect("begin");
    second.finish_upload(b"22").expect("finish");
    assert_eq!(second.get(b"/file").expect("get"), b"22222");
    first.finish_upload(b"11111").expect("finish");
    assert_eq!(second.get(b"/file").expect("get"), b"1111111111");
    ledger::agrees_with_tree(&layover, "partner");
    let uploads = layover.rows(&["journal", "--limit", "0", "--kind", "transfer"]);
    let count = uploads
        .iter()
        .filter(|entry| entry["action"] == "upload" && entry["outcome"] == "ok")
        .count();
    assert_eq!(count, 2, "both are in the journal: {uploads:?}");
}

/// R03: into a fresh inode, under no name that anybody could pick up, and the old file stays until
/// the new one is whole.
fn r03_an_overwrite_is_a_fresh_file_and_a_failed_one_leaves_the_old(
    protocol: Protocol,
    engine: Engine,
) {
    let (layover, account) = serve(engine);
    let home = layover.homes().join("partner");
    let inode = || {
        let file = std::fs::metadata(home.join("file")).expect("stat");
        std::os::unix::fs::MetadataExt::ino(&file)
    };
    // More than all buffers on the way hold, so that it is still being read at the end.
    let old_content = Dice::seeded(5).bytes(24 << 20);
    let mut partner = account.partner(&layover, protocol);
    partner.put(b"/file", &old_content).expect("put");
    let (old_inode, old) = (inode(), ledger::file(&layover, "partner", "/file"));
    let mut reader = account.partner(&layover, protocol);
    let mut reading = reader.begin_download(b"/file", 10).expect("open");

    layover.admin(&["account", "set", "partner", "--quota", "25MiB"]);
    let mut limited = account.partner(&layover, protocol);
    let refused = limited.put(b"/file", &vec![1; 26 << 20]);
    assert_eq!(refused.expect_err("above the quota").why, Why::NoRoom);
    assert!(partner.get(b"/file").expect("get") == old_content);
    assert_eq!(inode(), old_inode);
    let after = ledger::file(&layover, "partner", "/file");
    assert_eq!(after.arrived_at(), old.arrived_at());

    limited.begin_upload(b"/file", b"ne").expect("begin");
    assert_eq!(
        tree::files(&home).len(),
        1,
        "the unfinished file can be picked up"
    );
    limited.finish_upload(b"w").expect("finish");
    assert_ne!(inode(), old_inode);
    assert_eq!(partner.get(b"/file").expect("get"), b"new");
    reading.extend(reader.finish_download().expect("what was opened"));
    assert!(reading == old_content, "{} bytes were read", reading.len());
    ledger::agrees_with_tree(&layover, "partner");
}

/// R04: whatever ends an upload but what its protocol ends a whole one with. (What FTPS can say
/// besides, ABOR and a bare FIN, is tested beside its engine and in `ftps.rs`.)
fn r04_an_aborted_upload_is_never_published(protocol: Protocol, engine: Engine) {
    let (layover, account) = serve(engine);
    let begin = |name: &str| {
        let mut partner = account.partner(&layover, protocol);
        let begun = partner.begin_upload(name.as_bytes(), b"half");
        begun.expect("begin");
        partner
    };
    drop(begin("/connection-lost"));
    if protocol == Protocol::Sftp {
        begin_over_sftp(&layover, &account, "/channel-closed").close_channel();
        begin_over_sftp(&layover, &account, "/protocol-broken").send_raw(&[0xff; 8]);
    }
    let mut killed = begin("/session-killed");
    for session in layover.rows(&["session", "list"]) {
        // One that is ending by itself may be gone already.
        layover.run(&["session", "kill", session["id"].as_str().expect("an id")]);
    }
    assert!(killed.closed_within(PATIENCE), "still there");
    if protocol == Protocol::Sftp {
        kill_an_openssh_client(&layover, &account);
    }
    wait::until("the sessions to go", PATIENCE, || {
        layover.rows(&["session", "list"]).is_empty().then_some(())
    });
    assert_eq!(tree::files(&layover.homes().join("partner")).len(), 0);
    assert!(ledger::stored(&layover, "partner").is_empty());
    let mut partner = account.partner(&layover, protocol);
    assert!(partner.names(b"/").expect("list").is_empty());
}

fn begin_over_sftp(layover: &Layover, account: &Account, name: &str) -> layover_tests::sftp::Sftp {
    let mut sftp = account.sftp(layover);
    let flags = layover_tests::packet::open::FRESH;
    let handle = sftp.open(name.as_bytes(), flags).expect("open");
    sftp.write(&handle, 0, b"half").expect("write");
    sftp
}

/// A real client that is killed: its ssh sees the end of its input and says goodbye in order.
fn kill_an_openssh_client(layover: &Layover, account: &Account) {
    let source = account.client_dir.join("source");
    write_file(&source, 4 * MIB, 3);
    let put = format!("put {} /client-killed\n", source.display());
    let login = account.by_key(layover);
    let client = openssh::start_sftp(&login, &["-l", "4096"], &put);
    wait::until("the client to begin", PATIENCE, || {
        let uploads = std::fs::read_dir(layover.homes().join(".layover/incoming"));
        let grown = uploads.expect("hidden folder").any(|entry| {
            let size = entry.ok().and_then(|entry| entry.metadata().ok());
            size.is_some_and(|file| file.len() > 32 * 1024)
        });
        grown.then_some(())
    });
    drop(client);
}
