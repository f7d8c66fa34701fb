//! FileZilla, which refuses servers that do not resume its TLS session on data connections.

use layover_tests::content::{MIB, sha256, write_file};
use layover_tests::filezilla::{FileZilla, Side};
use layover_tests::ftps::{Entry, FtpsLogin, Tls};
use layover_tests::wait::{self, PATIENCE};
use layover_tests::{Account, Engine, Layover, Setup, tree};
use serde_json::Value;

use crate::ledger;

/// Files that go both ways, and their sizes: none, many records, a few bytes.
const FILES: [(&str, u64); 3] = [
    ("empty.bin", 0),
    ("large.bin", 9 * MIB + 321),
    ("small.bin", 17),
];

/// One more, which FileZilla sends with TYPE A because its name has no extension.
const TEXT: (&str, &str) = ("text", "first\nsecond\n\nlast");

fn serve() -> (Layover, Account) {
    let layover = Setup::new(Engine::Sqlite).prepare();
    let account = layover.account("partner").password("correct-horse-7").add();
    layover.start();
    (layover, account)
}

/// Waits until there are so many journal entries of that action, and returns them.
fn entries(layover: &Layover, action: &str, count: usize) -> Vec<Value> {
    wait::until(action, PATIENCE, || {
        let mut rows = layover.rows(&["journal", "--kind", "transfer"]);
        rows.retain(|entry| entry["action"] == action);
        (rows.len() >= count).then_some(rows)
    })
}

fn both_ways(entry: Entry, tls: Tls) {
    let (layover, account) = serve();
    let login = FtpsLogin {
        layover: &layover,
        account: &account,
        entry,
    };
    let [source, target] = ["source", "target"].map(|name| account.client_dir.join(name));
    for dir in [&source, &target] {
        std::fs::create_dir(dir).expect("make a folder");
    }
    std::fs::write(source.join(TEXT.0), TEXT.1).expect("write the text");
    let mut sums: Vec<_> = FILES
        .iter()
        .map(|(name, size)| (*name, write_file(&source.join(name), *size, *size)))
        .collect();
    sums.push((TEXT.0, sha256(&source.join(TEXT.0))));
    let count = sums.len();

    let mut filezilla = FileZilla::open(&login, &source, tls);
    filezilla.transfer_all(Side::Local);
    filezilla.expect_in_log("File transfer successful", count);
    let uploads = entries(&layover, "upload", count);
    assert_eq!(filezilla.saw_resumption(), Some(true));
    drop(filezilla);
    for (name, sum) in &sums {
        assert_eq!(
            &sha256(&layover.homes().join("partner").join(name)),
            sum,
            "{name}"
        );
    }

    let mut filezilla = FileZilla::open(&login, &target, tls);
    filezilla.transfer_all(Side::Remote);
    filezilla.expect_in_log("File transfer successful", count);
    let downloads = entries(&layover, "download", count);
    for (name, sum) in &sums {
        assert_eq!(&sha256(&target.join(name)), sum, "{name}");
    }

    // The last of the list, then the first, which is nobody's neighbour.
    filezilla.click(Side::Remote);
    filezilla.keys(&["End", "F2", "ctrl+a", "z", "Return"]);
    let renamed = entries(&layover, "rename", 1);
    filezilla.click(Side::Remote);
    filezilla.keys(&["Home", "Down", "Delete"]);
    filezilla.confirm();
    let deleted = entries(&layover, "delete", 1);
    assert_eq!(renamed[0]["detail"]["from"], "/text", "{renamed:?}");
    assert_eq!(renamed[0]["path"], "/z", "{renamed:?}");
    assert_eq!(deleted[0]["path"], "/empty.bin", "{deleted:?}");
    let left = ledger::stored(&layover, "partner");
    assert_eq!(
        left.into_keys().collect::<Vec<_>>(),
        ["/large.bin", "/small.bin", "/z"]
    );

    assert_eq!((uploads.len(), downloads.len()), (count, count));
    for entry in uploads.iter().chain(&downloads) {
        assert_eq!(entry["outcome"], "ok", "{entry}");
        assert_eq!(entry["detail"]["tls"], tls.journalled(), "{entry}");
        assert_eq!(entry["detail"]["data"], "bound", "{entry}");
        assert_eq!(entry["detail"]["end"], "close-notify", "{entry}");
    }
    ledger::agrees_with_tree(&layover, "partner");
}

#[test]
fn filezilla_moves_files_both_ways_explicit_tls13() {
    both_ways(Entry::Explicit, Tls::V13);
}

#[test]
fn filezilla_moves_files_both_ways_explicit_tls12() {
    both_ways(Entry::Explicit, Tls::V12);
}

#[test]
fn filezilla_moves_files_both_ways_implicit_tls13() {
    both_ways(Entry::Implicit, Tls::V13);
}

#[test]
fn filezilla_moves_files_both_ways_implicit_tls12() {
    both_ways(Entry::Implicit, Tls::V12);
}

#[test]
fn an_upload_that_filezilla_cancels_is_not_published() {
    let (layover, account) = serve();
    let login = FtpsLogin {
        layover: &layover,
        account: &account,
        entry: Entry::Explicit,
    };
    let source = account.client_dir.join("source");
    std::fs::create_dir(&source).expect("make a folder");
    // Far more than is sent before it is cancelled.
    std::fs::File::create(source.join("huge.bin"))
        .and_then(|file| file.set_len(4096 * MIB))
        .expect("make the source");
    let filezilla = FileZilla::open(&login, &source, Tls::V13);
    filezilla.transfer_all(Side::Local);
    wait::until("bytes to come", PATIENCE, || {
        let hidden = tree::files(&layover.homes().join(".layover"));
        hidden.values().any(|size| *size > MIB).then_some(())
    });
    // "Process queue", which a second time stops it.
    filezilla.click(Side::Local);
    filezilla.keys(&["ctrl+p"]);
    let uploads = entries(&layover, "upload", 1);
    assert_eq!(uploads[0]["outcome"], "failed", "{uploads:?}");
    assert_ne!(uploads[0]["detail"]["end"], "close-notify", "{uploads:?}");
    drop(filezilla);
    assert!(!layover.homes().join("partner/huge.bin").exists());
    ledger::agrees_with_tree(&layover, "partner");
}
