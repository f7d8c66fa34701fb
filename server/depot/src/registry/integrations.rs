//! Integrations, locations and host keys, and `apply`. Every change is made to the
//! version that was looked at, all of a command's in one transaction; what
//! differs is what the journal keeps. Secrets are in `secrets.rs`, flows in `flows.rs`.

mod draft;
mod secrets;

use serde_json::Value;

use self::draft::Draft;
pub(super) use self::draft::{definition_differences, difference, told};
use super::expectations::Expecting;
use super::{Registry, RegistryError};
use crate::account::Actor;
use crate::expectation::ExpectationDefinition;
use crate::integration::{
    Difference, FieldError, FlowDefinition, FlowTarget, GivenSecret, HostKeyProof, Integration,
    IntegrationProtocol, IntegrationSpec, MAX_HOST_KEYS, MAX_LOCATIONS, WantedIntegration,
    WantedLocation,
};
use crate::journal::NewEntry;
use crate::store::{ExpectationWrite, FlowWrite, IntegrationWrite};
use crate::{FlowName, IntegrationName, LocationName};

/// Whether what is there may be replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// It may not.
    Refuse,
    /// It may, and must be there.
    Change,
}

/// What a host key is to be from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostKeyTrust {
    /// Seen, and trusted by nobody yet.
    Seen,
    /// Confirmed by an operator.
    Confirmed,
}

/// What `apply` made, or would make, of one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// `integration`, `flow` or `expectation`.
    pub what: &'static str,
    /// Its name.
    pub name: String,
    /// Whether it is new.
    pub is_new: bool,
    /// What differs; nothing: it was so already.
    pub differences: Vec<Difference>,
}

/// What cannot be as it is to be.
#[derive(Debug)]
pub struct Refusal {
    /// As in [`Applied`].
    pub what: &'static str,
    /// Its name.
    pub name: String,
    /// Why.
    pub error: RegistryError,
}

/// Whether something is to be done, or only told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    /// Do it.
    Really,
    /// Only say what would be done.
    DryRun,
}

impl Registry {
    /// Creates an integration.
    ///
    /// # Errors
    /// `UnknownEntity`, `IntegrationExists`, and what [`Registry::apply`] names.
    pub async fn add_integration(
        &self,
        actor: &Actor,
        wanted: &WantedIntegration,
    ) -> Result<Integration, RegistryError> {
        let name = &wanted.spec.name;
        if self.find_integration(name).await?.is_some() {
            return Err(RegistryError::IntegrationExists { name: name.clone() });
        }
        let wanted = std::slice::from_ref(wanted);
        self.apply(actor, wanted, &[], &[], Doing::Really).await?;
        self.integration(name).await
    }

    /// Makes integrations, flows and expectations what they are to be, all of them or none;
    /// what is not named stays as it is.
    ///
    /// # Errors
    /// `UnknownEntity`, `Fields`, `Hardened`, `NoSuchSecret`, `SecretSize`,
    /// `TooManyOfIntegration`, `NoHostKeys`, `FlowPartner`, `Expectation`,
    /// `ExpectationPartner`, `UnknownAccount`, `UnknownLocation`, `Expected`,
    /// `TooManyExpectations`, `IntegrationChanged`, those of sealing, `Store`.
    pub async fn apply(
        &self,
        actor: &Actor,
        wanted: &[WantedIntegration],
        flows: &[FlowDefinition],
        expectations: &[ExpectationDefinition],
        doing: Doing,
    ) -> Result<Vec<Applied>, RegistryError> {
        let applied = self.apply_all(actor, wanted, flows, expectations, doing);
        let mut refused = match applied.await? {
            Ok(applied) => return Ok(applied),
            Err(refused) => refused.into_iter().map(|one| one.error),
        };
        match (refused.next(), refused.len()) {
            (Some(error), 0) => Err(error),
            (first, _) => Err(RegistryError::Several(
                first.into_iter().chain(refused).collect(),
            )),
        }
    }

