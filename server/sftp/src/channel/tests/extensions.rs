//! The extensions that we announce, and what is refused instead.

use std::time::Duration;

use bytes::{Buf as _, Bytes};
use layover_retention::Timestamp;

use super::client::{Client, FRESH, Reply};
use crate::codec::{Code, open_flag};
use crate::fixture::{USER, Wire, at};

const DAY: Duration = Duration::from_secs(86_400);

async fn extended(client: &mut Client, name: &str, fill: impl FnOnce(Wire) -> Wire) -> Reply {
    client.ask(200, |wire| fill(wire.string(name))).await
}

/// The one path of a NAME.
fn name_of(reply: &Reply) -> Bytes {
    assert_eq!(reply.kind, 104, "{reply:?}");
    let mut body = reply.body.clone();
    assert_eq!(body.get_u32(), 1);
    let length = body.get_u32() as usize;
    body.split_to(length)
}

async fn copied(client: &mut Client, from: (&Bytes, u64), length: u64, to: (&Bytes, u64)) -> Reply {
    extended(client, "copy-data", |wire| {
        wire.string(from.0)
            .u64(from.1)
            .u64(length)
            .string(to.0)
            .u64(to.1)
    })
    .await
}

async fn expiry(client: &Client, path: &str) -> Timestamp {
    let session = client.world.session().await;
    session.stat(&at(path)).await.unwrap().expires_at.unwrap()
}

#[tokio::test]
async fn a_path_is_expanded_as_a_shell_would() {
    let mut client = Client::new().await;
    let own = format!("~{USER}");
    for (given, expanded) in [
        ("~", "/"),
        ("~/in/x", "/in/x"),
        ("~/../..", "/"),
        (&own, "/"),
        (&format!("{own}/in"), "/in"),
        ("in/~", "/in/~"),
        ("/a/../b", "/b"),
        ("", "/"),
    ] {
        let reply = extended(&mut client, "expand-path@openssh.com", |w| w.string(given)).await;
        assert_eq!(name_of(&reply), expanded, "{given}");
    }
    for (given, code) in [
        ("~root", Code::NoSuchFile),
        ("~root/x", Code::NoSuchFile),
        ("~/a\nb", Code::Failure),
    ] {
        let reply = extended(&mut client, "expand-path@openssh.com", |w| w.string(given)).await;
        assert!(reply.is(code), "{given:?}: {reply:?}");
    }
}

#[tokio::test]
async fn the_home_is_the_top_and_no_other_account_is_told_of() {
    let mut client = Client::new().await;
    for user in ["", USER] {
        let reply = extended(&mut client, "home-directory", |w| w.string(user)).await;
        assert_eq!(name_of(&reply), "/", "{user}");
    }
    let other = extended(&mut client, "home-directory", |w| w.string("root")).await;
    assert!(other.is(Code::NoSuchFile), "{other:?}");
}

#[tokio::test]
async fn the_owner_of_every_file_has_the_account_s_name() {
    let mut client = Client::new().await;
    let reply = extended(&mut client, "users-groups-by-id@openssh.com", |wire| {
        wire.u32(8).u32(0).u32(7).u32(4).u32(0)
    })
    .await;
    assert_eq!(reply.kind, 201, "{reply:?}");
    let own = |wire: Wire| wire.string(USER);
    let users = own(Wire::new(0)).string("").framed().slice(5..);
    let groups = own(Wire::new(0)).framed().slice(5..);
    let expected = Wire::new(0).string(&users).string(&groups).framed();
    assert_eq!(reply.body, expected.slice(5..));
}

