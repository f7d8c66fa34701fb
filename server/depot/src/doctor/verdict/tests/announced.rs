//! The address that PASV tells, and whose fault it is that nothing comes to it.

use super::*;
use crate::doctor::Announced;

const PUBLIC: &str = "203.0.113.5";

fn announced(address: &str, reached: &str) -> Announced {
    Announced {
        address: address.parse().unwrap(),
        reached: reached.parse().unwrap(),
    }
}

/// So many that PASV told this address, and that did not come.
fn missed(times: u64, last: i64, told: Announced) -> SeenSign {
    let peer = "192.0.2.7".parse().unwrap();
    let clue = Clue::missed(31_338, RANGE, Some(told), peer);
    let mut sign = seen(clue.sign, times, last);
    sign.detail.add(clue, at(last));
    sign
}

fn came(last: i64, told: Announced) -> SeenSign {
    let clue = Clue::came_by_pasv(31_500, RANGE, told);
    let mut sign = seen(clue.sign, 1, last);
    sign.detail.add(clue, at(last));
    sign
}

/// Data connections over so many seconds.
fn by_epsv(first: i64, last: i64) -> SeenSign {
    let mut sign = at_ports(seen(Sign::DataArrived, 5, last), [31_010, 31_900]);
    sign.first_at = at(first);
    sign
}

fn found(signs: Vec<SeenSign>) -> Finding {
    of(signs, Vec::new()).verdict.unwrap()
}

#[test]
fn an_address_that_pasv_alone_tells_in_vain_is_ours_to_look_at() {
    let nat = || announced(PUBLIC, "10.0.0.5");
    for (times, sureness) in [(2, Sureness::Likely), (3, Sureness::Certain)] {
        let finding = found(vec![missed(times, 500, nat()), by_epsv(480, 505)]);
        assert_eq!(
            (finding.sign, finding.side, finding.sureness),
            (Sign::AddressUnreached, Side::Ours, sureness)
        );
        assert!(
            finding.what.contains("told 203.0.113.5 by PASV"),
            "{}",
            finding.what
        );
        assert!(
            finding.what.ends_with("data connections come"),
            "{}",
            finding.what
        );
        let what_to_do = finding.what_to_do.unwrap();
        assert!(
            what_to_do.contains("`public_address` in [ftps]"),
            "{what_to_do}"
        );
        assert_eq!(finding.to_the_partner, None);
        assert_eq!(finding.told, ["203.0.113.5, port 31338 (PASV)"]);
    }
    // One that was interrupted.
    assert_eq!(
        verdict(vec![missed(1, 500, nat()), by_epsv(480, 505)]),
        None
    );
    // By EPSV they came only later: what kept them away may be gone.
    let finding = found(vec![missed(3, 500, nat()), by_epsv(501, 505)]);
    assert_eq!(finding.sureness, Sureness::Possible);
}

#[test]
fn an_address_is_doubtful_by_itself() {
    for (claim, told, words, sureness) in [
        (
            "a private one, to a client that is in no private network",
            announced("10.0.0.5", "10.0.0.5"),
            "an address of a private network",
            Sureness::Certain,
        ),
        (
            "another public one than that of the control connection",
            announced(PUBLIC, "198.51.100.1"),
            "its control connection came to 198.51.100.1",
            Sureness::Likely,
        ),
    ] {
        let finding = found(vec![missed(3, 500, told)]);
        assert_eq!(
            (finding.sign, finding.sureness),
            (Sign::AddressUnreached, sureness),
            "{claim}"
        );
        assert!(finding.what.contains(words), "{claim}: {}", finding.what);
    }
    let unset = found(vec![missed(3, 500, announced("10.0.0.5", "10.0.0.5"))]);
    assert!(
        unset
            .what_to_do
            .unwrap()
            .starts_with("set `public_address`")
    );
}

#[test]
fn behind_nat_a_shut_firewall_is_told_with_the_address() {
    let nat = || announced(PUBLIC, "10.0.0.5");
    let finding = found(vec![missed(3, 500, nat())]);
    assert_eq!(
        (finding.sign, finding.side),
        (Sign::NoDataConnection, Side::Between)
    );
    let what_to_do = finding.what_to_do.unwrap();
    assert!(
        what_to_do.contains("is 203.0.113.5 the address"),
        "{what_to_do}"
    );
    let sentence = finding.to_the_partner.unwrap();
    assert!(
        sentence.ends_with("was told: 203.0.113.5, port 31338 (PASV)."),
        "{sentence}"
    );
    // The same address has served.
    let signs = vec![missed(3, 500, nat()), came(400, nat()), by_epsv(300, 400)];
    assert_eq!(found(signs).sign, Sign::NoDataConnection);
    // EPSV fails as well: once, and by the ports alone.
    let epsv = at_ports(seen(Sign::NoDataConnection, 3, 501), [31_100, 31_900]);
    let found = of(vec![missed(3, 500, nat()), epsv.clone()], Vec::new());
    assert_eq!(found.verdict.unwrap().sign, Sign::NoDataConnection);
    assert!(found.further.is_empty(), "{:?}", found.further);
    // The firewall was opened, and the client goes on by EPSV alone.
    let signs = vec![
        missed(3, 500, nat()),
        refuted(epsv, 9, 600),
        by_epsv(590, 600),
    ];
    assert_ne!(verdict(signs), Some(Sign::AddressUnreached));
}

#[test]
fn another_address_that_serves_ends_it_at_once() {
    let wrong = || missed(9, 500, announced(PUBLIC, "198.51.100.1"));
    let right = announced("198.51.100.1", "198.51.100.1");
    let signs = vec![
        refuted(wrong(), 1, 600),
        came(600, right),
        by_epsv(480, 600),
    ];
    assert_eq!(verdict(signs), None);
}

#[test]
fn an_address_that_is_the_same_is_no_sign_of_its_own() {
    let peer = "192.0.2.7".parse().unwrap();
    for (told, sign, words) in [
        (
            Some(announced("198.51.100.1", "198.51.100.1")),
            Sign::NoDataConnection,
            "198.51.100.1, port 31338 (PASV)",
        ),
        (None, Sign::NoDataConnection, "port 31338 (EPSV)"),
        (
            Some(announced(PUBLIC, "198.51.100.1")),
            Sign::AddressUnreached,
            "203.0.113.5, port 31338 (PASV)",
        ),
    ] {
        let clue = Clue::missed(31_338, RANGE, told, peer);
        assert_eq!((clue.sign, clue.told.as_deref()), (sign, Some(words)));
    }
}
