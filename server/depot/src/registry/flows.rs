//! Flows, as operators change them and look at them. `apply` (`integrations.rs`) writes
//! the definitions, together with the integrations that they need.

use super::integrations::{Applied, Refusal, definition_differences, told};
use super::{Doing, Existing, Registry, RegistryError};
use crate::account::Actor;
use crate::flow::{FlowFile, FlowFileId, FlowRun, FlowRunId, FlowStanding};
use crate::integration::{
    Difference, FlowDefinition, FlowTarget, Integration, WantedIntegration, ZoneName,
};
use crate::recover::SILENT_AFTER;
use crate::store::FlowWrite;
use crate::{EntityName, FlowName, HomeId, IntegrationName, VirtualPath};

/// Flows that a refusal names.
const MAX_NAMED: usize = 5;

/// What flows would become.
#[derive(Default)]
pub(super) struct PlannedFlows {
    pub(super) applied: Vec<Applied>,
    pub(super) writes: Vec<FlowWrite>,
    pub(super) refused: Vec<Refusal>,
}

impl Registry {
    /// Every flow, by name, with its schedule.
    ///
    /// # Errors
    /// `Store`.
    pub async fn list_flows(&self) -> Result<Vec<FlowStanding>, RegistryError> {
        Ok(self.holdings.store.flows(None).await?)
    }

    /// Flows as they were applied, by name.
    ///
    /// # Errors
    /// `Store`.
    pub async fn flow_definitions(&self) -> Result<Vec<FlowDefinition>, RegistryError> {
        Ok(self.holdings.store.flow_definitions().await?)
    }

    /// A flow.
    ///
    /// # Errors
    /// `UnknownFlow`, `Store`.
    pub async fn flow(&self, name: &FlowName) -> Result<FlowStanding, RegistryError> {
        let found = self.holdings.store.flows(Some(name)).await?.pop();
        found.ok_or_else(|| RegistryError::UnknownFlow { name: name.clone() })
    }

    /// Adds a flow, or changes one. Its schedule is planned anew from now on. Returns
    /// what differs.
    ///
    /// # Errors
    /// `FlowExists`, `UnknownFlow`, and what [`Registry::apply`] names.
    pub async fn put_flow(
        &self,
        actor: &Actor,
        flow: &FlowDefinition,
        existing: Existing,
    ) -> Result<Vec<Difference>, RegistryError> {
        match (self.flow(&flow.name).await, existing) {
            (Ok(_), Existing::Change)
            | (Err(RegistryError::UnknownFlow { .. }), Existing::Refuse) => {}
            (Ok(_), Existing::Refuse) => {
                return Err(RegistryError::FlowExists {
                    name: flow.name.clone(),
                });
            }
            (Err(error), _) => return Err(error),
        }
        let flows = std::slice::from_ref(flow);
        let applied = self.apply(actor, &[], flows, &[], Doing::Really).await?;
        Ok(applied
            .into_iter()
            .flat_map(|one| one.differences)
            .collect())
    }

    /// Removes a flow, with what is remembered of it: another one of its name would move
    /// every file again. A run that is under way ends at its next step.
    ///
    /// # Errors
    /// `UnknownFlow`, `Store`.
    pub async fn remove_flow(&self, actor: &Actor, name: &FlowName) -> Result<(), RegistryError> {
        let entry = self.entry(actor, "flow.remove").with("flow", name.as_str());
        let done = self.holdings.store.remove_flow(name, &entry).await?;
        done.ok_or_else(|| RegistryError::UnknownFlow { name: name.clone() })
    }

    /// Asks for a run; a server begins it within seconds.
    ///
    /// # Errors
    /// `UnknownFlow`, `FlowWithoutHome`, `Store`.
    pub async fn ask_run(
        &self,
        actor: &Actor,
        name: &FlowName,
    ) -> Result<FlowRunId, RegistryError> {
        let flow = self.flow(name).await?;
        if flow.definition.home().is_none() {
            return Err(RegistryError::FlowWithoutHome {
                name: name.clone(),
                local: flow.definition.local.to_string(),
            });
        }
        let entry = self.entry(actor, "flow.ask").with("flow", name.as_str());
        let now = self.holdings.now();
        let store = &self.holdings.store;
        let run = store.ask_run(name, actor.as_str(), now, &entry).await?;
        run.ok_or_else(|| RegistryError::UnknownFlow { name: name.clone() })
    }

