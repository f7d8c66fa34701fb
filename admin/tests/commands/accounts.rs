//! Entities, accounts, and what belongs to them.

use std::fs;

use serde_json::json;

use crate::place::Place;

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f partner@example\n";

#[test]
fn an_entity_is_added_listed_and_removed() {
    let place = Place::new();
    let added = place.json(&["entity", "add", "acme", "--keep", "36h"]);
    assert_eq!(
        (&added["name"], &added["keep"]),
        (&json!("acme"), &json!("1d12h"))
    );
    assert_eq!(place.json(&["entity", "list"])[0]["name"], "acme");
    place.run(&["entity", "remove", "acme"]).ok();
    assert_eq!(place.json(&["entity", "list"]), json!([]));
}

#[test]
fn one_command_makes_an_account_and_its_entity() {
    let place = Place::new();
    let first = ["account", "add", "first", "--entity", "acme"];
    place.run(&first).refused(1, "`acme`");
    place.run(&[&first[..], &["--new-entity"]].concat()).ok();
    let second = ["account", "add", "second", "--entity", "acme"];
    place.run(&[&second[..], &["--new-entity"]].concat()).ok();
    let entity = place.json(&["entity", "show", "acme"]);
    assert_eq!(entity["accounts"], json!(["first", "second"]));
    assert_eq!(entity["keep"], json!(null));
    assert_eq!(
        place.json(&["entity", "list"]).as_array().map(Vec::len),
        Some(1)
    );
}

#[test]
fn an_account_that_is_refused_leaves_no_entity_behind() {
    let place = Place::with_account();
    let again = ["account", "add", "partner", "--new-entity", "--entity"];
    for (entity, stays) in [("sons", false), ("acme", true)] {
        let refused = place.run(&[&again[..], &[entity]].concat());
        refused.refused(1, "`partner`");
        let entities = place.json(&["entity", "list"]);
        let mut entities = entities.as_array().into_iter().flatten();
        assert_eq!(entities.any(|one| one["name"] == entity), stays);
    }
}

#[test]
fn the_keep_of_an_entity_is_shown_changed_and_given_back() {
    let place = Place::with_account();
    let set = place.json(&["entity", "set", "acme", "--keep", "3d"]);
    assert_eq!(
        (&set["keep"], &set["effective_keep"], &set["files_moved"]),
        (&json!("3d"), &json!("3d"), &json!(0))
    );
    let shown = place.json(&["entity", "show", "acme"]);
    assert_eq!(shown["keep"], "3d");
    assert_eq!(shown["effective_keep_source"], "entity");
    assert_eq!(shown["accounts"], json!(["partner"]));
    let account = place.json(&["account", "show", "partner"]);
    assert_eq!(account["effective_keep"], "3d");

    let set = place.json(&["entity", "set", "acme", "--keep", "default"]);
    assert_eq!(set["keep"], json!(null));
    assert_eq!(set["effective_keep"], "5d");
    let plain = place.run(&["entity", "show", "acme"]).ok().stdout;
    assert!(plain.contains("keep\t5d (set by the "), "{plain}");
}

#[test]
fn a_keep_of_an_entity_over_the_maximum_is_refused_with_the_maximum() {
    let place = Place::with_account();
    place.run(&["entity", "set", "acme", "--keep", "5d"]).ok();
    place
        .run(&["entity", "set", "acme", "--keep", "120h1s"])
        .refused(1, "5d");
    assert_eq!(place.json(&["entity", "show", "acme"])["keep"], "5d");
    place
        .run(&["entity", "set", "nope", "--keep", "1d"])
        .refused(1, "`nope`");
    place.run(&["entity", "show", "nope"]).refused(1, "`nope`");
    let nothing = place.run(&["entity", "set", "acme"]);
    assert_eq!(nothing.code, Some(2), "{nothing:?}");
}

