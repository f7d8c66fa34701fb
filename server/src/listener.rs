//! Listening: a bound socket, and the loop that lets peers in.
//!
//! The gate is asked before a byte is read or written: a peer from an address
//! that no account allows costs an accept and a close.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use layover_depot::timer::Stopwatch;
use layover_depot::{AcceptTroubles, Acceptor, ConnectionSlot, Depot, normalise_ip};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

/// Refused connections are summed up in the log no more often than this.
const REFUSALS_EVERY: Duration = Duration::from_secs(60);

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
    pub(crate) async fn accept_until<F>(self, depot: Depot, stop: CancellationToken, serve: F)
    where
        F: Fn(Admitted) + Send,
    {
        let mut refusals = Refusals::new();
        let mut acceptor = Acceptor::new(AcceptTroubles::default());
        loop {
            let (stream, peer) = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                accepted = acceptor.next(|| self.socket.accept()) => accepted,
            };
            match depot.gate().admit(normalise_ip(peer.ip())) {
                Ok(slot) => serve(Admitted { stream, peer, slot }),
                Err(reason) => refusals.count(peer, &reason),
            }
        }
    }
}

/// A connection that the gate has let in.
#[derive(Debug)]
pub(crate) struct Admitted {
    /// The connection; nothing has been read or written.
    pub(crate) stream: TcpStream,
    /// Who is at the other end.
    pub(crate) peer: SocketAddr,
    /// Its place within the limits; freed when dropped.
    pub(crate) slot: ConnectionSlot,
}

/// Counts refused connections, so that a scan does not fill the log.
struct Refusals {
    count: u64,
    since: Option<Stopwatch>,
}

impl Refusals {
    fn new() -> Self {
        Self {
            count: 0,
            since: None,
        }
    }

    fn count(&mut self, peer: SocketAddr, reason: &impl std::fmt::Display) {
        tracing::debug!(peer.addr = %peer, outcome = "refused", "connection refused: {reason}");
        self.count = self.count.saturating_add(1);
        if self
            .since
            .is_none_or(|since| since.elapsed() >= REFUSALS_EVERY)
        {
            tracing::info!(
                count = self.count,
                peer.addr = %peer,
                "{} connections refused before the banner; the last from {peer}: {reason}",
                self.count
            );
            *self = Self {
                count: 0,
                since: Some(Stopwatch::start()),
            };
        }
    }
}
