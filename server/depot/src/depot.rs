//! The depot itself: opened once, its doors, and what keeps it going.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering};
use std::time::Duration;

use layover_retention::{Clock, Keep, SigningKey};

use crate::account::JobRun;
use crate::adopt::{AdoptReport, Adopter};
use crate::chain_memory::ChainMemory;
use crate::content_hash::{Checksum, ContentHasher, HashReport};
use crate::data_dir::{self, DataDirError, ServerLock};
use crate::doctor::Signs;
use crate::evidence::Evidence;
use crate::fault_log::FaultLog;
use crate::figures::{Counted, LedgerFigures};
use crate::gate::GateOptions;
use crate::holdings::{Elsewhere, Holdings, LiveKey, needed_storage};
use crate::journal::{JournalKind, NewEntry};
use crate::ledger::ApplianceKeep;
use crate::password::Passwords;
use crate::recover::{self, RecoveryReport, SILENT_AFTER};
use crate::statistics::Statistics;
use crate::store::{Connect, Missing, OpenStoreError, OwnSessions, Store};
use crate::vfs::{HiddenName, LocalStorage, Room, StorageId, Vfs, Watched};
use crate::writes::{NotWritable, Writes};
use crate::{EndReason, Gate, Journal, NodeId, Registry, Shelf, StoreError, VfsError, timer};

/// A network whose end has come is noticed after so many refreshes at the
/// latest, even when nothing in the database changed.
const FULL_REFRESH_EVERY: u32 = 3;

/// How long a ban that is over is kept: another node's clock may be behind ours.
const ENDED_BANS_STAY: Duration = Duration::from_secs(86_400);

/// Scores and bans that are over are forgotten after so many refreshes.
const FORGET_EVERY: u32 = 300;

/// How long [`Depot::close`] waits for work that outlives its session.
const CLOSE_WAIT: Duration = Duration::from_secs(10);

/// The job under which a node tells what its sessions move.
pub(crate) fn moving_job(node: &str) -> String {
    format!("moving:{node}")
}

/// Whether an answer waits until the disk has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fsync {
    /// Nothing acknowledged is lost when the power goes.
    Always,
    /// Nothing is lost when the process goes; for measurements and storage
    /// that needs no fsync.
    Never,
}

/// What the process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// The one server of this data directory.
    Server,
    /// A command line beside it, or without it, that may set up new data.
    Tool,
    /// A command line that works only on what is there: it makes neither
    /// directory nor database, sets up no schema in an empty one and changes
    /// none that an older version left.
    Visitor,
}

/// How to open a depot.
#[derive(Clone)]
pub struct Options {
    /// `sqlite:FILE` or `postgres://...`.
    pub database_url: String,
    /// This node's own directory.
    pub data_dir: PathBuf,
    /// Where the homes are; may lie on storage that nodes share.
    pub homes: PathBuf,
    /// Whether an answer waits for the disk.
    pub fsync: Fsync,
    /// How long files stay where nobody says otherwise.
    pub keep: Keep,
    /// A longer keep is refused.
    pub max_keep: Keep,
    /// How long an interrupted upload stays resumable.
    pub partial_keep: Keep,
    /// Whether contents are hashed.
    pub checksum: Checksum,
    /// Who may connect, and how many.
    pub gate: GateOptions,
    /// Whether integrations may only be what is safe.
    pub hardened: bool,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// What the process is.
    pub role: Role,
}

impl fmt::Debug for Options {
    /// Without the database's URL, which may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("data_dir", &self.data_dir)
            .field("homes", &self.homes)
            .field("role", &self.role)
            .finish_non_exhaustive()
    }
}

