//! What a crash leaves of an errand. What the door promises is in `tests/doors/courier.rs`.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use super::{Attempt, Carrying, Errand, Visit};
use crate::SessionId;
use crate::holdings::fixture::{World, copy_database, fetch, path, upload};
use crate::integration::{FlowTarget, IntegrationProtocol};
use crate::journal::{JournalEntry, JournalKind, Outcome};
use crate::recover::recover;
use crate::session::Session;
use crate::vfs::recording::{Op, RecordingStorage, Survival};
use crate::vfs::{ContentOrigin, Replace};

async fn visit(world: &World) -> Visit {
    let row = world.holdings.store.login("alice").await.unwrap().unwrap();
    let id = SessionId::random().unwrap();
    let holdings = Arc::clone(&world.holdings);
    Visit {
        session: Session::of_courier(holdings, id, row).await.unwrap(),
    }
}

fn errand(visit: &Visit) -> Attempt {
    visit.attempt(Errand {
        carrying: Carrying::Download,
        integration: "acme-sftp".parse().unwrap(),
        entity: "acme".parse().unwrap(),
        location: FlowTarget::Location("out".parse().unwrap()),
        protocol: IntegrationProtocol::Sftp,
        remote: "/out/a".to_owned(),
        run: "run-1".to_owned(),
        actor: crate::Actor::new("cli:olga"),
    })
}

async fn told(world: &World) -> Vec<JournalEntry> {
    let all = world.journal(JournalKind::Transfer).await;
    let ours = |entry: &JournalEntry| entry.action.starts_with("outbound.");
    all.into_iter().filter(ours).collect()
}

/// Before each verb of the storage the database is copied, as a power cut would find it.
type Snapshots = Arc<Mutex<Vec<(usize, PathBuf)>>>;

fn watch(world: &World, folder: &tempfile::TempDir) -> Snapshots {
    let snapshots = Snapshots::default();
    let (all, storage) = (Arc::clone(&snapshots), world.storage.clone());
    let (database, target) = (world.database(), folder.path().to_owned());
    world.storage.set_hook(Box::new(move |op| {
        if matches!(op, Op::Stat(_) | Op::Entries(_)) {
            return Ok(());
        }
        let mut snapshots = all.lock().unwrap();
        let copy = target.join(format!("{}.db", snapshots.len()));
        copy_database(&database, &copy);
        snapshots.push((storage.log().len(), copy));
        Ok(())
    }));
    snapshots
}

#[tokio::test]
async fn a_power_cut_anywhere_leaves_a_whole_file_with_one_entry_or_none() {
    for before in [None, Some(&b"a partner's"[..])] {
        let world = World::new().await;
        if let Some(content) = before {
            let partner = world.session("alice").await;
            upload(&partner, "/a", content).await.unwrap();
        }
        let folder = tempfile::tempdir().unwrap();
        let snapshots = watch(&world, &folder);
        let visit = visit(&world).await;
        let attempt = errand(&visit);
        let origin = ContentOrigin::of(&[b"one"]);
        let incoming = attempt
            .receive(&path("/a"), Replace::Allow, origin)
            .await
            .unwrap();
        for (offset, half) in [(0, "from the "), (9, "partner's server")] {
            incoming.write_at(offset, half.into()).await.unwrap();
            world.holdings.beginnings.settle().await;
        }
        incoming.publish().await.unwrap();
        world.storage.mark("answered");
        world.storage.clear_hook();
        drop(attempt);
        assert_eq!(told(&world).await.len(), 1);
        let log = world.storage.log();
        let snapshots = std::mem::take(&mut *snapshots.lock().unwrap());
        assert!(snapshots.len() >= 5, "{}", snapshots.len());
        for (operations, database) in &snapshots {
            for done in [*operations, operations + 1] {
                for survival in Survival::all() {
                    let operations = &log[..done.min(log.len())];
                    let storage = RecordingStorage::after_crash(operations, survival);
                    let after = World::reborn(database, storage, world.holdings.now()).await;
                    after_the_cut(&after, before).await;
                }
            }
        }
    }
}

async fn after_the_cut(after: &World, before: Option<&[u8]>) {
    let in_snapshot = told(after).await.len();
    let report = recover(&after.holdings).await.unwrap();
    assert_eq!(report.failed, 0);
    let partner = after.session("alice").await;
    let found = fetch(&partner, "/a").await.ok();
    let told = told(after).await;
    let is_new = found.as_deref() == Some(b"from the partner's server");
    if is_new {
        assert_eq!(told.len(), 1, "{told:#?}");
        assert_eq!(told[0].outcome, Outcome::Ok);
        assert_eq!(told[0].action, "outbound.download");
        assert_eq!(told[0].detail["integration"], "acme-sftp");
        assert_eq!(told[0].account.as_deref(), Some("alice"));
    } else {
        assert_eq!(found.as_deref(), before);
        assert!(told.is_empty(), "{told:#?}");
    }
    assert!(in_snapshot <= told.len(), "an entry without its file");
    after.assert_agreement().await;
}

#[tokio::test]
async fn after_a_crash_the_same_content_is_gone_on_with_and_no_partner_can() {
    let world = World::new().await;
    let dead = world.second_process("node-dead").await;
    let row = dead.store.login("alice").await.unwrap().unwrap();
    let id = SessionId::random().unwrap();
    let gone = Visit {
        session: Session::of_courier(Arc::clone(&dead), id, row)
            .await
            .unwrap(),
    };
    let (origin, attempt) = (ContentOrigin::of(&[b"one"]), errand(&gone));
    let incoming = attempt
        .receive(&path("/a"), Replace::Refuse, origin)
        .await
        .unwrap();
    incoming.write_at(0, "1234".into()).await.unwrap();
    dead.beginnings.settle().await;
    world.clock.advance(crate::SILENT_AFTER);
    assert_eq!(recover(&world.holdings).await.unwrap().kept_partial, 1);

    let partner = world.session("alice").await;
    assert!(partner.stat(&path("/a")).await.is_err());
    let visit = visit(&world).await;
    let attempt = errand(&visit);
    let again = attempt
        .receive(&path("/a"), Replace::Refuse, origin)
        .await
        .unwrap();
    assert_eq!(again.size(), 4);
    assert_eq!(again.read_at(0, 10).await.unwrap(), "1234");
    again.write_at(4, "5678".into()).await.unwrap();
    again.publish().await.unwrap();
    assert_eq!(fetch(&partner, "/a").await.unwrap(), b"12345678");
    assert!(incoming.publish().await.is_err(), "the dead one wakes up");
    let told = told(&world).await;
    let whole: Vec<_> = told.iter().filter(|e| e.outcome == Outcome::Ok).collect();
    assert_eq!(whole.len(), 1);
    assert_eq!(whole[0].detail["received_bytes"], 4);
    world.assert_agreement().await;
}
