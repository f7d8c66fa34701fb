//! Whose a data connection is (F11, F15, F16).

use rustls::version::{TLS12, TLS13};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use layover_depot::{SessionReuse, timer};

use crate::fixture::{OTHER, PATIENCE, USER, World};
use crate::tls::tests::connect;

#[tokio::test]
async fn f16_the_ticket_of_another_account_opens_no_data_connection() {
    let world = World::new().await;
    for version in [&TLS12, &TLS13] {
        let mut alice = world.logged_in_as(USER, world.tls_of(version)).await;
        let bob = world.logged_in_as(OTHER, world.tls_of(version)).await;
        let socket = alice.data_socket().await;
        assert_eq!(alice.ask("STOR stolen").await.0, 150);
        let _data = connect(&bob.config, socket).await;
        assert_eq!(alice.reply().await.0, 522, "{version:?}");
        assert_eq!(alice.ask("SIZE stolen").await.0, 550);
    }
    world.assert_none_began("upload").await;
}

#[tokio::test]
async fn f16_the_ticket_of_the_same_account_at_another_address_opens_nothing() {
    let world = World::new().await;
    let elsewhere = std::net::Ipv4Addr::new(127, 0, 0, 2);
    for version in [&TLS12, &TLS13] {
        let mut here = world.logged_in_as(USER, world.tls_of(version)).await;
        let there = world.logged_in_from(elsewhere, USER, world.tls_of(version));
        let there = there.await;
        let socket = here.data_socket().await;
        assert_eq!(here.ask("STOR stolen").await.0, 150);
        let _data = connect(&there.config, socket).await;
        assert_eq!(here.reply().await.0, 522, "{version:?}");
    }
    world.assert_none_began("upload").await;
    assert_eq!(world.content("stolen"), None);
}

#[tokio::test]
async fn parallel_connections_of_one_account_share_their_tickets() {
    let world = World::new().await;
    let mut first = world.logged_in().await;
    let second = world.logged_in().await;
    let socket = first.data_socket().await;
    assert_eq!(first.ask("STOR file").await.0, 150);
    let mut data = connect(&second.config, socket).await.unwrap();
    data.write_all(b"x").await.unwrap();
    data.shutdown().await.unwrap();
    assert_eq!(first.reply().await.0, 226);
    assert_eq!(world.entries("upload").await[0].detail["data"], "sibling");
}

// rclone opens its connections at once, and each takes the ticket that came last.
#[tokio::test]
async fn the_ticket_of_a_connection_that_has_not_logged_in_proves_nothing_and_forbids_nothing() {
    for (policy, expected) in [(SessionReuse::Auto, 226), (SessionReuse::Require, 522)] {
        let world = World::with(|options| options.session_reuse = policy).await;
        let mut client = world.logged_in().await;
        let early = world.secured().await;
        let socket = client.data_socket().await;
        assert_eq!(client.ask("STOR file").await.0, 150);
        let mut data = connect(&early.config, socket).await.unwrap();
        // It may be refused before or after these.
        let _ = data.write_all(b"x").await;
        let _ = data.shutdown().await;
        assert_eq!(client.reply().await.0, expected, "{policy:?}");
        if expected == 226 {
            let uploads = world.entries("upload").await;
            assert_eq!(uploads.len(), 1, "{policy:?}");
            assert_eq!(uploads[0].detail["data"], "address");
        } else {
            world.assert_none_began("upload").await;
        }
    }
}

#[tokio::test]
async fn f16_a_client_that_resumes_nothing_is_let_in_by_address_unless_it_must() {
    for (policy, expected) in [
        (SessionReuse::Auto, 226),
        (SessionReuse::Off, 226),
        (SessionReuse::Require, 522),
    ] {
        let world = World::with(|options| options.session_reuse = policy).await;
        let mut client = world.logged_in().await;
        let socket = client.data_socket().await;
        assert_eq!(client.ask("STOR file").await.0, 150);
        let fresh = world.tls_of(&TLS13);
        let mut data = connect(&fresh, socket).await.unwrap();
        // It may be refused before or after these.
        let _ = data.write_all(b"x").await;
        let _ = data.shutdown().await;
        assert_eq!(client.reply().await.0, expected, "{policy:?}");
        assert_eq!(world.content("file").is_some(), expected == 226);
        // One that resumes is let in everywhere.
        assert_eq!(client.put("STOR bound", b"x").await.0, 226);
    }
}

