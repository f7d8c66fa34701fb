//! `/metrics`: counters of this process, and what the database knew when it was last
//! asked. Every family is always there, but for what cannot be known.

use std::collections::BTreeMap;

use layover_depot::{
    AccountTransfers, AdmitRefused, Counted, DURATION_BOUNDS_S, DayFault, Direction, Ending,
    ExpectationFigures, FlowFigures, Histogram, LedgerFigures, Occupancy, Protocol,
    SIZE_BOUNDS_BYTES, TransferKind, Transfers,
};
use layover_retention::{ChainName, Timestamp};

use crate::exposition::{Exposition, Kind, as_f64};
use crate::facts::{ClockFacts, Expiring, Facts, SweepFacts, WITHIN_DAYS};
use crate::figures::Figures;

const PROTOCOLS: [Protocol; 2] = [Protocol::Ftps, Protocol::Sftp];

/// Everything that is told.
pub(crate) struct Told<'a> {
    pub(crate) node: &'a str,
    pub(crate) now: Timestamp,
    pub(crate) facts: &'a Facts,
    pub(crate) counted: &'a Counted,
    pub(crate) occupancy: Occupancy,
    pub(crate) figures: &'a Figures,
}

pub(crate) fn text(told: &Told<'_>) -> String {
    let mut text = Exposition::default();
    node(&mut text, told);
    connections(&mut text, told);
    transfers(&mut text, told.counted);
    accounts(&mut text, told.counted);
    flow_runs(&mut text, told.counted);
    sweeps(&mut text, told);
    if let Ok(ledger) = &told.figures.ledger {
        self::ledger(&mut text, ledger, told.now);
    }
    if let Some(files) = told.figures.stored_files {
        let help = "Files that are stored; counted once a minute.";
        text.single("layover_stored_files", Kind::Gauge, help, as_f64(files));
    }
    clock(&mut text, &told.facts.clock);
    if let Some(ends) = told.facts.certificate_ends {
        let help = "Seconds until the TLS certificate in use ends; negative when it has ended.";
        let left = seconds_between(told.now, ends);
        text.single(
            "layover_certificate_expiry_seconds",
            Kind::Gauge,
            help,
            left,
        );
    }
    if let Some(soon) = &told.facts.expiring {
        expiring(&mut text, soon);
    }
    text.finish()
}

/// Looked at once an hour.
fn expiring(text: &mut Exposition, soon: &Expiring) {
    let help = "Certificates and keys, of accounts, of integrations and the server's, that end within so many days or have ended.";
    text.family("layover_expiring", Kind::Gauge, help);
    for (kind, counts) in [("certificate", soon.certificates), ("key", soon.keys)] {
        for (days, count) in WITHIN_DAYS.iter().zip(counts) {
            let labels = [("kind", kind), ("within_days", &days.to_string())];
            text.sample(&labels, as_f64(count));
        }
    }
}

fn node(text: &mut Exposition, told: &Told<'_>) {
    let facts = told.facts;
    text.family("layover_node_info", Kind::Gauge, "Which node this is.")
        .sample(&[("node", told.node), ("version", facts.version)], 1.0);
    let mut single = |name, help: &str, value| text.single(name, Kind::Gauge, help, value);
    single(
        "layover_start_time_seconds",
        "When the server became ready, in seconds since 1970.",
        seconds(facts.started_at),
    );
    single(
        "layover_database_up",
        "Whether the database answered, and took writes, within the last seconds.",
        truth(told.figures.ledger.is_ok() && told.figures.writes.is_ok()),
    );
    single(
        "layover_storage_writable",
        "Whether a file could be stored within the last seconds.",
        truth(told.figures.storage.is_ok()),
    );
    let altered = |chain| {
        told.figures
            .altered
            .iter()
            .any(|(found, _)| *found == chain)
    };
    text.family(
        "layover_chain_altered",
        Kind::Gauge,
        "Whether a hash chain was changed by somebody else: nothing more is signed in it then.",
    )
    .sample(
        &[("chain", "certificates")],
        truth(altered(ChainName::Certificates)),
    )
    .sample(&[("chain", "journal")], truth(altered(ChainName::Journal)));
}

