//! What is kept of an integration is what its connection is made with; what it saw is
//! what is kept of it.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use layover_depot::{
    Actor, Credential, Depot, Existing, Field, Fsync, GateOptions, GivenSecret, HostKeyTrust,
    IntegrationSettings, IntegrationSpec, NewEntity, Options, Registry, Role, SecretPurpose,
    WantedIntegration,
};
use layover_retention::{Keep, ManualClock};
use tempfile::TempDir;

use super::*;
use crate::doctor::{CheckStep, Outcome, Probe, Subject, Wishes, examine};
use crate::ftps::{Security, Transfer, Trust};
use crate::pgp::{KeyPlan, OwnKey, OwnKeys};
use crate::sftp::{Algorithms, Credential as SshCredential, HostTrust, KeyKind, KeyPair, Proof};
use crate::witness::ShownHostKey;

fn now() -> Timestamp {
    "2026-06-01T00:00:00Z".parse().unwrap()
}

/// A depot with one integration, `bank`.
struct Office {
    depot: Depot,
    actor: Actor,
    surroundings: Surroundings,
    dir: TempDir,
}

impl Office {
    async fn with(protocol: IntegrationProtocol) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let at = layover_retention::Timestamp::from_micros(now().as_microsecond());
        let week = Keep::from_secs(7 * 86_400).unwrap();
        let options = Options {
            database_url: format!("sqlite:{}", dir.path().join("layover.db").display()),
            data_dir: dir.path().to_owned(),
            homes: dir.path().join("homes"),
            fsync: Fsync::Never,
            keep: week,
            max_keep: week,
            partial_keep: week,
            checksum: layover_depot::Checksum::Off,
            gate: GateOptions::open(1),
            hardened: false,
            clock: Arc::new(ManualClock::new(at)),
            role: Role::Tool,
        };
        let office = Self {
            depot: Depot::open(options).await.unwrap(),
            actor: Actor::new("test"),
            surroundings: Surroundings {
                sources: None,
                hardened: false,
                secrets: SecretSources::default(),
                waits: Waits::default(),
                now: Now::new(now),
            },
            dir,
        };
        let entity = NewEntity {
            name: "acme".parse().unwrap(),
            keep: None,
        };
        let registry = office.registry();
        registry.add_entity(&office.actor, &entity).await.unwrap();
        let wanted = WantedIntegration {
            spec: IntegrationSpec {
                name: name(),
                display_name: "Bank".parse().unwrap(),
                entity: entity.name,
                protocol,
                host: "ftp.example.com".parse().unwrap(),
                own_port: None,
                username: "us".parse().unwrap(),
                settings: IntegrationSettings::default(),
            },
            secrets: Vec::new(),
            locations: None,
            host_keys: None,
        };
        let added = registry.add_integration(&office.actor, &wanted).await;
        added.unwrap();
        office
    }

    fn registry(&self) -> &Registry {
        self.depot.registry()
    }

    async fn integration(&self) -> Integration {
        self.registry().integration(&name()).await.unwrap()
    }

    async fn set(&self, fields: &[(&str, &str)]) {
        let change = |spec: &mut IntegrationSpec| {
            for (field, text) in fields {
                let field = Field::of_name(field).unwrap();
                field.set(spec, Some(text)).unwrap();
            }
            Vec::new()
        };
        let registry = self.registry();
        registry
            .change_integration(&self.actor, &name(), change, &[])
            .await
            .unwrap();
    }

    /// Keeps a secret in a file, by reference; the file.
    async fn secret(&self, purpose: SecretPurpose, value: &[u8]) -> PathBuf {
        let file = self.dir.path().join(purpose.as_str());
        std::fs::write(&file, value).unwrap();
        let reference = format!("file:{}", file.display()).parse().unwrap();
        let given = GivenSecret {
            purpose,
            credential: Some(Credential::Reference(reference)),
        };
        let registry = self.registry();
        registry
            .change_integration(&self.actor, &name(), |_| Vec::new(), &[given])
            .await
            .unwrap();
        file
    }

    async fn own_key(&self, purpose: SecretPurpose, private: &[u8], public: &str) {
        let private = layover_depot::Secret::new(private);
        let (name, existing) = (name(), Existing::Refuse);
        let registry = self.registry();
        registry
            .install_key(&self.actor, &name, purpose, private, public, existing)
            .await
            .unwrap();
    }

    async fn prepare(&self) -> Result<Partner, PartnerError> {
        let integration = self.integration().await;
        Partner::prepare(self.registry(), integration, &self.surroundings).await
    }

    async fn ftps(&self) -> FtpsOptions {
        match self.prepare().await.unwrap().door {
            Door::Ftps(options) => *options,
            Door::Sftp(_) => panic!("it is FTPS"),
        }
    }

    async fn sftp(&self) -> SftpOptions {
        match self.prepare().await.unwrap().door {
            Door::Sftp(options) => *options,
            Door::Ftps(_) => panic!("it is SFTP"),
        }
    }
}

