//! Any bytes from a load balancer: no more of them is taken than the header has, and
//! both versions tell the same ends the same way.
#![no_main]

use std::net::{IpAddr, SocketAddr};

use libfuzzer_sys::fuzz_target;

// The file itself, not its crate: instrumented and built in seconds, without
// SSH and databases.
#[path = "../../../server/depot/src/proxied/header.rs"]
#[expect(dead_code, reason = "the server uses the rest")]
#[rustfmt::skip]
mod header;

use header::{MAX_HEADER_BYTES, Proxied, missing_bytes, parse};

fuzz_target!(|stream: &[u8]| {
    let Some(whole) = whole_header(stream) else {
        return;
    };
    // Whatever begins like one is read or refused, also when it is cut.
    let _ = parse(&whole[..whole.len() / 2]);
    if let Ok(Some(ends)) = parse(whole) {
        check(&ends);
    }
});

/// The header at the beginning of a stream, taken as the server takes it.
fn whole_header(stream: &[u8]) -> Option<&[u8]> {
    let mut taken = 0;
    loop {
        match missing_bytes(&stream[..taken]) {
            Ok(0) => return Some(&stream[..taken]),
            Ok(missing) => taken += missing,
            Err(_) => return None,
        }
        assert!(taken <= MAX_HEADER_BYTES);
        if taken > stream.len() {
            return None;
        }
    }
}

/// Ends that were read are read again from what a balancer would write of them.
fn check(ends: &Proxied) {
    let Proxied {
        source,
        destination,
    } = ends;
    let (line, family) = match (source.ip(), destination.ip()) {
        (IpAddr::V4(_), IpAddr::V4(_)) => ("TCP4", 0x11),
        (IpAddr::V6(_), IpAddr::V6(_)) => ("TCP6", 0x21),
        _ => panic!("{ends:?}: two families"),
    };
    let line = format!(
        "PROXY {line} {} {} {} {}\r\n",
        source.ip(),
        destination.ip(),
        source.port(),
        destination.port()
    );
    let mut payload = Vec::new();
    for end in [source, destination] {
        match end.ip() {
            IpAddr::V4(ip) => payload.extend(ip.octets()),
            IpAddr::V6(ip) => payload.extend(ip.octets()),
        }
    }
    payload.extend(source.port().to_be_bytes());
    payload.extend(destination.port().to_be_bytes());
    let mut binary = b"\r\n\r\n\0\r\nQUIT\n\x21".to_vec();
    binary.extend([family, 0, payload.len() as u8]);
    binary.extend(payload);
    for mut written in [line.into_bytes(), binary] {
        let header_bytes = written.len();
        written.extend(b"SSH-2.0-client\r\n");
        let whole = whole_header(&written).expect("it is whole");
        assert_eq!(whole.len(), header_bytes, "not a byte of the client's");
        let read = parse(whole).expect("it is a header");
        let plain = |end: SocketAddr| (end.ip(), end.port());
        let read = read.map(|read| (plain(read.source), plain(read.destination)));
        assert_eq!(read, Some((plain(*source), plain(*destination))));
    }
}
