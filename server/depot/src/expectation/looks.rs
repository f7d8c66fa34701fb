//! The door of whoever looks: which days are due, who has them, what lies in a home, and
//! what is told.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use layover_retention::{MAX_DATABASE_DIFFERENCE, Timestamp};
use serde_json::{Map, Value};

use super::definition::ExpectedPlace;
use super::judging::{SeenFile, Sighting, Verdict, fault_of, judge};
use super::planning::{is_too_far, plan_of};
use super::question::{DayQuestion, LATE_HERE_EVERY};
use super::record::{DayContent, DayEnd, DayFault, DayKey, DayLook, DayState, ExpectationStanding};
use crate::Depot;
use crate::event::{EventKind, NewEvent};
use crate::holdings::Holdings;
use crate::journal::{JournalKind, NewEntry, Outcome};
use crate::store::StoreError;

/// How long a day is its node's without a word of it: a look at a slow server says each
/// few seconds that it goes on.
pub const LOOK_LEASE: Duration = Duration::from_secs(30);

/// A partner's server that cannot be asked is tried for so long before that is told.
const UNREACHABLE_FOR: Duration = Duration::from_secs(3_600);

/// A checksum is waited for so long: a file of some terabytes is read in it.
const CHECKSUM_FOR: Duration = Duration::from_secs(2 * 3_600);

/// How soon a checksum is asked for again.
const CHECKSUM_AGAIN: Duration = Duration::from_secs(5);

/// The first and the longest wait between two looks at a partner's server that could not
/// be asked; it grows with the time since the deadline, so that it doubles.
const AGAIN_AFTER: [Duration; 2] = [Duration::from_secs(60), Duration::from_secs(600)];

/// The same between looks for a file that was missing there.
const LATE_THERE_AFTER: [Duration; 2] = [Duration::from_secs(300), Duration::from_secs(900)];

/// Expectations that are planned in one transaction.
const PLANS_AT_ONCE: usize = 500;

/// Days that are forgotten in one transaction.
const PRUNED_AT_ONCE: usize = 1_000;

/// Somebody else has the day, or its expectation is gone: whoever hears this stops.
#[derive(Debug, thiserror::Error)]
pub enum LookLost {
    /// The lease is another's.
    #[error("another node has taken the look over, or the expectation was changed")]
    Lost,
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A day that this node holds until its lease ends.
#[derive(Debug)]
pub struct OpenDay {
    /// What is asked.
    pub question: DayQuestion,
    entity_id: crate::EntityId,
    /// When the next one is due; none: never.
    closes_at: Option<Timestamp>,
    state: DayState,
    was_unreachable: bool,
    /// In microseconds; the end of the lease, by which the row knows us.
    held: AtomicI64,
}

impl OpenDay {
    fn key(&self) -> DayKey {
        DayKey {
            expectation: self.question.definition.name.clone(),
            day: self.question.day,
        }
    }

    fn held(&self) -> Timestamp {
        Timestamp::from_micros(self.held.load(Ordering::Acquire))
    }
}

/// The door of whoever looks. Clones are the same.
#[derive(Clone, Debug)]
pub struct ExpectationLooks {
    pub(super) holdings: Arc<Holdings>,
    /// Contents get checksums in the background.
    pub(super) hashes: bool,
}

impl Depot {
    /// The door of whoever looks for files that are expected.
    #[must_use]
    pub fn expectation_looks(&self) -> ExpectationLooks {
        ExpectationLooks {
            holdings: Arc::clone(self.holdings()),
            hashes: self.hashes_contents(),
        }
    }
}

impl ExpectationLooks {
    /// Makes days of the deadlines that have come. Returns how many there are to look at.
    /// Several nodes may do it at the same time.
    ///
    /// # Errors
    /// The database is away.
    pub async fn plan(&self) -> Result<u64, StoreError> {
        let mut fired: u64 = 0;
        loop {
            let now = self.holdings.now();
            let store = &self.holdings.store;
            let standing = store.expectations_to_plan(now, PLANS_AT_ONCE).await?;
            let plans: Vec<_> = standing.iter().map(|one| plan_of(one, now)).collect();
            if plans.is_empty() {
                return Ok(fired);
            }
            fired = fired.saturating_add(store.plan_expectations(&plans, now).await?);
            if standing.len() < PLANS_AT_ONCE {
                return Ok(fired);
            }
        }
    }

