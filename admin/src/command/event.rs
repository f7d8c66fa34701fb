//! `layover event`.

use std::time::Duration;

use layover_client::webhook::{self, Webhook};
use layover_depot::{
    Credential, DeliveryId, DeliveryState, Depot, Event, EventDelivery, EventFilter, EventId,
    EventKind, Hook, HookAddresses, HookName, HookPlain, HookTarget, MAX_EVENT_PAGE, Registry,
    WantedHook, timer,
};
use layover_retention::Timestamp;
use layover_server::Signals;
use serde::Serialize;

use super::key::text_of_file;
use crate::cli::event::{EventCommand, EventListArgs, HookAdd, HookCommand};
use crate::context::Context;
use crate::error::CliError;
use crate::output::{Cell, Fields, JsonArray, Table, Tone, note};
use crate::password;

/// How often `--follow` looks for news.
const FOLLOW_EVERY: Duration = Duration::from_millis(500);
/// Events shown when nobody says how many.
const LIST: u64 = 100;
/// `--limit 0`.
const ALL: u64 = 0;
/// Rows read from the database at once.
const PAGE: usize = 500;

/// A hook as it is shown; never its secret.
#[derive(Serialize)]
struct HookView {
    name: String,
    url: String,
    entity: Option<String>,
    kinds: Vec<EventKind>,
    enabled: bool,
    secret: String,
    own_authorities: bool,
    allow_plain: bool,
    allow_any_address: bool,
    due: u64,
    dead: u64,
    last_error: Option<String>,
    created_at: Timestamp,
}

impl HookView {
    fn new(hook: &Hook) -> Self {
        Self {
            name: hook.name.to_string(),
            url: hook.target.url.as_str().to_owned(),
            entity: hook.entity.as_ref().map(ToString::to_string),
            kinds: hook.kinds.clone(),
            enabled: hook.enabled,
            secret: hook.secret_told(),
            own_authorities: hook.target.authorities.is_some(),
            allow_plain: hook.target.plain == HookPlain::Anywhere,
            allow_any_address: hook.target.addresses == HookAddresses::Any,
            due: hook.due,
            dead: hook.dead,
            last_error: hook.last_error.clone(),
            created_at: hook.created_at,
        }
    }

    fn kinds(&self) -> String {
        if self.kinds.is_empty() {
            return "all".to_owned();
        }
        let kinds: Vec<_> = self.kinds.iter().map(|kind| kind.as_str()).collect();
        kinds.join(", ")
    }

    fn entity(&self) -> &str {
        self.entity.as_deref().unwrap_or("all")
    }

    fn state(&self) -> Cell {
        match (self.enabled, self.dead, &self.last_error) {
            (false, ..) => Cell::toned("disabled", Tone::Notice),
            (true, 1.., _) => Cell::toned("gave up", Tone::Alarm),
            (true, 0, Some(_)) => Cell::toned("failing", Tone::Notice),
            (true, 0, None) => Cell::toned("ok", Tone::Good),
        }
    }
}

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

pub(super) async fn run(context: &mut Context, command: EventCommand) -> Result<(), CliError> {
    let depot = context.depot().await?;
    let done = act(context, &depot, command).await;
    depot.close().await;
    done
}

