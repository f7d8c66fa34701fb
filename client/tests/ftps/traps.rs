//! What servers do wrong, and what becomes of it.

use std::io::Cursor;
use std::ops::ControlFlow;
use std::time::Duration;

use layover_client::ftps::{Ftps, Security};
use layover_client::{
    Listed, Remote, RemoteError, RemoteFault, RemotePath, ServerSystem, Silent, Step,
};

use crate::partners::{content, get, put};
use crate::play::{Answer, End, Play, Stage};

fn file() -> RemotePath {
    RemotePath::new(b"/file").unwrap()
}

async fn connected(stage: &Stage) -> Ftps {
    Ftps::connect(stage.options()).await.unwrap()
}

async fn refused(play: Play) -> (RemoteError, Vec<String>) {
    let stage = Stage::set(play).await;
    let error = Ftps::connect(stage.options())
        .await
        .err()
        .expect("no connection comes about");
    (error, stage.heard())
}

fn explicit() -> Play {
    Play {
        security: Security::Explicit,
        ..Play::default()
    }
}

/// The data port of a server that is gone is closed as well: that is no firewall's fault.
#[tokio::test]
async fn a_data_port_that_is_closed_with_the_server_is_a_lost_connection() {
    // Nobody listens at port 1.
    const NOBODY: &str = "229 go on (|||1|)\r\n";
    for (answer, fault) in [
        (Answer::Say(NOBODY.into()), None),
        (Answer::Leave(NOBODY), Some(RemoteFault::ConnectionLost)),
        (
            Answer::Leave("229 go on (|||1|)\r\n421 good night\r\n"),
            Some(RemoteFault::ConnectionLost),
        ),
    ] {
        let told = format!("{answer:?}");
        let stage = Stage::set(Play::default().instead("EPSV", answer)).await;
        let mut ftp = connected(&stage).await;
        let error = get(&mut ftp, &file()).await.unwrap_err();
        match fault {
            Some(fault) => assert_eq!(error.fault, fault, "{told}"),
            None => assert!(
                matches!(error.fault, RemoteFault::DataConnectionFailed { .. }),
                "{told}: {error}"
            ),
        }
    }
}

#[tokio::test]
async fn o04_an_unreachable_pasv_address_is_repaired_and_epsv_not_asked_again() {
    let stage = Stage::set(Play::default().say("EPSV", "500 what?")).await;
    let mut ftp = connected(&stage).await;
    for _ in 0..3 {
        get(&mut ftp, &file()).await.unwrap();
    }
    let facts = ftp.facts();
    let announced = facts.data_address_repaired.unwrap();
    assert_eq!(announced.ip().to_string(), "10.99.99.99");
    assert_eq!(facts.data_address.unwrap().ip(), facts.server.ip());
    let count = |verb| stage.heard().iter().filter(|line| *line == verb).count();
    assert_eq!((count("EPSV"), count("PASV")), (1, 3));
}

#[tokio::test]
async fn nothing_is_said_before_tls_but_auth() {
    for words in [
        "500 what?",
        "534 not here",
        "431 later",
        "502 no",
        "200 fine",
    ] {
        let (error, heard) = refused(explicit().say("AUTH", words)).await;
        assert_eq!(error.fault, RemoteFault::TlsRefused, "{words}");
        assert_eq!(heard, ["AUTH TLS"], "{words}");
    }
    let smuggled = explicit().say("AUTH", "234 go on\r\n230 you are in");
    let (error, heard) = refused(smuggled).await;
    assert!(
        matches!(error.fault, RemoteFault::Protocol { .. }),
        "{error}"
    );
    assert_eq!(heard, ["AUTH TLS"]);
}

#[tokio::test]
async fn data_that_would_not_be_protected_is_not_sent() {
    let (error, _) = refused(explicit().say("PROT", "536 no")).await;
    assert_eq!(error.fault, RemoteFault::TlsRefused);
    let implicit = || Play {
        security: Security::Implicit,
        ..Play::default()
    };
    let (error, _) = refused(implicit().say("PROT", "534 no")).await;
    assert_eq!(error.fault, RemoteFault::TlsRefused);
    // Implicit servers that know no PROT protect data all the same.
    let stage = Stage::set(implicit().say("PROT", "500 what?")).await;
    get(&mut connected(&stage).await, &file()).await.unwrap();
    // The usual: PBSZ and PROT are said in implicit mode, too.
    let stage = Stage::set(implicit()).await;
    connected(&stage).await;
    assert!(stage.heard().contains(&"PROT P".to_owned()));
}