    /// Brings the next deadlines back that a clock which was ahead has put too far away,
    /// and forgets days that have not come: they are looked at when they come, and what was
    /// told of them is not told again. Returns how many days that were. It looks at every
    /// expectation.
    ///
    /// # Errors
    /// The database is away.
    pub async fn bring_back(&self) -> Result<u64, StoreError> {
        let (store, now) = (&self.holdings.store, self.holdings.now());
        let mut standing = store.expectations(None).await?;
        standing.retain(|one| one.plan_from.is_some() || is_too_far(one, now));
        let not_come = now.saturating_add(MAX_DATABASE_DIFFERENCE);
        let mut brought: u64 = 0;
        for some in standing.chunks(PLANS_AT_ONCE) {
            let names: Vec<_> = some.iter().map(|one| one.definition.name.clone()).collect();
            let days = store.forget_days_to_come(&names, not_come).await?;
            let plans: Vec<_> = some.iter().map(|one| plan_of(one, now)).collect();
            store.plan_expectations(&plans, now).await?;
            brought = brought.saturating_add(days);
        }
        Ok(brought)
    }

    /// Takes up to `limit` days that somebody is to look at.
    ///
    /// # Errors
    /// The database is away.
    pub async fn claim(&self, limit: usize) -> Result<Vec<OpenDay>, StoreError> {
        let (store, now) = (&self.holdings.store, self.holdings.now());
        let mut taken = Vec::new();
        let [_, longest] = LATE_THERE_AFTER;
        // What is said to wait for longer was put off by a clock that was ahead.
        let latest = now
            .saturating_add(longest)
            .saturating_add(MAX_DATABASE_DIFFERENCE);
        for found in store.days_to_look_at(now, latest, limit).await? {
            let held = now.saturating_add(LOOK_LEASE);
            let (day, not_before) = open_day(found, held);
            if store.hold_day(&day.key(), not_before, held).await? {
                taken.push(day);
            }
        }
        Ok(taken)
    }

    /// Says that this node is still looking.
    ///
    /// # Errors
    /// [`LookLost`].
    pub async fn renew(&self, day: &OpenDay) -> Result<(), LookLost> {
        self.hold(day, self.holdings.now().saturating_add(LOOK_LEASE))
            .await
    }

    /// Lets go of a day that was not looked at: the next one who looks takes it.
    ///
    /// # Errors
    /// [`LookLost`].
    pub async fn give_back(&self, day: &OpenDay) -> Result<(), LookLost> {
        self.hold(day, self.holdings.now()).await
    }

    async fn hold(&self, day: &OpenDay, until: Timestamp) -> Result<(), LookLost> {
        let store = &self.holdings.store;
        match store.hold_day(&day.key(), day.held(), until).await? {
            true => {
                day.held.store(until.as_micros(), Ordering::Release);
                Ok(())
            }
            false => Err(LookLost::Lost),
        }
    }

    /// What is asked of an expectation at this moment: for the day that is over or, where
    /// none has been over today, for the next one.
    #[must_use]
    pub fn question_now(&self, standing: &ExpectationStanding) -> Option<DayQuestion> {
        let now = self.holdings.now();
        let deadlines = standing
            .definition
            .deadlines(standing.entity_zone.as_deref());
        let today = deadlines.date_at(now);
        let last = deadlines.last_until(now).filter(|last| last.day >= today);
        let deadline = last.or_else(|| deadlines.next_after(now))?;
        let before = deadlines.before(deadline.at);
        Some(DayQuestion {
            opens_at: (!standing.definition.file.is_dated())
                .then(|| before.map(|before| before.at))
                .flatten(),
            definition: standing.definition.clone(),
            entity: standing.entity.clone(),
            day: deadline.day,
            due_at: deadline.at,
            missing_at: None,
        })
    }

