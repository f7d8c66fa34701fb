//! Operators, and what they hold.

use layover_retention::{
    DueCursor, FileTimes, PolicySource, RetentionPolicy, Timestamp, expires_at,
};

use super::ledger::{publication, receiving, removal, row_at, staging, stored};
use super::rules::{expiry, file, rename, rename_folder};
use super::{HERE, entry, household, keep, path, rule, time};
use crate::account::AccountChange;
use crate::hold::{Approving, Hold, HoldId, HoldScope, HoldState, NewHold, Signed};
use crate::journal::{JournalFilter, JournalKind};
use crate::ledger::{Adoption, Claimed, Collector, FileState, FoundFile, MoveClaim, RemovalCause};
use crate::operator::Operator;
use crate::store::Store;
use crate::vfs::Identity;
use crate::{FileId, HomeId, HomeName};

fn operator(name: &str, fingerprint: &str) -> Operator {
    Operator {
        name: name.parse().unwrap(),
        fingerprint: fingerprint.to_owned(),
        public_key: format!("ssh-ed25519 {fingerprint}"),
        added_at: time(1),
    }
}

async fn add(store: &Store, name: &str, fingerprint: &str) -> Option<()> {
    let operator = operator(name, fingerprint);
    let note = entry("operator.add");
    store.add_operator(&operator, &note).await.unwrap()
}

pub(super) async fn operators(store: &Store) {
    assert_eq!(add(store, "bob", "SHA256:b").await, Some(()));
    assert_eq!(add(store, "ann", "SHA256:a").await, Some(()));
    assert_eq!(
        add(store, "ann", "SHA256:c").await,
        None,
        "the name is taken"
    );
    assert_eq!(
        add(store, "eve", "SHA256:a").await,
        None,
        "the key is taken"
    );
    let listed = store.operators().await.unwrap();
    let expected = [operator("ann", "SHA256:a"), operator("bob", "SHA256:b")];
    assert_eq!(listed, expected);
    let (bob, note) = ("bob".parse().unwrap(), entry("operator.remove"));
    for removed in [Some(()), None] {
        let answer = store.remove_operator(&bob, time(2), &note).await;
        assert_eq!(answer.unwrap(), removed);
    }
    assert_eq!(add(store, "bob", "SHA256:b").await, Some(()), "back again");
    assert_eq!(store.operators().await.unwrap(), expected);
}

async fn propose(store: &Store, home: HomeId, name: &str, of: Option<&str>, until: i64) -> HoldId {
    let file = match of {
        Some(of) => Some(file(store, home, of).await.id),
        None => None,
    };
    let home_name: HomeName = "any".parse().unwrap();
    let new = NewHold {
        home,
        home_name,
        scope: match (file, name) {
            (Some(_), _) => HoldScope::File,
            (None, "/") => HoldScope::Account,
            _ => HoldScope::Folder,
        },
        path: path(name),
        file,
        reason: "case 7".to_owned(),
        until: time(until),
        now: time(1000),
    };
    store.propose_hold(&new, &entry("hold.add")).await.unwrap()
}

fn signed(operator: &str, second: i64) -> Signed {
    Signed {
        operator: operator.to_owned(),
        fingerprint: format!("SHA256:{}", operator.chars().next().unwrap()),
        signature: "signature".to_owned(),
        now: time(second),
    }
}

async fn approve(store: &Store, hold: HoldId, operator: &str, second: i64) -> Approving {
    let (signed, note) = (signed(operator, second), entry("hold.approve"));
    let approving = store.approve_hold(hold, &signed, rule(), &note).await;
    approving.unwrap()
}

/// Signed by both.
async fn activate(store: &Store, hold: HoldId, second: i64) -> Approving {
    assert_eq!(approve(store, hold, "ann", second).await, Approving::Noted);
    approve(store, hold, "bob", second).await
}

async fn release(store: &Store, hold: HoldId, second: i64) -> Option<u64> {
    let (signed, note) = (signed("ann", second), entry("hold.release"));
    let released = store.release_hold(hold, &signed, "settled", rule(), &note);
    released.await.unwrap()
}

async fn hold(store: &Store, id: HoldId) -> Hold {
    let mut holds = store.holds(Some(id), None).await.unwrap();
    assert_eq!(holds.len(), 1);
    holds.remove(0)
}

async fn is_due(store: &Store, file: FileId, now: i64) -> bool {
    let mut after: Option<DueCursor> = None;
    loop {
        let page = store.due(time(now), after, 100).await.unwrap();
        if page.iter().any(|due| due.row.id == file) {
            return true;
        }
        match page.last() {
            Some(last) => after = Some(last.cursor),
            None => return false,
        }
    }
}

