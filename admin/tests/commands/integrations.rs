//! Integrations, locations, keys and secrets on the command line.

use std::path::PathBuf;

use serde_json::json;

use crate::place::{Place, Ran};

/// A place with an entity `acme`.
fn place() -> Place {
    let place = Place::new();
    place.run(&["entity", "add", "acme"]).ok();
    place
}

const HARDENED: &str = "[storage]\nfsync = \"never\"\n[outbound]\nhardened = true\n";

fn add(place: &Place, name: &str, protocol: &str, more: &[&str]) -> Ran {
    let fixed = [
        "integration",
        "add",
        name,
        "--entity",
        "acme",
        "--protocol",
        protocol,
        "--host",
        "ftp.example.com",
        "--username",
        "us",
    ];
    place.run(&[&fixed, more].concat())
}

fn write(place: &Place, name: &str, text: &str) -> PathBuf {
    let file = place.path().join(name);
    std::fs::write(&file, text).unwrap();
    file
}

const PGP_KEY: &str =
    "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmDM=\n-----END PGP PUBLIC KEY BLOCK-----\n";

#[test]
fn an_integration_is_added_shown_changed_and_removed() {
    let place = place();
    add(
        &place,
        "insurance",
        "ftps",
        &[
            "--display-name",
            "Insurance Partner",
            "--password",
            "env:PW",
        ],
    )
    .ok();
    add(&place, "insurance", "ftps", &[]).refused(1, "integration `insurance` already");
    let shown = place.json(&["integration", "show", "insurance"]);
    assert_eq!(shown["display_name"], "Insurance Partner");
    assert_eq!(
        (&shown["protocol"], &shown["port"]),
        (&json!("ftps"), &json!(21))
    );
    assert_eq!(shown["secrets"][0]["reference"], "env:PW");
    assert_eq!(shown["settings"]["tls"]["security"], "explicit");
    let set = ["integration", "set", "insurance"];
    let changed = place.json(
        &[
            &set[..],
            &["--security", "implicit", "--host", "FTPS.example.com"],
        ]
        .concat(),
    );
    assert_eq!(changed["integration"]["port"], 990);
    assert_eq!(changed["changes"][0]["field"], "host");
    assert_eq!(
        changed["changes"][1],
        json!({ "field": "ftps.security", "from": null, "to": "implicit" })
    );
    let same = place
        .run(&[&set[..], &["--security", "implicit"]].concat())
        .ok();
    assert!(same.stdout.contains("nothing changed"), "{same:?}");
    let back = place
        .run(&[&set[..], &["--security", "default", "--password", "none"]].concat())
        .ok();
    assert!(
        back.stdout.contains("ftps.security implicit -> -"),
        "{back:?}"
    );
    assert!(back.stdout.contains("no password is set"), "{back:?}");
    let listed = place.json(&["integration", "list", "--entity", "acme"]);
    assert_eq!(
        (listed.as_array().unwrap().len(), &listed[0]["host"]),
        (1, &json!("ftps.example.com"))
    );
    place
        .run(&["entity", "remove", "acme"])
        .refused(1, "integrations");
    let removed = place.run(&["integration", "remove", "insurance"]).ok();
    assert!(removed.stdout.contains("our side only"), "{removed:?}");
    place
        .run(&["integration", "show", "insurance"])
        .refused(1, "no integration `insurance`");
    assert_eq!(place.json(&["integration", "list"]), json!([]));
    place.run(&["entity", "remove", "acme"]).ok();
    let journal = place.run(&["journal", "--kind", "admin"]).ok().stdout;
    for said in [
        "integration.add",
        "integration.set",
        "ftps.security",
        "integration.remove",
    ] {
        assert!(journal.contains(said), "{said}: {journal}");
    }
}

