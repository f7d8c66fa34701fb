//! One request, one right answer.

use super::client::{Client, FRESH};
use crate::codec::{Code, MAX_DATA_BYTES, open_flag};
use crate::fixture::at;

#[tokio::test]
async fn a_file_goes_up_in_any_order_and_comes_down_as_it_is() {
    let mut client = Client::new().await;
    let handle = client.opened("/file", FRESH).await;
    for (offset, data) in [(6, &b"world"[..]), (0, b"hello"), (5, b" ")] {
        assert!(client.write(&handle, offset, data).await.is(Code::Ok));
    }
    assert_eq!(client.world.content("file"), None, "not published yet");
    assert!(client.close(&handle).await.is(Code::Ok));
    assert_eq!(client.world.content("file").unwrap(), b"hello world");

    let handle = client.opened("/file", open_flag::READ).await;
    let middle = client
        .ask(5, |wire| wire.string(&handle).u64(4).u32(3))
        .await;
    assert_eq!(&middle.string()[..], b"o w");
}

// The kernel's offsets are signed: beyond 2^63 it answers EINVAL, which would
// look like a fault of ours.
#[tokio::test]
async fn a_read_at_or_behind_the_end_is_the_end_of_the_file() {
    let mut client = Client::new().await;
    client.put("/file", b"12345").await;
    let (both, reading) = (open_flag::READ | open_flag::WRITE, open_flag::READ);
    for flags in [reading, both] {
        let handle = client.opened("/file", flags).await;
        for offset in [5, 6, 1 << 32, (1 << 63) - 1, 1 << 63, u64::MAX] {
            let reply = client
                .ask(5, |wire| wire.string(&handle).u64(offset).u32(10))
                .await;
            assert!(reply.is(Code::Eof), "{flags} {offset}: {reply:?}");
        }
        let last = client
            .ask(5, |wire| wire.string(&handle).u64(4).u32(u32::MAX))
            .await;
        assert_eq!(&last.string()[..], b"5");
    }
}

#[tokio::test]
async fn an_empty_file_ends_at_once() {
    let mut client = Client::new().await;
    client.put("/empty", b"").await;
    let handle = client.opened("/empty", open_flag::READ).await;
    let reply = client
        .ask(5, |wire| wire.string(&handle).u64(0).u32(10))
        .await;
    assert!(reply.is(Code::Eof));
    assert!(client.close(&handle).await.is(Code::Ok));
}

#[tokio::test]
async fn one_read_returns_no_more_than_the_limit_we_tell() {
    let mut client = Client::new().await;
    client.put("/file", &vec![7; MAX_DATA_BYTES + 1]).await;
    let handle = client.opened("/file", open_flag::READ).await;
    for (asked, got) in [
        (MAX_DATA_BYTES - 1, MAX_DATA_BYTES - 1),
        (MAX_DATA_BYTES, MAX_DATA_BYTES),
        (MAX_DATA_BYTES + 1, MAX_DATA_BYTES),
    ] {
        let asked = u32::try_from(asked).unwrap();
        let reply = client
            .ask(5, |wire| wire.string(&handle).u64(0).u32(asked))
            .await;
        assert_eq!(reply.string().len(), got);
    }
}

#[tokio::test]
async fn a_write_beyond_what_a_file_can_hold_fails_and_publishes_nothing() {
    for offset in [(1 << 63) - 1, 1 << 63, u64::MAX] {
        let mut client = Client::new().await;
        let handle = client.opened("/file", FRESH).await;
        let reply = client.write(&handle, offset, b"x").await;
        assert!(reply.is(Code::Failure), "{offset}: {reply:?}");
        assert!(client.close(&handle).await.is(Code::Failure));
        assert_eq!(client.world.content("file"), None);
    }
}

fn size(wire: crate::fixture::Wire, path: &str, bytes: u64) -> crate::fixture::Wire {
    wire.string(path).u32(1).u64(bytes)
}

#[tokio::test]
async fn setting_the_size_changes_a_file_that_is_there() {
    let mut client = Client::new().await;
    client.put("/file", b"12345").await;
    assert!(client.ask(9, |w| size(w, "/file", 2)).await.is(Code::Ok));
    assert_eq!(client.world.content("file").unwrap(), b"12");
}