async fn at(store: &Store, home: HomeId, name: &str) -> Timestamp {
    expiry(store, home, name).await.0
}

pub(super) async fn a_hold_from_its_proposal_to_its_release(store: &Store) {
    let (_, account, home) = household(store, "held").await;
    let (_, neighbour, other_home) = household(store, "unheld").await;
    for name in ["/in/a", "/in/deep/b", "/c"] {
        stored(store, home, account, name, time(1000)).await;
    }
    stored(store, home, account, "/in/due", time(900)).await;
    stored(store, other_home, neighbour, "/in/a", time(1000)).await;
    let id = propose(store, home, "/in", None, 5000).await;
    let proposed = hold(store, id).await;
    assert!(
        proposed
            .statement
            .starts_with(&format!("layover hold {id}\n"))
    );
    assert_eq!((proposed.state, proposed.files), (HoldState::Proposed, 0));
    assert_eq!(store.open_holds(home).await.unwrap(), 1);
    let within = async |folder: &str| {
        let folder = folder.parse().unwrap();
        store.hold_within(home, &folder).await.unwrap()
    };
    assert_eq!(within("/in").await, None, "it holds nothing yet");
    assert_eq!(approve(store, id, "ann", 1001).await, Approving::Noted);
    assert_eq!(approve(store, id, "ann", 1001).await, Approving::Twice);
    assert_eq!(
        approve(store, id, "eve", 1001).await,
        Approving::Over,
        "nobody"
    );
    assert_eq!(
        at(store, home, "/in/a").await,
        time(1100),
        "one is not enough"
    );
    // A file that is being replaced or removed cannot be promised to stay.
    let row = row_at(store, home, "/in/a").await;
    let claim = removal(home, &row, RemovalCause::Account, time(1001));
    assert_eq!(store.claim_removal(&claim).await.unwrap(), Claimed::Yes);
    assert_eq!(approve(store, id, "bob", 1001).await, Approving::Busy);
    store.undo_removal(home, row.id, &row.path).await.unwrap();
    let upload = receiving(store, home, account, "/in/a").await;
    let plan = staging(home, upload, "/in/a");
    assert_eq!(store.stage(&plan).await.unwrap(), Claimed::Yes);
    assert_eq!(approve(store, id, "bob", 1001).await, Approving::Busy);
    store
        .unstage(&plan, FileState::Partial, None)
        .await
        .unwrap();
    let active = approve(store, id, "bob", 1001).await;
    assert_eq!(active, Approving::Active { files: 2 });
    assert_eq!(approve(store, id, "bob", 1001).await, Approving::Over);
    let found = hold(store, id).await;
    assert_eq!(
        (found.state, found.active_at),
        (HoldState::Active, Some(time(1001)))
    );
    let operators: Vec<_> = found
        .approvals
        .iter()
        .map(|by| by.operator.as_str())
        .collect();
    assert_eq!((operators, found.files), (vec!["ann", "bob"], 2));
    assert_eq!(store.holds(None, Some(other_home)).await.unwrap(), []);
    for (folder, until) in [("/in", Some(5000)), ("/in/deep", None), ("/inner", None)] {
        assert_eq!(within(folder).await, until.map(time), "{folder}");
    }

    for name in ["/in/a", "/in/deep/b"] {
        assert_eq!(at(store, home, name).await, time(5000), "{name}");
    }
    assert_eq!(at(store, home, "/c").await, time(1100));
    assert_eq!(at(store, other_home, "/in/a").await, time(1100));
    assert_eq!(
        at(store, home, "/in/due").await,
        time(1000),
        "what was due is not brought back"
    );
    let row = row_at(store, home, "/in/deep/b").await;
    assert_eq!(row.held(time(4999)), Some(time(5000)));
    assert_eq!(row.held(time(5000)), None);
    assert!(!is_due(store, row.id, 4999).await);
    let claim = removal(home, &row, RemovalCause::Account, time(4999));
    assert_eq!(store.claim_removal(&claim).await.unwrap(), Claimed::Changed);
    // What would replace it is refused before anything happens on disk.
    let upload = receiving(store, home, account, "/in/deep/b").await;
    let plan = staging(home, upload, "/in/deep/b");
    assert!(!store.stage_at_once(&plan).await.unwrap());
    assert_eq!(store.stage(&plan).await.unwrap(), Claimed::Held);
    let over_it = MoveClaim {
        home,
        file: file(store, home, "/c").await.id,
        identity: Identity {
            inode: 1,
            born_us: 1,
        },
        from: path("/c"),
        to: path("/in/deep/b"),
        node: HERE.id(),
        now: time(1002),
    };
    assert_eq!(store.claim_move(&over_it).await.unwrap(), Claimed::Changed);
    // A new file comes under it, at once or not.
    let grounds = store.grounds_now(account).await.unwrap();
    let upload = receiving(store, home, account, "/in/new").await;
    let plan = staging(home, upload, "/in/new");
    assert!(store.stage_at_once(&plan).await.unwrap());
    let publishing = publication(home, upload, account, "/in/new");
    assert!(store.publish_at_once(&publishing, &grounds).await.unwrap());
    stored(store, home, account, "/in/newer", time(1003)).await;
    let adoption = Adoption {
        home,
        files: vec![FoundFile {
            path: path("/in/dropped"),
            size_bytes: 1,
            identity: Identity {
                inode: 99,
                born_us: 1,
            },
            entry: entry("adopt"),
        }],
        appliance: rule(),
        node: HERE.id(),
        now: time(1004),
    };
    assert_eq!(store.adopt(&adoption).await.unwrap(), [true]);
    for name in ["/in/new", "/in/newer", "/in/dropped"] {
        assert_eq!(at(store, home, name).await, time(5000), "{name}");
    }
    assert_eq!(hold(store, id).await.files, 5);

    assert_eq!(release(store, id, 1200).await, Some(5));
    assert_eq!(release(store, id, 1200).await, None);
    let released = hold(store, id).await;
    assert_eq!(released.state, HoldState::Released);
    assert_eq!(released.released_why.as_deref(), Some("settled"));
    assert_eq!(at(store, home, "/in/a").await, time(1100));
    assert!(is_due(store, row.id, 1200).await, "its rule holds again");
    assert_eq!(store.open_holds(home).await.unwrap(), 0);
    stored(store, home, account, "/in/last", time(1201)).await;
    assert_eq!(at(store, home, "/in/last").await, time(1301));
}

