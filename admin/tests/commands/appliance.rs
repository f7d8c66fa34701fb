//! `serve`, `check`, `status`, `retention`: with and without a running server.

use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::place::{Place, Ran};

/// A running server; killed when dropped.
pub(crate) struct Server {
    child: Child,
    out: BufReader<ChildStdout>,
}

impl Server {
    /// Starts it and reads its output up to the line that begins with `ready:`.
    pub(crate) fn start(place: &Place, arguments: &[&str]) -> Self {
        let mut command = place.command(arguments);
        command.stderr(Stdio::null());
        Self::spawn(command)
    }

    pub(crate) fn spawn(mut command: Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .spawn()
            .expect("start the server");
        let mut out = BufReader::new(child.stdout.take().expect("stdout is piped"));
        let mut line = String::new();
        while !line.starts_with("ready:") {
            line.clear();
            assert_ne!(
                out.read_line(&mut line).expect("read"),
                0,
                "the server ended"
            );
        }
        Self { child, out }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("send a signal");
    }

    /// What it prints up to a line that contains `end`.
    pub(crate) fn read_to(&mut self, end: &str) -> String {
        let mut text = String::new();
        while !text.lines().last().unwrap_or_default().contains(end) {
            assert_ne!(
                self.out.read_line(&mut text).expect("read"),
                0,
                "no `{end}` in {text}"
            );
        }
        text
    }

    /// Asks it to stop and tells its exit code and what else it printed.
    pub(crate) fn stop(mut self) -> (Option<i32>, String) {
        self.signal(Signal::TERM);
        let mut rest = String::new();
        self.out.read_to_string(&mut rest).expect("read");
        (self.child.wait().expect("wait").code(), rest)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn finding<'a>(check: &'a Value, what: &str) -> &'a Value {
    check
        .as_array()
        .unwrap()
        .iter()
        .find(|finding| finding["what"] == what)
        .unwrap_or_else(|| panic!("no `{what}` in {check:#}"))
}

#[test]
fn a_server_is_seen_while_it_runs_and_stops_in_order() {
    let place = Place::with_account();
    assert_eq!(place.json(&["status"])["running"], false);
    place
        .run(&["status", "--health"])
        .refused(1, "no server is running");
    let unhealthy = place.run(&["status", "--health", "--json"]);
    let verdict = unhealthy.refused(1, "no server is running").json();
    assert_eq!(verdict["healthy"], false);
    assert_eq!(verdict["reason"], "no server is running here");

    let server = Server::start(&place, &["serve"]);
    let status = place.json(&["status"]);
    assert_eq!(status["running"], true);
    assert_eq!(status["accounts"], 1);
    assert_eq!(status["sessions"], 0);
    assert_eq!(status["stored_files"], 0);
    let port = status["server"]["sftp"]
        .as_str()
        .unwrap()
        .rsplit(':')
        .next()
        .unwrap()
        .to_owned();
    assert_ne!(port, "0");
    let healthy = place.json(&["status", "--health"]);
    assert_eq!(healthy["running"], true);
    assert_eq!(healthy["healthy"], true);
    assert_eq!(healthy["reason"], Value::Null);
    assert!(place.data_dir().join("addresses.json").exists());

    let (code, _) = server.stop();
    assert_eq!(code, Some(0));
    assert!(!place.data_dir().join("addresses.json").exists());
    assert_eq!(place.json(&["status"])["running"], false);
}

#[test]
fn health_is_asked_of_the_listeners_where_the_console_is_switched_off() {
    let place = Place::with_account();
    let mut command = place.command(&["serve"]);
    command.env("LAYOVER__CONSOLE__ENABLED", "false");
    let server = Server::spawn(command);
    assert_eq!(place.json(&["status", "--health"])["running"], true);
    assert_eq!(server.stop().0, Some(0));
    place
        .run(&["status", "--health"])
        .refused(1, "no server is running");
}

