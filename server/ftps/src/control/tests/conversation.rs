//! Commands and their replies, without data connections.

use layover_depot::{AccountChange, JournalKind, Outcome, Protocol, timer};
use rustls::version::{TLS12, TLS13};

use crate::fixture::{PASSWORD, PATIENCE, USER, World};
use crate::server::Entry;

#[tokio::test]
async fn f01_bytes_in_the_clear_behind_auth_tls_end_the_connection() {
    let world = World::new().await;
    let mut client = world.plain().await;
    client.raw(b"AUTH TLS\r\nUSER alice\r\n").await;
    client.expect_end().await;
}

#[tokio::test]
async fn nothing_but_tls_is_offered_and_nobody_logs_in_without() {
    let world = World::new().await;
    let mut client = world.plain().await;
    assert_eq!(client.ask("AUTH SSL").await.0, 504);
    for line in [
        "USER alice",
        "PASS x",
        "PBSZ 0",
        "PROT P",
        "LIST",
        "STOR x",
        "EPSV",
    ] {
        assert_eq!(client.ask(line).await.0, 530, "{line}");
    }
    assert!(client.ask("FEAT").await.1.contains("\r\n AUTH TLS\r\n"));
    assert_eq!(client.ask("QUIT").await.0, 221);
    client.expect_end().await;
}

#[tokio::test]
async fn a_name_in_the_clear_is_in_the_journal_once() {
    let world = World::new().await;
    let mut client = world.plain().await;
    for line in ["USER alice", "PASS secret-word", "USER alice"] {
        assert_eq!(client.ask(line).await.0, 530, "{line}");
    }
    let logins = world.entries("login").await;
    assert_eq!(logins.len(), 1, "{logins:?}");
    assert_eq!(logins[0].outcome, layover_depot::Outcome::Refused);
    assert_eq!(logins[0].account.as_deref(), Some("alice"));
    let reason = logins[0].detail["reason"].as_str().unwrap();
    assert!(reason.contains("TLS"), "{reason}");
    assert!(!format!("{logins:?}").contains("secret-word"));
}

#[tokio::test]
async fn who_may_not_rename_is_told_at_rnfr_and_mlst_says_so_before() {
    let world = World::new().await;
    let mut client = world.logged_in().await;
    assert_eq!(client.put("STOR file", b"x").await.0, 226);
    assert!(client.ask("MLST file").await.1.contains("Perm=adfrw;"));
    assert_eq!(client.ask("RNFR file").await.0, 350);
    let read_only = AccountChange {
        read_only: Some(true),
        ..AccountChange::default()
    };
    world.change(USER, read_only).await;
    assert!(client.ask("MLST file").await.1.contains("Perm=r;"));
    assert!(client.ask("MLST /").await.1.contains("Perm=el;"));
    let (code, text) = client.ask("RNFR file").await;
    assert_eq!(code, 550);
    assert!(text.contains("may not"), "{text}");
    assert_eq!(client.ask("RNTO other").await.0, 503);
}

#[tokio::test]
async fn site_chmod_tells_the_mode_that_the_file_has() {
    let world = World::new().await;
    let mut client = world.logged_in().await;
    assert_eq!(client.put("STOR file", b"x").await.0, 226);
    for (wish, told) in [("640", "mode is 640"), ("000", "mode is 600 and not 000")] {
        let (code, text) = client.ask(&format!("SITE CHMOD {wish} file")).await;
        assert_eq!(code, 200);
        assert!(text.contains(told), "{text}");
    }
    assert!(client.ask("MLST file").await.1.contains("UNIX.mode=0600;"));
}

#[tokio::test]
async fn mdtm_and_site_utime_set_the_time_and_leave_the_arrival() {
    let world = World::new().await;
    let mut client = world.logged_in().await;
    assert_eq!(client.put("STOR file", b"x").await.0, 226);
    for (line, time) in [
        ("MDTM 20200101020304 file", "20200101020304"),
        (
            "SITE UTIME file 20210101020304 20210101020305 20210101020306 UTC",
            "20210101020305",
        ),
        ("SITE UTIME 20220101020304 file", "20220101020304"),
        ("MFMT 20230101020304 file", "20230101020304"),
    ] {
        let (code, text) = client.ask(line).await;
        assert!([200, 213].contains(&code), "{line}: {text}");
        let (code, text) = client.ask("MDTM file").await;
        assert_eq!(
            (code, text.trim_end()),
            (213, format!("213 {time}").as_str())
        );
        let facts = client.ask("MLST file").await.1;
        assert!(
            facts.contains("X.Layover-Expires=20261126040000;"),
            "{facts}"
        );
    }
    // A file of that name goes first.
    assert_eq!(client.put("STOR 20200101020304 file", b"x").await.0, 226);
    let before = client.ask("MDTM file").await;
    let asked = client.ask("MDTM 20200101020304 file").await;
    assert_eq!(asked.0, 213);
    assert_ne!(asked, before);
    assert_eq!(client.ask("MDTM file").await, before);
    assert_eq!(client.ask("MDTM 20200101020304 missing").await.0, 550);
}

