//! `layover retention`.

use std::io;

use layover_depot::{
    Depot, DiskRoom, FailingFile, ForecastQuestion, JobRun, PathTexts, RetentionStatus,
};
use layover_retention::{ChainName, DueShelf, Keep, SweepReport, Timestamp, sweep};
use layover_server::{SWEEP_BUDGET, SWEEP_JOB};
use serde::Serialize;

use super::clock::{self, ClockView};
use super::{evidence, folder, hold};
use crate::cli::retention::{CertificatesCommand, RetentionCommand};
use crate::context::Context;
use crate::error::CliError;
use crate::output::{Cell, Fields, JsonArray, Table, Tone};
use crate::value::ByteSize;

/// Due files read from the database at once.
const PAGE: usize = 500;

#[derive(Debug, Serialize)]
struct StatusView {
    keep: Keep,
    max_keep: Keep,
    partial_keep: Keep,
    sweep_every: String,
    #[serde(flatten)]
    status: RetentionStatus,
    failing: Vec<FailingFile>,
    clocks: Vec<ClockView>,
    disks: Vec<DiskRoom>,
}

/// Files that could not be deleted and are shown one by one.
const MAX_FAILING: usize = 20;

pub(super) async fn run(context: &mut Context, command: RetentionCommand) -> Result<(), CliError> {
    let depot = context.depot().await?;
    let result = match command {
        RetentionCommand::Forecast {
            within,
            if_keep,
            files,
        } => {
            let question = ForecastQuestion {
                until: context.clock.now().saturating_add(within.as_duration()),
                if_keep,
            };
            if files {
                forecast_files(context, &depot, &question).await
            } else {
                forecast(context, &depot, &question).await
            }
        }
        RetentionCommand::Verify { file, public_key } => {
            evidence::verify_file(&file, &public_key, context.out.is_json())
        }
        RetentionCommand::Certificates(CertificatesCommand::Export { out }) => {
            evidence::export(context, &depot, ChainName::Certificates, &out).await
        }
        RetentionCommand::PublicKey => evidence::public_keys(context, &depot).await,
        RetentionCommand::Clock(command) => clock::run(context, &depot, command).await,
        RetentionCommand::Folder(command) => folder::run(context, &depot, command).await,
        RetentionCommand::Hold(command) => hold::run(context, &depot, command).await,
        RetentionCommand::Status => status(context, &depot).await,
        RetentionCommand::Sweep { dry_run: true } => list_due(context, &depot).await,
        RetentionCommand::Sweep { dry_run: false } => sweep_now(context, &depot).await,
    };
    depot.close().await;
    result
}

async fn status(context: &mut Context, depot: &Depot) -> Result<(), CliError> {
    let status = depot.registry().retention_status().await?;
    let rule = context.rule;
    let view = StatusView {
        keep: rule.keep,
        max_keep: rule.max_keep,
        partial_keep: rule.partial_keep,
        sweep_every: context.settings.retention.sweep_every.to_string(),
        status,
        failing: depot.shelf().failing(MAX_FAILING).await?,
        clocks: clock::views(depot).await?,
        disks: depot.disk_room().await?,
    };
    let mut fields = Fields::new();
    fields.add(
        "rule",
        format!("{} after arrival, at most {}", view.keep, view.max_keep),
    );
    fields.add(
        "interrupted uploads",
        format!("{} after they were last touched", view.partial_keep),
    );
    fields.add("sweep every", view.sweep_every.as_str());
    add_status(&mut fields, &view.status);
    add_disks(&mut fields, &view.disks);
    clock::add_warnings(&mut fields, &view.clocks);
    for file in &view.failing {
        let text = format!(
            "{}:{} {} tries since {}, again at {}: {}",
            file.home, file.path, file.failures, file.first_at, file.retry_at, file.cause
        );
        fields.add("cannot be deleted", Cell::toned(text, Tone::Alarm));
    }
    context.out.fields(&view, &fields)?;
    Ok(())
}

/// Where there is no room for uploads.
pub(super) fn add_disks(fields: &mut Fields, disks: &[DiskRoom]) {
    for warning in disks.iter().filter_map(DiskRoom::warning) {
        fields.add("disk", Cell::toned(warning, Tone::Alarm));
    }
}

/// The fields that `status` shows, too.
pub(super) fn add_status(fields: &mut Fields, status: &RetentionStatus) {
    fields.add(
        "stored",
        format!(
            "{} files, {}",
            status.stored_files,
            ByteSize(status.stored_bytes)
        ),
    );
    let due = match status.due_files {
        0 => Cell::from("nothing"),
        files => Cell::toned(
            format!(
                "{files} files, the oldest for {} s",
                status.oldest_overdue_s
            ),
            Tone::Notice,
        ),
    };
    fields.add("due now", due);
    if status.missing_files > 0 {
        let files = format!("{} files were gone before their time", status.missing_files);
        fields.add("missing", Cell::toned(files, Tone::Alarm));
    }
    if status.held_files > 0 {
        let end = Cell::or_dash(status.next_hold_end);
        let held = format!(
            "{} files, {}",
            status.held_files,
            ByteSize(status.held_bytes)
        );
        fields.add("held", held);
        fields.add("next end of a hold", end);
    }
    fields.add("next expiry", Cell::or_dash(status.next_expiry));
    let last = status.last_sweep.as_ref();
    fields.add("last sweep", Cell::or_dash(last.map(|run| run.at)));
    let said = |run: &JobRun, what: &str| run.report.get(what).cloned();
    match last.filter(|run| said(run, "more_due") == Some(true.into())) {
        Some(run) => {
            let deleted = said(run, "deleted").and_then(|count| count.as_u64());
            let deleted = deleted.unwrap_or(0);
            let text = format!("{deleted} deleted so far, {} due", status.due_files);
            fields.add("sweep under way", Cell::toned(text, Tone::Notice));
        }
        None => fields.add(
            "next sweep",
            Cell::or_dash(last.and_then(|run| run.next_due_at)),
        ),
    }
    fields.add(
        "tree compared with the ledger",
        Cell::or_dash(status.last_reconcile.as_ref().map(|run| {
            match said(run, "dirs_left").and_then(|left| left.as_u64()) {
                Some(left) if left > 0 => format!("{}, {left} folders left", run.at),
                _ => run.at.to_string(),
            }
        })),
    );
}

