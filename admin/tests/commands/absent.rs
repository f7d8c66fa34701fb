//! What commands do where there is no data, no database, or no way to them.

use std::fs;
use std::io::{Read, Write};
use std::process::Stdio;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use serde_json::Value;

use crate::appliance::Server;
use crate::place::{Place, Ran};

#[test]
fn only_a_command_that_begins_something_makes_data() {
    for arguments in [
        &["account", "list"][..],
        &["entity", "list"],
        &["entity", "remove", "acme"],
        &["account", "disable", "partner"],
        &["account", "password", "partner", "--generate"],
        &["file", "list", "partner"],
        &["retention", "status"],
        &["retention", "sweep"],
        &["session", "list"],
        &["journal"],
        &["status"],
    ] {
        let place = Place::new();
        let refused = place.run(arguments).refused(1, "no Layover data at ");
        let data_dir = place.data_dir().display().to_string();
        for part in [&data_dir, "data_dir of the defaults", "next: "] {
            assert!(refused.stderr.contains(part), "no {part} in {refused:?}");
        }
        let left = fs::read_dir(place.path()).unwrap().count();
        assert_eq!(left, 1, "{arguments:?} leaves only layover.toml");
    }
    Place::new().run(&["entity", "add", "acme"]).ok();
}

#[test]
fn the_settings_file_that_names_the_missing_data_is_told() {
    let place = Place::new();
    place.settings("data_dir = \"elsewhere\"\n");
    place
        .run(&["account", "list"])
        .refused(1, "elsewhere (data_dir of ./layover.toml)");
    assert!(!place.path().join("elsewhere").exists());
}

fn state_of(ran: &Ran, what: &str) -> Value {
    let findings = ran.json();
    let findings = findings.as_array().unwrap();
    let found = findings.iter().find(|finding| finding["what"] == what);
    found.unwrap_or_else(|| panic!("no {what} in {ran:?}"))["state"].clone()
}

#[test]
fn a_check_before_the_first_start_finds_what_serve_would_stumble_over() {
    let nobody_listens = std::net::TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .unwrap();
    for (what, settings) in [
        (
            "database",
            format!("[database]\nurl = \"postgres://u@{nobody_listens}/d\"\n"),
        ),
        (
            "database",
            "[database]\nurl = \"env:NOT_SET_ANYWHERE\"\n".to_owned(),
        ),
        (
            "database",
            "[database]\nurl = \"file:/nonexistent/url\"\n".to_owned(),
        ),
        (
            "database",
            "[database]\nurl = \"sqlite:missing/folder/layover.db\"\n".to_owned(),
        ),
        ("homes", "[storage]\nhomes = \"layover.toml\"\n".to_owned()),
        ("data directory", "data_dir = \"layover.toml\"\n".to_owned()),
        (
            "data directory",
            "data_dir = \"layover.toml/data\"\n".to_owned(),
        ),
    ] {
        let place = Place::new();
        place.settings(&settings);
        let ran = place
            .run(&["check", "--json"])
            .refused(1, "not everything is ready");
        assert_eq!(state_of(&ran, what), "not_ready", "{settings}");
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1, "{settings}");
        // The check tells the truth: the server does not start.
        assert_eq!(place.run(&["serve"]).code, Some(1), "{settings}");
    }
    let place = Place::new();
    let ran = place.run(&["check", "--json"]).ok();
    assert_eq!(state_of(&ran, "database"), "ready");
    assert!(!place.data_dir().exists());
}

#[test]
fn a_refused_connection_is_said_once_and_what_to_do_next() {
    let place = Place::new();
    place.settings("[database]\nurl = \"postgres://u@127.0.0.1:1/d\"\n");
    let refused = place.run(&["account", "list"]).refused(1, "next: ");
    let said = refused.stderr.to_lowercase();
    assert_eq!(said.matches("connection refused").count(), 1, "{said}");
}

#[test]
fn the_demo_listens_on_loopback_unless_settings_say_otherwise() {
    let place = Place::new();
    for (settings, listens) in [("", "127.0.0.1:"), ("listen = \"0.0.0.0\"\n", "0.0.0.0:")] {
        place.settings(&format!("[sftp]\nport = 0\n{settings}"));
        let server = Server::start(&place, &["serve", "--demo"]);
        let addresses = fs::read_to_string(place.path().join("demo-data/addresses.json")).unwrap();
        let addresses: Value = serde_json::from_str(&addresses).unwrap();
        let sftp = addresses["sftp"].as_str().unwrap();
        assert!(sftp.starts_with(listens), "{sftp}");
        assert_eq!(server.stop().0, Some(0));
    }
}

/// Runs `account password partner --stdin` at a terminal, answers each question
/// when it is asked, and tells the result and what the terminal showed.
fn at_a_terminal(place: &Place, answers: [&str; 2]) -> (Ran, String) {
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&terminal).unwrap();
    unlockpt(&terminal).unwrap();
    let name = ptsname(&terminal, Vec::new()).unwrap();
    let keyboard = fs::File::options()
        .read(true)
        .write(true)
        .open(name.to_str().unwrap())
        .unwrap();
    // Held open, so that the terminal can be read to the mark at the end.
    let mut screen = keyboard.try_clone().unwrap();
    let mut child = place
        .command(&["account", "password", "partner", "--stdin"])
        .stdin(keyboard)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut terminal = fs::File::from(terminal);
    let mut stderr = child.stderr.take().unwrap();
    let mut asked = Vec::new();
    for (answer, questions) in answers.iter().zip(1..) {
        while asked.windows(2).filter(|end| end == b": ").count() < questions {
            let mut byte = [0];
            stderr.read_exact(&mut byte).expect("a question");
            asked.extend(byte);
        }
        writeln!(terminal, "{answer}").unwrap();
    }
    stderr.read_to_end(&mut asked).unwrap();
    let mut ran = Ran::from(child.wait_with_output().unwrap());
    ran.stderr = String::from_utf8(asked).unwrap();
    write!(screen, "#").unwrap();
    let mut shown = Vec::new();
    while shown.last() != Some(&b'#') {
        let mut byte = [0];
        terminal.read_exact(&mut byte).unwrap();
        shown.extend(byte);
    }
    (ran, String::from_utf8(shown).unwrap())
}

#[test]
fn a_password_typed_at_a_terminal_is_asked_for_twice_and_not_shown() {
    let place = Place::with_account();
    let typed = "correct horse battery";
    let (ran, shown) = at_a_terminal(&place, [typed, typed]);
    assert_eq!(shown, "#");
    assert!(ran.ok().stderr.contains("New password: "));
    let (ran, shown) = at_a_terminal(&place, [typed, "correct horse batterie"]);
    assert_eq!(shown, "#");
    ran.refused(1, "differ");
}

#[test]
fn data_of_another_user_is_left_alone_also_by_root() {
    let place = Place::with_account();
    let nobody = 65_534;
    if std::os::unix::fs::chown(place.data_dir(), Some(nobody), None).is_err() {
        eprintln!("skipped: only root can give a folder away");
        return;
    }
    for command in [
        &["account", "list"][..],
        &["entity", "add", "other"],
        &["integration", "list"],
    ] {
        let ran = place.run(command).refused(1, "number 65534");
        assert!(ran.stderr.contains("sudo -u '#65534' layover"), "{ran:?}");
    }
}
