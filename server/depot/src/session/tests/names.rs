//! Rename, remove, directories.

use super::{NEW, begin, receiving};
use crate::holdings::fixture::{DAY, KEEP, World, fetch, names, path, start_time, upload};
use crate::session::{Completion, MAX_LISTING, Session};
use crate::vfs::{Replace, VfsError};
use crate::{JournalKind, MAX_PATH_BYTES, PathError};

async fn world() -> (World, Session) {
    let world = World::new().await;
    let session = world.session("alice").await;
    (world, session)
}

#[tokio::test]
async fn a_renamed_file_keeps_its_clock() {
    let (world, session) = world().await;
    upload(&session, "/a", b"x").await.unwrap();
    world.clock.advance(DAY * 4);
    session
        .rename(&path("/a"), &path("/b"), Replace::Refuse)
        .await
        .unwrap();
    let info = session.stat(&path("/b")).await.unwrap();
    assert_eq!(info.expires_at, Some(start_time().saturating_add(KEEP)));
    assert_eq!(names(&session, "/").await, ["b"]);
    world.assert_agreement().await;
}

// S06: a plain rename never replaces; a posix-rename does, atomically.
#[tokio::test]
async fn a_rename_replaces_only_when_it_may() {
    let (world, session) = world().await;
    upload(&session, "/a", b"a").await.unwrap();
    upload(&session, "/b", b"bb").await.unwrap();
    let refused = session
        .rename(&path("/a"), &path("/b"), Replace::Refuse)
        .await;
    assert!(matches!(refused, Err(VfsError::AlreadyExists { .. })));
    assert_eq!(fetch(&session, "/b").await.unwrap(), b"bb");
    session
        .rename(&path("/a"), &path("/b"), Replace::Allow)
        .await
        .unwrap();
    assert_eq!(fetch(&session, "/b").await.unwrap(), b"a");
    assert_eq!(names(&session, "/").await, ["b"]);
    world.assert_agreement().await;
}

#[tokio::test]
async fn a_name_whose_time_is_over_is_free_for_a_rename() {
    let (world, session) = world().await;
    upload(&session, "/old", b"old").await.unwrap();
    world.clock.advance(KEEP);
    upload(&session, "/a", b"new").await.unwrap();
    session
        .rename(&path("/a"), &path("/old"), Replace::Refuse)
        .await
        .unwrap();
    assert_eq!(fetch(&session, "/old").await.unwrap(), b"new");
    world.assert_agreement().await;
}

#[tokio::test]
async fn what_cannot_be_renamed_is_named_by_its_fault() {
    let (world, session) = world().await;
    session.make_dir(&path("/d")).await.unwrap();
    session.make_dir(&path("/e")).await.unwrap();
    upload(&session, "/a", b"x").await.unwrap();
    world.storage.drop_in("alice", "/found", b"operator's");
    let rename = async |from: &str, to: &str, replace| {
        session
            .rename(&path(from), &path(to), replace)
            .await
            .unwrap_err()
    };
    use Replace::{Allow, Refuse};
    assert!(matches!(
        rename("/no", "/b", Allow).await,
        VfsError::NotFound { .. }
    ));
    assert!(matches!(
        rename("/a", "/no/b", Allow).await,
        VfsError::NotFound { .. }
    ));
    assert!(matches!(
        rename("/a", "/d", Refuse).await,
        VfsError::AlreadyExists { .. }
    ));
    assert!(matches!(
        rename("/a", "/d", Allow).await,
        VfsError::IsDirectory { .. }
    ));
    assert!(matches!(
        rename("/d", "/a", Refuse).await,
        VfsError::AlreadyExists { .. }
    ));
    assert!(matches!(
        rename("/d", "/e", Allow).await,
        VfsError::AlreadyExists { .. }
    ));
    assert!(matches!(
        rename("/d", "/d/x", Refuse).await,
        VfsError::Unsupported { .. }
    ));
    assert!(matches!(
        rename("/a", "/found", Refuse).await,
        VfsError::AlreadyExists { .. }
    ));
    assert!(matches!(
        rename("/a", "/found", Allow).await,
        VfsError::Busy { .. }
    ));
    assert!(matches!(
        rename("/found", "/b", Allow).await,
        VfsError::NotFound { .. }
    ));
    assert!(matches!(
        rename("/", "/b", Allow).await,
        VfsError::NotPermitted { .. }
    ));
    assert_eq!(fetch(&session, "/a").await.unwrap(), b"x");
    let found = ("/found".to_owned(), b"operator's".to_vec());
    assert!(world.files("alice").contains(&found));
}

