//! What no client should send: answered, or the end of the channel.

use super::client::{Client, FRESH};
use crate::channel::ChannelFault;
use crate::codec::{Code, Garbled, MAX_PACKET_BYTES, open_flag};
use crate::fixture::Wire;
use crate::handles::MAX_HANDLES;

fn oversize() -> u32 {
    u32::try_from(MAX_PACKET_BYTES + 1).unwrap()
}

// S02
#[tokio::test]
async fn a_length_that_no_packet_has_ends_the_channel_before_its_content() {
    for length in [0, oversize(), u32::MAX] {
        let mut client = Client::new().await;
        let fault = client
            .send(length.to_be_bytes().to_vec().into())
            .await
            .unwrap_err();
        assert!(
            matches!(fault, ChannelFault::Garbled(Garbled::Length { bytes }) if bytes == length),
            "{fault}"
        );
    }
}

#[tokio::test]
async fn a_packet_without_a_number_ends_the_channel() {
    let mut client = Client::new().await;
    let fault = client
        .send(Wire::new(3).raw(b"\0\0").framed())
        .await
        .unwrap_err();
    assert!(
        matches!(fault, ChannelFault::Garbled(Garbled::Truncated)),
        "{fault}"
    );
}

#[tokio::test]
async fn init_comes_first_and_once() {
    let init = Wire::new(1).u32(3).framed();
    let mut client = Client::silent().await;
    let stat = Wire::new(17).u32(1).string("/").framed();
    assert!(matches!(
        client.send(stat).await,
        Err(ChannelFault::BadInit)
    ));

    let mut client = Client::new().await;
    assert!(matches!(
        client.send(init).await,
        Err(ChannelFault::BadInit)
    ));
}

// S02: what is malformed within its frame is answered; the next packet is read
// from where it begins.
#[tokio::test]
async fn malformed_and_unknown_requests_are_answered_and_the_channel_goes_on() {
    let mut client = Client::new().await;
    let malformed = client.ask(3, |wire| wire.u32(u32::MAX).raw(b"/x")).await;
    assert!(malformed.is(Code::BadMessage), "{malformed:?}");
    for kind in [0, 2, 21, 99, 101, 255] {
        let unknown = client.ask(kind, |wire| wire.raw(b"whatever")).await;
        assert!(unknown.is(Code::Unsupported), "{kind}: {unknown:?}");
    }
    let extension = client.ask(200, |wire| wire.string("no@such")).await;
    assert!(extension.is(Code::Unsupported));
    assert_eq!(client.ask(17, |wire| wire.string("/")).await.kind, 105);
}

#[tokio::test]
async fn a_request_cut_anywhere_is_done_once_it_is_whole() {
    let mut client = Client::new().await;
    let (id, packet) = client.prepare(17, |wire| wire.string("/"));
    for byte in 0..packet.len() {
        assert!(client.read().is_empty(), "answered after {byte} bytes");
        client.send(packet.slice(byte..=byte)).await.unwrap();
    }
    assert_eq!(client.read()[&id].kind, 105);
}

// S05
#[tokio::test]
async fn handles_are_capped_just_at_the_limit_and_a_closed_one_makes_room() {
    let mut client = Client::new().await;
    client.put("/file", b"x").await;
    let mut handles = Vec::new();
    for _ in 0..MAX_HANDLES {
        handles.push(client.opened("/file", open_flag::READ).await);
    }
    for flags in [open_flag::READ, FRESH] {
        assert!(client.open("/file", flags).await.is(Code::Failure));
    }
    let listing = client.ask(11, |wire| wire.string("/")).await;
    assert!(listing.is(Code::Failure));
    assert!(client.close(&handles[9]).await.is(Code::Ok));
    client.opened("/file", open_flag::READ).await;
    assert_eq!(client.activity.open(), MAX_HANDLES);
}

#[tokio::test]
async fn a_handle_that_is_not_open_is_refused_by_every_request() {
    let mut client = Client::new().await;
    let closed = client.opened("/file", FRESH).await;
    assert!(client.close(&closed).await.is(Code::Ok));
    let foreign = [&closed[..], b"", b"x", b"\xff\xff\xff\xff", &[0; 256]];
    for handle in foreign {
        for kind in [4, 5, 6, 8, 10, 12] {
            let reply = client
                .ask(kind, |wire| wire.string(handle).u64(0).u32(0).u32(0))
                .await;
            assert!(reply.is(Code::Failure), "{kind} {handle:?}: {reply:?}");
        }
    }
}

#[tokio::test]
async fn an_upload_that_is_open_when_the_client_is_lost_stays_hidden() {
    let mut client = Client::new().await;
    let handle = client.opened("/file", FRESH).await;
    assert!(client.write(&handle, 0, b"half").await.is(Code::Ok));
    client.dispatcher.interrupt_all().await;
    assert_eq!(client.world.content("file"), None);
    assert_eq!(client.activity.open(), 0);
}

// S05: each of them was held whole from OPENDIR on, within a room that they shared.
#[tokio::test]
async fn a_directory_may_be_open_under_every_handle_and_is_read_piece_by_piece() {
    const NAMES: u32 = 205;
    let mut client = Client::new().await;
    assert!(client.ask(14, |w| w.string("/d").u32(0)).await.is(Code::Ok));
    for number in 0..NAMES {
        let path = format!("/d/{number}");
        assert!(client.ask(14, |w| w.string(path).u32(0)).await.is(Code::Ok));
    }
    let mut handle = None;
    for _ in 0..MAX_HANDLES {
        let opened = client.ask(11, |wire| wire.string("/d")).await;
        assert_eq!(opened.kind, 102);
        handle = Some(opened.string());
    }
    let handle = handle.unwrap();
    let mut told = 0;
    loop {
        let page = client.ask(12, |wire| wire.string(&handle)).await;
        if page.is(Code::Eof) {
            break;
        }
        assert_eq!(page.kind, 104);
        let count = u32::from_be_bytes(page.body[..4].try_into().unwrap());
        assert!((1..=102).contains(&count), "{count} names at once");
        told += count;
    }
    assert_eq!(told, NAMES + 2, "with . and ..");
}
