//! `layover apply` and `layover export`.

use std::collections::HashMap;
use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use layover_depot::{
    Applied, Depot, Difference, Doing, ExpectedPlace, FlowDefinition, IntegrationName, Refusal,
    RegistryError, WantedIntegration,
};
use rustix::fs::OFlags;
use serde::Serialize;

use super::integration::told;
use crate::cli::integration::ApplyArgs;
use crate::context::Context;
use crate::error::CliError;
use crate::manifest::{self, Given, MAX_MANIFEST_BYTES, Manifest, Mistake};
use crate::output::note;

#[derive(Serialize)]
struct AppliedView {
    what: &'static str,
    name: String,
    /// `created`, `changed` or `unchanged`.
    outcome: &'static str,
    changes: Vec<Difference>,
}

#[derive(Serialize)]
struct ReportView {
    dry_run: bool,
    applied: Vec<AppliedView>,
}

fn outcome(applied: &Applied) -> &'static str {
    match (applied.is_new, applied.differences.is_empty()) {
        (true, _) => "created",
        (false, false) => "changed",
        (false, true) => "unchanged",
    }
}

/// `layover apply`.
pub(super) async fn apply(context: &mut Context, arguments: ApplyArgs) -> Result<(), CliError> {
    let text = text_of(&arguments.file)?;
    let refused = |mistakes| CliError::Manifest {
        file: arguments.file.clone(),
        mistakes,
    };
    let given = Given {
        entity: arguments.entity.as_ref(),
    };
    let read = manifest::read(&text, given).map_err(refused)?;
    let depot = context.depot().await?;
    let done = make_so(context, &depot, read, arguments.dry_run, &refused).await;
    depot.close().await;
    done
}

async fn make_so(
    context: &mut Context,
    depot: &Depot,
    read: Manifest,
    dry_run: bool,
    refused: &impl Fn(Vec<Mistake>) -> CliError,
) -> Result<(), CliError> {
    let mut mistakes = missing(depot, &read).await?;
    // With a mistake nothing is done, and the others are told as well.
    let doing = if dry_run || !mistakes.is_empty() {
        Doing::DryRun
    } else {
        Doing::Really
    };
    let lines = Lines::of(&read);
    let typed = read
        .integrations
        .iter()
        .flat_map(|one| &one.wanted.secrets)
        .any(|one| matches!(one.credential, Some(layover_depot::Credential::Value(_))));
    let wanted: Vec<WantedIntegration> = read
        .integrations
        .into_iter()
        .map(|one| one.wanted)
        .collect();
    let flows: Vec<FlowDefinition> = read.flows.into_iter().map(|(_, flow)| flow).collect();
    let expectations: Vec<_> = read.expectations.into_iter().map(|(_, one)| one).collect();
    let registry = depot.registry();
    let applied = registry
        .apply_all(&context.actor, &wanted, &flows, &expectations, doing)
        .await?;
    let applied = match applied {
        Ok(applied) if mistakes.is_empty() => applied,
        Ok(_) => return Err(refused(mistakes)),
        Err(refusals) => {
            let others = refusals.iter().filter(|one| !is_told(&one.error));
            mistakes.extend(others.map(|one| lines.mistake(one)));
            mistakes.sort_by_key(|mistake| mistake.line);
            return Err(refused(mistakes));
        }
    };
    let mut lines = Vec::new();
    for one in &applied {
        let told = told(&one.differences)
            .map(|told| format!(": {told}"))
            .unwrap_or_default();
        lines.push(format!(
            "{} `{}` {}{told}",
            one.what,
            one.name,
            outcome(one)
        ));
    }
    match (lines.is_empty(), dry_run) {
        (true, _) => lines.push("the file names nothing; nothing was changed".to_owned()),
        (false, true) => lines.push("(dry run: nothing was changed)".to_owned()),
        (false, false) => {}
    }
    let views = applied
        .into_iter()
        .map(|one| AppliedView {
            what: one.what,
            outcome: outcome(&one),
            name: one.name,
            changes: one.differences,
        })
        .collect();
    let document = ReportView {
        dry_run,
        applied: views,
    };
    context.out.done(&document, &lines.join("\n"))?;
    for flow in flows.iter().filter(|flow| flow.home().is_none()) {
        note(&format!(
            "note: flow `{name}` does not run: it needs an account for its folder here: \
             layover flow set {name} --home ACCOUNT:/folder",
            name = flow.name
        ));
    }
    if typed {
        note(
            "note: the file holds secrets in clear; they are sealed in the database: remove the file",
        );
    }
    for one in depot.registry().list_integrations().await? {
        let applied = wanted
            .iter()
            .any(|wanted| wanted.spec.name == one.spec.name);
        let dangers = one
            .cautions()
            .into_iter()
            .filter(|caution| caution.is_a_danger());
        for danger in dangers.filter(|_| applied) {
            note(&format!(
                "warning: integration `{}`: {danger}",
                one.spec.name
            ));
        }
    }
    Ok(())
}

