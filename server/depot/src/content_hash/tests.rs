//! Checksums take turns.

use aws_lc_rs::digest::{SHA256, digest};

use super::*;
use crate::holdings::fixture::{World, upload};

const MIB: usize = 1 << 20;

/// Hashes in pieces of one MiB.
fn hasher(world: &World) -> ContentHasher {
    ContentHasher {
        piece_bytes: MIB as u64,
        ..ContentHasher::new(Arc::clone(&world.holdings))
    }
}

/// Names of files without a hash.
async fn unhashed(world: &World) -> Vec<String> {
    let (holdings, now) = (&world.holdings, world.holdings.now());
    let store = &holdings.store;
    let rows = store.unhashed(&holdings.node, now, now, 100).await.unwrap();
    let mut names: Vec<_> = rows.iter().map(|row| row.path.to_string()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_large_file_holds_up_neither_small_ones_nor_smaller_ones_and_is_hashed_in_the_end() {
    let world = World::new().await;
    let session = world.session("alice").await;
    let huge: Vec<u8> = (0..9 * MIB).map(|at| (at % 251) as u8).collect();
    upload(&session, "/huge", &huge).await.unwrap();
    world.clock.advance(REST);
    let hasher = hasher(&world);
    let first = hasher.round().await.unwrap();
    assert!(first.more && first.files == 0, "{first:?}");

    // They come when it has begun, and have their turns before its next piece.
    upload(&session, "/small", b"small").await.unwrap();
    upload(&session, "/less", &huge[..3 * MIB]).await.unwrap();
    world.clock.advance(REST);
    let second = hasher.round().await.unwrap();
    assert!(second.more && second.files == 1, "{second:?}");
    assert_eq!(unhashed(&world).await, ["/huge", "/less"]);
    let third = hasher.round().await.unwrap();
    assert!(third.more && third.files == 1, "{third:?}");
    assert_eq!(unhashed(&world).await, ["/huge"]);

    // It goes on where it was: two MiB a turn, the first of them long ago.
    let mut turns = 0;
    while hasher.round().await.unwrap().more {
        turns += 1;
        assert!(turns <= 4, "it began anew");
    }
    assert_eq!(unhashed(&world).await, [""; 0]);
    let download = session
        .download(&crate::holdings::fixture::path("/huge"))
        .await
        .unwrap();
    let known = download.known_sha256().await.unwrap().unwrap();
    assert_eq!(known, digest(&SHA256, &huge).as_ref());
}

#[tokio::test]
async fn a_large_file_that_goes_while_it_is_hashed_is_closed() {
    let world = World::new().await;
    let session = world.session("alice").await;
    upload(&session, "/huge", &vec![7; 9 * MIB]).await.unwrap();
    world.clock.advance(REST);
    let hasher = hasher(&world);
    assert!(hasher.round().await.unwrap().more);
    assert_eq!(hasher.begun().len(), 1);
    let gone = crate::holdings::fixture::path("/huge");
    session.remove(&gone).await.unwrap();
    assert!(!hasher.round().await.unwrap().more);
    assert!(hasher.begun().is_empty());
}
