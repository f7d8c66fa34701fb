//! New SSH host keys while partners go on: announced, served, the old one retired.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use layover_tests::account::{Account, PASSWORD};
use layover_tests::ssh::Offer;
use layover_tests::wait::{self, PATIENCE};
use layover_tests::{Engine, Layover, Setup, on_both_engines, process};
use serde_json::Value;

use crate::kit::Partner;

const ED25519: &str = "ssh-ed25519";
const ECDSA: &str = "ecdsa-sha2-nistp256";

fn serve(engine: Engine) -> (Layover, Account) {
    let layover = Setup::new(engine).prepare();
    let account = layover.account("partner").password(PASSWORD).add();
    layover.start();
    (layover, account)
}

/// Fingerprint and state of each key, by `host-key list`.
fn keys(layover: &Layover) -> Vec<(String, String)> {
    let rows = layover.rows(&["host-key", "list"]);
    let text = |row: &Value, name: &str| row[name].as_str().expect("a text").to_owned();
    rows.iter()
        .map(|row| (text(row, "fingerprint"), text(row, "state")))
        .collect()
}

fn until_offered(layover: &Layover, algorithms: &[&str]) {
    wait::until("other host keys", PATIENCE, || {
        let offer = Offer::of(layover.sftp_address());
        (offer.host_keys == algorithms).then_some(())
    });
}

/// The fingerprint of the key by which the last login came.
fn last_key(layover: &Layover) -> String {
    let mut logins = layover.rows(&["journal", "--kind", "login"]);
    logins.retain(|entry| entry["action"] == "login" && entry["outcome"] == "ok");
    let last = logins.last().expect("a login");
    let print = last["detail"]["host_key_fingerprint"].as_str();
    print.expect("a fingerprint").to_owned()
}

fn actions(layover: &Layover) -> Vec<String> {
    let entries = layover.rows(&["journal", "-n", "0"]);
    let actions = entries.iter().map(|entry| entry["action"].as_str());
    actions
        .map(|action| action.expect("an action").to_owned())
        .filter(|action| action.starts_with("host-key."))
        .collect()
}

on_both_engines!(a_key_of_another_algorithm_takes_over_while_partners_go_on);

fn a_key_of_another_algorithm_takes_over_while_partners_go_on(engine: Engine) {
    let (layover, account) = serve(engine);
    let idle = layover.account("idle").add();
    drop(idle);
    let before = Partner::with_kit(&layover, account.clone(), "before");
    before.sftp("ls\n").expect_ok();
    let old = keys(&layover)[0].0.clone();
    assert_eq!(last_key(&layover), old);
    let mut open = account.sftp(&layover);

    let added = layover.json(&["host-key", "add", "--algorithm", "ecdsa"]);
    assert_eq!(
        (&added["state"], &added["algorithm"]),
        (&"announced".into(), &ECDSA.into())
    );
    let new = added["fingerprint"]
        .as_str()
        .expect("a fingerprint")
        .to_owned();
    assert_eq!(Offer::of(layover.sftp_address()).host_keys, [ED25519]);
    let after = Partner::with_kit(&layover, account.clone(), "after");
    for print in [&old, &new] {
        assert!(after.file("README.txt").contains(print), "{print}");
    }
    let readiness = || layover.json(&["host-key", "readiness"]);
    let of = |name: &str| {
        let told = readiness();
        let accounts = told["accounts"].as_array().expect("accounts").clone();
        let found = accounts.into_iter().find(|one| one["account"] == name);
        found.expect("the account")
    };
    assert_eq!(readiness()["retiring"], old.as_str());
    assert_eq!(of("partner")["ready"], false, "{}", of("partner"));
    assert_eq!(of("idle")["ready"], Value::Null, "{}", of("idle"));

    layover.admin(&["host-key", "serve", &new]);
    until_offered(&layover, &[ED25519, ECDSA]);
    let refused = layover.run(&["host-key", "retire", &old]).expect_code(1);
    for words in ["partner came by no other", "account kit", "--force"] {
        assert!(refused.stderr.contains(words), "`{words}`: {refused}");
    }
    assert_eq!(
        Offer::of(layover.sftp_address()).host_keys,
        [ED25519, ECDSA]
    );
    // Who knows the old one alone goes on with it; who was told of the new one may take it.
    before.sftp("ls\n").expect_ok();
    assert_eq!(last_key(&layover), old);
    let by_new = ["-o", "HostKeyAlgorithms=ecdsa-sha2-nistp256"];
    after.sftp_with(&by_new, "ls\n").expect_ok();
    assert_eq!(last_key(&layover), new);
    let told = of("partner");
    assert_eq!(told["ready"], true, "{told}");
    assert_eq!(told["keys"][0]["fingerprint"], new.as_str(), "{told}");
    assert_eq!(told["keys"][1]["fingerprint"], old.as_str(), "{told}");

    layover.admin(&["host-key", "retire", &old]);
    until_offered(&layover, &[ECDSA]);
    after.sftp("ls\n").expect_ok();
    let refused = before.sftp("ls\n");
    assert!(!refused.ok(), "{refused}");
    assert!(
        refused.stderr.contains("Host key verification failed"),
        "{refused}"
    );
    // Who was connected all the time has noticed nothing.
    open.put(b"/file", b"still here").expect("put");
    let last = layover.run(&["host-key", "retire", &new]).expect_code(1);
    assert!(last.stderr.contains("only one that is served"), "{last}");

    let count = |action: &str| {
        actions(&layover)
            .iter()
            .filter(|one| *one == action)
            .count()
    };
    wait::until("both changes to be noted", PATIENCE, || {
        (count("host-key.reload") == 2).then_some(())
    });
    for action in ["host-key.add", "host-key.serve", "host-key.retire"] {
        assert_eq!(count(action), 1, "{action}");
    }
    // The next start finds the same keys.
    drop(open);
    layover.stop();
    layover.start();
    assert_eq!(Offer::of(layover.sftp_address()).host_keys, [ECDSA]);
    let states = [(old, "retired".to_owned()), (new, "served".to_owned())];
    assert_eq!(keys(&layover), states);
}