#[tokio::test]
async fn a_moved_directory_takes_its_files_and_not_its_neighbour() {
    let (world, session) = world().await;
    for dir in ["/d", "/d/deep", "/dd", "/t"] {
        session.make_dir(&path(dir)).await.unwrap();
    }
    for name in ["/d/a", "/d/deep/b", "/dd/c"] {
        upload(&session, name, name.as_bytes()).await.unwrap();
    }
    session
        .rename(&path("/d"), &path("/t/m"), Replace::Refuse)
        .await
        .unwrap();
    assert_eq!(fetch(&session, "/t/m/a").await.unwrap(), b"/d/a");
    assert_eq!(fetch(&session, "/t/m/deep/b").await.unwrap(), b"/d/deep/b");
    assert_eq!(fetch(&session, "/dd/c").await.unwrap(), b"/dd/c");
    assert_eq!(names(&session, "/").await, ["dd", "t"]);
    world.assert_agreement().await;
}

#[tokio::test]
async fn a_directory_does_not_move_where_its_names_would_be_too_long() {
    let (_world, session) = world().await;
    let name = "n".repeat(255);
    session.make_dir(&path("/d")).await.unwrap();
    upload(&session, &format!("/d/{name}"), b"x").await.unwrap();
    let mut parent = String::new();
    while parent.len() + 256 + 2 + 256 <= MAX_PATH_BYTES {
        parent.push('/');
        parent.push_str(&name);
        session.make_dir(&path(&parent)).await.unwrap();
    }
    // Leaves less room than one name may take.
    parent.push_str("/p");
    session.make_dir(&path(&parent)).await.unwrap();
    let room = MAX_PATH_BYTES - parent.len() - 256 - 1;
    let (longest, too_long) = ("l".repeat(room), "l".repeat(room + 1));
    let to = |last: &str| path(&format!("{parent}/{last}"));
    let moved = session
        .rename(&path("/d"), &to(&too_long), Replace::Refuse)
        .await;
    assert!(
        matches!(moved, Err(VfsError::BadPath(PathError::TooLong { .. }))),
        "{moved:?}"
    );
    session
        .rename(&path("/d"), &to(&longest), Replace::Refuse)
        .await
        .unwrap();
    let deepest = path(&format!("{parent}/{longest}/{name}"));
    assert_eq!(deepest.as_bytes().len(), MAX_PATH_BYTES);
    session.stat(&deepest).await.unwrap();
}

#[tokio::test]
async fn a_removed_file_is_gone_and_its_neighbour_is_not() {
    let (world, session) = world().await;
    upload(&session, "/a", b"a").await.unwrap();
    upload(&session, "/b", b"b").await.unwrap();
    session.remove(&path("/a")).await.unwrap();
    assert!(matches!(
        session.remove(&path("/a")).await,
        Err(VfsError::NotFound { .. })
    ));
    assert_eq!(world.files("alice"), [("/b".to_owned(), b"b".to_vec())]);
    let journal = world.journal(JournalKind::Transfer).await;
    assert_eq!(
        journal
            .iter()
            .filter(|entry| entry.action == "delete")
            .count(),
        1
    );
    world.assert_agreement().await;
}

