//! Recovery: each state has exactly one answer. The exhaustive version is the
//! replay of every prefix in `session/tests/publishing.rs`; these name the
//! answers one by one.

use std::sync::Arc;

use bytes::Bytes;

use super::{ROWLESS_FOR, RecoveryReport, SILENT_AFTER, recover};
use crate::holdings::fixture::{World, fetch, names, path, session_on, upload};
use crate::timer::pass;
use crate::vfs::recording::{Op, RecordingStorage, Survival};
use crate::vfs::{Replace, Storage};
use crate::{Completion, JournalKind, UploadMode};

/// Everything reached the disk: only the process died.
const KILLED: Survival = Survival {
    content: true,
    tree_names: true,
    hidden_names: true,
};

/// The world after the process died in front of the first verb that matches.
async fn killed_at(
    world: &World,
    verb: impl Fn(&Op) -> bool + Send + Sync + 'static,
    work: impl Future<Output = ()>,
) -> World {
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("copy.db");
    let (database, target) = (world.database(), copy.clone());
    let operations = Arc::new(std::sync::Mutex::new(None));
    let (found, storage) = (Arc::clone(&operations), world.storage.clone());
    world.storage.set_hook(Box::new(move |op| {
        let mut found = found.lock().unwrap();
        if found.is_none() && verb(op) {
            crate::holdings::fixture::copy_database(&database, &target);
            *found = Some(storage.log());
        }
        Ok(())
    }));
    work.await;
    world.storage.clear_hook();
    let operations = operations.lock().unwrap().take().unwrap();
    let storage = RecordingStorage::after_crash(&operations, KILLED);
    World::reborn(&copy, storage, world.holdings.now()).await
}

async fn report_of(world: &World) -> RecoveryReport {
    recover(&world.holdings).await.unwrap()
}

/// Recovery's entry says where it was and whose.
async fn assert_told(world: &World, action: &str, account: Option<&str>) {
    let told = world.journal(JournalKind::Transfer).await;
    let entry = told
        .iter()
        .find(|entry| entry.action == action && entry.detail.contains_key("recovered"))
        .unwrap();
    assert_eq!(entry.account.as_deref(), account);
    assert_eq!(entry.entity.is_some(), account.is_some());
    assert_eq!(entry.detail["home"], "alice");
}

#[tokio::test]
async fn a_half_received_upload_becomes_a_resumable_partial() {
    let world = World::new().await;
    let session = world.session("alice").await;
    let upload = async {
        let mode = UploadMode::New { exclusive: false };
        let upload = session
            .plan_upload(&path("/a"), mode)
            .await
            .unwrap()
            .begin()
            .await
            .unwrap();
        upload
            .write_at(0, Bytes::from_static(b"1234"))
            .await
            .unwrap();
        world.holdings.beginnings.settle().await;
        upload
            .write_at(4, Bytes::from_static(b"5678"))
            .await
            .unwrap();
        upload.finish(Completion::Closed).await.unwrap();
    };
    let after = killed_at(
        &world,
        |op| matches!(op, Op::Write { offset: 4, .. }),
        upload,
    )
    .await;
    let report = report_of(&after).await;
    assert_eq!(
        report,
        RecoveryReport {
            kept_partial: 1,
            ..RecoveryReport::default()
        }
    );
    let session = after.session("alice").await;
    assert_eq!(session.stat(&path("/a")).await.unwrap().size_bytes, 4);
    assert!(names(&session, "/").await.is_empty());
}

#[tokio::test]
async fn an_upload_without_a_file_is_forgotten() {
    let world = World::new().await;
    let dead = world.second_process("node-dead").await;
    let session = session_on(&dead, "alice").await;
    let mode = UploadMode::New { exclusive: false };
    let permit = session.plan_upload(&path("/a"), mode).await.unwrap();
    let _open = permit.begin().await.unwrap();
    dead.beginnings.settle().await;
    for hidden in world.storage.list_hidden().unwrap() {
        world.storage.unlink_hidden(&hidden).unwrap();
    }
    world.clock.advance(SILENT_AFTER);
    assert_eq!(
        report_of(&world).await,
        RecoveryReport {
            forgotten: 1,
            ..RecoveryReport::default()
        }
    );
}

#[tokio::test]
async fn a_publication_that_has_its_name_is_stored_and_one_that_has_not_is_partial() {
    for (renamed, expected) in [
        (
            false,
            RecoveryReport {
                kept_partial: 1,
                ..RecoveryReport::default()
            },
        ),
        (
            true,
            RecoveryReport {
                published: 1,
                ..RecoveryReport::default()
            },
        ),
    ] {
        let world = World::new().await;
        let session = world.session("alice").await;
        upload(&session, "/a", b"old").await.unwrap();
        let work = async { drop(upload(&session, "/a", b"newer").await.unwrap()) };
        let at = move |op: &Op| match op {
            Op::SyncDir(_) => renamed,
            Op::Publish { .. } => !renamed,
            _ => false,
        };
        let after = killed_at(&world, at, work).await;
        assert_eq!(report_of(&after).await, expected);
        let session = after.session("alice").await;
        let content: &[u8] = if renamed { b"newer" } else { b"old" };
        assert_eq!(fetch(&session, "/a").await.unwrap(), content);
        let uploads = after.journal(JournalKind::Transfer).await;
        let uploads = uploads
            .iter()
            .filter(|entry| entry.action == "upload")
            .count();
        assert_eq!(uploads, if renamed { 2 } else { 1 });
        after.assert_agreement().await;
    }
}

