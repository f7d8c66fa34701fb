//! All rows go out as they stand, and come back the same.

use super::{Store, entry, household, ledger, time};
use crate::FileId;
use crate::journal::JournalFilter;
use crate::store::{DumpPart, TableRows};
use crate::vfs::Identity;

/// A table each: which rows come in one part is the engine's business.
async fn rows_of(store: &Store) -> Vec<TableRows> {
    let mut parts: Vec<TableRows> = Vec::new();
    let mut take = |part| {
        if let DumpPart::Rows(rows) = part {
            match parts.last_mut() {
                Some(last) if last.table == rows.table => last.rows.extend(rows.rows),
                _ => parts.push(rows),
            }
        }
        Ok(())
    };
    store.dump(&mut take).await.unwrap();
    parts
}

/// The last of the suite: every table that is ever filled has rows.
pub(super) async fn everything_goes_out_and_comes_back(store: &Store) {
    let (_, account, home) = household(store, "packer").await;
    let file = ledger::stored(store, home, account, "/packed", time(7_000)).await;
    let before = rows_of(store).await;
    store.clear().await.unwrap();
    assert!(rows_of(store).await.iter().all(|part| part.rows.is_empty()));
    for part in &before {
        store.load(part).await.unwrap();
    }
    store.settle_numbers().await.unwrap();
    let after = rows_of(store).await;
    assert_eq!(after.len(), before.len());
    for (after, before) in after.iter().zip(&before) {
        assert_eq!(after.table, before.table);
        let sorted = |part: &TableRows| {
            let mut rows: Vec<_> = part.rows.iter().map(|row| format!("{row:?}")).collect();
            rows.sort();
            rows
        };
        assert!(sorted(after) == sorted(before), "{}", before.table);
    }

    let mut unknown = before[0].clone();
    unknown.columns[0].name = "no_such_column".to_owned();
    assert!(store.load(&unknown).await.is_err());

    // New rows get new numbers.
    store.append(&entry("later")).await.unwrap();
    let all = JournalFilter {
        limit: 10_000,
        ..JournalFilter::default()
    };
    let journal = store.journal_page(&all).await.unwrap();
    assert_eq!(journal.last().unwrap().action, "later");

    let stored = store.stored_after(FileId(file.0 - 1), 1).await.unwrap();
    assert_eq!(stored.iter().map(|row| row.id).collect::<Vec<_>>(), [file]);
    let identity = Identity {
        inode: 77,
        born_us: 78,
    };
    store.set_identity(file, identity).await.unwrap();
    assert_eq!(
        store.row(file).await.unwrap().unwrap().identity,
        Some(identity)
    );

    let run = crate::account::JobRun {
        at: time(1),
        next_due_at: None,
        report: serde_json::Value::Null,
    };
    store.note_job("packing", &run).await.unwrap();
    store.forget_job("packing").await.unwrap();
    assert_eq!(store.last_run("packing").await.unwrap(), None);
}
