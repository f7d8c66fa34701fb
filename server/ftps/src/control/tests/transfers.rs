//! Files over data connections, and every way in which that ends.

use layover_depot::{Actor, Enabled, timer};
use rustls::version::{TLS12, TLS13};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::fixture::{OTHER, PASSWORD, PATIENCE, USER, World};
use crate::tls::tests::connect;

/// Larger than all buffers between us and a client that does not read.
const LARGE_BYTES: usize = 64 * 1024 * 1024;

#[tokio::test]
async fn a_file_goes_up_and_down_and_the_replies_tell_its_end() {
    let world = World::new().await;
    for version in [&TLS12, &TLS13] {
        let mut client = world.logged_in_as("alice", world.tls_of(version)).await;
        let content: Vec<u8> = (0..1_000_000_u32).flat_map(u32::to_le_bytes).collect();
        let (code, text) = client.put("STOR file", &content).await;
        assert_eq!(code, 226);
        assert!(
            text.contains("3.8 MiB") && text.contains("2026-11-26 04:00:00 UTC"),
            "{text}"
        );
        let ((code, text), got) = client.get("RETR file").await;
        assert_eq!(code, 226);
        assert!(text.contains("2026-11-26 04:00:00 UTC"), "{text}");
        assert!(got == content);
    }
    let uploads = world.entries("upload").await;
    assert_eq!(uploads[0].detail["tls"], "TLS 1.2");
    assert_eq!(uploads[1].detail["tls"], "TLS 1.3");
    assert_eq!(uploads[1].detail["data"], "bound");
    assert_eq!(uploads[1].detail["end"], "close-notify");
    let downloads = world.entries("download").await;
    assert_eq!(downloads[1].detail["suite"], "TLS13_AES_256_GCM_SHA384");
}

#[tokio::test]
async fn f02_no_data_command_works_without_prot_p() {
    let world = World::new().await;
    let mut client = world.secured().await;
    client.ask("USER alice").await;
    client.ask(&format!("PASS {}", PASSWORD)).await;
    for line in ["PROT C", "CCC"] {
        assert_eq!(client.ask(line).await.0, 534, "{line}");
    }
    for line in ["LIST", "NLST", "MLSD", "STOR x", "APPE x", "STOU"] {
        let _socket = client.data_socket().await;
        assert_eq!(client.ask(line).await.0, 521, "{line}");
    }
    world.assert_none_began("upload").await;
    assert_eq!(client.ask("PBSZ 0").await.0, 200);
    assert_eq!(client.ask("PROT P").await.0, 200);
    assert_eq!(client.get("LIST").await.0.0, 226);
}

#[tokio::test]
async fn f03_abor_stops_a_transfer_with_426_and_226_and_the_session_goes_on() {
    let world = World::new().await;
    let mut client = world.logged_in().await;
    let mut data = client.begin("STOR file").await;
    data.write_all(b"beginning").await.unwrap();
    assert_eq!(client.ask("STAT").await.0, 213);
    client.raw(b"\xff\xf4\xff\xf2ABOR\r\nNOOP\r\n").await;
    assert_eq!(client.reply().await.0, 426);
    assert_eq!(client.reply().await.0, 226);
    assert_eq!(client.reply().await.0, 200);
    assert_eq!(world.content("file"), None);
    assert_eq!(client.put("STOR file", b"whole").await.0, 226);
    assert_eq!(client.ask("ABOR").await.0, 226);
}

#[tokio::test]
async fn f03_a_download_that_nobody_reads_is_stopped_by_abor() {
    let world = World::new().await;
    let mut client = world.logged_in().await;
    client.put("STOR file", &vec![7; LARGE_BYTES]).await;
    let mut data = client.begin("RETR file").await;
    data.read_exact(&mut [0; 10]).await.unwrap();
    assert_eq!(client.ask("ABOR").await.0, 426);
    assert_eq!(client.reply().await.0, 226);
    let downloads = world.entries("download").await;
    assert_eq!(downloads[0].outcome, layover_depot::Outcome::Failed);
}

