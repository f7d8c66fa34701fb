//! Whose client it was, whose fault it is, and what is known where nobody has logged in.

use std::net::{IpAddr, Ipv4Addr};

use layover_tests::ftps::raw::{Ftps, Way};

use super::*;

on_both_engines!(
    a_strangers_password_is_possible_at_most_and_hides_no_fault_of_the_partner,
    who_tried_leaves_out_addresses_of_other_accounts,
    what_is_ours_names_the_command,
    a_disabled_account_that_nobody_lets_in_is_told_as_disabled,
    a_refused_network_is_told_with_what_is_allowed_and_the_command,
    behind_a_shared_nat_nothing_is_certain_of_who_gave_no_name,
    a_glimpse_of_a_partner_is_unknown_and_neither_unseen_nor_well,
);

const STRANGER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 66));

/// Tries a password over FTPS; the code of the last reply.
fn log_in(layover: &Layover, from: IpAddr, password: &str) -> (Ftps, u16) {
    let way = Way {
        from,
        ..Way::default()
    };
    let server = layover.ftps_address(Entry::Explicit);
    let mut ftps = Ftps::connect(server, way).expect("connect");
    let reply = ftps.log_in("partner", password).expect("a reply");
    (ftps, reply.code)
}

/// A connection from an address of its own, which leaves without a word when it is dropped.
fn connect(from: IpAddr, to: SocketAddr) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
    let socket = socket.expect("socket");
    socket.bind(&SocketAddr::new(from, 0).into()).expect("bind");
    socket.connect(&to.into()).expect("connect");
    socket.into()
}

fn a_strangers_password_is_possible_at_most_and_hides_no_fault_of_the_partner(engine: Engine) {
    let layover = Setup::new(engine).prepare();
    let plan = layover.account("partner").password(PASSWORD);
    let account = plan.only_from(&["any"]).add();
    layover.start();
    let guess = || assert_eq!(log_in(&layover, STRANGER, "guess").1, 530);
    guess();
    // Nobody has ever logged in: it may be the partner.
    let found = verdict(&layover, "password-refused");
    assert_eq!(found["sureness"], "possible", "{found:#}");
    assert_eq!(doctor(&layover)["state"], "unknown");
    assert!(
        sentence(&found).starts_with("If the client at 127.0.0.66 is yours: "),
        "{found:#}"
    );

    // The partner logs in, and its uploads break off; a stranger guesses all the time.
    for name in [b"/a", b"/b"] {
        let mut partner = account.partner(&layover, Protocol::Ftps);
        partner.begin_upload(name, &[7; 65_536]).expect("begin");
    }
    verdict(&layover, "connection-lost");
    guess();
    wait::until(
        "the stranger's second guess to be counted",
        PATIENCE,
        || {
            let found = doctor(&layover);
            assert_eq!(found["verdict"]["sign"], "connection-lost", "{found:#}");
            let mut further = found["further"].as_array().expect("a list").iter();
            let guessed = further.find(|one| one["sign"] == "password-refused")?;
            assert_eq!(guessed["sureness"], "possible", "{found:#}");
            (guessed["times"] == 2).then_some(())
        },
    );
}

fn who_tried_leaves_out_addresses_of_other_accounts(engine: Engine) {
    let layover = Setup::new(engine).prepare();
    layover.account("partner").only_from(&["127.0.0.9"]).add();
    layover.account("other").only_from(&["127.0.0.2"]).add();
    let plan = layover.account("third").password(PASSWORD);
    let third = plan.only_from(&["127.0.0.1"]).add();
    layover.start();
    // It has logged in from an address that is not its own any more.
    let server = layover.ftps_address(Entry::Explicit);
    drop(third.partner(&layover, Protocol::Ftps));
    layover.admin(&["account", "allow", "add", "third", "127.0.0.3"]);
    layover.admin(&["account", "allow", "remove", "third", "127.0.0.1"]);
    let allowed = layover.rows(&["account", "allow", "list", "third"]);
    assert_eq!(allowed.len(), 1, "{allowed:?}");
    // All of them are seen before a login, or refused by the gate.
    for last in [1, 2, 66] {
        let from = IpAddr::V4(Ipv4Addr::new(127, 0, 0, last));
        let mut stream = connect(from, server);
        let mut rest = Vec::new();
        stream.write_all(b"QUIT\r\n").ok();
        stream.read_to_end(&mut rest).ok();
    }
    // That somebody has logged in is written last.
    let mut found = Value::Null;
    let is_seen = wait::within(PATIENCE, || {
        found = doctor(&layover);
        let tried = found["tried"].as_array().expect("a list").len();
        (tried == 1 && found["tried_of_others"] == 2).then_some(())
    });
    assert!(is_seen.is_some(), "{found:#}");
    assert_eq!(found["tried"][0]["network"], "127.0.0.66/32", "{found:#}");
    let told = layover.admin(&["doctor", "account", "partner"]).stdout;
    assert!(!told.contains("127.0.0.2"), "{told}");
    assert!(
        told.contains("addresses of other accounts, too: 2"),
        "{told}"
    );
}

/// On our side, with the command that mends it.
#[track_caller]
fn is_ours(found: &Value, command: &str) {
    assert_eq!(found["side"], "ours", "{found:#}");
    let what_to_do = found["what_to_do"].as_str().expect("a text");
    assert!(what_to_do.contains(command), "{found:#}");
}