fn connections(text: &mut Exposition, told: &Told<'_>) {
    let counted = told.counted;
    let count = |number: usize| as_f64(u64::try_from(number).unwrap_or(u64::MAX));
    let mut single = |name, help: &str, value| text.single(name, Kind::Gauge, help, value);
    single(
        "layover_connections",
        "Connections that the gate has let in.",
        count(told.occupancy.connections),
    );
    single(
        "layover_connections_half_open",
        "Of them, those that have not logged in.",
        count(told.occupancy.half_open),
    );
    single(
        "layover_bans",
        "Addresses and networks that are banned.",
        count(told.occupancy.bans),
    );
    let help = "Connections that were closed before the banner.";
    text.family("layover_connections_refused_total", Kind::Counter, help);
    for reason in AdmitRefused::ALL {
        let refused = counted.refused_connections.get(&reason);
        text.sample(&[("reason", reason.as_str())], or_zero(refused));
    }
    let help = "Sessions that are logged in at this node.";
    text.family("layover_sessions", Kind::Gauge, help);
    for protocol in PROTOCOLS {
        let live = counted.sessions.get(&protocol);
        text.sample(&[("protocol", protocol.as_str())], or_zero(live));
    }
    let help =
        "Logins that ended: let in (ok), refused, or not judged for a fault of ours (failed).";
    text.family("layover_logins_total", Kind::Counter, help);
    for protocol in PROTOCOLS {
        for ending in Ending::ALL {
            let labels = [
                ("protocol", protocol.as_str()),
                ("outcome", ending.as_str()),
            ];
            text.sample(&labels, or_zero(counted.logins.get(&(protocol, ending))));
        }
    }
    let help = "The same by what was shown: password, publickey, certificate, none.";
    text.family("layover_login_attempts_total", Kind::Counter, help);
    for ((protocol, method, ending), count) in &counted.login_methods {
        let labels = [
            ("protocol", protocol.as_str()),
            ("method", method),
            ("outcome", ending.as_str()),
        ];
        text.sample(&labels, as_f64(*count));
    }
}

fn transfers(text: &mut Exposition, counted: &Counted) {
    let none = Transfers::default();
    let each = || {
        TransferKind::ALL.into_iter().map(|kind| {
            let labels = [
                ("protocol", kind.protocol.as_str()),
                ("direction", kind.direction.as_str()),
            ];
            (labels, counted.transfers.get(&kind).unwrap_or(&none))
        })
    };
    let help = "Transfers that ended; directions as the partner sees them.";
    text.family("layover_transfers_total", Kind::Counter, help);
    for ([protocol, direction], of_kind) in each() {
        for ending in Ending::ALL {
            let labels = [protocol, direction, ("outcome", ending.as_str())];
            text.sample(&labels, or_zero(of_kind.endings.get(&ending)));
        }
    }
    let help = "Bytes that transfers moved, also those that broke off.";
    text.family("layover_transfer_bytes_total", Kind::Counter, help);
    for (labels, of_kind) in each() {
        text.sample(&labels, as_f64(of_kind.bytes));
    }
    let help = "How long transfers took that began.";
    text.family("layover_transfer_duration_seconds", Kind::Histogram, help);
    for (labels, of_kind) in each() {
        let durations = &of_kind.durations_ms;
        let sum_s = as_f64(durations.sum) / 1e3;
        text.histogram(&labels, &DURATION_BOUNDS_S, &durations.counts, sum_s);
    }
    let help = "How many bytes transfers moved that began.";
    text.family("layover_transfer_size_bytes", Kind::Histogram, help);
    for (labels, of_kind) in each() {
        let sizes = &of_kind.sizes_bytes;
        text.histogram(
            &labels,
            &SIZE_BOUNDS_BYTES,
            &sizes.counts,
            as_f64(sizes.sum),
        );
    }
}

fn accounts(text: &mut Exposition, counted: &Counted) {
    by_name(
        text,
        &Named {
            label: "account",
            moved: &counted.accounts,
            transfers: "layover_account_transfers_total",
            transfers_help: "Transfers by account: the first 200 of this process, all others as `other`.",
            bytes: "layover_account_transfer_bytes_total",
            bytes_help: "Bytes that transfers moved, by account in the same way.",
        },
    );
    by_name(
        text,
        &Named {
            label: "integration",
            moved: &counted.outbound,
            transfers: "layover_outbound_transfers_total",
            transfers_help: "Files that we moved from and to partners' own servers, by integration: the first 200 of this process, all others as `other`.",
            bytes: "layover_outbound_transfer_bytes_total",
            bytes_help: "Bytes of them, by integration in the same way.",
        },
    );
}

/// Transfers by the name of somebody whom an operator made.
struct Named<'a> {
    label: &'static str,
    moved: &'a BTreeMap<String, BTreeMap<Direction, AccountTransfers>>,
    transfers: &'static str,
    transfers_help: &'static str,
    bytes: &'static str,
    bytes_help: &'static str,
}

