//! Signing requests for the server's certificate, and its installation.

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