#[test]
fn accounts_are_listed_by_entity_with_their_use() {
    let place = Place::with_account();
    place.run(&["entity", "add", "other"]).ok();
    place
        .run(&[
            "account", "add", "second", "--entity", "other", "--quota", "10GiB",
        ])
        .ok();
    let names =
        |arguments: &[&str]| -> Vec<String> {
            let list = place.json(&[&["account", "list"], arguments].concat());
            let accounts = list.as_array().unwrap();
            assert!(accounts.iter().all(
                |account| account["used_bytes"] == 0 && account["last_login_at"] == json!(null)
            ));
            accounts
                .iter()
                .map(|account| account["name"].as_str().unwrap().to_owned())
                .collect()
        };
    assert_eq!(names(&[]), ["partner", "second"]);
    assert_eq!(names(&["--entity", "other"]), ["second"]);
    place
        .run(&["account", "list", "--entity", "nope"])
        .refused(1, "`nope`");
    let plain = place.run(&["account", "list"]).ok().stdout;
    let ends: Vec<_> = plain
        .lines()
        .map(|line| line.rsplitn(3, '\t').take(2).collect::<Vec<_>>())
        .collect();
    assert_eq!(ends, [["0 B / -", "-"], ["0 B / 10.0 GiB", "-"]]);
}

#[test]
fn an_entity_with_accounts_stays() {
    let place = Place::with_account();
    place.run(&["entity", "remove", "acme"]).refused(1, "acme");
    assert_eq!(place.json(&["entity", "list"])[0]["name"], "acme");
}

