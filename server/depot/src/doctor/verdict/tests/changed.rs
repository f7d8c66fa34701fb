//! What operators have changed since: the partner's next try tells whether it helped.

use super::*;
use crate::doctor::Change;

fn change(second: i64, action: &str, fields: &[&str]) -> Change {
    Change {
        at: at(second),
        action: action.to_owned(),
        fields: fields.iter().map(|field| (*field).to_owned()).collect(),
    }
}

fn chart(signs: Vec<SeenSign>) -> Chart {
    let account = account_of("alice", &["192.0.2.0/24"]);
    Chart::new(
        account,
        signs,
        Vec::new(),
        None,
        OurSide::default(),
        at(10_000),
    )
}

#[test]
fn what_was_changed_since_waits_for_the_next_try() {
    for (sign, change, state) in [
        (
            Sign::SessionLimit,
            change(101, "account.set", &["actor", "max_sessions"]),
            Condition::Changed,
        ),
        // Before the last try: it did not help.
        (
            Sign::SessionLimit,
            change(100, "account.set", &["actor", "max_sessions"]),
            Condition::Wrong,
        ),
        // Something else was changed.
        (
            Sign::SessionLimit,
            change(101, "account.set", &["actor", "quota_bytes"]),
            Condition::Wrong,
        ),
        (
            Sign::KeyRefused,
            change(101, "account.key.add", &["fingerprint"]),
            Condition::Changed,
        ),
        (
            Sign::KeyRefused,
            change(101, "account.password", &[]),
            Condition::Wrong,
        ),
        (
            Sign::PasswordRefused,
            change(101, "account.password", &[]),
            Condition::Changed,
        ),
        (
            Sign::LoginRefused,
            change(101, "account.set", &["auth"]),
            Condition::Changed,
        ),
        (
            Sign::NotResumed,
            change(101, "account.set", &["session_reuse"]),
            Condition::Changed,
        ),
        (
            Sign::NoCloseNotify,
            change(101, "account.set", &["tolerant_completion"]),
            Condition::Changed,
        ),
        // No change of ours mends the partner's client.
        (
            Sign::TlsVersion,
            change(101, "account.set", &["auth", "max_sessions"]),
            Condition::Wrong,
        ),
    ] {
        let told = format!("{sign} {change:?}");
        let found = diagnose(&chart(vec![seen(sign, 3, 100)]).changed(vec![change]));
        assert_eq!(found.state, state, "{told}");
        let verdict = found.verdict.unwrap();
        let is_changed = state == Condition::Changed;
        assert_eq!(verdict.changed_since, is_changed, "{told}");
        if is_changed {
            assert!(
                found.summary.ends_with("wait for the partner's next try"),
                "{}",
                found.summary
            );
            assert_eq!((verdict.side, verdict.to_the_partner), (Side::Ours, None));
        }
    }
}

#[test]
fn a_ban_and_a_network_are_over_when_they_are_gone() {
    let banned = || telling(seen(Sign::AddressRefused, 3, 100), "banned");
    let network = |text: &str| text.parse::<Network>().unwrap();
    for (bans, state) in [
        (vec![], Condition::Changed),
        (vec![network("198.51.100.7")], Condition::Changed),
        (vec![network("192.0.2.0/28")], Condition::Wrong),
    ] {
        let found = diagnose(&chart(vec![banned()]).banned(bans));
        assert_eq!(found.state, state);
    }
    // It may come from there, and did before: the settings leave it out.
    let refused = || telling(seen(Sign::AddressRefused, 3, 100), "not_allowed");
    let found = diagnose(&chart(vec![refused()]));
    assert_eq!(found.state, Condition::Wrong);
    let allowed = change(101, "account.allow.add", &["network"]);
    let found = diagnose(&chart(vec![refused()]).changed(vec![allowed]));
    assert_eq!(found.state, Condition::Changed);
}

#[test]
fn what_was_changed_does_not_lead_before_what_was_not() {
    let signs = vec![
        seen(Sign::KeyRefused, 3, 100),
        seen(Sign::CertificateRefused, 3, 50),
    ];
    let added = change(101, "account.key.add", &[]);
    let found = diagnose(&chart(signs).changed(vec![added]));
    assert_eq!(found.state, Condition::Wrong);
    assert_eq!(found.verdict.unwrap().sign, Sign::CertificateRefused);
    assert!(found.further.iter().any(|one| one.changed_since));
}