#[test]
fn a_server_that_a_service_manager_started_tells_it_that_it_is_ready_and_that_it_stops() {
    let place = Place::with_account();
    let folder = tempfile::tempdir().expect("make a folder");
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).expect("bind");
    let patience = Some(Duration::from_secs(60));
    socket.set_read_timeout(patience).expect("set a time-out");
    let told = || {
        let mut message = [0; 64];
        let length = socket.recv(&mut message).expect("receive");
        String::from_utf8_lossy(&message[..length]).into_owned()
    };
    let mut command = place.command(&["serve"]);
    command.env("NOTIFY_SOCKET", &path).stderr(Stdio::null());
    let server = Server::spawn(command);
    assert_eq!(told(), "READY=1");
    assert_eq!(place.json(&["status", "--health"])["running"], true);
    assert_eq!(server.stop().0, Some(0));
    assert_eq!(told(), "STOPPING=1");
}

#[test]
fn a_second_server_on_the_same_data_is_refused_and_the_first_goes_on() {
    let place = Place::with_account();
    let _server = Server::start(&place, &["serve"]);
    place.run(&["serve"]).refused(1, "another `layover serve`");
    assert_eq!(place.json(&["status"])["running"], true);
}

#[test]
fn commands_work_beside_a_running_server() {
    let place = Place::with_account();
    let _server = Server::start(&place, &["serve"]);
    place
        .run(&["account", "add", "second", "--entity", "acme"])
        .ok();
    assert_eq!(
        place.json(&["account", "list"]).as_array().unwrap().len(),
        2
    );
    assert_eq!(place.json(&["session", "list"]), json!([]));
    assert_eq!(place.json(&["file", "list", "partner"]), json!([]));
}

#[test]
fn a_server_without_accounts_says_how_to_make_the_first() {
    let place = Place::new();
    let mut server = Server::start(&place, &["serve"]);
    server.read_to("layover account add NAME --entity ENTITY --new-entity");
}

#[test]
fn a_killed_server_leaves_nothing_in_the_way_of_the_next() {
    let place = Place::with_account();
    drop(Server::start(&place, &["serve"]));
    assert_eq!(
        place.json(&["status"])["running"],
        false,
        "a stale addresses.json is no server"
    );
    let server = Server::start(&place, &["serve"]);
    assert_eq!(server.stop().0, Some(0));
}

#[test]
fn the_host_key_survives_a_restart() {
    let place = Place::new();
    let print = |place: &Place| {
        let mut server = Server::start(place, &["serve"]);
        server.read_to("host key:")
    };
    assert_eq!(print(&place), print(&place));
}

#[test]
fn a_check_before_the_first_start_is_good_and_makes_nothing() {
    let place = Place::new();
    let check = place.json(&["check"]);
    for what in [
        "settings",
        "data directory",
        "homes",
        "SSH host key",
        "SFTP port",
        "retention",
        "database",
    ] {
        assert_eq!(finding(&check, what)["state"], "ready", "{what}");
    }
    assert_eq!(finding(&check, "FTPS port")["state"], "ready");
    assert!(!place.data_dir().exists());
}

/// What `check` says of the homes, which must be one line and not ready.
#[track_caller]
fn homes_not_ready(place: &Place) -> String {
    let check = place.run(&["check", "--json"]);
    assert_eq!(check.code, Some(1), "{check:?}");
    let check = check.json();
    let of_homes = check.as_array().unwrap().iter();
    assert_eq!(of_homes.filter(|line| line["what"] == "homes").count(), 1);
    let homes = finding(&check, "homes");
    assert_eq!(homes["state"], "not_ready", "{homes}");
    let step = homes["next_step"].as_str().unwrap();
    assert!(step.contains("mount the storage"), "{homes}");
    homes["detail"].as_str().unwrap().to_owned()
}

