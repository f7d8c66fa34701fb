//! The two databases that every rule is tested on.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::process;
use crate::skip::skip;
use crate::wait::PATIENCE;

/// Names the PostgreSQL server (a URL of its maintenance database, with the right to create
/// databases) on which tests make their own databases.
pub const POSTGRES_URL: &str = "LAYOVER_TEST_POSTGRES_URL";

/// A database engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// The embedded default.
    Sqlite,
    /// Several nodes' database.
    Postgres,
}

impl Engine {
    /// Whether tests can use this engine here; says that the test is skipped when not.
    pub fn available(self) -> bool {
        let available = self == Self::Sqlite || std::env::var_os(POSTGRES_URL).is_some();
        if !available {
            skip(&format!("{POSTGRES_URL} is not set; `tests/run` sets it"));
        }
        available
    }

    /// A database of the calling test's own. `data_dir` is where an embedded one goes.
    pub(crate) fn database(self, data_dir: &Path) -> Database {
        match self {
            Self::Sqlite => Database {
                url: format!("sqlite:{}", data_dir.join("layover.db").display()),
                on_server: None,
            },
            Self::Postgres => create_on_server(),
        }
    }
}

/// A database that is dropped with this value.
#[derive(Debug)]
pub(crate) struct Database {
    url: String,
    on_server: Option<OnServer>,
}

#[derive(Debug)]
struct OnServer {
    maintenance_url: String,
    name: String,
}

impl OnServer {
    fn end_connections(&self) {
        psql(
            &self.maintenance_url,
            &format!(
                "SELECT pg_terminate_backend(pid, 30000) FROM pg_stat_activity \
                 WHERE datname = '{}'",
                self.name
            ),
        );
    }
}

impl Database {
    /// The URL for `[database] url`.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The same, which stays when this value goes.
    pub(crate) fn borrowed(&self) -> Self {
        Self {
            url: self.url.clone(),
            on_server: None,
        }
    }
}

impl Database {
    /// Destroys what is on a server; what is in a file goes with its folder.
    pub(crate) fn empty(&self) {
        if let Some(OnServer {
            maintenance_url,
            name,
        }) = &self.on_server
        {
            psql(
                maintenance_url,
                &format!("DROP DATABASE {name} WITH (FORCE)"),
            );
            psql(maintenance_url, &format!("CREATE DATABASE {name}"));
        }
    }
}

impl Database {
    /// Ends every connection to a database on a server, and lets none in.
    pub(crate) fn take_away(&self) {
        let on_server = self.on_server.as_ref().expect("a database on a server");
        let OnServer {
            maintenance_url,
            name,
        } = on_server;
        psql(
            maintenance_url,
            &format!("ALTER DATABASE {name} ALLOW_CONNECTIONS false"),
        );
        on_server.end_connections();
    }

    /// Lets a database on a server answer and take no writes, as one in recovery; or take
    /// them again.
    pub(crate) fn set_read_only(&self, read_only: bool) {
        let on_server = self.on_server.as_ref().expect("a database on a server");
        psql(
            &on_server.maintenance_url,
            &format!(
                "ALTER DATABASE {} SET default_transaction_read_only = {read_only}",
                on_server.name
            ),
        );
        // It counts for connections that begin.
        on_server.end_connections();
    }

    /// Undoes [`Database::take_away`].
    pub(crate) fn give_back(&self) {
        let on_server = self.on_server.as_ref().expect("a database on a server");
        psql(
            &on_server.maintenance_url,
            &format!("ALTER DATABASE {} ALLOW_CONNECTIONS true", on_server.name),
        );
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if let Some(OnServer {
            maintenance_url,
            name,
        }) = &self.on_server
        {
            psql(
                maintenance_url,
                &format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"),
            );
        }
    }
}

fn create_on_server() -> Database {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let maintenance_url = std::env::var(POSTGRES_URL).expect("checked by Engine::available");
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("layover_test_{}_{count}", std::process::id());
    psql(
        &maintenance_url,
        &format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"),
    );
    psql(&maintenance_url, &format!("CREATE DATABASE {name}"));
    let (server, query) = match maintenance_url.split_once('?') {
        Some((server, query)) => (server, format!("?{query}")),
        None => (maintenance_url.as_str(), String::new()),
    };
    let (server, _) = server.rsplit_once('/').expect("the URL names a database");
    let url = format!("{server}/{name}{query}");
    Database {
        url,
        on_server: Some(OnServer {
            maintenance_url,
            name,
        }),
    }
}

/// Runs one statement, and says what went wrong where that is not already a panic's business.
fn psql(url: &str, statement: &str) {
    let mut command = Command::new("psql");
    command.args([
        "--no-psqlrc",
        "--quiet",
        "--set",
        "ON_ERROR_STOP=1",
        "--command",
        statement,
        url,
    ]);
    let ran = process::run(&mut command, b"", PATIENCE);
    if !ran.ok() && !std::thread::panicking() {
        panic!("PostgreSQL refused: {ran}");
    }
}

/// Makes one test per engine out of a function that takes the [`Engine`]. The claim is the
/// function's name: `claim::on_sqlite`, `claim::on_postgresql`.
#[macro_export]
macro_rules! on_both_engines {
    ($($claim:ident),+ $(,)?) => {$(
        mod $claim {
            #[test]
            fn on_sqlite() {
                super::$claim($crate::Engine::Sqlite);
            }

            #[test]
            fn on_postgresql() {
                if $crate::Engine::Postgres.available() {
                    super::$claim($crate::Engine::Postgres);
                }
            }
        }
    )+};
}