#[tokio::test]
async fn checksums_of_a_part_are_told_for_quoted_and_bare_names() {
    let world = World::new().await;
    let mut client = world.logged_in().await;
    assert_eq!(client.put("STOR a b", b"xx123456789yy").await.0, 226);
    for line in ["XCRC \"a b\" 2 11", "XCRC a b 2 11"] {
        let (code, text) = client.ask(line).await;
        assert_eq!((code, text.trim_end()), (250, "250 CBF43926"), "{line}");
    }
    let whole = client.ask("XMD5 a b").await;
    assert_eq!(client.ask("XMD5 \"a b\" 0 13").await, whole);
    assert_ne!(client.ask("XMD5 a b 0 12").await, whole);
    assert_eq!(client.ask("XSHA256 \"a b\" 14 20").await.0, 501);
    // A file of that name goes first.
    assert_eq!(client.put("STOR a b 0 12", b"xx123456789yy").await.0, 226);
    assert_eq!(client.ask("XMD5 a b 0 12").await, whole);
}

#[tokio::test]
async fn the_login_tells_how_long_files_stay() {
    let world = World::new().await;
    let mut client = world.secured().await;
    assert_eq!(client.ask(&format!("USER {USER}")).await.0, 331);
    let (code, text) = client.ask(&format!("PASS {PASSWORD}")).await;
    assert_eq!(code, 230);
    assert!(text.contains("5d"), "{text}");
    let logins = world.entries("login").await;
    assert_eq!(logins.len(), 1);
    assert_eq!(logins[0].detail["tls"], "TLS 1.3");
    assert_eq!(logins[0].detail["entry"], "explicit");
}

#[tokio::test]
async fn every_refused_login_has_the_same_answer_and_the_fifth_ends_the_connection() {
    let world = World::new().await;
    let mut client = world.secured().await;
    let mut answers = Vec::new();
    for (user, password) in [
        (USER, "wrong"),
        ("nobody", "wrong"),
        ("no such name!", "x"),
        (USER, ""),
    ] {
        client.ask(&format!("USER {user}")).await;
        answers.push(client.ask(&format!("PASS {password}")).await);
    }
    assert!(
        answers.iter().all(|answer| *answer == answers[0]),
        "{answers:?}"
    );
    assert_eq!(answers[0].0, 530);
    client.ask("USER nobody").await;
    assert_eq!(client.ask("PASS wrong").await.0, 421);
    client.expect_end().await;
}

#[tokio::test]
async fn f07_syntax_errors_are_answered_and_the_session_goes_on() {
    let world = World::new().await;
    let mut client = world.logged_in().await;
    for (line, code) in [
        ("OPTS MLST x", 501),
        ("MODE Z", 504),
        ("STRU R", 504),
        ("REST abc", 501),
        ("RETR", 501),
        ("PORT 1,2", 501),
        ("EPRT |1|", 501),
        ("FROBNICATE", 500),
        ("", 500),
        ("NOOP x", 200),
    ] {
        assert_eq!(client.ask(line).await.0, code, "{line}");
    }
    client.raw(b"DELE a\0b\r\n").await;
    assert_eq!(client.reply().await.0, 500);
    assert_eq!(client.ask("NOOP").await.0, 200);
}

#[tokio::test]
async fn f08_pipelined_commands_are_answered_in_their_order() {
    let world = World::new().await;
    let mut client = world.logged_in().await;
    assert_eq!(client.put("STOR a", b"12345").await.0, 226);
    assert_eq!(client.put("STOR b", b"123").await.0, 226);
    client
        .raw(b"SIZE a\r\nSIZE b\r\nRNFR a\r\nRNTO c\r\nSIZE a\r\nPWD\r\n")
        .await;
    let mut codes = Vec::new();
    for _ in 0..6 {
        codes.push(client.reply().await);
    }
    let texts: Vec<_> = codes.iter().map(|(code, _)| *code).collect();
    assert_eq!(texts, [213, 213, 350, 250, 550, 257]);
    assert!(codes[0].1.contains(" 5\r\n") && codes[1].1.contains(" 3\r\n"));
}

#[tokio::test]
async fn a_rename_needs_both_names_next_to_each_other() {
    let world = World::new().await;
    let mut client = world.logged_in().await;
    client.put("STOR a", b"x").await;
    assert_eq!(client.ask("RNTO b").await.0, 503);
    assert_eq!(client.ask("RNFR a").await.0, 350);
    client.ask("NOOP").await;
    assert_eq!(client.ask("RNTO b").await.0, 503);
    assert!(world.content("a").is_some() && world.content("b").is_none());
}

