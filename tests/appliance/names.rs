//! Names and paths that attack or merely surprise.

use layover_tests::account::{Account, PASSWORD};
use layover_tests::packet::{open, status};
use layover_tests::partner::Why;
use layover_tests::{Engine, Layover, Protocol, Setup, over_both_protocols};

use crate::ledger;

fn serve() -> (Layover, Account) {
    serve_on(Engine::Sqlite)
}

fn serve_on(engine: Engine) -> (Layover, Account) {
    let layover = Setup::new(engine).prepare();
    let account = layover.account("partner").password(PASSWORD).add();
    layover.start();
    (layover, account)
}

over_both_protocols!(
    a_name_of_255_bytes_is_stored_and_one_of_256_is_refused,
    deep_folders_work_up_to_the_limit,
    no_spelling_of_dot_dot_leaves_the_home,
    a_link_in_the_tree_leads_nowhere,
    s03_names_that_are_not_utf_8_come_back_byte_for_byte,
    a_name_that_is_no_text_is_listed_held_and_removed_by_its_bytes,
    the_upload_area_cannot_be_reached_by_its_name,
    control_characters_are_refused_and_the_session_goes_on,
);

/// Over SFTP more of them can be sent: see `nul_and_control_characters_...`.
fn control_characters_are_refused_and_the_session_goes_on(protocol: Protocol, engine: Engine) {
    let (layover, account) = serve_on(engine);
    let mut partner = account.partner(&layover, protocol);
    for name in [
        &b"/carriage\rreturn"[..],
        b"/tab\tulator",
        b"/escape\x1b[2J",
        b"/delete\x7f",
        b"/bell\x07",
    ] {
        let refused = partner.put(name, b"content").expect_err("a bad name");
        assert_eq!(refused.why, Why::Other, "{name:?}: {refused:?}");
        let refused = partner.make_dir(name).expect_err("a bad name");
        assert_eq!(refused.why, Why::Other, "{name:?}: {refused:?}");
    }
    assert!(partner.names(b"/").expect("list").is_empty());
}

fn a_name_of_255_bytes_is_stored_and_one_of_256_is_refused(protocol: Protocol, engine: Engine) {
    let (layover, account) = serve_on(engine);
    let mut partner = account.partner(&layover, protocol);
    let longest = [b"/", &[b'n'; 255][..]].concat();
    let too_long = [b"/", &[b'n'; 256][..]].concat();
    partner.put(&longest, b"content").expect("255 bytes");
    assert_eq!(partner.get(&longest).expect("get"), b"content");
    for outcome in [
        partner.put(&too_long, b"content"),
        partner.make_dir(&too_long),
        partner.rename(&longest, &too_long),
    ] {
        let refused = outcome.expect_err("256 bytes");
        assert_eq!(refused.why, Why::Other, "{refused:?}");
    }
    assert_eq!(partner.get(&longest).expect("still there"), b"content");
    ledger::agrees_with_tree(&layover, "partner");
}

/// Path limit 4,096 bytes: the longest path is answered in order (there is no such file), one byte
/// more is refused as a bad path, and the session goes on.
#[test]
fn a_path_of_4096_bytes_is_looked_up_and_one_of_4097_is_refused() {
    let (layover, account) = serve();
    let mut sftp = account.sftp(&layover);
    // 40 components of 100 bytes with their slashes, then filled up: less than any depth limit.
    let mut longest: Vec<u8> = b"/"
        .iter()
        .chain(&[b'd'; 99])
        .copied()
        .collect::<Vec<_>>()
        .repeat(40);
    longest.push(b'/');
    longest.resize(4096, b'f');
    let missing = sftp.stat(&longest).expect_err("no such file");
    assert_eq!(missing.code(), Some(status::NO_SUCH_FILE));
    longest.push(b'f');
    let refused = sftp.stat(&longest).expect_err("4,097 bytes");
    assert!(refused.code().is_some(), "the session ended");
    sftp.put(b"/file", b"the session goes on").expect("put");
}

fn deep_folders_work_up_to_the_limit(protocol: Protocol, engine: Engine) {
    let (layover, account) = serve_on(engine);
    let mut partner = account.partner(&layover, protocol);
    let mut path = Vec::new();
    for _ in 0..127 {
        path.extend_from_slice(b"/d");
        partner.make_dir(&path).expect("mkdir");
    }
    path.extend_from_slice(b"/f");
    partner.put(&path, b"content").expect("128 components");
    assert_eq!(partner.get(&path).expect("get"), b"content");
    path.extend_from_slice(b"/g");
    let refused = partner.size(&path).expect_err("129 components");
    assert_eq!(refused.why, Why::Other, "{refused:?}");
    ledger::agrees_with_tree(&layover, "partner");
}