    /// What is to be said of what was seen, were nobody to wait for anything.
    ///
    /// # Errors
    /// The database is away.
    pub async fn verdict_now(
        &self,
        question: &DayQuestion,
        files: &[SeenFile],
    ) -> Result<Verdict, StoreError> {
        let previous = self.previous(question).await?;
        let rules = &question.definition.rules;
        Ok(judge(rules, question.due_at, files, previous.as_ref()))
    }

    async fn previous(&self, question: &DayQuestion) -> Result<Option<DayContent>, StoreError> {
        if question.definition.rules.allow_same {
            return Ok(None);
        }
        let key = DayKey {
            expectation: question.definition.name.clone(),
            day: question.day,
        };
        self.holdings.store.content_before(&key).await
    }

    /// A look is over: what it saw is told, once, or the day waits for another look.
    ///
    /// # Errors
    /// [`LookLost`].
    pub async fn end(&self, day: &OpenDay, sighting: Sighting) -> Result<(), LookLost> {
        let now = self.holdings.now();
        let end = match (day.state, sighting) {
            (DayState::Missing, sighting) => self.end_of_missing(day, sighting, now).await?,
            (_, Sighting::Unreachable { why }) => self.end_of_unreachable(day, &why, now),
            (_, Sighting::Files(files)) => self.end_of_look(day, files, now).await?,
        };
        let told = end.alert.as_ref().map(|(event, _)| event.clone());
        let done = self.holdings.store.end_day(&end).await?;
        done.ok_or(LookLost::Lost)?;
        let (name, date) = (&day.question.definition.name, day.question.day);
        match told {
            Some(event) => tracing::warn!(
                expectation = %name,
                day = %date,
                fault = end.fault.map(DayFault::as_str),
                kind = event.kind.as_str(),
                "expectation `{name}` of {date}: {}",
                end.fault.map_or("", sentence)
            ),
            None if end.state == DayState::Done && end.fault.is_none() => tracing::info!(
                expectation = %name,
                day = %date,
                "expectation `{name}` of {date}: as expected"
            ),
            None => {}
        }
        Ok(())
    }

    async fn end_of_look(
        &self,
        day: &OpenDay,
        mut files: Vec<SeenFile>,
        now: Timestamp,
    ) -> Result<DayEnd, StoreError> {
        let mut verdict = self.verdict_now(&day.question, &files).await?;
        if verdict == Verdict::Waits {
            if now < day.question.due_at.saturating_add(CHECKSUM_FOR) {
                return Ok(day.waits(now.saturating_add(CHECKSUM_AGAIN), None, now));
            }
            tracing::warn!(
                expectation = %day.question.definition.name,
                "a file that is expected has no checksum: whether it is the last one again is not known"
            );
            for file in &mut files {
                file.hash_to_come = false;
            }
            verdict = self.verdict_now(&day.question, &files).await?;
        }
        let (fault, file) = match verdict {
            Verdict::AsExpected(file) => (None, Some(file)),
            Verdict::Faulty { fault, file } => (Some(fault), file),
            Verdict::Waits => (None, None),
        };
        let mut end = day.ends(fault, file, now);
        let Some(fault) = fault else {
            return Ok(end);
        };
        if fault == DayFault::Missing && day.closes_at.is_none_or(|closes_at| now < closes_at) {
            end.state = DayState::Missing;
            end.at = self.late_look(day, now);
        }
        end.alert = Some(self.alert(day, EventKind::ExpectationFailed, &end, &[]));
        Ok(end)
    }

