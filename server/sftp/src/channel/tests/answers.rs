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
