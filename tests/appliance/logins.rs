//! Who gets in, who does not, and what the refused can learn (G01, G03).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use layover_tests::account::Account;
use layover_tests::keys::{KeyKind, KeyPair};
use layover_tests::load::heavy;
use layover_tests::skip::skip;
use layover_tests::ssh::{Caller, Ssh, Verdict};
use layover_tests::wait::{self, PATIENCE, Timer};
use layover_tests::{Engine, Layover, Setup, on_both_engines};

/// An address on loopback beside 127.0.0.1.
const OTHER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

const PASSWORD: &str = "correct-horse-7";

fn connect(layover: &Layover) -> Ssh {
    Ssh::connect(layover.sftp_address()).expect("connect")
}

/// A server with an account that may come from 127.0.0.1, and one that may come from elsewhere
/// only. Nothing is banned, so that refusals can be counted.
fn serve(engine: Engine) -> (Layover, Account, Account) {
    let layover = Setup::new(engine)
        .set("gate", "ban_score", "1000000")
        .prepare();
    let partner = layover
        .account("partner")
        .password(PASSWORD)
        .only_from(&["127.0.0.1"])
        .add();
    let distant = layover
        .account("distant")
        .password(PASSWORD)
        .only_from(&["127.0.0.2"])
        .add();
    layover.start();
    (layover, partner, distant)
}

/// The refused logins in the journal, oldest first.
fn refusals(layover: &Layover) -> Vec<serde_json::Value> {
    let entries = layover.rows(&["journal", "--kind", "login"]);
    let mut refused: Vec<_> = entries
        .into_iter()
        .filter(|entry| entry["outcome"] == "refused")
        .collect();
    refused.sort_by_key(|entry| entry["id"].as_i64());
    refused
}

on_both_engines!(
    g01_a_refused_login_never_tells_why,
    the_reason_of_a_refused_login_is_in_the_journal,
);

/// G01, G03: unknown account, wrong password, foreign network, disabled account and missing
/// password get one and the same answer, whatever the method.
fn g01_a_refused_login_never_tells_why(engine: Engine) {
    let (layover, partner, distant) = serve(engine);
    layover.account("keyed").add();
    layover.account("disabled").password(PASSWORD).add();
    layover.admin(&["account", "disable", "disabled"]);
    // What every client is told first, before it has shown anything.
    let reference = connect(&layover).none("nobody");
    let Verdict::Refused {
        methods,
        partial: false,
    } = &reference
    else {
        panic!("{reference:?}");
    };
    for method in ["PublicKey", "Password", "KeyboardInteractive"] {
        assert!(methods.contains(method), "{methods}");
    }
    for (user, password) in [
        ("partner", "wrong"),
        ("distant", PASSWORD),
        ("distant", "wrong"),
        ("disabled", PASSWORD),
        ("keyed", "wrong"),
        ("", "wrong"),
        ("partner", ""),
        ("no/such name\n", "wrong"),
        ("nobody", PASSWORD),
    ] {
        let answer = connect(&layover).password(user, password);
        assert_eq!(answer, reference, "{user:?} with password {password:?}");
        let answer = connect(&layover).interactive(user, password);
        assert_eq!(
            answer, reference,
            "{user:?} with keyboard-interactive {password:?}"
        );
        let answer = connect(&layover).none(user);
        assert_eq!(answer, reference, "{user:?} with none");
    }
    let stranger = KeyPair::generate(layover.scratch(), "stranger", KeyKind::Ed25519);
    for (user, pair) in [
        ("nobody", &stranger),
        ("partner", &stranger),
        ("partner", &distant.key),
        ("distant", &distant.key),
        ("nobody", &partner.key),
    ] {
        assert_eq!(
            connect(&layover).key(user, pair),
            reference,
            "{user} with a key"
        );
    }
    connect(&layover)
        .password("partner", PASSWORD)
        .expect_accepted();
    connect(&layover)
        .key("partner", &partner.key)
        .expect_accepted();
}

