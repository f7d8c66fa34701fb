//! Uploads: what is kept, what is shown, whose clock counts.

use std::io;

use bytes::Bytes;
use rustix::io::Errno;

use super::{NEW, begin, receiving};
use crate::holdings::ROW_DELAY;
use crate::holdings::fixture::{DAY, KEEP, World, fetch, names, path, start_time, upload};
use crate::ledger::FileState;
use crate::session::{Completion, Session, UploadMode, UploadOutcome};
use crate::timer;
use crate::vfs::recording::Op;
use crate::vfs::{FileKind, Storage as _, VfsError};
use crate::{JournalKind, Outcome};

#[tokio::test]
async fn the_root_of_a_brand_new_home_can_be_looked_at() {
    let world = World::new().await;
    let session = world.session("alice").await;
    assert_eq!(
        session.stat(&path("/")).await.unwrap().kind,
        FileKind::Directory
    );
    assert!(names(&session, "/").await.is_empty());
}

#[tokio::test]
async fn a_file_expires_counted_from_its_arrival_whatever_its_own_date_says() {
    let world = World::new().await;
    let session = world.session("alice").await;
    let upload = receiving(&session, "/a", b"x").await;
    upload
        .set_times(None, Some("1999-01-01".parse().unwrap()))
        .await
        .unwrap();
    world.clock.advance(DAY);
    let receipt = upload.finish(Completion::Closed).await.unwrap();
    assert_eq!(receipt.arrived_at, Some(start_time().saturating_add(DAY)));
    let info = session.stat(&path("/a")).await.unwrap();
    assert_eq!(info.modified_at, "1999-01-01".parse().unwrap());
    assert_eq!(
        info.expires_at,
        Some(start_time().saturating_add(DAY + KEEP))
    );
}

#[tokio::test]
async fn from_its_expiry_on_a_file_is_neither_listed_nor_opened() {
    let world = World::new().await;
    let session = world.session("alice").await;
    upload(&session, "/a", b"x").await.unwrap();
    world
        .clock
        .advance(KEEP - std::time::Duration::from_micros(1));
    assert_eq!(names(&session, "/").await, ["a"]);
    let open = session.download(&path("/a")).await.unwrap();
    world.clock.advance(std::time::Duration::from_micros(1));
    assert!(names(&session, "/").await.is_empty());
    for gone in [
        session.stat(&path("/a")).await.map(drop),
        session.download(&path("/a")).await.map(drop),
        session.remove(&path("/a")).await,
        session
            .rename(&path("/a"), &path("/b"), crate::Replace::Allow)
            .await,
    ] {
        assert!(matches!(gone, Err(VfsError::NotFound { .. })), "{gone:?}");
    }
    assert_eq!(open.read_at(0, 10).await.unwrap(), b"x"[..]);
    // The name is free: an exclusive upload takes it.
    let mode = UploadMode::New { exclusive: true };
    begin(&session, "/a", mode)
        .await
        .unwrap()
        .finish(Completion::Closed)
        .await
        .unwrap();
    assert_eq!(names(&session, "/").await, ["a"]);
}

#[tokio::test]
async fn an_upload_in_progress_is_neither_listed_nor_told() {
    let world = World::new().await;
    let session = world.session("alice").await;
    let upload = receiving(&session, "/a", b"12345").await;
    assert!(names(&session, "/").await.is_empty());
    assert!(session.stat(&path("/a")).await.is_err());
    assert!(world.files("alice").is_empty());
    upload.finish(Completion::Closed).await.unwrap();
    assert_eq!(names(&session, "/").await, ["a"]);
}

