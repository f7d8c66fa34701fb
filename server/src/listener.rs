//! Listening: a bound socket, and the loop that lets peers in.
//!
//! The gate is asked before a byte is read or written: a peer from an address
//! that no account allows costs an accept and a close. Behind a load balancer the
//! address is the one that the balancer tells (F17).

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use layover_depot::{
    AcceptTroubles, Acceptor, AdmitRefused, Balancers, ConnectionSlot, Depot, FaultLog, Proxied,
    ProxyHeaderFault, normalise_ip, read_proxy_header,
};
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Connections of balancers whose header is being waited for, at each port.
const MAX_AWAITED_HEADERS: usize = 1024;

/// A peer that is gone without a word is found out by this: silence, then so many questions
/// without an answer, in two minutes at most. It also keeps the control connection of a long
/// transfer alive in a NAT's table.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(60);
const KEEPALIVE_EVERY: Duration = Duration::from_secs(15);
const KEEPALIVE_PROBES: u32 = 4;

/// Why a port could not be had.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}")]
pub struct BindError {
    /// The address and port asked for.
    pub address: SocketAddr,
    /// The setting that says which port, and its variable.
    pub setting: &'static str,
    /// What the operating system says.
    pub source: io::Error,
}

/// A port to be bound.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    pub(crate) address: SocketAddr,
    /// As in [`BindError`].
    pub(crate) setting: &'static str,
}

/// A bound port.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: TcpListener,
    address: SocketAddr,
}

impl Listener {
    /// Binds, unless the listener is switched off.
    pub(crate) async fn bind_wanted(wanted: Option<Wanted>) -> Result<Option<Self>, BindError> {
        match wanted {
            Some(wanted) => Self::bind(wanted).await.map(Some),
            None => Ok(None),
        }
    }

    /// Binds; connections queue up in the kernel from now on.
    pub(crate) async fn bind(wanted: Wanted) -> Result<Self, BindError> {
        let Wanted { address, setting } = wanted;
        let failed = |source| BindError {
            address,
            setting,
            source,
        };
        let socket = TcpListener::bind(address).await.map_err(failed)?;
        // Linux gives it to every connection that comes in here.
        let keepalive = TcpKeepalive::new()
            .with_time(KEEPALIVE_AFTER)
            .with_interval(KEEPALIVE_EVERY)
            .with_retries(KEEPALIVE_PROBES);
        SockRef::from(&socket)
            .set_tcp_keepalive(&keepalive)
            .map_err(failed)?;
        let address = socket.local_addr().map_err(failed)?;
        Ok(Self { socket, address })
    }

    /// Where it really listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The socket, for who accepts himself.
    pub(crate) fn into_socket(self) -> TcpListener {
        self.socket
    }

    /// Accepts until `stop` and gives every admitted connection to `serve`,
    /// which must return at once.
    pub(crate) async fn accept_until<F>(self, door: Door, stop: CancellationToken, serve: F)
    where
        F: Fn(Admitted) + Send + Sync + 'static,
    {
        let entrance = Arc::new(Entrance {
            door,
            refusals: FaultLog::default(),
            serve,
        });
        let awaited = Arc::new(Semaphore::new(MAX_AWAITED_HEADERS));
        let mut acceptor = Acceptor::new(AcceptTroubles::default());
        loop {
            let (stream, from) = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                accepted = acceptor.next(|| self.socket.accept()) => accepted,
            };
            if !entrance.door.balancers.contains(from.ip()) {
                entrance.enter(stream, from, None);
                continue;
            }
            let Ok(place) = Arc::clone(&awaited).try_acquire_owned() else {
                entrance.refuse(from, &Refusal::TooManyHeaders);
                continue;
            };
            let (entrance, stop) = (Arc::clone(&entrance), stop.clone());
            let tasks = entrance.door.tasks.clone();
            tasks.spawn(async move {
                tokio::select! {
                    biased;
                    () = stop.cancelled() => {}
                    () = entrance.enter_proxied(stream, from) => {}
                }
                drop(place);
            });
        }
    }
}