    /// Files that were given up are tried again, by a run that is due at once. Returns how
    /// many they are.
    ///
    /// # Errors
    /// `UnknownFlow`, `FlowWithoutHome`, `Store`.
    pub async fn retry_flow(
        &self,
        actor: &Actor,
        name: &FlowName,
    ) -> Result<(u64, FlowRunId), RegistryError> {
        self.flow(name).await?;
        let entry = self.entry(actor, "flow.retry").with("flow", name.as_str());
        let files = self.holdings.store.revive_files(name, &entry).await?;
        Ok((files, self.ask_run(actor, name).await?))
    }

    /// Whether a server was heard of within the time after which one counts as dead.
    ///
    /// # Errors
    /// `Store`.
    pub async fn hears_a_server(&self) -> Result<bool, RegistryError> {
        let silent_before = self.holdings.now().saturating_sub(SILENT_AFTER);
        let (store, node) = (&self.holdings.store, &self.holdings.node);
        Ok(store.others_live(node, silent_before).await?)
    }

    /// Runs of a flow before this one, the newest first.
    ///
    /// # Errors
    /// `UnknownFlow`, `Store`.
    pub async fn flow_history(
        &self,
        name: &FlowName,
        before: Option<FlowRunId>,
        limit: usize,
    ) -> Result<Vec<FlowRun>, RegistryError> {
        self.flow(name).await?;
        let store = &self.holdings.store;
        Ok(store.run_history(name, before, limit).await?)
    }

    /// A run; none when it is not, or no longer, remembered.
    ///
    /// # Errors
    /// `Store`.
    pub async fn flow_run(&self, run: FlowRunId) -> Result<Option<FlowRun>, RegistryError> {
        Ok(self.holdings.store.flow_run(run).await?)
    }

    /// Files that a run had to do with last, behind this one.
    ///
    /// # Errors
    /// `Store`.
    pub async fn files_of_run(
        &self,
        run: FlowRunId,
        after: FlowFileId,
        limit: usize,
    ) -> Result<Vec<FlowFile>, RegistryError> {
        Ok(self.holdings.store.files_of_run(run, after, limit).await?)
    }

    /// Files of a flow that it is not done with, by name.
    ///
    /// # Errors
    /// `Store`.
    pub async fn open_flow_files(&self, name: &FlowName) -> Result<Vec<FlowFile>, RegistryError> {
        Ok(self.holdings.store.open_files(name).await?)
    }

    /// The zone of an entity's days and schedules; none: UTC.
    ///
    /// # Errors
    /// `UnknownEntity`, `Store`.
    pub async fn set_entity_zone(
        &self,
        actor: &Actor,
        name: &EntityName,
        zone: Option<&ZoneName>,
    ) -> Result<(), RegistryError> {
        let entity = self.entity(name).await?;
        let told = zone.map_or("UTC", ZoneName::as_str);
        let entry = self
            .entry(actor, "entity.set")
            .entity(name)
            .with("time_zone", told);
        let (zone, now) = (zone.map(ZoneName::as_str), self.holdings.now());
        let store = &self.holdings.store;
        Ok(store.set_entity_zone(entity.id, zone, now, &entry).await?)
    }

    /// What becomes of each of these flows, given the integrations that there are and those
    /// that are wanted.
    pub(super) async fn plan_flows(
        &self,
        actor: &Actor,
        flows: &[FlowDefinition],
        (all, wanted): (&[Integration], &[WantedIntegration]),
    ) -> Result<PlannedFlows, RegistryError> {
        let known = self.flow_definitions().await?;
        let mut planned = PlannedFlows::default();
        for flow in flows {
            let refusal = |error| Refusal {
                what: "flow",
                name: flow.name.to_string(),
                error,
            };
            let is_there = |name: &IntegrationName| {
                all.iter().any(|one| one.spec.name == *name)
                    || wanted.iter().any(|one| one.spec.name == *name)
            };
            if !is_there(&flow.partner) {
                planned.refused.push(refusal(RegistryError::FlowPartner {
                    flow: flow.name.clone(),
                    partner: flow.partner.clone(),
                }));
            }
            planned
                .refused
                .extend(wrong_place(flow, wanted, all).map(refusal));
            let before = known.iter().find(|one| one.name == flow.name);
            let differences = definition_differences(before, flow);
            let is_new = before.is_none();
            if !differences.is_empty() {
                let action = if is_new { "flow.add" } else { "flow.set" };
                let entry = self.entry(actor, action).with("flow", flow.name.as_str());
                let entity = entity_of(&flow.partner, wanted, all);
                let entry = told(entry, &differences);
                match self.flow_write(flow, entity, entry).await {
                    Ok(write) => planned.writes.push(write),
                    Err(RegistryError::Store(error)) => return Err(error.into()),
                    Err(error) => planned.refused.push(refusal(error)),
                }
            }
            planned.applied.push(Applied {
                what: "flow",
                name: flow.name.to_string(),
                is_new,
                differences,
            });
        }
        Ok(planned)
    }

