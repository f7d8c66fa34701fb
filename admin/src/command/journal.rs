//! `layover journal`.

use std::time::Duration;

use layover_depot::{Depot, JournalEntry, JournalFilter, Outcome, timer};
use layover_server::Signals;

use crate::cli::JournalArgs;
use crate::context::Context;
use crate::error::CliError;
use crate::output::{Cell, JsonArray, Tone};
use crate::value::ByteSize;

/// How often `--follow` looks for news.
const FOLLOW_EVERY: Duration = Duration::from_millis(500);

/// Entries read from the database at once.
const PAGE: usize = 500;

/// An entry for people.
fn row(entry: &JournalEntry) -> [Cell; 9] {
    let tone = match entry.outcome {
        Outcome::Ok => Tone::Plain,
        Outcome::Refused => Tone::Notice,
        Outcome::Failed => Tone::Alarm,
    };
    let detail: Vec<_> = entry
        .detail
        .iter()
        .map(|(name, value)| format!("{name}={}", shown(value)))
        .collect();
    [
        Cell::from(entry.at.to_string()),
        Cell::from(entry.kind.as_str()),
        Cell::from(entry.action.as_str()),
        Cell::toned(entry.outcome.as_str(), tone),
        Cell::or_dash(entry.account.as_ref()),
        Cell::or_dash(entry.peer),
        Cell::or_dash(entry.path.as_ref()),
        Cell::or_dash(entry.size_bytes.map(ByteSize)),
        Cell::from(detail.join(" ")),
    ]
}

/// A text without its quotes, anything else as JSON.
fn shown(value: &serde_json::Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), ToOwned::to_owned)
}

pub(super) async fn run(context: &mut Context, arguments: JournalArgs) -> Result<(), CliError> {
    let depot = context.depot().await?;
    let mut filter = JournalFilter {
        account: arguments.account.as_ref().map(ToString::to_string),
        since: arguments
            .since
            .map(|since| since.before(context.clock.now())),
        kind: arguments.kind,
        after_id: None,
        limit: PAGE,
    };
    if arguments.follow {
        follow(context, &depot, &mut filter).await?;
    } else {
        let mut array = JsonArray::Empty;
        print_news(context, &depot, &mut filter, &mut array).await?;
        context.out.end_stream(&array)?;
    }
    depot.close().await;
    Ok(())
}

/// Prints what there is, then what happens, until a signal or until nobody
/// reads any more.
async fn follow(
    context: &mut Context,
    depot: &Depot,
    filter: &mut JournalFilter,
) -> Result<(), CliError> {
    let mut signals = Signals::take_over().map_err(|source| CliError::Signals { source })?;
    loop {
        print_news(context, depot, filter, &mut JsonArray::Lines).await?;
        tokio::select! {
            _ = signals.next() => return Ok(()),
            () = timer::sleep(FOLLOW_EVERY) => {}
        }
        if context.out.reader_is_gone() {
            return Ok(());
        }
    }
}

/// Prints every entry after `filter.after_id` and moves it behind the last.
async fn print_news(
    context: &mut Context,
    depot: &Depot,
    filter: &mut JournalFilter,
    array: &mut JsonArray,
) -> Result<(), CliError> {
    loop {
        let entries = depot.journal().query(filter).await?;
        for entry in &entries {
            context.out.stream(array, entry, &row(entry))?;
            filter.after_id = Some(entry.id);
        }
        if entries.len() < PAGE {
            return Ok(());
        }
    }
}
