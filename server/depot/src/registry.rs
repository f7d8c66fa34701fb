//! The registry: what operators create, change and remove. Each change is one
//! transaction with its audit event, and running servers notice it within
//! seconds.

mod bans;
mod belongings;
mod clocks;
mod error;
mod expectations;
mod files;
mod flows;
mod folders;
mod holds;
mod hooks;
mod integrations;
mod vault;
mod views;

use std::path::PathBuf;
use std::sync::Arc;

use layover_retention::{Keep, KeepTooLong, PolicyLayers};

use belongings::{MAX_NETWORKS_PER_ACCOUNT, at_most, authorized, check_reason};
pub use error::RegistryError;
use expectations::Expecting;
pub use folders::FolderRule;
pub use holds::Approved;
pub use integrations::{Applied, Doing, Existing, HostKeyTrust, Refusal};
pub use vault::{RotationReport, SecretNote};

use crate::account::{Account, AccountChange, Actor, Enabled, Entity, NewAccount, NewEntity};
use crate::depot::Options;
use crate::holdings::Holdings;
use crate::integration::FlowDefinition;
use crate::journal::NewEntry;
use crate::password::Passwords;
use crate::store::NewAccountRow;
use crate::{
    AccountName, ByteRate, EntityName, HomeName, LimitsChange, MAX_CERTIFICATES_PER_ACCOUNT,
    MAX_KEYS_PER_ACCOUNT, SessionLimit,
};

/// Longest reason of a network or a rule, in bytes.
const MAX_REASON_BYTES: usize = 256;

/// The door for operators.
#[derive(Clone, Debug)]
pub struct Registry {
    holdings: Arc<Holdings>,
    passwords: Passwords,
    /// Where the master keys lie.
    data_dir: PathBuf,
    /// Whether integrations may only be what is safe.
    hardened: bool,
}

impl Registry {
    pub(crate) fn new(holdings: Arc<Holdings>, passwords: Passwords, options: &Options) -> Self {
        Self {
            holdings,
            passwords,
            data_dir: options.data_dir.clone(),
            hardened: options.hardened,
        }
    }

    fn entry(&self, actor: &Actor, action: &'static str) -> NewEntry {
        NewEntry::admin(self.holdings.now(), action, &self.holdings.node, actor)
    }

    fn account_entry(&self, actor: &Actor, action: &'static str, account: &Account) -> NewEntry {
        self.entry(actor, action)
            .account(&account.name)
            .entity(&account.entity)
    }

    fn check_keep(&self, keep: Option<Keep>) -> Result<(), KeepTooLong> {
        match keep {
            Some(keep) => PolicyLayers::check(keep, self.holdings.appliance.max_keep),
            None => Ok(()),
        }
    }

    /// Creates an entity.
    ///
    /// # Errors
    /// `EntityExists`, `KeepTooLong`, `Store`.
    pub async fn add_entity(
        &self,
        actor: &Actor,
        entity: &NewEntity,
    ) -> Result<Entity, RegistryError> {
        self.check_keep(entity.keep)?;
        let now = self.holdings.now();
        let mut entry = self.entry(actor, "entity.add").entity(&entity.name);
        if let Some(keep) = entity.keep {
            entry = entry.with("keep", keep.to_string());
        }
        match self.holdings.store.add_entity(entity, now, &entry).await? {
            Some(id) => Ok(Entity {
                id,
                name: entity.name.clone(),
                keep: entity.keep,
                time_zone: None,
                created_at: now,
            }),
            None => Err(RegistryError::EntityExists {
                name: entity.name.clone(),
            }),
        }
    }

    /// Every entity, by name.
    ///
    /// # Errors
    /// `Store`.
    pub async fn list_entities(&self) -> Result<Vec<Entity>, RegistryError> {
        Ok(self.holdings.store.list_entities().await?)
    }

    /// Changes how long the entity's files stay, and why; `None` is the appliance's
    /// rule. What is stored moves its expiry in the same transaction, except
    /// where an account has its own keep. Returns how many files that were.
    ///
    /// # Errors
    /// `UnknownEntity`, `KeepTooLong`, `BadReason`, `Store`.
    pub async fn set_entity_keep(
        &self,
        actor: &Actor,
        name: &EntityName,
        keep: Option<Keep>,
        reason: Option<&str>,
    ) -> Result<u64, RegistryError> {
        self.check_keep(keep)?;
        check_reason(reason)?;
        let entity = self.entity(name).await?;
        let mut entry = self.entry(actor, "entity.set").entity(name).with(
            "keep",
            keep.map_or_else(|| "appliance".to_owned(), |keep| keep.to_string()),
        );
        if let Some(reason) = reason {
            entry = entry.with("reason", reason);
        }
        let appliance = self.holdings.appliance;
        Ok(self
            .holdings
            .store
            .set_entity_keep(entity.id, keep, appliance, &entry)
            .await?)
    }

