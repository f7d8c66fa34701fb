//! Any bytes a client may send, through the codec: no panic, no more memory
//! than was sent, the same packets however the stream is cut.
#![no_main]

use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;

// The file itself, not its crate: instrumented and built in seconds, without
// SSH and databases.
#[path = "../../../server/sftp/src/codec.rs"]
#[expect(dead_code, reason = "the server uses the rest")]
#[rustfmt::skip]
mod codec;

use codec::{Attrs, Body, Code, Frames, Garbled, MAX_IDS, MAX_PACKET_BYTES, Name, Packet};

fuzz_target!(|input: &[u8]| {
    // The first byte says how the rest is cut on its way.
    let Some((&cut, stream)) = input.split_first() else {
        return;
    };
    let whole = packets(stream, stream.len().max(1));
    let pieces = packets(stream, usize::from(cut).max(1));
    assert_eq!(whole, pieces, "the cut decides");
    for packet in whole.0 {
        check(packet);
    }
    check(Bytes::copy_from_slice(stream));
});

/// The packets of a stream that comes in pieces, and what ended it.
fn packets(stream: &[u8], piece_bytes: usize) -> (Vec<Bytes>, Option<Garbled>) {
    let mut frames = Frames::default();
    let mut packets = Vec::new();
    for piece in stream.chunks(piece_bytes) {
        frames.push(Bytes::copy_from_slice(piece));
        loop {
            match frames.next_packet() {
                Ok(Some(packet)) => packets.push(packet),
                Ok(None) => break,
                Err(garbled) => return (packets, Some(garbled)),
            }
        }
        assert!(frames.held_bytes() <= MAX_PACKET_BYTES + 4);
    }
    (packets, None)
}

fn check(packet: Bytes) {
    let length = packet.len();
    let request = match codec::parse(packet.clone()) {
        Ok(Packet::Request(request)) => request,
        Ok(Packet::Init { .. }) => return,
        Err(garbled) => {
            assert!(
                length < 5,
                "{garbled}: a packet with a number has an answer"
            );
            return;
        }
    };
    assert_eq!(packet[1..5], request.id.to_be_bytes());
    // Bytes behind the last field change nothing (S02).
    let mut longer = BytesMut::from(&packet[..]);
    longer.extend_from_slice(b"\0trailing");
    let longer = codec::parse(longer.freeze());
    match request.body {
        // The fields of a short packet reach into what was put behind it.
        Body::Malformed => {}
        ref body => assert_eq!(
            longer,
            Ok(Packet::Request(codec::Request {
                id: request.id,
                body: body.clone(),
            }))
        ),
    }
    for reply in replies(request.id, &request.body) {
        let (framed, garbled) = packets(&reply, reply.len());
        assert_eq!((framed.len(), garbled), (1, None), "one packet a reply");
        assert_eq!(framed[0][1..5], request.id.to_be_bytes());
    }
    if let Body::NamesById { users, groups } = request.body {
        assert!(users.len() <= MAX_IDS && groups.len() <= MAX_IDS);
    }
}

/// Replies that carry something of the request.
fn replies(id: u32, body: &Body) -> Vec<Bytes> {
    let named = |path: &Bytes, attrs: Attrs| {
        let name = Name {
            name: path.clone(),
            longname: path.clone(),
            attrs,
        };
        assert!(name.wire_bytes() >= 2 * path.len());
        codec::names(id, &[name])
    };
    match body {
        Body::Realpath { path } | Body::ExpandPath { path } => {
            vec![named(path, Attrs::default())]
        }
        Body::Setstat { path, attrs } | Body::Open { path, attrs, .. } => {
            vec![named(path, *attrs), codec::attrs(id, attrs)]
        }
        Body::Fsetstat { attrs, .. } => vec![codec::attrs(id, attrs)],
        Body::Unsupported { what } => vec![codec::status(id, Code::Unsupported, what)],
        _ => Vec::new(),
    }
}
