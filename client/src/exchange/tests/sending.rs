//! From us to the partner.

use super::scripted::{Scripted, Verb, Wrong};
use super::*;
use crate::fault::{Permanence, RemoteError, RemoteFault};
use crate::remote::EntryKind;

const SIZE: usize = 600_000;

#[tokio::test]
async fn a_file_arrives_whole_under_its_name() {
    for bytes in [0, 1, 49_999, 50_000, 262_143, 262_144, 262_145, 2_000_000] {
        for partial in [rules().partial, None] {
            let whole = content(bytes);
            let mut remote = Scripted::default();
            let rules = SendRules { partial, ..rules() };
            let mut ours = Ours::new(whole.clone());
            let delivered = put(&mut remote, &mut ours, &rules, &mut Attempt::default())
                .await
                .unwrap();
            assert_eq!(delivered.sha256, sha256(&whole));
            assert_eq!(delivered.remote_bytes, bytes as u64);
            assert_eq!(delivered.verified, Verified::Size);
            assert_eq!(remote.names(), ["/out/f"]);
            assert!(remote.content("/out/f").unwrap() == whole, "{bytes}");
            let uploaded = remote.heard.iter().find(|(verb, _)| *verb == Verb::Put);
            let name = if rules.partial.is_some() {
                "/out/f.part"
            } else {
                "/out/f"
            };
            assert_eq!(uploaded.unwrap().1, name);
        }
    }
}

/// What a failed upload is told as.
fn told(error: &ExchangeError) -> &'static str {
    match error {
        ExchangeError::TargetExists { .. } => "exists",
        ExchangeError::CannotReplace { .. } => "cannot replace",
        ExchangeError::RenameRefused { rest, .. } => {
            match (rest.partial_remains, rest.target_is_gone) {
                (false, false) => "rename refused",
                (true, false) => "rename refused, left",
                (true, true) => "rename refused, deleted",
                (false, true) => "both are gone",
            }
        }
        ExchangeError::NotAFile { .. } => "not a file",
        ExchangeError::OurFileChanged => "ours changed",
        ExchangeError::Local(_) => "ours",
        ExchangeError::Remote(RemoteError { fault, .. }) => match fault {
            RemoteFault::NotPermitted => "not permitted",
            RemoteFault::NoSpace => "no space",
            RemoteFault::ConnectionLost => "lost",
            RemoteFault::WrongSize { .. } => "wrong size",
            RemoteFault::WrongHash => "wrong hash",
            RemoteFault::NotFound => "not found",
            other => panic!("{other}"),
        },
        other => panic!("{other}"),
    }
}

/// What is there when it failed, besides the old file.
const NOTHING: &[&str] = &["/out/f"];
const PARTIAL: &[&str] = &["/out/f", "/out/f.part"];