#[tokio::test]
async fn an_interrupted_upload_is_told_to_its_account_only_and_can_be_resumed() {
    let world = World::new().await;
    world.add_account_in("bob", "alice", |_| {}).await;
    let (alice, bob) = (world.session("alice").await, world.session("bob").await);
    receiving(&alice, "/a", b"12345")
        .await
        .interrupt()
        .await
        .unwrap();
    let info = alice.stat(&path("/a")).await.unwrap();
    assert_eq!((info.size_bytes, info.partial), (5, true));
    assert!(bob.stat(&path("/a")).await.is_err());
    assert!(names(&alice, "/").await.is_empty());
    assert!(alice.download(&path("/a")).await.is_err());

    world.clock.advance(DAY / 2);
    let resumed = begin(&alice, "/a", UploadMode::Modify).await.unwrap();
    assert_eq!(resumed.size(), 5);
    resumed
        .write_at(5, Bytes::from_static(b"678"))
        .await
        .unwrap();
    let receipt = resumed.finish(Completion::Closed).await.unwrap();
    assert_eq!(
        receipt.arrived_at,
        Some(start_time().saturating_add(DAY / 2))
    );
    assert_eq!(fetch(&bob, "/a").await.unwrap(), b"12345678");
    let failed: Vec<_> = world.journal(JournalKind::Transfer).await;
    assert!(
        failed
            .iter()
            .any(|entry| entry.outcome == Outcome::Failed && entry.action == "upload")
    );
}

#[tokio::test]
async fn a_dropped_upload_keeps_only_what_came_without_a_gap() {
    let world = World::new().await;
    let session = world.session("alice").await;
    let upload = receiving(&session, "/a", b"123").await;
    upload
        .write_at(5, Bytes::from_static(b"678"))
        .await
        .unwrap();
    drop(upload);
    world.holdings.close().await;
    assert_eq!(session.stat(&path("/a")).await.unwrap().size_bytes, 3);
    assert!(receives_nothing(&world, "/b").await);
}

/// An upload that received nothing leaves nothing.
async fn receives_nothing(world: &World, name: &str) -> bool {
    let session = world.session("alice").await;
    begin(&session, name, NEW)
        .await
        .unwrap()
        .interrupt()
        .await
        .unwrap();
    session.stat(&path(name)).await.is_err()
}

#[tokio::test]
async fn fresh_content_replaces_an_interrupted_upload() {
    let world = World::new().await;
    let session = world.session("alice").await;
    receiving(&session, "/a", b"old beginning")
        .await
        .interrupt()
        .await
        .unwrap();
    receiving(&session, "/a", b"new")
        .await
        .interrupt()
        .await
        .unwrap();
    assert_eq!(session.stat(&path("/a")).await.unwrap().size_bytes, 3);
    session.remove(&path("/a")).await.unwrap();
    assert!(session.stat(&path("/a")).await.is_err());
}

// R03: a failed overwrite must leave the original, and its clock.
#[tokio::test]
async fn a_failed_overwrite_leaves_the_old_bytes_and_the_old_clock() {
    for failing in ["write", "sync", "publish"] {
        let world = World::new().await;
        let session = world.session("alice").await;
        upload(&session, "/a", b"old").await.unwrap();
        let before = session.stat(&path("/a")).await.unwrap();
        world.clock.advance(DAY);
        world.storage.set_hook(Box::new(move |op| {
            let fails = match op {
                Op::Write { .. } => failing == "write",
                Op::SyncFile { .. } => failing == "sync",
                Op::Publish { .. } => failing == "publish",
                _ => false,
            };
            if fails {
                Err(io::Error::from(Errno::NOSPC))
            } else {
                Ok(())
            }
        }));
        let new = begin(&session, "/a", NEW).await.unwrap();
        let written = new.write_at(0, Bytes::from_static(b"new")).await;
        assert_eq!(written.is_err(), failing == "write");
        let fault = new.finish(Completion::Closed).await.unwrap_err();
        assert!(matches!(fault, VfsError::DiskFull), "{failing}: {fault:?}");
        world.storage.clear_hook();
        assert_eq!(fetch(&session, "/a").await.unwrap(), b"old");
        assert_eq!(session.stat(&path("/a")).await.unwrap(), before);
        world.assert_agreement().await;
    }
}

#[tokio::test]
async fn a_write_that_nobody_waited_for_poisons_the_upload() {
    let world = World::new().await;
    let session = world.session("alice").await;
    let upload = receiving(&session, "/a", b"123").await;
    // A write that is over at the first look was waited for: take the next.
    let mut offset = 3;
    loop {
        let mut write = Box::pin(upload.write_at(offset, Bytes::from_static(b"456")));
        if futures_util::poll!(&mut write).is_pending() {
            break;
        }
        offset += 3;
    }
    assert!(upload.finish(Completion::Closed).await.is_err());
    assert!(names(&session, "/").await.is_empty());
}

