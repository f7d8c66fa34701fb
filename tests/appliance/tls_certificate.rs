//! The server's certificate by an authority of one's own: request, signature, reload.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use layover_tests::account::PASSWORD;
use layover_tests::ftps::Entry;
use layover_tests::process::{self, Ran};
use layover_tests::wait::{self, PATIENCE};
use layover_tests::{Account, Engine, Layover, Setup};
use serde_json::Value;

fn openssl(dir: &Path, arguments: &str) -> Ran {
    let mut command = Command::new("openssl");
    command.current_dir(dir).args(arguments.split(' '));
    process::run(&mut command, b"", PATIENCE)
}

fn curl(layover: &Layover, account: &Account, authority: &Path) -> Ran {
    let port = layover.ftps_address(Entry::Implicit).port();
    let mut command = Command::new("curl");
    command
        .env("HOME", layover.scratch())
        .args(["--disable", "--silent", "--show-error", "--cacert"])
        .arg(authority)
        .args(["--user", &format!("{}:{PASSWORD}", account.name)])
        .arg(format!("ftps://localhost:{port}/"));
    process::run(&mut command, b"", PATIENCE)
}

fn certificate(layover: &Layover) -> Value {
    layover.json(&["status"])["server"]["tls_certificate"].clone()
}

#[test]
fn an_authority_signs_the_key_in_use_and_a_broken_file_changes_nothing() {
    let place = tempfile::TempDir::with_prefix("layover-authority-").expect("make a folder");
    let dir = place.path();
    for (key, subject) in [("ca", "/CN=Test CA"), ("server", "/CN=localhost")] {
        // Spaces of a subject would be cut by `openssl`.
        let mut command = Command::new("openssl");
        command.current_dir(dir).args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "90",
            "-subj",
            subject,
            "-keyout",
            &format!("{key}.key"),
            "-out",
            &format!("{key}.pem"),
        ]);
        if key == "server" {
            command.args(["-addext", "subjectAltName=DNS:localhost"]);
        }
        process::run(&mut command, b"", PATIENCE).expect_ok();
    }
    let file = |name: &str| -> PathBuf { dir.join(name) };
    let quoted = |name: &str| format!("{:?}", file(name).to_string_lossy());
    let layover = Setup::new(Engine::Sqlite)
        .set("ftps", "certificate", &quoted("server.pem"))
        .set("ftps", "private_key", &quoted("server.key"))
        .prepare();
    let account = layover.account("partner").password(PASSWORD).add();
    layover.start();
    let first = certificate(&layover)["fingerprint"].clone();
    curl(&layover, &account, &file("server.pem")).expect_ok();

    let out = file("request.csr").to_string_lossy().into_owned();
    let made = layover.json(&[
        "certificate",
        "csr",
        "--out",
        &out,
        "--name",
        "localhost",
        "--name",
        "files.example.com",
        "--name",
        "192.0.2.7",
    ]);
    assert_eq!(made["names"].as_array().expect("names").len(), 3, "{made}");
    openssl(dir, "req -in request.csr -noout -verify").expect_ok();
    let shown = openssl(dir, "req -in request.csr -noout -text").expect_ok();
    for words in [
        "CN = localhost",
        "DNS:files.example.com",
        "IP Address:192.0.2.7",
    ] {
        assert!(shown.stdout.contains(words), "`{words}`: {shown}");
    }
    let public = |arguments: &str| openssl(dir, arguments).expect_ok().stdout;
    assert_eq!(
        public("req -in request.csr -noout -pubkey"),
        public("pkey -in server.key -pubout"),
        "the key in use"
    );
    layover
        .run(&["certificate", "csr", "--out", &out])
        .expect_code(1);

    openssl(
        dir,
        "x509 -req -in request.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 \
         -copy_extensions copyall -out signed.pem",
    )
    .expect_ok();
    fs::copy(file("server.pem"), file("first.pem")).expect("keep the first");
    fs::write(file("server.pem"), "half a certif").expect("damage the file");
    layover.hang_up();
    wait::until("the fault to be told", PATIENCE, || {
        (certificate(&layover)["fault"] != Value::Null).then_some(())
    });
    assert_eq!(certificate(&layover)["fingerprint"], first);
    curl(&layover, &account, &file("first.pem")).expect_ok();
    assert!(layover.log().contains("the certificate in use stays"));

    fs::copy(file("signed.pem"), file("server.pem")).expect("install the signed one");
    layover.hang_up();
    wait::until("the signed certificate", PATIENCE, || {
        let now = certificate(&layover);
        (now["fault"] == Value::Null && now["fingerprint"] != first).then_some(())
    });
    curl(&layover, &account, &file("ca.pem")).expect_ok();
    let stranger = curl(&layover, &account, &file("first.pem"));
    assert_eq!(stranger.code, Some(60), "{stranger}");

    // A kit for partners whose systems do not know the authority.
    let kit = file("kit").to_string_lossy().into_owned();
    let ca = file("ca.pem").to_string_lossy().into_owned();
    layover.admin(&["account", "kit", "partner", "--out", &kit, "--ca", &ca]);
    curl(&layover, &account, &file("kit/tls-certificate.pem")).expect_ok();
}
