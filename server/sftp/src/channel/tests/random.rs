//! Any requests in any order: each gets one reply, and the channel goes on.

use std::collections::VecDeque;

use bytes::Bytes;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;

use super::client::Client;
use crate::fixture::Wire;

/// Requests that one run sends; the runner draws the same ones each time.
const REQUESTS: usize = 6000;

/// Each kind of request with the fields that it has: path, handle, data, 64 and
/// 32 bits, open flags, attributes, and the name of an extension.
const SHAPES: &[(u8, &str, &str)] = &[
    (3, "", "pfa"),
    (5, "", "hqd"),
    (6, "", "hqs"),
    (4, "", "h"),
    (7, "", "p"),
    (8, "", "h"),
    (9, "", "pa"),
    (10, "", "ha"),
    (11, "", "p"),
    (12, "", "h"),
    (13, "", "p"),
    (14, "", "pa"),
    (15, "", "p"),
    (16, "", "p"),
    (17, "", "p"),
    (18, "", "pp"),
    (19, "", "p"),
    (20, "", "pp"),
    (99, "", "qq"),
    (200, "posix-rename@openssh.com", "pp"),
    (200, "statvfs@openssh.com", "p"),
    (200, "fstatvfs@openssh.com", "h"),
    (200, "fsync@openssh.com", "h"),
    (200, "lsetstat@openssh.com", "pa"),
    (200, "limits@openssh.com", ""),
    (200, "expand-path@openssh.com", "p"),
    (200, "copy-data", "hqqhq"),
    (200, "home-directory", "p"),
    (200, "users-groups-by-id@openssh.com", "ss"),
    (200, "hardlink@openssh.com", "pp"),
];

const PATHS: [&[u8]; 9] = [
    b"",
    b"/",
    b"/a",
    b"/b",
    b"/dir",
    b"/dir/c",
    b"~/a",
    b"/caf\xe9",
    b"/x\ny",
];

/// None that makes a test copy or write for hours.
const NUMBERS: [u64; 8] = [0, 0, 0, 1, 5, 4096, 1 << 63, u64::MAX];

/// Handles that requests are about: the newest, some of them closed again.
const HANDLES: usize = 4;

/// Open flags: what clients send, and what makes no sense.
const FLAGS: [u32; 10] = [
    0x01,
    0x01,
    0x1a,
    0x1a,
    0x0b,
    0x02,
    0x0e,
    0x2a,
    0x00,
    0xffff_ffff,
];

/// A field of a shape; `pick` decides what it says.
fn field(wire: Wire, shape: char, pick: u64, handles: &VecDeque<Bytes>) -> Wire {
    let chosen = |count: usize| usize::try_from(pick).unwrap_or(usize::MAX) % count;
    let number = NUMBERS[chosen(NUMBERS.len())];
    match shape {
        'p' => wire.string(PATHS[chosen(PATHS.len())]),
        'h' => wire.string(handles.get(chosen(HANDLES)).map_or(&b"none"[..], |it| it)),
        's' => wire.string(vec![7; chosen(3) * 4]),
        'q' => wire.u64(number),
        'd' => wire.u32(u32::try_from(number & 0xffff_ffff).unwrap()),
        'f' => wire.u32(FLAGS[chosen(FLAGS.len())]),
        'a' => match chosen(4) {
            0 => wire.u32(0),
            1 => wire.u32(0x1).u64(number),
            2 => wire.u32(0xc).u32(0o4777).u32(u32::MAX).u32(0),
            _ => wire.u32(0x2).u32(0).u32(u32::MAX),
        },
        other => panic!("no such field: {other}"),
    }
}

#[tokio::test]
async fn any_sequence_of_requests_gets_one_reply_each() {
    let picks = (
        // Half of them move content, so that there is some.
        prop_oneof![0..4_usize, 0..SHAPES.len()],
        proptest::array::uniform5(any::<u64>()),
        proptest::option::weighted(0.1, 0_usize..12),
    );
    let mut runner = TestRunner::deterministic();
    let mut client = Client::new().await;
    let mut kinds = [0_usize; 256];
    let mut handles = VecDeque::new();
    for round in 0..REQUESTS {
        let (shape, picks, cut) = picks.new_tree(&mut runner).unwrap().current();
        let (kind, extension, fields) = SHAPES[shape];
        let reply = client
            .ask(kind, |wire| {
                let wire = match kind {
                    200 => wire.string(extension),
                    _ => wire,
                };
                let whole = fields.chars().zip(picks).fold(wire, |wire, (shape, pick)| {
                    field(wire, shape, pick, &handles)
                });
                match cut {
                    Some(bytes) => whole.shortened(bytes),
                    None => whole,
                }
            })
            .await;
        assert!(
            matches!(reply.kind, 101..=105 | 201),
            "{round}: {kind} {extension}: {reply:?}"
        );
        kinds[usize::from(reply.kind)] += 1;
        if reply.kind == 102 {
            handles.push_front(reply.string());
            if let Some(oldest) = handles.get(HANDLES).cloned() {
                client.close(&oldest).await;
                handles.pop_back();
            }
        }
    }
    // It is no test when nearly everything is refused.
    for kind in [101, 102, 103, 104, 105, 201] {
        assert!(kinds[kind] > 10, "{kind}: {}", kinds[kind]);
    }
    client.dispatcher.interrupt_all().await;
    assert_eq!(client.activity.open(), 0);
}
