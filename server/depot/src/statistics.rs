//! Days of transfers: what accounts and integrations moved, counted from the journal.
//!
//! A job rolls entries up into days soon after they were written ([`Statistics::roll_up`]),
//! each exactly once; what has not been rolled up yet is added when somebody asks. So an
//! answer costs as much as it has days, however many transfers lie behind them. The way in
//! is [`Depot::statistics`](crate::Depot::statistics); nothing here changes a file.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use jiff::Span;
use jiff::civil::{Date, date};
use jiff::tz::TimeZone;
use layover_retention::Timestamp;
use serde::Serialize;

use crate::courier::Carrying;
use crate::flow::zone_of;
use crate::holdings::{Direction, Holdings};
use crate::integration::ZoneName;
use crate::journal::{Follower, JournalEntry, JournalKind, Outcome, words};
use crate::store::StoreError;
use crate::{AccountName, IntegrationName};

/// Days that can be asked for at once: a little more than a year, as long as the journal
/// is kept by default.
pub const MAX_STATISTICS_DAYS: u16 = 400;

/// Days are kept at least so long, however short the journal is kept.
pub const MIN_KEPT_DAYS: u64 = 31;

/// Entries that are rolled up in one transaction: short, so that partners do not wait.
pub(crate) const ROLL_UP_BATCH: usize = 1_000;

/// Entries that are not rolled up yet and are counted when somebody asks; with more of
/// them, which is so after an old journal was brought up to date, the answer says so.
pub(crate) const MAX_FRESH_ENTRIES: u64 = 20_000;

const DAY_US: i64 = 86_400_000_000;

words!(
    /// Whose transfers.
    TransfersOf {
        /// A partner's, that logged in.
        Account = "account",
        /// Ours, on a partner's own server.
        Integration = "integration",
    }
);

/// Whose days are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatisticsOf<'a> {
    /// What partners did with an account.
    Account(&'a AccountName),
    /// What our engine did on a partner's server.
    Integration(&'a IntegrationName),
}

impl StatisticsOf<'_> {
    /// Which of the two.
    #[must_use]
    pub const fn of(self) -> TransfersOf {
        match self {
            Self::Account(_) => TransfersOf::Account,
            Self::Integration(_) => TransfersOf::Integration,
        }
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Account(name) => name.as_str(),
            Self::Integration(name) => name.as_str(),
        }
    }
}

/// Attempted transfers, counted together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TransferCount {
    /// Attempts: one for each file and try, also those that failed before they began.
    pub requests: u64,
    /// Bytes that were moved, also by those that broke off.
    pub size_bytes: u64,
    /// How long they took, in milliseconds.
    pub duration_ms: u64,
}

impl TransferCount {
    pub(crate) fn add(&mut self, more: Self) {
        self.requests = self.requests.saturating_add(more.requests);
        self.size_bytes = self.size_bytes.saturating_add(more.size_bytes);
        self.duration_ms = self.duration_ms.saturating_add(more.duration_ms);
    }
}

/// Attempts of one direction, by how they ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TransferFigures {
    /// The whole file went.
    pub ok: TransferCount,
    /// It broke off, was refused, or never began.
    pub failed: TransferCount,
}

impl TransferFigures {
    /// All attempts.
    #[must_use]
    pub fn all(&self) -> TransferCount {
        let mut all = self.ok;
        all.add(self.failed);
        all
    }

    fn add(&mut self, more: &Self) {
        self.ok.add(more.ok);
        self.failed.add(more.failed);
    }
}

/// One day.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DayOfTransfers {
    /// The day, YYYY-MM-DD, in the zone of the whole.
    pub day: String,
    /// What was downloaded: by the partner, or by us from the partner's server.
    pub downloads: TransferFigures,
    /// What was uploaded.
    pub uploads: TransferFigures,
}

/// The last days of one account or integration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransferDays {
    /// Whose partner it is, or was.
    pub entity: String,
    /// When it was removed; none: it is there.
    pub removed_at: Option<Timestamp>,
    /// The zone of the days.
    pub time_zone: String,
    /// Every day that was asked for, the oldest first; today is the last.
    pub days: Vec<DayOfTransfers>,
    /// Entries of the journal that are not in it yet; more than none only while an old
    /// journal is counted for the first time, or the chain is not signed any more.
    pub uncounted_entries: u64,
}

impl TransferDays {
    /// Downloads and uploads of all days.
    #[must_use]
    pub fn sums(&self) -> (TransferFigures, TransferFigures) {
        let mut sums = <(TransferFigures, TransferFigures)>::default();
        for day in &self.days {
            sums.0.add(&day.downloads);
            sums.1.add(&day.uploads);
        }
        sums
    }
}

/// What is counted together in the database.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct DailyKey {
    pub(crate) of: TransfersOf,
    pub(crate) name: String,
    /// Days since 1970-01-01.
    pub(crate) day: i64,
    pub(crate) direction: Direction,
    pub(crate) is_ok: bool,
}

/// Sums by key.
pub(crate) type DailySums = BTreeMap<DailyKey, TransferCount>;