#[test]
fn nul_and_control_characters_are_refused_and_the_session_goes_on() {
    let (layover, account) = serve();
    let mut sftp = account.sftp(&layover);
    for name in [
        &b"/nul\0byte"[..],
        b"/file\0",
        b"/line\nfeed",
        b"/carriage\rreturn",
        b"/tab\tulator",
        b"/escape\x1b[2J",
        b"/delete\x7f",
        b"/bell\x07",
    ] {
        let opened = sftp.open(name, open::FRESH);
        assert!(
            opened.expect_err("bad name").code().is_some(),
            "{name:?} ended the session"
        );
        let made = sftp.make_dir(name);
        assert!(
            made.expect_err("bad name").code().is_some(),
            "{name:?} ended the session"
        );
    }
    assert!(sftp.list(b"/").expect("list").is_empty());
}

/// `..` stops at the root: nothing of the operator's system is reached by any spelling.
fn no_spelling_of_dot_dot_leaves_the_home(protocol: Protocol, engine: Engine) {
    let (layover, account) = serve_on(engine);
    let secret = layover.homes().join("secret");
    std::fs::write(&secret, "another's").expect("write secret");
    let mut partner = account.partner(&layover, protocol);
    partner.make_dir(b"/dir").expect("mkdir");
    for path in [
        &b"../secret"[..],
        b"/../secret",
        b"/dir/../../secret",
        b"/dir/../../../../../../etc/passwd",
        b"//..//..//secret",
        b"./../secret",
        b"/dir/./../..//secret",
    ] {
        let got = partner.get(path).expect_err("outside the home");
        assert_eq!(got.why, Why::NotFound, "{}", path.escape_ascii());
    }
    partner
        .put(b"/../../escaped", b"content")
        .expect("stays inside");
    assert!(layover.homes().join("partner/escaped").exists());
    assert!(!layover.homes().join("escaped").exists());
    assert_eq!(
        partner.names(b"/dir/../..").expect("list"),
        [b"dir".to_vec(), b"escaped".to_vec()]
    );
    assert_eq!(std::fs::read(&secret).expect("read"), b"another's");
}

fn a_link_in_the_tree_leads_nowhere(protocol: Protocol, engine: Engine) {
    let (layover, account) = serve_on(engine);
    let home = layover.homes().join("partner");
    let mut partner = account.partner(&layover, protocol);
    partner.put(b"/file", b"content").expect("put");
    let outside = layover.scratch().join("outside");
    std::fs::create_dir(&outside).expect("make folder");
    std::fs::write(outside.join("secret"), "another's").expect("write secret");
    std::os::unix::fs::symlink(&outside, home.join("link")).expect("link");
    std::os::unix::fs::symlink(outside.join("secret"), home.join("direct")).expect("link");
    for path in [&b"/link/secret"[..], b"/direct", b"/link/../link/secret"] {
        let refused = partner.get(path).expect_err("through a link");
        assert_ne!(refused.why, Why::Lost, "{}", path.escape_ascii());
    }
    partner
        .put(b"/link/new", b"content")
        .expect_err("write through a link");
    assert!(!outside.join("new").exists());
    let refused = partner.names(b"/link").expect_err("list through a link");
    assert_ne!(refused.why, Why::Lost, "{refused:?}");
}

#[test]
fn clients_cannot_make_links() {
    use layover_tests::packet::{Body, request};
    let (layover, account) = serve();
    let mut sftp = account.sftp(&layover);
    let body = Body::new().string(b"/etc/passwd").string(b"/link");
    let refused = sftp.done(request::SYMLINK, &body).expect_err("symlink");
    assert_eq!(refused.code(), Some(status::OP_UNSUPPORTED));
    let body = Body::new()
        .string(b"hardlink@openssh.com")
        .string(b"/a")
        .string(b"/b");
    let refused = sftp.done(request::EXTENDED, &body).expect_err("hard link");
    assert_eq!(refused.code(), Some(status::OP_UNSUPPORTED));
}

/// S03.
fn s03_names_that_are_not_utf_8_come_back_byte_for_byte(protocol: Protocol, engine: Engine) {
    let (layover, account) = serve_on(engine);
    let mut partner = account.partner(&layover, protocol);
    let names: [&[u8]; 6] = [
        b"latin1-\xe4\xf6\xfc",
        b"\xff\xfe\x80",
        "\u{4f60}\u{597d}".as_bytes(),
        b"half a letter \xc3",
        b" spaces at both ends ",
        b"\"quotes\" 'and' \\ $(id) ; *?",
    ];
    for name in names {
        partner.put(&[b"/", name].concat(), name).expect("put");
    }
    let listed = partner.names(b"/").expect("list");
    let mut expected: Vec<Vec<u8>> = names.iter().map(|name| name.to_vec()).collect();
    expected.sort();
    assert_eq!(listed, expected);
    for name in names {
        let path = [b"/", name].concat();
        assert_eq!(partner.get(&path).expect("get"), name);
        assert_eq!(partner.size(&path).expect("size"), name.len() as u64);
    }
}

