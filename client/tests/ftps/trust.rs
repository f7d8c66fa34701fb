//! Whose certificate is good enough, and who we are.

use layover_client::ftps::{
    ClientIdentity, Fingerprint, Ftps, FtpsOptions, Security, TlsVersions, Trust,
};
use layover_client::{RemoteError, RemoteFault, Step};
use layover_depot::Secret;
use rcgen::date_time_ymd;

use crate::authority::{Authority, Leaf};
use crate::partners::{get, path, put};
use crate::play::{Play, Stage};
use crate::servers::{Server, Setup, Software};
use crate::skip::skip;

async fn fault(options: FtpsOptions) -> Result<(), RemoteFault> {
    match Ftps::connect(options).await {
        Ok(_) => Ok(()),
        Err(RemoteError { fault, step, .. }) => {
            assert!(
                matches!(step, Step::Handshake | Step::Prepare),
                "{step}: {fault}"
            );
            Err(fault)
        }
    }
}

fn explicit() -> Play {
    Play {
        security: Security::Explicit,
        ..Play::default()
    }
}

fn pinned(pinned: &Leaf, shown: &Leaf) -> RemoteFault {
    RemoteFault::CertificatePin {
        pinned: pinned.fingerprint().to_string(),
        shown: shown.fingerprint().to_string(),
    }
}

#[tokio::test]
async fn a_certificate_is_trusted_by_its_authority_its_pin_or_both() {
    let ours = || Authority::new("ours");
    let authority = ours();
    let pem = |authority: &Authority| authority.pem().into_bytes();
    let other = Authority::new("another");
    let leaf = authority.sign("127.0.0.1", |_| {});
    let elsewhere = authority.sign("elsewhere.example", |_| {});
    let expired = authority.sign("127.0.0.1", |params| {
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2021, 1, 1);
    });
    let early = authority.sign("127.0.0.1", |params| {
        params.not_before = date_time_ymd(2090, 1, 1);
        params.not_after = date_time_ymd(2091, 1, 1);
    });
    let alone = Leaf::self_signed("127.0.0.1");
    let by = |authority: &Authority, pin: Option<&Leaf>| Trust::Authorities {
        pem: pem(authority),
        pin: pin.map(Leaf::fingerprint),
    };
    let itself = Trust::Authorities {
        pem: alone.pem().into_bytes(),
        pin: None,
    };
    let named = RemoteFault::CertificateName {
        host: "127.0.0.1".to_owned(),
    };
    for (what, shown, trust, expected) in [
        ("its authority", &leaf, by(&authority, None), Ok(())),
        (
            "another authority",
            &leaf,
            by(&other, None),
            Err(RemoteFault::CertificateUntrusted),
        ),
        (
            "authority and pin",
            &leaf,
            by(&authority, Some(&leaf)),
            Ok(()),
        ),
        (
            "authority, another pin",
            &leaf,
            by(&authority, Some(&early)),
            Err(pinned(&early, &leaf)),
        ),
        (
            "pin, another authority",
            &leaf,
            by(&other, Some(&leaf)),
            Err(RemoteFault::CertificateUntrusted),
        ),
        (
            "another name",
            &elsewhere,
            by(&authority, None),
            Err(named.clone()),
        ),
        (
            "another name and its pin",
            &elsewhere,
            by(&authority, Some(&elsewhere)),
            Err(named),
        ),
        (
            "expired",
            &expired,
            by(&authority, None),
            Err(RemoteFault::CertificateExpired),
        ),
        (
            "not yet valid",
            &early,
            by(&authority, None),
            Err(RemoteFault::CertificateExpired),
        ),
        (
            "self-signed",
            &alone,
            by(&authority, None),
            Err(RemoteFault::CertificateUntrusted),
        ),
        (
            "self-signed, its pin",
            &alone,
            Trust::Pin(alone.fingerprint()),
            Ok(()),
        ),
        (
            "self-signed, another pin",
            &alone,
            Trust::Pin(leaf.fingerprint()),
            Err(pinned(&leaf, &alone)),
        ),
        (
            "self-signed, given as the authority",
            &alone,
            itself,
            Ok(()),
        ),
        ("anything", &expired, Trust::Anything, Ok(())),
    ] {
        let stage = Stage::showing(explicit(), ours(), shown).await;
        let mut options = stage.options();
        options.tls.trust = trust;
        assert_eq!(fault(options).await, expected, "{what}");
        if expected.is_err() {
            assert_eq!(stage.heard(), ["AUTH TLS"], "{what}: nothing is said to it");
        }
    }
}

