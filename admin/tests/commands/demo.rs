//! `serve --demo`.

use crate::appliance::Server;
use crate::place::{Place, Ran};

fn line_with<'a>(text: &'a str, word: &str) -> &'a str {
    text.lines()
        .find(|line| line.contains(word))
        .unwrap_or_else(|| panic!("no {word} in {text}"))
}

#[test]
fn the_demo_prints_all_that_is_needed_and_keeps_to_its_own_data() {
    let place = Place::new();
    let mut server = Server::start(&place, &["serve", "--demo"]);
    let guide = server.read_to("Ctrl-C");
    for word in [
        "SHA256:",
        "sftp -P",
        "lftp",
        "curl",
        "retention",
        "file list demo",
        "demo-data",
    ] {
        line_with(&guide, word);
    }
    let password = line_with(&guide, "password")
        .split_whitespace()
        .nth(1)
        .unwrap()
        .to_owned();
    assert!(place.path().join("demo-data/layover.db").exists());
    assert!(!place.data_dir().exists());

    let mut tool = place.command(&["account", "show", "demo", "--json"]);
    let demo_data = place.path().join("demo-data");
    let shown = tool.env("LAYOVER__DATA_DIR", &demo_data).output().unwrap();
    let shown: serde_json::Value = serde_json::from_slice(&shown.stdout).unwrap();
    let networks: Vec<_> = shown["networks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|n| &n["network"])
        .collect();
    assert_eq!(networks, ["127.0.0.0/8", "::1/128"]);

    let mut open = place.command(&["account", "allow", "add", "demo", "any"]);
    open.env("LAYOVER__DATA_DIR", &demo_data).output().unwrap();
    assert_eq!(server.stop().0, Some(0));
    let mut server = Server::start(&place, &["serve", "--demo"]);
    let again = server.read_to("Ctrl-C");
    assert!(
        !again.contains(&password),
        "each start has a fresh password"
    );
}

#[test]
fn commands_find_the_demo_where_nothing_else_is_set_up() {
    let place = Place::new();
    std::fs::remove_file(place.path().join("layover.toml")).unwrap();
    let serve = |place: &Place| {
        let config = place.path().join("ports.toml");
        std::fs::write(&config, "[sftp]\nlisten = \"127.0.0.1\"\nport = 0\n").unwrap();
        Server::start(place, &["--config", "ports.toml", "serve", "--demo"])
    };
    let _server = serve(&place);
    let found = place.run(&["account", "list", "--json"]).ok();
    assert_eq!(found.json()[0]["name"], "demo");
    assert!(found.stderr.contains("demo-data"), "{found:?}");

    let check = place.run(&["check", "--json"]);
    assert!(check.stderr.contains("demo-data"), "{check:?}");
    let detail = |what: &str| {
        let check = check.json();
        let mut lines = check.as_array().unwrap().iter();
        let line = lines.find(|line| line["what"] == what).unwrap();
        line["detail"].as_str().unwrap().to_owned()
    };
    assert!(detail("data directory").contains("demo-data"), "{check:?}");
    assert!(detail("SFTP port").contains("127.0.0.1:"), "{check:?}");
    assert!(!place.data_dir().exists());
}

#[test]
fn a_taken_port_is_told_with_the_setting_that_changes_it() {
    let place = Place::new();
    let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = held.local_addr().unwrap().port().to_string();
    place.settings("[sftp]\nlisten = \"127.0.0.1\"\n");
    let ports = [
        ("LAYOVER__SFTP__PORT", ""),
        ("LAYOVER__FTPS__EXPLICIT_PORT", ""),
        ("LAYOVER__FTPS__IMPLICIT_PORT", ""),
        ("LAYOVER__CONSOLE__LISTEN", "127.0.0.1:"),
    ];
    for (taken, _) in ports {
        let mut command = place.command(&["serve", "--demo"]);
        for (variable, address) in ports {
            let port = if variable == taken { &port } else { "0" };
            command.env(variable, format!("{address}{port}"));
        }
        let refused: Ran = command.output().unwrap().into();
        let refused = refused.refused(1, &format!("({taken})"));
        assert!(refused.stderr.contains(&port), "{refused:?}");
        assert!(refused.stderr.contains("another demo?"), "{refused:?}");
    }
}

#[test]
fn a_second_demo_on_the_same_data_is_told_so() {
    let place = Place::new();
    let _first = Server::start(&place, &["serve", "--demo"]);
    place
        .run(&["serve", "--demo"])
        .refused(1, "another `layover serve`");
}

#[test]
fn the_lines_of_a_demo_follow_what_is_served_and_where() {
    let place = Place::new();
    let free = || std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free().local_addr().unwrap().port();
    place.settings(&format!(
        "[sftp]\nenabled = false\n[ftps]\nimplicit_enabled = false\nexplicit_port = {port}\n"
    ));
    let mut command = place.command(&["serve", "--demo"]);
    command.env("LAYOVER__FTPS__EXPLICIT_PORT", port.to_string());
    command.stderr(std::process::Stdio::null());
    let mut server = Server::spawn(command);
    let guide = server.read_to("Ctrl-C");
    assert!(
        guide.contains(&format!("ftp://127.0.0.1:{port}")),
        "{guide}"
    );
    for absent in ["sftp", "ftps://", "host key"] {
        assert!(!guide.contains(absent), "{absent} in {guide}");
    }
    let demo = place.path().join("demo-data");
    let mut status = place.command(&["status", "--json"]);
    let status: Ran = status
        .env("LAYOVER__DATA_DIR", &demo)
        .output()
        .unwrap()
        .into();
    let server = status.ok().json()["server"].clone();
    assert_eq!(server["sftp"], serde_json::Value::Null);
    assert_eq!(server["ftps"], format!("127.0.0.1:{port}"));
    assert_eq!(server["ftps_implicit"], serde_json::Value::Null);
    assert!(!demo.join("keys/ssh_host_ed25519_key").exists());
}
