//! Files that are expected, as operators change them and look at them. `apply`
//! (`integrations.rs`) writes the definitions.

use super::integrations::{Applied, definition_differences, told};
use super::{Doing, Existing, Registry, RegistryError};
use crate::account::Actor;
use crate::expectation::{
    ExpectationDay, ExpectationDefinition, ExpectationStanding, ExpectedPlace, MAX_EXPECTATIONS,
};
use crate::integration::{Difference, FlowTarget, Integration, WantedIntegration};
use crate::store::ExpectationWrite;
use crate::{AccountName, EntityName, ExpectationName, IntegrationName, LocationName};

/// What an expectation may be at.
pub(super) enum Expecting<'a> {
    Account(&'a AccountName),
    Integration(&'a IntegrationName),
    Location(&'a IntegrationName, &'a LocationName),
}

impl Expecting<'_> {
    fn is_at(&self, place: &ExpectedPlace) -> bool {
        match (self, place) {
            (Self::Account(account), ExpectedPlace::Here { home }) => home.account == **account,
            (Self::Integration(name), ExpectedPlace::There { partner, .. }) => partner == *name,
            (Self::Location(name, location), ExpectedPlace::There { partner, target }) => {
                let at = matches!(target, FlowTarget::Location(at) if at == *location);
                at && partner == *name
            }
            _ => false,
        }
    }

    fn told(&self) -> String {
        match self {
            Self::Account(account) => format!("account `{account}`"),
            Self::Integration(name) => format!("integration `{name}`"),
            Self::Location(name, location) => {
                format!("location `{location}` of integration `{name}`")
            }
        }
    }
}

/// What `apply` makes of one expectation, or why it does not.
type Planned = Result<(Applied, Option<ExpectationWrite>), RegistryError>;

impl Registry {
    /// Every expectation, by name, with its last day.
    ///
    /// # Errors
    /// `Store`.
    pub async fn list_expectations(&self) -> Result<Vec<ExpectationStanding>, RegistryError> {
        Ok(self.holdings.store.expectations(None).await?)
    }

    /// An expectation.
    ///
    /// # Errors
    /// `UnknownExpectation`, `Store`.
    pub async fn expectation(
        &self,
        name: &ExpectationName,
    ) -> Result<ExpectationStanding, RegistryError> {
        let found = self.holdings.store.expectations(Some(name)).await?.pop();
        found.ok_or_else(|| RegistryError::UnknownExpectation { name: name.clone() })
    }

    /// Adds an expectation, or changes one. Its deadlines count from now on; of one that
    /// is disabled nobody looks any more at what was open. Returns what differs.
    ///
    /// # Errors
    /// `ExpectationExists`, `UnknownExpectation`, and what [`Registry::apply`] names.
    pub async fn put_expectation(
        &self,
        actor: &Actor,
        expectation: &ExpectationDefinition,
        existing: Existing,
    ) -> Result<Vec<Difference>, RegistryError> {
        match (self.expectation(&expectation.name).await, existing) {
            (Ok(_), Existing::Change)
            | (Err(RegistryError::UnknownExpectation { .. }), Existing::Refuse) => {}
            (Ok(_), Existing::Refuse) => {
                return Err(RegistryError::ExpectationExists {
                    name: expectation.name.clone(),
                });
            }
            (Err(error), _) => return Err(error),
        }
        let expectations = std::slice::from_ref(expectation);
        let applied = self
            .apply(actor, &[], &[], expectations, Doing::Really)
            .await?;
        Ok(applied
            .into_iter()
            .flat_map(|one| one.differences)
            .collect())
    }

    /// Removes an expectation, with what is remembered of its days.
    ///
    /// # Errors
    /// `UnknownExpectation`, `Store`.
    pub async fn remove_expectation(
        &self,
        actor: &Actor,
        name: &ExpectationName,
    ) -> Result<(), RegistryError> {
        let standing = self.expectation(name).await?;
        let entry = self
            .entry(actor, "expectation.remove")
            .entity(&standing.entity)
            .with("expectation", name.as_str());
        let store = &self.holdings.store;
        let done = store.remove_expectation(name, &entry).await?;
        done.ok_or_else(|| RegistryError::UnknownExpectation { name: name.clone() })
    }

