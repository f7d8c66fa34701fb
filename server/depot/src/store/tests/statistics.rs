//! Days of transfers: counted once, read in one state.

use super::{HERE, Store, time};
use crate::holdings::Direction;
use crate::journal::{Follower, JournalKind, NewEntry};
use crate::statistics::{DailyKey, DailySums, DaysWanted, TransferCount, TransfersOf};

fn key(name: &str, day: i64, is_ok: bool) -> DailyKey {
    DailyKey {
        of: TransfersOf::Account,
        name: name.to_owned(),
        day,
        direction: Direction::Upload,
        is_ok,
    }
}

fn sum(requests: u64) -> TransferCount {
    TransferCount {
        requests,
        size_bytes: requests * 10,
        duration_ms: requests * 2,
    }
}

fn wanted(name: &str) -> DaysWanted<'_> {
    DaysWanted {
        of: TransfersOf::Account,
        name,
        first: 20_000,
        last: 20_001,
    }
}

pub(super) async fn days_of_transfers(store: &Store) {
    let from = store
        .cursor(Follower::DailyTransfers)
        .await
        .unwrap()
        .unwrap();
    let now = time(30);
    let first = DailySums::from([
        (key("counted", 20_000, true), sum(1)),
        (key("counted", 20_001, false), sum(2)),
        (key("counted", 19_999, true), sum(7)),
        (key("another", 20_000, true), sum(8)),
    ]);
    // Two nodes that read the same entries: one of them counts.
    let both = tokio::join!(
        store.add_daily(from, from + 2, &first, now),
        store.add_daily(from, from + 2, &first, now),
    );
    let both = [both.0.unwrap(), both.1.unwrap()];
    assert_eq!(both.iter().flatten().count(), 1, "{both:?}");
    let more = DailySums::from([(key("counted", 20_000, true), sum(3))]);
    assert!(
        store
            .add_daily(from, from + 3, &more, now)
            .await
            .unwrap()
            .is_none()
    );
    assert!(
        store
            .add_daily(from + 2, from + 3, &more, now)
            .await
            .unwrap()
            .is_some()
    );
    assert!(
        store
            .add_daily(from + 3, from + 3, &DailySums::new(), now)
            .await
            .unwrap()
            .is_some()
    );

    let head = store
        .chain_head(layover_retention::ChainName::Journal)
        .await
        .unwrap()
        .seq;
    store
        .advance(Follower::DailyTransfers, from + 3, head.max(from + 3), now)
        .await
        .unwrap();
    let told = NewEntry::new(time(31), JournalKind::Transfer, "upload", &HERE.id())
        .account("counted")
        .size_bytes(5);
    store.append(&told).await.unwrap();
    let kept = store
        .transfer_days(&wanted("counted"), 100_000)
        .await
        .unwrap();
    assert_eq!(
        kept.sums,
        [
            (key("counted", 20_000, true), sum(4)),
            (key("counted", 20_001, false), sum(2))
        ]
    );
    let fresh: Vec<_> = kept.fresh.iter().map(|entry| entry.size_bytes).collect();
    assert_eq!((fresh, kept.uncounted), (vec![Some(5)], 0));
    let too_many = store.transfer_days(&wanted("counted"), 0).await.unwrap();
    assert!(
        too_many.fresh.is_empty() && too_many.uncounted > 0,
        "{too_many:?}"
    );
    assert!(
        store
            .transfer_days(&wanted("nobody"), 100_000)
            .await
            .unwrap()
            .sums
            .is_empty()
    );

    assert_eq!(store.forget_days(20_000).await.unwrap(), 1);
    assert_eq!(store.forget_days(20_000).await.unwrap(), 0);
    let subject = store
        .subject(TransfersOf::Account, "nobody-at-all")
        .await
        .unwrap();
    assert!(subject.is_none());
    assert!(store.zones().await.is_ok());
}