    /// The same; the inner error is everything that is refused.
    ///
    /// # Errors
    /// `IntegrationChanged`, those of sealing, `Store`.
    pub async fn apply_all(
        &self,
        actor: &Actor,
        wanted: &[WantedIntegration],
        flows: &[FlowDefinition],
        expectations: &[ExpectationDefinition],
        doing: Doing,
    ) -> Result<Result<Vec<Applied>, Vec<Refusal>>, RegistryError> {
        let all = self.list_integrations().await?;
        let mut applied = Vec::new();
        let mut writes = Vec::new();
        let mut refused = Vec::new();
        for wanted in wanted {
            let found = all.iter().find(|one| one.spec.name == wanted.spec.name);
            match self.plan(actor, wanted, found, doing).await {
                Ok((one, write)) => {
                    applied.push(one);
                    writes.extend(write);
                }
                Err(RegistryError::Store(error)) => return Err(error.into()),
                Err(error) => refused.push(Refusal {
                    what: "integration",
                    name: wanted.spec.name.to_string(),
                    error,
                }),
            }
        }
        let flows = self.plan_flows(actor, flows, (&all, wanted)).await?;
        applied.extend(flows.applied);
        refused.extend(flows.refused);
        let mut expectation_writes = Vec::new();
        let planned = self
            .plan_expectations(actor, expectations, (&all, wanted))
            .await?;
        for (name, one) in planned {
            match one {
                Ok((one, write)) => {
                    applied.push(one);
                    expectation_writes.extend(write);
                }
                Err(error) => refused.push(Refusal {
                    what: "expectation",
                    name: name.to_string(),
                    error,
                }),
            }
        }
        if !refused.is_empty() {
            return Ok(Err(refused));
        }
        if doing == Doing::Really {
            self.commit(&writes, &flows.writes, &expectation_writes)
                .await?;
        }
        Ok(Ok(applied))
    }

    /// What one integration would become.
    async fn plan(
        &self,
        actor: &Actor,
        wanted: &WantedIntegration,
        found: Option<&Integration>,
        doing: Doing,
    ) -> Result<(Applied, Option<IntegrationWrite>), RegistryError> {
        let now = self.holdings.now();
        let mut draft = match found {
            Some(found) => Draft::of(found.clone()),
            None => Draft::new(wanted.spec.clone(), now),
        };
        draft.after.spec = wanted.spec.clone();
        self.forget_of_other_protocol(&mut draft);
        draft.forget_lessons_of_another_server();
        self.give_secrets(&mut draft, &wanted.secrets, doing)
            .await?;
        if let Some(locations) = &wanted.locations {
            draft.set_locations(locations, now);
        }
        if let Some(keys) = &wanted.host_keys {
            draft.set_host_keys(keys, actor, now);
        }
        let is_new = draft.before.is_none();
        let action = if is_new {
            "integration.add"
        } else {
            "integration.set"
        };
        let (differences, write) = self.prepare(actor, action, draft).await?;
        let applied = Applied {
            what: "integration",
            name: wanted.spec.name.to_string(),
            is_new,
            differences,
        };
        Ok((applied, write))
    }

    /// Every integration, by name.
    ///
    /// # Errors
    /// `Store`.
    pub async fn list_integrations(&self) -> Result<Vec<Integration>, RegistryError> {
        Ok(self.holdings.store.integrations(None).await?)
    }

    /// An integration, with everything that hangs on it.
    ///
    /// # Errors
    /// `UnknownIntegration`, `Store`.
    pub async fn integration(&self, name: &IntegrationName) -> Result<Integration, RegistryError> {
        let found = self.find_integration(name).await?;
        found.ok_or_else(|| RegistryError::UnknownIntegration { name: name.clone() })
    }

    async fn find_integration(
        &self,
        name: &IntegrationName,
    ) -> Result<Option<Integration>, RegistryError> {
        Ok(self.holdings.store.integrations(Some(name)).await?.pop())
    }

    /// Changes fields and secrets. Returns what differs.
    ///
    /// # Errors
    /// `UnknownIntegration`, and what [`Registry::apply`] names.
    pub async fn change_integration(
        &self,
        actor: &Actor,
        name: &IntegrationName,
        change: impl FnOnce(&mut IntegrationSpec) -> Vec<FieldError>,
        secrets: &[GivenSecret],
    ) -> Result<Vec<Difference>, RegistryError> {
        let mut draft = Draft::of(self.integration(name).await?);
        let errors = change(&mut draft.after.spec);
        if !errors.is_empty() {
            return Err(RegistryError::Fields {
                name: name.clone(),
                errors,
            });
        }
        // Its name is what everything else goes by.
        draft.after.spec.name = name.clone();
        self.forget_of_other_protocol(&mut draft);
        draft.forget_lessons_of_another_server();
        self.give_secrets(&mut draft, secrets, Doing::Really)
            .await?;
        self.finish(actor, "integration.set", draft).await
    }

