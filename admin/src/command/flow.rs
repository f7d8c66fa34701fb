//! `layover flow`.

mod view;

use std::str::FromStr;
use std::sync::Arc;

use layover_client::flow::Engine;
use layover_depot::{
    CronSchedule, Depot, Existing, FlowDefinition, FlowDirection, FlowFileId, FlowName, FlowRules,
    FlowRunId, FlowTarget, HomeFolder, IdempotencyMode, NotAValue, Pattern, Registry, Schedule,
};
use layover_retention::Timestamp;

use self::view::{FileView, FlowView, PreviewView, RunView};
use super::integration::told;
use crate::cli::flow::{FlowAdd, FlowCommand, FlowFields, FlowSet};
use crate::context::Context;
use crate::error::CliError;
use crate::output::{Cell, Fields, Table, Tone, note};
use crate::value::ByteSize;

/// Runs that are shown when all are asked for.
const MAX_RUNS: usize = 100_000;

/// Files of a run that are shown.
const MAX_FILES: usize = 10_000;

pub(super) async fn run(context: &mut Context, command: FlowCommand) -> Result<(), CliError> {
    let depot = context.depot().await?;
    let done = act(context, &depot, command).await;
    depot.close().await;
    done
}

async fn act(context: &mut Context, depot: &Depot, command: FlowCommand) -> Result<(), CliError> {
    let registry = depot.registry();
    match command {
        FlowCommand::Add(arguments) => add(context, registry, *arguments).await,
        FlowCommand::List => list(context, registry).await,
        FlowCommand::Show { name } => show(context, registry, &name).await,
        FlowCommand::Set(arguments) => set(context, registry, *arguments).await,
        FlowCommand::Enable { name } => switch(context, registry, &name, true).await,
        FlowCommand::Disable { name } => switch(context, registry, &name, false).await,
        FlowCommand::Run {
            name,
            dry_run: true,
        } => preview(context, depot, &name).await,
        FlowCommand::Run { name, .. } => {
            let run = registry.ask_run(&context.actor, &name).await?;
            let server_running = registry.hears_a_server().await?;
            let begins = match server_running {
                true => "; a server begins it within seconds",
                false => "",
            };
            context.out.done(
                &serde_json::json!({
                    "flow": name.as_str(), "run": run, "server_running": server_running,
                }),
                &format!(
                    "run {} of flow `{name}` is due{begins}: layover flow history {name}",
                    run.0
                ),
            )?;
            if !server_running {
                note("no server is running; it begins when one does");
            }
            Ok(())
        }
        FlowCommand::Retry { name } => {
            let (files, run) = registry.retry_flow(&context.actor, &name).await?;
            context.out.done(
                &serde_json::json!({ "flow": name.as_str(), "files": files, "run": run }),
                &format!(
                    "{files} files of flow `{name}` that were given up are tried again, by run {}: \
                     layover flow history {name}",
                    run.0
                ),
            )?;
            Ok(())
        }
        FlowCommand::History {
            name,
            limit,
            run: None,
        } => history(context, registry, &name, limit).await,
        FlowCommand::History {
            name,
            run: Some(run),
            ..
        } => files(context, registry, &name, FlowRunId(run)).await,
        FlowCommand::Remove { name } => {
            registry.remove_flow(&context.actor, &name).await?;
            context.out.done(
                &serde_json::json!({ "removed": name.as_str() }),
                &format!("flow `{name}` removed, with what it knew of files that moved"),
            )?;
            Ok(())
        }
    }
}

pub(super) fn parsed<T: FromStr>(
    option: &'static str,
    text: &str,
    expected: &'static str,
) -> Result<T, CliError> {
    text.parse().map_err(|_| CliError::FlowValue {
        option,
        text: text.to_owned(),
        expected,
    })
}

pub(super) fn is_yes(option: &'static str, text: &str) -> Result<bool, CliError> {
    match text {
        "yes" | "true" | "on" => Ok(true),
        "no" | "false" | "off" => Ok(false),
        _ => Err(CliError::FlowValue {
            option,
            text: text.to_owned(),
            expected: "yes or no",
        }),
    }
}

/// `word` is none.
pub(super) fn or_none<T: FromStr>(
    option: &'static str,
    word: &str,
    text: &str,
    expected: &'static str,
) -> Result<Option<T>, CliError> {
    if text == word {
        return Ok(None);
    }
    parsed(option, text, expected).map(Some)
}

