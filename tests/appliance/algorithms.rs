//! `[sftp] algorithms`: what is offered, what is agreed upon, and what never is (S04).

use std::os::unix::fs::PermissionsExt;

use layover_tests::curl::curl;
use layover_tests::paramiko::paramiko;
use layover_tests::ssh::Offer;
use layover_tests::wait::{self, PATIENCE};
use layover_tests::{Account, Engine, Layover, Setup, openssh};
use serde_json::Value;

const PASSWORD: &str = "correct-horse-7";

fn serve(algorithms: &str) -> (Layover, Account) {
    let layover = Setup::new(Engine::Sqlite)
        .set("sftp", "algorithms", &format!("{algorithms:?}"))
        .prepare();
    let account = layover.account("partner").password(PASSWORD).add();
    layover.start();
    (layover, account)
}

/// What the journal says of the last login.
fn last_login(layover: &Layover) -> Value {
    let mut entries = layover.rows(&["journal", "--kind", "login"]);
    entries.retain(|entry| entry["action"] == "login" && entry["outcome"] == "ok");
    entries.sort_by_key(|entry| entry["id"].as_i64());
    entries.pop().expect("a login")["detail"].clone()
}

#[test]
fn s04_compatible_adds_sha_2_alone() {
    let (layover, _) = serve("compatible");
    let offer = Offer::of(layover.sftp_address());
    assert_eq!(offer.host_keys, ["ssh-ed25519", "ecdsa-sha2-nistp256"]);
    assert_eq!(offer.compression, ["none"]);
    for expected in [
        "ecdh-sha2-nistp256",
        "ecdh-sha2-nistp384",
        "ecdh-sha2-nistp521",
        "diffie-hellman-group14-sha256",
        "diffie-hellman-group16-sha512",
        "diffie-hellman-group-exchange-sha256",
        "kex-strict-s-v00@openssh.com",
    ] {
        assert!(offer.kex.iter().any(|name| name == expected), "{expected}");
    }
    let modern = ["mlkem768x25519-sha256", "curve25519-sha256"];
    assert_eq!(offer.kex[..2], modern, "the best come first");
    let names = [&offer.kex, &offer.ciphers, &offer.macs];
    for name in names.into_iter().flatten() {
        for weak in ["sha1", "md5", "cbc", "arcfour", "3des", "none", "group1-"] {
            assert!(!name.contains(weak), "{name}");
        }
    }
}

#[test]
fn compatible_speaks_with_clients_that_have_nothing_newer() {
    let (layover, account) = serve("compatible");
    let login = account.by_key(&layover);
    for (option, name, expected) in [
        (
            "KexAlgorithms=ecdh-sha2-nistp256",
            "kex",
            "ecdh-sha2-nistp256",
        ),
        (
            "KexAlgorithms=ecdh-sha2-nistp384",
            "kex",
            "ecdh-sha2-nistp384",
        ),
        (
            "KexAlgorithms=ecdh-sha2-nistp521",
            "kex",
            "ecdh-sha2-nistp521",
        ),
        (
            "KexAlgorithms=diffie-hellman-group14-sha256",
            "kex",
            "diffie-hellman-group14-sha256",
        ),
        (
            "KexAlgorithms=diffie-hellman-group16-sha512",
            "kex",
            "diffie-hellman-group16-sha512",
        ),
        (
            "KexAlgorithms=diffie-hellman-group-exchange-sha256",
            "kex",
            "diffie-hellman-group-exchange-sha256",
        ),
        (
            "HostKeyAlgorithms=ecdsa-sha2-nistp256",
            "host_key",
            "ecdsa-sha2-nistp256",
        ),
        ("MACs=hmac-sha2-256", "mac", "hmac-sha2-256"),
        ("MACs=hmac-sha2-512", "mac", "hmac-sha2-512"),
    ] {
        let options = ["-o", option, "-o", "Ciphers=aes128-ctr"];
        // A client that has not been here before: it pins the key that it sees.
        std::fs::remove_file(login.known_hosts()).ok();
        openssh::sftp(&login, &options, "pwd\n", PATIENCE).expect_ok();
        assert_eq!(last_login(&layover)[name], expected, "{option}");
    }
}