    fn end_of_unreachable(&self, day: &OpenDay, why: &str, now: Timestamp) -> DayEnd {
        let is_over = now >= day.question.due_at.saturating_add(UNREACHABLE_FOR);
        // After a standstill the first try is not the last.
        if !is_over || !day.was_unreachable {
            let again = now.saturating_add(day.wait(now, AGAIN_AFTER));
            return day.waits(again, Some(DayFault::Unreachable), now);
        }
        let mut end = day.ends(Some(DayFault::Unreachable), None, now);
        let why = [("why", Value::from(why))];
        end.alert = Some(self.alert(day, EventKind::ExpectationFailed, &end, &why));
        end
    }

    /// The file was missing, which was told: has it come?
    async fn end_of_missing(
        &self,
        day: &OpenDay,
        sighting: Sighting,
        now: Timestamp,
    ) -> Result<DayEnd, StoreError> {
        let is_closed = day.closes_at.is_some_and(|closes_at| now >= closes_at);
        let files = match sighting {
            Sighting::Files(files) => files,
            Sighting::Unreachable { .. } => Vec::new(),
        };
        let in_time = |file: &&SeenFile| {
            let closes_at = day.closes_at.unwrap_or(Timestamp::MAX);
            file.came_at.is_none_or(|at| at < closes_at)
        };
        let last = files.iter().filter(in_time).max_by_key(|file| file.came_at);
        let Some(file) = last else {
            let mut end = day.ends(Some(DayFault::Missing), None, now);
            if !is_closed {
                end.state = DayState::Missing;
                end.at = self.late_look(day, now);
            }
            return Ok(end);
        };
        // One that came before the deadline has got its name since.
        let came_at = file.came_at.filter(|at| *at > day.question.due_at);
        let late = SeenFile {
            came_at: Some(came_at.unwrap_or(now)),
            ..file.clone()
        };
        let previous = self.previous(&day.question).await?;
        let also = fault_of(&day.question.definition.rules, &late, previous.as_ref());
        let mut end = day.ends(Some(DayFault::Late), Some(late.clone()), now);
        let mut more = vec![("came_at", Value::from(told_time(late.came_at)))];
        if let Some(also) = also {
            more.push(("also", also.as_str().into()));
        }
        end.alert = Some(self.alert(day, EventKind::ExpectationLate, &end, &more));
        Ok(end)
    }

    fn late_look(&self, day: &OpenDay, now: Timestamp) -> Timestamp {
        let wait = match day.question.definition.place {
            ExpectedPlace::Here { .. } => LATE_HERE_EVERY,
            ExpectedPlace::There { .. } => day.wait(now, LATE_THERE_AFTER),
        };
        let next = now.saturating_add(wait);
        // The last look is when nobody waits any more.
        match day.closes_at.filter(|closes_at| *closes_at > now) {
            Some(closes_at) => next.min(closes_at),
            None => next,
        }
    }

    /// The event of a day, and the entry that it commits with.
    fn alert(
        &self,
        day: &OpenDay,
        kind: EventKind,
        end: &DayEnd,
        more: &[(&'static str, Value)],
    ) -> (NewEvent, NewEntry) {
        let (question, now) = (&day.question, end.now);
        let definition = &question.definition;
        let rules = &definition.rules;
        let mut detail = Map::new();
        let mut put = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                detail.insert(name.to_owned(), value);
            }
        };
        put("expectation", Some(definition.name.as_str().into()));
        put("day", Some(question.day.to_string().into()));
        put("due_at", Some(question.due_at.to_string().into()));
        put("place", Some(definition.place.to_string().into()));
        put("expected", Some(definition.file.as_str().into()));
        put("fault", end.fault.map(|fault| fault.as_str().into()));
        let name = end.file_name.as_deref().map(String::from_utf8_lossy);
        put("file", name.map(|name| name.into_owned().into()));
        put("size_bytes", end.size_bytes.map(Value::from));
        put("min_size_bytes", rules.min_size_bytes.map(Value::from));
        put("max_size_bytes", rules.max_size_bytes.map(Value::from));
        put("sha256", end.sha256.clone().map(Value::from));
        for (name, value) in more {
            put(name, Some(value.clone()));
        }
        if let ExpectedPlace::There { partner, .. } = &definition.place {
            put("integration", Some(partner.as_str().into()));
        }
        let outcome = match kind {
            EventKind::ExpectationLate => Outcome::Ok,
            _ => Outcome::Failed,
        };
        let mut entry = NewEntry::new(now, JournalKind::System, kind.as_str(), &self.holdings.node)
            .outcome(outcome)
            .entity(&question.entity);
        if let ExpectedPlace::Here { home } = &definition.place {
            entry = entry.account(&home.account);
            detail.insert("account".to_owned(), home.account.as_str().into());
        }
        if let Some(size_bytes) = end.size_bytes {
            entry = entry.size_bytes(size_bytes);
        }
        entry.detail.clone_from(&detail);
        let event = NewEvent {
            at: now,
            kind,
            entity: Some(day.entity_id),
            subject: format!("expectation:{}", definition.name),
            once: Some(format!(
                "{kind}:{}:{}:{}",
                definition.name,
                question.day,
                question.due_at.as_micros()
            )),
            detail,
        };
        (event, entry)
    }

