//! From a host name to a TCP connection, from the source address that the
//! partner's firewall knows.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpSocket, TcpStream, lookup_host};

use crate::fault::{RemoteError, RemoteFault, Step};
use crate::source::SourceAddresses;
use layover_depot::timer::timeout;

/// Addresses of one name that are tried, in the resolver's order.
const MAX_ADDRESSES: usize = 8;

/// Where to connect to, and from where.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dial<'a> {
    pub(super) host: &'a str,
    pub(super) port: u16,
    pub(super) source_address: Option<SourceAddresses>,
    /// For the name, and for each address.
    pub(super) limit: Duration,
}

impl Dial<'_> {
    /// Connects to the first address that answers; the error is the last one's.
    pub(super) async fn connect(self) -> Result<TcpStream, RemoteError> {
        let mut last = RemoteError::new(
            Step::Resolve,
            RemoteFault::UnknownHost {
                host: self.host.to_owned(),
            },
        );
        for address in self.resolve().await? {
            match timeout(self.limit, self.connect_to(address)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(fault)) => last = RemoteError::new(Step::Connect, fault),
                Err(_) => {
                    last = RemoteError::new(
                        Step::Connect,
                        RemoteFault::TimedOut { after: self.limit },
                    );
                }
            }
        }
        Err(last)
    }

    async fn resolve(self) -> Result<Vec<SocketAddr>, RemoteError> {
        let unknown = || {
            RemoteError::new(
                Step::Resolve,
                RemoteFault::UnknownHost {
                    host: self.host.to_owned(),
                },
            )
        };
        let found = timeout(self.limit, lookup_host((self.host, self.port)))
            .await
            .map_err(|_| {
                RemoteError::new(Step::Resolve, RemoteFault::TimedOut { after: self.limit })
            })?
            .map_err(|_| unknown())?;
        let found: Vec<_> = found.collect();
        if found.is_empty() {
            return Err(unknown());
        }
        let usable: Vec<_> = found
            .into_iter()
            .filter(|address| {
                self.source_address
                    .is_none_or(|sources| sources.towards(*address).is_some())
            })
            .take(MAX_ADDRESSES)
            .collect();
        if usable.is_empty() {
            return Err(RemoteError::new(
                Step::Prepare,
                RemoteFault::Settings {
                    detail: format!(
                        "`{}` has no address of the kind of the source address {}",
                        self.host,
                        self.source_address
                            .map(|source| source.to_string())
                            .unwrap_or_default()
                    ),
                },
            ));
        }
        Ok(usable)
    }

    async fn connect_to(self, address: SocketAddr) -> Result<TcpStream, RemoteFault> {
        let socket = if address.is_ipv4() {
            TcpSocket::new_v4()
        } else {
            TcpSocket::new_v6()
        }
        .map_err(|error| local(&error))?;
        if let Some(source) = self.source_address.and_then(|all| all.towards(address)) {
            socket
                .bind(SocketAddr::new(source, 0))
                .map_err(|error| RemoteFault::Settings {
                    detail: format!("the source address {source} cannot be used: {error}"),
                })?;
        }
        socket
            .set_nodelay(true)
            .and_then(|()| socket.set_keepalive(true))
            .map_err(|error| local(&error))?;
        socket.connect(address).await.map_err(|error| fault(&error))
    }
}

fn local(error: &io::Error) -> RemoteFault {
    RemoteFault::Local {
        detail: error.to_string(),
    }
}

fn fault(error: &io::Error) -> RemoteFault {
    match error.kind() {
        ErrorKind::ConnectionRefused => RemoteFault::ConnectionRefused,
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable | ErrorKind::NetworkDown => {
            RemoteFault::Unreachable
        }
        ErrorKind::TimedOut => RemoteFault::Unreachable,
        ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted => RemoteFault::ConnectionLost,
        _ => local(error),
    }
}