#[tokio::test]
async fn f04_a_data_connection_without_tls_gets_a_reply_and_the_session_goes_on() {
    let world = World::new().await;
    let mut client = world.logged_in().await;
    let mut socket = client.data_socket().await;
    assert_eq!(client.ask("STOR file").await.0, 150);
    socket
        .write_all(b"plain bytes, and no handshake at all")
        .await
        .unwrap();
    assert_eq!(client.reply().await.0, 425);
    // F15: nothing was made.
    world.assert_none_began("upload").await;
    assert_eq!(client.ask("SIZE file").await.0, 550);
    assert_eq!(client.put("STOR file", b"x").await.0, 226);
}

#[tokio::test]
async fn f06_rest_counts_for_one_transfer_even_when_that_fails() {
    let world = World::new().await;
    let mut client = world.logged_in().await;
    client.put("STOR file", &[1; 500]).await;
    client.ask("REST 500").await;
    let socket = client.data_socket().await;
    assert_eq!(client.ask("STOR file").await.0, 150);
    drop(socket);
    assert_eq!(client.reply().await.0, 425);
    assert_eq!(client.put("STOR file", &[2; 10]).await.0, 226);
    assert_eq!(world.content("file"), Some(vec![2; 10]));
}

#[tokio::test]
async fn rest_goes_on_at_its_byte_and_leaves_nothing_behind_the_end() {
    let world = World::new().await;
    let mut client = world.logged_in().await;
    client.put("STOR file", b"0123456789").await;
    assert_eq!(client.ask("REST 4").await.0, 350);
    assert_eq!(client.put("STOR file", b"xy").await.0, 226);
    assert_eq!(world.content("file").as_deref(), Some(&b"0123xy"[..]));
    client.ask("REST 4").await;
    assert_eq!(client.get("RETR file").await.1, b"xy");
    assert_eq!(client.put("APPE file", b"+").await.0, 226);
    assert_eq!(world.content("file").as_deref(), Some(&b"0123xy+"[..]));
    client.ask("REST 99").await;
    client.data_socket().await;
    assert_eq!(client.ask("STOR file").await.0, 554);
}

#[tokio::test]
async fn r04_an_upload_without_close_notify_stays_hidden_and_can_be_resumed() {
    let world = World::new().await;
    let mut client = world.logged_in().await;
    let mut data = client.begin("STOR file").await;
    data.write_all(b"first half").await.unwrap();
    data.flush().await.unwrap();
    let (socket, _) = data.into_inner();
    drop(socket);
    let (code, text) = client.reply().await;
    assert_eq!(code, 426);
    assert!(text.contains("close_notify"), "{text}");
    assert_eq!(world.content("file"), None);
    assert!(client.get("NLST").await.1.is_empty());
    assert!(client.ask("SIZE file").await.1.contains(" 10\r\n"));
    client.ask("REST 10").await;
    assert_eq!(client.put("STOR file", b", second half").await.0, 226);
    assert_eq!(
        world.content("file").as_deref(),
        Some(&b"first half, second half"[..])
    );
}

#[tokio::test]
async fn r04_a_tolerant_account_publishes_a_bare_end_and_never_a_reset_or_nothing() {
    let world = World::new().await;
    let mut client = world.logged_in_as(OTHER, world.tls_of(&TLS13)).await;
    let mut data = client.begin("STOR bare").await;
    data.write_all(b"all of it").await.unwrap();
    data.flush().await.unwrap();
    drop(data.into_inner().0);
    assert_eq!(client.reply().await.0, 226);
    assert_eq!(client.ask("MLST bare").await.0, 250);

    let data = client.begin("STOR empty").await;
    drop(data.into_inner().0);
    assert_eq!(client.reply().await.0, 426);
    assert_eq!(client.ask("MLST empty").await.0, 550);

    let mut data = client.begin("STOR reset").await;
    data.write_all(b"some").await.unwrap();
    data.flush().await.unwrap();
    // A reset takes with it what has not been read.
    while !client.ask("STAT").await.1.contains("4 bytes so far") {}
    let (socket, _) = data.into_inner();
    socket2::SockRef::from(&socket)
        .set_linger(Some(std::time::Duration::ZERO))
        .unwrap();
    drop(socket);
    assert_eq!(client.reply().await.0, 426);
    assert!(
        !String::from_utf8(client.get("NLST").await.1)
            .unwrap()
            .contains("reset")
    );
    let verdicts: Vec<_> = world.entries("upload").await;
    assert_eq!(verdicts[0].detail["end"], "bare-fin");
}

