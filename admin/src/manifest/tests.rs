use layover_depot::{
    Credential, Field, IntegrationProtocol, IntegrationSettings, IntegrationSpec,
    LocationDirection, LocationPath, SecretPurpose, WantedLocation,
};
use proptest::prelude::*;

use super::*;

/// The partner that Xferity documents.
const PARTNER: &str = "\
id: insurance-ftps
display_name: Insurance Partner FTPS
protocol: ftps
ftps:
  connection:
    host: ftps.insurance-partner.example
    port: 21
    passive: true
  auth:
    username: xferity-transfer
    password: env:INSURANCE_FTPS_PASSWORD
  tls:
    mode: explicit
    ca_cert: file:/etc/xferity/certs/insurance-partner-ca.pem
    server_cert_fingerprint: \"\"
    insecure_skip_verify: false
";

/// And its flow example.
const FLOWS: &str = "\
flows:
  insurance-claims-upload:
    direction: upload
    enabled: true
    target:
      partner: insurance-ftps
      path: /incoming/claims
    local:
      path: ./storage/insurance/claims/outgoing
    files:
      - pattern: \"*.xml\"
    idempotency_mode: hash
    delete_after_upload: true
    schedule_cron: \"0 0 8 * * 1-5\"
";

fn entity() -> EntityName {
    "insurance".parse().unwrap()
}

fn read_with_entity(text: &str) -> Result<Manifest, Vec<String>> {
    let entity = entity();
    let given = Given {
        entity: Some(&entity),
    };
    read(text, given).map_err(|mistakes| mistakes.iter().map(ToString::to_string).collect())
}

#[test]
fn a_partner_file_of_xferity_is_read_as_it_stands() {
    let read = read_with_entity(PARTNER).unwrap();
    let [one] = read.integrations.as_slice() else {
        panic!("{read:?}")
    };
    let spec = &one.wanted.spec;
    assert_eq!(spec.name.as_str(), "insurance-ftps");
    assert_eq!(spec.display_name.as_str(), "Insurance Partner FTPS");
    assert_eq!(
        (spec.protocol, spec.port()),
        (IntegrationProtocol::Ftps, 21)
    );
    assert_eq!(spec.host.as_str(), "ftps.insurance-partner.example");
    assert_eq!(spec.username.as_str(), "xferity-transfer");
    let ca = spec.settings.tls.ca_certificate.as_ref().unwrap();
    assert_eq!(
        ca.as_str(),
        "file:/etc/xferity/certs/insurance-partner-ca.pem"
    );
    assert_eq!(spec.settings.tls.certificate_pin, None);
    let [password] = one.wanted.secrets.as_slice() else {
        panic!("{one:?}")
    };
    assert_eq!(password.purpose, SecretPurpose::Password);
    let Some(Credential::Reference(reference)) = &password.credential else {
        panic!("{one:?}")
    };
    assert_eq!(reference.as_str(), "env:INSURANCE_FTPS_PASSWORD");
}

#[test]
fn a_flow_file_of_xferity_is_read_as_it_stands() {
    let read = read_with_entity(&format!("{PARTNER}---\n{FLOWS}")).unwrap();
    assert_eq!(read.integrations.len(), 1);
    let [(line, flow)] = read.flows.as_slice() else {
        panic!("{read:?}")
    };
    assert_eq!((*line, flow.name.as_str()), (19, "insurance-claims-upload"));
    assert!(flow.enabled && flow.delete_after_upload && !flow.delete_after_download);
    assert_eq!(flow.partner.as_str(), "insurance-ftps");
    assert_eq!(flow.files[0].as_str(), "*.xml");
    assert_eq!(
        flow.schedule_cron.as_ref().unwrap().as_str(),
        "0 0 8 * * 1-5"
    );
    // Written, it is read as the same.
    let written = write(&[], std::slice::from_ref(flow), &[]);
    assert_eq!(read_with_entity(&written).unwrap().flows[0].1, *flow);
}