#[tokio::test]
async fn a_login_fails_by_its_cause() {
    let endless = Answer::Say(vec![b'x'; 20_000]);
    let many = format!("{}220 x", "220-x\r\n".repeat(1_000));
    for (play, step, fault) in [
        (
            Play::default().say("greeting", "421 too many users"),
            Step::Connect,
            RemoteFault::TooManyConnections,
        ),
        (
            Play::default().say("greeting", "530 go away"),
            Step::Connect,
            RemoteFault::NotPermitted,
        ),
        (
            Play::default().say("PASS", "530 no"),
            Step::Login,
            RemoteFault::LoginRefused,
        ),
        (
            Play::default().say("USER", "530 no"),
            Step::Login,
            RemoteFault::LoginRefused,
        ),
        (
            Play::default().say("PASS", "332 account?"),
            Step::Login,
            RemoteFault::LoginRefused,
        ),
        (
            Play::default().say("PASS", "421 too many"),
            Step::Login,
            RemoteFault::TooManyConnections,
        ),
        (
            Play::default().say("TYPE", "504 no"),
            Step::Login,
            RemoteFault::Unsupported {
                what: "binary transfers (TYPE I)",
            },
        ),
        (
            Play::default().instead("greeting", Answer::Cut),
            Step::Connect,
            RemoteFault::ConnectionLost,
        ),
        (
            Play::default().instead("PASS", Answer::Cut),
            Step::Login,
            RemoteFault::ConnectionLost,
        ),
        (
            Play::default().instead("greeting", endless),
            Step::Connect,
            RemoteFault::OverLimit {
                what: "the length of a reply's line",
                limit: 16_384,
            },
        ),
        (
            Play::default().say("greeting", &many),
            Step::Connect,
            RemoteFault::OverLimit {
                what: "the number of a reply's lines",
                limit: 1_000,
            },
        ),
    ] {
        let description = format!("{play:?}").chars().take(300).collect::<String>();
        let (error, _) = refused(play).await;
        assert_eq!((error.step, error.fault), (step, fault), "{description}");
    }
}

#[tokio::test]
async fn a_greeting_that_asks_to_wait_is_waited_for() {
    let stage = Stage::set(Play::default().say("greeting", "120 soon\r\n220 now")).await;
    connected(&stage).await;
    let (error, _) = refused(Play::default().say("greeting", &["120 soon"; 5].join("\r\n"))).await;
    assert_eq!(error.fault, RemoteFault::Busy);
}

#[tokio::test]
async fn a_server_that_hangs_is_left_at_the_time_out() {
    for command in [
        "greeting", "AUTH TLS", "USER", "PASS", "FEAT", "TYPE", "PWD",
    ] {
        let (error, _) = refused(explicit().instead(command, Answer::Hang)).await;
        assert_eq!(
            error.fault,
            RemoteFault::TimedOut {
                after: Duration::from_millis(500)
            },
            "{command}"
        );
    }
    for command in ["EPSV", "RETR"] {
        let stage = Stage::set(explicit().instead(command, Answer::Hang)).await;
        let mut ftp = connected(&stage).await;
        let error = get(&mut ftp, &file()).await.unwrap_err();
        assert!(
            matches!(error.fault, RemoteFault::TimedOut { .. }),
            "{command}: {error}"
        );
        let again = get(&mut ftp, &file()).await.unwrap_err();
        assert_eq!(again, error, "it is over");
    }
}

#[tokio::test]
async fn tls_that_does_not_begin_is_left_at_the_time_out() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stage = Stage::set(explicit()).await;
    let mut options = stage.options();
    options.security = Security::Implicit;
    options.port = Some(listener.local_addr().unwrap().port());
    let error = Ftps::connect(options).await.err().unwrap();
    assert_eq!(error.step, Step::Handshake);
    assert!(
        matches!(error.fault, RemoteFault::TimedOut { .. }),
        "{error}"
    );
}

