//! Limits and time-outs (F05, F09).

use std::time::Duration;

use layover_depot::timer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::fixture::{PATIENCE, World};
use crate::line::MAX_LINE_BYTES;

const SHORT: Duration = Duration::from_secs(1);

#[tokio::test]
async fn f09_a_line_that_is_too_long_gets_500_and_the_end() {
    let world = World::new().await;
    let long = vec![b'x'; MAX_LINE_BYTES + 1];
    let mut plain = world.plain().await;
    plain.raw(&long).await;
    assert_eq!(plain.reply().await.0, 500);
    plain.expect_end().await;
    let mut client = world.logged_in().await;
    client.raw(&long).await;
    assert_eq!(client.reply().await.0, 500);
    client.expect_end().await;
    let mut client = world.logged_in().await;
    let longest = format!("NOOP {}", "x".repeat(MAX_LINE_BYTES - 5));
    assert_eq!(client.ask(&longest).await.0, 200);
}

#[tokio::test]
async fn f05_who_does_not_log_in_in_time_is_ended_wherever_it_stands() {
    let world = World::with(|options| options.login_grace = SHORT).await;
    let mut silent = world.plain().await;
    let (code, text) = silent.reply().await;
    assert_eq!(code, 421);
    assert!(text.contains("no login in time"), "{text}");
    silent.expect_end().await;
    let mut after_auth = world.plain().await;
    assert_eq!(after_auth.ask("AUTH TLS").await.0, 234);
    after_auth.expect_end().await;
    let mut half_typed = world.secured().await;
    half_typed.raw(b"USER ali").await;
    assert_eq!(half_typed.reply().await.0, 421);
    half_typed.expect_end().await;
}

// The time was looked at only while no command waited.
#[tokio::test]
async fn f05_who_keeps_commands_waiting_does_not_stay_longer_before_the_login() {
    let world = World::with(|options| options.login_grace = SHORT).await;
    let client = world.secured().await;
    let (mut read, mut write) = tokio::io::split(client.stream);
    let talk = async {
        // Faster than they are answered, until nobody hears them any more.
        while write.write_all(&b"NOOP\r\n".repeat(500)).await.is_ok() {
            if write.flush().await.is_err() {
                break;
            }
        }
    };
    let listen = async {
        let mut buffer = [0; 4096];
        while let Ok(1..) = read.read(&mut buffer).await {}
    };
    // Who goes on sending may lose the 421 with the connection: the end is what counts.
    let both = async { tokio::join!(talk, listen) };
    timer::timeout(PATIENCE / 2, both).await.expect("ended");
}

// REIN by somebody who never logged in is no new beginning.
#[tokio::test]
async fn g04_rein_does_not_renew_the_time_to_log_in() {
    let world = World::with(|options| options.login_grace = SHORT).await;
    let mut client = world.secured().await;
    let watch = timer::Stopwatch::start();
    let code = loop {
        client.raw(b"REIN\r\n").await;
        match client.reply().await.0 {
            220 => timer::sleep(SHORT / 10).await,
            other => break other,
        }
        assert!(watch.elapsed() < PATIENCE, "still there");
    };
    assert_eq!(code, 421);
}

#[tokio::test]
async fn an_idle_session_ends_and_is_told_why() {
    let world = World::with(|options| options.idle_timeout = SHORT).await;
    let mut client = world.logged_in().await;
    let (code, text) = client.reply().await;
    assert_eq!(code, 421);
    assert!(text.contains("idle"), "{text}");
    client.expect_end().await;
}

#[tokio::test]
async fn f05_transfers_that_stand_still_end_and_the_session_goes_on() {
    let world = World::with(|options| options.stall_timeout = SHORT).await;
    let mut client = world.logged_in().await;

    let (_, text) = client.ask("EPSV").await;
    let port = text.rsplit('|').nth(1).unwrap().to_owned();
    assert_eq!(client.ask("STOR never").await.0, 150);
    let (code, text) = client.reply().await;
    assert_eq!(code, 425);
    assert!(
        text.contains(&port) && text.contains("34000-34999"),
        "{text}"
    );

    let _no_hello = client.data_socket().await;
    assert_eq!(client.ask("STOR silent").await.0, 150);
    assert_eq!(client.reply().await.0, 425);

    let mut data = client.begin("STOR stalled").await;
    data.write_all(b"half").await.unwrap();
    data.flush().await.unwrap();
    assert_eq!(client.reply().await.0, 426);
    assert_eq!(world.content("stalled"), None);
    assert_eq!(client.ask("NOOP").await.0, 200);
}

#[tokio::test]
async fn without_a_free_port_the_reply_is_425_and_the_journal_knows() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let world = World::with(|options| options.passive_ports = port..=port).await;
    let mut first = world.logged_in().await;
    let mut second = world.logged_in().await;
    let (code, text) = first.ask("EPSV").await;
    assert_eq!(code, 229, "{text}");
    let (code, text) = second.ask("EPSV").await;
    assert_eq!(code, 425);
    assert!(text.contains(&port.to_string()), "{text}");
    let noted = async {
        while world.entries("ftps.no-data-port").await.is_empty() {
            tokio::task::yield_now().await;
        }
    };
    timer::timeout(PATIENCE, noted).await.unwrap();
    first.ask("QUIT").await;
    first.expect_end().await;
    assert_eq!(second.ask("EPSV").await.0, 229);
}

#[tokio::test]
async fn a_hard_stop_ends_everything_at_once() {
    let world = World::new().await;
    let mut client = world.logged_in().await;
    let _data = client.begin("STOR file").await;
    world.hard.cancel();
    client.expect_end().await;
    // The session's end is told all the same.
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
    assert_eq!(reason, "the server is stopping");
}