// What waits behind many commands is heard all the same.
#[tokio::test]
async fn r04_a_control_connection_that_is_lost_behind_many_commands_publishes_nothing() {
    let world = World::new().await;
    let mut client = world.logged_in().await;
    let mut data = client.begin("STOR file").await;
    data.write_all(b"half").await.unwrap();
    data.flush().await.unwrap();
    while !client.ask("STAT").await.1.contains("4 bytes so far") {}
    client.raw(&b"NOOP\r\n".repeat(200)).await;
    drop(client);
    let ended = async {
        while world.entries("upload").await.is_empty() {
            tokio::task::yield_now().await;
        }
    };
    timer::timeout(PATIENCE, ended).await.unwrap();
    let _ = data.shutdown().await;
    assert_eq!(world.entries("upload").await[0].detail["end"], "aborted");
    assert_eq!(world.content("file"), None);
}

#[tokio::test]
async fn f03_abor_is_heard_behind_many_commands() {
    let world = World::new().await;
    let mut client = world.logged_in().await;
    let mut data = client.begin("STOR file").await;
    data.write_all(b"half").await.unwrap();
    data.flush().await.unwrap();
    client.raw(&b"NOOP\r\n".repeat(40)).await;
    client.raw(b"ABOR\r\n").await;
    assert_eq!(client.reply().await.0, 426);
    for _ in 0..40 {
        assert_eq!(client.reply().await.0, 200);
    }
    assert_eq!(client.reply().await.0, 226);
    assert_eq!(world.content("file"), None);
}

#[tokio::test]
async fn whoever_sends_commands_without_end_during_a_transfer_is_ended() {
    for line in [
        &b"NOOP\r\n"[..],
        &[&b"CWD "[..], &[b'x'; 2000], b"\r\n"].concat(),
    ] {
        let world = World::new().await;
        let mut client = world.logged_in().await;
        let mut data = client.begin("STOR file").await;
        data.write_all(b"half").await.unwrap();
        data.flush().await.unwrap();
        let count = if line.len() < 100 { 1025 } else { 33 };
        client.raw(&line.repeat(count)).await;
        assert_eq!(client.reply().await.0, 426);
        assert_eq!(client.reply().await.0, 421);
        client.expect_end().await;
        assert_eq!(world.content("file"), None);
    }
}

#[tokio::test]
async fn a_lost_control_connection_publishes_nothing() {
    let world = World::new().await;
    let mut client = world.logged_in().await;
    let mut data = client.begin("STOR file").await;
    data.write_all(b"half").await.unwrap();
    data.flush().await.unwrap();
    drop(client);
    // The server cuts the data connection when the transfer has ended.
    let mut rest = Vec::new();
    let _ = data.read_to_end(&mut rest).await;
    assert_eq!(world.content("file"), None);
}

#[tokio::test]
async fn fewer_bytes_than_allo_announced_are_no_file() {
    let world = World::new().await;
    let mut client = world.logged_in().await;
    assert_eq!(client.ask("ALLO 100").await.0, 200);
    assert_eq!(client.put("STOR file", b"short").await.0, 426);
    assert_eq!(world.content("file"), None);
    assert_eq!(client.put("STOR file", b"short").await.0, 226);
}

#[tokio::test]
async fn type_a_converts_the_ends_of_lines_both_ways() {
    let world = World::new().await;
    let mut client = world.logged_in().await;
    client.ask("TYPE A").await;
    assert_eq!(client.put("STOR text", b"a\r\nb\r\n").await.0, 226);
    assert_eq!(world.content("text").as_deref(), Some(&b"a\nb\n"[..]));
    assert_eq!(client.get("RETR text").await.1, b"a\r\nb\r\n");
    assert_eq!(client.ask("SIZE text").await.0, 550);
}

