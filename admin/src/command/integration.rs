//! `layover integration`: what is kept of partners' servers, what is tried there, and
//! what is moved there and back by hand.

mod carry;
mod examine;
mod get;
mod host_key;
mod key;
mod kit;
mod list_files;
mod meter;
mod pgp;
mod put;
mod used;
pub(super) mod view;

use std::path::Path;

use layover_depot::{
    Credential, Depot, Difference, DisplayName, EntityName, Field, FieldError, FieldFault,
    GivenSecret, Integration, IntegrationName, IntegrationSettings, IntegrationSpec, Registry,
    SecretPurpose, WantedIntegration,
};
use serde::Serialize;

use self::view::{IntegrationView, tell_cautions};
use super::key::text_of_file;
use crate::cli::integration::{
    FieldArgs, IntegrationAdd, IntegrationCommand, IntegrationSet, SecretArgs, TextOf,
};
use crate::context::Context;
use crate::error::CliError;
use crate::output::{Cell, Fields, Table, Tone};
use crate::password;

pub(super) async fn run(
    context: &mut Context,
    command: IntegrationCommand,
) -> Result<(), CliError> {
    let depot = context.depot().await?;
    let done = act(context, &depot, command).await;
    depot.close().await;
    done
}

async fn act(
    context: &mut Context,
    depot: &Depot,
    command: IntegrationCommand,
) -> Result<(), CliError> {
    let registry = depot.registry();
    match command {
        IntegrationCommand::Add(arguments) => add(context, registry, *arguments).await,
        IntegrationCommand::List { entity } => list(context, registry, entity.as_ref()).await,
        IntegrationCommand::Show { name } => show(context, registry, &name).await,
        IntegrationCommand::Set(arguments) => set(context, registry, *arguments).await,
        IntegrationCommand::Remove { name } => remove(context, registry, &name).await,
        IntegrationCommand::Key(command) => key::run(context, registry, command).await,
        IntegrationCommand::Pgp(command) => pgp::run(context, registry, command).await,
        IntegrationCommand::HostKey(command) => host_key::run(context, registry, command).await,
        IntegrationCommand::Test(arguments) => examine::run(context, registry, arguments).await,
        IntegrationCommand::ListFiles { name, location } => {
            list_files::run(context, registry, &name, &location).await
        }
        IntegrationCommand::Get(arguments) => get::run(context, depot, *arguments).await,
        IntegrationCommand::Put(arguments) => put::run(context, depot, *arguments).await,
        IntegrationCommand::Kit { name } => kit::run(context, registry, &name).await,
    }
}

