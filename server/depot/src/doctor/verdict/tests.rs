//! Verdicts by table.

use layover_retention::Timestamp;

mod announced;
mod changed;
mod data;
mod whose;

use super::*;
use crate::doctor::chart::{Examined, OthersPlace, OurSide};
use crate::doctor::sign::{Clue, SignDetail};
use crate::{AllowedNetwork, Protocols};

const RANGE: (u16, u16) = (31_000, 32_000);

fn account_of(name: &str, networks: &[&str]) -> Examined {
    let networks = networks.iter().map(|network| AllowedNetwork {
        network: network.parse().unwrap(),
        reason: None,
        until: None,
        created_at: at(0),
    });
    Examined {
        name: name.parse().unwrap(),
        enabled: true,
        networks: networks.collect(),
        protocols: Protocols::ALL,
    }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_micros(second * 1_000_000)
}

/// Seen so often, last at this second.
fn seen(sign: Sign, times: u64, last: i64) -> SeenSign {
    SeenSign {
        sign,
        account: Some("alice".to_owned()),
        network: "192.0.2.7".parse().unwrap(),
        protocol: Some(Protocol::Ftps),
        times,
        first_at: at(last - 10),
        last_at: at(last),
        good_times: 0,
        good_at: None,
        node: "n".to_owned(),
        detail: SignDetail::default(),
    }
}

fn refuted(mut sign: SeenSign, times: u64, last: i64) -> SeenSign {
    sign.good_times = times;
    sign.good_at = Some(at(last));
    sign
}

fn at_ports(mut sign: SeenSign, ports: impl IntoIterator<Item = u16>) -> SeenSign {
    for port in ports {
        let clue = Clue::new(sign.sign).at_port(port, RANGE);
        sign.detail.add(clue, sign.last_at);
    }
    sign
}

fn telling(mut sign: SeenSign, told: &str) -> SeenSign {
    sign.detail.tell(told.to_owned());
    sign
}

fn of(signs: Vec<SeenSign>, nobodys: Vec<SeenSign>) -> Diagnosis {
    let account = account_of("alice", &["192.0.2.0/24"]);
    let ours = OurSide {
        server: Some("ftp.example.org".to_owned()),
        passive_ports: Some(RANGE),
        is_compatible: false,
    };
    diagnose(&Chart::new(account, signs, nobodys, None, ours, at(10_000)))
}

fn verdict(signs: Vec<SeenSign>) -> Option<Sign> {
    of(signs, Vec::new()).verdict.map(|finding| finding.sign)
}

#[test]
fn what_leads_is_the_newest_that_names_a_cause() {
    let login = || seen(Sign::LoggedIn, 5, 900);
    for (claim, signs, leading) in [
        ("nothing was seen", vec![], None),
        ("logins alone", vec![login()], None),
        (
            "TLS is too old",
            vec![seen(Sign::TlsVersion, 1, 100)],
            Some(Sign::TlsVersion),
        ),
        (
            "it was updated since",
            vec![refuted(seen(Sign::TlsVersion, 9, 100), 1, 200), login()],
            None,
        ),
        (
            "it was updated and is back",
            vec![refuted(seen(Sign::TlsVersion, 9, 300), 1, 200)],
            Some(Sign::TlsVersion),
        ),
        (
            "a vague sign beside a cause",
            vec![seen(Sign::NoLogin, 9, 100), seen(Sign::KeyRefused, 1, 50)],
            Some(Sign::KeyRefused),
        ),
        (
            "a monitor looked twice",
            vec![seen(Sign::NoLogin, 2, 100)],
            None,
        ),
        (
            "somebody always leaves",
            vec![seen(Sign::NoLogin, 3, 100)],
            Some(Sign::NoLogin),
        ),
        (
            "one of the connections from elsewhere was not seen",
            vec![
                seen(Sign::DataFromElsewhere, 1, 500),
                at_ports(seen(Sign::NoDataConnection, 2, 501), [31_000, 31_900]),
            ],
            Some(Sign::DataFromElsewhere),
        ),
        (
            "a scanner came by once",
            vec![
                seen(Sign::DataFromElsewhere, 1, 500),
                at_ports(seen(Sign::NoDataConnection, 9, 501), [31_000, 31_900]),
            ],
            Some(Sign::NoDataConnection),
        ),
        (
            "a monitor beside a partner that works",
            vec![seen(Sign::NoLogin, 900, 905), login()],
            None,
        ),
        (
            "one handshake was cut",
            vec![seen(Sign::NoHandshake, 1, 100)],
            None,
        ),
        (
            "one transfer in a thousand was lost",
            vec![
                login(),
                refuted(seen(Sign::ConnectionLost, 3, 990), 1_000, 980),
            ],
            None,
        ),
        (
            "every second one is",
            vec![login(), refuted(seen(Sign::ConnectionLost, 3, 990), 3, 991)],
            Some(Sign::ConnectionLost),
        ),
        (
            "two causes: the newer leads",
            vec![
                seen(Sign::KeyRefused, 1, 100),
                seen(Sign::PasswordRefused, 1, 200),
            ],
            Some(Sign::PasswordRefused),
        ),
        (
            "the same storm and its cause",
            vec![
                login(),
                seen(Sign::Repeats, 9, 990),
                seen(Sign::DataHandshake, 1, 950),
            ],
            Some(Sign::DataHandshake),
        ),
    ] {
        assert_eq!(verdict(signs), leading, "{claim}");
    }
}

