//! The PGP keys of an integration, as its policies need them.

use std::sync::Arc;

use jiff::Timestamp;
use layover_depot::{Integration, PgpPublicKeys, Registry, SecretPurpose, SecretSlot};

use super::prepare::Preparation;
use super::{PartnerError, Surroundings};
use crate::pgp::{
    Compression, DecryptOptions, EncryptOptions, Form, Limits, OwnKeyError, OwnKeys, PartnerKey,
    SenderRule,
};

/// The keys of one integration. What no policy asks for is not read.
#[derive(Clone, Debug, Default)]
pub struct PgpKeys {
    /// With `inbound.pgp`: all of ours, the newest first.
    pub own: Option<Arc<OwnKeys>>,
    /// With `inbound.signature_required`: whose signature is taken.
    pub sender: Option<Arc<PartnerKey>>,
    /// With `outbound.pgp`: to whom files are encrypted.
    pub recipient: Option<Arc<PartnerKey>>,
    /// With `outbound.sign`: what files are signed with. While a new key of ours is not
    /// confirmed, that is the one before it: it is the one that the partner has.
    pub signer: Option<Arc<OwnKeys>>,
}

impl PgpKeys {
    /// Reads and fetches them.
    ///
    /// # Errors
    /// The first key that is needed and cannot be used.
    pub async fn prepare(
        registry: &Registry,
        integration: &Integration,
        surroundings: &Surroundings,
    ) -> Result<Self, PartnerError> {
        let (keys, mut errors) = Self::examine(registry, integration, surroundings).await;
        match errors.is_empty() {
            true => Ok(keys),
            false => Err(errors.swap_remove(0)),
        }
    }

    /// The same, telling everything that is wrong.
    pub async fn examine(
        registry: &Registry,
        integration: &Integration,
        surroundings: &Surroundings,
    ) -> (Self, Vec<PartnerError>) {
        let settings = &integration.spec.settings;
        let (inbound, outbound) = (&settings.inbound, &settings.outbound);
        let mut preparation = Preparation::new(registry, integration, surroundings);
        let mut keys = Self::default();
        if inbound.pgp || outbound.sign {
            let (own, signer) = own_keys(&mut preparation).await;
            keys.own = own.filter(|_| inbound.pgp);
            keys.signer = signer.filter(|_| outbound.sign);
        }
        if inbound.signature_required {
            let (field, key) = ("inbound.partner_key", &inbound.partner_key);
            keys.sender = partner_key(&mut preparation, field, key.as_ref());
        }
        if outbound.pgp {
            let (field, key) = ("outbound.recipient_key", &outbound.recipient_key);
            keys.recipient = partner_key(&mut preparation, field, key.as_ref());
        }
        (keys, preparation.errors)
    }

    /// How files of the partner are decrypted; `None`: they come in plain.
    #[must_use]
    pub fn decrypting(&self, now: Timestamp) -> Option<DecryptOptions> {
        let sender = match &self.sender {
            Some(key) => SenderRule::SignedBy(Arc::clone(key)),
            None => SenderRule::Anyone,
        };
        self.own.as_ref().map(|keys| DecryptOptions {
            keys: Arc::clone(keys),
            sender,
            limits: Limits::default(),
            now,
        })
    }

    /// How files for the partner are encrypted; `None`: they go out plain.
    #[must_use]
    pub fn encrypting(&self, now: Timestamp) -> Option<EncryptOptions> {
        self.recipient.as_ref().map(|key| EncryptOptions {
            to: Arc::clone(key),
            sign_with: self.signer.clone(),
            form: Form::default(),
            compression: Compression::default(),
            now,
        })
    }
}

/// All of ours in one, and those that sign.
async fn own_keys(
    preparation: &mut Preparation<'_>,
) -> (Option<Arc<OwnKeys>>, Option<Arc<OwnKeys>>) {
    let purpose = SecretPurpose::PgpKey;
    if !preparation.has(purpose) {
        preparation.missing("PGP key", "make one");
        return (None, None);
    }
    let current = preparation.secret(purpose, SecretSlot::Current).await;
    let previous = preparation.secret(purpose, SecretSlot::Previous).await;
    let Some(current) = current else {
        return (None, None);
    };
    let read = || -> Result<(OwnKeys, Option<OwnKeys>), OwnKeyError> {
        let current = OwnKeys::from_bytes(current.expose())?;
        let Some(previous) = &previous else {
            return Ok((current, None));
        };
        let previous = OwnKeys::from_bytes(previous.expose())?;
        let mut all = previous.clone();
        // The oldest first: each one goes in front.
        let mut newer: Vec<_> = current.iter().cloned().collect();
        newer.reverse();
        for key in newer {
            all.rotate(key)?;
        }
        Ok((all, Some(previous)))
    };
    match read() {
        Ok((all, previous)) => {
            let all = Arc::new(all);
            let signer = previous.map_or_else(|| Arc::clone(&all), Arc::new);
            (Some(all), Some(signer))
        }
        Err(error) => {
            preparation.unusable("pgp_inbound_key", error);
            (None, None)
        }
    }
}

fn partner_key(
    preparation: &mut Preparation<'_>,
    field: &'static str,
    key: Option<&PgpPublicKeys>,
) -> Option<Arc<PartnerKey>> {
    let Some(key) = key else {
        preparation.unusable(field, "the partner's PGP key is not there");
        return None;
    };
    match PartnerKey::read(key.as_str().as_bytes()) {
        Ok(key) => Some(Arc::new(key)),
        Err(error) => {
            preparation.unusable(field, error);
            None
        }
    }
}
