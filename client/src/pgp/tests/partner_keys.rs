//! Which keys of partners are taken, and what is said of them.

use std::time::Duration;

use super::super::{EXPIRY_WARNING, MAX_KEY_FILE_BYTES, PartnerKeyError};
use super::*;
use gnupg::Gnupg;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn later(days: u32) -> Timestamp {
    now() + DAY * days
}

fn read(file: &[u8]) -> Result<PartnerKey, PartnerKeyError> {
    PartnerKey::read(file)
}

fn report_of(file: &[u8]) -> Result<super::super::KeyReport, PartnerKeyError> {
    read(file)?.report(now())
}

#[test]
fn a_key_file_is_read_in_every_form_that_programs_write() {
    let armored = own_key("Partner <p@partner.invalid>")
        .public_armored()
        .expect("armor");
    let fingerprint = read(armored.as_bytes()).expect("read it").fingerprint();
    let utf16 = |bytes: fn(u16) -> [u8; 2], mark: [u8; 2]| {
        let mut file = mark.to_vec();
        file.extend(armored.encode_utf16().flat_map(bytes));
        file
    };
    let Some(gnupg) = Gnupg::new() else { return };
    gnupg.import(armored.as_bytes());
    for (case, file) in [
        ("CRLF", armored.replace('\n', "\r\n").into_bytes()),
        (
            "a mark of UTF-8",
            [b"\xef\xbb\xbf", armored.as_bytes()].concat(),
        ),
        ("UTF-16, little", utf16(u16::to_le_bytes, [0xff, 0xfe])),
        ("UTF-16, big", utf16(u16::to_be_bytes, [0xfe, 0xff])),
        (
            "text around it",
            format!("Dear Bob,\n\n{armored}\nRegards\n").into_bytes(),
        ),
        ("binary", gnupg.export("Partner")),
        (
            "no checksum",
            armored
                .lines()
                .filter(|line| !line.starts_with('='))
                .flat_map(|line| [line, "\n"])
                .collect::<String>()
                .into_bytes(),
        ),
    ] {
        let key = read(&file).unwrap_or_else(|error| panic!("{case}: {error}"));
        assert_eq!(key.fingerprint(), fingerprint, "{case}");
    }
}

#[test]
fn what_is_no_single_public_key_is_refused_with_its_reason() {
    let ours = own_key("first");
    let first = ours.public_armored().expect("armor");
    let second = own_key("second").public_armored().expect("armor");
    let private = OwnKeys::new(ours).to_bytes().expect("bytes");
    let long = vec![b'x'; MAX_KEY_FILE_BYTES + 1];
    for (file, said) in [
        (&b""[..], "the file holds no OpenPGP public key"),
        (
            b"ssh-ed25519 AAAA partner",
            "the file holds no OpenPGP public key",
        ),
        (
            b"-----BEGIN CERTIFICATE-----\nMII\n",
            "the file holds no OpenPGP public key: it begins with `-----BEGIN CERTIFICATE-----`",
        ),
        (
            b"-----BEGIN PGP PRIVATE KEY BLOCK-----\n\n",
            "the file holds a private key: ask for the public key alone",
        ),
        (
            &private,
            "the file holds a private key: ask for the public key alone",
        ),
        (&long, "the key file is longer than 1048576 bytes"),
        (&long[1..], "the file holds no OpenPGP public key"),
        (
            format!("{first}{second}").as_bytes(),
            "the file holds 2 keys, export one: ",
        ),
        (
            &first.as_bytes()[..first.len() / 2],
            "the key file is damaged: ",
        ),
    ] {
        let error = read(file).expect_err(said).to_string();
        assert!(error.starts_with(said), "{error}");
    }
}

#[test]
fn several_keys_in_one_export_are_refused() {
    let Some(gnupg) = Gnupg::new() else { return };
    gnupg.import(own_key("first").public_armored().expect("armor").as_bytes());
    gnupg.import(
        own_key("second")
            .public_armored()
            .expect("armor")
            .as_bytes(),
    );
    let both = gnupg.run(&["--export"], b"").expect("export").out;
    assert!(matches!(
        read(&both),
        Err(PartnerKeyError::Several { fingerprints }) if fingerprints.len() == 2
    ));
}

