//! `layover stats`: what was transferred in the last days.

mod chart;

use std::io;

use layover_depot::{
    DayOfTransfers, Depot, RegistryError, StatisticsOf, TransferCount, TransferDays,
    TransferFigures,
};
use layover_retention::Timestamp;
use rustix::termios::tcgetwinsize;
use serde::Serialize;

use self::chart::{Bar, Columns, Ink, Paper};
use crate::cli::StatsCommand;
use crate::context::Context;
use crate::error::CliError;
use crate::output::{Cell, Fields, Table, Tone, note};
use crate::value::ByteSize;

/// How similar a name must be to be suggested: 1 is equal.
const SIMILAR: f64 = 0.6;

/// The width where the terminal does not tell one that can be.
const USUAL_WIDTH: u16 = 80;

/// A terminal that says it is narrower says nothing useful.
const MIN_WIDTH: u16 = 40;

/// What `--json` prints: names are a contract.
#[derive(Debug, Serialize)]
struct StatsView {
    of: &'static str,
    name: String,
    entity: String,
    /// `null` while it is there.
    removed_at: Option<Timestamp>,
    time_zone: String,
    from: String,
    to: String,
    requests: u64,
    ok: u64,
    failed: u64,
    /// Between 0 and 1; `null` without requests.
    success_rate: Option<f64>,
    downloads: TransferFigures,
    uploads: TransferFigures,
    downloaded_bytes: u64,
    uploaded_bytes: u64,
    uncounted_entries: u64,
    per_day: Vec<DayOfTransfers>,
}

impl StatsView {
    fn new(of: StatisticsOf<'_>, found: TransferDays) -> Self {
        let (downloads, uploads) = found.sums();
        let ok = downloads.ok.requests.saturating_add(uploads.ok.requests);
        let failed = downloads
            .failed
            .requests
            .saturating_add(uploads.failed.requests);
        let day = |day: Option<&DayOfTransfers>| day.map(|day| day.day.clone());
        Self {
            of: of.of().as_str(),
            name: of.name().to_owned(),
            entity: found.entity,
            removed_at: found.removed_at,
            time_zone: found.time_zone,
            from: day(found.days.first()).unwrap_or_default(),
            to: day(found.days.last()).unwrap_or_default(),
            requests: ok.saturating_add(failed),
            ok,
            failed,
            success_rate: rate(ok, failed),
            downloads,
            uploads,
            downloaded_bytes: downloads.all().size_bytes,
            uploaded_bytes: uploads.all().size_bytes,
            uncounted_entries: found.uncounted_entries,
            per_day: found.days,
        }
    }

    fn fields(&self) -> Fields {
        let mut fields = Fields::new();
        fields.add(self.of, self.name.as_str());
        fields.add("entity", self.entity.as_str());
        if let Some(at) = self.removed_at {
            fields.add("removed", Cell::toned(at.to_string(), Tone::Notice));
        }
        let days = self.per_day.len();
        let span = format!(
            "{} to {} ({days} days, {})",
            self.from, self.to, self.time_zone
        );
        fields.add("days", span);
        fields.add("total requests", self.requests.to_string());
        fields.add("success rate", self.success());
        let count = |count: u64, bytes: u64| format!("{count}, {}", ByteSize(bytes));
        let all = (self.downloads.all(), self.uploads.all());
        fields.add("downloads", count(all.0.requests, all.0.size_bytes));
        fields.add("uploads", count(all.1.requests, all.1.size_bytes));
        fields
    }

    fn success(&self) -> Cell {
        let Some(rate) = self.success_rate else {
            return Cell::from("-");
        };
        let tone = match self.failed {
            0 => Tone::Good,
            _ => Tone::Notice,
        };
        // Never rounded up to what is not so.
        let tenths = (rate * 1_000.0).floor() / 10.0;
        Cell::toned(format!("{tenths:.1} %"), tone)
    }

    /// Requests by type and status: the first of the three graphs.
    fn by_type(&self) -> [(&'static str, &'static str, TransferCount); 4] {
        [
            ("download", "ok", self.downloads.ok),
            ("download", "failed", self.downloads.failed),
            ("upload", "ok", self.uploads.ok),
            ("upload", "failed", self.uploads.failed),
        ]
    }

    fn charts(&self, paper: &Paper) -> Vec<Vec<Cell>> {
        let bars = self.by_type().map(|(way, status, count)| Bar {
            label: format!("{way} {status}"),
            value: count.requests,
            ink: if status == "ok" {
                Ink::First
            } else {
                Ink::Second
            },
        });
        let mut lines = chart::bars("Requests by type and status", &bars, paper);
        let day = |of: fn(&DayOfTransfers) -> (u64, u64)| -> Vec<_> {
            let days = self.per_day.iter();
            days.map(|day| (day.day.as_str(), of(day))).collect()
        };
        let requests = day(|day| {
            let both = (day.downloads, day.uploads);
            let ok = both.0.ok.requests.saturating_add(both.1.ok.requests);
            let failed = both.0.failed.requests;
            (ok, failed.saturating_add(both.1.failed.requests))
        });
        let volumes = day(|day| (day.downloads.all().size_bytes, day.uploads.all().size_bytes));
        lines.push(Vec::new());
        lines.extend(chart::columns(
            &Columns {
                title: "Requests per day",
                parts: ["ok", "failed"],
                days: &requests,
                shown: |count| count.to_string(),
            },
            paper,
        ));
        lines.push(Vec::new());
        lines.extend(chart::columns(
            &Columns {
                title: "Volume per day",
                parts: ["down", "up"],
                days: &volumes,
                shown: |bytes| ByteSize(bytes).to_string(),
            },
            paper,
        ));
        lines
    }

