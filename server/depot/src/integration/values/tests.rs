use super::*;

#[track_caller]
fn reads<T: FromStr + fmt::Display>(good: &[(&str, &str)], bad: &[&str]) {
    for (text, shown) in good {
        let read = text.parse::<T>().ok().map(|value| value.to_string());
        assert_eq!(read.as_deref(), Some(*shown), "{text:?}");
        let again = shown.parse::<T>().ok().map(|value| value.to_string());
        assert_eq!(again.as_deref(), Some(*shown), "{shown:?}");
    }
    for text in bad {
        assert!(text.parse::<T>().is_err(), "{text:?}");
    }
}

#[test]
fn hosts_are_names_or_addresses() {
    reads::<RemoteHost>(
        &[
            ("FTP.Example.com", "ftp.example.com"),
            ("ftp.example.com.", "ftp.example.com"),
            ("localhost", "localhost"),
            ("192.0.2.7", "192.0.2.7"),
            ("2001:DB8::7", "2001:db8::7"),
        ],
        &[
            "",
            ".",
            "a..b",
            "-a",
            "a-",
            "a b",
            "ftp://x",
            "a/b",
            "a:21",
            "192.0.2",
            "192.0.2.256",
            "é.be",
            "a\n",
        ],
    );
    let long = [
        "a".repeat(63),
        "b".repeat(63),
        "c".repeat(63),
        "d".repeat(61),
    ]
    .join(".");
    assert_eq!(long.len(), MAX_HOST_BYTES);
    assert!(long.parse::<RemoteHost>().is_ok());
    assert!(format!("{long}d").parse::<RemoteHost>().is_err());
    assert!("a".repeat(64).parse::<RemoteHost>().is_err());
}

#[test]
fn one_line_texts_have_their_limits() {
    assert!(
        "x".repeat(MAX_REMOTE_USER_BYTES)
            .parse::<RemoteUser>()
            .is_ok()
    );
    assert!(
        "x".repeat(MAX_REMOTE_USER_BYTES + 1)
            .parse::<RemoteUser>()
            .is_err()
    );
    assert!(
        "x".repeat(MAX_DISPLAY_NAME_BYTES)
            .parse::<DisplayName>()
            .is_ok()
    );
    assert!(
        "x".repeat(MAX_DISPLAY_NAME_BYTES + 1)
            .parse::<DisplayName>()
            .is_err()
    );
    for bad in ["", "a\nb", "a\rb", "a\0b"] {
        assert!(bad.parse::<RemoteUser>().is_err(), "{bad:?}");
        assert!(bad.parse::<DisplayName>().is_err(), "{bad:?}");
    }
}

#[test]
fn a_suffix_leads_nowhere_and_breaks_no_command() {
    reads::<PartialSuffix>(
        &[(".part", ".part"), (".tmp.1", ".tmp.1"), ("~", "~")],
        &["", "/x", "a/b", "a\\b", ".p\0", ".p\r", ".p\n", "\t"],
    );
    assert!(
        "x".repeat(MAX_SUFFIX_BYTES)
            .parse::<PartialSuffix>()
            .is_ok()
    );
    assert!(
        "x".repeat(MAX_SUFFIX_BYTES + 1)
            .parse::<PartialSuffix>()
            .is_err()
    );
}

#[test]
fn a_pin_is_a_whole_digest() {
    let digits = "0123456789abcdef".repeat(4);
    let colons = digits
        .as_bytes()
        .chunks(2)
        .map(|pair| std::str::from_utf8(pair).unwrap());
    let colons = colons.collect::<Vec<_>>().join(":").to_ascii_uppercase();
    reads::<CertificatePin>(
        &[
            (&digits, &digits),
            (&colons, &digits),
            (&format!("SHA256:{digits}"), &digits),
            (&format!("sha256 Fingerprint={colons}"), &digits),
        ],
        &[
            "",
            "ab",
            &digits.replacen('0', "", 1),
            &format!("{digits}0"),
            &digits.replace('0', "g"),
        ],
    );
}

#[test]
fn dates_have_a_pattern_with_month_and_day() {
    reads::<DateFormat>(
        &[
            ("yyyy-MM-dd HH:mm", "yyyy-MM-dd HH:mm"),
            ("dd.MM.yy hh:mm a", "dd.MM.yy hh:mm a"),
            ("MMM d yyyy", "MMM d yyyy"),
            ("yyyy-MM-dd'T'HH:mm:ss", "yyyy-MM-dd'T'HH:mm:ss"),
        ],
        &[
            "",
            "HH:mm",
            "%Y-%m-%d",
            "yyyy-MM-ddTHH:mm",
            "yyyy-MM-dd 'open",
            "yyyy-MM-dd\n",
        ],
    );
}

#[test]
fn zones_have_a_name_or_an_offset() {
    reads::<ZoneName>(
        &[("UTC", "UTC"), ("+02:00", "+02:00"), ("-09:30", "-09:30")],
        &[
            "",
            "Nowhere/City",
            "+2",
            "+02:60",
            "+99:00",
            "02:00",
            "+02:00x",
        ],
    );
}