#[tokio::test]
async fn a_directory_goes_when_the_peer_sees_nothing_in_it() {
    let (world, session) = world().await;
    for dir in ["/expired", "/partial", "/full", "/receiving", "/found"] {
        session.make_dir(&path(dir)).await.unwrap();
    }
    upload(&session, "/expired/a", b"x").await.unwrap();
    world.clock.advance(KEEP);
    upload(&session, "/full/a", b"x").await.unwrap();
    receiving(&session, "/partial/a", b"x")
        .await
        .interrupt()
        .await
        .unwrap();
    let upload = receiving(&session, "/receiving/a", b"x").await;
    world.storage.drop_in("alice", "/found/a", b"x");
    for dir in ["/full", "/receiving", "/found"] {
        let refused = session.remove_dir(&path(dir)).await;
        assert!(
            matches!(refused, Err(VfsError::DirectoryNotEmpty { .. })),
            "{dir}: {refused:?}"
        );
    }
    for dir in ["/expired", "/partial"] {
        session.remove_dir(&path(dir)).await.unwrap();
    }
    let expired = world.journal(JournalKind::Retention).await;
    assert!(expired.iter().any(|entry| entry.action == "expire"));
    upload.finish(Completion::Closed).await.unwrap();
    assert!(matches!(
        session.remove_dir(&path("/no")).await,
        Err(VfsError::NotFound { .. })
    ));
    let file = session.remove_dir(&path("/full/a")).await;
    assert!(matches!(file, Err(VfsError::NotDirectory { .. })));
    assert_eq!(world.holdings.locks.len(), 0);
}

#[tokio::test]
async fn a_directory_is_made_once_and_safely() {
    let (world, session) = world().await;
    session.make_dir(&path("/d")).await.unwrap();
    let log = world.storage.log();
    let last: Vec<String> = log
        .iter()
        .rev()
        .take(2)
        .map(|op| format!("{op:?}"))
        .collect();
    assert!(
        last[0].starts_with("SyncDir") && last[1].starts_with("MakeDir"),
        "{last:?}"
    );
    for (name, exists) in [("/d", true), ("/", true), ("/no/d", false)] {
        let fault = session.make_dir(&path(name)).await.unwrap_err();
        assert_eq!(
            matches!(fault, VfsError::AlreadyExists { .. }),
            exists,
            "{name}"
        );
    }
}

#[tokio::test]
async fn the_partners_date_is_shown_and_decides_nothing() {
    let (world, session) = world().await;
    upload(&session, "/a", b"x").await.unwrap();
    let date = "2037-01-01".parse().unwrap();
    session
        .set_times(&path("/a"), None, Some(date))
        .await
        .unwrap();
    let info = session.stat(&path("/a")).await.unwrap();
    assert_eq!(info.modified_at, date);
    assert_eq!(info.expires_at, Some(start_time().saturating_add(KEEP)));
    world.clock.advance(KEEP);
    assert!(
        session
            .set_times(&path("/a"), None, Some(date))
            .await
            .is_err()
    );
}

#[tokio::test]
async fn listings_hide_what_is_not_published() {
    let (world, session) = world().await;
    upload(&session, "/a", b"x").await.unwrap();
    let _receiving = begin(&session, "/b", NEW).await.unwrap();
    receiving(&session, "/c", b"x")
        .await
        .interrupt()
        .await
        .unwrap();
    world.storage.drop_in("alice", "/found", b"x");
    session.make_dir(&path("/d")).await.unwrap();
    assert_eq!(names(&session, "/").await, ["a", "d"]);
    assert!(matches!(
        session.list(&path("/a")).await,
        Err(VfsError::NotDirectory { .. })
    ));
    assert!(matches!(
        session.list(&path("/found")).await,
        Err(VfsError::NotFound { .. })
    ));
    assert!(matches!(
        session.list(&path("/no")).await,
        Err(VfsError::NotFound { .. })
    ));
}

#[tokio::test]
async fn a_listing_ends_at_its_limit() {
    let (world, session) = world().await;
    for entry in 0..MAX_LISTING {
        world.storage.drop_in("alice", &format!("/{entry}"), b"");
    }
    assert!(session.list(&path("/")).await.is_ok());
    world.storage.drop_in("alice", "/more", b"");
    let listing = session.list(&path("/")).await;
    assert!(matches!(
        listing,
        Err(VfsError::TooManyEntries { limit: MAX_LISTING })
    ));
}
