//! A backup that is written, taken away and brought back, with the command line.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::place::Place;

fn with_passphrase() -> Place {
    let place = Place::with_account();
    fs::write(place.path().join("secret"), "correct horse\nanother line\n").unwrap();
    place
}

#[test]
fn what_was_destroyed_comes_back_and_only_with_the_passphrase() {
    let place = with_passphrase();
    let accounts = place.json(&["account", "list"]);
    let ran = place
        .run(&["backup", "--out", "b.age", "--passphrase-file", "secret"])
        .ok();
    assert!(ran.stdout.contains("backup written to b.age"), "{ran:?}");
    assert!(ran.stderr.contains("--files takes them along"), "{ran:?}");
    let file = place.path().join("b.age");
    assert_eq!(
        fs::metadata(&file).unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert!(
        fs::read(&file)
            .unwrap()
            .starts_with(b"age-encryption.org/v1")
    );
    place
        .run(&["backup", "--out", "b.age", "--passphrase-file", "secret"])
        .refused(1, "exists");
    place
        .run(&["restore", "b.age", "--passphrase-file", "secret"])
        .refused(1, "is not empty");
    fs::remove_dir_all(place.data_dir()).unwrap();
    fs::write(place.path().join("wrong"), "correct horse battery\n").unwrap();
    place
        .run(&["restore", "b.age", "--passphrase-file", "wrong"])
        .refused(1, "not encrypted to what was given");
    assert!(!place.data_dir().exists());
    let ran = place
        .run(&["restore", "b.age", "--passphrase-file", "secret"])
        .ok();
    assert!(ran.stdout.contains("restored as of"), "{ran:?}");
    assert_eq!(place.json(&["account", "list"]), accounts);
    let settings = fs::read_to_string(place.data_dir().join("restored-layover.toml")).unwrap();
    assert!(settings.contains("fsync"), "{settings}");
    assert!(!place.path().join("b.age.part").exists());
}

#[test]
fn a_recipient_needs_no_secret_to_write_and_an_identity_to_read() {
    let place = with_passphrase();
    // The pair of the age specification's own example.
    let recipient = "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj";
    let identity = "AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX";
    fs::write(
        place.path().join("identity"),
        format!("# a comment\n{identity}\n"),
    )
    .unwrap();
    place
        .run(&["backup", "--out", "b.age", "--recipient", recipient])
        .ok();
    fs::remove_dir_all(place.data_dir()).unwrap();
    place
        .run(&["restore", "b.age", "--passphrase-file", "secret"])
        .refused(1, "not encrypted to what was given");
    place
        .run(&["restore", "b.age", "--identity", "identity"])
        .ok();
    place.json(&["account", "show", "partner"]);
}

#[test]
fn bad_input_of_any_kind_is_named() {
    let place = with_passphrase();
    fs::write(place.path().join("empty"), "").unwrap();
    fs::write(place.path().join("junk"), "no backup at all").unwrap();
    for (arguments, code, reason) in [
        (&["backup", "--out", "b.age"][..], 2, "--passphrase-file"),
        (
            &["backup", "--out", "b.age", "--recipient", "age1nobody"],
            1,
            "no age recipient",
        ),
        (
            &["backup", "--out", "b.age", "--passphrase-file", "empty"],
            1,
            "holds no passphrase",
        ),
        (
            &["backup", "--out", "b.age", "--passphrase-file", "absent"],
            1,
            "cannot be read",
        ),
        (
            &[
                "backup",
                "--out",
                "no/such/place",
                "--passphrase-file",
                "secret",
            ],
            1,
            "cannot be written",
        ),
        (
            &["restore", "junk", "--passphrase-file", "secret"],
            1,
            "is no backup",
        ),
        (
            &["restore", "absent", "--passphrase-file", "secret"],
            1,
            "cannot be read",
        ),
        (
            &["restore", "junk", "--identity", "secret"],
            1,
            "holds no age identity",
        ),
        (&["restore", "junk"], 2, "--identity"),
    ] {
        place.run(arguments).refused(code, reason);
    }
    assert!(!place.path().join("b.age").exists());
    assert!(!place.path().join("b.age.part").exists());
}

// The name that an unfinished one has may be somebody's, or a link to it.
#[test]
fn what_has_the_unfinished_files_name_is_left_alone() {
    let place = with_passphrase();
    let part = place.path().join("b.age.part");
    fs::write(&part, "somebody's").unwrap();
    place
        .run(&["backup", "--out", "b.age", "--passphrase-file", "secret"])
        .refused(1, "b.age.part");
    assert_eq!(fs::read(&part).unwrap(), b"somebody's");
    assert!(!place.path().join("b.age").exists());
}

#[test]
fn a_backup_that_was_cut_off_is_not_served() {
    let place = with_passphrase();
    place
        .run(&["backup", "--out", "b.age", "--passphrase-file", "secret"])
        .ok();
    let whole = fs::read(place.path().join("b.age")).unwrap();
    fs::write(place.path().join("cut.age"), &whole[..whole.len() - 100]).unwrap();
    fs::remove_dir_all(place.data_dir()).unwrap();
    let ran = place.run(&["restore", "cut.age", "--passphrase-file", "secret"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
}
