//! `layover event`.

mod hook;

use std::time::Duration;

use layover_depot::{
    DeliveryId, DeliveryState, Depot, Event, EventDelivery, EventFilter, EventId, EventKind,
    MAX_EVENT_PAGE, timer,
};
use layover_retention::Timestamp;
use layover_server::Signals;
use serde::Serialize;

use crate::cli::event::{EventCommand, EventListArgs};
use crate::context::Context;
use crate::error::CliError;
use crate::output::{Cell, JsonArray, Table, Tone, note};

/// How often `--follow` looks for news.
const FOLLOW_EVERY: Duration = Duration::from_millis(500);
/// Events shown when nobody says how many.
const LIST: u64 = 100;
/// `--limit 0`.
const ALL: u64 = 0;
/// Rows read from the database at once.
const PAGE: usize = 500;

/// What a hook does not have, as it is shown.
#[derive(Serialize)]
struct UndeliveredView {
    hook: String,
    state: DeliveryState,
    attempts: u32,
    /// When it is tried next.
    next_try_at: Option<Timestamp>,
    last_status: Option<u16>,
    last_error: Option<String>,
    ended_at: Option<Timestamp>,
    event: Event,
}

impl From<EventDelivery> for UndeliveredView {
    fn from(delivery: EventDelivery) -> Self {
        Self {
            hook: delivery.hook.to_string(),
            state: delivery.state,
            attempts: delivery.attempts,
            next_try_at: (delivery.state == DeliveryState::Due).then_some(delivery.not_before),
            last_status: delivery.last_status,
            last_error: delivery.last_error,
            ended_at: delivery.ended_at,
            event: delivery.event,
        }
    }
}

impl UndeliveredView {
    fn row(&self) -> [Cell; 7] {
        let tone = match self.state {
            DeliveryState::Dead => Tone::Alarm,
            DeliveryState::Due | DeliveryState::Done => Tone::Plain,
        };
        [
            Cell::from(self.hook.as_str()),
            Cell::toned(self.state.as_str(), tone),
            Cell::from(self.event.told_id()),
            Cell::from(self.event.kind.as_str()),
            Cell::from(self.event.subject.as_str()),
            Cell::from(self.attempts.to_string()),
            Cell::or_dash(self.last_error.as_ref()),
        ]
    }
}

fn event_row(event: &Event) -> [Cell; 6] {
    let tone = match event.kind {
        EventKind::FlowFailed
        | EventKind::FlowDeadLetter
        | EventKind::ExpectationFailed
        | EventKind::LoginRefused
        | EventKind::CertificateExpiring
        | EventKind::KeyExpiring => Tone::Notice,
        _ => Tone::Plain,
    };
    let detail = serde_json::Value::Object(event.detail.clone());
    [
        Cell::from(event.told_id()),
        Cell::from(event.at.to_string()),
        Cell::toned(event.kind.as_str(), tone),
        Cell::or_dash(event.entity.as_ref()),
        Cell::from(event.subject.as_str()),
        Cell::from(detail.to_string()),
    ]
}

fn event_table() -> Table {
    Table::new(["ID", "AT", "KIND", "ENTITY", "SUBJECT", "DETAIL"])
}

pub(super) async fn run(context: &mut Context, command: EventCommand) -> Result<(), CliError> {
    let depot = context.depot().await?;
    let done = act(context, &depot, command).await;
    depot.close().await;
    done
}

async fn act(context: &mut Context, depot: &Depot, command: EventCommand) -> Result<(), CliError> {
    match command {
        EventCommand::List(arguments) if arguments.undelivered => {
            undelivered(context, depot, &arguments).await
        }
        EventCommand::List(arguments) => list(context, depot, arguments).await,
        EventCommand::Hook(command) => hook::act(context, depot.registry(), command).await,
    }
}