#[test]
fn a_partner_that_moved_to_another_address_is_well() {
    let mut moved = seen(Sign::LoggedIn, 3, 900);
    moved.network = "192.0.2.99".parse().unwrap();
    moved.first_at = at(500);
    assert_eq!(
        verdict(vec![seen(Sign::NetworkRefused, 4, 400), moved.clone()]),
        None
    );
    // It has two machines, and only one of them is well.
    moved.first_at = at(100);
    let signs = vec![seen(Sign::NetworkRefused, 4, 400), moved];
    assert_eq!(verdict(signs), Some(Sign::NetworkRefused));
}

#[test]
fn who_knows_only_the_name_does_not_lead() {
    let mut guesser = seen(Sign::PasswordRefused, 900, 990);
    guesser.network = "203.0.113.66".parse().unwrap();
    let found = of(
        vec![seen(Sign::LoggedIn, 5, 985), guesser.clone()],
        Vec::new(),
    );
    assert_eq!(found.verdict, None);
    assert_eq!(found.further.len(), 1, "{found:?}");
    // Nobody has logged in since it began: the partner may have moved there.
    assert_eq!(
        verdict(vec![seen(Sign::LoggedIn, 5, 979), guesser.clone()]),
        Some(Sign::PasswordRefused)
    );
    assert_eq!(verdict(vec![guesser]), Some(Sign::PasswordRefused));
}

#[test]
fn all_ports_shut_and_half_of_them() {
    let all = [31_010, 31_400, 31_600, 31_990];
    let missed = at_ports(seen(Sign::NoDataConnection, 4, 500), all);
    let found = of(vec![missed.clone()], Vec::new()).verdict.unwrap();
    assert_eq!(found.sureness, Sureness::Certain);
    assert_eq!(found.reached_ports, None);
    let sentence = found.to_the_partner.unwrap();
    assert!(
        sentence.contains("passive ports 31010, 31400, 31600 and 31990 on"),
        "{sentence}"
    );
    assert!(
        sentence.contains("allow outgoing TCP to ports 31000-32000"),
        "{sentence}"
    );

    let missed = at_ports(
        seen(Sign::NoDataConnection, 3, 500),
        [31_520, 31_700, 31_990],
    );
    let missed = refuted(missed, 4, 505);
    let reached = at_ports(
        seen(Sign::DataArrived, 4, 505),
        [31_003, 31_100, 31_300, 31_480],
    );
    let found = of(vec![missed, reached], Vec::new()).verdict.unwrap();
    let (shut, open) = (found.missed_ports.unwrap(), found.reached_ports.unwrap());
    assert_eq!((shut.lowest, shut.highest, shut.times), (31_520, 31_990, 3));
    assert_eq!((open.lowest, open.highest), (31_003, 31_480));
    assert_eq!(found.sureness, Sureness::Certain);
    let sentence = found.to_the_partner.unwrap();
    // Between 31700 and 31990 nothing was tried.
    assert!(
        sentence.contains("not the passive ports 31520, 31700 and 31990"),
        "{sentence}"
    );
    let ranges: Vec<_> = found.missed_ranges.iter().map(|one| one.times).collect();
    assert_eq!(ranges, [1, 1, 1]);
}

