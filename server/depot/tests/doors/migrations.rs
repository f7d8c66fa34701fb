//! Databases that earlier versions left are brought forward, with everything in
//! them; those that a newer version left are refused.

use std::collections::BTreeSet;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use layover_depot::{
    AccountName, Depot, FileState, HomeName, JournalEntry, JournalFilter, JournalKind, LoginError,
    Role,
};
use layover_retention::{ChainName, ManualClock, Timestamp};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, SqliteConnection};

use crate::evidence::{seal, verified};
use crate::world::{PASSWORD, World, at, keep, options, postgres_database, worlds};

/// A database as a version whose last schema step was `step` left it, made with
/// `sqlite3 .dump` and `pg_dump --inserts` (CONTRIBUTING.md, "Release a schema
/// step"); those before step 7 from the schema as it was then, with the rows and
/// columns of a later one that it had, step 8 from step 7, step 9 from step 8 with an
/// integration and a flow that its own `layover apply` wrote, step 10 from step 9 with a run
/// of that flow, step 11 from step 10 with a hook and an event for it, steps 12 and 13 from
/// the one before, step 14 from step 13 with a ban. In it are [`FILES`], three accounts with the
/// password of all tests and a removed one, an interrupted upload, live sessions and the journal; from step 7 on certificates, a hold on
/// `/in/orders.csv` and a rule for `/in`.
struct Kept {
    step: i64,
    sqlite: &'static str,
    postgresql: &'static str,
}

const KEPT: &[Kept] = &[
    Kept {
        step: 1,
        sqlite: include_str!("../fixtures/sqlite-1.sql"),
        postgresql: include_str!("../fixtures/postgresql-1.sql"),
    },
    Kept {
        step: 2,
        sqlite: include_str!("../fixtures/sqlite-2.sql"),
        postgresql: include_str!("../fixtures/postgresql-2.sql"),
    },
    Kept {
        step: 3,
        sqlite: include_str!("../fixtures/sqlite-3.sql"),
        postgresql: include_str!("../fixtures/postgresql-3.sql"),
    },
    Kept {
        step: 4,
        sqlite: include_str!("../fixtures/sqlite-4.sql"),
        postgresql: include_str!("../fixtures/postgresql-4.sql"),
    },
    Kept {
        step: 5,
        sqlite: include_str!("../fixtures/sqlite-5.sql"),
        postgresql: include_str!("../fixtures/postgresql-5.sql"),
    },
    Kept {
        step: 6,
        sqlite: include_str!("../fixtures/sqlite-6.sql"),
        postgresql: include_str!("../fixtures/postgresql-6.sql"),
    },
    Kept {
        step: 7,
        sqlite: include_str!("../fixtures/sqlite-7.sql"),
        postgresql: include_str!("../fixtures/postgresql-7.sql"),
    },
    Kept {
        step: 8,
        sqlite: include_str!("../fixtures/sqlite-8.sql"),
        postgresql: include_str!("../fixtures/postgresql-8.sql"),
    },
    Kept {
        step: 9,
        sqlite: include_str!("../fixtures/sqlite-9.sql"),
        postgresql: include_str!("../fixtures/postgresql-9.sql"),
    },
    Kept {
        step: 10,
        sqlite: include_str!("../fixtures/sqlite-10.sql"),
        postgresql: include_str!("../fixtures/postgresql-10.sql"),
    },
    Kept {
        step: 11,
        sqlite: include_str!("../fixtures/sqlite-11.sql"),
        postgresql: include_str!("../fixtures/postgresql-11.sql"),
    },
    Kept {
        step: 12,
        sqlite: include_str!("../fixtures/sqlite-12.sql"),
        postgresql: include_str!("../fixtures/postgresql-12.sql"),
    },
    Kept {
        step: 13,
        sqlite: include_str!("../fixtures/sqlite-13.sql"),
        postgresql: include_str!("../fixtures/postgresql-13.sql"),
    },
    Kept {
        step: 14,
        sqlite: include_str!("../fixtures/sqlite-14.sql"),
        postgresql: include_str!("../fixtures/postgresql-14.sql"),
    },
    Kept {
        step: 15,
        sqlite: include_str!("../fixtures/sqlite-15.sql"),
        postgresql: include_str!("../fixtures/postgresql-15.sql"),
    },
];

/// The moment in which they were left.
const LEFT_AT: &str = "2026-11-23T05:00:00Z";

/// The step that brought holds and certificates.
const RETENTION_STEP: i64 = 7;

/// A stored file of a kept database.
struct KeptFile {
    home: &'static str,
    path: &'static str,
    content: &'static str,
    arrived_at: &'static str,
    expires_at: &'static str,
    /// The same once there are holds.
    held_until: Option<&'static str>,
}

