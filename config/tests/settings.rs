//! What an operator writes, and what comes of it.

use std::path::Path;

use layover_config::{ConfigErrors, Fault, Fsync, Host, LogFormat, MinTls, Origin, Settings};

fn env(variables: &[(&str, &str)]) -> impl Iterator<Item = (String, String)> {
    variables
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
}

fn parse(text: &str) -> Result<Settings, ConfigErrors> {
    Settings::parse(text, "layover.toml", env(&[]))
}

/// Each error as one line of text; none when there is no error.
fn faults(text: &str, variables: &[(&str, &str)]) -> Vec<String> {
    let errors = Settings::parse(text, "layover.toml", env(variables)).err();
    errors
        .iter()
        .flat_map(ConfigErrors::errors)
        .map(ToString::to_string)
        .collect()
}

#[test]
fn the_defaults_are_those_of_the_interface() {
    let settings = parse("").unwrap();
    assert_eq!(settings, Settings::default());
    assert_eq!(settings.data_dir, Path::new("data"));
    assert_eq!(
        settings.server.public_name,
        Host::Name("localhost".to_owned())
    );
    assert_eq!(settings.server.environment.as_str(), "production");
    assert_eq!(
        settings.database.url.resolve().unwrap().as_str(),
        "sqlite:data/layover.db"
    );
    assert_eq!(settings.storage.homes, Path::new("data/homes"));
    assert_eq!(settings.ftps.explicit_port.get(), 2121);
    assert_eq!(settings.ftps.implicit_port.get(), 2990);
    assert_eq!(settings.ftps.passive_ports.to_string(), "31000-32000");
    assert_eq!(settings.sftp.port.get(), 2222);
    assert_eq!(settings.gate.max_connections.get(), 2000);
    assert_eq!(settings.gate.max_connections_per_address.get(), 64);
    assert_eq!(settings.gate.max_half_open.get(), 256);
    assert_eq!(settings.gate.login_grace.to_string(), "30s");
    assert_eq!(settings.gate.idle_timeout.to_string(), "15m");
    assert_eq!(settings.gate.stall_timeout.to_string(), "2m");
    assert_eq!(settings.gate.ban_score.get(), 15);
    assert_eq!(settings.gate.ban_for.to_string(), "30m");
    assert_eq!(settings.retention.keep.to_string(), "5d");
    assert_eq!(settings.retention.max_keep.to_string(), "5d");
    assert_eq!(settings.retention.sweep_every.as_secs(), 60);
    assert_eq!(settings.retention.partial_keep.as_secs(), 86_400);
    assert_eq!(settings.retention.warn_before.as_secs(), 86_400);
    assert_eq!(settings.journal.keep.to_string(), "400d");
    assert_eq!(settings.outbound.max_concurrent.get(), 8);
    assert_eq!(settings.console.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(settings.log.level.as_str(), "info");
}

#[test]
fn a_file_sets_values_of_every_kind() {
    let settings = parse(
        r#"
        data_dir = "/var/lib/layover"
        [storage]
        fsync = "never"
        [ftps]
        listen = "::"
        explicit_port = 21
        passive_ports = "40000-40100"
        min_tls = "1.3"
        active_mode = true
        certificate = "tls/cert.pem"
        private_key = "env:TLS_KEY"
        [gate]
        allow = ["10.0.0.0/8", "192.0.2.1"]
        idle_timeout = "1h30m"
        [outbound]
        source_addresses = ["192.0.2.7"]
        "#,
    )
    .unwrap();
    assert_eq!(settings.storage.fsync, Fsync::Never);
    assert!(settings.ftps.listen.is_ipv6());
    assert_eq!(settings.ftps.explicit_port.get(), 21);
    assert_eq!(settings.ftps.passive_ports.last(), 40_100);
    assert_eq!(settings.ftps.min_tls, MinTls::Tls13);
    assert!(settings.ftps.active_mode);
    assert_eq!(
        settings.ftps.certificate.as_deref(),
        Some(Path::new("tls/cert.pem"))
    );
    assert!(settings.gate.allow.contains("10.9.9.9".parse().unwrap()));
    assert_eq!(settings.gate.idle_timeout.as_secs(), 5_400);
    assert_eq!(settings.outbound.source_addresses.len(), 1);
}

#[test]
fn the_environment_wins_over_the_file() {
    let settings = Settings::parse(
        "[ftps]\nexplicit_port = 21\n[gate]\nallow = [\"10.0.0.0/8\"]\n",
        "layover.toml",
        env(&[
            ("LAYOVER__FTPS__EXPLICIT_PORT", "2100"),
            ("LAYOVER__DATA_DIR", "elsewhere"),
            ("LAYOVER__GATE__ALLOW", "192.0.2.0/24,any"),
            ("LAYOVER__FTPS__ACTIVE_MODE", "true"),
            ("LAYOVER__LOG__FORMAT", "json"),
            ("LAYOVER__CONSOLE__LISTEN", "[::1]:9090"),
            (
                "LAYOVER__FTPS__PUBLIC_ADDRESS",
                r#"[{ from = "any", address = "192.0.2.1" }]"#,
            ),
            ("PATH", "/bin"),
        ]),
    )
    .unwrap();
    assert_eq!(settings.ftps.explicit_port.get(), 2100);
    assert_eq!(settings.data_dir, Path::new("elsewhere"));
    assert_eq!(settings.gate.allow.iter().count(), 3);
    assert!(settings.ftps.active_mode);
    assert_eq!(settings.log.format, LogFormat::Json);
    assert_eq!(settings.console.listen.port(), 9090);
    assert_eq!(settings.ftps.public_address.rules().len(), 1);
}

#[test]
fn everything_wrong_is_reported_at_once_with_its_place() {
    let found = faults(
        "data_dir = 7\n\
         [ftps]\n\
         explicit_prot = 21\n\
         min_tls = \"1.1\"\n\
         [gate]\n\
         allow = [\"10.0.0.0/8\", \"10.0.0.0/33\"]\n\
         [retension]\n\
         keep = \"5d\"\n",
        &[
            ("LAYOVER__SFTP__PORT", "ssh"),
            ("LAYOVER__SFPT__PORT", "22"),
        ],
    );
    let expected = [
        "layover.toml:1: `data_dir` is 7; expected a path",
        "layover.toml:3: `ftps.explicit_prot` is not known; did you mean `ftps.explicit_port`?",
        "layover.toml:4: `ftps.min_tls` is \"1.1\"; expected \"1.2\" or \"1.3\"",
        "layover.toml:6: `gate.allow` is [\"10.0.0.0/8\", \"10.0.0.0/33\"]; expected as item 2 a \
         network such as \"10.0.0.0/8\", \"192.0.2.1\", \"2001:db8::/32\" or \"any\"",
        "layover.toml:7: `retension` is not known; did you mean `retention`?",
        "environment variable LAYOVER__SFPT__PORT: `LAYOVER__SFPT__PORT` is not known; did you \
         mean `LAYOVER__SFTP__PORT`?",
        "environment variable LAYOVER__SFTP__PORT: `sftp.port` is \"ssh\"; expected a port number \
         from 0 to 65535",
    ];
    assert_eq!(found, expected);
}

#[test]
fn an_unknown_key_is_compared_with_its_neighbours_and_then_with_other_sections() {
    for (text, suggestion) in [
        ("[ftps]\nlisten_adress = \"::\"\n", None),
        ("[ftps]\nport = 21\n", Some("sftp.port")),
        ("explicit_port = 21\n", Some("ftps.explicit_port")),
        ("datadir = \"x\"\n", Some("data_dir")),
        ("[fpts]\n", Some("ftps")),
        (
            "[retention]\nmaxkeep = \"5d\"\n",
            Some("retention.max_keep"),
        ),
        ("[weather]\nsunny = true\n", None),
    ] {
        let errors = parse(text).unwrap_err();
        let Fault::UnknownKey {
            suggestion: found, ..
        } = &errors.errors()[0].fault
        else {
            panic!("{errors}");
        };
        assert_eq!(
            (found.as_deref(), errors.errors().len()),
            (suggestion, 1),
            "{text}"
        );
    }
}

#[test]
fn a_line_that_is_no_toml_does_not_hide_the_other_faults() {
    let found = faults(
        "[sftp]\nport = \nalgorithms = \"ancient\"\n[ftps]\nlisten = 7\n",
        &[],
    );
    assert_eq!(found.len(), 3, "{found:#?}");
    assert!(
        found[0].starts_with("layover.toml:2: not valid TOML: "),
        "{found:#?}"
    );
    assert!(
        found[1].starts_with("layover.toml:3: `sftp.algorithms`"),
        "{found:#?}"
    );
    assert!(
        found[2].starts_with("layover.toml:5: `ftps.listen`"),
        "{found:#?}"
    );
}

#[test]
fn a_key_that_is_written_twice_is_an_error() {
    let found = faults("[sftp]\nport = 1\nport = 2\n", &[]);
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0].contains("duplicate key"), "{found:#?}");
}