fn schedule_of(text: &str) -> Result<Option<CronSchedule>, CliError> {
    if text == "none" {
        return Ok(None);
    }
    match text.parse() {
        Ok(schedule) => Ok(Some(schedule)),
        Err(NotAValue) => Err(CliError::FlowSchedule {
            text: text.to_owned(),
            fault: CronSchedule::fault(text),
        }),
    }
}

/// What is allowed, and hardly meant.
fn cautions(flow: &FlowDefinition, now: Timestamp) -> Vec<String> {
    let zone = flow.rules.time_zone.as_ref();
    let never = flow
        .schedule_cron
        .iter()
        .filter(|schedule| Schedule::new(schedule, zone).next_after(now).is_none())
        .map(|schedule| format!("`{schedule}` never comes: it has a day that no month has"));
    let patterns = flow.files.iter().chain(&flow.rules.exclude);
    let unknown = patterns.filter_map(|pattern| {
        let letters = Pattern::unknown_letters(pattern.as_str())?;
        Some(format!(
            "`{pattern}`: `${letters}` is no day, so it stands for itself; days are $yyyy, $yy, \
             $MM, $dd, $HH, $mm and $ss"
        ))
    });
    never.chain(unknown).collect()
}

fn warn_of(context: &Context, flow: &FlowDefinition) {
    for caution in cautions(flow, context.clock.now()) {
        note(&format!("warning: flow `{}`: {caution}", flow.name));
    }
}

fn patterns<T: FromStr>(
    option: &'static str,
    word: &str,
    texts: &[String],
) -> Result<Vec<T>, CliError> {
    let expected = "a file name, perhaps with * and ?";
    let named = texts.iter().filter(|text| text.as_str() != word);
    named.map(|text| parsed(option, text, expected)).collect()
}

/// Puts the fields that were given into a flow.
fn change(flow: &mut FlowDefinition, fields: &FlowFields) -> Result<(), CliError> {
    if let Some(location) = &fields.location {
        flow.target = FlowTarget::Location(location.clone());
    }
    if let Some(path) = &fields.path {
        flow.target = FlowTarget::Path(parsed("--path", path, "a folder")?);
    }
    if !fields.files.is_empty() {
        flow.files = patterns("--file", "all", &fields.files)?;
    }
    if !fields.exclude.is_empty() {
        flow.rules.exclude = patterns("--exclude", "none", &fields.exclude)?;
    }
    if let Some(schedule) = &fields.schedule {
        flow.schedule_cron = schedule_of(schedule)?;
    }
    if let Some(text) = &fields.on_arrival {
        flow.rules.on_arrival = is_yes("--on-arrival", text)?;
    }
    if let Some(zone) = &fields.time_zone {
        let expected = "a time zone, e.g. Europe/Brussels or +02:00; or default";
        flow.rules.time_zone = or_none("--time-zone", "default", zone, expected)?;
    }
    if let Some(text) = &fields.delete_after {
        let delete = is_yes("--delete-after", text)?;
        match flow.direction {
            FlowDirection::Upload => flow.delete_after_upload = delete,
            FlowDirection::Download => flow.delete_after_download = delete,
        }
    }
    if let Some(folder) = &fields.move_to {
        flow.rules.move_to = or_none("--move-to", "none", folder, "a folder, or none")?;
    }
    if let Some(folder) = &fields.dead_letter {
        flow.rules.dead_letter = or_none("--dead-letter", "none", folder, "a folder, or none")?;
    }
    if let Some(text) = &fields.other_entity {
        flow.rules.other_entity = is_yes("--other-entity", text)?;
    }
    flow.rules.catch_up = fields.catch_up.unwrap_or(flow.rules.catch_up);
    flow.idempotency_mode = fields.idempotency.unwrap_or(flow.idempotency_mode);
    flow.rules.max_parallel = fields.max_parallel.unwrap_or(flow.rules.max_parallel);
    flow.rules.retries = fields.retries.unwrap_or(flow.rules.retries);
    flow.rules.retry_after_s = fields.retry_after.unwrap_or(flow.rules.retry_after_s);
    Ok(())
}

fn local_of(home: &HomeFolder) -> Result<layover_depot::FlowFolder, CliError> {
    let text = format!("{}:{}", home.account, home.folder);
    parsed("--home", &text, "ACCOUNT:/folder")
}

/// A target that is not in the registry is one that no run finds.
async fn check_target(registry: &Registry, flow: &FlowDefinition) -> Result<(), CliError> {
    let integration = registry.integration(&flow.partner).await?;
    if let FlowTarget::Location(name) = &flow.target
        && integration.location(name).is_none()
    {
        return Err(layover_depot::RegistryError::UnknownLocation {
            name: flow.partner.clone(),
            location: name.clone(),
        }
        .into());
    }
    Ok(())
}

