//! Hooks, as operators change them and look at them, and their secrets.

use std::net::IpAddr;

use super::integrations::{difference, told};
use super::vault::Vault;
use super::{Registry, RegistryError};
use crate::account::Actor;
use crate::event::{
    EventId, EventKind, Hook, HookAddresses, HookChange, HookPlain, HookRow, HookTarget,
    HookUpdate, HookUrl, MAX_HOOK_AUTHORITIES_BYTES, NewHook, SENT_AGAIN_AT_ONCE, WantedHook,
};
use crate::integration::{Credential, Difference, MAX_SECRET_BYTES, SecretForm};
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

fn joined(kinds: &[EventKind]) -> String {
    let words: Vec<_> = kinds.iter().map(|kind| kind.as_str()).collect();
    words.join(",")
}

/// What of a hook changes, in words for the operator and the journal: no path of an
/// address, and no secret.
fn differences(hook: &Hook, update: &HookUpdate) -> Vec<Difference> {
    let (was, is) = (&hook.target, &update.target);
    let mut found = Vec::new();
    let mut note = |field: &str, was: &str, is: &str| {
        found.push(difference(field, Some(was.to_owned()), Some(is.to_owned())));
    };
    if was.url != is.url {
        let (old, new) = (was.url.origin(), is.url.origin());
        match old == new {
            true => note("url", old, &format!("{new}, another path")),
            false => note("url", old, new),
        }
    }
    let kinds = |kinds: &[EventKind]| match kinds.is_empty() {
        true => "all".to_owned(),
        false => joined(kinds),
    };
    if hook.kinds != update.kinds {
        note("kinds", &kinds(&hook.kinds), &kinds(&update.kinds));
    }
    if let Some((form, _)) = &update.secret {
        let is = match form {
            SecretForm::Reference(_) => form.told(),
            SecretForm::Sealed { .. } => format!("another, {}", form.told()),
        };
        note("secret", &hook.secret.told(), &is);
    }
    if was.authorities != is.authorities {
        match (&was.authorities, &is.authorities) {
            (None, _) => note("authorities", "the system's", "its own"),
            (Some(_), None) => note("authorities", "its own", "the system's"),
            (Some(_), Some(_)) => note("authorities", "its own", "others of its own"),
        }
    }
    let yes_no = |yes: bool| if yes { "yes" } else { "no" };
    if was.plain != is.plain {
        let plain = |plain| yes_no(plain == HookPlain::Anywhere);
        note("allow_plain", plain(was.plain), plain(is.plain));
    }
    if was.addresses != is.addresses {
        let any = |addresses| yes_no(addresses == HookAddresses::Any);
        note("allow_any_address", any(was.addresses), any(is.addresses));
    }
    found
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
        self.check_hook(name, &wanted.target, Some(&wanted.secret))?;
        let entity = match &wanted.entity {
            Some(entity) => Some(self.entity(entity).await?.id),
            None => None,
        };
        let handle = Vault::handle()?;
        let store = &self.holdings.store;
        let (form, sealed) = self.keep_hook_secret(&handle, &wanted.secret).await?;
        let mut entry = self
            .entry(actor, "hook.add")
            .with("hook", name.as_str())
            .with("to", wanted.target.url.origin());
        if !wanted.kinds.is_empty() {
            entry = entry.with("kinds", joined(&wanted.kinds));
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

    /// Whether this is the sealed secret that the hook has; one that cannot be opened is
    /// another.
    async fn is_signed_with(&self, hook: &Hook, value: &Secret) -> bool {
        match self.hook_secret(hook).await {
            Ok(Credential::Value(kept)) => kept.expose() == value.expose(),
            Ok(Credential::Reference(_)) | Err(_) => false,
        }
    }

    /// As it is kept: the reference, or sealed.
    async fn keep_hook_secret(
        &self,
        handle: &str,
        secret: &Credential,
    ) -> Result<(SecretForm, Option<Vec<u8>>), RegistryError> {
        Ok(match secret {
            Credential::Reference(reference) => (SecretForm::Reference(reference.clone()), None),
            Credential::Value(value) => {
                let vault = Vault::for_sealing(&self.holdings.store, &self.data_dir).await?;
                let (sealed, key_id) = vault.seal_hook(handle, value)?;
                (SecretForm::Sealed { key_id }, Some(sealed))
            }
        })
    }

    fn check_hook(
        &self,
        name: &HookName,
        target: &HookTarget,
        secret: Option<&Credential>,
    ) -> Result<(), RegistryError> {
        let (name, origin) = (name.clone(), target.url.origin().to_owned());
        if !target.url.is_tls() && self.hardened {
            return Err(RegistryError::HookNotHardened { name, origin });
        }
        let may_be_plain = target.plain == HookPlain::Anywhere || is_this_machine(&target.url);
        if !target.url.is_tls() && !may_be_plain {
            return Err(RegistryError::HookWithoutTls { name, origin });
        }
        if let Some(Credential::Value(value)) = secret
            && !(MIN_HOOK_SECRET_BYTES..=MAX_SECRET_BYTES).contains(&value.expose().len())
        {
            return Err(RegistryError::HookSecretSize);
        }
        let authorities = target.authorities.as_ref();
        if authorities.is_some_and(|pem| pem.len() > MAX_HOOK_AUTHORITIES_BYTES) {
            return Err(RegistryError::HookAuthorities);
        }
        Ok(())
    }

    /// Changes a hook. What is due is sent as it is from then on, and at once: also what a
    /// receiver that was away has kept waiting. Returns what differs; nothing: it was so
    /// already.
    ///
    /// # Errors
    /// `UnknownHook`, `HookChanged`, `HookWithoutTls`, `HookNotHardened`, `HookSecretSize`,
    /// `HookAuthorities`, those of sealing, `Store`.
    pub async fn change_hook(
        &self,
        actor: &Actor,
        name: &HookName,
        change: &HookChange,
    ) -> Result<Vec<Difference>, RegistryError> {
        let hook = self.hook(name).await?;
        let target = HookTarget {
            url: change.url.clone().unwrap_or(hook.target.url.clone()),
            authorities: change
                .authorities
                .clone()
                .unwrap_or(hook.target.authorities.clone()),
            plain: change.plain.unwrap_or(hook.target.plain),
            addresses: change.addresses.unwrap_or(hook.target.addresses),
        };
        self.check_hook(name, &target, change.secret.as_ref())?;
        let kinds = change.kinds.clone().unwrap_or(hook.kinds.clone());
        let secret = match &change.secret {
            Some(Credential::Reference(given))
                if hook.secret == SecretForm::Reference(given.clone()) =>
            {
                None
            }
            Some(Credential::Value(given)) if self.is_signed_with(&hook, given).await => None,
            Some(given) => Some(self.keep_hook_secret(&hook.handle, given).await?),
            None => None,
        };
        let update = HookUpdate {
            id: hook.id,
            version: hook.version,
            target,
            kinds,
            secret,
        };
        let differences = differences(&hook, &update);
        if differences.is_empty() {
            return Ok(differences);
        }
        let entry = self.entry(actor, "hook.set").with("hook", name.as_str());
        let entry = told(entry, &differences);
        let (store, now) = (&self.holdings.store, self.holdings.now());
        if store.set_hook(&update, now, &entry).await?.is_none() {
            // Gone, or changed by somebody else.
            self.hook(name).await?;
            return Err(RegistryError::HookChanged { name: name.clone() });
        }
        Ok(differences)
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

    /// Notes that a hook was tried out and answers: what is due for it is sent soon.
    ///
    /// # Errors
    /// `UnknownHook`: it was removed meanwhile; `Store`.
    pub async fn note_hook_test(&self, actor: &Actor, hook: &Hook) -> Result<(), RegistryError> {
        let name = &hook.name;
        let entry = self.entry(actor, "hook.test").with("hook", name.as_str());
        let done = self.holdings.store.note_test(hook.id, &entry).await?;
        done.ok_or_else(|| RegistryError::UnknownHook { name: name.clone() })
    }

    /// Sends what was given up again, all of it or one event, and what is due soon. Returns
    /// how many deliveries were given up.
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
        let mut all = 0;
        loop {
            let again = store.send_again(hook.id, event, now, &entry).await?;
            all += again;
            if again < SENT_AGAIN_AT_ONCE {
                return Ok(all);
            }
        }
    }
}
