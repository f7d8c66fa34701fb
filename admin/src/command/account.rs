//! `layover account`, except its keys, certificates, networks and permissions.

use layover_depot::{
    Account, AccountChange, AccountLimits, AccountName, ByteRate, CertificateUse, Enabled,
    EntityName, LimitsChange, NewAccount, NewEntity, NewNetwork, Protocols, Registry, Rights,
    Secret,
};
use serde::Serialize;

use super::certificate::certificate_from_file;
use super::key::keys_from_file;
use super::permission::warn_of_read_only;
use super::view::{AccountView, files_moved_text, yes_no};
use crate::cli::{AccountAdd, AccountCommand, AccountSet, AccountTraits};
use crate::context::Context;
use crate::credentials::Credentials;
use crate::error::CliError;
use crate::output::{Cell, Fields, Table, Tone};
use crate::password;
use crate::value::ByteSize;

/// What makes the first account, and its entity with it.
pub(super) const ADD_THE_FIRST: &str =
    "layover account add NAME --entity ENTITY --new-entity --allow CIDR --generate-password";

/// What `account add` and `account password --generate` print as JSON: the only
/// place where a password is ever shown.
#[derive(Debug, Serialize)]
struct WithPassword {
    #[serde(flatten)]
    account: AccountView,
    #[serde(skip_serializing_if = "Option::is_none")]
    generated_password: Option<String>,
}

/// What `account set` did.
#[derive(Debug, Serialize)]
struct AccountChanged {
    #[serde(flatten)]
    account: AccountView,
    /// Stored files that got another expiry; only where a keep was set.
    #[serde(skip_serializing_if = "Option::is_none")]
    files_moved: Option<u64>,
}

pub(super) async fn run(context: &mut Context, command: AccountCommand) -> Result<(), CliError> {
    let depot = context.depot().await?;
    let registry = depot.registry();
    match command {
        AccountCommand::Add(arguments) => add(context, registry, *arguments).await?,
        AccountCommand::List { entity } => list(context, registry, entity.as_ref()).await?,
        AccountCommand::Show { name } => show(context, registry, &name).await?,
        AccountCommand::Set(arguments) => set(context, registry, *arguments).await?,
        AccountCommand::Disable { name } => {
            enable(context, registry, &name, Enabled::No).await?;
        }
        AccountCommand::Enable { name } => enable(context, registry, &name, Enabled::Yes).await?,
        AccountCommand::Remove { name } => remove(context, registry, &name).await?,
        AccountCommand::Password {
            name,
            generate,
            stdin: _,
            remove,
        } => {
            let source = match (generate, remove) {
                (true, _) => PasswordSource::Generate,
                (_, true) => PasswordSource::None,
                _ => PasswordSource::Stdin,
            };
            set_password(context, registry, &name, source).await?;
        }
        // Led to their own files by `execute`.
        AccountCommand::Key(_)
        | AccountCommand::Certificate(_)
        | AccountCommand::Allow(_)
        | AccountCommand::Permission(_)
        | AccountCommand::Kit(_) => {}
    }
    depot.close().await;
    Ok(())
}

/// Where a password comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PasswordSource {
    Generate,
    Stdin,
    None,
}

/// A password, and its text when it was made here and must be shown once.
struct Password {
    secret: Option<Secret>,
    shown: Option<String>,
}

impl PasswordSource {
    fn take(self) -> Result<Password, CliError> {
        Ok(match self {
            Self::Generate => {
                let text = password::generate()?;
                Password {
                    secret: Some(Secret::new(text.clone())),
                    shown: Some(text),
                }
            }
            Self::Stdin => {
                let secret = password::from_stdin()?;
                Password {
                    secret: Some(secret),
                    shown: None,
                }
            }
            Self::None => Password {
                secret: None,
                shown: None,
            },
        })
    }
}

