//! `layover integration list-files`: a folder on a partner's server, entry by entry as
//! they arrive: nothing is collected.

use std::ops::ControlFlow;

use layover_client::partner::remote_path;
use layover_client::{Entry, EntryKind, Listed, Modified, Partner, Precision};
use layover_depot::{IntegrationName, LocationName, Registry};
use serde::Serialize;

use super::used;
use crate::context::Context;
use crate::error::CliError;
use crate::output::{Cell, JsonArray, Output, Tone, note};

#[derive(Debug, Serialize)]
struct EntryView {
    /// As text; bytes that are none as `\x..`.
    name: String,
    /// The bytes, where they are no text.
    #[serde(skip_serializing_if = "Option::is_none")]
    name_hex: Option<String>,
    kind: &'static str,
    size_bytes: Option<u64>,
    modified: Option<String>,
    /// How exactly the server says when: `second`, `minute`, `day`.
    precision: Option<&'static str>,
}

#[derive(Debug, Serialize)]
struct RefusedView {
    refused: String,
    why: &'static str,
}

pub(super) async fn run(
    context: &mut Context,
    registry: &Registry,
    name: &IntegrationName,
    location: &LocationName,
) -> Result<(), CliError> {
    let integration = registry.integration(name).await?;
    let path = used::location(&integration, location)?.path.clone();
    let surroundings = context.surroundings()?;
    used::warn_of_dangers(&integration);
    let partner = Partner::prepare(registry, integration, &surroundings).await?;
    let listed = list(&mut context.out, &partner, &path).await;
    used::settle(context, registry, &partner).await?;
    let counts = listed?;
    if counts.refused > 0 {
        note(&format!(
            "warning: {} of {} lines cannot be used; each says why",
            counts.refused,
            counts.refused + counts.entries
        ));
    }
    Ok(())
}

#[derive(Default)]
struct Counts {
    entries: u64,
    refused: u64,
}

async fn list(
    out: &mut Output,
    partner: &Partner,
    path: &layover_depot::LocationPath,
) -> Result<Counts, CliError> {
    let failed = |error| used::remote_error(&error, partner);
    let path = remote_path(path).map_err(failed)?;
    let mut connection = partner.connect().await.map_err(failed)?;
    let mut array = JsonArray::Empty;
    let mut counts = Counts::default();
    let mut printed = Ok(());
    let listed = connection
        .remote()
        .list(&path, &mut |listed| {
            match &listed {
                Listed::Entry(_) => counts.entries += 1,
                Listed::Refused { .. } => counts.refused += 1,
            }
            printed = print(out, &mut array, &listed);
            match printed {
                Ok(()) => ControlFlow::Continue(()),
                // Nobody reads any more.
                Err(_) => ControlFlow::Break(()),
            }
        })
        .await;
    printed?;
    let rows = counts.entries + counts.refused;
    // Of a folder that cannot be listed nobody knows what is there. JSON is ended all the same.
    if listed.is_ok() || rows > 0 || out.is_json() {
        out.end_stream(&array, rows, "nothing is there")?;
    }
    listed.map_err(failed)?;
    // A server that hangs up instead of saying farewell does no harm.
    drop(connection.close().await);
    Ok(counts)
}

fn print(out: &mut Output, array: &mut JsonArray, listed: &Listed) -> std::io::Result<()> {
    match listed {
        Listed::Entry(entry) => {
            let view = EntryView::new(entry);
            let size = view
                .size_bytes
                .map_or_else(|| "-".to_owned(), |size| size.to_string());
            let modified = view.modified.clone().unwrap_or_else(|| "-".to_owned());
            let row = [
                Cell::from(format!("{:4}", view.kind)),
                Cell::from(format!("{size:>13}")),
                Cell::from(format!("{modified:20}")),
                Cell::from(view.name.as_str()),
            ];
            out.stream(array, &view, &row)
        }
        Listed::Refused { raw, why } => {
            let view = RefusedView {
                refused: shown(raw),
                why,
            };
            let row = [
                Cell::toned("REFUSED", Tone::Alarm),
                Cell::from(view.refused.as_str()),
                Cell::from(*why),
            ];
            out.stream(array, &view, &row)
        }
    }
}

impl EntryView {
    fn new(entry: &Entry) -> Self {
        let bytes = entry.name.as_bytes();
        let is_text = std::str::from_utf8(bytes).is_ok();
        Self {
            name: entry.name.to_string(),
            name_hex: (!is_text).then(|| bytes.iter().map(|byte| format!("{byte:02x}")).collect()),
            kind: match entry.kind {
                EntryKind::File => "file",
                EntryKind::Directory => "dir",
                EntryKind::Other => "else",
            },
            size_bytes: entry.size_bytes,
            modified: entry.modified.map(when),
            precision: entry.modified.map(|modified| match modified.precision {
                Precision::Day => "day",
                Precision::Minute => "minute",
                Precision::Second => "second",
            }),
        }
    }
}

/// As exactly as the server said it.
fn when(modified: Modified) -> String {
    let format = match modified.precision {
        Precision::Day => "%Y-%m-%d",
        Precision::Minute => "%Y-%m-%dT%H:%MZ",
        Precision::Second => "%Y-%m-%dT%H:%M:%SZ",
    };
    modified.at.strftime(format).to_string()
}

/// A line that is no text, without what would move the cursor.
fn shown(raw: &[u8]) -> String {
    let shown = |character: char| match character.is_control() {
        true => character.escape_default().to_string(),
        false => character.to_string(),
    };
    String::from_utf8_lossy(raw).chars().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use layover_client::{RemoteName, ServerSystem};

    use super::*;

    #[test]
    fn a_date_is_shown_as_exactly_as_the_server_said_it() {
        let at = "2026-05-01T10:20:30Z".parse().unwrap();
        for (precision, text) in [
            (Precision::Day, "2026-05-01"),
            (Precision::Minute, "2026-05-01T10:20Z"),
            (Precision::Second, "2026-05-01T10:20:30Z"),
        ] {
            let modified = Modified {
                at,
                precision,
                day_at: None,
            };
            assert_eq!(when(modified), text);
        }
    }

    #[test]
    fn a_name_that_is_no_text_keeps_its_bytes() {
        let entry = |name: &[u8]| Entry {
            name: RemoteName::new(ServerSystem::Unix, name).unwrap(),
            kind: EntryKind::File,
            size_bytes: None,
            modified: None,
        };
        assert_eq!(EntryView::new(&entry(b"a.csv")).name_hex, None);
        let view = EntryView::new(&entry(b"a\xff"));
        assert_eq!(
            (view.name.as_str(), view.name_hex.as_deref()),
            ("a\\xff", Some("61ff"))
        );
        assert_eq!(shown(b"..\x1b[2J"), "..\\u{1b}[2J");
    }
}
