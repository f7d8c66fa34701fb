//! Active mode: the server connects to us.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};

use super::command::Command;
use super::dial;
use crate::fault::RemoteFault;
use layover_depot::timer;

/// Strangers that may knock while we wait for the server.
const MAX_STRANGERS: usize = 16;

/// A port that waits for the server.
pub(super) struct Waiting {
    listener: TcpListener,
    /// What the server is told.
    pub(super) announced: SocketAddr,
}

impl Waiting {
    /// Listens on the first free port of `ports`, beginning somewhere in it: a
    /// port that was just used may still be held for its last connection.
    pub(super) fn listen(
        local: IpAddr,
        ports: &RangeInclusive<u16>,
        announced: Option<Ipv4Addr>,
    ) -> Result<Self, RemoteFault> {
        let local = local.to_canonical();
        let (first, last) = (u32::from(*ports.start()), u32::from(*ports.end()));
        let count = (last + 1).saturating_sub(first);
        let start = random_below(count);
        for step in 0..count {
            let port = u16::try_from(first + (start + step) % count).unwrap_or_default();
            if let Ok(listener) = bind(SocketAddr::new(local, port))
                && let Ok(bound) = listener.local_addr()
            {
                let address = match announced {
                    Some(address) if local.is_ipv4() => IpAddr::V4(address),
                    _ => local,
                };
                return Ok(Self {
                    listener,
                    announced: SocketAddr::new(address, bound.port()),
                });
            }
        }
        Err(RemoteFault::Settings {
            detail: format!(
                "no port of {}-{} is free for an active data connection",
                ports.start(),
                ports.end()
            ),
        })
    }

    /// PORT (RFC 959), or EPRT (RFC 2428) for IPv6.
    pub(super) fn command(&self) -> Command {
        let port = self.announced.port();
        match self.announced.ip() {
            IpAddr::V4(address) => {
                let [a, b, c, d] = address.octets();
                let [high, low] = port.to_be_bytes();
                Command::with("PORT", &format!("{a},{b},{c},{d},{high},{low}"))
            }
            IpAddr::V6(address) => Command::with("EPRT", &format!("|2|{address}|{port}|")),
        }
    }

    /// The server's connection. Others that come are turned away.
    pub(super) async fn accept(
        &self,
        server: IpAddr,
        limit: Duration,
    ) -> Result<TcpStream, RemoteFault> {
        let missing = || RemoteFault::DataConnectionMissing {
            address: self.announced.to_string(),
        };
        let accepting = async {
            for _ in 0..MAX_STRANGERS {
                let (tcp, from) = self.listener.accept().await.map_err(|_| missing())?;
                if from.ip().to_canonical() == server.to_canonical() {
                    dial::tune(&tcp);
                    return Ok(tcp);
                }
                tracing::warn!(peer.addr = %from, "a stranger came to an active data port");
            }
            Err(missing())
        };
        timer::timeout(limit, accepting)
            .await
            .map_err(|_| missing())?
    }
}

fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(4)
}

fn random_below(count: u32) -> u32 {
    if count < 2 {
        return 0;
    }
    // Without randomness the first port is as good as any.
    getrandom::u32().map_or(0, |random| random % count)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    #[tokio::test]
    async fn a_port_of_the_range_is_taken_and_the_announced_address_is_told() {
        let free = Waiting::listen(LOCAL, &(0..=0), None)
            .unwrap()
            .announced
            .port();
        let address = Some(Ipv4Addr::new(203, 0, 113, 9));
        let waiting = Waiting::listen(LOCAL, &(free..=free), address).unwrap();
        let [high, low] = free.to_be_bytes();
        let line = format!("PORT 203,0,113,9,{high},{low}\r\n");
        assert_eq!(waiting.command().bytes(), line.as_bytes());
    }

    #[tokio::test]
    async fn a_range_without_a_free_port_is_named() {
        let taken = Waiting::listen(LOCAL, &(0..=0), None).unwrap();
        let port = taken.announced.port();
        let fault = Waiting::listen(LOCAL, &(port..=port), None).err().unwrap();
        assert!(
            matches!(fault, RemoteFault::Settings { detail } if detail.contains(&port.to_string()))
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_does_not_come_is_waited_for_so_long() {
        let waiting = Waiting::listen(LOCAL, &(0..=0), None).unwrap();
        let fault = waiting
            .accept(LOCAL, Duration::from_secs(30))
            .await
            .err()
            .unwrap();
        assert_eq!(
            fault,
            RemoteFault::DataConnectionMissing {
                address: waiting.announced.to_string()
            }
        );
    }
}
