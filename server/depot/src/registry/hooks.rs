//! Hooks, as operators change them and look at them, and their secrets.

use std::net::IpAddr;

use super::vault::Vault;
use super::{Registry, RegistryError};
use crate::account::Actor;
use crate::event::{
    EventId, Hook, HookPlain, HookRow, HookUrl, MAX_HOOK_AUTHORITIES_BYTES, NewHook, WantedHook,
};
use crate::integration::{Credential, MAX_SECRET_BYTES, SecretForm};
use crate::{HookName, Secret};

/// Shortest secret that a hook's requests are signed with, in bytes: what is shorter can be
/// found by trying, from one request that somebody has seen.
pub(super) const MIN_HOOK_SECRET_BYTES: usize = 16;

/// Bytes of a secret that is made here.
const MADE_SECRET_BYTES: usize = 32;

/// Whether requests go to this machine, as far as the address itself tells.
fn is_this_machine(url: &HookUrl) -> bool {
    url.host() == "localhost"
        || url
            .host()
            .parse::<IpAddr>()
            .is_ok_and(|address| address.to_canonical().is_loopback())
}

impl Registry {
    /// A secret that nobody can guess: hexadecimal digits, to be shown once.
    ///
    /// # Errors
    /// `Envelope`: the system's random source.
    pub fn new_hook_secret() -> Result<Secret, RegistryError> {
        let mut bytes = [0_u8; MADE_SECRET_BYTES];
        getrandom::fill(&mut bytes).map_err(|_| crate::envelope::EnvelopeError::Failed {
            what: "the system's random source",
        })?;
        Ok(Secret::new(hex::encode(bytes)))
    }

    /// Adds a hook; it is told of what happens from now on.
    ///
    /// # Errors
    /// `UnknownEntity`, `HookExists`, `TooManyHooks`, `HookWithoutTls`, `HookNotHardened`,
    /// `HookSecretSize`, `HookAuthorities`, those of sealing, `Store`.
    pub async fn add_hook(
        &self,
        actor: &Actor,
        wanted: &WantedHook,
    ) -> Result<Hook, RegistryError> {
        let name = &wanted.name;
        self.check_hook(wanted)?;
        let entity = match &wanted.entity {
            Some(entity) => Some(self.entity(entity).await?.id),
            None => None,
        };
        let handle = Vault::handle()?;
        let store = &self.holdings.store;
        let (form, sealed) = match &wanted.secret {
            Credential::Reference(reference) => (SecretForm::Reference(reference.clone()), None),
            Credential::Value(value) => {
                let vault = Vault::for_sealing(store, &self.data_dir).await?;
                let (sealed, key_id) = vault.seal_hook(&handle, value)?;
                (SecretForm::Sealed { key_id }, Some(sealed))
            }
        };
        let kinds: Vec<_> = wanted.kinds.iter().map(|kind| kind.as_str()).collect();
        let mut entry = self
            .entry(actor, "hook.add")
            .with("hook", name.as_str())
            .with("to", wanted.target.url.origin());
        if !kinds.is_empty() {
            entry = entry.with("kinds", kinds.join(","));
        }
        if let Some(entity) = &wanted.entity {
            entry = entry.entity(entity);
        }
        let new = NewHook {
            row: HookRow {
                name: name.clone(),
                entity,
                target: wanted.target.clone(),
                kinds: wanted.kinds.clone(),
                handle,
                form,
                sealed,
            },
            created_at: self.holdings.now(),
        };
        if store.add_hook(&new, &entry).await?.is_some() {
            return self.hook(name).await;
        }
        Err(match self.hook(name).await {
            Ok(_) => RegistryError::HookExists { name: name.clone() },
            Err(RegistryError::UnknownHook { .. }) => RegistryError::TooManyHooks,
            Err(error) => error,
        })
    }

