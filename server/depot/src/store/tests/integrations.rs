//! Integrations and what hangs on them, as rows.

use super::{entity, entry, time};
use crate::integration::{
    FlowDefinition, FlowRules, FlowTarget, Integration, IntegrationSettings, IntegrationSpec,
    KeptSecret, Location, LocationDirection, LocationPath, PartnerHostKey, SecretForm,
    SecretPurpose, SecretSlot,
};
use crate::store::{FlowWrite, IntegrationWrite, Resealed, SecretRow, Store};
use crate::{EntityId, IntegrationName};

fn spec(name: &str, entity: &str) -> IntegrationSpec {
    IntegrationSpec {
        name: name.parse().unwrap(),
        display_name: "A partner".parse().unwrap(),
        entity: entity.parse().unwrap(),
        protocol: "sftp".parse().unwrap(),
        host: "sftp.example.com".parse().unwrap(),
        own_port: None,
        username: "us".parse().unwrap(),
        settings: IntegrationSettings::default(),
    }
}

fn write(spec: IntegrationSpec, entity: EntityId) -> IntegrationWrite {
    IntegrationWrite {
        of: None,
        spec,
        entity,
        learned: "{}".to_owned(),
        locations_gone: Vec::new(),
        locations: Vec::new(),
        host_keys_gone: Vec::new(),
        host_keys: Vec::new(),
        secrets_gone: Vec::new(),
        secrets: Vec::new(),
        removed: false,
        flows_gone: Vec::new(),
        entry: entry("integration.add"),
    }
}

/// A change of what was looked at.
fn change(of: &Integration, entity: EntityId) -> IntegrationWrite {
    IntegrationWrite {
        of: Some((of.id, of.version)),
        entry: entry("integration.set"),
        ..write(of.spec.clone(), entity)
    }
}

fn location(name: &str, path: &[u8], direction: LocationDirection) -> Location {
    Location {
        name: name.parse().unwrap(),
        path: LocationPath::new(path).unwrap(),
        direction,
        created_at: time(8_000),
    }
}

fn host_key(fingerprint: &str) -> PartnerHostKey {
    PartnerHostKey {
        fingerprint: fingerprint.to_owned(),
        public_key: None,
        seen_at: time(8_000),
        confirmed_at: None,
        confirmed_by: None,
    }
}

fn secret(handle: &str, purpose: SecretPurpose, form: SecretForm) -> SecretRow {
    SecretRow {
        sealed: matches!(form, SecretForm::Sealed { .. }).then(|| handle.as_bytes().to_vec()),
        kept: KeptSecret {
            handle: handle.to_owned(),
            purpose,
            slot: SecretSlot::Current,
            form,
            public: None,
            created_at: time(8_000),
            confirmed_at: None,
        },
    }
}

fn sealed(key_id: &str) -> SecretForm {
    SecretForm::Sealed {
        key_id: key_id.to_owned(),
    }
}

async fn done(store: &Store, write: &IntegrationWrite) -> bool {
    let writes = std::slice::from_ref(write);
    let done = store
        .write_integrations(writes, &[], &[], time(8_000))
        .await;
    done.unwrap().is_some()
}

async fn only(store: &Store, name: &IntegrationName) -> Integration {
    let mut found = store.integrations(Some(name)).await.unwrap();
    assert_eq!(found.len(), 1);
    found.pop().unwrap()
}

