//! The depot through its public doors, on SQLite and (where
//! `LAYOVER_TEST_POSTGRES_URL` names a server) on PostgreSQL.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests fail by panicking, as tests do"
)]

mod authentication;
mod backup;
mod bans;
mod clocks;
mod collisions;
mod courier;
mod events;
mod evidence;
mod expectation_registry;
mod expectations;
mod files;
mod flow_files;
mod flows;
mod foresight;
mod gate;
mod histories;
mod holds;
mod integrations;
mod lifecycle;
mod limits;
mod migrations;
mod refusals;
mod registry;
mod rules;
mod secrets;
mod statistics;
mod storage;
mod world;
