//! What broke other SFTP servers, packet by packet.

use std::time::Duration;

use layover_tests::packet::{Body, frame, open, reply, request, status};
use layover_tests::proc::resident_kib;
use layover_tests::sftp::{Fault, settled};
use layover_tests::wait::{self, PATIENCE};
use layover_tests::{Account, Engine, Layover, Setup, on_both_engines};

use crate::ledger;

fn serve(engine: Engine) -> (Layover, Account) {
    let layover = Setup::new(engine).prepare();
    let account = layover.account("partner").add();
    layover.start();
    (layover, account)
}

/// S02: rclone 1.60 sends bytes behind the data of a WRITE.
#[test]
fn s02_a_write_with_trailing_bytes_is_accepted_without_them() {
    let (layover, account) = serve(Engine::Sqlite);
    let mut sftp = account.sftp(&layover);
    let handle = sftp.open(b"/file", open::FRESH).expect("open");
    let body = Body::new()
        .string(&handle.0)
        .u64(0)
        .string(b"content")
        .raw(b"trailing");
    sftp.done(request::WRITE, &body)
        .expect("write with trailing bytes");
    sftp.close(&handle).expect("close");
    assert_eq!(sftp.get(b"/file").expect("get"), b"content");
}

/// S02: such packets end the session, because what follows them cannot be trusted to be a packet.
#[test]
fn s02_packets_without_sense_end_the_session_and_publish_nothing() {
    let (layover, account) = serve(Engine::Sqlite);
    let cases: [(&str, Vec<u8>); 4] = [
        ("length 0", vec![0, 0, 0, 0]),
        ("length 4 GiB", vec![0xff, 0xff, 0xff, 0xff, request::WRITE]),
        (
            "length 16 MiB",
            [&(16_u32 << 20).to_be_bytes()[..], &[request::WRITE]].concat(),
        ),
        ("no id", vec![0, 0, 0, 1, request::CLOSE]),
    ];
    for (what, bytes) in cases {
        let mut sftp = account.sftp(&layover);
        let handle = sftp.open(b"/file", open::FRESH).expect("open");
        sftp.write(&handle, 0, b"half").expect("write");
        sftp.send_raw(&bytes);
        let ended = loop {
            match sftp.receive_any() {
                // An answer with an error may come before the end.
                Some(answer) => assert!(settled(&answer).is_err(), "{what}: {answer:?}"),
                None => break true,
            }
        };
        assert!(ended, "{what}");
        assert!(
            !layover.homes().join("partner/file").exists(),
            "{what} published half a file"
        );
    }
    account
        .sftp(&layover)
        .put(b"/file", b"the server is well")
        .expect("put");
}

/// S02: a packet shorter than its fields say is answered or ends the session; the fields never
/// reach into the next packet.
#[test]
fn s02_fields_longer_than_their_packet_never_reach_into_the_next() {
    let (layover, account) = serve(Engine::Sqlite);
    for kind in [
        request::OPEN,
        request::CLOSE,
        request::READ,
        request::WRITE,
        request::STAT,
        request::RENAME,
        request::SETSTAT,
        request::EXTENDED,
    ] {
        let mut sftp = account.sftp(&layover);
        sftp.put(b"/file", b"content").expect("put");
        // A string of 1,000 bytes is announced, four follow.
        let body = Body::new().u32(77).u32(1000).raw(b"/fil");
        sftp.send_raw(&frame(kind, body.bytes()));
        // The end of the session is an answer, too.
        if let Some(answer) = sftp.receive_any() {
            assert_eq!(answer.id, 77, "packet type {kind}");
            assert!(settled(&answer).is_err(), "packet type {kind}: {answer:?}");
            if let Ok(content) = sftp.get(b"/file") {
                assert_eq!(content, b"content", "packet type {kind}");
            }
        }
    }
}

