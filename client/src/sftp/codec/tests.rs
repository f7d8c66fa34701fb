use proptest::prelude::*;

use super::*;

fn framed(kind: u8, id: u32, rest: &[u8]) -> Bytes {
    let mut packet = BytesMut::new();
    packet.put_u8(kind);
    packet.put_u32(id);
    packet.put_slice(rest);
    packet.freeze()
}

fn string(text: &[u8]) -> Vec<u8> {
    let mut out = BytesMut::new();
    put_string(&mut out, text);
    out.to_vec()
}

#[test]
fn requests_look_as_the_draft_has_them() {
    for (built, expected) in [
        (init(), &b"\0\0\0\x05\x01\0\0\0\x03"[..]),
        (
            open(7, b"/f", open_flag::READ),
            b"\0\0\0\x13\x03\0\0\0\x07\0\0\0\x02/f\0\0\0\x01\0\0\0\0",
        ),
        (
            read(8, b"h", 1, 2),
            b"\0\0\0\x16\x05\0\0\0\x08\0\0\0\x01h\0\0\0\0\0\0\0\x01\0\0\0\x02",
        ),
        (close(9, b"h"), b"\0\0\0\x0a\x04\0\0\0\x09\0\0\0\x01h"),
        (
            rename(1, b"a", b"\xff"),
            b"\0\0\0\x0f\x12\0\0\0\x01\0\0\0\x01a\0\0\0\x01\xff",
        ),
        (
            mkdir(1, b"a"),
            b"\0\0\0\x0e\x0e\0\0\0\x01\0\0\0\x01a\0\0\0\0",
        ),
    ] {
        assert_eq!(built.as_ref(), expected);
    }
}

#[test]
fn a_write_is_filled_where_it_lies_up_to_its_limit() {
    let mut packet = WritePacket::new(3, b"h", 5, 4);
    packet.room().put_slice(b"ab");
    assert!(!packet.is_full());
    assert_eq!(packet.room().remaining_mut(), 2);
    packet.room().put_slice(b"cd");
    assert!(packet.is_full());
    assert_eq!(
        packet.finish().as_ref(),
        b"\0\0\0\x1a\x06\0\0\0\x03\0\0\0\x01h\0\0\0\0\0\0\0\x05\0\0\0\x04abcd"
    );
}

#[test]
fn handles_are_taken_up_to_their_limit() {
    let at_limit = [b'h'; MAX_HANDLE_BYTES];
    let above = [b'h'; MAX_HANDLE_BYTES + 1];
    assert_eq!(
        parse(framed(kind::HANDLE, 1, &string(&at_limit))),
        Ok((1, Reply::Handle(Bytes::copy_from_slice(&at_limit))))
    );
    assert_eq!(
        parse(framed(kind::HANDLE, 1, &string(&above))),
        Err(Garbled::Malformed)
    );
}

#[test]
fn extended_attributes_are_skipped_up_to_their_limit() {
    for (count, taken) in [(MAX_EXTENDED_ATTRS, true), (MAX_EXTENDED_ATTRS + 1, false)] {
        let mut rest = attr_flag::EXTENDED.to_be_bytes().to_vec();
        rest.extend_from_slice(&count.to_be_bytes());
        for _ in 0..2 * count {
            rest.extend_from_slice(&string(b"x"));
        }
        assert_eq!(
            parse(framed(kind::ATTRS, 1, &rest)).is_ok(),
            taken,
            "{count}"
        );
    }
}

#[test]
fn a_servers_words_are_cut() {
    let mut rest = 4_u32.to_be_bytes().to_vec();
    rest.extend_from_slice(&string(&vec![b'x'; MAX_WORDS_BYTES + 1]));
    let Ok((1, Reply::Status { code: 4, words })) = parse(framed(kind::STATUS, 1, &rest)) else {
        panic!();
    };
    assert_eq!(words.len(), MAX_WORDS_BYTES);
}

#[test]
fn a_status_without_words_is_a_status() {
    assert_eq!(
        parse(framed(kind::STATUS, 1, &0_u32.to_be_bytes())),
        Ok((
            1,
            Reply::Status {
                code: 0,
                words: Bytes::new()
            }
        ))
    );
}

#[test]
fn more_extensions_than_the_limit_are_left_out() {
    for (count, kept) in [
        (MAX_EXTENSIONS - 1, MAX_EXTENSIONS - 1),
        (MAX_EXTENSIONS, MAX_EXTENSIONS),
        (MAX_EXTENSIONS + 1, MAX_EXTENSIONS),
    ] {
        let mut rest = Vec::new();
        for _ in 0..2 * count {
            rest.extend_from_slice(&string(b"x"));
        }
        let version = parse_version(framed(kind::VERSION, VERSION, &rest)).unwrap();
        assert_eq!(version.extensions.len(), kept);
        assert_eq!(version.version, VERSION);
    }
}

#[test]
fn packets_are_taken_up_to_their_limit() {
    for (length, taken) in [
        (0, false),
        (1, true),
        (MAX_PACKET_BYTES, true),
        (MAX_PACKET_BYTES + 1, false),
    ] {
        let mut stream = BytesMut::new();
        stream.put_u32(u32::try_from(length).unwrap());
        stream.put_bytes(b'x', length);
        let mut frames = Frames::default();
        frames.push(stream.freeze());
        let packet = frames.next_packet();
        assert_eq!(packet.is_ok(), taken, "{length}");
        if taken {
            assert_eq!(packet.unwrap().unwrap().len(), length);
        }
    }
}

#[test]
fn a_sha256_is_read_from_either_form_of_answer() {
    let hash = [7; 32];
    let mut plain = string(b"sha256");
    plain.extend_from_slice(&hash);
    let mut prefixed = string(b"check-file");
    prefixed.extend_from_slice(&plain);
    let mut other = string(b"md5");
    other.extend_from_slice(&[7; 16]);
    let mut short = string(b"sha256");
    short.extend_from_slice(&[7; 31]);
    for (content, expected) in [
        (plain, Ok(Some(hash))),
        (prefixed, Ok(Some(hash))),
        (other, Ok(None)),
        (short, Ok(None)),
        (vec![0, 0], Err(Garbled::Malformed)),
    ] {
        assert_eq!(parse_check_file(content.into()), expected);
    }
}

proptest! {
    #[test]
    fn any_bytes_are_a_reply_or_garbled(packet in proptest::collection::vec(any::<u8>(), 0..300)) {
        let packet = Bytes::from(packet);
        for garbled in [
            parse(packet.clone()).err(),
            parse_version(packet.clone()).err(),
            parse_check_file(packet.clone()).err(),
            parse_limits(packet).err(),
        ] {
            let length = matches!(garbled, Some(Garbled::Length { .. }));
            prop_assert!(!length, "a packet's length is not in the packet");
        }
    }

    #[test]
    fn a_stream_is_cut_into_the_same_packets_wherever_it_is_torn(
        packets in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..40), 1..8),
        tear in 1_usize..17,
    ) {
        let mut stream = BytesMut::new();
        for packet in &packets {
            put_string(&mut stream, packet);
        }
        let mut frames = Frames::default();
        let mut found = Vec::new();
        for piece in stream.chunks(tear) {
            frames.push(Bytes::copy_from_slice(piece));
            while let Some(packet) = frames.next_packet().unwrap() {
                found.push(packet.to_vec());
            }
        }
        prop_assert_eq!(found, packets);
    }
}
