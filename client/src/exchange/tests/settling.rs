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