    /// Removes an entity that has neither accounts nor files.
    ///
    /// # Errors
    /// `UnknownEntity`, `EntityInUse`, `Store`.
    pub async fn remove_entity(
        &self,
        actor: &Actor,
        name: &EntityName,
    ) -> Result<(), RegistryError> {
        let entity = self.entity(name).await?;
        let entry = self.entry(actor, "entity.remove").entity(name);
        self.holdings
            .store
            .remove_entity(entity.id, &entry)
            .await?
            .ok_or_else(|| RegistryError::EntityInUse { name: name.clone() })
    }

    /// An entity.
    ///
    /// # Errors
    /// `UnknownEntity`, `Store`.
    pub async fn entity(&self, name: &EntityName) -> Result<Entity, RegistryError> {
        self.holdings
            .store
            .entity(name)
            .await?
            .ok_or_else(|| RegistryError::UnknownEntity { name: name.clone() })
    }

    /// Creates an account, with its home when there is none of that name. Files
    /// that the home holds are handed over only when the home was named.
    ///
    /// # Errors
    /// `UnknownEntity`, `AccountExists`, `HomeOfAnother`, `HomeHoldsFiles`, `KeepTooLong`,
    /// `NoProtocol`, `Password`, `TooMany`, `KeyExists`, `Store`.
    pub async fn add_account(
        &self,
        actor: &Actor,
        account: &NewAccount,
    ) -> Result<Account, RegistryError> {
        self.check_keep(account.keep)?;
        self.check_keep(account.collected_keep)?;
        let name = &account.name;
        if account.protocols.is_empty() {
            return Err(RegistryError::NoProtocol { name: name.clone() });
        }
        at_most(name, "keys", account.keys.len(), MAX_KEYS_PER_ACCOUNT)?;
        at_most(
            name,
            "certificates",
            account.certificates.len(),
            MAX_CERTIFICATES_PER_ACCOUNT,
        )?;
        at_most(
            name,
            "networks",
            account.networks.len(),
            MAX_NETWORKS_PER_ACCOUNT,
        )?;
        for network in &account.networks {
            check_reason(network.reason.as_deref())?;
        }
        let entity = self.entity(&account.entity).await?;
        let home = account.home.clone().unwrap_or_else(|| HomeName::from(name));
        if self.holdings.store.account(name).await?.is_some() {
            return Err(RegistryError::AccountExists { name: name.clone() });
        }
        if let Some((id, owner)) = self.holdings.store.home(&home).await? {
            if owner != account.entity {
                return Err(RegistryError::HomeOfAnother { home, owner });
            }
            if account.home.is_none() && self.holds_files(id).await? {
                return Err(RegistryError::HomeHoldsFiles { home });
            }
        }
        let now = self.holdings.now();
        let password_hash = match account.password.clone() {
            Some(password) => Some(self.passwords.hash(password).await?),
            None => None,
        };
        let row = NewAccountRow {
            name: name.clone(),
            entity: entity.id,
            home: home.clone(),
            takes_files_over: account.home.is_some(),
            protocols: account.protocols,
            auth: account.auth,
            keep: account.keep,
            collected_keep: account.collected_keep,
            quota_bytes: account.quota_bytes,
            read_only: account.read_only,
            tolerant_completion: account.tolerant_completion,
            publish_on_rename: account.publish_on_rename,
            session_reuse: account.session_reuse,
            limits: account.limits,
            password_hash,
            keys: account
                .keys
                .iter()
                .map(|key| authorized(key, now))
                .collect(),
            certificates: account.certificates.clone(),
            networks: account.networks.clone(),
            now,
        };
        let networks: Vec<String> = account
            .networks
            .iter()
            .map(|network| network.network.to_string())
            .collect();
        let mut entry = self
            .entry(actor, "account.add")
            .account(name)
            .entity(&account.entity)
            .with("home", home.as_str())
            .with("networks", networks)
            .with("protocols", account.protocols.to_string())
            .with("auth", account.auth.as_str());
        if !account.certificates.is_empty() {
            let prints = account.certificates.iter();
            let prints: Vec<_> = prints.map(|one| one.fingerprint.clone()).collect();
            entry = entry.with("certificates", prints);
        }
        if let Some(keep) = account.collected_keep {
            entry = entry.with("collected_keep", keep.to_string());
        }
        if let Some(reuse) = account.session_reuse {
            entry = entry.with("session_reuse", reuse.as_str());
        }
        entry = with_limits(entry, &LimitsChange::of(&account.limits));
        if self
            .holdings
            .store
            .add_account(&row, &entry)
            .await?
            .is_none()
        {
            return Err(RegistryError::AccountExists { name: name.clone() });
        }
        self.account(name).await
    }

    /// An account, with everything that hangs on it.
    ///
    /// # Errors
    /// `UnknownAccount`, `Store`.
    pub async fn account(&self, name: &AccountName) -> Result<Account, RegistryError> {
        self.holdings
            .store
            .account(name)
            .await?
            .ok_or_else(|| RegistryError::UnknownAccount { name: name.clone() })
    }

