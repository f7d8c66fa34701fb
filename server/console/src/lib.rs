//! The console's address: metrics and health, over plain HTTP.
//!
//! The way in is [`Console::serve`]. Whoever can connect can read; nothing can be
//! changed here, no path, no peer and no secret is told, of accounts only the name.
//! It must never make a transfer wait: every question to the database or the disk
//! is asked by one request at a time, has a time limit, and its answer is used for
//! [`FRESH_FOR`].

mod answers;
mod exposition;
mod facts;
mod figures;
mod health;
mod metrics;
mod places;
mod serve;

pub use facts::{ClockFacts, Expiring, Facts, JobFacts, SweepFacts, WITHIN_DAYS};
pub use figures::FRESH_FOR;
pub use serve::{
    CONNECTION_LIMIT, Console, HEAD_LIMIT, MAX_CONNECTIONS, MAX_HEAD_BYTES, MAX_HEADERS,
};