#[test]
fn a_report_says_whose_key_it_is_what_it_is_and_when_it_ends() {
    let Some(gnupg) = Gnupg::new() else { return };
    let fingerprint = gnupg.make_key("Partner <p@partner.invalid>", "rsa3072", "90d");
    gnupg
        .run(&["--quick-add-uid", &fingerprint, "Second"], b"")
        .expect("add a user id");
    let report = report_of(&gnupg.export(&fingerprint)).expect("report");
    assert_eq!(report.fingerprint, fingerprint);
    let mut ids = report.user_ids.clone();
    ids.sort();
    assert_eq!(ids, ["Partner <p@partner.invalid>", "Second"]);
    assert_eq!(report.algorithm, "RSA 3072");
    assert_eq!(report.encryption_algorithm, "RSA 3072");
    assert_ne!(report.encryption_fingerprint, fingerprint);
    assert_eq!(report.created_at, now());
    assert_eq!(report.expires_at, Some(later(90)));
    for (day, warned) in [(59, false), (60, true), (89, true)] {
        assert_eq!(
            report.expires_within(EXPIRY_WARNING, later(day)),
            warned,
            "{day}"
        );
    }
}

#[test]
fn o05_expired_and_revoked_keys_are_refused_by_name() {
    let Some(gnupg) = Gnupg::new() else { return };
    let short = gnupg.make_key("short", "future-default", "10d");
    let key = read(&gnupg.export(&short)).expect("read it");
    assert!(key.report(later(9)).is_ok());
    assert_eq!(
        key.report(later(10)),
        Err(PartnerKeyError::Expired {
            fingerprint: short.clone(),
            expired_at: later(10),
        })
    );
    let refused = encrypt(
        &b"x"[..],
        std::io::sink(),
        &EncryptOptions {
            now: later(10),
            ..sealing_to(Arc::new(key.clone()))
        },
    );
    assert!(matches!(refused, Err(super::super::EncryptError::Key(_))));
    let before = now() - DAY;
    assert_eq!(
        key.report(before),
        Err(PartnerKeyError::FromTheFuture { created_at: now() })
    );
    // Minutes ahead of us are a wrong clock, not another key.
    assert!(key.report(now() - Duration::from_secs(600)).is_ok());

    // Extended by its owner a day later: the newer signature counts.
    for which in [&[][..], &["*"]] {
        let arguments = [&["--quick-set-expire", &short, "100d"][..], which].concat();
        gnupg
            .run_at("20260602T120000!", &arguments, b"")
            .expect("extend the key");
    }
    let key = read(&gnupg.export(&short)).expect("read it");
    assert_eq!(
        key.report(later(50)).expect("valid again").expires_at,
        Some(later(101))
    );

    gnupg.revoke(&short);
    assert_eq!(
        report_of(&gnupg.export(&short)),
        Err(PartnerKeyError::Revoked { fingerprint: short })
    );
}

#[test]
fn a_revoked_or_expired_subkey_is_not_used_and_a_newer_one_is() {
    let Some(gnupg) = Gnupg::new() else { return };
    let key = gnupg.make_key("partner", "future-default", "never");
    let first = report_of(&gnupg.export(&key))
        .expect("report")
        .encryption_fingerprint;
    gnupg
        .run(
            &["--command-fd", "0", "--edit-key", &key],
            b"key 1\nrevkey\ny\n0\n\ny\nsave\n",
        )
        .expect("revoke the subkey");
    let Err(PartnerKeyError::NoEncryptionKey { refused, .. }) = report_of(&gnupg.export(&key))
    else {
        panic!("the subkey is still used");
    };
    assert_eq!(refused.len(), 1);
    assert_eq!(refused[0].fingerprint, first);
    assert_eq!(refused[0].why, "was revoked by its owner");

    gnupg
        .run(
            &[
                "--passphrase",
                "",
                "--quick-add-key",
                &key,
                "cv25519",
                "encr",
                "5d",
            ],
            b"",
        )
        .expect("add a subkey");
    let file = gnupg.export(&key);
    let report = report_of(&file).expect("the new subkey is used");
    assert_ne!(report.encryption_fingerprint, first);
    assert_eq!(report.expires_at, Some(later(5)));
    let error = read(&file)
        .expect("read it")
        .report(later(5))
        .expect_err("expired");
    assert!(
        error.to_string().contains("expired at 2026-06-06"),
        "{error}"
    );
}

#[test]
fn a_key_all_of_whose_user_ids_are_revoked_is_refused() {
    let Some(gnupg) = Gnupg::new() else { return };
    let key = gnupg.make_key("first", "future-default", "never");
    gnupg
        .run(&["--quick-add-uid", &key, "second"], b"")
        .expect("add a user id");
    gnupg
        .run(&["--quick-revoke-uid", &key, "first"], b"")
        .expect("revoke a user id");
    let report = report_of(&gnupg.export(&key)).expect("one is left");
    assert_eq!(report.user_ids, ["second"]);
    // GnuPG keeps the last one, so it is taken out of the file instead.
    let file = gnupg
        .run(
            &["--export", "--export-filter", "keep-uid=uid = first", &key],
            b"",
        )
        .expect("export")
        .out;
    assert_eq!(
        report_of(&file),
        Err(PartnerKeyError::UserIdsRevoked { fingerprint: key })
    );
}

