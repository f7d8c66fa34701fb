//! Starting, stopping, and the command line beside a running server.

use std::sync::Mutex;
use std::time::Duration;

use layover_tests::account::PASSWORD;
use layover_tests::ftps::Entry;
use layover_tests::ftps::raw::{Ftps, Way};
use layover_tests::load::{allow_open_files, heavy, in_parallel};
use layover_tests::packet::open;
use layover_tests::skip::skip;
use layover_tests::wait::{self, PATIENCE, Timer};
use layover_tests::{Account, Engine, Layover, Partner, Protocol, Setup, on_both_engines};

use crate::ledger;

on_both_engines!(
    a_second_serve_on_the_same_data_directory_is_refused,
    sigterm_lets_a_transfer_finish,
);

fn a_second_serve_on_the_same_data_directory_is_refused(engine: Engine) {
    let layover = Setup::new(engine).prepare();
    let account = layover.account("partner").add();
    layover.start();
    let ran = layover.run(&["serve"]).expect_code(1);
    assert!(
        ran.stderr.contains(&*layover.data_dir().to_string_lossy()),
        "the message should name the data directory: {ran}"
    );
    account
        .sftp(&layover)
        .put(b"/file", b"the first still serves")
        .expect("put");
}

fn sigterm_lets_a_transfer_finish(engine: Engine) {
    let layover = Setup::new(engine).prepare();
    let account = layover.account("partner").add();
    layover.start();
    let server = layover.sftp_address();
    let mut sftp = account.sftp(&layover);
    let handle = sftp.open(b"/file", open::FRESH).expect("open");
    sftp.write(&handle, 0, b"first half, ").expect("write");
    layover.ask_to_stop();
    wait::until("new connections to be refused", PATIENCE, || {
        layover_tests::ssh::Ssh::connect(server).err()
    });
    assert_eq!(layover.json(&["status"])["server"]["stopping"], true);
    sftp.write(&handle, 12, b"second half")
        .expect("write while stopping");
    sftp.close(&handle).expect("close while stopping");
    drop(sftp);
    let status = layover.wait_for_stop(PATIENCE);
    assert!(status.success(), "{status}");
    let stored = std::fs::read(layover.homes().join("partner/file")).expect("read");
    assert_eq!(stored, b"first half, second half");
    ledger::agrees_with_tree(&layover, "partner");
}

/// Half of them over each protocol, and half of those each way.
const UNDER_WAY: usize = 200;

/// Threads that begin and end them.
const HANDS: usize = 16;

#[test]
fn sigterm_lets_two_hundred_transfers_finish() {
    let _turn = heavy();
    if let Err(why) = allow_open_files(4 * UNDER_WAY as u64 + 500) {
        return skip(&why);
    }
    // Addresses of its own: servers of other tests have the same data ports.
    let layover = Setup::new(Engine::Sqlite)
        .set("ftps", "listen", "\"127.0.0.5\"")
        .set("sftp", "listen", "\"127.0.0.5\"")
        .set("gate", "max_connections_per_address", "5000")
        .prepare();
    let account = layover.account("partner").password(PASSWORD).add();
    layover.start();
    let large: Vec<u8> = (0..1_u32 << 20).flat_map(u32::to_be_bytes).collect();
    let mut first = account.partner(&layover, Protocol::Sftp);
    first.put(b"/large", &large).expect("put");
    drop(first);
    let transfers: Vec<(usize, Mutex<Box<dyn Partner>>)> =
        in_parallel(UNDER_WAY, HANDS, |number| {
            let protocol = [Protocol::Sftp, Protocol::Ftps][number % 2];
            let mut partner = account.partner(&layover, protocol);
            if is_upload(number) {
                let path = format!("/{number}");
                partner
                    .begin_upload(path.as_bytes(), b"first half, ")
                    .expect("begin");
            } else {
                let first = partner.begin_download(b"/large", 1_000).expect("begin");
                assert_eq!(first, large[..1_000]);
            }
            (number, Mutex::new(partner))
        });

    let server = layover.sftp_address();
    layover.ask_to_stop();
    wait::until("new connections to be refused", PATIENCE, || {
        layover_tests::ssh::Ssh::connect(server).err()
    });
    in_parallel(UNDER_WAY, HANDS, |at| {
        let (number, partner) = &transfers[at];
        let mut partner = partner.lock().expect("no panic");
        if is_upload(*number) {
            let finished = partner.finish_upload(b"second half");
            finished.unwrap_or_else(|why| panic!("upload {number}: {why:?}\n{}", layover.log()));
        } else {
            let rest = partner.finish_download();
            let rest =
                rest.unwrap_or_else(|why| panic!("download {number}: {why:?}\n{}", layover.log()));
            assert!(rest == large[1_000..], "download {number}");
        }
    });
    drop(transfers);
    let status = layover.wait_for_stop(PATIENCE);
    assert!(status.success(), "{status}\n{}", layover.log());
    for number in (0..UNDER_WAY).filter(|number| is_upload(*number)) {
        let stored = std::fs::read(layover.homes().join(format!("partner/{number}")));
        assert_eq!(stored.expect("read"), b"first half, second half");
    }
    assert_eq!(ledger::stored(&layover, "partner").len(), UNDER_WAY / 2 + 1);
    ledger::agrees_with_tree(&layover, "partner");
}

