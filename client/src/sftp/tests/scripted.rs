//! Servers with habits, limits and bad intentions.

use std::time::Duration;

use sha2::{Digest, Sha256};

use super::scripted_server::{Reaction, Script, Scripted, names, packet, status, string};
use super::*;
use crate::fault::{RemoteFault, Step};
use crate::remote::{OnExisting, Silent};

async fn got(remote: &mut SftpRemote) -> Result<Vec<u8>, crate::fault::RemoteError> {
    let mut sink = Vec::new();
    remote.get(&path("f"), 0, &mut sink, &Silent).await?;
    Ok(sink)
}

#[tokio::test]
async fn short_and_reordered_answers_make_the_same_file() {
    let whole = content(3_000_000);
    for (most_read, reversed) in [
        (usize::MAX, false),
        (usize::MAX, true),
        (10_000, false),
        (10_000, true),
    ] {
        let server = Scripted::start(Script {
            file: whole.clone().into(),
            most_read,
            reversed,
            ..Script::default()
        })
        .await;
        let mut remote = server.connect().await;
        assert!(
            got(&mut remote).await.unwrap() == whole,
            "{most_read} {reversed}"
        );
        server.script.file.lock().unwrap().clear();
        remote
            .put(&path("f"), 0, &mut whole.as_slice(), &Silent)
            .await
            .unwrap();
        assert!(*server.script.file.lock().unwrap() == whole);
    }
}

#[tokio::test]
async fn requests_are_as_large_as_the_server_says() {
    for (extensions, limits, expected) in [
        (vec![], [0; 3], 32 * 1024),
        (
            vec!["limits@openssh.com"],
            [256 * 1024, 255 * 1024, 255 * 1024],
            255 * 1024,
        ),
        (vec!["limits@openssh.com"], [0, 65_536, 65_536], 65_536),
        (
            vec!["limits@openssh.com"],
            [0, 1 << 40, 1 << 40],
            255 * 1024,
        ),
    ] {
        let server = Scripted::start(Script {
            extensions,
            limits,
            file: content(600_000).into(),
            ..Script::default()
        })
        .await;
        let mut remote = server.connect().await;
        got(&mut remote).await.unwrap();
        assert_eq!(*server.script.longest_read.lock().unwrap(), expected);
        remote
            .put(&path("f"), 0, &mut content(600_000).as_slice(), &Silent)
            .await
            .unwrap();
        assert_eq!(
            *server.script.longest_write.lock().unwrap(),
            expected as usize
        );
    }
}

#[tokio::test]
async fn a_file_that_is_not_as_long_as_its_size_is_not_complete() {
    for size in [999, 1001] {
        let server = Scripted::start(Script {
            file: content(1000).into(),
            size: Some(size),
            ..Script::default()
        })
        .await;
        let mut remote = server.connect().await;
        let error = got(&mut remote).await.unwrap_err();
        assert_eq!(
            error.fault,
            RemoteFault::WrongSize {
                expected: size,
                got: 1000
            }
        );
        assert!(!error.ends_connection());
    }
}

#[tokio::test]
async fn a_server_that_makes_files_up_may_say_that_they_are_empty() {
    let server = Scripted::start(Script {
        file: content(1000).into(),
        size: Some(0),
        ..Script::default()
    })
    .await;
    let mut remote = server.connect().await;
    assert_eq!(got(&mut remote).await.unwrap(), content(1000));
}

#[tokio::test]
async fn a_write_that_fails_stops_the_upload_and_says_how_far_it_came() {
    let server = Scripted::start(Script {
        react: Box::new(|request| {
            let at = request.fields.get(5..13).map(<[u8; 8]>::try_from);
            match at {
                Some(Ok(at)) if request.kind == 6 && u64::from_be_bytes(at) >= 3 * 32_768 => {
                    Reaction::Say(status(request.id, 4, "No space left on device"))
                }
                _ => Reaction::Usual,
            }
        }),
        ..Script::default()
    })
    .await;
    let mut remote = server.connect().await;
    let counted = Counted::default();
    let mut endless = tokio::io::repeat(7);
    let error = remote
        .put(&path("f"), 0, &mut endless, &counted)
        .await
        .unwrap_err();
    assert_eq!(
        (error.step, &error.fault),
        (Step::Upload, &RemoteFault::NoSpace)
    );
    assert_eq!(error.arrived_to, Some(3 * 32_768));
    assert_eq!(counted.bytes(), 3 * 32_768);
    assert_eq!(server.script.file.lock().unwrap().len(), 3 * 32_768);
    // The connection goes on, and the handle was closed.
    assert!(remote.stat(&path("f")).await.unwrap().is_some());
    assert!(server.script.seen.lock().unwrap().contains(&4));
}

#[tokio::test]
async fn a_close_that_fails_is_a_failed_upload() {
    let server = Scripted::start(Script {
        react: Box::new(|request| match request.kind {
            4 => Reaction::Say(status(request.id, 4, "Disk quota exceeded")),
            _ => Reaction::Usual,
        }),
        ..Script::default()
    })
    .await;
    let mut remote = server.connect().await;
    let error = remote
        .put(&path("f"), 0, &mut &b"x"[..], &Silent)
        .await
        .unwrap_err();
    assert_eq!(
        (error.fault, error.arrived_to),
        (RemoteFault::NoSpace, None)
    );
}