#[tokio::test]
async fn f18_paths_are_relative_to_the_current_folder_and_never_leave_the_top() {
    let world = World::new().await;
    let mut client = world.logged_in().await;
    assert_eq!(client.ask("MKD d").await.0, 257);
    assert_eq!(client.ask("CWD d").await.0, 250);
    assert_eq!(client.put("STOR  odd \" name ", b"x").await.0, 226);
    assert_eq!(world.content("d/ odd \" name ").as_deref(), Some(&b"x"[..]));
    assert!(
        client
            .ask("MLST  odd \" name ")
            .await
            .1
            .contains("; /d/ odd \" name \r\n")
    );
    assert!(client.ask("STAT  odd \" name ").await.1.contains("odd"));
    assert_eq!(
        client.ask("MKD a\"b").await.1,
        "257 \"/d/a\"\"b\" was made\r\n"
    );
    assert_eq!(client.ask("CWD ../../../..").await.0, 250);
    assert!(client.ask("PWD").await.1.starts_with("257 \"/\" "));
    assert_eq!(client.ask("CDUP").await.0, 250);
    client.raw(b"MKD a\rb\r\n").await;
    assert_eq!(client.reply().await.0, 553);
}

#[tokio::test]
async fn f19_epsv_all_and_active_mode_are_kept_to() {
    let world = World::with(|options| options.active_mode = crate::ActiveMode::Allowed).await;
    let mut client = world.logged_in().await;
    assert_eq!(client.ask("PORT 192,0,2,1,200,1").await.0, 501);
    assert_eq!(client.ask("PORT 127,0,0,1,0,22").await.0, 501);
    assert_eq!(client.ask("EPRT |1|192.0.2.1|51201|").await.0, 501);
    assert_eq!(client.ask("PORT 127,0,0,1,200,1").await.0, 200);
    assert_eq!(client.ask("EPSV 2").await.0, 522);
    assert_eq!(client.ask("EPSV ALL").await.0, 200);
    for line in ["PASV", "PORT 127,0,0,1,200,1", "EPRT |1|127.0.0.1|51201|"] {
        assert_eq!(client.ask(line).await.0, 503, "{line}");
    }
    assert_eq!(client.ask("EPSV").await.0, 229);
    let off = World::new().await;
    assert_eq!(
        off.logged_in().await.ask("PORT 127,0,0,1,200,1").await.0,
        502
    );
}

#[tokio::test]
async fn f14_pasv_tells_the_public_address_and_epsv_works_all_the_same() {
    let public = std::net::Ipv4Addr::new(203, 0, 113, 7);
    let everybody: ipnet::IpNet = "0.0.0.0/0".parse().unwrap();
    let world =
        World::with(|options| options.public_addresses.replace(vec![(everybody, public)])).await;
    let mut client = world.logged_in().await;
    let (code, text) = client.ask("PASV").await;
    assert_eq!(code, 227);
    assert!(text.contains("(203,0,113,7,"), "{text}");
    // Over EPSV, to the address of the control connection.
    assert_eq!(client.get("LIST").await.0.0, 226);
    let inside = World::new().await;
    let (code, text) = inside.logged_in().await.ask("PASV").await;
    assert_eq!(code, 227);
    assert!(text.contains("(127,0,0,1,"), "{text}");
}

#[tokio::test]
async fn a_checksum_is_told_and_counts_as_no_download() {
    let world = World::new().await;
    let mut client = world.logged_in().await;
    client.put("STOR a", b"123456789").await;
    assert!(client.ask("XCRC a").await.1.contains("CBF43926"));
    let (code, text) = client.ask("HASH a").await;
    assert_eq!(code, 213);
    assert!(
        text.contains("SHA-256 0-9 15e2b0d3c33891ebb0f1ef609ec41942"),
        "{text}"
    );
    assert_eq!(client.ask("XMD5 missing").await.0, 550);
    assert!(world.entries("download").await.is_empty());
}

/// A ClientHello of this version with one suite and these extensions.
fn hello(version: [u8; 2], suite: [u8; 2], extensions: &[u8]) -> Vec<u8> {
    let extensions_length = u8::try_from(extensions.len()).unwrap();
    let body = [
        &version[..],
        &[7; 32],
        &[0, 0, 2],
        &suite,
        &[1, 0, 0, extensions_length],
        extensions,
    ]
    .concat();
    let length = u8::try_from(body.len()).unwrap();
    [&[22, 3, 1, 0, length + 4, 1, 0, 0, length][..], &body].concat()
}

