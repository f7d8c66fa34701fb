//! The doctor's findings, each fault played by a server: what fails, the likely cause, the
//! remedy; and what a connection hands back.

use std::time::Duration;

use layover_client::doctor::{CheckStep, Finding, Outcome, Probe};
use layover_client::ftps::Security;
use layover_client::{Partner, PartnerError};
use layover_depot::{
    Credential, Field, GivenSecret, IntegrationProtocol, IntegrationSpec, LocationDirection,
    SecretPurpose, SecretSlot,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::authority::{Authority, Leaf};
use crate::office::{Office, Plan, ftps, sftp};
use crate::play::{Answer, Play, Stage};
use crate::servers::{Server, Setup, Software};
use crate::skip::skip;
use crate::sshd::Sshd;

/// The one step that failed. Those before it went well, those behind it were skipped.
#[track_caller]
fn failed(findings: &[Finding], what: &str) -> Finding {
    let at = findings
        .iter()
        .position(|one| one.outcome == Outcome::Failed)
        .unwrap_or_else(|| panic!("{what}: nothing failed: {findings:#?}"));
    let after = findings.iter().skip(at + 1);
    for one in after {
        assert_eq!(one.outcome, Outcome::Skipped, "{what}: {findings:#?}");
        assert!(!one.seen.is_empty(), "{what}: no reason: {one:#?}");
    }
    findings[at].clone()
}

#[track_caller]
fn works(findings: &[Finding]) {
    let bad = |one: &&Finding| matches!(one.outcome, Outcome::Failed | Outcome::Warning);
    let bad: Vec<_> = findings.iter().filter(bad).collect();
    assert!(bad.is_empty(), "{bad:#?}");
}

/// What a fault is to be told as.
struct Expected {
    step: CheckStep,
    cause: &'static str,
    remedy: &'static str,
}

fn expected(step: CheckStep, cause: &'static str, remedy: &'static str) -> Expected {
    Expected {
        step,
        cause,
        remedy,
    }
}

#[track_caller]
fn check(findings: &[Finding], expected: &Expected, what: &str) {
    let found = failed(findings, what);
    assert_eq!(found.step, expected.step, "{what}: {findings:#?}");
    let cause = found.likely_cause.as_deref().unwrap_or_default();
    assert!(cause.contains(expected.cause), "{what}: {found:#?}");
    let remedy = found.what_to_do.as_deref().unwrap_or_default();
    assert!(remedy.contains(expected.remedy), "{what}: {found:#?}");
    assert!(found.fault.is_some(), "{what}: {found:#?}");
}

fn explicit() -> Play {
    Play {
        security: Security::Explicit,
        ..Play::default()
    }
}

#[tokio::test]
async fn every_fault_that_a_server_says_is_told_with_its_cause() {
    let office = Office::open().await;
    let cases = [
        (
            "plain FTP",
            explicit().say("AUTH", "502 no TLS here"),
            expected(
                CheckStep::AuthTls,
                "no TLS on this port",
                "--security implicit",
            ),
        ),
        (
            "login",
            explicit().say("PASS", "530 Login incorrect"),
            expected(
                CheckStep::Login,
                "password of `partner` is wrong",
                "--password REFERENCE",
            ),
        ),
        (
            "full",
            explicit().say("greeting", "421 too many connections"),
            expected(CheckStep::Greeting, "still open there", "max_concurrent"),
        ),
        (
            "hung up",
            explicit().instead("greeting", Answer::Cut),
            expected(
                CheckStep::Greeting,
                "our address is not on its list",
                "integration kit",
            ),
        ),
        (
            "passive port closed",
            explicit().say("EPSV", "229 here (|||1|)"),
            expected(
                CheckStep::DataConnection,
                "passive data connections",
                "passive port range",
            ),
        ),
        (
            "passive address and port",
            explicit()
                .say("EPSV", "500 what?")
                .say("PASV", "227 here (10,99,99,99,0,1)"),
            expected(CheckStep::DataConnection, "firewall", "--transfer active"),
        ),
        (
            "no such folder",
            explicit().say("MLSD", "550 No such file or directory"),
            expected(CheckStep::List, "capital letters", "location set"),
        ),
        (
            "no right",
            explicit().say("MLSD", "550 Permission denied"),
            expected(CheckStep::List, "no right", "ask the partner for the right"),
        ),
    ];
    for (number, (what, play, expected)) in cases.into_iter().enumerate() {
        let authority = Authority::new("the partner's authority");
        let leaf = authority.sign("127.0.0.1", |_| {});
        let pem = authority.pem();
        let stage = Stage::showing(play, authority, &leaf).await;
        let name = format!("said-{number}");
        let integration = office.integration(&name, ftps(stage.port(), &pem)).await;
        let findings = office.test(&integration, Probe::Write).await;
        check(&findings, &expected, what);
        if what == "passive address and port" {
            let seen = failed(&findings, what).seen.join("; ");
            assert!(seen.contains("announced 10.99.99.99:1"), "{seen}");
        }
    }
}

#[tokio::test]
async fn every_fault_of_a_certificate_is_told_with_its_cause() {
    let office = Office::open().await;
    let authority = Authority::new("the partner's authority");
    let good = |name: &str| authority.sign(name, |_| {});
    let expired = authority.sign("127.0.0.1", |params| {
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2026, 1, 1);
    });
    let stranger = Authority::new("a stranger").sign("127.0.0.1", |_| {});
    let pin = "0".repeat(64);
    for (number, (what, leaf, pin, expected)) in [
        (
            "self-signed",
            Leaf::self_signed("127.0.0.1"),
            None,
            expected(CheckStep::Tls, "self-signed", "--certificate-pin"),
        ),
        (
            "another authority",
            stranger,
            None,
            expected(CheckStep::Tls, "another authority", "--ca-certificate"),
        ),
        (
            "another name",
            good("other.example.com"),
            None,
            expected(CheckStep::Tls, "made for other.example.com", "--host HOST"),
        ),
        (
            "expired",
            expired,
            None,
            expected(CheckStep::Tls, "not renewed", "renew it"),
        ),
        (
            "pin",
            good("127.0.0.1"),
            Some(pin),
            expected(CheckStep::Tls, "renewed the certificate", "by telephone"),
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let print = leaf.fingerprint().to_string();
        let stage = Stage::showing(explicit(), Authority::new("unused"), &leaf).await;
        let mut plan = ftps(stage.port(), &authority.pem());
        plan.fields
            .extend(pin.map(|pin| ("ftps.certificate_pin", pin)));
        let integration = office.integration(&format!("shown-{number}"), plan).await;
        let findings = office.test(&integration, Probe::Write).await;
        check(&findings, &expected, what);
        let seen = failed(&findings, what).seen.join("; ");
        assert!(seen.contains(&print), "{what}: {seen}");
        assert!(stage.heard().iter().all(|line| line.starts_with("AUTH")));
        // A refused certificate teaches nothing.
        assert!(office.reread(&integration).await.learned.is_empty());
    }
}

#[tokio::test]
async fn every_fault_below_ftp_is_told_with_its_cause() {
    let office = Office::open().await;
    let closed = {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        listener.local_addr().unwrap().port()
    };
    let old = old_tls().await;
    let explicit_port = Stage::set(explicit()).await;
    let ssh_port = says(b"SSH-2.0-OpenSSH_9.9\r\n").await;
    let pem = Authority::new("any").pem();
    let implicit = || vec![("ftps.security", "implicit".to_owned())];
    for (number, (what, host, port, fields, expected)) in [
        (
            "no such host",
            "nowhere.invalid",
            21,
            Vec::new(),
            expected(
                CheckStep::NameResolution,
                "misspelt",
                "getent hosts nowhere.invalid",
            ),
        ),
        (
            "closed port",
            "127.0.0.1",
            closed,
            Vec::new(),
            expected(CheckStep::Tcp, "nothing listens", "--port PORT"),
        ),
        (
            "old TLS",
            "127.0.0.1",
            old,
            Vec::new(),
            expected(CheckStep::Tls, "TLS 1.0 or 1.1", "switch TLS 1.2 or 1.3 on"),
        ),
        (
            "implicit at an explicit port",
            "127.0.0.1",
            explicit_port.port(),
            implicit(),
            expected(
                CheckStep::Tls,
                "explicit FTPS begins in clear",
                "--security explicit",
            ),
        ),
        (
            "SSH at an FTPS port",
            "127.0.0.1",
            ssh_port,
            Vec::new(),
            expected(
                CheckStep::Greeting,
                "another protocol",
                "protocol, host and port",
            ),
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let mut plan = Plan {
            host,
            ..ftps(port, &pem)
        };
        plan.fields.extend(fields);
        let integration = office.integration(&format!("below-{number}"), plan).await;
        let findings = office.test(&integration, Probe::Write).await;
        check(&findings, &expected, what);
    }
}

#[tokio::test]
async fn a_server_that_says_nothing_may_be_one_for_implicit_tls() {
    let mut office = Office::open().await;
    office.patience = Duration::from_millis(500);
    let stage = Stage::set(explicit().instead("greeting", Answer::Hang)).await;
    let pem = Authority::new("any").pem();
    let integration = office.integration("mute", ftps(stage.port(), &pem)).await;
    let silent = expected(CheckStep::Greeting, "implicit TLS", "--security implicit");
    check(
        &office.test(&integration, Probe::Write).await,
        &silent,
        "silent",
    );
}

/// A server that greets as told and then waits.
async fn says(words: &'static [u8]) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut tcp, _)) = listener.accept().await {
            tokio::spawn(async move {
                tcp.write_all(words).await.ok();
                tcp.read_to_end(&mut Vec::new()).await.ok();
            });
        }
    });
    port
}