pub(super) async fn an_integration_from_its_beginning_to_its_end(store: &Store) {
    let owner = entity(store, "partners").await;
    let before = store.generation().await.unwrap();
    let first = write(spec("first", "partners"), owner);
    assert!(done(store, &first).await);
    assert!(!done(store, &first).await, "the name is taken");
    assert!(store.generation().await.unwrap() > before);
    let name = first.spec.name.clone();
    let found = only(store, &name).await;
    assert_eq!((&found.spec, found.version), (&first.spec, 1));
    assert!(found.locations.is_empty() && found.secrets.is_empty());

    let mut filled = change(&found, owner);
    filled.spec.own_port = "2222".parse().ok();
    filled.spec.settings.outbound.partial_suffix = ".tmp".parse().unwrap();
    filled.learned = r#"{"tls12_only":true}"#.to_owned();
    filled.locations = vec![
        location("in", b"/in\xff", LocationDirection::Download),
        location("out", b"/out", LocationDirection::Upload),
    ];
    filled.host_keys = vec![host_key("SHA256:a"), host_key("SHA256:b")];
    let reference = SecretForm::Reference("env:PASSWORD".parse().unwrap());
    filled.secrets = vec![
        secret("h1", SecretPurpose::Password, reference),
        secret("h2", SecretPurpose::SshKey, sealed("k1")),
    ];
    assert!(done(store, &filled).await);
    assert!(!done(store, &filled).await, "that version is over");
    let found = only(store, &name).await;
    assert_eq!((&found.spec, found.version), (&filled.spec, 2));
    assert_eq!(found.learned["tls12_only"], true);
    assert_eq!(found.locations, filled.locations);
    assert_eq!(found.host_keys, filled.host_keys);
    let kept: Vec<_> = filled.secrets.iter().map(|row| row.kept.clone()).collect();
    assert_eq!(found.secrets, kept);

    // Another location in the same place, a confirmed key, a rotated one.
    let mut turned = change(&found, owner);
    turned.locations_gone = vec!["out".parse().unwrap()];
    turned.locations = vec![location("in", b"/other", LocationDirection::Both)];
    turned.host_keys_gone = vec!["SHA256:a".to_owned()];
    turned.host_keys = vec![PartnerHostKey {
        confirmed_at: Some(time(8_100)),
        confirmed_by: Some("operator".to_owned()),
        ..host_key("SHA256:b")
    }];
    let mut previous = filled.secrets[1].clone();
    previous.kept.slot = SecretSlot::Previous;
    previous.sealed = None;
    turned.secrets_gone = vec!["h1".to_owned()];
    turned.secrets = vec![previous, secret("h3", SecretPurpose::SshKey, sealed("k2"))];
    assert!(done(store, &turned).await);
    let found = only(store, &name).await;
    assert_eq!(found.locations, turned.locations);
    assert_eq!(found.host_keys, turned.host_keys);
    let slots: Vec<_> = found
        .secrets
        .iter()
        .map(|one| (one.handle.as_str(), one.slot))
        .collect();
    assert_eq!(
        slots,
        [("h3", SecretSlot::Current), ("h2", SecretSlot::Previous)]
    );
    assert_eq!(
        store.sealed_secret("h2").await.unwrap().as_deref(),
        Some(&b"h2"[..])
    );
    assert_eq!(store.sealed_secret("h1").await.unwrap(), None);
    what_is_sealed(store).await;

    let removed = IntegrationWrite {
        removed: true,
        ..change(&found, owner)
    };
    // An entity whose partner's server is in use stays.
    assert_eq!(
        store
            .remove_entity(owner, &entry("entity.remove"))
            .await
            .unwrap(),
        None
    );
    assert!(done(store, &removed).await);
    assert!(store.integrations(Some(&name)).await.unwrap().is_empty());
    assert_eq!(store.sealed_secret("h3").await.unwrap(), None);
    assert!(done(store, &first).await, "the name is free again");
    let again = only(store, &name).await;
    assert!(again.id > found.id && again.locations.is_empty());
    let removed = IntegrationWrite {
        removed: true,
        ..change(&again, owner)
    };
    assert!(done(store, &removed).await);
    assert_eq!(
        store
            .remove_entity(owner, &entry("entity.remove"))
            .await
            .unwrap(),
        Some(())
    );
}

