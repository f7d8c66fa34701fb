//! What is asked of a place, and what a home answers: what is stored there, and what the
//! journal knows to have come and gone.

use std::time::Duration;

use jiff::civil::Date;
use layover_retention::Timestamp;

use super::definition::ExpectationDefinition;
use super::judging::{SeenFile, Sighting, Verdict, judge};
use super::looks::ExpectationLooks;
use super::record::GoneFile;
use crate::integration::HomeFolder;
use crate::pattern::Pattern;
use crate::store::StoreError;
use crate::{EntityName, HomeId};

/// How often a home is looked at for a file that was missing.
pub(super) const LATE_HERE_EVERY: Duration = Duration::from_secs(60);

/// Rows, and entries, that are read at once.
const ROWS_AT_ONCE: usize = 1_000;

/// Most files whose names fit: more are not one file that is expected.
const MAX_FITTING: usize = 1_000;

/// What is asked of a place.
#[derive(Clone, Debug)]
pub struct DayQuestion {
    /// Which file, and where.
    pub definition: ExpectationDefinition,
    /// Whose.
    pub entity: EntityName,
    /// The day, in the entity's zone.
    pub day: Date,
    /// Until when it is expected.
    pub due_at: Timestamp,
    /// What is older is not of this day; none: its name says of which day it is.
    pub opens_at: Option<Timestamp>,
    /// It was missing already, when somebody looked at about this moment: what is there
    /// now came later.
    pub(super) missing_at: Option<Timestamp>,
}

impl DayQuestion {
    /// Whether it was missing by its deadline: what is there now came later.
    #[must_use]
    pub fn was_missing(&self) -> bool {
        self.missing_at.is_some()
    }

    /// Names that fit.
    #[must_use]
    pub fn pattern(&self) -> Pattern {
        let definition = &self.definition;
        definition.file.on(definition.named_day(self.day))
    }

    /// Whether a file that came, or changed, at this moment is of this day.
    #[must_use]
    pub fn is_of_day(&self, at: Timestamp) -> bool {
        self.opens_at.is_none_or(|opens_at| at > opens_at)
    }
}

impl DayQuestion {
    /// From when on the journal is asked for files that are gone again: a week is as long
    /// as an expectation that is looked at once a week waits.
    fn gone_since(&self) -> Timestamp {
        const WEEK: Duration = Duration::from_secs(7 * 86_400);
        self.opens_at
            .unwrap_or_else(|| self.due_at.saturating_sub(WEEK))
    }
}

impl ExpectationLooks {
    /// What a home has, and had, of the files that are asked for.
    ///
    /// # Errors
    /// The database is away.
    pub async fn see_here(
        &self,
        question: &DayQuestion,
        home: &HomeFolder,
    ) -> Result<Sighting, StoreError> {
        let store = &self.holdings.store;
        let gone = || Sighting::Unreachable {
            why: format!("account `{}` does not exist", home.account),
        };
        let Some(account) = store.account(&home.account).await? else {
            return Ok(gone());
        };
        let Some((id, _)) = store.home(&account.home).await? else {
            return Ok(gone());
        };
        let mut files = self.stored(question, home, id).await?;
        // What is as it should be needs no history, and that is the usual case.
        if files.iter().any(|file| !self.is_bad(question, file)) {
            return Ok(Sighting::Files(files));
        }
        files.extend(self.gone(question, home, id).await?);
        Ok(Sighting::Files(files))
    }

    fn is_bad(&self, question: &DayQuestion, file: &SeenFile) -> bool {
        let files = std::slice::from_ref(file);
        let verdict = judge(&question.definition.rules, question.due_at, files, None);
        matches!(verdict, Verdict::Faulty { .. })
    }

    /// Files that are stored there now.
    async fn stored(
        &self,
        question: &DayQuestion,
        home: &HomeFolder,
        id: HomeId,
    ) -> Result<Vec<SeenFile>, StoreError> {
        let (store, pattern) = (&self.holdings.store, question.pattern());
        let beginning = pattern.beginning();
        let mut after = Vec::new();
        let mut files = Vec::new();
        loop {
            let rows = store
                .stored_named(id, &home.folder, &beginning, &after, ROWS_AT_ONCE)
                .await?;
            let is_last = rows.len() < ROWS_AT_ONCE;
            if let Some(last) = rows.last() {
                after.clone_from(&last.name);
            }
            let fitting = rows
                .into_iter()
                .filter(|row| pattern.fits(&row.name) && question.is_of_day(row.at));
            files.extend(fitting.map(|row| SeenFile {
                hash_to_come: self.hashes && row.sha256.is_none(),
                ..seen(row)
            }));
            if is_last || files.len() >= MAX_FITTING {
                return Ok(files);
            }
        }
    }

    /// Files that came there and are gone again, as the journal tells it: collected and
    /// deleted, moved on, or replaced after the deadline.
    async fn gone(
        &self,
        question: &DayQuestion,
        home: &HomeFolder,
        id: HomeId,
    ) -> Result<Vec<SeenFile>, StoreError> {
        let (store, pattern, now) = (
            &self.holdings.store,
            question.pattern(),
            self.holdings.now(),
        );
        // Of one that was missing, what came since somebody looked the last time.
        let (from, until) = match question.missing_at {
            Some(missing_at) => (missing_at, now),
            None => (question.gone_since(), question.due_at.min(now)),
        };
        let mut before = None;
        let mut files = Vec::new();
        loop {
            let told = store
                .names_told(id, &home.folder, (from, until), before, ROWS_AT_ONCE)
                .await?;
            before = told.next;
            let fitting = told.files.into_iter();
            for one in fitting.filter(|one| pattern.fits(&one.name)) {
                let Some(file) = one.file else {
                    files.push(seen(one));
                    continue;
                };
                let Some(end) = store.file_end(file).await? else {
                    continue;
                };
                // What took its name before the deadline counts instead of it.
                let was_there = end.replaced_at.is_none_or(|at| at > until);
                if end.home == id && was_there {
                    let sha256 = end.sha256;
                    files.push(SeenFile {
                        sha256,
                        ..seen(one)
                    });
                }
            }
            if before.is_none() || files.len() >= MAX_FITTING {
                return Ok(files);
            }
        }
    }
}

fn seen(file: GoneFile) -> SeenFile {
    SeenFile {
        name: file.name,
        size_bytes: file.size_bytes,
        came_at: Some(file.at),
        modified_at: None,
        sha256: file.sha256,
        hash_to_come: false,
    }
}