#[tokio::test]
async fn a_download_without_its_proof_of_being_whole_is_truncated() {
    let bytes = content(100_000, 3);
    for security in [Security::Plain, Security::Explicit] {
        let play = |end, after: &str| {
            let play = Play {
                security,
                content: bytes.clone(),
                end,
                ..Play::default()
            };
            play.say("after", after)
        };
        let mut cases = vec![
            (play(End::Whole, "426 broken off"), false),
            (play(End::CutAt(50_000), "426 broken off"), false),
            (play(End::CutAt(0), "451 disk error"), false),
            (play(End::Whole, "226 complete"), true),
        ];
        if security == Security::Explicit {
            cases.push((play(End::NoCloseNotify, "226 complete"), false));
            for at in [0, 1, 16_384, 50_000, 99_999] {
                cases.push((play(End::CutAt(at), "226 complete"), false));
            }
        }
        for (play, is_whole) in cases {
            let description = format!("{security:?} {:?} {:?}", play.end, play.instead);
            let stage = Stage::set(play).await;
            let mut ftp = connected(&stage).await;
            let answer = get(&mut ftp, &file()).await;
            assert_eq!(answer.is_ok(), is_whole, "{description}");
            if let Err(error) = answer {
                assert!(
                    matches!(error.fault, RemoteFault::Truncated | RemoteFault::Busy),
                    "{description}: {error}"
                );
                assert!(!error.ends_connection(), "{description}: {error}");
                ftp.remove(&file())
                    .await
                    .expect("the control connection lives on");
            }
        }
    }
}

#[tokio::test]
async fn a_download_that_stalls_ends_at_the_time_out() {
    let play = Play {
        content: content(100_000, 3),
        end: End::HangAt(50_000),
        ..explicit()
    };
    let stage = Stage::set(play).await;
    let error = get(&mut connected(&stage).await, &file())
        .await
        .unwrap_err();
    assert_eq!(error.step, Step::Download);
    assert!(
        matches!(error.fault, RemoteFault::TimedOut { .. }),
        "{error}"
    );
}

#[tokio::test]
async fn an_upload_counts_only_with_the_servers_word() {
    let bytes = content(3_000_000, 4);
    for security in [Security::Plain, Security::Explicit] {
        let play = || Play {
            security,
            ..Play::default()
        };
        let stage = Stage::set(play()).await;
        assert_eq!(
            put(&mut connected(&stage).await, &file(), &bytes)
                .await
                .unwrap(),
            3_000_000
        );
        assert!(stage.stored() == bytes);
        for (play, fault) in [
            (
                play().say("after", "426 broken off"),
                RemoteFault::Truncated,
            ),
            (play().say("after", "552 over quota"), RemoteFault::NoSpace),
            (
                Play {
                    upload_cut: Some(1_000),
                    ..play()
                },
                RemoteFault::NoSpace,
            ),
            (play().say("STOR", "553 no"), RemoteFault::NotPermitted),
            (
                play().instead("STOR", Answer::Cut),
                RemoteFault::ConnectionLost,
            ),
        ] {
            let description = format!("{:?} {:?}", play.upload_cut, play.instead);
            let stage = Stage::set(play).await;
            let error = put(&mut connected(&stage).await, &file(), &bytes)
                .await
                .unwrap_err();
            assert_eq!(error.fault, fault, "{security:?} {description}");
        }
    }
}

#[tokio::test]
async fn an_upload_goes_on_by_appe_where_rest_is_refused() {
    let bytes = content(500_000, 5);
    for play in [
        Play::default().say("REST", "502 what?"),
        Play::default().say("STOR", "451 file: Append/Restart not permitted, try again"),
    ] {
        let refuses_stor = play.instead.iter().any(|(command, _)| *command == "STOR");
        let stage = Stage::set(play).await;
        let mut ftp = connected(&stage).await;
        if !refuses_stor {
            put(&mut ftp, &file(), &bytes[..100_000]).await.unwrap();
            let mut rest = Cursor::new(&bytes[100_000..]);
            ftp.put(&file(), 100_000, &mut rest, &Silent).await.unwrap();
            assert!(stage.stored() == bytes);
        }
        // The file there has another length: nothing is appended.
        let before = stage.stored();
        let mut rest = Cursor::new(&bytes[100_000..]);
        let error = ftp
            .put(&file(), 99_999, &mut rest, &Silent)
            .await
            .unwrap_err();
        assert!(
            matches!(
                error.fault,
                RemoteFault::WrongSize {
                    expected: 99_999,
                    ..
                }
            ),
            "{error}"
        );
        assert!(stage.stored() == before);
    }
}

