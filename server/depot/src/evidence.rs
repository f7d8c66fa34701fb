//! The evidence: hash chains over what was deleted and over the journal.
//!
//! An entry is written together with what it tells of; its place in the chain
//! is given by [`Evidence::seal`], which a server calls about every second.
//! Until then it could be changed without a trace, and no longer.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use layover_retention::{
    ChainHead, ChainName, Checkpoint, EXPORT_FORMAT, Line, PublicKey, SigningKey, Timestamp,
};
use serde_json::value::RawValue;
use tokio::sync::Mutex;

use crate::StoreError;
use crate::chain_memory::{ChainMemory, Expected};
use crate::data_dir;
use crate::holdings::Holdings;
use crate::journal::{JournalKind, NewEntry, Outcome};

/// Entries that get their place in one transaction: short, so that partners do
/// not wait for it.
pub(crate) const SEAL_BATCH: usize = 250;

/// Every so many rounds also entries are looked for that were written later than
/// one with a greater number.
const THOROUGH_EVERY: u32 = 10;

/// Entries that are pruned in one transaction.
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
    memory: Arc<Mutex<Memory>>,
    /// How long entries are kept, where not for ever.
    keeps: Arc<std::sync::Mutex<HashMap<ChainName, Duration>>>,
}

/// What this node knows of the chains by itself, whatever the database says.
#[derive(Debug)]
struct Memory {
    file: PathBuf,
    /// What this node has seen of them.
    chains: ChainMemory,
    /// What was told of a chain that is not ours any more, once.
    told: Vec<(ChainName, String)>,
}

/// Why there is no evidence.
#[derive(Debug, thiserror::Error)]
pub enum EvidenceError {
    /// The database is away, or broken.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A chain is not the one that was signed.
    #[error(
        "the hash chain of the {chain} was changed behind the appliance's back: {what}; nothing \
         more is signed in it (after a restore of your own: stop the server and remove `{}`)",
        memory.display()
    )]
    Altered {
        /// Which chain.
        chain: ChainName,
        /// What does not fit.
        what: String,
        /// The file in which this node keeps where the chains stood.
        memory: PathBuf,
    },
    /// Where the chains stand cannot be kept.
    #[error("`{}` cannot be written", file.display())]
    Memory {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Only a server has a key to sign with.
    #[error("only a running server signs")]
    NoKey,
    /// Entries have their place and no signature.
    #[error(
        "the {0} have their places in the chain, and no signature: somebody removed the \
         checkpoints; the log and `layover journal --kind system` (`chain.altered`) may say more"
    )]
    Unsigned(ChainName),
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

impl Memory {
    async fn keep(&self) -> Result<(), EvidenceError> {
        let (file, chains) = (self.file.clone(), self.chains.clone());
        tokio::task::spawn_blocking(move || data_dir::keep_chain_memory(&file, &chains))
            .await
            .map_err(std::io::Error::other)
            .and_then(|kept| kept)
            .map_err(|source| EvidenceError::Memory {
                file: self.file.clone(),
                source,
            })
    }
}

