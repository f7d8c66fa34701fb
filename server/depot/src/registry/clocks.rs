//! What operators see of the servers' clocks, and say of them.

use super::folders::require_reason;
use super::{Registry, RegistryError};
use crate::account::{Actor, NodeClock};

impl Registry {
    /// What every server last told of its clock.
    ///
    /// # Errors
    /// `Store`.
    pub async fn clocks(&self) -> Result<Vec<NodeClock>, RegistryError> {
        Ok(self.holdings.store.clocks(None).await?)
    }

    /// Says that the wall clock of a node is right although it jumped; the server
    /// believes it within seconds, or at its next start. False when no such node has
    /// told of its clock.
    ///
    /// # Errors
    /// `Reason`, `Store`.
    pub async fn confirm_clock(
        &self,
        actor: &Actor,
        node: &str,
        reason: &str,
    ) -> Result<bool, RegistryError> {
        require_reason(reason)?;
        let entry = self
            .entry(actor, "clock.confirm")
            .with("clock_of", node)
            .with("reason", reason);
        let store = &self.holdings.store;
        let confirmed = store.confirm_clock(node, actor.as_str(), reason, &entry);
        Ok(confirmed.await?.is_some())
    }
}
