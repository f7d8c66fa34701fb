//! The sweep: due files go, and nothing else ever does.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use layover_retention::{DueShelf, Removal, sweep};
use rustix::io::Errno;

use super::Shelf;
use crate::holdings::Holdings;
use crate::holdings::fixture::{
    DAY, KEEP, PostgresDatabase, World, fetch, names, path, session_on, upload,
};
use crate::vfs::Replace;
use crate::vfs::recording::Op;
use crate::{JournalKind, Session};

const BUDGET: usize = 10_000;

fn shelf(world: &World) -> Shelf {
    Shelf::new(Arc::clone(&world.holdings))
}

#[tokio::test]
async fn a_due_file_goes_and_its_neighbour_stays() {
    let world = World::new().await;
    let session = world.session("alice").await;
    upload(&session, "/old", b"old").await.unwrap();
    world.clock.advance(DAY);
    upload(&session, "/young", b"young").await.unwrap();
    world.clock.advance(KEEP - DAY);
    let report = sweep(&shelf(&world), world.holdings.now(), BUDGET)
        .await
        .unwrap();
    assert_eq!(
        (report.considered, report.deleted, report.deleted_bytes),
        (1, 1, 3)
    );
    assert_eq!(
        world.files("alice"),
        [("/young".to_owned(), b"young".to_vec())]
    );
    let journal = world.journal(JournalKind::Retention).await;
    assert_eq!(journal.len(), 1);
    assert_eq!(journal[0].path, Some(path("/old")));
    world.assert_agreement().await;
}

// R02: one file that cannot be deleted stops neither the others nor the next sweep.
#[tokio::test]
async fn a_file_that_cannot_be_deleted_stops_no_other() {
    let world = World::new().await;
    let session = world.session("alice").await;
    for name in ["/a", "/b", "/c"] {
        upload(&session, name, b"x").await.unwrap();
    }
    world.clock.advance(KEEP);
    world.storage.set_hook(Box::new(|op| match op {
        Op::Hide { from, .. } if from.path == path("/a") => Err(Errno::PERM.into()),
        _ => Ok(()),
    }));
    let report = sweep(&shelf(&world), world.holdings.now(), BUDGET)
        .await
        .unwrap();
    assert_eq!((report.deleted, report.failed), (2, 1));
    assert!(report.first_failure.is_some());
    world.storage.clear_hook();
    // It is tried again when its pause is over.
    world.clock.advance(Duration::from_secs(1));
    let report = sweep(&shelf(&world), world.holdings.now(), BUDGET)
        .await
        .unwrap();
    assert_eq!((report.deleted, report.failed), (1, 0));
    assert!(world.files("alice").is_empty());
    world.assert_agreement().await;
}

// R02: files of removed accounts were never swept.
#[tokio::test]
async fn files_of_removed_accounts_go_too() {
    let world = World::new().await;
    let session = world.session("alice").await;
    upload(&session, "/a", b"x").await.unwrap();
    let entry = crate::journal::NewEntry::new(
        world.holdings.now(),
        JournalKind::Admin,
        "test",
        &world.holdings.node,
    );
    let id = session.account().id;
    world
        .holdings
        .store
        .remove_account(id, world.holdings.now(), world.holdings.appliance, &entry)
        .await
        .unwrap();
    world.clock.advance(KEEP);
    let report = sweep(&shelf(&world), world.holdings.now(), BUDGET)
        .await
        .unwrap();
    assert_eq!(report.deleted, 1);
    assert!(world.files("alice").is_empty());
}

