//! A client that asks and does not read (S01, S05): requests are drained,
//! memory is bounded, nothing is lost or out of order.

use bytes::BytesMut;
use layover_depot::ByteRate;

use super::client::{Client, FRESH};
use crate::channel::{
    ChannelFault, MAX_HELD_BACK_BYTES, MAX_HELD_BACK_REQUESTS, MAX_WAITING_BYTES,
    MAX_WAITING_REQUESTS,
};
use crate::codec::{Code, MAX_DATA_BYTES, open_flag};
use crate::outbox::{DATA_BUDGET_BYTES, MAX_QUEUED_BYTES};

/// Longer than the budget, so that its READs have to wait.
const FILE_BYTES: usize = 4 * DATA_BUDGET_BYTES;

fn content() -> Vec<u8> {
    (0..FILE_BYTES as u32 / 4)
        .flat_map(|word| word.to_be_bytes())
        .collect()
}

/// READs of the whole file, unread.
async fn ask_for_everything(client: &mut Client, handle: &bytes::Bytes) -> Vec<u32> {
    let mut ids = Vec::new();
    for offset in (0..FILE_BYTES).step_by(MAX_DATA_BYTES) {
        let id = client
            .post(5, |wire| {
                wire.string(handle)
                    .u64(offset as u64)
                    .u32(MAX_DATA_BYTES as u32)
            })
            .await;
        ids.push(id);
    }
    ids
}

#[tokio::test]
async fn reads_beyond_the_budget_wait_and_all_come_in_order() {
    let mut client = Client::new().await;
    let content = content();
    client.put("/file", &content).await;
    let handle = client.opened("/file", open_flag::READ).await;

    let ids = ask_for_everything(&mut client, &handle).await;
    let closing = client.post(4, |wire| wire.string(&handle)).await;
    let queued = client.dispatcher.outbox.queued_bytes();
    assert!(queued >= DATA_BUDGET_BYTES, "the budget is used");
    assert!(
        queued < DATA_BUDGET_BYTES + MAX_DATA_BYTES + 1024,
        "{queued}"
    );

    let mut got = Vec::new();
    let mut order = Vec::new();
    loop {
        for (id, reply) in client.read_in_order() {
            order.push(id);
            if reply.kind == 103 {
                got.extend_from_slice(&reply.string());
            } else {
                assert!(reply.is(Code::Ok), "{reply:?}");
            }
        }
        if client.dispatcher.turns.is_empty() {
            break;
        }
        client.dispatcher.resume_one().await.unwrap();
    }
    assert!(got == content, "every byte, in order");
    let expected: Vec<u32> = ids.into_iter().chain([closing]).collect();
    assert_eq!(order, expected, "CLOSE waits for the READs before it");
    assert_eq!(client.dispatcher.waiting_requests, 0);
    assert_eq!(client.dispatcher.waiting_bytes, 0);
}

#[tokio::test]
async fn other_handles_go_on_while_reads_wait() {
    let mut client = Client::new().await;
    client.put("/file", &content()).await;
    let reading = client.opened("/file", open_flag::READ).await;
    let writing = client.opened("/other", FRESH).await;
    ask_for_everything(&mut client, &reading).await;

    let written = client
        .post(6, |wire| wire.string(&writing).u64(0).string(b"through"))
        .await;
    let closed = client.post(4, |wire| wire.string(&writing)).await;
    let looked = client.post(17, |wire| wire.string("/other")).await;

    assert_eq!(client.world.content("other").unwrap(), b"through");
    assert!(!client.dispatcher.turns.is_empty(), "READs still wait");
    let replies = client.read();
    assert!(replies[&written].is(Code::Ok));
    assert!(replies[&closed].is(Code::Ok));
    assert_eq!(replies[&looked].kind, 105);
}

#[tokio::test]
async fn two_waiting_handles_take_turns() {
    let mut client = Client::new().await;
    client.put("/file", &content()).await;
    let first = client.opened("/file", open_flag::READ).await;
    let second = client.opened("/file", open_flag::READ).await;
    ask_for_everything(&mut client, &first).await;
    let late = client
        .post(5, |wire| wire.string(&second).u64(0).u32(10))
        .await;
    assert!(!client.read().contains_key(&late));

    client.dispatcher.resume_one().await.unwrap();
    client.dispatcher.resume_one().await.unwrap();

    assert_eq!(client.read()[&late].string().len(), 10);
}

/// READs that do not follow one another, so that each is kept by itself.
async fn scattered_read(client: &mut Client, handle: &bytes::Bytes) -> Result<(), ChannelFault> {
    let (_, packet) = client.prepare(5, |wire| wire.string(handle).u64(0).u32(1));
    client.send(packet).await
}

// S05
#[tokio::test]
async fn waiting_requests_are_capped_just_at_the_limit() {
    let mut client = Client::new().await;
    client.put("/file", &content()).await;
    let handle = client.opened("/file", open_flag::READ).await;
    while client.dispatcher.outbox.has_budget() {
        let length = MAX_DATA_BYTES as u32;
        client
            .post(5, |wire| wire.string(&handle).u64(0).u32(length))
            .await;
    }
    for _ in 0..MAX_WAITING_REQUESTS {
        scattered_read(&mut client, &handle).await.unwrap();
    }
    assert!(matches!(
        scattered_read(&mut client, &handle).await,
        Err(ChannelFault::TooManyRequests)
    ));
}

