//! Flows, runs and files as they are shown.

use layover_client::flow::Preview;
use layover_depot::{
    AfterSuccess, FlowFile, FlowName, FlowRun, FlowRunId, FlowStanding, FlowTarget, RunReport,
    RunState, ZoneName,
};
use layover_retention::Timestamp;
use serde::Serialize;

use crate::output::{Cell, Tone};

/// A flow.
#[derive(Debug, Serialize)]
pub(super) struct FlowView {
    pub(super) name: String,
    pub(super) direction: &'static str,
    pub(super) enabled: bool,
    pub(super) integration: String,
    /// A path, or the name of a location.
    pub(super) there: String,
    pub(super) local: String,
    /// What it lacks to run.
    pub(super) needs: Option<String>,
    pub(super) schedule: Option<String>,
    pub(super) on_arrival: bool,
    pub(super) next_due: Option<Timestamp>,
    pub(super) next_retry: Option<Timestamp>,
    pub(super) time_zone: String,
    pub(super) catch_up: &'static str,
    pub(super) files: Vec<String>,
    pub(super) exclude: Vec<String>,
    pub(super) idempotency: &'static str,
    pub(super) afterwards: String,
    pub(super) dead_letter: Option<String>,
    pub(super) max_parallel: u16,
    pub(super) retries: u16,
    pub(super) retry_after_s: u32,
    pub(super) other_entity: bool,
}

impl FlowView {
    pub(super) fn new(standing: &FlowStanding) -> Self {
        let flow = &standing.definition;
        let rules = &flow.rules;
        let texts = |patterns: &[layover_depot::FilePattern]| {
            patterns.iter().map(ToString::to_string).collect()
        };
        let own_zone = rules.time_zone.as_ref().map(ZoneName::to_string);
        let zone = own_zone.or_else(|| standing.entity_zone.clone());
        Self {
            name: flow.name.to_string(),
            direction: flow.direction.as_str(),
            enabled: flow.enabled,
            integration: flow.partner.to_string(),
            there: match &flow.target {
                FlowTarget::Path(path) => path.to_string(),
                FlowTarget::Location(location) => location.to_string(),
            },
            local: flow.local.to_string(),
            needs: flow.home().is_none().then(|| {
                format!(
                    "an account: layover flow set {} --home ACCOUNT:/folder",
                    flow.name
                )
            }),
            schedule: flow.schedule_cron.as_ref().map(ToString::to_string),
            on_arrival: rules.on_arrival,
            next_due: standing.next_due,
            next_retry: standing.next_retry,
            time_zone: zone.unwrap_or_else(|| "UTC".to_owned()),
            catch_up: rules.catch_up.as_str(),
            files: texts(&flow.files),
            exclude: texts(&rules.exclude),
            idempotency: flow.idempotency_mode.as_str(),
            afterwards: match flow.after_success() {
                AfterSuccess::Keep => "keep".to_owned(),
                AfterSuccess::Delete => "delete".to_owned(),
                AfterSuccess::Move(folder) => format!("move to {folder}"),
            },
            dead_letter: rules.dead_letter.as_ref().map(ToString::to_string),
            max_parallel: rules.max_parallel,
            retries: rules.retries,
            retry_after_s: rules.retry_after_s,
            other_entity: rules.other_entity,
        }
    }

    /// When it runs.
    pub(super) fn runs(&self) -> String {
        if !self.enabled {
            return "disabled".to_owned();
        }
        let arrival = self.on_arrival.then(|| "on arrival".to_owned());
        let each: Vec<_> = self.schedule.clone().into_iter().chain(arrival).collect();
        match each.is_empty() {
            true => "when told to".to_owned(),
            false => each.join(", "),
        }
    }

    pub(super) fn files_text(&self) -> String {
        let wanted = match self.files.is_empty() {
            true => "all".to_owned(),
            false => self.files.join(" "),
        };
        match self.exclude.is_empty() {
            true => wanted,
            false => format!("{wanted}, but not {}", self.exclude.join(" ")),
        }
    }

    pub(super) fn given_up(&self) -> String {
        match &self.dead_letter {
            Some(folder) => format!("move to {folder}"),
            None => "keep".to_owned(),
        }
    }
}

