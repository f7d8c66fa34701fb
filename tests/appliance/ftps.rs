//! Real clients over FTPS, explicit and implicit: files both ways, names, listings, resuming.

use std::time::Duration;

use layover_tests::content::{MIB, sha256, write_file};
use layover_tests::ftps::{Entry, FtpsLogin};
use layover_tests::load::heavy;
use layover_tests::{Account, Engine, Layover, Setup, on_both_engines};

use crate::ledger;

const SIZE: u64 = 24 * MIB + 12_345;

/// For one conversation, in a build that is not optimised.
const LONG: Duration = Duration::from_secs(120);

const ENTRIES: [Entry; 2] = [Entry::Explicit, Entry::Implicit];

fn serve(engine: Engine) -> (Layover, Account) {
    serve_with(Setup::new(engine))
}

fn serve_with(setup: Setup) -> (Layover, Account) {
    let layover = setup.prepare();
    let account = layover.account("partner").password("correct-horse-7").add();
    layover.start();
    (layover, account)
}

on_both_engines!(
    curl_moves_files_both_ways,
    lftp_moves_renames_lists_and_deletes,
    ftplib_moves_files_with_and_without_resumption,
);

fn curl_moves_files_both_ways(engine: Engine) {
    let (layover, account) = serve(engine);
    let (source, target) = (
        account.client_dir.join("source"),
        account.client_dir.join("target"),
    );
    let sum = write_file(&source, SIZE, 7);
    let (from, to) = (source.to_string_lossy(), target.to_string_lossy());
    for entry in ENTRIES {
        for tls in [&["--tls-max", "1.2"][..], &["--tlsv1.3"]] {
            let login = FtpsLogin {
                layover: &layover,
                account: &account,
                entry,
            };
            let put = [tls, &["--upload-file", &from]].concat();
            login.curl(&put, "/file", LONG).expect_ok();
            assert_eq!(sha256(&layover.homes().join("partner/file")), sum);
            let get = [tls, &["--output", &to]].concat();
            login.curl(&get, "/file", LONG).expect_ok();
            assert_eq!(sha256(&target), sum, "{entry:?} {tls:?}");
            let list = login.curl(tls, "/", LONG).expect_ok();
            assert!(list.stdout.contains(" file"), "{list}");
        }
    }
    ledger::agrees_with_tree(&layover, "partner");
}

fn lftp_moves_renames_lists_and_deletes(engine: Engine) {
    let (layover, account) = serve(engine);
    let tree = account.client_dir.join("tree");
    std::fs::create_dir_all(tree.join("deep/er")).expect("make folders");
    let sums: Vec<_> = ["one", "deep/two", "deep/er/three with spaces"]
        .iter()
        .zip(1..)
        .map(|(name, seed)| (*name, write_file(&tree.join(name), 300_000, seed)))
        .collect();
    for entry in ENTRIES {
        let login = FtpsLogin {
            layover: &layover,
            account: &account,
            entry,
        };
        let back = account.client_dir.join(format!("back-{entry:?}"));
        let commands = format!(
            "mirror -R --parallel=3 {tree} /up\n\
             mirror --parallel=3 /up {back}\n\
             mv /up/one /up/first\n\
             cls -1 /up\n\
             rm -r /up\n",
            tree = tree.display(),
            back = back.display(),
        );
        let ran = login.lftp(&commands, LONG).expect_ok();
        assert!(ran.stdout.contains("first"), "{ran}");
        for (name, sum) in &sums {
            assert_eq!(sha256(&back.join(name)), *sum, "{entry:?} {name}");
        }
        assert!(!layover.homes().join("partner/up").exists());
    }
    ledger::agrees_with_tree(&layover, "partner");
}

fn ftplib_moves_files_with_and_without_resumption(engine: Engine) {
    let (layover, account) = serve(engine);
    let (source, target) = (
        account.client_dir.join("source"),
        account.client_dir.join("target"),
    );
    let sum = write_file(&source, SIZE, 8);
    let (from, to) = (source.to_string_lossy(), target.to_string_lossy());
    for entry in ENTRIES {
        for options in [
            &[][..],
            &["--resume"],
            &["--tls12"],
            &["--tls12", "--resume"],
        ] {
            let login = FtpsLogin {
                layover: &layover,
                account: &account,
                entry,
            };
            let put = [options, &["put", &from, "/file"]].concat();
            let ran = login.ftplib(&put, LONG).expect_ok();
            assert!(ran.stdout.contains("it is deleted on"), "{ran}");
            let get = [options, &["get", "/file", &to]].concat();
            login.ftplib(&get, LONG).expect_ok();
            assert_eq!(sha256(&target), sum, "{entry:?} {options:?}");
        }
    }
    ledger::agrees_with_tree(&layover, "partner");
}

/// F13: 44 ms for each small file, when one side waits with its last small packet for an
/// acknowledgement that the other one delays by 40 ms. With and without resumption, on both versions
/// of TLS: the flights differ.
#[test]
fn f13_a_small_file_does_not_wait_for_a_delayed_acknowledgement() {
    const COUNT: &str = "50";
    // Less than a segment on loopback, a segment and a part, some.
    const SIZES: [&str; 3] = ["100", "40000", "100000"];
    // Half a delayed acknowledgement; a file takes about 5 ms.
    const LIMIT_MS: f64 = 20.0;
    let _turn = heavy();
    let (layover, account) = serve_with(
        Setup::new(Engine::Sqlite)
            // What a disk takes to write is another matter.
            .set("storage", "fsync", "\"never\""),
    );
    for entry in ENTRIES {
        for options in [
            &[][..],
            &["--resume"],
            &["--tls12"],
            &["--tls12", "--resume"],
        ] {
            let login = FtpsLogin {
                layover: &layover,
                account: &account,
                entry,
            };
            for size in SIZES {
                let many = [options, &["many", COUNT, size]].concat();
                let ran = login.ftplib(&many, LONG).expect_ok();
                let times = ran.stdout.lines().filter_map(|line| line.parse().ok());
                let mut times: Vec<f64> = times.collect();
                assert_eq!(times.len().to_string(), COUNT, "{ran}");
                times.sort_by(f64::total_cmp);
                // With the fault every file waits; on a busy machine most do.
                let tenth = times[times.len() / 10];
                println!("{entry:?} {options:?}, {size} bytes: {tenth} ms for a tenth");
                assert!(tenth < LIMIT_MS, "{entry:?} {options:?}, {size}: {times:?}");
            }
        }
    }
}

