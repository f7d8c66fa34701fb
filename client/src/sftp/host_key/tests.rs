use russh::keys::ssh_key::PrivateKey;

use super::*;

fn key() -> PublicKey {
    let mut random = russh::keys::key::safe_rng();
    PrivateKey::random(&mut random, Algorithm::Ed25519)
        .unwrap()
        .public_key()
        .clone()
}

fn hashed(name: &str) -> String {
    let salt = [9; 20];
    let mac = hmac::sign(
        &hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &salt),
        name.as_bytes(),
    );
    let encode = |bytes: &[u8]| base64::engine::general_purpose::STANDARD.encode(bytes);
    format!("|1|{}|{}", encode(&salt), encode(mac.as_ref()))
}

#[test]
fn a_line_of_known_hosts_names_a_server_in_each_of_its_forms() {
    let key = key();
    let public = key.to_openssh().unwrap();
    for (names, host, port, named) in [
        ("sftp.acme.test", "sftp.acme.test", 22, true),
        ("sftp.acme.test", "SFTP.Acme.test", 22, true),
        ("sftp.acme.test", "sftp.acme.test", 2222, false),
        ("[sftp.acme.test]:2222", "sftp.acme.test", 2222, true),
        ("[sftp.acme.test]:2222", "sftp.acme.test", 22, false),
        ("a.test,192.0.2.1", "192.0.2.1", 22, true),
        ("*.acme.test", "sftp.acme.test", 22, true),
        ("*.acme.test", "acme.test", 22, false),
        ("*.acme.test,!sftp.acme.test", "sftp.acme.test", 22, false),
        ("sftp?.acme.test", "sftp1.acme.test", 22, true),
        ("a*b*c", "axxbyyc", 22, true),
        ("a*b*c", "axxbyyd", 22, false),
        (&hashed("sftp.acme.test"), "sftp.acme.test", 22, true),
        (&hashed("sftp.acme.test"), "other.acme.test", 22, false),
        (
            &hashed("[sftp.acme.test]:2222"),
            "sftp.acme.test",
            2222,
            true,
        ),
    ] {
        let line = format!("# ours\n\n{names} \t {public}\n");
        let trust = HostTrust::Known(KnownKeys::known_hosts(&line).unwrap());
        let expected = trust.expect(host, port);
        assert_eq!(expected.is_ok(), named, "{names} {host} {port}");
        if let Ok(expected) = expected {
            assert_eq!(expected.check(&key), Ok(()));
        }
    }
}

#[test]
fn one_of_several_known_keys_is_enough_and_another_is_named_with_all_of_them() {
    let (first, second, other) = (key(), key(), key());
    let lines = [&first, &second].map(|key| format!("h {}", key.to_openssh().unwrap()));
    let trust = HostTrust::Known(KnownKeys::known_hosts(&lines.join("\n")).unwrap());
    let expected = trust.expect("h", 22).unwrap();
    assert_eq!(expected.check(&first), Ok(()));
    assert_eq!(expected.check(&second), Ok(()));
    let print = |key: &PublicKey| key.fingerprint(HashAlg::Sha256).to_string();
    assert_eq!(
        expected.check(&other),
        Err(RemoteFault::HostKeyChanged {
            pinned: format!("{}, {}", print(&first), print(&second)),
            shown: print(&other),
        })
    );
}

#[test]
fn a_revoked_key_is_refused_although_it_is_known() {
    let (good, stolen) = (key(), key());
    let lines = format!(
        "h {}\nh {}\n@revoked * {}",
        good.to_openssh().unwrap(),
        stolen.to_openssh().unwrap(),
        stolen.to_openssh().unwrap()
    );
    let trust = HostTrust::Known(KnownKeys::known_hosts(&lines).unwrap());
    let expected = trust.expect("h", 22).unwrap();
    assert_eq!(expected.check(&good), Ok(()));
    assert!(matches!(
        expected.check(&stolen),
        Err(RemoteFault::HostKeyChanged { pinned, .. })
            if pinned == good.fingerprint(HashAlg::Sha256).to_string()
    ));
}

#[test]
fn fingerprints_are_read_as_ssh_keygen_prints_them() {
    let key = key();
    let text = key.fingerprint(HashAlg::Sha256).to_string();
    let print = Fingerprint::parse(&text).unwrap();
    assert_eq!(print.to_string(), text);
    assert_eq!(Fingerprint::parse(&format!(" {text}= ")), Ok(print));
    for text in [
        "",
        "SHA256:",
        "MD5:00",
        text.trim_start_matches("SHA256:"),
        "SHA256:AAAA",
    ] {
        assert_eq!(
            Fingerprint::parse(text),
            Err(TrustError::Fingerprint),
            "{text}"
        );
    }
}

#[test]
fn what_cannot_be_used_says_why_and_where() {
    let public = key().to_openssh().unwrap();
    let longest = |bytes: usize| {
        let line = format!("h {public} ");
        format!("{line}{}", "x".repeat(bytes - line.len()))
    };
    for (text, expected) in [
        (String::new(), Some(TrustError::Empty)),
        ("# nothing".to_owned(), Some(TrustError::Empty)),
        ("\nh rubbish".to_owned(), Some(TrustError::Line { line: 2 })),
        (
            format!("@cert-authority * {public}"),
            Some(TrustError::CertAuthority { line: 1 }),
        ),
        (longest(MAX_KNOWN_HOSTS_LINE_BYTES), None),
        (
            longest(MAX_KNOWN_HOSTS_LINE_BYTES + 1),
            Some(TrustError::LineTooLong { line: 1 }),
        ),
        (format!("h {public}\n").repeat(MAX_KNOWN_KEYS), None),
        (
            format!("h {public}\n").repeat(MAX_KNOWN_KEYS + 1),
            Some(TrustError::TooMany),
        ),
    ] {
        assert_eq!(KnownKeys::known_hosts(&text).err(), expected);
    }
    let print = Fingerprint([1; 32]);
    for (count, expected) in [
        (0, Some(TrustError::Empty)),
        (MAX_KNOWN_KEYS, None),
        (MAX_KNOWN_KEYS + 1, Some(TrustError::TooMany)),
    ] {
        let prints = std::iter::repeat_n(print, count);
        assert_eq!(KnownKeys::fingerprints(prints).err(), expected);
    }
}
