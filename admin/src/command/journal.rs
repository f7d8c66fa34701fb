//! `layover journal`.

use std::time::Duration;

use layover_depot::{
    AccountName, Depot, JournalEntry, JournalFilter, JournalKind, Outcome, RegistryError, timer,
};
use layover_retention::ChainName;
use layover_server::Signals;

use super::evidence;
use crate::cli::{JournalArgs, JournalCommand};
use crate::context::Context;
use crate::error::CliError;
use crate::output::{Cell, JsonArray, Tone, note};
use crate::value::ByteSize;

/// How often `--follow` looks for news.
const FOLLOW_EVERY: Duration = Duration::from_millis(500);

/// Entries shown when nobody says how many: a list, and a follower's first look
/// (as `tail -f`).
const LIST: u64 = 100;
const FOLLOW_FROM: u64 = 10;

/// `--limit 0`.
const ALL: u64 = 0;

/// Entries read from the database at once.
const PAGE: usize = 500;

/// An entry for people.
fn row(entry: &JournalEntry) -> [Cell; 9] {
    let tone = match entry.outcome {
        Outcome::Ok => Tone::Plain,
        Outcome::Refused => Tone::Notice,
        Outcome::Failed | Outcome::Missing => Tone::Alarm,
    };
    // What an operator looks for first; what was agreed upon can be long.
    let (first, others): (Vec<_>, Vec<_>) = entry
        .detail
        .iter()
        .partition(|(name, _)| matches!(name.as_str(), "reason" | "why"));
    let details = first
        .into_iter()
        .chain(others)
        .map(|(name, value)| format!("{name}={}", shown(value)));
    let detail: Vec<_> = object(entry).into_iter().chain(details).collect();
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

/// A text without its quotes where it cannot be taken for several details,
/// anything else as JSON.
fn shown(value: &serde_json::Value) -> String {
    let is_plain = |text: &&str| !text.contains(|c: char| c.is_whitespace() || "=\"".contains(c));
    value
        .as_str()
        .filter(is_plain)
        .map_or_else(|| value.to_string(), ToOwned::to_owned)
}

/// What an entry is about, where no column says it: the entity of an act
/// without an account, the session that an operator ended.
fn object(entry: &JournalEntry) -> Vec<String> {
    let entity = entry
        .entity
        .as_ref()
        .filter(|_| entry.account.is_none())
        .map(|entity| format!("entity={entity}"));
    let session = entry
        .session
        .as_ref()
        .filter(|_| entry.kind == JournalKind::Admin)
        .map(|session| format!("session={session}"));
    entity.into_iter().chain(session).collect()
}

pub(super) async fn run(context: &mut Context, arguments: JournalArgs) -> Result<(), CliError> {
    let depot = context.depot().await?;
    if let Some(command) = &arguments.command {
        let result = match command {
            JournalCommand::Verify { public_key } => {
                evidence::verify(context, &depot, public_key).await
            }
            JournalCommand::Export { out } => {
                evidence::export(context, &depot, ChainName::Journal, out).await
            }
        };
        depot.close().await;
        return result;
    }
    if let Some(account) = &arguments.account {
        check_account(&depot, account).await?;
    }
    let mut filter = JournalFilter {
        account: arguments.account.as_ref().map(ToString::to_string),
        since: arguments
            .since
            .map(|since| since.start(context.clock.now())),
        until: arguments.until.map(|until| until.end(context.clock.now())),
        kind: arguments.kind,
        home: arguments.home,
        below: arguments.path.map(|path| path.0),
        integration: arguments.integration,
        after_id: None,
        limit: PAGE,
    };
    let limit = match (arguments.limit, arguments.since, arguments.follow) {
        (Some(limit), _, _) => limit,
        (None, Some(_), _) => ALL,
        (None, None, true) => FOLLOW_FROM,
        (None, None, false) => LIST,
    };
    if limit != ALL {
        filter.after_id = depot.journal().before_newest(&filter, limit).await?;
    }
    if arguments.follow {
        follow(context, &depot, &mut filter).await?;
    } else {
        let mut array = JsonArray::Empty;
        let cut = filter.after_id.is_some() && arguments.limit.is_none();
        let rows = print_news(context, &depot, &mut filter, &mut array).await?;
        context
            .out
            .end_stream(&array, rows, "no such entries in the journal")?;
        if cut {
            note("these are the newest; `--limit 0` shows all");
        }
    }
    depot.close().await;
    Ok(())
}

/// A name that neither an account nor any entry has is a slip of the fingers.
async fn check_account(depot: &Depot, account: &AccountName) -> Result<(), CliError> {
    match depot.registry().account(account).await {
        Err(RegistryError::UnknownAccount { .. }) => {}
        known => return Ok(known.map(drop)?),
    }
    let any = JournalFilter {
        account: Some(account.to_string()),
        limit: 1,
        ..JournalFilter::default()
    };
    if depot.journal().query(&any).await?.is_empty() {
        return Err(CliError::NothingOfAccount {
            account: account.clone(),
        });
    }
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

/// Prints every entry after `filter.after_id` and moves it behind the last;
/// tells how many these were.
async fn print_news(
    context: &mut Context,
    depot: &Depot,
    filter: &mut JournalFilter,
    array: &mut JsonArray,
) -> Result<u64, CliError> {
    let mut rows = 0;
    loop {
        let entries = depot.journal().query(filter).await?;
        for entry in &entries {
            context.out.stream(array, entry, &row(entry))?;
            filter.after_id = Some(entry.id);
            rows += 1;
        }
        if entries.len() < PAGE {
            return Ok(rows);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // A client chooses its version and its file names.
    #[test]
    fn a_detail_cannot_pass_for_several() {
        for (value, expected) in [
            ("OpenSSH_9.2", "OpenSSH_9.2"),
            ("a account=root", "\"a account=root\""),
            ("a\"b", "\"a\\\"b\""),
        ] {
            assert_eq!(shown(&serde_json::json!(value)), expected);
        }
        assert_eq!(shown(&serde_json::json!(5)), "5");
    }
}
