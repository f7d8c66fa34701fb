//! Files that must not be believed.

use std::io::Read as _;

use super::*;
use gnupg::Gnupg;

#[test]
fn o05_no_altered_file_is_ever_taken_for_the_partners() {
    let ours = own_keys("layover");
    let plain = noise(30_000);
    let options = sealing_to(as_partner(&ours));
    let packed = EncryptOptions {
        compression: Compression::Zlib,
        sign_with: Some(Arc::clone(&ours)),
        ..options.clone()
    };
    for options in [options, packed] {
        let file = sealed(&plain, &options);
        let head = 110;
        let places = (0..head)
            .chain((head..file.len() - 64).step_by(97))
            .chain(file.len() - 64..file.len());
        for place in places {
            for mask in [0x01, 0x80, 0xff] {
                let mut altered = file.clone();
                altered[place] ^= mask;
                let outcome = opened(&altered, &opening_with(&ours));
                // The packet with the session key is not authenticated: some
                // bits of it mean nothing.
                let harmless =
                    place < head && outcome.as_ref().is_ok_and(|(read, _)| *read == plain);
                assert!(
                    harmless || matches!(outcome, Err(DecryptError::Undecryptable { .. })),
                    "byte {place} ^ {mask:#x}: {outcome:?}"
                );
            }
        }
    }
}

#[test]
fn o05_no_cut_file_is_ever_taken_for_a_whole_one() {
    let ours = own_keys("layover");
    for (length, compression) in [
        (0, Compression::None),
        (30_000, Compression::None),
        (30_000, Compression::Zlib),
        (1_100_000, Compression::None),
    ] {
        let file = sealed(
            &noise(length),
            &EncryptOptions {
                compression,
                ..sealing_to(as_partner(&ours))
            },
        );
        let step = file.len() / 300 + 1;
        let cuts = (0..file.len())
            .step_by(step)
            .chain(file.len().saturating_sub(600)..file.len())
            // Around the end of the first and second partial packet.
            .chain((524_288..524_800).filter(|&cut| cut < file.len()))
            .chain((1_048_576..1_049_200).filter(|&cut| cut < file.len()));
        for cut in cuts {
            let outcome = opened(&file[..cut], &opening_with(&ours));
            assert!(
                matches!(outcome, Err(DecryptError::Undecryptable { .. })),
                "{length} bytes cut to {cut} of {}: {outcome:?}",
                file.len()
            );
        }
    }
}

#[test]
fn gnupgs_own_files_cut_or_altered_are_refused_as_well() {
    let ours = own_keys("layover");
    let Some(gnupg) = Gnupg::new() else { return };
    gnupg.import(ours.newest().public_armored().expect("armor").as_bytes());
    for options in [&["-z", "0"][..], &["-z", "6"], &["--armor"]] {
        let arguments = [&["--encrypt", "--recipient", "layover"][..], options].concat();
        let file = gnupg
            .run(&arguments, &noise(20_000))
            .expect("gpg encrypts")
            .out;
        let armored = options.contains(&"--armor");
        let end = if armored { file.len() - 60 } else { file.len() };
        for cut in (0..end).step_by(61).chain(end - 100..end) {
            let outcome = opened(&file[..cut], &opening_with(&ours));
            assert!(
                matches!(outcome, Err(DecryptError::Undecryptable { .. })),
                "{options:?} cut to {cut}: {outcome:?}"
            );
        }
        for place in (400..end).step_by(83) {
            let mut altered = file.clone();
            altered[place] ^= 0x04;
            let outcome = opened(&altered, &opening_with(&ours));
            let unaltered = armored && outcome.is_ok();
            assert!(
                unaltered || matches!(outcome, Err(DecryptError::Undecryptable { .. })),
                "{options:?} byte {place}: {outcome:?}"
            );
        }
    }
}

