//! What GnuPG writes, we read.

use super::*;
use gnupg::Gnupg;

const PARTNER: &str = "partner";

/// A GnuPG with a key of the partner's that knows ours.
fn partner_of(ours: &OwnKeys, algorithm: &str) -> Option<Gnupg> {
    let gnupg = Gnupg::new()?;
    gnupg.make_key(PARTNER, algorithm, "never");
    gnupg.import(ours.newest().public_armored().expect("armor").as_bytes());
    Some(gnupg)
}

#[test]
fn we_read_what_gnupg_encrypts_to_us_however_it_is_told_to() {
    let ours = own_keys("layover");
    let Some(gnupg) = partner_of(&ours, "default") else {
        return;
    };
    let plain = [noise(90_000), vec![b'x'; 90_000]].concat();
    for (case, options) in [
        ("default", &[][..]),
        ("rfc4880", &["--rfc4880"]),
        ("best zlib", &["-z", "9"]),
        ("no compression", &["-z", "0"]),
        ("zip", &["--compress-algo", "zip"]),
        ("bzip2", &["--compress-algo", "bzip2"]),
        ("armored", &["--armor"]),
        ("armored bzip2", &["--armor", "--compress-algo", "bzip2"]),
        ("comment", &["--armor", "--comment", "ERP export 7.1"]),
        ("hidden recipient", &["--throw-keyids"]),
        ("aes128", &["--cipher-algo", "AES128"]),
        ("twofish", &["--cipher-algo", "TWOFISH"]),
        ("camellia", &["--cipher-algo", "CAMELLIA256"]),
        ("a second recipient", &["--recipient", PARTNER]),
        ("file name", &["--set-filename", "orders.csv"]),
    ] {
        let arguments = [&["--encrypt", "--recipient", "layover"][..], options].concat();
        let file = gnupg.run(&arguments, &plain).expect(case).out;
        let (read, done) = opened(&file, &opening_with(&ours)).expect(case);
        assert!(read == plain, "{case}");
        assert_eq!(done.opened_by, ours.newest().fingerprint(), "{case}");
        assert_eq!(done.encrypted_bytes, file.len() as u64, "{case}");
        assert_eq!(done.signatures, 0, "{case}");
    }
}

#[test]
fn text_arrives_with_the_line_ends_that_its_sender_wrote_into_the_message() {
    let ours = own_keys("layover");
    let Some(gnupg) = partner_of(&ours, "default") else {
        return;
    };
    let arguments = ["--encrypt", "--recipient", "layover", "--textmode"];
    let file = gnupg.run(&arguments, b"a\nb\n").expect("gpg encrypts").out;
    let (read, _) = opened(&file, &opening_with(&ours)).expect("open it");
    assert_eq!(read, b"a\r\nb\r\n");
}

#[test]
fn gnupg_picks_aes_256_for_our_key_by_itself() {
    let ours = own_keys("layover");
    let Some(gnupg) = partner_of(&ours, "default") else {
        return;
    };
    gnupg.import(&ours.to_bytes().expect("bytes"));
    for options in [&[][..], &["--rfc4880"], &["--openpgp"]] {
        let arguments = [&["--encrypt", "--recipient", "layover"][..], options].concat();
        let file = gnupg.run(&arguments, b"x").expect("gpg encrypts").out;
        let ran = gnupg.run(&["--decrypt"], &file).expect("gpg decrypts");
        let info = ran.status("DECRYPTION_INFO").expect("information");
        assert_eq!(info.get(..2), Some(&["2", "9"][..]), "{options:?}");
    }
}

#[test]
fn files_of_any_size_reach_us_whole() {
    let ours = own_keys("layover");
    let Some(gnupg) = partner_of(&ours, "default") else {
        return;
    };
    for size in [0, 1, 21, 22, 23, 8_170, 8_192, 65_536, 1_000_001] {
        let plain = noise(size);
        for level in ["0", "6"] {
            let arguments = ["--encrypt", "--recipient", "layover", "-z", level];
            let file = gnupg.run(&arguments, &plain).expect("gpg encrypts").out;
            let (read, _) = opened(&file, &opening_with(&ours)).expect("open it");
            assert!(read == plain, "{size} bytes at level {level}");
        }
    }
}