/// What a listener needs to let peers in.
#[derive(Clone, Debug)]
pub(crate) struct Door {
    /// Whose gate is asked.
    pub(crate) depot: Depot,
    /// Who passes connections on.
    pub(crate) balancers: Balancers,
    /// Where those are waited for that wait for a header.
    pub(crate) tasks: TaskTracker,
}

/// A door, and what is behind it.
struct Entrance<F> {
    door: Door,
    refusals: FaultLog,
    serve: F,
}

/// Why a connection gets no banner.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error(transparent)]
    Admission(#[from] AdmitRefused),
    #[error("the load balancer's connection: {0}")]
    Header(#[from] ProxyHeaderFault),
    #[error("the load balancer has {MAX_AWAITED_HEADERS} connections without a PROXY header")]
    TooManyHeaders,
}

impl Refusal {
    fn kind(&self) -> &'static str {
        match self {
            Self::Admission(reason) => reason.as_str(),
            Self::Header(_) => "header",
            Self::TooManyHeaders => "too_many_headers",
        }
    }
}

impl<F: Fn(Admitted)> Entrance<F> {
    async fn enter_proxied(&self, mut stream: TcpStream, from: SocketAddr) {
        match read_proxy_header(&mut stream).await {
            Ok(proxied) => self.enter(stream, from, proxied),
            Err(fault) => self.refuse(from, &fault.into()),
        }
    }

    fn enter(&self, stream: TcpStream, from: SocketAddr, proxied: Option<Proxied>) {
        let peer = proxied.map_or(from, |proxied| proxied.source);
        match self.door.depot.gate().admit(normalise_ip(peer.ip())) {
            Ok(slot) => (self.serve)(Admitted {
                stream,
                peer,
                found_at: proxied.map(|proxied| proxied.destination),
                slot,
            }),
            Err(reason) => self.refuse(peer, &reason.into()),
        }
    }

    /// A scan does not fill the log, and no reason hides another.
    fn refuse(&self, peer: SocketAddr, reason: &Refusal) {
        tracing::debug!(peer.addr = %peer, outcome = "refused", "connection refused: {reason}");
        if let Some(untold) = self.refusals.turn(reason.kind()) {
            tracing::info!(
                peer.addr = %peer,
                outcome = "refused",
                untold,
                "connections are refused before the banner, the last from {peer}: {reason}"
            );
        }
    }
}

/// A connection that the gate has let in.
#[derive(Debug)]
pub(crate) struct Admitted {
    /// The connection; nothing of the peer's has been read, nothing written.
    pub(crate) stream: TcpStream,
    /// Who is at the other end, behind a load balancer the client.
    pub(crate) peer: SocketAddr,
    /// Where a client found the load balancer that passed it on.
    pub(crate) found_at: Option<SocketAddr>,
    /// Its place within the limits; freed when dropped.
    pub(crate) slot: ConnectionSlot,
}
#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whoever_comes_in_is_asked_now_and_then_whether_he_is_there() {
        let wanted = Wanted {
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            setting: "[sftp] port",
        };
        let listener = Listener::bind(wanted).await.unwrap();
        let _client = TcpStream::connect(listener.address()).await.unwrap();
        let (accepted, _) = listener.into_socket().accept().await.unwrap();
        let accepted = SockRef::from(&accepted);
        assert!(accepted.keepalive().unwrap());
        assert_eq!(accepted.tcp_keepalive_time().unwrap(), KEEPALIVE_AFTER);
        assert_eq!(accepted.tcp_keepalive_interval().unwrap(), KEEPALIVE_EVERY);
        assert_eq!(accepted.tcp_keepalive_retries().unwrap(), KEEPALIVE_PROBES);
    }
}