async fn add(
    context: &mut Context,
    registry: &Registry,
    arguments: AccountAdd,
) -> Result<(), CliError> {
    let mut keys = Vec::new();
    for file in &arguments.authorized_key {
        keys.extend(keys_from_file(file)?);
    }
    let mut certificates = Vec::new();
    for file in &arguments.certificate {
        let now = context.clock.now();
        certificates.push(certificate_from_file(file, CertificateUse::Login, now)?);
    }
    let source = match (arguments.generate_password, arguments.password_stdin) {
        (true, _) => PasswordSource::Generate,
        (_, true) => PasswordSource::Stdin,
        _ => PasswordSource::None,
    };
    let password = source.take()?;
    let networks = arguments
        .allow
        .iter()
        .map(|network| NewNetwork {
            network: *network,
            reason: None,
            until: None,
        })
        .collect();
    let made_entity =
        arguments.new_entity && ensure_entity(context, registry, &arguments.entity).await?;
    let entity = arguments.entity.clone();
    let limits = limits_wanted(&arguments.traits);
    let added = registry
        .add_account(
            &context.actor,
            &NewAccount {
                name: arguments.name,
                entity: arguments.entity,
                home: arguments.home,
                networks,
                keys,
                certificates,
                password: password.secret,
                protocols: arguments.traits.protocols.unwrap_or(Protocols::ALL),
                auth: arguments.traits.auth.unwrap_or_default(),
                keep: arguments.traits.keep.and_then(|keep| keep.0),
                collected_keep: arguments.traits.collected_keep.and_then(|keep| keep.0),
                quota_bytes: arguments
                    .traits
                    .quota
                    .and_then(|quota| quota.0)
                    .map(|size| size.0),
                read_only: arguments.read_only,
                tolerant_completion: arguments.tolerant_completion,
                publish_on_rename: arguments.publish_on_rename,
                session_reuse: arguments.traits.session_reuse.and_then(|reuse| reuse.0),
                limits: AccountLimits {
                    max_sessions: limits.max_sessions.flatten(),
                    upload_rate: limits.upload_rate.flatten(),
                    download_rate: limits.download_rate.flatten(),
                },
            },
        )
        .await;
    if added.is_err() && made_entity {
        // It was made for this account alone; whoever uses it meanwhile keeps it.
        let _ = registry.remove_entity(&context.actor, &entity).await;
    }
    let account = added?;
    let view = view(context, registry, &account).await?;
    let sentence = format!(
        "account `{}` created: home `{}`, files stay {} (set by the {})",
        view.name, view.home, view.effective_keep, view.effective_keep_source
    );
    let document = WithPassword {
        account: view,
        generated_password: password.shown,
    };
    context.out.done(&document, &sentence)?;
    if !context.out.is_json() {
        tell_password(context, document.generated_password.as_deref())?;
        tell_what_is_missing(context, &document.account, Credentials::of(&account))?;
    }
    Ok(())
}

/// Makes the entity with the appliance's own keep, unless it is there; says whether it did.
async fn ensure_entity(
    context: &Context,
    registry: &Registry,
    name: &EntityName,
) -> Result<bool, CliError> {
    let entities = registry.list_entities().await?;
    if entities.iter().any(|entity| entity.name == *name) {
        return Ok(false);
    }
    let entity = NewEntity {
        name: name.clone(),
        keep: None,
    };
    registry.add_entity(&context.actor, &entity).await?;
    Ok(true)
}

fn tell_password(context: &mut Context, password: Option<&str>) -> Result<(), CliError> {
    if let Some(password) = password {
        context.out.line(&format!("password: {password}"))?;
        context.out.line("It is not shown again.")?;
    }
    Ok(())
}

/// Warns of an account that cannot log in, or that everybody can try.
fn tell_what_is_missing(
    context: &mut Context,
    account: &AccountView,
    credentials: Credentials,
) -> Result<(), CliError> {
    let name = &account.name;
    if account.networks.is_empty() {
        context.out.marked_line(
            &Cell::toned(
                "no allowed network: the account cannot log in.",
                Tone::Alarm,
            ),
            &format!(" Next: layover account allow add {name} CIDR"),
        )?;
    }
    if account.networks.iter().any(|network| network.any) {
        context.out.marked_line(
            &Cell::toned("allowed from ANY address.", Tone::Alarm),
            &format!(
                " Narrow it: layover account allow add {name} CIDR, then allow remove {name} any"
            ),
        )?;
    }
    if let Some(missing) = credentials.missing(&context.settings) {
        context.out.marked_line(
            &Cell::toned(
                format!("{missing}: the account cannot log in."),
                Tone::Alarm,
            ),
            &format!(" Next: {}", credentials.next_steps(name)),
        )?;
    }
    Ok(())
}

async fn view(
    context: &Context,
    registry: &Registry,
    account: &Account,
) -> Result<AccountView, CliError> {
    let mut used = registry.account_use().await?;
    Ok(AccountView::new(
        account,
        &context.policy(registry, account).await?,
        used.remove(&account.id).unwrap_or_default(),
        &context.settings,
    ))
}