#[test]
fn a_key_that_partners_need_is_retired_by_force_and_comes_back() {
    let (layover, account) = serve(Engine::Sqlite);
    let partner = Partner::with_kit(&layover, account, "kit");
    partner.sftp("ls\n").expect_ok();
    let old = keys(&layover)[0].0.clone();
    // Without an account, nobody's offer would be answered.
    layover.account("other").add();
    let arguments = ["host-key", "add", "--algorithm", "ecdsa", "--serve"];
    assert_eq!(layover.json(&arguments)["state"], "served");
    until_offered(&layover, &[ED25519, ECDSA]);
    layover.run(&["host-key", "retire", &old]).expect_code(1);
    layover.admin(&["account", "disable", "partner"]);
    layover.admin(&["host-key", "retire", &old]);
    until_offered(&layover, &[ECDSA]);
    layover.admin(&["host-key", "serve", &old]);
    layover.admin(&["account", "enable", "partner"]);
    until_offered(&layover, &[ED25519, ECDSA]);
    partner.sftp("ls\n").expect_ok();
    layover.admin(&["host-key", "retire", &old, "--force"]);
    until_offered(&layover, &[ECDSA]);
    let refused = partner.sftp("ls\n");
    assert!(
        refused.stderr.contains("Host key verification failed"),
        "{refused}"
    );
    layover.admin(&["host-key", "serve", &old]);
    until_offered(&layover, &[ED25519, ECDSA]);
    partner.sftp("ls\n").expect_ok();
}

/// As `ssh-keygen -l` shows it.
fn fingerprint(key: &Path) -> String {
    let mut list = Command::new("ssh-keygen");
    list.arg("-lf").arg(key);
    let listed = process::run(&mut list, b"", PATIENCE).expect_ok().stdout;
    listed.split(' ').nth(1).expect("a fingerprint").to_owned()
}

fn generate(place: &Path, name: &str, kind: &[&str]) -> PathBuf {
    let path = place.join(name);
    let mut make = Command::new("ssh-keygen");
    make.args(["-q", "-N", "", "-t"]).args(kind).arg("-f");
    process::run(make.arg(&path), b"", PATIENCE).expect_ok();
    path
}