#[test]
fn what_cannot_be_set_is_refused_with_its_field_and_all_of_it_at_once() {
    let place = place();
    let refused = add(
        &place,
        "x",
        "ftps",
        &["--port", "0", "--time-zone", "Moon/Base", "--auth", "key"],
    );
    let refused = refused.refused(2, "`port` cannot be `0`");
    assert!(
        refused
            .stderr
            .contains("`listing.time_zone` cannot be `Moon/Base`"),
        "{refused:?}"
    );
    assert!(
        refused
            .stderr
            .contains("`sftp.auth` is no field of an integration by ftps"),
        "{refused:?}"
    );
    add(&place, "x", "scp", &[]).refused(2, "--protocol");
    add(&place, "x", "ftps", &["--password", "hunter2"]).refused(2, "takes a reference");
    add(
        &place,
        "x",
        "ftps",
        &["--skip-verify", "yes", "--ca-certificate", "env:CA"],
    )
    .refused(1, "`ftps.skip_verify` cannot be yes");
    add(&place, "x", "ftps", &["--ca-certificate", "nowhere.pem"]).refused(1, "nowhere.pem");
    add(&place, "x", "sftp", &["--client-key", "env:KEY"]).refused(1, "no client_certificate_key");
    add(&place, "Bad Name", "ftps", &[]).refused(2, "integration name");
    place
        .run(&[
            "integration",
            "add",
            "x",
            "--entity",
            "nobody",
            "--protocol",
            "sftp",
            "--host",
            "h",
            "--username",
            "u",
        ])
        .refused(1, "no entity `nobody`");
    assert_eq!(place.json(&["integration", "list"]), json!([]));
    add(&place, "x", "sftp", &[]).ok();
    place
        .run(&["integration", "set", "x"])
        .refused(2, "nothing to change");
    place
        .run(&["integration", "set", "y", "--port", "1"])
        .refused(1, "no integration `y`");
    place
        .run(&["integration", "set", "x", "--username", ""])
        .refused(1, "`username` cannot be ``");
    place
        .run(&["integration", "set", "x", "--outbound-pgp", "yes"])
        .refused(1, "set-recipient x".replace("x", "NAME").as_str());
}

#[test]
fn a_typed_password_is_sealed_and_shown_nowhere_and_sealed_anew() {
    let place = place();
    let arguments = [
        "integration",
        "add",
        "insurance",
        "--entity",
        "acme",
        "--protocol",
        "sftp",
        "--host",
        "sftp.example.com",
        "--username",
        "us",
        "--password-stdin",
    ];
    place.run_with_input(&arguments, "hunter2\n").ok();
    let hook = ["event", "hook", "add", "crm", "--url"];
    let made = place.json(&[&hook[..], &["https://h.example/"]].concat());
    let made = made["made_secret"].as_str().unwrap().to_owned();
    let first = place.json(&["secrets", "list"]);
    assert_eq!(
        (&first[0]["integration"], &first[0]["form"]),
        (&json!("insurance"), &json!("sealed"))
    );
    assert_eq!(
        (&first[1]["hook"], &first[1]["form"], &first[1]["purpose"]),
        (&json!("crm"), &json!("sealed"), &json!("signing"))
    );
    let rotated = place.json(&["secrets", "rotate"]);
    assert_eq!(rotated["values"], 2);
    let second = place.json(&["secrets", "list"]);
    for row in [0, 1] {
        assert_eq!(second[row]["key_id"], rotated["key_id"]);
        assert_ne!(first[row]["key_id"], second[row]["key_id"]);
    }
    // The same password again, after the rotation: it opens, and nothing changes.
    let set = ["integration", "set", "insurance", "--password-stdin"];
    let same = place.run_with_input(&set, "hunter2\n").ok();
    assert!(same.stdout.contains("nothing changed"), "{same:?}");
    place
        .run_with_input(&set, "\n")
        .refused(1, "nothing on standard input");
    let shown = [
        place.run(&["integration", "show", "insurance"]).ok().stdout,
        place.run(&["journal", "--json", "-n", "0"]).ok().stdout,
        place.run(&["export"]).ok().stdout,
        place.run(&["secrets", "list"]).ok().stdout,
        place.run(&["event", "hook", "show", "crm"]).ok().stdout,
    ];
    assert!(!shown.concat().contains("hunter2"));
    assert!(!shown.concat().contains(&made));
    assert!(shown[3].contains("hook crm"), "{}", shown[3]);
    for file in std::fs::read_dir(place.data_dir())
        .unwrap()
        .map(Result::unwrap)
    {
        if file.file_type().unwrap().is_file() {
            let bytes = std::fs::read(file.path()).unwrap();
            assert!(
                !bytes.windows(7).any(|part| part == b"hunter2"),
                "{:?}",
                file.path()
            );
        }
    }
    assert!(shown[1].contains("secrets.rotate"));
}

