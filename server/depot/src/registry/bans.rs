//! Who gets no banner: what operators see of it, and say.

use layover_retention::Timestamp;

use super::folders::require_reason;
use super::{Registry, RegistryError};
use crate::Network;
use crate::account::Actor;
use crate::gate::Ban;

impl Registry {
    /// Bans that are not over: those of operators first, then the youngest.
    ///
    /// # Errors
    /// `Store`.
    pub async fn bans(&self) -> Result<Vec<Ban>, RegistryError> {
        let now = self.holdings.now();
        Ok(self.holdings.store.bans(now).await?)
    }

    /// Lets nobody in from a network; servers know within seconds. Sessions that are logged
    /// in go on. `until`: `None` until it is lifted. A ban that is there gets this reason
    /// and end.
    ///
    /// # Errors
    /// `NoReason`, `BadReason`, `BanOfAll`, `Store`.
    pub async fn add_ban(
        &self,
        actor: &Actor,
        network: Network,
        reason: &str,
        until: Option<Timestamp>,
    ) -> Result<Ban, RegistryError> {
        require_reason(reason)?;
        if network.is_any() {
            return Err(RegistryError::BanOfAll);
        }
        let ban = Ban {
            network,
            owner: Some(actor.as_str().to_owned()),
            reason: reason.to_owned(),
            since: self.holdings.now(),
            until,
        };
        let mut entry = self
            .entry(actor, "ban.add")
            .with("network", network.to_string())
            .with("reason", reason);
        if let Some(until) = until {
            entry = entry.with("until", until.to_string());
        }
        self.holdings.store.add_ban(&ban, &entry).await?;
        Ok(ban)
    }

    /// Lifts a ban, whoever made it, and forgets the failures behind it. Returns the bans that
    /// still keep somebody of the network out: of a part of it, or of one around it.
    ///
    /// # Errors
    /// `UnknownBan`, `NoBanOfAll`, `BannedWithin`, `Store`.
    pub async fn lift_ban(
        &self,
        actor: &Actor,
        network: &Network,
    ) -> Result<Vec<Ban>, RegistryError> {
        let entry = self
            .entry(actor, "ban.lift")
            .with("network", network.to_string());
        let (store, now) = (&self.holdings.store, self.holdings.now());
        let is_lifted = store.lift_ban(network, now, &entry).await?.is_some();
        let bans = store.bans(now).await?.into_iter();
        if is_lifted {
            let left = bans.filter(|ban| overlap(&ban.network, network));
            return Ok(left.collect());
        }
        let Network::Block(block) = network else {
            return Err(RegistryError::NoBanOfAll);
        };
        let mut wider = bans.map(|ban| ban.network).filter(|ban| match ban {
            Network::Any => true,
            Network::Block(ban) => ban.contains(block),
        });
        Err(match wider.next() {
            Some(wider) => RegistryError::BannedWithin {
                network: *network,
                wider,
            },
            None => RegistryError::UnknownBan { network: *network },
        })
    }
}

/// Whether some address lies in both.
fn overlap(one: &Network, other: &Network) -> bool {
    match (one, other) {
        (Network::Block(one), Network::Block(other)) => one.contains(other) || other.contains(one),
        (Network::Any, _) | (_, Network::Any) => true,
    }
}
