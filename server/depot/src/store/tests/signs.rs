//! What was seen of connections.

use std::net::IpAddr;

use super::{HERE, Store, time};
use crate::Protocol;
use crate::doctor::{Clue, SeenSign, Sign, SignBoard, SignWrite, Whose};

fn peer(number: u32) -> IpAddr {
    IpAddr::V4((0x0A00_0000 + number).into())
}

fn whose(account: &str, number: u32) -> Whose {
    let account = Some(account).filter(|name| !name.is_empty());
    Whose {
        account: account.map(|name| name.parse().unwrap()),
        peer: peer(number),
        protocol: Some(Protocol::Ftps),
    }
}

/// What a board makes of these, each at its second.
fn writes(known: &[&str], seen: &[(Whose, Clue, i64)]) -> Vec<SignWrite> {
    let board = SignBoard::default();
    let known: Vec<_> = known.iter().map(|one| one.parse().unwrap()).collect();
    board.set_networks(&known);
    for (whose, clue, second) in seen {
        board.see(whose, clue.clone(), time(*second));
    }
    let mut all = Vec::new();
    loop {
        let some = board.take(true);
        if some.is_empty() {
            return all;
        }
        all.extend(some);
    }
}

fn one(signs: &[SeenSign], sign: Sign) -> &SeenSign {
    signs.iter().find(|seen| seen.sign == sign).unwrap()
}

pub(super) async fn signs_add_up_and_strangers_push_nobody_out(store: &Store) {
    let node = HERE.id();
    let add = async |known: &[&str], seen: &[(Whose, Clue, i64)]| {
        for some in writes(known, seen).chunks(256) {
            store.add_signs(some, &node).await.unwrap();
        }
    };
    let of = async |account: &str| store.signs_of(account).await.unwrap();
    let partners = ["10.0.0.0/24"];
    let alice = whose("alice", 1);
    let missed = |port| Clue::new(Sign::NoDataConnection).at_port(port, (31_000, 32_000));
    let range = (31_000, 32_000);
    add(
        &partners,
        &[
            (alice.clone(), missed(31_900), 10),
            (alice.clone(), missed(31_950), 11),
            (
                whose("", 1),
                Clue::new(Sign::TlsVersion).telling("TLS 1.1"),
                5,
            ),
            (whose("bob", 1), Clue::new(Sign::PasswordRefused), 5),
        ],
    )
    .await;
    add(
        &partners,
        &[
            (alice.clone(), missed(31_920), 20),
            (alice.clone(), Clue::new(Sign::LoggedIn), 19),
            (
                alice.clone(),
                Clue::new(Sign::DataArrived).at_port(31_001, range),
                21,
            ),
        ],
    )
    .await;
    let signs = of("alice").await;
    let shut = one(&signs, Sign::NoDataConnection);
    assert_eq!(
        (shut.times, shut.first_at, shut.last_at),
        (3, time(10), time(20))
    );
    assert_eq!((shut.good_times, shut.good_at), (1, Some(time(21))));
    let ports = shut.detail.ports.clone().unwrap();
    assert_eq!(ports.parts.iter().map(|part| part.times).sum::<u64>(), 3);
    // The login speaks against what nobody's connection from there was, and not
    // against what is somebody else's.
    let nobodys = store.signs_of_nobody(100).await.unwrap();
    let old = one(&nobodys, Sign::TlsVersion);
    assert_eq!(
        (old.good_times, &old.detail.told[..]),
        (1, &["TLS 1.1".to_owned()][..])
    );
    assert_eq!(one(&of("bob").await, Sign::PasswordRefused).good_times, 0);
    // Where alice logged in from is hers to everybody else.
    let there = one(&signs, Sign::LoggedIn).network;
    for (asking, is_others) in [("bob", true), ("alice", false)] {
        let places = store.places_of_others(asking, time(30)).await.unwrap();
        let places: Vec<_> = places.iter().map(|place| place.network).collect();
        assert_eq!(places.contains(&there), is_others, "{asking}");
    }
    // When it has passed, the next one is something new.
    let well = || Clue::new(Sign::DataArrived).at_port(31_002, range);
    add(
        &partners,
        &[1, 2, 3].map(|second| (alice.clone(), well(), 30 + second)),
    )
    .await;
    add(&partners, &[(alice.clone(), missed(31_003), 40)]).await;
    let signs = of("alice").await;
    let shut = one(&signs, Sign::NoDataConnection);
    assert_eq!(
        (shut.times, shut.first_at, shut.good_times),
        (1, time(40), 0)
    );
    assert_eq!(shut.detail.ports.as_ref().unwrap().parts.len(), 1);

    // Strangers, of an account and of nobody's: the oldest of them go, and nobody else.
    for account in ["alice", ""] {
        let before = match account {
            "" => store.signs_of_nobody(10_000).await.unwrap(),
            account => of(account).await,
        };
        for hundred in 0..10 {
            let many: Vec<_> = (0..100)
                .map(|number| {
                    let number = 5_000 + hundred * 100 + number;
                    let clue = Clue::new(Sign::PasswordRefused);
                    (whose(account, number), clue, 100 + i64::from(number))
                })
                .collect();
            add(&partners, &many).await;
        }
        let after = match account {
            "" => store.signs_of_nobody(10_000).await.unwrap(),
            account => of(account).await,
        };
        let limit = if account.is_empty() { 500 } else { 40 };
        assert_eq!(after.len(), before.len() + limit, "`{account}`");
        assert!(
            before.iter().all(|seen| after.contains(seen)),
            "`{account}`"
        );
        assert_eq!(after[0].last_at, time(100 + 5_999));
    }
    assert_eq!(store.signs_of_nobody(7).await.unwrap().len(), 7);
    let all = store.forget_signs(time(41)).await.unwrap();
    assert_eq!(
        all, 5,
        "the two of alice's that are well stay no longer than the rest"
    );
    assert!(of("bob").await.is_empty());
    assert_eq!(of("alice").await.len(), 40);
    store.forget_signs(time(100_000)).await.unwrap();
    assert!(store.signs_of_nobody(1).await.unwrap().is_empty());
    // What was well before is no word against what came then, nor where both are written together.
    let (carol, lost) = (whose("carol", 3), || Clue::new(Sign::ConnectionLost));
    let well = |second| (carol.clone(), Clue::new(Sign::Transferred), second);
    add(
        &partners,
        &[
            well(1),
            well(2),
            well(3),
            (carol.clone(), lost(), 4),
            well(5),
        ],
    )
    .await;
    let broken = |signs: &[SeenSign]| one(signs, Sign::ConnectionLost).good_times;
    assert_eq!(broken(&of("carol").await), 1);
    add(&partners, &[well(6), (carol.clone(), lost(), 7)]).await;
    assert_eq!(broken(&of("carol").await), 2, "it goes on");
}
