//! Any bytes on a control connection: lines within their limit, and each a
//! command or a fault with a code of RFC 959.
#![no_main]

use libfuzzer_sys::fuzz_target;

// The files themselves, not their crate: instrumented and built in seconds,
// without TLS and databases.
#[path = "../../../server/ftps/src/address.rs"]
#[rustfmt::skip]
mod address;
#[path = "../../../server/ftps/src/command.rs"]
#[rustfmt::skip]
mod command;
#[path = "../../../server/ftps/src/line.rs"]
#[rustfmt::skip]
mod line;

use line::{LineReader, MAX_LINE_BYTES};

fuzz_target!(|input: &[u8]| {
    let whole = lines(&[input]);
    // Where the pieces are cut changes nothing.
    let (first, second) = input.split_at(input.len() / 2);
    assert_eq!(whole, lines(&[first, second]));
    for line in &whole {
        assert!(line.len() <= MAX_LINE_BYTES + 1 && !line.contains(&b'\n'));
        match command::parse(line) {
            Ok((verb, _)) => assert!(command::find(verb.name.as_bytes()).is_some()),
            Err(fault) => assert!((500..=504).contains(&fault.code())),
        }
    }
});

fn lines(pieces: &[&[u8]]) -> Vec<Vec<u8>> {
    let mut reader = LineReader::default();
    let mut lines = Vec::new();
    for piece in pieces {
        let mut input = *piece;
        loop {
            match reader.take(&mut input) {
                Ok(Some(line)) => lines.push(line),
                Ok(None) => break,
                Err(_) => return lines,
            }
        }
    }
    lines
}
