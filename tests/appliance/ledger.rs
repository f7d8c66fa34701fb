//! Reads the ledger through the command line, and compares it with the tree.

use std::collections::BTreeMap;

use layover_retention::Timestamp;
use layover_tests::{Layover, tree};
use serde_json::Value;

/// A stored file as `layover file list --json` shows it.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    /// The whole row.
    pub(crate) value: Value,
}

impl Row {
    pub(crate) fn path(&self) -> &str {
        self.value["path"].as_str().expect("a path")
    }

    pub(crate) fn size_bytes(&self) -> u64 {
        self.value["size_bytes"].as_u64().expect("a size")
    }

    pub(crate) fn arrived_at(&self) -> Timestamp {
        time(&self.value["arrived_at"])
    }

    pub(crate) fn expires_at(&self) -> Timestamp {
        time(&self.value["expires_at"])
    }
}

/// A time in a JSON answer.
pub(crate) fn time(value: &Value) -> Timestamp {
    let text = value.as_str().unwrap_or_else(|| panic!("a time: {value}"));
    text.parse()
        .unwrap_or_else(|error| panic!("a time: {text}: {error}"))
}

/// The stored files of an account, by path. Unfinished uploads are left out.
pub(crate) fn stored(layover: &Layover, account: &str) -> BTreeMap<String, Row> {
    let rows = layover.rows(&["file", "list", account]);
    rows.into_iter()
        .map(|value| Row { value })
        .filter(|row| row.value["state"] == "stored")
        .map(|row| (row.path().to_owned(), row))
        .collect()
}

/// The one stored file of that path.
#[track_caller]
pub(crate) fn file(layover: &Layover, account: &str, path: &str) -> Row {
    let mut files = stored(layover, account);
    files
        .remove(path)
        .unwrap_or_else(|| panic!("no {path} among {:?}", files.keys()))
}

/// Makes sure that ledger and tree hold the same files of the same sizes, and that the totals say
/// the same. The account must be the only one with files.
#[track_caller]
pub(crate) fn agrees_with_tree(layover: &Layover, account: &str) {
    let on_disk: BTreeMap<String, u64> = tree::files(&layover.homes().join(account))
        .into_iter()
        .map(|(path, size)| (String::from_utf8_lossy(&path).into_owned(), size))
        .collect();
    let in_ledger: BTreeMap<String, u64> = stored(layover, account)
        .into_iter()
        .map(|(path, row)| (path, row.size_bytes()))
        .collect();
    assert_eq!(
        in_ledger, on_disk,
        "the ledger (left) differs from the tree (right)"
    );
    let status = layover.json(&["retention", "status"]);
    assert_eq!(status["stored_files"], on_disk.len(), "{status}");
    assert_eq!(
        status["stored_bytes"],
        on_disk.values().sum::<u64>(),
        "{status}"
    );
}
