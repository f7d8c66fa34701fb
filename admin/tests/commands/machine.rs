//! What `layover check` says of the machine and of the server's certificate.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use layover_retention::Clock as _;
use layover_server::SystemClock;
use serde_json::Value;

use crate::place::Place;

#[track_caller]
fn finding<'a>(check: &'a Value, what: &str) -> &'a Value {
    let mut findings = check.as_array().unwrap().iter();
    let found = findings.find(|finding| finding["what"] == what);
    found.unwrap_or_else(|| panic!("no `{what}` in {check:#}"))
}

#[test]
fn random_numbers_open_files_and_disks_are_told_of_before_the_first_start() {
    let place = Place::new();
    let check = place.json(&["check"]);
    assert_eq!(finding(&check, "random numbers")["state"], "ready");
    for what in ["open files", "disk space"] {
        let found = finding(&check, what);
        assert_ne!(found["state"], "not_ready", "{found}");
    }
    let disk = finding(&check, "disk space")["detail"].as_str().unwrap();
    assert!(disk.starts_with("homes, data_dir: "), "{disk}");
    assert!(!place.data_dir().exists());
}

/// Another machine's `timedatectl`.
fn clock_by(place: &Place, answer: &str) -> Value {
    let programs = place.path().join("bin");
    fs::create_dir_all(&programs).unwrap();
    let program = programs.join("timedatectl");
    let unfinished = programs.join("unfinished");
    fs::write(&unfinished, format!("#!/bin/sh\necho {answer}\n")).unwrap();
    fs::set_permissions(&unfinished, fs::Permissions::from_mode(0o755)).unwrap();
    fs::rename(&unfinished, &program).unwrap();
    let path = format!("{}:/usr/bin:/bin", programs.display());
    let mut check = place.command(&["check", "--json"]);
    let ran = check.env("PATH", path).output().unwrap();
    finding(&serde_json::from_slice(&ran.stdout).unwrap(), "clock").clone()
}

#[test]
fn a_clock_that_nothing_keeps_right_is_noticed() {
    let place = Place::new();
    let good = clock_by(&place, "yes");
    assert_eq!(good["state"], "ready", "{good}");
    let free = clock_by(&place, "no");
    assert_eq!(free["state"], "notice", "{free}");
    let step = free["next_step"].as_str().unwrap();
    assert!(step.contains("chrony"), "{free}");
}

/// A certificate for localhost that ends with the day before so many days from now.
fn ends_in(place: &Place, days: i64) {
    let now = SystemClock::new().now().as_micros();
    let now = jiff::Timestamp::from_microsecond(now).unwrap();
    let today = now.to_zoned(jiff::tz::TimeZone::UTC).date();
    let end = today + jiff::Span::new().days(days);
    let (month, day) = (end.month().unsigned_abs(), end.day().unsigned_abs());
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(end.year().into(), month, day);
    let pem = params.self_signed(&key).unwrap().pem() + &key.serialize_pem();
    fs::write(place.path().join("own.pem"), pem).unwrap();
}

#[test]
fn a_certificate_is_noticed_in_its_last_month_and_when_it_has_ended() {
    let place = Place::new();
    place.settings(
        "[sftp]\nlisten = \"127.0.0.1\"\nport = 0\n\
         [ftps]\ncertificate = \"own.pem\"\nprivate_key = \"file:own.pem\"\n",
    );
    // Midnight may come in between: none is near a limit.
    for (days, state, words) in [
        (33, "ready", "days left"),
        (29, "notice", "days left"),
        (7, "notice", "expires"),
        (1, "notice", "expires"),
        (-1, "notice", "EXPIRED"),
    ] {
        ends_in(&place, days);
        let check = place.json(&["check"]);
        let found = finding(&check, "TLS certificate");
        assert_eq!(found["state"], state, "{days}: {found}");
        let detail = found["detail"].as_str().unwrap();
        assert!(detail.contains(words), "{days}: {found}");
        let step = found["next_step"].as_str().unwrap_or_default();
        assert_eq!(step.contains("renew it"), state == "notice", "{found}");
    }
}
