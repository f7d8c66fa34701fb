//! Every fault at every call of every verb, with retries until it is done: the
//! file is there once and whole, or the old one is, and nothing is left over.

use super::scripted::{Scripted, Verb, Wrong};
use super::*;
use crate::fault::{Permanence, RemoteFault};
use crate::remote::Abilities;

const SIZE: usize = 170_000;
/// One fault, and what it costs to get over it.
const MOST_ATTEMPTS: usize = 4;

fn faults() -> Vec<Wrong> {
    vec![
        Wrong::LostBefore,
        Wrong::LostAfter,
        Wrong::Refused(RemoteFault::NotPermitted),
        Wrong::Refused(RemoteFault::Busy),
        Wrong::At(0, RemoteFault::ConnectionLost),
        Wrong::At(60_000, RemoteFault::ConnectionLost),
        Wrong::At(60_000, RemoteFault::NoSpace),
        Wrong::Pretended,
    ]
}

#[tokio::test]
async fn whatever_fails_once_a_file_is_sent_once_or_not_at_all() {
    let (old, new) = (content(1_000), content(SIZE));
    let mut delivered = 0;
    // In the last dimension, whether the process dies of it.
    for mix in 0..2 * 2 * 2 * 3 * 2 * 2 {
        let abilities = Abilities {
            resume_download: mix & 1 == 0,
            resume_upload: mix & 1 == 0,
            replace_by_rename: mix & 2 == 0,
            sha256: mix & 4 == 0,
        };
        let on_existing = [
            OnExisting::Fail,
            OnExisting::Replace,
            OnExisting::DeleteFirst,
        ][mix / 8 % 3];
        let has_old = mix / 24 % 2 == 1;
        let dies = mix / 48 == 1;
        for verb in [
            Verb::Stat,
            Verb::Get,
            Verb::Put,
            Verb::Rename,
            Verb::Remove,
            Verb::Hash,
        ] {
            for (call, wrong) in
                (0..3).flat_map(|call| faults().into_iter().map(move |w| (call, w)))
            {
                let what = format!(
                    "{on_existing:?} {has_old} {dies} {abilities:?} {verb:?} {call} {wrong:?}"
                );
                // So that reading back and removing come up as well.
                let mut remote = Scripted::default()
                    .failing(
                        Verb::Put,
                        0,
                        Wrong::At(100_000, RemoteFault::ConnectionLost),
                    )
                    .failing(verb, call, wrong);
                remote.abilities = abilities;
                if has_old {
                    remote.store(b"/out/f", old.clone());
                }
                remote.store(b"/out/neighbour.part", b"not ours".to_vec());
                let rules = SendRules {
                    on_existing,
                    ..rules()
                };
                let mut ours = Ours::new(new.clone());
                let mut attempt = Attempt::default();
                let mut last = None;
                for _ in 0..MOST_ATTEMPTS {
                    remote.reconnect();
                    if dies {
                        attempt = ours.recalled("/out/f");
                    }
                    match put(&mut remote, &mut ours, &rules, &mut attempt).await {
                        Ok(told) => {
                            assert_eq!(told.sha256, sha256(&new));
                            last = Some(Ok(()));
                            break;
                        }
                        Err(error) => {
                            let is_over = error.permanence() == Permanence::Permanent;
                            last = Some(Err(error));
                            if is_over {
                                break;
                            }
                        }
                    }
                }
                let there = remote.content("/out/f");
                match last.unwrap() {
                    Ok(()) => {
                        delivered += 1;
                        assert!(there == Some(&new), "{what}: not the new file");
                        let names = ["/out/f", "/out/neighbour.part"];
                        assert_eq!(remote.names(), names, "{what}");
                    }
                    Err(error) => {
                        assert_eq!(error.permanence(), Permanence::Permanent, "{what}: {error}");
                        assert_eq!(there, has_old.then_some(&old[..]), "{what}: {error}");
                    }
                }
                assert_eq!(
                    remote.content("/out/neighbour.part"),
                    Some(&b"not ours"[..])
                );
            }
        }
    }
    assert!(delivered > 6_000, "{delivered} were delivered");
}

#[tokio::test]
async fn whatever_fails_once_a_file_is_fetched_once_or_not_at_all() {
    let whole = content(SIZE);
    for hashes in [false, true] {
        for verb in [Verb::Stat, Verb::Get, Verb::Hash] {
            for (call, wrong) in
                (0..3).flat_map(|call| faults().into_iter().map(move |w| (call, w)))
            {
                let what = format!("{hashes} {verb:?} {call} {wrong:?}");
                let mut remote = Scripted::default().with("/in/f", &whole);
                remote.abilities.sha256 = hashes;
                let mut remote = remote
                    .failing(
                        Verb::Get,
                        0,
                        Wrong::At(100_000, RemoteFault::ConnectionLost),
                    )
                    .failing(verb, call, wrong);
                let home = Home::new();
                let mut target = home.target();
                let mut last = None;
                for _ in 0..MOST_ATTEMPTS {
                    remote.reconnect();
                    let got = get(&mut remote, &mut target, &FetchRules::default()).await;
                    let is_over = match &got {
                        Ok(_) => true,
                        Err(error) => error.permanence() == Permanence::Permanent,
                    };
                    last = Some(got);
                    if is_over {
                        break;
                    }
                }
                drop(target);
                match last.unwrap() {
                    Ok(fetched) => {
                        assert_eq!(fetched.sha256, sha256(&whole), "{what}");
                        assert!(home.files() == [("f".to_owned(), whole.clone())], "{what}");
                    }
                    Err(error) => {
                        assert_eq!(error.permanence(), Permanence::Permanent, "{what}: {error}");
                        assert!(home.files().is_empty(), "{what}");
                    }
                }
                assert_eq!(remote.content("/in/f"), Some(&whole[..]), "{what}");
            }
        }
    }
}
