//! What partners' clients do besides `put` and `get`.

use layover_tests::content::{sha256, write_file};
use layover_tests::lftp::lftp;
use layover_tests::openssh;
use layover_tests::packet::open;
use layover_tests::paramiko::paramiko;
use layover_tests::wait::{self, PATIENCE};
use layover_tests::{Account, Engine, Layover, Setup, on_both_engines};

use crate::ledger;

fn serve(engine: Engine) -> (Layover, Account) {
    let layover = Setup::new(engine).prepare();
    let account = layover.account("partner").add();
    layover.start();
    (layover, account)
}

fn stored(layover: &Layover, name: &str) -> Vec<u8> {
    let file = layover.homes().join("partner").join(name);
    std::fs::read(&file).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Leaves an upload of `/file` that broke off after `content`.
fn break_off(layover: &Layover, account: &Account, content: &[u8]) {
    let mut sftp = account.sftp(layover);
    let handle = sftp.open(b"/file", open::FRESH).expect("open");
    sftp.write_all(&handle, content).expect("write");
    drop(sftp);
    wait::until("the session to go", PATIENCE, || {
        layover.rows(&["session", "list"]).is_empty().then_some(())
    });
    assert!(!layover.homes().join("partner/file").exists());
}

on_both_engines!(
    openssh_copies_on_the_server_and_the_copy_goes_with_its_source,
    a_file_changed_in_place_by_paramiko_keeps_its_arrival,
);

fn openssh_copies_on_the_server_and_the_copy_goes_with_its_source(engine: Engine) {
    let (layover, account) = serve(engine);
    let mut sftp = account.sftp(&layover);
    sftp.put(b"/source", b"content").expect("put");
    let source = ledger::file(&layover, "partner", "/source");
    let login = account.by_key(&layover);
    let commands = "cp /source /copy\ncp /copy \"/copy 2\"\n";
    openssh::sftp(&login, &[], commands, PATIENCE).expect_ok();
    for (path, name) in [("/copy", "copy"), ("/copy 2", "copy 2")] {
        assert_eq!(stored(&layover, name), b"content");
        let copy = ledger::file(&layover, "partner", path);
        assert_eq!(copy.arrived_at(), source.arrived_at(), "{path}");
        assert_eq!(copy.expires_at(), source.expires_at(), "{path}");
    }
    ledger::agrees_with_tree(&layover, "partner");
}

fn a_file_changed_in_place_by_paramiko_keeps_its_arrival(engine: Engine) {
    let (layover, account) = serve(engine);
    let mut sftp = account.sftp(&layover);
    sftp.put(b"/file", b"0123456789").expect("put");
    let before = ledger::file(&layover, "partner", "/file");
    paramiko(&account.by_key(&layover), &["edit", "/file"], PATIENCE).expect_ok();
    assert_eq!(stored(&layover, "file"), b"01XY456789abc");
    assert_eq!(stored(&layover, "file.new"), b"start\0\0\0\0\0end");
    assert_eq!(stored(&layover, "file.renamed"), b"once");
    let after = ledger::file(&layover, "partner", "/file");
    assert_eq!(after.arrived_at(), before.arrived_at());
    assert_eq!(after.expires_at(), before.expires_at());
    ledger::agrees_with_tree(&layover, "partner");
}

#[test]
fn openssh_shows_owners_and_room_and_finds_the_home() {
    let (layover, account) = serve(Engine::Sqlite);
    let mut sftp = account.sftp(&layover);
    sftp.make_dir(b"/in").expect("mkdir");
    sftp.put(b"/in/file", b"content").expect("put");
    let login = account.by_key(&layover);
    let commands = "df -h /in\nls -l /in\ncd in\npwd\n";
    let ran = openssh::sftp(&login, &[], commands, PATIENCE).expect_ok();
    let line = ran
        .stdout
        .lines()
        .find(|line| line.ends_with("/in/file") && line.starts_with("-rw"))
        .unwrap_or_else(|| panic!("no line as `ls -l` has it: {ran}"));
    let fields: Vec<&str> = line.split_whitespace().collect();
    assert_eq!(fields[2..5], ["partner", "partner", "7"], "{line}");
    assert!(
        ran.stdout.contains("Remote working directory: /in"),
        "{ran}"
    );
    assert!(ran.stdout.contains('%'), "{ran}");
    // `scp` speaks SFTP by now, and lets the server say what `~` is.
    let target = account.client_dir.join("target");
    openssh::scp(&login, "~/in/file", &target, PATIENCE).expect_ok();
    assert_eq!(std::fs::read(&target).expect("read"), b"content");
}

#[test]
fn openssh_makes_no_links() {
    let (layover, account) = serve(Engine::Sqlite);
    account
        .sftp(&layover)
        .put(b"/file", b"content")
        .expect("put");
    let login = account.by_key(&layover);
    for command in ["ln /file /link\n", "ln -s /file /link\n"] {
        let ran = openssh::sftp(&login, &[], command, PATIENCE);
        assert!(!ran.ok(), "{ran}");
        let said = ran.stderr.to_lowercase();
        assert!(
            said.contains("not support") || said.contains("unsupported"),
            "{ran}"
        );
    }
    assert!(!layover.homes().join("partner/link").exists());
}

#[test]
fn openssh_keeps_times_and_modes_with_p() {
    let (layover, account) = serve(Engine::Sqlite);
    let source = account.client_dir.join("source");
    let target = account.client_dir.join("target");
    write_file(&source, 5, 1);
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o640);
    std::fs::set_permissions(&source, mode).expect("set the mode of the source");
    let when = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
    std::fs::File::options()
        .write(true)
        .open(&source)
        .and_then(|file| file.set_modified(when))
        .expect("set the time of the source");
    let login = account.by_key(&layover);
    let commands = format!(
        "put -p {} /file\nls -l /file\nget -p /file {}\nchmod 604 /file\nls -l /file\n",
        source.display(),
        target.display()
    );
    let ran = openssh::sftp(&login, &[], &commands, PATIENCE).expect_ok();
    for line in ["-rw-r-----", "-rw----r--", "2001"] {
        assert!(ran.stdout.contains(line), "{line}: {ran}");
    }
    let got = std::fs::metadata(&target).expect("the file came back");
    assert_eq!(got.modified().expect("a time"), when);
}