#[test]
fn r04_a_bare_end_publishes_nothing_and_the_rest_can_be_sent() {
    let (layover, account) = serve(Engine::Sqlite);
    let source = account.client_dir.join("source");
    let sum = write_file(&source, 1_000_000, 9);
    let login = FtpsLogin {
        layover: &layover,
        account: &account,
        entry: Entry::Explicit,
    };
    let half = ["half", &source.to_string_lossy(), "/file"];
    let ran = login.ftplib(&half, LONG).expect_ok();
    assert!(ran.stdout.contains("refused: 426"), "{ran}");
    assert!(ran.stdout.contains("left: 500000"), "{ran}");
    assert_eq!(sha256(&layover.homes().join("partner/file")), sum);
    let uploads: Vec<_> = layover
        .rows(&["journal", "--kind", "transfer"])
        .into_iter()
        .filter(|entry| entry["action"] == "upload")
        .collect();
    assert_eq!(uploads.len(), 2, "{uploads:?}");
    assert_eq!(uploads[0]["outcome"], "failed");
    assert_eq!(uploads[0]["detail"]["end"], "bare-fin");
    assert_eq!(uploads[1]["outcome"], "ok");
    assert_eq!(uploads[1]["detail"]["end"], "close-notify");
}

#[test]
fn f16_where_resumption_is_required_who_cannot_is_told_and_leaves_nothing() {
    let setup = Setup::new(Engine::Sqlite).set("ftps", "session_reuse", "\"require\"");
    let (layover, account) = serve_with(setup);
    let source = account.client_dir.join("source");
    write_file(&source, 1000, 3);
    let from = source.to_string_lossy();
    let login = FtpsLogin {
        layover: &layover,
        account: &account,
        entry: Entry::Explicit,
    };
    let ran = login.ftplib(&["put", &from, "/refused"], LONG);
    assert!(!ran.ok() && ran.stderr.contains("522"), "{ran}");
    assert!(!layover.homes().join("partner/refused").exists());
    let told = layover.rows(&["journal", "--limit", "0", "--kind", "transfer"]);
    let told = told
        .iter()
        .find(|entry| entry["action"] == "data-connection");
    let told = told.expect("an entry of the refused connection");
    assert_eq!(
        (&told["account"], &told["outcome"]),
        (&"partner".into(), &"refused".into())
    );
    assert!(
        told["detail"]["reason"]
            .as_str()
            .is_some_and(|why| why.contains("resume")),
        "{told}"
    );
    login
        .ftplib(&["--tls12", "--resume", "put", &from, "/taken"], LONG)
        .expect_ok();
    login
        .lftp(&format!("put {from} -o /by-lftp"), LONG)
        .expect_ok();
    ledger::agrees_with_tree(&layover, "partner");
}

#[test]
fn f16_an_accounts_own_rule_for_session_reuse_goes_before_the_appliances() {
    for (appliance, strict, lax) in [
        ("auto", Some("require"), None),
        ("require", None, Some("auto")),
    ] {
        let setting = format!("\"{appliance}\"");
        let setup = Setup::new(Engine::Sqlite).set("ftps", "session_reuse", &setting);
        let layover = setup.prepare();
        let add = |name: &str, rule: Option<&str>| {
            let plan = layover.account(name).password("correct-horse-7");
            match rule {
                Some(rule) => plan.with(&["--session-reuse", rule]).add(),
                None => plan.add(),
            }
        };
        let (strict, lax) = (add("strict", strict), add("lax", lax));
        layover.start();
        let source = strict.client_dir.join("source");
        let sum = write_file(&source, 1000, 3);
        let from = source.to_string_lossy();
        let login = |account| FtpsLogin {
            layover: &layover,
            account,
            entry: Entry::Explicit,
        };
        let ran = login(&strict).ftplib(&["put", &from, "/file"], LONG);
        assert!(!ran.ok() && ran.stderr.contains("522"), "{ran}");
        assert!(!layover.homes().join("strict/file").exists());
        login(&lax)
            .ftplib(&["put", &from, "/file"], LONG)
            .expect_ok();
        assert_eq!(sha256(&layover.homes().join("lax/file")), sum);
        // Who resumes comes in everywhere.
        let resuming = ["--tls12", "--resume", "put", &from, "/bound"];
        login(&strict).ftplib(&resuming, LONG).expect_ok();
    }
}

#[test]
fn an_account_for_sftp_only_cannot_log_in_over_ftps() {
    let layover = Setup::new(Engine::Sqlite).prepare();
    let plan = layover.account("partner").password("correct-horse-7");
    let account = plan.with(&["--protocols", "sftp"]).add();
    layover.start();
    let login = FtpsLogin {
        layover: &layover,
        account: &account,
        entry: Entry::Implicit,
    };
    // curl's code for a refused login.
    login.curl(&[], "/", LONG).expect_code(67);
}