#[tokio::test]
async fn who_fails_at_tls_finds_the_cause_in_the_journal_and_a_crowd_does_not_fill_it() {
    let world = World::new().await;
    let running = timer::Stopwatch::start();
    // A connection's end is journalled behind it, in no order.
    let told = async |count: usize| {
        let told = async {
            loop {
                let told = world.entries("login").await;
                if told.len() >= count {
                    return told;
                }
                tokio::task::yield_now().await;
            }
        };
        timer::timeout(PATIENCE, told).await.expect("an entry each")
    };
    // ECDSA with SHA-256; X25519.
    let extensions = [0, 13, 0, 4, 0, 2, 4, 3, 0, 10, 0, 4, 0, 2, 0, 29];
    let old = hello([3, 2], [0xc0, 0x14], &[]);
    let weak = hello([3, 3], [0, 5], &extensions);
    world.says(Entry::Explicit, &weak).await;
    told(1).await;
    world.says(Entry::Implicit, &old).await;
    told(2).await;
    world.says(Entry::Implicit, &weak).await;
    told(3).await;
    for version in [&TLS12, &TLS13] {
        let stranger = crate::tls::tests::tls().identity();
        let untrusting = crate::tls::tests::client(&stranger, version);
        world.refused(untrusting).await;
    }
    let causes = [
        "give it that port",
        "version is too old",
        "no cipher suite in common",
        "does not trust this server's certificate",
        "does not trust this server's certificate",
    ];
    for (entry, cause) in told(causes.len()).await.iter().zip(causes) {
        assert_eq!(entry.kind, JournalKind::Login);
        assert_eq!(entry.outcome, Outcome::Refused);
        assert_eq!(entry.protocol, Some(Protocol::Ftps));
        assert!(entry.peer.is_some_and(|peer| peer.is_loopback()));
        assert_eq!(entry.detail["method"], "none");
        let reason = entry.detail["reason"].as_str().unwrap();
        assert!(reason.contains(cause), "{reason}");
    }
    for _ in 0..100 {
        world.says(Entry::Implicit, &old).await;
    }
    world.logged_in().await;
    // Of those that were let in one is that login.
    let told = told(30).await.len();
    let most = 30 + 1 + usize::try_from(running.elapsed().as_secs() / 30).unwrap();
    assert!(told <= most, "{told} entries, at most {most}");
}

// They computed on for minutes, for nobody.
#[tokio::test]
async fn a_checksum_ends_at_abor_and_with_its_client() {
    let world = World::new().await;
    let mut client = world.logged_in().await;
    assert_eq!(client.put("STOR huge", b"x").await.0, 226);
    world.stretch("huge", 1 << 40);
    for command in ["HASH huge", "XSHA256 huge", "XCRC huge", "XMD5 huge"] {
        client.raw(format!("{command}\r\n").as_bytes()).await;
        let (code, text) = client.ask("STAT").await;
        assert_eq!(code, 213, "{command}: {text}");
        let (code, text) = client.ask("ABOR").await;
        assert_eq!(code, 451, "{command}: {text}");
        assert_eq!(client.reply().await.0, 226, "ABOR's own");
    }
    assert_eq!(client.ask("NOOP").await.0, 200);
    // Whoever says QUIT and stays gets the answer; whoever leaves needs none.
    for last in ["HASH huge\r\n", "HASH huge\r\nQUIT\r\n"] {
        let mut leaving = world.logged_in().await;
        leaving.raw(last.as_bytes()).await;
        drop(leaving);
    }
    let ended = async {
        while world.entries("logout").await.len() < 2 {
            tokio::task::yield_now().await;
        }
    };
    timer::timeout(PATIENCE, ended).await.expect("both ended");
    assert!(world.entries("download").await.is_empty());
}

#[tokio::test]
async fn rein_ends_the_session_and_a_new_user_may_come() {
    let world = World::new().await;
    let mut client = world.logged_in().await;
    assert_eq!(client.ask("REIN").await.0, 220);
    assert_eq!(client.ask("PWD").await.0, 530);
    assert_eq!(world.entries("logout").await.len(), 1);
    assert_eq!(client.ask(&format!("USER {USER}")).await.0, 331);
    assert_eq!(client.ask(&format!("PASS {PASSWORD}")).await.0, 230);
}

#[tokio::test]
async fn a_stopping_server_says_so_and_begins_no_transfer() {
    let world = World::new().await;
    let mut client = world.logged_in().await;
    world.soft.cancel();
    assert_eq!(client.reply().await.0, 421);
    client.expect_end().await;
    let logouts = async {
        while world.entries("logout").await.is_empty() {
            tokio::task::yield_now().await;
        }
    };
    timer::timeout(PATIENCE, logouts).await.unwrap();
}
