//! What an account must show, with real clients: policies, two proofs, certificates.

use std::path::PathBuf;
use std::process::Command;

use layover_tests::calendar::Calendar;
use layover_tests::external::{Login, Proof};
use layover_tests::keys::{KeyKind, KeyPair};
use layover_tests::paramiko::paramiko;
use layover_tests::process::{self, Ran};
use layover_tests::ssh::{Ssh, Verdict};
use layover_tests::wait::PATIENCE;
use layover_tests::{Account, Engine, Layover, Setup, on_both_engines, openssh};
use russh::keys::Certificate;
use serde_json::Value;

const PASSWORD: &str = "correct-horse-7";

fn connect(layover: &Layover) -> Ssh {
    Ssh::connect(layover.sftp_address()).expect("connect")
}

/// The entries about logins, oldest first.
fn logins(layover: &Layover) -> Vec<Value> {
    let mut entries = layover.rows(&["journal", "--kind", "login"]);
    entries.sort_by_key(|entry| entry["id"].as_i64());
    entries
}

/// The reason of the last refusal.
fn reason(layover: &Layover) -> String {
    let entries = logins(layover);
    let refused = entries.iter().rfind(|entry| entry["outcome"] == "refused");
    let refused = refused.unwrap_or_else(|| panic!("no refusal: {entries:?}"));
    let reason = refused["detail"]["reason"].as_str();
    reason.unwrap_or_else(|| panic!("{refused}")).to_owned()
}

on_both_engines!(
    each_policy_lets_in_by_what_it_names_and_the_answer_never_tells_the_policy,
    key_and_password_are_both_needed_in_either_order,
);

fn each_policy_lets_in_by_what_it_names_and_the_answer_never_tells_the_policy(engine: Engine) {
    let layover = Setup::new(engine).prepare();
    let mut accounts = Vec::new();
    for (name, policy) in [
        ("by-password", "password"),
        ("by-key", "key"),
        ("by-either", "any"),
        ("by-both", "key+password"),
    ] {
        let account = layover
            .account(name)
            .password(PASSWORD)
            .with(&["--auth", policy])
            .add();
        let shown = layover.json(&["account", "show", name]);
        assert_eq!(shown["auth"], policy);
        accounts.push(account);
    }
    layover.start();
    let reference = connect(&layover).none("nobody");
    for account in &accounts {
        let name = &account.name;
        assert_eq!(connect(&layover).none(name), reference, "{name}");
        assert_eq!(
            connect(&layover).password(name, "wrong"),
            reference,
            "{name}"
        );
    }
    let by_key = &accounts[1];
    // Right and wrong get the same answer where a password opens nothing.
    assert_eq!(connect(&layover).password("by-key", PASSWORD), reference);
    assert_eq!(reason(&layover), "the account logs in by key alone");
    assert_eq!(connect(&layover).interactive("by-key", PASSWORD), reference);
    connect(&layover)
        .key("by-key", &by_key.key)
        .expect_accepted();
    let by_password = &accounts[0];
    assert_eq!(
        connect(&layover).key("by-password", &by_password.key),
        reference
    );
    connect(&layover)
        .password("by-password", PASSWORD)
        .expect_accepted();
    let either = &accounts[2];
    connect(&layover)
        .password("by-either", PASSWORD)
        .expect_accepted();
    connect(&layover)
        .key("by-either", &either.key)
        .expect_accepted();
}

fn half(methods: &str) -> Verdict {
    Verdict::Refused {
        methods: methods.to_owned(),
        partial: true,
    }
}

