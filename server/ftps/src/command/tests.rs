//! Every verb: what it takes, and what it refuses.

use proptest::prelude::*;

use super::*;

fn command(line: &str) -> Result<Command, SyntaxFault> {
    parse(line.as_bytes()).map(|(_, command)| command)
}

#[test]
fn the_table_is_sorted_and_names_every_command_once() {
    let names: Vec<_> = VERBS.iter().map(|verb| verb.name).collect();
    let mut sorted = names.clone();
    sorted.sort_unstable();
    sorted.dedup();
    assert_eq!(names, sorted);
}

#[test]
fn lines_become_commands() {
    let name = |text: &str| text.as_bytes().to_vec();
    for (line, expected) in [
        ("noop", Command::Noop),
        ("NOOP x", Command::Noop),
        ("RETR  a b ", Command::Retr(name(" a b "))),
        ("rest 12", Command::Rest(12)),
        ("ALLO 10 R 5", Command::Allo(10)),
        ("TYPE a n", Command::Type(Type::Ascii)),
        ("TYPE L 8", Command::Type(Type::Image)),
        ("EPSV all", Command::Epsv(Epsv::All)),
        ("OPTS UTF8 on", Command::Opts(Opts::Utf8(true))),
        (
            "OPTS MLST size;Type;",
            Command::Opts(Opts::Mlst(name("size;Type;"))),
        ),
        ("PROT p", Command::Prot(b'P')),
        ("LIST", Command::List(Vec::new())),
        (
            "XCRC \"a b\" 5 9",
            Command::Checksum(
                Checksum::Crc32,
                Ranged {
                    path: name("a b"),
                    start: 5,
                    end: Some(9),
                    whole: None,
                },
            ),
        ),
        (
            "XMD5 a b 5 9",
            Command::Checksum(
                Checksum::Md5,
                Ranged {
                    path: name("a b"),
                    start: 5,
                    end: Some(9),
                    whole: Some(name("a b 5 9")),
                },
            ),
        ),
        (
            "XSHA256 a 9",
            Command::Checksum(Checksum::Sha256, whole(b"a 9")),
        ),
        (
            "MDTM 19700101000001 a b",
            Command::Mdtm(Mdtm {
                path: name("19700101000001 a b"),
                set: Some(Timed {
                    modified_us: 1_000_000,
                    path: name("a b"),
                }),
            }),
        ),
        (
            "MDTM a b",
            Command::Mdtm(Mdtm {
                path: name("a b"),
                set: None,
            }),
        ),
        (
            "SITE CHMOD 0640 a b",
            Command::Site(Site::Chmod {
                mode: 0o640,
                path: name("a b"),
            }),
        ),
    ] {
        assert_eq!(command(line), Ok(expected), "{line}");
    }
}

// F07: each is an answer, never the end of the connection.
#[test]
fn what_cannot_be_read_has_a_code_and_a_reason() {
    for (line, code) in [
        ("", 500),
        ("FROBNICATE x", 500),
        ("RETR", 501),
        ("REST abc", 501),
        ("REST -1", 501),
        ("REST +1", 501),
        ("REST 99999999999999999999", 501),
        ("ALLO x", 501),
        ("TYPE", 501),
        ("TYPE E", 504),
        ("MODE", 501),
        ("MODE ZZ", 501),
        ("OPTS MLST x", 501),
        ("OPTS NONSENSE", 501),
        ("PORT 1,2,3", 501),
        ("EPRT |3|a|1|", 501),
        ("MFMT 2026 x", 501),
        ("MFMT 20260230000000 x", 501),
        ("MFMT 20260228000000", 501),
        ("SITE EXEC rm", 504),
        ("SMNT /x", 502),
        ("XCRC \"a\" 9 5", 501),
    ] {
        let fault = command(line).unwrap_err();
        assert_eq!(fault.code(), code, "{line}: {fault}");
    }
    assert_eq!(parse(b"DELE a\0b").unwrap_err(), SyntaxFault::Nul);
}

#[test]
fn times_are_those_of_the_calendar() {
    for (text, micros) in [
        ("19700101000000", 0),
        ("20000229235959", 951_868_799_000_000),
        ("20261121120000.25", 1_795_262_400_250_000),
        ("196912312359", -60_000_000),
    ] {
        assert_eq!(time_val(text.as_bytes()), Some(micros), "{text}");
    }
    for text in [
        "",
        "20261321000000",
        "19000229000000",
        "2026112112000x",
        "1.2.3",
    ] {
        assert_eq!(time_val(text.as_bytes()), None, "{text}");
    }
}

#[test]
fn site_utime_takes_the_time_first_or_the_name_first() {
    let expected = Timed {
        modified_us: 1_000_000,
        path: b"a b".to_vec(),
    };
    for text in [
        "19700101000001 a b",
        "a b 20260101000000 19700101000001 20260101000000 UTC",
        "a b 20260101000000 19700101000001 20260101000000 utc",
        "a b 20260101000000 19700101000001 20260101000000",
        "\"a b\" 20260101000000 19700101000001 20260101000000 UTC",
    ] {
        assert_eq!(utime(text.as_bytes()), Ok(expected.clone()), "{text}");
    }
    assert!(utime(b"a b 20260101000000 UTC").is_err());
}

proptest! {
    #[test]
    fn any_line_is_a_command_or_a_fault(line in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Err(fault) = parse(&line) {
            prop_assert!((500..=504).contains(&fault.code()));
        }
    }

    #[test]
    fn any_argument_of_any_verb_is_read_or_refused(
        index in 0..VERBS.len(),
        argument in "[ -~]{0,60}",
    ) {
        let line = format!("{} {argument}", VERBS[index].name);
        if let Err(fault) = parse(line.as_bytes()) {
            prop_assert!((500..=504).contains(&fault.code()));
        }
    }
}
