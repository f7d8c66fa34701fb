//! Adoption: the ledger follows the tree.

use std::sync::Arc;
use std::time::Duration;

use super::{AdoptReport, Adopter};
use crate::holdings::HomeRef;
use crate::holdings::fixture::{DAY, KEEP, World, fetch, names, path, start_time, upload};
use crate::vfs::{HiddenName, Place, Storage};
use crate::{Completion, JournalKind, UploadMode};

fn adopter(world: &World) -> Adopter {
    Adopter::new(Arc::clone(&world.holdings))
}

/// Takes a file out of the tree behind the ledger's back.
fn steal(world: &World, name: &str) {
    let place = Place {
        home: "alice".parse().unwrap(),
        path: path(name),
    };
    let hidden = HiddenName::fresh().unwrap();
    world.storage.hide(&place, &hidden).unwrap();
    world.storage.unlink_hidden(&hidden).unwrap();
}

#[tokio::test]
async fn a_file_found_unchanged_twice_is_adopted_and_its_clock_starts_then() {
    let world = World::new().await;
    let session = world.session("alice").await;
    session.make_dir(&path("/d")).await.unwrap();
    world.storage.drop_in("alice", "/d/found", b"operator's");
    let adopter = adopter(&world);
    let first = adopter.look().await.unwrap();
    assert_eq!((first.seen, first.adopted, first.waiting), (1, 0, 1));
    assert!(names(&session, "/d").await.is_empty());
    world.clock.advance(DAY);
    let second = adopter.look().await.unwrap();
    assert_eq!(
        (second.adopted, second.adopted_bytes, second.waiting),
        (1, 10, 0)
    );
    let info = session.stat(&path("/d/found")).await.unwrap();
    assert_eq!(
        info.expires_at,
        Some(start_time().saturating_add(DAY + KEEP))
    );
    assert_eq!(fetch(&session, "/d/found").await.unwrap(), b"operator's");
    let journal = world.journal(JournalKind::Retention).await;
    assert_eq!(journal[0].action, "adopt");
    world.assert_agreement().await;
    assert_eq!(
        adopter.look().await.unwrap(),
        AdoptReport {
            seen: 1,
            dirs_read: 2,
            full_rounds: 1,
            ..AdoptReport::default()
        }
    );
}

#[tokio::test]
async fn a_file_that_still_grows_is_not_adopted() {
    let world = World::new().await;
    let _session = world.session("alice").await;
    let adopter = adopter(&world);
    for content in [&b"1"[..], b"12", b"123"] {
        world.storage.drop_in("alice", "/growing", content);
        assert_eq!(adopter.look().await.unwrap().adopted, 0);
    }
    assert_eq!(adopter.look().await.unwrap().adopted, 1);
}

#[tokio::test]
async fn a_directory_is_adopted_some_files_at_a_time_and_each_is_checked() {
    let world = World::new().await;
    let _session = world.session("alice").await;
    let mut adopter = adopter(&world);
    adopter.limits.adopted_at_once = 4;
    for number in 0..11 {
        let name = format!("/{number:02}");
        world.storage.drop_in("alice", &name, b"operator's");
    }
    assert_eq!(adopter.look().await.unwrap().waiting, 11);
    world.storage.drop_in("alice", "/05", b"still copied");
    let second = adopter.look().await.unwrap();
    assert_eq!((second.adopted, second.waiting), (10, 1));
    assert_eq!(second.adopted_bytes, 100);
    assert_eq!(adopter.look().await.unwrap().adopted, 1);
    let journal = world.journal(JournalKind::Retention).await;
    assert_eq!(journal.len(), 11);
    world.assert_agreement().await;
}

#[tokio::test]
async fn a_file_that_changes_behind_the_look_is_not_adopted_with_its_neighbours() {
    let world = World::new().await;
    let _session = world.session("alice").await;
    let adopter = adopter(&world);
    for name in ["/a", "/b", "/c"] {
        world.storage.drop_in("alice", name, b"x");
    }
    adopter.look().await.unwrap();
    let homes = world.holdings.store.all_homes().await.unwrap();
    let (id, name) = homes.into_iter().next().unwrap();
    let home = HomeRef { id, name };
    let files = ["/a", "/b", "/c"].map(|name| {
        let place = home.place(&path(name));
        (path(name), world.storage.stat(&place).unwrap())
    });
    world.storage.drop_in("alice", "/b", b"longer");
    steal(&world, "/c");
    let walk = super::Walk {
        adopter: &adopter,
        memory: super::Memory::default(),
        report: AdoptReport::default(),
        until_pause: 100,
        left: 100,
    };
    let adopted = walk.adopt_at_once(&home, &files).await.unwrap();
    assert_eq!(adopted.into_iter().collect::<Vec<_>>(), [path("/a")]);
}

