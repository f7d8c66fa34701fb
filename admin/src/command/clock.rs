//! `layover retention clock`.

use std::time::Duration;

use layover_depot::{Depot, NodeClock};
use layover_retention::{ClockRecord, Timestamp};
use serde::Serialize;

use crate::cli::retention::ClockCommand;
use crate::context::Context;
use crate::error::CliError;
use crate::output::{Cell, Fields, Table, Tone};

/// What is thought of a clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Standing {
    /// It is followed.
    Trusted,
    /// It jumped, and files expire by the earlier time meanwhile.
    InDoubt,
    /// It is too far from the database's: this node deletes nothing.
    Differs,
}

/// A server's clock, for `retention status`, `status` and `clock show`.
#[derive(Clone, Debug, Serialize)]
pub(super) struct ClockView {
    node: String,
    state: Standing,
    /// When the server told it.
    told_at: Timestamp,
    /// By which files expire; that of `told_at`.
    safe_time: Timestamp,
    /// With which files arrive.
    latest_time: Timestamp,
    /// How far the two are apart.
    in_doubt_s: u64,
    doubted_since: Option<Timestamp>,
    wall_clock: Option<Timestamp>,
    /// The wall clock is believed if it keeps pace for so long.
    believed_in_s: Option<u64>,
    ahead_of_database_s: Option<i64>,
    confirmed_by: Option<String>,
}

impl ClockView {
    fn of(clock: NodeClock) -> Self {
        let differs = clock.differs_from_database();
        let record = &clock.record;
        Self {
            state: match record.in_doubt() {
                _ if differs => Standing::Differs,
                Some(_) => Standing::InDoubt,
                None => Standing::Trusted,
            },
            told_at: clock.at,
            safe_time: record.safe,
            latest_time: record.latest,
            in_doubt_s: record.in_doubt().map_or(0, |apart| apart.as_secs()),
            doubted_since: record.doubted_since(),
            wall_clock: record.doubted_wall(),
            believed_in_s: record.believed_in().as_ref().map(Duration::as_secs),
            ahead_of_database_s: clock.ahead_of_database_us.map(|us| us / 1_000_000),
            confirmed_by: clock.confirmed_by,
            node: clock.node,
        }
    }

    /// What a person must know of it; `None` while all is well.
    fn warning(&self) -> Option<String> {
        let node = &self.node;
        match self.state {
            Standing::Trusted => None,
            Standing::Differs => Some(format!(
                "node {node} is {} s ahead of the database and deletes nothing until they agree",
                self.ahead_of_database_s.unwrap_or(0)
            )),
            Standing::InDoubt => {
                let heard = match &self.confirmed_by {
                    Some(by) => format!("confirmed by {by}, the server has not heard it yet"),
                    None => format!(
                        "believed in {} s, or after `layover retention clock confirm`",
                        self.believed_in_s.unwrap_or(0)
                    ),
                };
                let wall = self.wall_clock.unwrap_or(self.latest_time);
                Some(format!(
                    "node {node} jumped to {wall}: files expire by {} until it is {heard}",
                    self.safe_time
                ))
            }
        }
    }
}

/// Every server's clock.
pub(super) async fn views(depot: &Depot) -> Result<Vec<ClockView>, CliError> {
    let clocks = depot.registry().clocks().await?;
    Ok(clocks.into_iter().map(ClockView::of).collect())
}

/// The lines of `retention status` and `status`: none while all is well.
pub(super) fn add_warnings(fields: &mut Fields, views: &[ClockView]) {
    for warning in views.iter().filter_map(ClockView::warning) {
        fields.add("clock", Cell::toned(warning, Tone::Alarm));
    }
}

pub(super) async fn run(
    context: &mut Context,
    depot: &Depot,
    command: ClockCommand,
) -> Result<(), CliError> {
    match command {
        ClockCommand::Show => show(context, depot).await,
        ClockCommand::Confirm { reason, node } => confirm(context, depot, &reason, node).await,
    }
}

async fn show(context: &mut Context, depot: &Depot) -> Result<(), CliError> {
    let views = views(depot).await?;
    let mut table = Table::new(["NODE", "CLOCK", "FILES EXPIRE BY", "WALL CLOCK", "NOTE"]);
    for view in &views {
        let (word, tone) = match view.state {
            Standing::Trusted => ("trusted", Tone::Good),
            Standing::InDoubt => ("in doubt", Tone::Alarm),
            Standing::Differs => ("differs", Tone::Alarm),
        };
        table.row([
            Cell::from(view.node.as_str()),
            Cell::toned(word.to_owned(), tone),
            Cell::from(view.safe_time.to_string()),
            Cell::from(view.wall_clock.unwrap_or(view.latest_time).to_string()),
            Cell::or_dash(view.warning()),
        ]);
    }
    context.out.list(&views, &table, "no server has run yet")?;
    Ok(())
}

#[derive(Debug, Serialize)]
struct Confirmed {
    nodes: Vec<String>,
}

async fn confirm(
    context: &mut Context,
    depot: &Depot,
    reason: &str,
    node: Option<String>,
) -> Result<(), CliError> {
    let registry = depot.registry();
    let in_doubt = |record: &ClockRecord| record.in_doubt().is_some();
    let mut doubted: Vec<String> = registry
        .clocks()
        .await?
        .into_iter()
        .filter(|clock| in_doubt(&clock.record))
        .map(|clock| clock.node)
        .collect();
    if let Some(wanted) = &node {
        doubted.retain(|found| found == wanted);
    }
    if doubted.is_empty() {
        return Err(CliError::NoClockInDoubt { node });
    }
    for node in &doubted {
        registry.confirm_clock(&context.actor, node, reason).await?;
    }
    let sentence = format!(
        "the clock of {} is confirmed; a running server believes it within seconds",
        doubted.join(", ")
    );
    context.out.done(&Confirmed { nodes: doubted }, &sentence)?;
    Ok(())
}