/// What the options say, as the fields take it.
struct Texts(Vec<(&'static Field, Option<String>)>);

impl Texts {
    fn of(arguments: &FieldArgs) -> Result<Self, CliError> {
        let mut texts = Self(Vec::new());
        for (name, kind, text) in arguments.each() {
            let Some(text) = text else { continue };
            let text = match kind {
                TextOf::Itself => text.clone(),
                _ if is_default(text) => text.clone(),
                TextOf::FileOrReference if is_reference(text) => text.clone(),
                TextOf::FileOrReference | TextOf::File => text_of_file(Path::new(text))?,
            };
            texts.push(name, Some(text));
        }
        Ok(texts)
    }

    fn push(&mut self, name: &str, text: Option<String>) {
        if let (Some(field), Some(text)) = (Field::of_name(name), text) {
            self.0.push((field, (!is_default(&text)).then_some(text)));
        }
    }

    /// Sets all of them; every mistake is told.
    fn set(&self, spec: &mut IntegrationSpec) -> Vec<FieldError> {
        let set = |(field, text): &(&'static Field, Option<String>)| {
            field.set(spec, text.as_deref()).err()
        };
        self.0.iter().filter_map(set).collect()
    }
}

fn is_default(text: &str) -> bool {
    matches!(text, "default" | "none")
}

fn is_reference(text: &str) -> bool {
    text.parse::<layover_depot::SecretReference>().is_ok()
}

fn secrets(arguments: &SecretArgs) -> Result<Vec<GivenSecret>, CliError> {
    let mut given = Vec::new();
    for (purpose, option, text) in [
        (SecretPurpose::Password, "--password", &arguments.password),
        (
            SecretPurpose::ClientKey,
            "--client-key",
            &arguments.client_key,
        ),
        (
            SecretPurpose::ClientKeyPassphrase,
            "--client-key-passphrase",
            &arguments.client_key_passphrase,
        ),
    ] {
        let credential = match text.as_deref() {
            None => continue,
            Some("none" | "default") => None,
            Some(text) => {
                let reference = text
                    .parse()
                    .map_err(|_| CliError::NotAReference { option })?;
                Some(Credential::Reference(reference))
            }
        };
        given.push(GivenSecret {
            purpose,
            credential,
        });
    }
    // Standard input holds one of them: the options exclude each other.
    let typed = if arguments.password_stdin {
        Some((SecretPurpose::Password, password::of_a_partner()?))
    } else if arguments.client_key_passphrase_stdin {
        Some((
            SecretPurpose::ClientKeyPassphrase,
            password::of_a_partner()?,
        ))
    } else if arguments.client_key_stdin {
        Some((SecretPurpose::ClientKey, password::whole_stdin()?))
    } else {
        None
    };
    given.extend(typed.map(|(purpose, value)| GivenSecret {
        purpose,
        credential: Some(Credential::Value(value)),
    }));
    Ok(given)
}

async fn add(
    context: &mut Context,
    registry: &Registry,
    arguments: IntegrationAdd,
) -> Result<(), CliError> {
    let mut errors = Vec::new();
    let host = read(&arguments.host, "host", &mut errors);
    let username = read(&arguments.username, "username", &mut errors);
    let display_name: Option<DisplayName> =
        read(arguments.name.as_str(), "display_name", &mut errors);
    let (Some(host), Some(username), Some(display_name)) = (host, username, display_name) else {
        return Err(CliError::Fields { errors });
    };
    let mut spec = IntegrationSpec {
        name: arguments.name.clone(),
        display_name,
        entity: arguments.entity,
        protocol: arguments.protocol,
        host,
        own_port: None,
        username,
        settings: IntegrationSettings::default(),
    };
    let errors = Texts::of(&arguments.fields)?.set(&mut spec);
    if !errors.is_empty() {
        return Err(CliError::Fields { errors });
    }
    // Before a person is asked for a password: could it be created at all?
    registry.entity(&spec.entity).await?;
    let wanted = WantedIntegration {
        spec,
        secrets: secrets(&arguments.secrets)?,
        locations: None,
        host_keys: None,
    };
    let integration = registry.add_integration(&context.actor, &wanted).await?;
    let view = IntegrationView::new(&integration, &context.settings);
    let sentence = format!(
        "integration `{}` created: {} at {}:{}",
        view.name, view.protocol, view.host, view.port
    );
    context.out.done(&view, &sentence)?;
    tell_cautions(context, &integration)?;
    Ok(())
}

fn read<T: std::str::FromStr>(
    text: &str,
    name: &'static str,
    errors: &mut Vec<FieldError>,
) -> Option<T> {
    let value = text.parse().ok();
    if value.is_none() {
        let expected = Field::of_name(name).map_or("", Field::expected);
        errors.push(FieldError {
            field: name,
            fault: FieldFault::Value {
                text: text.chars().take(80).collect(),
                expected,
            },
        });
    }
    value
}

async fn list(
    context: &mut Context,
    registry: &Registry,
    entity: Option<&EntityName>,
) -> Result<(), CliError> {
    if let Some(entity) = entity {
        registry.entity(entity).await?;
    }
    let mut integrations = registry.list_integrations().await?;
    integrations.retain(|one| entity.is_none_or(|entity| one.spec.entity == *entity));
    let mut table = Table::new([
        "INTEGRATION",
        "NAME",
        "ENTITY",
        "PROTOCOL",
        "HOST",
        "USER",
        "LOCATIONS",
        "TO KNOW",
    ]);
    let mut views = Vec::with_capacity(integrations.len());
    for integration in &integrations {
        let view = IntegrationView::new(integration, &context.settings);
        table.row([
            Cell::from(view.name.as_str()),
            Cell::from(view.display_name.as_str()),
            Cell::from(view.entity.as_str()),
            view.protocol_cell(),
            Cell::from(format!("{}:{}", view.host, view.port)),
            Cell::from(view.username.as_str()),
            Cell::from(view.locations.len().to_string()),
            view.caution_cell(),
        ]);
        views.push(view);
    }
    let nothing = "no integrations; create one: layover integration add NAME --entity ENTITY \
                   --protocol sftp --host HOST --username USER";
    context.out.list(&views, &table, nothing)?;
    Ok(())
}

async fn show(
    context: &mut Context,
    registry: &Registry,
    name: &IntegrationName,
) -> Result<(), CliError> {
    let integration = registry.integration(name).await?;
    let view = IntegrationView::new(&integration, &context.settings);
    let mut fields = Fields::new();
    fields.add("integration", view.name.as_str());
    fields.add("id", view.id.to_string());
    for field in Field::EACH {
        if field.name() == "protocol" {
            fields.add("protocol", view.protocol_cell());
            continue;
        }
        if field.name() == "port" {
            fields.add("port", view.port.to_string());
            continue;
        }
        if let Some(text) = field.shown(&integration.spec) {
            fields.add(field.name(), text);
        }
    }
    for secret in &view.secrets {
        fields.add("secret", secret.told());
    }
    for key in &view.host_keys {
        fields.add("host key", key.told());
    }
    for location in &view.locations {
        fields.add("location", location.told());
    }
    for (lesson, value) in &view.learned {
        fields.add("learned", format!("{lesson}: {value}"));
    }
    let sources: Vec<_> = view
        .source_addresses
        .iter()
        .map(ToString::to_string)
        .collect();
    let sources = match sources.is_empty() {
        true => "chosen by the system ([outbound] source_addresses is empty)".to_owned(),
        false => sources.join(", "),
    };
    fields.add("we connect from", sources);
    fields.add("created", view.created_at.to_string());
    for caution in &view.cautions {
        fields.add("to know", caution.cell());
    }
    for breach in &view.breaches {
        let tone = if context.settings.outbound.hardened {
            Tone::Alarm
        } else {
            Tone::Plain
        };
        fields.add("against hardened mode", Cell::toned(breach.as_str(), tone));
    }
    context.out.fields(&view, &fields)?;
    Ok(())
}

#[derive(Serialize)]
struct Changed {
    integration: IntegrationView,
    changes: Vec<Difference>,
}

async fn set(
    context: &mut Context,
    registry: &Registry,
    arguments: IntegrationSet,
) -> Result<(), CliError> {
    let name = arguments.name;
    // Before a person is asked for a password: does it exist at all?
    registry.integration(&name).await?;
    let mut texts = Texts(Vec::new());
    // What it speaks decides which other fields it has.
    for (field, text) in [
        ("protocol", arguments.protocol),
        ("entity", arguments.entity),
        ("host", arguments.host),
        ("username", arguments.username),
    ] {
        if let (Some(field), Some(text)) = (Field::of_name(field), text) {
            texts.0.push((field, Some(text)));
        }
    }
    texts.0.extend(Texts::of(&arguments.fields)?.0);
    let secrets = secrets(&arguments.secrets)?;
    if texts.0.is_empty() && secrets.is_empty() {
        return Err(CliError::NothingToChange);
    }
    let change = |spec: &mut IntegrationSpec| texts.set(spec);
    let changes = registry
        .change_integration(&context.actor, &name, change, &secrets)
        .await?;
    let integration = registry.integration(&name).await?;
    let sentence = match told(&changes) {
        Some(told) => format!("integration `{name}` changed: {told}"),
        None => format!("integration `{name}` was so already; nothing changed"),
    };
    let document = Changed {
        integration: IntegrationView::new(&integration, &context.settings),
        changes,
    };
    context.out.done(&document, &sentence)?;
    tell_cautions(context, &integration)?;
    Ok(())
}

/// Differences in one line; `None` when there are none.
pub(super) fn told(changes: &[Difference]) -> Option<String> {
    let side = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let told = |one: &Difference| format!("{} {} -> {}", one.field, side(&one.from), side(&one.to));
    let told: Vec<_> = changes.iter().map(told).collect();
    (!told.is_empty()).then(|| told.join(", "))
}

async fn remove(
    context: &mut Context,
    registry: &Registry,
    name: &IntegrationName,
) -> Result<(), CliError> {
    let flows = registry.remove_integration(&context.actor, name).await?;
    let flows: Vec<_> = flows.iter().map(ToString::to_string).collect();
    let with_flows = match flows.is_empty() {
        true => String::new(),
        false => format!(" and the flows {}", flows.join(", ")),
    };
    context.out.done(
        &serde_json::json!({ "removed": name.to_string(), "flows": flows }),
        &format!(
            "integration `{name}` removed, with its locations, keys and secrets{with_flows}; that \
             is our side only: nothing happened on the partner's server"
        ),
    )?;
    Ok(())
}

/// The public half of a key of ours, when there is one.
fn public_key(integration: &Integration, purpose: SecretPurpose) -> Option<&str> {
    let current = integration.secret(purpose, layover_depot::SecretSlot::Current)?;
    current.public.as_deref()
}