async fn add(context: &mut Context, registry: &Registry, add: FlowAdd) -> Result<(), CliError> {
    let name = add.name;
    if add.fields.location.is_none() && add.fields.path.is_none() {
        return Err(CliError::FlowWithoutTarget);
    }
    let mut flow = FlowDefinition {
        name: name.clone(),
        direction: add.direction,
        enabled: true,
        partner: add.integration,
        // One of the two is there, and takes its place.
        target: FlowTarget::Path(parsed("--path", "/", "a folder")?),
        local: local_of(&add.home)?,
        files: Vec::new(),
        idempotency_mode: IdempotencyMode::Hash,
        delete_after_upload: false,
        delete_after_download: false,
        schedule_cron: None,
        rules: FlowRules::default(),
    };
    change(&mut flow, &add.fields)?;
    check_target(registry, &flow).await?;
    let existing = Existing::Refuse;
    registry.put_flow(&context.actor, &flow, existing).await?;
    let view = FlowView::new(&registry.flow(&name).await?);
    let runs = match (&flow.schedule_cron, flow.rules.on_arrival) {
        (None, false) => format!("it runs when it is told to: layover flow run {name}"),
        (None, true) => "it runs when a file arrives".to_owned(),
        (Some(schedule), false) => format!("it runs at `{schedule}`"),
        (Some(schedule), true) => format!("it runs at `{schedule}`, and when a file arrives"),
    };
    context
        .out
        .done(&view, &format!("flow `{name}` added; {runs}"))?;
    warn_of(context, &flow);
    Ok(())
}

async fn set(context: &mut Context, registry: &Registry, set: FlowSet) -> Result<(), CliError> {
    let name = set.name;
    let mut flow = registry.flow(&name).await?.definition;
    flow.direction = set.direction.unwrap_or(flow.direction);
    flow.partner = set.integration.unwrap_or(flow.partner);
    if let Some(home) = &set.home {
        flow.local = local_of(home)?;
    }
    change(&mut flow, &set.fields)?;
    check_target(registry, &flow).await?;
    put(context, registry, &flow).await?;
    warn_of(context, &flow);
    Ok(())
}

async fn put(
    context: &mut Context,
    registry: &Registry,
    flow: &FlowDefinition,
) -> Result<(), CliError> {
    let name = &flow.name;
    let existing = Existing::Change;
    let changes = registry.put_flow(&context.actor, flow, existing).await?;
    let view = FlowView::new(&registry.flow(name).await?);
    let sentence = match told(&changes) {
        Some(told) => format!("flow `{name}` changed: {told}"),
        None => format!("flow `{name}` was so already; nothing changed"),
    };
    context.out.done(&view, &sentence)?;
    Ok(())
}

async fn switch(
    context: &mut Context,
    registry: &Registry,
    name: &FlowName,
    enabled: bool,
) -> Result<(), CliError> {
    let mut flow = registry.flow(name).await?.definition;
    flow.enabled = enabled;
    put(context, registry, &flow).await
}

async fn list(context: &mut Context, registry: &Registry) -> Result<(), CliError> {
    let flows = registry.list_flows().await?;
    let views: Vec<_> = flows.iter().map(FlowView::new).collect();
    let mut table = Table::new([
        "FLOW",
        "DIRECTION",
        "INTEGRATION",
        "THERE",
        "HERE",
        "RUNS",
        "NEXT",
    ]);
    for view in &views {
        let tone = if view.needs.is_some() {
            Tone::Alarm
        } else {
            Tone::Good
        };
        table.row([
            Cell::from(view.name.as_str()),
            Cell::from(view.direction),
            Cell::from(view.integration.as_str()),
            Cell::from(view.there.as_str()),
            Cell::from(view.local.as_str()),
            Cell::from(view.runs()),
            match &view.needs {
                Some(needs) => Cell::toned(needs.as_str(), tone),
                None => Cell::or_dash(view.next_due),
            },
        ]);
    }
    let nothing = "no flows; add one: layover flow add NAME --direction download|upload \
                   --integration I --location L --home ACCOUNT:/folder";
    context.out.list(&views, &table, nothing)?;
    Ok(())
}