/// In which zone whose days are.
#[derive(Clone, Debug, Default)]
pub(crate) struct Zones {
    /// By the entity's name; one that is not there has its days in UTC.
    pub(crate) entities: HashMap<String, TimeZone>,
    /// By the integration's name.
    pub(crate) integrations: HashMap<String, TimeZone>,
}

/// A zone as the database has it.
pub(crate) fn zone_named(name: Option<&str>) -> TimeZone {
    zone_of(name.and_then(|name| name.parse::<ZoneName>().ok()).as_ref())
}

impl Zones {
    fn of_integration(&self, entry: &JournalEntry, name: &str) -> TimeZone {
        let own = self.integrations.get(name).cloned();
        own.unwrap_or_else(|| self.of_entity(entry))
    }

    fn of_entity(&self, entry: &JournalEntry) -> TimeZone {
        let entity = entry.entity.as_deref();
        let zone = entity.and_then(|entity| self.entities.get(entity));
        zone.cloned().unwrap_or(TimeZone::UTC)
    }
}

/// The day of a moment in a zone, in days since 1970-01-01.
pub(crate) fn day_of(at: Timestamp, zone: &TimeZone) -> i64 {
    let Ok(moment) = jiff::Timestamp::from_microsecond(at.as_micros()) else {
        return at.as_micros().div_euclid(DAY_US);
    };
    let offset_us = i64::from(zone.to_offset(moment).seconds()) * 1_000_000;
    at.as_micros().saturating_add(offset_us).div_euclid(DAY_US)
}

fn date_of(day: i64) -> Option<Date> {
    let span: Span = Span::new().try_days(day).ok()?;
    date(1970, 1, 1).checked_add(span).ok()
}

/// The direction, and of whom, when an entry tells of an attempted transfer.
fn attempt(entry: &JournalEntry) -> Option<(TransfersOf, &str, Direction)> {
    let account = || entry.account.as_deref();
    let integration = || entry.detail.get("integration")?.as_str();
    // A run that ended before its files: what it was for was not even begun.
    if entry.kind == JournalKind::System
        && entry.action == "flow.run"
        && entry.outcome == Outcome::Failed
        && entry.detail.contains_key("why")
    {
        let direction = match entry.detail.get("direction")?.as_str()? {
            "upload" => Direction::Upload,
            _ => Direction::Download,
        };
        return Some((TransfersOf::Integration, integration()?, direction));
    }
    if entry.kind != JournalKind::Transfer {
        return None;
    }
    match entry.action.as_str() {
        // Copied on the server: nothing was transferred.
        "upload" if entry.detail.contains_key("copied_from") => None,
        "upload" => Some((TransfersOf::Account, account()?, Direction::Upload)),
        "download" => Some((TransfersOf::Account, account()?, Direction::Download)),
        action if action == Carrying::Upload.action() => {
            Some((TransfersOf::Integration, integration()?, Direction::Upload))
        }
        action if action == Carrying::Download.action() => Some((
            TransfersOf::Integration,
            integration()?,
            Direction::Download,
        )),
        _ => None,
    }
}

/// Adds what an entry of the journal tells of attempted transfers.
pub(crate) fn count(entry: &JournalEntry, zones: &Zones, sums: &mut DailySums) {
    let mut add = |of, name: &str, direction, is_ok, count| {
        let zone = match of {
            TransfersOf::Account => zones.of_entity(entry),
            TransfersOf::Integration => zones.of_integration(entry, name),
        };
        let key = DailyKey {
            of,
            name: name.to_owned(),
            day: day_of(entry.at, &zone),
            direction,
            is_ok,
        };
        sums.entry(key).or_default().add(count);
    };
    if let Some((of, name, direction)) = attempt(entry) {
        // Of a file that was gone on with, only what came now.
        let moved = entry.detail.get("received_bytes");
        let moved = moved.and_then(serde_json::Value::as_u64);
        let count = TransferCount {
            requests: 1,
            size_bytes: moved.or(entry.size_bytes).unwrap_or(0),
            duration_ms: entry.duration_ms.unwrap_or(0),
        };
        add(of, name, direction, entry.outcome == Outcome::Ok, count);
        return;
    }
    // Refusals that the journal does not name one by one.
    if entry.action != MORE_REFUSALS {
        return;
    }
    let Some(account) = entry.account.as_deref() else {
        return;
    };
    for (detail, direction) in [
        (UNNAMED_UPLOADS, Direction::Upload),
        (UNNAMED_DOWNLOADS, Direction::Download),
    ] {
        let requests = entry.detail.get(detail).and_then(serde_json::Value::as_u64);
        if let Some(requests) = requests.filter(|requests| *requests > 0) {
            let count = TransferCount {
                requests,
                ..TransferCount::default()
            };
            add(TransfersOf::Account, account, direction, false, count);
        }
    }
}

/// The entry of refusals that are not named, and how it tells of transfers among them.
pub(crate) const MORE_REFUSALS: &str = "more-refusals";
pub(crate) const UNNAMED_UPLOADS: &str = "uploads";
pub(crate) const UNNAMED_DOWNLOADS: &str = "downloads";