/// A server that knows TLS 1.1 alone: it says so by an alert.
async fn old_tls() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut tcp, _)) = listener.accept().await {
            tokio::spawn(async move {
                tcp.write_all(b"220 ready\r\n").await.ok();
                let mut heard = [0; 10];
                if tcp.read_exact(&mut heard).await.is_err() {
                    return;
                }
                tcp.write_all(b"234 go on\r\n").await.ok();
                // The ClientHello: a record's header, and what it says to hold.
                let mut header = [0; 5];
                if tcp.read_exact(&mut header).await.is_err() {
                    return;
                }
                let length = usize::from(u16::from_be_bytes([header[3], header[4]]));
                tcp.read_exact(&mut vec![0; length]).await.ok();
                // Alert, TLS 1.1, 2 bytes: fatal, protocol_version (RFC 8446 s.6).
                tcp.write_all(&[21, 3, 2, 0, 2, 2, 70]).await.ok();
                tcp.read_to_end(&mut Vec::new()).await.ok();
            });
        }
    });
    port
}

#[tokio::test]
async fn hostile_names_are_counted_and_shown_and_nothing_else_is_wrong() {
    let office = Office::open().await;
    let play = Play {
        content: b"type=file;size=3;modify=20260501102030; a.csv\r\n\
                   type=dir;modify=20260501102030; sub\r\n\
                   type=file;size=3;modify=20260501102030; ../x\r\n"
            .to_vec(),
        ..explicit()
    };
    let authority = Authority::new("the partner's authority");
    let leaf = authority.sign("127.0.0.1", |_| {});
    let pem = authority.pem();
    let stage = Stage::showing(play, authority, &leaf).await;
    let integration = office
        .integration("hostile", ftps(stage.port(), &pem))
        .await;
    let findings = office.test(&integration, Probe::Write).await;
    let list = findings
        .iter()
        .find(|one| one.step == CheckStep::List)
        .unwrap();
    assert_eq!(list.outcome, Outcome::Warning, "{list:#?}");
    assert!(list.seen[0].contains("1 files, 1 folders"), "{list:#?}");
    assert!(
        list.seen.iter().any(|line| line.contains("../x")),
        "{list:#?}"
    );
    let learned = office.reread(&integration).await.learned;
    assert_eq!(
        learned["certificate"]["sha256"],
        leaf.fingerprint().to_string()
    );
}