    fn check_hook(&self, wanted: &WantedHook) -> Result<(), RegistryError> {
        let (name, origin) = (wanted.name.clone(), wanted.target.url.origin().to_owned());
        if !wanted.target.url.is_tls() && self.hardened {
            return Err(RegistryError::HookNotHardened { name, origin });
        }
        let may_be_plain =
            wanted.target.plain == HookPlain::Anywhere || is_this_machine(&wanted.target.url);
        if !wanted.target.url.is_tls() && !may_be_plain {
            return Err(RegistryError::HookWithoutTls { name, origin });
        }
        if let Credential::Value(value) = &wanted.secret
            && !(MIN_HOOK_SECRET_BYTES..=MAX_SECRET_BYTES).contains(&value.expose().len())
        {
            return Err(RegistryError::HookSecretSize);
        }
        let authorities = wanted.target.authorities.as_ref();
        if authorities.is_some_and(|pem| pem.len() > MAX_HOOK_AUTHORITIES_BYTES) {
            return Err(RegistryError::HookAuthorities);
        }
        Ok(())
    }

    /// Every hook, by name, with what waits for it.
    ///
    /// # Errors
    /// `Store`.
    pub async fn list_hooks(&self) -> Result<Vec<Hook>, RegistryError> {
        Ok(self.holdings.store.hooks(None).await?)
    }

    /// A hook, with what waits for it.
    ///
    /// # Errors
    /// `UnknownHook`, `Store`.
    pub async fn hook(&self, name: &HookName) -> Result<Hook, RegistryError> {
        let found = self.holdings.store.hooks(Some(name)).await?.pop();
        found.ok_or_else(|| RegistryError::UnknownHook { name: name.clone() })
    }

    /// What a hook's requests are signed with: a reference to resolve, or the value.
    ///
    /// # Errors
    /// `UnknownHook`: it was removed meanwhile; `NoMasterKeys`, `Envelope`, `DataDir`, `Store`.
    pub async fn hook_secret(&self, hook: &Hook) -> Result<Credential, RegistryError> {
        if let SecretForm::Reference(reference) = &hook.secret {
            return Ok(Credential::Reference(reference.clone()));
        }
        let sealed = self.holdings.store.hook_secret(&hook.handle).await?;
        let sealed = sealed.ok_or_else(|| RegistryError::UnknownHook {
            name: hook.name.clone(),
        })?;
        let vault = Vault::for_opening(&self.data_dir)?;
        Ok(Credential::Value(vault.open_hook(&hook.handle, &sealed)?))
    }

    /// Tells a hook again, or no more; what is to be delivered waits meanwhile, and what
    /// happens is not told later.
    ///
    /// # Errors
    /// `UnknownHook`, `Store`.
    pub async fn enable_hook(
        &self,
        actor: &Actor,
        name: &HookName,
        enabled: bool,
    ) -> Result<(), RegistryError> {
        let hook = self.hook(name).await?;
        let action = if enabled {
            "hook.enable"
        } else {
            "hook.disable"
        };
        let entry = self.entry(actor, action).with("hook", name.as_str());
        let done = self.holdings.store.enable_hook(hook.id, enabled, &entry);
        done.await?
            .ok_or_else(|| RegistryError::UnknownHook { name: name.clone() })
    }

    /// Removes a hook, with what was to be delivered to it.
    ///
    /// # Errors
    /// `UnknownHook`, `Store`.
    pub async fn remove_hook(&self, actor: &Actor, name: &HookName) -> Result<Hook, RegistryError> {
        let hook = self.hook(name).await?;
        let mut entry = self.entry(actor, "hook.remove").with("hook", name.as_str());
        if hook.due + hook.dead > 0 {
            entry = entry.with("undelivered", hook.due + hook.dead);
        }
        let now = self.holdings.now();
        let done = self
            .holdings
            .store
            .remove_hook(hook.id, now, &entry)
            .await?;
        done.ok_or_else(|| RegistryError::UnknownHook { name: name.clone() })?;
        Ok(hook)
    }

    /// Sends what was given up again, all of it or one event. Returns how many deliveries.
    ///
    /// # Errors
    /// `UnknownHook`, `Store`.
    pub async fn send_again(
        &self,
        actor: &Actor,
        name: &HookName,
        event: Option<EventId>,
    ) -> Result<u64, RegistryError> {
        let hook = self.hook(name).await?;
        let entry = self.entry(actor, "hook.retry").with("hook", name.as_str());
        let (store, now) = (&self.holdings.store, self.holdings.now());
        Ok(store.send_again(hook.id, event, now, &entry).await?)
    }
}