fn name() -> IntegrationName {
    "bank".parse().unwrap()
}

fn certificate() -> (String, String) {
    let made = rcgen::generate_simple_self_signed(vec!["ftp.example.com".to_owned()]).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}

#[tokio::test]
async fn every_field_of_ftps_takes_effect() {
    let office = Office::with(IntegrationProtocol::Ftps).await;
    office.secret(SecretPurpose::Password, b"hunter2\n").await;
    let (pem, key) = certificate();
    // The system's authorities are this machine's affair.
    office.set(&[("ftps.ca_certificate", &pem)]).await;
    let before = office.ftps().await;
    assert_eq!(
        (before.port, before.security),
        (Some(21), Security::Explicit)
    );
    assert_eq!(before.transfer, Transfer::Passive);
    assert_eq!(before.password.expose(), b"hunter2");
    assert!(matches!(
        &before.tls.trust,
        Trust::Authorities { pin: None, .. }
    ));
    assert_eq!(before.tls.versions, TlsVersions::From12);

    let pin = "ab".repeat(32);
    office
        .set(&[
            ("host", "192.0.2.7"),
            ("username", "them"),
            ("ftps.security", "implicit"),
            ("ftps.certificate_pin", &pin),
            ("ftps.min_tls", "1.3"),
            ("ftps.client_certificate", &pem),
            ("transfer.mode", "active"),
            ("transfer.active_ports", "50000-50100"),
            ("transfer.active_address", "198.51.100.4"),
            ("listing.system", "WINDOWS"),
            ("listing.date_format", "dd.MM.yyyy HH:mm"),
            ("listing.time_zone", "-03:30"),
        ])
        .await;
    office
        .secret(SecretPurpose::ClientKey, key.as_bytes())
        .await;
    office
        .secret(SecretPurpose::ClientKeyPassphrase, b"open")
        .await;
    let after = office.ftps().await;
    assert_eq!(
        (after.host.as_str(), after.username.as_str()),
        ("192.0.2.7", "them")
    );
    assert_eq!(
        (after.port, after.security),
        (Some(990), Security::Implicit)
    );
    match &after.tls.trust {
        Trust::Authorities {
            pin: Some(print), ..
        } => assert_eq!(print.to_string(), pin),
        other => panic!("with a CA certificate both must hold: {other:?}"),
    }
    assert_eq!(after.tls.versions, TlsVersions::Only13);
    let identity = after.tls.identity.unwrap();
    assert_eq!(identity.certificates_pem, pem.as_bytes());
    assert_eq!(identity.passphrase.unwrap().expose(), b"open");
    let active = Transfer::Active {
        ports: 50_000..=50_100,
        announced: Some([198, 51, 100, 4].into()),
    };
    assert_eq!(
        (after.transfer, after.system),
        (active, ServerSystem::Windows)
    );
    assert_eq!(
        after.listing.date_format.unwrap().as_str(),
        "dd.MM.yyyy HH:mm"
    );
    let zone = after.listing.time_zone.unwrap();
    assert_eq!(zone.to_offset(now()).seconds(), -(3 * 3600 + 30 * 60));
    office
        .set(&[("listing.time_zone", "Europe/Brussels")])
        .await;
    let zone = office.ftps().await.listing.time_zone.unwrap();
    assert_eq!(zone.to_offset(now()).seconds(), 2 * 3600);
}