#[tokio::test]
async fn setting_the_size_makes_no_file() {
    let mut client = Client::new().await;
    let reply = client.ask(9, |w| size(w, "/none", 2)).await;
    assert!(reply.is(Code::NoSuchFile), "{reply:?}");
    assert_eq!(client.world.content("none"), None);
    assert!(client.ask(9, |w| size(w, "/", 2)).await.is(Code::Failure));
}

// An unfinished upload is never visible: to cut it is not to finish it.
#[tokio::test]
async fn setting_the_size_of_an_interrupted_upload_publishes_nothing() {
    let mut client = Client::new().await;
    let handle = client.opened("/file", FRESH).await;
    assert!(client.write(&handle, 0, b"first half").await.is(Code::Ok));
    client.dispatcher.interrupt_all().await;

    assert!(client.ask(9, |w| size(w, "/file", 5)).await.is(Code::Ok));

    assert_eq!(client.world.content("file"), None);
    let session = client.world.session().await;
    let info = session.stat(&at("/file")).await.unwrap();
    assert!(info.partial);
    assert_eq!(info.size_bytes, 5);
    assert!(session.list(&at("/")).await.unwrap().is_empty());
}

#[tokio::test]
async fn in_append_mode_every_write_goes_to_the_end_whatever_it_says() {
    let mut client = Client::new().await;
    client.put("/file", b"old").await;
    let append = open_flag::WRITE | open_flag::APPEND;
    let handle = client.opened("/file", append).await;
    for (offset, data) in [(0, &b"+1"[..]), (1 << 62, b"+2"), (u64::MAX, b"+3")] {
        let reply = client.write(&handle, offset, data).await;
        assert!(reply.is(Code::Ok), "{offset}: {reply:?}");
    }
    assert_eq!(client.world.content("file").unwrap(), b"old", "not before");
    assert!(client.close(&handle).await.is(Code::Ok));
    assert_eq!(client.world.content("file").unwrap(), b"old+1+2+3");
}

// Copy-on-write: whoever reads the published file sees it as it was until CLOSE.
#[tokio::test]
async fn a_file_open_for_reading_and_writing_shows_its_own_writes_alone() {
    let mut client = Client::new().await;
    client.put("/file", b"0123456789").await;
    let both = client
        .opened("/file", open_flag::READ | open_flag::WRITE)
        .await;
    let reading = client.opened("/file", open_flag::READ).await;
    assert!(client.write(&both, 2, b"XY").await.is(Code::Ok));
    for (handle, seen) in [(&both, b"01XY456789"), (&reading, b"0123456789")] {
        let reply = client
            .ask(5, |wire| wire.string(handle).u64(0).u32(100))
            .await;
        assert_eq!(&reply.string()[..], seen);
    }
    assert!(client.close(&both).await.is(Code::Ok));
    assert_eq!(client.world.content("file").unwrap(), b"01XY456789");
}

#[tokio::test]
async fn open_flags_say_what_may_be_there_and_what_becomes_of_it() {
    use open_flag::{CREAT, EXCL, TRUNC, WRITE};
    for (flags, there, absent) in [
        (WRITE, Ok(&b"x1234"[..]), Err(Code::NoSuchFile)),
        (WRITE | CREAT, Ok(b"x1234"), Ok(&b"x"[..])),
        (WRITE | TRUNC, Ok(b"x"), Err(Code::NoSuchFile)),
        (WRITE | CREAT | TRUNC, Ok(b"x"), Ok(b"x")),
        (WRITE | CREAT | EXCL, Err(Code::Failure), Ok(b"x")),
        (WRITE | CREAT | TRUNC | EXCL, Err(Code::Failure), Ok(b"x")),
        (CREAT, Err(Code::Failure), Err(Code::Failure)),
    ] {
        let mut client = Client::new().await;
        client.put("/there", b"01234").await;
        for (path, expected) in [("/there", there), ("/absent", absent)] {
            let opened = client.open(path, flags).await;
            match expected {
                Ok(content) => {
                    let handle = opened.string();
                    assert!(client.write(&handle, 0, b"x").await.is(Code::Ok));
                    assert!(client.close(&handle).await.is(Code::Ok));
                    let stored = client.world.content(path.trim_start_matches('/')).unwrap();
                    assert_eq!(stored, content, "{flags:#x} {path}");
                }
                Err(code) => assert!(opened.is(code), "{flags:#x} {path}: {opened:?}"),
            }
        }
    }
}

