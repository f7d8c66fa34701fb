//! Logins over FTPS with TLS client certificates, with real clients.

use std::path::PathBuf;
use std::time::Duration;

use layover_tests::content::{sha256, write_file};
use layover_tests::ftps::{Entry, FtpsLogin};
use layover_tests::{Account, Engine, Layover, Setup, on_both_engines};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
    PKCS_ECDSA_P256_SHA256, date_time_ymd,
};
use serde_json::Value;

/// For one conversation, in a build that is not optimised.
const LONG: Duration = Duration::from_secs(120);

const PASSWORD: &str = "correct-horse-7";

/// A client's certificate and key, in files.
struct Certified {
    certificate: PathBuf,
    key: PathBuf,
}

impl Certified {
    fn write(layover: &Layover, name: &str, certificate: &str, key: &KeyPair) -> Self {
        let files = Self {
            certificate: layover.scratch().join(format!("{name}.crt")),
            key: layover.scratch().join(format!("{name}.key")),
        };
        std::fs::write(&files.certificate, certificate).expect("write the certificate");
        std::fs::write(&files.key, key.serialize_pem()).expect("write the key");
        files
    }

    fn self_signed(layover: &Layover, name: &str) -> Self {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("a key");
        let certificate = params(name).self_signed(&key).expect("a certificate");
        Self::write(layover, name, &certificate.pem(), &key)
    }

    fn certificate(&self) -> &str {
        self.certificate.to_str().expect("a plain path")
    }

    fn key(&self) -> &str {
        self.key.to_str().expect("a plain path")
    }

    /// What makes `curl` present it.
    fn curl(&self) -> [&str; 4] {
        ["--cert", self.certificate(), "--key", self.key()]
    }

    /// What makes `lftp` present it.
    fn lftp(&self) -> String {
        format!(
            "set ssl:cert-file {}\nset ssl:key-file {}\n",
            self.certificate(),
            self.key()
        )
    }
}

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

struct Ca {
    issuer: Issuer<'static, KeyPair>,
    file: PathBuf,
}

impl Ca {
    fn new(layover: &Layover) -> Self {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("a key");
        let mut params = params("partners");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).expect("a certificate");
        let file = layover.scratch().join("ca.crt");
        std::fs::write(&file, certificate.pem()).expect("write the authority");
        let issuer = Issuer::new(params, key);
        Self { issuer, file }
    }

    fn issue(&self, layover: &Layover, params: &CertificateParams, file: &str) -> Certified {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("a key");
        let signed = params.signed_by(&key, &self.issuer).expect("a certificate");
        Certified::write(layover, file, &signed.pem(), &key)
    }
}

fn add(layover: &Layover, name: &str, auth: &str) -> Account {
    let plan = layover.account(name).password(PASSWORD);
    plan.with(&["--auth", auth]).add()
}

fn trust(layover: &Layover, account: &str, certified: &Certified) {
    let file = certified.certificate();
    layover
        .run(&["account", "certificate", "add", account, file])
        .expect_ok();
}

/// The entries about logins over FTPS, oldest first.
fn logins(layover: &Layover) -> Vec<Value> {
    let mut entries = layover.rows(&["journal", "--kind", "login"]);
    entries.sort_by_key(|entry| entry["id"].as_i64());
    entries.retain(|entry| entry["action"] == "login");
    entries
}

/// The reasons of all refusals, oldest first.
fn reasons(layover: &Layover) -> Vec<String> {
    let reason = |entry: &Value| entry["detail"]["reason"].as_str().map(ToOwned::to_owned);
    logins(layover).iter().filter_map(reason).collect()
}

on_both_engines!(curl_and_lftp_come_in_with_a_certificate_alone);

fn curl_and_lftp_come_in_with_a_certificate_alone(engine: Engine) {
    let layover = Setup::new(engine).prepare();
    let account = add(&layover, "partner", "key");
    let certified = Certified::self_signed(&layover, "partner");
    trust(&layover, "partner", &certified);
    layover.start();
    let (source, target) = (
        account.client_dir.join("source"),
        account.client_dir.join("target"),
    );
    let sum = write_file(&source, 1_000_000, 7);
    let (from, to) = (source.to_string_lossy(), target.to_string_lossy());
    let mut versions = Vec::new();
    for entry in [Entry::Explicit, Entry::Implicit] {
        let login = FtpsLogin {
            layover: &layover,
            account: &account,
            entry,
        };
        for tls in [&["--tls-max", "1.2"][..], &["--tlsv1.3"]] {
            let with = [tls, &certified.curl()].concat();
            let put = [&with[..], &["--upload-file", &from]].concat();
            login.curl(&put, "/file", LONG).expect_ok();
            let get = [&with[..], &["--output", &to]].concat();
            login.curl(&get, "/file", LONG).expect_ok();
            assert_eq!(sha256(&target), sum, "{entry:?} {tls:?}");
        }
        for priority in ["NORMAL:-VERS-TLS1.3", "NORMAL"] {
            let commands = format!(
                "{}set ssl:priority {priority}\nput {from} -o /by-lftp\ncls -1 /\n",
                certified.lftp()
            );
            let ran = login.lftp(&commands, LONG).expect_ok();
            assert!(ran.stdout.contains("by-lftp"), "{ran}");
        }
        let uploads = layover.rows(&["journal", "--kind", "transfer"]);
        let told = uploads.iter().map(|entry| entry["detail"]["tls"].clone());
        versions.extend(told);
    }
    for version in ["TLS 1.2", "TLS 1.3"] {
        assert!(versions.contains(&Value::from(version)), "{version}");
    }
    let entered = logins(&layover);
    assert!(entered.len() >= 12, "{entered:?}");
    let list = layover.rows(&["account", "certificate", "list", "partner"]);
    for login in &entered {
        assert_eq!(login["outcome"], "ok", "{login}");
        assert_eq!(login["detail"]["method"], "certificate", "{login}");
        assert_eq!(login["detail"]["fingerprint"], list[0]["fingerprint"]);
    }
    // Without it the right password opens nothing, and the journal says why.
    let login = FtpsLogin {
        layover: &layover,
        account: &account,
        entry: Entry::Explicit,
    };
    // curl's code for a refused login.
    login.curl(&[], "/", LONG).expect_code(67);
    assert_eq!(reasons(&layover), ["the account must show a certificate"]);
    assert!(!login.lftp("cls /", LONG).ok());
}

