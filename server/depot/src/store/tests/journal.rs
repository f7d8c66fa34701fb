//! The journal, and when jobs ran.

use layover_retention::Timestamp;

use super::{HERE, household, name, path, time};
use crate::Protocol;
use crate::account::JobRun;
use crate::journal::{JournalFilter, JournalKind, NewEntry, Outcome};
use crate::store::Store;

async fn journal_of_places(store: &Store) {
    let (_, account, _) = household(store, "placed").await;
    let (account, _) = store.account_names(account).await.unwrap();
    let home = store.account(&account).await.unwrap().unwrap().home;
    let about = |place: &str| {
        NewEntry::new(time(290), JournalKind::Retention, "expire", &HERE.id()).path(&path(place))
    };
    for entry in [
        about("/in/a").account(&account),
        about("/in").with("home", home.as_str()),
        about("/inn/a").with("home", home.as_str()),
        about("/in/b").with("why", format!("\"home\":\"{home}\"")),
        about("/in/c"),
    ] {
        store.append(&entry).await.unwrap();
    }
    let found = async |below: Option<&str>, of_home: bool| {
        let filter = JournalFilter {
            home: of_home.then(|| home.clone()),
            below: below.map(path),
            kind: Some(JournalKind::Retention),
            since: Some(time(290)),
            until: Some(time(291)),
            limit: 10,
            ..JournalFilter::default()
        };
        let page = store.journal_page(&filter).await.unwrap();
        let paths = page
            .iter()
            .map(|entry| entry.path.clone().unwrap().to_string());
        paths.collect::<Vec<_>>()
    };
    assert_eq!(found(None, true).await, ["/in/a", "/in", "/inn/a"]);
    assert_eq!(found(Some("/in"), true).await, ["/in/a", "/in"]);
    assert_eq!(
        found(Some("/in"), false).await,
        ["/in/a", "/in", "/in/b", "/in/c"]
    );
}

pub(super) async fn journal_and_jobs(store: &Store) {
    let peer = name("192.0.2.1");
    let told = NewEntry::new(time(300), JournalKind::Transfer, "upload", &HERE.id())
        .outcome(Outcome::Failed)
        .account("somebody")
        .entity("acme")
        .peer(peer)
        .protocol(Protocol::Sftp)
        .path(&path("/a"))
        .size_bytes(1 << 40)
        .duration_ms(12)
        .with("why", "\"quoted\" \u{0} ünïcode");
    store.append(&told).await.unwrap();
    let filter = JournalFilter {
        account: Some("somebody".to_owned()),
        kind: Some(JournalKind::Transfer),
        since: Some(time(300)),
        limit: 10,
        ..JournalFilter::default()
    };
    let found = store.journal_page(&filter).await.unwrap();
    assert_eq!(found.len(), 1);
    let read = &found[0];
    assert_eq!(
        (read.at, read.outcome, read.peer),
        (time(300), Outcome::Failed, Some(peer))
    );
    assert_eq!(
        (read.size_bytes, read.duration_ms),
        (Some(1 << 40), Some(12))
    );
    assert_eq!(read.detail, told.detail);
    for (newest, before) in [(0, Some(read.id)), (1, None)] {
        let found = store.before_newest(&filter, newest).await.unwrap();
        assert_eq!(found, before, "{newest}");
    }
    for (tweak, count) in [
        (
            JournalFilter {
                until: Some(time(300)),
                ..filter.clone()
            },
            0,
        ),
        (
            JournalFilter {
                until: Some(time(301)),
                ..filter.clone()
            },
            1,
        ),
        (
            JournalFilter {
                below: Some(path("/")),
                ..filter.clone()
            },
            1,
        ),
        (
            JournalFilter {
                below: Some(path("/a")),
                ..filter.clone()
            },
            1,
        ),
        (
            JournalFilter {
                below: Some(path("/a/b")),
                ..filter.clone()
            },
            0,
        ),
        (
            JournalFilter {
                home: Some(name("nobodys")),
                ..filter.clone()
            },
            0,
        ),
    ] {
        assert_eq!(
            store.journal_page(&tweak).await.unwrap().len(),
            count,
            "{tweak:?}"
        );
        let all = store.before_newest(&tweak, 0).await.unwrap();
        assert_eq!(all.is_some(), count == 1, "{tweak:?}");
    }
    journal_of_places(store).await;
    let later = JournalFilter {
        after_id: Some(read.id),
        ..filter.clone()
    };
    assert_eq!(store.journal_page(&later).await.unwrap(), []);
    store.append_all(&[told.clone(), told]).await.unwrap();
    assert_eq!(store.journal_page(&filter).await.unwrap().len(), 3);

    let run = |at: Timestamp| JobRun {
        at,
        next_due_at: Some(time(9)),
        report: serde_json::json!({ "deleted": 3 }),
    };
    assert_eq!(store.last_run("sweep").await.unwrap(), None);
    store.note_job("sweep", &run(time(7))).await.unwrap();
    store.note_job("sweep", &run(time(8))).await.unwrap();
    assert_eq!(store.last_run("sweep").await.unwrap(), Some(run(time(8))));
    let status = store.retention_status(time(0)).await.unwrap();
    assert_eq!(status.last_sweep, Some(run(time(8))));
}