#[tokio::test]
async fn changing_a_published_file_keeps_its_clock_until_it_is_cut_to_nothing() {
    for (cut, arrival) in [
        (false, start_time()),
        (true, start_time().saturating_add(DAY)),
    ] {
        let world = World::new().await;
        let session = world.session("alice").await;
        upload(&session, "/a", b"0123456789").await.unwrap();
        world.clock.advance(DAY);
        let change = begin(&session, "/a", UploadMode::Modify).await.unwrap();
        assert_eq!(change.read_at(0, 100).await.unwrap(), b"0123456789"[..]);
        if cut {
            change.set_len(0).await.unwrap();
        }
        change.write_at(2, Bytes::from_static(b"XY")).await.unwrap();
        assert_eq!(fetch(&session, "/a").await.unwrap(), b"0123456789");
        let receipt = change.finish(Completion::Closed).await.unwrap();
        assert_eq!(receipt.arrived_at, Some(arrival));
        let expected: &[u8] = if cut { b"\0\0XY" } else { b"01XY456789" };
        assert_eq!(fetch(&session, "/a").await.unwrap(), expected);
        world.assert_agreement().await;
    }
}

#[tokio::test]
async fn opening_for_change_and_changing_nothing_publishes_nothing() {
    let world = World::new().await;
    let session = world.session("alice").await;
    upload(&session, "/a", b"x").await.unwrap();
    let before = world.journal(JournalKind::Transfer).await.len();
    let change = begin(&session, "/a", UploadMode::Modify).await.unwrap();
    let receipt = change.finish(Completion::Closed).await.unwrap();
    assert_eq!(receipt.outcome, UploadOutcome::Unchanged);
    assert_eq!(world.journal(JournalKind::Transfer).await.len(), before);
}

#[tokio::test]
async fn appending_goes_to_the_end_and_keeps_the_clock() {
    let world = World::new().await;
    let session = world.session("alice").await;
    upload(&session, "/a", b"123").await.unwrap();
    world.clock.advance(DAY);
    let append = begin(&session, "/a", UploadMode::Append).await.unwrap();
    append.write_at(0, Bytes::from_static(b"45")).await.unwrap();
    append.write_at(0, Bytes::from_static(b"6")).await.unwrap();
    let receipt = append.finish(Completion::Closed).await.unwrap();
    assert_eq!(receipt.arrived_at, Some(start_time()));
    assert_eq!(fetch(&session, "/a").await.unwrap(), b"123456");
}

// R04: a stream that just ends proves nothing.
#[tokio::test]
async fn an_unproven_end_publishes_for_tolerant_accounts_only() {
    let world = World::new().await;
    world
        .add_account("tolerant", |row| row.tolerant_completion = true)
        .await;
    for (account, outcome) in [
        ("alice", UploadOutcome::Unproven),
        ("tolerant", UploadOutcome::Published),
    ] {
        let session = world.session(account).await;
        let upload = receiving(&session, "/a", b"123").await;
        let receipt = upload.finish(Completion::Unproven).await.unwrap();
        assert_eq!(receipt.outcome, outcome);
        let info = session.stat(&path("/a")).await.unwrap();
        assert_eq!(
            (info.size_bytes, info.partial),
            (3, outcome == UploadOutcome::Unproven)
        );
    }
}