#[test]
fn a_check_finds_homes_that_are_absent_not_mounted_or_of_another_database() {
    let place = Place::with_account();
    let homes = place.data_dir().join("homes");
    std::fs::create_dir_all(homes.join("partner")).unwrap();
    // Another node that lives makes the homes needed: here, the server itself.
    let _server = Server::start(&place, &["serve"]);
    assert_eq!(finding(&place.json(&["check"]), "homes")["state"], "ready");

    let aside = place.path().join("aside");
    std::fs::rename(&homes, &aside).unwrap();
    assert!(homes_not_ready(&place).contains("has no storage id"));
    assert!(!homes.exists(), "a check makes nothing");

    std::fs::create_dir(&homes).unwrap();
    assert!(homes_not_ready(&place).contains("has no storage id"));
    assert_eq!(std::fs::read_dir(&homes).unwrap().count(), 0);
    std::fs::remove_dir(&homes).unwrap();

    let other = Place::new();
    assert_eq!(Server::start(&other, &["serve"]).stop().0, Some(0));
    std::fs::rename(other.data_dir().join("homes"), &homes).unwrap();
    assert!(homes_not_ready(&place).contains("is storage `"));
}

#[test]
fn a_check_names_accounts_that_cannot_log_in() {
    let place = Place::with_account();
    place
        .run(&[
            "account",
            "add",
            "lost",
            "--entity",
            "acme",
            "--generate-password",
        ])
        .ok();
    let check = place.json(&["check"]);
    let networks = finding(&check, "networks");
    assert_eq!(networks["state"], "notice");
    assert!(
        networks["detail"].as_str().unwrap().contains("lost"),
        "{networks}"
    );
    assert!(
        !networks["detail"].as_str().unwrap().contains("partner"),
        "{networks}"
    );
    assert!(
        finding(&check, "credentials")["detail"]
            .as_str()
            .unwrap()
            .contains("partner")
    );
}

#[test]
fn a_check_finds_the_port_that_another_program_holds() {
    let place = Place::new();
    let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = held.local_addr().unwrap().port();
    place.settings(&format!("[sftp]\nlisten = \"127.0.0.1\"\nport = {port}\n"));
    let check = place.run(&["check", "--json"]);
    assert_eq!(check.code, Some(1), "{check:?}");
    assert_eq!(finding(&check.json(), "SFTP port")["state"], "not_ready");
    place.run(&["serve"]).refused(1, "[sftp] port");
    assert!(!place.data_dir().exists(), "a refused start makes nothing");

    let missing = "[sftp]\nport = 0\ntrusted_user_ca_keys = [\"missing.pub\"]\n";
    place.settings(missing);
    place.run(&["serve"]).refused(1, "missing.pub");
    place.settings("[sftp]\nport = 0\nhost_keys = [\"file:missing\"]\n");
    place.run(&["serve"]).refused(1, "missing");
    assert!(!place.data_dir().exists(), "a refused start makes nothing");
}

#[test]
fn a_public_address_is_judged_alike_by_check_and_serve() {
    let place = Place::new();
    let settings = |address: &str| {
        place.settings(&format!(
            "[sftp]\nlisten = \"127.0.0.1\"\nport = 0\n[ftps]\npublic_address = {address}\n"
        ));
    };
    for address in ["\"2001:db8::1\"", "[{ from = \"any\", address = \"::1\" }]"] {
        settings(address);
        let check = place.run(&["check", "--json"]);
        assert_eq!(check.code, Some(1), "{check:?}");
        let found = finding(&check.json(), "settings").clone();
        let detail = found["detail"].as_str().unwrap();
        assert!(detail.contains("only PASV tells an address"), "{found}");
        place
            .run(&["serve"])
            .refused(1, "only PASV tells an address");
    }
    assert!(!place.data_dir().exists(), "a refused start makes nothing");

    settings("[{ from = \"10.0.0.0/8\", address = \"localhost\" }]");
    let check = place.json(&["check"]);
    let found = finding(&check, "public address");
    assert_eq!(found["state"], "ready");
    assert_eq!(found["detail"], "told by PASV: localhost is 127.0.0.1");
    assert_eq!(Server::start(&place, &["serve"]).stop().0, Some(0));
}

/// Certificate and key of a fresh place, whose own certificate is copied, so that a test
/// can damage and renew them.
fn with_certificate(place: &Place) -> std::path::PathBuf {
    assert_eq!(Server::start(place, &["serve"]).stop().0, Some(0));
    let file = place.path().join("own.pem");
    std::fs::copy(place.data_dir().join("keys/ftps.pem"), &file).unwrap();
    place.settings(
        "[sftp]\nlisten = \"127.0.0.1\"\nport = 0\n\
         [ftps]\ncertificate = \"own.pem\"\nprivate_key = \"file:own.pem\"\n",
    );
    file
}

