//! What was deleted can be proven to somebody who has nothing but the public key.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use layover_tests::account::PASSWORD;
use layover_tests::openssh;
use layover_tests::skip::skip;
use layover_tests::storage::Undeletable;
use layover_tests::wait::{self, PATIENCE};
use layover_tests::{Engine, Layover, Protocol, Setup, on_both_engines, over_both_protocols};
use serde_json::Value;

/// How long a thousand files may take to go on a busy machine.
const MINUTES: std::time::Duration = std::time::Duration::from_secs(600);

over_both_protocols!(a_deletion_is_proven_and_a_forgery_is_named);

on_both_engines!(
    a_thousand_files_have_one_certificate_each_although_the_server_was_killed,
    the_journal_holds_as_it_stands_and_as_a_file,
);

/// Exports what `arguments` say, once it has `entries` entries.
fn export(layover: &Layover, arguments: &[&str], name: &str, entries: usize) -> PathBuf {
    wait::until("the entries to be signed", PATIENCE, || {
        let file = layover.scratch().join(name);
        let _ = std::fs::remove_file(&file);
        let out = file.to_str().expect("a path in text");
        let ran = layover.run(&[arguments, &["--out", out]].concat());
        (ran.ok() && records(&file).len() >= entries).then_some(file)
    })
}

fn records(file: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(file).expect("read export");
    let lines = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("a line of JSON"));
    lines
        .filter_map(|line| Some(line.get("entry")?.get("record")?.clone()))
        .collect()
}

fn public_key(layover: &Layover) -> String {
    let key = layover.admin(&["retention", "public-key"]).stdout;
    key.trim().to_owned()
}

/// Checks a file where there is neither data nor settings.
fn verify(layover: &Layover, file: &Path, key: &str) -> layover_tests::process::Ran {
    let mut command = std::process::Command::new(layover_tests::layover::executable());
    let elsewhere = layover.scratch().join("elsewhere");
    std::fs::create_dir_all(&elsewhere).expect("make a folder");
    command.current_dir(elsewhere).env_clear();
    command
        .args(["retention", "verify", "--public-key", key])
        .arg(file);
    layover_tests::process::run(&mut command, b"", PATIENCE)
}

fn a_deletion_is_proven_and_a_forgery_is_named(protocol: Protocol, engine: Engine) {
    let layover = Setup::new(engine).prepare();
    let plan = layover.account("partner").password(PASSWORD);
    let account = plan.with(&["--keep", "2s"]).add();
    layover.start();
    let mut partner = account.partner(&layover, protocol);
    for name in ["/a", "/b", "/c"] {
        partner.put(name.as_bytes(), name.as_bytes()).expect("put");
    }
    let file = export(
        &layover,
        &["retention", "certificates", "export"],
        "certificates",
        3,
    );
    let key = public_key(&layover);
    verify(&layover, &file, &key).expect_ok();
    for record in records(&file) {
        assert_eq!(record["entity"], "acme", "{record}");
        assert_eq!(record["account"], "partner", "{record}");
        assert_eq!(record["cause"], "expired", "{record}");
        assert_eq!(record["size_bytes"], 2, "{record}");
        assert!(
            record["deleted_at"].as_str() >= record["expires_at"].as_str(),
            "{record}"
        );
    }
    let text = std::fs::read_to_string(&file).expect("read export");
    let lines: Vec<_> = text.lines().collect();
    let with = |lines: &[&str]| {
        let forged = layover.scratch().join("forged");
        std::fs::write(&forged, lines.join("\n")).expect("write forgery");
        verify(&layover, &forged, &key)
    };
    let entry = |seq: usize| {
        let begin = format!("{{\"entry\":{{\"seq\":{seq},");
        lines
            .iter()
            .position(|line| line.starts_with(&begin))
            .expect("the entry")
    };
    let mut flipped = lines.clone();
    let changed = lines[entry(2)].replace("\"size_bytes\":2", "\"size_bytes\":3");
    flipped[entry(2)] = &changed;
    let mut dropped = lines.clone();
    dropped.remove(entry(2));
    let mut swapped = lines.clone();
    swapped.swap(entry(1), entry(2));
    for (forgery, flaw) in [
        (&flipped[..], "entry 2 was changed"),
        (&dropped[..], "entry 2 is missing"),
        (&swapped[..], "entry 2 stands out of its order"),
        (&lines[..=entry(3)], "the end is missing"),
    ] {
        let ran = with(forgery);
        let ran = ran.expect_code(1);
        assert!(ran.stderr.contains(flaw), "{flaw}: {}", ran.stderr);
    }
    let other = format!("ed25519:{}", "0".repeat(64));
    let stranger = verify(&layover, &file, &other).expect_code(1);
    assert!(
        stranger.stderr.contains("not among the trusted ones"),
        "{}",
        stranger.stderr
    );
}