#[tokio::test]
async fn hostile_names_are_named_and_left_out() {
    let server = Scripted::start(Script {
        names: Mutex::new(
            [
                names(&[b".", b"..", b"good", b"../x", b"/etc/passwd"]),
                names(&[b"a\0b", b"a\r\nRM b", b"", b"\xff"]),
            ]
            .into(),
        ),
        ..Script::default()
    })
    .await;
    let mut remote = server.connect().await;
    let (mut good, mut refused) = (Vec::new(), Vec::new());
    for listed in listing(&mut remote, b"in").await {
        match listed {
            Listed::Entry(entry) => good.push(entry.name.as_bytes().to_vec()),
            Listed::Refused { raw, .. } => refused.push(raw),
        }
    }
    assert_eq!(good, [&b"good"[..], b"\xff"]);
    assert_eq!(
        refused,
        [&b"../x"[..], b"/etc/passwd", b"a\0b", b"a\r\nRM b", b""]
    );
}

#[tokio::test]
async fn a_listing_without_end_is_left_at_its_limit() {
    let many: Vec<&[u8]> = vec![b"f"; 4_000];
    let packet_of_names = packet(104, 0, &[&names(&many)]);
    let server = Scripted::start(Script {
        react: Box::new(move |request| match request.kind {
            12 => {
                let mut answer = packet_of_names.clone();
                answer[5..9].copy_from_slice(&request.id.to_be_bytes());
                Reaction::Say(answer)
            }
            _ => Reaction::Usual,
        }),
        ..Script::default()
    })
    .await;
    let mut remote = server.connect().await;
    let mut seen = 0;
    let error = remote
        .list(&path("in"), &mut |_| {
            seen += 1;
            std::ops::ControlFlow::Continue(())
        })
        .await
        .unwrap_err();
    let limit = crate::sftp::transfer::MAX_LISTED;
    assert_eq!(seen, limit);
    assert!(matches!(error.fault, RemoteFault::OverLimit { limit: at, .. } if at == limit));
}

#[tokio::test]
async fn a_server_that_hangs_is_left_in_time_and_the_next_verb_fails_the_same_way() {
    // Each kind of request may be the one that is not answered.
    for (kind, put) in [(3, false), (5, false), (4, false), (6, true), (4, true)] {
        let server = Scripted::start(Script {
            file: content(1000).into(),
            react: Box::new(move |request| match request.kind {
                asked if asked == kind => Reaction::Silence,
                _ => Reaction::Usual,
            }),
            ..Script::default()
        })
        .await;
        let mut options = server.options();
        options.timeouts.request = Duration::from_millis(150);
        let mut remote = SftpRemote::connect(&options).await.unwrap();
        let error = if put {
            let source = content(1000);
            remote
                .put(&path("f"), 0, &mut source.as_slice(), &Silent)
                .await
                .unwrap_err()
        } else {
            got(&mut remote).await.unwrap_err()
        };
        let expected = RemoteFault::TimedOut {
            after: Duration::from_millis(150),
        };
        assert_eq!(error.fault, expected, "{kind}");
        let next = remote.remove(&path("f")).await.unwrap_err();
        assert_eq!((next.step, next.fault), (Step::Remove, expected));
    }
}

#[tokio::test]
async fn a_server_that_stalls_in_the_middle_of_a_packet_is_left_in_time() {
    let server = Scripted::start(Script {
        react: Box::new(|request| match request.kind {
            5 if request.fields[5..13] == [0; 8] => {
                Reaction::Say(packet(103, request.id, &[&string(b"whole")])[..12].to_vec())
            }
            5 => Reaction::Silence,
            _ => Reaction::Usual,
        }),
        ..Script::default()
    })
    .await;
    let mut options = server.options();
    options.timeouts.stall = Duration::from_millis(150);
    let mut remote = SftpRemote::connect(&options).await.unwrap();
    let error = got(&mut remote).await.unwrap_err();
    assert_eq!(
        error.fault,
        RemoteFault::TimedOut {
            after: Duration::from_millis(150)
        }
    );
}

#[tokio::test]
async fn answers_that_make_no_sense_end_the_connection() {
    type Answer = fn(u32) -> Vec<u8>;
    let cases: [(&str, Answer); 8] = [
        ("oversize", |_| u32::MAX.to_be_bytes().to_vec()),
        ("no length", |_| 0_u32.to_be_bytes().to_vec()),
        ("no such type", |id| packet(99, id, &[])),
        ("no such request", |id| {
            packet(103, id + 1000, &[&string(b"x")])
        }),
        ("cut short", |id| packet(103, id, &[&9_u32.to_be_bytes()])),
        ("too much", |id| packet(103, id, &[&string(&[0; 40_000])])),
        ("nothing", |id| packet(103, id, &[&string(b"")])),
        ("another kind", |id| packet(102, id, &[&string(b"h")])),
    ];
    for (what, answer) in cases {
        let server = Scripted::start(Script {
            react: Box::new(move |request| match request.kind {
                5 => Reaction::Say(answer(request.id)),
                _ => Reaction::Usual,
            }),
            ..Script::default()
        })
        .await;
        let mut remote = server.connect().await;
        let error = got(&mut remote).await.unwrap_err();
        assert!(
            matches!(error.fault, RemoteFault::Protocol { .. }),
            "{what}: {error}"
        );
        assert!(error.ends_connection());
        assert!(remote.stat(&path("f")).await.is_err(), "{what}");
    }
}

