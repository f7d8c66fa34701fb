//! From the partner to us.

use super::scripted::{Scripted, Verb, Wrong};
use super::*;
use crate::fault::{Permanence, RemoteError, RemoteFault};
use crate::path::{RemoteName, ServerSystem};
use crate::remote::{EntryKind, Precision};

const SIZE: usize = 600_000;

fn plain() -> FetchRules {
    FetchRules::default()
}

#[tokio::test]
async fn a_file_lands_whole_under_its_name() {
    for bytes in [0, 1, 49_999, 50_000, 262_143, 262_144, 262_145, 2_000_000] {
        let whole = content(bytes);
        let mut remote = Scripted::default().with("/in/f", &whole);
        let home = Home::new();
        let fetched = get(&mut remote, &mut home.target(), &plain())
            .await
            .unwrap();
        assert_eq!(fetched.sha256, sha256(&whole));
        assert_eq!(fetched.content_bytes, bytes as u64);
        assert_eq!(fetched.wire_bytes, bytes as u64);
        assert_eq!(fetched.verified, Verified::Size);
        assert!(home.files() == [("f".to_owned(), whole)], "{bytes}");
        assert_eq!(remote.calls(Verb::Remove), 0);
    }
}

/// What a failed download is told as.
fn told(error: &ExchangeError) -> &'static str {
    match error {
        ExchangeError::Missing { .. } => "missing",
        ExchangeError::NotAFile { .. } => "not a file",
        ExchangeError::SourceChanged { .. } => "changed",
        ExchangeError::Local(_) => "ours",
        ExchangeError::Remote(RemoteError { fault, .. }) => match fault {
            RemoteFault::NotPermitted => "not permitted",
            RemoteFault::ConnectionLost => "lost",
            RemoteFault::TimedOut { .. } => "timed out",
            RemoteFault::Busy => "busy",
            RemoteFault::WrongHash => "wrong hash",
            RemoteFault::Truncated => "truncated",
            RemoteFault::WrongSize { .. } => "wrong size",
            other => panic!("{other}"),
        },
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn what_is_not_proven_whole_is_not_published_and_says_why() {
    use Permanence::{Permanent, Transient};
    let server = || Scripted::default().with("/in/f", &content(SIZE));
    let hashing = |wrong| {
        let mut remote = server().failing(Verb::Hash, 0, wrong);
        remote.abilities.sha256 = true;
        remote
    };
    let of_kind = |kind| {
        let mut remote = server();
        remote.files.get_mut(&b"/in/f"[..]).unwrap().kind = kind;
        remote
    };
    let at = |bytes, fault| server().failing(Verb::Get, 0, Wrong::At(bytes, fault));
    let timed_out = RemoteFault::TimedOut {
        after: std::time::Duration::from_secs(1),
    };
    let refused = |verb, fault| server().failing(verb, 0, Wrong::Refused(fault));
    let after = |verb, call, wrong| server().failing(verb, call, wrong);
    let longer = content(SIZE + 1);
    let shorter = content(SIZE - 1);
    let other = content(SIZE + 8)[8..].to_vec();
    for (number, (mut remote, expected, permanence)) in [
        (Scripted::default(), "missing", Permanent),
        (of_kind(EntryKind::Directory), "not a file", Permanent),
        (of_kind(EntryKind::Other), "not a file", Permanent),
        (
            refused(Verb::Stat, RemoteFault::NotPermitted),
            "not permitted",
            Permanent,
        ),
        (
            refused(Verb::Get, RemoteFault::NotPermitted),
            "not permitted",
            Permanent,
        ),
        (refused(Verb::Get, RemoteFault::Busy), "busy", Transient),
        (after(Verb::Stat, 0, Wrong::LostBefore), "lost", Transient),
        (after(Verb::Get, 0, Wrong::LostBefore), "lost", Transient),
        (after(Verb::Get, 0, Wrong::LostAfter), "lost", Transient),
        (after(Verb::Stat, 1, Wrong::LostBefore), "lost", Transient),
        (at(0, RemoteFault::ConnectionLost), "lost", Transient),
        (at(300_000, RemoteFault::ConnectionLost), "lost", Transient),
        (at(300_000, timed_out), "timed out", Transient),
        (at(300_000, RemoteFault::Truncated), "truncated", Transient),
        // It grew, shrank, was replaced or removed while it was downloaded.
        (
            after(Verb::Get, 0, Wrong::ChangedTo(longer.clone())),
            "changed",
            Transient,
        ),
        (
            after(Verb::Get, 0, Wrong::ChangedTo(shorter.clone())),
            "changed",
            Transient,
        ),
        (
            after(Verb::Get, 0, Wrong::ChangedTo(other.clone())),
            "changed",
            Transient,
        ),
        (after(Verb::Get, 0, Wrong::Gone), "changed", Transient),
        // The same between the look at it and the download.
        (
            after(Verb::Stat, 0, Wrong::ChangedTo(longer)),
            "changed",
            Transient,
        ),
        (
            after(Verb::Stat, 0, Wrong::ChangedTo(shorter)),
            "changed",
            Transient,
        ),
        (
            after(Verb::Stat, 0, Wrong::ChangedTo(other)),
            "changed",
            Transient,
        ),
        (hashing(Wrong::Pretended), "wrong hash", Transient),
        (hashing(Wrong::LostBefore), "lost", Transient),
    ]
    .into_iter()
    .enumerate()
    {
        let home = Home::new();
        let mut target = home.target();
        let error = get(&mut remote, &mut target, &plain()).await.unwrap_err();
        assert_eq!(told(&error), expected, "case {number}: {error}");
        assert_eq!(error.permanence(), permanence, "case {number}: {error}");
        assert!(
            home.files().iter().all(|(name, _)| name != "f"),
            "case {number}"
        );
        assert_eq!(remote.calls(Verb::Remove) + remote.calls(Verb::Put), 0);
        drop(target);
        assert!(
            home.files().is_empty(),
            "case {number}: nothing is left over"
        );
    }
}

#[tokio::test]
async fn a_file_is_verified_by_what_the_server_shows() {
    for (shows_sizes, hashes, refuses_to_hash, expected) in [
        (true, true, false, Verified::Sha256),
        (false, true, false, Verified::Sha256),
        (true, true, true, Verified::Size),
        (true, false, false, Verified::Size),
        (false, false, false, Verified::Word),
    ] {
        let mut remote = Scripted::default().with("/in/f", &content(SIZE));
        remote.shows_sizes = shows_sizes;
        remote.abilities.sha256 = hashes;
        if refuses_to_hash {
            remote = remote.failing(Verb::Hash, 0, Wrong::Refused(RemoteFault::NotPermitted));
        }
        let home = Home::new();
        let fetched = get(&mut remote, &mut home.target(), &plain())
            .await
            .unwrap();
        assert_eq!(fetched.verified, expected);
    }
}

#[tokio::test]
async fn a_file_without_a_size_has_a_limit() {
    for (limit_bytes, is_taken) in [(SIZE as u64, true), (SIZE as u64 - 1, false)] {
        let mut remote = Scripted::default().with("/in/f", &content(SIZE));
        remote.shows_sizes = false;
        let home = Home::new();
        let rules = FetchRules {
            limit_bytes,
            ..plain()
        };
        let got = get(&mut remote, &mut home.target(), &rules).await;
        assert_eq!(got.is_ok(), is_taken, "{limit_bytes}");
        assert_eq!(home.files().len(), usize::from(is_taken));
    }
}

#[tokio::test]
async fn a_name_that_is_taken_on_our_side_stays_as_it_is() {
    let home = Home::new();
    let old = home.folder.path().join("f");
    std::fs::write(&old, "old").unwrap();
    let mut remote = Scripted::default().with("/in/f", b"new");
    let error = get(&mut remote, &mut home.target(), &plain())
        .await
        .unwrap_err();
    assert_eq!(error.permanence(), Permanence::Permanent, "{error}");
    assert!(error.for_operator().contains("exists already"), "{error}");
    assert!(error.remedy().unwrap().contains("--replace"));
    assert_eq!(remote.calls(Verb::Get), 0, "fetched in vain");
    assert_eq!(home.files(), [("f".to_owned(), b"old".to_vec())]);
    let mut replacing = LocalTarget::new(old, LocalExisting::Replace);
    get(&mut remote, &mut replacing, &plain()).await.unwrap();
    assert_eq!(home.files(), [("f".to_owned(), b"new".to_vec())]);
}

#[tokio::test]
async fn a_download_goes_on_where_it_broke_off_only_when_the_source_is_the_same() {
    #[derive(Debug, PartialEq)]
    enum Between {
        Nothing,
        NewContentOfEqualSize,
        NoResume,
        TimesToTheMinute,
    }
    let lost = || Wrong::At(500_000, RemoteFault::ConnectionLost);
    for (between, resumed_at) in [
        (Between::Nothing, 500_000),
        (Between::NewContentOfEqualSize, 0),
        (Between::NoResume, 0),
        (Between::TimesToTheMinute, 0),
    ] {
        let mut whole = content(SIZE);
        let mut remote = Scripted::default()
            .with("/in/f", &whole)
            .failing(Verb::Get, 0, lost());
        if between == Between::TimesToTheMinute {
            remote.precision = Precision::Minute;
        }
        let home = Home::new();
        let mut target = home.target();
        get(&mut remote, &mut target, &plain()).await.unwrap_err();
        remote.reconnect();
        match between {
            Between::NewContentOfEqualSize => {
                whole.reverse();
                remote.store(b"/in/f", whole.clone());
            }
            Between::NoResume => remote.abilities.resume_download = false,
            Between::Nothing | Between::TimesToTheMinute => {}
        }
        let fetched = get(&mut remote, &mut target, &plain()).await.unwrap();
        assert_eq!(fetched.resumed_at, resumed_at, "{between:?}");
        assert_eq!(fetched.wire_bytes, SIZE as u64 - resumed_at);
        assert_eq!(fetched.sha256, sha256(&whole), "{between:?}");
        assert!(home.files() == [("f".to_owned(), whole)], "{between:?}");
    }
}

#[tokio::test]
async fn a_download_that_is_dropped_publishes_nothing() {
    let hangs = |verb, call| {
        let remote = Scripted::default().with("/in/f", &content(SIZE));
        remote.failing(verb, call, Wrong::Hangs)
    };
    // The last look at the source is the last thing before the publication.
    let mut remote = hangs(Verb::Stat, 1);
    let home = Home::new();
    let mut target = home.target();
    let waiting = Waiting::until(SIZE as u64);
    let rules = plain();
    let from = path("/in/f");
    let work = fetch(&mut remote, &from, &mut target, &rules, &waiting);
    cancelled(work, &waiting).await;
    assert!(home.files().iter().all(|(name, _)| name != "f"));
    drop(target);
    assert!(home.files().is_empty());
}

#[test]
fn names_of_a_partner_stay_in_their_folder() {
    let folder = std::path::Path::new("/srv/in");
    for hostile in [
        &b""[..],
        b".",
        b"..",
        b"../x",
        b"/etc/passwd",
        b"a/b",
        b"a\0b",
        b"a\r\nDELE b",
    ] {
        for system in [ServerSystem::Unix, ServerSystem::Windows] {
            assert!(RemoteName::new(system, hostile).is_err(), "{hostile:?}");
        }
    }
    assert!(RemoteName::new(ServerSystem::Windows, b"..\\x").is_err());
    for odd in [
        &b"..\\x"[..],
        b"a file",
        b"\xff\xfe",
        b"\xc3\xa9",
        b"-rf",
        b"...",
    ] {
        let name = RemoteName::new(ServerSystem::Unix, odd).unwrap();
        let target = LocalTarget::in_folder(folder, &name, LocalExisting::Keep);
        assert_eq!(target.path().parent(), Some(folder));
        assert_eq!(
            target.path().file_name().unwrap().as_encoded_bytes(),
            odd,
            "{name}"
        );
    }
}

/// A landing that has no room.
struct Full;

#[async_trait::async_trait]
impl Landing for Full {
    async fn read_kept(&mut self, _: u64, _: usize) -> Result<Bytes, LocalError> {
        Ok(Bytes::new())
    }

    async fn begin(&mut self, _: &SourceState, _: u64) -> Result<(), LocalError> {
        Ok(())
    }

    async fn write(&mut self, _: Bytes) -> Result<(), LocalError> {
        Err(LocalError::permanent("the quota is used up"))
    }

    async fn publish(&mut self, _: &Fetched) -> Result<(), LocalError> {
        panic!("published");
    }
}

#[tokio::test]
async fn our_own_fault_is_told_as_ours_and_the_connection_lives() {
    let mut remote = Scripted::default().with("/in/f", &content(5_000_000));
    let error = get(&mut remote, &mut Full, &plain()).await.unwrap_err();
    assert_eq!(told(&error), "ours");
    assert_eq!(error.permanence(), Permanence::Permanent);
    assert_eq!(error.to_string(), "our side failed: the quota is used up");
    assert!(remote.is_alive());
    assert!(remote.wire_bytes < 5_000_000, "the download was stopped");
}
