//! What operators see of hosted files, and how they take one away.

use bytes::Bytes;
use layover_depot::{
    FileState, FilesRemoved, HomeName, JournalKind, Outcome, RegistryError, RemovedWhat, UploadMode,
};
use layover_retention::Clock;

use crate::world::{DAY, PASSWORD, World, acme, actor, at, keep, name, worlds};

fn home(text: &str) -> HomeName {
    text.parse().unwrap()
}

/// An upload by alice of 4 bytes that was interrupted.
async fn interrupted(world: &World, path: &str) {
    let session = world.login("alice", PASSWORD).await.unwrap();
    let mode = UploadMode::New { exclusive: false };
    let permit = session.plan_upload(&at(path), mode).await.unwrap();
    let upload = permit.begin().await.unwrap();
    upload
        .write_at(0, Bytes::from_static(b"half"))
        .await
        .unwrap();
    upload.interrupt().await.unwrap();
    session.end("done").await;
}

async fn paths(world: &World, of: &str) -> Vec<String> {
    let files = world.depot.registry().list_home(&home(of), &at("/")).await;
    files
        .unwrap()
        .iter()
        .map(|file| format!("{} {:?}", file.path, file.state))
        .collect()
}

fn on_disk(world: &World, path: &str) -> bool {
    world.folder.path().join("homes").join(path).exists()
}

/// Files that lie hidden: unfinished uploads, and what is about to go.
fn hidden_files(world: &World) -> usize {
    let hidden = world.folder.path().join("homes/.layover/incoming");
    std::fs::read_dir(hidden).unwrap().count()
}

#[tokio::test]
async fn an_operator_removes_a_stored_file_and_the_journal_names_him() {
    for world in worlds().await {
        world.upload("alice", "/a").await;
        world.upload("alice", "/b").await;
        let registry = world.depot.registry();
        let removed = registry
            .remove_files(&actor(), &home("alice"), &at("/a"), RemovedWhat::Stored)
            .await
            .unwrap();
        assert_eq!((removed.files, removed.size_bytes), (1, 7));
        assert_eq!(paths(&world, "alice").await, ["/b Stored"]);
        assert!(!on_disk(&world, "alice/a") && on_disk(&world, "alice/b"));
        let used = registry.account_use().await.unwrap();
        let alice = registry.account(&name("alice")).await.unwrap();
        assert_eq!(used[&alice.id].used_bytes, 7, "the quota has its room back");

        let entries = world.journal(JournalKind::Admin).await;
        let told = entries.last().unwrap();
        assert_eq!(told.action, "file.remove");
        assert_eq!((told.outcome, told.size_bytes), (Outcome::Ok, Some(7)));
        assert_eq!(told.account.as_deref(), Some("alice"));
        assert_eq!(told.entity.as_deref(), Some("acme"));
        assert_eq!(told.path, Some(at("/a")));
        assert_eq!(told.detail["actor"], "operator");
        assert_eq!(told.detail["home"], "alice");
    }
}

#[tokio::test]
async fn a_file_that_took_the_name_by_other_means_is_not_removed() {
    for world in worlds().await {
        world.upload("alice", "/a").await;
        let file = world.folder.path().join("homes/alice/a");
        std::fs::rename(&file, file.with_file_name("aside")).unwrap();
        std::fs::write(&file, b"another").unwrap();
        let refused = world
            .depot
            .registry()
            .remove_files(&actor(), &home("alice"), &at("/a"), RemovedWhat::Stored)
            .await;
        assert!(
            matches!(refused, Err(RegistryError::NotStored { .. })),
            "{refused:?}"
        );
        assert_eq!(std::fs::read(&file).unwrap(), b"another");
    }
}

#[tokio::test]
async fn an_unfinished_upload_goes_only_when_it_is_meant() {
    for world in worlds().await {
        interrupted(&world, "/half").await;
        world.upload("alice", "/whole").await;
        let registry = world.depot.registry();
        let (alice, half) = (home("alice"), at("/half"));
        assert_eq!(hidden_files(&world), 1);

        let refused = registry
            .remove_files(&actor(), &alice, &half, RemovedWhat::Stored)
            .await;
        assert!(
            matches!(&refused, Err(fault @ RegistryError::OnlyUnfinished { .. })
                if fault.to_string().contains("--partial")),
            "{refused:?}"
        );
        let refused = registry
            .remove_files(&actor(), &alice, &at("/whole"), RemovedWhat::Unfinished)
            .await;
        assert!(
            matches!(refused, Err(RegistryError::NotUnfinished { .. })),
            "{refused:?}"
        );
        let removed = registry
            .remove_files(&actor(), &alice, &half, RemovedWhat::Unfinished)
            .await
            .unwrap();
        assert_eq!(
            removed,
            FilesRemoved {
                files: 1,
                size_bytes: 4
            }
        );
        assert_eq!(paths(&world, "alice").await, ["/whole Stored"]);
        assert_eq!(hidden_files(&world), 0);
        let entries = world.journal(JournalKind::Admin).await;
        let told = entries.last().unwrap();
        assert_eq!(told.action, "file.remove-partial");
        assert_eq!(told.detail["actor"], "operator");
        assert_eq!(told.path, Some(half));
    }
}