fn is_upload(number: usize) -> bool {
    number % 4 < 2
}

/// What a rate holds back may last for hours: the server does not wait so long, and says so.
#[test]
fn a_download_that_outlasts_the_grace_is_ended_with_a_word_over_ftps() {
    let (layover, account) = serve_slow_download();
    let server = layover.ftps_address(Entry::Explicit);
    let mut ftps = Ftps::connect(server, Way::default()).expect("connect");
    let logged_in = ftps.log_in(&account.name, PASSWORD).expect("log in");
    assert!(logged_in.is_good(), "{logged_in:?}");
    let mut data = ftps.begin("RETR /large").expect("begin");
    data.read_exactly(1_000).expect("the first bytes");
    layover.ask_to_stop();
    let timer = Timer::start();
    let ended = ftps.reply().expect("the transfer's reply");
    assert_eq!(ended.code, 426, "{}", ended.words());
    assert!(timer.elapsed() >= GRACE, "{:?}", timer.elapsed());
    let last = ftps.reply().expect("the connection's last reply");
    assert_eq!(last.code, 421, "{}", last.words());
    assert!(
        last.words().contains("the server is stopping"),
        "{}",
        last.words()
    );
    assert!(ftps.closed_within(PATIENCE));
    // Without close_notify: what came is no whole file.
    data.read_to_end().expect_err("a download that was cut");
    let status = layover.wait_for_stop(PATIENCE);
    assert!(status.success(), "{status}\n{}", layover.log());
}

#[test]
fn a_download_that_outlasts_the_grace_is_ended_with_a_word_over_sftp() {
    let (layover, account) = serve_slow_download();
    let local = account.client_dir.join("local");
    let commands = format!("get /large {}\n", local.display());
    let client = layover_tests::openssh::start_sftp(&account.by_key(&layover), &[], &commands);
    wait::until("the download to begin", PATIENCE, || {
        let listed = layover.rows(&["session", "list"]);
        listed
            .iter()
            .any(|session| session["moving"][0]["moved_bytes"].as_u64() > Some(0))
            .then_some(())
    });
    layover.ask_to_stop();
    let timer = Timer::start();
    let ran = client.finish(GRACE + PATIENCE);
    assert!(timer.elapsed() >= GRACE, "{:?}", timer.elapsed());
    assert!(!ran.ok(), "{ran}");
    assert!(ran.stderr.contains("the server is stopping"), "{ran}");
    let status = layover.wait_for_stop(PATIENCE);
    assert!(status.success(), "{status}\n{}", layover.log());
}

/// How long transfers may go on behind the first signal, a little less: the client's timer
/// and the server's do not begin in the same moment.
const GRACE: Duration = Duration::from_secs(29);

