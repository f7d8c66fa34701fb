//! Who may do what: one table.

use super::{NEW, begin};
use crate::holdings::fixture::{World, fetch, path, upload};
use crate::session::{Completion, Session, UploadMode};
use crate::vfs::{Replace, VfsError};
use crate::{AccountName, FolderPermission};

/// Every verb, as a word that is kept when it is permitted.
async fn permitted(session: &Session) -> Vec<&'static str> {
    let mut done = Vec::new();
    let mut note = |verb, result: Result<(), VfsError>| match result {
        Ok(()) => done.push(verb),
        Err(VfsError::NotPermitted { .. }) => {}
        Err(other) => panic!("{verb}: {other:?}"),
    };
    note("list", session.list(&path("/box")).await.map(drop));
    note("stat", session.stat(&path("/box/old")).await.map(drop));
    note("read", fetch(session, "/box/old").await.map(drop));
    note("create", upload(session, "/box/new", b"x").await.map(drop));
    note("replace", upload(session, "/box/old", b"y").await.map(drop));
    note(
        "change",
        begin(session, "/box/old", UploadMode::Append)
            .await
            .map(drop),
    );
    note("mkdir", session.make_dir(&path("/box/dir")).await);
    note(
        "rmdir",
        session
            .remove_dir(&path("/box/full"))
            .await
            .or_else(|fault| match fault {
                VfsError::DirectoryNotEmpty { .. } => Ok(()),
                fault => Err(fault),
            }),
    );
    note(
        "times",
        session.set_times(&path("/box/old"), None, None).await,
    );
    note(
        "rename",
        session
            .rename(&path("/box/other"), &path("/box/moved"), Replace::Refuse)
            .await,
    );
    note("remove", session.remove(&path("/box/third")).await);
    done
}

#[tokio::test]
async fn rights_decide_every_verb() {
    for (rights, read_only, expected) in [
        (
            None,
            false,
            "list stat read create replace change mkdir rmdir times rename remove",
        ),
        (None, true, "list stat read"),
        // Drop-box: put in, see nothing, and touch nothing that is in.
        (Some("write,mkdir"), false, "create mkdir"),
        // Collect-only: look, fetch, take away.
        (
            Some("list,read,delete"),
            false,
            "list stat read rmdir remove",
        ),
        (Some("list,read,delete"), true, "list stat read"),
        (
            Some("write,overwrite"),
            false,
            "create replace change times",
        ),
        (Some("rename"), false, "rename"),
        (Some(""), false, ""),
    ] {
        let world = World::new().await;
        let alice = world.session("alice").await;
        for dir in ["/box", "/box/full"] {
            alice.make_dir(&path(dir)).await.unwrap();
        }
        for name in ["/box/old", "/box/other", "/box/third", "/box/full/x"] {
            upload(&alice, name, b"content").await.unwrap();
        }
        world.add_account_in("partner", "alice", |_| {}).await;
        let account: AccountName = "partner".parse().unwrap();
        let id = world
            .holdings
            .store
            .account(&account)
            .await
            .unwrap()
            .unwrap()
            .id;
        if let Some(rights) = rights {
            let permission = FolderPermission {
                path: path("/box"),
                rights: rights.parse().unwrap(),
            };
            let entry = crate::journal::NewEntry::new(
                world.holdings.now(),
                crate::JournalKind::Admin,
                "test",
                &world.holdings.node,
            );
            world
                .holdings
                .store
                .set_permission(id, &permission, &entry)
                .await
                .unwrap();
        }
        let mut session = world.session("partner").await;
        if read_only {
            session = read_only_twin(&session);
        }
        assert_eq!(
            permitted(&session).await.join(" "),
            expected,
            "{rights:?} {read_only}"
        );
    }
}

/// The same session of a read-only account.
fn read_only_twin(session: &Session) -> Session {
    let inner = &session.inner;
    let terms = super::super::Terms {
        read_only: true,
        ..inner.terms().as_ref().clone()
    };
    Session {
        inner: std::sync::Arc::new(super::super::SessionInner {
            id: inner.id.clone(),
            account: inner.account.clone(),
            terms: std::sync::Arc::new(arc_swap::ArcSwap::from_pointee(terms)),
            bandwidth: std::sync::Arc::clone(&inner.bandwidth),
            home: inner.home.clone(),
            caller: inner.caller,
            holdings: std::sync::Arc::clone(&inner.holdings),
            ended: tokio::sync::watch::Sender::new(None),
            closed: std::sync::atomic::AtomicBool::new(false),
            refusals: super::super::refusals::Refusals::default(),
            owed_delay_ms: std::sync::atomic::AtomicU64::new(0),
            open_for: crate::timer::Stopwatch::start(),
        }),
    }
}

#[tokio::test]
async fn a_drop_box_account_can_resume_what_it_cannot_read() {
    let world = World::new().await;
    let account = world.session("alice").await.account().clone();
    let permission = FolderPermission {
        path: path("/"),
        rights: "write,mkdir".parse().unwrap(),
    };
    let entry = crate::journal::NewEntry::new(
        world.holdings.now(),
        crate::JournalKind::Admin,
        "test",
        &world.holdings.node,
    );
    world
        .holdings
        .store
        .set_permission(account.id, &permission, &entry)
        .await
        .unwrap();
    let session = world.session("alice").await;
    let first = begin(&session, "/a", NEW).await.unwrap();
    first
        .write_at(0, bytes::Bytes::from_static(b"12"))
        .await
        .unwrap();
    first.interrupt().await.unwrap();
    assert_eq!(session.stat(&path("/a")).await.unwrap().size_bytes, 2);
    let again = begin(&session, "/a", UploadMode::Modify).await.unwrap();
    assert!(matches!(
        again.read_at(0, 2).await,
        Err(VfsError::NotPermitted { .. })
    ));
    again.finish(Completion::Closed).await.unwrap();
    assert!(session.stat(&path("/a")).await.is_err());
    assert_eq!(world.files("alice").len(), 1);
}

#[tokio::test]
async fn a_folder_with_rules_below_does_not_move_away_from_them() {
    let world = World::new().await;
    let session = world.session("alice").await;
    for dir in ["/a", "/a/secret"] {
        session.make_dir(&path(dir)).await.unwrap();
    }
    let permission = FolderPermission {
        path: path("/a/secret"),
        rights: "list".parse().unwrap(),
    };
    let entry = crate::journal::NewEntry::new(
        world.holdings.now(),
        crate::JournalKind::Admin,
        "test",
        &world.holdings.node,
    );
    let id = session.account().id;
    world
        .holdings
        .store
        .set_permission(id, &permission, &entry)
        .await
        .unwrap();
    let session = world.session("alice").await;
    for (from, to) in [("/a", "/b"), ("/a/secret", "/b")] {
        let moved = session
            .rename(&path(from), &path(to), Replace::Refuse)
            .await;
        assert!(
            matches!(moved, Err(VfsError::NotPermitted { .. })),
            "{from}: {moved:?}"
        );
    }
}