// S05: the data of a WRITE is a slice of the SSH packet that it came in, and
// as trailing bytes are accepted (S02), one byte of data can hold 256 KiB.
#[tokio::test]
async fn a_write_that_waits_keeps_its_own_bytes_alone() {
    let mut client = Client::new().await;
    client.put("/file", &content()).await;
    let both = open_flag::READ | open_flag::WRITE;
    let handle = client.opened("/file", both).await;
    ask_for_everything(&mut client, &handle).await;

    let (_, packet) = client.prepare(6, |wire| {
        wire.string(&handle)
            .u64(0)
            .string(b"x")
            .raw(&[0; 200 * 1024])
    });
    client.send(packet.clone()).await.unwrap();

    assert_eq!(client.dispatcher.waiting_bytes, 1, "it waits");
    assert!(packet.is_unique(), "nobody but the client holds the packet");
}

// S05
#[tokio::test]
async fn data_that_waits_is_capped_just_at_the_limit() {
    const PIECE: usize = 128 * 1024;
    let mut client = Client::new().await;
    client.put("/file", &content()).await;
    let both = open_flag::READ | open_flag::WRITE;
    let handle = client.opened("/file", both).await;
    ask_for_everything(&mut client, &handle).await;
    let piece = vec![0; PIECE];
    for _ in 0..MAX_WAITING_BYTES / PIECE {
        client
            .post(6, |wire| wire.string(&handle).u64(0).string(&piece))
            .await;
    }
    assert_eq!(client.dispatcher.waiting_bytes, MAX_WAITING_BYTES);
    let (_, packet) = client.prepare(6, |wire| wire.string(&handle).u64(0).string(b"x"));
    let fault = client.send(packet).await.unwrap_err();
    assert!(matches!(fault, ChannelFault::TooManyRequests), "{fault}");
}

// S05: small replies count with what they cost, not with what they say.
#[tokio::test]
async fn a_client_that_never_reads_small_replies_is_cut_off_in_time() {
    let mut client = Client::new().await;
    let mut sent = 0_usize;
    let fault = loop {
        let (_, packet) = client.prepare(4, |wire| wire.string(b"none"));
        match client.send(packet).await {
            Ok(()) => sent += 1,
            Err(fault) => break fault,
        }
    };
    assert!(matches!(fault, ChannelFault::Outbox(_)), "{fault}");
    assert!(sent > 50_000, "no client has so many on the way: {sent}");
    assert!(sent < MAX_QUEUED_BYTES / 100, "{sent} replies were kept");
}

/// WRITEs that the account's limit of bytes a second holds back wait, bounded in memory, and
/// keep nothing else waiting.
#[tokio::test]
async fn what_an_account_may_not_send_yet_waits_and_is_bounded() {
    let mut client = Client::new().await;
    let handle = client.opened("/file", FRESH).await;
    client.world.set_rates(ByteRate::new(16 * 1024).ok()).await;
    let post = async |client: &mut Client, index: usize| {
        let offset = (index * MAX_DATA_BYTES) as u64;
        let data = vec![7; MAX_DATA_BYTES];
        client
            .post(6, |wire| wire.string(&handle).u64(offset).string(&data))
            .await;
    };
    // The first goes at once; half a minute is owed for it.
    post(&mut client, 0).await;
    assert_eq!(client.dispatcher.waiting_bytes, 0);
    assert_eq!(client.read_in_order().len(), 1);
    let mut index = 1;
    while client.dispatcher.waiting_bytes < MAX_HELD_BACK_BYTES {
        assert!(client.dispatcher.listens(), "just below");
        let stat = client.ask(17, |wire| wire.string("/")).await;
        assert_eq!(stat.kind, 105, "{stat:?}");
        post(&mut client, index).await;
        index += 1;
    }
    assert!(!client.dispatcher.listens(), "just above");
    client.dispatcher.resume_one().await.unwrap();
    assert!(!client.dispatcher.listens(), "nothing may go on yet");
    client.world.set_rates(None).await;
    assert!(client.dispatcher.listens());
    for _ in 1..index {
        client.dispatcher.resume_one().await.unwrap();
    }
    assert_eq!(client.dispatcher.waiting_bytes, 0);
    assert_eq!(client.read_in_order().len(), index - 1);
    assert!(client.close(&handle).await.is(Code::Ok));
    assert_eq!(
        client.world.content("file").unwrap().len(),
        index * MAX_DATA_BYTES
    );
}

/// However small they are, and however many come at a time: whoever writes a line with each
/// request is held back and not refused.
#[tokio::test]
async fn very_many_small_writes_that_an_account_may_not_send_yet_are_all_done() {
    const PIECES: usize = 3 * MAX_WAITING_REQUESTS;
    let mut client = Client::new().await;
    let handle = client.opened("/file", FRESH).await;
    client.world.set_rates(ByteRate::new(16 * 1024).ok()).await;
    let debt = vec![7; MAX_DATA_BYTES];
    client
        .post(6, |wire| wire.string(&handle).u64(0).string(&debt))
        .await;
    let mut all = BytesMut::new();
    for index in 0..PIECES {
        let offset = (MAX_DATA_BYTES + index) as u64;
        let (_, packet) = client.prepare(6, |wire| wire.string(&handle).u64(offset).string(b"x"));
        all.extend_from_slice(&packet);
    }
    client.send(all.freeze()).await.unwrap();
    assert_eq!(client.dispatcher.waiting_requests, MAX_HELD_BACK_REQUESTS);
    assert!(client.dispatcher.behind && !client.dispatcher.listens());
    client.world.set_rates(None).await;
    let mut done = client.read_in_order().len();
    while !client.dispatcher.turns.is_empty() {
        client.dispatcher.resume_one().await.unwrap();
        done += client.read_in_order().len();
    }
    assert_eq!(done, 1 + PIECES);
    assert!(!client.dispatcher.behind);
    assert!(client.close(&handle).await.is(Code::Ok));
    assert_eq!(
        client.world.content("file").unwrap().len(),
        MAX_DATA_BYTES + PIECES
    );
}
