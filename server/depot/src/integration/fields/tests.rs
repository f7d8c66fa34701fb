use super::*;
use crate::integration::IntegrationSettings;

fn spec(protocol: &str) -> IntegrationSpec {
    IntegrationSpec {
        name: "acme".parse().unwrap(),
        display_name: "Acme".parse().unwrap(),
        entity: "acme".parse().unwrap(),
        protocol: protocol.parse().unwrap(),
        host: "ftp.example.com".parse().unwrap(),
        own_port: None,
        username: "us".parse().unwrap(),
        settings: IntegrationSettings::default(),
    }
}

/// A value of each field that is not its default.
fn other(field: &str) -> &'static str {
    match field {
        "display_name" => "Acme & Sons",
        "entity" => "sons",
        "protocol" => "ftps",
        "host" => "192.0.2.7",
        "port" => "2121",
        "username" => "them",
        "ftps.security" => "implicit",
        "ftps.ca_certificate" | "ftps.client_certificate" => "file:/etc/ca.pem",
        "ftps.certificate_pin" => {
            "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
        }
        "ftps.min_tls" => "1.3",
        "transfer.mode" => "active",
        "transfer.active_ports" => "50000-50100",
        "transfer.active_address" => "192.0.2.9",
        "listing.system" => "WINDOWS",
        "listing.date_format" => "dd.MM.yyyy HH:mm",
        "listing.time_zone" => "UTC",
        "sftp.auth" => "key",
        "sftp.algorithms" => "compatible",
        "inbound.partner_key" | "outbound.recipient_key" => {
            "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmDM=\n-----END PGP PUBLIC KEY BLOCK-----\n"
        }
        "outbound.partial_lock" => "no",
        "outbound.partial_suffix" => ".tmp",
        _ => "yes",
    }
}

#[test]
fn every_field_is_set_shown_and_set_back() {
    for field in Field::EACH {
        let protocol = IntegrationProtocol::EACH
            .iter()
            .find(|one| field.is_of(**one))
            .unwrap();
        let before = spec(protocol.as_str());
        let mut after = before.clone();
        field.set(&mut after, Some(other(field.name()))).unwrap();
        assert_eq!(
            field.get(&after).as_deref(),
            Some(other(field.name())),
            "{}",
            field.name()
        );
        match field.set(&mut after, None) {
            Ok(()) => assert_eq!(after, before, "{}", field.name()),
            Err(error) => assert!(matches!(error.fault, FieldFault::Missing { .. }), "{error}"),
        }
        let bad = field.set(&mut after, Some("\n")).unwrap_err();
        assert_eq!(bad.field, field.name());
    }
}

#[test]
fn a_field_of_another_protocol_is_refused_and_goes_with_the_protocol() {
    let mut spec = spec("ftps");
    let field = |name| Field::of_name(name).unwrap();
    let error = field("sftp.auth").set(&mut spec, Some("key")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "`sftp.auth` is no field of an integration by ftps"
    );
    field("ftps.security")
        .set(&mut spec, Some("implicit"))
        .unwrap();
    assert_eq!(spec.port(), 990);
    field("protocol").set(&mut spec, Some("sftp")).unwrap();
    assert_eq!(spec.settings, IntegrationSettings::default());
    assert_eq!(spec.port(), 22);
}

#[test]
fn an_error_names_the_field_and_repeats_no_second_line() {
    let mut spec = spec("ftps");
    let field = Field::of_name("ftps.client_certificate").unwrap();
    let error = field
        .set(&mut spec, Some("-----BEGIN PRIVATE KEY-----\nsecret\n"))
        .unwrap_err();
    let said = error.to_string();
    assert!(
        said.starts_with("`ftps.client_certificate` cannot be"),
        "{said}"
    );
    assert!(!said.contains("secret"), "{said}");
}

#[test]
fn what_does_not_go_together_is_named() {
    let cases: &[(&[(&str, &str)], &str)] = &[
        (
            &[
                ("ftps.skip_verify", "yes"),
                ("ftps.ca_certificate", "env:CA"),
            ],
            "ftps.skip_verify",
        ),
        (&[("transfer.active_ports", "1-2")], "transfer.active_ports"),
        (
            &[("transfer.active_address", "192.0.2.1")],
            "transfer.active_address",
        ),
        (
            &[("inbound.signature_required", "yes")],
            "inbound.signature_required",
        ),
        (&[("outbound.pgp", "yes")], "outbound.pgp"),
        (&[("outbound.sign", "yes")], "outbound.sign"),
    ];
    for (fields, expected) in cases {
        let mut spec = spec("ftps");
        assert_eq!(spec.contradictions(), []);
        for (name, text) in *fields {
            Field::of_name(name)
                .unwrap()
                .set(&mut spec, Some(text))
                .unwrap();
        }
        let found: Vec<_> = spec
            .contradictions()
            .iter()
            .map(|error| error.field)
            .collect();
        assert_eq!(found, [*expected]);
    }
}