#[tokio::test]
async fn the_room_is_told_for_a_path_and_for_a_handle() {
    let mut client = Client::new().await;
    client.put("/file", b"x").await;
    let by_path = extended(&mut client, "statvfs@openssh.com", |w| w.string("/file")).await;
    assert_eq!(by_path.kind, 201, "{by_path:?}");
    let handle = client.opened("/file", open_flag::READ).await;
    let by_handle = extended(&mut client, "fstatvfs@openssh.com", |w| w.string(&handle)).await;
    assert_eq!(by_handle.kind, 201, "{by_handle:?}");
    assert_eq!(by_handle.body.len(), 11 * 8);
    let mut fields = by_handle.body.clone();
    assert_eq!(fields.get_u64(), 4096, "f_bsize");
    assert_eq!(fields.get_u64(), 4096, "f_frsize");
    let (total, free) = (fields.get_u64(), fields.get_u64());
    assert!(0 < free && free <= total, "{free} of {total}");
    let none = extended(&mut client, "statvfs@openssh.com", |w| w.string("/none")).await;
    assert!(none.is(Code::NoSuchFile), "{none:?}");
    let closed = extended(&mut client, "fstatvfs@openssh.com", |w| w.string("none")).await;
    assert!(closed.is(Code::Failure), "{closed:?}");
}

#[tokio::test]
async fn fsync_is_for_files() {
    let mut client = Client::new().await;
    client.put("/file", b"x").await;
    let writing = client.opened("/new", FRESH).await;
    let reading = client.opened("/file", open_flag::READ).await;
    let listing = client.ask(11, |wire| wire.string("/")).await.string();
    for (handle, code) in [
        (&writing, Code::Ok),
        (&reading, Code::Ok),
        (&listing, Code::Failure),
        (&Bytes::from("none"), Code::Failure),
    ] {
        let reply = extended(&mut client, "fsync@openssh.com", |w| w.string(handle)).await;
        assert!(reply.is(code), "{reply:?}");
    }
    assert_eq!(client.world.content("new"), None, "not published by it");
}

#[tokio::test]
async fn lsetstat_sets_times_and_mode_as_there_are_no_links() {
    let mut client = Client::new().await;
    client.put("/file", b"x").await;
    let reply = extended(&mut client, "lsetstat@openssh.com", |w| {
        w.string("/file").u32(0xc).u32(0o640).u32(5).u32(77)
    })
    .await;
    assert!(reply.is(Code::Ok), "{reply:?}");
    let session = client.world.session().await;
    let info = session.stat(&at("/file")).await.unwrap();
    assert_eq!(info.modified_at, Timestamp::from_micros(77_000_000));
    assert_eq!(info.mode, 0o640);
    let size = extended(&mut client, "lsetstat@openssh.com", |w| {
        w.string("/file").u32(1).u64(0)
    })
    .await;
    assert!(size.is(Code::BadMessage), "{size:?}");
    assert_eq!(client.world.content("file").unwrap(), b"x");
}

#[tokio::test]
async fn links_of_every_kind_are_refused() {
    let mut client = Client::new().await;
    client.put("/file", b"x").await;
    let hard = extended(&mut client, "hardlink@openssh.com", |w| {
        w.string("/file").string("/link")
    })
    .await;
    let soft = client.ask(20, |w| w.string("/file").string("/link")).await;
    let read = client.ask(19, |w| w.string("/file")).await;
    for reply in [hard, soft, read] {
        assert!(reply.is(Code::Unsupported), "{reply:?}");
    }
    assert_eq!(client.world.content("link"), None);
}

#[tokio::test]
async fn a_copy_is_whole_and_goes_when_its_source_goes() {
    let mut client = Client::new().await;
    client.put("/file", b"0123456789").await;
    client.world.clock.advance(DAY);
    let from = client.opened("/file", open_flag::READ).await;
    let to = client.opened("/copy", FRESH).await;
    assert!(
        copied(&mut client, (&from, 0), 0, (&to, 0))
            .await
            .is(Code::Ok)
    );
    assert!(
        copied(&mut client, (&from, 3), 2, (&to, 12))
            .await
            .is(Code::Ok)
    );
    assert!(client.write(&to, 0, b"x").await.is(Code::Ok));
    assert!(client.close(&from).await.is(Code::Ok));
    assert_eq!(client.world.content("copy"), None, "not before CLOSE");
    assert!(client.close(&to).await.is(Code::Ok));
    assert_eq!(
        client.world.content("copy").unwrap(),
        b"x123456789\0\x0034",
        "a hole is read as zeros"
    );
    assert_eq!(
        expiry(&client, "/copy").await,
        expiry(&client, "/file").await
    );
}