    /// Forgets days that were decided before this moment. Returns how many went, a bounded
    /// number.
    ///
    /// # Errors
    /// The database is away.
    pub async fn prune(&self, before: Timestamp) -> Result<u64, StoreError> {
        let store = &self.holdings.store;
        store.prune_days(before, PRUNED_AT_ONCE).await
    }
}

impl OpenDay {
    /// So long since the deadline, within limits: it doubles from look to look.
    fn wait(&self, now: Timestamp, [least, most]: [Duration; 2]) -> Duration {
        now.duration_since(self.question.due_at).clamp(least, most)
    }

    fn ends(&self, fault: Option<DayFault>, file: Option<SeenFile>, now: Timestamp) -> DayEnd {
        let file = file.unwrap_or_default();
        DayEnd {
            key: self.key(),
            held: self.held(),
            state: DayState::Done,
            at: now,
            fault,
            file_name: (!file.name.is_empty()).then_some(file.name),
            size_bytes: file.size_bytes,
            sha256: file.sha256,
            modified_at: file.modified_at,
            alert: None,
            now,
        }
    }

    fn waits(&self, until: Timestamp, fault: Option<DayFault>, now: Timestamp) -> DayEnd {
        DayEnd {
            state: DayState::Waiting,
            at: until,
            ..self.ends(fault, None, now)
        }
    }
}

fn told_time(at: Option<Timestamp>) -> Option<String> {
    at.map(|at| at.to_string())
}

fn sentence(fault: DayFault) -> &'static str {
    match fault {
        DayFault::Missing => "the file is not there",
        DayFault::Late => "the file came late",
        DayFault::TooSmall => "the file is too small",
        DayFault::TooLarge => "the file is too large",
        DayFault::SameContent => "the file is the one of the last time again",
        DayFault::Unreachable => "the partner's server could not be asked",
    }
}

/// The day, and before when nobody was to look at it.
fn open_day(found: DayLook, held: Timestamp) -> (OpenDay, Timestamp) {
    let deadlines = found.definition.deadlines(found.entity_zone.as_deref());
    let opens_at = match found.definition.file.is_dated() {
        true => None,
        false => deadlines.before(found.due_at).map(|before| before.at),
    };
    // The look before this one was one wait ago, or two when its end was slow.
    let missing_at = found.not_before.saturating_sub(LATE_HERE_EVERY * 2);
    let missing_at = missing_at.max(found.due_at);
    let day = OpenDay {
        closes_at: deadlines.next_after(found.due_at).map(|next| next.at),
        question: DayQuestion {
            definition: found.definition,
            entity: found.entity,
            day: found.day,
            due_at: found.due_at,
            opens_at,
            missing_at: (found.state == DayState::Missing).then_some(missing_at),
        },
        entity_id: found.entity_id,
        state: found.state,
        was_unreachable: found.was_unreachable,
        held: AtomicI64::new(held.as_micros()),
    };
    (day, found.not_before)
}
