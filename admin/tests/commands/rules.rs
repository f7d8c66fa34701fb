//! Rules for folders, and for files that were collected.

use serde_json::json;

use crate::place::Place;

#[test]
fn a_folders_rule_is_set_shown_changed_and_removed() {
    let place = Place::with_account();
    let set = place.json(&[
        "retention",
        "folder",
        "set",
        "partner",
        "/in",
        "--keep",
        "2d",
        "--reason",
        "ticket 7",
    ]);
    assert_eq!(
        set,
        json!({"home": "partner", "path": "/in", "keep": "2d", "files_moved": 0})
    );
    place
        .run(&[
            "retention",
            "folder",
            "set",
            "--home",
            "partner",
            "/in",
            "--collected-keep",
            "6h",
            "--reason",
            "and sooner",
        ])
        .ok();
    let listed = place.json(&["retention", "folder", "list", "partner"]);
    assert_eq!(listed[0]["path"], "/in");
    assert_eq!(
        (&listed[0]["keep"], &listed[0]["collected_keep"]),
        (&json!("2d"), &json!("6h"))
    );
    assert_eq!(listed[0]["reason"], "and sooner");
    place
        .run(&[
            "retention",
            "folder",
            "set",
            "partner",
            "/in",
            "--keep",
            "default",
            "--reason",
            "x",
        ])
        .ok();
    let listed = place.json(&["retention", "folder", "list", "--home", "partner"]);
    assert_eq!(
        (&listed[0]["keep"], &listed[0]["collected_keep"]),
        (&json!(null), &json!("6h"))
    );
    place
        .run(&[
            "retention",
            "folder",
            "remove",
            "partner",
            "/in",
            "--reason",
            "over",
        ])
        .ok();
    place
        .run(&[
            "retention",
            "folder",
            "remove",
            "partner",
            "/in",
            "--reason",
            "over",
        ])
        .refused(1, "has no rule");
    assert_eq!(
        place.json(&["retention", "folder", "list", "partner"]),
        json!([])
    );
    let journal = place.run(&["journal", "--kind", "admin"]).ok().stdout;
    for said in [
        "retention.folder.set",
        "retention.folder.remove",
        "ticket 7",
        "over",
    ] {
        assert!(journal.contains(said), "{said}: {journal}");
    }
}

#[test]
fn a_rule_beyond_the_maximum_or_without_reason_or_content_is_refused() {
    let place = Place::with_account();
    place
        .run(&[
            "retention",
            "folder",
            "set",
            "partner",
            "/in",
            "--keep",
            "6d",
            "--reason",
            "x",
        ])
        .refused(1, "exceeds the limit of 5d");
    place
        .run(&["account", "set", "partner", "--collected-keep", "6d"])
        .refused(1, "exceeds the limit of 5d");
    for wrong in [
        &["set", "partner", "/in", "--keep", "2d"][..],
        &["set", "partner", "/in", "--reason", "x"],
        &["set", "partner", "--keep", "2d", "--reason", "x"],
        &["remove", "partner", "/in"],
    ] {
        let refused = place.run(&[&["retention", "folder"], wrong].concat());
        assert_eq!(refused.code, Some(2), "{wrong:?}: {refused:?}");
    }
    assert_eq!(
        place.json(&["retention", "folder", "list", "partner"]),
        json!([])
    );
}

#[test]
fn an_account_says_how_long_collected_files_stay() {
    let place = Place::with_account();
    let set = place.json(&[
        "account",
        "set",
        "partner",
        "--collected-keep",
        "12h",
        "--reason",
        "agreed",
    ]);
    assert_eq!(
        (&set["collected_keep"], &set["files_moved"]),
        (&json!("12h"), &json!(0))
    );
    let shown = place.run(&["account", "show", "partner"]).ok().stdout;
    assert!(shown.contains("12h, if that is sooner"), "{shown}");
    let journal = place.run(&["journal", "--kind", "admin"]).ok().stdout;
    assert!(journal.contains("agreed"), "{journal}");
    let set = place.json(&["account", "set", "partner", "--collected-keep", "none"]);
    assert_eq!(set["collected_keep"], json!(null));
    let added = place.json(&[
        "account",
        "add",
        "second",
        "--entity",
        "acme",
        "--collected-keep",
        "1h",
    ]);
    assert_eq!(added["collected_keep"], "1h");
    let set = place.json(&[
        "entity",
        "set",
        "acme",
        "--keep",
        "3d",
        "--reason",
        "contract of June",
    ]);
    assert_eq!(set["effective_keep"], "3d");
    let journal = place.run(&["journal", "--kind", "admin"]).ok().stdout;
    assert!(journal.contains("contract of June"), "{journal}");
}