#[test]
fn plain_ftp_warns_wherever_it_is_seen_and_hardened_mode_names_each_breach() {
    let place = place();
    const WARNING: &str = "PLAIN FTP: user name, password and files can be read";
    let added = add(&place, "old", "ftp", &[]).ok();
    for told in [
        added.stdout,
        place.run(&["integration", "show", "old"]).ok().stdout,
        place.run(&["integration", "list"]).ok().stdout,
        place
            .run(&["integration", "set", "old", "--port", "2121"])
            .ok()
            .stdout,
        place.run(&["check"]).stdout,
    ] {
        assert!(told.contains(WARNING), "{told}");
    }
    assert_eq!(
        place.json(&["integration", "show", "old"])["cautions"][0]["danger"],
        true
    );
    place
        .run_with_input(
            &["integration", "set", "old", "--password-stdin"],
            "hunter2\n",
        )
        .ok();
    add(
        &place,
        "lax",
        "ftps",
        &["--skip-verify", "yes", "--password", "env:PW"],
    )
    .ok();
    place.settings(HARDENED);
    let checked = place.run(&["check"]);
    assert_eq!(checked.code, Some(1), "{checked:?}");
    for breach in [
        "`old` breaks [outbound] hardened: plain ftp",
        "`old` breaks [outbound] hardened: the password was typed in",
        "`lax` breaks [outbound] hardened: ftps.skip_verify",
    ] {
        assert!(checked.stdout.contains(breach), "{breach}: {checked:?}");
    }
    add(&place, "new", "ftp", &[]).refused(1, "plain ftp");
    add(&place, "new", "ftps", &["--skip-verify", "yes"]).refused(1, "ftps.skip_verify");
    add(
        &place,
        "new",
        "ftps",
        &["--password", "vault:kv/ftp#password"],
    )
    .ok();
    let typed = place.run_with_input(
        &["integration", "set", "new", "--password-stdin"],
        "hunter2\n",
    );
    typed.refused(
        1,
        "[outbound] hardened = true refuses this of integration `new`",
    );
}

