//! Which rule holds for a file, and what a changed rule does to stored files.

use layover_depot::{AccountChange, Depot, FolderRule, JournalKind, RegistryError, Replace};
use layover_retention::{Clock, Keep, PolicySource};

use crate::world::{DAY, PASSWORD, World, acme, actor, at, keep, name, options, worlds};

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
            .set_entity_keep(&actor(), &acme(), Some(keep(9)), None)
            .await
            .unwrap();
        assert_eq!(world.days("alice", "/a").await, 9);
        assert_eq!(world.days("bob", "/b").await, 3);
        world.upload("alice", "/later").await;
        assert_eq!(world.days("alice", "/later").await, 9);
        let refused = registry
            .set_entity_keep(&actor(), &acme(), Some(keep(31)), None)
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

impl World {
    /// How long files stay in a folder of alice's home; returns how many moved.
    pub(crate) async fn set_folder(
        &self,
        path: &str,
        keep: Option<Keep>,
        collected: Option<Keep>,
    ) -> u64 {
        let rule = FolderRule {
            keep,
            collected_keep: collected,
        };
        let (home, reason) = ("alice".parse().unwrap(), "ticket 7");
        let registry = self.depot.registry();
        let set = registry
            .set_folder_keep(&actor(), &home, &at(path), rule, reason)
            .await;
        set.unwrap()
    }

    async fn fetch(&self, user: &str, path: &str) {
        let session = self.login(user, PASSWORD).await.unwrap();
        let download = session.download(&at(path)).await.unwrap();
        let bytes = download.read_at(0, 100).await.unwrap().len();
        download.finish(bytes as u64, true).await.unwrap();
        session.end("done").await;
    }
}

#[tokio::test]
async fn a_folders_keep_holds_over_the_accounts_for_what_is_there_and_what_comes() {
    for world in worlds().await {
        world
            .add("collector", |new| new.home = Some("alice".parse().unwrap()))
            .await;
        let session = world.login("alice", PASSWORD).await.unwrap();
        session.make_dir(&at("/in")).await.unwrap();
        world.upload("alice", "/in/before").await;
        world.set_keep("alice", Some(keep(9))).await;
        assert_eq!(world.set_folder("/in", Some(keep(2)), None).await, 1);
        // Twice by each: the second time on what was remembered of the first.
        for path in ["/in/one", "/in/two"] {
            world.upload("alice", path).await;
            world.upload("collector", &format!("{path}-more")).await;
        }
        world.upload("alice", "/beside").await;
        for path in ["/in/before", "/in/one", "/in/two", "/in/two-more"] {
            assert_eq!(world.days("alice", path).await, 2, "{path}");
            let file = world.file("alice", path).await;
            assert_eq!(file.rule, Some(PolicySource::Folder), "{path}");
        }
        assert_eq!(world.days("alice", "/beside").await, 9);
        world.set_folder("/in", Some(keep(3)), None).await;
        world.upload("alice", "/in/three").await;
        assert_eq!(world.days("alice", "/in/three").await, 3);
        assert_eq!(world.days("alice", "/in/one").await, 3);
        let registry = world.depot.registry();
        let home = "alice".parse().unwrap();
        let removed = registry
            .remove_folder_keep(&actor(), &home, &at("/in"), "over")
            .await;
        assert_eq!(removed.unwrap(), 6);
        world.upload("alice", "/in/four").await;
        assert_eq!(world.days("alice", "/in/four").await, 9);
        assert_eq!(world.days("alice", "/in/two-more").await, 5);
        let again = registry
            .remove_folder_keep(&actor(), &home, &at("/in"), "over")
            .await;
        let refused = again.unwrap_err();
        assert!(
            matches!(refused, RegistryError::UnknownFolder { .. }),
            "{refused}"
        );
    }
}

#[tokio::test]
async fn a_file_that_moves_follows_its_new_folder_and_keeps_its_arrival() {
    for world in worlds().await {
        let session = world.login("alice", PASSWORD).await.unwrap();
        for dir in ["/in", "/a"] {
            session.make_dir(&at(dir)).await.unwrap();
        }
        world.set_folder("/in", Some(keep(2)), None).await;
        world.upload("alice", "/file").await;
        world.upload("alice", "/a/below").await;
        let before = world.file("alice", "/file").await;
        world.clock.advance(DAY);
        let moves = [("/file", "/in/file"), ("/a", "/in/a")];
        for (from, to) in moves {
            let moved = session.rename(&at(from), &at(to), Replace::Refuse).await;
            moved.unwrap();
        }
        assert_eq!(world.days("alice", "/in/file").await, 2);
        assert_eq!(world.days("alice", "/in/a/below").await, 2);
        assert_eq!(
            world.file("alice", "/in/file").await.arrived_at,
            before.arrived_at
        );
        for (to, from) in moves {
            let moved = session.rename(&at(from), &at(to), Replace::Refuse).await;
            moved.unwrap();
        }
        assert_eq!(world.days("alice", "/file").await, 5);
        assert_eq!(world.days("alice", "/a/below").await, 5);
    }
}