/// Whether [`missing`] has told it, at a line of its own.
fn is_told(error: &RegistryError) -> bool {
    use RegistryError::{ExpectationPartner, FlowPartner, UnknownEntity};
    matches!(
        error,
        UnknownEntity { .. } | FlowPartner { .. } | ExpectationPartner { .. }
    )
}

/// Where things stand in the file.
struct Lines(HashMap<(&'static str, String), usize>);

impl Lines {
    fn of(read: &Manifest) -> Self {
        let integrations = read.integrations.iter();
        let integrations = integrations.map(|one| {
            let name = one.wanted.spec.name.to_string();
            (("integration", name), one.line)
        });
        let flows = read.flows.iter();
        let flows = flows.map(|(line, flow)| (("flow", flow.name.to_string()), *line));
        let expectations = read.expectations.iter();
        let expectations =
            expectations.map(|(line, one)| (("expectation", one.name.to_string()), *line));
        Self(integrations.chain(flows).chain(expectations).collect())
    }

    fn mistake(&self, refusal: &Refusal) -> Mistake {
        let (what, name) = (refusal.what, &refusal.name);
        let line = self.0.get(&(what, name.clone())).copied();
        let why = refusal.error.to_string();
        let told = format!("{what} `{name}`");
        let text = match why.starts_with(&told) {
            true => why,
            false => format!("{told}: {why}"),
        };
        Mistake::new(line.unwrap_or(1), text)
    }
}

/// What the file names and the database does not have, by line.
async fn missing(depot: &Depot, read: &Manifest) -> Result<Vec<Mistake>, CliError> {
    let entities = depot.registry().list_entities().await?;
    let integrations = depot.registry().list_integrations().await?;
    let mut mistakes = Vec::new();
    for one in &read.integrations {
        let name = &one.wanted.spec.entity;
        if !entities.iter().any(|entity| entity.name == *name) {
            let line = one.lines.get("entity").copied().unwrap_or(one.line);
            let text = format!("there is no entity `{name}`; create it: layover entity add {name}");
            mistakes.push(Mistake::new(line, text));
        }
    }
    let is_known = |partner: &IntegrationName| {
        let known = integrations.iter().map(|one| &one.spec.name);
        let mut all = known.chain(read.integrations.iter().map(|one| &one.wanted.spec.name));
        all.any(|name| name == partner)
    };
    for (line, flow) in &read.flows {
        if !is_known(&flow.partner) {
            let text = format!(
                "flow `{}` names the integration `{}`, which is neither in the file nor known",
                flow.name, flow.partner
            );
            mistakes.push(Mistake::new(*line, text));
        }
    }
    for (line, one) in &read.expectations {
        if let ExpectedPlace::There { partner, .. } = &one.place
            && !is_known(partner)
        {
            let text = format!(
                "expectation `{}` names the integration `{partner}`, which is neither in the file \
                 nor known",
                one.name
            );
            mistakes.push(Mistake::new(*line, text));
        }
    }
    mistakes.sort_by_key(|mistake| mistake.line);
    Ok(mistakes)
}

fn text_of(file: &Path) -> Result<String, CliError> {
    let unreadable = |source| CliError::ManifestUnreadable {
        file: file.to_owned(),
        source,
    };
    let mut text = String::new();
    let most = MAX_MANIFEST_BYTES + 1;
    let read = if file == Path::new("-") {
        io::stdin().lock().take(most).read_to_string(&mut text)
    } else {
        // A pipe would be waited for until somebody writes into it.
        let opened = OpenOptions::new()
            .read(true)
            .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
            .open(file)
            .map_err(unreadable)?;
        if !opened.metadata().map_err(unreadable)?.is_file() {
            return Err(unreadable(io::Error::other(
                "it is not a regular file; what a pipe carries is read with `-`",
            )));
        }
        opened.take(most).read_to_string(&mut text)
    };
    read.map_err(unreadable)?;
    if u64::try_from(text.len()).is_ok_and(|length| length > MAX_MANIFEST_BYTES) {
        return Err(CliError::Manifest {
            file: file.to_owned(),
            mistakes: vec![Mistake::new(
                1,
                format!("a file has at most {MAX_MANIFEST_BYTES} bytes"),
            )],
        });
    }
    Ok(text)
}

/// `layover export`.
pub(super) async fn export(context: &mut Context) -> Result<(), CliError> {
    let depot = context.depot().await?;
    let integrations = depot.registry().list_integrations().await?;
    let flows = depot.registry().flow_definitions().await?;
    let expectations = depot.registry().list_expectations().await?;
    depot.close().await;
    let expectations = expectations.into_iter().map(|one| one.definition);
    let text = manifest::write(&integrations, &flows, &expectations.collect::<Vec<_>>());
    let document = serde_json::json!({ "yaml": text });
    context.out.done(&document, text.trim_end())?;
    Ok(())
}