const FILES: [KeptFile; 4] = [
    KeptFile {
        home: "alice",
        path: "/in/orders.csv",
        content: "orders",
        arrived_at: "2026-11-21T04:00:00Z",
        expires_at: "2026-11-26T04:00:00Z",
        held_until: Some("2026-12-23T05:00:00Z"),
    },
    KeptFile {
        home: "alice",
        path: "/stock.csv",
        content: "new stock",
        arrived_at: "2026-11-21T05:00:00Z",
        expires_at: "2026-11-26T05:00:00Z",
        held_until: None,
    },
    KeptFile {
        home: "carol",
        path: "/invoice.xml",
        content: "invoice",
        arrived_at: "2026-11-21T04:00:00Z",
        expires_at: "2026-11-24T04:00:00Z",
        held_until: None,
    },
    // Its account was removed.
    KeptFile {
        home: "dave",
        path: "/left behind.txt",
        content: "left behind",
        arrived_at: "2026-11-21T04:00:00Z",
        expires_at: "2026-11-26T04:00:00Z",
        held_until: None,
    },
];

impl KeptFile {
    fn expires_at(&self, step: i64) -> Timestamp {
        let held_until = self.held_until.filter(|_| step >= RETENTION_STEP);
        held_until.unwrap_or(self.expires_at).parse().unwrap()
    }

    fn on_disk(&self, folder: &Path) -> std::path::PathBuf {
        folder
            .join("homes")
            .join(self.home)
            .join(self.path.trim_start_matches('/'))
    }
}

/// A database without a Layover.
enum Bare {
    Sqlite(SqliteConnection),
    Postgresql(PgConnection),
}

impl Bare {
    async fn open(url: &str) -> Self {
        if url.starts_with("sqlite:") {
            let options = SqliteConnectOptions::from_str(url).unwrap();
            let options = options.create_if_missing(true);
            Self::Sqlite(SqliteConnection::connect_with(&options).await.unwrap())
        } else {
            Self::Postgresql(PgConnection::connect(url).await.unwrap())
        }
    }

    async fn run(&mut self, statements: String) {
        let statements = sqlx::raw_sql(AssertSqlSafe(statements));
        match self {
            Self::Sqlite(connection) => drop(connection.execute(statements).await.unwrap()),
            Self::Postgresql(connection) => drop(connection.execute(statements).await.unwrap()),
        }
    }

    /// The one column of text that `query` yields.
    async fn texts(&mut self, query: String) -> Vec<String> {
        let query = AssertSqlSafe(query);
        match self {
            Self::Sqlite(connection) => {
                let query = sqlx::query_scalar(query);
                query.fetch_all(connection).await.unwrap()
            }
            Self::Postgresql(connection) => {
                let query = sqlx::query_scalar(query);
                query.fetch_all(connection).await.unwrap()
            }
        }
    }

    async fn tables(&mut self) -> Vec<String> {
        let query = match self {
            Self::Sqlite(_) => {
                "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
            }
            Self::Postgresql(_) => {
                "SELECT table_name::text FROM information_schema.tables \
                 WHERE table_schema = 'public'"
            }
        };
        self.texts(query.to_owned()).await
    }

    async fn columns(&mut self, table: &str) -> Vec<String> {
        let query = match self {
            Self::Sqlite(_) => format!("SELECT name FROM pragma_table_info('{table}')"),
            Self::Postgresql(_) => format!(
                "SELECT column_name::text FROM information_schema.columns \
                 WHERE table_schema = 'public' AND table_name = '{table}'"
            ),
        };
        self.texts(query).await
    }

    /// Each row as a text, of these columns.
    async fn rows(&mut self, table: &str, columns: &[String]) -> BTreeSet<String> {
        let values: Vec<_> = columns
            .iter()
            .map(|column| match self {
                Self::Sqlite(_) => format!("quote({column})"),
                Self::Postgresql(_) => format!("quote_nullable({column})"),
            })
            .collect();
        let query = format!("SELECT {} FROM {table}", values.join(" || ', ' || "));
        self.texts(query).await.into_iter().collect()
    }

    async fn close(self) {
        match self {
            Self::Sqlite(connection) => connection.close().await.unwrap(),
            Self::Postgresql(connection) => connection.close().await.unwrap(),
        }
    }

    fn bytes(&self, text: &str) -> String {
        let digits: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
        match self {
            Self::Sqlite(_) => format!("X'{digits}'"),
            Self::Postgresql(_) => format!("'\\x{digits}'"),
        }
    }
}

/// A kept database with its files, which no Layover has opened yet.
struct Left {
    step: i64,
    folder: tempfile::TempDir,
    url: String,
}

