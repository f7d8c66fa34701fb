//! Entries get their place in a chain, once; old ones go from its beginning.

use layover_retention::{ChainHead, ChainName, SEED_BYTES, SigningKey};

use super::{HERE, Store, time};
use crate::chain_memory::Expected;
use crate::journal::{Follower, JournalFilter, JournalKind, NewEntry};

const JOURNAL: ChainName = ChainName::Journal;

fn key() -> SigningKey {
    SigningKey::from_seed(&[7; SEED_BYTES]).unwrap()
}

fn entry(second: i64) -> NewEntry {
    NewEntry::new(time(second), JournalKind::System, "tick", &HERE.id()).with("n", second)
}

fn pruning(second: i64) -> NewEntry {
    NewEntry::new(time(second), JournalKind::System, "chain.prune", &HERE.id())
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
            .seal(
                JOURNAL,
                &key(),
                &Expected::default(),
                time(10),
                thorough,
                limit,
            )
            .await
            .unwrap();
        assert_eq!((done.entries, done.more), (sealed, more));
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
    assert_eq!(store.chain_head(JOURNAL).await.unwrap(), head);
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
    followers(store).await;
    for (before, limit, pruned) in [
        (time(1), 100, 0),
        (time(3), 1, 1),
        // The slowest follower stands behind the third.
        (time(5), 100, 2),
        (time(5), 100, 0),
    ] {
        let gone = store
            .prune(
                JOURNAL,
                &key(),
                &Expected::default(),
                before,
                limit,
                &pruning(20),
            )
            .await
            .unwrap();
        let gone = gone.map_or(0, |gone| gone.entries);
        assert_eq!(gone, pruned, "{before}");
    }
    for (seq, at) in [(3, None), (4, Some(time(4))), (99, None)] {
        assert_eq!(store.written_at(JOURNAL, seq).await.unwrap(), at, "{seq}");
    }
    let beginning = store.chain_beginning(JOURNAL).await.unwrap().unwrap();
    assert_eq!((beginning.head.seq, beginning.head.hash), (3, rows[2].hash));
    assert!(beginning.is_pruning_signed_by(JOURNAL, &key().public()));
    assert_eq!(store.chain_page(JOURNAL, 0, 100).await.unwrap(), rows[3..]);
    let left = JournalFilter {
        limit: 10,
        ..JournalFilter::default()
    };
    // Each time that some went the journal says so.
    assert_eq!(store.journal_page(&left).await.unwrap().len(), 4);

    // The chain goes on; an hour later an older checkpoint stays.
    store.append(&entry(6)).await.unwrap();
    store
        .seal(
            JOURNAL,
            &key(),
            &Expected::default(),
            time(4_000),
            false,
            10,
        )
        .await
        .unwrap();
    let signed = store.chain_checkpoints(JOURNAL, 3, 8).await.unwrap();
    assert_eq!(
        signed
            .iter()
            .map(|found| found.head.seq)
            .collect::<Vec<_>>(),
        [5, 8]
    );
    store
        .advance(Follower::DailyTransfers, 3, 8, time(4_000))
        .await
        .unwrap();
    store
        .advance(Follower::Events, 5, 8, time(4_000))
        .await
        .unwrap();
    // What has no place yet is not pruned.
    store.append(&entry(7)).await.unwrap();
    assert_eq!(
        store
            .prune(
                JOURNAL,
                &key(),
                &Expected::default(),
                time(100),
                100,
                &pruning(4_000)
            )
            .await
            .unwrap()
            .map(|gone| (gone.entries, gone.head.seq)),
        Some((5, 8))
    );
    assert_eq!(store.journal_page(&left).await.unwrap().len(), 2);
    assert_eq!(
        store
            .prune(
                JOURNAL,
                &key(),
                &Expected::default(),
                time(100),
                100,
                &pruning(4_000)
            )
            .await
            .unwrap(),
        None
    );
}

/// Of five entries, one follower has dealt with three, the other begins behind all.
async fn followers(store: &Store) {
    let seen: Vec<_> = store
        .journal_after(1, 3)
        .await
        .unwrap()
        .into_iter()
        .map(|place| (place.seq, place.entry.unwrap()))
        .collect();
    let seconds: Vec<_> = seen.iter().map(|(seq, e)| (*seq, e.at)).collect();
    assert_eq!(seconds, [(2, time(2)), (3, time(3)), (4, time(4))]);
    assert_eq!(seen[0].1.detail["n"], 2);
    assert!(store.journal_after(5, 3).await.unwrap().is_empty());

    let (days, events) = (Follower::DailyTransfers, Follower::Events);
    assert_eq!(store.cursor(days).await.unwrap(), Some(0));
    assert_eq!(store.cursor(events).await.unwrap(), None);
    assert_eq!(
        store.advance(events, 0, 1, time(9)).await.unwrap(),
        None,
        "before it began"
    );
    for (follower, begins) in [(days, 0), (events, 5), (events, 5)] {
        assert_eq!(
            store.begin_following(follower, time(9)).await.unwrap(),
            begins
        );
    }
    // Of two nodes that saw it stand at the same place one moves it.
    let moved = tokio::join!(
        store.advance(days, 0, 3, time(9)),
        store.advance(days, 0, 3, time(9)),
    );
    let moved = [moved.0.unwrap(), moved.1.unwrap()];
    assert_eq!(moved.iter().flatten().count(), 1, "{moved:?}");
    assert_eq!(store.cursor(days).await.unwrap(), Some(3));
}

/// The last part: every file that ended has one, whatever it ended by, and
/// none that was found missing.
pub(super) async fn certificates_of_what_went(store: &Store) {
    let chain = ChainName::Certificates;
    while store
        .seal(
            chain,
            &key(),
            &Expected::default(),
            time(9_000),
            true,
            1_000,
        )
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