impl Evidence {
    /// `chains` is what the data directory keeps of the chains; a tool needs none.
    pub(crate) fn new(
        holdings: Arc<Holdings>,
        key: Option<SigningKey>,
        chains: ChainMemory,
        data_dir: &Path,
    ) -> Self {
        Self {
            holdings,
            key: key.map(Arc::new),
            rounds: Arc::default(),
            memory: Arc::new(Mutex::new(Memory {
                file: data_dir::chain_heads_file(data_dir),
                chains,
                told: Vec::new(),
            })),
            keeps: Arc::default(),
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
    /// `NoKey` in a tool; `Altered`, of which the other chain knows nothing; the
    /// database is away.
    pub async fn seal(&self) -> Result<bool, EvidenceError> {
        let key = self.key()?;
        // What is remembered and what is signed belong together.
        let mut memory = self.memory.lock().await;
        let round = self.rounds.fetch_add(1, Ordering::Relaxed);
        let thorough = round.is_multiple_of(THOROUGH_EVERY);
        let mut more = false;
        let mut fault = None;
        let mut moved = thorough && self.meet_keys(&mut memory).await?;
        for chain in [ChainName::Certificates, ChainName::Journal] {
            if !thorough && !self.holdings.store.has_unsealed(chain).await? {
                continue;
            }
            match self.seal_one(&mut memory, chain, key, thorough).await {
                Ok((rest, learnt)) => {
                    more |= rest;
                    moved |= learnt;
                }
                // The other chain goes on.
                Err(error) => fault = Some(error),
            }
        }
        // After the commit: what is remembered was signed, though not always the last of it.
        if moved {
            memory.keep().await?;
        }
        fault.map_or(Ok(more), Err)
    }

    /// Returns whether there is more, and whether something new is to be remembered.
    async fn seal_one(
        &self,
        memory: &mut Memory,
        chain: ChainName,
        key: &SigningKey,
        thorough: bool,
    ) -> Result<(bool, bool), EvidenceError> {
        let (store, now) = (&self.holdings.store, self.holdings.now());
        let expected = self.expected(memory, chain);
        let sealed = store
            .seal(chain, key, &expected, now, thorough, SEAL_BATCH)
            .await;
        let sealed = match sealed {
            Ok(sealed) => sealed,
            Err(error) => return Err(self.fault(memory, chain, error).await?),
        };
        memory.told.retain(|(told, _)| *told != chain);
        if expected.remembered.is_none() && sealed.found.seq > 0 {
            let entry = self
                .entry("chain.believed")
                .with("chain", chain.as_str())
                .with("seq", sealed.found.seq)
                .with("hash", sealed.found.hash.to_string());
            store.append(&entry).await?;
        }
        let mut learnt = memory.chains.learn(chain, &sealed);
        if let Some(seq) = memory.chains.unmarked(chain, now)
            && let Some(at) = store.written_at(chain, seq).await?
        {
            memory.chains.mark(chain, seq, at);
            learnt = true;
        }
        Ok((sealed.more, learnt))
    }

    /// A key that this node has not met is told of: a new server, or somebody who writes
    /// to the database. Returns whether there was one.
    async fn meet_keys(&self, memory: &mut Memory) -> Result<bool, EvidenceError> {
        let own = self.key.as_deref().map(|key| key.public().id());
        let mut met = false;
        for key in self.holdings.store.signing_keys().await? {
            let id = key.id();
            if !memory.chains.meet(id.as_str()) {
                continue;
            }
            met = true;
            if own.as_ref() != Some(&id) {
                let entry = self.entry("chain.key").with("key", id.as_str());
                self.holdings.store.append(&entry).await?;
            }
        }
        Ok(met)
    }

    /// Entries of this chain are kept so long on all nodes. Until that is said, none may
    /// be pruned by another one.
    pub fn keep(&self, chain: ChainName, keep: Duration) {
        let mut keeps = self.keeps.lock().unwrap_or_else(PoisonError::into_inner);
        keeps.insert(chain, keep);
    }

    fn expected(&self, memory: &Memory, chain: ChainName) -> Expected {
        let keeps = self.keeps.lock().unwrap_or_else(PoisonError::into_inner);
        let keep = keeps.get(&chain).copied();
        memory.chains.expected(chain, keep, self.holdings.now())
    }

    /// Chains that are not extended, and why: somebody has changed them.
    pub async fn altered(&self) -> Vec<(ChainName, String)> {
        self.memory.lock().await.told.clone()
    }

    /// A chain that cannot be read is one that somebody changed.
    async fn fault(
        &self,
        memory: &mut Memory,
        chain: ChainName,
        error: StoreError,
    ) -> Result<EvidenceError, StoreError> {
        match error {
            StoreError::Altered { chain, what } => self.note_altered(memory, chain, what).await,
            StoreError::Corrupt { table, id, what } => {
                let what = format!("row {id} of table `{table}` has an unusable {what}");
                self.note_altered(memory, chain, what).await
            }
            other => Err(other),
        }
    }

    fn entry(&self, action: &'static str) -> NewEntry {
        let holdings = &self.holdings;
        NewEntry::new(holdings.now(), JournalKind::System, action, &holdings.node)
    }

    /// Tells of a chain that is not the one that was signed, in the journal once.
    async fn note_altered(
        &self,
        memory: &mut Memory,
        chain: ChainName,
        what: String,
    ) -> Result<EvidenceError, StoreError> {
        let told = (chain, what);
        if !memory.told.contains(&told) {
            let (chain, what) = &told;
            tracing::error!(%chain, what, "a hash chain was changed behind the appliance's back");
            let entry = self
                .entry("chain.altered")
                .outcome(Outcome::Failed)
                .with("chain", chain.as_str())
                .with("reason", what.as_str());
            self.holdings.store.append(&entry).await?;
            memory.told.retain(|(earlier, _)| earlier != chain);
            memory.told.push(told.clone());
        }
        let (chain, what) = told;
        Ok(EvidenceError::Altered {
            chain,
            what,
            memory: memory.file.clone(),
        })
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

    /// Removes entries of a chain that are older than `before` and leaves a signed
    /// checkpoint in their place; a bounded number at a time. Returns how many
    /// went. What has no place in the chain yet stays.
    ///
    /// # Errors
    /// `NoKey` in a tool; `Altered` when an entry is missing or was changed: then none
    /// goes; the database is away.
    pub async fn prune(&self, chain: ChainName, before: Timestamp) -> Result<u64, EvidenceError> {
        let key = self.key()?;
        let mut memory = self.memory.lock().await;
        let expected = self.expected(&memory, chain);
        let entry = self.entry("chain.prune");
        let pruned = self
            .holdings
            .store
            .prune(chain, key, &expected, before, PRUNE_BATCH, &entry)
            .await;
        match pruned {
            Ok(None) => Ok(0),
            Ok(Some(pruned)) => {
                memory.chains.learn_pruned(chain, pruned.head);
                memory.keep().await?;
                Ok(pruned.entries)
            }
            Err(error) => Err(self.fault(&mut memory, chain, error).await?),
        }
    }

    /// The beginning of an export. It reaches to the newest signed entry.
    ///
    /// # Errors
    /// `NothingSigned`, `Unsigned`; the database is away.
    pub async fn export(&self, chain: ChainName) -> Result<Shard, EvidenceError> {
        let store = &self.holdings.store;
        let after = store.chain_beginning(chain).await?;
        let begins = after.as_ref().map_or(0, |checkpoint| checkpoint.head.seq);
        if after.is_none() && store.last_checkpoint(chain).await?.is_none() {
            let is_empty = store.chain_head(chain).await? == ChainHead::EMPTY
                && store.chain_page(chain, 0, 1).await?.is_empty();
            return Err(if is_empty {
                EvidenceError::NothingSigned(chain)
            } else {
                EvidenceError::Unsigned(chain)
            });
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
