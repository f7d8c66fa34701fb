//! What hangs on an account: password, keys, certificates, networks, folder permissions.

use super::{MAX_REASON_BYTES, Registry, RegistryError};
use crate::account::{Account, Actor, NetworkAdded};
use crate::client_certificate::normalised_fingerprint;
use crate::journal::NewEntry;
use crate::{
    AccountName, AuthorizedKey, CertificateUse, FolderPermission, MAX_CERTIFICATES_PER_ACCOUNT,
    MAX_KEYS_PER_ACCOUNT, Network, NewCertificate, NewKey, NewNetwork, Rights, Secret, VirtualPath,
};

/// Networks that one account may have.
pub(super) const MAX_NETWORKS_PER_ACCOUNT: usize = 256;
/// Folder permissions that one account may have.
const MAX_PERMISSIONS_PER_ACCOUNT: usize = 256;

impl Registry {
    /// Sets the password, or takes it away.
    ///
    /// # Errors
    /// `UnknownAccount`, `Password`, `Store`.
    pub async fn set_password(
        &self,
        actor: &Actor,
        name: &AccountName,
        password: Option<Secret>,
    ) -> Result<(), RegistryError> {
        let account = self.account(name).await?;
        let (action, hash) = match password {
            Some(password) => (
                "account.password",
                Some(self.passwords.hash(password).await?),
            ),
            None => ("account.password.remove", None),
        };
        let entry = self.account_entry(actor, action, &account);
        Ok(self
            .holdings
            .store
            .set_password(account.id, hash.as_deref(), &entry)
            .await?)
    }

    /// Adds a key.
    ///
    /// # Errors
    /// `UnknownAccount`, `KeyExists`, `TooMany`, `Store`.
    pub async fn add_key(
        &self,
        actor: &Actor,
        name: &AccountName,
        key: &NewKey,
    ) -> Result<(), RegistryError> {
        let account = self.account(name).await?;
        at_most(name, "keys", account.keys.len() + 1, MAX_KEYS_PER_ACCOUNT)?;
        let entry = self
            .account_entry(actor, "account.key.add", &account)
            .with("fingerprint", key.fingerprint.as_str());
        let key = authorized(key, self.holdings.now());
        self.holdings
            .store
            .add_key(account.id, &key, &entry)
            .await?
            .ok_or_else(|| RegistryError::KeyExists {
                name: name.clone(),
                fingerprint: key.fingerprint.clone(),
            })
    }

    /// Removes the key of this fingerprint.
    ///
    /// # Errors
    /// `UnknownAccount`, `UnknownKey`, `Store`.
    pub async fn remove_key(
        &self,
        actor: &Actor,
        name: &AccountName,
        fingerprint: &str,
    ) -> Result<(), RegistryError> {
        let account = self.account(name).await?;
        let entry = self
            .account_entry(actor, "account.key.remove", &account)
            .with("fingerprint", fingerprint);
        self.holdings
            .store
            .remove_key(account.id, fingerprint, &entry)
            .await?
            .ok_or_else(|| {
                let fingerprint = fingerprint.chars().take(80).collect();
                RegistryError::UnknownKey {
                    name: name.clone(),
                    fingerprint,
                }
            })
    }

    /// Adds a TLS client certificate, or an authority of such.
    ///
    /// # Errors
    /// `UnknownAccount`, `CertificateExists`, `TooMany`, `Store`.
    pub async fn add_certificate(
        &self,
        actor: &Actor,
        name: &AccountName,
        certificate: &NewCertificate,
    ) -> Result<(), RegistryError> {
        let account = self.account(name).await?;
        let count = account.certificates.len() + 1;
        at_most(name, "certificates", count, MAX_CERTIFICATES_PER_ACCOUNT)?;
        let mut entry = self
            .account_entry(actor, "account.certificate.add", &account)
            .with("fingerprint", certificate.fingerprint.as_str())
            .with("subject", certificate.subject.as_str())
            .with("not_after", certificate.not_after.to_string());
        if let CertificateUse::Authority { names } = &certificate.used_for {
            entry = entry.with("authority_for", names.to_string());
        }
        let now = self.holdings.now();
        self.holdings
            .store
            .add_certificate(account.id, certificate, now, &entry)
            .await?
            .ok_or_else(|| RegistryError::CertificateExists {
                name: name.clone(),
                fingerprint: certificate.fingerprint.clone(),
            })
    }

    /// Removes the certificate of this fingerprint; colons and capitals do not
    /// matter. Returns the fingerprint as it was kept.
    ///
    /// # Errors
    /// `UnknownAccount`, `UnknownCertificate`, `Store`.
    pub async fn remove_certificate(
        &self,
        actor: &Actor,
        name: &AccountName,
        fingerprint: &str,
    ) -> Result<String, RegistryError> {
        let account = self.account(name).await?;
        let fingerprint = normalised_fingerprint(fingerprint);
        let entry = self
            .account_entry(actor, "account.certificate.remove", &account)
            .with("fingerprint", fingerprint.as_str());
        self.holdings
            .store
            .remove_certificate(account.id, &fingerprint, &entry)
            .await?
            .ok_or_else(|| RegistryError::UnknownCertificate {
                name: name.clone(),
                fingerprint: fingerprint.chars().take(80).collect(),
            })?;
        Ok(fingerprint)
    }

