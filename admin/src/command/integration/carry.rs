//! What `get` and `put` share: the way to the partner's server, tries, and what is told.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use layover_client::doctor::diagnose;
use layover_client::exchange::{ExchangeError, Verified};
use layover_client::partner::PgpKeys;
use layover_client::{
    Connection, Partner, Permanence, Remote, RemoteFault, RemoteName, RemotePath, Step,
    Surroundings,
};
use layover_depot::{
    Actor, Attempt, Carrying, Depot, Errand, Failure, Hope, IntegrationName, LocationDirection,
    LocationName, Visit, timer,
};
use layover_server::{Request, Signals};
use serde::Serialize;
use serde_json::{Value, json};

use super::meter::Meter;
use super::used::{self, warn_of_dangers};
use crate::context::Context;
use crate::error::CliError;
use crate::output::{Cell, Table, Tone};
use crate::value::ByteSize;

/// Waits between tries, after a fault that may pass by itself. Whoever sits before the
/// command line waits for it: what needs longer is for a flow.
const TRY_AGAIN_AFTER: [Duration; 3] = [
    Duration::from_secs(1),
    Duration::from_secs(4),
    Duration::from_secs(15),
];

/// A run of one command against one partner's server.
pub(super) struct Trip {
    pub(super) partner: Partner,
    pub(super) keys: PgpKeys,
    location: LocationName,
    folder: RemotePath,
    carrying: Carrying,
    run: String,
    actor: Actor,
    connection: Option<Connection>,
    has_stepped_down: bool,
    is_hopeless: bool,
    pub(super) now: jiff::Timestamp,
    pub(super) meter: Meter,
}

impl Trip {
    /// Reads what is kept of the integration. Nothing is sent yet.
    pub(super) async fn prepare(
        context: &Context,
        depot: &Depot,
        name: &IntegrationName,
        location: &LocationName,
        carrying: Carrying,
    ) -> Result<Self, CliError> {
        let integration = depot.registry().integration(name).await?;
        warn_of_dangers(&integration);
        let found = used::location(&integration, location)?;
        let is_for = match (carrying, found.direction) {
            (Carrying::Download, LocationDirection::Upload) => Some("uploads"),
            (Carrying::Upload, LocationDirection::Download) => Some("downloads"),
            _ => None,
        };
        if let Some(is_for) = is_for {
            return Err(CliError::WrongDirection {
                integration: name.clone(),
                location: location.clone(),
                is_for,
            });
        }
        let folder = RemotePath::new(found.path.as_bytes())?;
        let surroundings: Surroundings = context.surroundings()?;
        let registry = depot.registry();
        let keys = PgpKeys::prepare(registry, &integration, &surroundings).await?;
        let partner = Partner::prepare(registry, integration, &surroundings);
        let now = jiff::Timestamp::from_microsecond(context.clock.now().as_micros());
        Ok(Self {
            partner: partner.await?,
            keys,
            location: location.clone(),
            folder,
            carrying,
            run: run_id()?,
            actor: context.actor.clone(),
            connection: None,
            has_stepped_down: false,
            is_hopeless: false,
            now: now.unwrap_or(jiff::Timestamp::MAX),
            meter: Meter::new(context.out.is_json()),
        })
    }

    /// The number of this run, for the journal.
    pub(super) fn run(&self) -> &str {
        &self.run
    }

    /// A file of the location.
    pub(super) fn place(&self, name: &OsStr) -> Result<(RemoteName, RemotePath), CliError> {
        let system = self.partner.system();
        let fits = RemoteName::new(system, name.as_bytes());
        let name = fits.map_err(|source| CliError::RemoteName {
            name: name_of(name),
            source,
        })?;
        let path = self.folder.join(system, &name)?;
        Ok((name, path))
    }