#[test]
fn a_section_that_is_a_value_is_an_error() {
    for text in ["sftp = 2222\n", "[[sftp]]\nport = 2222\n"] {
        let found = faults(text, &[]);
        assert_eq!(found.len(), 1, "{found:#?}");
        assert!(
            found[0].contains("expected a section: [sftp]"),
            "{found:#?}"
        );
    }
}

#[test]
fn a_wrong_value_in_the_file_stays_an_error_when_the_environment_overrides_it() {
    let found = faults("[sftp]\nport = \"x\"\n", &[("LAYOVER__SFTP__PORT", "22")]);
    assert_eq!(found.len(), 1, "{found:#?}");
}

#[test]
fn a_keep_beyond_the_limit_is_an_error_and_up_to_it_is_not() {
    assert!(parse("[retention]\nkeep = \"5d\"\n").is_ok());
    assert!(parse("[retention]\nkeep = \"30d\"\nmax_keep = \"30d\"\n").is_ok());
    assert_eq!(
        faults("[retention]\nkeep = \"5d1s\"\n", &[]),
        [
            "layover.toml:2: `retention.keep` is \"5d1s\"; expected at most `retention.max_keep`, \
          which is \"5d\" (default)"
        ]
    );
    assert_eq!(
        faults("[retention]\nmax_keep = \"2d\"\n", &[]),
        [
            "default: `retention.keep` is \"5d\"; expected at most `retention.max_keep`, which is \
          \"2d\" (layover.toml:2)"
        ]
    );
}