/// What `kept` says, on each engine that is there.
async fn left(kept: &Kept) -> Vec<Left> {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("layover.db").display());
    let mut left = vec![Left::put_down(kept, kept.sqlite, folder, url).await];
    if let Some(url) = postgres_database().await {
        let folder = tempfile::tempdir().unwrap();
        left.push(Left::put_down(kept, kept.postgresql, folder, url).await);
    }
    left
}

impl Left {
    async fn put_down(kept: &Kept, text: &str, folder: tempfile::TempDir, url: String) -> Self {
        let mut bare = Bare::open(&url).await;
        bare.run(text.to_owned()).await;
        bare.close().await;
        // What was said for the dump's own session ends with it.
        let mut bare = Bare::open(&url).await;
        for file in &FILES {
            let path = file.on_disk(folder.path());
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, file.content).unwrap();
            // Files are known by what this file system calls them.
            let metadata = std::fs::metadata(&path).unwrap();
            let born = metadata.created().unwrap();
            let born_us = born
                .duration_since(SystemTime::UNIX_EPOCH)
                .unwrap()
                .as_micros();
            let name = file.path.rsplit('/').next().unwrap();
            let update = format!(
                "UPDATE files SET inode = {}, born_us = {born_us} WHERE state = 'stored' \
                 AND name = {}",
                metadata.ino(),
                bare.bytes(name)
            );
            bare.run(update).await;
        }
        if kept.step >= 2 {
            let query = "SELECT storage_id FROM homes_storage";
            let id = bare.texts(query.to_owned()).await;
            let hidden = folder.path().join("homes/.layover");
            std::fs::create_dir(&hidden).unwrap();
            std::fs::set_permissions(&hidden, PermissionsExt::from_mode(0o700)).unwrap();
            std::fs::write(hidden.join("storage-id"), format!("{}\n", id[0])).unwrap();
        }
        bare.close().await;
        Self {
            step: kept.step,
            folder,
            url,
        }
    }

    /// Opens it as a server of this version does, an hour after it was left.
    async fn opened(self) -> World {
        let clock = Arc::new(ManualClock::new(LEFT_AT.parse().unwrap()));
        clock.advance(Duration::from_secs(3_600));
        let options = options(self.folder.path(), &self.url, &clock, keep(5));
        World {
            depot: Depot::open(options).await.unwrap(),
            folder: self.folder,
            url: self.url,
            clock,
        }
    }
}

/// Tables in which a start changes rows.
const STATE_OF_SERVERS: [&str; 5] = ["generation", "nodes", "sessions", "jobs", "chain_heads"];

#[tokio::test]
async fn no_row_and_no_value_of_any_released_schema_is_lost() {
    for kept in KEPT {
        for left in left(kept).await {
            let url = left.url.clone();
            let mut bare = Bare::open(&url).await;
            let mut before = Vec::new();
            for table in bare.tables().await {
                let columns = bare.columns(&table).await;
                let rows = bare.rows(&table, &columns).await;
                before.push((table, columns, rows));
            }
            bare.close().await;
            let world = left.opened().await;
            world.depot.close().await;
            let mut bare = Bare::open(&url).await;
            for (table, columns, rows) in before {
                let after = bare.rows(&table, &columns).await;
                let lost: Vec<_> = rows.difference(&after).collect();
                let state = STATE_OF_SERVERS.contains(&table.as_str());
                assert!(
                    lost.is_empty() || state,
                    "{table} of step {} at {url}: {lost:?}",
                    kept.step
                );
            }
            bare.close().await;
        }
    }
}

#[tokio::test]
async fn what_a_released_schema_promised_is_kept_by_this_version() {
    for kept in KEPT {
        for left in left(kept).await {
            let step = left.step;
            let world = left.opened().await;
            world.depot.recover().await.unwrap();
            accounts_are_as_they_were(&world).await;
            files_are_as_they_were(&world, step).await;
            files_go_at_their_time(&world, step).await;
            seal(&world.depot).await;
            let certificates = verified(&world.depot, ChainName::Certificates).await;
            // Three files had gone before, and had certificates if there were any.
            let earlier = if step >= RETENTION_STEP { 3 } else { 0 };
            let gone = FILES.len() as u64 + earlier;
            assert_eq!(certificates.unwrap().entries, gone, "step {step}");
            let journal = verified(&world.depot, ChainName::Journal).await.unwrap();
            let entries = world.all_entries().await;
            assert_eq!(journal.entries, entries, "step {step}");
            world.depot.close().await;
        }
    }
}