#[tokio::test]
async fn a_missing_file_ends_its_row_and_gives_its_room_back() {
    let world = World::new().await;
    let session = world.session("alice").await;
    upload(&session, "/a", b"x").await.unwrap();
    upload(&session, "/b", b"y").await.unwrap();
    steal(&world, "/a");
    let report = adopter(&world).look().await.unwrap();
    assert_eq!((report.missing, report.adopted), (1, 0));
    assert_eq!(names(&session, "/").await, ["b"]);
    let journal = world.journal(JournalKind::Retention).await;
    assert_eq!((journal.len(), journal[0].action.as_str()), (1, "missing"));
    world.assert_agreement().await;
}

#[tokio::test]
async fn files_of_a_directory_that_is_gone_are_missing_too() {
    let world = World::new().await;
    let session = world.session("alice").await;
    session.make_dir(&path("/d")).await.unwrap();
    upload(&session, "/d/a", b"x").await.unwrap();
    steal(&world, "/d/a");
    let place = Place {
        home: "alice".parse().unwrap(),
        path: path("/d"),
    };
    world.storage.remove_dir(&place).unwrap();
    assert_eq!(adopter(&world).look().await.unwrap().missing, 1);
    world.assert_agreement().await;
}

#[tokio::test]
async fn another_file_under_a_stored_name_is_adopted_as_new() {
    let world = World::new().await;
    let session = world.session("alice").await;
    upload(&session, "/a", b"ours").await.unwrap();
    world.clock.advance(DAY);
    world.storage.drop_in("alice", "/a", b"operator's");
    assert!(session.stat(&path("/a")).await.is_err());
    let adopter = adopter(&world);
    let first = adopter.look().await.unwrap();
    assert_eq!((first.missing, first.waiting), (1, 1));
    assert_eq!(adopter.look().await.unwrap().adopted, 1);
    let info = session.stat(&path("/a")).await.unwrap();
    assert_eq!(
        info.expires_at,
        Some(start_time().saturating_add(DAY + KEEP))
    );
    world.assert_agreement().await;
}

#[tokio::test]
async fn files_of_partners_are_never_adopted() {
    let world = World::new().await;
    let session = world.session("alice").await;
    upload(&session, "/a", b"x").await.unwrap();
    let mode = UploadMode::New { exclusive: false };
    let open = session
        .plan_upload(&path("/b"), mode)
        .await
        .unwrap()
        .begin()
        .await
        .unwrap();
    open.write_at(0, bytes::Bytes::from_static(b"y"))
        .await
        .unwrap();
    let adopter = adopter(&world);
    for _ in 0..3 {
        let report = adopter.look().await.unwrap();
        assert_eq!((report.adopted, report.missing, report.waiting), (0, 0, 0));
    }
    open.finish(Completion::Closed).await.unwrap();
    world.assert_agreement().await;
}

#[tokio::test]
async fn a_home_whose_storage_is_away_loses_nothing() {
    let world = World::new().await;
    world.add_account("never-used", |_| {}).await;
    let report = adopter(&world).look().await.unwrap();
    assert_eq!(
        report,
        AdoptReport {
            full_rounds: 1,
            ..AdoptReport::default()
        }
    );
}

/// An adopter that trusts a directory as soon as two reads agree.
fn trusting(world: &World) -> Adopter {
    let mut adopter = adopter(world);
    adopter.limits.settled_after = Duration::ZERO;
    adopter
}

fn make_dir(world: &World, name: &str) {
    let place = Place {
        home: "alice".parse().unwrap(),
        path: path(name),
    };
    world.storage.make_dir(&place).unwrap();
}

/// `/0` to `/9`, each with three files, all known.
async fn ten_directories(world: &World, adopter: &Adopter) {
    let _session = world.session("alice").await;
    for dir in 0..10 {
        make_dir(world, &format!("/{dir}"));
        for file in 0..3 {
            world
                .storage
                .drop_in("alice", &format!("/{dir}/{file}"), b"x");
        }
    }
    for _ in 0..3 {
        adopter.look().await.unwrap();
    }
}

