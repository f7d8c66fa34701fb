//! Publications, renames, removals, sweeps and checksums that meet in one home: each waits
//! for those before it, and none for one that waits for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use layover_depot::{Completion, Replace, Session, UploadMode, VfsError, VirtualPath};
use sqlx::{Connection, PgConnection};

use crate::world::{DAY, PASSWORD, World, at, keep, postgres_world};

/// Partners that do something in the home at the same time.
const PARTNERS: usize = 6;

/// What each of them does.
const TURNS: usize = 120;

/// Names that they share.
const NAMES: usize = 10;

/// Whoever came too late, or met somebody who changes the name just now, tries again in
/// life.
#[track_caller]
fn is_fine<T>(done: Result<T, VfsError>) {
    let fault = done.err();
    let is_late = fault.as_ref().is_none_or(|fault| {
        matches!(
            fault,
            VfsError::NotFound { .. } | VfsError::Busy { .. } | VfsError::AlreadyExists { .. }
        )
    });
    assert!(is_late, "{fault:?}");
}

/// One of those at work; no more when it is dropped.
struct AtWork(Arc<AtomicUsize>);

impl Drop for AtWork {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

async fn put(session: &Session, path: &VirtualPath) -> Result<(), VfsError> {
    let mode = UploadMode::New { exclusive: false };
    let upload = session.plan_upload(path, mode).await?.begin().await?;
    upload.write_at(0, Bytes::from_static(b"content")).await?;
    upload.finish(Completion::Closed).await.map(drop)
}

async fn work(session: Session, partner: usize) {
    for turn in 0..TURNS {
        let name = |of: usize| at(&format!("/file-{}", of % NAMES));
        let (here, next) = (name(partner + turn), name(partner + turn + 1));
        match (partner + turn) % 5 {
            0 => is_fine(session.remove(&name(partner + 3 * turn)).await),
            1 => is_fine(session.rename(&here, &next, Replace::Allow).await),
            _ => is_fine(put(&session, &here).await),
        }
    }
    session.end("done").await;
}

/// How often PostgreSQL broke off a transaction, when all are through.
async fn deadlocks(world: World) -> i64 {
    world.depot.close().await;
    let mut connection = PgConnection::connect(&world.url).await.unwrap();
    // A backend tells its figures when it ends, at the latest.
    let others = "SELECT COUNT(*) FROM pg_stat_activity \
                  WHERE datname = current_database() AND pid <> pg_backend_pid()";
    loop {
        let others: i64 = sqlx::query_scalar(others)
            .fetch_one(&mut connection)
            .await
            .unwrap();
        if others == 0 {
            break;
        }
    }
    sqlx::query_scalar("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
        .fetch_one(&mut connection)
        .await
        .unwrap()
}

/// SQLite has one writer: nobody can wait for two.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nobody_who_meets_in_a_home_waits_for_one_who_waits_for_him() {
    let Some(world) = postgres_world().await else {
        return;
    };
    world.set_keep("alice", Some(keep(1))).await;
    let at_work = Arc::new(AtomicUsize::new(PARTNERS));
    let mut tasks = Vec::new();
    for partner in 0..PARTNERS {
        let session = world.login("alice", PASSWORD).await.unwrap();
        let one = AtWork(Arc::clone(&at_work));
        tasks.push(tokio::spawn(async move {
            work(session, partner).await;
            drop(one);
        }));
    }
    let (depot, still) = (world.depot.clone(), Arc::clone(&at_work));
    tasks.push(tokio::spawn(async move {
        while still.load(Ordering::Acquire) > 0 {
            depot.hash_contents().await.unwrap();
        }
    }));
    let (mut swept, shelf) = (0, world.depot.shelf());
    while at_work.load(Ordering::Acquire) > 0 {
        world.clock.advance(DAY);
        let now = layover_retention::Clock::now(&*world.clock);
        let report = layover_retention::sweep(shelf, now, 100).await;
        let report = report.unwrap();
        assert_eq!(report.failed, 0);
        swept += report.deleted;
    }
    for task in tasks {
        task.await.unwrap();
    }
    assert!(swept > 0, "the sweep was among them");
    assert_eq!(deadlocks(world).await, 0);
}
