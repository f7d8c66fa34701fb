//! Rules for folders and for collected files, and holds, over both protocols. Real clock, short
//! keeps; signatures by OpenSSH's own `ssh-keygen`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use layover_retention::Timestamp;
use layover_tests::account::{Account, PASSWORD};
use layover_tests::content::write_file;
use layover_tests::ftps::{Entry, FtpsLogin};
use layover_tests::lftp::lftp;
use layover_tests::openssh;
use layover_tests::partner::{Outcome, Why};
use layover_tests::wait::{self, PATIENCE};
use layover_tests::{Engine, Layover, Protocol, Setup, on_both_engines, over_both_protocols};

use crate::ledger;

fn serve(engine: Engine) -> (Layover, Account) {
    let layover = Setup::new(engine).prepare();
    let account = layover.account("partner").password(PASSWORD).add();
    layover.start();
    (layover, account)
}

fn stored_path(layover: &Layover, name: &str) -> PathBuf {
    layover.homes().join("partner").join(name)
}

fn wait_until_gone(path: &Path) {
    wait::until(&format!("{} to go", path.display()), PATIENCE, || {
        (!path.exists()).then_some(())
    });
}

fn keygen(arguments: &[&str], file: &Path) {
    let ran = Command::new("ssh-keygen")
        .args(arguments)
        .arg(file)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    assert!(ran.expect("run ssh-keygen").success(), "{arguments:?}");
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of text")
}

/// Proposes a hold and has it signed by two operators; its number.
fn hold(layover: &Layover, path: &str, until: Timestamp) -> String {
    let until = until.to_string();
    let statement = layover.scratch().join("statement");
    let added = layover.json(&[
        "retention",
        "hold",
        "add",
        "partner",
        path,
        "--reason",
        "case 7",
        "--until",
        &until,
        "--out",
        text(&statement),
    ]);
    let number = added["id"].to_string();
    for name in ["ann", "bob"] {
        let key = layover.scratch().join(name);
        keygen(&["-q", "-t", "ed25519", "-N", "", "-f"], &key);
        layover.admin(&["operator", "add", name, text(&key.with_extension("pub"))]);
        let signature = layover.scratch().join("statement.sig");
        let _ = std::fs::remove_file(&signature);
        keygen(
            &["-Y", "sign", "-n", "layover-hold", "-f", text(&key)],
            &statement,
        );
        layover.admin(&[
            "retention",
            "hold",
            "approve",
            &number,
            "--signature",
            text(&signature),
        ]);
    }
    number
}

#[track_caller]
fn refused_as_held<T: std::fmt::Debug>(outcome: Outcome<T>) {
    let refused = outcome.expect_err("the file is held");
    assert_eq!(refused.why, Why::Denied, "{refused:?}");
    assert!(refused.words.contains("is held until"), "{refused:?}");
}

on_both_engines!(real_clients_are_told_that_a_file_is_held);

over_both_protocols!(
    a_held_file_survives_and_goes_when_the_hold_ends,
    a_folders_keep_and_a_collected_keep_take_files_away,
);

