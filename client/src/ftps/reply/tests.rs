use proptest::prelude::*;

use super::*;

fn read(bytes: &[u8]) -> Result<Option<Reply>, RemoteFault> {
    ReplyReader::default().next(&mut BytesMut::from(bytes))
}

#[test]
fn replies_of_one_and_several_lines_are_read() {
    for (bytes, code, lines) in [
        (&b"220 ready\r\n"[..], 220, vec!["ready"]),
        (b"220\r\n", 220, vec![""]),
        (b"220 bare line feed\n", 220, vec!["bare line feed"]),
        (
            b"\r\n220 after an empty line\r\n",
            220,
            vec!["after an empty line"],
        ),
        (
            b"211-Features:\r\n MDTM\r\n211 End\r\n",
            211,
            vec!["Features:", " MDTM", "End"],
        ),
        (b"230-a\r\n230-b\r\n230 c\r\n", 230, vec!["a", "b", "c"]),
        (
            b"230-a\r\n331 not the end\r\n230 c\r\n",
            230,
            vec!["a", "331 not the end", "c"],
        ),
        (
            b"230-a\r\n2300 nor this\r\n230 c\r\n",
            230,
            vec!["a", "2300 nor this", "c"],
        ),
        (b"220-\r\n\r\n220 x\r\n", 220, vec!["", "", "x"]),
    ] {
        let reply = read(bytes).unwrap().unwrap();
        assert_eq!(reply.code, code, "{bytes:?}");
        let expected: Vec<_> = lines.iter().map(|l| l.as_bytes().to_vec()).collect();
        assert_eq!(reply.lines, expected, "{bytes:?}");
    }
}

#[test]
fn what_is_no_reply_is_a_fault() {
    for bytes in [
        &b"SSH-2.0-OpenSSH_9.2\r\n"[..],
        b"hello\r\n",
        b"99 x\r\n",
        b"660 x\r\n",
        b"2200 x\r\n",
    ] {
        assert!(
            matches!(read(bytes), Err(RemoteFault::Protocol { .. })),
            "{bytes:?}"
        );
    }
}

fn line_of(length: usize) -> Vec<u8> {
    let mut line = b"220 ".to_vec();
    line.resize(length, b'x');
    line.extend_from_slice(b"\r\n");
    line
}

fn lines(number: usize, length: usize) -> Vec<u8> {
    let mut reply = Vec::new();
    for at in 1..=number {
        let mut line = if at == number { b"220 " } else { b"220-" }.to_vec();
        line.resize(length, b'x');
        reply.extend_from_slice(&line);
        reply.extend_from_slice(b"\r\n");
    }
    reply
}

#[test]
fn each_limit_holds_at_its_value_and_not_above() {
    let half = MAX_REPLY_BYTES / 512;
    for (what, good, bad) in [
        (
            "the length of a reply's line",
            line_of(MAX_REPLY_LINE_BYTES),
            line_of(MAX_REPLY_LINE_BYTES + 1),
        ),
        (
            "the number of a reply's lines",
            lines(MAX_REPLY_LINES, 5),
            lines(MAX_REPLY_LINES + 1, 5),
        ),
        (
            "the length of a reply",
            lines(half, 512),
            lines(half + 1, 512),
        ),
    ] {
        assert!(read(&good).unwrap().is_some(), "{what}");
        assert!(
            matches!(read(&bad), Err(RemoteFault::OverLimit { what: it, .. }) if it == what),
            "{what}"
        );
    }
    let endless = vec![b'x'; MAX_REPLY_LINE_BYTES + 1];
    assert!(matches!(read(&endless), Err(RemoteFault::OverLimit { .. })));
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let mut reader = ReplyReader::default();
        let mut inbox = BytesMut::from(&bytes[..]);
        while let Ok(Some(_)) = reader.next(&mut inbox) {}
    }

    #[test]
    fn a_reply_is_the_same_however_it_is_cut(cut in 0_usize..60) {
        let bytes = b"211-Features:\r\n MDTM\r\n SIZE\r\n211 End\r\n";
        let cut = cut.min(bytes.len());
        let mut reader = ReplyReader::default();
        let mut inbox = BytesMut::from(&bytes[..cut]);
        let early = reader.next(&mut inbox).unwrap();
        inbox.extend_from_slice(&bytes[cut..]);
        let reply = early.or_else(|| reader.next(&mut inbox).unwrap());
        prop_assert_eq!(reply, read(bytes).unwrap());
    }
}

#[test]
fn what_a_server_repeats_of_a_secret_is_hidden() {
    let reply = Reply {
        code: 530,
        lines: vec![b"you sent PASS xyzxyz, xyz".to_vec(), b"bye".to_vec()],
    };
    let clean = reply.without(b"xyz");
    assert_eq!(
        clean.lines,
        [b"you sent PASS ******, ***".to_vec(), b"bye".to_vec()]
    );
    assert_eq!(reply.without(b""), reply);
    assert_eq!(reply.without(b"another"), reply);
}
