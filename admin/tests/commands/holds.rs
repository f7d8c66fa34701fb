//! Operators and holds, signed with OpenSSH's own `ssh-keygen`.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::json;

use crate::place::Place;

/// A key of this type, and the file of its public half.
fn key(place: &Place, name: &str, kind: &[&str]) -> PathBuf {
    let file = place.path().join(name);
    let made = Command::new("ssh-keygen")
        .args(["-q", "-N", "", "-C", name, "-f"])
        .arg(&file)
        .arg("-t")
        .args(kind)
        .status();
    assert!(made.expect("run ssh-keygen").success());
    file
}

/// Signs `text` and returns the file of the signature.
fn sign(place: &Place, operator: &str, namespace: &str, text: &str) -> String {
    let file = place.path().join(format!("{operator}-{namespace}.txt"));
    let signature = file.with_extension("txt.sig");
    std::fs::write(&file, text).unwrap();
    let _ = std::fs::remove_file(&signature);
    let signed = Command::new("ssh-keygen")
        .args(["-Y", "sign", "-n", namespace, "-f"])
        .arg(place.path().join(operator))
        .arg(&file)
        .stderr(Stdio::null())
        .status();
    assert!(signed.expect("run ssh-keygen").success());
    signature.to_str().unwrap().to_owned()
}

fn add_operator(place: &Place, name: &str, kind: &[&str]) {
    key(place, name, kind);
    let file = place.path().join(format!("{name}.pub"));
    place
        .run(&["operator", "add", name, file.to_str().unwrap()])
        .ok();
}

const ADD: &[&str] = &[
    "retention",
    "hold",
    "add",
    "partner",
    "--reason",
    "case 7",
    "--until",
    "2030-01-31",
];

#[test]
fn two_operators_keys_of_any_accepted_kind_make_a_hold_active_and_one_releases_it() {
    let place = Place::with_account();
    add_operator(&place, "ann", &["ed25519"]);
    add_operator(&place, "bob", &["rsa", "-b", "2048"]);
    add_operator(&place, "carl", &["ecdsa", "-b", "384"]);
    let proposed = place.run(ADD).ok();
    assert!(
        proposed
            .stdout
            .starts_with("layover hold 1\nhome: partner\nscope: account\n")
    );
    assert!(
        proposed.stdout.contains("until: 2030-02-01T00:00:00Z\n"),
        "{proposed:?}"
    );
    assert!(proposed.stderr.contains("approve 1"), "{proposed:?}");
    let statement = place
        .run(&["retention", "hold", "statement", "1"])
        .ok()
        .stdout;
    assert_eq!(statement, proposed.stdout);
    let approve = |operator: &str, namespace: &str, text: &str| {
        let signature = sign(&place, operator, namespace, text);
        place.run(&[
            "retention",
            "hold",
            "approve",
            "1",
            "--signature",
            &signature,
        ])
    };
    let first = approve("ann", "layover-hold", &statement).ok();
    assert!(first.stdout.contains("needs another operator"), "{first:?}");
    approve("ann", "layover-hold", &statement).refused(1, "has signed hold 1 already");
    approve("bob", "file", &statement).refused(1, "made for `file`");
    approve(
        "bob",
        "layover-hold",
        &statement.replace("case 7", "case 8"),
    )
    .refused(1, "exactly this statement");
    key(&place, "eve", &["ed25519"]);
    approve("eve", "layover-hold", &statement).refused(1, "no operator has the key");
    let second = approve("bob", "layover-hold", &statement).ok();
    assert!(second.stdout.contains("hold 1 is active"), "{second:?}");
    let listed = place.json(&["retention", "hold", "list", "partner"]);
    assert_eq!(
        (&listed[0]["state"], &listed[0]["scope"]),
        (&json!("active"), &json!("account"))
    );
    assert_eq!(listed[0]["approvals"][1]["operator"], "bob");

    let release = &[
        "retention",
        "hold",
        "statement",
        "1",
        "--release",
        "--reason",
        "settled",
    ];
    let text = place.run(release).ok().stdout;
    let signature = sign(&place, "carl", "layover-hold", &text);
    let release = |reason: &str| {
        place.run(&[
            "retention",
            "hold",
            "release",
            "1",
            "--reason",
            reason,
            "--signature",
            &signature,
        ])
    };
    release("another reason").refused(1, "exactly this statement");
    release("settled").ok();
    release("settled").refused(1, "hold 1 is released");
    let listed = place.json(&["retention", "hold", "list"]);
    assert_eq!(listed[0]["released_why"], "settled");
    let journal = place.run(&["journal", "--kind", "retention"]).ok().stdout;
    for said in [
        "hold.add",
        "hold.approve",
        "ann",
        "bob",
        "hold.release",
        "carl",
    ] {
        assert!(journal.contains(said), "{said}: {journal}");
    }
}