#[test]
fn the_default_for_interrupted_uploads_follows_a_short_limit_and_a_written_one_does_not() {
    let short = "[retention]\nkeep = \"5s\"\nmax_keep = \"1h\"\n";
    assert_eq!(
        parse(short).unwrap().retention.partial_keep.to_string(),
        "1h"
    );
    let found = faults(&format!("{short}partial_keep = \"2h\"\n"), &[]);
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(
        found[0].starts_with("layover.toml:4: `retention.partial_keep`"),
        "{found:#?}"
    );
}

#[test]
fn a_wrong_limit_is_one_error_and_not_a_second_one_about_the_keep() {
    let found = faults("[retention]\nkeep = \"30d\"\nmax_keep = \"x\"\n", &[]);
    assert_eq!(found.len(), 1, "{found:#?}");
}

#[test]
fn two_listeners_on_one_port_are_an_error() {
    for (text, blamed) in [
        ("[sftp]\nport = 2121\n", "layover.toml:2: `sftp.port`"),
        (
            "[ftps]\nexplicit_port = 2222\n",
            "layover.toml:2: `ftps.explicit_port`",
        ),
        (
            "[ftps]\nexplicit_port = 990\nimplicit_port = 990\n",
            "layover.toml:3: `ftps.implicit_port`",
        ),
        ("[sftp]\nport = 31500\n", "layover.toml:2: `sftp.port`"),
        (
            "[console]\nlisten = \"127.0.0.1:2222\"\n",
            "layover.toml:2: `console.listen`",
        ),
        (
            "[ftps]\npassive_ports = \"2000-2200\"\n",
            "layover.toml:2: `ftps.passive_ports`",
        ),
    ] {
        let found = faults(text, &[]);
        assert_eq!(found.len(), 1, "{text}: {found:#?}");
        assert!(found[0].starts_with(blamed), "{found:#?}");
    }
}