    /// An account of another entity is another partner's: its files go to or come from this
    /// one's server only when somebody says that it is meant.
    pub(super) fn check_entity(&self, visit: &Visit, is_meant: bool) -> Result<(), CliError> {
        let spec = &self.partner.integration().spec;
        if is_meant || *visit.entity() == spec.entity {
            return Ok(());
        }
        Err(CliError::OtherEntity {
            account: visit.account().clone(),
            entity: visit.entity().clone(),
            integration: spec.name.clone(),
            other: spec.entity.clone(),
        })
    }

    /// An attempt in a home; the journal tells when it is another entity's.
    pub(super) fn attempt(&self, visit: &Visit, remote: &RemotePath) -> Attempt {
        let attempt = visit.attempt(self.errand(remote));
        let entity = &self.partner.integration().spec.entity;
        if visit.entity() != entity {
            attempt.note("other_entity", entity.as_str());
        }
        attempt
    }

    /// What the journal is to know of one file.
    pub(super) fn errand(&self, remote: &RemotePath) -> Errand {
        let spec = &self.partner.integration().spec;
        Errand {
            carrying: self.carrying,
            integration: spec.name.clone(),
            entity: spec.entity.clone(),
            location: layover_depot::FlowTarget::Location(self.location.clone()),
            protocol: spec.protocol,
            remote: remote.to_string(),
            run: self.run.clone(),
            actor: self.actor.clone(),
        }
    }

    /// The partner's server, connected to where it is not, and who watches.
    pub(super) async fn remote(
        &mut self,
        attempt: &Attempt,
    ) -> Result<(&mut dyn Remote, &Meter), ExchangeError> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => {
                let connected = self.partner.connect().await;
                if let Some(server) = self.partner.observed().server {
                    attempt.met(server);
                }
                connected?
            }
        };
        if let Some(server) = self.partner.observed().server {
            attempt.met(server);
        }
        Ok((self.connection.insert(connection).remote(), &self.meter))
    }

    /// After a failed try: what is of no more use is let go. Waits where another try may
    /// help, and says so; else gives the failure back.
    pub(super) async fn again(
        &mut self,
        tries: &mut usize,
        name: &str,
        error: ExchangeError,
    ) -> Result<(), ExchangeError> {
        if error.ends_connection() {
            self.connection = None;
        }
        if wants_sessions_resumed(&error) && !self.has_stepped_down {
            // The connection has learned what that takes, and has it.
            self.has_stepped_down = true;
            return Ok(());
        }
        self.is_hopeless = never_gets_in(&error);
        let wait = TRY_AGAIN_AFTER.get(*tries);
        let (Permanence::Transient, Some(wait)) = (error.permanence(), wait) else {
            return Err(error);
        };
        *tries += 1;
        self.meter.tell(&format!(
            "`{name}`: {}; trying again in {} s ({} of {})",
            error.for_operator(),
            wait.as_secs(),
            tries,
            TRY_AGAIN_AFTER.len()
        ));
        timer::sleep(*wait).await;
        Ok(())
    }

    /// Whether another file would meet the same before anything is sent: each try is a login
    /// that the partner counts.
    pub(super) fn is_hopeless(&self) -> bool {
        self.is_hopeless
    }

    /// Says farewell, and hands back what the connections taught.
    pub(super) async fn end(self, context: &Context, depot: &Depot) -> Result<(), CliError> {
        if let Some(connection) = self.connection {
            // What was moved is safe without it.
            let _ = connection.close().await;
        }
        used::settle(context, depot.registry(), &self.partner).await
    }
}

fn wants_sessions_resumed(error: &ExchangeError) -> bool {
    let error = match error {
        ExchangeError::Remote(error) => error,
        ExchangeError::RenameRefused { source, .. } => source,
        _ => return false,
    };
    error.fault == RemoteFault::SessionReuseDemanded
}