/// A file that takes four minutes to download.
fn serve_slow_download() -> (Layover, Account) {
    let layover = Setup::new(Engine::Sqlite).prepare();
    let plan = layover.account("partner").password(PASSWORD);
    let account = plan.with(&["--download-rate", "16KiB"]).add();
    layover.start();
    let mut partner = account.partner(&layover, Protocol::Sftp);
    partner.put(b"/large", &vec![7; 4 << 20]).expect("put");
    (layover, account)
}

#[test]
fn sigterm_ends_a_server_without_transfers_at_once_although_a_session_is_open() {
    let layover = Setup::new(Engine::Sqlite).prepare();
    let account = layover.account("partner").add();
    layover.start();
    let sftp = account.sftp(&layover);
    layover.stop();
    assert!(sftp.connection().closed_within(PATIENCE));
}

#[test]
fn a_second_signal_ends_a_transfer() {
    let layover = Setup::new(Engine::Sqlite).prepare();
    let account = layover.account("partner").add();
    layover.start();
    let server = layover.sftp_address();
    let mut sftp = account.sftp(&layover);
    sftp.put(b"/file", b"old").expect("put");
    let handle = sftp.open(b"/file", open::FRESH).expect("open");
    sftp.write(&handle, 0, b"half of the new").expect("write");
    layover.ask_to_stop();
    wait::until("new connections to be refused", PATIENCE, || {
        layover_tests::ssh::Ssh::connect(server).err()
    });
    layover.ask_to_stop();
    layover.wait_for_stop(PATIENCE);
    assert_eq!(
        std::fs::read(layover.homes().join("partner/file")).expect("read"),
        b"old"
    );
}