#[test]
fn s04_compatible_cannot_be_talked_into_what_it_does_not_offer() {
    let (layover, account) = serve("compatible");
    let login = account.by_key(&layover);
    for option in [
        "KexAlgorithms=diffie-hellman-group1-sha1",
        "KexAlgorithms=diffie-hellman-group14-sha1",
        "KexAlgorithms=diffie-hellman-group-exchange-sha1",
        "KexAlgorithms=diffie-hellman-group18-sha512",
        "Ciphers=aes128-cbc",
        "Ciphers=3des-cbc",
        "MACs=hmac-sha1",
        "MACs=hmac-md5",
        "HostKeyAlgorithms=ssh-rsa",
        "HostKeyAlgorithms=rsa-sha2-256",
    ] {
        // A MAC of its own would make MACs of no account.
        let options = ["-o", option, "-o", "Ciphers=aes128-ctr"];
        let ran = openssh::sftp(&login, &options, "pwd\n", PATIENCE);
        assert!(!ran.ok(), "{option}: {ran}");
        assert!(ran.stderr.contains("no matching"), "{option}: {ran}");
    }
}

#[test]
fn modern_refuses_what_compatible_adds_and_the_log_says_what_the_client_wanted() {
    let (layover, account) = serve("modern");
    let login = account.by_key(&layover);
    for option in [
        "KexAlgorithms=diffie-hellman-group14-sha256",
        "KexAlgorithms=diffie-hellman-group-exchange-sha256",
        "HostKeyAlgorithms=ecdsa-sha2-nistp256",
        "MACs=hmac-sha2-256",
    ] {
        let options = ["-o", option, "-o", "Ciphers=aes128-ctr"];
        let ran = openssh::sftp(&login, &options, "pwd\n", PATIENCE);
        assert!(!ran.ok(), "{option}: {ran}");
        assert!(ran.stderr.contains("no matching"), "{option}: {ran}");
        let (_, wanted) = option.split_once('=').expect("a value");
        wait::until("the line in the log", PATIENCE, || {
            let log = layover.log();
            log.lines()
                .any(|line| line.contains(wanted) && line.contains("OpenSSH_"))
                .then_some(())
        });
    }
}

#[test]
fn debians_curl_and_paramiko_move_files_where_compatible() {
    let (layover, account) = serve("compatible");
    let login = account.by_password(&layover);
    let content: Vec<u8> = (0..3_000_017_u32).map(|n| (n % 251) as u8).collect();
    let (source, target) = (
        account.client_dir.join("source"),
        account.client_dir.join("target"),
    );
    std::fs::write(&source, &content).expect("write source");
    let (source, target) = (source.to_string_lossy(), target.to_string_lossy());
    let read = || std::fs::read(&*target).expect("read target");
    curl(&login, &["--upload-file", &source], "/by-curl", PATIENCE).expect_ok();
    curl(&login, &["--output", &target], "/by-curl", PATIENCE).expect_ok();
    assert!(read() == content, "curl brought something else back");
    let detail = last_login(&layover);
    let client = detail["client"].as_str().expect("a client");
    assert!(client.starts_with("SSH-2.0-libssh2_"), "{client}");
    let login = account.by_key(&layover);
    paramiko(&login, &["put", &source, "/by-paramiko"], PATIENCE).expect_ok();
    std::fs::remove_file(&*target).expect("remove target");
    paramiko(&login, &["get", "/by-paramiko", &target], PATIENCE).expect_ok();
    assert!(read() == content, "paramiko brought something else back");
}

#[test]
fn the_ecdsa_host_key_is_kept_private_and_for_ever() {
    let (layover, account) = serve("compatible");
    let file = layover.data_dir().join("keys/ssh_host_ecdsa_key");
    let mode = std::fs::metadata(&file)
        .expect("the key")
        .permissions()
        .mode();
    assert_eq!(mode & 0o7777, 0o600);
    let before = std::fs::read(&file).expect("read key");
    // The client pins what it sees first.
    let only = ["-o", "HostKeyAlgorithms=ecdsa-sha2-nistp256"];
    openssh::sftp(&account.by_key(&layover), &only, "pwd\n", PATIENCE).expect_ok();
    layover.stop();
    layover.start();
    assert_eq!(std::fs::read(&file).expect("read key"), before);
    let check = layover.run(&["check"]);
    assert!(
        check.stdout.contains("ecdsa-sha2-nistp256 SHA256:"),
        "{check}"
    );
}
