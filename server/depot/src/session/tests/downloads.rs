//! Downloads: whole files, and who collected them.

use crate::holdings::fixture::{World, fetch, path, upload};
use crate::vfs::VfsError;
use crate::{JournalKind, Outcome};

#[tokio::test]
async fn a_running_download_sees_the_file_as_it_was_opened() {
    let world = World::new().await;
    let session = world.session("alice").await;
    upload(&session, "/a", b"old content").await.unwrap();
    let download = session.download(&path("/a")).await.unwrap();
    assert_eq!(download.read_at(0, 3).await.unwrap(), b"old"[..]);
    upload(&session, "/a", b"new").await.unwrap();
    session.remove(&path("/a")).await.unwrap();
    assert_eq!(download.read_at(3, 100).await.unwrap(), b" content"[..]);
    assert!(download.read_at(11, 100).await.unwrap().is_empty());
}

#[tokio::test]
async fn only_a_file_read_to_the_last_byte_counts_as_collected() {
    for (ranges, sent, collected) in [
        (&[(0, 10)][..], true, true),
        (&[(5, 5), (0, 5)], true, true),
        (&[(0, 9)], true, false),
        (&[(0, 4), (5, 5)], true, false),
        (&[(0, 10)], false, false),
    ] {
        let world = World::new().await;
        let session = world.session("alice").await;
        upload(&session, "/a", b"0123456789").await.unwrap();
        let download = session.download(&path("/a")).await.unwrap();
        for (offset, len) in ranges {
            download.read_at(*offset, *len).await.unwrap();
        }
        download.finish(10, sent).await.unwrap();
        let journal = world.journal(JournalKind::Transfer).await;
        let entry = journal
            .iter()
            .find(|entry| entry.action == "download")
            .unwrap();
        assert_eq!(entry.outcome == Outcome::Ok, collected, "{ranges:?}");
    }
}

#[tokio::test]
async fn a_dropped_download_is_recorded_too() {
    let world = World::new().await;
    let session = world.session("alice").await;
    upload(&session, "/a", b"0123456789").await.unwrap();
    let download = session.download(&path("/a")).await.unwrap();
    download.read_at(0, 4).await.unwrap();
    drop(download);
    world.holdings.close().await;
    let journal = world.journal(JournalKind::Transfer).await;
    let entry = journal
        .iter()
        .find(|entry| entry.action == "download")
        .unwrap();
    assert_eq!(
        (entry.outcome, entry.size_bytes),
        (Outcome::Failed, Some(4))
    );
}

#[tokio::test]
async fn directories_and_unknown_files_are_not_opened() {
    let world = World::new().await;
    let session = world.session("alice").await;
    session.make_dir(&path("/d")).await.unwrap();
    world.storage.drop_in("alice", "/found", b"x");
    let directory = session.download(&path("/d")).await;
    assert!(matches!(directory, Err(VfsError::IsDirectory { .. })));
    assert!(matches!(
        fetch(&session, "/found").await,
        Err(VfsError::NotFound { .. })
    ));
    assert!(matches!(
        fetch(&session, "/no").await,
        Err(VfsError::NotFound { .. })
    ));
}
