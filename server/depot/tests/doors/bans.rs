//! Who fails too often is shut out: counted by all nodes together, forgotten with time.

use std::net::IpAddr;
use std::time::Duration;

use layover_depot::{
    AdmitRefused, Ban, BanRules, Depot, JournalKind, LoginError, Network, Options, Proof, Protocol,
    RegistryError, Secret,
};
use layover_retention::Clock as _;

use crate::world::{PASSWORD, PEER, World, actor, attempt, keep, options, worlds};

const SCORE: usize = 4;
const SPAN: Duration = Duration::from_secs(1_800);

fn rules() -> BanRules {
    BanRules {
        score: SCORE,
        span: SPAN,
        never: vec![network("192.0.2.200")],
    }
}

fn strict(mut options: Options) -> Options {
    options.gate.bans = rules();
    options
}

/// Another node on the database and the homes of this one.
async fn node_beside(world: &World, folder: &std::path::Path) -> Depot {
    let mut options = options(folder, &world.url, &world.clock, keep(5));
    options.homes = world.folder.path().join("homes");
    Depot::open(strict(options)).await.unwrap()
}

/// Worlds in which it needs little.
async fn strict_worlds() -> Vec<World> {
    let mut strict_ones = Vec::new();
    for world in worlds().await {
        let World {
            folder,
            url,
            clock,
            depot,
        } = world;
        depot.close().await;
        drop(depot);
        let options = strict(options(folder.path(), &url, &clock, keep(5)));
        let depot = Depot::open(options).await.unwrap();
        depot.refresh().await.unwrap();
        strict_ones.push(World {
            folder,
            url,
            clock,
            depot,
        });
    }
    strict_ones
}