#[tokio::test]
async fn an_upload_that_is_going_on_is_not_taken_away() {
    for world in worlds().await {
        let session = world.login("alice", PASSWORD).await.unwrap();
        let mode = UploadMode::New { exclusive: false };
        let permit = session.plan_upload(&at("/live"), mode).await.unwrap();
        let upload = permit.begin().await.unwrap();
        for what in [RemovedWhat::Stored, RemovedWhat::Unfinished] {
            let refused = world
                .depot
                .registry()
                .remove_files(&actor(), &home("alice"), &at("/live"), what)
                .await;
            assert!(
                matches!(refused, Err(RegistryError::BeingUploaded { .. })),
                "{refused:?}"
            );
        }
        upload.interrupt().await.unwrap();
        session.end("done").await;
    }
}

#[tokio::test]
async fn a_listing_tells_when_an_unfinished_upload_goes() {
    for world in worlds().await {
        let interrupted_at = layover_retention::Clock::now(&*world.clock);
        interrupted(&world, "/half").await;
        let half = world.file("alice", "/half").await;
        assert_eq!(half.state, FileState::Partial);
        assert_eq!(half.arrived_at, None);
        let partial_keep = half.expires_at.unwrap().duration_since(interrupted_at);
        world
            .clock
            .advance(partial_keep - std::time::Duration::from_secs(1));
        let sweep = async || {
            let now = layover_retention::Clock::now(&*world.clock);
            world
                .depot
                .shelf()
                .sweep_partials(now)
                .await
                .unwrap()
                .removed
        };
        assert_eq!(sweep().await, 0, "not yet");
        world.clock.advance(std::time::Duration::from_secs(1));
        assert_eq!(sweep().await, 1);
        let gone = world.journal(JournalKind::Retention).await;
        assert_eq!(gone.last().unwrap().detail["home"], "alice");
    }
}

#[tokio::test]
async fn an_unknown_path_or_home_is_named_and_an_empty_folder_is_not_unknown() {
    for world in worlds().await {
        world.upload("alice", "/a").await;
        std::fs::create_dir(world.folder.path().join("homes/alice/empty")).unwrap();
        let registry = world.depot.registry();
        let unknown = registry.list_files(&name("alice"), &at("/nope")).await;
        assert!(
            matches!(unknown, Err(RegistryError::UnknownPath { .. })),
            "{unknown:?}"
        );
        let below_a_file = registry.list_files(&name("alice"), &at("/a/b")).await;
        assert!(
            matches!(below_a_file, Err(RegistryError::UnknownPath { .. })),
            "{below_a_file:?}"
        );
        let unknown = registry.list_home(&home("nope"), &at("/")).await;
        assert!(
            matches!(unknown, Err(RegistryError::UnknownHome { .. })),
            "{unknown:?}"
        );
        let empty = registry.list_files(&name("alice"), &at("/empty")).await;
        assert_eq!(empty.unwrap(), []);
    }
}

#[tokio::test]
async fn the_files_of_a_removed_account_are_handed_over_only_when_it_is_said() {
    for world in worlds().await {
        world.upload("alice", "/old").await;
        let registry = world.depot.registry();
        let mut again = crate::registry::account("alice", "acme");
        registry
            .remove_account(&actor(), &name("alice"))
            .await
            .unwrap();
        assert_eq!(paths(&world, "alice").await, ["/old Stored"]);

        let refused = registry.add_account(&actor(), &again).await;
        assert!(
            matches!(&refused, Err(fault @ RegistryError::HomeHoldsFiles { .. })
                if fault.to_string().contains("--home alice")),
            "{refused:?}"
        );
        assert_eq!(registry.list_accounts().await.unwrap(), []);
        again.home = Some(home("alice"));
        registry.add_account(&actor(), &again).await.unwrap();
        let files = registry.list_files(&name("alice"), &at("/old")).await;
        assert_eq!(files.unwrap().len(), 1);
    }
}

