//! What an operator changes takes effect on a running server within five seconds.

use std::time::Duration;

use layover_tests::account::{Account, PASSWORD};
use layover_tests::keys::{KeyKind, KeyPair};
use layover_tests::ssh::Ssh;
use layover_tests::wait;
use layover_tests::{Engine, Layover, Protocol, Setup, over_both_protocols};

/// The promise, and what a busy machine may add to it.
const SOON: Duration = Duration::from_secs(5 + 3);

fn serve(engine: Engine) -> (Layover, Account, Account) {
    let layover = Setup::new(engine)
        .set("gate", "ban_score", "1000000")
        .prepare();
    let partner = layover.account("partner").password(PASSWORD).add();
    let neighbour = layover.account("neighbour").password(PASSWORD).add();
    layover.start();
    (layover, partner, neighbour)
}

/// Runs `change` while `partner` and `neighbour` are logged in, in the middle of an upload: the
/// partner's session ends, its upload is not published, and the neighbour's goes on.
fn ends_the_session(protocol: Protocol, engine: Engine, change: impl FnOnce(&Layover)) {
    let (layover, partner, neighbour) = serve(engine);
    let mut ends = partner.partner(&layover, protocol);
    let mut stays = neighbour.partner(&layover, protocol);
    ends.begin_upload(b"/file", b"half").expect("begin");
    stays.begin_upload(b"/begun", b"first").expect("begin");
    change(&layover);
    assert!(ends.closed_within(SOON), "the session is still there");
    assert!(
        !layover.homes().join("partner/file").exists(),
        "half a file was published"
    );
    stays
        .finish_upload(b", last")
        .expect("the neighbour goes on");
    assert_eq!(stays.get(b"/begun").expect("get"), b"first, last");
}

/// Whether the account cannot log in.
fn turned_away(layover: &Layover, account: &Account, protocol: Protocol) -> bool {
    let tried = account.try_partner_at(protocol.address(layover), protocol);
    tried.is_err()
}

fn refused(layover: &Layover, account: &Account) -> bool {
    match Ssh::connect(layover.sftp_address()) {
        Ok(mut ssh) => !ssh.key(&account.name, &account.key).accepted(),
        Err(_) => true,
    }
}

over_both_protocols!(
    disabling_an_account_ends_its_sessions,
    removing_a_network_ends_its_sessions,
    removing_an_account_ends_its_sessions,
    killing_a_session_ends_it_and_nothing_else,
    a_new_account_can_log_in_soon,
    a_network_that_runs_out_ends_its_sessions,
);

fn disabling_an_account_ends_its_sessions(protocol: Protocol, engine: Engine) {
    ends_the_session(protocol, engine, |layover| {
        layover.admin(&["account", "disable", "partner"]);
    });
}

fn removing_a_network_ends_its_sessions(protocol: Protocol, engine: Engine) {
    ends_the_session(protocol, engine, |layover| {
        layover.admin(&["account", "allow", "remove", "partner", "127.0.0.0/8"]);
    });
}

fn removing_an_account_ends_its_sessions(protocol: Protocol, engine: Engine) {
    ends_the_session(protocol, engine, |layover| {
        layover.admin(&["account", "remove", "partner"]);
    });
}

fn killing_a_session_ends_it_and_nothing_else(protocol: Protocol, engine: Engine) {
    let (layover, partner, _) = serve(engine);
    let mut first = partner.partner(&layover, protocol);
    let listed = layover.rows(&["session", "list"]);
    assert_eq!(listed.len(), 1, "{listed:?}");
    assert_eq!(listed[0]["account"], "partner");
    assert_eq!(listed[0]["peer"], "127.0.0.1");
    let mut second = partner.partner(&layover, protocol);
    layover.admin(&["session", "kill", listed[0]["id"].as_str().expect("an id")]);
    assert!(first.closed_within(SOON), "the session is still there");
    second
        .put(b"/file", b"the other session goes on")
        .expect("put");
}

fn a_new_account_can_log_in_soon(protocol: Protocol, engine: Engine) {
    let (layover, ..) = serve(engine);
    let new = layover.account("new").password(PASSWORD).add();
    let accepted = wait::within(SOON, || {
        (!turned_away(&layover, &new, protocol)).then_some(())
    });
    assert!(accepted.is_some(), "the new account cannot log in");
}

#[test]
fn the_first_account_can_log_in_soon() {
    let layover = Setup::new(Engine::Sqlite).prepare();
    layover.start();
    let first = layover.account("first").add();
    let accepted = wait::within(SOON, || (!refused(&layover, &first)).then_some(()));
    assert!(accepted.is_some(), "the first account cannot log in");
}

#[test]
fn a_disabled_account_is_refused_until_it_is_enabled() {
    let (layover, partner, _) = serve(Engine::Sqlite);
    layover.admin(&["account", "disable", "partner"]);
    wait::until("the account to be refused", SOON, || {
        refused(&layover, &partner).then_some(())
    });
    layover.admin(&["account", "enable", "partner"]);
    wait::until("the account to be let in", SOON, || {
        (!refused(&layover, &partner)).then_some(())
    });
}

fn a_network_that_runs_out_ends_its_sessions(protocol: Protocol, engine: Engine) {
    let layover = Setup::new(engine).prepare();
    let plan = layover.account("partner").password(PASSWORD);
    let partner = plan.only_from(&[]).add();
    layover.account("neighbour").add();
    let until = layover.json(&["status"]);
    drop(until);
    let soon = process_date("+12 seconds");
    layover.admin(&[
        "account",
        "allow",
        "add",
        "partner",
        "127.0.0.1",
        "--until",
        &soon,
    ]);
    layover.start();
    let mut session = partner.partner(&layover, protocol);
    let limit = Duration::from_secs(12) + SOON;
    assert!(session.closed_within(limit), "still there");
    assert!(turned_away(&layover, &partner, protocol));
}

/// A time from now on, as RFC 3339.
fn process_date(from_now: &str) -> String {
    let mut date = std::process::Command::new("date");
    date.args(["--utc", "--date", from_now, "+%Y-%m-%dT%H:%M:%SZ"]);
    let ran = layover_tests::process::run(&mut date, b"", wait::PATIENCE).expect_ok();
    ran.stdout.trim().to_owned()
}

#[test]
fn a_changed_password_and_a_removed_key_are_refused_at_once() {
    let (layover, partner, _) = serve(Engine::Sqlite);
    let server = layover.sftp_address();
    let connect = || Ssh::connect(server).expect("connect");
    connect()
        .password("partner", "correct-horse-7")
        .expect_accepted();
    let ran = layover.run_with_input(
        &["account", "password", "partner", "--stdin"],
        "new-words-8-9\n",
    );
    ran.expect_ok();
    connect()
        .password("partner", "correct-horse-7")
        .expect_refused();
    connect()
        .password("partner", "new-words-8-9")
        .expect_accepted();
    let keys = layover.rows(&["account", "key", "list", "partner"]);
    let fingerprint = keys[0]["fingerprint"]
        .as_str()
        .expect("a fingerprint")
        .to_owned();
    layover.admin(&["account", "key", "remove", "partner", &fingerprint]);
    connect().key("partner", &partner.key).expect_refused();
    let other = KeyPair::generate(layover.scratch(), "other", KeyKind::Ed25519);
    let file = other.public().to_string_lossy().into_owned();
    layover.admin(&["account", "key", "add", "partner", &file]);
    connect().key("partner", &other).expect_accepted();
}
