//! A rename whose answer did not come.

use super::scripted::{Scripted, Verb, Wrong};
use super::*;

/// What stands there when it is asked.
#[derive(Clone, Copy, Debug)]
enum There {
    /// Under the final name: nothing, the file from before, ours, another one.
    Nothing,
    Old,
    Ours,
    Other,
}

const WHOLE: &[u8] = b"our file";
/// Of the same size.
const OLD: &[u8] = b"old file";

fn place(remote: &mut Scripted, name: &str, there: There, ours: &scripted::StoredFile) {
    match there {
        There::Nothing => {
            remote.files.remove(name.as_bytes());
        }
        // As it stands since before the attempt.
        There::Old => {}
        There::Ours => {
            remote.files.insert(name.as_bytes().to_vec(), ours.clone());
        }
        There::Other => remote.store(name.as_bytes(), b"something else".to_vec()),
    }
}

#[tokio::test]
async fn it_is_found_out_whether_the_last_step_was_taken() {
    for (partial, target, hashes, expected) in [
        (There::Ours, There::Nothing, false, "whole"),
        (There::Ours, There::Old, false, "whole"),
        (There::Ours, There::Other, true, "whole"),
        (There::Other, There::Nothing, false, "not delivered"),
        (There::Nothing, There::Ours, false, "delivered by size"),
        (There::Nothing, There::Ours, true, "delivered by hash"),
        (There::Nothing, There::Old, false, "unknown"),
        (There::Nothing, There::Old, true, "unknown"),
        (There::Nothing, There::Other, false, "unknown"),
        (There::Nothing, There::Nothing, false, "unknown"),
    ] {
        let mut remote =
            Scripted::default()
                .with("/out/f", OLD)
                .failing(Verb::Rename, 0, Wrong::LostBefore);
        remote.abilities.sha256 = hashes;
        let mut attempt = Attempt::default();
        let mut ours = Ours::new(WHOLE);
        put(&mut remote, &mut ours, &rules(), &mut attempt)
            .await
            .unwrap_err();
        remote.reconnect();
        let stored = remote.files[&b"/out/f.part"[..]].clone();
        place(&mut remote, "/out/f.part", partial, &stored);
        place(&mut remote, "/out/f", target, &stored);
        let before = remote.files.clone();
        let settled = settle_send(&mut remote, &path("/out/f"), &rules(), &attempt)
            .await
            .unwrap();
        let told = match settled {
            Settled::NotDelivered { whole: Some(_) } => "whole",
            Settled::NotDelivered { whole: None } => "not delivered",
            Settled::Unknown { .. } => "unknown",
            Settled::Delivered(delivered) => match delivered.verified {
                Verified::Size => "delivered by size",
                Verified::Sha256 => "delivered by hash",
                Verified::Word => "delivered by word",
            },
        };
        assert_eq!(told, expected, "{partial:?} {target:?} {hashes}");
        assert_eq!(remote.files, before, "settling changes nothing");
        if told == "unknown" {
            let error = put(&mut remote, &mut ours, &rules(), &mut attempt)
                .await
                .unwrap_err();
            assert!(matches!(error, ExchangeError::Unsettled { .. }), "{error}");
            assert_eq!(remote.files, before, "nothing is sent a second time");
        }
    }
}

#[tokio::test]
async fn a_file_that_never_came_so_far_is_not_delivered() {
    let mut remote = Scripted::default();
    let settled = settle_send(&mut remote, &path("/out/f"), &rules(), &Attempt::default())
        .await
        .unwrap();
    assert_eq!(settled, Settled::NotDelivered { whole: None });
}

/// The clock of the partner's server, and whether it computes a hash, are of no account.
#[tokio::test]
async fn a_process_that_dies_in_the_last_step_leaves_enough_not_to_send_it_twice() {
    for (wrong, hashes, size_before) in [
        (Wrong::LostAfter, false, None),
        (Wrong::LostAfter, true, None),
        (Wrong::LostAfter, false, Some(OLD.len())),
        (Wrong::LostAfter, false, Some(1)),
        (Wrong::LostBefore, false, None),
        (Wrong::LostBefore, true, Some(OLD.len())),
    ] {
        let mut remote = Scripted::default().failing(Verb::Rename, 0, wrong);
        remote.abilities.sha256 = hashes;
        if let Some(bytes) = size_before {
            remote.store(b"/out/f", OLD[..bytes].to_vec());
        }
        let mut ours = Ours::new(WHOLE);
        put(&mut remote, &mut ours, &rules(), &mut Attempt::default())
            .await
            .unwrap_err();
        remote.reconnect();
        let mut attempt = ours.recalled("/out/f");
        assert_eq!(attempt.stage(), Stage::Finishing);
        let delivered = put(&mut remote, &mut ours, &rules(), &mut attempt)
            .await
            .unwrap();
        assert_eq!(delivered.sha256, sha256(WHOLE));
        assert_eq!(delivered.wire_bytes, WHOLE.len() as u64);
        assert_eq!(remote.calls(Verb::Put), 1, "{hashes} {size_before:?}");
        assert_eq!(remote.names(), ["/out/f"]);
        assert_eq!(remote.content("/out/f"), Some(WHOLE));
    }
}

#[tokio::test]
async fn what_was_noted_of_another_file_or_name_counts_for_nothing() {
    let lost = || Scripted::default().failing(Verb::Rename, 0, Wrong::LostAfter);
    let mut remote = lost();
    let mut ours = Ours::new(WHOLE);
    put(&mut remote, &mut ours, &rules(), &mut Attempt::default())
        .await
        .unwrap_err();
    assert_eq!(ours.recalled("/out/g").stage(), Stage::Unsent);
    assert!(Attempt::recalled("{}", &path("/out/f")).is_none());
    // Our file is another one by now.
    remote.reconnect();
    let mut attempt = ours.recalled("/out/f");
    ours.version = "2".to_owned();
    put(&mut remote, &mut ours, &rules(), &mut attempt)
        .await
        .unwrap();
    assert_eq!(remote.calls(Verb::Put), 2);
    // What came of it is not whole: it is sent anew, and that is noted.
    let mut remote = lost();
    put(&mut remote, &mut ours, &rules(), &mut Attempt::default())
        .await
        .unwrap_err();
    remote.reconnect();
    remote.files.clear();
    remote.store(b"/out/f.part", b"half".to_vec());
    let mut remote = remote.failing(Verb::Put, 1, Wrong::LostBefore);
    let mut attempt = ours.recalled("/out/f");
    put(&mut remote, &mut ours, &rules(), &mut attempt)
        .await
        .unwrap_err();
    assert_eq!(ours.noted, None);
}
