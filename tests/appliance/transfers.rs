//! Real clients move real files, both ways, on both databases.

use std::time::Duration;

use layover_tests::account::Account;
use layover_tests::content::{MIB, sha256, write_file};
use layover_tests::external::Login;
use layover_tests::keys::KeyKind;
use layover_tests::lftp::lftp;
use layover_tests::load::heavy;
use layover_tests::openssh;
use layover_tests::paramiko::paramiko;
use layover_tests::process::Ran;
use layover_tests::{Engine, Layover, Setup, on_both_engines};

/// Each large file that a client moves, and how often.
const LARGE: u64 = 256 * MIB;
const ROUNDS: usize = 3;

/// For one large file one way, in a build that is not optimised.
const LONG: Duration = Duration::from_secs(300);

fn serve(engine: Engine) -> (Layover, Account) {
    let layover = Setup::new(engine).prepare();
    let account = layover.account("partner").password("correct-horse-7").add();
    layover.start();
    (layover, account)
}

/// How a client moves one file: `put(login, local, remote)`, `get(login, remote, local)`.
struct Client {
    put: fn(&Login, &str, &str) -> Ran,
    get: fn(&Login, &str, &str) -> Ran,
}

/// `sftp` as it is installed.
const OPENSSH: Client = Client {
    put: |login, local, remote| openssh::sftp(login, &[], &format!("put {local} {remote}\n"), LONG),
    get: |login, remote, local| openssh::sftp(login, &[], &format!("get {remote} {local}\n"), LONG),
};

/// Larger blocks and more of them than fit into any window.
const GREEDY: [&str; 4] = ["-B", "261120", "-R", "128"];
const GREEDY_OPENSSH: Client = Client {
    put: |login, local, remote| {
        openssh::sftp(login, &GREEDY, &format!("put {local} {remote}\n"), LONG)
    },
    get: |login, remote, local| {
        openssh::sftp(login, &GREEDY, &format!("get {remote} {local}\n"), LONG)
    },
};

/// Asks for the whole file before it reads the first reply.
const PARAMIKO: Client = Client {
    put: |login, local, remote| paramiko(login, &["put", local, remote], LONG),
    get: |login, remote, local| paramiko(login, &["prefetch", remote, local], LONG),
};

const LFTP: Client = Client {
    put: |login, local, remote| lftp(login, &format!("put {local} -o {remote}"), LONG),
    get: |login, remote, local| lftp(login, &format!("get {remote} -o {local}"), LONG),
};

/// Lets a client upload a file and fetch it again, so many times over, and compares each time.
fn round_trips(engine: Engine, client: &Client, size_bytes: u64, rounds: usize) {
    let _turn = heavy();
    let (layover, account) = serve(engine);
    let login = account.by_key(&layover);
    let source = account.client_dir.join("source");
    let target = account.client_dir.join("target");
    let sum = write_file(&source, size_bytes, 42);
    let (from, to) = (source.to_string_lossy(), target.to_string_lossy());
    for round in 0..rounds {
        let name = format!("large-{round}");
        let remote = format!("/{name}");
        (client.put)(&login, &from, &remote).expect_ok();
        let stored = layover.homes().join(&account.name).join(&name);
        assert_eq!(sha256(&stored), sum, "round {round}: stored, not as sent");
        (client.get)(&login, &remote, &to).expect_ok();
        assert_eq!(sha256(&target), sum, "round {round}: back, not as sent");
        std::fs::remove_file(&target).expect("make room");
        account
            .sftp(&layover)
            .remove(remote.as_bytes())
            .expect("make room");
    }
    crate::ledger::agrees_with_tree(&layover, &account.name);
}

/// Every round on the database that most have; PostgreSQL sees each client once.
fn large_files(engine: Engine, client: &Client) {
    let rounds = match engine {
        Engine::Sqlite => ROUNDS,
        Engine::Postgres => 1,
    };
    round_trips(engine, client, LARGE, rounds);
}