fn key_and_password_are_both_needed_in_either_order(engine: Engine) {
    const REST: &str = "MethodSet([Password, KeyboardInteractive])";
    let layover = Setup::new(engine).prepare();
    let plan = |name: &str| {
        layover
            .account(name)
            .password(PASSWORD)
            .with(&["--auth", "key+password"])
            .add()
    };
    let (partner, other) = (plan("partner"), plan("other"));
    layover.start();

    let mut ssh = connect(&layover);
    assert_eq!(ssh.key("partner", &partner.key), half(REST));
    let Verdict::Refused {
        methods,
        partial: false,
    } = ssh.password("partner", "wrong")
    else {
        panic!("a wrong password");
    };
    assert_eq!(methods, REST, "what is missing is still missing");
    assert_eq!(reason(&layover), "wrong password");
    ssh.password("partner", PASSWORD).expect_accepted();
    ssh.sftp().expect("a session");

    let mut ssh = connect(&layover);
    ssh.key("partner", &partner.key);
    ssh.interactive("partner", PASSWORD).expect_accepted();

    let mut ssh = connect(&layover);
    let verdict = ssh.password("partner", PASSWORD);
    assert_eq!(verdict, half("MethodSet([PublicKey])"));
    ssh.key("partner", &partner.key).expect_accepted();

    // Another name, and what was shown for the first one is forgotten.
    let mut ssh = connect(&layover);
    assert_eq!(ssh.key("partner", &partner.key), half(REST));
    assert_eq!(
        ssh.password("other", PASSWORD),
        half("MethodSet([PublicKey])")
    );
    assert_eq!(
        ssh.password("partner", PASSWORD),
        half("MethodSet([PublicKey])")
    );
    assert_eq!(ssh.key("other", &other.key), half(REST));
    // And another connection knows nothing of it.
    assert_eq!(
        connect(&layover).password("partner", PASSWORD),
        half("MethodSet([PublicKey])")
    );
}

#[test]
fn openssh_shows_key_and_password_where_both_are_asked_for() {
    let layover = Setup::new(Engine::Sqlite).prepare();
    let account = layover
        .account("partner")
        .password(PASSWORD)
        .with(&["--auth", "key+password"])
        .add();
    layover.start();
    let key = format!("IdentityFile={}", account.key.private().display());
    let both = Login {
        proof: Proof::Password(PASSWORD.to_owned()),
        ..account.by_key(&layover)
    };
    // The first value counts: these come before what `by_password` would say.
    let mut command = Command::new("sftp");
    command.args(["-F", "/dev/null", "-o", &key]);
    for option in [
        "IdentitiesOnly=yes",
        "PreferredAuthentications=publickey,password",
        "StrictHostKeyChecking=no",
        "NumberOfPasswordPrompts=1",
        "BatchMode=no",
        &format!("UserKnownHostsFile={}", both.known_hosts().display()),
    ] {
        command.args(["-o", option]);
    }
    command
        .args(["-P", &both.server.port().to_string(), "-b", "-"])
        .arg(format!("partner@{}", both.server.ip()))
        .env_remove("SSH_AUTH_SOCK")
        .env("SSH_ASKPASS", both.askpass(PASSWORD))
        .env("SSH_ASKPASS_REQUIRE", "force");
    process::run(&mut command, b"pwd\n", PATIENCE).expect_ok();
    let ran = openssh::sftp(&account.by_key(&layover), &[], "pwd\n", PATIENCE);
    assert!(!ran.ok(), "the key alone: {ran}");
    let ran = openssh::sftp(&account.by_password(&layover), &[], "pwd\n", PATIENCE);
    assert!(!ran.ok(), "the password alone: {ran}");
    let entries = logins(&layover);
    let entered = entries
        .iter()
        .find(|entry| entry["action"] == "login" && entry["outcome"] == "ok");
    let detail = &entered.expect("a login")["detail"];
    assert_eq!(
        (&detail["after"], &detail["method"]),
        (&Value::from("publickey"), &Value::from("password"))
    );
}