/// Why a depot cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The data directory.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The database.
    #[error(transparent)]
    Store(#[from] OpenStoreError),
    /// The first statements failed.
    #[error("the database cannot be used")]
    Database(#[from] StoreError),
    /// Partners could reach the server's own files.
    #[error(
        "the homes directory `{}` must not contain the data directory `{}`, its keys or the \
         database: partners would see them, and retention would delete them",
        homes.display(),
        data_dir.display()
    )]
    HomesOverlap {
        /// `[storage] homes`.
        homes: PathBuf,
        /// `data_dir`.
        data_dir: PathBuf,
    },
    /// The homes.
    #[error("the homes directory `{}` cannot be used", path.display())]
    Homes {
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A restore was broken off.
    #[error(
        "a backup was being restored into this database, and that did not end: remove the database and the data directory, and restore it again"
    )]
    HalfRestored,
    /// The homes are not those of the database.
    #[error(
        "the homes directory `{}` {}, but the files in the database lie on storage `{expected}`: \
         every node must mount that same storage there, and it must be mounted before the \
         server starts; if this is that storage, restored without its hidden folder, write the \
         line `{expected}` into `{}`",
        path.display(),
        found.as_ref().map_or_else(
            || "has no storage id (it is not mounted, or was emptied)".to_owned(),
            |found| format!("is storage `{found}`"),
        ),
        path.join(".layover/storage-id").display()
    )]
    HomesElsewhere {
        /// Where.
        path: PathBuf,
        /// The storage that the database speaks of.
        expected: StorageId,
        /// The storage that is there, if it says so.
        found: Option<StorageId>,
    },
    /// Which storage the homes are on cannot be told.
    #[error("which storage the homes are on cannot be told")]
    HomesUnknown(#[source] VfsError),
}

/// What a refresh found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Refresh {
    /// Accounts or networks had changed.
    pub changed: bool,
    /// Live sessions that were told to end.
    pub ended_sessions: usize,
}

/// Everything that is kept. Clones are the same depot.
#[derive(Clone, Debug)]
pub struct Depot {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    holdings: Arc<Holdings>,
    /// The node whose data directory this is; none before its first start.
    node_here: Option<NodeId>,
    registry: Registry,
    gate: Gate,
    journal: Journal,
    shelf: Shelf,
    evidence: Evidence,
    /// None where contents are not hashed.
    hasher: Option<ContentHasher>,
    adopter: tokio::sync::Mutex<Adopter>,
    /// The generation that the gate knows; -1 before the first refresh.
    generation: AtomicI64,
    /// The last refresh failed.
    refresh_failed: AtomicBool,
    refreshes: AtomicU32,
    /// Whether this process is among the nodes.
    joined: AtomicBool,
    /// Whether the last word of what sessions move was that some do.
    told_some: AtomicBool,
    writes: Writes,
    data_dir: PathBuf,
    role: Role,
    _lock: Option<ServerLock>,
}