#[tokio::test]
async fn a_file_goes_so_long_after_it_was_first_collected() {
    for world in worlds().await {
        let session = world.login("alice", PASSWORD).await.unwrap();
        session.make_dir(&at("/slow")).await.unwrap();
        let change = AccountChange {
            collected_keep: Some(Some(keep(1))),
            reason: Some("agreed".to_owned()),
            ..AccountChange::default()
        };
        let registry = world.depot.registry();
        let alice = name("alice");
        let changed = registry.change_account(&actor(), &alice, &change).await;
        assert_eq!(changed.unwrap(), 0);
        world.set_folder("/slow", None, Some(keep(2))).await;
        for path in ["/quick", "/slow/file", "/never"] {
            world.upload("alice", path).await;
        }
        world.clock.advance(DAY);
        for path in ["/quick", "/slow/file"] {
            world.fetch("alice", path).await;
            world.clock.advance(DAY / 2);
            world.fetch("alice", path).await;
            world.clock.advance(DAY / 2);
        }
        let (now, shelf) = (world.clock.now(), world.depot.shelf());
        let report = layover_retention::sweep(shelf, now, 10).await.unwrap();
        assert_eq!(report.deleted, 1, "/quick, a day after the first time");
        world.clock.advance(DAY);
        let (now, shelf) = (world.clock.now(), world.depot.shelf());
        let report = layover_retention::sweep(shelf, now, 10).await.unwrap();
        assert_eq!(report.deleted, 1, "/slow/file, two days after it");
        assert_eq!(world.days("alice", "/never").await, 5);
    }
}

#[tokio::test]
async fn a_folders_rule_needs_a_reason_and_no_more_than_the_maximum() {
    for world in worlds().await {
        let registry = world.depot.registry();
        let home = "alice".parse().unwrap();
        let rule = |days| FolderRule {
            keep: Some(keep(days)),
            collected_keep: None,
        };
        let (actor, path) = (actor(), at("/in"));
        let refused = registry
            .set_folder_keep(&actor, &home, &path, rule(31), "why")
            .await
            .unwrap_err();
        assert!(
            matches!(refused, RegistryError::KeepTooLong(_)),
            "{refused}"
        );
        let refused = registry
            .set_folder_keep(&actor, &home, &path, rule(1), " ")
            .await
            .unwrap_err();
        assert!(matches!(refused, RegistryError::NoReason), "{refused}");
        assert_eq!(registry.folder_keeps(&home).await.unwrap(), []);
        for number in 0..256 {
            let path = at(&format!("/{number}"));
            let set = registry
                .set_folder_keep(&actor, &home, &path, rule(1), "why")
                .await;
            set.unwrap();
        }
        let refused = registry
            .set_folder_keep(&actor, &home, &path, rule(1), "why")
            .await
            .unwrap_err();
        assert!(
            matches!(refused, RegistryError::TooManyFolders { .. }),
            "{refused}"
        );
        let change = registry
            .set_folder_keep(&actor, &home, &at("/7"), rule(2), "why")
            .await;
        change.unwrap();
        let entries = world.journal(JournalKind::Admin).await;
        let last = entries.last().unwrap();
        assert_eq!(
            (last.action.as_str(), last.detail["reason"].as_str()),
            ("retention.folder.set", Some("why"))
        );
        assert_eq!(last.detail["actor"], "operator");
    }
}

#[tokio::test]
async fn no_file_is_published_under_a_rule_that_has_just_been_replaced() {
    for world in worlds().await {
        let session = world.login("alice", PASSWORD).await.unwrap();
        session.make_dir(&at("/in")).await.unwrap();
        let uploads = async |who: &'static str| {
            for number in 0..10 {
                world.upload("alice", &format!("/in/{who}-{number}")).await;
            }
        };
        let changes = async {
            for number in 0..12 {
                world
                    .set_folder("/in", Some(keep(2 + number % 2)), None)
                    .await;
                world.set_keep("alice", Some(keep(6 + number % 2))).await;
                let registry = world.depot.registry();
                let entity = registry
                    .set_entity_keep(&actor(), &acme(), Some(keep(8 + number % 2)), None)
                    .await;
                entity.unwrap();
            }
        };
        tokio::join!(uploads("one"), uploads("two"), uploads("three"), changes);
        for who in ["one", "two", "three"] {
            for number in 0..10 {
                let path = format!("/in/{who}-{number}");
                assert_eq!(world.days("alice", &path).await, 3, "{path}");
            }
        }
    }
}