async fn list(
    context: &mut Context,
    registry: &Registry,
    entity: Option<&EntityName>,
) -> Result<(), CliError> {
    if let Some(entity) = entity {
        registry.entity(entity).await?;
    }
    let mut accounts = registry.list_accounts().await?;
    accounts.retain(|account| entity.is_none_or(|entity| account.entity == *entity));
    let used = registry.account_use().await?;
    let mut views = Vec::with_capacity(accounts.len());
    let mut table = Table::new([
        "ACCOUNT",
        "ENTITY",
        "HOME",
        "STATE",
        "PROTOCOLS",
        "KEEP",
        "FROM",
        "LOGS IN BY",
        "LAST LOGIN",
        "USED / QUOTA",
    ]);
    for account in &accounts {
        let policy = context.policy(registry, account).await?;
        let used = used.get(&account.id).copied().unwrap_or_default();
        let view = AccountView::new(account, &policy, used, &context.settings);
        table.row([
            Cell::from(view.name.clone()),
            Cell::from(view.entity.clone()),
            Cell::from(view.home.clone()),
            state(&view),
            Cell::from(view.protocols.to_string()),
            Cell::from(view.effective_keep.to_string()),
            view.network_cell(),
            view.credentials(),
            Cell::or_dash(view.last_login_at),
            view.usage(),
        ]);
        views.push(view);
    }
    let nothing = match entity {
        Some(entity) => format!("entity `{entity}` has no accounts"),
        None => format!("no accounts; create the first: {ADD_THE_FIRST}"),
    };
    context.out.list(&views, &table, &nothing)?;
    Ok(())
}

fn rate_text(rate: Option<ByteRate>) -> String {
    rate.map_or_else(
        || "no limit".to_owned(),
        |rate| format!("{}/s on each server", ByteSize(rate.bytes_per_s())),
    )
}

fn state(view: &AccountView) -> Cell {
    if view.enabled {
        Cell::toned("enabled", Tone::Good)
    } else {
        Cell::toned("disabled", Tone::Notice)
    }
}

async fn show(
    context: &mut Context,
    registry: &Registry,
    name: &AccountName,
) -> Result<(), CliError> {
    let account = registry.account(name).await?;
    let view = view(context, registry, &account).await?;
    let mut fields = Fields::new();
    fields.add("account", view.name.as_str());
    fields.add("entity", view.entity.as_str());
    fields.add("home", view.home.as_str());
    fields.add("state", state(&view));
    fields.add("protocols", view.protocols.to_string());
    fields.add("must show", view.auth.as_str());
    fields.add(
        "keep",
        format!(
            "{} (set by the {})",
            view.effective_keep, view.effective_keep_source
        ),
    );
    if let Some(keep) = view.collected_keep {
        fields.add("keep once collected", format!("{keep}, if that is sooner"));
    }
    fields.add(
        "quota",
        view.quota_bytes
            .map_or_else(|| "none".into(), |bytes| ByteSize(bytes).to_string()),
    );
    fields.add("used", ByteSize(view.used_bytes).to_string());
    fields.add(
        "most sessions",
        view.max_sessions.map_or_else(
            || "no limit".to_owned(),
            |limit| format!("{limit} on all servers together"),
        ),
    );
    fields.add("upload rate", rate_text(view.upload_bytes_per_s));
    fields.add("download rate", rate_text(view.download_bytes_per_s));
    fields.add("read-only", yes_no(view.read_only));
    fields.add("tolerant completion", yes_no(view.tolerant_completion));
    fields.add("publish on rename", yes_no(view.publish_on_rename));
    fields.add("FTPS session reuse", view.reuse_text());
    fields.add("created", view.created_at.to_string());
    fields.add("last login", Cell::or_dash(view.last_login_at));
    fields.add("logs in by", view.credentials());
    for key in &view.keys {
        fields.add(
            "key",
            format!(
                "{} {} {} ({})",
                key.algorithm,
                key.fingerprint,
                key.comment,
                key.used_for()
            ),
        );
    }
    for certificate in &view.certificates {
        fields.add(
            "certificate",
            format!(
                "{} {} until {} ({})",
                certificate.fingerprint,
                certificate.subject,
                certificate.not_after,
                certificate.used_for()
            ),
        );
    }
    if view.networks.is_empty() {
        fields.add("allowed from", view.network_cell());
    }
    for network in &view.networks {
        let until = network
            .until
            .map(|until| format!(" until {until}"))
            .unwrap_or_default();
        let reason = network
            .reason
            .as_ref()
            .map(|why| format!(" ({why})"))
            .unwrap_or_default();
        let tone = if network.any {
            Tone::Alarm
        } else {
            Tone::Plain
        };
        fields.add(
            "allowed from",
            Cell::toned(format!("{}{until}{reason}", network.network), tone),
        );
    }
    for permission in &view.permissions {
        fields.add(
            "permission",
            format!("{} {}", permission.path, permission.rights.to_word()),
        );
    }
    context.out.fields(&view, &fields)?;
    Ok(())
}

