//! What is refused, with which exit code, and that nothing has changed then.

use std::fs;

use crate::place::Place;

#[test]
fn what_cannot_be_understood_is_a_usage_error() {
    let place = Place::with_account();
    for (arguments, reason) in [
        (
            &[
                "account",
                "add",
                "new",
                "--entity",
                "acme",
                "--allow",
                "10.0.0.0/33",
            ][..],
            "10.0.0.0/33",
        ),
        (
            &["account", "allow", "add", "partner", "example.org"],
            "example.org",
        ),
        (&["account", "add", "-x", "--entity", "acme"], "-x"),
        (
            &["account", "add", "bad name", "--entity", "acme"],
            "bad name",
        ),
        (
            &["account", "add", "new", "--entity", "acme", "--keep", "0s"],
            "at least 1s",
        ),
        (
            &[
                "account", "add", "new", "--entity", "acme", "--quota", "lots",
            ],
            "10GiB",
        ),
        (&["account", "add", "new"], "--entity"),
        (
            &[
                "account",
                "permission",
                "set",
                "partner",
                "/",
                "list,everything",
            ],
            "everything",
        ),
        (
            &[
                "account", "allow", "add", "partner", "10.0.0.1", "--until", "soon",
            ],
            "2027-01-31",
        ),
        (&["account", "password", "partner"], "--generate"),
        (&["account", "set", "partner"], "nothing to change"),
        (&["journal", "--kind", "nonsense"], "retention"),
        (&["journal", "--since", "nonsense"], "1h"),
        (&["frobnicate"], "frobnicate"),
    ] {
        place.run(arguments).refused(2, reason);
    }
    assert_eq!(
        place.json(&["account", "list"]).as_array().unwrap().len(),
        1
    );
}

#[test]
fn no_error_moves_the_cursor_whatever_was_typed() {
    let place = Place::with_account();
    let bad = "x\u{9b}2J\u{1b}[2Jy";
    for (arguments, code) in [
        (&["account", "show", bad][..], 2),
        (&["journal", "--kind", bad], 2),
        (&[bad], 2),
        (&["account", "key", "add", "partner", bad], 1),
        (&["file", "list", "partner", bad], 2),
        (&["apply", bad], 1),
    ] {
        let ran = place.run(arguments).refused(code, "error: ");
        let moves = |letter: char| letter.is_control() && letter != '\n' && letter != '\t';
        assert!(!ran.stderr.contains(moves), "{ran:?}");
        assert!(
            ran.stderr.contains('x') && ran.stderr.contains("u{"),
            "{ran:?}"
        );
    }
}

#[test]
fn what_is_not_there_or_not_allowed_is_refused_with_its_name() {
    let place = Place::with_account();
    for (arguments, reason) in [
        (&["account", "show", "nobody"][..], "nobody"),
        (&["account", "set", "nobody", "--keep", "1h"], "nobody"),
        (&["account", "disable", "nobody"], "nobody"),
        (&["account", "remove", "nobody"], "nobody"),
        (&["account", "password", "nobody", "--generate"], "nobody"),
        (&["account", "key", "list", "nobody"], "nobody"),
        (
            &["account", "key", "remove", "partner", "SHA256:none"],
            "SHA256:none",
        ),
        (&["account", "allow", "list", "nobody"], "nobody"),
        (
            &["account", "allow", "remove", "partner", "192.0.2.1"],
            "192.0.2.1",
        ),
        (&["file", "list", "nobody"], "nobody"),
        (&["entity", "remove", "nobody"], "nobody"),
        (&["entity", "add", "acme"], "acme"),
        (
            &["account", "add", "partner", "--entity", "acme"],
            "partner",
        ),
        (&["account", "add", "new", "--entity", "nobody"], "nobody"),
        (
            &["account", "add", "new", "--entity", "acme", "--keep", "6d"],
            "5d",
        ),
        (&["account", "set", "partner", "--keep", "6d"], "5d"),
        (&["entity", "add", "new", "--keep", "6d"], "5d"),
        (
            &[
                "account",
                "allow",
                "add",
                "partner",
                "10.0.0.1",
                "--until",
                "2001-01-31",
            ],
            "past",
        ),
        (
            &["account", "key", "add", "partner", "no-such-file"],
            "no-such-file",
        ),
        (&["session", "kill", "0123456789abcdef"], "0123456789abcdef"),
    ] {
        place.run(arguments).refused(1, reason);
    }
    assert_eq!(
        place.json(&["account", "list"]).as_array().unwrap().len(),
        1
    );
    assert_eq!(place.json(&["entity", "list"]).as_array().unwrap().len(), 1);
}

#[test]
fn a_home_of_another_entity_is_not_shared() {
    let place = Place::with_account();
    place.run(&["entity", "add", "other"]).ok();
    place
        .run(&[
            "account", "add", "thief", "--entity", "other", "--home", "partner",
        ])
        .refused(1, "partner");
}

#[test]
fn a_key_with_an_option_that_is_not_enforced_is_refused_with_its_line() {
    let place = Place::with_account();
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f x";
    let file = place.path().join("keys");
    fs::write(&file, format!("# partner\ncommand=\"/bin/true\" {key}\n")).unwrap();
    let refused = place
        .run(&["account", "key", "add", "partner", "keys"])
        .refused(1, "command");
    assert!(refused.stderr.contains("line 2"), "{refused:?}");
    assert_eq!(
        place.json(&["account", "key", "list", "partner"]),
        serde_json::json!([])
    );
}

#[test]
fn a_private_key_is_not_taken() {
    let place = Place::with_account();
    fs::write(
        place.path().join("id"),
        "-----BEGIN OPENSSH PRIVATE KEY-----\n",
    )
    .unwrap();
    place
        .run(&["account", "key", "add", "partner", "id"])
        .refused(1, "private key");
}

#[test]
fn all_faults_of_the_settings_are_told_at_once_by_every_command() {
    let place = Place::new();
    place.settings("nonsense = 1\n[sftp]\nport = 70000\n[retention]\nkeep = \"soon\"\n");
    for arguments in [
        &["check"][..],
        &["serve"],
        &["account", "list"],
        &["serve", "--demo"],
    ] {
        let ran = place.run(arguments);
        assert_eq!(ran.code, Some(1), "{ran:#?}");
        let told = format!("{}{}", ran.stdout, ran.stderr);
        for fault in ["nonsense", "70000", "soon"] {
            assert!(
                told.contains(fault),
                "{arguments:?} does not tell {fault}: {ran:#?}"
            );
        }
    }
    assert!(!place.data_dir().exists(), "wrong settings make nothing");
}

#[test]
fn a_settings_file_that_is_not_there_is_told() {
    let place = Place::new();
    place
        .run(&["--config", "missing.toml", "account", "list"])
        .refused(1, "missing.toml");
}

#[test]
fn help_and_version_are_no_errors() {
    let place = Place::new();
    assert!(place.run(&["--help"]).ok().stdout.contains("serve"));
    assert!(
        place
            .run(&["--version"])
            .ok()
            .stdout
            .contains(env!("CARGO_PKG_VERSION"))
    );
}

#[test]
fn host_bits_and_a_wrong_until_are_told_in_their_own_words() {
    let place = Place::with_account();
    place
        .run(&["account", "allow", "add", "partner", "10.1.2.3/8"])
        .refused(2, "did you mean 10.0.0.0/8 or 10.1.2.3/32?");
    let refused = place
        .run(&[
            "account", "allow", "add", "partner", "10.0.0.1", "--until", "soon",
        ])
        .refused(2, "2027-01-31");
    assert!(!refused.stderr.contains("--since"), "{refused:?}");
}
