//! Who fails too often gets no banner, whatever the protocol and the node; operators shut out
//! and let in.

use std::net::{IpAddr, Ipv4Addr};

use layover_tests::ftps::Entry;
use layover_tests::ftps::raw::{Ftps, Way};
use layover_tests::ssh::{Caller, Ssh};
use layover_tests::wait::{self, PATIENCE};
use layover_tests::{Engine, Layover, Protocol, Setup, on_both_engines};

on_both_engines!(
    g02_refused_logins_ban_an_address_for_both_protocols_and_over_a_restart,
    an_operator_shuts_a_network_out_and_lets_it_in,
);

const NEAR: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const OTHER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

const PASSWORD: &str = "correct-horse-7";

const SCORE: usize = 3;

fn serve(engine: Engine) -> Layover {
    let layover = Setup::new(engine)
        .set("gate", "ban_score", &SCORE.to_string())
        .prepare();
    layover.account("partner").password(PASSWORD).add();
    layover.start();
    layover
}

fn is_greeted(layover: &Layover, from: IpAddr, protocol: Protocol) -> bool {
    Caller::call(from, protocol.address(layover)).is_greeted()
}

fn fail(layover: &Layover, from: IpAddr) {
    let mut ssh = Ssh::connect_from(from, layover.sftp_address()).expect("connect");
    ssh.password("partner", "wrong").expect_refused();
}

fn wait_for(layover: &Layover, from: IpAddr, is_in: bool) {
    for protocol in [Protocol::Sftp, Protocol::Ftps] {
        let what = format!("{from} let in over {protocol:?}: {is_in}");
        wait::until(&what, PATIENCE, || {
            (is_greeted(layover, from, protocol) == is_in).then_some(())
        });
    }
}

fn g02_refused_logins_ban_an_address_for_both_protocols_and_over_a_restart(engine: Engine) {
    let layover = serve(engine);
    for _ in 0..SCORE {
        wait_for(&layover, OTHER, true);
        fail(&layover, OTHER);
    }
    // At once: the connection after the last failure has no banner.
    assert!(!is_greeted(&layover, OTHER, Protocol::Sftp));
    assert!(!is_greeted(&layover, OTHER, Protocol::Ftps));
    wait_for(&layover, NEAR, true);
    let bans = layover.rows(&["ban", "list"]);
    assert_eq!(bans.len(), 1, "{bans:?}");
    assert_eq!(bans[0]["network"], "127.0.0.2/32");
    assert!(bans[0]["owner"].is_null() && bans[0]["until"].is_string());
    layover.stop();
    layover.start();
    assert!(!is_greeted(&layover, OTHER, Protocol::Sftp));
    layover.admin(&["ban", "lift", "127.0.0.2"]);
    wait_for(&layover, OTHER, true);
    let journal = layover.rows(&["journal", "--since", "1h"]);
    let told = |action: &str| {
        journal
            .iter()
            .filter(|entry| entry["action"] == action)
            .count()
    };
    assert_eq!((told("gate.ban"), told("ban.lift")), (1, 1));
}

fn an_operator_shuts_a_network_out_and_lets_it_in(engine: Engine) {
    let layover = serve(engine);
    wait_for(&layover, OTHER, true);
    let refused = layover.run(&["ban", "add", "any", "--reason", "all"]);
    assert!(refused.text().contains("name the network"), "{refused}");
    refused.expect_code(1);
    layover.admin(&[
        "ban",
        "add",
        "127.0.0.2/31",
        "--reason",
        "ticket 7",
        "--until",
        "30d",
    ]);
    wait_for(&layover, OTHER, false);
    wait_for(&layover, NEAR, true);
    let bans = layover.rows(&["ban", "list"]);
    assert_eq!(bans[0]["reason"], "ticket 7");
    let all = layover.run(&["ban", "lift", "any"]);
    assert!(all.text().contains("nothing was lifted"), "{all}");
    all.expect_code(1);
    layover.admin(&["ban", "add", "127.0.0.3", "--reason", "ticket 8"]);
    let lifted = layover.admin(&["ban", "lift", "127.0.0.2/31"]);
    let told = "the ban of 127.0.0.2/31 is lifted, its refused logins are forgotten; still banned: 127.0.0.3/32";
    assert!(lifted.stdout.contains(told), "{lifted}");
    wait_for(&layover, OTHER, true);
    let lifted = layover.json(&["ban", "lift", "127.0.0.3"]);
    assert_eq!(lifted["still_banned"], serde_json::json!([]));
    let again = layover.run(&["ban", "lift", "127.0.0.2/31"]);
    assert!(again.text().contains("is not banned"), "{again}");
    again.expect_code(1);
}