#[tokio::test]
async fn a_self_signed_authority_shown_by_the_server_must_still_bear_its_name_and_dates() {
    let elsewhere = Leaf::self_signed("elsewhere.example");
    let stage = Stage::showing(explicit(), Authority::new("none"), &elsewhere).await;
    let mut options = stage.options();
    options.tls.trust = Trust::Authorities {
        pem: elsewhere.pem().into_bytes(),
        pin: None,
    };
    assert!(matches!(
        fault(options).await,
        Err(RemoteFault::CertificateName { .. })
    ));
    let leaf = Leaf::self_signed("127.0.0.1");
    let stage = Stage::showing(explicit(), Authority::new("none"), &leaf).await;
    for (at, expected) in [
        ("1970-01-01T00:00:00Z", Err(RemoteFault::CertificateExpired)),
        ("2024-01-01T00:00:00Z", Ok(())),
        ("4097-01-01T00:00:00Z", Err(RemoteFault::CertificateExpired)),
    ] {
        let mut options = stage.options();
        let at: jiff::Timestamp = at.parse().unwrap();
        options.now = layover_client::ftps::Now::new(move || at);
        options.tls.trust = Trust::Authorities {
            pem: leaf.pem().into_bytes(),
            pin: None,
        };
        assert_eq!(fault(options).await, expected, "{at}");
    }
}

#[tokio::test]
async fn a_fingerprint_is_read_as_openssl_prints_it() {
    let digits = "0123456789abcdef".repeat(4);
    let colons: Vec<_> = digits
        .as_bytes()
        .chunks(2)
        .map(|it| std::str::from_utf8(it).unwrap())
        .collect();
    let expected = Fingerprint::parse(&digits).unwrap();
    assert_eq!(
        Fingerprint::parse(&colons.join(":").to_uppercase()),
        Some(expected)
    );
    assert_eq!(expected.to_string(), digits);
    for wrong in ["", "01", &digits[1..], "zz"] {
        assert_eq!(Fingerprint::parse(wrong), None);
    }
}

#[tokio::test]
async fn settings_that_cannot_be_used_are_named_before_anything_is_sent() {
    let stage = Stage::set(explicit()).await;
    let leaf = Leaf::self_signed("client");
    let identity = |certificates: &str, key: &str| ClientIdentity {
        certificates_pem: certificates.as_bytes().to_vec(),
        key_pem: Secret::new(key),
        passphrase: None,
    };
    for (what, change) in [
        (
            "CA bundle",
            Box::new(|options: &mut FtpsOptions| {
                options.tls.trust = Trust::Authorities {
                    pem: b"no PEM".to_vec(),
                    pin: None,
                };
            }) as Box<dyn Fn(&mut FtpsOptions)>,
        ),
        (
            "certificate",
            Box::new(|options| {
                options.tls.identity = Some(identity("no PEM", &leaf.key_pem()));
            }),
        ),
        (
            "key",
            Box::new(|options| {
                options.tls.identity = Some(identity(&leaf.pem(), "no PEM"));
            }),
        ),
        (
            "do not go together",
            Box::new(|options| {
                let other = Leaf::self_signed("client").key_pem();
                options.tls.identity = Some(identity(&leaf.pem(), &other));
            }),
        ),
        (
            "host",
            Box::new(|options| options.host = "no host name".to_owned()),
        ),
    ] {
        let mut options = stage.options();
        change(&mut options);
        let Err(RemoteFault::Settings { detail }) = fault(options).await else {
            panic!("{what}");
        };
        assert!(detail.contains(what), "{what}: {detail}");
    }
    for (length, is_over) in [(256 * 1024, false), (256 * 1024 + 1, true)] {
        let mut options = stage.options();
        options.tls.identity = Some(identity(&"x".repeat(length), &leaf.key_pem()));
        let answer = fault(options).await;
        assert_eq!(
            matches!(answer, Err(RemoteFault::OverLimit { .. })),
            is_over
        );
    }
    for (length, is_over) in [(4 * 1024 * 1024, false), (4 * 1024 * 1024 + 1, true)] {
        let mut options = stage.options();
        options.tls.trust = Trust::Authorities {
            pem: vec![b'x'; length],
            pin: None,
        };
        let answer = fault(options).await;
        assert_eq!(
            matches!(answer, Err(RemoteFault::OverLimit { .. })),
            is_over
        );
    }
    assert!(stage.heard().is_empty());
}