fn never_gets_in(error: &ExchangeError) -> bool {
    let ExchangeError::Remote(error) = error else {
        return false;
    };
    let before = [
        Step::Prepare,
        Step::Resolve,
        Step::Connect,
        Step::Handshake,
        Step::Login,
    ];
    error.permanence() == Permanence::Permanent && before.contains(&error.step)
}

/// A text that people can read; names may be any bytes.
pub(super) fn name_of(name: &OsStr) -> String {
    name.to_string_lossy().into_owned()
}

fn run_id() -> Result<String, CliError> {
    let mut bytes = [0_u8; 8];
    getrandom::fill(&mut bytes).map_err(|error| CliError::Output {
        source: std::io::Error::other(error),
    })?;
    Ok(hex::encode(bytes))
}

/// What became of one file.
#[derive(Debug, Serialize)]
pub(super) struct FileView {
    /// Where it came from.
    pub(super) from: String,
    /// Where it is now, or was to be.
    pub(super) to: String,
    pub(super) outcome: &'static str,
    pub(super) size_bytes: Option<u64>,
    pub(super) sha256: Option<String>,
    /// Moved over the wire, by the last try.
    pub(super) wire_bytes: Option<u64>,
    /// Where the last try began: what an earlier one had brought.
    pub(super) resumed_at: Option<u64>,
    /// By whose word it is whole: the server's size, its hash, or its reply alone.
    pub(super) verified: Option<&'static str>,
    pub(super) pgp: Option<Value>,
    pub(super) expires_at: Option<layover_retention::Timestamp>,
    /// Tries after the first.
    pub(super) tries_again: usize,
    pub(super) error: Option<ErrorView>,
}

/// What stands in the account of the run for a file that nobody tried to move.
pub(super) const NOT_TRIED: &str = "not_tried";

#[derive(Debug, Serialize)]
pub(super) struct ErrorView {
    cause: String,
    permanence: &'static str,
    remedy: Option<String>,
}

/// A file that was moved, whichever way.
pub(super) struct Moved {
    pub(super) content_bytes: u64,
    pub(super) wire_bytes: u64,
    pub(super) resumed_at: u64,
    pub(super) sha256: [u8; 32],
    pub(super) verified: Verified,
    pub(super) pgp: Option<Value>,
    pub(super) expires_at: Option<layover_retention::Timestamp>,
}

impl FileView {
    pub(super) fn moved(from: String, to: String, moved: &Moved, tries_again: usize) -> Self {
        Self {
            from,
            to,
            outcome: "ok",
            size_bytes: Some(moved.content_bytes),
            sha256: Some(hex::encode(moved.sha256)),
            wire_bytes: Some(moved.wire_bytes),
            resumed_at: (moved.resumed_at > 0).then_some(moved.resumed_at),
            verified: Some(moved.verified.as_str()),
            pgp: moved.pgp.clone(),
            expires_at: moved.expires_at,
            tries_again,
            error: None,
        }
    }

    pub(super) fn failed(
        from: String,
        to: String,
        error: &ExchangeError,
        remedy: Option<String>,
        tries_again: usize,
    ) -> Self {
        Self {
            tries_again,
            error: Some(ErrorView {
                cause: error.for_operator(),
                permanence: hope(error).as_str(),
                remedy,
            }),
            ..Self::unmoved(from, to, "failed")
        }
    }

    /// It stands behind one that did not get in.
    pub(super) fn not_tried(from: String, to: String) -> Self {
        Self::unmoved(from, to, NOT_TRIED)
    }

    fn unmoved(from: String, to: String, outcome: &'static str) -> Self {
        Self {
            from,
            to,
            outcome,
            size_bytes: None,
            sha256: None,
            wire_bytes: None,
            resumed_at: None,
            verified: None,
            pgp: None,
            expires_at: None,
            tries_again: 0,
            error: None,
        }
    }

    fn was_moved(&self) -> bool {
        self.outcome == "ok"
    }
}

