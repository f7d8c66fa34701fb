use proptest::prelude::*;

use super::*;

fn strip(reply: &Bytes) -> Bytes {
    let mut frames = Frames::default();
    frames.push(reply.clone());
    let packet = frames.next_packet().unwrap().unwrap();
    assert_eq!(frames.held_bytes(), 0, "one packet and nothing behind it");
    packet
}

fn request(kind: u8, fields: &[&[u8]]) -> Bytes {
    let mut out = BytesMut::new();
    out.put_u8(kind);
    out.put_u32(7);
    for field in fields {
        put_string(&mut out, field);
    }
    out.freeze()
}

fn body_of(packet: Bytes) -> Body {
    match parse(packet).unwrap() {
        Packet::Request(request) => {
            assert_eq!(request.id, 7);
            request.body
        }
        other => panic!("{other:?}"),
    }
}

// S02: rclone 1.60 sends bytes behind the data of a WRITE.
#[test]
fn trailing_bytes_of_a_write_are_ignored() {
    let mut out = BytesMut::new();
    out.put_u8(6);
    out.put_u32(7);
    put_string(&mut out, &5_u32.to_be_bytes());
    out.put_u64(9);
    put_string(&mut out, b"data");
    out.put_slice(b"trailing");
    assert_eq!(
        body_of(out.freeze()),
        Body::Write {
            handle: Some(Handle(5)),
            offset: 9,
            data: Bytes::from("data")
        }
    );
}

// S03
#[test]
fn names_that_are_not_utf8_come_through_byte_for_byte() {
    let name = b"/caf\xe9/\xff\xfe";
    assert_eq!(
        body_of(request(17, &[name])),
        Body::Stat {
            path: Bytes::from(&name[..])
        }
    );
    let reply = names(
        1,
        &[Name {
            name: Bytes::from(&name[..]),
            longname: Bytes::from("l"),
            attrs: Attrs::default(),
        }],
    );
    assert!(reply.windows(name.len()).any(|part| part == name));
}

#[test]
fn fields_that_do_not_fit_are_malformed_and_keep_their_number() {
    for packet in [
        request(3, &[b"/x"]),
        Bytes::from_static(b"\x04\0\0\0\x07\0\0\0\x09x"),
        Bytes::from_static(b"\x05\0\0\0\x07\xff\xff\xff\xff"),
        request(200, &[]),
        request(4, &[&[0; MAX_HANDLE_BYTES + 1]]),
    ] {
        assert_eq!(body_of(packet), Body::Malformed);
    }
    assert_eq!(
        body_of(request(4, &[&[0; MAX_HANDLE_BYTES]])),
        Body::Close { handle: None }
    );
}

#[test]
fn without_a_request_number_there_is_no_answer() {
    for packet in [&b""[..], b"\x03", b"\x03\0\0\0"] {
        assert_eq!(
            parse(Bytes::copy_from_slice(packet)),
            Err(Garbled::Truncated)
        );
    }
}

#[test]
fn what_we_do_not_do_is_unsupported() {
    for (kind, fields) in [
        (19, vec![&b"/x"[..]]),
        (20, vec![&b"a"[..], b"b"]),
        (99, vec![]),
        (200, vec![&b"hardlink@openssh.com"[..], b"a", b"b"]),
        (200, vec![&b"nobody@example.com"[..]]),
    ] {
        assert!(
            matches!(body_of(request(kind, &fields)), Body::Unsupported { .. }),
            "{kind}"
        );
    }
}

#[test]
fn packet_length_holds_just_below_and_just_above() {
    let framed = |length: u32| {
        let mut out = BytesMut::new();
        out.put_u32(length);
        out.put_bytes(0, usize::try_from(length).unwrap());
        out.freeze()
    };
    let most = u32::try_from(MAX_PACKET_BYTES).unwrap();
    let mut frames = Frames::default();
    frames.push(framed(most));
    assert_eq!(
        frames.next_packet().unwrap().unwrap().len(),
        MAX_PACKET_BYTES
    );

    let mut frames = Frames::default();
    frames.push(framed(most + 1).slice(..4));
    assert_eq!(
        frames.next_packet(),
        Err(Garbled::Length { bytes: most + 1 })
    );

    let mut frames = Frames::default();
    frames.push(Bytes::from_static(&[0; 4]));
    assert_eq!(frames.next_packet(), Err(Garbled::Length { bytes: 0 }));
}

#[test]
fn replies_are_well_formed() {
    assert_eq!(
        &strip(&status(1, Code::Eof, "end"))[..9],
        b"\x65\0\0\0\x01\0\0\0\x01"
    );
    assert_eq!(
        &strip(&handle(2, Handle(258)))[..],
        b"\x66\0\0\0\x02\0\0\0\x04\0\0\x01\x02"
    );
    assert_eq!(strip(&version())[0], 2);
    assert_eq!(strip(&limits(3, 9)).len(), 1 + 4 + 32);
    assert_eq!(
        strip(&statvfs(
            4,
            FileSystem {
                total_bytes: 1,
                free_bytes: 1
            }
        ))
        .len(),
        1 + 4 + 11 * 8
    );
    let mut data = data_header(5, 3).to_vec();
    data.extend_from_slice(b"abc");
    assert_eq!(
        &strip(&Bytes::from(data))[..],
        b"\x67\0\0\0\x05\0\0\0\x03abc"
    );
}

proptest! {
    #[test]
    fn any_bytes_are_parsed_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = parse(Bytes::from(bytes));
    }

    #[test]
    fn attributes_round_trip(
        size in proptest::option::of(any::<u64>()),
        uid_gid in proptest::option::of(any::<(u32, u32)>()),
        permissions in proptest::option::of(any::<u32>()),
        times in proptest::option::of(any::<(u32, u32)>()),
    ) {
        let given = Attrs { size, uid_gid, permissions, times };
        let mut out = BytesMut::new();
        out.put_u8(9);
        out.put_u32(7);
        put_string(&mut out, b"/x");
        put_attrs(&mut out, &given);
        prop_assert_eq!(
            body_of(out.freeze()),
            Body::Setstat { path: Bytes::from("/x"), attrs: given }
        );
    }

    #[test]
    fn packets_come_out_whole_however_the_stream_is_cut(
        packets in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..300), 1..12),
        cuts in proptest::collection::vec(1_usize..200, 1..40),
    ) {
        let mut stream = BytesMut::new();
        for packet in &packets {
            put_string(&mut stream, packet);
        }
        let mut stream = stream.freeze();
        let mut frames = Frames::default();
        let mut got = Vec::new();
        let mut cuts = cuts.iter().cycle();
        while !stream.is_empty() {
            let part = stream.split_to((*cuts.next().unwrap()).min(stream.len()));
            frames.push(part);
            while let Some(packet) = frames.next_packet().unwrap() {
                got.push(packet.to_vec());
            }
        }
        prop_assert_eq!(got, packets);
        prop_assert_eq!(frames.held_bytes(), 0);
    }
}
