//! Downloads: whole files, and who collected them.

use crate::holdings::fixture::{World, fetch, path, upload};
use crate::vfs::VfsError;
use crate::{Completion, JournalKind, Outcome};

use super::receiving;

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
async fn the_rest_of_a_file_is_a_success_of_its_own() {
    for (offset, len, outcome) in [(6, 4, Outcome::Ok), (6, 3, Outcome::Failed)] {
        let world = World::new().await;
        let session = world.session("alice").await;
        upload(&session, "/a", b"0123456789").await.unwrap();
        let mut download = session.download(&path("/a")).await.unwrap();
        download.go_on_at(offset);
        download.read_at(offset, len).await.unwrap();
        download.finish(len as u64, true).await.unwrap();
        let journal = world.journal(JournalKind::Transfer).await;
        let entry = journal
            .iter()
            .find(|entry| entry.action == "download")
            .unwrap();
        assert_eq!(entry.outcome, outcome);
        assert_eq!(entry.detail["from_byte"], offset);
        assert_eq!(entry.detail["file_size_bytes"], 10);
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
async fn a_dropped_rest_of_a_file_tells_what_was_read_of_it() {
    for (offset, read) in [(6, 2), (10, 0)] {
        let world = World::new().await;
        let session = world.session("alice").await;
        upload(&session, "/a", b"0123456789").await.unwrap();
        let mut download = session.download(&path("/a")).await.unwrap();
        download.go_on_at(offset);
        download.read_at(offset, read).await.unwrap();
        drop(download);
        world.holdings.close().await;
        let journal = world.journal(JournalKind::Transfer).await;
        let entry = journal.iter().find(|entry| entry.action == "download");
        let entry = entry.unwrap();
        assert_eq!(
            (entry.outcome, entry.size_bytes),
            (Outcome::Failed, Some(read as u64)),
            "{offset}"
        );
    }
}

#[tokio::test]
async fn what_the_front_end_notes_is_in_the_entry_of_its_transfer() {
    let world = World::new().await;
    let session = world.session("alice").await;
    let published = receiving(&session, "/a", b"0123456789").await;
    published.note("tls", "TLS 1.3");
    published.finish(Completion::Proven).await.unwrap();
    let stopped = receiving(&session, "/b", b"01234").await;
    stopped.note("end", "reset");
    stopped.interrupt().await.unwrap();
    let mut download = session.download(&path("/a")).await.unwrap();
    download.note("data", "bound");
    download.finish(0, false).await.unwrap();
    let journal = world.journal(JournalKind::Transfer).await;
    let told: Vec<_> = journal
        .iter()
        .map(|entry| (entry.action.as_str(), &entry.detail))
        .collect();
    assert_eq!(told[0].1["tls"], "TLS 1.3", "{told:?}");
    assert_eq!(told[1].1["end"], "reset", "{told:?}");
    assert_eq!(told[2].1["data"], "bound", "{told:?}");
    assert_eq!(
        [told[0].0, told[1].0, told[2].0],
        ["upload", "upload", "download"]
    );
}

#[tokio::test]
async fn a_download_that_is_forgotten_was_none() {
    let world = World::new().await;
    let session = world.session("alice").await;
    upload(&session, "/a", b"0123456789").await.unwrap();
    let download = session.download(&path("/a")).await.unwrap();
    download.read_at(0, 10).await.unwrap();
    download.forget();
    world.holdings.close().await;
    let journal = world.journal(JournalKind::Transfer).await;
    assert!(journal.iter().all(|entry| entry.action != "download"));
}

#[tokio::test]
async fn a_session_tells_the_keep_that_its_next_file_gets() {
    let world = World::new().await;
    let session = world.session("alice").await;
    let told = session.keep().await.unwrap();
    let upload = receiving(&session, "/a", b"x").await;
    let receipt = upload.finish(Completion::Proven).await.unwrap();
    let arrived_at = receipt.arrived_at.unwrap();
    assert_eq!(
        receipt.expires_at,
        Some(arrived_at.saturating_add(told.as_duration()))
    );
}

#[tokio::test]
async fn a_file_has_one_inode_under_all_names_and_its_neighbour_another() {
    let world = World::new().await;
    let session = world.session("alice").await;
    upload(&session, "/a", b"x").await.unwrap();
    upload(&session, "/b", b"x").await.unwrap();
    let inode = async |name| session.stat(&path(name)).await.unwrap().inode;
    let (a, b) = (inode("/a").await, inode("/b").await);
    assert_ne!(a, b);
    session
        .rename(&path("/a"), &path("/c"), crate::Replace::Refuse)
        .await
        .unwrap();
    assert_eq!(inode("/c").await, a);
    let listing = session.list(&path("/")).await.unwrap();
    assert!(
        listing
            .iter()
            .any(|(name, info)| name == b"c" && info.inode == a)
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