#[tokio::test]
async fn f16_the_accounts_own_rule_goes_before_the_appliances() {
    for (appliance, of_account, expected) in [
        (SessionReuse::Auto, SessionReuse::Require, 522),
        (SessionReuse::Require, SessionReuse::Auto, 226),
        (SessionReuse::Require, SessionReuse::Off, 226),
    ] {
        let world = World::with(|options| options.session_reuse = appliance).await;
        // Set while the session lives: it counts from the next transfer on.
        let mut client = world.logged_in().await;
        world.set_session_reuse(USER, Some(of_account)).await;
        let mut other = world.logged_in_as(OTHER, world.tls_of(&TLS13)).await;
        let of_appliance = if appliance == SessionReuse::Auto {
            226
        } else {
            522
        };
        for (client, expected) in [(&mut client, expected), (&mut other, of_appliance)] {
            let socket = client.data_socket().await;
            assert_eq!(client.ask("STOR file").await.0, 150);
            let fresh = world.tls_of(&TLS13);
            let mut data = connect(&fresh, socket).await.unwrap();
            // It may be refused before or after these.
            let _ = data.write_all(b"x").await;
            let _ = data.shutdown().await;
            let (code, text) = client.reply().await;
            assert_eq!(code, expected, "{appliance:?} {of_account:?}: {text}");
        }
        assert_eq!(world.content("file").is_some(), expected == 226);
    }
}

#[tokio::test]
async fn f11_a_stranger_at_the_data_port_does_not_use_up_the_accept() {
    let world = World::new().await;
    let mut client = world.logged_in().await;
    let (_, text) = client.ask("EPSV").await;
    let port: u16 = text.rsplit('|').nth(1).unwrap().parse().unwrap();
    let stranger = tokio::net::TcpSocket::new_v4().unwrap();
    stranger.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let at = std::net::SocketAddr::from(([127, 0, 0, 1], port));
    let _stranger = stranger.connect(at).await.unwrap();
    let socket = tokio::net::TcpStream::connect(at).await.unwrap();
    assert_eq!(client.ask("STOR file").await.0, 150);
    let mut data = connect(&client.config, socket).await.unwrap();
    data.write_all(b"x").await.unwrap();
    data.shutdown().await.unwrap();
    assert_eq!(client.reply().await.0, 226);
}

#[tokio::test]
async fn f11_forty_strangers_at_the_data_port_do_not_keep_its_owner_out() {
    // F11: 17 of them filled the queue of the socket, and nobody looked at it before the
    // transfer's command.
    let world = World::new().await;
    let mut client = world.logged_in().await;
    let (_, text) = client.ask("EPSV").await;
    let port: u16 = text.rsplit('|').nth(1).unwrap().parse().unwrap();
    let at = std::net::SocketAddr::from(([127, 0, 0, 1], port));
    let mut strangers = Vec::new();
    for _ in 0..40 {
        let stranger = tokio::net::TcpSocket::new_v4().unwrap();
        stranger.bind("127.0.0.2:0".parse().unwrap()).unwrap();
        let stranger = timer::timeout(PATIENCE, stranger.connect(at)).await;
        strangers.push(stranger.unwrap().unwrap());
    }
    for stranger in &mut strangers {
        // Closed before any command: an end or a reset.
        let ended = timer::timeout(PATIENCE, stranger.read(&mut [0; 1])).await;
        assert!(matches!(ended.unwrap(), Ok(0) | Err(_)));
    }
    let socket = timer::timeout(PATIENCE, tokio::net::TcpStream::connect(at)).await;
    let socket = socket.unwrap().unwrap();
    assert_eq!(client.ask("STOR file").await.0, 150);
    let mut data = connect(&client.config, socket).await.unwrap();
    data.write_all(b"x").await.unwrap();
    data.shutdown().await.unwrap();
    assert_eq!(client.reply().await.0, 226);
}