#[test]
fn the_days_of_the_certificate_are_told() {
    let place = Place::new();
    with_certificate(&place);
    let check = place.json(&["check"]);
    let detail = finding(&check, "TLS certificate")["detail"].clone();
    assert!(detail.as_str().unwrap().contains("days left"), "{detail}");

    let _server = Server::start(&place, &["serve"]);
    let status = place.json(&["status"]);
    // Ten years, from this month on.
    let days = status["tls_days_left"].as_u64().unwrap();
    assert!((3_600..=3_653).contains(&days), "{status:#}");
    assert_eq!(status["tls_warning"], Value::Null);
    let print = status["server"]["tls_certificate"]["fingerprint"].clone();
    assert!(detail.as_str().unwrap().contains(print.as_str().unwrap()));
    let shown = place.run(&["status"]).ok().stdout;
    assert!(shown.contains(print.as_str().unwrap()), "{shown}");
}

#[test]
fn a_renewed_certificate_and_a_broken_one_are_in_status_and_journal() {
    let place = Place::new();
    let file = with_certificate(&place);
    let other = Place::new();
    let renewed = with_certificate(&other);
    let server = Server::start(&place, &["serve"]);
    let certificate = || place.json(&["status"])["server"]["tls_certificate"].clone();
    let until = |done: &dyn Fn(&Value) -> bool| {
        for _ in 0..500 {
            let seen = certificate();
            if done(&seen) {
                return seen;
            }
            std::thread::yield_now();
        }
        panic!("the status does not change: {:#}", certificate());
    };
    let first = certificate()["fingerprint"].clone();

    std::fs::write(&file, "damaged").unwrap();
    server.signal(Signal::HUP);
    let broken = until(&|seen| seen["fault"] != Value::Null);
    assert_eq!(broken["fingerprint"], first, "the old one stays");
    let shown = place.run(&["status"]).ok().stdout;
    assert!(shown.contains("stays in use"), "{shown}");
    let check = place.run(&["check", "--json"]).json();
    assert_eq!(finding(&check, "TLS certificate")["state"], "not_ready");

    std::fs::copy(&renewed, &file).unwrap();
    server.signal(Signal::HUP);
    let second = until(&|seen| seen["fault"] == Value::Null);
    assert_ne!(second["fingerprint"], first);
    assert_eq!(server.stop().0, Some(0));

    let journal = place.json(&["journal", "--kind", "system"]);
    let entries: Vec<_> = journal
        .as_array()
        .unwrap()
        .iter()
        .filter(|entry| entry["action"] == "certificate.renew")
        .collect();
    let outcomes: Vec<_> = entries.iter().map(|entry| &entry["outcome"]).collect();
    assert_eq!(outcomes, ["failed", "ok"], "{journal:#}");
    assert_eq!(entries[0]["detail"]["in_use"], first);
    assert_eq!(entries[1]["detail"]["from"], first);
    assert_eq!(entries[1]["detail"]["to"], second["fingerprint"]);
    assert_eq!(entries[1]["detail"]["not_after"], second["not_after"]);
}

#[test]
fn a_certificate_whose_key_is_another_is_refused_by_check_and_serve() {
    let place = Place::new();
    with_certificate(&place);
    let other = Place::new();
    let foreign = with_certificate(&other);
    std::fs::copy(foreign, place.path().join("foreign.pem")).unwrap();
    place.settings(
        "[sftp]\nlisten = \"127.0.0.1\"\nport = 0\n\
         [ftps]\ncertificate = \"own.pem\"\nprivate_key = \"file:foreign.pem\"\n",
    );
    let check = place.run(&["check", "--json"]).json();
    let found = finding(&check, "TLS certificate");
    assert_eq!(found["state"], "not_ready");
    let told = "does not belong to the first certificate";
    assert!(found["detail"].as_str().unwrap().contains(told), "{found}");
    place.run(&["serve"]).refused(1, told);
}