#[tokio::test]
async fn directories_that_did_not_change_are_not_read() {
    let world = World::new().await;
    let adopter = trusting(&world);
    ten_directories(&world, &adopter).await;
    let idle = adopter.look().await.unwrap();
    assert_eq!(
        idle,
        AdoptReport {
            dirs_unchanged: 11,
            full_rounds: 1,
            ..AdoptReport::default()
        }
    );
    // What changes is found by the next look, and adopted by the one behind it.
    world.storage.drop_in("alice", "/7/new", b"x");
    make_dir(&world, "/7/below");
    world.storage.drop_in("alice", "/7/below/new", b"x");
    steal(&world, "/3/0");
    let found = adopter.look().await.unwrap();
    assert_eq!((found.dirs_read, found.dirs_unchanged), (3, 9));
    assert_eq!((found.waiting, found.missing), (2, 1));
    assert_eq!(adopter.look().await.unwrap().adopted, 2);
    adopter.look().await.unwrap();
    let idle = adopter.look().await.unwrap();
    assert_eq!((idle.dirs_read, idle.dirs_unchanged), (0, 12));
    world.assert_agreement().await;
}

#[tokio::test]
async fn a_directory_is_trusted_only_when_two_reads_some_time_apart_agree() {
    let world = World::new().await;
    let adopter = adopter(&world);
    ten_directories(&world, &adopter).await;
    let report = adopter.look().await.unwrap();
    assert_eq!((report.dirs_read, report.dirs_unchanged), (11, 0));
}

#[tokio::test]
async fn a_full_round_reads_everything_and_finds_what_no_time_told_of() {
    let world = World::new().await;
    let mut adopter = trusting(&world);
    ten_directories(&world, &adopter).await;
    adopter.limits.full_round_every = Duration::ZERO;
    for rounds in [2, 3] {
        let report = adopter.look().await.unwrap();
        assert_eq!((report.dirs_read, report.seen), (11, 30));
        assert_eq!(report.full_rounds, rounds);
    }
}

#[tokio::test]
async fn a_directory_that_went_takes_its_rows_and_what_is_below_along() {
    let world = World::new().await;
    let adopter = trusting(&world);
    ten_directories(&world, &adopter).await;
    make_dir(&world, "/5/below");
    world.storage.drop_in("alice", "/5/below/file", b"x");
    for _ in 0..3 {
        adopter.look().await.unwrap();
    }
    for name in ["/5/below/file", "/5/0", "/5/1", "/5/2"] {
        steal(&world, name);
    }
    for name in ["/5/below", "/5"] {
        let place = Place {
            home: "alice".parse().unwrap(),
            path: path(name),
        };
        world.storage.remove_dir(&place).unwrap();
    }
    assert_eq!(adopter.look().await.unwrap().missing, 4);
    assert_eq!(adopter.look().await.unwrap().missing, 0, "told of once");
    world.assert_agreement().await;
}

#[tokio::test]
async fn a_look_ends_at_its_limit_and_the_next_one_goes_on_where_it_ended() {
    let world = World::new().await;
    let mut adopter = trusting(&world);
    adopter.limits.entries_per_look = 12;
    let _session = world.session("alice").await;
    for dir in 0..10 {
        make_dir(&world, &format!("/{dir}"));
        for file in 0..3 {
            world
                .storage
                .drop_in("alice", &format!("/{dir}/{file}"), b"x");
        }
    }
    let mut seen = Vec::new();
    let mut adopted = 0;
    while adopted < 30 {
        let report = adopter.look().await.unwrap();
        assert!(report.dirs_read <= 12, "{report:?}");
        adopted += report.adopted;
        seen.push(report.seen);
        assert!(seen.len() < 40, "every look must make progress: {seen:?}");
    }
    while adopter.look().await.unwrap().full_rounds == 0 {}
    world.assert_agreement().await;
}

#[tokio::test]
async fn directories_beyond_what_is_remembered_are_read_in_every_look() {
    let world = World::new().await;
    let mut adopter = trusting(&world);
    adopter.limits.max_dirs = 8;
    ten_directories(&world, &adopter).await;
    world.assert_agreement().await;
    let report = adopter.look().await.unwrap();
    assert_eq!(
        (report.dirs_read, report.seen),
        (4, 9),
        "the root and three"
    );
    assert_eq!(report.dirs_unchanged, 7);
    world.storage.drop_in("alice", "/9/new", b"x");
    adopter.look().await.unwrap();
    assert_eq!(adopter.look().await.unwrap().adopted, 1);
}