#[test]
fn active_ports_are_a_range_that_is_not_empty() {
    reads::<ActivePorts>(
        &[
            ("50000-50100", "50000-50100"),
            ("7", "7-7"),
            ("1-65535", "1-65535"),
        ],
        &["", "0-10", "20-10", "1-65536", "a-b", "1-2-3"],
    );
    assert_eq!(
        "50000-50100".parse::<ActivePorts>().unwrap().range(),
        50000..=50100
    );
}

#[test]
fn certificates_are_real_ones_or_a_reference_and_never_a_key() {
    let made = rcgen::generate_simple_self_signed(["ftp.example.com".to_owned()]).unwrap();
    let pem = made.cert.pem();
    let read: Certificates = pem.parse().unwrap();
    assert!(read.reference().is_none());
    assert_eq!(read.as_str().parse::<Certificates>().unwrap(), read);
    let referred: Certificates = "file:/etc/ca.pem".parse().unwrap();
    assert_eq!(referred.reference().unwrap().as_str(), "file:/etc/ca.pem");
    let with_key = format!("{pem}{}", made.signing_key.serialize_pem());
    let damaged = pem.replace("MII", "AAA");
    for bad in ["", "ca.pem", with_key.as_str(), damaged.as_str()] {
        assert!(bad.parse::<Certificates>().is_err(), "{bad}");
    }
}

#[test]
fn pgp_keys_are_public_and_armored() {
    let key =
        "-----BEGIN PGP PUBLIC KEY BLOCK-----\r\n\r\nmDM= \r\n-----END PGP PUBLIC KEY BLOCK-----";
    let read: PgpPublicKeys = key.parse().unwrap();
    assert_eq!(
        read.as_str(),
        "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmDM=\n-----END PGP PUBLIC KEY BLOCK-----\n"
    );
    assert_eq!(read.as_str().parse::<PgpPublicKeys>().unwrap(), read);
    for bad in ["", "mDM=", &key.replace("PUBLIC", "PRIVATE")] {
        assert!(bad.parse::<PgpPublicKeys>().is_err(), "{bad}");
    }
    let frame = read.as_str().len() - "mDM=".len();
    let sized = |size: usize| read.as_str().replace("mDM=", &"m".repeat(size - frame));
    assert!(sized(MAX_KEY_TEXT_BYTES).parse::<PgpPublicKeys>().is_ok());
    assert!(
        sized(MAX_KEY_TEXT_BYTES + 1)
            .parse::<PgpPublicKeys>()
            .is_err()
    );
}

#[test]
fn schedules_are_those_of_cron() {
    reads::<CronSchedule>(
        &[
            ("0 0 8 * * 1-5", "0 0 8 * * 1-5"),
            ("*/5  * * * *", "*/5 * * * *"),
            ("0 6,18 1 jan,JUL mon-fri", "0 6,18 1 jan,JUL mon-fri"),
            ("0 0 1 ? 12 7", "0 0 1 ? 12 7"),
        ],
        &[
            "",
            "daily",
            "* * * *",
            "* * * * * * *",
            "60 * * * *",
            "* 24 * * *",
            "* * 0 * *",
            "* * * 13 *",
            "* * * * 8",
            "5-1 * * * *",
            "*/0 * * * *",
            "1- * * * *",
        ],
    );
}

#[test]
fn words_are_read_in_any_case_and_nothing_else_is() {
    reads::<RemoteSystem>(&[("unix", "UNIX"), ("Windows", "WINDOWS")], &["", "dos"]);
    reads::<IntegrationProtocol>(&[("FTPS", "ftps"), ("ftp", "ftp")], &["", "scp"]);
    reads::<MinTlsVersion>(&[("1.3", "1.3")], &["", "1.1", "TLS1.2"]);
}

#[test]
fn a_schedule_that_is_none_says_which_field_is_wrong() {
    for (text, told) in [
        ("61 * * * *", "`61` is no minute: 0 to 59"),
        ("0 61 * * * *", "`61` is no minute: 0 to 59"),
        ("60 0 8 * * 1", "`60` is no second: 0 to 59"),
        ("0 8-25 * * *", "`8-25` is no hour: 0 to 23"),
        ("0 8 0 * *", "`0` is no day of the month: 1 to 31"),
        (
            "0 8 * jan,foo *",
            "`foo` is no month: 1 to 12 or jan to dec",
        ),
        ("0 8 * * 8", "`8` is no weekday: 0 to 7 or sun to sat"),
        ("*/0 * * * *", "`*/0` is no minute"),
        ("* * * *", "it has 4 fields instead of 5"),
        ("", "it has 0 fields"),
        ("* * * * * * *", "it has 7 fields"),
    ] {
        let fault = CronSchedule::fault(text).unwrap().to_string();
        assert!(fault.contains(told), "{text}: {fault}");
        assert!(text.parse::<CronSchedule>().is_err(), "{text}");
    }
    assert_eq!(CronSchedule::fault("0 0 8 * * mon-fri"), None);
}
