//! Copies made on the server: content, age, room, what is recorded.

use std::io;

use bytes::Bytes;
use layover_retention::Timestamp;
use rustix::io::Errno;

use super::{NEW, begin, receiving};
use crate::holdings::fixture::{DAY, KEEP, World, fetch, path, start_time, upload};
use crate::session::{
    Completion, CopySource, Download, MAX_COPY_BYTES, Session, Upload, UploadMode,
};
use crate::vfs::recording::Op;
use crate::vfs::{CopyRange, VfsError};

fn range(from_offset: u64, to_offset: u64, length_bytes: u64) -> CopyRange {
    CopyRange {
        from_offset,
        to_offset,
        length_bytes,
    }
}

const WHOLE: CopyRange = CopyRange {
    from_offset: 0,
    to_offset: 0,
    length_bytes: u64::MAX,
};

async fn copy(to: &Upload, from: &Download, range: CopyRange) -> Result<u64, VfsError> {
    to.copy_from(CopySource::Published(from), range).await
}

async fn opened(session: &Session, name: &str) -> Download {
    session.download(&path(name)).await.unwrap()
}

async fn arrival(upload: Upload) -> Timestamp {
    let receipt = upload.finish(Completion::Closed).await.unwrap();
    receipt.arrived_at.unwrap()
}

#[tokio::test]
async fn a_copy_has_the_content_asked_for_and_the_age_of_its_source() {
    let world = World::new().await;
    let session = world.session("alice").await;
    upload(&session, "/old", b"0123456789").await.unwrap();
    world.clock.advance(DAY);
    let source = opened(&session, "/old").await;
    let target = begin(&session, "/copy", NEW).await.unwrap();
    assert_eq!(copy(&target, &source, range(2, 1, 3)).await.unwrap(), 3);
    assert_eq!(copy(&target, &source, range(8, 4, 9)).await.unwrap(), 2);
    assert_eq!(copy(&target, &source, range(10, 6, 9)).await.unwrap(), 0);
    assert_eq!(
        copy(&target, &source, range(u64::MAX, 6, 9)).await.unwrap(),
        0
    );
    let receipt = target.finish(Completion::Closed).await.unwrap();
    assert_eq!(receipt.arrived_at, Some(start_time()));
    assert_eq!(receipt.expires_at, Some(start_time().saturating_add(KEEP)));
    assert_eq!(fetch(&session, "/copy").await.unwrap(), b"\x0023489");
}

// Whatever comes with it, or before or after it: else a copy with one byte
// more would begin a new clock.
#[tokio::test]
async fn the_oldest_source_decides_whatever_is_written_besides() {
    let world = World::new().await;
    let session = world.session("alice").await;
    upload(&session, "/old", b"old").await.unwrap();
    world.clock.advance(DAY);
    upload(&session, "/newer", b"newer").await.unwrap();
    world.clock.advance(DAY);
    let (old, newer) = (
        opened(&session, "/old").await,
        opened(&session, "/newer").await,
    );
    for sources in [[&old, &newer], [&newer, &old]] {
        let target = receiving(&session, "/copy", b"fresh").await;
        for source in sources {
            copy(&target, source, WHOLE).await.unwrap();
        }
        target
            .write_at(0, Bytes::from_static(b"written over"))
            .await
            .unwrap();
        assert_eq!(arrival(target).await, start_time());
    }
    let target = begin(&session, "/copy", NEW).await.unwrap();
    copy(&target, &newer, WHOLE).await.unwrap();
    assert_eq!(arrival(target).await, start_time().saturating_add(DAY));
}