#[tokio::test]
async fn hardened_mode_refuses_at_use_what_was_set_before_and_sends_nothing() {
    let mut office = Office::open().await;
    let stage = Stage::set(Play::default()).await;
    let plan = Plan {
        protocol: IntegrationProtocol::Ftp,
        fields: Vec::new(),
        ..ftps(stage.port(), "")
    };
    let integration = office.integration("old", plan).await;
    let tls = office
        .test(&integration, Probe::ReadOnly)
        .await
        .into_iter()
        .find(|one| one.step == CheckStep::Tls)
        .unwrap();
    assert_eq!(tls.outcome, Outcome::Warning);
    assert!(tls.fault.unwrap().contains("PLAIN FTP"));
    let heard = stage.heard().len();
    office.hardened = true;
    let findings = office.test(&integration, Probe::Write).await;
    let found = failed(&findings, "hardened");
    assert_eq!(found.step, CheckStep::Settings);
    let fault = found.fault.unwrap();
    for part in ["`old`", "plain ftp", "password was typed in"] {
        assert!(fault.contains(part), "{fault}");
    }
    let (registry, surroundings) = (office.depot.registry(), office.surroundings());
    let prepared = Partner::prepare(registry, integration, &surroundings).await;
    assert!(matches!(prepared, Err(PartnerError::Hardened { .. })));
    assert_eq!(stage.heard().len(), heard);
}