#[tokio::test]
async fn a_complete_upload_that_waits_for_its_rename_waits_again() {
    let world = World::new().await;
    world
        .add_account("careful", |row| row.publish_on_rename = true)
        .await;
    let session = world.session("careful").await;
    upload(&session, "/a.part", b"123").await.unwrap();
    let (from, to) = (path("/a.part"), path("/a"));
    let work = async { session.rename(&from, &to, Replace::Refuse).await.unwrap() };
    let after = killed_at(&world, |op| matches!(op, Op::Publish { .. }), work).await;
    report_of(&after).await;
    let session = after.session("careful").await;
    assert!(session.stat(&to).await.is_err());
    session.rename(&from, &to, Replace::Refuse).await.unwrap();
    assert_eq!(fetch(&session, "/a").await.unwrap(), b"123");
    after.assert_agreement().await;
}

#[tokio::test]
async fn a_removal_is_carried_to_its_end_from_wherever_it_stopped() {
    for stop in ["hide", "sync", "unlink", "sync hidden"] {
        let world = World::new().await;
        let session = world.session("alice").await;
        upload(&session, "/a", b"x").await.unwrap();
        upload(&session, "/b", b"y").await.unwrap();
        let work = async { session.remove(&path("/a")).await.unwrap() };
        let at = move |op: &Op| match op {
            Op::Hide { .. } => stop == "hide",
            Op::SyncDir(_) => stop == "sync",
            Op::UnlinkHidden(_) => stop == "unlink",
            Op::SyncHidden => stop == "sync hidden",
            _ => false,
        };
        let after = killed_at(&world, at, work).await;
        let report = report_of(&after).await;
        assert_eq!(
            report,
            RecoveryReport {
                removed: 1,
                ..RecoveryReport::default()
            },
            "{stop}"
        );
        assert_eq!(after.files("alice"), [("/b".to_owned(), b"y".to_vec())]);
        assert!(after.storage.list_hidden().unwrap().is_empty());
        assert_told(&after, "delete", Some("alice")).await;
        after.assert_agreement().await;
    }
}

#[tokio::test]
async fn a_move_that_happened_is_followed_and_one_that_did_not_is_dropped() {
    for (happened, expected) in [
        (
            false,
            RecoveryReport {
                unmoved: 1,
                ..RecoveryReport::default()
            },
        ),
        (
            true,
            RecoveryReport {
                moved: 1,
                ..RecoveryReport::default()
            },
        ),
    ] {
        for (from, to, file) in [("/a", "/b", "/b"), ("/d", "/e", "/e/x")] {
            let world = World::new().await;
            let session = world.session("alice").await;
            session.make_dir(&path("/d")).await.unwrap();
            upload(&session, "/a", b"x").await.unwrap();
            upload(&session, "/d/x", b"x").await.unwrap();
            let (source, target) = (path(from), path(to));
            let work = async {
                session
                    .rename(&source, &target, Replace::Refuse)
                    .await
                    .unwrap()
            };
            let at = move |op: &Op| match op {
                Op::Rename { .. } => !happened,
                Op::SyncDir(_) => happened,
                _ => false,
            };
            let after = killed_at(&world, at, work).await;
            assert_eq!(report_of(&after).await, expected, "{from}");
            let session = after.session("alice").await;
            assert_eq!(fetch(&session, file).await.is_ok(), happened);
            if happened {
                let whose = (from == "/a").then_some("alice");
                assert_told(&after, "rename", whose).await;
            }
            // Nothing is claimed any longer.
            upload(&session, "/a", b"again").await.unwrap();
            after.assert_agreement().await;
        }
    }
}

#[tokio::test]
async fn hidden_files_that_no_row_needs_are_unlinked() {
    let world = World::new().await;
    let hidden = crate::vfs::HiddenName::fresh().unwrap();
    world.storage.create_hidden(&hidden).unwrap();
    let report = report_of(&world).await;
    assert_eq!(
        report,
        RecoveryReport {
            orphans: 1,
            ..RecoveryReport::default()
        }
    );
    assert!(world.storage.list_hidden().unwrap().is_empty());
}

