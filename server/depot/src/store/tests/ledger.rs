//! The ledger: every transaction of an upload, a move, a removal, and what
//! recovery asks for.

use layover_retention::{DueCursor, Timestamp};

use super::{HERE, THERE, entry, household, path, rule, time};
use crate::journal::{JournalFilter, NewEntry};
use crate::ledger::{
    Adoption, CertificateGrounds, ClaimKind, Claimed, Collector, EndedBy, FileRow, FileState,
    FoundFile, FreshStaging, MoveClaim, NewUpload, Publication, RemovalCause, RemovalClaim,
    RemovalEnd, Staging, TreeClaim, Wishes,
};
use crate::rules::Grounds;
use crate::store::Store;
use crate::store::certified::certificate;
use crate::vfs::{HiddenName, Identity};
use crate::{AccountId, FileId, HomeId};

const CONTENT_BYTES: u64 = 7;

fn identity(file: FileId) -> Identity {
    Identity {
        inode: file.0,
        born_us: 1,
    }
}

pub(super) fn note() -> NewEntry {
    entry("file")
}

pub(super) async fn receiving(
    store: &Store,
    home: HomeId,
    account: AccountId,
    name: &str,
) -> FileId {
    let upload = NewUpload {
        home,
        path: path(name),
        account,
        hidden: HiddenName::fresh().unwrap(),
        inherited_arrival: None,
        node: HERE.id(),
        now: time(400),
    };
    store.begin_upload(&upload).await.unwrap()
}

pub(super) fn staging(home: HomeId, file: FileId, name: &str) -> Staging {
    Staging {
        file,
        home,
        from: path(name),
        to: path(name),
        size_bytes: CONTENT_BYTES,
        identity: identity(file),
        quota_bytes: None,
        node: HERE.id(),
        now: time(401),
        landing: None,
    }
}

pub(super) fn publication(
    home: HomeId,
    file: FileId,
    account: AccountId,
    name: &str,
) -> Publication {
    Publication {
        file,
        home,
        path: path(name),
        account,
        arrived_at: time(402),
        appliance: rule(),
        now: time(402),
        entry: note(),
        landed: None,
    }
}

/// A published file.
pub(super) async fn stored(
    store: &Store,
    home: HomeId,
    account: AccountId,
    name: &str,
    arrived_at: Timestamp,
) -> FileId {
    let file = receiving(store, home, account, name).await;
    assert_eq!(
        store.stage(&staging(home, file, name)).await.unwrap(),
        Claimed::Yes
    );
    let publication = Publication {
        arrived_at,
        ..publication(home, file, account, name)
    };
    store.publish(&publication).await.unwrap().unwrap();
    file
}

pub(super) async fn row_at(store: &Store, home: HomeId, name: &str) -> FileRow {
    let mut rows = store.rows_at(home, &path(name)).await.unwrap();
    assert_eq!(rows.len(), 1, "{rows:?}");
    rows.remove(0)
}

pub(super) fn removal(
    home: HomeId,
    row: &FileRow,
    cause: RemovalCause,
    now: Timestamp,
) -> RemovalClaim {
    RemovalClaim {
        home,
        file: row.id,
        path: row.path.clone(),
        identity: row.identity.unwrap(),
        hidden: HiddenName::fresh().unwrap(),
        cause,
        node: HERE.id(),
        now,
    }
}

/// Takes a stored file away.
pub(super) async fn remove(store: &Store, home: HomeId, name: &str, now: Timestamp) {
    let row = row_at(store, home, name).await;
    let claim = removal(home, &row, RemovalCause::Account, now);
    assert_eq!(store.claim_removal(&claim).await.unwrap(), Claimed::Yes);
    store
        .finish_removal(&row, EndedBy::Removed, now, &note())
        .await
        .unwrap();
}

async fn used(store: &Store, home: HomeId) -> u64 {
    store.usage(home).await.unwrap().used_bytes
}

