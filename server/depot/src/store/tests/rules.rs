//! Rules of a home's own, and files that were collected.

use layover_retention::{PolicySource, Timestamp};

use super::{HERE, entry, household, keep, ledger, path, rule, time};
use crate::account::{AccountChange, StoredFile};
use crate::ledger::{Claimed, Collector, MoveClaim, TreeClaim};
use crate::rules::FolderKeep;
use crate::store::Store;
use crate::vfs::Identity;
use crate::{FileId, HomeId};

pub(super) async fn file(store: &Store, home: HomeId, name: &str) -> StoredFile {
    let files = store.list_files(home, &path("/"), FileId(0), 100).await;
    let found = files
        .unwrap()
        .into_iter()
        .find(|file| file.path == path(name));
    found.unwrap()
}

pub(super) async fn expiry(store: &Store, home: HomeId, name: &str) -> (Timestamp, PolicySource) {
    let file = file(store, home, name).await;
    (file.expires_at.unwrap(), file.rule.unwrap())
}

fn folder(name: &str, keep_s: Option<u64>, collected_s: Option<u64>) -> FolderKeep {
    FolderKeep {
        path: path(name),
        keep: keep_s.map(keep),
        collected_keep: collected_s.map(keep),
        set_at: time(1000),
        reason: "ticket 7".to_owned(),
    }
}

pub(super) async fn rename(store: &Store, home: HomeId, from: &str, to: &str) {
    let claim = MoveClaim {
        home,
        file: file(store, home, from).await.id,
        identity: Identity {
            inode: 1,
            born_us: 1,
        },
        from: path(from),
        to: path(to),
        node: HERE.id(),
        now: time(1001),
    };
    assert_eq!(store.claim_move(&claim).await.unwrap(), Claimed::Yes);
    let moved = store.finish_move(&claim, rule(), &entry("rename")).await;
    moved.unwrap();
}

pub(super) async fn rename_folder(store: &Store, home: HomeId, from: &str, to: &str) {
    let claim = TreeClaim {
        home,
        from: path(from),
        to: Some(path(to)),
        identity: Identity {
            inode: 1,
            born_us: 1,
        },
        node: HERE.id(),
        now: time(1001),
    };
    assert_eq!(store.claim_tree(&claim).await.unwrap(), Claimed::Yes);
    store
        .finish_tree_move(home, &path(from), &path(to), rule(), time(1001), None)
        .await
        .unwrap();
}

pub(super) async fn a_folders_rule(store: &Store) {
    let (entity, account, home) = household(store, "foldered").await;
    let (_, neighbour, other_home) = household(store, "neighbour").await;
    for name in ["/in/a", "/in/deep/b", "/inn", "/c"] {
        ledger::stored(store, home, account, name, time(1000)).await;
    }
    ledger::stored(store, other_home, neighbour, "/in/a", time(1000)).await;
    let set = async |folder: FolderKeep| {
        let entry = entry("folder.set");
        let set = store.set_folder_keep(home, &folder, rule(), &entry);
        set.await.unwrap()
    };
    let before = store.grounds_now(account).await.unwrap();
    assert_eq!(set(folder("/in", Some(30), None)).await, 2);
    assert_ne!(store.grounds_now(account).await.unwrap(), before);
    assert_eq!(
        set(folder("/in", Some(30), None)).await,
        0,
        "it is so already"
    );
    assert_eq!(set(folder("/in/deep", Some(2000), None)).await, 1);
    let of_folder = |second| (time(second), PolicySource::Folder);
    let of_appliance = |second| (time(second), PolicySource::Appliance);
    assert_eq!(expiry(store, home, "/in/a").await, of_folder(1030));
    assert_eq!(
        expiry(store, home, "/in/deep/b").await,
        of_folder(2000),
        "never more than the maximum"
    );
    for (home, name) in [(home, "/inn"), (home, "/c"), (other_home, "/in/a")] {
        assert_eq!(
            expiry(store, home, name).await,
            of_appliance(1100),
            "{name}"
        );
    }
    // What comes later follows it, too, and what has another name.
    ledger::stored(store, home, account, "/in/later", time(1002)).await;
    assert_eq!(expiry(store, home, "/in/later").await, of_folder(1032));
    rename(store, home, "/c", "/in/c").await;
    assert_eq!(expiry(store, home, "/in/c").await, of_folder(1030));
    rename_folder(store, home, "/in/deep", "/out").await;
    assert_eq!(expiry(store, home, "/out/b").await, of_appliance(1100));
    // Another rule of the entity does not reach into the folder.
    let note = entry("entity.set");
    let moved = store.set_entity_keep(entity, Some(keep(50)), rule(), &note);
    assert_eq!(moved.await.unwrap(), 2, "/inn and /out/b");
    assert_eq!(expiry(store, home, "/in/a").await, of_folder(1030));
    let of_entity = (time(1050), PolicySource::Entity);
    assert_eq!(expiry(store, home, "/inn").await, of_entity);

    let listed = store.folder_keeps(home).await.unwrap();
    let expected = [
        folder("/in", Some(30), None),
        folder("/in/deep", Some(2000), None),
    ];
    assert_eq!(listed, expected);
    assert_eq!(store.folder_keeps(other_home).await.unwrap(), []);
    for (name, moved) in [("/in", Some(3)), ("/in", None), ("/in/deep", Some(0))] {
        let removed = store
            .remove_folder_keep(home, &path(name), rule(), &entry("folder.remove"))
            .await
            .unwrap();
        assert_eq!(removed, moved, "{name}");
    }
    assert_eq!(expiry(store, home, "/in/a").await, of_entity);
}

pub(super) async fn a_collected_file(store: &Store) {
    let (_, account, home) = household(store, "collecting").await;
    let note = entry("rule");
    for name in ["/a", "/in/b", "/late"] {
        ledger::stored(store, home, account, name, time(1000)).await;
    }
    let collect = async |name: &str, second: i64| {
        let collected = Some((
            file(store, home, name).await.id,
            Collector::Account(account),
        ));
        let entry = entry("download");
        let end = store.end_download(collected, time(second), &entry);
        assert!(end.await.unwrap());
    };
    collect("/a", 1010).await;
    assert_eq!(
        expiry(store, home, "/a").await.0,
        time(1100),
        "no such rule"
    );
    let change = AccountChange {
        collected_keep: Some(Some(keep(20))),
        ..AccountChange::default()
    };
    let set = store.change_account(account, &change, rule(), &note);
    assert_eq!(set.await.unwrap(), 1, "only one was collected");
    assert_eq!(expiry(store, home, "/a").await.0, time(1030));
    assert_eq!(expiry(store, home, "/in/b").await.0, time(1100));
    let slow = folder("/in", None, Some(40));
    let set = store.set_folder_keep(home, &slow, rule(), &note);
    assert_eq!(set.await.unwrap(), 0);
    collect("/in/b", 1015).await;
    collect("/in/b", 1050).await;
    assert_eq!(
        expiry(store, home, "/in/b").await.0,
        time(1055),
        "the first time counts"
    );
    collect("/late", 1095).await;
    assert_eq!(
        expiry(store, home, "/late").await.0,
        time(1100),
        "never later"
    );
    let change = AccountChange {
        collected_keep: Some(None),
        ..AccountChange::default()
    };
    let set = store.change_account(account, &change, rule(), &note);
    assert_eq!(set.await.unwrap(), 1);
    assert_eq!(expiry(store, home, "/a").await.0, time(1100));
    let found = store.account(&"collecting".parse().unwrap()).await.unwrap();
    assert_eq!(found.unwrap().collected_keep, None);
}