/// Which days of whom.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DaysWanted<'a> {
    pub(crate) of: TransfersOf,
    pub(crate) name: &'a str,
    pub(crate) first: i64,
    pub(crate) last: i64,
}

/// What the database has of them.
#[derive(Clone, Debug, Default)]
pub(crate) struct DaysKept {
    pub(crate) sums: Vec<(DailyKey, TransferCount)>,
    /// Entries that are not in the sums yet.
    pub(crate) fresh: Vec<JournalEntry>,
    /// Entries that are in neither.
    pub(crate) uncounted: u64,
}

/// Who is asked for.
#[derive(Clone, Debug)]
pub(crate) struct Subject {
    pub(crate) entity: String,
    pub(crate) zone: Option<String>,
    pub(crate) removed_at: Option<Timestamp>,
}

/// The door to the figures. Clones are the same.
#[derive(Clone, Debug)]
pub struct Statistics {
    holdings: Arc<Holdings>,
}

impl Statistics {
    pub(crate) fn new(holdings: Arc<Holdings>) -> Self {
        Self { holdings }
    }

    /// Counts entries of the journal that have got their place in the chain and are not
    /// counted yet, a bounded number at a time. Returns whether there may be more.
    ///
    /// # Errors
    /// The database is away.
    pub async fn roll_up(&self) -> Result<bool, StoreError> {
        let (store, now) = (&self.holdings.store, self.holdings.now());
        let follower = Follower::DailyTransfers;
        let from = match store.cursor(follower).await? {
            Some(from) => from,
            None => store.begin_following(follower, now).await?,
        };
        let places = store.journal_after(from, ROLL_UP_BATCH).await?;
        let Some(last) = places.last() else {
            return Ok(false);
        };
        let entries = places.iter().filter_map(|place| place.entry.as_ref());
        let mut sums = DailySums::new();
        let zones = store.zones().await?;
        for entry in entries {
            count(entry, &zones, &mut sums);
        }
        // Where another node was there first it has counted these.
        store.add_daily(from, last.seq, &sums, now).await?;
        Ok(places.len() == ROLL_UP_BATCH)
    }

    /// Forgets days that ended before `before`, but for the last [`MIN_KEPT_DAYS`].
    /// Returns how many sums went.
    ///
    /// # Errors
    /// The database is away.
    pub async fn prune(&self, before: Timestamp) -> Result<u64, StoreError> {
        let kept = Duration::from_secs(MIN_KEPT_DAYS * 86_400);
        let before = before.min(self.holdings.now().saturating_sub(kept));
        // In another zone the day is not over yet.
        let day = day_of(before, &TimeZone::UTC).saturating_sub(1);
        self.holdings.store.forget_days(day).await
    }

    /// The last `days` days, today included; at most [`MAX_STATISTICS_DAYS`]. `None` when
    /// there never was anybody of this name.
    ///
    /// # Errors
    /// The database is away.
    pub async fn last_days(
        &self,
        whose: StatisticsOf<'_>,
        days: u16,
    ) -> Result<Option<TransferDays>, StoreError> {
        let store = &self.holdings.store;
        let (of, name) = (whose.of(), whose.name());
        let Some(subject) = store.subject(of, name).await? else {
            return Ok(None);
        };
        let zone = zone_named(subject.zone.as_deref());
        let last = day_of(self.holdings.now(), &zone);
        let days = i64::from(days.clamp(1, MAX_STATISTICS_DAYS));
        let first = last.saturating_sub(days.saturating_sub(1));
        let wanted = DaysWanted {
            of,
            name,
            first,
            last,
        };
        let kept = store.transfer_days(&wanted, MAX_FRESH_ENTRIES).await?;
        let mut sums: DailySums = kept.sums.into_iter().collect();
        let zones = Zones {
            entities: HashMap::from([(subject.entity.clone(), zone.clone())]),
            integrations: HashMap::from([(name.to_owned(), zone)]),
        };
        for entry in &kept.fresh {
            count(entry, &zones, &mut sums);
        }
        let mut shown = BTreeMap::new();
        for day in first..=last {
            if let Some(date) = date_of(day) {
                let empty = DayOfTransfers {
                    day: date.to_string(),
                    ..DayOfTransfers::default()
                };
                shown.insert(day, empty);
            }
        }
        for (key, sum) in sums {
            if key.of != of || key.name != name {
                continue;
            }
            let Some(day) = shown.get_mut(&key.day) else {
                continue;
            };
            let figures = match key.direction {
                Direction::Upload => &mut day.uploads,
                Direction::Download => &mut day.downloads,
            };
            match key.is_ok {
                true => figures.ok.add(sum),
                false => figures.failed.add(sum),
            }
        }
        Ok(Some(TransferDays {
            entity: subject.entity,
            removed_at: subject.removed_at,
            time_zone: subject.zone.unwrap_or_else(|| "UTC".to_owned()),
            days: shown.into_values().collect(),
            uncounted_entries: kept.uncounted,
        }))
    }
}

#[cfg(test)]
mod tests;