fn a_thousand_files_have_one_certificate_each_although_the_server_was_killed(engine: Engine) {
    killed_half_way(engine, 1_000);
}

mod ten_thousand_files_have_one_certificate_each_although_the_server_was_killed {
    use layover_tests::Engine;

    #[test]
    #[ignore = "long: 10,000 files come and go"]
    fn on_sqlite() {
        super::killed_half_way(Engine::Sqlite, 10_000);
    }

    #[test]
    #[ignore = "long: 10,000 files come and go"]
    fn on_postgresql() {
        if Engine::Postgres.available() {
            super::killed_half_way(Engine::Postgres, 10_000);
        }
    }
}

/// So many files, 3 of which cannot be deleted; the server dies half way.
fn killed_half_way(engine: Engine, files: usize) {
    let layover = Setup::new(engine).prepare();
    let plan = layover.account("partner").password(PASSWORD);
    let account = plan.add();
    let folder = account.client_dir.join("many");
    std::fs::create_dir(&folder).expect("make folder");
    let name = |number: usize| format!("{number:05}");
    for number in 0..files {
        std::fs::write(folder.join(name(number)), "content").expect("write file");
    }
    layover.start();
    let login = account.by_key(&layover);
    let commands = format!("put -r {} /many\n", folder.display());
    openssh::sftp(&login, &[], &commands, MINUTES).expect_ok();
    let stored = layover.homes().join("partner/many");
    let stuck = [files / 10, files / 2, files - files / 10].map(name);
    let mut guards = Vec::new();
    for name in &stuck {
        match Undeletable::make(&stored.join(name)) {
            Ok(guard) => guards.push(guard),
            Err(why) => return skip(&why),
        }
    }
    let left = || std::fs::read_dir(&stored).map_or(0, Iterator::count);
    layover.admin(&["account", "set", "partner", "--keep", "1s"]);
    wait::until("half of them to go", MINUTES, || {
        (left() <= files / 2).then_some(())
    });
    layover.kill_9();
    let found = left();
    assert!(found > stuck.len(), "killed when all was done");
    layover.start();
    wait::until("all others to go", MINUTES, || {
        (left() == stuck.len()).then_some(())
    });
    let expected = files - stuck.len();
    let file = export(
        &layover,
        &["retention", "certificates", "export"],
        "certificates",
        expected,
    );
    verify(&layover, &file, &public_key(&layover)).expect_ok();
    let records = records(&file);
    let paths: BTreeSet<_> = records
        .iter()
        .map(|record| record["path"].as_str().expect("a path").to_owned())
        .collect();
    assert_eq!(records.len(), expected, "killed with {found} left");
    assert_eq!(paths.len(), expected, "each once");
    let stuck = stuck.map(|name| format!("/many/{name}"));
    for path in &stuck {
        assert!(!paths.contains(path), "{path}");
    }
    wait::until("the three to be named", PATIENCE, || {
        let status = layover.json(&["retention", "status"]);
        let failing = status["failing"].as_array().expect("a list").clone();
        let mut named: Vec<_> = failing
            .iter()
            .filter_map(|row| row["path"].as_str())
            .collect();
        named.sort_unstable();
        (named == stuck).then_some(())?;
        for row in &failing {
            let cause = row["cause"].as_str().expect("a cause");
            assert!(!cause.is_empty(), "{row}");
        }
        Some(())
    });
}

fn the_journal_holds_as_it_stands_and_as_a_file(engine: Engine) {
    let layover = Setup::new(engine).prepare();
    let account = layover.account("partner").password(PASSWORD).add();
    layover.start();
    account
        .partner(&layover, Protocol::Sftp)
        .put(b"/file", b"content")
        .expect("put");
    let file = export(&layover, &["journal", "export"], "journal", 3);
    verify(&layover, &file, &public_key(&layover)).expect_ok();
    let verified = layover.json(&["journal", "verify"]);
    assert_eq!(verified["chain"], "journal", "{verified}");
    assert!(verified["entries"].as_u64() >= Some(3), "{verified}");
    // An earlier export is never written over.
    let out = file.to_str().expect("a path in text");
    let again = layover
        .run(&["journal", "export", "--out", out])
        .expect_code(1);
    assert!(again.stderr.contains("exists"), "{}", again.stderr);
}