#[test]
fn what_is_switched_off_has_no_port_and_not_all_can_be() {
    let off = "[sftp]\nenabled = false\nport = 2121\n[ftps]\nimplicit_enabled = false\n";
    let settings = parse(off).unwrap();
    assert!(!settings.sftp.enabled && settings.ftps.explicit_enabled);
    assert!(settings.ftps.is_served() && !settings.ftps.implicit_enabled);
    let ftps_off = "[ftps]\nexplicit_enabled = false\nimplicit_enabled = false\n";
    assert!(
        !parse(&format!("{ftps_off}[sftp]\nport = 31500\n"))
            .unwrap()
            .ftps
            .is_served()
    );
    let found = faults(&format!("{ftps_off}[sftp]\nenabled = false\n"), &[]);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains("to be true"), "{found:?}");
}

#[test]
fn one_port_on_two_addresses_and_any_free_port_are_no_conflict() {
    for text in [
        "[ftps]\nlisten = \"192.0.2.1\"\n[sftp]\nlisten = \"192.0.2.2\"\nport = 2121\n",
        "[ftps]\nexplicit_port = 0\nimplicit_port = 0\n[sftp]\nport = 0\n[console]\nlisten = \"127.0.0.1:0\"\n",
    ] {
        parse(text).unwrap();
    }
}

#[test]
fn a_certificate_without_its_key_is_an_error_and_so_is_a_key_alone() {
    for (text, missing) in [
        ("[ftps]\ncertificate = \"c.pem\"\n", "`ftps.private_key`"),
        ("[ftps]\nprivate_key = \"k.pem\"\n", "`ftps.certificate`"),
    ] {
        let found = faults(text, &[]);
        assert_eq!(found.len(), 1, "{found:#?}");
        assert!(
            found[0].contains(&format!("{missing} is \"\"")),
            "{found:#?}"
        );
    }
}

#[test]
fn a_value_that_may_be_a_secret_is_not_repeated() {
    for text in [
        "[database]\nurl = \"mysql://app:hunter2@db/layover\"\n",
        "[ftps]\ncertificate = \"c.pem\"\nprivate_key = \"\"\"-----BEGIN PRIVATE KEY-----\nhunter2\"\"\"\n",
        "[sftp]\nhost_keys = [\"-----BEGIN OPENSSH PRIVATE KEY-----hunter2\"]\n",
    ] {
        let errors = parse(text).unwrap_err();
        assert!(
            !format!("{errors} {errors:?}").contains("hunter2"),
            "{errors}"
        );
        assert!(errors.to_string().contains("(not shown)"), "{errors}");
    }
}

#[test]
fn the_database_and_the_homes_follow_the_data_directory_unless_they_are_given() {
    let url = |settings: &Settings| settings.database.url.to_string();

    let moved = parse("data_dir = \"/srv/layover\"\n").unwrap();
    assert_eq!(url(&moved), "sqlite:/srv/layover/layover.db");
    assert_eq!(moved.storage.homes, Path::new("/srv/layover/homes"));

    let given = parse(
        "data_dir = \"/srv/layover\"\n[database]\nurl = \"sqlite:data/layover.db\"\n[storage]\nhomes = \"data/homes\"\n",
    )
    .unwrap();
    assert_eq!(url(&given), "sqlite:data/layover.db");
    assert_eq!(given.storage.homes, Path::new("data/homes"));

    let by_env = Settings::parse("", "layover.toml", env(&[("LAYOVER__DATA_DIR", "x")])).unwrap();
    assert_eq!(url(&by_env), "sqlite:x/layover.db");
}

