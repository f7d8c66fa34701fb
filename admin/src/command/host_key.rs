//! `layover host-key`.

mod readiness;

use layover_depot::{Depot, JournalKind, Outcome};
use layover_retention::Timestamp;
use layover_server::{HostKeyChange, HostKeyEntry, HostKeySet, HostKeyState};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::cli::host_key::{HostKeyAddArgs, HostKeyCommand};
use crate::context::Context;
use crate::error::CliError;
use crate::output::{Cell, Table, Tone};

/// A host key as JSON.
#[derive(Debug, Serialize)]
struct HostKeyView {
    algorithm: String,
    fingerprint: String,
    state: HostKeyState,
    /// `null`: since it was made, or since a setting names it.
    since: Option<Timestamp>,
    source: String,
}

impl HostKeyView {
    fn of(entry: &HostKeyEntry) -> Self {
        Self {
            algorithm: entry.algorithm.clone(),
            fingerprint: entry.sha256.clone(),
            state: entry.state,
            since: entry.since,
            source: entry.source.to_string(),
        }
    }
}

pub(super) async fn run(context: &mut Context, command: HostKeyCommand) -> Result<(), CliError> {
    if let HostKeyCommand::List = command {
        return list(context);
    }
    let depot = context.depot().await?;
    let done = match command {
        HostKeyCommand::List => Ok(()),
        HostKeyCommand::Add(arguments) => add(context, &depot, arguments).await,
        HostKeyCommand::Serve { fingerprint } => serve(context, &depot, &fingerprint).await,
        HostKeyCommand::Retire { fingerprint, force } => {
            retire(context, &depot, &fingerprint, force).await
        }
        HostKeyCommand::Readiness { retiring } => {
            readiness::show(context, &depot, retiring.as_deref()).await
        }
    };
    depot.close().await;
    done
}

fn list(context: &mut Context) -> Result<(), CliError> {
    let settings = &context.settings;
    let set = HostKeySet::read(&settings.data_dir, &settings.sftp)?;
    let mut table = Table::new(["STATE", "ALGORITHM", "FINGERPRINT", "SINCE", "FILE"]);
    let views: Vec<_> = set.entries().iter().map(HostKeyView::of).collect();
    for view in &views {
        let tone = match view.state {
            HostKeyState::Served => Tone::Good,
            HostKeyState::Announced => Tone::Notice,
            HostKeyState::Retired => Tone::Plain,
        };
        table.row([
            Cell::toned(view.state.as_str(), tone),
            Cell::from(view.algorithm.as_str()),
            Cell::from(view.fingerprint.as_str()),
            Cell::or_dash(view.since),
            Cell::from(view.source.as_str()),
        ]);
    }
    let nothing = "no host key yet; `layover serve` makes one at its first start";
    Ok(context.out.list(&views, &table, nothing)?)
}

fn begin(context: &Context) -> Result<HostKeyChange, CliError> {
    let settings = &context.settings;
    let now = context.clock.now();
    Ok(HostKeyChange::begin(
        &settings.data_dir,
        &settings.sftp,
        now,
    )?)
}

async fn add(
    context: &mut Context,
    depot: &Depot,
    arguments: HostKeyAddArgs,
) -> Result<(), CliError> {
    let mut change = begin(context)?;
    let mut added = match (arguments.algorithm, &arguments.file) {
        (Some(algorithm), _) => change.make(algorithm.into())?,
        (None, Some(file)) => change.take_over(file)?,
        (None, None) => return Err(CliError::NothingToChange),
    };
    let mut replaced = None;
    if arguments.serve {
        replaced = change.serve(&added.sha256)?;
        added.state = HostKeyState::Served;
    }
    change.finish()?;
    note(context, depot, "host-key.add", &added, replaced.as_ref()).await?;
    let sentence = match arguments.serve {
        true => served_text(&added, replaced.as_ref()),
        false => format!(
            "host key {} ({}) is announced: connection kits have it from now on\n\
             next: give partners new kits, then: layover host-key serve {}",
            added.sha256, added.algorithm, added.sha256
        ),
    };
    Ok(context.out.done(&HostKeyView::of(&added), &sentence)?)
}

async fn serve(context: &mut Context, depot: &Depot, fingerprint: &str) -> Result<(), CliError> {
    let mut change = begin(context)?;
    let replaced = change.serve(fingerprint)?;
    let set = change.finish()?;
    let Some(served) = find(&set, fingerprint) else {
        return Ok(());
    };
    note(context, depot, "host-key.serve", served, replaced.as_ref()).await?;
    let sentence = served_text(served, replaced.as_ref());
    Ok(context.out.done(&HostKeyView::of(served), &sentence)?)
}

fn served_text(served: &HostKeyEntry, replaced: Option<&HostKeyEntry>) -> String {
    let (print, algorithm) = (&served.sha256, &served.algorithm);
    match replaced {
        None => format!(
            "host key {print} ({algorithm}) is shown to clients that choose {algorithm}; a running \
             server takes it over within 5 seconds"
        ),
        Some(before) => format!(
            "host key {print} ({algorithm}) is shown instead of {}, which stays announced; a \
             running server takes it over within 5 seconds",
            before.sha256
        ),
    }
}

async fn retire(
    context: &mut Context,
    depot: &Depot,
    fingerprint: &str,
    force: bool,
) -> Result<(), CliError> {
    let mut change = begin(context)?;
    let retired = change.retire(fingerprint)?;
    // The change waits for the answer: it is a file's lock, and no server waits for that.
    let lost = readiness::lost_without(depot, change.set(), &retired.sha256).await?;
    if !lost.is_empty() && !force {
        return Err(CliError::HostKeyInUse {
            sha256: retired.sha256,
            accounts: lost,
        });
    }
    change.finish()?;
    note(context, depot, "host-key.retire", &retired, None).await?;
    let sentence = format!(
        "host key {} ({}) is retired; its file stays at {}",
        retired.sha256, retired.algorithm, retired.source
    );
    Ok(context.out.done(&HostKeyView::of(&retired), &sentence)?)
}

fn find<'a>(set: &'a HostKeySet, fingerprint: &str) -> Option<&'a HostKeyEntry> {
    let mut entries = set.entries().iter();
    entries.find(|entry| entry.sha256 == fingerprint)
}

/// The keys are files, so the entry follows the change.
async fn note(
    context: &Context,
    depot: &Depot,
    action: &'static str,
    key: &HostKeyEntry,
    instead_of: Option<&HostKeyEntry>,
) -> Result<(), CliError> {
    let mut detail = Map::new();
    let mut tell = |name: &str, value: &str| detail.insert(name.to_owned(), Value::from(value));
    tell("actor", context.actor.as_str());
    tell("algorithm", &key.algorithm);
    tell("fingerprint", &key.sha256);
    tell("state", key.state.as_str());
    if let Some(before) = instead_of {
        tell("instead_of", &before.sha256);
    }
    let (now, kind) = (context.clock.now(), JournalKind::Admin);
    depot
        .journal()
        .note(now, kind, action, Outcome::Ok, detail)
        .await?;
    Ok(())
}
