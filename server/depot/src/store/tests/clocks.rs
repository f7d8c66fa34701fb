//! What servers remember of their clocks.

use std::time::Duration;

use layover_retention::{Correction, Reading, Timekeeper, Timestamp};

use super::{Store, entry, household, ledger, path, time};
use crate::{FileId, NodeId};

fn reading(wall_s: i64, since_boot_s: u64) -> Reading {
    Reading {
        wall: time(wall_s),
        since_boot: Duration::from_secs(since_boot_s),
    }
}

pub(super) async fn what_a_node_knows_of_its_clock(store: &Store) {
    let node = NodeId("clockwork".to_owned());
    let mut keeper = Timekeeper::new(reading(1_000_000, 50));
    let kept = async || store.clocks(Some(&node)).await.unwrap();
    assert_eq!(kept().await, []);
    let said = entry("clock.confirm");
    let missing = store.confirm_clock("clockwork", "cli:eve", "sure", &said);
    assert_eq!(missing.await.unwrap(), None);

    for (ahead_us, look) in [(None, (1_000_001, 51)), (Some(-7), (2_000_002, 52))] {
        keeper.observe(reading(look.0, look.1));
        let record = keeper.record("boot");
        let said = entry("clock.forward-held");
        let moved = store.keep_clock(&node, time(3), ahead_us, &record, None, Some(&said));
        assert_eq!(moved.await.unwrap(), 0);
        let found = kept().await;
        assert_eq!(
            (found[0].at, found[0].ahead_of_database_us, &found[0].record),
            (time(3), ahead_us, &record)
        );
    }
    store
        .confirm_clock("clockwork", "cli:eve", "sure", &said)
        .await
        .unwrap()
        .unwrap();
    let keep = async |keeper: &Timekeeper| {
        let record = keeper.record("boot");
        let kept = store.keep_clock(&node, time(4), None, &record, None, None);
        kept.await.unwrap();
    };
    keep(&keeper).await;
    assert_eq!(kept().await[0].confirmed_by.as_deref(), Some("cli:eve"));
    assert_eq!(kept().await[0].confirmed_why.as_deref(), Some("sure"));
    keeper.confirm(reading(2_000_003, 53));
    keep(&keeper).await;
    assert_eq!(kept().await[0].confirmed_by, None, "it was heard");
    assert_eq!(store.clocks(None).await.unwrap().len(), 1);

    let database = store.database_time().await.unwrap();
    let is_postgres = matches!(store, Store::Postgres(_));
    assert_eq!(database.is_some(), is_postgres);
    assert!(database.is_none_or(|now| now > "2025-01-01T00:00:00Z".parse().unwrap()));
    store.forget_clocks().await.unwrap();
    assert_eq!(kept().await, []);
}

pub(super) async fn arrivals_of_a_clock_that_was_ahead(store: &Store) {
    let (_, account, home) = household(store, "early").await;
    // The clock was right until 1000, then ahead by 5000, until it came back at 2000.
    for (name, arrived_s) in [
        ("/before", 900),
        ("/first", 6_000),
        ("/later", 6_900),
        ("/under-way", 2_001),
        ("/impossible", 5_500),
    ] {
        ledger::stored(store, home, account, name, time(arrived_s)).await;
    }
    let correction = Correction {
        from: time(6_000),
        ahead: Duration::from_secs(5_000),
        now: time(2_000),
    };
    let record = Timekeeper::new(reading(2_000, 1)).record("boot");
    let correct = async |node: &NodeId| {
        let said = entry("clock.returned");
        let kept = store.keep_clock(
            node,
            time(2_002),
            None,
            &record,
            Some(&correction),
            Some(&said),
        );
        kept.await.unwrap()
    };
    let stranger = NodeId("stranger".to_owned());
    assert_eq!(correct(&stranger).await, 0, "those of another clock stay");
    let row = store.rows_at(home, &path("/first")).await.unwrap();
    assert_eq!(row[0].arrived_at, Some(time(6_000)));

    assert_eq!(correct(&super::HERE.id()).await, 3);
    let files = store.list_files(home, &path("/"), FileId(0), 10).await;
    let mut arrivals: Vec<(String, Timestamp, Timestamp)> = files
        .unwrap()
        .into_iter()
        .map(|file| {
            let (arrived, expires) = (file.arrived_at.unwrap(), file.expires_at.unwrap());
            (file.path.to_string(), arrived, expires)
        })
        .collect();
    arrivals.sort();
    let expected = [
        ("/before", 900),
        ("/first", 1_000),
        ("/impossible", 2_002),
        ("/later", 1_900),
        ("/under-way", 2_001),
    ];
    for ((name, arrived, expires), (wanted, at_s)) in arrivals.iter().zip(expected) {
        assert_eq!((name.as_str(), *arrived), (wanted, time(at_s)));
        assert_eq!(*expires, time(at_s + 100), "{name}");
    }
    assert_eq!(arrivals.len(), expected.len());
    assert_eq!(correct(&super::HERE.id()).await, 0, "once");
    store.forget_clocks().await.unwrap();
}
