//! `layover account certificate`.

use std::fs;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    date_time_ymd,
};
use serde_json::json;

use crate::place::Place;

/// A certificate that signed itself, and its key, as PEM.
fn certificate(change: impl FnOnce(&mut CertificateParams)) -> (String, String) {
    let mut params = CertificateParams::default();
    params
        .distinguished_name
        .push(DnType::CommonName, "partner");
    params.not_after = date_time_ymd(2100, 1, 1);
    change(&mut params);
    let key = KeyPair::generate().unwrap();
    let pem = params.self_signed(&key).unwrap().pem();
    (pem, key.serialize_pem())
}

fn written(place: &Place, name: &str, text: &str) -> String {
    let file = place.path().join(name);
    fs::write(&file, text).unwrap();
    file.to_str().unwrap().to_owned()
}

#[test]
fn an_account_is_created_with_its_certificates() {
    let place = Place::new();
    place.run(&["entity", "add", "acme"]).ok();
    let file = written(&place, "partner.crt", &certificate(|_| {}).0);
    let other = written(&place, "other.crt", &certificate(|_| {}).0);
    let add = ["account", "add", "partner", "--entity", "acme"];
    let allow = ["--allow", "127.0.0.1", "--certificate", &file];
    let (text, key) = certificate(|_| {});
    let both = written(&place, "both.pem", &(key + &text));
    place
        .run(&[&add[..], &allow, &["--certificate", &both]].concat())
        .refused(1, "contains a private key");
    assert_eq!(place.json(&["account", "list"]), json!([]));

    let added = place.run(&[&add[..], &allow, &["--certificate", &other]].concat());
    let added = added.ok();
    assert!(!added.stdout.contains("cannot log in"), "{added:?}");
    let list = place.json(&["account", "certificate", "list", "partner"]);
    assert_eq!(list.as_array().unwrap().len(), 2, "{list}");
    let shown = place.json(&["account", "show", "partner"]);
    assert_eq!(shown["opened_by_certificate"], true);
    let entries = place.json(&["journal", "--kind", "admin", "-n", "1"]);
    let told = entries[0]["detail"]["certificates"].as_array().unwrap();
    assert_eq!(told.len(), 2, "{entries}");
    assert!(told.contains(&list[0]["fingerprint"]), "{entries}");
}

#[test]
fn a_certificate_is_added_listed_and_removed() {
    let place = Place::with_account();
    let nothing = place.run(&["account", "certificate", "list", "partner"]);
    assert!(nothing.ok().stderr.contains("certificate add partner FILE"));
    let file = written(&place, "partner.crt", &certificate(|_| {}).0);
    let add = ["account", "certificate", "add", "partner", &file];
    let added = place.json(&add);
    let print = added["added"][0].as_str().unwrap().to_owned();
    let list = place.json(&["account", "certificate", "list", "partner"]);
    assert_eq!(list[0]["fingerprint"], print);
    assert_eq!(list[0]["authority"], false);
    assert_eq!(list[0]["names"], json!([]));
    assert_eq!(list[0]["not_after"], "2100-01-01T00:00:00Z");
    let subject = list[0]["subject"].as_str().unwrap();
    assert!(subject.contains("CN=partner"), "{subject}");
    let shown = place.json(&["account", "show", "partner"]);
    assert_eq!(shown["certificates"], list);
    assert_eq!(shown["opened_by_certificate"], true);
    place.run(&add).refused(1, "already");

    let ca = written(
        &place,
        "ca.crt",
        &certificate(|params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)).0,
    );
    let names = "partner,it@acme.example";
    let added = place
        .run(&[
            "account",
            "certificate",
            "add",
            "partner",
            &ca,
            "--authority",
            "--names",
            names,
        ])
        .ok();
    assert!(added.stdout.contains(names), "{added:?}");
    let list = place.json(&["account", "certificate", "list", "partner"]);
    assert_eq!(list[1]["authority"], true);
    assert_eq!(list[1]["names"], json!(["partner", "it@acme.example"]));

    // As `openssl x509 -fingerprint -sha256` prints it.
    let pairs: Vec<_> = print.as_bytes().chunks(2).collect();
    let with_colons = pairs
        .iter()
        .map(|pair| String::from_utf8_lossy(pair).to_uppercase())
        .collect::<Vec<_>>()
        .join(":");
    let remove = ["account", "certificate", "remove", "partner", &with_colons];
    assert_eq!(place.json(&remove)["removed"], print);
    place.run(&remove).refused(1, "has no certificate");
    let authority = list[1]["fingerprint"].as_str().unwrap();
    let last = ["account", "certificate", "remove", "partner", authority];
    assert!(place.run(&last).ok().stderr.contains("nobody can log in"));

    let entries = place.json(&["journal", "--kind", "admin"]);
    let told: Vec<_> = entries
        .as_array()
        .unwrap()
        .iter()
        .filter(|entry| entry["action"].as_str().unwrap().contains("certificate"))
        .map(|entry| {
            (
                entry["action"].clone(),
                entry["detail"]["authority_for"].clone(),
            )
        })
        .collect();
    let (add, remove) = (
        json!("account.certificate.add"),
        json!("account.certificate.remove"),
    );
    assert_eq!(
        told,
        [
            (add.clone(), json!(null)),
            (add, json!(names)),
            (remove.clone(), json!(null)),
            (remove, json!(null)),
        ]
    );
}

#[test]
fn what_could_open_nothing_is_refused_with_the_reason() {
    let place = Place::with_account();
    let (plain, key) = certificate(|_| {});
    let expired = certificate(|params| params.not_after = date_time_ymd(2020, 1, 1)).0;
    let for_servers = certificate(|params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]
    })
    .0;
    let public_key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ partner\n";
    for (name, text, reason) in [
        ("expired.crt", expired.as_str(), "expired at 2020-01-01"),
        ("server.crt", &for_servers, "lacks clientAuth"),
        ("key.pub", public_key, "not a certificate in PEM form"),
        ("empty", "", "not a certificate in PEM form"),
        (
            "two.crt",
            &(plain.clone() + &plain),
            "there are 2 certificates",
        ),
        (
            "both.pem",
            &(plain.clone() + &key),
            "contains a private key",
        ),
    ] {
        let file = written(&place, name, text);
        place
            .run(&["account", "certificate", "add", "partner", &file])
            .refused(1, reason);
    }
    let file = written(&place, "plain.crt", &plain);
    let add = |more: &[&str]| {
        let start = ["account", "certificate", "add", "partner", &file];
        place.run(&[&start[..], more].concat())
    };
    add(&["--authority", "--names", "partner"]).refused(1, "not that of an authority");
    add(&["--authority"]).refused(2, "--names");
    add(&["--names", "partner"]).refused(2, "--authority");
    add(&["--authority", "--names", "a,,b"]).refused(2, "1 to 64 names");
    let list = place.json(&["account", "certificate", "list", "partner"]);
    assert_eq!(list, json!([]));
    place
        .run_with_input(&["account", "certificate", "add", "partner", "-"], &plain)
        .ok();
}
