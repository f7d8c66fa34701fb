//! Secrets that are sealed in the database: sealed, opened, and sealed anew with
//! another master key.

use std::path::Path;

use super::{Registry, RegistryError};
use crate::account::Actor;
use crate::data_dir;
use crate::envelope::{EnvelopeError, MasterKeys, Place};
use crate::event::Hook;
use crate::integration::{Credential, KeptSecret, SecretForm, SecretPurpose, SecretSlot};
use crate::store::{Resealed, Store};
use crate::{HookName, IntegrationName, Secret};

/// Values that one transaction seals anew: a writer waits for it.
const RESEALED_AT_ONCE: usize = 100;

/// The master keys of this node, as they are now.
pub(super) struct Vault {
    keys: MasterKeys,
}

fn place<'a>(handle: &'a str, column: &'a str) -> Place<'a> {
    Place {
        table: "integration_secrets",
        row: handle,
        column,
    }
}

/// Where a hook's secret is bound to.
fn hook_place(handle: &str) -> Place<'_> {
    Place {
        table: "hooks",
        row: handle,
        column: "sealed",
    }
}

fn column(purpose: SecretPurpose) -> String {
    format!("sealed:{purpose}")
}

impl Vault {
    /// To seal something; the first master key is made where nothing is sealed yet.
    pub(super) async fn for_sealing(store: &Store, data_dir: &Path) -> Result<Self, RegistryError> {
        let path = data_dir::master_keys(data_dir)?;
        // What others have sealed cannot be opened with a key of our own.
        if data_dir::is_missing(&path) && !store.sealing_keys().await?.is_empty() {
            return Err(RegistryError::NoMasterKeys);
        }
        Ok(Self {
            keys: MasterKeys::load(&path)?,
        })
    }

    /// To open something.
    pub(super) fn for_opening(data_dir: &Path) -> Result<Self, RegistryError> {
        let path = data_dir::master_keys(data_dir)?;
        if data_dir::is_missing(&path) {
            return Err(RegistryError::NoMasterKeys);
        }
        Ok(Self {
            keys: MasterKeys::load(&path)?,
        })
    }

    /// What a sealed value is bound to: random, because a row has no number before
    /// it is written.
    pub(super) fn handle() -> Result<String, RegistryError> {
        let mut bytes = [0_u8; 16];
        getrandom::fill(&mut bytes).map_err(|_| EnvelopeError::Failed {
            what: "the system's random source",
        })?;
        Ok(hex::encode(bytes))
    }

    /// With the name of the master key.
    pub(super) fn seal(
        &self,
        handle: &str,
        purpose: SecretPurpose,
        value: &Secret,
    ) -> Result<(Vec<u8>, String), RegistryError> {
        let sealed = self
            .keys
            .seal(place(handle, &column(purpose)), value.expose())?;
        Ok((sealed, self.newest()))
    }

    fn open(
        &self,
        handle: &str,
        purpose: SecretPurpose,
        sealed: &[u8],
    ) -> Result<Secret, RegistryError> {
        Ok(self.keys.open(place(handle, &column(purpose)), sealed)?)
    }

    /// A hook's secret, with the name of the master key.
    pub(super) fn seal_hook(
        &self,
        handle: &str,
        value: &Secret,
    ) -> Result<(Vec<u8>, String), RegistryError> {
        let sealed = self.keys.seal(hook_place(handle), value.expose())?;
        Ok((sealed, self.newest()))
    }

    pub(super) fn open_hook(&self, handle: &str, sealed: &[u8]) -> Result<Secret, RegistryError> {
        Ok(self.keys.open(hook_place(handle), sealed)?)
    }

    fn newest(&self) -> String {
        self.keys.ids().next().unwrap_or_default().to_owned()
    }
}

/// A secret that is kept, and whose it is; never its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretNote {
    /// What proves who we are at a partner's server.
    OfIntegration {
        /// The integration.
        integration: IntegrationName,
        /// The secret.
        secret: KeptSecret,
    },
    /// What a hook's requests are signed with.
    OfHook {
        /// The hook.
        hook: HookName,
        /// In which form it is kept.
        form: SecretForm,
    },
}

/// What a rotation of the master key did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RotationReport {
    /// The new key.
    pub key_id: String,
    /// Values that were sealed anew.
    pub values: u64,
    /// Keys that were forgotten.
    pub dropped: Vec<String>,
}

impl Registry {
    /// Every secret that is kept, by integration, then by hook.
    ///
    /// # Errors
    /// `Store`.
    pub async fn list_secrets(&self) -> Result<Vec<SecretNote>, RegistryError> {
        let mut notes = Vec::new();
        for integration in self.list_integrations().await? {
            let name = integration.spec.name;
            let of_integration = |secret| SecretNote::OfIntegration {
                integration: name.clone(),
                secret,
            };
            notes.extend(integration.secrets.into_iter().map(of_integration));
        }
        let of_hook = |hook: Hook| SecretNote::OfHook {
            hook: hook.name,
            form: hook.secret,
        };
        notes.extend(self.list_hooks().await?.into_iter().map(of_hook));
        Ok(notes)
    }

