//! What partners' clients do over FTPS besides `put` and `get`: whole trees, many connections at
//! once, going on with what broke off; each explicit and implicit, with TLS 1.2 and 1.3.

use std::path::Path;
use std::time::Duration;

use layover_tests::content::{MIB, sha256, write_file};
use layover_tests::ftps::{Entry, FtpsLogin, Tls};
use layover_tests::{Account, Engine, Layover, Setup, on_both_engines};
use serde_json::Value;

use crate::ledger;

/// For one conversation, in a build that is not optimised.
const LONG: Duration = Duration::from_secs(120);

fn serve(engine: Engine) -> (Layover, Account) {
    let layover = Setup::new(engine).prepare();
    let account = layover.account("partner").password("correct-horse-7").add();
    layover.start();
    (layover, account)
}

/// Calls `converse` for both entries and both TLS versions, and sees to it that the journal calls
/// each of its transfers whole and tells how the data connections proved themselves: in one of
/// these ways.
fn each_way(engine: Engine, proofs: &[&str], converse: impl Fn(&FtpsLogin<'_>, Tls)) {
    let (layover, account) = serve(engine);
    let mut seen = 0;
    for entry in Entry::BOTH {
        for tls in Tls::BOTH {
            let login = FtpsLogin {
                layover: &layover,
                account: &account,
                entry,
            };
            converse(&login, tls);
            let transfers = transfers(&layover);
            assert!(transfers.len() > seen, "{entry:?} {tls:?}: nothing moved");
            for transfer in &transfers[seen..] {
                let detail = &transfer["detail"];
                assert_eq!(transfer["outcome"], "ok", "{entry:?} {tls:?}: {transfer}");
                assert_eq!(detail["end"], "close-notify", "{entry:?}: {transfer}");
                assert_eq!(detail["tls"], tls.journalled(), "{entry:?}: {transfer}");
                let proof = detail["data"].as_str().expect("a proof");
                assert!(proofs.contains(&proof), "{entry:?} {tls:?}: {transfer}");
            }
            seen = transfers.len();
        }
    }
    ledger::agrees_with_tree(&layover, "partner");
}

/// The uploads and downloads in the journal, in their order.
fn transfers(layover: &Layover) -> Vec<Value> {
    let mut rows = layover.rows(&["journal", "--kind", "transfer", "--limit", "10000"]);
    rows.retain(|entry| ["upload", "download"].contains(&entry["action"].as_str().unwrap_or("")));
    rows
}

/// Makes `dir` with `count` files of up to 40 kB: their names and sums.
fn small_files(dir: &Path, count: u64) -> Vec<(String, String)> {
    std::fs::create_dir_all(dir).expect("make a folder");
    (0..count)
        .map(|number| {
            let name = format!("file-{number:03}");
            let sum = write_file(&dir.join(&name), number * 811, number);
            (name, sum)
        })
        .collect()
}

#[track_caller]
fn holds(dir: &Path, files: &[(String, String)]) {
    for (name, sum) in files {
        assert_eq!(&sha256(&dir.join(name)), sum, "{name}");
    }
}

on_both_engines!(rclone_moves_many_small_files_over_connections_that_share_tickets);

fn rclone_moves_many_small_files_over_connections_that_share_tickets(engine: Engine) {
    // A ticket of a connection that is still logging in proves nothing: "address".
    each_way(engine, &["bound", "sibling", "address"], |login, tls| {
        let [source, target] = ["source", "target"].map(|name| {
            login
                .account
                .client_dir
                .join(format!("{name}-{:?}-{tls:?}", login.entry))
        });
        let files = small_files(&source, 50);
        let (from, to) = (source.to_string_lossy(), target.to_string_lossy());
        let rclone = |arguments: &[&str]| login.rclone(tls, arguments, LONG).expect_ok();
        let parallel = ["--transfers", "4", "--checkers", "4"];
        rclone(&[&["copy", &from, "layover:/in"], &parallel[..]].concat());
        holds(&login.layover.homes().join("partner/in"), &files);
        rclone(&[&["copy", "layover:/in", &to], &parallel[..]].concat());
        holds(&target, &files);
        let listed = rclone(&["lsf", "layover:/in"]).stdout;
        assert_eq!(listed.lines().count(), files.len(), "{listed}");
        rclone(&["moveto", "layover:/in/file-007", "layover:/moved"]);
        rclone(&["deletefile", "layover:/in/file-008"]);
        let left = rclone(&["lsf", "-R", "layover:/"]).stdout;
        assert!(left.lines().any(|name| name == "moved"), "{left}");
        assert!(
            !left.contains("file-007") && !left.contains("file-008"),
            "{left}"
        );
        assert!(left.contains("in/file-009"), "{left}");
        rclone(&["purge", "layover:/in"]);
        rclone(&["deletefile", "layover:/moved"]);
    });
}

/// Where tickets lie unread on a data connection, rclone's end makes the kernel answer with a
/// reset, and the tail of the upload is lost.
#[test]
fn rclone_loses_no_tail_of_a_large_file() {
    for (entry, tls) in [(Entry::Explicit, Tls::V13), (Entry::Implicit, Tls::V12)] {
        let (layover, account) = serve(Engine::Sqlite);
        let login = FtpsLogin {
            layover: &layover,
            account: &account,
            entry,
        };
        let [source, target] = ["source", "target"].map(|name| account.client_dir.join(name));
        let sum = write_file(&source, 200 * MIB + 12_345, 21);
        let (from, to) = (source.to_string_lossy(), target.to_string_lossy());
        let put = ["copyto", &from, "layover:/large"];
        login.rclone(tls, &put, LONG).expect_ok();
        assert_eq!(sha256(&layover.homes().join("partner/large")), sum);
        let get = ["copyto", "layover:/large", &to];
        login.rclone(tls, &get, LONG).expect_ok();
        assert_eq!(sha256(&target), sum, "{entry:?} {tls:?}");
        for transfer in transfers(&layover) {
            assert_eq!(transfer["outcome"], "ok", "{transfer}");
            assert_eq!(transfer["detail"]["end"], "close-notify", "{transfer}");
        }
    }
}
