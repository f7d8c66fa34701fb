//! Integrations through the registry: what is set, what is refused, what the
//! journal keeps, and what is sealed.

use layover_depot::{
    Caution, Credential, Doing, Existing, Field, FlowDefinition, FlowRules, FlowTarget,
    GivenSecret, HostKeyTrust, Integration, IntegrationName, IntegrationSettings, IntegrationSpec,
    JournalEntry, JournalKind, LocationDirection, RegistryError, Secret, SecretPurpose, SecretSlot,
    WantedIntegration, WantedLocation,
};
use serde_json::json;

use crate::world::{World, actor, worlds};

const HOST_KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";

pub(crate) fn named(name: &str) -> IntegrationName {
    name.parse().unwrap()
}

fn spec(name: &str, protocol: &str) -> IntegrationSpec {
    IntegrationSpec {
        name: named(name),
        display_name: "A partner".parse().unwrap(),
        entity: "acme".parse().unwrap(),
        protocol: protocol.parse().unwrap(),
        host: "ftp.example.com".parse().unwrap(),
        own_port: None,
        username: "us".parse().unwrap(),
        settings: IntegrationSettings::default(),
    }
}

pub(crate) fn wanted(name: &str, protocol: &str) -> WantedIntegration {
    WantedIntegration {
        spec: spec(name, protocol),
        secrets: Vec::new(),
        locations: None,
        host_keys: None,
    }
}

pub(crate) fn typed(purpose: SecretPurpose, value: &str) -> GivenSecret {
    GivenSecret {
        purpose,
        credential: Some(Credential::Value(Secret::new(value))),
    }
}

pub(crate) fn referred(purpose: SecretPurpose, reference: &str) -> GivenSecret {
    GivenSecret {
        purpose,
        credential: Some(Credential::Reference(reference.parse().unwrap())),
    }
}

pub(crate) fn location(name: &str, path: &str) -> WantedLocation {
    WantedLocation {
        name: name.parse().unwrap(),
        path: path.parse().unwrap(),
        direction: LocationDirection::Upload,
    }
}

pub(crate) fn value(credential: Option<Credential>) -> Vec<u8> {
    match credential {
        Some(Credential::Value(value)) => value.expose().to_vec(),
        // No secret of these tests is so: the comparison fails.
        _ => Vec::new(),
    }
}

impl World {
    pub(crate) async fn add_integration(&self, wanted: &WantedIntegration) -> Integration {
        let registry = self.depot.registry();
        registry.add_integration(&actor(), wanted).await.unwrap()
    }

    pub(crate) async fn set(
        &self,
        name: &str,
        fields: &[(&str, &str)],
        secrets: &[GivenSecret],
    ) -> Result<Vec<String>, RegistryError> {
        let change = |spec: &mut IntegrationSpec| {
            let set = |(name, text): &(&str, &str)| {
                Field::of_name(name).unwrap().set(spec, Some(text)).err()
            };
            fields.iter().filter_map(set).collect()
        };
        let registry = self.depot.registry();
        let done = registry
            .change_integration(&actor(), &named(name), change, secrets)
            .await?;
        Ok(done.into_iter().map(|one| one.field).collect())
    }

    pub(crate) async fn changes(&self) -> Vec<JournalEntry> {
        let mut entries = self.journal(JournalKind::Admin).await;
        entries.retain(|entry| {
            !entry.action.starts_with("entity") && !entry.action.starts_with("account")
        });
        entries
    }
}