impl Depot {
    /// Opens directories and database, makes what is missing (a visitor does
    /// not), brings the schema up to date. A server also takes the lock of its data directory, joins
    /// the nodes and loads the gate; it must call [`Depot::recover`] next.
    ///
    /// # Errors
    /// [`OpenError`] says which part, and what to do.
    pub async fn open(options: Options) -> Result<Self, OpenError> {
        let database = Store::file(&options.database_url);
        if data_dir::overlaps(&options.homes, &options.data_dir, database.as_deref()) {
            return Err(OpenError::HomesOverlap {
                homes: options.homes,
                data_dir: options.data_dir,
            });
        }
        if options.role != Role::Visitor {
            data_dir::make_private(&options.data_dir)?;
        }
        // Before a database is made: a restore killed at once has none yet.
        if data_dir::is_restoring(&options.data_dir) {
            return Err(OpenError::HalfRestored);
        }
        let node_here = data_dir::existing_node(&options.data_dir)?;
        let (lock, node, signer) = match options.role {
            Role::Server => (
                Some(data_dir::lock(&options.data_dir)?),
                data_dir::node(&options.data_dir)?,
                Some((
                    data_dir::signing_key(&options.data_dir)?,
                    data_dir::chain_memory(&options.data_dir)?,
                )),
            ),
            Role::Tool | Role::Visitor => (None, data_dir::tool_node()?, None),
        };
        let connect = Connect {
            url: options.database_url.clone(),
            fsync: options.fsync,
            missing: match options.role {
                Role::Visitor => Missing::Refuse,
                Role::Server | Role::Tool => Missing::Make,
            },
        };
        let watched = Watched {
            database,
            data_dir: options.data_dir.clone(),
            homes: options.homes.clone(),
        };
        give_way(&watched).await;
        let store = Arc::new(Store::open(&connect).await?);
        if crate::backup::is_incomplete(&store).await? {
            return Err(OpenError::HalfRestored);
        }
        let homes = options.homes.clone();
        // Records without files: a disk that is not mounted, perhaps. Where no
        // file is missed, a server goes on with empty homes; no visitor makes
        // that of it.
        if data_dir::is_missing(&homes) {
            let now = options.clock.now();
            if let Some(expected) = needed_storage(&store, &node, now).await? {
                return Err(OpenError::HomesElsewhere {
                    path: homes,
                    expected,
                    found: None,
                });
            }
            if options.role == Role::Visitor {
                return Err(OpenError::Homes {
                    path: homes,
                    source: std::io::ErrorKind::NotFound.into(),
                });
            }
        }
        let storage =
            tokio::task::spawn_blocking(move || LocalStorage::open(&homes, options.fsync))
                .await
                .map_err(std::io::Error::other)
                .and_then(|opened| opened)
                .map_err(|source| OpenError::Homes {
                    path: options.homes.clone(),
                    source,
                })?;
        let holdings = Holdings::new(
            Arc::clone(&store),
            Vfs::new(Arc::new(storage), options.fsync),
            Arc::clone(&options.clock),
            node.clone(),
            ApplianceKeep {
                keep: options.keep,
                max_keep: options.max_keep,
            },
            options.partial_keep.as_duration(),
        );
        holdings.room.watch(watched);
        let node_here = match options.role {
            Role::Server => Some(holdings.node.clone()),
            Role::Tool | Role::Visitor => node_here,
        };
        let depot = Self::assemble(holdings, node_here, &options, lock, signer);
        if options.role == Role::Server {
            depot.settle_storage(&options.homes).await?;
            let now = depot.inner.holdings.now();
            let silent_before = now.saturating_sub(SILENT_AFTER);
            store
                .end_dead_sessions(&node, OwnSessions::Dead, silent_before, now)
                .await?;
            store.drop_silent_nodes(&node, silent_before).await?;
            depot.beat().await?;
            depot.evidence().register().await?;
            depot.apply_rule().await?;
            depot.refresh().await?;
        }
        Ok(depot)
    }

    fn assemble(
        holdings: Arc<Holdings>,
        node_here: Option<NodeId>,
        options: &Options,
        lock: Option<ServerLock>,
        signer: Option<(SigningKey, ChainMemory)>,
    ) -> Self {
        let (key, heads) = signer.unzip();
        let heads = heads.unwrap_or_default();
        let passwords = Passwords::new();
        Self {
            inner: Arc::new(Inner {
                registry: Registry::new(Arc::clone(&holdings), passwords.clone(), options),
                gate: Gate::new(Arc::clone(&holdings), passwords, options.gate.clone()),
                journal: Journal::new(Arc::clone(&holdings.store), holdings.node.clone()),
                shelf: Shelf::new(Arc::clone(&holdings)),
                evidence: Evidence::new(Arc::clone(&holdings), key, heads, &options.data_dir),
                hasher: (options.checksum == Checksum::Background)
                    .then(|| ContentHasher::new(Arc::clone(&holdings))),
                adopter: tokio::sync::Mutex::new(Adopter::new(Arc::clone(&holdings))),
                generation: AtomicI64::new(-1),
                refresh_failed: AtomicBool::new(false),
                refreshes: AtomicU32::new(0),
                joined: AtomicBool::new(false),
                told_some: AtomicBool::new(false),
                writes: Writes::default(),
                data_dir: options.data_dir.clone(),
                role: options.role,
                holdings,
                node_here,
                _lock: lock,
            }),
        }
    }

    async fn settle_storage(&self, homes: &std::path::Path) -> Result<(), OpenError> {
        let settled = self.inner.holdings.settle_storage().await;
        settled
            .map_err(OpenError::HomesUnknown)?
            .map_err(|elsewhere| not_ours(homes, elsewhere))
    }

