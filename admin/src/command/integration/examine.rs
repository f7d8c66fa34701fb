//! `layover integration test`: the doctor's findings, as they are made.

use layover_client::Partner;
use layover_client::doctor::{Finding, Outcome, Probe, Subject, Wishes, examine};
use layover_client::partner::PgpKeys;
use layover_depot::Registry;
use serde::Serialize;

use super::used;
use crate::cli::integration::TestArgs;
use crate::context::Context;
use crate::error::CliError;
use crate::output::{Cell, Output, Tone};

#[derive(Serialize)]
struct Examination<'a> {
    integration: &'a str,
    protocol: &'static str,
    host: String,
    port: u16,
    /// No step failed.
    works: bool,
    findings: &'a [Finding],
}

pub(super) async fn run(
    context: &mut Context,
    registry: &Registry,
    arguments: TestArgs,
) -> Result<(), CliError> {
    let name = &arguments.name;
    let integration = registry.integration(name).await?;
    let probe = match arguments.no_write {
        true => Probe::ReadOnly,
        false => Probe::Write,
    };
    let location = arguments.location;
    let wishes = Wishes { location, probe };
    if let Some(location) = &wishes.location {
        used::location(&integration, location)?;
    }
    let surroundings = context.surroundings()?;
    used::warn_of_dangers(&integration);
    let partner = Partner::examine(registry, integration.clone(), &surroundings).await;
    let pgp = PgpKeys::examine(registry, &integration, &surroundings).await;
    let subject = Subject {
        integration: &integration,
        partner: &partner,
        pgp: &pgp,
        surroundings: &surroundings,
    };
    let mut printed = Ok(());
    let out = &mut context.out;
    let mut tell = |finding: &Finding| {
        if !out.is_json() && printed.is_ok() {
            printed = print(out, finding);
        }
    };
    let findings = examine(&subject, &wishes, &mut tell).await;
    printed?;
    let failed: Vec<_> = findings
        .iter()
        .filter(|finding| finding.outcome == Outcome::Failed)
        .map(what)
        .collect();
    if context.out.is_json() {
        let spec = &integration.spec;
        let document = Examination {
            integration: name.as_str(),
            protocol: spec.protocol.as_str(),
            host: spec.host.to_string(),
            port: spec.port(),
            works: failed.is_empty(),
            findings: &findings,
        };
        context.out.done(&document, "")?;
    }
    if let Ok(partner) = &partner {
        used::settle(context, registry, partner).await?;
    }
    if failed.is_empty() {
        return Ok(());
    }
    Err(CliError::Ill {
        name: name.clone(),
        failed: failed.join(", "),
    })
}

fn what(finding: &Finding) -> String {
    match &finding.subject {
        Some(subject) => format!("{} {subject}", finding.step),
        None => finding.step.to_string(),
    }
}

/// A line for the step, and behind it what was seen, what is wrong and what to do.
fn print(out: &mut Output, finding: &Finding) -> std::io::Result<()> {
    let (word, tone) = match finding.outcome {
        Outcome::Ok => ("ok     ", Tone::Good),
        Outcome::Warning => ("WARNING", Tone::Notice),
        Outcome::Failed => ("FAILED ", Tone::Alarm),
        Outcome::Skipped => ("skipped", Tone::Plain),
    };
    let what = what(finding);
    let seen = finding.seen.join("; ");
    let line = match seen.is_empty() {
        true => format!("  {what}"),
        false => format!("  {what:22}  {seen}"),
    };
    out.marked_line(&Cell::toned(word, tone), &line)?;
    for (label, text) in [
        ("what happened", &finding.fault),
        ("likely cause", &finding.likely_cause),
        ("what to do", &finding.what_to_do),
    ] {
        if let Some(text) = text {
            out.line(&format!("         {label}: {text}"))?;
        }
    }
    Ok(())
}