#[tokio::test]
async fn who_is_trusted_follows_from_certificate_pin_and_nothing() {
    let office = Office::with(IntegrationProtocol::Ftps).await;
    office.secret(SecretPurpose::Password, b"hunter2").await;
    let pin = "cd".repeat(32);
    office.set(&[("ftps.certificate_pin", &pin)]).await;
    assert!(matches!(office.ftps().await.tls.trust, Trust::Pin(_)));
    let office = Office::with(IntegrationProtocol::Ftps).await;
    office.secret(SecretPurpose::Password, b"hunter2").await;
    office.set(&[("ftps.skip_verify", "yes")]).await;
    assert!(matches!(office.ftps().await.tls.trust, Trust::Anything));
    let hardened = Office {
        surroundings: Surroundings {
            hardened: true,
            ..office.surroundings.clone()
        },
        ..office
    };
    let refused = hardened.prepare().await.unwrap_err().to_string();
    assert!(
        refused.contains("`bank`") && refused.contains("skip_verify"),
        "{refused}"
    );
}

#[tokio::test]
async fn every_field_of_sftp_takes_effect() {
    let mut office = Office::with(IntegrationProtocol::Sftp).await;
    office.secret(SecretPurpose::Password, b"hunter2").await;
    let before = office.sftp().await;
    assert!(matches!(&before.credential, SshCredential::Password(text) if **text == *"hunter2"));
    assert!(matches!(before.trust, HostTrust::LearnOnFirstUse));
    assert_eq!((before.port, before.algorithms), (22, Algorithms::Modern));
    assert_eq!(before.source_address, None);

    let fields = [
        ("sftp.auth", "key"),
        ("sftp.algorithms", "compatible"),
        ("port", "2222"),
    ];
    office.set(&fields).await;
    for _ in 0..2 {
        let pair = KeyPair::generate(KeyKind::Ed25519, "layover").unwrap();
        let (private, public) = (
            pair.to_openssh().unwrap(),
            pair.authorized_keys_line().unwrap(),
        );
        office
            .own_key(SecretPurpose::SshKey, private.as_bytes(), &public)
            .await;
    }
    let print = format!("SHA256:{}", "A".repeat(43));
    let trust = HostKeyTrust::Confirmed;
    let registry = office.registry();
    registry
        .put_host_key(&office.actor, &name(), &print.parse().unwrap(), trust)
        .await
        .unwrap();
    let source: IpAddr = "192.0.2.9".parse().unwrap();
    office.surroundings.sources = Some(source.into());
    let after = office.sftp().await;
    match &after.credential {
        SshCredential::Both { keys, .. } => assert!(keys.previous.is_some()),
        other => panic!("a password stands beside the key: {other:?}"),
    }
    assert!(matches!(after.trust, HostTrust::Known(_)));
    assert_eq!(
        (after.port, after.algorithms),
        (2222, Algorithms::Compatible)
    );
    assert_eq!(after.source_address, Some(source.into()));
}

#[tokio::test]
async fn secrets_are_fetched_at_each_use_and_faults_name_the_place_alone() {
    let office = Office::with(IntegrationProtocol::Ftps).await;
    let file = office.secret(SecretPurpose::Password, b"hunter2").await;
    office
        .set(&[("ftps.certificate_pin", &"ab".repeat(32))])
        .await;
    assert_eq!(office.ftps().await.password.expose(), b"hunter2");
    std::fs::write(&file, b"another").unwrap();
    assert_eq!(office.ftps().await.password.expose(), b"another");
    std::fs::remove_file(&file).unwrap();
    let error = office.prepare().await.unwrap_err();
    assert!(
        error.to_string().contains(file.to_str().unwrap()),
        "{error}"
    );
    for text in [error.to_string(), error.remedy(), format!("{error:?}")] {
        assert!(
            !text.contains("hunter2") && !text.contains("another"),
            "{text}"
        );
    }
    // Everything that is wrong is told, not the first alone.
    let (pem, _) = certificate();
    office.set(&[("ftps.client_certificate", &pem)]).await;
    let integration = office.integration().await;
    let examined = Partner::examine(office.registry(), integration, &office.surroundings).await;
    assert_eq!(examined.unwrap_err().errors.len(), 2);
}