    /// Allows a network; one that is allowed already gets this reason and this
    /// end instead of its own.
    ///
    /// # Errors
    /// `UnknownAccount`, `UnknownNetwork` and `NetworkExists` when somebody else
    /// changes it at the same time, `TooMany`, `BadReason`, `Store`.
    pub async fn add_network(
        &self,
        actor: &Actor,
        name: &AccountName,
        network: &NewNetwork,
    ) -> Result<NetworkAdded, RegistryError> {
        check_reason(network.reason.as_deref())?;
        let account = self.account(name).await?;
        let before = account
            .networks
            .iter()
            .find(|allowed| allowed.network == network.network);
        let Some(before) = before else {
            at_most(
                name,
                "networks",
                account.networks.len() + 1,
                MAX_NETWORKS_PER_ACCOUNT,
            )?;
            let entry = self.network_entry(actor, "account.allow.add", &account, network);
            let now = self.holdings.now();
            return self
                .holdings
                .store
                .add_network(account.id, network, now, &entry)
                .await?
                .map(|()| NetworkAdded::New)
                .ok_or_else(|| RegistryError::NetworkExists {
                    name: name.clone(),
                    network: network.network,
                });
        };
        if before.reason == network.reason && before.until == network.until {
            return Ok(NetworkAdded::Same);
        }
        let mut entry = self.network_entry(actor, "account.allow.set", &account, network);
        if let Some(until) = before.until {
            entry = entry.with("until_before", until.to_string());
        }
        if let Some(reason) = &before.reason {
            entry = entry.with("reason_before", reason.as_str());
        }
        self.holdings
            .store
            .change_network(account.id, network, &entry)
            .await?
            .map(|()| NetworkAdded::Changed)
            .ok_or_else(|| RegistryError::UnknownNetwork {
                name: name.clone(),
                network: network.network,
            })
    }

    fn network_entry(
        &self,
        actor: &Actor,
        action: &'static str,
        account: &Account,
        network: &NewNetwork,
    ) -> NewEntry {
        let mut entry = self
            .account_entry(actor, action, account)
            .with("network", network.network.to_string());
        if let Some(reason) = &network.reason {
            entry = entry.with("reason", reason.as_str());
        }
        if let Some(until) = network.until {
            entry = entry.with("until", until.to_string());
        }
        entry
    }

    /// Takes a network away and ends the account's sessions from there.
    ///
    /// # Errors
    /// `UnknownAccount`, `UnknownNetwork`, `Store`.
    pub async fn remove_network(
        &self,
        actor: &Actor,
        name: &AccountName,
        network: &Network,
    ) -> Result<(), RegistryError> {
        let account = self.account(name).await?;
        let entry = self
            .account_entry(actor, "account.allow.remove", &account)
            .with("network", network.to_string());
        self.holdings
            .store
            .remove_network(account.id, network, &entry)
            .await?
            .ok_or_else(|| RegistryError::UnknownNetwork {
                name: name.clone(),
                network: *network,
            })
    }

    /// Sets what an account may do in a folder and below.
    ///
    /// # Errors
    /// `UnknownAccount`, `TooMany`, `Store`.
    pub async fn set_permission(
        &self,
        actor: &Actor,
        name: &AccountName,
        path: &VirtualPath,
        rights: Rights,
    ) -> Result<(), RegistryError> {
        let account = self.account(name).await?;
        if !account
            .permissions
            .iter()
            .any(|permission| permission.path == *path)
        {
            let count = account.permissions.len() + 1;
            at_most(
                name,
                "folder permissions",
                count,
                MAX_PERMISSIONS_PER_ACCOUNT,
            )?;
        }
        let entry = self
            .account_entry(actor, "account.permission.set", &account)
            .path(path)
            .with("rights", rights.to_word());
        let permission = FolderPermission {
            path: path.clone(),
            rights,
        };
        Ok(self
            .holdings
            .store
            .set_permission(account.id, &permission, &entry)
            .await?)
    }

    /// Takes a folder's own permission away; what is set above it counts again.
    ///
    /// # Errors
    /// `UnknownAccount`, `UnknownPermission`, `Store`.
    pub async fn remove_permission(
        &self,
        actor: &Actor,
        name: &AccountName,
        path: &VirtualPath,
    ) -> Result<(), RegistryError> {
        let account = self.account(name).await?;
        let entry = self
            .account_entry(actor, "account.permission.remove", &account)
            .path(path);
        self.holdings
            .store
            .remove_permission(account.id, path, &entry)
            .await?
            .ok_or_else(|| RegistryError::UnknownPermission {
                name: name.clone(),
                path: path.clone(),
            })
    }
}

pub(super) fn authorized(key: &NewKey, now: layover_retention::Timestamp) -> AuthorizedKey {
    AuthorizedKey {
        fingerprint: key.fingerprint.clone(),
        algorithm: key.algorithm.clone(),
        comment: key.comment.clone(),
        blob: key.blob.clone(),
        from: key.from.clone(),
        expires_at: key.expires_at,
        used_for: key.used_for.clone(),
        added_at: now,
    }
}

pub(super) fn at_most(
    name: &AccountName,
    what: &'static str,
    count: usize,
    limit: usize,
) -> Result<(), RegistryError> {
    if count <= limit {
        return Ok(());
    }
    Err(RegistryError::TooMany {
        name: name.clone(),
        what,
        limit,
    })
}

pub(super) fn check_reason(reason: Option<&str>) -> Result<(), RegistryError> {
    match reason {
        Some(text) if text.len() > MAX_REASON_BYTES || text.chars().any(char::is_control) => {
            Err(RegistryError::BadReason)
        }
        _ => Ok(()),
    }
}