/// The key in an encrypted form, as `openssl pkcs8 -topk8` makes it.
fn encrypted(key: &str, arguments: &[&str]) -> String {
    use std::io::Write;
    let mut openssl = std::process::Command::new("openssl")
        .args(["pkcs8", "-topk8", "-passout", "pass:open sesame"])
        .args(arguments)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    openssl
        .stdin
        .take()
        .unwrap()
        .write_all(key.as_bytes())
        .unwrap();
    let made = openssl.wait_with_output().unwrap();
    assert!(made.status.success());
    String::from_utf8(made.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn our_certificate_opens_servers_that_want_one() {
    for software in [Software::Vsftpd, Software::ProFtpd] {
        let mut setup = Setup::new(software, Security::Explicit);
        setup.wants_identity = true;
        let server = match Server::start(setup) {
            Ok(server) => server,
            Err(reason) => return skip(&reason),
        };
        let ours = server.authority.sign("layover", |_| {});
        let foreign = Authority::new("foreign").sign("layover", |_| {});
        for versions in [TlsVersions::Only12, TlsVersions::From12] {
            let with = |leaf: &Leaf, key: String, passphrase: Option<&str>| {
                let mut options = server.options();
                options.tls.versions = versions;
                options.tls.identity = Some(ClientIdentity {
                    certificates_pem: leaf.pem().into_bytes(),
                    key_pem: Secret::new(key),
                    passphrase: passphrase.map(Secret::new),
                });
                options
            };
            let plain = with(&ours, ours.key_pem(), None);
            let aes = with(&ours, encrypted(&ours.key_pem(), &[]), Some("open sesame"));
            let scrypt = with(
                &ours,
                encrypted(&ours.key_pem(), &["-scrypt"]),
                Some("open sesame"),
            );
            for options in [plain, aes, scrypt] {
                let mut ftp = Ftps::connect(options).await.unwrap();
                put(&mut ftp, &path(b"x"), b"content").await.unwrap();
                assert_eq!(get(&mut ftp, &path(b"x")).await.unwrap(), b"content");
            }
            for wrong in ["shut sesame", ""] {
                let options = with(&ours, encrypted(&ours.key_pem(), &[]), Some(wrong));
                let answer = fault(options).await;
                assert!(
                    matches!(answer, Err(RemoteFault::Settings { .. })),
                    "{answer:?}"
                );
            }
            let mut none = server.options();
            none.tls.versions = versions;
            for options in [none, with(&foreign, foreign.key_pem(), None)] {
                let error = Ftps::connect(options)
                    .await
                    .err()
                    .expect("it wants a certificate");
                assert!(
                    matches!(
                        error.fault,
                        RemoteFault::TlsHandshake { .. } | RemoteFault::ConnectionLost
                    ),
                    "{software:?} {versions:?} {error}"
                );
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_certificate_changed_is_refused_with_both_fingerprints() {
    let server = match Server::start(Setup::new(Software::PureFtpd, Security::Explicit)) {
        Ok(server) => server,
        Err(reason) => return skip(&reason),
    };
    let mut options = server.options();
    options.tls.trust = Trust::Pin(server.leaf.fingerprint());
    let ftp = Ftps::connect(options.clone()).await.unwrap();
    assert_eq!(ftp.facts().certificate, Some(server.leaf.fingerprint()));
    let before = Leaf::self_signed("127.0.0.1");
    options.tls.trust = Trust::Pin(before.fingerprint());
    assert_eq!(fault(options).await, Err(pinned(&before, &server.leaf)));
}
