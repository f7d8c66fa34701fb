//! `layover file`.

use layover_depot::{
    FileState, HomeName, PathTexts, Registry, RemovedWhat, StoredFile, VirtualPath,
};
use layover_retention::{PolicySource, Timestamp};
use serde::Serialize;

use crate::cli::{FileCommand, FilesOf};
use crate::context::Context;
use crate::error::CliError;
use crate::output::{Cell, Table, Tone};
use crate::value::{AccountOrPath, ByteSize};

#[derive(Debug, Serialize)]
struct FileView {
    id: i64,
    #[serde(flatten)]
    path: PathTexts,
    size_bytes: u64,
    state: &'static str,
    arrived_at: Option<Timestamp>,
    expires_at: Option<Timestamp>,
    uploaded_by: Option<String>,
    collected_at: Option<Timestamp>,
    collected_by: Option<String>,
    /// Whose rule it follows.
    rule: Option<PolicySource>,
    /// Whether a hold keeps it just now, and nobody may change or remove it.
    held: bool,
    held_until: Option<Timestamp>,
    sha256: Option<String>,
}

impl FileView {
    fn new(file: &StoredFile, now: Timestamp) -> Self {
        let held_until = file.held_until.filter(|until| *until > now);
        Self {
            id: file.id.0,
            path: PathTexts::from(&file.path),
            size_bytes: file.size_bytes,
            state: word(file.state),
            arrived_at: file.arrived_at,
            expires_at: file.expires_at,
            uploaded_by: file.uploaded_by.as_ref().map(ToString::to_string),
            collected_at: file.collected_at,
            // By nobody's account: the outbound engine took it to a partner's server.
            collected_by: match (file.collected_at, &file.collected_by) {
                (Some(_), None) => Some("outbound".to_owned()),
                (_, by) => by.as_ref().map(ToString::to_string),
            },
            rule: file.rule,
            held: held_until.is_some(),
            held_until,
            sha256: file.sha256.clone(),
        }
    }
}

/// The state as scripts know it.
fn word(state: FileState) -> &'static str {
    match state {
        FileState::Receiving => "receiving",
        FileState::Partial => "partial",
        FileState::Waiting => "waiting",
        FileState::Publishing => "publishing",
        FileState::Stored => "stored",
        FileState::Deleting => "deleting",
        FileState::Ended => "ended",
    }
}

pub(super) async fn run(context: &mut Context, command: FileCommand) -> Result<(), CliError> {
    let depot = context.depot().await?;
    let registry = depot.registry();
    match command {
        FileCommand::List { of } => {
            let (home, path) = place(registry, of).await?;
            list(
                context,
                registry,
                &home,
                &path.unwrap_or_else(VirtualPath::root),
            )
            .await?;
        }
        FileCommand::Remove { of, partial } => {
            let (home, path) = place(registry, of).await?;
            let path = path.ok_or(CliError::WhichFile)?;
            let what = if partial {
                RemovedWhat::Unfinished
            } else {
                RemovedWhat::Stored
            };
            remove(context, registry, &home, &path, what).await?;
        }
    }
    depot.close().await;
    Ok(())
}

/// The home that is meant, and where in it.
pub(super) async fn place(
    registry: &Registry,
    of: FilesOf,
) -> Result<(HomeName, Option<VirtualPath>), CliError> {
    match (of.home, of.first) {
        (Some(home), first) => {
            let path = first.map(AccountOrPath::into_path).transpose()?;
            Ok((home, path))
        }
        (None, Some(AccountOrPath::Account(name))) => {
            let account = registry.account(&name).await?;
            Ok((account.home, of.path.map(|path| path.0)))
        }
        (None, Some(AccountOrPath::Path(_)) | None) => Err(CliError::WhoseFiles),
    }
}

async fn list(
    context: &mut Context,
    registry: &Registry,
    home: &HomeName,
    path: &VirtualPath,
) -> Result<(), CliError> {
    let files = registry.list_home(home, path).await?;
    let now = context.clock.now();
    let mut table = Table::new([
        "PATH",
        "SIZE",
        "STATE",
        "ARRIVED",
        "EXPIRES",
        "BY",
        "COLLECTED",
    ]);
    let views: Vec<_> = files.iter().map(|file| FileView::new(file, now)).collect();
    for view in &views {
        let expiry = match view.expires_at {
            Some(at) if at <= now => Cell::toned(format!("{at} (due)"), Tone::Notice),
            Some(at) if view.held => Cell::toned(format!("{at} (held)"), Tone::Notice),
            at => Cell::or_dash(at),
        };
        table.row([
            Cell::from(view.path.to_string()),
            Cell::from(ByteSize(view.size_bytes).to_string()),
            Cell::from(view.state),
            Cell::or_dash(view.arrived_at),
            expiry,
            Cell::or_dash(view.uploaded_by.as_ref()),
            match (view.collected_at, &view.collected_by) {
                (Some(at), Some(by)) => Cell::from(format!("{at} by {by}")),
                (at, _) => Cell::or_dash(at),
            },
        ]);
    }
    context.out.list(
        &views,
        &table,
        &format!("home `{home}` has no files in {}", PathTexts::from(path)),
    )?;
    Ok(())
}

async fn remove(
    context: &mut Context,
    registry: &Registry,
    home: &HomeName,
    path: &VirtualPath,
    what: RemovedWhat,
) -> Result<(), CliError> {
    let removed = registry
        .remove_files(&context.actor, home, path, what)
        .await?;
    let size = ByteSize(removed.size_bytes);
    let path = PathTexts::from(path);
    let sentence = match what {
        RemovedWhat::Stored => format!("`{path}` in home `{home}` removed ({size})"),
        RemovedWhat::Unfinished => format!(
            "unfinished uploads to `{path}` in home `{home}` removed: {} ({size})",
            removed.files
        ),
    };
    let document = serde_json::json!({
        "home": home.to_string(),
        "removed": path.path,
        "path_hex": path.path_hex,
        "files": removed.files,
        "size_bytes": removed.size_bytes,
    });
    context.out.done(&document, &sentence)?;
    Ok(())
}