#[test]
fn a_mishap_at_a_port_is_none() {
    let reached = |last| at_ports(seen(Sign::DataArrived, 900, last), 31_000..=32_000);
    for (claim, missed) in [
        (
            "once, and all is well since",
            refuted(seen(Sign::NoDataConnection, 1, 500), 9, 600),
        ),
        (
            "once, the last thing seen",
            seen(Sign::NoDataConnection, 1, 601),
        ),
        (
            "some, in parts that are reached",
            refuted(seen(Sign::NoDataConnection, 2, 601), 9, 600),
        ),
    ] {
        let missed = at_ports(missed, [31_700]);
        assert_eq!(verdict(vec![missed, reached(600)]), None, "{claim}");
    }
    // The firewall was opened.
    let missed = at_ports(seen(Sign::NoDataConnection, 30, 500), [31_010, 31_900]);
    assert_eq!(verdict(vec![refuted(missed, 900, 600), reached(600)]), None);
}

#[test]
fn who_was_never_seen_is_told_where_somebody_tried() {
    let mut stranger = telling(seen(Sign::AddressRefused, 7, 100), "not_allowed");
    stranger.account = None;
    stranger.protocol = None;
    stranger.network = "203.0.113.9".parse().unwrap();
    let found = of(Vec::new(), vec![stranger.clone()]);
    assert!(found.never_seen && found.verdict.is_none());
    assert_eq!(found.tried.len(), 1);
    assert!(
        found
            .what_to_check
            .iter()
            .any(|check| check.contains("192.0.2.0/24"))
    );
    let many = vec![stranger.clone(); MAX_TRIED + 1];
    assert_eq!(of(Vec::new(), many).tried.len(), MAX_TRIED);
    // The same from its own network is its own.
    stranger.network = "192.0.2.3".parse().unwrap();
    let found = of(Vec::new(), vec![stranger]);
    assert!(!found.never_seen);
    assert_eq!(found.verdict.unwrap().sign, Sign::AddressRefused);
}

#[test]
fn the_network_any_makes_no_stranger_ours() {
    let account = account_of("alice", &["any"]);
    let mut stranger = seen(Sign::TlsVersion, 7, 100);
    stranger.account = None;
    let ours = OurSide::default();
    let chart = Chart::new(
        account.clone(),
        Vec::new(),
        vec![stranger.clone()],
        None,
        ours,
        at(1),
    );
    assert!(diagnose(&chart).verdict.is_none());
    // Unless it has logged in from there.
    let login = vec![seen(Sign::LoggedIn, 1, 50)];
    let chart = Chart::new(
        account,
        login,
        vec![stranger],
        None,
        OurSide::default(),
        at(1),
    );
    assert_eq!(diagnose(&chart).verdict.unwrap().sign, Sign::TlsVersion);
}

#[test]
fn every_bad_sign_has_a_sentence_or_something_to_do() {
    let mut bad = 0;
    for sign in Sign::ALL {
        let found = of(vec![seen(sign, 9, 100)], Vec::new()).verdict;
        assert_eq!(found.is_none(), sign.is_good(), "{sign}");
        let Some(found) = found else { continue };
        bad += 1;
        assert!(!found.what.is_empty(), "{sign}");
        let has_advice = found.to_the_partner.is_some() || found.what_to_do.is_some();
        assert!(has_advice, "{sign}");
        assert!(!found.what.contains("  "), "{}", found.what);
    }
    assert_eq!(bad, Sign::ALL.len() - 4);
}