async fn list(
    context: &mut Context,
    depot: &Depot,
    arguments: EventListArgs,
) -> Result<(), CliError> {
    // Of one that is not there nothing is told, ever.
    if let Some(entity) = &arguments.entity {
        depot.registry().entity(entity).await?;
    }
    let mut filter = EventFilter {
        entity: arguments.entity,
        kind: arguments.kind,
        since: arguments
            .since
            .map(|since| since.start(context.clock.now())),
        after: None,
        before: None,
        limit: PAGE,
    };
    if arguments.follow {
        return follow(context, depot, &mut filter).await;
    }
    let limit = match (arguments.limit, arguments.since) {
        (Some(limit), _) => limit,
        (None, Some(_)) => ALL,
        (None, None) => LIST,
    };
    let mut array = JsonArray::Empty;
    let mut table = event_table();
    if limit == ALL {
        let rows = print_news(context, depot, &mut filter, &mut array, Some(&mut table)).await?;
        context.out.draw(&table)?;
        context.out.end_stream(&array, rows, "no such events")?;
        return Ok(());
    }
    filter.before = Some(EventId(i64::MAX));
    filter.limit = usize::try_from(limit)
        .unwrap_or(usize::MAX)
        .min(MAX_EVENT_PAGE);
    let events = depot.events().query(&filter).await?;
    let mut rows = 0;
    for event in &events {
        let row = event_row(event).to_vec();
        context.out.listed(&mut array, event, row, &mut table)?;
        rows += 1;
    }
    context.out.draw(&table)?;
    context.out.end_stream(&array, rows, "no such events")?;
    if rows == limit && arguments.limit.is_none() {
        note("these are the newest; `--limit 0` shows all");
    }
    Ok(())
}

/// Prints what happens from now on, until a signal or until nobody reads any more.
async fn follow(
    context: &mut Context,
    depot: &Depot,
    filter: &mut EventFilter,
) -> Result<(), CliError> {
    let mut signals = Signals::take_over().map_err(|source| CliError::Signals { source })?;
    if filter.since.is_none() {
        let newest = EventFilter {
            before: Some(EventId(i64::MAX)),
            limit: 1,
            ..EventFilter::default()
        };
        let newest = depot.events().query(&newest).await?;
        filter.after = newest.last().map(|event| event.id);
    }
    loop {
        print_news(context, depot, filter, &mut JsonArray::Lines, None).await?;
        tokio::select! {
            _ = signals.next() => return Ok(()),
            () = timer::sleep(FOLLOW_EVERY) => {}
        }
        if context.out.reader_is_gone() {
            return Ok(());
        }
    }
}

/// Prints every event behind `filter.after` and moves it behind the last. Without a table
/// each is a line of its own, at a terminal, too.
async fn print_news(
    context: &mut Context,
    depot: &Depot,
    filter: &mut EventFilter,
    array: &mut JsonArray,
    mut table: Option<&mut Table>,
) -> Result<u64, CliError> {
    let mut rows = 0;
    loop {
        let events = depot.events().query(filter).await?;
        for event in &events {
            let row = event_row(event);
            match &mut table {
                Some(table) => context.out.listed(array, event, row.to_vec(), table)?,
                None => context.out.stream(array, event, &row)?,
            }
            filter.after = Some(event.id);
            rows += 1;
        }
        if events.len() < PAGE {
            return Ok(rows);
        }
    }
}

async fn undelivered(
    context: &mut Context,
    depot: &Depot,
    arguments: &EventListArgs,
) -> Result<(), CliError> {
    if let Some(hook) = &arguments.hook {
        depot.registry().hook(hook).await?;
    }
    let most = match arguments.limit {
        Some(ALL) | None => u64::MAX,
        Some(limit) => limit,
    };
    let mut array = JsonArray::Empty;
    let mut rows = 0;
    let mut table = Table::new([
        "HOOK", "STATE", "EVENT", "KIND", "SUBJECT", "TRIES", "ERROR",
    ]);
    let mut after = (EventId(0), DeliveryId(0));
    loop {
        let hook = arguments.hook.as_ref();
        let found = depot.events().undelivered(hook, after, PAGE).await?;
        let is_last = found.len() < PAGE;
        for (id, delivery) in found {
            if rows == most {
                break;
            }
            after = (delivery.event.id, id);
            let view = UndeliveredView::from(delivery);
            let row = view.row().to_vec();
            context.out.listed(&mut array, &view, row, &mut table)?;
            rows += 1;
        }
        if is_last || rows == most {
            break;
        }
    }
    context.out.draw(&table)?;
    let nothing = "every hook has every event that it is told";
    context.out.end_stream(&array, rows, nothing)?;
    Ok(())
}