#[test]
fn the_partners_signature_is_required_where_it_is_demanded() {
    let ours = own_keys("layover");
    let Some(gnupg) = partner_of(&ours, "default") else {
        return;
    };
    let other = gnupg.make_key("somebody else", "default", "never");
    gnupg
        .run(
            &[
                "--passphrase",
                "s3cret",
                "--quick-gen-key",
                "locked",
                "rsa3072",
                "default",
                "never",
            ],
            b"",
        )
        .expect("make a key with a passphrase");
    gnupg.make_key_by(
        "Key-Type: DSA\nKey-Length: 2048\nSubkey-Type: ELG-E\nSubkey-Length: 2048\nName-Real: olddsa",
    );
    let signing = |name: &str, options: &[&str]| {
        let arguments = [
            &["--encrypt", "--sign", "--recipient", "layover"][..],
            &["--local-user", name],
            options,
        ]
        .concat();
        gnupg.run(&arguments, b"orders").expect("gpg signs").out
    };
    let demanding = |name: &str| DecryptOptions {
        sender: SenderRule::SignedBy(Arc::new(
            PartnerKey::read(&gnupg.export(name)).expect("read the key"),
        )),
        ..opening_with(&ours)
    };
    for (name, options) in [
        (PARTNER, &[][..]),
        (PARTNER, &["-z", "0"]),
        (PARTNER, &["--textmode"]),
        (PARTNER, &["--digest-algo", "SHA256"]),
        ("locked", &["--passphrase", "s3cret"]),
        ("olddsa", &["--digest-algo", "SHA256"]),
    ] {
        let (read, done) = opened(&signing(name, options), &demanding(name))
            .unwrap_or_else(|error| panic!("{name} {options:?}: {error:?}"));
        assert_eq!(read, b"orders");
        assert_eq!(done.signatures, 1);
    }
    // Signed by two, of whom one is the partner.
    let both = signing(PARTNER, &["--local-user", &other]);
    assert_eq!(
        opened(&both, &demanding(PARTNER))
            .expect("open")
            .1
            .signatures,
        2
    );

    let unsigned = gnupg
        .run(&["--encrypt", "--recipient", "layover"], b"orders")
        .expect("gpg encrypts")
        .out;
    assert_eq!(refusal(&unsigned, &demanding(PARTNER)), Refusal::NotSigned);
    assert_eq!(
        refusal(&signing(&other, &[]), &demanding(PARTNER)),
        Refusal::WrongSignature
    );
    assert_eq!(
        refusal(
            &signing(PARTNER, &["--digest-algo", "SHA1"]),
            &demanding(PARTNER)
        ),
        Refusal::WrongSignature
    );
    gnupg.revoke(&other);
    assert!(matches!(
        refusal(&signing(PARTNER, &[]), &demanding(&other)),
        Refusal::SenderKey(_)
    ));
}

#[test]
fn after_a_rotation_files_to_the_older_key_are_read_until_it_is_retired() {
    let mut keys = OwnKeys::new(own_key("layover"));
    let old = keys.newest().fingerprint();
    let file = sealed(b"to the old one", &sealing_to(as_partner(&keys)));
    keys.rotate(own_key("layover")).expect("rotate");
    assert_ne!(keys.newest().fingerprint(), old);
    let both = Arc::new(keys.clone());
    assert_eq!(
        opened(&file, &opening_with(&both))
            .expect("open")
            .1
            .opened_by,
        old
    );

    assert!(keys.retire(&old));
    assert!(!keys.retire(&old));
    let cause = refusal(&file, &opening_with(&Arc::new(keys)));
    assert!(matches!(cause, Refusal::NotForUs { recipients } if recipients.len() == 1));
}
