//! Data connections, and what can be done in each location.

use std::ops::ControlFlow;

use layover_depot::{IntegrationProtocol, Location};

use super::diagnosis::{Diagnosis, diagnose};
use super::{Chart, CheckStep, Finding, Probe, Subject, Wishes, takes_uploads};
use crate::fault::{RemoteError, RemoteFault, Step};
use crate::partner::{Connection, Partner, remote_path};
use crate::path::{RemoteName, RemotePath};
use crate::remote::{EntryKind, Listed, OnExisting, Precision, Remote, Silent};
use crate::witness::printable;

/// Refused names that are shown.
const MAX_SHOWN: usize = 5;
/// What a probe file holds.
const CONTENT: &[u8] = b"Layover tries whether it may write here. This file can be removed.\n";

pub(super) async fn examine(
    chart: &mut Chart<'_>,
    subject: &Subject<'_>,
    partner: &Partner,
    locations: &[&Location],
    wishes: &Wishes,
    mut connection: Connection,
) {
    let mut visit = Visit {
        chart,
        subject,
        partner,
        remote: connection.remote(),
        data_told: subject.integration.spec.protocol == IntegrationProtocol::Sftp,
    };
    if locations.is_empty() {
        visit.home().await;
    }
    for location in locations {
        visit.list(location).await;
        if takes_uploads(location) && visit.chart.stopped_by.is_none() {
            match wishes.probe {
                Probe::Write => visit.write(location).await,
                Probe::ReadOnly => {
                    let because = "nothing was to be written (--no-write)".to_owned();
                    let finding = Finding::skipped(CheckStep::Write, because);
                    visit.chart.add(finding.of(location.name.as_str()));
                }
            }
        }
        if visit.chart.stopped_by.is_some() {
            return;
        }
    }
    // A server that hangs up instead of saying farewell does no harm.
    drop(connection.close().await);
}

struct Visit<'a, 'b> {
    chart: &'a mut Chart<'b>,
    subject: &'a Subject<'a>,
    partner: &'a Partner,
    remote: &'a mut dyn Remote,
    /// A listing has said how data connections are.
    data_told: bool,
}

/// What a listing holds.
#[derive(Default)]
struct Counts {
    files: u64,
    folders: u64,
    others: u64,
    undated: u64,
    coarse: u64,
    refused: u64,
    shown: Vec<String>,
}

impl Counts {
    fn add(&mut self, listed: &Listed) {
        match listed {
            Listed::Entry(entry) => {
                match entry.kind {
                    EntryKind::File => self.files += 1,
                    EntryKind::Directory => self.folders += 1,
                    EntryKind::Other => self.others += 1,
                }
                if entry.kind == EntryKind::File {
                    match entry.modified {
                        None => self.undated += 1,
                        Some(modified) if modified.precision != Precision::Second => {
                            self.coarse += 1;
                        }
                        Some(_) => {}
                    }
                }
            }
            Listed::Refused { raw, why } => {
                self.refused += 1;
                if self.shown.len() < MAX_SHOWN {
                    let raw = printable(&String::from_utf8_lossy(raw));
                    self.shown.push(format!("not used: `{raw}`: {why}"));
                }
            }
        }
    }

    fn told(self, path: &str) -> Vec<String> {
        let mut told = vec![format!(
            "{path}: {} files, {} folders, {} others",
            self.files, self.folders, self.others
        )];
        if self.coarse > 0 {
            told.push(format!(
                "{} files are dated to the minute or day alone",
                self.coarse
            ));
        }
        if self.refused > 0 {
            told.push(format!("{} lines are not used", self.refused));
            told.extend(self.shown);
        }
        told
    }
}

impl Visit<'_, '_> {
    fn fail(&mut self, step: CheckStep, of: Option<&str>, seen: Vec<String>, error: &RemoteError) {
        let diagnosis = diagnose(error, self.subject.integration, &self.partner.observed());
        let mut finding = Finding::failed(step, seen, diagnosis);
        finding.subject = of.map(str::to_owned);
        if error.ends_connection() || step == CheckStep::DataConnection {
            self.chart.stop(finding);
        } else {
            self.chart.add(finding);
        }
    }

    /// Without a location: the folder after the login, for the data connection alone.
    async fn home(&mut self) {
        if self.data_told {
            return;
        }
        let Ok(path) = RemotePath::new(b".") else {
            return;
        };
        let listed = self
            .remote
            .list(&path, &mut |_| ControlFlow::Continue(()))
            .await;
        self.data(listed.as_ref().err());
    }

    /// What the first listing says of data connections. Whether they work.
    fn data(&mut self, error: Option<&RemoteError>) -> bool {
        if self.data_told {
            return true;
        }
        self.data_told = true;
        let step = CheckStep::DataConnection;
        let observed = self.partner.observed();
        let settings = &self.subject.integration.spec.settings.ftp;
        let mut seen = vec![settings.transfer.to_string()];
        if let Some(address) = observed.data_address {
            seen.push(address.to_string());
        }
        if let Some(announced) = observed.data_address_announced {
            seen.push(format!(
                "repaired: the server announced {announced}, which is not its address"
            ));
        }
        match error.filter(|error| is_of_data(error)) {
            Some(error) => {
                self.fail(step, None, seen, error);
                false
            }
            None => {
                self.chart.add(Finding::ok(step, seen));
                true
            }
        }
    }