fn network(text: &str) -> Network {
    text.parse().unwrap()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

async fn fail_from(depot: &Depot, user: &str, peer: IpAddr) {
    let mut attempt = attempt(user, Proof::Password(Secret::new("wrong")));
    attempt.peer = peer;
    let answer = depot.gate().login(attempt).await;
    assert!(matches!(answer, Err(LoginError::Refused)), "{answer:?}");
}

fn admits(depot: &Depot, peer: IpAddr) -> Result<(), AdmitRefused> {
    depot.gate().admit(peer).map(drop)
}

async fn bans(depot: &Depot) -> Vec<(String, Option<String>)> {
    let bans = depot.registry().bans().await.unwrap();
    let told = |ban: Ban| (ban.network.to_string(), ban.owner);
    bans.into_iter().map(told).collect()
}

#[tokio::test]
async fn who_fails_too_often_is_shut_out_for_a_time() {
    for world in strict_worlds().await {
        let depot = &world.depot;
        for failures in 1..SCORE {
            fail_from(depot, "alice", PEER).await;
            assert_eq!(admits(depot, PEER), Ok(()), "{failures}");
        }
        assert!(bans(depot).await.is_empty());
        fail_from(depot, "alice", PEER).await;
        assert_eq!(admits(depot, PEER), Err(AdmitRefused::Banned));
        assert_eq!(admits(depot, ip("192.0.2.8")), Ok(()), "its neighbour");
        assert_eq!(bans(depot).await, [(format!("{PEER}/32"), None)]);
        let told = world.journal(JournalKind::System).await;
        let told: Vec<_> = told
            .iter()
            .filter(|entry| entry.action == "gate.ban")
            .collect();
        assert_eq!(told.len(), 1);
        assert_eq!(told[0].detail["network"], format!("{PEER}/32"));

        // A restart forgets nothing, and time does.
        depot.refresh().await.unwrap();
        assert_eq!(admits(depot, PEER), Err(AdmitRefused::Banned));
        world.clock.advance(SPAN);
        assert_eq!(admits(depot, PEER), Ok(()));
        assert!(bans(depot).await.is_empty());
        // It begins anew.
        fail_from(depot, "alice", PEER).await;
        assert_eq!(admits(depot, PEER), Ok(()));
        world.depot.close().await;
    }
}

#[tokio::test]
async fn failures_are_forgotten_as_time_goes_by() {
    for world in strict_worlds().await {
        let depot = &world.depot;
        // One point goes in a quarter of the span.
        for _ in 0..20 {
            fail_from(depot, "alice", PEER).await;
            world.clock.advance(SPAN / 4);
        }
        assert_eq!(admits(depot, PEER), Ok(()));
        assert!(bans(depot).await.is_empty());
        // Names that nobody has weigh as much: the ban does not tell (G03).
        for _ in 0..SCORE - 1 {
            fail_from(depot, "nobody", PEER).await;
        }
        assert_eq!(admits(depot, PEER), Ok(()));
        fail_from(depot, "nobody", PEER).await;
        assert_eq!(admits(depot, PEER), Err(AdmitRefused::Banned));
        world.depot.close().await;
    }
}

/// G02: the nodes count together, and a server that begins knows what others saw.
#[tokio::test]
async fn g02_nodes_count_together() {
    for world in strict_worlds().await {
        // SQLite has one server: the count is kept over its restart.
        let folder = tempfile::tempdir().unwrap();
        let is_shared = world.url.starts_with("postgres");
        let other = match is_shared {
            true => Some(node_beside(&world, folder.path()).await),
            false => None,
        };
        let second = other.as_ref().unwrap_or(&world.depot);
        second.refresh().await.unwrap();
        for _ in 0..SCORE / 2 {
            fail_from(&world.depot, "alice", PEER).await;
            fail_from(second, "alice", PEER).await;
        }
        for depot in [&world.depot, second] {
            depot.refresh().await.unwrap();
            assert_eq!(admits(depot, PEER), Err(AdmitRefused::Banned));
        }
        if let Some(other) = other {
            other.close().await;
        }
        world.depot.close().await;
    }
}

/// G02: a monitor that is spared bans nobody, itself least of all.
#[tokio::test]
async fn g02_who_is_spared_is_not_counted() {
    for world in strict_worlds().await {
        let monitor = ip("192.0.2.200");
        for _ in 0..3 * SCORE {
            fail_from(&world.depot, "nobody", monitor).await;
        }
        assert_eq!(admits(&world.depot, monitor), Ok(()));
        assert!(bans(&world.depot).await.is_empty());
        let refused = world.journal(JournalKind::Login).await;
        assert_eq!(refused.len(), 3 * SCORE, "each is in the journal");
        world.depot.close().await;
    }
}

/// G02: while the database is away strangers stay out, and who is known does not.
#[tokio::test]
async fn g02_without_the_database_only_known_addresses_come_in() {
    for world in strict_worlds().await {
        let session = world.login("alice", PASSWORD).await.unwrap();
        session.end("done").await;
        let (depot, stranger) = (&world.depot, ip("192.0.2.77"));
        assert_eq!(admits(depot, stranger), Ok(()));
        depot.close().await;
        for _ in 0..2 {
            assert!(depot.refresh().await.is_err());
        }
        assert_eq!(admits(depot, stranger), Err(AdmitRefused::Unknown));
        assert_eq!(admits(depot, PEER), Ok(()));
    }
}

#[tokio::test]
async fn operators_shut_out_and_let_in() {
    for world in strict_worlds().await {
        let depot = &world.depot;
        let registry = depot.registry();
        let block = network("192.0.2.0/28");
        let refused = registry.add_ban(&actor(), block, " ", None).await;
        assert!(matches!(refused, Err(RegistryError::NoReason)));
        let refused = registry.add_ban(&actor(), Network::Any, "all", None).await;
        assert!(matches!(refused, Err(RegistryError::BanOfAll)));
        let refused = registry
            .add_ban(&actor(), network("0.0.0.0/0"), "all", None)
            .await;
        assert!(matches!(refused, Err(RegistryError::BanOfAll)));
        let end = world.clock.now().saturating_add(SPAN);
        let ban = registry
            .add_ban(&actor(), block, "ticket 7", Some(end))
            .await
            .unwrap();
        assert_eq!(ban.owner.as_deref(), Some(actor().as_str()));
        depot.refresh().await.unwrap();
        assert_eq!(admits(depot, ip("192.0.2.15")), Err(AdmitRefused::Banned));
        assert_eq!(admits(depot, ip("192.0.2.16")), Ok(()));
        // Another end, another reason: the same ban.
        registry
            .add_ban(&actor(), block, "ticket 8", None)
            .await
            .unwrap();
        let listed = registry.bans().await.unwrap();
        assert_eq!(listed.len(), 1);
        assert_eq!(
            (listed[0].reason.as_str(), listed[0].until),
            ("ticket 8", None)
        );
        let part = registry.lift_ban(&actor(), &network("192.0.2.5")).await;
        assert!(matches!(part, Err(RegistryError::BannedWithin { wider, .. }) if wider == block));
        registry.lift_ban(&actor(), &block).await.unwrap();
        depot.refresh().await.unwrap();
        assert_eq!(admits(depot, ip("192.0.2.15")), Ok(()));
        let gone = registry.lift_ban(&actor(), &block).await;
        assert!(matches!(gone, Err(RegistryError::UnknownBan { .. })));
        // Lifting forgets the failures, too.
        for _ in 0..SCORE {
            fail_from(depot, "alice", PEER).await;
        }
        let banned = Network::Block(ipnet::IpNet::from(PEER));
        registry.lift_ban(&actor(), &banned).await.unwrap();
        depot.refresh().await.unwrap();
        fail_from(depot, "alice", PEER).await;
        assert_eq!(admits(depot, PEER), Ok(()));
        world.depot.close().await;
    }
}

/// An operator's ban without an end is not made shorter by refused logins.
#[tokio::test]
async fn an_operators_ban_stands() {
    for world in strict_worlds().await {
        let depot = &world.depot;
        let only = Network::Block(ipnet::IpNet::from(PEER));
        let registry = depot.registry();
        registry
            .add_ban(&actor(), only, "ticket 9", None)
            .await
            .unwrap();
        for _ in 0..2 * SCORE {
            fail_from(depot, "alice", PEER).await;
        }
        assert_eq!(
            bans(depot).await,
            [(format!("{PEER}/32"), Some(actor().as_str().to_owned()))]
        );
        world.depot.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn failures_at_the_same_time_are_all_counted() {
    for world in strict_worlds().await {
        let depot = &world.depot;
        let all = (0..SCORE).map(|_| fail_from(depot, "alice", PEER));
        futures_util::future::join_all(all).await;
        assert_eq!(admits(depot, PEER), Err(AdmitRefused::Banned));
        assert_eq!(bans(depot).await.len(), 1);
        world.depot.close().await;
    }
}

/// What was refused before any login counts, too: no TLS, a broken handshake.
#[tokio::test]
async fn what_never_comes_to_a_login_weighs_less() {
    for world in strict_worlds().await {
        let depot = &world.depot;
        for failures in 1..=2 * SCORE {
            assert_eq!(admits(depot, PEER), Ok(()), "{failures}");
            let gate = depot.gate();
            let noted = gate.note_failed_tls(PEER, Protocol::Ftps, "no common version");
            noted.await.unwrap();
        }
        assert_eq!(admits(depot, PEER), Err(AdmitRefused::Banned));
        world.depot.close().await;
    }
}