#[tokio::test]
async fn real_ftp_servers_are_found_well_and_a_probe_file_leaves_nothing() {
    for software in [Software::Vsftpd, Software::ProFtpd, Software::PureFtpd] {
        for security in [Security::Explicit, Security::Implicit] {
            if software == Software::PureFtpd && security == Security::Implicit {
                continue;
            }
            let server = match Server::start(Setup::new(software, security)) {
                Ok(server) => server,
                Err(reason) => {
                    skip(&reason);
                    continue;
                }
            };
            let office = Office::open().await;
            let options = server.options();
            let word = match security {
                Security::Implicit => "implicit",
                _ => "explicit",
            };
            let plan = Plan {
                protocol: IntegrationProtocol::Ftps,
                host: &options.host,
                port: options.port.unwrap(),
                user: &options.username,
                fields: vec![
                    ("ftps.ca_certificate", server.authority.pem()),
                    ("ftps.security", word.to_owned()),
                ],
                locations: vec![("up", "/files".to_owned(), LocationDirection::Upload)],
            };
            let integration = office.integration("real", plan).await;
            let registry = office.depot.registry();
            let secret = GivenSecret {
                purpose: SecretPurpose::Password,
                credential: Some(Credential::Value(layover_depot::Secret::new(
                    options.password.expose(),
                ))),
            };
            registry
                .change_integration(
                    &office.actor,
                    &integration.spec.name,
                    |_| Vec::new(),
                    &[secret],
                )
                .await
                .unwrap();
            let findings = office.test(&integration, Probe::Write).await;
            let what = format!("{software:?} {security:?}");
            works(&findings);
            let wrote = findings.iter().find(|one| one.step == CheckStep::Write);
            assert_eq!(wrote.unwrap().outcome, Outcome::Ok, "{what}");
            let left = std::fs::read_dir(&server.files).unwrap().count();
            assert_eq!(left, 0, "{what}");
        }
    }
}