    /// What proves who we are, for whoever connects: a reference to resolve, or the
    /// value. `None` when there is none.
    ///
    /// # Errors
    /// `UnknownIntegration`, `NoMasterKeys`, `Envelope`, `DataDir`, `Store`.
    pub async fn credential(
        &self,
        name: &IntegrationName,
        purpose: SecretPurpose,
        slot: SecretSlot,
    ) -> Result<Option<Credential>, RegistryError> {
        let integration = self.integration(name).await?;
        match integration.secret(purpose, slot) {
            Some(kept) => self.credential_of(kept).await,
            None => Ok(None),
        }
    }

    pub(super) async fn credential_of(
        &self,
        kept: &KeptSecret,
    ) -> Result<Option<Credential>, RegistryError> {
        if let SecretForm::Reference(reference) = &kept.form {
            return Ok(Some(Credential::Reference(reference.clone())));
        }
        let Some(sealed) = self.holdings.store.sealed_secret(&kept.handle).await? else {
            return Ok(None);
        };
        let vault = Vault::for_opening(&self.data_dir)?;
        let value = vault.open(&kept.handle, kept.purpose, &sealed)?;
        Ok(Some(Credential::Value(value)))
    }

    /// Makes a new master key and seals every value with it, a bounded number in each
    /// transaction. A rotation that was broken off is ended by the next one.
    ///
    /// # Errors
    /// `RotatingAlready`, `NoMasterKeys`, `MasterKeys`, `Envelope`, `DataDir`, `Store`.
    pub async fn rotate_secrets(&self, actor: &Actor) -> Result<RotationReport, RegistryError> {
        let store = &self.holdings.store;
        Vault::for_sealing(store, &self.data_dir).await?;
        let path = data_dir::master_keys(&self.data_dir)?;
        // One rotation at a time: each writes the whole file.
        let lock = data_dir::lock_master_keys(&self.data_dir)?;
        let _lock = lock.ok_or(RegistryError::RotatingAlready)?;
        let mut vault = Vault {
            keys: MasterKeys::load(&path)?.rotate(&path)?,
        };
        let key_id = vault.newest();
        let mut values = 0;
        let mut after = String::new();
        loop {
            let rows = store
                .sealed_otherwise(&key_id, &after, RESEALED_AT_ONCE)
                .await?;
            let Some(last) = rows.last() else { break };
            after.clone_from(&last.handle);
            let mut resealed = Vec::with_capacity(rows.len());
            for row in rows {
                let value = vault.open(&row.handle, row.purpose, &row.sealed)?;
                let (sealed, key_id) = vault.seal(&row.handle, row.purpose, &value)?;
                resealed.push(Resealed {
                    handle: row.handle,
                    was: row.sealed,
                    sealed,
                    key_id,
                });
            }
            let entry = self
                .entry(actor, "secrets.rotate")
                .with("key_id", key_id.as_str());
            values += store.reseal(&resealed, &entry).await?;
        }
        values += self.reseal_hooks(actor, &vault, &key_id).await?;
        // Also where nothing was sealed: a key was made.
        if values == 0 {
            let entry = self
                .entry(actor, "secrets.rotate")
                .with("key_id", key_id.as_str());
            store.reseal(&[], &entry).await?;
        }
        let used = store.sealing_keys().await?;
        let dropped = vault.keys.forget_unused(&path, &used)?;
        Ok(RotationReport {
            key_id,
            values,
            dropped,
        })
    }

    /// Hooks are few: their secrets are sealed anew in one transaction.
    async fn reseal_hooks(
        &self,
        actor: &Actor,
        vault: &Vault,
        key_id: &str,
    ) -> Result<u64, RegistryError> {
        let store = &self.holdings.store;
        let rows = store.hooks_sealed_otherwise(key_id).await?;
        if rows.is_empty() {
            return Ok(0);
        }
        let mut resealed = Vec::with_capacity(rows.len());
        for row in rows {
            let value = vault.open_hook(&row.handle, &row.sealed)?;
            let (sealed, key_id) = vault.seal_hook(&row.handle, &value)?;
            resealed.push(Resealed {
                handle: row.handle,
                was: row.sealed,
                sealed,
                key_id,
            });
        }
        let entry = self
            .entry(actor, "secrets.rotate")
            .with("key_id", key_id)
            .with("of", "hooks");
        Ok(store.reseal_hooks(&resealed, &entry).await?)
    }
}