impl World {
    /// Entries of all kinds.
    async fn all_entries(&self) -> u64 {
        let filter = JournalFilter {
            limit: 1_000,
            ..JournalFilter::default()
        };
        let entries = self.depot.journal().query(&filter).await.unwrap();
        entries.len() as u64
    }
}

async fn accounts_are_as_they_were(world: &World) {
    for account in ["alice", "bob", "carol"] {
        let session = world.login(account, PASSWORD).await.unwrap();
        session.end("done").await;
        let refused = world.login(account, "another password").await;
        assert!(matches!(refused, Err(LoginError::Refused)), "{refused:?}");
    }
    let refused = world.login("dave", PASSWORD).await;
    assert!(matches!(refused, Err(LoginError::Refused)), "{refused:?}");
    // A session that was there when the database was left has ended by now.
    let logins = world.journal(JournalKind::Login).await;
    let died = |entry: &JournalEntry| {
        entry.action == "logout"
            && entry
                .detail
                .get("reason")
                .is_some_and(|why| why == "server died")
    };
    assert!(logins.iter().any(died), "{logins:?}");
}

async fn files_are_as_they_were(world: &World, step: i64) {
    let registry = world.depot.registry();
    for file in &FILES {
        let home: HomeName = file.home.parse().unwrap();
        let there = registry.list_home(&home, &at("/")).await.unwrap();
        let mut there = there
            .iter()
            .filter(|there| there.state == FileState::Stored);
        let found = there.find(|there| there.path == at(file.path)).unwrap();
        let claim = format!("{} of step {step}", file.path);
        assert_eq!(
            found.arrived_at,
            Some(file.arrived_at.parse().unwrap()),
            "{claim}"
        );
        assert_eq!(found.expires_at, Some(file.expires_at(step)), "{claim}");
        assert_eq!(found.size_bytes, file.content.len() as u64, "{claim}");
        let bob: AccountName = "bob".parse().unwrap();
        let collected = file.path == "/in/orders.csv";
        assert_eq!(found.collected_by, collected.then_some(bob), "{claim}");
    }
}

async fn files_go_at_their_time(world: &World, step: i64) {
    let mut ends: Vec<_> = FILES.iter().map(|file| file.expires_at(step)).collect();
    ends.sort();
    ends.dedup();
    for end in ends {
        world
            .clock
            .set(end.saturating_sub(Duration::from_micros(1)));
        assert_eq!(world.sweep().await, 0, "before {end}, step {step}");
        world.clock.set(end);
        let due = FILES.iter().filter(|file| file.expires_at(step) == end);
        assert_eq!(
            world.sweep().await,
            due.count() as u64,
            "at {end}, step {step}"
        );
    }
    for file in &FILES {
        assert!(!file.on_disk(world.folder.path()).exists(), "{}", file.path);
    }
}

#[tokio::test]
async fn a_database_that_a_newer_version_left_is_refused_and_not_touched() {
    for world in worlds().await {
        let World {
            folder,
            url,
            clock,
            depot,
        } = world;
        depot.close().await;
        drop(depot);
        let mut bare = Bare::open(&url).await;
        let columns = bare.columns("_sqlx_migrations").await;
        let newer = columns.iter().map(|column| match column.as_str() {
            "version" => "9999",
            column => column,
        });
        let newer: Vec<_> = newer.collect();
        bare.run(format!(
            "INSERT INTO _sqlx_migrations ({}) SELECT {} FROM _sqlx_migrations WHERE version = 1",
            columns.join(", "),
            newer.join(", ")
        ))
        .await;
        let steps = bare.rows("_sqlx_migrations", &columns).await;
        let entries = bare.rows("journal", &["id".to_owned()]).await;
        for role in [Role::Server, Role::Tool, Role::Visitor] {
            let mut options = options(folder.path(), &url, &clock, keep(5));
            options.role = role;
            let refused = Depot::open(options).await.unwrap_err().to_string();
            assert!(refused.contains("schema step 9999"), "{refused}");
            assert!(refused.contains("written by a newer Layover"), "{refused}");
        }
        assert_eq!(bare.rows("_sqlx_migrations", &columns).await, steps);
        assert_eq!(bare.rows("journal", &["id".to_owned()]).await, entries);
        bare.close().await;
    }
}

/// Whoever adds a step keeps a database of the one before.
#[test]
fn a_database_of_each_step_is_kept() {
    let steps: Vec<_> = KEPT.iter().map(|kept| kept.step).collect();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
    let migrations = std::fs::read_dir(folder).unwrap().count();
    let expected: Vec<_> = (1..).take(migrations).collect();
    // The last one may not be released yet.
    assert!(
        steps == expected || steps == expected[..migrations - 1],
        "{steps:?}"
    );
}