/// A run.
#[derive(Debug, Serialize)]
pub(super) struct RunView {
    run: FlowRunId,
    cause: &'static str,
    scheduled_for: Timestamp,
    state: &'static str,
    node: Option<String>,
    asked_by: Option<String>,
    started_at: Option<Timestamp>,
    ended_at: Option<Timestamp>,
    report: Option<RunReport>,
}

impl RunView {
    pub(super) fn new(run: &FlowRun) -> Self {
        Self {
            run: run.id,
            cause: run.cause.as_str(),
            scheduled_for: run.scheduled_for,
            state: run.state.as_str(),
            node: run.node.clone(),
            asked_by: run.asked_by.clone(),
            started_at: run.started_at,
            ended_at: run.ended_at,
            report: run.report.clone(),
        }
    }

    pub(super) fn cells(&self) -> [Cell; 10] {
        let count = |of: fn(&RunReport) -> u64| Cell::or_dash(self.report.as_ref().map(of));
        let state = match self.state == RunState::Failed.as_str() {
            true => Cell::toned(self.state, Tone::Alarm),
            false => Cell::from(self.state),
        };
        let note = self.report.as_ref().and_then(note_of);
        [
            Cell::from(self.run.0.to_string()),
            Cell::from(self.cause),
            Cell::from(self.scheduled_for.to_string()),
            state,
            Cell::or_dash(self.started_at),
            count(|report| report.moved),
            count(|report| report.failed),
            count(|report| report.dead),
            count(|report| report.waiting),
            Cell::or_dash(note),
        ]
    }
}

/// What is to be said of a run beside its counts.
fn note_of(report: &RunReport) -> Option<String> {
    let left = (report.sources_left > 0).then(|| {
        format!(
            "{} moved, and could not be taken away at the source",
            report.sources_left
        )
    });
    let given_up =
        (report.given_up > 0).then(|| format!("{} given up before (flow retry)", report.given_up));
    let cause = report.cause.clone().into_iter();
    let notes: Vec<_> = cause.chain(left).chain(given_up).collect();
    (!notes.is_empty()).then(|| notes.join("; "))
}

/// A file of a run.
#[derive(Debug, Serialize)]
pub(super) struct FileView {
    pub(super) name: String,
    /// The bytes, where they are no text.
    #[serde(skip_serializing_if = "Option::is_none")]
    name_hex: Option<String>,
    pub(super) state: &'static str,
    pub(super) size_bytes: Option<u64>,
    pub(super) tries: u32,
    pub(super) sha256: Option<String>,
    pub(super) cause: Option<String>,
}

impl FileView {
    pub(super) fn new(file: &FlowFile) -> Self {
        Self {
            name: String::from_utf8_lossy(&file.facts.name).into_owned(),
            name_hex: hex_of(&file.facts.name),
            state: file.state.as_str(),
            size_bytes: file.content_bytes.or(file.facts.size_bytes),
            tries: file.attempts,
            sha256: file.sha256.clone(),
            cause: file.cause.clone(),
        }
    }
}

fn hex_of(name: &[u8]) -> Option<String> {
    let is_text = std::str::from_utf8(name).is_ok();
    (!is_text).then(|| hex::encode(name))
}

/// What a run would move.
#[derive(Debug, Serialize)]
pub(super) struct PreviewView {
    flow: String,
    pub(super) files: Vec<PreviewFile>,
    pub(super) waiting: u64,
    pub(super) known: u64,
    pub(super) given_up: u64,
}

#[derive(Debug, Serialize)]
pub(super) struct PreviewFile {
    pub(super) name: String,
    /// The bytes, where they are no text.
    #[serde(skip_serializing_if = "Option::is_none")]
    name_hex: Option<String>,
    pub(super) size_bytes: Option<u64>,
    pub(super) modified_at: Option<Timestamp>,
}

impl PreviewView {
    pub(super) fn new(flow: &FlowName, preview: &Preview) -> Self {
        let files = preview.moves.iter().map(|facts| PreviewFile {
            name: String::from_utf8_lossy(&facts.name).into_owned(),
            name_hex: hex_of(&facts.name),
            size_bytes: facts.size_bytes,
            modified_at: facts.modified_at,
        });
        Self {
            flow: flow.to_string(),
            files: files.collect(),
            waiting: preview.waiting,
            known: preview.known,
            given_up: preview.given_up,
        }
    }
}
