//! The connection doctor: why a partner cannot connect, from what was seen of its
//! connections.
//!
//! Front ends and the gate tell what they see ([`Signs::see`]): in memory, at once, without
//! an answer. Every few seconds a server writes it ([`Signs::write`]), one row for each
//! account, address, protocol and [`Sign`]. [`Signs::examine`] reads the rows of one account
//! and those of nobody at its addresses, and [`diagnose`] makes of them at most one verdict:
//! what is wrong, on whose side, how sure that is, and what to write to the partner. Nothing
//! is decided by any of it: who may come in is the gate's to say.

mod advice;
mod announced;
mod board;
mod change;
mod chart;
mod ports;
mod repeats;
mod sign;
mod verdict;

use std::sync::Arc;
use std::time::Duration;

use layover_retention::Timestamp;

pub use announced::Announced;
pub(crate) use board::SignBoard;
pub use change::Change;
pub use chart::{Chart, Examined, OthersPlace, OurSide};
pub use ports::{PortPart, PortTally};
pub use repeats::Repeated;
pub(crate) use sign::SignWrite;
pub use sign::{Clue, SeenSign, Sign, SignDetail, Whose};
pub use verdict::{Condition, Diagnosis, Finding, Side, Sureness, diagnose};

use crate::holdings::Holdings;
use crate::registry::RegistryError;
use crate::store::StoreError;
use crate::{AccountName, Network};

/// How long a sign is kept that is not seen again, at most.
pub const SIGNS_KEEP: Duration = Duration::from_secs(30 * 86_400);

/// Signs of nobody that one examination looks through.
const MAX_LOOKED_THROUGH: usize = 2_500;

/// The door to what was seen of connections. Clones are the same door.
#[derive(Clone, Debug)]
pub struct Signs {
    holdings: Arc<Holdings>,
}

impl Signs {
    pub(crate) fn new(holdings: Arc<Holdings>) -> Self {
        Self { holdings }
    }

    /// Takes note of what was seen. Nothing waits, nothing is written, nothing fails.
    pub fn see(&self, whose: &Whose, seen: Clue) {
        self.holdings.see(whose, seen);
    }

    /// Writes what was seen since: one transaction, of at most 256 rows. Nothing where
    /// nothing was seen.
    ///
    /// # Errors
    /// The database is away: what concerns partners is written the next time.
    pub async fn write(&self) -> Result<(), StoreError> {
        self.write_some(false).await
    }

    /// The same at the end of a server, and nothing waits for its turn.
    pub(crate) async fn write_the_rest(&self) -> Result<(), StoreError> {
        self.write_some(true).await
    }

    async fn write_some(&self, all: bool) -> Result<(), StoreError> {
        let holdings = &self.holdings;
        // Where only deletion may write, what was seen waits, and is bounded.
        if holdings.room.is_scarce() {
            return Ok(());
        }
        let writes = holdings.signs.take(all);
        if writes.is_empty() {
            return Ok(());
        }
        let written = holdings.store.add_signs(&writes, &holdings.node).await;
        if written.is_err() {
            holdings.signs.put_back(writes);
        }
        written
    }

    /// Forgets what was seen last longer ago than `keep`, and than [`SIGNS_KEEP`].
    ///
    /// # Errors
    /// The database is away.
    pub async fn forget(&self, keep: Duration) -> Result<u64, StoreError> {
        let before = self.holdings.now().saturating_sub(keep.min(SIGNS_KEEP));
        self.holdings.store.forget_signs(before).await
    }

    /// What is wrong with an account's connections, as far as was seen.
    ///
    /// # Errors
    /// `UnknownAccount`, `Store`.
    pub async fn examine(
        &self,
        name: &AccountName,
        ours: OurSide,
    ) -> Result<Diagnosis, RegistryError> {
        let store = &self.holdings.store;
        let unknown = || RegistryError::UnknownAccount { name: name.clone() };
        let account = store.account(name).await?.ok_or_else(unknown)?;
        let signs = store.signs_of(name.as_str()).await?;
        let nobodys = store.signs_of_nobody(MAX_LOOKED_THROUGH).await?;
        let used = store.account_use().await?;
        let last_login_at = used.get(&account.id).and_then(|used| used.last_login_at);
        let now: Timestamp = self.holdings.now();
        let others = store.places_of_others(name.as_str(), now).await?;
        let bans = store.bans(now).await?.into_iter().map(|ban| ban.network);
        let chart = Chart::new(account.into(), signs, nobodys, last_login_at, ours, now);
        let changes = match chart.wrong_since() {
            Some(since) => store.account_changes(name.as_str(), since).await?,
            None => Vec::new(),
        };
        let chart = chart.beside(others).changed(changes).banned(bans.collect());
        Ok(diagnose(&chart))
    }
}

/// Whether an address is one from which the account may come; `any` says nothing.
fn is_of(account: &Examined, network: Network, now: Timestamp) -> bool {
    account.networks.iter().any(|allowed| {
        let is_over = allowed.until.is_some_and(|until| until <= now);
        !is_over && !allowed.network.is_any() && overlap(allowed.network, network)
    })
}

/// Whether one lies in the other: of IPv6 a /64 was seen, and one address may be allowed.
fn overlap(one: Network, other: Network) -> bool {
    match (one, other) {
        (Network::Block(a), Network::Block(b)) => {
            one.contains(b.addr()) || other.contains(a.addr())
        }
        _ => true,
    }
}
