//! Why a partner cannot connect: what `layover doctor account` says of it, and that it says
//! nothing of partners who can. Firewalls are real ones, in a network namespace of the test.

mod transfers;
mod whose;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use layover_tests::account::PASSWORD;
use layover_tests::ftps::{Entry, FtpsLogin};
use layover_tests::keys::{KeyKind, KeyPair};
use layover_tests::netns::PartnersNetwork;
use layover_tests::process::Ran;
use layover_tests::skip::skip;
use layover_tests::wait::{self, PATIENCE};
use layover_tests::{Account, Engine, Layover, Protocol, Setup, on_both_engines, openssh};
use serde_json::Value;

on_both_engines!(
    a_partner_without_a_word_is_unseen_and_one_that_works_is_well,
    what_was_refused_is_named_until_it_works,
);

/// For a client that has to give up by itself.
const LIMIT: Duration = Duration::from_secs(120);

fn serve(engine: Engine) -> (Layover, Account) {
    let layover = Setup::new(engine).prepare();
    let account = layover.account("partner").password(PASSWORD).add();
    layover.start();
    (layover, account)
}

fn doctor(layover: &Layover) -> Value {
    layover.json(&["doctor", "account", "partner"])
}

/// Waits until the doctor says this; the verdict.
#[track_caller]
fn verdict(layover: &Layover, sign: &str) -> Value {
    let mut last = Value::Null;
    let found = wait::within(PATIENCE, || {
        last = doctor(layover);
        (last["verdict"]["sign"] == sign).then(|| last["verdict"].clone())
    });
    found.unwrap_or_else(|| panic!("no verdict `{sign}`: {last:#}\n{}", layover.log()))
}

/// Waits until nothing is wrong, and a file was transferred.
#[track_caller]
fn well(layover: &Layover) {
    let mut last = Value::Null;
    let found = wait::within(PATIENCE, || {
        last = doctor(layover);
        let has_transferred = !last["last_transfer_at"].is_null();
        (last["verdict"].is_null() && has_transferred).then_some(())
    });
    assert!(found.is_some(), "{last:#}\n{}", layover.log());
}

fn sentence(finding: &Value) -> &str {
    finding["to_the_partner"].as_str().expect("a sentence")
}

fn a_partner_without_a_word_is_unseen_and_one_that_works_is_well(engine: Engine) {
    let (layover, account) = serve(engine);
    let found = doctor(&layover);
    assert_eq!(found["never_seen"], true, "{found:#}");
    assert_eq!(found["state"], "unseen");
    assert!(found["verdict"].is_null() && found["last_login_at"].is_null());
    let check = found["what_to_check"].to_string();
    assert!(check.contains("127.0.0.0/8"), "{check}");
    let told = layover.admin(&["doctor", "account", "partner"]).stdout;
    let unseen = "UNSEEN  partner: no login is known, and no attempt in its name, and nothing from its networks (127.0.0.0/8)";
    assert!(told.starts_with(unseen), "{told}");
    for protocol in [Protocol::Sftp, Protocol::Ftps] {
        let mut partner = account.partner(&layover, protocol);
        partner.put(b"/file", b"content").expect("put");
    }
    well(&layover);
    let found = doctor(&layover);
    assert_eq!(
        (&found["never_seen"], &found["state"]),
        (&false.into(), &"ok".into())
    );
    assert!(found["further"].as_array().unwrap().is_empty(), "{found:#}");
    let told = layover.admin(&["doctor", "account", "partner"]).stdout;
    assert!(told.starts_with("ok"), "{told}");
    let unknown = layover.run(&["doctor", "account", "nobody"]).expect_code(1);
    assert!(unknown.stderr.contains("nobody"), "{unknown}");
}

/// AUTH TLS, and a ClientHello of TLS 1.1 with two suites of its time.
fn speak_tls_1_1(server: SocketAddr) {
    let mut socket = TcpStream::connect(server).expect("connect");
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut line = [0; 512];
    assert!(socket.read(&mut line).unwrap() > 0);
    socket.write_all(b"AUTH TLS\r\n").unwrap();
    let read = socket.read(&mut line).unwrap();
    assert!(line[..read].starts_with(b"234"));
    let mut hello = vec![3, 2];
    hello.extend([7; 32]);
    hello.extend([0, 0, 4, 0, 0x2f, 0, 0x35, 1, 0]);
    let length = u8::try_from(hello.len()).unwrap();
    let mut record = vec![22, 3, 1, 0, length + 4, 1, 0, 0, length];
    record.extend(hello);
    socket.write_all(&record).unwrap();
    // The server closes it.
    let mut rest = Vec::new();
    socket.read_to_end(&mut rest).ok();
}

