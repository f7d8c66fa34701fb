//! Files to and from partners' own servers, by the real executable: one story for every server,
//! each way in a line of the table.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use layover_tests::content::{MIB, sha256, write_file};
use layover_tests::partner_server::{Newest, PartnerServer, Plan, Proof, Security, Software};
use layover_tests::process::{self, Ran};
use layover_tests::skip::skip;
use layover_tests::wait::{self, PATIENCE};
use layover_tests::{Engine, Layover, Setup};
use serde_json::Value;

/// All of one conversation; debug builds of crypto are slow, and several run at once.
const LONG: Duration = Duration::from_secs(240);

const PARTNER: &[&str] = &["--integration", "partner", "--kind", "transfer"];

/// Ours, and the partner's server; `None` when it is not installed, which was said.
fn world(plan: Plan, more: &[&str]) -> Option<(Layover, PartnerServer)> {
    let theirs = match PartnerServer::start(plan) {
        Ok(theirs) => theirs,
        Err(why) => {
            skip(&why);
            return None;
        }
    };
    let ours = Setup::new(Engine::Sqlite).prepare();
    ours.account("alice").add();
    theirs.introduce(&ours, more);
    Some((ours, theirs))
}

fn integration(ours: &Layover, verb: &str, arguments: &[&str]) -> Ran {
    let mut command = ours.command();
    command.args(["integration", verb, "partner"]);
    process::run(command.args(arguments), b"", LONG)
}