    /// Whether a server would find the homes of its database at `homes`, where
    /// this depot was opened. Changes nothing.
    ///
    /// # Errors
    /// `HomesElsewhere`, `HomesUnknown`.
    pub async fn check_homes(&self, homes: &std::path::Path) -> Result<(), OpenError> {
        let judged = self.inner.holdings.judge_storage().await;
        judged
            .map_err(OpenError::HomesUnknown)?
            .map(drop)
            .map_err(|elsewhere| not_ours(homes, elsewhere))
    }

    /// What is stored follows the appliance's rule, also when the settings
    /// changed while no server ran.
    async fn apply_rule(&self) -> Result<(), StoreError> {
        let holdings = &self.inner.holdings;
        let (now, rule) = (holdings.now(), holdings.appliance);
        let entry = NewEntry::new(now, JournalKind::System, "retention.rule", &holdings.node)
            .with("keep", rule.keep.to_string())
            .with("max_keep", rule.max_keep.to_string());
        holdings.store.apply_rule(rule, now, &entry).await?;
        Ok(())
    }

    /// The file of the database that a URL names, or leads to by links: SQLite puts its log, and
    /// we our ballast, beside that. `None` where it is no SQLite.
    #[must_use]
    pub fn sqlite_file(database_url: &str) -> Option<std::path::PathBuf> {
        Store::file(database_url)
    }

    /// Whether a server runs on this data directory just now.
    #[must_use]
    pub fn is_serving(data_dir: &std::path::Path) -> bool {
        data_dir.is_dir() && data_dir::is_locked(data_dir)
    }

