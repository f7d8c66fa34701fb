//! Expectations and their days as they are shown.

use layover_client::expectation::Checked;
use layover_depot::{
    DayFault, DayState, ExpectationDay, ExpectationName, ExpectationStanding, SeenFile, Verdict,
};
use layover_retention::Timestamp;
use serde::Serialize;

use crate::output::{Cell, Tone};
use crate::value::ByteSize;

/// An expectation.
#[derive(Debug, Serialize)]
pub(super) struct ExpectationView {
    pub(super) name: String,
    pub(super) entity: String,
    pub(super) enabled: bool,
    pub(super) file: String,
    pub(super) place: String,
    pub(super) by: String,
    pub(super) time_zone: String,
    pub(super) days: String,
    pub(super) date_offset: i16,
    pub(super) min_size_bytes: Option<u64>,
    pub(super) max_size_bytes: Option<u64>,
    pub(super) allow_same: bool,
    pub(super) next_due: Option<Timestamp>,
    pub(super) last: Option<DayView>,
}

impl ExpectationView {
    pub(super) fn new(standing: &ExpectationStanding) -> Self {
        let definition = &standing.definition;
        let rules = &definition.rules;
        let zone = standing.entity_zone.clone();
        Self {
            name: definition.name.to_string(),
            entity: standing.entity.to_string(),
            enabled: definition.enabled,
            file: definition.file.to_string(),
            place: definition.place.to_string(),
            by: definition.by.to_string(),
            time_zone: zone.unwrap_or_else(|| "UTC".to_owned()),
            days: rules.days.to_string(),
            date_offset: rules.date_offset,
            min_size_bytes: rules.min_size_bytes,
            max_size_bytes: rules.max_size_bytes,
            allow_same: rules.allow_same,
            next_due: standing.next_due,
            last: standing.last.as_ref().map(DayView::new),
        }
    }

    pub(super) fn last_cell(&self) -> Cell {
        match &self.last {
            Some(last) => last.cell_with_day(),
            None => Cell::or_dash(None::<String>),
        }
    }

    pub(super) fn date_text(&self) -> String {
        match self.date_offset {
            0 => "the day's".to_owned(),
            days => format!("{days:+} days"),
        }
    }

    pub(super) fn size_text(&self) -> String {
        let exact = |bytes: u64| ByteSize(bytes).exact();
        match (self.min_size_bytes, self.max_size_bytes) {
            (None, None) => "any".to_owned(),
            (Some(least), None) => format!("at least {}", exact(least)),
            (None, Some(most)) => format!("at most {}", exact(most)),
            (Some(least), Some(most)) => format!("{} to {}", exact(least), exact(most)),
        }
    }
}

/// A day.
#[derive(Debug, Serialize)]
pub(super) struct DayView {
    pub(super) day: String,
    pub(super) due_at: Timestamp,
    /// `as_expected`, a fault, or `waiting`.
    pub(super) result: &'static str,
    /// Somebody looks again.
    open: bool,
    pub(super) decided_at: Option<Timestamp>,
    next_look_at: Option<Timestamp>,
    pub(super) file: Option<String>,
    pub(super) size_bytes: Option<u64>,
    sha256: Option<String>,
    modified_at: Option<Timestamp>,
}

impl DayView {
    pub(super) fn new(day: &ExpectationDay) -> Self {
        let is_open = day.state != DayState::Done;
        let name = day.file_name.as_deref().map(String::from_utf8_lossy);
        Self {
            day: day.day.to_string(),
            due_at: day.due_at,
            result: match (day.state, day.fault) {
                (DayState::Waiting, _) => "waiting",
                (_, None) => "as_expected",
                (_, Some(fault)) => fault.as_str(),
            },
            open: is_open,
            decided_at: (!is_open).then_some(day.at),
            next_look_at: is_open.then_some(day.at),
            file: name.map(std::borrow::Cow::into_owned),
            size_bytes: day.size_bytes,
            sha256: day.sha256.clone(),
            modified_at: day.modified_at,
        }
    }

    fn tone(&self) -> Tone {
        match self.result {
            "as_expected" => Tone::Good,
            "waiting" => Tone::Notice,
            _ => Tone::Alarm,
        }
    }

    pub(super) fn result_cell(&self) -> Cell {
        Cell::toned(self.result, self.tone())
    }

    /// The result, and the day that it is of.
    fn cell_with_day(&self) -> Cell {
        Cell::toned(format!("{} ({})", self.result, self.day), self.tone())
    }
}

/// What a look would say.
#[derive(Debug, Serialize)]
pub(super) struct CheckView {
    expectation: String,
    pub(super) day: String,
    due_at: Timestamp,
    /// The deadline is still to come.
    is_early: bool,
    /// `as_expected`, a fault, `waiting` (for a checksum) or `unreachable`.
    result: &'static str,
    file: Option<String>,
    size_bytes: Option<u64>,
    sha256: Option<String>,
    came_at: Option<Timestamp>,
    why: Option<String>,
    #[serde(skip)]
    pub(super) told: String,
}

fn sentence(fault: DayFault) -> &'static str {
    match fault {
        DayFault::Missing => "the file is not there",
        DayFault::Late => "the file came after the deadline",
        DayFault::TooSmall => "the file is too small",
        DayFault::TooLarge => "the file is too large",
        DayFault::SameContent => "the file is the one of the last time again",
        DayFault::Unreachable => "the partner's server cannot be asked",
    }
}

impl CheckView {
    pub(super) fn new(name: &ExpectationName, checked: &Checked, now: Timestamp) -> Self {
        let (result, said, file) = match &checked.verdict {
            Ok(Verdict::AsExpected(file)) => ("as_expected", "as expected", Some(file)),
            Ok(Verdict::Faulty { fault, file }) => {
                (fault.as_str(), sentence(*fault), file.as_ref())
            }
            Ok(Verdict::Waits) => (
                "waiting",
                "the file is there; whether it is the last one again is not known yet",
                None,
            ),
            Err(_) => {
                let fault = DayFault::Unreachable;
                (fault.as_str(), sentence(fault), None)
            }
        };
        let why = checked.verdict.as_ref().err().cloned();
        let is_early = now < checked.question.due_at;
        let named = |file: &SeenFile| String::from_utf8_lossy(&file.name).into_owned();
        let mut told = said.to_owned();
        if let Some(file) = file {
            let size = file.size_bytes.map(|size| format!(", {}", ByteSize(size)));
            told = format!("{told} ({}{})", named(file), size.unwrap_or_default());
        }
        if let Some(why) = &why {
            told = format!("{told}: {why}");
        }
        if is_early {
            told = format!("{told}; it is expected by {}", checked.question.due_at);
        }
        Self {
            expectation: name.to_string(),
            day: checked.question.day.to_string(),
            due_at: checked.question.due_at,
            is_early,
            result,
            file: file.map(named),
            size_bytes: file.and_then(|file| file.size_bytes),
            sha256: file.and_then(|file| file.sha256.clone()),
            came_at: file.and_then(|file| file.came_at),
            why,
            told,
        }
    }
}