#[tokio::test]
async fn an_integration_is_added_changed_and_removed_and_the_journal_tells_each_change() {
    for world in worlds().await {
        let mut first = wanted("insurance", "ftps");
        first.secrets = vec![referred(SecretPurpose::Password, "env:PW")];
        first.locations = Some(vec![location("claims", "/in/claims")]);
        let added = world.add_integration(&first).await;
        assert_eq!((added.spec.port(), added.locations.len()), (21, 1));
        let registry = world.depot.registry();
        let again = registry.add_integration(&actor(), &first).await;
        assert!(
            matches!(again, Err(RegistryError::IntegrationExists { .. })),
            "{again:?}"
        );

        let changed = world.set(
            "insurance",
            &[("ftps.security", "implicit"), ("port", "9990")],
            &[],
        );
        assert_eq!(changed.await.unwrap(), ["port", "ftps.security"]);
        let same = world.set("insurance", &[("ftps.security", "implicit")], &[]);
        assert!(same.await.unwrap().is_empty());
        let name = named("insurance");
        registry.remove_integration(&actor(), &name).await.unwrap();
        let gone = registry.integration(&name).await;
        assert!(matches!(
            gone,
            Err(RegistryError::UnknownIntegration { .. })
        ));

        let entries = world.changes().await;
        let actions: Vec<_> = entries.iter().map(|entry| entry.action.as_str()).collect();
        assert_eq!(
            actions,
            ["integration.add", "integration.set", "integration.remove"]
        );
        assert!(
            entries
                .iter()
                .all(|one| one.detail["integration"] == "insurance")
        );
        assert!(
            entries
                .iter()
                .all(|one| one.entity.as_deref() == Some("acme"))
        );
        let changes = &entries[0].detail["changes"];
        assert_eq!(changes["password"], "- -> env:PW");
        assert_eq!(changes["locations.claims"], "- -> /in/claims (upload)");
        assert_eq!(
            entries[1].detail["changes"]["ftps.security"],
            "- -> implicit"
        );
        assert_eq!(entries[1].detail["changes"]["port"], "- -> 9990");
    }
}

#[tokio::test]
async fn locations_are_added_changed_and_removed() {
    for world in worlds().await {
        world.add_integration(&wanted("insurance", "sftp")).await;
        let (registry, name) = (world.depot.registry(), named("insurance"));
        let put = async |location: &WantedLocation, existing| {
            registry
                .put_location(&actor(), &name, location, existing)
                .await
        };
        let claims = location("claims", "/in");
        let unknown = put(&claims, Existing::Change).await;
        assert!(
            matches!(unknown, Err(RegistryError::UnknownLocation { .. })),
            "{unknown:?}"
        );
        put(&claims, Existing::Refuse).await.unwrap();
        let twice = put(&claims, Existing::Refuse).await;
        assert!(
            matches!(twice, Err(RegistryError::LocationExists { .. })),
            "{twice:?}"
        );
        assert!(put(&claims, Existing::Change).await.unwrap().is_empty());
        put(&location("claims", "/other"), Existing::Change)
            .await
            .unwrap();
        put(&location("answers", "/out"), Existing::Refuse)
            .await
            .unwrap();
        let found = registry.integration(&name).await.unwrap();
        let paths: Vec<_> = found
            .locations
            .iter()
            .map(|one| one.path.to_string())
            .collect();
        assert_eq!(paths, ["/out", "/other"]);
        let claims = "claims".parse().unwrap();
        registry
            .remove_location(&actor(), &name, &claims)
            .await
            .unwrap();
        let gone = registry.remove_location(&actor(), &name, &claims).await;
        assert!(
            matches!(gone, Err(RegistryError::UnknownLocation { .. })),
            "{gone:?}"
        );
        let found = registry.integration(&name).await.unwrap();
        assert_eq!(found.locations.len(), 1, "the other one stays");
        let actions: Vec<_> = world
            .changes()
            .await
            .into_iter()
            .map(|one| one.action)
            .collect();
        let expected = [
            "integration.add",
            "location.add",
            "location.set",
            "location.add",
            "location.remove",
        ];
        assert_eq!(actions, expected);
    }
}