pub(super) async fn an_upload_published_at_once(store: &Store) {
    let (_, account, home) = household(store, "hasty").await;
    let file = receiving(store, home, account, "/x").await;
    let mut plan = staging(home, file, "/x");
    plan.quota_bytes = Some(CONTENT_BYTES - 1);
    assert!(!store.stage_at_once(&plan).await.unwrap());
    assert_eq!(used(store, home).await, 0, "a refused claim leaves nothing");
    plan.quota_bytes = Some(CONTENT_BYTES);
    assert!(store.stage_at_once(&plan).await.unwrap());
    assert!(!store.stage_at_once(&plan).await.unwrap(), "claimed");
    assert_eq!(used(store, home).await, CONTENT_BYTES);

    let grounds = store.grounds_now(account).await.unwrap();
    let wishes = grounds.wishes;
    let first = publication(home, file, account, "/x");
    for others in [
        Wishes {
            account_s: Some(77),
            ..wishes
        },
        Wishes {
            collected_s: Some(77),
            ..wishes
        },
        Wishes {
            rules_version: 1,
            ..wishes
        },
    ] {
        let others = Grounds {
            wishes: others,
            ..grounds.clone()
        };
        assert!(!store.publish_at_once(&first, &others).await.unwrap());
        assert_eq!(
            store.row(file).await.unwrap().unwrap().state,
            FileState::Publishing,
            "the rules have changed meanwhile"
        );
    }
    assert!(store.publish_at_once(&first, &grounds).await.unwrap());
    assert!(
        !store.publish_at_once(&first, &grounds).await.unwrap(),
        "somebody else settled it"
    );
    let row = row_at(store, home, "/x").await;
    assert_eq!(row.state, FileState::Stored);
    assert_eq!(row.expires_at, Some(first.rule(&grounds).expires_at));

    // A file that is to be replaced has an entry of its own: not at once.
    let file = receiving(store, home, account, "/x").await;
    plan.file = file;
    assert!(store.stage_at_once(&plan).await.unwrap());
    let second = publication(home, file, account, "/x");
    assert!(!store.publish_at_once(&second, &grounds).await.unwrap());
    assert!(store.publish(&second).await.unwrap().is_some());
    assert_eq!(row_at(store, home, "/x").await.id, file);
    assert_eq!(used(store, home).await, CONTENT_BYTES);
}

pub(super) async fn an_upload_that_gets_its_row_with_its_name(store: &Store) {
    let (_, account, home) = household(store, "brief").await;
    let upload = |name: &str| NewUpload {
        home,
        path: path(name),
        account,
        hidden: HiddenName::fresh().unwrap(),
        inherited_arrival: Some(time(7)),
        node: HERE.id(),
        now: time(400),
    };
    let first = upload("/x");
    let mut plan = FreshStaging {
        upload: &first,
        size_bytes: CONTENT_BYTES,
        identity: identity(FileId(1)),
        quota_bytes: Some(CONTENT_BYTES - 1),
        now: time(401),
        landing: None,
    };
    assert_eq!(store.stage_fresh(&plan).await.unwrap(), None, "no room");
    assert_eq!(used(store, home).await, 0);
    assert!(!store.hidden_is_known(&first.hidden).await.unwrap());
    plan.quota_bytes = Some(CONTENT_BYTES);
    let file = store.stage_fresh(&plan).await.unwrap().unwrap();
    let row = store.row(file).await.unwrap().unwrap();
    assert_eq!((row.state, row.path), (FileState::Publishing, path("/x")));
    assert_eq!(
        (row.size_bytes, row.hidden),
        (CONTENT_BYTES, Some(first.hidden.clone()))
    );
    assert_eq!(row.identity, Some(plan.identity));
    assert_eq!(row.inherited_arrival, Some(time(7)));
    assert_eq!(row.uploaded_by, Some(account));
    assert_eq!(row.touched_at, time(401));
    assert_eq!(used(store, home).await, CONTENT_BYTES);
    let claims = store.abandoned_claims(&HERE.id(), time(899)).await.unwrap();
    let ours: Vec<_> = claims.iter().filter(|claim| claim.home == home).collect();
    assert_eq!(ours.len(), 1);
    assert_eq!(ours[0].file, Some(file));

    // The name is claimed.
    let second = upload("/x");
    let other = FreshStaging {
        upload: &second,
        quota_bytes: None,
        ..plan
    };
    assert_eq!(store.stage_fresh(&other).await.unwrap(), None);
    assert!(!store.hidden_is_known(&second.hidden).await.unwrap());
    assert_eq!(used(store, home).await, CONTENT_BYTES);

    let grounds = store.grounds_now(account).await.unwrap();
    let stored = publication(home, file, account, "/x");
    assert!(store.publish_at_once(&stored, &grounds).await.unwrap());
    assert_eq!(row_at(store, home, "/x").await.id, file);
    // Released: the next one may have the name, and takes no more room.
    let third = FreshStaging {
        quota_bytes: Some(CONTENT_BYTES),
        ..other
    };
    let next = store.stage_fresh(&third).await.unwrap().unwrap();
    assert_ne!(next, file);
    let publication = publication(home, next, account, "/x");
    assert!(store.publish(&publication).await.unwrap().is_some());
    assert_eq!(used(store, home).await, CONTENT_BYTES);
}