fn by_name(text: &mut Exposition, named: &Named<'_>) {
    let each = || {
        named.moved.iter().flat_map(|(name, directions)| {
            let of = move |(direction, moved): (&Direction, &AccountTransfers)| {
                let labels = [
                    (named.label, name.as_str()),
                    ("direction", direction.as_str()),
                ];
                (labels, *moved)
            };
            directions.iter().map(of)
        })
    };
    text.family(named.transfers, Kind::Counter, named.transfers_help);
    for ([name, direction], moved) in each() {
        for (outcome, count) in [("ok", moved.ok), ("not_ok", moved.not_ok)] {
            text.sample(&[name, direction, ("outcome", outcome)], as_f64(count));
        }
    }
    text.family(named.bytes, Kind::Counter, named.bytes_help);
    for (labels, moved) in each() {
        text.sample(&labels, as_f64(moved.bytes));
    }
}

fn flow_runs(text: &mut Exposition, counted: &Counted) {
    let help = "Runs of flows that ended at this node.";
    text.family("layover_flow_runs_total", Kind::Counter, help);
    for ending in [Ending::Ok, Ending::Failed] {
        let ended = counted.flow_runs.get(&ending);
        text.sample(&[("outcome", ending.as_str())], or_zero(ended));
    }
    let help = "How long they took, at the node that ended them.";
    text.family("layover_flow_run_duration_seconds", Kind::Histogram, help);
    let none = Histogram::default();
    for ending in [Ending::Ok, Ending::Failed] {
        let took = counted.flow_runs_ms.get(&ending).unwrap_or(&none);
        let sum_s = as_f64(took.sum) / 1e3;
        let labels = [("outcome", ending.as_str())];
        text.histogram(&labels, &DURATION_BOUNDS_S, &took.counts, sum_s);
    }
}

/// The last run of each flow, on whichever node.
fn flows(text: &mut Exposition, flows: &[FlowFigures]) {
    let mut gauge = |name, help: &str, value: fn(&FlowFigures) -> Option<f64>| {
        text.family(name, Kind::Gauge, help);
        for flow in flows {
            if let Some(value) = value(flow) {
                text.sample(&[("flow", &flow.flow)], value);
            }
        }
    };
    gauge(
        "layover_flow_last_run_success",
        "Whether the last run that ended did so as it should; the first 200 flows by name.",
        |flow| flow.last_ok.map(truth),
    );
    gauge(
        "layover_flow_last_run_duration_seconds",
        "How long that run took.",
        |flow| flow.last_duration.map(|took| took.as_secs_f64()),
    );
    gauge(
        "layover_flow_last_success_timestamp_seconds",
        "When the last run ended that ended as it should, in seconds since 1970.",
        |flow| flow.last_success.map(seconds),
    );
}

/// The last day of each expectation that somebody looks at.
fn expectations(text: &mut Exposition, figures: &ExpectationFigures) {
    const FAULTS: [DayFault; 6] = [
        DayFault::Missing,
        DayFault::Late,
        DayFault::TooSmall,
        DayFault::TooLarge,
        DayFault::SameContent,
        DayFault::Unreachable,
    ];
    let help = "Expected files, by what came of their last day: as_expected, what was wrong, or waiting for a look.";
    text.family("layover_expectations", Kind::Gauge, help)
        .sample(&[("result", "as_expected")], as_f64(figures.as_expected))
        .sample(&[("result", "waiting")], as_f64(figures.waiting));
    for fault in FAULTS {
        let count = figures.faults.get(&fault);
        text.sample(&[("result", fault.as_str())], or_zero(count));
    }
}

fn sweeps(text: &mut Exposition, told: &Told<'_>) {
    let SweepFacts {
        runs,
        deleted_files,
        deleted_bytes,
        failed_files,
        last_duration,
    } = told.facts.sweep;
    let mut counter = |name, help: &str, value| text.single(name, Kind::Counter, help, value);
    counter(
        "layover_retention_sweep_runs_total",
        "Sweeps of this process, long ones counted once.",
        as_f64(runs),
    );
    counter(
        "layover_retention_deleted_files_total",
        "Files that the sweeps of this process deleted.",
        as_f64(deleted_files),
    );
    counter(
        "layover_retention_deleted_bytes_total",
        "Bytes in them.",
        as_f64(deleted_bytes),
    );
    let mut gauge = |name, help: &str, value| text.single(name, Kind::Gauge, help, value);
    gauge(
        "layover_retention_sweep_failed_files",
        "Files that the last sweep of this process could not delete.",
        as_f64(failed_files),
    );
    gauge(
        "layover_retention_sweep_duration_seconds",
        "How long that sweep took.",
        last_duration.as_secs_f64(),
    );
    let jobs = &told.facts.jobs;
    let help = "Runs of the jobs in the background.";
    text.family("layover_job_runs_total", Kind::Counter, help);
    for job in jobs {
        text.sample(&[("job", job.name)], as_f64(job.runs));
    }
    let help = "Runs of them that failed.";
    text.family("layover_job_failures_total", Kind::Counter, help);
    for job in jobs {
        text.sample(&[("job", job.name)], as_f64(job.failures));
    }
    let help = "When their last run began, in seconds since 1970.";
    text.family("layover_job_last_run_timestamp_seconds", Kind::Gauge, help);
    for job in jobs {
        text.sample(&[("job", job.name)], seconds(job.last_started_at));
    }
}