#[tokio::test]
async fn o02_what_fails_leaves_the_final_name_as_it_was_and_says_why() {
    use OnExisting::{DeleteFirst, Fail, Replace};
    use Permanence::{Permanent, Transient};
    let server = || Scripted::default().with("/out/f", b"old");
    let plain_rename = || {
        let mut remote = server();
        remote.abilities.replace_by_rename = false;
        remote
    };
    let hashing = || {
        let mut remote = server();
        remote.abilities.sha256 = true;
        remote
    };
    let denied = || Wrong::Refused(RemoteFault::NotPermitted);
    let full = || Wrong::At(300_000, RemoteFault::NoSpace);
    let odd = |name: &str, kind| {
        let mut remote = server().with(name, b"");
        remote.files.get_mut(name.as_bytes()).unwrap().kind = kind;
        remote
    };
    let good = || Ours::new(content(SIZE));
    let changed = || Ours {
        is_unchanged: false,
        ..good()
    };
    let broken = || Ours {
        fails_at: Some(400_000),
        ..good()
    };
    let damaged = || Ours {
        sha256: Some([0; 32]),
        ..good()
    };
    let keep = |on_existing| SendRules {
        on_existing,
        ..rules()
    };
    let tidy = |on_existing| SendRules {
        leftovers: Leftovers::Remove,
        ..keep(on_existing)
    };
    for (number, (mut remote, mut ours, rules, expected, permanence, left)) in [
        (server(), good(), keep(Fail), "exists", Permanent, NOTHING),
        (
            plain_rename(),
            good(),
            keep(Replace),
            "cannot replace",
            Permanent,
            NOTHING,
        ),
        (
            odd("/out/f", EntryKind::Directory),
            good(),
            keep(Replace),
            "exists",
            Permanent,
            NOTHING,
        ),
        (
            odd("/out/f", EntryKind::Other),
            good(),
            keep(DeleteFirst),
            "exists",
            Permanent,
            NOTHING,
        ),
        (
            odd("/out/f.part", EntryKind::Other),
            good(),
            keep(Replace),
            "not a file",
            Permanent,
            PARTIAL,
        ),
        (
            server().failing(Verb::Put, 0, denied()),
            good(),
            keep(Replace),
            "not permitted",
            Permanent,
            NOTHING,
        ),
        (
            server().failing(Verb::Put, 0, full()),
            good(),
            keep(Replace),
            "no space",
            Transient,
            PARTIAL,
        ),
        (
            server().failing(Verb::Put, 0, full()),
            good(),
            tidy(Replace),
            "no space",
            Transient,
            NOTHING,
        ),
        (
            server().failing(Verb::Put, 0, Wrong::LostAfter),
            good(),
            tidy(Replace),
            "lost",
            Transient,
            PARTIAL,
        ),
        (
            server().failing(Verb::Put, 0, Wrong::Pretended),
            good(),
            keep(Replace),
            "wrong size",
            Transient,
            NOTHING,
        ),
        (
            server().failing(Verb::Put, 0, Wrong::Gone),
            good(),
            keep(Replace),
            "not found",
            Permanent,
            NOTHING,
        ),
        (
            hashing().failing(Verb::Hash, 0, Wrong::Pretended),
            good(),
            keep(Replace),
            "wrong hash",
            Transient,
            NOTHING,
        ),
        (
            server().failing(Verb::Rename, 0, denied()),
            good(),
            keep(Replace),
            "rename refused",
            Permanent,
            NOTHING,
        ),
        (
            server()
                .failing(Verb::Rename, 0, denied())
                .failing(Verb::Remove, 0, denied()),
            good(),
            keep(Replace),
            "rename refused, left",
            Permanent,
            PARTIAL,
        ),
        (
            server(),
            changed(),
            keep(Replace),
            "ours changed",
            Transient,
            NOTHING,
        ),
        (
            server(),
            broken(),
            tidy(Replace),
            "ours",
            Transient,
            NOTHING,
        ),
        (
            server(),
            damaged(),
            keep(Replace),
            "ours",
            Permanent,
            NOTHING,
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let error = put(&mut remote, &mut ours, &rules, &mut Attempt::default())
            .await
            .unwrap_err();
        assert_eq!(told(&error), expected, "case {number}: {error}");
        assert_eq!(error.permanence(), permanence, "case {number}: {error}");
        assert_eq!(remote.names(), left, "case {number}: {error}");
        if expected != "exists" || number == 0 {
            assert_eq!(remote.content("/out/f"), Some(&b"old"[..]), "case {number}");
        }
        if matches!(expected, "exists" | "cannot replace" | "not a file") {
            assert_eq!(
                remote.calls(Verb::Put),
                0,
                "case {number}: nothing is sent in vain"
            );
        }
    }
}

#[tokio::test]
async fn a_file_replaces_another_in_the_way_that_is_allowed() {
    for (replaces, on_existing) in [
        (true, OnExisting::Replace),
        (true, OnExisting::DeleteFirst),
        (false, OnExisting::DeleteFirst),
    ] {
        let mut remote = Scripted::default().with("/out/f", b"old");
        remote.abilities.replace_by_rename = replaces;
        let rules = SendRules {
            on_existing,
            ..rules()
        };
        put(
            &mut remote,
            &mut Ours::new(&b"new"[..]),
            &rules,
            &mut Attempt::default(),
        )
        .await
        .unwrap();
        assert_eq!(remote.content("/out/f"), Some(&b"new"[..]));
        assert_eq!(remote.names(), ["/out/f"]);
    }
}

#[tokio::test]
async fn when_the_old_file_is_deleted_the_new_one_is_what_stays() {
    let rules = SendRules {
        on_existing: OnExisting::DeleteFirst,
        ..rules()
    };
    let between = || Wrong::At(0, RemoteFault::Busy);
    for (again, expected) in [(None, None), (Some(RemoteFault::NotPermitted), Some(()))] {
        let mut remote =
            Scripted::default()
                .with("/out/f", b"old")
                .failing(Verb::Rename, 0, between());
        if let Some(fault) = again {
            remote = remote.failing(Verb::Rename, 1, Wrong::Refused(fault));
        }
        let mut attempt = Attempt::default();
        let mut ours = Ours::new(content(SIZE));
        let sent = put(&mut remote, &mut ours, &rules, &mut attempt).await;
        if expected.is_some() {
            let error = sent.unwrap_err();
            assert_eq!(told(&error), "rename refused, deleted", "{error}");
            assert_eq!(remote.names(), ["/out/f.part"]);
            put(&mut remote, &mut ours, &rules, &mut attempt)
                .await
                .unwrap();
            assert_eq!(remote.calls(Verb::Put), 1, "only the last step was missing");
        }
        assert_eq!(remote.names(), ["/out/f"]);
        assert!(remote.content("/out/f").unwrap() == content(SIZE));
    }
}

#[tokio::test]
async fn a_leftover_is_continued_only_when_it_is_a_piece_of_this_very_file() {
    #[derive(Debug)]
    enum Between {
        Nothing,
        ContentReplaced,
        TailReplaced,
        Grown,
        OurFileReplaced,
        AttemptForgotten,
        MayNotRead,
        NoResume,
        Tidy,
    }
    for (between, is_continued) in [
        (Between::Nothing, true),
        (Between::ContentReplaced, false),
        (Between::TailReplaced, false),
        (Between::Grown, false),
        (Between::OurFileReplaced, false),
        (Between::AttemptForgotten, false),
        (Between::MayNotRead, false),
        (Between::NoResume, false),
        (Between::Tidy, false),
    ] {
        let lost = Wrong::At(500_000, RemoteFault::ConnectionLost);
        let mut remote = Scripted::default().failing(Verb::Put, 0, lost);
        let mut ours = Ours::new(content(SIZE));
        let mut attempt = Attempt::default();
        let mut rules = rules();
        put(&mut remote, &mut ours, &rules, &mut attempt)
            .await
            .unwrap_err();
        assert_eq!(attempt.stage(), Stage::Uploading);
        remote.reconnect();
        let mut part = remote.content("/out/f.part").unwrap().to_vec();
        let resumed_at = if is_continued { part.len() as u64 } else { 0 };
        match between {
            Between::Nothing => {}
            Between::ContentReplaced => part.fill(7),
            Between::TailReplaced => *part.last_mut().unwrap() ^= 1,
            Between::Grown => part.resize(SIZE + 1, 0),
            Between::OurFileReplaced => {
                ours.content = content(SIZE + 8).split_off(8).into();
                ours.version = "2".to_owned();
            }
            Between::AttemptForgotten => attempt = Attempt::default(),
            Between::MayNotRead => {
                remote = remote.failing(Verb::Get, 0, Wrong::Refused(RemoteFault::NotPermitted));
            }
            Between::NoResume => remote.abilities.resume_upload = false,
            Between::Tidy => rules.leftovers = Leftovers::Remove,
        }
        remote.store(b"/out/f.part", part);
        let delivered = put(&mut remote, &mut ours, &rules, &mut attempt)
            .await
            .unwrap();
        assert_eq!(delivered.resumed_at, resumed_at, "{between:?}");
        assert_eq!(
            delivered.wire_bytes,
            SIZE as u64 - resumed_at,
            "{between:?}"
        );
        assert_eq!(delivered.sha256, sha256(&ours.content), "{between:?}");
        assert!(
            remote.content("/out/f").unwrap() == ours.content,
            "{between:?}"
        );
        assert_eq!(remote.names(), ["/out/f"], "{between:?}");
        assert_eq!(
            remote.calls(Verb::Remove),
            usize::from(!is_continued),
            "{between:?}"
        );
    }
}

#[tokio::test]
async fn an_upload_that_is_dropped_touches_nothing_but_its_own_piece() {
    for bytes in [1, 300_000, SIZE as u64] {
        let mut remote =
            Scripted::default()
                .with("/out/f", b"old")
                .failing(Verb::Rename, 0, Wrong::Hangs);
        let mut ours = Ours::new(content(SIZE));
        let mut attempt = Attempt::default();
        let waiting = Waiting::until(bytes);
        let (to, rules) = (path("/out/f"), rules());
        let work = send(&mut remote, &mut ours, &to, &rules, &mut attempt, &waiting);
        cancelled(work, &waiting).await;
        assert_eq!(remote.content("/out/f"), Some(&b"old"[..]));
        remote.faults.clear();
        put(&mut remote, &mut ours, &rules, &mut attempt)
            .await
            .unwrap();
        assert_eq!(remote.names(), ["/out/f"]);
        assert!(remote.content("/out/f").unwrap() == content(SIZE));
    }
}

#[tokio::test]
async fn without_a_suffix_a_torn_file_is_ours_and_the_file_of_a_refused_upload_is_not() {
    let bare = |on_existing| SendRules {
        partial: None,
        on_existing,
        ..rules()
    };
    // Refused: the partner's file stays.
    let denied = Wrong::Refused(RemoteFault::NotPermitted);
    let mut remote = Scripted::default()
        .with("/out/f", b"old")
        .failing(Verb::Put, 0, denied);
    let mut ours = Ours::new(content(SIZE));
    let rules = bare(OnExisting::Replace);
    put(&mut remote, &mut ours, &rules, &mut Attempt::default())
        .await
        .unwrap_err();
    assert_eq!(remote.content("/out/f"), Some(&b"old"[..]));
    // Torn with a connection that lives: what is torn goes.
    let full = Wrong::At(300_000, RemoteFault::NoSpace);
    let mut remote = Scripted::default().failing(Verb::Put, 0, full);
    let rules = bare(OnExisting::Fail);
    put(&mut remote, &mut ours, &rules, &mut Attempt::default())
        .await
        .unwrap_err();
    assert!(remote.names().is_empty());
    // Torn by a lost connection: the next attempt knows it as its own.
    let lost = Wrong::At(300_000, RemoteFault::ConnectionLost);
    let mut remote = Scripted::default().failing(Verb::Put, 0, lost);
    let mut attempt = Attempt::default();
    put(&mut remote, &mut ours, &rules, &mut attempt)
        .await
        .unwrap_err();
    remote.reconnect();
    put(&mut remote, &mut ours, &rules, &mut attempt)
        .await
        .unwrap();
    assert!(remote.content("/out/f").unwrap() == content(SIZE));
    // All went and the answer was lost: it is not sent twice.
    let mut remote = Scripted::default().failing(Verb::Put, 0, Wrong::LostAfter);
    let mut attempt = Attempt::default();
    put(&mut remote, &mut ours, &rules, &mut attempt)
        .await
        .unwrap_err();
    assert_eq!(attempt.stage(), Stage::Finishing);
    remote.reconnect();
    put(&mut remote, &mut ours, &rules, &mut attempt)
        .await
        .unwrap();
    assert_eq!(remote.calls(Verb::Put), 1);
}

#[tokio::test]
async fn a_folder_that_shows_nothing_takes_files_by_the_servers_word() {
    let denied = || Wrong::Refused(RemoteFault::NotPermitted);
    let mut remote = Scripted::default();
    for call in 0..3 {
        remote = remote.failing(Verb::Stat, call, denied());
    }
    let mut ours = Ours::new(content(SIZE));
    let delivered = put(&mut remote, &mut ours, &rules(), &mut Attempt::default())
        .await
        .unwrap();
    assert_eq!(delivered.verified, Verified::Word);
    assert_eq!(remote.names(), ["/out/f"]);
}

#[tokio::test]
async fn a_local_file_is_sent_as_it_is_and_not_when_it_changes() {
    let home = Home::new();
    let file = home.folder.path().join("f");
    std::fs::write(&file, content(SIZE)).unwrap();
    let mut ours = LocalFile::open(file.clone()).await.unwrap();
    let mut remote = Scripted::default();
    let (to, rules) = (path("/out/f"), rules());
    let delivered = send(
        &mut remote,
        &mut ours,
        &to,
        &rules,
        &mut Attempt::default(),
        &Silent,
    )
    .await
    .unwrap();
    assert_eq!(delivered.sha256, sha256(&content(SIZE)));
    for changed in [content(SIZE - 1), content(SIZE + 1)] {
        std::fs::write(&file, changed).unwrap();
        let mut remote = Scripted::default();
        let error = send(
            &mut remote,
            &mut ours,
            &to,
            &rules,
            &mut Attempt::default(),
            &Silent,
        )
        .await
        .unwrap_err();
        assert_eq!(told(&error), "ours changed");
        assert!(remote.content("/out/f").is_none());
    }
    for missing in [home.folder.path().join("no"), home.folder.path().to_owned()] {
        let error = LocalFile::open(missing).await.unwrap_err();
        assert_eq!(error.permanence, Permanence::Permanent, "{error}");
    }
}