#[test]
fn a_login_says_what_was_agreed_upon() {
    let layover = Setup::new(Engine::Sqlite).prepare();
    let account = layover.account("partner").add();
    layover.start();
    let options = [
        "-o",
        "KexAlgorithms=curve25519-sha256",
        "-o",
        "Ciphers=aes256-ctr",
        "-o",
        "MACs=hmac-sha2-256-etm@openssh.com",
    ];
    openssh::sftp(&account.by_key(&layover), &options, "pwd\n", PATIENCE).expect_ok();
    let entries = logins(&layover);
    let detail = &entries
        .iter()
        .find(|entry| entry["action"] == "login")
        .expect("a login")["detail"];
    for (name, value) in [
        ("kex", "curve25519-sha256"),
        ("host_key", "ssh-ed25519"),
        ("cipher", "aes256-ctr"),
        ("mac", "hmac-sha2-256-etm@openssh.com"),
    ] {
        assert_eq!(detail[name], value, "{detail}");
    }
    let client = detail["client"].as_str().expect("a client");
    assert!(client.starts_with("SSH-2.0-OpenSSH_"), "{client}");
}

/// An authority with `ssh-keygen`, and a partner with a key that no account has.
struct Authority {
    ca: KeyPair,
    user: KeyPair,
    dir: PathBuf,
}

impl Authority {
    fn new(layover: &Layover, name: &str, kind: KeyKind) -> Self {
        let dir = layover.scratch().join(name);
        std::fs::create_dir(&dir).expect("make folder");
        Self {
            ca: KeyPair::generate(&dir, "ca", kind),
            user: KeyPair::generate(&dir, "user", KeyKind::Ed25519),
            dir,
        }
    }

    /// Certifies the partner's key.
    fn sign(&self, arguments: &[&str]) {
        self.sign_key(&self.user, arguments);
    }

    fn sign_key(&self, user: &KeyPair, arguments: &[&str]) {
        let mut command = Command::new("ssh-keygen");
        command
            .args(["-q", "-s"])
            .arg(self.ca.private())
            .args(["-I", "partner's laptop", "-z", "7"])
            .args(arguments)
            .arg(user.public());
        process::run(&mut command, b"", PATIENCE).expect_ok();
    }

    /// What [`Authority::sign`] made last.
    fn certificate(&self) -> Certificate {
        let file = self.dir.join("user-cert.pub");
        let text = std::fs::read_to_string(file).expect("read certificate");
        Certificate::from_openssh(text.trim_end()).expect("a certificate")
    }

    /// Logs in with OpenSSH and the certificate.
    fn log_in(&self, layover: &Layover, account: &Account) -> Ran {
        self.log_in_with(&self.user, layover, account)
    }

    fn log_in_with(&self, user: &KeyPair, layover: &Layover, account: &Account) -> Ran {
        let login = Login {
            proof: Proof::Key(user.clone()),
            ..account.by_key(layover)
        };
        openssh::sftp(&login, &[], "pwd\n", PATIENCE)
    }

    /// Names that a settings file can hold.
    fn public(&self) -> String {
        format!("[{:?}]", self.ca.public().to_string_lossy())
    }
}

/// A server that trusts an authority, and an account without any key of its own but the harness's.
fn trusting(engine: Engine) -> (Layover, Account, Authority) {
    // The authority's file must be there when the server starts, and the scratch folder is there
    // only once the settings are written: a fixed name in it.
    let layover = Setup::new(engine)
        .set("sftp", "trusted_user_ca_keys", "[\"authority/ca.pub\"]")
        .prepare();
    let account = layover.account("partner").add();
    let authority = Authority::new(&layover, "authority", KeyKind::Ed25519);
    layover.start();
    (layover, account, authority)
}