#[test]
fn an_authority_opens_for_its_names_and_the_journal_says_why_others_stay_outside() {
    let layover = Setup::new(Engine::Sqlite).prepare();
    let account = add(&layover, "partner", "key");
    let ca = Ca::new(&layover);
    let file = ca.file.to_string_lossy();
    let names = ["--authority", "--names", "acme,ftp.acme.example"];
    let command = ["account", "certificate", "add", "partner", &file];
    layover.run(&[&command[..], &names].concat()).expect_ok();
    layover.start();
    let login = FtpsLogin {
        layover: &layover,
        account: &account,
        entry: Entry::Explicit,
    };
    let right = ca.issue(&layover, &params("acme"), "right");
    login.curl(&right.curl(), "/", LONG).expect_ok();
    let mut by_alternative =
        CertificateParams::new(vec!["ftp.acme.example".to_owned()]).expect("a name");
    by_alternative.distinguished_name = DistinguishedName::new();
    let by_alternative = ca.issue(&layover, &by_alternative, "alternative");
    login.curl(&by_alternative.curl(), "/", LONG).expect_ok();
    login
        .lftp(&format!("{}cls /", right.lftp()), LONG)
        .expect_ok();
    let entered = logins(&layover);
    let list = layover.rows(&["account", "certificate", "list", "partner"]);
    assert_eq!(entered[0]["detail"]["authority"], list[0]["fingerprint"]);
    assert_eq!(entered[0]["detail"]["certificate"], "CN=acme");

    let (mut expired, mut ahead) = (params("acme"), params("acme"));
    expired.not_after = date_time_ymd(2020, 1, 1);
    ahead.not_before = date_time_ymd(2200, 1, 1);
    for (certified, reason) in [
        (
            ca.issue(&layover, &params("other"), "other"),
            "certificate bears another name",
        ),
        (
            ca.issue(&layover, &expired, "expired"),
            "certificate expired",
        ),
        (
            ca.issue(&layover, &ahead, "ahead"),
            "certificate not yet valid",
        ),
        (
            Certified::self_signed(&layover, "acme"),
            "certificate not known",
        ),
    ] {
        let before = reasons(&layover).len();
        login.curl(&certified.curl(), "/", LONG).expect_code(67);
        let told = reasons(&layover).split_off(before);
        assert_eq!(told, [reason, "the account must show a certificate"]);
    }
}

#[test]
fn certificate_and_password_where_both_are_asked_for_and_either_where_any_is() {
    let layover = Setup::new(Engine::Sqlite).prepare();
    let both = add(&layover, "both", "key+password");
    let either = add(&layover, "either", "any");
    let certified = Certified::self_signed(&layover, "partner");
    for account in ["both", "either"] {
        trust(&layover, account, &certified);
    }
    layover.start();
    let login = |account| FtpsLogin {
        layover: &layover,
        account,
        entry: Entry::Implicit,
    };
    let with = certified.curl();
    login(&both).curl(&with, "/", LONG).expect_ok();
    let entered = &logins(&layover)[0]["detail"];
    assert_eq!(
        (&entered["method"], &entered["after"]),
        (&Value::from("password"), &Value::from("certificate"))
    );
    login(&both)
        .lftp(&format!("{}cls /", certified.lftp()), LONG)
        .expect_ok();
    login(&both).curl(&[], "/", LONG).expect_code(67);
    let wrong = Account {
        password: Some("wrong-horse-77".to_owned()),
        ..both.clone()
    };
    login(&wrong).curl(&with, "/", LONG).expect_code(67);
    login(&either).curl(&[], "/", LONG).expect_ok();
    login(&either).curl(&with, "/", LONG).expect_ok();
    assert_eq!(
        reasons(&layover),
        ["the account must show a certificate", "wrong password"]
    );
    let methods: Vec<_> = logins(&layover)
        .iter()
        .filter(|entry| entry["account"] == "either")
        .map(|entry| entry["detail"]["method"].clone())
        .collect();
    assert_eq!(methods, ["password", "certificate"]);
}
