//! The order in which an upload reaches the disk, and what a power cut at any
//! point of it leaves.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use layover_retention::Keep;

use crate::holdings::fixture::{KEEP, World, copy_database, fetch, path, session_on, upload};
use crate::journal::{JournalKind, NewEntry};
use crate::recover::recover;
use crate::session::UploadReceipt;
use crate::vfs::Replace;
use crate::vfs::recording::{Op, RecordingStorage, Survival};

#[tokio::test]
async fn the_file_is_safe_before_its_name_and_the_name_before_the_answer() {
    let world = World::new().await;
    let session = world.session("alice").await;
    let before = world.storage.log().len();
    upload(&session, "/a", b"content").await.unwrap();
    world.storage.mark("answered");
    let log = world.storage.log();
    let steps: Vec<&str> = log[before..]
        .iter()
        .map(|op| match op {
            Op::CreateHidden(_) => "create",
            Op::Write { .. } => "write",
            Op::SyncFile { .. } => "sync file",
            Op::Publish { .. } => "rename",
            Op::SyncDir(_) => "sync directory",
            Op::Mark(_) => "answer",
            other => panic!("unexpected {other:?}"),
        })
        .collect();
    assert_eq!(
        steps,
        [
            "create",
            "write",
            "sync file",
            "rename",
            "sync directory",
            "answer"
        ]
    );
}

#[tokio::test]
async fn the_row_is_publishing_while_the_file_takes_its_name() {
    let world = World::new().await;
    let session = world.session("alice").await;
    let states = Arc::new(Mutex::new(Vec::new()));
    let (seen, holdings) = (Arc::clone(&states), Arc::clone(&world.holdings));
    let runtime = tokio::runtime::Handle::current();
    let home = session.inner.home.id;
    world.storage.set_hook(Box::new(move |op| {
        if matches!(
            op,
            Op::SyncFile { .. } | Op::Publish { .. } | Op::SyncDir(_)
        ) {
            let rows = runtime
                .block_on(holdings.store.rows_at(home, &path("/a")))
                .unwrap();
            let state = rows.first().map_or("none yet", |row| row.state.as_str());
            seen.lock().unwrap().push(state);
        }
        Ok(())
    }));
    upload(&session, "/a", b"content").await.unwrap();
    assert_eq!(
        *states.lock().unwrap(),
        ["none yet", "publishing", "publishing"]
    );
    world.storage.clear_hook();
    assert_eq!(fetch(&session, "/a").await.unwrap(), b"content");
}

/// What the server had promised when a database snapshot was taken.
type Promise = BTreeMap<String, Vec<Option<Vec<u8>>>>;

struct Snapshot {
    operations: usize,
    database: PathBuf,
    /// Name -> the contents that may be there (`None`: nothing). One entry
    /// when the last change of the name was answered, two while it is not.
    promised: Promise,
}

/// Runs a day's work and takes a snapshot of the database before every verb
/// of the storage.
struct Day {
    world: World,
    folder: tempfile::TempDir,
    snapshots: Arc<Mutex<Vec<Snapshot>>>,
    promised: Arc<Mutex<Promise>>,
}

impl Day {
    async fn begin() -> Day {
        let world = World::new().await;
        let folder = tempfile::tempdir().unwrap();
        let snapshots = Arc::<Mutex<Vec<Snapshot>>>::default();
        let promised = Arc::<Mutex<Promise>>::default();
        let (all, now) = (Arc::clone(&snapshots), Arc::clone(&promised));
        let (database, storage) = (world.database(), world.storage.clone());
        let target = folder.path().to_path_buf();
        world.storage.set_hook(Box::new(move |op| {
            if matches!(op, Op::Stat(_) | Op::Entries(_)) {
                return Ok(());
            }
            let mut snapshots = all.lock().unwrap();
            let copy = target.join(format!("{}.db", snapshots.len()));
            copy_database(&database, &copy);
            snapshots.push(Snapshot {
                operations: storage.log().len(),
                database: copy,
                promised: now.lock().unwrap().clone(),
            });
            Ok(())
        }));
        Day {
            world,
            folder,
            snapshots,
            promised,
        }
    }

    /// From now on the name may hold this as well.
    fn may_become(&self, name: &str, content: Option<&[u8]>) {
        let mut promised = self.promised.lock().unwrap();
        promised
            .entry(name.to_owned())
            .or_insert_with(|| vec![None])
            .push(content.map(Into::into));
    }

    /// The change was answered: the name holds this and nothing else.
    fn is(&self, name: &str, content: Option<&[u8]>) {
        self.promised
            .lock()
            .unwrap()
            .insert(name.to_owned(), vec![content.map(Into::into)]);
        self.world.storage.mark(name);
    }
}

