//! What we write, GnuPG reads.

use super::*;
use gnupg::Gnupg;

/// Sizes around the edges of packets, buffers and pieces.
const SIZES: [usize; 12] = [
    0, 1, 15, 191, 192, 8_383, 8_384, 65_535, 65_536, 524_266, 524_288, 1_200_000,
];

#[test]
fn gnupg_reads_what_we_encrypt_and_finds_aes_256_and_an_integrity_check() {
    let Some(gnupg) = Gnupg::new() else { return };
    for (name, algorithm) in [
        ("cv", "future-default"),
        ("rsa3", "default"),
        ("rsa4", "rsa4096"),
    ] {
        gnupg.make_key(name, algorithm, "never");
        let partner = Arc::new(PartnerKey::read(&gnupg.export(name)).expect("read the key"));
        let plain = noise(70_000);
        for form in [Form::Binary, Form::Armored] {
            for compression in [Compression::None, Compression::Zlib] {
                let file = sealed(
                    &plain,
                    &EncryptOptions {
                        form,
                        compression,
                        ..sealing_to(Arc::clone(&partner))
                    },
                );
                let ran = gnupg.run(&["--decrypt"], &file).expect("gpg decrypts it");
                assert_eq!(ran.out, plain, "{name} {form:?} {compression:?}");
                // 2: MDC, 9: AES256.
                let info = ran.status("DECRYPTION_INFO").expect("information");
                assert_eq!(info.get(..2), Some(&["2", "9"][..]));
                assert!(ran.status("GOODMDC").is_some());
                // Neither name nor date of the file: `b 0 `.
                assert_eq!(ran.status("PLAINTEXT"), Some(vec!["62", "0", ""]));
            }
        }
    }
}

#[test]
fn files_of_any_size_reach_gnupg_whole() {
    let Some(gnupg) = Gnupg::new() else { return };
    gnupg.make_key("partner", "default", "never");
    let partner = Arc::new(PartnerKey::read(&gnupg.export("partner")).expect("read the key"));
    for size in SIZES {
        let plain = noise(size);
        let file = sealed(&plain, &sealing_to(Arc::clone(&partner)));
        let ran = gnupg.run(&["--decrypt"], &file).expect("gpg decrypts it");
        assert!(ran.out == plain, "{size} bytes");
    }
}

#[test]
fn o05_gnupg_takes_our_key_and_verifies_our_signature() {
    let Some(gnupg) = Gnupg::new() else { return };
    gnupg.make_key("partner", "default", "never");
    let partner = Arc::new(PartnerKey::read(&gnupg.export("partner")).expect("read the key"));
    let ours = own_keys("Layover north <north@layover.invalid>");
    gnupg.import(ours.newest().public_armored().expect("armor").as_bytes());
    for compression in [Compression::None, Compression::Zlib] {
        let file = sealed(
            b"signed and sealed",
            &EncryptOptions {
                sign_with: Some(Arc::clone(&ours)),
                compression,
                ..sealing_to(Arc::clone(&partner))
            },
        );
        let ran = gnupg.run(&["--decrypt"], &file).expect("gpg decrypts it");
        assert_eq!(ran.out, b"signed and sealed");
        let valid = ran.status("VALIDSIG").expect("a valid signature");
        assert_eq!(valid.first(), Some(&&*ours.newest().fingerprint()));
    }
}

#[test]
fn gnupg_shows_our_key_with_its_purposes_preferences_and_expiry() {
    let Some(gnupg) = Gnupg::new() else { return };
    let key = OwnKey::generate(&KeyPlan {
        user_id: "Layover north <north@layover.invalid>",
        created_at: now(),
        expires_at: Some("2028-06-01T12:00:00Z".parse().expect("a moment")),
    })
    .expect("make a key");
    gnupg.import(key.public_armored().expect("armor").as_bytes());
    let listed = gnupg.run(&["--with-colons", "--list-keys"], b"").out;
    let listed = String::from_utf8(listed).expect("text");
    let fields = |kind: &str| -> Vec<String> {
        let line = listed
            .lines()
            .find(|line| line.starts_with(kind))
            .expect("a line");
        line.split(':').map(str::to_owned).collect()
    };
    let (primary, subkey) = (fields("pub:"), fields("sub:"));
    assert_eq!((&*primary[3], &*primary[16]), ("22", "ed25519"));
    assert_eq!((&*subkey[3], &*subkey[16]), ("18", "cv25519"));
    assert_eq!((&*primary[11], &*subkey[11]), ("scESC", "e"));
    assert_eq!(primary[6], "1843473600");
    assert_eq!(subkey[6], primary[6]);
    assert_eq!(
        key.expires_at().map(Timestamp::as_second),
        Some(1_843_473_600)
    );
    let preferences = gnupg
        .run(
            &["--list-packets"],
            key.public_armored().expect("armor").as_bytes(),
        )
        .out;
    let preferences = String::from_utf8(preferences).expect("text");
    for line in [
        "(pref-sym-algos: 9 7)",
        "(pref-hash-algos: 10 8)",
        "(pref-zip-algos: 2 0)",
        "(features: 01)",
    ] {
        assert!(preferences.contains(line), "{line} in {preferences}");
    }
}

#[test]
fn a_private_key_of_ours_is_one_that_gnupg_can_use() {
    let Some(gnupg) = Gnupg::new() else { return };
    let ours = own_keys("Layover north <north@layover.invalid>");
    gnupg.import(&ours.to_bytes().expect("bytes"));
    let file = sealed(b"to ourselves", &sealing_to(as_partner(&ours)));
    let ran = gnupg.run(&["--decrypt"], &file).expect("gpg decrypts it");
    assert_eq!(ran.out, b"to ourselves");
}