#[tokio::test]
async fn a_copy_of_a_copy_is_no_younger() {
    let world = World::new().await;
    let session = world.session("alice").await;
    upload(&session, "/1", b"content").await.unwrap();
    for (from, to) in [("/1", "/2"), ("/2", "/3")] {
        world.clock.advance(DAY);
        let source = opened(&session, from).await;
        let target = begin(&session, to, NEW).await.unwrap();
        copy(&target, &source, WHOLE).await.unwrap();
        assert_eq!(arrival(target).await, start_time());
    }
    // Nor one of a file that is being changed.
    world.clock.advance(DAY);
    let changing = begin(&session, "/3", UploadMode::Modify).await.unwrap();
    let target = begin(&session, "/4", NEW).await.unwrap();
    let source = CopySource::Unfinished(&changing);
    assert_eq!(target.copy_from(source, WHOLE).await.unwrap(), 7);
    assert_eq!(arrival(target).await, start_time());
    assert_eq!(fetch(&session, "/4").await.unwrap(), b"content");
}

// Both were told that they succeeded: what the second wrote must not vanish.
#[tokio::test]
async fn a_changed_copy_takes_the_place_of_its_own_original_alone() {
    let world = World::new().await;
    let session = world.session("alice").await;
    upload(&session, "/log", b"old").await.unwrap();
    let change = async |text: &'static [u8]| {
        let changed = begin(&session, "/log", UploadMode::Modify).await.unwrap();
        changed.write_at(3, Bytes::from_static(text)).await.unwrap();
        changed
    };
    let (slow, quick) = (change(b" slow").await, change(b" quick").await);
    quick.finish(Completion::Closed).await.unwrap();
    let late = slow.finish(Completion::Closed).await;
    assert!(matches!(late, Err(VfsError::Busy { .. })), "{late:?}");
    assert_eq!(fetch(&session, "/log").await.unwrap(), b"old quick");

    // Nor does it bring back what was replaced or deleted.
    let slow = change(b" slow").await;
    upload(&session, "/log", b"new").await.unwrap();
    assert!(slow.finish(Completion::Closed).await.is_err());
    assert_eq!(fetch(&session, "/log").await.unwrap(), b"new");
    let slow = change(b" slow").await;
    session.remove(&path("/log")).await.unwrap();
    assert!(slow.finish(Completion::Closed).await.is_err());
    assert!(fetch(&session, "/log").await.is_err());
    world.assert_agreement().await;
}

#[tokio::test]
async fn a_copy_cut_to_nothing_is_new_content() {
    let world = World::new().await;
    let session = world.session("alice").await;
    upload(&session, "/old", b"old").await.unwrap();
    world.clock.advance(DAY);
    let source = opened(&session, "/old").await;
    let target = begin(&session, "/copy", NEW).await.unwrap();
    copy(&target, &source, WHOLE).await.unwrap();
    target.set_len(0).await.unwrap();
    target
        .write_at(0, Bytes::from_static(b"new"))
        .await
        .unwrap();
    assert_eq!(arrival(target).await, start_time().saturating_add(DAY));
}

#[tokio::test]
async fn an_interrupted_copy_that_is_resumed_keeps_its_age() {
    let world = World::new().await;
    let session = world.session("alice").await;
    upload(&session, "/old", b"old").await.unwrap();
    world.clock.advance(DAY);
    let source = opened(&session, "/old").await;
    let target = begin(&session, "/copy", NEW).await.unwrap();
    copy(&target, &source, WHOLE).await.unwrap();
    target.interrupt().await.unwrap();
    let resumed = begin(&session, "/copy", UploadMode::Append).await.unwrap();
    resumed
        .write_at(0, Bytes::from_static(b"+more"))
        .await
        .unwrap();
    assert_eq!(arrival(resumed).await, start_time());
    assert_eq!(fetch(&session, "/copy").await.unwrap(), b"old+more");
}

