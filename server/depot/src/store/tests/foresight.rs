//! What goes, what nobody fetched, what could not be removed, what has no
//! checksum.

use super::{HERE, Store, THERE, entry, household, keep, ledger, time};
use crate::account::ForecastQuestion;
use crate::ledger::ContentHash;
use crate::{FileId, HomeId};

async fn due(store: &Store, home: HomeId, second: i64) -> Vec<FileId> {
    let rows = store.due(time(second), None, 10_000).await.unwrap();
    rows.into_iter()
        .filter(|due| due.row.home == home)
        .map(|due| due.row.id)
        .collect()
}

pub(super) async fn what_goes_and_what_failed(store: &Store) {
    let (_, account, home) = household(store, "seer").await;
    let first = ledger::stored(store, home, account, "/first", time(5_000)).await;
    let second = ledger::stored(store, home, account, "/second", time(5_001)).await;
    let row = store.row(first).await.unwrap().unwrap();
    let expires_at = row.expires_at.unwrap();
    let life_s = expires_at.duration_since(time(5_000)).as_secs();

    let question = |until, if_keep| ForecastQuestion { until, if_keep };
    let files = |question, after| async move {
        let found = store
            .forecast_files(&question, after, 10_000)
            .await
            .unwrap();
        let found = found.into_iter().filter(|file| file.home == "seer");
        found.map(|file| file.id).collect::<Vec<_>>()
    };
    assert_eq!(files(question(expires_at, None), None).await, [first]);
    assert_eq!(
        files(question(expires_at, None), Some((expires_at, first))).await,
        [] as [FileId; 0]
    );
    assert_eq!(
        files(question(time(5_002), Some(keep(1))), None).await,
        [first, second]
    );
    let sums = store.forecast(&question(expires_at, None)).await.unwrap();
    let sum = sums.iter().find(|sum| sum.home == "seer").unwrap();
    assert_eq!((sum.files, sum.first_expiry), (1, expires_at));

    // Half of its time must be over.
    let half = time(5_000 + i64::try_from(life_s / 2).unwrap());
    let unwarned = async |now| {
        let found = store.unwarned(expires_at, now, 10_000).await.unwrap();
        found
            .into_iter()
            .filter(|due| due.0.home == home)
            .map(|due| due.0.id)
            .collect::<Vec<_>>()
    };
    assert_eq!(unwarned(time(5_001)).await, [] as [FileId; 0]);
    assert_eq!(unwarned(half).await, [first]);
    assert!(
        store
            .warn(first, half, &entry("uncollected"))
            .await
            .unwrap()
    );
    assert!(
        !store
            .warn(first, half, &entry("uncollected"))
            .await
            .unwrap(),
        "once"
    );
    assert_eq!(unwarned(half).await, [] as [FileId; 0]);

    let later = 5_000 + i64::try_from(life_s).unwrap();
    assert_eq!(due(store, home, later + 1).await, [first, second]);
    for (tried, again) in [(0, 1), (1, 2), (3, 4), (7, 8)] {
        store
            .note_failure(first, "stuck", time(later + tried))
            .await
            .unwrap();
        assert!(
            !due(store, home, later + tried + again - 1)
                .await
                .contains(&first)
        );
        assert!(
            due(store, home, later + tried + again)
                .await
                .contains(&first)
        );
    }
    for tries in 0..20 {
        store
            .note_failure(first, "really stuck", time(later + 100 + tries))
            .await
            .unwrap();
    }
    assert!(!due(store, home, later + 119 + 899).await.contains(&first));
    assert!(
        due(store, home, later + 119 + 900).await.contains(&first),
        "at most 15 min"
    );
    let failing = store.failing(10).await.unwrap();
    assert_eq!(failing.len(), 1);
    assert_eq!((failing[0].id, failing[0].failures), (first, 24));
    assert_eq!(
        (failing[0].cause.as_str(), failing[0].first_at),
        ("really stuck", time(later))
    );
    store.retry_failures().await.unwrap();
    assert!(due(store, home, later + 1).await.contains(&first));
    ledger::remove(store, home, "/first", time(later + 2)).await;
    assert_eq!(store.failing(10).await.unwrap(), []);

    // Another node's files are its own business while it lives.
    let unhashed = async |node: super::Node, own_before, others_before| {
        let found = store
            .unhashed(&node.id(), time(own_before), time(others_before), 10_000)
            .await
            .unwrap();
        found.iter().any(|row| row.id == second)
    };
    assert!(unhashed(HERE, 9_000, 0).await);
    assert!(!unhashed(HERE, 0, 0).await, "it is left alone at first");
    assert!(!unhashed(THERE, 9_000, 0).await);
    assert!(unhashed(THERE, 9_000, 9_000).await);
    let size_bytes = store.row(second).await.unwrap().unwrap().size_bytes;
    let hash = |size_bytes| ContentHash {
        file: second,
        size_bytes,
        sha256: [7; 32],
    };
    store.set_hashes(&[hash(size_bytes + 1)]).await.unwrap();
    assert_eq!(
        store.hash_of(second).await.unwrap(),
        None,
        "of another content"
    );
    store.set_hashes(&[hash(size_bytes)]).await.unwrap();
    assert_eq!(store.hash_of(second).await.unwrap(), Some(vec![7; 32]));
    assert!(!unhashed(HERE, 9_000, 9_000).await);
    ledger::remove(store, home, "/second", time(later + 3)).await;
}