pub(super) async fn an_upload_from_its_beginning_to_its_end(store: &Store) {
    let (_, account, home) = household(store, "uploader").await;
    assert_eq!(store.home_name(home).await.unwrap().as_str(), "uploader");
    assert!(
        store
            .all_homes()
            .await
            .unwrap()
            .iter()
            .any(|(id, _)| *id == home)
    );

    // Parked, resumed by one of two, published.
    let file = receiving(store, home, account, "/in/x").await;
    store
        .park_upload(file, FileState::Partial, 5, time(410), Some(&note()))
        .await
        .unwrap();
    assert_eq!(store.usage(home).await.unwrap().hidden_bytes, 5);
    let stale = store.stale_uploads(time(410), 10).await.unwrap();
    assert_eq!(stale.iter().map(|row| row.id).collect::<Vec<_>>(), [file]);
    assert_eq!(store.stale_uploads(time(409), 10).await.unwrap().len(), 0);
    assert!(
        store
            .resume_upload(file, &HERE.id(), time(411))
            .await
            .unwrap()
    );
    assert!(
        !store
            .resume_upload(file, &THERE.id(), time(411))
            .await
            .unwrap()
    );
    for (node, is_its) in [(HERE.id(), true), (THERE.id(), false)] {
        let asked = store.still_receiving(file, &node, time(411)).await;
        assert_eq!(asked.unwrap(), is_its, "{node}");
    }

    // Of two copies made into it the older one counts.
    for copied in [time(300), time(200), time(250)] {
        store.inherit_arrival(file, copied).await.unwrap();
    }
    let row = store.row(file).await.unwrap().unwrap();
    assert_eq!(row.inherited_arrival, Some(time(200)));

    let mut plan = staging(home, file, "/in/x");
    plan.quota_bytes = Some(CONTENT_BYTES - 1);
    assert_eq!(store.stage(&plan).await.unwrap(), Claimed::OverQuota);
    assert_eq!(used(store, home).await, 0, "a refused claim leaves nothing");
    plan.quota_bytes = Some(CONTENT_BYTES);
    assert_eq!(store.stage(&plan).await.unwrap(), Claimed::Yes);
    assert_eq!(used(store, home).await, CONTENT_BYTES);
    store
        .unstage(&plan, FileState::Receiving, None)
        .await
        .unwrap();
    assert_eq!(used(store, home).await, 0);
    assert_eq!(store.stage(&plan).await.unwrap(), Claimed::Yes);
    let expires_at = store
        .publish(&publication(home, file, account, "/in/x"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(expires_at, time(502));
    let twice = store
        .publish(&publication(home, file, account, "/in/x"))
        .await
        .unwrap();
    assert_eq!(twice, None, "somebody else settled it");
    let row = store.row(file).await.unwrap().unwrap();
    assert_eq!(
        (row.state, row.expires_at),
        (FileState::Stored, Some(expires_at))
    );
    assert_eq!(store.rows_in(home, &path("/in")).await.unwrap().len(), 1);
    assert_eq!(store.rows_in(home, &path("/")).await.unwrap().len(), 0);
    for (after, last, found) in [
        (&b""[..], None, 1),
        (b"w", Some(&b"x"[..]), 1),
        (b"x", None, 0),
        (b"", Some(b"w\xff"), 0),
    ] {
        let rows = store
            .published_between(home, &path("/in"), after, last)
            .await;
        assert_eq!(rows.unwrap().len(), found, "{after:?} {last:?}");
    }

    // A second upload of the name replaces it, and its share of the quota.
    let second = stored(store, home, account, "/in/x", time(450)).await;
    assert!(store.row(file).await.unwrap().is_none());
    assert_eq!(used(store, home).await, CONTENT_BYTES);

    let collected = Some((second, Collector::Account(account)));
    store
        .end_download(collected, time(460), &note())
        .await
        .unwrap();
    store
        .end_download(collected, time(470), &note())
        .await
        .unwrap();
    let view = store
        .list_files(home, &path("/in/x"), FileId(0), 10)
        .await
        .unwrap();
    assert_eq!(view.len(), 1);
    assert_eq!(
        view[0].collected_at,
        Some(time(460)),
        "the first collection counts"
    );
    assert_eq!(view[0].collected_by.as_ref().unwrap().as_str(), "uploader");
    assert_eq!(
        store
            .list_files(home, &path("/i"), FileId(0), 10)
            .await
            .unwrap(),
        []
    );
    assert_eq!(
        store
            .list_files(home, &path("/"), second, 10)
            .await
            .unwrap(),
        []
    );

    // Due at 550, not before; taken away once.
    assert_eq!(store.due(time(549), None, 10).await.unwrap().len(), 0);
    let due = store.due(time(550), None, 10).await.unwrap();
    assert_eq!(due.len(), 1);
    assert_eq!(due[0].home_name.as_str(), "uploader");
    assert_eq!(
        due[0].cursor,
        DueCursor {
            expires_at: time(550),
            file_id: second.0
        }
    );
    assert_eq!(
        store
            .due(time(550), Some(due[0].cursor), 10)
            .await
            .unwrap()
            .len(),
        0
    );
    let status = store.retention_status(time(560)).await.unwrap();
    assert_eq!((status.due_files, status.oldest_overdue_s), (1, 10));
    let figures = store.ledger_figures(time(560)).await.unwrap();
    assert_eq!(
        (figures.due_files, figures.first_expiry),
        (1, Some(time(550)))
    );
    assert_eq!(figures.held_files, status.held_files);
    let stored = store.count_stored().await.unwrap();
    assert_eq!(stored, status.stored_files);
    let row = due[0].row.clone();
    let early = removal(home, &row, RemovalCause::Due, time(549));
    assert_eq!(store.claim_removal(&early).await.unwrap(), Claimed::Changed);
    assert!(!store.claim_removal_at_once(&early).await.unwrap());
    let claim = removal(home, &row, RemovalCause::Due, time(550));
    assert!(store.claim_removal_at_once(&claim).await.unwrap());
    assert!(!store.claim_removal_at_once(&claim).await.unwrap());
    assert_eq!(store.claim_removal(&claim).await.unwrap(), Claimed::Busy);
    assert!(store.hidden_is_known(&claim.hidden).await.unwrap());
    store.undo_removal(home, row.id, &row.path).await.unwrap();
    assert_eq!(row_at(store, home, "/in/x").await.state, FileState::Stored);
    assert_eq!(store.claim_removal(&claim).await.unwrap(), Claimed::Yes);
    let entry = note();
    let mut end = RemovalEnd {
        row: &row,
        grounds: &CertificateGrounds {
            rule: Some("other".to_owned()),
            ..due[0].grounds.clone()
        },
        ended_by: EndedBy::Expired,
        now: time(551),
        entry: &entry,
        certificate: None,
    };
    // Of a row that says something else nothing is certified.
    assert!(!store.finish_removal_at_once(&end).await.unwrap());
    let hashed = CertificateGrounds {
        sha256: Some(vec![1; 32]),
        ..due[0].grounds.clone()
    };
    end.grounds = &hashed;
    assert!(!store.finish_removal_at_once(&end).await.unwrap());
    end.grounds = &due[0].grounds;
    let said = certificate(&row, end.grounds, end.ended_by, &HERE.id(), end.now);
    end.certificate = said.unwrap();
    assert!(store.finish_removal_at_once(&end).await.unwrap());
    assert!(!store.finish_removal_at_once(&end).await.unwrap(), "once");
    for _ in 0..2 {
        store
            .finish_removal(&row, EndedBy::Expired, time(551), &note())
            .await
            .unwrap();
        assert_eq!(used(store, home).await, 0);
    }
    assert!(
        store
            .rows_at(home, &path("/in/x"))
            .await
            .unwrap()
            .is_empty()
    );
}

pub(super) async fn names_that_move(store: &Store) {
    let (_, account, home) = household(store, "mover").await;
    let moved = stored(store, home, account, "/a", time(600)).await;
    let replaced = stored(store, home, account, "/b", time(600)).await;
    let claim = MoveClaim {
        home,
        file: moved,
        identity: identity(moved),
        from: path("/a"),
        to: path("/b"),
        node: HERE.id(),
        now: time(601),
    };
    assert_eq!(store.claim_move(&claim).await.unwrap(), Claimed::Yes);
    assert_eq!(store.claim_move(&claim).await.unwrap(), Claimed::Busy);
    let upload = receiving(store, home, account, "/b").await;
    let meanwhile = store.stage(&staging(home, upload, "/b")).await.unwrap();
    assert_eq!(meanwhile, Claimed::Busy, "the name is claimed");
    store.finish_move(&claim, rule(), &note()).await.unwrap();
    let row = store.row(moved).await.unwrap().unwrap();
    assert_eq!((row.path, row.arrived_at), (path("/b"), Some(time(600))));
    assert!(store.row(replaced).await.unwrap().is_none());
    assert_eq!(used(store, home).await, CONTENT_BYTES);
    assert_eq!(store.claim_move(&claim).await.unwrap(), Claimed::Changed);
    assert!(
        store
            .forget_upload(upload, FileState::Receiving, Some(&note()))
            .await
            .unwrap()
    );
    assert!(
        !store
            .forget_upload(upload, FileState::Receiving, None)
            .await
            .unwrap()
    );
}

pub(super) async fn directories(store: &Store) {
    let (_, account, home) = household(store, "folders").await;
    // "/d0" follows "/d/" in byte order: it must not move along.
    for name in ["/d/x", "/d/sub/longer", "/d0/y"] {
        stored(store, home, account, name, time(700)).await;
    }
    let all = store.stored_dirs(home, None, 10).await.unwrap();
    assert_eq!(all, [path("/d"), path("/d/sub"), path("/d0")]);
    let after = store
        .stored_dirs(home, Some(&path("/d/sub")), 10)
        .await
        .unwrap();
    assert_eq!(after, [path("/d0")]);
    let mut longest = store.longest_paths_below(home, &path("/d")).await.unwrap();
    longest.sort();
    let lengths: Vec<usize> = longest.iter().map(|path| path.as_bytes().len()).collect();
    assert_eq!(lengths, ["/d/sub/longer".len(), "/d/x".len()]);

    let file = store.rows_at(home, &path("/d/x")).await.unwrap()[0].id;
    let tree = TreeClaim {
        home,
        from: path("/d"),
        to: Some(path("/e")),
        identity: identity(file),
        node: HERE.id(),
        now: time(701),
    };
    assert_eq!(store.claim_tree(&tree).await.unwrap(), Claimed::Yes);
    assert_eq!(store.claim_tree(&tree).await.unwrap(), Claimed::Busy);
    let upload = receiving(store, home, account, "/other").await;
    let meanwhile = store.stage(&staging(home, upload, "/other")).await.unwrap();
    assert_eq!(meanwhile, Claimed::Busy, "the whole home is claimed");
    store
        .finish_tree_move(
            home,
            &path("/d"),
            &path("/e"),
            rule(),
            time(700),
            Some(&note()),
        )
        .await
        .unwrap();
    let all = store.stored_dirs(home, None, 10).await.unwrap();
    assert_eq!(all, [path("/d0"), path("/e"), path("/e/sub")]);

    let parked = receiving(store, home, account, "/e/p").await;
    store
        .park_upload(parked, FileState::Partial, 1, time(702), None)
        .await
        .unwrap();
    let hidden = store.row(parked).await.unwrap().unwrap().hidden.unwrap();
    let emptied = TreeClaim {
        from: path("/e"),
        to: None,
        ..tree
    };
    assert_eq!(store.claim_tree(&emptied).await.unwrap(), Claimed::Yes);
    let forgotten = store
        .finish_tree_removal(home, &path("/e"), Some(&note()))
        .await
        .unwrap();
    assert_eq!(forgotten, [hidden]);
}

pub(super) async fn adopted_and_missing_files(store: &Store) {
    let (_, account, home) = household(store, "found").await;
    let adoption = |names: &[&str]| Adoption {
        home,
        files: names
            .iter()
            .map(|name| FoundFile {
                path: path(name),
                size_bytes: CONTENT_BYTES,
                identity: Identity {
                    inode: 4711,
                    born_us: 1,
                },
                entry: note(),
            })
            .collect(),
        appliance: rule(),
        node: HERE.id(),
        now: time(800),
    };
    let one = adoption(&["/dropped"]);
    assert_eq!(store.adopt(&one).await.unwrap(), [true]);
    assert_eq!(store.adopt(&one).await.unwrap(), [false], "it is known");
    assert!(store.adopt(&adoption(&[])).await.unwrap().is_empty());
    let row = row_at(store, home, "/dropped").await;
    assert_eq!((row.uploaded_by, row.expires_at), (None, Some(time(900))));
    assert_eq!(used(store, home).await, CONTENT_BYTES);

    let claim = removal(home, &row, RemovalCause::Account, time(801));
    assert_eq!(store.claim_removal(&claim).await.unwrap(), Claimed::Yes);
    let busy = store.end_missing(&row, time(802), &note()).await.unwrap();
    assert_eq!(busy, Claimed::Busy, "somebody is at it");
    store.undo_removal(home, row.id, &row.path).await.unwrap();
    assert_eq!(
        store.end_missing(&row, time(803), &note()).await.unwrap(),
        Claimed::Yes
    );
    assert_eq!(
        store.end_missing(&row, time(803), &note()).await.unwrap(),
        Claimed::Changed
    );
    assert_eq!(used(store, home).await, 0);
    stored(store, home, account, "/dropped", time(804)).await;
    remove(store, home, "/dropped", time(805)).await;
}

pub(super) async fn files_adopted_at_once(store: &Store) {
    let (_, account, home) = household(store, "many").await;
    stored(store, home, account, "/m/07", time(600)).await;
    let publishing = receiving(store, home, account, "/m/11").await;
    let staged = store.stage(&staging(home, publishing, "/m/11")).await;
    assert_eq!(staged.unwrap(), Claimed::Yes);
    let parked = receiving(store, home, account, "/m/13").await;
    store
        .park_upload(parked, FileState::Partial, 1, time(610), None)
        .await
        .unwrap();
    let before = used(store, home).await;
    let names: Vec<String> = (0..25).map(|number| format!("/m/{number:02}")).collect();
    let found = names.iter().map(|name| FoundFile {
        path: path(name),
        size_bytes: CONTENT_BYTES,
        identity: Identity {
            inode: 4711,
            born_us: 1,
        },
        entry: entry("adopt").path(&path(name)),
    });
    let adoption = Adoption {
        home,
        files: found.collect(),
        appliance: rule(),
        node: HERE.id(),
        now: time(800),
    };
    let taken = store.adopt(&adoption).await.unwrap();
    let refused = taken.iter().zip(&names).filter(|(is_taken, _)| !**is_taken);
    let refused: Vec<&str> = refused.map(|(_, name)| name.as_str()).collect();
    assert_eq!(
        refused,
        ["/m/07", "/m/11"],
        "a partial upload holds no name"
    );
    assert_eq!(used(store, home).await, before + 23 * CONTENT_BYTES);
    let filter = JournalFilter {
        limit: 1_000,
        below: Some(path("/m")),
        ..JournalFilter::default()
    };
    let entries = store.journal_page(&filter).await.unwrap();
    let told = entries.iter().filter(|entry| entry.action == "adopt");
    assert_eq!(told.count(), 23);
    let row = row_at(store, home, "/m/24").await;
    assert_eq!(
        (row.state, row.expires_at),
        (FileState::Stored, Some(time(900)))
    );

    // Nothing under a tree that moves.
    let tree = TreeClaim {
        home,
        from: path("/other"),
        to: Some(path("/away")),
        identity: identity(parked),
        node: HERE.id(),
        now: time(810),
    };
    remove(store, home, "/m/07", time(805)).await;
    store
        .release(home, &[&path("/m/11")], Some(publishing))
        .await
        .unwrap();
    assert_eq!(store.claim_tree(&tree).await.unwrap(), Claimed::Yes);
    let before = used(store, home).await;
    assert!(!store.adopt(&adoption).await.unwrap().contains(&true));
    assert_eq!(used(store, home).await, before);
}

pub(super) async fn unfinished_work_and_claims(store: &Store) {
    let (_, account, home) = household(store, "crashed").await;
    let row = |id| NewUpload {
        home,
        path: path("/c"),
        account,
        hidden: HiddenName::fresh().unwrap(),
        inherited_arrival: Some(time(1)),
        node: id,
        now: time(900),
    };
    let ours = store.begin_upload(&row(HERE.id())).await.unwrap();
    let theirs = store.begin_upload(&row(THERE.id())).await.unwrap();
    store.begin_node(&THERE.id(), time(900)).await.unwrap();
    let found = async |silent_before, after| {
        let rows = store
            .unfinished(&HERE.id(), silent_before, after, 100)
            .await
            .unwrap();
        rows.into_iter()
            .filter(|row| row.home == home)
            .map(|row| row.id)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        found(time(899), FileId(0)).await,
        [ours],
        "the other node is alive"
    );
    assert_eq!(
        found(time(900), FileId(0)).await,
        [ours, theirs],
        "it is silent"
    );
    assert_eq!(found(time(900), ours).await, [theirs]);

    assert_eq!(
        store.stage(&staging(home, ours, "/c")).await.unwrap(),
        Claimed::Yes
    );
    let claims = store.abandoned_claims(&HERE.id(), time(899)).await.unwrap();
    let claim = claims.iter().find(|claim| claim.home == home).unwrap();
    assert_eq!((claim.kind, claim.file), (ClaimKind::Publish, Some(ours)));
    assert_eq!(claim.identity, Some(identity(ours)));
    assert_eq!(claim.to, Some(path("/c")));
    store
        .release(home, &[&path("/c")], Some(theirs))
        .await
        .unwrap();
    assert_eq!(
        store
            .abandoned_claims(&HERE.id(), time(899))
            .await
            .unwrap()
            .len(),
        claims.len()
    );
    store
        .release(home, &[&path("/c")], Some(ours))
        .await
        .unwrap();
    assert_eq!(
        store
            .abandoned_claims(&HERE.id(), time(899))
            .await
            .unwrap()
            .len(),
        claims.len() - 1
    );
    assert_eq!(
        store.recompute_used().await.unwrap(),
        0,
        "every sum was right"
    );
    assert_eq!(used(store, home).await, CONTENT_BYTES);
}