/// What became of the files, of a command that must succeed.
#[track_caller]
fn moved(ours: &Layover, verb: &str, arguments: &[&str]) -> Vec<Value> {
    let ran = integration(ours, verb, &[arguments, &["--json"]].concat()).expect_ok();
    let told: Value = serde_json::from_str(&ran.stdout).expect("JSON");
    let files = told["files"].as_array().expect("files").clone();
    assert!(files.iter().all(|file| file["outcome"] == "ok"), "{told}");
    files
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("read the folder");
    let mut names: Vec<_> = entries
        .map(|entry| entry.expect("an entry").file_name())
        .map(|name| name.to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// Hidden files of our homes: uploads that are not whole.
fn hidden(ours: &Layover) -> Vec<PathBuf> {
    let folder = ours.homes().join(".layover/incoming");
    // Made at the first need.
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    entries
        .map(|entry| entry.expect("an entry").path())
        .collect()
}

const FILES: [(&str, u64); 4] = [
    ("empty", 0),
    ("one", 1),
    ("a b.csv", 300_007),
    ("large", 3 * MIB + 1),
];

/// There, over what is there, back again, over what is here; from a home and to this machine.
fn exchange(plan: Plan, more: &[&str]) {
    let Some((ours, theirs)) = world(plan, more) else {
        return;
    };
    let local = ours.scratch().join("local");
    std::fs::create_dir(&local).expect("make a folder");
    let mut sums = Vec::new();
    for (number, (name, size)) in (0..).zip(FILES) {
        sums.push(write_file(&local.join(name), size, number));
    }
    let sources: Vec<_> = FILES
        .iter()
        .map(|(name, _)| text(&local.join(name)))
        .collect();
    let sources: Vec<_> = sources.iter().map(String::as_str).collect();

    let put = [&["in"][..], &sources].concat();
    for (file, sum) in moved(&ours, "put", &put).iter().zip(&sums) {
        assert_eq!(file["sha256"], sum.as_str(), "{file}");
        assert_ne!(file["verified"], "word", "{file}");
    }
    let all: Vec<_> = FILES.iter().map(|(name, _)| *name).collect();
    let mut there = names(theirs.files());
    let mut expected: Vec<_> = all.iter().map(ToString::to_string).collect();
    expected.sort();
    assert_eq!(there, expected, "and nothing under a temporary name");
    for (name, sum) in all.iter().zip(&sums) {
        assert_eq!(&sha256(&theirs.files().join(name)), sum, "{name}");
    }

    // What is there stays, unless it is said otherwise.
    sums[1] = write_file(&local.join("one"), 1, 77);
    let refused = integration(&ours, "put", &["in", &text(&local.join("one"))]).expect_code(1);
    assert!(refused.stderr.contains("there already"), "{refused}");
    assert!(refused.stderr.contains("next: "), "{refused}");
    assert_ne!(sha256(&theirs.files().join("one")), sums[1]);
    let one = text(&local.join("one"));
    moved(&ours, "put", &["in", &one, "--replace"]);
    assert_eq!(sha256(&theirs.files().join("one")), sums[1]);
    there.sort();
    assert_eq!(names(theirs.files()), there);

    let get = [&["out"][..], &all, &["--to", "alice:/"]].concat();
    for (file, sum) in moved(&ours, "get", &get).iter().zip(&sums) {
        assert_eq!(file["sha256"], sum.as_str(), "{file}");
        assert!(file["expires_at"].is_string(), "{file}");
    }
    let home = ours.homes().join("alice");
    for (name, sum) in all.iter().zip(&sums) {
        assert_eq!(&sha256(&home.join(name)), sum, "{name}");
    }
    let refused = integration(&ours, "get", &get).expect_code(1);
    assert!(refused.stderr.contains("exists already"), "{refused}");
    moved(&ours, "get", &[&get[..], &["--replace"]].concat());
    let out = ours.scratch().join("out");
    std::fs::create_dir(&out).expect("make a folder");
    let to = text(&out);
    let get = [&["out"][..], &all, &["--out", &to]].concat();
    moved(&ours, "get", &get);
    for (name, sum) in all.iter().zip(&sums) {
        assert_eq!(&sha256(&out.join(name)), sum, "{name}");
    }
    assert_eq!(names(&out), expected);

    moved(&ours, "put", &["in", "alice:/large", "--as", "renamed"]);
    assert_eq!(sha256(&theirs.files().join("renamed")), sums[3]);
    let files = ours.rows(&["file", "list", "alice"]);
    let large = files.iter().find(|file| file["path"] == "/large");
    assert_eq!(large.expect("it is there")["collected_by"], "outbound");
    assert!(hidden(&ours).is_empty(), "{:?}", hidden(&ours));

    let journal = ours.rows(&[&["journal"], PARTNER, &["--limit", "0"]].concat());
    let count = |action: &str, outcome: &str| {
        let those = journal.iter();
        those
            .filter(|entry| entry["action"] == action && entry["outcome"] == outcome)
            .count()
    };
    assert_eq!(count("outbound.upload", "ok"), 4 + 1 + 1);
    assert_eq!(count("outbound.upload", "failed"), 1);
    assert_eq!(count("outbound.download", "ok"), 4 + 4 + 4);
    assert_eq!(count("outbound.download", "failed"), 4);
    for entry in &journal {
        let peer = entry["detail"]["peer"].as_str();
        assert_eq!(peer, Some(theirs.address().to_string().as_str()), "{entry}");
        assert!(entry["detail"]["run"].is_string(), "{entry}");
        assert_eq!(
            entry["account"].is_null(),
            entry["detail"]["local"].is_string()
        );
    }
}

macro_rules! partners {
    ($($name:ident: $plan:expr, $more:expr;)*) => {
        $(
            #[test]
            fn $name() {
                exchange($plan, &$more);
            }
        )*
    };
}

const fn ftps(software: Software, security: Security, newest: Newest, proof: Proof) -> Plan {
    Plan {
        software,
        security,
        newest,
        proof,
    }
}

use Newest::{V12, V13};
use Proof::{Certificate, Key, Password};
use Security::{Explicit, Implicit};

const ACTIVE: [&str; 2] = ["--transfer", "active"];
const DELETES: [&str; 2] = ["--delete-then-rename", "yes"];

partners! {
    sshd_with_our_key: Plan { proof: Key, ..Plan::of(Software::Sshd) }, [];
    sshd_without_a_temporary_suffix:
        Plan { proof: Key, ..Plan::of(Software::Sshd) }, ["--partial-lock", "no"];
    proftpd_mod_sftp_with_a_password: Plan::of(Software::ProFtpdSftp), DELETES;
    vsftpd_explicit_tls_13: ftps(Software::Vsftpd, Explicit, V13, Password), [];
    vsftpd_explicit_tls_12: ftps(Software::Vsftpd, Explicit, V12, Password), [];
    vsftpd_implicit_active: ftps(Software::Vsftpd, Implicit, V13, Password), ACTIVE;
    vsftpd_with_our_certificate: ftps(Software::Vsftpd, Explicit, V13, Certificate), [];
    proftpd_explicit_tls_13: ftps(Software::ProFtpd, Explicit, V13, Password), [];
    proftpd_explicit_tls_12_active: ftps(Software::ProFtpd, Explicit, V12, Password), ACTIVE;
    proftpd_implicit: ftps(Software::ProFtpd, Implicit, V13, Password), [];
    proftpd_with_our_certificate: ftps(Software::ProFtpd, Explicit, V12, Certificate), [];
    pure_ftpd_explicit_tls_13: ftps(Software::PureFtpd, Explicit, V13, Password), [];
    pure_ftpd_explicit_tls_12_active: ftps(Software::PureFtpd, Explicit, V12, Password), ACTIVE;
    libunftp_explicit: Plan::of(Software::Libunftp), DELETES;
    layover_explicit: ftps(Software::LayoverFtps, Explicit, V13, Password), [];
    layover_implicit: ftps(Software::LayoverFtps, Implicit, V13, Password), [];
    layover_sftp_with_a_password: Plan::of(Software::LayoverSftp), [];
    layover_sftp_with_our_key: Plan { proof: Key, ..Plan::of(Software::LayoverSftp) }, [];
}

/// Fifty files, one connection: servers that demand resumed sessions give few tickets.
fn fifty(software: Software) {
    let Some((ours, theirs)) = world(Plan::of(software), &[]) else {
        return;
    };
    let all: Vec<_> = (0..50).map(|number| format!("file-{number:02}")).collect();
    let sums: Vec<_> = (0..50)
        .zip(&all)
        .map(|(number, name)| write_file(&theirs.files().join(name), 20_000 + number, number))
        .collect();
    let mut get = vec!["out"];
    get.extend(all.iter().map(String::as_str));
    get.extend(["--to", "alice:/"]);
    let files = moved(&ours, "get", &get);
    for (file, sum) in files.iter().zip(&sums) {
        assert_eq!(file["sha256"], sum.as_str(), "{file}");
        assert_eq!(file["tries_again"], 0, "{file}");
    }
    assert_eq!(files.len(), 50);
}

#[test]
fn fifty_files_in_one_command_from_vsftpd() {
    fifty(Software::Vsftpd);
}

#[test]
fn fifty_files_in_one_command_from_proftpd() {
    fifty(Software::ProFtpd);
}

/// The partner's GnuPG, with a key of its own and ours.
pub(crate) struct Gpg {
    home: PathBuf,
}

impl Gpg {
    pub(crate) fn new(ours: &Layover) -> Self {
        let home = ours.scratch().join("gnupg");
        std::fs::create_dir(&home).expect("make GnuPG's home");
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        std::fs::set_permissions(&home, private).expect("close it");
        let gpg = Self { home };
        let key = [
            "--quick-generate-key",
            "partner@example.com",
            "default",
            "default",
            "never",
        ];
        gpg.run(&[&["--passphrase", ""], &key[..]].concat())
            .expect_ok();
        gpg
    }

    /// The partner's public key, made what is sent to the partner is encrypted to.
    pub(crate) fn becomes_recipient(&self, ours: &Layover) {
        let exported = self.run(&["--armor", "--export", "partner@example.com"]);
        let file = ours.scratch().join("partner.asc");
        std::fs::write(&file, exported.expect_ok().stdout).expect("write the partner's key");
        let set = ["integration", "pgp", "set-recipient", "partner"];
        ours.admin(&[&set[..], &[&text(&file)]].concat());
    }

    /// Encrypts a file to the key that we have for the partner.
    pub(crate) fn encrypt_to_us(&self, ours: &Layover, file: &Path, to: &Path) {
        let key = text(&ours.scratch().join("our.asc"));
        let shown = ours
            .admin(&["integration", "pgp", "show", "partner"])
            .stdout;
        std::fs::write(&key, shown).expect("write our key");
        let (from, to) = (text(file), text(to));
        let seal = [
            "--encrypt",
            "--recipient-file",
            &key,
            "--output",
            &to,
            &from,
        ];
        self.run(&seal).expect_ok();
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        let mut command = Command::new("gpg");
        command.arg("--homedir").arg(&self.home);
        command.args([
            "--batch",
            "--yes",
            "--trust-model",
            "always",
            "--pinentry-mode",
            "loopback",
        ]);
        process::run(command.args(arguments), b"", PATIENCE)
    }
}

impl Drop for Gpg {
    fn drop(&mut self) {
        let mut command = Command::new("gpgconf");
        command.arg("--homedir").arg(&self.home);
        process::run(command.args(["--kill", "all"]), b"", PATIENCE);
    }
}

/// Both ways with the partner's GnuPG; what is not encrypted to us stays where it is.
fn encrypted(plan: Plan) {
    let Some((ours, theirs)) = world(plan, &[]) else {
        return;
    };
    let gpg = Gpg::new(&ours);
    let at = |name: &str| text(&ours.scratch().join(name));
    ours.admin(&["integration", "pgp", "rotate", "partner"]);
    let shown = ours
        .admin(&["integration", "pgp", "show", "partner"])
        .stdout;
    std::fs::write(at("our.asc"), shown).expect("write our key");
    gpg.run(&["--import", &at("our.asc")]).expect_ok();
    let exported = gpg
        .run(&["--armor", "--export", "partner@example.com"])
        .expect_ok();
    std::fs::write(at("partner.asc"), exported.stdout).expect("write the partner's key");
    ours.admin(&[
        "integration",
        "pgp",
        "set-recipient",
        "partner",
        &at("partner.asc"),
    ]);
    ours.admin(&[
        "integration",
        "pgp",
        "set-partner",
        "partner",
        &at("partner.asc"),
    ]);
    let policies = [
        "--inbound-pgp",
        "--signature-required",
        "--outbound-pgp",
        "--sign",
    ];
    let mut set = vec!["integration", "set", "partner"];
    set.extend(policies.iter().flat_map(|policy| [*policy, "yes"]));
    ours.admin(&set);

    let sum = write_file(Path::new(&at("report")), MIB + 5, 1);
    let put = moved(&ours, "put", &["in", &at("report")]);
    assert_eq!(put[0]["sha256"], sum.as_str());
    assert!(put[0]["pgp"]["signed_by"].is_string(), "{put:?}");
    let there = theirs.files().join("report");
    assert_ne!(sha256(&there), sum);
    let opened = gpg
        .run(&["--output", &at("opened"), "--decrypt", &text(&there)])
        .expect_ok();
    assert!(opened.stderr.contains("Good signature"), "{opened}");
    assert_eq!(sha256(Path::new(&at("opened"))), sum);

    let listed = gpg.run(&[
        "--with-colons",
        "--import-options",
        "show-only",
        "--import",
        &at("our.asc"),
    ]);
    let ours_is = listed.expect_ok().stdout;
    let ours_is = ours_is
        .lines()
        .find_map(|line| line.strip_prefix("fpr:::::::::"));
    let ours_is = ours_is
        .expect("our fingerprint")
        .trim_end_matches(':')
        .to_owned();
    let sum = write_file(Path::new(&at("answer")), 2 * MIB, 2);
    let to = text(&theirs.files().join("answer.pgp"));
    let seal = [
        "--sign",
        "--encrypt",
        "--recipient",
        &ours_is,
        "--output",
        &to,
        &at("answer"),
    ];
    gpg.run(&seal).expect_ok();
    let got = moved(&ours, "get", &["out", "answer.pgp", "--to", "alice:/"]);
    assert_eq!(got[0]["sha256"], sum.as_str());
    assert!(got[0]["pgp"]["signed_by"].is_string(), "{got:?}");
    assert_eq!(sha256(&ours.homes().join("alice/answer.pgp")), sum);

    write_file(&theirs.files().join("plain"), 1000, 3);
    let refused = integration(&ours, "get", &["out", "plain", "--to", "alice:/"]).expect_code(1);
    assert!(
        refused.stderr.contains("next: ask the partner"),
        "{refused}"
    );
    assert!(!ours.homes().join("alice/plain").exists());
    assert!(theirs.files().join("plain").exists());
    assert!(hidden(&ours).is_empty(), "{:?}", hidden(&ours));
}

#[test]
fn pgp_both_ways_with_gnupg_over_sftp() {
    encrypted(Plan {
        proof: Key,
        ..Plan::of(Software::Sshd)
    });
}

#[test]
fn pgp_both_ways_with_gnupg_over_ftps() {
    encrypted(Plan::of(Software::ProFtpd));
}

const KILLED: u64 = 24 * MIB;
const POINTS: u64 = 10;

/// Runs the command and kills it when so many bytes have come to `where_to`.
fn killed_at(
    ours: &Layover,
    verb: &str,
    arguments: &[&str],
    bytes: u64,
    mut arrived: impl FnMut() -> u64,
) -> bool {
    let mut command = ours.command();
    command.args(["integration", verb, "partner"]);
    let mut running = process::start(command.args(arguments), b"");
    wait::until("bytes to arrive", LONG, || {
        (arrived() >= bytes || !running.alive()).then_some(())
    });
    // Dropped, it is killed as a power cut would.
    running.alive()
}

fn size(file: &Path) -> u64 {
    std::fs::metadata(file).map_or(0, |file| file.len())
}

/// Killed at ten points, each time run again: whole, once, and nothing beside it.
fn killed(plan: Plan) {
    let Some((ours, theirs)) = world(plan, &[]) else {
        return;
    };
    let local = ours.scratch().join("source");
    let mut kills = 0;
    for point in 0..POINTS {
        let bytes = KILLED * point / POINTS + 1;
        let name = format!("get-{point}");
        let sum = write_file(&theirs.files().join(&name), KILLED, point);
        let get = ["out", &name, "--to", "alice:/"];
        let arrived = || {
            hidden(&ours)
                .iter()
                .map(|file| size(file))
                .max()
                .unwrap_or(0)
        };
        let here = ours.homes().join("alice").join(&name);
        if killed_at(&ours, "get", &get, bytes, arrived) {
            kills += 1;
            // Its publication may have been the last that it did.
            assert!(!here.exists() || sha256(&here) == sum, "half a file");
        }
        if !here.exists() {
            let again = moved(&ours, "get", &get);
            assert_eq!(again[0]["sha256"], sum.as_str());
        }
        assert_eq!(sha256(&here), sum);

        let name = format!("put-{point}");
        let sum = write_file(&local, KILLED, 100 + point);
        let put = ["in", &text(&local), "--as", &name];
        let there = theirs.files().join(&name);
        let partial = theirs.files().join(format!("{name}.part"));
        if killed_at(&ours, "put", &put, bytes, || size(&partial)) {
            kills += 1;
            assert!(!there.exists() || sha256(&there) == sum, "half a file");
        }
        if !there.exists() {
            let again = moved(&ours, "put", &put);
            assert_eq!(again[0]["sha256"], sum.as_str());
        }
        assert_eq!(sha256(&there), sum);
    }
    assert!(kills >= POINTS, "only {kills} were killed in the middle");
    assert_eq!(
        names(theirs.files()).len(),
        2 * 10,
        "{:?}",
        names(theirs.files())
    );
    // What a kill in its first half second leaves has no row yet: a server settles that.
    ours.start();
    let gone = || hidden(&ours).is_empty().then_some(());
    wait::until("nothing hidden to be left", LONG, gone);
    let files = ours.rows(&["file", "list", "alice"]);
    assert!(
        files.iter().all(|file| file["state"] == "stored"),
        "{files:?}"
    );
    let journal = ours.rows(&[&["journal"], PARTNER, &["--limit", "0"]].concat());
    for point in 0..POINTS {
        let whole = journal
            .iter()
            .filter(|entry| entry["outcome"] == "ok" && entry["path"] == format!("/get-{point}"));
        assert_eq!(whole.count(), 1, "{point}");
    }
}

#[test]
fn killed_in_the_middle_it_is_run_again_over_sftp() {
    killed(Plan {
        proof: Key,
        ..Plan::of(Software::Sshd)
    });
}

#[test]
fn killed_in_the_middle_it_is_run_again_over_ftps() {
    killed(Plan::of(Software::Vsftpd));
}

#[test]
fn interrupted_it_says_what_stays_and_goes_on_there() {
    let plan = Plan {
        proof: Key,
        ..Plan::of(Software::Sshd)
    };
    let Some((ours, theirs)) = world(plan, &[]) else {
        return;
    };
    let sum = write_file(&theirs.files().join("large"), 64 * MIB, 5);
    let get = ["out", "large", "--to", "alice:/"];
    let mut command = ours.command();
    command.args(["integration", "get", "partner"]).args(get);
    let running = process::start(&mut command, b"");
    wait::until("bytes to arrive", LONG, || {
        let arrived = hidden(&ours).iter().map(|file| size(file)).max();
        arrived.filter(|bytes| *bytes > 8 * MIB)
    });
    running.interrupt();
    let ran = running.finish(LONG).expect_code(1);
    assert!(ran.stderr.contains("no file is half published"), "{ran}");
    assert!(!ours.homes().join("alice/large").exists());
    let again = moved(&ours, "get", &get);
    assert!(again[0]["resumed_at"].as_u64() > Some(0), "{again:?}");
    assert_eq!(again[0]["sha256"], sum.as_str());
    let journal = ours.rows(&[&["journal"], PARTNER].concat());
    let told: Vec<_> = journal.iter().map(|entry| &entry["outcome"]).collect();
    assert_eq!(told, ["failed", "ok"]);
    assert_eq!(journal[0]["detail"]["cause"], "interrupted");
}

/// What a partner delivers goes on to another one, encrypted; both are in the journal.
#[test]
fn what_lftp_uploads_is_put_to_the_next_partner_encrypted() {
    let plan = Plan {
        proof: Key,
        ..Plan::of(Software::Sshd)
    };
    let Some((ours, theirs)) = world(plan, &[]) else {
        return;
    };
    ours.account("sender")
        .password(layover_tests::account::PASSWORD)
        .add();
    ours.start();
    let gpg = Gpg::new(&ours);
    let at = |name: &str| text(&ours.scratch().join(name));
    let exported = gpg
        .run(&["--armor", "--export", "partner@example.com"])
        .expect_ok();
    std::fs::write(at("partner.asc"), exported.stdout).expect("write the partner's key");
    ours.admin(&[
        "integration",
        "pgp",
        "set-recipient",
        "partner",
        &at("partner.asc"),
    ]);
    ours.admin(&["integration", "set", "partner", "--outbound-pgp", "yes"]);
    let sum = write_file(Path::new(&at("claims.xml")), MIB + 9, 9);
    let script = format!(
        "set cmd:fail-exit yes\nset net:max-retries 1\nset ssl:verify-certificate no\n\
         set ftp:ssl-force yes\nset ftp:ssl-protect-data yes\nopen -u sender,{} ftp://{}\n\
         put {} -o /claims.xml\n",
        layover_tests::account::PASSWORD,
        ours.ftps_address(layover_tests::ftps::Entry::Explicit),
        at("claims.xml"),
    );
    let mut command = Command::new("lftp");
    command
        .env("HOME", ours.scratch())
        .env("LFTP_HOME", ours.scratch());
    command.args(["-f", "/dev/stdin"]);
    process::run(&mut command, script.as_bytes(), LONG).expect_ok();

    moved(&ours, "put", &["in", "sender:/claims.xml"]);
    let there = text(&theirs.files().join("claims.xml"));
    gpg.run(&["--output", &at("opened"), "--decrypt", &there])
        .expect_ok();
    assert_eq!(sha256(Path::new(&at("opened"))), sum);
    let journal = ours.rows(&["journal", "--kind", "transfer", "--account", "sender"]);
    let actions: Vec<_> = journal.iter().map(|entry| &entry["action"]).collect();
    assert_eq!(actions, ["upload", "outbound.upload"]);
    assert!(journal[1]["detail"]["pgp"]["encrypted_to"].is_string());
}

#[test]
fn what_is_asked_for_wrongly_is_refused_before_anything_is_sent() {
    let ours = Setup::new(Engine::Sqlite).prepare();
    ours.account("alice").add();
    let add = [
        "integration",
        "add",
        "partner",
        "--entity",
        "acme",
        "--protocol",
        "ftps",
    ];
    let at = [
        "--host",
        "127.0.0.1",
        "--port",
        "1",
        "--username",
        "us",
        "--password-stdin",
    ];
    ours.run_with_input(&[&add[..], &at].concat(), "pw\n")
        .expect_ok();
    ours.admin(&[
        "location",
        "add",
        "partner",
        "in",
        "/in",
        "--direction",
        "upload",
    ]);
    let long = "x".repeat(2000);
    for (arguments, code, said) in [
        (
            &["get", "partner", "nowhere", "a", "--out", "."][..],
            1,
            "no location `nowhere`",
        ),
        (
            &["get", "partner", "in", "a", "--out", "."],
            1,
            "for uploads only",
        ),
        (
            &["put", "partner", "in", "a", "b", "--as", "c"],
            2,
            "there are several",
        ),
        (
            &["put", "partner", "in", "alice:/a", "--as", "../c"],
            1,
            "path separator",
        ),
        (
            &["put", "partner", "in", "alice:/a", "--as", &long],
            1,
            "longer than",
        ),
        (&["put", "partner", "in", "nobody:/a"], 1, "does not exist"),
        (
            &["put", "partner", "in", "alice:/a"],
            1,
            "`/a` does not exist",
        ),
        (&["get", "partner", "in", "a"], 2, "--to"),
        (&["put", "nobody", "in", "a"], 1, "no integration `nobody`"),
    ] {
        let mut line = vec!["integration"];
        line.extend(arguments);
        let ran = ours.run(&line).expect_code(code);
        assert!(ran.stderr.contains(said), "{said}: {ran}");
    }
}