fn the_reason_of_a_refused_login_is_in_the_journal(engine: Engine) {
    let (layover, ..) = serve(engine);
    for (user, password) in [("nobody", "x"), ("partner", "x"), ("distant", PASSWORD)] {
        connect(&layover).password(user, password).expect_refused();
    }
    let entries = wait::until("three refusals in the journal", PATIENCE, || {
        let entries = layover.rows(&["journal", "--limit", "0", "--kind", "login"]);
        let refused: Vec<_> = entries
            .into_iter()
            .filter(|entry| entry["outcome"] == "refused")
            .collect();
        (refused.len() >= 3).then_some(refused)
    });
    let mut reasons: Vec<String> = entries
        .iter()
        .map(|entry| {
            assert_eq!(entry["peer"], "127.0.0.1", "{entry}");
            entry["detail"]["reason"]
                .as_str()
                .unwrap_or_else(|| panic!("{entry}"))
                .to_owned()
        })
        .collect();
    reasons.sort();
    reasons.dedup();
    assert_eq!(reasons.len(), 3, "three different reasons: {reasons:?}");
    let text = serde_json::to_string(&entries).expect("as text");
    assert!(
        !text.contains(PASSWORD),
        "the journal holds a password: {text}"
    );
}

/// G03: a missing account costs a password hash, too.
#[test]
fn g03_a_missing_account_costs_the_same_time() {
    /// Enough for a median that a busy machine does not move far.
    const ATTEMPTS: usize = 15;
    let _turn = heavy();
    let (layover, ..) = serve(Engine::Sqlite);
    let mut spans: [(&str, &str, Vec<Duration>); 3] = [
        ("partner", "wrong", Vec::new()),
        ("nobody", "wrong", Vec::new()),
        ("distant", PASSWORD, Vec::new()),
    ];
    // In turns, so that a busy moment of the machine meets all alike.
    for _ in 0..ATTEMPTS {
        for (user, password, spans) in &mut spans {
            let mut ssh = connect(&layover);
            let timer = Timer::start();
            ssh.password(user, password).expect_refused();
            spans.push(timer.elapsed());
        }
    }
    let medians = spans.map(|(user, _, mut spans)| {
        spans.sort();
        (user, spans[ATTEMPTS / 2])
    });
    let (_, known) = medians[0];
    for (user, median) in &medians[1..] {
        assert!(
            *median * 2 > known && *median < known * 2,
            "{user} takes {median:?}, a known account {known:?}"
        );
    }
}

#[test]
fn an_address_outside_every_allowed_network_gets_no_byte() {
    let layover = Setup::new(Engine::Sqlite).prepare();
    let account = layover.account("partner").only_from(&["127.0.0.1"]).add();
    let disabled = layover.account("disabled").only_from(&["127.0.0.3"]).add();
    layover.admin(&["account", "disable", &disabled.name]);
    layover.start();
    for stranger in [OTHER, IpAddr::V4(Ipv4Addr::new(127, 0, 0, 3))] {
        let mut caller = Caller::call(stranger, layover.sftp_address());
        assert_eq!(caller.hear(PATIENCE).expect("an end"), b"", "{stranger}");
    }
    connect(&layover)
        .key(&account.name, &account.key)
        .expect_accepted();
}

#[test]
fn denied_networks_win_over_allowed_ones() {
    let layover = Setup::new(Engine::Sqlite)
        .set("gate", "deny", "[\"127.0.0.2/32\"]")
        .prepare();
    layover.account("partner").only_from(&["any"]).add();
    layover.start();
    assert!(!Caller::call(OTHER, layover.sftp_address()).is_greeted());
    let near = IpAddr::V4(Ipv4Addr::LOCALHOST);
    assert!(Caller::call(near, layover.sftp_address()).is_greeted());
}

#[test]
fn the_appliances_own_allowlist_bounds_every_account() {
    let layover = Setup::new(Engine::Sqlite)
        .set("gate", "allow", "[\"127.0.0.1\"]")
        .prepare();
    layover.account("partner").only_from(&["any"]).add();
    layover.start();
    assert!(!Caller::call(OTHER, layover.sftp_address()).is_greeted());
    let near = IpAddr::V4(Ipv4Addr::LOCALHOST);
    assert!(Caller::call(near, layover.sftp_address()).is_greeted());
}

/// On a socket for both families an IPv4 peer shows as `::ffff:127.0.0.1`.
#[test]
fn an_ipv4_peer_on_an_ipv6_socket_is_an_ipv4_peer() {
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        return skip("this machine has no IPv6");
    }
    let layover = Setup::new(Engine::Sqlite)
        .set("sftp", "listen", "\"::\"")
        .prepare();
    let account = layover.account("partner").only_from(&["127.0.0.1"]).add();
    layover.start();
    let port = layover.sftp_address().port();
    let near = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    account.sftp_at(near);
    assert!(!Caller::call(OTHER, near).is_greeted());
    let ipv6 = SocketAddr::from((Ipv6Addr::LOCALHOST, port));
    let stranger = IpAddr::V6(Ipv6Addr::LOCALHOST);
    assert!(!Caller::call(stranger, ipv6).is_greeted());
    let listed = layover.rows(&["journal", "--limit", "0", "--kind", "login"]);
    assert!(
        listed.iter().any(|entry| entry["peer"] == "127.0.0.1"),
        "{listed:?}"
    );
}

