//! Rules for the folders of a home.

use layover_retention::Keep;

use super::belongings::check_reason;
use super::{Registry, RegistryError};
use crate::account::Actor;
use crate::journal::NewEntry;
use crate::rules::{FolderKeep, MAX_FOLDER_KEEPS};
use crate::{EntityName, HomeName, VirtualPath};

/// What an operator says of a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FolderRule {
    /// How long files stay after they arrived; none: as said further up.
    pub keep: Option<Keep>,
    /// How long files stay after they were first collected; none: as said further up.
    pub collected_keep: Option<Keep>,
}

impl Registry {
    /// Says how long the files in a folder of a home, and in those below it, stay,
    /// whoever uploads them: over what accounts and folders further up say. What is
    /// stored moves its expiry in the same transaction. Returns how many files that
    /// were.
    ///
    /// # Errors
    /// `UnknownHome`, `KeepTooLong`, `NoReason`, `BadReason`, `TooManyFolders`, `Store`.
    pub async fn set_folder_keep(
        &self,
        actor: &Actor,
        home: &HomeName,
        path: &VirtualPath,
        rule: FolderRule,
        reason: &str,
    ) -> Result<u64, RegistryError> {
        self.check_keep(rule.keep)?;
        self.check_keep(rule.collected_keep)?;
        require_reason(reason)?;
        let (home, entity) = self.home(home).await?;
        let folders = self.holdings.store.folder_keeps(home.id).await?;
        let is_new = folders.iter().all(|folder| folder.path != *path);
        if is_new && folders.len() >= MAX_FOLDER_KEEPS {
            return Err(RegistryError::TooManyFolders { home: home.name });
        }
        let inherited = |keep: Option<Keep>| {
            keep.map_or_else(|| "inherited".to_owned(), |keep| keep.to_string())
        };
        let entry = self
            .folder_entry(actor, "retention.folder.set", &home.name, &entity, path)
            .with("keep", inherited(rule.keep))
            .with("collected_keep", inherited(rule.collected_keep))
            .with("reason", reason);
        let folder = FolderKeep {
            path: path.clone(),
            keep: rule.keep,
            collected_keep: rule.collected_keep,
            set_at: self.holdings.now(),
            reason: reason.to_owned(),
        };
        let appliance = self.holdings.appliance;
        let store = &self.holdings.store;
        Ok(store
            .set_folder_keep(home.id, &folder, appliance, &entry)
            .await?)
    }

    /// The rules for a home's folders, by path.
    ///
    /// # Errors
    /// `UnknownHome`, `Store`.
    pub async fn folder_keeps(&self, home: &HomeName) -> Result<Vec<FolderKeep>, RegistryError> {
        let (home, _) = self.home(home).await?;
        Ok(self.holdings.store.folder_keeps(home.id).await?)
    }

    /// Takes the rule of a folder away. Returns how many stored files got another
    /// expiry.
    ///
    /// # Errors
    /// `UnknownHome`, `UnknownFolder`, `NoReason`, `BadReason`, `Store`.
    pub async fn remove_folder_keep(
        &self,
        actor: &Actor,
        home: &HomeName,
        path: &VirtualPath,
        reason: &str,
    ) -> Result<u64, RegistryError> {
        require_reason(reason)?;
        let (home, entity) = self.home(home).await?;
        let entry = self
            .folder_entry(actor, "retention.folder.remove", &home.name, &entity, path)
            .with("reason", reason);
        let appliance = self.holdings.appliance;
        let store = &self.holdings.store;
        store
            .remove_folder_keep(home.id, path, appliance, &entry)
            .await?
            .ok_or_else(|| RegistryError::UnknownFolder {
                home: home.name,
                path: path.clone(),
            })
    }

    fn folder_entry(
        &self,
        actor: &Actor,
        action: &'static str,
        home: &HomeName,
        entity: &EntityName,
        path: &VirtualPath,
    ) -> NewEntry {
        self.entry(actor, action)
            .entity(entity)
            .path(path)
            .with("home", home.as_str())
    }
}

/// A reason that must be given.
pub(super) fn require_reason(reason: &str) -> Result<(), RegistryError> {
    if reason.trim().is_empty() {
        return Err(RegistryError::NoReason);
    }
    check_reason(Some(reason))
}