#[test]
fn a_check_finds_names_that_the_certificate_does_not_bear_and_a_key_that_others_may_read() {
    use std::os::unix::fs::PermissionsExt as _;

    let place = Place::new();
    drop(Server::start(&place, &["serve"]));
    let whats = |check: &Value| -> Vec<String> {
        let found = check.as_array().unwrap().iter();
        let told = found.filter(|finding| finding["state"] == "notice");
        told.map(|finding| finding["what"].as_str().unwrap().to_owned())
            .filter(|what| what.starts_with("TLS"))
            .collect()
    };
    assert!(whats(&place.json(&["check"])).is_empty());
    let free = "[sftp]\nlisten = \"127.0.0.1\"\nport = 0\n";
    place.settings(&format!(
        "[server]\npublic_name = \"files.example.org\"\n{free}"
    ));
    let key = place.data_dir().join("keys/ftps.pem");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o640)).unwrap();
    let check = place.json(&["check"]);
    assert_eq!(
        whats(&check),
        ["TLS certificate's names", "TLS private key"]
    );
    let names = &finding(&check, "TLS certificate's names")["detail"];
    let told = "`files.example.org` ([server] public_name)";
    assert!(names.as_str().unwrap().contains(told), "{names}");
    let found = &finding(&check, "TLS private key")["detail"];
    assert!(found.as_str().unwrap().contains("mode 640"), "{found}");
    // By address it is made for loopback alone.
    place.settings(&format!("[server]\npublic_name = \"127.0.0.1\"\n{free}"));
    assert_eq!(whats(&place.json(&["check"])), ["TLS private key"]);
}

#[test]
fn a_check_names_accounts_whose_protocols_are_switched_off() {
    let place = Place::with_account();
    let add = [
        "account",
        "add",
        "old",
        "--entity",
        "acme",
        "--generate-password",
    ];
    place
        .run(&[&add[..], &["--allow", "127.0.0.1", "--protocols", "ftps"]].concat())
        .ok();
    let protocols = |check: &Value| {
        let mut found = check.as_array().unwrap().iter();
        found
            .find(|finding| finding["what"] == "protocols")
            .map(|finding| finding["detail"].as_str().unwrap().to_owned())
    };
    let sftp = "[sftp]\nlisten = \"127.0.0.1\"\nport = 0\n";
    place.settings(&format!("{sftp}[ftps]\nexplicit_enabled = false\n"));
    assert_eq!(
        protocols(&place.json(&["check"])),
        None,
        "implicit is there"
    );
    place.settings(&format!(
        "{sftp}[ftps]\nexplicit_enabled = false\nimplicit_enabled = false\n"
    ));
    let detail = protocols(&place.json(&["check"])).expect("told");
    assert!(
        detail.contains("old") && !detail.contains("partner"),
        "{detail}"
    );
}

#[test]
fn a_certificate_in_der_form_is_refused_with_the_way_to_pem() {
    let place = Place::new();
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    for (name, content) in [
        (
            "own.pem",
            (key.serialize_pem() + &certificate.pem()).as_bytes(),
        ),
        ("own.der", certificate.der()),
        ("key.der", &key.serialize_der()),
    ] {
        std::fs::write(place.path().join(name), content).unwrap();
    }
    for (certificate, key, told) in [
        ("own.der", "own.pem", "openssl x509 -inform der"),
        ("own.pem", "key.der", "openssl pkey -inform der"),
    ] {
        place.settings(&format!(
            "[sftp]\nlisten = \"127.0.0.1\"\nport = 0\n\
             [ftps]\ncertificate = \"{certificate}\"\nprivate_key = \"file:{key}\"\n"
        ));
        let check = place.run(&["check", "--json"]).json();
        let found = finding(&check, "TLS certificate");
        assert_eq!(found["state"], "not_ready");
        assert!(found["detail"].as_str().unwrap().contains(told), "{found}");
        place.run(&["serve"]).refused(1, told);
    }
}