#[test]
fn a_statement_is_written_to_a_file_that_is_not_there_yet() {
    let place = Place::with_account();
    let file = place.path().join("statement");
    let add = [ADD, &["--out", file.to_str().unwrap()]].concat();
    assert_eq!(place.run(&add).ok().stdout, "");
    let written = std::fs::read_to_string(&file).unwrap();
    let shown = place.run(&["retention", "hold", "statement", "1"]).ok();
    assert_eq!(shown.stdout, written);
    place.run(&add).refused(1, "cannot be written");
    let document = place.json(ADD);
    assert_eq!(document["state"], "proposed");
    let statement = document["statement"].as_str().unwrap();
    assert!(
        statement.starts_with(&format!("layover hold {}\n", document["id"])),
        "{statement}"
    );
}

#[test]
fn what_cannot_be_held_or_signed_is_refused_with_its_reason() {
    let place = Place::with_account();
    add_operator(&place, "ann", &["ed25519"]);
    let of_ann = place.path().join("ann.pub");
    let of_ann = of_ann.to_str().unwrap();
    place
        .run(&["operator", "add", "ann", of_ann])
        .refused(1, "operator `ann` already");
    place
        .run(&["operator", "add", "anna", of_ann])
        .refused(1, "with the key");
    let private = place.path().join("ann");
    place
        .run(&["operator", "add", "x", private.to_str().unwrap()])
        .refused(1, "private key");
    let two = std::fs::read_to_string(of_ann).unwrap().repeat(2);
    place
        .run_with_input(&["operator", "add", "x", "-"], &two)
        .refused(1, "more than one");
    assert_eq!(place.json(&["operator", "list"])[0]["name"], "ann");
    place.run(&["operator", "remove", "ann"]).ok();
    place
        .run(&["operator", "remove", "ann"])
        .refused(1, "no operator `ann`");
    assert_eq!(place.json(&["operator", "list"]), json!([]));

    let add = ["retention", "hold", "add", "partner"];
    let with = |more: &[&str]| place.run(&[&add, more].concat());
    with(&["--reason", "x", "--until", "2020-01-01"]).refused(1, "in the future");
    with(&["--reason", "x", "--until", "2099-01-01"]).refused(1, "within 3650 days");
    with(&["/nope", "--reason", "x", "--until", "2030-01-01"]).refused(1, "no `/nope`");
    assert_eq!(with(&["--until", "2030-01-01"]).code, Some(2));
    assert_eq!(with(&["--reason", "x"]).code, Some(2));
    place
        .run(&["retention", "hold", "statement", "7"])
        .refused(1, "no hold 7");
    place.run(ADD).ok();
    place
        .run_with_input(
            &["retention", "hold", "approve", "1", "--signature", "-"],
            "no\n",
        )
        .refused(1, "not a signature");
    assert_eq!(
        place.json(&["retention", "hold", "list", "--home", "partner"])[0]["files"],
        0
    );
}
