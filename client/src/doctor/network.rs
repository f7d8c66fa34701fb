//! The host's name and TCP, to each of its addresses.

use std::net::SocketAddr;

use futures_util::future::join_all;
use tokio::net::lookup_host;

use super::diagnosis::diagnose;
use super::{Chart, CheckStep, Finding, Subject};
use crate::fault::{RemoteError, RemoteFault, Step};
use crate::ftps::dial;
use crate::witness::Observed;
use layover_depot::timer::timeout;

/// Addresses of one name that are tried.
const MAX_ADDRESSES: usize = 16;

pub(super) async fn examine(chart: &mut Chart<'_>, subject: &Subject<'_>) {
    let Some(addresses) = resolve(chart, subject).await else {
        return;
    };
    connect(chart, subject, &addresses).await;
}

async fn resolve(chart: &mut Chart<'_>, subject: &Subject<'_>) -> Option<Vec<SocketAddr>> {
    let step = CheckStep::NameResolution;
    let spec = &subject.integration.spec;
    let limit = subject.surroundings.waits.connect;
    let found = timeout(limit, lookup_host((spec.host.as_str(), spec.port()))).await;
    let fault = match found {
        Ok(Ok(found)) => {
            let found: Vec<_> = found.take(MAX_ADDRESSES).collect();
            if !found.is_empty() {
                let seen = found.iter().map(|address| address.ip().to_string());
                chart.add(Finding::ok(step, seen.collect()));
                return Some(found);
            }
            RemoteFault::UnknownHost {
                host: spec.host.to_string(),
            }
        }
        Ok(Err(_)) => RemoteFault::UnknownHost {
            host: spec.host.to_string(),
        },
        Err(_) => RemoteFault::TimedOut { after: limit },
    };
    let error = RemoteError::new(Step::Resolve, fault);
    let diagnosis = diagnose(&error, subject.integration, &Observed::default());
    chart.stop(Finding::failed(step, Vec::new(), diagnosis));
    None
}

/// All at once: a silent address costs its whole time-out.
async fn connect(chart: &mut Chart<'_>, subject: &Subject<'_>, addresses: &[SocketAddr]) {
    let step = CheckStep::Tcp;
    let (sources, limit) = (
        subject.surroundings.sources,
        subject.surroundings.waits.connect,
    );
    let tries = addresses
        .iter()
        .map(|address| async { (*address, dial::address_from(*address, sources, limit).await) });
    let mut seen = Vec::new();
    let mut faults = Vec::new();
    for (address, tried) in join_all(tries).await {
        match tried {
            Ok(tcp) => {
                let ours = tcp.local_addr().map(|ours| ours.ip().to_string());
                let ours = ours.unwrap_or_else(|_| "this machine".to_owned());
                seen.push(format!("{address} answers {ours}"));
            }
            Err(fault) => {
                seen.push(format!("{address}: {fault}"));
                faults.push(fault);
            }
        }
    }
    // The one that says most: an address that refuses us was reached.
    faults.sort_by_key(|fault| match fault {
        RemoteFault::ConnectionRefused => 0,
        RemoteFault::TimedOut { .. } => 1,
        _ => 2,
    });
    let failed = faults.len();
    let Some(fault) = faults.into_iter().next() else {
        chart.add(Finding::ok(step, seen));
        return;
    };
    let error = RemoteError::new(Step::Connect, fault);
    let diagnosis = diagnose(&error, subject.integration, &Observed::default());
    if failed < addresses.len() {
        chart.add(Finding::warning(step, seen, diagnosis));
    } else {
        chart.stop(Finding::failed(step, seen, diagnosis));
    }
}
