//! The same verbs on a real directory tree, seen from outside as well.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

use super::{begin, receiving};
use crate::Fsync;
use crate::adopt::Adopter;
use crate::holdings::Holdings;
use crate::holdings::fixture::{KEEP, World, fetch, holdings_on, names, path, session_on, upload};
use crate::recover::recover;
use crate::session::{Completion, UploadMode};
use crate::shelf::Shelf;
use crate::vfs::{LocalStorage, Replace, VfsError};

/// A world whose files are on a disk.
struct Disk {
    world: World,
    holdings: Arc<Holdings>,
}

impl Disk {
    async fn new() -> Disk {
        let world = World::new().await;
        let homes = world.folder.path().join("homes");
        let storage = Arc::new(LocalStorage::open(&homes, Fsync::Always).unwrap());
        let store = Arc::clone(&world.holdings.store);
        let holdings = holdings_on(store, storage, &world.clock, "node-disk");
        Disk { world, holdings }
    }

    fn home(&self) -> PathBuf {
        self.world.folder.path().join("homes/alice")
    }

    fn hidden(&self) -> usize {
        let incoming = self.world.folder.path().join("homes/.layover/incoming");
        fs::read_dir(incoming).unwrap().count()
    }
}

#[tokio::test]
async fn every_verb_does_in_the_tree_what_it_says() {
    let disk = Disk::new().await;
    let session = session_on(&disk.holdings, "alice").await;
    let home = disk.home();
    session.make_dir(&path("/in")).await.unwrap();
    upload(&session, "/in/a", b"0123456789").await.unwrap();
    assert_eq!(fs::read(home.join("in/a")).unwrap(), b"0123456789");

    let change = begin(&session, "/in/a", UploadMode::Modify).await.unwrap();
    change
        .write_at(3, Bytes::from_static(b"XYZ"))
        .await
        .unwrap();
    assert_eq!(fs::read(home.join("in/a")).unwrap(), b"0123456789");
    change.finish(Completion::Closed).await.unwrap();
    assert_eq!(fs::read(home.join("in/a")).unwrap(), b"012XYZ6789");

    session
        .rename(&path("/in/a"), &path("/in/b"), Replace::Refuse)
        .await
        .unwrap();
    session
        .rename(&path("/in"), &path("/out"), Replace::Refuse)
        .await
        .unwrap();
    assert_eq!(fs::read(home.join("out/b")).unwrap(), b"012XYZ6789");
    assert_eq!(fetch(&session, "/out/b").await.unwrap(), b"012XYZ6789");

    receiving(&session, "/out/c", b"half")
        .await
        .interrupt()
        .await
        .unwrap();
    assert_eq!(disk.hidden(), 1);
    assert!(!home.join("out/c").exists());
    session.remove(&path("/out/b")).await.unwrap();
    session.remove_dir(&path("/out")).await.unwrap();
    assert_eq!(fs::read_dir(&home).unwrap().count(), 0);
    assert_eq!(disk.hidden(), 0);
    assert!(recover(&disk.holdings).await.unwrap().is_clean());
}

#[tokio::test]
async fn a_file_moved_in_by_an_operator_is_adopted_and_expires() {
    let disk = Disk::new().await;
    let session = session_on(&disk.holdings, "alice").await;
    fs::write(disk.home().join("found"), b"operator's").unwrap();
    let adopter = Adopter::new(Arc::clone(&disk.holdings));
    adopter.look().await.unwrap();
    assert_eq!(adopter.look().await.unwrap().adopted, 1);
    assert_eq!(names(&session, "/").await, ["found"]);
    disk.world.clock.advance(KEEP);
    let shelf = Shelf::new(Arc::clone(&disk.holdings));
    let report = layover_retention::sweep(&shelf, disk.holdings.now(), 10)
        .await
        .unwrap();
    assert_eq!(report.deleted, 1);
    assert!(!disk.home().join("found").exists());
    assert_eq!(disk.hidden(), 0);
}

#[tokio::test]
async fn a_file_that_took_a_due_name_behind_our_back_stays() {
    let disk = Disk::new().await;
    let session = session_on(&disk.holdings, "alice").await;
    upload(&session, "/a", b"due").await.unwrap();
    disk.world.clock.advance(KEEP);
    fs::write(disk.home().join("new"), b"operator's").unwrap();
    fs::rename(disk.home().join("new"), disk.home().join("a")).unwrap();
    let shelf = Shelf::new(Arc::clone(&disk.holdings));
    let report = layover_retention::sweep(&shelf, disk.holdings.now(), 10)
        .await
        .unwrap();
    assert_eq!((report.deleted, report.superseded), (0, 1));
    assert_eq!(fs::read(disk.home().join("a")).unwrap(), b"operator's");
}

#[tokio::test]
async fn names_that_are_not_text_round_trip() {
    let disk = Disk::new().await;
    let session = session_on(&disk.holdings, "alice").await;
    let odd = crate::VirtualPath::root().join(b"caf\xe9").unwrap();
    let mode = UploadMode::New { exclusive: true };
    let upload = session
        .plan_upload(&odd, mode)
        .await
        .unwrap()
        .begin()
        .await
        .unwrap();
    upload.finish(Completion::Closed).await.unwrap();
    let listing = session.list(&path("/")).await.unwrap();
    assert_eq!(listing[0].0, b"caf\xe9");
    session.stat(&odd).await.unwrap();
}

#[tokio::test]
async fn a_directory_made_by_an_operator_can_be_used() {
    let disk = Disk::new().await;
    let session = session_on(&disk.holdings, "alice").await;
    fs::create_dir(disk.home().join("made")).unwrap();
    upload(&session, "/made/a", b"x").await.unwrap();
    assert_eq!(names(&session, "/made").await, ["a"]);
    fs::remove_file(disk.home().join("made/a")).unwrap();
    let gone = fetch(&session, "/made/a").await;
    assert!(matches!(gone, Err(VfsError::NotFound { .. })));
    assert!(names(&session, "/made").await.is_empty());
}