#[tokio::test]
async fn the_empty_home_of_a_removed_account_is_taken_without_a_word() {
    for world in worlds().await {
        world.upload("alice", "/old").await;
        let registry = world.depot.registry();
        registry
            .remove_account(&actor(), &name("alice"))
            .await
            .unwrap();
        registry
            .remove_files(&actor(), &home("alice"), &at("/old"), RemovedWhat::Stored)
            .await
            .unwrap();
        let again = crate::registry::account("alice", "acme");
        registry.add_account(&actor(), &again).await.unwrap();
    }
}

#[tokio::test]
async fn a_new_keep_of_the_entity_moves_the_files_that_follow_it_and_counts_them() {
    for world in worlds().await {
        world
            .add("own", |account| account.keep = Some(keep(4)))
            .await;
        for (user, path) in [("alice", "/a"), ("alice", "/b"), ("own", "/c")] {
            world.upload(user, path).await;
        }
        let set = async |wish| {
            world
                .depot
                .registry()
                .set_entity_keep(&actor(), &acme(), wish, None)
                .await
                .unwrap()
        };
        assert_eq!(set(Some(keep(3))).await, 2);
        assert_eq!(world.days("alice", "/a").await, 3);
        assert_eq!(world.days("own", "/c").await, 4, "the account's own keep");
        assert_eq!(set(Some(keep(3))).await, 0, "nothing moves twice");
        let entries = world.journal(JournalKind::Admin).await;
        let moved: Vec<_> = entries
            .iter()
            .filter(|entry| entry.action == "entity.set")
            .map(|entry| entry.detail["files_moved"].clone())
            .collect();
        assert_eq!(moved, [2, 0]);
        assert_eq!(set(None).await, 2);
        assert_eq!(world.days("alice", "/a").await, 5);
        world.clock.advance(DAY);
        assert_eq!(world.days("alice", "/a").await, 5);
    }
}

// Whose files went is asked by the account's name, whatever took them.
#[tokio::test]
async fn the_journal_of_an_account_shows_the_end_of_its_files() {
    for world in worlds().await {
        world
            .add("bob", |account| {
                account.home = Some("alice".parse().unwrap())
            })
            .await;
        for (user, path) in [
            ("alice", "/expires"),
            ("alice", "/taken"),
            ("alice", "/vanishes"),
            ("bob", "/of-bob"),
        ] {
            world.upload(user, path).await;
        }
        interrupted(&world, "/half").await;
        let registry = world.depot.registry();
        registry
            .remove_files(&actor(), &home("alice"), &at("/taken"), RemovedWhat::Stored)
            .await
            .unwrap();
        std::fs::remove_file(world.folder.path().join("homes/alice/vanishes")).unwrap();
        for _ in 0..2 {
            world.depot.adopt_once().await.unwrap();
        }
        // Also of an account that is no longer there.
        registry
            .remove_account(&actor(), &name("alice"))
            .await
            .unwrap();
        world.clock.advance(6 * DAY);
        let (shelf, now) = (world.depot.shelf(), world.clock.now());
        layover_retention::sweep(shelf, now, 10).await.unwrap();
        shelf.sweep_partials(now).await.unwrap();

        let filter = layover_depot::JournalFilter {
            account: Some("alice".to_owned()),
            limit: 100,
            ..Default::default()
        };
        let told = world.depot.journal().query(&filter).await.unwrap();
        let ends: Vec<_> = told
            .iter()
            .filter(|entry| entry.kind == JournalKind::Retention || entry.action == "file.remove")
            .map(|entry| {
                assert_eq!(entry.entity.as_deref(), Some("acme"));
                assert_eq!(entry.detail["home"], "alice");
                (
                    entry.action.as_str(),
                    entry.path.as_ref().unwrap().to_string(),
                )
            })
            .collect();
        let expected = [
            ("file.remove", "/taken"),
            ("missing", "/vanishes"),
            ("expire", "/expires"),
            ("expire-partial", "/half"),
        ];
        assert_eq!(
            ends,
            expected.map(|(action, path)| (action, path.to_owned()))
        );
    }
}

// Nobody sees them through us, and nothing deletes them: an operator must hear of them.
#[tokio::test]
async fn what_no_client_could_ask_for_is_counted_and_left_alone() {
    for world in worlds().await {
        world.upload("alice", "/file").await;
        let homes = world.folder.path().join("homes/alice");
        std::fs::write(homes.join("two\nlines"), b"content").unwrap();
        std::os::unix::fs::symlink("file", homes.join("link")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(homes.join("socket")).unwrap();
        for _ in 0..2 {
            let looked = world.depot.adopt_once().await.unwrap();
            let odd = (looked.unreachable, looked.foreign);
            assert_eq!((odd, looked.adopted, looked.missing), ((1, 2), 0, 0));
        }
        assert_eq!(paths(&world, "alice").await, ["/file Stored"]);
    }
}