    async fn list(&mut self, location: &Location) {
        let (step, name) = (CheckStep::List, location.name.as_str());
        let path = match remote_path(&location.path) {
            Ok(path) => path,
            Err(error) => return self.fail(step, Some(name), Vec::new(), &error),
        };
        let mut counts = Counts::default();
        let listed = self
            .remote
            .list(&path, &mut |listed| {
                counts.add(&listed);
                ControlFlow::Continue(())
            })
            .await;
        if !self.data(listed.as_ref().err()) {
            return;
        }
        if let Err(error) = listed {
            return self.fail(step, Some(name), vec![path.to_string()], &error);
        }
        let (refused, undated) = (counts.refused, counts.undated);
        let told = counts.told(&path.to_string());
        let set = format!(
            "layover integration set {} --date-format PATTERN --system UNIX|WINDOWS",
            self.partner.name()
        );
        let finding = if refused > 0 {
            Finding::warning(
                step,
                told,
                Diagnosis {
                    fault: format!("{refused} lines of the listing cannot be used"),
                    likely_cause: "the names would lead out of the folder, or the server lists in \
                                   a form of its own"
                        .to_owned(),
                    what_to_do: format!("have such files renamed there; a form of its own: {set}"),
                },
            )
        } else if undated > 0 {
            Finding::warning(
                step,
                told,
                Diagnosis {
                    fault: format!("{undated} files have no date"),
                    likely_cause: "the server writes dates in a form of its own".to_owned(),
                    what_to_do: set,
                },
            )
        } else {
            Finding::ok(step, told)
        };
        self.chart.add(finding.of(name));
    }

    /// Writes a probe file, renames it and removes it again.
    async fn write(&mut self, location: &Location) {
        let (step, name) = (CheckStep::Write, location.name.as_str());
        let outbound = &self.subject.integration.spec.settings.outbound;
        let (locks, suffix) = (outbound.partial_lock, outbound.partial_suffix.as_str());
        let (partial, whole) = match self.probe_paths(location, suffix) {
            Ok(paths) => paths,
            Err(error) => return self.fail(step, Some(name), Vec::new(), &error),
        };
        let first = if locks { &partial } else { &whole };
        let mut seen = Vec::new();
        if let Err(error) = self.put(first).await {
            // Some servers leave an empty file behind.
            drop(self.remote.remove(first).await);
            return self.fail(step, Some(name), seen, &error);
        }
        seen.push(format!("wrote {first}"));
        if locks {
            let renamed = self.remote.rename(&partial, &whole, OnExisting::Fail).await;
            if let Err(error) = renamed {
                drop(self.remote.remove(&partial).await);
                return self.fail(step, Some(name), seen, &error);
            }
            seen.push(format!("renamed it to {whole}"));
        }
        let Err(error) = self.remote.remove(&whole).await else {
            seen.push("removed it".to_owned());
            return self.chart.add(Finding::ok(step, seen).of(name));
        };
        if error.ends_connection() {
            return self.fail(step, Some(name), seen, &error);
        }
        let diagnosis = Diagnosis {
            fault: format!("the probe file stays there: {}", error.fault),
            likely_cause: "the account may write and not delete".to_owned(),
            what_to_do: format!(
                "have {whole} removed there; uploads work, but what a broken-off one leaves behind \
                 cannot be cleaned up"
            ),
        };
        self.chart
            .add(Finding::warning(step, seen, diagnosis).of(name));
    }

    /// The probe's name while it is written, and its name afterwards.
    fn probe_paths(
        &self,
        location: &Location,
        suffix: &str,
    ) -> Result<(RemotePath, RemotePath), RemoteError> {
        let unusable =
            |detail: String| RemoteError::new(Step::Prepare, RemoteFault::Settings { detail });
        let mut random = [0_u8; 8];
        getrandom::fill(&mut random)
            .map_err(|_| unusable("the system gave no random bytes".to_owned()))?;
        let whole = format!("layover-probe-{}", hex::encode(random));
        let system = self.partner.system();
        let folder = remote_path(&location.path)?;
        let join = |name: &str| {
            let name = RemoteName::new(system, name.as_bytes())
                .map_err(|error| unusable(error.to_string()))?;
            folder
                .join(system, &name)
                .map_err(|error| unusable(error.to_string()))
        };
        Ok((join(&format!("{whole}{suffix}"))?, join(&whole)?))
    }

    async fn put(&mut self, path: &RemotePath) -> Result<(), RemoteError> {
        let mut content = CONTENT;
        self.remote.put(path, 0, &mut content, &Silent).await?;
        let written = self.remote.stat(path).await?;
        let expected = u64::try_from(CONTENT.len()).unwrap_or(u64::MAX);
        match written.and_then(|entry| entry.size_bytes) {
            // A server that hides what was put there says nothing about its size.
            None => Ok(()),
            Some(got) if got == expected => Ok(()),
            Some(got) => Err(RemoteError::new(
                Step::Upload,
                RemoteFault::WrongSize { expected, got },
            )),
        }
    }
}

/// Whether a listing failed before it could say anything of the folder.
fn is_of_data(error: &RemoteError) -> bool {
    error.step == Step::DataConnection
        || matches!(
            error.fault,
            RemoteFault::DataConnectionFailed { .. }
                | RemoteFault::DataConnectionMissing { .. }
                | RemoteFault::SessionReuseDemanded
        )
}