#[test]
fn locations_are_added_listed_changed_and_forgotten() {
    let place = place();
    add(&place, "insurance", "sftp", &[]).ok();
    let location = |words: &[&str]| place.run(&[&["location"], words].concat());
    location(&[
        "add",
        "insurance",
        "claims",
        "/incoming/claims",
        "--direction",
        "upload",
    ])
    .ok();
    location(&["add", "insurance", "claims", "/x"]).refused(1, "a location `claims` already");
    location(&["add", "nobody", "claims", "/x"]).refused(1, "no integration `nobody`");
    location(&["add", "insurance", "bad", "a\nb"]).refused(1, "neither NUL nor a line end");
    location(&["add", "insurance", "bad", "/in "]).refused(1, "no blank at its end");
    location(&["add", "insurance", "bad", "/in/../x"]).refused(1, "no part `..`");
    location(&["add", "insurance", "bad", ""]).refused(1, "1 to 2048 bytes");
    location(&["add", "insurance", "bad", "/x", "--direction", "sideways"])
        .refused(2, "--direction");
    location(&["set", "insurance", "claims", "--direction", "both"]).ok();
    location(&["set", "insurance", "claims"]).refused(2, "nothing to change");
    location(&["set", "insurance", "other", "--path", "/"]).refused(1, "no location `other`");
    location(&["add", "insurance", "answers", "/out"]).ok();
    let listed = place.json(&["location", "list", "insurance"]);
    assert_eq!(
        (&listed[0]["name"], &listed[1]["name"]),
        (&json!("answers"), &json!("claims"))
    );
    assert_eq!(
        (&listed[1]["path"], &listed[1]["direction"]),
        (&json!("/incoming/claims"), &json!("both"))
    );
    location(&["remove", "insurance", "answers"]).ok();
    location(&["remove", "insurance", "answers"]).refused(1, "no location `answers`");
    assert_eq!(
        place
            .json(&["location", "list", "insurance"])
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

const HOST_KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";

#[test]
fn host_keys_are_confirmed_by_line_or_fingerprint_and_removed() {
    let place = place();
    add(&place, "insurance", "sftp", &[]).ok();
    let key = |words: &[&str]| place.run(&[&["integration", "host-key"], words].concat());
    assert_eq!(
        place.json(&["integration", "host-key", "list", "insurance"]),
        json!([])
    );
    key(&[
        "confirm",
        "insurance",
        &format!("sftp.example.com {HOST_KEY}"),
    ])
    .ok();
    let listed = place.json(&["integration", "host-key", "list", "insurance"]);
    assert_eq!(
        (&listed[0]["public_key"], &listed[0]["trusted"]),
        (&json!(HOST_KEY), &json!(true))
    );
    let print = listed[0]["fingerprint"].as_str().unwrap();
    let again = key(&["confirm", "insurance", print]).ok();
    assert!(again.stdout.contains("already"), "{again:?}");
    key(&["confirm", "insurance", "nonsense"]).refused(2, "known_hosts");
    key(&["remove", "insurance", print]).ok();
    key(&["remove", "insurance", print]).refused(1, "no host key");
    add(&place, "other", "ftps", &[]).ok();
    key(&["confirm", "other", HOST_KEY]).refused(1, "only SFTP servers have host keys");
}

#[test]
fn an_ssh_key_is_made_replaced_with_an_overlap_and_confirmed() {
    let place = place();
    add(&place, "insurance", "sftp", &["--auth", "key"]).ok();
    let key = |words: &[&str]| place.run(&[&["integration", "key"], words].concat());
    key(&["show", "insurance"]).refused(1, "no SSH key pair yet");
    let first = key(&["rotate", "insurance"]).ok().stdout;
    assert!(
        first.starts_with("ssh-ed25519 AAAA") && first.trim_end().ends_with(" layover insurance")
    );
    assert_eq!(key(&["show", "insurance"]).ok().stdout, first);
    let second = key(&["rotate", "insurance"]).ok();
    assert!(
        second.stderr.contains("key confirm insurance"),
        "{second:?}"
    );
    key(&["rotate", "insurance"]).refused(1, "not confirmed");
    let shown = place.json(&["integration", "key", "show", "insurance"]);
    assert_eq!(shown["previous_public_key"], first.trim_end());
    assert_eq!(shown["confirmed"], false);
    let third = key(&["rotate", "insurance", "--rsa", "--replace-unconfirmed"])
        .ok()
        .stdout;
    assert!(third.starts_with("ssh-rsa AAAA"), "{third}");
    let shown = place.json(&["integration", "key", "show", "insurance"]);
    assert_eq!(
        shown["previous_public_key"],
        first.trim_end(),
        "the one that the partner has"
    );
    key(&["confirm", "insurance"]).ok();
    key(&["confirm", "insurance"]).refused(1, "waits for confirmation");
    let shown = place.json(&["integration", "key", "show", "insurance"]);
    assert_eq!(
        (&shown["previous_public_key"], &shown["confirmed"]),
        (&json!(null), &json!(true))
    );
    add(&place, "other", "ftps", &[]).ok();
    key(&["rotate", "other"]).refused(1, "no ssh_key");
}

#[test]
fn pgp_keys_of_the_partner_are_given_and_taken_away() {
    let place = place();
    add(&place, "insurance", "sftp", &[]).ok();
    let file = write(&place, "partner.asc", PGP_KEY);
    let file = file.to_str().unwrap();
    let pgp = |words: &[&str]| place.run(&[&["integration", "pgp"], words].concat());
    pgp(&["show", "insurance"]).refused(1, "no PGP key pair yet");
    let made = pgp(&["rotate", "insurance"]).ok().stdout;
    assert!(
        made.starts_with("-----BEGIN PGP PUBLIC KEY BLOCK-----\n"),
        "{made}"
    );
    assert_eq!(pgp(&["show", "insurance"]).ok().stdout, made);
    let second = pgp(&["rotate", "insurance"]).ok();
    assert!(
        second.stderr.contains("pgp confirm insurance"),
        "{second:?}"
    );
    pgp(&["rotate", "insurance"]).refused(1, "not confirmed");
    pgp(&["confirm", "insurance"]).ok();
    assert_eq!(pgp(&["show", "insurance"]).ok().stdout, second.stdout);
    let kept = place.json(&["secrets", "list"]);
    assert_eq!(
        (kept.as_array().unwrap().len(), &kept[0]["form"]),
        (1, &json!("sealed"))
    );
    pgp(&["set-recipient", "insurance", file]).ok();
    pgp(&["set-partner", "insurance", file]).ok();
    let shown = place.json(&["integration", "show", "insurance"]);
    assert_eq!(shown["settings"]["outbound"]["recipient_key"], PGP_KEY);
    assert_eq!(shown["settings"]["inbound"]["partner_key"], PGP_KEY);
    place
        .run(&["integration", "set", "insurance", "--outbound-pgp", "yes"])
        .ok();
    pgp(&["set-recipient", "insurance", "none"]).refused(1, "`outbound.pgp` needs");
    let private = write(&place, "own.asc", &PGP_KEY.replace("PUBLIC", "PRIVATE"));
    let private = private.to_str().unwrap();
    pgp(&["set-recipient", "insurance", private]).refused(1, "expected an armored PGP public key");
    place
        .run(&[
            "integration",
            "set",
            "insurance",
            "--outbound-pgp",
            "default",
        ])
        .ok();
    pgp(&["set-recipient", "insurance", "none"]).ok();
    let shown = place.json(&["integration", "show", "insurance"]);
    assert_eq!(shown["settings"]["outbound"]["recipient_key"], json!(null));
}

#[test]
fn the_kit_says_what_the_partner_must_do() {
    let place = place();
    place
        .settings("[storage]\nfsync = \"never\"\n[outbound]\nsource_addresses = [\"192.0.2.7\"]\n");
    add(
        &place,
        "insurance",
        "sftp",
        &["--auth", "key", "--port", "2222"],
    )
    .ok();
    let key = place
        .run(&["integration", "key", "rotate", "insurance"])
        .ok()
        .stdout;
    place
        .run(&[
            "location",
            "add",
            "insurance",
            "claims",
            "/in",
            "--direction",
            "upload",
        ])
        .ok();
    let kit = place.run(&["integration", "kit", "insurance"]).ok().stdout;
    for said in [
        "add 192.0.2.7 to your allowlist",
        "from 192.0.2.7 to ftp.example.com TCP port 2222",
        key.trim_end(),
        "ssh-keyscan -p 2222 ftp.example.com",
        "Folder /in: we list it, write, rename and delete files.",
        "Leave files that end in `.part` alone",
    ] {
        assert!(kit.contains(said), "no `{said}` in {kit}");
    }
    add(
        &place,
        "active",
        "ftps",
        &[
            "--transfer",
            "active",
            "--active-ports",
            "50000-50100",
            "--active-address",
            "192.0.2.9",
        ],
    )
    .ok();
    let kit = place.json(&["integration", "kit", "active"]);
    let firewall = kit["firewall"][1].as_str().unwrap();
    assert_eq!(
        firewall,
        "from ftp.example.com (port 20) to 192.0.2.9 TCP ports 50000-50100"
    );
    assert_eq!(kit["ssh_public_key"], json!(null));
    let shown = place.json(&["integration", "show", "active"]);
    assert_eq!(shown["source_addresses"], json!(["192.0.2.7"]));
}

#[test]
fn certificates_are_read_from_files_and_keys_beside_them_refused() {
    let place = place();
    let made = rcgen::generate_simple_self_signed(["ftp.example.com".to_owned()]).unwrap();
    let ca = write(&place, "ca.pem", &made.cert.pem());
    add(
        &place,
        "insurance",
        "ftps",
        &["--ca-certificate", ca.to_str().unwrap()],
    )
    .ok();
    let shown = place.json(&["integration", "show", "insurance"]);
    let kept = shown["settings"]["tls"]["ca_certificate"].as_str().unwrap();
    assert!(kept.starts_with("-----BEGIN CERTIFICATE-----\n"), "{kept}");
    let both = format!("{}{}", made.cert.pem(), made.signing_key.serialize_pem());
    let both = write(&place, "both.pem", &both);
    let refused = place.run(&[
        "integration",
        "set",
        "insurance",
        "--client-certificate",
        both.to_str().unwrap(),
    ]);
    let refused = refused.refused(1, "and no private key");
    assert!(!refused.stderr.contains("PRIVATE KEY"), "{refused:?}");
}

#[test]
fn a_key_of_ours_may_end_and_the_check_says_so_a_month_ahead() {
    let place = place();
    add(&place, "bank", "ftps", &["--password", "env:PW"]).ok();
    let rotate = ["integration", "pgp", "rotate", "bank"];
    let past = [&rotate[..], &["--until", "2020-01-01"]].concat();
    place.run(&past).refused(1, "its expiry after its making");
    let found = || {
        let check = place.run(&["check", "--json"]).json();
        let findings = check.as_array().unwrap().clone();
        findings.into_iter().find(|one| one["what"] == "keys")
    };
    let replace = [&rotate[..], &["--replace-unconfirmed", "--until"]].concat();
    place.run(&[&replace[..], &["31d"]].concat()).ok();
    assert_eq!(found(), None);
    place.run(&[&replace[..], &["29d"]].concat()).ok();
    let finding = found().unwrap();
    assert_eq!(finding["state"], "notice");
    let detail = finding["detail"].as_str().unwrap();
    assert!(
        detail.contains("`bank`: own_key") && detail.contains(" ends at "),
        "{detail}"
    );
    let next = finding["next_step"].as_str().unwrap();
    assert!(next.contains("pgp rotate bank"), "{next}");
}