fn what_was_refused_is_named_until_it_works(engine: Engine) {
    let (layover, account) = serve(engine);
    // No TLS at all.
    let mut plain = TcpStream::connect(layover.ftps_address(Entry::Explicit)).expect("connect");
    plain.write_all(b"USER partner\r\nQUIT\r\n").unwrap();
    let mut answers = Vec::new();
    plain.read_to_end(&mut answers).unwrap();
    let found = verdict(&layover, "plain-ftp");
    assert!(sentence(&found).contains("explicit"), "{found:#}");

    speak_tls_1_1(layover.ftps_address(Entry::Explicit));
    let found = verdict(&layover, "tls-version");
    assert!(sentence(&found).contains("offers TLS 1.1;"), "{found:#}");
    assert_eq!(
        (&found["side"], &found["sureness"]),
        (&"partner".into(), &"certain".into())
    );
    assert_eq!(found["network"], "127.0.0.1/32");

    // The client knows no authority that has signed our certificate.
    let login = FtpsLogin {
        layover: &layover,
        account: &account,
        entry: Entry::Explicit,
    };
    let wary = ["--no-insecure", "--list-only"];
    let ran = login.curl(&wary, "/", LIMIT);
    assert!(!ran.ok(), "{ran}");
    let found = verdict(&layover, "certificate-refused");
    assert!(
        sentence(&found).contains("does not trust the certificate"),
        "{found:#}"
    );

    // The wrong password.
    let mut other = account.clone();
    other.password = Some("wrong".to_owned());
    assert!(
        other
            .try_partner_at(layover.ftps_address(Entry::Explicit), Protocol::Ftps)
            .is_err()
    );
    let found = verdict(&layover, "password-refused");
    assert!(sentence(&found).contains("wrong"), "{found:#}");

    // One login over FTPS speaks against all of this.
    account
        .partner(&layover, Protocol::Ftps)
        .put(b"/a", b"a")
        .expect("put");
    well(&layover);

    // A key that is not the account's.
    let key = KeyPair::generate(&account.client_dir, "other", KeyKind::Ed25519);
    let mut other = account.clone();
    other.key = key;
    openssh::sftp(&other.by_key(&layover), &[], "ls\n", LIMIT);
    let found = verdict(&layover, "key-refused");
    assert!(found["told"].to_string().contains("SHA256:"), "{found:#}");

    // A client of old.
    let old = ["-o", "KexAlgorithms=diffie-hellman-group14-sha1"];
    let ran = openssh::sftp(&account.by_key(&layover), &old, "ls\n", LIMIT);
    assert!(!ran.ok(), "{ran}");
    let found = verdict(&layover, "ssh-algorithms");
    assert!(
        sentence(&found).contains("key exchange: diffie-hellman-group14-sha1"),
        "{found:#}"
    );
    // No setting takes SHA-1; `compatible` takes the next one's.
    let what_to_do = |found: &Value| found["what_to_do"].as_str().expect("a text").to_owned();
    assert!(!what_to_do(&found).contains("compatible"), "{found:#}");
    let old = ["-o", "KexAlgorithms=diffie-hellman-group14-sha256"];
    let ran = openssh::sftp(&account.by_key(&layover), &old, "ls\n", LIMIT);
    assert!(!ran.ok(), "{ran}");
    wait::until("the advice to name the setting", PATIENCE, || {
        let found = verdict(&layover, "ssh-algorithms");
        what_to_do(&found)
            .contains("`algorithms = \"compatible\"`")
            .then_some(())
    });
    // The wrong host key is known, and ours refused.
    let login = account.by_key(&layover);
    let (ip, port) = (login.server.ip(), login.server.port());
    let line = format!("[{ip}]:{port} {}\n", other.key.line());
    std::fs::write(login.known_hosts(), line).unwrap();
    let ran = openssh::sftp(&login, &["-o", "StrictHostKeyChecking=yes"], "ls\n", LIMIT);
    assert!(!ran.ok(), "{ran}");
    let found = verdict(&layover, "host-key-refused");
    assert!(sentence(&found).contains("known_hosts"), "{found:#}");
    std::fs::remove_file(login.known_hosts()).unwrap();

    account
        .partner(&layover, Protocol::Sftp)
        .put(b"/b", b"b")
        .expect("put");
    well(&layover);
    // Nothing is lost by a restart.
    layover.stop();
    assert!(doctor(&layover)["verdict"].is_null());
    let told = layover.admin(&["doctor", "account", "partner"]).stdout;
    assert!(told.starts_with("ok"), "{told}");
}