    /// What was transferred, by days.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        Statistics::new(Arc::clone(&self.inner.holdings))
    }

    /// What this process has counted since it began.
    #[must_use]
    pub fn counted(&self) -> Counted {
        let mut counted = self.inner.holdings.counters.all();
        counted.sessions = self.inner.gate.live().by_protocol();
        counted
    }

    /// What the database knows, for metrics: nine queries that indexes answer.
    ///
    /// # Errors
    /// The database is away.
    pub async fn ledger_figures(&self) -> Result<LedgerFigures, StoreError> {
        let holdings = &self.inner.holdings;
        holdings.store.ledger_figures(holdings.now()).await
    }

    /// Stored files. Every one is counted, in an index: not to be asked for often.
    ///
    /// # Errors
    /// The database is away.
    pub async fn count_stored(&self) -> Result<u64, StoreError> {
        self.inner.holdings.store.count_stored().await
    }

    /// Whether files can be put into the homes, tried with one that is removed again,
    /// and whether they are the database's.
    ///
    /// # Errors
    /// `HomesAway`, `Storage`; `Database`.
    pub async fn try_storage(&self) -> Result<(), VfsError> {
        let holdings = &self.inner.holdings;
        holdings.check_storage().await?;
        let hidden = HiddenName::fresh()?;
        let _live = holdings.live.enter(LiveKey::Hidden(hidden.clone()));
        let tried = holdings.vfs.run(move |storage| {
            let file = storage.create_hidden(&hidden)?;
            let written = file.write_at(0, b"?");
            storage.unlink_hidden(&hidden)?;
            written
        });
        Ok(tried.await?)
    }

    /// Lines about faults of ours, for front ends.
    #[must_use]
    pub fn faults(&self) -> &FaultLog {
        &self.inner.holdings.faults
    }

    /// The door for operators.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.inner.registry
    }

    /// The door for peers.
    #[must_use]
    pub fn gate(&self) -> &Gate {
        &self.inner.gate
    }

    /// The door to what happened.
    #[must_use]
    pub fn journal(&self) -> &Journal {
        &self.inner.journal
    }

    /// The door to what was seen of connections.
    #[must_use]
    pub fn signs(&self) -> Signs {
        Signs::new(Arc::clone(&self.inner.holdings))
    }

    /// The door for retention.
    #[must_use]
    pub fn shelf(&self) -> &Shelf {
        &self.inner.shelf
    }

    pub(crate) fn holdings(&self) -> &Arc<Holdings> {
        &self.inner.holdings
    }

    /// The data directory, unless this is its server.
    pub(crate) fn tools_data_dir(&self) -> Option<&PathBuf> {
        (self.inner.role != Role::Server).then_some(&self.inner.data_dir)
    }

    pub(crate) fn node_here(&self) -> Option<&NodeId> {
        self.inner.node_here.as_ref()
    }

    /// The door for auditors.
    #[must_use]
    pub fn evidence(&self) -> &Evidence {
        &self.inner.evidence
    }

    /// This process among the nodes.
    #[must_use]
    pub fn node(&self) -> &NodeId {
        &self.inner.holdings.node
    }

    /// Settles what this node, or one that went silent, left unfinished.
    ///
    /// # Errors
    /// The database is away; a piece that cannot be settled is in the report.
    pub async fn recover(&self) -> Result<RecoveryReport, VfsError> {
        recover::recover(&self.inner.holdings).await
    }

    /// One look at the trees: a file that nobody uploaded and that has not
    /// changed since the look before gets its clock.
    ///
    /// # Errors
    /// The database is away; a folder that cannot be read is in the report.
    pub async fn adopt_once(&self) -> Result<AdoptReport, VfsError> {
        self.inner.adopter.lock().await.look().await
    }

    /// Computes SHA-256 of files that have none yet, a bounded number of them.
    ///
    /// # Errors
    /// The database is away; files that cannot be read are in the report.
    pub async fn hash_contents(&self) -> Result<HashReport, VfsError> {
        match &self.inner.hasher {
            Some(hasher) => hasher.round().await,
            None => Ok(HashReport::default()),
        }
    }

    /// Whether contents get their SHA-256 without being asked for it.
    pub(crate) fn hashes_contents(&self) -> bool {
        self.inner.hasher.is_some()
    }

    /// Says that this process is alive; a server does so every five seconds, a
    /// tool before it changes files.
    ///
    /// # Errors
    /// The database is away.
    pub async fn beat(&self) -> Result<(), StoreError> {
        self.inner.writes.watch(self.write_beat()).await
    }

    /// Whether the database takes writes, as this process' heartbeats know: asks nobody.
    ///
    /// # Errors
    /// [`NotWritable`] says why it is taken not to.
    pub fn check_writes(&self) -> Result<(), NotWritable> {
        self.inner.writes.check()
    }

    async fn write_beat(&self) -> Result<(), StoreError> {
        let holdings = &self.inner.holdings;
        if self.inner.joined.load(Ordering::Acquire) {
            holdings.store.beat(&holdings.node, holdings.now()).await?;
            return self.tell_what_moves().await;
        }
        holdings
            .store
            .begin_node(&holdings.node, holdings.now())
            .await?;
        self.inner.joined.store(true, Ordering::Release);
        Ok(())
    }

    /// For whoever lists the sessions. Nothing is written while nothing moves.
    async fn tell_what_moves(&self) -> Result<(), StoreError> {
        let holdings = &self.inner.holdings;
        let told = holdings.moving.told();
        let some = !told.is_empty();
        if !some && !self.inner.told_some.load(Ordering::Acquire) {
            return Ok(());
        }
        let run = JobRun {
            at: holdings.now(),
            next_due_at: None,
            report: serde_json::to_value(told).unwrap_or_default(),
        };
        let job = moving_job(holdings.node.as_str());
        holdings.store.note_job(&job, &run).await?;
        self.inner.told_some.store(some, Ordering::Release);
        Ok(())
    }

    /// Takes over what operators changed, on this node or elsewhere: networks
    /// for the gate, sessions that must end, and what the others may do now. A server does so every second.
    ///
    /// # Errors
    /// The database is away: the gate goes on with what it knew, and from the second time on
    /// lets only those in from whose addresses somebody has logged in (G02).
    pub async fn refresh(&self) -> Result<Refresh, StoreError> {
        let refreshed = self.take_over().await;
        let failed_before = self
            .inner
            .refresh_failed
            .swap(refreshed.is_err(), Ordering::AcqRel);
        if refreshed.is_err() && failed_before {
            self.inner.gate.set_blind();
        }
        let refreshed = refreshed?;
        // What fails here leaves the gate as it is: it has just learnt who is banned.
        self.inner.gate.count_lingered().await?;
        let holdings = &self.inner.holdings;
        holdings.unended.write(&holdings.store).await?;
        Ok(refreshed)
    }

    async fn take_over(&self) -> Result<Refresh, StoreError> {
        let inner = &self.inner;
        let store = &inner.holdings.store;
        let generation = store.generation().await?;
        let was_blind = inner.refresh_failed.load(Ordering::Acquire);
        let changed = inner.generation.load(Ordering::Acquire) != generation || was_blind;
        let round = inner.refreshes.fetch_add(1, Ordering::AcqRel);
        if !changed && !round.is_multiple_of(FULL_REFRESH_EVERY) {
            return Ok(Refresh::default());
        }
        let now = inner.holdings.now();
        let networks = store.live_networks(now).await?;
        inner.holdings.signs.set_networks(&networks);
        inner.gate.set_networks(networks);
        inner.gate.set_bans(store.bans(now).await?);
        if round.is_multiple_of(FORGET_EVERY) {
            store.forget_offenders(inner.gate.scores_end()).await?;
            store
                .forget_bans(now.saturating_sub(ENDED_BANS_STAY))
                .await?;
        }
        inner
            .gate
            .set_account_authorities(store.has_authorities().await?);
        inner
            .gate
            .set_client_certificates(store.has_certificates().await?);
        let accounts = inner.gate.live().accounts();
        let mut ended_sessions = 0;
        if !accounts.is_empty() {
            let standing = store.standing(&accounts).await?;
            let killed = store.killed(&inner.holdings.node).await?;
            ended_sessions = inner.gate.live().follow(&standing, &killed, now);
        }
        inner.generation.store(generation, Ordering::Release);
        Ok(Refresh {
            changed,
            ended_sessions,
        })
    }

    /// Makes sure that the database takes writes, by one that changes nothing.
    ///
    /// # Errors
    /// It does not: another program has locked it, or it is in recovery.
    pub async fn try_write(&self) -> Result<(), StoreError> {
        self.inner.holdings.store.forget_job("check").await
    }

    /// Tells every live session to end.
    pub fn end_sessions(&self, reason: EndReason) {
        self.inner.gate.live().end_all(reason);
    }

    /// Waits for work that outlives its session, says goodbye to the other
    /// nodes, closes the database.
    pub async fn close(&self) {
        let holdings = &self.inner.holdings;
        if timer::timeout(CLOSE_WAIT, holdings.close()).await.is_err() {
            tracing::warn!("work on files was still going on at the end; recovery will settle it");
        }
        // A database that is locked makes each of these wait.
        if timer::timeout(CLOSE_WAIT, self.write_the_last())
            .await
            .is_err()
        {
            tracing::warn!("the database took too long; the next start settles what is left");
        }
        holdings.store.close().await;
    }

    async fn write_the_last(&self) {
        let holdings = &self.inner.holdings;
        if let Err(error) = holdings.unended.write_the_rest(&holdings.store).await {
            holdings
                .faults
                .unrecorded("ends of sessions could not be recorded", &error);
        }
        if let Err(error) = self.signs().write_the_rest().await {
            holdings
                .faults
                .unrecorded("what was seen of connections could not be recorded", &error);
        }
        self.inner.evidence.seal_the_rest().await;
        if self.inner.joined.load(Ordering::Acquire)
            && let Err(error) = holdings.store.end_node(&holdings.node).await
        {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the other nodes could not be told that this one is gone"
            );
        }
    }
}

/// A full disk must keep nobody from opening the database: there is a piece for that.
async fn give_way(watched: &Watched) {
    let room = Room::default();
    room.watch(watched.clone());
    let given = tokio::task::spawn_blocking(move || room.give_way()).await;
    // What cannot be asked now is told of by whoever opens it.
    if let Ok(Err(error)) = given {
        tracing::debug!(%error, "how much room there is cannot be told");
    }
}

fn not_ours(homes: &std::path::Path, Elsewhere { expected, found }: Elsewhere) -> OpenError {
    OpenError::HomesElsewhere {
        path: homes.to_owned(),
        expected,
        found,
    }
}
