//! What a connection taught, handed back to the registry.

use layover_depot::{
    Actor, HostKeyProof, HostKeyTrust, Integration, Registry, RegistryError, SecretPurpose,
    SecretSlot,
};
use serde_json::{Value, json};

use super::Partner;
use crate::sftp::Proof;

/// The server demands resumed TLS sessions more often than TLS 1.3 can with its tickets.
const TLS12_ONLY: &str = "tls12_only";
/// The certificate that the server showed, and when it expires.
pub(super) const CERTIFICATE_LESSON: &str = "certificate";
/// Host keys that were shown and nobody has confirmed: more are not kept, so that
/// whoever sits in between cannot fill the list.
const MAX_UNCONFIRMED: usize = 4;
/// Times that something else changed the integration meanwhile.
const MAX_RACES: usize = 5;

/// What was handed back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// A host key that nobody has confirmed was shown: its fingerprint.
    pub host_key_seen: Option<String>,
    /// Our new SSH key let us in, and the one before it was forgotten.
    pub key_confirmed: bool,
    /// The next connection offers TLS 1.2 alone.
    pub tls12_only: bool,
}

/// Whether an earlier connection learned it.
pub(super) fn knows_tls12_only(integration: &Integration) -> bool {
    integration.learned.get(TLS12_ONLY) == Some(&Value::Bool(true))
}

impl Partner {
    /// Hands back what its connections taught: after them, and after one that did not
    /// come about. What is known already is not written.
    ///
    /// # Errors
    /// `UnknownIntegration` where it was removed meanwhile, `Store`.
    pub async fn settle(
        &self,
        registry: &Registry,
        actor: &Actor,
    ) -> Result<Settled, RegistryError> {
        let mut raced = 0;
        loop {
            match self.settle_once(registry, actor).await {
                Err(RegistryError::IntegrationChanged { .. }) if raced < MAX_RACES => raced += 1,
                settled => return settled,
            }
        }
    }

    async fn settle_once(
        &self,
        registry: &Registry,
        actor: &Actor,
    ) -> Result<Settled, RegistryError> {
        let (name, seen) = (self.name(), self.observed());
        let known = registry.integration(name).await?;
        let mut settled = Settled::default();
        if seen.tls12_only && !knows_tls12_only(&known) {
            let value = Value::Bool(true);
            registry.learn(actor, name, TLS12_ONLY, value).await?;
            settled.tls12_only = true;
        }
        // Of a server that was refused, nothing is remembered but its host key.
        if let (Some(shown), true) = (&seen.certificate, seen.tls.is_some()) {
            let value = json!({
                "sha256": shown.fingerprint.to_string(),
                "expires_at": shown.not_after.map(|at| at.to_string()),
            });
            if known.learned.get(CERTIFICATE_LESSON) != Some(&value) {
                registry
                    .learn(actor, name, CERTIFICATE_LESSON, value)
                    .await?;
            }
        }
        if let Some(shown) = &seen.host_key {
            let text = shown.public_key.as_ref().unwrap_or(&shown.fingerprint);
            let mut keys = known.host_keys.iter();
            let of_it = keys.find(|key| key.fingerprint == shown.fingerprint);
            let is_confirmed = of_it.is_some_and(|key| key.confirmed_at.is_some());
            let waiting = known.host_keys.iter();
            let waiting = waiting.filter(|key| key.confirmed_at.is_none()).count();
            if of_it.is_none()
                && waiting < MAX_UNCONFIRMED
                && let Ok(proof) = text.parse::<HostKeyProof>()
            {
                let trust = HostKeyTrust::Seen;
                registry.put_host_key(actor, name, &proof, trust).await?;
            }
            settled.host_key_seen = (!is_confirmed).then(|| shown.fingerprint.clone());
        }
        let purpose = SecretPurpose::SshKey;
        let ours = known.secret(purpose, SecretSlot::Current);
        let was = self.integration().secret(purpose, SecretSlot::Current);
        // It was this key that let us in, not one that replaced it meanwhile.
        let is_the_same = ours.map(|key| &key.public) == was.map(|key| &key.public);
        let waits = ours.is_some_and(|key| key.confirmed_at.is_none());
        if waits && is_the_same && seen.proofs.contains(&Proof::CurrentKey) {
            match registry.confirm_key(actor, name, purpose).await {
                Ok(()) => settled.key_confirmed = true,
                Err(RegistryError::NothingToConfirm { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(settled)
    }
}
