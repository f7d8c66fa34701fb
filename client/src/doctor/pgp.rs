//! PGP keys, ours and the partner's, as the policies need them.

use std::sync::Arc;

use jiff::Timestamp;

use super::diagnosis::{Diagnosis, of_partner};
use super::{Chart, CheckStep, Finding, Subject};
use crate::pgp::{EXPIRY_WARNING, OwnKey, PartnerKey, PartnerKeyError};

pub(super) fn examine(chart: &mut Chart<'_>, subject: &Subject<'_>) {
    let settings = &subject.integration.spec.settings;
    let step = CheckStep::Pgp;
    if !(settings.inbound.pgp || settings.outbound.pgp) {
        let because = "neither inbound.pgp nor outbound.pgp is on".to_owned();
        chart.add(Finding::skipped(step, because));
        return;
    }
    let (keys, errors) = subject.pgp;
    let now = subject.surroundings.now.tell();
    let name = subject.integration.spec.name.as_str();
    let mut seen = Vec::new();
    let mut faults: Vec<Diagnosis> = errors
        .iter()
        .map(|error| of_partner(error, &subject.integration.spec.name))
        .collect();
    let mut warnings = Vec::new();
    let ours = keys.own.iter().chain(&keys.signer);
    if let Some(ours) = ours.map(|keys| keys.newest()).next() {
        seen.push(format!(
            "our key {}{}",
            ours.fingerprint(),
            until(ours.expires_at())
        ));
        warnings.extend(own(ours, now, name));
    }
    match keys.recipient.as_ref().map(|key| recipient(key, now, name)) {
        None => {}
        Some(Judged::Good(line)) => seen.push(line),
        Some(Judged::Soon(line, diagnosis)) => {
            seen.push(line);
            warnings.push(diagnosis);
        }
        Some(Judged::Bad(diagnosis)) => faults.push(diagnosis),
    }
    if let Some(key) = &keys.sender {
        let whose = "signatures of the partner";
        match key.may_sign(now) {
            Ok(()) => seen.push(format!("{whose}: {}", key.fingerprint())),
            Err(error) => faults.push(bad(whose, "set-partner", &error, name)),
        }
    }
    let all: Vec<_> = faults.iter().chain(&warnings).cloned().collect();
    let also = all.iter().skip(1);
    seen.extend(also.map(|diagnosis| format!("also: {}", diagnosis.fault)));
    let first = all.into_iter().next().unwrap_or_default();
    chart.add(match (faults.is_empty(), warnings.is_empty()) {
        (false, _) => Finding::failed(step, seen, first),
        (true, false) => Finding::warning(step, seen, first),
        (true, true) => Finding::ok(step, seen),
    });
}

fn until(expires: Option<Timestamp>) -> String {
    expires.map_or_else(String::new, |at| format!(", until {at}"))
}

fn own(key: &OwnKey, now: Timestamp, name: &str) -> Option<Diagnosis> {
    let expires = key.expires_at()?;
    let warned = now.checked_add(EXPIRY_WARNING).unwrap_or(Timestamp::MAX);
    (expires <= warned).then(|| Diagnosis {
        fault: format!("our PGP key expires on {expires}"),
        likely_cause: "its time is over, or nearly".to_owned(),
        what_to_do: format!(
            "make a new one and send it to the partner: layover integration pgp rotate {name}"
        ),
    })
}

enum Judged {
    Good(String),
    Soon(String, Diagnosis),
    Bad(Diagnosis),
}

/// What to ask the partner for.
fn new_key(command: &str, name: &str) -> String {
    format!("ask the partner for a new public key: layover integration pgp {command} {name} FILE")
}

fn bad(whose: &str, command: &str, error: &PartnerKeyError, name: &str) -> Diagnosis {
    Diagnosis {
        fault: format!("the key for {whose} cannot be used: {error}"),
        likely_cause: "it is expired or revoked, or its subkeys are of no use".to_owned(),
        what_to_do: new_key(command, name),
    }
}

fn recipient(key: &Arc<PartnerKey>, now: Timestamp, name: &str) -> Judged {
    let (whose, command) = ("files for the partner", "set-recipient");
    match key.report(now) {
        Err(error) => Judged::Bad(bad(whose, command, &error, name)),
        Ok(report) => {
            let line = format!(
                "{whose}: {} ({}){}",
                report.fingerprint,
                report.user_ids.first().map_or("no name", String::as_str),
                until(report.expires_at)
            );
            if !report.expires_within(EXPIRY_WARNING, now) {
                return Judged::Good(line);
            }
            let fault = format!(
                "the key for {whose} expires soon{}",
                until(report.expires_at)
            );
            Judged::Soon(
                line,
                Diagnosis {
                    fault,
                    likely_cause: "its time is nearly over".to_owned(),
                    what_to_do: new_key(command, name),
                },
            )
        }
    }
}