#[tokio::test]
async fn a_write_of_nothing_changes_nothing_wherever_it_is() {
    let mut client = Client::new().await;
    let handle = client.opened("/file", FRESH).await;
    assert!(client.write(&handle, 0, b"abc").await.is(Code::Ok));
    for offset in [0, 1 << 40, u64::MAX] {
        assert!(client.write(&handle, offset, b"").await.is(Code::Ok));
    }
    assert!(client.close(&handle).await.is(Code::Ok));
    assert_eq!(client.world.content("file").unwrap(), b"abc");
}

#[tokio::test]
async fn a_handle_takes_size_mode_and_times() {
    let mut client = Client::new().await;
    let handle = client.opened("/file", FRESH).await;
    assert!(client.write(&handle, 0, b"abc").await.is(Code::Ok));
    let set = client
        .ask(10, |wire| {
            let wire = wire.string(&handle).u32(0xd).u64(5);
            wire.u32(0o100_644).u32(1).u32(77)
        })
        .await;
    assert!(set.is(Code::Ok), "{set:?}");
    assert!(client.close(&handle).await.is(Code::Ok));
    assert_eq!(client.world.content("file").unwrap(), b"abc\0\0");
    let session = client.world.session().await;
    let info = session.stat(&at("/file")).await.unwrap();
    assert_eq!(info.mode, 0o644);
    assert_eq!(info.modified_at.as_micros(), 77_000_000);
}

#[tokio::test]
async fn the_mode_that_an_open_carries_unasked_does_not_open_the_file_to_others() {
    let mut client = Client::new().await;
    let opened = client
        .ask(3, |wire| {
            wire.string("/file").u32(FRESH).u32(0x4).u32(0o100_666)
        })
        .await;
    let handle = opened.string();
    assert!(client.write(&handle, 0, b"abc").await.is(Code::Ok));
    assert!(client.close(&handle).await.is(Code::Ok));
    let session = client.world.session().await;
    assert_eq!(session.stat(&at("/file")).await.unwrap().mode, 0o600);
}

#[tokio::test]
async fn a_listing_has_lines_as_ls_prints_them() {
    let mut client = Client::new().await;
    client.put("/caf\u{e9}", b"12345").await;
    assert!(
        client
            .ask(14, |w| w.string("/dir").u32(0))
            .await
            .is(Code::Ok)
    );
    let handle = client.ask(11, |wire| wire.string("/")).await.string();
    let page = client.ask(12, |wire| wire.string(&handle)).await;
    let text = String::from_utf8_lossy(&page.body).into_owned();
    for line in [
        "-rw-------   1 alice    alice           5 ",
        "drwx------   1 alice    alice    ",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    for name in ["caf\u{e9}", "dir", "."] {
        assert!(text.contains(&format!(" {name}")), "{name}: {text}");
    }
    let end = client.ask(12, |wire| wire.string(&handle)).await;
    assert!(end.is(Code::Eof), "{end:?}");
}

#[tokio::test]
async fn a_handle_of_the_wrong_kind_is_refused() {
    let mut client = Client::new().await;
    client.put("/file", b"x").await;
    let file = client.opened("/file", open_flag::READ).await;
    let fresh = client.opened("/fresh", FRESH).await;
    let directory = client.ask(11, |wire| wire.string("/")).await.string();
    for (handle, kind, what) in [
        (&file, 12, "READDIR of a file"),
        (&directory, 5, "READ of a directory"),
        (&directory, 6, "WRITE to a directory"),
        (&fresh, 5, "READ of what is open for writing"),
        (&file, 6, "WRITE to what is open for reading"),
    ] {
        let reply = client
            .ask(kind, |wire| wire.string(handle).u64(0).u32(1).raw(b"x"))
            .await;
        assert!(
            reply.is(Code::Failure) || reply.is(Code::PermissionDenied),
            "{what}: {reply:?}"
        );
    }
}

#[tokio::test]
async fn nothing_new_begins_after_a_soft_stop_and_what_runs_is_finished() {
    let mut client = Client::new().await;
    client.put("/old", b"x").await;
    let handle = client.opened("/file", FRESH).await;
    client.soft.cancel();
    assert!(client.write(&handle, 0, b"rest").await.is(Code::Ok));
    assert!(client.close(&handle).await.is(Code::Ok));
    assert_eq!(client.world.content("file").unwrap(), b"rest");
    assert!(client.open("/next", FRESH).await.is(Code::Failure));
    assert!(client.open("/old", open_flag::READ).await.is(Code::Failure));
    assert_eq!(client.activity.open(), 0);
}