#[tokio::test]
async fn what_this_process_is_doing_just_now_is_left_alone() {
    let world = World::new().await;
    let session = world.session("alice").await;
    let mode = UploadMode::New { exclusive: false };
    let open = session
        .plan_upload(&path("/a"), mode)
        .await
        .unwrap()
        .begin()
        .await
        .unwrap();
    open.write_at(0, Bytes::from_static(b"12")).await.unwrap();
    assert!(report_of(&world).await.is_clean());
    open.finish(Completion::Closed).await.unwrap();
    assert_eq!(fetch(&session, "/a").await.unwrap(), b"12");
}

#[tokio::test]
async fn another_nodes_work_is_settled_only_after_it_has_been_silent_for_a_minute() {
    let world = World::new().await;
    let other = world.second_process("node-2").await;
    other
        .store
        .begin_node(&other.node, other.now())
        .await
        .unwrap();
    let session = session_on(&other, "alice").await;
    let mode = UploadMode::New { exclusive: false };
    let open = session
        .plan_upload(&path("/a"), mode)
        .await
        .unwrap()
        .begin()
        .await
        .unwrap();
    open.write_at(0, Bytes::from_static(b"12")).await.unwrap();
    other.beginnings.settle().await;
    world
        .clock
        .advance(SILENT_AFTER - std::time::Duration::from_micros(1));
    assert!(report_of(&world).await.is_clean());
    world.clock.advance(std::time::Duration::from_micros(1));
    assert_eq!(report_of(&world).await.kept_partial, 1);
}

// Another node answers an OPEN, and its row comes later. A start looks twice within a
// moment: an upload was destroyed by that.
#[tokio::test]
async fn a_hidden_file_without_a_row_stays_a_minute_unchanged_while_another_node_lives() {
    let world = World::new().await;
    let other = world.second_process("node-2").await;
    let (store, now) = (&other.store, other.now());
    store.begin_node(&other.node, now).await.unwrap();
    let hidden = crate::vfs::HiddenName::fresh().unwrap();
    let file = world.storage.create_hidden(&hidden).unwrap();
    for _ in 0..3 {
        assert!(report_of(&world).await.is_clean());
    }
    pass(ROWLESS_FOR / 2).await;
    assert!(report_of(&world).await.is_clean());
    // Somebody writes: the minute begins anew.
    file.set_modified(77).unwrap();
    pass(ROWLESS_FOR).await;
    assert!(report_of(&world).await.is_clean());
    assert_eq!(world.storage.list_hidden().unwrap(), [hidden]);
    pass(ROWLESS_FOR).await;
    assert_eq!(report_of(&world).await.orphans, 1);
    assert!(world.storage.list_hidden().unwrap().is_empty());
}

// The incident itself, by two real halves: one begins, the other one starts.
#[tokio::test]
async fn an_upload_that_has_no_row_yet_survives_the_start_of_another_node() {
    let world = World::new().await;
    let other = world.second_process("node-2").await;
    let (store, now) = (&other.store, other.now());
    store.begin_node(&other.node, now).await.unwrap();
    let session = session_on(&other, "alice").await;
    let mode = UploadMode::New { exclusive: false };
    let permit = session.plan_upload(&path("/a"), mode).await.unwrap();
    let open = permit.begin().await.unwrap();
    open.write_at(0, Bytes::from_static(b"12")).await.unwrap();
    for _ in 0..2 {
        recover(&world.holdings).await.unwrap();
    }
    open.finish(Completion::Closed).await.unwrap();
    assert_eq!(fetch(&session, "/a").await.unwrap(), b"12");
    world.assert_agreement().await;
}

/// A node that could not reach the database for a while is taken for dead; its upload is
/// gone on with elsewhere. When it wakes up it must not touch what is another's now.
#[tokio::test]
async fn a_node_that_wakes_up_cuts_nothing_that_another_one_published() {
    for ends in ["published", "goes on"] {
        let world = World::new().await;
        let dead = world.second_process("node-dead").await;
        let session = session_on(&dead, "alice").await;
        let mode = UploadMode::New { exclusive: false };
        let permit = session.plan_upload(&path("/a"), mode).await.unwrap();
        let asleep = permit.begin().await.unwrap();
        asleep.write_at(0, "1234".into()).await.unwrap();
        dead.beginnings.settle().await;
        world.clock.advance(SILENT_AFTER);
        assert_eq!(report_of(&world).await.kept_partial, 1);

        let session = world.session("alice").await;
        let permit = session.plan_upload(&path("/a"), UploadMode::Modify).await;
        let awake = permit.unwrap().begin().await.unwrap();
        awake.write_at(4, "5678".into()).await.unwrap();
        if ends == "published" {
            awake.finish(Completion::Closed).await.unwrap();
            asleep.interrupt().await.unwrap();
        } else {
            asleep.interrupt().await.unwrap();
            awake.finish(Completion::Closed).await.unwrap();
        }
        assert_eq!(fetch(&session, "/a").await.unwrap(), b"12345678", "{ends}");
        world.assert_agreement().await;
    }
}