#[test]
fn every_mistake_is_told_at_its_line() {
    let text = "\
integrations:
  acme:
    entity: acme
    protocol: sftp
    host: sftp.example.com
    username: us
    ports: 22
    port: 70000
    ftps:
      security: implicit
    sftp:
      auth: maybe
      host_keys:
        - nonsense
    outbound:
      pgp: yes
    locations:
      in:
        direction: sideways
  Bad Name:
    protocol: sftp
  bare:
    protocol: gopher
flows:
  claims:
    direction: up
    schedule_cron: daily
";
    let mistakes = read(text, Given { entity: None }).unwrap_err();
    let expected = [
        (7, "`integrations.acme.ports` is no field"),
        (8, "`integrations.acme.port` cannot be `70000`"),
        (
            10,
            "`integrations.acme.ftps.security` is no field of an integration by sftp",
        ),
        (12, "`integrations.acme.sftp.auth` cannot be `maybe`"),
        (14, "a host key is a fingerprint"),
        (16, "`outbound.pgp` needs the partner's public key"),
        (18, "`integrations.acme.locations.in.path` is needed"),
        (19, "`integrations.acme.locations.in.direction` must be"),
        (20, "is not an integration name"),
        (20, "`integrations.Bad Name.entity` is needed"),
        (20, "`integrations.Bad Name.host` is needed"),
        (20, "`integrations.Bad Name.username` is needed"),
        (22, "`integrations.bare.entity` is needed"),
        (22, "`integrations.bare.host` is needed"),
        (22, "`integrations.bare.username` is needed"),
        (23, "`integrations.bare.protocol` must be ftps, sftp or ftp"),
        (26, "`flows.claims.direction` must be upload or download"),
        (26, "`flows.claims.target` is needed"),
        (26, "`flows.claims.local` is needed"),
        (27, "`flows.claims.schedule_cron` must be"),
    ];
    let found: Vec<_> = mistakes.iter().map(ToString::to_string).collect();
    assert_eq!(mistakes.len(), expected.len(), "{found:#?}");
    for (mistake, (line, text)) in mistakes.iter().zip(expected) {
        assert_eq!(mistake.line, line, "{mistake}");
        assert!(mistake.text.contains(text), "no `{text}` in {mistake}");
    }
}

#[test]
fn what_is_no_tree_of_texts_is_refused_at_its_line() {
    for (text, expected) in [
        ("integrations: &a {}\n", "line 1: anchors"),
        ("flows: {}\nintegrations: *a\n", "line 2: "),
        ("integrations: !x {}\n", "line 1: tags"),
        (
            "integrations:\n  a: {}\n  a: {}\n",
            "line 3: `a` stands here a second time, first in line 2",
        ),
        ("integrations: [\n", "line "),
        ("- a\n", "line 1: `the file` holds fields, not a list"),
        (
            "integrations: x\n",
            "line 1: `integrations` holds fields, not a text",
        ),
        ("{[a]: b}\n", "line 1: the name of a field is a text"),
        (&format!("a: {}", "[".repeat(30)), "nested too deeply"),
    ] {
        let mistakes = read_with_entity(text).unwrap_err();
        assert!(mistakes[0].contains(expected), "{text:?}: {mistakes:?}");
    }
    assert!(read_with_entity("").unwrap().integrations.is_empty());
}

#[test]
fn one_name_in_two_documents_is_a_mistake() {
    let mistakes = read_with_entity(&format!("{PARTNER}---\n{PARTNER}")).unwrap_err();
    let expected = "integration `insurance-ftps` stands here a second time, first in line 1";
    assert_eq!(mistakes.len(), 1, "{mistakes:?}");
    assert!(mistakes[0].contains(expected), "{mistakes:?}");
}

#[test]
fn a_secret_in_clear_is_not_repeated_when_it_stands_in_the_wrong_place() {
    let text = PARTNER.replace("protocol: ftps", "protocol: ftps\npassword: hunter2");
    let mistakes = read_with_entity(&text).unwrap_err();
    assert!(
        mistakes[0].contains("`password` is no field"),
        "{mistakes:?}"
    );
    assert!(!mistakes.concat().contains("hunter2"));
}

const KEY: &str = "-----BEGIN PGP PUBLIC KEY BLOCK-----\nComment: a # b\n\nmDM=\n-----END PGP PUBLIC KEY BLOCK-----\n";
const PIN: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

/// Some values of a field, as its text.
fn values(field: &str) -> &'static [&'static str] {
    match field {
        "display_name" => &[
            "Acme",
            "yes",
            "a: b # c",
            "\"quoted\"",
            "Ä\u{a0}\u{202e}x",
            "- x",
            "null",
            "0x10",
            "%a",
            "\\",
        ],
        "host" => &[
            "ftp.example.com",
            "192.0.2.7",
            "2001:db8::7",
            "0xff.example",
        ],
        "port" => &["1", "22", "65535"],
        "username" => &[
            "us",
            "1234",
            "true",
            "~",
            " x ",
            "DOMAIN\\user",
            "a\u{2028}b",
            "'",
            "!x",
            "*x",
            "&x",
            "@x",
            "`x",
        ],
        "ftps.security" => &["implicit"],
        "ftps.ca_certificate" | "ftps.client_certificate" => {
            &["file:/etc/ca.pem", "env:CA", "vault:kv/a b#c"]
        }
        "ftps.certificate_pin" => &[PIN],
        "ftps.min_tls" => &["1.3"],
        "transfer.mode" => &["active"],
        "transfer.active_ports" => &["50000-50100"],
        "transfer.active_address" => &["192.0.2.9"],
        "listing.system" => &["WINDOWS"],
        "listing.date_format" => &["dd.MM.yyyy HH:mm", "yyyy-MM-dd'T'HH:mm"],
        "listing.time_zone" => &["UTC", "+02:00", "-09:30"],
        "sftp.auth" => &["key"],
        "sftp.algorithms" => &["compatible"],
        "inbound.partner_key" | "outbound.recipient_key" => &[KEY],
        "outbound.partial_lock" => &["no"],
        "outbound.partial_suffix" => &[".tmp", "~", "#x", ": y", "\u{feff}"],
        "entity" | "protocol" => &[],
        _ => &["yes"],
    }
}