async fn act(context: &mut Context, depot: &Depot, command: EventCommand) -> Result<(), CliError> {
    let registry = depot.registry();
    match command {
        EventCommand::List(arguments) if arguments.undelivered => {
            undelivered(context, depot, &arguments).await
        }
        EventCommand::List(arguments) => list(context, depot, arguments).await,
        EventCommand::Hook(HookCommand::Add(arguments)) => add(context, registry, *arguments).await,
        EventCommand::Hook(HookCommand::List) => hooks(context, registry).await,
        EventCommand::Hook(HookCommand::Show { name }) => show(context, registry, &name).await,
        EventCommand::Hook(HookCommand::Enable { name }) => {
            switch(context, registry, &name, true).await
        }
        EventCommand::Hook(HookCommand::Disable { name }) => {
            switch(context, registry, &name, false).await
        }
        EventCommand::Hook(HookCommand::Test { name }) => test(context, registry, &name).await,
        EventCommand::Hook(HookCommand::Retry { name, event }) => {
            let again = registry.send_again(&context.actor, &name, event).await?;
            context.out.done(
                &serde_json::json!({ "hook": name.as_str(), "deliveries": again }),
                &match again {
                    0 => format!("nothing of hook `{name}` was given up"),
                    _ => format!("{again} events are sent to hook `{name}` again, within seconds"),
                },
            )?;
            Ok(())
        }
        EventCommand::Hook(HookCommand::Remove { name }) => {
            let hook = registry.remove_hook(&context.actor, &name).await?;
            let lost = hook.due + hook.dead;
            context.out.done(
                &serde_json::json!({ "removed": name.as_str(), "undelivered": lost }),
                &match lost {
                    0 => format!("hook `{name}` removed"),
                    _ => format!("hook `{name}` removed; {lost} events were not delivered to it"),
                },
            )?;
            Ok(())
        }
    }
}

async fn list(
    context: &mut Context,
    depot: &Depot,
    arguments: EventListArgs,
) -> Result<(), CliError> {
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
    if limit == ALL {
        let rows = print_news(context, depot, &mut filter, &mut array).await?;
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
        context.out.stream(&mut array, event, &event_row(event))?;
        rows += 1;
    }
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
        print_news(context, depot, filter, &mut JsonArray::Lines).await?;
        tokio::select! {
            _ = signals.next() => return Ok(()),
            () = timer::sleep(FOLLOW_EVERY) => {}
        }
        if context.out.reader_is_gone() {
            return Ok(());
        }
    }
}

/// Prints every event behind `filter.after` and moves it behind the last.
async fn print_news(
    context: &mut Context,
    depot: &Depot,
    filter: &mut EventFilter,
    array: &mut JsonArray,
) -> Result<u64, CliError> {
    let mut rows = 0;
    loop {
        let events = depot.events().query(filter).await?;
        for event in &events {
            context.out.stream(array, event, &event_row(event))?;
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
            context.out.stream(&mut array, &view, &view.row())?;
            rows += 1;
        }
        if is_last || rows == most {
            break;
        }
    }
    let nothing = "every hook has every event that it is told";
    context.out.end_stream(&array, rows, nothing)?;
    Ok(())
}

async fn add(context: &mut Context, registry: &Registry, add: HookAdd) -> Result<(), CliError> {
    let url = add
        .url
        .parse()
        .map_err(|source| CliError::HookUrl { source })?;
    if let Some(kind) = add
        .kinds
        .iter()
        .find(|kind| !EventKind::KEPT.contains(kind))
    {
        return Err(CliError::HookKind { kind: *kind });
    }
    let authorities = match &add.ca_certificate {
        Some(file) => {
            let pem = text_of_file(file)?;
            webhook::check_authorities(&pem)
                .map_err(|_| CliError::HookAuthorities { file: file.clone() })?;
            Some(pem)
        }
        None => None,
    };
    let (secret, made) = match add.secret {
        Some(reference) => (Credential::Reference(reference), None),
        None if add.secret_stdin => (Credential::Value(password::of_a_partner()?), None),
        None => {
            let made = Registry::new_hook_secret()?;
            (Credential::Value(made.clone()), Some(made))
        }
    };
    let wanted = WantedHook {
        name: add.name,
        target: HookTarget {
            url,
            authorities,
            plain: match add.allow_plain {
                true => HookPlain::Anywhere,
                false => HookPlain::ThisMachine,
            },
            addresses: match add.allow_any_address {
                true => HookAddresses::Any,
                false => HookAddresses::Usual,
            },
        },
        entity: add.entity,
        kinds: add.kinds,
        secret,
    };
    let hook = registry.add_hook(&context.actor, &wanted).await?;
    let view = HookView::new(&hook);
    let name = &view.name;
    let mut document = serde_json::to_value(&view).unwrap_or_default();
    let made = made.map(|made| String::from_utf8_lossy(made.expose()).into_owned());
    let mut sentence = format!("hook `{name}` added; try it: layover event hook test {name}");
    if let Some(made) = made {
        sentence = format!(
            "{sentence}\nits requests are signed with this secret, which is shown only now: {made}"
        );
        if let Some(document) = document.as_object_mut() {
            document.insert("made_secret".to_owned(), made.into());
        }
    }
    context.out.done(&document, &sentence)?;
    Ok(())
}