#[tokio::test]
async fn listings_show_what_is_asked_for() {
    let world = World::new().await;
    let mut client = world.logged_in().await;
    client.ask("MKD d").await;
    for name in ["a.csv", "b.csv", "c.txt", ".hidden"] {
        client.put(&format!("STOR d/{name}"), b"x").await;
    }
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    assert_eq!(
        text(client.get("NLST d").await.1),
        "a.csv\r\nb.csv\r\nc.txt\r\n"
    );
    assert_eq!(
        text(client.get("NLST d/*.csv").await.1),
        "d/a.csv\r\nd/b.csv\r\n"
    );
    assert_eq!(text(client.get("NLST -a d").await.1).lines().count(), 4);
    let list = text(client.get("LIST -la d/c.txt").await.1);
    assert!(
        list.starts_with("-rw") && list.ends_with(" d/c.txt\r\n"),
        "{list}"
    );
    client.ask("OPTS MLST Type;Size;X.Layover-Expires;").await;
    let facts = text(client.get("MLSD d").await.1);
    assert!(
        facts.contains("Type=file;Size=1;X.Layover-Expires=20261126040000; c.txt\r\n"),
        "{facts}"
    );
    client.data_socket().await;
    assert_eq!(client.ask("MLSD d/c.txt").await.0, 501);
    assert_eq!(client.ask("LIST missing").await.0, 550);
}

#[tokio::test]
async fn stou_finds_a_name_that_is_free() {
    let world = World::new().await;
    let mut client = world.logged_in().await;
    assert_eq!(client.put("STOU report", b"1").await.0, 226);
    let (code, text) = client.put("STOU report", b"2").await;
    assert_eq!(code, 226);
    assert!(text.contains("FILE: /report.1"), "{text}");
    assert_eq!(world.content("report").as_deref(), Some(&b"1"[..]));
    assert_eq!(world.content("report.1").as_deref(), Some(&b"2"[..]));
}

#[tokio::test]
async fn parallel_stou_of_one_wish_gives_each_a_name_of_its_own() {
    let world = World::new().await;
    let (mut one, mut two) = (world.logged_in().await, world.logged_in().await);
    let mut first = one.begin("STOU report").await;
    let mut second = two.begin("STOU report").await;
    for (data, content) in [(&mut first, b"1"), (&mut second, b"2")] {
        data.write_all(content).await.unwrap();
        data.shutdown().await.unwrap();
    }
    assert_eq!(one.reply().await.0, 226);
    assert_eq!(two.reply().await.0, 226);
    assert_eq!(world.content("report").as_deref(), Some(&b"1"[..]));
    assert_eq!(world.content("report.1").as_deref(), Some(&b"2"[..]));
    // Given up, a name is free again.
    let third = one.begin("STOU other").await;
    drop(third);
    assert_eq!(one.reply().await.0, 426);
    let (code, text) = two.put("STOU other", b"3").await;
    assert_eq!(code, 226);
    assert!(text.contains("FILE: /other\r\n"), "{text}");
}

#[tokio::test]
async fn who_may_only_write_gets_a_name_of_its_own_and_goes_on_with_what_broke_off() {
    let world = World::new().await;
    world.permit(USER, "write").await;
    let mut client = world.logged_in().await;
    for (content, name) in [("1", "report"), ("2", "report.1"), ("3", "report.2")] {
        let (code, text) = client.put("STOU report", content.as_bytes()).await;
        assert_eq!(code, 226, "{text}");
        assert!(
            text.trim_end().ends_with(&format!("FILE: /{name}")),
            "{text}"
        );
        assert_eq!(world.content(name).as_deref(), Some(content.as_bytes()));
    }
    // What is complete it may neither see nor change.
    assert_eq!(client.ask("SIZE report").await.0, 550);
    let _data = client.data_socket().await;
    assert_eq!(client.ask("APPE report").await.0, 550);
    for (number, resume) in ["REST 3", "APPE"].into_iter().enumerate() {
        let name = format!("broken-{number}");
        let mut data = client.begin(&format!("STOR {name}")).await;
        data.write_all(b"123").await.unwrap();
        data.flush().await.unwrap();
        drop(data);
        assert_eq!(client.reply().await.0, 426);
        assert_eq!(world.content(&name), None);
        assert_eq!(
            client.ask(&format!("SIZE {name}")).await.1.trim_end(),
            "213 3"
        );
        let (code, text) = if resume == "APPE" {
            client.put(&format!("APPE {name}"), b"45").await
        } else {
            assert_eq!(client.ask(resume).await.0, 350);
            client.put(&format!("STOR {name}"), b"45").await
        };
        assert_eq!(code, 226, "{resume}: {text}");
        assert_eq!(
            world.content(&name).as_deref(),
            Some(&b"12345"[..]),
            "{resume}"
        );
    }
    // A name that a folder has is taken, too, and not worth a refusal.
    world.make_folder("folder");
    world.permit(USER, "mkdir,write").await;
    assert_eq!(client.put("STOU folder", b"x").await.0, 226);
    assert_eq!(world.content("folder.1").as_deref(), Some(&b"x"[..]));
}