#[test]
fn an_account_shows_what_it_was_made_with() {
    let place = Place::new();
    place.run(&["entity", "add", "acme"]).ok();
    let added = place.json(&[
        "account",
        "add",
        "partner",
        "--entity",
        "acme",
        "--allow",
        "192.0.2.0/24",
        "--allow",
        "2001:db8::7",
        "--keep",
        "5s",
        "--quota",
        "10GiB",
        "--read-only",
        "--publish-on-rename",
        "--protocols",
        "sftp",
        "--home",
        "shared",
        "--session-reuse",
        "require",
    ]);
    let shown = place.json(&["account", "show", "partner"]);
    assert_eq!(added, shown, "add and show tell the same");
    assert_eq!(shown["entity"], "acme");
    assert_eq!(shown["home"], "shared");
    assert_eq!(shown["keep"], "5s");
    assert_eq!(shown["effective_keep"], "5s");
    assert_eq!(shown["effective_keep_source"], "account");
    assert_eq!(shown["quota_bytes"], 10_737_418_240_u64);
    assert_eq!(shown["read_only"], true);
    assert_eq!(shown["publish_on_rename"], true);
    assert_eq!(shown["tolerant_completion"], false);
    assert_eq!(shown["session_reuse"], "require");
    assert_eq!(shown["enabled"], true);
    assert_eq!(shown["has_password"], false);
    assert_eq!(shown["protocols"], json!(["sftp"]));
    let networks: Vec<_> = shown["networks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|n| &n["network"])
        .collect();
    assert!(networks.contains(&&json!("192.0.2.0/24")), "{networks:?}");
    assert!(
        networks.contains(&&json!("2001:db8::7/128")),
        "{networks:?}"
    );
    assert_eq!(place.json(&["account", "list"]), json!([shown]));
}

#[test]
fn limits_are_set_shown_told_and_taken_away() {
    let place = Place::new();
    place.run(&["entity", "add", "acme"]).ok();
    let bare = ["account", "add", "partner", "--entity", "acme"];
    let limits = ["--max-sessions", "4", "--upload-rate", "10MiB"];
    let added = place.json(&[&bare[..], &limits].concat());
    assert_eq!(added["max_sessions"], 4);
    assert_eq!(added["upload_bytes_per_s"], 10 << 20);
    assert_eq!(added["download_bytes_per_s"], json!(null));
    let told = |action: &str| {
        let entries = place.json(&["journal", "--kind", "admin", "-n", "1"]);
        let entry = entries.as_array().unwrap()[0].clone();
        assert_eq!(entry["action"], action);
        entry["detail"].clone()
    };
    assert_eq!(told("account.add")["upload_bytes_per_s"], 10 << 20);
    let set = ["account", "set", "partner"];
    let change = ["--download-rate", "1MiB/s", "--max-sessions", "none"];
    let changed = place.json(&[&set[..], &change].concat());
    assert_eq!(changed["max_sessions"], json!(null));
    assert_eq!(changed["upload_bytes_per_s"], 10 << 20, "left alone");
    assert_eq!(changed["download_bytes_per_s"], 1 << 20);
    let entry = told("account.set");
    assert_eq!(entry["max_sessions"], json!(null));
    assert_eq!(entry["download_bytes_per_s"], 1 << 20);
    assert_eq!(entry.get("upload_bytes_per_s"), None);
    let shown = place.run(&["account", "show", "partner"]).ok().stdout;
    assert!(shown.contains("10.0 MiB/s on each server"), "{shown}");
    for (flag, value, reason) in [
        ("--upload-rate", "0", "below 16KiB"),
        ("--upload-rate", "-5", "bytes a second"),
        ("--download-rate", "1KiB", "below 16KiB"),
        ("--download-rate", "2TiB", "above 1TiB"),
        ("--max-sessions", "0", "account disable"),
        ("--max-sessions", "-1", "from 1 to 100000"),
        ("--max-sessions", "100001", "from 1 to 100000"),
    ] {
        let refused = place.run(&[&set[..], &[flag, value]].concat());
        refused.refused(2, reason);
    }
    assert_eq!(
        place.json(&["account", "list"])[0]["max_sessions"],
        json!(null)
    );
}

#[test]
fn session_reuse_is_the_accounts_own_or_the_appliances() {
    let place = Place::new();
    place.run(&["entity", "add", "acme"]).ok();
    let added = place.json(&["account", "add", "partner", "--entity", "acme"]);
    assert_eq!(added["session_reuse"], json!(null));
    assert_eq!(added["effective_session_reuse"], "auto");
    for (word, own, effective) in [
        ("off", json!("off"), "off"),
        ("require", json!("require"), "require"),
        ("auto", json!("auto"), "auto"),
        ("default", json!(null), "auto"),
    ] {
        let set = place.json(&["account", "set", "partner", "--session-reuse", word]);
        assert_eq!(set["session_reuse"], own, "{word}");
        assert_eq!(set["effective_session_reuse"], effective, "{word}");
    }
    let shown = place.run(&["account", "show", "partner"]).ok();
    let text = "auto (set by the appliance)";
    assert!(shown.stdout.contains(text), "{shown:?}");
    let words: Vec<_> = place
        .json(&["journal", "--kind", "admin"])
        .as_array()
        .unwrap()
        .iter()
        .filter(|entry| entry["action"] == "account.set")
        .map(|entry| entry["detail"]["session_reuse"].clone())
        .collect();
    assert_eq!(words, ["off", "require", "auto", "appliance"]);
    place
        .run(&["account", "set", "partner", "--session-reuse", "on"])
        .refused(2, "no rule for session reuse");
}

#[test]
fn the_keep_of_the_entity_counts_where_the_account_has_none() {
    let place = Place::new();
    place.run(&["entity", "add", "acme", "--keep", "2d"]).ok();
    let added = place.json(&["account", "add", "partner", "--entity", "acme"]);
    assert_eq!(added["effective_keep"], "2d");
    assert_eq!(added["effective_keep_source"], "entity");
}

#[test]
fn a_setting_is_changed_and_taken_back_and_others_stay() {
    let place = Place::with_account();
    let set = place.json(&[
        "account",
        "set",
        "partner",
        "--keep",
        "1h",
        "--quota",
        "1MiB",
        "--read-only",
        "yes",
    ]);
    assert_eq!(set["keep"], "1h");
    assert_eq!(set["quota_bytes"], 1_048_576);
    assert_eq!(set["read_only"], true);
    assert_eq!(set["files_moved"], 0);
    for back in [
        &["--default-keep", "--no-quota"][..],
        &["--keep", "default", "--quota", "none"],
    ] {
        let change = [
            "account", "set", "partner", "--keep", "1h", "--quota", "1MiB",
        ];
        assert_eq!(place.json(&change)["quota_bytes"], 1_048_576);
        let set = place.json(&[&["account", "set", "partner"], back].concat());
        assert_eq!(set["keep"], json!(null), "{back:?}");
        assert_eq!(set["effective_keep"], "5d", "{back:?}");
        assert_eq!(set["quota_bytes"], json!(null), "{back:?}");
        assert_eq!(set["read_only"], true, "what was not named stays");
    }
    let told = place
        .run(&["account", "set", "partner", "--keep", "2h"])
        .ok();
    assert!(
        told.stdout
            .contains("files stay 2h (set by the account); no stored file has another expiry now"),
        "{told:?}"
    );
    let other = place.json(&["account", "set", "partner", "--read-only", "no"]);
    assert_eq!(other.get("files_moved"), None, "no keep was set");
}

#[test]
fn an_account_that_a_certificate_opens_says_so() {
    let place = Place::with_account();
    let by = |place: &Place| {
        let list = place.run(&["account", "list"]).ok().stdout;
        list.trim_end().split('\t').nth(7).unwrap().to_owned()
    };
    assert_eq!(by(&place), "none: cannot log in");
    let file = place.path().join("ca.pub");
    fs::write(&file, format!("cert-authority {KEY}")).unwrap();
    let file = file.to_str().unwrap();
    place.run(&["account", "key", "add", "partner", file]).ok();
    assert_eq!(by(&place), "certificate");
    let print = place.json(&["account", "key", "list", "partner"])[0]["fingerprint"].clone();
    let print = print.as_str().unwrap();
    let removed = place.run(&["account", "key", "remove", "partner", print]);
    assert!(removed.ok().stderr.contains("nobody can log in"));

    fs::write(file, KEY).unwrap();
    let text = fs::read_to_string(place.path().join("layover.toml")).unwrap();
    let trusting = format!("trusted_user_ca_keys = [{file:?}]\n[storage]");
    place.settings(&text.replace("[storage]", &trusting));
    assert_eq!(by(&place), "certificate");
    let shown = place.run(&["account", "show", "partner"]).ok().stdout;
    assert!(shown.contains("logs in by\tcertificate\n"), "{shown}");
    let shown = place.json(&["account", "set", "partner", "--auth", "password"]);
    assert_eq!(shown["opened_by_certificate"], false);
    assert_eq!(by(&place), "none: cannot log in");
}

#[test]
fn a_change_after_which_nobody_can_log_in_is_done_and_warned_of() {
    let place = Place::with_account();
    let input = "a password of some length\n";
    let set = place.run_with_input(&["account", "password", "partner", "--stdin"], input);
    assert_eq!(set.ok().stderr, "");
    let harmless = place.run(&["account", "set", "partner", "--auth", "password"]);
    assert_eq!(harmless.ok().stderr, "");
    for (change, missing) in [
        (&["set", "partner", "--auth", "key"][..], "no key"),
        (&["password", "partner", "--remove"], "no key"),
        (
            &["set", "partner", "--auth", "any"],
            "neither key nor password",
        ),
    ] {
        let done = place.run(&[&["account"], change].concat()).ok();
        let warning = format!("warning: {missing}: nobody can log in as `partner` any more");
        assert!(done.stderr.contains(&warning), "{done:?}");
    }
    let other = place.run(&["account", "set", "partner", "--read-only", "yes"]);
    assert_eq!(other.ok().stderr, "", "nothing was taken away");
}

#[test]
fn what_an_account_must_show_is_set_and_journalled_and_anything_else_refused() {
    let place = Place::with_account();
    assert_eq!(place.json(&["account", "show", "partner"])["auth"], "any");
    for policy in ["password", "key", "key+password", "any"] {
        let set = place.json(&["account", "set", "partner", "--auth", policy]);
        assert_eq!(set["auth"], policy);
        let shown = place.run(&["account", "show", "partner"]).ok();
        assert!(shown.stdout.contains(policy), "{shown:?}");
    }
    let changes = place.json(&["journal", "--kind", "admin"]);
    let told: Vec<_> = changes
        .as_array()
        .unwrap()
        .iter()
        .filter(|entry| entry["action"] == "account.set")
        .map(|entry| entry["detail"]["auth"].clone())
        .collect();
    assert_eq!(told, ["password", "key", "key+password", "any"]);
    place
        .run(&["account", "set", "partner", "--auth", "certificate"])
        .refused(2, "key+password");
    let added = place
        .run(&[
            "account",
            "add",
            "both",
            "--entity",
            "acme",
            "--auth",
            "key+password",
            "--generate-password",
        ])
        .ok();
    assert!(added.stdout.contains("no key"), "{added:?}");
    let check = place.json(&["check"]).to_string();
    assert!(check.contains("both"), "{check}");
}

#[test]
fn an_account_is_disabled_enabled_and_removed() {
    let place = Place::with_account();
    assert_eq!(
        place.json(&["account", "disable", "partner"])["enabled"],
        false
    );
    assert_eq!(
        place.json(&["account", "enable", "partner"])["enabled"],
        true
    );
    place.run(&["account", "remove", "partner"]).ok();
    assert_eq!(place.json(&["account", "list"]), json!([]));
    place
        .run(&["account", "show", "partner"])
        .refused(1, "partner");
}

#[test]
fn a_generated_password_is_shown_once_and_only_there() {
    let place = Place::with_account();
    let made = place.json(&["account", "password", "partner", "--generate"]);
    let password = made["generated_password"].as_str().unwrap();
    assert!(password.len() >= 20, "{password}");
    assert_eq!(made["has_password"], true);
    for arguments in [
        &["account", "show", "partner"][..],
        &["account", "list"],
        &["journal"],
    ] {
        assert!(
            !place.run(arguments).ok().stdout.contains(password),
            "{arguments:?}"
        );
    }
    let removed = place.json(&["account", "password", "partner", "--remove"]);
    assert_eq!(removed["has_password"], false);
}

#[test]
fn a_password_is_read_from_the_first_line_of_standard_input() {
    let place = Place::with_account();
    let set = ["account", "password", "partner", "--stdin"];
    place.run_with_input(&set, "correct horse battery\n").ok();
    assert_eq!(
        place.json(&["account", "show", "partner"])["has_password"],
        true
    );
    let short = place
        .run_with_input(&set, "short\n")
        .refused(1, "at least 12");
    assert!(
        !short.stderr.contains("short\n"),
        "the password is not repeated: {short:?}"
    );
}

#[test]
fn keys_are_added_listed_and_removed() {
    let place = Place::with_account();
    let file = place.path().join("id.pub");
    fs::write(&file, KEY).unwrap();
    let file = file.to_str().unwrap();
    place.run(&["account", "key", "add", "partner", file]).ok();
    let keys = place.json(&["account", "key", "list", "partner"]);
    assert_eq!(keys[0]["algorithm"], "ssh-ed25519");
    assert_eq!(keys[0]["comment"], "partner@example");
    let fingerprint = keys[0]["fingerprint"].as_str().unwrap();
    assert!(fingerprint.starts_with("SHA256:"), "{fingerprint}");
    place
        .run(&["account", "key", "add", "partner", file])
        .refused(1, fingerprint);
    place
        .run(&["account", "key", "remove", "partner", fingerprint])
        .ok();
    assert_eq!(
        place.json(&["account", "key", "list", "partner"]),
        json!([])
    );
    place
        .run_with_input(&["account", "key", "add", "partner", "-"], KEY)
        .ok();
    assert_eq!(
        place.json(&["account", "key", "list", "partner"])[0]["fingerprint"],
        fingerprint
    );
}

#[test]
fn networks_are_added_with_reason_and_end_and_removed() {
    let place = Place::with_account();
    let add = ["account", "allow", "add", "partner", "192.0.2.0/24"];
    place
        .run(&[&add[..], &["--reason", "ticket 7", "--until", "2099-01-31"]].concat())
        .ok();
    let networks = place.json(&["account", "allow", "list", "partner"]);
    let added = networks
        .as_array()
        .unwrap()
        .iter()
        .find(|n| n["network"] == "192.0.2.0/24")
        .unwrap();
    assert_eq!(added["reason"], "ticket 7");
    assert_eq!(added["until"], "2099-02-01T00:00:00Z");
    assert_eq!(added["any"], false);
    place
        .run(&["account", "allow", "remove", "partner", "192.0.2.0/24"])
        .ok();
    let last = place
        .run(&["account", "allow", "remove", "partner", "127.0.0.1"])
        .ok();
    assert!(last.stdout.contains("cannot log in"), "{last:?}");
    assert_eq!(
        place.json(&["account", "allow", "list", "partner"]),
        json!([])
    );
}

#[test]
fn a_network_that_is_allowed_already_is_changed_where_something_is_said() {
    let place = Place::with_account();
    let add = |more: &[&str]| {
        let network = ["account", "allow", "add", "partner", "192.0.2.0/24"];
        let answer = place.json(&[&network[..], more].concat());
        let networks = place.json(&["account", "allow", "list", "partner"]);
        let networks = networks.as_array().unwrap();
        assert_eq!(networks.len(), 2, "{networks:?}");
        let listed = &networks[1];
        assert_eq!(listed["until"], answer["until"]);
        assert_eq!(listed["reason"], answer["reason"]);
        json!([answer["change"], answer["until"], answer["reason"]])
    };
    assert_eq!(
        add(&["--until", "2099-01-31", "--reason", "ticket 7"]),
        json!(["new", "2099-02-01T00:00:00Z", "ticket 7"])
    );
    assert_eq!(
        add(&["--until", "2099-02-28"]),
        json!(["changed", "2099-03-01T00:00:00Z", "ticket 7"])
    );
    assert_eq!(
        add(&["--reason", "ticket 8"]),
        json!(["changed", "2099-03-01T00:00:00Z", "ticket 8"])
    );
    assert_eq!(
        add(&[]),
        json!(["none", "2099-03-01T00:00:00Z", "ticket 8"])
    );
    assert_eq!(
        add(&["--until", "never"]),
        json!(["changed", null, "ticket 8"])
    );
    let journal = place.json(&["journal", "--account", "partner"]);
    let changes: Vec<_> = journal
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["action"].as_str().unwrap())
        .filter(|action| action.starts_with("account.allow."))
        .collect();
    assert_eq!(
        changes,
        [
            "account.allow.add",
            "account.allow.set",
            "account.allow.set",
            "account.allow.set"
        ]
    );
}