async fn hooks(context: &mut Context, registry: &Registry) -> Result<(), CliError> {
    let hooks = registry.list_hooks().await?;
    let mut table = Table::new(["HOOK", "URL", "ENTITY", "KINDS", "STATE", "DUE", "DEAD"]);
    let views: Vec<_> = hooks.iter().map(HookView::new).collect();
    for view in &views {
        table.row([
            Cell::from(view.name.as_str()),
            Cell::from(view.url.as_str()),
            Cell::from(view.entity()),
            Cell::from(view.kinds()),
            view.state(),
            Cell::from(view.due.to_string()),
            Cell::from(view.dead.to_string()),
        ]);
    }
    let nothing = "nobody is told of events; see: layover event hook add --help";
    context.out.list(&views, &table, nothing)?;
    Ok(())
}

async fn show(context: &mut Context, registry: &Registry, name: &HookName) -> Result<(), CliError> {
    let view = HookView::new(&registry.hook(name).await?);
    let mut fields = Fields::new();
    fields.add("hook", view.name.as_str());
    fields.add("url", view.url.as_str());
    fields.add("entity", view.entity());
    fields.add("kinds", view.kinds());
    fields.add("state", view.state());
    fields.add("secret", view.secret.as_str());
    let authorities = match view.own_authorities {
        true => "its own",
        false => "the system's",
    };
    fields.add("authorities", authorities);
    if view.allow_plain {
        fields.add("without TLS", Cell::toned("allowed", Tone::Alarm));
    }
    if view.allow_any_address {
        fields.add("addresses", Cell::toned("any", Tone::Alarm));
    }
    fields.add("to be sent", view.due.to_string());
    fields.add("given up", view.dead.to_string());
    fields.add("last error", Cell::or_dash(view.last_error.as_ref()));
    fields.add("added", view.created_at.to_string());
    context.out.fields(&view, &fields)?;
    Ok(())
}

async fn switch(
    context: &mut Context,
    registry: &Registry,
    name: &HookName,
    enabled: bool,
) -> Result<(), CliError> {
    registry.enable_hook(&context.actor, name, enabled).await?;
    let view = HookView::new(&registry.hook(name).await?);
    let sentence = match enabled {
        true => format!("hook `{name}` is told of what happens from now on"),
        false => format!(
            "hook `{name}` is told nothing more; {} events wait",
            view.due
        ),
    };
    context.out.done(&view, &sentence)?;
    Ok(())
}

/// From here, with what a server would send with.
async fn test(context: &mut Context, registry: &Registry, name: &HookName) -> Result<(), CliError> {
    let hook = registry.hook(name).await?;
    let failed = |source| CliError::HookTest {
        name: name.clone(),
        source,
    };
    let credential = registry.hook_secret(&hook).await?;
    let surroundings = context.surroundings()?;
    let prepared = Webhook::prepare(&hook.target, credential, &surroundings).await;
    let webhook = prepared.map_err(failed)?;
    let event = Event {
        id: EventId(0),
        at: context.clock.now(),
        kind: EventKind::HookTest,
        entity: hook.entity.clone(),
        subject: format!("hook:{name}"),
        detail: serde_json::Map::new(),
    };
    let status = webhook.send(&event).await.map_err(failed)?;
    context.out.done(
        &serde_json::json!({ "hook": name.as_str(), "status": status, "event": event.told_id() }),
        &format!("hook `{name}` has it: status {status}"),
    )?;
    Ok(())
}