async fn set(
    context: &mut Context,
    registry: &Registry,
    arguments: AccountSet,
) -> Result<(), CliError> {
    let AccountSet {
        name,
        traits,
        default_keep,
        no_quota,
        read_only,
        tolerant_completion,
        publish_on_rename,
        reason,
    } = arguments;
    let nothing = traits.protocols.is_none()
        && traits.auth.is_none()
        && traits.keep.is_none()
        && traits.collected_keep.is_none()
        && traits.quota.is_none()
        && traits.session_reuse.is_none()
        && limits_wanted(&traits).is_empty()
        && read_only
            .or(tolerant_completion)
            .or(publish_on_rename)
            .is_none()
        && !default_keep
        && !no_quota;
    if nothing {
        return Err(CliError::NothingToChange);
    }
    let change = AccountChange {
        limits: limits_wanted(&traits),
        protocols: traits.protocols,
        auth: traits.auth,
        keep: traits
            .keep
            .map(|keep| keep.0)
            .or(default_keep.then_some(None)),
        collected_keep: traits.collected_keep.map(|keep| keep.0),
        reason,
        quota_bytes: traits
            .quota
            .map(|quota| quota.0.map(|size| size.0))
            .or(no_quota.then_some(None)),
        read_only: read_only.map(bool::from),
        tolerant_completion: tolerant_completion.map(bool::from),
        publish_on_rename: publish_on_rename.map(bool::from),
        session_reuse: traits.session_reuse.map(|reuse| reuse.0),
    };
    let files_moved = registry
        .change_account(&context.actor, &name, &change)
        .await?;
    let account = registry.account(&name).await?;
    let view = view(context, registry, &account).await?;
    let changes_rule = change.keep.is_some() || change.collected_keep.is_some();
    let sentence = match changes_rule {
        false => format!("account `{name}` changed"),
        true => format!(
            "account `{name}` changed: files stay {} (set by the {}); {}",
            view.effective_keep,
            view.effective_keep_source,
            files_moved_text(files_moved)
        ),
    };
    let document = AccountChanged {
        account: view,
        files_moved: changes_rule.then_some(files_moved),
    };
    context.out.done(&document, &sentence)?;
    if change.auth.is_some() {
        Credentials::warn_if_closed(&account, &context.settings);
    }
    let writes = |rights: Rights| rights.intersect(Rights::READ_ONLY) != rights;
    let mut permissions = account.permissions.iter();
    if change.read_only == Some(true) && permissions.any(|one| writes(one.rights)) {
        warn_of_read_only(&name);
    }
    Ok(())
}

fn limits_wanted(traits: &AccountTraits) -> LimitsChange {
    LimitsChange {
        max_sessions: traits.max_sessions.map(|limit| limit.0),
        upload_rate: traits.upload_rate.map(|rate| rate.0),
        download_rate: traits.download_rate.map(|rate| rate.0),
    }
}

async fn enable(
    context: &mut Context,
    registry: &Registry,
    name: &AccountName,
    enabled: Enabled,
) -> Result<(), CliError> {
    registry.set_enabled(&context.actor, name, enabled).await?;
    let account = registry.account(name).await?;
    let view = view(context, registry, &account).await?;
    let sentence = match enabled {
        Enabled::Yes => format!("account `{name}` is enabled"),
        Enabled::No => format!("account `{name}` is disabled; its sessions end within 5 seconds"),
    };
    context.out.done(&view, &sentence)?;
    Ok(())
}

async fn remove(
    context: &mut Context,
    registry: &Registry,
    name: &AccountName,
) -> Result<(), CliError> {
    registry.remove_account(&context.actor, name).await?;
    context.out.done(
        &serde_json::json!({ "removed": name.to_string() }),
        &format!("account `{name}` removed; its files stay until they expire"),
    )?;
    Ok(())
}

async fn set_password(
    context: &mut Context,
    registry: &Registry,
    name: &AccountName,
    source: PasswordSource,
) -> Result<(), CliError> {
    // Before a person is asked for a password: does the account exist at all?
    registry.account(name).await?;
    let password = source.take()?;
    registry
        .set_password(&context.actor, name, password.secret)
        .await?;
    let account = registry.account(name).await?;
    let view = view(context, registry, &account).await?;
    let sentence = match source {
        PasswordSource::None => format!("account `{name}` has no password any more"),
        PasswordSource::Generate | PasswordSource::Stdin => {
            format!("account `{name}` has a new password")
        }
    };
    let document = WithPassword {
        account: view,
        generated_password: password.shown,
    };
    context.out.done(&document, &sentence)?;
    if !context.out.is_json() {
        tell_password(context, document.generated_password.as_deref())?;
    }
    if source == PasswordSource::None {
        Credentials::warn_if_closed(&account, &context.settings);
    }
    Ok(())
}
