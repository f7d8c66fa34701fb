//! A small world for tests: a ledger, a storage that records, a clock that
//! stands still until it is told to go.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use layover_retention::{Keep, ManualClock, Timestamp};

use super::{Holdings, HomeRef};
use crate::journal::{JournalEntry, JournalFilter, JournalKind, NewEntry};
use crate::ledger::ApplianceKeep;
use crate::session::{Completion, Login, Session, UploadMode, UploadReceipt};
use crate::store::{Connect, Missing, NewAccountRow, Store};
use crate::vfs::recording::RecordingStorage;
use crate::vfs::{Storage, Vfs, VfsError};
use crate::{Fsync, NewEntity, NodeId, Protocol, Protocols, SessionId, VirtualPath};

pub(crate) const DAY: Duration = Duration::from_secs(86_400);

/// How long files stay in this world.
pub(crate) const KEEP: Duration = Duration::from_secs(5 * 86_400);

pub(crate) struct World {
    pub(crate) folder: tempfile::TempDir,
    url: String,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) storage: RecordingStorage,
    pub(crate) holdings: Arc<Holdings>,
}

/// What a test may want to change of an account.
pub(crate) type Tweak = fn(&mut NewAccountRow);

pub(crate) fn path(text: &str) -> VirtualPath {
    VirtualPath::parse(text.as_bytes()).unwrap()
}

pub(crate) fn start_time() -> Timestamp {
    "2026-11-21T04:00:00Z".parse().unwrap()
}

impl World {
    /// A world with one entity, `acme`, and one account, `alice`; on SQLite.
    pub(crate) async fn new() -> World {
        let folder = tempfile::tempdir().unwrap();
        let url = sqlite_in(folder.path());
        World::on(folder, url).await
    }

    /// The same on PostgreSQL, when the tests are given one.
    pub(crate) async fn on_postgresql(database: &PostgresDatabase) -> World {
        World::on(tempfile::tempdir().unwrap(), database.url.clone()).await
    }

    async fn on(folder: tempfile::TempDir, url: String) -> World {
        let storage = RecordingStorage::new();
        let clock = Arc::new(ManualClock::new(start_time()));
        let store = open_store(&url).await;
        let holdings = holdings_on(store, Arc::new(storage.clone()), &clock, "node-1");
        let entity = NewEntity {
            name: "acme".parse().unwrap(),
            keep: None,
        };
        let entry = world_entry(&holdings);
        holdings
            .store
            .add_entity(&entity, start_time(), &entry)
            .await
            .unwrap()
            .unwrap();
        let world = World {
            folder,
            url,
            clock,
            storage,
            holdings,
        };
        world.add_account("alice", |_| {}).await;
        world
    }

    /// The same world after its process died: the database as it was, the
    /// storage as the crash left it, nothing in memory.
    pub(crate) async fn reborn(
        database: &Path,
        storage: RecordingStorage,
        now: Timestamp,
    ) -> World {
        let folder = tempfile::tempdir().unwrap();
        copy_database(database, &database_in(folder.path()));
        let clock = Arc::new(ManualClock::new(now));
        let url = sqlite_in(folder.path());
        let store = open_store(&url).await;
        let holdings = holdings_on(store, Arc::new(storage.clone()), &clock, "node-1");
        World {
            folder,
            url,
            clock,
            storage,
            holdings,
        }
    }

    pub(crate) fn database(&self) -> PathBuf {
        database_in(self.folder.path())
    }

    /// Another process on the same ledger and storage.
    pub(crate) async fn second_process(&self, node: &str) -> Arc<Holdings> {
        let store = open_store(&self.url).await;
        holdings_on(store, Arc::new(self.storage.clone()), &self.clock, node)
    }

    pub(crate) async fn add_account(&self, name: &str, tweak: Tweak) {
        self.add_account_in(name, name, tweak).await;
    }

    /// An account in the home of another one.
    pub(crate) async fn add_account_in(&self, name: &str, home: &str, tweak: Tweak) {
        let entity = self
            .holdings
            .store
            .entity(&"acme".parse().unwrap())
            .await
            .unwrap()
            .unwrap();
        let mut row = NewAccountRow {
            name: name.parse().unwrap(),
            entity: entity.id,
            home: home.parse().unwrap(),
            takes_files_over: true,
            protocols: Protocols::ALL,
            auth: crate::AuthPolicy::Any,
            keep: None,
            quota_bytes: None,
            read_only: false,
            tolerant_completion: false,
            publish_on_rename: false,
            collected_keep: None,
            session_reuse: None,
            limits: crate::AccountLimits::default(),
            password_hash: None,
            keys: Vec::new(),
            certificates: Vec::new(),
            networks: Vec::new(),
            now: self.holdings.now(),
        };
        tweak(&mut row);
        let entry = world_entry(&self.holdings);
        self.holdings
            .store
            .add_account(&row, &entry)
            .await
            .unwrap()
            .unwrap();
    }

    pub(crate) async fn session(&self, account: &str) -> Session {
        session_on(&self.holdings, account).await
    }

    pub(crate) async fn journal(&self, kind: JournalKind) -> Vec<JournalEntry> {
        let filter = JournalFilter {
            kind: Some(kind),
            limit: 10_000,
            ..JournalFilter::default()
        };
        let mut entries = self.holdings.store.journal_page(&filter).await.unwrap();
        entries.sort_by_key(|entry| entry.id);
        entries
    }