/// S03, for operators: they name what they cannot type.
fn a_name_that_is_no_text_is_listed_held_and_removed_by_its_bytes(
    protocol: Protocol,
    engine: Engine,
) {
    let (layover, account) = serve_on(engine);
    let mut partner = account.partner(&layover, protocol);
    partner.make_dir(b"/in-\xff").expect("make a folder");
    for name in [&b"/in-\xff/one-\xff"[..], b"/in-\xff/one-\xfe", b"/hex:2f"] {
        partner.put(name, b"content").expect("put");
    }
    let hex = "2f696e2dff2f6f6e652dff";
    let of_bytes = format!("hex:{hex}");
    let rows = layover.rows(&["file", "list", "partner"]);
    let found: Vec<_> = rows.iter().map(|row| row["path_hex"].as_str()).collect();
    assert_eq!(rows.len(), 3, "{rows:?}");
    assert!(found.contains(&Some(hex)), "{rows:?}");
    let text = rows.iter().find(|row| row["path"] == "/hex:2f");
    assert!(text.expect("it is there")["path_hex"].is_null());
    // What is shown can be given back.
    let shown = layover.admin(&["file", "list", "partner"]).stdout;
    assert!(shown.contains(&format!("({of_bytes})")), "{shown}");
    for (of, count) in [(of_bytes.as_str(), 1), ("hex:2f696e2dff", 2)] {
        let rows = layover.rows(&["file", "list", "partner", of]);
        assert_eq!(rows.len(), count, "{of}: {rows:?}");
    }
    // What stands for a byte that is no text is another name.
    let refused = layover.run(&["file", "list", "partner", "/in-\u{fffd}"]);
    let refused = refused.expect_code(1);
    assert!(refused.stderr.contains("there is no"), "{refused}");
    assert_eq!(
        layover
            .rows(&["file", "list", "--home", "partner", &of_bytes])
            .len(),
        1
    );
    let forecast = layover.rows(&["retention", "forecast", "--within", "30d", "--files"]);
    let hexes = forecast.iter().filter(|row| row["path_hex"] == hex);
    assert_eq!(hexes.count(), 1, "{forecast:?}");
    let journal = layover.rows(&["journal", "--path", &of_bytes, "--limit", "0"]);
    assert!(!journal.is_empty());
    assert!(
        journal.iter().all(|row| row["path_hex"] == hex),
        "{journal:?}"
    );

    let until = ["--reason", "a case", "--until", "90d"];
    let add = ["retention", "hold", "add", "partner", &of_bytes];
    let hold = layover.json(&[&add[..], &until].concat());
    assert_eq!(
        (&hold["path_hex"], &hold["scope"]),
        (&hex.into(), &"file".into())
    );
    let holds = layover.rows(&["retention", "hold", "list"]);
    assert_eq!(holds[0]["path_hex"], hex);
    let rule = ["partner", "hex:2f696e2dff", "--reason", "a rule"];
    layover.admin(
        &[
            &["retention", "folder", "set"][..],
            &rule,
            &["--keep", "1d"],
        ]
        .concat(),
    );
    let rules = layover.rows(&["retention", "folder", "list", "partner"]);
    assert_eq!(rules[0]["path_hex"], "2f696e2dff");
    let permit = ["account", "permission", "set", "partner", "hex:2f696e2dff"];
    layover.admin(&[&permit[..], &["list,read,write,delete"]].concat());
    let permissions = layover.rows(&["account", "permission", "list", "partner"]);
    assert_eq!(permissions[0]["path_hex"], "2f696e2dff");

    let removed = layover.json(&["file", "remove", "partner", &of_bytes]);
    assert_eq!(
        (&removed["path_hex"], &removed["files"]),
        (&hex.into(), &1.into())
    );
    partner
        .get(b"/in-\xff/one-\xff")
        .expect_err("it is removed");
    assert_eq!(
        partner.get(b"/in-\xff/one-\xfe").expect("the other"),
        b"content"
    );
    for (wrong, says) in [("hex:2", "hexadecimal"), ("hex:2f00", "NUL")] {
        let refused = layover.run(&["file", "remove", "partner", wrong]);
        let refused = refused.expect_code(2);
        assert!(refused.stderr.contains(says), "{refused}");
    }
    layover.admin(&["file", "remove", "partner", "/hex:2f"]);
    assert_eq!(layover.rows(&["file", "list", "partner"]).len(), 1);
    ledger::agrees_with_tree(&layover, "partner");
}

fn the_upload_area_cannot_be_reached_by_its_name(protocol: Protocol, engine: Engine) {
    let (layover, account) = serve_on(engine);
    let mut partner = account.partner(&layover, protocol);
    let mut uploader = account.partner(&layover, protocol);
    let begun = uploader.begin_upload(b"/unfinished", b"half");
    begun.expect("begin");
    assert!(
        partner.names(b"/").expect("list").is_empty(),
        "an unfinished upload is listed"
    );
    let hidden: Vec<_> = std::fs::read_dir(layover.homes())
        .expect("list homes")
        .map(|entry| entry.expect("entry").file_name())
        .filter(|name| name.to_string_lossy().starts_with('.'))
        .collect();
    for name in hidden {
        let path = format!("/../{}", name.to_string_lossy());
        assert!(
            partner.names(path.as_bytes()).is_err(),
            "{path} can be listed"
        );
    }
}