fn what_is_ours_names_the_command(engine: Engine) {
    let layover = Setup::new(engine).prepare();
    let plan = layover.account("partner").password(PASSWORD);
    let limits = ["--protocols", "sftp", "--max-sessions", "1"];
    let account = plan.with(&limits).add();
    // Whose networks count while the partner is disabled.
    layover.account("other").add();
    layover.start();
    let here = Way::default().from;
    assert_eq!(log_in(&layover, here, PASSWORD).1, 530);
    let found = verdict(&layover, "protocol-refused");
    let command = "layover account set partner --protocols ftps,sftp";
    is_ours(&found, command);
    assert!(sentence(&found).contains("may use sftp here"), "{found:#}");
    let arguments: Vec<_> = command.split(' ').skip(1).collect();
    layover.admin(&arguments);
    is_ours(&verdict(&layover, "protocol-refused"), "nothing more here");

    let (first, code) = log_in(&layover, here, PASSWORD);
    assert_eq!(code, 200);
    assert_eq!(log_in(&layover, here, PASSWORD).1, 530);
    let found = verdict(&layover, "session-limit");
    is_ours(&found, "`layover account set partner --max-sessions N`");
    assert!(found["what"].to_string().contains("(1)"), "{found:#}");
    assert!(
        sentence(&found).contains("fewer sessions at a time"),
        "{found:#}"
    );
    drop(first);
    layover.admin(&["account", "set", "partner", "--max-sessions", "none"]);
    let found = doctor(&layover);
    assert_eq!(found["state"], "changed", "{found:#}");
    is_ours(&found["verdict"], "nothing more here");
    let told = layover.admin(&["doctor", "account", "partner"]).stdout;
    assert!(told.starts_with("CHANGED  partner: "), "{told}");

    layover.admin(&["account", "disable", "partner"]);
    assert_eq!(log_in(&layover, here, PASSWORD).1, 530);
    let found = verdict(&layover, "account-disabled");
    is_ours(&found, "`layover account enable partner`");
    layover.admin(&["account", "enable", "partner"]);
    account
        .partner(&layover, Protocol::Ftps)
        .put(b"/file", b"content")
        .expect("put");
    well(&layover);
}

fn a_disabled_account_that_nobody_lets_in_is_told_as_disabled(engine: Engine) {
    let (layover, account) = serve(engine);
    drop(account.partner(&layover, Protocol::Sftp));
    layover.admin(&["account", "disable", "partner"]);
    // No other account names the network: the gate knows the address no more.
    let found = wait::until("the gate to refuse the address", PATIENCE, || {
        let refused = connect(Way::default().from, layover.sftp_address());
        let _ = (&refused).read(&mut [0]);
        let found = doctor(&layover)["verdict"].clone();
        (found["sign"] == "account-disabled").then_some(found)
    });
    is_ours(&found, "`layover account enable partner`");
    assert!(found["to_the_partner"].is_null(), "{found:#}");
    let what = found["what"].as_str().expect("a text");
    assert!(what.contains("before the first byte"), "{what}");
}

fn a_refused_network_is_told_with_what_is_allowed_and_the_command(engine: Engine) {
    let layover = Setup::new(engine).prepare();
    let plan = layover.account("partner").password(PASSWORD);
    let account = plan.only_from(&["127.0.0.9", "127.0.1.0/24"]).add();
    // Whose network lets the address in.
    layover.account("other").add();
    layover.start();
    let (_, code) = log_in(&layover, STRANGER, PASSWORD);
    assert_eq!(code, 530);
    let found = verdict(&layover, "network-refused");
    let what = found["what"].as_str().expect("a text");
    assert!(
        what.contains("127.0.0.66, which is not among its networks (127.0.0.9/32, 127.0.1.0/24)"),
        "{what}"
    );
    assert_eq!(found["sureness"], "possible", "nobody knows whose it is");
    let what_to_do = found["what_to_do"].as_str().expect("a text");
    let command = what_to_do.split('`').nth(1).expect("a command");
    assert_eq!(command, "layover account allow add partner 127.0.0.66");
    let arguments: Vec<_> = command.split(' ').skip(1).collect();
    layover.admin(&arguments);
    let found = verdict(&layover, "network-refused");
    is_ours(&found, "the partner may try again");
    assert!(found["to_the_partner"].is_null(), "{found:#}");
    let (ftps, code) = log_in(&layover, STRANGER, PASSWORD);
    assert_eq!(code, 200, "{}", account.name);
    drop(ftps);
    wait::until("the login to end it", PATIENCE, || {
        let found = doctor(&layover);
        (found["verdict"].is_null() && found["state"] == "ok").then_some(())
    });
}

fn behind_a_shared_nat_nothing_is_certain_of_who_gave_no_name(engine: Engine) {
    let (layover, _account) = serve(engine);
    let old = || speak_tls_1_1(layover.ftps_address(Entry::Explicit));
    old();
    let found = verdict(&layover, "tls-version");
    assert_eq!(found["sureness"], "certain", "{found:#}");
    // An entity of its own, which comes from the same network.
    layover.account("other").entity("others").add();
    old();
    let found = verdict(&layover, "tls-version");
    assert_eq!(found["sureness"], "possible", "{found:#}");
    assert!(
        sentence(&found).starts_with("If the client at 127.0.0.1 is yours: "),
        "{found:#}"
    );
}

fn a_glimpse_of_a_partner_is_unknown_and_neither_unseen_nor_well(engine: Engine) {
    let (layover, _account) = serve(engine);
    assert_eq!(doctor(&layover)["state"], "unseen");
    drop(connect(
        Way::default().from,
        layover.ftps_address(Entry::Explicit),
    ));
    let found = wait::until("the glimpse to be written", PATIENCE, || {
        let found = doctor(&layover);
        (found["state"] != "unseen").then_some(found)
    });
    assert_eq!(found["state"], "unknown", "{found:#}");
    assert!(found["verdict"].is_null() && found["never_seen"] == false);
    let told = layover.admin(&["doctor", "account", "partner"]).stdout;
    assert!(
        told.starts_with("UNKNOWN  partner: no login is known;"),
        "{told}"
    );
}