#[tokio::test]
async fn a_server_that_hangs_up_is_named() {
    for kind in [1, 3, 5] {
        let server = Scripted::start(Script {
            file: content(1000).into(),
            react: Box::new(move |request| {
                if request.kind == kind {
                    Reaction::HangUp
                } else {
                    Reaction::Usual
                }
            }),
            ..Script::default()
        })
        .await;
        let error = match SftpRemote::connect(&server.options()).await {
            Ok(mut remote) => got(&mut remote).await.unwrap_err(),
            Err(error) => error,
        };
        assert_eq!(error.fault, RemoteFault::ConnectionLost, "{kind}");
    }
}

#[tokio::test]
async fn another_version_of_the_protocol_is_refused() {
    for version in [2, 4, 6] {
        let server = Scripted::start(Script {
            version,
            ..Script::default()
        })
        .await;
        let error = SftpRemote::connect(&server.options()).await.unwrap_err();
        assert_eq!(
            error.fault,
            RemoteFault::Unsupported {
                what: "SFTP version 3"
            }
        );
    }
}

#[tokio::test]
async fn unknown_extensions_are_ignored_and_none_is_used_unasked() {
    let server = Scripted::start(Script {
        extensions: vec!["vendor-id", "newline", "rm-rf@example.test"],
        ..Script::default()
    })
    .await;
    let mut remote = server.connect().await;
    remote
        .put(&path("f"), 0, &mut &b"x"[..], &Silent)
        .await
        .unwrap();
    remote
        .rename(&path("f"), &path("g"), OnExisting::Replace)
        .await
        .unwrap();
    assert_eq!(remote.sha256(&path("g")).await.unwrap(), None);
    let seen = server.script.seen.lock().unwrap().clone();
    assert!(!seen.contains(&200), "{seen:?}");
    // Neither SETSTAT nor FSETSTAT is ever sent.
    assert!(!seen.contains(&9) && !seen.contains(&10), "{seen:?}");
}

#[tokio::test]
async fn the_server_hashes_its_file_where_it_can() {
    for extension in ["check-file", "check-file-name"] {
        let server = Scripted::start(Script {
            extensions: vec![extension],
            file: content(5000).into(),
            ..Script::default()
        })
        .await;
        let mut remote = server.connect().await;
        assert!(remote.abilities().sha256);
        let expected: [u8; 32] = Sha256::digest(content(5000)).into();
        assert_eq!(remote.sha256(&path("f")).await.unwrap(), Some(expected));
    }
}

#[tokio::test]
async fn a_transfer_that_is_dropped_half_way_leaves_the_connection_usable() {
    let whole = content(2_000_000);
    let server = Scripted::start(Script {
        file: whole.clone().into(),
        reversed: true,
        ..Script::default()
    })
    .await;
    let mut remote = server.connect().await;
    // The server answers nothing before the requests stop coming.
    for dropped_after in [0, 1, 5, 30] {
        let mut sink = Vec::new();
        let limit = Duration::from_millis(dropped_after);
        drop(
            layover_depot::timer::timeout(limit, remote.get(&path("f"), 0, &mut sink, &Silent))
                .await,
        );
        assert!(got(&mut remote).await.unwrap() == whole, "{dropped_after}");
    }
}

#[tokio::test]
async fn a_sink_that_fails_is_our_own_fault_and_the_connection_goes_on() {
    let server = Scripted::start(Script {
        file: content(500_000).into(),
        ..Script::default()
    })
    .await;
    let mut remote = server.connect().await;
    let mut full = [0; 100];
    let mut sink = std::io::Cursor::new(&mut full[..]);
    let error = remote
        .get(&path("f"), 0, &mut sink, &Silent)
        .await
        .unwrap_err();
    assert!(matches!(error.fault, RemoteFault::Local { .. }), "{error}");
    assert!(got(&mut remote).await.unwrap() == content(500_000));
}

#[tokio::test]
async fn an_empty_packet_of_names_ends_a_listing() {
    let server = Scripted::start(Script {
        names: Mutex::new([names(&[b"f"]), names(&[]), names(&[b"g"])].into()),
        ..Script::default()
    })
    .await;
    let mut remote = server.connect().await;
    assert_eq!(listing(&mut remote, b"in").await.len(), 1);
}

#[tokio::test]
async fn s04_a_server_opens_no_channel_to_us() {
    let server = Scripted::start(Script::default()).await;
    let mut remote = server.connect().await;
    let answered = || *server.opened.lock().unwrap();
    while answered().is_none() {
        remote.stat(&path("f")).await.unwrap();
    }
    assert_eq!(answered(), Some(false));
}