fn hope(error: &ExchangeError) -> Hope {
    match error.permanence() {
        Permanence::Transient => Hope::Transient,
        Permanence::Permanent => Hope::Permanent,
    }
}

/// What to do about a file that was not moved.
fn remedy(partner: &Partner, error: &ExchangeError) -> Option<String> {
    match error {
        ExchangeError::Remote(error) => {
            let diagnosis = diagnose(error, partner.integration(), &partner.observed());
            Some(format!(
                "{} (most likely: {})",
                diagnosis.what_to_do, diagnosis.likely_cause
            ))
        }
        ExchangeError::TargetExists { .. } => {
            Some("send it under another name (--as), or say --replace".to_owned())
        }
        other => other.remedy().map(ToOwned::to_owned),
    }
}

/// Of files behind one that did not get in.
pub(super) fn not_tried(files: usize) -> String {
    format!("{files} more were not tried: they would meet the same")
}

/// Tells journal and person of a file that was not moved.
pub(super) async fn tell_failure(
    trip: &Trip,
    attempt: Attempt,
    files: (String, String),
    error: &ExchangeError,
    tries_again: usize,
) -> Result<FileView, CliError> {
    let remedy = remedy(&trip.partner, error);
    let (from, to) = files;
    let cause = error.for_operator();
    let mut text = format!("`{from}` was not moved: {cause}");
    if let Some(remedy) = &remedy {
        text.push_str("\n  next: ");
        text.push_str(remedy);
    }
    trip.meter.tell(&text);
    if tries_again > 0 {
        attempt.note("tries_again", tries_again);
    }
    let failure = Failure {
        cause,
        permanence: hope(error),
        moved_bytes: None,
    };
    attempt.failed(&failure).await?;
    Ok(FileView::failed(from, to, error, remedy, tries_again))
}

/// Prints what became of the files; fails when one of them was not moved.
pub(super) fn print(
    context: &mut Context,
    integration: &IntegrationName,
    location: &LocationName,
    run: &str,
    views: &[FileView],
) -> Result<(), CliError> {
    let mut table = Table::new(["FROM", "TO", "OUTCOME", "SIZE", "VERIFIED", "SHA-256"]);
    for view in views {
        let tone = if view.was_moved() {
            Tone::Good
        } else {
            Tone::Alarm
        };
        table.row([
            Cell::from(view.from.as_str()),
            Cell::from(view.to.as_str()),
            Cell::toned(view.outcome, tone),
            Cell::or_dash(view.size_bytes.map(ByteSize)),
            Cell::or_dash(view.verified),
            Cell::or_dash(view.sha256.as_ref()),
        ]);
    }
    let document = json!({
        "integration": integration.as_str(),
        "location": location.as_str(),
        "run": run,
        "files": views,
    });
    context.out.list(&document, &table, "no file was moved")?;
    let failed = views.iter().filter(|view| !view.was_moved()).count();
    if failed > 0 {
        return Err(CliError::NotMoved {
            failed,
            of: views.len(),
        });
    }
    Ok(())
}

/// Does `work` until it is done or somebody says stop. Nothing is half published when it
/// is dropped; `stays` says what is left for the next time.
pub(super) async fn until_stopped(
    work: impl Future<Output = Result<(), CliError>>,
    stays: &str,
) -> Result<(), CliError> {
    let mut signals = Signals::take_over().map_err(|source| CliError::Signals { source })?;
    let stopped = async { while signals.next().await != Request::Stop {} };
    tokio::select! {
        done = work => done,
        () = stopped => Err(CliError::Interrupted { stays: stays.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_was_not_tried_is_one_that_was_not_moved() {
        let view = FileView::not_tried("/out/b".to_owned(), "alice:/b".to_owned());
        assert!(!view.was_moved());
        let document = serde_json::to_value(&view).unwrap();
        assert_eq!(document["outcome"], "not_tried");
        assert_eq!(document["from"], "/out/b");
        assert!(document["error"].is_null());
    }
}