    /// Removes our side of an integration: nothing happens on the partner's server. Its
    /// secrets are forgotten, flows to it go with it, its name is free; its row stays for
    /// the journal. Returns the flows that went.
    ///
    /// # Errors
    /// `UnknownIntegration`, `Expected`, `IntegrationChanged`, `Store`.
    pub async fn remove_integration(
        &self,
        actor: &Actor,
        name: &IntegrationName,
    ) -> Result<Vec<FlowName>, RegistryError> {
        let draft = Draft::of(self.integration(name).await?);
        self.refuse_expected(&Expecting::Integration(name)).await?;
        let entity = self.entity(&draft.after.spec.entity).await?;
        let flows = self.flow_definitions().await?.into_iter();
        let gone: Vec<_> = flows
            .filter(|flow| flow.partner == *name)
            .map(|flow| flow.name)
            .collect();
        let mut entry = self.integration_entry(actor, "integration.remove", &draft.after.spec);
        if !gone.is_empty() {
            let names: Vec<_> = gone.iter().map(ToString::to_string).collect();
            entry = entry.with("flows", names);
        }
        let write = IntegrationWrite {
            removed: true,
            flows_gone: gone.clone(),
            ..draft.write(entity.id, entry)
        };
        self.commit(&[write], &[], &[]).await?;
        Ok(gone)
    }

    /// Adds a location, or changes one.
    ///
    /// # Errors
    /// `UnknownIntegration`, `LocationExists`, `UnknownLocation`, `TooManyOfIntegration`,
    /// `IntegrationChanged`, `Store`.
    pub async fn put_location(
        &self,
        actor: &Actor,
        name: &IntegrationName,
        wanted: &WantedLocation,
        existing: Existing,
    ) -> Result<Vec<Difference>, RegistryError> {
        let mut draft = Draft::of(self.integration(name).await?);
        let location = wanted.name.clone();
        let name = name.clone();
        match (draft.after.location(&location).is_some(), existing) {
            (true, Existing::Refuse) => {
                return Err(RegistryError::LocationExists { name, location });
            }
            (false, Existing::Change) => {
                return Err(RegistryError::UnknownLocation { name, location });
            }
            _ => {}
        }
        let mut all = wanted_locations(&draft.after);
        all.retain(|one| one.name != location);
        all.push(wanted.clone());
        draft.set_locations(&all, self.holdings.now());
        let action = match existing {
            Existing::Refuse => "location.add",
            Existing::Change => "location.set",
        };
        self.finish(actor, action, draft).await
    }

    /// Forgets a location; nothing happens on the partner's server.
    ///
    /// # Errors
    /// `UnknownIntegration`, `UnknownLocation`, `NeededByFlows`, `Expected`,
    /// `IntegrationChanged`, `Store`.
    pub async fn remove_location(
        &self,
        actor: &Actor,
        name: &IntegrationName,
        location: &LocationName,
    ) -> Result<(), RegistryError> {
        let mut draft = Draft::of(self.integration(name).await?);
        let before = draft.after.locations.len();
        draft.after.locations.retain(|one| one.name != *location);
        if draft.after.locations.len() == before {
            return Err(RegistryError::UnknownLocation {
                name: name.clone(),
                location: location.clone(),
            });
        }
        let goes_there = |flow: &FlowDefinition| {
            flow.partner == *name && flow.target == FlowTarget::Location(location.clone())
        };
        let what = format!("location `{location}` of `{name}`");
        self.refuse_if_needed(&what, goes_there).await?;
        self.finish(actor, "location.remove", draft).await.map(drop)
    }

    /// Notes a host key that a server showed, or trusts one.
    ///
    /// # Errors
    /// `UnknownIntegration`, `NoHostKeys`, `TooManyOfIntegration`, `IntegrationChanged`, `Store`.
    pub async fn put_host_key(
        &self,
        actor: &Actor,
        name: &IntegrationName,
        proof: &HostKeyProof,
        trust: HostKeyTrust,
    ) -> Result<Vec<Difference>, RegistryError> {
        let mut draft = Draft::of(self.integration(name).await?);
        let mut known = draft.after.host_keys.iter();
        let known = known
            .find(|known| known.fingerprint == proof.fingerprint)
            .cloned();
        draft.trust(proof, known, trust, actor, self.holdings.now());
        let action = match trust {
            HostKeyTrust::Seen => "host_key.seen",
            HostKeyTrust::Confirmed => "host_key.confirm",
        };
        self.finish(actor, action, draft).await
    }

    /// Trusts a host key no more.
    ///
    /// # Errors
    /// `UnknownIntegration`, `UnknownHostKey`, `IntegrationChanged`, `Store`.
    pub async fn remove_host_key(
        &self,
        actor: &Actor,
        name: &IntegrationName,
        fingerprint: &str,
    ) -> Result<(), RegistryError> {
        let mut draft = Draft::of(self.integration(name).await?);
        let before = draft.after.host_keys.len();
        draft
            .after
            .host_keys
            .retain(|one| one.fingerprint != fingerprint);
        if draft.after.host_keys.len() == before {
            return Err(RegistryError::UnknownHostKey {
                name: name.clone(),
                fingerprint: fingerprint.to_owned(),
            });
        }
        self.finish(actor, "host_key.remove", draft).await.map(drop)
    }