    pub(crate) fn files(&self, home: &str) -> Vec<(String, Vec<u8>)> {
        self.storage.files(home).into_iter().collect()
    }

    /// The quota's sum equals the sizes in the tree: ledger and tree agree.
    pub(crate) async fn assert_agreement(&self) {
        for (id, name) in self.holdings.store.all_homes().await.unwrap() {
            let usage = self.holdings.store.usage(id).await.unwrap();
            let in_tree: u64 = self
                .storage
                .files(name.as_str())
                .values()
                .map(|content| content.len() as u64)
                .sum();
            assert_eq!(usage.used_bytes, in_tree, "home {name}");
        }
    }
}

pub(crate) fn holdings_on(
    store: Arc<Store>,
    storage: Arc<dyn Storage>,
    clock: &Arc<ManualClock>,
    node: &str,
) -> Arc<Holdings> {
    let keep = Keep::from_secs(KEEP.as_secs()).unwrap();
    let clock: Arc<dyn layover_retention::Clock> = Arc::clone(clock) as _;
    Holdings::new(
        store,
        Vfs::new(storage, Fsync::Always),
        clock,
        NodeId(node.to_owned()),
        ApplianceKeep {
            keep,
            max_keep: keep,
        },
        DAY,
    )
}

pub(crate) async fn session_on(holdings: &Arc<Holdings>, account: &str) -> Session {
    let row = holdings.store.login(account).await.unwrap().unwrap();
    let login = Login {
        id: SessionId::random().unwrap(),
        home: HomeRef {
            id: row.home,
            name: row.account.home.clone(),
        },
        account: row.account,
        protocol: Protocol::Sftp,
        peer: "127.0.0.1".parse().unwrap(),
    };
    Session::open(Arc::clone(holdings), login).await.unwrap()
}

/// Uploads `content` under `name`, all of it at once.
pub(crate) async fn upload(
    session: &Session,
    name: &str,
    content: &[u8],
) -> Result<UploadReceipt, VfsError> {
    let mode = UploadMode::New { exclusive: false };
    let upload = session
        .plan_upload(&path(name), mode)
        .await?
        .begin()
        .await?;
    upload.write_at(0, Bytes::copy_from_slice(content)).await?;
    upload.finish(Completion::Closed).await
}

/// Fetches the whole file.
pub(crate) async fn fetch(session: &Session, name: &str) -> Result<Vec<u8>, VfsError> {
    let download = session.download(&path(name)).await?;
    let size = download.size();
    let bytes = download.read_at(0, usize::try_from(size).unwrap()).await?;
    download.finish(size, true).await?;
    Ok(bytes.to_vec())
}

/// The names in a directory, sorted.
pub(crate) async fn names(session: &Session, dir: &str) -> Vec<String> {
    let listing = session.list(&path(dir)).await.unwrap();
    let mut names: Vec<String> = listing
        .into_iter()
        .map(|(name, _)| String::from_utf8_lossy(&name).into_owned())
        .collect();
    names.sort();
    names
}

/// A database of its own on the server that the tests are given.
pub(crate) struct PostgresDatabase {
    maintenance_url: String,
    name: String,
    url: String,
}

impl PostgresDatabase {
    /// `None` when `LAYOVER_TEST_POSTGRES_URL` is not set.
    pub(crate) fn create() -> Option<PostgresDatabase> {
        let maintenance_url = std::env::var("LAYOVER_TEST_POSTGRES_URL").ok()?;
        let name = format!("layover_depot_{}", SessionId::random().unwrap());
        let (server, query) = match maintenance_url.split_once('?') {
            Some((server, query)) => (server, format!("?{query}")),
            None => (maintenance_url.as_str(), String::new()),
        };
        let (server, _) = server.rsplit_once('/').unwrap();
        let url = format!("{server}/{name}{query}");
        run_tool(
            "createdb",
            &[&format!("--maintenance-db={maintenance_url}"), &name],
        );
        Some(PostgresDatabase {
            maintenance_url,
            name,
            url,
        })
    }
}

impl Drop for PostgresDatabase {
    fn drop(&mut self) {
        let maintenance = format!("--maintenance-db={}", self.maintenance_url);
        run_tool("dropdb", &["--force", &maintenance, &self.name]);
    }
}

fn run_tool(tool: &str, arguments: &[&str]) {
    let ran = std::process::Command::new(tool).args(arguments).status();
    assert!(
        ran.as_ref().is_ok_and(std::process::ExitStatus::success),
        "{tool}: {ran:?}"
    );
}

async fn open_store(url: &str) -> Arc<Store> {
    // The disk of a test is trusted: what a crash loses is modelled, not had.
    let how = Connect {
        url: url.to_owned(),
        fsync: Fsync::Never,
        missing: Missing::Make,
    };
    Arc::new(Store::open(&how).await.unwrap())
}

fn sqlite_in(folder: &Path) -> String {
    format!("sqlite:{}", database_in(folder).display())
}

fn database_in(folder: &Path) -> PathBuf {
    folder.join("layover.db")
}

/// Copies a database that nobody writes just now, with its log.
pub(crate) fn copy_database(from: &Path, to: &Path) {
    for suffix in ["", "-wal"] {
        let source = PathBuf::from(format!("{}{suffix}", from.display()));
        if source.exists() {
            std::fs::copy(source, format!("{}{suffix}", to.display())).unwrap();
        }
    }
}

fn world_entry(holdings: &Holdings) -> NewEntry {
    NewEntry::new(holdings.now(), JournalKind::Admin, "test", &holdings.node)
}