pub(super) async fn holds_and_names(store: &Store) {
    let (entity, account, home) = household(store, "held-names").await;
    for name in ["/a/x", "/b", "/c"] {
        stored(store, home, account, name, time(1000)).await;
    }
    let of_file = propose(store, home, "/b", Some("/b"), 3000).await;
    let active = activate(store, of_file, 1001).await;
    assert_eq!(active, Approving::Active { files: 1 });
    let of_folder = propose(store, home, "/safe", None, 4000).await;
    let active = activate(store, of_folder, 1001).await;
    assert_eq!(active, Approving::Active { files: 0 });
    // The hold goes along with the file, and what comes into the folder is held.
    rename(store, home, "/b", "/elsewhere").await;
    assert_eq!(at(store, home, "/elsewhere").await, time(3000));
    stored(store, home, account, "/b", time(1002)).await;
    assert_eq!(
        at(store, home, "/b").await,
        time(1102),
        "another file of the name"
    );
    rename(store, home, "/c", "/safe/c").await;
    assert_eq!(at(store, home, "/safe/c").await, time(4000));
    rename_folder(store, home, "/a", "/safe/a").await;
    assert_eq!(at(store, home, "/safe/a/x").await, time(4000));
    rename_folder(store, home, "/safe", "/out").await;
    assert_eq!(at(store, home, "/out/a/x").await, time(4000));
    rename(store, home, "/elsewhere", "/safe/e").await;
    assert_eq!(at(store, home, "/safe/e").await, time(4000), "under both");
    assert_eq!(release(store, of_folder, 1003).await, Some(3));
    assert_eq!(
        at(store, home, "/safe/e").await,
        time(3000),
        "under the other one yet"
    );
    assert_eq!(at(store, home, "/out/c").await, time(1100));
    // Neither a changed rule nor the end of the account frees it.
    let note = entry("gone");
    let shorter = Some(keep(10));
    let moved = store.set_entity_keep(entity, shorter, rule(), &note).await;
    assert_eq!(moved.unwrap(), 3);
    let removed = store
        .remove_account(account, time(1004), rule(), &note)
        .await;
    removed.unwrap().unwrap();
    assert_eq!(at(store, home, "/safe/e").await, time(3000));
    let refused = store.remove_entity(entity, &note).await.unwrap();
    assert_eq!(refused, None);
}

