//! From TCP to a login. One connection is made as a transfer makes it; what it saw is
//! told step by step.

use jiff::{Timestamp, ToSpan as _};
use layover_depot::{Integration, IntegrationProtocol, SftpAuth};

use super::diagnosis::{Diagnosis, diagnose};
use super::{Chart, CheckStep, Finding, Subject, steps_to_login};
use crate::fault::{RemoteError, RemoteFault, Step};
use crate::partner::{Connection, Partner};
use crate::sftp::Proof;
use crate::witness::{Observed, ShownCertificate};

/// Days before a certificate's end from which it is warned of.
const WARN_DAYS: i64 = 30;

pub(super) async fn examine(
    chart: &mut Chart<'_>,
    subject: &Subject<'_>,
    partner: &Partner,
) -> Option<Connection> {
    if chart.stopped_by.is_some() {
        return None;
    }
    let opened = partner.connect().await;
    let seen = partner.observed();
    let failed = opened
        .as_ref()
        .err()
        .map(|error| (failed_step(error, subject.integration, &seen), error));
    for step in steps_to_login(subject.integration) {
        if chart.has(step, None) && failed.is_none_or(|(failed, _)| failed != step) {
            continue;
        }
        let told = told(step, subject, &seen);
        match failed {
            Some((failed, error)) if failed == step => {
                let diagnosis = diagnose(error, subject.integration, &seen);
                chart.stop(Finding::failed(step, told, diagnosis));
                return None;
            }
            _ => {
                let finding = match concern(step, subject, &seen) {
                    Some(diagnosis) => Finding::warning(step, told, diagnosis),
                    None => Finding::ok(step, told),
                };
                chart.add(finding);
            }
        }
    }
    match opened {
        Ok(connection) => Some(connection),
        Err(error) => {
            let diagnosis = diagnose(&error, subject.integration, &seen);
            chart.stop(Finding::failed(CheckStep::Settings, Vec::new(), diagnosis));
            None
        }
    }
}

/// Which step an error belongs to.
fn failed_step(error: &RemoteError, integration: &Integration, seen: &Observed) -> CheckStep {
    let ssh = integration.spec.protocol == IntegrationProtocol::Sftp;
    match error.step {
        Step::Prepare => CheckStep::Settings,
        Step::Resolve => CheckStep::NameResolution,
        Step::Connect if seen.server.is_none() => CheckStep::Tcp,
        Step::Connect => CheckStep::Greeting,
        Step::Handshake if ssh => match &error.fault {
            RemoteFault::HostKeyUnknown { .. } | RemoteFault::HostKeyChanged { .. } => {
                CheckStep::HostKey
            }
            _ if !speaks_ssh(seen) => CheckStep::Greeting,
            _ => CheckStep::Algorithms,
        },
        Step::Handshake if seen.tls_agreed => CheckStep::Tls,
        Step::Handshake => CheckStep::AuthTls,
        _ => CheckStep::Login,
    }
}

fn speaks_ssh(seen: &Observed) -> bool {
    let greeting = seen.greeting.as_deref();
    // RFC 4253 s.5.1: 1.99 is a server that speaks 2.0 as well.
    greeting.is_some_and(|line| line.starts_with("SSH-2.0") || line.starts_with("SSH-1.99"))
}

/// What was seen of a step.
fn told(step: CheckStep, subject: &Subject<'_>, seen: &Observed) -> Vec<String> {
    let spec = &subject.integration.spec;
    let mut told = Vec::new();
    match step {
        CheckStep::Greeting => told.extend(seen.greeting.clone()),
        CheckStep::AuthTls if seen.tls_agreed => told.push("the server agrees to TLS".to_owned()),
        CheckStep::Tls => {
            if let Some(tls) = &seen.tls {
                told.push(format!("{}, {}", tls.version, tls.cipher));
            }
            if let Some(shown) = &seen.certificate {
                told.extend(certificate(shown));
            }
            if spec.protocol == IntegrationProtocol::Ftps {
                told.push(trusted_by(subject.integration));
            }
        }
        CheckStep::Algorithms => {
            if let Some(ssh) = &seen.ssh {
                told.push(format!(
                    "{}, {}, {}",
                    ssh.key_exchange, ssh.cipher, ssh.host_key_algorithm
                ));
            }
        }
        CheckStep::HostKey => {
            if let Some(shown) = &seen.host_key {
                told.push(format!("shown: {}", shown.fingerprint));
            }
            let confirmed = subject.integration.host_keys.iter();
            let confirmed = confirmed.filter(|key| key.confirmed_at.is_some());
            told.extend(confirmed.map(|key| format!("confirmed: {}", key.fingerprint)));
        }
        CheckStep::Login => {
            let proofs: Vec<_> = seen.proofs.iter().copied().map(proof).collect();
            let by = match (spec.protocol, proofs.is_empty()) {
                (IntegrationProtocol::Sftp, false) => proofs.join(" and "),
                (IntegrationProtocol::Sftp, true) if spec.settings.sftp.auth == SftpAuth::Key => {
                    "no proof at all".to_owned()
                }
                _ if spec.settings.tls.client_certificate.is_some() => {
                    "password and client certificate".to_owned()
                }
                _ => "password".to_owned(),
            };
            told.push(format!("as `{}` by {by}", spec.username));
        }
        _ => {}
    }
    told
}