/// The gate at the banner knows all networks together; the login knows the account's own.
#[test]
fn an_account_logs_in_from_its_own_networks_only() {
    let (layover, partner, distant) = serve(Engine::Sqlite);
    let server = layover.sftp_address();
    let near = IpAddr::V4(Ipv4Addr::LOCALHOST);
    for (from, account, accepted) in [
        (near, &partner, true),
        (OTHER, &partner, false),
        (near, &distant, false),
        (OTHER, &distant, true),
    ] {
        let mut ssh = Ssh::connect_from(from, server).expect("connect");
        let verdict = ssh.key(&account.name, &account.key);
        assert_eq!(
            verdict.accepted(),
            accepted,
            "{} from {from}: {verdict:?}",
            account.name
        );
        let mut ssh = Ssh::connect_from(from, server).expect("connect");
        let verdict = ssh.password(&account.name, PASSWORD);
        assert_eq!(
            verdict.accepted(),
            accepted,
            "{} from {from}: {verdict:?}",
            account.name
        );
    }
}

#[test]
fn an_account_without_networks_cannot_log_in() {
    let layover = Setup::new(Engine::Sqlite).prepare();
    let nowhere = layover
        .account("nowhere")
        .password(PASSWORD)
        .only_from(&[])
        .add();
    layover.account("partner").add();
    layover.start();
    connect(&layover)
        .key("nowhere", &nowhere.key)
        .expect_refused();
    connect(&layover)
        .password("nowhere", PASSWORD)
        .expect_refused();
}

#[test]
fn an_account_for_ftps_only_cannot_log_in_over_sftp() {
    let layover = Setup::new(Engine::Sqlite).prepare();
    let ftps = layover
        .account("ftps")
        .password(PASSWORD)
        .with(&["--protocols", "ftps"])
        .add();
    layover.start();
    connect(&layover).key("ftps", &ftps.key).expect_refused();
    connect(&layover)
        .password("ftps", PASSWORD)
        .expect_refused();
}

#[test]
fn an_rsa_key_signs_with_sha_2_and_never_with_sha_1() {
    use russh::keys::HashAlg;
    let layover = Setup::new(Engine::Sqlite).prepare();
    let account = layover.account("partner").key(KeyKind::Rsa).add();
    layover.start();
    let reference = connect(&layover).none("partner");
    for hash in [HashAlg::Sha256, HashAlg::Sha512] {
        connect(&layover)
            .key_with("partner", &account.key, Some(hash))
            .expect_accepted();
    }
    let verdict = connect(&layover).key_with("partner", &account.key, None);
    assert_eq!(verdict, reference, "SHA-1 must be refused like all else");
    let refused = refusals(&layover);
    assert_eq!(refused.len(), 1, "{refused:?}");
    assert_eq!(refused[0]["detail"]["reason"], "SHA-1 signature (ssh-rsa)");
    assert_eq!(refused[0]["detail"]["signature"], "ssh-rsa");
}

/// A client whose key is refused before it signs never logs in: the operator must see its key.
#[test]
fn a_key_that_is_not_registered_is_told_at_the_end_of_a_connection_without_a_login() {
    let layover = Setup::new(Engine::Sqlite).prepare();
    let account = layover.account("partner").add();
    let stranger = KeyPair::generate(layover.scratch(), "stranger", KeyKind::Ed25519);
    layover.start();
    let refusals = || {
        let logins = layover.rows(&["journal", "--account", "partner", "--kind", "login"]);
        logins
            .into_iter()
            .filter(|entry| entry["outcome"] == "refused")
            .collect::<Vec<_>>()
    };
    let mut both = connect(&layover);
    both.key("partner", &stranger).expect_refused();
    connect(&layover)
        .key("partner", &account.key)
        .expect_accepted();
    assert_eq!(refusals().len(), 0, "the connection has not ended");
    drop(both);
    let told = wait::until("the refused key in the journal", PATIENCE, || {
        refusals().into_iter().next()
    });
    assert_eq!(told["detail"]["reason"], "key not authorized", "{told}");
    let keys = told["detail"]["keys"].as_array().expect("keys");
    assert_eq!(keys.len(), 1, "{told}");
    assert!(keys[0].as_str().expect("text").starts_with("SHA256:"));
}