/// Any fields of any protocol that go together.
fn any_spec() -> impl Strategy<Value = IntegrationSpec> {
    let protocol = prop::sample::select(IntegrationProtocol::EACH);
    let choices = prop::collection::vec(any::<(bool, prop::sample::Index)>(), Field::EACH.len());
    let name = "[a-z0-9][a-z0-9._-]{0,20}";
    (protocol, choices, name).prop_map(|(protocol, choices, name)| {
        let mut spec = IntegrationSpec {
            name: name.parse().unwrap(),
            display_name: "x".parse().unwrap(),
            entity: entity(),
            protocol,
            host: "localhost".parse().unwrap(),
            own_port: None,
            username: "x".parse().unwrap(),
            settings: IntegrationSettings::default(),
        };
        for (field, (chosen, index)) in Field::EACH.iter().zip(choices) {
            let values = values(field.name());
            if chosen && field.is_of(protocol) && !values.is_empty() {
                let before = spec.clone();
                field
                    .set(&mut spec, Some(values[index.index(values.len())]))
                    .unwrap();
                if !spec.contradictions().is_empty() {
                    spec = before;
                }
            }
        }
        spec
    })
}

fn any_locations() -> impl Strategy<Value = Vec<WantedLocation>> {
    let path = prop::collection::vec(any::<u8>(), 1..40)
        .prop_filter_map("a path", |path| LocationPath::new(&path).ok());
    let direction = prop::sample::select(LocationDirection::EACH);
    prop::collection::btree_map("[a-z0-9][a-z0-9._-]{0,8}", (path, direction), 0..4).prop_map(
        |all| {
            let one = |(name, (path, direction)): (String, _)| WantedLocation {
                name: name.parse().unwrap(),
                path,
                direction,
            };
            all.into_iter().map(one).collect()
        },
    )
}

proptest! {
    // What is exported is read as what it was.
    #[test]
    fn what_is_written_is_read_as_the_same(spec in any_spec(), locations in any_locations()) {
        let written = write::write_wanted(&spec, &locations);
        let read = read(&written, Given { entity: None });
        let read = read.map_err(|mistakes| TestCaseError::fail(format!("{mistakes:?}\n{written}")))?;
        prop_assert_eq!(read.integrations.len(), 1);
        prop_assert_eq!(&read.integrations[0].wanted.spec, &spec, "{}", written);
        prop_assert_eq!(read.integrations[0].wanted.locations.as_ref(), Some(&locations), "{}", written);
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in ".{0,200}") {
        let _ = read_with_entity(&text);
        let _ = read_with_entity(&format!("integrations:\n  a:\n    {text}"));
    }
}

#[test]
fn every_field_of_a_flow_is_written_and_read_again() {
    let text = "\
flows:
  relay:
    direction: upload
    target:
      partner: insurance-ftps
      location: claims
    local:
      account: alice
      path: /out
    files:
      - pattern: 'crm_$yyyyMMdd.csv'
    exclude:
      - pattern: '*.bak'
    idempotency_mode: name+size+time
    on_arrival: true
    time_zone: Europe/Brussels
    catch_up: skip
    max_parallel: 2
    retries: 9
    retry_after_s: 7
    move_to: sent
    dead_letter: dead
";
    let read = read_with_entity(text).unwrap();
    let flow = &read.flows[0].1;
    assert_eq!(flow.local.as_str(), "alice:/out");
    assert_eq!(flow.rules.retries, 9);
    let written = write(&[], std::slice::from_ref(flow), &[]);
    for field in [
        "location",
        "exclude",
        "catch_up",
        "retry_after_s",
        "dead_letter",
    ] {
        assert!(written.contains(field), "{field} in {written}");
    }
    assert_eq!(read_with_entity(&written).unwrap().flows[0].1, *flow);
}

#[test]
fn what_does_not_go_together_in_a_flow_is_told_at_its_line() {
    let text = "\
flows:
  relay:
    direction: download
    on_arrival: true
    target: { partner: insurance-ftps, path: /in }
    local: { path: 'alice:/in' }
";
    let mistakes = read_with_entity(text).unwrap_err();
    assert_eq!(mistakes.len(), 1);
    assert!(mistakes[0].contains("give it a schedule"), "{mistakes:?}");
}