#[tokio::test]
async fn publish_on_rename_shows_a_file_only_when_its_account_renames_it() {
    let world = World::new().await;
    world
        .add_account("careful", |row| row.publish_on_rename = true)
        .await;
    let session = world.session("careful").await;
    let receipt = upload(&session, "/a.filepart", b"123").await.unwrap();
    assert_eq!(receipt.outcome, UploadOutcome::AwaitsRename);
    assert!(names(&session, "/").await.is_empty());
    assert_eq!(
        session.stat(&path("/a.filepart")).await.unwrap().size_bytes,
        3
    );
    world.clock.advance(DAY / 2);
    let (from, to) = (path("/a.filepart"), path("/a"));
    session
        .rename(&from, &to, crate::Replace::Refuse)
        .await
        .unwrap();
    assert_eq!(names(&session, "/").await, ["a"]);
    let expires = start_time().saturating_add(DAY / 2 + KEEP);
    assert_eq!(session.stat(&to).await.unwrap().expires_at, Some(expires));
    assert_eq!(
        upload(&session, "/b", b"1").await.unwrap().outcome,
        UploadOutcome::Published
    );
    // An interrupted one is not complete: no rename publishes it.
    receiving(&session, "/c.part", b"12")
        .await
        .interrupt()
        .await
        .unwrap();
    let renamed = session
        .rename(&path("/c.part"), &path("/c"), crate::Replace::Allow)
        .await;
    assert!(matches!(renamed, Err(VfsError::NotFound { .. })));
    world.assert_agreement().await;
}

#[tokio::test]
async fn an_upload_follows_its_directory() {
    let world = World::new().await;
    let session = world.session("alice").await;
    session.make_dir(&path("/d")).await.unwrap();
    let upload = receiving(&session, "/d/a", b"123").await;
    session
        .rename(&path("/d"), &path("/e"), crate::Replace::Refuse)
        .await
        .unwrap();
    let receipt = upload.finish(Completion::Closed).await.unwrap();
    assert_eq!(receipt.path, path("/e/a"));
    assert_eq!(names(&session, "/e").await, ["a"]);
}

#[tokio::test]
async fn names_that_cannot_be_uploaded_to_are_refused_before_anything_is_made() {
    let world = World::new().await;
    let session = world.session("alice").await;
    session.make_dir(&path("/d")).await.unwrap();
    upload(&session, "/f", b"x").await.unwrap();
    world.storage.drop_in("alice", "/found", b"operator's");
    let before = world.storage.log().len();
    let fault = async |name: &str, mode| begin(&session, name, mode).await.unwrap_err();
    assert!(matches!(
        fault("/", NEW).await,
        VfsError::IsDirectory { .. }
    ));
    assert!(matches!(
        fault("/d", NEW).await,
        VfsError::IsDirectory { .. }
    ));
    assert!(matches!(
        fault("/no/a", NEW).await,
        VfsError::NotFound { .. }
    ));
    assert!(matches!(
        fault("/f/a", NEW).await,
        VfsError::NotFound { .. }
    ));
    let exclusive = UploadMode::New { exclusive: true };
    assert!(matches!(
        fault("/f", exclusive).await,
        VfsError::AlreadyExists { .. }
    ));
    assert!(matches!(fault("/found", NEW).await, VfsError::Busy { .. }));
    assert_eq!(world.storage.log().len(), before);
}

#[tokio::test]
async fn an_ended_session_does_nothing_more() {
    let world = World::new().await;
    let session = world.session("alice").await;
    let upload = receiving(&session, "/a", b"123").await;
    session.handle().end(crate::EndReason::Killed);
    assert_eq!(session.ended().await, crate::EndReason::Killed);
    let write = upload.write_at(3, Bytes::from_static(b"4")).await;
    assert!(matches!(write, Err(VfsError::SessionEnded)));
    assert!(matches!(
        session.list(&path("/")).await,
        Err(VfsError::SessionEnded)
    ));
    assert!(session.plan_upload(&path("/b"), NEW).await.is_err());
}

#[tokio::test]
async fn a_session_sees_what_it_has_just_begun_and_takes_it_along() {
    for _ in 0..50 {
        let world = World::new().await;
        let session = world.session("alice").await;
        session.make_dir(&path("/d")).await.unwrap();
        let upload = receiving(&session, "/d/a", b"x").await;
        session
            .rename(&path("/d"), &path("/e"), crate::vfs::Replace::Refuse)
            .await
            .unwrap();
        let receipt = upload.finish(Completion::Closed).await.unwrap();
        assert_eq!(receipt.path, path("/e/a"));

        let _upload = begin(&session, "/e/b", NEW).await;
        let told = session.look(&path("/e/b")).await.unwrap();
        assert_eq!(told.rows.len(), 1);
    }
}

