//! The server's certificate by an authority of one's own: request, signature, reload.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use layover_tests::account::PASSWORD;
use layover_tests::ftps::Entry;
use layover_tests::process::{self, Ran};
use layover_tests::wait::{self, PATIENCE};
use layover_tests::{Account, Engine, Layover, Setup, http, on_both_engines};
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

/// A key and a certificate that it signed itself, `NAME.key` and `NAME.pem`.
fn self_signed(dir: &Path, name: &str, subject: &str) {
    self_signed_for(dir, name, subject, 90);
}

fn self_signed_for(dir: &Path, name: &str, subject: &str, days: u32) {
    let (key, certificate) = (format!("{name}.key"), format!("{name}.pem"));
    let mut command = Command::new("openssl");
    command.current_dir(dir);
    command.args(["req", "-x509", "-newkey", "ec", "-nodes"]);
    command.args(["-days", &days.to_string()]);
    command.args(["-pkeyopt", "ec_paramgen_curve:P-256", "-subj", subject]);
    command.args(["-keyout", &key, "-out", &certificate]);
    if subject == "/CN=localhost" {
        command.args(["-addext", "subjectAltName=DNS:localhost"]);
    }
    process::run(&mut command, b"", PATIENCE).expect_ok();
}

/// The days ahead that were told of the end of the server's certificate.
fn days_told(layover: &Layover) -> Vec<Value> {
    let events = layover.rows(&["event", "list"]);
    let ends = events.iter().filter(|event| {
        let subject = event["subject"].as_str().unwrap_or_default();
        event["kind"] == "certificate.expiring" && subject.starts_with("certificate:server:")
    });
    ends.map(|event| event["detail"]["days_ahead"].clone())
        .collect()
}

on_both_engines!(the_end_of_the_servers_certificate_is_told_ahead);

fn the_end_of_the_servers_certificate_is_told_ahead(engine: Engine) {
    let place = tempfile::TempDir::with_prefix("layover-ends-").expect("make a folder");
    let dir = place.path();
    let quoted = |name: &str| format!("{:?}", dir.join(name).to_string_lossy());
    let layover = Setup::new(engine)
        .set("ftps", "certificate", &quoted("server.pem"))
        .set("ftps", "private_key", &quoted("server.key"))
        .prepare();
    layover.account("partner").add();
    let mut wanted: Vec<Value> = Vec::new();
    for (days, within) in [(31, None), (30, Some(30)), (7, Some(7)), (1, Some(1))] {
        self_signed_for(dir, "server", "/CN=localhost", days);
        layover.start();
        let expiring = wait::until("ends to be looked at", PATIENCE, || {
            let told = http::get(layover.console_address(), "/metrics").body;
            let mut told = http::parse_metrics(&told);
            told.retain(|(name, labels), _| {
                let kind = labels.get("kind").map(String::as_str);
                name == "layover_expiring" && kind == Some("certificate")
            });
            (!told.is_empty()).then_some(told)
        });
        assert_eq!(expiring.len(), 5);
        for ((_, labels), count) in expiring {
            let of: u32 = labels["within_days"].parse().expect("a number");
            let wanted = if days <= of { 1.0 } else { 0.0 };
            assert_eq!(count, wanted, "{days} {of}");
        }
        wanted.extend(within.map(Value::from));
        wait::until("the event", PATIENCE, || {
            (days_told(&layover) == wanted).then_some(())
        });
        let check = layover.rows(&["check"]);
        let mut found = check
            .iter()
            .filter(|line| line["what"] == "TLS certificate");
        let found = found.next().expect("a line");
        // Of 30 days one is not whole any more.
        let state = if within.is_some() { "notice" } else { "ready" };
        assert_eq!(found["state"], state, "{days}: {found}");
        layover.stop();
    }
}

/// Each makes one of its own, and whoever pinned the first one's is refused by the second.
#[test]
fn nodes_that_show_different_certificates_are_told_of_by_check() {
    if !Engine::Postgres.available() {
        return;
    }
    let first = Setup::new(Engine::Postgres).prepare();
    first.account("partner").add();
    let second = Setup::beside(&first).prepare();
    first.start();
    second.start();
    let different = || {
        let findings = first.rows(&["check"]);
        let mut findings = findings.into_iter();
        findings.find(|line| line["what"] == "TLS certificates of nodes")
    };
    let found = wait::until("the nodes to be compared", PATIENCE, different);
    assert_eq!(found["state"], "notice", "{found}");
    for node in [&first, &second] {
        let shown = certificate(node)["fingerprint"].to_string();
        let shown = shown.trim_matches('"');
        let detail = found["detail"].as_str().expect("a detail");
        assert!(detail.contains(shown), "{shown}: {detail}");
    }
    // The same for both: what the second one has is put into the first one's place.
    let own = |node: &Layover| node.data_dir().join("keys/ftps.pem");
    std::fs::copy(own(&second), own(&first)).expect("copy");
    first.hang_up();
    wait::until("the same certificate", PATIENCE, || {
        different().is_none().then_some(())
    });
    // The server before the other one's database.
    drop(second);
}

/// What the authority makes of a request.
fn sign(dir: &Path, request: &str, out: &str) {
    let arguments = format!(
        "x509 -req -in {request} -CA ca.pem -CAkey ca.key -CAcreateserial -days 40 \
         -copy_extensions copyall -out {out}"
    );
    openssl(dir, &arguments).expect_ok();
}