#[test]
fn any_is_explicit_and_stands_out() {
    let place = Place::with_account();
    let added = place
        .run(&["account", "allow", "add", "partner", "any"])
        .ok();
    assert!(added.stdout.contains("EVERY address"), "{added:?}");
    let networks = place.json(&["account", "allow", "list", "partner"]);
    assert!(
        networks
            .as_array()
            .unwrap()
            .iter()
            .any(|n| n["any"] == true),
        "{networks}"
    );
}

#[test]
fn an_account_that_cannot_log_in_is_told_so_with_the_next_step() {
    let place = Place::new();
    place.run(&["entity", "add", "acme"]).ok();
    let added = place
        .run(&["account", "add", "partner", "--entity", "acme"])
        .ok();
    assert!(
        added.stdout.contains("layover account allow add partner"),
        "{added:?}"
    );
    assert!(
        added.stdout.contains("layover account key add partner"),
        "{added:?}"
    );
}

#[test]
fn permissions_are_set_replaced_listed_and_removed() {
    let place = Place::with_account();
    let permission =
        |arguments: &[&str]| place.run(&[&["account", "permission"], arguments].concat());
    permission(&["set", "partner", "/in", "list,read"]).ok();
    permission(&["set", "partner", "/in", "list,write"]).ok();
    let list = place.json(&["account", "permission", "list", "partner"]);
    assert_eq!(
        list,
        json!([{ "path": "/in", "rights": ["list", "write"] }])
    );
    permission(&["set", "partner", "/out", "none"]).ok();
    let plain = permission(&["list", "partner"]).ok().stdout;
    assert_eq!(plain, "/in\tlist,write\n/out\tnone\n");
    let list = place.json(&["account", "permission", "list", "partner"]);
    assert_eq!(list[1], json!({ "path": "/out", "rights": [] }));
    permission(&["remove", "partner", "/out"]).ok();
    permission(&["remove", "partner", "/in"]).ok();
    assert_eq!(
        place.json(&["account", "permission", "list", "partner"]),
        json!([])
    );
    permission(&["remove", "partner", "/in"]).refused(1, "/in");
}