/// S02: whatever one session sends, the others of the same account never notice.
#[test]
fn s02_what_one_session_breaks_no_other_session_feels() {
    let (layover, account) = serve(Engine::Sqlite);
    let mut well = account.sftp(&layover);
    well.put(b"/kept", b"kept").expect("put");
    let kept = ledger::file(&layover, "partner", "/kept");
    let upload = well.open(b"/upload", open::FRESH).expect("open");
    let fsync = Body::new().string(b"fsync@openssh.com").string(b"none");
    let cases: Vec<(u8, Body, &[u32])> = vec![
        (
            request::OPEN,
            Body::new().string(b"/x").u32(0).no_attrs(),
            &[status::FAILURE],
        ),
        (
            request::OPEN,
            Body::new().string(b"/x").u32(u32::MAX).u32(0xf),
            &[status::BAD_MESSAGE],
        ),
        (
            request::OPEN,
            Body::new().string(b"/none").u32(open::READ).no_attrs(),
            &[status::NO_SUCH_FILE],
        ),
        (
            request::READ,
            Body::new().string(b"none").u64(u64::MAX).u32(u32::MAX),
            &[status::FAILURE],
        ),
        (
            request::WRITE,
            Body::new().string(b"none").u64(1 << 63).string(b"x"),
            &[status::FAILURE],
        ),
        (
            request::WRITE,
            Body::new().u32(u32::MAX).raw(b"x"),
            &[status::BAD_MESSAGE],
        ),
        (
            request::SETSTAT,
            Body::new().string(b"/kept").u32(1).u64(u64::MAX),
            &[status::FAILURE],
        ),
        (
            request::SETSTAT,
            Body::new().string(b"/kept").u32(0x8000_0000).u32(u32::MAX),
            &[status::BAD_MESSAGE],
        ),
        (request::EXTENDED, fsync, &[status::FAILURE]),
        (request::EXTENDED, Body::new(), &[status::BAD_MESSAGE]),
        (
            request::EXTENDED,
            Body::new().string(b"copy-data").u32(0),
            &[status::BAD_MESSAGE],
        ),
        (0, Body::new(), &[status::OP_UNSUPPORTED]),
        (255, Body::new().raw(&[0xff; 64]), &[status::OP_UNSUPPORTED]),
    ];
    for (round, (kind, body, codes)) in cases.iter().enumerate() {
        let mut broken = account.sftp(&layover);
        let fault = broken.done(*kind, body).expect_err("refused");
        let code = fault
            .code()
            .unwrap_or_else(|| panic!("{kind} {body:?}: the session ended"));
        assert!(codes.contains(&code), "{kind} {body:?}: {fault:?}");
        // Its own session goes on, and so does the upload of the other.
        assert_eq!(
            broken.get(b"/kept").expect("get"),
            b"kept",
            "{kind} {body:?}"
        );
        well.write(&upload, round as u64, b"w").expect("write");
        // Now what ends it, in the middle of a file.
        let handle = broken.open(b"/half", open::FRESH).expect("open");
        broken.write(&handle, 0, b"half").expect("write");
        broken.send_raw(&[0xff; 32]);
        assert_eq!(broken.receive_any(), None, "the session ends");
        well.write(&upload, round as u64, b"W").expect("write");
    }
    well.close(&upload).expect("close");
    assert_eq!(well.get(b"/upload").expect("get"), vec![b'W'; cases.len()]);
    assert!(!layover.homes().join("partner/half").exists());
    let after = ledger::file(&layover, "partner", "/kept");
    assert_eq!(after.arrived_at(), kept.arrived_at());
    ledger::agrees_with_tree(&layover, "partner");
}