#[test]
fn an_empty_variable_is_no_value_where_there_can_be_none_and_an_error_elsewhere() {
    let variables = [
        ("LAYOVER__FTPS__CERTIFICATE", ""),
        ("LAYOVER__GATE__DENY", ""),
    ];
    let settings = Settings::parse("", "layover.toml", env(&variables)).unwrap();
    assert_eq!(
        (settings.ftps.certificate, settings.gate.deny.is_empty()),
        (None, true)
    );
    assert_eq!(faults("", &[("LAYOVER__SFTP__PORT", "")]).len(), 1);
}

#[test]
fn an_error_keeps_its_place_for_programs() {
    let errors = parse("\n\n[sftp]\nport = -1\n").unwrap_err();
    let origin = Origin::File {
        name: "layover.toml".to_owned(),
        line: Some(4),
    };
    assert_eq!(errors.errors()[0].origin, origin);
    assert_eq!(
        errors.to_string().lines().count(),
        2,
        "a headline and the fault: {errors}"
    );
}

proptest::proptest! {
    #[test]
    fn no_file_and_no_environment_can_panic_the_parser(text in "\\PC*", value in "\\PC*") {
        let variables = [("LAYOVER__FTPS__PUBLIC_ADDRESS", value.as_str()), ("LAYOVER__GATE__ALLOW", &value)];
        let _ = Settings::parse(&text, "layover.toml", env(&variables));
    }

    #[test]
    fn no_value_can_panic_a_key(
        key in proptest::sample::select(vec![
            "data_dir", "ftps.passive_ports", "ftps.public_address", "sftp.host_keys",
            "gate.allow", "gate.idle_timeout", "database.url", "log.level", "console.listen",
        ]),
        value in "(\"\\PC{0,20}\"|-?[0-9]{1,20}|\\[\"[0-9a-f.:/]{0,20}\"\\]|\\{ from = \"[a-z]{0,3}\" \\})",
    ) {
        let _ = parse(&format!("{key} = {value}\n"));
    }
}

#[test]
fn a_variable_with_single_underscores_is_told_with_the_one_that_was_meant() {
    let env = [
        ("LAYOVER_SFTP_PORT", "2022"),
        ("LAYOVER_DATA_DIR", "/srv"),
        ("LAYOVER__SFTP_LISTEN", "::1"),
        ("LAYOVER__SFTP__PORT", "x"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()));
    let told = Settings::parse("nonsense = 1", "test", env.into_iter())
        .unwrap_err()
        .to_string();
    for part in [
        "LAYOVER_SFTP_PORT` is not known; did you mean `LAYOVER__SFTP__PORT`?",
        "did you mean `LAYOVER__DATA_DIR`?",
        "did you mean `LAYOVER__SFTP__LISTEN`?",
        "`sftp.port` is",
        "nonsense",
    ] {
        assert!(told.contains(part), "no {part} in {told}");
    }
}

#[test]
fn certificates_stay_at_least_as_long_as_the_journal() {
    let of = |keep: &str| format!("[retention]\ncertificates_keep = \"{keep}\"\n");
    assert_eq!(parse("").unwrap().retention.certificates_keep, None);
    assert_eq!(parse(&of("")).unwrap().retention.certificates_keep, None);
    assert!(parse(&of("400d")).is_ok());
    assert_eq!(
        faults(&of("399d"), &[]),
        [
            "layover.toml:2: `retention.certificates_keep` is \"399d\"; expected at least \
             `journal.keep`, which is \"400d\" (default), or \"\" for ever"
        ]
    );
}