#[test]
fn lftp_goes_on_with_what_broke_off_in_both_directions() {
    let (layover, account) = serve(Engine::Sqlite);
    let source = account.client_dir.join("source");
    let target = account.client_dir.join("target");
    let sum = write_file(&source, 300_000, 3);
    let whole = std::fs::read(&source).expect("read");
    break_off(&layover, &account, &whole[..100_001]);
    std::fs::write(&target, &whole[..200_001]).expect("write the first part");
    let commands = format!(
        "put -c {} -o /file\nmv /file /moved\nget -c /moved -o {}",
        source.display(),
        target.display()
    );
    lftp(&account.by_key(&layover), &commands, PATIENCE).expect_ok();
    assert_eq!(sha256(&layover.homes().join("partner/moved")), sum);
    assert_eq!(sha256(&target), sum);
    assert!(!layover.homes().join("partner/file").exists());
    ledger::agrees_with_tree(&layover, "partner");
}

/// The partial tells its size to its account alone, and goes on wherever the client writes.
#[test]
fn a_broken_upload_is_gone_on_with_by_raw_offset_or_append() {
    for flags in [
        open::WRITE,
        open::WRITE | open::CREAT,
        open::WRITE | open::APPEND,
    ] {
        let (layover, account) = serve(Engine::Sqlite);
        break_off(&layover, &account, b"first ");
        let mut sftp = account.sftp(&layover);
        assert_eq!(sftp.stat(b"/file").expect("stat").size_bytes, Some(6));
        let handle = sftp.open(b"/file", flags).expect("resume");
        sftp.write(&handle, 6, b"second").expect("write");
        sftp.close(&handle).expect("close");
        assert_eq!(stored(&layover, "file"), b"first second", "{flags:#x}");
    }
}