#[test]
fn strangers_are_told_where_an_account_was_never_seen() {
    let layover = Setup::new(Engine::Sqlite).prepare();
    layover.account("partner").only_from(&["127.0.0.9"]).add();
    layover.start();
    let refused = TcpStream::connect(layover.sftp_address()).expect("connect");
    let mut byte = [0];
    assert!(matches!((&refused).read(&mut byte), Ok(0) | Err(_)));
    let tried = wait::until("the doctor to tell who tried", PATIENCE, || {
        let found = doctor(&layover);
        assert_eq!(found["never_seen"], true, "{found:#}");
        let tried = found["tried"].as_array().unwrap().clone();
        (!tried.is_empty()).then_some(tried)
    });
    assert_eq!(tried[0]["network"], "127.0.0.1/32", "{tried:?}");
    assert_eq!(tried[0]["sign"], "address-refused");
    assert_eq!(tried[0]["told"][0], "not_allowed");
    let what_to_do = tried[0]["what_to_do"].as_str().expect("a command");
    assert!(
        what_to_do.contains("`layover account allow add partner 127.0.0.1`"),
        "{what_to_do}"
    );
}

/// A server that a partner reaches from a network of its own.
struct Office {
    // The server before the network that it listens in.
    layover: Layover,
    account: Account,
    network: PartnersNetwork,
}

impl Office {
    /// `None`: it cannot be made here.
    fn open() -> Option<Self> {
        Self::open_with(&[])
    }

    /// Likewise, with more settings.
    fn open_with(settings: &[(&str, &str, &str)]) -> Option<Self> {
        let network = PartnersNetwork::make().map_err(|why| skip(&why)).ok()?;
        let listen = format!("{:?}", network.ours().to_string());
        let mut setup = Setup::new(Engine::Sqlite).set("ftps", "listen", &listen);
        for (section, key, value) in settings {
            setup = setup.set(section, key, value);
        }
        let layover = setup.set("sftp", "listen", &listen).prepare();
        let plan = layover.account("partner").password(PASSWORD);
        let account = plan
            .only_from(&[&format!("{}/29", network.ours().network())])
            .add();
        layover.start();
        Some(Self {
            layover,
            account,
            network,
        })
    }

    /// A listing with `curl`, which gives a port that does not answer three seconds.
    fn list(&self) -> Ran {
        let url = format!("ftp://{}/", self.layover.ftps_address(Entry::Explicit));
        let user = format!("{}:{PASSWORD}", self.account.name);
        let arguments = [
            "--disable",
            "--silent",
            "--show-error",
            "--insecure",
            "--ssl-reqd",
            "--connect-timeout",
            "3",
            "--list-only",
            "--user",
            &user,
            &url,
        ];
        self.network.run("curl", &arguments, LIMIT)
    }

    fn firewall(&self, rules: &str) {
        self.network.firewall(rules).expect("set the firewall up");
    }
}

/// The network of /29 that an address is in.
trait Block {
    fn network(self) -> Ipv4Addr;
}

impl Block for Ipv4Addr {
    fn network(self) -> Ipv4Addr {
        (u32::from(self) & !7).into()
    }
}