#[test]
fn a_keys_from_option_is_honoured() {
    let layover = Setup::new(Engine::Sqlite).prepare();
    let account = layover.account("partner").add();
    let bound = KeyPair::generate(layover.scratch(), "bound", KeyKind::Ed25519);
    let line = layover.scratch().join("bound-line");
    let text = format!(
        "# a comment\n\nfrom=\"127.0.0.2,10.0.0.0/8\",restrict {}\n",
        bound.line()
    );
    std::fs::write(&line, text).expect("write key line");
    layover.admin(&[
        "account",
        "key",
        "add",
        &account.name,
        &line.to_string_lossy(),
    ]);
    layover.start();
    let server = layover.sftp_address();
    connect(&layover).key("partner", &bound).expect_refused();
    Ssh::connect_from(OTHER, server)
        .expect("connect")
        .key("partner", &bound)
        .expect_accepted();
    connect(&layover)
        .key("partner", &account.key)
        .expect_accepted();
}

#[test]
fn an_expired_key_is_refused() {
    let layover = Setup::new(Engine::Sqlite).prepare();
    let account = layover.account("partner").add();
    for (name, date, accepted) in [("over", "20200101", false), ("still", "20990101", true)] {
        let pair = KeyPair::generate(layover.scratch(), name, KeyKind::Ed25519);
        let line = layover.scratch().join(format!("{name}-line"));
        let text = format!("expiry-time=\"{date}\" {}\n", pair.line());
        std::fs::write(&line, text).expect("write key line");
        layover.admin(&[
            "account",
            "key",
            "add",
            &account.name,
            &line.to_string_lossy(),
        ]);
        if layover.log().is_empty() {
            layover.start();
        }
        let verdict = wait::within(Duration::from_secs(6), || {
            let verdict = connect(&layover).key("partner", &pair);
            (verdict.accepted() == accepted).then_some(verdict)
        });
        assert!(verdict.is_some(), "the key that expires {date}");
    }
}

/// Options that Layover does not enforce would be a false promise.
#[test]
fn a_key_with_an_option_that_is_not_enforced_is_refused() {
    let layover = Setup::new(Engine::Sqlite).prepare();
    let account = layover.account("partner").add();
    let pair = KeyPair::generate(layover.scratch(), "other", KeyKind::Ed25519);
    for option in [
        "command=\"internal-sftp\"",
        "permitopen=\"192.0.2.1:80\"",
        "principals=\"x\"",
        "environment=\"A=b\"",
        "no-such-option",
        "from=\"*.example.com\"",
    ] {
        let line = layover.scratch().join("line");
        std::fs::write(&line, format!("{option} {}\n", pair.line())).expect("write key line");
        let arguments = [
            "account",
            "key",
            "add",
            &account.name,
            &line.to_string_lossy(),
        ];
        let ran = layover.run(&arguments).expect_code(1);
        let word = option.split(['=', '"']).next().expect("a word");
        assert!(
            ran.stderr.contains(word),
            "the message should name `{word}`: {ran}"
        );
        assert!(
            ran.stderr.contains('1'),
            "the message should name the line: {ran}"
        );
    }
    assert_eq!(
        layover.rows(&["account", "key", "list", "partner"]).len(),
        1
    );
}

#[test]
fn a_generated_password_is_printed_once_and_works() {
    let layover = Setup::new(Engine::Sqlite).prepare();
    layover.admin(&["entity", "add", "acme"]);
    let ran = layover.admin(&[
        "account",
        "add",
        "partner",
        "--entity",
        "acme",
        "--allow",
        "127.0.0.1",
        "--generate-password",
    ]);
    layover.start();
    let accepted = ran
        .stdout
        .split_whitespace()
        .map(|word| word.trim_matches(['`', '"', '.', ',']))
        .filter(|word| word.len() >= 16)
        .any(|word| connect(&layover).password("partner", word).accepted());
    assert!(accepted, "no printed word is the password: {ran}");
    let shown = layover.admin(&["account", "show", "partner", "--json"]);
    for word in ran
        .stdout
        .split_whitespace()
        .filter(|word| word.len() >= 16)
    {
        assert!(
            !shown.stdout.contains(word.trim_matches('`')),
            "shown again: {shown}"
        );
    }
}
