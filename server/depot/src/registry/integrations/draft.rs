//! An integration on its way from one state to the next: what differs, and what
//! the store is to write. Nothing here is written.

use layover_retention::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};

use super::HostKeyTrust;
use crate::account::Actor;
use crate::integration::{
    Breach, Difference, Field, HostKeyProof, Integration, IntegrationSpec, Location,
    PartnerHostKey, WantedLocation,
};
use crate::journal::NewEntry;
use crate::store::{IntegrationWrite, SecretRow};
use crate::{EntityId, IntegrationId, IntegrationName, LocationName};

/// An integration on its way from one state to the next.
pub(super) struct Draft {
    pub(super) before: Option<Integration>,
    pub(super) after: Integration,
    /// Sealed values of the secrets that are new.
    pub(super) sealed: Vec<SecretRow>,
    /// What changed of the secrets.
    told: Vec<Difference>,
}

impl Draft {
    pub(super) fn of(integration: Integration) -> Self {
        Self {
            after: integration.clone(),
            before: Some(integration),
            sealed: Vec::new(),
            told: Vec::new(),
        }
    }

    pub(super) fn new(spec: IntegrationSpec, now: Timestamp) -> Self {
        Self {
            before: None,
            after: Integration {
                id: IntegrationId(0),
                version: 0,
                spec,
                locations: Vec::new(),
                host_keys: Vec::new(),
                secrets: Vec::new(),
                learned: Map::new(),
                created_at: now,
            },
            sealed: Vec::new(),
            told: Vec::new(),
        }
    }

    pub(super) fn name(&self) -> &IntegrationName {
        &self.after.spec.name
    }

    /// What another server taught says nothing of this one.
    pub(super) fn forget_lessons_of_another_server(&mut self) {
        let is = &self.after.spec;
        let has_moved = self.before.as_ref().is_some_and(|before| {
            let was = &before.spec;
            was.protocol != is.protocol || was.host != is.host || was.port() != is.port()
        });
        if has_moved {
            for (lesson, value) in std::mem::take(&mut self.after.learned) {
                self.tell(format!("learned.{lesson}"), Some(value.to_string()), None);
            }
        }
    }

    pub(super) fn tell(
        &mut self,
        field: impl Into<String>,
        from: Option<String>,
        to: Option<String>,
    ) {
        self.told.push(Difference {
            field: field.into(),
            from,
            to,
        });
    }

    /// Locations that there were.
    pub(super) fn locations_gone(&self) -> impl Iterator<Item = &LocationName> {
        let before = self.before.iter().flat_map(|before| &before.locations);
        let names = before.map(|location| &location.name);
        names.filter(|name| self.after.location(name).is_none())
    }

    /// Everything that is another than before.
    pub(super) fn differences(&self) -> Vec<Difference> {
        let mut found = Vec::new();
        let before = self.before.as_ref();
        for field in Field::EACH {
            let was = before.and_then(|before| field.shown(&before.spec));
            let is = field.shown(&self.after.spec);
            // A digest hides nothing that differs, and says no more.
            let same =
                before.map(|before| field.get(&before.spec)) == Some(field.get(&self.after.spec));
            if !same && (was.is_some() || is.is_some()) {
                found.push(difference(field.name(), was, is));
            }
        }
        let locations = before.map_or(&[][..], |before| &before.locations);
        compare(
            &mut found,
            "locations",
            locations,
            &self.after.locations,
            |one| (one.name.to_string(), one.told()),
        );
        let keys = before.map_or(&[][..], |before| &before.host_keys);
        compare(
            &mut found,
            "host_keys",
            keys,
            &self.after.host_keys,
            |one| {
                let trust = if one.confirmed_at.is_some() {
                    "confirmed"
                } else {
                    "seen"
                };
                (one.fingerprint.clone(), trust.to_owned())
            },
        );
        found.extend(self.told.iter().cloned());
        found
    }

    /// What hardened mode has against it now and had not before.
    pub(super) fn new_breaches(&self) -> Vec<Breach> {
        let before = self
            .before
            .as_ref()
            .map(Integration::breaches)
            .unwrap_or_default();
        let mut breaches = self.after.breaches();
        breaches.retain(|breach| !before.contains(breach));
        breaches
    }

    pub(super) fn set_locations(&mut self, wanted: &[WantedLocation], now: Timestamp) {
        let before = std::mem::take(&mut self.after.locations);
        self.after.locations = wanted
            .iter()
            .map(|one| {
                let known = before.iter().find(|known| known.name == one.name);
                Location {
                    name: one.name.clone(),
                    path: one.path.clone(),
                    direction: one.direction,
                    created_at: known.map_or(now, |known| known.created_at),
                }
            })
            .collect();
        self.after.locations.sort_by(|a, b| a.name.cmp(&b.name));
    }

    /// The keys that are trusted become exactly these; seen ones are forgotten.
    pub(super) fn set_host_keys(&mut self, wanted: &[HostKeyProof], actor: &Actor, now: Timestamp) {
        let before = std::mem::take(&mut self.after.host_keys);
        for proof in wanted {
            let known = before
                .iter()
                .find(|known| known.fingerprint == proof.fingerprint);
            self.trust(proof, known.cloned(), HostKeyTrust::Confirmed, actor, now);
        }
    }