#[tokio::test]
async fn a_listing_is_read_only_after_its_data_connection_has_come() {
    // Parked commands must not hold folders in memory.
    let world = World::new().await;
    let (mut client, mut other) = (world.logged_in().await, world.logged_in().await);
    for command in ["NLST", "LIST", "MLSD"] {
        let socket = client.data_socket().await;
        assert_eq!(client.ask(command).await.0, 150);
        let late = format!("late-for-{command}");
        assert_eq!(other.put(&format!("STOR {late}"), b"x").await.0, 226);
        let mut data = connect(&client.config, socket).await.unwrap();
        let mut listing = Vec::new();
        data.read_to_end(&mut listing).await.unwrap();
        data.shutdown().await.unwrap();
        assert_eq!(client.reply().await.0, 226);
        let listing = String::from_utf8(listing).unwrap();
        assert!(listing.contains(&late), "{command}: {listing}");
    }
}

#[tokio::test]
async fn a_long_listing_comes_whole_each_name_once_and_sorted() {
    let world = World::new().await;
    let mut client = world.logged_in().await;
    assert_eq!(client.ask("MKD many").await.0, 257);
    let names: Vec<String> = (0..2000)
        .map(|number| format!("a-folder-with-a-long-name-{number:04}"))
        .collect();
    for name in &names {
        world.make_folder(&format!("many/{name}"));
    }
    let (_, listing) = client.get("NLST many").await;
    let listing = String::from_utf8(listing).unwrap();
    assert!(listing.lines().eq(names.iter().map(String::as_str)));
    // The same in a reply.
    let (code, text) = client.ask("STAT many").await;
    assert_eq!(code, 213);
    let told = text.lines().filter(|line| line.starts_with(" d"));
    assert!(told.zip(&names).all(|(line, name)| line.ends_with(name)));
    assert_eq!(text.lines().count(), names.len() + 2, "first and last line");
    assert_eq!(client.ask("NOOP").await.0, 200);
}

#[tokio::test]
async fn what_the_quota_cannot_hold_is_refused_when_it_is_announced() {
    let world = World::new().await;
    world.set_quota(USER, 1000).await;
    let mut client = world.logged_in().await;
    let (code, text) = client.ask("ALLO 1001").await;
    assert_eq!(code, 552);
    assert!(text.contains("quota"), "{text}");
    assert_eq!(client.put("STOR file", &[1; 600]).await.0, 226);
    assert_eq!(client.ask("ALLO 500").await.0, 200);
    let _data = client.data_socket().await;
    let (code, text) = client.ask("STOR other").await;
    assert_eq!(code, 552);
    assert!(text.contains("quota"), "{text}");
    // What is replaced makes room.
    assert_eq!(client.ask("ALLO 500").await.0, 200);
    assert_eq!(client.put("STOR file", &[2; 500]).await.0, 226);
}

#[tokio::test]
async fn an_upload_that_the_quota_stops_is_journalled_as_that() {
    let world = World::new().await;
    world.set_quota(USER, 1000).await;
    let mut client = world.logged_in().await;
    let (code, text) = client.put("STOR file", &[1; 1001]).await;
    assert_eq!(code, 552);
    assert!(text.contains("quota"), "{text}");
    let uploads = world.entries("upload").await;
    assert_eq!(uploads.len(), 1, "{uploads:?}");
    assert_eq!(uploads[0].outcome, layover_depot::Outcome::Failed);
    assert_eq!(uploads[0].detail["why"], "quota");
}

#[tokio::test]
async fn a_session_that_an_operator_ends_is_journalled_so_also_when_the_client_is_faster() {
    let world = World::new().await;
    let mut client = world.logged_in().await;
    let mut data = client.begin("STOR file").await;
    data.write_all(b"half").await.unwrap();
    let (actor, name) = (Actor::new("operator"), "alice".parse().unwrap());
    let registry = world.depot.registry();
    registry
        .set_enabled(&actor, &name, Enabled::No)
        .await
        .unwrap();
    world.depot.refresh().await.unwrap();
    // While the server waits for the end of the data connection.
    drop(client);
    drop(data);
    let told = async {
        loop {
            let ends = world.entries("logout").await;
            if let Some(end) = ends.last() {
                break end.detail["reason"].clone();
            }
            tokio::task::yield_now().await;
        }
    };
    let reason = timer::timeout(PATIENCE, told).await.unwrap();
    assert_eq!(reason, "account-disabled");
}

