//! Listings in pieces.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{NEW, begin};
use crate::holdings::fixture::{World, path, upload};
use crate::listings::ACCOUNT_BYTES;
use crate::session::listing::AGAIN_AT_ONCE;
use crate::session::{Completion, DirectoryListing, Session};
use crate::vfs::recording::Op;
use crate::vfs::{Replace, Storage as _, VfsError};
use crate::{FolderPermission, Right, Rights};

async fn world() -> (World, Session) {
    let world = World::new().await;
    let session = world.session("alice").await;
    (world, session)
}

/// Names of the next piece.
async fn next(listing: &mut DirectoryListing, most: usize) -> Vec<String> {
    let piece = listing.next(most).await.unwrap();
    let name = |name: Vec<u8>| String::from_utf8(name).unwrap();
    piece.into_iter().map(|(bytes, _)| name(bytes)).collect()
}

async fn rest(listing: &mut DirectoryListing, most: usize) -> Vec<String> {
    let mut all = Vec::new();
    loop {
        let piece = next(listing, most).await;
        if piece.is_empty() {
            return all;
        }
        all.extend(piece);
    }
}

fn held_bytes(session: &Session) -> usize {
    let inner = &session.inner;
    let share = inner.holdings.listings.share(inner.account.id);
    share.held_bytes()
}

// Sixty clients that ask for a folder of 60,000 names and take none held 435 MB.
#[tokio::test]
async fn many_listings_of_a_large_folder_that_nobody_takes_hold_little() {
    const NAMES: usize = 6000;
    let (world, session) = world().await;
    let mut all = Vec::new();
    for number in 0..NAMES {
        let name = format!("{number:04}-{}", "x".repeat(200));
        world
            .storage
            .make_dir(&session.inner_home().place(&path(&format!("/{name}"))))
            .unwrap();
        all.push(name);
    }
    let mut parked = Vec::new();
    for _ in 0..60 {
        let mut listing = session.listing(&path("/"));
        assert_eq!(next(&mut listing, 1).await, all[..1]);
        parked.push(listing);
    }
    let held = held_bytes(&session);
    assert!((1..=ACCOUNT_BYTES).contains(&held), "{held} bytes");
    // Those that found room and those that did not: whole, in order, each name once.
    for at in [59, 0] {
        assert_eq!(rest(&mut parked[at], 500).await, all[1..], "{at}");
    }
    drop(parked);
    assert_eq!(held_bytes(&session), 0);
}

#[tokio::test]
async fn a_piece_tells_what_is_there_when_it_is_read() {
    let (_world, session) = world().await;
    for name in ["/a", "/b", "/c", "/d"] {
        upload(&session, name, b"x").await.unwrap();
    }
    let mut listing = session.listing(&path("/"));
    assert_eq!(next(&mut listing, 2).await, ["a", "b"]);
    // Behind the last name: told. Before it: not again.
    session.remove(&path("/c")).await.unwrap();
    for name in ["/a", "/aa", "/cc", "/e"] {
        upload(&session, name, b"new").await.unwrap();
    }
    let open = begin(&session, "/dd", NEW).await.unwrap();
    assert_eq!(rest(&mut listing, 2).await, ["cc", "d", "e"]);
    assert!(next(&mut listing, 2).await.is_empty(), "it stays over");
    open.finish(Completion::Closed).await.unwrap();
}

