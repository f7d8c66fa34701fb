//! Names and paths that attack or merely surprise.

use layover_tests::account::Account;
use layover_tests::packet::{open, status};
use layover_tests::{Engine, Layover, Setup};

use crate::ledger;

fn serve() -> (Layover, Account) {
    let layover = Setup::new(Engine::Sqlite).prepare();
    let account = layover.account("partner").add();
    layover.start();
    (layover, account)
}

#[test]
fn a_name_of_255_bytes_is_stored_and_one_of_256_is_refused() {
    let (layover, account) = serve();
    let mut sftp = account.sftp(&layover);
    let longest = [b"/", &[b'n'; 255][..]].concat();
    let too_long = [b"/", &[b'n'; 256][..]].concat();
    sftp.put(&longest, b"content").expect("255 bytes");
    assert_eq!(sftp.get(&longest).expect("get"), b"content");
    assert!(
        sftp.open(&too_long, open::FRESH)
            .expect_err("256 bytes")
            .code()
            .is_some()
    );
    assert!(
        sftp.make_dir(&too_long)
            .expect_err("256 bytes")
            .code()
            .is_some()
    );
    assert!(
        sftp.rename(&longest, &too_long)
            .expect_err("256 bytes")
            .code()
            .is_some()
    );
    assert_eq!(sftp.get(&longest).expect("still there"), b"content");
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

#[test]
fn deep_folders_work_up_to_the_limit() {
    let (layover, account) = serve();
    let mut sftp = account.sftp(&layover);
    let mut path = Vec::new();
    for _ in 0..127 {
        path.extend_from_slice(b"/d");
        sftp.make_dir(&path).expect("mkdir");
    }
    path.extend_from_slice(b"/f");
    sftp.put(&path, b"content").expect("128 components");
    assert_eq!(sftp.get(&path).expect("get"), b"content");
    path.extend_from_slice(b"/g");
    assert!(
        sftp.stat(&path)
            .expect_err("129 components")
            .code()
            .is_some()
    );
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
#[test]
fn no_spelling_of_dot_dot_leaves_the_home() {
    let (layover, account) = serve();
    let secret = layover.homes().join("secret");
    std::fs::write(&secret, "another's").expect("write secret");
    let mut sftp = account.sftp(&layover);
    sftp.make_dir(b"/dir").expect("mkdir");
    for path in [
        &b"../secret"[..],
        b"/../secret",
        b"/dir/../../secret",
        b"/dir/../../../../../../etc/passwd",
        b"//..//..//secret",
        b"./../secret",
        b"/dir/./../..//secret",
    ] {
        let got = sftp.get(path).expect_err("outside the home");
        assert_eq!(
            got.code(),
            Some(status::NO_SUCH_FILE),
            "{}",
            path.escape_ascii()
        );
    }
    sftp.put(b"/../../escaped", b"content")
        .expect("stays inside");
    assert!(layover.homes().join("partner/escaped").exists());
    assert!(!layover.homes().join("escaped").exists());
    assert_eq!(sftp.real_path(b"/dir/../..").expect("realpath"), b"/");
    assert_eq!(sftp.real_path(b".").expect("realpath"), b"/");
    assert_eq!(std::fs::read(&secret).expect("read"), b"another's");
}

#[test]
fn a_link_in_the_tree_leads_nowhere() {
    let (layover, account) = serve();
    let home = layover.homes().join("partner");
    let mut sftp = account.sftp(&layover);
    sftp.put(b"/file", b"content").expect("put");
    let outside = layover.scratch().join("outside");
    std::fs::create_dir(&outside).expect("make folder");
    std::fs::write(outside.join("secret"), "another's").expect("write secret");
    std::os::unix::fs::symlink(&outside, home.join("link")).expect("link");
    std::os::unix::fs::symlink(outside.join("secret"), home.join("direct")).expect("link");
    for path in [&b"/link/secret"[..], b"/direct", b"/link/../link/secret"] {
        assert!(sftp.get(path).expect_err("through a link").code().is_some());
    }
    sftp.put(b"/link/new", b"content")
        .expect_err("write through a link");
    assert!(!outside.join("new").exists());
    assert!(
        sftp.list(b"/link")
            .expect_err("list through a link")
            .code()
            .is_some()
    );
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
#[test]
fn s03_names_that_are_not_utf_8_come_back_byte_for_byte() {
    let (layover, account) = serve();
    let mut sftp = account.sftp(&layover);
    let names: [&[u8]; 6] = [
        b"latin1-\xe4\xf6\xfc",
        b"\xff\xfe\x80",
        "\u{4f60}\u{597d}".as_bytes(),
        b"half a letter \xc3",
        b" spaces at both ends ",
        b"\"quotes\" 'and' \\ $(id) ; *?",
    ];
    for name in names {
        sftp.put(&[b"/", name].concat(), name).expect("put");
    }
    let mut listed: Vec<Vec<u8>> = sftp
        .list(b"/")
        .expect("list")
        .into_iter()
        .map(|entry| entry.name)
        .collect();
    listed.sort();
    let mut expected: Vec<Vec<u8>> = names.iter().map(|name| name.to_vec()).collect();
    expected.sort();
    assert_eq!(listed, expected);
    for name in names {
        let path = [b"/", name].concat();
        assert_eq!(sftp.get(&path).expect("get"), name);
        assert_eq!(sftp.real_path(&path).expect("realpath"), path);
    }
}

#[test]
fn the_upload_area_cannot_be_reached_by_its_name() {
    let (layover, account) = serve();
    let mut sftp = account.sftp(&layover);
    let handle = sftp.open(b"/unfinished", open::FRESH).expect("open");
    sftp.write(&handle, 0, b"half").expect("write");
    assert!(
        sftp.names(b"/").expect("list").is_empty(),
        "an unfinished upload is listed"
    );
    let hidden: Vec<_> = std::fs::read_dir(layover.homes())
        .expect("list homes")
        .map(|entry| entry.expect("entry").file_name())
        .filter(|name| name.to_string_lossy().starts_with('.'))
        .collect();
    for name in hidden {
        let path = format!("/../{}", name.to_string_lossy());
        assert!(sftp.list(path.as_bytes()).is_err(), "{path} can be listed");
    }
}
