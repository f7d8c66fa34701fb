//! Carries what the server knows of its machine's clock from one life to the next,
//! journals what the clock does, and hears operators who say that it is right.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use layover_depot::{ClockEntry, Depot, NodeClock, Outcome, StoreError};
use layover_retention::{Clock, ClockNews, Correction};
use serde_json::Map;

use crate::clock::{ClockEvent, SystemClock};
use crate::jobs::{Job, JobFailure, Next};

/// How often the wall clock is compared with the boot-time clock. An operator's word
/// is heard as soon.
const CLOCK_WATCH_EVERY: Duration = Duration::from_secs(1);

/// Of so many looks the last writes what is known, and compares with the database's
/// clock. A clock that was set while no server ran is noticed however old the record
/// is; only after a reboot its age adds to the downtime.
const LOOKS_PER_RECORD: u32 = 60;

/// See the module.
pub(crate) struct ClockWatch {
    depot: Depot,
    clock: Arc<SystemClock>,
    looks: u32,
    differed: bool,
    /// What the database was not told yet.
    pending: VecDeque<ClockEvent>,
}

/// Where a tool beside a server, or without it, gets the time: it believes no more
/// than the server of its data directory would.
///
/// # Errors
/// The database is away.
pub async fn resume_clock(
    depot: &Depot,
    clock: &SystemClock,
) -> Result<Option<NodeClock>, StoreError> {
    let kept = depot.kept_clock().await?;
    if let Some(kept) = &kept {
        clock.resume(&kept.record);
        if kept.confirmed_by.is_some() {
            clock.confirm();
        }
    }
    clock.compare(depot.database_time().await?);
    Ok(kept)
}

impl ClockWatch {
    /// Takes over what an earlier life knew, before anything is deleted.
    pub(crate) async fn begin(depot: Depot, clock: Arc<SystemClock>) -> Result<Self, StoreError> {
        let kept = resume_clock(&depot, &clock).await?;
        let mut watch = Self {
            depot,
            clock,
            looks: 0,
            differed: kept.is_some_and(|kept| kept.differs_from_database()),
            pending: VecDeque::new(),
        };
        watch.tell().await?;
        Ok(watch)
    }

    async fn look(&mut self) -> Result<(), StoreError> {
        self.clock.now();
        if self.clock.record().in_doubt().is_some()
            && let Some(kept) = self.depot.kept_clock().await?
            && kept.confirmed_by.is_some()
        {
            self.clock.confirm();
        }
        self.looks = self.looks.saturating_add(1);
        self.pending.extend(self.clock.take_events());
        if self.looks >= LOOKS_PER_RECORD || !self.pending.is_empty() {
            self.tell().await?;
            self.looks = 0;
        }
        Ok(())
    }

    /// Writes down what is known and what happened.
    async fn tell(&mut self) -> Result<(), StoreError> {
        self.pending.extend(self.clock.take_events());
        while let Some(event) = self.pending.front() {
            let entry = self.entry_of(event.news);
            let correction = event.correction;
            let corrected = self.keep(correction.as_ref(), Some(&entry)).await?;
            if let Some(Correction { ahead, .. }) = correction {
                let ahead_s = ahead.as_secs();
                tracing::warn!(
                    ahead_s,
                    "the clock had been ahead: {corrected} files that arrived meanwhile go at \
                     their right time"
                );
            }
            self.pending.pop_front();
        }
        let ahead_us = self.clock.compare(self.depot.database_time().await?);
        let differs = self.clock.differs();
        let news = (differs != self.differed)
            .then(|| self.entry_of_difference(differs, ahead_us.unwrap_or(0)));
        self.keep(None, news.as_ref()).await?;
        self.differed = differs;
        Ok(())
    }

    async fn keep(
        &self,
        correction: Option<&Correction>,
        entry: Option<&ClockEntry>,
    ) -> Result<u64, StoreError> {
        // Looked at now: what arrived since a doubt ended did so by the right time.
        self.clock.now();
        let record = self.clock.record();
        let ahead_us = self.clock.ahead_of_database();
        self.depot
            .keep_clock(&record, ahead_us, correction, entry)
            .await
    }

    fn entry_of(&self, news: ClockNews) -> ClockEntry {
        let mut detail = Map::new();
        let (action, outcome) = match news {
            ClockNews::Forward(span) => {
                detail.insert("jump_s".to_owned(), span.as_secs().into());
                ("clock.forward-held", Outcome::Refused)
            }
            ClockNews::Back(span) => {
                detail.insert("jump_s".to_owned(), span.as_secs().into());
                ("clock.back", Outcome::Refused)
            }
            ClockNews::Returned => ("clock.returned", Outcome::Ok),
            ClockNews::Stable => {
                detail.insert("because".to_owned(), "stable".into());
                ("clock.accepted", Outcome::Ok)
            }
            ClockNews::Confirmed => {
                detail.insert("because".to_owned(), "confirmed".into());
                ("clock.accepted", Outcome::Ok)
            }
        };
        let record = self.clock.record();
        if let Some(wait) = record.believed_in() {
            detail.insert("believed_in_s".to_owned(), wait.as_secs().into());
        }
        tracing::warn!(
            action,
            "the wall clock: {news:?}; files expire by {}, `layover retention clock show` \
             tells more",
            record.safe
        );
        ClockEntry {
            at: record.safe,
            action,
            outcome,
            detail,
        }
    }

    fn entry_of_difference(&self, differs: bool, ahead_us: i64) -> ClockEntry {
        let ahead_s = ahead_us / 1_000_000;
        let (action, outcome) = if differs {
            tracing::error!(
                ahead_s,
                "this machine's clock is {ahead_s} s ahead of the database's: nothing is deleted \
                 here until they agree"
            );
            ("clock.differs", Outcome::Refused)
        } else {
            tracing::info!("this machine's clock agrees with the database's again");
            ("clock.agrees", Outcome::Ok)
        };
        let mut detail = Map::new();
        detail.insert("ahead_s".to_owned(), ahead_s.into());
        ClockEntry {
            at: self.clock.now(),
            action,
            outcome,
            detail,
        }
    }
}

impl Job for ClockWatch {
    fn name(&self) -> &'static str {
        "clock-watch"
    }

    fn period(&self) -> Duration {
        CLOCK_WATCH_EVERY
    }

    async fn run_once(&mut self) -> Result<Next, JobFailure> {
        self.look().await?;
        Ok(Next::WhenDue)
    }
}