#[tokio::test]
async fn hostile_names_of_a_listing_are_named_and_left_out() {
    let listing = b"type=file;size=1; good\r\n\
                    type=file;size=1; ../up\r\n\
                    type=file;size=1; /etc/passwd\r\n\
                    type=file;size=1; nul\0inside\r\n\
                    type=file;size=1; cr\rDELE good\r\n\
                    type=dir; ..\r\n";
    for (features, content) in [
        (Play::default().features, listing.to_vec()),
        (
            &["SIZE"][..],
            String::from_utf8(listing.to_vec())
                .unwrap()
                .replace("type=file;size=1; ", "-rw-r--r-- 1 u g 1 Jan  2  2024 ")
                .replace("type=dir; ", "drwxr-xr-x 1 u g 1 Jan  2  2024 ")
                .into_bytes(),
        ),
    ] {
        let stage = Stage::set(Play {
            features,
            content,
            ..Play::default()
        })
        .await;
        let mut ftp = connected(&stage).await;
        let (mut good, mut bad) = (Vec::new(), 0);
        let folder = RemotePath::new(b"/in").unwrap();
        ftp.list(&folder, &mut |listed| {
            match listed {
                Listed::Entry(entry) => good.push(entry.name.to_string()),
                Listed::Refused { .. } => bad += 1,
            }
            ControlFlow::Continue(())
        })
        .await
        .unwrap();
        assert_eq!((good, bad), (vec!["good".to_owned()], 4));
    }
}

#[tokio::test]
async fn a_listing_line_over_the_limit_ends_the_listing_and_not_the_connection() {
    for (length, is_good) in [(8 * 1024, true), (8 * 1024 + 1, false)] {
        let mut content = b"type=file;size=1; x\r\n".to_vec();
        content.extend(std::iter::repeat_n(b'y', length));
        content.extend_from_slice(b"\r\n");
        let stage = Stage::set(Play {
            content,
            ..Play::default()
        })
        .await;
        let mut ftp = connected(&stage).await;
        let folder = RemotePath::new(b"/").unwrap();
        let answer = ftp.list(&folder, &mut |_| ControlFlow::Continue(())).await;
        assert_eq!(answer.is_ok(), is_good, "{length}: {answer:?}");
        if let Err(error) = answer {
            assert!(
                matches!(error.fault, RemoteFault::OverLimit { .. }),
                "{error}"
            );
            ftp.remove(&file())
                .await
                .expect("the control connection lives on");
        }
    }
}

#[tokio::test]
async fn a_data_port_that_nobody_answers_is_named() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let stage = Stage::set(Play::default().say("EPSV", &format!("229 here (|||{port}|)"))).await;
    let mut ftp = connected(&stage).await;
    let error = get(&mut ftp, &file()).await.unwrap_err();
    assert_eq!(error.step, Step::DataConnection);
    let address = format!("127.0.0.1:{port}");
    assert_eq!(error.fault, RemoteFault::DataConnectionFailed { address });
}

#[tokio::test]
async fn drive_paths_and_dos_listings_of_windows_are_understood() {
    let play = Play {
        features: &["SIZE"],
        content: b"02-17-24  09:35AM                 7 f.csv\r\n\
                   02-17-24  09:35AM                 7 ..\\up.csv\r\n"
            .to_vec(),
        ..Play::default()
    }
    .say("PWD", "257 \"C:\\home\" is current")
    .say("SIZE", "550 not now");
    let stage = Stage::set(play).await;
    let mut options = stage.options();
    options.system = ServerSystem::Windows;
    options.listing.time_zone = Some(jiff::tz::TimeZone::get("Europe/Brussels").unwrap());
    let mut ftp = Ftps::connect(options).await.unwrap();
    let path = RemotePath::new(b"C:\\in\\f.csv").unwrap();
    let entry = ftp.stat(&path).await.unwrap().unwrap();
    assert_eq!(entry.size_bytes, Some(7));
    assert_eq!(
        entry.modified.unwrap().at.to_string(),
        "2024-02-17T08:35:00Z"
    );
    let up = RemotePath::new(b"C:\\in\\up.csv").unwrap();
    assert_eq!(ftp.stat(&up).await.unwrap(), None);
    let folders: Vec<_> = stage
        .heard()
        .into_iter()
        .filter(|it| it.starts_with("CWD"))
        .collect();
    assert_eq!(
        folders,
        ["CWD C:\\in", "CWD C:\\home", "CWD C:\\in", "CWD C:\\home"]
    );
    assert!(!ftp.abilities().replace_by_rename);
}

#[tokio::test]
async fn a_farewell_without_an_answer_is_one() {
    let stage = Stage::set(explicit().instead("QUIT", Answer::Cut)).await;
    Box::new(connected(&stage).await).close().await.unwrap();
}