#[test]
fn the_host_key_stays_and_is_nobody_elses() {
    use std::os::unix::fs::PermissionsExt;
    let layover = Setup::new(Engine::Sqlite).prepare();
    let account = layover.account("partner").add();
    layover.start();
    let learnt = |layover| {
        let login = account.by_key(layover);
        layover_tests::openssh::sftp(&login, &[], "pwd\n", PATIENCE).expect_ok();
        let known = std::fs::read_to_string(login.known_hosts()).expect("read known hosts");
        std::fs::remove_file(login.known_hosts()).expect("forget");
        let key = known
            .lines()
            .next()
            .expect("one key")
            .split_once(' ')
            .expect("host and key")
            .1;
        key.to_owned()
    };
    let first = learnt(&layover);
    assert!(first.starts_with("ssh-ed25519 "), "{first}");
    layover.stop();
    layover.start();
    assert_eq!(learnt(&layover), first, "the host key changed at a restart");
    let mut secrets = 0;
    let mut folders = vec![layover.data_dir().to_owned()];
    while let Some(folder) = folders.pop() {
        let mode = std::fs::metadata(&folder)
            .expect("stat")
            .permissions()
            .mode();
        assert_eq!(mode & 0o077, 0, "{} is open to others", folder.display());
        for entry in std::fs::read_dir(&folder).expect("list") {
            let path = entry.expect("entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if std::fs::read(&path)
                .expect("read")
                .starts_with(b"-----BEGIN OPENSSH PRIV")
            {
                let mode = std::fs::metadata(&path).expect("stat").permissions().mode();
                assert_eq!(mode & 0o777, 0o600, "{}", path.display());
                secrets += 1;
            }
        }
    }
    assert_eq!(secrets, 1, "one host key");
}

#[test]
fn the_command_line_works_while_no_server_runs() {
    let layover = Setup::new(Engine::Sqlite).prepare();
    layover.account("partner").add();
    let accounts = layover.rows(&["account", "list"]);
    assert_eq!(accounts.len(), 1);
    assert_eq!(accounts[0]["name"], "partner");
    assert!(layover.rows(&["file", "list", "partner"]).is_empty());
    assert!(layover.rows(&["session", "list"]).is_empty());
    layover.admin(&["account", "remove", "partner"]);
    assert!(layover.rows(&["account", "list"]).is_empty());
}

#[test]
fn check_says_line_by_line_what_is_ready_and_what_is_not() {
    let layover = Setup::new(Engine::Sqlite).prepare();
    layover.account("partner").add();
    let good = layover.admin(&["check"]);
    assert!(good.stdout.lines().count() >= 3, "{good}");
    std::fs::remove_dir_all(layover.homes()).ok();
    std::fs::write(layover.homes(), "not a folder").expect("block homes");
    let bad = layover.run(&["check"]).expect_code(1);
    assert!(
        bad.text().contains(&*layover.homes().to_string_lossy()),
        "{bad}"
    );
}

#[test]
fn wrong_settings_are_all_reported_at_once() {
    let layover = Setup::new(Engine::Sqlite)
        .set("gate", "login_grace", "\"soon\"")
        .set("sftp", "algorithms", "\"ancient\"")
        .set("retention", "kepe", "\"5d\"")
        .prepare();
    let ran = layover.run(&["check"]);
    assert!(!ran.ok(), "{ran}");
    for word in ["login_grace", "soon", "algorithms", "ancient", "kepe"] {
        assert!(ran.text().contains(word), "`{word}` is missing: {ran}");
    }
}

#[test]
fn serve_without_accounts_says_how_to_make_the_first() {
    let layover = Setup::new(Engine::Sqlite).prepare();
    layover.start();
    wait::until("the hint", PATIENCE, || {
        layover.log().contains("layover account add").then_some(())
    });
    layover.stop();
}

#[test]
fn a_link_to_a_database_in_no_folder_is_named_with_its_target() {
    let layover = Setup::new(Engine::Sqlite).prepare();
    std::fs::create_dir(layover.data_dir()).expect("make the data directory");
    let link = layover.data_dir().join("layover.db");
    let target = layover.scratch().join("unmounted/real.db");
    std::os::unix::fs::symlink(&target, &link).expect("link");
    for command in ["serve", "check"] {
        let ran = layover.run(&[command]).expect_code(1);
        for path in [&link, &target] {
            assert!(ran.text().contains(&*path.to_string_lossy()), "{ran}");
        }
        assert!(ran.text().contains("mkdir -p -m 700"), "{ran}");
    }
    assert!(!target.parent().expect("a folder").exists());
    std::fs::create_dir(target.parent().expect("a folder")).expect("make it");
    layover.start();
    assert!(target.exists());
}

#[test]
fn usage_errors_end_with_2_and_refusals_with_1() {
    let layover = Setup::new(Engine::Sqlite).prepare();
    layover.run(&["account", "frobnicate"]).expect_code(2);
    layover
        .run(&["account", "add", "no/slash", "--entity", "acme"])
        .expect_code(2);
    layover.run(&["account", "show", "nobody"]).expect_code(1);
    layover
        .run(&["account", "add", "partner", "--entity", "nowhere"])
        .expect_code(1);
    layover.run(&["entity", "remove", "nowhere"]).expect_code(1);
}

/// OpenSSH's `sftp` sends CLOSE on Ctrl-C as if the file had ended; SECURITY.md says so. What is
/// published then is at least whole blocks of what was sent, and the server stays well.
#[test]
fn ctrl_c_in_openssh_sftp_leaves_the_ledger_true() {
    let layover = Setup::new(Engine::Sqlite).prepare();
    let account = layover.account("partner").add();
    layover.start();
    let source = account.client_dir.join("source");
    layover_tests::content::write_file(&source, 64 * layover_tests::content::MIB, 5);
    let commands = format!("put {} /file\n", source.display());
    // 8 Mbit/s: more than a minute for the file.
    let login = account.by_key(&layover);
    let mut client = layover_tests::openssh::start_sftp(&login, &["-l", "8000"], &commands);
    wait::until("the upload to begin", PATIENCE, || {
        let rows = layover.rows(&["file", "list", "partner"]);
        assert!(client.alive(), "the client ended by itself");
        (!rows.is_empty()).then_some(())
    });
    client.interrupt();
    let ran = client.finish(PATIENCE);
    assert!(ran.stderr.contains("Interrupt"), "{ran}");
    wait::until("the session to end", PATIENCE, || {
        layover.rows(&["session", "list"]).is_empty().then_some(())
    });
    ledger::agrees_with_tree(&layover, "partner");
    account
        .sftp(&layover)
        .put(b"/after", b"content")
        .expect("put");
}
