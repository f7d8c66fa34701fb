//! What flows know their files by, what goes with a delivery, and what an upload leaves
//! for the next process.

use super::flows::{
    LEASE_S, claim, definition, done, end, found, name_key, not_moved, open, run_of, write,
};
use super::{THERE, entry, household, ledger, path, time};
use crate::FileId;
use crate::flow::{Census, FileDone, FlowFileState, RunState, RunToken};
use crate::journal::{JournalFilter, JournalKind, MAX_JOURNAL_PAGE};
use crate::store::Store;

/// Keys stay as long as a census finds their file, or another key of it.
pub(super) async fn keys_of_files_that_are_gone(store: &Store) {
    let flow = definition("counted");
    write(store, &flow, None).await;
    let run = run_of(store, &flow, 9_800).await;
    let (held, name) = (run.token(), &flow.name);
    assert_eq!(run.census, Census::default());
    let names = ["a", "b", "c"];
    let all = names.map(|name| found(name, 1));
    let ids = store.plan_files(held, &all).await.unwrap().unwrap();
    for (id, name) in ids.into_iter().zip(names) {
        let moved = FileDone {
            keys: vec![name_key(name), name_key(&format!("content of {name}"))],
            ..done(id, name, true)
        };
        assert!(store.finish_file(held, &moved).await.unwrap());
    }
    let keys = ["a", "content of a", "b", "content of b", "c"].map(name_key);
    let known = async || store.known_keys(name, &keys).await.unwrap();

    let census = async |number, found: &[&str]| {
        let found: Vec<_> = found.iter().map(|name| name_key(name)).collect();
        let seen = store.see_keys(held, name, number, &found).await;
        assert_eq!(seen.unwrap(), Some(()));
        let ended = store.end_census(held, name, number, time(9_801)).await;
        assert!(ended.unwrap());
    };
    census(1, &["a", "content of b", "nobody knows it"]).await;
    let none = store.forget_keys(name, 0, &[], 10).await.unwrap();
    assert_eq!(none, []);
    assert_eq!(known().await, [true; 5]);
    // The key of a content says nothing of the listing that it came from.
    let mut gone = Vec::new();
    while let Some(key) = {
        let after = gone
            .last()
            .map_or(Vec::new(), |key: &crate::flow::FileKey| {
                key.as_bytes().to_vec()
            });
        let some = store.forget_keys(name, 1, &after, 1).await.unwrap();
        assert!(some.len() < 2);
        some.first().copied()
    } {
        gone.push(key);
    }
    let mut expected = ["b", "c", "content of c"].map(name_key);
    expected.sort_unstable();
    assert_eq!(gone, expected);
    assert_eq!(known().await, [true, true, false, true, false]);

    // Who has lost the run says nothing.
    let late = RunToken {
        token: held.token - 1,
        ..held
    };
    assert_eq!(
        store.see_keys(late, name, 2, &keys[..1]).await.unwrap(),
        None
    );
    let ended = store.end_census(late, name, 2, time(9_802)).await;
    assert!(!ended.unwrap());
    store
        .end_run(held, &end(RunState::Done, None, 9_803))
        .await
        .unwrap()
        .unwrap();
    let next = run_of(store, &flow, 9_804).await;
    let counted = Census {
        number: 1,
        at: Some(time(9_801)),
    };
    assert_eq!(next.census, counted);
    store
        .end_run(next.token(), &end(RunState::Done, None, 9_805))
        .await
        .unwrap()
        .unwrap();
}

/// What is noted of an upload's last step, as long as nobody knows how it went.
pub(super) async fn a_last_step(store: &Store) {
    let flow = definition("last-steps");
    write(store, &flow, None).await;
    let run = run_of(store, &flow, 9_820).await;
    let held = run.token();
    let ids = store.plan_files(held, &[found("x", 1)]).await;
    let file = ids.unwrap().unwrap()[0];
    let noted = async || store.noted_last_step(file).await.unwrap();
    assert_eq!(noted().await, None);
    let note = async |held, step| store.note_last_step(held, file, step).await.unwrap();
    assert!(note(held, Some("one")).await);
    assert_eq!(noted().await.as_deref(), Some("one"));
    assert!(note(held, None).await);
    assert_eq!(noted().await, None);

    assert!(note(held, Some("two")).await);
    let failed = |is_unsettled| crate::flow::FileFailed {
        is_unsettled,
        ..not_moved(file, FlowFileState::Failed, "cut off", 9_820, 9_821)
    };
    for (is_unsettled, kept) in [(true, Some("two")), (false, None)] {
        let told = store.fail_file(held, &failed(is_unsettled), None).await;
        told.unwrap().unwrap();
        assert_eq!(noted().await.as_deref(), kept);
    }
    assert!(note(held, Some("three")).await);
    assert!(
        store
            .finish_file(held, &done(file, "x", true))
            .await
            .unwrap()
    );
    assert_eq!(noted().await, None);

    let other = claim(store, &THERE, 9_820 + LEASE_S, 10).await;
    let other = other.iter().find(|other| other.id == run.id).unwrap();
    assert!(!note(held, Some("late")).await);
    store
        .end_run(other.token(), &end(RunState::Done, None, 9_831))
        .await
        .unwrap()
        .unwrap();
}

/// A file of ours is the partner's: ledger, journal and flow say so at once, or not at all.
pub(super) async fn a_file_that_is_delivered(store: &Store) {
    let (_, account, home) = household(store, "deliveries").await;
    let flow = definition("deliveries");
    write(store, &flow, None).await;
    let run = run_of(store, &flow, 9_840).await;
    let held = run.token();
    let stored = ledger::stored(store, home, account, "/out/x", time(9_840)).await;
    let ids = store.plan_files(held, &[found("x", 1)]).await;
    let file = ids.unwrap().unwrap()[0];
    let late = RunToken {
        token: held.token - 1,
        ..held
    };
    for (held, is_done) in [(late, false), (held, true)] {
        let (done, entry) = (done(file, "x", true), entry("outbound.upload"));
        let told = store
            .finish_delivery(held, &done, stored, time(9_841), &entry)
            .await;
        assert_eq!(told.unwrap(), is_done);
        let view = store.list_files(home, &path("/out/x"), FileId(0), 10).await;
        let collected_at = view.unwrap()[0].collected_at;
        assert_eq!(collected_at, is_done.then_some(time(9_841)));
        let known = store.known_keys(&flow.name, &[name_key("x")]).await;
        assert_eq!(known.unwrap(), [is_done]);
        assert_eq!(open(store, &flow).await.is_empty(), is_done);
        let filter = JournalFilter {
            kind: Some(JournalKind::Admin),
            limit: MAX_JOURNAL_PAGE,
            ..JournalFilter::default()
        };
        let told = store.journal_page(&filter).await.unwrap();
        let told = told
            .iter()
            .filter(|entry| entry.action == "outbound.upload");
        assert_eq!(told.count(), usize::from(is_done));
    }
    store
        .end_run(held, &end(RunState::Done, None, 9_842))
        .await
        .unwrap()
        .unwrap();
}