on_both_engines!(
    openssh_sftp_moves_256_mib_both_ways,
    s01_openssh_sftp_that_asks_for_more_than_the_window_gets_everything,
    s01_paramiko_may_prefetch_a_whole_file,
    lftp_moves_256_mib_both_ways,
);

fn openssh_sftp_moves_256_mib_both_ways(engine: Engine) {
    large_files(engine, &OPENSSH);
}

// S01: other servers deadlock when a client asks for more than the window.
fn s01_openssh_sftp_that_asks_for_more_than_the_window_gets_everything(engine: Engine) {
    large_files(engine, &GREEDY_OPENSSH);
}

fn s01_paramiko_may_prefetch_a_whole_file(engine: Engine) {
    large_files(engine, &PARAMIKO);
}

fn lftp_moves_256_mib_both_ways(engine: Engine) {
    large_files(engine, &LFTP);
}

/// How often `--long` moves 1 GiB both ways with each client.
const LONG_ROUNDS: usize = 20;

#[test]
#[ignore = "long: moves 40 GiB"]
fn openssh_sftp_moves_1_gib_both_ways_20_times() {
    round_trips(Engine::Sqlite, &OPENSSH, 1024 * MIB, LONG_ROUNDS);
}

#[test]
#[ignore = "long: moves 40 GiB"]
fn s01_greedy_openssh_sftp_moves_1_gib_both_ways_20_times() {
    round_trips(Engine::Sqlite, &GREEDY_OPENSSH, 1024 * MIB, LONG_ROUNDS);
}

#[test]
#[ignore = "long: moves 40 GiB"]
fn s01_paramiko_with_prefetch_moves_1_gib_both_ways_20_times() {
    round_trips(Engine::Sqlite, &PARAMIKO, 1024 * MIB, LONG_ROUNDS);
}

#[test]
#[ignore = "long: moves 40 GiB"]
fn lftp_moves_1_gib_both_ways_20_times() {
    round_trips(Engine::Sqlite, &LFTP, 1024 * MIB, LONG_ROUNDS);
}

/// Small blocks and a single request at a time, one byte more and less than a block.
#[test]
fn any_block_size_and_any_number_of_requests_gives_the_same_bytes() {
    let (layover, account) = serve(Engine::Sqlite);
    let login = account.by_key(&layover);
    let source = account.client_dir.join("source");
    let target = account.client_dir.join("target");
    for (index, (block, requests, size_bytes)) in [
        ("512", "1", 511),
        ("512", "1", 512),
        ("1000", "64", 100_001),
        ("32768", "64", 32_769),
        ("65536", "3", 3 * 65_536),
        ("261120", "128", 2 * 1024 * 1024 + 1),
        ("261120", "1", 0),
    ]
    .into_iter()
    .enumerate()
    {
        let sum = write_file(&source, size_bytes, index as u64);
        let commands = format!(
            "put {} /file\nget /file {}\n",
            source.display(),
            target.display()
        );
        openssh::sftp(&login, &["-B", block, "-R", requests], &commands, LONG).expect_ok();
        assert_eq!(
            sha256(&target),
            sum,
            "-B {block} -R {requests}, {size_bytes} bytes"
        );
    }
}

#[test]
fn every_client_logs_in_with_a_password() {
    let (layover, account) = serve(Engine::Sqlite);
    let login = account.by_password(&layover);
    let source = account.client_dir.join("source");
    let target = account.client_dir.join("target");
    let sum = write_file(&source, 100_000, 1);
    let source = source.to_string_lossy();
    openssh::sftp(&login, &[], &format!("put {source} /by-openssh\n"), LONG).expect_ok();
    lftp(&login, &format!("put {source} -o /by-lftp"), LONG).expect_ok();
    paramiko(&login, &["put", &source, "/by-paramiko"], LONG).expect_ok();
    paramiko(
        &login,
        &["--interactive", "put", &source, "/by-interactive"],
        LONG,
    )
    .expect_ok();
    for name in ["by-openssh", "by-lftp", "by-paramiko", "by-interactive"] {
        let commands = format!("get /{name} {}\n", target.display());
        openssh::sftp(&login, &[], &commands, LONG).expect_ok();
        assert_eq!(sha256(&target), sum, "{name}");
    }
}

