//! Secrets fetched and settings read: all of them, and every fault is told.

use layover_depot::{
    Certificates, Credential, Integration, IntegrationProtocol, Registry, SecretPurpose,
    SecretReference, SecretSlot,
};

use super::{Door, Partner, PartnerError, Surroundings, ftps, sftp};
use crate::secret_ref::SecretRef;
use crate::witness::Witness;
use layover_depot::Secret;

/// A secret or certificate that was fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// What it is for, in words.
    pub what: &'static str,
    /// Where it came from; never the value.
    pub from: String,
}

/// An integration that cannot be used.
#[derive(Debug)]
pub struct Unready {
    /// What could be fetched nevertheless.
    pub resolved: Vec<Resolved>,
    /// Why it cannot be used, at least one.
    pub errors: Vec<PartnerError>,
}

/// Gathers what a connection needs.
pub(super) struct Preparation<'a> {
    pub(super) registry: &'a Registry,
    pub(super) integration: &'a Integration,
    pub(super) surroundings: &'a Surroundings,
    pub(super) resolved: Vec<Resolved>,
    pub(super) errors: Vec<PartnerError>,
}

impl Partner {
    /// Reads settings and fetches secrets. Nothing is sent to the partner.
    ///
    /// # Errors
    /// The first of [`Partner::examine`]'s.
    pub async fn prepare(
        registry: &Registry,
        integration: Integration,
        surroundings: &Surroundings,
    ) -> Result<Self, PartnerError> {
        let name = integration.spec.name.clone();
        let examined = Self::examine(registry, integration, surroundings).await;
        examined.map_err(|unready| {
            let mut errors = unready.errors.into_iter();
            errors.next().unwrap_or(PartnerError::Missing {
                name,
                what: "usable settings",
                remedy: "look at it: layover integration show".to_owned(),
            })
        })
    }

    /// The same, telling everything that is wrong.
    ///
    /// # Errors
    /// [`Unready`].
    pub async fn examine(
        registry: &Registry,
        integration: Integration,
        surroundings: &Surroundings,
    ) -> Result<Self, Unready> {
        let mut preparation = Preparation::new(registry, &integration, surroundings);
        preparation.refuse_breaches();
        let door = match integration.spec.protocol {
            IntegrationProtocol::Ftps | IntegrationProtocol::Ftp => ftps::options(&mut preparation)
                .await
                .map(|options| Door::Ftps(Box::new(options))),
            IntegrationProtocol::Sftp => sftp::options(&mut preparation)
                .await
                .map(|options| Door::Sftp(Box::new(options))),
        };
        let Preparation {
            resolved, errors, ..
        } = preparation;
        match door {
            Some(door) if errors.is_empty() => {
                let witness = Witness::default();
                let learned = super::lessons::knows_tls12_only(&integration);
                witness.note(|seen| seen.tls12_only = learned);
                Ok(Self {
                    integration,
                    door,
                    resolved,
                    witness,
                })
            }
            _ => Err(Unready { resolved, errors }),
        }
    }
}

impl<'a> Preparation<'a> {
    pub(super) fn new(
        registry: &'a Registry,
        integration: &'a Integration,
        surroundings: &'a Surroundings,
    ) -> Self {
        Self {
            registry,
            integration,
            surroundings,
            resolved: Vec::new(),
            errors: Vec::new(),
        }
    }

    fn refuse_breaches(&mut self) {
        let breaches = self.integration.breaches();
        if self.surroundings.hardened && !breaches.is_empty() {
            let name = self.integration.spec.name.clone();
            self.errors.push(PartnerError::Hardened { name, breaches });
        }
    }

    /// What an operator has to give first.
    pub(super) fn missing(&mut self, what: &'static str, remedy: &str) {
        let name = self.integration.spec.name.clone();
        let remedy = format!("{remedy}: layover integration");
        let remedy = match what {
            "SSH key" | "PGP key" => {
                let noun = if what == "SSH key" { "key" } else { "pgp" };
                format!("{remedy} {noun} rotate {name}")
            }
            "confirmed host key" => format!("{remedy} host-key list {name}"),
            "client certificate" => format!("{remedy} set {name} --client-certificate FILE"),
            "client key" => format!("{remedy} set {name} --client-key REFERENCE"),
            _ => format!("{remedy} set {name} --password env:NAME"),
        };
        self.errors
            .push(PartnerError::Missing { name, what, remedy });
    }

    pub(super) fn unusable(&mut self, field: &'static str, detail: impl ToString) {
        let detail = detail.to_string();
        self.errors.push(PartnerError::Field { field, detail });
    }

    pub(super) fn has(&self, purpose: SecretPurpose) -> bool {
        let secret = self.integration.secret(purpose, SecretSlot::Current);
        secret.is_some()
    }

    /// A secret, where there is one; a fault is noted.
    pub(super) async fn secret(
        &mut self,
        purpose: SecretPurpose,
        slot: SecretSlot,
    ) -> Option<Secret> {
        let kept = self.integration.secret(purpose, slot)?;
        let (what, from) = (words(purpose, slot), kept.told());
        let name = &self.integration.spec.name;
        let secret = match self.registry.credential(name, purpose, slot).await {
            Ok(Some(Credential::Value(value))) => Ok(value),
            Ok(Some(Credential::Reference(reference))) => self.follow(what, &reference).await,
            Ok(None) => return None,
            Err(source) => Err(PartnerError::Sealed { what, source }),
        };
        self.keep(what, from, secret)
    }

    /// Certificates, given or by reference; a fault is noted.
    pub(super) async fn certificates(
        &mut self,
        what: &'static str,
        given: &Certificates,
    ) -> Option<Vec<u8>> {
        let Some(reference) = given.reference() else {
            self.resolved.push(Resolved {
                what,
                from: "given as text".to_owned(),
            });
            return Some(given.as_str().as_bytes().to_vec());
        };
        let pem = self.follow(what, &reference).await;
        let pem = self.keep(what, reference.to_string(), pem)?;
        Some(pem.expose().to_vec())
    }

    async fn follow(
        &self,
        what: &'static str,
        reference: &SecretReference,
    ) -> Result<Secret, PartnerError> {
        let read: Result<SecretRef, _> = reference.as_str().parse();
        let Ok(read) = read else {
            let reference = reference.to_string();
            return Err(PartnerError::Reference { what, reference });
        };
        let secret = read.resolve(&self.surroundings.secrets).await;
        secret.map_err(|source| PartnerError::Secret { what, source })
    }

    fn keep<T>(
        &mut self,
        what: &'static str,
        from: String,
        secret: Result<T, PartnerError>,
    ) -> Option<T> {
        match secret {
            Ok(secret) => {
                self.resolved.push(Resolved { what, from });
                Some(secret)
            }
            Err(error) => {
                self.errors.push(error);
                None
            }
        }
    }
}

/// A secret in words.
fn words(purpose: SecretPurpose, slot: SecretSlot) -> &'static str {
    match (purpose, slot) {
        (SecretPurpose::Password, _) => "password",
        (SecretPurpose::ClientKey, _) => "client key",
        (SecretPurpose::ClientKeyPassphrase, _) => "client key's passphrase",
        (SecretPurpose::SshKey, SecretSlot::Current) => "SSH key",
        (SecretPurpose::SshKey, SecretSlot::Previous) => "SSH key before it",
        (SecretPurpose::PgpKey, SecretSlot::Current) => "PGP key",
        (SecretPurpose::PgpKey, SecretSlot::Previous) => "PGP key before it",
    }
}