#[test]
fn strict_clients_take_each_algorithm_of_the_keys_that_settings_name() {
    let place = tempfile::TempDir::with_prefix("layover-keys-").expect("make a folder");
    let make = |name: &str, kind: &[&str]| generate(place.path(), name, kind);
    let (ed25519, next) = (make("a", &["ed25519"]), make("b", &["ed25519"]));
    let ecdsa = make("c", &["ecdsa", "-b", "256"]);
    let rsa = make("d", &["rsa", "-b", "3072"]);
    let named = [&ed25519, &next, &ecdsa, &rsa].map(|path| path.display().to_string());
    let layover = Setup::new(Engine::Sqlite)
        .set("sftp", "host_keys", &format!("{named:?}"))
        .prepare();
    let account = layover.account("partner").password(PASSWORD).add();
    layover.start();
    let states: Vec<_> = keys(&layover).into_iter().map(|(_, state)| state).collect();
    assert_eq!(states, ["served", "announced", "served", "served"]);
    let partner = Partner::with_kit(&layover, account, "kit");
    for path in [&ed25519, &next, &ecdsa, &rsa] {
        let public = fs::read_to_string(path.with_extension("pub")).expect("read the key");
        let [kind, key] = [0, 1].map(|column| public.split(' ').nth(column).expect("a column"));
        assert!(
            partner
                .file("known_hosts")
                .contains(&format!("{kind} {key}")),
            "{public}"
        );
    }
    for (algorithms, shown) in [
        ("ssh-ed25519", &ed25519),
        ("ecdsa-sha2-nistp256", &ecdsa),
        ("rsa-sha2-512", &rsa),
        ("rsa-sha2-256", &rsa),
        ("rsa-sha2-256,ecdsa-sha2-nistp256,ssh-ed25519", &rsa),
        ("ecdsa-sha2-nistp256,ssh-ed25519", &ecdsa),
        ("-ssh-ed25519,ecdsa-sha2-*", &rsa),
    ] {
        let option = format!("HostKeyAlgorithms={algorithms}");
        partner.sftp_with(&["-o", &option], "ls\n").expect_ok();
        assert_eq!(last_key(&layover), fingerprint(shown), "{algorithms}");
    }
    let change = layover.run(&["host-key", "add", "--algorithm", "ed25519"]);
    let change = change.expect_code(1);
    assert!(change.stderr.contains("[sftp] host_keys"), "{change}");
    let unsaid = layover.run(&["host-key", "readiness"]).expect_code(1);
    assert!(unsaid.stderr.contains("--retiring"), "{unsaid}");
    let retiring = fingerprint(&ed25519);
    let told = layover.json(&["host-key", "readiness", "--retiring", &retiring]);
    assert_eq!(told["accounts"][0]["ready"], true, "{told}");
    // The file that a setting names holds another key from now on.
    let unfinished = place.path().join("unfinished");
    fs::copy(&next, &unfinished).expect("copy");
    fs::rename(&unfinished, &ed25519).expect("rename");
    layover.hang_up();
    wait::until("the other key", PATIENCE, || {
        let by = ["-o", "HostKeyAlgorithms=ssh-ed25519"];
        partner.sftp_with(&by, "ls\n").expect_ok();
        (last_key(&layover) == fingerprint(&next)).then_some(())
    });
}

#[test]
fn a_key_of_the_same_algorithm_takes_its_place_and_the_kit_trusts_both() {
    let (layover, account) = serve(Engine::Sqlite);
    layover.admin(&["host-key", "add", "--algorithm", "ed25519"]);
    let keys_then = keys(&layover);
    let [(old, _), (new, _)] = &keys_then[..] else {
        panic!("{keys_then:?}");
    };
    let partner = Partner::with_kit(&layover, account, "kit");
    let known = partner.file("known_hosts");
    assert_eq!(known.matches(ED25519).count(), 2, "{known}");
    partner.sftp("ls\n").expect_ok();
    assert_eq!(&last_key(&layover), old);
    let shown = |key: &str| {
        wait::until("the other key", PATIENCE, || {
            partner.sftp("ls\n").expect_ok();
            (last_key(&layover) == key).then_some(())
        });
    };
    layover.admin(&["host-key", "serve", new]);
    shown(new);
    // And back, while the old one is not retired.
    layover.admin(&["host-key", "serve", old]);
    shown(old);
}

#[test]
fn keys_that_cannot_be_read_change_nothing_and_are_told_of() {
    let (layover, account) = serve(Engine::Sqlite);
    let partner = Partner::with_kit(&layover, account, "kit");
    let key = layover.data_dir().join("keys/ssh_host_ed25519_key");
    let good = fs::read(&key).expect("read the key");
    // At once: a look in between must not see half a file.
    let put = |content: &[u8]| {
        let unfinished = layover.scratch().join("unfinished");
        fs::write(&unfinished, content).expect("write");
        fs::rename(&unfinished, &key).expect("rename");
    };
    let told = |count: usize| {
        wait::until("an entry", PATIENCE, || {
            let mut entries = layover.rows(&["journal", "--kind", "system"]);
            entries.retain(|entry| entry["action"] == "host-key.reload");
            (entries.len() == count).then_some(entries)
        })
    };
    for (number, broken) in [Some("damaged"), None].into_iter().enumerate() {
        match broken {
            Some(text) => put(text.as_bytes()),
            None => fs::remove_file(&key).expect("remove the key"),
        }
        layover.hang_up();
        let entries = told(number + 1);
        let last = entries.last().expect("an entry");
        assert_eq!(last["outcome"], "failed", "{last}");
        let reason = last["detail"]["reason"].as_str().expect("a reason");
        assert!(reason.contains("ssh_host_ed25519_key"), "{last}");
        partner.sftp("ls\n").expect_ok();
    }
    assert!(layover.log().contains("the SSH host keys in use stay"));
    put(&good);
    layover.hang_up();
    wait::until("the keys to be good again", PATIENCE, || {
        layover.log().contains("can be used again").then_some(())
    });
    told(2);
    partner.sftp("ls\n").expect_ok();
}