#[tokio::test]
async fn a_host_key_is_trusted_when_it_was_confirmed_and_not_when_it_was_seen() {
    for world in worlds().await {
        world.add_integration(&wanted("insurance", "sftp")).await;
        let (registry, name) = (world.depot.registry(), named("insurance"));
        let proof = HOST_KEY.parse().unwrap();
        registry
            .put_host_key(&actor(), &name, &proof, HostKeyTrust::Seen)
            .await
            .unwrap();
        let seen = registry.integration(&name).await.unwrap();
        assert_eq!(seen.host_keys[0].confirmed_at, None);
        assert!(seen.cautions().contains(&Caution::NoHostKey));
        // Confirmed by its fingerprint; the key itself is not forgotten.
        let print = proof.fingerprint().parse().unwrap();
        registry
            .put_host_key(&actor(), &name, &print, HostKeyTrust::Confirmed)
            .await
            .unwrap();
        let trusted = registry.integration(&name).await.unwrap();
        assert_eq!(trusted.host_keys.len(), 1);
        assert_eq!(trusted.host_keys[0].public_key.as_deref(), Some(HOST_KEY));
        assert_eq!(
            trusted.host_keys[0].confirmed_by.as_deref(),
            Some("operator")
        );
        assert!(!trusted.cautions().contains(&Caution::NoHostKey));
        registry
            .remove_host_key(&actor(), &name, proof.fingerprint())
            .await
            .unwrap();
        let gone = registry
            .remove_host_key(&actor(), &name, proof.fingerprint())
            .await;
        assert!(
            matches!(gone, Err(RegistryError::UnknownHostKey { .. })),
            "{gone:?}"
        );
        world.add_integration(&wanted("other", "ftps")).await;
        let refused = registry
            .put_host_key(&actor(), &named("other"), &proof, HostKeyTrust::Confirmed)
            .await;
        assert!(
            matches!(refused, Err(RegistryError::NoHostKeys { .. })),
            "{refused:?}"
        );
    }
}

#[tokio::test]
async fn a_key_is_replaced_with_an_overlap_until_it_is_confirmed() {
    for world in worlds().await {
        world.add_integration(&wanted("insurance", "sftp")).await;
        let (registry, name) = (world.depot.registry(), named("insurance"));
        let install = async |private: &str, public: &str, existing| {
            let private = Secret::new(private);
            let purpose = SecretPurpose::SshKey;
            registry
                .install_key(&actor(), &name, purpose, private, public, existing)
                .await
        };
        let key = async |slot| {
            let key = registry
                .credential(&name, SecretPurpose::SshKey, slot)
                .await
                .unwrap();
            key.map(|key| value(Some(key)))
        };
        install("one", "ssh-ed25519 ONE", Existing::Refuse)
            .await
            .unwrap();
        assert_eq!(key(SecretSlot::Current).await.as_deref(), Some(&b"one"[..]));
        let early = registry
            .confirm_key(&actor(), &name, SecretPurpose::SshKey)
            .await;
        assert!(
            matches!(early, Err(RegistryError::NothingToConfirm { .. })),
            "{early:?}"
        );
        let turned = install("two", "ssh-ed25519 TWO", Existing::Refuse)
            .await
            .unwrap();
        let current = turned
            .secret(SecretPurpose::SshKey, SecretSlot::Current)
            .unwrap();
        assert_eq!(current.public.as_deref(), Some("ssh-ed25519 TWO"));
        assert_eq!(key(SecretSlot::Current).await.as_deref(), Some(&b"two"[..]));
        assert_eq!(
            key(SecretSlot::Previous).await.as_deref(),
            Some(&b"one"[..])
        );
        let again = install("three", "ssh-ed25519 THREE", Existing::Refuse).await;
        assert!(
            matches!(again, Err(RegistryError::RotationUnderWay { .. })),
            "{again:?}"
        );
        // The partner never had `two`: `one` still opens the door.
        install("three", "ssh-ed25519 THREE", Existing::Change)
            .await
            .unwrap();
        assert_eq!(
            key(SecretSlot::Current).await.as_deref(),
            Some(&b"three"[..])
        );
        assert_eq!(
            key(SecretSlot::Previous).await.as_deref(),
            Some(&b"one"[..])
        );
        registry
            .confirm_key(&actor(), &name, SecretPurpose::SshKey)
            .await
            .unwrap();
        assert_eq!(
            key(SecretSlot::Current).await.as_deref(),
            Some(&b"three"[..])
        );
        assert_eq!(key(SecretSlot::Previous).await, None);
    }
}

