//! `layover host-key` without a server that runs.

use std::fs;

use serde_json::{Value, json};

use crate::place::Place;

fn states(place: &Place) -> Vec<(String, Value)> {
    let keys = place.json(&["host-key", "list"]);
    let keys = keys.as_array().unwrap().iter();
    keys.map(|key| {
        let file = key["source"].as_str().unwrap();
        let file = file.rsplit('/').next().unwrap().to_owned();
        (file, key["state"].clone())
    })
    .collect()
}

#[test]
fn keys_are_listed_added_served_and_retired() {
    let place = Place::with_account();
    assert_eq!(place.json(&["host-key", "list"]), json!([]));
    let first = place.json(&["host-key", "add", "--algorithm", "ed25519"]);
    assert_eq!(first["state"], "announced", "{first}");
    // What the settings need is made first, and is the one that is served.
    let wanted = [
        ("ssh_host_ed25519_key".to_owned(), json!("served")),
        ("ssh_host_ed25519_key-2".to_owned(), json!("announced")),
    ];
    assert_eq!(states(&place), wanted);
    let print = first["fingerprint"].as_str().unwrap();
    let served = place.run(&["host-key", "serve", print]).ok();
    assert!(served.stdout.contains("within 5 seconds"), "{served:?}");
    let again = place.json(&["host-key", "serve", print]);
    assert_eq!(again["state"], "served", "{again}");
    place
        .run(&["host-key", "retire", print])
        .refused(1, "announce it to partners before you serve it");
    let keys = place.json(&["host-key", "list"]);
    let old = keys[0]["fingerprint"].as_str().unwrap();
    let told = place.json(&["host-key", "readiness"]);
    assert_eq!(told["retiring"], old, "{told}");
    assert_eq!(told["accounts"][0]["account"], "partner", "{told}");
    assert_eq!(told["accounts"][0]["ready"], Value::Null, "{told}");
    place.run(&["host-key", "retire", old]).ok();
    let wanted = [
        ("ssh_host_ed25519_key".to_owned(), json!("retired")),
        ("ssh_host_ed25519_key-2".to_owned(), json!("served")),
    ];
    assert_eq!(states(&place), wanted);
    let journal = place.json(&["journal"]);
    let entries = journal.as_array().unwrap().iter();
    let actions: Vec<_> = entries
        .filter_map(|entry| entry["action"].as_str())
        .filter(|action| action.starts_with("host-key."))
        .collect();
    let wanted = [
        "host-key.add",
        "host-key.serve",
        "host-key.serve",
        "host-key.retire",
    ];
    assert_eq!(actions, wanted);
}

#[test]
fn what_cannot_be_is_refused_with_what_to_do() {
    let place = Place::new();
    place
        .run(&["host-key", "add", "--algorithm", "ecdsa"])
        .refused(1, "layover serve");
    assert!(!place.data_dir().exists());
    let place = Place::with_account();
    place.run(&["host-key", "add"]).refused(2, "--algorithm");
    place
        .run(&["host-key", "add", "--algorithm", "rsa"])
        .refused(2, "ed25519");
    place
        .run(&["host-key", "add", "--file", "absent"])
        .refused(1, "absent");
    fs::write(place.path().join("text"), "no key").unwrap();
    place
        .run(&["host-key", "add", "--file", "text"])
        .refused(1, "no OpenSSH private key");
    for command in ["serve", "retire"] {
        place
            .run(&["host-key", command, "SHA256:unknown"])
            .refused(1, "layover host-key list");
    }
    place
        .run(&["host-key", "readiness", "--retiring", "SHA256:unknown"])
        .refused(1, "layover host-key list");
    place.run(&["host-key", "add", "--algorithm", "ecdsa"]).ok();
    fs::write(place.data_dir().join("keys/host_keys.json"), "{").unwrap();
    for command in [
        &["host-key", "list"][..],
        &["host-key", "add", "--algorithm", "ecdsa"],
    ] {
        place.run(command).refused(1, "restore it from a backup");
    }
}