#[test]
fn passive_ports_that_others_hold_are_counted_and_named() {
    let place = Place::new();
    let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = held.local_addr().unwrap().port();
    let settings = |range: String| {
        place.settings(&format!(
            "[sftp]\nlisten = \"127.0.0.1\"\nport = 0\n[ftps]\npassive_ports = \"{range}\"\n"
        ));
    };
    settings(format!("{port}-{port}"));
    let check = place.run(&["check", "--json"]).json();
    let found = finding(&check, "passive ports");
    assert_eq!(found["state"], "not_ready", "{found}");

    let first = port.saturating_sub(9);
    settings(format!("{first}-{port}"));
    let check = place.json(&["check"]);
    let found = finding(&check, "passive ports");
    let detail = found["detail"].as_str().unwrap();
    assert_eq!(found["state"], "notice", "{found}");
    assert!(detail.contains("of 10 ports"), "{found}");

    let mut serve = place.command(&["serve"]);
    let log = std::fs::File::create(place.path().join("log")).unwrap();
    serve.stderr(log);
    assert_eq!(Server::spawn(serve).stop().0, Some(0));
    let log = std::fs::read_to_string(place.path().join("log")).unwrap();
    assert!(
        log.contains("of the 10 ports of [ftps] passive_ports"),
        "{log}"
    );
    drop(held);
}

#[test]
fn the_retention_rule_and_an_empty_sweep_are_told() {
    let place = Place::with_account();
    let status = place.json(&["retention", "status"]);
    assert_eq!(status["keep"], "5d");
    assert_eq!(status["max_keep"], "5d");
    assert_eq!(status["due_files"], 0);
    assert_eq!(place.json(&["retention", "sweep", "--dry-run"]), json!([]));
    assert_eq!(place.json(&["retention", "sweep"])["deleted"], 0);
}

#[test]
fn a_second_signal_ends_a_stopping_server_at_once() {
    let place = Place::new();
    let server = Server::start(&place, &["serve"]);
    server.signal(Signal::INT);
    let (code, _) = server.stop();
    assert_eq!(code, Some(0));
}

#[test]
fn a_host_key_that_is_damaged_is_told_and_kept() {
    let place = Place::new();
    drop(Server::start(&place, &["serve"]));
    let key = place.data_dir().join("keys/ssh_host_ed25519_key");
    std::fs::write(&key, "damaged").unwrap();
    place.run(&["serve"]).refused(1, "no OpenSSH private key");
    assert_eq!(std::fs::read(&key).unwrap(), b"damaged");
    let check: Ran = place.run(&["check", "--json"]);
    assert_eq!(finding(&check.json(), "SSH host key")["state"], "not_ready");
}

/// More connections than the limited server has descriptors, held until it says
/// that it can take no more.
fn exhaust(address: SocketAddr, log: &Path) -> Vec<TcpStream> {
    let held = (0..100)
        .map(|_| TcpStream::connect(address).expect("connect"))
        .collect();
    let starved = || {
        std::fs::read_to_string(log)
            .unwrap()
            .contains("cannot be accepted")
    };
    for _ in 0..200_000 {
        if starved() {
            return held;
        }
        std::thread::yield_now();
    }
    panic!("the limit on open files has no effect")
}

#[test]
fn a_server_without_free_descriptors_recovers_when_some_are_given_back() {
    let place = Place::with_account();
    let log = place.path().join("log");
    let layover = place.command(&["serve"]);
    let mut limited = Command::new("sh");
    limited
        .args(["-c", "ulimit -n 64 && exec \"$0\" serve 2>\"$1\""])
        .arg(layover.get_program())
        .arg(&log)
        .envs(
            layover
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        )
        .current_dir(place.path())
        .stdin(Stdio::null());
    let server = Server::spawn(limited);
    let address = place.json(&["status"])["server"]["sftp"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    drop(exhaust(address, &log));
    let mut banner = [0_u8; 8];
    TcpStream::connect(address)
        .unwrap()
        .read_exact(&mut banner)
        .expect("a banner");
    assert_eq!(&banner, b"SSH-2.0-");
    assert_eq!(server.stop().0, Some(0));
}
