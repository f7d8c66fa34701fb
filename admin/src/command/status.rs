//! `layover status`: is a server running here, and what does it hold.

mod health;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use layover_depot::{DiskRoom, RetentionStatus};
use layover_retention::Timestamp;
use layover_server::{Addresses, TlsCertificateState};
use serde::Serialize;

use super::clock::{self, ClockView};
use super::retention::{add_disks, add_status};
use crate::context::Context;
use crate::error::CliError;
use crate::output::{Cell, Fields, Tone};

/// A file that is overdue by this many sweep periods means that the sweep does
/// not work.
const OVERDUE_PERIODS: u64 = 3;

#[derive(Debug, Serialize)]
struct StatusView {
    running: bool,
    server: Option<Addresses>,
    accounts: usize,
    sessions: usize,
    /// Of the certificate in use; none where no server runs, or no FTPS.
    tls_days_left: Option<u64>,
    /// What is to be said against its dates.
    tls_warning: Option<String>,
    #[serde(flatten)]
    retention: RetentionStatus,
    clocks: Vec<ClockView>,
    /// Room where files and the database lie.
    disks: Vec<DiskRoom>,
}

pub(super) async fn run(context: &mut Context, health: bool) -> Result<(), CliError> {
    let server = running_server(&context.settings.data_dir)?;
    let depot = context.depot().await?;
    let registry = depot.registry();
    let now = context.clock.now();
    let certificate = server.as_ref().and_then(|s| s.tls_certificate.as_ref());
    let view = StatusView {
        tls_days_left: certificate.map(|certificate| certificate.days_left(now)),
        tls_warning: certificate.and_then(|certificate| certificate.warning(now)),
        running: server.is_some(),
        server,
        accounts: registry.list_accounts().await?.len(),
        sessions: registry.list_sessions().await?.len(),
        retention: registry.retention_status().await?,
        clocks: clock::views(&depot).await?,
        disks: depot.disk_room().await?,
    };
    depot.close().await;
    if health {
        return tell_health(context, &view).await;
    }
    let mut fields = Fields::new();
    match &view.server {
        Some(server) => {
            fields.add(
                "server",
                match server.stopping {
                    false => Cell::toned(format!("running, process {}", server.pid), Tone::Good),
                    true => {
                        let told = "stopping, running transfers may finish";
                        Cell::toned(format!("{told}, process {}", server.pid), Tone::Notice)
                    }
                },
            );
            fields.add("version", server.version.as_str());
            fields.add("node", server.node.as_str());
            fields.add("since", server.started_at.as_str());
            if let Some(sandbox) = &server.sandbox {
                let tone = match sandbox.is_in_force() {
                    true => Tone::Good,
                    false => Tone::Notice,
                };
                fields.add("sandbox", Cell::toned(sandbox.detail.as_str(), tone));
            }
            for (name, at) in [
                ("SFTP", server.sftp),
                ("FTPS", server.ftps),
                ("FTPS, implicit", server.ftps_implicit),
                ("console", server.console),
            ] {
                let off = || "switched off".to_owned();
                fields.add(name, at.map_or_else(off, |at| at.to_string()));
            }
            if let Some(certificate) = &server.tls_certificate {
                add_certificate(&mut fields, certificate, now);
            }
        }
        None => fields.add("server", Cell::toned("not running here", Tone::Notice)),
    }
    fields.add("accounts", view.accounts.to_string());
    fields.add("sessions", view.sessions.to_string());
    add_status(&mut fields, &view.retention);
    add_disks(&mut fields, &view.disks);
    clock::add_warnings(&mut fields, &view.clocks);
    context.out.fields(&view, &fields)?;
    Ok(())
}

fn add_certificate(fields: &mut Fields, certificate: &TlsCertificateState, now: Timestamp) {
    let print = &certificate.fingerprint;
    let cell = match certificate.warning(now) {
        Some(warning) => Cell::toned(format!("{print}: {warning}; renew it"), Tone::Alarm),
        None => Cell::from(format!("{print}, {}", valid_for(certificate, now))),
    };
    fields.add("TLS certificate", cell);
    if let Some(fault) = &certificate.fault {
        let text = format!("{fault}; the certificate above stays in use");
        fields.add("TLS certificate, new", Cell::toned(text, Tone::Alarm));
    }
}

/// How long a certificate is still good.
pub(super) fn valid_for(certificate: &TlsCertificateState, now: Timestamp) -> String {
    let days = certificate.days_left(now);
    format!("until {} ({days} days left)", certificate.not_after)
}

/// The server that runs on this data directory, if one does.
pub(super) fn running_server(data_dir: &std::path::Path) -> Result<Option<Addresses>, CliError> {
    let addresses = Addresses::read(data_dir).map_err(|source| CliError::AddressFile {
        data_dir: data_dir.to_owned(),
        source,
    })?;
    Ok(addresses.filter(Addresses::process_is_alive))
}

/// The verdict, and what it goes by.
#[derive(Debug, Serialize)]
struct HealthView<'a> {
    healthy: bool,
    /// Why not.
    reason: Option<&'a str>,
    #[serde(flatten)]
    status: &'a StatusView,
}

async fn tell_health(context: &mut Context, view: &StatusView) -> Result<(), CliError> {
    let judged = judge_health(context, view).await;
    let document = HealthView {
        healthy: judged.is_ok(),
        reason: judged.as_ref().err().map(String::as_str),
        status: view,
    };
    if judged.is_ok() || context.out.is_json() {
        context.out.done(&document, "healthy")?;
    }
    judged.map_err(|reason| CliError::NotHealthy { reason })
}

/// # Errors
/// Why it is not healthy.
async fn judge_health(context: &Context, view: &StatusView) -> Result<(), String> {
    let server = view.server.as_ref().ok_or("no server is running here")?;
    health::ask(server).await?;
    let period_s = context.settings.retention.sweep_every.as_secs();
    let overdue_s = view.retention.oldest_overdue_s;
    if overdue_s > period_s.saturating_mul(OVERDUE_PERIODS) {
        return Err(format!(
            "a file is overdue by {overdue_s} s: the sweep does not work"
        ));
    }
    Ok(())
}

/// An address that this machine can connect to.
pub(super) fn from_this_machine(bound: SocketAddr) -> SocketAddr {
    let ip = match bound.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, bound.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unspecified_address_is_reached_over_loopback() {
        for (bound, reached) in [
            ("0.0.0.0:2222", "127.0.0.1:2222"),
            ("[::]:2222", "[::1]:2222"),
            ("192.0.2.1:22", "192.0.2.1:22"),
        ] {
            assert_eq!(
                from_this_machine(bound.parse().unwrap()).to_string(),
                reached
            );
        }
    }
}
