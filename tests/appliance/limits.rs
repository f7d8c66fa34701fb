//! Every limit on connections, just below and just above it (G04).

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use layover_tests::ssh::{Caller, Ssh};
use layover_tests::wait::{self, PATIENCE};
use layover_tests::{Engine, Layover, Setup};

const NEAR: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const OTHER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

fn serve(settings: &[(&str, &str)]) -> (Layover, layover_tests::Account) {
    let mut setup = Setup::new(Engine::Sqlite);
    for (key, value) in settings {
        setup = setup.set("gate", key, value);
    }
    let layover = setup.prepare();
    let account = layover.account("partner").add();
    layover.start();
    (layover, account)
}

/// Connects and waits for the greeting, which must come.
fn greeted(from: IpAddr, layover: &Layover) -> Caller {
    let mut caller = Caller::call(from, layover.sftp_address());
    assert!(caller.is_greeted(), "{from} should have been let in");
    caller
}

fn turned_away(from: IpAddr, layover: &Layover) -> bool {
    !Caller::call(from, layover.sftp_address()).is_greeted()
}

fn wait_for_room(from: IpAddr, layover: &Layover) -> Caller {
    wait::until("a freed place", PATIENCE, || {
        let mut caller = Caller::call(from, layover.sftp_address());
        caller.is_greeted().then_some(caller)
    })
}

#[test]
fn connections_in_all_are_limited_and_a_freed_place_is_used() {
    let (layover, _) = serve(&[("max_connections", "3")]);
    let mut callers = vec![
        greeted(NEAR, &layover),
        greeted(OTHER, &layover),
        greeted(NEAR, &layover),
    ];
    assert!(
        turned_away(NEAR, &layover),
        "a fourth connection was let in"
    );
    assert!(
        turned_away(OTHER, &layover),
        "a fourth connection was let in"
    );
    callers.pop();
    callers.push(wait_for_room(NEAR, &layover));
    assert!(
        turned_away(NEAR, &layover),
        "a fourth connection was let in"
    );
}

#[test]
fn g04_one_address_cannot_take_all_places() {
    let (layover, _) = serve(&[
        ("max_connections", "100"),
        ("max_connections_per_address", "2"),
    ]);
    let mut callers = vec![greeted(NEAR, &layover), greeted(NEAR, &layover)];
    assert!(
        turned_away(NEAR, &layover),
        "a third connection of one address was let in"
    );
    let _other = greeted(OTHER, &layover);
    callers.pop();
    wait_for_room(NEAR, &layover);
}

#[test]
fn g04_connections_before_login_are_limited_apart_from_those_after() {
    let (layover, account) = serve(&[("max_half_open", "2")]);
    let logged_in = [account.sftp(&layover), account.sftp(&layover)];
    let mut half_open = vec![greeted(NEAR, &layover), greeted(NEAR, &layover)];
    assert!(
        turned_away(NEAR, &layover),
        "a third connection before login was let in"
    );
    half_open.pop();
    wait::until("a freed place before login", PATIENCE, || {
        let mut ssh = Ssh::connect(layover.sftp_address()).ok()?;
        ssh.key(&account.name, &account.key)
            .accepted()
            .then_some(())
    });
    drop(logged_in);
}

/// G04: a connection that stays silent, one that stays silent after its banner, and one that does
/// not get beyond the key exchange.
#[test]
fn g04_a_connection_that_does_not_log_in_ends_after_the_login_grace() {
    let (layover, account) = serve(&[("login_grace", "\"2s\"")]);
    let limit = Duration::from_secs(10);
    let mut silent = greeted(NEAR, &layover);
    let mut slow = greeted(NEAR, &layover);
    assert!(slow.say(b"SSH-2.0-slow\r\n"));
    let lazy = Ssh::connect(layover.sftp_address()).expect("connect");
    let logged_in = account.sftp(&layover);
    assert!(
        silent.ends_within(limit),
        "a silent connection is still there"
    );
    assert!(slow.ends_within(limit), "a slow connection is still there");
    assert!(
        lazy.closed_within(limit),
        "a connection without login is still there"
    );
    assert!(
        !logged_in.connection().is_closed(),
        "the grace ended a session that is logged in"
    );
}

#[test]
fn a_banner_without_end_is_cut() {
    let (layover, _) = serve(&[]);
    let mut caller = greeted(NEAR, &layover);
    let flood = vec![b'x'; 64 * 1024];
    let ended = (0..1024).any(|_| !caller.say(&flood));
    assert!(
        ended || caller.ends_within(PATIENCE),
        "64 MiB without a line end were taken"
    );
}

#[test]
fn an_idle_session_ends_and_a_busy_one_does_not() {
    let (layover, account) = serve(&[("idle_timeout", "\"3s\"")]);
    let idle = account.sftp(&layover);
    let mut busy = account.sftp(&layover);
    let ended = wait::within(Duration::from_secs(20), || {
        busy.real_path(b"/").expect("the busy session goes on");
        idle.connection().is_closed().then_some(())
    });
    assert!(ended.is_some(), "the idle session is still there");
    busy.put(b"/file", b"content")
        .expect("the busy session goes on");
    wait::until("the idle session to leave the list", PATIENCE, || {
        (layover.rows(&["session", "list"]).len() <= 1).then_some(())
    });
}

/// S07: an upload that stalls holds its place no longer than the stall time.
#[test]
fn s07_a_stalled_upload_ends_and_is_not_published() {
    let (layover, account) = serve(&[("stall_timeout", "\"3s\""), ("idle_timeout", "\"1h\"")]);
    let mut sftp = account.sftp(&layover);
    let handle = sftp
        .open(b"/file", layover_tests::packet::open::FRESH)
        .expect("open");
    sftp.write(&handle, 0, b"half").expect("write");
    assert!(
        sftp.connection().closed_within(Duration::from_secs(20)),
        "still there"
    );
    assert!(
        !layover.homes().join("partner/file").exists(),
        "half a file was published"
    );
}

/// The tries on one connection are few, so that guessing costs connections.
#[test]
fn a_connection_has_few_tries() {
    let (layover, _) = serve(&[("ban_score", "1000000")]);
    let mut ssh = Ssh::connect(layover.sftp_address()).expect("connect");
    let tries = (1..=20).find(|_| {
        matches!(
            ssh.password("partner", "wrong"),
            layover_tests::ssh::Verdict::Closed(_)
        )
    });
    assert!(
        tries.is_some_and(|tries| tries <= 11),
        "20 tries on one connection"
    );
}
