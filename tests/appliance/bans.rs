//! Who fails too often gets no banner, whatever the protocol and the node; operators shut out
//! and let in.

use std::net::{IpAddr, Ipv4Addr};

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
    layover.admin(&["ban", "lift", "127.0.0.2/31"]);
    wait_for(&layover, OTHER, true);
    let again = layover.run(&["ban", "lift", "127.0.0.2/31"]);
    assert!(again.text().contains("is not banned"), "{again}");
    again.expect_code(1);
}
