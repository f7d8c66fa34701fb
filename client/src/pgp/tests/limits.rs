//! Messages that are endless or nested, at their limits and above.

use super::*;
use gnupg::Gnupg;

/// RFC 4880 s.4.2.2: a packet with a length of four bytes.
fn packet(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).expect("a short packet");
    [&[0xc0 | tag, 0xff][..], &length.to_be_bytes(), body].concat()
}

fn literal(content: &[u8]) -> Vec<u8> {
    packet(11, &[b"b\0\0\0\0\0", content].concat())
}

/// Algorithm 0: not compressed at all.
fn compressed(inner: &[u8]) -> Vec<u8> {
    packet(8, &[b"\0", inner].concat())
}

fn markers(count: usize) -> Vec<u8> {
    packet(10, b"PGP").repeat(count)
}

fn padding(length: usize) -> Vec<u8> {
    packet(21, &vec![0; length])
}

/// RFC 4880 s.5.4: a binary file, SHA-512, EdDSA; more follow unless it is the
/// last.
fn announced_signature(last: bool) -> Vec<u8> {
    let mut body = b"\x03\x00\x0a\x16KEY-ID-8".to_vec();
    body.push(last.into());
    packet(4, &body)
}

/// Lets GnuPG encrypt packets as they are.
fn sealed_packets(gnupg: &Gnupg, level: &str, packets: &[u8]) -> Vec<u8> {
    let arguments = [
        "--encrypt",
        "--recipient",
        "layover",
        "--no-literal",
        "-z",
        level,
    ];
    gnupg.run(&arguments, packets).expect("gpg encrypts").out
}

#[test]
fn packets_around_and_inside_of_a_message_have_limits() {
    let ours = own_keys("layover");
    let Some(gnupg) = Gnupg::new() else { return };
    gnupg.import(ours.newest().public_armored().expect("armor").as_bytes());
    let file = || literal(b"orders");
    let announced = |count: usize| {
        let mut packets = announced_signature(false).repeat(count - 1);
        packets.extend(announced_signature(true));
        packets.extend(file());
        packets
    };
    type Expected = Option<fn(&Refusal) -> bool>;
    let cases: Vec<(&str, Vec<u8>, Expected)> = vec![
        ("a file", file(), None),
        ("markers", [markers(10_000), file()].concat(), None),
        (
            "many markers",
            [markers(20_000), file()].concat(),
            Some(|it| *it == Refusal::TooManyPackets),
        ),
        ("packed twice", compressed(&compressed(&file())), None),
        (
            "packed three times",
            compressed(&compressed(&compressed(&file()))),
            Some(|it| *it == Refusal::Nesting),
        ),
        ("padding behind", [file(), padding(100_000)].concat(), None),
        (
            "much padding behind",
            [file(), padding(3_000_000)].concat(),
            Some(|it| *it == Refusal::TooManyPackets),
        ),
        (
            "a second file",
            [file(), file()].concat(),
            Some(|it| matches!(it, Refusal::Altered { .. })),
        ),
        (
            "a second file, packed",
            [compressed(&file()), file()].concat(),
            Some(|it| matches!(it, Refusal::Altered { .. })),
        ),
        (
            "two files, packed",
            compressed(&[file(), file()].concat()),
            Some(|it| matches!(it, Refusal::Altered { .. })),
        ),
        // They are only announced, which is found at the end.
        (
            "eight signatures",
            announced(8),
            Some(|it| matches!(it, Refusal::Altered { .. })),
        ),
        (
            "nine signatures",
            announced(9),
            Some(|it| *it == Refusal::TooManySignatures),
        ),
        (
            "endless signatures",
            announced(20_000),
            Some(|it| *it == Refusal::TooManyPackets),
        ),
        (
            "no file",
            markers(3),
            Some(|it| matches!(it, Refusal::Altered { .. })),
        ),
        (
            "a key",
            gnupg.export("layover"),
            Some(|it| matches!(it, Refusal::Altered { .. })),
        ),
    ];
    for (case, packets, expected) in cases {
        for level in ["0", "6"] {
            // Compressing the packets is one layer more.
            if level == "6" && case.starts_with("packed") {
                continue;
            }
            let outcome = opened(
                &sealed_packets(&gnupg, level, &packets),
                &opening_with(&ours),
            );
            match (outcome, expected) {
                (Ok((plain, _)), None) => assert_eq!(plain, b"orders", "{case}"),
                (Err(DecryptError::Undecryptable { cause }), Some(expected)) => {
                    assert!(expected(&cause), "{case} at level {level}: {cause:?}");
                }
                (outcome, _) => panic!("{case} at level {level}: {outcome:?}"),
            }
        }
    }
}

#[test]
fn recipients_and_packets_before_the_encryption_have_limits() {
    let ours = own_keys("layover");
    let file = sealed(b"orders", &sealing_to(as_partner(&ours)));
    // The first packet is the session key; its length is one byte.
    let (session_key, rest) = file.split_at(2 + usize::from(file[1]));
    let with_recipients = |count: usize| [&session_key.repeat(count), rest].concat();
    assert!(opened(&with_recipients(128), &opening_with(&ours)).is_ok());
    assert_eq!(
        refusal(&with_recipients(129), &opening_with(&ours)),
        Refusal::TooManyRecipients
    );
    assert_eq!(
        refusal(&with_recipients(20_000), &opening_with(&ours)),
        Refusal::TooManyPackets
    );
    let with_markers = |count: usize| [markers(count), file.clone()].concat();
    assert!(opened(&with_markers(10_000), &opening_with(&ours)).is_ok());
    assert_eq!(
        refusal(&with_markers(20_000), &opening_with(&ours)),
        Refusal::TooManyPackets
    );
}

#[test]
fn armor_has_a_limit_before_it_begins() {
    let ours = own_keys("layover");
    let armored = sealed(
        b"orders",
        &EncryptOptions {
            form: Form::Armored,
            ..sealing_to(as_partner(&ours))
        },
    );
    let after = |length: usize| [vec![b'\n'; length], armored.clone()].concat();
    assert!(opened(&after(10_000), &opening_with(&ours)).is_ok());
    assert!(matches!(
        refusal(&after(200_000), &opening_with(&ours)),
        Refusal::NotOpenPgp { .. } | Refusal::TooManyPackets
    ));
    let marked = [&b"\xef\xbb\xbf"[..], &armored].concat();
    assert!(opened(&marked, &opening_with(&ours)).is_ok());
}