    /// The days of an expectation, the newest first.
    ///
    /// # Errors
    /// `UnknownExpectation`, `Store`.
    pub async fn expectation_history(
        &self,
        name: &ExpectationName,
        limit: usize,
    ) -> Result<Vec<ExpectationDay>, RegistryError> {
        self.expectation(name).await?;
        Ok(self.holdings.store.days_of(name, limit).await?)
    }

    /// Refuses to take away where files are expected.
    pub(super) async fn refuse_expected(
        &self,
        expecting: &Expecting<'_>,
    ) -> Result<(), RegistryError> {
        let all = self.list_expectations().await?.into_iter();
        let at = all.filter(|one| expecting.is_at(&one.definition.place));
        let expectations: Vec<_> = at.map(|one| one.definition.name).collect();
        if expectations.is_empty() {
            return Ok(());
        }
        Err(RegistryError::Expected {
            place: expecting.told(),
            expectations,
        })
    }

    /// What becomes of each of these expectations, given the integrations that there are
    /// and those that are wanted.
    pub(super) async fn plan_expectations(
        &self,
        actor: &Actor,
        expectations: &[ExpectationDefinition],
        integrations: (&[Integration], &[WantedIntegration]),
    ) -> Result<Vec<(ExpectationName, Planned)>, RegistryError> {
        let Some(last) = expectations.last() else {
            return Ok(Vec::new());
        };
        let known = self.list_expectations().await?;
        let mut count = known.len();
        let mut planned = Vec::new();
        for expectation in expectations {
            let before = known
                .iter()
                .map(|one| &one.definition)
                .find(|one| one.name == expectation.name);
            count += usize::from(before.is_none());
            match self
                .plan_expectation(actor, expectation, before, integrations)
                .await
            {
                Err(RegistryError::Store(error)) => return Err(error.into()),
                one => planned.push((expectation.name.clone(), one)),
            }
        }
        if count > MAX_EXPECTATIONS {
            planned.push((last.name.clone(), Err(RegistryError::TooManyExpectations)));
        }
        Ok(planned)
    }

    async fn plan_expectation(
        &self,
        actor: &Actor,
        expectation: &ExpectationDefinition,
        before: Option<&ExpectationDefinition>,
        integrations: (&[Integration], &[WantedIntegration]),
    ) -> Planned {
        let name = &expectation.name;
        expectation
            .check()
            .map_err(|fault| RegistryError::Expectation {
                name: name.clone(),
                fault,
            })?;
        let owner = self.owner(expectation, integrations).await?;
        let differences = definition_differences(before, expectation);
        let is_new = before.is_none();
        let write = if differences.is_empty() {
            None
        } else {
            let action = match is_new {
                true => "expectation.add",
                false => "expectation.set",
            };
            let entry = self
                .entry(actor, action)
                .entity(&owner)
                .with("expectation", name.as_str());
            Some(ExpectationWrite {
                definition: expectation.clone(),
                entity: self.entity(&owner).await?.id,
                entry: told(entry, &differences),
            })
        };
        let applied = Applied {
            what: "expectation",
            name: name.to_string(),
            is_new,
            differences,
        };
        Ok((applied, write))
    }

    /// Whose it is: the account's, or the integration's.
    async fn owner(
        &self,
        expectation: &ExpectationDefinition,
        (all, wanted): (&[Integration], &[WantedIntegration]),
    ) -> Result<EntityName, RegistryError> {
        let (partner, target) = match &expectation.place {
            ExpectedPlace::Here { home } => return Ok(self.account(&home.account).await?.entity),
            ExpectedPlace::There { partner, target } => (partner, target),
        };
        let known = all.iter().find(|one| one.spec.name == *partner);
        let wanted = wanted.iter().find(|one| one.spec.name == *partner);
        let spec = wanted
            .map(|one| &one.spec)
            .or_else(|| known.map(|one| &one.spec));
        let spec = spec.ok_or_else(|| RegistryError::ExpectationPartner {
            expectation: expectation.name.clone(),
            partner: partner.clone(),
        })?;
        if let FlowTarget::Location(location) = target {
            let is_there = match wanted.and_then(|one| one.locations.as_ref()) {
                Some(locations) => locations.iter().any(|one| one.name == *location),
                None => known.is_some_and(|one| one.location(location).is_some()),
            };
            if !is_there {
                return Err(RegistryError::UnknownLocation {
                    name: partner.clone(),
                    location: location.clone(),
                });
            }
        }
        Ok(spec.entity.clone())
    }
}