    pub(super) fn trust(
        &mut self,
        proof: &HostKeyProof,
        known: Option<PartnerHostKey>,
        trust: HostKeyTrust,
        actor: &Actor,
        now: Timestamp,
    ) {
        let mut key = known.unwrap_or_else(|| PartnerHostKey {
            fingerprint: proof.fingerprint.clone(),
            public_key: None,
            seen_at: now,
            confirmed_at: None,
            confirmed_by: None,
        });
        key.public_key = key.public_key.or_else(|| proof.public_key.clone());
        if trust == HostKeyTrust::Confirmed && key.confirmed_at.is_none() {
            key.confirmed_at = Some(now);
            key.confirmed_by = Some(actor.as_str().to_owned());
        }
        self.after
            .host_keys
            .retain(|one| one.fingerprint != key.fingerprint);
        self.after.host_keys.push(key);
        self.after
            .host_keys
            .sort_by(|a, b| a.fingerprint.cmp(&b.fingerprint));
    }

    /// As the store takes it.
    pub(super) fn write(self, entity: EntityId, entry: NewEntry) -> IntegrationWrite {
        let before = self.before.as_ref();
        let locations = before.map_or(&[][..], |before| &before.locations);
        let (locations_gone, locations) =
            split(locations, self.after.locations, |one| one.name.clone());
        let keys = before.map_or(&[][..], |before| &before.host_keys);
        let (host_keys_gone, host_keys) =
            split(keys, self.after.host_keys, |one| one.fingerprint.clone());
        let kept = before.map_or(&[][..], |before| &before.secrets);
        let (secrets_gone, secrets) = split(kept, self.after.secrets, |one| one.handle.clone());
        let mut sealed = self.sealed;
        let secrets = secrets
            .into_iter()
            .map(|kept| {
                let new = sealed.iter_mut().find(|row| row.kept.handle == kept.handle);
                SecretRow {
                    sealed: new.and_then(|row| row.sealed.take()),
                    kept,
                }
            })
            .collect();
        IntegrationWrite {
            of: before.map(|before| (before.id, before.version)),
            spec: self.after.spec,
            entity,
            learned: Value::Object(self.after.learned).to_string(),
            locations_gone,
            locations,
            host_keys_gone,
            host_keys,
            secrets_gone,
            secrets,
            removed: false,
            flows_gone: Vec::new(),
            entry,
        }
    }
}

pub(in crate::registry) fn difference(
    field: impl Into<String>,
    from: Option<String>,
    to: Option<String>,
) -> Difference {
    Difference {
        field: field.into(),
        from,
        to,
    }
}

/// What went, what came and what became another, of a list with names.
fn compare<T>(
    found: &mut Vec<Difference>,
    what: &str,
    before: &[T],
    after: &[T],
    told: fn(&T) -> (String, String),
) {
    let of = |list: &[T], name: &str| {
        list.iter()
            .map(told)
            .find(|one| one.0 == name)
            .map(|one| one.1)
    };
    for (name, was) in before.iter().map(told) {
        let is = of(after, &name);
        if is.as_ref() != Some(&was) {
            found.push(difference(format!("{what}.{name}"), Some(was), is));
        }
    }
    for (name, is) in after.iter().map(told) {
        if of(before, &name).is_none() {
            found.push(difference(format!("{what}.{name}"), None, Some(is)));
        }
    }
}

/// What is to be deleted, and what to be written: the names of what went, and what
/// came or became another.
fn split<T: PartialEq, K: PartialEq>(
    before: &[T],
    after: Vec<T>,
    key: fn(&T) -> K,
) -> (Vec<K>, Vec<T>) {
    let gone = before.iter().map(key);
    let gone = gone
        .filter(|name| !after.iter().any(|one| key(one) == *name))
        .collect();
    let come = after
        .into_iter()
        .filter(|one| !before.contains(one))
        .collect();
    (gone, come)
}

/// In the journal: every difference by its field.
pub(in crate::registry) fn told(mut entry: NewEntry, differences: &[Difference]) -> NewEntry {
    let mut changes = Map::new();
    for one in differences {
        let text = |side: &Option<String>| side.clone().unwrap_or_else(|| "-".to_owned());
        let said = format!("{} -> {}", text(&one.from), text(&one.to));
        changes.insert(
            one.field.clone(),
            Value::String(crate::journal::bounded(said)),
        );
    }
    entry
        .detail
        .insert("changes".to_owned(), Value::Object(changes));
    entry
}

/// What a flow, or an expectation, becomes, field by field; what is as usual has none.
pub(in crate::registry) fn definition_differences<T: Serialize>(
    before: Option<&T>,
    after: &T,
) -> Vec<Difference> {
    let fields = |definition: &T| match serde_json::to_value(definition) {
        Ok(Value::Object(fields)) => fields,
        _ => Map::new(),
    };
    let (was, is) = (before.map(fields).unwrap_or_default(), fields(after));
    let mut names: Vec<_> = was.keys().chain(is.keys()).collect();
    names.sort_unstable();
    names.dedup();
    names
        .into_iter()
        .filter(|name| was.get(*name) != is.get(*name))
        .map(|name| {
            let text = |fields: &Map<String, Value>| fields.get(name).map(Value::to_string);
            difference(name, text(&was), text(&is))
        })
        .collect()
}
