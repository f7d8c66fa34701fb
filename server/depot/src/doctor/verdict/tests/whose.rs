//! Whose fault it is, whose client it was, and what is known where nothing is.

use super::*;
use crate::doctor::{Change, Repeated};
use crate::vfs::VfsError;

const ELSEWHERE: &str = "203.0.113.66";

fn from(mut sign: SeenSign, network: &str) -> SeenSign {
    sign.network = network.parse().unwrap();
    sign
}

fn nobodys(mut sign: SeenSign) -> SeenSign {
    sign.account = None;
    sign
}

/// Of an account that may come from these.
fn examined(networks: &[&str], signs: Vec<SeenSign>) -> Chart {
    let account = account_of("alice", networks);
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
fn a_strangers_failure_is_possible_at_most_and_hides_nothing_of_the_partner() {
    let guesser = || from(seen(Sign::PasswordRefused, 900, 990), ELSEWHERE);
    // It may come from anywhere, and nobody has ever logged in.
    let found = diagnose(&examined(&["any"], vec![guesser()]));
    let verdict = found.verdict.unwrap();
    assert_eq!(verdict.sureness, Sureness::Possible);
    let sentence = verdict.to_the_partner.unwrap();
    assert!(
        sentence.starts_with("If the client at 203.0.113.66 is yours: "),
        "{sentence}"
    );
    let what_to_do = verdict.what_to_do.unwrap();
    assert!(what_to_do.starts_with("only if the client"), "{what_to_do}");
    assert!(
        verdict
            .what
            .contains("no login of alice is known from there")
    );
    // The partner's own fault is older, and says less.
    let login = seen(Sign::LoggedIn, 5, 900);
    let lost = seen(Sign::ConnectionLost, 3, 950);
    let mut late = guesser();
    late.first_at = at(940);
    for networks in [&["any"][..], &["192.0.2.0/24"]] {
        let signs = vec![login.clone(), lost.clone(), late.clone()];
        let found = diagnose(&examined(networks, signs));
        let verdict = found.verdict.unwrap();
        assert_eq!(verdict.sign, Sign::ConnectionLost, "{networks:?}");
        assert_eq!(found.further.len(), 1);
        assert_eq!(found.further[0].sureness, Sureness::Possible);
    }
    // From where it has logged in, its failures are its own.
    let own = seen(Sign::PasswordRefused, 1, 990);
    let found = diagnose(&examined(&["any"], vec![login, own]));
    assert_eq!(found.verdict.unwrap().sureness, Sureness::Certain);
}

#[test]
fn one_failure_from_elsewhere_makes_nothing_wrong() {
    let guesses = |times| {
        let mut guess = from(seen(Sign::PasswordRefused, times, 990), ELSEWHERE);
        guess.first_at = at(980);
        guess
    };
    let login = || seen(Sign::LoggedIn, 5, 900);
    for (claim, signs, state, sign) in [
        (
            "a stranger's, of an account that works",
            vec![login(), guesses(2)],
            Condition::Ok,
            None,
        ),
        (
            "the partner may have moved there",
            vec![login(), guesses(3)],
            Condition::Wrong,
            Some(Sign::PasswordRefused),
        ),
        (
            "nobody has ever logged in: it may be the partner",
            vec![guesses(1)],
            Condition::Unknown,
            Some(Sign::PasswordRefused),
        ),
        (
            "and goes on",
            vec![guesses(3)],
            Condition::Wrong,
            Some(Sign::PasswordRefused),
        ),
    ] {
        let found = diagnose(&examined(&["192.0.2.0/24"], signs));
        assert_eq!(found.state, state, "{claim}");
        assert_eq!(found.verdict.map(|one| one.sign), sign, "{claim}");
        assert_eq!(found.further.len(), usize::from(sign.is_none()), "{claim}");
    }
}

#[test]
fn one_allowed_address_of_ipv6_is_known_by_its_network() {
    let seen = from(seen(Sign::TlsVersion, 1, 100), "2001:db8::/64");
    let found = diagnose(&examined(&["2001:db8::7"], vec![seen.clone()]));
    assert_eq!(found.verdict.unwrap().sureness, Sureness::Certain);
    let found = diagnose(&examined(&["2001:db8:1::7"], vec![seen]));
    assert_eq!(found.verdict.unwrap().sureness, Sureness::Possible);
}

fn place(network: &str, is_same_entity: bool) -> OthersPlace {
    OthersPlace {
        network: network.parse().unwrap(),
        is_same_entity,
    }
}

#[test]
fn behind_a_nat_that_two_entities_share_nothing_is_certain_without_a_name() {
    let old = || nobodys(seen(Sign::TlsVersion, 3, 100));
    let wrong_key = || seen(Sign::KeyRefused, 3, 100);
    let gate = || telling(nobodys(seen(Sign::AddressRefused, 3, 100)), "denied");
    for (claim, sign, others, sureness) in [
        ("nobody else", old(), vec![], Sureness::Certain),
        (
            "another account of the same entity",
            old(),
            vec![place("192.0.2.0/24", true)],
            Sureness::Certain,
        ),
        (
            "another entity",
            old(),
            vec![place("192.0.2.0/24", false)],
            Sureness::Possible,
        ),
        (
            "another entity, elsewhere",
            old(),
            vec![place("198.51.100.0/24", false)],
            Sureness::Certain,
        ),
        (
            "it gave the account's name",
            wrong_key(),
            vec![place("192.0.2.7", false)],
            Sureness::Certain,
        ),
        (
            "the gate refuses both",
            gate(),
            vec![place("192.0.2.7", false)],
            Sureness::Certain,
        ),
    ] {
        let chart = examined(&["192.0.2.0/24"], vec![sign]).beside(others);
        let verdict = diagnose(&chart).verdict.unwrap();
        assert_eq!(verdict.sureness, sureness, "{claim}");
        let is_shared = verdict
            .what
            .ends_with("accounts of others come from there, too");
        assert_eq!(is_shared, sureness == Sureness::Possible, "{claim}");
    }
}

#[test]
fn who_tried_leaves_out_those_of_other_accounts() {
    let refused = |network| nobodys(from(seen(Sign::TlsBroken, 1, 100), network));
    let strangers = [
        "198.51.100.4",
        "198.51.100.4",
        "198.51.100.5",
        "203.0.113.9",
    ]
    .map(refused);
    let account = account_of("alice", &["192.0.2.0/24"]);
    let chart = Chart::new(
        account,
        Vec::new(),
        strangers.to_vec(),
        None,
        OurSide::default(),
        at(1),
    );
    assert_eq!(diagnose(&chart).tried.len(), 4);
    let others = ["any", "198.51.100.0/30", "198.51.100.4/31"];
    let chart = chart.beside(others.map(|network| place(network, true)).to_vec());
    let found = diagnose(&chart);
    assert_eq!(found.tried.len(), 1, "{:?}", found.tried);
    assert_eq!(found.tried[0].network, "203.0.113.9".parse().unwrap());
    assert_eq!(found.tried_of_others, 2);
}

#[test]
fn a_refused_network_is_told_with_what_is_allowed_and_the_command() {
    let refused = from(seen(Sign::NetworkRefused, 3, 100), ELSEWHERE);
    let found = diagnose(&examined(
        &["192.0.2.0/24", "198.51.100.7"],
        vec![refused.clone()],
    ));
    let verdict = found.verdict.unwrap();
    assert!(
        verdict.what.contains(
            "203.0.113.66, which is not among its networks (192.0.2.0/24, 198.51.100.7/32)"
        ),
        "{}",
        verdict.what
    );
    let what_to_do = verdict.what_to_do.unwrap();
    assert!(
        what_to_do.contains("`layover account allow add alice 203.0.113.66`"),
        "{what_to_do}"
    );
    let sentence = verdict.to_the_partner.unwrap();
    assert!(
        sentence.starts_with("Your client comes to us from 203.0.113.66"),
        "{sentence}"
    );
    // It was added since: nothing for the partner to tell.
    let found = diagnose(&examined(&["203.0.113.0/24"], vec![refused]));
    let verdict = found.verdict.unwrap();
    assert_eq!((verdict.side, verdict.to_the_partner), (Side::Ours, None));

    // The gate has refused it before anybody gave a name.
    let gate = telling(
        nobodys(from(seen(Sign::AddressRefused, 3, 100), ELSEWHERE)),
        "not_allowed",
    );
    let found = of(Vec::new(), vec![gate.clone()]);
    let what_to_do = found.tried[0].what_to_do.as_deref().unwrap();
    assert!(
        what_to_do.contains("`layover account allow add alice 203.0.113.66`"),
        "{what_to_do}"
    );
    // It came from there once, and its network was taken away.
    let login = from(seen(Sign::LoggedIn, 3, 50), ELSEWHERE);
    let found = of(vec![login], vec![gate]);
    let verdict = found.verdict.unwrap();
    assert!(
        verdict.what.ends_with("connections from 203.0.113.66 are refused before the first byte: not_allowed; alice may come from 192.0.2.0/24"),
        "{}",
        verdict.what
    );
    let what_to_do = verdict.what_to_do.unwrap();
    assert!(
        what_to_do.contains("`layover account allow add alice 203.0.113.66`"),
        "{what_to_do}"
    );
}

#[test]
fn many_networks_are_named_by_a_few() {
    let all: Vec<_> = (0..20)
        .map(|number| format!("198.51.100.{number}"))
        .collect();
    let networks: Vec<_> = all.iter().map(String::as_str).collect();
    let refused = from(seen(Sign::NetworkRefused, 3, 100), ELSEWHERE);
    let what = diagnose(&examined(&networks, vec![refused]))
        .verdict
        .unwrap()
        .what;
    assert!(what.contains("198.51.100.7/32, 12 more)"), "{what}");
    assert!(!what.contains("198.51.100.8"), "{what}");
}

#[test]
fn what_is_ours_says_so_and_names_the_command() {
    let change = |change: fn(&mut Examined)| {
        let mut account = account_of("alice", &["192.0.2.0/24"]);
        change(&mut account);
        account
    };
    let ftps_alone: fn(&mut Examined) = |account| account.protocols = "ftps".parse().unwrap();
    for (sign, told, account, command, sentence) in [
        (
            Sign::ProtocolRefused,
            "protocol not allowed for the account",
            change(|account| account.protocols = "sftp".parse().unwrap()),
            "`layover account set alice --protocols ftps,sftp`",
            Some("Your account alice may use sftp here, and your client comes by ftps."),
        ),
        (
            Sign::ProtocolRefused,
            "protocol not allowed for the account",
            change(ftps_alone),
            "nothing more here",
            None,
        ),
        (
            Sign::SessionLimit,
            "the account has as many sessions as it may have (4)",
            change(|_| {}),
            "`layover account set alice --max-sessions N`",
            Some("as many sessions as it may have (4). Please let it use fewer sessions"),
        ),
        (
            Sign::AccountDisabled,
            "account disabled",
            change(|account| account.enabled = false),
            "`layover account enable alice`",
            None,
        ),
        (
            Sign::AccountDisabled,
            "account disabled",
            change(|_| {}),
            "nothing more here",
            None,
        ),
    ] {
        let signs = vec![telling(seen(sign, 3, 100), told)];
        let chart = Chart::new(
            account,
            signs,
            Vec::new(),
            None,
            OurSide::default(),
            at(1_000),
        );
        let verdict = diagnose(&chart).verdict.unwrap();
        assert_eq!(verdict.side, Side::Ours, "{sign}");
        let written = verdict.to_the_partner.as_deref();
        assert_eq!(written.is_some(), sentence.is_some(), "{sign}");
        let written = written.unwrap_or_default();
        assert!(written.contains(sentence.unwrap_or_default()), "{written}");
        let what_to_do = verdict.what_to_do.unwrap();
        assert!(what_to_do.contains(command), "{what_to_do}");
    }
}

#[test]
fn a_disabled_account_that_the_gate_shuts_out_is_told_as_disabled() {
    let refused = |why: &str| {
        let mut refused = telling(nobodys(seen(Sign::AddressRefused, 3, 100)), why);
        refused.protocol = None;
        refused
    };
    let found = |enabled, why| {
        let mut account = account_of("alice", &["192.0.2.0/24"]);
        account.enabled = enabled;
        let nobodys = vec![refused(why)];
        let ours = OurSide::default();
        let chart = Chart::new(account, Vec::new(), nobodys, None, ours, at(1_000));
        diagnose(&chart).verdict.unwrap()
    };
    let disabled = found(false, "not_allowed");
    assert_eq!(
        (disabled.sign, disabled.side, disabled.changed_since),
        (Sign::AccountDisabled, Side::Ours, false)
    );
    assert!(
        disabled.what.contains("alice is disabled"),
        "{}",
        disabled.what
    );
    let what_to_do = disabled.what_to_do.unwrap();
    assert_eq!(what_to_do, "`layover account enable alice`");
    assert_eq!(found(true, "not_allowed").sign, Sign::AddressRefused);
    assert_eq!(found(false, "denied").sign, Sign::AddressRefused);
}

#[test]
fn a_password_where_a_key_is_wanted_says_what_can_be_used() {
    for (protocol, protocols, sentence, command) in [
        (
            Protocol::Ftps,
            "ftps,sftp",
            "log in over SFTP with your key; or send us a TLS client certificate",
            "for FTPS: `layover account certificate add alice FILE`",
        ),
        (
            Protocol::Ftps,
            "ftps",
            "set the TLS client certificate in it",
            "`layover account certificate add alice FILE`",
        ),
        (
            Protocol::Sftp,
            "sftp",
            "set your SSH key in it",
            "`layover account key add alice FILE`",
        ),
    ] {
        let why = crate::gate::PASSWORD_NOT_WANTED;
        let mut refused = telling(seen(Sign::LoginRefused, 3, 100), why);
        refused.protocol = Some(protocol);
        let mut account = account_of("alice", &["192.0.2.0/24"]);
        account.protocols = protocols.parse().unwrap();
        let ours = OurSide::default();
        let chart = Chart::new(account, vec![refused], Vec::new(), None, ours, at(1_000));
        let verdict = diagnose(&chart).verdict.unwrap();
        let written = verdict.to_the_partner.unwrap();
        assert!(written.contains(sentence), "{written}");
        let what_to_do = verdict.what_to_do.unwrap();
        assert!(what_to_do.starts_with(command), "{what_to_do}");
    }
}

/// So many of these, the newest last.
fn repeats(faults: &[(&str, VfsError)]) -> SeenSign {
    let mut sign = seen(Sign::Repeats, 9, 100);
    for (path, fault) in faults {
        let repeated = Repeated::new(crate::Direction::Upload, path, fault);
        sign.detail.add(Clue::repeated(repeated), at(100));
    }
    sign
}

#[test]
fn whose_move_a_repeated_transfer_is_depends_on_the_reason() {
    let quota = || VfsError::QuotaExceeded { quota_bytes: 7 };
    let too_large = || VfsError::TooLarge;
    let found = |faults: &[(&str, VfsError)]| {
        let found = diagnose(&examined(&["192.0.2.0/24"], vec![repeats(faults)]));
        found.verdict.unwrap()
    };
    let ours = found(&[("/a", quota()), ("/a", quota())]);
    assert_eq!(ours.side, Side::Ours);
    assert!(ours.what.contains("upload of /a: "), "{}", ours.what);
    assert!(ours.what.ends_with("(2 times)"), "{}", ours.what);
    let what_to_do = ours.what_to_do.unwrap();
    assert!(what_to_do.contains("--quota SIZE"), "{what_to_do}");
    let sentence = ours.to_the_partner.unwrap();
    assert!(sentence.contains("until you hear from us"), "{sentence}");

    let theirs = found(&[("/a", too_large())]);
    assert_eq!((theirs.side, theirs.what_to_do), (Side::Partner, None));
    let sentence = theirs.to_the_partner.unwrap();
    assert!(sentence.ends_with("or change what it does."), "{sentence}");

    // Each path by itself, the newest first.
    let both = found(&[("/old", quota()), ("/new", too_large())]);
    assert_eq!(both.side, Side::Partner);
    let (new, old) = (both.what.find("/new"), both.what.find("/old"));
    assert!(new.unwrap() < old.unwrap(), "{}", both.what);
    let sentence = both.to_the_partner.unwrap();
    assert!(
        sentence.contains("stop it, or change") && sentence.contains("until you hear from us"),
        "{sentence}"
    );
    // More room since.
    let more = Change {
        at: at(101),
        action: "account.set".to_owned(),
        fields: vec!["quota_bytes".to_owned()],
    };
    let chart = examined(&["192.0.2.0/24"], vec![repeats(&[("/a", quota())])]);
    assert_eq!(
        diagnose(&chart.changed(vec![more])).state,
        Condition::Changed
    );
}

#[test]
fn compatible_is_offered_where_it_helps_and_is_off() {
    for (helps, is_compatible, advice) in [
        (
            true,
            false,
            "where the partner cannot update: `algorithms = \"compatible\"`",
        ),
        (true, true, "is set by now"),
        (false, false, "no setting takes what this client has"),
        (false, true, "no setting takes what this client has"),
    ] {
        let mut old = seen(Sign::SshAlgorithms, 3, 100);
        old.detail.compatible_helps = helps;
        let ours = OurSide {
            is_compatible,
            ..OurSide::default()
        };
        let account = account_of("alice", &["192.0.2.0/24"]);
        let chart = Chart::new(account, vec![old], Vec::new(), None, ours, at(1_000));
        let what_to_do = diagnose(&chart).verdict.unwrap().what_to_do.unwrap();
        assert!(what_to_do.contains(advice), "{what_to_do}");
    }
}

#[test]
fn each_state_has_its_word_and_says_no_more_than_is_known() {
    let login = || seen(Sign::LoggedIn, 1, 100);
    let glimpse = || nobodys(seen(Sign::NoLogin, 1, 100));
    for (claim, networks, signs, strangers, state, summary) in [
        (
            "nothing from its networks",
            &["192.0.2.0/24"][..],
            vec![],
            vec![],
            Condition::Unseen,
            "and nothing from its networks (192.0.2.0/24)",
        ),
        (
            "whose a client without a name is cannot be told",
            &["any"][..],
            vec![],
            vec![glimpse()],
            Condition::Unseen,
            "cannot be told from a stranger's",
        ),
        (
            "it may come from nowhere",
            &[][..],
            vec![],
            vec![glimpse()],
            Condition::Unseen,
            "no network is allowed",
        ),
        (
            "a glimpse says nothing",
            &["192.0.2.0/24"][..],
            vec![],
            vec![glimpse()],
            Condition::Unknown,
            "does not say why",
        ),
        (
            "a cause",
            &["192.0.2.0/24"][..],
            vec![seen(Sign::TlsVersion, 1, 100)],
            vec![],
            Condition::Wrong,
            "is too old",
        ),
        (
            "a login",
            &["any"][..],
            vec![login()],
            vec![glimpse()],
            Condition::Ok,
            "nothing is wrong",
        ),
    ] {
        let account = account_of("alice", networks);
        let chart = Chart::new(
            account,
            signs,
            strangers,
            None,
            OurSide::default(),
            at(1_000),
        );
        let found = diagnose(&chart);
        assert_eq!(found.state, state, "{claim}");
        assert!(
            found.summary.contains(summary),
            "{claim}: {}",
            found.summary
        );
        assert_eq!(found.never_seen, state == Condition::Unseen, "{claim}");
        let told = serde_json::to_value(&found).unwrap();
        let word = serde_json::to_value(state).unwrap();
        assert_eq!(told["state"], word, "{claim}");
    }
    assert_eq!(serde_json::to_value(Condition::Unknown).unwrap(), "unknown");
}
