//! TCP connections from the right address, with time-outs.

use std::net::SocketAddr;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpSocket, TcpStream, lookup_host};

use super::control::timed;
use super::faults;
use crate::fault::{RemoteError, RemoteFault, Step};
use crate::source::SourceAddresses;
use layover_depot::timer;

/// Addresses of one host name that are tried.
const MAX_ADDRESSES: usize = 16;
/// Silence after which the system asks whether the server is still there: the
/// control connection is silent through a long transfer, and address
/// translators forget what is silent.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// Connects to a host, its addresses one after the other.
pub(super) async fn host(
    host: &str,
    port: u16,
    sources: Option<SourceAddresses>,
    limit: Duration,
) -> Result<TcpStream, RemoteError> {
    let unknown = || {
        let host = host.to_owned();
        RemoteError::new(Step::Resolve, RemoteFault::UnknownHost { host })
    };
    let found = timer::timeout(limit, lookup_host((host, port)))
        .await
        .map_err(|_| RemoteError::new(Step::Resolve, RemoteFault::TimedOut { after: limit }))?
        .map_err(|_| unknown())?;
    let mut last = unknown();
    for address in found.take(MAX_ADDRESSES) {
        match address_from(address, sources, limit).await {
            Ok(tcp) => return Ok(tcp),
            // An address that none of ours can connect to says less than one that refused.
            Err(fault @ RemoteFault::Settings { .. }) if last.step == Step::Resolve => {
                last = RemoteError::new(Step::Prepare, fault);
            }
            Err(RemoteFault::Settings { .. }) => {}
            Err(fault) => last = RemoteError::new(Step::Connect, fault),
        }
    }
    Err(last)
}

/// Connects to an address.
pub(crate) async fn address_from(
    address: SocketAddr,
    sources: Option<SourceAddresses>,
    limit: Duration,
) -> Result<TcpStream, RemoteFault> {
    let source = match sources {
        None => None,
        Some(sources) => Some(sources.towards(address).ok_or_else(|| {
            let detail = format!(
                "none of the source addresses ({sources}) can connect to {}",
                address.ip()
            );
            RemoteFault::Settings { detail }
        })?),
    };
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }
    .map_err(|error| local(&error))?;
    if let Some(source) = source {
        socket
            .bind(SocketAddr::new(source, 0))
            .map_err(|error| local(&error))?;
    }
    let tcp = timed(limit, socket.connect(address)).await?;
    tune(&tcp);
    Ok(tcp)
}

/// No waiting for more to send, and signs of life. A connection works without.
pub(super) fn tune(tcp: &TcpStream) {
    let _ = tcp.set_nodelay(true);
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE)
        .with_interval(KEEPALIVE);
    let _ = SockRef::from(tcp).set_tcp_keepalive(&keepalive);
}

fn local(error: &std::io::Error) -> RemoteFault {
    match faults::of_io(error) {
        RemoteFault::Unreachable => RemoteFault::Settings {
            detail: "the source address is not one of this machine".to_owned(),
        },
        _ => RemoteFault::Local {
            detail: error.to_string(),
        },
    }
}