    /// For scripts: types and states first, then the days.
    fn rows(&self) -> Table {
        let mut table = Table::new(["of", "type", "status", "requests", "bytes", "ms"]);
        let mut add = |of: &str, way: &str, status: &str, count: TransferCount| {
            let numbers = [count.requests, count.size_bytes, count.duration_ms];
            let words = [of, way, status].map(Cell::from);
            table.row(
                words
                    .into_iter()
                    .chain(numbers.map(|n| Cell::from(n.to_string()))),
            );
        };
        for (way, status, count) in self.by_type() {
            add("all", way, status, count);
        }
        for day in &self.per_day {
            for (way, figures) in [("download", &day.downloads), ("upload", &day.uploads)] {
                add(&day.day, way, "ok", figures.ok);
                add(&day.day, way, "failed", figures.failed);
            }
        }
        table
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a rate of counts beyond 2^53 is as good"
)]
fn rate(ok: u64, failed: u64) -> Option<f64> {
    let all = ok.saturating_add(failed);
    (all > 0).then(|| ok as f64 / all as f64)
}

pub(super) async fn run(context: &mut Context, command: StatsCommand) -> Result<(), CliError> {
    let depot = context.depot().await?;
    let done = show(context, &depot, command).await;
    depot.close().await;
    done
}

async fn show(context: &mut Context, depot: &Depot, command: StatsCommand) -> Result<(), CliError> {
    let (of, days) = match &command {
        StatsCommand::Account { name, window } => (StatisticsOf::Account(name), window.days),
        StatsCommand::Integration { name, window } => {
            (StatisticsOf::Integration(name), window.days)
        }
    };
    let statistics = depot.statistics();
    let found = statistics.last_days(of, days).await;
    let Some(found) = found.map_err(RegistryError::from)? else {
        return Err(unknown(depot, of).await?);
    };
    let view = StatsView::new(of, found);
    if view.uncounted_entries > 0 {
        note(&format!(
            "about {} entries of the journal are not counted yet: a running server counts them \
             within minutes",
            view.uncounted_entries
        ));
    }
    let out = &mut context.out;
    if out.is_json() {
        out.fields(&view, &Fields::new())?;
        return Ok(());
    }
    out.fields(&view, &view.fields())?;
    if out.is_terminal() {
        out.line("")?;
        out.drawing(&view.charts(&paper()))?;
    } else {
        out.list(&view, &view.rows(), "")?;
    }
    Ok(())
}

fn paper() -> Paper {
    let width = tcgetwinsize(io::stdout()).map_or(USUAL_WIDTH, |size| size.ws_col);
    let width = if width < MIN_WIDTH {
        USUAL_WIDTH
    } else {
        width
    };
    let variables = ["LC_ALL", "LC_CTYPE", "LANG"];
    let mut said = variables
        .iter()
        .filter_map(std::env::var_os)
        .filter(|text| !text.is_empty());
    let is_utf8 = said.next().is_some_and(|locale| {
        let locale = locale.to_string_lossy().to_ascii_lowercase();
        locale.contains("utf-8") || locale.contains("utf8")
    });
    Paper {
        width: usize::from(width),
        is_utf8,
    }
}

/// Nobody has the name, and nobody had it; the one that was meant, perhaps.
async fn unknown(depot: &Depot, of: StatisticsOf<'_>) -> Result<CliError, CliError> {
    let registry = depot.registry();
    let names: Vec<String> = match of {
        StatisticsOf::Account(_) => {
            let accounts = registry.list_accounts().await?;
            accounts.iter().map(|one| one.name.to_string()).collect()
        }
        StatisticsOf::Integration(_) => {
            let integrations = registry.list_integrations().await?;
            let names = integrations.iter().map(|one| one.spec.name.to_string());
            names.collect()
        }
    };
    let likeness = |name: &String| strsim::normalized_damerau_levenshtein(of.name(), name);
    let nearest = names
        .into_iter()
        .map(|name| (likeness(&name), name))
        .filter(|(likeness, _)| *likeness >= SIMILAR)
        .max_by(|(a, _), (b, _)| a.total_cmp(b));
    Ok(CliError::NoFigures {
        of: of.of().as_str(),
        name: of.name().to_owned(),
        nearest: match nearest {
            Some((_, name)) => format!("; did you mean `{name}`?"),
            None => format!("; see: layover {} list", of.of()),
        },
    })
}
