//! Quota: what an account may store, whatever it does at once.

use bytes::Bytes;

use super::{NEW, begin};
use crate::JournalKind;
use crate::holdings::fixture::{World, path, upload};
use crate::session::{Completion, Session};
use crate::vfs::VfsError;

const QUOTA: usize = 100;

async fn world() -> (World, Session) {
    let world = World::new().await;
    world
        .add_account("small", |row| row.quota_bytes = Some(QUOTA as u64))
        .await;
    let session = world.session("small").await;
    (world, session)
}

fn is_quota<T>(result: &Result<T, VfsError>) -> bool {
    matches!(result, Err(VfsError::QuotaExceeded { quota_bytes }) if *quota_bytes == QUOTA as u64)
}

#[tokio::test]
async fn a_file_as_large_as_the_quota_fits_and_one_byte_more_does_not() {
    for (size, fits) in [(QUOTA, true), (QUOTA + 1, false)] {
        let (world, session) = world().await;
        let stored = upload(&session, "/a", &vec![1; size]).await;
        assert_eq!(stored.is_ok(), fits);
        assert_eq!(is_quota(&stored), !fits);
        world.assert_agreement().await;
    }
}

#[tokio::test]
async fn replacing_counts_only_the_growth_and_removing_gives_room_back() {
    let (world, session) = world().await;
    upload(&session, "/a", &[1; 60]).await.unwrap();
    assert!(is_quota(&upload(&session, "/b", &[1; 41]).await));
    session.remove(&path("/b")).await.ok();
    upload(&session, "/a", &[2; 100]).await.unwrap();
    assert!(is_quota(&upload(&session, "/b", &[1; 1]).await));
    session.remove(&path("/a")).await.unwrap();
    upload(&session, "/b", &[1; 100]).await.unwrap();
    assert_eq!(session.space().await.unwrap().free_bytes, 0);
    world.assert_agreement().await;
}

// FTPS ends an upload so, whatever stopped it.
#[tokio::test]
async fn an_interrupted_upload_that_met_the_quota_is_journalled_as_that() {
    let (world, session) = world().await;
    for (length, why) in [(QUOTA + 1, "quota"), (QUOTA / 2, "interrupted")] {
        let broken = begin(&session, "/a", NEW).await.unwrap();
        let written = broken.write_at(0, Bytes::from(vec![1; length])).await;
        assert_eq!(is_quota(&written), why == "quota");
        broken.interrupt().await.unwrap();
        let entries = world.journal(JournalKind::Transfer).await;
        let last = entries.last().unwrap();
        assert_eq!(last.detail["why"], why, "{entries:?}");
    }
}

#[tokio::test]
async fn what_is_announced_must_fit_as_what_comes() {
    let (_world, session) = world().await;
    upload(&session, "/a", &[1; 60]).await.unwrap();
    for (name, bytes, fits) in [
        ("/b", 40, true),
        ("/b", 41, false),
        ("/a", 100, true),
        ("/a", 101, false),
    ] {
        let permit = session.plan_upload(&path(name), NEW).await.unwrap();
        let checked = permit.check_announced(bytes);
        assert_eq!(checked.is_ok(), fits, "{name} {bytes}");
        assert_eq!(is_quota(&checked), !fits, "{name} {bytes}");
    }
}

// Else whoever broke off near the quota could not start over for a day.
#[tokio::test]
async fn starting_over_needs_no_room_for_what_broke_off() {
    let (world, session) = world().await;
    let broken = begin(&session, "/a", NEW).await.unwrap();
    broken
        .write_at(0, Bytes::from_static(&[1; 90]))
        .await
        .unwrap();
    broken.interrupt().await.unwrap();
    assert!(
        is_quota(&upload(&session, "/b", &[2; 11]).await),
        "what broke off keeps its room until then"
    );
    upload(&session, "/a", &[2; QUOTA]).await.unwrap();
    assert_eq!(session.space().await.unwrap().free_bytes, 0);
    world.assert_agreement().await;
}

#[tokio::test]
async fn two_uploads_at_once_share_the_room() {
    let (world, session) = world().await;
    let (one, two) = (
        begin(&session, "/a", NEW).await.unwrap(),
        begin(&session, "/b", NEW).await.unwrap(),
    );
    one.write_at(0, Bytes::from_static(&[1; 60])).await.unwrap();
    two.write_at(0, Bytes::from_static(&[1; 40])).await.unwrap();
    assert!(is_quota(
        &two.write_at(40, Bytes::from_static(&[1; 1])).await
    ));
    one.finish(Completion::Closed).await.unwrap();
    // One refused write and it is never published.
    assert!(is_quota(&two.finish(Completion::Closed).await));
    assert_eq!(world.files("small").len(), 1);
    world.assert_agreement().await;
}

#[tokio::test]
async fn what_did_not_fit_does_not_stand_in_the_way_of_what_does() {
    let (world, session) = world().await;
    let large = begin(&session, "/large", NEW).await.unwrap();
    large
        .write_at(0, Bytes::from_static(&[1; 90]))
        .await
        .unwrap();
    assert!(is_quota(
        &large.write_at(90, Bytes::from_static(&[1; 20])).await
    ));
    large.interrupt().await.unwrap();
    upload(&session, "/small", &[1; 50]).await.unwrap();
    assert_eq!(session.space().await.unwrap().used_bytes, 50);
    world.assert_agreement().await;
}

#[tokio::test]
async fn the_last_check_is_in_the_ledger_where_other_processes_count_too() {
    let (world, session) = world().await;
    let elsewhere = world.second_process("node-2").await;
    let other = crate::holdings::fixture::session_on(&elsewhere, "small").await;
    let here = begin(&session, "/a", NEW).await.unwrap();
    here.write_at(0, Bytes::from_static(&[1; 60]))
        .await
        .unwrap();
    upload(&other, "/b", &[1; 60]).await.unwrap();
    assert!(is_quota(&here.finish(Completion::Closed).await));
    assert_eq!(world.files("small").len(), 1);
    world.assert_agreement().await;
}

#[tokio::test]
async fn interrupted_uploads_count_until_they_are_gone() {
    let (_world, session) = world().await;
    let upload_ = begin(&session, "/a", NEW).await.unwrap();
    upload_
        .write_at(0, Bytes::from_static(&[1; 60]))
        .await
        .unwrap();
    upload_.interrupt().await.unwrap();
    assert!(is_quota(&upload(&session, "/b", &[1; 41]).await));
    session.remove(&path("/a")).await.unwrap();
    session.remove(&path("/b")).await.ok();
    upload(&session, "/b", &[1; 100]).await.unwrap();
}