/// Times that a signed reader takes for the years before 1970, and the last that there are: shown
/// as they were set, and none decides when the file goes (R01).
#[test]
fn r01_times_beyond_2038_are_shown_and_decide_nothing() {
    let (layover, account) = serve(Engine::Sqlite);
    let mut sftp = account.sftp(&layover);
    sftp.put(b"/file", b"content").expect("put");
    let before = ledger::file(&layover, "partner", "/file");
    for seconds in [0, i32::MAX as u32, i32::MAX as u32 + 1, u32::MAX] {
        sftp.set_times(b"/file", seconds, seconds).expect("set");
        let shown = sftp.stat(b"/file").expect("stat").modified_s;
        assert_eq!(shown, Some(seconds));
        assert_eq!(sftp.names(b"/").expect("list"), ["file"]);
        let after = ledger::file(&layover, "partner", "/file");
        assert_eq!(after.expires_at(), before.expires_at(), "{seconds}");
    }
}

/// Beyond 4 GiB nothing is cut to 32 bits; holes are read as zeros, and the quota counts the length.
#[test]
fn a_sparse_file_beyond_4_gib_is_read_as_it_was_written() {
    const FAR: u64 = (4 << 30) + 5;
    let (layover, account) = serve(Engine::Sqlite);
    let mut sftp = account.sftp(&layover);
    let handle = sftp.open(b"/sparse", open::FRESH).expect("open");
    sftp.write(&handle, FAR, b"end").expect("write");
    sftp.write(&handle, 0, b"start").expect("write");
    sftp.close(&handle).expect("close");
    assert_eq!(
        sftp.stat(b"/sparse").expect("stat").size_bytes,
        Some(FAR + 3)
    );
    let handle = sftp.open(b"/sparse", open::READ).expect("open");
    for (offset, expected) in [
        (0, &b"start\0\0\0"[..]),
        (5, &[0; 8]),
        (FAR - 5, b"\0\0\0\0\0end"),
        (FAR + 1, b"nd"),
        (FAR + 3, b""),
        (1 << 62, b""),
    ] {
        assert_eq!(sftp.read(&handle, offset, 8).expect("read"), expected);
    }
    sftp.close(&handle).expect("close");
    layover.admin(&["account", "set", "partner", "--quota", "5GiB"]);
    let mut limited = account.sftp(&layover);
    let handle = limited.open(b"/second", open::FRESH).expect("open");
    limited
        .write(&handle, 1 << 30, b"x")
        .expect_err("the length counts, holes or not");
    limited.close(&handle).expect_err("and is not published");
    ledger::agrees_with_tree(&layover, "partner");
}

#[test]
fn an_unknown_packet_type_is_answered_as_unsupported() {
    let (layover, account) = serve(Engine::Sqlite);
    let mut sftp = account.sftp(&layover);
    for kind in [19, 21, 42, 99] {
        let refused = sftp.done(kind, &Body::new().string(b"/x").string(b"/y"));
        let fault = refused.expect_err("unknown packet type");
        assert_eq!(
            fault.code(),
            Some(status::OP_UNSUPPORTED),
            "{kind}: {fault:?}"
        );
    }
    let unknown = Body::new().string(b"nobody@example.com").raw(b"anything");
    let fault = sftp
        .done(request::EXTENDED, &unknown)
        .expect_err("unknown extension");
    assert_eq!(fault.code(), Some(status::OP_UNSUPPORTED));
}

/// S05: handles are capped; each closed one makes room for another.
#[test]
fn s05_open_handles_are_capped() {
    /// More than any client needs at once.
    const ENOUGH: usize = 5000;
    let (layover, account) = serve(Engine::Sqlite);
    let mut sftp = account.sftp(&layover);
    sftp.put(b"/file", b"content").expect("put");
    let mut handles = Vec::new();
    let refused = loop {
        match sftp.open(b"/file", open::READ) {
            Ok(handle) => handles.push(handle),
            Err(fault) => break fault,
        }
        assert!(handles.len() < ENOUGH, "{ENOUGH} handles were granted");
    };
    assert_eq!(refused.code(), Some(status::FAILURE), "{refused:?}");
    assert!(handles.len() >= 64, "only {} handles", handles.len());
    let closed = handles.pop().expect("a handle");
    sftp.close(&closed).expect("close");
    sftp.open(b"/file", open::READ).expect("room for another");
    sftp.open(b"/file", open::READ).expect_err("the cap holds");
}

