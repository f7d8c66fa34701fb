//! What proves who we are at a partner's: given, sealed, and taken into use in turn.

use super::draft::Draft;
use super::{Doing, Existing};
use crate::account::Actor;
use crate::integration::{
    Credential, GivenSecret, Integration, KeptSecret, MAX_SECRET_BYTES, SecretForm, SecretPurpose,
    SecretSlot,
};
use crate::registry::vault::Vault;
use crate::registry::{Registry, RegistryError};
use crate::store::SecretRow;
use crate::{IntegrationName, Secret};

impl Registry {
    /// Takes a key pair of ours into use: the partner gets `public`. The key before
    /// it is tried as well until the new one is confirmed.
    ///
    /// # Errors
    /// `UnknownIntegration`, `NoSuchSecret`, `RotationUnderWay`, those of sealing, `Store`.
    pub async fn install_key(
        &self,
        actor: &Actor,
        name: &IntegrationName,
        purpose: SecretPurpose,
        private: Secret,
        public: &str,
        unconfirmed: Existing,
    ) -> Result<Integration, RegistryError> {
        let mut draft = Draft::of(self.integration(name).await?);
        let current = draft.after.secret(purpose, SecretSlot::Current).cloned();
        let previous = draft.after.secret(purpose, SecretSlot::Previous).is_some();
        if previous && unconfirmed == Existing::Refuse {
            return Err(RegistryError::RotationUnderWay {
                name: name.clone(),
                purpose,
            });
        }
        let vault = Vault::for_sealing(&self.holdings.store, &self.data_dir).await?;
        let (mut row, _) = self.seal(&draft, &vault, purpose, private)?;
        row.kept.public = Some(public.to_owned());
        // Nobody had a key before the first one: there is nothing to overlap with.
        row.kept.confirmed_at = current.is_none().then_some(self.holdings.now());
        draft
            .after
            .secrets
            .retain(|one| one.purpose != purpose || (previous && one.slot == SecretSlot::Previous));
        if let (Some(current), false) = (current, previous) {
            draft.after.secrets.push(KeptSecret {
                slot: SecretSlot::Previous,
                ..current
            });
        }
        draft.after.secrets.push(row.kept.clone());
        draft.tell(purpose.as_str(), None, Some(first_line(public)));
        draft.sealed.push(row);
        self.finish(actor, "integration.key.rotate", draft).await?;
        self.integration(name).await
    }

    /// The partner has the new key: the one before it is forgotten.
    ///
    /// # Errors
    /// `UnknownIntegration`, `NothingToConfirm`, `IntegrationChanged`, `Store`.
    pub async fn confirm_key(
        &self,
        actor: &Actor,
        name: &IntegrationName,
        purpose: SecretPurpose,
    ) -> Result<(), RegistryError> {
        let mut draft = Draft::of(self.integration(name).await?);
        let now = self.holdings.now();
        let waits = |one: &&mut KeptSecret| {
            one.purpose == purpose && one.slot == SecretSlot::Current && one.confirmed_at.is_none()
        };
        let Some(current) = draft.after.secrets.iter_mut().find(waits) else {
            return Err(RegistryError::NothingToConfirm {
                name: name.clone(),
                purpose,
            });
        };
        current.confirmed_at = Some(now);
        let public = current.public.as_deref().map(first_line);
        draft
            .after
            .secrets
            .retain(|one| one.purpose != purpose || one.slot == SecretSlot::Current);
        draft.tell(
            purpose.as_str(),
            None,
            Some("confirmed".to_owned()).or(public),
        );
        self.finish(actor, "integration.key.confirm", draft)
            .await
            .map(drop)
    }

    /// Secrets that are given with an integration.
    pub(super) async fn give_secrets(
        &self,
        draft: &mut Draft,
        given: &[GivenSecret],
        doing: Doing,
    ) -> Result<(), RegistryError> {
        for one in given {
            let (name, protocol) = (draft.name().clone(), draft.after.spec.protocol);
            if !one.purpose.is_of(protocol) {
                return Err(RegistryError::NoSuchSecret {
                    name,
                    protocol,
                    purpose: one.purpose,
                });
            }
            self.give_secret(draft, one, doing).await?;
        }
        Ok(())
    }