#[tokio::test]
async fn a_copy_that_asks_for_more_than_there_is_gets_what_there_is() {
    let mut client = Client::new().await;
    client.put("/file", b"01234").await;
    let from = client.opened("/file", open_flag::READ).await;
    let to = client.opened("/copy", FRESH).await;
    for (offset, length) in [(3, 3), (5, 1), (u64::MAX, 1)] {
        let short = copied(&mut client, (&from, offset), length, (&to, 0)).await;
        assert!(short.is(Code::Eof), "{offset} {length}: {short:?}");
    }
    let nothing = copied(&mut client, (&from, 1 << 63), 0, (&to, 0)).await;
    assert!(nothing.is(Code::Ok), "{nothing:?}");
    assert!(client.close(&to).await.is(Code::Ok));
    assert_eq!(client.world.content("copy").unwrap(), b"34");
}

// S07: a copy moves nothing over the wire, for minutes perhaps.
#[tokio::test]
async fn a_copy_counts_as_activity() {
    let mut client = Client::new().await;
    client.put("/file", &[7; 5000]).await;
    let from = client.opened("/file", open_flag::READ).await;
    let to = client.opened("/copy", FRESH).await;
    let before = client.activity.moved_bytes();
    assert!(
        copied(&mut client, (&from, 0), 0, (&to, 0))
            .await
            .is(Code::Ok)
    );
    assert_eq!(client.activity.moved_bytes() - before, 5000);
}

#[tokio::test]
async fn a_copy_within_files_open_for_reading_and_writing() {
    let mut client = Client::new().await;
    let both = open_flag::READ | open_flag::WRITE | open_flag::CREAT;
    let (one, other) = (
        client.opened("/one", both).await,
        client.opened("/other", both).await,
    );
    assert!(client.write(&one, 0, b"hello").await.is(Code::Ok));
    assert!(
        copied(&mut client, (&one, 1), 3, (&other, 1))
            .await
            .is(Code::Ok)
    );
    assert!(
        copied(&mut client, (&other, 0), 0, (&one, 5))
            .await
            .is(Code::Ok)
    );
    for handle in [&one, &other] {
        assert!(client.close(handle).await.is(Code::Ok));
    }
    assert_eq!(client.world.content("one").unwrap(), b"hello\0ell");
    assert_eq!(client.world.content("other").unwrap(), b"\0ell");
}

#[tokio::test]
async fn a_copy_between_wrong_handles_is_refused() {
    let mut client = Client::new().await;
    client.put("/file", b"x").await;
    let reading = client.opened("/file", open_flag::READ).await;
    let writing = client.opened("/new", FRESH).await;
    let listing = client.ask(11, |wire| wire.string("/")).await.string();
    let none = Bytes::from("none");
    for (from, to, code, what) in [
        (&reading, &reading, Code::Failure, "into itself"),
        (&writing, &writing, Code::Failure, "into itself"),
        (&writing, &reading, Code::PermissionDenied, "not readable"),
        (&reading, &listing, Code::Failure, "into a directory"),
        (&listing, &writing, Code::Failure, "of a directory"),
        (&none, &writing, Code::Failure, "of nothing"),
        (&reading, &none, Code::Failure, "into nothing"),
    ] {
        let reply = copied(&mut client, (from, 0), 0, (to, 0)).await;
        assert!(reply.is(code), "{what}: {reply:?}");
    }
    let second = client.opened("/file", open_flag::READ).await;
    let reply = copied(&mut client, (&reading, 0), 0, (&second, 0)).await;
    assert!(reply.is(Code::PermissionDenied), "not writable: {reply:?}");
}

#[tokio::test]
async fn a_copy_beyond_what_a_file_can_hold_fails_and_publishes_nothing() {
    for offset in [(1 << 63) - 1, 1 << 63, u64::MAX] {
        let mut client = Client::new().await;
        client.put("/file", b"01234").await;
        let from = client.opened("/file", open_flag::READ).await;
        let to = client.opened("/copy", FRESH).await;
        let reply = copied(&mut client, (&from, 0), 0, (&to, offset)).await;
        assert!(reply.is(Code::Failure), "{offset}: {reply:?}");
        assert!(client.close(&to).await.is(Code::Failure));
        assert_eq!(client.world.content("copy"), None);
    }
}
