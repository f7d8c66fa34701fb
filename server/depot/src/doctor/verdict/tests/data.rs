//! Data connections and transfers: which ports, how sure, and when it is over.

use super::*;

fn missed(times: u64, last: i64, ports: &[u16]) -> SeenSign {
    at_ports(
        seen(Sign::NoDataConnection, times, last),
        ports.iter().copied(),
    )
}

fn reached(times: u64, last: i64, ports: &[u16]) -> SeenSign {
    at_ports(seen(Sign::DataArrived, times, last), ports.iter().copied())
}

fn found(signs: Vec<SeenSign>) -> Finding {
    of(signs, Vec::new()).verdict.unwrap()
}

#[test]
fn one_port_is_told_in_the_singular() {
    let one = found(vec![missed(3, 500, &[31_338, 31_338, 31_338])]);
    assert!(
        one.what.ends_with("no data connection comes (port 31338)"),
        "{}",
        one.what
    );
    let signs = vec![
        refuted(missed(3, 500, &[31_700, 31_800, 31_900]), 3, 600),
        reached(3, 600, &[31_338]),
    ];
    let half = found(signs);
    assert!(
        half.what
            .ends_with("nothing comes to ports 31700-31800 and 31900, while port 31338 is reached"),
        "{}",
        half.what
    );
    let sentence = half.to_the_partner.unwrap();
    assert!(
        sentence.contains("through (port 31338), but not the passive ports 31700-31800 and 31900"),
        "{sentence}"
    );
}

#[test]
fn while_a_repair_is_counted_no_range_is_both_shut_and_open() {
    let before = || missed(5, 500, &[31_010, 31_300, 31_600, 31_900, 31_990]);
    // What comes lies in between: there is no range to tell.
    let signs = vec![refuted(before(), 1, 600), reached(1, 600, &[31_338])];
    let one = found(signs);
    assert_eq!((one.missed_ports, one.reached_ports), (None, None));
    assert_eq!(one.sureness, Sureness::Possible);
    assert!(
        one.what
            .ends_with("some do not come: 5 did not, 1 came since"),
        "{}",
        one.what
    );
    assert!(
        one.to_the_partner
            .unwrap()
            .starts_with("It may be that your firewall lets some")
    );
    // At one end it may be a range, and is not known yet to be one.
    let upper = missed(4, 500, &[31_300, 31_600, 31_900, 31_990]);
    let end = found(vec![refuted(upper, 1, 600), reached(1, 600, &[31_001])]);
    let (shut, open) = (end.missed_ports.unwrap(), end.reached_ports.unwrap());
    assert!(open.highest < shut.lowest, "{open:?} {shut:?}");
    assert_eq!(end.sureness, Sureness::Possible);
    // Three successes for each failure end it.
    for (times, is_over) in [(14, false), (15, true)] {
        let signs = vec![
            refuted(before(), times, 600),
            reached(times, 600, &[31_338]),
        ];
        assert_eq!(verdict(signs).is_none(), is_over, "{times}");
    }
    // All of the range that was shut is reached.
    let all = [31_010, 31_300, 31_600, 31_900, 31_990];
    let signs = vec![refuted(before(), 5, 600), reached(5, 600, &all)];
    assert_eq!(verdict(signs), None);
}

#[test]
fn a_sentence_is_as_sure_as_its_finding() {
    for (times, sureness, beginning) in [
        (
            1,
            Sureness::Possible,
            "It may be that your firewall lets the control connection through but not",
        ),
        (
            2,
            Sureness::Likely,
            "It looks as if your firewall lets the control connection through but not",
        ),
        (
            3,
            Sureness::Certain,
            "Your firewall lets the control connection through but not",
        ),
    ] {
        let finding = found(vec![missed(times, 500, &[31_010, 31_900])]);
        assert_eq!(finding.sureness, sureness);
        let sentence = finding.to_the_partner.unwrap();
        assert!(sentence.starts_with(beginning), "{sentence}");
        let elsewhere = telling(seen(Sign::DataFromElsewhere, times, 500), "192.0.2.8");
        let finding = found(vec![elsewhere]);
        assert_eq!(finding.sureness, sureness);
        let is_sure = finding
            .to_the_partner
            .unwrap()
            .starts_with("The control connection");
        assert_eq!(is_sure, sureness == Sureness::Certain);
    }
}