/// S05: a client that asks without end and never reads costs no memory without end, and gets all
/// its answers when it reads at last.
#[test]
fn s05_a_client_that_never_reads_is_held_back_and_loses_nothing() {
    /// Answers of 32 KiB each: 64 MiB in all.
    const REQUESTS: u32 = 2048;
    let (layover, account) = serve(Engine::Sqlite);
    let mut sftp = account.sftp(&layover);
    let content = vec![7; 32 * 1024];
    sftp.put(b"/file", &content).expect("put");
    let handle = sftp.open(b"/file", open::READ).expect("open");
    let before = resident_kib(layover.pid());
    let ids: Vec<u32> = (1000..1000 + REQUESTS).collect();
    let packets: Vec<u8> = ids
        .iter()
        .flat_map(|id| {
            let body = Body::new().u32(*id).string(&handle.0).u64(0).u32(32 * 1024);
            frame(request::READ, body.bytes())
        })
        .collect();
    sftp.send_raw(&packets);
    // Silence, in which a server without a cap would fill its memory.
    wait::let_pass(Duration::from_secs(3));
    let grown = resident_kib(layover.pid()).saturating_sub(before);
    assert!(grown < 32 * 1024, "{grown} KiB grown for one silent client");
    for id in ids {
        let answer = sftp.receive(id).expect("every answer comes");
        assert_eq!(answer.kind, reply::DATA);
        assert_eq!(answer.body.len(), 4 + content.len());
    }
}

on_both_engines!(s07_a_client_that_dies_leaves_no_session_and_no_published_half);

fn s07_a_client_that_dies_leaves_no_session_and_no_published_half(engine: Engine) {
    let (layover, account) = serve(engine);
    let mut sftp = account.sftp(&layover);
    let handle = sftp.open(b"/file", open::FRESH).expect("open");
    sftp.write(&handle, 0, b"half").expect("write");
    assert_eq!(layover.rows(&["session", "list"]).len(), 1);
    drop(sftp);
    wait::until("the session to go", PATIENCE, || {
        layover.rows(&["session", "list"]).is_empty().then_some(())
    });
    assert!(
        !layover.homes().join("partner/file").exists(),
        "half a file was published"
    );
    assert!(ledger::stored(&layover, "partner").is_empty());
    // What was interrupted is there to be gone on with, for the same account.
    let mut sftp = account.sftp(&layover);
    assert_eq!(
        sftp.stat(b"/file").expect("stat of the partial").size_bytes,
        Some(4)
    );
    assert!(sftp.names(b"/").expect("list").is_empty());
    let handle = sftp.open(b"/file", open::WRITE).expect("resume");
    sftp.write(&handle, 4, b" and half").expect("write");
    sftp.close(&handle).expect("close");
    assert_eq!(sftp.get(b"/file").expect("get"), b"half and half");
    ledger::agrees_with_tree(&layover, "partner");
}

#[test]
fn s07_openssh_resumes_an_upload_where_it_broke_off() {
    let (layover, account) = serve(Engine::Sqlite);
    let source = account.client_dir.join("source");
    let sum = layover_tests::content::write_file(&source, 300_000, 3);
    let whole = std::fs::read(&source).expect("read");
    let mut sftp = account.sftp(&layover);
    let handle = sftp.open(b"/file", open::FRESH).expect("open");
    sftp.write_all(&handle, &whole[..100_000]).expect("write");
    drop(sftp);
    wait::until("the session to go", PATIENCE, || {
        layover.rows(&["session", "list"]).is_empty().then_some(())
    });
    let commands = format!("reput {} /file\n", source.display());
    layover_tests::openssh::sftp(&account.by_key(&layover), &[], &commands, PATIENCE).expect_ok();
    assert_eq!(
        layover_tests::content::sha256(&layover.homes().join("partner/file")),
        sum
    );
}

