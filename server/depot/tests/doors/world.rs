//! A depot of the calling test's own, on each engine that is there.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use layover_depot::{
    AccountChange, AccountName, Actor, Completion, Depot, EntityName, Fsync, GateOptions,
    JournalEntry, JournalFilter, JournalKind, LoginAttempt, LoginError, NewAccount, NewEntity,
    NewNetwork, Options, Proof, Protocol, Protocols, Role, Secret, Session, StoredFile, UploadMode,
    VirtualPath,
};
use layover_retention::{Keep, ManualClock};
use sqlx::{Connection, Executor};

pub(crate) const DAY: Duration = Duration::from_secs(86_400);
pub(crate) const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));
pub(crate) const PASSWORD: &str = "correct horse";

/// A depot with an engine and directories of its own.
pub(crate) struct World {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) url: String,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) depot: Depot,
}

pub(crate) fn keep(days: u64) -> Keep {
    Keep::from_secs(days * 86_400).unwrap()
}

/// A database of the calling test's own; `None` when there is no server.
pub(crate) async fn postgres_database() -> Option<String> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let server = std::env::var("LAYOVER_TEST_POSTGRES_URL").ok()?;
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("layover_doors_{}_{count}", std::process::id());
    let mut connection = sqlx::PgConnection::connect(&server).await.unwrap();
    for verb in ["DROP DATABASE IF EXISTS", "CREATE DATABASE"] {
        connection
            .execute(sqlx::AssertSqlSafe(format!("{verb} {name}")))
            .await
            .unwrap();
    }
    let (base, _) = server.rsplit_once('/').unwrap();
    Some(format!("{base}/{name}"))
}

/// The worlds of the engines that are there.
pub(crate) async fn worlds() -> Vec<World> {
    let mut worlds = vec![sqlite_world().await];
    worlds.extend(postgres_world().await);
    worlds
}

pub(crate) async fn sqlite_world() -> World {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("layover.db").display());
    World::open(folder, url).await
}

pub(crate) async fn postgres_world() -> Option<World> {
    let url = postgres_database().await?;
    Some(World::open(tempfile::tempdir().unwrap(), url).await)
}

pub(crate) fn options(
    folder: &std::path::Path,
    url: &str,
    clock: &Arc<ManualClock>,
    keep: Keep,
) -> Options {
    Options {
        database_url: url.to_owned(),
        data_dir: folder.join("data"),
        homes: folder.join("homes"),
        fsync: Fsync::Never,
        keep,
        max_keep: self::keep(30),
        partial_keep: self::keep(1),
        checksum: layover_depot::Checksum::Background,
        hardened: false,
        gate: GateOptions::open(10),
        clock: Arc::<ManualClock>::clone(clock),
        role: Role::Server,
    }
}

impl World {
    pub(crate) async fn open(folder: tempfile::TempDir, url: String) -> Self {
        let clock = Arc::new(ManualClock::new("2026-11-21T04:00:00Z".parse().unwrap()));
        let depot = Depot::open(options(folder.path(), &url, &clock, keep(5)))
            .await
            .unwrap();
        let entity = NewEntity {
            name: "acme".parse().unwrap(),
            keep: None,
        };
        depot
            .registry()
            .add_entity(&actor(), &entity)
            .await
            .unwrap();
        let world = Self {
            folder,
            url,
            clock,
            depot,
        };
        world.add("alice", |_| {}).await;
        world
    }

    pub(crate) async fn add(&self, name: &str, tweak: fn(&mut NewAccount)) {
        let mut account = NewAccount {
            name: name.parse().unwrap(),
            entity: "acme".parse().unwrap(),
            home: None,
            networks: vec![network("192.0.2.0/24")],
            keys: Vec::new(),
            certificates: Vec::new(),
            password: Some(Secret::new(PASSWORD)),
            protocols: Protocols::ALL,
            auth: layover_depot::AuthPolicy::Any,
            keep: None,
            quota_bytes: None,
            read_only: false,
            tolerant_completion: false,
            publish_on_rename: false,
            collected_keep: None,
            session_reuse: None,
            limits: layover_depot::AccountLimits::default(),
        };
        tweak(&mut account);
        self.depot
            .registry()
            .add_account(&actor(), &account)
            .await
            .unwrap();
        self.depot.refresh().await.unwrap();
    }

    pub(crate) async fn login(&self, user: &str, password: &str) -> Result<Session, LoginError> {
        self.depot
            .gate()
            .login(attempt(user, Proof::Password(Secret::new(password))))
            .await
    }

    /// What the journal says of this kind, oldest first.
    pub(crate) async fn journal(&self, kind: JournalKind) -> Vec<JournalEntry> {
        let filter = JournalFilter {
            kind: Some(kind),
            limit: 1000,
            ..JournalFilter::default()
        };
        self.depot.journal().query(&filter).await.unwrap()
    }

    pub(crate) async fn upload(&self, user: &str, path: &str) {
        let session = self.login(user, PASSWORD).await.unwrap();
        let mode = UploadMode::New { exclusive: false };
        let permit = session.plan_upload(&at(path), mode).await.unwrap();
        let upload = permit.begin().await.unwrap();
        upload
            .write_at(0, Bytes::from_static(b"content"))
            .await
            .unwrap();
        upload.finish(Completion::Closed).await.unwrap();
        session.end("done").await;
    }

    /// Drops a file into alice's home as an operator would, and has it adopted.
    pub(crate) async fn adopt(&self, name: &str) {
        let home = self.folder.path().join("homes/alice");
        std::fs::create_dir_all(&home).unwrap();
        std::fs::write(home.join(name), b"dropped in").unwrap();
        self.depot.adopt_once().await.unwrap();
        assert_eq!(self.depot.adopt_once().await.unwrap().adopted, 1);
    }

    pub(crate) async fn file(&self, account: &str, path: &str) -> StoredFile {
        let files = self
            .depot
            .registry()
            .list_files(&name(account), &at("/"))
            .await
            .unwrap();
        files
            .into_iter()
            .find(|file| file.path == at(path))
            .unwrap()
    }

    /// How many days after its arrival the file goes.
    pub(crate) async fn days(&self, account: &str, path: &str) -> u64 {
        let file = self.file(account, path).await;
        let stays = file
            .expires_at
            .unwrap()
            .duration_since(file.arrived_at.unwrap());
        assert_eq!(stays.as_secs() % DAY.as_secs(), 0);
        stays.as_secs() / DAY.as_secs()
    }

    pub(crate) async fn set_keep(&self, account: &str, keep: Option<Keep>) {
        let change = AccountChange {
            keep: Some(keep),
            ..AccountChange::default()
        };
        self.depot
            .registry()
            .change_account(&actor(), &name(account), &change)
            .await
            .unwrap();
    }
}

pub(crate) fn actor() -> Actor {
    Actor::new("operator")
}

pub(crate) fn name(account: &str) -> AccountName {
    account.parse().unwrap()
}

pub(crate) fn at(path: &str) -> VirtualPath {
    path.parse().unwrap()
}

pub(crate) fn network(text: &str) -> NewNetwork {
    NewNetwork {
        network: text.parse().unwrap(),
        reason: None,
        until: None,
    }
}

pub(crate) fn acme() -> EntityName {
    "acme".parse().unwrap()
}

/// A login over SFTP from [`PEER`].
pub(crate) fn attempt(user: &str, proof: Proof) -> LoginAttempt {
    LoginAttempt {
        user: user.to_owned(),
        peer: PEER,
        protocol: Protocol::Sftp,
        proof,
        first: None,
        client_version: Some("test".to_owned()),
        detail: serde_json::Map::new(),
    }
}
