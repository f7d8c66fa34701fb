//! One story with every verb, on each engine: what the ledger says must not
//! depend on who keeps it.

use std::sync::Arc;

use bytes::Bytes;

use super::publishing::many_tasks_at_once;
use super::{begin, receiving};
use crate::adopt::Adopter;
use crate::holdings::fixture::{
    DAY, KEEP, PostgresDatabase, World, fetch, names, path, session_on, upload,
};
use crate::recover::{SILENT_AFTER, recover};
use crate::session::{Completion, UploadMode};
use crate::shelf::Shelf;
use crate::vfs::{Replace, VfsError};

#[tokio::test]
async fn the_story_on_sqlite() {
    story(&World::new().await).await;
}

#[tokio::test]
async fn the_story_on_postgresql() {
    let Some(database) = PostgresDatabase::create() else {
        return;
    };
    let world = World::on_postgresql(&database).await;
    story(&world).await;
    many_tasks_at_once(&world).await;
}

async fn story(world: &World) {
    world
        .add_account("small", |row| row.quota_bytes = Some(10))
        .await;
    world
        .add_account("careful", |row| row.publish_on_rename = true)
        .await;
    files_and_directories(world).await;
    quota(world).await;
    waiting(world).await;
    recovery(world).await;
    retention(world).await;
    world.assert_agreement().await;
}

async fn files_and_directories(world: &World) {
    let session = world.session("alice").await;
    session.make_dir(&path("/d")).await.unwrap();
    upload(&session, "/d/a", b"first").await.unwrap();
    upload(&session, "/d/a", b"second").await.unwrap();
    let change = begin(&session, "/d/a", UploadMode::Append).await.unwrap();
    change.write_at(0, Bytes::from_static(b"+")).await.unwrap();
    change.finish(Completion::Closed).await.unwrap();
    upload(&session, "/b", b"b").await.unwrap();
    session
        .rename(&path("/b"), &path("/d/b"), Replace::Refuse)
        .await
        .unwrap();
    session
        .rename(&path("/d"), &path("/e"), Replace::Refuse)
        .await
        .unwrap();
    assert_eq!(names(&session, "/e").await, ["a", "b"]);
    assert_eq!(fetch(&session, "/e/a").await.unwrap(), b"second+");
    session
        .rename(&path("/e/b"), &path("/e/a"), Replace::Allow)
        .await
        .unwrap();
    receiving(&session, "/e/c", b"half")
        .await
        .interrupt()
        .await
        .unwrap();
    session.remove(&path("/e/a")).await.unwrap();
    session.remove_dir(&path("/e")).await.unwrap();
    assert!(names(&session, "/").await.is_empty());
}

async fn quota(world: &World) {
    let session = world.session("small").await;
    upload(&session, "/a", b"0123456789").await.unwrap();
    let refused = upload(&session, "/b", b"x").await;
    assert!(matches!(
        refused,
        Err(VfsError::QuotaExceeded { quota_bytes: 10 })
    ));
    assert_eq!(session.space().await.unwrap().used_bytes, 10);
}

async fn waiting(world: &World) {
    let session = world.session("careful").await;
    upload(&session, "/a.part", b"x").await.unwrap();
    session
        .rename(&path("/a.part"), &path("/a"), Replace::Refuse)
        .await
        .unwrap();
    assert_eq!(names(&session, "/").await, ["a"]);
}

async fn recovery(world: &World) {
    let other = world.second_process("node-dead").await;
    let session = session_on(&other, "alice").await;
    let open = receiving(&session, "/r", b"half").await;
    other.beginnings.settle().await;
    world.clock.advance(SILENT_AFTER);
    assert_eq!(recover(&world.holdings).await.unwrap().kept_partial, 1);
    assert!(open.finish(Completion::Closed).await.is_err());
    let session = world.session("alice").await;
    assert_eq!(session.stat(&path("/r")).await.unwrap().size_bytes, 4);
}

async fn retention(world: &World) {
    let session = world.session("alice").await;
    world.storage.drop_in("alice", "/found", b"operator's");
    let adopter = Adopter::new(Arc::clone(&world.holdings));
    adopter.look().await.unwrap();
    assert_eq!(adopter.look().await.unwrap().adopted, 1);
    assert_eq!(names(&session, "/").await, ["found"]);
    world.clock.advance(DAY);
    let shelf = Shelf::new(Arc::clone(&world.holdings));
    assert_eq!(
        shelf
            .sweep_partials(world.holdings.now())
            .await
            .unwrap()
            .removed,
        1
    );
    world.clock.advance(KEEP);
    let report = layover_retention::sweep(&shelf, world.holdings.now(), 100)
        .await
        .unwrap();
    assert_eq!((report.deleted, report.failed), (3, 0));
}