#[test]
fn an_exclusive_open_never_replaces() {
    let (layover, account) = serve(Engine::Sqlite);
    let mut sftp = account.sftp(&layover);
    let flags = open::FRESH | open::EXCL;
    let handle = sftp.open(b"/file", flags).expect("exclusive create");
    sftp.write(&handle, 0, b"first").expect("write");
    sftp.close(&handle).expect("close");
    let refused = sftp
        .open(b"/file", flags)
        .expect_err("exclusive over a file");
    assert!(
        matches!(
            refused,
            Fault::Status {
                code: status::FAILURE,
                ..
            }
        ),
        "{refused:?}"
    );
    assert_eq!(sftp.get(b"/file").expect("get"), b"first");
}

#[test]
fn a_close_after_a_failed_write_never_publishes() {
    let (layover, account) = serve(Engine::Sqlite);
    layover.admin(&["account", "set", "partner", "--quota", "1KiB"]);
    let mut sftp = account.sftp(&layover);
    let handle = sftp.open(b"/file", open::FRESH).expect("open");
    sftp.write(&handle, 0, &[1; 512]).expect("write");
    sftp.write(&handle, 512, &[1; 1024])
        .expect_err("above the quota");
    sftp.close(&handle).expect_err("close after a failed write");
    assert!(!layover.homes().join("partner/file").exists());
    assert!(ledger::stored(&layover, "partner").is_empty());
}

#[test]
fn a_large_folder_is_listed_whole() {
    const FILES: usize = 3000;
    let (layover, account) = serve(Engine::Sqlite);
    let folder = layover.homes().join("partner/many");
    std::fs::create_dir_all(&folder).expect("make folder");
    for index in 0..FILES {
        std::fs::create_dir(folder.join(format!("{index:05}"))).expect("make folder");
    }
    let mut sftp = account.sftp(&layover);
    let entries = sftp.list(b"/many").expect("list");
    assert_eq!(entries.len(), FILES);
    assert!(entries.iter().all(|entry| entry.attrs.is_dir()));
}

/// The server answers a request before the next one of the same handle takes effect, whatever is
/// under way: a CLOSE pipelined behind WRITEs comes after them.
#[test]
fn pipelined_requests_take_effect_in_order() {
    let (layover, account) = serve(Engine::Sqlite);
    let mut sftp = account.sftp(&layover);
    for round in 0..20_u8 {
        let handle = sftp.open(b"/file", open::FRESH).expect("open");
        let mut ids = Vec::new();
        for chunk in 0..10_u64 {
            let data = vec![round; 5000];
            let body = Body::new()
                .string(&handle.0)
                .u64(chunk * 5000)
                .string(&data);
            ids.push(sftp.send(request::WRITE, &body));
        }
        ids.push(sftp.send(request::CLOSE, &Body::new().string(&handle.0)));
        for id in ids {
            let answer = sftp.receive(id).expect("an answer");
            settled(&answer).expect("every request succeeds");
        }
        let stored = std::fs::read(layover.homes().join("partner/file")).expect("read");
        assert!(
            stored == vec![round; 50_000],
            "round {round}: {} bytes",
            stored.len()
        );
    }
}

#[test]
fn a_handle_that_was_closed_or_never_given_is_refused() {
    let (layover, account) = serve(Engine::Sqlite);
    let mut sftp = account.sftp(&layover);
    let handle = sftp.open(b"/file", open::FRESH).expect("open");
    sftp.close(&handle).expect("close");
    sftp.close(&handle).expect_err("closed twice");
    sftp.write(&handle, 0, b"x").expect_err("write after close");
    for name in [&b""[..], b"x", b"0000", &[0xff; 4], &[b'h'; 300]] {
        let handle = layover_tests::sftp::HandleName(name.to_vec());
        assert!(
            sftp.read(&handle, 0, 10)
                .expect_err("no such handle")
                .code()
                .is_some()
        );
    }
    assert_eq!(sftp.stat(b"/file").expect("stat").size_bytes, Some(0));
}