fn until_shown(layover: &Layover, fingerprint: &Value) {
    layover.hang_up();
    wait::until("the other certificate", PATIENCE, || {
        let now = certificate(layover);
        (now["fault"] == Value::Null && now["fingerprint"] == *fingerprint).then_some(())
    });
}

fn count(layover: &Layover, action: &str) -> usize {
    let entries = layover.rows(&["journal", "-n", "0"]);
    let entries = entries.iter();
    entries.filter(|entry| entry["action"] == action).count()
}

#[test]
fn a_new_key_waits_until_its_certificate_is_installed() {
    let place = tempfile::TempDir::with_prefix("layover-authority-").expect("make a folder");
    let dir = place.path();
    self_signed(dir, "ca", "/CN=Test CA");
    let layover = Setup::new(Engine::Sqlite).prepare();
    let account = layover.account("partner").password(PASSWORD).add();
    layover.start();
    let first = certificate(&layover)["fingerprint"].clone();
    let own = layover.data_dir().join("keys/ftps.pem");
    let waiting = layover.data_dir().join("keys/ftps-next.key");
    let request = |name: &str, options: &[&str]| {
        let out = dir.join(name).to_string_lossy().into_owned();
        let arguments = ["certificate", "csr", "--out", &out];
        let made = layover.json(&[&arguments[..], options].concat());
        openssl(dir, &format!("req -in {name} -noout -verify")).expect_ok();
        let key = openssl(dir, &format!("req -in {name} -noout -pubkey")).expect_ok();
        (made, key.stdout)
    };
    let install = |name: &str| {
        let file = dir.join(name).to_string_lossy().into_owned();
        layover.run(&["certificate", "install", &file, "--json"])
    };
    let installed = |name: &str| -> Value {
        let told = install(name).expect_ok().stdout;
        serde_json::from_str(&told).expect("JSON")
    };

    let (made, new) = request("new.csr", &["--new-key"]);
    assert_eq!(made["names"][0], "localhost", "{made}");
    assert_eq!(made["key"], format!("file:{}", waiting.display()), "{made}");
    let mode = fs::metadata(&waiting)
        .expect("the key")
        .permissions()
        .mode();
    assert_eq!(mode & 0o7777, 0o600);
    let (_, again) = request("again.csr", &["--new-key"]);
    assert_eq!(new, again, "it waits, and is not made anew");
    let (_, in_use) = request("in-use.csr", &[]);
    assert_ne!(new, in_use);
    sign(dir, "new.csr", "new.pem");

    // A certificate for another key, and no certificate, change nothing.
    self_signed(dir, "other", "/CN=localhost");
    let refused = install("other.pem").expect_code(1);
    assert!(refused.stderr.contains("neither for the key"), "{refused}");
    install("new.csr").expect_code(1);
    let before = fs::read(&own).expect("read the certificate");
    assert!(waiting.exists());
    assert_eq!(count(&layover, "certificate.install"), 0);
    curl(&layover, &account, &own).expect_ok();

    // As some authorities send it: with words around, and their own certificate behind.
    let chain = ["new.pem", "ca.pem"].map(|name| fs::read_to_string(dir.join(name)).expect(name));
    fs::write(
        dir.join("chain.pem"),
        format!("subject=x\n{}", chain.concat()),
    )
    .expect("write");
    let told = installed("chain.pem");
    assert_eq!(told["new_key"], true, "{told}");
    assert_ne!(told["fingerprint"], first);
    assert!(!waiting.exists(), "the key lies with its certificate");
    let kept = told["before"].as_str().expect("where the one before lies");
    assert_eq!(fs::read(kept).expect("read it"), before.trim_ascii_end());
    let mode = fs::metadata(&own).expect("the file").permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
    until_shown(&layover, &told["fingerprint"]);
    curl(&layover, &account, &dir.join("ca.pem")).expect_ok();
    let stranger = curl(&layover, &account, Path::new(kept));
    assert_eq!(stranger.code, Some(60), "{stranger}");

    // The next one is for the same key.
    let (_, in_use) = request("renewal.csr", &[]);
    assert_eq!(in_use, new);
    sign(dir, "renewal.csr", "renewal.pem");
    let told = installed("renewal.pem");
    assert_eq!(told["new_key"], false, "{told}");
    until_shown(&layover, &told["fingerprint"]);
    curl(&layover, &account, &dir.join("ca.pem")).expect_ok();
    assert_eq!(count(&layover, "certificate.install"), 2);
    wait::until("both changes to be noted", PATIENCE, || {
        (count(&layover, "certificate.renew") == 2).then_some(())
    });
    // The next start finds it.
    layover.stop();
    layover.start();
    assert_eq!(certificate(&layover)["fingerprint"], told["fingerprint"]);
    curl(&layover, &account, &dir.join("ca.pem")).expect_ok();
}

#[test]
fn an_authority_signs_the_key_in_use_and_a_broken_file_changes_nothing() {
    let place = tempfile::TempDir::with_prefix("layover-authority-").expect("make a folder");
    let dir = place.path();
    self_signed(dir, "ca", "/CN=Test CA");
    self_signed(dir, "server", "/CN=localhost");
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

    sign(dir, "request.csr", "signed.pem");
    let signed = file("signed.pem").to_string_lossy().into_owned();
    let refused = layover
        .run(&["certificate", "install", &signed])
        .expect_code(1);
    for words in ["[ftps] certificate", "server.pem", "server.key"] {
        assert!(refused.stderr.contains(words), "`{words}`: {refused}");
    }
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