#[tokio::test]
async fn what_a_connection_teaches_is_kept_and_told_once() {
    for world in worlds().await {
        world.add_integration(&wanted("insurance", "ftps")).await;
        let (registry, name) = (world.depot.registry(), named("insurance"));
        for _ in 0..2 {
            registry
                .learn(&actor(), &name, "tls12_only", json!(true))
                .await
                .unwrap();
        }
        let found = registry.integration(&name).await.unwrap();
        assert_eq!(found.learned["tls12_only"], true);
        registry
            .learn(&actor(), &name, "tls12_only", json!(null))
            .await
            .unwrap();
        assert!(
            registry
                .integration(&name)
                .await
                .unwrap()
                .learned
                .is_empty()
        );
        let learnt = world
            .changes()
            .await
            .into_iter()
            .filter(|one| one.action == "integration.learn");
        assert_eq!(learnt.count(), 2);
    }
}

fn flow(name: &str, partner: &str) -> FlowDefinition {
    FlowDefinition {
        name: name.parse().unwrap(),
        direction: "upload".parse().unwrap(),
        enabled: true,
        partner: named(partner),
        target: FlowTarget::Path("/in".parse().unwrap()),
        local: "./out".parse().unwrap(),
        files: Vec::new(),
        idempotency_mode: "hash".parse().unwrap(),
        delete_after_upload: false,
        delete_after_download: false,
        schedule_cron: None,
        rules: FlowRules::default(),
    }
}

#[tokio::test]
async fn applying_does_all_or_nothing_and_twice_is_once() {
    for world in worlds().await {
        let registry = world.depot.registry();
        let mut one = wanted("one", "sftp");
        one.secrets = vec![typed(SecretPurpose::Password, "correct horse battery")];
        one.locations = Some(vec![location("claims", "/in")]);
        one.host_keys = Some(vec![HOST_KEY.parse().unwrap()]);
        let two = wanted("two", "ftps");
        let both = [one.clone(), two.clone()];
        let apply = async |wanted: &[WantedIntegration], flows: &[FlowDefinition], doing| {
            registry.apply(&actor(), wanted, flows, &[], doing).await
        };
        let planned = apply(&both, &[flow("claims", "one")], Doing::DryRun)
            .await
            .unwrap();
        assert!(
            planned
                .iter()
                .all(|one| one.is_new && !one.differences.is_empty())
        );
        assert!(registry.list_integrations().await.unwrap().is_empty());
        assert!(!world.folder.path().join("data/keys/master_keys").exists());

        // The second is refused: the first is not made either.
        let mut bad = two.clone();
        bad.spec.settings.outbound.pgp = true;
        let refused = apply(&[one.clone(), bad], &[], Doing::Really).await;
        assert!(
            matches!(refused, Err(RegistryError::Fields { .. })),
            "{refused:?}"
        );
        let refused = apply(&both, &[flow("claims", "three")], Doing::Really).await;
        assert!(
            matches!(refused, Err(RegistryError::FlowPartner { .. })),
            "{refused:?}"
        );
        assert!(registry.list_integrations().await.unwrap().is_empty());

        let done = apply(&both, &[flow("claims", "one")], Doing::Really)
            .await
            .unwrap();
        assert_eq!(done, planned);
        let entries = world.changes().await.len();
        let again = apply(&both, &[flow("claims", "one")], Doing::Really)
            .await
            .unwrap();
        assert!(
            again
                .iter()
                .all(|one| !one.is_new && one.differences.is_empty()),
            "{again:?}"
        );
        assert_eq!(
            world.changes().await.len(),
            entries,
            "nothing is told of nothing"
        );

        // Lists are what the file says; what it does not name stays.
        one.locations = Some(vec![location("answers", "/out")]);
        one.host_keys = None;
        one.secrets = Vec::new();
        let changed = apply(&[one], &[], Doing::Really).await.unwrap();
        let fields: Vec<_> = changed[0]
            .differences
            .iter()
            .map(|one| one.field.as_str())
            .collect();
        assert_eq!(fields, ["locations.claims", "locations.answers"]);
        let found = registry.integration(&named("one")).await.unwrap();
        assert_eq!((found.host_keys.len(), found.secrets.len()), (1, 1));
    }
}

