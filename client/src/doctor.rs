//! The doctor: an integration tried step by step, so that whoever reads it knows what
//! is wrong, why, and who has to do what.
//!
//! The way in is [`examine`]. Each step says what was seen; one that failed names the
//! likely cause and the remedy, and those that need it are skipped. The steps use the
//! very code that transfers use: what the doctor says is what would happen. On the
//! partner's server it changes nothing but a probe file of its own, which it removes.

mod diagnosis;
mod finding;
mod folders;
mod network;
mod opening;
mod pgp;

use layover_depot::{Integration, IntegrationProtocol, Location, LocationDirection, LocationName};

pub use diagnosis::{Diagnosis, diagnose};
pub use finding::{CheckStep, Finding, Outcome};

use crate::partner::{Partner, PartnerError, PgpKeys, Surroundings, Unready};

/// What is tried.
#[derive(Clone, Debug, Default)]
pub struct Wishes {
    /// This location alone; none: all of them.
    pub location: Option<LocationName>,
    /// Whether files are written.
    pub probe: Probe,
}

/// Whether a file is written where files are put.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Probe {
    /// A small one, which is renamed and removed again.
    #[default]
    Write,
    /// Nothing is changed on the partner's server.
    ReadOnly,
}

/// What is known of an integration before anything is sent.
#[derive(Debug)]
pub struct Subject<'a> {
    /// The integration.
    pub integration: &'a Integration,
    /// What [`Partner::examine`] came to.
    pub partner: &'a Result<Partner, Unready>,
    /// What [`PgpKeys::examine`] came to.
    pub pgp: &'a (PgpKeys, Vec<PartnerError>),
    /// What it is used with.
    pub surroundings: &'a Surroundings,
}

/// Tries everything and tells each finding as it is made. The same in one list.
pub async fn examine(
    subject: &Subject<'_>,
    wishes: &Wishes,
    tell: &mut (dyn FnMut(&Finding) + Send),
) -> Vec<Finding> {
    let mut chart = Chart::new(tell);
    settings(&mut chart, subject);
    if let Ok(partner) = subject.partner {
        network::examine(&mut chart, subject).await;
        if let Some(connection) = opening::examine(&mut chart, subject, partner).await {
            let locations = locations(subject.integration, wishes);
            folders::examine(&mut chart, subject, partner, &locations, wishes, connection).await;
        }
    }
    skip_the_rest(&mut chart, subject, wishes);
    pgp::examine(&mut chart, subject);
    chart.findings
}

/// Findings so far, and why the steps behind a failed one are left out.
struct Chart<'a> {
    findings: Vec<Finding>,
    tell: &'a mut (dyn FnMut(&Finding) + Send),
    stopped_by: Option<CheckStep>,
}

impl<'a> Chart<'a> {
    fn new(tell: &'a mut (dyn FnMut(&Finding) + Send)) -> Self {
        Self {
            findings: Vec::new(),
            tell,
            stopped_by: None,
        }
    }

    fn add(&mut self, finding: Finding) {
        (self.tell)(&finding);
        self.findings.push(finding);
    }

    /// A finding after which nothing more can be tried.
    fn stop(&mut self, finding: Finding) {
        self.stopped_by = Some(finding.step);
        self.add(finding);
    }

    fn has(&self, step: CheckStep, subject: Option<&str>) -> bool {
        let mut findings = self.findings.iter();
        findings.any(|one| one.step == step && one.subject.as_deref() == subject)
    }
}

/// Settings, and each secret that was fetched.
fn settings(chart: &mut Chart<'_>, subject: &Subject<'_>) {
    let resolved = match subject.partner {
        Ok(partner) => partner.resolved(),
        Err(unready) => &unready.resolved,
    };
    let had = resolved.iter();
    let seen = had
        .map(|one| format!("{}: {}", one.what, one.from))
        .collect();
    let step = CheckStep::Settings;
    match subject.partner {
        Ok(_) => chart.add(Finding::ok(step, seen)),
        Err(unready) => {
            let name = &subject.integration.spec.name;
            let mut errors = unready.errors.iter();
            let first = errors.next();
            let diagnosis = first.map(|error| diagnosis::of_partner(error, name));
            let mut finding = Finding::failed(step, seen, diagnosis.unwrap_or_default());
            finding
                .seen
                .extend(errors.map(|error| format!("also: {error}")));
            chart.stop(finding);
        }
    }
}

/// The locations that are tried.
fn locations<'a>(integration: &'a Integration, wishes: &Wishes) -> Vec<&'a Location> {
    let wanted = |one: &&Location| {
        wishes
            .location
            .as_ref()
            .is_none_or(|name| one.name == *name)
    };
    integration.locations.iter().filter(wanted).collect()
}

fn takes_uploads(location: &Location) -> bool {
    location.direction != LocationDirection::Download
}

/// The steps of a protocol before anything can be done there, in their order.
fn steps_to_login(integration: &Integration) -> Vec<CheckStep> {
    use layover_depot::FtpsSecurity::{Explicit, Implicit};
    let mut steps = vec![CheckStep::NameResolution, CheckStep::Tcp];
    let spec = &integration.spec;
    steps.extend_from_slice(match (spec.protocol, spec.settings.tls.security) {
        (IntegrationProtocol::Sftp, _) => &[
            CheckStep::Greeting,
            CheckStep::Algorithms,
            CheckStep::HostKey,
        ],
        (IntegrationProtocol::Ftps, Explicit) => {
            &[CheckStep::Greeting, CheckStep::AuthTls, CheckStep::Tls]
        }
        (IntegrationProtocol::Ftps, Implicit) => &[CheckStep::Tls, CheckStep::Greeting],
        (IntegrationProtocol::Ftp, _) => &[CheckStep::Greeting, CheckStep::Tls],
    });
    steps.push(CheckStep::Login);
    steps
}

/// What could not be tried, and because of what.
fn skip_the_rest(chart: &mut Chart<'_>, subject: &Subject<'_>, wishes: &Wishes) {
    let Some(cause) = chart.stopped_by else {
        return;
    };
    let because = format!("because of the step before: {cause}");
    let mut rest: Vec<(CheckStep, Option<String>)> = Vec::new();
    rest.extend(
        steps_to_login(subject.integration)
            .into_iter()
            .map(|step| (step, None)),
    );
    if subject.integration.spec.protocol != IntegrationProtocol::Sftp {
        rest.push((CheckStep::DataConnection, None));
    }
    for location in locations(subject.integration, wishes) {
        rest.push((CheckStep::List, Some(location.name.to_string())));
        if takes_uploads(location) && wishes.probe == Probe::Write {
            rest.push((CheckStep::Write, Some(location.name.to_string())));
        }
    }
    for (step, of) in rest {
        if !chart.has(step, of.as_deref()) {
            let mut finding = Finding::skipped(step, because.clone());
            finding.subject = of;
            chart.add(finding);
        }
    }
}