#[tokio::test]
async fn a_lesson_holds_for_the_next_connection_and_never_undoes_a_setting() {
    let office = Office::with(IntegrationProtocol::Ftps).await;
    office.secret(SecretPurpose::Password, b"hunter2").await;
    office
        .set(&[("ftps.certificate_pin", &"ab".repeat(32))])
        .await;
    let partner = office.prepare().await.unwrap();
    partner.witness.note(|seen| seen.tls12_only = true);
    let settled = partner
        .settle(office.registry(), &office.actor)
        .await
        .unwrap();
    assert!(settled.tls12_only);
    assert_eq!(office.ftps().await.tls.versions, TlsVersions::Only12);
    let again = office.prepare().await.unwrap();
    let settled = again
        .settle(office.registry(), &office.actor)
        .await
        .unwrap();
    assert_eq!(settled, Settled::default());
    office.set(&[("ftps.min_tls", "1.3")]).await;
    assert_eq!(office.ftps().await.tls.versions, TlsVersions::Only13);
    // Another server has lessons of its own.
    office
        .set(&[("ftps.min_tls", "1.2"), ("host", "new.example.com")])
        .await;
    assert_eq!(office.ftps().await.tls.versions, TlsVersions::From12);
}

#[tokio::test]
async fn host_keys_that_nobody_confirmed_are_kept_up_to_the_limit() {
    let office = Office::with(IntegrationProtocol::Sftp).await;
    office.secret(SecretPurpose::Password, b"hunter2").await;
    for shown in 0..6 {
        let partner = office.prepare().await.unwrap();
        let print = format!("SHA256:{}{}", shown, "A".repeat(42));
        partner.witness.note(|seen| {
            seen.host_key = Some(ShownHostKey {
                fingerprint: print.clone(),
                public_key: None,
            });
        });
        let settled = partner
            .settle(office.registry(), &office.actor)
            .await
            .unwrap();
        assert_eq!(settled.host_key_seen, Some(print));
        let known = office.integration().await.host_keys;
        assert_eq!(known.len(), 4.min(shown + 1));
        assert!(known.iter().all(|key| key.confirmed_at.is_none()));
    }
}

#[tokio::test]
async fn a_new_ssh_key_is_confirmed_by_the_connection_that_it_opened_and_no_other() {
    let office = Office::with(IntegrationProtocol::Sftp).await;
    office.set(&[("sftp.auth", "key")]).await;
    for _ in 0..2 {
        let pair = KeyPair::generate(KeyKind::Ed25519, "layover").unwrap();
        let (private, public) = (
            pair.to_openssh().unwrap(),
            pair.authorized_keys_line().unwrap(),
        );
        office
            .own_key(SecretPurpose::SshKey, private.as_bytes(), &public)
            .await;
    }
    let partner = office.prepare().await.unwrap();
    for (proofs, confirmed) in [
        (Vec::new(), false),
        (vec![Proof::PreviousKey], false),
        (vec![Proof::CurrentKey], true),
        (vec![Proof::CurrentKey], false),
    ] {
        partner.witness.note(|seen| seen.proofs = proofs);
        let settled = partner
            .settle(office.registry(), &office.actor)
            .await
            .unwrap();
        assert_eq!(settled.key_confirmed, confirmed);
    }
}

