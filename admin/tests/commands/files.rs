//! `file`: whose files, where, and what is said when there is nothing.

use serde_json::json;

use crate::place::Place;

#[test]
fn a_home_is_named_by_its_account_or_by_itself() {
    let place = Place::with_account();
    for of in [
        &["partner"][..],
        &["partner", "/"],
        &["--home", "partner"],
        &["--home", "partner", "/"],
        &["/", "--home", "partner"],
    ] {
        let listed = place.json(&[&["file", "list"], of].concat());
        assert_eq!(listed, json!([]), "{of:?}");
    }
    place.run(&["account", "remove", "partner"]).ok();
    place
        .run(&["file", "list", "partner"])
        .refused(1, "no account `partner`");
    assert_eq!(
        place.json(&["file", "list", "--home", "partner"]),
        json!([]),
        "the home outlives its account"
    );
}

#[test]
fn an_unknown_account_home_or_path_is_a_failure_with_its_name() {
    let place = Place::with_account();
    for (of, reason) in [
        (&["nope"][..], "`nope`"),
        (&["--home", "nope"], "no home `nope`"),
        (&["partner", "/nope"], "no `/nope` in home `partner`"),
        (&["--home", "partner", "nope"], "no `/nope`"),
    ] {
        let refused = place
            .run(&[&["file", "list"], of].concat())
            .refused(1, reason);
        assert_eq!(refused.stdout, "", "{of:?}");
    }
    std::fs::create_dir_all(place.data_dir().join("homes/partner/empty")).unwrap();
    assert_eq!(
        place.json(&["file", "list", "partner", "/empty"]),
        json!([])
    );
}

#[test]
fn a_path_without_its_owner_or_an_owner_twice_is_a_mistake_in_usage() {
    let place = Place::with_account();
    for of in [
        &["list"][..],
        &["list", "/in"],
        &["list", "/in", "/in"],
        &["list", "partner", "/in", "--home", "partner"],
        &["list", "in valid"],
        &["remove", "partner"],
        &["remove", "--home", "partner"],
        &["remove", "/in"],
    ] {
        let refused = place.run(&[&["file"], of].concat());
        assert_eq!(refused.code, Some(2), "{of:?}: {refused:?}");
    }
}

#[test]
fn what_is_not_there_cannot_be_removed() {
    let place = Place::with_account();
    place
        .run(&["file", "remove", "partner", "/nope"])
        .refused(1, "no stored file `/nope`");
    place
        .run(&["file", "remove", "partner", "/nope", "--partial"])
        .refused(1, "no unfinished upload `/nope`");
    place
        .run(&["file", "remove", "--home", "nope", "/a"])
        .refused(1, "no home `nope`");
}

#[test]
fn a_list_without_rows_says_so_beside_its_result() {
    let place = Place::with_account();
    for (arguments, told) in [
        (&["retention", "sweep", "--dry-run"][..], "nothing is due\n"),
        (
            &["file", "list", "partner"],
            "home `partner` has no files in /\n",
        ),
        (&["session", "list"], "nobody is logged in\n"),
        (
            &["journal", "--kind", "transfer"],
            "no such entries in the journal\n",
        ),
    ] {
        let plain = place.run(arguments).ok();
        assert_eq!((plain.stdout.as_str(), plain.stderr.as_str()), ("", told));
        let json = place.run(&[arguments, &["--json"]].concat()).ok();
        assert_eq!(json.json(), json!([]));
        assert_eq!(json.stderr, told);
    }
}