fn proof(proof: Proof) -> &'static str {
    match proof {
        Proof::CurrentKey => "key",
        Proof::PreviousKey => "the key before the new one",
        Proof::Password => "password",
    }
}

fn certificate(shown: &ShownCertificate) -> Vec<String> {
    let mut told = vec![
        format!(
            "certificate of {}, signed by {}",
            shown.subject, shown.issuer
        ),
        format!("SHA-256 {}", shown.fingerprint),
    ];
    if !shown.names.is_empty() {
        told.push(format!("for {}", shown.names.join(", ")));
    }
    if let (Some(from), Some(to)) = (shown.not_before, shown.not_after) {
        told.push(format!("valid from {from} to {to}"));
    }
    if shown.intermediates > 0 {
        told.push(format!("{} certificates came with it", shown.intermediates));
    }
    told
}

fn trusted_by(integration: &Integration) -> String {
    let tls = &integration.spec.settings.tls;
    let pin = tls.certificate_pin.as_ref().map(|pin| pin.as_str());
    match (tls.ca_certificate.is_some(), pin) {
        _ if tls.skip_verify => "not checked (ftps.skip_verify)".to_owned(),
        (true, Some(pin)) => format!("expected: signed by the CA given, and the pin {pin}"),
        (true, None) => "expected: signed by the CA given".to_owned(),
        (false, Some(pin)) => format!("expected: the pin {pin}"),
        (false, None) => "expected: signed by an authority that the system trusts".to_owned(),
    }
}

/// What should be known of a step that went well.
fn concern(step: CheckStep, subject: &Subject<'_>, seen: &Observed) -> Option<Diagnosis> {
    let spec = &subject.integration.spec;
    let name = &spec.name;
    match step {
        CheckStep::Tls if spec.protocol == IntegrationProtocol::Ftp => Some(Diagnosis {
            fault: "PLAIN FTP: user name, password and files can be read by whoever is on the way"
                .to_owned(),
            likely_cause: "the integration was set up without TLS".to_owned(),
            what_to_do: format!(
                "ask the partner for FTPS or SFTP; then: layover integration set {name} --protocol \
                 ftps"
            ),
        }),
        CheckStep::Tls if spec.settings.tls.skip_verify => {
            let shown = seen.certificate.as_ref();
            let print = shown.map(|shown| shown.fingerprint.to_string());
            Some(Diagnosis {
                fault: "the certificate is NOT CHECKED: whoever answers is taken for the partner"
                    .to_owned(),
                likely_cause: "ftps.skip_verify is on".to_owned(),
                what_to_do: format!(
                    "compare the fingerprint with the partner by telephone; then: layover \
                     integration set {name} --skip-verify no --certificate-pin {}",
                    print.unwrap_or_default()
                ),
            })
        }
        CheckStep::Tls => {
            let ends = seen.certificate.as_ref()?.not_after?;
            ends_soon(ends, subject.surroundings.now.tell()).then(|| Diagnosis {
                fault: format!("the certificate expires on {ends}"),
                likely_cause: "its time is nearly over".to_owned(),
                what_to_do: match spec.settings.tls.certificate_pin {
                    Some(_) => "ask the partner for the fingerprint of the next one in time",
                    None => "ask the partner whether it will be renewed in time",
                }
                .to_owned(),
            })
        }
        CheckStep::Login if seen.proofs.contains(&Proof::PreviousKey) => Some(Diagnosis {
            fault: "the server took the key before the new one".to_owned(),
            likely_cause: "the partner has not installed our new public key yet".to_owned(),
            what_to_do: format!("send it: layover integration key show {name}"),
        }),
        CheckStep::Login if lets_in_without_key(subject, seen) => Some(Diagnosis {
            fault: "the server let us in without our key".to_owned(),
            likely_cause: "it asks for less than a key for this user: nothing, or a password"
                .to_owned(),
            what_to_do: format!(
                "ask the partner to demand our key for this user; it is: layover integration key \
                 show {name}"
            ),
        }),
        _ => None,
    }
}

/// A key is to prove who we are, and none did.
fn lets_in_without_key(subject: &Subject<'_>, seen: &Observed) -> bool {
    let spec = &subject.integration.spec;
    let by_key =
        spec.protocol == IntegrationProtocol::Sftp && spec.settings.sftp.auth == SftpAuth::Key;
    let keys = [Proof::CurrentKey, Proof::PreviousKey];
    by_key && !seen.proofs.iter().any(|proof| keys.contains(proof))
}

fn ends_soon(ends: Timestamp, now: Timestamp) -> bool {
    let warned = now.checked_add((WARN_DAYS * 24).hours());
    warned.is_ok_and(|warned| ends <= warned)
}