#[tokio::test]
async fn a_copy_published_by_a_rename_keeps_its_age() {
    let world = World::new().await;
    world
        .add_account("bob", |account| account.publish_on_rename = true)
        .await;
    let session = world.session("bob").await;
    upload(&session, "/old", b"old").await.unwrap();
    world.clock.advance(DAY);
    let source = opened(&session, "/old").await;
    let target = begin(&session, "/copy.part", NEW).await.unwrap();
    copy(&target, &source, WHOLE).await.unwrap();
    let receipt = target.finish(Completion::Closed).await.unwrap();
    assert_eq!(receipt.arrived_at, None, "hidden until its rename");
    let (from, to) = (path("/copy.part"), path("/copy"));
    session
        .rename(&from, &to, crate::Replace::Refuse)
        .await
        .unwrap();
    let info = session.stat(&to).await.unwrap();
    assert_eq!(info.expires_at, Some(start_time().saturating_add(KEEP)));
}

#[tokio::test]
async fn copies_count_in_the_quota_and_a_refused_one_publishes_nothing() {
    let world = World::new().await;
    world
        .add_account("bob", |account| account.quota_bytes = Some(20))
        .await;
    let session = world.session("bob").await;
    upload(&session, "/old", b"0123456789").await.unwrap();
    let source = opened(&session, "/old").await;
    let target = begin(&session, "/copy", NEW).await.unwrap();
    copy(&target, &source, WHOLE).await.unwrap();
    let above = copy(&target, &source, range(0, 10, 1)).await;
    assert!(
        matches!(above, Err(VfsError::QuotaExceeded { .. })),
        "{above:?}"
    );
    target.finish(Completion::Closed).await.unwrap_err();
    let absent = session.stat(&path("/copy")).await;
    assert!(
        matches!(absent, Err(VfsError::NotFound { .. })),
        "{absent:?}"
    );
    assert_eq!(fetch(&session, "/old").await.unwrap(), b"0123456789");
}

#[tokio::test]
async fn a_copy_that_the_disk_refuses_is_never_published() {
    let world = World::new().await;
    let session = world.session("alice").await;
    upload(&session, "/old", b"old").await.unwrap();
    let source = opened(&session, "/old").await;
    let target = begin(&session, "/copy", NEW).await.unwrap();
    world.storage.set_hook(Box::new(|op| match op {
        Op::Write { .. } => Err(io::Error::from(Errno::IO)),
        _ => Ok(()),
    }));
    copy(&target, &source, WHOLE).await.unwrap_err();
    target.finish(Completion::Closed).await.unwrap_err();
    assert!(session.stat(&path("/copy")).await.is_err());
}

#[tokio::test]
async fn one_call_copies_no_more_than_its_limit() {
    let world = World::new().await;
    let session = world.session("alice").await;
    let large = usize::try_from(MAX_COPY_BYTES).unwrap() + 1;
    upload(&session, "/large", &vec![7; large]).await.unwrap();
    let source = opened(&session, "/large").await;
    let target = begin(&session, "/copy", NEW).await.unwrap();
    assert_eq!(copy(&target, &source, WHOLE).await.unwrap(), MAX_COPY_BYTES);
    let rest = range(MAX_COPY_BYTES, MAX_COPY_BYTES, u64::MAX);
    assert_eq!(copy(&target, &source, rest).await.unwrap(), 1);
}

#[tokio::test]
async fn the_journal_names_the_source_and_tells_of_no_download() {
    let world = World::new().await;
    let session = world.session("alice").await;
    upload(&session, "/old", b"old").await.unwrap();
    let source = opened(&session, "/old").await;
    let target = begin(&session, "/copy", NEW).await.unwrap();
    copy(&target, &source, WHOLE).await.unwrap();
    target.finish(Completion::Closed).await.unwrap();
    source.finish(0, false).await.unwrap();
    let entries = world.journal(crate::JournalKind::Transfer).await;
    let actions: Vec<&str> = entries.iter().map(|entry| entry.action.as_str()).collect();
    assert_eq!(actions, ["upload", "upload"]);
    let told = entries
        .iter()
        .find(|entry| entry.detail.contains_key("copied_from"))
        .unwrap();
    assert_eq!(told.detail["copied_from"], "/old");
}
