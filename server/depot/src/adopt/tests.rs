//! Adoption: the ledger follows the tree.

use std::sync::Arc;

use super::{AdoptReport, Adopter};
use crate::holdings::fixture::{DAY, KEEP, World, fetch, names, path, start_time, upload};
use crate::vfs::{HiddenName, Place, Storage};
use crate::{Completion, JournalKind, UploadMode};

fn adopter(world: &World) -> Adopter {
    Adopter::new(Arc::clone(&world.holdings))
}

/// Takes a file out of the tree behind the ledger's back.
fn steal(world: &World, name: &str) {
    let place = Place {
        home: "alice".parse().unwrap(),
        path: path(name),
    };
    let hidden = HiddenName::fresh().unwrap();
    world.storage.hide(&place, &hidden).unwrap();
    world.storage.unlink_hidden(&hidden).unwrap();
}

#[tokio::test]
async fn a_file_found_unchanged_twice_is_adopted_and_its_clock_starts_then() {
    let world = World::new().await;
    let session = world.session("alice").await;
    session.make_dir(&path("/d")).await.unwrap();
    world.storage.drop_in("alice", "/d/found", b"operator's");
    let adopter = adopter(&world);
    let first = adopter.look().await.unwrap();
    assert_eq!((first.seen, first.adopted, first.waiting), (1, 0, 1));
    assert!(names(&session, "/d").await.is_empty());
    world.clock.advance(DAY);
    let second = adopter.look().await.unwrap();
    assert_eq!(
        (second.adopted, second.adopted_bytes, second.waiting),
        (1, 10, 0)
    );
    let info = session.stat(&path("/d/found")).await.unwrap();
    assert_eq!(
        info.expires_at,
        Some(start_time().saturating_add(DAY + KEEP))
    );
    assert_eq!(fetch(&session, "/d/found").await.unwrap(), b"operator's");
    let journal = world.journal(JournalKind::Retention).await;
    assert_eq!(journal[0].action, "adopt");
    world.assert_agreement().await;
    assert_eq!(
        adopter.look().await.unwrap(),
        AdoptReport {
            seen: 1,
            ..AdoptReport::default()
        }
    );
}

#[tokio::test]
async fn a_file_that_still_grows_is_not_adopted() {
    let world = World::new().await;
    let _session = world.session("alice").await;
    let adopter = adopter(&world);
    for content in [&b"1"[..], b"12", b"123"] {
        world.storage.drop_in("alice", "/growing", content);
        assert_eq!(adopter.look().await.unwrap().adopted, 0);
    }
    assert_eq!(adopter.look().await.unwrap().adopted, 1);
}

#[tokio::test]
async fn a_missing_file_ends_its_row_and_gives_its_room_back() {
    let world = World::new().await;
    let session = world.session("alice").await;
    upload(&session, "/a", b"x").await.unwrap();
    upload(&session, "/b", b"y").await.unwrap();
    steal(&world, "/a");
    let report = adopter(&world).look().await.unwrap();
    assert_eq!((report.missing, report.adopted), (1, 0));
    assert_eq!(names(&session, "/").await, ["b"]);
    let journal = world.journal(JournalKind::Retention).await;
    assert_eq!((journal.len(), journal[0].action.as_str()), (1, "missing"));
    world.assert_agreement().await;
}

#[tokio::test]
async fn files_of_a_directory_that_is_gone_are_missing_too() {
    let world = World::new().await;
    let session = world.session("alice").await;
    session.make_dir(&path("/d")).await.unwrap();
    upload(&session, "/d/a", b"x").await.unwrap();
    steal(&world, "/d/a");
    let place = Place {
        home: "alice".parse().unwrap(),
        path: path("/d"),
    };
    world.storage.remove_dir(&place).unwrap();
    assert_eq!(adopter(&world).look().await.unwrap().missing, 1);
    world.assert_agreement().await;
}

#[tokio::test]
async fn another_file_under_a_stored_name_is_adopted_as_new() {
    let world = World::new().await;
    let session = world.session("alice").await;
    upload(&session, "/a", b"ours").await.unwrap();
    world.clock.advance(DAY);
    world.storage.drop_in("alice", "/a", b"operator's");
    assert!(session.stat(&path("/a")).await.is_err());
    let adopter = adopter(&world);
    let first = adopter.look().await.unwrap();
    assert_eq!((first.missing, first.waiting), (1, 1));
    assert_eq!(adopter.look().await.unwrap().adopted, 1);
    let info = session.stat(&path("/a")).await.unwrap();
    assert_eq!(
        info.expires_at,
        Some(start_time().saturating_add(DAY + KEEP))
    );
    world.assert_agreement().await;
}

#[tokio::test]
async fn files_of_partners_are_never_adopted() {
    let world = World::new().await;
    let session = world.session("alice").await;
    upload(&session, "/a", b"x").await.unwrap();
    let mode = UploadMode::New { exclusive: false };
    let open = session
        .plan_upload(&path("/b"), mode)
        .await
        .unwrap()
        .begin()
        .await
        .unwrap();
    open.write_at(0, bytes::Bytes::from_static(b"y"))
        .await
        .unwrap();
    let adopter = adopter(&world);
    for _ in 0..3 {
        let report = adopter.look().await.unwrap();
        assert_eq!((report.adopted, report.missing, report.waiting), (0, 0, 0));
    }
    open.finish(Completion::Closed).await.unwrap();
    world.assert_agreement().await;
}

#[tokio::test]
async fn a_home_whose_storage_is_away_loses_nothing() {
    let world = World::new().await;
    world.add_account("never-used", |_| {}).await;
    let report = adopter(&world).look().await.unwrap();
    assert_eq!(report, AdoptReport::default());
}
