//! `layover retention folder`.

use layover_depot::{Depot, FolderKeep, FolderRule, HomeName, PathTexts, Registry, VirtualPath};
use layover_retention::{Keep, Timestamp};
use serde::Serialize;

use super::file::place;
use super::view::files_moved_text;
use crate::cli::FilesOf;
use crate::cli::retention::{FolderCommand, HomeOf};
use crate::context::Context;
use crate::error::CliError;
use crate::output::{Cell, Table};

#[derive(Debug, Serialize)]
struct FolderView {
    #[serde(flatten)]
    path: PathTexts,
    /// `null` when the folder above, or the account, decides.
    keep: Option<Keep>,
    collected_keep: Option<Keep>,
    set_at: Timestamp,
    reason: String,
}

impl From<&FolderKeep> for FolderView {
    fn from(folder: &FolderKeep) -> Self {
        Self {
            path: PathTexts::from(&folder.path),
            keep: folder.keep,
            collected_keep: folder.collected_keep,
            set_at: folder.set_at,
            reason: folder.reason.clone(),
        }
    }
}

/// What a changed rule did.
#[derive(Debug, Serialize)]
struct FolderChanged {
    home: String,
    #[serde(flatten)]
    path: PathTexts,
    #[serde(skip_serializing_if = "Option::is_none")]
    keep: Option<Keep>,
    #[serde(skip_serializing_if = "Option::is_none")]
    collected_keep: Option<Keep>,
    /// Stored files that got another expiry.
    files_moved: u64,
}

pub(super) async fn run(
    context: &mut Context,
    depot: &Depot,
    command: FolderCommand,
) -> Result<(), CliError> {
    let registry = depot.registry();
    match command {
        FolderCommand::Set {
            of,
            keep,
            collected_keep,
            reason,
        } => {
            if keep.is_none() && collected_keep.is_none() {
                return Err(CliError::NoFolderRule);
            }
            let (home, path) = folder(registry, of).await?;
            let before = registry.folder_keeps(&home).await?;
            let before = before.iter().find(|folder| folder.path == path);
            // What is not spoken of stays as it was.
            let rule = FolderRule {
                keep: keep.map_or(before.and_then(|folder| folder.keep), |keep| keep.0),
                collected_keep: collected_keep
                    .map_or(before.and_then(|folder| folder.collected_keep), |keep| {
                        keep.0
                    }),
            };
            set(context, registry, &home, &path, rule, &reason).await
        }
        FolderCommand::List { of } => {
            let home = home_of(registry, of).await?;
            list(context, registry, &home).await
        }
        FolderCommand::Remove { of, reason } => {
            let (home, path) = folder(registry, of).await?;
            let files_moved = registry
                .remove_folder_keep(&context.actor, &home, &path, &reason)
                .await?;
            let sentence = format!(
                "folder `{}` of home `{home}` has no rule of its own any more; {}",
                PathTexts::from(&path),
                files_moved_text(files_moved)
            );
            let document = FolderChanged {
                home: home.to_string(),
                path: PathTexts::from(&path),
                keep: None,
                collected_keep: None,
                files_moved,
            };
            Ok(context.out.done(&document, &sentence)?)
        }
    }
}

async fn set(
    context: &mut Context,
    registry: &Registry,
    home: &HomeName,
    path: &VirtualPath,
    rule: FolderRule,
    reason: &str,
) -> Result<(), CliError> {
    let files_moved = registry
        .set_folder_keep(&context.actor, home, path, rule, reason)
        .await?;
    let stay = match (rule.keep, rule.collected_keep) {
        (Some(keep), Some(collected)) => {
            format!("stay {keep}, or {collected} after they were first collected")
        }
        (Some(keep), None) => format!("stay {keep}"),
        (None, Some(collected)) => {
            format!("stay at most {collected} after they were first collected")
        }
        (None, None) => "stay as the folder above or the account says".to_owned(),
    };
    let path = PathTexts::from(path);
    let sentence = format!(
        "files in `{path}` of home `{home}` {stay}; {}",
        files_moved_text(files_moved)
    );
    let document = FolderChanged {
        home: home.to_string(),
        path,
        keep: rule.keep,
        collected_keep: rule.collected_keep,
        files_moved,
    };
    Ok(context.out.done(&document, &sentence)?)
}

async fn list(context: &mut Context, registry: &Registry, home: &HomeName) -> Result<(), CliError> {
    let folders = registry.folder_keeps(home).await?;
    let mut table = Table::new(["PATH", "KEEP", "ONCE COLLECTED", "SET", "REASON"]);
    let views: Vec<_> = folders.iter().map(FolderView::from).collect();
    for view in &views {
        table.row([
            Cell::from(view.path.to_string()),
            Cell::or_dash(view.keep),
            Cell::or_dash(view.collected_keep),
            Cell::from(view.set_at.to_string()),
            Cell::from(view.reason.as_str()),
        ]);
    }
    let nothing = format!("no folder of home `{home}` has a rule of its own");
    Ok(context.out.list(&views, &table, &nothing)?)
}

async fn folder(registry: &Registry, of: FilesOf) -> Result<(HomeName, VirtualPath), CliError> {
    let (home, path) = place(registry, of).await?;
    Ok((home, path.ok_or(CliError::WhichFile)?))
}

/// The home that is meant.
pub(super) async fn home_of(registry: &Registry, of: HomeOf) -> Result<HomeName, CliError> {
    match (of.home, of.account) {
        (Some(home), _) => Ok(home),
        (None, Some(name)) => Ok(registry.account(&name).await?.home),
        (None, None) => Err(CliError::WhoseFiles),
    }
}