#[test]
fn weak_keys_are_refused_with_the_rule_they_break() {
    let Some(gnupg) = Gnupg::new() else { return };
    for (name, parameters, said) in [
        (
            "rsa1",
            "Key-Type: RSA\nKey-Length: 1024\nSubkey-Type: RSA\nSubkey-Length: 1024",
            "RSA 1024 has fewer than 2048 bits",
        ),
        (
            "rsa2",
            "Key-Type: RSA\nKey-Length: 2048\nKey-Usage: sign\nSubkey-Type: RSA\nSubkey-Length: 1024",
            "is too weak: RSA 1024 has fewer than 2048 bits",
        ),
        (
            "dsa1",
            "Key-Type: DSA\nKey-Length: 1024\nSubkey-Type: ELG-E\nSubkey-Length: 1024",
            "DSA 1024 has fewer than 2048 bits",
        ),
        (
            "elg",
            "Key-Type: RSA\nKey-Length: 2048\nKey-Usage: sign\nSubkey-Type: ELG-E\nSubkey-Length: 1024",
            "cannot be used: ElGamal 1024 is not one to encrypt to",
        ),
        (
            "brainpool",
            "Key-Type: RSA\nKey-Length: 2048\nKey-Usage: sign\nSubkey-Type: ECDH\nSubkey-Curve: brainpoolP256r1",
            "cannot be used: ECDH brainpoolP256r1 is not one to encrypt to",
        ),
        (
            "signonly",
            "Key-Type: RSA\nKey-Length: 2048\nKey-Usage: sign",
            "has nothing to encrypt to",
        ),
    ] {
        let fingerprint = gnupg.make_key_by(&format!("{parameters}\nName-Real: {name}x"));
        let error = report_of(&gnupg.export(&fingerprint))
            .expect_err(name)
            .to_string();
        assert!(error.ends_with(said), "{name}: {error}");
    }
}

#[test]
fn keys_of_every_usual_kind_are_taken_and_gnupg_opens_what_we_send_them() {
    let Some(gnupg) = Gnupg::new() else { return };
    for (parameters, algorithm) in [
        (
            "Key-Type: RSA\nKey-Length: 2048\nSubkey-Type: RSA\nSubkey-Length: 2048",
            "RSA 2048",
        ),
        (
            "Key-Type: RSA\nKey-Length: 3072\nKey-Usage: sign,encrypt",
            "RSA 3072",
        ),
        (
            "Key-Type: ECDSA\nKey-Curve: nistp256\nSubkey-Type: ECDH\nSubkey-Curve: nistp256",
            "ECDH NIST P-256",
        ),
        (
            "Key-Type: ECDSA\nKey-Curve: nistp384\nSubkey-Type: ECDH\nSubkey-Curve: nistp384",
            "ECDH NIST P-384",
        ),
        (
            "Key-Type: ECDSA\nKey-Curve: nistp521\nSubkey-Type: ECDH\nSubkey-Curve: nistp521",
            "ECDH NIST P-521",
        ),
        (
            "Key-Type: EDDSA\nKey-Curve: ed25519\nSubkey-Type: ECDH\nSubkey-Curve: cv25519",
            "Curve25519",
        ),
    ] {
        let fingerprint = gnupg.make_key_by(&format!("{parameters}\nName-Real: partner"));
        let key = read(&gnupg.export(&fingerprint)).expect(algorithm);
        assert_eq!(
            key.report(now()).expect(algorithm).encryption_algorithm,
            algorithm
        );
        let file = sealed(b"orders", &sealing_to(Arc::new(key)));
        assert_eq!(
            gnupg.run(&["--decrypt"], &file).expect(algorithm).out,
            b"orders"
        );
    }
}

#[test]
fn a_subkey_that_the_primary_key_did_not_bind_is_not_used() {
    use pgp::composed::{ArmorOptions, Deserializable, SignedPublicKey};
    let armored = |name| own_key(name).public_armored().expect("armor");
    let parse = |text: &str| SignedPublicKey::from_string(text).expect("parse").0;
    let mut key = parse(&armored("partner"));
    key.public_subkeys = parse(&armored("attacker")).public_subkeys;
    let file = key
        .to_armored_bytes(ArmorOptions::default())
        .expect("armor");
    assert!(matches!(
        report_of(&file),
        Err(PartnerKeyError::NoEncryptionKey { refused, .. })
            if refused[0].why == "is not bound to the key by a valid signature"
    ));

    let mut key = parse(&armored("partner"));
    key.details.users = parse(&armored("attacker")).details.users;
    let file = key
        .to_armored_bytes(ArmorOptions::default())
        .expect("armor");
    assert!(matches!(
        report_of(&file),
        Err(PartnerKeyError::NoUserId { .. })
    ));
}