/// G04: where certificates are in use, any key may be signed with. Who only ever offers keys
/// holds a place, and asks the server, for nothing.
#[test]
fn g04_keys_that_are_offered_and_never_signed_with_have_a_limit() {
    let (layover, account, authority) = trusting(Engine::Sqlite);
    // OpenSSH offers a public key without its private half, and cannot go on.
    let keys: Vec<_> = (0..20)
        .map(|number| {
            let name = format!("offered-{number}");
            let key = KeyPair::generate(&authority.dir, &name, KeyKind::Ed25519);
            std::fs::remove_file(key.private()).expect("remove");
            key
        })
        .collect();
    let files = keys
        .iter()
        .map(|key| format!("IdentityFile={}", key.public().display()));
    let options: Vec<_> = files.flat_map(|file| ["-o".to_owned(), file]).collect();
    let mut options: Vec<_> = options.iter().map(String::as_str).collect();
    options.push("-v");
    let login = Login {
        proof: Proof::Key(keys[0].clone()),
        ..account.by_key(&layover)
    };
    let ran = openssh::sftp(&login, &options, "pwd\n", PATIENCE);
    assert!(!ran.ok(), "{ran}");
    let accepted = ran.stderr.matches("Server accepts key").count();
    assert_eq!(accepted, 16, "{ran}");
    account.sftp(&layover);
}

/// G04: nor may anybody have himself asked for a password without end.
#[test]
fn g04_questions_that_nobody_answers_have_a_limit() {
    let layover = Setup::new(Engine::Sqlite).prepare();
    let account = layover.account("partner").password(PASSWORD).add();
    layover.start();
    let ran = paramiko(&account.by_password(&layover), &["questions"], PATIENCE).expect_ok();
    assert_eq!(ran.stdout.trim(), "16", "{ran}");
    account.sftp(&layover);
}

on_both_engines!(openssh_certificates_open_the_account_that_they_name_and_no_other);

fn openssh_certificates_open_the_account_that_they_name_and_no_other(engine: Engine) {
    let (layover, account, authority) = trusting(engine);
    let good = ["-n", "somebody,partner", "-V", "-5m:+1h"];
    authority.sign(&good);
    authority.log_in(&layover, &account).expect_ok();
    let entries = logins(&layover);
    let login = entries
        .iter()
        .rfind(|entry| entry["action"] == "login" && entry["outcome"] == "ok");
    let detail = &login.expect("a login")["detail"];
    assert_eq!(detail["certificate"], "partner's laptop");
    assert_eq!(detail["serial"], 7);

    for (arguments, expected) in [
        (
            &["-n", "somebody", "-V", "-5m:+1h"][..],
            "certificate does not name the account",
        ),
        (&["-V", "-5m:+1h"], "certificate names nobody"),
        (
            &[
                "-n",
                "partner",
                "-O",
                "source-address=192.0.2.0/24,2001:db8::/32",
            ],
            "certificate not allowed from this address",
        ),
        (
            &["-n", "partner", "-O", "force-command=internal-sftp"],
            "certificate demands `force-command`, which is not enforced here",
        ),
        (
            &["-n", "partner", "-O", "critical:colour=blue"],
            "certificate demands `colour`, which is not enforced here",
        ),
    ] {
        authority.sign(arguments);
        let known = logins(&layover).len();
        let ran = authority.log_in(&layover, &account);
        assert!(!ran.ok(), "{arguments:?}: {ran}");
        let refused: Vec<_> = logins(&layover)
            .split_off(known)
            .into_iter()
            .filter_map(|entry| entry["detail"]["reason"].as_str().map(ToOwned::to_owned))
            .collect();
        assert!(
            refused.iter().any(|reason| reason == expected),
            "{arguments:?}: {refused:?}\n{ran}"
        );
    }
    authority.sign(&["-n", "partner", "-O", "source-address=127.0.0.0/8"]);
    authority.log_in(&layover, &account).expect_ok();
    let stranger = Authority::new(&layover, "stranger", KeyKind::Ed25519);
    stranger.sign(&good);
    let ran = stranger.log_in(&layover, &account);
    assert!(!ran.ok(), "{ran}");
    assert!(logins(&layover).iter().any(
        |entry| entry["detail"]["reason"] == "certificate of an authority that is not trusted"
    ));
}