#[test]
fn what_is_not_encrypted_to_us_is_refused_and_the_partner_hears_one_sentence() {
    let ours = own_keys("layover");
    let Some(gnupg) = Gnupg::new() else { return };
    gnupg.make_key("partner", "default", "never");
    gnupg.import(ours.newest().public_armored().expect("armor").as_bytes());
    let by_gnupg = |arguments: &[&str]| gnupg.run(arguments, b"orders").expect("gpg").out;
    let to_us = sealed(b"orders", &sealing_to(as_partner(&ours)));
    let twice = |inner: &[u8]| {
        gnupg
            .run(
                &["--encrypt", "--recipient", "layover", "--no-literal"],
                inner,
            )
            .expect("gpg encrypts")
            .out
    };
    type Expected = fn(&Refusal) -> bool;
    let cases: Vec<(&str, Vec<u8>, Expected)> = vec![
        ("empty", Vec::new(), |cause| {
            matches!(cause, Refusal::NotOpenPgp { .. })
        }),
        ("a CSV file", b"id;name\n1;x\n".to_vec(), |cause| {
            matches!(cause, Refusal::NotOpenPgp { .. })
        }),
        ("a ZIP file", b"PK\x03\x04 and so on".to_vec(), |cause| {
            matches!(cause, Refusal::NotOpenPgp { .. })
        }),
        ("a packet of no known kind", vec![0xff; 5_000], |cause| {
            matches!(cause, Refusal::NotOpenPgp { .. })
        }),
        (
            "our public key",
            ours.newest().public_armored().expect("armor").into_bytes(),
            |cause| matches!(cause, Refusal::NotOpenPgp { .. }),
        ),
        (
            "signed",
            by_gnupg(&["--sign", "--local-user", "partner"]),
            |cause| *cause == Refusal::NotEncrypted,
        ),
        (
            "signed, armored",
            by_gnupg(&["--sign", "--armor"]),
            |cause| *cause == Refusal::NotEncrypted,
        ),
        ("signed as text", by_gnupg(&["--clear-sign"]), |cause| {
            *cause == Refusal::NotEncrypted
        }),
        ("only packed", by_gnupg(&["--store"]), |cause| {
            *cause == Refusal::NotEncrypted
        }),
        (
            "with a password",
            by_gnupg(&["--symmetric", "--passphrase", "x"]),
            |cause| *cause == Refusal::PasswordOnly,
        ),
        (
            "to somebody else",
            by_gnupg(&["--encrypt", "--recipient", "partner"]),
            |cause| matches!(cause, Refusal::NotForUs { .. }),
        ),
        (
            "to somebody hidden",
            by_gnupg(&["--encrypt", "--recipient", "partner", "--throw-keyids"]),
            |cause| matches!(cause, Refusal::NotForUs { .. }),
        ),
        (
            "without integrity check",
            by_gnupg(&[
                "--encrypt",
                "--recipient",
                "layover",
                "--rfc2440",
                "--cipher-algo",
                "3DES",
            ]),
            |cause| *cause == Refusal::NoIntegrityProtection,
        ),
        ("two files", [&to_us[..], &to_us[..]].concat(), |cause| {
            matches!(cause, Refusal::Altered { .. })
        }),
        ("a byte more", [&to_us[..], b"\n"].concat(), |cause| {
            matches!(cause, Refusal::Altered { .. })
        }),
        ("encrypted twice", twice(&to_us), |cause| {
            matches!(cause, Refusal::Nesting)
        }),
    ];
    let mut heard = std::collections::BTreeSet::new();
    for (case, file, expected) in cases {
        match opened(&file, &opening_with(&ours)) {
            Err(error @ DecryptError::Undecryptable { .. }) => {
                heard.insert(error.to_string());
                let DecryptError::Undecryptable { cause } = error else {
                    unreachable!()
                };
                assert!(expected(&cause), "{case}: {cause:?}");
            }
            outcome => panic!("{case}: {outcome:?}"),
        }
    }
    assert_eq!(
        heard.into_iter().collect::<Vec<_>>(),
        [super::super::UNDECRYPTABLE]
    );
}

#[test]
fn a_file_that_grows_over_the_limits_is_refused() {
    let ours = own_keys("layover");
    let zeros = vec![0; 3_000_000];
    let file = sealed(
        &zeros,
        &EncryptOptions {
            compression: Compression::Zlib,
            ..sealing_to(as_partner(&ours))
        },
    );
    let limited = |plain_bytes| DecryptOptions {
        limits: Limits {
            plain_bytes,
            ratio: 1,
        },
        ..opening_with(&ours)
    };
    // Up to RATIO_FREE_BYTES the ratio does not matter.
    assert!(opened(&file, &limited(3_000_000)).is_ok());
    assert_eq!(
        refusal(&file, &limited(2_999_999)),
        Refusal::TooLong { limit: 2_999_999 }
    );
}

#[test]
fn a_bomb_is_refused_by_its_ratio() {
    let ours = own_keys("layover");
    let zeros = std::io::repeat(0).take(Limits::RATIO_FREE_BYTES + 65_536);
    let mut file = Vec::new();
    let options = EncryptOptions {
        compression: Compression::Zlib,
        ..sealing_to(as_partner(&ours))
    };
    encrypt(zeros, &mut file, &options).expect("encrypt");
    let limited = |ratio| DecryptOptions {
        limits: Limits {
            ratio,
            ..Limits::default()
        },
        ..opening_with(&ours)
    };
    let mut sink = std::io::sink();
    let ratio = (Limits::RATIO_FREE_BYTES + 65_536) / file.len() as u64;
    assert!(decrypt(&file[..], &mut sink, &limited(ratio + 1)).is_ok());
    assert_eq!(
        refusal(&file, &limited(ratio / 2)),
        Refusal::RatioTooHigh { limit: ratio / 2 }
    );
}
