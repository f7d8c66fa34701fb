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

use std::net::IpAddr;

use command::Command;
use line::{LineReader, MAX_LINE_BYTES};

fuzz_target!(|input: &[u8]| {
    let whole = lines(&[input]);
    // Where the pieces are cut changes nothing.
    let (first, second) = input.split_at(input.len() / 2);
    assert_eq!(whole, lines(&[first, second]));
    for line in &whole {
        assert!(line.len() <= MAX_LINE_BYTES + 1 && !line.contains(&b'\n'));
        match command::parse(line) {
            Ok((verb, command)) => {
                let found = command::find(verb.name.as_bytes()).expect("it is in the table");
                assert_eq!(
                    (found.phase, found.needs, found.argument),
                    (verb.phase, verb.needs, verb.argument)
                );
                told_again(&command);
            }
            Err(fault) => assert!((500..=504).contains(&fault.code())),
        }
    }
});

/// An address that was read is written as it was meant.
fn told_again(command: &Command) {
    let (Command::Port(target) | Command::Eprt(target)) = command else {
        return;
    };
    assert!(address::epsv_text(target.port()).ends_with(&format!("|{}|)", target.port())));
    if let IpAddr::V4(ip) = target.ip() {
        let text = address::pasv_text(ip, target.port());
        let numbers = text.split(['(', ')']).nth(1).expect("brackets");
        assert_eq!(address::parse_port(numbers.as_bytes()), Ok(*target));
    }
}

fn lines(pieces: &[&[u8]]) -> Vec<Vec<u8>> {
    let mut reader = LineReader::default();
    let mut lines = Vec::new();
    for piece in pieces {
        let mut input = *piece;
        loop {
            match reader.take(&mut input) {
                Ok(Some(line)) => {
                    assert!(!reader.is_within_line());
                    lines.push(line);
                }
                Ok(None) => {
                    assert!(input.is_empty());
                    break;
                }
                Err(_) => return lines,
            }
        }
    }
    lines
}