#[test]
fn a_firewall_that_shuts_the_data_ports_is_named_and_forgotten_when_it_opens() {
    let Some(office) = Office::open() else { return };
    office.firewall(
        "table inet doctor { chain out { type filter hook output priority 0; \
         tcp dport 31000-32000 drop; }\n}",
    );
    let found = {
        let ran = office.list();
        assert!(!ran.ok(), "{ran}");
        verdict(&office.layover, "no-data-connection")
    };
    assert!(found["reached_ports"].is_null(), "{found:#}");
    let lowest = found["missed_ports"]["lowest"].as_u64().expect("a port");
    assert!((31_000..=32_000).contains(&lowest), "{found:#}");
    let sentence = sentence(&found);
    assert!(
        sentence.contains("lets the control connection through"),
        "{sentence}"
    );
    assert!(
        sentence.contains("allow outgoing TCP to ports 31000-32000"),
        "{sentence}"
    );
    assert_eq!(found["network"], format!("{}/32", office.network.theirs()));

    office.firewall("table inet doctor { }");
    wait::until("the doctor to see that it works", PATIENCE, || {
        assert!(office.list().ok());
        doctor(&office.layover)["verdict"].is_null().then_some(())
    });
}

#[test]
fn half_of_the_data_ports_shut_is_told_with_both_halves() {
    let Some(office) = Office::open() else { return };
    office.firewall(
        "table inet doctor { chain out { type filter hook output priority 0; \
         tcp dport 31500-32000 reject with tcp reset; }\n}",
    );
    let mut last = Value::Null;
    let found = wait::within(LIMIT, || {
        office.list();
        last = doctor(&office.layover);
        let found = last["verdict"].clone();
        (found["sign"] == "no-data-connection" && !found["reached_ports"].is_null())
            .then_some(found)
    });
    let found = found.unwrap_or_else(|| panic!("{last:#}"));
    let port = |span: &str, end: &str| found[span][end].as_u64().expect("a port");
    assert!(port("missed_ports", "lowest") >= 31_500, "{found:#}");
    assert!(port("reached_ports", "highest") < 31_500, "{found:#}");
    assert!(
        sentence(&found).contains("some passive ports through"),
        "{found:#}"
    );
}

#[test]
fn data_connections_from_another_address_are_told_with_that_address() {
    let Some(office) = Office::open() else { return };
    office.firewall(&format!(
        "table ip doctor {{ chain post {{ type nat hook postrouting priority 100; \
         tcp dport 31000-32000 snat to {}; }}\n}}",
        office.network.other()
    ));
    let mut last = Value::Null;
    let found = wait::within(LIMIT, || {
        let ran = office.list();
        assert!(!ran.ok(), "{ran}");
        last = doctor(&office.layover);
        let found = last["verdict"].clone();
        (found["sign"] == "data-from-elsewhere").then_some(found)
    });
    let found = found.unwrap_or_else(|| panic!("{last:#}"));
    assert_eq!(found["told"][0], office.network.other().to_string());
    let sentence = sentence(&found);
    assert!(
        sentence.contains(&office.network.theirs().to_string()),
        "{sentence}"
    );
    assert!(
        sentence.contains(&office.network.other().to_string()),
        "{sentence}"
    );
    // One that comes from the same address ends it, whichever port it had.
    office.firewall("table inet doctor { }");
    office.list().expect_ok();
    let mut last = Value::Null;
    let well = wait::within(PATIENCE, || {
        last = doctor(&office.layover);
        last["verdict"].is_null().then_some(())
    });
    assert!(well.is_some(), "{last:#}");
}

fn so_many_healthy_sessions_have_no_verdict(sessions: usize) {
    let (layover, account) = serve(Engine::Sqlite);
    for number in 0..sessions {
        let protocol = [Protocol::Sftp, Protocol::Ftps][number % 2];
        let mut partner = account.partner(&layover, protocol);
        partner.put(b"/file", b"content").expect("put");
        assert_eq!(partner.get(b"/file").expect("get"), b"content");
    }
    well(&layover);
    layover.stop();
    let found = doctor(&layover);
    assert!(found["verdict"].is_null(), "{found:#}");
    assert!(found["further"].as_array().unwrap().is_empty(), "{found:#}");
    // However many sessions: three good signs of FTPS, two of SFTP.
    let rows = layover.sql("SELECT COUNT(*) FROM connection_signs;");
    let rows: usize = rows.expect_ok().stdout.trim().parse().expect("a number");
    assert!(rows <= 5, "{rows} rows");
}

#[test]
fn healthy_sessions_have_no_verdict() {
    so_many_healthy_sessions_have_no_verdict(200);
}

#[test]
#[ignore = "long: 1,000 sessions"]
fn a_thousand_healthy_sessions_have_no_verdict() {
    so_many_healthy_sessions_have_no_verdict(1_000);
}
