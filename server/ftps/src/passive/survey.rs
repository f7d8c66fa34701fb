//! Which ports of the range cannot be had now: told before clients find out.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;

use socket2::{Domain, Socket, Type};

/// Ports of a range that cannot be opened at this moment.
#[derive(Debug, Default)]
pub struct PortSurvey {
    /// Ports of the range.
    pub ports: usize,
    /// Those that cannot be opened.
    pub refused: Vec<u16>,
    /// What the operating system says of the first of these.
    pub fault: Option<io::Error>,
}

impl PortSurvey {
    /// Opens each port as transfers do, one at a time, and gives it back. Needs a few
    /// microseconds a port.
    #[must_use]
    pub fn take(ip: IpAddr, ports: RangeInclusive<u16>) -> Self {
        let mut survey = Self::default();
        for port in ports {
            survey.ports += 1;
            if let Err(error) = opened(SocketAddr::new(ip, port)) {
                survey.refused.push(port);
                survey.fault.get_or_insert(error);
            }
        }
        survey
    }
}

/// Bound and listened to, as the allocator does it: two sockets that may share an address while they are only
/// bound (`SO_REUSEADDR`) cannot both listen.
fn opened(address: SocketAddr) -> io::Result<()> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(1)
}