    async fn give_secret(
        &self,
        draft: &mut Draft,
        given: &GivenSecret,
        doing: Doing,
    ) -> Result<(), RegistryError> {
        let purpose = given.purpose;
        let was = draft.after.secret(purpose, SecretSlot::Current).cloned();
        let row = match &given.credential {
            None => None,
            Some(Credential::Reference(reference)) => {
                let form = SecretForm::Reference(reference.clone());
                if was.as_ref().is_some_and(|was| was.form == form) {
                    return Ok(());
                }
                Some(SecretRow {
                    kept: self.kept(purpose, form)?,
                    sealed: None,
                })
            }
            Some(Credential::Value(value)) => {
                if !(1..=MAX_SECRET_BYTES).contains(&value.expose().len()) {
                    return Err(RegistryError::SecretSize { purpose });
                }
                if let Some(was) = &was
                    && self.is_the_same(was, value).await?
                {
                    return Ok(());
                }
                if doing == Doing::DryRun {
                    let form = SecretForm::Sealed {
                        key_id: "-".to_owned(),
                    };
                    Some(SecretRow {
                        kept: self.kept(purpose, form)?,
                        sealed: None,
                    })
                } else {
                    let vault = Vault::for_sealing(&self.holdings.store, &self.data_dir).await?;
                    Some(self.seal(draft, &vault, purpose, value.clone())?.0)
                }
            }
        };
        if was.is_none() && row.is_none() {
            return Ok(());
        }
        let told = |kept: &KeptSecret| match kept.form {
            SecretForm::Reference(_) => kept.told(),
            SecretForm::Sealed { .. } => "sealed".to_owned(),
        };
        let (from, to) = (
            was.as_ref().map(told),
            row.as_ref().map(|row| told(&row.kept)),
        );
        draft.tell(purpose.as_str(), from, to);
        draft.after.secrets.retain(|one| one.purpose != purpose);
        if let Some(row) = row {
            draft.after.secrets.push(row.kept.clone());
            draft.sealed.push(row);
        }
        Ok(())
    }

    /// Whether what is sealed is this value already.
    async fn is_the_same(&self, kept: &KeptSecret, value: &Secret) -> Result<bool, RegistryError> {
        if !matches!(kept.form, SecretForm::Sealed { .. }) {
            return Ok(false);
        }
        Ok(match self.credential_of(kept).await? {
            Some(Credential::Value(known)) => known.expose() == value.expose(),
            _ => false,
        })
    }

    fn kept(&self, purpose: SecretPurpose, form: SecretForm) -> Result<KeptSecret, RegistryError> {
        Ok(KeptSecret {
            handle: Vault::handle()?,
            purpose,
            slot: SecretSlot::Current,
            form,
            public: None,
            created_at: self.holdings.now(),
            confirmed_at: None,
        })
    }

    fn seal(
        &self,
        draft: &Draft,
        vault: &Vault,
        purpose: SecretPurpose,
        value: Secret,
    ) -> Result<(SecretRow, String), RegistryError> {
        if !purpose.is_of(draft.after.spec.protocol) {
            return Err(RegistryError::NoSuchSecret {
                name: draft.name().clone(),
                protocol: draft.after.spec.protocol,
                purpose,
            });
        }
        let handle = Vault::handle()?;
        let (sealed, key_id) = vault.seal(&handle, purpose, &value)?;
        let form = SecretForm::Sealed {
            key_id: key_id.clone(),
        };
        let kept = KeptSecret {
            handle,
            ..self.kept(purpose, form)?
        };
        let row = SecretRow {
            kept,
            sealed: Some(sealed),
        };
        Ok((row, key_id))
    }
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or("").to_owned()
}