#[test]
fn ed25519_ecdsa_and_rsa_keys_log_in() {
    let layover = Setup::new(Engine::Sqlite).prepare();
    let accounts = [
        layover.account("ed25519").key(KeyKind::Ed25519).add(),
        layover.account("ecdsa").key(KeyKind::Ecdsa).add(),
        layover.account("rsa").key(KeyKind::Rsa).add(),
    ];
    layover.start();
    for account in &accounts {
        openssh::sftp(&account.by_key(&layover), &[], "ls /\n", LONG).expect_ok();
    }
}

#[test]
fn a_download_can_be_resumed() {
    let (layover, account) = serve(Engine::Sqlite);
    let login = account.by_key(&layover);
    let source = account.client_dir.join("source");
    let target = account.client_dir.join("target");
    let sum = write_file(&source, 3 * MIB, 9);
    openssh::sftp(
        &login,
        &[],
        &format!("put {} /file\n", source.display()),
        LONG,
    )
    .expect_ok();
    let whole = std::fs::read(&source).expect("read source");
    std::fs::write(&target, &whole[..1_500_001]).expect("write first half");
    let commands = format!("reget /file {}\n", target.display());
    openssh::sftp(&login, &[], &commands, LONG).expect_ok();
    assert_eq!(sha256(&target), sum);
}

#[test]
fn a_mirror_of_many_small_files_arrives_whole() {
    let (layover, account) = serve(Engine::Sqlite);
    let login = account.by_key(&layover);
    let source = account.client_dir.join("tree");
    std::fs::create_dir_all(source.join("a/b")).expect("make tree");
    for index in 0..60 {
        let folder = ["", "a", "a/b"][index % 3];
        let size_bytes = index as u64 * 1000;
        write_file(
            &source.join(folder).join(format!("file-{index}")),
            size_bytes,
            index as u64,
        );
    }
    lftp(
        &login,
        &format!("mirror -R -P 4 {} /tree", source.display()),
        LONG,
    )
    .expect_ok();
    let sent = layover_tests::tree::files(&source);
    let stored = layover_tests::tree::files(&layover.homes().join("partner/tree"));
    assert_eq!(stored, sent);
    for path in sent.keys() {
        let path = std::str::from_utf8(path)
            .expect("our names are text")
            .trim_start_matches('/');
        let stored = layover.homes().join("partner/tree").join(path);
        assert_eq!(sha256(&stored), sha256(&source.join(path)), "{path}");
    }
}

/// Twenty clients at once, each with 1 GiB.
#[test]
#[ignore = "long: moves 40 GiB"]
fn twenty_clients_move_1_gib_each_at_once() {
    const CLIENTS: usize = 20;
    let _turn = heavy();
    let (layover, account) = serve(Engine::Sqlite);
    let source = account.client_dir.join("source");
    let sum = write_file(&source, 1024 * MIB, 77);
    let limit = Duration::from_secs(3 * 3600);
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (layover, account, source, sum) = (&layover, &account, &source, &sum);
            scope.spawn(move || {
                let mut login = account.by_key(layover);
                login.client_dir = account.client_dir.join(format!("client-{client}"));
                std::fs::create_dir(&login.client_dir).expect("make client folder");
                let target = login.client_dir.join("target");
                let commands = format!(
                    "put {} /file-{client}\nget /file-{client} {}\nrm /file-{client}\n",
                    source.display(),
                    target.display()
                );
                openssh::sftp(&login, &[], &commands, limit).expect_ok();
                assert_eq!(&sha256(&target), sum, "client {client}");
                std::fs::remove_file(&target).expect("make room");
            });
        }
    });
}