async fn what_is_sealed(store: &Store) {
    assert_eq!(store.sealing_keys().await.unwrap(), ["k1", "k2"]);
    let rows = store.sealed_otherwise("k2", "", 10).await.unwrap();
    let handles: Vec<_> = rows.iter().map(|row| row.handle.as_str()).collect();
    assert_eq!(
        (handles, rows[0].purpose),
        (vec!["h2"], SecretPurpose::SshKey)
    );
    assert!(
        store
            .sealed_otherwise("k2", "h2", 10)
            .await
            .unwrap()
            .is_empty()
    );
    assert_eq!(store.sealed_otherwise("", "", 1).await.unwrap().len(), 1);
    let anew = |handle: &str, was: &[u8]| Resealed {
        handle: handle.to_owned(),
        was: was.to_vec(),
        sealed: b"anew".to_vec(),
        key_id: "k2".to_owned(),
    };
    let resealed = [anew("h2", b"h2"), anew("h3", b"changed meanwhile")];
    assert_eq!(
        store
            .reseal(&resealed, &entry("secrets.rotate"))
            .await
            .unwrap(),
        1
    );
    assert_eq!(store.sealing_keys().await.unwrap(), ["k2"]);
    assert_eq!(
        store.sealed_secret("h2").await.unwrap().as_deref(),
        Some(&b"anew"[..])
    );
    assert_eq!(
        store.sealed_secret("h3").await.unwrap().as_deref(),
        Some(&b"h3"[..])
    );
}

/// Stays to the end of the suite: what is dumped and loaded has rows of everything.
pub(super) async fn all_of_a_command_or_nothing(store: &Store) {
    let owner = entity(store, "keepers").await;
    let mut kept = write(spec("kept", "keepers"), owner);
    kept.locations = vec![location("in", b"/in", LocationDirection::Download)];
    kept.host_keys = vec![host_key("SHA256:k")];
    kept.secrets = vec![secret("h9", SecretPurpose::SshKey, sealed("k9"))];
    let flow = FlowWrite {
        flow: FlowDefinition {
            name: "claims".parse().unwrap(),
            direction: "upload".parse().unwrap(),
            enabled: true,
            partner: "kept".parse().unwrap(),
            target: FlowTarget::Path("/in".parse().unwrap()),
            local: "./out".parse().unwrap(),
            files: vec!["*.xml".parse().unwrap()],
            idempotency_mode: "hash".parse().unwrap(),
            delete_after_upload: true,
            delete_after_download: false,
            schedule_cron: "0 0 8 * * 1-5".parse().ok(),
            rules: FlowRules::default(),
        },
        arrival: None,
        entry: entry("flow.add"),
    };
    let flows = std::slice::from_ref(&flow);
    let twice = [kept.clone(), kept.clone()];
    let refused = store
        .write_integrations(&twice, flows, &[], time(8_000))
        .await
        .unwrap();
    assert_eq!(refused, None);
    assert!(store.integrations(None).await.unwrap().is_empty());
    assert!(store.flow_definitions().await.unwrap().is_empty());
    let written = store
        .write_integrations(&[kept], flows, &[], time(8_000))
        .await
        .unwrap();
    assert_eq!(written, Some(()));
    assert_eq!(
        store.flow_definitions().await.unwrap(),
        std::slice::from_ref(&flow.flow)
    );
    // A flow goes with the integration that it names, and no other does.
    let passing = write(spec("passing", "keepers"), owner);
    let mut to_passing = flow.clone();
    to_passing.flow.name = "passing".parse().unwrap();
    let writes = std::slice::from_ref(&passing);
    let flows = std::slice::from_ref(&to_passing);
    store
        .write_integrations(writes, flows, &[], time(8_000))
        .await
        .unwrap();
    let removed = IntegrationWrite {
        removed: true,
        flows_gone: vec![to_passing.flow.name.clone()],
        ..change(&only(store, &passing.spec.name).await, owner)
    };
    assert!(done(store, &removed).await);
    assert_eq!(
        store.flow_definitions().await.unwrap(),
        std::slice::from_ref(&flow.flow)
    );
    let mut later = flow;
    later.flow.enabled = false;
    store
        .write_integrations(&[], std::slice::from_ref(&later), &[], time(8_001))
        .await
        .unwrap();
    assert_eq!(store.flow_definitions().await.unwrap(), [later.flow]);
    assert_eq!(store.integrations(None).await.unwrap().len(), 1);
}