async fn forecast(
    context: &mut Context,
    depot: &Depot,
    question: &ForecastQuestion,
) -> Result<(), CliError> {
    let accounts = depot.shelf().forecast(question).await?;
    let mut table = Table::new(["HOME", "ACCOUNT", "FILES", "SIZE", "FIRST", "HELD"]);
    for of in &accounts {
        table.row([
            Cell::from(of.home.as_str()),
            Cell::or_dash(of.account.as_ref()),
            Cell::from(of.files.to_string()),
            Cell::from(ByteSize(of.size_bytes).to_string()),
            Cell::from(of.first_expiry.to_string()),
            Cell::or_dash(of.held_until.map(|until| {
                let (files, bytes) = (of.held_files, ByteSize(of.held_bytes));
                format!("{files} files, {bytes}, the first until {until}")
            })),
        ]);
    }
    let nothing = format!("nothing goes until {}", question.until);
    context.out.list(&accounts, &table, &nothing)?;
    Ok(())
}

async fn forecast_files(
    context: &mut Context,
    depot: &Depot,
    question: &ForecastQuestion,
) -> Result<(), CliError> {
    let mut array = JsonArray::Empty;
    let mut after = None;
    let mut rows = 0;
    loop {
        let page = depot.shelf().forecast_files(question, after, PAGE).await?;
        for file in &page {
            let end = match file.held_until {
                Some(until) => Cell::toned(format!("held until {until}"), Tone::Notice),
                None => Cell::from(file.expires_at.to_string()),
            };
            let row = [
                Cell::from(file.home.as_str()),
                Cell::or_dash(file.account.as_ref()),
                Cell::from(PathTexts::from(&file.path).to_string()),
                Cell::from(ByteSize(file.size_bytes).to_string()),
                end,
                Cell::from(file.collected_at.map_or_else(
                    || "never collected".to_owned(),
                    |at| format!("collected {at}"),
                )),
            ];
            context.out.stream(&mut array, file, &row)?;
            after = Some((file.expires_at, file.id));
            rows += 1;
        }
        if page.len() < PAGE {
            let nothing = format!("nothing goes until {}", question.until);
            context.out.end_stream(&array, rows, &nothing)?;
            return Ok(());
        }
    }
}

#[derive(Debug, Serialize)]
struct DueView {
    id: i64,
    home: String,
    #[serde(flatten)]
    path: PathTexts,
    size_bytes: u64,
    expires_at: Timestamp,
}

async fn list_due(context: &mut Context, depot: &Depot) -> Result<(), CliError> {
    let shelf = depot.shelf();
    let now = context.clock.now();
    let mut array = JsonArray::Empty;
    let mut after = None;
    let mut rows = 0;
    loop {
        let page = shelf.due(now, after, PAGE).await?;
        for (cursor, file) in &page {
            let view = DueView {
                id: cursor.file_id,
                home: file.home().to_string(),
                path: PathTexts::from(file.path()),
                size_bytes: file.size_bytes(),
                expires_at: cursor.expires_at,
            };
            let row = [
                Cell::from(view.home.as_str()),
                Cell::from(view.path.to_string()),
                Cell::from(ByteSize(view.size_bytes).to_string()),
                Cell::from(view.expires_at.to_string()),
            ];
            context.out.stream(&mut array, &view, &row)?;
            after = Some(*cursor);
            rows += 1;
        }
        if page.len() < PAGE {
            context.out.end_stream(&array, rows, "nothing is due")?;
            return Ok(());
        }
    }
}

async fn sweep_now(context: &mut Context, depot: &Depot) -> Result<(), CliError> {
    if context.clock_differs() {
        return Err(CliError::ClockDiffers);
    }
    let started_at = context.clock.now();
    depot.shelf().retry_failures().await?;
    depot.shelf().end_holds(started_at).await?;
    let mut total = SweepReport::default();
    loop {
        let report = sweep(depot.shelf(), context.clock.now(), SWEEP_BUDGET).await?;
        let again = report.more_due;
        total.add(report);
        if !again {
            break;
        }
    }
    let report = serde_json::to_value(&total).map_err(io::Error::from)?;
    let run = JobRun {
        at: started_at,
        next_due_at: None,
        report,
    };
    depot.registry().note_job(SWEEP_JOB, &run).await?;
    let sentence = format!(
        "{} files deleted ({}), {} gone before, {} busy, {} failed",
        total.deleted,
        ByteSize(total.deleted_bytes),
        total.already_gone,
        total.busy,
        total.failed
    );
    context.out.done(&total, &sentence)?;
    match total.first_failure {
        Some(first) => Err(CliError::SweepFailed {
            failed: total.failed,
            first,
        }),
        None => Ok(()),
    }
}