/// What OpenSSH's client would leave at home.
#[test]
fn a_certificate_for_hosts_or_with_a_broken_signature_opens_nothing() {
    let (layover, account, authority) = trusting(Engine::Sqlite);
    let reference = connect(&layover).none("partner");
    authority.sign(&["-n", "partner"]);
    let good = authority.certificate();
    connect(&layover)
        .certificate("partner", &authority.user, good.clone())
        .expect_accepted();
    authority.sign(&["-n", "partner", "-h"]);
    let for_hosts = authority.certificate();
    let verdict = connect(&layover).certificate("partner", &authority.user, for_hosts);
    assert_eq!(verdict, reference);
    assert_eq!(reason(&layover), "certificate is for hosts, not for users");
    // The same certificate, the name of the account in it replaced by another's.
    layover.account("qartner").add();
    authority.sign(&["-n", "qartner"]);
    connect(&layover)
        .certificate("qartner", &authority.user, authority.certificate())
        .expect_accepted();
    let mut wire = good.to_bytes().expect("as bytes");
    let at = wire.windows(7).position(|name| name == b"partner");
    let names = wire.windows(7).rposition(|name| name == b"partner");
    assert_ne!(at, names, "the key id holds the word, too");
    wire[names.expect("the principal")] = b'q';
    let forged = Certificate::from_bytes(&wire).expect("a certificate");
    assert_eq!(forged.valid_principals(), ["qartner"]);
    let verdict = connect(&layover).certificate("qartner", &authority.user, forged);
    assert_eq!(verdict, reference);
    // Somebody else's certificate, without the key that it certifies.
    let verdict = connect(&layover).certificate("partner", &account.key, good);
    assert_eq!(verdict, reference);
}

/// russh looks at the validity by the machine's clock before it asks us, so that such a certificate
/// is refused without an entry of its own; by our clock see the next test.
#[test]
fn a_certificate_outside_its_time_is_refused() {
    let (layover, account, authority) = trusting(Engine::Sqlite);
    for validity in ["-2h:-1h", "+1h:+2h"] {
        authority.sign(&["-n", "partner", "-V", validity]);
        let ran = authority.log_in(&layover, &account);
        assert!(!ran.ok(), "{validity}: {ran}");
    }
    let entered = logins(&layover)
        .into_iter()
        .filter(|entry| entry["action"] == "login" && entry["outcome"] == "ok");
    assert_eq!(entered.count(), 0);
}

#[test]
fn a_certificate_counts_by_the_appliances_clock_too() {
    let layover = Setup::new(Engine::Sqlite)
        .set("sftp", "trusted_user_ca_keys", "[\"authority/ca.pub\"]")
        .prepare();
    let account = layover.account("partner").add();
    let authority = Authority::new(&layover, "authority", KeyKind::Ed25519);
    let text = std::fs::read_to_string(layover.config()).expect("read settings");
    let whole = text.replace("[\"authority/ca.pub\"]", &authority.public());
    std::fs::write(layover.config(), whole).expect("write settings");
    // Valid today, and over or not yet begun where the appliance is.
    authority.sign(&["-n", "partner", "-V", "20200101:20400101"]);
    for (now, expected) in [
        ("2019-12-30T00:00:00Z", Some("certificate not yet valid")),
        ("2020-01-03T00:00:00Z", None),
        ("2040-01-03T00:00:00Z", Some("certificate expired")),
    ] {
        let calendar = Calendar::start(&layover, now.parse().expect("a time"));
        let login = Login {
            server: calendar.address(layover_tests::Protocol::Sftp),
            user: account.name.clone(),
            proof: Proof::Key(authority.user.clone()),
            client_dir: account.client_dir.clone(),
        };
        let ran = openssh::sftp(
            &login,
            &["-o", "StrictHostKeyChecking=no"],
            "pwd\n",
            PATIENCE,
        );
        assert_eq!(ran.ok(), expected.is_none(), "{now}: {ran}");
        drop(calendar);
        if let Some(expected) = expected {
            let entries = layover.rows(&["journal", "--kind", "login"]);
            assert!(
                entries
                    .iter()
                    .any(|entry| entry["detail"]["reason"] == expected),
                "{entries:?}"
            );
        }
    }
}

