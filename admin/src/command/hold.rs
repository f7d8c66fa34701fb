//! `layover retention hold`.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::Path;

use layover_depot::{Depot, Hold, HoldId, Operator, PathTexts, Registry, VirtualPath};
use layover_retention::Timestamp;
use serde::Serialize;

use super::file::place;
use super::key::text_of_file;
use super::view::files_moved_text;
use crate::cli::FilesOf;
use crate::cli::retention::HoldCommand;
use crate::context::Context;
use crate::error::CliError;
use crate::output::{Cell, Table, Tone, note};

#[derive(Debug, Serialize)]
struct HoldView {
    id: i64,
    home: String,
    scope: &'static str,
    #[serde(flatten)]
    path: PathTexts,
    reason: String,
    until: Timestamp,
    state: &'static str,
    proposed_at: Timestamp,
    active_at: Option<Timestamp>,
    released_at: Option<Timestamp>,
    released_why: Option<String>,
    approvals: Vec<ApprovalView>,
    /// Stored files under it.
    files: u64,
    statement: String,
}

#[derive(Debug, Serialize)]
struct ApprovalView {
    operator: String,
    fingerprint: String,
    at: Timestamp,
    /// Whether that key is no operator's any more; told by `list`.
    #[serde(skip_serializing_if = "Option::is_none")]
    operator_removed: Option<bool>,
}

impl ApprovalView {
    /// A name may be another person's by now: the key says whose it is.
    fn mark(&mut self, operators: &[Operator]) {
        let mut keys = operators.iter().map(|operator| &operator.fingerprint);
        self.operator_removed = Some(!keys.any(|key| *key == self.fingerprint));
    }

    fn shown(&self) -> String {
        match self.operator_removed {
            Some(true) => format!("{} (removed)", self.operator),
            _ => self.operator.clone(),
        }
    }
}

impl From<&Hold> for HoldView {
    fn from(hold: &Hold) -> Self {
        let approvals = hold.approvals.iter().map(|approval| ApprovalView {
            operator: approval.operator.clone(),
            fingerprint: approval.fingerprint.clone(),
            at: approval.at,
            operator_removed: None,
        });
        Self {
            id: hold.id.0,
            home: hold.home.to_string(),
            scope: hold.scope.as_str(),
            path: PathTexts::from(&hold.path),
            reason: hold.reason.clone(),
            until: hold.until,
            state: hold.state.as_str(),
            proposed_at: hold.proposed_at,
            active_at: hold.active_at,
            released_at: hold.released_at,
            released_why: hold.released_why.clone(),
            approvals: approvals.collect(),
            files: hold.files,
            statement: hold.statement.clone(),
        }
    }
}

pub(super) async fn run(
    context: &mut Context,
    depot: &Depot,
    command: HoldCommand,
) -> Result<(), CliError> {
    let registry = depot.registry();
    match command {
        HoldCommand::Add {
            of,
            reason,
            until,
            out,
        } => {
            let until = until.end_to_come(context.clock.now());
            add(context, registry, of, &reason, until, out.as_deref()).await
        }
        HoldCommand::Statement {
            id,
            release: _,
            reason,
            out,
        } => {
            let hold = registry.hold(HoldId(id)).await?;
            let statement = match reason {
                Some(reason) => hold.release_statement(&reason),
                None => hold.statement,
            };
            write_statement(&statement, out.as_deref())
        }
        HoldCommand::Approve { id, signature } => {
            approve(context, registry, HoldId(id), &signature).await
        }
        HoldCommand::List { account, home } => {
            let home = match (home, account) {
                (Some(home), _) => Some(home),
                (None, Some(account)) => Some(registry.account(&account).await?.home),
                (None, None) => None,
            };
            let holds = registry.list_holds(home.as_ref()).await?;
            list(context, &holds, &registry.list_operators().await?)
        }
        HoldCommand::Release {
            id,
            reason,
            signature,
        } => {
            let signature = text_of_file(&signature)?;
            let moved = registry
                .release_hold(&context.actor, HoldId(id), &reason, &signature)
                .await?;
            let hold = registry.hold(HoldId(id)).await?;
            let sentence = format!("hold {id} is released; {}", files_moved_text(moved));
            Ok(context.out.done(&HoldView::from(&hold), &sentence)?)
        }
    }
}