fn ledger(text: &mut Exposition, ledger: &LedgerFigures, now: Timestamp) {
    let overdue = ledger.first_expiry.map(|first| now.duration_since(first));
    let mut single = |name, help: &str, value| text.single(name, Kind::Gauge, help, value);
    single(
        "layover_retention_oldest_overdue_seconds",
        "For how long the oldest file is overdue that is still there; 0 when none is.",
        overdue.unwrap_or_default().as_secs_f64(),
    );
    for (name, help, value) in [
        (
            "layover_retention_due_files",
            "Files whose time is over and that are still there.",
            ledger.due_files,
        ),
        (
            "layover_retention_failing_files",
            "Files that could not be deleted so far.",
            ledger.failing_files,
        ),
        (
            "layover_held_files",
            "Files that a hold keeps.",
            ledger.held_files,
        ),
        (
            "layover_stored_bytes",
            "Bytes of stored files.",
            ledger.stored_bytes,
        ),
        (
            "layover_partial_uploads",
            "Interrupted uploads that can be resumed.",
            ledger.partial_uploads,
        ),
    ] {
        single(name, help, as_f64(value));
    }
    if let Some(last) = &ledger.last_sweep {
        single(
            "layover_retention_last_sweep_timestamp_seconds",
            "When the last sweep of any node began, in seconds since 1970.",
            seconds(last.at),
        );
    }
    flows(text, &ledger.flows);
    expectations(text, &ledger.expectations);
    let help = "What waits: files for their checksums, journal entries for their place in the chain and for the statistics, runs of flows, deliveries of events.";
    text.family("layover_queue_depth", Kind::Gauge, help)
        .sample(&[("queue", "checksums")], as_f64(ledger.unhashed_files))
        .sample(&[("queue", "seal")], as_f64(ledger.unsealed_entries))
        .sample(&[("queue", "statistics")], as_f64(ledger.uncounted_entries))
        .sample(&[("queue", "flow_runs_due")], as_f64(ledger.flow_runs_due))
        .sample(
            &[("queue", "flow_runs_running")],
            as_f64(ledger.flow_runs_running),
        )
        .sample(
            &[("queue", "deliveries_due")],
            as_f64(ledger.deliveries_due),
        )
        .sample(
            &[("queue", "deliveries_dead")],
            as_f64(ledger.deliveries_dead),
        );
}

fn clock(text: &mut Exposition, clock: &ClockFacts) {
    let mut single = |name, help: &str, value| text.single(name, Kind::Gauge, help, value);
    single(
        "layover_clock_in_doubt",
        "Whether the clock jumped and has not proven right yet.",
        truth(clock.in_doubt.is_some()),
    );
    single(
        "layover_clock_differs_from_database",
        "Whether the clock is too far from the database's: nothing is deleted then.",
        truth(clock.differs),
    );
    if let Some(ahead_us) = clock.ahead_of_database_us {
        single(
            "layover_clock_ahead_of_database_seconds",
            "By how much the clock is ahead of the database's.",
            micros_as_seconds(ahead_us),
        );
    }
}

fn or_zero(count: Option<&u64>) -> f64 {
    as_f64(count.copied().unwrap_or(0))
}

fn truth(is_so: bool) -> f64 {
    if is_so { 1.0 } else { 0.0 }
}

fn seconds(at: Timestamp) -> f64 {
    micros_as_seconds(at.as_micros())
}

fn seconds_between(from: Timestamp, to: Timestamp) -> f64 {
    micros_as_seconds(to.as_micros().saturating_sub(from.as_micros()))
}

fn micros_as_seconds(micros: i64) -> f64 {
    let size = as_f64(micros.unsigned_abs()) / 1e6;
    if micros < 0 { -size } else { size }
}