/// If a name that no account has weighed more, the moment of the ban would tell who has one.
#[test]
fn g03_a_ban_comes_as_late_for_a_name_that_nobody_has_as_for_a_wrong_password() {
    let layover = serve(Engine::Sqlite);
    let tries = |from: IpAddr, user: &str| {
        (1..)
            .find(|_| {
                let mut ssh = Ssh::connect_from(from, layover.sftp_address()).expect("connect");
                ssh.password(user, "wrong").expect_refused();
                drop(ssh);
                !is_greeted(&layover, from, Protocol::Sftp)
            })
            .expect("a ban")
    };
    assert_eq!(tries(OTHER, "nobody"), SCORE);
    assert_eq!(tries(IpAddr::from([127, 0, 0, 3]), "partner"), SCORE);
}

/// What was opened before the ban is no supply of further guesses.
#[test]
fn a_ban_holds_for_connections_that_were_there_before_it() {
    let layover = serve(Engine::Sqlite);
    let way = Way {
        from: OTHER,
        ..Way::default()
    };
    let ftps = || Ftps::connect(layover.ftps_address(way.entry), way).expect("connect");
    let ssh = || Ssh::connect_from(OTHER, layover.sftp_address()).expect("connect");
    let (mut early_ftps, mut early_ssh) = (ftps(), ssh());
    let mut live = ssh();
    live.password("partner", PASSWORD).expect_accepted();
    for _ in 0..SCORE {
        fail(&layover, OTHER);
    }
    assert!(!is_greeted(&layover, OTHER, Protocol::Sftp));
    let reply = early_ftps.log_in("partner", PASSWORD).expect("a reply");
    assert_eq!(reply.code, 530, "{}", reply.words());
    early_ssh.password("partner", PASSWORD).expect_refused();
    assert!(!live.is_closed(), "who was logged in stays");
    let journal = layover.rows(&["journal", "--kind", "login", "--limit", "0"]);
    let banned = journal
        .iter()
        .filter(|entry| entry["detail"]["reason"] == "the address is banned");
    assert_eq!(banned.count(), 2, "{journal:#?}");
    let bans = |entry: &&serde_json::Value| entry["action"] == "gate.ban";
    let all = layover.rows(&["journal", "--limit", "0"]);
    assert_eq!(all.iter().filter(bans).count(), 1, "no ban follows another");

    layover.admin(&["ban", "lift", "127.0.0.2"]);
    wait_for(&layover, OTHER, true);
    early_ssh.password("partner", PASSWORD).expect_accepted();
}

/// Half a point each, whatever is sent instead of the protocol.
#[test]
fn who_speaks_something_else_is_shut_out() {
    let layover = serve(Engine::Sqlite);
    let http = &b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n"[..];
    let long = [b'x'; 8192];
    let abuses = [
        (layover.sftp_address(), http),
        (layover.ftps_address(Entry::Implicit), http),
        (layover.ftps_address(Entry::Explicit), &long[..]),
    ];
    for (at, (server, words)) in (10_u8..).zip(abuses) {
        let from = IpAddr::from([127, 0, 0, at]);
        for times in 0..2 * SCORE {
            let mut caller = Caller::call(from, server);
            assert!(caller.say(words), "{server}: banned after {times}");
            assert!(caller.ends_within(PATIENCE), "{server}");
        }
        wait::until("the ban", PATIENCE, || {
            (!is_greeted(&layover, from, Protocol::Sftp)).then_some(())
        });
    }
    assert!(is_greeted(&layover, NEAR, Protocol::Sftp));
}