async fn add(
    context: &mut Context,
    registry: &Registry,
    of: FilesOf,
    reason: &str,
    until: Timestamp,
    out: Option<&Path>,
) -> Result<(), CliError> {
    let (home, path) = place(registry, of).await?;
    let path = path.unwrap_or_else(VirtualPath::root);
    let hold = registry
        .propose_hold(&context.actor, &home, &path, reason, until)
        .await?;
    if context.out.is_json() {
        if out.is_some() {
            write_statement(&hold.statement, out)?;
        }
        return Ok(context.out.done(&HoldView::from(&hold), "")?);
    }
    write_statement(&hold.statement, out)?;
    note(&format!(
        "hold {} on `{}` in home `{}` is proposed and holds nothing yet; two operators sign its \
         statement: ssh-keygen -Y sign -n layover-hold -f KEY FILE, then: layover retention hold \
         approve {} --signature FILE.sig",
        hold.id,
        PathTexts::from(&hold.path),
        hold.home,
        hold.id
    ));
    Ok(())
}

async fn approve(
    context: &mut Context,
    registry: &Registry,
    id: HoldId,
    signature: &Path,
) -> Result<(), CliError> {
    let signature = text_of_file(signature)?;
    let approved = registry
        .approve_hold(&context.actor, id, &signature)
        .await?;
    let (operator, hold) = (&approved.operator, &approved.hold);
    let sentence = if approved.is_active() {
        format!(
            "approved by operator `{operator}`: hold {id} is active until {}, on {} files and what \
             comes under it",
            hold.until, hold.files
        )
    } else {
        format!("approved by operator `{operator}`: hold {id} needs another operator's signature")
    };
    Ok(context.out.done(&HoldView::from(hold), &sentence)?)
}

fn list(context: &mut Context, holds: &[Hold], operators: &[Operator]) -> Result<(), CliError> {
    let mut table = Table::new([
        "HOLD",
        "STATE",
        "HOME",
        "SCOPE",
        "PATH",
        "UNTIL",
        "FILES",
        "APPROVED BY",
        "REASON",
    ]);
    let mut views: Vec<_> = holds.iter().map(HoldView::from).collect();
    for approval in views.iter_mut().flat_map(|view| &mut view.approvals) {
        approval.mark(operators);
    }
    for view in &views {
        let approved_by: Vec<_> = view.approvals.iter().map(ApprovalView::shown).collect();
        let state = match view.state {
            "active" => Cell::toned(view.state, Tone::Notice),
            state => Cell::from(state),
        };
        table.row([
            Cell::from(view.id.to_string()),
            state,
            Cell::from(view.home.as_str()),
            Cell::from(view.scope),
            Cell::from(view.path.to_string()),
            Cell::from(view.until.to_string()),
            Cell::from(view.files.to_string()),
            Cell::from(approved_by.join(" ")),
            Cell::from(view.reason.as_str()),
        ]);
    }
    Ok(context.out.list(&views, &table, "no holds")?)
}

/// Writes what is to be signed exactly as it is: nothing may be escaped.
fn write_statement(statement: &str, out: Option<&Path>) -> Result<(), CliError> {
    let Some(file) = out else {
        io::stdout().lock().write_all(statement.as_bytes())?;
        return Ok(());
    };
    let fault = |source| CliError::ExportFile {
        file: file.to_owned(),
        source,
    };
    let opened = OpenOptions::new().write(true).create_new(true).open(file);
    opened
        .and_then(|mut opened| opened.write_all(statement.as_bytes()))
        .map_err(fault)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_approval_by_a_key_that_is_no_operators_any_more_is_marked() {
        let approval = || ApprovalView {
            operator: "anna".to_owned(),
            fingerprint: "SHA256:old".to_owned(),
            at: Timestamp::from_micros(0),
            operator_removed: None,
        };
        let operator = |fingerprint: &str| Operator {
            name: "anna".parse().unwrap(),
            fingerprint: fingerprint.to_owned(),
            public_key: String::new(),
            added_at: Timestamp::from_micros(0),
        };
        for (key, shown) in [("SHA256:old", "anna"), ("SHA256:new", "anna (removed)")] {
            let mut marked = approval();
            marked.mark(&[operator(key)]);
            assert_eq!(marked.shown(), shown);
        }
    }
}