    /// Keeps what a connection taught us, for the next one; `Null` forgets it.
    ///
    /// # Errors
    /// `UnknownIntegration`, `IntegrationChanged`, `Store`.
    pub async fn learn(
        &self,
        actor: &Actor,
        name: &IntegrationName,
        lesson: &str,
        value: Value,
    ) -> Result<(), RegistryError> {
        let mut draft = Draft::of(self.integration(name).await?);
        let before = match value {
            Value::Null => draft.after.learned.remove(lesson),
            ref value => draft.after.learned.insert(lesson.to_owned(), value.clone()),
        };
        let is = Some(value).filter(|value| !value.is_null());
        if before != is {
            let text = |value: Option<Value>| value.map(|value| value.to_string());
            draft.tell(format!("learned.{lesson}"), text(before), text(is));
        }
        self.finish(actor, "integration.learn", draft)
            .await
            .map(drop)
    }

    fn integration_entry(
        &self,
        actor: &Actor,
        action: &'static str,
        spec: &IntegrationSpec,
    ) -> NewEntry {
        self.entry(actor, action)
            .entity(&spec.entity)
            .with("integration", spec.name.as_str())
    }

    /// Secrets and host keys that the protocol does not have go with it.
    fn forget_of_other_protocol(&self, draft: &mut Draft) {
        let protocol = draft.after.spec.protocol;
        let gone = draft
            .after
            .secrets
            .extract_if(.., |one| !one.purpose.is_of(protocol));
        let gone: Vec<_> = gone.collect();
        for one in gone {
            draft.tell(one.purpose.as_str(), Some(one.told()), None);
        }
        if protocol != IntegrationProtocol::Sftp {
            draft.after.host_keys.clear();
        }
    }

    async fn finish(
        &self,
        actor: &Actor,
        action: &'static str,
        draft: Draft,
    ) -> Result<Vec<Difference>, RegistryError> {
        let (differences, write) = self.prepare(actor, action, draft).await?;
        if let Some(write) = write {
            self.commit(&[write], &[], &[]).await?;
        }
        Ok(differences)
    }

    /// Checks what an integration would become; no write where nothing differs.
    async fn prepare(
        &self,
        actor: &Actor,
        action: &'static str,
        draft: Draft,
    ) -> Result<(Vec<Difference>, Option<IntegrationWrite>), RegistryError> {
        let spec = &draft.after.spec;
        let name = || spec.name.clone();
        let errors = spec.contradictions();
        if !errors.is_empty() {
            return Err(RegistryError::Fields {
                name: name(),
                errors,
            });
        }
        let breaches = draft.new_breaches();
        if self.hardened && !breaches.is_empty() {
            return Err(RegistryError::Hardened {
                name: name(),
                breaches,
            });
        }
        if spec.protocol != IntegrationProtocol::Sftp && !draft.after.host_keys.is_empty() {
            return Err(RegistryError::NoHostKeys {
                name: name(),
                protocol: spec.protocol,
            });
        }
        for (what, count, limit) in [
            ("locations", draft.after.locations.len(), MAX_LOCATIONS),
            ("host keys", draft.after.host_keys.len(), MAX_HOST_KEYS),
        ] {
            if count > limit {
                return Err(RegistryError::TooManyOfIntegration {
                    name: name(),
                    what,
                    count,
                    limit,
                });
            }
        }
        for location in draft.locations_gone() {
            self.refuse_expected(&Expecting::Location(&spec.name, location))
                .await?;
        }
        let entity = self.entity(&spec.entity).await?;
        let differences = draft.differences();
        let is_same = draft.before.is_some() && differences.is_empty();
        if is_same {
            return Ok((differences, None));
        }
        let entry = told(self.integration_entry(actor, action, spec), &differences);
        Ok((differences, Some(draft.write(entity.id, entry))))
    }

    async fn commit(
        &self,
        writes: &[IntegrationWrite],
        flows: &[FlowWrite],
        expectations: &[ExpectationWrite],
    ) -> Result<(), RegistryError> {
        if writes.is_empty() && flows.is_empty() && expectations.is_empty() {
            return Ok(());
        }
        let now = self.holdings.now();
        let done = self
            .holdings
            .store
            .write_integrations(writes, flows, expectations, now)
            .await?;
        done.ok_or_else(|| RegistryError::IntegrationChanged {
            name: writes
                .iter()
                .map(|write| write.spec.name.as_str())
                .collect::<Vec<_>>()
                .join(", "),
        })
    }
}

fn wanted_locations(integration: &Integration) -> Vec<WantedLocation> {
    let locations = integration.locations.iter();
    locations
        .map(|one| WantedLocation {
            name: one.name.clone(),
            path: one.path.clone(),
            direction: one.direction,
        })
        .collect()
}