#[tokio::test]
async fn an_sftp_server_is_tried_from_the_first_key_to_the_next_one() {
    let sshd = match Sshd::start("").await {
        Ok(sshd) => sshd,
        Err(reason) => return skip(&reason),
    };
    let office = Office::open().await;
    let integration = office.integration("lab", sftp(&sshd)).await;
    let without = failed(&office.test(&integration, Probe::Write).await, "no key");
    assert!(
        without
            .what_to_do
            .unwrap()
            .contains("integration key rotate lab")
    );
    let first = office.key(&integration).await;
    // The server's key is unknown, then known and confirmed.
    let unknown = office.test(&integration, Probe::Write).await;
    let seen = office.reread(&integration).await.host_keys;
    assert_eq!((seen.len(), seen[0].confirmed_at), (1, None));
    assert!(seen[0].public_key.is_some());
    let found = failed(&unknown, "unknown");
    assert_eq!(found.step, CheckStep::HostKey);
    let command = format!(
        "layover integration host-key confirm lab {}",
        seen[0].fingerprint
    );
    assert!(found.what_to_do.unwrap().contains(&command));
    office.confirm_shown(&integration).await;
    let refused = expected(
        CheckStep::Login,
        "not installed our public key",
        "key show lab",
    );
    let findings = office.test(&integration, Probe::Write).await;
    check(&findings, &refused, "no key there");
    sshd.authorize(&first);
    works(&office.test(&integration, Probe::Write).await);
    assert_eq!(std::fs::read_dir(sshd.files()).unwrap().count(), 0);
    // A new key of ours: the old one lets us in, with a warning, until the new one is there.
    let second = office.key(&integration).await;
    let findings = office.test(&integration, Probe::Write).await;
    let login = findings.iter().find(|one| one.step == CheckStep::Login);
    assert_eq!(login.unwrap().outcome, Outcome::Warning);
    let previous = (SecretPurpose::SshKey, SecretSlot::Previous);
    let known = office.reread(&integration).await;
    assert!(known.secret(previous.0, previous.1).is_some());
    sshd.authorize(&second);
    works(&office.test(&integration, Probe::Write).await);
    let known = office.reread(&integration).await;
    assert!(known.secret(previous.0, previous.1).is_none());
}

#[tokio::test]
async fn another_host_key_old_algorithms_and_another_service_are_told_with_their_cause() {
    let office = Office::open().await;
    let (one, other) = match (Sshd::start("").await, Sshd::start("").await) {
        (Ok(one), Ok(other)) => (one, other),
        (Err(reason), _) | (_, Err(reason)) => return skip(&reason),
    };
    let integration = office.integration("moved", sftp(&one)).await;
    office.key(&integration).await;
    office.test(&integration, Probe::Write).await;
    office.confirm_shown(&integration).await;
    let confirmed = office.reread(&integration).await.host_keys[0]
        .fingerprint
        .clone();
    let port = other.port().to_string();
    let registry = office.depot.registry();
    let change = |spec: &mut IntegrationSpec| {
        let set = Field::of_name("port").unwrap().set(spec, Some(&port));
        set.err().into_iter().collect()
    };
    let name = &integration.spec.name;
    registry
        .change_integration(&office.actor, name, change, &[])
        .await
        .unwrap();
    let changed = expected(
        CheckStep::HostKey,
        "somebody sits in between",
        "host-key confirm moved",
    );
    let findings = office.test(&integration, Probe::Write).await;
    check(&findings, &changed, "changed");
    let found = failed(&findings, "changed");
    assert!(found.fault.unwrap().contains(&confirmed));
    assert!(found.seen.iter().any(|line| line.ends_with(&confirmed)));
    let remove = format!("host-key remove moved {confirmed}");
    assert!(found.what_to_do.unwrap().contains(&remove));

    let old = Sshd::start("KexAlgorithms diffie-hellman-group14-sha256")
        .await
        .unwrap();
    let integration = office.integration("old", sftp(&old)).await;
    office.key(&integration).await;
    let none = expected(
        CheckStep::Algorithms,
        "older than what is offered",
        "--algorithms compatible",
    );
    check(
        &office.test(&integration, Probe::Write).await,
        &none,
        "algorithms",
    );

    let ftp = says(b"220 ready\r\n").await;
    let plan = Plan {
        port: ftp,
        ..sftp(&old)
    };
    let integration = office.integration("ftp", plan).await;
    office.key(&integration).await;
    let findings = office.test(&integration, Probe::Write).await;
    assert_eq!(failed(&findings, "FTP").step, CheckStep::Greeting);
}