#[test]
fn a_data_connection_from_the_same_address_ends_what_was_said_of_another() {
    let elsewhere = |last| {
        at_ports(
            seen(Sign::DataFromElsewhere, 3, last),
            [31_700, 31_800, 31_900],
        )
    };
    assert_eq!(verdict(vec![elsewhere(500)]), Some(Sign::DataFromElsewhere));
    // At another part of the range: it says all the same that one address serves for both.
    let well = || reached(1, 600, &[31_010]);
    assert_eq!(verdict(vec![refuted(elsewhere(500), 1, 600), well()]), None);
    // What left only its absence then is over, too.
    let absent = || missed(2, 501, &[31_650, 31_950]);
    let signs = vec![
        refuted(elsewhere(500), 1, 600),
        refuted(absent(), 1, 600),
        well(),
    ];
    assert_eq!(verdict(signs), None);
    // It came back.
    let signs = vec![refuted(elsewhere(700), 1, 600), well()];
    assert_eq!(verdict(signs), Some(Sign::DataFromElsewhere));
}

#[test]
fn active_mode_is_told_until_data_comes_another_way() {
    let refused = || seen(Sign::ActiveRefused, 1, 500);
    let finding = found(vec![seen(Sign::LoggedIn, 1, 499), refused()]);
    assert_eq!(
        (finding.sign, finding.sureness),
        (Sign::ActiveRefused, Sureness::Certain)
    );
    let sentence = finding.to_the_partner.unwrap();
    assert!(
        sentence.contains("switch your client to passive mode"),
        "{sentence}"
    );
    assert_eq!(verdict(vec![refuted(refused(), 1, 501)]), None);
    // We switched it on.
    assert_eq!(
        verdict(vec![refused(), seen(Sign::Transferred, 1, 501)]),
        None
    );
    let failed = || telling(seen(Sign::ActiveFailed, 5, 500), "your port 5 refused");
    assert_eq!(verdict(vec![failed()]), Some(Sign::ActiveFailed));
    assert_eq!(
        verdict(vec![failed(), seen(Sign::DataArrived, 1, 501)]),
        None
    );
}

#[test]
fn a_transfer_that_stood_still_is_told_with_direction_and_bytes() {
    for (times, sureness) in [
        (1, Sureness::Possible),
        (2, Sureness::Likely),
        (9, Sureness::Likely),
    ] {
        let stalled = telling(
            seen(Sign::Stalled, times, 500),
            "upload, 65536 bytes so far",
        );
        let finding = found(vec![seen(Sign::LoggedIn, 1, 400), stalled]);
        assert_eq!((finding.sign, finding.sureness), (Sign::Stalled, sureness));
        assert_eq!(finding.side, Side::Between);
        for text in [&finding.what, finding.to_the_partner.as_ref().unwrap()] {
            assert!(text.contains("upload, 65536 bytes so far"), "{text}");
        }
    }
    let once = refuted(seen(Sign::Stalled, 1, 500), 1, 501);
    assert_eq!(verdict(vec![once]), None, "the next one went through");
}

#[test]
fn what_broke_off_is_forgotten_after_three_successes_for_each() {
    for sign in [
        Sign::ConnectionLost,
        Sign::DataBroken,
        Sign::Stalled,
        Sign::NoCloseNotify,
    ] {
        for (times, good, works_now, is_over) in [
            (4, 11, true, false),
            (4, 12, true, true),
            // Rare, but the last thing seen.
            (4, 40, false, false),
            (4, 41, false, true),
            // Two are over with the next that succeeds.
            (2, 1, true, true),
            (3, 8, true, false),
            (3, 9, true, true),
        ] {
            let last = if works_now { 501 } else { 499 };
            let broken = refuted(seen(sign, times, 500), good, last);
            let told = verdict(vec![broken]);
            assert_eq!(told.is_none(), is_over, "{sign} {times} {good} {works_now}");
        }
    }
    // Whoever stops repeating has stopped.
    let repeats = refuted(seen(Sign::Repeats, 99, 500), 1, 501);
    assert_eq!(verdict(vec![repeats]), None);
}
