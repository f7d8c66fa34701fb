//! Refused logins are counted, and who has too many is shut out.

use std::collections::HashMap;
use std::net::IpAddr;

use layover_retention::Timestamp;

use super::Gate;
use super::bans::{self, Ban, Offence};
use crate::Network;
use crate::journal::NewEntry;
use crate::store::StoreError;

impl Gate {
    /// Who is banned, from now on.
    pub(crate) fn set_bans(&self, bans: Vec<Ban>) {
        self.admission.set_bans(bans);
    }

    /// The database does not answer: strangers stay out until it does (G02).
    pub(crate) fn set_blind(&self) {
        self.admission.set_blind();
    }

    /// When scores of before this time are nothing any more.
    pub(crate) fn scores_end(&self) -> Timestamp {
        self.holdings
            .now()
            .saturating_sub(self.admission.rules().span)
    }

    /// Counts those who held a place long and never logged in.
    ///
    /// # Errors
    /// The database is away: those are not counted.
    pub(crate) async fn count_lingered(&self) -> Result<(), StoreError> {
        // Together: who holds many places lets go of them together.
        let mut by_party: HashMap<Network, (IpAddr, i64)> = HashMap::new();
        for peer in self.admission.take_lingered() {
            let (_, weight_milli) = by_party.entry(bans::party(peer)).or_insert((peer, 0));
            *weight_milli = weight_milli.saturating_add(bans::NO_LOGIN);
        }
        for (peer, weight_milli) in by_party.into_values() {
            self.count(peer, weight_milli, None).await?;
        }
        Ok(())
    }

    /// Tells the journal of a failure and counts it; whoever failed too often is shut out
    /// at once here, and within a second on the other nodes.
    pub(super) async fn count(
        &self,
        peer: IpAddr,
        weight_milli: i64,
        entry: Option<&NewEntry>,
    ) -> Result<(), StoreError> {
        let store = &self.holdings.store;
        let rules = self.admission.rules();
        if weight_milli == 0 || rules.spares(peer) {
            return match entry {
                Some(entry) => store.append(entry).await,
                None => Ok(()),
            };
        }
        let offence = Offence {
            network: bans::party(peer),
            weight_milli,
            rules: rules.clone(),
            now: self.holdings.now(),
            node: self.holdings.node.clone(),
        };
        let Some(ban) = store.note_offence(entry, &offence).await? else {
            return Ok(());
        };
        tracing::warn!(
            peer.addr = %peer,
            network = %ban.network,
            until = ban.until.map(tracing::field::display),
            "banned: {}",
            ban.reason
        );
        self.admission.add_ban(ban);
        Ok(())
    }
}