/// A PGP key of ours that ends after so many days.
fn pgp_key(days: i64) -> OwnKey {
    let hours = jiff::SignedDuration::from_hours(24 * days);
    OwnKey::generate(&KeyPlan {
        user_id: "Layover bank",
        created_at: now()
            .checked_sub(jiff::SignedDuration::from_hours(24))
            .unwrap(),
        expires_at: Some(now().checked_add(hours).unwrap()),
    })
    .unwrap()
}

#[tokio::test]
async fn until_a_new_pgp_key_is_confirmed_both_decrypt_and_the_old_one_signs() {
    let office = Office::with(IntegrationProtocol::Ftps).await;
    let (first, second) = (pgp_key(400), pgp_key(400));
    for key in [&first, &second] {
        let private = OwnKeys::new(key.clone()).to_bytes().unwrap();
        let public = key.public_armored().unwrap();
        office
            .own_key(SecretPurpose::PgpKey, &private, &public)
            .await;
    }
    let partners = pgp_key(400).public_armored().unwrap();
    office
        .set(&[
            ("inbound.pgp", "yes"),
            ("outbound.recipient_key", &partners),
            ("outbound.pgp", "yes"),
            ("outbound.sign", "yes"),
        ])
        .await;
    let keys = async || {
        let integration = office.integration().await;
        PgpKeys::prepare(office.registry(), &integration, &office.surroundings).await
    };
    let before = keys().await.unwrap();
    let own: Vec<_> = before
        .own
        .as_ref()
        .unwrap()
        .iter()
        .map(OwnKey::fingerprint)
        .collect();
    assert_eq!(own, [second.fingerprint(), first.fingerprint()]);
    let signs = before.encrypting(now()).unwrap().sign_with.unwrap();
    assert_eq!(signs.newest().fingerprint(), first.fingerprint());
    assert!(before.decrypting(now()).is_some());
    let purpose = SecretPurpose::PgpKey;
    let registry = office.registry();
    registry
        .confirm_key(&office.actor, &name(), purpose)
        .await
        .unwrap();
    let signs = keys()
        .await
        .unwrap()
        .encrypting(now())
        .unwrap()
        .sign_with
        .unwrap();
    assert_eq!(signs.newest().fingerprint(), second.fingerprint());
}

#[tokio::test]
async fn the_doctor_warns_of_pgp_keys_thirty_days_before_they_end_and_fails_ended_ones() {
    for (days, outcome) in [(31, Outcome::Ok), (29, Outcome::Warning)] {
        let office = Office::with(IntegrationProtocol::Ftps).await;
        let recipient = pgp_key(days).public_armored().unwrap();
        office
            .set(&[
                ("outbound.recipient_key", &recipient),
                ("outbound.pgp", "yes"),
            ])
            .await;
        assert_eq!(pgp_finding(&office).await, outcome, "{days} days");
    }
    let mut office = Office::with(IntegrationProtocol::Ftps).await;
    let recipient = pgp_key(1).public_armored().unwrap();
    office
        .set(&[
            ("outbound.recipient_key", &recipient),
            ("outbound.pgp", "yes"),
        ])
        .await;
    let later = now()
        .checked_add(jiff::SignedDuration::from_hours(48))
        .unwrap();
    office.surroundings.now = Now::new(move || later);
    assert_eq!(pgp_finding(&office).await, Outcome::Failed);
}

/// What the doctor says of PGP keys, with a partner that cannot be connected to.
async fn pgp_finding(office: &Office) -> Outcome {
    let integration = office.integration().await;
    let (registry, surroundings) = (office.registry(), &office.surroundings);
    let partner = Partner::examine(registry, integration.clone(), surroundings).await;
    assert!(partner.is_err(), "it has no password");
    let pgp = PgpKeys::examine(registry, &integration, surroundings).await;
    let subject = Subject {
        integration: &integration,
        partner: &partner,
        pgp: &pgp,
        surroundings,
    };
    let wishes = Wishes {
        location: None,
        probe: Probe::ReadOnly,
    };
    let findings = examine(&subject, &wishes, &mut |_| {}).await;
    let found = findings.iter().find(|one| one.step == CheckStep::Pgp);
    found.unwrap().outcome
}
