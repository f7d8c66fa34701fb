//! Entries get their place in a chain, once; old ones go from its beginning.

use layover_retention::{ChainHead, ChainName, SEED_BYTES, SigningKey};

use super::{HERE, Store, time};
use crate::journal::{JournalFilter, JournalKind, NewEntry};
use crate::ledger::Sealed;

const JOURNAL: ChainName = ChainName::Journal;

fn key() -> SigningKey {
    SigningKey::from_seed(&[7; SEED_BYTES]).unwrap()
}

fn entry(second: i64) -> NewEntry {
    NewEntry::new(time(second), JournalKind::System, "tick", &HERE.id()).with("n", second)
}

/// The first part of the suite: the journal is empty.
pub(super) async fn the_journal_in_its_chain(store: &Store) {
    store
        .register_key(&key().public(), &HERE.id(), time(1))
        .await
        .unwrap();
    store
        .register_key(&key().public(), &HERE.id(), time(2))
        .await
        .unwrap();
    assert_eq!(store.signing_keys().await.unwrap(), [key().public()]);
    assert!(!store.has_unsealed(JOURNAL).await.unwrap());
    assert_eq!(store.last_checkpoint(JOURNAL).await.unwrap(), None);

    let entries: Vec<_> = (1..=5).map(entry).collect();
    store.append_all(&entries).await.unwrap();
    assert!(store.has_unsealed(JOURNAL).await.unwrap());
    for (limit, thorough, sealed, more) in [
        (2, false, 2, true),
        (2, true, 2, true),
        (9, true, 1, false),
        (9, true, 0, false),
    ] {
        let done = store
            .seal(JOURNAL, &key(), time(10), thorough, limit)
            .await
            .unwrap();
        assert_eq!(
            done,
            Sealed {
                entries: sealed,
                more
            }
        );
    }
    assert!(!store.has_unsealed(JOURNAL).await.unwrap());

    let rows = store.chain_page(JOURNAL, 0, 100).await.unwrap();
    let mut head = ChainHead::EMPTY;
    for (row, second) in rows.iter().zip(1_i64..) {
        let record = row.record.as_deref().unwrap();
        assert!(
            record.contains(&format!("\"detail\":{{\"n\":{second}}}")),
            "{record}"
        );
        head = head.next(JOURNAL, record.as_bytes());
        assert_eq!((row.seq, row.hash), (head.seq, head.hash));
    }
    assert_eq!(head.seq, 5);
    let page = store.chain_page(JOURNAL, 2, 2).await.unwrap();
    assert_eq!(page, rows[2..4]);

    // Of one hour the newest is kept.
    let signed = store.chain_checkpoints(JOURNAL, 0, 5).await.unwrap();
    assert_eq!(
        signed.iter().map(|found| found.head).collect::<Vec<_>>(),
        [head]
    );
    assert!(signed[0].is_signed_by(JOURNAL, &key().public()));
    assert_eq!(store.last_checkpoint(JOURNAL).await.unwrap(), Some(5));
    assert!(store.chain_intruders(JOURNAL, 10).await.unwrap().is_empty());

    // Only a whole beginning goes, and only what is old enough.
    assert_eq!(store.chain_beginning(JOURNAL).await.unwrap(), None);
    for (before, limit, pruned) in [
        (time(1), 100, 0),
        (time(3), 1, 1),
        (time(4), 100, 2),
        (time(4), 100, 0),
    ] {
        let gone = store
            .journal_prune(&key(), before, time(20), limit)
            .await
            .unwrap();
        assert_eq!(gone, pruned, "{before}");
    }
    let beginning = store.chain_beginning(JOURNAL).await.unwrap().unwrap();
    assert_eq!((beginning.head.seq, beginning.head.hash), (3, rows[2].hash));
    assert!(beginning.is_signed_by(JOURNAL, &key().public()));
    assert_eq!(store.chain_page(JOURNAL, 0, 100).await.unwrap(), rows[3..]);
    let left = JournalFilter {
        limit: 10,
        ..JournalFilter::default()
    };
    assert_eq!(store.journal_page(&left).await.unwrap().len(), 2);

    // The chain goes on; an hour later an older checkpoint stays.
    store.append(&entry(6)).await.unwrap();
    store
        .seal(JOURNAL, &key(), time(4_000), false, 10)
        .await
        .unwrap();
    let signed = store.chain_checkpoints(JOURNAL, 3, 6).await.unwrap();
    assert_eq!(
        signed
            .iter()
            .map(|found| found.head.seq)
            .collect::<Vec<_>>(),
        [5, 6]
    );
    // What has no place yet is not pruned.
    store.append(&entry(7)).await.unwrap();
    assert_eq!(
        store
            .journal_prune(&key(), time(100), time(4_000), 100)
            .await
            .unwrap(),
        3
    );
    assert_eq!(store.journal_page(&left).await.unwrap().len(), 1);
    assert_eq!(
        store
            .journal_prune(&key(), time(100), time(4_000), 100)
            .await
            .unwrap(),
        0
    );
}

/// The last part: every file that ended has one, whatever it ended by, and
/// none that was found missing.
pub(super) async fn certificates_of_what_went(store: &Store) {
    let chain = ChainName::Certificates;
    while store
        .seal(chain, &key(), time(9_000), true, 1_000)
        .await
        .unwrap()
        .more
    {}
    let rows = store.chain_page(chain, 0, 10_000).await.unwrap();
    let causes: Vec<String> = rows
        .iter()
        .map(|row| {
            let record: serde_json::Value =
                serde_json::from_str(row.record.as_deref().unwrap()).unwrap();
            record["cause"].as_str().unwrap().to_owned()
        })
        .collect();
    for cause in ["expired", "removed", "replaced"] {
        assert!(
            causes.iter().any(|found| found == cause),
            "no {cause}: {causes:?}"
        );
    }
    assert!(!causes.iter().any(|found| found == "missing"));
}
