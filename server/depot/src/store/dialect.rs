//! What differs between the engines: the words of the schema, and the few
//! statements that cannot be the same.

use std::borrow::Cow;

use sqlx::AssertSqlSafe;
use sqlx::SqlSafeStr;
use sqlx::migrate::{Migration, MigrationType, Migrator};

/// The words that stand for themselves in `migrations/`.
pub(super) struct Words {
    /// A row number that the engine hands out, ever growing.
    pub(super) identity: &'static str,
    /// A string of bytes.
    pub(super) bytes: &'static str,
    /// Of a table that is kept in its primary key.
    pub(super) keyonly: &'static str,
}

/// Every schema step, oldest first. A step that was released never changes.
const STEPS: &[(i64, &str, &str)] = &[
    (1, "first", include_str!("../../migrations/0001_first.sql")),
    (
        2,
        "homes_storage",
        include_str!("../../migrations/0002_homes_storage.sql"),
    ),
    (
        3,
        "last_logins",
        include_str!("../../migrations/0003_last_logins.sql"),
    ),
    (
        4,
        "authentication",
        include_str!("../../migrations/0004_authentication.sql"),
    ),
    (5, "ftps", include_str!("../../migrations/0005_ftps.sql")),
    (
        6,
        "claims_compact",
        include_str!("../../migrations/0006_claims_compact.sql"),
    ),
    (
        7,
        "retention",
        include_str!("../../migrations/0007_retention.sql"),
    ),
    (
        8,
        "clocks",
        include_str!("../../migrations/0008_clocks.sql"),
    ),
    (
        9,
        "integrations",
        include_str!("../../migrations/0009_integrations.sql"),
    ),
    (10, "flows", include_str!("../../migrations/0010_flows.sql")),
    (
        11,
        "events",
        include_str!("../../migrations/0011_events.sql"),
    ),
    (
        12,
        "flow_keys",
        include_str!("../../migrations/0012_flow_keys.sql"),
    ),
    (
        13,
        "deliveries",
        include_str!("../../migrations/0013_deliveries.sql"),
    ),
    (14, "bans", include_str!("../../migrations/0014_bans.sql")),
    (
        15,
        "account_limits",
        include_str!("../../migrations/0015_account_limits.sql"),
    ),
    (
        16,
        "connection_signs",
        include_str!("../../migrations/0016_connection_signs.sql"),
    ),
];

/// The last schema step.
pub(super) fn last_step() -> i64 {
    STEPS
        .iter()
        .map(|(version, ..)| *version)
        .max()
        .unwrap_or(0)
}

/// The schema steps in an engine's own words.
pub(super) fn migrator(words: &Words) -> Migrator {
    migrator_up_to(words, i64::MAX)
}

/// The same, no further than `step`.
pub(super) fn migrator_up_to(words: &Words, step: i64) -> Migrator {
    let migrations = STEPS
        .iter()
        .filter(|(version, ..)| *version <= step)
        .map(|(version, name, text)| {
            let text = text
                .replace("BIGIDENTITY", words.identity)
                .replace("BYTES", words.bytes)
                .replace("KEYONLY", words.keyonly);
            Migration::new(
                *version,
                Cow::Borrowed(*name),
                MigrationType::Simple,
                AssertSqlSafe(text).into_sql_str(),
                false,
            )
        })
        .collect();
    Migrator::with_migrations(migrations)
}
