//! The evidence: hash chains over what was deleted and over the journal.
//!
//! An entry is written together with what it tells of; its place in the chain
//! is given by [`Evidence::seal`], which a server calls about every second.
//! Until then it could be changed without a trace, and no longer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use layover_retention::{
    ChainName, Checkpoint, EXPORT_FORMAT, Line, PublicKey, SigningKey, Timestamp,
};
use serde_json::value::RawValue;

use crate::StoreError;
use crate::holdings::Holdings;

/// Entries that get their place in one transaction: short, so that partners do
/// not wait for it.
pub(crate) const SEAL_BATCH: usize = 250;

/// Every so many rounds also entries are looked for that were written later than
/// one with a greater number.
const THOROUGH_EVERY: u32 = 10;

/// Entries of the journal that are pruned in one transaction.
pub(crate) const PRUNE_BATCH: usize = 1_000;

/// Transactions that an ending server still makes.
const MAX_LAST_ROUNDS: usize = 40;

/// Links read at once for an export.
const EXPORT_PAGE: usize = 500;

/// Intruders that are named at most.
const MAX_INTRUDERS: usize = 100;

/// The door for auditors. Clones are the same.
#[derive(Clone, Debug)]
pub struct Evidence {
    holdings: Arc<Holdings>,
    /// None for a tool: only servers sign.
    key: Option<Arc<SigningKey>>,
    /// Calls of [`Evidence::seal`].
    rounds: Arc<AtomicU32>,
}

/// Why there is no evidence.
#[derive(Debug, thiserror::Error)]
pub enum EvidenceError {
    /// The database is away, or broken.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Only a server has a key to sign with.
    #[error("only a running server signs")]
    NoKey,
    /// Nothing was signed yet.
    #[error(
        "nothing has been signed yet: the {0} are signed by the running server within seconds of \
         the first entry"
    )]
    NothingSigned(ChainName),
    /// A record is no JSON.
    #[error("entry {seq} of the {chain} cannot be written down")]
    Record {
        /// Of which chain.
        chain: ChainName,
        /// Which entry.
        seq: u64,
    },
}

/// Part of an export: some lines, and where to go on.
#[derive(Debug)]
pub struct Shard {
    /// The lines, in order.
    pub lines: Vec<Line>,
    after: u64,
    /// Nothing follows.
    pub is_last: bool,
}

impl Evidence {
    pub(crate) fn new(holdings: Arc<Holdings>, key: Option<SigningKey>) -> Self {
        Self {
            holdings,
            key: key.map(Arc::new),
            rounds: Arc::default(),
        }
    }

    /// Makes the public half of this node's key known.
    pub(crate) async fn register(&self) -> Result<(), StoreError> {
        let Some(key) = &self.key else {
            return Ok(());
        };
        let holdings = &self.holdings;
        let now = holdings.now();
        holdings
            .store
            .register_key(&key.public(), &holdings.node, now)
            .await
    }

    fn key(&self) -> Result<&SigningKey, EvidenceError> {
        self.key.as_deref().ok_or(EvidenceError::NoKey)
    }

    /// The public halves of all keys that ever signed here.
    ///
    /// # Errors
    /// The database is away.
    pub async fn public_keys(&self) -> Result<Vec<PublicKey>, EvidenceError> {
        Ok(self.holdings.store.signing_keys().await?)
    }

    /// Gives new entries of both chains their place and signs where these
    /// stand; a bounded number at a time. Returns whether there may be more.
    ///
    /// # Errors
    /// `NoKey` in a tool; the database is away.
    pub async fn seal(&self) -> Result<bool, EvidenceError> {
        let key = self.key()?;
        let round = self.rounds.fetch_add(1, Ordering::Relaxed);
        let thorough = round.is_multiple_of(THOROUGH_EVERY);
        let mut more = false;
        for chain in [ChainName::Certificates, ChainName::Journal] {
            let now = self.holdings.now();
            let store = &self.holdings.store;
            if !thorough && !store.has_unsealed(chain).await? {
                continue;
            }
            more |= store
                .seal(chain, key, now, thorough, SEAL_BATCH)
                .await?
                .more;
        }
        Ok(more)
    }

