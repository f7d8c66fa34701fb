//! Signing requests for the server's certificate, and its installation.

use rcgen::{CertificateParams, KeyPair, date_time_ymd};

use crate::place::Place;

#[test]
fn a_signing_request_needs_a_key_and_names_that_can_be() {
    let place = Place::with_account();
    let csr = |options: &[&str]| place.run(&[&["certificate", "csr"], options].concat());
    csr(&["--out", "a.csr"]).refused(1, "TLS certificate");
    assert!(!place.path().join("a.csr").exists());
    for name in ["a b", "*.example.com", "1.2.3", ""] {
        csr(&["--out", "a.csr", "--name", name]).refused(2, "files.example.com");
    }
    // Before the first start there is no key in use, and one can wait.
    let made = place.json(&["certificate", "csr", "--out", "a.csr", "--new-key"]);
    assert_eq!(made["names"], serde_json::json!(["localhost"]), "{made}");
    csr(&["--out", "a.csr", "--new-key"]).refused(1, "a.csr");
    let twice = ["--name", "b.example.com", "--name", "b.example.com"];
    let made = [
        &["certificate", "csr", "--out", "b.csr", "--new-key"][..],
        &twice,
    ]
    .concat();
    let made = place.json(&made);
    assert_eq!(
        made["names"],
        serde_json::json!(["b.example.com"]),
        "{made}"
    );
    let many: Vec<_> = (0..101)
        .map(|n| format!("--name=n{n}.example.com"))
        .collect();
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    csr(&[&["--out", "c.csr", "--new-key"], &many[..]].concat()).refused(1, "at most 100 names");
    csr(&[&["--out", "c.csr", "--new-key"], &many[1..]].concat()).ok();
    place
        .run(&["certificate", "install", "absent.pem"])
        .refused(1, "absent.pem");
    place
        .run(&["certificate", "install", "a.csr"])
        .refused(1, "BEGIN CERTIFICATE");
}

#[test]
fn a_certificate_that_has_expired_is_installed_by_force_alone() {
    let place = Place::with_account();
    let mut params = CertificateParams::default();
    params.not_after = date_time_ymd(2020, 1, 1);
    let key = KeyPair::generate().unwrap();
    let file = place.path().join("old.pem");
    std::fs::write(&file, params.self_signed(&key).unwrap().pem()).unwrap();
    let install = ["certificate", "install", "old.pem"];
    let refused = place.run(&install).refused(1, "expired at 2020-01-01");
    assert!(refused.stderr.contains("--force"), "{refused:?}");
    // As far as any other: there is no key of ours that it is for.
    let forced = place.run(&[&install[..], &["--force"]].concat());
    assert!(!forced.refused(1, "old.pem").stderr.contains("expired at"));
}
