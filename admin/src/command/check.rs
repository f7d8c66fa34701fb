//! `layover check`: what a `serve` with these settings would find, one line
//! each. It makes nothing that is not there yet.

mod flows;
mod gate;
mod host;
mod kept;
mod machine;
mod passive;
mod process;
mod tls;

pub(super) use machine::is_in_container;

use std::path::Path;
use std::sync::Arc;

use layover_config::Settings;
use layover_retention::Clock;
use layover_server::{SystemClock, retention_rule};
use serde::Serialize;

use super::status::running_server;
use crate::context::load_here;
use crate::error::{CliError, with_causes};
use crate::output::{Cell, Output, Table, Tone};

/// How something stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    /// As it must be.
    Ready,
    /// It works, and somebody should know.
    Notice,
    /// `serve` would fail, or serve badly.
    NotReady,
}

/// One line of the check.
#[derive(Debug, Serialize)]
struct Finding {
    what: &'static str,
    state: State,
    detail: String,
    next_step: Option<String>,
}

impl Finding {
    fn ready(what: &'static str, detail: impl Into<String>) -> Self {
        Self {
            what,
            state: State::Ready,
            detail: detail.into(),
            next_step: None,
        }
    }

    fn notice(what: &'static str, detail: impl Into<String>, next: impl Into<String>) -> Self {
        Self {
            what,
            state: State::Notice,
            detail: detail.into(),
            next_step: Some(next.into()),
        }
    }

    fn not_ready(what: &'static str, detail: impl Into<String>, next: impl Into<String>) -> Self {
        Self {
            what,
            state: State::NotReady,
            detail: detail.into(),
            next_step: Some(next.into()),
        }
    }
}

pub(super) async fn run(config: Option<&Path>, json: bool) -> Result<(), CliError> {
    let mut findings = Vec::new();
    match load_here(config) {
        Err(errors) => findings.extend(errors.errors().iter().map(|error| {
            Finding::not_ready(
                "settings",
                error.to_string(),
                "correct it; everything else is checked after that",
            )
        })),
        Ok(loaded) => {
            let source = loaded.source.map_or_else(
                || "defaults (no file found)".to_owned(),
                |file| file.display().to_string(),
            );
            findings.push(Finding::ready("settings", source));
            look_at(&loaded.settings, &mut findings).await;
        }
    }
    print(&mut Output::stdout(json), &findings)?;
    if findings
        .iter()
        .any(|finding| finding.state == State::NotReady)
    {
        return Err(CliError::NotReady);
    }
    Ok(())
}

async fn look_at(settings: &Settings, findings: &mut Vec<Finding>) {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let server = running_server(&settings.data_dir).ok().flatten();
    findings.push(host::data_dir(&settings.data_dir));
    let kept = kept::look(settings, &clock).await;
    findings.push(homes(settings, kept.homes));
    findings.push(host::host_keys(settings));
    findings.extend(host::user_cas(settings));
    findings.extend(host::ports(settings, server.as_ref()));
    findings.extend(passive::ports(settings, server.as_ref()));
    findings.extend(host::public_address(settings).await);
    findings.extend(tls::certificate(settings, clock.now()));
    findings.push(host::descriptors(settings.gate.max_connections.get()));
    findings.extend(gate::bans(settings));
    findings.push(process::user());
    findings.push(process::sandbox(settings));
    findings.push(machine::entropy());
    findings.push(machine::clock().await);
    findings.extend(machine::disks(settings));
    findings.push(retention(settings));
    findings.extend(kept.findings);
}

/// One line: a fault of the directory itself comes before what the database
/// has against it.
fn homes(settings: &Settings, objection: Option<Finding>) -> Finding {
    let found = host::homes(&settings.storage.homes);
    match objection {
        Some(objection) if found.state == State::Ready => objection,
        _ => found,
    }
}

fn retention(settings: &Settings) -> Finding {
    match retention_rule(settings) {
        Ok(rule) => Finding::ready(
            "retention",
            format!(
                "files go {} after their arrival (at most {}), swept every {}",
                rule.keep, rule.max_keep, settings.retention.sweep_every
            ),
        ),
        Err(error) => Finding::not_ready("retention", with_causes(&error), "correct [retention]"),
    }
}

fn print(out: &mut Output, findings: &[Finding]) -> Result<(), CliError> {
    let mut table = Table::aligned(["STATE", "WHAT", "DETAIL"]);
    for finding in findings {
        let (word, tone) = match finding.state {
            State::Ready => ("ready", Tone::Good),
            State::Notice => ("notice", Tone::Notice),
            State::NotReady => ("NOT READY", Tone::Alarm),
        };
        let next = finding.next_step.as_ref();
        let next = next
            .map(|step| format!(" [next: {step}]"))
            .unwrap_or_default();
        table.row([
            Cell::toned(word, tone),
            Cell::from(finding.what),
            Cell::from(format!("{}{next}", finding.detail)),
        ]);
    }
    out.list(&findings, &table, "nothing was checked")?;
    Ok(())
}
