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

// Whoever announces an extension must do it, and whoever does not is not asked.
#[test]
fn every_announced_extension_is_known_and_refused_only_when_malformed() {
    for (name, _) in EXTENSIONS {
        let body = body_of(request(200, &[name.as_bytes()]));
        let known = matches!(body, Body::Malformed | Body::Limits);
        assert!(known, "{name}: {body:?}");
    }
}

#[test]
fn an_lsetstat_of_a_size_is_malformed_and_of_times_is_a_setstat() {
    let ask = |flags: u32| {
        let mut out = BytesMut::from(&request(200, &[b"lsetstat@openssh.com", b"/x"])[..]);
        out.put_u32(flags);
        out.put_u64(9);
        body_of(out.freeze())
    };
    assert_eq!(ask(attr_flag::SIZE), Body::Malformed);
    let Body::Setstat { path, attrs } = ask(attr_flag::ACMODTIME) else {
        panic!("no SETSTAT");
    };
    assert_eq!((&path[..], attrs.times), (&b"/x"[..], Some((0, 9))));
}

#[test]
fn ids_asked_for_are_capped_just_at_the_limit() {
    let ask = |users: usize, groups: usize, odd: usize| {
        let name = b"users-groups-by-id@openssh.com";
        body_of(request(
            200,
            &[name, &vec![0; users * 4], &vec![0; groups * 4 + odd]],
        ))
    };
    let most = Body::NamesById {
        users: vec![0; MAX_IDS],
        groups: vec![0; MAX_IDS],
    };
    assert_eq!(ask(MAX_IDS, MAX_IDS, 0), most);
    assert_eq!(ask(MAX_IDS + 1, 0, 0), Body::Malformed);
    assert_eq!(ask(0, MAX_IDS + 1, 0), Body::Malformed);
    assert_eq!(ask(0, 0, 3), Body::Malformed, "half a number");
}

#[test]
fn extended_attributes_are_capped_just_at_the_limit() {
    let ask = |pairs: u32| {
        let mut out = BytesMut::from(&request(9, &[b"/x"])[..]);
        out.put_u32(attr_flag::EXTENDED);
        out.put_u32(pairs);
        for _ in 0..pairs {
            put_string(&mut out, b"name");
            put_string(&mut out, b"value");
        }
        body_of(out.freeze())
    };
    let path = Bytes::from("/x");
    let attrs = Attrs::default();
    assert_eq!(ask(MAX_EXTENDED_ATTRS), Body::Setstat { path, attrs });
    assert_eq!(ask(MAX_EXTENDED_ATTRS + 1), Body::Malformed);
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
        &strip(&names_by_id(6, &["a", ""], &["bc"]))[..],
        b"\xc9\0\0\0\x06\0\0\0\x09\0\0\0\x01a\0\0\0\0\0\0\0\x06\0\0\0\x02bc"
    );
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
    fn the_fields_of_extensions_round_trip(
        path in proptest::collection::vec(any::<u8>(), 0..300),
        handles in any::<(u32, u32)>(),
        numbers in any::<(u64, u64, u64)>(),
        users in proptest::collection::vec(any::<u32>(), 0..40),
        groups in proptest::collection::vec(any::<u32>(), 0..40),
        trailing in proptest::collection::vec(any::<u8>(), 0..9),
    ) {
        let (from, to) = (Some(Handle(handles.0)), Some(Handle(handles.1)));
        let (from_offset, length, to_offset) = numbers;
        let text = Bytes::from(path.clone());
        let blob = |ids: &[u32]| ids.iter().flat_map(|id| id.to_be_bytes()).collect::<Vec<u8>>();
        let field = |text: &[u8]| {
            let mut out = BytesMut::new();
            put_string(&mut out, text);
            out.to_vec()
        };
        let cases: [(&str, Vec<u8>, Body); 5] = [
            ("expand-path@openssh.com", field(&path), Body::ExpandPath { path: text.clone() }),
            ("home-directory", field(&path), Body::HomeDirectory { user: text }),
            (
                "fstatvfs@openssh.com",
                field(&handles.0.to_be_bytes()),
                Body::Fstatvfs { handle: from },
            ),
            (
                "users-groups-by-id@openssh.com",
                [field(&blob(&users)), field(&blob(&groups))].concat(),
                Body::NamesById { users, groups },
            ),
            (
                "copy-data",
                [
                    &field(&handles.0.to_be_bytes())[..],
                    &from_offset.to_be_bytes(),
                    &length.to_be_bytes(),
                    &field(&handles.1.to_be_bytes()),
                    &to_offset.to_be_bytes(),
                ]
                .concat(),
                Body::CopyData { from, from_offset, length, to, to_offset },
            ),
        ];
        for (name, fields, body) in cases {
            let head = request(200, &[name.as_bytes()]);
            let packet = [&head[..], &fields, &trailing].concat();
            prop_assert_eq!(body_of(Bytes::from(packet)), body);
            // Cut short anywhere, it is malformed and nothing else.
            let cut = [&head[..], &fields[..fields.len() - 1]].concat();
            prop_assert_eq!(body_of(Bytes::from(cut)), Body::Malformed);
        }
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