#[tokio::test]
async fn a_power_cut_after_any_operation_loses_no_acknowledged_file() {
    let day = Day::begin().await;
    let session = day.world.session("alice").await;
    for (name, content) in [
        ("/a", &b"first"[..]),
        ("/b", b"other"),
        ("/a", b"second, longer"),
    ] {
        day.may_become(name, Some(content));
        upload(&session, name, content).await.unwrap();
        day.is(name, Some(content));
    }
    session.make_dir(&path("/d")).await.unwrap();
    day.may_become("/d/c", Some(b"in a directory"));
    upload(&session, "/d/c", b"in a directory").await.unwrap();
    day.is("/d/c", Some(b"in a directory"));

    day.may_become("/b", None);
    day.may_become("/d/b", Some(b"other"));
    session
        .rename(&path("/b"), &path("/d/b"), Replace::Refuse)
        .await
        .unwrap();
    day.is("/b", None);
    day.is("/d/b", Some(b"other"));

    day.may_become("/d/b", None);
    day.may_become("/a", Some(b"other"));
    session
        .rename(&path("/d/b"), &path("/a"), Replace::Allow)
        .await
        .unwrap();
    day.is("/d/b", None);
    day.is("/a", Some(b"other"));

    day.may_become("/d/c", None);
    day.may_become("/e/c", Some(b"in a directory"));
    session
        .rename(&path("/d"), &path("/e"), Replace::Refuse)
        .await
        .unwrap();
    day.is("/d/c", None);
    day.is("/e/c", Some(b"in a directory"));

    day.may_become("/a", None);
    session.remove(&path("/a")).await.unwrap();
    day.is("/a", None);
    day.world.storage.mark("end");
    day.world.storage.clear_hook();

    let log = day.world.storage.log();
    let snapshots = std::mem::take(&mut *day.snapshots.lock().unwrap());
    assert!(snapshots.len() > 40, "{}", snapshots.len());
    for snapshot in &snapshots {
        // The snapshot was taken before its operation, and the cut may also
        // come after it.
        for done in [snapshot.operations, snapshot.operations + 1] {
            let operations = &log[..done.min(log.len())];
            for survival in Survival::all() {
                after_the_cut(&day.world, snapshot, operations, survival).await;
            }
        }
    }
    drop(day.folder);
}

async fn after_the_cut(world: &World, cut: &Snapshot, operations: &[Op], survival: Survival) {
    let storage = RecordingStorage::after_crash(operations, survival);
    let after = World::reborn(&cut.database, storage, world.holdings.now()).await;
    let report = recover(&after.holdings).await.unwrap();
    let context = || format!("after {operations:#?}\nwith {survival:?}: {report:?}");
    assert_eq!(report.failed, 0, "{}", context());

    let session = session_on(&after.holdings, "alice").await;
    for (name, contents) in &cut.promised {
        let found = fetch(&session, name).await.ok();
        assert!(
            contents.contains(&found),
            "{name} is {found:?}, not {contents:?}; {}",
            context()
        );
    }
    after.assert_agreement().await;
    let again = recover(&after.holdings).await.unwrap();
    assert!(
        again.is_clean(),
        "recovery left {again:?} to itself; {}",
        context()
    );
}

#[tokio::test]
async fn of_two_uploads_of_one_name_each_is_whole_and_the_last_to_finish_wins() {
    let world = World::new().await;
    let session = world.session("alice").await;
    let first = super::receiving(&session, "/a", b"first").await;
    let second = super::receiving(&session, "/a", b"second").await;
    second
        .finish(super::super::Completion::Closed)
        .await
        .unwrap();
    assert_eq!(fetch(&session, "/a").await.unwrap(), b"second");
    first
        .finish(super::super::Completion::Closed)
        .await
        .unwrap();
    assert_eq!(fetch(&session, "/a").await.unwrap(), b"first");
    let uploads = world.journal(crate::JournalKind::Transfer).await;
    assert_eq!(
        uploads
            .iter()
            .filter(|entry| entry.action == "upload")
            .count(),
        2
    );
    world.assert_agreement().await;
}

#[tokio::test]
async fn uploads_of_many_tasks_at_once_are_all_published_and_counted() {
    many_tasks_at_once(&World::new().await).await;
}

pub(super) async fn many_tasks_at_once(world: &World) {
    let session = world.session("alice").await;
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..24 {
        let session = session.clone();
        tasks.spawn(async move {
            for round in 0..4 {
                let name = format!("/{}", (task * 7 + round) % 12);
                upload(&session, &name, format!("{task}-{round}").as_bytes())
                    .await
                    .unwrap();
            }
        });
    }
    tasks.join_all().await;
    assert_eq!(world.files("alice").len(), 12);
    world.assert_agreement().await;
    assert_eq!(world.holdings.locks.len(), 0);
}

#[tokio::test]
async fn a_keep_that_changed_since_the_last_upload_holds_for_the_next() {
    let world = World::new().await;
    let session = world.session("alice").await;
    let kept = |receipt: UploadReceipt| {
        let arrived_at = receipt.arrived_at.unwrap();
        receipt.expires_at.unwrap().duration_since(arrived_at)
    };
    assert_eq!(kept(upload(&session, "/a", b"one").await.unwrap()), KEEP);

    let holdings = &world.holdings;
    let entity = holdings.store.entity(&"acme".parse().unwrap()).await;
    let (now, node) = (holdings.now(), &holdings.node);
    let entry = NewEntry::new(now, JournalKind::Admin, "entity.set", node);
    let short = Keep::from_secs(60).unwrap();
    holdings
        .store
        .set_entity_keep(
            entity.unwrap().unwrap().id,
            Some(short),
            holdings.appliance,
            &entry,
        )
        .await
        .unwrap();
    for name in ["/b", "/c"] {
        let next = upload(&session, name, b"two").await.unwrap();
        assert_eq!(kept(next), short.as_duration(), "{name}");
    }
}