#[tokio::test]
async fn what_is_as_usual_again_is_a_change_of_a_flow() {
    for world in worlds().await {
        let registry = world.depot.registry();
        let one = [wanted("one", "sftp")];
        let mut often = flow("first", "one");
        often.rules.retries = 9;
        registry
            .apply(
                &actor(),
                &one,
                std::slice::from_ref(&often),
                &[],
                Doing::Really,
            )
            .await
            .unwrap();
        let usual = flow("first", "one");
        let changed = registry
            .put_flow(&actor(), &usual, layover_depot::Existing::Change)
            .await
            .unwrap();
        let told: Vec<_> = changed.iter().map(|one| (&*one.field, &one.to)).collect();
        assert_eq!(told, [("retries", &None)]);
        let kept = registry.flow(&usual.name).await.unwrap().definition;
        assert_eq!(kept, usual);
    }
}

#[tokio::test]
async fn flows_go_with_the_integration_that_they_name() {
    for world in worlds().await {
        let registry = world.depot.registry();
        let both = [wanted("one", "sftp"), wanted("two", "sftp")];
        let flows = [flow("first", "one"), flow("second", "two")];
        registry
            .apply(&actor(), &both, &flows, &[], Doing::Really)
            .await
            .unwrap();
        let gone = registry
            .remove_integration(&actor(), &named("one"))
            .await
            .unwrap();
        assert_eq!(gone, ["first".parse().unwrap()]);
        let left = registry.flow_definitions().await.unwrap();
        assert_eq!(left, [flow("second", "two")]);
        let entries = world.changes().await;
        assert_eq!(entries.last().unwrap().detail["flows"], json!(["first"]));
    }
}

#[tokio::test]
async fn an_entity_with_an_integration_stays_until_that_is_removed() {
    for world in worlds().await {
        let registry = world.depot.registry();
        let entity = layover_depot::NewEntity {
            name: "sons".parse().unwrap(),
            keep: None,
        };
        registry.add_entity(&actor(), &entity).await.unwrap();
        let mut one = wanted("one", "sftp");
        one.spec.entity = entity.name.clone();
        one.secrets = vec![typed(SecretPurpose::Password, "x")];
        world.add_integration(&one).await;
        let refused = registry.remove_entity(&actor(), &entity.name).await;
        assert!(
            matches!(refused, Err(RegistryError::EntityInUse { .. })),
            "{refused:?}"
        );
        registry
            .remove_integration(&actor(), &named("one"))
            .await
            .unwrap();
        registry
            .remove_entity(&actor(), &entity.name)
            .await
            .unwrap();
        let mut orphan = wanted("orphan", "sftp");
        orphan.spec.entity = entity.name;
        let refused = registry.add_integration(&actor(), &orphan).await;
        assert!(
            matches!(refused, Err(RegistryError::UnknownEntity { .. })),
            "{refused:?}"
        );
    }
}

#[tokio::test]
async fn a_list_is_full_at_its_limit_and_a_secret_has_a_size() {
    for world in worlds().await {
        let registry = world.depot.registry();
        let mut one = wanted("one", "sftp");
        let locations = |count: usize| {
            let each = (0..count).map(|number| location(&format!("l{number}"), "/in"));
            Some(each.collect())
        };
        one.locations = locations(layover_depot::MAX_LOCATIONS + 1);
        let refused = registry.add_integration(&actor(), &one).await;
        assert!(
            matches!(refused, Err(RegistryError::TooManyOfIntegration { .. })),
            "{refused:?}"
        );
        one.locations = locations(layover_depot::MAX_LOCATIONS);
        world.add_integration(&one).await;
        let sized = |size: usize| [typed(SecretPurpose::Password, &"x".repeat(size))];
        for bad in [0, layover_depot::MAX_SECRET_BYTES + 1] {
            let refused = world.set("one", &[], &sized(bad)).await;
            assert!(
                matches!(refused, Err(RegistryError::SecretSize { .. })),
                "{refused:?}"
            );
        }
        world
            .set("one", &[], &sized(layover_depot::MAX_SECRET_BYTES))
            .await
            .unwrap();
        let foreign = world
            .set("one", &[], &[typed(SecretPurpose::ClientKey, "x")])
            .await;
        assert!(
            matches!(foreign, Err(RegistryError::NoSuchSecret { .. })),
            "{foreign:?}"
        );
    }
}