fn a_held_file_survives_and_goes_when_the_hold_ends(protocol: Protocol, engine: Engine) {
    let (layover, account) = serve(engine);
    let mut partner = account.partner(&layover, protocol);
    for name in [&b"/held"[..], b"/free", b"/other"] {
        partner.put(name, b"content").expect("put");
    }
    let arrived = ledger::file(&layover, "partner", "/held").arrived_at();
    let number = hold(
        &layover,
        "/held",
        arrived.saturating_add(Duration::from_secs(3600)),
    );
    layover.admin(&["account", "set", "partner", "--keep", "1s"]);
    wait_until_gone(&stored_path(&layover, "free"));
    layover.admin(&["account", "set", "partner", "--keep", "default"]);
    partner.put(b"/new", b"content").expect("put");
    refused_as_held(partner.put(b"/held", b"other"));
    refused_as_held(partner.append(b"/held", b"more"));
    refused_as_held(partner.go_on(b"/held", 3, b"more"));
    refused_as_held(partner.remove(b"/held"));
    refused_as_held(partner.replace(b"/new", b"/held"));
    let removed = layover
        .run(&["file", "remove", "partner", "/held"])
        .expect_code(1);
    assert!(removed.stderr.contains("is held until"), "{removed}");
    assert_eq!(partner.get(b"/held").expect("get"), b"content");
    partner.rename(b"/held", b"/kept").expect("rename");
    let row = ledger::file(&layover, "partner", "/kept");
    assert_eq!(row.value["held"], true, "{}", row.value);
    let refusals = layover.rows(&["journal", "-n", "0", "--kind", "transfer"]);
    let held = refusals
        .iter()
        .filter(|entry| entry["outcome"] == "refused" && entry["detail"]["why"] == "held");
    assert!(held.count() >= 5, "{refusals:?}");
    // Removing the account neither hides nor frees it.
    layover.admin(&["account", "set", "partner", "--keep", "1s"]);
    layover.admin(&["account", "remove", "partner"]);
    wait_until_gone(&stored_path(&layover, "new"));
    let mut files = layover.rows(&["file", "list", "--home", "partner"]);
    // The end of a removed file's row comes after its name has gone.
    files.retain(|file| file["state"] == "stored");
    assert_eq!(files.len(), 1, "{files:?}");
    assert_eq!(
        (&files[0]["path"], &files[0]["held"]),
        (&"/kept".into(), &true.into())
    );

    let statement = layover.scratch().join("release");
    layover.admin(&[
        "retention",
        "hold",
        "statement",
        &number,
        "--release",
        "--reason",
        "settled",
        "--out",
        text(&statement),
    ]);
    let key = layover.scratch().join("ann");
    keygen(
        &["-Y", "sign", "-n", "layover-hold", "-f", text(&key)],
        &statement,
    );
    let signature = layover.scratch().join("release.sig");
    layover.admin(&[
        "retention",
        "hold",
        "release",
        &number,
        "--reason",
        "settled",
        "--signature",
        text(&signature),
    ]);
    wait_until_gone(&stored_path(&layover, "kept"));
}

fn a_folders_keep_and_a_collected_keep_take_files_away(protocol: Protocol, engine: Engine) {
    let (layover, account) = serve(engine);
    let mut partner = account.partner(&layover, protocol);
    partner.make_dir(b"/quick").expect("mkdir");
    layover.admin(&[
        "retention",
        "folder",
        "set",
        "partner",
        "/quick",
        "--keep",
        "2s",
        "--reason",
        "test",
    ]);
    layover.admin(&["account", "set", "partner", "--collected-keep", "2s"]);
    for name in [&b"/quick/file"[..], b"/collected", b"/stays"] {
        partner.put(name, b"content").expect("put");
    }
    assert_eq!(partner.get(b"/collected").expect("get"), b"content");
    wait_until_gone(&stored_path(&layover, "quick/file"));
    wait_until_gone(&stored_path(&layover, "collected"));
    assert_eq!(partner.get(b"/stays").expect("get"), b"content");
    // The journal tells of a file's end after its name has gone.
    wait::until("the journal to tell of both", PATIENCE, || {
        let rows = layover.rows(&["journal", "-n", "0", "--kind", "retention"]);
        let gone = rows.iter().filter(|row| row["action"] == "expire");
        let mut gone: Vec<_> = gone.filter_map(|row| row["path"].as_str()).collect();
        // It is collected now, too, and will go.
        gone.retain(|path| *path != "/stays");
        gone.sort_unstable();
        (gone == ["/collected", "/quick/file"]).then_some(())
    });
}

fn real_clients_are_told_that_a_file_is_held(engine: Engine) {
    let (layover, account) = serve(engine);
    let mut partner = account.partner(&layover, Protocol::Sftp);
    partner.put(b"/held", b"content").expect("put");
    let arrived = ledger::file(&layover, "partner", "/held").arrived_at();
    hold(
        &layover,
        "/held",
        arrived.saturating_add(Duration::from_secs(3600)),
    );
    let other = account.client_dir.join("other");
    write_file(&other, 5, 1);
    let login = account.by_key(&layover);
    let over_ftps = FtpsLogin {
        layover: &layover,
        account: &account,
        entry: Entry::Explicit,
    };
    let put = format!("put {} -o /held\n", other.display());
    for commands in ["rm /held\n", &put] {
        for ran in [
            over_ftps.lftp(commands, PATIENCE),
            lftp(&login, commands, PATIENCE),
        ] {
            assert!(!ran.ok(), "{ran}");
            assert!(ran.stderr.contains("is held until"), "{ran}");
        }
    }
    // OpenSSH's own client has words of its own for the code.
    let put = format!("put {} /held\n", other.display());
    for commands in ["rm /held\n", &put] {
        let ran = openssh::sftp(&login, &[], commands, PATIENCE);
        assert!(!ran.ok(), "{ran}");
        assert!(ran.stderr.contains("ermission denied"), "{ran}");
    }
    assert_eq!(partner.get(b"/held").expect("get"), b"content");
}
