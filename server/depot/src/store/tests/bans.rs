//! Who failed how often, and who is shut out.

use std::time::Duration;

use super::{HERE, Store, entry, time};
use crate::Network;
use crate::gate::{Ban, BanRules, Offence};

const SPAN: Duration = Duration::from_secs(100);

fn network(text: &str) -> Network {
    text.parse().unwrap()
}

fn offence(text: &str, weight_milli: i64, second: i64) -> Offence {
    Offence {
        network: network(text),
        weight_milli,
        rules: BanRules {
            score: 2,
            span: SPAN,
            never: Vec::new(),
        },
        now: time(second),
        node: HERE.id(),
    }
}

fn by_operator(text: &str, second: i64, until: Option<i64>) -> Ban {
    Ban {
        network: network(text),
        owner: Some("cli:eve".to_owned()),
        reason: "ticket 7".to_owned(),
        since: time(second),
        until: until.map(time),
    }
}

pub(super) async fn a_ban_from_its_first_point_to_its_end(store: &Store) {
    let note = async |text: &str, weight_milli: i64, second: i64| {
        let offence = offence(text, weight_milli, second);
        let noted = store.note_offence(Some(&entry("login")), &offence).await;
        noted.unwrap()
    };
    let now = async |second: i64| -> Vec<_> {
        let bans = store.bans(time(second)).await.unwrap();
        bans.into_iter().map(|ban| ban.network).collect()
    };
    let before = store.generation().await.unwrap();
    assert_eq!(note("198.51.100.7", 1_000, 1_000).await, None);
    // Half of it has gone, and another address has its own score.
    assert_eq!(note("198.51.100.7", 1_000, 1_025).await, None);
    assert_eq!(note("198.51.100.8", 1_000, 1_025).await, None);
    let ban = note("198.51.100.7", 500, 1_025).await.unwrap();
    assert_eq!(
        (ban.network, ban.owner.as_deref(), ban.since, ban.until),
        (
            network("198.51.100.7"),
            None,
            time(1_025),
            Some(time(1_125))
        )
    );
    assert!(store.generation().await.unwrap() > before);
    assert_eq!(now(1_026).await, [network("198.51.100.7")]);
    assert!(now(1_125).await.is_empty());
    // It began anew with the ban.
    let silent = offence("198.51.100.7", 1_000, 1_026);
    assert_eq!(store.note_offence(None, &silent).await.unwrap(), None);

    // An operator's own stands, and comes first.
    let eve = by_operator("203.0.113.0/24", 1_030, None);
    let added = store.add_ban(&eve, &entry("ban.add")).await;
    assert_eq!(added.unwrap(), Some(()));
    let only = by_operator("198.51.100.9", 1_030, Some(2_000));
    let added = store.add_ban(&only, &entry("ban.add")).await;
    assert_eq!(added.unwrap(), Some(()));
    assert_eq!(note("198.51.100.9", 5_000, 1_031).await, None);
    let all = store.bans(time(1_031)).await.unwrap();
    assert_eq!(all.len(), 3);
    assert_eq!(all.iter().filter(|ban| ban.owner.is_some()).count(), 2);
    assert!(all[2].owner.is_none());

    let lift = async |text: &str, second: i64| {
        let lifted = entry("ban.lift");
        store
            .lift_ban(&network(text), time(second), &lifted)
            .await
            .unwrap()
    };
    assert_eq!(lift("203.0.113.0/24", 1_032).await, Some(()));
    assert_eq!(lift("203.0.113.0/24", 1_032).await, None);
    assert_eq!(
        lift("198.51.100.7", 1_125).await,
        None,
        "it is over: nothing is done"
    );
    assert_eq!(store.forget_offenders(time(2_000)).await.unwrap(), 2);
    assert_eq!(store.forget_offenders(time(2_000)).await.unwrap(), 0);
    assert_eq!(store.forget_bans(time(1_125)).await.unwrap(), 1);
    assert_eq!(now(1_126).await, [network("198.51.100.9")]);
    assert_eq!(store.forget_bans(time(2_000)).await.unwrap(), 1);
}