async fn show(context: &mut Context, registry: &Registry, name: &FlowName) -> Result<(), CliError> {
    let view = FlowView::new(&registry.flow(name).await?);
    let mut fields = Fields::new();
    fields.add("flow", view.name.as_str());
    fields.add("direction", view.direction);
    fields.add("integration", view.integration.as_str());
    fields.add("there", view.there.as_str());
    fields.add("here", view.local.as_str());
    if let Some(needs) = &view.needs {
        fields.add("needs", needs.as_str());
    }
    fields.add("enabled", super::view::yes_no(view.enabled));
    fields.add("runs", view.runs());
    fields.add("next", Cell::or_dash(view.next_due));
    if let Some(retry) = view.next_retry {
        fields.add("next retry", retry.to_string());
    }
    fields.add("time zone", view.time_zone.as_str());
    fields.add("missed firings", view.catch_up);
    fields.add("files", view.files_text());
    fields.add("known by", view.idempotency);
    fields.add("afterwards", view.afterwards.as_str());
    fields.add("given up", view.given_up());
    if view.other_entity {
        fields.add("entities", "may differ");
    }
    fields.add("at the same time", view.max_parallel.to_string());
    fields.add(
        "tried again",
        format!(
            "{}, first after {} s",
            times(view.retries),
            view.retry_after_s
        ),
    );
    context.out.fields(&view, &fields)?;
    Ok(())
}

fn times(count: u16) -> String {
    match count {
        0 => "never".to_owned(),
        1 => "once".to_owned(),
        count => format!("{count} times"),
    }
}

async fn history(
    context: &mut Context,
    registry: &Registry,
    name: &FlowName,
    limit: usize,
) -> Result<(), CliError> {
    let limit = if limit == 0 { MAX_RUNS } else { limit };
    let runs = registry.flow_history(name, None, limit).await?;
    let views: Vec<_> = runs.iter().map(RunView::new).collect();
    let mut table = Table::new([
        "RUN", "WHY", "FOR", "STATE", "BEGUN", "MOVED", "FAILED", "GIVEN UP", "WAITING", "NOTE",
    ]);
    for view in &views {
        table.row(view.cells());
    }
    let nothing = format!("flow `{name}` has not run yet; run it now: layover flow run {name}");
    context.out.list(&views, &table, &nothing)?;
    Ok(())
}

async fn files(
    context: &mut Context,
    registry: &Registry,
    name: &FlowName,
    run: FlowRunId,
) -> Result<(), CliError> {
    let found = registry.flow_run(run).await?;
    if found.is_none_or(|found| found.flow != *name) {
        return Err(CliError::UnknownRun {
            flow: name.clone(),
            run: run.0,
        });
    }
    let files = registry.files_of_run(run, FlowFileId(0), MAX_FILES).await?;
    let views: Vec<_> = files.iter().map(FileView::new).collect();
    let mut table = Table::new(["FILE", "STATE", "SIZE", "TRIES", "NOTE"]);
    for view in &views {
        table.row([
            Cell::from(view.name.as_str()),
            Cell::from(view.state),
            Cell::or_dash(view.size_bytes.map(ByteSize)),
            Cell::from(view.tries.to_string()),
            Cell::or_dash(view.cause.as_ref()),
        ]);
    }
    context
        .out
        .list(&views, &table, "no file was to move in this run")?;
    Ok(())
}

async fn preview(context: &mut Context, depot: &Depot, name: &FlowName) -> Result<(), CliError> {
    let standing = depot.registry().flow(name).await?;
    let courier = Arc::new(depot.courier().await?);
    let clock = Arc::clone(&context.clock);
    let moment = standing.local_moment(clock.now());
    let engine = Engine::new(depot.clone(), courier, clock, context.surroundings()?);
    let found = engine.preview(&standing.definition, moment).await;
    let found = found.map_err(|source| CliError::FlowPreview {
        flow: name.clone(),
        source,
    })?;
    let view = PreviewView::new(name, &found);
    let mut table = Table::new(["FILE", "SIZE", "CHANGED"]);
    for file in &view.files {
        table.row([
            Cell::from(file.name.as_str()),
            Cell::or_dash(file.size_bytes.map(ByteSize)),
            Cell::or_dash(file.modified_at),
        ]);
    }
    let nothing = format!(
        "nothing would move; {} moved before, {} wait",
        view.known, view.waiting
    );
    context.out.list(&view, &table, &nothing)?;
    note(&format!(
        "dry run: {} would move, {} moved before, {} wait; nothing was changed",
        view.files.len(),
        view.known,
        view.waiting
    ));
    Ok(())
}
