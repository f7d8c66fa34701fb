//! Listings in pieces.

use std::sync::Arc;

use super::{NEW, begin};
use crate::holdings::fixture::{World, path, upload};
use crate::listings::ACCOUNT_BYTES;
use crate::session::{Completion, DirectoryListing, Session};
use crate::vfs::{Storage as _, VfsError};
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
