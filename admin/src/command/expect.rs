//! `layover expect`.

mod view;

use std::sync::Arc;

use layover_client::expectation::Looker;
use layover_depot::{
    Depot, Existing, ExpectationDefinition, ExpectationName, ExpectationRules, ExpectedFile,
    ExpectedPlace, FlowTarget, Registry, TimeOfDay, Verdict,
};

use self::view::{CheckView, DayView, ExpectationView};
use super::flow::{is_yes, or_none, parsed};
use super::integration::told;
use super::view::yes_no;
use crate::cli::expect::{ExpectAdd, ExpectCommand, ExpectFields, ExpectSet};
use crate::context::Context;
use crate::error::CliError;
use crate::output::{Cell, Fields, Table};
use crate::value::ByteSize;

pub(super) async fn run(context: &mut Context, command: ExpectCommand) -> Result<(), CliError> {
    let depot = context.depot().await?;
    let done = act(context, &depot, command).await;
    depot.close().await;
    done
}

async fn act(context: &mut Context, depot: &Depot, command: ExpectCommand) -> Result<(), CliError> {
    let registry = depot.registry();
    match command {
        ExpectCommand::Add(arguments) => add(context, registry, *arguments).await,
        ExpectCommand::List => list(context, registry).await,
        ExpectCommand::Show { name } => show(context, registry, &name).await,
        ExpectCommand::Set(arguments) => set(context, registry, *arguments).await,
        ExpectCommand::Enable { name } => switch(context, registry, &name, true).await,
        ExpectCommand::Disable { name } => switch(context, registry, &name, false).await,
        ExpectCommand::Check { name } => check(context, depot, &name).await,
        ExpectCommand::History { name, limit } => history(context, registry, &name, limit).await,
        ExpectCommand::Remove { name } => {
            registry.remove_expectation(&context.actor, &name).await?;
            context.out.done(
                &serde_json::json!({ "removed": name.as_str() }),
                &format!("expectation `{name}` removed, with what came of its days"),
            )?;
            Ok(())
        }
    }
}

/// Where the file is expected; `None`: nothing was said of it.
fn place_of(fields: &ExpectFields) -> Result<Option<ExpectedPlace>, CliError> {
    if let (Some(account), Some(folder)) = (&fields.account, &fields.folder) {
        let text = format!("{account}:{folder}");
        let home = parsed(
            "--folder",
            &text,
            "a folder of the home, which begins with /",
        )?;
        return Ok(Some(ExpectedPlace::Here { home }));
    }
    let Some(partner) = fields.integration.clone() else {
        return Ok(None);
    };
    let target = match (&fields.location, &fields.path) {
        (Some(location), _) => FlowTarget::Location(location.clone()),
        (None, Some(path)) => FlowTarget::Path(parsed("--path", path, "a folder")?),
        (None, None) => return Err(CliError::ExpectationWithoutPlace),
    };
    Ok(Some(ExpectedPlace::There { partner, target }))
}

fn file_of(text: &str) -> Result<ExpectedFile, CliError> {
    parsed(
        "--file",
        text,
        "the name of a file, with * and ?, $yyyyMMdd for the day, $HHmm for any time, $$ for a $",
    )
}

fn by_of(text: &str) -> Result<TimeOfDay, CliError> {
    parsed("--by", text, "a time of day: HH:MM")
}

/// Puts the fields that were given into rules.
fn change(rules: &mut ExpectationRules, fields: &ExpectFields) -> Result<(), CliError> {
    if let Some(days) = &fields.days {
        rules.days = parsed(
            "--days",
            days,
            "days of the week: 1-5, mon-fri, mon,thu or *",
        )?;
    }
    rules.date_offset = fields.date_offset.unwrap_or(rules.date_offset);
    let size = |option, text: &str| -> Result<Option<u64>, CliError> {
        let expected = "a size of at least a byte, e.g. 1MB or 500KiB; or none";
        let size: Option<ByteSize> = or_none(option, "none", text, expected)?;
        Ok(size.map(|size| size.0))
    };
    if let Some(text) = &fields.min_size {
        rules.min_size_bytes = size("--min-size", text)?;
    }
    if let Some(text) = &fields.max_size {
        rules.max_size_bytes = size("--max-size", text)?;
    }
    if let Some(text) = &fields.allow_same {
        rules.allow_same = is_yes("--allow-same", text)?;
    }
    Ok(())
}

async fn add(context: &mut Context, registry: &Registry, add: ExpectAdd) -> Result<(), CliError> {
    let name = add.name;
    let mut expectation = ExpectationDefinition {
        name: name.clone(),
        enabled: true,
        place: place_of(&add.fields)?.ok_or(CliError::ExpectationWithoutPlace)?,
        file: file_of(&add.file)?,
        by: by_of(&add.by)?,
        rules: ExpectationRules::default(),
    };
    change(&mut expectation.rules, &add.fields)?;
    let existing = Existing::Refuse;
    registry
        .put_expectation(&context.actor, &expectation, existing)
        .await?;
    let view = ExpectationView::new(&registry.expectation(&name).await?);
    let sentence = format!(
        "expectation `{name}` added: {} in {} by {} {}",
        view.file, view.place, view.by, view.time_zone
    );
    context.out.done(&view, &sentence)?;
    Ok(())
}