#[tokio::test]
async fn f10_our_end_of_an_upload_comes_before_its_reply() {
    let world = World::new().await;
    let mut client = world.logged_in().await;
    let mut data = client.begin("STOR file").await;
    data.write_all(b"x").await.unwrap();
    data.shutdown().await.unwrap();
    let mut rest = Vec::new();
    // Without close_notify this were an error.
    assert_eq!(data.read_to_end(&mut rest).await.unwrap(), 0);
    assert_eq!(client.reply().await.0, 226);
}

#[tokio::test]
async fn a_transfer_that_runs_may_finish_when_the_server_stops() {
    let world = World::new().await;
    let mut client = world.logged_in().await;
    let mut data = client.begin("STOR file").await;
    data.write_all(b"first").await.unwrap();
    world.soft.cancel();
    data.write_all(b", second").await.unwrap();
    data.shutdown().await.unwrap();
    assert_eq!(client.reply().await.0, 226);
    assert_eq!(client.reply().await.0, 421);
    assert_eq!(
        world.content("file").as_deref(),
        Some(&b"first, second"[..])
    );
}

#[tokio::test]
async fn r04_a_killed_client_of_a_tolerant_account_publishes_nothing() {
    let world = World::new().await;
    let mut client = world.logged_in_as(OTHER, world.tls_of(&TLS13)).await;
    let mut data = client.begin("STOR killed").await;
    data.write_all(b"half").await.unwrap();
    data.flush().await.unwrap();
    while !client.ask("STAT").await.1.contains("4 bytes so far") {}
    // The kernel ends both connections, without close_notify; the data connection first.
    drop(data.into_inner().0);
    drop(client);
    let ended = async {
        while world.entries("upload").await.is_empty() {
            tokio::task::yield_now().await;
        }
    };
    timer::timeout(PATIENCE, ended).await.unwrap();
    let uploads = world.entries("upload").await;
    assert_eq!(uploads[0].outcome, layover_depot::Outcome::Failed);
    assert_eq!(uploads[0].detail["end"], "aborted");
}

#[tokio::test]
async fn an_account_that_is_disabled_is_ended_in_the_middle_and_told() {
    let world = World::new().await;
    let mut client = world.logged_in().await;
    let mut data = client.begin("STOR file").await;
    data.write_all(b"half").await.unwrap();
    let (actor, name) = (Actor::new("operator"), "alice".parse().unwrap());
    let registry = world.depot.registry();
    registry
        .set_enabled(&actor, &name, Enabled::No)
        .await
        .unwrap();
    world.depot.refresh().await.unwrap();
    assert_eq!(client.reply().await.0, 426);
    assert_eq!(client.reply().await.0, 421);
    client.expect_end().await;
    assert_eq!(world.content("file"), None);
}

#[tokio::test]
async fn a_download_that_cannot_begin_is_told_as_a_failed_one_without_bytes() {
    let world = World::new().await;
    let mut client = world.logged_in().await;
    assert_eq!(client.put("STOR file", b"content").await.0, 226);
    assert_eq!(client.ask("RETR file").await.0, 425);
    let mut open = world.secured().await;
    assert_eq!(open.ask(&format!("USER {USER}")).await.0, 331);
    assert_eq!(open.ask(&format!("PASS {PASSWORD}")).await.0, 230);
    let _data = open.data_socket().await;
    assert_eq!(open.ask("RETR file").await.0, 521);
    world.assert_none_began("download").await;
    assert_eq!(world.entries_of("download", 2).await.len(), 2);
    assert_eq!(client.get("RETR file").await.1, b"content");
    let downloads = world.entries_of("download", 3).await;
    let whole: Vec<_> = downloads.iter().map(|entry| entry.size_bytes).collect();
    assert_eq!(whole, [None, None, Some(7)], "{downloads:?}");
}
