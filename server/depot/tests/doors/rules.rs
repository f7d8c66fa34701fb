//! Which rule holds for a file, and what a changed rule does to stored files.

use layover_depot::{Depot, JournalKind, RegistryError};
use layover_retention::{Clock, Keep};

use crate::world::{DAY, World, acme, actor, keep, name, options, worlds};

#[tokio::test]
async fn a_changed_keep_moves_the_expiry_of_what_is_stored_and_of_nothing_else() {
    for world in worlds().await {
        world.add("bob", |_| {}).await;
        world.upload("alice", "/a").await;
        world.upload("bob", "/b").await;
        world.clock.advance(DAY);
        world.set_keep("alice", Some(keep(2))).await;
        assert_eq!(world.days("alice", "/a").await, 2);
        assert_eq!(world.days("bob", "/b").await, 5);
        world.set_keep("alice", None).await;
        assert_eq!(world.days("alice", "/a").await, 5);
    }
}

#[tokio::test]
async fn an_entitys_keep_holds_where_the_account_says_nothing() {
    for world in worlds().await {
        world
            .add("bob", |new| {
                new.keep = Some(Keep::from_secs(3 * 86_400).unwrap())
            })
            .await;
        world.upload("alice", "/a").await;
        world.upload("bob", "/b").await;
        let registry = world.depot.registry();
        registry
            .set_entity_keep(&actor(), &acme(), Some(keep(9)))
            .await
            .unwrap();
        assert_eq!(world.days("alice", "/a").await, 9);
        assert_eq!(world.days("bob", "/b").await, 3);
        world.upload("alice", "/later").await;
        assert_eq!(world.days("alice", "/later").await, 9);
        let refused = registry
            .set_entity_keep(&actor(), &acme(), Some(keep(31)))
            .await;
        assert!(
            matches!(refused, Err(RegistryError::KeepTooLong(_))),
            "{refused:?}"
        );
    }
}

#[tokio::test]
async fn in_a_shared_home_the_uploader_decides() {
    for world in worlds().await {
        world
            .add("collector", |new| new.home = Some("alice".parse().unwrap()))
            .await;
        world.upload("alice", "/hers").await;
        world.upload("collector", "/its").await;
        world.set_keep("collector", Some(keep(1))).await;
        assert_eq!(world.days("alice", "/hers").await, 5);
        assert_eq!(world.days("alice", "/its").await, 1);
    }
}

#[tokio::test]
async fn a_file_nobody_uploaded_follows_the_homes_first_live_account() {
    for world in worlds().await {
        world
            .add("collector", |new| new.home = Some("alice".parse().unwrap()))
            .await;
        world.set_keep("alice", Some(keep(2))).await;
        world.set_keep("collector", Some(keep(7))).await;
        world.adopt("dropped").await;
        assert_eq!(world.days("collector", "/dropped").await, 2);
        world.set_keep("alice", Some(keep(3))).await;
        assert_eq!(world.days("collector", "/dropped").await, 3);
        world
            .depot
            .registry()
            .remove_account(&actor(), &name("alice"))
            .await
            .unwrap();
        assert_eq!(world.days("collector", "/dropped").await, 7);
    }
}

#[tokio::test]
async fn a_rule_that_changed_while_nothing_ran_holds_from_the_next_start() {
    for world in worlds().await {
        world.upload("alice", "/a").await;
        world.depot.close().await;
        let World {
            folder,
            url,
            clock,
            depot,
        } = world;
        drop(depot);
        let depot = Depot::open(options(folder.path(), &url, &clock, keep(1)))
            .await
            .unwrap();
        let world = World {
            folder,
            url,
            clock,
            depot,
        };
        assert_eq!(world.days("alice", "/a").await, 1);
        let entries = world.journal(JournalKind::System).await;
        let rules = entries
            .iter()
            .filter(|entry| entry.action == "retention.rule");
        assert_eq!(rules.count(), 2, "{entries:?}");
    }
}

#[tokio::test]
async fn files_of_a_removed_account_stay_until_their_own_time_is_over() {
    for world in worlds().await {
        world
            .add("collector", |new| new.home = Some("alice".parse().unwrap()))
            .await;
        world.set_keep("alice", Some(keep(2))).await;
        world.upload("alice", "/a").await;
        world
            .depot
            .registry()
            .remove_account(&actor(), &name("alice"))
            .await
            .unwrap();
        assert_eq!(world.days("collector", "/a").await, 2);
        world.clock.advance(2 * DAY);
        let (now, shelf) = (world.clock.now(), world.depot.shelf());
        let report = layover_retention::sweep(shelf, now, 10).await.unwrap();
        assert_eq!(report.deleted, 1);
    }
}