async fn set(context: &mut Context, registry: &Registry, set: ExpectSet) -> Result<(), CliError> {
    let mut expectation = registry.expectation(&set.name).await?.definition;
    if let Some(place) = place_of(&set.fields)? {
        expectation.place = place;
    }
    if let Some(file) = &set.file {
        expectation.file = file_of(file)?;
    }
    if let Some(by) = &set.by {
        expectation.by = by_of(by)?;
    }
    change(&mut expectation.rules, &set.fields)?;
    put(context, registry, &expectation).await
}

async fn put(
    context: &mut Context,
    registry: &Registry,
    expectation: &ExpectationDefinition,
) -> Result<(), CliError> {
    let name = &expectation.name;
    let changes = registry
        .put_expectation(&context.actor, expectation, Existing::Change)
        .await?;
    let view = ExpectationView::new(&registry.expectation(name).await?);
    let sentence = match told(&changes) {
        Some(told) => format!("expectation `{name}` changed: {told}"),
        None => format!("expectation `{name}` was so already; nothing changed"),
    };
    context.out.done(&view, &sentence)?;
    Ok(())
}

async fn switch(
    context: &mut Context,
    registry: &Registry,
    name: &ExpectationName,
    enabled: bool,
) -> Result<(), CliError> {
    let mut expectation = registry.expectation(name).await?.definition;
    expectation.enabled = enabled;
    put(context, registry, &expectation).await
}

async fn list(context: &mut Context, registry: &Registry) -> Result<(), CliError> {
    let expectations = registry.list_expectations().await?;
    let views: Vec<_> = expectations.iter().map(ExpectationView::new).collect();
    let mut table = Table::new(["EXPECTATION", "FILE", "WHERE", "BY", "DAYS", "NEXT", "LAST"]);
    for view in &views {
        table.row([
            Cell::from(view.name.as_str()),
            Cell::from(view.file.as_str()),
            Cell::from(view.place.as_str()),
            Cell::from(view.by.as_str()),
            Cell::from(view.days.as_str()),
            match view.enabled {
                true => Cell::or_dash(view.next_due),
                false => Cell::from("disabled"),
            },
            view.last_cell(),
        ]);
    }
    let nothing = "no expectations; add one: layover expect add NAME --account A --folder /in \
                   --file 'crm_$yyyyMMdd.csv' --by 06:00";
    context.out.list(&views, &table, nothing)?;
    Ok(())
}

async fn show(
    context: &mut Context,
    registry: &Registry,
    name: &ExpectationName,
) -> Result<(), CliError> {
    let view = ExpectationView::new(&registry.expectation(name).await?);
    let mut fields = Fields::new();
    fields.add("expectation", view.name.as_str());
    fields.add("entity", view.entity.as_str());
    fields.add("enabled", yes_no(view.enabled));
    fields.add("file", view.file.as_str());
    fields.add("where", view.place.as_str());
    fields.add("by", format!("{} {}", view.by, view.time_zone));
    fields.add("days", view.days.as_str());
    fields.add("date in the name", view.date_text());
    fields.add("size", view.size_text());
    fields.add("may be the last one again", yes_no(view.allow_same));
    fields.add("next", Cell::or_dash(view.next_due));
    fields.add("last", view.last_cell());
    context.out.fields(&view, &fields)?;
    Ok(())
}

async fn history(
    context: &mut Context,
    registry: &Registry,
    name: &ExpectationName,
    limit: usize,
) -> Result<(), CliError> {
    let days = registry.expectation_history(name, limit).await?;
    let views: Vec<_> = days.iter().map(DayView::new).collect();
    let mut table = Table::new(["DAY", "DEADLINE", "RESULT", "DECIDED", "FILE", "SIZE"]);
    for view in &views {
        table.row([
            Cell::from(view.day.as_str()),
            Cell::from(view.due_at.to_string()),
            view.result_cell(),
            Cell::or_dash(view.decided_at),
            Cell::or_dash(view.file.as_ref()),
            Cell::or_dash(view.size_bytes.map(ByteSize)),
        ]);
    }
    let nothing = format!(
        "expectation `{name}` was not looked at yet; what a look would say now: layover expect \
         check {name}"
    );
    context.out.list(&views, &table, &nothing)?;
    Ok(())
}

async fn check(
    context: &mut Context,
    depot: &Depot,
    name: &ExpectationName,
) -> Result<(), CliError> {
    let standing = depot.registry().expectation(name).await?;
    let surroundings = match standing.definition.place {
        ExpectedPlace::Here { .. } => None,
        ExpectedPlace::There { .. } => Some(context.surroundings()?),
    };
    let looker = Looker::new(depot.clone(), Arc::clone(&context.clock), surroundings);
    let not_met = |reason: String| CliError::NotAsExpected {
        name: name.clone(),
        reason,
    };
    let Some(checked) = looker.check(&standing).await? else {
        return Err(not_met("it is never due".to_owned()));
    };
    let view = CheckView::new(name, &checked, context.clock.now());
    let sentence = format!("expectation `{name}` of {}: {}", view.day, view.told);
    context.out.done(&view, &sentence)?;
    match checked.verdict {
        Ok(Verdict::AsExpected(_) | Verdict::Waits) => Ok(()),
        Ok(Verdict::Faulty { .. }) | Err(_) => Err(not_met(view.told)),
    }
}