#[tokio::test]
async fn an_upload_whose_row_cannot_be_written_is_told_at_once_and_leaves_nothing() {
    let world = World::new().await;
    let session = world.session("alice").await;
    let upload = {
        let permit = session.plan_upload(&path("/a"), NEW).await.unwrap();
        world.holdings.store.close().await;
        permit.begin().await.unwrap()
    };
    let refused = crate::timer::timeout(std::time::Duration::from_secs(60), async {
        loop {
            if let Err(fault) = upload.write_at(0, Bytes::from_static(b"x")).await {
                break fault;
            }
            tokio::task::yield_now().await;
        }
    });
    let refused = refused.await.unwrap();
    assert!(matches!(refused, VfsError::Database { .. }), "{refused:?}");
    let refused = upload.finish(Completion::Closed).await;
    assert!(
        matches!(refused, Err(VfsError::Database { .. })),
        "{refused:?}"
    );
    assert!(world.storage.list_hidden().unwrap().is_empty());
}

async fn rows(world: &World, session: &Session, name: &str) -> Vec<FileState> {
    let home = session.inner.home.id;
    let rows = world.holdings.store.rows_at(home, &path(name)).await;
    rows.unwrap().iter().map(|row| row.state).collect()
}

#[tokio::test]
async fn an_upload_that_takes_its_time_gets_a_row_of_its_own() {
    let world = World::new().await;
    let session = world.session("alice").await;
    let upload = receiving(&session, "/a", b"half").await;
    assert_eq!(rows(&world, &session, "/a").await, []);
    let row = async {
        while rows(&world, &session, "/a").await.is_empty() {
            timer::sleep(ROW_DELAY / 10).await;
        }
    };
    timer::timeout(ROW_DELAY * 40, row).await.expect("no row");
    assert_eq!(rows(&world, &session, "/a").await, [FileState::Receiving]);
    upload
        .write_at(4, Bytes::from_static(b" whole"))
        .await
        .unwrap();
    upload.finish(Completion::Closed).await.unwrap();
    assert_eq!(rows(&world, &session, "/a").await, [FileState::Stored]);
    assert_eq!(fetch(&session, "/a").await.unwrap(), b"half whole");
    world.assert_agreement().await;
}

#[tokio::test]
async fn whoever_looks_at_the_name_of_an_upload_has_its_row_written() {
    let world = World::new().await;
    let (session, other) = (world.session("alice").await, world.session("alice").await);
    let upload = receiving(&session, "/a", b"1").await;
    let elsewhere = receiving(&session, "/b", b"2").await;
    assert!(matches!(
        other.stat(&path("/a")).await,
        Err(VfsError::NotFound { .. })
    ));
    assert_eq!(rows(&world, &session, "/a").await, [FileState::Receiving]);
    assert_eq!(rows(&world, &session, "/b").await, []);
    for upload in [upload, elsewhere] {
        upload.finish(Completion::Closed).await.unwrap();
    }
    assert_eq!(names(&session, "/").await, ["a", "b"]);
}

#[tokio::test]
async fn an_upload_of_nothing_that_is_given_up_leaves_no_trace() {
    let world = World::new().await;
    let session = world.session("alice").await;
    let upload = begin(&session, "/a", NEW).await.unwrap();
    upload.interrupt().await.unwrap();
    world.holdings.beginnings.settle().await;
    assert_eq!(rows(&world, &session, "/a").await, []);
    assert_eq!(world.storage.list_hidden().unwrap(), []);
    assert_eq!(world.journal(JournalKind::Transfer).await, []);
}

#[tokio::test]
async fn an_upload_that_breaks_off_at_once_can_be_resumed() {
    let world = World::new().await;
    let session = world.session("alice").await;
    let upload = receiving(&session, "/a", b"half").await;
    upload.interrupt().await.unwrap();
    assert_eq!(rows(&world, &session, "/a").await, [FileState::Partial]);
    assert_eq!(session.stat(&path("/a")).await.unwrap().size_bytes, 4);
}
