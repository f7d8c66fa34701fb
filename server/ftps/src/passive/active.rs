//! Active mode: we connect to the client, and to nobody else (F19).

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use layover_depot::timer;
use tokio::net::{TcpSocket, TcpStream};
use tokio_util::sync::CancellationToken;

/// Ports below are services of the client's machine, not data ports
/// (RFC 2577 s.3).
const LOWEST_PORT: u16 = 1024;

/// Why an active data connection was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ActiveFault {
    /// The command names another address than the client's.
    #[error("PORT and EPRT may name only the address that you come from")]
    OtherAddress,
    /// The command names a port of a service.
    #[error("PORT and EPRT may not name a port below 1024")]
    LowPort,
    /// The client did not accept in time.
    #[error("no data connection to your port {port} in time; use passive mode (PASV, EPSV)")]
    TimedOut {
        /// The port.
        port: u16,
    },
    /// The client or the network refused.
    #[error("your port {port} refused the data connection; use passive mode (PASV, EPSV)")]
    Refused {
        /// The port.
        port: u16,
    },
    /// The transfer was cancelled.
    #[error("the transfer was cancelled before the data connection was made")]
    Cancelled,
}

/// Connects from `local`, the address that the client reached, at a port of the
/// operating system's choice, to `target` within `limit`; refuses every target
/// but `peer`, the control connection's. Check it at PORT, too, with
/// [`ActiveFault::check`].
pub(crate) async fn connect_active(
    local: IpAddr,
    peer: IpAddr,
    target: SocketAddr,
    limit: Duration,
    cancel: &CancellationToken,
) -> Result<TcpStream, ActiveFault> {
    ActiveFault::check(peer, target)?;
    let port = target.port();
    let connected = async {
        let target = SocketAddr::new(target.ip().to_canonical(), port);
        let socket = match target {
            SocketAddr::V4(_) => TcpSocket::new_v4(),
            SocketAddr::V6(_) => TcpSocket::new_v6(),
        }?;
        socket.set_nodelay(true)?;
        socket.bind(SocketAddr::new(local.to_canonical(), 0))?;
        socket.connect(target).await
    };
    tokio::select! {
        biased;
        () = cancel.cancelled() => Err(ActiveFault::Cancelled),
        stream = timer::timeout(limit, connected) => stream
            .map_err(|timer::Elapsed| ActiveFault::TimedOut { port })?
            .map_err(|_| ActiveFault::Refused { port }),
    }
}

impl ActiveFault {
    /// Whether a client at `peer` may name `target`.
    pub(crate) fn check(peer: IpAddr, target: SocketAddr) -> Result<(), Self> {
        if target.ip().to_canonical() != peer.to_canonical() {
            Err(Self::OtherAddress)
        } else if target.port() < LOWEST_PORT {
            Err(Self::LowPort)
        } else {
            Ok(())
        }
    }
}