// As many as change while a listing waits for a connection: looked for one by one, in a
// turn, they made listings of a busy folder take a minute.
#[tokio::test]
async fn names_that_change_while_a_folder_is_read_are_told_by_few_looks() {
    const RENAMED: usize = 150;
    const REPLACED: usize = 50;
    let (world, session) = world().await;
    for number in 0..RENAMED {
        let name = format!("/before-{number:03}");
        upload(&session, &name, b"x").await.unwrap();
    }
    for number in 0..REPLACED {
        let name = format!("/same-{number:03}");
        upload(&session, &name, b"old").await.unwrap();
    }
    let (runtime, other) = (tokio::runtime::Handle::current(), session.clone());
    let looks = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&looks);
    world.storage.set_hook(Box::new(move |op| {
        if matches!(op, Op::Entries(_)) && counted.fetch_add(1, Ordering::SeqCst) == 0 {
            // Between the tree and the ledger.
            runtime.block_on(async {
                for number in 0..RENAMED {
                    let from = path(&format!("/before-{number:03}"));
                    let to = path(&format!("/later-{number:03}"));
                    other.rename(&from, &to, Replace::Refuse).await.unwrap();
                }
                for number in 0..REPLACED {
                    let name = format!("/same-{number:03}");
                    upload(&other, &name, b"new!").await.unwrap();
                }
            });
        }
        Ok(())
    }));
    let told = session.listing(&path("/")).next(1000).await.unwrap();
    let told: Vec<_> = told
        .into_iter()
        .map(|(name, info)| (String::from_utf8(name).unwrap(), info.size_bytes))
        .collect();
    let later = (0..RENAMED).map(|number| (format!("later-{number:03}"), 1));
    let same = (0..REPLACED).map(|number| (format!("same-{number:03}"), 4));
    assert_eq!(told, later.chain(same).collect::<Vec<_>>());
    assert_eq!(looks.load(Ordering::SeqCst), 2, "all of them by one");
}

// A status file that its partner replaces each second, where a connection is waited for.
#[tokio::test]
async fn a_name_that_is_replaced_at_every_look_is_told() {
    let (world, session) = world().await;
    for name in ["/busy", "/quiet"] {
        upload(&session, name, b"x").await.unwrap();
    }
    let (runtime, other) = (tokio::runtime::Handle::current(), session.clone());
    world.storage.set_hook(Box::new(move |op| {
        if matches!(op, Op::Entries(_)) {
            let replaced = upload(&other, "/busy", b"newer");
            runtime.block_on(replaced).unwrap();
        }
        Ok(())
    }));
    let mut listing = session.listing(&path("/"));
    assert_eq!(next(&mut listing, 10).await, ["busy", "quiet"]);
}

// Whatever was taken away behind our back is in the ledger still, until that is noticed.
#[tokio::test]
async fn what_is_gone_behind_our_back_is_not_told_and_hides_nothing() {
    let (world, session) = world().await;
    for number in 0..=AGAIN_AT_ONCE {
        let name = format!("/gone-{number:04}");
        upload(&session, &name, b"x").await.unwrap();
        world.storage.take_away("alice", &name);
    }
    for name in ["/a", "/z"] {
        upload(&session, name, b"x").await.unwrap();
    }
    let (runtime, other) = (tokio::runtime::Handle::current(), session.clone());
    let looks = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&looks);
    world.storage.set_hook(Box::new(move |op| {
        if matches!(op, Op::Entries(_)) && counted.fetch_add(1, Ordering::SeqCst) == 0 {
            let (from, to) = (path("/z"), path("/h"));
            let renamed = other.rename(&from, &to, Replace::Refuse);
            runtime.block_on(renamed).unwrap();
        }
        Ok(())
    }));
    let mut listing = session.listing(&path("/"));
    assert_eq!(next(&mut listing, 10).await, ["a", "h"]);
    assert_eq!(
        looks.load(Ordering::SeqCst),
        3,
        "one, and one for each 1,024"
    );
}

#[tokio::test]
async fn a_listing_ends_with_the_right_to_it() {
    let (_world, session) = world().await;
    for name in ["/a", "/b"] {
        upload(&session, name, b"x").await.unwrap();
    }
    let mut listing = session.listing(&path("/"));
    assert_eq!(next(&mut listing, 1).await, ["a"]);
    let mut account = session.account().clone();
    account.permissions = vec![FolderPermission {
        path: path("/"),
        rights: Rights::of(&[Right::Write]),
    }];
    let terms = Arc::new(crate::session::terms::Terms::of(&account));
    session.handle().set_terms(&terms);
    let refused = listing.next(1).await;
    assert!(matches!(refused, Err(VfsError::NotPermitted { .. })));
}
