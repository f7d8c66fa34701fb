//! `layover event hook`.

use std::path::Path;

use layover_client::webhook::{self, Webhook};
use layover_depot::{
    Credential, Event, EventId, EventKind, Hook, HookAddresses, HookChange, HookName, HookPlain,
    HookTarget, HookUrl, Registry, Secret, WantedHook,
};
use layover_retention::Timestamp;
use serde::Serialize;

use crate::cli::event::{HookAdd, HookCommand, HookSet};
use crate::command::integration::told;
use crate::command::key::text_of_file;
use crate::context::Context;
use crate::error::CliError;
use crate::output::{Cell, Fields, Table, Tone, note};
use crate::password;

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

pub(super) async fn act(
    context: &mut Context,
    registry: &Registry,
    command: HookCommand,
) -> Result<(), CliError> {
    match command {
        HookCommand::Add(arguments) => add(context, registry, *arguments).await,
        HookCommand::List => hooks(context, registry).await,
        HookCommand::Show { name } => show(context, registry, &name).await,
        HookCommand::Set(arguments) => set(context, registry, *arguments).await,
        HookCommand::Enable { name } => switch(context, registry, &name, true).await,
        HookCommand::Disable { name } => switch(context, registry, &name, false).await,
        HookCommand::Test { name } => test(context, registry, &name).await,
        HookCommand::Retry { name, event } => {
            let again = registry.send_again(&context.actor, &name, event).await?;
            let server_running = registry.hears_a_server().await?;
            context.out.done(
                &serde_json::json!({
                    "hook": name.as_str(), "deliveries": again, "server_running": server_running,
                }),
                &match (again, server_running) {
                    (0, true) => format!(
                        "nothing of hook `{name}` was given up; what waits for it is tried within seconds"
                    ),
                    (0, false) => format!("nothing of hook `{name}` was given up"),
                    (_, true) => {
                        format!("{again} events are sent to hook `{name}` again, within seconds")
                    }
                    (_, false) => format!("{again} events are to be sent to hook `{name}` again"),
                },
            )?;
            if again > 0 && !server_running {
                note("no server is running; they are sent when one does");
            }
            Ok(())
        }
        HookCommand::Remove { name } => {
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

async fn add(context: &mut Context, registry: &Registry, add: HookAdd) -> Result<(), CliError> {
    let url = url_of(&add.url)?;
    check_kinds(&add.kinds)?;
    let authorities = add.ca_certificate.as_deref().map(authorities_in);
    let authorities = authorities.transpose()?;
    let (secret, made) = match add.secret {
        Some(reference) => (Credential::Reference(reference), None),
        None if add.secret_stdin => (Credential::Value(password::of_a_partner()?), None),
        None => {
            let made = Registry::new_hook_secret()?;
            (Credential::Value(made.clone()), Some(made))
        }
    };
    let (plain, addresses) = (plain(add.allow_plain), addresses(add.allow_any_address));
    let wanted = WantedHook {
        name: add.name,
        target: HookTarget {
            url,
            authorities,
            plain,
            addresses,
        },
        entity: add.entity,
        kinds: add.kinds,
        secret,
    };
    webhook::check_address(&wanted.target).map_err(|source| CliError::HookAddress { source })?;
    let hook = registry.add_hook(&context.actor, &wanted).await?;
    let name = &hook.name;
    let sentence = format!("hook `{name}` added; try it: layover event hook test {name}");
    done(context, &hook, made.as_ref(), sentence)
}

/// What was done to a hook, and the secret that was made: the only time that it is shown.
fn done(
    context: &mut Context,
    hook: &Hook,
    made: Option<&Secret>,
    mut sentence: String,
) -> Result<(), CliError> {
    let mut document = serde_json::to_value(HookView::new(hook)).unwrap_or_default();
    let made = made.map(|made| String::from_utf8_lossy(made.expose()).into_owned());
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

async fn set(context: &mut Context, registry: &Registry, set: HookSet) -> Result<(), CliError> {
    let nothing = set.url.is_none()
        && set.kinds.is_empty()
        && set.secret.is_none()
        && set.ca_certificate.is_none()
        && set.allow_plain.or(set.allow_any_address).is_none()
        && !(set.all_kinds || set.secret_stdin || set.new_secret || set.system_authorities);
    if nothing {
        return Err(CliError::NothingToChange);
    }
    let url = set.url.as_deref().map(url_of).transpose()?;
    check_kinds(&set.kinds)?;
    let own = set.ca_certificate.as_deref().map(authorities_in);
    let authorities = match own.transpose()? {
        Some(own) => Some(Some(own)),
        None => set.system_authorities.then_some(None),
    };
    let made = set.new_secret.then(Registry::new_hook_secret).transpose()?;
    let secret = match (set.secret, &made) {
        (Some(reference), _) => Some(Credential::Reference(reference)),
        (None, Some(made)) => Some(Credential::Value(made.clone())),
        (None, None) if set.secret_stdin => Some(Credential::Value(password::of_a_partner()?)),
        (None, None) => None,
    };
    let change = HookChange {
        url,
        authorities,
        plain: set.allow_plain.map(|allow| plain(allow.into())),
        addresses: set.allow_any_address.map(|allow| addresses(allow.into())),
        kinds: (set.all_kinds || !set.kinds.is_empty()).then_some(set.kinds),
        secret,
    };
    let name = &set.name;
    let actor = &context.actor;
    let changes = registry.change_hook(actor, name, &change).await?;
    let sentence = match told(&changes) {
        Some(told) => format!("hook `{name}` changed: {told}"),
        None => format!("hook `{name}` was so already; nothing changed"),
    };
    done(
        context,
        &registry.hook(name).await?,
        made.as_ref(),
        sentence,
    )
}

fn url_of(text: &str) -> Result<HookUrl, CliError> {
    let url = text.parse();
    url.map_err(|source| CliError::HookUrl { source })
}

fn check_kinds(kinds: &[EventKind]) -> Result<(), CliError> {
    let mut kinds = kinds.iter();
    match kinds.find(|kind| !EventKind::KEPT.contains(kind)) {
        Some(kind) => Err(CliError::HookKind { kind: *kind }),
        None => Ok(()),
    }
}

fn authorities_in(file: &Path) -> Result<String, CliError> {
    let pem = text_of_file(file)?;
    webhook::check_authorities(&pem).map_err(|_| CliError::HookAuthorities {
        file: file.to_owned(),
    })?;
    Ok(pem)
}

fn plain(is_allowed: bool) -> HookPlain {
    match is_allowed {
        true => HookPlain::Anywhere,
        false => HookPlain::ThisMachine,
    }
}

fn addresses(any: bool) -> HookAddresses {
    match any {
        true => HookAddresses::Any,
        false => HookAddresses::Usual,
    }
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
        true if view.due > 0 => format!(
            "hook `{name}` is told of what happens from now on, and of the {} events that wait for it",
            view.due
        ),
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
    registry.note_hook_test(&context.actor, &hook).await?;
    context.out.done(
        &serde_json::json!({ "hook": name.as_str(), "status": status, "event": event.told_id() }),
        &format!("hook `{name}` has it: status {status}"),
    )?;
    Ok(())
}