#[test]
fn rsa_certificates_count_with_sha_2_and_never_with_sha_1() {
    let layover = Setup::new(Engine::Sqlite)
        .set("sftp", "trusted_user_ca_keys", "[\"authority/ca.pub\"]")
        .prepare();
    let account = layover.account("partner").add();
    let authority = Authority::new(&layover, "authority", KeyKind::Rsa);
    let rsa = KeyPair::generate(&authority.dir, "rsa", KeyKind::Rsa);
    layover.start();
    let names = ["-n", "partner"];
    for hash in ["rsa-sha2-256", "rsa-sha2-512"] {
        authority.sign(&[&["-t", hash][..], &names].concat());
        authority.log_in(&layover, &account).expect_ok();
    }
    authority.sign_key(&rsa, &names);
    authority.log_in_with(&rsa, &layover, &account).expect_ok();
    authority.sign(&[&["-t", "ssh-rsa"][..], &names].concat());
    // OpenSSH leaves such a certificate at home unless it is told not to.
    let login = Login {
        proof: Proof::Key(authority.user.clone()),
        ..account.by_key(&layover)
    };
    let ran = openssh::sftp(
        &login,
        &["-o", "CASignatureAlgorithms=+ssh-rsa"],
        "pwd\n",
        PATIENCE,
    );
    assert!(!ran.ok(), "{ran}");
    let entries = logins(&layover);
    assert!(
        entries
            .iter()
            .any(|entry| entry["detail"]["reason"] == "certificate signed with SHA-1"),
        "{entries:?}\n{ran}"
    );
}

#[test]
fn an_accounts_own_authority_opens_that_account_alone() {
    let layover = Setup::new(Engine::Sqlite).prepare();
    let (partner, other) = (
        layover.account("partner").add(),
        layover.account("other").add(),
    );
    let authority = Authority::new(&layover, "authority", KeyKind::Ed25519);
    let line = layover.scratch().join("line");
    let text = format!(
        "cert-authority,principals=\"laptops,desks\" {}\n",
        authority.ca.line()
    );
    std::fs::write(&line, text).expect("write line");
    layover.admin(&["account", "key", "add", "partner", &line.to_string_lossy()]);
    let listed = layover.rows(&["account", "key", "list", "partner"]);
    assert_eq!(listed[0]["cert_authority"], false);
    assert_eq!(listed[1]["cert_authority"], true);
    assert_eq!(
        listed[1]["principals"],
        serde_json::json!(["laptops", "desks"])
    );
    layover.start();
    authority.sign(&["-n", "desks,other"]);
    authority.log_in(&layover, &partner).expect_ok();
    let ran = authority.log_in(&layover, &other);
    assert!(!ran.ok(), "{ran}");
    authority.sign(&["-n", "partner"]);
    let ran = authority.log_in(&layover, &partner);
    assert!(!ran.ok(), "its line names other principals: {ran}");
    // The account's own key still opens it, and every client is made to sign.
    openssh::sftp(&partner.by_key(&layover), &[], "pwd\n", PATIENCE).expect_ok();
}

#[test]
fn a_server_does_not_start_without_the_authorities_that_it_should_trust() {
    let layover = Setup::new(Engine::Sqlite)
        .set("sftp", "trusted_user_ca_keys", "[\"missing.pub\"]")
        .prepare();
    let ran = layover.run(&["serve"]).expect_code(1);
    assert!(ran.stderr.contains("missing.pub"), "{ran}");
    let ran = layover.run(&["check"]).expect_code(1);
    assert!(ran.stdout.contains("missing.pub"), "{ran}");
}