pub(super) async fn holds_that_end(store: &Store) {
    let (entity, account, home) = household(store, "ending").await;
    let file = stored(store, home, account, "/a", time(1000)).await;
    let whole = propose(store, home, "/", None, 2000).await;
    let lapsed = propose(store, home, "/a", None, 1500).await;
    assert_eq!(
        activate(store, whole, 1001).await,
        Approving::Active { files: 1 }
    );
    assert_eq!(approve(store, lapsed, "ann", 1001).await, Approving::Noted);
    assert_eq!(
        approve(store, lapsed, "bob", 1500).await,
        Approving::Over,
        "too late"
    );
    // Who is an operator no more has approved nothing.
    let shaken = propose(store, home, "/a", None, 1600).await;
    assert_eq!(approve(store, shaken, "ann", 1001).await, Approving::Noted);
    let (ann, note) = ("ann".parse().unwrap(), entry("operator.remove"));
    let removed = store.remove_operator(&ann, time(1002), &note).await;
    removed.unwrap().unwrap();
    assert_eq!(approve(store, shaken, "bob", 1003).await, Approving::Noted);
    assert_eq!(add(store, "ann", "SHA256:a").await, Some(()));

    assert_eq!(at(store, home, "/a").await, time(2000));
    let here = HERE.id();
    assert_eq!(store.end_holds(&here, time(1400)).await.unwrap(), 0);
    assert_eq!(
        store.end_holds(&here, time(1999)).await.unwrap(),
        2,
        "the proposals"
    );
    assert!(!is_due(store, file, 1999).await);
    assert!(is_due(store, file, 2000).await);
    assert_eq!(store.end_holds(&here, time(2000)).await.unwrap(), 1);
    assert_eq!(store.end_holds(&here, time(2000)).await.unwrap(), 0);
    assert_eq!(hold(store, whole).await.state, HoldState::Ended);
    assert_eq!(release(store, whole, 2001).await, None);
    let filter = JournalFilter {
        kind: Some(JournalKind::Retention),
        limit: 1000,
        ..JournalFilter::default()
    };
    let entries = store.journal_page(&filter).await.unwrap();
    let ends = entries.iter().filter(|entry| entry.action == "hold.end");
    assert_eq!(
        ends.filter(|entry| entry.detail["hold"] == whole.0).count(),
        1
    );
    // With everything gone, the entity can go as well.
    let row = row_at(store, home, "/a").await;
    let claim = removal(home, &row, RemovalCause::Due, time(2000));
    assert_eq!(store.claim_removal(&claim).await.unwrap(), Claimed::Yes);
    let expired = crate::ledger::EndedBy::Expired;
    let finished = store.finish_removal(&row, expired, time(2001), &note).await;
    finished.unwrap();
    let removed = store
        .remove_account(account, time(2002), rule(), &note)
        .await;
    removed.unwrap().unwrap();
    let removed = store.remove_entity(entity, &note).await.unwrap();
    assert_eq!(removed, Some(()));
}

/// `layover_retention::expires_at` decides; for many files at once the database does.
pub(super) async fn the_database_computes_what_the_policy_says(store: &Store) {
    let (_, account, home) = household(store, "computed").await;
    let note = entry("any");
    let mut files = Vec::new();
    for (number, collected) in [None, Some(1005), Some(1060), Some(1095)]
        .into_iter()
        .enumerate()
    {
        for (other, held) in [None, Some(1030), Some(1080), Some(1700)]
            .into_iter()
            .enumerate()
        {
            let name = format!("/{number}-{other}");
            let id = stored(store, home, account, &name, time(1000)).await;
            if let Some(until) = held {
                let hold = propose(store, home, &name, Some(&name), until).await;
                let active = activate(store, hold, 1001).await;
                assert_eq!(active, Approving::Active { files: 1 });
            }
            if let Some(second) = collected {
                let end = store.end_download(
                    Some((id, Collector::Account(account))),
                    time(second),
                    &note,
                );
                assert!(end.await.unwrap());
            }
            let times = FileTimes {
                arrived_at: time(1000),
                collected_at: collected.map(time),
                held_until: held.map(time),
            };
            files.push((name, times));
        }
    }
    for keep_s in [10, 70, 100, 900] {
        for collected_s in [None, Some(3), Some(50), Some(800)] {
            let change = AccountChange {
                keep: Some(Some(keep(keep_s))),
                collected_keep: Some(collected_s.map(keep)),
                ..AccountChange::default()
            };
            let changed = store.change_account(account, &change, rule(), &note).await;
            changed.unwrap();
            let policy = RetentionPolicy {
                keep: keep(keep_s),
                source: PolicySource::Account,
                collected_keep: collected_s.map(keep),
            };
            for (name, times) in &files {
                let expected = expires_at(times, &policy);
                assert_eq!(
                    at(store, home, name).await,
                    expected,
                    "{times:?} {policy:?}"
                );
            }
        }
    }
}
