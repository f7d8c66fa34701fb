//! The connection kit: a partner with nothing but its files, and clients that check strictly.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use layover_tests::account::{Account, PASSWORD};
use layover_tests::filezilla::{FileZilla, Side, Sites};
use layover_tests::ftps::{Entry, FtpsLogin};
use layover_tests::process::{self, Ran};
use layover_tests::wait::PATIENCE;
use layover_tests::{Engine, Layover, Setup, on_both_engines, tree};

/// What a partner was sent, and what it knows beside it.
pub(crate) struct Partner {
    kit: PathBuf,
    /// A home with nothing but what the kit tells to put there.
    home: PathBuf,
    account: Account,
}

impl Partner {
    /// With a kit of this moment, in a directory of this name.
    pub(crate) fn with_kit(layover: &Layover, account: Account, name: &str) -> Self {
        let kit = account.client_dir.join(name);
        let out = kit.to_string_lossy().into_owned();
        layover.admin(&["account", "kit", &account.name, "--out", &out]);
        let home = account.client_dir.join("home");
        fs::create_dir_all(home.join(".ssh")).expect("make a home");
        Self { kit, home, account }
    }

    pub(crate) fn file(&self, name: &str) -> String {
        fs::read_to_string(self.kit.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(&self.kit)
            .env("HOME", &self.home)
            .env("CURL_HOME", &self.home)
            .env_remove("SSH_AUTH_SOCK");
        command
    }

    pub(crate) fn sftp(&self, commands: &str) -> Ran {
        self.sftp_with(&[], commands)
    }

    pub(crate) fn sftp_with(&self, options: &[&str], commands: &str) -> Ran {
        let mut command = self.command("sftp");
        command.args(["-F", "ssh_config", "-b", "-"]).args(options);
        let key = self.account.key.private();
        command.args(["-o", &format!("IdentityFile={}", key.display())]);
        process::run(command.arg("partner"), commands.as_bytes(), PATIENCE)
    }

    fn lftp(&self, bookmark: &str, commands: &str) -> Ran {
        let mut command = self.command("lftp");
        command.env("LFTP_HOME", "lftp");
        // Without a terminal it cannot ask.
        let login = format!("{},{PASSWORD}", self.account.name);
        let commands = format!(
            "set net:max-retries 1; set net:timeout 60; open -u {login} {bookmark}; {commands}"
        );
        process::run(command.args(["-c", &commands]), b"", PATIENCE)
    }

    /// A line of `curl.txt` as it stands there, with this file; curl asks for the password, and
    /// without a terminal it reads it from its input.
    fn curl(&self, line: &str, file: &str) -> Ran {
        fs::copy(
            self.kit.join("known_hosts"),
            self.home.join(".ssh/known_hosts"),
        )
        .expect("add the lines of known_hosts");
        let line = line.replace("FILE", file);
        let mut command = self.command("setsid");
        command.args([
            "--wait",
            "sh",
            "-c",
            &format!("{line} --silent --show-error"),
        ]);
        process::run(&mut command, format!("{PASSWORD}\n").as_bytes(), PATIENCE)
    }

    /// The lines of `curl.txt` that list, put and get, by way in.
    fn curl_lines(&self) -> BTreeMap<String, [String; 3]> {
        let text = self.file("curl.txt");
        let mut lines = BTreeMap::new();
        for part in text.split("\n# ").skip(1) {
            let mut rows = part.lines().map(str::to_owned);
            let title = rows.next().expect("a title");
            let [list, put, get] = [(); 3].map(|()| rows.next().expect("a line"));
            lines.insert(title, [list, put, get]);
        }
        lines
    }
}

fn serve(engine: Engine) -> (Layover, Partner) {
    // Debian 12's curl knows no newer algorithms.
    let layover = Setup::new(engine)
        .set("sftp", "algorithms", "\"compatible\"")
        .prepare();
    let account = layover.account("partner").password(PASSWORD).add();
    layover.start();
    let partner = Partner::with_kit(&layover, account, "kit");
    (layover, partner)
}

on_both_engines!(
    a_partner_moves_files_with_the_kit_alone,
    an_account_gets_only_what_it_may_use,
);

fn a_partner_moves_files_with_the_kit_alone(engine: Engine) {
    let (layover, partner) = serve(engine);
    let home = layover.homes().join("partner");
    let local = |name: &str| partner.kit.join(name);
    let arrived = |name: &str, text: &str| {
        let found = fs::read_to_string(home.join(name));
        assert_eq!(found.expect(name), text, "{name}");
    };

    fs::write(local("sftp.txt"), "by sftp").expect("write");
    partner
        .sftp("put sftp.txt\nget sftp.txt sftp.back\n")
        .expect_ok();
    arrived("sftp.txt", "by sftp");
    assert_eq!(partner.file("sftp.back"), "by sftp");

    for bookmark in ["partner-sftp", "partner-ftps", "partner-ftps-implicit"] {
        fs::write(local(bookmark), bookmark).expect("write");
        let commands = format!("put {bookmark}; get {bookmark} -o {bookmark}.back");
        partner.lftp(bookmark, &commands).expect_ok();
        arrived(bookmark, bookmark);
        assert_eq!(partner.file(&format!("{bookmark}.back")), bookmark);
    }

    let lines = partner.curl_lines();
    assert_eq!(lines.len(), 3, "{lines:?}");
    for (number, (title, [list, put, get])) in lines.iter().enumerate() {
        let name = format!("curl{number}");
        fs::write(local(&name), title).expect("write");
        partner.curl(put, &name).expect_ok();
        arrived(&name, title);
        fs::remove_file(local(&name)).expect("remove");
        partner.curl(get, &name).expect_ok();
        assert_eq!(&partner.file(&name), title);
        let listed = partner.curl(list, "").expect_ok();
        assert!(listed.stdout.contains(&name), "{listed}");
    }
}

#[test]
fn clients_with_the_kit_refuse_another_server() {
    let (layover, partner) = serve(Engine::Sqlite);
    let other = Setup::new(Engine::Sqlite)
        .set("sftp", "algorithms", "\"compatible\"")
        .prepare();
    let stranger = other.account("partner").password(PASSWORD).add();
    other.start();
    let theirs = Partner::with_kit(&other, stranger, "kit");
    // What the other server would have to be, at the place of this one.
    let port = layover.sftp_address().port();
    let port_there = other.sftp_address().port();
    let known = theirs.file("known_hosts");
    fs::write(
        partner.kit.join("known_hosts"),
        known.replace(&format!("]:{port_there} "), &format!("]:{port} ")),
    )
    .expect("exchange the host keys");
    fs::copy(
        theirs.kit.join("tls-certificate.pem"),
        partner.kit.join("tls-certificate.pem"),
    )
    .expect("exchange the certificate");

    let ran = partner.sftp("ls\n");
    assert!(!ran.ok(), "{ran}");
    assert!(ran.stderr.contains("Host key verification failed"), "{ran}");
    for bookmark in ["partner-sftp", "partner-ftps", "partner-ftps-implicit"] {
        let ran = partner.lftp(bookmark, "ls");
        assert!(!ran.ok(), "{ran}");
    }
    for [list, ..] in partner.curl_lines().values() {
        let ran = partner.curl(list, "");
        // 60: the certificate or the host key is not that of the server; 51 in older ones.
        assert!(matches!(ran.code, Some(51 | 60)), "{ran}");
    }
    let logins = layover.rows(&["journal", "--kind", "login"]);
    assert!(
        logins.iter().all(|entry| entry["outcome"] != "ok"),
        "{logins:?}"
    );
}

fn an_account_gets_only_what_it_may_use(engine: Engine) {
    let layover = Setup::new(engine).prepare();
    // By key alone: over FTPS it has nothing to show.
    layover.account("partner").add();
    layover
        .account("ftps-only")
        .password(PASSWORD)
        .with(&["--protocols", "ftps"])
        .add();
    layover.start();
    let kit = |account: &str| {
        let out = layover.scratch().join(account);
        let told = layover.json(&["account", "kit", account, "--out", &out.to_string_lossy()]);
        let files: Vec<_> = tree::files(&out)
            .into_keys()
            .map(|name| String::from_utf8(name).expect("a name"))
            .map(|name| name.trim_start_matches('/').to_owned())
            .collect();
        (told, out, files)
    };
    let (told, out, files) = kit("partner");
    let names = ["README.txt", "curl.txt", "filezilla.xml", "known_hosts"];
    let more = ["lftp/bookmarks", "lftp/rc", "ssh_config", "winscp.ini"];
    assert_eq!(files, [names, more].concat());
    assert_eq!(told["ftps_port"], serde_json::Value::Null, "{told}");
    for name in &files {
        let path = out.join(name);
        let text = fs::read_to_string(&path).expect("read");
        assert!(
            !text.to_ascii_lowercase().contains("ftps"),
            "{name}: {text}"
        );
        let mode = fs::metadata(&path).expect("look").permissions().mode();
        assert_eq!(mode & 0o7777 & !0o644, 0, "{name}");
    }

    let (told, out, files) = kit("ftps-only");
    let names = ["README.txt", "curl.txt", "filezilla.xml", "lftp/bookmarks"];
    let more = ["lftp/rc", "tls-certificate.pem", "winscp.ini"];
    assert_eq!(files, [&names[..], &more].concat());
    assert_eq!(told["sftp_port"], serde_json::Value::Null, "{told}");
    for name in &files {
        let text = fs::read_to_string(out.join(name)).expect("read");
        assert!(
            !text.to_ascii_lowercase().contains("sftp"),
            "{name}: {text}"
        );
        assert!(!text.contains("PRIVATE KEY"), "{name}");
        assert!(!text.contains(PASSWORD), "{name}");
    }
}

#[test]
fn filezilla_connects_by_the_kits_site() {
    let (layover, partner) = serve(Engine::Sqlite);
    let local = partner.account.client_dir.join("source");
    fs::create_dir(&local).expect("make a folder");
    fs::write(local.join("by-filezilla.bin"), "a file").expect("write");
    let xml = partner.file("filezilla.xml");
    for (entry, name) in [
        (Entry::Explicit, "partner FTPS"),
        (Entry::Implicit, "partner FTPS implicit"),
    ] {
        let login = FtpsLogin {
            layover: &layover,
            account: &partner.account,
            entry,
        };
        let sites = Sites {
            name,
            host: "localhost",
            xml: &xml,
        };
        let mut filezilla = FileZilla::open_site(&login, &local, &sites);
        if entry == Entry::Explicit {
            filezilla.transfer_all(Side::Local);
            filezilla.expect_in_log("File transfer successful", 1);
        }
    }
    let arrived = layover.homes().join("partner/by-filezilla.bin");
    assert_eq!(fs::read_to_string(arrived).expect("the file"), "a file");
}

/// The words are for people; that they name what they must is all that is looked at.
#[test]
fn the_readme_tells_ports_addresses_fingerprints_and_the_retention_rule() {
    let layover = Setup::new(Engine::Sqlite)
        .set("ftps", "public_address", "\"203.0.113.5\"")
        .set("ftps", "session_reuse", "\"require\"")
        .set("retention", "keep", "\"36h\"")
        .prepare();
    let account = layover
        .account("it@acme.example")
        .password(PASSWORD)
        .only_from(&["192.0.2.0/24", "127.0.0.1"])
        .add();
    layover.start();
    layover.admin(&[
        "retention",
        "folder",
        "set",
        "it@acme.example",
        "/short",
        "--keep",
        "2h",
        "--reason",
        "x",
    ]);
    let name = account.name.clone();
    let partner = Partner::with_kit(&layover, account, "kit");
    let readme = partner.file("README.txt");
    let told = layover.json(&["status"]);
    let print = told["server"]["tls_certificate"]["fingerprint"]
        .as_str()
        .expect("a fingerprint")
        .trim_start_matches("SHA256:")
        .to_ascii_uppercase();
    let shown = readme.replace([':', '\n', ' '], "");
    assert!(shown.contains(&print), "{print}: {readme}");
    let port = |entry| layover.ftps_address(entry).port().to_string();
    for words in [
        name.as_str(),
        "localhost (203.0.113.5)",
        "192.0.2.0/24",
        "127.0.0.1",
        "31000-32000",
        "36 hours",
        "/short",
        "2 hours",
        "SHA256:",
        "must resume the TLS session",
        &port(Entry::Explicit),
        &port(Entry::Implicit),
        &layover.sftp_address().port().to_string(),
    ] {
        assert!(readme.contains(words), "`{words}` is missing in\n{readme}");
    }
    // What would mean something else in a `Host` line, a bookmark's name and a URL.
    assert!(
        partner
            .file("ssh_config")
            .contains("Host it-acme.example localhost")
    );
    assert!(partner.file("ssh_config").contains("User it@acme.example"));
    let bookmarks = partner.file("lftp/bookmarks");
    assert!(bookmarks.contains("it-acme.example-sftp\tsftp://it%40acme.example@localhost:"));
}
