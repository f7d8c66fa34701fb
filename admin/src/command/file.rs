//! `layover file`.

use layover_depot::{FileState, StoredFile};
use layover_retention::Timestamp;
use serde::Serialize;

use crate::cli::FileCommand;
use crate::context::Context;
use crate::error::CliError;
use crate::output::{Cell, Table, Tone};
use crate::value::ByteSize;

#[derive(Debug, Serialize)]
struct FileView {
    id: i64,
    path: String,
    size_bytes: u64,
    state: &'static str,
    arrived_at: Option<Timestamp>,
    expires_at: Option<Timestamp>,
    uploaded_by: Option<String>,
    collected_at: Option<Timestamp>,
    collected_by: Option<String>,
    sha256: Option<String>,
}

impl From<&StoredFile> for FileView {
    fn from(file: &StoredFile) -> Self {
        Self {
            id: file.id.0,
            path: file.path.to_string(),
            size_bytes: file.size_bytes,
            state: word(file.state),
            arrived_at: file.arrived_at,
            expires_at: file.expires_at,
            uploaded_by: file.uploaded_by.as_ref().map(ToString::to_string),
            collected_at: file.collected_at,
            collected_by: file.collected_by.as_ref().map(ToString::to_string),
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
    let FileCommand::List { account, path } = command;
    let depot = context.depot().await?;
    let files = depot.registry().list_files(&account, &path.0).await?;
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
    let views: Vec<_> = files.iter().map(FileView::from).collect();
    for view in &views {
        let expiry = match view.expires_at {
            Some(at) if at <= now => Cell::toned(format!("{at} (due)"), Tone::Notice),
            at => Cell::or_dash(at),
        };
        table.row([
            Cell::from(view.path.as_str()),
            Cell::from(ByteSize(view.size_bytes).to_string()),
            Cell::from(view.state),
            Cell::or_dash(view.arrived_at),
            expiry,
            Cell::or_dash(view.uploaded_by.as_ref()),
            Cell::or_dash(view.collected_at),
        ]);
    }
    context.out.list(
        &views,
        &table,
        &format!("account `{account}` has no files in {}", path.0),
    )?;
    depot.close().await;
    Ok(())
}