#[test]
fn a_pipe_gets_tab_separated_lines_without_heading_or_colours() {
    let place = Place::with_account();
    let listed = place.run(&["account", "list"]).ok().stdout;
    assert_eq!(listed.lines().count(), 1, "{listed}");
    assert!(
        listed.starts_with("partner\tacme\tpartner\tenabled\t"),
        "{listed}"
    );
    assert!(!listed.contains('\u{1b}'), "{listed:?}");
}

#[test]
fn permissions_that_a_read_only_account_does_not_get_are_warned_of() {
    let place = Place::with_account();
    let set = |rights: &str| {
        place
            .run(&["account", "permission", "set", "partner", "/in", rights])
            .ok()
            .stderr
    };
    let read_only = |yes: &str| {
        place
            .run(&["account", "set", "partner", "--read-only", yes])
            .ok()
            .stderr
    };
    let warned = |said: &str| said.contains("read-only, which wins");
    assert!(!warned(&set("list,write")));
    assert!(warned(&read_only("yes")));
    assert!(warned(&set("list,write")));
    assert!(!warned(&set("list,read")));
    assert!(!warned(&read_only("yes")), "nothing is lost");
    assert!(!warned(&read_only("no")));
}

#[test]
fn a_network_is_allowed_for_a_span() {
    let place = Place::with_account();
    let add = ["account", "allow", "add", "partner", "10.0.0.0/8"];
    let until = |text: &str| place.json(&[&add[..], &["--until", text]].concat())["until"].clone();
    let (day, days) = (until("1d"), until("30d"));
    let (day, days) = (day.as_str().unwrap(), days.as_str().unwrap());
    assert!(day < days, "{day} {days}");
    assert_eq!(until("2099-01-31T18:00:00+02:00"), "2099-01-31T16:00:00Z");
    assert_eq!(until("2099-01-31"), "2099-02-01T00:00:00Z");
}
