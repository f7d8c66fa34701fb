//! `layover account kit`.

use std::fs;
use std::process::Command;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::{Value, json};

use crate::place::Place;

/// A place with host key and certificate of its own, so that no server has to run first.
fn place(more: &str) -> Place {
    let place = Place::with_account();
    let key = place.path().join("host_key");
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-f"])
        .arg(&key)
        .status();
    assert!(made.expect("run ssh-keygen").success());
    let (certificate, private) = self_signed("ftp.example.com");
    fs::write(place.path().join("tls.pem"), certificate).unwrap();
    fs::write(place.path().join("tls.key"), private).unwrap();
    place.settings(&format!(
        "[server]\npublic_name = \"ftp.example.com\"\n\
         [sftp]\nport = 22\nhost_keys = [\"host_key\"]\n\
         [ftps]\ncertificate = \"tls.pem\"\nprivate_key = \"tls.key\"\n{more}"
    ));
    place
        .run_with_input(
            &["account", "password", "partner", "--stdin"],
            "correct-horse-7\n",
        )
        .ok();
    place
}

fn self_signed(name: &str) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    (certificate.pem(), key.serialize_pem())
}

const PORTS: [&str; 4] = ["--ftps-port", "21", "--implicit-port", "990"];

fn kit(place: &Place, out: &str, more: &[&str]) -> Value {
    place.json(
        &[
            &["account", "kit", "partner", "--out", out],
            &PORTS[..],
            more,
        ]
        .concat(),
    )
}

#[test]
fn a_kit_tells_the_ports_that_partners_see() {
    let place = place("");
    let told = kit(&place, "kit", &[]);
    assert_eq!(told["account"], "partner");
    assert_eq!(told["host"], "ftp.example.com");
    let ports = ["sftp_port", "ftps_port", "ftps_implicit_port"].map(|name| told[name].clone());
    assert_eq!(ports, [json!(22), json!(21), json!(990)]);
    assert_eq!(told["host_keys"][0]["algorithm"], "ssh-ed25519");
    let read = |name: &str| fs::read_to_string(place.path().join("kit").join(name)).unwrap();
    // On the port that SSH has anyway there are no brackets.
    assert!(read("known_hosts").starts_with("ftp.example.com ssh-ed25519 AAAA"));
    let print = told["host_keys"][0]["fingerprint"].as_str().unwrap();
    assert!(read("README.txt").contains(print));
    assert!(read("lftp/bookmarks").contains("ftps://partner@ftp.example.com:990/"));
    let ini = read("winscp.ini");
    assert!(
        ini.contains("[Sessions\\partner%20FTPS%20implicit]\r\n"),
        "{ini}"
    );
    assert_eq!(
        read("tls-certificate.pem").lines().collect::<Vec<_>>(),
        fs::read_to_string(place.path().join("tls.pem"))
            .unwrap()
            .lines()
            .collect::<Vec<_>>()
    );
}

#[test]
fn what_is_in_the_directory_stays() {
    let place = place("");
    let theirs = place.path().join("kit");
    fs::create_dir(&theirs).unwrap();
    fs::write(theirs.join("notes"), "theirs").unwrap();
    let arguments = ["account", "kit", "partner", "--out", "kit"];
    place
        .run(&[&arguments[..], &PORTS].concat())
        .refused(1, "is not empty");
    assert_eq!(fs::read_dir(&theirs).unwrap().count(), 1);
    fs::remove_file(theirs.join("notes")).unwrap();
    place.run(&[&arguments[..], &PORTS].concat()).ok();
    place
        .run(&[&arguments[..], &PORTS].concat())
        .refused(1, "is not empty");
}

#[test]
fn what_is_not_there_yet_is_named_with_what_to_do() {
    let place = Place::with_account();
    place.settings(
        "[sftp]\nport = 22\n[ftps]\nexplicit_enabled = false\nimplicit_enabled = false\n",
    );
    let arguments = ["account", "kit", "partner", "--out", "kit"];
    let refused = place.run(&arguments).refused(1, "no SSH host key yet");
    assert!(
        refused.stderr.contains("start `layover serve` once"),
        "{refused:?}"
    );
    place.settings("[sftp]\nenabled = false\n");
    place
        .run(&arguments)
        .refused(1, "any free one, and no server runs here");
    place
        .run(&[&arguments[..], &PORTS].concat())
        .refused(1, "no TLS certificate yet");
    place
        .run(&["account", "set", "partner", "--protocols", "sftp"])
        .ok();
    place
        .run(&arguments)
        .refused(1, "nothing that account `partner` may use is served");
    assert!(!place.path().join("kit").exists());
}

#[test]
fn a_door_that_is_switched_off_is_not_in_the_kit() {
    let place = place("implicit_enabled = false\n");
    let told = kit(&place, "kit", &[]);
    assert_eq!(told["ftps_implicit_port"], Value::Null);
    assert_eq!(told["ftps_port"], 21);
    for name in ["README.txt", "curl.txt", "filezilla.xml", "lftp/bookmarks"] {
        let text = fs::read_to_string(place.path().join("kit").join(name)).unwrap();
        assert!(!text.contains("mplicit"), "{name}: {text}");
    }
}

#[test]
fn the_certificate_that_comes_next_is_trusted_beside_the_present_one() {
    let place = place("");
    let next = self_signed("ftp.example.com").0;
    fs::write(place.path().join("next.pem"), &next).unwrap();
    let told = kit(&place, "kit", &["--next-certificate", "next.pem"]);
    let trusted = fs::read_to_string(place.path().join("kit/tls-certificate.pem")).unwrap();
    assert_eq!(trusted.matches("BEGIN CERTIFICATE").count(), 2);
    let prints = ["tls_certificate", "next_tls_certificate"].map(|name| told[name].clone());
    assert_ne!(prints[0], prints[1]);
    assert!(prints[1].as_str().unwrap().starts_with("SHA256:"), "{told}");

    // From an authority that is not in the file: whoever trusts the old one alone would refuse it.
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec!["ftp.example.com".to_owned()])
        .unwrap()
        .signed_by(&key, &ca)
        .unwrap();
    fs::write(place.path().join("leaf.pem"), leaf.pem()).unwrap();
    fs::write(place.path().join("ca.pem"), ca.pem()).unwrap();
    let arguments = ["account", "kit", "partner", "--out", "other"];
    let with_leaf = [&arguments[..], &PORTS, &["--next-certificate", "leaf.pem"]].concat();
    place
        .run(&with_leaf)
        .refused(1, "its chain ends in an authority");
    place.json(&[&with_leaf[..], &["--ca", "ca.pem"]].concat());
    let trusted = fs::read_to_string(place.path().join("other/tls-certificate.pem")).unwrap();
    assert_eq!(trusted.matches("BEGIN CERTIFICATE").count(), 2);
    place
        .run(&[&arguments[..], &PORTS, &["--ca", "tls.key"]].concat())
        .refused(1, "holds no certificates");
}

#[test]
fn a_kit_of_an_account_that_nobody_can_log_in_to_warns() {
    let place = place("");
    place
        .run(&["account", "password", "partner", "--remove"])
        .ok();
    let arguments = ["account", "kit", "partner", "--out", "kit"];
    let made = place.run(&[&arguments[..], &PORTS].concat()).ok();
    assert!(
        made.stderr.contains("nobody can log in as `partner` yet"),
        "{made:?}"
    );
}
