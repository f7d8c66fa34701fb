//! A depot with integrations, as the doctor gets them.

use std::sync::Arc;
use std::time::Duration;

use layover_client::Partner;
use layover_client::doctor::{Finding, Probe, Subject, Wishes, examine};
use layover_client::ftps::Now;
use layover_client::partner::{PgpKeys, Surroundings, Waits};
use layover_client::secret_ref::SecretSources;
use layover_client::sftp::{KeyKind, KeyPair};
use layover_depot::{
    Actor, Credential, Depot, Existing, Field, Fsync, GateOptions, GivenSecret, HostKeyTrust,
    Integration, IntegrationProtocol, IntegrationSettings, IntegrationSpec, LocationDirection,
    NewEntity, Options, Role, SecretPurpose, WantedIntegration, WantedLocation,
};
use layover_retention::{Keep, ManualClock, Timestamp};
use tempfile::TempDir;

use crate::servers::now;
use crate::sshd::Sshd;

/// A depot with one entity.
pub(crate) struct Office {
    pub(crate) depot: Depot,
    pub(crate) actor: Actor,
    pub(crate) hardened: bool,
    pub(crate) patience: Duration,
    _dir: TempDir,
}

/// An integration to be.
pub(crate) struct Plan<'a> {
    pub(crate) protocol: IntegrationProtocol,
    pub(crate) host: &'a str,
    pub(crate) port: u16,
    pub(crate) user: &'a str,
    pub(crate) fields: Vec<(&'static str, String)>,
    pub(crate) locations: Vec<(&'static str, String, LocationDirection)>,
}

pub(crate) fn ftps(port: u16, authority: &str) -> Plan<'static> {
    Plan {
        protocol: IntegrationProtocol::Ftps,
        host: "127.0.0.1",
        port,
        user: "partner",
        fields: vec![("ftps.ca_certificate", authority.to_owned())],
        locations: vec![("in", "/in".to_owned(), LocationDirection::Download)],
    }
}

pub(crate) fn sftp<'a>(sshd: &'a Sshd) -> Plan<'a> {
    let files = sshd.files().to_str().unwrap().to_owned();
    Plan {
        protocol: IntegrationProtocol::Sftp,
        host: "127.0.0.1",
        port: sshd.port(),
        user: &sshd.user,
        fields: vec![("sftp.auth", "key".to_owned())],
        locations: vec![("both", files, LocationDirection::Both)],
    }
}

impl Office {
    pub(crate) async fn open() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let at = Timestamp::from_micros(now().as_microsecond());
        let week = Keep::from_secs(7 * 86_400).unwrap();
        let depot = Depot::open(Options {
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
        })
        .await
        .unwrap();
        let office = Self {
            depot,
            actor: Actor::new("test"),
            hardened: false,
            patience: Duration::from_secs(20),
            _dir: dir,
        };
        let entity = NewEntity {
            name: "acme".parse().unwrap(),
            keep: None,
        };
        let registry = office.depot.registry();
        registry.add_entity(&office.actor, &entity).await.unwrap();
        office
    }

    pub(crate) async fn integration(&self, name: &str, plan: Plan<'_>) -> Integration {
        let mut spec = IntegrationSpec {
            name: name.parse().unwrap(),
            display_name: name.parse().unwrap(),
            entity: "acme".parse().unwrap(),
            protocol: plan.protocol,
            host: plan.host.parse().unwrap(),
            own_port: plan.port.try_into().ok(),
            username: plan.user.parse().unwrap(),
            settings: IntegrationSettings::default(),
        };
        for (field, text) in plan.fields {
            let field = Field::of_name(field).unwrap();
            field.set(&mut spec, Some(&text)).unwrap();
        }
        let password = layover_depot::Secret::new(b"secret".as_slice());
        let secrets = match plan.protocol {
            IntegrationProtocol::Sftp => Vec::new(),
            _ => vec![GivenSecret {
                purpose: SecretPurpose::Password,
                credential: Some(Credential::Value(password)),
            }],
        };
        let locations = plan.locations.into_iter().map(|(name, path, direction)| {
            let name = name.parse().unwrap();
            let path = path.parse().unwrap();
            WantedLocation {
                name,
                path,
                direction,
            }
        });
        let wanted = WantedIntegration {
            spec,
            secrets,
            locations: Some(locations.collect()),
            host_keys: None,
        };
        let registry = self.depot.registry();
        let added = registry.add_integration(&self.actor, &wanted).await;
        added.unwrap()
    }

    pub(crate) fn surroundings(&self) -> Surroundings {
        Surroundings {
            sources: None,
            hardened: self.hardened,
            secrets: SecretSources::default(),
            waits: Waits {
                connect: self.patience,
                stall: self.patience,
            },
            now: Now::new(now),
        }
    }

    pub(crate) async fn reread(&self, integration: &Integration) -> Integration {
        let registry = self.depot.registry();
        registry.integration(&integration.spec.name).await.unwrap()
    }

    pub(crate) async fn test(&self, integration: &Integration, probe: Probe) -> Vec<Finding> {
        let integration = self.reread(integration).await;
        let (registry, surroundings) = (self.depot.registry(), self.surroundings());
        let partner = Partner::examine(registry, integration.clone(), &surroundings).await;
        let pgp = PgpKeys::examine(registry, &integration, &surroundings).await;
        let subject = Subject {
            integration: &integration,
            partner: &partner,
            pgp: &pgp,
            surroundings: &surroundings,
        };
        let wishes = Wishes {
            location: None,
            probe,
        };
        let mut told = Vec::new();
        let mut tell = |finding: &Finding| told.push(finding.clone());
        let findings = examine(&subject, &wishes, &mut tell).await;
        assert_eq!(told, findings);
        if let Ok(partner) = &partner {
            partner.settle(registry, &self.actor).await.unwrap();
        }
        findings
    }

    /// A new SSH key of ours; its public half.
    pub(crate) async fn key(&self, integration: &Integration) -> String {
        let pair = KeyPair::generate(KeyKind::Ed25519, "layover").unwrap();
        let registry = self.depot.registry();
        registry
            .install_key(
                &self.actor,
                &integration.spec.name,
                SecretPurpose::SshKey,
                layover_depot::Secret::new(pair.to_openssh().unwrap().as_bytes()),
                &pair.authorized_keys_line().unwrap(),
                Existing::Refuse,
            )
            .await
            .unwrap();
        pair.authorized_keys_line().unwrap()
    }

    pub(crate) async fn confirm_shown(&self, integration: &Integration) {
        let known = self.reread(integration).await;
        let proof = known.host_keys[0].told().parse().unwrap();
        let (name, trust) = (&integration.spec.name, HostKeyTrust::Confirmed);
        let registry = self.depot.registry();
        registry
            .put_host_key(&self.actor, name, &proof, trust)
            .await
            .unwrap();
    }
}