    /// What is written of a flow that is as an operator wants it.
    async fn flow_write(
        &self,
        flow: &FlowDefinition,
        entity: Option<&EntityName>,
        entry: crate::journal::NewEntry,
    ) -> Result<FlowWrite, RegistryError> {
        flow.check().map_err(|fault| RegistryError::Flow {
            name: flow.name.clone(),
            fault,
        })?;
        let arrival = self.arrival(flow, entity).await?;
        Ok(FlowWrite {
            flow: flow.clone(),
            arrival,
            entry,
        })
    }

    /// Refuses to remove what flows need.
    pub(super) async fn refuse_if_needed(
        &self,
        what: &str,
        needs: impl Fn(&FlowDefinition) -> bool,
    ) -> Result<(), RegistryError> {
        let flows = self.flow_definitions().await?;
        let needing = flows.into_iter().filter(needs).map(|flow| flow.name);
        let flows: Vec<_> = needing.take(MAX_NAMED).collect();
        if flows.is_empty() {
            return Ok(());
        }
        Err(RegistryError::NeededByFlows {
            what: what.to_owned(),
            flows,
        })
    }

    /// The folder in which it is told of arrivals.
    async fn arrival(
        &self,
        flow: &FlowDefinition,
        entity: Option<&EntityName>,
    ) -> Result<Option<(HomeId, VirtualPath)>, RegistryError> {
        let Some(home) = flow.home() else {
            return Ok(None);
        };
        let account = self.account(&home.account).await?;
        // Another entity's account is another partner's: its files go to this one's server
        // only when somebody says that it is meant.
        if let Some(other) = entity
            && account.entity != *other
            && !flow.rules.other_entity
        {
            return Err(RegistryError::FlowOtherEntity {
                flow: flow.name.clone(),
                entity: account.entity,
                partner: flow.partner.clone(),
                other: other.clone(),
            });
        }
        if !flow.enabled || !flow.rules.on_arrival {
            return Ok(None);
        }
        let found = self.holdings.store.home(&account.home).await?;
        Ok(found.map(|(id, _)| (id, home.folder)))
    }
}

/// The entity of an integration, as it is to be.
fn entity_of<'a>(
    name: &IntegrationName,
    wanted: &'a [WantedIntegration],
    all: &'a [Integration],
) -> Option<&'a EntityName> {
    let wanted = wanted.iter().map(|one| &one.spec);
    let specs = wanted.chain(all.iter().map(|one| &one.spec));
    let mut specs = specs.filter(|spec| spec.name == *name);
    specs.next().map(|spec| &spec.entity)
}

/// Whether a flow's location is for the other way, or not there at all; a flow that is
/// disabled may wait for it.
fn wrong_place(
    flow: &FlowDefinition,
    wanted: &[WantedIntegration],
    all: &[Integration],
) -> Option<RegistryError> {
    let FlowTarget::Location(location) = &flow.target else {
        return None;
    };
    let wanted = wanted.iter().find(|one| one.spec.name == flow.partner);
    let found = all.iter().find(|one| one.spec.name == flow.partner);
    let is_for = match wanted.and_then(|one| one.locations.as_ref()) {
        Some(locations) => {
            let mut locations = locations.iter();
            locations
                .find(|one| one.name == *location)
                .map(|one| one.direction)
        }
        None => found
            .and_then(|one| one.location(location))
            .map(|one| one.direction),
    };
    let Some(is_for) = is_for else {
        // Without the integration that is told, and enough.
        let is_missing = flow.enabled && (wanted.is_some() || found.is_some());
        return is_missing.then(|| RegistryError::UnknownLocation {
            name: flow.partner.clone(),
            location: location.clone(),
        });
    };
    (!is_for.is_for(flow.direction)).then(|| RegistryError::FlowDirection {
        flow: flow.name.clone(),
        direction: flow.direction,
        partner: flow.partner.clone(),
        location: location.clone(),
        is_for,
    })
}