    /// Every account, by name.
    ///
    /// # Errors
    /// `Store`.
    pub async fn list_accounts(&self) -> Result<Vec<Account>, RegistryError> {
        Ok(self.holdings.store.list_accounts().await?)
    }

    /// Changes an account; a new keep moves the expiry of its files, in the
    /// same transaction. Returns how many files that were.
    ///
    /// # Errors
    /// `UnknownAccount`, `KeepTooLong`, `NoProtocol`, `BadReason`, `Store`.
    pub async fn change_account(
        &self,
        actor: &Actor,
        name: &AccountName,
        change: &AccountChange,
    ) -> Result<u64, RegistryError> {
        self.check_keep(change.keep.flatten())?;
        self.check_keep(change.collected_keep.flatten())?;
        check_reason(change.reason.as_deref())?;
        if change.protocols.is_some_and(crate::Protocols::is_empty) {
            return Err(RegistryError::NoProtocol { name: name.clone() });
        }
        let account = self.account(name).await?;
        let entry = describe(self.account_entry(actor, "account.set", &account), change);
        Ok(self
            .holdings
            .store
            .change_account(account.id, change, self.holdings.appliance, &entry)
            .await?)
    }

    /// Lets an account log in, or locks it out and ends its sessions.
    ///
    /// # Errors
    /// `UnknownAccount`, `Store`.
    pub async fn set_enabled(
        &self,
        actor: &Actor,
        name: &AccountName,
        enabled: Enabled,
    ) -> Result<(), RegistryError> {
        let account = self.account(name).await?;
        let action = match enabled {
            Enabled::Yes => "account.enable",
            Enabled::No => "account.disable",
        };
        let entry = self.account_entry(actor, action, &account);
        Ok(self
            .holdings
            .store
            .set_enabled(account.id, enabled, &entry)
            .await?)
    }

    /// Removes an account: its sessions end, its credentials are forgotten,
    /// its name is free. Its files stay in their home until their time is over.
    ///
    /// # Errors
    /// `UnknownAccount`, `NeededByFlows`, `Expected`, `Store`.
    pub async fn remove_account(
        &self,
        actor: &Actor,
        name: &AccountName,
    ) -> Result<(), RegistryError> {
        let account = self.account(name).await?;
        let is_of = |flow: &FlowDefinition| flow.home().is_some_and(|home| home.account == *name);
        let what = format!("account `{name}`");
        self.refuse_if_needed(&what, is_of).await?;
        self.refuse_expected(&Expecting::Account(name)).await?;
        let entry = self.account_entry(actor, "account.remove", &account);
        let (now, appliance) = (self.holdings.now(), self.holdings.appliance);
        self.holdings
            .store
            .remove_account(account.id, now, appliance, &entry)
            .await?
            .ok_or_else(|| RegistryError::UnknownAccount { name: name.clone() })
    }
}

/// Puts what changes into the journal entry.
fn describe(mut entry: NewEntry, change: &AccountChange) -> NewEntry {
    let inherited = || "inherited".to_owned();
    if let Some(protocols) = change.protocols {
        entry = entry.with("protocols", protocols.to_string());
    }
    if let Some(auth) = change.auth {
        entry = entry.with("auth", auth.as_str());
    }
    if let Some(keep) = change.keep {
        entry = entry.with("keep", keep.map_or_else(inherited, |keep| keep.to_string()));
    }
    if let Some(keep) = change.collected_keep {
        let word = keep.map_or_else(|| "none".to_owned(), |keep| keep.to_string());
        entry = entry.with("collected_keep", word);
    }
    if let Some(reason) = &change.reason {
        entry = entry.with("reason", reason.as_str());
    }
    if let Some(reuse) = change.session_reuse {
        let word = reuse.map_or("appliance", crate::SessionReuse::as_str);
        entry = entry.with("session_reuse", word);
    }
    if let Some(quota) = change.quota_bytes {
        entry = entry.with("quota_bytes", quota);
    }
    entry = with_limits(entry, &change.limits);
    for (name, value) in [
        ("read_only", change.read_only),
        ("tolerant_completion", change.tolerant_completion),
        ("publish_on_rename", change.publish_on_rename),
    ] {
        if let Some(value) = value {
            entry = entry.with(name, value);
        }
    }
    entry
}

fn with_limits(mut entry: NewEntry, change: &LimitsChange) -> NewEntry {
    if let Some(limit) = change.max_sessions {
        entry = entry.with("max_sessions", limit.map(SessionLimit::get));
    }
    for (name, rate) in [
        ("upload_bytes_per_s", change.upload_rate),
        ("download_bytes_per_s", change.download_rate),
    ] {
        if let Some(rate) = rate {
            entry = entry.with(name, rate.map(ByteRate::bytes_per_s));
        }
    }
    entry
}