#[tokio::test]
async fn a_file_that_is_already_gone_is_told_to_the_ledger() {
    let world = World::new().await;
    let session = world.session("alice").await;
    upload(&session, "/a", b"x").await.unwrap();
    world.clock.advance(KEEP);
    let due = shelf(&world)
        .due(world.holdings.now(), None, 10)
        .await
        .unwrap();
    let elsewhere = crate::vfs::HiddenName::fresh().unwrap();
    crate::vfs::Storage::hide(
        &world.storage,
        &session.inner_home().place(&path("/a")),
        &elsewhere,
    )
    .unwrap();
    let removal = shelf(&world)
        .remove(&due[0].1, world.holdings.now())
        .await
        .unwrap();
    assert_eq!(removal, Removal::AlreadyGone);
    assert!(
        shelf(&world)
            .due(world.holdings.now(), None, 10)
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn due_files_come_in_pages_without_a_gap() {
    let world = World::new().await;
    let session = world.session("alice").await;
    for name in 0..7 {
        upload(&session, &format!("/{name}"), b"x").await.unwrap();
    }
    world.clock.advance(KEEP);
    let (shelf, mut after, mut seen) = (shelf(&world), None, Vec::new());
    loop {
        let page = shelf.due(world.holdings.now(), after, 3).await.unwrap();
        let Some((cursor, _)) = page.last() else {
            break;
        };
        after = Some(*cursor);
        seen.extend(page.iter().map(|(_, file)| file.path().to_string()));
    }
    seen.sort();
    assert_eq!(seen, ["/0", "/1", "/2", "/3", "/4", "/5", "/6"]);
}

#[tokio::test]
async fn unfinished_uploads_go_after_their_own_shorter_time() {
    let world = World::new().await;
    let session = world.session("alice").await;
    let start = async |name: &str| {
        let mode = crate::UploadMode::New { exclusive: false };
        let upload = session
            .plan_upload(&path(name), mode)
            .await
            .unwrap()
            .begin()
            .await
            .unwrap();
        upload
            .write_at(0, bytes::Bytes::from_static(b"part"))
            .await
            .unwrap();
        upload.interrupt().await.unwrap();
    };
    start("/old").await;
    world.clock.advance(DAY / 2);
    start("/young").await;
    world.clock.advance(DAY / 2);
    let report = shelf(&world)
        .sweep_partials(world.holdings.now())
        .await
        .unwrap();
    assert_eq!(
        (report.removed, report.removed_bytes, report.failed),
        (1, 4, 0)
    );
    assert!(session.stat(&path("/old")).await.is_err());
    assert_eq!(session.stat(&path("/young")).await.unwrap().size_bytes, 4);
    assert_eq!(
        crate::vfs::Storage::list_hidden(&world.storage)
            .unwrap()
            .len(),
        1
    );
}

/// Stops the first verb of the storage that meets the count, until released.
struct Gate {
    reached: Receiver<()>,
    release: Sender<()>,
}

fn gate_at(world: &World, verb: usize) -> Gate {
    let (reached_now, reached) = channel();
    let (release, released) = channel::<()>();
    let (count, released) = (AtomicUsize::new(0), Mutex::new(released));
    world.storage.set_hook(Box::new(move |_| {
        if count.fetch_add(1, Ordering::SeqCst) == verb {
            let _ = reached_now.send(());
            // Released, or the test is over.
            let _ = released.lock().unwrap().recv();
        }
        Ok(())
    }));
    Gate { reached, release }
}

#[derive(Clone, Copy, Debug)]
enum Rival {
    Overwrite,
    RenameOnto,
}

impl Rival {
    /// Gives the due name `/a` to a new file.
    async fn act(self, session: &Session, content: &[u8]) -> Result<(), crate::VfsError> {
        match self {
            Rival::Overwrite => upload(session, "/a", content).await.map(drop),
            Rival::RenameOnto => {
                session
                    .rename(&path("/other"), &path("/a"), Replace::Allow)
                    .await
            }
        }
    }
}

/// One verb is stopped in its middle; the other one runs as far as it can;
/// then both go on.
async fn force(
    world: &World,
    stopped: impl Future<Output = ()> + Send + 'static,
    other: impl Future<Output = ()> + Send + 'static,
    verb: usize,
    holdings: &[&Arc<Holdings>],
) {
    let gate = gate_at(world, verb);
    let refused = |holdings: &[&Arc<Holdings>]| -> usize {
        holdings
            .iter()
            .map(|holdings| {
                holdings.locks.waiting.load(Ordering::SeqCst)
                    + holdings.refused_claims.load(Ordering::SeqCst)
            })
            .sum()
    };
    let first = tokio::spawn(stopped);
    while gate.reached.try_recv().is_err() && !first.is_finished() {
        tokio::task::yield_now().await;
    }
    let before = refused(holdings);
    let second = tokio::spawn(other);
    while !second.is_finished() && !first.is_finished() && refused(holdings) <= before {
        tokio::task::yield_now().await;
    }
    let _ = gate.release.send(());
    first.await.unwrap();
    second.await.unwrap();
    world.storage.clear_hook();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_forced_interleavings_with_the_sweep_lose_no_new_file() {
    interleavings(&World::new().await, 1_000).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_postgresql_the_sweep_loses_no_new_file_either() {
    let Some(database) = PostgresDatabase::create() else {
        return;
    };
    interleavings(&World::on_postgresql(&database).await, 200).await;
}

async fn interleavings(world: &World, count: u32) {
    let elsewhere = world.second_process("node-2").await;
    let mut done = 0_u32;
    while done < count {
        for rival in [Rival::Overwrite, Rival::RenameOnto] {
            for other_process in [false, true] {
                for sweep_is_stopped in [true, false] {
                    let verb = usize::try_from(done / 8 % 7).unwrap();
                    interleave(
                        world,
                        &elsewhere,
                        rival,
                        other_process,
                        sweep_is_stopped,
                        verb,
                    )
                    .await;
                    done += 1;
                }
            }
        }
    }
    world.assert_agreement().await;
    assert_eq!(world.holdings.locks.len(), 0);
}

async fn interleave(
    world: &World,
    elsewhere: &Arc<Holdings>,
    rival: Rival,
    other_process: bool,
    sweep_is_stopped: bool,
    verb: usize,
) {
    let case = format!("{rival:?} {other_process} {sweep_is_stopped} {verb}");
    let alice = world.session("alice").await;
    upload(&alice, "/a", b"due").await.unwrap();
    world.clock.advance(KEEP);
    upload(&alice, "/other", b"renamed onto").await.unwrap();
    let content: &[u8] = match rival {
        Rival::Overwrite => b"overwritten",
        Rival::RenameOnto => b"renamed onto",
    };
    let partner = if other_process {
        session_on(elsewhere, "alice").await
    } else {
        alice.clone()
    };
    let (shelf, now) = (shelf(world), world.holdings.now());
    let sweeping = async move {
        let report = sweep(&shelf, now, BUDGET).await.unwrap();
        assert_eq!(report.failed, 0, "{report:?}");
    };
    let acting = async move { rival.act(&partner, content).await.unwrap() };
    let both = [&world.holdings, elsewhere];
    if sweep_is_stopped {
        force(world, sweeping, acting, verb, &both).await;
    } else {
        force(world, acting, sweeping, verb, &both).await;
    }
    assert_eq!(fetch(&alice, "/a").await.unwrap(), content, "{case}");
    for name in names(&alice, "/").await {
        alice.remove(&path(&format!("/{name}"))).await.unwrap();
    }
    assert!(
        world.files("alice").is_empty(),
        "{case}: {:?}",
        world.files("alice")
    );
}

#[tokio::test]
async fn a_file_exchanged_by_an_operator_at_any_moment_is_never_deleted() {
    // The look, the move out of sight, and everything after it.
    for moment in 0..6 {
        let world = World::new().await;
        let session = world.session("alice").await;
        upload(&session, "/a", b"due").await.unwrap();
        world.clock.advance(KEEP);
        let (storage, count) = (world.storage.clone(), AtomicUsize::new(0));
        world.storage.set_hook(Box::new(move |_| {
            if count.fetch_add(1, Ordering::SeqCst) == moment {
                storage.drop_in("alice", "/a", b"operator's");
            }
            Ok::<_, io::Error>(())
        }));
        sweep(&shelf(&world), world.holdings.now(), BUDGET)
            .await
            .unwrap();
        world.storage.clear_hook();
        let kept: Vec<Vec<u8>> = world
            .files("alice")
            .into_iter()
            .map(|(_, bytes)| bytes)
            .collect();
        let exchanged = world.storage.log().len() > moment;
        if exchanged && !kept.is_empty() {
            assert_eq!(kept, [b"operator's".to_vec()], "moment {moment}");
        }
        let due = shelf(&world)
            .due(world.holdings.now(), None, 10)
            .await
            .unwrap();
        assert!(due.is_empty(), "moment {moment}");
    }
}