    /// Before a server ends; what stays without a place gets it at the next start.
    pub(crate) async fn seal_the_rest(&self) {
        if self.key.is_none() {
            return;
        }
        for _ in 0..MAX_LAST_ROUNDS {
            match self.seal().await {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "the last entries of the journal are signed at the next start"
                    );
                    return;
                }
            }
        }
    }

    /// Removes entries of the journal older than `before` and leaves a signed
    /// checkpoint in their place; a bounded number at a time. Returns how many
    /// went. What has no place in the chain yet stays.
    ///
    /// # Errors
    /// `NoKey` in a tool; the database is away.
    pub async fn prune_journal(&self, before: Timestamp) -> Result<u64, EvidenceError> {
        let now = self.holdings.now();
        let store = &self.holdings.store;
        Ok(store
            .journal_prune(self.key()?, before, now, PRUNE_BATCH)
            .await?)
    }

    /// The beginning of an export. It reaches to the newest signed entry.
    ///
    /// # Errors
    /// `NothingSigned`; the database is away.
    pub async fn export(&self, chain: ChainName) -> Result<Shard, EvidenceError> {
        let store = &self.holdings.store;
        let after = store.chain_beginning(chain).await?;
        let begins = after.as_ref().map_or(0, |checkpoint| checkpoint.head.seq);
        if after.is_none() && store.last_checkpoint(chain).await?.is_none() {
            return Err(EvidenceError::NothingSigned(chain));
        }
        Ok(Shard {
            lines: vec![Line::Chain {
                format: EXPORT_FORMAT,
                chain,
                after,
                keys: store.signing_keys().await?,
            }],
            after: begins,
            is_last: false,
        })
    }

    /// What follows `shard`. An entry that is no longer there has no line, and
    /// whoever verifies the export notices.
    ///
    /// # Errors
    /// The database is away, or a record is broken.
    pub async fn export_next(
        &self,
        chain: ChainName,
        shard: &Shard,
    ) -> Result<Shard, EvidenceError> {
        let store = &self.holdings.store;
        let last_signed = store.last_checkpoint(chain).await?.unwrap_or(0);
        let mut rows = store.chain_page(chain, shard.after, EXPORT_PAGE).await?;
        let is_last = rows.len() < EXPORT_PAGE;
        rows.retain(|row| row.seq <= last_signed);
        let last = rows.last().map_or(shard.after, |row| row.seq);
        // Also of entries whose links are gone: their absence shows.
        let reach = if is_last { last_signed.max(last) } else { last };
        let checkpoints = store.chain_checkpoints(chain, shard.after, reach).await?;
        let mut checkpoints = checkpoints.into_iter().peekable();
        let mut lines = Vec::with_capacity(rows.len());
        let until = |checkpoint: &Checkpoint, seq| checkpoint.head.seq < seq;
        for row in rows {
            while let Some(earlier) = checkpoints.next_if(|found| until(found, row.seq)) {
                lines.push(Line::Checkpoint(earlier));
            }
            let Some(record) = row.record else { continue };
            lines.push(Line::Entry {
                seq: row.seq,
                hash: row.hash,
                record: RawValue::from_string(record).map_err(|_| EvidenceError::Record {
                    chain,
                    seq: row.seq,
                })?,
            });
        }
        lines.extend(checkpoints.map(Line::Checkpoint));
        Ok(Shard {
            lines,
            after: last,
            is_last,
        })
    }

    /// Numbers of entries that turned up behind the appliance's back, where
    /// every place was given; a bounded number of them.
    ///
    /// # Errors
    /// The database is away.
    pub async fn intruders(&self, chain: ChainName) -> Result<Vec<i64>, EvidenceError> {
        let store = &self.holdings.store;
        Ok(store.chain_intruders(chain, MAX_INTRUDERS).await?)
    }
}
